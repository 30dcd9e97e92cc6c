"""Norse: every cell, its form with the time loop inside, and its recurrent forms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from tests.frameworks.matrix.row import (
    SIZE,
    Array,
    Refusal,
    Row,
    Trace,
    dyadic,
    eighths,
    normal,
    spikes,
    stacked,
    tensor,
    uniform,
)

#: Name of a state in Norse, where it is another.
_OWN = {"refractory": "rho"}
EXP = "NumPy's exp and torch's differ in the last bit, and the membrane holds the result"

DEFAULTS: dict[str, float] = {}
VARIED = {"tau_mem_inv": 77.0, "v_leak": 0.2, "v_th": 0.8, "v_reset": -0.1}
SYNAPSE = {"tau_syn_inv": 133.0}


# --- Driving -------------------------------------------------------------------------------------


def _state(state: Any, name: str, shape: tuple[int, ...]) -> Array:
    """Return one state of a Norse tuple, broadcast as its first step leaves scalars."""
    name = _OWN.get(name, name)
    holder = state if hasattr(state, name) else state.lif
    return np.broadcast_to(getattr(holder, name).detach().numpy(), shape).copy()


def cell(layer: Any, x: Array, states: tuple[str, ...]) -> Trace:
    """Call a cell once per step and hand it the state it returned."""
    state: Any = None
    outputs: list[Any] = []
    found: dict[str, list[Array]] = {name: [] for name in states}
    for now in x:
        out, state = layer(tensor(now), state)
        outputs.append(out)
        for name in states:
            found[name].append(_state(state, name, tuple(out.shape)))
    recorded = {name: np.stack(values) for name, values in found.items()}
    return Trace(stacked({"out": outputs})["out"], recorded)


def loop(layer: Any, x: Array, states: tuple[str, ...]) -> Trace:
    """Give the whole sequence to a module that loops and records its states."""
    layer.record_states = True
    out, state = layer(tensor(x))
    output = out.detach().numpy()
    return Trace(output, {name: _state(state, name, output.shape) for name in states})


# --- Layers --------------------------------------------------------------------------------------

#: Where the parameters of a model are defined.
_PARAMETERS = {
    "LIF": "lif", "LIFBox": "lif_box", "LI": "leaky_integrator", "LIBox": "leaky_integrator_box",
    "IAF": "iaf", "LIFRefrac": "lif_refrac", "LSNN": "lsnn", "LIFAdEx": "lif_adex",
    "LIFEx": "lif_ex",
}  # fmt: skip


def parameters(model: str, values: Mapping[str, Any]) -> Any:
    """Return a model's parameters; a pair of numbers is drawn per neuron."""
    import importlib

    home = importlib.import_module(f"norse.torch.functional.{_PARAMETERS[model]}")
    given = {name: _parameter(value) for name, value in values.items()}
    if model == "LIFRefrac":
        own = {"rho_reset": given.pop("rho_reset")} if "rho_reset" in given else {}
        return home.LIFRefracParameters(lif=parameters("LIF", given), **own)
    return getattr(home, f"{model}Parameters")(**given)


def _parameter(value: Any) -> Any:
    if isinstance(value, tuple):
        return tensor(uniform(5, *value))
    return tensor(np.float32(value)) if isinstance(value, float) else value


def make(seed: int, kind: str, values: Mapping[str, Any], dt: float = 0.001) -> Any:
    """Return a layer without recurrence."""
    import norse.torch

    model = kind.removesuffix("Cell")
    return getattr(norse.torch, kind)(parameters(model, values), dt=dt)


def subtracting(seed: int, values: Mapping[str, Any], dt: float = 0.001) -> Any:
    """Return a LIFBoxCell that subtracts its threshold."""
    from norse.torch.functional.reset import reset_subtract

    return make(seed, "LIFBoxCell", {**values, "reset_method": reset_subtract}, dt)


def recurrent(
    seed: int, kind: str, values: Mapping[str, Any], gain: float = 0.4, autapses: bool = False
) -> Any:
    """Return a layer with dyadic input and recurrent weights."""
    import norse.torch
    import torch

    model = kind.partition("Recurrent")[0]
    return getattr(norse.torch, kind)(
        SIZE, SIZE, p=parameters(model, values), autapses=autapses,
        input_weights=tensor(dyadic(seed, gain)),
        recurrent_weights=torch.nn.Parameter(tensor(dyadic(seed + 9, gain / 2))),
    )  # fmt: skip


