"""Neuron layers of the frameworks: recognising them by class, and their calls as events."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch  # noqa: TID253  (this module is imported when a torch model is)

from snnir.frontends.torch_nets.cell import Cell
from snnir.frontends.torch_nets.events import INPUT, Bad, Event, Operand, Ref
from snnir.frontends.torch_nets.layers import Unsupported
from snnir.frontends.torch_nets.recorder import location, tensors_in

if TYPE_CHECKING:
    from snnir.frontends.torch_nets.recorder import Recorder

_HERE = "snnir.frontends.torch_nets"
#: Where each framework's neurons are defined, and the module that reads them.
FRAMEWORKS = {
    "snntorch": ("snntorch._neurons", f"{_HERE}.from_snntorch"),
    "sinabs": ("sinabs.layers", f"{_HERE}.from_sinabs"),
    "spikingjelly": ("spikingjelly.activation_based.neuron", f"{_HERE}.from_spikingjelly"),
    "norse": ("norse.torch.module", f"{_HERE}.from_norse"),
}
#: Base classes by whose subclasses a framework's neurons are known, also those not supported.
_BASES = {
    "SpikingNeuron", "StatefulLayer", "MemoryModule", "SNNCell", "SNNRecurrentCell", "SNN",
    "SNNRecurrent", "SLSTM", "LeakyParallel", "LeakyKernel", "StateLeaky",
}  # fmt: skip


class StepOnly(Exception):
    """A neuron that makes one step was given a whole sequence: the model is one step too."""


class CalledAgain(Exception):
    """A neuron that makes one step was called again for the same input: time is inside."""


@dataclass(frozen=True)
class Kind:
    """How a neuron class is called.

    Attributes:
        framework: Key of `FRAMEWORKS`.
        read: Returns its `Cell` for a sample of this shape.
        form: Layout of its input: `B` for one step, else a sequence layout.
        states: Names of the states it takes and returns after the output, where they are tensors.
        inputs: How many of its arguments are inputs.
        extra: Names of the states it returns beside its output, step by step as the output.
    """

    framework: str
    read: Callable[[Any, tuple[int, ...]], Cell]
    form: str
    states: tuple[str, ...] = ()
    inputs: int = 1
    extra: tuple[str, ...] = ()


def framework_of(module: Any) -> str | None:
    """Return the framework whose neuron a module is, or a subclass of one."""
    for cls in type(module).__mro__:
        for name, (home, _) in FRAMEWORKS.items():
            if cls.__module__.startswith(home) and _is_neuron(cls):
                return name
    return None


def _is_neuron(cls: Any) -> bool:
    return any(base.__name__ in _BASES for base in cls.__mro__)


def neuron_kind(module: Any) -> Kind | None:
    """Return how a neuron is called and read, None if it is not a neuron of a framework.

    Raises:
        Unsupported: For a neuron that is not supported, or a subclass of one that may differ.
    """
    from snnir.frontends.torch_nets.generated import generated_kind

    made = generated_kind(module)
    if made is not None:
        return made
    framework = framework_of(module)
    if framework is None:
        return None
    home, reader = FRAMEWORKS[framework]
    table = importlib.import_module(reader).NEURONS
    cls = type(module)
    if not cls.__module__.startswith(home):
        base = next(c.__name__ for c in cls.__mro__ if c.__module__.startswith(home))
        if base in ("MemoryModule",):
            return None
        raise Unsupported(
            f"is a {cls.__name__}, a subclass of {framework}'s {base} that may compute otherwise",
            f"use {base} itself",
        )
    if cls.__name__ not in table:
        hint = f"supported are {', '.join(sorted(table))}"
        raise Unsupported(f"is a {framework} {cls.__name__}, which is not supported", hint)
    found = table[cls.__name__]
    if framework == "snntorch":
        read, states = found
        return Kind(framework, read, "TB" if cls.__name__ == "LeakyParallel" else "B", states)
    return Kind(framework, found, _form(framework, module))


def _form(framework: str, module: Any) -> str:
    name = type(module).__name__
    if framework == "sinabs":
        return "M:BT" if name.endswith("Squeeze") else "BT"
    if framework == "spikingjelly":
        return "TB" if module.step_mode == "m" else "B"
    return "B" if name.endswith("Cell") else "TB"


def supported() -> dict[str, list[str]]:
    """Return the neuron classes of every framework that can be read."""
    names = {}
    for framework, (_, reader) in FRAMEWORKS.items():
        names[framework] = sorted(importlib.import_module(reader).NEURONS)
    return names


def catalogue() -> list[dict[str, Any]]:
    """Return every neuron class with whether it is supported; others only where installed."""
    rows = []
    for framework, known in supported().items():
        found = dict.fromkeys(known, True)
        for name in _installed(FRAMEWORKS[framework][0]):
            found.setdefault(name, False)
        rows += [
            {"framework": framework, "class": name, "supported": found[name]}
            for name in sorted(found)
        ]
    return rows


def _installed(home: str) -> list[str]:
    """Return the neuron classes of a framework's package, nothing if it is not installed."""
    try:
        package = importlib.import_module(home)
    except ImportError:
        return []
    for info in pkgutil.iter_modules(package.__path__, f"{home}."):
        importlib.import_module(info.name)
    modules = [m for name, m in list(sys.modules.items()) if name.startswith(home)]
    classes = {
        item.__name__
        for module in modules
        for item in vars(module).values()
        if isinstance(item, type) and item.__module__.startswith(home) and _is_neuron(item)
    }
    return sorted(name for name in classes - _BASES if not name.startswith("_"))


