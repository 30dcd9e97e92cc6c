"""Kind and shape inference over whole graphs, recurrent ones included."""

from __future__ import annotations

from collections import deque

from snnir.errors import Diagnostic, SnnirError
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import OpError, Results
from snnir.streams import Signal

Known = dict[Value, Signal]


def infer_signals(graph: Graph) -> Known:
    """Return the type of every value.

    Nodes are visited in dataflow order; where a cycle leaves an operand unknown, an op may still
    know its result (a synapse from its weights, a neuron from its parameters). Whatever was
    guessed that way is checked again once everything is known. Linear in the graph's size.

    Raises:
        SnnirError: SNN202 or SNN203 with every misfit, or SNN201 where a shape stays unknown.
    """
    known: Known = {}
    problems: list[Diagnostic] = []
    waiting = deque(graph.order)
    late: list[str] = []
    while waiting:
        name = waiting.popleft()
        node = graph.nodes[name]
        if any(value not in known for value in node.operands):
            late.append(name)
        results = _results(node, known, problems)
        fresh = [
            (Value(name, index), signal)
            for index, signal in enumerate(results)
            if signal is not None and Value(name, index) not in known
        ]
        known.update(fresh)
        if fresh and late:
            waiting.extend(user for user, _ in graph.uses[name] if Value(user) not in known)
    if not problems:
        problems.extend(_recheck(graph, known, late))
    if problems:
        raise SnnirError(dict.fromkeys(problems))
    return known


def _results(node: Node, known: Known, problems: list[Diagnostic]) -> Results:
    try:
        return node.op.infer([known.get(value) for value in node.operands])
    except OpError as failure:
        problems.append(
            Diagnostic(failure.code, failure.message, node=node.name, hint=failure.hint)
        )
        return ()


def _recheck(graph: Graph, known: Known, late: list[str]) -> list[Diagnostic]:
    problems: list[Diagnostic] = []
    for name in dict.fromkeys(late):
        node = graph.nodes[name]
        for index, signal in enumerate(_results(node, known, problems)):
            guessed = known.get(Value(name, index))
            if signal is None:
                message = "its shape cannot be inferred: nothing in the cycle states one"
                problems.append(Diagnostic("SNN201", message, node=name))
            elif guessed != signal:
                message = f"its type is {guessed} by its parameters but {signal} by its operands"
                problems.append(Diagnostic("SNN202", message, node=name))
    return problems
