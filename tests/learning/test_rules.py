"""The library of rules: beside BindsNET's own, by hand, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import snnir
from snnir import rules
from snnir.ir import Current, Graph, Input, Node, Signal, Uniform, Value
from snnir.streams import Kind
from tests.learning.bindsnet_rules import bindsnet, stepped

Array = npt.NDArray[Any]
Given = dict[str, Array]

PRE, POST, STEPS = 23, 17, 60
TRACE, ELIGIBILITY = np.float32(0.95122945), np.float32(0.96078944)


def traced(spikes: Array, scale: float, additive: bool) -> Array:
    """Return traces of spikes [steps, batch, n]."""
    x, found = np.zeros_like(spikes[0]), []
    for s in spikes:
        x = x * TRACE
        x = x + np.float32(scale) * s if additive else np.where(s > 0, np.float32(scale), x)
        found.append(x)
    return np.stack(found)


def spikes_and_traces(batch: int, seed: int = 0) -> Given:
    """Return what rules read, [steps, batch, n]."""
    rng = np.random.default_rng(seed)
    pre = (rng.random((STEPS, batch, PRE)) < 0.2).astype(np.float32)
    post = (rng.random((STEPS, batch, POST)) < 0.15).astype(np.float32)
    reward = rng.standard_normal((STEPS, 1, 1)).astype(np.float32)
    return {
        "pre": pre,
        "post": post,
        "x_pre": traced(pre, 1.0, additive=False),
        "x_post": traced(post, 1.0, additive=False),
        "p_plus": traced(pre, 1.0, additive=True),
        "p_minus": traced(post, -1.0, additive=True),
        "probability": rng.random((STEPS, batch, POST)).astype(np.float32),
        "reward": np.repeat(reward, batch, axis=1),
    }


def synapses(rule: rules.Rule, weights: Array, given: Given) -> Graph:
    """Return a graph with one input per input of a rule."""
    inputs = {"x": weights.shape[1], **{name: given[name].shape[2] for name in rule.inputs}}
    nodes = [Node(name, Input(Signal(Kind.ANALOG, (size,)))) for name, size in inputs.items()]
    values = {name: Value(name) for name in rule.inputs}
    nodes.append(rule.node("synapses", weights, Value("x"), values))
    return Graph({node.name: node for node in nodes}, {"y": Value("synapses")}, dt=1e-3).verify()


def learned(rule: rules.Rule, weights: Array, given: Given) -> Array:
    """Return the weights [post, pre] after all steps."""
    steps, batch = next(iter(given.values())).shape[:2]
    x = np.zeros((steps, batch, weights.shape[1]), np.float32)
    run = snnir.compile(synapses(rule, weights, given), target="numpy").run
    return run({"x": x, **{name: given[name] for name in rule.inputs}}).lasting["synapses:w"]


def start(seed: int = 1) -> Array:
    """Return weights [post, pre] from 0 to 0.9."""
    rng = np.random.default_rng(seed)
    return rng.random((POST, PRE), dtype=np.float32) * np.float32(0.9)


def f32(values: Any) -> Array:
    return np.asarray(values, np.float32)


def bits(array: Array) -> Array:
    return np.ascontiguousarray(array).view(np.int32)


LIMITS = rules.Limits(0.0, 1.0, decay=1e-3)
#: The same, as options of BindsNET.
BOUNDS = {"wmin": 0.0, "wmax": 1.0, "weight_decay": 1e-3}
#: Rates that products of floats are exact with: BindsNET adds up the samples of a batch in fused
#: multiplications and additions, which is the same as rounding every product only then.
DYADIC = (2.0**-10, 2.0**-9)


def per_synapse(seed: int) -> Array:
    """Return rates [post, pre]."""
    return np.random.default_rng(seed).random((POST, PRE), dtype=np.float32) * np.float32(2e-3)


def as_torch(*arrays: Array) -> Any:
    """Return arrays [post, pre] as tensors [pre, post]."""
    import torch

    tensors = [torch.tensor(np.ascontiguousarray(array.T)) for array in arrays]
    return tensors if len(tensors) > 1 else tensors[0]


def compare(
    rule: rules.Rule,
    name: str,
    batch: int,
    connection: dict[str, Any],
    update: dict[str, Any] | None = None,
) -> None:
    """Assert that a rule does what BindsNET's class of that name does, in every bit."""
    given = spikes_and_traces(batch, seed=batch)
    ours = learned(rule, start(), given)
    theirs = stepped(
        name, np.ascontiguousarray(start().T), given, {**BOUNDS, **connection}, update or {}
    )
    assert np.array_equal(bits(ours), bits(theirs.T))
    assert (ours != start()).mean() > 0.5


