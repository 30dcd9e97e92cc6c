"""Graphs that the tests of the dialect share."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import snnir
from snnir import matrix
from snnir.ir import Add, Concat, Current, Delay, FrozenDict, Input, Linear, Op, Signal, Step
from snnir.ir.op import OPS, Operands, Results, register_op
from snnir.ir.origins import Origins
from tests.helpers import (
    CORPUS,
    continuous,
    dyadic,
    feed_forward,
    graph,
    lif_step,
    params,
    quiet_load,
    recurrent,
)
from tests.strategies import custom, graphs

MATRIX = {**matrix.EXAMPLES, **matrix._neurons()}
CORPUS_FILES = sorted(CORPUS.glob("*.nir")) if CORPUS.is_dir() else []


def several_ports() -> snnir.Graph:
    """Ops with one, three and nine operands of different types, and steps with two results."""
    analog = Signal(snnir.Kind.ANALOG, (2,))
    nodes: dict[str, Any] = {
        "a": (Input(analog), []),
        "b": (Input(Signal(snnir.Kind.ANALOG, (5,))), []),
        "one": (Add(), ["a"]),
        "three": (Concat(0), ["one", "b", "a"]),
        "nine": (Concat(0), ["a", "b"] * 4 + ["a"]),
        "seen": (lif_step(inputs=2, exposes_v=True), ["three", "three"]),
        "own": (custom(), ["nine"]),
    }
    built = graph(nodes, "own", dt=1e-3)
    return snnir.Graph(built.nodes, {"s": snnir.Value("seen"), "v": snnir.Value("seen", 1)}, 1e-3)


def odd_numbers() -> snnir.Graph:
    """Numbers and names that texts lose easily."""
    f32 = np.array([0.1, -0.0, np.inf, -np.inf, 1e-45, 3.4028235e38, 16777217.0], np.float32)
    f16 = np.array([0.1, -0.0, np.inf, -np.inf, 6e-8, 65504, 2049], np.float16)
    whole = np.array([-(2**63), 2**63 - 1, 0, -1, 5, 6, 7, 8, 9], np.int64)
    nodes: dict[str, Any] = {
        "%x": (Input(Signal(snnir.Kind.ANALOG, (7,))), []),
        'a"b\\c\n\0': (snnir.ir.Bias(snnir.Tensor(f32)), ["%x"]),
        "ü 1": (snnir.ir.Scale(snnir.Tensor(f16)), ['a"b\\c\n\0']),
        " ": (snnir.ir.Bias(snnir.Tensor(np.array(0.1, np.float64))), ["ü 1"]),
        "\ud800": (snnir.ir.Scale(snnir.Tensor(np.arange(7, dtype=np.uint8))), [" "]),
        "w": (Linear(snnir.Tensor(np.tile(whole[:7], (9, 1)))), ["\ud800"]),
        "w.": (snnir.ir.Bias(snnir.Tensor(whole)), ["w"]),
        "bits": (Linear(snnir.Tensor(np.eye(9) > 0), snnir.tensor(np.ones(9) < 0)), ["w."]),
    }
    built = graph(nodes, "bits", dt=5e-324, name="module {")
    more = snnir.ir.FrozenDict[str | int | float | bool](
        {"": "", "big": -(2**70), "nan": float("inf"), "\x7f": True, "one": 1, "ratio": 1.0}
    )
    editor = built.edit()
    editor.put(snnir.Node("%x", built["%x"].op, (), more))
    origin = snnir.ir.Provenance("a\nb", "ab", ("ü", '"'))
    return editor.graph(record_offset=3, provenance=origin)


def programs() -> snnir.Graph:
    """A program of integers, one of truth values, and two that differ by the sign of a zero."""
    from snnir.dynamics.program import Dynamics, Let, State

    analog = (("s", snnir.Kind.ANALOG),)
    whole = Dynamics(
        "whole", ("x",), (("k", "1"),), (State("v", "k"),),
        (Let("s", "shr", ("x", 3.0)), Let("t", "floordiv", ("s", 7.0))),
        (("v", "t"),), analog, "i32",
    )  # fmt: skip
    logic = Dynamics(
        "", ("x",), (), (State("v", -0.0),),
        (
            Let("a", "gt", ("x", 0.1)), Let("b", "le", ("x", "v")), Let("c", "and", ("a", "b")),
            Let("d", "not", ("c",)), Let("s", "select", ("d", "x", -0.0)), Let("e", "cast", ("d",)),
        ),
        (("v", float("inf")),), (("s", snnir.Kind.ANALOG), ("e", snnir.Kind.SPIKES)), "f64",
    )  # fmt: skip
    signs = [
        Dynamics("m-1", ("x",), (), (), (Let("s", "add", ("x", zero)),), (), analog)
        for zero in (0.0, -0.0)
    ]
    none = params()
    nodes: dict[str, Any] = {
        "x": (Input(Signal(snnir.Kind.ANALOG, (2,))), []),
        "whole": (Step(whole, params(k=1.0), unit=snnir.tensor(0.5), bits=8), ["x"]),
        "logic": (Step(logic, none), ["whole"]),
        "plus": (Step(signs[0], none), ["logic"]),
        "minus": (Step(signs[1], none), ["plus"]),
        "again": (Step(signs[0], none), ["minus"]),
    }
    return graph(nodes, "again", dt=1e-3)


def shared_weight() -> snnir.Graph:
    """A weight that two nodes have."""
    weight = snnir.Tensor(dyadic((3, 3)))
    nodes: dict[str, Any] = {
        "x": (Input(Signal(snnir.Kind.SPIKES, (3,))), []),
        "a": (Linear(weight), ["x"]),
        "late": (Delay(1), ["a"]),
        "b": (Linear(weight), ["late"]),
        "o": (Current(), ["b"]),
    }
    return graph(nodes, "o", dt=1e-3)


@contextmanager
def own_op() -> Iterator[snnir.Graph]:
    """A graph with an op as a plug-in registers it; it has a field of every type."""

    @register_op
    @dataclass(frozen=True)
    class Own(Op):
        """y = x."""

        name: ClassVar[str] = "own_3"
        kind: snnir.Kind
        pair: tuple[tuple[int, float], ...] = ()
        table: FrozenDict[snnir.Tensor] = FrozenDict({})  # noqa: RUF009
        text: str | None = None
        flag: bool = False
        rule: snnir.Stepping | None = None

        def infer(self, operands: Operands) -> Results:
            return tuple(operands)

    values = FrozenDict({"b": snnir.tensor(np.ones((3, 4))), "a": snnir.tensor(0.1)})
    own = Own(
        snnir.Kind.COUNTS, ((1, 0.1), (2, -0.0)), values, 'a"', True, snnir.Stepping(fire="ge")
    )
    nodes: dict[str, Any] = {"x": (Input(Signal(snnir.Kind.SPIKES, (2,))), []), "own": (own, ["x"])}
    try:
        yield graph(nodes, "own", dt=1e-3)
    finally:
        del OPS["own_3"]


NAMED: dict[str, Callable[[], snnir.Graph]] = {
    "feed_forward": feed_forward, "recurrent": recurrent, "several_ports": several_ports,
    "odd_numbers": odd_numbers, "programs": programs, "shared_weight": shared_weight,
    "quantised": lambda: recurrent().apply("quantize{bits=5}"),
    "sparse": lambda: recurrent().apply("sparsify"),
    "continuous": lambda: continuous(tau=0.01, r=1, v_leak=0, v_threshold=1),
}  # fmt: skip


def of_matrix() -> list[snnir.Graph]:
    """Return a graph for every op and neuron of the support matrix."""
    return [matrix.graph_for(op, shape, "numpy") for op, shape in MATRIX.values()]


def of_corpus() -> list[snnir.Graph]:
    """Return the published models that can be read, continuous and stepped."""
    if not CORPUS_FILES:
        pytest.skip("the corpus of published models is not beside the checkout")
    read = [quiet_load(p, repair=True) for p in CORPUS_FILES if p.name != "scnn_no_edges.nir"]
    return [*read, *(graph.apply("discretize") for graph in read)]


@lru_cache
def random_graphs(count: int = 200) -> list[snnir.Graph]:
    """Return the same random graphs in every run."""
    found: list[snnir.Graph] = []

    @settings(
        max_examples=count, deadline=None, derandomize=True, database=None,
        phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.one_of(graphs(), graphs(discrete=False)))
    def collect(graph: snnir.Graph) -> None:
        found.append(graph)

    collect()
    return found


def tool(name: str) -> str:
    """Return the path of a program that MLIR's wheels bring; skip where it is missing."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=str(beside)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def same(found: snnir.Graph, wanted: snnir.Graph) -> bool:
    """Whether two graphs are equal, in text too; MLIR does not carry the origins of semantics."""
    return found == wanted and without_origins(found) == without_origins(wanted)


def without_origins(graph: snnir.Graph) -> str:
    """Return the text form without the origins of semantics."""
    bare = replace(graph.provenance, origins=Origins())
    return str(replace(graph, provenance=bare))
