"""The presets of the vendor's platforms against loops in their own variables."""

from __future__ import annotations

import itertools
import warnings
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import snnir
from snnir.ir.neuron import Neuron
from tests.helpers import cli

STEPS, BATCH, INPUTS, HIDDEN = 120, 3, 9, 14
DT = 1e-6


def nir_model(tmp_path: Path, neuron: nir.NIRNode, seed: int = 0) -> tuple[Path, Any, Any]:
    """A linear map and neurons as hxtorch exports them, the weights, and spikes [T, B, N]."""
    rng = np.random.default_rng(seed)
    weight = (rng.integers(-40, 90, (HIDDEN, INPUTS)) / 64).astype(np.float32)
    nodes = {"s_0_0": nir.Input(np.array([INPUTS])), "0": nir.Linear(weight), "1": neuron}
    nodes["t_1"] = nir.Output(np.array([HIDDEN]))
    path = tmp_path / "model.nir"
    nir.write(path, nir.NIRGraph(nodes, list(itertools.pairwise(nodes))))
    return path, weight, (rng.random((STEPS, BATCH, INPUTS)) < 0.15).astype(np.float32)


def cubalif(dtype: Any = np.float64, **changed: float) -> nir.CubaLIF:
    """As hxtorch writes it: times in milliseconds."""
    values = {
        "tau_mem": 6e-3, "tau_syn": 4e-3, "r": 1.0, "v_leak": 0.125, "v_reset": -0.25,
        "v_threshold": 1.0, **changed,
    }  # fmt: skip
    return nir.CubaLIF(**{name: np.full(HIDDEN, v, dtype) for name, v in values.items()})


def mock_loop(node: Any, weight: Any, x: Any, refractory_time: float = 1e-6) -> tuple[Any, Any]:
    """hxtorch with mock=True: forward Euler in its order, refractory time from its default."""
    torch = pytest.importorskip("torch")
    tau_mem, tau_syn = node.tau_mem[0] * 1e-3, node.tau_syn[0] * 1e-3
    c = tau_mem / node.r[0] if isinstance(node, nir.CubaLIF) else 10e-6
    g_l = c / tau_mem
    leak = node.v_leak[0]
    graded = torch.nn.functional.linear(torch.from_numpy(x), torch.from_numpy(weight))
    i = torch.zeros(BATCH, HIDDEN)
    v = torch.full((BATCH, HIDDEN), float(leak))
    waiting = torch.zeros(BATCH, HIDDEN)
    membranes, spikes = [], []
    for now in graded:
        dv = DT / c * (i + g_l * (leak - v))
        i = i * (1 - DT / tau_syn) + now
        v = v + dv
        if isinstance(node, nir.CubaLIF):
            z = (v - node.v_threshold[0] > 0).to(v.dtype)
            held = (waiting > 0).to(v.dtype)
            v = torch.where(torch.maximum(z, held) > 0, float(node.v_reset[0]), v)
            z = (1 - held) * z
            waiting = (1 - z) * torch.relu(waiting - held) + z * refractory_time / DT
            spikes.append(z)
        membranes.append(v)
    return np.stack(membranes), np.stack(spikes or membranes)


def ours(path: Path, x: Any, semantics: str, **options: Any) -> tuple[Any, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        result = snnir.compile(snnir.load(path, semantics=semantics, **options)).run(x, ["1:v"])
    return result.recorded["1:v"], result.output


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    "changed", [{}, {"v_leak": 0.0, "v_reset": 0.0}, {"r": 2.0}, {"tau_syn": 5.3e-3}]
)
def test_hxtorch_is_equal_in_every_bit(
    tmp_path: Path, changed: dict[str, float], dtype: Any
) -> None:
    node = cubalif(dtype, **changed)
    path, weight, x = nir_model(tmp_path, node)
    membranes, spikes = mock_loop(node, weight, x)
    v, s = ours(path, x, "hxtorch")
    assert 100 < spikes.sum() < spikes.size / 2
    np.testing.assert_array_equal(s, spikes)
    np.testing.assert_array_equal(v, membranes)


def test_hxtorch_is_close_for_any_r_and_ignores_w_in(tmp_path: Path) -> None:
    node = cubalif(r=0.7, w_in=5.0, v_threshold=0.8)
    path, weight, x = nir_model(tmp_path, node)
    membranes, _ = mock_loop(node, weight, x)
    v, _ = ours(path, x, "hxtorch")
    np.testing.assert_allclose(v, membranes, atol=1e-5)


def test_the_refractory_time_can_be_changed(tmp_path: Path) -> None:
    node = cubalif()
    path, weight, x = nir_model(tmp_path, node)
    found = [ours(path, x, "hxtorch", refractory=steps)[1] for steps in (1, 4)]
    for steps, spikes in zip((1, 4), found, strict=True):
        np.testing.assert_array_equal(spikes, mock_loop(node, weight, x, steps * DT)[1])
    assert found[0].sum() > found[1].sum()


