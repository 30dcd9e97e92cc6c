"""Encoding as frameworks do it, given the state of torch's generator of random numbers.

What is drawn, and in which order, follows BindsNET 0.3.4 (bindsnet.encoding), snnTorch 1.0.0
(snntorch.spikegen) and SpikingJelly 2.0.0 (activation_based.encoding); so does the arithmetic
wherever it decides about a spike.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.encoding.nodes import wrong_option
from snnir.errors import error, shown
from snnir.suggest import hint as meant

Array = npt.NDArray[Any]
Tensor = Any


def encode_like(
    like: str,
    kind: str,
    data: Array,
    steps: int | None,
    dt: float,
    state: Any,
    options: Mapping[str, Any],
) -> Array:
    """Return the spikes of a framework's own function; see `snnir.encode`.

    Raises:
        SnnirError: SNN401 for an unknown framework, kind or option; SNN601 for data or a state of
            the generator that do not fit.
    """
    if like not in FRAMEWORKS:
        raise error("SNN401", f"encode: like is '{like}', must be {', '.join(FRAMEWORKS)}")
    known = FRAMEWORKS[like]
    if kind not in known:
        what = f"encode: {like} has no '{shown(kind)}'"
        raise error("SNN401", what, hint=meant(kind, known))
    function = known[kind]
    allowed = [name for name in inspect.signature(function).parameters if name not in _GIVEN]
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        hint = meant(unknown[0], allowed, "its options") if allowed else "it has none"
        raise error("SNN401", f"encode: {kind} has no option {', '.join(unknown)}", hint=hint)
    for name, value in options.items():
        wrong = wrong_option(name, value, inspect.signature(function).parameters[name].annotation)
        if wrong:
            raise error("SNN401", f"encode: {wrong}")
    if data.ndim < 1 or (kind == "delta" and data.ndim < 2):
        raise error("SNN601", f"data to encode must have an axis for samples, {list(data.shape)}")
    if kind != "delta" and (steps is None or steps < 1):
        raise error("SNN601", f"{kind} needs a number of steps, at least 1")
    torch = _torch()
    draws = _Draws(torch, _generator(torch, state), float(dt))
    x = torch.from_numpy(np.array(data))
    if like == "bindsnet":  # its data sets encode one sample after the other
        spikes = torch.stack([function(sample, steps, draws, **options) for sample in x], 1)
    else:
        spikes = function(x, steps, draws, **options)
    found: Array = spikes.to(torch.float32).numpy()
    return found


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        raise error("SNN401", "encode: `like` needs torch", hint="pip install torch") from None
    return torch


def _generator(torch: Any, state: Any) -> Any:
    if state is None or isinstance(state, torch.Generator):
        return state
    generator = torch.Generator()
    try:
        if isinstance(state, (int, np.integer)):
            return generator.manual_seed(int(state))
        words = state if isinstance(state, torch.Tensor) else torch.from_numpy(np.array(state))
        generator.set_state(words)
    except (TypeError, RuntimeError, ValueError, OverflowError):
        what = "`state` must be a seed, torch.get_rng_state() or a torch.Generator"
        raise error("SNN601", f"encode: {what}") from None
    return generator


class _Draws:
    """Random numbers of torch, and the time step in milliseconds."""

    def __init__(self, torch: Any, generator: Any, dt: float) -> None:
        self.torch, self.generator, self.dt = torch, generator, dt * 1e3

    def bernoulli(self, p: Tensor) -> Tensor:
        return self.torch.bernoulli(p, generator=self.generator)

    def poisson(self, mean: Tensor) -> Tensor:
        return self.torch.poisson(mean, generator=self.generator)

    def normal(self, *shape: int) -> Tensor:
        return self.torch.randn(shape, generator=self.generator)

    def uniform(self, shape: Any) -> Tensor:
        return self.torch.rand(shape, generator=self.generator)


_GIVEN = ("x", "steps", "draws")


def _not_negative(x: Tensor, kind: str) -> None:
    if (x < 0).any():
        raise error("SNN601", f"{kind} encodes numbers from 0, got {float(x.min()):g}")


def _to_one(x: Tensor, kind: str) -> None:
    if (x < 0).any() or (x > 1).any():
        low, high = float(x.min()), float(x.max())
        raise error("SNN601", f"{kind} encodes numbers from 0 to 1, got {low:g} to {high:g}")


def _bindsnet_bernoulli(x: Tensor, steps: int, draws: _Draws, max_prob: float = 1.0) -> Tensor:
    _not_negative(x, "bernoulli")
    if not 0 <= max_prob <= 1:
        raise error("SNN401", f"encode: max_prob is {max_prob}, must be from 0 to 1")
    p = x / x.max() if x.max() > 1 else x
    return draws.bernoulli(max_prob * p.expand(steps, *x.shape).contiguous())


def _bindsnet_poisson(x: Tensor, steps: int, draws: _Draws, approx: bool = False) -> Tensor:
    """Poisson intervals, at least one step; `approx` compares powers of normal numbers."""
    _not_negative(x, "poisson")
    torch, flat = draws.torch, x.flatten()
    if approx:
        found = torch.pow(draws.normal(steps, flat.numel()).abs(), (flat * 0.11 + 5) / 50) < 0.6
        return found.reshape(steps, *x.shape)
    silent = flat == 0
    mean = torch.where(silent, torch.zeros_like(flat), (1 / flat) * (1000 / draws.dt))
    waits = draws.poisson(mean.expand(steps + 1, -1))
    waits = torch.where((waits == 0) & ~silent, torch.ones_like(waits), waits)
    when = torch.cumsum(waits, 0).long()
    when = torch.where((when > steps) | (when < 0), torch.zeros_like(when), when)
    spikes = torch.zeros(steps + 1, flat.numel()).scatter_(0, when, 1.0)
    return spikes[1:].reshape(steps, *x.shape)


def _bindsnet_rank_order(x: Tensor, steps: int, draws: _Draws) -> Tensor:
    _not_negative(x, "rank_order")
    torch, part = draws.torch, x.flatten() / x.max()
    late = torch.where(part > 0, 1 / part, torch.zeros_like(part))
    if not late.any():  # nothing there; the formula would divide by 0
        return torch.zeros(steps, *x.shape)
    when = torch.ceil(late * (steps / late.max())).long()
    rows = torch.arange(1, steps + 1)[:, None]
    return ((when == rows) & (when < steps)).reshape(steps, *x.shape)


def _bindsnet_single(x: Tensor, steps: int, draws: _Draws, sparsity: float = 0.5) -> Tensor:
    if not 0 <= sparsity <= 1:
        raise error("SNN401", f"encode: sparsity is {sparsity}, must be from 0 to 1")
    if x.numel() > 1 << 24:
        raise error("SNN601", "single encodes samples of up to 2**24 elements")
    spikes = draws.torch.zeros(steps, *x.shape)
    spikes[0] = x > draws.torch.quantile(x, 1 - sparsity)
    return spikes


def _repeat(x: Tensor, steps: int, draws: _Draws) -> Tensor:
    return x.expand(steps, *x.shape)


def _snntorch_rate(
    x: Tensor,
    steps: int,
    draws: _Draws,
    gain: float = 1,
    offset: float = 0,
    first_spike_time: int = 0,
) -> Tensor:
    if not 0 <= first_spike_time < steps:
        what = f"first_spike_time is {first_spike_time}, must be from 0 to {steps - 1}"
        raise error("SNN401", f"encode: {what}")
    p = x.expand(steps, *x.shape).contiguous() * gain + offset
    spikes = draws.bernoulli(p.clamp(0, 1))
    spikes[:first_spike_time] = 0
    return spikes


def _snntorch_latency(  # noqa: PLR0913, PLR0917  (the framework's function has this many)
    x: Tensor,
    steps: int,
    draws: _Draws,
    threshold: float = 0.01,
    tau: float = 1,
    first_spike_time: int = 0,
    normalize: bool = False,
    linear: bool = False,
    clip: bool = False,
    bypass: bool = False,
    epsilon: float = 1e-7,
) -> Tensor:
    torch = draws.torch
    _to_one(x, "latency")
    if not (0 < threshold < 1 and tau > 0 and 0 <= first_spike_time < steps):
        raise error(
            "SNN401", "encode: latency needs 0 < threshold < 1, tau > 0, first_spike_time < steps"
        )
    if linear:
        slope = steps - 1 - first_spike_time if normalize else tau
        when = torch.clamp_max(-slope * (x - 1), -slope * (threshold - 1)) + first_spike_time
    else:
        high = torch.clamp(x, threshold + epsilon)
        when = tau * torch.log(high / (high - threshold))
        if first_spike_time > 0:
            when = when + first_spike_time
        if normalize:
            after = when - first_spike_time
            when = after * (steps - first_spike_time - 1) / torch.max(after) + first_spike_time
    due = torch.round(when).long()
    if int(due.max()) >= steps and not bypass:
        what = f"latency needs {int(due.max()) + 1} steps, got {steps}"
        raise error("SNN601", what, hint="normalize, lower tau, or bypass")
    spikes = due == torch.arange(steps).reshape(-1, *[1] * x.ndim)
    return spikes & ~(x < threshold) if clip else spikes


def _snntorch_delta(
    x: Tensor,
    steps: int | None,
    draws: _Draws,
    threshold: float = 0.1,
    padding: bool = False,
    off_spike: bool = False,
) -> Tensor:
    torch = draws.torch
    first = x[:1] if padding else torch.zeros_like(x[:1])
    rise = x - torch.cat((first, x[:-1]))
    on = (rise >= threshold).float()
    return on - (rise <= -threshold).float() if off_spike else on


def _spikingjelly_poisson(x: Tensor, steps: int, draws: _Draws) -> Tensor:
    return draws.torch.stack([draws.uniform(x.shape) <= x for _ in range(steps)])


def _spikingjelly_latency(
    x: Tensor, steps: int, draws: _Draws, enc_function: str = "linear"
) -> Tensor:
    torch = draws.torch
    _to_one(x, "latency")
    if enc_function == "linear":
        when = (steps - 1.0) * (1.0 - x)
    elif enc_function == "log" and steps <= 88:  # beyond, alpha is no float32
        when = steps - 1.0 - torch.log((math.exp(steps - 1.0) - 1.0) * x + 1.0)
    else:
        raise error("SNN401", "encode: enc_function must be linear, or log with up to 88 steps")
    return when.round().long() == torch.arange(steps).reshape(-1, *[1] * x.ndim)


def _spikingjelly_phase(x: Tensor, steps: int, draws: _Draws) -> Tensor:
    """Binary digits, the highest first."""
    _not_negative(x, "phase")
    top = 1 - 2.0**-steps
    if (x > top).any():
        raise error("SNN601", f"phase encodes numbers up to {top:g}, got {float(x.max()):g}")
    spikes, weight = [], 0.5
    for _ in range(steps):
        spikes.append(x >= weight)
        x = x - weight * spikes[-1]
        weight /= 2
    return draws.torch.stack(spikes)


#: What each framework has: its word, and what computes it.
FRAMEWORKS: dict[str, dict[str, Callable[..., Tensor]]] = {
    "bindsnet": {
        "bernoulli": _bindsnet_bernoulli,
        "poisson": _bindsnet_poisson,
        "rank_order": _bindsnet_rank_order,
        "repeat": _repeat,
        "single": _bindsnet_single,
    },
    "snntorch": {
        "delta": _snntorch_delta,
        "latency": _snntorch_latency,
        "rate": _snntorch_rate,
    },
    "spikingjelly": {
        "latency": _spikingjelly_latency,
        "phase": _spikingjelly_phase,
        "poisson": _spikingjelly_poisson,
    },
}
