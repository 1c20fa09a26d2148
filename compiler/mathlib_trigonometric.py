"""sin, cos, tan, asin, acos, atan, atan2 on SIMD lanes.

In and out: `Real` lanes, f32 or f64, over the whole range; angles in radians. Arguments are
reduced by multiples of π/2: below a limit with π/2 in three words (Cody and Waite, 1980), above it,
in a branch taken only if a lane needs it, with the bits of 2/π (Payne and Hanek, 1983).
"""

from __future__ import annotations

import math
from itertools import pairwise

from . import ir
from .lanes import Integer, Real, choose, rarely
from .mathlib_coefficients import ASIN, ATAN, COS, HALF_PI, SIN, TAN, TWO_OVER_PI_LIMBS
from .mathlib_exponential import round_by_adding
from .mathlib_logarithm import fast_two_sum


def reduce_by_half_pi(x: Real) -> tuple[Real, Real, Integer]:
    """(r, r_low, n): x = n·π/2 + r + r_low, |r| ≤ π/4 or slightly more; n is right modulo 4."""
    first, second, third = x.words(HALF_PI)
    k, n = round_by_adding(x, 2 / math.pi)
    # Exact: x and k·first are multiples of one grid, and |r| < 1.
    r = k.times_plus(-first, x)
    total = k.times_plus(-second, r)
    low = k.times_plus(-third, k.times_plus(-second, r - total))
    # r - total is exact unless r and k·second cancel: x is then next to a multiple of π/2.
    size = x.absolute()
    large = size > x.either(2.0**16, 2.0**26)
    near = r.absolute() < size * x.either(2.0**-23, 2.0**-52)
    reduced = rarely("reduce_by_half_pi", large | near, (total, low, n), (x,), reduce_large)
    total, low, n = reduced  # type: ignore[assignment]
    return total, low, n


def two_over_pi(builder: ir.IRBuilder) -> ir.GlobalVariable:
    """The module's table of the bits of 2/π, in limbs of 32 from bit -63 on."""
    name = "tdsl_two_over_pi"
    table = builder.module.globals.get(name)
    if table is None:
        type_ = ir.ArrayType(ir.IntType(32), len(TWO_OVER_PI_LIMBS))
        table = ir.GlobalVariable(builder.module, type_, name)
        table.initializer = ir.Constant(type_, list(TWO_OVER_PI_LIMBS))
        table.global_constant = True
        table.linkage = "internal"
    return table


def reduce_large(x: Real) -> tuple[Real, Real, Integer]:
    """`reduce_by_half_pi` for any |x| = M·2^E of at least ½: M times a window of the bits of 2/π.

    Bits of weight 4 and more are left out, as they add whole turns. The window is wide enough for
    the least |r| that a float can have (2^-31 in f32, 2^-62 in f64) and a mantissa and more of it.
    """
    low32 = 0xFFFFFFFF
    bits = x.as_bits()
    exponent = bits.logical_shift_right(x.mantissa) & (2 * x.bias + 1)
    mantissa = ((bits & ((1 << x.mantissa) - 1)) | (1 << x.mantissa)).widened(64)
    # The window starts at bit E - 1, counted from the point; the table at bit -63.
    position = (exponent - (x.bias + x.mantissa) - 1 + 63).at_least(0)
    offset = (position & 31).widened(64)
    start = position >> 5
    count = 3 if x.bits == 32 else 6
    table = two_over_pi(x.builder)
    limbs = [(start + i).lookup(table).widened(64) for i in range(count + 1)]
    window = [
        ((high << 32) | low).logical_shift_right(32 - offset) & low32
        for high, low in pairwise(limbs)
    ]
    # product = mantissa·window modulo 2^(32·count), most significant limb first.
    factors = [mantissa & low32] + ([mantissa.logical_shift_right(32)] if count == 6 else [])
    product: list[Integer] = []
    carry = mantissa.of(0)
    for place in range(count):
        total, overflow = carry, mantissa.of(0)
        for i, factor in enumerate(factors):
            if place - i >= 0:
                partial = factor * window[count - 1 - (place - i)]
                total = total + (partial & low32)
                overflow = overflow + partial.logical_shift_right(32)
        product.insert(0, total & low32)
        carry = overflow + total.logical_shift_right(32)
    # Two bits of quarter turns, then the fraction; from a half on, count down from the next.
    top = product[0]
    up = top.logical_shift_right(29) & 1
    n = top.logical_shift_right(30) + up
    flip = 0 - up
    fraction = [(limb ^ flip) & low32 for limb in product]
    fraction[0] = fraction[0] & 0x3FFFFFFF
    parts = [limb.to_real() * 2.0 ** (-30 - 32 * i) for i, limb in enumerate(fraction[:5])]
    negative = (up.compare("!=", 0)) ^ (bits.compare("<", 0))
    if x.bits == 32:
        angle = (parts[0] + parts[1] + parts[2]) * (math.pi / 2)
        r = angle.converted(32)
        r_low = (angle - r.converted(64)).converted(32)
    else:
        total_r, rest = fast_two_sum(parts[0], parts[1])
        total_r, more = fast_two_sum(total_r, parts[2])
        rest = rest + more
        total_r, more = fast_two_sum(total_r, parts[3])
        rest = rest + more + parts[4]
        high, low = fast_two_sum(total_r, rest)
        first, second, _ = x.words(HALF_PI)
        r = high * first
        r_low = high.times_plus(first, -r) + high.times_plus(second, low * first)
        r, r_low = fast_two_sum(r, r_low)
    n = choose(bits.compare("<", 0), 0 - n.narrowed(x.bits), n.narrowed(x.bits))
    finite = x.absolute() < x.of(float("inf"))
    r = choose(finite, choose(negative, -r, r), x.of(float("nan")))
    return r, choose(negative, -r_low, r_low), n


