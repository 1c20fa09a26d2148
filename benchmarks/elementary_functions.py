"""Elementary functions in cache: nanoseconds an element on one thread, and the largest error found,
in units in the last place, of tdsl and of PyTorch. The reference is PyTorch's in f64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tdsl
from rounds import Effort, Quartiles, interleaved, ratio
from tables import Table, times

ELEMENTS = 16_384  # 64 KiB in, 64 KiB out: in the second cache
SAMPLES = 1_000_000

#: By name in both: the range that arguments are drawn from.
DOMAINS: dict[str, tuple[float, float]] = {
    "exp": (-80, 80),
    "exp2": (-120, 120),
    "expm1": (-10, 10),
    "log": (1e-3, 1e3),
    "log2": (1e-3, 1e3),
    "log10": (1e-3, 1e3),
    "log1p": (-0.9, 10),
    "sqrt": (0, 1e3),
    "rsqrt": (1e-3, 1e3),
    "sin": (-100, 100),
    "cos": (-100, 100),
    "tan": (-100, 100),
    "asin": (-1, 1),
    "acos": (-1, 1),
    "atan": (-10, 10),
    "sinh": (-10, 10),
    "cosh": (-10, 10),
    "tanh": (-5, 5),
    "erf": (-4, 4),
    "erfc": (-4, 4),
    "sigmoid": (-20, 20),
    "lgamma": (0.1, 30),
    "digamma": (2, 30),
}
QUICK = ("exp", "log", "sin", "tanh", "erf")


def _ulp(found: Any, wanted: Any) -> float:
    """The largest error in units of the last place of the f32 nearest to what is wanted."""
    unit = np.spacing(np.maximum(np.abs(wanted.astype(np.float32)), np.float32(1.2e-38)))
    return float(np.max(np.abs(found.astype(float) - wanted) / unit))


def _row(name: str, f: Any, torch: Any, effort: Effort) -> tuple[list[str], bool]:
    g = getattr(torch, name)
    rng = np.random.default_rng(0)
    low, high = DOMAINS[name]
    many = rng.uniform(low, high, SAMPLES).astype(np.float32)
    exact = g(torch.from_numpy(many.astype(float))).numpy()
    ours, theirs = _ulp(f(many), exact), _ulp(g(torch.from_numpy(many)).numpy(), exact)
    x = many[:ELEMENTS].copy()
    t = torch.from_numpy(x)
    works: dict[str, Callable[[], object]] = {"tdsl": lambda: f(x), "torch": lambda: g(t)}
    found = interleaved(works, effort)
    ns = {n: f"{1e9 * Quartiles.of(s).median / ELEMENTS:.3f}" for n, s in found.items()}
    slower = ratio(found["torch"], found["tdsl"])
    row = [name, ns["tdsl"], ns["torch"], times(slower), f"{ours:.2f}", f"{theirs:.2f}"]
    return row, slower < 1


def tables(threads: int, quick: bool) -> list[Table]:
    try:
        import torch
    except ImportError:
        return []
    torch.set_num_threads(1)
    names = QUICK if quick else tuple(DOMAINS)
    program = "".join(f"def f_{n}(x: f32[n]) -> f32[n]:\n    return {n}(x)\n\n" for n in names)
    module = tdsl.compile(program)
    effort = Effort.quick() if quick else Effort(rounds=25, seconds=2, turn=0.002)
    rows, missed = [], []
    for name in names:
        row, slower = _row(name, module[f"f_{name}"], torch, effort)
        rows.append(row)
        if slower:
            missed.append(name)
    return [
        Table(
            "Elementary functions",
            f"Nanoseconds an element ({ELEMENTS:,} of them, f32, one thread), how many times as "
            f"long PyTorch takes, and the largest error in ulp over {SAMPLES:,} arguments.",
            ["", "tdsl", "torch", "torch / tdsl", "tdsl, ulp", "torch, ulp"],
            rows,
            missed,
        )
    ]
