"""Schedules: in which order, and in which manner, the parts of a graph run.

The condensation of the graph is run in topological order. A part without recurrence processes
many steps at once: stateless ops on time and batch merged, neurons as one scan over time. What
only one population reads (its synapses, their sum) makes one unit with it, so that its currents
need not be kept. Only a true recurrence steps all its nodes together.
"""

from __future__ import annotations

from dataclasses import dataclass

from snnir.errors import shown
from snnir.ir.graph import Graph, Node
from snnir.ir.order import components
from snnir.ir.plastic import Plastic
from snnir.ir.random import Uniform
from snnir.ir.timing import Delay


@dataclass(frozen=True)
class Stage:
    """One component of the graph.

    Attributes:
        kind: `batched` (stateless, all steps of a tile at once), `scan` (one neuron population, or
            random numbers, over time), `unit` (stateless nodes that nobody else reads, then the
            population that reads them), `shift` (a delay line) or `loop` (a recurrence, or synapses
            that learn, stepped together).
        nodes: Names in dataflow order; more than one only in a unit or a loop.
    """

    kind: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Schedule:
    """The order in which a graph is run; every software target follows it.

    Attributes:
        stages: Each after those it reads, but for what it reads of the step before.
    """

    stages: tuple[Stage, ...]

    def __str__(self) -> str:
        return "\n".join(
            f"{stage.kind:8}{', '.join(shown(name, len(name)) for name in stage.nodes)}"
            for stage in self.stages
        )


def schedule(graph: Graph) -> Schedule:
    """Return the schedule of a verified graph; linear in its size."""
    if not any(_is_late(node) for node in graph.nodes.values()):
        # Every cycle has an operand that is taken in late; without one, the order is the schedule.
        stages = [_stage(graph, [name]) for name in graph.order]
    else:
        successors = {
            name: list(dict.fromkeys(user for user, _ in graph.uses[name])) for name in graph.order
        }
        stages = [_stage(graph, group) for group in components(successors)]
    return Schedule(tuple(_with_units(graph, stages)))


def _is_late(node: Node) -> bool:
    return len(node.op.late_operands(len(node.operands))) > 0


def _stage(graph: Graph, names: list[str]) -> Stage:
    node = graph.nodes[names[0]]
    is_loop = len(names) > 1 or any(value.node == node.name for value in node.operands)
    if is_loop or isinstance(node.op, Plastic):
        return Stage("loop", tuple(names))
    if isinstance(node.op, Delay):
        return Stage("shift", (node.name,))
    return Stage("batched" if node.op.is_stateless else "scan", (node.name,))


def _with_units(graph: Graph, stages: list[Stage]) -> list[Stage]:
    """Put every stateless node that only one population reads, however far, into its stage."""
    given = {value.node for value in graph.outputs.values()}
    place: dict[str, int] = {}
    members: dict[int, list[str]] = {}
    for index in range(len(stages) - 1, -1, -1):
        stage = stages[index]
        name = stage.nodes[0]
        if stage.kind == "scan" and not isinstance(graph.nodes[name].op, Uniform):
            place[name], members[index] = index, [name]
        elif stage.kind == "batched" and graph.nodes[name].operands and name not in given:
            readers = {place.get(user, -1) for user, _ in graph.uses[name]}
            if len(readers) == 1 and -1 not in readers:
                place[name] = readers.pop()
                members[place[name]].append(name)
    found = []
    for index, stage in enumerate(stages):
        if index in members and len(members[index]) > 1:
            found.append(Stage("unit", tuple(reversed(members[index]))))
        elif stage.kind != "batched" or stage.nodes[0] not in place:
            found.append(stage)
    return found
