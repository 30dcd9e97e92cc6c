"""The layers of BindsNET 0.3.4 as step programs, operation by operation.

Every function writes one step of a kind of layer and returns what fires. What refers to a spike
of the step before, such as a refractory count, is a state under BindsNET's own name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from snnir.dynamics import batch_sum, exp, select
from snnir.dynamics.trace import Number, Symbol
from snnir.frontends.bindsnet_nets.values import Array, Unsupported, class_of
from snnir.frontends.bindsnet_nets.writing import CellWriter, Written
from snnir.streams import Kind

f32 = np.float32


class LayerWriter(CellWriter):
    """Writes a layer's step.

    Attributes:
        drive: What the layer takes in, as `sum_input` adds it up.
        results: What a step gives besides its spikes.
        counted: Draws are in (0, 1], of the op `uniform`, not the framework's.
    """

    def __init__(self, layer: Any, name: str, counted: bool) -> None:
        super().__init__(layer, name)
        self.drive = self.input("drive")
        self.results: dict[str, tuple[Symbol, Kind]] = {}
        self.counted = counted

    @property
    def dt(self) -> Symbol:
        """The time step."""
        return self.value("dt")

    def membrane(self, rest: str = "rest") -> Symbol:
        """Return the membrane after its decay towards rest, where it starts."""
        v = self.state("v", (rest, self.number(rest)))
        return (v - self.value(rest)) * self.value("decay") + self.value(rest)

    def bounded(self, v: Symbol) -> Symbol:
        """Return a membrane that is not below the layer's bound."""
        if self.layer.lbound is None:
            return v
        bound = self.value("lbound")
        return select(v < bound, bound, v)

    def fired(self, v: Symbol, count: Symbol, spike: Symbol, reset: Number) -> None:
        """Reset what fired; `count` is the refractory count after its step."""
        self.update("refrac_count", select(spike, self.value("refrac"), count))
        self.update("v", self.bounded(select(spike, reset, v)))


def _free(count: Symbol) -> Symbol:
    """Return 1 where no refractory time is left."""
    return count.builder.apply("cast", count <= 0.0)


def _integrate_and_fire(w: LayerWriter) -> Symbol:
    count = w.state("refrac_count")
    v = w.state("v", ("reset", w.number("reset"))) + _free(count) * w.drive
    spike = v >= w.value("thresh")
    w.fired(v, count - w.dt, spike, w.value("reset"))
    return spike


def _leaky(w: LayerWriter) -> Symbol:
    v, count = w.membrane(), w.state("refrac_count")
    w.drive = select(count > 0.0, 0.0, w.drive)
    v = v + w.drive
    spike = v >= w.value("thresh")
    w.fired(v, count - w.dt, spike, w.value("reset"))
    return spike


def _boosted(w: LayerWriter) -> Symbol:
    v, count = w.state("v") * w.value("decay"), w.state("refrac_count")
    w.drive = select(count > 0.0, 0.0, w.drive)
    v = v + w.drive
    spike = v >= w.value("thresh")
    w.update("refrac_count", select(spike, w.value("refrac"), count - w.dt))
    w.update("v", select(spike, 0.0, v))
    return spike


def _current_based(w: LayerWriter) -> Symbol:
    v = w.membrane()
    i = w.state("i") * w.value("i_decay") + w.drive
    count = w.state("refrac_count") - w.dt
    v = v + _free(count) * i
    spike = v >= w.value("thresh")
    w.update("i", i)
    w.fired(v, count, spike, w.value("reset"))
    return spike


def _adaptive(w: LayerWriter) -> Symbol:
    v, count = w.membrane(), w.state("refrac_count")
    theta = _theta(w)
    v = v + _free(count) * w.drive
    spike = v >= w.value("thresh") + theta
    w.fired(v, count - w.dt, spike, w.value("reset"))
    if w.layer.learning:
        w.update("theta", theta + w.value("theta_plus") * batch_sum(select(spike, 1.0, 0.0)))
    return spike


def _theta(w: LayerWriter) -> Symbol:
    """Return what the threshold has risen by, which all samples of a batch share."""
    if not w.layer.learning:
        return w.value("theta")
    theta = w.state("theta", ("theta_start", w.number("theta")), lasting=True)
    return theta * w.value("theta_decay")


def _diehl_and_cook(w: LayerWriter) -> Symbol:
    spike = _adaptive(w)
    if w.layer.one_spike:
        w.results["score"] = select(spike, w.input("draw"), 0.0), Kind.ANALOG
    return spike


def _izhikevich(w: LayerWriter) -> Symbol:
    rest = w.number("rest")
    shape = np.broadcast_shapes(rest.shape, w.number("b").shape)
    v, u = w.state("v", ("rest", rest)), w.state("u", ("u_start", _u_start(w, rest, shape)))
    before = w.state("s") > 0.5
    v = select(before, w.value("c"), v)
    u = select(before, u + w.value("d"), u)
    half = w.param("half_dt", w.number("dt") * f32(0.5))
    for _ in range(2):
        v = v + half * (0.04 * (v * v) + 5.0 * v + 140.0 - u + w.drive)
    u = u + w.param("dt_a", w.number("dt") * w.number("a")) * (w.value("b") * v - u)
    v = w.bounded(v)
    spike = v >= w.value("thresh")
    w.update("v", v)
    w.update("u", u)
    w.update("s", select(spike, 1.0, 0.0))
    return spike


