"""The adjoint against finite differences, and the engine against the slow simulator."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from snnir.targets.events.adjoint import gradients
from snnir.targets.events.adjoint_plan import Plan, Sample, Stimulus
from snnir.targets.events.forward import Forward
from snnir.targets.events.network import EventNetwork, EventRecord
from tests.events.oracle import Oracle
from tests.events.random_networks import Kind, changed, network, stimulus

Array = npt.NDArray[Any]
UNTIL = 0.035

KINDS = {
    "equal taus": Kind(ratio=1),
    "ratio 2": Kind(ratio=2),
    "layers": Kind(layers=(4, 3, 3)),
    "layers with delays": Kind(layers=(4, 3), delays=True),
    "recurrent": Kind(recurrent=True, layers=(4, 3)),
    "recurrent with delays": Kind(recurrent=True, delays=True, bias=0.3),
    "refractory": Kind(recurrent=True, refractory=3e-3, bias=0.3, layers=(4, 3)),
    "subtracting": Kind(ratio=2, reset="subtract", recurrent=True),
    "no reset": Kind(reset="none", layers=(4, 3)),
    "no leak": Kind(ratio=1.7, leaky=False),
    "pulses": Kind(ratio=0, pulse=1e-3, delays=True, recurrent=True),
    "pulses into synapses": Kind(ratio=1, pulse=1e-3, refractory=2.5e-3, delays=True, layers=(4, 3)),
    "pulses, refractory": Kind(ratio=0, pulse=2e-3, refractory=3e-3, bias=0.3, delays=True),
    "kicks": Kind(ratio=0, layers=(4, 3), delays=True, bias=0.8),
    "kicks that subtract": Kind(ratio=0, reset="subtract", layers=(4, 3), recurrent=True),
    "kicks, refractory": Kind(ratio=0, refractory=2e-3, layers=(4, 3), recurrent=True, bias=0.6),
    "currents": Kind(current=True, refractory=2e-3),
    "currents without synapse": Kind(ratio=0, current=True, bias=0.8, refractory=2e-3),
}  # fmt: skip


def times_of(record: EventRecord, like: EventRecord) -> Array:
    """Return times in the order in which the neurons' spikes are in another record."""
    assert sorted(record.unit.tolist()) == sorted(like.unit.tolist())
    own, other = (np.argsort(r.unit, kind="stable") for r in (record, like))
    times = np.empty(len(like.time))
    times[other] = record.time[own]
    return times


def run_of(net: EventNetwork, given: Stimulus) -> EventRecord:
    """Return what the engine does."""
    return Forward(net, UNTIL, 10**6).run(net.synapses.weight, [given], threads=1)[0]


def difference(
    net: EventNetwork, given: Stimulus, record: EventRecord, loss: Array, part: str, at: int
) -> float:
    """Return a central difference of the loss, of fourth order."""
    size = {"weight": 2e-5, "delay": 2e-7, "input": 2e-7, "current": 2e-5}[part]
    found = []
    for step in (-2, -1, 1, 2):
        moved, shifted = net, given
        if part in ("weight", "delay"):
            values = getattr(net.synapses, part).copy()
            values[at] += step * size
            moved = changed(net, **{part: values})
        else:
            name = "time" if part == "input" else "amount"
            values = getattr(given, name).copy()
            values[at] += step * size
            shifted = replace(given, **{name: values})
        run = run_of(moved, shifted)
        found.append(float(loss @ times_of(run, record)))
    return (found[0] - 8 * found[1] + 8 * found[2] - found[3]) / (12 * size)


@pytest.mark.parametrize("name", KINDS)
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    rng = np.random.default_rng(5)
    net = network(KINDS[name], seed=3)
    given = stimulus(net, seed=3)
    record = run_of(net, given)
    slow = Oracle(net, UNTIL).run(given)
    np.testing.assert_allclose(times_of(slow, record), record.time, atol=1e-13)
    assert len(set(record.unit.tolist())) >= len(net.neurons.leak) // 3
    loss = rng.normal(size=len(record.time))
    found = gradients(Plan.of(net), [Sample(given, record, loss)])
    is_current = Plan.of(net).is_current[given.unit]
    checks = [("weight", i, found.weight[i]) for i in rng.permutation(len(found.weight))[:12]]
    late = np.flatnonzero(net.synapses.delay > 0)
    checks += [("delay", i, found.delay[i]) for i in rng.permutation(late)[:6]]
    events = np.flatnonzero(~is_current)
    checks += [("input", i, found.inputs[0][i]) for i in rng.permutation(events)[:6]]
    levels = np.flatnonzero(is_current)
    checks += [("current", i, found.inputs[0][i]) for i in rng.permutation(levels)[:6]]
    largest = {p: max(1e-4, *(abs(g) for q, _, g in checks if q == p)) for p, _, _ in checks}
    for part, at, gradient in checks:
        expected = difference(net, given, record, loss, part, int(at))
        assert abs(gradient - expected) <= 1e-6 * largest[part], (part, at, gradient, expected)
    assert max(abs(gradient) for _, _, gradient in checks) > 1e-4
