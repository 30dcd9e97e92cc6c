"""What handlers of torch functions share: values that stay, and elementwise operations.

A handler takes (recorder, name, args, kwargs, out) and marks the tensors in `out` with where they
come from. Functions without a handler make values that can be computed but not used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253  (this module is imported when a torch model is)

from snnir.frontends.torch_nets.build import pointwise
from snnir.frontends.torch_nets.events import Bad, Operand, Ref
from snnir.frontends.torch_nets.recorder import leads, location, tensors_in

if TYPE_CHECKING:
    from snnir.frontends.torch_nets.recorder import Recorder

Args = tuple[Any, ...]
Options = dict[str, Any]
Handler = Callable[["Recorder", str, Args, Options, Any], None]


def bad(rec: Recorder, name: str, out: Any) -> None:
    """Mark every tensor of a result as one snnir has no op for."""
    for tensor in tensors_in(out):
        rec.mark(tensor, Bad(f"torch's '{name}'", location()))


def value_of(rec: Recorder, tensor: Any) -> Ref | None:
    """Return the origin of a tensor if it is a usable value."""
    found = rec.known(tensor) if isinstance(tensor, torch.Tensor) else None
    return found if isinstance(found, Ref) else None


def same(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """The result has the values of the first operand."""
    found = rec.known(args[0])
    if found is not None and isinstance(out, torch.Tensor) and out.shape == args[0].shape:
        rec.mark(out, found)
    else:
        bad(rec, name, out)


def cast(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """A change of dtype keeps 0 and 1, and float32; everything else changes values."""
    if out.dtype == torch.float32 or out.dtype == args[0].dtype:
        same(rec, name, args, kwargs, out)
    else:
        bad(rec, f"{name} to {out.dtype}", out)


def nothing(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """The result does not depend on the operand's values."""


# --- Arithmetic ----------------------------------------------------------------------------------

SCALAR = {
    "add": "add", "sub": "sub", "mul": "mul", "div": "div", "true_divide": "div", "gt": "gt",
    "ge": "ge", "lt": "lt", "le": "le", "neg": "neg", "negative": "neg", "abs": "abs",
    "relu": "relu", "maximum": "max", "minimum": "min", "logical_not": "not", "exp": "exp",
    "floor": "floor", "trunc": "trunc", "round": "round", "clamp": "clamp", "clip": "clamp",
    "clamp_min": "clamp", "clamp_max": "clamp", "where": "where", "heaviside": "heaviside",
}  # fmt: skip


def arithmetic(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """Elementwise operations on values, constants and numbers."""
    reverse = name in ("__rsub__", "rsub", "__rtruediv__", "__rdiv__")
    stem = name.strip("_").removeprefix("r") if reverse else name.strip("_")
    stem = {"truediv": "div", "iadd": "add", "isub": "sub", "imul": "mul", "itruediv": "div",
            "radd": "add", "rmul": "mul"}.get(stem, stem)  # fmt: skip
    op = SCALAR.get(stem)
    extra = {k: v for k, v in kwargs.items() if k not in ("out", "min", "max", "inplace")}
    if op is None or extra or not isinstance(out, torch.Tensor):
        bad(rec, name, out)
        return
    given = _arguments(op, args, kwargs)
    if reverse:
        given = (given[1], given[0])
    if any(value_of(rec, a) is None and rec.derives(a) for a in given):
        bad(rec, name, out)
        return
    if op == "add" and not torch.is_tensor(given[1]) and given[1] == 0:
        same(rec, name, args, kwargs, out)  # Python's sum() starts with 0
        return
    if out.shape != torch.broadcast_shapes(*(a.shape for a in given if torch.is_tensor(a))):
        bad(rec, name, out)
        return
    _pointwise(rec, op, given, out)


def _arguments(op: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    if op == "clamp":
        low = kwargs.get("min", args[1] if len(args) > 1 else None)
        high = kwargs.get("max", args[2] if len(args) > 2 else None)
        return (args[0], low, high)
    return args


def _pointwise(rec: Recorder, op: str, given: Sequence[Any], out: Any) -> None:
    operands: list[Operand] = []
    pattern: list[Any] = []
    for item in given:
        if isinstance(item, torch.Tensor):
            pattern.append("tensor")
            operands.append(rec.operand(item))
        else:
            pattern.append(None if item is None else float(item))
    refs = [o for o in operands if isinstance(o, Ref)]
    lead, rank = rec.common_lead(refs), out.ndim
    skipped = leads(refs[0])
    make = pointwise(op, tuple(pattern), rank - skipped)
    event = rec.record(("pointwise", op, *pattern), operands, make, rec.name(op), lead=lead)
    rec.mark(out, rec.result(event))
