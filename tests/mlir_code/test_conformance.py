"""The mlir target, run by IREE, against the NumPy reference: every op, every neuron, whole graphs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

import snnir
from snnir.ir import (
    BatchNorm,
    Bias,
    Graph,
    Input,
    Linear,
    Scale,
    Signal,
    Slice,
    Step,
    Value,
)
from snnir.streams import Kind
from snnir.targets.numpy_sim.build import build_model
from snnir.targets.numpy_sim.runtime import simulate
from tests.conformance.test_steps import nested
from tests.corpora.test_corpus import READABLE
from tests.fused import fused_graph, run_fused
from tests.helpers import feed_forward, graph, params, quiet_load, recurrent, spikes
from tests.passes.test_quantize import readout
from tests.strategies import adaptive, graphs, lif_steps
from tests.targets import (
    OPS,
    alone,
    check,
    every_model,
    every_value,
    inputs,
    neuron_graph,
    scalar_steps,
    side_by_side,
    side_by_side_inputs,
    tangled,
)

pytest.importorskip("iree.compiler")
pytest.importorskip("iree.runtime")

#: Without looking for smaller examples: every one is compiled.
QUICK = [Phase.explicit, Phase.reuse, Phase.generate]
#: Ops that are compiled together.
GROUPS = [list(OPS)[first : first + 12] for first in range(0, len(OPS), 12)]


@pytest.mark.parametrize("names", GROUPS, ids=[names[0] for names in GROUPS])
def test_ops(names: list[str]) -> None:
    parts = {name: alone(OPS[name][0], *OPS[name][1]) for name in names}
    xs = {name: inputs(built, 19, 3, seed) for seed, (name, built) in enumerate(parts.items())}
    check(side_by_side(parts), side_by_side_inputs(xs), "mlir", steps=8)


@settings(max_examples=3, phases=QUICK)
@given(steps=st.lists(lif_steps(), min_size=8, max_size=8))
def test_the_lif_family(steps: list[Step]) -> None:
    built = neuron_graph(steps, (2, 3))
    check(built, inputs(built, 30), "mlir", steps=2)


@pytest.mark.parametrize("size", [1, 700])
def test_parameters_per_neuron_and_populations_of_any_size(size: int) -> None:
    rng = np.random.default_rng(size)
    values = rng.integers(1, 16, (3, size)).astype(np.float32) / 16
    own = params(beta=values[0], threshold=values[1] + 1, v_reset=values[2])
    step = Step(snnir.LifStep(reset="to"), own, "lif")
    start = Step(
        snnir.LifStep(start=True), params(beta=values[0], threshold=1.0, v_start=values[1])
    )
    built = neuron_graph([step, start], (size,))
    check(built, inputs(built, 20, 5), "mlir")


def test_continuous_models() -> None:
    """Every model under every semantics; exp is the library's own, so adex is only close."""
    for built, ulps in every_model():
        check(built, inputs(built, 18), "mlir", ulps=ulps, steps=2)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_custom_programs(precision: str) -> None:
    steps = [
        Step(adaptive, params(beta=0.5, theta=1.0)),
        Step(adaptive, params(beta=np.array([0.5, 0.75, 0.875], np.float32), theta=1.0)),
    ]
    built = neuron_graph(steps, (2, 3))
    wide = precision == "float64"
    reference = snnir.compile(built, precision=precision if wide else "reproducible")
    made = snnir.compile(built, "mlir", precision=precision, steps=4)
    xs = inputs(built, 30)
    want, got = reference.run(xs, ["n0:v", "n1:a"]), made.run(xs, ["n0:v", "n1:a"])
    for name, value in {**want.outputs, **want.recorded}.items():
        found = {**got.outputs, **got.recorded}[name]
        assert found.dtype == (np.float64 if wide else np.float32)
        np.testing.assert_array_equal(found, value)
    built = neuron_graph([Step(nested, params(a=0.7, b=1.9))], (4,))
    check(built, inputs(built, 10), "mlir", ulps=32, steps=2)


