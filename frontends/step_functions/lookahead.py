"""Values of old states that go through a matrix and come back, computed one step ahead.

A cell that fires on the membrane of the last step, s = v > 1, and then updates it by what its
recurrent matrix makes of s, reads v twice with the matrix in between. The same s is v' > 1 of the
step before: it becomes a state of its own, so that neuron and recurrent edge stand apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from snnir.dynamics.scalar import SCALAR_OPS
from snnir.frontends.step_functions.paths import unique
from snnir.frontends.step_functions.simplify import readers, simplified
from snnir.frontends.step_functions.traced import Array, Equation, Leaf, Operand, Traced

#: Operations whose result is the same on every platform.
_EXACT = frozenset(SCALAR_OPS) - {"exp", "log", "tanh", "pow", "fma"}


def looked_ahead(traced: Traced) -> Traced:
    """Return an equal step in which such values are states."""
    chains = _chains(traced)
    uses = readers(traced)
    for equation in traced.equations:
        chain = chains.get(equation.result)
        if not chain or not any(not e.is_elementwise for e in uses.get(equation.result, [])):
            continue
        if _comes_back(traced, equation, chain):
            return looked_ahead(_with_state(traced, equation, chain))
    return traced


def _chains(traced: Traced) -> dict[str, list[Equation]]:
    """Return, for every result that depends on old states only, the equations it takes."""
    leaves = {leaf.name for leaf in traced.states}
    found: dict[str, list[Equation]] = {}
    for equation in traced.equations:
        if equation.op not in _EXACT or (equation.dtype == "bool" and equation.shape == ()):
            continue
        names = [name for name in equation.names if name not in traced.constants]
        if names and all(name in leaves or name in found for name in names):
            needed = {e.result for name in names for e in found.get(name, [])}
            before = [e for e in traced.equations if e.result in needed]
            found[equation.result] = [*before, equation]
    return found


def _comes_back(traced: Traced, equation: Equation, chain: list[Equation]) -> bool:
    """Whether what structural equations make of a value changes the states it was made of."""
    read = {name for e in chain for name in e.names}
    after: set[str] = set()
    for other in traced.equations:
        from_value = equation.result in other.names and not other.is_elementwise
        if from_value or after & set(other.names):
            after.add(other.result)
    return any(leaf.name in read and leaf.new in after for leaf in traced.states)


def _with_state(traced: Traced, equation: Equation, chain: list[Equation]) -> Traced:
    taken = list(traced.types())
    stem = "spikes" if equation.op == "cast" else "ahead"
    (name,) = unique([stem], taken)
    copies = unique([f"{e.result}_next" for e in chain], [*taken, name])
    new: dict[str, Operand] = {leaf.name: leaf.new for leaf in traced.states}
    new.update({e.result: copy for e, copy in zip(chain, copies, strict=True)})
    ahead = tuple(
        replace(e, result=copy, operands=tuple(_next(o, new) for o in e.operands))
        for e, copy in zip(chain, copies, strict=True)
    )
    leaf = Leaf(name, _initial(traced, chain), copies[-1], name)

    def reads_state(other: Equation) -> Equation:
        if other.is_elementwise:
            return other
        operands = tuple(name if o == equation.result else o for o in other.operands)
        return replace(other, operands=operands)

    outputs = tuple((n, name if v == equation.result else v) for n, v in traced.outputs)
    equations = tuple(reads_state(e) for e in traced.equations)
    found = replace(
        traced,
        states=(*traced.states, leaf),
        equations=(*equations, *ahead),
        outputs=outputs,
    )
    return simplified(found)


def _next(operand: Operand, new: Mapping[str, Operand]) -> Operand:
    return new.get(operand, operand) if isinstance(operand, str) else operand


def _initial(traced: Traced, chain: list[Equation]) -> Array:
    """Return the value before the first step."""
    env: dict[str, Any] = dict(traced.constants)
    env.update({leaf.name: leaf.initial for leaf in traced.states})

    def value(operand: Operand, dtype: Any) -> Any:
        found = env[operand] if isinstance(operand, str) else operand
        return np.asarray(found) if dtype is bool else np.asarray(found, np.float32)

    with np.errstate(all="ignore"):
        for e in chain:
            op = SCALAR_OPS[e.op]
            if e.op == "cast":
                result = value(e.operands[0], bool).astype(np.float32)
            elif e.op == "select":
                given = [value(o, np.float32) for o in e.operands[1:]]
                result = np.where(value(e.operands[0], bool), *given)
            else:
                kind = bool if op.takes == "bool" else np.float32
                result = op.numpy(*(value(o, kind) for o in e.operands))
            env[e.result] = np.broadcast_to(result, e.shape)
    found = np.array(env[chain[-1].result])
    return found if found.dtype.kind == "b" else found.astype(np.float32)
