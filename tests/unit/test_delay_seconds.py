"""Delays that say how long they are in continuous time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import snnir
from snnir.ir import Delay, Graph, Input, Node, Value
from snnir.streams import Kind, Signal
from snnir.tensors import Tensor
from tests.helpers import quiet_load, recurrent

EACH = Tensor(np.array([0.5e-3, 0.0, 2.25e-3]))
NONE = Tensor(np.float64(0.0))


def late(*delays: Delay) -> Graph:
    """Return spikes of three units through delays `d0`, `d1`, …"""
    nodes = [Node("x", Input(Signal(Kind.SPIKES, (3,))))]
    for k, op in enumerate(delays):
        nodes.append(Node(f"d{k}", op, (Value(nodes[-1].name),)))
    return Graph({node.name: node for node in nodes}, {"y": Value(nodes[-1].name)}, 1e-3)


@pytest.mark.parametrize("suffix", ["snnir", "nir"])
@pytest.mark.parametrize(
    "op",
    [
        Delay(1, NONE),
        Delay(2, EACH),
        Delay(Tensor(np.array([1, 0, 2])), EACH),
        Delay(Tensor(np.array([1, 0, 2])), Tensor(np.array([0.1e-3], np.float32))),
    ],
)
def test_files_and_texts_keep_seconds(op: Delay, suffix: str, tmp_path: Path) -> None:
    graph = late(op)
    snnir.save(graph, tmp_path / f"m.{suffix}")
    assert quiet_load(tmp_path / f"m.{suffix}").nodes["d0"].op == op
    assert snnir.from_mlir(snnir.to_mlir(graph)) == graph


def test_nir_says_them_exactly(tmp_path: Path) -> None:
    import nir

    snnir.save(late(Delay(2, EACH)), tmp_path / "m.nir")
    found = nir.read(tmp_path / "m.nir", type_check=False).nodes["d0"]
    np.testing.assert_array_equal(found.delay, EACH.numpy())


def test_a_recurrence_without_delay_survives_nir(tmp_path: Path) -> None:
    editor = recurrent(1).edit()
    (name,) = [n for n, node in editor.nodes.items() if isinstance(node.op, Delay)]
    editor.set_op(name, Delay(1, NONE))
    snnir.save(editor.graph(), tmp_path / "m.nir")
    delays = [n.op for n in quiet_load(tmp_path / "m.nir").nodes.values() if n.op.name == "delay"]
    assert delays == [Delay(1, NONE)]


def test_a_rounded_delay_keeps_what_it_was(tmp_path: Path) -> None:
    import nir

    nodes = {"x": nir.Input(np.array([3])), "d": nir.Delay(np.array([1.4e-3, 2e-3, 0.0]))}
    nodes["y"] = nir.Output(np.array([3]))
    nir.write(tmp_path / "m.nir", nir.NIRGraph(nodes, [("x", "d"), ("d", "y")]))
    op = quiet_load(tmp_path / "m.nir", dt=1e-3, semantics="exact", repair=True).nodes["d"].op
    assert isinstance(op, Delay)
    assert isinstance(op.steps, Tensor)
    assert op.steps.numpy().tolist() == [1, 2, 0]
    assert op.seconds is not None
    assert op.seconds.numpy().tolist() == [1.4e-3, 2e-3, 0.0]


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (np.array(-1e-3), "SNN105"),
        (np.array(np.nan), "SNN105"),
        (np.array(np.inf), "SNN105"),
        (np.array(1), "SNN105"),
        (np.zeros(2), "SNN202"),
        (np.zeros((2, 3)), "SNN202"),
    ],
)
def test_wrong_seconds(seconds: npt.NDArray[Any], code: str) -> None:
    with pytest.raises(snnir.SnnirError, match=code):
        snnir.compile(late(Delay(1, Tensor(seconds))))


def test_merging_adds_both_or_nothing() -> None:
    def merged(*delays: Delay) -> list[object]:
        made = snnir.run_pipeline(late(*delays), "merge-delays").graph
        return [node.op for node in made.nodes.values() if node.op.name == "delay"]

    both = Tensor(EACH.numpy() + 1e-3)
    assert merged(Delay(2, EACH), Delay(1, Tensor(np.float64(1e-3)))) == [Delay(3, both)]
    assert len(merged(Delay(2, EACH), Delay(1))) == 2


def test_a_delay_of_no_steps_that_lasts_is_kept() -> None:
    for seconds, left in ((NONE, 0), (EACH, 1), (None, 0)):
        made = snnir.run_pipeline(late(Delay(0, seconds)), "remove-identity").graph
        assert sum(node.op.name == "delay" for node in made.nodes.values()) == left


@pytest.mark.parametrize("target", ["numpy", "native", "torch"])
def test_steps_are_what_simulators_take(target: str) -> None:
    pytest.importorskip("torch" if target == "torch" else "numpy")
    x = np.eye(3, dtype=np.float32)[[0, 1, 2, 0, 1, 2]][:, None]
    told, plain = late(Delay(2, EACH)), late(Delay(2))
    given = snnir.compile(told, target=target, level=0)
    np.testing.assert_array_equal(given.run(x).output, snnir.compile(plain).run(x).output)
