"""What graphs become: every structure against the graph itself, event by event."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import snnir
from snnir.ir import (
    Add,
    AvgPool2d,
    Bias,
    Concat,
    Conv1d,
    Conv2d,
    Current,
    Flatten,
    Graph,
    Input,
    Linear,
    Node,
    Op,
    Pad,
    Permute,
    Reshape,
    Scale,
    Signal,
    Slice,
    Step,
    SumPool2d,
    Value,
)  # fmt: skip
from snnir.targets.speck.streams import Streams
from tests.helpers import graph, lif_step, params

COUNTS = snnir.Kind.COUNTS


def integrate(threshold: float = 128.0, **changes: Any) -> Step:
    """Return integrate-and-fire neurons.

    The threshold is above every weight: what is left after a spike is below it then, and neurons
    that an event does not reach have nothing to say.
    """
    rules = {"membrane": "integrate", "fire": "ge", "reset": "subtract"} | changes
    step = lif_step(**rules)
    return Step(step.dynamics, params(**{**dict(step.params), "threshold": threshold}), "if")


def whole(shape: tuple[int, ...], seed: int = 0, most: int = 60) -> snnir.Tensor:
    """Return whole weights, the largest of them 127, so that the chip's scale is 1."""
    values = np.random.default_rng(seed).integers(-most, most + 20, shape).astype(np.float32)
    values.reshape(-1)[0] = 127
    return snnir.tensor(values)


class PlainGraph:
    """A graph that takes events one by one: what each adds is found with the reference kernels."""

    def __init__(self, source: Graph) -> None:
        self.graph = source.apply("discretize")
        self.steps = [n for n in self.graph.order if isinstance(self.graph[n].op, Step)]
        self.states = {n: np.zeros(self.graph.signal(n).shape) for n in self.steps}
        self.spikes = {n: np.zeros(self.graph.signal(n).shape) for n in self.steps}
        self.synapses = self.without_neurons()
        self.rest = self.currents({})

    def without_neurons(self) -> Any:
        """Return all that lies between populations, as a simulator from spikes to currents."""
        editor = self.graph.edit()
        for name in self.steps:
            editor.put(Node(name, Input(Signal(COUNTS, self.graph.signal(name).shape))))
        editor.outputs.clear()
        for name in self.steps:
            editor.outputs[name] = self.graph[name].operands[0]
        return snnir.compile(editor.graph(), "numpy", level=0, precision="float64")

    def currents(self, events: dict[str, Any]) -> dict[str, Any]:
        """Return the input of every population when these streams are as given and others 0."""
        x = {
            name: events.get(name, np.zeros(signal.shape))[None, None]
            for name, signal in self.synapses.graph.inputs.items()
        }
        ran = self.synapses.run(x)
        return {name: ran.outputs[name][0, 0] for name in self.steps}

    def send(self, source: str, index: tuple[int, ...]) -> None:
        waiting = [(source, index)]
        while waiting:
            source, index = waiting.pop(0)
            one = np.zeros(self.graph.signal(source).shape)
            one[index] = 1
            for name, current in self.currents({source: one}).items():
                waiting += self.add(name, current - self.rest[name])

    def add(self, name: str, current: Any) -> list[tuple[str, tuple[int, ...]]]:
        op: Any = self.graph[name].op
        threshold = float(op.params["threshold"].numpy().max())
        state = self.states[name]
        state += current
        if "v_min" in op.params:
            np.maximum(state, float(op.params["v_min"].numpy().max()), out=state)
        fired = state >= threshold
        if op.dynamics.reset == "subtract":
            state[fired] -= threshold
        else:
            state[fired] = 0
        self.spikes[name] += fired
        # In the chip's order: by row, column and channel, a population of one axis by channel.
        axes = (*range(1, fired.ndim), 0)
        places = np.argwhere(fired.transpose(axes)).tolist()
        return [(name, (place[-1], *place[:-1])) for place in places]


