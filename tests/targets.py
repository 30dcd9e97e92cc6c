"""What tests of all simulating targets share: graphs, inputs, and the comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import snnir
from snnir.dynamics import Dynamics, Let, State
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
    FrozenDict,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Neuron,
    Node,
    Op,
    Permute,
    Reshape,
    Scale,
    Signal,
    Slice,
    SparseLinear,
    Step,
    SumPool2d,
    Value,
    Winner,
)
from snnir.matrix import EXAMPLES
from snnir.streams import Kind
from tests.helpers import dyadic, lif_step, params


def every_value(built: Graph) -> list[str]:
    found = list(built.nodes)
    for node in built.nodes.values():
        if isinstance(node.op, Step):
            found += [f"{node.name}:{state.name}" for state in node.op.program.states]
    return found


def check(built: Graph, xs: Any, target: str, ulps: int = 0, **options: Any) -> None:
    """Every value and state of a run, and of the run after it, equals the reference's."""
    check_each(built, [xs], target, ulps, **options)


def check_each(
    built: Graph, given: Sequence[Any], target: str, ulps: int = 0, **options: Any
) -> None:
    """Check runs on several inputs of what is compiled once."""
    reference = snnir.compile(built, "numpy", level=0)
    made = snnir.compile(built, target, level=0, **options)
    watch = every_value(made.graph)
    for xs in given:
        for resume in (False, True):
            with np.errstate(all="ignore"):
                want, got = (sim.run(xs, watch, resume=resume) for sim in (reference, made))
            for name, value in {**want.outputs, **want.recorded}.items():
                found = {**got.outputs, **got.recorded}[name]
                assert found.dtype == value.dtype, name
                assert found.shape == value.shape, name
                if ulps:
                    np.testing.assert_allclose(found, value, rtol=ulps * 1.2e-7, atol=ulps * 1e-7)
                else:
                    np.testing.assert_array_equal(found, value, name)
            assert got.stats == want.stats
        if not ulps:
            # Without records, nothing is kept from the fused kernels.
            want, got = (sim.run(xs) for sim in (reference, made))
            for name, value in want.outputs.items():
                np.testing.assert_array_equal(got.outputs[name], value, name)


def alone(op: Op, *shapes: tuple[int, ...], kind: Kind = Kind.ANALOG) -> Graph:
    """Return the op between inputs of these shapes and an output."""
    nodes = {f"x{i}": Node(f"x{i}", Input(Signal(kind, s))) for i, s in enumerate(shapes)}
    nodes["op"] = Node("op", op, tuple(Value(name) for name in nodes))
    return Graph(nodes, {"output": Value("op")}, 1e-3)


def inputs(built: Graph, steps: int = 7, batch: int = 3, seed: int = 0) -> dict[str, Any]:
    """Dyadic input, about half of it zero."""
    rng = np.random.default_rng(seed)
    found = {}
    for name, signal in built.inputs.items():
        shape = (steps, batch, *signal.shape)
        values: Any = rng.integers(-24, 40, shape) / 16 * (rng.random(shape) < 0.5)
        if signal.kind is not Kind.ANALOG:
            values = np.abs(np.rint(values)) if signal.kind is Kind.COUNTS else values > 0.5
        found[name] = values.astype(np.float32)
    return found


def t(*shape: int, seed: int = 3) -> snnir.Tensor:
    return snnir.tensor(dyadic(shape, seed))


def sparse_op(outputs: int, inputs: int, block: int, density: float = 0.2) -> SparseLinear:
    held = np.random.default_rng(5).random((outputs, inputs)) < density
    return SparseLinear.of(dyadic((outputs, inputs), 6) * held, block, t(outputs))


#: Ops of networks that learn, which have tests of their own (`tests/learning`).
LEARNING = ("plastic", "uniform", "pick_max2d")

