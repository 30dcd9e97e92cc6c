"""One core's layer in integers: its geometry, its memory, and the rules of the chip for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from snnir.targets.speck import chips
from snnir.targets.speck.chips import Chip
from snnir.targets.speck.layout import bits_for

Array = npt.NDArray[Any]
Pair = tuple[int, int]


@dataclass(frozen=True)
class Shape:
    """A stack of maps."""

    channels: int
    height: int
    width: int

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


@dataclass(frozen=True)
class Geometry:
    """A convolution; pairs are (vertical, horizontal).

    Attributes:
        source, target: Shapes of input and output.
        kernel: Extent of the square kernel.
        stride, padding: Padding is the same on both sides.
    """

    source: Shape
    target: Shape
    kernel: int
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    @property
    def kernel_words(self) -> int:
        """Words of kernel memory: every axis takes a power of two."""
        taps = bits_for(self.kernel**2)
        return int(self.source.channels << (taps + bits_for(self.target.channels)))

    @property
    def neuron_words(self) -> int:
        """Words of neuron memory."""
        shape = self.target
        return int(shape.channels << (bits_for(shape.height) + bits_for(shape.width)))

    @property
    def bias_words(self) -> int:
        """Words of bias memory."""
        return self.target.channels

    @property
    def words(self) -> chips.Memory:
        """Words of all memories."""
        return chips.Memory(self.kernel_words, self.neuron_words, self.bias_words)

    def faults(self) -> Iterator[str]:
        """Yield every rule of the chip that the geometry breaks, whatever the core."""
        for what, shape in (("input", self.source), ("output", self.target)):
            if shape.channels not in chips.CHANNELS:
                yield f"{what} has {shape.channels} channels, the chip takes 1 to 1024"
            sizes = chips.INPUT_SIZE if what == "input" else chips.OUTPUT_SIZE
            if shape.height not in sizes or shape.width not in sizes:
                size = f"{shape.height}x{shape.width}"
                yield f"{what} is {size}, the chip takes up to {sizes[-1]}x{sizes[-1]}"
        if self.kernel not in chips.KERNEL:
            yield f"kernel is {self.kernel}, the chip takes 1 to 16"
        for padding, stride in zip(self.padding, self.stride, strict=True):
            if padding not in chips.PADDING:
                yield f"padding is {padding}, the chip takes 0 to 7"
            if stride not in chips.STRIDES:
                yield f"stride is {stride}, the chip takes 1, 2, 4 or 8"
        expected = self.expected()
        if expected is not None and (self.target.height, self.target.width) != expected:
            size = f"{self.target.height}x{self.target.width}"
            yield f"output is {size}, the convolution gives {expected[0]}x{expected[1]}"

    def expected(self) -> Pair | None:
        """Return the output size that follows from the rest, None if nothing does."""
        extents = zip(
            (self.source.height, self.source.width), self.padding, self.stride, strict=True
        )
        if any(stride < 1 for stride in self.stride):
            return None
        height, width = ((n - self.kernel + 2 * p) // s + 1 for n, p, s in extents)
        return height, width


@dataclass(frozen=True)
class Destination:
    """Where a core's spikes go.

    Attributes:
        layer: Core, or 12 for the readout.
        pooling: The target's coordinates are the source's divided by this.
        shift: Added to the channel.
    """

    layer: int
    pooling: int = 1
    shift: int = 0


@dataclass(frozen=True, eq=False)
class CoreLayer:
    """What a core is configured with.

    Attributes:
        geometry: The convolution.
        weights: [out, in, y, x], 8 bits.
        biases: [out], 16 bits; added at every tick of the slow clock if `leak_enable`.
        initial: [out, y, x], 16 bits: states at the start.
        threshold_high: A neuron that reaches it spikes, once per incoming event.
        threshold_low: States never fall below.
        return_to_zero: A spike sets the state to 0 instead of subtracting the threshold.
        leak_enable: See `biases`.
        monitor_enable: Spikes are sent to the host.
        destinations: Two at most.
    """

    geometry: Geometry
    weights: Array
    biases: Array
    initial: Array
    threshold_high: int
    threshold_low: int
    return_to_zero: bool = False
    leak_enable: bool = False
    monitor_enable: bool = False
    destinations: tuple[Destination, ...] = ()

    def faults(self, chip: Chip) -> Iterator[str]:
        """Yield every rule of the chip that the layer breaks, whatever the core."""
        yield from self.geometry.faults()
        if self.threshold_high not in chips.THRESHOLD_HIGH:
            yield f"threshold is {self.threshold_high}, the chip takes 0 to 32767"
        if self.threshold_low not in chips.THRESHOLD_LOW:
            yield f"lower bound is {self.threshold_low}, the chip takes -32768 to 0"
        for name, array, allowed in (
            ("weights", self.weights, chips.WEIGHT),
            ("biases", self.biases, chips.WORD),
            ("initial states", self.initial, chips.WORD),
        ):
            if array.size and not (allowed[0] <= array.min() and array.max() <= allowed[-1]):
                yield f"{name} go beyond {allowed[0]} to {allowed[-1]}"
        for destination in self.destinations:
            if destination.pooling not in chip.pooling:
                listed = ", ".join(map(str, chip.pooling))
                yield f"pooling is {destination.pooling}, the chip takes {listed}"


@dataclass(frozen=True)
class Excess:
    """One memory that is too small.

    Attributes:
        memory: `kernel`, `neuron` or `bias`.
        needed, there: Words.
    """

    memory: str
    needed: int
    there: int

    def __str__(self) -> str:
        return f"{self.memory} memory {self.needed:,} of {self.there:,} words"


def excess(needed: chips.Memory, there: chips.Memory) -> list[Excess]:
    """Return the memories of a core that are too small for a layer."""
    return [
        Excess(name, getattr(needed, name), getattr(there, name))
        for name in ("kernel", "neuron", "bias")
        if getattr(needed, name) > getattr(there, name)
    ]


@dataclass(frozen=True)
class Sensor:
    """The block before the cores: the pixel array's events, as the cores see them.

    Attributes:
        destinations: Cores that take its events, two at most.
        pooling: (vertical, horizontal).
        origin, size: The window that is kept, in pixels after pooling, (y, x).
        mirror: (vertical, horizontal).
        swap: Whether x and y change places, after all else.
        merge: Whether both polarities are channel 0.
        on, off: Which polarities are kept.
        enabled: Whether the pixel array is on.
    """

    destinations: tuple[int, ...] = ()
    pooling: Pair = (1, 1)
    origin: Pair = (0, 0)
    size: Pair = (128, 128)
    mirror: tuple[bool, bool] = (False, False)
    swap: bool = False
    merge: bool = False
    on: bool = True
    off: bool = True
    enabled: bool = False

    @property
    def shape(self) -> Shape:
        """What the cores see."""
        height, width = self.size[::-1] if self.swap else self.size
        return Shape(1 if self.merge else 2, height, width)


@dataclass(frozen=True)
class Network:
    """A whole chip.

    Attributes:
        chip: Which.
        cores: Layers by core.
        sensor: The sensor's block.
        readout: Whether the readout block takes the classes.
    """

    chip: Chip
    cores: Mapping[int, CoreLayer]
    sensor: Sensor = field(default_factory=Sensor)
    readout: bool = False


def network_faults(net: Network) -> Iterator[str]:
    """Yield everything about a chip's configuration that its rules forbid."""
    fan_in: dict[int, list[range]] = {}
    for core, layer in net.cores.items():
        yield from (f"core {core}: {fault}" for fault in layer.faults(net.chip))
        for lack in excess(layer.geometry.words, net.chip.cores[core]):
            yield f"core {core}: {lack}"
        yield from (f"core {core}: {fault}" for fault in _reach(net, layer, fan_in))
    if net.sensor.enabled:
        yield from _sensor_reach(net, fan_in)
    for core, ranges in fan_in.items():
        wanted = net.cores[core].geometry.source.channels
        taken = sorted(c for channels in ranges for c in channels)
        if taken != list(range(wanted)):
            listed = ", ".join(f"{r.start}..{r.stop - 1}" for r in sorted(ranges, key=min))
            yield f"core {core}: its {wanted} input channels are fed by {listed}, not once each"


