"""SpikingJelly: every neuron class over resets and inputs, step by step and in whole sequences."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

from tests.frameworks.matrix.row import (
    STEPS,
    Array,
    Options,
    Refusal,
    Row,
    Trace,
    eighths,
    normal,
    stacked,
    tensor,
)

#: Name of a state in SpikingJelly.
_OWN = {"v": "v", "w": "w", "i": "c"}
V_RESETS = (0.0, None, -0.1)
TAUS = (2.0, 3.7, 10.0)
EXP = "NumPy's exp and torch's differ in the last bit, and the membrane holds the result"


# --- Driving -------------------------------------------------------------------------------------


def step_by_step(layer: Any, x: Array, states: tuple[str, ...]) -> Trace:
    """Call a layer in step mode s."""
    found: dict[str, list[Any]] = {"out": [], **{name: [] for name in states}}
    for now in x:
        found["out"].append(layer(tensor(now)))
        for name in states:
            found[name].append(getattr(layer, _OWN[name]).clone())
    arrays = stacked(found)
    return Trace(arrays.pop("out"), arrays)


def at_once(layer: Any, x: Array, states: tuple[str, ...]) -> Trace:
    """Call a layer in step mode m; it keeps all membranes, of other states the last."""
    layer.store_v_seq = True
    output = layer(tensor(x)).detach().numpy()
    others = tuple(name for name in states if name != "v")
    last = {name: getattr(layer, _OWN[name]).detach().numpy()[None] for name in others}
    membrane = layer.v_seq.detach().numpy()
    return Trace(output, {"v": membrane, **last}, dict.fromkeys(others, (STEPS - 1,)))


# --- Layers --------------------------------------------------------------------------------------


def make(
    seed: int, kind: str, mode: str, train: bool = True, k: float | None = None,
    most: int | None = None, **options: Any,
) -> Any:  # fmt: skip
    """Return a layer; an option that is a tuple has one value per seed."""
    from spikingjelly.activation_based import neuron, surrogate

    given = {
        name: value[seed] if isinstance(value, tuple) else value for name, value in options.items()
    }
    if most is not None:
        given["surrogate_function"] = surrogate.MultiLevelSpikeCount(most)
    layer = getattr(neuron, kind)(**given).train(train)
    layer.step_mode = mode
    if k is not None:
        layer.k.data.fill_(k)
    return layer


# --- Rows ----------------------------------------------------------------------------------------


def both(
    neuron: str, setting: str, inputs: Any, states: tuple[str, ...] = ("v",), reason: str = "",
    **options: Any,
) -> Iterator[Row]:  # fmt: skip
    """One setting in both step modes."""
    for mode, drive in (("s", step_by_step), ("m", at_once)):
        build = partial(make, kind=neuron, mode=mode, **options)
        yield Row(
            "spikingjelly", neuron, setting, build, inputs, states, drive, f"step_mode={mode}",
            reason,
        )  # fmt: skip


integrated = partial(normal, scale=0.9)


def driven(decay_input: bool) -> Any:
    """Return inputs for a layer that divides them by its time constant, or does not."""
    return (
        partial(normal, scale=2.0, bias=1.0)
        if decay_input
        else partial(normal, scale=0.6, bias=0.2)
    )


def common() -> Iterator[Row]:
    """IF, LIF and PLIF."""
    for train, v_reset in itertools.product((True, False), V_RESETS):
        text = f"v_reset={v_reset} {'train' if train else 'eval'}"
        given: Options = {"v_reset": v_reset, "train": train}
        yield from both("IFNode", text, integrated, v_threshold=(1.0, 1.3, 0.77), **given)
        for decay in (True, False):
            words = f"decay_input={decay} {text}"
            given["decay_input"] = decay
            yield from both("LIFNode", words, driven(decay), tau=TAUS, **given)
            yield from both("ParametricLIFNode", words, driven(decay), init_tau=TAUS, **given)
            del given["decay_input"]


def ties() -> Iterator[Row]:
    """Dyadic parameters and inputs, with which membranes meet their threshold exactly."""
    kinds: dict[str, tuple[Options, tuple[str, ...]]] = {
        "IFNode": ({}, ("v",)),
        "LIFNode": ({"tau": 2.0}, ("v",)),
        "ParametricLIFNode": ({"init_tau": 2.0}, ("v",)),
        "QIFNode": ({"tau": 2.0, "v_c": 0.75}, ("v",)),
        # Its exponential is 0 far below theta_rh.
        "EIFNode": ({"tau": 2.0, "theta_rh": 8.0, "delta_T": 2**-7}, ("v",)),
        "IzhikevichNode": (
            {"tau": 2.0, "v_c": 0.75, "v_rest": -0.125, "a": 0.5, "b": 0.25}, ("v", "w"),
        ),
        "KLIFNode": ({"tau": 2.0, "k": 2.0}, ("v",)),
        "CUBALIFNode": ({"c_decay": 0.5, "v_decay": 0.5}, ("v", "i")),
        "TernaryIFNode": ({}, ("v",)),
    }  # fmt: skip
    for kind, (options, states) in kinds.items():
        for v_reset in (None, 0.0, -0.25):
            text = f"ties v_reset={v_reset}"
            yield from both(kind, text, eighths, states, v_reset=v_reset, **options)
    yield from both("ILIFNode", "ties", eighths, tau=2.0)


def curved() -> Iterator[Row]:
    """QIF, EIF and Izhikevich."""
    # Beyond 2, a soft reset leaves more than it takes and the curve carries it off to infinity.
    bounded = partial(normal, scale=1.0, bias=0.4, bound=2.0)
    for v_reset in V_RESETS:
        text = f"v_reset={v_reset}"
        yield from both("QIFNode", text, bounded, tau=TAUS, v_reset=v_reset)
        yield from both("EIFNode", text, bounded, reason=EXP, tau=TAUS, v_reset=v_reset)
        yield from both(
            "IzhikevichNode", text, partial(normal, scale=1.0, bias=0.5), ("v", "w"), tau=3.0,
            a=0.3, b=0.2, tau_w=7.0, v_reset=v_reset,
        )  # fmt: skip
    yield from both(
        "IzhikevichNode", "w_rest=0.3", partial(normal, scale=1.0, bias=0.5), ("v", "w"), tau=3.0,
        a=0.3, b=0.2, tau_w=7.0, w_rest=0.3,
    )  # fmt: skip
    yield from both(
        "QIFNode", "own v_c, a0, v_rest", bounded, tau=2.5, v_c=0.6, a0=0.7, v_rest=0.05,
        v_threshold=1.2, v_reset=-0.2,
    )  # fmt: skip


def scaled() -> Iterator[Row]:
    """KLIF."""
    for scale, v_reset, decay in itertools.product((False, True), V_RESETS, (True, False)):
        text = f"scale_reset={scale} v_reset={v_reset} decay_input={decay}"
        yield from both(
            "KLIFNode", text, driven(decay), scale_reset=scale, tau=3.0, v_reset=v_reset,
            decay_input=decay, k=1.3,
        )  # fmt: skip


def others() -> Iterator[Row]:
    """CUBALIF, TernaryIF and ILIF."""
    for v_reset in V_RESETS:
        text = f"v_reset={v_reset}"
        yield from both(
            "CUBALIFNode", text, partial(normal, scale=0.2, bias=0.1), ("v", "i"), c_decay=0.5,
            v_decay=(0.75, 0.9, 0.31), v_threshold=0.5, v_reset=v_reset,
        )  # fmt: skip
        thresholds = (1.0, 0.77, 1.3)
        yield from both("TernaryIFNode", text, integrated, v_threshold=thresholds, v_reset=v_reset)
    x = partial(normal, scale=0.9, bias=0.5)
    yield from both("ILIFNode", "defaults", x)
    yield from both("ILIFNode", "tau=3.7 v_threshold=0.7", x, tau=3.7, v_threshold=0.7)
    yield from both("ILIFNode", "two spikes at most", x, most=2)


def refusals() -> Iterator[Refusal]:
    yield Refusal(
        "spikingjelly", "IFNode spiking=False", not_spiking, "SNN808", "it returns its surrogate"
    )  # fmt: skip


def not_spiking() -> Any:
    from spikingjelly.activation_based import neuron, surrogate

    return neuron.IFNode(surrogate_function=surrogate.Sigmoid(spiking=False))


def rows() -> Iterator[Row]:
    for group in (common, ties, curved, scaled, others):
        yield from group()
