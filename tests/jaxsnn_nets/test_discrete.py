"""Discrete topologies: read, run, written, equal in every bit to jaxsnn's own run."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxsnn.discrete import modules as steps
from jaxsnn.discrete.functional import LIFParameters, LIParameters
from jaxsnn.discrete.topology import Topology

import snnir
from snnir import jaxsnn_neurons as neurons
from snnir.cli import main
from snnir.frontends.jaxsnn_nets.discrete import DiscreteReader
from snnir.frontends.jaxsnn_nets.wiring import weights_of, wiring_of
from snnir.ir import Add, Current, Delay, Input, Linear, Reshape, Slice, Step
from snnir.streams import Kind
from tests.helpers import dyadic, spikes
from tests.jaxsnn_nets import nets  # skips where jaxsnn is missing

pytestmark = pytest.mark.framework

f32 = np.float32
TIES = LIFParameters(tau_syn=1.0, tau_mem=2.0, v_th=0.75, v_leak=0.25, v_reset=0.25)


def quick(graph: snnir.Graph, x: Any, record: Any = ()) -> Any:
    return snnir.run(graph, x, record)


@cache
def example() -> tuple[Any, Any, Any, snnir.Graph]:
    """Return Yin-Yang, 5-120-3 recurrent, and its graph."""
    net, apply, params = nets.yinyang()
    return net, apply, params, snnir.from_jax(net, params=params)


def test_the_example_is_repeated_in_every_bit() -> None:
    """On every simulator."""
    _, apply, params, graph = example()
    x = np.concatenate([spikes((60, 3, 5), 0.2, seed) for seed in range(3)], axis=1)
    states, outputs = nets.run_steps(apply, params, {"inp": x})
    result = quick(graph, x, ["lif", "lif:v", "lif:i"])
    assert outputs["lif"].sum() > 10000
    np.testing.assert_array_equal(result.recorded["lif"], outputs["lif"])
    np.testing.assert_array_equal(result.recorded["lif:v"], states["lif"].V)
    np.testing.assert_array_equal(result.recorded["lif:i"], states["lif"].I)
    np.testing.assert_array_equal(result.output, outputs["li"])
    for target in ("xla", "native"):
        other = snnir.compile(graph, target).run(x, ["lif"])
        np.testing.assert_array_equal(other.recorded["lif"], outputs["lif"])
        np.testing.assert_array_equal(other.output, outputs["li"])


def test_spikes_are_equal_with_random_weights() -> None:
    """Sums differ in the last bits then, spikes rarely, and in these runs never."""
    net, apply, _, graph = example()
    run = jax.jit(jax.vmap(apply, in_axes=({"inp": 1}, None), out_axes=1))
    for seed in range(3):
        rng = np.random.default_rng(seed)
        editor = graph.edit()
        params: dict[str, Any] = {}
        for name, node in graph.nodes.items():
            params[name] = None
            if isinstance(node.op, Linear):
                weight = rng.normal(0.1, 0.5, node.op.weight.shape).astype(f32)
                params[name] = jnp.asarray(weight.T)
                editor.set_op(name, Linear(snnir.tensor(weight)))
        x = spikes((60, 4, 5), 0.2, seed)
        given = {name: params[name] for name in net.graph.nodes}
        _, outputs = run({"inp": jnp.asarray(x)}, given)
        assert outputs["lif"].sum() > 1000
        found = quick(editor.graph(), x, ["lif"]).recorded["lif"]
        np.testing.assert_array_equal(found, outputs["lif"])


def tying(method: Any = None) -> tuple[Any, Any, Any]:
    """Return a net whose membranes meet the threshold exactly, often."""
    net = Topology(dt=1.0, record_states=True)
    given = {} if method is None else {"method": method}
    weights = np.random.default_rng(1).integers(-2, 4, (4, 16)).astype(f32) / 2
    net.add(
        {
            "in": steps.Input(4),
            "w1": steps.Linear(pre_weights=jnp.asarray(weights)),
            "a": steps.LIF(16, TIES, **given),
            "w2": nets.on_grid(16, 5, 1),
            "b": steps.LI(5, LIParameters(tau_syn=4.0, tau_mem=2.0, v_leak=0.25)),
        }
    )
    net.connect([("in", "w1"), ("w1", "a"), ("a", "w2"), ("w2", "b")])
    return nets.finished(net)


@cache
def tied(ties: str = "half") -> tuple[Any, Any, Any, snnir.Graph]:
    """Return that net and its graph."""
    net, apply, params = tying()
    return net, apply, params, snnir.from_jax(net, params=params, ties=ties)


def test_half_a_spike_at_the_threshold() -> None:
    _, apply, params, graph = tied()
    x = np.rint(4 * spikes((40, 3, 4), 0.5))
    states, outputs = nets.run_steps(apply, params, {"in": x})
    assert (np.asarray(outputs["a"]) == 0.5).sum() > 20
    assert (np.asarray(outputs["a"]) == 1.0).sum() > 20
    assert graph.signal("a").kind is Kind.ANALOG
    result = quick(graph, x, ["a", "a:v"])
    np.testing.assert_array_equal(result.recorded["a"], outputs["a"])
    np.testing.assert_array_equal(result.recorded["a:v"], states["a"].V)
    np.testing.assert_array_equal(result.output, outputs["b"])


@pytest.mark.parametrize("ties", ["spike", "none"])
def test_ties_can_be_spikes_or_none(ties: str) -> None:
    """jaxsnn does the same with a spike function of that kind; the graph goes back as that."""

    def method(x: Any) -> Any:
        return (x >= 0 if ties == "spike" else x > 0).astype(jnp.float32)

    _, _, params, graph = tied(ties)
    assert graph.signal("a").kind is Kind.SPIKES
    assert any("half a spike" in note for note in graph.provenance.notes)
    other, _, _ = tying(method)
    assert snnir.from_jax(other, params=params).nodes == graph.nodes
    x = np.rint(4 * spikes((40, 2, 4), 0.5))
    exported = snnir.compile(graph, "jaxsnn")
    assert b"LIF(16, " in exported.files["model.py"]  # type: ignore[operator]
    result = quick(graph, x, ["a"])
    np.testing.assert_array_equal(exported.run(x, ["a"]).recorded["a"], result.recorded["a"])
    plain = quick(tied()[3], x, ["a"]).recorded["a"]
    assert set(np.unique(plain[plain != result.recorded["a"]]).tolist()) == {0.5}


KINDS: dict[str, Any] = {
    "python": float,
    "float64": np.float64,
    "float32": f32,
    "jax": jnp.asarray,
    "vector": lambda value: value * np.linspace(0.9, 1.1, 6),
    "jax vector": lambda value: jnp.asarray(value * np.linspace(0.9, 1.1, 6), jnp.float32),
}


def test_constants_are_rounded_as_jaxsnn_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading compares every population with a run of jaxsnn, states included."""
    net = Topology(dt=3.7e-4)
    net.add({"in": steps.Input(5), "w": steps.Linear(mean=0.3, std=0.7)})
    net.connect([("in", "w")])
    rng = np.random.default_rng(3)
    for kind, make in KINDS.items():
        tau_syn, tau_mem = (make(tau) for tau in rng.uniform(2e-3, 2e-2, 2))
        lif = LIFParameters(tau_syn, tau_mem, make(0.6), make(0.05), make(-0.1))
        net.add({f"lif {kind}": steps.LIF(6, lif)})
        li = LIParameters(tau_syn, tau_mem, make(0.05))
        net.add({f"li {kind}": steps.LI(6, li)})
        net.connect([("w", f"lif {kind}"), ("w", f"li {kind}")])
    net, _, params = nets.finished(net)
    graph = snnir.from_jax(net, params=params)
    assert len(graph.outputs) == 2 * len(KINDS)
    topology, written = snnir.export(graph, "jaxsnn")
    wiring = wiring_of(topology)  # read again without another run of jaxsnn
    again = DiscreteReader(wiring, weights_of(wiring, written), "half").graph(graph.name)
    assert again.nodes == graph.nodes
    monkeypatch.setattr(neurons, "li_constants", neurons.lif_constants)
    other, params = small(lif=steps.LI(2, LIParameters(tau_mem=0.0123)))
    with pytest.raises(snnir.SnnirError, match="SNN808.*'lif'"):
        snnir.from_jax(other, params=params)


