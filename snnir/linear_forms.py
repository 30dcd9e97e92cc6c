"""What a node of linear ops is, as matrices: folded in float64.

Chips have one weight between a source of events and a neuron; whatever linear ops stand between
the two in a graph are folded into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir import kernels
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.op import Op
from snnir.ir.order import flow_order
from snnir.ir.pooling import AvgPool2d, SumPool2d
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import Add, Concat, Current, Flatten, Pad, Permute, Reshape, Slice
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale
from snnir.ir.timing import Delay

Array = npt.NDArray[np.float64]

#: Ops that are sums of products of what they read, and constants.
LINEAR: tuple[type[Op], ...] = (
    Add, AvgPool2d, BatchNorm, Bias, Concat, Conv1d, Conv2d, Current, Flatten, Linear, Pad,
    Permute, Reshape, Scale, Slice, SparseLinear, SumPool2d,
)  # fmt: skip

#: A source of events and the steps of delay after which it is read.
Read = tuple[str, int]


def follow_reads(
    graph: Graph, of_source: Callable[[Node, Value], frozenset[Read]]
) -> tuple[dict[str, frozenset[Read]], list[str]]:
    """Return the events behind every linear op and delay, and those that are in a cycle.

    Args:
        graph: The graph.
        of_source: Returns what a reader sees of a value that is neither.

    Returns:
        Reads by name in order of flow, and the names that have none because they read themselves.
    """
    nodes = {
        name: node for name, node in graph.nodes.items() if isinstance(node.op, (Delay, *LINEAR))
    }
    sources = {
        name: {value.node for value in node.operands if value.node in nodes}
        for name, node in nodes.items()
    }
    reads: dict[str, frozenset[Read]] = {}
    for name in flow_order(sources):
        node = nodes[name]
        found = (
            reads[value.node] if value.node in nodes else of_source(node, value)
            for value in node.operands
        )
        reads[name] = frozenset[Read]().union(*found)
        if isinstance(node.op, Delay):
            steps = node.op.shortest
            reads[name] = frozenset((source, delay + steps) for source, delay in reads[name])
    return reads, [name for name in nodes if name not in reads]


def applied(graph: Graph, node: Node, operands: list[Array]) -> Array:
    """Return what an op without state makes of arrays [rows, *shape], in float64."""
    call = node.op.call([graph.signals[value] for value in node.operands])
    given: dict[str, Any] = {key: value.numpy() for key, value in call.tensors.items()}
    given |= call.options
    result: Array = getattr(kernels, call.function)(*operands, **given)
    return np.asarray(result, np.float64)


@dataclass(frozen=True)
class Form:
    """constant + the sum over sources of events @ matrix; how late events are is known elsewhere.

    Attributes:
        parts: [events, *shape] by source.
        constant: [*shape].
    """

    parts: dict[str, Array]
    constant: Array


class LinearForms:
    """Folds the linear ops of a graph.

    Args:
        graph: The graph.
        order: Names of its linear ops and delays, each after what it reads. Delays are looked
            through: a source is read after one delay only, and constants stay.
    """

    def __init__(self, graph: Graph, order: Iterable[str]) -> None:
        self.graph = graph
        self._known: dict[str, Form] = {}
        for name in order:
            self._known[name] = self._fold(graph.nodes[name])

    def of(self, value: Value) -> Form:
        """Return what a value is; anything but a linear op is a source itself."""
        if value.node in self._known:
            return self._known[value.node]
        shape = self.graph.signals[value].shape
        unit = np.eye(prod(shape)).reshape(-1, *shape)
        return Form({value.node: unit}, np.zeros(shape))

    def _fold(self, node: Node) -> Form:
        forms = [self.of(value) for value in node.operands]
        if isinstance(node.op, Delay):
            return forms[0]
        constant = applied(self.graph, node, [form.constant[None] for form in forms])
        without = applied(self.graph, node, [np.zeros_like(form.constant)[None] for form in forms])
        parts = {}
        for source in sorted({source for form in forms for source in form.parts}):
            events = self.graph.signal(source).size
            operands = [
                form.parts.get(source, np.zeros((events, *form.constant.shape))) for form in forms
            ]
            parts[source] = applied(self.graph, node, operands) - without
        return Form(parts, constant[0])