@pytest.mark.filterwarnings("ignore:nu is set to zeros")
@pytest.mark.parametrize("batch", [1, 4])
class TestBesideBindsnet:
    """Weights after 60 steps of random spikes, in every bit."""

    @pytest.fixture(autouse=True)
    def _installed(self) -> None:
        bindsnet("learning")

    def test_post_pre(self, batch: int) -> None:
        rates = (1e-3, 1.7e-3) if batch == 1 else DYADIC
        compare(rules.post_pre(*rates, LIMITS), "PostPre", batch, {"nu": rates})

    def test_half_of_post_pre(self, batch: int) -> None:
        down, up = DYADIC
        compare(rules.post_pre(down, 0.0, LIMITS), "PostPre", batch, {"nu": (down, 0.0)})
        compare(rules.post_pre(None, up, LIMITS), "PostPre", batch, {"nu": (0.0, up)})

    def test_hebbian(self, batch: int) -> None:
        rates = (1e-3, 1.7e-3) if batch == 1 else DYADIC
        compare(rules.hebbian(*rates, LIMITS), "Hebbian", batch, {"nu": rates})
        each = per_synapse(2), per_synapse(3)
        rule = rules.hebbian(*each, LIMITS, rate_first=False)
        compare(rule, "Hebbian", batch, {"nu": as_torch(*each)})

    def test_weight_dependent(self, batch: int) -> None:
        rates, name = (1e-2, 1.7e-2), "WeightDependentPostPre"
        made = rules.weight_dependent_post_pre
        compare(made(*rates, LIMITS), name, batch, {"nu": rates})
        compare(made(0.0, rates[1], LIMITS), name, batch, {"nu": (0.0, rates[1])})
        compare(made(rates[0], 0.0, LIMITS), name, batch, {"nu": (rates[0], 0.0)})
        each = per_synapse(2), per_synapse(3)
        compare(made(*each, LIMITS), name, batch, {"nu": as_torch(*each)})

    def test_mean_over_samples(self, batch: int) -> None:
        import torch

        rates = (1e-2, 1.7e-2)
        connection = {"nu": rates, "reduction": torch.mean}
        compare(rules.post_pre(*rates, LIMITS, "mean"), "PostPre", batch, connection)
        rule = rules.weight_dependent_post_pre(*rates, LIMITS, "mean")
        compare(rule, "WeightDependentPostPre", batch, connection)

    @pytest.mark.parametrize("exponent", [1.0, 2.0, 3.0])
    def test_diehl_and_cook(self, batch: int, exponent: float) -> None:
        rule = rules.diehl_and_cook(1.7e-2, LIMITS, 0.4, exponent)
        connection = {"nu": (0.0, 1.7e-2), "x_tar": 0.4, "mu": exponent}
        compare(rule, "DiehlAndCook", batch, connection)

    @pytest.mark.parametrize("lag", [True, False])
    def test_mstdp(self, batch: int, lag: bool) -> None:
        connection = {"nu": (3e-3, 0.0), "zero_lag": not lag}
        compare(rules.mstdp(3e-3, LIMITS, not lag), "MSTDP", batch, connection)
        rule = rules.mstdpet(5e-3, ELIGIBILITY, 25.0, LIMITS, zero_lag=not lag)
        compare(rule, "MSTDPET", batch, {**connection, "nu": (5e-3, 0.0)})

    def test_rmax(self, batch: int) -> None:
        if batch != 1:
            pytest.skip("BindsNET has it for one sample")
        rule = rules.rmax(5e-3, np.float32(1) - np.float32(1) / np.float32(25), 5.0, LIMITS)
        compare(rule, "Rmax", batch, {"nu": (5e-3, 0.0)})

    def test_limits_of_synapses(self, batch: int) -> None:
        rng = np.random.default_rng(4)
        lower = rng.random((POST, PRE), dtype=np.float32) * np.float32(0.2)
        upper, mask = lower + np.float32(0.3), rng.random((POST, PRE)) < 0.3
        rule = rules.post_pre(*DYADIC, rules.Limits(lower, upper, mask=mask))
        given = spikes_and_traces(batch)
        weights = np.clip(start(), lower, upper)
        connection = {"nu": DYADIC, "wmin": as_torch(lower), "wmax": as_torch(upper)}
        update = {"mask": as_torch(mask)}
        theirs = stepped(
            "PostPre", np.ascontiguousarray(weights.T), given, connection, update
        )  # fmt: skip
        assert np.array_equal(bits(learned(rule, weights, given)), bits(theirs.T))

    def test_rates_of_neurons(self, batch: int) -> None:
        import torch

        rates = per_synapse(2)[:, :1], per_synapse(3)[:, :1]
        connection = {"nu": [torch.tensor(rate[:, 0]) for rate in rates]}
        compare(rules.post_pre(*rates, LIMITS), "PostPre", batch, connection)

    def test_sparse_synapses(self, batch: int) -> None:
        rates, given = (1e-3, 1.7e-3), spikes_and_traces(batch)
        limits = rules.Limits(decay=1e-3)
        weights = np.where(start(2) < 0.4, start(), np.float32(0))
        for name, rule in {
            "PostPre": rules.post_pre(*rates, limits),
            "Hebbian": rules.hebbian(*rates, limits, rate_first=False),
            "MSTDP": rules.mstdp(rates[0], limits),
        }.items():
            connection = {"nu": rates, "weight_decay": 1e-3}
            transposed = np.ascontiguousarray(weights.T)
            theirs = stepped(name, transposed, given, connection, {}, "SparseConnection")
            assert np.array_equal(bits(learned(rule, weights, given)), bits(theirs.T)), name

    def test_dales_rule_there_clears_all_weights(self, batch: int) -> None:
        signs = np.random.default_rng(4).random((POST, PRE)) < 0.5
        rule = rules.post_pre(*DYADIC, rules.Limits(0.0, 1.0, mask=1.0))
        compare(rule, "PostPre", batch, {"nu": DYADIC, "Dales_rule": as_torch(signs)})

    def test_weights_that_only_decay(self, batch: int) -> None:
        given = spikes_and_traces(batch)
        theirs = stepped("NoOp", np.ascontiguousarray(start().T), given, {"weight_decay": 1e-3}, {})
        ours = learned(rules.keep(rules.Limits(decay=1e-3)), start(), given)
        assert np.array_equal(bits(ours), bits(theirs.T))


