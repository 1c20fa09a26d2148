"""Fits the polynomials of `compiler/mathlib_coefficients.py` and prints that file.

In: the table `FITS` below: for each polynomial P the function g that it approximates, the weight w
under which max |w·(g - P)| is least, the interval, and the number of terms per precision.
Out: the text of the module, to be passed through `ruff format`. Left to others: using it.

Method: Remez exchange on a grid of Chebyshev points in mpmath; the terms are then rounded to the
precision in which they are used, and the error stated is that of the rounded polynomial.

    python tests/fit_mathlib.py > compiler/mathlib_coefficients.py
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import mpmath as mp
import numpy as np

Func = Callable[[mp.mpf], mp.mpf]

mp.mp.dps = 60


@dataclass(frozen=True)
class Fit:
    """P(x) ≈ target(x) for low ≤ x ≤ high; `terms` counts the coefficients per precision."""

    name: str
    about: str
    target: Func
    weight: Func
    low: float
    high: float
    terms: dict[int, int]


def remez(fit: Fit, count: int) -> list[mp.mpf]:
    """Coefficients, constant first, of the weighted minimax polynomial with `count` terms."""
    low, high = mp.mpf(fit.low), mp.mpf(fit.high)
    size = 16 * count + 40
    grid = [
        (low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * size))
        for i in range(size)
    ]
    goal = [fit.target(x) for x in grid]
    weight = [fit.weight(x) for x in grid]
    chosen = [round((size - 1) * (1 - np.cos(np.pi * k / count)) / 2) for k in range(count + 1)]
    chosen = [(size - 1) * k // count for k in range(count + 1)]
    best: list[mp.mpf] = []
    for _ in range(40):
        system = mp.matrix(count + 1, count + 1)
        right = mp.matrix(count + 1, 1)
        for row, i in enumerate(chosen):
            for k in range(count):
                system[row, k] = grid[i] ** k
            system[row, count] = (-1) ** row / weight[i]
            right[row] = goal[i]
        solution = mp.lu_solve(system, right)
        best = [solution[k] for k in range(count)]
        level = abs(solution[count])
        error = [
            weight[i] * (goal[i] - mp.polyval(best[::-1], grid[i])) for i in range(size)
        ]
        extrema = alternate(error)
        while len(extrema) > count + 1:
            # Drop the smaller end: the signs keep alternating.
            extrema.pop(0 if abs(error[extrema[0]]) < abs(error[extrema[-1]]) else -1)
        if len(extrema) < count + 1 or max(map(abs, error)) < level * mp.mpf("1.01"):
            return best
        chosen = extrema
    return best


def alternate(error: Sequence[mp.mpf]) -> list[int]:
    """The place of the largest |error| in each run of one sign."""
    places: list[int] = []
    for i, e in enumerate(error):
        if places and (error[places[-1]] > 0) == (e > 0):
            if abs(e) > abs(error[places[-1]]):
                places[-1] = i
        else:
            places.append(i)
    return places


def rounded(coefficients: Sequence[mp.mpf], bits: int) -> list[float]:
    """To f32 (as Python floats) or f64."""
    doubles = [float(c) for c in coefficients]
    return doubles if bits == 64 else [float(np.float32(c)) for c in doubles]


def worst(fit: Fit, coefficients: Sequence[float]) -> mp.mpf:
    """max |w·(g - P)| on a grid that is not the one fitted on."""
    low, high = mp.mpf(fit.low), mp.mpf(fit.high)
    points = [low + (high - low) * (mp.mpf(i) + mp.mpf("0.37")) / 600 for i in range(600)]
    terms = [mp.mpf(c) for c in coefficients][::-1]
    return max(abs(fit.weight(x) * (fit.target(x) - mp.polyval(terms, x))) for x in points)


def odd(f: Func) -> Func:
    """g with f(r) = r + r·z·g(z), z = r²."""
    return lambda z: (f(mp.sqrt(z)) / mp.sqrt(z) - 1) / z


def odd_weight(f: Func) -> Func:
    """The weight that makes the error of `odd(f)` relative to f."""
    return lambda z: z * mp.sqrt(z) / f(mp.sqrt(z))


def erfcx(a: mp.mpf) -> mp.mpf:
    return mp.exp(a * a) * mp.erfc(a)


def erfcx_fit(bits: int, centre: float, largest: float, terms: int) -> Fit:
    def target(t: mp.mpf) -> mp.mpf:
        a = centre * (1 + t) / (1 - t)
        return erfcx(a) * (1 + 2 * a)

    return Fit(
        f"ERFCX_{bits}",
        f"exp(a²)·erfc(a)·(1 + 2a), a = {centre}(1 + t)/(1 - t), 0 ≤ a ≤ {largest}; relative"
        " (the mapping of Shepherd and Laframboise, 1981)",
        target,
        lambda t: 1 / target(t),
        -1,
        (largest - centre) / (largest + centre),
        {bits: terms},
    )


def stirling(w: mp.mpf) -> mp.mpf:
    x = 1 / mp.sqrt(w)
    return x * (mp.loggamma(x) - (x - 0.5) * mp.log(x) + x - mp.log(2 * mp.pi) / 2)


def digamma_tail(w: mp.mpf) -> mp.mpf:
    x = 1 / mp.sqrt(w)
    return x * x * (mp.log(x) - 1 / (2 * x) - mp.digamma(x))


DIGAMMA_ZERO = mp.findroot(mp.digamma, mp.mpf("1.4616"))

FITS = [
    Fit(
        "EXP", "(exp(r) - 1 - r)/r²; relative to exp(r) - 1",
        lambda r: (mp.expm1(r) - r) / r**2, lambda r: abs(r**2 / mp.expm1(r)),
        -0.3475, 0.3475, {32: 5, 64: 10},
    ),
    Fit(
        "SINH", "(sinh(r)/r - 1)/r² in z = r², |r| ≤ 0.3475; relative",
        odd(mp.sinh), odd_weight(mp.sinh), 0, 0.3475**2, {32: 2, 64: 6},
    ),
    Fit(
        "COSH", "(cosh(r) - 1)/r² in z = r², |r| ≤ 0.3475; relative to cosh",
        lambda z: (mp.cosh(mp.sqrt(z)) - 1) / z, lambda z: z,
        0, 0.3475**2, {32: 3, 64: 6},
    ),
    Fit(
        "LOG", "(log(1 + f) - f)/f², √½ ≤ 1 + f ≤ √2; relative to log",
        lambda f: (mp.log1p(f) - f) / f**2, lambda f: abs(f**2 / mp.log1p(f)),
        -0.2930, 0.4143, {32: 9},
    ),
    Fit(
        "LOG_ATANH", "(2·atanh(s)/s - 2)/s² in z = s², |s| ≤ 0.1716; relative to log",
        lambda z: 2 * (mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 1) / z, lambda z: z / 2,
        0, 0.1716**2, {64: 7},
    ),
    Fit(
        "ATANH_TAIL", "(atanh(s)/s - 1 - s²/3)/s⁴ in z = s², |s| ≤ 0.1716; relative to atanh",
        lambda z: (mp.atanh(mp.sqrt(z)) / mp.sqrt(z) - 1 - z / 3) / z**2, lambda z: z**2,
        0, 0.1716**2, {32: 3, 64: 8},
    ),
    Fit(
        "SIN", "(sin(r)/r - 1)/r² in z = r², |r| ≤ 0.792; relative",
        odd(mp.sin), odd_weight(mp.sin), 0, 0.792**2, {32: 4, 64: 7},
    ),
    Fit(
        "COS", "(cos(r) - 1 + r²/2)/r⁴ in z = r², |r| ≤ 0.792; relative",
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2,
        lambda z: z**2 / mp.cos(mp.sqrt(z)), 0, 0.792**2, {32: 3, 64: 6},
    ),
    Fit(
        "TAN", "(tan(r)/r - 1)/r² in z = r², |r| ≤ 0.792; relative",
        odd(mp.tan), odd_weight(mp.tan), 0, 0.792**2, {32: 6, 64: 14},
    ),
    Fit(
        "ASIN", "(asin(r)/r - 1)/r² in z = r², |r| ≤ ½; relative",
        odd(mp.asin), odd_weight(mp.asin), 0, 0.25, {32: 5, 64: 12},
    ),
    Fit(
        "ATAN", "(atan(r)/r - 1)/r² in z = r², |r| ≤ 1; relative",
        odd(mp.atan), odd_weight(mp.atan), 0, 1, {32: 9, 64: 20},
    ),
    Fit(
        "ERF_SMALL", "erf(a)/a - 1 in z = a², |a| ≤ 1; relative to erf",
        lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z) - 1,
        lambda z: mp.sqrt(z) / mp.erf(mp.sqrt(z)), 0, 1, {32: 7, 64: 13},
    ),
    Fit(
        "ERF_LARGE", "erf(a) in u = a - 2.46, 1 ≤ a ≤ 3.92; relative",
        lambda u: mp.erf(u + mp.mpf("2.46")), lambda u: 1 / mp.erf(u + mp.mpf("2.46")),
        -1.4601, 1.4601, {32: 13},
    ),
    erfcx_fit(32, 2.0, 10.1, 11),
    erfcx_fit(64, 4.0, 27.3, 23),
    Fit(
        "CBRT", "first guess of cbrt(m), 1 ≤ m ≤ 2; relative",
        lambda m: mp.cbrt(m), lambda m: 1 / mp.cbrt(m), 1, 2, {32: 3, 64: 6},
    ),
    Fit(
        "LGAMMA", "log(gamma(2 + t))/t, |t| ≤ ½; relative",
        lambda t: mp.loggamma(2 + t) / t, lambda t: t / mp.loggamma(2 + t),
        -0.5, 0.5, {32: 9, 64: 19},
    ),
    Fit(
        "STIRLING", "x·(lgamma(x) - (x - ½)log(x) + x - ½log(2π)) in w = 1/x², x ≥ 8; absolute",
        stirling, lambda w: mp.sqrt(w), 0, 1 / 64, {32: 2, 64: 7},
    ),
    Fit(
        "DIGAMMA", "digamma(x)/(x - x₀) in u = x - 1.5, 1 ≤ x ≤ 2, x₀ = 1.4616… its zero; relative",
        lambda u: mp.digamma(u + 1.5) / (u + 1.5 - DIGAMMA_ZERO),
        lambda u: (u + 1.5 - DIGAMMA_ZERO) / mp.digamma(u + 1.5), -0.5, 0.5, {32: 10, 64: 22},
    ),
    Fit(
        "DIGAMMA_TAIL", "x²·(log(x) - 1/(2x) - digamma(x)) in w = 1/x², x ≥ 8; absolute",
        digamma_tail, lambda w: w, 0, 1 / 64, {32: 2, 64: 7},
    ),
    Fit(
        "SINPI", "sin(πr)/r in z = r², |r| ≤ ½; relative",
        lambda z: mp.sin(mp.pi * mp.sqrt(z)) / mp.sqrt(z),
        lambda z: mp.sqrt(z) / mp.sin(mp.pi * mp.sqrt(z)), 0, 0.25, {32: 6, 64: 10},
    ),
]  # fmt: skip

HEADER = '''"""Coefficients of the polynomials of the mathematical library: data only.

Per precision (32, 64 bits) the terms of P, constant first. Each comment gives the function that P
approximates, the interval, and what the error is relative to; the errors stand beside the rows.
Made by `tests/fit_mathlib.py` (Remez exchange); change that file, not this one.
"""

from __future__ import annotations

from collections.abc import Mapping

Coefficients = Mapping[int, tuple[float, ...]]
'''


def main() -> None:
    print(HEADER)
    for fit in FITS:
        print(f"# {fit.about}.")
        print(f"{fit.name}: Coefficients = {{")
        for bits, count in fit.terms.items():
            terms = rounded(remez(fit, count), bits)
            error = float(mp.log(worst(fit, terms), 2))
            print(f"    # {count} terms, error 2^{error:.1f}")
            print(f"    {bits}: (" + ", ".join(repr(c) for c in terms) + ",),")
            print(fit.name, bits, count, f"2^{error:.1f}", file=sys.stderr)
        print("}\n")


if __name__ == "__main__":
    main()
