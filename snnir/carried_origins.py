"""Origins through passes: what a pass changed of how neurons are stepped is noted as changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from snnir.ir.graph import Graph, Node
from snnir.ir.neuron import Neuron, Step
from snnir.ir.origins import Items, Origin, Origins, Scalar
from snnir.semantic_items import PROGRAM, step_items, stepping_items
from snnir.tensors import FrozenDict

_NEURONS = (Neuron, Step)
_NOTHING: Items = FrozenDict()


def carried(before: Graph, after: Graph, by: str) -> Graph:
    """Return a pass's result with the origins of what the pass changed.

    What the pass itself recorded of a node is left alone; nodes it renamed keep what is known.

    Args:
        before: The graph the pass took.
        after: The one it gave.
        by: What is said of the pass, such as `pass 'quantize'`.
    """
    if after is before:
        return after
    found = _Carrier(before, after, by)
    whole, nodes = found.whole(), found.nodes()
    if not whole and not nodes:
        return after
    known = after.provenance.origins
    origins = Origins(FrozenDict({**known.graph, **whole}), FrozenDict({**known.nodes, **nodes}))
    return replace(after, provenance=replace(after.provenance, origins=origins))


class _Carrier:
    """Compares two graphs; equal changes of nodes with the same origins give the same mapping."""

    def __init__(self, before: Graph, after: Graph, by: str) -> None:
        self.before, self.after, self.by = before, after, by
        self.old, self.new = before.provenance.origins, after.provenance.origins
        self.shared: dict[object, Items] = {}
        self._renamed: dict[int, str] | None = None

    def whole(self) -> dict[str, Origin]:
        """Return what changed of the whole graph."""
        found = {}
        for name in ("dt", "record_offset"):
            one, two = getattr(self.before, name), getattr(self.after, name)
            said = self.new.graph.get(name) != self.old.graph.get(name)
            if one != two and two is not None and not said:
                found[name] = Origin(two, Origin.CHANGED, self.by, one)
        return found

    def nodes(self) -> dict[str, Items]:
        """Return the new items of nodes whose stepping changed."""
        found = {}
        for name, node in self.after.nodes.items():
            was = self.before.nodes.get(name)
            if was is node or not isinstance(node.op, _NEURONS):
                continue
            items = self.items(was, node)
            if items is not None:
                found[name] = items
        return found

    def items(self, was: Node | None, node: Node) -> Items | None:
        """Return the new items of a node, None if they stay."""
        recorded = self.new.nodes.get(node.name)
        if recorded is not self.old.nodes.get(node.name):
            return None  # the pass has said so itself
        if was is not None and was.op is node.op:
            return None
        if was is not None and isinstance(was.op, _NEURONS):
            return self.altered(_items(was.op), _items(node.op), recorded or _NOTHING)
        if id(node.op) in self.renamed:
            return self.old.nodes.get(self.renamed[id(node.op)])
        return self.altered({}, _items(node.op), _NOTHING)

    @property
    def renamed(self) -> dict[int, str]:
        """Neurons that went, by the identity of their op."""
        if self._renamed is None:
            self._renamed = {
                id(node.op): name
                for name, node in self.before.nodes.items()
                if isinstance(node.op, _NEURONS) and name not in self.after.nodes
            }
        return self._renamed

    def altered(
        self, one: Mapping[str, Scalar], two: Mapping[str, Scalar], recorded: Items
    ) -> Items | None:
        """Return the items after a change from `one` to `two`, None if these are equal."""
        if one == two:
            return None
        key = (id(recorded), tuple(one.items()), tuple(two.items()))
        if key not in self.shared:
            made = dict(recorded) or {name: Origin(value) for name, value in one.items()}
            for name, value in two.items():
                if name not in one:
                    before = "a step of the LIF family" if name == PROGRAM and one else None
                    made[name] = Origin(value, Origin.CHANGED, self.by, before)
                elif one[name] != value:
                    known = made.get(name) or Origin(one[name])
                    made[name] = known.changed(value, self.by)
            self.shared[key] = FrozenDict(made)
        return self.shared[key]


def _items(op: object) -> dict[str, Scalar]:
    if isinstance(op, Step):
        return step_items(op)
    assert isinstance(op, Neuron)
    return {} if op.stepping is None else stepping_items(op.definition, op.stepping)