@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_every_scalar_op(precision: str) -> None:
    """Each operation on its own, on zeros of both signs, infinities and what is no number."""
    steps, x, y = scalar_steps()
    tiny = np.finfo(precision).tiny
    normal = (np.abs(x) >= tiny) | (x == 0) | np.isnan(x)
    normal &= (np.abs(y) >= tiny) | (y == 0) | np.isnan(y)
    x, y = (a[normal].reshape(1, 1, -1).astype(precision) for a in (x, y))
    built = neuron_graph(list(steps.values()), (x.size,))
    if precision == "float64":
        built = built.apply("discretize{dtype=f64}")
    with np.errstate(all="ignore"):
        want = simulate(build_model(built, precision), {"x": x, "y": y})[0]
        compiled: Any = snnir.compile(built, "mlir", precision=precision, steps=1)
        got = compiled.simulator(1).run({"x": x, "y": y})[0]
    for index, name in enumerate(steps):
        a, b = want[f"o{index}"], got[f"o{index}"]
        a = np.where(np.abs(a) < tiny, 0, a)  # the runtime's threads know no smaller numbers
        if name in ("exp", "log", "tanh", "pow"):
            np.testing.assert_allclose(b, a, rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(b, a, name)


@pytest.mark.parametrize(
    ("precision", "options"),
    [
        ("float32", {}), ("float32", {"cpu": "host"}),
        ("float64", {"precision": "float64"}),
    ],
    ids=str,
)  # fmt: skip
def test_products_and_sums_rounded_together(precision: str, options: dict[str, Any]) -> None:
    """The generic processor has no such instruction."""
    run_fused("mlir", precision, special=False, steps=1, **options)


@pytest.mark.parametrize("backend", ["vmvx", "vulkan-spirv"])
def test_back_ends_that_may_round_twice_are_refused(backend: str) -> None:
    problems = snnir.check(fused_graph(3), "mlir", backend=backend)
    assert ["rounded once" in each.message for each in problems] == [True]
    assert not snnir.check(feed_forward(), "mlir", backend=backend)


@pytest.mark.parametrize("delay", [1, 3])
def test_recurrence(delay: int) -> None:
    check(recurrent(delay), spikes((30, 3, 3)), "mlir")


@settings(max_examples=4, phases=QUICK)
@given(built=st.lists(graphs(), min_size=4, max_size=4), seed=st.integers(0, 99))
def test_random_graphs(built: list[Graph], seed: int) -> None:
    parts = {str(number): each for number, each in enumerate(built)}
    xs = {name: inputs(each, 19, 2, seed) for name, each in parts.items()}
    check(side_by_side(parts), side_by_side_inputs(xs), "mlir", steps=4)


@pytest.mark.parametrize("steps", [2, 40])
def test_tangled_recurrences(steps: int) -> None:
    check(tangled(), inputs(tangled(), steps, 3), "mlir", steps=8)


@pytest.mark.parametrize(
    "options", ["", "zero-point", "bits=16,state-bits=32", "rounding=zero,state-bits=12"]
)
def test_integers_give_the_same_bits(options: str) -> None:
    made = readout().apply(f"quantize{{{options}}}")
    parts = {"dense": made, "sparse": made.apply("sparsify{block=4,density=1}")}
    x = spikes((20, 3, 2, 6, 6), 0.4)
    xs = {name: dict.fromkeys(each.inputs, x) for name, each in parts.items()}
    check(side_by_side(parts), side_by_side_inputs(xs), "mlir", steps=4)


SINABS = [(path, "sinabs") for path in READABLE if path.stem == "nmnist_cnn_sinabs"]


@pytest.mark.parametrize(
    ("path", "semantics"), [*((path, "norse") for path in READABLE), *SINABS],
    ids=lambda given: getattr(given, "stem", given),
)  # fmt: skip
def test_the_corpus(path: Path, semantics: str) -> None:
    built = quiet_load(path, semantics=semantics, repair=True)
    made = snnir.compile(built, "mlir", precision="reproducible")
    reference = snnir.compile(built, "numpy")
    x = {
        name: spikes((20, 2, *signal.shape), 0.3) for name, signal in reference.graph.inputs.items()
    }
    names = list(snnir.populations(reference.graph))
    want, got = reference.run(x, names), made.run(x, names)
    for name in names:
        np.testing.assert_array_equal(got.recorded[name], want.recorded[name])
    assert got.stats == want.stats
    assert sum(each["spikes"] for each in want.stats.values()) > 0


@pytest.mark.parametrize("name", ["feed forward", "recurrent", "whole"])
def test_the_folder_runs_alone(name: str, tmp_path: Path) -> None:
    if name == "whole":
        built, x = readout().apply("quantize"), spikes((20, 2, 2, 6, 6), 0.4)
    else:
        built = feed_forward() if name == "feed forward" else recurrent(2)
        x = spikes((20, 2, 3))
    made = snnir.compile(built, "mlir")
    made.save(tmp_path / "out")
    record = every_value(made.graph)
    want = snnir.compile(built, "numpy").run(x, record)
    got = snnir.run(tmp_path / "out", x, record)
    for key, value in {**want.outputs, **want.recorded}.items():
        np.testing.assert_array_equal({**got.outputs, **got.recorded}[key], value)
    assert got.stats == want.stats


def awkward(steps: int = 60) -> tuple[Graph, Any]:
    """Return neurons, a norm and factors whose products need rounding, and such an input."""
    rng = np.random.default_rng(1)
    step = Step(
        snnir.LifStep(reset="subtract"), params(beta=np.float32(0.9), threshold=np.float32(1.1))
    )
    odd = [snnir.tensor(rng.normal(size=4).astype(np.float32)) for _ in range(4)]
    nodes: dict[str, Any] = {
        "x": (Input(Signal(Kind.ANALOG, (4, 50))), []),
        "norm": (
            BatchNorm(odd[0], snnir.tensor(np.abs(odd[1].numpy()) + 1), odd[2], odd[3]),
            ["x"],
        ),
        "scaled": (Scale(snnir.tensor(np.float32(1.3))), ["norm"]),
        "shifted": (Bias(snnir.tensor(np.float32(0.1))), ["scaled"]),
        "one": (
            Linear(snnir.tensor(np.full((1, 1), 0.7, np.float32)), snnir.tensor(0.3)),
            ["thin"],
        ),
        "thin": (Slice(1, 0, 1), ["shifted"]),
        "lif": (step, ["shifted"]),
    }
    built = graph(nodes, "lif", dt=1e-3)
    built = Graph(built.nodes, {"lif": Value("lif"), "one": Value("one")}, 1e-3).verify()
    return built, rng.normal(size=(steps, 2, 4, 50)).astype(np.float32)


def test_products_and_sums_round_apart() -> None:
    """On processors that have fused operations; `exact=false` shows that they would be used."""
    built, x = awkward()
    watch = [*every_value(built)]
    want = snnir.compile(built, "numpy", level=0).run(x, watch).recorded
    found = {
        exact: snnir.compile(built, "mlir", level=0, exact=exact, steps=4).run(x, watch).recorded
        for exact in (True, False)
    }
    for name in watch:
        np.testing.assert_array_equal(found[True][name], want[name], name)
    if "fma" in Path("/proc/cpuinfo").read_text().split():
        assert any((found[False][name] != want[name]).any() for name in watch)