def compare(source: Graph, seed: int = 0, steps: int = 4, events: int = 6) -> Any:
    """Require that the chip does as the graph does event by event; return its spikes."""
    built: Any = snnir.compile(source, "speck")
    rounded = built.plan.roundings.values()
    assert all(r.worst == 0 and r.threshold_error < 1e-6 for r in rounded)
    rng = np.random.default_rng(seed)
    ((name, signal),) = source.inputs.items()
    x = np.zeros((steps, 1, *signal.shape))
    for step in range(steps):
        for _ in range(events):
            x[(step, 0, *(int(rng.integers(0, n)) for n in signal.shape))] += 1
    populations = list(built.ports["populations"])
    ran = built.run(x, populations)
    again = built.run(x, populations, form="memory")
    plain = PlainGraph(source)
    for step in range(steps):
        for spikes in plain.spikes.values():
            spikes[...] = 0
        axes = (*range(1, x.ndim - 2), 0)
        for place in np.argwhere(x[step, 0].transpose(axes)).tolist():
            index = (place[-1], *place[:-1])
            for _ in range(int(x[(step, 0, *index)])):
                plain.send(name, index)
        for population in populations:
            assert np.array_equal(ran.recorded[population][step, 0], plain.spikes[population])
    assert all(np.array_equal(ran.recorded[p], again.recorded[p]) for p in populations)
    return ran


def one_layer(shape: tuple[int, ...], ops: dict[str, tuple[Op, list[str]]], last: str) -> Graph:
    """Return input -> ops -> neurons."""
    nodes: dict[str, tuple[Op, list[str]]] = {"input": (Input(Signal(COUNTS, shape)), [])}
    nodes |= ops
    nodes["if"] = (integrate(), [last])
    return graph(nodes, "if", dt=1e-3)


def conv(weight: tuple[int, ...], **fields: Any) -> Conv2d:
    return Conv2d(whole(weight), **fields)


