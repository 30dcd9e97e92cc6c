"""Where the chip's semantics and the graph's are the same, no spike differs after the shift.

Gates have no memory, so that no decay rounds: they are exact for ever. Decays by shifts round down
to whole numbers; neurons with them are exact while their states are whole multiples.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import snnir
from snnir.ir import Delay, Node, Reshape, Step, Value
from tests.helpers import graph, params
from tests.xylo.nets import (
    Nodes,
    counts,
    cuba,
    differences,
    gate,
    lif,
    linear,
    recurrent,
    two_layers,
    whole,
)
from tests.xylo.nets import (
    given as input_of,
)

seeds = st.integers(0, 2**32)


def compiled(g: Any, **options: Any) -> Any:
    return snnir.compile(g, "xylo", **options)


@given(seeds, st.integers(1, 8), st.integers(1, 12), st.integers(1, 8))
@example(229, 5, 9, 8)  # one neuron has less room than the others
@example(3, 1, 2, 2)  # currents are largest while events are added
def test_gates_are_exact(seed: int, channels: int, hidden: int, outputs: int) -> None:
    rng = np.random.default_rng(seed)
    first = whole(rng, hidden, channels, 126, step=2)
    second = whole(rng, outputs, hidden, 126, step=2)
    thresholds = [rng.integers(20, 200, n).astype(np.float32) for n in (hidden, outputs)]
    g = two_layers(first, second, gate(thresholds[0]), gate(thresholds[1], spikes="single"))
    found = differences(g, compiled(g), counts(40, 3, channels, seed=seed))
    # The readout counts in the chip only up to one, which `single` says of the graph as well.
    assert found == {"hidden": 0, "readout": 0, "output:output": 0}


@given(seeds)
def test_a_threshold_that_is_met_is_not_exceeded(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Of 62 in each: sums are whole multiples, and meet thresholds again and again.
    first, second = (
        62.0 * rng.integers(-1, 3, shape).astype(np.float32) for shape in ((6, 4), (4, 6))
    )
    hidden, readout = (
        gate(np.float32(62), fire="gt", spikes="single"),
        gate(np.float32(124), fire="gt", spikes="single"),
    )
    g = two_layers(first, second, hidden, readout)
    x = counts(40, 2, 4, seed=seed)
    wanted = snnir.compile(g, "numpy").run(x, ["hidden"]).recorded["hidden"]
    made = compiled(g)
    # The chip fires more than once where the input is larger; whether it fires is the same.
    np.testing.assert_array_equal(made.run(x, ["hidden"]).recorded["hidden"] > 0, wanted > 0)


@given(seeds)
def test_deep_networks_are_later_step_by_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(2, 7, 5)
    nodes: Nodes = {"input": input_of(int(sizes[0]))}
    for depth in range(4):
        rule = gate(np.float32(90), **({"spikes": "single"} if depth == 3 else {}))
        weight = whole(rng, int(sizes[depth + 1]), int(sizes[depth]), 126, step=2)
        nodes[f"fc{depth}"] = (linear(weight), [f"n{depth - 1}" if depth else "input"])
        nodes[f"n{depth}"] = (rule, [f"fc{depth}"])
    g = graph(nodes, "n3", dt=1e-3).verify()
    made = compiled(g)
    assert made.latency == {"n0": 0, "n1": 1, "n2": 2, "n3": 3, "output:output": 3}
    assert set(differences(g, made, counts(40, 2, int(sizes[0]), seed=seed)).values()) == {0}


@given(seeds)
def test_neurons_of_the_chip_are_exact_while_nothing_rounds(seed: int) -> None:
    """A weight shifted by n bits can be halved in n steps without a remainder."""
    rng = np.random.default_rng(seed)
    hidden = cuba(threshold=np.float32(220))
    readout = cuba(threshold=np.float32(150), spikes="single", spike_cap=0)
    first, second = whole(rng, 5, 3), whole(rng, 4, 5)
    g = recurrent(first, whole(rng, 5, 5, 20), second, hidden, readout)
    made = compiled(g)
    steps = min(*made.plan.hidden.shifts.values(), made.plan.readout.shifts["out"])
    assert steps >= 2
    assert set(differences(g, made, counts(steps, 16, 3, seed=seed)).values()) == {0}


@given(seeds)
def test_without_synapse_copies_take_the_synapse_away(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = (whole(rng, *shape, 126, step=2) for shape in ((6, 3), (4, 6)))
    hidden, readout = (
        lif(0.5, np.float32(150)),
        lif(0.5, np.float32(220), spikes="single", spike_cap=0),
    )
    g = two_layers(first, second, hidden, readout)
    made = compiled(g)
    assert made.plan.layout.cancels
    x = counts(5, 4, 3, seed=seed)
    assert set(differences(g, made, x).values()) == {0}
    # What copies are for: without them, what is left of every event adds up.
    kept = compiled(g, tails="keep")
    assert not kept.plan.layout.cancels
    longer = counts(60, 4, 3, seed=seed)
    assert sum(differences(g, made, longer).values()) <= sum(differences(g, kept, longer).values())


def test_copies_with_real_weights() -> None:
    """Measured on 12 networks: 4 and 13 % of the spikes with copies, 108 and 107 % without."""
    apart = {"cancel": np.zeros(2), "keep": np.zeros(2)}
    spikes = np.zeros(2)
    for seed in range(12):
        rng = np.random.default_rng(seed)
        first, second = rng.normal(0.1, 0.5, (20, 8)), rng.normal(0.1, 0.5, (6, 20))
        readout = lif(0.875, 1.0, spikes="single", spike_cap=0)
        g = two_layers(first, second, lif(0.875, 1.0), readout)
        x = counts(100, 4, 8, seed=seed, rate=0.05)
        wanted = snnir.compile(g, "numpy").run(x, ["hidden", "readout"]).recorded
        spikes += [wanted["hidden"].sum(), wanted["readout"].sum()]
        for tails, sums in apart.items():
            found = differences(g, compiled(g, tails=tails), x)
            sums += [found["hidden"], found["readout"]]
    assert (apart["cancel"] / spikes < [0.08, 0.2]).all()
    assert (apart["keep"] / spikes > 0.9).all()


def test_the_decay_differs_by_less_than_a_unit_per_step() -> None:
    """`v -= max(v >> d, 1)` keeps up to one unit more than v * (1 - 2^-d), and ends at 0."""
    g = two_layers(np.array([[126.0]]), np.array([[126.0]]), lif(0.875, 1e6), lif(0.875, 1e6))
    made = compiled(g)
    x = np.zeros((200, 1, 1), np.float32)
    x[0] = 1
    v = made.run(x, ["hidden:v"]).recorded["hidden:v"][:, 0, 0].astype(float)
    exact = v[0] * 0.875 ** np.arange(200)
    assert v[0] > 1
    # Each step keeps at most 7/8 of a unit too much, and 8 units of these are the most there can be.
    apart = v - exact
    assert apart.max() < 8
    assert apart.min() > -8
    assert v[-1] == 0


def test_a_population_that_is_read_and_given_out_is_repeated_by_readouts() -> None:
    rng = np.random.default_rng(3)
    nodes: Nodes = {
        "input": input_of(4),
        "fc": (linear(whole(rng, 6, 4, 126, step=2)), ["input"]),
        "only": (gate(np.float32(100), spikes="single"), ["fc"]),
    }
    g = graph(nodes, "only", dt=1e-3).verify()
    made = compiled(g)
    assert made.latency == {"only": 0, "output:output": 1}
    x = counts(50, 2, 4)
    found = differences(g, made, x)
    result = made.run(x, ["only"])
    at_most_one = np.minimum(result.recorded["only"], 1)
    np.testing.assert_array_equal(result.output[1:], at_most_one[:-1])
    assert found["only"] <= int((result.recorded["only"] > 1).sum())


def test_names_like_those_of_copies() -> None:
    rng = np.random.default_rng(3)
    nodes: Nodes = {
        "input": input_of(4),
        "fc": (linear(whole(rng, 6, 4, 126, step=2)), ["input"]),
        "copy of input": (gate(np.float32(100)), ["fc"]),
        "fc2": (linear(whole(rng, 3, 6, 126, step=2)), ["copy of input"]),
        "output of copy of input": (gate(np.float32(100), spikes="single"), ["fc2"]),
    }
    g = graph(nodes, "output of copy of input", dt=1e-3)
    g = replace(g, outputs={**g.outputs, "hidden": Value("copy of input")}).verify()
    made = compiled(g, chip="xylo-audio-3")
    x = counts(50, 2, 4)
    found = differences(g, made, x)
    assert found["copy of input"] == found["output of copy of input"] == 0
    repeated = np.minimum(made.run(x, ["copy of input"]).recorded["copy of input"], 1)
    np.testing.assert_array_equal(made.run(x).outputs["hidden"][1:], repeated[:-1])


def test_repeating_without_copies() -> None:
    """What is left of an event stays below the threshold, unless a neuron fires on and on."""
    nodes: Nodes = {
        "input": input_of(4),
        "fc": (linear(100.0 * np.eye(4)), ["input"]),
        "only": (cuba(threshold=60.0, spikes="single", spike_cap=0), ["fc"]),
    }
    made = compiled(graph(nodes, "only", dt=1e-3).verify(), tails="keep")
    assert len(made.network.core.hidden.threshold) == 4
    result = made.run(counts(60, 8, 4, rate=0.2), ["only"])
    assert result.recorded["only"].sum() > 50
    assert result.recorded["only"].max() == 1
    np.testing.assert_array_equal(result.output[1:], result.recorded["only"][:-1])


def test_membranes_are_read_in_the_units_of_the_graph() -> None:
    rng = np.random.default_rng(4)
    rules = snnir.LifStep(fire="never", reset="none")
    integrator = Step(rules, params(beta=np.float32(0.75)), "li")
    g = two_layers(
        whole(rng, 5, 3, 126, step=2), rng.normal(0, 1, (3, 5)), gate(np.float32(90)), integrator
    )
    made = compiled(g)
    x = counts(80, 3, 3)
    wanted = snnir.compile(g, "numpy").run(x).output
    found = made.run(x).output
    assert found.dtype == np.float32
    error = np.abs(found[1:] - wanted[:-1]).max() / np.abs(wanted).max()
    assert error < 0.01  # measured: 0.4 % of the largest value
    assert made.network.outputs[0].read == "membrane"


def test_delays_of_the_graph_shorten_the_latency() -> None:
    rng = np.random.default_rng(5)
    g = two_layers(
        whole(rng, 5, 3, 126, step=2), whole(rng, 4, 5, 126, step=2), gate(np.float32(90)),
        gate(np.float32(90), spikes="single"),
    )  # fmt: skip
    editor = g.edit()
    editor.put(Node("wait", Delay(1), (Value("hidden"),)))
    editor.put(Node("fc2", g["fc2"].op, (Value("wait"),)))
    late = editor.graph().verify()
    made = compiled(late)
    assert made.latency == {"hidden": 0, "readout": 0, "output:output": 0}
    assert set(differences(late, made, counts(30, 2, 3)).values()) == {0}


def test_delays_of_outputs_shorten_theirs() -> None:
    rng = np.random.default_rng(9)
    g = two_layers(
        whole(rng, 5, 3, 126, step=2), whole(rng, 4, 5, 126, step=2), gate(np.float32(90)),
        gate(np.float32(90), spikes="single"),
    )  # fmt: skip
    editor = g.edit()
    editor.add("wait", Delay(2), ["readout"])
    editor.add("square", Reshape((2, 2)), ["wait"])
    editor.outputs["output"] = Value("square")
    late = editor.graph().verify()
    made = compiled(late)
    assert made.latency == {"hidden": 0, "readout": 1, "output:output": -1}
    x = counts(30, 2, 3)
    found, wanted = made.run(x).output, snnir.compile(late, "numpy").run(x).output
    assert found.shape == wanted.shape == (30, 2, 2, 2)
    np.testing.assert_array_equal(found[:-1], wanted[1:])


@pytest.mark.parametrize("chip", ["xylo-audio-2", "xylo-imu", "xylo-audio-3"])
def test_every_chip_does_the_same(chip: str) -> None:
    rng = np.random.default_rng(6)
    g = two_layers(
        whole(rng, 5, 3, 126, step=2), whole(rng, 4, 5, 126, step=2), gate(np.float32(90)),
        gate(np.float32(90), spikes="single"),
    )  # fmt: skip
    made = compiled(g, chip=chip)
    assert made.network.chip.name == chip
    assert set(differences(g, made, counts(30, 2, 3)).values()) == {0}


def test_channels_take_up_to_fifteen_events() -> None:
    rng = np.random.default_rng(8)
    nodes: Nodes = {
        "input": input_of(3, snnir.Kind.COUNTS),
        "fc": (linear(whole(rng, 5, 3, 126, step=2)), ["input"]),
        "hidden": (gate(np.float32(200)), ["fc"]),
        "fc2": (linear(whole(rng, 4, 5, 126, step=2)), ["hidden"]),
        "readout": (gate(np.float32(90), spikes="single"), ["fc2"]),
    }
    g = graph(nodes, "readout", dt=1e-3).verify()
    x = counts(60, 3, 3, high=16, rate=0.7)
    assert x.max() == 15
    made = compiled(g)
    assert set(differences(g, made, x).values()) == {0}
    assert made.run(x, ["hidden"]).recorded["hidden"].max() >= 15
