"""Compute what no input changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnir import kernels
from snnir.bounds import value_bounds
from snnir.dynamics.intervals import Interval
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Neuron, Step
from snnir.ir.structure import Add, Input
from snnir.ir.synapses import Bias, Conv1d, Conv2d, Linear, Scale, without_zero
from snnir.ir.timing import Delay
from snnir.pipeline import EXACT_REAL, Pass
from snnir.streams import Kind
from snnir.tensors import Tensor

Array = npt.NDArray[Any]
Constants = dict[Value, Array]


@dataclass(frozen=True)
class FoldConstants(Pass):
    """Replace operands of sums that are the same at every step by a bias.

    Exact in real arithmetic: the order of the sum changes. Constant are synapses whose weights are
    all zero, populations proved never to fire, and whatever is computed of constants alone. A
    neuron under a constant current is not: its state moves.
    """

    name: ClassVar[str] = "fold-constants"
    fidelity: ClassVar[str] = EXACT_REAL

    def run(self, graph: Graph) -> Graph:
        """Return the graph with shorter sums; what only fed constants is dead code then."""
        tensors = graph.tensors().values()
        continuous = any(isinstance(node.op, Neuron) for node in graph.nodes.values())
        if continuous or any(not value.is_resolved for value in tensors):
            return graph
        constants = find_constants(graph)
        editor = graph.edit()
        changed = False
        for node in graph.nodes.values():
            rest = [value for value in node.operands if value not in constants]
            if not isinstance(node.op, Add) or len(rest) in (0, len(node.operands)):
                continue
            if graph.signal(node.name).kind is not Kind.ANALOG:
                continue
            total = sum(constants[value] for value in node.operands if value in constants)
            if len(rest) > 1:
                inner = editor.fresh(f"{node.name}.rest")
                editor.put(replace(node, name=inner, operands=tuple(rest)))
                rest = [Value(inner)]
            bias = Bias(Tensor(np.asarray(total, np.float32)))
            editor.put(replace(node, op=bias, operands=(rest[0],)))
            changed = True
        return editor.graph() if changed else graph


def find_constants(graph: Graph) -> Constants:
    """Return the values that are the same at every step, for every input."""
    bounds = value_bounds(graph)
    found: Constants = {}
    for name in graph.order:
        node = graph.nodes[name]
        value = Value(name)
        constant = _constant(graph, node, found, bounds)
        if constant is not None:
            found[value] = np.broadcast_to(constant, graph.signals[value].shape)
    return found


def _constant(
    graph: Graph, node: Node, known: Mapping[Value, Array], bounds: Mapping[Value, Interval]
) -> Array | None:
    op, zero = node.op, np.zeros((), np.float32)
    if isinstance(op, Input):
        return None
    if isinstance(op, Step):
        silent = graph.signal(node.name).kind is not Kind.ANALOG
        return zero if silent and bool((bounds[Value(node.name)].high < 1.0).all()) else None
    operands = [known.get(value) for value in node.operands]
    if isinstance(op, Delay):  # which begins with zeros
        return zero if operands[0] is not None and not operands[0].any() else None
    if not op.is_stateless:  # synapses that learn, random numbers
        return None
    nothing_passes = isinstance(op, (Linear, Conv1d, Conv2d)) and not without_zero(op).any()
    if nothing_passes or (isinstance(op, Scale) and not op.scale.numpy().any()):
        operands = [np.zeros(graph.signals[value].shape, np.float32) for value in node.operands]
    if any(operand is None for operand in operands):
        return None
    call = op.call([graph.signals[value] for value in node.operands])
    given: dict[str, Any] = {key: value.numpy() for key, value in call.tensors.items()}
    given |= {**call.options, **({"acc": np.float64} if call.sums else {})}
    function = getattr(kernels, call.function)
    result: Array = function(*(np.asarray(x, np.float32)[None] for x in operands), **given)[0]
    return result
