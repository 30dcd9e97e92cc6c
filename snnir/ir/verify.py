"""The verifier: every rule a graph must keep, all violations reported at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from snnir.errors import Diagnostic, SnnirError
from snnir.ir.graph import Graph, Node
from snnir.ir.op import OPS
from snnir.ir.timing import Delay

#: A stream with more elements than this per step is taken for a mistake, or an attack.
MAX_ELEMENTS = 1 << 28

Rule = Callable[[Graph], Iterator[Diagnostic]]


def verify(graph: Graph) -> Graph:
    """Return the graph if it keeps every rule.

    Raises:
        SnnirError: All violations. Structural ones are reported before types are inferred.
    """
    for rules in (STRUCTURE, VALUES):
        problems = [problem for rule in rules for problem in rule(graph)]
        if problems:
            raise SnnirError(problems)
    graph.order  # noqa: B018  (raises SNN204)
    problems = [problem for rule in TYPES for problem in rule(graph)]
    if problems:
        raise SnnirError(problems)
    return graph


def _names(graph: Graph) -> Iterator[Diagnostic]:
    for key, node in graph.nodes.items():
        if key != node.name or not node.name:
            yield Diagnostic("SNN201", f"is stored under the name '{key}'", node=node.name)
        if OPS.get(node.op.name) is not type(node.op):
            hint = "load what registers it, with --plugin"
            message = f"op '{node.op.name}' is not registered"
            yield Diagnostic("SNN106", message, node=node.name, hint=hint)


def _operands(graph: Graph) -> Iterator[Diagnostic]:
    for node in graph.nodes.values():
        arity, count = node.op.operand_count, len(node.operands)
        if (arity is None and count == 0) or (arity is not None and arity != count):
            wanted = "at least one operand" if arity is None else f"{arity} operand(s)"
            message = f"{node.op.name} takes {wanted}, got {count}"
            yield Diagnostic("SNN201", message, node=node.name)
        for value in node.operands:
            if value.node not in graph.nodes:
                message = f"reads '{value.node}', which is not in the graph"
                yield Diagnostic("SNN201", message, node=node.name)


def _outputs(graph: Graph) -> Iterator[Diagnostic]:
    if not graph.outputs:
        yield Diagnostic("SNN201", "the graph has no output")
    for name, value in graph.outputs.items():
        if value.node not in graph.nodes:
            yield Diagnostic("SNN201", f"output '{name}' reads missing node '{value.node}'")


def _step_length(graph: Graph) -> Iterator[Diagnostic]:
    if graph.dt is not None and not (math.isfinite(graph.dt) and graph.dt > 0):
        yield Diagnostic("SNN303", f"dt is {graph.dt}, must be a positive number of seconds")
    if graph.record_offset < 0:
        yield Diagnostic("SNN201", f"record_offset is {graph.record_offset}, cannot be negative")


def _finite(graph: Graph) -> Iterator[Diagnostic]:
    for node in graph.nodes.values():
        for name, value in node.op.tensors().items():
            if value.has_nan:
                yield Diagnostic("SNN105", f"{name} contains NaN", node=node.name)


def _delays(graph: Graph) -> Iterator[Diagnostic]:
    recurrent = [n for n in graph.nodes.values() if isinstance(n.op, Delay) and n.op.shortest == 0]
    if not recurrent:
        return
    from snnir.ir.order import components

    successors: dict[str, list[str]] = {
        name: [user for user, _ in users] for name, users in graph.uses.items()
    }
    cyclic = {n for group in components(successors) for n in group if len(group) > 1}
    for node in recurrent:
        if node.name in cyclic or _reads_itself(node):
            message = "a delay that closes a cycle must be at least one step"
            yield Diagnostic("SNN204", message, node=node.name, hint="give it steps = 1 or more")


def _reads_itself(node: Node) -> bool:
    return any(value.node == node.name for value in node.operands)


def _types(graph: Graph) -> Iterator[Diagnostic]:
    try:
        signals = graph.signals
    except SnnirError as failure:
        yield from failure.diagnostics
        return
    for value, signal in signals.items():
        if signal.size > MAX_ELEMENTS:
            message = f"shape {list(signal.shape)} has more than {MAX_ELEMENTS} elements"
            yield Diagnostic("SNN107", message, node=value.node)
    used = [(node.name, value) for node in graph.nodes.values() for value in node.operands]
    for user, value in [*used, *(("output", value) for value in graph.outputs.values())]:
        if value not in signals:
            message = f"reads result {value.result} of '{value.node}', which has no such result"
            yield Diagnostic("SNN201", message, node=user)


STRUCTURE: tuple[Rule, ...] = (_names, _operands, _outputs, _step_length)
VALUES: tuple[Rule, ...] = (_finite, _delays)
TYPES: tuple[Rule, ...] = (_types,)
