"""Printing step programs as statements of an array language."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from snnir.dynamics.program import Dynamics, Let, Operand, State
from snnir.dynamics.scalar import SCALAR_OPS


class Expressions:
    """Prints lets, folding those used once into their user; the order of rounding stays.

    Args:
        program: The program.
        language: Which format of `ScalarOp` to print: `python` (NumPy), `torch` or `jax`.
        number: Format of a literal where an array is needed.
        plain: Format of a literal beside an operator; the same by default.
        guarded: Write products and quotients as `mul(a, b, low)`, `div(a, b, low)`, for compilers
            that would change how they round, and what is rounded once as `fma(a, b, c)`.
    """

    def __init__(
        self, program: Dynamics, language: str, number: str, plain: str | None = None,
        guarded: bool = False,
    ) -> None:  # fmt: skip
        self.program, self.language, self.guarded = program, language, guarded
        self.number, self.plain = number, plain or number
        self.uses: dict[str, int] = {}
        for let in program.body:
            for arg in let.args:
                if isinstance(arg, str):
                    self.uses[arg] = self.uses.get(arg, 0) + 1
        self.kept = {str(value) for _, value in program.updates}
        self.kept |= {name for name, _ in program.outputs}
        self.folded: dict[str, tuple[str, int]] = {}

    def statements(self) -> list[str]:
        """Return one assignment per operation that is not folded."""
        return [line for let in self.program.body if (line := self.statement(let))]

    def statement(self, let: Let) -> str:
        """Return the assignment of one operation, nothing if it is folded into its user."""
        text, precedence = self.expression(let)
        named = not re.fullmatch(r"t\d+", let.target)
        if self.uses.get(let.target, 0) == 1 and let.target not in self.kept and not named:
            self.folded[let.target] = (text, precedence)
            return ""
        return f"{let.target} = {text}"

    def expression(self, let: Let) -> tuple[str, int]:
        """Return the right side of one operation and how strongly it binds."""
        op = SCALAR_OPS[let.op]
        form = (self.language != "python" and getattr(op, self.language)) or op.python
        is_method = form.startswith("{0}.")
        args = [
            self.argument(arg, op.precedence, i, is_method, let.op)
            for i, arg in enumerate(let.args)
        ]
        text = form.replace("dtype", "kind").format(*args)
        if self.guarded and let.op in ("mul", "div"):
            return f"{let.op}({args[0]}, {args[1]}, low)", 10
        if self.guarded and let.op == "fma":
            return f"fma({', '.join(args)})", 10
        return text, op.precedence

    def argument(
        self, arg: str | float, precedence: int, index: int, is_method: bool = False, op: str = ""
    ) -> str:
        """Return an operand with the parentheses it needs; arguments of a call need none."""
        if self.guarded and op in ("mul", "div"):
            precedence = 10
        if self.guarded and op in ("add", "sub") and not isinstance(arg, str):
            return f"guard({self.number.format(arg)}, low)"  # or constants would be added up first
        if not isinstance(arg, str):
            return self.plain.format(arg) if precedence < 10 else self.value(arg)
        text, inner = self.folded.get(arg, (arg, 11))
        # The right operand of equal strength keeps its parentheses: order is meaning.
        weaker = inner < precedence or (inner == precedence and index > 0)
        needs = is_method or (weaker and precedence < 10)
        return f"({text})" if needs and inner < 10 else text

    def value(self, arg: str | float) -> str:
        """Return a name, or a literal."""
        return arg if isinstance(arg, str) else self.number.format(arg)


def renamed(program: Dynamics, rename: Callable[[str], str]) -> Dynamics:
    """Return the same program under other names.

    Args:
        program: The program.
        rename: Old to new name; two names that become one are kept apart.
    """
    taken: set[str] = set()
    table: dict[str, str] = {}
    defined = [*program.inputs, *(name for name, _ in program.params)]
    defined += [state.name for state in program.states]
    for name in [*defined, *(let.target for let in program.body)]:
        new = rename(name)
        while new in taken:
            new += "_"
        taken.add(new)
        table[name] = new

    def operand(value: Operand) -> Operand:
        return table[value] if isinstance(value, str) else value

    return replace(
        program,
        inputs=tuple(table[name] for name in program.inputs),
        params=tuple((table[name], unit) for name, unit in program.params),
        states=tuple(State(table[s.name], operand(s.initial), s.lasting) for s in program.states),
        body=tuple(
            Let(table[let.target], let.op, tuple(operand(arg) for arg in let.args))
            for let in program.body
        ),
        updates=tuple((table[name], operand(value)) for name, value in program.updates),
        outputs=tuple((table[name], kind) for name, kind in program.outputs),
    )
