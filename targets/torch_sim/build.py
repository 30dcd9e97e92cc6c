"""The torch target's side of building: recurrences in C, tensors for torch."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch

from snnir.dynamics.program import Dynamics
from snnir.network import Loop, Model
from snnir.network_build import NetworkBuilder, value_name
from snnir.targets.torch_sim.c_loops import loop_source


@dataclass
class Builder(NetworkBuilder):
    """Collects what the torch engine needs.

    Attributes:
        loops: C source of the recurrences that have a compiled form.
    """

    loops: list[str] = field(default_factory=list)

    def model(self) -> Model:
        """Return the network; fills `tensors`, `programs` and `loops`."""
        model = super().model()
        return replace(model, loops=self.compiled_loops(model))

    def compiled_loops(self, model: Model) -> dict[str, Loop]:
        """Return the recurrences that have a C form by their first node; fills `loops`."""
        shapes = {value_name(value): tuple(s.shape) for value, s in self.graph.signals.items()}
        groups = [names for kind, names in model.stages if kind == "loop"]
        found = {}
        for index, names in enumerate(groups, 1):
            own = [model.units[name] for name in names]
            made = loop_source(
                f"loop_{index}", own, shapes, self.programs, self.surrogate, self.detach
            )
            if made is not None:
                found[names[0]] = made.loop
                self.loops.append(made.source)
        return found

    def separate(self) -> dict[str, Dynamics]:
        """Return the step programs that compiled kernels run: those of neurons, sample by sample.

        What joins the samples of a batch, and rules of synapses, run in plain torch.
        """
        return {
            name: program
            for name, program in self.programs.items()
            if program.outputs and not program.is_pooling
        }

    def torch_tensors(self) -> dict[str, torch.Tensor]:
        """Return the tensors for torch; half precision is widened, which loses nothing."""
        found = {}
        for name, value in self.tensors.items():
            tensor = torch.from_numpy(value.numpy().copy())
            narrow = tensor.is_floating_point() and tensor.dtype.itemsize < 4
            found[name] = tensor.float() if narrow else tensor
        return found
