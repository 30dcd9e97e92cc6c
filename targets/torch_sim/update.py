"""Trained tensors back into the graph."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import Diagnostic, SnnirError, error
from snnir.ir.graph import Graph
from snnir.ir.op import Op
from snnir.ir.random import Uniform
from snnir.lasting import learning_program, with_lasting
from snnir.targets.torch_sim.engine import Network
from snnir.tensors import FrozenDict, Tensor


def update_graph(graph: Graph, net: Network) -> Graph:
    """Return a graph with the tensors of a network made from it, and with what lasts in it.

    Raises:
        SnnirError: SNN503 if the network is not one of `snnir.to_torch`; SNN202 listing every
            changed tensor that has no place in the graph; SNN601 for a lasting state that has none.
    """
    made = getattr(net, "graph", None)
    if made is None:
        raise error("SNN503", "update needs a network made by snnir.to_torch")
    problems, changed = [], {}
    for name in net.tensor_names():
        node, _, path = name.rpartition(".")
        before = made.nodes[node].op.tensors()[path]
        after = _tensor(net.tensor(name), before)
        if after == before:
            continue
        place = graph.nodes.get(node)
        known = place.op.tensors().get(path) if place is not None else None
        if known is None or known.shape != before.shape:
            hint = "give update the graph that was compiled, net.graph"
            problems.append(
                Diagnostic("SNN202", f"has no tensor '{path}' to update", node, hint=hint)
            )
        changed[node, path] = after
    if problems:
        raise SnnirError(problems)
    editor = graph.edit()
    for node in {node for node, _ in changed}:
        own = {path: value for (other, path), value in changed.items() if other == node}
        editor.set_op(node, _with(graph.nodes[node].op, own))
    return with_lasting(editor.graph().verify(), _learned(made, net))


def _learned(made: Graph, net: Network) -> dict[str, npt.NDArray[Any]]:
    """Return the lasting states that are no longer as the graph of the network has them."""
    found = {}
    for name, value in net.lasting.items():
        node, _, key = name.rpartition(":")
        after = value.cpu().numpy()
        before = np.asarray(_start(made.nodes[node].op, key), after.dtype)
        if not np.array_equal(np.broadcast_to(before, after.shape), after):
            found[name] = after
    return found


def _start(op: Op, state: str) -> Any:
    """Return what a lasting state of an op starts at."""
    if isinstance(op, Uniform):
        return op.step
    program = learning_program(op)
    assert program is not None
    initial = next(s.initial for s in program.states if s.name == state)
    return op.tensors()[initial].numpy() if isinstance(initial, str) else initial


def _tensor(value: Any, before: Tensor) -> Tensor:
    array = value.detach().cpu().numpy()
    return Tensor(np.array(array, before.numpy().dtype))


def _with(op: Op, changed: dict[str, Tensor]) -> Op:
    """Return an op with other tensors."""
    values: dict[str, Any] = {}
    for item in fields(op):
        value = getattr(op, item.name)
        if item.name in changed:
            values[item.name] = changed[item.name]
        elif isinstance(value, FrozenDict) and any(key in changed for key in value):
            values[item.name] = FrozenDict({k: changed.get(k, v) for k, v in value.items()})
    return replace(op, **values)
