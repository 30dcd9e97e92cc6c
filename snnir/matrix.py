"""The support matrix: every op and neuron model against every target, asked of the code itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np

from snnir.dynamics import batch_sum, dynamics, maximum, select
from snnir.dynamics.lif import LifStep
from snnir.dynamics.models import MODELS
from snnir.errors import SnnirError
from snnir.ir import (
    Add,
    AvgPool2d,
    BatchNorm,
    Bias,
    Concat,
    Conv1d,
    Conv2d,
    Current,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Op,
    Pad,
    Permute,
    PickMax2d,
    Plastic,
    Reshape,
    Scale,
    Slice,
    SparseLinear,
    Step,
    SumPool2d,
    Uniform,
    Value,
    Winner,
)
from snnir.loss_report import REFUSED
from snnir.pipeline import EXACT
from snnir.presets import preset
from snnir.semantics import Stepping
from snnir.streams import Kind, Signal
from snnir.tensors import FrozenDict, Tensor


def _ones(*shape: int) -> Tensor:
    return Tensor(np.ones(shape, np.float32))


@dynamics(params={"weight": "1", "rate": "1"}, states={}, lasting={"w": "weight"}, outputs=())
def _learns(pre: Any, post: Any, w: Any, weight: Any, rate: Any) -> Any:
    """What fires together grows together."""
    return {"w": maximum(w + rate * batch_sum(pre * post), 0.0)}


@dynamics(params={"threshold": "1", "plus": "1"}, states={"v": 0.0}, lasting={"theta": 0.0})
def _adapts(x: Any, v: Any, theta: Any, threshold: Any, plus: Any) -> Any:
    """A threshold that every spike of any sample raises."""
    h = v + x
    spike = h >= threshold + theta
    raised = theta + plus * batch_sum(select(spike, 1.0, 0.0))
    return {"v": select(spike, 0.0, h), "theta": raised}, spike


_PLASTIC = Plastic(_learns, FrozenDict({"weight": _ones(3, 3), "rate": _ones()}), ("pre", "post"))

#: One instance of every op with the shape it reads; models and steps are added below.
EXAMPLES: Mapping[str, tuple[Op, tuple[int, ...]]] = {
    "linear": (Linear(_ones(2, 3)), (3,)),
    "conv1d": (Conv1d(_ones(2, 2, 3)), (2, 6)),
    "conv2d": (Conv2d(_ones(2, 2, 3, 3)), (2, 6, 6)),
    "sparse_linear": (SparseLinear.of(np.eye(2, 3, dtype=np.float32)), (3,)),
    "scale": (Scale(_ones()), (3,)),
    "bias": (Bias(_ones(3)), (3,)),
    "batch_norm": (BatchNorm(_ones(2), _ones(2)), (2, 4, 4)),
    "sum_pool2d": (SumPool2d((2, 2), (2, 2)), (2, 4, 4)),
    "avg_pool2d": (AvgPool2d((2, 2), (2, 2)), (2, 4, 4)),
    "max_pool2d": (MaxPool2d((2, 2), (2, 2)), (2, 4, 4)),
    "add": (Add(), (3,)),
    "concat": (Concat(0), (3,)),
    "slice": (Slice(0, 0, 2), (3,)),
    "reshape": (Reshape((3, 2)), (2, 3)),
    "flatten": (Flatten(), (2, 3)),
    "permute": (Permute((1, 0)), (2, 3)),
    "pad": (Pad(((1, 0),)), (3,)),
    "winner": (Winner(), (3,)),
    "current": (Current(), (3,)),
    "delay": (Delay(2), (3,)),
    "pick_max2d": (PickMax2d((2, 2), (2, 2)), (2, 4, 4)),
    "plastic": (_PLASTIC, (3,)),
    "uniform": (Uniform(1), (3,)),
}


def _value(name: str) -> Tensor:
    """Return a parameter of populations at the ends: decays halve, all else is 1."""
    return Tensor(np.float32(0.5)) if name in ("alpha", "beta") else _ones()


#: Parameters that are not 1.
_VALUES = {"v_reset": 0.0, "r": 1000.0}


def _neurons() -> dict[str, tuple[Op, tuple[int, ...]]]:
    """Return every continuous model, a member of the LIF family, and a program of one's own."""
    found: dict[str, tuple[Op, tuple[int, ...]]] = {}
    for name, model in MODELS.items():
        params = {
            p: Tensor(np.float32(0.01 if p in model.time_constants else _VALUES.get(p, 1.0)))
            for p in model.params
        }
        stepping = preset("exact").for_model(name)
        found[name] = (Neuron(name, FrozenDict(params), stepping), (3,))
    lif = LifStep()
    params = {name: Tensor(np.float32(1)) for name, _ in lif.program.params}
    found["step (LIF family)"] = (Step(lif, FrozenDict(params)), (3,))
    found["step (any program)"] = (Step(lif.program, FrozenDict(params)), (3,))
    learned = FrozenDict({"threshold": _ones(), "plus": _ones()})
    found["step (lasting states)"] = (Step(_adapts, learned), (3,))
    return found