def library() -> dict[str, rules.Rule]:
    """Return every rule, with options that the others here do not have."""
    limits = rules.Limits(0.0, 1.0, decay=1e-3, mask=start(5) < 0.2, sign=start(6) - 0.1)
    return {
        "keep": rules.keep(),
        "post_pre": rules.post_pre(1e-3, 1.7e-3, limits),
        "mean": rules.post_pre(1e-3, per_synapse(2), limits, "mean"),
        "hebbian": rules.hebbian(1e-3, 1.7e-3, limits, rate_first=False),
        "soft": rules.weight_dependent_post_pre(1e-2, 1.7e-2, limits),
        "diehl_and_cook": rules.diehl_and_cook(1e-2, limits, 0.4, 2.0),
        "mstdp": rules.mstdp(3e-3, limits),
        "mstdpet": rules.mstdpet(5e-3, ELIGIBILITY, 25.0, limits, zero_lag=True),
        "rmax": rules.rmax(5e-3, 0.96, 5.0, limits),
        "chip": rules.correlation_rule(0.1, 0.3, rounding="stochastic"),
    }


#: Those that between them use all that rules are written in.
TELLING = ("keep", "mean", "diehl_and_cook", "mstdpet", "chip")


def library_graph(names: Iterable[str]) -> Graph:
    """Return synapses that learn by rules from the same inputs; some are normalised at the end."""
    sizes = {name: array.shape[2] for name, array in spikes_and_traces(1).items()}
    nodes = [Node(name, Input(Signal(Kind.ANALOG, (size,)))) for name, size in sizes.items()]
    nodes += [
        Node("tick", rules.every(20), (Value("reward"),)),
        Node("u_pre", Uniform(1), (Value("pre"),)),
        Node("u_post", Uniform(2), (Value("post"),)),
    ]
    values = {node.name: Value(node.name) for node in nodes}
    for name in names:
        rule = library()[name]
        weights = np.rint(start() * 60) if name == "chip" else start()
        total = 9.0 if name in ("keep", "mstdp") else None
        nodes.append(rule.node(name, weights, Value("pre"), values, total, "cascade"))
    outputs = {f"y.{name}": Value(name) for name in names}
    return Graph({node.name: node for node in nodes}, outputs, dt=1e-3).verify()


