"""Kind and shape inference over whole graphs, recurrent ones included."""

from __future__ import annotations

from collections import deque

from snnir.errors import Diagnostic, SnnirError
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import OpError, Results
from snnir.ir.structure import Add
from snnir.streams import Signal

Known = dict[Value, Signal]


def infer_signals(graph: Graph) -> Known:
    """Return the type of every value.

    Nodes are visited in dataflow order. Where a cycle leaves operands unknown, a sum has the type
    of the operands that are known; if that is not enough, an op may still tell its result (a
    synapse from its weights, a neuron from its parameters). Whatever was taken that way is
    checked again once everything is known. Linear in the graph's size but for such guesses.

    Raises:
        SnnirError: SNN202 or SNN203 with every misfit, or SNN201 where a shape stays unknown.
    """
    known: Known = {}
    problems: list[Diagnostic] = []
    done: set[str] = set()
    late: list[str] = []
    waiting = deque(graph.order)
    stuck = deque(graph.order)
    while waiting or stuck:
        if waiting:
            name, guess = waiting.popleft(), False
        else:
            name, guess = stuck.popleft(), True
        node = graph.nodes[name]
        complete = all(value in known for value in node.operands)
        if name in done or not (guess or complete or _is_partial_sum(node, known)):
            continue
        results = _results(node, known, problems)
        if not complete:
            late.append(name)
            if None in results:
                continue
        done.add(name)
        known.update({Value(name, i): s for i, s in enumerate(results) if s is not None})
        if late:
            waiting.extend(user for user, _ in graph.uses[name] if user not in done)
    if not problems:
        problems.extend(_recheck(graph, known, late))
    if problems:
        raise SnnirError(dict.fromkeys(problems))
    return known


def _is_partial_sum(node: Node, known: Known) -> bool:
    """Whether the known operands of a sum tell its type: all of them must have one."""
    return isinstance(node.op, Add) and any(value in known for value in node.operands)


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
