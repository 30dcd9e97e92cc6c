"""Graphs, orders, inference, the verifier."""

from __future__ import annotations

from dataclasses import replace

import networkx
import numpy as np
import pytest

import snnir
from snnir.ir import (
    Add,
    Concat,
    Conv2d,
    Current,
    Delay,
    Flatten,
    FrozenDict,
    Graph,
    Input,
    Linear,
    Neuron,
    Node,
    Op,
    Reshape,
    Scale,
    Signal,
    Value,
)  # fmt: skip
from snnir.ir.names import fresh_name
from snnir.scheduling import schedule
from tests.helpers import continuous, dyadic, feed_forward, graph, lif_step, params, recurrent

SPIKES, ANALOG = snnir.Kind.SPIKES, snnir.Kind.ANALOG


def source(kind: snnir.Kind = ANALOG, shape: tuple[int, ...] = (4,)) -> tuple[Op, list[str]]:
    return Input(Signal(kind, shape)), []


def codes(broken: Graph) -> set[str]:
    with pytest.raises(snnir.SnnirError) as caught:
        broken.verify()
    return {d.code for d in caught.value.diagnostics}


def test_valid_graphs_verify() -> None:
    for good in (feed_forward(), recurrent(), continuous(tau=0.01, r=1, v_leak=0, v_threshold=1)):
        assert good.verify() is good


def test_order_puts_operands_first_but_for_the_delay() -> None:
    order = recurrent().order
    assert order.index("fc") < order.index("sum") < order.index("lif")
    assert set(order) == set(recurrent().nodes)


def test_types_of_a_recurrent_graph() -> None:
    signals = recurrent().signals
    assert str(signals[Value("late")]) == "spikes<4xf32>"
    assert str(signals[Value("rec")]) == "analog<4xf32>"


def looped(shape: tuple[int, ...], feed: bool) -> Graph:
    """A sum that is fed back through a scale whose parameter has fewer axes."""
    scale = Scale(snnir.tensor(np.full(4, 0.5, np.float32)))
    nodes: dict[str, tuple[Op, list[str]]] = {
        "a": source(shape=shape),
        "late": (Delay(1), ["s"]),
        "back": (scale, ["late"]),
        "s": (Add(), ["a", "back"] if feed else ["back"]),
        "n": (lif_step(), ["s" if feed else "a"]),
        "m": (lif_step(), ["s"]),
    }
    return graph(nodes, "m")


def test_what_is_known_goes_before_what_can_be_guessed() -> None:
    assert looped((2, 4), feed=True).verify().signal("back").shape == (2, 4)


def test_a_cycle_nothing_feeds_takes_its_parameters_shape() -> None:
    assert looped((2, 4), feed=False).verify().signal("m").shape == (4,)


def test_wrong_guesses_are_found() -> None:
    wide = Linear(snnir.tensor(dyadic((4, 4))))
    nodes: dict[str, tuple[Op, list[str]]] = {
        "a": source(),
        "late": (Delay(1), ["grown"]),
        "back": (wide, ["late"]),
        "grown": (Reshape((2, 2)), ["back"]),
    }
    assert "SNN202" in codes(graph(nodes, "grown"))


def test_edits_leave_the_original_alone() -> None:
    before = feed_forward()
    editor = before.edit()
    editor.add("copy", Current(), ["lif"])
    editor.rewire(Value("fc"), Value("fc"))
    after = editor.graph()
    assert "copy" in after.nodes
    assert "copy" not in before.nodes
    assert before == feed_forward()


def test_networkx_view() -> None:
    view = recurrent().to_networkx()
    assert networkx.number_strongly_connected_components(view) == 3
    assert view.nodes["lif"]["op"] == recurrent()["lif"].op


