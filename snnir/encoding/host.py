"""Encoding arrays: by the nodes of a graph, or as a framework does it."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.encoding.nodes import WINDOWED, Encoder
from snnir.errors import error
from snnir.ir import Graph, Input, Node, Value
from snnir.streams import Kind, Signal
from snnir.suggest import hint as meant

Array = npt.NDArray[Any]

#: Elements of what is given out.
MOST = 1 << 31


def encode(
    kind: str,
    data: npt.ArrayLike,
    steps: int | None = None,
    *,
    seed: int = 0,
    dt: float = 1e-3,
    like: str | None = None,
    state: Any = None,
    **options: Any,
) -> Array:
    """Return spikes [steps, batch, *shape] for data, as float32.

    Without `like` they are what a graph with the pass `encode` gives its network, in every bit: the
    number drawn for an element depends on seed, step, sample and element alone.

    Args:
        kind: `poisson`, `bernoulli`, `rank-order`, `latency`, `delta` or `repeat`; with `like` the
            framework's own word, see `docs/encoders.md`.
        data: [batch, *shape], or a signal [steps, batch, *shape] for `delta`.
        steps: Number of steps; left out for `delta`. The default `time` of windows.
        seed: Of the random numbers.
        dt: Seconds per step.
        like: `bindsnet`, `snntorch` or `spikingjelly`: give what the framework's function gives.
        state: With `like`: the state of torch's generator of random numbers. A seed, a tensor of
            `torch.get_rng_state()` or a `torch.Generator`, which moves on; torch's own if left out.
        options: Of the pass `encode`, or of the framework's function.

    Raises:
        SnnirError: SNN601 for data that cannot be encoded so; SNN401 for a wrong kind or option.
    """
    array = _checked(data)
    if not 0 < dt < float("inf"):
        raise error("SNN401", f"encode: dt is {dt}, must be a positive number of seconds")
    if steps is not None and array.size * max(steps, 1) > MOST:
        raise error("SNN601", f"{steps} steps of {list(array.shape)} are more than {MOST} spikes")
    if like is not None:
        from snnir.encoding.frameworks import encode_like

        return encode_like(like, kind, array, steps, dt, state, options)
    if state is not None:
        raise error("SNN401", "encode: `state` is for `like`; give a seed")
    if kind in WINDOWED and "time" not in options and steps is not None:
        options["time"] = steps
    known = [field.name for field in fields(Encoder)]
    unknown = sorted(set(options) - set(known))
    if unknown:
        what = f"encode: there is no option {', '.join(unknown)}"
        raise error("SNN401", what, hint=meant(unknown[0], known, "its options"))
    encoder = Encoder(kind, seed, **options)
    problem = encoder.problem()
    if problem:
        raise error("SNN401", f"encode: {problem}")
    signal = _signal(encoder, array, steps)
    return _run(encoder, signal, dt)


def _checked(data: npt.ArrayLike) -> Array:
    try:
        array = np.asarray(data)
        plain = array.astype(np.float32) if array.dtype.kind in "biuf" else None
    except (TypeError, ValueError):
        plain = None
    if plain is None:
        raise error("SNN601", "data to encode must be an array of numbers")
    if plain.size == 0:
        raise error("SNN601", f"data to encode is empty, {list(plain.shape)}")
    if not np.isfinite(plain).all():
        raise error("SNN601", "data to encode contains NaN or infinity")
    return plain


def _signal(encoder: Encoder, data: Array, steps: int | None) -> Array:
    """Return [steps, batch, *shape], checked for the kind."""
    kind = encoder.kind
    if kind == "delta":
        if data.ndim < 2 or steps not in (None, len(data)):
            wanted = "[steps, batch, *shape]" if steps is None else f"[{steps}, batch, *shape]"
            raise error("SNN601", f"delta encodes a signal {wanted}, got {list(data.shape)}")
        return data
    if data.ndim < 1:
        raise error("SNN601", "data to encode must be [batch, *shape], got one number")
    if steps is None or steps < 1:
        raise error("SNN601", f"{kind} needs a number of steps, at least 1")
    if kind != "repeat" and data.min() < 0:
        raise error("SNN601", f"{kind} encodes numbers from 0, got {data.min():g}")
    top = 1.0 / encoder.rate if kind == "bernoulli" else 1.0
    scaled = kind == "bernoulli" and encoder.normalize
    if kind in ("bernoulli", "latency") and not scaled and data.max() > top:
        hint = "normalize, or give a lower rate" if kind == "bernoulli" else "divide it"
        raise error(
            "SNN601", f"{kind} encodes numbers from 0 to {top:g}, got {data.max():g}", hint=hint
        )
    return np.broadcast_to(data, (steps, *data.shape))


def _run(encoder: Encoder, signal: Array, dt: float) -> Array:
    import snnir

    shape = signal.shape[2:]
    editor = Graph({}, {}, dt=dt).edit()
    editor.put(Node("data", Input(Signal(Kind.ANALOG, shape))))
    editor.outputs["spikes"] = encoder.attach(editor, Value("data"), shape, dt)
    return snnir.run(editor.graph().verify(), signal).output.astype(np.float32, copy=False)
