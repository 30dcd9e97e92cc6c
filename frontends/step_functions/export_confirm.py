"""Comparing the graph of a torch step function with what torch itself computes.

Both run from the same start over some steps. Where every operation is one that rounds the same
everywhere they have to agree in every bit. Sums, which libraries add up in orders of their own, and
functions such as exp may differ in the last bits: then they have to stay close, and the graph says
so in its notes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import torch  # noqa: TID253  (this module is imported when a torch step function is)
import torch.utils._pytree as pytree  # noqa: TID253

from snnir.errors import SnnirError, error
from snnir.frontends.step_functions.build import Built
from snnir.frontends.step_functions.confirm import Comparison, compare, demand
from snnir.frontends.step_functions.export_call import Call, Tree
from snnir.frontends.step_functions.export_program import Program
from snnir.frontends.step_functions.traced import Array, Traced
from snnir.untouched import untouched

#: Steps of the comparison, fewer where one step takes more multiplications than this share.
_STEPS, _FEWEST, _WORK = 24, 4, 2e9
#: Seeds: of spikes, and where these do not settle it, of real numbers, which hit no threshold.
_TRIES = 3
#: Functions that libraries round differently.
_OWN_ROUNDING = frozenset(("exp", "log", "tanh", "pow"))
_SUMS = frozenset(
    ("linear", "conv1d", "conv2d", "sum_pool2d", "avg_pool2d", "reduce_sum"),
)


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
        states = self._start(xs[0][0])
        found = []
        with untouched(self.call), torch.no_grad():
            for x in xs:
                outputs, states = self.call.call(x, states)
                held = [leaf.clone() for kept in self.call.found.kept for leaf in kept.read()]
                found.append(([o.clone() for o in outputs], [*states, *held]))
        return found

    def _start(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Return the first state, of as many samples as an input has."""
        example = self.call.x.leaves[0]
        if x.shape == example.shape:
            return list(self.call.state.leaves)
        return [
            leaf[:1].expand(len(x), *leaf.shape[1:]).clone()
            if leaf.shape[:1] == example.shape[:1]
            else leaf
            for leaf in self.call.state.leaves
        ]


class ProgramRun(Run):
    """Runs a program that was exported already, by torch's own module of it."""

    def __init__(self, exported: Any, program: Program, order: str, state: Tree) -> None:
        self.module = exported.module()
        self.spec = exported.call_spec.in_spec
        inputs = exported.graph_signature.user_inputs
        self.absent = {at for at, name in enumerate(inputs) if name is None}
        self.program, self.order, self.state = program, order, state

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
        first = self.order == "x-state"
        given = iter([*x, *states] if first else [*states, *x])
        flat = [None if at in self.absent else next(given) for at in range(self.spec.num_leaves)]
        arguments, named = pytree.tree_unflatten(flat, self.spec)
        result = self.module(*arguments, **named)
        if not self.state.leaves:
            return pytree.tree_leaves(result), []
        output, new = result if first else reversed(result)
        return pytree.tree_leaves(output), self.state.ordered(new)


def confirm(
    made: Built, run: Run, program: Program, traced: Traced, batched: bool
) -> tuple[str, ...]:
    """Compare a graph with torch; return what is to be noted.

    Raises:
        SnnirError: SNN808 if it does something else.
    """
    steps = int(max(_FEWEST, min(_STEPS, _WORK // _work(traced))))
    found = _compared(made, run, program, traced, batched, 0, steps)
    if found.equal:
        return ()
    if _is_exact(traced):
        raise error("SNN808", "the graph does not round as torch does", hint=_CAUSES)
    try:
        return (demand(found, steps, "torch"),)
    except SnnirError as fault:
        # Spikes times weights may hit a threshold exactly, where a last bit decides; real numbers
        # do not.
        for seed in range(1, _TRIES):
            again = _compared(made, run, program, traced, batched, seed, steps)
            if not again.near or again.first is not None:
                message = fault.diagnostics[0].message
                raise error("SNN808", message, hint=_CAUSES) from None
    return (f"{_TIES} (states before by up to {found.worst:.2g})",)


_TIES = "spikes may differ from torch's where a membrane meets its threshold to the last bit"
_CAUSES = (
    "state that torch.export does not see (a variable of Python, a file) may be the cause; give it "
    "as state"
)


def _is_exact(traced: Traced) -> bool:
    """Whether every operation rounds the same everywhere."""
    inexact = _OWN_ROUNDING | _SUMS
    return not traced.notes and not any(e.op in inexact for e in traced.equations)


def _work(traced: Traced) -> float:
    """Return about how many operations a step takes."""
    found = 1.0
    for equation in traced.equations:
        weight = str(equation.attributes.get("weight", ""))
        each = prod(traced.constants[weight].shape[1:]) if weight in traced.constants else 1
        found += prod(equation.shape) * each
    return found


def _compared(
    made: Built, run: Run, program: Program, traced: Traced, batched: bool, seed: int, steps: int
) -> Comparison:
    xs = _sample(program, seed, steps)
    rows = run.steps([[x.clone() for x in row] for row in xs])

    batch = xs[0][0].shape[:1] if batched else None
    outputs = _columns([out for out, _ in rows], batch)
    states = _columns([state for _, state in rows], batch)
    inputs = dict(zip(made.graph.inputs, _columns(xs, batch), strict=True))
    named = dict(zip(program.names.outputs, outputs, strict=True))
    return compare(made, inputs, states, [leaf.name for leaf in traced.states], named)


def _columns(rows: Sequence[Sequence[torch.Tensor]], batch: Any) -> list[Array]:
    """Return arrays [T, B, *shape] of what every step has; shared values are repeated.

    Args:
        rows: Tensors of every step.
        batch: Extent of the batch axis, as a shape, or None without one.
    """
    found = []
    for column in zip(*rows, strict=True):
        tensor = torch.stack(list(column)).cpu()
        if batch is None:
            tensor = tensor[:, None]
        elif tensor.shape[1:2] != batch:
            tensor = tensor[:, None].expand(len(tensor), *batch, *tensor.shape[1:])
        found.append(np.asarray(tensor.numpy(), np.float32))
    return found


def _sample(program: Program, seed: int, steps: int) -> list[list[torch.Tensor]]:
    """Return inputs of every step, as large as the example's: spikes, real numbers later on."""
    generator = torch.Generator().manual_seed(7 + seed)
    found: list[list[torch.Tensor]] = []
    for step in range(steps):
        row = []
        for example in program.examples:
            values = torch.rand(tuple(example.shape), generator=generator)
            if not seed or example.dtype != torch.float32:
                values = (values < 0.3 + 0.3 * (step % 2)).to(torch.float32)
            if example.dtype == torch.float32:
                values = values * (float(example.abs().max()) or 1.0)
            row.append(values.to(example.dtype))
        found.append(row)
    return found
