"""From a discrete graph to a runnable `Model`: the interpreter's side."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from snnir import kernels, kernels_learning
from snnir.bounds import precision_for
from snnir.dynamics.evaluate import neuron_function
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.plastic import Plastic
from snnir.ir.random import Uniform
from snnir.ir.structure import Input
from snnir.ir.timing import Delay
from snnir.scheduling import schedule
from snnir.streams import DTYPES
from snnir.targets.numpy_sim.runtime import Model, Rule, Unit
from snnir.tensors import Tensor

#: Precision option to (dtype of streams and states, dtype of sums).
PRECISIONS: dict[str, tuple[Any, Any]] = {
    "reproducible": (np.float32, np.float64),
    "float32": (np.float32, np.float32),
    "float64": (np.float64, np.float64),
}


def value_name(value: Value) -> str:
    """Return the runtime's name of a value."""
    return value.node if value.result == 0 else f"{value.node}#{value.result}"


def build_model(graph: Graph, precision: str) -> Model:
    """Return the network of a verified, discretised graph."""
    dtype, acc = PRECISIONS[precision_for(graph, precision)]
    return Model(
        stages=[(stage.kind, stage.nodes) for stage in schedule(graph).stages],
        units={
            node.name: _unit(graph, node, dtype, acc)
            for node in graph.nodes.values()
            if not isinstance(node.op, Input)
        },
        inputs={name: signal.shape for name, signal in graph.inputs.items()},
        outputs={name: value_name(value) for name, value in graph.outputs.items()},
        dtype=dtype,
        offset=graph.record_offset,
    )


def step_dtype(op: Step, dtype: Any) -> Any:
    """Return the dtype in which a program's arithmetic runs, given that of the streams."""
    own = np.dtype(DTYPES[op.program.dtype])
    return np.int64 if op.program.is_whole else np.promote_types(own, dtype).type


def rule_dtype(op: Plastic, dtype: Any) -> Any:
    """Return the dtype in which a rule's arithmetic runs, given that of the streams."""
    return np.promote_types(np.dtype(DTYPES[op.rule.dtype]), dtype).type


def _unit(graph: Graph, node: Node, dtype: Any, acc: Any) -> Unit:
    op = node.op
    operands = tuple(value_name(value) for value in node.operands)
    count = len(op.program.outputs) if isinstance(op, Step) else 1
    results = tuple(value_name(Value(node.name, index)) for index in range(count))
    shape = graph.signal(node.name).shape
    if isinstance(op, Delay):
        steps = op.steps.numpy() if isinstance(op.steps, Tensor) else op.steps
        return Unit(node.name, "delay", operands, None, results, {}, shape, steps)
    if isinstance(op, Step):
        inner = step_dtype(op, dtype)
        params = {name: value.numpy() for name, value in op.params.items()}
        function = neuron_function(op.program, params, inner, dtype)
        initial = {
            state.name: params[state.initial] if isinstance(state.initial, str) else state.initial
            for state in op.program.states
        }
        lasting = dict.fromkeys(op.program.lasting, shape)
        return Unit(
            node.name, "neuron", operands, function, results, initial, shape, None, inner, lasting
        )
    if isinstance(op, Plastic):
        return _plastic(node.name, op, operands, dtype)
    if isinstance(op, Uniform):
        draw = partial(kernels_learning.uniform, op.seed, dtype=dtype)
        return Unit(
            node.name, "random", operands, draw, results, {"step": op.step}, shape,
            state_dtype=np.int64, lasting={"step": ()},
        )  # fmt: skip
    call = op.call([graph.signals[value] for value in node.operands])
    arguments: dict[str, Any] = {key: value.numpy() for key, value in call.tensors.items()}
    arguments.update(call.options)
    if call.sums:
        arguments["acc"] = acc
    function = partial(getattr(kernels, call.function), **arguments)
    return Unit(node.name, "op", operands, function, results, {}, shape)


def _plastic(name: str, op: Plastic, operands: tuple[str, ...], dtype: Any) -> Unit:
    rule = op.rule
    inner = rule_dtype(op, dtype)
    params = {key: value.numpy() for key, value in op.params.items()}
    initial = {
        state.name: params[state.initial] if isinstance(state.initial, str) else state.initial
        for state in rule.states
    }
    total = None if op.total is None else op.total.numpy()
    normalise = (
        None if total is None else partial(kernels_learning.normalised, total=total, sums=op.sums)
    )
    learn = Rule(
        kernels_learning.plastic_sum,
        neuron_function(rule, params, inner, dtype),
        op.reads,
        op.weight_state.name,
        normalise,
    )
    return Unit(
        name, "plastic", operands, results=(name,), initial=initial, shape=op.shape,
        state_dtype=inner, lasting=dict.fromkeys(rule.lasting, op.shape), rule=learn,
    )  # fmt: skip
