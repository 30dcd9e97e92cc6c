"""What some platforms do to weights and biases when they import a NIR graph."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from snnir.frontends.nir_notes import Notes
from snnir.ir.graph import Editor, Graph
from snnir.ir.neuron import Neuron
from snnir.ir.structure import Add, Current, Flatten, Reshape
from snnir.ir.synapses import Conv1d, Conv2d, Linear
from snnir.ir.timing import Delay
from snnir.semantics import Semantics
from snnir.tensors import FrozenDict, Tensor

#: Largest magnitude of a signed 8-bit weight.
INT8_MAX = 127.0

_WEIGHTED = (Linear, Conv1d, Conv2d)
_TRANSPARENT = (Add, Current, Delay, Flatten, Reshape)


def apply_quirks(graph: Graph, semantics: Semantics, notes: Notes) -> Graph:
    """Return the graph with constant biases and truncated weights, if the semantics say so."""
    constant = semantics.recurrent_bias == "constant"
    truncate = semantics.weights == "int8-trunc"
    if not constant and not truncate:
        return graph
    editor = graph.edit()
    owners: dict[str, str] = {}
    for node in graph.nodes.values():
        if not isinstance(node.op, Neuron):
            continue
        synapses = _synapses(graph, node.name)
        shared = [name for name in synapses if name in owners]
        if shared:
            message = f"feeds both '{owners[shared[0]]}' and '{node.name}', so that it has no scale"
            notes.fail("SNN501", message, shared[0])
            continue
        owners.update(dict.fromkeys(synapses, node.name))
        if constant:
            _steady_bias(graph, editor, node.name, synapses)
        if truncate:
            _truncate(editor, node.name, synapses)
    return editor.graph()


def _synapses(graph: Graph, name: str) -> list[str]:
    """Return the weighted ops whose sum a neuron sees."""
    found: list[str] = []
    pending = [value.node for value in graph.nodes[name].operands]
    while pending:
        node = graph.nodes[pending.pop()]
        if isinstance(node.op, _WEIGHTED):
            found.append(node.name)
        elif isinstance(node.op, _TRANSPARENT):
            pending.extend(value.node for value in node.operands)
    return sorted(set(found))


def _steady_bias(graph: Graph, editor: Editor, name: str, synapses: list[str]) -> None:
    """Move biases into v_leak: a constant current b holds v at v_leak + r w_in b."""
    op = editor.nodes[name].op
    assert isinstance(op, Neuron)
    if "v_leak" not in op.params:
        return
    total: Any = np.float64(0)
    for synapse in synapses:
        inner = editor.nodes[synapse].op
        assert isinstance(inner, _WEIGHTED)
        if inner.bias is None:
            continue
        bias = inner.bias.numpy().astype(np.float64)
        if bias.ndim and not isinstance(inner, Linear):
            bias = bias.reshape(-1, *(1,) * (len(graph.signal(synapse).shape) - 1))
        total = total + bias
        editor.set_op(synapse, replace(inner, bias=None))
    gain = op.params["r"].numpy().astype(np.float64)
    if "w_in" in op.params:
        gain = gain * op.params["w_in"].numpy().astype(np.float64)
    leak = op.params["v_leak"].numpy() + gain * total
    editor.set_op(name, _with_params(op, {"v_leak": leak}))


def _truncate(editor: Editor, name: str, synapses: list[str]) -> None:
    """Scale the weights into a neuron to 127, truncate them, and scale its voltages alike."""
    ops = {synapse: editor.nodes[synapse].op for synapse in synapses}
    weights: dict[str, Any] = {
        synapse: op.weight.numpy().astype(np.float64)
        for synapse, op in ops.items()
        if isinstance(op, _WEIGHTED)
    }
    largest = max((np.abs(w).max(initial=0.0) for w in weights.values()), default=0.0)
    if not largest:
        return
    scale = INT8_MAX / largest
    for synapse, weight in weights.items():
        op: Any = ops[synapse]
        bias = None if op.bias is None else Tensor((op.bias.numpy() * scale).astype(np.float32))
        whole = Tensor(np.trunc(weight * scale).astype(np.float32))
        editor.set_op(synapse, replace(op, weight=whole, bias=bias))
    neuron = editor.nodes[name].op
    assert isinstance(neuron, Neuron)
    voltages = ("v_threshold", "v_leak", "v_reset")
    scaled = {k: neuron.params[k].numpy() * scale for k in voltages if k in neuron.params}
    editor.set_op(name, _with_params(neuron, scaled))


def _with_params(op: Neuron, changes: dict[str, Any]) -> Neuron:
    tensors = {key: Tensor(np.asarray(value)) for key, value in changes.items()}
    return replace(op, params=FrozenDict({**op.params, **tensors}))
