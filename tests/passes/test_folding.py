"""What each pass does to networks made for it."""

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
    Conv1d,
    Conv2d,
    Current,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Op,
    Permute,
    Reshape,
    Scale,
    Signal,
    Step,
    SumPool2d,
)  # fmt: skip
from tests.helpers import dyadic, feed_forward, graph, lif_step, recurrent, spikes

Ops = dict[str, tuple[Op, list[str]]]


def chain(kind: snnir.Kind, shape: tuple[int, ...], *ops: Op) -> Graph:
    """Return input -> ops, one after the other, named by their op."""
    nodes: Ops = {"input": (Input(Signal(kind, shape)), [])}
    for op in ops:
        last = list(nodes)[-1]
        nodes[op.name if op.name not in nodes else f"{op.name}_{len(nodes)}"] = (op, [last])
    return graph(nodes, list(nodes)[-1], dt=1e-3).verify()


def spiking(shape: tuple[int, ...], *ops: Op) -> Graph:
    return chain(snnir.Kind.SPIKES, shape, *ops)


def batch_norm(channels: int, **changes: Any) -> BatchNorm:
    """Return a batch norm of no special numbers."""
    draw = np.random.default_rng(3)
    values = {
        "mean": draw.normal(size=channels), "var": draw.uniform(0.3, 2, channels),
        "gamma": draw.uniform(0.4, 1.7, channels), "beta": draw.normal(size=channels),
    }  # fmt: skip
    known = {k: snnir.Tensor(v.astype(np.float32)) for k, v in values.items()}
    return BatchNorm(**{**known, **changes})


def normal(*shape: int) -> snnir.Tensor:
    """Return weights of no special numbers; the same for the same shape."""
    return snnir.Tensor(np.random.default_rng(shape).normal(size=shape).astype(np.float32))


def conv(out: int, fan_in: int, size: int = 3, **options: Any) -> Conv2d:
    return Conv2d(normal(out, fan_in, size, size), options.pop("bias", normal(out)), **options)


def linear(out: int, fan_in: int, bias: bool = True) -> Linear:
    return Linear(normal(out, fan_in), normal(out) if bias else None)


def after(before: Graph, pipeline: str, close: float = 2e-6) -> Graph:
    """Apply a pipeline and compare what both sides give, relative to the largest value."""
    made = before.apply(pipeline)
    for name in before.outputs:
        one, two = (
            snnir.compile(g, level=0, precision="float64").run(inputs(before)).outputs[name]
            for g in (before, made)
        )
        np.testing.assert_allclose(two, one, rtol=0, atol=close * np.abs(one).max())
    return made


def inputs(built: Graph) -> dict[str, Any]:
    return {n: spikes((8, 2, *s.shape)) for n, s in built.inputs.items()}


def ops(built: Graph) -> list[str]:
    return [built[name].op.name for name in built.order if name != "input"]


