"""Prices calls with `black_scholes.tdsl`, compares its greeks with the closed forms, and solves
for the implied volatility.

In: nothing (a random book of options). Out: a table of the largest differences, and a picture of
the greeks against the spot price. The closed forms below are those of Hull, *Options, Futures and
Other Derivatives*, ch. 19; nothing but the comparison uses them.
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import tdsl
from display import picture

HERE = Path(__file__).parent
GREEKS = ("delta", "gamma", "vega", "theta", "rho")


def closed_forms(
    s: np.ndarray, k: np.ndarray, t: np.ndarray, r: np.ndarray, v: np.ndarray
) -> dict[str, np.ndarray]:
    """Price and greeks of calls on shares without dividend, f64, from their formulas."""
    cdf = np.vectorize(lambda x: 0.5 * math.erfc(-x * math.sqrt(0.5)))
    d1 = (np.log(s / k) + (r + v**2 / 2) * t) / (v * np.sqrt(t))
    d2 = d1 - v * np.sqrt(t)
    density = np.exp(-(d1**2) / 2) / math.sqrt(2 * math.pi)
    discounted = k * np.exp(-r * t)
    return {
        "price": s * cdf(d1) - discounted * cdf(d2),
        "delta": cdf(d1),
        "gamma": density / (s * v * np.sqrt(t)),
        "vega": s * density * np.sqrt(t),
        "theta": -s * density * v / (2 * np.sqrt(t)) - r * discounted * cdf(d2),
        "rho": discounted * t * cdf(d2),
    }


def random_book(count: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Inputs (s, k, t, r, v) of `count` options, each f64 [count]; near enough to the
    money for every price to tell its volatility."""
    rng = np.random.default_rng(seed)
    s, k = rng.uniform(90, 110, (2, count))
    t = rng.uniform(0.25, 2, count)
    r = rng.uniform(0, 0.08, count)
    v = rng.uniform(0.15, 0.5, count)
    return s, k, t, r, v


def main(quick: bool = False) -> float:
    """Compares and reports; returns the largest difference from a closed form."""
    m = tdsl.load(HERE / "black_scholes.tdsl")
    book = random_book(1_000 if quick else 100_000)
    expected = closed_forms(*book)
    m.greeks(*book)  # compiles
    before = time.perf_counter()
    found = dict(zip(GREEKS, m.greeks(*book), strict=True)) | {"price": m.price(*book)}
    took = time.perf_counter() - before
    print(f"{len(book[0])} options: price and five greeks in {took * 1e3:.1f} ms")

    worst = 0.0
    for name, closed in expected.items():
        difference = float(np.abs(found[name] - closed).max())
        worst = max(worst, difference)
        print(f"  {name:6s} differs from its closed form by at most {difference:.1e}")

    s, k, t, r, v = book
    guess, rounds = np.full_like(v, 0.3), 0
    while np.abs(m.price(s, k, t, r, guess) - expected["price"]).max() > 1e-10 and rounds < 20:
        guess, rounds = m.newton(expected["price"], s, k, t, r, guess), rounds + 1
    print(
        f"implied volatility found again from the prices in {rounds} Newton steps: "
        f"off by at most {np.abs(guess - v).max():.1e}"
    )

    def draw(figure: Any) -> None:
        spot = np.linspace(60, 140, 200)
        curve = (spot, *(np.full_like(spot, c) for c in (100.0, 0.5, 0.03, 0.25)))
        values = {"price": m.price(*curve)} | dict(zip(GREEKS, m.greeks(*curve), strict=True))
        for axes, (name, line) in zip(figure.subplots(2, 3).flat, values.items(), strict=True):
            axes.plot(spot, line)
            axes.set_title(name, fontsize=10)
            axes.axvline(100, color="0.8", zorder=0)
        figure.supxlabel("spot price; strike 100, half a year, r = 3 %, volatility 25 %")

    picture("black_scholes", draw, size=(9, 5))
    return worst


if __name__ == "__main__":
    main()
