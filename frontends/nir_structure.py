"""From the nested groups of a NIR file to one flat graph of named nodes with ordered inputs."""

from __future__ import annotations

from dataclasses import dataclass, field

from snnir.frontends.nir_hdf5 import RawNode
from snnir.frontends.nir_notes import Notes

BOUNDARY = ("Input", "Output")


@dataclass
class Flat:
    """A flat graph.

    Attributes:
        nodes: Leaf nodes by their path.
        sources: For every node the nodes that feed it, without duplicates.
    """

    nodes: dict[str, RawNode] = field(default_factory=dict)
    sources: dict[str, list[str]] = field(default_factory=dict)

    def targets(self) -> dict[str, list[str]]:
        """Return for every node the nodes it feeds."""
        found: dict[str, list[str]] = {name: [] for name in self.nodes}
        for name, sources in self.sources.items():
            for source in sources:
                found[source].append(name)
        return found


def flatten(root: RawNode, notes: Notes) -> Flat:
    """Return the flat graph: scopes become dotted names, inner ports are wired through.

    What edges name wrongly is repaired if `notes` allows; errors are left in `notes`.
    """
    flat = Flat()
    edges: list[tuple[str, str]] = []
    _collect(root, "", flat, edges, notes)
    for name in flat.nodes:
        flat.sources[name] = []
    seen = set()
    for a, b in sorted(edges):
        if (a, b) in seen:
            notes.assume(f"the edge {a} -> {b} is there twice; it counts once", b)
            continue
        seen.add((a, b))
        flat.sources[b].append(a)
    _dissolve_ports(flat)
    _drop_islands(flat, notes)
    return flat


def _collect(
    graph: RawNode, prefix: str, flat: Flat, edges: list[tuple[str, str]], notes: Notes
) -> None:
    for a, b in _named_edges(graph, prefix, notes):
        ends_a = _ports(graph, prefix, a, "Output", notes)
        ends_b = _ports(graph, prefix, b, "Input", notes)
        edges.extend((x, y) for x in ends_a for y in ends_b)
    for name, node in graph.nodes.items():
        path = prefix + name
        if node.type == "NIRGraph":
            _collect(node, path + ".", flat, edges, notes)
        elif path in flat.nodes:
            notes.fail("SNN102", "two nodes have this path", path)
        else:
            flat.nodes[path] = node


def _ports(graph: RawNode, prefix: str, name: str, port: str, notes: Notes) -> list[str]:
    """Return the leaf nodes an edge end stands for: a node, or the port of a nested graph."""
    node, path = graph.nodes[name], prefix + name
    if node.type != "NIRGraph":
        return [path]
    ports = [key for key, inner in node.nodes.items() if inner.type == port]
    if len(ports) != 1:
        message = f"is a graph with {len(ports)} nodes of type {port}; an edge cannot say which"
        notes.fail("SNN102", message, path)
        return []
    return _ports(node, path + ".", ports[0], port, notes)


def _named_edges(graph: RawNode, prefix: str, notes: Notes) -> list[tuple[str, str]]:
    """Return the edges of one level with names that exist."""
    nodes = graph.nodes
    missing: dict[str, set[str]] = {}
    for a, b in graph.edges:
        for name, role in ((a, "source"), (b, "target")):
            if name not in nodes:
                missing.setdefault(name, set()).add(role)
    if not missing:
        return graph.edges
    meant = _meant(graph, missing)
    edges = []
    reported: set[tuple[str, str]] = set()
    for a, b in graph.edges:
        ends = []
        for name, role in ((a, "source"), (b, "target")):
            found = name if name in nodes else meant.get((name, role))
            if name not in nodes and (name, role) not in reported:
                reported.add((name, role))
                found = _accept(prefix, name, role, found, (a, b), notes)
                meant[(name, role)] = found
            ends.append(found)
        if ends[0] is not None and ends[1] is not None:
            edges.append((ends[0], ends[1]))
    return edges


def _accept(
    prefix: str, name: str, role: str, found: str | None, edge: tuple[str, str], notes: Notes
) -> str | None:
    message = f"the edge {edge[0]} -> {edge[1]} names '{name}' as its {role}, which is not there"
    if found is None:
        hint = "nothing tells which node is meant; correct the edge in the file"
        notes.fail("SNN103", message, prefix + name, hint)
        return None
    repaired = notes.fix("SNN103", message, f"take '{found}' for it", prefix + name)
    return found if repaired else None


