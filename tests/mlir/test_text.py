"""The dialect as text, without MLIR: round trips, golden text, wrong and hostile texts."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import snnir
from snnir.mlir import dialect_text, from_mlir, to_mlir
from snnir.mlir.numbers import float_text, float_value, string_text, string_value
from tests.helpers import ROOT, feed_forward, recurrent
from tests.mlir.models import (
    MATRIX,
    NAMED,
    of_corpus,
    of_matrix,
    own_op,
    programs,
    same,
    several_ports,
)
from tests.strategies import graphs, odd_graphs

WEIGHTS = ("inline", "resource", "key")


def bits(graph: snnir.Graph) -> dict[str, bytes]:
    return {name: value.numpy().tobytes() for name, value in graph.tensors().items()}


def check_round_trip(graph: snnir.Graph) -> None:
    for weights in WEIGHTS:
        text = to_mlir(graph, weights)
        known = {value.digest: value for value in graph.tensors().values()}
        found = from_mlir(text, known if weights == "key" else None)
        assert same(found, graph)
        assert found.provenance == graph.provenance
        assert bits(found) == bits(graph)
        assert to_mlir(found, weights) == text
        assert text.isascii()


@pytest.mark.parametrize("name", NAMED)
def test_named_graphs_come_back(name: str) -> None:
    check_round_trip(NAMED[name]())


def test_every_op_and_neuron_comes_back() -> None:
    found = of_matrix()
    assert len(found) == len(MATRIX) > 30
    for graph in found:
        check_round_trip(graph)


def test_published_models_come_back() -> None:
    for graph in of_corpus():
        for weights in ("inline", "resource"):
            found = from_mlir(to_mlir(graph, weights))
            assert same(found, graph)
            assert bits(found) == bits(graph)


@given(st.one_of(graphs(), graphs(discrete=False)))
def test_random_graphs_come_back(graph: snnir.Graph) -> None:
    check_round_trip(graph)


def test_ops_of_plug_ins_come_back() -> None:
    with own_op() as graph:
        check_round_trip(graph)
        assert "irdl.operation @own_3 {" in dialect_text()
        text = to_mlir(graph)
    with pytest.raises(snnir.SnnirError, match="SNN106.*snn.own_3"):
        from_mlir(text)
    assert "own_3" not in dialect_text()


@pytest.mark.parametrize("name", ["feed_forward", "recurrent", "programs"])
def test_golden_text(name: str, golden: Any) -> None:
    golden(f"{name}.mlir", to_mlir(NAMED[name](), "resource"))


def test_the_text_of_the_page_is_what_is_printed() -> None:
    page = (ROOT / "docs" / "mlir.md").read_text("utf-8")
    first = page.split("```python\n")[1].split("```")[0]
    scope: dict[str, Any] = {}
    exec(compile(first, "mlir.md", "exec"), scope)
    assert page.split("```mlir\n")[1].split("```")[0] == scope["text"]


def test_weights_that_are_named_only_stay_unresolved() -> None:
    graph = feed_forward()
    found = from_mlir(to_mlir(graph, "key"))
    assert same(found, graph)
    with pytest.raises(snnir.SnnirError, match="SNN205"):
        found["fc"].op.tensors()["weight"].numpy()
    with pytest.raises(snnir.SnnirError, match="SNN205"):
        to_mlir(found)
    assert to_mlir(found, "key") == to_mlir(graph, "key")


def test_only_valid_graphs_are_printed() -> None:
    graph = feed_forward()
    broken = snnir.Graph(graph.nodes, {"o": snnir.Value("nobody")})
    with pytest.raises(snnir.SnnirError):
        to_mlir(broken)
    with pytest.raises(snnir.SnnirError, match="inline, resource, key"):
        to_mlir(graph, "zip")


@given(st.floats())
def test_floats_keep_every_bit(value: float) -> None:
    found = float_value(float_text(value))
    assert np.float64(found).tobytes() == np.float64(value).tobytes() or np.isnan(value)


@given(st.text(st.characters()))
def test_texts_keep_every_character(text: str) -> None:
    assert string_value(string_text(text)) == text


def test_what_other_printers_write_is_read() -> None:
    text = to_mlir(recurrent())
    lines = text.splitlines()
    generic = "\n".join(['"builtin.module"() ({', "^bb0:", *lines[1:-1], "}) : () -> () loc(#loc)"])
    found = from_mlir(f'#loc = loc("a.mlir":1:1)\n// a comment\n{generic}\n')
    assert same(found, recurrent())
    short = text.replace(" bias = unit,", " bias,").replace("1 : i64", "1").replace(" : f64", "")
    assert short != text
    assert same(from_mlir(short), recurrent())
    inner = from_mlir(f"module {{\n{text}}}\n")
    assert same(inner, recurrent())


def test_one_element_for_all() -> None:
    text = to_mlir(feed_forward(), "key")
    start = text.index("dense_resource<")
    end = text.index(">", start) + 1
    found = from_mlir(text[:start] + "dense<0.5>" + text[end:])
    assert (found["fc"].op.tensors()["weight"].numpy() == 0.5).all()


def changed(old: str, new: str, graph: snnir.Graph | None = None, weights: str = "inline") -> str:
    text = to_mlir(graph or recurrent(), weights)
    assert old in text, text
    return text.replace(old, new, 1)


BIG = "dense<1.0> : tensor<999999999999x999999999x9999999f32>"
WRONG = {
    "empty": ("", "SNN102", "no operation snn.graph"),
    "not MLIR": ("hello\n", "SNN102", "line 1, column 1"),
    "newer": (changed("version = 1", "version = 99"), "SNN108", "version 99"),
    "cut off": (to_mlir(recurrent())[:500], "SNN102", "line "),
    "two graphs": (to_mlir(recurrent()) * 2, "SNN102", "more than one"),
    "unknown op": (changed('"snn.delay"', '"snn.dleay"'), "SNN106", "did you mean snn.delay"),
    "other dialect": (changed('"snn.delay"', '"arith.addf"'), "SNN106", "arith.addf"),
    "no op": (changed('"snn.delay"', '"snn.constant"'), "SNN106", "snn.constant"),
    "undefined": (changed("(%late)", "(%nobody)"), "SNN201", "%nobody is not defined"),
    "no such result": (changed("(%late)", "(%late#1)"), "SNN201", "no result 1"),
    "huge result": (changed("(%late)", "(%late#999999999999)"), "SNN102", "sensible"),
    "twice": (changed('node = "late"', 'node = "lif"'), "SNN201", "two nodes"),
    "value twice": (changed("%late =", "%lif ="), "SNN201", "defined twice"),
    "missing": (
        changed("signal = !snn.spikes<tensor<3xf32>>, ", ""), "SNN201", "needs attribute 'signal'",
    ),
    "surplus": (changed("steps = 1", "stepz = 1, steps = 1"), "SNN201", "no attribute 'stepz'"),
    "kind": (changed("steps = 1 : i64", 'steps = "x"'), "SNN201", "'steps' cannot be 'x'"),
    "attribute twice": (changed("steps = 1", "steps = 2, steps = 1"), "SNN102", "twice"),
    "rule": (changed("dynamics = {", 'dynamics = {resett = "to"'), "SNN201", "no 'resett'"),
    "rule's kind": (changed("dynamics = {", "dynamics = {reset = 1"), "SNN201", "'reset'"),
    "rule's value": (changed("dynamics = {", 'dynamics = {reset = "up"'), "SNN302", "line "),
    "stated type": (
        changed("-> !snn.spikes<tensor<4xf32>>", "-> !snn.spikes<tensor<5xf32>>"), "SNN202",
        "is stated as",
    ),
    "operand's type": (
        changed("(!snn.spikes<tensor<4xf32>>) ->", "(!snn.counts<tensor<4xf32>>) ->"), "SNN202",
        "is stated as",
    ),
    "number of operands": (
        changed("(%late) {", "(%late, %late) {").replace(
            "(!snn.spikes<tensor<4xf32>>) -> !snn.analog",
            "(!snn.spikes<tensor<4xf32>>, !snn.spikes<tensor<4xf32>>) -> !snn.analog",
        ), "SNN201", "line 6, column 3: linear takes 1 operand(s), got 2",
    ),
    "cycle": (changed("(%late) {", "(%rec) {").replace(
        '(%rec) {node = "rec"', '(%sum) {node = "rec"').replace(
            "(!snn.spikes<tensor<4xf32>>) -> !snn.analog",
            "(!snn.analog<tensor<4xf32>>) -> !snn.analog",
        ), "SNN204", "delay",
    ),
    "types of operands": (
        changed("(!snn.spikes<tensor<4xf32>>) ->", "() ->"), "SNN102", "1 operands and 0 types",
    ),
    "type": (changed("!snn.spikes<tensor<4xf32>>", "tensor<4xf32>"), "SNN102", "a type such as"),
    "element type": (changed("tensor<4xf32>>", "tensor<4xbf16>>"), "SNN102", "a type such as"),
    "name of operands": (
        changed('"snn.concat_3"', '"snn.concat"', several_ports()), "SNN201", "snn.concat_3",
    ),
    "region": (changed(") {node", ") ({}) {node"), "SNN102", "only modules"),
    "block's argument": (changed("module {", "module { ^bb0(%x : f32):"), "SNN102", "':'"),
    "metadata": (changed("metadata = []", "metadata = [[1, 2]]"), "SNN201", "metadata"),
    "metadata twice": (
        changed("metadata = []", 'metadata = [["a", 2], ["a", 1]]'), "SNN201", "metadata",
    ),
    "parameter twice": (
        changed('["beta", ', '["threshold", ', feed_forward()), "SNN201", "'threshold' twice",
    ),
    "huge shape": (changed("tensor<4xf32>", "tensor<99999999999999999x9x9xf32>"), "SNN107", "large"),
    "many axes": (changed("tensor<4xf32>", f"tensor<{'1x' * 40}f32>"), "SNN107", "large"),
    "huge splat": (
        changed("dense<1.0> : tensor<f32>", "dense<1.0> : tensor<99999999x999xf32>"), "SNN102",
        "stands for",
    ),
    "deep values": (changed("metadata = []", "metadata = " + "[" * 9999), "SNN107", "nested"),
    "deep lists": (
        changed("dense<1.0>", "dense<" + "[" * 9999), "SNN107", "too many axes",
    ),
    "deep modules": ("module {" * 9999, "SNN107", "nested"),
    "long number": (changed("steps = 1", "steps = " + "1" * 9999), "SNN102", "absurdly long"),
    "infinite": (changed("dt = 0.001", "dt = 1.0e999"), "SNN102", "sensible size"),
    "long bits": (changed("dt = 0.001", "dt = 0x" + "1" * 99), "SNN102", "float of 64 bits"),
    "element": (changed("dense<1.0>", "dense<1.0e39>"), "SNN102", "fits f32"),
    "ragged": (
        changed("dense<1.0> : tensor<f32>", "dense<[[1.0], 2.0]> : tensor<2xf32>"), "SNN102",
        "shape",
    ),
    "bytes": (
        changed("dense<1.0> : tensor<f32>", 'dense<"0x00"> : tensor<2x9xf32>'), "SNN102", "1 bytes",
    ),
    "odd digits": (
        changed("dense<1.0> : tensor<f32>", 'dense<"0x0g"> : tensor<f32>'), "SNN102", "digit",
    ),
    "not UTF-8": (changed('"late"', '"\\FF\\FE"'), "SNN102", "UTF-8"),
    "alias": ("#a = 1\n", "SNN102", "aliases"),
    "open location": (changed("module {", "#a = loc(((\nmodule {"), "SNN102", "')'"),
    "elided": (
        changed("#", "", recurrent(), "key"), "SNN205", "has no digest",
    ),
    "altered": (
        changed('"0x400000000000', '"0x400000000100', recurrent(), "resource"), "SNN102",
        "was altered",
    ),
    "other resources": (
        changed("builtin: {", "other: {", recurrent(), "resource"), "SNN102", "builtin only",
    ),
    "no program": (changed("= @whole", "= @other", programs()), "SNN201", "no program @other"),
    "program twice": (
        changed("module @whole", "module @v", programs()).replace("module @m_1 ", "module @v "),
        "SNN201", "a name of its own",
    ),
    "program's order": (
        changed('"snn.scalar_shr"(%whole.x,', '"snn.scalar_shr"(%whole.t,', programs()), "SNN201",
        "not defined before it",
    ),
    "program's op": (changed("scalar_shr", "scalar_shl", programs()), "SNN201", "shl"),
    "program's type": (
        changed('name = "t"} : (i32, i32) -> i32', 'name = "t"} : (i32, i32) -> f32', programs()),
        "SNN201", "stated as f32",
    ),
    "program's kind": (changed('kind = "', 'kind = "x', programs()), "SNN201", "emits"),
    "program's state": (changed("initial = -0.0 : f64", "initial = 1", programs()), "SNN201", "initial"),
    "program's operation": (
        changed("snn.program_next", "snn.delay", programs()), "SNN102", "no operation of a step",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_wrong_text_is_refused(name: str) -> None:
    text, code, message = WRONG[name]
    before = time.perf_counter()
    with pytest.raises(snnir.SnnirError) as caught:
        from_mlir(text if "\n" in text else text + "\n")
    assert time.perf_counter() - before < 5
    found = caught.value.diagnostics[0]
    assert found.code == code
    assert message in str(found)
    assert "\n" not in str(found)
    assert len(str(found)) < 1500


def test_errors_say_line_and_column() -> None:
    text = to_mlir(recurrent())
    lines = text.splitlines()
    number = next(i for i, line in enumerate(lines) if "snn.delay" in line)
    lines[number] = lines[number].replace("steps = 1 : i64", "steps = ?")
    column = lines[number].index("?") + 1
    with pytest.raises(snnir.SnnirError, match=f"line {number + 1}, column {column}: "):
        from_mlir("\n".join(lines))


@given(st.one_of(graphs(), graphs(discrete=False)), st.data())
def test_damaged_text_is_read_or_refused(graph: snnir.Graph, data: st.DataObject) -> None:
    text = to_mlir(graph, data.draw(st.sampled_from(WEIGHTS)))
    pieces = [*'{}[]()<>@%#:=,"-x0', "->", "{-#", "#-}", "dense", "unit", "module {", "1.0", "f32"]
    for _ in range(3):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 6)))
        piece = data.draw(st.one_of(st.text(max_size=3), st.sampled_from(pieces)))
        try:
            from_mlir(text[:start] + piece + text[end:])
        except snnir.SnnirError as failure:
            assert "\n" not in failure.diagnostics[0].render()  # noqa: PT017


@given(odd_graphs())
def test_odd_graphs_are_printed_or_refused(graph: snnir.Graph) -> None:
    try:
        text = to_mlir(graph)
    except snnir.SnnirError:
        return
    assert same(from_mlir(text), graph)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "net.mlir"
    snnir.save(recurrent(), path)
    assert same(snnir.load(path), recurrent())
    assert same(from_mlir(path), recurrent())
    assert same(from_mlir(str(path)), recurrent())
    path.write_bytes(b"module {\n\xff\n}")
    with pytest.raises(snnir.SnnirError, match=r"net.mlir: the text is not UTF-8"):
        snnir.load(path)
    with pytest.raises(snnir.SnnirError, match="SNN101.*does not exist"):
        snnir.load(tmp_path / "other.mlir")
    (tmp_path / "folder.mlir").mkdir()
    with pytest.raises(snnir.SnnirError, match="SNN101.*folder"):
        snnir.load(tmp_path / "folder.mlir")


def test_continuous_models_can_be_stepped_otherwise(tmp_path: Path) -> None:
    graph = NAMED["continuous"]()
    snnir.save(graph, tmp_path / "net.mlir")
    snnir.save(graph, tmp_path / "net.snnir")
    options: dict[str, Any] = {"semantics": "norse", "dt": 1e-4}
    stepped = snnir.load(tmp_path / "net.mlir", **options)
    assert same(stepped, snnir.load(tmp_path / "net.snnir", **options))
    assert not same(stepped, graph)
