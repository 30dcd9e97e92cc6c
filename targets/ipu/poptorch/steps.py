"""Step programs as torch functions: in float32, by operators that PopTorch has."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from snnir.dynamics.program import Dynamics, Let, Operand
from snnir.dynamics.source import Expressions, renamed
from snnir.embedding import plain_text
from snnir.targets.ipu.poptorch.names import USED

#: What stands for formats of NumPy, and for what PopTorch does in another way; the printer writes
#: `kind` for `dtype`.
_CALLS = {
    "kind=torch": "dtype=torch",
    "np.right_shift(": "shifted(",
    "np.floor_divide(": "quotient(",
    "torch.trunc(": "trunc(",
    ".to(torch.float64)": "",  # around a root, for the sake of CPUs; there is no float64 here
}


class Printer(Expressions):
    """Prints a literal as a tensor where torch would compute with it in Python, or otherwise.

    Args:
        program: The program, in float32 or of integers in int32.
    """

    def __init__(self, program: Dynamics) -> None:
        kind = ", dtype=torch.int32" if program.is_whole else ""
        super().__init__(program, "torch", f"torch.full((1,), {{!r}}{kind})", "{!r}")
        self.kind = "int" if program.is_whole else "float"

    def expression(self, let: Let) -> tuple[str, int]:
        """Return the right side of one operation and how strongly it binds.

        A number over a tensor would be the product with a reciprocal: two roundings.
        """
        plain = self.plain
        if let.op == "div" or not any(isinstance(arg, str) for arg in let.args):
            self.plain = self.number
        text, precedence = super().expression(let)
        self.plain = plain
        for call, own in _CALLS.items():
            text = text.replace(call, own)
        return text.replace(".to(kind)", f".{self.kind}()"), precedence

    def argument(
        self, arg: str | float, precedence: int, index: int, is_method: bool = False, op: str = ""
    ) -> str:
        """Return an operand; a shift is by a number."""
        if op == "shr" and index == 1:
            return str(arg)
        return super().argument(arg, precedence, index, is_method, op)


def step_source(program: Dynamics, name: str) -> str:
    """Return the function of one step: (inputs, states, params) to (outputs, new states).

    States and parameters of a program of integers are int32; its inputs and outputs are streams of
    whole numbers in float32, see `fit`.

    Args:
        program: The step program.
        name: Identifier of the function.
    """
    safe = _safe(program)
    inputs, states = list(safe.inputs), [state.name for state in safe.states]
    arguments = [*inputs, *states, *(param for param, _ in safe.params)]
    printer = Printer(safe)
    updates = dict(safe.updates)
    lines = [f"{name} = {name}.int()" for name in inputs] if safe.is_whole else []
    lines += printer.statements()
    after = ".float()" if safe.is_whole else ""
    results = [f"{_filled(printer, safe, n)}{after}" for n, _ in safe.outputs]
    for place, state in enumerate(states):
        copied = _is_copied(safe, state, [updates[other] for other in states[:place]])
        results.append(f"{_filled(printer, safe, updates[state])}{'.clone()' if copied else ''}")
    outputs = ", ".join(n for n, _ in safe.outputs)
    return "\n".join(
        [
            f"def {name}({', '.join(arguments)}):",
            f'    """One step of {plain_text(program.name)}: {_said(outputs, states)}."""',
            *(f"    {line}" for line in lines),
            f"    return {', '.join(results)}",
        ]
    )


def _said(outputs: str, states: list[str]) -> str:
    after = f"the new {', '.join(states)}" if states else ""
    return " and ".join(part for part in (outputs, after) if part) or "nothing"


def _is_copied(program: Dynamics, state: str, before: list[Operand]) -> bool:
    """Return whether a new state is a tensor that is, or may be, carried in another place.

    A loop's result may not be what it was given there, nor one tensor twice.
    """
    value = dict(program.updates)[state]
    others = {other.name for other in program.states} - {state}
    return isinstance(value, str) and value in {*program.inputs, *others, *before}


def _filled(printer: Expressions, program: Dynamics, result: Operand) -> str:
    """Return a result in the shape of the population."""
    text = printer.value(result)
    if isinstance(result, str) and result in _shaped(program):
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
    """Return the program with names in ASCII that nothing else has, and literals of its type."""
    safe = renamed(program, _word)
    literal = _integer if program.is_whole else _finite
    with np.errstate(over="ignore"):
        body = tuple(replace(let, args=tuple(map(literal, let.args))) for let in safe.body)
        updates = tuple((state, literal(value)) for state, value in safe.updates)
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


def _integer(value: Operand) -> Operand:
    return value if isinstance(value, str) else int(value)
