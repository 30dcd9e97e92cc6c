"""Comparing the graph of a torch step function with what torch itself computes.

Both run from the same start over some steps. Where every operation is one that rounds the same
everywhere they have to agree in every bit. Sums, which libraries add up in orders of their own, and
functions such as exp may differ in the last bits: then they have to stay close, and the graph says
so in its notes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch  # noqa: TID253  (this module is imported when a torch step function is)
import torch.utils._pytree as pytree  # noqa: TID253

from snnir.driver import run as run_graph
from snnir.errors import error
from snnir.frontends.step_functions.build import Built, Place
from snnir.frontends.step_functions.export_call import Call, Tree
from snnir.frontends.step_functions.export_program import Program
from snnir.frontends.step_functions.traced import Array, Traced
from snnir.ir.graph import Graph
from snnir.untouched import untouched

_STEPS = 24
#: Seeds: of spikes, and where these do not settle it, of real numbers, which hit no threshold.
_TRIES = 3
_NEAR = 1e-3
#: Functions that libraries round differently.
_OWN_ROUNDING = frozenset(("exp", "log", "tanh", "pow"))
_SUMS = frozenset(
    ("linear", "conv1d", "conv2d", "sum_pool2d", "avg_pool2d", "reduce_sum"),
)

#: Results by name, [T, ...].
Results = dict[str, Array]


class Run(ABC):
    """Runs a step function by torch."""

    @abstractmethod
    def steps(self, xs: Sequence[list[torch.Tensor]]) -> list[tuple[list[Any], list[Any]]]:
        """Return (outputs, states) after every step, flat, starting at rest each time."""


class StepRun(Run):
    """Calls a function or module as its user does."""

    def __init__(self, call: Call) -> None:
        self.call = call

    def steps(self, xs: Sequence[list[torch.Tensor]]) -> list[tuple[list[Any], list[Any]]]:
        """Call it step by step; what its modules keep is put back at the end."""
        states = list(self.call.state.leaves)
        found = []
        with untouched(self.call), torch.no_grad():
            for x in xs:
                outputs, states = self.call.call(x, states)
                held = [leaf.clone() for kept in self.call.found.kept for leaf in kept.read()]
                found.append(([o.clone() for o in outputs], [*states, *held]))
        return found


class ProgramRun(Run):
    """Runs a program that was exported already, by torch's own module of it."""

    def __init__(self, exported: Any, program: Program, order: str, x: Tree, state: Tree) -> None:
        self.module = exported.module()
        self.program, self.order, self.x, self.state = program, order, x, state

    def steps(self, xs: Sequence[list[torch.Tensor]]) -> list[tuple[list[Any], list[Any]]]:
        """Run it step by step; the buffers it changes are put back at the end."""
        buffers = [self.module.get_buffer(path) for path in self.program.buffers]
        saved = [buffer.clone() for buffer in buffers]
        states: list[Any] = list(self.state.leaves)
        found = []
        with torch.no_grad():
            for x in xs:
                outputs, states = self._step(x, states)
                found.append((outputs, [*states, *(b.clone() for b in buffers)]))
            for buffer, value in zip(buffers, saved, strict=True):
                buffer.copy_(value)
        return found

    def _step(self, x: list[torch.Tensor], states: list[Any]) -> tuple[list[Any], list[Any]]:
        first, second = self.x.build(x), self.state.build(states)
        if not self.state.leaves:
            arguments = (first,) if self.state.spec is None else (first, second)
            return pytree.tree_leaves(self.module(*arguments)), []
        if self.order == "x-state":
            output, new = self.module(first, second)
        else:
            new, output = self.module(second, first)
        return pytree.tree_leaves(output), self.state.ordered(new)


def confirm(
    made: Built, run: Run, program: Program, traced: Traced, batched: bool
) -> tuple[str, ...]:
    """Compare a graph with torch; return what is to be noted.

    Raises:
        SnnirError: SNN808 naming the output or state that differs, and the step.
    """
    exact = not traced.notes and not any(
        equation.op in _OWN_ROUNDING or equation.op in _SUMS for equation in traced.equations
    )
    faults = []
    for seed in range(_TRIES):
        xs = _sample(program, seed)
        wanted = _of_torch(made, run, traced, xs)
        same, fault = _compare(made, traced, wanted, _of_graph(made, traced, xs, batched), batched)
        if same and not seed:
            return ()
        if fault or exact:
            faults.append(fault or "a result differs from torch's in the last bits")
        elif not seed:
            return _NOTE
        # Spikes may hit a threshold exactly, where a last bit decides: real numbers do not.
        if exact or len(faults) > 1:
            raise error("SNN808", faults[-1], hint=_CAUSES)
    return _NOTE


