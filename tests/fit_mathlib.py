"""Fits the polynomials of `compiler/mathlib_coefficients.py` and prints that file.

In: the table `FITS` below: for each polynomial P the function g that it approximates, the weight w
under which max |w·(g - P)| is least, the interval, and the number of terms per precision.
Out: the text of the module. Left to others: using it.

Method: Remez exchange on a grid of Chebyshev points in mpmath; the terms are then rounded to the
precision in which they are used, and the error stated is that of the rounded polynomial.

    python tests/fit_mathlib.py > compiler/mathlib_coefficients.py
"""

from __future__ import annotations

import sys
import textwrap
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
        error = [weight[i] * (goal[i] - mp.polyval(best[::-1], grid[i])) for i in range(size)]
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
        "EXPM1", "the same, with a term more",
        lambda r: (mp.expm1(r) - r) / r**2, lambda r: abs(r**2 / mp.expm1(r)),
        -0.3475, 0.3475, {32: 6, 64: 11},
    ),
    Fit(
        "SINH", "(sinh(r)/r - 1)/r² in z = r², |r| ≤ 0.3475; relative",
        odd(mp.sinh), odd_weight(mp.sinh), 0, 0.3475**2, {32: 3, 64: 6},
    ),
    Fit(
        "COSH", "(cosh(r) - 1)/r² in z = r², |r| ≤ 0.3475; relative to cosh",
        lambda z: (mp.cosh(mp.sqrt(z)) - 1) / z, lambda z: z,
        0, 0.3475**2, {32: 3, 64: 6},
    ),
    Fit(
        "LOG", "(log(1 + f) - f)/f², √½ ≤ 1 + f ≤ √2; relative to log",
        lambda f: (mp.log1p(f) - f) / f**2, lambda f: abs(f**2 / mp.log1p(f)),
        -0.2930, 0.4143, {32: 10},
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
        odd(mp.tan), odd_weight(mp.tan), 0, 0.792**2, {32: 7, 64: 15},
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
        "LOG_ERFC", "log(erfc(a)) in u = a - 1, 1 ≤ a ≤ 4; absolute in erfc",
        lambda u: mp.log(mp.erfc(u + 1)), lambda u: mp.erfc(u + 1), 0, 3, {32: 7},
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
        "SIN_OF_PI", "(sin(πr)/(πr) - 1)/r² in z = r², |r| ≤ ½; relative",
        lambda z: (mp.sincpi(mp.sqrt(z)) - 1) / z, lambda z: z / mp.sincpi(mp.sqrt(z)),
        0, 0.25, {32: 5, 64: 9},
    ),
]  # fmt: skip


@dataclass(frozen=True)
class HalfTangent:
    """Polynomials P, Q in z = x² with tanh(x/2) ≈ x·P/Q for 0 ≤ x ≤ high, and H = (2P - Q)/z.

    The error is relative, times 1/cosh(x): so it counts in tanh(x). `terms` are those of P and Q
    after the constants c and 2c: c places the products where rounding costs little.
    """

    name: str
    constant: float
    high: dict[int, float]
    terms: dict[int, tuple[int, int]]

    def fitted(self, bits: int) -> tuple[dict[str, list[mp.mpf]], mp.mpf]:
        """Remez exchange; within each step, E·Q of E·Q·(-1)^i is taken from the Q before."""
        p, q = self.terms[bits]
        count = p + q
        size = 40 * count + 100
        high = mp.mpf(self.high[bits])
        grid = [high / 2 * (1 - mp.cos(mp.pi * (2 * i + 1) / (2 * size))) for i in range(size)]
        goal = [mp.tanh(x / 2) / x for x in grid]
        weight = [x / (mp.tanh(x / 2) * mp.cosh(x)) for x in grid]
        chosen = [int(size * (0.12 + 0.88 * (k + 0.5) / (count + 1))) for k in range(count + 1)]
        constant = mp.mpf(self.constant)
        while True:
            scale = [2 * constant * mp.cosh(grid[i] / 2) for i in chosen]
            for _ in range(20):
                system, right = mp.matrix(count + 1, count + 1), mp.matrix(count + 1, 1)
                for row, i in enumerate(chosen):
                    z = grid[i] ** 2
                    for k in range(p):
                        system[row, k] = z ** (k + 1)
                    for k in range(q):
                        system[row, p + k] = -goal[i] * z ** (k + 1)
                    system[row, count] = -((-1) ** row) * scale[row] / weight[i]
                    right[row] = (2 * goal[i] - 1) * constant
                *inner, level = mp.lu_solve(system, right)
                upper, lower = [constant, *inner[:p]], [2 * constant, *inner[p:]]
                scale = [mp.polyval(lower[::-1], grid[i] ** 2) for i in chosen]
            error = [
                w * (g - mp.polyval(upper[::-1], x * x) / mp.polyval(lower[::-1], x * x))
                for w, g, x in zip(weight, goal, grid, strict=True)
            ]
            chosen = alternate(error)
            if max(map(abs, error)) < abs(level) * mp.mpf("1.01"):
                break
            assert len(chosen) == count + 1
        padded = [*upper, *[mp.mpf(0)] * (len(lower) - len(upper))]
        difference = [2 * a - b for a, b in zip(padded, lower, strict=True)]
        return {"P": upper, "Q": lower, "H": difference[1:]}, abs(level)


