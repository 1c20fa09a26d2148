"""Products of few rows or columns, bound by memory: every tail, stride and number of threads; and
panels that the first rows of a product fill."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.runtime.tensor.bfloat16 import bfloat16_bits

Array = Any
DTYPES = {"f32": np.float32, "f64": np.float64}
PLAIN = "def f(x: T[m, k], y: T[k, n]) -> T[m, n]:\n    return x @ y\n"
TURNED = "def f(x: T[k, m], y: T[k, n]) -> T[m, n]:\n    return transpose(x) @ y\n"
SIDES = 3


@pytest.fixture(autouse=True)
def usual_threads() -> Iterator[None]:
    before = tdsl.get_num_threads()
    yield
    tdsl.set_num_threads(before)


def whole_numbers(rng: np.random.Generator, dtype: str, *shape: int) -> Array:
    """So that sums are exact in any order."""
    return rng.integers(-9, 10, shape).astype(DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("source", [PLAIN, TURNED])
def test_every_tail(source: str, dtype: str) -> None:
    f = tdsl.compile(source.replace("T[", f"{dtype}[")).f
    rng = np.random.default_rng(0)
    few = (0, 1, 2, 3, 4, 5)
    many = (1, 3, 7, 8, 9, 17, 33, 600, 2050)
    terms = (0, 1, 2, 7, 8, 9, 31, 1025)
    for (m, n), k in itertools.product(
        [*itertools.product(few, many), *itertools.product(many, few)], terms
    ):
        x = whole_numbers(rng, dtype, *((m, k) if source is PLAIN else (k, m)))
        y = whole_numbers(rng, dtype, k, n)
        want = (x if source is PLAIN else x.T).astype(np.float64) @ y
        np.testing.assert_array_equal(f(x, y), want, err_msg=f"{m} {k} {n}")


@pytest.mark.parametrize(("m", "n"), [(1, 700), (2, 300), (3, 700), (300, 1), (300, 2), (300, 3)])
@pytest.mark.parametrize("step", ["p", "k - 1 - p"])
def test_parts_of_larger_arrays(step: str, m: int, n: int) -> None:
    """Operands whose rows are apart, in either direction."""
    rng = np.random.default_rng(1)
    x, y = whole_numbers(rng, "f32", m, 2, 90), whole_numbers(rng, "f32", 90, SIDES, n)
    f = tdsl.compile(
        f"def f(x: f32[m, 2, k], y: f32[k, {SIDES}, n]) -> f32[m, n]:\n"
        f"    z[i, j] = sum[p](x[i, 1, p] * y[{step}, 1, j])\n    return z\n"
    ).f
    order = 1 if step == "p" else -1
    np.testing.assert_array_equal(f(x, y), x[:, 1].astype(np.float64) @ y[::order, 1])


@pytest.mark.parametrize("dtype", ["bf16", "f16"])
@pytest.mark.parametrize(("m", "n"), [(1, 300), (2, 300), (4, 37), (300, 1), (301, 3)])
def test_halves(dtype: str, m: int, n: int) -> None:
    """Their products are added up in f32, and rounded once."""
    rng = np.random.default_rng(2)
    source = PLAIN.replace("-> T", "-> f32").replace("T[", f"{dtype}[")
    f = tdsl.compile(source.replace("x @ y", "f32(x) @ f32(y)")).f
    x, y = (rng.integers(-9, 10, s).astype(np.float32) for s in ((m, 333), (333, n)))
    given = (bfloat16_bits(v) if dtype == "bf16" else v.astype(np.float16) for v in (x, y))
    np.testing.assert_array_equal(f(*given), x @ y)


@pytest.mark.parametrize(
    ("m", "k", "n"),
    [(1, 900, 3000), (3, 500, 2100), (4000, 900, 1), (3001, 700, 2), (64, 300, 500)],
)
def test_same_bits_for_any_threads(m: int, k: int, n: int) -> None:
    f = tdsl.compile(PLAIN.replace("T[", "f32[")).f
    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((m, k), np.float32), rng.standard_normal((k, n), np.float32)
    tdsl.set_num_threads(1)
    want = f(x, y)
    for threads in (2, 3, 7):
        tdsl.set_num_threads(threads)
        np.testing.assert_array_equal(f(x, y), want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("threads", [1, 3])
def test_panels_that_the_first_rows_fill(threads: int, dtype: str) -> None:
    """The right operand's rows are shorter than a page, or not; widths around vectors and panels;
    more terms than a block has; fewer rows than a tile."""
    tdsl.set_num_threads(threads)
    f = tdsl.compile(PLAIN.replace("T[", f"{dtype}[")).f
    rng = np.random.default_rng(4)
    columns = (8, 15, 16, 32, 48, 64, 100, 127, 500, 512, 900, 1100)
    for m, k, n in itertools.product((5, 6, 7, 8, 9, 23, 64, 65, 200), (9, 70, 1100), columns):
        x, y = whole_numbers(rng, dtype, m, k), whole_numbers(rng, dtype, k, n)
        want = x.astype(np.float64) @ y
        np.testing.assert_array_equal(f(x, y), want, err_msg=f"{m} {k} {n}")


def test_panels_that_a_batch_shares() -> None:
    """The first batch fills them for all; where every batch has its own, each does."""
    rng = np.random.default_rng(5)
    x = whole_numbers(rng, "f32", 5, 50, 90)
    for batch in ((), (5,)):
        y = whole_numbers(rng, "f32", *batch, 90, 112)
        shape = ", ".join(["s"] * len(batch) + ["k", "n"])
        f = tdsl.compile(f"def f(x: f32[s, m, k], y: f32[{shape}]):\n    return x @ y\n").f
        for threads in (1, 2, 7):
            tdsl.set_num_threads(threads)
            np.testing.assert_array_equal(f(x, y), x.astype(np.float64) @ y)
