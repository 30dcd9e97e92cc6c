"""snnTorch: every neuron class over its resets, their timing, and forms of its parameters."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from tests.frameworks.matrix.row import (
    SIZE,
    Array,
    Drive,
    Options,
    Refusal,
    Row,
    Trace,
    dyadic,
    eighths,
    fill,
    normal,
    stacked,
    tensor,
    uniform,
)

#: Name of a state in snnTorch.
_OWN = {"v": "mem", "i": "syn"}
_ALPHA = {"e": "syn_exc", "i": "syn_inh", "v": "mem"}
RESETS = ("subtract", "zero", "none")
SURROGATES = (
    "straight_through_estimator", "triangular", "fast_sigmoid", "atan", "heaviside", "sigmoid",
    "spike_rate_escape",
    "SSO", "SFS",
)  # fmt: skip
#: A plane of neurons for the convolutional recurrence.
PLANE = (4, 4, 4)


# --- Driving -------------------------------------------------------------------------------------


def handed_on(layer: Any, x: Array, states: tuple[str, ...], recurrent: bool = False) -> Trace:
    """Call the layer once per step and hand it the states it returned."""
    held: tuple[Any, ...] = ()
    found: dict[str, list[Any]] = {"out": [], **{name: [] for name in states}}
    for now in x:
        results = layer(tensor(now), *held)
        held = results if recurrent else results[1:]
        for name, value in zip(found, results, strict=True):
            found[name].append(value)
    arrays = stacked(found)
    return Trace(arrays.pop("out"), arrays)


recurrently: Drive = partial(handed_on, recurrent=True)


def hidden(layer: Any, x: Array, states: tuple[str, ...]) -> Trace:
    """Call a layer that keeps its states and returns only spikes."""
    names = _ALPHA if "e" in states else _OWN
    found: dict[str, list[Any]] = {"out": [], **{name: [] for name in states}}
    for now in x:
        found["out"].append(layer(tensor(now)))
        for name in states:
            found[name].append(getattr(layer, names[name]))
    arrays = stacked(found)
    return Trace(arrays.pop("out"), arrays)


def returned(layer: Any, x: Array, states: tuple[str, ...]) -> Trace:
    """Call a layer that keeps its states and returns them as well."""
    found: dict[str, list[Any]] = {"out": [], **{name: [] for name in states}}
    for now in x:
        for name, value in zip(found, layer(tensor(now)), strict=True):
            found[name].append(value)
    arrays = stacked(found)
    return Trace(arrays.pop("out"), arrays)


def whole(layer: Any, x: Array, states: tuple[str, ...]) -> Trace:
    """Give LeakyParallel the sequence; its membrane is what its torch RNN returns."""
    given = tensor(x)
    return Trace(layer(given).numpy(), {"v": layer.rnn(given)[0].numpy()})


# --- Layers --------------------------------------------------------------------------------------


def leaky(seed: int, **options: Any) -> Any:
    """One decay and threshold for all, a decay per neuron, or a threshold as well."""
    import snntorch

    beta = tensor(uniform(seed, 0.5, 1.1)) if seed else 0.9
    threshold = tensor(uniform(seed, 0.5, 1.5)) if seed == 2 else 1.0
    return snntorch.Leaky(
        beta=beta, threshold=threshold, learn_beta=seed == 1, learn_threshold=seed == 2, **options
    )


def leaky_with(seed: int, **options: Any) -> Any:
    """A Leaky whose vectors are given as bounds to draw from."""
    import snntorch

    drawn = {
        name: tensor(uniform(seed + at, *value)) if isinstance(value, tuple) else value
        for at, (name, value) in enumerate(options.items())
    }
    return snntorch.Leaky(**drawn)


def one_to_one(seed: int, **options: Any) -> Any:
    import snntorch

    weight = tensor(uniform(seed, -1, 1))
    return snntorch.RLeaky(beta=0.85, V=weight, all_to_all=False, **options)


def all_to_all(
    seed: int, kind: str, scale: float, bias: bool = False, grade: float = 1.0, **options: Any
) -> Any:
    """A layer that is recurrent through a dyadic matrix."""
    import snntorch

    layer = getattr(snntorch, kind)(linear_features=SIZE, **options)
    fill(layer.recurrent.weight, dyadic(seed, scale))
    fill(layer.recurrent.bias, dyadic(seed + 1, scale if bias else 0.0, (SIZE,)))
    layer.graded_spikes_factor = tensor(np.float32(grade))  # no argument of recurrent layers
    return layer


def convolved(seed: int, kind: str, **options: Any) -> Any:
    """A plane that is recurrent through a dyadic convolution."""
    import snntorch

    layer = getattr(snntorch, kind)(conv2d_channels=PLANE[0], kernel_size=3, **options)
    fill(layer.recurrent.weight, dyadic(seed, 0.1, (PLANE[0], PLANE[0], 3, 3)))
    fill(layer.recurrent.bias, dyadic(seed + 1, 0.1, (PLANE[0],)))
    return layer


def synaptic(seed: int, **options: Any) -> Any:
    import snntorch

    alpha, beta = uniform(seed, 0.3, 0.95), uniform(seed + 7, 0.5, 1)
    return snntorch.Synaptic(alpha=tensor(alpha), beta=tensor(beta), **options)


def plain(seed: int, kind: str, **options: Any) -> Any:
    """A layer with the same parameters for every seed."""
    import snntorch

    return getattr(snntorch, kind)(**options)


def double(seed: int, shape: tuple[int, ...] = ()) -> Any:
    """A Leaky with decays in float64; a single one without axes does not change its float32."""
    import snntorch

    return snntorch.Leaky(beta=tensor(np.full(shape, 0.9)))


def with_surrogate(seed: int, name: str) -> Any:
    """A Leaky with another gradient, which must not matter."""
    import snntorch
    from snntorch import surrogate

    return snntorch.Leaky(beta=0.9, spike_grad=getattr(surrogate, name)())


def changed(seed: int, before: str, after: str, delay: bool = True) -> Any:
    """A Leaky whose reset was changed, which changes no more than its correction."""
    layer = plain(seed, "Leaky", beta=0.9, reset_mechanism=before, reset_delay=delay)
    layer.reset_mechanism = after
    return layer


def parallel(seed: int, **options: Any) -> Any:
    """A LeakyParallel that takes each input to its own neuron."""
    import snntorch

    layer = snntorch.LeakyParallel(SIZE, SIZE, **options)
    fill(layer.rnn.weight_ih_l0, np.eye(SIZE, dtype=np.float32))
    if layer.rnn.bias:
        fill(layer.rnn.bias_ih_l0, dyadic(seed, 0.2, (SIZE,)))
        fill(layer.rnn.bias_hh_l0, np.zeros(SIZE, np.float32))
    return layer


# --- Rows ----------------------------------------------------------------------------------------

row = partial(Row, "snntorch")
membrane = partial(normal, scale=0.6)
current = partial(normal, scale=0.4, bias=0.1)


def by_reset(reset: str, delay: bool) -> Iterator[Row]:
    """The classes that know reset_delay."""
    options: Options = {"reset_mechanism": reset, "reset_delay": delay}
    text = f"reset={reset} delay={delay}"
    yield row("Leaky", text, partial(leaky, **options), membrane, ("v",), handed_on)
    yield row(
        "Leaky", f"graded {text}",
        partial(plain, kind="Leaky", beta=0.8, graded_spikes_factor=0.7, init_hidden=True,
                output=True, **options),
        membrane, ("v",), returned,
    )  # fmt: skip
    yield row(
        "RLeaky", f"one-to-one {text}", partial(one_to_one, **options), membrane, ("v",),
        recurrently,
    )  # fmt: skip
    make = partial(all_to_all, kind="RLeaky", scale=0.15, beta=0.85, **options)
    yield row("RLeaky", f"all-to-all {text}", make, membrane, ("v",), recurrently)
    yield row("Synaptic", text, partial(synaptic, **options), current, ("i", "v"), handed_on)
    if delay:
        make = partial(all_to_all, kind="RSynaptic", scale=0.05, alpha=0.7, beta=0.8, **options)
        yield row("RSynaptic", f"all-to-all {text}", make, current, ("i", "v"), recurrently)


def without_timing(reset: str) -> Iterator[Row]:
    """The classes that always reset in the next step."""
    make = partial(plain, kind="Alpha", alpha=0.9, beta=0.8, reset_mechanism=reset)
    x = partial(normal, scale=1.0, bias=0.5)
    yield row("Alpha", f"reset={reset}", make, x, ("e", "i", "v"), handed_on)
    x = partial(normal, scale=3.0, bias=2.0)
    make = partial(plain, kind="Lapicque", beta=0.9, reset_mechanism=reset)
    yield row("Lapicque", f"beta reset={reset}", make, x, ("v",), handed_on)
    make = partial(
        plain, kind="Lapicque", R=5.0, C=3e-3, time_step=1e-3, reset_mechanism=reset
    )  # fmt: skip
    yield row("Lapicque", f"R, C, dt reset={reset}", make, x, ("v",), handed_on)


def leaky_forms(reset: str) -> Iterator[Row]:
    """Leaky with parameters of every kind."""
    forms: dict[str, Options] = {
        "decay outside [0, 1]": {"beta": (-0.5, 1.5)},
        "one decay above 1": {"beta": 1.25},
        "decay and threshold per neuron": {"beta": (0.3, 0.99), "threshold": (0.4, 1.6)},
        "all learned": {
            "beta": (0.3, 0.99), "threshold": (0.4, 1.6), "graded_spikes_factor": 1.5,
            "learn_beta": True, "learn_threshold": True, "learn_graded_spikes_factor": True,
        },
        "grade per neuron": {"beta": 0.8, "graded_spikes_factor": (0.25, 2.0)},
        "inhibition": {"beta": 0.9, "inhibition": True},
    }  # fmt: skip
    for text, options in forms.items():
        make = partial(leaky_with, reset_mechanism=reset, **options)
        yield row("Leaky", f"{text} reset={reset}", make, membrane, ("v",), handed_on)
    for text, options in {"ties": {}, "inhibition ties": {"inhibition": True}}.items():
        make = partial(leaky_with, beta=0.5, reset_mechanism=reset, **options)
        yield row("Leaky", f"{text} reset={reset}", make, eighths, ("v",), handed_on)


def odd_forms() -> Iterator[Row]:
    """Decays of other types, surrogates, and a reset that was changed after the layer was made."""
    for text, beta in {"NumPy": np.float64(0.9), "integer": 1}.items():
        make = partial(plain, kind="Leaky", beta=beta)
        yield row("Leaky", f"{text} decay", make, membrane, ("v",), handed_on)
    yield row("Leaky", "double decay", double, membrane, ("v",), handed_on)
    for name in SURROGATES:
        make = partial(with_surrogate, name=name)
        yield row("Leaky", f"surrogate {name}", make, membrane, ("v",), handed_on)
    make = partial(plain, kind="Leaky", beta=0.9, surrogate_disable=True)
    yield row("Leaky", "no surrogate", make, membrane, ("v",), handed_on)
    for before, after in itertools.permutations(RESETS, 2):
        make = partial(changed, before=before, after=after)
        yield row("Leaky", f"reset={before} then {after}", make, membrane, ("v",), handed_on)


def ties() -> Iterator[Row]:
    """Dyadic parameters and inputs, with which membranes meet their threshold exactly."""
    halves: dict[str, tuple[Options, tuple[str, ...], Drive]] = {
        "RLeaky": ({"beta": 0.5, "V": 0.5, "all_to_all": False}, ("v",), recurrently),
        "Synaptic": ({"alpha": 0.5, "beta": 0.5}, ("i", "v"), handed_on),
        "Alpha": ({"alpha": 0.5, "beta": 0.25}, ("e", "i", "v"), handed_on),
        "Lapicque": ({"R": 1.0, "C": 2.0, "time_step": 1.0}, ("v",), handed_on),
    }
    for kind, (options, states, drive) in halves.items():
        yield row(kind, "ties", partial(plain, kind=kind, **options), eighths, states, drive)
    make = partial(all_to_all, kind="RSynaptic", scale=0.05, alpha=0.5, beta=0.5)
    yield row("RSynaptic", "ties", make, eighths, ("i", "v"), recurrently)
    make = partial(parallel, beta=0.5, bias=False)
    yield row("LeakyParallel", "ties", make, eighths, ("v",), whole)


def hidden_forms() -> Iterator[Row]:
    """Layers that keep their states themselves."""
    options: Options = {"init_hidden": True}
    make = partial(leaky_with, beta=(0.5, 1.0), **options)
    yield row("Leaky", "init_hidden", make, membrane, ("v",), hidden)
    make = partial(all_to_all, kind="RLeaky", scale=0.15, beta=0.85, **options)
    yield row("RLeaky", "init_hidden", make, membrane, ("v",), hidden)
    make = partial(synaptic, **options)
    yield row("Synaptic", "init_hidden", make, current, ("i", "v"), hidden)
    make = partial(all_to_all, kind="RSynaptic", scale=0.05, alpha=0.7, beta=0.8, **options)
    yield row("RSynaptic", "init_hidden", make, current, ("i", "v"), hidden)
    x = partial(normal, scale=1.0, bias=0.5)
    make = partial(plain, kind="Alpha", alpha=0.9, beta=0.8, **options)
    yield row("Alpha", "init_hidden", make, x, ("e", "i", "v"), hidden)
    x = partial(normal, scale=3.0, bias=2.0)
    make = partial(plain, kind="Lapicque", beta=0.9, **options)
    yield row("Lapicque", "init_hidden", make, x, ("v",), hidden)


def recurrent_forms() -> Iterator[Row]:
    """Recurrence with a bias, through a convolution, and of the winner alone."""
    kinds: tuple[tuple[str, Options, Any, tuple[str, ...]], ...] = (
        ("RLeaky", {"beta": 0.85}, membrane, ("v",)),
        ("RSynaptic", {"alpha": 0.7, "beta": 0.8}, current, ("i", "v")),
    )
    for kind, options, x, states in kinds:
        make = partial(all_to_all, kind=kind, scale=0.05, bias=True, **options)
        yield row(kind, "with a bias", make, x, states, recurrently)
        make = partial(all_to_all, kind=kind, scale=0.15, grade=0.75, **options)
        yield row(kind, "graded", make, x, states, recurrently)
        make = partial(convolved, kind=kind, **options)
        yield row(kind, "convolution", make, x, states, recurrently, shape=PLANE)
        make = partial(all_to_all, kind=kind, scale=0.15, inhibition=True, **options)
        yield row(kind, "inhibition", make, x, states, recurrently)
    make = partial(plain, kind="RLeaky", beta=0.85, V=0.4, all_to_all=False)
    yield row("RLeaky", "one weight", make, membrane, ("v",), recurrently)
    make = partial(synaptic, inhibition=True)
    yield row("Synaptic", "inhibition", make, current, ("i", "v"), handed_on)


def parallel_forms() -> Iterator[Row]:
    forms: dict[str, Options] = {
        "one decay": {"beta": 0.9, "bias": False},
        "with a bias": {"beta": 0.9},
        "graded": {"beta": 0.8, "bias": False, "graded_spikes_factor": 0.5, "threshold": 1.5},
    }
    for text, options in forms.items():
        yield row("LeakyParallel", text, partial(parallel, **options), membrane, ("v",), whole)


def rows() -> Iterator[Row]:
    for reset, delay in itertools.product(RESETS, (True, False)):
        yield from by_reset(reset, delay)
    for reset in RESETS:
        yield from without_timing(reset)
        yield from leaky_forms(reset)
    yield from odd_forms()
    yield from ties()
    yield from hidden_forms()
    yield from recurrent_forms()
    yield from parallel_forms()


def state_leaky() -> Any:
    from snntorch._neurons.stateleaky import StateLeaky

    return StateLeaky(beta=0.9, channels=SIZE)


def other_grad() -> Any:
    """A Leaky whose spike function is none."""
    import snntorch
    import torch

    return snntorch.Leaky(beta=0.9, spike_grad=torch.sigmoid)


def noisy() -> Any:
    """A Leaky whose threshold is random."""
    import snntorch
    import torch

    return snntorch.Leaky(beta=0.9, spike_grad=lambda v: (v > torch.randn_like(v)).float())


def refusals() -> Iterator[Refusal]:
    """What cannot be reproduced, or snnTorch itself cannot run."""
    for reset in RESETS:
        yield Refusal(
            "snntorch", f"RSynaptic reset={reset} delay=False",
            partial(all_to_all, 0, "RSynaptic", 0.05, alpha=0.7, beta=0.8, reset_mechanism=reset,
                    reset_delay=False),
            "SNN801", "snnTorch 1.0.0 itself raises TypeError",
        )  # fmt: skip
    yield Refusal(
        "snntorch", "StateLeaky", state_leaky, "SNN802", "a convolution sums in an unknown order"
    )
    make = partial(plain, 0, "Leaky", beta=0.9, graded_spikes_factor=0.0)
    yield Refusal("snntorch", "Leaky graded by 0", make, "SNN802", "its reset is 0/0")
    make = partial(plain, 0, "Leaky", beta=0.9, inhibition=True, reset_delay=False)
    yield Refusal(
        "snntorch", "Leaky inhibition delay=False", make, "SNN802", "not stated as a step"
    )
    make = partial(changed, 0, "subtract", "zero", False)
    reason = "the two parts of its reset differ"
    yield Refusal("snntorch", "Leaky reset changed delay=False", make, "SNN802", reason)
    reason = "it does not spike"
    yield Refusal("snntorch", "Leaky with a sigmoid", other_grad, "SNN808", reason)
    yield Refusal("snntorch", "Leaky with noise", noisy, "SNN808", "its threshold is random")
    reason = "torch computes it in float64"
    make = partial(double, 0, (1,))
    yield Refusal("snntorch", "Leaky with a double decay in a list", make, "SNN808", reason)
    make = partial(double, 0, (SIZE,))
    yield Refusal("snntorch", "Leaky with double decays", make, "SNN807", reason)
