"""erf, erfc, lgamma, digamma on SIMD lanes.

In and out: `Real` lanes, f32 or f64, over the whole range. erfc uses a polynomial in a mapped
variable (Shepherd and Laframboise, 1981); the gamma functions shift their argument to an interval
where a polynomial holds, use Stirling's series from 8 on, and reflect below 0 in a branch that is
taken only if a lane needs it.
"""

from __future__ import annotations

import math

from .lanes import Real, choose, rarely
from .mathlib_coefficients import (
    DIGAMMA,
    DIGAMMA_TAIL,
    DIGAMMA_ZERO_LESS_1,
    ERF_SMALL,
    ERFCX_32,
    ERFCX_64,
    LGAMMA,
    LOG_ERFC,
    SIN_OF_PI,
    STIRLING,
)
from .mathlib_exponential import exp_of_reduced, exp_of_words, power_of_two, reduce_by_log2
from .mathlib_logarithm import log


def erf_of_small(x: Real) -> Real:
    """erf(x) for |x| ≤ 1."""
    return x.times_plus((x * x).polynomial(ERF_SMALL), x)


def erfc_of_positive(a: Real) -> Real:
    """exp(-a²)·P(t)/(1 + 2a), t = (a - c)/(a + c), for a ≥ 0; a² in two words."""
    a = choose(a > a.either(10.1, 27.3), a.of(a.either(10.1, 27.3)), a)
    centre, table = (2.0, ERFCX_32) if a.bits == 32 else (4.0, ERFCX_64)
    square = a * a
    square_low = a.times_plus(a, -square)
    power = exp_of_words(-square, -square_low)
    t = (a - centre) / (a + centre)
    # by halves it would be less exact, which only f64 can afford
    series = t.polynomial(table) if a.bits == 32 else t.polynomial_by_halves(t * t, table)
    return power * (series / (a + a + 1.0))


def erf(x: Real) -> Real:
    """Odd polynomial for |x| ≤ 1; else 1 - erfc, which is small there; with x's sign."""
    a = x.absolute()
    if x.bits == 64:
        large = 1.0 - erfc_of_positive(a)
    else:
        # erfc's logarithm is a short polynomial, and 1 - erfc rounds to 1 at 4.
        log_erfc = (choose(a > 4.0, x.of(4.0), a) - 1.0).polynomial(LOG_ERFC)
        reduced = reduce_by_log2(log_erfc)
        power = exp_of_reduced(reduced.r)
        large = power.times_plus(-power_of_two(reduced.integer, x), 1.0)
    return choose(a <= 1.0, erf_of_small(x), large.with_sign_of(x))


def erfc(x: Real) -> Real:
    """1 - erf near 0; else exp(-x²) times a polynomial, and 2 minus that below 0."""
    a = x.absolute()
    tail = erfc_of_positive(a)
    return choose(a < 0.6, 1.0 - erf_of_small(x), choose(x < 0.0, 2.0 - tail, tail))


def sin_of_pi_times(r: Real) -> Real:
    """sin(π·r)/π for |r| ≤ ½."""
    z = r * r
    return (r * z).times_plus(z.polynomial(SIN_OF_PI), r)


def lgamma_of_positive(a: Real) -> Real:
    """log(gamma(a)), a ≥ 0: u·P(u) at u = t - 2, t = a shifted into [1½, 2½], plus or minus the log
    of the factors passed; Stirling's series from 8 on. One log serves all."""
    tiny, low = a < 0.5, a < 1.5
    # u without rounding: t = a + 2 or a + 1.
    u = choose(tiny, a, a - 1.0)
    factors = choose(tiny, a.times_plus(a, a), a)
    t, product = a, a.of(1.0)
    for _ in range(6):
        high = t >= 2.5
        t = choose(high, t - 1.0, t)
        product = choose(high, product * t, product)
    u = choose(low, u, t - 2.0)
    factors = choose(low, factors, product)
    stirling = a >= 8.0
    logarithm = log(choose(stirling, a, factors))
    near = u.times_plus(u.polynomial(LGAMMA), choose(low, -logarithm, logarithm))
    inverse = 1.0 / a
    series = inverse.times_plus((inverse * inverse).polynomial(STIRLING), math.log(2 * math.pi) / 2)
    far = (a - 0.5).times_plus(logarithm - 1.0, series - 0.5)
    return choose(stirling, far, near)


def lgamma_reflected(x: Real, positive: Real) -> tuple[Real]:
    """log(π/(a·|sin(πx)|)) - lgamma(a) for x < 0, a = |x|."""
    inf = float("inf")
    a = x.absolute()
    sine = sin_of_pi_times(x - x.nearest()).absolute()
    result = log(1.0 / (a * sine)) - positive
    # Next to 0 both sides of it agree; at the poles, and at -infinity, it is infinite.
    result = choose(a < 2.0**-60, positive, result)
    return (choose(sine.equals(0.0) | a.equals(inf), x.of(inf), result),)


def lgamma(x: Real) -> Real:
    """log|gamma(x)|."""
    a = x.absolute()
    positive = lgamma_of_positive(a)
    (result,) = rarely("lgamma", x < 0.0, (positive,), (x, positive), lgamma_reflected)
    return Real(x.builder, result.value)


def digamma_of_positive(b: Real) -> Real:
    """digamma(b), b ≥ 0: (t - x₀)·P at t = b shifted into [1, 2], plus the sum of 1/(b - i) passed
    (or minus 1/b below 1) as one fraction; the asymptotic series from 8 on."""
    small = b < 1.0
    t = b
    above, below = b.of(0.0), b.of(1.0)
    for _ in range(6):
        high = t >= 2.0
        t = choose(high, t - 1.0, t)
        above = choose(high, above.times_plus(t, below), above)
        below = choose(high, below * t, below)
    less_1 = choose(small, b, t - 1.0)
    zero, zero_low = b.words(DIGAMMA_ZERO_LESS_1)
    asymptotic = b >= 8.0
    above = choose(small, b.of(-1.0), choose(asymptotic, b.of(-0.5), above))
    below = choose(small | asymptotic, b, below)
    fraction = above / below
    near = ((less_1 - zero) - zero_low).times_plus((less_1 - 0.5).polynomial(DIGAMMA), fraction)
    w = fraction * fraction * 4.0
    far = log(b) + (fraction - w * w.polynomial(DIGAMMA_TAIL))
    return choose(asymptotic, far, near)


def digamma_reflected(x: Real, positive: Real) -> tuple[Real]:
    """digamma(1 - x) - π/tan(πx) for x < 0."""
    r = x - x.nearest()
    sine = sin_of_pi_times(r)
    cosine = sin_of_pi_times(0.5 - r.absolute()) * math.pi
    result = positive - cosine / sine
    return (choose(r.equals(0.0), x.of(float("nan")), result),)


def digamma(x: Real) -> Real:
    """The derivative of log(gamma(x)); NaN at the negative integers, -infinity at +0."""
    positive = digamma_of_positive(choose(x < 0.0, 1.0 - x, x))
    (result,) = rarely("digamma", x < 0.0, (positive,), (x, positive), digamma_reflected)
    pole = -x.of(float("inf")).with_sign_of(x)
    return choose(x.equals(0.0), pole, Real(x.builder, result.value))