PAD = ((1, 1), (1, 1))
POOL = ((2, 2), (2, 2))
FOLDS = {
    "after a convolution": spiking((2, 6, 6), conv(4, 2, padding=PAD), batch_norm(4)),
    "after a mean pool": spiking((2, 6, 6), conv(4, 2), AvgPool2d(*POOL), batch_norm(4)),
    "after a sum pool": spiking((2, 6, 6), conv(4, 2), SumPool2d(*POOL), batch_norm(4)),
    "after a largest": spiking((2, 6, 6), conv(4, 2), MaxPool2d(*POOL), batch_norm(4)),
    "after a matrix": spiking((5,), linear(4, 5, bias=False), batch_norm(4)),
    "before a matrix": spiking((5,), batch_norm(5), linear(4, 5)),
    "before a convolution": spiking((2, 6, 6), batch_norm(2), conv(4, 2)),
    "before groups": spiking((4, 6, 6), batch_norm(4), conv(6, 2, groups=2)),
    "before a pool": spiking((2, 6, 6), batch_norm(2), SumPool2d(*POOL), conv(4, 2, 2)),
    "behind a flatten": spiking((2, 3, 3), batch_norm(2), Flatten(), linear(4, 18)),
    "behind axes": spiking((2, 3, 4), batch_norm(2), Permute((2, 0, 1)), Flatten(), linear(4, 24)),
    "between": spiking((2, 6, 6), conv(4, 2), batch_norm(4), conv(3, 4, padding=PAD)),
    "twice": spiking((5,), linear(4, 5), batch_norm(4), batch_norm(4, mean=snnir.tensor(np.ones(4, np.float32)))),
    "one axis": spiking(
        (2, 9), Conv1d(snnir.Tensor(dyadic((4, 2, 3)))), batch_norm(4), Conv1d(snnir.Tensor(dyadic((3, 4, 3))))
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FOLDS)
def test_batch_norms_fold(name: str) -> None:
    made = after(FOLDS[name], "fold-batchnorm,remove-identity")
    assert "batch_norm" not in ops(made)
    assert len(made) == len(FOLDS[name]) - ops(FOLDS[name]).count("batch_norm")


KEPT = {
    "a shift over a padded pool": spiking(
        (2, 6, 6), conv(4, 2), AvgPool2d((2, 2), (1, 1), PAD), batch_norm(4)
    ),
    "a negative gain under a largest": spiking(
        (2, 6, 6), conv(4, 2), MaxPool2d(*POOL),
        batch_norm(4, gamma=snnir.Tensor(np.array([1, 1, -1, 1], np.float32))),
    ),
    "a shift in a delay": spiking((5,), linear(4, 5), Delay(2), batch_norm(4)),
    "per channel in a matrix over the last axis": spiking((3, 5), linear(4, 5), batch_norm(3)),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_batch_norms_that_cannot_fold_stay(name: str) -> None:
    assert KEPT[name].apply("fold-batchnorm") is KEPT[name]


def test_a_shift_over_a_padding_goes_where_it_can() -> None:
    shifts = spiking((2, 6, 6), batch_norm(2), conv(4, 2, padding=PAD))
    assert ops(after(shifts, "fold-batchnorm")) == ["bias", "conv2d"]
    no_shift = batch_norm(2, mean=snnir.Tensor(np.zeros(2, np.float32)), beta=None)
    built = spiking((2, 6, 6), no_shift, conv(4, 2, padding=PAD))
    assert ops(after(built, "fold-batchnorm,remove-identity")) == ["conv2d"]


def test_a_batch_norm_before_neurons_goes_into_thresholds() -> None:
    built = chain(snnir.Kind.ANALOG, (4,), batch_norm(4), lif_step(reset="to", leak=True))
    made = after(built, "fold-batchnorm")
    assert ops(made) == ["step"]
    op = made["step"].op
    assert isinstance(op, Step)
    assert op.params["threshold"].shape == (4,)
    assert op.params["v_reset"].shape == (4,)
    assert op.params["bias"].shape == (4,)
    assert op.params["beta"].shape == ()


LEAKS = {
    "integrate": "bias", "factor": "bias", "difference": "leak", "pull": "leak",
    "quotient": "leak", "quotient-after": "leak", "product": "leak", "product-after": "leak",
}  # fmt: skip


@pytest.mark.parametrize("reset", ["subtract", "to"])
@pytest.mark.parametrize("gain", [False, True])
@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("membrane", LEAKS)
def test_a_bias_current_moves_where_neurons_rest(
    membrane: str, leak: bool, gain: bool, reset: str
) -> None:
    step = lif_step(membrane=membrane, leak=leak, gain=gain, refractory=2, reset=reset)
    current = Bias(snnir.tensor(np.array([0.25, 0.5, -0.125, 0.0], np.float32)))
    built = chain(snnir.Kind.ANALOG, (4,), current, step)
    made = built.apply("fuse-linear,remove-identity")
    assert ops(made) == ["step"]
    op = made["step"].op
    assert isinstance(op, Step)
    assert op.params[LEAKS[membrane]].shape == (4,)
    x = np.random.default_rng(0).integers(-8, 24, (60, 3, 4)).astype(np.float32) / 4
    run = [snnir.compile(g, level=0, precision="float64").run(x, ["step:v"]) for g in (built, made)]
    np.testing.assert_array_equal(run[0].output, run[1].output)
    np.testing.assert_allclose(run[0].recorded["step:v"], run[1].recorded["step:v"], atol=1e-9)
    assert 0 < run[0].output.mean() < 1


@pytest.mark.parametrize(
    "step",
    [
        lif_step(synapse="factor"), lif_step(synapse_gain=True), lif_step(membrane="none"),
        lif_step(membrane="fixed"),
    ],
)  # fmt: skip
def test_a_bias_before_a_filter_stays(step: Step) -> None:
    built = chain(snnir.Kind.ANALOG, (4,), Bias(snnir.tensor(0.5)), step)
    assert built.apply("fuse-linear") is built


@pytest.mark.parametrize(
    "step", [lif_step(fire="never"), lif_step(exposes_v=True), lif_step(membrane="fixed")]
)  # a factor would change what is seen
def test_neurons_that_show_their_membrane_keep_it(step: Step) -> None:
    built = chain(snnir.Kind.ANALOG, (4,), batch_norm(4), step)
    assert built.apply("fold-batchnorm") is built


def test_a_batch_norm_that_others_read_stays() -> None:
    nodes: Ops = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (5,))), []),
        "fc": (linear(4, 5), ["input"]),
        "bn": (batch_norm(4), ["fc"]),
        "other": (Scale(snnir.tensor(2.0)), ["fc"]),
        "sum": (Add(), ["bn", "other"]),
    }
    built = graph(nodes, "sum", dt=1e-3).verify()
    assert built.apply("fold-batchnorm") is built


