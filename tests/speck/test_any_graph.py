"""Whatever a graph is, it is configured and runs, or refused with what does not fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import snnir
from snnir.ir import Graph, Step
from tests.helpers import params
from tests.speck.test_layers import PlainGraph, conv, one_layer
from tests.strategies import graphs, lif_steps, odd_graphs
from tests.targets import compiled_or_refused, ones


def configured_or_refused(g: Graph) -> bool:
    made = compiled_or_refused(g, "speck", slow_clock=1000.0)
    if made is None:
        return False
    names, events = list(made.ports["populations"]), ones(g, 2, 2)
    one, two = (made.run(events, names, form=form) for form in ("config", "memory"))
    assert all(np.array_equal(one.recorded[name], two.recorded[name]) for name in names)
    return True


@given(graphs())
def test_random_graphs(g: Graph) -> None:
    configured_or_refused(g)


@given(odd_graphs())
def test_odd_graphs(g: Graph) -> None:
    try:
        g.verify()
    except snnir.SnnirError:
        return
    configured_or_refused(g)


@st.composite
def integrators(draw: st.DrawFn) -> Step:
    """Any member of the LIF family, of those that a core may be."""
    step = draw(lif_steps(ports=1))
    assert isinstance(step.dynamics, snnir.LifStep)
    attributes: dict[str, Any] = {**step.dynamics.attributes(), "membrane": "integrate"}
    attributes["synapse"] = "none"
    for name in ("synapse_order", "synapse_leak", "refractory", "exposes_v", "leak"):
        attributes.pop(name, None)
    if attributes.get("fire") == "never":
        attributes["fire"] = "ge"
    rules = snnir.LifStep(**attributes)
    known = {
        "threshold": 400.0,
        "v_reset": 16.0,
        "v_min": -300.0,
        "v_start": 24.0,
        "v_subtract": 400.0,
    }
    values = {
        name: known.get(name, draw(st.sampled_from([0.5, 1.0, 2.0])))
        for name, _ in rules.program.params
    }
    return Step(rules, params(**values), "if")


@given(integrators(), st.integers(0, 100))
def test_attributes_are_kept_refused_or_reported(step: Step, seed: int) -> None:
    """One event a step, and no weight near the threshold: stepped and event by event agree."""
    source = one_layer((2, 5, 5), {"c": (conv((3, 2, 3, 3)), ["input"])}, "c")
    editor = source.edit()
    editor.set_op("if", step)
    g = editor.graph()
    if not configured_or_refused(g):
        return
    (loss,) = snnir.losses(g, "speck").losses
    said = ("at the threshold", "one step later")
    if any(part in loss.what for part in said):
        return
    rng = np.random.default_rng(seed)
    x = np.zeros((150, 1, 2, 5, 5))
    for now in range(len(x)):
        x[(now, 0, *(int(rng.integers(0, n)) for n in (2, 5, 5)))] = 1
    stepped, chip = snnir.compile(g).run(x), snnir.compile(g, "speck").run(x)
    assert np.array_equal(stepped.output, chip.output), loss.what
    assert PlainGraph(g).steps == ["if"]
