"""Bounds hold for everything that random networks do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import snnir
from snnir.bounds import value_bounds
from snnir.dynamics.intervals import Interval, invariant
from snnir.ir import Graph, Step, Value
from tests.helpers import lif_step, spikes
from tests.passes.nets import nets
from tests.strategies import lif_steps


@settings(max_examples=100)
@given(graph=nets(), rate=st.sampled_from([0.1, 0.5, 1.0]))
def test_no_value_leaves_its_bounds(graph: Graph, rate: float) -> None:
    bounds = value_bounds(graph)
    record = [name for name in graph.nodes if name not in graph.inputs]
    x = {n: spikes((12, 2, *s.shape), rate) for n, s in graph.inputs.items()}
    made = snnir.compile(graph, level=0, precision="float32").run(x, record)
    for name, trace in made.recorded.items():
        bound = bounds[Value(name)]
        assert bool((trace >= bound.low).all()), name
        assert bool((trace <= bound.high).all()), name


@settings(max_examples=150)
@given(step=lif_steps(1), size=st.sampled_from([0.01, 0.3, 2.0]), sign=st.sampled_from([-1, 1]))
def test_states_stay_in_their_invariant(step: Step, size: float, sign: int) -> None:
    known = {n: Interval.of(p.numpy()) for n, p in step.params.items()}
    low, high = sorted((0.0, size * sign))
    bounds = invariant(step.program, {**known, "x": Interval.of(low, high)})
    x = (spikes((60, 8, 1), 0.7) * np.float32(size * sign)).astype(np.float32)
    nodes: dict[str, Any] = {
        "input": snnir.Node("input", snnir.ir.Input(snnir.ir.Signal(snnir.Kind.ANALOG, (1,)))),
        "lif": snnir.Node("lif", step, (Value("input"),)),
    }
    states = [state.name for state in step.program.states]
    graph = Graph(nodes, {"y": Value("lif")}, 1e-3)
    made = snnir.compile(graph, level=0, precision="float32").run(x, [f"lif:{s}" for s in states])
    for state in states:
        trace = made.recorded[f"lif:{state}"]
        assert bool((trace >= bounds[state].low).all() and (trace <= bounds[state].high).all()), (
            state
        )


def test_a_leaky_membrane_is_bounded_closely() -> None:
    step = lif_step(reset="zero")
    known = {n: Interval.of(p.numpy()) for n, p in step.params.items()}
    bound = invariant(step.program, {**known, "x": Interval.of(-0.05, 0.1)})
    assert bound["spike"].high == 0.0
    assert float(bound["v"].high) == pytest.approx(0.8, rel=1e-3)
    assert float(bound["v"].low) == pytest.approx(-0.4, rel=1e-3)
    fires = invariant(step.program, {**known, "x": Interval.of(0.0, 0.13)})
    assert fires["spike"].high == 1.0


def test_comparisons_are_sure_only_if_all_values_agree() -> None:
    from snnir.dynamics.intervals import step_bounds
    from snnir.dynamics.program import Dynamics, Let

    for op in ("gt", "ge", "lt", "le", "eq"):
        program = Dynamics("p", ("x", "y"), (), (), (Let("z", op, ("x", "y")),), (), ())
        for low, high, other_low, other_high in [
            (0, 1, 2, 3),
            (0, 2, 1, 3),
            (0, 5, 1, 2),
            (2, 3, 0, 1),
            (1, 1, 1, 1),
        ]:
            known = {"x": Interval.of(low, high), "y": Interval.of(other_low, other_high)}
            found = step_bounds(program, known)["z"]
            pairs = [(x, y) for x in range(low, high + 1) for y in range(other_low, other_high + 1)]
            truths = {
                bool(
                    getattr(
                        np,
                        {
                            "gt": "greater",
                            "ge": "greater_equal",
                            "lt": "less",
                            "le": "less_equal",
                            "eq": "equal",
                        }[op],
                    )(x, y)
                )
                for x, y in pairs
            }
            assert float(found.high) == float(True in truths), op
            assert float(found.low) == float(False not in truths), op
