"""Step programs as torch functions: in float32, by operators that PopTorch has."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from snnir.dynamics.program import Dynamics, Let, Operand
from snnir.dynamics.source import Expressions, renamed
from snnir.dynamics.whole import as_float
from snnir.embedding import plain_text
from snnir.targets.ipu.poptorch.names import USED


class Printer(Expressions):
    """Prints a literal as a tensor where torch would compute with it in Python, or otherwise."""

    def expression(self, let: Let) -> tuple[str, int]:
        """Return the right side of one operation and how strongly it binds.

        A number over a tensor would be the product with a reciprocal: two roundings.
        """
        plain = self.plain
        if let.op == "div" or not any(isinstance(arg, str) for arg in let.args):
            self.plain = self.number
        text, precedence = super().expression(let)
        self.plain = plain
        return text.replace(".to(kind)", ".float()"), precedence


def step_source(program: Dynamics, name: str) -> str:
    """Return the function of one step: (inputs, states, params) to (outputs, new states).

    Args:
        program: The step program; integers are computed in float32, see `fit`.
        name: Identifier of the function.
    """
    safe = _safe(as_float(program))
    inputs, states = list(safe.inputs), [state.name for state in safe.states]
    arguments = [*inputs, *states, *(param for param, _ in safe.params)]
    printer = Printer(safe, "torch", f"torch.full_like({inputs[0]}, {{!r}})", "{!r}")
    updates = dict(safe.updates)
    results: list[Operand] = [*(n for n, _ in safe.outputs), *(updates[s] for s in states)]
    body = printer.statements()
    given = ", ".join(_filled(printer, safe, result) for result in results)
    outputs = ", ".join(n for n, _ in safe.outputs)
    return "\n".join(
        [
            f"def {name}({', '.join(arguments)}):",
            f'    """One step of {plain_text(program.name)}: {_said(outputs, states)}."""',
            *(f"    {line}" for line in body),
            f"    return {given}",
        ]
    )


def _said(outputs: str, states: list[str]) -> str:
    after = f"the new {', '.join(states)}" if states else ""
    return " and ".join(part for part in (outputs, after) if part) or "nothing"


def _filled(printer: Expressions, program: Dynamics, result: Operand) -> str:
    """Return a result in the shape of the population."""
    text = printer.value(result)
    if not isinstance(result, str) or result in _shaped(program):
        return text
    return f"{text}.expand_as({program.inputs[0]})"


def _shaped(program: Dynamics) -> set[str]:
    """Return the values that have the shape of the population whatever the parameters have."""
    found = {*program.inputs, *(state.name for state in program.states)}
    for let in program.body:
        if any(arg in found for arg in let.args):
            found.add(let.target)
    return found


def _safe(program: Dynamics) -> Dynamics:
    """Return the program with names in ASCII that nothing else has, and literals of float32."""
    safe = renamed(program, _word)
    with np.errstate(over="ignore"):
        body = tuple(replace(let, args=tuple(map(_finite, let.args))) for let in safe.body)
        updates = tuple((state, _finite(value)) for state, value in safe.updates)
    return replace(safe, body=body, updates=updates)


def _word(name: str) -> str:
    word = re.sub(r"[^A-Za-z0-9_]", "_", name)
    word = f"v{word}" if word.startswith("_") and not re.search("[A-Za-z]", word) else word
    return f"{word}_" if word in USED or word.startswith("__") else word


def _finite(value: Operand) -> Operand:
    """Return a literal; what is infinite in float32 is so here too."""
    if isinstance(value, str):
        return value
    return float(value) if np.isfinite(np.float32(value)) else float(np.float32(value))
