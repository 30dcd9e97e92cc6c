"""Random networks whose sums are exact, and random plans that keep the rules of every plan."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import snnir
from snnir.errors import Diagnostic
from snnir.ir import (
    Add,
    AvgPool2d,
    BatchNorm,
    Bias,
    Concat,
    Conv1d,
    Conv2d,
    Current,
    Delay,
    Flatten,
    Graph,
    Input,
    Linear,
    MaxPool2d,
    Node,
    Op,
    Pad,
    Permute,
    Scale,
    Signal,
    Slice,
    SparseLinear,
    SumPool2d,
    Value,
    Winner,
)
from snnir.ir.op import OpError
from snnir.streams import Kind
from snnir.targets.ipu.forms import forms_of, grain_of, sizes_near, stream_of
from snnir.targets.ipu.machine import WORKERS, Machine
from snnir.targets.ipu.partition import Wishes
from snnir.targets.ipu.plan import Placement, Plan
from snnir.targets.ipu.structure import Structure
from tests.helpers import lif_step

SHAPES = [
    (1,), (2,), (31,), (33,), (64,), (70,), (130,), (257,), (1, 1), (3, 17), (2, 70),
    (1, 1, 1), (2, 5, 7), (4, 6, 7), (8, 3, 1), (3, 12, 11),
]  # fmt: skip


@dataclass
class Maker:
    """Makes networks side by side in one graph.

    Attributes:
        rng: Where everything random is from.
        load: Of each value, how far it is from spikes; of little the sums are exact.
    """

    rng: np.random.Generator
    nodes: dict[str, Node] = field(default_factory=dict)
    signals: dict[Value, Signal] = field(default_factory=dict)
    load: dict[Value, int] = field(default_factory=dict)
    outputs: dict[str, Value] = field(default_factory=dict)

    def pick(self, *choices: Any) -> Any:
        """Return one of them."""
        return choices[int(self.rng.integers(len(choices)))]

    def weights(self, *shape: int) -> snnir.Tensor:
        """Return weights whose sums are exact."""
        return snnir.tensor(self.rng.integers(-6, 11, shape).astype(np.float32) / np.float32(16))

    def add(self, op: Op, *operands: Value, load: int = 0) -> Value:
        """Append a node."""
        (signal, *more) = op.infer([self.signals[value] for value in operands])
        name = f"{type(op).__name__.lower()} {len(self.nodes)}"
        self.nodes[name] = Node(name, op, operands)
        for index, one in enumerate((signal, *more)):
            assert one is not None
            self.signals[Value(name, index)] = one
            most = max((self.load[value] for value in operands), default=0)
            self.load[Value(name, index)] = 0 if one.kind is Kind.SPIKES else most + load
        return Value(name)

    def network(self, length: int) -> None:
        """Append a network of so many layers, some of which join earlier ones or feed back."""
        kind = self.pick(Kind.SPIKES, Kind.SPIKES, Kind.ANALOG, Kind.COUNTS)
        own = [self.add(Input(Signal(kind, self.pick(*SHAPES))), load=1)]
        for _ in range(length):
            value = self.pick(own[-1], own[-1], self.pick(*own))
            made = self.layer(value, own)
            own += [made] if made else []
        last = self.fire(own[-1])
        self.outputs[f"y{len(self.outputs)}"] = last
        for value in own:
            if self.rng.random() < 0.25:
                self.outputs[f"y{len(self.outputs)}"] = value

    def layer(self, value: Value, own: list[Value]) -> Value | None:
        """Append one layer, if one that is drawn fits."""
        if self.load[value] > 2:
            return self.fire(value)
        makers = [self.synapse, self.synapse, self.window, self.moved, self.delay, self.joined,
                  self.small, self.recurrence]  # fmt: skip
        made = self.pick(*makers)(value, own)
        if made is None:
            return None
        done: Value = made
        return self.fire(done) if self.rng.random() < 0.6 else done

    def fire(self, value: Value) -> Value:
        """Append a population."""
        if self.signals[value].kind is not Kind.ANALOG:
            value = self.add(Current(), value)
        rules = {"reset": self.pick("zero", "subtract"), "exposes_v": self.rng.random() < 0.3}
        made = self.add(lif_step(**rules), value, load=9)
        if rules["exposes_v"] and self.rng.random() < 0.5:
            self.outputs[f"y{len(self.outputs)}"] = Value(made.node, 1)
        return made

    def matrix(self, outputs: int, inputs: int, bias: bool) -> Op:
        """Return a matrix, dense or sparse."""
        shift = self.weights(outputs) if bias else None
        form = self.pick("dense", "dense", 1, 1, 8, 16)
        if form == "dense":
            return Linear(self.weights(outputs, inputs), shift)
        held = self.rng.random((outputs, inputs)) < self.pick(0.0, 0.05, 0.3, 0.9)
        return SparseLinear.of(self.weights(outputs, inputs).numpy() * held, form, shift)

    def synapse(self, value: Value, own: list[Value]) -> Value:
        """Append a matrix."""
        if self.rng.random() < 0.5:
            value = self.add(Flatten(), value)
        size = self.pick(1, 3, 7, 32, 33, 40, 65, 90, 300)
        matrix = self.matrix(size, self.signals[value].shape[-1], self.pick(0, 1))
        return self.add(matrix, value, load=2)

    def window(self, value: Value, own: list[Value]) -> Value | None:
        """Append a convolution or a pool."""
        shape = self.signals[value].shape
        pads: list[Any] = [tuple(self.rng.integers(0, 2, 2).tolist()) for _ in range(2)]
        if len(shape) == 2:
            groups = self.pick(1, shape[0])
            op: Op = Conv1d(
                self.weights(groups * self.pick(1, 2, 5), shape[0] // groups, self.pick(1, 2, 3)),
                stride=(self.pick(1, 2),), padding=(pads[0],), groups=groups,
                dilation=(self.pick(1, 2),),
            )  # fmt: skip
            return self.tried(op, value)
        if len(shape) != 3:
            return None
        kernel, stride = ((self.pick(1, 2, 3), self.pick(1, 2)) for _ in range(2))
        if self.rng.random() < 0.4:
            pool = self.pick(SumPool2d, AvgPool2d, MaxPool2d)
            # No window has nothing but padding: of nothing there is no largest element.
            wide = self.pick(1, 2)
            return self.tried(pool((2, wide), stride, (pads[0], pads[1] if wide > 1 else (0, 0))),
                              value)  # fmt: skip
        groups = self.pick(1, shape[0])
        outer = groups * self.pick(1, 2, 5)
        bias = self.weights(outer) if self.rng.random() < 0.5 else None
        op = Conv2d(
            self.weights(outer, shape[0] // groups, *kernel), bias, stride=stride,
            padding=tuple(pads), groups=groups, dilation=(self.pick(1, 2), 1),
        )  # fmt: skip
        return self.tried(op, value)

    def tried(self, op: Op, value: Value) -> Value | None:
        """Append a node if its operands fit."""
        try:
            return self.add(op, value, load=2)
        except OpError:
            return None

    def moved(self, value: Value, own: list[Value]) -> Value:
        """Append something that moves elements."""
        shape = self.signals[value].shape
        axis = int(self.rng.integers(len(shape)))
        size = shape[axis]
        begin = int(self.rng.integers(size))
        ops: list[Op] = [
            Slice(axis, begin, int(self.rng.integers(begin + 1, size + 1))),
            Permute(tuple(int(n) for n in self.rng.permutation(len(shape)))),
            Pad(tuple((self.pick(0, 1, 2), self.pick(0, 2)) for _ in shape)),
        ]
        return self.add(self.pick(*ops), value)

    def delay(self, value: Value, own: list[Value]) -> Value:
        """Append one delay or several."""
        for _ in range(self.pick(1, 1, 2, 3)):
            steps: Any = self.pick(0, 1, 1, 2, 5)
            if self.rng.random() < 0.3:
                low = self.pick(0, 1, 2)
                steps = snnir.Tensor(self.rng.integers(low, low + 4, self.signals[value].shape))
            value = self.add(Delay(steps), value)
            own.append(value)
        return value

    def joined(self, value: Value, own: list[Value]) -> Value:
        """Append what reads two values, or one twice."""
        alike = [v for v in own if self.signals[v] == self.signals[value] and self.load[v] <= 2]
        operands = [value, *(self.pick(*alike) for _ in range(self.pick(1, 2)))]
        if self.rng.random() < 0.5:
            return self.add(Concat(int(self.rng.integers(len(self.signals[value].shape)))),
                            *operands)  # fmt: skip
        if self.signals[value].kind is not Kind.ANALOG:
            operands = [self.add(Current(), one) for one in operands]
        return self.add(Add(), *operands, load=1)

    def small(self, value: Value, own: list[Value]) -> Value:
        """Append something element by element, or the winner."""
        shape = self.signals[value].shape
        if len(shape) == 1 and self.rng.random() < 0.3:
            return self.add(Winner(), value)
        if self.signals[value].kind is not Kind.ANALOG:
            value = self.add(Current(), value)
        if self.rng.random() < 0.3:
            each = snnir.tensor(np.abs(self.weights(shape[0]).numpy()) + np.float32(0.5))
            return self.add(BatchNorm(self.weights(shape[0]), each), value, load=9)
        own_shape = self.pick(shape, (), (shape[-1],))
        return self.add(self.pick(Scale, Bias)(self.weights(*own_shape)), value, load=2)

    def recurrence(self, value: Value, own: list[Value]) -> Value:
        """Append a population that feeds itself through a matrix."""
        flat = self.add(Flatten(), value)
        size = self.pick(3, 33, 64, 75)
        given = self.add(self.matrix(size, self.signals[flat].shape[0], False), flat, load=2)
        late, back, total, fired = (f"{word} {len(self.nodes)}" for word in "dbsf")
        steps: Any = self.pick(1, 1, 3, snnir.Tensor(self.rng.integers(1, 4, (size,))))
        spikes, analog = Signal(Kind.SPIKES, (size,)), Signal(Kind.ANALOG, (size,))
        ops: dict[str, tuple[Op, tuple[Value, ...], Signal]] = {
            late: (Delay(steps), (Value(fired),), spikes),
            back: (self.matrix(size, size, False), (Value(late),), analog),
            total: (Add(), (given, Value(back)), analog),
            fired: (lif_step(), (Value(total),), spikes),
        }
        for name, (op, operands, signal) in ops.items():
            self.nodes[name] = Node(name, op, operands)
            self.signals[Value(name)] = signal
            self.load[Value(name)] = 0
        own.append(Value(late))
        return Value(fired)

    def graph(self) -> Graph:
        """Return everything that was made."""
        return Graph(self.nodes, self.outputs, 1e-3).verify()


def random_graph(rng: np.random.Generator, networks: int, length: int = 6) -> Graph:
    """Return networks side by side."""
    maker = Maker(rng)
    for _ in range(networks):
        maker.network(int(rng.integers(1, length + 1)))
    return maker.graph()


@dataclass
class AnyPlan:
    """A partitioner whose every plan keeps the rules and is drawn at random.

    Attributes:
        rng: Where it is drawn from.
    """

    rng: np.random.Generator

    def __call__(
        self, structure: Structure, machine: Machine, wishes: Wishes
    ) -> tuple[Plan | None, list[Diagnostic]]:
        """Return a plan that fits; networks are small, so that one of a few does."""
        while True:
            plan = self.drawn(structure, machine, wishes)
            if plan.fits:
                return plan, []

    def drawn(self, structure: Structure, machine: Machine, wishes: Wishes) -> Plan:
        """Return a plan that may need too much of a tile."""
        rng, streams, placements = self.rng, {}, []
        for names in structure.groups:
            stages = [structure.stages[name] for name in names]
            known = {v: forms_of(structure, v, wishes.events) for s in stages for v in s.results}
            forms = {v: own[int(rng.integers(len(own)))] for v, own in known.items()}
            size = stages[0].size
            drawn = [
                1,
                size,
                int(rng.integers(1, size + 1)),
                int(rng.integers(1, min(size, 80) + 1)),
            ]
            sizes = sizes_near(drawn[int(rng.integers(4))], grain_of(structure, stages, forms))
            allowed = [per for per in sizes if per > 0]
            per = allowed[int(rng.integers(len(allowed)))]
            workers = int(rng.integers(1, WORKERS + 1))
            bundles = math.ceil(math.ceil(size / per) / workers)
            room = min(machine.all_tiles, int(rng.choice([1, 2, 5, machine.all_tiles])))
            start = int(rng.integers(machine.all_tiles - room + 1))
            tiles = tuple((start + rng.integers(0, room, bundles)).tolist())
            placements.append(Placement(tuple(names), per, workers, tiles))
            for value, form in forms.items():
                streams[value] = stream_of(structure, value, form, per, wishes.batch)
        return Plan(
            structure, machine, streams, tuple(placements), wishes.batch, wishes.replicas,
            wishes.half, wishes.activity,
        )  # fmt: skip
