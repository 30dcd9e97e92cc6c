"""jaxsnn's own LIF and LI, where their step is provably the program of a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir import jaxsnn_neurons as neurons
from snnir.ir.neuron import Step

Array = npt.NDArray[Any]
f32 = np.float32

#: Spike functions by what happens at the threshold; jaxsnn's own is the default.
_METHODS = {"half": "", "spike": "fires_at", "none": "fires_above"}
#: Neighbours of a quotient that are tried as its divisor, in units of the last place.
_REACH = 24


@dataclass(frozen=True)
class Native:
    """A module of jaxsnn.

    Attributes:
        code: Its constructor, with `weights[...]` for arrays.
        arrays: Those arrays by name within the node.
        method: The spike function it needs, if not jaxsnn's own.
    """

    code: str
    arrays: Mapping[str, Array]
    method: str = ""


def native(op: Step, size: int, dt: float, key: str) -> Native | None:
    """Return the module of jaxsnn that is a population, None if there is none.

    Args:
        op: The population.
        size: Number of neurons.
        dt: Seconds per step of the topology.
        key: Name of the node, for its arrays.
    """
    found = neurons.jaxsnn_kind(op.program)
    if found is None:
        return None
    kind, ties = found
    values = {name: _plain(tensor.numpy()) for name, tensor in op.params.items()}
    search = _own_tau if kind == "LIF" else _li_tau
    taus = {
        "tau_syn": search(dt, -values["k_syn"], True),
        "tau_mem": search(dt, values["k_mem"], False),
    }
    if any(tau is None for tau in taus.values()):
        return None
    fields: dict[str, Any] = {**taus, "v_leak": values.get("leak", f32(0))}
    if kind == "LIF":
        fields |= {"v_th": values["threshold"], "v_reset": values.get("v_reset", f32(0))}
    arrays: dict[str, Array] = {}
    given = ", ".join(f"{name}={_argument(name, v, key, arrays)}" for name, v in fields.items())
    method = _METHODS[ties]
    last = f", {method}" if method else ""
    return Native(f"{kind}({size}, {kind}Parameters({given}){last})", arrays, method)


def _plain(data: Array) -> Array:
    """Return a scalar where all values are equal."""
    data = np.asarray(data, f32)
    return data.reshape(-1)[0] if data.size and (data == data.reshape(-1)[0]).all() else data


def _argument(name: str, value: Any, key: str, arrays: dict[str, Array]) -> str:
    """Return a literal, or an array of the weights file."""
    if np.ndim(value):
        arrays[name] = np.asarray(value)
        return f"weights[{f'{key}.{name}'!a}]"
    short = str(value) if isinstance(value, np.float32) else repr(float(value))
    return repr(float(short))


def _own_tau(dt: float, k: Any, negative: bool) -> Any:
    """Return what LIF divides dt by to get k: a Python number, or a NumPy array, in float64."""
    wanted = np.atleast_1d(np.asarray(k, f32))
    if not (np.isfinite(wanted).all() and (wanted > 0).all()):
        return None
    tau = dt / wanted.astype(np.float64)
    tries = np.stack(
        [
            *(np.round(tau, digits) for digits in range(2, 9)),
            tau, np.nextafter(tau, 0), np.nextafter(tau, np.inf),
        ]
    )  # fmt: skip
    sign = -1.0 if negative else 1.0
    with np.errstate(all="ignore"):
        fits = ((sign * dt / tries).astype(f32) == sign * wanted) & (tries > 0)
    return _first(tries, fits, bool(np.ndim(k)))


def _li_tau(dt: float, k: Any, negative: bool) -> Any:
    """Return what LI divides dt by to get k, in float32."""
    plain = not negative and not np.ndim(k)
    divide: Callable[[Array], Array] = (
        (lambda tau: np.asarray(f32(dt) / tau)) if plain
        else (lambda tau: neurons.by_reciprocal(dt, tau))
    )  # fmt: skip
    return _searched(dt, k, divide)


def _searched(dt: float, k: Any, divide: Callable[[Array], Array]) -> Any:
    """Return float32 divisors whose quotients are k, None if there are not for all."""
    wanted = np.atleast_1d(np.asarray(k, f32))
    if not (np.isfinite(wanted).all() and (wanted > 0).all()):
        return None
    first = (f32(dt) / wanted).astype(f32)
    steps = np.arange(-_REACH, _REACH + 1, dtype=np.int32)[:, None]
    near = (first.view(np.int32)[None] + steps).view(f32)
    exact = first.astype(np.float64)
    short = np.stack([np.round(exact, digits).astype(f32) for digits in range(2, 9)])
    tries = np.concatenate([short, near[np.argsort(np.abs(steps[:, 0]), kind="stable")]])
    with np.errstate(all="ignore"):
        fits = (divide(tries) == wanted[None]) & (tries > 0)
    return _first(tries, fits, bool(np.ndim(k)))


def _first(tries: Array, fits: Array, is_vector: bool) -> Any:
    """Return the first candidate that fits, for each element; None if any has none."""
    if not fits.any(axis=0).all():
        return None
    found = np.take_along_axis(tries, fits.argmax(axis=0)[None], 0)[0]
    return found if is_vector else found[0]
