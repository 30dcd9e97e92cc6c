"""Hypothesis strategies: names, tensors, steps and whole graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import snnir
from snnir.dynamics import dynamics, select
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
    FrozenDict,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Op,
    Pad,
    Permute,
    Provenance,
    Reshape,
    Scale,
    Signal,
    Slice,
    Step,
    SumPool2d,
    Value,
)  # fmt: skip
from tests.helpers import lif_step

ODD = ["../../x", 'a"; import os', "x" * 300, "b\n%c", "ü\u202e", "{", "%", "#", " ", "true", "1e5"]
DTYPES = ["float32", "float64", "float16", "int8", "int64", "uint8", "bool"]


@dynamics(params={"beta": "1", "theta": "V"}, states={"v": 0.0, "a": "theta"})
def adaptive(x: Any, v: Any, a: Any, beta: Any, theta: Any) -> Any:
    """A custom program with two states and a select."""
    h = beta * v + x
    spike = h > a
    return {"v": select(spike, 0.0, h), "a": a + (theta - a) * 0.5 + spike * 0.25}, spike


def names() -> st.SearchStrategy[str]:
    """Names, plain and hostile."""
    plain = st.text("abcxyz019._-", min_size=1, max_size=8)
    return st.one_of(plain, st.sampled_from(ODD), st.text(min_size=1, max_size=6))


@st.composite
def tensors(draw: st.DrawFn, shape: tuple[int, ...]) -> snnir.Tensor:
    """Finite tensors of any supported dtype."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    data = rng.integers(-40, 40, shape) / 16
    dtype = draw(st.sampled_from(DTYPES))
    return snnir.Tensor((np.abs(data) if dtype == "uint8" else data).astype(dtype))


@st.composite
def lif_steps(draw: st.DrawFn) -> Step:
    """Valid members of the LIF family."""
    rules: dict[str, Any] = {
        name: draw(st.sampled_from(choices)) for name, choices in snnir.LifStep.CHOICES.items()
    }
    rules |= {key: draw(st.booleans()) for key in ("synapse_gain", "gain", "leak", "start")}
    rules["synapse_leak"] = rules["synapse"] == "difference" and draw(st.booleans())
    rules["refractory"] = draw(st.integers(0, 2))
    rules["spike_cap"] = draw(st.integers(0, 2)) if rules["spikes"] == "multi" else 0
    if rules["membrane"] == "fixed" or rules["synapse"] == "fixed":
        rules |= {"membrane": "fixed", "gain": False, "leak": False, "start": False}
        rules |= {"synapse_gain": False, "reset_timing": "same-step"}
        rules["synapse"] = draw(st.sampled_from(["none", "fixed"]))
    if rules["synapse"] != "factor" and rules["synapse_order"] in ("decay-input", "exact"):
        rules["synapse_order"] = "jump"
    if rules["reset_timing"] != "same-step":
        rules |= {"spikes": "single", "spike_cap": 0}
        rules["reset"] = "zero" if rules["reset"] == "to" else rules["reset"]
    return lif_step(**rules)


def continuous_neurons() -> st.SearchStrategy[Neuron]:
    """Continuous neurons with scalar parameters."""
    stepping = st.sampled_from([None, *(p.for_model("lif") for p in snnir.PRESETS.values())])

    def build(model: str, how: Any) -> Neuron:
        definition = snnir.MODELS[model]
        values = {name: 0.01 if name.startswith("tau") else 1.0 for name in definition.params}
        return Neuron(model, FrozenDict({k: snnir.tensor(v) for k, v in values.items()}), how)

    linear = [name for name, model in snnir.MODELS.items() if model.flow is None]
    return st.builds(build, st.sampled_from(linear), stepping)


