"""Calls of modules: which are leaves of the recording, and what their call means."""

from __future__ import annotations

from typing import Any

from snnir.errors import error
from snnir.frontends.torch_nets import layers
from snnir.frontends.torch_nets.build import chain
from snnir.frontends.torch_nets.events import Bad, Ref
from snnir.frontends.torch_nets.functions import reshape
from snnir.frontends.torch_nets.layers import Unsupported
from snnir.frontends.torch_nets.neurons import framework_of, neuron_call, neuron_kind
from snnir.frontends.torch_nets.recorder import Leaf, location


def leaf(module: Any) -> Leaf | None:
    """Return what to do with a call of a module, or None to look inside."""
    if "forward" in vars(module) and framework_of(module) is None:
        return None  # replaced on the instance: its class says nothing any more
    if layers.is_flatten(module):
        return _flatten_call
    if layers.reader(module) is not None:
        return _layer_call
    if _lifts_a_layer(module):
        return _lift_call
    known = framework_of(module) is not None or hasattr(type(module), "SNNIR_STEP")
    if known and is_container(module):
        return None
    if known:
        return _neuron_leaf
    cls = type(module)
    if cls.__module__.startswith("torch.nn.modules.") and not is_container(module):
        return _unknown_call
    return None


_CONTAINERS = (
    "Sequential", "ModuleList", "ModuleDict", "LinearRecurrentContainer", "MultiStepContainer",
    "ElementWiseRecurrentContainer", "SeqToANNContainer", "StepModeContainer",
)  # fmt: skip


def is_container(module: Any) -> bool:
    """Whether a module only calls others; their calls are recorded instead."""
    return type(module).__name__ in _CONTAINERS


def _lifts_a_layer(module: Any) -> bool:
    """Whether a module is Norse's Lift of a layer; other lifts loop over time themselves."""
    if type(module).__module__ != "norse.torch.module.lift":
        return False
    inner = module.lifted_module
    return layers.is_flatten(inner) or layers.reader(inner) is not None


def _neuron_leaf(rec: Any, path: str, module: Any, args: tuple[Any, ...], out: Any) -> None:
    try:
        kind = neuron_kind(module)
        if kind is None:
            raise Unsupported(f"is a {type(module).__name__}, which is not supported")
        neuron_call(rec, kind, path, module, args, out)
    except Unsupported as refusal:
        raise error(refusal.code, refusal.reason, node=path, hint=refusal.hint) from None


def _layer_call(rec: Any, path: str, module: Any, args: tuple[Any, ...], out: Any) -> None:
    ref = rec.known(args[0])
    if ref is None:
        return  # computed from constants: a constant
    if isinstance(ref, Bad):
        rec.operand(args[0])
    sequence = getattr(module, "step_mode", "s") == "m"
    _stateless(rec, path, module, args[0], ref, out, sequence)


def _stateless(
    rec: Any, path: str, module: Any, x: Any, ref: Ref, out: Any, sequence: bool
) -> None:
    """Record the call of a layer without memory."""
    count = 2 if ref.lead in ("TB", "BT") else 1
    shape = tuple(x.shape[count:])
    _, rank = layers.reader(module) or (None, None)
    try:
        if rank is not None and count == 2 and not sequence:
            raise Unsupported(f"takes one leading axis, the model gives it {count}")
        operations = layers.read_layer(module, shape)
    except Unsupported as refusal:
        raise error(refusal.code, refusal.reason, node=path, hint=refusal.hint) from None
    if not operations:
        rec.mark(out, ref)
        return
    event = rec.record(("layer", path), [ref], chain(operations), path, ref.lead, rec.when(ref))
    rec.mark(out, rec.result(event))


def _flatten_call(rec: Any, path: str, module: Any, args: tuple[Any, ...], out: Any) -> None:
    if rec.known(args[0]) is not None:
        reshape(rec, "flatten", args, {}, out, path)


def _lift_call(rec: Any, path: str, module: Any, args: tuple[Any, ...], out: Any) -> None:
    inner = module.lifted_module
    ref = rec.known(args[0])
    if not isinstance(ref, Ref) or ref.lead != "TB":
        raise error("SNN805", f"{location()}: Lift takes a sequence [T, B, ...]", node=path)
    if layers.is_flatten(inner) and tuple(out.shape[:2]) == tuple(args[0].shape[:2]):
        reshape(rec, "flatten", args, {}, out, path)
        return
    _stateless(rec, path, inner, args[0], ref, out, sequence=True)


def _unknown_call(rec: Any, path: str, module: Any, args: tuple[Any, ...], out: Any) -> None:
    raise error(
        "SNN802", f"is a torch.nn.{type(module).__name__}, which has no op", node=path,
        hint="see the list of supported layers in docs/torch.md",
    )  # fmt: skip
