"""Euler mode against the step of `hxtorch.spiking` (mock), written in torch in its own variables."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from snnir.targets.bss2.emulation.conditions import Conditions
from snnir.targets.bss2.emulation.config_reader import config_of
from snnir.targets.bss2.emulation.emulator import Model
from snnir.targets.bss2.emulation.euler import euler_run
from snnir.targets.bss2.emulation.schedule import events_of_counts
from tests.bss2.hand import Layer, Net, folder

torch = pytest.importorskip("torch")


def vendor_lif(x: Any, layer: Layer, net: Net, dt: float) -> tuple[Any, Any]:
    """Return spikes and membranes [T, B, n] of weighted events x.

    Variables and order as in the vendor's simulation: one step's increment of v from the old
    current, then current, threshold, reset, refractory counter.
    """
    tau_mem, tau_syn = (
        torch.tensor(layer.of(name), dtype=x.dtype) for name in ("tau_mem", "tau_exc")
    )
    leak, reset, th = (
        torch.tensor(layer.of(name), dtype=x.dtype) for name in ("leak", "reset", "threshold")
    )
    c = torch.tensor(layer.of("capacitance"), dtype=x.dtype) / (63 * net.gain)
    g_l = c / tau_mem
    v, i = torch.zeros_like(x[0]) + leak, torch.zeros_like(x[0])
    ref_state = torch.zeros_like(x[0])
    spikes, membranes = [], []
    for ts in range(len(x)):
        dv = dt / c * (i + g_l * (leak - v))
        i = i * (1 - dt / tau_syn) + x[ts]
        v = v + dv
        z = torch.gt(v - th, 0.0).to(v.dtype) if layer.spiking else torch.zeros_like(v)
        v = (1 - z) * v + z * reset
        if layer.refractory_time:
            ref_mask = (ref_state > 0).to(v.dtype)
            v = (1 - ref_mask) * v + ref_mask * reset
            z = (1 - ref_mask) * z
            ref_state = (1 - z) * torch.relu(ref_state - ref_mask) + z * layer.refractory_time / dt
        spikes.append(z)
        membranes.append(v)
    return torch.stack(spikes), torch.stack(membranes)


def net(refractory: float, tau_inh: float = 4.0) -> Net:
    rng = np.random.default_rng(2)
    hidden = Layer(20, tau_exc=4.0, tau_inh=tau_inh, refractory_time=refractory, capacitance=50)
    out = Layer(3, spiking=False, tau_mem=10.0, tau_exc=7.0, tau_inh=7.0, factor=0.25, offset=-3.0)
    weights = {
        ("x", "h"): rng.integers(-40, 64, (20, 6)),
        ("h", "o"): rng.integers(-63, 64, (3, 20)),
    }
    return Net({"x": 6}, {"h": hidden, "o": out}, weights, step_ticks=125.0)


@pytest.mark.parametrize("refractory", [0.0, 1.0, 2.5, 7.0])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_steps_are_the_vendor_s(refractory: float, kind: Any) -> None:
    own = net(refractory)
    x = np.random.default_rng(0).poisson(0.15, (120, 5, 6))
    spikes, membranes = euler_run(
        config_of(folder(own)), {"x": events_of_counts("x", x, 125.0)}, 120, 5, kind
    )
    w1, w2 = (torch.tensor(w.astype(kind)) for w in own.weights.values())
    hidden, v1 = vendor_lif(torch.tensor(x.astype(kind)) @ w1.T, own.layers["h"], own, 1.0)
    _, v2 = vendor_lif(hidden @ w2.T, own.layers["o"], own, 1.0)
    assert hidden.sum() > 100
    assert (spikes["h"] == hidden.numpy()).all()
    tolerance = 2e-5 if kind is np.float32 else 1e-12
    np.testing.assert_allclose(membranes["h"], v1.numpy(), rtol=tolerance)
    np.testing.assert_allclose(membranes["o"], v2.numpy(), rtol=tolerance)


def test_the_model_runs_in_steps() -> None:
    own = net(1.0)
    x = np.random.default_rng(0).poisson(0.15, (50, 2, 6))
    config = config_of(folder(own))
    outputs, records, sums = Model(config).run({"x": x}, ["h", "h:v"], Conditions("euler"))
    spikes, membranes = euler_run(config, {"x": events_of_counts("x", x, 125.0)}, 50, 2)
    assert (records["h"] == spikes["h"]).all()
    assert (records["h:v"] == membranes["h"]).all()
    np.testing.assert_allclose(outputs["out"], membranes["o"] * 0.25 - 3, rtol=1e-6)
    assert sums == {"h": spikes["h"].sum()}


def test_two_time_constants_and_recurrence() -> None:
    own = net(0.0, tau_inh=2.0)
    own = replace(own, weights={**own.weights, ("h", "h"): -30 * np.eye(20, dtype=int)})
    x = np.random.default_rng(0).poisson(0.3, (60, 1, 6))
    config = config_of(folder(own))
    spikes, membranes = euler_run(config, {"x": events_of_counts("x", x, 125.0)}, 60, 1, np.float64)
    w, layer = own.weights["x", "h"], own.layers["h"]
    v, exc, inh, z = np.full(20, 80.0), np.zeros(20), np.zeros(20), np.zeros(20)
    for t in range(60):
        dv = (80 - v) / 6 + (exc + inh) * own.gain * 63 / 50
        exc = exc * (1 - 1 / 4) + np.maximum(w, 0) @ x[t, 0]
        inh = inh * (1 - 1 / 2) + np.minimum(w, 0) @ x[t, 0] - 30 * z
        v = v + dv
        z = (v > layer.of("threshold")).astype(float)
        v = np.where(z > 0, 70.0, v)
        assert (spikes["h"][t, 0] == z).all()
        np.testing.assert_allclose(membranes["h"][t, 0], v)
    assert spikes["h"].sum() > 20


@pytest.mark.parametrize("step_ticks", [125.0, 96.3, 104.5, 62.7])
def test_events_stay_in_their_steps(step_ticks: float) -> None:
    """Ticks are rounded, down too; what is sent early belongs to the step all the same."""
    layer = Layer(1, spiking=False)
    weights = {("x", "o"): [[1]], ("c", "o"): [[1]]}
    constants = {"c": (0.0, 2 * step_ticks, False)}
    own = Net({"x": 1}, {"o": layer}, weights, constants=constants, step_ticks=step_ticks)
    x = np.random.default_rng(3).integers(0, 3, (50, 2, 1))
    config = config_of(folder(own))
    events = {"x": events_of_counts("x", x, step_ticks)}
    _, membranes = euler_run(config, events, 50, 2, np.float64)
    dt = step_ticks / 125
    v, i = np.full(2, 80.0), np.zeros(2)
    for t in range(50):
        v, i = v + dt * ((80 - v) / 6 + i * 0.2), i * (1 - dt / 6) + x[t, :, 0] + (t % 2 == 0)
        np.testing.assert_allclose(membranes["o"][t, :, 0], v)


def test_constants_come_in_their_steps() -> None:
    layer = Layer(1, spiking=False)
    own = Net({"x": 1}, {"o": layer}, {("c", "o"): [[30]]}, constants={"c": (125.0, 250.0, False)})
    _, membranes = euler_run(config_of(folder(own)), {}, 6, 2, np.float64)
    v, i, expected = 80.0, 0.0, []
    for t in range(6):
        v, i = v + (80 - v) / 6 + i * 0.2, i * (1 - 1 / 6) + 30 * (t % 2)
        expected.append(v)
    np.testing.assert_allclose(membranes["o"][:, 1, 0], expected)
