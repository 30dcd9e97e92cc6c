"""Step programs as scalar operations of MLIR."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from snnir.dynamics.program import Dynamics, Let, Operand
from snnir.dynamics.scalar import SCALAR_OPS
from snnir.targets.mlir_code.code import Code, Scalar, is_real

Values = dict[str, Scalar]


def write_program(
    code: Code, program: Dynamics, given: Mapping[str, Scalar], element: str
) -> Values:
    """Write the operations of a program, in its order, and return every value by name.

    Args:
        code: Where they go.
        program: The program.
        given: Its inputs, parameters and states.
        element: The type it computes with.
    """
    values = dict(given)
    for let in program.body:
        args = [value_of(code, values, arg, element) for arg in let.args]
        values[let.target] = write_let(code, let, args, element)
    return values


def value_of(code: Code, values: Mapping[str, Scalar], operand: Operand, element: str) -> Scalar:
    """Return an operand: a value that is there, or a constant."""
    return values[operand] if isinstance(operand, str) else code.number(operand, element)


def write_let(code: Code, let: Let, args: Sequence[Scalar], element: str) -> Scalar:
    """Write one operation and return its result.

    Args:
        code: Where it goes.
        let: The operation.
        args: Its operands.
        element: The type its program computes with.
    """
    op = SCALAR_OPS[let.op]
    if let.op in _RULES:
        return _RULES[let.op](code, element, *args)
    word = op.mlir if is_real(element) else op.mlir_whole
    made = code.scalar(f"{word} {', '.join(arg.name for arg in args)}", args[-1].element)
    return Scalar(made.name, "i1") if op.gives == "bool" else made


def _compare(code: Code, how: str, a: Scalar, b: Scalar) -> Scalar:
    return Scalar(code.scalar(f"arith.cmpf {how}, {a.name}, {b.name}", a.element).name, "i1")


def _select(code: Code, condition: Scalar, yes: Scalar, no: Scalar) -> Scalar:
    return code.scalar(f"arith.select {condition.name}, {yes.name}, {no.name}", yes.element)


def _also(code: Code, a: Scalar, b: Scalar) -> Scalar:
    return code.scalar(f"arith.andi {a.name}, {b.name}", "i1")


def _call(code: Code, word: str, x: Scalar) -> Scalar:
    return code.scalar(f"{word} {x.name}", x.element)


def _both(code: Code, word: str, a: Scalar, b: Scalar) -> Scalar:
    return code.scalar(f"{word} {a.name}, {b.name}", a.element)


def _mul(code: Code, element: str, a: Scalar, b: Scalar) -> Scalar:
    return code.product(a, b)


def _neg(code: Code, element: str, x: Scalar) -> Scalar:
    if is_real(element):
        return _call(code, "arith.negf", x)
    return _both(code, "arith.subi", code.number(0, element), x)


def _floordiv(code: Code, element: str, a: Scalar, b: Scalar) -> Scalar:
    """Return a / b rounded down, and 0 where b is 0, as NumPy does.

    Processors stop at a division by 0 and at that of the least number by -1. Samples and steps
    that only fill a call up divide by 0.
    """
    zero, one, minus = (code.number(number, element) for number in (0, 1, -1))
    is_zero, is_minus = (
        Scalar(code.scalar(f"arith.cmpi eq, {b.name}, {other.name}", element).name, "i1")
        for other in (zero, minus)
    )
    divisor = _select(code, is_zero, one, _select(code, is_minus, one, b))
    found = _both(code, "arith.floordivsi", a, divisor)
    found = _select(code, is_minus, _both(code, "arith.subi", zero, a), found)
    return _select(code, is_zero, zero, found)


def _shr(code: Code, element: str, a: Scalar, b: Scalar) -> Scalar:
    """Return a / 2^b rounded down; by the width or more, or by less than 0, only the sign stays."""
    last = code.number(int(element[1:]) - 1, element)
    return _both(code, "arith.shrsi", a, _both(code, "arith.minui", b, last))


def _not(code: Code, element: str, x: Scalar) -> Scalar:
    return code.scalar(f"arith.xori {x.name}, {code.constant('true', 'i1')}", "i1")


def _cast(code: Code, element: str, x: Scalar) -> Scalar:
    return code.cast(x, element)


def _trunc(code: Code, element: str, x: Scalar) -> Scalar:
    """Round up below zero, else down.

    IREE makes `math.trunc`, and `math.ceil` of float64, calls of a library that it does not have.
    """
    below = _compare(code, "olt", x, code.number(0.0, element))
    up = _call(code, "arith.negf", _call(code, "math.floor", _call(code, "arith.negf", x)))
    return _select(code, below, up, _call(code, "math.floor", x))


def _tanh(code: Code, element: str, x: Scalar) -> Scalar:
    """Return t / (t + 2) with t = exp(2 |x|) - 1 in float64, with the sign of x.

    The difference is computed as W. Kahan does (N. Higham, Accuracy and Stability of Numerical
    Algorithms, section 1.14.1), which keeps small numbers. IREE has no tanh of float64.
    """
    wide = code.cast(x, "f64")
    one, two = code.number(1.0, "f64"), code.number(2.0, "f64")
    twice = _both(code, "arith.mulf", _call(code, "math.absf", wide), two)
    near = _both(code, "arith.minimumf", twice, code.number(80.0, "f64"))  # beyond, it is 1
    power = _call(code, "math.exp", near)
    difference = _both(code, "arith.subf", power, one)
    ratio = _both(code, "arith.divf", near, _call(code, "math.log", power))
    exact = _both(code, "arith.mulf", difference, ratio)
    change = _select(code, _compare(code, "oeq", power, one), near, exact)
    found = _both(code, "arith.divf", change, _both(code, "arith.addf", change, two))
    return code.cast(_both(code, "math.copysign", found, wide), element)


def _pow(code: Code, element: str, a: Scalar, b: Scalar) -> Scalar:
    """Return exp(b log |a|) in float64, with the sign and the exceptions of C's `pow`.

    Compilers replace `math.powf` by the same without the exceptions, or with fewer digits.
    """
    base, exponent = code.cast(a, "f64"), code.cast(b, "f64")
    zero, one, half = (code.number(x, "f64") for x in (0.0, 1.0, 0.5))
    size = _call(code, "math.absf", base)
    scaled = _both(code, "arith.mulf", exponent, _call(code, "math.log", size))
    found = _call(code, "math.exp", scaled)
    is_number = _compare(code, "ord", exponent, exponent)
    found = _select(code, _also(code, _compare(code, "oeq", size, one), is_number), one, found)
    halved = _both(code, "arith.mulf", exponent, half)
    is_whole = _compare(code, "oeq", _call(code, "math.floor", exponent), exponent)
    is_split = _compare(code, "one", _call(code, "math.floor", halved), halved)
    odd = _both(code, "math.copysign", found, base)
    found = _select(code, _also(code, is_whole, is_split), odd, found)
    negative = _compare(code, "olt", base, zero)
    finite = _compare(code, "ogt", base, code.number(-float("inf"), "f64"))
    no_root = _also(code, _also(code, negative, finite), _not(code, element, is_whole))
    found = _select(code, no_root, code.number(float("nan"), "f64"), found)
    for value, special in ((exponent, zero), (base, one)):
        found = _select(code, _compare(code, "oeq", value, special), one, found)
    return code.cast(found, element)


#: Operations that are not one of MLIR's.
_RULES: dict[str, Callable[..., Scalar]] = {
    "cast": _cast,
    "floordiv": _floordiv,
    "mul": _mul,
    "neg": _neg,
    "not": _not,
    "pow": _pow,
    "shr": _shr,
    "tanh": _tanh,
    "trunc": _trunc,
}