@pytest.mark.parametrize("target", ["torch", "native", "xla"])
def test_every_target_learns(target: str) -> None:
    if target in ("torch", "xla"):
        pytest.importorskip("torch" if target == "torch" else "jax")
    names = tuple(library()) if target == "torch" else TELLING
    given, graph = spikes_and_traces(2), library_graph(names)
    try:
        options: dict[str, Any] = {"backend": "eager"} if target == "torch" else {}
        found = snnir.compile(graph, target=target, **options).run(given)
    except snnir.SnnirError as failure:
        if "learn" not in str(failure) and "compiler" not in str(failure):
            raise
        pytest.skip(str(failure))
    wanted = snnir.compile(graph, target="numpy").run(given)
    for name in names:
        assert np.array_equal(found.lasting[f"{name}:w"], wanted.lasting[f"{name}:w"]), name
        assert np.array_equal(found.outputs[f"y.{name}"], wanted.outputs[f"y.{name}"]), name
        assert name == "keep" or (wanted.lasting[f"{name}:w"] != start()).mean() > 0.5


def test_files_and_folders_have_every_rule(tmp_path: Path) -> None:
    graph, given = library_graph(tuple(library())), spikes_and_traces(2)
    snnir.save(graph, tmp_path / "net.snnir")
    assert snnir.load(tmp_path / "net.snnir") == graph
    network = snnir.compile(graph, target="numpy")
    network.save(tmp_path / "built")
    np.savez(tmp_path / "x.npz", **given)  # type: ignore[arg-type]
    alone = [sys.executable, "-I", "built/model.py", "x.npz", "-o", "y.npz"]
    subprocess.run(alone, cwd=tmp_path, check=True, capture_output=True)
    kept, wanted = snnir.read_lasting(str(tmp_path / "y.npz")), network.run(given).lasting
    assert set(kept) == set(wanted)
    for name, value in wanted.items():
        assert np.array_equal(kept[name], value), name


