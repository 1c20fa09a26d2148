"""log, log2, log10, log1p, asinh, acosh, atanh on SIMD lanes.

In and out: `Real` lanes, f32 or f64, over the whole range, subnormals included. All rest on
x = 2^k·(1 + f), √½ ≤ 1 + f < √2, and log(1 + f) = f + a small tail; k·log(2) + f is summed in
two words (Tang, "Table-driven implementation of the logarithm function", 1990, without the table).
"""

from __future__ import annotations

from collections.abc import Mapping

from .lanes import Integer, Real, choose
from .mathlib_coefficients import (
    LN2_SHORT,
    LOG,
    LOG2_E,
    LOG10_2_SHORT,
    LOG10_E,
    LOG_ATANH,
)

#: The result's own value for positive numbers; NaN for NaN and below 0, -∞ at 0, ∞ at ∞.
_SPECIAL = 0x03530422

ONE_AND_ZERO = {32: (1.0, 0.0), 64: (1.0, 0.0)}


def fast_two_sum(a: Real, b: Real) -> tuple[Real, Real]:
    """a + b = s + e exactly, for |a| ≥ |b| or a = 0 (Dekker, 1971)."""
    s = a + b
    return s, (a - s) + b


def split_exponent(x: Real) -> tuple[Integer, Real]:
    """(k, f) with x = 2^k·(1 + f), √½ ≤ 1 + f < √2, for finite x > 0."""
    tiny = x < 2.0 ** (1 - x.bias)
    shift = x.mantissa + 2
    bits = choose(tiny, x * 2.0**shift, x).as_bits()
    root_half = x.of(0.5**0.5).as_bits()
    offset = bits - root_half
    k = offset >> x.mantissa
    mantissa = ((offset & ((1 << x.mantissa) - 1)) + root_half).bits_as_real()
    return choose(tiny, k - shift, k), mantissa - 1.0


def split(x: Real) -> tuple[Real, Real]:
    """`split_exponent` with k as a real; where x is not finite and positive, of any value."""
    parts = x.exponent_and_mantissa()
    if parts is None:
        k, f = split_exponent(x)
        return k.to_real(), f
    n, m = parts
    upper = m >= x.of(0.5**0.5) * 2.0
    return choose(upper, n + 1.0, n), choose(upper, m * 0.5, m) - 1.0


def add_tail(f: Real, scale: float, term: Real) -> Real:
    """term + scale·(log(1 + f) - f) for √½ ≤ 1 + f ≤ √2.

    f32: f²·q(f). f64: s·(f²/2 + R) - f²/2 with s = f/(2 + f), R from 2·atanh(s) (as in fdlibm).
    """
    if f.bits == 32:
        square = f * f
        if scale == 1.0:
            return square.times_plus(f.polynomial_by_halves(square, LOG), term)
        return (square * scale).times_plus(f.polynomial(LOG), term)
    s = f / (f + 2.0)
    z = s * s
    half_square = f * f * 0.5
    tail = s.times_plus(z.times_plus(z.polynomial(LOG_ATANH), half_square), -half_square)
    return term + tail if scale == 1.0 else tail.times_plus(scale, term)


def assemble(n: Real, f: Real, f_low: Real | None) -> Real:
    """log(2^n·(1 + f + f_low)), |f_low| at most an ulp of 1 + f."""
    high, low = f.words(LN2_SHORT)
    total = n.times_plus(high, f)  # n·high is exact, so that this is Dekker's sum
    error = n.times_plus(high, -total) + f
    if f_low is not None:
        error = error + f_low.times_plus(-f, f_low)
    return total + add_tail(f, 1.0, n.times_plus(low, error))


def with_special_values(x: Real, result: Real) -> Real:
    """log's values at 0, below it, at infinity and NaN."""
    replaced = result.replaced(x, _SPECIAL)
    if replaced is not None:
        return replaced
    result = choose(x < x.of(float("inf")), result, x)
    result = choose(x.equals(0.0), x.of(float("-inf")), result)
    return choose(x < 0.0, x.of(float("nan")), result)


def log(x: Real) -> Real:
    """k·log(2) + f + (log(1 + f) - f)."""
    return with_special_values(x, assemble(*split(x), None))


