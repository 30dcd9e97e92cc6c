"""What outlives a run: what goes into the next one, and into a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.dynamics import batch_sum, dynamics, select
from snnir.ir import Graph, Input, Node, Plastic, Signal, Step, Value
from snnir.lasting import check_lasting
from snnir.streams import Kind
from snnir.tensors import FrozenDict
from tests.learning.networks import inputs_of, learning_graph, random_graph, rewarded, scalar
from tests.learning.random_graphs import random_learning_graph


def population(program: Any, shape: tuple[int, ...] = (2,), **params: float) -> Graph:
    """Return one population that reads an input."""
    nodes = {"x": Node("x", Input(Signal(Kind.ANALOG, shape)))}
    nodes["s"] = Node("s", Step(program, FrozenDict(scalar(**params))), (Value("x"),))
    return Graph(nodes, {"output": Value("s")}, 1e-3).verify()


@dynamics(params={"start": "1", "gain": "1"}, states={"v": "start"}, lasting={"a": "start"})
def shares_its_start(x: Any, v: Any, a: Any, start: Any, gain: Any) -> Any:
    """A lasting state that starts at what another state starts at and the step reads."""
    h = 0.5 * v + x
    spike = h >= a + start
    return {"v": select(spike, start, h), "a": a + gain * batch_sum(select(spike, 1.0, 0.0))}, spike


def same_again(graph: Graph, x: Any) -> None:
    """What lasted, given to a run or put into the graph, comes to the same."""
    kept = snnir.run(graph, x).lasting
    want = snnir.run(graph, x, lasting=kept)
    started = snnir.with_lasting(graph, kept)
    got = snnir.run(started.verify(), x)
    for name, value in want.outputs.items():
        np.testing.assert_array_equal(got.outputs[name], value)
    assert got.lasting.keys() == want.lasting.keys() == kept.keys()
    for name, value in want.lasting.items():
        np.testing.assert_array_equal(got.lasting[name], value)
        assert got.lasting[name].dtype == value.dtype
    again = snnir.with_lasting(started, got.lasting)
    assert [len(n.op.tensors()) for n in again.nodes.values()] == [
        len(n.op.tensors()) for n in started.nodes.values()
    ]  # parameters for starts are not added again


@pytest.mark.parametrize("seed", range(4))
def test_a_graph_starts_from_what_lasted(seed: int) -> None:
    graph = random_learning_graph(seed)
    same_again(graph, inputs_of(graph, 15))


def test_starts_that_are_read_elsewhere() -> None:
    graph = population(shares_its_start, start=0.25, gain=0.125)
    x = inputs_of(graph, 15)
    same_again(graph, x)
    started = snnir.with_lasting(graph, {"s:a": np.array([1.0, 2.0])})
    op = started["s"].op
    assert isinstance(op, Step)
    assert {n: p.numpy().tolist() for n, p in op.params.items()} == {
        "start": 0.25, "gain": 0.125, "a_start": [1.0, 2.0],
    }  # fmt: skip


def test_starts_that_are_numbers() -> None:
    graph = learning_graph()
    op = snnir.with_lasting(graph, {"out:theta": np.arange(4.0)})["out"].op
    assert isinstance(op, Step)
    assert op.params["theta_start"].numpy().tolist() == [0, 1, 2, 3]
    assert op.params["theta_start"].dtype == "f32"
    assert next(s for s in op.program.states if s.name == "theta").initial == "theta_start"


def test_a_name_for_a_start_that_is_taken() -> None:
    @dynamics(params={"a_start": "1"}, states={}, lasting={"a": 0.0}, outputs=(Kind.ANALOG,))
    def taken(x: Any, a: Any, a_start: Any) -> Any:
        """A program that uses the name."""
        return {"a": a + batch_sum(x) * a_start}, x + a

    graph = population(taken, a_start=2.0)
    op = snnir.with_lasting(graph, {"s:a": np.array([1.0, 2.0])})["s"].op
    assert isinstance(op, Step)
    assert set(op.params) == {"a_start", "a_start_"}
    same_again(graph, inputs_of(graph, 5))


def test_weights_take_the_place_of_the_first_ones() -> None:
    weights = np.full((4, 6), 0.25)
    op = snnir.with_lasting(learning_graph(), {"synapses:w": weights})["synapses"].op
    assert isinstance(op, Plastic)
    np.testing.assert_array_equal(op.weight.numpy(), weights)
    assert set(op.params) == {"weight", "nu0", "nu1", "wmax"}


def test_all_samples_share_what_lasts() -> None:
    """A sample alone learns what a batch of it and of silence learns, and what a batch sums up."""
    graph = learning_graph(total=None)
    x = inputs_of(graph, 30, batch=1)["x"]
    alone = snnir.run(graph, {"x": x})
    silent = snnir.run(graph, {"x": np.concatenate([x, np.zeros_like(x)], axis=1)})
    np.testing.assert_array_equal(silent.output[:, :1], alone.output)
    for name, value in alone.lasting.items():
        np.testing.assert_array_equal(silent.lasting[name], value)
    twice = snnir.run(graph, {"x": np.concatenate([x, x], axis=1)})
    assert (twice.lasting["out:theta"] > alone.lasting["out:theta"]).any()


def test_membranes_and_traces_start_anew() -> None:
    """With rules that learn nothing, a run after another is the first one again."""
    editor = (graph := learning_graph(rewarded, total=None)).edit()
    op = graph["synapses"].op
    assert isinstance(op, Plastic)
    from dataclasses import replace

    still = {**op.params, **scalar(nu=0.0)}
    editor.set_op("synapses", replace(op, params=FrozenDict(still)))
    graph = editor.graph().verify()
    x = inputs_of(graph, 20)
    first = snnir.run(graph, x)
    second = snnir.run(graph, x, lasting={"synapses:w": first.lasting["synapses:w"]})
    np.testing.assert_array_equal(second.output, first.output)


def test_a_resumed_run_goes_on_with_everything() -> None:
    """Without normalisation at its ends, a run in two pieces is one."""
    graph = learning_graph(total=None)
    x = inputs_of(graph, 30)["x"]
    whole = snnir.run(graph, {"x": x})
    made = snnir.compile(graph)
    parts = [made.run({"x": x[:13]}), made.run({"x": x[13:]}, resume=True)]
    np.testing.assert_array_equal(np.concatenate([p.output for p in parts]), whole.output)
    for name, value in whole.lasting.items():
        np.testing.assert_array_equal(parts[1].lasting[name], value)
    with pytest.raises(snnir.SnnirError, match="SNN601.*either resumes the last one or takes"):
        made.run({"x": x}, resume=True, lasting=whole.lasting)


def test_a_run_changes_neither_the_graph_nor_what_it_was_given() -> None:
    graph = learning_graph()
    x = inputs_of(graph, 20)
    made = snnir.compile(graph)
    kept = made.run(x).lasting
    copies = {name: value.copy() for name, value in kept.items()}
    np.testing.assert_array_equal(
        made.run(x, lasting=kept).output, made.run(x, lasting=kept).output
    )
    for name, value in copies.items():
        np.testing.assert_array_equal(kept[name], value)
    np.testing.assert_array_equal(made.run(x).lasting["synapses:w"], copies["synapses:w"])


def test_reports_that_are_late() -> None:
    """How late a graph reports changes nothing in what lasts."""
    from dataclasses import replace

    graph = learning_graph()
    x = inputs_of(graph, 20)
    late = replace(graph, record_offset=2)
    one, two = snnir.run(graph, x, ["synapses:w"]), snnir.run(late, x, ["synapses:w"])
    np.testing.assert_array_equal(one.output[:-2], two.output[2:])
    for name, value in one.lasting.items():
        np.testing.assert_array_equal(two.lasting[name], value)


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "a name": ({"synapses:v": np.ones((4, 6))}, r"no lasting state 'synapses:v'.*synapses:w"),
    "a state that does not last": ({"out:v": np.ones(4)}, "no lasting state 'out:v'"),
    "a shape": ({"synapses:w": np.ones((6, 4))}, r"must be \[4, 6\], got float64 \[6, 4\]"),
    "samples": ({"synapses:w": np.ones((1, 4, 6))}, r"must be \[4, 6\], got"),
    "text": ({"out:theta": np.array(["a"] * 4)}, r"must be \[4\], got <U1"),
    "objects": ({"out:theta": np.array([None] * 4)}, r"must be \[4\], got object"),
    "NaN": ({"out:theta": [0, 1, np.nan, 2]}, "contains NaN or infinity"),
    "infinity": ({"out:theta": [0, 1, np.inf, 2]}, "contains NaN or infinity"),
    "too large": ({"out:theta": [0, 1, 1e300, 2]}, "contains NaN or infinity"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit(name: str) -> None:
    wrong, said = WRONG[name]
    graph = learning_graph()
    with pytest.raises(snnir.SnnirError, match=f"SNN601.*{said}"):
        snnir.run(graph, inputs_of(graph, 3), lasting=wrong)
    with pytest.raises(snnir.SnnirError, match=f"SNN601.*{said}"):
        snnir.with_lasting(graph, wrong)


@pytest.mark.parametrize("step", [-1, 0.5, 2**32, 1e300, np.float32(2**32)])
def test_counters_are_whole(step: float) -> None:
    with pytest.raises(snnir.SnnirError, match="SNN601.*must be whole, from 0 to 4294967295"):
        check_lasting(random_graph(), {"u:step": np.asarray(step)})


def test_counters_go_round() -> None:
    graph = random_graph()
    x = inputs_of(graph, 4)
    last = snnir.run(graph, x, lasting={"u:step": 2**32 - 2})
    assert int(last.lasting["u:step"]) == 2
    first = snnir.run(graph, x)
    np.testing.assert_array_equal(last.outputs["numbers"][2:], first.outputs["numbers"][:2])


def test_records_of_programs_say_what_lasts() -> None:
    from snnir.dynamics.record import dynamics_from, dynamics_record
    from tests.learning.networks import adaptive, trace

    for program in (adaptive, rewarded, trace):
        assert dynamics_from(dynamics_record(program)) == program
    assert "lasting" not in dynamics_record(trace)
    for wrong in (["v", "w"], "theta", 3, [None]):
        with pytest.raises(snnir.SnnirError, match="SNN102.*damaged"):
            dynamics_from({**dynamics_record(adaptive), "lasting": wrong})
