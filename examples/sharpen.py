"""Sharpens a blurred picture with `sharpen.tdsl`, first by a kernel from the textbook, then by
one that is learnt from the blurred and the sharp picture.

In: `data/digits.npz`, from which a sheet of coloured digits is painted. Out: the signal-to-noise
ratios, and the pictures side by side.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tdsl
from digits import load_digits
from display import picture, steps

HERE = Path(__file__).parent
TEXTBOOK = np.array([[0, -1, 0], [-1, 5, -1], [0, -1, 0]], np.float32)
STEPS = 30


def paint(rows: int, columns: int, scale: int = 6, seed: int = 0) -> np.ndarray:
    """A sheet of digits enlarged `scale` times, each in an ink of its own on white paper:
    f32 [3, 8·scale·rows, 8·scale·columns] in 0…1."""
    rng = np.random.default_rng(seed)
    images = load_digits()[0].reshape(-1, 8, 8)
    images = images[rng.choice(len(images), rows * columns, replace=False)]
    # Linear interpolation between pixel centres, as a matrix: enlarged = up @ image @ up.T
    side = 8 * scale
    at = (np.arange(side) + 0.5) / scale - 0.5
    low = np.clip(np.floor(at).astype(int), 0, 6)
    share = np.clip(at - low, 0, 1).astype(np.float32)
    up = np.zeros((side, 8), np.float32)
    up[np.arange(side), low] = 1 - share
    up[np.arange(side), low + 1] += share
    strokes = np.clip(4 * (up @ images @ up.T - 0.35), 0, 1)
    ink = rng.uniform(0, 0.75, (rows * columns, 3, 1, 1)).astype(np.float32)
    tiles = (1 - strokes[:, None] * (1 - ink)).reshape(rows, columns, 3, side, side)
    return np.ascontiguousarray(
        tiles.transpose(2, 0, 3, 1, 4).reshape(3, rows * side, columns * side), np.float32
    )


def gaussian_kernel(sigma: float, size: int) -> np.ndarray:
    """A blur of standard deviation `sigma` pixels: f32 [size, size], summing to 1."""
    line = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * sigma**2))
    kernel: np.ndarray = np.outer(line, line) / line.sum() ** 2
    return kernel.astype(np.float32)


def framed(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """`x` with its border repeated outwards, so that convolving gives back its size."""
    n = kernel.shape[0] // 2
    return np.pad(x, ((0, 0), (n, n), (n, n)), mode="edge")


def decibels(x: np.ndarray, reference: np.ndarray) -> float:
    """Peak signal-to-noise ratio of pictures in 0…1."""
    return float(-10 * np.log10(np.mean((x - reference) ** 2)))


def main(quick: bool = False) -> tuple[float, float, float]:
    """Sharpens and reports; returns the decibels of the blurred picture, of the one sharpened by
    the textbook's kernel and of the one sharpened by the learnt kernel."""
    m = tdsl.load(HERE / "sharpen.tdsl")
    sharp = paint(2, 2) if quick else paint(4, 6)
    blur = gaussian_kernel(1.2, 7)
    blurred = m.convolve(framed(sharp, blur), blur)
    by_textbook = m.convolve(framed(blurred, TEXTBOOK), TEXTBOOK)

    kernel = np.zeros((5, 5), np.float32)
    kernel[2, 2] = 1
    # The mean carries no detail; without it the descent is better conditioned.
    mean = blurred.mean()
    x, target = framed(blurred, kernel) - mean, sharp - mean
    direction, last = np.zeros_like(kernel), 1.0
    first = m.mismatch(x, kernel, target)
    for _ in steps(STEPS, "sharpen"):
        _, kernel, direction, last = m.descend(x, kernel, target, direction, last)
    by_learning = m.convolve(x, kernel) + mean

    results = {"blurred": blurred, "textbook": by_textbook, "learnt": by_learning}
    ratios = {name: decibels(result, sharp) for name, result in results.items()}
    print(f"picture of {sharp.shape[1]}×{sharp.shape[2]} pixels; against the sharp one:")
    for name, ratio in ratios.items():
        print(f"  {name:8s} {ratio:5.2f} dB")
    print(
        f"{STEPS} steps of conjugate gradients on the kernel took the mean squared error from "
        f"{first:.2e} to {m.mismatch(x, kernel, target):.2e}"
    )

    def draw(figure: Any) -> None:
        shown = {"sharp": sharp} | results
        for axes, (name, image) in zip(figure.subplots(2, 2).flat, shown.items(), strict=True):
            axes.imshow(np.clip(image.transpose(1, 2, 0), 0, 1), interpolation="nearest")
            axes.set_title(name + (f": {ratios[name]:.1f} dB" if name in ratios else ""))
            axes.axis("off")

    picture("sharpen", draw, size=(10, 7.2))
    return ratios["blurred"], ratios["textbook"], ratios["learnt"]


if __name__ == "__main__":
    main()