def log_to_base(
    x: Real, scale: Mapping[int, tuple[float, ...]], unit: Mapping[int, tuple[float, ...]]
) -> Real:
    """k·unit + log(1 + f)·scale; unit is log(2) and scale log(e) in the base, in two words."""
    n, f = split(x)
    scale_high, scale_low = x.words(scale)
    unit_high, unit_low = x.words(unit)
    product = f * scale_high
    product_low = f.times_plus(scale_low, f.times_plus(scale_high, -product))
    total, error = fast_two_sum(n * unit_high, product)
    error = error + product_low
    if unit_low != 0.0:
        error = n.times_plus(unit_low, error)
    return with_special_values(x, total + add_tail(f, scale_high, error))


def log2(x: Real) -> Real:
    """k + log(1 + f)·log2(e)."""
    return log_to_base(x, LOG2_E, ONE_AND_ZERO)


def log10(x: Real) -> Real:
    """k·log10(2) + log(1 + f)·log10(e)."""
    return log_to_base(x, LOG10_E, LOG10_2_SHORT)


def log_of_one_plus(y: Real, y_low: Real | None, extra: Integer | None = None) -> Real:
    """log(1 + y + y_low) + extra·log(2), for finite y > -1."""
    u = y + 1.0
    # What the sum dropped is exact where it matters: below 2^mantissa.
    dropped = y - (u - 1.0)
    if y_low is not None:
        dropped = dropped + y_low
    k, f = split_exponent(u)
    # 2^-k, and 0 where k is so large that nothing was dropped.
    down = ((y.bias - k).at_least(0) << y.mantissa).bits_as_real()
    f, f_low = fast_two_sum(f, dropped * down)
    return assemble((k if extra is None else k + extra).to_real(), f, f_low)


def log1p(x: Real) -> Real:
    """log(u)'s parts at u = 1 + x, the rounding error of that sum added to f."""
    result = choose(x.equals(0.0), x, log_of_one_plus(x, None))
    result = choose(x < x.of(float("inf")), result, x)
    result = choose(x.equals(-1.0), x.of(float("-inf")), result)
    return choose(x < -1.0, x.of(float("nan")), result)


def asinh(x: Real) -> Real:
    """log1p(a + a²/(1 + √(1 + a²))) at a = |x|, log(a) + log(2) for large a; with x's sign."""
    a = x.absolute()
    large = a > x.either(2.0**30, 2.0**60)
    square = a * a
    y, y_low = fast_two_sum(a, square / ((square + 1.0).square_root() + 1.0))
    zero = x.as_bits().of(0)
    result = log_of_one_plus(
        choose(large, a, y), choose(large, x.of(0.0), y_low), choose(large, zero.of(1), zero)
    )
    result = choose(x.equals(0.0), x, result.with_sign_of(x))
    return choose(a < x.of(float("inf")), result, x)


def acosh(x: Real) -> Real:
    """log1p(t + √(2t + t²)) at t = x - 1, log(x) + log(2) for large x."""
    large = x > x.either(2.0**30, 2.0**60)
    t = x - 1.0
    root = t.times_plus(t, t + t).square_root()
    # √(2t + t²) > t, so it comes first.
    y, y_low = fast_two_sum(root, t)
    zero = x.as_bits().of(0)
    result = log_of_one_plus(
        choose(large, x, y), choose(large, x.of(0.0), y_low), choose(large, zero.of(1), zero)
    )
    result = choose(x < x.of(float("inf")), result, x)
    return choose(x < 1.0, x.of(float("nan")), result)


def atanh(x: Real) -> Real:
    """½·log1p(2a/(1 - a)) at a = |x|, the quotient in two words; with x's sign."""
    a = x.absolute()
    divisor = 1.0 - a
    divisor_low = (1.0 - divisor) - a
    inverse = 1.0 / divisor
    doubled = a + a
    y = doubled * inverse
    rest = y.times_plus(-divisor_low, (-y).times_plus(divisor, doubled))
    result = log_of_one_plus(y, rest * inverse) * 0.5
    result = choose(a.equals(1.0), x.of(float("inf")), result).with_sign_of(x)
    # Below this atanh(x) rounds to x; it keeps subnormals and the sign of zero.
    result = choose(a < x.either(2.0**-13, 2.0**-27), x, result)
    return choose(a > 1.0, x.of(float("nan")), result)