def test_fan_in_cycles_and_populations_next_to_each_other() -> None:
    """Two populations in a cycle: the order of a step, hash or not, says where delays are."""
    net = Topology(dt=1e-3)
    lif = LIFParameters(tau_syn=4e-3, tau_mem=5e-3, v_th=0.6)
    net.add(
        {
            "in": steps.Input(6),
            "other": steps.Input(6),
            "w": nets.on_grid(6, 6, 1),
            "a": steps.LIF(6, lif),
            "b": steps.LIF(6, lif),
            "ab": nets.on_grid(6, 6, 2),
            "ba": nets.on_grid(6, 6, 3),
            "aa": nets.on_grid(6, 6, 4),
            "c": steps.LIF(6, lif),
        }
    )
    edges = "in-w w-a aa-a a-aa other-a a-ab ab-b b-ba ba-a b-c other-c a-c"
    net.connect([tuple(edge.split("-")) for edge in edges.split()])
    net, apply, params = nets.finished(net)
    graph = snnir.from_jax(net, params=params)
    assert list(graph.outputs) == ["c"]
    assert any("PYTHONHASHSEED" in note for note in graph.provenance.notes)
    x = {"in": spikes((50, 2, 6), 0.3), "other": spikes((50, 2, 6), 0.1, 1)}
    _, outputs = nets.run_steps(apply, params, x)
    result = quick(graph, x, ["a", "b"])
    for name in ("a", "b"):
        assert 20 < outputs[name].sum() < 580
        np.testing.assert_array_equal(result.recorded[name], outputs[name])
    np.testing.assert_array_equal(result.output, outputs["c"])
    exported = snnir.compile(graph, "jaxsnn")
    assert b"Ordered([" in exported.files["model.py"]  # type: ignore[operator]
    np.testing.assert_array_equal(exported.run(x).output, outputs["c"])


