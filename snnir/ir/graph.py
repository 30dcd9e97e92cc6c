"""The graph level: nodes, values, immutable graphs and the editor that derives new ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from snnir.errors import error
from snnir.ir.names import fresh_name
from snnir.ir.op import Op
from snnir.ir.origins import Origins
from snnir.streams import Signal
from snnir.tensors import FrozenDict, Tensor

if TYPE_CHECKING:
    import networkx

Scalar = str | int | float | bool


class Value(NamedTuple):
    """One result of one node, by name; the only way ops refer to each other."""

    node: str
    result: int = 0


@dataclass(frozen=True)
class Node:
    """One op application.

    Attributes:
        name: Path from the source model, such as `block1.lif`; unique in the graph.
        op: What is computed.
        operands: The values it consumes at each step.
        metadata: Strings and numbers a file or model carried for this node; kept, and read by
            nothing but the way back to where they are from.
    """

    name: str
    op: Op
    operands: tuple[Value, ...] = ()
    metadata: FrozenDict[Scalar] = field(default_factory=FrozenDict)


@dataclass(frozen=True)
class Provenance:
    """Where a graph came from.

    Attributes:
        source: Name of the file or class it was imported from.
        digest: SHA-256 of that file, if it was one.
        notes: Assumptions and repairs made on the way, one sentence each.
        origins: Where each item of the semantics is from, as far as that is known; not part of
            equality, and not in MLIR.
    """

    source: str = ""
    digest: str = ""
    notes: tuple[str, ...] = ()
    origins: Origins = field(default_factory=Origins, compare=False)


@dataclass(frozen=True, eq=True)
class Graph:
    """A synchronous dataflow graph of typed streams.

    At every step each node consumes one value per operand and produces one per result. Every
    cycle passes through a `delay` of at least one step.

    Attributes:
        nodes: All nodes by name; insertion order is printing order and carries no meaning.
        outputs: The graph's results by name.
        dt: Step length in seconds, or None while models are still continuous.
        name: Name of the model.
        record_offset: Steps by which outputs and records are reported late; platforms that log a
            step late are described by it.
        provenance: Where the graph came from; not part of equality.
    """

    nodes: Mapping[str, Node]
    outputs: Mapping[str, Value]
    dt: float | None = None
    name: str = "main"
    record_offset: int = 0
    provenance: Provenance = field(default_factory=Provenance, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.nodes, FrozenDict):
            object.__setattr__(self, "nodes", FrozenDict(self.nodes))
        if not isinstance(self.outputs, FrozenDict):
            object.__setattr__(self, "outputs", FrozenDict(self.outputs))

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def inputs(self) -> dict[str, Signal]:
        """The graph's inputs by node name, in graph order."""
        from snnir.ir.structure import Input

        return {n.name: n.op.signal for n in self.nodes.values() if isinstance(n.op, Input)}

    @cached_property
    def uses(self) -> dict[str, list[tuple[str, int]]]:
        """For every node, the (node, operand index) pairs that consume any of its results."""
        uses: dict[str, list[tuple[str, int]]] = {name: [] for name in self.nodes}
        for node in self.nodes.values():
            for index, value in enumerate(node.operands):
                uses.setdefault(value.node, []).append((node.name, index))
        return uses

    @cached_property
    def order(self) -> list[str]:
        """Node names in dataflow order; a delay comes before what feeds it only in a cycle.

        Raises:
            SnnirError: SNN204 if a cycle has no delay.
        """
        from snnir.ir.order import dataflow_order

        return dataflow_order(self)

    @cached_property
    def signals(self) -> dict[Value, Signal]:
        """Type of every value.

        Raises:
            SnnirError: SNN202 or SNN203 listing every misfit.
        """
        from snnir.ir.infer import infer_signals

        return infer_signals(self)

    def signal(self, name: str, result: int = 0) -> Signal:
        """Return the type of one result of a node."""
        return self.signals[Value(name, result)]

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def __len__(self) -> int:
        return len(self.nodes)

    def tensors(self) -> dict[str, Tensor]:
        """Return every constant by the path `node.attribute`."""
        return {
            f"{node.name}.{key}": value
            for node in self.nodes.values()
            for key, value in node.op.tensors().items()
        }

    def edit(self) -> Editor:
        """Return an editor that starts from this graph."""
        return Editor(self)

    def apply(self, pipeline: str) -> Graph:
        """Return the graph after the passes of a textual pipeline, such as `canonicalize,dce`."""
        from snnir.pipeline import run_pipeline

        return run_pipeline(self, pipeline).graph

    def verify(self) -> Graph:
        """Return this graph if it is well formed.

        Raises:
            SnnirError: Every broken rule.
        """
        self._verified  # noqa: B018  (a graph does not change, so once is enough)
        return self

    @cached_property
    def _verified(self) -> bool:
        from snnir.ir.verify import verify

        verify(self)
        return True

    def to_networkx(self) -> networkx.MultiDiGraph[str]:
        """Return a `networkx.MultiDiGraph`: nodes carry `op`, edges `operand` and `result`."""
        import networkx

        graph: networkx.MultiDiGraph[str] = networkx.MultiDiGraph(name=self.name)
        graph.add_nodes_from((n.name, {"op": n.op}) for n in self.nodes.values())
        for node in self.nodes.values():
            for index, value in enumerate(node.operands):
                graph.add_edge(value.node, node.name, operand=index, result=value.result)
        return graph

    def __str__(self) -> str:
        from snnir.ir.printer import print_graph

        return print_graph(self)


