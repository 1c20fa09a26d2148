"""Matrix products by size and shape: f32 and bf16, GFLOP/s, against PyTorch and NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import tdsl
from limits import peak_flops
from players import Player, Prepare
from rounds import Effort, Quartiles, Work, by_turns, ratio
from tables import Table, times

PROGRAM = """
def plain(a: f32[m, k], b: f32[k, n]) -> f32[m, n]:
    return a @ b

def left(a: f32[k, m], b: f32[k, n]) -> f32[m, n]:
    c[i, j] = sum[e](a[e, i] * b[e, j])
    return c

def right(a: f32[m, k], b: f32[n, k]) -> f32[m, n]:
    c[i, j] = sum[e](a[i, e] * b[j, e])
    return c

def both(a: f32[k, m], b: f32[n, k]) -> f32[m, n]:
    c[i, j] = sum[e](a[e, i] * b[j, e])
    return c

def batched(a: f32[s, m, k], b: f32[s, k, n]) -> f32[s, m, n]:
    return a @ b

def halves(a: bf16[m, k], b: bf16[k, n]) -> bf16[m, n]:
    return a @ b
"""
#: By function: what it is in the operators that NumPy and PyTorch share.
PEERS: dict[str, Callable[[Any, Any], Any]] = {
    "plain": lambda a, b: a @ b,
    "left": lambda a, b: a.T @ b,
    "right": lambda a, b: a @ b.T,
    "both": lambda a, b: a.T @ b.T,
    "batched": lambda a, b: a @ b,
    "halves": lambda a, b: a @ b,
}
SIZES = (64, 65, 100, 127, 128, 256, 500, 512, 1000, 1023, 1024, 2048)


@dataclass(frozen=True)
class Product:
    """m×k times k×n, `batch` of them."""

    title: str
    function: str
    m: int
    k: int
    n: int
    batch: int = 1

    @property
    def operations(self) -> float:
        return 2.0 * self.batch * self.m * self.k * self.n

    @property
    def is_halves(self) -> bool:
        return self.function == "halves"

    def operands(self) -> tuple[Any, Any]:
        rng = np.random.default_rng(0)
        m, k, n = self.m, self.k, self.n
        a = (k, m) if self.function in ("left", "both") else (m, k)
        b = (n, k) if self.function in ("right", "both") else (k, n)
        lead = (self.batch,) if self.function == "batched" else ()
        x, y = (rng.standard_normal(lead + s).astype(np.float32) for s in (a, b))
        return (_as_bf16(x), _as_bf16(y)) if self.is_halves else (x, y)


def _as_bf16(x: Any) -> Any:
    """The upper half of every number: what a bf16 holds."""
    return (x.view(np.uint32) >> 16).astype(np.uint16)


def _values(x: Any) -> Any:
    wide = (x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x
    return wide.astype(float)


PRODUCTS = (
    *(Product(f"{n}×{n}", "plain", n, n, n) for n in SIZES),
    Product("4096×64 · 64×64, tall", "plain", 4096, 64, 64),
    Product("4096×512 · 512×10, thin", "plain", 4096, 512, 10),
    Product("16×1024 · 1024×1024, few rows", "plain", 16, 1024, 1024),
    Product("1×1024 · 1024×1024, one row", "plain", 1, 1024, 1024),
    Product("1024×1024 · 1024×1, one column", "plain", 1024, 1024, 1),
    Product("64×16384 · 16384×64, long sums", "plain", 64, 16384, 64),
    Product("1000×8 · 8×1000, short sums", "plain", 1000, 8, 1000),
    Product("512×512, left transposed", "left", 512, 512, 512),
    Product("512×512, right transposed", "right", 512, 512, 512),
    Product("512×512, both transposed", "both", 512, 512, 512),
    Product("32 of 256×64 · 64×256", "batched", 256, 64, 256, 32),
    Product("1000 of 16×16", "batched", 16, 16, 16, 1000),
    *(Product(f"{n}×{n}, bf16", "halves", n, n, n) for n in (256, 512, 1000, 1024)),
)
QUICK = (
    "64×64",
    "127×127",
    "512×512",
    "512×512, right transposed",
    "1000 of 16×16",
    "512×512, bf16",
)


def works(threads: int, name: str) -> Prepare:
    """What a system does in its own process (`players`)."""
    makes = {"tdsl": _tdsl, "numpy": _numpy, "torch": _torch}[name](threads)

    def prepare(title: str) -> tuple[Work | None, None]:
        product = next(p for p in PRODUCTS if p.title == title)
        return makes(product, *product.operands()), None

    return prepare


Maker = Callable[[Product, Any, Any], Work | None]


def _tdsl(threads: int) -> Maker:
    tdsl.set_num_threads(threads)
    program = tdsl.compile(PROGRAM)

    def make(product: Product, a: Any, b: Any) -> Work:
        f = getattr(program, product.function)
        wide = PEERS[product.function](_values(a), _values(b))
        off = np.abs(_values(f(a, b)) - wide).max() / np.abs(wide).max()
        if not off < (4e-3 if product.is_halves else 1e-5):
            raise ValueError(f"{product.title}: off by {off:.1e}")
        return lambda: f(a, b)

    return make


def _numpy(_: int) -> Maker:
    def make(product: Product, a: Any, b: Any) -> Work | None:
        g = PEERS[product.function]
        return None if product.is_halves else lambda: g(a, b)

    return make


def _torch(threads: int) -> Maker:
    import torch

    torch.set_num_threads(threads)

    def make(product: Product, a: Any, b: Any) -> Work:
        g = PEERS[product.function]
        x, y = torch.from_numpy(a), torch.from_numpy(b)
        if product.is_halves:
            x, y = x.view(torch.bfloat16), y.view(torch.bfloat16)
        return lambda: g(x, y)

    return make


def _row(
    product: Product, players: dict[str, Player], peak: float, effort: Effort
) -> tuple[list[str], bool]:
    ready = {name: player.prepare(product.title)[0] for name, player in players.items()}
    found = by_turns({name: players[name].turn for name, is_it in ready.items() if is_it}, effort)
    speed = {
        name: product.operations / Quartiles.of(seconds).median for name, seconds in found.items()
    }
    against = {n: ratio(found[n], found["tdsl"]) for n in ("torch", "numpy") if n in found}
    row = [product.title, f"{1e-9 * speed['tdsl']:.1f}", f"{speed['tdsl'] / peak:.0%}"]
    for name in ("torch", "numpy"):
        known = name in found
        row.append(f"{1e-9 * speed[name]:.1f} ({times(against[name])})" if known else "–")
    return row, min(against.values(), default=1) < 1


def tables(threads: int, quick: bool) -> list[Table]:
    peak = peak_flops(threads)
    names = ["tdsl", "numpy", *(["torch"] if find_spec("torch") else [])]
    players = {name: Player(__name__, threads, name) for name in names}
    for player in players.values():
        player.ready()
    effort = Effort.quick() if quick else Effort(rounds=15, seconds=4)
    rows, missed = [], []
    for product in PRODUCTS:
        if quick and product.title not in QUICK:
            continue
        row, slower = _row(product, players, peak, effort)
        rows.append(row)
        if slower:
            missed.append(product.title)
    for player in players.values():
        player.close()
    many = f"{threads} thread{'s' if threads > 1 else ''}"
    return [
        Table(
            f"Matrix products, {many}",
            "GFLOP/s, in f32 unless stated; in brackets how many times as long the peer takes "
            f"(above 1 tdsl is faster). The peak, in the same run, is {1e-9 * peak:.0f} GFLOP/s.",
            ["", "tdsl", "of the peak", "torch", "NumPy"],
            rows,
            missed,
        )
    ]