# --- Calls ---------------------------------------------------------------------------------------


def neuron_call(
    rec: Recorder, kind: Kind, path: str, module: Any, args: tuple[Any, ...], out: Any
) -> None:
    """Record one call of a neuron."""
    given = [rec.operand(item) for item in args[: kind.inputs]]
    ref = next((item for item in given if isinstance(item, Ref)), None)
    x = args[given.index(ref)] if ref is not None else args[0]
    count = rec.calls.get(path, 0)
    rec.calls[path] = count + 1
    if ref is None:
        if not _one_step(kind, x):
            raise rec.refuse(
                "SNN803", f"{location()}: its input does not come from the model's input"
            )
        # The first steps of a delayed input: a later step shows what it is.
        ref = Ref(INPUT, lead=kind.form, time=count)
    ref = _fit(rec, kind, ref, x)
    single = kind.form == "B" or ref.time is not None
    if not single and count:
        raise rec.refuse("SNN805", "is called twice on sequences, so that its state is shared")
    late = ref.time is not None and ref.time < count == rec.current
    if single and ref.time is not None and ref.time != count and not late:
        raise rec.refuse(
            "SNN805", f"{location()}: in its call {count} it reads a value of step {ref.time}: the "
            "model uses it in two places, or does not go through time step by step from the first",
            "give each place a neuron of its own; shift or reverse the input outside the model",
        )  # fmt: skip
    if single and ref.time is None and count and not rec.static_loop:
        raise CalledAgain
    cell = rec.cell(path, lambda: kind.read(module, _sample(kind, ref, x)))
    tensors = list(tensors_in(out))
    names = ["out", *_state_names(kind, out, len(tensors))]
    if single:
        rec.current = count
        taken = list(kind.states) or names[1:]
        _check_states(rec, kind, path, count, args[kind.inputs :], taken)
    event = rec.record(
        ("neuron", path), given, rec.maker(path, cell), path, lead=ref.lead,
        time=count if single else None, neuron=path,
        seen={
            "x": [y.detach().clone() for y in args[: kind.inputs]], "lead": ref.lead,
            "out": tensors[0].detach().clone(),  # the model may go on in place
            "states": _kept_states(module, cell),
        },
    )  # fmt: skip
    for tensor, name in zip(tensors, names, strict=False):
        if name == "out" or single or name in kind.extra:
            rec.mark(tensor, replace(rec.result(event), result=name))
        else:
            rec.mark(tensor, Bad("the state after the last step", location()))
    # Where the output is the state itself, the tensor counts as the output.
    rec.mark(tensors[0], rec.result(event))
    rec.outputs_too[path] = {
        name for tensor, name in zip(tensors, names, strict=False) if tensor is tensors[0]
    }


#: Where frameworks keep a state in the module, by our name for it.
_KEPT = {
    "v": ("mem", "v_mem", "v"), "i": ("syn", "i_syn", "syn_inh"), "e": ("syn_exc",), "b": ("b",),
    "w": ("w",),
}  # fmt: skip