def test_a_sum_folds_into_all_that_is_added() -> None:
    nodes: Ops = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (5,))), []),
        "a": (linear(4, 5), ["input"]),
        "b": (linear(4, 5, bias=False), ["input"]),
        "sum": (Add(), ["a", "b"]),
        "bn": (batch_norm(4), ["sum"]),
        "lif": (lif_step(), ["bn"]),
    }
    made = after(graph(nodes, "lif", dt=1e-3).verify(), "fold-batchnorm")
    assert sorted(ops(made)) == ["add", "linear", "linear", "step"]


def test_a_join_folds_into_all_that_is_joined() -> None:
    nodes: Ops = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (5,))), []),
        "a": (linear(1, 5), ["input"]),
        "b": (linear(3, 5), ["input"]),
        "join": (Concat(0), ["a", "b"]),
        "bn": (batch_norm(4), ["join"]),
    }
    made = after(graph(nodes, "bn", dt=1e-3).verify(), "fold-batchnorm")
    assert sorted(ops(made)) == ["concat", "linear", "linear"]


HALF = snnir.tensor(0.5)
FUSES: dict[str, tuple[Graph, list[str]]] = {
    "factor after": (spiking((5,), linear(4, 5), Scale(snnir.Tensor(dyadic((4,))))), ["linear"]),
    "factor before": (spiking((5,), Scale(snnir.Tensor(dyadic((5,)))), linear(4, 5)), ["linear"]),
    "bias after": (spiking((5,), linear(4, 5, False), Bias(snnir.Tensor(dyadic((4,))))), ["linear"]),
    "bias before": (spiking((5,), Bias(snnir.Tensor(dyadic((5,)))), linear(4, 5, False)), ["linear"]),
    "factors": (chain(snnir.Kind.ANALOG, (5,), Scale(HALF), Scale(HALF)), ["scale"]),
    "biases": (chain(snnir.Kind.ANALOG, (5,), Bias(HALF), Bias(HALF)), ["bias"]),
    "mean pool": (
        spiking((2, 6, 6), AvgPool2d(*POOL), conv(4, 2)), ["sum_pool2d", "conv2d"]
    ),
    "mean pool and flatten": (
        spiking((2, 4, 4), AvgPool2d(*POOL), Flatten(), linear(3, 8)),
        ["sum_pool2d", "flatten", "linear"],
    ),
    "mean pool of currents": (
        spiking((2, 6, 6), conv(4, 2), AvgPool2d(*POOL)), ["conv2d", "avg_pool2d"]
    ),
    "gain": (spiking((5,), linear(4, 5), lif_step(gain=True)), ["linear", "step"]),
    "w_in": (spiking((5,), linear(4, 5), lif_step(synapse_gain=True)), ["linear", "step"]),
    "both": (
        spiking((5,), linear(4, 5), lif_step(synapse="factor", gain=True, synapse_gain=True)),
        ["linear", "step"],
    ),
    "matrices": (spiking((9,), linear(2, 9), linear(9, 2)), ["linear", "linear"]),
    "matrices that save": (spiking((9,), linear(8, 9), linear(5, 8)), ["linear"]),
    "convolution and pixels": (spiking((2, 6, 6), conv(8, 2), conv(4, 8, 1)), ["conv2d"]),
    "convolution and more pixels": (
        spiking((2, 6, 6), conv(2, 2), conv(64, 2, 1)), ["conv2d", "conv2d"]
    ),
    "pixels and convolution": (spiking((2, 6, 6), conv(4, 2, 1), conv(4, 4)), ["conv2d"]),
    "pixels with bias into a padding": (
        spiking((2, 6, 6), conv(4, 2, 1), conv(4, 4, padding=PAD)), ["conv2d", "conv2d"]
    ),
    "pixels into a padding": (
        spiking((2, 6, 6), conv(4, 2, 1, bias=None), conv(4, 4, padding=PAD)), ["conv2d"]
    ),
    "two large convolutions": (
        spiking((2, 8, 8), conv(4, 2), conv(4, 4)), ["conv2d", "conv2d"]
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUSES)
def test_linear_ops_fuse(name: str) -> None:
    built, wanted = FUSES[name]
    made = after(built, "fuse-linear,remove-identity")
    assert ops(made) == wanted


def test_gains_are_gone_from_neurons() -> None:
    op = FUSES["both"][0].apply("fuse-linear")["step"].op
    assert isinstance(op, Step)
    assert set(op.params) == {"alpha", "beta", "threshold"}
    leaky = spiking(
        (5,), linear(4, 5), lif_step(synapse="difference", synapse_leak=True, gain=True)
    )
    assert leaky.apply("fuse-linear") is leaky  # the leak of the filter has the gain too


def test_a_counting_pool_reads_no_current_in_the_end() -> None:
    made = FUSES["mean pool"][0].apply("fuse-linear,remove-identity")
    assert ops(made) == ["sum_pool2d", "conv2d"]
    op = made["conv2d"].op
    before = FUSES["mean pool"][0]["conv2d"].op
    assert isinstance(op, Conv2d)
    assert isinstance(before, Conv2d)
    np.testing.assert_array_equal(op.weight.numpy(), before.weight.numpy() / 4)


def test_integer_weights_are_left_alone() -> None:
    weight = snnir.Tensor(np.ones((4, 5), np.int8))
    built = spiking((5,), Linear(weight), Scale(HALF))
    assert built.apply("fuse-linear") is built


def test_delays_merge_and_move() -> None:
    wide, narrow = linear(9, 3, bias=False), linear(3, 9, bias=False)
    made = after(spiking((9,), Delay(2), Delay(snnir.Tensor(np.arange(9)))), "merge-delays", 0)
    assert ops(made) == ["delay"]
    steps = made[made.order[-1]].op.steps  # type: ignore[attr-defined]
    np.testing.assert_array_equal(steps.numpy(), np.arange(9) + 2)
    made = after(spiking((9,), Delay(2), narrow), "merge-delays", 0)
    assert ops(made) == ["linear", "delay"]
    assert made["linear"].op.name == "delay"  # the name stays with the value
    assert ops(after(spiking((3,), wide, Delay(2)), "merge-delays", 0)) == ["delay", "linear"]
    for kept in (spiking((9,), Delay(2), linear(3, 9)), spiking((3,), Delay(2), wide)):
        assert kept.apply("merge-delays") is kept  # a bias; a wider line
    assert recurrent().apply("merge-delays") is not None


def test_equal_things_are_computed_once() -> None:
    built = feed_forward().edit()
    lif = built.nodes["lif"].op
    assert isinstance(lif, Step)
    built.add("fc2", built.nodes["fc"].op, ["input"])
    built.add("lif2", lif, ["fc2"])
    built.add("lif3", replace(lif, params=lif_step(reset="none").params), ["fc2"])
    for name in ("lif2", "lif3"):
        built.outputs[name] = snnir.Value(name)
    before = built.graph().verify()
    made = after(before, "cse", 0)
    assert set(made.nodes) == {"input", "fc", "lif"}
    other = before.edit()
    other.set_op("lif3", lif_step(reset="subtract"))
    assert set(other.graph().apply("cse").nodes) == {"input", "fc", "lif", "lif3"}


def constant_sum(weak: float = 0.01, zero: float = 0.0) -> Graph:
    """Return a sum of a current, a bias behind weights, and what a weakly driven population sends."""
    behind = Linear(snnir.Tensor(np.full((4, 3), zero, np.float32)), snnir.Tensor(dyadic((4,))))
    nodes: Ops = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (3,))), []),
        "fc": (linear(4, 3), ["input"]),
        "zero": (behind, ["input"]),
        "weak": (Linear(snnir.Tensor(np.full((2, 3), weak, np.float32))), ["input"]),
        "silent": (lif_step(), ["weak"]),
        "late": (Delay(2), ["silent"]),
        "sent": (linear(4, 2), ["late"]),
        "more": (Scale(snnir.tensor(2.0)), ["sent"]),
        "sum": (Add(), ["fc", "zero", "more"]),
        "lif": (lif_step(), ["sum"]),
    }
    return graph(nodes, "lif", dt=1e-3).verify()


