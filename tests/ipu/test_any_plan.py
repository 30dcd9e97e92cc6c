"""Any plan that keeps the rules, of any network, gives the spikes of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from snnir.c_build import NoCompiler, cpp_compiler
from snnir.ir import Graph, Input, Linear, Node, Signal, Value
from snnir.streams import Kind
from snnir.targets.ipu.forms import forms_of, stream_of
from snnir.targets.ipu.memory import BITS, LISTS
from snnir.targets.ipu.plan import Placement, Plan
from snnir.targets.ipu.structure import Structure
from tests.helpers import graph, lif_step
from tests.ipu.any_plan import AnyPlan, random_graph
from tests.ipu.nets import convolutional, every_op, recurrence
from tests.ipu.test_target import compare
from tests.targets import inputs, t

try:
    cpp_compiler()
except NoCompiler:
    pytest.skip("there is no C++ compiler", allow_module_level=True)

PARTITION = "snnir.targets.ipu.target.partition"
OPTIONS: tuple[dict[str, Any], ...] = (
    {"batch": 2}, {"batch": 3, "keep": True}, {"ipus": 2, "replicas": 2}, {"ipus": 2},
)  # fmt: skip


@pytest.mark.parametrize(("per", "events"), [(8, LISTS), (4, BITS)], ids=["lists", "bits"])
def test_parts_on_many_tiles(per: int, events: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks that the partitioner would leave whole, in parts."""
    built = [convolutional(), recurrence(70), recurrence(70, 0.3), every_op()]
    monkeypatch.setattr(PARTITION, cut_to(per, events))
    whole = side_by_side(built)
    compare(whole, inputs(whole, 12), keep=False, batch=2)


def side_by_side(graphs: Sequence[Graph]) -> Graph:
    """Return several networks in one graph."""
    nodes, outputs = {}, {}
    for number, one in enumerate(graphs):
        for node in one.nodes.values():
            operands = tuple(Value(f"{number} {v.node}", v.result) for v in node.operands)
            nodes[f"{number} {node.name}"] = Node(f"{number} {node.name}", node.op, operands)
        for name, value in one.outputs.items():
            outputs[f"{number} {name}"] = Value(f"{number} {value.node}", value.result)
    return Graph(nodes, outputs, 1e-3)


@settings(max_examples=2, suppress_health_check=list(HealthCheck), deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(OPTIONS))
def test_any_plan(seed: int, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(seed)
    built = random_graph(rng, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PARTITION, AnyPlan(rng))
        compare(built, inputs(built, 7, 3, seed), **{"keep": False, **options})


def cut_to(per: int, events: str = BITS) -> Any:
    """Return a partitioner that makes parts of so many elements, one on each tile."""

    def plan(structure: Structure, machine: Any, wishes: Any) -> tuple[Plan, list[Any]]:
        """Return the plan; spikes travel in one form where they can."""
        streams, places = {}, []
        for names in structure.groups:
            values = [value for name in names for value in structure.stages[name].results]
            for value in values:
                form = forms_of(structure, value, events)[0]
                streams[value] = stream_of(structure, value, form, per, wishes.batch)
            parts = streams[values[0]].cut.parts
            places.append(Placement(tuple(names), per, 1, tuple(range(parts))))
        return Plan(structure, machine, streams, tuple(places), wishes.batch), []

    return plan


def test_a_last_part_of_fewer_words(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes: Any = {
        "x": (Input(Signal(Kind.SPIKES, (5,))), []),
        "fc": (Linear(t(70, 5)), ["x"]),
        "a": (lif_step(), ["fc"]),
        "out": (Linear(t(4, 70)), ["a"]),
        "b": (lif_step(), ["out"]),
    }
    built = graph(nodes, "b", dt=1e-3)
    monkeypatch.setattr(PARTITION, cut_to(64))
    compare(built, inputs(built), keep=False, batch=2)
