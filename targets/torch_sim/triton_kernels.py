"""Scans of step programs as Triton kernels, forward and backward, for GPUs.

Each lane is one neuron of one sample and goes through time by itself. Launched with
`enable_fp_fusion=False`, so that products and sums round apart as everywhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from snnir.dynamics.adjoint import adjoint
from snnir.dynamics.program import Dynamics, Operand, only
from snnir.dynamics.scalar import SCALAR_OPS
from snnir.dynamics.source import renamed
from snnir.dynamics.surrogate import Surrogate

HEAD = '''\
"""Scans of a spiking network for GPUs, written by snnir. Needs triton."""

import triton
import triton.language as tl


@triton.jit
def minimum(a, b):
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def maximum(a, b):
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def trunc(x):
    return tl.where(x < 0.0, tl.ceil(x), tl.floor(x))


@triton.jit
def rint(x):
    below = tl.floor(x)
    rest = x - below
    half = below * 0.5
    even = tl.where(half == tl.floor(half), below, below + 1.0)
    return tl.where(rest < 0.5, below, tl.where(rest > 0.5, below + 1.0, even))


@triton.jit
def tanh(x):
    small = tl.exp(-2.0 * tl.abs(x))
    size = tl.div_rn(1.0 - small, 1.0 + small)
    return tl.where(x < 0.0, -size, size)
'''


def triton_source(
    programs: Mapping[str, Dynamics], surrogate: Surrogate, detach: bool | str
) -> str:
    """Return the kernels of all programs that Triton can express.

    Args:
        programs: Step programs by the name of their functions.
        surrogate: What stands for the derivative of a spike.
        detach: Whether resets count as constants.
    """
    parts = [HEAD]
    for name, program in programs.items():
        if fits(program) and fits(adjoint(program, surrogate, detach).program):
            safe = renamed(program, lambda word: "v_" + _ascii(word))
            parts += [_forward(safe, name), _backward(safe, name, surrogate, detach)]
    return "\n\n".join(parts)


def fits(program: Dynamics) -> bool:
    """Return whether every operation has a Triton form."""
    return program.dtype == "f32" and all(SCALAR_OPS[let.op].triton != "-" for let in program.body)


def _ascii(word: str) -> str:
    return "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in word)


def _operand(value: Operand) -> str:
    if isinstance(value, str):
        return value
    return repr(value) if math.isfinite(value) else f'float("{value}")'


def _statements(program: Dynamics) -> list[str]:
    lines = []
    for let in program.body:
        op = SCALAR_OPS[let.op]
        # Calls take blocks; operators also take numbers.
        show = _full if op.triton else _operand
        text = (op.triton or op.python).format(*(show(arg) for arg in let.args))
        lines.append(f"{let.target} = {text}")
    return lines


def _pointers(stem: str, count: int) -> list[str]:
    return [f"{stem}{k}" for k in range(count)]


def _load(name: str, pointer: str, at: str) -> str:
    return f"{name} = tl.load({pointer} + {at}, mask=here, other=0.0)"


def _store(pointer: str, at: str, value: Operand) -> str:
    text = _operand(value)
    if not isinstance(value, str):
        text = f"tl.full([BLOCK], {text}, tl.float32)"
    return f"tl.store({pointer} + {at}, {text}, mask=here)"


def _kernel(name: str, pointers: list[str], flags: list[str], body: list[str]) -> str:
    arguments = [
        *pointers,
        "steps",
        "lanes",
        "neurons",
        *(f"{flag}: tl.constexpr" for flag in flags),
    ]
    lines = [
        "@triton.jit",
        f"def {name}({', '.join([*arguments, 'BLOCK: tl.constexpr'])}):",
        "    lane = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)",
        "    here = lane < lanes",
        "    neuron = lane % neurons",
        *(f"    {line}" for line in body),
        "",
    ]
    return "\n".join(lines)


def _params(program: Dynamics) -> list[str]:
    return [_load(p, f"p{k}", f"neuron * EACH{k}") for k, (p, _) in enumerate(program.params)]


def _forward(program: Dynamics, name: str) -> str:
    states = [state.name for state in program.states]
    updates = dict(program.updates)
    counts = len(program.inputs), len(program.outputs), len(states), len(program.params)
    pointers = [p for stem, n in zip("xysp", counts, strict=True) for p in _pointers(stem, n)]
    step = [
        *(_load(x, f"x{k}", "at") for k, x in enumerate(program.inputs)),
        *(f"if KEEP:\n            {_store(f'h{k}', 'at', s)}" for k, s in enumerate(states)),
        *_statements(program),
        *(_store(f"y{k}", "at", y) for k, (y, _) in enumerate(program.outputs)),
        *(f"{s}_after = {_full(updates[s])}" for s in states),
        *(f"{s} = {s}_after" for s in states),
        "at += lanes",
    ]
    body = [
        *_params(program),
        *(_load(s, f"s{k}", "lane") for k, s in enumerate(states)),
        "at = lane",
        "for t in range(steps):",
        *(f"    {line}" for line in step),
        *(_store(f"s{k}", "lane", s) for k, s in enumerate(states)),
    ]
    flags = ["KEEP", *(f"EACH{k}" for k in range(counts[3]))]
    return _kernel(f"{name}_scan", [*pointers, *_pointers("h", counts[2])], flags, body)


def _full(value: Operand) -> str:
    return value if isinstance(value, str) else f"tl.full([BLOCK], {_operand(value)}, tl.float32)"


def _backward(program: Dynamics, name: str, surrogate: Surrogate, detach: bool | str) -> str:
    made = adjoint(program, surrogate, detach)
    states = [state.name for state in program.states]
    params = [param for param, _ in program.params]
    counts = len(program.inputs), len(states), len(params)
    results = [*made.inputs.values(), *made.states.values(), *made.params.values()]
    live = only(made.program, results)
    given = [made.updates[s] for s in states]
    step = [
        *(_load(x, f"x{k}", "at") for k, x in enumerate(program.inputs)),
        *(_load(s, f"h{k}", "at") for k, s in enumerate(states)),
        *(_load(g, f"gy{k}", "at") for k, g in enumerate(made.outputs)),
        *_statements(live),
        *(_store(f"gx{k}", "at", made.inputs[x]) for k, x in enumerate(program.inputs)),
        *(f"total{k} += {_full(made.params[p])}" for k, p in enumerate(params)),
        *(f"{g}_before = {_full(made.states[s])}" for g, s in zip(given, states, strict=True)),
        *(f"{g} = {g}_before" for g in given),
        "at -= lanes",
    ]
    body = [
        *_params(program),
        *(_load(g, f"gs{k}", "lane") for k, g in enumerate(given)),
        *(f"total{k} = tl.zeros([BLOCK], tl.float32)" for k in range(counts[2])),
        "at = lane + (tl.zeros([BLOCK], tl.int64) + (steps - 1)) * lanes",
        "for t in range(steps):",
        *(f"    {line}" for line in step),
        *(_store(f"gs{k}", "lane", g) for k, g in enumerate(given)),
        *(_store(f"gp{k}", "lane", f"total{k}") for k in range(counts[2])),
    ]
    stems = [("x", counts[0]), ("h", counts[1]), ("p", counts[2]), ("gy", len(made.outputs))]
    stems += [("gx", counts[0]), ("gs", counts[1]), ("gp", counts[2])]
    pointers = [p for stem, n in stems for p in _pointers(stem, n)]
    return _kernel(f"{name}_back", pointers, [f"EACH{k}" for k in range(counts[2])], body)
