"""How much a network remembers from one step to the next, for every sample of a batch."""

from __future__ import annotations

import warnings
from math import prod

import numpy as np

from snnir.errors import SnnirError, SnnirWarning
from snnir.ir.graph import Graph, Node
from snnir.ir.neuron import Neuron
from snnir.ir.plastic import Plastic
from snnir.ir.timing import Delay
from snnir.lasting import learning_program
from snnir.streams import DTYPES
from snnir.tensors import Tensor


def state_memory(graph: Graph) -> dict[str, int | None]:
    """Return the bytes of state per sample of every node that remembers, by name.

    States of neurons and rules in the element type of their program, and what is under way in
    delays in that of their stream, as simulators hold them; hardware may pack them tighter, and
    states that outlive a run (`snnir.lasting_states`) are not counted, as all samples share them.
    Continuous neurons count as their stepping makes them; None if they cannot be stepped as they
    are.

    Args:
        graph: A verified graph.
    """
    stepped = _stepped(graph)
    found: dict[str, int | None] = {}
    for node in graph.nodes.values():
        if isinstance(node.op, Neuron):
            made = None if stepped is None else stepped.nodes.get(node.name)
            found[node.name] = None if made is None else _bytes(graph, made)
        else:
            number = _bytes(graph, node)
            if number:
                found[node.name] = number
    return found


def _stepped(graph: Graph) -> Graph | None:
    if not any(isinstance(node.op, Neuron) for node in graph.nodes.values()):
        return graph
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SnnirWarning)
        try:
            return graph.apply("discretize")
        except SnnirError:
            return None


def _bytes(graph: Graph, node: Node) -> int:
    op = node.op
    if isinstance(op, Delay):
        return _under_way(op, graph.signals[node.operands[0]].shape) * _item(
            graph.signals[node.operands[0]].dtype
        )
    program = learning_program(op)
    if program is None:
        return 0
    shape = op.shape if isinstance(op, Plastic) else graph.signal(node.name).shape
    count = sum(1 for state in program.states if not state.lasting)
    return count * prod(shape) * _item(program.dtype)


def _under_way(op: Delay, shape: tuple[int, ...]) -> int:
    """Return the number of values a delay holds."""
    if not isinstance(op.steps, Tensor):
        return op.steps * prod(shape)
    if not op.steps.is_resolved:
        return 0
    return int(op.steps.numpy().sum(dtype=np.int64)) * prod(shape) // max(1, op.steps.size)


def _item(dtype: str) -> int:
    return np.dtype(DTYPES[dtype]).itemsize
