"""Event topologies: read, simulated, written, and read by jaxsnn's own reader of NIR."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import nir
import numpy as np
import pytest
from jaxsnn.event import modules as events
from jaxsnn.event.topology import Topology
from jaxsnn.event.utils.from_nir import ConversionConfig, from_nir

import snnir
from snnir.events import Events
from snnir.ir import Delay, Input, Linear, Neuron
from snnir.presets import preset
from snnir.streams import Kind
from tests.helpers import graph as build
from tests.helpers import params as made_params
from tests.jaxsnn_nets import nets  # skips where jaxsnn is missing

pytestmark = pytest.mark.framework


def as_events(spike: Any) -> Events:
    """Return jaxsnn's input of all samples."""
    batch, slots = spike.time.shape
    time = np.asarray(spike.time, np.float64).reshape(-1)
    return Events(time, np.asarray(spike.idx).reshape(-1), np.repeat(np.arange(batch), slots))


def one_ratio() -> tuple[Any, Any, Any]:
    """Return a layer with tau_mem = tau_syn, which jaxsnn solves with Lambert's W."""
    neurons = events.LIFParameters(v_reset=0.0, v_th=0.3, tau_syn=8e-3, tau_mem=8e-3)
    net = Topology(t_max=2e-2)
    net.add({"inp": events.Source(5), "syn": events.Linear(0.4, 0.4, min_delay=2e-3)})
    net.add({"lif": events.LIF(4, 100, neurons)})
    net.connect([("inp", "syn"), ("syn", "lif")])
    return nets.finished(net, 3)


def by_jaxsnn(apply: Any, given: Any, params: Any) -> Any:
    """Return a run of jaxsnn; a program that runs once need not be optimised."""
    lowered = jax.jit(apply).lower({"inp": given}, params)
    compiled = lowered.compile(compiler_options={"xla_backend_optimization_level": 0})
    return compiled({"inp": given}, params)


def same_times(net: Any, graph: snnir.Graph, given: Any, theirs: Any) -> int:
    """Compare a run of jaxsnn with one in continuous time; return how many spikes there were."""
    names = [name for name, node in graph.nodes.items() if isinstance(node.op, Neuron)]
    run: Any = snnir.compile(graph, "events").run
    samples = len(given.time)
    result: Any = run(as_events(given), names, duration=net.t_max, samples=samples)
    total = 0
    for name in names:
        for sample in range(samples):
            own = np.asarray(theirs[name].internal)[sample]
            assert np.asarray(theirs[name].idx)[sample, -1] == -1, "its slots were full"
            time = np.asarray(theirs[name].time, np.float64)[sample][own]
            index = np.asarray(theirs[name].idx)[sample][own]
            ours = result.events[name]
            here = ours.sample == sample
            order, other = (
                np.lexsort((time, index)),
                np.lexsort((ours.time[here], ours.index[here])),
            )
            np.testing.assert_array_equal(index[order], ours.index[here][other])
            np.testing.assert_allclose(ours.time[here][other], time[order], rtol=0, atol=1e-6)
            total += len(time)
    return total


@pytest.mark.parametrize("case", ["recurrent", "one ratio"])
def test_times_are_equal(case: str) -> None:
    """The examples' networks, simulated by snnir in continuous time: within 1e-6 s."""
    made = nets.event_yinyang(True, 6, 60) if case == "recurrent" else one_ratio()
    net, apply, params = made
    given = nets.some_events(batch=8)
    graph = snnir.from_jax(net, params=params)
    assert same_times(net, graph, given, by_jaxsnn(apply, given, params)) > 30


