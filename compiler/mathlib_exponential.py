"""exp, exp2, expm1, sinh, cosh, tanh on SIMD lanes.

In and out: `Real` lanes, f32 or f64, over the whole range. All rest on the reduction
x = n·log(2) + r, |r| ≤ ½·log(2) (Cody and Waite, 1980), and polynomials in r.
"""

from __future__ import annotations

from .lanes import Integer, Real, choose
from .mathlib_coefficients import COSH, EXP, EXPM1, LN2, LOG2_E, SINH, TANH_H, TANH_P, TANH_Q
from .records import dataclass


def round_by_adding(x: Real, factor: float) -> tuple[Real, Integer]:
    """n = x·factor rounded to an integer, as a real and as an integer; |n| < 2^(mantissa - 1).

    Adding 1.5·2^mantissa leaves n in the low bits of the sum: no conversion is needed.
    """
    magic = _magic(x, 0)
    shifted = x.times_plus(factor, magic)
    return shifted - magic, shifted.as_bits() - magic.as_bits()


@dataclass(frozen=True)
class Exponent:
    """An integer: as a real; and in the low bits of `raw`, twice the bias added, all other bits
    being known and above those that an exponent has room for."""

    real: Real
    raw: Integer

    @property
    def integer(self) -> Integer:
        return self.raw - _magic(self.real, 2 * self.real.bias).as_bits()


def _magic(x: Real, more: int) -> Real:
    return x.of(1.5 * 2.0**x.mantissa + more)


def rounded_exponent(x: Real, factor: float) -> Exponent:
    """x·factor rounded to an integer, below 2^(mantissa - 2) in magnitude."""
    magic = _magic(x, 2 * x.bias)
    shifted = x.times_plus(factor, magic)
    return Exponent(shifted - magic, shifted.as_bits())


@dataclass(frozen=True)
class Reduced:
    """x = n·log(2) + r, |r| ≤ ½·log(2); r also as head + low, of which head is exact."""

    r: Real
    head: Real
    low: Real
    n: Exponent

    @property
    def integer(self) -> Integer:
        return self.n.integer


def reduce_by_log2(x: Real) -> Reduced:
    """n is the integer nearest to x/log(2)."""
    high, low = x.words(LN2)
    n = rounded_exponent(x, x.words(LOG2_E)[0])
    # Exact: x and n·high are multiples of one grid, and |r| < ½.
    head = n.real.times_plus(-high, x)
    return Reduced(n.real.times_plus(-low, head), head, n.real * -low, n)


def power_of_two(n: Integer, like: Real) -> Real:
    """2^n for n in the range of normal exponents."""
    return ((n + like.bias) << like.mantissa).bits_as_real()


def scaled(x: Real, n: Exponent) -> Real:
    """x·2^n, by one instruction, or in two steps so that the result may be subnormal and n beyond
    the exponents: the first step is exact, so both round once.

    The first factor is 2^⌊n/2⌋, whose biased exponent is half of n plus twice the bias; that of the
    second one is the other half."""
    done = x.times_power_of_two(n.real)
    if done is not None:
        return done
    first = (n.raw << (x.mantissa - 1)) & -(1 << x.mantissa)
    second = (n.raw << x.mantissa) - first
    return x * first.bits_as_real() * second.bits_as_real()


def exp_of_reduced(r: Real) -> Real:
    """1 + r·(1 + r·q(r)), |r| ≤ ½·log(2)."""
    return r.polynomial(EXP).times_plus(r, 1.0).times_plus(r, 1.0)


def exp(x: Real) -> Real:
    """2^n·(1 + r + r²·q(r))."""
    reduced = reduce_by_log2(x.clamped(x.either(-104.5, -746.0), x.either(89.5, 710.5)))
    return scaled(exp_of_reduced(reduced.r), reduced.n)


def exp_of_words(x: Real, x_low: Real) -> Real:
    """exp(x + x_low), x between exp's bounds."""
    reduced = reduce_by_log2(x)
    r = reduced.head + (reduced.low + x_low)
    return scaled(exp_of_reduced(r), reduced.n)


