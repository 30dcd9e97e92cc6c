"""Scheduled networks as plain data: what the engines of the array targets run.

This module depends on nothing and is copied into emitted folders.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """A step program as functions of arrays that broadcast to [batch, *shape].

    Attributes:
        name: Name of the program; compiled kernels carry it.
        inputs: Number of inputs.
        outputs: Number of outputs.
        states: Names of the states.
        params: Names of the parameters that it reads.
        forward: (*inputs, *states, *params) to (*outputs, *new states).
        backward: (*inputs, *states, *params, *gradients of outputs, *gradients of new states) to
            the gradients of (*inputs, *states, *params).
        wide: Whether the arithmetic is float64 although streams are float32.
        lasting: Names of the states that all samples share: [1, *shape], before and after.
        pooling: Whether samples depend on each other: there are such states, or sums of samples.
    """

    name: str
    inputs: int
    outputs: int
    states: tuple[str, ...]
    params: tuple[str, ...]
    forward: Callable[..., tuple[Any, ...]]
    backward: Callable[..., tuple[Any, ...]]
    wide: bool = False
    lasting: tuple[str, ...] = ()
    pooling: bool = False


def no_gradient(*_: Any) -> tuple[Any, ...]:
    """Stand for the gradient of a rule: what it learns from counts as constant."""
    raise TypeError("rules of synapses have no gradient")


@dataclass(frozen=True)
class Unit:
    """One node.

    Attributes:
        name: The node's name.
        kind: `op` (stateless), `neuron`, `delay`, `plastic` (synapses that learn; the first operand
            goes through them when a step begins, their rule reads the others when it ends) or
            `random`.
        operands: Names of the values it reads; result 0 of a node is the node's own name.
        results: Names of the values it yields.
        shape: Shape of one sample of its result; of synapses that learn: [post, pre].
        function: Of an op: the kernel's name; of a neuron: the step's name; of synapses that learn:
            the rule's, a step over [batch, post, pre].
        tensors: Tensors of the network by the argument (or parameter) they are.
        options: Literal arguments of an op. Of a neuron: `params`, the program's order. Of synapses
            that learn besides: `reads` (`pre`, `post` or `all` for every input of the rule),
            `weight` (the state that is the weight) and `sums` (see `snnir.ir.plastic`). Of random
            numbers: `seed`.
        initial: States before the first step: numbers, or names of parameters.
        steps: Of a delay: whole steps, unless they are the tensor `steps`.
        lasting: Shape of the states that all samples share and that outlive a run.
    """

    name: str
    kind: str
    operands: tuple[str, ...]
    results: tuple[str, ...]
    shape: tuple[int, ...]
    function: str = ""
    tensors: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    initial: Mapping[str, float | str] = field(default_factory=dict)
    steps: int = 0
    lasting: Mapping[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Loop:
    """A recurrence that is compiled as a whole.

    Attributes:
        name: Name of its C functions.
        units: Its nodes.
        values: Its values, in the order the functions give them.
        aliases: Values that are others under a new name or shape.
        outside: Values from outside that it reads.
        states: (node, state) of its neurons.
        delays: (node, steps) of its delays.
        tensors: (node, argument) of its weights and parameters.
        kept: The node of everything that is kept of a step for gradients, and whether those of the
            node's parameters alone need it.
        needed: Values whose elements gradients need.
    """

    name: str
    units: tuple[str, ...]
    values: tuple[str, ...]
    aliases: Mapping[str, str]
    outside: tuple[str, ...]
    states: tuple[tuple[str, str], ...]
    delays: tuple[tuple[str, int], ...]
    tensors: tuple[tuple[str, str], ...]
    kept: tuple[tuple[str, bool], ...]
    needed: tuple[str, ...]


@dataclass(frozen=True)
class Whole:
    """What a tensor of whole numbers stands for: (value - zero) * unit.

    Attributes:
        unit: The tensor of its unit.
        low, high: What its bits can hold.
        zero: The tensor of what stands for 0, or "" for 0.
    """

    unit: str
    low: int
    high: int
    zero: str = ""


@dataclass(frozen=True)
class Model:
    """A scheduled network without its tensors.

    Attributes:
        stages: (kind, names) in order; kinds are batched, scan, unit, shift and loop.
        units: Every node that is not an input.
        inputs: Shape of each input.
        outputs: Value behind each output name.
        dtype: Element type of streams, `float32` or `float64`.
        acc: Element type in which sums are accumulated.
        offset: Steps by which outputs and records are reported late.
        populations: Nodes whose values are spikes.
        loops: Recurrences that have a compiled form, by their first node.
        whole: Tensors of whole numbers whose size is known, by name.
    """

    stages: Sequence[tuple[str, Sequence[str]]]
    units: Mapping[str, Unit]
    inputs: Mapping[str, tuple[int, ...]]
    outputs: Mapping[str, str]
    dtype: str = "float32"
    acc: str = "float32"
    offset: int = 0
    populations: Sequence[str] = ()
    loops: Mapping[str, Loop] = field(default_factory=dict)
    whole: Mapping[str, Whole] = field(default_factory=dict)


def lasting_shapes(model: Model) -> dict[str, tuple[int, ...]]:
    """Return the shape of every state that outlives a run, by `node:state`."""
    return {
        f"{unit.name}:{key}": shape
        for unit in model.units.values()
        for key, shape in unit.lasting.items()
    }
