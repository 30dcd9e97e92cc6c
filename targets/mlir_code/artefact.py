"""Networks as code of MLIR, run in memory by IREE."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy.typing as npt

from snnir.artefact import populations
from snnir.errors import error
from snnir.lasting import check_lasting
from snnir.running import Result, check_batch, check_inputs, check_record, spike_stats
from snnir.target import Compiled
from snnir.targets.mlir_code import host

if TYPE_CHECKING:
    from snnir.targets.mlir_code.target import MlirTarget

#: Steps of one call if nothing else is said: at least these, and as many as make so many rows with
#: the samples; and the samples of one call.
STEPS, MOST_STEPS, ROWS, MOST_SAMPLES = 16, 64, 512, 64


@contextmanager
def failures_explained() -> Iterator[None]:
    """Turn what IREE's runtime raises into errors.

    Raises:
        SnnirError: SNN503 with what it says.
    """
    try:
        yield
    except ImportError as missing:
        hint = "pip install 'snnir[iree]'"
        raise error("SNN503", f"target 'mlir' needs IREE ({missing})", hint=hint) from None
    except (IndexError, RuntimeError, ValueError) as problem:
        what = f"target 'mlir': IREE's runtime fails ({str(problem).splitlines()[0]})"
        hint = "it runs where there is such a device, and a driver for it"
        if "binding count" in what:
            hint = "IREE merges too many nodes into one operation; set backend=none for the code"
        raise error("SNN503", what, hint=hint) from None


@dataclass(frozen=True)
class MlirCompiled(Compiled):
    """A network as code of MLIR."""

    _programs: dict[int, host.Program] = field(default_factory=dict, kw_only=True, repr=False)
    _memory: dict[str, int] = field(default_factory=dict, kw_only=True, repr=False)

    def simulator(self, batch: int) -> host.Program:
        """Return the compiled module for so many samples, which keeps the state between calls.

        Raises:
            SnnirError: SNN503 without IREE's compiler and runtime, or without the device.
        """
        target: MlirTarget = self.target  # type: ignore[assignment]  # it built this
        samples = target.batch or min(room_for(batch), MOST_SAMPLES)
        if samples not in self._programs:
            self._programs[samples] = self._program(target, samples)
        return self._programs[samples]

    def _program(self, target: MlirTarget, samples: int) -> host.Program:
        if not target.driver:
            what = "target 'mlir' has nothing that runs with backend=none"
            raise error("SNN503", what, hint="set backend=llvm-cpu")
        steps = target.steps or min(MOST_STEPS, max(STEPS, ROWS // samples // STEPS * STEPS))
        lowering = target.lowering(self.graph, steps, samples)
        facts = replace(lowering.facts(), driver=target.driver)

        def load(traced: bool) -> bytes:
            return target.module(lowering.module([traced]), target.cpu or "host")

        with failures_explained():
            return host.Program(load, facts, lowering.tensors)

    def run(
        self,
        x: npt.ArrayLike | Mapping[str, npt.ArrayLike],
        record: Sequence[str] = (),
        *,
        resume: bool = False,
        lasting: Mapping[str, npt.ArrayLike] | None = None,
    ) -> Result:
        """Compile the code with IREE if it was not, and run it.

        Args:
            x: [T, B, *shape] (or [T, *shape], a batch of one), or one such array per input name.
            record: Nodes to record, as `node` or `node:state`.
            resume: Go on from where the last call ended instead of from rest.
            lasting: Nothing lasts on this target.

        Raises:
            SnnirError: SNN601 if x does not fit, SNN602 if a node to record does not exist, SNN503
                without IREE's compiler and runtime.
        """
        check_lasting(self.graph, lasting, resume=resume)
        inputs = check_inputs(x, self.graph.inputs)
        check_record(record, self.graph)
        steps, batch = next(iter(inputs.values())).shape[:2]
        check_batch(batch, self._memory.get("batch") if resume else None)
        self._memory["batch"] = batch
        program = self.simulator(batch)
        with failures_explained():
            outputs, recorded, sums = program.run(inputs, list(record), resume)
        stats = spike_stats(populations(self.graph), sums, steps * batch)
        return Result(outputs, recorded, stats)


def room_for(batch: int) -> int:
    """Return the number of samples that a batch is compiled for: the next power of two."""
    return 1 << (batch - 1).bit_length()
