"""Synaptic weights in 16 bits: what they become, and what that loses."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from snnir.errors import Diagnostic
from snnir.ir.graph import Graph, Node
from snnir.ir.op import Op
from snnir.ir.sparse import SparseLinear
from snnir.ir.synapses import Bias, Conv1d, Conv2d, Linear
from snnir.loss_report import NodeLoss
from snnir.pipeline import APPROXIMATE
from snnir.tensors import Tensor

#: The largest number of 16 bits.
MOST = float(np.finfo(np.float16).max)


def weights_of(op: Op) -> dict[str, Tensor]:
    """Return the weights and the bias of a synapse, by attribute, if they are real numbers."""
    if not isinstance(op, (Linear, Conv1d, Conv2d, SparseLinear, Bias)):
        return {}
    found = {key: op.tensors()[key] for key in ("weight", "values", "bias") if key in op.tensors()}
    return {key: tensor for key, tensor in found.items() if tensor.dtype.startswith("f")}


def halved(graph: Graph) -> Graph:
    """Return a graph whose synaptic weights are rounded to 16 bits, kept in float32."""
    editor = graph.edit()
    for node in _synapses(graph):
        changed: dict[str, Any] = {
            key: Tensor(_rounded(value)) for key, value in weights_of(node.op).items()
        }
        editor.set_op(node.name, replace(node.op, **changed))
    return editor.graph()


def too_large(graph: Graph) -> list[Diagnostic]:
    """Return the synapses with a weight that 16 bits cannot hold."""
    found = []
    for node in _synapses(graph):
        most = max(float(np.abs(t.numpy()).max(initial=0.0)) for t in weights_of(node.op).values())
        if not np.isfinite(np.float32(most)) or most > MOST:
            what = f"has a weight of {most:g}, half precision ends at {MOST:g}"
            found.append(Diagnostic("SNN501", what, node.name, hint="use precision=float32"))
    return found


def half_losses(graph: Graph) -> Iterator[NodeLoss]:
    """Yield what rounding changes of each synapse of the graph as it was."""
    for node in _synapses(graph):
        changed, total, worst, largest = 0, 0, 0.0, 0.0
        for tensor in weights_of(node.op).values():
            exact = tensor.numpy().astype(np.float64)
            error = np.abs(_rounded(tensor).astype(np.float64) - exact)
            changed, total = changed + int(np.count_nonzero(error)), total + error.size
            worst = max(worst, float(error.max(initial=0.0)))
            largest = max(largest, float(np.abs(exact).max(initial=0.0)))
        if changed:
            what = (
                f"{changed:,} of {total:,} weights are rounded to 16 bits: by {worst:.3g} at most, "
                f"where the largest is {largest:.3g}"
            )
            yield NodeLoss(node.name, APPROXIMATE, what)


def _synapses(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes.values() if weights_of(node.op)]


def _rounded(tensor: Tensor) -> Any:
    array = tensor.numpy()
    with np.errstate(over="ignore"):
        return array.astype(np.float16).astype(array.dtype)