def test_constants_in_sums_become_a_bias() -> None:
    made = after(constant_sum(), "fold-constants,dead-code", 0)
    assert ops(made) == ["linear", "bias", "step"]
    fused = after(constant_sum(), "fold-constants,fuse-linear,dead-code", 0)
    assert ops(fused) == ["linear", "step"]


def test_what_is_not_constant_stays_in_the_sum() -> None:
    loud = after(constant_sum(weak=1.0), "fold-constants,dead-code", 0)
    assert ops(loud).count("step") == 2
    assert "sum.rest" in loud.nodes
    passing = constant_sum(weak=1.0, zero=0.5)
    assert passing.apply("fold-constants") is passing


def test_a_delayed_bias_is_not_constant() -> None:
    nodes: Ops = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (3,))), []),
        "fc": (linear(4, 3), ["input"]),
        "zero": (Linear(snnir.Tensor(np.zeros((4, 3), np.float32)), snnir.Tensor(dyadic((4,)))), ["input"]),
        "late": (Delay(2), ["zero"]),
        "sum": (Add(), ["fc", "late"]),
    }  # fmt: skip
    built = graph(nodes, "sum", dt=1e-3).verify()
    assert built.apply("fold-constants") is built


def test_second_results_are_computed_once_too() -> None:
    step = lif_step(exposes_v=True)
    nodes: Ops = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (3,))), []),
        "fc": (linear(4, 3), ["input"]),
        "one": (step, ["fc"]),
        "two": (step, ["fc"]),
    }
    editor = graph(nodes, "one", dt=1e-3).edit()
    editor.outputs["v"] = snnir.Value("two", 1)
    made = after(editor.graph().verify(), "cse", 0)
    assert made.outputs["v"] == snnir.Value("one", 1)


