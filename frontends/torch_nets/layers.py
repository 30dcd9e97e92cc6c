"""Layers without memory: what each torch module is in ops of the graph."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch  # noqa: TID253  (this module is imported when a torch model is)

from snnir.errors import error
from snnir.frontends.torch_nets.pointwise import relu_op
from snnir.ir.op import Op
from snnir.ir.pooling import AvgPool2d, MaxPool2d, SumPool2d
from snnir.ir.structure import Pad, Reshape
from snnir.ir.synapses import BatchNorm, Bias, Conv1d, Conv2d, Linear, Scale
from snnir.ir.winner import Winner
from snnir.tensors import Tensor, tensor

Shape = tuple[int, ...]
Reader = Callable[[Any, Shape], list[Op]]


class Unsupported(Exception):
    """A layer, or a setting of it, that no op stands for."""

    def __init__(self, reason: str, hint: str | None = None, code: str = "SNN802") -> None:
        super().__init__(reason)
        self.reason, self.hint, self.code = reason, hint, code


def array(value: Any) -> Any:
    """Return a tensor's data as a NumPy array of its own.

    Raises:
        SnnirError: SNN807 for half or double precision, and for tensors without data.
    """
    data = value.detach()
    if data.device.type == "meta":
        raise error("SNN807", "a weight is on the device 'meta' and has no data")
    if data.is_floating_point() and data.dtype != torch.float32:
        raise error(
            "SNN807", f"a weight is {str(data.dtype).removeprefix('torch.')}, graphs compute in "
            "float32", hint="convert the model with .float(), and check its accuracy",
        )  # fmt: skip
    return data.cpu().numpy().copy()


def weight(value: Any) -> Tensor:
    """Return a parameter as a constant of a graph."""
    return Tensor(array(value))


def _optional(value: Any) -> Tensor | None:
    return None if value is None else weight(value)


def pair(value: Any, count: int = 2) -> tuple[int, ...]:
    """Return a setting that may be one number for all axes."""
    return (int(value),) * count if isinstance(value, int) else tuple(int(v) for v in value)


# --- Builders, shared by modules and functions ---------------------------------------------------


def linear(matrix: Any, bias: Any) -> list[Op]:
    """Y = W x + b."""
    return [Linear(weight(matrix), _optional(bias))]


def convolution(
    kernel: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int
) -> list[Op]:
    """A 1-d or 2-d convolution with zero padding."""
    axes = kernel.ndim - 2
    dilations = pair(dilation, axes)
    if padding == "same":
        totals = [d * (k - 1) for k, d in zip(kernel.shape[2:], dilations, strict=True)]
        pads = tuple((total // 2, total - total // 2) for total in totals)
    else:
        pads = tuple((p, p) for p in pair(0 if padding == "valid" else padding, axes))
    cls = Conv1d if axes == 1 else Conv2d
    return [cls(weight(kernel), _optional(bias), pair(stride, axes), pads, dilations, groups)]


def pool(kind: type[Op], kernel: Any, stride: Any, padding: Any, shape: Shape) -> list[Op]:
    """A pool over one or two axes; one axis is treated as a row of height 1."""
    axes = len(shape) - 1
    sizes = pair(kernel, axes)
    steps = pair(stride, axes) if stride not in (None, [], ()) else sizes
    pads = tuple((p, p) for p in pair(padding, axes))
    if axes == 2:
        return [kind(sizes, steps, pads)]  # type: ignore[call-arg]
    length = (shape[1] + 2 * pads[0][0] - sizes[0]) // steps[0] + 1
    flat = kind((1, *sizes), (1, *steps), ((0, 0), *pads))  # type: ignore[call-arg]
    return [Reshape((shape[0], 1, shape[1])), flat, Reshape((shape[0], length))]


def sum_pool(kernel: Any, stride: Any, shape: Shape) -> list[Op]:
    """The pool torch computes as mean times size, which rounds unless the size is a power of 2."""
    size = math.prod(pair(kernel))
    if size & (size - 1) == 0:
        return pool(SumPool2d, kernel, stride, 0, shape)
    return [*pool(AvgPool2d, kernel, stride, 0, shape), Scale(tensor(float(size)))]


def adaptive_average(size: Any, shape: Shape) -> list[Op]:
    """An adaptive mean whose windows are all equal."""
    wanted = [n if w is None else w for w, n in zip(pair_or_none(size), shape[1:], strict=True)]
    if any(n % w for n, w in zip(shape[1:], wanted, strict=True)):
        raise Unsupported(f"its windows differ in size ({list(shape[1:])} to {wanted})")
    kernel = tuple(n // w for n, w in zip(shape[1:], wanted, strict=True))
    return [] if set(kernel) == {1} else [AvgPool2d(kernel, kernel)]  # type: ignore[arg-type]


def pair_or_none(size: Any) -> Sequence[Any]:
    """Return an adaptive pool's size, where None keeps an axis."""
    return (size, size) if size is None or isinstance(size, int) else tuple(size)


