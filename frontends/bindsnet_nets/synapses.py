"""The connections of BindsNET 0.3.4 as synapses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from snnir import rules
from snnir.dynamics import dynamics
from snnir.dynamics.trace import Symbol
from snnir.frontends.bindsnet_nets.plan import Edge, Options, edge_name
from snnir.frontends.bindsnet_nets.rules import Learned, RuleReader, read_rule, rule_name
from snnir.frontends.bindsnet_nets.values import (
    Array,
    Unsupported,
    array_of,
    class_of,
    float32_of,
    sums_exactly,
    tensor_of,
    weights_of,
)
from snnir.ir import Conv2d, FrozenDict, Linear, Op, PickMax2d, Step, Tensor
from snnir.rules import Limits
from snnir.streams import Kind


@dataclass(frozen=True)
class Synapses:
    """A connection.

    Attributes:
        edge: Names of its source and target.
        op: What makes currents of spikes.
        reads: Inputs of its rule, if it has one.
        traces: What keeps the rule's own traces, by input.
        rates: Of pooling: what keeps the firing rates.
        bias: Added to the currents, [post].
        notes: What is to be said of it.
        rounds: Its sums may round elsewhere than BindsNET's even for one sample.
    """

    edge: Edge
    op: Op
    reads: tuple[str, ...] = ()
    traces: dict[str, Step] = field(default_factory=dict)
    rates: Step | None = None
    bias: Tensor | None = None
    notes: tuple[str, ...] = ()
    rounds: bool = False

    @property
    def name(self) -> str:
        """BindsNET's own name of it."""
        return edge_name(self.edge)


@dynamics(params={"decay": "1"}, states={"firing_rates": 0.0}, outputs=(Kind.ANALOG,))
def firing_rates(s: Symbol, firing_rates: Symbol, decay: Symbol) -> Any:
    """What an online estimate of rates makes of a step."""
    new = firing_rates - decay * firing_rates + s
    return {"firing_rates": new}, new


@dataclass(frozen=True)
class _Read:
    """What reading a connection needs.

    Attributes:
        edge, connection: The connection.
        learning: Whether the network learns.
        options: How the network is read.
    """

    edge: Edge
    connection: Any
    learning: bool
    options: Options

    @property
    def learns(self) -> bool:
        """Whether a rule changes the weights."""
        return self.learning and rule_name(self.connection) != "NoOp"

    @property
    def decay(self) -> float:
        """What of a weight is lost in a step."""
        return float(self.connection.weight_decay or 0.0) if self.learning else 0.0

    def mask(self, shape: tuple[int, int]) -> Array | None:
        """Return where weights [pre, post] are set to 0 in every step, if anywhere."""
        given = self.options.masks.get(self.edge)
        own = getattr(self.connection, "mask", None)
        found = None
        if given is not None:
            found = array_of(given)
            if found.dtype != np.bool_ or not _fits(found.shape, shape):
                wanted = f"its mask must be bool {list(shape)}"
                raise Unsupported(f"{wanted}, is {found.dtype} {list(found.shape)}")
        elif own is not None:
            found = array_of(own).reshape(shape)
            if not self.learning and not array_of(self.connection.w).reshape(shape)[found].any():
                found = None
        if self.connection.Dales_rule is not None:
            return np.ones(shape, np.bool_)
        return None if found is None else np.broadcast_to(found, shape)

    def limits(self, shape: tuple[int, int]) -> Limits:
        """Return what is done to the weights in every step after the rule."""
        lower, upper = (
            _bound(getattr(self.connection, name)) if self.learns else None
            for name in ("wmin", "wmax")
        )
        mask = self.mask(shape)
        mask = None if mask is None else mask.T.astype(np.float32)
        return Limits(lower, upper, self.decay, mask)


def _fits(shape: tuple[int, ...], wanted: tuple[int, int]) -> bool:
    """Whether an array can be broadcast to a shape."""
    try:
        return np.broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        return False


def _bound(value: Any) -> Array | None:
    """Return a bound of weights, broadcastable to [post, pre], None if there is none."""
    array = array_of(value)
    if np.isinf(array).all():
        return None
    return array[:, None] if array.ndim == 1 else array.T


def _matrix(read: _Read) -> Synapses:
    connection = read.connection
    source, target = connection.source, connection.target
    weights = weights_of(connection.w).reshape(source.n, target.n).T
    learned = _learned(read, (source.n, target.n))
    total, notes = _total(read, weights)
    exact = sums_exactly(weights)
    keeps = learned.rule.program == rules.keep().program
    bias = _bias(connection.b, target.n)
    notes = (*notes, *learned.notes, *_dale_notes(connection))
    if exact and keeps and total is None:
        return Synapses(read.edge, Linear(tensor_of(weights)), bias=bias, notes=notes)
    op = learned.rule.op(tensor_of(weights), total, "cascade")
    reads = learned.rule.inputs
    rounds = learned.rounds or (not exact and _is_strided(connection.w))
    return Synapses(read.edge, op, reads, learned.traces, None, bias, notes, rounds)


def _is_strided(weights: Any) -> bool:
    """Whether weights are no rows in memory, as w.t(): torch then adds up in another order."""
    return not weights.is_sparse and not weights.is_contiguous()


