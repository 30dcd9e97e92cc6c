"""Orders and components of a graph; what is taken in late may be run against the flow."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping

from snnir.errors import error
from snnir.ir.graph import Graph


def flow_order(
    sources: Mapping[str, Collection[str]], late: Mapping[str, Collection[str]] | None = None
) -> list[str]:
    """Order names so that sources come first; late ones may follow where they close a cycle.

    Linear in names and edges, and stable. What is in a cycle without a late source is left out.

    Args:
        sources: For every name, the names it depends on.
        late: Of some names, further sources that it takes in only when a step ends; names in
            order of preference.
    """
    late = late or {}
    users: dict[str, list[tuple[str, bool]]] = {name: [] for name in sources}
    pending: dict[str, int] = {}
    waiting: dict[str, int] = {}
    for name, needed in sources.items():
        later = {source for source in late.get(name, ()) if source in users} - set(needed)
        known = {source for source in needed if source in users}
        pending[name], waiting[name] = len(known) + len(later), len(known)
        for source in known:
            users[source].append((name, False))
        for source in later:
            users[source].append((name, True))
    ready = deque(name for name, count in pending.items() if count == 0)
    early = deque(name for name in late if waiting[name] == 0)
    placed: dict[str, None] = {}
    while ready or early:
        name = ready.popleft() if ready else early.popleft()
        if name in placed:
            continue
        placed[name] = None
        for user, is_late in users[name]:
            pending[user] -= 1
            if pending[user] == 0:
                ready.append(user)
            if not is_late:
                waiting[user] -= 1
                if waiting[user] == 0 and user in late:
                    early.append(user)
    return list(placed)


def dataflow_order(graph: Graph) -> list[str]:
    """Order nodes so that operands come first, but for late ones that close a cycle.

    Raises:
        SnnirError: SNN204 naming the nodes of a cycle without a delay.
    """
    sources: dict[str, set[str]] = {}
    late: dict[str, set[str]] = {}
    for node in graph.nodes.values():
        later = set(node.op.late_operands(len(node.operands)))
        sources[node.name] = {v.node for i, v in enumerate(node.operands) if i not in later}
        if later:
            late[node.name] = {node.operands[i].node for i in later}
    order = flow_order(sources, late)
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
        node = graph.nodes[name]
        later = node.op.late_operands(len(node.operands))
        name = next(
            v.node for i, v in enumerate(node.operands) if v.node in blocked and i not in later
        )
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
