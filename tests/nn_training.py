"""Networks trained on the digits with `nn` and `optim` alone, written for PyTorch and tdsl alike.

In: the module under test, initial weights. Out: the loss before every step. What PyTorch gave
stands in `golden/nn_training.npz`, with the weights that it began from; `python -m
tests.nn_training` records it anew, and needs PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
GOLDEN = HERE / "golden" / "nn_training.npz"
DIGITS = HERE.parent / "examples" / "data" / "digits.npz"
STEPS, BATCH = 50, 64

#: name: (the network, the optimizer, its settings)
RUNS: Mapping[str, tuple[str, str, Mapping[str, Any]]] = {
    "mlp-sgd": ("mlp", "SGD", {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-4}),
    "mlp-adam": ("mlp", "Adam", {"lr": 0.01}),
    "cnn-sgd": ("cnn", "SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "cnn-adamw": ("cnn", "AdamW", {"lr": 0.005, "amsgrad": True}),
}
DTYPES = ("float32", "float64")


def network(module: Any, name: str) -> Any:
    """An untrained network for images of 8×8 pixels."""
    nn = module.nn
    if name == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.GELU(), nn.Linear(32, 10))
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip


def losses(module: Any, run: str, weights: Mapping[str, Any], dtype: str) -> list[float]:
    """The loss before each of the steps of a run."""
    name, optimizer, settings = RUNS[run]
    net = network(module, name).to(getattr(module, dtype))
    prefix = name + "."
    net.load_state_dict(
        {k.removeprefix(prefix): module.tensor(v) for k, v in weights.items() if prefix in k}
    )
    steps = getattr(module.optim, optimizer)(net.parameters(), **settings)
    criterion = module.nn.CrossEntropyLoss()
    with np.load(DIGITS) as data:
        images = module.tensor(data["images"].astype(dtype)).unsqueeze(1) / 16
        labels = module.tensor(data["labels"].astype(np.int64))
    found = []
    for k in range(STEPS):
        at = k * BATCH % (len(labels) - BATCH)
        steps.zero_grad()
        loss = criterion(net(images[at : at + BATCH]), labels[at : at + BATCH])
        loss.backward()
        steps.step()
        found.append(loss.item())
    return found


def record() -> None:
    """Write what PyTorch gives."""
    import torch

    torch.manual_seed(0)
    held: dict[str, np.ndarray[Any, Any]] = {}
    for name in ("mlp", "cnn"):
        for key, value in network(torch, name).state_dict().items():
            held[f"{name}.{key}"] = value.numpy()
    weights = dict(held)
    for run in RUNS:
        for dtype in DTYPES:
            held[f"losses/{run}/{dtype}"] = np.array(losses(torch, run, weights, dtype))
    np.savez_compressed(GOLDEN, **held)


if __name__ == "__main__":
    record()