def _learned(read: _Read, shape: tuple[int, int]) -> Learned:
    limits = read.limits(shape)
    if not read.learns:
        return Learned(rules.keep(limits))
    options = read.options
    plus, minus = (
        options.rate(name, read.edge, default)
        for name, default in (("a_plus", 1.0), ("a_minus", -1.0))
    )
    return read_rule(RuleReader(read.connection.update_rule, limits, plus, minus))


def _total(read: _Read, weights: Array) -> tuple[Array | None, tuple[str, ...]]:
    """Return what the weights of every neuron add up to when a run ends, if they are normalised."""
    connection = read.connection
    if connection.norm is None:
        return None, ()
    if class_of(connection, "network.topology") == "LocalConnection":
        _check_signs(read, weights)
    note = "torch adds up a single column in another order: its norm may differ in the last bit"
    total = float32_of(connection.norm, "norm").reshape(-1)
    return (total if total.size > 1 else total[0]), ((note,) if len(weights) == 1 else ())


def _check_signs(read: _Read, weights: Array) -> None:
    """Local connections divide by the sum of weights, not of their sizes."""
    lower = array_of(read.connection.wmin)
    if (weights < 0).any() or (read.learns and (lower < 0).any()):
        hint = "bound its weights: wmin=0"
        raise Unsupported("normalises by the sum of weights that may be negative", hint)
    if not weights.any(axis=1).all():
        raise Unsupported("normalises neurons without weights, which gives NaN", "set norm=None")


def _bias(value: Any, size: int) -> Tensor | None:
    if value is None:
        return None
    bias = weights_of(value, "b").reshape(-1)
    if bias.size not in (1, size):
        raise Unsupported(f"b has {bias.size} elements, its target {size}")
    return tensor_of(np.broadcast_to(bias, (size,))) if bias.any() else None


def _dale_notes(connection: Any) -> tuple[str, ...]:
    if connection.Dales_rule is None:
        return ()
    return ("Dales_rule of BindsNET 0.3.4 sets every weight to 0 after the first step",)


def _convolution(read: _Read) -> Synapses:
    connection = read.connection
    _check_still(read, "of convolutions")
    weights = weights_of(connection.w)
    bias = _bias(connection.b, len(weights))
    op = Conv2d(
        tensor_of(weights), bias,
        stride=_two(connection.stride), dilation=_two(connection.dilation),
        padding=_twice(connection.padding),
    )  # fmt: skip
    rounds = bias is not None or not sums_exactly(weights.reshape(len(weights), -1))
    return Synapses(read.edge, op, rounds=rounds)


def _check_still(read: _Read, what: str) -> None:
    """Refuse what would change shared weights in a run."""
    connection = read.connection
    freeze = "read it frozen: network.train(False)"
    if read.learns:
        raise Unsupported(f"learns by {rule_name(connection)}: weights {what} do not learn", freeze)
    if read.decay:
        raise Unsupported(f"has weight_decay: weights {what} do not change", freeze)
    if connection.norm is not None:
        raise Unsupported(f"has a norm: weights {what} do not change", "set norm=None")
    if connection.Dales_rule is not None or read.edge in read.options.masks:
        raise Unsupported(f"has a mask or Dales_rule: weights {what} do not change")


def _pooling(read: _Read) -> Synapses:
    connection = read.connection
    if connection.decay is None:
        raise Unsupported("has no decay, without which BindsNET does not run it", "give decay=...")
    if _two(connection.dilation) != (1, 1):
        raise Unsupported("has a dilation", "use dilation=1")
    if connection.Dales_rule is not None or read.edge in read.options.masks:
        raise Unsupported("has no weights to mask")
    decay = tensor_of(np.asarray(array_of(connection.decay), np.float32))
    op = PickMax2d(
        _two(connection.kernel_size), _two(connection.stride), _twice(connection.padding)
    )
    rates = Step(firing_rates, FrozenDict({"decay": decay}))
    return Synapses(read.edge, op, rates=rates)


def _two(value: Any) -> tuple[int, int]:
    one, two = (int(part) for part in value)
    return one, two


def _twice(value: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    one, two = _two(value)
    return (one, one), (two, two)


_CONNECTIONS: dict[str, Callable[[_Read], Synapses]] = {
    "Connection": _matrix,
    "Conv2dConnection": _convolution,
    "LocalConnection": _matrix,
    "MaxPool2dConnection": _pooling,
    "SparseConnection": _matrix,
}

#: What would help with other classes.
_HINTS = {
    "Conv1dConnection": "use a Conv2dConnection over [channels, 1, size]",
    "LocalConnection1D": "give a Connection the same weights, and a mask",
    "LocalConnection2D": "use a LocalConnection, or a Connection and a mask",
    "MeanFieldConnection": "use a Connection of equal weights",
    "MulticompartmentConnection": "use a Connection with the rule of its weight feature",
}


def read_connection(edge: Edge, connection: Any, learning: bool, options: Options) -> Synapses:
    """Return a connection as synapses.

    Raises:
        Unsupported: SNN802 or SNN807 if it cannot be read.
    """
    kind = class_of(connection, "network.topology")
    if kind not in _CONNECTIONS:
        name = type(connection).__qualname__
        hint = _HINTS.get(kind, f"use one of {', '.join(_CONNECTIONS)}")
        raise Unsupported(f"connections of class {name} are not read", hint)
    return _CONNECTIONS[kind](_Read(edge, connection, learning, options))
