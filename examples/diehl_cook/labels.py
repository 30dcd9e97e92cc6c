"""What neurons that learned without labels say about the class of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Labels:
    """Which class every neuron stands for.

    Attributes:
        responses: Mean number of spikes per image of each class, [neurons, classes].
    """

    responses: Array

    @staticmethod
    def of(counts: Array, classes: Array, number: int = 10) -> Labels:
        """Label neurons by what they answered.

        Args:
            counts: Spikes of every neuron for each image, [images, neurons].
            classes: Of the images, [images].
            number: How many classes there are; one without images gets no neuron.
        """
        shown = [counts[classes == label] for label in range(number)]
        means = [of.mean(axis=0) if len(of) else np.zeros(counts.shape[1]) for of in shown]
        return Labels(np.stack(means, axis=1))

    @property
    def assigned(self) -> Array:
        """The class with the largest mean response of each neuron, -1 if it never fired."""
        largest: Array = self.responses.argmax(axis=1)
        return np.where(self.responses.any(axis=1), largest, -1)

    @property
    def proportions(self) -> Array:
        """Every neuron's responses as shares of their sum, [neurons, classes]."""
        total = self.responses.sum(axis=1, keepdims=True)
        shares: Array = self.responses / np.where(total > 0, total, 1)
        return shares

    def all_activity(self, counts: Array) -> Array:
        """Return the class whose neurons fired most on average, [images]; -1 if none fired."""
        return self._largest(counts, np.ones_like(self.responses))

    def proportion_weighting(self, counts: Array) -> Array:
        """Return the same with every spike weighted by the neuron's share of that class."""
        return self._largest(counts, self.proportions)

    def _largest(self, counts: Array, weights: Array) -> Array:
        mine = self.assigned[:, None] == np.arange(self.responses.shape[1])
        votes = counts @ (mine * weights) / np.maximum(mine.sum(axis=0), 1)
        return np.where(votes.any(axis=1), votes.argmax(axis=1), -1)
