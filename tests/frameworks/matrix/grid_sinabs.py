"""Sinabs: every layer class over spike functions, resets, synapses, bounds and time constants."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from tests.frameworks.matrix.row import (
    BATCH,
    STEPS,
    Array,
    Options,
    Row,
    Trace,
    dyadic,
    eighths,
    fill,
    linear,
    normal,
    tensor,
    uniform,
)

#: Name of a state in Sinabs.
_OWN = {"v": "v_mem", "i": "i_syn", "b": "b"}
#: Lengths of the runs after which a state is read.
_PREFIXES = (1, 2, 3, 10, 50, 100, STEPS)

SPIKES = ("multi", "single", "max2")
RESETS = ("subtract", "subtract 0.8", "reset", "reset to 0.1")


# --- Driving -------------------------------------------------------------------------------------


def time_last(x: Array) -> Any:
    """Return [T, B, N] as a tensor [B, T, N]."""
    return tensor(np.ascontiguousarray(x.swapaxes(0, 1)))


def time_first(y: Any) -> Array:
    """Return a tensor [B, T, N] as an array [T, B, N]."""
    return np.asarray(y.detach().numpy().swapaxes(0, 1), np.float32)


def recorded(layer: Any, x: Array, states: tuple[str, ...]) -> Trace:
    """Run the whole sequence; the layer records its states."""
    layer.record_states = True
    output = time_first(layer(time_last(x)))
    return Trace(output, {name: time_first(layer.recordings[_OWN[name]]) for name in states})


def prefixed(layer: Any, x: Array, states: tuple[str, ...]) -> Trace:
    """Run sequences of growing length from rest and read the states after each.

    The recordings of ALIF and of recurrent layers hold the membrane before its reset, of the step
    after: their dictionary is changed once more after it was appended. Their last entry is right.
    """
    layer.record_states = True
    found: dict[str, list[Array]] = {name: [] for name in states}
    for length in _PREFIXES:
        layer.reset_states()
        output = layer(time_last(x[:length]))
        for name in states:
            found[name].append(layer.recordings[_OWN[name]][:, -1].detach().numpy().copy())
    seen = tuple(length - 1 for length in _PREFIXES)
    return Trace(
        time_first(output), {n: np.stack(v) for n, v in found.items()}, dict.fromkeys(states, seen)
    )


def squeezed(layer: Any, x: Array, states: tuple[str, ...]) -> Trace:
    """Give the layer [B*T, N] in two halves; its state persists between the calls."""
    outputs: list[Array] = []
    found: dict[str, list[Array]] = {name: [] for name in states}
    half = STEPS // 2
    for part in (x[:half], x[half:]):
        flat = time_last(part).reshape(BATCH * half, *x.shape[2:])
        outputs.append(time_first(layer(flat).reshape(BATCH, half, *x.shape[2:])))
        for name in states:
            found[name].append(getattr(layer, _OWN[name]).detach().numpy().copy())
    return Trace(
        np.concatenate(outputs), {name: np.stack(values) for name, values in found.items()},
        dict.fromkeys(states, (half - 1, STEPS - 1)),
    )  # fmt: skip


def squeezed_once(layer: Any, x: Array, states: tuple[str, ...]) -> Trace:
    """Give the layer [B*T, N]; only its last states can be read."""
    flat = time_last(x).reshape(BATCH * STEPS, *x.shape[2:])
    output = time_first(layer(flat).reshape(BATCH, STEPS, *x.shape[2:]))
    last = {name: getattr(layer, _OWN[name]).detach().numpy()[None] for name in states}
    return Trace(output, last, dict.fromkeys(states, (STEPS - 1,)))


# --- Layers --------------------------------------------------------------------------------------


def spike_function(kind: str) -> Any:
    from sinabs import activation

    known = {"multi": activation.MultiSpike, "single": activation.SingleSpike}
    return known[kind] if kind in known else activation.MaxSpike(int(kind.removeprefix("max")))


def reset_function(kind: str) -> Any:
    from sinabs.activation import MembraneReset, MembraneSubtract

    return {
        "subtract": MembraneSubtract(),
        "subtract 0.8": MembraneSubtract(0.8),
        "reset": MembraneReset(),
        "reset to 0.1": MembraneReset(0.1),
    }[kind]


def layer_class(kind: str) -> Any:
    from sinabs import layers
    from sinabs.layers.alif import ALIFSqueeze  # not in sinabs.layers

    return ALIFSqueeze if kind == "ALIFSqueeze" else getattr(layers, kind)


def make(
    seed: int, kind: str, fires: str = "", reset: str = "", threshold: float | None = None,
    **options: Any,
) -> Any:  # fmt: skip
    """Return a layer; an option that is a tuple has one value per seed."""
    given = {
        name: value[seed] if isinstance(value, tuple) else value for name, value in options.items()
    }
    if fires:
        given["spike_fn"] = spike_function(fires)
    if reset:
        given["reset_fn"] = reset_function(reset)
    if threshold is not None:
        given["spike_threshold"] = tensor(np.float32(threshold))
    return layer_class(kind)(**given)


def varied_threshold(seed: int, **options: Any) -> Any:
    return make(seed, threshold=(1.0, 1.3, 0.7)[seed], **options)


def threshold_per_neuron(seed: int, kind: str, **options: Any) -> Any:
    return make(seed, kind, spike_threshold=tensor(uniform(seed, 0.5, 1.5)), **options)


def halving(seed: int, **options: Any) -> Any:
    """A layer whose decays are 1/2, so that membranes meet the threshold exactly."""
    layer = make(seed, tau_mem=1.0, train_alphas=True, norm_input=False, **options)
    for name in ("alpha_mem", "alpha_adapt"):
        if hasattr(layer, name):
            fill(getattr(layer, name), np.float32(0.5))
    return layer


def per_neuron(seed: int, kind: str, synapse: bool = True, **options: Any) -> Any:
    """A layer with time constants per neuron."""
    if synapse:
        options["tau_syn"] = tensor(uniform(seed + 3, 2, 20))
    return make(seed, kind, tau_mem=tensor(uniform(seed, 5, 50)), **options)


def recurrent(seed: int, kind: str, scale: float, bias: bool = False, **options: Any) -> Any:
    """A layer that is recurrent through a dyadic matrix."""
    size = dyadic(seed, scale).shape[0]
    connection = linear(dyadic(seed, scale), dyadic(seed + 1, scale, (size,)) if bias else None)
    return make(seed, kind, rec_connect=connection, **options)


# --- Rows ----------------------------------------------------------------------------------------

row = partial(Row, "sinabs")
TAUS = (10.0, 20.0, 7.3)
plain_input = partial(normal, scale=0.9)
normed_input = partial(normal, scale=8.0, bias=6.0)


def functions() -> Iterator[Row]:
    """IAF and LIF over spike functions and resets."""
    for fires, reset in itertools.product(SPIKES, RESETS):
        own: Options = {"fires": fires, "reset": reset}
        text = f"{fires} {reset}"
        build = partial(varied_threshold, kind="IAF", min_v_mem=-1.0, **own)
        yield row("IAF", f"{text} min_v=-1", build, plain_input, ("v",), recorded)
        build = partial(make, kind="LIF", tau_mem=TAUS, **own)
        yield row("LIF", f"{text} norm_input", build, normed_input, ("v",), recorded)


def synapses() -> Iterator[Row]:
    """Synaptic currents, with the time constants or their decays as parameters."""
    for norm, alphas in itertools.product((True, False), (False, True)):
        options: Options = {"norm_input": norm, "train_alphas": alphas, "min_v_mem": -0.7}
        text = f"norm_input={norm} train_alphas={alphas}"
        x = partial(normal, scale=3.0 if norm else 0.3, bias=1.0 if norm else 0.05)
        build = partial(per_neuron, kind="LIF", **options)
        yield row("LIF", f"tau_syn per neuron {text}", build, x, ("v", "i"), recorded)
        x = normed_input if norm else partial(normal, scale=0.3)
        build = partial(per_neuron, kind="LIF", synapse=False, **options)
        yield row("LIF", f"tau_mem per neuron {text}", build, x, ("v",), recorded)
        build = partial(
            make, kind="LIF", tau_mem=20.0, tau_syn=5.0, norm_input=norm, train_alphas=alphas
        )  # fmt: skip
        x = partial(normal, scale=3.0 if norm else 0.2, bias=1.0 if norm else 0.05)
        yield row("LIF", f"tau_syn {text}", build, x, ("v", "i"), recorded)
    build = partial(make, kind="IAF", tau_syn=5.0, min_v_mem=-1.0)
    yield row("IAF", "tau_syn", build, partial(normal, scale=0.3, bias=0.05), ("v", "i"), recorded)
    build = partial(make, kind="IAF", tau_syn=5.0, fires="single", reset="reset")
    x = partial(normal, scale=0.3, bias=0.05)
    yield row("IAF", "tau_syn single reset", build, x, ("v", "i"), recorded)


def bounds() -> Iterator[Row]:
    """Lower bounds and their absence, thresholds, and ties."""
    for bound in (None, -0.3):
        build = partial(make, kind="IAF", min_v_mem=bound, fires="single")
        yield row("IAF", f"min_v={bound}", build, plain_input, ("v",), recorded)
        build = partial(make, kind="LIF", tau_mem=TAUS, min_v_mem=bound, threshold=1.7)
        yield row("LIF", f"min_v={bound} threshold=1.7", build, normed_input, ("v",), recorded)
    build = partial(threshold_per_neuron, kind="IAF")
    yield row("IAF", "threshold per neuron", build, plain_input, ("v",), recorded)
    build = partial(threshold_per_neuron, kind="LIF", tau_mem=20.0)
    yield row("LIF", "threshold per neuron", build, normed_input, ("v",), recorded)
    for fires in SPIKES:
        build = partial(make, kind="IAF", fires=fires)
        yield row("IAF", f"{fires} ties", build, eighths, ("v",), recorded)
        build = partial(halving, kind="LIF", fires=fires)
        yield row("LIF", f"{fires} ties", build, eighths, ("v",), recorded)
        build = partial(halving, kind="ALIF", fires=fires, tau_adapt=1.0, adapt_scale=0.5)
        yield row("ALIF", f"{fires} ties", build, eighths, ("v", "b"), prefixed)


def leaks() -> Iterator[Row]:
    """ExpLeak, whose output is its membrane."""
    x = partial(normal, scale=1.0)
    leak = partial(row, inputs=x, states=("v",), graded=True)
    forms: dict[str, Options] = {
        "plain": {"tau_mem": 20.0},
        "norm_input": {"tau_mem": 7.3, "norm_input": True},
        "train_alphas": {"tau_mem": 20.0, "train_alphas": True},
        "min_v=-0.5": {"tau_mem": 20.0, "min_v_mem": -0.5},
    }
    for text, options in forms.items():
        build = partial(make, kind="ExpLeak", **options)
        yield leak("ExpLeak", text, build, drive=recorded)
    build = partial(per_neuron, kind="ExpLeak", synapse=False)
    yield leak("ExpLeak", "tau_mem per neuron", build, drive=recorded)
    build = partial(make, kind="ExpLeakSqueeze", tau_mem=20.0, batch_size=BATCH)
    yield leak("ExpLeakSqueeze", "batch_size", build, drive=squeezed)


def recurrences() -> Iterator[Row]:
    """Recurrent layers; the recurrent current starts at zero, also with a bias."""
    x = partial(normal, scale=0.5, bias=0.2)
    lif: Options = {"kind": "LIFRecurrent", "tau_mem": 15.0}
    build = partial(recurrent, scale=0.15, norm_input=False, fires="single", **lif)
    yield row("LIFRecurrent", "single", build, x, ("v",), prefixed)
    build = partial(recurrent, scale=0.05, bias=True, tau_syn=5.0, **lif)
    few = partial(normal, scale=3.0, bias=1.0)
    yield row("LIFRecurrent", "tau_syn norm_input bias", build, few, ("v", "i"), prefixed)
    build = partial(recurrent, kind="IAFRecurrent", scale=0.05, min_v_mem=-1.0)
    yield row("IAFRecurrent", "multi min_v=-1", build, x, ("v",), prefixed)
    build = partial(
        recurrent, kind="IAFRecurrent", scale=0.15, fires="single", reset="reset", bias=True
    )  # fmt: skip
    yield row("IAFRecurrent", "single reset bias", build, x, ("v",), prefixed)


def adaptive() -> Iterator[Row]:
    """ALIF and its forms."""
    own: Options = {"tau_mem": 20.0, "tau_adapt": 50.0}
    soft = partial(normal, scale=0.5, bias=0.2)
    forms: dict[str, tuple[Options, Any, tuple[str, ...]]] = {
        "plain": ({}, normed_input, ("v", "b")),
        "tau_syn": ({"tau_syn": 8.0}, normed_input, ("v", "b", "i")),
        "tau_syn norm_input=False": (
            {"tau_syn": 8.0, "norm_input": False}, partial(normal, scale=0.1, bias=0.05),
            ("v", "b", "i"),
        ),
        "norm_input=False": ({"norm_input": False}, soft, ("v", "b")),
        "train_alphas": ({"tau_syn": 8.0, "train_alphas": True}, normed_input, ("v", "b", "i")),
        "multi min_v=-0.5": ({"fires": "multi", "min_v_mem": -0.5}, normed_input, ("v", "b")),
        "max2 adapt_scale=0.6": ({"fires": "max2", "adapt_scale": 0.6}, normed_input, ("v", "b")),
        "threshold=0.7": ({"threshold": 0.7}, normed_input, ("v", "b")),
        **{f"reset {r}": ({"reset": r}, normed_input, ("v", "b")) for r in RESETS[1:]},
    }  # fmt: skip
    for text, (options, x, states) in forms.items():
        yield row("ALIF", text, partial(make, kind="ALIF", **own, **options), x, states, prefixed)
    build = partial(threshold_per_neuron, kind="ALIF", **own)
    yield row("ALIF", "threshold per neuron", build, normed_input, ("v", "b"), prefixed)
    build = partial(recurrent, kind="ALIFRecurrent", scale=0.15, **own)
    yield row("ALIFRecurrent", "plain", build, normed_input, ("v", "b"), prefixed)
    build = partial(recurrent, kind="ALIFRecurrent", scale=0.15, bias=True, tau_syn=8.0, **own)
    yield row("ALIFRecurrent", "tau_syn bias", build, normed_input, ("v", "b", "i"), prefixed)
    build = partial(make, kind="ALIFSqueeze", num_timesteps=STEPS, **own)
    yield row("ALIFSqueeze", "num_timesteps", build, normed_input, ("v", "b"), squeezed_once)


def squeezes() -> Iterator[Row]:
    """Layers that take batch and time in one axis."""
    build = partial(make, kind="IAFSqueeze", batch_size=BATCH, min_v_mem=-1.0)
    yield row("IAFSqueeze", "batch_size", build, plain_input, ("v",), squeezed)
    build = partial(
        make, kind="IAFSqueeze", num_timesteps=STEPS // 2, fires="single", reset="reset"
    )  # fmt: skip
    yield row("IAFSqueeze", "num_timesteps", build, plain_input, ("v",), squeezed)
    x = partial(normal, scale=0.3)
    halves: Options = {"kind": "LIFSqueeze", "norm_input": False}
    build = partial(make, tau_mem=9.0, num_timesteps=STEPS // 2, **halves)
    yield row("LIFSqueeze", "num_timesteps", build, x, ("v",), squeezed)
    build = partial(make, tau_mem=9.0, tau_syn=4.0, batch_size=BATCH, **halves)
    x = partial(normal, scale=0.2, bias=0.05)
    yield row("LIFSqueeze", "tau_syn batch_size", build, x, ("v", "i"), squeezed)


def rows() -> Iterator[Row]:
    for group in (functions, synapses, bounds, leaks, recurrences, adaptive, squeezes):
        yield from group()
