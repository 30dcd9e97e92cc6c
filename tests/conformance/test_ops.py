"""Every stateless op against an independent definition: plain loops, and torch where installed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import snnir
from snnir import kernels
from snnir.ir import OPS, Kind, Signal
from snnir.ir.op import Op, OpError
from snnir.ir.pooling import AvgPool2d, MaxPool2d, PickMax2d, SumPool2d
from snnir.ir.sparse import SparseLinear
from snnir.ir.structure import (
    Add,
    Concat,
    Current,
    Flatten,
    Pad,
    Permute,
    Reshape,
    Slice,
)  # fmt: skip
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale
from snnir.ir.winner import Winner
from tests.helpers import dyadic

X = dyadic((5, 4, 6, 7), 1)


def apply(op: Op, *xs: Any, acc: Any = np.float64) -> Any:
    operands = [Signal(Kind.ANALOG, x.shape[1:]) for x in xs]
    (signal,) = op.infer(operands)
    assert signal is not None
    call = op.call(operands)
    arguments = {key: t.numpy() for key, t in call.tensors.items()} | call.options
    if call.sums:
        arguments["acc"] = acc
    y = getattr(kernels, call.function)(*xs, **arguments)
    assert y.shape[1:] == signal.shape
    assert y.dtype == xs[0].dtype
    return y


def t(*shape: int, seed: int = 3) -> snnir.Tensor:
    return snnir.tensor(dyadic(shape, seed))


def slow_conv(x: Any, op: Conv2d) -> Any:
    """Direct sum over channels and taps."""
    w = op.weight.numpy()
    (top, bottom), (left, right) = op.padding
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    (signal,) = op.infer([Signal(Kind.ANALOG, x.shape[1:])])
    assert signal is not None
    y = np.zeros((len(x), *signal.shape), np.float64)
    per, outs = w.shape[1], w.shape[0] // op.groups
    for o, i, j in itertools.product(*map(range, signal.shape)):
        group = o // outs
        for c, a, b in itertools.product(range(per), range(w.shape[2]), range(w.shape[3])):
            row = i * op.stride[0] + a * op.dilation[0]
            column = j * op.stride[1] + b * op.dilation[1]
            y[:, o, i, j] += w[o, c, a, b] * padded[:, group * per + c, row, column]
        y[:, o, i, j] += 0 if op.bias is None else op.bias.numpy()[o]
    return y.astype(np.float32)


CONVS = [
    Conv2d(t(3, 4, 2, 3)),
    Conv2d(t(3, 4, 2, 3), t(3), stride=(2, 1), padding=((1, 0), (2, 1))),
    Conv2d(t(6, 2, 3, 2), groups=2, dilation=(2, 3)),
    Conv2d(t(4, 1, 2, 2), t(4), groups=4, padding=((1, 1), (1, 1)), stride=(3, 2)),
]


@pytest.mark.parametrize("op", CONVS)
@pytest.mark.parametrize("acc", [np.float32, np.float64])
def test_conv2d(op: Conv2d, acc: Any) -> None:
    np.testing.assert_array_equal(apply(op, X, acc=acc), slow_conv(X, op))


def test_conv1d_is_conv2d_with_one_row() -> None:
    op = Conv1d(t(4, 2, 3), t(4), stride=(2,), padding=((1, 2),), dilation=(2,), groups=2)
    flat = X[:, :, 0]
    wide = Conv2d(
        snnir.tensor(op.weight.numpy()[:, :, None]), op.bias, stride=(1, 2),
        padding=((0, 0), (1, 2)), dilation=(1, 2), groups=2,
    )  # fmt: skip
    np.testing.assert_array_equal(apply(op, flat), slow_conv(flat[:, :, None], wide)[:, :, 0])


@pytest.mark.framework
@pytest.mark.parametrize("op", CONVS)
def test_conv2d_is_torchs(op: Conv2d) -> None:
    torch = pytest.importorskip("torch")
    (top, bottom), (left, right) = op.padding
    padded = torch.nn.functional.pad(torch.from_numpy(X), (left, right, top, bottom))
    bias = None if op.bias is None else torch.tensor(op.bias.numpy())
    expected = torch.conv2d(
        padded, torch.tensor(op.weight.numpy()), bias, op.stride, 0, op.dilation, op.groups
    )
    np.testing.assert_array_equal(apply(op, X), expected.numpy())


def slow_pool(x: Any, op: Any, reduce: Any, fill: float) -> Any:
    (top, bottom), (left, right) = op.padding
    edges = ((0, 0), (0, 0), (top, bottom), (left, right))
    padded = np.pad(x, edges, constant_values=fill)
    (signal,) = op.infer([Signal(Kind.ANALOG, x.shape[1:])])
    y = np.zeros((len(x), *signal.shape), np.float32)
    for i, j in itertools.product(*map(range, signal.shape[1:])):
        row, column = i * op.stride[0], j * op.stride[1]
        window = padded[:, :, row : row + op.kernel[0], column : column + op.kernel[1]]
        y[:, :, i, j] = reduce(window.reshape(*window.shape[:2], -1))
    return y


@pytest.mark.parametrize(
    ("cls", "reduce", "fill"),
    [
        (SumPool2d, lambda w: w.sum(-1), 0.0),
        (AvgPool2d, lambda w: w.sum(-1) / np.float32(w.shape[-1]), 0.0),
        (MaxPool2d, lambda w: w.max(-1), -np.inf),
    ],
)
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((2, 2), (2, 2), ((0, 0), (0, 0))), ((3, 2), (1, 2), ((1, 1), (0, 1)))],
)
def test_pools(cls: Any, reduce: Any, fill: float, kernel: Any, stride: Any, padding: Any) -> None:
    op = cls(kernel, stride, padding)
    np.testing.assert_array_equal(apply(op, X), slow_pool(X, op, reduce, fill))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"),
    [((2, 2), (2, 2), ((0, 0), (0, 0))), ((3, 2), (1, 2), ((1, 1), (0, 1)))],
)
def test_pick_max(kernel: Any, stride: Any, padding: Any) -> None:
    """The first largest score of a window is where the value comes from, as plain loops say."""
    op = PickMax2d(kernel, stride, padding)
    scores = np.rint(X * 2)  # so that many are equal
    ranked = np.arange(X.size, dtype=np.float32).reshape(X.shape)
    edges = ((0, 0), (0, 0), *padding)
    above = np.pad(scores, edges, constant_values=-np.inf)
    inside = np.pad(ranked, edges, constant_values=-1.0)
    y = apply(op, scores, ranked)
    for n, c, i, j in itertools.product(*map(range, y.shape)):
        row, column = i * stride[0], j * stride[1]
        places = itertools.product(range(row, row + kernel[0]), range(column, column + kernel[1]))
        best = max(places, key=above[n, c].__getitem__)
        assert y[n, c, i, j] == inside[n, c][best] >= 0


def test_linear() -> None:
    op = Linear(t(9, 7), t(9))
    expected = np.einsum("rchw,ow->rcho", X, op.weight.numpy()) + op.tensors()["bias"].numpy()
    np.testing.assert_array_equal(apply(op, X), expected)
    assert apply(op, X.astype(np.float64)).dtype == np.float64


def test_zero_points() -> None:
    whole = snnir.Tensor(np.array([[1, -2, 3], [4, 5, -6]], np.int8))
    zero = snnir.Tensor(np.array([100, -100], np.int16))
    x = np.array([[1, 0, 2]], np.float32)
    assert apply(Linear(whole, zero=zero), x).tolist() == [[7 - 300, -8 + 300]]
    pixels = np.ones((1, 1, 2, 1), np.float32)
    conv = Conv2d(snnir.Tensor(np.array([[[[1], [2]]]], np.int8)), padding=((1, 0), (0, 0)),
                  zero=snnir.Tensor(np.array(5, np.int16)))  # fmt: skip
    assert apply(conv, pixels)[0, 0, :, 0].tolist() == [-3, -7]  # nothing comes from the edge


@pytest.mark.parametrize("block", [1, 3, 8])
@pytest.mark.parametrize("density", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("limit", [1, 1 << 20])
def test_sparse_linear(
    block: int, density: float, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "BLOCK", limit)
    matrix = dyadic((11, 7), 4) * (np.random.default_rng(0).random((11, 7)) < density)
    op = SparseLinear.of(matrix, block, t(11))
    np.testing.assert_array_equal(op.dense(), matrix)
    dense = Linear(snnir.tensor(matrix), op.bias)
    np.testing.assert_array_equal(apply(op, X), apply(dense, X))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": [1, 0, 1]}, "not in order, or not unique"),
        ({"columns": [0, 0, 1]}, "not in order, or not unique"),
        ({"columns": [0, 9, 1]}, "not among the 3 inputs"),
        ({"columns": [0, -1, 1]}, "not among the 3 inputs"),
        ({"starts": [0, 3, 2]}, "do not rise from 0 to 3"),
        ({"starts": [0, 1, 2]}, "do not rise from 0 to 3"),
        ({"starts": [0, 3]}, r"starts \[3\], got \[3\] and \[2\]"),
        ({"values": np.ones(3, np.float32)}, "must be"),
        ({"columns": np.zeros(3, np.int64)}, "must be i32"),
        ({"bias": np.ones(5, np.float32)}, "does not fit 2 outputs"),
    ],
)
def test_broken_sparse_layouts(change: dict[str, Any], words: str) -> None:
    kinds = {"columns": np.int32, "starts": np.int64}
    given: dict[str, Any] = {"values": np.ones((3, 1), np.float32), "columns": [0, 1, 1],
                             "starts": [0, 2, 3]} | change  # fmt: skip
    own: dict[str, Any] = {k: snnir.Tensor(v if isinstance(v, np.ndarray) else np.array(v, kinds[k]))
           for k, v in given.items()}  # fmt: skip
    with pytest.raises(OpError, match=words):
        SparseLinear(**own, inputs=3, outputs=2).infer([Signal(Kind.SPIKES, (3,))])


def test_wide_weights_are_summed_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    op = Linear(t(9, 7))
    whole = apply(op, X)
    monkeypatch.setattr(kernels, "BLOCK", 16)
    np.testing.assert_array_equal(apply(op, X), whole)


def test_reproducible_sums_are_correctly_rounded() -> None:
    rng = np.random.default_rng(0)
    w = rng.standard_normal((64, 300)).astype(np.float32)
    x = (rng.random((50, 300)) < 0.3).astype(np.float32)
    y = apply(Linear(snnir.tensor(w)), x)
    import math

    for row, neuron in itertools.product(range(0, 50, 7), range(0, 64, 5)):
        exact = math.fsum(w[neuron].astype(float)[x[row] > 0])
        assert y[row, neuron] == np.float32(exact)


def test_elementwise_and_structure() -> None:
    s = t(6, 7)
    np.testing.assert_array_equal(apply(Scale(s), X), s.numpy() * X)
    np.testing.assert_array_equal(apply(Bias(s), X), X + s.numpy())
    np.testing.assert_array_equal(apply(Current(), X), X)
    np.testing.assert_array_equal(apply(Add(), X, X, 2 * X), (X + X) + 2 * X)
    np.testing.assert_array_equal(apply(Concat(1), X, X), np.concatenate([X, X], 2))
    np.testing.assert_array_equal(apply(Slice(2, 1, 4), X), X[:, :, :, 1:4])
    np.testing.assert_array_equal(apply(Flatten(1), X), X.reshape(5, 4, 42))
    np.testing.assert_array_equal(apply(Reshape((7, 24)), X), X.reshape(5, 7, 24))
    np.testing.assert_array_equal(apply(Permute((2, 0, 1)), X), X.transpose(0, 3, 1, 2))
    padded = np.pad(X, ((0, 0), (1, 0), (0, 2), (0, 0)))
    np.testing.assert_array_equal(apply(Pad(((1, 0), (0, 2), (0, 0))), X), padded)


def test_batch_norm() -> None:
    mean, var, gamma, beta = (t(4, seed=s) for s in range(4))
    var = snnir.tensor(np.abs(var.numpy()) + np.float32(0.5))
    y = apply(BatchNorm(mean, var, gamma, beta), X)
    shape = (4, 1, 1)
    m, v, g, b = (a.numpy().astype(np.float64).reshape(shape) for a in (mean, var, gamma, beta))
    np.testing.assert_allclose(y, (X - m) / np.sqrt(v + 1e-5) * g + b, rtol=2e-6, atol=2e-6)


def test_winner() -> None:
    x = np.array([[1, 3, 2], [-1, -2, -1], [2, 2, 0], [0, 0, 0]], np.float32)
    assert apply(Winner(), x).tolist() == [[0, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_no_stateless_op_is_left_out() -> None:
    tested: set[type[Op]] = {Conv1d, Conv2d, SumPool2d, AvgPool2d, MaxPool2d, Linear, SparseLinear, Scale, Bias, Current, Add,
              Concat, Slice, Flatten, Reshape, Permute, Pad, BatchNorm, Winner, PickMax2d}  # fmt: skip
    stateful = {"input", "delay", "neuron", "step", "plastic", "uniform"}
    assert {cls.name for cls in tested} | stateful == {n for n in OPS if not n.startswith("test")}
