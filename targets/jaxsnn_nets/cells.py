"""Step programs as functions of JAX, for populations that jaxsnn has no module for."""

from __future__ import annotations

from collections.abc import Sequence

from snnir.dynamics.program import Dynamics, Let, Operand
from snnir.dynamics.source import Expressions, renamed
from snnir.embedding import plain_text
from snnir.network_source import RESERVED

#: Names that the generated functions use besides those of the program.
_OWN = {"above", "at_least", "states", "params", "jax", *RESERVED}


class _Spiking(Expressions):
    """Prints comparisons that become numbers as functions with a surrogate derivative."""

    def __init__(self, program: Dynamics) -> None:
        super().__init__(program, "jax", "jnp.asarray({!r}, kind)", "{!r}", guarded=True)
        self.made = {let.target: let for let in program.body}

    def expression(self, let: Let) -> tuple[str, int]:
        """Return the right side of one operation and how strongly it binds."""
        source = self.made.get(str(let.args[0])) if let.op == "cast" else None
        if source is None or source.op not in ("gt", "ge", "lt", "le"):
            return super().expression(let)
        a, b = (self.argument(arg, 10, at) for at, arg in enumerate(source.args))
        if source.op in ("lt", "le"):
            a, b = b, a
        return f"{'above' if source.op in ('gt', 'lt') else 'at_least'}({a}, {b})", 10


def cell_source(program: Dynamics, name: str) -> str:
    """Return a function (low, *inputs, states, params) -> (states, output).

    Args:
        program: A step program in float32.
        name: Identifier of the function.
    """
    safe = renamed(program, lambda given: f"{given}_" if given in _OWN else given)
    printer = _Spiking(safe)
    body = printer.statements()
    like = safe.inputs[0]
    updates = dict(safe.updates)
    pairs = zip(program.states, safe.states, strict=True)
    new = [f"{state.name!a}: {_full(updates[own.name], like)}" for state, own in pairs]
    unpack = [
        *_unpacked("states", [s.name for s in program.states], [s.name for s in safe.states]),
        *_unpacked("params", [p for p, _ in program.params], [p for p, _ in safe.params]),
    ]
    lines = [
        f"def {name}(low, {', '.join(safe.inputs)}, states, params):",
        f'    """One step of {plain_text(program.name)}."""',
        f"    kind = {like}.dtype",
        *(f"    {line}" for line in [*unpack, *body]),
        f"    return {{{', '.join(new)}}}, {_full(safe.outputs[0][0], like)}",
    ]
    return "\n".join(lines)


def _unpacked(table: str, keys: Sequence[str], names: Sequence[str]) -> list[str]:
    return [f"{name} = {table}[{key!a}]" for key, name in zip(keys, names, strict=True)]


def _full(value: Operand, like: str) -> str:
    return value if isinstance(value, str) else f"jnp.full_like({like}, {value!r})"