def batch_norm(mean: Any, var: Any, gamma: Any, beta: Any, eps: float) -> list[Op]:
    """The affine map of evaluation."""
    return [BatchNorm(weight(mean), weight(var), _optional(gamma), _optional(beta), float(eps))]


def padding(widths: Sequence[int], shape: Shape, value: float = 0.0) -> list[Op]:
    """Zeros around the last axes; torch lists the last axis first."""
    if value:
        raise Unsupported(f"pads with {value}, a graph pads with 0")
    pairs = [(widths[i], widths[i + 1]) for i in range(0, len(widths), 2)][::-1]
    if len(pairs) > len(shape):
        raise Unsupported("pads the batch axis")
    return [Pad(((0, 0),) * (len(shape) - len(pairs)) + tuple(pairs))]


# --- Modules -------------------------------------------------------------------------------------


def _want(module: Any, **settings: Any) -> None:
    for name, value in settings.items():
        if getattr(module, name, value) != value:
            raise Unsupported(f"has {name}={getattr(module, name)}, supported is {value}")


def _convolution(module: Any, shape: Shape) -> list[Op]:
    _want(module, padding_mode="zeros")
    return convolution(
        module.weight, module.bias, module.stride, module.padding, module.dilation, module.groups
    )


def _average(module: Any, shape: Shape) -> list[Op]:
    if getattr(module, "divisor_override", None) == 1:
        _want(module, ceil_mode=False)
        return pool(SumPool2d, module.kernel_size, module.stride, module.padding, shape)
    _want(module, ceil_mode=False, divisor_override=None)
    if any(pair(module.padding, len(shape) - 1)):
        _want(module, count_include_pad=True)
    return pool(AvgPool2d, module.kernel_size, module.stride, module.padding, shape)


def _maximum(module: Any, shape: Shape) -> list[Op]:
    _want(module, ceil_mode=False, return_indices=False)
    if set(pair(module.dilation, len(shape) - 1)) != {1}:
        raise Unsupported(f"has dilation={module.dilation}, supported is 1")
    return pool(MaxPool2d, module.kernel_size, module.stride, module.padding, shape)


def _norm(module: Any, shape: Shape) -> list[Op]:
    if module.training or module.running_mean is None:
        raise Unsupported(
            "is in training mode and uses the statistics of each batch",
            "call .eval() on the model first", "SNN806",
        )  # fmt: skip
    return batch_norm(
        module.running_mean, module.running_var, module.weight, module.bias, module.eps
    )


def _dropout(module: Any, shape: Shape) -> list[Op]:
    if module.training and module.p:
        raise Unsupported("drops out at random", "call .eval() on the model first", "SNN806")
    return []


def _lp_pool(module: Any, shape: Shape) -> list[Op]:
    _want(module, ceil_mode=False, norm_type=1)
    return sum_pool(module.kernel_size, module.stride, shape)


def _pad(module: Any, shape: Shape) -> list[Op]:
    return padding(pair(module.padding, 4), shape, float(getattr(module, "value", 0.0)))


def _nothing(module: Any, shape: Shape) -> list[Op]:
    return []


_TORCH: dict[str, tuple[Reader, int | None]] = {
    "Linear": (lambda m, s: linear(m.weight, m.bias), None),
    "Conv1d": (_convolution, 2),
    "Conv2d": (_convolution, 3),
    "BatchNorm1d": (_norm, None),
    "BatchNorm2d": (_norm, 3),
    "AvgPool1d": (_average, 2),
    "AvgPool2d": (_average, 3),
    "MaxPool1d": (_maximum, 2),
    "MaxPool2d": (_maximum, 3),
    "AdaptiveAvgPool2d": (lambda m, s: adaptive_average(m.output_size, s), 3),
    "LPPool2d": (_lp_pool, 3),
    "ZeroPad2d": (_pad, 3),
    "ConstantPad2d": (_pad, 3),
    "Dropout": (_dropout, None),
    "Dropout1d": (_dropout, None),
    "Dropout2d": (_dropout, None),
    "AlphaDropout": (_dropout, None),
    "Identity": (_nothing, None),
    "ReLU": (lambda m, s: [relu_op()], None),
}
#: Helpers of the modules snnir writes, by their mark.
_GENERATED: dict[str, Reader] = {
    "scale": lambda m, s: [Scale(weight(m.scale))],
    "bias": lambda m, s: [Bias(weight(m.bias))],
    "winner": lambda m, s: [Winner()],
}
_SAME_CLASSES = (
    "Linear", "Conv1d", "Conv2d", "BatchNorm1d", "BatchNorm2d", "AvgPool1d", "AvgPool2d",
    "MaxPool1d", "MaxPool2d", "AdaptiveAvgPool2d", "Dropout", "Dropout2d",
)  # fmt: skip


