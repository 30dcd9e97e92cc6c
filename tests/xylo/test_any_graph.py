"""Whatever a graph is, it is compiled and runs, or refused with what does not fit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import snnir
from snnir.ir import Add, Delay, Graph, Step
from tests.helpers import graph, lif_step, params
from tests.strategies import graphs, lif_steps, odd_graphs
from tests.targets import compiled_or_refused, ones
from tests.xylo import plain
from tests.xylo.nets import Nodes, linear
from tests.xylo.nets import given as input_of


def configured_or_refused(g: Graph) -> bool:
    made = compiled_or_refused(g, "xylo")
    if made is None:
        return False
    made.run(ones(g, 4, 2), [span.name for span in made.network.populations])
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
def legal_graphs(draw: st.DrawFn) -> Graph:
    """A recurrent hidden layer of any member of the LIF family, and a readout of another."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    channels, hidden, outputs = (draw(st.integers(1, n)) for n in (5, 6, 4))
    recurs = draw(st.booleans())
    nodes: Nodes = {
        "input": input_of(channels),
        "fc1": (
            linear(rng.normal(1, 2, (hidden, channels)), rng.normal(0, 0.1, hidden)),
            ["input"],
        ),
        "late": (Delay(1), ["hidden"]),
        "rec": (linear(rng.normal(0, 0.5, (hidden, hidden))), ["late"]),
        "sum": (Add(), ["fc1", "rec"]),
        "hidden": (draw(members(fires=True)), ["sum" if recurs else "fc1"]),
        "fc2": (linear(rng.normal(0.5, 1, (outputs, hidden))), ["hidden"]),
        "readout": (draw(members()), ["fc2"]),
    }
    if not recurs:
        for name in ("late", "rec", "sum"):
            del nodes[name]
    return graph(nodes, "readout", dt=1e-3).verify()


@st.composite
def members(draw: st.DrawFn, fires: bool = False) -> Step:
    """A member of the family whose parameters are those of a neuron that leaks and fires."""
    step = draw(lif_steps(ports=1))
    assert isinstance(step.dynamics, snnir.LifStep)
    if fires and (step.dynamics.fire == "never" or step.dynamics.reset == "none"):
        step = lif_step(**{**step.dynamics.attributes(), "fire": "gt", "reset": "zero"})
    unit = 4096.0 if getattr(step.dynamics, "fixed", False) else 1.0
    low, high = st.floats(0.01, 0.3), st.floats(0.5, 0.99)
    known = {
        "beta": draw(high) * unit, "alpha": draw(high) * unit, "k_mem": draw(low),
        "k_syn": draw(low), "tau": draw(st.floats(1.5, 50)), "threshold": draw(high) * unit,
    }  # fmt: skip
    others = {name: draw(low) for name, _ in step.program.params if name not in known}
    chosen = {name: np.float64({**known, **others}[name]) for name, _ in step.program.params}
    return Step(step.dynamics, params(**chosen), "lif")


@given(legal_graphs(), st.integers(0, 2**32))
def test_the_emulator_is_a_plain_reading_of_the_configuration(g: Graph, seed: int) -> None:
    if not configured_or_refused(g):
        return
    made: Any = snnir.compile(g, "xylo")
    channels = g.inputs["input"].size
    events = (np.random.default_rng(seed).random((15, 1, channels)) < 0.4).astype(int)
    config = json.loads(made.files["config.json"])
    wanted = plain.run(config, events[:, 0].tolist())
    core = made.network.core
    found = core.run(events, core.start(1), list(wanted))
    for name, values in wanted.items():
        np.testing.assert_array_equal(found[name][:, 0], np.array(values), name)