# --- Rows ----------------------------------------------------------------------------------------

row = partial(Row, "norse")
current = partial(normal, scale=1.0, bias=0.5)
small = partial(normal, scale=0.5, bias=0.2)
driven = partial(normal, scale=6.0, bias=4.0)
graded_input = partial(normal, scale=1.0, bias=0.2)


def lif() -> Iterator[Row]:
    """LIF, LIFBox and LIFRefrac without recurrence."""
    states = ("v", "i")
    for name, values in (("defaults", DEFAULTS), ("varied", VARIED)):
        full = {**values, **SYNAPSE} if values else values
        for dt in (0.001, 0.0005):
            build = partial(make, kind="LIFCell", values=full, dt=dt)
            yield row("LIFCell", f"{name} dt={dt}", build, current, states, cell)
        build = partial(make, kind="LIF", values=full)
        yield row("LIF", name, build, current, states, loop)
        build = partial(make, kind="LIFBoxCell", values=values)
        yield row("LIFBoxCell", f"{name} reset=value", build, driven, ("v",), cell)
        build = partial(subtracting, values=values)
        yield row("LIFBoxCell", f"{name} reset=subtract", build, driven, ("v",), cell)
        refractory = partial(make, kind="LIFRefracCell", values=full)
        yield row("LIFRefracCell", name, refractory, current, (*states, "refractory"), cell)
    for steps in (1.0, 2.0, 17.0):
        refractory = partial(make, kind="LIFRefracCell", values={"rho_reset": steps})
        text = f"rho_reset={steps:g}"
        yield row("LIFRefracCell", text, refractory, current, (*states, "refractory"), cell)
    drawn = {"tau_mem_inv": (50.0, 150.0), "tau_syn_inv": (100.0, 300.0), "v_th": (0.5, 1.5)}
    yield row(
        "LIFCell", "per neuron", partial(make, kind="LIFCell", values=drawn), current, states, cell
    )  # fmt: skip


def integrators() -> Iterator[Row]:
    """LI and LIBox, whose output is the membrane, and IAF."""
    leak = {"v_leak": 0.2, "tau_mem_inv": 77.0}
    graded = partial(row, inputs=graded_input, graded=True)
    for name, values in (("defaults", DEFAULTS), ("varied", leak)):
        full = {**values, **SYNAPSE} if values else values
        build = partial(make, kind="LICell", values=full)
        yield graded("LICell", name, build, states=("v", "i"), drive=cell)
        build = partial(make, kind="LI", values=full)
        yield graded("LI", name, build, states=("v", "i"), drive=loop)
        build = partial(make, kind="LIBoxCell", values=values)
        yield graded("LIBoxCell", name, build, states=("v",), drive=cell)
    for name, values in (("defaults", {}), ("varied", {"v_th": 0.7, "v_reset": -0.2})):
        build = partial(make, kind="IAFCell", values=values)
        yield row("IAFCell", name, build, small, ("v",), cell)
        yield row("IAF", name, partial(make, kind="IAF", values=values), small, ("v",), loop)


METHODS = ("heaviside", "super", "triangle", "tanh", "circ", "heavi_erfc")


def thresholds() -> Iterator[Row]:
    """Surrogates, which must not matter, at inputs that meet the threshold."""
    for method in METHODS:
        build = partial(make, kind="IAFCell", values={"method": method})
        yield row("IAFCell", f"{method} ties", build, eighths, ("v",), cell)
    halves = {"tau_mem_inv": 512.0, "tau_syn_inv": 512.0}
    # With this sharpness, the exponential is 0 but right below the threshold.
    sharp = {**halves, "delta_T": 2**-12}
    adapting = {"tau_ada_inv": 512.0, "adaptation_current": 0.5, "adaptation_spike": 0.25}
    kinds: dict[str, tuple[Mapping[str, Any], tuple[str, ...]]] = {
        "LIFCell": (halves, ("v", "i")),
        "LIFBoxCell": ({"tau_mem_inv": 512.0}, ("v",)),
        "LIFRefracCell": ({**halves, "rho_reset": 2.0}, ("v", "i", "refractory")),
        "LSNNCell": ({**halves, "tau_adapt_inv": 512.0, "beta": 0.5}, ("v", "i", "b")),
        "LIFAdExCell": ({**sharp, **adapting}, ("v", "i", "a")),
        "LIFExCell": (sharp, ("v", "i")),
    }
    for kind, (values, states) in kinds.items():
        build = partial(make, kind=kind, values=values, dt=2**-10)
        reason = EXP if kind.endswith("ExCell") else ""
        yield row(kind, "ties", build, eighths, states, cell, reason=reason)


