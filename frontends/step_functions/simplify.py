"""Rewriting a traced step, value for value, so that neurons can be seen in it.

Nothing here changes a bit of any result.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from snnir.frontends.step_functions.traced import Array, Equation, Operand, Shape, Traced

#: x - c is 0 only where x is c for constants of at least this size, even where subnormal numbers
#: are flushed to zero: neighbours of c are further apart than the smallest normal number.
_SAFE = 2.0**-100


def simplified(traced: Traced, compare: bool = True) -> Traced:
    """Return an equal step without detours.

    Equal constants and equal equations are joined, chains of reshapes shortened, what is never
    used dropped; a choice between 1 and 0 becomes a cast, x * 1 becomes x and, with `compare`,
    (x - c) > 0 becomes x > c.
    """
    found = _fixed_states(_same_constants(traced))
    while True:
        before = len(found.equations), found.equations
        found = _alive(_rewritten(found, compare))
        if (len(found.equations), found.equations) == before:
            return found


def readers(traced: Traced) -> dict[str, list[Equation]]:
    """Return the equations that read each name."""
    found: dict[str, list[Equation]] = {}
    for equation in traced.equations:
        for name in dict.fromkeys(equation.names):
            found.setdefault(name, []).append(equation)
    return found


def results(traced: Traced) -> list[Operand]:
    """Return everything the step gives: new states and outputs."""
    return [*(leaf.new for leaf in traced.states), *(value for _, value in traced.outputs)]


def rename(traced: Traced, names: Mapping[str, Operand]) -> Traced:
    """Return the step with operands replaced everywhere."""

    def new(value: Operand) -> Operand:
        while isinstance(value, str) and value in names:
            value = names[value]
        return value

    return replace(
        traced,
        equations=tuple(
            replace(e, operands=tuple(new(o) for o in e.operands)) for e in traced.equations
        ),
        states=tuple(replace(leaf, new=new(leaf.new)) for leaf in traced.states),
        outputs=tuple((name, new(value)) for name, value in traced.outputs),
    )


def _same_constants(traced: Traced) -> Traced:
    """Join constants of the same bits and label."""
    first: dict[tuple[object, ...], str] = {}
    names: dict[str, Operand] = {}
    for name, array in traced.constants.items():
        label = traced.labels.get(name, "")
        key = (label, str(array.dtype), array.shape, np.ascontiguousarray(array).tobytes())
        known = first.setdefault(key, name)
        if known != name:
            names[name] = known
    found = rename(traced, names)
    equations = tuple(_renamed_attributes(e, names) for e in found.equations)
    constants = {n: a for n, a in traced.constants.items() if n not in names}
    return replace(found, equations=equations, constants=constants)


def _renamed_attributes(equation: Equation, names: Mapping[str, Operand]) -> Equation:
    changed = {
        key: names[value]
        for key, value in equation.attributes.items()
        if key in ("weight", "bias") and value in names
    }
    if not changed:
        return equation
    return replace(equation, attributes={**equation.attributes, **changed})


def _fixed_states(traced: Traced) -> Traced:
    """Make a state that is never changed a constant."""
    fixed = [leaf for leaf in traced.states if leaf.new == leaf.name]
    if not fixed:
        return traced
    constants = dict(traced.constants)
    labels = dict(traced.labels)
    for leaf in fixed:
        array = leaf.initial
        constants[leaf.name] = array.astype(np.float32) if array.dtype.kind != "b" else array
        labels[leaf.name] = leaf.path or leaf.name
    states = tuple(leaf for leaf in traced.states if leaf.new != leaf.name)
    return replace(traced, states=states, constants=constants, labels=labels)


def _alive(traced: Traced) -> Traced:
    """Drop equations and constants that nothing needs."""
    needed = {value for value in results(traced) if isinstance(value, str)}
    kept: list[Equation] = []
    for equation in reversed(traced.equations):
        if equation.result in needed:
            kept.append(equation)
            needed.update(equation.names)
            needed.update(
                equation.attributes[k] for k in ("weight", "bias") if k in equation.attributes
            )
    constants = {name: a for name, a in traced.constants.items() if name in needed}
    return replace(traced, equations=tuple(reversed(kept)), constants=constants)


def _rewritten(traced: Traced, compare: bool) -> Traced:
    """Apply every rule once, in order of flow."""
    known: dict[str, Equation] = {}
    seen: dict[tuple[object, ...], str] = {}
    names: dict[str, Operand] = {}
    types = traced.types()
    kept: list[Equation] = []
    uses = readers(traced)
    outside = results(traced)
    for old in traced.equations:
        given = replace(old, operands=tuple(_final(o, names) for o in old.operands))
        ruled = _rule(given, known, traced.constants, compare)
        key = _key(ruled)
        same = _identity(ruled, types) or _part(ruled, known, types) or seen.get(key)
        if same is not None:
            names[old.result] = same
            continue
        new = _with_bias(ruled, known, traced, uses, outside) or ruled
        seen[key] = new.result
        known[new.result] = new
        kept.append(new)
    return rename(replace(traced, equations=tuple(kept)), names)


def _final(value: Operand, names: Mapping[str, Operand]) -> Operand:
    while isinstance(value, str) and value in names:
        value = names[value]
    return value


def _key(equation: Equation) -> tuple[object, ...]:
    attributes = tuple(sorted((k, repr(v)) for k, v in equation.attributes.items()))
    operands = tuple(
        o if isinstance(o, str) else np.float32(o).tobytes() for o in equation.operands
    )
    return (equation.op, operands, equation.shape, equation.dtype, attributes)


def _identity(equation: Equation, types: Mapping[str, tuple[Shape, str]]) -> str | None:
    """Return the operand an equation only repeats."""
    if equation.op in ("reshape", "concat", "broadcast") and len(equation.operands) == 1:
        name = equation.names[0]
        if types[name][0] == equation.shape:
            return name
    if equation.op == "mul" and 1.0 in equation.operands:
        name = next((o for o in equation.operands if isinstance(o, str)), "")
        if types.get(name) == (equation.shape, equation.dtype):
            return name
    return None


def _part(
    equation: Equation, known: Mapping[str, Equation], types: Mapping[str, tuple[Shape, str]]
) -> str | None:
    """Return the operand of a `concat` that a slice of it is."""
    joined = known.get(equation.names[0]) if equation.op == "slice" else None
    if joined is None or joined.op != "concat":
        return None
    given, axis, start = equation.attributes, joined.attributes["axis"], 0
    for name in joined.names:
        stop = start + types[name][0][axis]
        if (given["axis"], given["start"], given["stop"]) == (axis, start, stop):
            return name
        start = stop
    return None


def _rule(
    equation: Equation,
    known: Mapping[str, Equation],
    constants: Mapping[str, Array],
    compare: bool,
) -> Equation:
    if equation.op == "reshape":
        inner = known.get(equation.names[0])
        if inner is not None and inner.op == "reshape":
            return replace(equation, operands=inner.operands)
    if equation.op == "select":
        return _cast(equation)
    if compare and equation.op in ("gt", "ge", "lt", "le") and equation.operands[1] == 0.0:
        return _compared(equation, known, constants)
    return equation


def _cast(equation: Equation) -> Equation:
    which, yes, no = equation.operands
    if (yes, no) == (1.0, 0.0) and not np.signbit(no):
        return replace(equation, op="cast", operands=(which,))
    return equation


def _compared(
    equation: Equation, known: Mapping[str, Equation], constants: Mapping[str, Array]
) -> Equation:
    """Compare x with c instead of x - c with 0."""
    first = equation.operands[0]
    inner = known.get(first) if isinstance(first, str) else None
    if inner is None or inner.op != "sub" or inner.dtype != "float":
        return equation
    if max(_smallest(operand, constants) for operand in inner.operands) < _SAFE:
        return equation
    return replace(equation, operands=inner.operands)


def _smallest(operand: Operand, constants: Mapping[str, Array]) -> float:
    """Return the smallest size of a constant's elements, 0 for what is not constant."""
    if not isinstance(operand, str):
        return abs(operand) if np.isfinite(operand) else 0.0
    array = constants.get(operand)
    if array is None or not np.isfinite(array).all():
        return 0.0
    return float(np.abs(array).min(initial=np.inf))


def _with_bias(
    equation: Equation,
    known: Mapping[str, Equation],
    traced: Traced,
    uses: Mapping[str, list[Equation]],
    outside: list[Operand],
) -> Equation | None:
    """Return a product with a constant added to it as one equation with a bias."""
    if equation.op != "add":
        return None
    for given, added in (equation.operands, equation.operands[::-1]):
        product = known.get(given) if isinstance(given, str) else None
        if product is None or product.op != "linear":
            continue
        alone = len(uses.get(product.result, [])) == 1 and product.result not in outside
        if not alone or "bias" in product.attributes or not isinstance(added, str):
            continue
        array = traced.constants.get(added)
        rows = len(traced.constants[product.attributes["weight"]])
        if array is None or array.shape != (rows,):
            continue
        attributes = {**product.attributes, "bias": added}
        return replace(product, result=equation.result, attributes=attributes)
    return None
