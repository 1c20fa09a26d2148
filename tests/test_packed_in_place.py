"""Left operands of large products that are read where they stand: by rows, and by columns that are
near each other, where the result is narrow."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import tdsl

DTYPES = {"f32": np.float32, "f64": np.float64}
BY_ROWS = "def f(x: T[m, k], y: T[k, n]) -> T[m, n]:\n    return x @ y\n"
BY_COLUMNS = "def f(x: T[k, m], y: T[k, n]) -> T[m, n]:\n    return transpose(x) @ y\n"
GUARDED = (
    "def f(x: T[A], y: T[k, n], g: T[k, n]) -> T[m, n]:\n"
    "    z[i, j] = sum[p](x[B] * y[p, j] if g[p, j] > 0 else 0)\n"
    "    return 2 * z\n"
)


@pytest.fixture(autouse=True)
def usual_threads() -> Iterator[None]:
    before = tdsl.get_num_threads()
    yield
    tdsl.set_num_threads(before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("source", [BY_ROWS, BY_COLUMNS])
def test_sizes_around_tiles(source: str, dtype: str) -> None:
    """Whole numbers, so that sums are exact in any order."""
    f = tdsl.compile(source.replace("T[", f"{dtype}[")).f
    rng = np.random.default_rng(0)
    columns = (7, 8, 31, 32, 33, 48, 63, 64, 65, 80)
    for m, k, n in itertools.product((8, 9, 63, 264), (9, 200, 1030), columns):
        x = rng.integers(-9, 10, (m, k) if source is BY_ROWS else (k, m)).astype(DTYPES[dtype])
        y = rng.integers(-9, 10, (k, n)).astype(DTYPES[dtype])
        want = (x if source is BY_ROWS else x.T).astype(np.float64) @ y
        np.testing.assert_array_equal(f(x, y), want, err_msg=f"{m} {k} {n}")


def test_part_of_a_larger_array() -> None:
    """Columns that are apart, in either direction."""
    source = "def f(x: f32[k, 3, m], y: f32[k, n]) -> f32[m, n]:\n"
    sums = "    z[i, j] = sum[p](x[{}, 1, i] * y[p, j])\n    return z\n"
    rng = np.random.default_rng(1)
    x = rng.integers(-9, 10, (90, 3, 70)).astype(np.float32)
    y = rng.integers(-9, 10, (90, 40)).astype(np.float32)
    for at, order in (("p", 1), ("k - 1 - p", -1)):
        got = tdsl.compile(source + sums.format(at)).f(x, y)
        np.testing.assert_array_equal(got, x[::order, 1].T.astype(np.float64) @ y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("axes", "at"), [("m, k", "i, p"), ("k, m", "p, i")])
def test_what_a_guard_leaves_out_does_no_harm(axes: str, at: str, dtype: str) -> None:
    """The operand that is read in place is not looked through; its infinities and NaNs are found in
    the results, those that belong there, too."""
    t = DTYPES[dtype]
    source = GUARDED.replace("A]", f"{axes}]").replace("[B]", f"[{at}]").replace("T[", f"{dtype}[")
    f = tdsl.compile(source).f
    rng = np.random.default_rng(2)
    m, k, n = 70, 90, 50
    y, g = rng.integers(-9, 10, (2, k, n)).astype(t)
    for value, out in itertools.product((1.0, np.inf, -np.inf, np.nan), (True, False)):
        x = rng.integers(-9, 10, (m, k)).astype(t)
        x[3, 5], x[69, 89] = value, value
        here = g.copy()
        if out:
            here[[5, 89]] = -1
        given = np.where(here > 0, y, 0)
        with np.errstate(invalid="ignore"):
            want = 2 * np.where(out, np.nan_to_num(x, nan=0, posinf=0, neginf=0), x) @ given
            if not out:  # 0 times it counts where it is not left out
                terms = np.where(here > 0, x[:, :, None] * y, 0)
                want = 2 * terms.sum(axis=1)
        np.testing.assert_array_equal(f(x if axes == "m, k" else x.T.copy(), y, here), want)


def test_sums_that_overflow() -> None:
    source = GUARDED.replace("A]", "k, m]").replace("[B]", "[p, i]").replace("T[", "f32[")
    f = tdsl.compile(source).f
    x, y = np.full((90, 70), 3e38, np.float32), np.ones((90, 50), np.float32)
    g = y.copy()
    g[2:, 0] = 0
    got = f(x, y, g)
    assert np.isinf(got).all()  # twice 6e38, too
    g[1:, 1] = 0
    x[:] = 1e38
    got = f(x, y, g)
    assert got[0, 1] == np.float32(2e38)
    assert np.isinf(got[:, 2:]).all()


def test_same_bits_for_any_threads() -> None:
    source = GUARDED.replace("A]", "k, m]").replace("[B]", "[p, i]").replace("T[", "f32[")
    f = tdsl.compile(source).f
    rng = np.random.default_rng(3)
    x = rng.standard_normal((210, 1200), dtype=np.float32)
    y, g = rng.standard_normal((2, 210, 50), dtype=np.float32)
    tdsl.set_num_threads(1)
    want = f(x, y, g)
    for threads in (2, 3):
        tdsl.set_num_threads(threads)
        np.testing.assert_array_equal(f(x, y, g), want)
