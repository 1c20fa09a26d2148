"""Eager operations by size: tdsl, PyTorch and NumPy, forward and with the backward pass.

Run: `python benchmarks/eager_operations.py [--threads 1] [--sizes 1 1000 …]`. Needs PyTorch. The
systems take turns in one process; each figure is the median over many rounds, each ratio the
median of the rounds' ratios (above 1: tdsl is faster). Results are compared before any timing.
Last, the memory that 10,000 iterations of a small training step leave behind.
"""

from __future__ import annotations

import argparse
import gc
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
BUDGET = 0.02  # seconds for one system's turn in one round

Work = Callable[[], Any]


#: (function of the module and its operands, how many operands, whether it has a backward).
OPERATIONS: Mapping[str, tuple[Callable[..., Any], int, bool]] = {
    "x + y": (lambda m, x, y: x + y, 2, True),
    "x * 2.5": (lambda m, x: x * 2.5, 1, True),
    "exp": (lambda m, x: m.exp(x), 1, True),
    "tanh": (lambda m, x: m.tanh(x), 1, True),
    "sum": (lambda m, x: x.sum(), 1, True),
    "x > y": (lambda m, x, y: x > y, 2, False),
    "x @ y": (lambda m, x, y: x @ y, 2, True),
}
MATRICES = "x @ y"  # its operands are square


def matrices(n: int) -> int:
    """The side of square matrices with about n elements."""
    return max(1, round(n**0.5))


def measured(works: Mapping[str, Work], rounds: int) -> dict[str, list[float]]:
    """Seconds per call of each system, round by round, the systems taking turns."""
    repeats = {}
    for name, work in works.items():
        work()
        start = time.perf_counter()
        work()
        repeats[name] = max(1, min(20_000, int(BUDGET / max(time.perf_counter() - start, 1e-7))))
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            start = time.perf_counter()
            for _ in range(repeats[name]):
                work()
            found[name].append((time.perf_counter() - start) / repeats[name])
    return found


def row(label: str, n: int, works: Mapping[str, Work], rounds: int) -> str:
    found = measured(works, rounds)
    cells = []
    for name in ("tdsl", "torch", "numpy"):
        if name not in found:
            cells.append(f"{'–':>10}")
            continue
        cells.append(f"{1e6 * statistics.median(found[name]):10.2f}")
    for name in ("torch", "numpy"):
        if name in found:
            pairs = zip(found[name], found["tdsl"], strict=True)
            cells.append(f"{statistics.median(b / a for b, a in pairs):7.2f}")
        else:
            cells.append(f"{'–':>7}")
    return f"{label:22} {n:>10,} {' '.join(cells)}"


def backward_work(module: Any, f: Callable[..., Any], operands: list[Any]) -> Work:
    def work() -> None:
        for x in operands:
            x.grad = None
        f(module, *operands).sum().backward()

    return work


def rows(tdsl: Any, torch: Any, np: Any, sizes: tuple[int, ...], rounds: int) -> None:
    rng = np.random.default_rng(0)
    print(f"{'µs a call':22} {'elements':>10} {'tdsl':>10} {'PyTorch':>10} {'NumPy':>10} "
          f"{'/torch':>7} {'/numpy':>7}")  # fmt: skip
    for n in sizes:
        data = [rng.standard_normal(n).astype(np.float32) for _ in range(2)]
        side = matrices(n)
        square = [rng.standard_normal((side, side)).astype(np.float32) for _ in range(2)]
        for name, (f, count, differentiable) in OPERATIONS.items():
            if name == MATRICES and n > 4_000_000:
                continue
            arrays = (square if name == MATRICES else data)[:count]
            ours = [tdsl.tensor(a) for a in arrays]
            theirs = [torch.tensor(a) for a in arrays]
            got, want = f(tdsl, *ours), f(torch, *theirs)
            np.testing.assert_allclose(
                got.detach().numpy(), want.detach().numpy(), rtol=1e-3, atol=1e-3 * max(1, n**0.5)
            )
            print(row(name, n, {
                "tdsl": lambda f=f, o=ours: f(tdsl, *o),
                "torch": lambda f=f, o=theirs: f(torch, *o),
                "numpy": lambda f=f, o=arrays: f(np, *o),
            }, rounds), flush=True)  # fmt: skip
            if differentiable:
                ours = [tdsl.tensor(a, requires_grad=True) for a in arrays]
                theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
                print(row(f"{name}, backward", n, {
                    "tdsl": backward_work(tdsl, f, ours),
                    "torch": backward_work(torch, f, theirs),
                }, rounds), flush=True)  # fmt: skip


def memory(tdsl: Any, np: Any) -> None:
    """Resident memory before and after 10,000 training steps, without the garbage collector."""
    rng = np.random.default_rng(0)
    x = tdsl.tensor(rng.standard_normal((32, 16)).astype(np.float32))
    w = tdsl.tensor(rng.standard_normal((16, 8)).astype(np.float32), requires_grad=True)

    def step() -> None:
        loss = ((x @ w).tanh() ** 2).mean()
        loss.backward()
        with tdsl.no_grad():
            w.sub_(w.grad, alpha=0.1)
        w.grad = None

    for _ in range(200):
        step()
    gc.collect()
    gc.disable()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10_000):
        step()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gc.enable()
    print(f"\npeak memory grew by {after - before} KiB over 10,000 training steps (no collector)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    options = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[variable] = str(options.threads)
    import numpy as np
    import tdsl

    try:
        import torch
    except ImportError:
        sys.exit("this benchmark compares with PyTorch: pip install tdsl[pytorch]")
    torch.set_num_threads(options.threads)
    tdsl.set_num_threads(options.threads)
    rows(tdsl, torch, np, tuple(options.sizes), options.rounds)
    memory(tdsl, np)


if __name__ == "__main__":
    main()
