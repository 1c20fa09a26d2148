"""Fits `logistic.tdsl`: is a handwritten digit odd or even?

In: `data/digits.npz`. Out: text, and a picture of the 64 weights as an image. Also shows that the
loss, written naively, is right where NumPy's evaluation of the same text overflows.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import tdsl
from digits import load_digits
from display import picture, steps

HERE = Path(__file__).parent
STEPS, LEARNING_RATE, DECAY = 1000, 0.5, 1e-4


def main(quick: bool = False) -> float:
    """Fits and reports; returns the accuracy on the held-out fifth."""
    m = tdsl.load(HERE / "logistic.tdsl")
    x, y = load_digits()
    t = (y % 2).astype(np.float32)
    order = np.random.default_rng(0).permutation(len(x))
    test, train = order[: len(x) // 5], order[len(x) // 5 :]
    x_train, t_train = x[train], t[train]

    w, b, loss = np.zeros(64, np.float32), 0.0, np.inf
    for _ in steps(STEPS // 10 if quick else STEPS, "logistic"):
        loss, w, b = m.step(x_train, t_train, w, b, DECAY, LEARNING_RATE)
    odd = m.probability(x[test], w, b) > 0.5
    accuracy = float(np.mean(odd == (t[test] > 0.5)))
    print(f"odd or even: training loss {loss:.4f}, held-out accuracy {accuracy:.2%}")

    huge = w * np.float32(1000)
    with np.errstate(over="ignore", invalid="ignore"):
        z = x_train @ huge
        naive = np.mean(t_train * np.log(1 + np.exp(-z)) + (1 - t_train) * np.log(1 + np.exp(z)))
    value, gradient = m.loss.value_and_grad("w")(x_train, t_train, huge, 0.0, 0.0)
    print(
        f"weights a thousand times too large: loss {value:.4f} (NumPy, same formula: {naive}), "
        f"gradient finite: {bool(np.isfinite(gradient).all())}"
    )

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        limit = float(np.abs(w).max())
        image = axes.imshow(w.reshape(8, 8), cmap="coolwarm", vmin=-limit, vmax=limit)
        axes.set_title("weight of each pixel: ink here speaks for odd (red) or even (blue)")
        axes.axis("off")
        figure.colorbar(image)

    picture("logistic", draw)
    return accuracy


if __name__ == "__main__":
    main()
