"""From a graph to layers that are one convolution and one population each, in real numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from snnir.errors import Diagnostic
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.structure import Add, Current, Flatten, Input, Reshape
from snnir.ir.synapses import Bias, Conv1d, Conv2d, Linear
from snnir.streams import Kind
from snnir.targets.speck import chips
from snnir.targets.speck.core import Geometry, Pair, Shape
from snnir.targets.speck.neurons import Integrator, NotFit, changed, integrator
from snnir.targets.speck.streams import Part, Streams, maps_of, regular

Array = npt.NDArray[Any]

SPLIT = "the largest kernel is 16x16: pool or stride further before it"


@dataclass(frozen=True, eq=False)
class Term:
    """The weights between one source and a population; pairs are (vertical, horizontal).

    Attributes:
        source: Population or input.
        pooling: Its spikes are summed over windows of this size first.
        shape: Its maps after that.
        weights: [out, in, y, x].
        stride: Of the window.
        start: Where the first window begins, in pixels of the source.
    """

    source: str
    pooling: int
    shape: Shape
    weights: Array
    stride: Pair
    start: Pair


@dataclass(frozen=True, eq=False)
class Population:
    """Neurons and all that feeds them.

    Attributes:
        name: Of their node.
        terms: Their synapses.
        shape: Their maps.
        neuron: What they are; arrays [channels, height, width].
    """

    name: str
    terms: tuple[Term, ...]
    shape: Shape
    neuron: Integrator


@dataclass(frozen=True, eq=False)
class Layer:
    """A population with a single convolution, as a core has.

    Attributes:
        name: Of the population.
        terms: Its synapses; the channels of one follow those of the one before.
        geometry: The convolution.
        weights: Of the convolution, [out, in, y, x].
        neuron: What the population is; arrays [channels, height, width].
        shape: Maps of the population; those of the convolution lack what nothing reads.
    """

    name: str
    terms: tuple[Term, ...]
    geometry: Geometry
    weights: Array
    neuron: Integrator
    shape: Shape


@dataclass(frozen=True)
class Model:
    """All layers, in order of flow.

    Attributes:
        layers: By population.
        inputs: Maps of every input.
        outputs: Population by output.
    """

    layers: Mapping[str, Layer]
    inputs: Mapping[str, Shape]
    outputs: Mapping[str, str]


class Legalizer:
    """Finds the layers of a graph and everything that keeps it from being layers.

    Args:
        graph: A graph of step programs.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.problems: list[Diagnostic] = []
        self.maps: dict[str, Shape] = {}
        self.synapses = Synapses(graph, Streams(graph, self.maps))

    def refuse(self, problem: NotFit, node: str) -> None:
        """Note a problem."""
        found = Diagnostic("SNN501", problem.message, problem.node or node, hint=problem.hint)
        if found not in self.problems:
            self.problems.append(found)

    def run(self) -> Model:
        """Return the layers there are; see `problems`."""
        populations: dict[str, Population] = {}
        for name in self.graph.order:
            node = self.graph.nodes[name]
            try:
                if isinstance(node.op, Input):
                    self.maps[name] = maps_of(node.op.signal.shape, name)
                elif isinstance(node.op, Step):
                    self.population(node, populations)
            except NotFit as problem:
                self.refuse(problem, name)
        outputs = {name: self.output(name, value) for name, value in self.graph.outputs.items()}
        inputs = {name: self.maps[name] for name in self.graph.inputs if name in self.maps}
        if not populations and not self.problems:
            self.refuse(NotFit("has no spiking layer; the chip has nothing else"), self.graph.name)
        if self.problems:
            return Model({}, inputs, outputs)
        return Model(self.joined(populations, outputs), inputs, outputs)

    def population(self, node: Node, found: dict[str, Population]) -> None:
        """Add a population."""
        op = node.op
        assert isinstance(op, Step)
        shape = self.graph.signal(node.name).shape
        neuron = None
        try:
            neuron = integrator(op, shape)
        except NotFit as problem:
            self.refuse(problem, node.name)
        read = self.synapses.read(node.operands[0])
        self.maps[node.name] = read.shape
        if neuron is not None:
            extents = (read.shape.channels, read.shape.height, read.shape.width)
            neuron = changed(neuron, lambda array: array.reshape(extents))
            bias = neuron.bias + read.bias.reshape(extents) * neuron.gain
            neuron = replace(neuron, bias=bias)
            found[node.name] = Population(node.name, tuple(read.terms), read.shape, neuron)

    def output(self, name: str, value: Value) -> str:
        """Return the population an output is, through reshapes."""
        node = self.graph.nodes[value.node]
        while isinstance(node.op, (Reshape, Flatten, Current)):
            value = node.operands[0]
            node = self.graph.nodes[value.node]
        if not isinstance(node.op, Step):
            hint = "the host sees spikes of populations: pool or weigh them after the run"
            self.refuse(NotFit(f"output '{name}' is not a population's spikes", hint), value.node)
        elif value.result:
            self.refuse(NotFit("its membrane is an output; the host sees spikes"), value.node)
        return node.name

    def joined(
        self, populations: Mapping[str, Population], outputs: Mapping[str, str]
    ) -> dict[str, Layer]:
        """Return the layers, as large as their readers need."""
        made = {}
        for name, population in populations.items():
            try:
                made[name] = join(population, _needed(population, populations, outputs))
            except NotFit as problem:
                self.refuse(problem, name)
        return made