def reader(module: Any) -> tuple[Reader, int | None] | None:
    """Return how to read a layer and the rank it wants of a sample, None if it is not one.

    The class must be exactly the library's: a subclass may compute something else.
    """
    cls = type(module)
    name, home = cls.__name__, cls.__module__
    generated = _GENERATED.get(getattr(cls, "SNNIR_OP", ""))
    if generated is not None:
        return generated, None
    if home.startswith("torch.nn.modules."):
        return _TORCH.get(name)
    if home.startswith("spikingjelly.activation_based.layer") and name in _SAME_CLASSES:
        return _TORCH[name]
    if home == "sinabs.layers.pool2d" and name == "SumPool2d":
        return _TORCH["LPPool2d"]
    return None


def is_flatten(module: Any) -> bool:
    """Whether a module is a Flatten or Unflatten, which work on leading axes as well."""
    cls = type(module)
    known = cls.__module__.startswith(("torch.nn.modules.", "spikingjelly.activation_based.layer"))
    return known and cls.__name__ in ("Flatten", "Unflatten")


def read_layer(module: Any, shape: Shape) -> list[Op]:
    """Return the ops of a layer for a sample of this shape.

    Raises:
        Unsupported: For a setting no op has.
    """
    found = reader(module)
    assert found is not None
    read, rank = found
    if rank is not None and len(shape) != rank:
        raise Unsupported(f"works on {rank} axes per sample, got shape {list(shape)}")
    return read(module, shape)


# --- Functions -----------------------------------------------------------------------------------


def functional(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], shape: Shape, leads: int
) -> list[Op] | None:
    """Return the ops of a functional layer, or None for a form that has none."""
    if leads != 1 and name not in ("linear", "matmul", "__matmul__"):
        return None
    given = _Arguments(args, kwargs)
    try:
        return _FUNCTIONS[name](given, shape) if name in _FUNCTIONS else None
    except Unsupported:
        return None


class _Arguments:
    """Arguments by position or name, with torch's defaults."""

    def __init__(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.args, self.kwargs = args, kwargs

    def get(self, position: int, name: str, default: Any = None) -> Any:
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)


def _matmul(a: _Arguments, shape: Shape) -> list[Op]:
    matrix = a.get(1, "other")
    if getattr(matrix, "ndim", 0) != 2:
        raise Unsupported("matrix product with something else than a matrix")
    return linear(matrix.t(), None)


def _conv(a: _Arguments, shape: Shape) -> list[Op]:
    return convolution(
        a.get(1, "weight"), a.get(2, "bias"), a.get(3, "stride", 1), a.get(4, "padding", 0),
        a.get(5, "dilation", 1), a.get(6, "groups", 1),
    )  # fmt: skip


def _avg(a: _Arguments, shape: Shape) -> list[Op]:
    if a.get(4, "ceil_mode", False) or not a.get(5, "count_include_pad", True):
        raise Unsupported("setting")
    return pool(
        AvgPool2d, a.get(1, "kernel_size"), a.get(2, "stride"), a.get(3, "padding", 0), shape
    )


def _max(a: _Arguments, shape: Shape) -> list[Op]:
    if a.get(5, "ceil_mode", False) or a.get(6, "return_indices", False):
        raise Unsupported("setting")
    if set(np.ravel(a.get(4, "dilation", 1))) != {1}:
        raise Unsupported("setting")
    return pool(
        MaxPool2d, a.get(1, "kernel_size"), a.get(2, "stride"), a.get(3, "padding", 0), shape
    )


def _bn(a: _Arguments, shape: Shape) -> list[Op]:
    if a.get(5, "training", False):
        raise Unsupported("batch statistics")
    return batch_norm(
        a.get(1, "running_mean"), a.get(2, "running_var"), a.get(3, "weight"), a.get(4, "bias"),
        a.get(7, "eps", 1e-5),
    )  # fmt: skip


def _pad_function(a: _Arguments, shape: Shape) -> list[Op]:
    if a.get(2, "mode", "constant") != "constant":
        raise Unsupported("mode")
    return padding(a.get(1, "pad"), shape, float(a.get(3, "value", 0.0) or 0.0))


_FUNCTIONS: dict[str, Callable[[_Arguments, Shape], list[Op]]] = {
    "linear": lambda a, s: linear(a.get(1, "weight"), a.get(2, "bias")),
    "matmul": _matmul,
    "__matmul__": _matmul,
    "mm": _matmul,
    "conv1d": _conv,
    "conv2d": _conv,
    "avg_pool1d": _avg,
    "avg_pool2d": _avg,
    "max_pool1d": _max,
    "max_pool2d": _max,
    "adaptive_avg_pool2d": lambda a, s: adaptive_average(a.get(1, "output_size"), s),
    "lp_pool2d": lambda a, s: sum_pool(a.get(2, "kernel_size"), a.get(3, "stride"), s),
    "batch_norm": _bn,
    "pad": _pad_function,
}
