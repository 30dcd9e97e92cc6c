"""Step functions as users write them, with what their first state and an input look like.

Weights are whole multiples of powers of two, so that sums do not depend on their order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

F32 = jnp.float32
Leaves = dict[str, Callable[[Any], Any]]


@dataclass(frozen=True)
class Cell:
    """One step function.

    Attributes:
        step: (state, input) to (state, output), or with parameters before.
        state: The first state.
        example: An input of one step.
        states: What to record in the graph, and how to get it from the user's state.
        options: More arguments of `from_jax`.
        size: Size of the inputs to run with.
    """

    step: Callable[..., Any]
    state: Any
    example: Any
    states: Leaves
    options: Mapping[str, Any] = field(default_factory=dict)
    size: float = 1.0


def weights(shape: tuple[int, ...], seed: int, scale: float = 8.0) -> Any:
    """Return multiples of 1 / scale between -1 and 1."""
    values = np.random.default_rng(seed).integers(-8, 9, shape) / scale
    return jnp.asarray(values, F32)


@jax.custom_jvp
def spike(x: Any) -> Any:
    """1 above 0, else 0, with a surrogate gradient."""
    return (x > 0).astype(F32)


@spike.defjvp
def _spike_jvp(primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return spike(x), t / (1 + 10 * jnp.abs(x)) ** 2


@jax.custom_vjp
def heaviside(x: Any) -> Any:
    """The same with a custom backward pass."""
    return jnp.heaviside(x, 0.0)


heaviside.defvjp(
    lambda x: (heaviside(x), x), lambda x, g: (g * jax.nn.sigmoid(x) * jax.nn.sigmoid(-x),)
)

W_IN = weights((6, 5), 0)
W_REC = weights((5, 5), 1, 16)
BIAS = jnp.asarray(np.random.default_rng(3).standard_normal(5) / 4, F32)
ZERO = jnp.zeros(5)
ONE = jnp.ones(6)


def leaky(mem: Any, x: Any) -> Any:
    """snnTorch's Leaky: the reset of the last step's spike is subtracted in this step."""
    reset = spike(mem - 1.0)
    mem = 0.9 * mem + (x @ W_IN + BIAS) - reset * 1.0
    return mem, spike(mem - 1.0)


def cuba(state: Any, x: Any) -> Any:
    """A current-based LIF with a recurrent matrix; returns spikes and membrane."""
    i, v, z = state
    i = 0.8 * i + x @ W_IN + z @ W_REC
    v = 0.9 * v + 0.1 * i
    z = heaviside(v - 0.25)
    return (i, v * (1 - z), z), (z, v)


def adex(state: Any, x: Any) -> Any:
    """Adaptive exponential integrate-and-fire, mV and pA, Euler with 0.1 ms."""
    v, w = state["v"], state["w"]
    current = x @ jnp.abs(W_IN) * 400
    drive = 30.0 * 2.0 * jnp.exp((v + 50.4) / 2.0)
    v = v + 0.1 * (-(v + 70.6) * 30.0 + drive - w + current) / 281.0
    w = w + 0.1 * (4.0 * (v + 70.6) - w) / 144.0
    fired = v >= 20.0
    return {"v": jnp.where(fired, -70.6, v), "w": jnp.where(fired, w + 80.5, w)}, fired


def lsnn(params: Any, state: Any, x: Any) -> Any:
    """An LSNN's layer: adaptive threshold, recurrent spikes, a readout."""
    cell = params["cell"]
    v = cell["decay"] * state["v"] + x @ cell["w_in"] + state["z"] @ cell["w_rec"] - state["z"]
    z = spike(v - (1.0 + cell["beta"] * state["a"]))
    a = 0.97 * state["a"] + z
    return {"v": v, "a": a, "z": z}, {"spikes": z, "readout": z @ params["w_out"]}


def izhikevich(state: Any, x: Any) -> Any:
    """Izhikevich's model, two half steps of v, regular spiking."""
    v, u = state
    drive = x @ jnp.abs(W_IN) * 8
    v = v + 0.5 * (0.04 * v**2 + 5 * v + 140 - u + drive)
    v = v + 0.5 * (0.04 * v**2 + 5 * v + 140 - u + drive)
    u = u + 0.02 * (0.2 * v - u)
    fired = v >= 30.0
    return (jnp.where(fired, -65.0, v), jnp.where(fired, u + 8.0, u)), fired.astype(F32)


K_1 = weights((3, 3, 2, 4), 5)
K_2 = weights((64, 5), 7, 16)


