"""Operations on Tensors, one at a time, by size: tdsl against PyTorch, forward and with the
backward pass, and against NumPy, forward. Results are compared before any timing. Last, the memory
that 10,000 iterations of a small training step leave behind."""

from __future__ import annotations

import gc
import math
import resource
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tdsl
from rounds import Effort, Quartiles, interleaved, ratio
from tables import Table, times

SIZES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
SHOWN = 100  # the size whose time is stated, beside the ratios

Work = Callable[[], object]

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
LARGEST_MATRICES = 4_000_000


def _arrays(name: str, n: int, count: int) -> list[Any]:
    """Operands of n elements; square matrices of about as many."""
    rng = np.random.default_rng(0)
    side = max(1, round(n**0.5))
    shape = (side, side) if name == MATRICES else (n,)
    return [rng.standard_normal(shape).astype(np.float32) for _ in range(count)]


def _backward(module: Any, f: Callable[..., Any], operands: list[Any]) -> Work:
    def work() -> None:
        for x in operands:
            x.grad = None
        f(module, *operands).sum().backward()

    return work


def _works(torch: Any, name: str, n: int) -> dict[str, dict[str, Work]]:
    """By row of the table, by system. Raises AssertionError where the results differ."""
    f, count, differentiable = OPERATIONS[name]
    arrays = _arrays(name, n, count)
    forward: dict[str, Work] = {}
    backward: dict[str, Work] = {}
    results: list[Any] = []
    for system, module in (("tdsl", tdsl), ("torch", torch)):
        plain = [module.tensor(a) for a in arrays]
        leaves = [module.tensor(a, requires_grad=True) for a in arrays]
        results.append(f(module, *plain).detach().numpy())
        forward[system] = lambda m=module, o=plain: f(m, *o)  # type: ignore[misc]
        backward[system] = _backward(module, f, leaves)
    forward["NumPy"] = lambda: f(np, *arrays)
    ours, theirs = results
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-3 * max(1, n**0.5))
    return {name: forward, **({f"{name}, sum, backward": backward} if differentiable else {})}


def _by_size(torch: Any, quick: bool) -> list[Table]:
    sizes = (SHOWN, 10_000) if quick else SIZES
    effort = Effort.quick() if quick else Effort(rounds=9, seconds=3, turn=0.02)
    microseconds: dict[str, str] = {}
    ratios: dict[str, list[str]] = {}
    numpy: dict[str, list[str]] = {}
    missed: list[str] = []
    logarithms = []
    for name in OPERATIONS:
        for n in sizes:
            if name == MATRICES and n > LARGEST_MATRICES:
                for row in (name, f"{name}, sum, backward"):
                    ratios[row].append("–")
                numpy[name].append("–")
                continue
            for row, works in _works(torch, name, n).items():
                found = interleaved(works, effort)
                slower = ratio(found["torch"], found["tdsl"])
                logarithms.append(math.log(slower))
                ratios.setdefault(row, []).append(times(slower))
                if "NumPy" in found:
                    cell = times(ratio(found["NumPy"], found["tdsl"]))
                    numpy.setdefault(row, []).append(cell)
                if n == SHOWN:
                    microseconds[row] = f"{1e6 * Quartiles.of(found['tdsl']).median:.1f}"
                if slower < 1 and row not in missed:
                    missed.append(row)
    mean = math.exp(sum(logarithms) / len(logarithms))
    by_number = [f"{n:,}" for n in sizes]
    peer = Table(
        "Tensors, one operation at a time",
        f"How many times as long PyTorch takes, by the number of elements, on one thread, and "
        f"tdsl's microseconds at {SHOWN}. The geometric mean is {times(mean)}.",
        ["", f"µs at {SHOWN}", *by_number],
        [[row, microseconds[row], *cells] for row, cells in ratios.items()],
        missed,
    )
    arrays = Table(
        "Tensors against NumPy's arrays",
        "How many times as long NumPy takes, which records no history.",
        ["", *by_number],
        [[row, *cells] for row, cells in numpy.items()],
    )
    return [peer, arrays]


def _left_behind(steps: int) -> int:
    """Kibibytes that the peak memory grew by, over so many training steps, without the garbage
    collector."""
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
    for _ in range(steps):
        step()
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    gc.enable()
    return after - before


def tables(threads: int, quick: bool) -> list[Table]:
    steps = 1_000 if quick else 10_000
    grown = Table(
        "Memory that training leaves behind",
        "Without the garbage collector.",
        ["", "KiB"],
        [[f"{steps:,} steps of a small training loop", str(_left_behind(steps))]],
    )
    try:
        import torch
    except ImportError:
        return [grown]
    torch.set_num_threads(threads)
    tdsl.set_num_threads(threads)
    return [*_by_size(torch, quick), grown]
