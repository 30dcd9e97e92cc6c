"""Chains of linear ops become synapses with the same effect."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import snnir
from snnir.ir import (
    Add,
    AvgPool2d,
    BatchNorm,
    Bias,
    Concat,
    Conv1d,
    Conv2d,
    Current,
    Flatten,
    Input,
    Op,
    Pad,
    Permute,
    Reshape,
    Scale,
    Signal,
    Slice,
    SparseLinear,
    SumPool2d,
    Tensor,
)
from snnir.streams import Kind
from snnir.targets.events.build import build_network
from tests.events.nets import JUMP, graph, linear, neuron, seconds

RNG = np.random.default_rng(0)


def real(*shape: int) -> Tensor:
    return Tensor(RNG.normal(0, 1, shape))


CHAINS: dict[str, tuple[tuple[int, ...], list[Op]]] = {
    "linear": ((3,), [linear(RNG.normal(0, 1, (4, 3)), np.arange(4.0))]),
    "two matrices": ((3,), [linear(RNG.normal(0, 1, (5, 3))), linear(RNG.normal(0, 1, (2, 5)))]),
    "over the last axis": ((2, 3), [linear(RNG.normal(0, 1, (4, 3)))]),
    "conv1d": ((2, 7), [Conv1d(real(4, 1, 3), real(4), (2,), ((1, 2),), (2,), 2)]),
    "conv2d": ((2, 5, 6), [Conv2d(real(4, 2, 2, 3), real(4), (1, 2), ((1, 0), (2, 1)))]),
    "groups": ((4, 4, 4), [Conv2d(real(4, 2, 2, 2), None, dilation=(2, 1), groups=2)]),
    "sparse": ((4,), [SparseLinear.of(RNG.normal(0, 1, (5, 4)) * (RNG.random((5, 4)) < 0.5), 2)]),
    "pools": ((2, 5, 6), [SumPool2d((2, 2), (1, 2), ((0, 1), (0, 0))), Current(),
                          AvgPool2d((2, 3), (2, 1), ((1, 0), (0, 0)))]),
    "each": ((2, 2, 3), [Scale(real(2, 1, 3)), Bias(real(2, 2, 3)), BatchNorm(real(2), Tensor(
        np.array([0.5, 2.0])))]),
    "moves": ((2, 3, 4), [Permute((2, 0, 1)), Pad(((1, 0), (0, 0), (0, 2))), Slice(0, 1, 4),
                          Reshape((5, 6)), Flatten()]),
}  # fmt: skip


def response(model: snnir.Graph, op: str) -> tuple[Any, Any]:
    """Return the matrix [inputs, outputs] and the constant that NumPy's simulator computes."""
    shape = model.signal("x").shape
    size = int(np.prod(shape))
    x = np.concatenate([np.zeros((1, size)), np.eye(size)]).reshape(1, size + 1, *shape)
    compiled = snnir.compile(model, "numpy", level=0, precision="float64")
    y = compiled.run(x, [op]).recorded[op][0].reshape(size + 1, -1)
    return y[1:] - y[0], y[0]


@pytest.mark.parametrize("name", CHAINS)
def test_a_chain_is_its_matrix(name: str) -> None:
    shape, ops = CHAINS[name]
    nodes: dict[str, tuple[Op, list[str]]] = {"x": (Input(Signal(Kind.ANALOG, shape)), [])}
    for k, op in enumerate(ops):
        nodes[f"op{k}"] = (op, [list(nodes)[-1]])
    last = list(nodes)[-1]
    model = graph({**nodes, "n": (neuron("cubalif", JUMP), [last])}, "n")
    network = build_network(model)
    wanted, constant = response(model, last)
    made = np.zeros_like(wanted)
    own = network.synapses
    unit = np.repeat(np.arange(len(own.first) - 1), np.diff(own.first))
    np.add.at(made, (unit, own.target), own.weight)
    np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-6)
    np.testing.assert_allclose(network.neurons.bias, constant, rtol=0, atol=1e-6)
    traced = own.tensor >= 0
    for number, path in enumerate(network.tensors):
        here = np.flatnonzero(own.tensor == number)
        node, _, attribute = path.rpartition(".")
        values = getattr(model.nodes[node].op, attribute).numpy().reshape(-1).astype(np.float64)
        elements = values[own.element[here]]
        np.testing.assert_array_equal(own.factor[here] * elements, own.weight[here])
    assert traced.any() == (name in ("linear", "over the last axis", "conv1d", "conv2d", "groups",
                                     "sparse"))  # fmt: skip


def test_zero_weights_are_kept_if_asked() -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (3,))), []),
        "w": (linear([[1.0, 0.0, 2.0]]), ["x"]),
        "n": (neuron("lif"), ["w"]),
    }
    model = graph(nodes, "n")
    assert len(build_network(model).synapses.target) == 2
    assert build_network(model, keep_zeros=True).synapses.weight.tolist() == [1, 0, 2]


def test_delays_add_up_along_each_way() -> None:
    nodes: dict[str, tuple[Op, list[str]]] = {
        "x": (Input(Signal(Kind.SPIKES, (2,))), []),
        "a": (seconds([1e-3, 2e-3]), ["x"]),
        "w": (linear([[1.0, 10.0], [100.0, 1000.0]]), ["a"]),
        "b": (seconds([0.0, 5e-3]), ["w"]),
        "direct": (linear(np.eye(2)), ["x"]),
        "sum": (Add(), ["b", "direct"]),
        "both": (Concat(0), ["sum", "direct"]),
        "n": (neuron("lif"), ["both"]),
    }
    own = build_network(graph(nodes, "n")).synapses
    unit = np.repeat(np.arange(len(own.first) - 1), np.diff(own.first))
    ways = set(zip(unit.tolist(), own.target.tolist(), own.weight.tolist(),
                   own.delay.tolist(), strict=False))  # fmt: skip
    assert {(0, 0, 1.0, 1e-3), (1, 0, 10.0, 2e-3), (0, 1, 100.0, 6e-3), (1, 1, 1000.0, 7e-3),
            (0, 0, 1.0, 0.0), (1, 1, 1.0, 0.0), (0, 2, 1.0, 0.0), (1, 3, 1.0, 0.0)} == ways  # fmt: skip
