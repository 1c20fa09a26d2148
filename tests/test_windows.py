"""Windows as rows: a product's left operand read where it stands, and contractions turned for it.

They have the bits of products of panels, and the interpreter's sums.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import tdsl
from tdsl.compiler import emit_packed
from tdsl.compiler.instructions import I1
from tdsl.compiler.interpret import interpret
from tdsl.compiler.llvm_vector import constant

from .native_functions import Native, built, drawn

Sizes = Mapping[str, int]
PICTURE = {"b": 3, "c": 4, "h": 19, "w": 21, "o": 17, "p": 3, "q": 2}
MORE: list[Sizes] = [
    PICTURE,
    {**PICTURE, "o": 64},
    {**PICTURE, "o": 100, "c": 33},  # several blocks of rows
    {**PICTURE, "o": 5, "c": 1},
    {**PICTURE, "o": 3},  # columns that no tile is for
    {**PICTURE, "o": 700, "c": 2},  # several blocks of columns
    {**PICTURE, "h": 4, "w": 5},
    {**PICTURE, "p": 1, "q": 1},
    {**PICTURE, "p": 19, "q": 21},
    {**PICTURE, "w": 700},  # a line in several blocks of the sums
    {**PICTURE, "b": 40, "c": 1, "o": 8},  # sums in parts
    {**PICTURE, "b": 0},
    {**PICTURE, "c": 0},
]
TURNED: dict[str, tuple[str, list[Sizes]]] = {
    "window": (
        "def f(x: T[b, c, h, w], g: T[b, o, h - p + 1, w - q + 1]) -> T[o, c, p, q]:\n"
        "    y[a, e, u, v] = sum[n, i, j](g[n, a, i, j] * x[n, e, i + u, j + v])\n"
        "    return y\n",
        MORE,
    ),
    "gradient": (
        "def f(x: T[b, c, h, w], k: T[o, c, p, q]) -> T[o, c, p, q]:\n"
        "    y[n, a, i, j] = sum[e, u, v](x[n, e, i + u, j + v] * k[a, e, u, v])\n"
        "    return grad(sum(y ** 3), k)\n",
        [PICTURE],
    ),
    "steps": (
        "def f(x: T[b, c, 31, 35], g: T[b, o, 15, 11]) -> T[o, c, 3, 5]:\n"
        "    y[a, e, u, v] = sum[n, i, j](g[n, a, i, j] * x[n, e, 2*i + u, 3*j + v])\n"
        "    return y\n",
        [PICTURE],
    ),
    "computed": (
        "def f(x: T[b, c, h, w], g: T[b, o, h - p + 1, w - q + 1], s: T[o]) -> T[o, c, p, q]:\n"
        "    y[a, e, u, v] = sum[n, i, j](exp(g[n, a, i, j]) * s[a] * x[n, e, i + u, j + v])\n"
        "    return y\n",
        [PICTURE],
    ),
    "groups": (
        "def f(x: T[b, 3, c, h, w], g: T[b, 3, o, h - p + 1, w - q + 1]) -> T[3, o, c, p, q]:\n"
        "    y[z, a, e, u, v] = sum[n, i, j](g[n, z, a, i, j] * x[n, z, e, i + u, j + v])\n"
        "    return y\n",
        MORE[:3],
    ),
    "one dimension": (
        "def f(x: T[b, c, w], g: T[b, o, w - q + 1]) -> T[o, c, q]:\n"
        "    y[a, e, v] = sum[n, j](g[n, a, j] * x[n, e, j + v])\n"
        "    return y\n",
        [{**PICTURE, "w": 900, "q": 9}],
    ),
}
PLACES: dict[str, tuple[str, list[Sizes]]] = {
    "channels last": (
        "def f(x: T[b, h, w, c], k: T[p, q, c, o]) -> T[b, h - p + 1, w - q + 1, o]:\n"
        "    y[n, i, j, a] = sum[u, v, e](x[n, i + u, j + v, e] * k[u, v, e, a])\n"
        "    return y\n",
        MORE,
    ),
    "followed by more": (
        "def f(x: T[b, h, w, c], k: T[p, q, c, o], s: T[o], r: T[b, h - p + 1, w - q + 1, o])"
        " -> T[b, h - p + 1, w - q + 1, o]:\n"
        "    y[n, i, j, a] = sum[u, v, e](x[n, i + u, j + v, e] * k[u, v, e, a])\n"
        "    return relu(y + s) * r\n",
        MORE,
    ),
    "weights of each picture": (
        "def f(x: T[b, h, w, c], k: T[b, p, q, c, o]) -> T[b, h - p + 1, w - q + 1, o]:\n"
        "    y[n, i, j, a] = sum[u, v, e](x[n, i + u, j + v, e] * k[n, u, v, e, a])\n"
        "    return y\n",
        [PICTURE, {**PICTURE, "c": 20}],
    ),
    "lines apart": (
        "def f(x: T[b, c, w], k: T[c, q, o]) -> T[b, w - 2*q + 2, o]:\n"
        "    y[n, j, a] = sum[v, e](x[n, e, j + 2*v] * k[e, v, a])\n"
        "    return y\n",
        [{**PICTURE, "w": 200}],
    ),
}
CASES = TURNED | PLACES


def _built(name: str, dtype: str) -> Native:
    return built(CASES[name][0].replace("T[", f"{dtype}["))


def _always(monkeypatch: pytest.MonkeyPatch, value: bool) -> None:
    monkeypatch.setattr(emit_packed._Task, "pays", lambda *_: constant(I1, value))


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", CASES)
def test_values(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside error bounds, and bit for bit those of panels."""
    chosen = _built(name, dtype)
    _always(monkeypatch, True)
    there = _built(name, dtype)
    _always(monkeypatch, False)
    panels = _built(name, dtype)
    tolerance = 1e-5 if dtype == "f32" else 1e-13
    for sizes in CASES[name][1]:
        arrays = drawn(chosen.fn, sizes)
        (got,), (other,), (third,) = chosen(*arrays), there(*arrays), panels(*arrays)
        (want,) = interpret(chosen.fn, [a.astype(np.float64) for a in arrays])
        scale = np.abs(want).max(initial=1)
        assert np.abs(got - want).max(initial=0) <= tolerance * scale, sizes
        assert np.abs(other - want).max(initial=0) <= tolerance * scale, sizes
        if min(sizes["o"], sizes["c"]) > 8:  # else the direct nest has another order
            assert got.tobytes() == other.tobytes() == third.tobytes(), sizes


