"""Synapses with a delay each, of ops that every target knows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from snnir.errors import error
from snnir.ir.graph import Editor, Value
from snnir.ir.sparse import SparseLinear
from snnir.ir.timing import Delay
from snnir.tensors import Tensor


def delayed_linear(
    editor: Editor,
    name: str,
    operand: Value | str,
    weight: npt.ArrayLike,
    seconds: npt.ArrayLike,
    *,
    dt: float,
) -> Value:
    """Add `y[o](t) = sum over i of weight[o, i] * x[i](t - seconds[o, i])` and return y.

    Every synapse whose weight is not 0 gets a channel of its own: `NAME.axons` copies the inputs,
    `NAME.delay` delays each copy, `NAME` adds them up.

    Args:
        editor: The graph in the making.
        name: Name of the sum.
        operand: The stream x, [..., inputs].
        weight: [outputs, inputs].
        seconds: Delays, broadcastable to the weights. Stepped targets take whole steps of dt, the
            nearest; the target `events` takes them as they are.
        dt: Seconds per step.

    Raises:
        SnnirError: SNN202 if the shapes do not fit or no weight differs from 0, SNN303 if dt is
            not a positive number, SNN105 for delays or weights that are not finite, or delays that
            are negative.
    """
    matrix, delays = np.asarray(weight), np.asarray(seconds, np.float64)
    if matrix.dtype != np.float32:
        matrix = matrix.astype(np.float64)
    if matrix.ndim != 2 or not matrix.any():
        message = f"weight must be [outputs, inputs] and not all 0, got {list(matrix.shape)}"
        raise error("SNN202", message, node=name)
    try:
        delays = np.broadcast_to(delays, matrix.shape)
    except ValueError:
        message = f"seconds {list(delays.shape)} do not fit weights {list(matrix.shape)}"
        raise error("SNN202", message, node=name) from None
    if not (np.isfinite(dt) and dt > 0):
        raise error("SNN303", f"dt is {dt}, must be a positive number of seconds", node=name)
    rows, columns = np.nonzero(matrix)
    each = delays[rows, columns]
    if not np.isfinite(matrix).all() or not np.isfinite(each).all() or (each < 0).any():
        what = "weights and delays must be finite, delays not negative"
        raise error("SNN105", what, node=name)
    count = len(rows)
    ones = np.ones((count, 1), matrix.dtype)
    axons = SparseLinear(
        Tensor(ones), Tensor(columns.astype(np.int32)), Tensor(np.arange(count + 1)),
        inputs=matrix.shape[1], outputs=count,
    )  # fmt: skip
    starts = np.searchsorted(rows, np.arange(matrix.shape[0] + 1))
    sums = SparseLinear(
        Tensor(matrix[rows, columns][:, None]), Tensor(np.arange(count, dtype=np.int32)),
        Tensor(starts.astype(np.int64)), inputs=count, outputs=matrix.shape[0],
    )  # fmt: skip
    steps = np.rint(each / dt).astype(np.int64)
    late = Delay(Tensor(steps), Tensor(each))
    copies = editor.add(f"{name}.axons", axons, [operand])
    return editor.add(name, sums, [editor.add(f"{name}.delay", late, [copies])])