OPS: dict[str, tuple[Op, tuple[tuple[int, ...], ...]]] = {
    **{
        name: (op, (shape,) * (op.operand_count or 3)) for name, (op, shape) in EXAMPLES.items()
        if name not in LEARNING
    },
    "linear with bias": (Linear(t(70, 33), t(70)), ((33,),)),
    "linear, one bias": (Linear(t(5, 33), t(1)), ((33,),)),
    "sparse, single weights": (sparse_op(40, 33, 1), ((33,),)),
    "sparse, blocks of 8": (sparse_op(43, 33, 8), ((33,),)),
    "sparse, blocks of 16": (sparse_op(48, 33, 16), ((4, 33),)),
    "sparse, no weights": (sparse_op(7, 5, 1, 0.0), ((5,),)),
    "linear over the last axis": (Linear(t(9, 7), t(9)), ((4, 6, 7),)),
    "conv2d, uneven": (
        Conv2d(t(3, 4, 2, 3), t(3), stride=(2, 1), padding=((1, 0), (2, 1))), ((4, 6, 7),),
    ),
    "conv2d, even": (Conv2d(t(3, 4, 3, 3), t(3), padding=((1, 1), (1, 1))), ((4, 6, 7),)),
    "conv2d, groups": (Conv2d(t(6, 2, 3, 2), groups=2, dilation=(2, 3)), ((4, 6, 7),)),
    "conv2d, one bias": (Conv2d(t(4, 1, 2, 2), t(1), groups=4, stride=(3, 2)), ((4, 6, 7),)),
    "conv1d": (
        Conv1d(t(4, 2, 3), t(4), stride=(2,), padding=((1, 2),), dilation=(2,), groups=2),
        ((4, 9),),
    ),
    "sum_pool2d": (SumPool2d((3, 2), (1, 2), ((1, 1), (0, 1))), ((4, 6, 7),)),
    "avg_pool2d": (AvgPool2d((3, 2), (1, 2), ((1, 1), (0, 1))), ((4, 6, 7),)),
    "max_pool2d": (MaxPool2d((3, 2), (1, 2), ((1, 1), (0, 1))), ((4, 6, 7),)),
    "max_pool2d, no padding": (MaxPool2d((3, 3), (2, 1)), ((4, 7, 6),)),
    "max_pool2d, one row": (MaxPool2d((1, 4), (1, 3)), ((4, 7, 11),)),
    "max_pool2d, tall": (MaxPool2d((4, 2), (3, 2)), ((4, 11, 7),)),
    "batch_norm": (
        BatchNorm(t(4), snnir.tensor(np.abs(dyadic((4,))) + np.float32(0.5)), t(4), t(4)),
        ((4, 6, 7),),
    ),
    "scale per element": (Scale(t(6, 7)), ((4, 6, 7),)),
    "bias per element": (Bias(t(6, 7)), ((4, 6, 7),)),
    "concat": (Concat(1), ((2, 3), (2, 1), (2, 2))),
    "add": (Add(), ((2, 3),) * 3),
    "slice": (Slice(2, 1, 4), ((2, 3, 5),)),
    "permute": (Permute((2, 0, 1)), ((2, 3, 5),)),
    "reshape": (Reshape((5, 6)), ((2, 3, 5),)),
    "winner": (Winner(), ((5,),)),
    "delay": (Delay(3), ((2, 3),)),
    "delay of nothing": (Delay(0), ((2, 3),)),
    "delay longer than the run": (Delay(30), ((2, 3),)),
    "delay per element": (Delay(snnir.Tensor(np.array([[0, 2, 9], [1, 1, 4]]))), ((2, 3),)),
}  # fmt: skip


#: The names of `OPS` in groups that are compiled together.
OP_GROUPS = [list(OPS)[start::4] for start in range(4)]


def ops_together(names: Sequence[str], kind: Kind = Kind.ANALOG) -> Graph:
    """Return ops side by side in one graph, each between inputs and an output of its own.

    Left out is what does not take streams of that kind.
    """
    parts = {}
    for name in names:
        op, shapes = OPS[name]
        try:
            parts[name] = alone(op, *shapes, kind=kind).verify()
        except snnir.SnnirError:
            assert kind is not Kind.ANALOG, name
    return side_by_side(parts)


def stepped(preset: str) -> list[Step]:
    """Return every model that a preset steps, as steps."""
    found = []
    for name, model in snnir.MODELS.items():
        try:
            stepping = snnir.preset(preset).for_model(name)
            own = {
                p: snnir.tensor(0.01 if p in model.time_constants else 1.0) for p in model.params
            }
            built = alone(Neuron(name, FrozenDict(own), stepping), (3,))
            found.append(snnir.compile(built, "numpy", level=0).graph["op"].op)
        except snnir.SnnirError:
            continue  # this preset does not step this model
    return [step for step in found if isinstance(step, Step)]


def every_model() -> list[tuple[Graph, int]]:
    """Return every model under every semantics, and by how many ulps its states may differ.

    `adex` has `exp` in it, which each library computes in its own way.
    """
    every = [step for preset in snnir.PRESETS for step in stepped(preset)]
    exact = list(dict.fromkeys(step for step in every if step.model != "adex"))
    close = list(dict.fromkeys(step for step in every if step.model == "adex"))
    assert len(exact) > 20
    return [(neuron_graph(exact, (3,)), 0), (neuron_graph(close, (3,)), 64)]


