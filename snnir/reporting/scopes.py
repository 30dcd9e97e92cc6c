"""The scopes of a graph: which nodes belong together by their names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

#: What separates the parts of a path: NIR's and PyTorch's names have dots, others slashes.
_SEPARATOR = re.compile(r"[./]")
#: Scopes deeper than this are not told apart.
_DEEPEST = 12


@dataclass
class Scope:
    """A part of a graph with a name of its own.

    Attributes:
        path: What the names of everything inside begin with, separator excluded; "" is the graph.
        parent: Index of the scope around it, -1 for the graph.
        nodes: Indices of the nodes that stand in it directly.
        scopes: Indices of the scopes that stand in it directly.
    """

    path: str
    parent: int
    nodes: list[int] = field(default_factory=list)
    scopes: list[int] = field(default_factory=list)


def find_scopes(names: Iterable[str]) -> list[Scope]:
    """Return the scopes of a graph, parents before children, the graph itself first.

    A path is a scope if it is no node itself (what a reader puts beside a node `lif`, such as
    `lif.sum`, stands where `lif` stands) and holds more than one thing.

    Args:
        names: Names of the nodes.
    """
    listed = list(names)
    taken = set(listed)
    found = [Scope("", -1)]
    known: dict[str, int] = {}
    for index, name in enumerate(listed):
        inside = 0
        for path in _prefixes(name, taken):
            if path not in known:
                known[path] = len(found)
                found[inside].scopes.append(len(found))
                found.append(Scope(path, inside))
            inside = known[path]
        found[inside].nodes.append(index)
    return _without_single(found)


def _prefixes(name: str, taken: Collection[str]) -> list[str]:
    """Return the paths of the scopes a node is in, the outermost first."""
    cuts = [match.start() for match, _ in zip(_SEPARATOR.finditer(name), range(_DEEPEST))]  # noqa: B905
    return [name[:cut] for cut in cuts if cut and name[:cut] not in taken]


def _without_single(scopes: list[Scope]) -> list[Scope]:
    """Return the scopes without those that hold one thing, which moves out of them."""
    # One thing takes the place of another, so these do not change.
    counts = [len(scope.nodes) + len(scope.scopes) for scope in scopes]
    for scope, count in reversed(list(zip(scopes, counts, strict=True))[1:]):  # inner ones first
        if count == 1:
            outer = scopes[scope.parent]
            outer.nodes += scope.nodes
            outer.scopes += scope.scopes
            for inner in scope.scopes:
                scopes[inner].parent = scope.parent
            scope.nodes, scope.scopes = [], []
    kept = [at for at, scope in enumerate(scopes) if at == 0 or scope.nodes or scope.scopes]
    renumbered = {old: new for new, old in enumerate(kept)}
    return [
        Scope(
            scopes[at].path,
            renumbered.get(scopes[at].parent, -1),
            sorted(scopes[at].nodes),
            sorted(renumbered[inner] for inner in scopes[at].scopes if inner in renumbered),
        )
        for at in kept
    ]
