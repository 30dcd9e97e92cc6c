"""Presets against the platforms themselves: their own NIR importer, run on the same file.

Weights lie on a grid of 1/256 and inputs are 0 or 1, so that every sum is exact in any order and
a difference can only come from the neurons.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import warnings
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snnir

pytestmark = pytest.mark.framework

STEPS, BATCH, INPUTS, HIDDEN, OUTPUTS = 200, 4, 12, 16, 5


def dyadic(rng: np.random.Generator, *shape: int) -> Any:
    return (rng.integers(-64, 160, shape) / 256).astype(np.float32)


def train(rng: np.random.Generator, *shape: int) -> Any:
    return (rng.random((STEPS, BATCH, *shape)) < 0.3).astype(np.float32)


def chain(*nodes: nir.NIRNode, shape: tuple[int, ...], out: tuple[int, ...]) -> nir.NIRGraph:
    named = {"input": nir.Input(np.array(shape))}
    named.update({f"n{index}": node for index, node in enumerate(nodes)})
    named["output"] = nir.Output(np.array(out))
    names = list(named)
    return nir.NIRGraph(named, list(itertools.pairwise(names)))


def affine(rng: np.random.Generator, fan_in: int, out: int) -> nir.Affine:
    return nir.Affine(dyadic(rng, out, fan_in), dyadic(rng, out) / 4)


def vector(size: int, value: float, dtype: Any = np.float32) -> Any:
    return np.full(size, value, dtype)


def lif(size: int, tau: float, r: float, threshold: float) -> nir.LIF:
    return nir.LIF(vector(size, tau), vector(size, r), vector(size, 0.0), vector(size, threshold))


def write(tmp_path: Path, graph: nir.NIRGraph) -> Path:
    path = tmp_path / "model.nir"
    nir.write(path, graph)
    return path


def ours(path: Path, x: Any, record: list[str], **options: Any) -> snnir.Result:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        return snnir.compile(snnir.load(path, **options)).run(x, record)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("tau", "r"), [(0.0025, 1.0), (0.001, 10.0), (0.02, 200.0)])
def test_snntorch_lif(tmp_path: Path, seed: int, tau: float, r: float) -> None:
    torch = pytest.importorskip("torch")
    importer = pytest.importorskip("snntorch.import_nir")
    rng = np.random.default_rng(seed)
    threshold = 0.5 * r * 1e-4 / tau
    graph = chain(
        affine(rng, INPUTS, HIDDEN), lif(HIDDEN, tau, r, threshold),
        affine(rng, HIDDEN, OUTPUTS), lif(OUTPUTS, tau, r, threshold),
        shape=(INPUTS,), out=(OUTPUTS,),
    )  # fmt: skip
    path, x = write(tmp_path, graph), train(rng, INPUTS)
    with contextlib.redirect_stdout(io.StringIO()):
        layers = [importer._nir_to_snntorch_module(graph.nodes[f"n{i}"]) for i in range(4)]
    expected: dict[str, list[Any]] = {"n1": [], "n1:v": [], "n3": [], "n3:v": []}
    states: list[Any] = [None, layers[1].init_leaky(), None, layers[3].init_leaky()]
    with torch.no_grad():
        for drive in torch.from_numpy(x):
            spikes = drive
            for i in (0, 2):
                spikes, states[i + 1] = layers[i + 1](layers[i](spikes), states[i + 1])
                expected[f"n{i + 1}"].append(spikes.numpy())
                expected[f"n{i + 1}:v"].append(states[i + 1].numpy())
    result = ours(path, x, list(expected), semantics="snntorch")
    assert result.recorded["n1"].sum() > 100
    for name, trace in expected.items():
        np.testing.assert_array_equal(result.recorded[name], np.stack(trace), err_msg=name)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tau_syn", [0.0002, 0.0005])
def test_snntorch_cubalif(tmp_path: Path, seed: int, tau_syn: float) -> None:
    torch = pytest.importorskip("torch")
    importer = pytest.importorskip("snntorch.import_nir")
    rng, tau = np.random.default_rng(seed), 0.001
    wide = np.float64
    neuron = nir.CubaLIF(
        tau_syn=vector(HIDDEN, tau_syn, wide), tau_mem=vector(HIDDEN, tau, wide),
        r=vector(HIDDEN, tau / 1e-4, wide), v_leak=vector(HIDDEN, 0, wide),
        v_threshold=vector(HIDDEN, 0.75, wide), w_in=vector(HIDDEN, tau_syn / 1e-4, wide),
    )  # fmt: skip
    graph = chain(affine(rng, INPUTS, HIDDEN), neuron, shape=(INPUTS,), out=(HIDDEN,))
    path, x = write(tmp_path, graph), train(rng, INPUTS)
    linear = importer._nir_to_snntorch_module(graph.nodes["n0"])
    synaptic = importer._nir_to_snntorch_module(neuron)
    current, membrane = synaptic.init_synaptic()
    expected: dict[str, list[Any]] = {"n1": [], "n1:i": [], "n1:v": []}
    with torch.no_grad():
        for now in torch.from_numpy(x):
            spike, current, membrane = synaptic(linear(now), current, membrane)
            for name, value in zip(expected, (spike, current, membrane), strict=True):
                expected[name].append(value.numpy())
    result = ours(path, x, list(expected), semantics="snntorch")
    assert result.recorded["n1"].sum() > 100
    for name, trace in expected.items():
        np.testing.assert_array_equal(result.recorded[name], np.stack(trace), err_msg=name)


def norse_states(state: Any) -> dict[str, Any]:
    if isinstance(state, tuple) and not hasattr(state, "_fields"):
        synapse, membrane = state
        return {"i": synapse.v, "v": membrane.v}
    return {"v": state.v}


NORSE_NODES = {
    "lif": lambda: lif(HIDDEN, 0.0025, 1.0, 0.02),
    "lif-leak": lambda: nir.LIF(
        vector(HIDDEN, 0.005), vector(HIDDEN, 1), vector(HIDDEN, 0.25), vector(HIDDEN, 0.375)
    ),
    "if": lambda: nir.IF(vector(HIDDEN, 1), vector(HIDDEN, 1.5)),
    "cubalif": lambda: nir.CubaLIF(
        vector(HIDDEN, 0.0005), vector(HIDDEN, 0.001), vector(HIDDEN, 10), vector(HIDDEN, 0),
        vector(HIDDEN, 0.75), w_in=vector(HIDDEN, 5),
    ),
    "cubalif-leak": lambda: nir.CubaLIF(
        vector(HIDDEN, 0.0005), vector(HIDDEN, 0.001), vector(HIDDEN, 10), vector(HIDDEN, 0.0625),
        vector(HIDDEN, 1.75), w_in=vector(HIDDEN, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dt", [1e-4, 2e-4])
@pytest.mark.parametrize("kind", NORSE_NODES)
def test_norse(tmp_path: Path, kind: str, dt: float, seed: int) -> None:
    torch = pytest.importorskip("torch")
    importer = pytest.importorskip("norse.torch.utils.import_nir")
    rng, neuron = np.random.default_rng(seed), NORSE_NODES[kind]()
    graph = chain(affine(rng, INPUTS, HIDDEN), neuron, shape=(INPUTS,), out=(HIDDEN,))
    path, x = write(tmp_path, graph), train(rng, INPUTS)
    linear = importer._import_norse_module(graph.nodes["n0"], dt=dt)
    cell = importer._import_norse_module(neuron, ignore_warnings=True, dt=dt)
    expected: dict[str, list[Any]] = {}
    state = None
    with torch.no_grad():
        for now in torch.from_numpy(x):
            spike, state = cell(linear(now), state)
            values = {"n1": spike, **{f"n1:{k}": v for k, v in norse_states(state).items()}}
            for name, value in values.items():
                expected.setdefault(name, []).append(value.numpy())
    result = ours(path, x, list(expected), semantics="norse", dt=dt)
    assert result.recorded["n1"].sum() > 100
    for name, trace in expected.items():
        np.testing.assert_array_equal(result.recorded[name], np.stack(trace), err_msg=name)


SINABS_NODES = {
    "if": lambda: nir.IF(vector(HIDDEN, 1), vector(HIDDEN, 1.5)),
    "lif": lambda: lif(HIDDEN, 20.0, 1.0, 1.5),
    "li": lambda: nir.LI(vector(HIDDEN, 20.0), vector(HIDDEN, 1), vector(HIDDEN, 0)),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", SINABS_NODES)
def test_sinabs(tmp_path: Path, kind: str, seed: int) -> None:
    torch = pytest.importorskip("torch")
    importer = pytest.importorskip("sinabs.nir")
    rng, neuron = np.random.default_rng(seed), SINABS_NODES[kind]()
    graph = chain(affine(rng, INPUTS, HIDDEN), neuron, shape=(INPUTS,), out=(HIDDEN,))
    path, x = write(tmp_path, graph), train(rng, INPUTS)
    linear = importer._import_sinabs_module(graph.nodes["n0"], BATCH, STEPS)
    for key in ("tau", "v_threshold", "v_leak", "r"):
        if hasattr(neuron, key):  # the importer hands NumPy arrays to torch code
            setattr(neuron, key, torch.from_numpy(getattr(neuron, key)))
    layer = importer._import_sinabs_module(neuron, BATCH, STEPS)
    with torch.no_grad():
        current = linear(torch.from_numpy(x)).transpose(0, 1).reshape(BATCH * STEPS, -1)
        flat = layer(current)
    expected = flat.reshape(BATCH, STEPS, HIDDEN).transpose(0, 1).numpy()
    result = ours(path, x, ["n1"], semantics="sinabs")
    assert expected.sum() > 100
    np.testing.assert_array_equal(result.recorded["n1"], expected)
    final = layer.v_mem.detach().numpy()
    state = ours(path, x, ["n1:v"], semantics="sinabs").recorded["n1:v"][-1]
    np.testing.assert_array_equal(state, final)


SPIKINGJELLY_NODES = {
    "if": lambda: nir.IF(
        vector(HIDDEN, 1e4), vector(HIDDEN, 0.75), v_reset=vector(HIDDEN, 0.125)
    ),
    "lif": lambda: lif(HIDDEN, 0.0007, 1.0, 0.25),
    "lif, drive undivided": lambda: lif(HIDDEN, 0.0003, 3.0, 0.75),
    "lif, leak": lambda: nir.LIF(
        vector(HIDDEN, 0.0004), vector(HIDDEN, 1), vector(HIDDEN, 0.125), vector(HIDDEN, 0.25),
        v_reset=vector(HIDDEN, 0.125),
    ),
    "cubalif": lambda: nir.CubaLIF(
        vector(HIDDEN, 0.0005), vector(HIDDEN, 0.001), vector(HIDDEN, 10), vector(HIDDEN, 0),
        vector(HIDDEN, 0.75), w_in=vector(HIDDEN, 5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", SPIKINGJELLY_NODES)
def test_spikingjelly(tmp_path: Path, kind: str, seed: int) -> None:
    torch = pytest.importorskip("torch")
    importer = pytest.importorskip("spikingjelly.activation_based.nir_exchange.from_nir")
    rng, neuron = np.random.default_rng(seed), SPIKINGJELLY_NODES[kind]()
    graph = chain(affine(rng, INPUTS, HIDDEN), neuron, shape=(INPUTS,), out=(HIDDEN,))
    path, x = write(tmp_path, graph), train(rng, INPUTS)
    mapper = importer._NodeMapper(dt=1e-4)
    linear = mapper.map_affine(graph.nodes["n0"])
    module = mapper.map_dict[type(neuron)](neuron)
    expected: list[Any] = []
    state = None
    with torch.no_grad():
        for now in torch.from_numpy(x):
            spike, state = module(linear(now), state)
            names = list(module.module._memories)
            expected.append([spike.numpy(), state[names.index("v")].numpy()])
    result = ours(path, x, ["n1", "n1:v"], semantics="spikingjelly")
    assert result.recorded["n1"].sum() > 100
    for at, name in enumerate(("n1", "n1:v")):
        trace = np.stack([step[at] for step in expected])
        np.testing.assert_array_equal(result.recorded[name], trace, err_msg=name)


@pytest.mark.parametrize("decay_input", [True, False])
@pytest.mark.parametrize("v_reset", [0.0, -0.125])
def test_a_file_spikingjelly_wrote(tmp_path: Path, decay_input: bool, v_reset: float) -> None:
    """Its own export, read under its preset, gives its own spikes."""
    torch = pytest.importorskip("torch")
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    from spikingjelly.activation_based import functional, layer, neuron

    rng = np.random.default_rng(5)
    net = torch.nn.Sequential(
        layer.Linear(INPUTS, HIDDEN),
        neuron.LIFNode(tau=2.5, decay_input=decay_input, v_reset=v_reset, v_threshold=0.5),
        layer.Linear(HIDDEN, OUTPUTS), neuron.IFNode(v_reset=v_reset),
    )  # fmt: skip
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.from_numpy(dyadic(rng, *parameter.shape)))
    x = train(rng, INPUTS)
    graph = exchange.export_to_nir(net, torch.zeros(1, INPUTS), dt=1e-4)
    path = write(tmp_path, graph)
    functional.reset_net(net)
    with torch.no_grad():
        expected = torch.stack([net(now) for now in torch.from_numpy(x)]).numpy()
    assert expected.sum() > 100
    result = ours(path, x, [], semantics="spikingjelly")
    np.testing.assert_array_equal(result.output, expected)
