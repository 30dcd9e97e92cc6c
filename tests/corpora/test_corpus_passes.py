"""Every pass on every published model, checked by running both sides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import snnir
from snnir.pipeline import LEVELS
from snnir.pipeline_text import parse_pipeline
from tests.corpora.test_corpus import READABLE
from tests.helpers import quiet_load, spikes
from tests.passes.test_exact import PASSES


def is_exact(pipeline: str) -> bool:
    return all(item.fidelity == "exact" for item in parse_pipeline(pipeline))


@pytest.mark.parametrize("text", [*PASSES, LEVELS[1], LEVELS[2]])
@pytest.mark.parametrize("path", READABLE, ids=lambda p: p.name)
def test_a_pass_changes_no_spike(path: Path, text: str) -> None:
    loaded = quiet_load(path, semantics="snntorch", repair=True)
    graph = loaded.apply("discretize")
    made = graph.apply(text)
    x = {n: spikes((20, 2, *s.shape), 0.2) for n, s in graph.inputs.items()}
    kept = {n: s for n, s in snnir.populations(graph).items() if n in made.nodes}
    kept = {n: s for n, s in kept.items() if made.signal(n).shape == graph.signal(n).shape}
    one, two = (snnir.compile(g, level=0).run(x, list(kept)) for g in (graph, made))
    for name in kept:
        np.testing.assert_array_equal(two.recorded[name], one.recorded[name], err_msg=name)
    for name, y in one.outputs.items():
        if is_exact(text) or graph.signals[graph.outputs[name]].kind is not snnir.Kind.ANALOG:
            np.testing.assert_array_equal(two.outputs[name], y)
        else:
            np.testing.assert_allclose(two.outputs[name], y, rtol=1e-5, atol=1e-6)
