"""What a pass changed, as text: the node before and the node after, weights by type and shape."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from snnir.ir.graph import Graph, Node
from snnir.ir.neuron import Step
from snnir.ir.printer import Printer, is_inline, program_lines, tensor_text
from snnir.streams import shape_text
from snnir.tensors import Tensor

#: Changes that a record of one pass keeps.
MOST = 100
#: Lines of a step program, and characters of a node, that a change keeps.
_LINES, _CHARACTERS = 40, 3000
#: Elements that are compared together.
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Change:
    """What a pass did to one node.

    Attributes:
        node: Its name; None for the graph's own header and outputs.
        before: Its line in the text form and its step program, weights given by type and shape;
            None if the pass made the node.
        after: The same afterwards; None if the pass removed the node.
    """

    node: str | None
    before: str | None
    after: str | None


def count_changed(before: Graph, after: Graph) -> int:
    """Return the number of nodes that were added, removed or altered."""
    added = sum(1 for name in after.nodes if name not in before.nodes)
    return added + sum(1 for _ in _gone_or_altered(before, after))


def changes_of(before: Graph, after: Graph, most: int = MOST) -> tuple[Change, ...]:
    """Return the first changes between two graphs, in the order of their nodes.

    Nothing of the graphs is kept alive.

    Args:
        before: The graph the pass took.
        after: The one it gave.
        most: Number of nodes that are told.
    """
    if after is before:
        return ()
    old, new = _Brief(before), _Brief(after)
    found = list(_graph_change(old, new))
    for name in _limited(_gone_or_altered(before, after), most):
        node = after.nodes.get(name)
        text = old.told(before.nodes[name])
        new.known = old.seen
        found.append(Change(name, text, None if node is None else new.told(node)))
    new.known = {}
    made = (name for name in after.nodes if name not in before.nodes)
    rest = most - sum(1 for change in found if change.node is not None)
    found += [Change(name, None, new.told(after.nodes[name])) for name in _limited(made, rest)]
    return tuple(found)


def _gone_or_altered(before: Graph, after: Graph) -> Iterator[str]:
    return (name for name, old in before.nodes.items() if after.nodes.get(name) is not old)


def _limited(names: Iterable[str], most: int) -> Iterator[str]:
    return (name for name, _ in zip(names, range(most), strict=False))


def _graph_change(old: _Brief, new: _Brief) -> Iterator[Change]:
    one, two = (f"graph({side.header()}) {side.results()}" for side in (old, new))
    if one != two:
        yield Change(None, _cut(one), _cut(two))


class _Brief(Printer):
    """Prints single nodes without the digests of weights, which would have to be computed.

    Attributes:
        seen: Weights of the node printed last, by name.
        known: Weights that were there before: those of other values are marked.
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.seen: dict[str, Tensor] = {}
        self.known: dict[str, Tensor] = {}

    def told(self, node: Node) -> str:
        """Return a node's line and its step program."""
        self.seen = {}
        lines = [self.node(node)]
        if isinstance(node.op, Step) and node.op.dynamics is node.op.program:
            program = list(program_lines(node.op.program, self.program(node.op.program)))
            more = len(program) - _LINES
            lines += program if more <= 0 else [*program[:_LINES], f"… {more} more lines"]
        return _cut("\n".join(lines))

    def tensor(self, value: Tensor, name: str) -> str:
        if is_inline(value):
            return tensor_text(value, name)
        self.seen[name] = value
        other = name in self.known and _differ(self.known[name], value)
        return shape_text(value.shape, value.dtype) + (" of other values" if other else "")


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else f"{text[:_CHARACTERS]} …"


def _differ(one: Tensor, two: Tensor) -> bool:
    """Whether two weights of one type and shape have different elements."""
    if one is two or (one.shape, one.dtype) != (two.shape, two.dtype):
        return False
    if not (one.is_resolved and two.is_resolved):
        return one.digest != two.digest
    a, b = np.atleast_1d(one.numpy()), np.atleast_1d(two.numpy())
    rows = max(1, _CHUNK * len(a) // max(1, a.size))
    return any(
        not np.array_equal(a[at : at + rows], b[at : at + rows]) for at in range(0, len(a), rows)
    )