@pytest.mark.parametrize(("tau_mem", "r"), [(10e-3, 1.0), (5e-3, 0.5), (4e-3, 0.4)])
def test_hxtorch_readout(tmp_path: Path, tau_mem: float, r: float) -> None:
    """Its readouts have a capacitance of their own, which this r stands for."""
    values = {"tau_mem": tau_mem, "tau_syn": 6e-3, "r": r, "v_leak": 0.5}
    node = nir.CubaLI(**{name: np.full(HIDDEN, value) for name, value in values.items()})
    path, weight, x = nir_model(tmp_path, node)
    membranes, _ = mock_loop(node, weight, x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        graph = snnir.load(path, semantics="hxtorch")
    np.testing.assert_allclose(snnir.compile(graph).run(x).output, membranes, rtol=1e-5, atol=1e-6)


def test_jaxsnn_flow_and_jump(tmp_path: Path) -> None:
    """Its matrix exponential from event to event, on the grid; inputs at the start of a step."""
    node = cubalif(v_leak=0.25, v_reset=0.0, v_threshold=0.75)
    path, weight, x = nir_model(tmp_path, node, seed=3)
    kernel = np.array([[-1 / 6e-6, 1 / 6e-6], [0.0, -1 / 4e-6]])
    values, vectors = np.linalg.eig(kernel)
    flow = (vectors * np.exp(values * DT)) @ np.linalg.inv(vectors)
    v, i = np.zeros((BATCH, HIDDEN)), np.zeros((BATCH, HIDDEN))
    membranes, spikes = [], []
    for now in x.astype(np.float64) @ weight.T.astype(np.float64):
        i = i + now
        v, i = flow[0, 0] * (v - 0.25) + flow[0, 1] * i + 0.25, flow[1, 1] * i
        fired = v > 0.75
        v = np.where(fired, 0.0, v)
        membranes.append(v)
        spikes.append(fired)
    found, s = ours(path, x, "jaxsnn")
    assert np.sum(spikes) > 100
    np.testing.assert_array_equal(s, np.stack(spikes))
    np.testing.assert_allclose(found, np.stack(membranes), atol=2e-6)


@pytest.mark.parametrize("semantics", ["hxtorch", "jaxsnn"])
def test_files_we_write_need_no_choice(tmp_path: Path, semantics: str) -> None:
    path, _, x = nir_model(tmp_path, cubalif())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        graph = snnir.load(path, semantics=semantics)
    again = tmp_path / "again.nir"
    snnir.save(graph, again)
    assert snnir.load(again) == graph
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        chosen = snnir.load(again, semantics=semantics)
    assert chosen.nodes == graph.nodes
    assert chosen.dt == graph.dt
    discrete = snnir.compile(graph).graph
    snnir.save(discrete, tmp_path / "d.nir")
    assert snnir.load(tmp_path / "d.nir") == discrete
    np.testing.assert_array_equal(
        snnir.compile(graph).run(x).output, snnir.compile(discrete).run(x).output
    )


@pytest.mark.parametrize(("unit", "seconds"), [("ms", 1e-3), ("s", 1.0), ("0.002", 2e-3)])
def test_units_of_time_by_name(tmp_path: Path, unit: str, seconds: float) -> None:
    path, _, _ = nir_model(tmp_path, cubalif())
    made, reading = tmp_path / "made.snnir", ("--semantics", "hxtorch", "--dt", "1e-6")
    done = cli("convert", path, *reading, "--time-unit", unit, "--to", "snnir", "-o", made)
    assert done.returncode == 0, done.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", snnir.SnnirWarning)
        expected = snnir.load(path, semantics="hxtorch", dt=1e-6, time_unit=seconds)
    assert snnir.load(made) == expected
    neuron = expected.nodes["1"].op
    assert isinstance(neuron, Neuron)
    assert neuron.params["tau_mem"].numpy()[0] == 6e-3 * seconds


def test_unknown_units_of_time_are_refused(tmp_path: Path) -> None:
    path, _, _ = nir_model(tmp_path, cubalif())
    done = cli("inspect", str(path), "--time-unit", "minutes")
    assert done.returncode != 0
    assert "'minutes' is neither s, ms, us nor a positive number" in done.stderr


@pytest.mark.parametrize("changed", [{"form": "difference"}, {"form": "fixed"}])
def test_a_jump_needs_a_form_with_a_factor(changed: dict[str, Any]) -> None:
    with pytest.raises(snnir.SnnirError, match="SNN302"):
        snnir.Stepping(integrator="euler", synapse_jump=True, **changed)
