"""Surrogate gradients: what stands for the derivative of a spike, as scalar programs.

A spike is a step of x = membrane - threshold, whose derivative is zero almost everywhere. Training
puts a smooth function in its place. Each is defined once here, as a traced program, and printed
by every target that can train. The forms and defaults are those of the framework named.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from snnir.dynamics.functions import exp, maximum, select
from snnir.dynamics.program import Dynamics
from snnir.dynamics.trace import Builder, Symbol
from snnir.errors import error
from snnir.streams import Kind

Derivative = Callable[..., Any]


def fast_sigmoid(x: Symbol, slope: float = 25.0) -> Symbol:
    """1 / (slope |x| + 1)^2 (snnTorch)."""
    away = slope * abs(x) + 1.0
    return 1.0 / (away * away)


def atan(x: Symbol, alpha: float = 2.0) -> Symbol:
    """(alpha / 2) / (1 + (pi alpha x / 2)^2) (snnTorch, SpikingJelly)."""
    bent = (math.pi / 2.0 * alpha) * x
    return (alpha / 2.0) / (bent * bent + 1.0)


def sigmoid(x: Symbol, slope: float = 25.0) -> Symbol:
    """Slope times s (1 - s) where s = 1 / (1 + exp(-slope x)) (snnTorch; SpikingJelly: 4)."""
    # Of |x|, because exp of a large positive number would overflow; the function is even.
    decayed = exp(-slope * abs(x))
    return slope * decayed / ((decayed + 1.0) * (decayed + 1.0))


def triangle(x: Symbol, alpha: float = 1.0) -> Symbol:
    """Alpha - alpha^2 |x| inside of |x| < 1/alpha (SpikingJelly's PiecewiseQuadratic)."""
    return maximum(alpha - (alpha * alpha) * abs(x), 0.0)


def triangular(x: Symbol, height: float = 0.3) -> Symbol:
    """Height max(1 - |x|, 0) (Norse's triangle)."""
    return height * maximum(1.0 - abs(x), 0.0)


def superspike(x: Symbol, alpha: float = 100.0) -> Symbol:
    """1 / (alpha |x| + 1)^2 (Norse)."""
    return fast_sigmoid(x, alpha)


def soft_sign(x: Symbol, alpha: float = 2.0) -> Symbol:
    """1 / (2 alpha (1/alpha + |x|)^2) (SpikingJelly)."""
    away = abs(x) + 1.0 / alpha
    return 1.0 / ((2.0 * alpha) * (away * away))


def super_spike(x: Symbol, alpha: float = 1.0) -> Symbol:
    """Alpha / (|x| + 1)^2 (SpikingJelly)."""
    away = abs(x) + 1.0
    return alpha / (away * away)


def piecewise_exp(x: Symbol, alpha: float = 1.0) -> Symbol:
    """(alpha / 2) exp(-alpha |x|) (SpikingJelly)."""
    return (alpha / 2.0) * exp(-alpha * abs(x))


def erf(x: Symbol, alpha: float = 2.0) -> Symbol:
    """(alpha / sqrt(pi)) exp(-(alpha x)^2) (SpikingJelly)."""
    scaled = alpha * x
    return (alpha / math.sqrt(math.pi)) * exp(-(scaled * scaled))


def gaussian(x: Symbol, mu: float = 0.0, sigma: float = 0.5, scale: float = 1.0) -> Symbol:
    """Scale times the density of a normal distribution (Sinabs)."""
    away = x - mu
    height = scale / (sigma * math.sqrt(2.0 * math.pi))
    return height * exp(-(away * away) / (2.0 * sigma * sigma))


def single_exponential(x: Symbol, width: float = 0.5, scale: float = 1.0) -> Symbol:
    """(scale / width) exp(-|x| / width) (Sinabs, for a threshold of 1)."""
    return (scale / width) * exp(-abs(x) / width)


def spike_rate_escape(x: Symbol, beta: float = 1.0, slope: float = 25.0) -> Symbol:
    """Slope exp(-beta |x - 1|) (snnTorch)."""
    return slope * exp(-beta * abs(x - 1.0))


def rectangle(x: Symbol, width: float = 1.0) -> Symbol:
    """1 / width inside of |x| < width / 2 (STBP, Wu et al. 2018)."""
    return select(abs(x) < width / 2.0, 1.0 / width, 0.0)


def piecewise_leaky_relu(x: Symbol, w: float = 1.0, c: float = 0.01) -> Symbol:
    """1 / (2 w) inside of |x| < w, c outside (SpikingJelly)."""
    return select(abs(x) < w, 1.0 / (2.0 * w), c)


def leaky_k_relu(x: Symbol, leak: float = 0.0, k: float = 1.0) -> Symbol:
    """K where x >= 0, leak elsewhere (SpikingJelly)."""
    return select(x >= 0.0, k, leak)


def q_pseudo_spike(x: Symbol, alpha: float = 2.0) -> Symbol:
    """(1 + 2 |x| / (alpha - 1))^-alpha (SpikingJelly)."""
    return (abs(x) * (2.0 / (alpha - 1.0)) + 1.0) ** -alpha


def straight_through(x: Symbol) -> Symbol:
    """1 everywhere (snnTorch)."""
    return select(x >= 0.0, 1.0, 1.0)


SURROGATES: dict[str, Derivative] = {
    function.__name__: function
    for function in (
        fast_sigmoid, atan, sigmoid, triangle, triangular, superspike, soft_sign, super_spike,
        piecewise_exp, erf, gaussian, single_exponential, spike_rate_escape, rectangle,
        piecewise_leaky_relu, leaky_k_relu, q_pseudo_spike, straight_through,
    )
}  # fmt: skip
"""All surrogates by name."""

DEFAULT = "fast_sigmoid"


@dataclass(frozen=True)
class Surrogate:
    """A surrogate with its parameters.

    Attributes:
        name: Key of `SURROGATES`.
        values: (parameter, value) in the order of the definition.
    """

    name: str
    values: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        inside = ",".join(f"{key}={value:g}" for key, value in self.values)
        return f"{self.name}{{{inside}}}" if inside else self.name

    def __call__(self, x: Symbol) -> Symbol:
        """Record the derivative at x."""
        result: Symbol = SURROGATES[self.name](x, **dict(self.values))
        return result

    @cached_property
    def program(self) -> Dynamics:
        """The derivative as a program from `x` to one output."""
        builder = Builder()
        y = self(builder.symbol("x"))
        return Dynamics(
            self.name, ("x",), (), (), tuple(builder.body), (), ((y.name, Kind.ANALOG),)
        )


def surrogate(spec: str | Surrogate = DEFAULT) -> Surrogate:
    """Return the surrogate of a text such as `fast_sigmoid{slope=25}`.

    Raises:
        SnnirError: SNN503 for an unknown name or parameter, or a value that is not a number.
    """
    if isinstance(spec, Surrogate):
        return spec
    name, brace, rest = spec.strip().partition("{")
    if name not in SURROGATES or (brace and not rest.endswith("}")):
        raise error(
            "SNN503", f"there is no surrogate '{spec}'", hint=f"use {', '.join(SURROGATES)}"
        )
    known = {
        key: float(item.default)
        for key, item in inspect.signature(SURROGATES[name]).parameters.items()
        if key != "x"
    }
    for pair in filter(None, rest.rstrip("}").split(",")):
        key, _, text = (part.strip() for part in pair.partition("="))
        if key not in known:
            hint = f"its parameters: {', '.join(known)}" if known else "it has none"
            raise error("SNN503", f"surrogate '{name}' has no parameter '{key}'", hint=hint)
        known[key] = _number(name, key, text)
    return Surrogate(name, tuple(known.items()))


def _number(name: str, key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise error("SNN503", f"surrogate '{name}': {key} is '{text}', must be a number")
    return value
