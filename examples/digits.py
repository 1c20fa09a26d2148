"""Trains `digits.tdsl` on the UCI handwritten digits and prints loss, accuracy and step time.

In: `data/digits.npz` (1,797 images of 8×8 pixels); a fifth is held out. Out: text, and a picture
of the held-out digits that are got wrong. The mathematics is all in `digits.tdsl`; here are the
data, the initial weights and the loop over batches.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import tdsl
from display import picture, steps

HERE = Path(__file__).parent
HIDDEN, BATCH, EPOCHS, LEARNING_RATE = 128, 128, 100, 1.0
# Gaussian noise added to the training images (pixels are in 0…1): it keeps so small a training
# set from being learnt by heart, and is worth one per cent of accuracy.
NOISE = 0.25


def load_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images as f32 [1797, 64] in 0…1, labels as i64 [1797]."""
    with np.load(HERE / "data" / "digits.npz") as data:
        images = data["images"].reshape(-1, 64).astype(np.float32) / np.float32(16)
        return images, data["labels"].astype(np.int64)


def initial_parameters(rng: np.random.Generator, hidden: int = HIDDEN) -> list[np.ndarray]:
    """Weights with variance 2/inputs and 1/inputs (He; Glorot), offsets zero; all f32."""
    w1 = (rng.standard_normal((64, hidden)) * np.sqrt(2 / 64)).astype(np.float32)
    w2 = (rng.standard_normal((hidden, 10)) * np.sqrt(1 / hidden)).astype(np.float32)
    return [w1, np.zeros(hidden, np.float32), w2, np.zeros(10, np.float32)]


def main(quick: bool = False) -> float:
    """Trains and reports; returns the accuracy on the held-out fifth (with `quick`, after 10
    epochs in place of 100)."""
    start = time.perf_counter()
    m = tdsl.load(HERE / "digits.tdsl")
    x, y = load_digits()
    rng = np.random.default_rng(0)
    order = rng.permutation(len(x))
    test, train = order[: len(x) // 5], order[len(x) // 5 :]
    parameters = initial_parameters(rng)
    step = m.step.donate("w1", "c1", "w2", "c2")  # new parameters in the old ones' place

    times: list[float] = []
    epochs = EPOCHS // 10 if quick else EPOCHS
    for epoch in steps(epochs, "digits"):
        rate = LEARNING_RATE * (1 - epoch / epochs)
        order = rng.permutation(train)
        losses: list[float] = []
        for at in range(0, len(order), BATCH):
            batch = order[at : at + BATCH]
            noise = rng.standard_normal((len(batch), 64), dtype=np.float32)
            noisy = x[batch] + np.float32(NOISE) * noise
            before = time.perf_counter()
            loss, *parameters = step(noisy, y[batch], *parameters, rate)
            times.append(time.perf_counter() - before)
            losses.append(loss)
        if (epoch + 1) % (epochs // 5) == 0:
            held_out = m.accuracy(x[test], y[test], *parameters)
            print(
                f"epoch {epoch + 1:3d}   training loss {np.mean(losses):.4f}   "
                f"held-out loss {m.loss(x[test], y[test], *parameters):.4f}   "
                f"accuracy {held_out:.2%}"
            )

    guess = m.predict(x[test], *parameters)
    wrong = np.flatnonzero(guess != y[test])
    print(
        f"{len(test) - len(wrong)} of {len(test)} held-out digits right; one training step of "
        f"{BATCH} images takes {np.median(times) * 1e6:.0f} µs (median of {len(times)}); "
        f"{time.perf_counter() - start:.1f} s in all"
    )

    def draw(figure: Any) -> None:
        figure.suptitle(f"the {len(wrong)} held-out digits got wrong: shown → guessed")
        columns = 8
        rows = max(1, -(-len(wrong) // columns))
        for axes, i in zip(figure.subplots(rows, columns, squeeze=False).flat, wrong, strict=False):
            axes.imshow(x[test[i]].reshape(8, 8), cmap="gray_r")
            axes.set_title(f"{y[test[i]]} → {guess[i]}", fontsize=9)
        for axes in figure.axes:
            axes.axis("off")

    picture("digits", draw, size=(7, 2))
    return float(1 - len(wrong) / len(test))


if __name__ == "__main__":
    main()