def sine_of_reduced(r: Real, r_low: Real, n: Integer) -> Real:
    """sin(n·π/2 + r + r_low)."""
    z = r * r
    sine = r + (r * z).times_plus(z.polynomial(SIN), r_low)
    half = z * 0.5
    one = 1.0 - half
    rest = (z * z).times_plus(z.polynomial(COS), (1.0 - one) - half)
    cosine = one + r.times_plus(-r_low, rest)
    magnitude = choose((n & 1).compare("==", 0), sine, cosine)
    sign = (n & 2) << (r.bits - 2)
    return (magnitude.as_bits() ^ sign).bits_as_real()


def sin(x: Real) -> Real:
    """±sin(r) or ±cos(r) by the quarter turn."""
    return choose(x.equals(0.0), x, sine_of_reduced(*reduce_by_half_pi(x)))


def cos(x: Real) -> Real:
    """sin, a quarter turn on."""
    r, r_low, n = reduce_by_half_pi(x)
    return sine_of_reduced(r, r_low, n + 1)


def tan(x: Real) -> Real:
    """tan(r), or -1/tan(r) in odd quarter turns."""
    r, r_low, n = reduce_by_half_pi(x)
    z = r * r
    # tan' = 1 + tan² ≈ 1 + z is the effect of the low word.
    t = r + (r * z).times_plus(z.polynomial(TAN), r_low.times_plus(z, r_low))
    even = (n & 1).compare("==", 0)
    return choose(x.equals(0.0), x, choose(even, t, -1.0 / t))


def asin_parts(x: Real) -> tuple[Real, Real, Real]:
    """(a, r, p): a = |x|; r = a or, from ½ on, √((1 - a)/2); asin(r) = r + p."""
    a = x.absolute()
    small = a < 0.5
    half = (1.0 - a) * 0.5
    z = choose(small, a * a, half)
    r = choose(small, a, half.square_root())
    return a, r, r * z * z.polynomial(ASIN)


def asin(x: Real) -> Real:
    """asin(a) = π/2 - 2·asin(√((1 - a)/2)) from ½ on; with x's sign."""
    a, r, p = asin_parts(x)
    first, second, _ = x.words(HALF_PI)
    large = first - (r + r + (p + p - second))
    return choose(a < 0.5, r + p, large).with_sign_of(x)


def acos(x: Real) -> Real:
    """π/2 - asin(x); 2·asin(√((1 - x)/2)) from ½ on; π minus that below -½."""
    a, r, p = asin_parts(x)
    first, second, _ = x.words(HALF_PI)
    near = r + p
    far = 2.0 * first - (r + r + (p + p - 2.0 * second))
    middle = first - (x - (second - p.with_sign_of(x)))
    result = choose(x < 0.0, far, near + near)
    return choose(a < 0.5, middle, result)


def atan_of_unit(t: Real) -> Real:
    """atan(t) for 0 ≤ t ≤ 1."""
    z = t * t
    return (t * z).times_plus(z.polynomial(ATAN), t)


def atan(x: Real) -> Real:
    """atan(a), or π/2 - atan(1/a) for a = |x| > 1; with x's sign."""
    a = x.absolute()
    inverted = a > 1.0
    result = atan_of_unit(choose(inverted, 1.0 / a, a))
    first, second, _ = x.words(HALF_PI)
    return choose(inverted, first - (result - second), result).with_sign_of(x)


def atan2(y: Real, x: Real) -> Real:
    """The angle of (x, y) in [-π, π]: atan of the lesser over the greater, then by octant."""
    a, b = x.absolute(), y.absolute()
    steep = b > a
    lesser, greater = choose(steep, a, b), choose(steep, b, a)
    ratio = lesser / greater
    ratio = choose(greater.equals(0.0), x.of(0.0), ratio)
    ratio = choose(lesser.equals(float("inf")), x.of(1.0), ratio)
    angle = atan_of_unit(ratio)
    first, second, _ = x.words(HALF_PI)
    angle = choose(steep, first - (angle - second), angle)
    left = x.as_bits().compare("<", 0)
    angle = choose(left, 2.0 * first - (angle - 2.0 * second), angle).with_sign_of(y)
    return choose(x.is_nan() | y.is_nan(), x + y, angle)