def test_post_pre_by_hand() -> None:
    given = {
        "pre": f32([[[1, 0]], [[0, 1]]]),
        "x_pre": f32([[[1, 0]], [[0.5, 1]]]),
        "post": f32([[[0]], [[1]]]),
        "x_post": f32([[[0.25]], [[1]]]),
    }
    done = learned(rules.post_pre(0.5, 0.25), np.zeros((1, 2), np.float32), given)
    assert done.tolist() == [[-0.5 * 0.25 + 0.25 * 0.5, -0.5 + 0.25]]


def test_reward_meets_the_eligibility_of_the_step_before() -> None:
    one = np.ones((2, 1, 1), np.float32)
    given = {"pre": one * 0, "post": one, "p_plus": one, "p_minus": one}
    given["reward"] = f32([[[1]], [[2]]])
    zero = np.zeros((1, 1), np.float32)
    assert learned(rules.mstdp(0.5), zero, given).item() == 0.5 * 2
    assert learned(rules.mstdp(0.5, zero_lag=True), zero, given).item() == 0.5 * (1 + 2)
    traced = rules.mstdpet(0.5, 0.5, 4.0, dt=2.0)
    assert learned(traced, zero, given).item() == 0.5 * 2 * 2 * 0.25


def test_sign_is_dales_rule() -> None:
    limits = rules.Limits(sign=[[1, 1, -1, -1, 0, 0]])
    weights = f32([[2, -2, 2, -2, 2, -2]])
    done = learned(rules.keep(limits), weights, {"pre": np.zeros((1, 1, 6), np.float32)})
    assert done.tolist() == [[2, 0, 0, -2, 2, -2]]


def test_mean_divides_by_the_number_of_samples() -> None:
    one = np.ones((1, 5, 1), np.float32)
    given = {"pre": one * 0, "post": one, "x_pre": one, "x_post": one}
    zero = np.zeros((1, 1), np.float32)
    assert learned(rules.post_pre(1.0, 1.0), zero, given).item() == 5
    assert learned(rules.post_pre(1.0, 1.0, reduction="mean"), zero, given).item() == 1


@pytest.mark.parametrize("additive", [False, True])
def test_traces(additive: bool) -> None:
    spikes = spikes_and_traces(3)["pre"]
    nodes = [
        Node("s", Input(Signal(Kind.SPIKES, (PRE,)))),
        Node("current", Current(), (Value("s"),)),
        Node("x", rules.trace(TRACE, 0.75, additive), (Value("current"),)),
    ]
    graph = Graph({node.name: node for node in nodes}, {"x": Value("x")}, dt=1e-3).verify()
    found = snnir.compile(graph, target="numpy").run(spikes).output
    assert np.array_equal(found, traced(spikes, 0.75, additive))


def test_decay_factor() -> None:
    assert rules.decay_factor(20e-3, 1e-3) == pytest.approx(TRACE, rel=1e-7)


def test_a_rule_needs_its_inputs() -> None:
    with pytest.raises(snnir.SnnirError, match="SNN201.*needs x_pre, post"):
        rules.post_pre(0.0, 1.0).node("synapses", start(), Value("x"), {"pre": Value("x")})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rules.post_pre(float("nan"), 1.0), "pre_rate of a rule must be numbers, got NaN"),
        (lambda: rules.post_pre("fast", 1.0), "must be numbers"),
        (lambda: rules.post_pre(1.0, 1.0, reduction="max"), "'max' must be sum or mean"),
        (lambda: rules.weight_dependent_post_pre(1.0, 1.0, rules.Limits(0.0)), "an upper bound"),
        (lambda: rules.diehl_and_cook(1.0, rules.Limits(0.0)), "needs an upper bound"),
        (lambda: rules.every(0), "from 1 to 2"),
        (lambda: rules.correlation_rule(1.0, 1.0, rounding="up"), "nearest or stochastic"),
        (lambda: rules.correlation_rule(1.0, 1.0, bits=0), "from 1 to 16"),
    ],
)
def test_refused(make: Any, message: str) -> None:
    with pytest.raises(snnir.SnnirError, match=f"SNN105.*{message}"):
        make()