def _meant(graph: RawNode, missing: dict[str, set[str]]) -> dict[tuple[str, str], str | None]:
    """Guess, for every missing (name, role), the one node it can stand for."""
    entered = {b for _, b in graph.edges}
    left = {a for a, _ in graph.edges}
    loose = [
        name
        for name, node in graph.nodes.items()
        if node.type not in BOUNDARY and name not in entered and name not in left
    ]
    meant: dict[tuple[str, str], str | None] = {}
    unsolved: list[str] = []
    for name, roles in missing.items():
        guesses = {role: _port_of(graph, name, role, entered, left) for role in roles}
        if all(guesses.values()):
            meant.update({(name, role): guess for role, guess in guesses.items()})
            continue
        scoped = [n for n in graph.nodes if n.endswith("." + name) or name.endswith("." + n)]
        scoped = [n for n in scoped if n in loose] or scoped
        if len(scoped) == 1:
            meant.update({(name, role): scoped[0] for role in roles})
            loose = [n for n in loose if n != scoped[0]]
        else:
            unsolved.append(name)
    for name, found in _pair_up(unsolved, loose).items():
        meant.update({(name, role): found for role in missing[name]})
    return meant


def _port_of(graph: RawNode, name: str, role: str, entered: set[str], left: set[str]) -> str | None:
    """A dissolved subgraph: `lif1` stands for the loose port `lif1.input` or `lif1.output`."""
    wanted, taken = ("Output", left) if role == "source" else ("Input", entered)
    ports = [
        key
        for key, node in graph.nodes.items()
        if node.type == wanted and key.startswith(name + ".") and key not in taken
    ]
    return ports[0] if len(ports) == 1 else None


def _pair_up(names: list[str], loose: list[str]) -> dict[str, str]:
    """Match missing names with unconnected nodes where only one matching makes sense."""
    if len(names) == 1 and len(loose) == 1:
        return {names[0]: loose[0]}
    pairs: dict[str, str] = {}
    for name in names:
        alike = [node for node in loose if node.startswith(name) or name.startswith(node)]
        rivals = [n for n in names if alike and (alike[0].startswith(n) or n.startswith(alike[0]))]
        if len(alike) == 1 and rivals == [name]:
            pairs[name] = alike[0]
    return pairs


def _dissolve_ports(flat: Flat) -> None:
    """Wire inner Input and Output nodes through: users of a port read what feeds it."""
    fed = {source for sources in flat.sources.values() for source in sources}
    ports = {
        name
        for name, node in flat.nodes.items()
        if (node.type == "Input" and flat.sources[name]) or (node.type == "Output" and name in fed)
    }
    if not ports:
        return
    resolved = {port: _behind(flat, port, ports) for port in ports}
    for name in flat.nodes:
        if name not in ports:
            real = [x for s in flat.sources[name] for x in resolved.get(s, [s])]
            flat.sources[name] = list(dict.fromkeys(real))
    for port in ports:
        del flat.nodes[port], flat.sources[port]


def _behind(flat: Flat, port: str, ports: set[str]) -> list[str]:
    found: list[str] = []
    pending, seen = [port], {port}
    while pending:
        for source in flat.sources[pending.pop()]:
            if source not in ports:
                found.append(source)
            elif source not in seen:
                seen.add(source)
                pending.append(source)
    return sorted(set(found))


def _drop_islands(flat: Flat, notes: Notes) -> None:
    """Leave out nodes without any edge; nothing they do can be seen."""
    fed = {source for sources in flat.sources.values() for source in sources}
    outputs = [name for name, node in flat.nodes.items() if node.type == "Output"]
    loose = [name for name in outputs if not flat.sources[name]]
    if loose and loose == outputs:
        notes.fail("SNN102", "is an output that nothing feeds", loose[0])
    for name in [n for n in flat.nodes if n not in fed and not flat.sources[n]]:
        notes.assume("has no edges and is left out", name)
        del flat.nodes[name], flat.sources[name]


def feedback_edges(flat: Flat, breaks: set[str]) -> list[tuple[str, str]]:
    """Return edges whose removal leaves no cycle: those that lead back along a walk from inputs.

    Args:
        flat: The graph.
        breaks: Nodes that delay by a step themselves; cycles through them need nothing.
    """
    targets = {name: sorted(users) for name, users in flat.targets().items()}
    roots = sorted(n for n in flat.nodes if not flat.sources[n])
    back: list[tuple[str, str]] = []
    state: dict[str, int] = {}
    for root in [*roots, *sorted(flat.nodes)]:
        if root in state:
            continue
        state[root] = 1
        stack = [(root, iter(targets[root]))]
        while stack:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                state[name] = 2
                stack.pop()
            elif following in breaks or state.get(following) == 2:
                continue  # a delaying node starts a walk of its own
            elif state.get(following) == 1:
                back.append((name, following))
            else:
                state[following] = 1
                stack.append((following, iter(targets[following])))
    return back
