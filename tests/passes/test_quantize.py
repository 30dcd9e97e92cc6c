"""Quantised graphs: what they keep, and that every target runs them alike."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings

import snnir
from snnir.ir import (
    Add,
    AvgPool2d,
    Bias,
    Conv2d,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Op,
    Scale,
    Signal,
    Step,
    Value,
)  # fmt: skip
from snnir.ir.file import read_snnir, write_snnir
from tests.helpers import ROOT, cli, dyadic, graph, lif_step, nir_file, recurrent, spikes
from tests.passes.nets import nets
from tests.passes.test_folding import POOL, batch_norm, chain, conv, linear, spiking

TARGETS = [
    t for t, module in (("torch", "torch"), ("xla", "jax")) if importlib.util.find_spec(module)
]
Ops = dict[str, tuple[Op, list[str]]]


def readout() -> Graph:
    """Return a network with every way a current can come about, and an analog output."""
    nodes: Ops = {
        "input": (Input(Signal(snnir.Kind.SPIKES, (2, 6, 6))), []),
        "conv": (conv(4, 2), ["input"]),
        "mean": (AvgPool2d(*POOL), ["conv"]),
        "bn": (batch_norm(4), ["mean"]),
        "lif": (lif_step(reset="subtract"), ["bn"]),
        "max": (MaxPool2d((2, 1), (1, 1)), ["lif"]),
        "flat": (Flatten(), ["max"]),
        "fc": (linear(5, 8), ["flat"]),
        "late": (Delay(1), ["lif2"]),
        "rec": (linear(5, 5, bias=False), ["late"]),
        "sum": (Add(), ["fc", "rec"]),
        "lif2": (lif_step(reset="to", synapse="factor", gain=True, leak=True), ["sum"]),
        "own": (Scale(snnir.Tensor(dyadic((5,)))), ["lif2"]),
        "more": (Bias(snnir.tensor(0.125)), ["own"]),
        "li": (lif_step(fire="never"), ["more"]),
    }
    return graph(nodes, "li", dt=1e-3).verify()


def recorded(built: Graph, target: str, x: Any, **options: Any) -> dict[str, Any]:
    names = list(snnir.populations(built))
    made = snnir.compile(built, target, level=0, **options).run(x, names)
    return {**made.recorded, "": made.output}


@pytest.mark.parametrize(
    "options",
    [
        "",
        "bits=4",
        "bits=16,state-bits=24",
        "shifts,rounding=floor",
        "per-channel=false",
        "zero-point",
        "zero-point,bits=16",
    ],
)
def test_every_target_gives_the_same_bits(options: str, tmp_path: Path) -> None:
    made = readout().apply(f"quantize{{{options}}}")
    x = spikes((30, 3, 2, 6, 6), 0.4)
    wanted = recorded(made, "numpy", x)
    assert all(y.any() for y in wanted.values())
    for target in TARGETS:
        found = recorded(made, target, x)
        for name, y in wanted.items():
            np.testing.assert_array_equal(found[name], y, err_msg=f"{target} {name}")
    folder = snnir.compile(made, level=0).save(tmp_path / "out")
    result = snnir.run(folder, x, list(snnir.populations(made)))
    np.testing.assert_array_equal(result.output, wanted[""])


@pytest.mark.parametrize("target", TARGETS)
@settings(max_examples=10)
@given(graph=nets(spiking=True))
def test_random_networks_run_alike(target: str, graph: Graph) -> None:
    try:
        made = graph.apply("declare-inputs,fold-batchnorm,fuse-linear,quantize")
    except snnir.SnnirError as refusal:
        assume("SNN403" not in str(refusal))
        raise
    assume(any(isinstance(node.op, Step) for node in made.nodes.values()))
    x = {n: spikes((9, 2, *s.shape), seed=3) for n, s in made.inputs.items()}
    one, two = (snnir.compile(made, t, level=0).run(x).outputs for t in ("numpy", target))
    for name, y in one.items():
        np.testing.assert_array_equal(two[name], y)


@settings(max_examples=60)
@given(graph=nets(spiking=True))
def test_wide_integers_keep_most_spikes(graph: Graph) -> None:
    try:
        made = graph.apply(
            "declare-inputs,fold-batchnorm,fuse-linear,quantize{bits=16,state-bits=32,power-of-two}"
        )
    except snnir.SnnirError as refusal:
        assume("SNN403" not in str(refusal))
        raise
    x = {n: spikes((9, 2, *s.shape), seed=3) for n, s in made.inputs.items()}
    one, two = (
        snnir.compile(g, level=0, precision="float64").run(x).outputs for g in (graph, made)
    )
    for name, y in one.items():
        if graph.signals[graph.outputs[name]].kind is snnir.Kind.ANALOG:
            scale = np.abs(y).max(initial=1.0)
            assert (np.abs(two[name] - y) > 0.02 * scale).mean() < 0.1
        else:
            assert (two[name] != y).mean() < 0.1


def test_fine_integers_keep_the_spikes_of_every_layer() -> None:
    built = readout()
    made = built.apply("quantize{bits=16,state-bits=32,factor-bits=16}")
    x = spikes((40, 4, 2, 6, 6), 0.4)
    real, whole = recorded(built, "numpy", x), recorded(made, "numpy", x)
    for name in snnir.populations(built):
        assert real[name].mean() > 0.02, name
        assert (real[name] != whole[name]).mean() < 0.01, name
    assert np.abs(real[""] - whole[""]).max() < 0.02 * np.abs(real[""]).max()


def test_narrow_states_make_coarse_units() -> None:
    weight = snnir.Tensor(np.ones((2, 10), np.float32))
    step = lif_step(membrane="integrate", reset="subtract")
    params = {**step.params, "threshold": snnir.tensor(100.0)}
    built = spiking((10,), Linear(weight), Step(step.dynamics, snnir.ir.FrozenDict(params)))
    x = np.ones((60, 1, 10), np.float32)
    made = built.apply("quantize{bits=16,state-bits=12}")
    one, two = (snnir.compile(g, level=0).run(x).output for g in (built, made))
    assert one.sum() == 10
    assert two.sum() == pytest.approx(10, abs=1)


def test_what_is_in_an_integer_graph() -> None:
    made = readout().apply("quantize")
    assert made["conv"].op.tensors()["weight"].dtype == "i8"
    assert made.signal("conv").dtype == "i32"
    assert made.signal("sum").dtype == "i32"
    assert made["mean"].op.name == "sum_pool2d"  # the divisor is in the unit
    assert "bn" not in made.nodes
    for name in ("lif", "lif2", "li"):
        op = made[name].op
        assert isinstance(op, Step)
        assert op.program.is_whole
        assert all(p.dtype.startswith("i") for p in op.params.values())
    assert made.outputs["output"] == Value("li.real")
    wide = readout().apply("quantize{bits=12}")
    assert wide["conv"].op.tensors()["weight"].dtype == "i16"


def test_integer_graphs_survive_files(tmp_path: Path) -> None:
    made = readout().apply("quantize")
    write_snnir(made, tmp_path / "m.snnir")
    assert read_snnir(tmp_path / "m.snnir") == made
    weights = {value.digest: value for value in made.tensors().values()}
    assert snnir.parse(str(made)).nodes.keys() == made.nodes.keys()
    assert len(weights) > 3


def test_units_are_per_channel_or_one() -> None:
    weight = (
        np.ones((3, 2, 1, 1), np.float32)
        * np.array([1.0, 0.5, 0.25], np.float32)[:, None, None, None]
    )
    built = spiking((2, 4, 4), Conv2d(snnir.Tensor(weight)), lif_step())
    per_channel = built.apply("quantize")["conv2d"].op.tensors()["weight"].numpy()
    assert per_channel.reshape(3, 2).tolist() == [[127, 127]] * 3
    one = built.apply("quantize{per-channel=false}")["conv2d"].op.tensors()["weight"].numpy()
    assert one[:, 0, 0, 0].tolist() == [127, 64, 32]


def test_powers_of_two_keep_dyadic_weights() -> None:
    built = recurrent()
    made = built.apply("quantize{power-of-two,per-channel=false,bits=16,state-bits=32}")
    x = spikes((40, 4, 3))
    np.testing.assert_array_equal(
        recorded(made, "numpy", x)["lif"], recorded(built, "numpy", x)["lif"]
    )


def test_calibrations() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(2, 500)).astype(np.float32)
    weight[:, 0] = 400.0
    built = spiking((500,), Linear(snnir.Tensor(weight)), lif_step())
    error = {}
    for how in ("minmax", "percentile,percentile=99", "mse"):
        made = built.apply(f"quantize{{bits=4,calibration={how}}}")
        whole = made["linear"].op.tensors()["weight"].numpy()
        assert np.abs(whole).max() == 7
        threshold = made["step"].op.tensors()["threshold"].numpy().reshape(-1, 1)
        back = whole * (1.0 / threshold) * np.abs(threshold / threshold)
        error[how] = float(((back / np.abs(back).max() - weight / 400) ** 2).sum())
    assert (
        np.abs(built.apply("quantize{bits=4}")["linear"].op.tensors()["weight"].numpy()[:, 1:]) == 0
    ).all()
    clipped = built.apply("quantize{bits=4,calibration=percentile,percentile=99}")
    assert (clipped["linear"].op.tensors()["weight"].numpy()[:, 1:] != 0).mean() > 0.5


def real_weights(made: Graph, name: str) -> Any:
    """Return the weights that whole ones stand for."""
    tensors = {k: t.numpy().astype(np.float64) for k, t in made[name].op.tensors().items()}
    zero = tensors.get("zero", np.zeros(1)).reshape(-1, 1)
    return (tensors["weight"] - zero) * tensors["unit"].reshape(-1, 1)


@pytest.mark.parametrize("per_channel", ["true", "false"])
@pytest.mark.parametrize("how", ["minmax", "mse", "percentile"])
def test_zero_points_use_all_bits_of_unbalanced_rows(how: str, per_channel: str) -> None:
    rng = np.random.default_rng(0)
    weight = (rng.random((3, 40)) * [[1.0], [-2.0], [1.0]] + [[0.0], [0.0], [0.5]]).astype("f4")
    built = spiking((40,), Linear(snnir.Tensor(weight)), lif_step())
    options = f"bits=4,per-channel={per_channel},calibration={how}"
    shifted = built.apply(f"quantize{{{options},zero-point}}")
    whole = shifted["linear"].op.tensors()["weight"].numpy()
    assert per_channel == "false" or (whole.min(), whole.max()) == (-8, 7)
    wrong = np.abs(real_weights(shifted, "linear") - weight)
    balanced = np.abs(real_weights(built.apply(f"quantize{{{options}}}"), "linear") - weight)
    assert wrong.mean() < 0.6 * balanced.mean()
    units = np.broadcast_to(shifted["linear"].op.tensors()["unit"].numpy(), 3)
    if how == "minmax":  # 0 is one of the values, so the ends may be up to half a unit off
        assert (wrong.max(axis=1) <= 1.001 * units).all()


def test_zero_points_survive_other_passes() -> None:
    built = readout().apply("quantize{zero-point}")
    x = spikes((20, 3, 2, 6, 6), 0.4)
    wanted = recorded(built, "numpy", x)
    for passes in ("conv-to-linear", "dead-neurons,fold-constants", "cse,fuse-linear"):
        found = recorded(built.apply(passes), "numpy", x)
        for name, y in wanted.items():
            np.testing.assert_array_equal(found[name], y)


def test_balanced_thresholds_keep_the_number_of_spikes(tmp_path: Path) -> None:
    x = spikes((60, 4, 2, 6, 6), 0.4)
    np.savez(tmp_path / "x.npz", input=x)
    built = readout()
    options = f'bits=3,per-channel=false,calibrate="{tmp_path / "x.npz"}"'
    plain, balanced = (
        built.apply(f"quantize{{{options}{more}}}") for more in ("", ",balance=true")
    )
    real, before, after = (recorded(g, "numpy", x) for g in (built, plain, balanced))
    for name in ("lif", "lif2"):
        count = real[name].sum()
        assert abs(before[name].sum() - count) > 0.1 * count
        assert abs(after[name].sum() - count) < 0.5 * abs(before[name].sum() - count)
    changed = [n for n in plain.nodes if plain[n].op != balanced[n].op]
    assert changed == ["lif", "lif2"]


def test_ranges_come_from_calibration_inputs(tmp_path: Path) -> None:
    built = recurrent()
    np.savez(tmp_path / "x.npz", input=spikes((20, 2, 3)))
    path = str(tmp_path / "x.npz")
    known = built.apply(f'quantize{{calibrate="{path}"}}')
    guessed = built.apply("quantize")
    thresholds = [g["lif"].op.tensors()["threshold"].numpy().max() for g in (known, guessed)]
    assert thresholds[0] > thresholds[1]  # finer, for what is known never to be large


WIDE = np.full((2, 600), 1.0, np.float32)


def test_sums_beyond_float32_are_exact_too() -> None:
    built = spiking((600,), Linear(snnir.Tensor(WIDE)), lif_step(membrane="integrate"))
    made = built.apply("quantize{bits=16,state-bits=32}")
    x = np.ones((3, 1, 600), np.float32)
    runs = [snnir.compile(made, t, level=0).run(x, ["linear"]) for t in ("numpy", *TARGETS)]
    for run in runs:
        assert run.recorded["linear"].dtype == np.float64
        assert run.recorded["linear"].max() == 600 * 32767


REFUSED: dict[str, tuple[Graph, str]] = {
    "real input": (chain(snnir.Kind.ANALOG, (3,), linear(4, 3), lif_step()), "declare-inputs"),
    "current input": (chain(snnir.Kind.ANALOG, (3,), lif_step()), "declare-inputs"),
    "two layers": (spiking((3,), linear(4, 3), linear(2, 4), lif_step()), "fuse-linear"),
    "read membrane": (
        spiking((3,), linear(4, 3), lif_step(fire="never"), linear(2, 4), lif_step()), "reads real numbers"
    ),
    "negative factor": (
        spiking((3,), linear(4, 3), Scale(snnir.tensor(-1.0)), lif_step()), "run fold-batchnorm and fuse-linear"
    ),
    "late bias": (spiking((3,), linear(4, 3), Delay(1), lif_step()), "move the bias behind the delay"),
    "fixed already": (spiking((3,), linear(4, 3), lif_step(membrane="fixed")), "in fixed point already"),
    "unequal biases": (
        spiking((1, 4, 4), conv(1, 1, 1), Bias(snnir.Tensor(dyadic((1, 4, 4)))), MaxPool2d(*POOL), lif_step()),
        "unequal biases",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_quantised_is_named(name: str) -> None:
    built, words = REFUSED[name]
    with pytest.raises(snnir.SnnirError, match=words) as caught:
        built.apply("quantize")
    assert "SNN403" in str(caught.value)
    assert "node '" in str(caught.value)


def test_all_problems_come_at_once() -> None:
    nodes: Ops = {
        "input": (Input(Signal(snnir.Kind.ANALOG, (3,))), []),
        "a": (lif_step(), ["input"]),
        "fc": (linear(3, 3), ["input"]),
        "b": (lif_step(), ["fc"]),
        "sum": (Add(), ["a", "b"]),
    }
    with pytest.raises(snnir.SnnirError) as caught:
        graph(nodes, "sum", dt=1e-3).verify().apply("quantize")
    assert len(caught.value.diagnostics) == 2


def test_layers_have_their_own_bits() -> None:
    made = readout().apply('quantize{layer-bits=["lif=4","li=3"]}')
    largest = {n: np.abs(made[n].op.tensors()["weight"].numpy()).max() for n in ("conv", "fc")}
    assert largest == {"conv": 7, "fc": 127}
    assert np.abs(made["own"].op.tensors()["scale"].numpy()).max() == 3
    assert made.provenance.notes[-1].endswith("bits of weights: lif 4, lif2 8, li 3")


def test_a_budget_gives_each_layer_what_it_needs(tmp_path: Path) -> None:
    from examples.digits.demo import load_samples

    x = load_samples()[0][:, :30]
    np.savez(tmp_path / "x.npz", pixels=x)
    built = snnir.load(ROOT / "examples" / "digits" / "digits.nir").apply("discretize")
    plain = recorded(built, "numpy", x)
    for budget in (0.2, 0.6):
        made = built.apply(f'quantize{{budget={budget},calibrate="{tmp_path / "x.npz"}"}}')
        found = recorded(made, "numpy", x)
        names = list(snnir.populations(built))
        differing = sum((found[n] != plain[n]).sum() for n in names)
        assert differing <= budget * sum(plain[n].sum() for n in names)
        notes = made.provenance.notes[-1]
        assert "hidden" in notes
        bits = [int(part.split()[-1]) for part in notes.split(": ")[1].split(", ")]
        assert min(bits) < 8
    path = tmp_path / "x.npz"
    with pytest.raises(snnir.SnnirError, match=r"16 bits change .* more than the budget of 0.01%"):
        built.apply(f'quantize{{budget=0.0001,state-bits=8,calibrate="{path}"}}')


@pytest.mark.parametrize(
    ("pipeline", "words"),
    [
        ("quantize{budget=0.1}", "option budget needs calibration inputs"),
        ("quantize{balance}", "option balance needs calibration inputs"),
        ("quantize{budget=2}", "a share from 0 to 1"),
        ('quantize{layer-bits=["lif=1"]}', "write NAME=BITS"),
        ('quantize{layer-bits=["lif"]}', "write NAME=BITS"),
        ('quantize{layer-bits=["lfi=4"]}', "there is no layer 'lfi'; did you mean lif"),
        ("quantize{bits=1}", "option bits is 1; use 2 to 16"),
        ("quantize{state-bits=64}", "use 8 to 32"),
        ("quantize{rounding=up}", "use nearest, floor, zero"),
        ("quantize{calibration=max}", "use minmax, percentile, mse"),
        ("quantize{percentile=0}", "option percentile is 0"),
        ("quantize{bits=eight}", "must be a int"),
        ('quantize{calibrate="none.npz"}', "cannot be read"),
        ("declare-inputs{kind=analog}", "use spikes or counts"),
    ],
)
def test_wrong_options_are_named(pipeline: str, words: str) -> None:
    with pytest.raises(snnir.SnnirError, match=words):
        recurrent().apply(pipeline)


def test_quantisation_comes_after_discretisation(tmp_path: Path) -> None:
    continuous = snnir.load(nir_file(tmp_path / "m.nir"), semantics="norse", dt=1e-3)
    with pytest.raises(snnir.SnnirError, match="run discretize before quantize"):
        continuous.apply("quantize")
    np.savez(tmp_path / "x.npz", input=np.zeros((5, 2, 7), np.float32))
    pipeline = f'discretize,declare-inputs,quantize{{calibrate="{tmp_path / "x.npz"}"}}'
    with pytest.raises(snnir.SnnirError, match=r"must be \[T, B, 3\]"):
        continuous.apply(pipeline)


def test_declared_inputs_are_checked() -> None:
    built = chain(snnir.Kind.ANALOG, (3,), linear(4, 3), lif_step())
    made = built.apply("declare-inputs")
    assert made.inputs["input"].kind is snnir.Kind.SPIKES
    assert len(made) == len(built)
    assert snnir.compile(made).run(spikes((5, 1, 3))).output.shape == (5, 1, 4)
    with pytest.raises(snnir.SnnirError, match="carries spikes"):
        snnir.compile(made).run(np.full((5, 1, 3), 0.5))
    direct = chain(snnir.Kind.ANALOG, (3,), lif_step()).apply("declare-inputs{kind=counts}")
    assert [direct[name].op.name for name in direct.order] == ["input", "current", "step"]
    assert direct.apply("declare-inputs") is direct


def test_from_the_command_line(tmp_path: Path) -> None:
    model = nir_file(tmp_path / "m.nir")
    passes = "discretize,declare-inputs,quantize{bits=6}"
    words = ["compile", model, "--semantics", "norse", "--passes", passes, "-o", tmp_path / "out"]
    refused = cli(*words)
    assert refused.returncode == 1
    assert "spikes may change: quantize{bits=6}" in refused.stderr
    assert not (tmp_path / "out").exists()
    done = cli(*words, "--allow-lossy", "--verify")
    assert done.returncode == 0, done.stderr
    assert "traces identical" in done.stderr
    assert "changed by passes" in done.stderr
    assert "quantize{bits=6}: approximate" in (tmp_path / "out" / "manifest.json").read_text()


def test_the_digits_classifier_keeps_its_answers() -> None:
    from examples.digits.demo import load_samples

    x, labels, _, _ = load_samples()
    built = snnir.load(ROOT / "examples" / "digits" / "digits.nir").apply("discretize")
    right = {}
    for bits in (8, 4):
        out = snnir.compile(built.apply(f"quantize{{bits={bits}}}"), level=0).run(x).output
        right[bits] = (out.sum(0).argmax(1) == labels).mean()
    assert right[8] >= 0.97
    assert right[4] >= 0.94