STRUCTURES: dict[str, Graph] = {
    "padding": one_layer((2, 6, 7), {"c": (conv((3, 2, 3, 3), padding=((1, 1), (2, 2))), ["input"])}, "c"),
    "uneven padding": one_layer((1, 6, 6), {"c": (conv((2, 1, 3, 3), padding=((0, 1), (2, 1))), ["input"])}, "c"),
    "stride": one_layer((2, 9, 8), {"c": (conv((3, 2, 3, 3), stride=(2, 4)), ["input"])}, "c"),
    "tall kernel": one_layer((2, 7, 7), {"c": (conv((3, 2, 3, 1), padding=((0, 0), (1, 1))), ["input"])}, "c"),
    "wide kernel": one_layer((1, 5, 9), {"c": (conv((2, 1, 3, 5), padding=((0, 0), (1, 1))), ["input"])}, "c"),
    "groups": one_layer((4, 5, 5), {"c": (conv((6, 2, 3, 3), groups=2), ["input"])}, "c"),
    "depthwise": one_layer((3, 5, 5), {"c": (conv((3, 1, 3, 3), groups=3), ["input"])}, "c"),
    "dilation": one_layer((2, 9, 9), {"c": (conv((2, 2, 3, 3), dilation=(2, 3)), ["input"])}, "c"),
    "one axis": one_layer((3, 20), {"c": (Conv1d(whole((4, 3, 5)), stride=(2,), padding=((1, 2),)), ["input"])}, "c"),
    "matrix": one_layer((9,), {"c": (Linear(whole((5, 9))), ["input"])}, "c"),
    "matrix over maps": one_layer(
        (2, 4, 4), {"f": (Flatten(), ["input"]), "c": (Linear(whole((5, 32))), ["f"])}, "c"
    ),
    "matrix over oblong maps": one_layer(
        (2, 3, 6), {"f": (Flatten(), ["input"]), "c": (Linear(whole((5, 36))), ["f"])}, "c"
    ),
    "matrix over other axes": one_layer(
        (2, 3, 4),
        {
            "p": (Permute((2, 0, 1)), ["input"]),
            "f": (Flatten(), ["p"]),
            "c": (Linear(whole((5, 24))), ["f"]),
        },
        "c",
    ),
    "maps from channels": one_layer(
        (3,), {"c": (Linear(whole((16, 3))), ["input"]), "r": (Reshape((2, 2, 4)), ["c"])}, "r"
    ),
    "pool": one_layer(
        (2, 8, 8),
        {"p": (SumPool2d((2, 2), (2, 2)), ["input"]), "c": (conv((3, 2, 3, 3)), ["p"])},
        "c",
    ),
    "pool that leaves a rest": one_layer(
        (2, 7, 9),
        {"p": (SumPool2d((2, 2), (2, 2)), ["input"]), "c": (conv((3, 2, 3, 3), padding=((1, 1), (1, 1))), ["p"])},
        "c",
    ),
    "pool of a pool": one_layer(
        (1, 8, 8),
        {
            "p": (SumPool2d((2, 2), (2, 2)), ["input"]),
            "q": (SumPool2d((2, 2), (2, 2)), ["p"]),
            "c": (conv((3, 1, 2, 2)), ["q"]),
        },
        "c",
    ),
    "mean": one_layer(
        (2, 8, 8),
        {
            "p": (AvgPool2d((2, 2), (2, 2)), ["input"]),
            "s": (Scale(snnir.tensor(4.0)), ["p"]),
            "c": (conv((3, 2, 3, 3)), ["s"]),
        },
        "c",
    ),
    "mean into neurons": one_layer(
        (2, 4, 4),
        {
            "p": (AvgPool2d((2, 2), (2, 2)), ["input"]),
            "s": (Scale(snnir.tensor(4.0 * 127)), ["p"]),
        },
        "s",
    ),
    "channels left out": one_layer(
        (4, 5, 5), {"s": (Slice(0, 1, 3), ["input"]), "c": (conv((2, 2, 3, 3)), ["s"])}, "c"
    ),
    "cut": one_layer(
        (1, 8, 8), {"r": (Slice(1, 2, 7), ["input"]), "s": (Slice(2, 1, 6), ["r"]), "c": (conv((2, 1, 3, 3)), ["s"])}, "c"
    ),
    "pad": one_layer(
        (1, 5, 5),
        {"s": (Pad(((0, 0), (1, 0), (2, 1))), ["input"]), "c": (conv((2, 1, 3, 3)), ["s"])},
        "c",
    ),
    "the same twice": one_layer(
        (2, 6, 6),
        {
            "a": (conv((3, 2, 3, 3), padding=((1, 1), (1, 1))), ["input"]),
            "b": (Conv2d(snnir.tensor(-np.ones((3, 2, 1, 1), np.float32))), ["input"]),
            "s": (Add(), ["a", "b"]),
        },
        "s",
    ),
    "two pools of one": one_layer(
        (2, 8, 8),
        {
            "p": (SumPool2d((2, 2), (2, 2)), ["input"]),
            "a": (conv((3, 2, 2, 2), stride=(2, 2)), ["p"]),
            "q": (SumPool2d((4, 4), (4, 4)), ["input"]),
            "b": (Conv2d(whole((3, 2, 1, 1), 5, 20)), ["q"]),
            "s": (Add(), ["a", "b"]),
        },
        "s",
    ),
}  # fmt: skip
#: Windows over maps of different sizes have no common input.
IMPOSSIBLE = {"two pools of one"}


@pytest.mark.parametrize("name", sorted(set(STRUCTURES) - IMPOSSIBLE))
def test_a_layer_is_the_graph_event_by_event(name: str) -> None:
    source = STRUCTURES[name]
    ran = compare(source, events=12)
    assert ran.output.sum() > 5


@pytest.mark.parametrize("name", sorted(IMPOSSIBLE))
def test_what_no_core_can_be_is_refused(name: str) -> None:
    with pytest.raises(snnir.SnnirError, match="joins maps of 2x2 and 4x4; a core takes one size"):
        snnir.compile(STRUCTURES[name], "speck")


def network(*, clamp: bool = False, reset: str = "subtract") -> Graph:
    """Return a branch, a join by channels, a join by addition, and a matrix."""
    extra: dict[str, Any] = {"clamp": "max"} if clamp else {}

    def cell(threshold: float) -> Step:
        made = integrate(threshold, reset=reset, **extra)
        if clamp:
            made = Step(made.dynamics, params(**{**dict(made.params), "v_min": -50.0}), "if")
        return made

    pad = ((1, 1), (1, 1))
    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(COUNTS, (2, 8, 8))), []),
        "c1": (Conv2d(whole((3, 2, 3, 3), 1), padding=pad), ["input"]),
        "if1": (cell(130.0), ["c1"]),
        "c2": (Conv2d(whole((4, 3, 3, 3), 2), padding=pad), ["if1"]),
        "if2": (cell(150.0), ["c2"]),
        "p1": (SumPool2d((2, 2), (2, 2)), ["if1"]),
        "p2": (SumPool2d((2, 2), (2, 2)), ["if2"]),
        "both": (Concat(0), ["p1", "p2"]),
        "c3": (Conv2d(whole((5, 7, 2, 2), 3), stride=(2, 2)), ["both"]),
        "if3": (cell(200.0), ["c3"]),
        "flat": (Flatten(), ["if3"]),
        "fc": (Linear(whole((6, 20), 4)), ["flat"]),
        "if4": (cell(128.0), ["fc"]),
    }
    return graph(nodes, "if4", dt=1e-3)