def chip_graph(rule: rules.Rule, weights: Array, period: int) -> Graph:
    """Return synapses of a chip whose weights are updated every so many steps."""
    post, pre = weights.shape
    sizes = {"pre": pre, "x_pre": pre, "post": post, "x_post": post, "start": 1}
    nodes = [Node(name, Input(Signal(Kind.ANALOG, (size,)))) for name, size in sizes.items()]
    nodes += [
        Node("tick", rules.every(period), (Value("start"),)),
        Node("u_pre", Uniform(1), (Value("pre"),)),
        Node("u_post", Uniform(2), (Value("post"),)),
    ]
    nodes.append(
        rule.node("synapses", weights, Value("pre"), {name: Value(name) for name in rule.inputs})
    )
    return Graph({node.name: node for node in nodes}, {"y": Value("synapses")}, dt=1e-6).verify()


def chip_run(graph: Graph, steps: int, **values: float) -> Array:
    """Return the weights after steps in which everything stays the same."""
    x = {
        name: np.full((steps, 1, *signal.shape), values.get(name, 0.0), np.float32)
        for name, signal in graph.inputs.items()
    }
    return snnir.compile(graph, target="numpy").run(x).lasting["synapses:w"]


def test_correlations_are_read_at_the_tick_and_start_again() -> None:
    rule = rules.correlation_rule(0.5, 0.25, gain=2.0)
    graph = chip_graph(rule, f32([[10, 20]]), period=4)
    given = {"pre": 1.0, "post": 1.0, "x_pre": 1.5, "x_post": 0.75}
    for steps, read in ((3, 0), (4, 1), (7, 1), (8, 2), (9, 2)):
        change = read * round(0.5 * (2 * 4 * 1.5) - 0.25 * (2 * 4 * 0.75))
        assert chip_run(graph, steps, **given).tolist() == [[10 + change, 20 + change]], steps


def test_readings_and_weights_saturate() -> None:
    up = chip_graph(rules.correlation_rule(1.0, 0.0), f32([[10, 20]]), period=2)
    assert chip_run(up, 4, post=1.0, x_pre=99.0).tolist() == [[63, 63]]
    down = chip_graph(rules.correlation_rule(0.0, 1.0), f32([[10, 20]]), period=2)
    assert chip_run(down, 4, pre=1.0, x_post=99.0).tolist() == [[0, 0]]
    small = rules.correlation_rule(2.0**-6, 0.0, read_bits=8, bits=8)
    read = chip_graph(small, f32([[0]]), period=1)
    assert chip_run(read, 1, post=1.0, x_pre=1e6).item() == round(255 / 64)


def test_stochastic_rounding() -> None:
    rule = rules.correlation_rule(0.25, 0.0, bits=16, rounding="stochastic")
    weights = np.zeros((60, 80), np.float32)
    once = chip_run(chip_graph(rule, weights, 1), 1, post=1.0, x_pre=5.0)
    assert set(np.unique(once)) == {1.0, 2.0}
    assert once.mean() == pytest.approx(1.25, abs=0.03)
    rows = np.corrcoef(once)[np.triu_indices(60, 1)]
    assert abs(rows.mean()) < 0.05  # two neurons round alike by chance alone
    whole = chip_run(chip_graph(rule, weights, 1), 1, post=1.0, x_pre=8.0)
    assert np.unique(whole).tolist() == [2.0]


def test_reads_of_a_rule_of_ones_own() -> None:
    plain = rules.post_pre(1.0, 1.0)
    assert rules.Rule.of(plain.program, plain.params) == plain
    renamed = replace(plain.program, inputs=("pre", "x_post", "mine", "post"))
    with pytest.raises(snnir.SnnirError, match="SNN201.*reads of mine"):
        rules.Rule.of(renamed, plain.params)
