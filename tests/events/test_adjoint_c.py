"""The backward run in C equals that in Python."""

from __future__ import annotations

import numpy as np
import pytest

import snnir
from snnir.c_build import NoCompiler, compiler
from snnir.ir import Delay
from snnir.targets.events import adjoint, adjoint_host
from snnir.targets.events.adjoint_host import gradients_c
from snnir.targets.events.adjoint_plan import Plan, Sample, Stimulus
from snnir.targets.events.build import build_network
from tests.events.nets import graph, linear, neuron, source
from tests.events.random_networks import network, stimulus
from tests.events.test_gradients import KINDS, run_of

try:
    compiler()
except NoCompiler:
    pytest.skip("there is no C compiler", allow_module_level=True)


@pytest.mark.parametrize("name", KINDS)
def test_c_equals_python(name: str) -> None:
    rng = np.random.default_rng(6)
    net = network(KINDS[name], seed=4)
    samples = []
    for seed in range(3):
        given = stimulus(net, seed=seed, events=5)
        record = run_of(net, given)
        samples.append(Sample(given, record, rng.normal(size=len(record.time))))
    plan = Plan.of(net)
    one = adjoint.gradients(plan, samples, clip=0.5)
    for threads in (1, 2):
        two = gradients_c(plan, samples, 0.5, threads)
        for a, b in [(one.weight, two.weight), (one.delay, two.delay),
                     *zip(one.inputs, two.inputs, strict=True)]:  # fmt: skip
            np.testing.assert_allclose(b, a, rtol=1e-11, atol=1e-11 * np.abs(a).max(initial=1e-9))
    assert np.abs(one.weight).max() > 0 or np.abs(one.inputs[0]).max() > 0


def test_times_of_one_step_meet_as_in_the_engines() -> None:
    """Inputs at 6 dt and 9 dt, 2 dt late: the second comes as 3 steps of refractory time end."""
    stepping = snnir.Stepping(input_gain="unit", refractory=3)
    nodes = {
        "x": source(), "late": (Delay(2), ["x"]), "w": (linear([[3.0]]), ["late"]),
        "n": (neuron("lif", stepping), ["w"]),
    }  # fmt: skip
    net = build_network(graph(nodes, "n"))
    time = np.array([6, 9]) * 1e-3
    given = Stimulus(time, np.zeros(2, np.int64), np.ones(2))
    record = run_of(net, given)
    assert record.time.tolist() == [8e-3, 11e-3]
    plan, samples = Plan.of(net), [Sample(given, record, np.array([2.0, 5.0]))]
    for found in (adjoint.gradients(plan, samples), gradients_c(plan, samples, np.inf, 1)):
        assert found.inputs[0].tolist() == [2.0, 5.0]
        assert found.delay.tolist() == [7.0]


def test_no_samples() -> None:
    plan = Plan.of(network(KINDS["layers"]))
    found = gradients_c(plan, [], np.inf, 2)
    assert not found.weight.any()
    assert not found.inputs


def test_python_where_there_is_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise NoCompiler("there is none")

    net = network(KINDS["layers"], seed=4)
    given = stimulus(net, seed=1, events=5)
    record = run_of(net, given)
    samples = [Sample(given, record, np.ones(len(record.time)))]
    plan = Plan.of(net)
    compiled = adjoint_host.gradients(plan, samples)
    monkeypatch.setattr(adjoint_host, "_code", none)
    plain = adjoint_host.gradients(plan, samples)
    np.testing.assert_array_equal(plain.weight, adjoint.gradients(plan, samples).weight)
    np.testing.assert_allclose(compiled.weight, plain.weight, rtol=1e-10)
