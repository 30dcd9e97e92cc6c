"""Every target either learns as NumPy does or says that it does not; none breaks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.matrix import EXAMPLES, _neurons, graph_for
from snnir.registry import names
from tests.learning.networks import inputs_of, learning_graph
from tests.targets import LEARNING

LASTING = "step (lasting states)"
#: Targets that store a graph and do not run it.
STORES = ("snnir",)


def target_class(name: str) -> type[snnir.Target]:
    from snnir.registry import lookup

    found: type[snnir.Target] = lookup("targets", name, "SNN503")
    return found


@pytest.mark.parametrize("name", [*LEARNING, LASTING])
@pytest.mark.parametrize("target", names("targets"))
def test_as_numpy_does_or_refused(target: str, name: str) -> None:
    op, shape = {**EXAMPLES, **_neurons()}[name]
    graph = graph_for(op, shape, target).verify()
    problems = snnir.check(graph, target)
    if problems:
        assert {problem.code for problem in problems} == {"SNN501"}
        with pytest.raises(snnir.SnnirError, match="SNN501"):
            snnir.compile(graph, target)
        hints = {"plastic": "freeze", LASTING: "freeze", "uniform": "input"}
        if name in hints:
            assert snnir.losses(graph, target).level == "refused"
            assert not target_class(target).learns
            assert any(hints[name] in str(problem.hint) for problem in problems)
        return
    made = snnir.compile(graph, target)
    if target in STORES:
        return
    want = snnir.compile(graph, "numpy", level=0)
    given = inputs_of(graph, 9)
    kept: dict[str, Any] = {}
    for _ in range(2):
        got, known = (net.run(given, lasting=kept) for net in (made, want))
        kept = known.lasting
        np.testing.assert_array_equal(got.output, known.output)
        assert set(got.lasting) == set(kept)
        for key, value in kept.items():
            np.testing.assert_array_equal(got.lasting[key], value, key)


@pytest.mark.parametrize("target", names("targets"))
def test_what_learns_is_named_for_every_node(target: str) -> None:
    if target_class(target).learns:
        return
    with pytest.raises(snnir.SnnirError) as caught:
        snnir.compile(learning_graph(), target, level=2)
    assert {d.node for d in caught.value.diagnostics} == {"synapses", "out"}
    assert all(d.code == "SNN501" and "freeze" in str(d.hint) for d in caught.value.diagnostics)


def test_the_command_line_says_so(tmp_path: Any) -> None:
    from tests.helpers import cli

    path = tmp_path / "learns.snnir"
    snnir.save(learning_graph(), path)
    done = cli("check", str(path), "--target", "speck")
    assert done.returncode == 1
    assert done.stdout.count("SNN501") == done.stdout.count("run the pass freeze") == 2