def refusals() -> Iterator[Refusal]:
    for steps in (0.0, 2.5):
        build = partial(make, 0, "LIFRefracCell", {"rho_reset": steps})
        reason = "the counter runs in whole steps"
        yield Refusal("norse", f"LIFRefracCell rho_reset={steps:g}", build, "SNN802", reason)


#: Parameters with which a model's threshold adapts within the run.
_ADAPTING = {"tau_adapt_inv": 20.0, "beta": 0.3, "v_th": 0.5}


def adaptive() -> Iterator[Row]:
    """LSNN."""
    states = ("v", "i", "b")
    for name, values in (("defaults", DEFAULTS), ("adapting", _ADAPTING)):
        build = partial(make, kind="LSNNCell", values=values)
        yield row("LSNNCell", name, build, current, states, cell)
        build = partial(make, kind="LSNN", values=values)
        yield row("LSNN", name, build, current, states, loop)
    varied = {**VARIED, **SYNAPSE, "tau_adapt_inv": 10.0, "beta": 0.4}
    build = partial(make, kind="LSNNCell", values=varied)
    yield row("LSNNCell", "varied", build, current, states, cell)


def exponential() -> Iterator[Row]:
    """LIFAdEx and LIFEx."""
    varied = {**VARIED, **SYNAPSE, "delta_T": 0.4}
    adapting = {**varied, "tau_ada_inv": 20.0, "adaptation_spike": 0.1}
    kinds: tuple[tuple[str, Mapping[str, Any], tuple[str, ...]], ...] = (
        ("LIFAdEx", adapting, ("v", "i", "a")),
        ("LIFEx", varied, ("v", "i")),
    )
    for model, changed, states in kinds:
        for name, values in (("defaults", DEFAULTS), ("varied", changed)):
            build = partial(make, kind=f"{model}Cell", values=values)
            yield row(f"{model}Cell", name, build, current, states, cell, reason=EXP)
        build = partial(make, kind=model, values=DEFAULTS)
        yield row(model, "defaults", build, current, states, loop, reason=EXP)


def recurrences() -> Iterator[Row]:
    """The recurrent forms: dyadic weights on input spikes and on their own."""
    full = {**VARIED, **SYNAPSE}
    plain: tuple[tuple[str, tuple[str, ...], Mapping[str, Any]], ...] = (
        ("LIF", ("v", "i"), full),
        ("LIFRefrac", ("v", "i", "refractory"), {**full, "rho_reset": 3.0}),
        ("LSNN", ("v", "i", "b"), _ADAPTING),
        ("LIFAdEx", ("v", "i", "a"), {**full, "delta_T": 0.4}),
        ("LIFEx", ("v", "i"), {**full, "delta_T": 0.4}),
    )
    for model, states, changed in plain:
        reason = EXP if model.endswith("Ex") else ""
        for name, values in (("defaults", DEFAULTS), ("varied", changed)):
            kind = f"{model}RecurrentCell"
            build = partial(recurrent, kind=kind, values=values)
            yield row(kind, name, build, spikes, states, cell, reason=reason)
        kind = f"{model}Recurrent"
        build = partial(recurrent, kind=kind, values=DEFAULTS)
        yield row(kind, "defaults", build, spikes, states, loop, reason=reason)
    build = partial(recurrent, kind="LIFRecurrentCell", values=DEFAULTS, autapses=True)
    yield row("LIFRecurrentCell", "autapses", build, spikes, ("v", "i"), cell)


def rows() -> Iterator[Row]:
    for group in (lif, integrators, thresholds, adaptive, exponential, recurrences):
        yield from group()
