"""Rows of the neuron matrix: a layer of a framework, its input, and how the framework runs it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

STEPS, BATCH, SIZE = 200, 3, 64
SEEDS = (0, 1, 2)

Array = npt.NDArray[np.float32]
#: Keyword arguments of a layer.
Options = dict[str, Any]


@dataclass(frozen=True)
class Trace:
    """What a framework's own run gave.

    Attributes:
        output: [T, B, *shape].
        states: [T, B, *shape] by state, at the steps of `seen` only where it names them.
        seen: Steps at which a state could be read, if not all.
    """

    output: Array
    states: Mapping[str, Array]
    seen: Mapping[str, Sequence[int]] = field(default_factory=dict)


Drive = Callable[[Any, Array, tuple[str, ...]], Trace]


@dataclass(frozen=True)
class Row:
    """One neuron class with one set of parameters.

    Attributes:
        framework: Name of the package.
        neuron: Name of the class.
        setting: The parameters, in words.
        build: Makes the live layer of a seed.
        inputs: Makes the input [T, B, *shape] of a seed.
        states: States to compare, by the names the graph has.
        drive: Runs the layer as the framework's users do and reads these states.
        variant: How it is driven, where one setting is driven in several ways.
        reason: Why it cannot be exact; none if every bit must be equal.
        graded: The output is the membrane, so that a spike rate says nothing.
        shape: Shape of one sample in one step.
    """

    framework: str
    neuron: str
    setting: str
    build: Callable[[int], Any]
    inputs: Callable[[int], Array]
    states: tuple[str, ...]
    drive: Drive
    variant: str = ""
    reason: str = ""
    graded: bool = False
    shape: tuple[int, ...] = (SIZE,)

    def __post_init__(self) -> None:
        assert math.prod(self.shape) == SIZE

    @property
    def exact(self) -> bool:
        """Whether spikes and states must be equal in every bit."""
        return not self.reason

    @property
    def case(self) -> tuple[str, str, str]:
        """What is compared, however it is driven."""
        return self.framework, self.neuron, self.setting

    def __str__(self) -> str:
        return " ".join(word for word in (*self.case, self.variant) if word)


@dataclass(frozen=True)
class Refusal:
    """A layer that must be refused, with the diagnostic's code and the reason."""

    framework: str
    title: str
    build: Callable[[], Any]
    code: str
    reason: str

    def __str__(self) -> str:
        return f"{self.framework} {self.title}"


# --- Inputs and parameters -----------------------------------------------------------------------


def normal(seed: int, scale: float, bias: float = 0.3, bound: float = np.inf) -> Array:
    """Return normally distributed currents [T, B, N]."""
    drawn = np.random.default_rng(seed).normal(size=(STEPS, BATCH, SIZE)) * scale + bias
    return np.clip(drawn, -bound, bound).astype(np.float32)


def spikes(seed: int, rate: float = 0.3) -> Array:
    """Return spikes [T, B, N], for layers with input weights."""
    return (np.random.default_rng(seed).random((STEPS, BATCH, SIZE)) < rate).astype(np.float32)


def eighths(seed: int, scale: float = 6, bias: float = 2) -> Array:
    """Return multiples of 1/8 [T, B, N]; with dyadic parameters the membrane hits thresholds."""
    drawn = np.random.default_rng(seed).normal(size=(STEPS, BATCH, SIZE)) * scale + bias
    return (np.rint(drawn) / 8).astype(np.float32)


def uniform(seed: int, low: float, high: float, size: int = SIZE) -> Array:
    """Return one parameter per neuron."""
    return np.random.default_rng(1000 + seed).uniform(low, high, size).astype(np.float32)


def dyadic(seed: int, scale: float = 0.15, shape: tuple[int, ...] = (SIZE, SIZE)) -> Array:
    """Return weights on a grid of 1/256, whose sums with spikes are exact in any order."""
    drawn = np.random.default_rng(2000 + seed).normal(size=shape) * scale
    return (np.round(drawn * 256) / 256).astype(np.float32)


def tensor(array: npt.ArrayLike) -> Any:
    """Return an array as a torch tensor of its own."""
    import torch

    return torch.from_numpy(np.array(array))


def linear(weight: Array, bias: Array | None = None) -> Any:
    """Return a `torch.nn.Linear` with these weights."""
    import torch

    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    fill(layer.weight, weight)
    if bias is not None:
        fill(layer.bias, bias)
    return layer


def fill(parameter: Any, value: npt.ArrayLike) -> None:
    """Set a parameter's value."""
    parameter.data = tensor(value)


def stacked(values: Mapping[str, Sequence[Any]]) -> dict[str, Array]:
    """Return lists of tensors of one step each as arrays [T, ...]."""
    return {
        name: np.stack([v.detach().numpy() for v in seen]) for name, seen in values.items() if seen
    }