@pytest.mark.parametrize("name", CASES)
def test_places_are_seen(name: str) -> None:
    text = tdsl.compile(CASES[name][0].replace("T[", "f32[")).f.ir("loops")
    assert "places along" in text
    assert ("other way round" in text) == (name in TURNED)


@pytest.mark.parametrize("name", CASES)
def test_same_bits_for_any_threads(name: str) -> None:
    f = tdsl.compile(CASES[name][0].replace("T[", "f32[")).f
    native = _built(name, "f32")
    before = tdsl.get_num_threads()
    try:
        for sizes in (*CASES[name][1], {**PICTURE, "b": 7, "h": 40, "w": 37, "o": 33}):
            arrays = drawn(native.fn, sizes)
            results = set()
            for threads in (1, 2, 3, 7):
                tdsl.set_num_threads(threads)
                results.add(f(*arrays).tobytes())
            assert len(results) == 1
    finally:
        tdsl.set_num_threads(before)


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_special_values_stay_in_their_windows(value: float) -> None:
    native = _built("window", "f32")
    x, g = drawn(native.fn, {**PICTURE, "o": 32})
    (plain,) = native(x, g)
    x[1, 3, 0, 0] = value  # only the first place of a window reaches it
    (got,) = native(x, g)
    reached = np.zeros(plain.shape, bool)
    reached[:, 3, 0, 0] = True
    assert (got[~reached] == plain[~reached]).all() and not np.isfinite(got[reached]).any()
