"""pow, cbrt, rsqrt on SIMD lanes.

In and out: `Real` lanes, f32 or f64, over the whole range. pow carries log2(x) in two words, about
ten bits more than the exponent's range needs; its special values are those of C99 (F.9.4.4).
Left to others: exponents known when compiling (`mathlib_fixed_power`).
"""

from __future__ import annotations

from collections.abc import Mapping

from .lanes import Real, choose
from .mathlib_coefficients import ATANH_TAIL, CBRT, EXPM1, LN2, THIRD, TWO_LOG2_E
from .mathlib_exponential import power_of_two, round_by_adding, rounded_exponent, scaled
from .mathlib_logarithm import fast_two_sum, split

Words = Mapping[int, tuple[float, ...]]


def times_words(x: Real, x_low: Real, factor: Words) -> tuple[Real, Real]:
    """(x + x_low)·factor in two words."""
    high, low = x.words(factor)
    product = x * high
    error = x.times_plus(high, -product)
    return product, x.times_plus(low, x_low.times_plus(high, error))


def log2_in_words(x: Real) -> tuple[Real, Real]:
    """log2(x) in two words for finite x > 0: n + 2·log2(e)·atanh(s), s = f/(2 + f)."""
    n, f = split(x)
    divisor = f + 2.0
    divisor_low = f - (divisor - 2.0)
    inverse = 1.0 / divisor
    s = f * inverse
    s_low = s.times_plus(-divisor_low, s.times_plus(-divisor, f)) * inverse
    z = s * s
    z_low = (s + s).times_plus(s_low, s.times_plus(s, -z))
    # atanh(s) = s·(1 + b), b = z/3 + z²·t(z); the first term of b in two words.
    third, third_low = times_words(z, z_low, THIRD)
    b, b_low = fast_two_sum(third, z * z * z.polynomial(ATANH_TAIL))
    b_low = b_low + third_low
    product = s * b
    product_low = s_low.times_plus(b, s.times_plus(b_low, s.times_plus(b, -product)))
    total, total_low = fast_two_sum(s, product)
    scaled_high, scaled_low = times_words(total, total_low + (s_low + product_low), TWO_LOG2_E)
    high, low = fast_two_sum(n, scaled_high)
    return fast_two_sum(high, low + scaled_low)


def pow(x: Real, y: Real) -> Real:
    """sign·exp2(y·log2|x|)."""
    a = x.absolute()
    inf = float("inf")
    high, low = log2_in_words(a)
    # At 0 and infinity log2 is infinite, whatever its parts say.
    high = choose(a.equals(0.0), x.of(-inf), choose(a.equals(inf), x.of(inf), high))
    # At 1 it is 0, also times infinity.
    power = choose(a.equals(1.0), x.of(0.0), y)
    product = high * power
    bound = x.either(160.0, 1100.0)
    inside = product.absolute() < bound
    product_low = power.times_plus(low, high.times_plus(power, -product))
    product_low = choose(inside, product_low, x.of(0.0))
    product = product.clamped(-bound, bound)
    n = rounded_exponent(product, 1.0)
    fraction, fraction_low = fast_two_sum(product - n.real, product_low)
    r, r_low = times_words(fraction, fraction_low, LN2)
    total, total_low = fast_two_sum(x.of(1.0), r)
    result = total + (
        total_low + (r * r).times_plus(r.polynomial(EXPM1), r_low.times_plus(r, r_low))
    )
    result = scaled(result, n)

    half = y * 0.5
    whole = y.truncated().equals(y)
    odd = whole & ~half.truncated().equals(half)
    negative = x.as_bits().compare("<", 0)
    result = choose(negative & odd, -result, result)
    undefined = (x < 0.0) & ~whole & (a < inf)
    result = choose(undefined, x.of(float("nan")), result)
    result = choose(x.is_nan() | y.is_nan(), x + y, result)
    return choose(x.equals(1.0) | y.equals(0.0), x.of(1.0), result)


def rsqrt(x: Real) -> Real:
    """1/√x; infinity with x's sign at ±0."""
    return 1.0 / x.square_root()


def cbrt(x: Real) -> Real:
    """A polynomial guess at m in |x| = 2^(3k + j)·m, 1 ≤ m < 2, then one step of Halley."""
    a = x.absolute()
    tiny = a < 2.0 ** (1 - x.bias)
    shift = {32: 24, 64: 54}[x.bits]  # a multiple of 3
    bits = choose(tiny, a * 2.0**shift, a).as_bits()
    exponent = (bits >> x.mantissa) - x.bias
    e = choose(tiny, exponent - shift, exponent).to_real()
    m = ((bits & ((1 << x.mantissa) - 1)) | x.of(1.0).as_bits()).bits_as_real()
    k = e.times_plus(1 / 3, 1 / 6).floor()
    j = k.times_plus(-3.0, e)
    one, two = j.equals(1.0), j.equals(2.0)
    scale = choose(two, x.of(4 ** (1 / 3)), choose(one, x.of(2 ** (1 / 3)), x.of(1.0)))
    target = m * choose(two, x.of(4.0), choose(one, x.of(2.0), x.of(1.0)))
    y = m.polynomial(CBRT) * scale
    cube = y * y * y
    y = y + y * ((target - cube) / (cube + cube + target))
    _, integer = round_by_adding(k, 1.0)
    result = (y * power_of_two(integer, x)).with_sign_of(x)
    return choose((a > 0.0) & (a < float("inf")), result, x)
