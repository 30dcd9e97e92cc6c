"""Models, inputs and tables that the traps share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

import snnir
from examples.digits.demo import HERE, load_samples

Array = npt.NDArray[Any]

MODEL = HERE / "digits.nir"
DT = 1e-3


@dataclass(frozen=True)
class Played:
    """What the digits network did on its 200 pictures.

    Attributes:
        hidden, digit: Spikes [T, B, neurons] of its two populations.
        correct: Share of pictures told rightly.
    """

    hidden: Array
    digit: Array
    correct: float


@cache
def pictures() -> tuple[Array, Array]:
    """Return the input spikes [32, 200, 64] and the labels [200]."""
    x, labels, _, _ = load_samples()
    return x, labels


def digits(**semantics: Any) -> snnir.Graph:
    """Return the digits network, read as a file that says nothing of how it is stepped."""
    return snnir.load(MODEL, **{"semantics": "snntorch", "dt": DT, **semantics})


def play(graph: snnir.Graph) -> Played:
    """Run the digits network on the pictures, by the reference simulator."""
    x, labels = pictures()
    run = snnir.compile(graph).run(x, record=["hidden", "digit"])
    told = run.output.sum(axis=0).argmax(axis=1)
    hidden, digit = run.recorded["hidden"], run.recorded["digit"]
    return Played(hidden, digit, float((told == labels).mean()))


@cache
def reference() -> Played:
    """Return the run with the semantics that the network was trained under, snnTorch's."""
    return play(digits())


def differing(a: Array, b: Array) -> int:
    """Return how many elements differ."""
    return int((a != b).sum())


def versus(played: Played, other: Played | None = None) -> tuple[str, ...]:
    """Return spikes and differences of both populations, and what is told rightly."""
    other = other or reference()
    return (
        number(played.hidden.sum()),
        number(differing(played.hidden, other.hidden)),
        number(played.digit.sum()),
        number(differing(played.digit, other.digit)),
        f"{played.correct:.1%}",
    )


#: The head of a table whose rows are `versus`.
HEAD = ("hidden spikes", "that differ", "output spikes", "that differ", "correct")


def number(value: Any) -> str:
    """Return a whole number with commas."""
    return f"{int(value):,}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def random_layer(
    neurons: int = 512, inputs: int = 64, steps: int = 1000, batch: int = 4, seed: int = 0
) -> tuple[Array, Array]:
    """Return weights [neurons, inputs] without a common grid, and spikes [steps, batch, inputs]."""
    rng = np.random.default_rng(seed)
    weight = rng.normal(0.02, 0.2, (neurons, inputs)).astype(np.float32)
    x = (rng.random((steps, batch, inputs)) < 0.1).astype(np.float32)
    return weight, x
