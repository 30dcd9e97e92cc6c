"""Torch functions between modules: what each means for a graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253  (this module is imported when a torch model is)

from snnir.frontends.torch_nets import layers
from snnir.frontends.torch_nets.build import chain, identity
from snnir.frontends.torch_nets.events import Bad, Constant, Ref
from snnir.frontends.torch_nets.handlers import (
    SCALAR,
    Args,
    Handler,
    Options,
    arithmetic,
    bad,
    cast,
    nothing,
    same,
    value_of,
)
from snnir.frontends.torch_nets.recorder import leads, location, tensors_in
from snnir.ir.structure import Concat, Flatten, Permute, Reshape, Slice

if TYPE_CHECKING:
    from snnir.frontends.torch_nets.recorder import Recorder


# --- Structure -----------------------------------------------------------------------------------


def _axis(args: Args, kwargs: Options) -> int:
    """Return the axis of a function whose second argument it is."""
    return int(args[1] if len(args) > 1 else kwargs.get("dim", 0))


def stack(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """Single steps become a sequence."""
    items = args[0]
    dim = _axis(args, kwargs) % out.ndim
    refs = [value_of(rec, item) for item in items]
    if dim > 1 or any(r is None or r.lead != "B" for r in refs):
        bad(rec, name, out)
        return
    _sequence(rec, name, [r for r in refs if r is not None], "TB" if dim == 0 else "BT", out)


def _sequence(rec: Recorder, name: str, refs: list[Ref], lead: str, out: Any) -> None:
    if [r.time for r in refs] != list(range(len(refs))):
        bad(rec, f"{name} of other values than one per step, in order", out)
        return
    event = rec.record(("stack", lead), refs, identity, rec.name("stack"), lead=lead)
    rec.mark(out, rec.result(event))


def concat(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """Joins features, or single steps with a time axis of one."""
    items = args[0]
    dim = _axis(args, kwargs) % out.ndim
    operands = [rec.operand(item) for item in items]
    refs = [o for o in operands if isinstance(o, Ref)]
    count = leads(refs[0])
    if dim >= count:
        operation = Concat(dim - count)
        event = rec.record(("concat", dim - count), operands, chain([operation]), rec.name("cat"))
        rec.mark(out, rec.result(event))
    elif len(refs) == len(items) and all(r.lead in ("TB", "BT") for r in refs):
        _sequence(rec, name, [replace(r, lead="B") for r in refs], refs[0].lead, out)
    else:
        bad(rec, f"{name} along time or batch", out)


def shape(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """Reshapes that keep, merge or split the leading axes."""
    reshape(rec, name, args, kwargs, out, rec.name("flatten" if name == "flatten" else "reshape"))


def reshape(
    rec: Recorder, name: str, args: Args, kwargs: Options, out: Any, path: str
) -> None:  # fmt: skip
    """Mark a reshaped value; a change of the features becomes a node of this name."""
    x, ref = args[0], value_of(rec, args[0])
    if ref is None:
        bad(rec, name, out)
        return
    count = leads(ref)
    single = ref.time is not None
    if name in ("squeeze", "squeeze_") and single and ref.lead in ("TB", "BT"):
        axis = 0 if ref.lead == "TB" else 1
        dim = kwargs.get("dim", args[1] if len(args) > 1 else None)
        if dim == axis and out.ndim == x.ndim - 1:
            rec.mark(out, replace(ref, lead="B"))
            return
    if name in ("unsqueeze", "unsqueeze_") and ref.lead == "B":
        dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        if dim in (0, 1) and single:
            rec.mark(out, replace(ref, lead="TB" if dim == 0 else "BT"))
            return
    if tuple(out.shape[:count]) == tuple(x.shape[:count]):
        _features(rec, ref, x.shape[count:], out.shape[count:], out, ref.lead, path)
    elif count == 2 and out.shape[0] == x.shape[0] * x.shape[1]:
        lead = "B" if single else f"M:{ref.lead}"
        _features(rec, ref, x.shape[2:], out.shape[1:], out, lead, path)
    elif ref.lead.startswith("M:") and out.ndim > 1 and out.shape[0] * out.shape[1] == x.shape[0]:
        _features(rec, ref, x.shape[1:], out.shape[2:], out, ref.lead[2:], path)
    else:
        bad(rec, f"{name} across time or batch", out)


def _features(
    rec: Recorder, ref: Ref, before: Any, after: Any, out: Any, lead: str, path: str
) -> None:
    """Mark `out`, with the features in another shape."""
    found = replace(ref, lead=lead)
    if tuple(before) != tuple(after):
        shape = tuple(int(n) for n in after)
        operation = Flatten() if len(shape) == 1 else Reshape(shape)
        key = ("reshape", shape)
        event = rec.record(key, [found], chain([operation]), path, lead, rec.when(ref))
        found = rec.result(event)
    rec.mark(out, found)


def permute(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """Reorders features; or swaps time and batch."""
    x, ref = args[0], value_of(rec, args[0])
    order = _order(name, args, kwargs, x.ndim)
    if ref is None or order is None:
        bad(rec, name, out)
        return
    count = leads(ref)
    head, tail = order[:count], order[count:]
    lead = ref.lead
    if count == 2 and head == (1, 0):
        lead = "BT" if lead == "TB" else "TB"
    elif head != tuple(range(count)):
        bad(rec, f"{name} across time or batch", out)
        return
    axes = tuple(axis - count for axis in tail)
    found = replace(ref, lead=lead)
    if axes != tuple(range(len(axes))):
        event = rec.record(
            ("permute", axes), [found], chain([Permute(axes)]), rec.name("permute"), lead=lead,
            time=rec.when(ref),
        )  # fmt: skip
        found = rec.result(event)
    rec.mark(out, found)


def _order(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], rank: int
) -> tuple[int, ...] | None:
    """Return the order of axes a permutation stands for."""
    if name == "permute":
        dims = kwargs.get("dims", args[1] if len(args) == 2 else args[1:])
        return tuple(d % rank for d in dims)
    if name in ("transpose", "swapaxes", "swapdims"):
        first, second = (d % rank for d in args[1:3])
        order = list(range(rank))
        order[first], order[second] = order[second], order[first]
        return tuple(order)
    if name in ("movedim", "moveaxis") and all(isinstance(d, int) for d in args[1:3]):
        order = list(range(rank))
        order.insert(args[2] % rank, order.pop(args[1] % rank))
        return tuple(order)
    return None


def getitem(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """A step of a sequence, or a slice of the features."""
    x, ref = args[0], value_of(rec, args[0])
    index = args[1] if isinstance(args[1], tuple) else (args[1],)
    if ref is None or any(isinstance(i, (torch.Tensor, list)) or i is None for i in index):
        bad(rec, name, out)
        return
    if Ellipsis in index:
        at = index.index(Ellipsis)
        filled = (slice(None),) * (x.ndim - len(index) + 1)
        index = (*index[:at], *filled, *index[at + 1 :])
    index = (*index, *(slice(None),) * (x.ndim - len(index)))
    found = _pick_step(ref, x, index)
    if found is None:
        bad(rec, f"{name} {args[1]} across time or batch", out)
        return
    if ref.time is None and found.time is not None:
        rec.current = found.time
    tail = index[leads(ref) :]
    rec.mark(out, _pick_features(rec, found, x.shape[leads(ref) :], tail))


def _pick_step(ref: Ref, x: Any, index: tuple[Any, ...]) -> Ref | None:
    """Return the value after indexing its leading axes."""
    head = index[: leads(ref)]
    whole = [i == slice(None) for i in head]
    if all(whole):
        return ref
    axis = {"TB": 0, "BT": 1}.get(ref.lead)
    if axis is None or not whole[1 - axis] or not isinstance(head[axis], int):
        return None
    if ref.time is not None:
        return replace(ref, lead="B")
    length = x.shape[axis]
    return replace(ref, lead="B", time=head[axis] % length)


def _pick_features(rec: Recorder, ref: Ref, extents: Sequence[int], index: Sequence[Any]) -> Any:
    """Return the value after slicing its features, or what is wrong."""
    operations: list[Any] = []
    kept = []
    for axis, (extent, item) in enumerate(zip(extents, index, strict=True)):
        if isinstance(item, int):
            operations.append(Slice(axis, item % extent, item % extent + 1))
            continue
        start, stop, step = item.indices(extent)
        if step != 1:
            return Bad("an index with a step", location())
        if (start, stop) != (0, extent):
            operations.append(Slice(axis, start, stop))
        kept.append(stop - start)
    if len(kept) != len(extents):
        operations.append(Reshape(tuple(kept)))
    if not operations:
        return ref
    key = ("index", *map(repr, operations))
    event = rec.record(key, [ref], chain(operations), rec.name("slice"), ref.lead, rec.when(ref))
    return rec.result(event)


def select(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """One index of one axis."""
    x = args[0]
    axis = int(args[1] if len(args) > 1 else kwargs["dim"]) % x.ndim
    index = args[2] if len(args) > 2 else kwargs["index"]
    getitem(rec, name, (x, ((slice(None),) * axis + (int(index),))), {}, out)


def unbind(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """The steps of a sequence, one by one."""
    ref = value_of(rec, args[0])
    dim = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    axis = {"TB": 0, "BT": 1}.get(ref.lead) if ref is not None else None
    if ref is None or axis != dim % args[0].ndim:
        bad(rec, f"{name} across other axes than time", out)
        return
    for time, tensor in enumerate(out):
        step = ref.time if ref.time is not None else time
        rec.mark(tensor, replace(ref, lead="B", time=step))


def split(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """Parts of the features, or single steps that keep their time axis."""
    ref = value_of(rec, args[0])
    dim = kwargs.get("dim", args[2] if len(args) > 2 else 0)
    if ref is None:
        bad(rec, name, out)
        return
    x, count = args[0], leads(ref)
    axis = dim % x.ndim
    time = {"TB": 0, "BT": 1}.get(ref.lead)
    start = 0
    for part in out:
        extent = part.shape[axis]
        if axis >= count:
            index = [slice(None)] * (x.ndim - count)
            index[axis - count] = slice(start, start + extent)
            rec.mark(part, _pick_features(rec, ref, x.shape[count:], index))
        elif axis == time and extent == 1:
            rec.mark(part, replace(ref, time=start))
        else:
            bad(rec, f"{name} across time or batch", part)
        start += extent


def setitem(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """Filling a prepared tensor step by step makes a sequence."""
    target, index, value = args[0], args[1], args[2]
    ref = value_of(rec, value)
    at = index if isinstance(index, int) else None
    lead = "TB"
    if isinstance(index, tuple) and len(index) == 2 and index[0] == slice(None):
        at, lead = (index[1] if isinstance(index[1], int) else None), "BT"
    filled = rec.fills.setdefault(id(target), (target, lead, []))[2]
    expected = at == len(filled) and rec.fills[id(target)][1] == lead
    if ref is None or ref.lead != "B" or not expected:
        rec.mark(target, Bad("an assignment into a tensor", location()))
        return
    filled.append(ref)
    if len(filled) == target.shape[0 if lead == "TB" else 1]:
        _sequence(rec, name, filled, lead, target)
    else:
        rec.mark(target, Bad("a tensor that is filled step by step, before it is full", location()))


def reduce_time(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """A sum or mean over time at the end is a readout; the graph gives every step instead."""
    ref = value_of(rec, args[0])
    dim = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
    dim = dim[0] if isinstance(dim, (tuple, list)) and len(dim) == 1 else dim
    time = {"TB": 0, "BT": 1}.get(ref.lead) if ref is not None else None
    over_time = isinstance(dim, int) and dim % args[0].ndim == time
    if ref is None or time is None or ref.time is not None or not over_time:
        bad(rec, name, out)
        return
    rec.readouts[id(out)] = (out, ref, f"{name} over time ({location()})")
    rec.mark(out, Bad(f"the {name} over time", location()))


# --- Layers as functions -------------------------------------------------------------------------


def layer(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """Functional forms of the layers."""
    ref = value_of(rec, args[0])
    if ref is None:
        bad(rec, name, out)
        return
    count = leads(ref)
    operations = layers.functional(name, args, kwargs, tuple(args[0].shape[count:]), count)
    if operations is None:
        bad(rec, name, out)
        return
    constants = [rec.operand(t) for t in tensors_in((args[1:], kwargs))]
    if any(isinstance(c, Ref) for c in constants):
        bad(rec, f"'{name}' with weights that depend on the input", out)
        return
    key = ("layer", name, *(c.identity() for c in constants if isinstance(c, Constant)),
           repr([a for a in args[1:] if not torch.is_tensor(a)]),
           repr({k: v for k, v in kwargs.items() if not torch.is_tensor(v)}))  # fmt: skip
    event = rec.record(key, [ref], chain(operations), rec.name(name), ref.lead, rec.when(ref))
    rec.mark(out, rec.result(event))


def dropout(rec: Recorder, name: str, args: Args, kwargs: Options, out: Any) -> None:
    """Dropout that does nothing; one that does is random."""
    probability = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
    training = kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else True))
    if training and probability:
        raise rec.refuse(
            "SNN806", f"{location()}: drops out at random", "call .eval() on the model first"
        )
    same(rec, name, args, kwargs, out)


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(
        ["detach", "clone", "contiguous", "requires_grad_", "cpu", "cuda", "alias", ".data",
         "detach_", "alpha_dropout_", "__pos__", "positive", "expand_as"], same),
    **dict.fromkeys(["to", "float", "type", "type_as", "bool", "int", "long", "double", "half"],
                    cast),
    **dict.fromkeys(
        ["zeros_like", "ones_like", "empty_like", "full_like", "new_zeros", "new_ones", "new_full",
         "new_empty", "size", "dim", "ndimension", "numel", "nelement", "__len__",
         "is_floating_point",
         "is_complex", "get_device", "stride", "storage_offset", "element_size", "is_contiguous",
         ".shape", ".dtype", ".device", ".ndim", ".is_sparse", ".is_cuda", ".requires_grad",
         ".layout", ".grad_fn", ".grad", ".is_leaf", ".names", ".is_quantized", ".is_nested",
         "__repr__", "__format__", "__hash__", "is_tensor", "retain_grad", "broadcast_tensors"],
        nothing),
    **dict.fromkeys(
        [*SCALAR, "add_", "sub_", "mul_", "div_", "__add__", "__sub__", "__mul__", "__truediv__",
         "__radd__", "__rsub__", "__rmul__", "__rtruediv__", "__rdiv__", "rsub", "__iadd__",
         "__isub__", "__imul__", "__itruediv__", "__neg__", "__gt__", "__ge__", "__lt__", "__le__",
         "relu_", "clamp_", "__invert__"], arithmetic),
    "stack": stack,
    **dict.fromkeys(["cat", "concat", "concatenate"], concat),
    **dict.fromkeys(["reshape", "view", "flatten", "unflatten", "squeeze", "unsqueeze", "ravel",
                     "reshape_as", "view_as", "squeeze_", "unsqueeze_"], shape),
    **dict.fromkeys(["permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"],
                    permute),
    "__getitem__": getitem,
    "select": select,
    "__setitem__": setitem,
    "unbind": unbind,
    **dict.fromkeys(["split", "chunk", "tensor_split"], split),
    **dict.fromkeys(["sum", "mean"], reduce_time),
    **dict.fromkeys(["linear", "matmul", "__matmul__", "mm", "conv1d", "conv2d", "avg_pool2d",
                     "max_pool2d", "boolean_dispatch", "_max_pool2d", "adaptive_avg_pool2d",
                     "avg_pool1d", "max_pool1d", "batch_norm", "pad", "lp_pool2d"], layer),
    **dict.fromkeys(["dropout", "dropout2d", "dropout1d", "feature_dropout", "alpha_dropout"],
                    dropout),
}  # fmt: skip