@pytest.mark.parametrize("recurrent", [False, True])
def test_round_trips_are_the_same_network(recurrent: bool, tmp_path: Path) -> None:
    net, _, params = nets.event_yinyang(recurrent, delay=0.0 if recurrent else 1e-3)
    graph = snnir.from_jax(net, params=params)
    assert graph.signal("inp").kind is Kind.SPIKES
    assert graph.nodes["lif1"].metadata["jaxsnn.n_steps"] == 16
    topology, written = snnir.export(graph, "jaxsnn")
    assert type(topology) is Topology
    assert topology.t_max == net.t_max
    assert topology.backprop_method == "eventprop"
    assert set(topology.graph.edges) == set(net.graph.edges)
    assert snnir.from_jax(topology, params=written) == graph
    delays = [node.op for node in graph.nodes.values() if isinstance(node.op, Delay)]
    assert [d.seconds.item() for d in delays if d.seconds] == [0.0 if recurrent else 1e-3]
    snnir.save(graph, tmp_path / "net.nir")
    assert snnir.load(tmp_path / "net.nir").nodes == graph.nodes
    longer, _ = snnir.export(graph, "jaxsnn", t_max=0.5, n_steps=70)
    assert longer.t_max == 0.5
    assert longer.graph.nodes["lif2"]["module"].n_steps == 70


def test_jaxsnns_own_reader_gets_the_same_network(tmp_path: Path) -> None:
    """Times in milliseconds and weights as that reader takes them; it has no type check then."""
    neurons = events.LIFParameters(v_reset=-1000.0, v_th=1.0, tau_syn=5e-3, tau_mem=1e-2)
    net = Topology(t_max=2e-2)
    net.add({"inp": events.Source(5), "syn1": events.Linear(3.0, 1.6)})
    net.add({"lif1": events.LIF(6, 40, neurons), "syn3": events.Linear(0.0, 0.1)})
    net.connect([("inp", "syn1"), ("syn1", "lif1"), ("lif1", "syn3"), ("syn3", "lif1")])
    net, _, params = nets.finished(net)
    graph = snnir.from_jax(net, params=params)
    folder = snnir.compile(graph, "jaxsnn", nir=True).save(tmp_path / "out")
    file = nir.read(folder / "jaxsnn.nir", type_check=False)
    slots = {"lif1": 40}
    read = from_nir(file, ConversionConfig(t_max=net.t_max, n_steps=slots))
    read, again, weights = nets.finished(read, 1)
    assert snnir.from_jax(read, params=weights) == graph
    given = nets.some_events()
    assert same_times(net, graph, given, by_jaxsnn(again, given, weights)) > 8


def test_a_folder_runs_by_itself(tmp_path: Path) -> None:
    """Spikes on a grid in and out; slots that are full are said, not dropped."""
    net, _, params = one_ratio()
    graph = snnir.from_jax(net, params=params, dt=1e-4)
    x = np.zeros((200, 2, 5), np.float32)
    x[[10, 20, 30], 0, [0, 1, 2]] = 1
    x[[15, 25], 1, [3, 4]] = 1
    ours: Any = snnir.compile(graph, "events").run(x)
    theirs = snnir.run(snnir.compile(graph, "jaxsnn").save(tmp_path / "out"), x)
    assert theirs.output.sum() > 3
    np.testing.assert_array_equal(theirs.output.sum((0, 1)), ours.output.sum((0, 1)))
    assert np.abs(np.cumsum(theirs.output - ours.output, axis=0)).max() <= 1  # a step apart at most
    with pytest.raises(snnir.SnnirError, match="SNN501.*full"):
        snnir.compile(graph, "jaxsnn", n_steps=4).run(x[:, :1])


# --- What cannot be read or written ---------------------------------------------------------------


def layer(neurons: Any, **changes: Any) -> tuple[Any, Any]:
    net = Topology(t_max=1e-2)
    net.add({"inp": events.Source(2), "syn": events.Linear(), "lif": events.LIF(3, 9, neurons)})
    net.connect([("inp", "syn"), ("syn", "lif")])
    topology, _, params = nets.finished(net)
    return topology, params


