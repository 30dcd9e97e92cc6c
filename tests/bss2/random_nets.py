"""Random networks of integers, for routers: from a few neurons to what just fits a chip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.targets.bss2.chips import HICANN_X, Chip
from snnir.targets.bss2.network import Cells, LogicalNetwork, Projection, Source

Rng = np.random.Generator
#: Layers of dense networks with as many of either sign that are known to fit a chip at once, and
#: the density of the last projection.
TABLE = [
    ([25, 120, 3], 1.0),
    ([128, 256, 10], 0.45),
    ([180, 256], 1.0),
    ([160, 200, 100, 10], 0.5),
    ([784, 10], 0.2),
]


@dataclass(frozen=True)
class Case:
    """A network and the chip it is for.

    Attributes:
        name: Family and seed.
        network, chip: See there.
        fits: True where a router without excuses routes it in one execution; else unknown.
    """

    name: str
    network: LogicalNetwork
    chip: Chip
    fits: bool = False


def tiny(columns: int = 4, drivers: int = 1, per_output: int | None = None) -> Chip:
    """Return a chip of a few columns, its neurons on as many event outputs as there can be."""
    return Chip("tiny", columns, drivers, per_output or max(1, columns // 8))


def weights(
    rng: Rng,
    targets: int,
    sources: int,
    density: float = 1.0,
    most: int = 63,
    positive: float = 0.5,
) -> npt.NDArray[Any]:
    """Return [target, source] of signed integers, so many of which are not zero."""
    sizes = rng.integers(1, most + 1, (targets, sources))
    signs = np.where(rng.random((targets, sources)) < positive, 1, -1)
    return np.asarray(sizes * signs * (rng.random((targets, sources)) < density))


def network(
    sources: list[Source], cells: list[Cells], matrices: Mapping[tuple[str, str], Any]
) -> LogicalNetwork:
    """Return a network of these parts."""
    return LogicalNetwork(
        {one.name: one for one in sources},
        {one.name: one for one in cells},
        tuple(Projection(source, target, matrix) for (source, target), matrix in matrices.items()),
    )


def layered(rng: Rng, sizes: list[int], density: float = 1.0, **how: Any) -> LogicalNetwork:
    """Return an input and layers, each connected to the next; the last need not spike."""
    names = ["x", *(f"layer{i}" for i in range(1, len(sizes)))]
    last = bool(rng.random() < 0.5)
    cells = [
        Cells(name, size, spiking=name != names[-1] or last)
        for name, size in zip(names[1:], sizes[1:], strict=True)
    ]
    matrices = {
        (names[i], names[i + 1]): weights(rng, sizes[i + 1], sizes[i], density, **how)
        for i in range(len(sizes) - 1)
    }
    return network([Source("x", sizes[0])], cells, matrices)


def mixed(rng: Rng, most: int, fan_in: int, heaviest: int = 63) -> LogicalNetwork:
    """Return populations connected at random, with loops, constants and joined circuits.

    Args:
        rng: Where it comes from.
        most: Neurons and channels of one population or source.
        fan_in: Synapses of a neuron, about.
        heaviest: Largest weight.
    """
    sources = [
        Source(f"in{i}", int(rng.integers(1, most + 1))) for i in range(int(rng.integers(1, 4)))
    ]
    if rng.random() < 0.4:
        sources.append(Source("one", 1, "constant", background=bool(rng.random() < 0.5)))
    cells = [
        Cells(
            f"p{i}",
            int(rng.integers(1, most + 1)),
            spiking=bool(rng.random() < 0.8),
            circuits=int(rng.choice([1, 1, 1, 2, 3, 4])),
        )
        for i in range(int(rng.integers(1, 4)))
    ]
    senders = [(one.name, one.size) for one in sources]
    senders += [(one.name, one.size) for one in cells if one.spiking]
    matrices = {}
    for target in cells:
        chosen = [one for one in senders if rng.random() < 0.6] or [senders[0]]
        for name, size in chosen:
            density = min(1.0, fan_in / len(chosen) / size * float(rng.random() + 0.3))
            matrix = weights(
                rng, target.size, size, density, heaviest, float(rng.choice([0, 0.5, 0.8, 1]))
            )
            matrices[name, target.name] = matrix
    return network(sources, cells, matrices)


def block(rng: Rng, chip: Chip, load: float) -> LogicalNetwork:
    """Return a dense network whose neurons' fan-in is a part of the rows of a hemisphere."""
    rows = chip.rows
    positive = float(rng.choice([0.0, 0.5, 1.0]))
    sources = max(1, int(load * rows))
    targets = int(rng.integers(max(1, chip.columns // 2), chip.columns + 1))
    return network(
        [Source("x", sources)],
        [Cells("y", targets, spiking=bool(rng.random() < 0.5))],
        {("x", "y"): weights(rng, targets, sources, 1.0, 63, positive)},
    )


def recurrent(rng: Rng, size: int, density: float, heaviest: int = 63) -> LogicalNetwork:
    """Return one population on which an input and itself project, and a readout."""
    channels, readout = int(rng.integers(1, 20)), int(rng.integers(1, 5))
    return network(
        [Source("x", channels)],
        [Cells("y", size), Cells("z", readout, spiking=False)],
        {
            ("x", "y"): weights(rng, size, channels, 1.0, heaviest),
            ("y", "y"): weights(rng, size, size, density, heaviest),
            ("y", "z"): weights(rng, readout, size, 0.5, heaviest),
        },
    )


def _small(rng: Rng) -> tuple[LogicalNetwork, Chip, bool]:
    return mixed(rng, 12, 10), HICANN_X, True


def _heavy(rng: Rng) -> tuple[LogicalNetwork, Chip, bool]:
    return mixed(rng, 10, 6, heaviest=int(rng.choice([64, 126, 300]))), HICANN_X, False


def _medium(rng: Rng) -> tuple[LogicalNetwork, Chip, bool]:
    return mixed(rng, 60, 40), HICANN_X, False


def _sparse(rng: Rng) -> tuple[LogicalNetwork, Chip, bool]:
    sizes = [int(rng.integers(20, 200)), int(rng.integers(20, 200)), int(rng.integers(2, 40))]
    return layered(rng, sizes, float(rng.choice([0.02, 0.1, 0.3]))), HICANN_X, False


def _loops(rng: Rng) -> tuple[LogicalNetwork, Chip, bool]:
    size = int(rng.integers(10, 130))
    return recurrent(rng, size, float(rng.choice([0.05, 0.2, 0.6]))), HICANN_X, False


def _tiny_mixed(rng: Rng) -> tuple[LogicalNetwork, Chip, bool]:
    chip = tiny(int(rng.choice([4, 8, 16])), int(rng.choice([1, 2, 4])))
    return mixed(rng, max(1, chip.columns // 4), 4 * chip.drivers), chip, False


def _tiny_block(rng: Rng) -> tuple[LogicalNetwork, Chip, bool]:
    chip = tiny(int(rng.choice([4, 8, 16])), int(rng.choice([1, 2, 4, 8])))
    return block(rng, chip, float(rng.uniform(0.3, 1.1))), chip, False


def _full(rng: Rng) -> tuple[LogicalNetwork, Chip, bool]:
    return block(rng, HICANN_X, float(rng.uniform(0.4, 1.0))), HICANN_X, False


def _table(rng: Rng) -> tuple[LogicalNetwork, Chip, bool]:
    sizes, density = TABLE[int(rng.integers(len(TABLE)))]
    found = layered(rng, sizes)
    last = found.projections[-1]
    thinned = last.weights * (rng.random(last.weights.shape) < density)
    projections = (*found.projections[:-1], Projection(last.source, last.target, thinned))
    return LogicalNetwork(found.sources, found.cells, projections), HICANN_X, True


#: Families, and how many of each are in a set of 500.
FAMILIES = {
    _small: 150,
    _heavy: 50,
    _medium: 40,
    _sparse: 30,
    _loops: 24,
    _tiny_mixed: 100,
    _tiny_block: 90,
    _full: 6,
    _table: 10,
}


def cases(family: str | None = None) -> Iterator[Case]:
    """Yield 500 networks, or those of one family: the same at every call."""
    for number, (make, count) in enumerate(FAMILIES.items()):
        name = make.__name__[1:]
        if family in (None, name):
            for seed in range(count):
                found, chip, fits = make(np.random.default_rng([number, seed]))
                yield Case(f"{name} {seed}", found, chip, fits)


def few_neurons(seed: int, chip: Chip, neurons: int, channels: int) -> LogicalNetwork:
    """Return a network of a few neurons, for comparison with all that a tiny chip can do.

    Args:
        seed: Of everything random.
        chip: Its chip; fan-in is drawn around what its rows allow.
        neurons: Their number.
        channels: Those of the one input.
    """
    rng = np.random.default_rng(seed)
    density = float(rng.choice([0.5, 0.8, 1.0]))
    heaviest = int(rng.choice([63, 63, 2 * 63, chip.rows * 63 // 4]))
    positive = float(rng.choice([0.5, 0.5, 0.8, 1.0]))

    def some(targets: int, sources: int) -> npt.NDArray[Any]:
        return weights(rng, targets, sources, density, heaviest, positive)

    matrices = {("x", "y"): some(neurons, channels)}
    if rng.random() < 0.7:
        matrices["y", "y"] = some(neurons, neurons)
    return network([Source("x", channels)], [Cells("y", neurons)], matrices)
