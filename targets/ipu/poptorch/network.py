"""Writes the class of a network: its tensors, and one loop over time for every part."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.program import Dynamics
from snnir.embedding import plain_text
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.structure import Input
from snnir.ir.timing import Delay
from snnir.targets.ipu.poptorch.names import Names
from snnir.targets.ipu.poptorch.ops import Site, expression
from snnir.targets.ipu.poptorch.parts import Part, parts
from snnir.targets.ipu.poptorch.sources import PIECES, functions
from snnir.targets.ipu.poptorch.steps import step_source
from snnir.tensors import Tensor

Array = npt.NDArray[Any]
INDENT = "    "
WIDTH = 84


@dataclass
class Loop:
    """The loop of one part while it is written.

    Attributes:
        early: Statements before all others: what delays give.
        body: Statements in dataflow order.
        late: Statements after all others: what delays take in.
        states: Tensors that are carried: name and expression of the first one.
    """

    early: list[str] = field(default_factory=list)
    body: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)
    states: dict[str, str] = field(default_factory=dict)


class Writer:
    """Writes a discrete graph as functions and a class.

    Args:
        graph: The graph; nothing in it is unsupported.
        ipus: Number of parts at most.
        half: Whether weights and biases are kept in float16.

    Attributes:
        weights: The arrays of `weights.npz` by attribute.
        parts: The parts of the graph.
    """

    def __init__(self, graph: Graph, ipus: int, half: bool) -> None:
        self.graph, self.half = graph, half
        self.parts = parts(graph, ipus)
        self.weights: dict[str, Array] = {}
        self.names = Names()
        self.names.taken |= {*functions(PIECES), "Network"}
        self.steps: dict[Dynamics, tuple[str, str]] = {}
        self.held: dict[str, list[str]] = {}
        self.local: dict[Value, str] = {}
        self.sequence: dict[Value, str] = {}
        for node in graph.nodes.values():
            self._name(node)

    def _name(self, node: Node) -> None:
        """Name the values of a node: now, and over all steps."""
        results = ["", *(f"_{n}" for n, _ in node.op.program.outputs[1:])] if isinstance(
            node.op, Step
        ) else [""]  # fmt: skip
        for index, suffix in enumerate(results):
            name = self.names.fresh(f"{node.name}{suffix}")
            self.local[Value(node.name, index)] = name
            self.sequence[Value(node.name, index)] = self.names.fresh(f"{name}_seq")

    # ---- what the script holds -------------------------------------------------------------------

    def functions(self) -> list[str]:
        """Return the sources of the step programs; call after `network`."""
        return [source for _, source in self.steps.values()]

    def outputs(self) -> dict[str, int]:
        """Return which tensor of the result is which output."""
        order = list(dict.fromkeys(self.graph.outputs.values()))
        return {name: order.index(value) for name, value in self.graph.outputs.items()}

    def network(self) -> str:
        """Return the class."""
        loops = [self._part(number, part) for number, part in enumerate(self.parts, 1)]
        tensors = [f"        {line}" for lines in self.held.values() for line in lines]
        lines = [
            "class Network(nn.Module):",
            f'    """{plain_text(self.graph.name) or "A network"}, run over all steps at once."""',
            "",
            "    def __init__(self, weights, ipus=IPUS):",
            "        super().__init__()",
            "        self.ipus = ipus",
            *tensors,
            *self._forward(),
            *(line for loop in loops for line in loop),
        ]
        return "\n".join(line.rstrip() for line in lines)

    def _forward(self) -> list[str]:
        inputs = [self.sequence[Value(name)] for name in self.graph.inputs]
        found = []
        for number, part in enumerate(self.parts, 1):
            takes = ", ".join(self.sequence[value] for value in part.takes)
            gives = ", ".join(self.sequence[value] for value in part.gives)
            call = f"{gives if ', ' in gives else f'[{gives}]'} = self.part_{number}({takes})"
            if len(self.parts) > 1:
                ipu = f"{number - 1} * self.ipus // {len(self.parts)}"
                found.append(f'with poptorch.Block("part_{number}", ipu_id={ipu}):')
                call = INDENT + call
            found.append(call)
        results = [self.sequence[value] for value in dict.fromkeys(self.graph.outputs.values())]
        if self.graph.record_offset:
            results = [f"later({name}, {self.graph.record_offset})" for name in results]
        found.append(f"return {', '.join(results)}")
        return [
            "",
            f"    def forward(self, {', '.join(inputs)}):",
            *(f"        {line}" for line in found),
        ]

    # ---- a part ----------------------------------------------------------------------------------

    def _part(self, number: int, part: Part) -> list[str]:
        loop = Loop()
        for name in part.nodes:
            self._node(self.graph.nodes[name], loop)
        takes = [self.sequence[value] for value in part.takes]
        gives = [self.sequence[value] for value in part.gives]
        read = [f"{self.local[v]} = at({self.sequence[v]}, t)" for v in part.takes]
        kept = [f"{self.sequence[v]} = put({self.sequence[v]}, {self.local[v]}, t)"
                for v in part.gives]  # fmt: skip
        carried = [*gives, *takes, *loop.states]
        first = [
            "torch.zeros(1, dtype=torch.int32)",
            *(f"torch.zeros(batch, steps{self._extents(v)})" for v in part.gives),
            *takes,
            *loop.states.values(),
        ]
        lines = [
            f"def part_{number}(self, {', '.join(takes)}):",
            f"    batch, steps = {takes[0]}.shape[:2]",
            "",
            *_wrapped("    def body(", ["t", *carried], "):"),
            *(f"        {line}" for line in (*read, *loop.early, *loop.body, *kept, *loop.late)),
            *_wrapped("        return (", ["t + 1", *carried], ")"),
            "",
            "    start = [",
            *(f"        {text}," for text in first),
            "    ]",
            f"    return poptorch.for_loop(steps, body, start)[1:{1 + len(gives)}]",
        ]
        return ["", *(f"{INDENT}{line}" for line in lines)]

    def _extents(self, value: Value) -> str:
        return "".join(f", {extent}" for extent in self.graph.signals[value].shape)

    def _node(self, node: Node, loop: Loop) -> None:
        if isinstance(node.op, Input):
            return
        if isinstance(node.op, Delay):
            self._delay(node, node.op, loop)
        elif isinstance(node.op, Step):
            self._neuron(node, node.op, loop)
        else:
            signals = [self.graph.signals[value] for value in node.operands]
            site = Site(
                node.op, node.op.call(signals), [self.local[v] for v in node.operands],
                len(signals[0].shape), lambda *a, **k: self._keep(node, *a, **k),
            )  # fmt: skip
            loop.body.append(f"{self.local[Value(node.name)]} = {expression(site)}")

    def _neuron(self, node: Node, op: Step, loop: Loop) -> None:
        program = op.program
        function = self._step(program)
        params = {
            key: self._keep(node, key, value.numpy(), whole=program.is_whole)
            for key, value in op.params.items()
        }
        shape, states = self._extents(Value(node.name)), []
        for state in program.states:
            name = self.names.fresh(f"{self.local[Value(node.name)]}_{state.name}")
            states.append(name)
            if isinstance(state.initial, str):
                loop.states[name] = f"{params[state.initial]}.expand(batch{shape})"
            else:
                loop.states[name] = _constant(f"batch{shape}", state.initial, program.is_whole)
        arguments = [self.local[v] for v in node.operands]
        arguments += [*states, *(params[key] for key, _ in program.params)]
        outputs = [self.local[Value(node.name, i)] for i in range(len(program.outputs))]
        results = ", ".join([*outputs, *states])
        loop.body += _wrapped(f"{results} = {function}(", arguments, ")")

    def _step(self, program: Dynamics) -> str:
        if program not in self.steps:
            name = self.names.fresh(f"step_{program.name}")
            self.steps[program] = name, step_source(program, name)
        return self.steps[program][0]

    # ---- delays ----------------------------------------------------------------------------------

    def _delay(self, node: Node, op: Delay, loop: Loop) -> None:
        steps = op.steps.numpy() if isinstance(op.steps, Tensor) else np.array(op.steps)
        name, x = self.local[Value(node.name)], self.local[node.operands[0]]
        shape = self._extents(Value(node.name))
        if op.longest == 0:
            loop.body.append(f"{name} = {x}")
        elif op.longest != op.shortest:
            self._line(node, np.broadcast_to(steps, self.graph.signal(node.name).shape), loop)
        elif op.longest == 1:
            held = self.names.fresh(f"{name}_held")
            loop.states[held] = f"torch.zeros(batch{shape})"
            loop.early.append(f"{name} = {held}")
            # A loop's result may not be what it was given in another place.
            loop.late.append(f"{held} = {x}.clone()")
        else:
            ring, slot = self.names.fresh(f"{name}_ring"), self.names.fresh(f"{name}_slot")
            loop.states[ring] = f"torch.zeros(batch, {op.longest}{shape})"
            loop.states[slot] = "torch.zeros(1, dtype=torch.int32)"
            loop.early.append(f"{name} = at({ring}, {slot})")
            loop.late.append(f"{ring} = put({ring}, {x}, {slot})")
            loop.late.append(f"{slot} = turn({slot}, {op.longest})")

    def _line(self, node: Node, steps: Array, loop: Loop) -> None:
        """A delay per element: a line of all steps that are held, the last at its end."""
        name, x = self.local[Value(node.name)], self.local[node.operands[0]]
        line, longest = self.names.fresh(f"{name}_line"), int(steps.max())
        loop.states[line] = f"torch.zeros(batch, {longest}{self._extents(Value(node.name))})"
        places = (longest - steps.astype(np.int64)) * steps.size
        index = places.reshape(-1) + np.arange(steps.size)
        picked = f"{name} = pick({line}, {self._keep(node, 'index', index, whole=True)})"
        joined = f"{line} = torch.cat([{line}, {x}.unsqueeze(1)], 1)"
        dropped = f"{line} = {line}[:, 1:]"
        if steps.min():
            loop.early.append(picked)
            loop.late += [joined, dropped]
        else:
            loop.body += [joined, picked, dropped]

    # ---- tensors ---------------------------------------------------------------------------------

    def _keep(
        self, node: Node, key: str, array: Array, half: bool = False, whole: bool = False
    ) -> str:
        """Keep a tensor of a node in the weights; return its expression in float32 or int32."""
        name = self.names.attribute(node.name, key)
        kept = array.astype(np.int32) if whole else _rounded(array, half and self.half)
        self.weights[name] = kept
        lines = self.held.setdefault(node.name, [f"# {plain_text(node.name)}"])
        if kept.dtype == np.int32:
            lines.append(f'self.register_buffer("{name}", torch.from_numpy(weights["{name}"]))')
        else:
            lines.append(f'self.{name} = constant(weights["{name}"])')
        return f"self.{name}.float()" if kept.dtype == np.float16 else f"self.{name}"


def _rounded(array: Array, half: bool) -> Array:
    """Return an array in float32, or in float16; whole weights only if that keeps them."""
    with np.errstate(over="ignore"):
        kept = np.array(array, np.float32, order="C")
        short = np.array(array, np.float16, order="C")
    exact = array.dtype.kind == "f" or bool((short.astype(np.float64) == array).all())
    return short if half and exact else kept


def _constant(shape: str, value: float, whole: bool) -> str:
    """Return the expression of a state that is the same number everywhere."""
    with np.errstate(over="ignore"):
        number = int(value) if whole else float(np.float32(value))
    kind = ", dtype=torch.int32" if whole else ""
    if str(number) in ("0", "0.0"):
        return f"torch.zeros({shape}{kind})"
    return f"torch.full(({shape},), {number!r}{kind})"


def _wrapped(before: str, names: Sequence[str], after: str) -> list[str]:
    """Return a list of names on lines of readable length."""
    line = f"{before}{', '.join(names)}{after}"
    if len(line) <= WIDTH:
        return [line]
    space = " " * (len(before) - len(before.lstrip()) + 4)
    words = [f"{name}," for name in names]
    rows = textwrap.wrap(
        " ".join(words), WIDTH - len(space), break_long_words=False, break_on_hyphens=False
    )
    return [before, *(f"{space}{row}" for row in rows), f"{space[:-4]}{after}"]
