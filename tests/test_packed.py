"""Packed contractions: large products of all shapes agree with the interpreter's sums.

The direct nest and the packed one add in the same order, so that they give the same bits wherever
the direct one runs along the output's rows.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import tdsl

PROGRAMS = {
    "plain": "def f(x: T[m, k], y: T[k, n]) -> T[m, n]:\n    return x @ y\n",
    "right transposed": "def f(x: T[m, k], y: T[n, k]) -> T[m, n]:\n    return x @ transpose(y)\n",
    "left transposed": "def f(x: T[k, m], y: T[k, n]) -> T[m, n]:\n    return transpose(x) @ y\n",
    "both transposed": (
        "def f(x: T[k, m], y: T[n, k]) -> T[m, n]:\n    return transpose(x) @ transpose(y)\n"
    ),
    "batched": "def f(x: T[b, m, k], y: T[b, k, n]) -> T[b, m, n]:\n    return x @ y\n",
    "shared right": (
        "def f(x: T[b, k, m], y: T[k, n]) -> T[b, m, n]:\n"
        "    z[q, i, j] = sum[a](x[q, a, i] * y[a, j])\n    return z\n"
    ),
    "two sums": (
        "def f(x: T[m, a, k], y: T[a, k, n]) -> T[m, n]:\n"
        "    z[i, j] = sum[p, q](x[i, p, q] * y[p, q, j])\n    return z\n"
    ),
    "three sums": (
        "def f(x: T[a, m, k, c], y: T[n, a, c, k]) -> T[m, n]:\n"
        "    z[i, j] = sum[p, q, r](x[p, i, q, r] * y[j, p, r, q])\n    return z\n"
    ),
    "prologues": (
        "def f(x: T[m, k], y: T[k, n], s: T[k]) -> T[m, n]:\n"
        "    z[i, j] = sum[p](tanh(x[i, p] * s[p]) * exp(y[p, j] - s[p]))\n    return z\n"
    ),
    "epilogue": (
        "def f(x: T[m, k], y: T[k, n], b: T[n], r: T[m, n]) -> T[m, n]:\n"
        "    return relu(x @ y + b) * r\n"
    ),
    "several results": (
        "def f(x: T[m, k], y: T[k, n]) -> (T[m, n], T[m, n]):\n"
        "    z = x @ y\n    return tanh(z), z * 2\n"
    ),
}
SIZES = {
    "m": (9, 330),
    "n": (31, 130),
    "k": (33, 705),
    "a": (2, 7),
    "b": (3,),
    "c": (5,),
}
DTYPES = {"f32": np.float32, "f64": np.float64}


def _meaning(name: str, args: list[Any]) -> Any:
    x, y, *more = (a.astype(np.float64) for a in args)
    match name:
        case "plain":
            return x @ y
        case "right transposed":
            return x @ y.T
        case "left transposed":
            return x.T @ y
        case "both transposed":
            return x.T @ y.T
        case "batched":
            return x @ y
        case "shared right":
            return np.swapaxes(x, 1, 2) @ y
        case "two sums":
            return np.tensordot(x, y, 2)
        case "three sums":
            return np.tensordot(x, y, ((0, 2, 3), (1, 3, 2)))
        case "prologues":
            return np.tanh(x * more[0]) @ np.exp(y - more[0][:, None])
        case "epilogue":
            return np.maximum(x @ y + more[0], 0) * more[1]
        case "several results":
            return np.tanh(x @ y), x @ y * 2
    raise AssertionError(name)


def _axes(program: str) -> list[tuple[str, ...]]:
    """The dims of every parameter, off the signature."""
    head = program[program.index("(") : program.index(") ->")]
    return [tuple(p.split("]")[0].split(", ")) for p in head.split("[")[1:]]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_against_numpy(name: str, dtype: str) -> None:
    f = tdsl.compile(PROGRAMS[name].replace("T[", f"{dtype}[")).f
    axes = _axes(PROGRAMS[name])
    used = sorted({d for shape in axes for d in shape})
    rng = np.random.default_rng(0)
    for sizes in itertools.product(*(SIZES[d] for d in used)):
        env = dict(zip(used, sizes, strict=True))
        args = [
            rng.standard_normal([env[d] for d in shape]).astype(DTYPES[dtype]) for shape in axes
        ]
        got, want = f(*args), _meaning(name, args)
        terms = env["k"] * env.get("a", 1) * env.get("c", 1)
        tolerance = 8 * float(np.finfo(DTYPES[dtype]).eps) * terms
        for g, w in zip(got, want, strict=True) if isinstance(got, tuple) else [(got, want)]:
            scale = np.abs(w).max() + 1
            assert np.abs(g - w).max() <= tolerance * scale, (name, env)


def test_same_bits_as_the_direct_nest() -> None:
    """Below the size that is worth packing the direct nest runs: rows of one large product are
    those of many small ones."""
    f = tdsl.compile(PROGRAMS["plain"].replace("T[", "f32[")).f
    rng = np.random.default_rng(1)
    x = rng.standard_normal((133, 1500), dtype=np.float32)
    y = rng.standard_normal((1500, 77), dtype=np.float32)
    rows = np.concatenate([f(x[i : i + 1], y) for i in range(len(x))])
    assert f(x, y).tobytes() == rows.tobytes()


def test_nothing_outside_the_result_is_written() -> None:
    """Edges of tiles, of panels and of blocks: every size around them."""
    f = tdsl.compile(
        "def f(x: f32[m, k], y: f32[k, n]) -> (f32[m, n], f32[m, n]):\n"
        "    return x @ y, x @ y - 1\n"
    ).f
    for m, n in itertools.product((8, 9, 12, 13, 319, 320, 321), (8, 15, 17, 32, 33, 48, 2049)):
        k = 2 + (1 << 17) // (m * n)
        x, y = np.ones((m, max(k, 8)), np.float32), np.ones((max(k, 8), n), np.float32)
        a, b = f(x, y)
        assert (a == len(y)).all() and (b == len(y) - 1).all(), (m, n)


def test_special_values_stay_in_their_row_and_column() -> None:
    f = tdsl.compile(PROGRAMS["right transposed"].replace("T[", "f32[")).f
    x, y = np.ones((100, 100), np.float32), np.ones((90, 100), np.float32)
    x[99, 99], y[89, 0] = np.nan, np.inf
    got = f(x, y)
    assert np.isnan(got[99]).all() and np.isinf(got[:99, 89]).all()
    assert (got[:99, :89] == 100).all()
