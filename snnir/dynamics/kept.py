"""What a step has to remember for its gradient: the fewest values that give all it needs.

A gradient program reads values of the step it belongs to. It can compute them again from the inputs
and the states before the step, but often fewer values do: of a leaky integrate-and-fire neuron the
potential before the reset is enough. They are a minimum cut between what the step reads and what
the gradient needs (as in the partitioner of torch's AOTAutograd).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from math import inf

from snnir.dynamics.adjoint import Adjoint
from snnir.dynamics.program import Dynamics, Operand, only


def gradient_of(
    program: Dynamics, made: Adjoint, results: Iterable[Operand], given: Sequence[str] = ()
) -> tuple[tuple[str, ...], Dynamics]:
    """Return the values to keep, and the gradient that computes the results from them.

    Args:
        program: The step.
        made: Its gradient.
        results: What is wanted of the gradient.
        given: Values that are kept anyway.

    Returns:
        Names of inputs, states and intermediate numbers of the step, the given ones first, and
        the gradient program without what the results and the kept values make unnecessary.
    """
    wanted = [name for name in results if isinstance(name, str)]
    live = only(made.program, wanted)
    kept = (*given, *_cut(program, live, wanted, given))
    return kept, only(live, wanted, given=kept)


def _cut(
    program: Dynamics, live: Dynamics, wanted: Collection[str], given: Collection[str]
) -> tuple[str, ...]:
    import networkx

    types = program.types()
    sources = [*program.inputs, *(state.name for state in program.states)]
    forward = {*sources, *(let.target for let in program.body)}
    needed = {name for name in wanted if name in forward}
    for let in live.body:
        if let.target not in forward:
            needed |= {arg for arg in let.args if arg in forward}
    flow: networkx.DiGraph[str] = networkx.DiGraph()
    flow.add_nodes_from(("start", "end"))
    for name in forward:
        # Truth values are computed again: a float each would be the larger to keep.
        cost = 0 if name in given else inf if types[name] == "bool" else 1
        flow.add_edge(f"in {name}", f"out {name}", capacity=cost)
    for name in sources:
        flow.add_edge("start", f"in {name}", capacity=inf)
    for let in program.body:
        for arg in let.args:
            if arg in forward:
                flow.add_edge(f"out {arg}", f"in {let.target}", capacity=inf)
    for name in needed:
        flow.add_edge(f"out {name}", "end", capacity=inf)
    _, (before, _) = networkx.minimum_cut(flow, "start", "end")
    order = [*sources, *(let.target for let in program.body)]
    cut = (n for n in order if f"in {n}" in before and f"out {n}" not in before)
    return tuple(name for name in cut if name not in given)