def _needed(
    population: Population, all_of_them: Mapping[str, Population], outputs: Mapping[str, str]
) -> Pair:
    """Return the height and width that are read of a population."""
    whole = (population.shape.height, population.shape.width)
    reads = {
        (term.shape.height * term.pooling, term.shape.width * term.pooling)
        for other in all_of_them.values()
        for term in other.terms
        if term.source == population.name
    }
    if population.name in outputs.values():
        reads.add(whole)
    if len(reads) > 1:
        hint = "make its size a multiple of the pools that read it"
        listed = " and ".join(f"{h}x{w}" for h, w in sorted(reads))
        raise NotFit(f"is read as {listed}; what no pool reads must not be there", hint)
    return reads.pop() if reads else whole


# --- Synapses ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Found:
    terms: list[Term]
    shape: Shape
    bias: Array


class Synapses:
    """Reads what a population is fed by.

    Args:
        graph: The graph.
        streams: Its streams of spikes.
    """

    def __init__(self, graph: Graph, streams: Streams) -> None:
        self.graph, self.streams = graph, streams

    def read(self, value: Value) -> _Found:
        """Return terms, maps and bias [elements] of a current.

        Raises:
            NotFit: If it is not a sum of synapses.
        """
        node = self.graph.nodes[value.node]
        op = node.op
        if isinstance(op, (Conv1d, Conv2d)):
            return self.convolution(node, op)
        if isinstance(op, Linear):
            return self.linear(node, op)
        if isinstance(op, Bias):
            found = self.read(node.operands[0])
            shape = self.graph.signals[value].shape
            bias = np.broadcast_to(op.bias.numpy(), shape).reshape(-1)
            return replace(found, bias=found.bias + bias)
        if isinstance(op, (Reshape, Flatten)) and not self.is_spikes(node.operands[0]):
            found = self.read(node.operands[0])
            maps = maps_of(self.graph.signals[value].shape, value.node)
            return found if isinstance(op, Flatten) else _spread(found, maps, node.name)
        if isinstance(op, Add) and not any(self.is_spikes(v) for v in node.operands):
            return self.sum([self.read(operand) for operand in node.operands], node.name)
        return self.direct(value)

    def is_spikes(self, value: Value) -> bool:
        """Whether a value carries events, perhaps through ops that only move them."""
        try:
            self.streams.parts(value)
        except NotFit:
            return self.graph.signals[value].kind is not Kind.ANALOG
        return True

    def sum(self, found: Sequence[_Found], node: str) -> _Found:
        """Return the sum of currents."""
        shapes = {one.shape for one in found}
        if len(shapes) > 1:
            listed = " and ".join(map(str, sorted(shapes, key=str)))
            raise NotFit(f"adds maps of different shapes, {listed}", None, node)
        bias = np.sum([one.bias for one in found], axis=0)
        return _Found([term for one in found for term in one.terms], found[0].shape, bias)

    def direct(self, value: Value) -> _Found:
        """Return the synapses of spikes that are a current themselves: one to one."""
        shape = maps_of(self.graph.signals[value].shape, value.node)
        extents = (shape.channels, shape.height, shape.width)
        weights = np.eye(shape.channels)[:, :, None, None]
        terms = [
            _windowed(part, extents, weights, (1, 1), (0, 0), shape, value.node)
            for part in self.streams.parts(value)
        ]
        return _Found(terms, shape, np.zeros(prod(extents)))

    def convolution(self, node: Node, op: Conv1d | Conv2d) -> _Found:
        """Return the synapses of a convolution; groups and dilation are written out."""
        weights = written_out(op)
        stride, start = op.stride, tuple(-before for before, _ in op.padding)
        extents = self.graph.signals[node.operands[0]].shape
        if isinstance(op, Conv1d):
            stride, start = (1, *stride), (0, *start)
            extents = (extents[0], 1, extents[1])
        shape = maps_of(self.graph.signal(node.name).shape, node.name)
        pairs = (stride[0], stride[1]), (start[0], start[1])
        terms = [
            _windowed(part, extents, weights, *pairs, shape, node.name)
            for part in self.streams.parts(node.operands[0])
        ]
        return _Found(terms, shape, _bias(op, shape))

    def linear(self, node: Node, op: Linear) -> _Found:
        """Return the synapses of a matrix: a window over whole maps."""
        extents = self.graph.signals[node.operands[0]].shape
        if len(extents) != 1:
            raise NotFit("a matrix over the last of several axes", "flatten its input", node.name)
        matrix = op.weight.numpy().astype(np.float64)
        shape = maps_of((len(matrix),), node.name)
        terms = []
        for part in self.streams.parts(node.operands[0]):
            height, width = part.index.shape[1:]
            if max(height, width) > chips.KERNEL[-1]:
                raise NotFit(f"reads maps of {height}x{width}", SPLIT, node.name)
            weights = np.where(part.index >= 0, matrix[:, part.index] * part.gain, 0.0)
            maps = Shape(*part.index.shape)
            terms.append(Term(part.source, part.pooling, maps, weights, (1, 1), (0, 0)))
        return _Found(terms, shape, _bias(op, shape))


