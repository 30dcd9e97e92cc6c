"""Stateless ops as torch expressions over [batch, *shape], with the tensors they need."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.ir.op import KernelCall
from snnir.ir.sparse import SparseLinear
from snnir.ir.synapses import without_zero

Array = npt.NDArray[Any]
#: Gives an expression of a tensor of the op: its key, its array, whether it may be kept in float16
#: (`half`), whether it is kept in int32 (`whole`).
Keep = Callable[..., str]

#: A sparse product is a dense one unless its weights with their padding are this many times fewer:
#: the device multiplies dense matrices far faster than it gathers.
SPARSE_FROM = 8


@dataclass(frozen=True)
class Site:
    """An op where it stands.

    Attributes:
        op: The op.
        call: Its kernel in `snnir.kernels`.
        operands: Expressions of its operands.
        rank: Axes of its first operand, without the batch.
        keep: Keeps a tensor and returns its expression.
    """

    op: Any
    call: KernelCall
    operands: Sequence[str]
    rank: int
    keep: Keep

    @property
    def x(self) -> str:
        """The first operand."""
        return self.operands[0]


def expression(site: Site) -> str:
    """Return the expression of an op.

    Raises:
        KeyError: If the op has no form here.
    """
    return FORMS[site.call.function](site)


def _linear(site: Site) -> str:
    weight = site.keep("weight", without_zero(site.op), half=True)
    return _biased(f"functional.linear({site.x}, {weight})", site)


def _biased(product: str, site: Site, axes: int = 0) -> str:
    """Add the bias after the sum; `axes` come after the one it belongs to."""
    if site.op.bias is None:
        return product
    bias = site.op.bias.numpy()
    bias = bias.reshape(-1, *(1,) * axes) if bias.ndim else bias
    return f"{product} + {site.keep('bias', bias, half=True)}"


def _longest(op: SparseLinear) -> int:
    """Return the blocks of each row as they are kept; at least one."""
    return int(np.diff(op.starts.numpy()).max(initial=1))


def _in_rows(op: SparseLinear) -> int:
    """Return the numbers, weights and columns, of rows of equal length."""
    return (len(op.starts.numpy()) - 1) * _longest(op) * (op.block + 1)


def is_kept_whole(op: SparseLinear) -> bool:
    """Return whether a sparse matrix is kept with all its zeros."""
    return _in_rows(op) * SPARSE_FROM > op.inputs * op.outputs


def numbers_of(op: SparseLinear) -> int:
    """Return how many numbers a sparse matrix is kept in."""
    return op.inputs * op.outputs if is_kept_whole(op) else _in_rows(op)


def _sparse(site: Site) -> str:
    """Rows of the same number of weights, filled up with a column that stands for nothing."""
    op, counts = site.op, np.diff(site.op.starts.numpy())
    most = _longest(op)
    if is_kept_whole(op):
        weight = site.keep("weight", op.dense(), half=True)
        return _biased(f"functional.linear({site.x}, {weight})", site)
    columns = np.full((len(counts), most), op.inputs, np.int32)
    values = np.zeros((len(counts), most, op.block), op.values_type)
    groups = op.groups()
    place = np.arange(len(groups)) - op.starts.numpy()[groups]
    columns[groups, place] = op.columns.numpy()
    values[groups, place] = op.values.numpy()
    tensors = (
        site.keep("columns", columns.reshape(-1), whole=True),
        site.keep("values", values, half=True),
    )
    return _biased(f"sparse_linear({site.x}, {', '.join(tensors)}, {op.outputs})", site)


def _convolution(site: Site) -> str:
    x, padding = site.x, tuple(before for before, _ in site.op.padding)
    if any(before != after for before, after in site.op.padding):
        x, padding = _padded(x, site.op.padding), (0,) * site.op.rank
    weight = site.keep("weight", without_zero(site.op), half=True)
    geometry = f"{site.op.stride}, {padding}, {site.op.dilation}, {site.op.groups}"
    product = f"functional.conv{site.op.rank}d({x}, {weight}, None, {geometry})"
    return _biased(product, site, site.op.rank)


def _padded(x: str, widths: Sequence[tuple[int, int]], value: str = "") -> str:
    """Surround the last axes; torch begins with the last."""
    flat = [width for pair in reversed(widths) for width in pair]
    if not any(flat):
        return x
    return f"functional.pad({x}, {flat}{f', value={value}' if value else ''})"


def _scale(site: Site) -> str:
    return f"{site.keep('scale', site.op.scale.numpy())} * {site.x}"


def _offset(site: Site) -> str:
    return f"{site.x} + {site.keep('bias', site.op.bias.numpy(), half=True)}"


def _batch_norm(site: Site) -> str:
    """Its two constants are those of `kernels.batch_norm`: of 1 and of 0, in float32."""
    tensors = {key: value.numpy() for key, value in site.call.tensors.items()}
    wide = {key: value.astype(np.float64) for key, value in tensors.items()}
    gain = wide.get("gamma", 1.0) / np.sqrt(wide["var"] + site.op.eps)
    shift = wide.get("beta", 0.0) - wide["mean"] * gain
    parts = [a.astype(np.float32).reshape(-1, *(1,) * (site.rank - 1)) for a in (gain, shift)]
    return f"{site.x} * {site.keep('gain', parts[0])} + {site.keep('shift', parts[1])}"


def _sum_pool(site: Site) -> str:
    return f"sum_pool({_padded(site.x, site.op.padding)}, {site.op.kernel}, {site.op.stride})"


def _mean_pool(site: Site) -> str:
    return f"{_sum_pool(site)} / {float(np.prod(site.op.kernel))}"


def _max_pool(site: Site) -> str:
    x = _padded(site.x, site.op.padding, "-inf")
    return f"functional.max_pool2d({x}, {site.op.kernel}, {site.op.stride})"


def _slice(site: Site) -> str:
    return f"{site.x}[{':, ' * (site.op.axis + 1)}{site.op.start}:{site.op.stop}]"


def _reshape(site: Site) -> str:
    shape = site.call.options["shape"]
    return f"{site.x}.reshape({', '.join(map(str, ('batch', *shape)))})"


def _permute(site: Site) -> str:
    axes = ", ".join(str(axis + 1) for axis in site.op.axes)
    return f"{site.x}.permute(0, {axes})" if axes else site.x


def _concat(site: Site) -> str:
    return f"torch.cat([{', '.join(site.operands)}], {site.op.axis + 1})"


FORMS: dict[str, Callable[[Site], str]] = {
    "identity": lambda site: site.x,
    "add": lambda site: " + ".join(site.operands),
    "linear": _linear,
    "sparse_linear": _sparse,
    "convolution": _convolution,
    "scale": _scale,
    "offset": _offset,
    "batch_norm": _batch_norm,
    "sum_pool": _sum_pool,
    "mean_pool": _mean_pool,
    "max_pool": _max_pool,
    "concat": _concat,
    "slice_axis": _slice,
    "reshape": _reshape,
    "permute": _permute,
    "pad": lambda site: _padded(site.x, site.op.widths),
    "winner": lambda site: f"winner({site.x})",
}
