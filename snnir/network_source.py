"""Networks as source: step programs with their gradients, and the plain data of the nodes."""

from __future__ import annotations

import keyword
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from typing import Any

from snnir.dynamics import batch, fused
from snnir.dynamics.adjoint import adjoint
from snnir.dynamics.program import Dynamics, Operand
from snnir.dynamics.source import Expressions, renamed
from snnir.dynamics.surrogate import Surrogate
from snnir.embedding import function_sources, plain_text
from snnir.network import Model, Step, no_gradient

#: What generated functions use besides the names of the program.
RESERVED = frozenset(
    {
        "torch",
        "jnp",
        "constant",
        "guard",
        "mul",
        "div",
        "fma",
        "low",
        "snn_fma",
        "snn_batch_sum",
        "kind",
        "device",
        "inf",
        "nan",
        *keyword.kwlist,
    }
)


@dataclass(frozen=True)
class Language:
    """How an array language writes step programs.

    Attributes:
        name: Which format of `ScalarOp` to print.
        number: Format of a literal where an array is needed.
        head: First line of every function, of its first argument `{0}`.
        arguments: Further arguments of every function.
        guarded: Whether `mul`, `div` and `fma` are calls; see `Expressions`.
    """

    name: str
    number: str
    head: str
    arguments: tuple[str, ...] = ()
    guarded: bool = False


TORCH = Language("torch", "constant({!r}, kind, device)", "kind, device = {0}.dtype, {0}.device")
JAX = Language("jax", "jnp.asarray({!r}, kind)", "kind = {0}.dtype", ("low",), True)


def steps_source(
    programs: Mapping[str, Dynamics], surrogate: Surrogate, detach: bool | str, language: Language
) -> str:
    """Return the source of step programs by the name of their functions; see `step_source`."""
    return "\n\n\n".join(
        step_source(program, name, surrogate, detach, language)
        for name, program in programs.items()
    )


def helper_sources(programs: Iterable[Dynamics]) -> list[str]:
    """Return the functions that step programs call, as text."""
    used = {let.op for program in programs for let in program.body}
    found = function_sources(fused, {"snn_fma"}) if "fma" in used else []
    return found + (function_sources(batch, {"snn_batch_sum"}) if "batch_sum" in used else [])


def live_names(found: dict[str, Step]) -> dict[str, Any]:
    """Return what the source of step programs needs in every language when it is run.

    Args:
        found: Filled with the steps by name.
    """
    return {
        "Step": Step, "STEPS": found, "no_gradient": no_gradient, "inf": math.inf, "nan": math.nan,
        "snn_batch_sum": batch.snn_batch_sum,
    }  # fmt: skip


def step_source(
    program: Dynamics, name: str, surrogate: Surrogate, detach: bool | str, language: Language
) -> str:
    """Return the functions `NAME` and `NAME_gradient` and the `Step` that holds them.

    Rules of synapses, which have no outputs, have no gradient either. Parameters that only say
    where a lasting state starts are not among those of the `Step`.

    Args:
        program: The step program.
        name: Identifier of the functions.
        surrogate: What stands for the derivative of a spike.
        detach: Whether resets count as constants.
        language: What to write.
    """
    safe = safe_names(program)
    states = [state.name for state in safe.states]
    unread = _starts(program)
    named = zip(program.params, safe.params, strict=True)
    pairs = [(name, param) for (name, _), (param, _) in named if name not in unread]
    params = [param for _, param in pairs]
    known = [*safe.inputs, *states, *params]
    updates = dict(safe.updates)
    forward = [*(output for output, _ in safe.outputs), *(updates[state] for state in states)]
    title = plain_text(program.name)
    head = _function(safe, name, known, forward, f"One step of {title}.", language)
    gradient = "no_gradient"
    if program.outputs:
        gradient = f"{name}_gradient"
        made = adjoint(safe, surrogate, detach)
        given = [*made.outputs, *(made.updates[state] for state in states)]
        backward = [{**made.inputs, **made.states, **made.params}[name] for name in known]
        head += _function(
            made.program, gradient, known + given, backward, "Its gradient.", language
        )
    lasting = tuple(state.name for state in program.states if state.lasting)
    pooling = f"\n    lasting={lasting!a}, pooling=True," if program.is_pooling else ""
    names = [state.name for state in program.states], [name for name, _ in pairs]
    record = (
        f"STEPS[{name!r}] = Step(\n"
        f"    {name!r}, {len(program.inputs)}, {len(program.outputs)},\n"
        f"    {tuple(names[0])!a}, {tuple(names[1])!a},\n"
        f"    {name}, {gradient}, wide={program.dtype == 'f64'},{pooling}\n)"
    )
    return "\n".join([*head, "", "", record])


def _starts(program: Dynamics) -> set[str]:
    """Return the parameters that nothing but lasting states starts at."""
    read = {arg for let in program.body for arg in let.args}
    read |= {value for _, value in program.updates} | {name for name, _ in program.outputs}
    read |= {state.initial for state in program.states if not state.lasting}
    starts = {state.initial for state in program.states if state.lasting}
    return {name for name, _ in program.params if name in starts and name not in read}


def safe_names(program: Dynamics) -> Dynamics:
    """Return the program with the names that Python or the generated code uses changed."""
    return renamed(program, lambda name: f"{name}_" if name in RESERVED else name)


def _function(
    program: Dynamics, name: str, arguments: list[str], results: list[Operand], comment: str,
    language: Language,
) -> list[str]:  # fmt: skip
    printer = Expressions(program, language.name, language.number, "{!r}", language.guarded)
    printer.kept |= {str(result) for result in results}
    body = printer.statements()
    returned = ", ".join(str(result) for result in results)
    return [
        f"def {name}({', '.join([*arguments, *language.arguments])}):",
        f'    """{comment}"""',
        f"    {language.head.format(arguments[0])}",
        *(f"    {line}" for line in body),
        f"    return ({returned}{',' if len(results) == 1 else ''})",
        "",
        "",
    ]


def _needed(item: Any, value: Any) -> bool:
    """Return whether a field differs from its default."""
    default = item.default if item.default_factory is MISSING else item.default_factory()
    return bool(value != default)


def literal(value: Any, indent: int = 0) -> str:
    """Return Python source for plain data and the engine's records, in ASCII."""
    space = "    " * (indent + 1)
    if is_dataclass(value):
        parts = [
            f"{item.name}={literal(getattr(value, item.name), indent + 1)}"
            for item in fields(value)
            if _needed(item, getattr(value, item.name))
        ]
        if not isinstance(value, Model):
            return f"{type(value).__name__}({', '.join(parts)})"
        return "Model(\n" + "".join(f"{space}{part},\n" for part in parts) + ")"
    if isinstance(value, Mapping) and any(is_dataclass(v) for v in value.values()):
        lines = [f"{space}{k!a}: {literal(v)},\n" for k, v in value.items()]
        return "{\n" + "".join(lines) + "    " * indent + "}"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k!a}: {literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # the names inf and nan are imported
    return ascii(value)