class Editor:
    """Collects cheap edits and builds the next graph; the original is untouched.

    Every method is O(1) but `rewire`, which is O(uses), and the final `graph()`, O(nodes).
    """

    def __init__(self, base: Graph) -> None:
        self._base = base
        self.nodes: dict[str, Node] = dict(base.nodes)
        self.outputs: dict[str, Value] = dict(base.outputs)
        self._uses: dict[str, set[str]] = {}
        for node in self.nodes.values():
            self._track(node)

    def _track(self, node: Node) -> None:
        for value in node.operands:
            self._uses.setdefault(value.node, set()).add(node.name)

    def users(self, name: str) -> list[str]:
        """Return the nodes that consume a node, in no particular but a stable order."""
        return sorted(
            user
            for user in self._uses.get(name, ())
            if user in self.nodes and any(v.node == name for v in self.nodes[user].operands)
        )

    def fresh(self, stem: str) -> str:
        """Return `stem`, or `stem_1`, `stem_2` … if it is taken."""
        return fresh_name(stem, self.nodes)

    def add(self, name: str, op: Op, operands: Iterable[Value | str] = (), **extra: Any) -> Value:
        """Add a node under a free name and return its first result."""
        if name in self.nodes:
            raise error("SNN201", "two nodes have this name", node=name)
        values = tuple(v if isinstance(v, Value) else Value(v) for v in operands)
        self.put(Node(name, op, values, **extra))
        return Value(name)

    def put(self, node: Node) -> None:
        """Add or replace a node."""
        self.nodes[node.name] = node
        self._track(node)

    def set_op(self, name: str, op: Op) -> None:
        """Replace what a node computes; operands and users stay."""
        self.nodes[name] = replace(self.nodes[name], op=op)

    def remove(self, name: str) -> None:
        """Remove a node nothing uses any more."""
        del self.nodes[name]

    def rewire(self, old: Value, new: Value) -> None:
        """Make every user of `old`, outputs included, use `new`."""
        for user in self.users(old.node):
            node = self.nodes[user]
            operands = tuple(new if value == old else value for value in node.operands)
            self.put(replace(node, operands=operands))
        for key, value in self.outputs.items():
            if value == old:
                self.outputs[key] = new

    def graph(self, **changes: Any) -> Graph:
        """Build the edited graph; keyword arguments replace other fields of `Graph`."""
        return replace(self._base, nodes=self.nodes, outputs=self.outputs, **changes)
