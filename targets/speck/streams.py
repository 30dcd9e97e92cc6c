"""From where each element of a stream of spikes comes: through pools, reshapes and joins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir import kernels
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.pooling import AvgPool2d, MaxPool2d, SumPool2d
from snnir.ir.structure import Add, Concat, Current, Flatten, Input, Pad, Permute, Reshape, Slice
from snnir.ir.synapses import Scale
from snnir.ir.timing import Delay
from snnir.streams import Kind
from snnir.targets.speck import chips
from snnir.targets.speck.core import Shape
from snnir.targets.speck.neurons import NotFit

Array = npt.NDArray[Any]

_MOVES = (Add, Concat, Current, Flatten, Pad, Permute, Reshape, Slice)


@dataclass(frozen=True, eq=False)
class Part:
    """The spikes of one population, or of an input, within a stream.

    Attributes:
        source: Node they come from.
        pooling: Window they are summed over, square and not overlapping.
        index: [channels, height, width] after pooling: where in the flattened stream, or -1.
        gain: Of the same shape: what they are multiplied by.
    """

    source: str
    pooling: int
    index: Array
    gain: Array


def maps_of(shape: Sequence[int], node: str) -> Shape:
    """Return a shape as maps: one axis is channels of one pixel, two are channels of one row."""
    if not 1 <= len(shape) <= 3 or min(shape) < 1:
        raise NotFit(f"has shape {list(shape)}; the chip has channels of maps", node=node)
    channels, *rest = shape
    if channels > chips.CHANNELS[-1]:
        raise NotFit(f"has {channels} channels; the chip takes up to 1024", node=node)
    height, width = {0: (1, 1), 1: (1, *rest), 2: tuple(rest)}[len(rest)]
    return Shape(channels, height, width)


class Streams:
    """What the streams of a graph are made of; each is looked at once.

    Args:
        graph: The graph.
        maps: Shapes of sources that are stacks of maps though their stream has one axis.
    """

    def __init__(self, graph: Graph, maps: Mapping[str, Shape]) -> None:
        self.graph, self.maps = graph, maps
        self._found: dict[Value, list[Part]] = {}

    def parts(self, value: Value) -> list[Part]:
        """Return what a stream of spikes is made of.

        Raises:
            NotFit: If something in between is more than moving and adding spikes.
        """
        if value not in self._found:
            self._found[value] = _merged(self._parts(value))
        return self._found[value]

    def _parts(self, value: Value) -> list[Part]:
        node = self.graph.nodes[value.node]
        op = node.op
        if value.result:
            raise NotFit("its membrane is read; a core gives its spikes alone", None, node.name)
        if isinstance(op, (Input, Step)):
            own = self.maps.get(node.name) or maps_of(self.graph.signals[value].shape, node.name)
            extents = (own.channels, own.height, own.width)
            index = np.arange(prod(extents)).reshape(extents)
            return [Part(node.name, 1, index, np.ones(extents))]
        if isinstance(op, _MOVES):
            return [
                _moved(self.graph, node, position, part)
                for position, operand in enumerate(node.operands)
                for part in self.parts(operand)
            ]
        if isinstance(op, Scale):
            factor = np.broadcast_to(op.scale.numpy(), self.graph.signals[value].shape).reshape(-1)
            found = self.parts(node.operands[0])
            return [replace(part, gain=part.gain * factor[part.index]) for part in found]
        if isinstance(op, (SumPool2d, AvgPool2d)):
            shape = self.graph.signals[node.operands[0]].shape
            return [_pooled(node, op, part, shape) for part in self.parts(node.operands[0])]
        raise _refusal(node)


def _merged(found: Sequence[Part]) -> list[Part]:
    """Return parts, with one for those that are the same spikes in the same places."""
    kept: list[Part] = []
    for part in found:
        for at, other in enumerate(kept):
            same = (other.source, other.pooling) == (part.source, part.pooling)
            if same and np.array_equal(other.index, part.index):
                kept[at] = replace(other, gain=other.gain + part.gain)
                break
        else:
            kept.append(part)
    return kept


def _refusal(node: Node) -> NotFit:
    op, name = node.op, node.name
    if isinstance(op, MaxPool2d):
        return NotFit("takes a maximum; the chip's pools are sums", "use a sum pool", name)
    if isinstance(op, Delay):
        hint = "the chip has no delays and no recurrent layers"
        return NotFit("delays spikes; on the chip they go on at once", hint, name)
    hint = "put a population after every layer with weights"
    return NotFit(f"'{op.name}' stands where spikes are needed", hint, name)


def _moved(graph: Graph, node: Node, position: int, part: Part) -> Part:
    """Return where a part is after an op that moves elements; the reference kernel tells."""
    signals = [graph.signals[operand] for operand in node.operands]
    marks = [np.zeros((1, *signal.shape), np.int64) for signal in signals]
    marks[position] = np.arange(1, signals[position].size + 1).reshape(marks[position].shape)
    call = node.op.call([replace(signal, kind=Kind.COUNTS) for signal in signals])
    made = getattr(kernels, call.function)(*marks, **call.options).reshape(-1)
    moved = np.full(signals[position].size, -1)
    seen = made > 0
    moved[made[seen] - 1] = np.flatnonzero(seen)
    return replace(part, index=np.where(part.index < 0, -1, moved[part.index]))


def _pooled(node: Node, op: SumPool2d | AvgPool2d, part: Part, shape: tuple[int, ...]) -> Part:
    window = op.kernel[0]
    if op.kernel != op.stride or op.kernel != (window, window):
        what = f"pools {op.kernel[0]}x{op.kernel[1]} with stride {op.stride[0]}x{op.stride[1]}"
        raise NotFit(f"{what}; the chip's windows are square and do not overlap", None, node.name)
    if any(width for pair in op.padding for width in pair):
        raise NotFit("pools with padding; the chip's pools have none", None, node.name)
    top, left, channels = regular(part, shape, node.name)
    if (top, left) != (0, 0) or part.index.shape[1:] != shape[1:]:
        raise NotFit("pools maps that were shifted or cut", "cut after pooling", node.name)
    height, width = shape[1] // window, shape[2] // window
    if (part.index[channels >= 0] < 0).any():
        raise NotFit("pools maps that were cut", "cut after pooling", node.name)
    rows, columns = np.indices((height, width))
    there = channels[:, None, None]
    index = np.where(there >= 0, (there * height + rows) * width + columns, -1)
    gain = part.gain[:, : height * window, : width * window]
    gain = gain.reshape(-1, height, window, width, window)
    if np.ptp(gain, axis=(2, 4)).any():
        raise NotFit("pools over elements of different factors", None, node.name)
    factor = 1 / window**2 if isinstance(op, AvgPool2d) else 1.0
    return Part(part.source, part.pooling * window, index, gain[:, :, 0, :, 0] * factor)


def regular(part: Part, shape: Sequence[int], node: str) -> tuple[int, int, Array]:
    """Return how far a part's maps are moved (down, right), and the channel each has become.

    Channels that are not there any more are -1.

    Raises:
        NotFit: If the maps are not whole, or not maps any more.
    """
    problem = NotFit("reads maps whose elements were reordered", "keep maps as they are", node)
    if len(shape) != 3:
        raise problem
    _, height, width = shape
    channel, place = np.divmod(part.index, height * width)
    y, x = np.divmod(place, width)
    kept = part.index >= 0
    rows, columns = np.indices(part.index.shape[1:])
    moves = {(int(a), int(b)) for a, b in zip((y - rows)[kept], (x - columns)[kept], strict=True)}
    if len(moves) > 1:
        raise problem
    flat, there = channel.reshape(len(channel), -1), kept.reshape(len(channel), -1)
    channels = np.where(there, flat, -1).max(axis=1)
    if not (np.where(there, flat, channels[:, None]) == channels[:, None]).all():
        raise problem
    window = np.max(kept, axis=0)
    whole = np.max(window, axis=1)[:, None] & np.max(window, axis=0)
    if (kept != (channels >= 0)[:, None, None] & whole).any():
        raise problem  # what was cut off is no rows and columns, or others in each channel
    return (*(moves.pop() if moves else (0, 0)), channels)