def _u_start(w: LayerWriter, rest: Array, shape: tuple[int, ...]) -> Array:
    return np.broadcast_to(w.number("b") * rest, shape)


def _mcculloch_pitts(w: LayerWriter) -> Symbol:
    w.state("v")
    w.update("v", w.drive)
    return w.drive >= w.value("thresh")


def _spike_response(w: LayerWriter) -> Symbol:
    v, count = w.membrane(), w.state("refrac_count")
    v = v + _free(count) * w.value("eps_0") * w.drive
    rho = w.value("rho_0") * exp((v - w.value("thresh")) / w.value("d_thresh"))
    probability = 1.0 - exp(-rho * w.dt)
    draw = 1.0 - w.input("draw") if w.counted else w.input("draw")
    spike = draw < probability
    w.fired(v, count - w.dt, spike, w.value("reset"))
    w.results["s_prob"] = probability, Kind.ANALOG
    return spike


#: What writes one step of a layer, by its class.
CELLS: dict[str, Callable[[LayerWriter], Symbol]] = {
    "AdaptiveLIFNodes": _adaptive,
    "BoostedLIFNodes": _boosted,
    "CurrentLIFNodes": _current_based,
    "DiehlAndCookNodes": _diehl_and_cook,
    "IFNodes": _integrate_and_fire,
    "IzhikevichNodes": _izhikevich,
    "LIFNodes": _leaky,
    "McCullochPitts": _mcculloch_pitts,
    "SRM0Nodes": _spike_response,
}

#: What keeps other classes from being read, and what would help.
REFUSED = {
    "CSRMNodes": "its kernels look at a window of past steps",
}


def kind_of(layer: Any) -> str:
    """Return the class of a layer.

    Raises:
        Unsupported: SNN802 if there is no program for it.
    """
    kind = class_of(layer, "network.nodes")
    if kind in CELLS or kind == "Input":
        return kind
    name = type(layer).__qualname__
    why = REFUSED.get(kind, "it is none of BindsNET's that are known")
    known = ", ".join(["Input", *CELLS])
    raise Unsupported(f"layers of class {name} are not read: {why}", f"use one of {known}")


def draws_of(layer: Any) -> str:
    """Return how a layer draws random numbers: `choice`, `threshold`, or "" if it does not."""
    kind = class_of(layer, "network.nodes")
    if kind == "SRM0Nodes":
        return "threshold"
    return "choice" if kind == "DiehlAndCookNodes" and layer.one_spike else ""


def write_layer(layer: Any, reads: frozenset[str], counted: bool) -> Written:
    """Return the step program of a layer that is no `Input`.

    Args:
        layer: The layer.
        reads: What rules read of it: `x`, `s_prob`.
        counted: Its random numbers come from the op `uniform`.
    """
    writer = LayerWriter(layer, f"bindsnet_{_word(kind_of(layer))}", counted)
    spike = CELLS[kind_of(layer)](writer)
    results = {"s": (spike, Kind.SPIKES)} | writer.results
    if "s_prob" not in reads:
        results.pop("s_prob", None)
    if draws_of(layer) != "choice":
        results |= _remembered(writer, spike, writer.drive, reads)
    elif layer.sum_input:
        _summed(writer, writer.drive)
    return writer.written(results)


def write_trace(layer: Any, reads: frozenset[str], summed: bool) -> Written | None:
    """Return what keeps the trace of a layer whose spikes are known beforehand, if it has one.

    Args:
        layer: The layer.
        reads: What rules read of it.
        summed: Its spikes are also its input, which `sum_input` adds up.
    """
    if not layer.traces and not (summed and layer.sum_input):
        return None
    writer = CellWriter(layer, "bindsnet_trace")
    drive = writer.input("s")
    results: dict[str, tuple[Symbol, Kind]] = {}
    if layer.traces:
        x = _trace(writer, drive > 0.5)
        results = {"x": (x, Kind.ANALOG)}
    if summed and layer.sum_input:
        total = _summed(writer, drive)
        results = results or {"summed": (total, Kind.ANALOG)}
    return writer.written(results)


def _remembered(
    writer: CellWriter, spike: Symbol, drive: Symbol, reads: frozenset[str]
) -> dict[str, tuple[Symbol, Kind]]:
    found = {}
    if writer.layer.traces:
        x = _trace(writer, spike)
        found = {"x": (x, Kind.ANALOG)} if "x" in reads else {}
    if writer.layer.sum_input:
        _summed(writer, drive)
    return found


def _trace(writer: CellWriter, spike: Symbol) -> Symbol:
    x = writer.state("x") * writer.value("trace_decay")
    scale = writer.value("trace_scale")
    if writer.layer.traces_additive:
        x = x + scale * spike.builder.apply("cast", spike)
    else:
        x = select(spike, scale, x)
    writer.update("x", x)
    return x


def _summed(writer: CellWriter, drive: Symbol) -> Symbol:
    total = writer.state("summed") + drive
    writer.update("summed", total)
    return total


def _word(kind: str) -> str:
    return kind.removesuffix("Nodes").lower()