def _kept_states(module: Any, cell: Cell) -> dict[str, Any]:
    """Return the states that a module keeps itself, as they are after a call."""
    if type(module).__name__.startswith("ALIF"):
        return {}  # Sinabs 3.1.3 does not store i_syn back (`sinabs/layers/alif.py`)
    found = {}
    for state in cell.program.states:
        for name in _KEPT.get(state.name, ()):
            value = getattr(module, name, None)
            if isinstance(value, torch.Tensor) and value.ndim > 0 and value.numel():
                found[state.name] = value.detach().clone()
                break
    return found


def _one_step(kind: Kind, x: Any) -> bool:
    """Return whether an input is that of one step."""
    if kind.form in ("TB", "BT"):
        return x.ndim >= 2 and int(x.shape[kind.form.index("T")]) == 1
    return kind.form == "B"


def _fit(rec: Recorder, kind: Kind, ref: Ref, x: Any) -> Ref:
    """Return the input in the layout the neuron steps in."""
    if ref.lead == kind.form:
        return ref
    if kind.form == "B" and ref.time is not None and x.shape[0 if ref.lead == "TB" else 1] == 1:
        return ref
    if kind.form == "B":
        raise StepOnly(rec.inside[-1] if rec.inside else "")
    raise rec.refuse(
        "SNN805", f"{location()}: takes {_LAYOUTS[kind.form]}, the model gives it "
        f"{_LAYOUTS[ref.lead]}", "give the model's own layout with layout=",
    )  # fmt: skip


_LAYOUTS = {
    "B": "one step [B, ...]", "TB": "a sequence [T, B, ...]", "BT": "a sequence [B, T, ...]",
    "M:BT": "a sequence [B*T, ...]", "M:TB": "a sequence [T*B, ...]",
}  # fmt: skip


def _sample(kind: Kind, ref: Ref, x: Any) -> tuple[int, ...]:
    return tuple(x.shape[2 if ref.lead in ("TB", "BT") else 1 :])


def _state_names(kind: Kind, out: Any, count: int) -> list[str]:
    """Return the names of the tensors after the output, in the order they are returned."""
    if kind.extra:
        return list(kind.extra)
    if kind.states or kind.framework == "snntorch":
        return [name for name in kind.states if name != "out"]
    if isinstance(out, tuple) and len(out) == 2:
        return _fields(out[1])
    return [f"state{i}" for i in range(count - 1)]


_NORSE = {"z": "out", "rho": "refractory"}


def _fields(state: Any) -> list[str]:
    """Return the names of a named tuple's tensors, nested ones in place."""
    names: list[str] = []
    for name in getattr(state, "_fields", ()):
        inner = getattr(state, name)
        names += _fields(inner) if hasattr(inner, "_fields") else [_NORSE.get(name, name)]
    return names


def _check_states(
    rec: Recorder, kind: Kind, path: str, count: int, rest: Any, names: list[str]
) -> None:
    """Refuse states that are not the ones the step before returned, or zero before the first."""
    given = [item for item in rest if item is not None]
    if count and not given and kind.framework == "norse":
        raise rec.refuse(
            "SNN805", f"{location()}: is called without the state its last step returned",
            "hand the state on, or use the module that loops over time",
        )  # fmt: skip
    pairs = list(zip(rest, names, strict=False)) if kind.states else _named(rest, names)
    for tensor, name in pairs:
        if not isinstance(tensor, torch.Tensor):
            continue
        found = rec.known(tensor)
        at_rest = kind.framework == "norse" or not tensor.any()
        if count == 0 and found is None and at_rest:
            continue
        before = _previous(rec, path, found, name)
        if before != count - 1:
            raise rec.refuse(
                "SNN805", f"{location()}: state {name} is not the one its last step returned",
                "a neuron's state may only be passed on, or start at zero",
            )  # fmt: skip


def _named(rest: Any, names: list[str]) -> list[tuple[Any, str]]:
    """Return the tensors of a nested state with their names."""
    given = list(tensors_in(rest))
    return list(zip(given, [*names, *["?"] * len(given)], strict=False))


def _previous(rec: Recorder, path: str, found: Operand | Bad | None, name: str) -> int | None:
    """Return the step whose state a tensor is, None if it is not this neuron's."""
    if not isinstance(found, Ref) or found.source < 0:
        return None
    event: Event = rec.events[found.source]
    is_it = found.result == name or (found.result == "out" and name in rec.outputs_too[path])
    matches = event.neuron == path and is_it
    return event.time if matches else None
