"""What differs between the four frameworks: layouts, calls, cells."""

from __future__ import annotations

from dataclasses import dataclass

from snnir.targets.torch_nets.cells import CellWriter, Flavour, exposed_states
from snnir.targets.torch_nets.names import indented


def _inputs(writer: CellWriter) -> str:
    return ", ".join(writer.program.inputs)


class SnntorchCell(CellWriter):
    """A `snntorch.SpikingNeuron`: states are taken and returned, as by `snn.Leaky`."""

    def calls(self) -> list[str]:
        """`forward(x, *states) -> (spikes, *states)`."""
        return indented([
            f"def forward(self, {_inputs(self)}, *states):",
            f"    output, states = self.one_step({_inputs(self)}, states)",
            "    return (output, *states)",
            "",
            "def reset_mem(self):",
            '    """Start at rest."""',
            "    return ()",
        ])  # fmt: skip


class NorseCell(CellWriter):
    """A module like `norse.torch.LIFCell`: one state object is taken and returned."""

    def calls(self) -> list[str]:
        """`forward(x, state=None) -> (spikes, state)`."""
        return indented([
            f"def forward(self, {_inputs(self)}, state=None):",
            f"    return self.one_step({_inputs(self)}, state)",
        ])  # fmt: skip


class SinabsCell(CellWriter):
    """A `sinabs.layers.StatefulLayer`: takes [B, T, ...] and keeps its state."""

    def memory(self) -> list[str]:
        """Sinabs keeps states in buffers that `reset_states` zeroes."""
        return ["self.memory = None"]

    def calls(self) -> list[str]:
        """`forward` over the time axis; one that reads its membrane returns it as well."""
        extra = exposed_states(self.program)
        places = [self.states.index(name) for name in extra]
        names = _inputs(self)
        steps = ", ".join(f"{name}[:, t]" for name in self.program.inputs)
        collect = [f"extra{i}.append(self.memory[{place}])" for i, place in enumerate(places)]
        lists = [f"extra{i} = []" for i in range(len(places))]
        stacked = ", ".join(["outputs", *(f"extra{i}" for i in range(len(places)))])
        result = "torch.stack(outputs, 1)"
        if places:
            result = f"tuple(torch.stack(item, 1) for item in ({stacked}))"
        return indented([
            f"def forward(self, {names}):",
            "    outputs = []",
            *indented(lists),
            f"    for t in range({self.program.inputs[0]}.shape[1]):",
            f"        output, self.memory = self.one_step({steps}, self.memory)",
            "        outputs.append(output)",
            *indented(collect, 2),
            f"    return {result}",
            "",
            "def reset_states(self, randomize=False, value_ranges=None):",
            '    """Start at rest."""',
            "    self.memory = None",
        ])  # fmt: skip


class SpikingjellyCell(CellWriter):
    """A `base.MemoryModule`: one step or a sequence by `step_mode`, state kept as a memory."""

    def memory(self) -> list[str]:
        """SpikingJelly keeps states as memories that `functional.reset_net` resets."""
        return ['self.register_memory("states", None)']

    def calls(self) -> list[str]:
        """`single_step_forward` and `multi_step_forward`."""
        extra = exposed_states(self.program)
        result = ", ".join(["output", *(f"self.states[{self.states.index(n)}]" for n in extra)])
        names = _inputs(self)
        steps = ", ".join(f"{name}[t]" for name in self.program.inputs)
        stack = "torch.stack(outputs)"
        if extra:
            stack = "tuple(torch.stack(item) for item in zip(*outputs))"
        return indented([
            f"def single_step_forward(self, {names}):",
            f"    output, self.states = self.one_step({names}, self.states)",
            f"    return {result}",
            "",
            f"def multi_step_forward(self, {names}):",
            f"    outputs = [self.single_step_forward({steps})",
            f"               for t in range({self.program.inputs[0]}.shape[0])]",
            f"    return {stack}",
        ])  # fmt: skip


@dataclass(frozen=True)
class Framework:
    """One framework.

    Attributes:
        name: Its name, the word after `--to`.
        title: As its authors write it.
        version: The version the code is tested with.
        imports: Import lines of generated files.
        flavour: How cells look.
        cell: Writer of cells.
        batch_first: Whether sequences are [B, T, ...].
        sequences: Whether its neurons take whole sequences.
    """

    name: str
    title: str
    version: str
    imports: tuple[str, ...]
    flavour: Flavour
    cell: type[CellWriter]
    batch_first: bool = False
    sequences: bool = False


SNNTORCH = Framework(
    "snntorch", "snnTorch", "1.0.0", ("import snntorch as snn",),
    Flavour("snntorch", "snn.SpikingNeuron", "self.spike_grad({0} - {1})"), SnntorchCell,
)  # fmt: skip
SINABS = Framework(
    "sinabs", "Sinabs", "3.1.3",
    ("import sinabs.activation as sa", "import sinabs.layers as sl"),
    Flavour(
        "sinabs", "sl.StatefulLayer", "sa.SingleSpike.apply({0}, {1}, self.surrogate_grad_fn)",
        ("self.surrogate_grad_fn = sa.SingleExponential()",), "state_names=[]", True,
    ),
    SinabsCell, True, True,
)  # fmt: skip
SPIKINGJELLY = Framework(
    "spikingjelly", "SpikingJelly", "2.0.0",
    ("from spikingjelly.activation_based import base, functional, neuron, surrogate",),
    Flavour(
        "spikingjelly", "base.MemoryModule", "self.surrogate_function({0} - {1})",
        ("self.surrogate_function = surrogate.ATan()",), "", True,
    ),
    SpikingjellyCell, False, True,
)  # fmt: skip
NORSE = Framework(
    "norse", "Norse", "1.1.0",
    (
        "import norse.torch as norse",
        "from norse.torch.functional.threshold import threshold as norse_threshold",
    ),
    Flavour("norse", "nn.Module", 'norse_threshold({0} - {1}, "super", 100.0)'), NorseCell,
)  # fmt: skip
FRAMEWORKS = {f.name: f for f in (SNNTORCH, SINABS, SPIKINGJELLY, NORSE)}
