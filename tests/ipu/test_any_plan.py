"""Any plan that keeps the rules, of any network, gives the spikes of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import snnir
from snnir.c_build import NoCompiler, cpp_compiler
from snnir.ir import (
    Conv2d,
    Delay,
    FrozenDict,
    Graph,
    Input,
    Linear,
    Node,
    Permute,
    Signal,
    SparseLinear,
    Step,
    SumPool2d,
    Value,
    Winner,
)
from snnir.streams import Kind
from snnir.targets.ipu.forms import forms_of, stream_of
from snnir.targets.ipu.memory import BITS, LISTS
from snnir.targets.ipu.plan import Placement, Plan
from snnir.targets.ipu.structure import GATHERING, Structure
from tests.helpers import graph, lif_step, spikes
from tests.ipu.any_plan import AnyPlan, random_graph
from tests.ipu.nets import convolutional, recurrence
from tests.ipu.test_target import compare
from tests.strategies import adaptive
from tests.targets import OPS, inputs, t

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
    built = [convolutional(), recurrence(70), recurrence(70, 0.3), spiking_ops()]
    monkeypatch.setattr(PARTITION, cut_to(per, events))
    whole = side_by_side(built)
    compare(whole, inputs(whole, 12), keep=False, batch=2)


def test_tables_at_the_ends_of_their_types(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of 65,536 entries, of more than 256 elements, and places beyond 32,768 and 65,536."""
    wide = np.zeros((4, 70_000), np.float32)
    wide[np.arange(40) % 4, np.arange(40) * 1794] = 0.25
    last = Value("moved")
    nodes = {
        "long": Node("long", Input(Signal(Kind.ANALOG, (2, 20_000)))),
        "moved": Node("moved", Permute((1, 0)), (Value("long"),)),
    }
    for name, matrix in (
        ("many", t(256, 256).numpy() + np.float32(1)),
        ("tall", t(300, 256).numpy() + np.float32(1)),
        ("wide", wide),
    ):
        given = Signal(Kind.SPIKES, matrix.shape[1:])
        nodes[f"x {name}"] = Node(f"x {name}", Input(given))
        nodes[name] = Node(name, SparseLinear.of(matrix), (Value(f"x {name}"),))
    built = Graph(nodes, {v.node: v for v in (last, *map(Value, ("many", "tall", "wide")))}, 1e-3)
    for events in (LISTS, BITS):
        monkeypatch.setattr(PARTITION, cut_to(512, events))
        compare(built, inputs(built, 8, 3), keep=False)


def test_states_that_begin_with_values_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"beta": snnir.tensor(0.5), "theta": t(4)}
    nodes: Any = {
        "x": (Input(Signal(Kind.ANALOG, (4,))), []),
        "a": (Step(adaptive, FrozenDict(values)), ["x"]),
    }
    built = graph(nodes, "a", dt=1e-3)
    monkeypatch.setattr(PARTITION, cut_to(4))
    compare(built, inputs(built), batch=3)


def test_rows_beyond_the_last_of_a_block() -> None:
    values = np.array([[1, 2], [0.5, 7]], np.float32)
    columns, starts = np.array([0, 2], np.int32), np.array([0, 1, 2], np.int64)
    given = (snnir.Tensor(values), snnir.Tensor(columns), snnir.Tensor(starts))
    op = SparseLinear(*given, inputs=4, outputs=3)
    nodes: Any = {
        "x": (Input(Signal(Kind.SPIKES, (4,))), []), "op": (op, ["x"]), "a": (lif_step(), ["op"]),
    }  # fmt: skip
    compare(graph(nodes, "a", dt=1e-3), spikes((9, 2, 4)), keep=False)


def spiking_ops() -> Graph:
    """Return what reads other elements than its own, each between spikes and an output."""
    more = {
        "pool, uneven": (SumPool2d((2, 2), (2, 1), ((1, 0), (0, 1))), ((4, 6, 7),)),
        "conv, far": (
            Conv2d(t(6, 2, 2, 3), stride=(2, 3), groups=2, padding=((1, 0), (0, 2))), ((4, 6, 7),),
        ),
    }  # fmt: skip
    nodes: dict[str, Node] = {}
    outputs = {}
    for name, (op, shapes) in {**OPS, **more}.items():
        if isinstance(op, (*GATHERING, Winner, Delay)):
            for index, shape in enumerate(shapes):
                given = f"{name} {index}"
                nodes[given] = Node(given, Input(Signal(Kind.SPIKES, shape)))
            operands = tuple(Value(f"{name} {index}") for index in range(len(shapes)))
            nodes[name] = Node(name, op, operands)
            outputs[name] = Value(name)
    return Graph(nodes, outputs, 1e-3)


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
        streams, places, begin = {}, [], 0
        for names in structure.groups:
            values = [value for name in names for value in structure.stages[name].results]
            for value in values:
                form = forms_of(structure, value, events)[0]
                streams[value] = stream_of(structure, value, form, per, wishes.batch)
            parts = streams[values[0]].cut.parts
            tiles = tuple((begin + part) % machine.all_tiles for part in range(parts))
            places.append(Placement(tuple(names), per, 1, tiles))
            begin += parts
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
