"""Running a torch step function by torch, beside its graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch  # noqa: TID253  (this module is imported when a torch step function is)

from snnir.errors import SnnirError, error
from snnir.frontends.step_functions.export_call import raised
from snnir.frontends.step_functions.from_export import imported
from snnir.frontends.step_functions.live import Live
from snnir.frontends.step_functions.traced import Array


class LiveExport(Live):
    """A torch step function with its first state and an example of its input.

    Args:
        step, state, example: As `snnir.from_export` takes them.
        options: The same.
    """

    def __init__(self, step: Any, state: Any, example: Any, **options: Any) -> None:
        self._made = imported(step, state, example, **options)
        super().__init__(self._made.graph)

    def outputs(self, arrays: Mapping[str, Array]) -> Mapping[str, Array]:
        """Run it by torch, a sample at a time if it takes only one.

        Raises:
            SnnirError: SNN601 if it does not run on the input.
        """
        xs = [np.asarray(arrays[name]) for name in self.graph.inputs]
        if not self._made.batched:
            samples = [self._run([x[:, at] for x in xs]) for at in range(xs[0].shape[1])]
            stacked = [np.stack(column, axis=1) for column in zip(*samples, strict=True)]
            return self._named(stacked)
        return self._named(self._run(xs))

    def _run(self, xs: Sequence[Array]) -> list[Array]:
        examples = self._made.program.examples
        columns = [
            torch.from_numpy(np.ascontiguousarray(x)).to(example.dtype)
            for x, example in zip(xs, examples, strict=True)
        ]
        rows = [list(row) for row in zip(*columns, strict=True)]
        try:
            found = self._made.run.steps(rows)
        except SnnirError:
            raise
        except (Exception, SystemExit) as failure:
            message = raised(failure).diagnostics[0].message
            hint = "give as many samples as its example has"
            raise error("SNN601", message, hint=hint) from None
        outputs = zip(*(out for out, _ in found), strict=True)
        return [torch.stack(list(column)).cpu().numpy() for column in outputs]

    def _named(self, arrays: Sequence[Array]) -> dict[str, Array]:
        names = self._made.program.names.outputs
        found = dict(zip(names, arrays, strict=True))
        return {name: found[name].astype(np.float32) for name in self.graph.outputs}
