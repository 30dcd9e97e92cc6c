"""Running a live module by its own framework, and reading every neuron's output."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import torch  # noqa: TID253  (this module is imported when a torch model is)

from snnir.errors import error
from snnir.frontends.torch_nets.events import outputs_of
from snnir.frontends.torch_nets.load import LAYOUTS, capture, threads_state
from snnir.frontends.torch_nets.neurons import neuron_kind
from snnir.frontends.torch_nets.state import rest
from snnir.untouched import untouched

Array = npt.NDArray[Any]


class LiveModel:
    """A module with what recording it told.

    Args:
        net: The module.
        x: An input [T, B, *shape]; only its shape is looked at.

    Attributes:
        names: Node name of every neuron, in order of flow.
    """

    def __init__(self, net: Any, x: Array) -> None:
        self.net = net
        self.captured = capture(net, x.shape[2:])
        order = {name: at for at, name in enumerate(self.captured.graph.order)}
        found = sorted(self.captured.neurons.items(), key=lambda item: order[item[1]])
        self.paths = dict(found)
        self.names = list(self.paths.values())

    def run(self, x: Array) -> tuple[dict[str, Array], dict[str, Array]]:
        """Return outputs and every neuron's output, [T, B, *shape].

        Raises:
            SnnirError: SNN801 if the model cannot run on x.
        """
        steps, batch = x.shape[:2]
        lead = LAYOUTS[self.captured.layout]
        seen: dict[str, list[Any]] = {}
        modules = dict(self.net.named_modules())
        with untouched(self.net), torch.no_grad():
            rest(self.net)
            handles = [
                modules.get(path, self.net).register_forward_hook(
                    partial(_note, seen.setdefault(name, []), modules.get(path, self.net), batch)
                )
                for path, name in self.paths.items()
            ]
            try:
                returned = self._drive(torch.from_numpy(np.ascontiguousarray(x)), lead)
            except Exception as failure:
                text = f"the model raised {type(failure).__name__}: {failure}"
                raise error("SNN801", text) from None
            finally:
                for handle in handles:
                    handle.remove()
        recorded = {name: np.concatenate(parts) for name, parts in seen.items() if parts}
        return self._outputs(returned, recorded, steps, batch), recorded

    def _drive(self, x: Any, lead: str) -> list[Any]:
        if self.captured.layout == "step":
            return self._steps(x)
        if self.captured.layout == "static":
            return [self.net(x[0])]
        given = x if lead in ("TB", "M:TB") else x.transpose(0, 1)
        if lead.startswith("M:"):
            given = given.reshape(-1, *x.shape[2:])
        return [self.net(given.contiguous())]

    def _steps(self, x: Any) -> list[Any]:
        threads, state = threads_state(self.net), None
        outputs: list[Any] = []
        for now in x:
            out = self.net(now, state) if threads and outputs else self.net(now)
            state = out[1] if threads and isinstance(out, tuple) else None
            outputs.append(out)
        return outputs

    def _outputs(
        self, returned: list[Any], recorded: dict[str, Array], steps: int, batch: int
    ) -> dict[str, Array]:
        """Return the outputs that are whole sequences."""
        found: dict[str, Array] = {}
        graph = self.captured.graph
        for name, value in graph.outputs.items():
            if value.node in recorded and value.result == 0:
                found[name] = recorded[value.node]
                continue
            tensors = [dict(outputs_of(out)).get(name) for out in returned]
            shape = (steps, batch, *graph.signals[value].shape)
            data = _arranged(tensors, self.captured.layout, shape)
            if data is not None:
                found[name] = data
        return found


def _arranged(tensors: list[Any], layout: str, shape: tuple[int, ...]) -> Array | None:
    """Return a model's result as [T, B, ...], None if it is no sequence."""
    if any(t is None for t in tensors):
        return None
    data = np.stack([t.numpy() for t in tensors]) if layout == "step" else tensors[0].numpy()
    if layout in ("BT", "B*T"):
        data = data.reshape(shape[1], shape[0], *shape[2:]) if data.size == np.prod(shape) else data
        data = data.swapaxes(0, 1)
    if layout == "T*B" and data.size == np.prod(shape):
        data = data.reshape(shape)
    return np.array(data) if data.shape == shape else None


def _note(seen: list[Array], owner: Any, batch: int, module: Any, given: Any, out: Any) -> None:
    spikes = out[0] if isinstance(out, tuple) else out
    data = spikes.detach().cpu().numpy().copy()
    kind = neuron_kind(owner)
    form = kind.form if kind is not None else "B"
    if form == "B":
        seen.append(data[None])
    elif form == "BT":
        seen.append(data.swapaxes(0, 1))
    elif form == "M:BT":
        seen.append(data.reshape(batch, -1, *data.shape[1:]).swapaxes(0, 1))
    else:
        seen.append(data)
