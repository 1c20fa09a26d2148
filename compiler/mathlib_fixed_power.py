"""x**y on SIMD lanes for an exponent known when compiling: products and roots in place of `pow`.

In and out: `Real` lanes, f32 or f64, over the whole range; the special values are those of `pow`.
Left to others: every other exponent (`mathlib_power`).

Whole exponents go by squaring. Rounding after every product would cost |y| - 1 units in the last
place, so from the fourth power on each product carries its rounding error in a second word, which a
fused multiply-add finds exactly (Kornerup, Lefèvre, Louvet and Muller, "Computing integer powers in
floating-point arithmetic", 2009), and the result is rounded once. A negative power is that of 1/x,
in two words too, so that it becomes subnormal where it should rather than 0. The halves are
products of √x, rounded one by one.
"""

from __future__ import annotations

import math

from .fixed_exponents import HALVES
from .lanes import Real, choose

ULP_OF_WHOLE = 2.0
"""The error in units in the last place: for exponents -2 and 3 anywhere, for greater ones next to
subnormal results, where the second word has no bits left; elsewhere it is below 0.52."""

ULP_OF_HALVES = 3.0


def fixed_power(x: Real, y: float) -> Real:
    """x**y, y one of `fixed_exponents`."""
    if y in HALVES:
        return _half_power(x, y)
    match int(y):
        case 0:
            return x.of(1.0)
        case 1:
            return x
        case 2:
            return x * x
        case 3:
            return x * x * x
        case -1:
            return 1.0 / x
        case -2:
            inverse = 1.0 / x
            return inverse * inverse
        case n if n < 0:
            inverse = 1.0 / x
            return _rounded(_power((inverse, x.times_plus(-inverse, 1.0) * inverse), -n))
        case n:
            return _rounded(_power((x, None), n))


TwoWords = tuple[Real, Real | None]


def _power(x: TwoWords, n: int) -> TwoWords:
    """x**n in two words, from the exponent's leading bit down: x**12 goes through x**6."""
    result = x
    for bit in f"{n:b}"[1:]:
        result = _square(result)
        if bit == "1":
            result = _product(result, x)
    return result


def _square(x: TwoWords) -> TwoWords:
    high, low = x
    product = high * high
    error = high.times_plus(high, -product)
    return product, error if low is None else (high + high).times_plus(low, error)


def _product(x: TwoWords, y: TwoWords) -> TwoWords:
    (a, a_low), (b, b_low) = x, y
    product = a * b
    low = a.times_plus(b, -product)
    if a_low is not None:
        low = a_low.times_plus(b, low)
    if b_low is not None:
        low = a.times_plus(b_low, low)
    return product, low


def _rounded(x: TwoWords) -> Real:
    """The sum of both words. Where the first is 0 or infinite it is the result, with its sign: the
    second is then 0 of either sign, or NaN."""
    high, low = x
    if low is None:
        return high
    total = high + low
    return choose(total.compare("!=", 0.0), total, high)


def _half_power(x: Real, y: float) -> Real:
    """√x times or through a whole power. As pow has it, -∞ counts as ∞ and -0 as 0."""
    x = choose(x.equals(-math.inf), x.of(math.inf), x) + 0.0
    root = x.square_root()
    match y:
        case 0.5:
            return root
        case 1.5:
            return x * root
        case 2.5:
            return x * x * root
        case -0.5:
            return 1.0 / root
        case -1.5:  # in two steps: x·√x may overflow where the quotient is still a number
            return 1.0 / root / x
        case _:
            return 1.0 / root / (x * x)
