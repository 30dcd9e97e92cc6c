"""a * b + c rounded once, on arrays of NumPy, torch or JAX.

None of these libraries has the operation on every processor, so it is computed from others. All
products below are exact, therefore a compiler that merges one with the sum that reads it changes
nothing. Programs that are emitted carry these functions as text.
"""

from __future__ import annotations

from typing import Any

Array = Any


def snn_fma(a: Array, b: Array, c: Array, xp: Any) -> Array:
    """Return a * b + c rounded once, to the dtype the operands are promoted to.

    In float32 and less: a product is exact in float64, and a sum in float64 that is rounded to odd
    keeps what its rounding to any dtype of less than 51 bits needs, subnormal numbers included
    (S. Boldo and G. Melquiond, Emulation of a FMA and correctly rounded sums, IEEE Transactions on
    Computers 57, 2008). JAX must allow float64.

    Args:
        a: A factor; arrays that broadcast, of one floating dtype.
        b: The other factor.
        c: What is added.
        xp: The library: the module numpy, torch or jax.numpy.
    """
    kind = xp.promote_types(xp.promote_types(a.dtype, b.dtype), c.dtype)
    a, b, c = (_cast(x, xp.float64) for x in (a, b, c))
    if kind == xp.float64:
        return _fma64(a, b, c, xp)
    return _cast(_odd_sum(a * b, c, xp), kind)


def _cast(x: Array, kind: Any) -> Array:
    """Return an array of another dtype; torch has its own word for it."""
    return x.to(kind) if hasattr(x, "to") else x.astype(kind)


def _fma64(a: Array, b: Array, c: Array, xp: Any) -> Array:
    """Return a * b + c of float64 rounded once, for all numbers.

    The numbers are scaled until the product is near 1, so that nothing overflows and nothing is
    lost; what is much smaller than the other summand is brought nearer to it, where it still only
    decides how the sum is rounded. The sum of three is that of Boldo and Melquiond (above).
    """
    (a1, ea), (b1, eb), (c1, ec) = (_apart(x, xp) for x in (a, b, c))
    exponent = xp.maximum(ea + eb, ec - 200)
    near = xp.clip(ec - exponent, -200, 200)
    high, low = _exact_product(a1, b1, xp)
    t, u = _two_sum(c1 * _power(near, xp), low)
    v, w = _two_sum(high, t)
    total = _rounded_to(v, _odd_sum(w, u, xp), -1074 - exponent, xp)
    third = exponent // 3
    scaled = total * _power(third, xp) * _power(third, xp) * _power(exponent - 2 * third, xp)
    usual = (a1 != 0) & (b1 != 0) & (c1 != 0) & xp.isfinite(a) & xp.isfinite(b) & xp.isfinite(c)
    # The product of finite numbers is not infinite here, however large: c may be infinite alone.
    bounded = xp.isfinite(a) & xp.isfinite(b) & ~xp.isfinite(c)
    alone = (c1 == 0) & (a1 != 0) & (b1 != 0)
    plain = xp.where(bounded, c, xp.where(alone, a * b, a * b + c))
    return xp.where(usual, scaled, plain)


def _odd_sum(x: Array, y: Array, xp: Any) -> Array:
    """Return x + y of float64 rounded to odd: of two neighbours, the one whose last bit is 1."""
    total, lost = _two_sum(x, y)
    bits = total.view(xp.int64)
    even = (bits & 1) == 0
    up, down = (lost > 0) & even, (lost < 0) & even
    away, towards = xp.where(total > 0, up, down), xp.where(total > 0, down, up)
    return xp.where(away, bits + 1, xp.where(towards, bits - 1, bits)).view(xp.float64)


def _two_sum(x: Array, y: Array) -> tuple[Array, Array]:
    """Return the rounded sum of two numbers, and what rounding took from it (D. Knuth)."""
    total = x + y
    part = total - x
    return total, (x - (total - part)) + (y - part)


def _exact_product(a: Array, b: Array, xp: Any) -> tuple[Array, Array]:
    """Return a * b, rounded, and what rounding took from it; both sizes are from 1 to 2.

    Each factor is cut into a part of 26 bits and a rest of 26 bits, so that the four products, and
    the sum of the two in the middle, are exact.
    """
    (a1, a2), (b1, b2) = _halves(a, xp), _halves(b, xp)
    middle = a1 * b2 + a2 * b1
    first, rest = _two_sum(a1 * b1, middle)
    return _two_sum(first, rest + a2 * b2)


def _halves(x: Array, xp: Any) -> tuple[Array, Array]:
    """Return the nearest number of 26 bits and the rest."""
    high = ((x.view(xp.int64) + (1 << 26)) & -(1 << 27)).view(xp.float64)
    return high, x - high


def _apart(x: Array, xp: Any) -> tuple[Array, Array]:
    """Return a number with a size from 1 to 2, and the exponent it is to be scaled by.

    0 stays 0; numbers that are not finite become some number.
    """
    small = xp.abs(x) < 2.0**-1022
    bits = xp.where(small, x * 2.0**54, x).view(xp.int64)
    exponent = ((bits >> 52) & 2047) - 1023 - xp.where(small, 54, 0)
    unit = ((bits & -(2047 << 52) - 1) | (1023 << 52)).view(xp.float64)
    return xp.where(x == 0, x, unit), exponent


def _power(exponent: Array, xp: Any) -> Array:
    """Return 2 ** exponent, from -1022 to 1023."""
    return ((exponent + 1023) << 52).view(xp.float64)


def _rounded_to(v: Array, w: Array, last: Array, xp: Any) -> Array:
    """Return v + w rounded to a multiple of 2 ** last where float64 has finer numbers there.

    w is a rest that was rounded to odd. Adding a number whose unit in the last place is 2 ** last
    rounds to it; there are no finer numbers in the result of a scaling towards 0.
    """
    usual, least = v + w, _power(xp.clip(last + 52, -1022, 1023), xp)
    large = xp.copysign(least, usual)
    first, rest = _two_sum(large, v)
    found = (first + _odd_sum(rest, w, xp)) - large
    return xp.where(xp.abs(usual) >= least, usual, xp.where(found == 0, usual * 0.0, found))