@given(st.integers(0, 1000), st.booleans(), st.sampled_from(["subtract", "zero"]))
def test_a_network_is_the_graph_event_by_event(seed: int, clamp: bool, reset: str) -> None:
    compare(network(clamp=clamp, reset=reset), seed, steps=2, events=5)


def test_the_network_of_the_test_spikes() -> None:
    ran = compare(network(), 1, steps=4, events=8)
    assert all(ran.stats[name]["spikes"] > 3 for name in ("if1", "if2", "if3", "if4"))


def test_one_event_a_step_through_one_layer_is_the_stepped_model() -> None:
    source = one_layer(
        (2, 6, 6), {"c": (conv((4, 2, 3, 3), padding=((1, 1), (1, 1))), ["input"])}, "c"
    )
    editor = source.edit()
    editor.set_op("if", integrate(200.0))
    source = editor.graph()
    rng = np.random.default_rng(0)
    x = np.zeros((300, 1, 2, 6, 6))
    for step in range(300):
        x[(step, 0, *(int(rng.integers(0, n)) for n in (2, 6, 6)))] = 1
    stepped, chip = snnir.compile(source).run(x), snnir.compile(source, "speck").run(x)
    assert np.array_equal(stepped.output, chip.output)
    assert stepped.output.sum() > 200


def test_channels_with_thresholds_of_their_own_share_one() -> None:
    """Everything of a channel is scaled alike, so that it spikes as before."""
    base = one_layer((2, 5, 5), {"c": (conv((3, 2, 3, 3)), ["input"])}, "c")
    editor = base.edit()
    thresholds = np.array([64.0, 128.0, 32.0], np.float32).reshape(3, 1, 1)
    step = integrate(clamp="max", start=True, leak=True)
    own: dict[str, Any] = {
        "threshold": thresholds, "v_min": -thresholds / 2, "v_start": thresholds / 4,
        "bias": thresholds / 8,
    }  # fmt: skip
    tensors = {name: snnir.tensor(value) for name, value in own.items()}
    editor.set_op("if", Step(step.dynamics, params(**tensors), "if"))
    weights = np.random.default_rng(0).integers(-15, 30, (3, 2, 3, 3)).astype(np.float32)
    editor.set_op("c", Conv2d(snnir.tensor(weights)))
    built: Any = snnir.compile(editor.graph(), "speck", slow_clock=1000.0)
    layer = next(iter(built.plan.network.cores.values()))
    scale = built.plan.roundings["if"].scale
    factors = 128 / thresholds.reshape(3, 1, 1, 1)
    assert np.abs(layer.weights - weights * factors * scale).max() <= 0.5
    assert layer.threshold_high == round(128 * scale)
    assert layer.threshold_low == -round(64 * scale)
    assert (np.abs(layer.initial - 32 * scale) <= 0.5).all()
    assert (np.abs(layer.biases - 16 * scale) <= 0.5).all()
    assert built.plan.roundings["if"].rescaled == 2


def test_a_reset_to_a_value_moves_all_by_that_value() -> None:
    source = one_layer((3,), {"c": (Linear(whole((2, 3))), ["input"])}, "c")
    editor = source.edit()
    step = integrate(reset="to", start=True, clamp="max")
    values = {"threshold": 70.0, "v_reset": 6.0, "v_start": 10.0, "v_min": -20.0}
    editor.set_op("if", Step(step.dynamics, params(**values), "if"))
    built: Any = snnir.compile(editor.graph(), "speck")
    layer = next(iter(built.plan.network.cores.values()))
    assert (layer.threshold_high, layer.threshold_low) == (64, -26)
    assert layer.return_to_zero
    assert (layer.initial == 4).all()


