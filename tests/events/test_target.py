"""The target: what it refuses, its folder, its inputs, and how stepped graphs approach it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import snnir
from snnir.events import Events
from snnir.ir import Delay, MaxPool2d, Op, Reshape, Scale
from snnir.ir.safetensors_io import write_tensors
from snnir.streams import Kind
from snnir.targets.events.folder import BadFolder, arrays, interface, read_network
from snnir.tensors import FrozenDict, Tensor
from tests.events.nets import (
    JUMP,
    at,
    graph,
    linear,
    neuron,
    poisson,
    recurrent,
    seconds,
    single,
    source,
)
from tests.helpers import cli

NET = recurrent(8, 3, delay=np.linspace(0.5e-3, 2e-3, 8))


def compiled(model: snnir.Graph = NET, **options: Any) -> Any:
    return snnir.compile(model, "events", **options)


# --- What it refuses ---------------------------------------------------------------------------


def refused() -> dict[str, tuple[snnir.Graph, str]]:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": source(4), "w": (linear(np.eye(4)), ["x"]), "n": (neuron("lif"), ["w"]),
    }  # fmt: skip
    flow = snnir.Stepping()
    return {
        "stepped": (snnir.run_pipeline(single(), "discretize").graph, "already stepped"),
        "nonlinear": (graph({**nodes, "r": (Reshape((1, 2, 2)), ["n"]),
                             "m": (MaxPool2d((2, 2), (2, 2)), ["r"]), "f": (Reshape((1,)), ["m"]),
                             "w2": (linear([[1.0]]), ["f"]), "o": (neuron("lif"), ["w2"])}, "o"),
                      "not linear"),
        "output": (graph(nodes, "w"), "not a population"),
        "clamp": (single(stepping=replace(JUMP, clamp="max")), "clamp"),
        "leaking synapse": (single(stepping=replace(JUMP, synapse_leak=True), v_leak=0.2), "leaks"),
        "capped": (single(stepping=replace(JUMP, spikes="multi", reset="subtract", spike_cap=2)),
                   "limited"),
        "multi": (single(stepping=replace(JUMP, spikes="multi")), "subtract"),
        "high reset": (single(v_reset=1.0), "never stop firing"),
        "low threshold": (single(stepping=replace(JUMP, reset="subtract"), v_threshold=0.0),
                          "reached again"),
        "dt": (replace(single(), dt=None), "no dt"),
        "reads v": (graph({**nodes, "v": (neuron("li"), ["n.c"]), "n.c": (snnir.ir.Current(), ["n"]),
                           "w2": (linear(np.eye(4)), ["v"]), "o": (neuron("lif"), ["w2"])}, "o"),
                    "reads its membrane"),
        "model": (graph({**nodes, "t": (snnir.ir.Neuron("threshold", FrozenDict({"threshold":
            Tensor(np.float64(1))})), ["w"])}, "t"), "no closed flow"),
        "nan": (single(weight=np.inf), "not finite"),
        "late bias": (graph({"x": source(), "w": (linear([[1.0]], [0.5]), ["x"]),
                             "d": (Delay(1), ["w"]), "n": (neuron("lif", flow), ["d"])}, "n"),
                      "constant comes"),
        "cycle": (graph({**nodes, "d": (Delay(1), ["s"]), "k": (Scale(Tensor(np.float64(0.5))),
                  ["d"]), "s": (snnir.ir.Add(), ["w", "k"]), "o": (neuron("lif"), ["s"])}, "o"),
                  "cycle without neurons"),
    }  # fmt: skip


REFUSED = refused()


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_refused_with_a_remedy(name: str) -> None:
    model, message = REFUSED[name]
    with pytest.raises(snnir.SnnirError, match=message) as caught:
        compiled(model)
    (found,) = [d for d in caught.value.diagnostics if message in d.message]
    assert found.hint
    assert found.node or name == "dt"
    if name != "late bias":
        assert snnir.check(model, "events")


def test_everything_is_refused_at_once() -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": source(), "w": (linear([[1.0]]), ["x"]),
        "a": (neuron("lif", replace(JUMP, clamp="relu"), v_reset=2.0), ["w"]),
        "w2": (linear([[1.0]]), ["a"]), "b": (neuron("lif", v_reset=3.0), ["w2"]),
    }  # fmt: skip
    found = snnir.check(graph(nodes, "b"), "events")
    assert [d.node for d in found] == ["a", "a", "b"]


def test_options() -> None:
    for option in ({"pulse": "long"}, {"engine": "fortran"}, {"max_events": 0}, {"threads": 0}):
        with pytest.raises(snnir.SnnirError, match="SNN503"):
            compiled(**option)


# --- Inputs ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        (at([1e-3], [3]), {"duration": 0.1}, "position 3, it has 3"),
        (at([1e-3], [0]), {}, "give a duration"),
        (at([1e-3], [0]), {"duration": -1.0}, "positive"),
        (at([1e-3], [0]), {"duration": np.nan}, "positive"),
        (at([1e-3], [0]), {"duration": 1e12}, "too many"),
        (at([1e-3], [0], np.array([4])), {"duration": 0.1, "samples": 2}, "sample 4"),
        (Events(np.zeros(0), np.zeros(0)), {"duration": 0.1, "samples": 0}, "0 samples"),
        (np.zeros((5, 1, 4)), {}, "must be"),
        (np.full((5, 1, 3), 0.5), {}, "whole"),
        (np.zeros((5, 2, 3)), {"samples": 3}, "2 samples, not 3"),
        ({"z": np.zeros((5, 1, 3))}, {}, "inputs are x"),
        ({"x.time": np.zeros(1)}, {"duration": 0.1}, "no 'x.index'"),
        ({"x.time": np.array(["a"]), "x.index": np.zeros(1, int)}, {"duration": 1}, "numbers"),
    ],
)
def test_wrong_inputs(x: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(snnir.SnnirError, match=f"SNN601.*{message}"):
        compiled().run(x, **options)


def test_wrong_records_and_resume() -> None:
    with pytest.raises(snnir.SnnirError, match="SNN602"):
        compiled().run(np.zeros((5, 1, 3)), ["n:w"])
    with pytest.raises(snnir.SnnirError, match="SNN601.*rest"):
        compiled().run(np.zeros((5, 1, 3)), resume=True)
    high = np.array([2**64 - 1], np.uint64)
    wrongs: Any = (([np.nan], [0]), ([-1.0], [0]), ([0.0, 1.0], [0]), ([0.0], high),
                   ([0.0], [0], high))  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(snnir.SnnirError, match="SNN601"):
            Events(*wrong)


def test_events_and_counts_of_a_grid_are_one() -> None:
    counts = np.random.default_rng(0).integers(0, 3, (40, 2, 3))
    one = compiled().run(counts, ["n:v", "n:i"])
    two = compiled().run(Events.of_grid(counts, 1e-3), ["n:v", "n:i"], duration=0.04)
    assert len(one.events["y"]) > 20
    np.testing.assert_array_equal(one.events["y"].time, two.events["y"].time)
    for name in ("n:v", "n:i"):
        np.testing.assert_array_equal(one.recorded[name], two.recorded[name])
    np.testing.assert_array_equal(one.output, one.events["y"].on_grid(40, 2, (8,), 1e-3))
    assert one.stats["n"]["spikes"] == len(one.events["n"])


def test_outputs_named_as_other_populations() -> None:
    """A population keeps its name in `events`; outputs are by their own names."""
    unit = snnir.Stepping(input_gain="unit")
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": source(), "w": (linear([[3.0]]), ["x"]), "a": (neuron("lif", unit), ["w"]),
        "w2": (linear([[0.1]]), ["a"]), "b": (neuron("lif", unit), ["w2"]),
    }  # fmt: skip
    made = graph(nodes, "a", "b")
    a, b = made.outputs.values()
    found = compiled(replace(made, outputs={"a": b, "b": a})).run(at([1e-3], [0]), duration=5e-3)
    assert {name: len(events) for name, events in found.events.items()} == {"a": 1, "b": 0}
    assert [found.stats[name]["spikes"] for name in "ab"] == [1, 0]
    assert [found.outputs[name].sum() for name in "ab"] == [0, 1]


def test_the_end_of_a_run() -> None:
    """What comes just before the end is counted; what comes later is not, nor does it crash."""
    unit = snnir.Stepping(input_gain="unit")
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": source(), "w": (linear([[3.0]]), ["x"]), "n": (neuron("lif", unit), ["w"]),
    }  # fmt: skip
    made = compiled(graph(nodes, "n", "x"))
    for duration in (0.01, 0.01 + 1e-14):
        given = at([0.01 - 1e-14, 0.01 + 1e-13, 1e300], [0, 0, 0])
        found = made.run(given, duration=duration)
        for name in ("y", "y1"):
            assert len(found.events[name]) == 1
            assert np.flatnonzero(found.outputs[name]).tolist() == [9]
    assert made.run(at([5.2e-3, 5.7e-3], [0, 0]), duration=5.5e-3).outputs["y1"].sum() == 1
    tiny = compiled(replace(graph(nodes, "n"), dt=1e-300))
    with pytest.raises(snnir.SnnirError, match="SNN601.*too many"):
        tiny.run(at([1e-3], [0]), duration=1e10)


# --- The folder ----------------------------------------------------------------------------------


def test_the_folder_runs_from_its_files_alone(tmp_path: Path) -> None:
    made = compiled(pulse="kick")
    folder = made.save(tmp_path / "out")
    x = poisson(60, 0.03, samples=2)
    entries: dict[str, Any] = {f"x.{part}": getattr(x, part) for part in vars(x)}
    np.savez(tmp_path / "in.npz", **entries)
    wanted = made.run(x, ["n:v"], duration=0.04)
    for engine in ("c", "python"):
        program = [sys.executable, "-I", str(folder / "model.py"), str(tmp_path / "in.npz")]
        program += ["-o", str(tmp_path / "o.npz"), "--duration", "0.04", "--engine", engine]
        done = subprocess.run([*program, "--record", "n:v"], capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        data = dict(np.load(tmp_path / "o.npz"))
        found = {str(name): data[f"array_{k}"] for k, name in enumerate(data["names"])}
        np.testing.assert_array_equal(found["events/y.time"], wanted.events["y"].time)
        np.testing.assert_array_equal(found["output/y"], wanted.output)
        np.testing.assert_array_equal(found["record/n:v"], wanted.recorded["n:v"])
    again: Any = snnir.run(folder, snnir.read_array(str(tmp_path / "in.npz")), settings=[
        "duration=0.04"])  # fmt: skip
    np.testing.assert_array_equal(again.events["y"].time, wanted.events["y"].time)
    dense: Any = snnir.run(folder, np.ones((5, 1, 3)), ["n"])
    np.testing.assert_array_equal(dense.output, made.run(np.ones((5, 1, 3))).output)
    facts = json.loads((folder / "manifest.json").read_text())
    assert facts["outputs"][0]["kind"] == "counts"
    assert (
        "bracketed Newton" in (folder / "report.html").read_text()
        or "quadratic" in (folder / "report.html").read_text()
    )


def test_the_command_line(tmp_path: Path) -> None:
    snnir.save(NET, tmp_path / "m.snnir")
    done = cli(
        "compile", str(tmp_path / "m.snnir"), "--target", "events", "-o", str(tmp_path / "f")
    )
    assert done.returncode == 0, done.stderr
    picture = tmp_path / "p.png"
    done = cli(
        "run", str(tmp_path / "f"), "--poisson", "0.2", "--steps", "30", "--plot", str(picture)
    )
    assert done.returncode == 0, done.stderr
    assert picture.stat().st_size > 1000
    done = cli(
        "run", str(tmp_path / "f"), "--poisson", "0.2", "--steps", "30", "--set", "max-events=3"
    )
    assert done.returncode == 1
    assert "max_events at" in done.stderr


BROKEN: dict[str, tuple[str, Any]] = {
    "nan": ("neurons.leak", np.full(8, np.nan)),
    "too few": ("neurons.leak", np.zeros(7)),
    "target": ("synapses.target", None),
    "negative delay": ("synapses.delay", None),
    "no decay": ("neurons.rate_syn", np.zeros(8)),
    "kind": ("neurons.reset_kind", np.full(8, 7, np.int8)),
    "stuck": ("neurons.v_reset", np.full(8, 5.0)),
    "first": ("synapses.first", np.arange(12)[::-1].copy()),
    "a table": ("neurons.leak", np.zeros((8, 1))),
    "half a kind": ("neurons.reset_kind", np.full(8, 0.5)),
    "single": ("neurons.leak", np.zeros(8, np.float32)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_hostile_folders_are_refused(name: str, tmp_path: Path) -> None:
    network = compiled().network
    given = arrays(network)
    key, value = BROKEN[name]
    given[key] = np.full(len(given[key]), -1, given[key].dtype) if value is None else value
    with (tmp_path / "network.safetensors").open("wb") as file:
        write_tensors({n: Tensor(np.ascontiguousarray(a)) for n, a in given.items()}, file)
    (tmp_path / "interface.json").write_text(json.dumps(interface(network, 10)))
    with pytest.raises(BadFolder):
        read_network(tmp_path)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": 2}', '{"format": 1, "blocks": 3}', "[" * 10000,
     '{"format": 1, "dt": 0, "pulse": 0, "blocks": [], "outputs": {}, "tensors": []}'],
)  # fmt: skip
def test_hostile_interfaces_are_refused(text: str, tmp_path: Path) -> None:
    network = compiled().network
    with (tmp_path / "network.safetensors").open("wb") as file:
        write_tensors({n: Tensor(a) for n, a in arrays(network).items()}, file)
    (tmp_path / "interface.json").write_text(text)
    with pytest.raises(BadFolder):
        read_network(tmp_path)
    facts = interface(network, 10)
    large = [{**facts["blocks"][0], "shape": [2**70]}, *facts["blocks"][1:]]
    for change in ({"max_events": "many"}, {"max_events": 0}, {"blocks": large}):
        (tmp_path / "interface.json").write_text(json.dumps({**facts, **change}))
        with pytest.raises(BadFolder):
            read_network(tmp_path)
    (tmp_path / "interface.json").write_text(json.dumps(facts))
    (tmp_path / "network.safetensors").write_bytes(b"\xff" * 20)
    with pytest.raises(BadFolder):
        read_network(tmp_path)


# --- Reports, and steps ------------------------------------------------------------------------


def test_reports_say_what_has_no_meaning_in_continuous_time() -> None:
    model = single(stepping=snnir.Stepping(integrator="euler", synapse_jump=True))
    report = snnir.losses(model, "events")
    (entry,) = [e for e in report.nodes if e.node == "n"]
    assert "exact in continuous time" in entry.what
    assert "integrator euler" in entry.what
    assert not report.losses
    for reset, what in (("none", "not in every step"), ("subtract", "not in turn")):
        one = single("lif", stepping=snnir.Stepping(reset=reset))
        assert what in next(e.what for e in snnir.losses(one, "events").nodes if e.node == "n")
    several = single("lif", stepping=snnir.Stepping(reset="subtract", spikes="multi"))
    assert "multi" not in str(snnir.losses(several, "events").nodes)
    tables = compiled(model).tables
    assert tables["Populations in continuous time"][1][0][3].startswith("quadratic")
    assert tables["Synapses"][1] == [("x", "n", 1, "0", "w.weight")]


def test_steps_approach_events_in_first_order() -> None:
    """The stepped graph with the exact flow fires at the ends of steps: half a step late."""
    rng = np.random.default_rng(5)
    size, inputs, until = 40, 6, 0.1
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": source(inputs), "w": (linear(rng.random((size, inputs)) * 3), ["x"]),
        "n": (neuron("cubalif", JUMP), ["w"]),
    }  # fmt: skip
    spikes = (rng.random((25, 1, inputs)) < 0.3).astype(np.float32)
    exact = compiled(graph(nodes, "n", dt=4e-3)).run(spikes).events["y"]
    late = []
    for parts in (8, 16, 32, 64):
        fine = np.zeros((25 * parts, 1, inputs), np.float32)
        fine[::parts] = spikes
        dt = 4e-3 / parts
        stepped = snnir.compile(graph(nodes, "n", dt=dt), "numpy", precision="float64").run(fine)
        step, _, index = np.nonzero(stepped.output)
        found = Events((step + 1) * dt, index)
        gaps: list[float] = []
        for unit in range(size):
            a, b = exact.time[exact.index == unit], np.sort(found.time[found.index == unit])
            gaps += (b[:3] - a[:3][: len(b)]).tolist() if len(b) >= min(3, len(a)) else []
        assert len(gaps) > size
        late.append(float(np.mean(np.abs(gaps))))
    assert len(exact) > 100
    assert late[-1] < until / 500
    orders = np.log2(np.array(late[:-1]) / late[1:])
    assert np.all(np.abs(orders - 1) < 0.35), orders


def test_a_recurrence_of_no_delay_needs_seconds() -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": source(), "w": (linear([[9.0]]), ["x"]), "late": (seconds(0.0), ["n"]),
        "rec": (linear([[-4.0]]), ["late"]), "s": (snnir.ir.Add(), ["w", "rec"]),
        "n": (neuron("cubalif"), ["s"]),
    }  # fmt: skip
    zero = compiled(graph(nodes, "n")).network.synapses.delay
    assert zero.tolist() == [0.0, 0.0]
    nodes["late"] = (Delay(1), ["n"])
    assert sorted(compiled(graph(nodes, "n")).network.synapses.delay.tolist()) == [0.0, 1e-3]


def test_graphs_without_neurons_and_without_synapses() -> None:
    x = np.ones((4, 2, 3))
    made = compiled(graph({"x": source(3)}, "x"))
    np.testing.assert_array_equal(made.run(x).output, x)
    rest = neuron("li", snnir.Stepping(start="leak"), v_leak=0.5)
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": source(3), "w": (linear(np.zeros((2, 3))), ["x"]), "n": (rest, ["w"]),
    }  # fmt: skip
    assert np.all(compiled(graph(nodes, "n")).run(x).output == 0.5)


def test_analog_inputs_are_currents_or_take_events() -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": source(1, Kind.ANALOG), "w": (linear([[3.0]]), ["x"]),
        "n": (neuron("lif", snnir.Stepping(input_gain="unit")), ["w"]),
    }  # fmt: skip
    made = compiled(graph(nodes, "n"))
    assert made.run(at([2.5e-3], [0]), duration=0.01).events["y"].time.tolist() == [2.5e-3]
    held = made.run(np.array([0.0, 0.5, 0.0, 0.0]).reshape(-1, 1, 1)).events["y"].time
    assert len(held) == 1
    assert 1e-3 < held[0] < 2e-3
