"""Passes that promise the same spikes, checked by running both sides."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings

import snnir
from snnir.ir import Graph
from snnir.pipeline import LEVELS
from tests.helpers import spikes
from tests.passes.nets import nets

PASSES = [
    "canonicalize", "conv-to-linear", "cse", "dead-code", "dead-neurons", "eliminate-reshape", "fold-batchnorm", "fold-constants",
    "fuse-linear", "linear-to-conv", "merge-delays", "remove-identity", "sparsify{density=1}",
    "sparsify{block=4,density=1},densify",
]  # fmt: skip


def outputs(graph: Graph) -> dict[str, np.ndarray]:
    x = {n: spikes((9, 2, *s.shape), seed=3) for n, s in graph.inputs.items()}
    made = snnir.compile(graph, level=0, precision="float64")
    return made.run(x).outputs


@settings(max_examples=30)
@given(graph=nets())
def test_both_sides_give_the_same(graph: Graph) -> None:
    wanted = outputs(graph)
    for text in (*PASSES, ",".join(PASSES), LEVELS[1], LEVELS[2]):
        found = outputs(graph.apply(text))
        for name, y in wanted.items():
            np.testing.assert_array_equal(found[name], y, err_msg=f"{text}: {name}")