def test_a_bias_is_added_by_the_slow_clock() -> None:
    ops: dict[str, tuple[Op, list[str]]] = {
        "c": (Linear(whole((2, 3))), ["input"]),
        "b": (Bias(snnir.tensor(np.array([24.0, -8.0], np.float32))), ["c"]),
    }
    source = one_layer((3,), ops, "b")
    for ticks in (1, 2, 4):
        built: Any = snnir.compile(source, "speck", slow_clock=1000.0 * ticks)
        layer = next(iter(built.plan.network.cores.values()))
        assert layer.leak_enable
        assert layer.biases.tolist() == [24 // ticks, -8 // ticks]
        silent = built.run(np.zeros((30, 1, 3)))
        assert silent.output[:, 0, 0].sum() == 30 * 24 // 128
    half: Any = snnir.compile(source, "speck", slow_clock=500.0)
    layer = next(iter(half.plan.network.cores.values()))
    assert layer.biases.tolist() == [48, -16]
    assert half.run(np.zeros((30, 1, 3))).output[:, 0, 0].sum() == 15 * 48 // 128


def test_currents_of_spikes_are_one_to_one() -> None:
    ops: dict[str, tuple[Op, list[str]]] = {
        "i": (Current(), ["input"]),
        "s": (Scale(snnir.tensor(127.0)), ["i"]),
    }
    ran = compare(one_layer((2, 2, 2), ops, "s"), events=5)
    assert ran.output.sum() > 8


def test_names_of_the_graph_are_kept() -> None:
    built: Any = snnir.compile(network(), "speck")
    assert list(built.ports["populations"]) == ["if1", "if2", "if3", "if4"]
    assert built.plan.model.outputs == {"output": "if4"}
    assert Value("if4") in built.graph.outputs.values()


def test_a_mean_that_no_pass_folded_is_a_sum_of_shares() -> None:
    source = one_layer((1, 4, 4), {"p": (AvgPool2d((2, 2), (2, 2)), ["input"])}, "p")
    (part,) = Streams(source, {}).parts(Value("p"))
    assert part.pooling == 2
    assert (part.gain == 0.25).all()
    assert part.index.reshape(-1).tolist() == [0, 1, 2, 3]


def test_an_output_keeps_its_own_shape() -> None:
    base = one_layer((2, 4, 4), {"c": (conv((3, 2, 3, 3)), ["input"])}, "c")
    editor = base.edit()
    editor.outputs["output"] = editor.add("flat", Reshape((3, 4)), ["if"])
    built: Any = snnir.compile(editor.graph(), "speck")
    x = np.random.default_rng(0).poisson(0.5, (4, 1, 2, 4, 4))
    assert (
        built.run(x).output.shape
        == (4, 1, 3, 4)
        == snnir.compile(editor.graph()).run(x).output.shape
    )
    assert built.outputs["output"].shape == (3, 4)


def test_a_convolution_of_one_pixel_as_maps() -> None:
    pad = ((1, 1), (1, 1))
    weight = whole((8, 2, 3, 3)).numpy().copy()
    weight[0, 0, 0, 0], weight[0, 0, 1, 1] = 0, 127  # the tap in the middle is the one that is seen
    ops: dict[str, tuple[Op, list[str]]] = {
        "c": (Conv2d(snnir.tensor(weight), padding=pad), ["input"]),
        "r": (Reshape((2, 2, 2)), ["c"]),
    }
    assert compare(one_layer((2, 1, 1), ops, "r"), events=12).output.sum() > 0


def test_spikes_that_are_added_many_times_are_weighed_once() -> None:
    ops: dict[str, tuple[Op, list[str]]] = {"a0": (Add(), ["input", "input"])}
    for index in range(1, 30):
        ops[f"a{index}"] = (Add(), [f"a{index - 1}"] * 2)
    weight = snnir.tensor(np.full((2, 3), 127 * 2.0**-30, np.float32))
    built: Any = snnir.compile(
        one_layer((3,), {**ops, "c": (Linear(weight), ["a29"])}, "c"), "speck"
    )
    (layer,) = built.plan.network.cores.values()
    assert (layer.weights == 127).all()
    assert layer.weights.shape == (2, 3, 1, 1)


def reported(cell: Step, weights: Any, **options: Any) -> str:
    base = one_layer(
        (np.shape(weights)[1],),
        {"c": (Linear(snnir.tensor(np.array(weights, np.float32))), ["input"])},
        "c",
    )
    editor = base.edit()
    editor.set_op("if", cell)
    (loss,) = snnir.losses(editor.graph(), "speck", **options).losses
    return loss.what


def test_every_rounding_is_reported() -> None:
    def cell(changes: dict[str, Any] | None = None, **values: Any) -> Step:
        step = integrate(**(changes or {}))
        return Step(step.dynamics, params(**{**dict(step.params), **values}), "if")

    clamp = {"clamp": "max"}
    assert "threshold is 33 % off" in reported(cell(threshold=1.49), [[1, 0], [0, 127]])
    assert "never falls below 258 thresholds" in reported(
        cell(clamp, v_min=-1000.0, threshold=1.0), [[1, -1]]
    )
    assert "falls to 1 thresholds under its reset, not to the reset" in reported(
        cell(clamp, v_min=0.0, threshold=1.0), [[1, -1, 0], [0, 0, 127]]
    )
    assert "an initial state is 29 % off" in reported(
        cell({"start": True}, v_start=0.5, threshold=1.0), [[0.4, 0, 0], [0, 0, 100]]
    )
    assert "several spikes a step, 3 at most," in reported(
        cell({"spikes": "multi", "spike_cap": 3}), [[1, 127]]
    )


@st.composite
def moved(draw: st.DrawFn) -> Graph:
    """An input, some ops that move, cut, pool or join its spikes, weights, and neurons."""
    shape = tuple(draw(st.integers(low, high)) for low, high in ((1, 3), (2, 6), (2, 6)))
    nodes: dict[str, tuple[Op, list[str]]] = {"input": (Input(Signal(COUNTS, shape)), [])}
    last = "input"

    def put(op: Op, *operands: str) -> str:
        name = f"n{len(nodes)}"
        nodes[name] = (op, list(operands))
        return name

    for kind in draw(
        st.lists(st.sampled_from(["slice", "pad", "flat", "pool", "swap", "join"]), max_size=4)
    ):
        size = graph(nodes, last).signal(last).shape
        axis = draw(st.integers(0, 2))
        if kind == "slice" and size[axis] > 1:
            start = draw(st.integers(0, size[axis] - 1))
            last = put(Slice(axis, start, draw(st.integers(start + 1, size[axis]))), last)
        if kind == "pad":
            widths = [(0, 0), (0, 0), (0, 0)]
            widths[axis] = draw(st.integers(0, 2)), draw(st.integers(0, 2))
            last = put(Pad(tuple(widths)), last)
        if kind == "flat":
            total = int(np.prod(size))
            start = draw(st.integers(0, total - 1))
            stop = draw(st.integers(start + 1, total))
            last = put(Slice(0, start, stop), put(Flatten(), last))
            last = put(Reshape(size), put(Pad(((start, total - stop),)), last))
        if kind == "pool" and min(size[1:]) > 1:
            last = put(SumPool2d((2, 2), (2, 2)), last)
        if kind == "swap":
            last = put(Permute(draw(st.permutations((0, 1, 2)).map(tuple))), last)
        if kind == "join":
            last = put(draw(st.sampled_from([Concat(axis), Add()])), last, last)
    size = graph(nodes, last).signal(last).shape
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    kernel = draw(st.integers(0, min(3, *size[1:])))
    weight = 127 * rng.integers(
        -1, 2, (2, size[0], kernel, kernel) if kernel else (2, int(np.prod(size)))
    )
    if kernel:
        last = put(Conv2d(snnir.tensor(weight.astype(np.float32))), last)
    else:
        last = put(Linear(snnir.tensor(weight.astype(np.float32))), put(Flatten(), last))
    nodes["if"] = (integrate(512.0), [last])
    return graph(nodes, "if", dt=1e-3)


@given(moved(), st.integers(0, 1000))
def test_whatever_moves_spikes_is_the_graph_event_by_event_or_refused(
    source: Graph, seed: int
) -> None:
    if snnir.check(source, "speck"):
        return
    built: Any = snnir.compile(source, "speck")
    assume(all(r.worst == 0 and r.threshold_error < 1e-6 for r in built.plan.roundings.values()))
    compare(source, seed, steps=2, events=30)
