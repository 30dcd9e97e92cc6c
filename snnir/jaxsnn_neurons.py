"""jaxsnn's discrete neurons as step programs, with the constants as it computes them.

What jaxsnn 0.3.0 does (`jaxsnn/discrete/functional`), compiled by XLA for a CPU, which contracts a
product and the sum that takes it into one fused multiply-add:

    LIF:  h = fma(k_mem, (v_leak - v) + i, v)         i is that of the step before
          z = 0.5 + 0.5 sign(h - v_th)                0.5 where h meets the threshold exactly
          v = (1 - z) h + z v_reset                   both products are exact
          i = fma(-k_syn, i, i) + x
    LI:   j = i + x
          v = fma(k_mem, (v_leak - v) + j, v)
          i = fma(-k_syn, j, j)

with k_mem = dt / tau_mem and k_syn = dt / tau_syn. How these quotients round was found by comparing
runs: see `lif_constants` and `li_constants`.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.dynamics.program import Dynamics, State
from snnir.dynamics.trace import Builder, Symbol
from snnir.streams import Kind

Array = npt.NDArray[Any]
f32 = np.float32

#: What a membrane that meets its threshold exactly emits: jaxsnn's 0.5, a spike, or nothing.
TIES = ("half", "spike", "none")


@lru_cache(maxsize=64)
def lif_program(ties: str = "half", leak: bool = False, reset: bool = False) -> Dynamics:
    """Return one step of jaxsnn's LIF.

    Args:
        ties: One of `TIES`. With `half` the output is a stream of real numbers.
        leak: There is a parameter `leak` (v_leak); 0 otherwise.
        reset: There is a parameter `v_reset`; 0 otherwise.
    """
    builder = Builder()
    x, v, i = (builder.symbol(name) for name in ("x", "v", "i"))
    params = {"k_mem": "1", "k_syn": "1", "threshold": "V"}
    k_mem, k_syn, threshold = (builder.symbol(name) for name in params)
    if leak:
        params["leak"] = "V"
    pull = (builder.symbol("leak") - v) + i if leak else i - v
    h = builder.apply("fma", k_mem, pull, v, name="h")
    z = _spike(builder, h, threshold, ties)
    kept = (1.0 - z) * h
    if reset:
        params["v_reset"] = "V"
        kept = kept + z * builder.symbol("v_reset")
    new = builder.apply("fma", k_syn, i, i) + x
    kind = Kind.ANALOG if ties == "half" else Kind.SPIKES
    return _program("jaxsnn_lif", builder, params, {"v": kept, "i": new}, (z, kind))


def _spike(builder: Builder, h: Symbol, threshold: Symbol, ties: str) -> Symbol:
    if ties == "spike":
        return builder.apply("cast", h >= threshold, name="z")
    above = builder.apply("cast", h > threshold, name="z" if ties == "none" else None)
    if ties == "none":
        return above
    at_least = builder.apply("cast", h >= threshold)
    return builder.apply("mul", 0.5, at_least + above, name="z")


@lru_cache(maxsize=64)
def li_program(leak: bool = False) -> Dynamics:
    """Return one step of jaxsnn's LI, which emits its membrane.

    Args:
        leak: There is a parameter `leak` (v_leak); 0 otherwise.
    """
    builder = Builder()
    x, v, i = (builder.symbol(name) for name in ("x", "v", "i"))
    params = {"k_mem": "1", "k_syn": "1"}
    k_mem, k_syn = (builder.symbol(name) for name in params)
    seen = builder.apply("add", i, x, name="j")
    if leak:
        params["leak"] = "V"
    pull = (builder.symbol("leak") - v) + seen if leak else seen - v
    new = builder.apply("fma", k_mem, pull, v, name="h")
    states = {"v": new, "i": builder.apply("fma", k_syn, seen, seen)}
    return _program("jaxsnn_li", builder, params, states, (new, Kind.ANALOG))


def _program(
    name: str, builder: Builder, params: dict[str, str], updates: dict[str, Symbol],
    output: tuple[Symbol, Kind],
) -> Dynamics:  # fmt: skip
    return Dynamics(
        name=name,
        inputs=("x",),
        params=tuple(params.items()),
        states=tuple(State(state) for state in updates),
        body=tuple(builder.body),
        updates=tuple((state, symbol.name) for state, symbol in updates.items()),
        outputs=((output[0].name, output[1]),),
    )


def jaxsnn_kind(program: Dynamics) -> tuple[str, str] | None:
    """Return what a program is: `LIF` with what it does at ties, `LI` with `half`, or None."""
    plain = replace(program, name="")
    for leak in (False, True):
        if plain == replace(li_program(leak), name=""):
            return "LI", "half"
        for ties, reset in itertools.product(TIES, (False, True)):
            if plain == replace(lif_program(ties, leak, reset), name=""):
                return "LIF", ties
    return None


def lif_constants(dt: float, tau_mem: Any, tau_syn: Any) -> tuple[Array, Array]:
    """Return k_mem and -k_syn of a LIF, float32.

    Python and NumPy divide before JAX sees the quotient, which is then rounded to float32; a JAX
    scalar is divided in float32; in a vector of JAX, XLA multiplies by the reciprocal.

    Args:
        dt: Seconds per step.
        tau_mem: Seconds, a number or an array, of NumPy or JAX.
        tau_syn: The same.
    """
    return _own_quotient(dt, tau_mem), _own_quotient(-dt, tau_syn)


def li_constants(dt: float, tau_mem: Any, tau_syn: Any) -> tuple[Array, Array]:
    """Return k_mem and -k_syn of an LI, float32.

    Its step is compiled by itself, so that XLA divides, in float32: dt / tau_mem for scalars, and
    dt times the reciprocal everywhere else.

    Args:
        dt: Seconds per step.
        tau_mem: Seconds, a number or an array, of NumPy or JAX.
        tau_syn: The same.
    """
    mem = np.asarray(tau_mem, f32)
    k_mem = by_reciprocal(dt, mem) if mem.ndim else np.asarray(f32(dt) / mem)
    return k_mem, by_reciprocal(-dt, np.asarray(tau_syn, f32))


def by_reciprocal(dt: float, tau: Array) -> Array:
    """Return dt * (1 / tau), each rounded to float32."""
    return np.asarray(f32(dt) * (f32(1) / tau), f32)


def _own_quotient(dt: float, tau: Any) -> Array:
    if isinstance(tau, (int, float, np.generic, np.ndarray)):
        quotient: Any = dt / tau  # type: ignore[operator]  # NumPy's scalars are numbers here
        return np.asarray(quotient, f32)
    data = np.asarray(tau, f32)
    return by_reciprocal(dt, data) if data.ndim else np.asarray(f32(dt) / data, f32)
