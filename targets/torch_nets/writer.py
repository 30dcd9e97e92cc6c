"""Writing a graph as a Python file: imports, cells, one module, a command line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from snnir.errors import Diagnostic, SnnirError, error
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.structure import Add, Current, Input
from snnir.ir.timing import Delay
from snnir.loss_report import REFUSED, NodeLoss, arithmetic_level
from snnir.pipeline import APPROXIMATE
from snnir.targets.torch_nets.cells import check_cell, exposed_states
from snnir.targets.torch_nets.frameworks import Framework
from snnir.targets.torch_nets.layer import Layer, Parameters
from snnir.targets.torch_nets.names import Names, number
from snnir.targets.torch_nets.native import NATIVE
from snnir.targets.torch_nets.nearest import nearest
from snnir.targets.torch_nets.source import ModuleSource
from snnir.targets.torch_nets.stateless import Call, stateless_call
from snnir.tensors import Tensor

PROGRAM = "model.py"


@dataclass
class _Body:
    """The parts of `Net` as they are collected."""

    init: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    step: list[str] = field(default_factory=list)
    end: list[tuple[str, str]] = field(default_factory=list)


class Writer:
    """Plans the file; problems are collected before anything is written.

    Attributes:
        problems: What the framework cannot express.
        weights: Entries of the state dict.
        layers: What each neuron became.
    """

    def __init__(
        self, graph: Graph, framework: Framework, cells: str, allow_lossy: bool = False
    ) -> None:
        self.graph, self.framework, self.cells = graph, framework, cells
        self.allow_lossy = allow_lossy
        #: Whole sequences go through layer by layer; only recurrence and delays need a time loop.
        self.layerwise = framework.sequences and not any(
            isinstance(node.op, Delay) and node.op.longest for node in graph.nodes.values()
        )
        self.names, self.body = Names(), _Body()
        self.problems: list[Diagnostic] = []
        self.weights: dict[str, Tensor] = {}
        self.layers: dict[str, Layer] = {}
        self.losses: list[NodeLoss] = []
        self.classes: dict[str, tuple[str, list[str]]] = {}
        self.helpers: set[str] = set()
        self.values: dict[Value, str] = {}
        self.modules: dict[str, str] = {}
        self._plan()

    def _plan(self) -> None:
        for name in self.graph.inputs:
            self.names.of(name)
        nodes = [self.graph.nodes[name] for name in self.graph.order]
        for node in nodes:
            self._guard(node, self._define)
        for node in nodes:
            self._guard(node, self._write)
        for node in nodes:
            self._guard(node, self._finish)

    def _guard(self, node: Node, action: Callable[[Node], None]) -> None:
        try:
            action(node)
        except SnnirError as failure:
            self.problems.extend(
                Diagnostic(d.code, d.message, node.name, hint=d.hint) for d in failure.diagnostics
            )

    # --- Nodes ----------------------------------------------------------------------------------

    def _define(self, node: Node) -> None:
        """Give every value a name; delays give theirs before their operand is computed."""
        own = self.names.of(node.name)
        self.values[Value(node.name)] = own
        if isinstance(node.op, Delay):
            self._start_delay(node, own)

    def _start_delay(self, node: Node, own: str) -> None:
        steps = node.op.steps  # type: ignore[attr-defined]
        if isinstance(steps, Tensor):
            raise error(
                "SNN501", f"{self.framework.title} modules have no delays that differ per element",
                hint="give the delay one number of steps",
            )  # fmt: skip
        shape = self.graph.signal(node.name).shape
        zeros = f"x.new_zeros(batch{''.join(f', {n}' for n in shape)})"
        if steps == 1:
            self.body.start.append(f"{own} = {zeros}")
        elif steps > 1:
            self.body.start.append(f"{own}_line = [{zeros}] * {steps}")

    def _write(self, node: Node) -> None:
        own = self.values[Value(node.name)]
        op = node.op
        if isinstance(op, Input):
            return
        operands = [self.values.get(value, "?") for value in node.operands]
        if isinstance(op, Step):
            self._neuron(node, op, own, operands)
        elif isinstance(op, Delay):
            self._read_delay(op, own, operands[0])
        elif isinstance(op, Current):
            self.values[Value(node.name)] = operands[0]
        elif isinstance(op, Add):
            self.body.step.append(f"{own} = {' + '.join(operands)}")
        else:
            self._stateless(node, own, operands)

    def _read_delay(self, op: Delay, own: str, operand: str) -> None:
        if op.steps == 0:
            self.body.step.append(f"{own} = {operand}")
        elif op.steps != 1:
            self.body.step.append(f"{own} = {own}_line[0]")

    def _finish(self, node: Node) -> None:
        """Let delay lines take in what was computed in this step."""
        if not isinstance(node.op, Delay) or node.op.steps == 0:
            return
        own = self.values[Value(node.name)]
        operand = self.values[node.operands[0]]
        if node.op.steps == 1:
            self.body.end.append((own, operand))
        else:
            self.body.end.append((f"{own}_line", f"[*{own}_line[1:], {operand}]"))

    def _stateless(self, node: Node, own: str, operands: list[str]) -> None:
        signals = [self.graph.signals[value] for value in node.operands]
        call: Call = stateless_call(node.op, signals, self.framework.title)
        if call.module:
            self.modules[node.name] = own
            self.body.init.append(f"self.{own} = {call.module}")
            self.weights.update({f"{own}.{key}": value for key, value in call.arrays.items()})
        self.helpers |= call.helpers
        text = call.code.format(*operands, self=f"self.{own}")
        self.body.step.append(f"{own} = {text}")

    # --- Neurons --------------------------------------------------------------------------------

    def _neuron(self, node: Node, op: Step, own: str, operands: list[str]) -> None:
        layer = self._layer(node, op)
        self.layers[node.name] = layer
        self.modules[node.name] = own
        self.body.init.append(f"self.{own} = {layer.code}")
        arrays = {key: Tensor(np.asarray(value, np.float32)) for key, value in layer.arrays.items()}
        self.weights.update({f"{own}.{key}": value for key, value in arrays.items()})
        call = getattr(self, f"_call_{self.framework.name}")
        call(node, op, layer, own, operands)

    def _layer(self, node: Node, op: Step) -> Layer:
        native = NATIVE[self.framework.name](op) if self.cells != "generated" else None
        if native is not None:
            return native
        if self.cells == "native":
            return self._nearest(node, op)
        check_cell(op)
        return self._generated(node, op)

    def _nearest(self, node: Node, op: Step) -> Layer:
        """Return the nearest layer of the framework, if a loss is accepted."""
        title = self.framework.title
        found = nearest(op, self.framework.name)
        if found is None:
            hint = "leave out cells=native: a generated cell is exact"
            raise error("SNN501", f"no layer of {title} is like this step", hint=hint)
        layer, what, amount = found
        text = f"no layer of {title} equals this step; in {layer.code.split('(')[0]}, {what}"
        self.losses.append(NodeLoss(node.name, APPROXIMATE, text, amount))
        if not self.allow_lossy:
            raise error(
                "SNN501", f"{text} ({100 * amount:.2g} % of its spikes differ on noise)",
                hint="leave out cells=native for an exact cell, or accept it with --allow-lossy",
            )  # fmt: skip
        return layer

    def _generated(self, node: Node, op: Step) -> Layer:
        key = repr(op.dynamics)
        if key not in self.classes:
            stem = "".join(word.capitalize() for word in op.program.name.split("_"))
            name = self.names.fresh(f"{stem}Cell")
            self.helpers |= {"Fused"} if op.program.is_fused else set()
            lines = self.framework.cell(op, name, self.framework.flavour).source()
            self.classes[key] = (name, lines)
        p = Parameters(op)
        arrays = {name: p.array(name) for name, _ in op.program.params}
        arguments = [
            f"{name}={number(data) if data.ndim == 0 else f'torch.zeros({data.shape!r})'}"
            for name, data in arrays.items()
        ]
        large = {name: data for name, data in arrays.items() if data.ndim}
        states = tuple(state.name for state in op.program.states)
        return Layer(f"{self.classes[key][0]}({', '.join(arguments)})", large, states, False)

    def _extra(self, node: Node, op: Step) -> list[tuple[Value, str]]:
        """Return the results after the first with the state each of them is."""
        names = exposed_states(op.program)
        return [(Value(node.name, 1 + at), name) for at, name in enumerate(names)]

    def _call_snntorch(
        self, node: Node, op: Step, layer: Layer, own: str, operands: list[str]
    ) -> None:
        inputs = ", ".join(operands)
        if layer.native:
            states = [f"{own}_{name}" for name in layer.states]
            self.body.start.append(f"{', '.join(states)} = self.{own}.reset_mem()")
            given = ", ".join([inputs, *states])
            self.body.step.append(f"{own}, {', '.join(states)} = self.{own}({given})")
            for value, _ in self._extra(node, op):
                self.values[value] = states[-1]  # only the membrane can be exposed
            return
        self.body.start.append(f"{own}_state = self.{own}.reset_mem()")
        self.body.step.append(f"{own}, *{own}_state = self.{own}({inputs}, *{own}_state)")
        for value, name in self._extra(node, op):
            self.values[value] = f"{own}_state[{layer.states.index(name)}]"

    def _call_norse(
        self, node: Node, op: Step, layer: Layer, own: str, operands: list[str]
    ) -> None:
        self.body.start.append(f"{own}_state = None")
        given = ", ".join([*operands, f"{own}_state"])
        self.body.step.append(f"{own}, {own}_state = self.{own}({given})")
        for value, name in self._extra(node, op):
            place = f".{name}" if layer.native else f"[{layer.states.index(name)}]"
            self.values[value] = f"{own}_state{place}"
        if "norse_reset_subtract" in layer.code:
            self.helpers.add("norse_reset_subtract")

    def _call_spikingjelly(
        self, node: Node, op: Step, layer: Layer, own: str, operands: list[str]
    ) -> None:
        extra = self._extra(node, op)
        names = [own, *(f"{own}_{name}" for _, name in extra)]
        if self.layerwise:
            self._call_sequence(own, names, operands)
        else:
            self.body.step.append(f"{', '.join(names)} = self.{own}({', '.join(operands)})")
        self.values.update({value: f"{own}_{name}" for value, name in extra})

    def _call_sequence(self, own: str, names: list[str], operands: list[str]) -> None:
        """Call a neuron on a sequence; between neurons time and batch are one axis."""
        inputs = ", ".join(f"{operand}.unflatten(0, lead)" for operand in operands)
        if len(names) == 1:
            self.body.step.append(f"{own} = self.{own}({inputs}).flatten(0, 1)")
            return
        self.body.step.append(f"{', '.join(names)} = self.{own}({inputs})")
        self.body.step += [f"{name} = {name}.flatten(0, 1)" for name in names]

    def _call_sinabs(
        self, node: Node, op: Step, layer: Layer, own: str, operands: list[str]
    ) -> None:
        extra = self._extra(node, op)
        if self.layerwise:
            names = [own, *(f"{own}_{name}" for _, name in extra)]
            self._call_sequence(own, names, operands)
            self.values.update({value: f"{own}_{name}" for value, name in extra})
            return
        inputs = ", ".join(f"{operand}.unsqueeze(1)" for operand in operands)
        if not extra:
            self.body.step.append(f"{own} = self.{own}({inputs}).squeeze(1)")
            return
        names = [own, *(f"{own}_{name}" for _, name in extra)]
        self.body.step.append(f"{', '.join(names)} = self.{own}({inputs})")
        self.body.step += [f"{name} = {name}.squeeze(1)" for name in names]
        self.values.update({value: f"{own}_{name}" for value, name in extra})

    def source(self) -> str:
        """Return the Python file.

        Raises:
            SnnirError: SNN501 with everything the framework cannot express.
        """
        if self.problems:
            raise SnnirError(self.problems)
        return ModuleSource(self).text()


def neuron_losses(writer: Writer) -> list[NodeLoss]:
    """Return what became of every neuron."""
    found = {entry.node: entry for entry in writer.losses}
    for name, layer in writer.layers.items():
        level, why = arithmetic_level(writer.graph, writer.graph.nodes[name])
        kind = "layer" if layer.native else "generated cell"
        what = f"{kind} {layer.code.split('(')[0]}{f'; {why}' if why else ''}"
        found.setdefault(name, NodeLoss(name, level, what))
    for problem in writer.problems:
        if problem.node is not None:
            found.setdefault(problem.node, NodeLoss(problem.node, REFUSED, problem.message))
    return list(found.values())
