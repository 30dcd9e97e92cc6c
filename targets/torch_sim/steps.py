"""Step programs and their gradients as torch source."""

from __future__ import annotations

import keyword

from snnir.dynamics.adjoint import adjoint
from snnir.dynamics.program import Dynamics, Operand
from snnir.dynamics.source import Expressions, renamed
from snnir.dynamics.surrogate import Surrogate

#: What generated functions use besides the names of the program.
RESERVED = frozenset({"torch", "constant", "kind", "device", "inf", "nan", *keyword.kwlist})


def step_source(
    program: Dynamics, name: str, surrogate: Surrogate, detach: bool | str, comment: str
) -> str:
    """Return the functions `NAME` and `NAME_gradient` and the `Step` that holds them.

    Args:
        program: The step program.
        name: Identifier of the functions.
        surrogate: What stands for the derivative of a spike.
        detach: Whether resets count as constants.
        comment: One line of documentation.
    """
    safe = safe_names(program)
    states = [state.name for state in safe.states]
    params = [param for param, _ in safe.params]
    known = [*safe.inputs, *states, *params]
    updates = dict(safe.updates)
    made = adjoint(safe, surrogate, detach)
    given = [*made.outputs, *(made.updates[state] for state in states)]
    forward = [*(output for output, _ in safe.outputs), *(updates[state] for state in states)]
    backward = [{**made.inputs, **made.states, **made.params}[name] for name in known]
    head = [
        *_function(safe, name, known, forward, comment),
        *_function(made.program, f"{name}_gradient", known + given, backward, "Its gradient."),
    ]
    names = [state.name for state in program.states], [param for param, _ in program.params]
    record = (
        f"STEPS[{name!r}] = Step(\n"
        f"    {name!r}, {len(program.inputs)}, {len(program.outputs)},\n"
        f"    {tuple(names[0])!a}, {tuple(names[1])!a},\n"
        f"    {name}, {name}_gradient, wide={program.dtype == 'f64'},\n)"
    )
    return "\n".join([*head, "", "", record])


def safe_names(program: Dynamics) -> Dynamics:
    """Return the program with the names that Python or the generated code uses changed."""
    return renamed(program, lambda name: f"{name}_" if name in RESERVED else name)


def _function(
    program: Dynamics, name: str, arguments: list[str], results: list[Operand], comment: str
) -> list[str]:
    printer = Expressions(program, "torch", "constant({!r}, kind, device)", "{!r}")
    printer.kept |= {str(result) for result in results}
    body = printer.statements()
    first = program.inputs[0]
    returned = ", ".join(str(result) for result in results)
    return [
        f"def {name}({', '.join(arguments)}):",
        f'    """{comment}"""',
        f"    kind, device = {first}.dtype, {first}.device",
        *(f"    {line}" for line in body),
        f"    return ({returned}{',' if len(results) == 1 else ''})",
        "",
        "",
    ]
