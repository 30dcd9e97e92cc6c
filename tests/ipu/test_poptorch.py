"""PopTorch scripts against the NumPy reference, run with the stand-in for PopTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnir
from snnir.dynamics.program import Dynamics
from snnir.ir import (
    Add,
    Concat,
    Current,
    Delay,
    FrozenDict,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Op,
    Scale,
    Signal,
    Step,
    Value,
)  # fmt: skip
from snnir.streams import Kind
from snnir.targets.ipu.poptorch.fit import unsupported
from snnir.targets.ipu.poptorch.script import ScriptOptions
from snnir.targets.numpy_sim.build import build_model
from snnir.targets.numpy_sim.runtime import simulate
from tests.helpers import feed_forward, graph, lif_step, params, recurrent, spikes
from tests.ipu.scripts import check, reference, run
from tests.strategies import adaptive, graphs, lif_steps
from tests.targets import OPS, alone, inputs, neuron_graph, scalar_steps, t, tangled

pytest.importorskip("torch")


@pytest.mark.parametrize("name", OPS)
def test_ops(name: str) -> None:
    op, shapes = OPS[name]
    built = alone(op, *shapes)
    assert unsupported(built) == []
    check(built, inputs(built))


@settings(max_examples=15)
@given(steps=st.lists(lif_steps(), min_size=4, max_size=4))
def test_the_lif_family(steps: list[Step]) -> None:
    steps = [step for step in steps if step.program.dtype == "f32"]
    if steps:
        built = neuron_graph(steps, (2, 3))
        assert unsupported(built) == []
        check(built, inputs(built, 20))


def test_every_scalar_op() -> None:
    """Each operation on its own, on zeros of both signs, infinities and small numbers too."""
    steps, x, y = scalar_steps()
    built = neuron_graph(list(steps.values()), (x.size,))
    with np.errstate(all="ignore"):
        want = simulate(build_model(built, "float32"), {"x": x, "y": y})[0]
    got = run(built, {"x": x, "y": y})
    for index, name in enumerate(steps):
        a, b = want[f"o{index}"], got[f"o{index}"]
        if name in ("exp", "log", "tanh", "pow", "sqrt"):
            np.testing.assert_allclose(b, a, rtol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(b, a, name)


@pytest.mark.parametrize("delay", [1, 2, 3])
def test_recurrence(delay: int) -> None:
    check(recurrent(delay), {"input": spikes((30, 3, 3))})


@pytest.mark.parametrize("steps", [1, 25])
@pytest.mark.parametrize("ipus", [1, 3])
def test_tangled_recurrences(steps: int, ipus: int) -> None:
    built = tangled()
    check(built, inputs(built, steps, 3), ScriptOptions(ipus=ipus))


@settings(max_examples=30)
@given(built=graphs(), seed=st.integers(0, 99), ipus=st.integers(1, 3))
def test_any_graph_runs_equal_or_is_refused(built: Graph, seed: int, ipus: int) -> None:
    problems = unsupported(built)
    if problems:
        assert all(problem.code == "SNN501" and problem.hint for problem in problems)
    else:
        check(built, inputs(built, 9, 2, seed), ScriptOptions(ipus=ipus))