def test_a_current_stays_where_an_identity_hides_a_sum() -> None:
    nodes: Ops = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (3,))), []),
        "fc": (linear(3, 3), ["input"]),
        "current": (Current(), ["input"]),
        "one": (Scale(snnir.tensor(1.0)), ["current"]),
        "sum": (Add(), ["fc", "one"]),
    }
    made = after(graph(nodes, "sum", dt=1e-3).verify(), "remove-identity", 0)
    assert sorted(ops(made)) == ["add", "current", "linear"]


def test_reshapes_around_neurons_go() -> None:
    step = lif_step()
    spread = {**step.params, "threshold": snnir.Tensor(dyadic((8,)))}
    neuron = Step(step.dynamics, snnir.ir.FrozenDict(spread), "lif")
    built = spiking(
        (2, 2, 2), Current(), Flatten(), neuron, Delay(1), Reshape((2, 2, 2)), conv(1, 2, 2)
    )
    made = after(built, "eliminate-reshape,remove-identity", 0)
    assert ops(made) == ["current", "step", "delay", "conv2d"]
    assert made["step"].op.tensors()["threshold"].shape == (2, 2, 2)


def test_convolutions_become_matrices_and_back() -> None:
    built = spiking(
        (4, 7, 6), conv(6, 2, 2, groups=2, padding=((1, 0), (2, 1)), stride=(2, 1), dilation=(1, 2))
    )
    made = after(built, "conv-to-linear")
    assert ops(made) == ["flatten", "linear", "reshape"]
    assert ops(built.apply("conv-to-linear{largest=100}")) == ["conv2d"]
    back = after(made, "linear-to-conv")
    assert "linear" not in ops(back)
    flat = spiking((2, 3, 3), Flatten(), linear(4, 18), lif_step())
    made = after(flat, "linear-to-conv,dead-code")
    assert ops(made) == ["conv2d", "reshape", "step"]
    assert made[made.order[1]].op.tensors()["weight"].shape == (4, 2, 3, 3)


