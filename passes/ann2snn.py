"""Turn rectifiers into spiking neurons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnir.dynamics.lif import LifStep
from snnir.errors import error
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Step
from snnir.ir.pooling import MaxPool2d
from snnir.ir.synapses import Bias, Conv1d, Conv2d, Linear, Scale
from snnir.pipeline import APPROXIMATE, Pass
from snnir.progress import counted, progress
from snnir.running import read_array
from snnir.streams import Kind
from snnir.tensors import FrozenDict, Tensor

Array = npt.NDArray[Any]
MODES = ("calibrated", "max", "percentile", "factor", "sinabs")
#: Candidates for a threshold, as shares of the largest activation, and rounds of bias correction.
_SHARES = np.linspace(0.1, 1.0, 46)
_ROUNDS = 2
#: Percentiles that are tried as thresholds, and, of several spikes per step, shares of the largest.
_PERCENTILES, _PARTS = (99.0, 99.9, 100.0), (0.25, 0.5, 1.0)
_TINY = 1e-6
#: Samples on which thresholds are compared and biases corrected.
_SAMPLES = 64


@dataclass(frozen=True)
class Ann2snn(Pass):
    """Replace each ReLU by integrate-and-fire neurons whose rate stands for the activation.

    The input is then given at every step, and the mean of the output over the steps is the
    answer. Between layers spikes are worth the scale of their layer: a factor before the neurons
    and its inverse after them, which fuse-linear merges into the synapses.

    Attributes:
        mode: How the scale of a layer follows from its activations on the calibration inputs:
            `max`, `percentile` or `factor` (times the largest) as SpikingJelly's converter does,
            the largest, or so many percent, of one batch, and a moving average over batches;
            `sinabs` (weights normalised one layer after the other, several spikes per step, a
            lower bound of -1, as `sinabs.utils.normalize_weights` and `from_model` do); or
            `calibrated`: thresholds per channel, neurons that start at half of them, and biases
            corrected by the mean error that is left, layer by layer; of several ways to choose
            the thresholds (least squared error of the rate, the largest, two percentiles) the one
            whose answers after `steps` steps are closest to the network's.
        calibrate: A .npz (or .npy) with inputs [batches, B, *shape].
        percentile, factor: Of the modes of these names.
        momentum: Weight of a new batch in the moving average.
        channel_wise: A scale for each channel; always in mode `calibrated`.
        half_threshold: Neurons start at half the threshold; always in mode `calibrated`.
        pool_first: Where only a maximum over windows reads a rectifier, the maximum is taken before
            the neurons, of real numbers (`pre_spike_maxpool` of SpikingJelly); else of spikes.
        multi_spike: Neurons may fire several times in a step (always in mode `sinabs`); mode
            `calibrated` then tries lower thresholds.
        steps: Length of the run that mode `calibrated` is made for.
    """

    name: ClassVar[str] = "ann2snn"
    fidelity: ClassVar[str] = APPROXIMATE
    mode: str = "calibrated"
    calibrate: str = ""
    percentile: float = 99.9
    factor: float = 1.0
    momentum: float = 0.1
    channel_wise: bool = False
    half_threshold: bool = False
    pool_first: bool = False
    multi_spike: bool = False
    steps: int = 32

    def __post_init__(self) -> None:
        def wrong(option: str, hint: str) -> Exception:
            value = getattr(self, option.replace("-", "_"))
            return error("SNN401", f"pass 'ann2snn': option {option} is {value}", hint=hint)

        if self.mode not in MODES:
            raise wrong("mode", f"use {', '.join(MODES)}")
        if not 0 < self.percentile <= 100:
            raise wrong("percentile", "above 0, to 100")
        if not 0 < self.factor <= 1:
            raise wrong("factor", "above 0, to 1")
        if not 0 <= self.momentum <= 1:
            raise wrong("momentum", "from 0 to 1")
        if self.steps < 1:
            raise wrong("steps", "1 or more")

    def run(self, graph: Graph) -> Graph:
        """Return the spiking graph.

        Raises:
            SnnirError: SNN401 without calibration inputs; SNN601 if they do not fit; SNN405 for a
                layer whose activations are all zero.
        """
        relus = [name for name in graph.order if is_relu(graph[name])]
        if not relus:
            return graph
        if not self.calibrate:
            hint = "give --calibrate X.npz or calibrate="
            raise error("SNN401", "pass 'ann2snn': it needs calibration inputs", hint=hint)
        x = read_array(self.calibrate)
        graph = _pooled_first(graph, relus) if self.pool_first else graph
        if self.mode == "sinabs":
            return _normalized(graph, relus, x)
        seen = _recorded(graph, x, relus)
        if self.mode == "calibrated":
            return _Calibration(graph, seen, x, self.steps, self.multi_spike).best()
        layers = {
            name: Layer(self.scale(name, seen[name]), self.half_threshold, multi=self.multi_spike)
            for name in relus
        }
        return spiking(graph, layers)

    def scale(self, name: str, seen: Array) -> Array:
        """Return the scale of a layer: one number, or one per channel."""
        found: Array | None = None
        for batch in seen:
            rows = np.moveaxis(batch, 1, 0).reshape(batch.shape[1], -1)
            rows = rows if self.channel_wise else rows.reshape(1, -1)
            if self.mode == "percentile":
                now = np.quantile(rows, self.percentile / 100, axis=1)
            else:
                now = rows.max(axis=1) * (self.factor if self.mode == "factor" else 1.0)
            now = np.maximum(now, _TINY) if self.channel_wise else now
            found = now if found is None else (1 - self.momentum) * found + self.momentum * now
        assert found is not None
        return _positive(name, found if self.channel_wise else found[0])


@dataclass(frozen=True)
class Layer:
    """How one rectifier becomes neurons.

    Attributes:
        scale: What a spike is worth, one number or one per channel.
        half: The neurons start at half the threshold.
        bias: Added to the input, one number per channel, or None.
        multi: The neurons may fire several times in a step.
    """

    scale: Array
    half: bool
    bias: Array | None = None
    multi: bool = False


def is_relu(node: Node) -> bool:
    """Whether a node is a rectifier: a program without states that yields max(x, 0)."""
    if not isinstance(node.op, Step):
        return False
    program = node.op.program
    if program.states or len(program.inputs) != 1 or len(program.body) != 1:
        return False
    let = program.body[0]
    is_output = [(let.target, Kind.ANALOG)] == list(program.outputs)
    zero = [arg for arg in let.args if not isinstance(arg, str)]
    return is_output and let.op == "max" and zero == [0.0]


def _pooled_first(graph: Graph, relus: list[str]) -> Graph:
    """Swap rectifiers with the maxima over windows that alone read them; both only rise."""
    editor = graph.edit()
    given = {value.node for value in graph.outputs.values()}
    for name in relus:
        readers = [user for user, _ in graph.uses[name]]
        alone = len(readers) == 1 and name not in given
        if not alone or not isinstance(graph[readers[0]].op, MaxPool2d):
            continue
        pool = graph[readers[0]]
        editor.rewire(Value(pool.name), Value(name))
        editor.put(replace(pool, operands=graph[name].operands))
        editor.put(replace(graph[name], operands=(Value(pool.name),)))
    return editor.graph()


def _recorded(graph: Graph, x: Any, names: list[str]) -> Mapping[str, Array]:
    from snnir.driver import compile

    return compile(graph, "numpy", level=0, precision="float32").run(x, names).recorded


def _positive(name: str, scale: Array) -> Array:
    if not (np.all(np.isfinite(scale)) and np.all(scale > 0)):
        hint = "calibrate on inputs that activate it"
        raise error("SNN405", "is never active on the calibration inputs", node=name, hint=hint)
    return np.asarray(scale)


def _broadcast(values: Array, rank: int) -> Tensor:
    """Return one number, or one per channel, as a tensor for streams of this rank."""
    shaped = values.reshape(-1, *(1,) * (rank - 1)) if values.ndim else values
    return Tensor(shaped.astype(np.float32))


def spiking(graph: Graph, layers: Mapping[str, Layer]) -> Graph:
    """Return a graph with neurons in the place of rectifiers; they keep their names."""
    editor = graph.edit()
    for name, layer in layers.items():
        node, rank = graph[name], len(graph.signal(name).shape)
        out = editor.fresh(f"{name}.scale")
        editor.rewire(Value(name), Value(out))
        (source,) = node.operands
        if layer.bias is not None:
            bias = Bias(_broadcast(layer.bias, rank))
            source = editor.add(editor.fresh(f"{name}.bias"), bias, [source])
        inverse = Scale(_broadcast(1.0 / layer.scale, rank))
        source = editor.add(editor.fresh(f"{name}.inverse"), inverse, [source])
        editor.put(replace(node, op=_neuron(layer), operands=(source,)))
        editor.put(Node(out, Scale(_broadcast(layer.scale, rank)), (Value(name),)))
    return editor.graph()


def _neuron(layer: Layer) -> Step:
    count = "multi" if layer.multi else "single"
    rules = LifStep(
        membrane="integrate", fire="ge", spikes=count, reset="subtract", start=layer.half
    )
    params = {"threshold": np.float32(1.0), **({"v_start": np.float32(0.5)} if layer.half else {})}
    return Step(rules, FrozenDict({name: Tensor(value) for name, value in params.items()}), "if")


# --- As Sinabs does ------------------------------------------------------------------------------


def _normalized(graph: Graph, relus: list[str], x: Any) -> Graph:
    """Divide weights and biases of each layer by the 99th percentile of what follows."""
    for name in relus:
        largest = np.percentile(_recorded(graph, x, [name])[name], 99)
        factor = 1.0 / float(_positive(name, np.asarray(largest)))
        source = _synapse_before(graph, name)
        op = graph[source].op
        assert isinstance(op, (Linear, Conv1d, Conv2d))
        scaled = {
            key: Tensor((value.numpy() * np.float32(factor)).astype(np.float32))
            for key, value in op.tensors().items()
        }
        editor = graph.edit()
        changes: dict[str, Any] = dict(scaled)
        editor.set_op(source, replace(op, **changes))
        graph = editor.graph()
    rules = LifStep(membrane="integrate", fire="ge", spikes="multi", reset="subtract", clamp="relu")
    values = {"threshold": np.float32(1.0), "v_min": np.float32(-1.0)}
    params = FrozenDict({key: Tensor(value) for key, value in values.items()})
    editor = graph.edit()
    for name in relus:
        current = editor.fresh(f"{name}.current")
        editor.rewire(Value(name), Value(current))
        editor.set_op(name, Step(rules, params, "if"))
        editor.put(Node(current, _current(), (Value(name),)))
    return editor.graph().apply("remove-identity")


def _current() -> Any:
    from snnir.ir.structure import Current

    return Current()


def _synapse_before(graph: Graph, name: str) -> str:
    """Return the synapse whose result a rectifier gets, with nothing but one-way ops between."""
    at = graph[name]
    while len(at.operands) == 1:
        at = graph[at.operands[0].node]
        if isinstance(at.op, (Linear, Conv1d, Conv2d)):
            return at.name
    hint = "fold-batchnorm first, or another mode"
    raise error("SNN405", "has no single synapse before it", node=name, hint=hint)


# --- Calibrated ----------------------------------------------------------------------------------


def _fitted(name: str, seen: Array, steps: int) -> Layer:
    """Return, per channel, the threshold with the least squared error.

    A neuron that starts at half its threshold gives, under a constant current a, the rate
    clip(floor(a T / s + 1/2), 0, T) s / T (Bu et al., ICLR 2022).
    """
    rows = np.moveaxis(seen, 2, 0).reshape(seen.shape[2], -1)
    largest = rows.max(axis=1)
    whole = float(_positive(name, np.asarray(largest.max())))
    largest = np.where(largest > 0, largest, whole)
    best, least = largest, np.full(len(rows), np.inf)
    for share in _SHARES:
        scale = (largest * share)[:, None]
        rate = np.clip(np.floor(rows * steps / scale + 0.5), 0, steps) * scale / steps
        wrong = ((rate - rows) ** 2).sum(axis=1)
        best = np.where(wrong < least, largest * share, best)
        least = np.minimum(wrong, least)
    return Layer(best, True)


def _ranked(name: str, seen: Array, percentile: float) -> Layer:
    """Return a percentile of the activations of each channel as its threshold."""
    rows = np.moveaxis(seen, 2, 0).reshape(seen.shape[2], -1)
    _positive(name, np.asarray(rows.max()))
    return Layer(np.maximum(np.percentile(rows, percentile, axis=1), _TINY), True)


class _Calibration:
    """Chooses thresholds and biases by what the spiking network answers.

    Args:
        graph: The network.
        wanted: Activations of its rectifiers, [batches, B, *shape].
        x: The inputs they belong to.
        steps: Length of the run.
        multi: Neurons may fire several times in a step.
    """

    def __init__(
        self, graph: Graph, wanted: Mapping[str, Array], x: Any, steps: int, multi: bool
    ) -> None:
        self.graph, self.wanted, self.steps, self.multi = graph, wanted, steps, multi
        given = x if isinstance(x, Mapping) else dict.fromkeys(graph.inputs, x)
        arrays = {name: np.asarray(array) for name, array in given.items()}
        merged = {name: _some(a.reshape(-1, *a.shape[2:]))[None] for name, a in arrays.items()}
        self.repeated = {name: np.repeat(a, steps, axis=0) for name, a in merged.items()}
        self.answers = _run(graph, merged)

    def best(self) -> Graph:
        """Return the spiking graph whose answers come closest."""
        with progress("choosing thresholds"):
            ways = sorted(self.ways(), key=lambda way: self.error(spiking(self.graph, way)))
        made = [self.levelled(spiking(self.graph, self.corrected(way))) for way in ways[:2]]
        return min(made, key=self.error)

    def ways(self) -> list[dict[str, Layer]]:
        """Return several choices of thresholds."""
        if self.multi:
            largest = {n: _ranked(n, seen, 100.0) for n, seen in self.wanted.items()}
            return [
                {n: replace(way, scale=way.scale * part, multi=True) for n, way in largest.items()}
                for part in _PARTS
            ]
        fitted = {n: _fitted(n, seen, self.steps) for n, seen in self.wanted.items()}
        ranked = [
            {n: _ranked(n, seen, percentile) for n, seen in self.wanted.items()}
            for percentile in _PERCENTILES
        ]
        return [fitted, *ranked]

    def levelled(self, made: Graph) -> Graph:
        """Return a spiking graph whose answers have the mean of the network's."""
        found = _run(made, self.repeated)
        editor = made.edit()
        for name, y in self.answers.items():
            missing = (y[0] - found[name].mean(axis=0)).mean(axis=0)
            bias = Bias(Tensor(missing.astype(np.float32)))
            value = made.outputs[name]
            editor.outputs[name] = editor.add(editor.fresh(f"{name}.bias"), bias, [value])
        return editor.graph()

    def error(self, made: Graph) -> float:
        """Return the squared error of the mean answers, in the size of each output."""
        found = _run(made, self.repeated)
        return sum(
            float(
                ((found[name].mean(axis=0) - y[0]) ** 2).mean() / max(float((y**2).mean()), _TINY)
            )
            for name, y in self.answers.items()
        )

    def corrected(self, layers: Mapping[str, Layer]) -> dict[str, Layer]:
        """Return layers with biases that make up for the mean error of each channel."""
        found = dict(layers)
        for name in counted(layers, "correcting biases"):
            target = _some(self.wanted[name].reshape(-1, *self.wanted[name].shape[2:]))
            axes = (0, *range(2, target.ndim))
            for _ in range(_ROUNDS):
                made = spiking(self.graph, found)
                out = next(n for n, node in made.nodes.items() if node.operands == (Value(name),))
                rate = _recorded(made, self.repeated, [out])[out].mean(axis=0)
                missing = (target - rate).mean(axis=axes)
                before = found[name].bias
                bias = missing if before is None else before + missing
                found[name] = replace(found[name], bias=bias)
        return found


def _some(samples: Array) -> Array:
    """Return evenly spaced samples, as many as are run for many steps."""
    count = len(samples)
    chosen: Array = samples[np.linspace(0, count - 1, min(count, _SAMPLES)).astype(int)]
    return chosen


def _run(graph: Graph, x: Any) -> Mapping[str, Array]:
    from snnir.driver import compile

    return compile(graph, "numpy", level=0, precision="float32").run(x).outputs