def test_live_topologies_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net, _, params, graph = tied()
    x = np.rint(4 * spikes((30, 2, 4), 0.5))
    assert snnir.diff((net, params), graph, x).identical
    editor = graph.edit()
    editor.set_op("w2", Linear(snnir.tensor(dyadic((5, 16), 9))))
    snnir.save(editor.graph(), tmp_path / "changed.snnir")
    factory = tmp_path / "model.py"
    factory.write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from tests.jaxsnn_nets.test_discrete import tying\n\n\n"
        "def made():\n    net, _, params = tying()\n    return net, params\n"
    )
    arguments = ["diff", f"{factory}:made", str(tmp_path / "changed.snnir")]
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--poisson", "0.5", "--steps", "20"])
    assert ended.value.code == 1
    assert "output:b" in capsys.readouterr().out


def test_nir_keeps_the_programs(tmp_path: Path) -> None:
    for ties in neurons.TIES:
        graph = tied(ties)[3]
        snnir.save(graph, tmp_path / "net.nir")
        back = snnir.load(tmp_path / "net.nir")
        assert back.nodes == graph.nodes
        assert back.outputs == graph.outputs


def test_round_trip_is_the_same_network() -> None:
    net, _, params, graph = example()
    topology, written = snnir.export(graph, "jaxsnn")
    assert type(topology) is Topology
    assert set(topology.graph.edges) == set(net.graph.edges)
    assert {n: None if p is None else p.tolist() for n, p in written.items()} == {
        n: None if p is None else p.tolist() for n, p in params.items()
    }
    assert snnir.from_jax(topology, params=written) == graph


def test_any_name_is_kept(tmp_path: Path) -> None:
    """Names are the user's: in sources, folders and files."""
    names = {"in": 'in"put\n', "w": 'w\'"""\\ x', "lif": 'lif.delay/../é"""'}
    net = Topology(dt=1e-3)
    lif = LIFParameters(tau_mem=jnp.linspace(5e-3, 2e-2, 4))
    net.add({names["in"]: steps.Input(3), names["w"]: nets.on_grid(3, 4, 1)})
    net.add({names["lif"]: steps.LIF(4, lif), "back": nets.on_grid(4, 4, 2)})
    loop = [(names["lif"], "back"), ("back", names["lif"])]
    net.connect([(names["in"], names["w"]), (names["w"], names["lif"]), *loop])
    net, _, params = nets.finished(net)
    graph = snnir.from_jax(net, params=params)
    assert set(names.values()) <= set(graph.nodes)
    x = spikes((20, 2, 3), 0.5)
    wanted = quick(graph, x).output
    folder = snnir.compile(graph, "jaxsnn").save(tmp_path / "out")
    np.testing.assert_array_equal(snnir.run(folder, x).output, wanted)
    snnir.save(graph, tmp_path / "net.nir")
    back = snnir.load(tmp_path / "net.nir")
    assert back.outputs == graph.outputs
    np.testing.assert_array_equal(quick(back, x).output, wanted)


