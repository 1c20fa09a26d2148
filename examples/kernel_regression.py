"""Fits a curve to noisy points with `kernel_regression.tdsl`; the width of the kernel is found by
the gradient of the leave-one-out error.

In: nothing (seeded points about a known curve). Out: the width found, the errors, and a picture.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import tdsl
from display import picture, steps

HERE = Path(__file__).parent
NOISE, START, STEPS, TOLERANCE = 0.3, 0.2, 40, 1e-7


def curve(x: np.ndarray) -> np.ndarray:
    """The curve to be found: it oscillates faster from left to right."""
    y: np.ndarray = np.sin(2 * np.pi * (1.2 * x) ** 3) + 0.3 * np.cos(20 * x)
    return y


def noisy_points(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Sorted x in 0…1 and curve(x) with Gaussian noise, both f64 [count]."""
    rng = np.random.default_rng(seed)
    x = np.sort(rng.uniform(0, 1, count))
    return x, curve(x) + NOISE * rng.standard_normal(count)


def main(quick: bool = False) -> tuple[float, float]:
    """Fits and reports; returns the width found and the slope of the error there."""
    m = tdsl.load(HERE / "kernel_regression.tdsl")
    x, y = noisy_points(200 if quick else 1000)
    error_and_slope = m.leave_one_out.value_and_grad("log_h")

    # The secant method on the slope; downhill in fixed steps while the error is not convex.
    log_h, tried = math.log(START), []
    for _ in steps(STEPS, "kernel_regression"):
        error, slope = error_and_slope(x, y, log_h)
        tried.append((log_h, error, slope))
        if abs(slope) < TOLERANCE:
            break
        move = math.copysign(0.3, -slope)
        if len(tried) > 1:
            bend = (slope - tried[-2][2]) / (log_h - tried[-2][0])
            if bend > 0:
                move = max(-0.5, min(0.5, -slope / bend))
        log_h += move
    log_h, error, slope = tried[-1]
    width = math.exp(log_h)

    at = np.linspace(0, 1, 500)
    away = float(np.sqrt(np.mean((m.predict(at, x, y, width) - curve(at)) ** 2)))
    print(
        f"{len(x)} points: width {START} → {width:.5f} in {len(tried)} steps; leave-one-out error "
        f"{tried[0][1]:.4f} → {error:.4f} (the noise alone: {NOISE**2:.4f}), slope {slope:.0e}\n"
        f"root mean square distance from the true curve: {away:.4f}"
    )

    def draw(figure: Any) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(2, 1))
        left.plot(x, y, ".", color="0.8", markersize=3)
        left.plot(at, curve(at), "k--", linewidth=1, label="true")
        for h in (START, width):
            left.plot(at, m.predict(at, x, y, h), label=f"width {h:.3g}")
        left.legend()
        widths = np.geomspace(0.003, 0.3, 40)
        right.semilogx(widths, [m.leave_one_out(x, y, math.log(h)) for h in widths])
        right.plot([math.exp(t[0]) for t in tried], [t[1] for t in tried], "o-", markersize=3)
        right.set_xlabel("width")
        right.set_ylabel("leave-one-out error")

    picture("kernel_regression", draw, size=(10, 4))
    return width, slope


if __name__ == "__main__":
    main()
