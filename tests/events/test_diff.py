"""Discretisations against continuous time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.cli import main
from snnir.event_diff import partners
from snnir.events import Events
from snnir.ir import FrozenDict, Graph, Input, Linear, Neuron, Node, Value


def graph(kind: snnir.Kind = snnir.Kind.SPIKES, dt: float = 1e-3) -> Graph:
    """Return three layers whose steps are exact for spikes that begin a step."""
    rng = np.random.default_rng(0)
    values = {"tau_mem": 0.01, "tau_syn": 0.005, "r": 1.0, "v_leak": 0.0}
    fires = {**values, "v_threshold": 0.25}
    stepping = snnir.Stepping(synapse_jump=kind is snnir.Kind.SPIKES)
    nodes = {"input": Node("input", Input(snnir.Signal(kind, (6,))), ())}
    last, sizes = "input", (6, 8, 5, 2)
    for k in range(1, 4):
        weight = rng.normal(0.25, 0.2, (sizes[k], sizes[k - 1]))
        nodes[f"fc{k}"] = Node(f"fc{k}", Linear(snnir.tensor(weight)), (Value(last),))
        own = FrozenDict(
            {n: snnir.tensor(np.float64(v)) for n, v in (values if k == 3 else fires).items()}
        )
        model = "cubali" if k == 3 else "cubalif"
        nodes[f"n{k}"] = Node(f"n{k}", Neuron(model, own, stepping), (Value(f"fc{k}"),))
        last = f"n{k}"
    return Graph(nodes, {"output": Value(last)}, name="net", dt=dt).verify()


def spikes() -> np.ndarray:
    return (np.random.default_rng(1).random((40, 3, 6)) < 0.06).astype(np.float32)


def test_errors_shrink_with_the_step() -> None:
    found = [
        snnir.diff(graph(), spikes(), against="events", dt=dt, tolerance=2e-3)
        for dt in (1e-3, 1e-4, 1e-5)
    ]
    for run in found:
        for node in run.nodes:
            assert node.matched + node.extra == node.stepped
            assert node.matched + node.missing == node.continuous
            assert 0 <= node.mean_error <= node.largest_error <= run.tolerance * 1.0001
    errors = [run.nodes[0].mean_error for run in found]
    assert errors[0] > 2 * errors[1] > 10 * errors[2] > 0
    assert found[0].membranes["output"] > 3 * found[1].membranes["output"]
    # The first layer reads events on the grid, which its steps follow without error: what is left
    # is that resets wait for the end of their step.
    assert found[2].nodes[0].largest_error <= 3e-4
    assert found[2].nodes[0].missing == found[2].nodes[0].extra == 0
    assert not found[0].identical
    first = found[0].first
    assert first is not None
    assert first.time == min(n.first.time for n in found[0].nodes if n.first is not None)


def test_events_are_an_input_too() -> None:
    x = spikes()[:20]
    run = snnir.diff(graph(), x, against="events")
    assert run.nodes[0].continuous > 0
    events = Events.of_grid(x, 1e-3)
    assert snnir.diff(graph(), events, against="events", duration=20e-3) == run


def test_before_anything_fires_twice_steps_are_exact() -> None:
    """Up to the first spike of every neuron, the first layer is in the right steps."""
    x = np.zeros((12, 1, 6), np.float32)
    x[2], x[3] = 1, [1, 0, 1, 0, 1, 0]
    net = graph()
    stepped = snnir.run(net, x, ["n1"]).recorded["n1"][:, 0]
    exact = snnir.compile(net, "events").run(x, ["n1"]).recorded["n1"][:, 0]
    fired = stepped.any(0)
    assert fired.sum() >= 3
    np.testing.assert_array_equal(exact.any(0), fired)
    np.testing.assert_array_equal(exact[:, fired].argmax(0), stepped[:, fired].argmax(0))


def test_currents() -> None:
    x = np.random.default_rng(2).normal(1, 1, (30, 2, 6))
    run, finer = (
        snnir.diff(
            graph(snnir.Kind.ANALOG), x, against="events", dt=dt, pulse="held", tolerance=2e-3
        )
        for dt in (1e-3, 1e-4)
    )
    assert run.nodes[0].continuous > 10
    assert finer.nodes[0].mean_error < run.nodes[0].mean_error / 1.5
    with pytest.raises(snnir.SnnirError, match="SNN601.*not whole steps"):
        snnir.diff(graph(snnir.Kind.ANALOG), x, against="events", dt=0.4e-3)


def test_partners() -> None:
    one = Events(np.array([0.1, 0.5, 0.2, 0.495]), np.array([0, 0, 1, 0]))
    two = Events(np.array([0.12, 0.3, 0.49, 0.2]), np.array([0, 0, 0, 2]))
    left, right = partners(one, two, 0.05)
    assert left.tolist() == [0, 3]  # 0.495 is nearer to 0.49 than 0.5 is
    assert right.tolist() == [0, 2]
    left, right = partners(one, two, 0.001)
    assert not len(left)
    assert not len(right)


def test_errors() -> None:
    net = graph()
    with pytest.raises(snnir.SnnirError, match="SNN501.*n1.*already stepped"):
        snnir.diff(net.apply("discretize"), spikes(), against="events")
    with pytest.raises(snnir.SnnirError, match="SNN601.*events"):
        snnir.diff(net, spikes(), against="eternity")  # type: ignore[call-overload]
    with pytest.raises(snnir.SnnirError, match="SNN601.*duration"):
        snnir.diff(net, Events(np.array([1e-3]), np.array([0])), against="events")
    one = Events(np.array([1e-3]), np.array([0]))
    for x, options in (
        (Events(np.array([1e-3]), np.array([6])), {"duration": 0.01}),
        (Events(np.array([1e-3]), np.array([0]), np.array([2**40])), {"duration": 0.01}),
        *((one, {"duration": wrong}) for wrong in (np.nan, -1.0, np.inf, 1e15)),
        *((one, {"duration": 0.01, "tolerance": wrong}) for wrong in (np.nan, -1.0)),
    ):
        with pytest.raises(snnir.SnnirError, match="SNN601"):
            snnir.diff(net, x, against="events", **options)
    with pytest.raises(snnir.SnnirError, match="SNN503.*no option"):
        snnir.diff(net, spikes(), against="events", speed=3)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def cli(*arguments: Any) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, told.out, told.err

    snnir.save(graph(), tmp_path / "net.snnir")
    np.save(tmp_path / "x.npy", spikes())
    net = tmp_path / "net.snnir"
    base = ["diff", net, "--against", "events"]
    given = ["--input", tmp_path / "x.npy"]
    code, told, _ = cli(*base, *given, "--sweep", "1e-3,1e-4")
    assert code == 1
    assert told.count(": first ") == 2
    assert [line.split()[1] for line in told.splitlines()[1:5]] == ["n1", "n2"] * 2
    found = json.loads(cli(*base, *given, "--json")[1])
    assert found["identical"] is False
    assert found["nodes"][0]["matched"] > 0
    one: dict[str, Any] = {"input.time": np.array([1e-3]), "input.index": np.array([0])}
    np.savez(tmp_path / "e.npz", **one)
    code, _, problem = cli(*base, "--input", tmp_path / "e.npz", "--duration", "0.005")
    assert code == 0, problem
    code, told, _ = cli(*base, "--poisson", "0", "--steps", "5")
    assert code == 0
    assert "every spike is in the same step" in told
    for wrong in (["--against", "events", "--sweep", "-1"], ["--pulse", "held"], []):
        code, _, problem = cli("diff", net, *wrong, *given)
        assert code == 1
        assert "SNN701" in problem
