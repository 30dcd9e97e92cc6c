"""Networks that learn as text, as files and in MLIR; wrong and hostile ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import snnir
from snnir.ir import Graph, Input, Node, Plastic, Signal, Tensor, Value
from snnir.ir.parser import parse_graph
from snnir.streams import Kind
from tests.learning.networks import learning_graph, pair, random_graph, rewarded
from tests.learning.random_graphs import random_learning_graph

GOLDEN = {"learning": learning_graph(rewarded), "random_numbers": random_graph()}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_text(name: str, golden: Any) -> None:
    graph = GOLDEN[name]
    golden(f"{name}.snn", str(graph))
    golden(f"{name}.mlir", snnir.to_mlir(graph))
    weights = {value.digest: value for value in graph.tensors().values()}
    assert parse_graph(str(graph), weights) == graph
    assert snnir.from_mlir(snnir.to_mlir(graph)) == graph


@settings(max_examples=20, deadline=None, phases=[Phase.generate])
@given(st.integers(0, 2**32 - 1))
def test_round_trips(seed: int) -> None:
    graph = random_learning_graph(seed)
    weights = {value.digest: value for value in graph.tensors().values()}
    text = str(graph)
    parsed = parse_graph(text, weights)
    assert parsed == graph
    assert str(parsed) == text
    assert snnir.from_mlir(snnir.to_mlir(graph)) == graph


def test_files(tmp_path: Path) -> None:
    for seed in range(5):
        graph = random_learning_graph(seed)
        for suffix in ("snnir", "mlir"):
            snnir.save(graph, tmp_path / f"net.{suffix}")
            assert snnir.load(tmp_path / f"net.{suffix}") == graph


TEXT = str(learning_graph())
#: What to replace by what, and what is said.
WRONG = {
    "unknown read": ('reads = ["pre"', 'reads = ["prae"', "SNN201", "must name pre, post, all"),
    "missing read": ('reads = ["pre", ', "reads = [", "SNN201", "for every input"),
    "a number read": ('reads = ["pre"', "reads = [1", "SNN201", "'reads' cannot be"),
    "unknown sums": ("total = f32 1.5}", 'total = f32 1.5, sums = "x"}', "SNN201", "order or casc"),
    "total without type": ("total = f32 1.5", "total = 1.5", "SNN201", "'total' cannot be"),
    "no lasting state": ("lasting w = weight", "state w = weight", "SNN201", "needs a lasting"),
    "lasting number": ("lasting w = weight", "lasting w = 0.5", "SNN201", "starts at a parameter"),
    "lasting unknown": ("lasting w = weight", "lasting w = nu", "SNN201", "starts at unknown 'nu'"),
    "lasting nothing": ("lasting w = weight", "lasting w", "SNN102", "expected '='"),
    "lasting twice": ("lasting w = weight", "lasting lasting w = weight", "SNN102", "expected '='"),
    "two terms": ("batch_sum t1", "batch_sum t1, t1", "SNN201", "takes 1 operands, got 2"),
    "same for all": ("batch_sum t1", "batch_sum nu0", "SNN201", "sums what is the same"),
    "of a sample": ("t6 = batch_sum t5", "t6 = neg t5", "SNN201", "differs from sample to sample"),
    "an output": ("next w = t9", "next w = t9\n  emit t9 : analog", "SNN201", "not have outputs"),
    "integers": ('@pair "pair" f32', '@pair "pair" i32', "SNN201", "not defined on integers"),
    "no update": ("next w = t9", "", "SNN201", "updates"),
    "missing weight": ("weight = @synapses", "weights = @synapses", "SNN201", "misses parameter"),
    "too few operands": ("%x.trace, %out, %out.trace)", "%out, %out.trace)", "SNN", "plastic"),
    "shape": ("%x.trace, %out, ", "%x.trace, %x, ", "SNN202", "must be [4], got [6]"),
    "a cycle": ("plastic(%before", "plastic(%out", "SNN", ""),
    "no such rule": ("rule = @pair", "rule = @pear", "SNN", "pear"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_text(name: str) -> None:
    old, new, code, words = WRONG[name]
    assert old in TEXT
    with pytest.raises(snnir.SnnirError) as caught:
        parse_graph(TEXT.replace(old, new)).verify()
    assert code in str(caught.value)
    assert words in str(caught.value)
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("seed", ["-1", "18446744073709551616", "1.5", '"a"', "", "99" * 400])
def test_wrong_seeds(seed: str) -> None:
    given_ = f" {{seed = {seed}}}" if seed else ""
    text = (
        "snnir 1\ngraph @m(dt = 0.001) {\n  %x = input() {signal = analog<2xf32>}\n"
        f"  %u = uniform(%x){given_}\n  return {{o = %u}}\n}}\n"
    )
    with pytest.raises(snnir.SnnirError, match="SNN105|SNN201|SNN102"):
        parse_graph(text).verify()


def plastic(weights: Any, **changes: Any) -> Graph:
    """Return synapses between an input and itself, with odd weights or attributes."""
    op = learning_graph()["synapses"].op
    assert isinstance(op, Plastic)
    more = {name: Tensor(np.asarray(value)) for name, value in changes.pop("params", {}).items()}
    params = {**op.params, **more}
    params["weight"] = Tensor(np.asarray(weights))
    made = replace(op, params=type(op.params)(params), total=None, reads=("pre",) * 4)
    nodes = {"x": Node("x", Input(Signal(Kind.SPIKES, (3,))))}
    nodes["p"] = Node("p", replace(made, **changes), (Value("x"),) * 5)
    return Graph(nodes, {"output": Value("p")}, 1e-3)


ONES = np.ones((3, 3), np.float32)
HOSTILE: dict[str, tuple[Any, dict[str, Any], str]] = {
    "NaN": (ONES * np.nan, {}, "SNN105.*weight contains NaN"),
    "one axis": (ONES[0], {}, r"SNN202.*weights are \[3\], must be \[post, pre\]"),
    "no neurons": (ONES[:0], {}, r"SNN202.*weights are \[0, 3\].*not empty"),
    "no axis": (ONES[0, 0], {}, r"SNN202.*weights are \[\]"),
    "three axes": (ONES[None], {}, r"SNN202.*weights are \[1, 3, 3\]"),
    "wide": (ONES, {"params": {"nu0": np.ones((9, 3, 3), np.float32)}}, "SNN202"),
    "grows": (ONES[:1], {"params": {"nu0": ONES}}, r"SNN202.*nu0 \[3, 3\] does not fit"),
    "unknown": (ONES, {"params": {"zz": np.float32(1)}}, "SNN201.*weight, nu0, nu1, wmax"),
    "total": (ONES, {"total": Tensor(ONES[0, :2])}, r"SNN202.*total \[2\] does not fit 3"),
    "no states": (ONES, {"rule": replace(pair, states=())}, "SNN201.*needs a lasting state"),
    "reads": (ONES, {"reads": ("pre",) * 3}, "SNN201.*`reads`"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_synapses(name: str) -> None:
    weights, changes, said = HOSTILE[name]
    with pytest.raises(snnir.SnnirError, match=said):
        plastic(weights, **changes).verify()


def test_weights_of_other_types_are_weights() -> None:
    x = np.ones((3, 2, 3), np.float32)
    runs = [snnir.run(plastic(ONES.astype(kind)).verify(), x) for kind in ("f4", "i1", "f8")]
    for run in runs[1:]:
        np.testing.assert_array_equal(run.output, runs[0].output)
        np.testing.assert_array_equal(run.lasting["p:w"], runs[0].lasting["p:w"])


def test_weights_that_are_not_in_the_text() -> None:
    graph = parse_graph(TEXT)
    x = {"x": np.ones((2, 1, 6), np.float32)}
    for action in (lambda: snnir.run(graph, x), lambda: snnir.activity(graph, x)):
        with pytest.raises(snnir.SnnirError, match="SNN205"):
            action()
    assert not graph.apply("freeze")["synapses"].op.tensors()["weight"].is_resolved


def test_mlir_says_what_lasts_must_be() -> None:
    text = snnir.to_mlir(learning_graph())
    assert text.count("lasting = true") == 2
    for old, new in (("lasting = true", "lasting = 3 : i64"), ("lasting = true", 'lasting = "x"')):
        with pytest.raises(snnir.SnnirError, match="SNN201"):
            snnir.from_mlir(text.replace(old, new, 1))
    earlier = text.replace(", lasting = false", "")  # as it was written before there were such
    assert earlier != text
    assert snnir.from_mlir(earlier) == learning_graph()
