"""Arguments on which the mathematical library is tested, and the exact values there.

In: a function's name and a precision. Out: points in its domain, over every exponent and around the
thresholds, mpmath's value at each, and errors in units of the last place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath as mp
import numpy as np
from tdsl.compiler import mathlib

Array = np.ndarray[Any, np.dtype[Any]]

DTYPE: dict[int, Any] = {32: np.float32, 64: np.float64}
INF, PI = math.inf, math.pi

# Where the function varies; subnormals, huge values and the like come from random bits.
SPAN = {
    "exp": (-760, 720), "exp2": (-1090, 1030), "expm1": (-60, 720), "sinh": (-720, 720),
    "cosh": (-720, 720), "tanh": (-25, 25), "log": (0, 4), "log2": (0, 4), "log10": (0, 4),
    "log1p": (-1, 3), "asinh": (-5, 5), "acosh": (1, 5), "atanh": (-1, 1), "sin": (-100, 100),
    "cos": (-100, 100), "tan": (-100, 100), "asin": (-1, 1), "acos": (-1, 1), "atan": (-5, 5),
    "rsqrt": (0, 5), "cbrt": (-9, 9), "erf": (-7, 7), "erfc": (-7, 28), "lgamma": (-30, 12),
    "digamma": (-30, 12),
}  # fmt: skip
SPAN_32 = {
    "exp": (-106, 90), "exp2": (-152, 130), "expm1": (-30, 90), "sinh": (-91, 91),
    "cosh": (-91, 91), "tanh": (-12, 12), "erf": (-5, 5), "erfc": (-5, 11),
}  # fmt: skip
# Closed domains; the poles and what lies outside are special values.
DOMAIN = {
    "log": (0, INF), "log2": (0, INF), "log10": (0, INF), "rsqrt": (0, INF), "log1p": (-1, INF),
    "acosh": (1, INF), "atanh": (-1, 1), "asin": (-1, 1), "acos": (-1, 1),
}  # fmt: skip
# Overflow, underflow, and where the formulas change.
THRESHOLDS = {
    32: {
        "exp": (88.722839, -87.33655, -103.97208, -103.27893), "exp2": (128, -126, -149, -150),
        "expm1": (88.722839, -17.3, 0.5), "sinh": (89.41599, 1.22e-4), "cosh": (89.41599, 0.35),
        "tanh": (9.01, 10), "erf": (1, 3.92, 4), "erfc": (0.6, 10.05, 9.2, -4),
        "asinh": (2.0**30, 2.0**31), "acosh": (2.0**30, 1), "sin": (65536, 3.1415927, 6.2831855),
        "cos": (65536, 1.5707964, 4.712389), "tan": (65536, 1.5707964, 0.7853982),
        "atan": (1,), "lgamma": (0.5, 1, 1.5, 2, 2.5, 8, 4.08e36), "digamma": (1, 1.4616321, 2, 8),
        "log1p": (-0.9999999, 1e-7), "log": (0.70710678, 1), "log2": (1,), "log10": (1, 1000),
    },
    64: {
        "exp": (709.782712893384, -708.3964185322641, -745.1332191019411),
        "exp2": (1024, -1022, -1074, -1075), "expm1": (709.782712893384, -37, 0.5),
        "sinh": (710.4758600739439, 7.4e-9), "cosh": (710.4758600739439,), "tanh": (19, 20),
        "erf": (1, 5.9), "erfc": (0.6, 26.5, 27.2, -6), "asinh": (2.0**60,),
        "acosh": (2.0**60, 1), "sin": (2.0**26, PI, 2 * PI, 6381956970095103 * 2.0**797),
        "cos": (2.0**26, PI / 2, 6381956970095103 * 2.0**797),
        "tan": (2.0**26, PI / 2, 6381956970095103 * 2.0**797), "atan": (1,),
        "lgamma": (0.5, 1, 1.5, 2, 2.5, 8, 2.55e305), "digamma": (1, 1.4616321449683622, 2, 8),
        "log1p": (-1 + 1e-16, 1e-17), "log": (0.5**0.5, 1), "log2": (1,), "log10": (1, 1000),
    },
}  # fmt: skip


def random_bits(bits: int, count: int, rng: np.random.Generator) -> Array:
    """Finite floats, every exponent as likely as another."""
    raw = rng.integers(0, 2**bits, count, dtype={32: np.uint32, 64: np.uint64}[bits])
    values: Array = raw.view(DTYPE[bits])
    return values[np.isfinite(values)]


def points(name: str, bits: int, count: int, rng: np.random.Generator) -> Array:
    """Arguments of a function of one argument, in its domain and apart from its poles."""
    low, high = SPAN[name] if bits == 64 else SPAN_32.get(name, SPAN[name])
    dtype = DTYPE[bits]
    edges = np.array(THRESHOLDS[bits].get(name, ()), dtype)
    near = [edges]
    for direction in (-INF, INF):
        step = edges
        for _ in range(3):
            step = np.nextafter(step, dtype(direction))
            near.append(step)
    subnormal = rng.uniform(-1, 1, count // 8).astype(dtype) * np.finfo(dtype).tiny
    x: Array = np.concatenate(
        [
            rng.uniform(low, high, count).astype(dtype),
            (rng.choice([-1, 1], count) * 2.0 ** rng.uniform(-30, 6, count)).astype(dtype),
            random_bits(bits, count, rng),
            subnormal,
            *near,
        ]
    )
    if name in ("lgamma", "digamma"):
        # Below some thousands the reference would need the poles' distance, not the argument.
        keep: Array = (x > 0) | ((x > -1e4) & (x != np.rint(x)))
    else:
        least, most = DOMAIN.get(name, (-INF, INF))
        keep = (x >= least) & (x <= most) & ((x != least) | (name == "acosh"))
    inside: Array = x[keep]
    return inside


def lgamma_reference(x: mp.mpf) -> mp.mpf:
    if x > 0:
        return mp.loggamma(x)
    return mp.log(mp.pi / abs(x * mp.sinpi(x))) - mp.loggamma(-x)


REFERENCE: dict[str, Callable[..., mp.mpf]] = {
    **{name: getattr(mp, name) for name in mathlib.FUNCTIONS if hasattr(mp, name)},
    "exp2": lambda x: mp.mpf(2) ** x,
    "log2": lambda x: mp.log(x, 2),
    "rsqrt": lambda x: 1 / mp.sqrt(x),
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "lgamma": lgamma_reference,
    "pow": mp.power,
}


def exact(name: str, bits: int, *args: float) -> mp.mpf:
    """The value to far more digits than the precision has."""
    if name in ("exp", "exp2", "expm1", "sinh", "cosh", "erf", "erfc", "tanh"):
        # Far past under- and overflow, where mpmath would compute astronomical numbers.
        args = (max(-1e4, min(1e4, args[0])),)
    size = max(abs(math.log2(abs(args[0]))) if args[0] and math.isfinite(args[0]) else 0.0, 30.0)
    if name in ("lgamma", "digamma"):
        size = 100.0
    # Cancellation: in a large angle's reduction, and in 1 + x or 1 - x for small x.
    with mp.workprec(140 + int(2.2 * size)):
        return REFERENCE[name](*(mp.mpf(float(a)) for a in args))


def ulp_errors(
    results: Array, references: Sequence[mp.mpf], bits: int, floors: Sequence[float]
) -> Array:
    """|result - reference| in units of the last place of max(|reference|, floor)."""
    mantissa, least, most = (23, -126, 128) if bits == 32 else (52, -1022, 1024)
    overflow = mp.mpf(2) ** most * (1 - mp.mpf(2) ** (-mantissa - 2))
    errors = []
    for y, r, floor in zip(results, references, floors, strict=True):
        if not np.isfinite(y):
            right = abs(r) >= overflow * (1 - mp.mpf(2) ** -mantissa) and (y > 0) == (r > 0)
            errors.append(0.0 if right and not np.isnan(y) else INF)
            continue
        size = max(abs(r), mp.mpf(floor))
        exponent = max(int(mp.frexp(size)[1]) - 1, least) if size else least
        errors.append(float(abs(mp.mpf(float(y)) - r) / mp.mpf(2) ** (exponent - mantissa)))
    return np.array(errors)


def floors_of(name: str, bits: int, x: Array) -> list[float]:
    """The least size to which an error is related, point by point; see `Function.reflected`."""
    if not mathlib.FUNCTIONS[name].reflected:
        return [0.0] * x.size
    return [max(1.0, abs(float(exact(name, bits, -v)))) if v < 0 else 0.0 for v in x]


def stated(name: str, bits: int) -> float:
    row = mathlib.FUNCTIONS[name]
    return row.ulp32 if bits == 32 else row.ulp64


def two_arguments(name: str, bits: int, count: int, rng: np.random.Generator) -> tuple[Array, ...]:
    """Arguments of pow and atan2 with results of every size."""
    dtype = DTYPE[bits]
    near_one = rng.uniform(0.3, 3, count).astype(dtype)
    x = np.concatenate([random_bits(bits, count, rng), near_one])
    with np.errstate(all="ignore"):
        if name == "pow":
            x = np.abs(x)
            span = (-152, 130) if bits == 32 else (-1080, 1030)
            y = (rng.uniform(*span, x.size) / np.log2(x.astype(np.float64))).astype(dtype)
        else:
            ratio = rng.choice([-1, 1], x.size) * 2.0 ** rng.uniform(-8, 8, x.size)
            y = x * ratio.astype(dtype)
    keep = np.isfinite(y) & (x != 0)
    return x[keep], y[keep]


def ulp_errors_32(results: Array, references: Array, floors: Array) -> Array:
    """`ulp_errors` of f32 results against f64 references, in NumPy."""
    size = np.maximum(np.maximum(np.abs(references), 2.0**-126), floors)
    unit = np.ldexp(1.0, np.frexp(size)[1] - 24)
    with np.errstate(all="ignore"):
        errors: Array = np.abs(results.astype(np.float64) - references) / unit
    overflowed = np.isinf(results) & (np.abs(references) >= 2.0**128 * (1 - 2.0**-25))
    same_nan = np.isnan(results) & np.isnan(references)
    errors[overflowed | same_nan | (results == references)] = 0
    errors[np.isnan(errors)] = INF
    return errors