TANH = HalfTangent("TANH", 1.5, {32: 9.3, 64: 19.2}, {32: (2, 3), 64: (6, 6)})


@dataclass(frozen=True)
class Words:
    """A constant as an unevaluated sum of floats; `first` shortens the first word to so many bits,
    so that its product with a small integer is exact."""

    name: str
    about: str
    value: mp.mpf
    count: int
    first: dict[int, int] | None = None

    def row(self, bits: int) -> list[float]:
        left, words = self.value, []
        for i in range(self.count):
            keep = self.first[bits] if self.first and i == 0 else {32: 24, 64: 53}[bits]
            scale = mp.mpf(2) ** (keep - int(mp.floor(mp.log(abs(left), 2))) - 1)
            words.append(float(mp.nint(left * scale) / scale))
            left -= mp.mpf(words[-1])
        return words


SHORT = {32: 15, 64: 40}

WORDS = [
    Words("LN2", "log(2)", mp.log(2), 2),
    Words("LN2_SHORT", "log(2), the first word short", mp.log(2), 2, SHORT),
    Words("LOG10_2_SHORT", "log10(2), the first word short", mp.log10(2), 2, SHORT),
    Words("LOG2_E", "log2(e)", 1 / mp.log(2), 2),
    Words("TWO_LOG2_E", "2·log2(e)", 2 / mp.log(2), 2),
    Words("LOG10_E", "log10(e)", 1 / mp.log(10), 2),
    Words("THIRD", "1/3", mp.mpf(1) / 3, 2),
    Words("HALF_PI", "π/2", mp.pi / 2, 3),
    Words("DIGAMMA_ZERO_LESS_1", "x₀ - 1, digamma(x₀) = 0", DIGAMMA_ZERO - 1, 2),
]

LIMBS = 40


def two_over_pi() -> list[int]:
    """The bits of 2/π in limbs of 32, after two limbs of zeros for what stands before the point."""
    with mp.workdps(420):
        whole = int(mp.floor(2 / mp.pi * mp.mpf(2) ** (32 * (LIMBS - 2))))
    return [whole >> (32 * (LIMBS - 1 - i)) & 0xFFFFFFFF for i in range(LIMBS)]


HEADER = '''"""Coefficients of the polynomials of the mathematical library: data only.

Per precision (32, 64 bits) the terms of P, constant first. Each comment gives the function that P
approximates, the interval, and what the error is relative to; the errors stand beside the rows.
Made by `tests/fit_mathlib.py` (Remez exchange); change that file, not this one.
"""

from __future__ import annotations

from collections.abc import Mapping

Coefficients = Mapping[int, tuple[float, ...]]
# fmt: off
'''


def row(label: str, items: Sequence[str]) -> str:
    """`label: (items…),` or the bare items, filled to the line length."""
    text = f"{label}: ({', '.join(items)},)," if label else ", ".join(items) + ","
    return textwrap.fill(text, 100, initial_indent="    ", subsequent_indent="    ")


def print_half_tangent(fit: HalfTangent) -> None:
    tables = {bits: fit.fitted(bits) for bits in fit.terms}
    about = {
        "P": "P and Q with tanh(x/2) = x·P/Q in z = x², 0 ≤ x ≤ 9.3 (f64: 19.2); relative, times"
        " 1/cosh(x)",
        "Q": "Q, as above",
        "H": "(2P - Q)/z, as above",
    }
    for letter, text in about.items():
        print(textwrap.fill(f"{text}.", 100, initial_indent="# ", subsequent_indent="# "))
        print(f"{fit.name}_{letter}: Coefficients = {{")
        for bits, (polynomials, level) in tables.items():
            terms = rounded(polynomials[letter], bits)
            print(f"    # {len(terms)} terms, error 2^{float(mp.log(level, 2)):.1f}")
            print(row(str(bits), list(map(repr, terms))))
        print("}\n")


def main() -> None:
    print(HEADER)
    for fit in FITS:
        print(textwrap.fill(f"{fit.about}.", 100, initial_indent="# ", subsequent_indent="# "))
        print(f"{fit.name}: Coefficients = {{")
        for bits, count in fit.terms.items():
            terms = rounded(remez(fit, count), bits)
            error = float(mp.log(worst(fit, terms), 2))
            print(f"    # {count} terms, error 2^{error:.1f}")
            print(row(str(bits), list(map(repr, terms))))
            print(fit.name, bits, count, f"2^{error:.1f}", file=sys.stderr)
        print("}\n")
    print_half_tangent(TANH)
    for constant in WORDS:
        print(f"# {constant.about}.")
        print(f"{constant.name}: Coefficients = {{")
        for bits in (32, 64):
            print(row(str(bits), list(map(repr, constant.row(bits)))))
        print("}\n")
    print(f"# {' '.join((two_over_pi.__doc__ or '').split())}")
    print("TWO_OVER_PI_LIMBS: tuple[int, ...] = (")
    print(row("", [f"0x{limb:08X}" for limb in two_over_pi()]))
    print(")")


if __name__ == "__main__":
    main()