def _spread(found: _Found, shape: Shape, node: str) -> _Found:
    """Return the synapses of channels of one pixel that are taken as maps.

    If they come from one pixel, that is a window over it whose taps are the pixels of the maps.

    Raises:
        NotFit: If there is no such window.
    """
    whole = found.shape.height, found.shape.width
    if found.shape == shape or shape.height == shape.width == 1 == max(whole):
        return found
    if max(whole) > 1 or any(max(t.shape.height, t.shape.width) > 1 for t in found.terms):
        raise NotFit("takes maps apart before its neurons", "reshape after them", node)
    start = 1 - shape.height, 1 - shape.width
    terms = []
    for term in found.terms:
        seen = term.weights[:, :, -term.start[0], -term.start[1]]  # the tap on the only pixel
        pixels = seen.reshape(shape.channels, shape.height, shape.width, -1)
        weights = pixels[:, ::-1, ::-1].transpose(0, 3, 1, 2)
        terms.append(Term(term.source, term.pooling, term.shape, weights, (1, 1), start))
    return _Found(terms, shape, found.bias)


def _bias(op: Linear | Conv1d | Conv2d, shape: Shape) -> Array:
    bias = np.zeros(1) if op.bias is None else op.bias.numpy().astype(np.float64).reshape(-1)
    wide = np.broadcast_to(bias, (shape.channels,))
    return np.repeat(wide, shape.height * shape.width)


