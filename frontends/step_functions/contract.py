"""The roundings that XLA's CPU compiler leaves out, written as operations.

A jaxpr states single operations. Compiled for a CPU, a product that is added becomes one fused
multiply-add (LLVM contracts it wherever the product has no other use), a division by a constant
a product with its reciprocal, and two constants in a row are joined first. What was found by
running XLA of JAX 0.10 on x86-64; whether a step function does so is tried on a run of it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from snnir.frontends.step_functions.simplify import readers, results, simplified
from snnir.frontends.step_functions.traced import Array, Equation, Operand, Traced

#: Ways of rounding: as written; with products of one use contracted; with products contracted
#: wherever all their uses are sums, as where XLA computes them anew for every result.
VARIANTS = ("none", "xla-cpu", "xla-cpu-shared")


def contracted(traced: Traced, variant: str) -> Traced:
    """Return the step as one of `VARIANTS` rounds."""
    if variant == "none":
        return traced
    traced = simplified(_Constants(simplified(traced, compare=False)).run(), compare=False)
    return _Fused(traced, shared=variant == "xla-cpu-shared").run()


class _Constants:
    """Divisions by constants, and constants in a row."""

    def __init__(self, traced: Traced) -> None:
        self.traced = traced
        self.constants: dict[str, Array] = dict(traced.constants)
        self.labels = dict(traced.labels)
        self.known: dict[str, Equation] = {}

    def run(self) -> Traced:
        equations = tuple(self._equation(e) for e in self.traced.equations)
        return replace(
            self.traced, equations=equations, constants=self.constants, labels=self.labels
        )

    def _value(self, operand: Operand) -> Array | None:
        if not isinstance(operand, str):
            return np.asarray(operand, np.float32)
        found = self.constants.get(operand)
        return None if found is None else np.asarray(found, np.float32)

    def _constant(self, value: Array, like: Operand) -> Operand:
        if value.ndim == 0 and not isinstance(like, str):
            return float(value)
        name = f"k{len(self.constants)}_folded"
        self.constants[name] = np.asarray(value, np.float32)
        self.labels[name] = self.labels.get(like, "") if isinstance(like, str) else ""
        return name

    def _equation(self, equation: Equation) -> Equation:
        if equation.dtype == "float":
            if equation.op == "div":
                equation = self._product(equation)
            if equation.op in ("add", "sub", "mul"):
                equation = self._joined(equation)
        self.known[equation.result] = equation
        return equation

    def _product(self, equation: Equation) -> Equation:
        x, by = equation.operands
        value = self._value(by)
        if value is None or self._value(x) is not None:
            return equation
        with np.errstate(all="ignore"):
            inverse = np.float32(1.0) / value
        return replace(equation, op="mul", operands=(x, self._constant(inverse, by)))

    def _joined(self, equation: Equation) -> Equation:
        """(x o a) o b is x o (a o b) for constants a and b."""
        found = self._split(equation)
        inner = self.known.get(found[0]) if found is not None else None
        if found is None or inner is None or inner.dtype != "float":
            return equation
        first = self._split(inner)
        if first is None or (inner.op == "mul") != (equation.op == "mul"):
            return equation
        one, other = first[1], found[1]
        total = one * other if equation.op == "mul" else one + other
        like = next((o for o in (*equation.operands, *inner.operands) if o in self.constants), 0.0)
        op = "mul" if equation.op == "mul" else "add"
        operands = (first[0], self._constant(np.asarray(total, np.float32), like))
        return replace(equation, op=op, operands=operands)

    def _split(self, equation: Equation) -> tuple[str, Array] | None:
        """Return stream and constant of x * c, x + c or x - c (as its negative)."""
        if equation.op not in ("add", "sub", "mul"):
            return None
        a, b = equation.operands
        left, right = self._value(a), self._value(b)
        if left is None and right is not None and isinstance(a, str):
            return a, (-right if equation.op == "sub" else right)
        if right is None and left is not None and isinstance(b, str) and equation.op != "sub":
            return b, left
        return None


class _Ranks:
    """The order in which LLVM's reassociation puts the operands of a sum.

    What is loaded ranks in the order in which XLA's code for a result comes to it, an operation
    one above its operands, a negation as its operand, constants lowest. Of two products that are
    added, the one that ranks lower is contracted.
    """

    def __init__(self, traced: Traced) -> None:
        self.known = {e.result: e for e in traced.equations if e.is_elementwise}
        self.scalars = {n for n, array in traced.constants.items() if array.ndim == 0}
        self.by_equation: dict[str, dict[str, int]] = {}
        moved = [o for e in traced.equations if not e.is_elementwise for o in e.operands]
        for root in (*results(traced), *moved):
            if isinstance(root, str):
                ranks = self.of(root)
                for name in ranks:
                    self.by_equation.setdefault(name, ranks)

    def of(self, root: str) -> dict[str, int]:
        """Return the rank of everything that one result is made of."""
        ranks: dict[str, int] = dict.fromkeys(self.scalars, 0)
        loads, todo = 0, [root]
        while todo:
            name = todo[-1]
            equation = self.known.get(name)
            names = equation.names if equation is not None else ()
            waiting = [n for n in names if n not in ranks]
            if name not in ranks and waiting:
                todo += reversed(waiting)
                continue
            todo.pop()
            if name in ranks:
                continue
            if equation is None:
                loads += 1
                ranks[name] = loads
            else:
                above = max((ranks[n] for n in names), default=0)
                ranks[name] = above if equation.op == "neg" else above + 1
        return ranks

    def swaps(self, equation: Equation) -> bool:
        """Whether the operands of a sum change places."""
        ranks = self.by_equation.get(equation.result, {})
        a, b = (ranks.get(o, 0) if isinstance(o, str) else 0 for o in equation.operands)
        return b <= a


class _Fused:
    """Products that are added, as one operation."""

    def __init__(self, traced: Traced, shared: bool) -> None:
        self.traced, self.shared = traced, shared
        self.uses = readers(traced)
        self.given = {value for value in results(traced) if isinstance(value, str)}
        self.known = {e.result: e for e in traced.equations}
        self.fresh: list[Equation] = []
        self.ranks = _Ranks(traced)

    def run(self) -> Traced:
        found: list[Equation] = []
        for equation in self.traced.equations:
            self.fresh = []
            new = self._equation(equation)
            found += [*self.fresh, new]
        return simplified(replace(self.traced, equations=tuple(found)))

    def _equation(self, equation: Equation) -> Equation:
        if equation.dtype != "float" or equation.op not in ("add", "sub"):
            return equation
        a, b = equation.operands
        if equation.op == "add" and self.ranks.swaps(equation):
            a, b = b, a
        first, second = self._product(a, equation), self._product(b, equation)
        if first is not None:
            added = self._negated(b, equation) if equation.op == "sub" else b
            return replace(equation, op="fma", operands=(*first, added))
        if second is not None:
            one, other = second
            if equation.op == "sub":
                one = self._negated(one, equation)
            return replace(equation, op="fma", operands=(one, other, a))
        return equation

    def _product(self, operand: Operand, user: Equation) -> tuple[Operand, Operand] | None:
        """Return the factors of a product that is contracted into the sum that uses it."""
        product = self.known.get(operand) if isinstance(operand, str) else None
        if product is None or product.dtype != "float" or not self._may(product, user):
            return None
        if product.op == "neg":
            inner = self._product(product.operands[0], product)
            return None if inner is None else (self._negated(inner[0], user), inner[1])
        if product.op != "mul":
            return None
        one, other = product.operands
        return one, other

    def _may(self, product: Equation, user: Equation) -> bool:
        users = self.uses.get(product.result, [])
        if self.shared:
            return all(e.op in ("add", "sub", "neg") for e in users)
        if product.result in self.given:
            return False
        reads = sum(e.operands.count(product.result) for e in users)
        return reads == 1

    def _negated(self, operand: Operand, like: Equation) -> Operand:
        """Return the negative of an operand; of a constant, another constant."""
        if not isinstance(operand, str):
            return -operand
        name = f"{like.result}_minus"
        where, what = like.where, like.what
        self.fresh.append(Equation("neg", (operand,), name, like.shape, where=where, what=what))
        return name
