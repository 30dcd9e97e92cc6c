"""Modules made by `snnir.to_torch`, as one side of a comparison."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from snnir.running import check_inputs
from snnir.streams import Kind, Signal
from snnir.targets.torch_sim.target import arrays

Array = npt.NDArray[Any]


class LiveNet:
    """A module that records by the names of the graph it was made of.

    Args:
        net: What `snnir.to_torch` gave.

    Attributes:
        names: Its populations that spike, in order of flow.
    """

    def __init__(self, net: Any) -> None:
        self.net = net
        self.names: list[str] = list(net.model.populations)

    def run(self, x: Array | Mapping[str, Array]) -> tuple[dict[str, Array], dict[str, Array]]:
        """Run it from rest; its states stay as they are.

        Args:
            x: [T, B, *shape], or one such array per input name.

        Returns:
            Outputs and spikes by name, [T, B, *shape].

        Raises:
            SnnirError: SNN601 if x does not fit.
        """
        import torch

        model = self.net.model
        ports = {name: Signal(Kind.ANALOG, tuple(s)) for name, s in model.inputs.items()}
        kind = getattr(torch, model.dtype)
        place = next((each.device for each in self.net.parameters()), torch.device("cpu"))
        given = {
            name: torch.from_numpy(value).to(place, kind)
            for name, value in check_inputs(x, ports).items()
        }
        with torch.no_grad():
            outputs, recorded, _ = self.net.simulate(given, self.names)
        return arrays(outputs), arrays(recorded)
