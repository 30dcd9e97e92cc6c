"""Orders and components of a graph; delays are what may be run against the flow."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping

from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.ir.timing import Delay


def flow_order(sources: Mapping[str, Collection[str]], delays: Iterable[str]) -> list[str]:
    """Order names so that sources come first; a delay may come earlier where it closes a cycle.

    Linear in names and edges, and stable. What is in a cycle without a delay is left out.

    Args:
        sources: For every name, the names it depends on.
        delays: Names that may be placed before their sources, in order of preference.
    """
    users: dict[str, list[str]] = {name: [] for name in sources}
    pending: dict[str, int] = {}
    for name, needed in sources.items():
        known = {source for source in needed if source in users}
        pending[name] = len(known)
        for source in known:
            users[source].append(name)
    ready = deque(name for name, count in pending.items() if count == 0)
    held = deque(delays)
    placed: dict[str, None] = {}
    while ready or held:
        name = ready.popleft() if ready else held.popleft()
        if name in placed:
            continue
        placed[name] = None
        for user in users[name]:
            pending[user] -= 1
            if pending[user] == 0:
                ready.append(user)
    return list(placed)


def dataflow_order(graph: Graph) -> list[str]:
    """Order nodes so that operands come first, but for delays that close a cycle.

    Raises:
        SnnirError: SNN204 naming the nodes of a cycle without a delay.
    """
    sources = {node.name: {v.node for v in node.operands} for node in graph.nodes.values()}
    delays = [node.name for node in graph.nodes.values() if isinstance(node.op, Delay)]
    order = flow_order(sources, delays)
    if len(order) < len(graph.nodes):
        placed = set(order)
        raise _loop_error(graph, [name for name in graph.nodes if name not in placed])
    return order


def _loop_error(graph: Graph, stuck: list[str]) -> Exception:
    blocked = set(stuck)
    path: dict[str, None] = {}
    name = stuck[0]
    while name not in path:
        path[name] = None
        name = next(v.node for v in graph.nodes[name].operands if v.node in blocked)
    cycle = list(path)[list(path).index(name) :]
    shown = " <- ".join([*cycle[:6], "..." if len(cycle) > 6 else name])
    return error(
        "SNN204",
        f"cycle without a delay: {shown}",
        node=name,
        hint="put a delay of at least one step on the recurrent edge",
    )


def components(successors: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return strongly connected components in topological order, each in the given order."""
    import networkx

    whole: networkx.DiGraph[str] = networkx.DiGraph()
    whole.add_nodes_from(successors)
    whole.add_edges_from((a, b) for a, following in successors.items() for b in following)
    position = {name: index for index, name in enumerate(successors)}
    found = list(networkx.strongly_connected_components(whole))
    # Tarjan's algorithm yields each component after everything it reaches.
    return [sorted(component, key=position.__getitem__) for component in reversed(found)]
