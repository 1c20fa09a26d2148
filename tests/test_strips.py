"""Strips: products whose right operand is read in windows, packed once for all of their places.

They add in the order of the direct nest, whose bits they have; and the interpreter's sums.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import tdsl
from tdsl.compiler import emit_packed, emit_strip
from tdsl.compiler.interpret import interpret

from .native_functions import Native, built, drawn

Sizes = Mapping[str, int]
PICTURE = {"b": 2, "c": 11, "h": 9, "w": 21, "o": 17, "p": 3, "q": 2}
CASES: dict[str, tuple[str, list[Sizes]]] = {
    "window": (
        "def f(x: T[b, c, h, w], k: T[o, c, p, q]) -> T[b, o, h - p + 1, w - q + 1]:\n"
        "    y[n, a, i, j] = sum[e, u, v](x[n, e, i + u, j + v] * k[a, e, u, v])\n"
        "    return y\n",
        [
            PICTURE,
            {**PICTURE, "b": 1, "c": 1, "h": 40, "w": 31},
            {**PICTURE, "p": 1, "q": 1},
            {**PICTURE, "p": 9, "q": 6, "c": 40, "o": 9},  # several blocks of the sums
            {**PICTURE, "h": 4, "w": 2300, "o": 330},  # of columns, of rows
            {**PICTURE, "b": 1, "c": 30, "h": 120, "w": 50, "o": 8},  # of the window
            {**PICTURE, "w": 5, "h": 60, "c": 9},  # two lines in one tile
            {**PICTURE, "b": 0},
            {**PICTURE, "c": 0},
        ],
    ),
    "steps": (
        "def f(x: T[b, c, h, w], k: T[o, c, p, q])"
        " -> T[b, o, h - 2*p + 2, w - 3*q + 3]:\n"
        "    y[n, a, i, j] = sum[e, u, v](x[n, e, i + 2*u, j + 3*v] * k[a, e, u, v])\n"
        "    return y\n",
        [PICTURE, {**PICTURE, "h": 41, "w": 33, "c": 7}, {**PICTURE, "w": 5, "h": 200}],
    ),
    "lines that stand apart": (
        "def f(x: T[b, c, 31, w], k: T[o, c, 3, q]) -> T[b, o, 15, w - q + 1]:\n"
        "    y[n, a, i, j] = sum[e, u, v](x[n, e, 2*i + u, j + v] * k[a, e, u, v])\n"
        "    return y\n",
        [PICTURE, {**PICTURE, "w": 100}],
    ),
    "lines that are passed over": (
        "def f(x: T[b, c, 28, w], k: T[o, c, 4, q]) -> T[b, o, 9, w - q + 1]:\n"
        "    y[n, a, i, j] = sum[e, u, v](x[n, e, 3*i + u, j + v] * k[a, e, u, v])\n"
        "    return y\n",
        [PICTURE],
    ),
    "backwards": (
        "def f(x: T[b, c, h, w], k: T[o, c, p, q]) -> T[b, o, h - p + 1, w - q + 1]:\n"
        "    y[n, a, i, j] = sum[e, u, v]"
        "(x[n, e, i + p - 1 - u, j + q - 1 - v] * k[a, e, u, v])\n"
        "    return y\n",
        [PICTURE, {**PICTURE, "c": 33, "h": 30}],
    ),
    "one dimension": (
        "def f(x: T[b, c, w], k: T[o, c, q]) -> T[b, o, w - q + 1]:\n"
        "    y[n, a, j] = sum[e, v](x[n, e, j + v] * k[a, e, v])\n"
        "    return y\n",
        [{**PICTURE, "q": 5, "w": 200}, {**PICTURE, "q": 31, "w": 5000, "c": 30, "b": 1}],
    ),
    "three dimensions": (
        "def f(x: T[b, c, d, h, w], k: T[o, c, p, p, q])"
        " -> T[b, o, d - p + 1, h - p + 1, w - q + 1]:\n"
        "    y[n, a, z, i, j] = sum[e, t, u, v]"
        "(x[n, e, z + t, i + u, j + v] * k[a, e, t, u, v])\n"
        "    return y\n",
        [{**PICTURE, "d": 6}],
    ),
    "no batch": (
        "def f(x: T[c, h, w], k: T[o, c, p, q]) -> T[o, h - p + 1, w - q + 1]:\n"
        "    y[a, i, j] = sum[e, u, v](x[e, i + u, j + v] * k[a, e, u, v])\n"
        "    return y\n",
        [{**PICTURE, "h": 61, "w": 40}],
    ),
    "rows outside": (
        "def f(x: T[c, h, w], k: T[o, c, p, q]) -> T[h - p + 1, o, w - q + 1]:\n"
        "    y[i, a, j] = sum[e, u, v](x[e, i + u, j + v] * k[a, e, u, v])\n"
        "    return tanh(y) + sum(y * y, dim=(1, 2), keepdim=True)\n",
        [{**PICTURE, "h": 61, "w": 40}],
    ),
    "two windows": (
        "def f(x: T[c, h, w], k: T[o, c, 4, q, 2]) -> T[o, h - 3, w - q - 1]:\n"
        "    y[a, i, j] = sum[e, u, v, t](x[e, i + u, j + v + 2*t] * k[a, e, u, v, t])\n"
        "    return y\n",
        [{**PICTURE, "h": 61, "w": 40}],
    ),
    "weights of each line": (
        "def f(x: T[b, c, h, w], k: T[h - p + 1, o, c, p, q])"
        " -> T[b, o, h - p + 1, w - q + 1]:\n"
        "    y[n, a, i, j] = sum[e, u, v](x[n, e, i + u, j + v] * k[i, a, e, u, v])\n"
        "    return y\n",
        [{**PICTURE, "c": 20}],
    ),
    "weights of each picture": (
        "def f(x: T[b, c, h, w], k: T[b, o, c, p, q]) -> T[b, o, h - p + 1, w - q + 1]:\n"
        "    y[n, a, i, j] = sum[e, u, v](x[n, e, i + u, j + v] * k[n, a, e, u, v])\n"
        "    return y\n",
        [{**PICTURE, "c": 20}],
    ),
    "one picture for all": (
        "def f(x: T[c, h, w], k: T[b, o, c, p, q]) -> T[b, o, h - p + 1, w - q + 1]:\n"
        "    y[n, a, i, j] = sum[e, u, v](x[e, i + u, j + v] * k[n, a, e, u, v])\n"
        "    return y\n",
        [{**PICTURE, "c": 20}, {**PICTURE, "c": 30, "h": 120, "w": 50}],
    ),
    "computed": (
        "def f(x: T[b, c, h, w], k: T[o, c, p, q], s: T[c]) -> T[b, o, h - p + 1, w - q + 1]:\n"
        "    y[n, a, i, j] = sum[e, u, v](exp(x[n, e, i + u, j + v]) * s[e] * k[a, e, u, v])\n"
        "    return relu(y - 1)\n",
        [PICTURE, {**PICTURE, "c": 20}],
    ),
    "padded": (
        "def f(x: T[b, c, h, w], k: T[o, c, 3, 5]) -> T[b, o, h, w]:\n"
        "    return conv2d(x, k, padding=(1, 2))\n",
        [PICTURE, {**PICTURE, "h": 1, "w": 1}, {**PICTURE, "c": 20, "w": 12}],
    ),
    "known sizes": (
        "def f(x: T[b, 3, 12, 14], k: T[16, 3, 3, 3]) -> T[b, 16, 12, 14]:\n"
        "    return conv2d(x, k, padding=1)\n",
        [PICTURE, {**PICTURE, "b": 5}],
    ),
    "grouped": (
        "def f(x: T[b, 6, h, w], k: T[32, 3, 3, 3]) -> T[b, 32, h, w]:\n"
        "    return conv2d(x, k, padding=1, groups=2)\n",
        [PICTURE],
    ),
    "gradient": (
        "def f(x: T[b, c, h, w], k: T[o, c, p, q]) -> T[b, c, h, w]:\n"
        "    y[n, a, i, j] = sum[e, u, v](x[n, e, i + u, j + v] * k[a, e, u, v])\n"
        "    return grad(sum(y ** 3), x)\n",
        [{**PICTURE, "c": 9}, {**PICTURE, "c": 8, "o": 250, "p": 2}],
    ),
    "padded gradient": (
        "def f(x: T[b, c, 20, 24], k: T[o, c, 3, 5]) -> T[b, c, 20, 24]:\n"
        "    return grad(sum(conv2d(x, k, padding=(1, 2)) ** 3), x)\n",
        [{**PICTURE, "c": 9}],
    ),
}
DENSE = {"weights of each line"}  # these have windows along the columns only


def _built(name: str, dtype: str) -> Native:
    return built(CASES[name][0].replace("T[", f"{dtype}["))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", CASES)
def test_values(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside error bounds, and bit for bit those of the direct nest."""
    packed = _built(name, dtype)
    monkeypatch.setattr(emit_packed, "WORTH_PACKING", 1 << 60)
    direct = _built(name, dtype)
    tolerance = 1e-5 if dtype == "f32" else 1e-13
    for sizes in CASES[name][1]:
        arrays = drawn(packed.fn, sizes)
        (got,), (other,) = packed(*arrays), direct(*arrays)
        (want,) = interpret(packed.fn, [a.astype(np.float64) for a in arrays])
        scale = np.abs(want).max(initial=1)
        assert np.abs(got - want).max(initial=0) <= tolerance * scale, sizes
        assert got.tobytes() == other.tobytes(), sizes