@dataclass(frozen=True)
class Support:
    """What a target keeps of one op or model.

    Attributes:
        op: Its name.
        level: A level of a loss report; `refused` where the target has no form for it.
        why: What was replaced or is missing, in the words of the report; empty if it is exact.
    """

    op: str
    level: str
    why: str = ""


def support_matrix() -> list[dict[str, Any]]:
    """Return one mapping per op or model: its name, and for every target what it would keep.

    The values are the levels of a loss report; `refused` where the target has no form for it.
    """
    from snnir.registry import names

    found = {target: support_of(target) for target in names("targets")}
    return matrix_of(found)


def matrix_of(found: Mapping[str, Sequence[Support]]) -> list[dict[str, Any]]:
    """Return the mappings of `support_matrix` from what `support_of` gave for each target."""
    rows: dict[str, dict[str, Any]] = {}
    for target, entries in found.items():
        for entry in entries:
            rows.setdefault(entry.op, {"op": entry.op})[target] = entry.level
    return list(rows.values())


def support_of(target: str) -> list[Support]:
    """Return what a target keeps of every op and model, each alone as in the support matrix.

    Raises:
        SnnirError: SNN503 if there is no such target.
    """
    every = {**EXAMPLES, **_neurons()}
    return [
        _support(name, graph_for(op, shape, target), target) for name, (op, shape) in every.items()
    ]


def graph_for(op: Op, shape: tuple[int, ...], target: str) -> Graph:
    """Return the smallest graph in which a target could have an op."""
    from snnir.registry import lookup

    cls = lookup("targets", target, "SNN503")
    if cls.continuous:
        params = {n: Tensor(np.float32(_VALUES.get(n, 1.0))) for n in MODELS["lif"].params}
        return _between(op, shape, Neuron("lif", FrozenDict(params), Stepping()))
    if not cls.between:
        return _graph(op, shape)
    rules = replace(LifStep(), **dict[str, Any](cls.between))
    params = {name: _value(name) for name, _ in rules.program.params}
    return _between(op, shape, Step(rules, FrozenDict(params)))


def _between(op: Op, shape: tuple[int, ...], lif: Op) -> Graph:
    """Return the op between small populations; what is analog by nature is the output."""
    size = prod(shape)
    nodes: dict[str, tuple[Op, list[str]]] = {
        "input": (Input(Signal(Kind.SPIKES, (3,))), []),
        "in": (Linear(_ones(size, 3)), ["input"]),
        "shaped": (Reshape(shape), ["in"]),
        "before": (lif, ["shaped"]),
        "read": (Current(), ["before"]),
        "op": (op, ["read"] * (op.operand_count or 2)),
    }
    last = _built(nodes, "op").signal("op")
    is_neuron = isinstance(op, (Neuron, Step))
    if is_neuron and last.kind is Kind.ANALOG:
        return _built(nodes, "op")
    if not is_neuron:
        nodes |= {"current": (Current(), ["op"]), "after": (lif, ["current"])}
    nodes["flat"] = (Reshape((last.size,)), ["op" if is_neuron else "after"])
    nodes |= {"out": (Linear(_ones(2, last.size)), ["flat"]), "readout": (lif, ["out"])}
    return _built(nodes, "readout")


def _built(nodes: Mapping[str, tuple[Op, list[str]]], output: str) -> Graph:
    made = {
        n: Node(n, op, tuple(Value(s) for s in operands)) for n, (op, operands) in nodes.items()
    }
    return Graph(made, {"output": Value(output)}, 1e-3)


def _graph(op: Op, shape: tuple[int, ...]) -> Graph:
    """Return the op between as many inputs as it takes (two if any number) and an output."""
    inputs = [f"input{at}" for at in range(op.operand_count or 2)]
    given: dict[str, tuple[Op, list[str]]] = {
        name: (Input(Signal(Kind.ANALOG, shape)), []) for name in inputs
    }
    return _built({**given, "op": (op, inputs)}, "op")


def _support(op: str, graph: Graph, target: str) -> Support:
    from snnir.driver import losses
    from snnir.pipeline import run_pipeline
    from snnir.target import misfits, target_from

    try:
        report = losses(graph, target)
        chosen = target_from(target, {})
        problems = misfits(chosen, run_pipeline(graph, chosen.pipeline(0)).graph)
    except SnnirError as failure:
        problems = list(failure.diagnostics)
    if problems:
        return Support(op, REFUSED, problems[0].message)
    worst = [entry for entry in report.nodes if entry.level == report.level]
    own = [entry for entry in worst if entry.node == "op"]
    why = "" if report.level == EXACT else (own or worst)[0].what
    return Support(op, report.level, why)