def conv_net(state: Any, x: Any) -> Any:
    """A convolution (channels last), a pool and a dense layer, for a batch."""
    layout = ("NHWC", "HWIO", "NHWC")
    v = 0.5 * state["v"] + jax.lax.conv_general_dilated(
        x, K_1, (1, 1), "SAME", dimension_numbers=layout
    )
    s = spike(v - 1.0)
    pooled = jax.lax.reduce_window(s, 0.0, jax.lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    u = 0.75 * state["u"] + pooled.reshape(x.shape[0], -1) @ K_2
    out = spike(u - 1.0)
    return {"v": v - s, "u": u * (1 - out)}, out


def resonate(state: Any, x: Any) -> Any:
    """Resonate-and-fire: a damped rotation, a spike above the imaginary threshold."""
    real, imaginary = state
    c, s = np.float32(0.9 * np.cos(0.3)), np.float32(0.9 * np.sin(0.3))
    new = c * real - s * imaginary + x @ W_IN
    turned = s * real + c * imaginary
    fired = (turned > 1.0).astype(F32)
    return (new * (1 - fired), turned), fired


def refractory(state: Any, x: Any) -> Any:
    """A whole-number counter that mutes the cell for three steps, and a clock."""
    v, left = state["v"], state["left"]
    active = left == 0
    v = jnp.where(active, 0.875 * v + x @ W_IN, v)
    fired = jnp.logical_and(v > 1.0, active)
    new = {
        "v": jnp.where(fired, 0.0, v),
        "left": jnp.where(fired, 3, jnp.maximum(left - 1, 0)),
        "t": state["t"] + 1,
    }
    return new, (fired, state["t"])


def two_layers(params: Any, state: Any, x: Any) -> Any:
    """Two dense layers of LIF, as a loop over layers writes them."""
    new = {}
    for name in ("first", "second"):
        layer = params[name]
        v = layer["beta"] * state[name]["v"] + (x @ layer["w"] + layer["b"])
        x = spike(v - 1.0)
        new[name] = {"v": v - x}
    return new, x


def stacked(state: Any, x: Any) -> Any:
    """Both variables in one array [2, 5], and a fixed number of Euler rounds."""

    def euler(_: Any, s: Any) -> Any:
        return jnp.stack([s[0] + 0.25 * (x @ W_IN - s[0] - s[1]), s[1] + 0.125 * (s[0] - s[1])])

    state = jax.lax.fori_loop(0, 3, euler, state)
    return state, state[0] > 0.5


_CELL = {
    "decay": F32(0.95), "w_in": W_IN, "w_rec": W_REC, "beta": jnp.linspace(0.1, 0.3, 5),
}  # fmt: skip
LAYERS = {
    "first": {"w": W_IN, "b": BIAS, "beta": F32(0.9)},
    "second": {"w": W_REC * 4, "b": BIAS / 2, "beta": jnp.linspace(0.6, 0.9, 5)},
}

CELLS = {
    "leaky": Cell(leaky, ZERO, ONE, {"neuron:v": lambda s: s}),
    "cuba": Cell(
        cuba, (ZERO, ZERO, ZERO), ONE,
        {"neuron:v_0": lambda s: s[0], "neuron:v_1": lambda s: s[1]},
    ),
    "lsnn": Cell(
        lsnn, {"v": ZERO, "a": ZERO, "z": ZERO}, ONE,
        {"neuron:v": lambda s: s["v"], "neuron:a": lambda s: s["a"], "neuron": lambda s: s["z"]},
        {"params": {"cell": _CELL, "w_out": W_REC[:, :2]}},
    ),
    "izhikevich": Cell(
        izhikevich, (jnp.full(5, -65.0), jnp.full(5, -13.0)), ONE,
        {"neuron:v_0": lambda s: s[0], "neuron:v_1": lambda s: s[1]},
    ),
    "conv": Cell(
        conv_net, {"v": jnp.zeros((2, 8, 8, 4)), "u": jnp.zeros((2, 5))}, jnp.ones((2, 8, 8, 2)),
        {"neuron_1:u": lambda s: s["u"], "neuron:v": lambda s: s["v"]}, {"batched": True},
    ),
    "resonate": Cell(
        resonate, (ZERO, ZERO), ONE,
        {"neuron:v_0": lambda s: s[0], "neuron:v_1": lambda s: s[1]},
    ),
    "refractory": Cell(
        refractory, {"v": ZERO, "left": jnp.zeros(5, jnp.int32), "t": jnp.int32(0)}, ONE,
        {"neuron:v": lambda s: s["v"], "neuron:left": lambda s: s["left"]},
    ),
    "two_layers": Cell(
        two_layers, {"first": {"v": ZERO}, "second": {"v": ZERO}}, ONE,
        {"first:v": lambda s: s["first"]["v"], "second:v": lambda s: s["second"]["v"]},
        {"params": LAYERS},
    ),
    "stacked": Cell(
        stacked, jnp.zeros((2, 5)), ONE,
        {"neuron:v_0": lambda s: s[..., 0, :], "neuron:v_1": lambda s: s[..., 1, :]},
    ),
    "vmapped": Cell(
        jax.vmap(leaky), jnp.zeros((3, 5)), jnp.ones((3, 6)), {"neuron:v": lambda s: s},
        {"batched": True},
    ),
}  # fmt: skip


def random_input(cell: Cell, steps: int, seed: int) -> Any:
    """Return inputs [T, *example.shape]: spikes, then graded values."""
    rng = np.random.default_rng(seed)
    shape = (steps, *cell.example.shape)
    x = np.where(rng.random(shape) < 0.4, 1.0, 0.0)
    x[steps // 2 :] = np.floor(rng.random(shape)[steps // 2 :] * 9) / 8
    return (x * cell.size).astype(np.float32)


def by_jax(cell: Cell, xs: list[Any]) -> list[tuple[Any, Any]]:
    """Return states and outputs after every step of every input, run by JAX compiled."""
    params = cell.options.get("params")

    def body(state: Any, x: Any) -> Any:
        state, out = cell.step(*(() if params is None else (params,)), state, x)
        return state, (state, out)

    run = jax.jit(lambda x: jax.lax.scan(body, cell.state, x)[1])
    return [jax.tree_util.tree_map(np.asarray, run(jnp.asarray(x))) for x in xs]