def broken_graphs() -> dict[str, tuple[Graph, str]]:
    linear = Linear(snnir.tensor(dyadic((4, 4))))
    lif = lif_step()
    nan = np.full((4, 4), np.nan, np.float32)
    wrong_key = replace(feed_forward(), nodes={"x": feed_forward()["fc"]})
    two = (Value("a"), Value("a"))
    huge = Input(Signal(ANALOG, (10**5, 10**5)))
    tau0 = continuous(tau=0.0, r=1, v_leak=0, v_threshold=1)
    negative = continuous(tau=-1.0, r=1, v_leak=0, v_threshold=1)
    return {
        "missing operand": (graph({"a": source(), "b": (linear, ["nowhere"])}, "b"), "SNN201"),
        "wrong key": (wrong_key, "SNN201"),
        "arity": (Graph({"a": Node("a", source()[0]), "b": Node("b", linear, two)},
                        {"o": Value("b")}), "SNN201"),
        "no output": (replace(feed_forward(), outputs={}), "SNN201"),
        "output of nothing": (replace(feed_forward(), outputs={"o": Value("z")}), "SNN201"),
        "second result": (replace(feed_forward(), outputs={"o": Value("lif", 1)}), "SNN201"),
        "dt": (replace(feed_forward(), dt=-1.0), "SNN303"),
        "cycle": (graph({"a": source(), "s": (Add(), ["a", "l"]), "l": (linear, ["s"])}, "l"),
                  "SNN204"),
        "delay 0 in a cycle": (recurrent(0), "SNN204"),
        "negative delay": (graph({"a": source(), "d": (Delay(-1), ["a"])}, "d"), "SNN105"),
        "shape": (graph({"a": source(shape=(3,)), "b": (linear, ["a"])}, "b"), "SNN202"),
        "spikes into a neuron": (graph({"a": source(SPIKES), "n": (lif, ["a"])}, "n"), "SNN203"),
        "mixed sum": (graph({"a": source(SPIKES), "b": (linear, ["a"]),
                             "s": (Add(), ["a", "b"])}, "s"), "SNN203"),
        "mixed join": (graph({"a": source(SPIKES), "b": (linear, ["a"]),
                              "s": (Concat(0), ["a", "b"])}, "s"), "SNN203"),
        "NaN": (graph({"a": source(), "b": (Linear(snnir.tensor(nan)), ["a"])}, "b"), "SNN105"),
        "tau 0": (tau0, "SNN105"),
        "tau < 0": (negative, "SNN105"),
        "huge": (graph({"a": (huge, [])}, "a"), "SNN107"),
        "unknown model": (graph({"a": source(), "n": (Neuron("nope"), ["a"])}, "n"), "SNN106"),
        "missing parameter": (graph({"a": source(), "n": (Neuron("lif"), ["a"])}, "n"), "SNN201"),
        "parameter shape": (graph({"a": source(), "n": (replace(lif, params=FrozenDict(
            {**lif.params, **params(beta=np.ones(3, np.float32))})), ["a"])}, "n"), "SNN202"),
        "conv channels": (graph({"a": source(shape=(2, 5, 5)), "c": (Conv2d(snnir.tensor(
            np.ones((1, 3, 2, 2), np.float32))), ["a"])}, "c"), "SNN202"),
        "window": (graph({"a": source(shape=(1, 2, 2)), "c": (Conv2d(snnir.tensor(
            np.ones((1, 1, 5, 5), np.float32))), ["a"])}, "c"), "SNN202"),
        "flatten": (graph({"a": source(), "f": (Flatten(2, 3), ["a"])}, "f"), "SNN202"),
    }  # fmt: skip


@pytest.mark.parametrize("kind", broken_graphs())
def test_the_verifier_rejects(kind: str) -> None:
    broken, code = broken_graphs()[kind]
    assert code in codes(broken)


def test_all_violations_at_once() -> None:
    linear = Linear(snnir.tensor(dyadic((4, 3))))
    broken = graph({"a": source(), "b": (linear, ["a"]), "c": (linear, ["a"])}, "c")
    with pytest.raises(snnir.SnnirError) as caught:
        broken.verify()
    assert {d.node for d in caught.value.diagnostics} == {"b", "c"}


def test_scalars_stay_scalars() -> None:
    built = feed_forward()
    step = built["lif"].op
    assert step.tensors()["beta"].shape == ()
    assert built.signal("lif").shape == (4,)


def test_a_fresh_name_is_in_none_of_the_given_sets() -> None:
    assert fresh_name("a", ()) == fresh_name("a", {"b"}, {"a_1": 0}) == "a"
    assert fresh_name("a", {"a", "a_2"}, {"a_1": 0}) == "a_3"


def test_what_one_population_reads_is_scheduled_with_it() -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (3,))), []),
        "fc": (Linear(snnir.tensor(dyadic((4, 3)))), ["input"]),
        "skip": (Linear(snnir.tensor(dyadic((4, 3)))), ["input"]),
        "sum": (Add(), ["fc", "skip"]),
        "lif": (lif_step(), ["sum"]),
        "twice": (Linear(snnir.tensor(dyadic((4, 4)))), ["lif"]),
        "one": (lif_step(), ["twice"]),
        "two": (lif_step(reset="subtract"), ["twice"]),
        "shown": (Linear(snnir.tensor(dyadic((4, 4)))), ["one"]),
        "last": (lif_step(), ["shown"]),
    }
    built = graph(nodes, "last", dt=1e-3)
    editor = built.edit()
    editor.outputs["current"] = Value("shown")
    assert str(schedule(editor.graph())).splitlines() == [
        "batched input", "unit    fc, skip, sum, lif", "batched twice", "scan    one",
        "scan    two", "batched shown", "scan    last",
    ]  # fmt: skip
    assert str(schedule(built)).splitlines()[-1] == "unit    shown, last"
