"""Programs with donated arguments, and the comparison of a donated call with the plain one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import tdsl

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

# a program with the function `f`, and what is donated
PROGRAMS: dict[str, tuple[str, Sequence[str]]] = {
    "elementwise": ("def f(w: f32[n, k], g: f32[n, k]):\n    return w - 0.1*g*w\n", ["w"]),
    "broadcast": ("def f(w: f32[n, k], g: f32[k]):\n    return w * g + exp(-g)\n", ["w"]),
    "nothing read": ("def f(w: f32[n, k], g: f32[n, k]):\n    return 2 * g\n", ["w"]),
    "as it is": ("def f(w: f32[n], g: f32[n]):\n    return w, sum(g)\n", ["w"]),
    "swapped": ("def f(w: f32[n], g: f32[n]):\n    return g, w\n", ["w", "g"]),
    "shifted": (
        "def f(w: f32[n]):\n    v[i] = w[i] + (w[i - 1] if i > 0 else 0.0)\n    return v\n",
        ["w"],
    ),
    "reversed": ("def f(w: f32[n]):\n    v[i] = 2*w[n - 1 - i]\n    return v\n", ["w"]),
    "transposed": (
        "def f(w: f32[n, n]):\n    v[i, j] = w[i, j] + 3*w[j, i]\n    return v\n",
        ["w"],
    ),
    "one of two": ("def f(w: f32[n, k], v: f32[n, k]):\n    return w + v, w * v\n", ["v"]),
    "both of two": ("def f(w: f32[n, k], v: f32[n, k]):\n    return w + v, w * v\n", ["w", "v"]),
    "crossed": (
        "def f(w: f32[n, k], v: f32[n, k]):\n    return w + v[0, 0], v + w[0, 0]\n",
        ["w", "v"],
    ),
    "adam": (
        "def f(w: f32[n, k], m: f32[n, k], v: f32[n, k], g: f32[n, k]):\n"
        "    m2 = 0.9*m + 0.1*g\n    v2 = 0.99*v + 0.01*g*g\n"
        "    return w - 0.1*m2 / (sqrt(v2) + 1e-3), m2, v2\n",
        ["w", "m", "v"],
    ),
    "adam, moments first": (
        "def f(m: f32[n, k], v: f32[n, k], w: f32[n, k], g: f32[n, k]):\n"
        "    m2 = 0.9*m + 0.1*g\n    v2 = 0.99*v + 0.01*g*g\n"
        "    return m2, v2, w - 0.1*m2 / (sqrt(v2) + 1e-3)\n",
        ["w", "m", "v"],
    ),
    "adam after a contraction": (
        "def f(m: f32[n, k], v: f32[n, k], w: f32[n, k], x: f32[b, n], y: f32[b, k]):\n"
        "    d[i, j] = sum[r](x[r, i] * y[r, j])\n    g = d + 0.1*w\n"
        "    m2 = 0.9*m + 0.1*g\n    v2 = 0.99*v + 0.01*g*g\n"
        "    return m2, v2, w - 0.1*m2 / (sqrt(v2) + 1e-3)\n",
        ["w", "m", "v"],
    ),
    "update after a contraction": (
        "def f(x: f32[b, n], y: f32[b, k], w: f32[n, k]):\n"
        "    d[i, j] = sum[r](x[r, i] * y[r, j])\n    return w - 0.1*d\n",
        ["w"],
    ),
    "update before the last reader": (
        "def f(x: f32[b, n], y: f32[b, k], w: f32[n, k]):\n"
        "    d[i, j] = sum[r](x[r, i] * y[r, j])\n    return w - 0.1*d, x @ w\n",
        ["w"],
    ),
    "a contraction of itself": ("def f(w: f32[n, n]):\n    return w @ w\n", ["w"]),
    "a contraction and itself": (
        "def f(w: f32[n, n], x: f32[n, n]):\n    return w + x @ w\n",
        ["w"],
    ),
    "a guarded contraction": (
        "def f(x: f32[b, n], y: f32[b, k], w: f32[n, k]):\n"
        "    d[i, j] = sum[r](x[r, i]*y[r, j] if x[r, i] > 0 else 0.0)\n"
        "    return w - 0.1*d\n",
        ["w"],
    ),
    "a sum in the same nest": (
        "def f(w: f32[n, k]):\n    s = sum(w, dim=1)\n    return w - s[:, None], s\n",
        ["w"],
    ),
    "a row's sum in its place": (
        "def f(c: f32[n], w: f32[n, k]):\n    return c - 0.1*sum(w, dim=1)\n",
        ["c"],
    ),
    "a column's sum in its place": (
        "def f(c: f32[k], w: f32[n, k]):\n    e = exp(w - c)\n    return c - 0.1*sum(e, dim=0)\n",
        ["c"],
    ),
    "softmax": ("def f(w: f32[n, k]):\n    return softmax(w, dim=1)\n", ["w"]),
    "softmax along columns": ("def f(w: f32[n, k]):\n    return softmax(w, dim=0)\n", ["w"]),
    "softmax of another": (
        "def f(w: f32[n, k], x: f32[n, k]):\n    return w + softmax(x, dim=1)\n",
        ["w"],
    ),
    "layer norm": (
        "def f(w: f32[n, k], a: f32[k], c: f32[k]):\n"
        "    h = layer_norm(w, a, c)\n    return h, a - 0.1*sum(h, dim=0), c + mean(h, dim=0)\n",
        ["w", "a", "c"],
    ),
    "a band reads other rows": (
        "def f(w: f32[n, k]):\n    p = softmax(w, dim=1)\n"
        "    v[i, j] = p[i, j] + w[n - 1 - i, j]\n    return v\n",
        ["w"],
    ),
    "attention": (
        "def f(q: f32[b, n, k], v: f32[b, n, k], w: f32[b, n, n]):\n"
        "    s[r, i, j] = sum[l](q[r, i, l] * v[r, j, l])\n    p = softmax(s + w, dim=2)\n"
        "    o[r, i, l] = sum[j](p[r, i, j] * v[r, j, l])\n    return o, p\n",
        ["q", "w"],
    ),
    "scatter": (
        "def f(w: f32[n, k], at: i64[b], g: f32[b, k]):\n"
        "    d: f32[n, k] = 0\n    d[at[r], j] += g[r, j]\n    return w - 0.1*d\n",
        ["w"],
    ),
    "scatter in its place": (
        "def f(w: f32[n, k], at: i64[n]):\n"
        "    d: f32[n, k] = 0\n    d[at[r], j] += w[r, j]\n    return d\n",
        ["w"],
    ),
    "gather": (
        "def f(w: f32[n, k], at: i64[n]):\n    v[i, j] = w[at[i], j] + w[i, j]\n    return v\n",
        ["w"],
    ),
    "indices": (
        "def f(at: i64[n], w: f32[n, k]):\n    v[i, j] = w[at[i], j]\n    return (at + 1) % n, v\n",
        ["at", "w"],
    ),
    "one result twice": (
        "def f(w: f32[n], v: f32[n]):\n    a = w + v\n    return a, a\n",
        ["w", "v"],
    ),
    "twice, one new": ("def f(w: f32[n], v: f32[n]):\n    a = w + v\n    return a, a\n", ["v"]),
    "f64 and i32": (
        "def f(w: f64[n], i: i32[n], h: f16[n]):\n    return w * 2, i + 1, h * h\n",
        ["w", "i", "h"],
    ),
    "bool": ("def f(w: bool[n], x: f32[n]):\n    return w and x > 0\n", ["w"]),
    "doubled dims": (
        "def f(w: f32[2*n], x: f32[n]):\n    v[i] = w[i] + x[i // 2]\n    return v\n",
        ["w"],
    ),
    "known sizes": (
        "def f(w: f32[70, 33], g: f32[70, 40], h: f32[40, 33]):\n    return w - g @ h, w\n",
        ["w"],
    ),
    "scaled by its norm": (
        "def f(w: f32[n, k], g: f32[n, k]):\n"
        "    return w - g * min(1.0, 1/(1e-6 + sqrt(sum(g*g)))) - 0.1*w*sum(w*w)\n",
        ["w"],
    ),
}
SIZES = [
    {"n": 5, "k": 3, "b": 4},
    {"n": 1, "k": 1, "b": 1},
    {"n": 150, "k": 130, "b": 170},
    {"n": 0, "k": 3, "b": 2},
    {"n": 33, "k": 0, "b": 0},
    {"n": 3000, "k": 65, "b": 40},
]


def arguments(f: tdsl.Function, sizes: dict[str, int], seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    out: list[np.ndarray] = []
    for p in f.description.params:
        shape = tuple(d.evaluate(sizes) for d in p.shape)
        if p.dtype.is_bool:
            out.append(rng.random(shape) > 0.5)
        elif p.dtype.is_integer:
            out.append(rng.integers(0, max(1, sizes["n"]), shape).astype(p.dtype.numpy))
        else:
            out.append(rng.standard_normal(shape).astype(p.dtype.numpy))
    return out


def several(result: object) -> tuple:
    return result if isinstance(result, tuple) else (result,)


def check(
    f: tdsl.Function, names: Sequence[str], given: list[np.ndarray], *, exact: bool = True
) -> None:
    """The donated call gives the plain one's results, in the donated arrays; others stay."""
    donated = f.donate(*names)
    want = several(f(*given))
    mine = [x.copy() for x in given]
    got = several(donated(*mine))
    for a, b in zip(got, want, strict=True):
        np.testing.assert_allclose(a, b, *((0, 0) if exact else (1e-5, 1e-4)))
    for p, o in donated.description.donated:
        assert got[o] is mine[p]
    taken = {p for p, _ in donated.description.donated}
    assert len(taken) == len(names)
    for k, (a, b) in enumerate(zip(mine, given, strict=True)):
        if k not in taken:
            np.testing.assert_array_equal(a, b)


def digits(b: int = 32) -> tuple[tdsl.Function, list[np.ndarray]]:
    rng = np.random.default_rng(1)

    def normal(*shape: int) -> np.ndarray:
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)

    data = [normal(b, 64), rng.integers(0, 10, b)]
    weights = [normal(64, 128), normal(128), normal(128, 10), normal(10)]
    return tdsl.load(EXAMPLES / "digits.tdsl").step, [*data, *weights]


WEIGHTS = ("w1", "c1", "w2", "c2")
