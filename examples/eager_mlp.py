"""Trains a small network on the handwritten digits as one would with PyTorch: `nn` and `optim`
alone, no `.tdsl` file.

In: `data/digits.npz`; a fifth is held out. Out: text. Every operation and every gradient is
compiled when it first meets its kind of operands, and called natively from then on.
"""

from __future__ import annotations

import time

import numpy as np
import tdsl as torch
from digits import load_digits
from display import steps
from tdsl import nn
from tdsl.nn import functional as F

HIDDEN, BATCH, EPOCHS = 128, 128, 40


class Perceptron(nn.Module):
    """Scores of the ten digits for images of 64 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(64, HIDDEN)
        self.dropout = nn.Dropout(0.2)
        self.scores = nn.Linear(HIDDEN, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scores(self.dropout(F.gelu(self.hidden(x))))


def main(quick: bool = False) -> float:
    """Trains and reports; returns the accuracy on the held-out fifth (with `quick`, after 10
    epochs in place of 40)."""
    start = time.perf_counter()
    torch.manual_seed(0)
    images, labels = load_digits()
    x, y = torch.from_numpy(images), torch.from_numpy(labels)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(x)))
    test, train = order[: len(x) // 5], order[len(x) // 5 :]

    model = Perceptron()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    epochs = EPOCHS // 4 if quick else EPOCHS
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    times: list[float] = []
    for epoch in steps(epochs, "eager digits"):
        total = 0.0
        batches = train[torch.randperm(len(train))].split(BATCH)
        for batch in batches:
            before = time.perf_counter()
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x[batch]), y[batch])
            loss.backward()
            optimizer.step()
            times.append(time.perf_counter() - before)
            total += loss.item()
        schedule.step()
        if (epoch + 1) % (epochs // 5) == 0:
            print(
                f"epoch {epoch + 1:3d}   training loss {total / len(batches):.4f}   "
                f"held-out accuracy {accuracy(model, x[test], y[test]):.2%}"
            )
    print(
        f"{model}\none training step of {BATCH} images takes {np.median(times) * 1e6:.0f} µs "
        f"(median of {len(times)}); {time.perf_counter() - start:.1f} s in all"
    )
    return accuracy(model, x[test], y[test])


def accuracy(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> float:
    """The share of images whose digit is right."""
    model.eval()
    with torch.no_grad():
        found = (model(x).argmax(1) == y).float().mean().item()
    model.train()
    return found


if __name__ == "__main__":
    main()