_CAUSES = (
    "state that is kept where torch.export does not see it (a variable of Python, a file) may be "
    "the cause; give it as state"
)
_NOTE = (
    "states agree with torch to rounding: sums and functions such as exp are rounded in another "
    "order there",
)


def _sample(program: Program, seed: int) -> list[list[torch.Tensor]]:
    """Return inputs of every step: spikes first, real numbers for later seeds."""
    generator = torch.Generator().manual_seed(7 + seed)
    nodes = {node.name: node for node in program.exported.graph.nodes}
    found: list[list[torch.Tensor]] = []
    for step in range(_STEPS):
        row = []
        for name in program.inputs:
            example = nodes[name].meta["val"]
            values = torch.rand(tuple(example.shape), generator=generator)
            if not seed or example.dtype != torch.float32:
                values = (values < 0.3 + 0.3 * (step % 2)).to(example.dtype)
            row.append(values)
        found.append(row)
    return found


def _of_torch(made: Built, run: Run, traced: Traced, xs: Sequence[list[torch.Tensor]]) -> Results:
    rows = run.steps([[x.clone() for x in row] for row in xs])
    found = {}
    for at, (name, _) in enumerate(traced.outputs):
        found[f"output '{name}'"] = _stack([outputs[at] for outputs, _ in rows])
    leaves = {leaf.name: at for at, leaf in enumerate(traced.states)}
    for at, place in enumerate(made.places):
        values = _stack([states[leaves[place.part.leaf]] for _, states in rows])
        found[_state(traced, at, place)] = values
    return found


def _state(traced: Traced, at: int, place: Place) -> str:
    paths = {leaf.name: leaf.path for leaf in traced.states}
    return f"state '{paths[place.part.leaf]}' (part {at})"


def _stack(tensors: Sequence[torch.Tensor]) -> Array:
    return np.stack([tensor.detach().cpu().numpy() for tensor in tensors]).astype(np.float32)


def _of_graph(
    made: Built, traced: Traced, xs: Sequence[list[torch.Tensor]], batched: bool
) -> Results:
    """Return the outputs, and those states that are in the graph, [T, B, *shape]."""
    graph = made.graph
    stacked = [_stack(column) for column in zip(*xs, strict=True)]
    given = [x if batched else x[:, None] for x in stacked]
    extra = {f"state {at}": p.value for at, p in enumerate(made.places) if p.value is not None}
    watched = Graph(graph.nodes, {**graph.outputs, **extra})
    result = run_graph(
        watched, dict(zip(graph.inputs, given, strict=True)),
        [p.record for p in made.places if p.record],
    )  # fmt: skip
    found = {f"output '{name}'": result.outputs[name] for name in graph.outputs}
    for at, place in enumerate(made.places):
        value = result.recorded[place.record] if place.record else result.outputs[f"state {at}"]
        found[_state(traced, at, place)] = value
    return found


def _compare(
    made: Built, traced: Traced, wanted: Results, got: Results, batched: bool
) -> tuple[bool, str]:
    """Return whether all is equal in every bit, and what is not even close."""
    cuts = {_state(traced, at, place): place.part.cut for at, place in enumerate(made.places)}
    same, faults = True, []
    for name, mine in got.items():
        theirs = wanted[name] if batched else wanted[name][:, None]
        cut = cuts.get(name)
        if cut is not None:
            theirs = np.stack([np.stack([cut(sample) for sample in row]) for row in theirs])
        theirs = np.broadcast_to(theirs, mine.shape)
        if np.array_equal(mine, theirs, equal_nan=True):
            continue
        same = False
        scale = max(1.0, float(np.abs(theirs[np.isfinite(theirs)]).max(initial=0.0)))
        off = ~np.isclose(mine, theirs, rtol=_NEAR, atol=_NEAR * 0.1 * scale, equal_nan=True)
        if off.any():
            step, sample, *index = (int(i) for i in np.argwhere(off)[0])
            values = f"{theirs[(step, sample, *index)]}, the graph {mine[(step, sample, *index)]}"
            faults.append((step, f"{name} at step {step}, {index}: torch gives {values}"))
    return same, min(faults)[1] if faults else ""
