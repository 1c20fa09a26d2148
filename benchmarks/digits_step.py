"""One training step of the digits' perceptron: tdsl, NumPy by hand, and PyTorch where it is there.

The new parameters of all systems are compared before any timing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tdsl
from rounds import Effort, Quartiles, interleaved, ratio
from tables import Table, times

PROGRAM = Path(__file__).resolve().parent.parent / "examples" / "digits.tdsl"
BATCH, PIXELS, HIDDEN, CLASSES = 128, 64, 128, 10
RATE = 0.1


def inputs() -> list[Any]:
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> Any:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)

    x = rng.random((BATCH, PIXELS), dtype=np.float32)
    y = rng.integers(0, CLASSES, BATCH)
    return [x, y, normal(PIXELS, HIDDEN), normal(HIDDEN), normal(HIDDEN, CLASSES), normal(CLASSES)]


def numpy_step(data: list[Any]) -> Callable[[], Any]:
    """The step as one writes it by hand; the error function is a polynomial (Abramowitz and
    Stegun 7.1.26), since NumPy has none."""
    x, y, w1, c1, w2, c2 = data
    rows = np.arange(BATCH)
    a = np.array([0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429], np.float32)

    def erf_and_gauss(v: Any) -> tuple[Any, Any]:
        g = np.exp(-v * v)
        t = 1 / (1 + np.float32(0.3275911) * np.abs(v))
        poly = t * (a[0] + t * (a[1] + t * (a[2] + t * (a[3] + t * a[4]))))
        return np.sign(v) * (1 - poly * g), g

    def step() -> Any:
        u = x @ w1 + c1
        e, g = erf_and_gauss(u * np.float32(math.sqrt(0.5)))
        cdf = np.float32(0.5) * (1 + e)
        h = u * cdf
        z = h @ w2 + c2
        m = z.max(axis=1, keepdims=True)
        p = np.exp(z - m)
        s = p.sum(axis=1, keepdims=True)
        loss = float(np.mean(m[:, 0] + np.log(s[:, 0]) - z[rows, y]))
        p /= s
        p[rows, y] -= 1
        p /= np.float32(BATCH)
        du = (p @ w2.T) * (cdf + u * np.float32(1 / math.sqrt(2 * math.pi)) * g)
        r = np.float32(RATE)
        return (
            loss,
            w1 - r * (x.T @ du),
            c1 - r * du.sum(axis=0),
            w2 - r * (h.T @ p),
            c2 - r * p.sum(axis=0),
        )

    return step


def torch_step(data: list[Any], threads: int) -> Callable[[], Any] | None:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(threads)
    x, y = (torch.from_numpy(a) for a in data[:2])
    ps = [torch.from_numpy(a.copy()).requires_grad_() for a in data[2:]]

    def step() -> Any:
        w1, c1, w2, c2 = ps
        z = torch.nn.functional.gelu(x @ w1 + c1) @ w2 + c2
        loss = torch.nn.functional.cross_entropy(z, y)
        grads = torch.autograd.grad(loss, ps)
        with torch.no_grad():
            return (loss.item(), *(p - RATE * g for p, g in zip(ps, grads, strict=True)))

    return step


def tables(threads: int, quick: bool) -> list[Table]:
    data = inputs()
    compiled = tdsl.load(PROGRAM).step
    systems: dict[str, Callable[[], Any]] = {"tdsl": lambda: compiled(*data, RATE)}
    systems["NumPy by hand"] = numpy_step(data)
    tdsl.set_num_threads(threads)
    peer = torch_step(data, threads)
    if peer is not None:
        systems["torch"] = peer
    wanted = systems["tdsl"]()
    for name, step in systems.items():
        for a, b in zip(wanted, step(), strict=True):
            off = np.abs(np.asarray(a) - np.asarray(b)).max()
            if not off < 2e-5 + 1e-3 * np.abs(a).max():
                raise ValueError(f"digits, {name} disagrees: {off}")
    found = interleaved(systems, Effort.quick() if quick else Effort(rounds=200))
    rows = []
    for name, seconds in found.items():
        q = Quartiles.of([1e6 * s for s in seconds])
        spread = f"{q.low:.0f}–{q.high:.0f}"
        rows.append([name, f"{q.median:.0f}", spread, times(ratio(seconds, found["tdsl"]))])
    note = (
        "One training step of `examples/digits.tdsl`, batch 128, 64→128→10, on one thread: "
        "microseconds, and how many times as long as tdsl."
    )
    return [Table("Digits", note, ["", "median", "quartiles", "/ tdsl"], rows)]
