"""Hypothesis strategies: names, tensors, steps and whole graphs."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

import snnir
from snnir.dynamics import dynamics, select
from snnir.dynamics.program import Let, State
from snnir.dynamics.scalar import FLOAT_OPS
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
def tensors(draw: st.DrawFn, shape: tuple[int, ...] | None = None) -> snnir.Tensor:
    """Finite tensors of any supported dtype, of a small shape unless one is given."""
    if shape is None:
        shape = draw(st.sampled_from([(), (1,), (8,), (9,), (2, 3), (0, 3), (2, 1, 2, 2)]))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    data = rng.integers(-40, 40, shape) / 16
    dtype = draw(st.sampled_from(DTYPES))
    return snnir.Tensor((np.abs(data) if dtype == "uint8" else data).astype(dtype))


@st.composite
def lif_steps(draw: st.DrawFn, ports: int = 2) -> Step:
    """Valid members of the LIF family with up to `ports` inputs and outputs."""
    rules: dict[str, Any] = {
        name: draw(st.sampled_from(choices)) for name, choices in snnir.LifStep.CHOICES.items()
    }
    flags = ("synapse_gain", "gain", "leak", "start", "own_amount", "exposes_v")
    rules |= {key: draw(st.booleans()) for key in flags}
    rules["inputs"] = draw(st.integers(1, ports))
    rules["exposes_v"] &= ports > 1
    rules["synapse_leak"] = rules["synapse"] == "difference" and draw(st.booleans())
    rules["refractory"] = draw(st.integers(0, 2))
    rules["spike_cap"] = draw(st.integers(0, 2)) if rules["spikes"] == "multi" else 0
    if rules["membrane"] == "fixed" or rules["synapse"] == "fixed":
        rules |= {"membrane": "fixed", "gain": False, "leak": False, "start": False}
        rules |= {"synapse_gain": False, "reset_timing": "same-step"}
        rules |= {"inputs": 1, "exposes_v": False}
        rules["synapse"] = draw(st.sampled_from(["none", "fixed"]))
    if rules["synapse"] != "factor" and rules["synapse_order"] in ("decay-input", "exact"):
        rules["synapse_order"] = "jump"
    if rules["synapse"] not in ("factor", "difference"):
        rules["synapse_order"] = "jump"
    if rules["synapse_order"] == "exact":
        rules["inputs"] = 1
    if rules["synapse_order"] == "decay-after":
        rules["synapse_leak"] = False
    if rules["membrane"] == "none":
        rules["exposes_v"] = False
    if rules["reset_timing"] != "same-step":
        rules |= {"spikes": "single", "spike_cap": 0, "own_amount": False}
        rules["reset"] = "zero" if rules["reset"] in ("to", "zero-then-add") else rules["reset"]
    return lif_step(**rules)


@st.composite
def bit_patterns(draw: st.DrawFn) -> snnir.Tensor:
    """Small tensors of any bits: signed zeros, infinities, subnormals, and the one NaN."""
    dtype = np.dtype(draw(st.sampled_from([d for d in DTYPES if d != "bool"])))
    shape = draw(st.sampled_from([(), (1,), (5,), (3, 3)]))
    size = int(np.prod(shape)) * dtype.itemsize
    data = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), dtype).reshape(shape)
    if dtype.kind == "f":
        data = np.where(np.isnan(data), dtype.type(np.nan), data)
    return snnir.Tensor(data)


@st.composite
def programs(draw: st.DrawFn) -> snnir.Dynamics:
    """Well-formed step programs with odd identifiers, names, units and numbers."""
    words = ["x", "v", "β", "inf", "nan", "emit", "next", "state", "inputs", "param", "f32", "lif"]
    free = iter(draw(st.permutations(words)))
    numbers = st.floats(allow_nan=False)
    inputs = tuple(next(free) for _ in range(draw(st.integers(0, 2))))
    known = tuple((next(free), draw(st.text(max_size=3))) for _ in range(draw(st.integers(0, 2))))
    starts = st.one_of(numbers, *(st.just(name) for name, _ in known))
    states = tuple(State(next(free), draw(starts)) for _ in range(draw(st.integers(0, 2))))
    names = [*inputs, *(name for name, _ in known), *(state.name for state in states)]
    body = []
    for _ in range(draw(st.integers(1, 4))):
        operand = st.one_of(numbers, *(st.just(name) for name in names))
        op = draw(st.sampled_from([op for op in FLOAT_OPS.values() if op.takes != "bool"]))
        if op.gives == "bool" or op.name == "select":
            continue
        arguments = tuple(draw(operand) for _ in range(op.arity))
        names.append(next(free))
        body.append(Let(names[-1], op.name, arguments))
    updates = tuple(
        (state.name, draw(st.one_of(numbers, st.sampled_from(names)))) for state in states
    )
    kinds = st.sampled_from(list(snnir.Kind))
    outputs = (
        tuple((n, draw(kinds)) for n in draw(st.lists(st.sampled_from(names), max_size=2)))
        if names
        else ()
    )
    dtype = draw(st.sampled_from(["f32", "f64"]))
    name = draw(st.one_of(st.sampled_from(["m", "m-2", "a b"]), st.text(max_size=3)))
    program = snnir.Dynamics(name, inputs, known, states, tuple(body), updates, outputs, dtype)
    program.types()
    return program


@st.composite
def odd_graphs(draw: st.DrawFn) -> Graph:
    """Graphs whose values are odd rather than whose structure is; they need not be valid."""
    odd_text = st.text(st.characters(), max_size=6)  # lone surrogates included
    scalars = st.one_of(odd_text, st.integers(), st.floats(allow_nan=False), st.booleans())
    metadata = st.dictionaries(odd_text, scalars, max_size=3).map(FrozenDict)
    choices: st.SearchStrategy[Op] = st.one_of(
        st.builds(Scale, st.one_of(tensors(), bit_patterns())),
        st.builds(Delay, st.integers()),
        st.builds(Pad, st.lists(st.tuples(st.integers(), st.integers()), max_size=3).map(tuple)),
        st.builds(Step, programs(), st.dictionaries(odd_text, tensors()).map(FrozenDict), odd_text),
        lif_steps(1), continuous_neurons(),
    )  # fmt: skip
    nodes = {"": Node("", Input(Signal(snnir.Kind.ANALOG, (3,))))}
    for name in draw(st.lists(odd_text, min_size=1, max_size=4, unique=True)):
        operand = Value(draw(st.sampled_from(list(nodes))), draw(st.integers(0, 2)))
        nodes[name] = Node(name, draw(choices), (operand,), draw(metadata))
    outputs = {draw(odd_text): Value(name) for name in nodes}
    provenance = Provenance(draw(odd_text), draw(odd_text), (draw(odd_text),))
    dt = draw(st.one_of(st.none(), st.floats(allow_nan=False)))
    return Graph(nodes, outputs, dt, draw(odd_text), draw(st.integers()), provenance)


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
        choices += [lif_steps(1), st.just(custom())] if discrete else [continuous_neurons()]
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
