"""What other tools let pass or refuse without a reason, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import (
    Add,
    AvgPool2d,
    BatchNorm,
    Bias,
    Concat,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Op,
    Pad,
    Reshape,
    Scale,
    Signal,
    Slice,
    Step,
    SumPool2d,
)  # fmt: skip
from tests.helpers import graph, lif_step, params
from tests.speck.test_layers import integrate, one_layer, whole

COUNTS = snnir.Kind.COUNTS
Ops = dict[str, tuple[Op, list[str]]]


def conv(out: int, fan_in: int, kernel: int, **fields: Any) -> Conv2d:
    return Conv2d(whole((out, fan_in, kernel, kernel)), **fields)


def one(shape: tuple[int, ...], op: Op, cell: Step | None = None) -> Graph:
    """Return input -> op -> neurons."""
    built = one_layer(shape, {"c": (op, ["input"])}, "c")
    if cell is None:
        return built
    editor = built.edit()
    editor.set_op("if", cell)
    return editor.graph()


def cell(changes: dict[str, Any] | None = None, **values: Any) -> Step:
    """Return neurons with other rules and parameters."""
    step = integrate(**(changes or {}))
    return Step(step.dynamics, params(**{**dict(step.params), **values}), "if")


def leaky() -> Step:
    return lif_step(reset="subtract")


def chain(layers: int, channels: int = 2) -> Graph:
    """Return so many small layers."""
    nodes: Ops = {"input": (Input(Signal(COUNTS, (channels, 4, 4))), [])}
    last = "input"
    for index in range(layers):
        nodes[f"c{index}"] = (conv(channels, channels, 1), [last])
        nodes[f"if{index}"] = (integrate(), [f"c{index}"])
        last = f"if{index}"
    return graph(nodes, last, dt=1e-3)


def two(between: Ops, last: str, second: Op | None = None) -> Graph:
    """Return input 2x8x8 -> convolution -> neurons -> ops -> convolution -> neurons."""
    nodes: Ops = {
        "input": (Input(Signal(COUNTS, (2, 8, 8))), []),
        "c1": (conv(3, 2, 3, padding=((1, 1), (1, 1))), ["input"]),
        "if1": (integrate(), ["c1"]),
        **between,
        "c2": (second or conv(2, 3, 1), [last]),
        "if2": (integrate(), ["c2"]),
    }
    return graph(nodes, "if2", dt=1e-3)


def joined(*sources: str) -> Graph:
    """Return `two` with the input and the first neurons joined for the second layer."""
    editor = two({"both": (Concat(0), list(sources))}, "both", conv(2, 5, 1)).edit()
    editor.set_op("input", Input(Signal(snnir.Kind.SPIKES, (2, 8, 8))))
    return editor.graph()


def recurrent() -> Graph:
    nodes: Ops = {
        "input": (Input(Signal(COUNTS, (3,))), []),
        "fc": (Linear(whole((4, 3))), ["input"]),
        "late": (Delay(1), ["if"]),
        "rec": (Linear(whole((4, 4))), ["late"]),
        "sum": (Add(), ["fc", "rec"]),
        "if": (integrate(), ["sum"]),
    }
    return graph(nodes, "if", dt=1e-3)


def fan_out() -> Graph:
    nodes: Ops = {
        "input": (Input(Signal(COUNTS, (2, 4, 4))), []),
        "c0": (conv(2, 2, 1), ["input"]),
        "if0": (integrate(), ["c0"]),
    }
    for name in "abc":
        nodes[f"c{name}"] = (conv(2, 2, 1), ["if0"])
        nodes[f"if{name}"] = (integrate(), [f"c{name}"])
    made = graph(nodes, "ifa", dt=1e-3)
    editor = made.edit()
    editor.outputs |= {name: snnir.Value(f"if{name}") for name in "bc"}
    return editor.graph()


def output_of(op: Op) -> Graph:
    made = one((2, 4, 4), conv(2, 2, 1))
    editor = made.edit()
    editor.outputs["output"] = editor.add("after", op, ["if"])
    return editor.graph()


def pixelwise() -> Step:
    thresholds = np.full((2, 4, 4), 128, np.float32)
    thresholds[0, 0, 0] = 130
    return cell(threshold=snnir.tensor(thresholds))


POOL3 = SumPool2d((3, 3), (3, 3))
REFUSED: dict[str, tuple[Graph, str, str]] = {
    # What Sinabs passes on, or changes, without a word.
    "subtracts something else": (
        one((3,), Linear(whole((2, 3))), cell({"own_amount": True}, v_subtract=0.5, threshold=1.0)),
        "if",
        "subtracts something else than its threshold",
    ),
    "stride 3": (
        one((1, 9, 9), conv(2, 1, 3, stride=(3, 3))),
        "if",
        r"\(kernel 3x3, stride 3x3, padding 0x0\) to 3x3 is none .* strides 1, 2, 4, 8.*; use a stride",
    ),
    "padding 8": (
        one((1, 9, 9), conv(2, 1, 9, padding=((8, 8), (8, 8)))),
        "if",
        "padding 8x8.*padding 0 to 7",
    ),
    "kernel 17": (
        one((1, 20, 20), conv(2, 1, 17)),
        "if",
        "kernel 17x17.*; the largest kernel is 16x16: pool",
    ),
    "matrix over 17 pixels": (
        one_layer(
            (1, 17, 17), {"f": (Flatten(), ["input"]), "c": (Linear(whole((2, 289))), ["f"])}, "c"
        ),
        "c",
        "reads maps of 17x17; the largest kernel is 16x16: pool",
    ),
    "pool 3": (
        two({"p": (POOL3, ["if1"])}, "p"),
        "if1",
        "is pooled over 3x3 for 'if2'; speck2f pools over 1, 2, 4",
    ),
    "pool 2 of pool 4": (
        two(
            {"p": (SumPool2d((2, 2), (2, 2)), ["if1"]), "q": (SumPool2d((4, 4), (4, 4)), ["p"])},
            "q",
        ),
        "if1",
        "is pooled over 8x8",
    ),
    "output of 65": (
        one((1, 65, 65), conv(1, 1, 1)),
        "if",
        "output is 65x65, the chip takes up to 64x64",
    ),
    "input of 200": (
        one((1, 200, 200), conv(1, 1, 16, stride=(8, 8))),
        "if",
        "input is 200x200, the chip takes up to 128x128",
    ),
    "1025 channels": (
        one((1025,), Linear(whole((2, 1025)))),
        "input",
        "has 1025 channels; the chip takes up to 1024",
    ),
    "1025 channels out": (
        one((2,), Linear(whole((1025, 2)))),
        "c",
        "has 1025 channels; the chip takes up to 1024",
    ),
    "pool at the end": (
        output_of(SumPool2d((2, 2), (2, 2))),
        "after",
        "output 'output' is not a population's spikes",
    ),
    "bias": (
        one_layer(
            (3,),
            {"c": (Linear(whole((2, 3)), snnir.tensor(np.ones(2, np.float32))), ["input"])},
            "c",
        ),
        "if",
        "adds a bias in every step; .*tick of its slow clock.*--set slow-clock=HERTZ",
    ),
    "dead weights": (
        one((3,), Linear(snnir.tensor(np.full((2, 3), 1e-6, np.float32))), cell(threshold=1000.0)),
        "if",
        "nothing of its weights is left beside its threshold",
    ),
    # What Sinabs refuses, often without saying why.
    "maximum": (
        two({"p": (MaxPool2d((2, 2), (2, 2)), ["if1"])}, "p"),
        "p",
        "takes a maximum; .*use a sum pool",
    ),
    "leak": (one((3,), Linear(whole((2, 3))), leaky()), "if", "leaks towards rest; .*xylo"),
    "synaptic current": (
        one((3,), Linear(whole((2, 3))), lif_step(synapse="factor", membrane="integrate")),
        "if",
        "synaptic current that decays",
    ),
    "two convolutions": (
        one_layer(
            (2, 8, 8),
            {
                "a": (conv(2, 2, 3, padding=((1, 1), (1, 1))), ["input"]),
                "b": (conv(2, 2, 3), ["a"]),
            },
            "b",
        ),
        "a",
        "'conv2d' stands where spikes are needed; put a population after every layer",
    ),
    "no population at the end": (
        output_of(Linear(whole((2, 4)))),
        "after",
        "output 'output' is not a population's spikes",
    ),
    "overlapping pool": (
        two({"p": (AvgPool2d((3, 3), (2, 2)), ["if1"])}, "p"),
        "p.sum_pool2d",
        "pools 3x3 with stride 2x2; .*do not overlap",
    ),
    "padded pool": (
        two({"p": (SumPool2d((2, 2), (2, 2), ((1, 1), (1, 1))), ["if1"])}, "p"),
        "p",
        "pools with padding",
    ),
    "threshold of a pixel": (
        one((2, 4, 4), conv(2, 2, 1), pixelwise()),
        "if",
        "thresholds that differ within a channel",
    ),
    "recurrence": (recurrent(), "late", "delays spikes; .*no recurrent layers"),
    "ten layers": (chain(10), "if9", "is one of 10 layers; the chip has 9 cores"),
    "three readers": (fan_out(), "if0", "is read by 3 layers .*; a core sends to two"),
    # The rest of what a core cannot be.
    "never reset": (
        one((3,), Linear(whole((2, 3))), cell({"reset": "none"})),
        "if",
        "is never reset",
    ),
    "refractory": (
        one((3,), Linear(whole((2, 3))), cell({"refractory": 2})),
        "if",
        "refractory for 2 steps",
    ),
    "negative threshold": (
        one((3,), Linear(whole((2, 3))), cell(threshold=-1.0)),
        "if",
        "a threshold that is not above what it is reset to",
    ),
    "the host and a core into one": (
        joined("if1", "input"),
        "if2",
        "joins events of the host with those of a core; .*--set dvs=true",
    ),
    "windows over what was cut off": (
        one_layer(
            (1, 8, 8),
            {
                "s": (Slice(1, 2, 7), ["input"]),
                "c": (conv(2, 1, 3, padding=((1, 1), (0, 0))), ["s"]),
            },
            "c",
        ),
        "c",
        "its windows reach pixels that were cut off",
    ),
    "bounds of channels": (
        one(
            (3,),
            Linear(whole((2, 3))),
            cell({"clamp": "max"}, v_min=snnir.tensor(np.array([-1.0, -90.0], np.float32))),
        ),
        "if",
        "lower bounds that differ between channels",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_with_the_reason(name: str) -> None:
    source, node, pattern = REFUSED[name]
    found = snnir.check(source, "speck")
    assert [d.node for d in found] == [node], found
    with pytest.raises(snnir.SnnirError, match=pattern):
        snnir.compile(source, "speck")


def test_an_output_that_a_pool_does_not_read_whole() -> None:
    nodes: Ops = {
        "input": (Input(Signal(COUNTS, (2, 5, 5))), []),
        "c1": (conv(3, 2, 1), ["input"]),
        "if1": (integrate(), ["c1"]),
        "p": (SumPool2d((2, 2), (2, 2)), ["if1"]),
        "c2": (conv(2, 3, 1), ["p"]),
        "if2": (integrate(), ["c2"]),
    }
    made = graph(nodes, "if2", dt=1e-3)
    fine: Any = snnir.compile(made, "speck")
    assert (
        fine.plan.network.cores[fine.ports["populations"]["if1"]["core"]].geometry.target.height
        == 4
    )
    x = np.random.default_rng(0).poisson(1.0, (20, 1, 2, 5, 5))
    spikes = fine.run(x, ["if1"]).recorded["if1"]
    assert spikes.shape == (20, 1, 3, 5, 5)
    assert spikes[..., :4, :4].sum() > 0
    assert spikes[..., 4, :].sum() == spikes[..., 4].sum() == 0
    editor = made.edit()
    editor.outputs["first"] = snnir.Value("if1")
    with pytest.raises(snnir.SnnirError, match="read as 4x4 and 5x5.*multiple of the pools"):
        snnir.compile(editor.graph(), "speck")


def test_everything_is_said_at_once() -> None:
    nodes: Ops = {
        "input": (Input(Signal(COUNTS, (2, 8, 8))), []),
        "c1": (conv(3, 2, 3, stride=(3, 3)), ["input"]),
        "lif": (leaky(), ["c1"]),
        "p": (MaxPool2d((2, 2), (2, 2)), ["lif"]),
        "c2": (conv(2, 3, 1), ["p"]),
        "if2": (cell({"refractory": 1}), ["c2"]),
    }
    found = snnir.check(graph(nodes, "if2", dt=1e-3), "speck")
    assert {d.node for d in found} == {"lif", "p", "if2"}


def test_a_layer_that_is_too_big_says_how_far_and_what_helps() -> None:
    (found,) = snnir.check(one((64, 16, 16), conv(128, 64, 4)), "speck")
    assert found.node == "if"
    assert "kernel memory 131,072 of 65,536 words" in found.message
    assert "(kernel 100 %" in found.message
    assert "64 output channels instead of 128" in (found.hint or "")
    assert "16 input channels instead of 64" in (found.hint or "")
    smaller = one((64, 16, 16), conv(64, 64, 4))
    assert snnir.check(smaller, "speck") == []


def test_layers_that_do_not_fit_together_name_each_other() -> None:
    source = chain(4)
    editor = source.edit()
    for index in range(4):
        shape = (40, 40, 32, 32)[:2]
        editor.set_op(f"c{index}", conv(shape[0], shape[1] if index else 2, 1))
    editor.set_op("input", Input(Signal(COUNTS, (2, 30, 30))))
    found = snnir.check(editor.graph(), "speck")
    assert len(found) == 1
    assert "fits cores 0, 1, 2 only, which 'if" in found[0].message
    assert "need too" in found[0].message


# --- What is kept, though others lose it ---------------------------------------------------------


def layer_of(source: Graph, **options: Any) -> Any:
    built: Any = snnir.compile(source, "speck", **options)
    (layer,) = built.plan.network.cores.values()
    return layer


def half() -> snnir.Tensor:
    return snnir.tensor(np.full((2, 3), 0.5, np.float32))


def test_no_lower_bound_does_not_shrink_weights() -> None:
    layer = layer_of(one((3,), Linear(half()), cell(threshold=1.0)))
    assert (layer.weights == 127).all()
    assert (layer.threshold_high, layer.threshold_low) == (254, -32768)


def test_a_large_bias_does_not_shrink_weights() -> None:
    bias = snnir.tensor(np.full(2, 10.0, np.float32))
    layer = layer_of(one((3,), Linear(half(), bias), cell(threshold=1.0)), slow_clock=1000.0)
    assert (layer.weights == 127).all()
    assert (layer.biases == 2540).all()


def test_a_large_threshold_is_said_to_limit_weights() -> None:
    source = one((3,), Linear(half()), cell(threshold=1000.0))
    built: Any = snnir.compile(source, "speck")
    assert built.plan.roundings["if"].limited_by == "threshold"
    (loss,) = built.target.losses(built.graph).losses
    assert "weights go up to 16 of 127: the threshold is 16 bits at most" in loss.what


def test_a_lower_bound_of_nothing_is_below_the_silicons_fault() -> None:
    layer = layer_of(one((3,), Linear(half()), cell({"clamp": "max"}, v_min=0.0, threshold=1.0)))
    assert layer.threshold_low == -1


def test_batch_norm_is_folded() -> None:
    def channels(*values: float) -> snnir.Tensor:
        return snnir.tensor(np.array(values, np.float32))

    norm = BatchNorm(channels(0, 0), channels(1, 0.25), channels(1, 1), channels(0, 0), 0.0)
    source = one_layer(
        (1, 4, 4), {"c": (Conv2d(snnir.tensor(np.ones((2, 1, 1, 1), np.float32))), ["input"]),
                    "n": (norm, ["c"])}, "n",
    )  # fmt: skip
    layer = layer_of(source)
    assert layer.weights.reshape(-1).tolist() == [64, 127]


def test_groups_are_counted_as_they_are_stored() -> None:
    layer = layer_of(one((4, 6, 6), Conv2d(whole((4, 2, 3, 3)), groups=2)))
    assert layer.geometry.kernel_words == 4 * 2 ** (4 + 2)
    assert layer.weights.shape == (4, 4, 3, 3)


def test_a_bias_without_steps_is_no_bias() -> None:
    zero = Bias(snnir.tensor(np.zeros(2, np.float32)))
    source = one_layer((3,), {"c": (Linear(whole((2, 3))), ["input"]), "b": (zero, ["c"])}, "b")
    assert not layer_of(source).leak_enable


@pytest.mark.parametrize(
    ("slow", "said"),
    [(1e6, "nothing is left at a tick"), (1e9, "ticks more than 1000 times in a step")],
)
def test_a_slow_clock_that_is_too_fast(slow: float, said: str) -> None:
    bias = snnir.tensor(np.full(2, 0.3, np.float32))
    weight = snnir.tensor(np.ones((2, 3), np.float32))
    source = one((3,), Linear(weight, bias), cell(threshold=1.0))
    with pytest.raises(snnir.SnnirError, match=said):
        snnir.compile(source, "speck", slow_clock=slow)


def test_a_membrane_is_no_spikes() -> None:
    nodes: Ops = {
        "input": (Input(Signal(COUNTS, (3,))), []),
        "c": (Linear(whole((2, 3))), ["input"]),
        "if": (cell({"exposes_v": True}), ["c"]),
        "d": (Linear(whole((1, 2))), ["read"]),
        "if2": (integrate(), ["d"]),
        "read": (Reshape((2,)), ["if"]),
    }
    editor = graph(nodes, "if2", dt=1e-3).edit()
    read = editor.nodes["read"]
    editor.put(replace(read, operands=(snnir.Value("if", 1),)))
    with pytest.raises(snnir.SnnirError, match="its membrane is read"):
        snnir.compile(editor.graph(), "speck")
    editor.outputs["output"] = snnir.Value("read")
    with pytest.raises(snnir.SnnirError, match="its membrane is an output"):
        snnir.compile(editor.graph(), "speck")


CUTS: dict[str, Ops] = {
    "a corner": {
        "f": (Flatten(), ["input"]),
        "s": (Slice(0, 1, 32), ["f"]),
        "p": (Pad(((1, 0),)), ["s"]),
        "r": (Reshape((2, 4, 4)), ["p"]),
        "t": (Slice(0, 0, 1), ["r"]),
        "c": (conv(1, 1, 1), ["t"]),
    },
    "pooled": {
        "s": (Slice(1, 0, 2), ["input"]),
        "p": (Pad(((0, 0), (0, 2), (0, 0))), ["s"]),
        "q": (SumPool2d((2, 2), (2, 2)), ["p"]),
        "c": (conv(1, 2, 2), ["q"]),
    },
    "through a channel": {
        "f": (Flatten(), ["input"]),
        "s": (Slice(0, 0, 24), ["f"]),
        "p": (Pad(((0, 8),)), ["s"]),
        "r": (Reshape((2, 4, 4)), ["p"]),
        "c": (conv(1, 2, 4), ["r"]),
    },
}


@pytest.mark.parametrize("name", CUTS)
def test_pixels_that_were_cut_off_do_not_come_back(name: str) -> None:
    with pytest.raises(snnir.SnnirError, match="cut|reordered"):
        snnir.compile(one_layer((2, 4, 4), CUTS[name], "c"), "speck")


def test_two_inputs_and_two_readouts_are_refused() -> None:
    nodes: Ops = {
        "a": (Input(Signal(COUNTS, (2, 8, 8))), []),
        "b": (Input(Signal(COUNTS, (2, 8, 8))), []),
        "c": (conv(2, 2, 8), ["a"]),
        "d": (conv(2, 2, 8), ["b"]),
        "if": (integrate(), ["c"]),
        "if2": (integrate(), ["d"]),
    }
    editor = graph(nodes, "if", dt=1e-3).edit()
    editor.outputs["second"] = snnir.Value("if2")
    options: dict[str, Any]
    for options in ({}, {"dvs": True}):
        (found,) = snnir.check(editor.graph(), "speck", **options)
        assert "has 2 inputs" in found.message
    nodes["d"] = (conv(2, 2, 8), ["a"])
    del nodes["b"]
    editor = graph(nodes, "if", dt=1e-3).edit()
    editor.outputs["second"] = snnir.Value("if2")
    with pytest.raises(snnir.SnnirError, match="is one of 2 outputs; the readout takes one"):
        snnir.compile(editor.graph(), "speck", readout=True)


def test_nothing_is_made_of_sizes_no_chip_has() -> None:
    for source in (
        one((40000,), Scale(snnir.tensor(200.0))),
        one((3,), Linear(snnir.tensor(np.zeros((0, 3), np.float32)))),
    ):
        assert snnir.check(source, "speck")


def test_the_sensor_and_a_core_may_feed_one_layer() -> None:
    source = joined("if1", "input")
    with pytest.raises(snnir.SnnirError, match="joined behind other maps"):
        snnir.compile(source, "speck", dvs=True)
    source = joined("input", "if1")
    built: Any = snnir.compile(source, "speck", dvs=True)
    x = np.random.default_rng(0).random((6, 1, 2, 128, 128)) < 0.01
    runs = [built.run(x, ["if1", "if2"], form=form).recorded for form in ("config", "memory")]
    assert all(np.array_equal(runs[0][name], runs[1][name]) for name in runs[0])
