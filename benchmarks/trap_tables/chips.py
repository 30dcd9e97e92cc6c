"""What a chip's numbers do: rounding, its order, its kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

import snnir
from benchmarks.trap_tables.common import HEAD, Array, digits, markdown, play, versus
from snnir.ir import Linear

#: Largest whole number of a weight of 8 bits.
LARGEST = 127


def quantisation() -> str:
    """Weights in 8 bits: which rounding, and before or after they are put together."""
    scale = np.random.default_rng(5).uniform(0.25, 4, 128).astype(np.float32)[:, None]
    rows = [
        ("to the nearest", *versus(play(_changed(_nearest)))),
        ("towards zero", *versus(play(_changed(_towards_zero)))),
        ("to the nearest, then folded with a gain per neuron and rounded again",
         *versus(play(_changed(lambda w: _nearest(_nearest(w / scale) * scale), "fc1")))),
        ("folded first, then rounded, same layer",
         *versus(play(_changed(lambda w: _nearest(w / scale * scale), "fc1")))),
    ]  # fmt: skip
    return markdown(("weights in 8 bits", *HEAD), rows)


def _unit(weight: Array) -> Any:
    return np.abs(weight).max() / LARGEST


def _nearest(weight: Array) -> Array:
    unit = _unit(weight)
    rounded: Array = np.rint(weight / unit) * unit
    return rounded


def _towards_zero(weight: Array) -> Array:
    unit = _unit(weight)
    rounded: Array = np.trunc(weight / unit) * unit
    return rounded


def _changed(change: Any, only: str = "") -> snnir.Graph:
    """Return the digits network with other weights in its matrices."""
    graph = digits()
    editor = graph.edit()
    for node in graph.nodes.values():
        if isinstance(node.op, Linear) and only in ("", node.name):
            weight = change(node.op.weight.numpy().astype(np.float64)).astype(np.float32)
            editor.set_op(node.name, replace(node.op, weight=snnir.tensor(weight)))
    return editor.graph()