def written_out(op: Conv1d | Conv2d) -> Array:
    """Return the weights [out, in, y, x] of a convolution without groups and dilation."""
    weight = op.weight.numpy().astype(np.float64)
    dilation = op.dilation
    if isinstance(op, Conv1d):
        weight, dilation = weight[:, :, None], (1, *dilation)
    out, per_group, *kernel = weight.shape
    sizes = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    wide = np.zeros((out, per_group * op.groups, *sizes))
    for group in range(op.groups):
        rows = slice(group * out // op.groups, (group + 1) * out // op.groups)
        inputs = slice(group * per_group, (group + 1) * per_group)
        wide[rows, inputs, :: dilation[0], :: dilation[1]] = weight[rows]
    return wide


def _windowed(
    part: Part, extents: Sequence[int], weights: Array, stride: Pair, start: Pair,
    shape: Shape, node: str,
) -> Term:  # fmt: skip
    """Return the term of a window that moves over a part."""
    top, left, channels = regular(part, extents, node)
    gain = part.gain.reshape(len(channels), -1)
    if np.ptp(gain, axis=1).any():
        raise NotFit("weighs pixels of a map differently before a convolution", None, node)
    own = weights[:, np.maximum(channels, 0)] * gain[:, 0, None, None]
    own = np.where((channels >= 0)[:, None, None], own, 0.0)
    begin = start[0] - top, start[1] - left
    _check_cut(part, begin, stride, weights.shape[2:], shape, node)
    return Term(part.source, part.pooling, Shape(*part.index.shape), own, stride, begin)


def _check_cut(
    part: Part, start: Pair, stride: Pair, kernel: Sequence[int], shape: Shape, node: str
) -> None:
    """Raise `NotFit` if windows reach pixels that a slice cut off."""
    kept = np.max(part.index, axis=0) >= 0
    for axis, (count, extent) in enumerate(((shape.height, kernel[0]), (shape.width, kernel[1]))):
        there = np.max(kept, axis=1 - axis)
        first = max(start[axis], 0)
        last = start[axis] + (count - 1) * stride[axis] + extent
        if not there[first : max(last, 0)].all():
            raise NotFit("its windows reach pixels that were cut off", "cut nothing off", node)


# --- One convolution -----------------------------------------------------------------------------


def join(population: Population, size: Pair) -> Layer:
    """Return the layer of a population whose terms are one convolution.

    Args:
        population: The population.
        size: Height and width of what is needed of its maps, from the top left.

    Raises:
        NotFit: If no convolution of the chip's is all of them.
    """
    terms = _merged(population.terms)
    sources = {(term.shape.height, term.shape.width) for term in terms}
    if len(sources) > 1:
        listed = " and ".join(f"{h}x{w}" for h, w in sorted(sources))
        raise NotFit(f"joins maps of {listed}; a core takes one size")
    (source,) = sources
    kernel, placed = _common(terms, source, size)
    (pad_y, stride_y), (pad_x, stride_x) = placed
    outputs, channels = population.shape.channels, sum(term.shape.channels for term in terms)
    weights = np.zeros((outputs, channels, kernel, kernel))
    first = 0
    for term in terms:
        rows = slice(first, first + term.shape.channels)
        _put(weights[:, rows], term, (-pad_y, -pad_x))
        first += term.shape.channels
    target, stride, padding = Shape(outputs, *size), (stride_y, stride_x), (pad_y, pad_x)
    geometry = Geometry(Shape(channels, *source), target, kernel, stride, padding)
    neuron = changed(population.neuron, lambda array: array[:, : size[0], : size[1]])
    return Layer(population.name, tuple(terms), geometry, weights, neuron, population.shape)


def _put(weights: Array, term: Term, start: Pair) -> None:
    """Add a term's weights to those of a window that begins elsewhere."""
    top, left = term.start[0] - start[0], term.start[1] - start[1]
    height, width = term.weights.shape[2:]
    weights[:, :, top : top + height, left : left + width] += term.weights


def _merged(terms: Sequence[Term]) -> list[Term]:
    """Return terms with one for each source and pooling: windows over the same spikes are added."""
    found: dict[tuple[str, int], Term] = {}
    for term in terms:
        key = term.source, term.pooling
        if key not in found:
            found[key] = term
            continue
        one = found[key]
        if one.stride != term.stride:
            raise NotFit("adds convolutions of different strides over the same maps")
        start = min(one.start[0], term.start[0]), min(one.start[1], term.start[1])
        ends = [
            max(t.start[axis] + t.weights.shape[2 + axis] for t in (one, term)) for axis in (0, 1)
        ]
        weights = np.zeros((*one.weights.shape[:2], ends[0] - start[0], ends[1] - start[1]))
        for t in (one, term):
            _put(weights, t, start)
        found[key] = replace(one, weights=weights, start=start)
    return list(found.values())


def _common(terms: Sequence[Term], source: Pair, size: Pair) -> tuple[int, list[Pair]]:
    """Return the smallest square kernel that holds all windows, with (padding, stride) per axis."""
    windows = [
        [(t.start[axis], t.weights.shape[2 + axis], t.stride[axis]) for t in terms]
        for axis in (0, 1)
    ]
    for kernel in chips.KERNEL:
        found = [_placed(windows[axis], source[axis], size[axis], kernel) for axis in (0, 1)]
        if None not in found:
            return kernel, [pair for pair in found if pair is not None]
    raise NotFit(_why(windows, size), _help(windows, size))


def _placed(
    windows: Sequence[tuple[int, int, int]], source: int, count: int, kernel: int
) -> Pair | None:
    """Return padding and stride with which a kernel holds windows (start, extent, stride)."""
    strides = {stride for *_, stride in windows}
    allowed: Sequence[int] = chips.STRIDES if count == 1 else sorted(strides)
    if len(strides) > 1 and count > 1:
        return None
    for stride in allowed:
        for padding in chips.PADDING:
            inside = all(a + padding >= 0 and a + padding + n <= kernel for a, n, _ in windows)
            fits = (
                stride in chips.STRIDES and (source + 2 * padding - kernel) // stride + 1 == count
            )
            if inside and fits:
                return padding, stride
    return None


def _why(windows: Sequence[Sequence[tuple[int, int, int]]], size: Pair) -> str:
    """Return what of the windows does not fit the chip."""
    extents = "x".join(str(max(n for _, n, _ in axis)) for axis in windows)
    strides = [sorted({s for *_, s in axis}) for axis in windows]
    listed = "x".join("/".join(map(str, axis)) for axis in strides)
    starts = [max(-a for a, *_ in axis) for axis in windows]
    padding = "x".join(str(max(start, 0)) for start in starts)
    what = f"its convolution (kernel {extents}, stride {listed}, padding {padding})"
    limits = "kernels up to 16x16, strides 1, 2, 4, 8, padding 0 to 7"
    return f"{what} to {size[0]}x{size[1]} is none of the chip's: {limits}"


def _help(windows: Sequence[Sequence[tuple[int, int, int]]], size: Pair) -> str | None:
    if any(n > chips.KERNEL[-1] for axis in windows for _, n, _ in axis):
        return SPLIT
    if any(s not in chips.STRIDES for axis in windows for *_, s in axis):
        return "use a stride of 1, 2, 4 or 8, or a pool"
    return None
