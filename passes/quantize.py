"""Turn a discrete graph into integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from snnir.bounds import value_bounds
from snnir.dynamics.fixed_point import Fixed, Format, NoFixedPoint, fixed_point
from snnir.dynamics.intervals import Interval, invariant
from snnir.errors import Diagnostic, SnnirError, error, shown
from snnir.ir.graph import Graph, Node, Value
from snnir.ir.neuron import Neuron, Step
from snnir.ir.synapses import Bias, Scale
from snnir.lasting import is_learning
from snnir.passes.affine import compact
from snnir.passes.precision_search import Search
from snnir.passes.quantized_trees import NotLinear, Tree, Weights
from snnir.passes.threshold_balance import Balance
from snnir.passes.weight_grid import Grid, calibration
from snnir.pipeline import APPROXIMATE, Pass
from snnir.running import read_array
from snnir.streams import Kind
from snnir.suggest import hint
from snnir.tensors import FrozenDict, Tensor

Array = npt.NDArray[Any]
#: Range of states without calibration, in thresholds.
_HEADROOM = 16.0


@dataclass(frozen=True)
class Quantize(Pass):
    """Turn weights, neurons and thresholds into integers; what comes out is exact everywhere.

    Weights become whole numbers of a unit per population (or per channel or neuron of it), so that
    currents are; the neurons' programs step in finer units, decays become a product and a shift.
    Analog outputs are scaled back.

    Attributes:
        bits: Of weights, sign included, 2 to 16.
        state_bits: Of states and thresholds, 8 to 32.
        factor_bits: Of multipliers.
        per_channel: A unit for every channel (or neuron); else one for the population.
        calibration: How the unit follows from weights: `minmax` (the largest just fits),
            `percentile` (that many percent fit), `mse` (least squared error).
        percentile: See there.
        zero_point: Each row of weights has a number of its own that stands for 0.
        rounding: Of products in neurons: `nearest` (half up), `floor` or `zero`.
        shifts: Decays by shifts alone: 2^-s or 1 - 2^-s, whichever comes closer.
        calibrate: A .npz (or .npy) with inputs [T, B, *shape] from which the ranges of states are
            taken; without, it is what can be proved, and 16 thresholds at most. Beyond its range
            a state saturates.
        power_of_two: Units are powers of two.
        layer_bits: Other bits for single layers, `NAME=BITS` each, by population (or by the node
            that is an output).
        budget: Largest share of differing spikes on the calibration inputs: every layer gets as
            few bits as that allows, the largest first; `bits` is where the search begins.
        balance: Scale the thresholds of each population, by a half to twice, so that it fires as
            often on the calibration inputs as before.
    """

    name: ClassVar[str] = "quantize"
    fidelity: ClassVar[str] = APPROXIMATE
    bits: int = 8
    state_bits: int = 16
    factor_bits: int = 15
    per_channel: bool = True
    calibration: str = "minmax"
    percentile: float = 99.9
    zero_point: bool = False
    rounding: str = "nearest"
    shifts: bool = False
    calibrate: str = ""
    power_of_two: bool = False
    layer_bits: tuple[str, ...] = ()
    budget: float = 0.0
    balance: bool = False

    def __post_init__(self) -> None:
        choices = {
            "bits": range(2, 17), "state_bits": range(8, 33), "factor_bits": range(4, 17),
            "calibration": ("minmax", "percentile", "mse"),
            "rounding": ("nearest", "floor", "zero"),
        }  # fmt: skip
        for name, allowed in choices.items():
            value = getattr(self, name)
            if value not in allowed:
                ends = isinstance(allowed, range)
                words = f"{allowed[0]} to {allowed[-1]}" if ends else ", ".join(map(str, allowed))
                what = f"pass 'quantize': option {name.replace('_', '-')} is {value}"
                raise error("SNN401", what, hint=f"use {words}")
        if not 0 < self.percentile <= 100:
            raise error("SNN401", f"pass 'quantize': option percentile is {self.percentile}")
        if not 0 <= self.budget <= 1:
            what = f"pass 'quantize': option budget is {self.budget}"
            raise error("SNN401", what, hint="it is a share from 0 to 1")
        for option in ("budget", "balance"):
            if getattr(self, option) and not self.calibrate:
                hint = "give --calibrate X.npz or calibrate="
                what = f"pass 'quantize': option {option} needs calibration inputs"
                raise error("SNN401", what, hint=hint)

    def run(self, graph: Graph) -> Graph:
        """Return the integer graph.

        Raises:
            SnnirError: SNN403 with every node that cannot be quantised.
        """
        continuous = [n.name for n in graph.nodes.values() if isinstance(n.op, Neuron)]
        if continuous:
            raise error(
                "SNN403", "is a continuous model; quantisation needs step programs",
                node=continuous[0], hint="run discretize before quantize",
            )  # fmt: skip
        learning = [
            Diagnostic(
                "SNN403", "learns while it runs; whole weights do not", node.name,
                hint="run freeze before quantize",
            )
            for node in graph.nodes.values()
            if is_learning(node.op)
        ]  # fmt: skip
        if learning:
            raise SnnirError(learning)
        graph = graph.apply("densify")
        inputs = read_array(self.calibrate) if self.calibrate else None
        ranges = _recorded(graph, inputs) if self.calibrate else {}

        def quantized(bits: Mapping[str, int]) -> tuple[Graph, Mapping[str, int]]:
            attempt = _Quantizer(self, graph, ranges, bits)
            return attempt.run(), attempt.weights

        bits = self.chosen(graph)
        if self.budget:
            bits = Search(graph, quantized, inputs, self.budget).run(self.bits) | bits
        made, weights = quantized(bits)
        if self.balance:
            made = Balance(graph, inputs).run(made)
        unknown = [name for name in bits if name not in weights]
        if unknown:
            what = f"pass 'quantize': there is no layer '{shown(unknown[0])}'"
            raise error("SNN401", what, hint=hint(unknown[0], weights, "its layers"))
        used = ", ".join(f"{name} {bits.get(name, self.bits)}" for name in weights)
        note = f"quantised to integers; bits of weights: {used}"
        notes = (*made.provenance.notes, note)
        return replace(made, provenance=replace(made.provenance, notes=notes))

    def chosen(self, graph: Graph) -> dict[str, int]:
        """Return the layers that were given other bits."""
        found = {}
        for text in self.layer_bits:
            name, _, bits = text.rpartition("=")
            if not bits.isdigit() or int(bits) not in range(2, 17):
                what = f"pass 'quantize': option layer-bits has '{text}'"
                raise error("SNN401", what, hint="write NAME=BITS, 2 to 16 bits")
            found[name] = int(bits)
        return found


class _Quantizer:
    def __init__(
        self, options: Quantize, graph: Graph, ranges: Mapping[str, float], bits: Mapping[str, int]
    ) -> None:
        self.options, self.graph, self.ranges, self.bits = options, graph, ranges, bits
        self.form = Format(
            options.state_bits, options.factor_bits, options.rounding, options.shifts
        )
        self.editor = graph.edit()
        self.problems: list[Diagnostic] = []
        self.weights: dict[str, int] = {}
        self.bounds = value_bounds(graph)
        self.calibrated = calibration(options.calibration, options.percentile)

    def run(self) -> Graph:
        for node in self.graph.nodes.values():
            if isinstance(node.op, Step):
                self.attempt(node.name, lambda n=node: self.neuron(n))
        for name, value in self.graph.outputs.items():
            if self.graph.signals[value].kind is Kind.ANALOG and not self.is_neuron(value):
                self.attempt(value.node, lambda n=name, v=value: self.readout(n, v))
        if self.problems:
            raise SnnirError(self.problems)
        return self.editor.graph().apply("dead-code")

    def attempt(self, name: str, action: Any) -> None:
        try:
            action()
        except (NotLinear, NoFixedPoint) as problem:
            where = getattr(problem, "node", "") or name
            hint = getattr(problem, "hint", None)
            self.problems.append(Diagnostic("SNN403", str(problem), where, hint=hint))

    def is_neuron(self, value: Value) -> bool:
        return isinstance(self.graph.nodes[value.node].op, Step)

    # --- Units -----------------------------------------------------------------------------------

    def grid(self, layer: str) -> Grid:
        """Return what the weights of a layer can be."""
        return Grid(self.bits.get(layer, self.options.bits), self.options.zero_point)

    def unit(self, trees: list[Tree], shape: tuple[int, ...], grid: Grid) -> Array:
        """Return one unit of the currents of a population: the finest that all weights fit."""
        unit = np.max([tree.needed(lambda w: self.needed(w, grid)) for tree in trees], axis=0)
        if not self.options.per_channel:
            unit = np.full(shape, unit.max(initial=0.0))
        elif len(shape) > 1 or any(tree.shares_channels for tree in trees):
            rows = unit.reshape(unit.shape[0], -1).max(axis=1)
            unit = np.broadcast_to(rows.reshape(-1, *(1,) * (len(shape) - 1)), shape)
        unit = np.where(unit > 0, unit, 1.0)
        return 2.0 ** np.ceil(np.log2(unit)) if self.options.power_of_two else unit

    def needed(self, weights: Weights, grid: Grid) -> Array:
        """Return the unit with which each row of weights fits."""
        return self.calibrated(weights.rows, grid.symmetric() if weights.balanced else grid)

    # --- Populations -----------------------------------------------------------------------------

    def neuron(self, node: Node) -> None:
        op = node.op
        assert isinstance(op, Step)
        if op.program.dtype != "f32":
            raise NoFixedPoint("its states are in fixed point already")
        shape = self.graph.signal(node.name).shape
        trees = [Tree(self.graph, self.editor, value) for value in node.operands]
        grid = self.grid(node.name)
        unit = self.unit(trees, shape, grid)
        constant: Array = np.sum([tree.constant() for tree in trees], axis=0)
        shift, unit = self.state_unit(np.maximum(self.reach(node, op), np.abs(constant)), unit)
        bias = np.rint(constant * 2.0**shift / unit).astype(np.int64)
        small = compact(unit / 2.0**shift)
        params = {name: value.numpy() for name, value in op.params.items()}
        fixed = fixed_point(op.program, params, small, self.form, shift, compact(bias))
        operands = tuple(tree.quantized(unit, grid) for tree in trees)
        self.weights[node.name] = sum(tree.weights for tree in trees)
        self.place(node, fixed, operands, small)
        for index, (_, kind) in enumerate(op.program.outputs):
            if kind is Kind.ANALOG:
                self.scale_back(Value(node.name, index), small)

    def place(self, node: Node, fixed: Fixed, operands: tuple[Value, ...], unit: Array) -> None:
        kind = np.int32 if fixed.program.dtype == "i32" else np.int64
        params = {name: Tensor(value.astype(kind)) for name, value in fixed.params.items()}
        size = Tensor(unit.astype(np.float32))
        step = Step(
            fixed.program, FrozenDict(params), getattr(node.op, "model", ""), size,
            self.options.state_bits,
        )  # fmt: skip
        self.editor.put(Node(node.name, step, operands, node.metadata))

    def state_unit(self, reach: Array, unit: Array) -> tuple[int, Array]:
        """Return by how many bits states are finer than currents, and the unit of currents.

        Args:
            reach: Largest size of any signal of the population, per element.
            unit: The finest unit of currents with which all weights fit.
        """
        with np.errstate(divide="ignore"):
            room = np.where(reach > 0, self.form.largest * unit / reach, np.inf)
        least = float(room.min(initial=np.inf))
        shift = int(np.floor(np.log2(least))) if np.isfinite(least) and least > 0 else 0
        shift = min(shift, 24)
        return (shift, unit) if shift >= 0 else (0, unit * 2.0**-shift)

    def reach(self, node: Node, op: Step) -> Array:
        """Return the largest size of any signal of a population, per element."""
        shape = self.graph.signal(node.name).shape
        units = dict(op.program.params)
        params = {n: np.abs(p.numpy().astype(np.float64)) for n, p in op.params.items()}
        fixed = [p for n, p in params.items() if units[n] in ("V", "A")]
        largest = np.max([np.broadcast_to(p, shape) for p in fixed] or [np.zeros(shape)], axis=0)
        reach = largest
        for state in op.program.states:
            seen = self.ranges.get(f"{node.name}:{state.name}")
            if seen is not None:
                reach = np.maximum(reach, seen)
                continue
            proved, usual = self.proved(node, op, state.name), _HEADROOM * largest
            reach = np.maximum(reach, np.where(usual > 0, np.minimum(proved, usual), proved))
        return np.where(np.isfinite(reach), reach, 0.0)

    def proved(self, node: Node, op: Step, state: str) -> Array:
        inputs = [self.bounds[value] for value in node.operands]
        known = dict(zip(op.program.inputs, inputs, strict=True))
        known |= {name: Interval.of(p.numpy()) for name, p in op.params.items()}
        bound = invariant(op.program, known)[state]
        size: Array = np.maximum(np.abs(bound.low), np.abs(bound.high))
        return np.broadcast_to(size, self.graph.signal(node.name).shape)

    # --- Outputs ---------------------------------------------------------------------------------

    def scale_back(self, value: Value, unit: Array) -> None:
        """Give outputs that read a value its real size."""
        names = [name for name, read in self.editor.outputs.items() if read == value]
        readers = self.graph.uses[value.node]
        if any(self.graph.nodes[user].operands[index] == value for user, index in readers):
            raise NotLinear(
                "an analog value is read by other nodes; only spikes go between integer layers",
                value.node,
            )
        if names:
            scale = Scale(Tensor(unit.astype(np.float32)))
            real = self.editor.add(self.editor.fresh(f"{value.node}.real"), scale, [value])
            for name in names:
                self.editor.outputs[name] = real

    def readout(self, name: str, value: Value) -> None:
        """Quantise synapses whose sum is an output."""
        tree = Tree(self.graph, self.editor, value)
        grid = self.grid(value.node)
        unit = self.unit([tree], self.graph.signals[value].shape, grid)
        whole = tree.quantized(unit, grid)
        self.weights[value.node] = tree.weights
        scale = Scale(Tensor(compact(unit).astype(np.float32)))
        real = self.editor.add(self.editor.fresh(f"{value.node}.real"), scale, [whole])
        constant = tree.constant()
        if np.any(constant):
            bias = Bias(Tensor(compact(constant).astype(np.float32)))
            real = self.editor.add(self.editor.fresh(f"{value.node}.bias"), bias, [real])
        self.editor.outputs[name] = real


def _recorded(graph: Graph, inputs: Any) -> Mapping[str, float]:
    """Return the largest size of every state over a run on calibration inputs."""
    from snnir.driver import compile

    states = [
        f"{node.name}:{state.name}"
        for node in graph.nodes.values()
        if isinstance(node.op, Step)
        for state in node.op.program.states
    ]
    made = compile(graph, "numpy", level=0).run(inputs, states)
    return {name: float(np.abs(trace).max(initial=0.0)) for name, trace in made.recorded.items()}