@st.composite
def ops(draw: st.DrawFn, signal: Signal, discrete: bool) -> Op:
    """An op that takes one operand of this type."""
    shape = signal.shape
    choices: list[st.SearchStrategy[Op]] = [
        st.builds(Linear, tensors((draw(st.integers(1, 4)), shape[-1])), st.none()),
        st.builds(Scale, tensors(())), st.builds(Bias, tensors(shape)),
        st.builds(Delay, st.integers(0, 3)), st.just(Current()), st.just(Flatten()),
        st.just(Reshape((signal.size,))), st.just(Slice(0, 0, 1)), st.just(Flatten(-1, -1)),
        st.just(Permute(tuple(reversed(range(len(shape)))))),
        st.just(Pad(tuple((1, 0) for _ in shape))),
    ]  # fmt: skip
    if signal.kind is snnir.Kind.ANALOG:
        choices += [lif_steps(), st.just(custom())] if discrete else [continuous_neurons()]
        choices.append(
            st.builds(BatchNorm, *(st.just(snnir.Tensor(np.ones(shape[0], np.float32))),) * 2)
        )
    if len(shape) == 2:
        choices.append(st.builds(Conv1d, tensors((2, shape[0], 1))))
    if len(shape) == 3:
        pads = st.just(((1, 1), (0, 1)))
        choices.append(st.builds(Conv2d, tensors((2, shape[0], 1, 1)), padding=pads))
        pools = st.sampled_from([SumPool2d, AvgPool2d, MaxPool2d])
        choices.append(st.builds(lambda cls: cls((1, 1), (1, 1)), pools))
    return draw(st.one_of(choices))


def custom() -> Step:
    """A step with a program of its own."""
    values = {"beta": snnir.tensor(0.5), "theta": snnir.tensor(1.0)}
    return Step(adaptive, FrozenDict(values))


@st.composite
def graphs(draw: st.DrawFn, discrete: bool = True) -> Graph:
    """Valid graphs with branches, sums, joins and, if discrete, a recurrence."""
    kind = draw(st.sampled_from(list(snnir.Kind)))
    shape = draw(st.sampled_from([(3,), (2, 3), (2, 3, 2)]))
    used: list[str] = []

    def fresh() -> str:
        name = draw(names().filter(lambda n: n not in used))
        used.append(name)
        return name

    nodes: dict[str, Node] = {}
    signals: dict[str, Signal] = {}

    def add(op: Op, *sources: str) -> str:
        name = fresh()
        (signals[name],) = op.infer([signals[s] for s in sources])  # type: ignore[assignment]
        some: dict[str, Any] = {"note": "a\n\u2028", "x": 1.5, "ok": True}
        metadata = draw(st.sampled_from([{}, some]))
        nodes[name] = Node(name, op, tuple(Value(s) for s in sources), FrozenDict(metadata))
        return name

    last = add(Input(Signal(kind, shape)))
    for _ in range(draw(st.integers(1, 6))):
        source = draw(st.sampled_from(list(nodes)))
        last = add(draw(ops(signals[source], discrete)), source)
        alike = [n for n in nodes if signals[n] == signals[last]]
        if len(alike) > 1 and draw(st.booleans()):
            join: Op = draw(st.sampled_from([Add(), Concat(0)]))
            last = add(join, last, draw(st.sampled_from(alike)))
    if discrete and draw(st.booleans()):
        last = _loop(nodes, signals, last, fresh)
    outputs = {draw(names()): Value(last)}
    dt = draw(st.sampled_from([1e-3, 1e-4, 0.1, 1.0]))
    provenance = Provenance("source", "ab", (draw(st.text(max_size=5)),))
    return Graph(nodes, outputs, dt, draw(names()), draw(st.integers(0, 2)), provenance)


def _loop(nodes: dict[str, Node], signals: dict[str, Signal], last: str, fresh: Any) -> str:
    """Append a population that feeds back on itself after one step."""
    current, total, lif, late, back = (fresh() for _ in range(5))
    nodes[current] = Node(current, Current(), (Value(last),))
    nodes[late] = Node(late, Delay(1), (Value(lif),))
    nodes[back] = Node(back, Current(), (Value(late),))
    nodes[total] = Node(total, Add(), (Value(current), Value(back)))
    nodes[lif] = Node(lif, lif_step(), (Value(total),))
    return str(lif)
