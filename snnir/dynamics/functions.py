"""The functions of the dynamics language; operators of Python are the rest of it.

Each records one operation of `snnir.dynamics.scalar`, which rounds once, to the type of the program
(float32 unless the parameters are float64). A number stands for itself, a condition for 0 or 1.
"""

from __future__ import annotations

from snnir.dynamics.trace import Number, Symbol


def _record(op: str, *args: Number) -> Symbol:
    for arg in args:
        if isinstance(arg, Symbol):
            return arg.builder.apply(op, *args)
    raise TypeError(f"{op} of plain numbers: use Python's; this one is of values of a program")


def select(condition: Number, yes: Number, no: Number) -> Symbol:
    """Return `yes` where a condition holds, else `no`; both are computed, as in `numpy.where`."""
    return _record("select", condition, yes, no)


def exp(x: Number) -> Symbol:
    """Return e to the power of x, by the library of the target: the last bit may differ there."""
    return _record("exp", x)


def log(x: Number) -> Symbol:
    """Return the natural logarithm, by the library of the target as `exp` is."""
    return _record("log", x)


def tanh(x: Number) -> Symbol:
    """Return the hyperbolic tangent, by the library of the target as `exp` is."""
    return _record("tanh", x)


def sqrt(x: Number) -> Symbol:
    """Return the square root, rounded correctly; NaN below 0."""
    return _record("sqrt", x)


def fma(a: Number, b: Number, c: Number) -> Symbol:
    """Return a·b + c, rounded once; `a * b + c` rounds twice."""
    return _record("fma", a, b, c)


def floor(x: Number) -> Symbol:
    """Return the largest whole number that is not above x."""
    return _record("floor", x)


def trunc(x: Number) -> Symbol:
    """Return x without its fraction: rounded towards 0."""
    return _record("trunc", x)


def rounded(x: Number) -> Symbol:
    """Return the nearest whole number; halves go to the even one."""
    return _record("round", x)


def minimum(a: Number, b: Number) -> Symbol:
    """Return the smaller of two numbers."""
    return _record("min", a, b)


def maximum(a: Number, b: Number) -> Symbol:
    """Return the larger of two numbers."""
    return _record("max", a, b)


def batch_sum(x: Number) -> Symbol:
    """Return the sum over the samples of the batch, added in their order.

    Only for states that all samples share (`lasting`): what they hold must not differ by sample.
    """
    return _record("batch_sum", x)
