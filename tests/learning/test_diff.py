"""Comparisons see what was learned, also where every spike is the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import snnir
from snnir.cli.arrays import write_result
from tests.helpers import cli
from tests.learning.networks import inputs_of, learning_graph

X = inputs_of(learning_graph(), 12)


def slightly_other() -> snnir.Graph:
    """Return the network with one weight that no spike is due to."""
    graph = learning_graph()
    weights = graph.tensors()["synapses.weight"].numpy().copy()
    weights[0, 0] += np.float32(1e-4)
    return snnir.with_lasting(graph, {"synapses:w": weights})


def test_weights_that_differ_are_found(tmp_path: Path) -> None:
    graph, other = learning_graph(), slightly_other()
    found = snnir.diff(graph, other, X)
    names = [node.node for node in found.nodes]
    assert names[-2:] == ["synapses:w", "out:theta"]
    by_name = {node.node: node for node in found.nodes}
    assert by_name["out"].differing == by_name["out:theta"].differing == 0
    assert not found.identical
    assert found.first is by_name["synapses:w"]
    assert found.first.first_step == 11
    assert found.first.total == 24
    assert snnir.diff(graph, graph, X).identical
    with (tmp_path / "a.npz").open("wb") as file:
        write_result(snnir.run(other, X, ["out"]), file)
    assert snnir.diff(graph, tmp_path / "a.npz", X).first == found.first
    snnir.compile(other, "numpy").save(tmp_path / "built")
    assert snnir.diff(graph, tmp_path / "built", X).first == found.first


def test_on_the_command_line(tmp_path: Path) -> None:
    snnir.save(learning_graph(), tmp_path / "a.snnir")
    snnir.save(slightly_other(), tmp_path / "b.snnir")
    np.savez(tmp_path / "x.npz", **X)
    done = cli("diff", "a.snnir", "b.snnir", "--input", "x.npz", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "first difference: node 'synapses:w', step 11" in done.stdout


def test_a_pass_that_changes_weights_alone_is_guilty(monkeypatch: Any) -> None:
    from dataclasses import dataclass
    from typing import ClassVar

    from snnir import registry

    @dataclass(frozen=True)
    class Nudge(snnir.Pass):
        """Change a weight a little."""

        name: ClassVar[str] = "nudge"

        def run(self, graph: snnir.Graph) -> snnir.Graph:
            return slightly_other()

    monkeypatch.setitem(registry._local["passes"], "nudge", Nudge)
    found = snnir.bisect(learning_graph(), "cse,nudge,dead-code", X)
    assert found is not None
    assert found.number == 2
    assert "values of 'synapses:w' differ in the end" in found.what
