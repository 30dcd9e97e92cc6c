"""What each chip of the Speck family has; copied into emitted folders.

Sizes, ranges and the layout of memories are those that the vendor's own validator and assembler
(samna 0.7.1.0 on the package index, module `speck2b`) show when they are probed; the core table is
also in the Speck user guide, table 1, and in sinabs (`backend/dynapcnn/chips/dynapcnn.py`), which
uses the same one for 2e and 2f.
"""

from __future__ import annotations

from dataclasses import dataclass

KI = 1024


@dataclass(frozen=True)
class Memory:
    """Words of one core: weights of 8 bits, states and biases of 16."""

    kernel: int
    neuron: int
    bias: int = KI


_LARGE_MAP = Memory(16 * KI, 64 * KI)
_MIDDLE = Memory(32 * KI, 32 * KI)
_LARGE_KERNEL = Memory(64 * KI, 16 * KI)
_SMALL = Memory(16 * KI, 16 * KI)
_CORES = (*[_LARGE_MAP] * 3, *[_MIDDLE] * 2, *[_LARGE_KERNEL] * 2, *[_SMALL] * 2)


@dataclass(frozen=True)
class Chip:
    """One chip.

    Attributes:
        name: As samna calls its module.
        cores: Memory of every core.
        pooling: Windows a destination can sum over.
        cut_after_pooling: Whether the sensor's crop is in pixels after pooling.
        readout_spread: Distance of the output channels that the readout block takes as classes:
            an erratum of 2e and 2f (samna documentation, chip errata); 0 if it cannot be reached.
        parallel_cores: Cores that handle several events at once, so that their order is open.
        verified: Whether layout and rules were compared with the vendor's own tools.
    """

    name: str
    cores: tuple[Memory, ...] = _CORES
    pooling: tuple[int, ...] = (1, 2, 4)
    cut_after_pooling: bool = True
    readout_spread: int = 4
    parallel_cores: tuple[int, ...] = (0, 1)
    verified: bool = False


CHIPS: dict[str, Chip] = {
    "speck2b": Chip("speck2b", _CORES, (1, 2, 4, 8), False, 0, (), True),
    "speck2e": Chip("speck2e"),
    "speck2f": Chip("speck2f"),
}

CORES = len(_CORES)
DESTINATIONS = 2
READOUT = 12
CLASSES = 15
SENSOR = 128
SENSOR_POOLING = (1, 2, 4)

KERNEL = range(1, 17)
PADDING = range(8)
STRIDES = (1, 2, 4, 8)
#: What a register of a destination can hold; each chip says which of them it takes.
POOLINGS = (1, 2, 4, 8)
INPUT_SIZE = range(1, 129)
OUTPUT_SIZE = range(1, 65)
CHANNELS = range(1, 1025)
WEIGHT = range(-128, 128)
WORD = range(-(2**15), 2**15)
THRESHOLD_HIGH = range(2**15)
THRESHOLD_LOW = range(-(2**15), 1)