def neuron_graph(steps: list[Step], shape: tuple[int, ...]) -> Graph:
    """Return populations side by side, fed by the same two inputs."""
    nodes = {
        name: Node(name, Input(Signal(Kind.ANALOG, shape))) for name in ("x", "y")
    }  # fmt: skip
    for index, step in enumerate(steps):
        operands = tuple(Value(name) for name in ("x", "y")[: step.operand_count])
        nodes[f"n{index}"] = Node(f"n{index}", step, operands)
    return Graph(nodes, {f"o{i}": Value(f"n{i}") for i in range(len(steps))}, 1e-3)


def tangled(shape: tuple[int, ...] = (4, 5)) -> Graph:
    """Two populations in one recurrence through every op that compiled loops know."""
    size = int(np.prod(shape))
    rng = np.random.default_rng(2)
    varied = params(
        beta=rng.integers(4, 15, shape).astype(np.float32) / 16, threshold=1.0, v_reset=0.25,
        alpha=0.5,
    )  # fmt: skip
    own = Step(snnir.LifStep(synapse="factor", reset="to"), varied, "lif")
    two = lif_step(inputs=2, exposes_v=True, refractory=1)
    nodes = {
        name: Node(name, op, tuple(operands))
        for name, (op, operands) in {
            "x": (Input(Signal(Kind.ANALOG, shape)), []),
            "y": (Input(Signal(Kind.ANALOG, (3,))), []),
            "late a": (Delay(1), [Value("a")]),
            "late b": (Delay(4), [Value("b")]),
            "flat": (Reshape((size,)), [Value("late a")]),
            "fc": (Linear(t(3, size), t(3)), [Value("flat")]),
            "b": (two, [Value("fc"), Value("y")]),
            "half": (Scale(t(3)), [Value("late b")]),
            "shift": (Bias(t(1)), [Value("half")]),
            "back": (Linear(t(size, 3, seed=5)), [Value("shift")]),
            "shaped": (Reshape(shape), [Value("back")]),
            "sum": (Add(), [Value("x"), Value("shaped"), Value("own")]),
            "own": (Current(), [Value("late a")]),
            "a": (own, [Value("sum")]),
        }.items()
    }
    outputs = {"a": Value("a"), "v": Value("b", 1), "flat": Value("flat")}
    return Graph(nodes, outputs, 1e-3).verify()


def scalar_steps() -> tuple[dict[str, Step], Any, Any]:
    """Return every scalar operation as a step, and odd operands: [1, 1, 100] each."""
    steps = {}
    for name, op in FLOAT_OPS.items():
        lets = [Let("c0", "gt", ("x", 0.25)), Let("c1", "lt", ("y", 0.5))]
        arguments: tuple[Any, ...] = ("c0", "c1") if op.takes == "bool" else ("x", "y")
        arguments = ("c0", "x", "y") if name == "select" else (*arguments, "v")[: op.arity]
        lets.append(Let("z", name, arguments))
        if op.gives == "bool":
            lets.append(Let("out", "cast", ("z",)))
        out = "out" if op.gives == "bool" else "z"
        kinds = ((out, Kind.ANALOG),)
        states = (State("v", 0.75),)
        program = Dynamics(name, ("x", "y"), (), states, tuple(lets), (("v", out),), kinds)
        program.types()
        steps[name] = Step(program, params())
    odd = np.array([0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 0.5, 3e38, 1e-40], np.float32)
    x, y = (a.reshape(1, 1, -1) for a in np.meshgrid(odd, odd))
    return steps, x, y


def compiled_or_refused(g: Graph, target: str, **options: Any) -> Any:
    """Return what a target makes of a graph, None if it says what does not fit."""
    problems = snnir.check(g, target, **options)
    report = snnir.losses(g, target, **options)
    if problems:
        assert report.level == "refused"
        return None
    return snnir.compile(g, target, **options)


def ones(g: Graph, steps: int, batch: int) -> dict[str, Any]:
    """Return an event of every element of every input in every step."""
    return {name: np.ones((steps, batch, *s.shape), np.float32) for name, s in g.inputs.items()}


def side_by_side(parts: Mapping[str, Graph]) -> Graph:
    """Return several graphs as one, to be compiled once; names begin with that of the part."""
    nodes, outputs = {}, {}
    for part, graph in parts.items():
        for name, node in graph.nodes.items():
            operands = tuple(Value(f"{part}/{v.node}", v.result) for v in node.operands)
            nodes[f"{part}/{name}"] = Node(f"{part}/{name}", node.op, operands)
        for name, value in graph.outputs.items():
            outputs[f"{part}/{name}"] = Value(f"{part}/{value.node}", value.result)
    return Graph(nodes, outputs, 1e-3).verify()


def side_by_side_inputs(parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the inputs of several graphs as those of one."""
    return {f"{part}/{name}": x for part, xs in parts.items() for name, x in xs.items()}