@pytest.mark.parametrize("name", CASES)
def test_strips_are_seen(name: str) -> None:
    f = tdsl.compile(CASES[name][0].replace("T[", "f32[")).f
    assert "strips along" in f.ir("loops")


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("room", [1, 1 << 12])
def test_small_strips(name: str, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line of the window at a time, or a few."""
    whole = _built(name, "f32")
    monkeypatch.setattr(emit_strip, "BYTES", room)
    parts = _built(name, "f32")
    for sizes in CASES[name][1]:
        arrays = drawn(whole.fn, sizes)
        assert parts(*arrays)[0].tobytes() == whole(*arrays)[0].tobytes()


@pytest.mark.parametrize(
    "name", ["window", "no batch", "rows outside", "gradient", "one dimension"]
)
def test_same_bits_for_any_threads(name: str) -> None:
    f = tdsl.compile(CASES[name][0].replace("T[", "f32[")).f
    native = _built(name, "f32")
    before = tdsl.get_num_threads()
    try:
        for sizes in ({**PICTURE, "c": 32, "h": 40, "w": 37, "o": 33}, {**PICTURE, "w": 300}):
            arrays = drawn(native.fn, sizes)
            results = set()
            for threads in (1, 2, 3, 7):
                tdsl.set_num_threads(threads)
                results.add(f(*arrays).tobytes())
            assert len(results) == 1
    finally:
        tdsl.set_num_threads(before)


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_special_values_stay_in_their_windows(value: float) -> None:
    native = _built("window", "f32")
    sizes = {**PICTURE, "c": 20}
    x, k = drawn(native.fn, sizes)
    (plain,) = native(x, k)
    x[1, 3, 4, 7] = value
    (got,) = native(x, k)
    reached = np.zeros(plain.shape, bool)
    reached[1, :, 2:5, 6:8] = True
    assert (got[~reached] == plain[~reached]).all() and not np.isfinite(got[reached]).any()


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_what_lies_outside_meets_no_weight(value: float) -> None:
    """Zeros stand around the strip; 0·∞ must not reach the sum."""
    f = tdsl.compile(
        "def f(g: f32[b, o, h, w], k: f32[o, c, 3, 5]) -> f32[b, c, h + 2, w + 4]:\n"
        "    y[n, e, i, j] = sum[a, u, v]((g[n, a, i - u, j - v] * k[a, e, u, v])"
        " if i - u >= 0 and i - u < h and j - v >= 0 and j - v < w else 0)"
        " for i in 0:h + 2, j in 0:w + 4, u in 0:3, v in 0:5\n"
        "    return y\n"
    ).f
    assert "strips along" in f.ir("loops")
    rng = np.random.default_rng(0)
    g = rng.standard_normal((2, 20, 9, 21), dtype=np.float32)
    k = rng.standard_normal((20, 17, 3, 5), dtype=np.float32)
    plain = f(g, k)
    k[3, 5, 1, 2] = value
    got = f(g, k)
    reached = np.zeros(plain.shape, bool)
    reached[:, 5, 1:10, 2:23] = True
    assert (got[~reached] == plain[~reached]).all() and not np.isfinite(got[reached]).any()


def test_a_guard_of_the_weights_leaves_out_what_is_not_finite() -> None:
    """The strip has to be finite then, whatever memory held before."""
    f = tdsl.compile(
        "def f(x: f32[b, c, h, w], k: f32[o, c, 3, 3], g: f32[o, c]) -> f32[b, o, h - 2, w - 2]:\n"
        "    y[n, a, i, j] = sum[e, u, v]"
        "((x[n, e, i + u, j + v] * k[a, e, u, v]) if g[a, e] > 0 else 0)\n"
        "    return y\n"
    ).f
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 20, 12, 19), dtype=np.float32)
    k = rng.standard_normal((17, 20, 3, 3), dtype=np.float32)
    g = rng.standard_normal((17, 20), dtype=np.float32)
    g[:, 4] = -1
    plain = f(x, k, g)
    x[1, 4, 5, 6] = np.inf
    assert (f(x, k, g) == plain).all()