# --- What cannot be read --------------------------------------------------------------------------


def refused(code: str, text: str, net: Any, **options: Any) -> None:
    with pytest.raises(snnir.SnnirError) as caught:
        snnir.from_jax(net, **options)
    assert {d.code for d in caught.value.diagnostics} == {code}, caught.value
    assert text in str(caught.value)


def small(**modules: Any) -> tuple[Any, Any]:
    net = Topology(dt=1e-3)
    net.add({"in": steps.Input(3), "w": steps.Linear(), "lif": steps.LIF(2), **modules})
    net.connect([("in", "w"), ("w", "lif")])
    topology, _, params = nets.finished(net)
    return topology, params


def test_unfinished_and_unfitting() -> None:
    net, params = small()
    refused("SNN801", "params", net)
    refused("SNN801", "w", net, params={})
    refused("SNN807", "[3, 2]", net, params={**params, "w": np.zeros((2, 3), f32)})
    refused("SNN807", "int64", net, params={**params, "w": np.zeros((3, 2), np.int64)})
    refused("SNN807", "no array", net, params={**params, "w": [[1.0], [1.0, 2.0]]})
    refused("SNN105", "infinite", net, params={**params, "w": np.full((3, 2), np.inf, f32)})
    refused("SNN303", "dt", net, params=params, dt=1e-4)
    refused("SNN801", "ties", net, params=params, ties="both")
    with pytest.raises(snnir.SnnirError, match="SNN801"):
        snnir.from_jax(net, {}, np.zeros(3), params=params)
    net.add({"late": steps.LIF(2)})
    refused("SNN801", "done()", net, params=params)


def test_unknown_modules() -> None:
    def odd_function(x: Any) -> Any:
        return jnp.clip(x, 0, 1)

    net, params = small(lif=steps.LIF(2, method=odd_function))
    refused("SNN802", "odd_function", net, params=params)
    net, params = small(lif=steps.LIF(2, LIFParameters(tau_mem=-1.0)))
    refused("SNN105", "tau_mem", net, params=params)
    net, params = small(lif=steps.LIF(2, LIFParameters(tau_syn="long")))
    refused("SNN105", "tau_syn is 'long'", net, params=params)
    net, params = small(lif=steps.LIF(2, LIFParameters(v_th=jnp.ones(3))))
    refused("SNN807", "threshold", net, params=params)
    own = steps.LIF(2)
    own.generator = lambda dt, inner=own.generator: inner(dt)
    net, params = small(lif=own)
    refused("SNN802", "jaxsnn_nets", net, params=params)


# --- What cannot be written -----------------------------------------------------------------------


def test_everything_that_has_no_form_is_listed() -> None:
    from tests.helpers import graph, params

    lif = snnir.LifStep()
    wide = Step(neurons.lif_program(), params(k_mem=0.0, k_syn=-0.1, threshold=1.0))
    made = graph(
        {
            "x": (Input(snnir.Signal(Kind.ANALOG, (2, 3))), []),
            "y": (Input(snnir.Signal(Kind.ANALOG, (3,))), []),
            "cell": (Step(lif, params(beta=0.5, threshold=1.0)), ["x"]),
            "frozen": (wide, ["y"]),
            "each": (Delay(snnir.tensor(np.array([1, 2, 3]))), ["y"]),
            "all": (Add(), ["each", "frozen"]),
            "shaped": (Reshape((6,)), ["spiking"]),
            "spiking": (Current(), ["cell"]),
            "some": (Slice(0, 0, 3), ["shaped"]),
            "end": (Add(), ["all", "some"]),
        },
        "end",
        dt=1e-3,
    )
    problems = snnir.check(made, "jaxsnn")
    assert {p.node for p in problems} == {
        "x", "cell", "frozen", "each", "shaped", "spiking", "some",
    }  # fmt: skip
    assert {p.code for p in problems} == {"SNN501"}
    with pytest.raises(snnir.SnnirError, match="SNN503"):
        snnir.compile(made, "jaxsnn", paradigm="both")
