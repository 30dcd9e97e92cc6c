"""Cells that snnir itself generated: their class says which step program they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from snnir.dynamics.record import dynamics_from
from snnir.frontends.torch_nets.cell import Cell
from snnir.frontends.torch_nets.from_snntorch import number

if TYPE_CHECKING:
    from snnir.frontends.torch_nets.neurons import Kind

#: Class attribute of a generated cell: the step program as JSON.
MARK = "SNNIR_STEP"
_FORMS = {"snntorch": "B", "norse": "B", "sinabs": "BT"}


def generated_kind(module: Any) -> Kind | None:
    """Return how a generated cell is read, None for any other module."""
    from snnir.frontends.torch_nets.neurons import Kind

    text = getattr(type(module), MARK, None)
    if not isinstance(text, str):
        return None
    rules = json.loads(text)
    framework = str(rules["framework"])
    form = _FORMS.get(framework) or ("TB" if getattr(module, "step_mode", "s") == "m" else "B")
    return Kind(
        framework, _read, form, tuple(rules["states"]), int(rules["inputs"]), tuple(rules["extra"])
    )


def _read(module: Any, shape: tuple[int, ...]) -> Cell:
    rules = json.loads(getattr(type(module), MARK))
    step = dynamics_from(rules["step"])
    program = step.program if hasattr(step, "program") else step
    params = {name: number(getattr(module, name)) for name, _ in program.params}
    return Cell(step, params)
