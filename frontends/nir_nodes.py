"""One builder per NIR node type: fields of the file to an op, given what feeds the node."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.models import MODELS
from snnir.frontends.nir_hdf5 import RawNode
from snnir.frontends.nir_notes import Notes
from snnir.ir.neuron import Neuron
from snnir.ir.op import Op
from snnir.ir.pooling import AvgPool2d, SumPool2d
from snnir.ir.structure import Flatten
from snnir.ir.synapses import Conv1d, Conv2d, Linear, Scale
from snnir.ir.timing import Delay
from snnir.semantics import Semantics
from snnir.streams import Signal
from snnir.tensors import FrozenDict, Tensor

Array = npt.NDArray[Any]

#: NIR neuron types and the models they are.
NEURONS = {
    "I": "i", "LI": "li", "IF": "if", "LIF": "lif", "CubaLI": "cubali", "CubaLIF": "cubalif",
    "Threshold": "threshold",
}  # fmt: skip
SPIKING = {name for name, model in NEURONS.items() if MODELS[model].spikes}
#: Steps of the longest delay that a file may ask for.
LONGEST_DELAY = 1 << 24
#: Types whose output is of the same kind as their input.
PRESERVING = {"SumPool2d", "Flatten", "Delay"}
SUPPORTED = {*NEURONS, *PRESERVING, "Affine", "Linear", "Scale", "Conv1d", "Conv2d", "AvgPool2d",
             "Input", "Output", "NIRGraph"}  # fmt: skip


class NodeError(Exception):
    """A node cannot be built; what is wrong has been noted."""


@dataclass
class Site:
    """A node in its place.

    Attributes:
        path: Its path.
        raw: Its fields.
        operand: Type of what feeds it, if known yet.
        wanted: Features the next linear layer expects, if there is one.
        semantics: How neurons are stepped; None keeps that open.
        dt: Step length in seconds.
        notes: Where to report.
    """

    path: str
    raw: RawNode
    operand: Signal | None
    wanted: int | None
    semantics: Semantics
    dt: float
    notes: Notes

    def fail(self, code: str, message: str, hint: str | None = None) -> NodeError:
        """Record an error and return what to raise."""
        self.notes.fail(code, message, self.path, hint)
        return NodeError(message)

    def array(self, key: str, default: float | None = None) -> Array:
        """Return a numeric field.

        Raises:
            NodeError: If it is missing without a default, or not numeric.
        """
        value = self.raw.fields.get(key)
        if value is None:
            if default is None:
                found = ", ".join(sorted(self.raw.fields)) or "none"
                message = f"{self.raw.type} has no field '{key}' (fields: {found})"
                raise self.fail("SNN102", message, "the export that made the file failed")
            return np.asarray(default, np.float32)
        if isinstance(value, str) or value.dtype.kind not in "fiub":
            raise self.fail("SNN102", f"field '{key}' must be numeric")
        return value

    def real(self, key: str, default: float | None = None) -> Array:
        """Return a field as floating point; booleans and integers become float32."""
        value = self.array(key, default)
        if value.dtype.kind == "f":
            return value
        if value.dtype.kind == "b":
            self.notes.assume(f"boolean values in '{key}' are read as 0 and 1", self.path)
        return value.astype(np.float32)

    def whole(self, key: str, default: int | None = None) -> tuple[int, ...]:
        """Return a field of whole numbers as a tuple (a scalar gives one)."""
        value = self.array(key, default)
        flat = np.atleast_1d(value).ravel()
        if flat.size > 16 or not np.all(np.isfinite(flat)) or np.any(flat != np.rint(flat)):
            raise self.fail("SNN105", f"'{key}' must be whole numbers, got {flat[:8].tolist()}")
        if np.any(np.abs(flat) > 2**31):
            raise self.fail("SNN107", f"'{key}' is absurdly large: {flat.tolist()}")
        return tuple(int(x) for x in flat)

    def spread(self, key: str, rank: int, default: int | None = None) -> tuple[int, ...]:
        """Return whole numbers for `rank` axes; one number holds for all."""
        value = self.whole(key, default)
        if len(value) == 1:
            return value * rank
        if len(value) != rank:
            raise self.fail("SNN102", f"'{key}' has {len(value)} numbers for {rank} axes")
        return value


Builder = Callable[[Site], Op]


def _bias(site: Site, size: int) -> Tensor | None:
    bias = site.real("bias")
    if bias.ndim > 1 and bias.size == size:
        site.notes.assume("leading axes of length 1 in parameters are dropped", site.path)
        bias = bias.reshape(size)
    return Tensor(bias) if bias.shape not in ((), (1,)) or np.any(bias) else None


def _linear(site: Site) -> Op:
    weight = site.real("weight")
    while weight.ndim > 2 and weight.shape[0] == 1:
        weight = weight[0]
    if weight.ndim != 2:
        raise site.fail("SNN106", f"weights must be [out, in], got {list(weight.shape)}")
    operand = site.operand
    features = operand.shape[-1] if operand is not None and operand.shape else None
    if features is not None and features != weight.shape[1] == operand.size:  # type: ignore[union-attr]
        return _flatten_first(site, weight)
    if features is not None and features != weight.shape[1]:
        weight = _transposed(site, weight, features)
    bias = _bias(site, weight.shape[0]) if "bias" in site.raw.fields else None
    return Linear(Tensor(weight), bias)


def _flatten_first(site: Site, weight: Array) -> Op:
    shape = list(site.operand.shape) if site.operand else []
    raise site.fail(
        "SNN104",
        f"weights {list(weight.shape)} expect {weight.shape[1]} features, its input is {shape}",
        "a Flatten node is missing before it",
    )


def _transposed(site: Site, weight: Array, features: int) -> Array:
    message = f"weights {list(weight.shape)} expect {weight.shape[1]} features, it gets {features}"
    if weight.shape[0] != features:
        raise site.fail("SNN104", message)
    if not site.notes.fix("SNN104", message, "transpose the weights", site.path):
        raise NodeError(message)
    return np.ascontiguousarray(weight.T)


def _padding(site: Site, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> Any:
    value = site.raw.fields.get("padding")
    rank = len(kernel)
    if not isinstance(value, str):
        return tuple((p, p) for p in site.spread("padding", rank, 0))
    if value == "valid":
        return ((0, 0),) * rank
    if value != "same":
        raise site.fail("SNN105", f"padding '{value}' is neither a number, 'same' nor 'valid'")
    if set(site.spread("stride", rank, 1)) != {1}:
        raise site.fail("SNN105", "padding 'same' is only defined for stride 1")
    totals = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def _convolution(site: Site, rank: int, cls: type[Conv1d] | type[Conv2d]) -> Op:
    weight = site.real("weight")
    if weight.ndim != rank + 2:
        raise site.fail("SNN102", f"weights need {rank + 2} axes, got {list(weight.shape)}")
    dilation = site.spread("dilation", rank, 1)
    op = cls(
        Tensor(weight),
        _bias(site, weight.shape[0]) if "bias" in site.raw.fields else None,
        site.spread("stride", rank, 1),
        _padding(site, weight.shape[2:], dilation),
        dilation,
        site.whole("groups", 1)[0],
    )
    _check_input_shape(site, rank)
    return op


def _check_input_shape(site: Site, rank: int) -> None:
    if "input_shape" not in site.raw.fields:
        site.notes.assume("input_shape is absent and was inferred", site.path)
        return
    declared = site.whole("input_shape")
    if len(declared) == rank + 1:
        declared = declared[1:]
    if site.operand is None or declared == site.operand.shape[1:]:
        return
    actual = list(site.operand.shape[1:])
    message = f"declares input_shape {list(declared)}, its input is {actual}"
    site.notes.fix("SNN104", message, f"take {actual}", site.path)


def _pool(site: Site, cls: type[SumPool2d] | type[AvgPool2d]) -> Op:
    kernel, stride = site.spread("kernel_size", 2), site.spread("stride", 2)
    vertical, horizontal = site.spread("padding", 2, 0)
    padding = ((vertical, vertical), (horizontal, horizontal))
    return cls((kernel[0], kernel[1]), (stride[0], stride[1]), padding)


def _flatten(site: Site) -> Op:
    (start,), (end,) = site.whole("start_dim", 1), site.whole("end_dim", -1)
    operand = site.operand
    if operand is None:
        return Flatten(start, end)
    rank = len(operand.shape)
    declared = site.whole("input_type") if "input_type" in site.raw.fields else ()
    with_batch = Flatten(start - 1 if start > 0 else start, end - 1 if end > 0 else end)
    if len(declared) == rank + 1 and start >= 1:
        site.notes.assume("axes count a batch axis and were moved by one", site.path)
        return with_batch
    plain = Flatten(start, end)
    if site.wanted is None or _last(plain, operand) == site.wanted:
        return plain
    if _last(with_batch, operand) == site.wanted:
        message = (
            f"flattening axes {start}..{end} of {list(operand.shape)} does not give the "
            f"{site.wanted} features the next layer expects"
        )
        repaired = site.notes.fix("SNN104", message, "count a batch axis", site.path)
        return with_batch if repaired else plain
    return plain


def _last(op: Flatten, operand: Signal) -> int | None:
    rank = len(operand.shape)
    start = op.start + rank if op.start < 0 else op.start
    end = op.end + rank if op.end < 0 else op.end
    if not 0 <= start <= end < rank:
        return None
    return operand.shape[-1] if end < rank - 1 else prod(operand.shape[start:])


def _delay(site: Site) -> Op:
    delay = site.real("delay").astype(np.float64) * site.semantics.time_unit
    if not np.all(np.isfinite(delay)) or np.any(delay < 0):
        raise site.fail("SNN105", f"delay {delay.min():g} s must be finite and not negative")
    steps = np.rint(delay / site.dt)
    if np.any(np.abs(steps * site.dt - delay) > 1e-6 * site.dt + 1e-9 * delay):
        worst = delay.ravel()[np.argmax(np.abs(steps * site.dt - delay))]
        message = f"delay {worst:g} s is not a whole number of steps of {site.dt:g} s"
        if not site.notes.fix("SNN303", message, "round delays to whole steps", site.path):
            raise NodeError(message)
    if np.any(steps > LONGEST_DELAY):
        raise site.fail("SNN107", f"delay of {steps.max():g} steps is absurdly long")
    count = int(steps.item()) if steps.size == 1 else Tensor(steps.astype(np.int64))
    # What was rounded stays known; the file's own rounding of a whole number of steps is none.
    file_dtype = site.real("delay").dtype
    whole = (steps * site.dt).astype(file_dtype) == delay.astype(file_dtype)
    if np.all(whole | (np.abs(steps * site.dt - delay) <= 1e-9 * delay)):
        return Delay(count)
    return Delay(count, Tensor(delay.reshape(()) if steps.size == 1 else delay))


def _neuron(site: Site) -> Op:
    model = MODELS[NEURONS[site.raw.type]]
    params: dict[str, Tensor] = {}
    values = {name: site.real(name, model.defaults.get(name)) for name in model.params}
    present = {value.dtype for name, value in values.items() if name in site.raw.fields}
    dtype = np.result_type(*present) if present else np.dtype(np.float32)
    for name, given in values.items():
        value = given if name in site.raw.fields else given.astype(dtype)
        if name in model.time_constants:
            value = _time_constant(site, name, value)
        params[name] = Tensor(_fitted(site, name, value))
    return Neuron(model.name, FrozenDict(params), site.semantics.for_model(model.name))


def _time_constant(site: Site, name: str, value: Array) -> Array:
    if not np.all(value > 0):
        worst = value.min() if value.size else float("nan")
        message = f"time constant {name} is {worst:g}, must be positive"
        if np.any(value == 0) or not np.all(np.isfinite(value)):
            raise site.fail("SNN105", message)
        if not site.notes.fix("SNN105", message, "take its magnitude", site.path):
            raise NodeError(message)
        value = np.abs(value)
    unit = site.semantics.time_unit
    return value if unit == 1 else value * value.dtype.type(unit)


def _fitted(site: Site, name: str, value: Array) -> Array:
    """Return a parameter in a shape that fits the population."""
    if site.operand is None or value.shape in ((), site.operand.shape):
        return value
    shape = site.operand.shape
    if value.size == 1:
        return value.reshape((1,) * len(shape)) if value.ndim > len(shape) else value
    if (
        value.ndim > len(shape)
        and value.size == prod(shape)
        and value.shape[-len(shape) :] == shape
    ):
        site.notes.assume("leading axes of length 1 in parameters are dropped", site.path)
        return value.reshape(shape)
    ones = tuple(n if m != 1 else 1 for n, m in zip(shape, value.shape, strict=False))
    if value.ndim == len(shape) and value.shape == ones:
        return value
    message = f"parameter {name} {list(value.shape)} does not fit its input {list(shape)}"
    if value.ndim == 1 and len(shape) > 1 and value.size == shape[0]:
        if site.notes.fix("SNN104", message, "take it as one value per channel", site.path):
            return value.reshape(-1, *(1,) * (len(shape) - 1))
        raise NodeError(message)
    raise site.fail("SNN104", message)


BUILDERS: dict[str, Builder] = {
    "Affine": _linear,
    "Linear": _linear,
    "Scale": lambda site: Scale(Tensor(_fitted(site, "scale", site.real("scale")))),
    "Conv1d": lambda site: _convolution(site, 1, Conv1d),
    "Conv2d": lambda site: _convolution(site, 2, Conv2d),
    "SumPool2d": lambda site: _pool(site, SumPool2d),
    "AvgPool2d": lambda site: _pool(site, AvgPool2d),
    "Flatten": _flatten,
    "Delay": _delay,
    **dict.fromkeys(NEURONS, _neuron),
}
