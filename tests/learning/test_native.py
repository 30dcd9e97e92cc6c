"""The native target against the NumPy reference: networks that learn, to the last bit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import snnir
from snnir.c_build import NoCompiler, compiler
from snnir.dynamics import Dynamics, Let, State, batch_sum, dynamics, maximum, minimum
from snnir.errors import SnnirError
from snnir.ir import Graph, Input, Node, PickMax2d, Plastic, Signal, Tensor, Value
from snnir.running import Result
from snnir.streams import Kind
from snnir.tensors import FrozenDict
from tests.learning.networks import (
    RNG,
    inputs_of,
    learning_graph,
    pair,
    random_graph,
    rewarded,
    same,
    scalar,
)

Array = npt.NDArray[Any]

try:
    compiler()
except NoCompiler as problem:  # pragma: no cover
    pytest.skip(str(problem), allow_module_level=True)


def conforms(
    graph: Graph,
    given: Sequence[Mapping[str, Array]],
    record: Sequence[str] = (),
    precision: str = "",
    threads: int = 1,
) -> list[Result]:
    """Run a graph again and again, each time with what lasts; then go on without a rest."""
    reference = snnir.compile(graph, "numpy", precision=precision or "reproducible")
    native = snnir.compile(graph, "native", precision=precision or "float32", threads=threads)
    wanted, kept = [], None
    for number, x in enumerate(given):
        names = record if number == 1 else ()
        wanted.append(reference.run(x, names, lasting=kept))
        same(native.run(x, names, lasting=kept), wanted[-1])
        kept = wanted[-1].lasting
    wanted.append(reference.run(given[-1], resume=True))
    same(native.run(given[-1], resume=True), wanted[-1])
    return wanted


@pytest.mark.parametrize(
    ("options", "batch", "precision", "threads"),
    [
        ({"pre": 70, "post": 100, "total": 24.0}, 1, "", 1),
        ({"pre": 33, "post": 9, "total": 12.0}, 4, "", 2),
        ({"rule": rewarded, "total": None}, 5, "", 1),
        ({"post": 1}, 2, "float64", 1),
    ],
)
def test_networks_learn_the_same(
    options: dict[str, Any], batch: int, precision: str, threads: int
) -> None:
    graph = learning_graph(**options)
    steps = 600 if threads > 1 else 40  # so long that threads share the stages
    states = [f"synapses:{state.name}" for state in graph.nodes["synapses"].op.rule.states]  # type: ignore[attr-defined]
    record = ["synapses", *states, "out", "out:v", "out:theta", "x.trace:x"]
    given = [inputs_of(graph, steps, batch, seed) for seed in (1, 2)]
    first, second, _ = conforms(graph, given, record, precision, threads)
    assert first.output.any()
    assert (first.lasting["synapses:w"] != second.lasting["synapses:w"]).any()
    assert second.recorded["synapses:w"].shape[:2] == (steps, 1)


def test_random_numbers_and_their_counter() -> None:
    graph = random_graph((3, 5), seed=2**64 - 3)
    start = snnir.with_lasting(graph, {"u:step": 2**32 - 30})
    found = conforms(start, [inputs_of(start, 20, 3), inputs_of(start, 20, 2)])
    assert int(found[-1].lasting["u:step"]) == 30


@pytest.mark.parametrize("kind", [Kind.ANALOG, Kind.COUNTS])
def test_pick_max(kind: Kind) -> None:
    """The first largest score of a window, also where padding would win a tie with 0."""
    signals = {"scores": Signal(kind, (2, 5, 6)), "x": Signal(Kind.SPIKES, (2, 5, 6))}
    nodes = [Node(name, Input(signal)) for name, signal in signals.items()]
    op = PickMax2d((2, 3), (1, 2), ((1, 0), (2, 2)))
    nodes.append(Node("y", op, (Value("scores"), Value("x"))))
    graph = Graph({node.name: node for node in nodes}, {"y": Value("y")}, dt=1e-3).verify()
    scores = RNG(0).integers(0, 3, (30, 2, 2, 5, 6)).astype(np.float32)
    scores -= 2 * (kind is Kind.ANALOG)
    x = (RNG(1).random(scores.shape) < 0.5).astype(np.float32)
    conforms(graph, [{"scores": scores, "x": x}])


# --- Rules ---------------------------------------------------------------------------------------

READS = {"pre": "pre", "x_pre": "pre", "post": "post", "x_post": "post", "reward": "all"}


def alone(
    rules: Mapping[str, tuple[Dynamics, Mapping[str, Tensor], Mapping[str, Any]]],
) -> Graph:
    """Return synapses that learn from inputs; all their spikes and traces come from outside."""
    pre, post = next(params["weight"].shape[::-1] for _, params, _ in rules.values())
    extents = {"pre": pre, "post": post, "all": 1}
    nodes = [Node("through", Input(Signal(Kind.ANALOG, (pre,))))]
    for name, read in READS.items():
        kind = Kind.SPIKES if name in ("pre", "post") else Kind.ANALOG
        nodes.append(Node(name, Input(Signal(kind, (extents[read],)))))
    for name, (rule, params, options) in rules.items():
        reads = tuple(READS[source] for source in rule.inputs)
        op = Plastic(rule, FrozenDict(params), reads, **options)
        nodes.append(Node(name, op, tuple(map(Value, ("through", *rule.inputs)))))
    outputs = {name: Value(name) for name in rules}
    return Graph({node.name: node for node in nodes}, outputs, dt=1e-3).verify()


def streams(graph: Graph, steps: int, batch: int, seed: int) -> dict[str, Array]:
    """Return few spikes, and traces of both signs, with zeros of both signs among them."""
    rng, found = RNG(seed), {}
    for name, signal in graph.inputs.items():
        shape = (steps, batch, *signal.shape)
        if signal.kind is Kind.SPIKES:
            found[name] = (rng.random(shape) < 0.04).astype(np.float32)
        else:
            found[name] = (rng.integers(-2, 3, shape) * np.float32(-0.3)).astype(np.float32)
    return found


@dynamics(
    params={"weight": "1", "rate": "1", "wmax": "1"}, states={}, lasting={"w": "weight"}, outputs=()
)
def soft(
    pre: Any, x_post: Any, post: Any, x_pre: Any, w: Any, weight: Any, rate: Any, wmax: Any
) -> Any:
    """The nearer to a bound, the less it moves."""
    down = batch_sum(pre * x_post) * rate * w
    up = batch_sum(x_pre * post) * rate * (wmax - w)
    return {"w": minimum(maximum(w - down + up, 0.0), wmax)}


def test_normalised_in_every_order() -> None:
    """Sums of sizes in both orders, for widths around those that torch takes together."""
    for post, pre in ((1, 37), (5, 19), (43, 300)):
        weight = Tensor((RNG(post).random((post, pre)) - 0.5).astype(np.float32))
        total = Tensor(RNG(1).random(post).astype(np.float32) + np.float32(1))
        params = {"weight": weight, **scalar(nu0=0.01, nu1=0.03, wmax=0.75)}
        graph = alone({
            "cascade": (pair, params, {"total": total, "sums": "cascade"}),
            "order": (pair, params, {"total": total}),
        })  # fmt: skip
        conforms(graph, [streams(graph, 3, 2, 0)])


def test_what_is_not_small_is_visited() -> None:
    """Where a product of a spike that is 0 may be no number, every synapse is visited."""
    weight = np.full((20, 12), -0.0, np.float32)
    weight[::2] = 0.5
    params = {"weight": Tensor(weight)}
    graph = alone({
        "hard": (pair, params | scalar(nu0=10.0, nu1=0.03, wmax=0.75), {}),
        "soft": (soft, params | scalar(rate=0.3, wmax=1.0), {}),
    })  # fmt: skip
    x = streams(graph, 30, 2, 0)
    conforms(graph, [x])
    x["x_post"][11, 1, 3] = 3e38  # times 10 it is infinite, and 0 times that is NaN
    found = conforms(graph, [x])
    assert np.isnan(found[0].lasting["hard:w"]).any()


def made(seed: int) -> tuple[Dynamics, dict[str, Tensor], dict[str, Any]]:
    """Return a random rule: some expression of one synapse, added to the weight, then bounds."""
    rng = RNG(seed)
    inputs = tuple(sorted(rng.permutation(sorted(READS))[: rng.integers(2, 6)].tolist()))
    values: list[str | float] = [*inputs, "w", "rate", "edge", 1.0, 0.0]
    body: list[Let] = []

    def add(op: str, *args: str | float) -> str:
        body.append(Let(f"t{len(body)}", op, args))
        return body[-1].target

    def any_of() -> str | float:
        return values[int(rng.integers(len(values)))]

    for _ in range(rng.integers(1, 5)):
        op = str(rng.choice(["mul", "mul", "mul", "add", "sub", "min", "max", "select"]))
        args: tuple[str | float, ...] = (any_of(), any_of())
        values.append(
            add(op, add("gt", any_of(), 0.5), *args) if op == "select" else add(op, *args)
        )
    factors = [name for name in inputs if name in ("pre", "post")] or list(inputs)
    changed = add("batch_sum", add("mul", str(rng.choice(factors)), str(values[-1])))
    value = add(str(rng.choice(["add", "sub"])), "w", changed)
    for op in rng.permutation(["max", "min", "select", "mul"])[: rng.integers(0, 3)].tolist():
        if op == "select":
            value = add("select", add("gt", "mask", 0.25), value, 0.0)
        elif op == "mul":
            value = add("mul", value, float(rng.choice([1.0, 0.75])))
        else:
            value = add(op, value, "edge" if op == "min" else float(rng.choice([0.0, -0.5])))
    names = ("weight", "rate", "edge", "mask")
    rule = Dynamics(
        f"rule{seed}", inputs, tuple((name, "1") for name in names),
        (State("w", "weight", lasting=True),), tuple(body), (("w", value),), (),
    )  # fmt: skip
    weight = (rng.integers(-2, 5, (9, 12)) * 0.25).astype(np.float32)
    edge = rng.random((9, 1) if seed % 2 else (1, 12)).astype(np.float32)
    params = {"weight": Tensor(weight), "edge": Tensor(edge), **scalar(rate=0.125)}
    return rule, params | {"mask": Tensor(rng.random((9, 12)).astype(np.float32))}, {}


def test_random_rules() -> None:
    """Rules of all kinds; some leave synapses alone where nothing spikes, some do not."""
    graph = alone({f"rule{seed}": made(seed) for seed in range(16)})
    source = snnir.compile(graph, "native").files["snn.c"]
    assert isinstance(source, bytes)
    assert 3 < source.count(b"_is_mild(const") < 14
    given = [streams(graph, 30, batch, batch) for batch in (1, 3)]
    conforms(graph, given)


# --- Folders and devices -------------------------------------------------------------------------


def test_the_folder_learns_alone(tmp_path: Path) -> None:
    graph = learning_graph()
    net, x = snnir.compile(graph, "native"), inputs_of(graph)
    net.save(tmp_path / "built")
    np.savez(tmp_path / "x.npz", **x)
    run = [sys.executable, "-I", "built/model.py", "x.npz"]
    subprocess.run([*run, "-o", "1.npz"], cwd=tmp_path, check=True, capture_output=True)
    more = ["-o", "2.npz", "--lasting", "1.npz"]
    subprocess.run([*run, *more], cwd=tmp_path, check=True, capture_output=True)
    first = net.run(x)
    second = net.run(x, lasting=first.lasting)
    for name, wanted in (("1.npz", first), ("2.npz", second)):
        kept = snnir.read_lasting(str(tmp_path / name))
        assert list(kept) == list(wanted.lasting)
        for key, value in kept.items():
            np.testing.assert_array_equal(value, wanted.lasting[key])


def test_small_devices_do_not_learn() -> None:
    for graph in (learning_graph(), random_graph()):
        with pytest.raises(SnnirError, match="profile=embedded"):
            snnir.compile(graph, "native", profile="embedded")


def test_learning_compiles_without_a_warning(tmp_path: Path) -> None:
    rules = {"pair": learning_graph(), "rewarded": learning_graph(rewarded)}
    for name, graph in {**rules, "random": random_graph()}.items():
        snnir.compile(graph, "native").save(tmp_path / name)
        for more in ((), ("-DSNN_RECORD",)):
            line = [*compiler(), "-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O1"]
            line += [*more, "-c", "snn.c", "-o", "snn.o"]
            place = tmp_path / name
            found = subprocess.run(line, check=False, cwd=place, capture_output=True, text=True)
            assert found.returncode == 0, found.stderr
