"""Where a graph of integers ends: outputs that are given their size in real units."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.ir.graph import Graph, Value
from snnir.ir.neuron import Step
from snnir.ir.synapses import Bias, Scale


def gives_size(graph: Graph, name: str) -> bool:
    """Return whether a node does nothing but give whole numbers their size in real units."""
    node = graph.nodes[name]
    if not isinstance(node.op, Scale) or not node.op.scale.dtype.startswith("f"):
        return False
    (source,) = node.operands
    op = graph.nodes[source.node].op
    in_neuron = isinstance(op, Step) and op.program.is_whole
    return in_neuron or graph.signals[source].dtype.startswith("i")


@dataclass(frozen=True)
class Readout:
    """An output of whole numbers: it stands for value * unit + bias, both float32.

    Attributes:
        value: The whole numbers.
        unit: How much one is, broadcastable to a sample.
        bias: What is added, or None.
    """

    value: Value
    unit: npt.NDArray[Any]
    bias: npt.NDArray[Any] | None = None


def whole_outputs(graph: Graph) -> tuple[Graph, dict[str, Readout]]:
    """Return the graph that ends in whole numbers, and what its outputs stand for.

    Outputs that are not given their size in the end stay as they are and are not listed.
    """
    editor, found = graph.edit(), {}
    for name, value in graph.outputs.items():
        readout = _readout(graph, value)
        if readout is not None:
            editor.outputs[name] = readout.value
            found[name] = readout
    return (editor.graph().apply("dead-code") if found else graph), found


def _readout(graph: Graph, value: Value) -> Readout | None:
    node, bias = graph.nodes[value.node], None
    if isinstance(node.op, Bias) and gives_size(graph, node.operands[0].node):
        bias = np.asarray(node.op.bias.numpy(), np.float32)
        node = graph.nodes[node.operands[0].node]
    if not gives_size(graph, node.name):
        return None
    assert isinstance(node.op, Scale)
    return Readout(node.operands[0], np.asarray(node.op.scale.numpy(), np.float32), bias)
