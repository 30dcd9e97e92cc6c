"""Recurrences: an `scf.for` over time around one step of everything in them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from snnir.artefact import populations
from snnir.ir.graph import Node, Value
from snnir.ir.neuron import Step
from snnir.ir.timing import Delay
from snnir.targets.mlir_code.code import COUNT, Array
from snnir.targets.mlir_code.populations import Population, results_of

if TYPE_CHECKING:
    from snnir.targets.mlir_code.function import Function


def past(name: str) -> str:
    """Return the name of what a delay holds, which no other node's state has."""
    return f"{name}:past"


class Loop:
    """Nodes that step together.

    Args:
        function: The function it is part of.
        names: The nodes, in dataflow order.
    """

    def __init__(self, function: Function, names: Sequence[str]) -> None:
        self.function, self.code, self.graph = function, function.code, function.graph
        self.nodes = [self.graph.nodes[name] for name in names]
        inside = set(names)
        self.delays = {
            node.name: node.op
            for node in self.nodes
            if isinstance(node.op, Delay)  # of one step at least: graphs are verified
        }
        self.populations = {
            node.name: Population(function.elements, function.lowering.weights, node)
            for node in self.nodes
            if isinstance(node.op, Step)
        }
        read = {value for node in self.nodes for value in node.operands}
        self.outside = sorted((v for v in read if v.node not in inside), key=str)
        self.carried = [
            port for port in function.lowering.states() if port.name.rpartition(":")[0] in inside
        ]
        self.given = self.given_values(inside)

    def given_values(self, inside: set[str]) -> list[Value]:
        """Return the streams that are needed for all steps: those that others read or record."""
        results = [value for node in self.nodes for value in results_of(node)]
        if self.function.traced:
            return results
        wanted = set(self.graph.outputs.values()) | {Value(n) for n in populations(self.graph)}
        for node in self.graph.nodes.values():
            if node.name not in inside:
                wanted |= set(node.operands)
        return [value for value in results if value in wanted]

    def write(self) -> None:
        """Write the loop; its streams and states become those of the function."""
        code, function = self.code, self.function
        for node in self.nodes:
            function.comment(node)
        states = {port.name: function.states[port.name] for port in self.carried}
        traced = [p for p in self.carried if not p.steps] if function.traced else []
        kinds = [(self.graph.signals[v].shape, function.elements.of(v)) for v in self.given]
        kinds += [(port.shape, port.element) for port in traced]
        rooms = [code.filled((*function.lead, *s), code.number(0, e)) for s, e in kinds]

        def turn(at: str, carried: list[Array]) -> list[Array]:
            now, new = self.step(at, dict(zip(states, carried, strict=False)))
            made = [*(now[v] for v in self.given), *(new[p.name] for p in traced)]
            into = zip(made, carried[len(states) :], strict=True)
            return [
                *(new[name] for name in states),
                *(code.placed(y, room, at) for y, room in into),
            ]

        found = code.repeated([*states.values(), *rooms], COUNT, 1, turn)
        function.states |= dict(zip(states, found, strict=False))
        rest = found[len(states) :]
        function.values |= dict(zip(self.given, rest, strict=False))
        traces = rest[len(self.given) :]
        function.histories |= {p.name: y for p, y in zip(traced, traces, strict=True)}

    def step(
        self, at: str, states: dict[str, Array]
    ) -> tuple[dict[Value, Array], dict[str, Array]]:
        """Write one step: delays give what they hold, the rest runs in order, delays take in.

        Args:
            at: The step.
            states: What is carried into it.

        Returns:
            Every stream [batch, *features], and what is carried out.
        """
        now = {value: self.code.item(self.function.values[value], at) for value in self.outside}
        new = dict(states)
        for node in self.nodes:
            if node.name in self.populations:
                population = self.populations[node.name]
                own = {key: states[f"{node.name}:{key}"] for key in population.states}
                inputs = [now[value] for value in node.operands]
                made, after = population.step(self.code, inputs, own)
                now |= {Value(node.name, k): y for k, y in enumerate(made)}
                new |= {f"{node.name}:{key}": y for key, y in after.items()}
            elif node.name in self.delays:
                now[Value(node.name)] = self.read(node, states[past(node.name)])
            else:
                now[Value(node.name)] = self.function.stateless(
                    node, [now[v] for v in node.operands]
                )
        for node in self.nodes:
            if node.name in self.delays:
                line = states[past(node.name)]
                new[past(node.name)] = self.taken_in(line, now[node.operands[0]])
        return now, new

    def read(self, node: Node, held: Array) -> Array:
        """Return what a delay gives in a step."""
        steps = self.function.delays(node)
        if steps is None:
            return self.code.item(held, 0)
        dims, length = (1, *held.dims[1:]), self.delays[node.name].longest
        return self.code.item(self.function.further_back(held, dims, length, steps), 0)

    def taken_in(self, held: Array, x: Array) -> Array:
        """Return the line of a delay after a step."""
        x = self.code.converted(x, held.element)
        line = self.code.joined([held, self.code.stacked([x])], 0)
        return self.code.part(line, [1, *(0 for _ in x.dims)], held.dims)
