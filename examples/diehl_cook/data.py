"""scikit-learn's handwritten digits as 28 x 28 images, and as spike trains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

PIXELS, CLASSES = 784, 10
#: Steps of 1 ms that every image is shown for.
STEPS = 250
#: Spikes per second of the brightest pixels.
RATE = 64.0
#: Of 1,797 images: for learning; the others are for testing.
TRAIN = 1437
SPLIT_SEED = 2026


@dataclass(frozen=True)
class Images:
    """Images [n, 784], from 0 to 1, and their classes [n]."""

    pixels: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Images:
        """Return the first images."""
        return Images(self.pixels[:count], self.labels[:count])

    def repeated(self, times: int) -> Images:
        """Return all images, that many times one after the other."""
        return Images(np.tile(self.pixels, (times, 1)), np.tile(self.labels, times))


def digits() -> tuple[Images, Images]:
    """Return the images for learning and those for testing, always in the same order.

    Raises:
        SystemExit: If scikit-learn is missing.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit("the images come with scikit-learn: pip install scikit-learn") from None
    found = load_digits()
    pixels = enlarged(found.images / 16).reshape(-1, PIXELS).astype(np.float32)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(pixels))
    halves = (order[:TRAIN], order[TRAIN:])
    learn, test = (Images(pixels[half], found.target[half]) for half in halves)
    return learn, test


def enlarged(images: Array) -> Array:
    """Return images [n, 8, 8] as [n, 28, 28]: blocks of 3 x 3 within a border of 2."""
    blocks = np.kron(images, np.ones((1, 3, 3)))
    return np.pad(blocks, ((0, 0), (2, 2), (2, 2)))


def spikes(images: Images, seed: int) -> Iterator[Array]:
    """Yield the spike trains [250, 1, 784] of one image after the other, float32.

    In every step of 1 ms, a pixel of brightness p spikes with probability p * 64 Hz * 1 ms,
    independently of all others.

    Args:
        images: The images.
        seed: Of the random numbers.
    """
    rng = np.random.default_rng(seed)
    for pixels in images.pixels:
        drawn = rng.random((STEPS, 1, PIXELS), dtype=np.float32)
        yield (drawn < pixels * np.float32(RATE * 1e-3)).astype(np.float32)