def _reach(net: Network, layer: CoreLayer, fan_in: dict[int, list[range]]) -> Iterator[str]:
    shape = layer.geometry.target
    for destination in layer.destinations:
        if destination.layer == chips.READOUT and net.chip.readout_spread:
            continue
        target = net.cores.get(destination.layer)
        if target is None:
            yield f"sends to core {destination.layer}, which is not used"
            continue
        source = target.geometry.source
        size = shape.height // destination.pooling, shape.width // destination.pooling
        if size != (source.height, source.width):
            seen = f"{size[0]}x{size[1]}"
            yield f"sends {seen} maps to core {destination.layer}, which takes {source}"
        channels = range(destination.shift, destination.shift + shape.channels)
        fan_in.setdefault(destination.layer, []).append(channels)


def _sensor_reach(net: Network, fan_in: dict[int, list[range]]) -> Iterator[str]:
    shape = net.sensor.shape
    for core in net.sensor.destinations:
        if core not in net.cores:
            yield f"the sensor sends to core {core}, which is not used"
            continue
        source = net.cores[core].geometry.source
        if (source.height, source.width) != (shape.height, shape.width):
            yield f"the sensor sends {shape} to core {core}, which takes {source}"
        fan_in.setdefault(core, []).append(range(shape.channels))
