"""The text form: golden texts, odd values, wrong and hostile texts."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.dynamics import dynamics
from snnir.ir import Conv2d, Current, Flatten, Input, Linear, Scale, Signal, Step, SumPool2d
from snnir.ir import parser as parser_module
from snnir.ir.parser import parse_graph
from tests.helpers import continuous, dyadic, feed_forward, graph, params, recurrent
from tests.strategies import custom


def convolutional() -> snnir.Graph:
    nodes: dict[str, Any] = {
        "image": (Input(Signal(snnir.Kind.SPIKES, (2, 6, 6))), []),
        "conv": (Conv2d(snnir.tensor(dyadic((3, 2, 3, 3))), padding=((1, 1), (1, 1))), ["image"]),
        "pool": (SumPool2d((2, 2), (2, 2)), ["conv"]),
        "flat": (Flatten(), ["pool"]),
        "fc": (Linear(snnir.tensor(dyadic((2, 27)))), ["flat"]),
        "own": (custom(), ["fc"]),
    }
    return graph(nodes, "own", dt=1e-3, name="conv net")


def leaky(factor: float) -> snnir.Dynamics:
    @dynamics(params={"β": "1", "inf": "V"}, states={"v": "inf"}, name="leaky unit")
    def program(x: Any, v: Any, β: Any, inf: Any) -> Any:  # noqa: PLC2401  (odd on purpose)
        h = v * β + x * factor
        spike = h >= inf
        return {"v": h - spike * inf}, spike

    return program


def custom_dynamics() -> snnir.Graph:
    """Programs that share a name; one is used twice, two differ by the sign of a zero."""
    nodes: dict[str, Any] = {"a": (Input(Signal(snnir.Kind.ANALOG, (2,))), [])}
    last = "a"
    for index, factor in enumerate((1.0, 0.0, -0.0, 1.0)):
        values = params(**{"β": 0.5, "inf": 1.0})
        nodes[f"n{index}"] = (Step(leaky(factor), values), [last])
        nodes[f"c{index}"] = (Current(), [f"n{index}"])
        last = f"c{index}"
    return graph(nodes, last, dt=1e-3)


GOLDEN: dict[str, Callable[[], snnir.Graph]] = {
    "feed_forward.snn": feed_forward,
    "recurrent.snn": recurrent,
    "convolutional.snn": convolutional,
    "custom_dynamics.snn": custom_dynamics,
    "continuous.snn": lambda: continuous(tau=0.01, r=1, v_leak=0, v_threshold=1),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_text(name: str, golden: Any) -> None:
    text = str(GOLDEN[name]().verify())
    golden(name, text)
    assert str(parse_graph(text)) == text


BODY = "snnir 1\ngraph @g(dt = 0.001) {{\n  %a = input() {{signal = analog<2xf32>}}\n{}\n}}\n"
WRONG = {
    "empty": ("", "SNN102", "expected 'snnir'"),
    "newer": ("snnir 99\n", "SNN108", "version 99"),
    "no graph": ("snnir 1\n", "SNN102", "expected 'graph'"),
    "unknown op": (BODY.format("  %b = liner(%a)\n  return {o = %b}"), "SNN106", "linear"),
    "undefined": (BODY.format("  return {o = %zz}"), "SNN201", "line 4"),
    "twice": (BODY.format("  %a = current(%a)\n  return {o = %a}"), "SNN201", "two nodes"),
    "attribute": (BODY.format("  %b = delay(%a) {step = 1}\n  return {o = %b}"), "SNN201", "'step'"),
    "missing": (BODY.format("  %b = scale(%a)\n  return {o = %b}"), "SNN201", "'scale'"),
    "type of value": (
        BODY.format('  %b = delay(%a) {steps = "x"}\n  return {o = %b}'), "SNN201", "cannot be 'x'",
    ),
    "weight as number": (
        BODY.format("  %b = linear(%a) {weight = 3}\n  return {o = %b}"), "SNN201", "cannot be 3",
    ),
    "stated type": (
        BODY.format("  %b = current(%a) : spikes<2xf32>\n  return {o = %b}"), "SNN202", "stated",
    ),
    "bad type": (BODY.format("  %b = current(%a) : spikes<2yf32>\n  return {o = %b}"), "SNN102",
                 "2yf32"),
    "character": (BODY.format("  %b = current(%a) ;\n  return {o = %b}"), "SNN102", "';'"),
    "end": (BODY.format("  return {o = %a}") + "x", "SNN102", "end of the text"),
    "nesting": (BODY.format("  %b = pad(%a) {widths = " + "[" * 90), "SNN107", "nested deeper"),
    "long number": (BODY.format("  %b = delay(%a) {steps = " + "9" * 500 + "}"), "SNN102", "length"),
    "program": (
        BODY.format("  %b = step(%a) {dynamics = @p}\n  return {o = %b}"), "SNN201", "@p",
    ),
    "lif": (
        BODY.format("  %b = step(%a) {dynamics = lif{resett = 1}}\n  return {o = %b}"), "SNN201",
        "resett",
    ),
    "header": ("snnir 1\ngraph @g(speed = 1) {\n", "SNN102", "record_offset"),
    **{
        f"deep {word}": (BODY.format("  %b = scale(%a) {scale = " + word * 50_000), code, part)
        for word, code, part in (
            ("{a = ", "SNN107", "nested"), ("lif{a = ", "SNN107", "nested"),
            ("f32 ", "SNN102", "a number"), ("f32[", "SNN102", "a number"),
        )
    },
    **{
        f"inline {value}": (
            BODY.format(f"  %b = scale(%a) {{scale = {value}}}\n  return {{o = %b}}"), code, part,
        )
        for value, code, part in (
            ("i8[300, 1]", "SNN102", "fit i8"), ("u64[-1, 1]", "SNN102", "fit u64"),
            ("i8[1.5, 1]", "SNN102", "whole"), ("i8 nan", "SNN102", "whole"),
            ("bool[7, true]", "SNN102", "true or false"), ("f16 7e4", "SNN102", "fit f16"),
            ("f64 1e400", "SNN102", "sensible"), ("f64 " + "9" * 350, "SNN102", "sensible"),
            ('f64["x"]', "SNN102", "a number"), ("f64[[1.0], [2.0]]", "SNN102", "a number"),
            ("@w#0123456789abcdef:2x2xq9", "SNN102", "m.snn: line 4, column 29"),
            (f"@w#0123456789abcdef:{'9' * 5000}xf32", "SNN102", "sensible"),
            ("@w#0123456789abcdef:99999999999x99999999999xf32", "SNN107", "large"),
            (f"@w#0123456789abcdef:{'1x' * 50}f32", "SNN107", "large"),
        )
    },
    **{
        f"program {line}": (
            BODY.format("  %b = step(%a) {dynamics = @p}\n  return {o = %b}")
            + f'dynamics @p "p" {dtype} {{\n  inputs x\n  {line}\n}}\n', code, part,
        )
        for dtype, line, code, part in (
            ("f99", "emit x : analog", "SNN102", "f32, f64, i32 or i64"),
            ("f32", "y = frob x", "SNN201", "line 7"), ("f32", "inputs y", "SNN102", "statement"),
            ("f32", "emit x : loud", "SNN102", "spikes, counts"),
            ("f32", "state 3 = 0.0", "SNN102", "a name"),
            ("f32", "y = neg " + "9" * 350, "SNN102", "sensible"),
        )
    },
    **{
        f"lif {text}": (
            BODY.format(f"  %b = step(%a) {{dynamics = lif{{{text}}}}}\n  return {{o = %b}}"),
            "SNN201", part,
        )
        for text, part in (
            ('refractory = "x"', "refractory"), ("gain = 7", "gain"), ("synapse = [1]", "synapse"),
            ("self = 1", "self"),
        )
    },
    "stepping": (
        BODY.format('  %b = neuron(%a) {model = "lif", stepping = {refractory = "x"}}'
                    "\n  return {o = %b}"), "SNN201", "refractory",
    ),
    "negative result": (
        BODY.format("  %b = current(%a:-1)\n  return {o = %b}"), "SNN102", "number of a result",
    ),
    "huge dt": ("snnir 1\ngraph @g(dt = " + "9" * 399 + ") {\n", "SNN102", "sensible"),
    "metadata by name": (
        BODY.format("  %b = current(%a) meta {k = @p}\n  return {o = %b}"), "SNN201", "texts",
    ),
    **{
        f"notes {notes}": (
            BODY.format("  return {o = %a}") + f"provenance {{notes = {notes}}}\n",
            "SNN102", "provenance",
        )
        for notes in ("3", '"abc"', "{a = 1}", "[@p]")
    },
    "key with a line": (
        BODY.format('  %b = current(%a) {"k\\nk" = 1}\n  return {o = %b}'), "SNN201", "no attribute",
    ),
    "long name": (
        BODY.format("  return {o = %" + "n" * 10_240 + "}"), "SNN201", "(10240 characters)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_text_is_located(kind: str) -> None:
    text, code, part = WRONG[kind]
    with pytest.raises(snnir.SnnirError) as caught:
        parse_graph(text, source="m.snn")
    message = str(caught.value)
    assert f"[{code}]" in message
    assert part in message
    assert "m.snn: " in message
    assert "line " in message
    assert "\n" not in message
    assert len(message) < 500


def test_a_delay_free_cycle_in_text_is_refused(tmp_path: Path) -> None:
    text = BODY.format("  %s = add(%a, %b)\n  %b = current(%s)\n  return {o = %b}")
    path = tmp_path / "loop.snn"
    path.write_text(text)
    with pytest.raises(snnir.SnnirError, match="SNN204.*without a delay"):
        snnir.load(path)


def test_unresolved_weights_are_named_when_needed() -> None:
    parsed = parse_graph(str(recurrent()))
    with pytest.raises(snnir.SnnirError, match="SNN205"):
        snnir.compile(parsed).run(np.zeros((2, 1, 3)))


def test_older_versions_migrate(monkeypatch: pytest.MonkeyPatch) -> None:
    text = str(feed_forward()).replace("snnir 1", "snnir 0").replace("graph @", "network @")
    with pytest.raises(snnir.SnnirError, match="SNN108"):
        parse_graph(text)
    upgrade = {0: lambda old: old.replace("snnir 0", "snnir 1").replace("network @", "graph @")}
    monkeypatch.setattr(parser_module, "MIGRATIONS", upgrade)
    assert str(parse_graph(text)) == str(feed_forward())


def one(value: Any) -> snnir.Graph:
    nodes: dict[str, Any] = {
        "a": (Input(Signal(snnir.Kind.ANALOG, (3,))), []),
        "b": (Scale(snnir.Tensor(value)), ["a"]),
    }
    return graph(nodes, "b")


FLOATS = [-0.0, np.inf, -np.inf, np.nan, 0.1, 1 / 3, 1e22, 1e16, 65504.0, 6e-8, 5e-324, 123456789.0]


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_inline_floats_are_exact(dtype: str, shape: tuple[int, ...]) -> None:
    for number in FLOATS:
        with np.errstate(all="ignore"):
            whole = one(np.full(shape, number, dtype))
        found = parse_graph(str(whole))["b"].op.tensors()["scale"]
        expected = whole["b"].op.tensors()["scale"]
        assert found.dtype == expected.dtype
        assert found.numpy().tobytes() == expected.numpy().tobytes(), number


def test_a_float32_whose_shortest_text_would_round_twice() -> None:
    # 7.038531e-26 is nearer to this float32, but its float64 lies halfway to the next.
    value = np.array(0x15AE43FD, np.uint32).view(np.float32)
    found = parse_graph(str(one(value)))["b"].op.tensors()["scale"].numpy()
    assert found.tobytes() == value.tobytes()


@pytest.mark.parametrize("dtype", ["int8", "int64", "uint8", "uint64"])
def test_inline_integers_keep_their_limits(dtype: str) -> None:
    limits = np.iinfo(dtype)
    whole = one(np.array([limits.min, limits.max, 1], dtype))
    assert parse_graph(str(whole)) == whole


def test_broken_graphs_are_printed_without_types() -> None:
    whole = feed_forward()
    for broken in (
        replace(whole, nodes={**whole.nodes, "fc": replace(whole["fc"], operands=())}),
        replace(whole, nodes={n: node for n, node in whole.nodes.items() if n != "fc"}),
        replace(
            whole, nodes={**whole.nodes, "fc": replace(whole["fc"], op=SumPool2d((1, 1), (1, 1)))}
        ),
    ):
        text = str(broken)
        assert " : " not in text
        with pytest.raises(snnir.SnnirError):
            broken.verify()
    assert str(parse_graph(text)) == text


def test_programs_of_one_name_stay_apart() -> None:
    whole = custom_dynamics()
    parsed = parse_graph(str(whole))
    programs = [parsed[f"n{index}"].op.program for index in range(4)]  # type: ignore[attr-defined]
    assert [str(p.body[1].args[1]) for p in programs] == ["1.0", "0.0", "-0.0", "1.0"]
    assert {p.name for p in programs} == {"leaky unit"}
    assert programs[0] is programs[3]


def test_weights_come_from_the_caller_or_stay_unresolved() -> None:
    whole = recurrent()
    weights = {value.digest: value for value in whole.tensors().values()}
    assert parse_graph(str(whole), weights) == whole
    key = whole["fc"].op.tensors()["weight"].digest
    assert not parse_graph(str(whole))["fc"].op.tensors()["weight"].is_resolved
    with pytest.raises(snnir.SnnirError, match="SNN202.*stored as"):
        parse_graph(str(whole), {key: snnir.Tensor(np.zeros(3))})


def long_chain(count: int, programs: int) -> snnir.Graph:
    steps = [Step(leaky(float(i)), params(**{"β": 0.5, "inf": 1.0})) for i in range(programs)]
    nodes: dict[str, Any] = {"a": (Input(Signal(snnir.Kind.ANALOG, (9,))), [])}
    last = "a"
    for index in range(count // 2):
        nodes[f"s{index}"] = (steps[index % programs], [last])
        nodes[f"c{index}"] = (Current(), [f"s{index}"])
        last = f"c{index}"
    return graph(nodes, last)


@pytest.mark.slow
@pytest.mark.parametrize("programs", [1, 1000])
def test_text_takes_linear_time(programs: int) -> None:
    def seconds(count: int) -> float:
        whole = long_chain(count, programs)
        start = time.perf_counter()
        text = str(whole)
        assert str(parse_graph(text)) == text
        return time.perf_counter() - start

    assert seconds(20_000) < 10 * seconds(5_000) + 1


def test_similar_long_names_are_not_compared_for_ever() -> None:
    names = [f"{'ab' * 95}{index}" for index in range(2000)]
    lines = [f"  %{name} = current(%a)" for name in names]
    text = BODY.format("\n".join([*lines, f"  return {{o = %{'ab' * 95}}}"]))
    start = time.perf_counter()
    with pytest.raises(snnir.SnnirError, match="not defined"):
        parse_graph(text)
    assert time.perf_counter() - start < 1  # comparing them all takes about 3