def exp2(x: Real) -> Real:
    """exp(r), r = (x - n)·log(2) in two words, times 2^n."""
    x = x.clamped(x.either(-151.0, -1076.0), x.either(129.0, 1025.0))
    n = rounded_exponent(x, 1.0)
    fraction = x - n.real
    high, low = x.words(LN2)
    return scaled(exp_of_reduced(fraction.times_plus(high, fraction * low)), n)


def expm1(x: Real) -> Real:
    """(2^n - 1) + 2^n·(r + r²·q(r)), the first sum and the sum with r kept in two words."""
    clamped = x.clamped(x.either(-20.0, -40.0), x.either(88.8, 709.9))
    reduced = reduce_by_log2(clamped)
    r = reduced.r
    r_low = (reduced.head - r) + reduced.low
    tail = (r * r).times_plus(r.polynomial(EXPM1), r_low)
    # Half of everything, as 2^n may be one past the largest power of two.
    scale = power_of_two(reduced.integer - 1, x)
    base = scale - 0.5
    back = base + 0.5
    base_low = (scale - back) - (0.5 - (back - base))
    r = r * scale
    total = base + r
    total_low = (base - total) + r + base_low
    result = (total + tail.times_plus(scale, total_low)) * 2.0
    # Keeps the sign of zero and every bit of a subnormal.
    return choose(x.absolute() < x.either(2.0**-26, 2.0**-55), x, result)


def sinh_and_cosh(x: Real) -> tuple[Real, Real]:
    """By the addition theorems at |x| = n·log(2) + r; both halved twice over, and doubled last."""
    a = x.absolute()
    reduced = reduce_by_log2(a.clamped(0.0, x.either(89.5, 710.5)))
    r, n = reduced.r, reduced.integer
    z = r * r
    s = (r * z).times_plus(z.polynomial(SINH), reduced.low) + reduced.head
    c = z * z.polynomial(COSH)
    # 2^-n is 0 once its exponent is too small; it no longer counts there.
    grown, shrunk = power_of_two(n - 2, x), power_of_two((-2 - n).at_least(-x.bias), x)
    even, odd = grown + shrunk, grown - shrunk
    even_low, odd_low = shrunk - (even - grown), (grown - odd) - shrunk
    sinh = (s.times_plus(even, c.times_plus(odd, odd_low)) + odd) * 2.0
    cosh = (s.times_plus(odd, c.times_plus(even, even_low)) + even) * 2.0
    return sinh, cosh


def sinh(x: Real) -> Real:
    """sinh(r)·cosh(n·log 2) + cosh(r)·sinh(n·log 2), with the sign of x."""
    small = x.absolute() < x.either(2.0**-13, 2.0**-27)
    return choose(small, x, sinh_and_cosh(x)[0].with_sign_of(x))


def cosh(x: Real) -> Real:
    """cosh(r)·cosh(n·log 2) + sinh(r)·sinh(n·log 2)."""
    return sinh_and_cosh(x)[1]


def tanh(x: Real) -> Real:
    """With a = |x|, s = tanh(a/2) = a·P(a²)/Q(a²) and d = a²·P² + Q², tanh = 2s/(1 + s²) is
    1 - (Q - a·P)²/d or, near 0, with H = (2P - Q)/a², a - a·a²·(P² - Q·H)/d; with x's sign.

    The errors of P and Q count by 1/cosh(x) only, so both are short.
    """
    a = x.absolute()
    most = x.either(9.3, 19.2)  # where 1 is the nearest number
    a = choose(a > most, x.of(most), a)
    z = a * a
    p, q, h = z.polynomial(TANH_P), z.polynomial(TANH_Q), z.polynomial(TANH_H)
    square = p * p
    d = z.times_plus(square, q * q)
    rest = a.times_plus(-p, q)
    small = a < 1.05
    part = choose(small, h.times_plus(-q, square) * z, rest * rest) / d
    base = choose(small, a, x.of(1.0))
    return part.times_plus(-base, base).with_sign_of(x)
