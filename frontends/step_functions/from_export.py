"""`snnir.from_export`: from a step function in plain torch to a graph."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any

import torch  # noqa: TID253  (this module is imported when a torch step function is)

from snnir.errors import error
from snnir.frontends.step_functions.build import built
from snnir.frontends.step_functions.export_call import ORDERS, Call, Tree, check_mode, warm_up
from snnir.frontends.step_functions.export_confirm import ProgramRun, Run, StepRun, confirm
from snnir.frontends.step_functions.export_program import Program, export, read
from snnir.frontends.step_functions.export_trace import traced_step
from snnir.frontends.step_functions.samples import per_sample
from snnir.ir.graph import Graph
from snnir.untouched import untouched


@dataclass(frozen=True, eq=False)
class Imported:
    """A step function that became a graph.

    Attributes:
        graph: The graph.
        program: What was exported.
        run: Runs the step function by torch.
        batched: Whether the example has a batch axis.
    """

    graph: Graph
    program: Program
    run: Run
    batched: bool


def load_export(step: Any, state: Any, example: Any, **options: Any) -> Graph:
    """Read a step function in plain torch, exported; see `snnir.from_export`."""
    return imported(step, state, example, **options).graph


def imported(
    step: Any,
    state: Any,
    example: Any,
    *,
    order: str = "x-state",
    batched: bool = True,
    dt: float | None = None,
    name: str | None = None,
) -> Imported:
    """Return the graph of a step function with what runs it."""
    _check(step, order)
    x, start = Tree.of(example, "example"), Tree.of(state, "state")
    if not x.leaves:
        raise error("SNN801", "give example=, the input of one step")
    run: Run
    if isinstance(step, torch.export.ExportedProgram):
        program = read(step, x, start, order)
        run = ProgramRun(step, program, order, start)
    else:
        if batched:
            x, start = x.of_two(), start.of_two()
        call = Call(step, x, start, order)
        check_mode(call)
        with torch.no_grad():
            warm_up(call)
            with untouched(call):
                program = export(call)
        run = StepRun(call)
    return Imported(
        _graph(program, run, name or _name_of(step), batched, dt), program, run, batched
    )  # fmt: skip


def _check(step: Any, order: str) -> None:
    if order not in ORDERS:
        raise error("SNN801", f"there is no order '{order}'", hint=f"use {' or '.join(ORDERS)}")
    if isinstance(step, (str, bytes, os.PathLike)):
        raise error(
            "SNN107", "reading a .pt2 file unpickles what is in it, which can run any code",
            source=os.fsdecode(step),
            hint="if you trust it, load it with torch.export.load and give the program",
        )  # fmt: skip
    if not callable(step) and not isinstance(step, torch.export.ExportedProgram):
        kind = type(step).__name__
        message = f"from_export takes a module, a function or an exported program, got {kind}"
        raise error("SNN801", message)


def _graph(program: Program, run: Run, name: str, batched: bool, dt: float | None) -> Graph:
    traced = traced_step(program, name, f"{name} (torch.export)")
    made = built(per_sample(traced) if batched else traced, dt)
    notes = confirm(made, run, program, traced, batched)
    graph = made.graph
    provenance = replace(graph.provenance, notes=(*graph.provenance.notes, *notes))
    return replace(graph, provenance=provenance)


def _name_of(step: Any) -> str:
    if isinstance(step, torch.nn.Module):
        return type(step).__name__
    if isinstance(step, torch.export.ExportedProgram):
        return "exported"
    inner = getattr(step, "func", step)
    return str(getattr(inner, "__name__", type(inner).__name__)).strip("<>")
