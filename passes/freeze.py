"""Take a network that learns as it is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from snnir.dynamics.program import Dynamics, only
from snnir.errors import error
from snnir.ir.graph import Graph
from snnir.ir.neuron import Step
from snnir.ir.plastic import Plastic
from snnir.ir.synapses import Linear
from snnir.loss_report import sums_exactly
from snnir.pipeline import Pass
from snnir.streams import DTYPES, Kind
from snnir.tensors import FrozenDict, Tensor


@dataclass(frozen=True)
class Freeze(Pass):
    """Make weights that learn plain weights, and thresholds that adapt in learning parameters.

    What lasts (`snnir.with_lasting`) stays as the graph has it. Exact for a run in which nothing is
    learned, but for how the currents of `plastic` are added up: one by one there, rounded each
    time; afterwards as the target does it for `linear`. The notes of the graph say where that is.
    Random numbers keep their place.
    """

    name: ClassVar[str] = "freeze"

    def run(self, graph: Graph) -> Graph:
        """Return the graph without anything that learns."""
        editor = graph.edit()
        rounded = []
        for node in graph.nodes.values():
            op = node.op
            if isinstance(op, Plastic):
                linear = Linear(op.weight)
                editor.put(replace(node, op=linear, operands=node.operands[:1]))
                spikes = graph.signals[node.operands[0]].kind is Kind.SPIKES
                rounded += [] if spikes and sums_exactly(linear) else [node.name]
            elif isinstance(op, Step) and op.program.is_pooling:
                editor.set_op(node.name, _frozen(node.name, op))
        frozen = editor.graph().apply("dead-code")
        if not rounded:
            return frozen
        what = f"frozen: sums of {', '.join(rounded)} were rounded after each term"
        notes = (*graph.provenance.notes, what)
        return replace(frozen, provenance=replace(frozen.provenance, notes=notes))


def _frozen(name: str, op: Step) -> Step:
    program = op.program
    still = {state.name: state.initial for state in program.states if state.lasting}
    updates = tuple((state, value) for state, value in program.updates if state not in still)
    results = [value for _, value in updates] + [output for output, _ in program.outputs]
    body = only(program, results).body
    if any(let.op == "batch_sum" for let in body):
        raise error(
            "SNN401",
            "what it gives depends on the other samples of a batch even without learning",
            node=name,
        )
    read = {arg for let in body for arg in let.args} | set(results)
    read |= {state.initial for state in program.states if not state.lasting}
    kept = [(param, unit) for param, unit in program.params if param in read]
    kept += [(state, "1") for state in still if state in read]
    params = {param: op.params[param] for param, _ in kept if param in op.params}
    for state, initial in still.items():
        if state in read:
            params[state] = _start(op, program, initial)
    states = tuple(state for state in program.states if not state.lasting)
    rest = replace(program, params=tuple(kept), states=states, body=body, updates=updates)
    return replace(op, dynamics=rest, params=FrozenDict(params))


def _start(op: Step, program: Dynamics, initial: str | float) -> Tensor:
    if isinstance(initial, str):
        return op.params[initial]
    return Tensor(np.asarray(initial, DTYPES[program.dtype]))
