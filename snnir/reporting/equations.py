"""Step programs as lines that people read."""

from __future__ import annotations

from collections.abc import Iterator

from snnir.dynamics.program import Dynamics, Let, Operand

#: Operations that are written between their operands.
_INFIX = {
    "add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
    "eq": "==", "ne": "!=", "and": "and", "or": "or",
}  # fmt: skip


def program_equations(program: Dynamics) -> Iterator[str]:
    """Yield one line per operation of a step, then the new states and the results.

    Every line is one operation and rounds once, in the order written; a state's name stands for
    what the last step left until the line that says what it becomes.
    """
    for state in program.states:
        lasting = ", for all samples, outlives a run" if state.lasting else ""
        yield f"{state.name} starts at {_operand(state.initial)}{lasting}"
    for let in program.body:
        yield f"{let.target} = {_application(let)}"
    for name, value in program.updates:
        if name != value:
            yield f"next {name} = {_operand(value)}"
    for output, kind in program.outputs:
        yield f"output {output}: {kind}"


def _application(let: Let) -> str:
    args = [_operand(arg) for arg in let.args]
    sign = _INFIX.get(let.op)
    if sign and len(args) == 2:
        return f"{args[0]} {sign} {args[1]}"
    if let.op == "neg":
        return f"-{args[0]}"
    if let.op == "select":
        return f"{args[1]} if {args[0]} else {args[2]}"
    return f"{let.op}({', '.join(args)})"


def _operand(value: Operand) -> str:
    return value if isinstance(value, str) else f"{value:g}"