def test_neurons_that_cannot_fire_go() -> None:
    weight = np.array(
        [[0.25, 0.25, 0.25], [0.1, 0.0, 0.02], [-1, -1, 0.1], [0.01, 0, 0]], np.float32
    )
    bias = snnir.Tensor(np.array([0, 0, 0, -1], np.float32))
    built = spiking((3,), Linear(snnir.Tensor(weight), bias), lif_step(), linear(2, 4), lif_step())
    made = after(built, "dead-neurons", 0)
    # beta 0.875: a constant input x leads to 8 x, which 0.12 keeps below the threshold of 1.
    assert made.signal("step").shape == (1,)
    assert built.apply("dead-neurons{}") == made
    excited = Linear(snnir.Tensor(np.ones((4, 3), np.float32)))
    two = Linear(snnir.Tensor(np.eye(4, dtype=np.float32)[:2]))
    unread = spiking((3,), excited, lif_step(), two)
    assert after(unread, "dead-neurons", 0).signal("step").shape == (2,)


def test_channels_that_cannot_fire_go() -> None:
    weight = dyadic((4, 2, 3, 3))
    weight[1:3] = -abs(weight[1:3])
    first = Conv2d(snnir.Tensor(weight), None)
    ops_after = (SumPool2d(*POOL), Flatten(), linear(3, 16))
    made = after(spiking((2, 6, 6), first, lif_step(), *ops_after), "dead-neurons", 1e-6)
    assert made.signal("step").shape == (2, 4, 4)
    assert made["linear"].op.tensors()["weight"].shape == (3, 8)


def test_loops_get_narrower_all_round() -> None:
    built = recurrent().edit()
    weight = np.array(built.nodes["fc"].op.tensors()["weight"].numpy())
    rec = np.array(built.nodes["rec"].op.tensors()["weight"].numpy())
    weight[2], rec[2] = -1.0, -0.5
    built.set_op("fc", Linear(snnir.Tensor(weight)))
    built.set_op("rec", Linear(snnir.Tensor(rec)))
    built.add("out", linear(2, 4), ["lif"])
    built.outputs["output"] = snnir.Value("out")
    made = after(built.graph().verify(), "dead-neurons", 1e-6)
    assert made["rec"].op.tensors()["weight"].shape == (3, 3)
    assert made["out"].op.tensors()["weight"].shape == (2, 3)


def test_what_integrates_without_leak_may_fire() -> None:
    tiny = Linear(snnir.Tensor(np.full((4, 3), 1e-4, np.float32)))
    built = spiking((3,), tiny, lif_step(membrane="integrate"), linear(2, 4))
    assert built.apply("dead-neurons") is built