@pytest.mark.parametrize(
    ("changes", "code", "text"),
    [
        ({"v_leak": 0.1}, "SNN802", "v_leak"),
        ({"tau_mem": 3e-2}, "SNN802", "tau_mem / tau_syn = 6"),
        ({"v_th": np.ones(3, np.float32)}, "SNN807", "per neuron"),
    ],
)
def test_neurons_that_jaxsnn_does_not_simulate(
    changes: dict[str, Any], code: str, text: str
) -> None:
    net, params = layer(events.LIFParameters(**changes))
    with pytest.raises(snnir.SnnirError, match=code) as caught:
        snnir.from_jax(net, params=params)
    assert text in str(caught.value)
    with pytest.raises(snnir.SnnirError, match="SNN801"):
        snnir.diff((net, params), (net, params), np.zeros((3, 1, 2)))


def test_pairs_are_those_of_jaxsnn() -> None:
    """It pairs sources and projections by their places, whatever the edges say."""
    neurons = events.LIFParameters()
    net = Topology(t_max=1e-2)
    net.add({name: events.Source(2) for name in ("a", "b")})
    net.add({"wa": events.Linear(min_delay=1e-3), "wb": events.Linear()})
    net.add({"lif": events.LIF(3, 9, neurons)})
    net.connect([("a", "wa"), ("b", "wb"), ("wa", "lif"), ("wb", "lif")])
    net, _, params = nets.finished(net)
    graph = snnir.from_jax(net, params=params)
    assert graph.nodes["wb"].operands == (snnir.Value("b"),)
    places = net.node_index_mapping
    places["wa"], places["wb"] = places["wb"], places["wa"]  # as hashes may have it in a cycle
    crossed = snnir.from_jax(net, params=params)
    assert crossed.nodes["wa"].operands == (snnir.Value("b.delay"),)
    assert crossed.nodes["b.delay"].operands == (snnir.Value("b"),)
    assert any("is connected to a" in note for note in crossed.provenance.notes)


def test_populations_that_wait_for_each_other() -> None:
    """jaxsnn simulates nothing of them without a delay, and says so nowhere."""
    neurons = events.LIFParameters()
    net = Topology(t_max=1e-2)
    net.add({"inp": events.Source(2), "w": events.Linear(), "ab": events.Linear()})
    net.add({"a": events.LIF(3, 9, neurons), "b": events.LIF(3, 9, neurons)})
    net.add({"ba": events.Linear()})
    net.connect([("inp", "w"), ("w", "a"), ("a", "ab"), ("ab", "b"), ("b", "ba"), ("ba", "a")])
    net, _, params = nets.finished(net)
    graph = snnir.from_jax(net, params=params)
    assert any("feed each other" in note for note in graph.provenance.notes)
    (problem,) = snnir.check(graph, "jaxsnn")
    assert "feed each other" in problem.message


def test_everything_that_jaxsnn_cannot_simulate_is_listed() -> None:
    values = made_params(
        tau_syn=5e-3, tau_mem=2e-2, r=2.0, v_leak=0.5, w_in=1.0, v_threshold=1.0, v_reset=0.0
    )
    jumping = preset("jaxsnn").for_model("cubalif")
    weight = snnir.tensor(np.ones((3, 2), np.float32))
    bias = snnir.tensor(np.ones(3, np.float32))
    graph = build(
        {
            "x": (Input(snnir.Signal(Kind.SPIKES, (2,))), []),
            "w": (Linear(weight, bias), ["x"]),
            "n": (Neuron("cubalif", values, replace(jumping, synapse_jump=False)), ["w"]),
        },
        "n",
        dt=1e-4,
    )
    problems = snnir.check(graph, "jaxsnn")
    found = " ".join(problem.message for problem in problems)
    for word in (
        "bias",
        "t_max",
        "n_steps",
        "v_leak",
        "r = 2",
        "tau_mem / tau_syn = 4",
        "one step",
    ):
        assert word in found
    stepped = snnir.compile(graph, "jaxsnn", paradigm="discrete")
    x = np.random.default_rng(0).integers(0, 2, (20, 2, 2)).astype(np.float32)
    np.testing.assert_array_equal(stepped.run(x).output, snnir.run(graph, x).output)
    (only,) = snnir.check(graph, "jaxsnn", paradigm="discrete", nir=True)
    assert "reader of NIR" in only.message
