"""Products of bf16 and f16: exact in f32, summed there, rounded once; packed when they are large.

The bound of every test: the rounding of the result, and for a sum of k terms k roundings in f32 of
at most the sum of their magnitudes.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.compiler import scalar as sc
from tdsl.compiler.dtypes import BF16
from tdsl.compiler.interpret import interpret
from tdsl.runtime.tensor.bfloat16 import bfloat16_bits, bfloat16_values

from .native_functions import at, comp, function, param

Array = Any
HALVES = ("bf16", "f16")
ROUNDOFF = {"bf16": 2.0**-8, "f16": 2.0**-11}
LEAST = {"bf16": 2.0**-133, "f16": 2.0**-24}

PROGRAMS = {
    "plain": ("T[m, k], y: T[k, n]", "T[m, n]", "x @ y", "mk,kn->mn"),
    "left transposed": ("T[k, m], y: T[k, n]", "T[m, n]", "transpose(x) @ y", "km,kn->mn"),
    "right transposed": ("T[m, k], y: T[n, k]", "T[m, n]", "x @ transpose(y)", "mk,nk->mn"),
    "both transposed": (
        "T[k, m], y: T[n, k]",
        "T[m, n]",
        "transpose(x) @ transpose(y)",
        "km,nk->mn",
    ),
    "batched": ("T[b, m, k], y: T[b, k, n]", "T[b, m, n]", "x @ y", "bmk,bkn->bmn"),
    "to f32": ("T[m, k], y: T[k, n]", "f32[m, n]", "f32(x) @ f32(y)", "mk,kn->mn"),
    "of f32": ("T[m, k], y: T[k, n]", "T[m, n]", "T(f32(x) @ f32(y))", "mk,kn->mn"),
    "with f32": ("T[m, k], y: f32[k, n]", "f32[m, n]", "x @ y", "mk,kn->mn"),
}
SIZES = {"m": (1, 9, 330), "n": (31, 130), "k": (33, 705), "b": (3,)}


def halved(x: Array, dtype: str) -> Array:
    """As a parameter of this dtype."""
    if dtype == "bf16":
        return bfloat16_bits(np.asarray(x, np.float32))
    return np.asarray(x).astype({"f16": np.float16, "f32": np.float32}[dtype])


def exactly(x: Array) -> Array:
    """Its values in f64."""
    return (bfloat16_values(x) if x.dtype == np.uint16 else x).astype(np.float64)


def compiled(name: str, dtype: str) -> Any:
    params, result, body, _ = PROGRAMS[name]
    text = f"def f(x: {params}) -> {result}:\n    return {body}\n"
    for form in ("T[", "T("):
        text = text.replace(form, dtype + form[1])
    return tdsl.compile(text).f


def assert_within(got: Array, want: Array, magnitude: Array, terms: int, dtype: str) -> None:
    wide = got.dtype == np.float32
    bound = 2.0**-24 * terms * magnitude
    bound += (2.0**-24 if wide else ROUNDOFF[dtype]) * (np.abs(want) + bound)
    assert (np.abs(exactly(got) - want) <= bound + LEAST[dtype]).all()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_against_numpy(name: str, dtype: str) -> None:
    f = compiled(name, dtype)
    form = PROGRAMS[name][3]
    assert "panels" in f.ir("loops")
    left, right = form.split("->")[0].split(",")
    rng = np.random.default_rng(0)
    used = sorted(set(left + right))
    for sizes in itertools.product(*(SIZES[d] for d in used)):
        env = dict(zip(used, sizes, strict=True))
        x = halved(rng.standard_normal([env[d] for d in left]), dtype)
        kind = "f32" if name == "with f32" else dtype
        y = halved(rng.standard_normal([env[d] for d in right]), kind)
        want = np.einsum(form, exactly(x), exactly(y))
        magnitude = np.einsum(form, abs(exactly(x)), abs(exactly(y)))
        assert_within(f(x, y), want, magnitude, env["k"], dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_edges_of_sizes(dtype: str) -> None:
    f = compiled("plain", dtype)
    rng = np.random.default_rng(1)
    for m, k, n in itertools.product((0, 1, 3, 5, 200), (0, 1, 7, 64, 301), (0, 1, 3, 17, 129)):
        x, y = (
            halved(rng.standard_normal((m, k)), dtype),
            halved(rng.standard_normal((k, n)), dtype),
        )
        want, magnitude = exactly(x) @ exactly(y), abs(exactly(x)) @ abs(exactly(y))
        assert_within(f(x, y), want, magnitude, k, dtype)


@pytest.mark.parametrize("name", ["plain", "to f32", "right transposed"])
def test_rows_of_a_large_product_are_those_of_small_ones(name: str) -> None:
    """By vectors: matrix tiles, which numbers so small rule out, add up in another order."""
    f = compiled(name, "bf16")
    rng = np.random.default_rng(2)
    shape = (277, 1501) if name == "right transposed" else (1501, 277)
    x, y = (
        halved(rng.standard_normal((133, 1501)), "bf16"),
        halved(rng.standard_normal(shape), "bf16"),
    )
    x[:, 0] = 1  # the least number of bf16
    # the direct way of a transposed right operand is along the sum: fewer rows take another order
    for many in (9, 40) if name == "right transposed" else (1, 4, 9, 40):
        rows = np.concatenate([f(x[i : i + many], y) for i in range(0, len(x), many)])
        assert f(x, y).tobytes() == rows.tobytes()


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("name", ["plain", "to f32", "right transposed"])
def test_few_rows_or_columns(name: str, dtype: str) -> None:
    f = compiled(name, dtype)
    rng = np.random.default_rng(8)
    for m, k, n in ((1, 700, 901), (3, 333, 500), (13, 300, 401), (900, 701, 1), (500, 333, 5)):
        x, y = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        x, y = halved(x, dtype), halved(y, dtype)
        given = np.ascontiguousarray(y.T) if name == "right transposed" else y
        want, magnitude = exactly(x) @ exactly(y), abs(exactly(x)) @ abs(exactly(y))
        assert_within(f(x, given), want, magnitude, k, dtype)


@pytest.mark.parametrize("dtype", HALVES)
def test_same_bits_for_any_threads(dtype: str) -> None:
    rng = np.random.default_rng(3)
    before = tdsl.get_num_threads()
    try:
        for name, x, y in (
            ("plain", (301, 713), (713, 205)),
            ("plain", (1, 2000), (2000, 1500)),
            ("plain", (3000, 400), (400, 3)),
            ("of f32", (301, 713), (713, 205)),
            ("batched", (5, 130, 211), (5, 211, 130)),
        ):
            f = compiled(name, dtype)
            args = [halved(rng.standard_normal(s), dtype) for s in (x, y)]
            results = set()
            for threads in (1, 2, 3, 7):
                tdsl.set_num_threads(threads)
                results.add(f(*args).tobytes())
            assert len(results) == 1, (name, x)
    finally:
        tdsl.set_num_threads(before)


def test_special_values_stay_in_their_row_and_column() -> None:
    f = compiled("plain", "bf16")
    x, y = np.ones((100, 101), np.float32), np.ones((101, 90), np.float32)
    x[99, 100], y[0, 89], y[3, 88] = np.nan, np.inf, -np.inf
    got = exactly(f(halved(x, "bf16"), halved(y, "bf16")))
    assert np.isnan(got[99]).all()
    assert (got[:99, 89] == np.inf).all() and (got[:99, 88] == -np.inf).all()
    assert (got[:99, :88] == 101).all()


def test_subnormal_numbers_count() -> None:
    """Nothing is flushed to zero, neither what is read nor what is summed."""
    f = compiled("plain", "bf16")
    for m in (2, 100):
        x = np.full((m, 101), 2.0**-130, np.float32)
        got = exactly(f(halved(x, "bf16"), halved(np.eye(101), "bf16")))
        assert (got == 2.0**-130).all()
        y = np.full((101, 90), 2.0**-66, np.float32)
        got = exactly(f(halved(np.full((m, 101), 2.0**-66), "bf16"), halved(y, "bf16")))
        assert (got == 101 * 2.0**-132).all()


def test_a_product_is_not_rounded_before_it_is_added() -> None:
    """(1 + 2⁻⁷)² - (1 + 2⁻⁶) is 2⁻¹⁴, which rounding the square to bf16 would lose."""
    f = compiled("plain", "bf16")
    row, column = np.zeros((1, 200)), np.zeros((200, 1))
    row[0, :2], column[:2, 0] = (1 + 2**-7, 1), (1 + 2**-7, -(1 + 2**-6))
    for m, n in ((1, 1), (120, 100)):
        x, y = halved(np.repeat(row, m, 0), "bf16"), halved(np.repeat(column, n, 1), "bf16")
        assert (exactly(f(x, y)) == 2.0**-14).all()


def test_so_says_the_interpreter() -> None:
    x, y = (param(name, k, ["n"], BF16) for k, name in enumerate("xy"))
    product = sc.op("mul", at(x, 0), at(y, 0))
    factors = [halved([1 + 2**-7, 1], "bf16"), halved([1 + 2**-7, -(1 + 2**-6)], "bf16")]
    (total,) = interpret(function([x, y], comp(product, ["n"], 0, "sum")), factors)
    assert exactly(total) == 2.0**-14
    (products,) = interpret(function([x, y], comp(product, ["n"], 1)), factors)
    assert (exactly(products) == [1 + 2**-6, -(1 + 2**-6)]).all()


@pytest.mark.parametrize("dtype", HALVES)
def test_gradients(dtype: str) -> None:
    source = (
        "def f(x: T[m, k], y: T[k, n], g: T[m, n]) -> (T[m, k], T[k, n]):\n"
        "    return grad(sum((x @ y) * g), (x, y))\n"
    )
    f = tdsl.compile(source.replace("T[", f"{dtype}[")).f
    assert f.ir("loops").count("if large") == 2
    rng = np.random.default_rng(4)
    x, y, g = (halved(rng.standard_normal(s), dtype) for s in ((150, 207), (207, 131), (150, 131)))
    dx, dy = f(x, y, g)
    wide = [exactly(v) for v in (x, y, g)]
    assert_within(dx, wide[2] @ wide[1].T, abs(wide[2]) @ abs(wide[1]).T, 131, dtype)
    assert_within(dy, wide[0].T @ wide[2], abs(wide[0]).T @ abs(wide[2]), 150, dtype)


@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_and_its_gradients(kernel: int) -> None:
    """Against the same in f32, which sums the same products; and packed as those are."""
    source = f"""
def y(x: T[b, c, 19, 34], k: T[o, c, {kernel}, {kernel}]) -> T[b, o, 19, 34]:
    return conv2d(x, k, padding={kernel // 2})
def d(x: T[b, c, 19, 34], k: T[o, c, {kernel}, {kernel}], g: T[b, o, 19, 34]) -> (
    T[b, c, 19, 34], T[o, c, {kernel}, {kernel}]
):
    return grad(sum(conv2d(x, k, padding={kernel // 2}) * g), (x, k))
"""
    half, wide = (tdsl.compile(source.replace("T[", f"{d}[")) for d in ("bf16", "f32"))
    for x in (half, wide):
        assert x.d.ir("loops").count("if large") == 2
    rng = np.random.default_rng(5)
    shapes = ((3, 5, 19, 34), (20, 5, kernel, kernel), (3, 20, 19, 34))
    x, k, g = (halved(rng.standard_normal(s), "bf16") for s in shapes)
    fx, fk, fg = (exactly(v).astype(np.float32) for v in (x, k, g))
    pairs = [(half.y(x, k), wide.y(fx, fk))]
    pairs += zip(half.d(x, k, g), wide.d(fx, fk, fg), strict=True)
    for got, want in pairs:
        assert np.abs(exactly(got) - want).max() <= 2.0**-8 * np.abs(want).max()


def test_a_batch_in_a_band() -> None:
    """Attention: the scores of one head are products of bf16, and so is what follows them."""
    source = (
        "def f(q: T[h, n, d], k: T[h, n, d], v: T[h, n, d]) -> T[h, n, d]:\n"
        "    s[a, i, j] = sum[c](q[a, i, c] * k[a, j, c])\n"
        "    return softmax(s, 2) @ v\n"
    )
    f = tdsl.compile(source.replace("T[", "bf16[")).f
    rng = np.random.default_rng(6)
    args = [halved(rng.standard_normal((4, 90, 32)), "bf16") for _ in range(3)]
    q, k, v = (exactly(a) for a in args)
    s = q @ np.swapaxes(k, 1, 2)
    p = np.exp(s - s.max(2, keepdims=True))
    want = p / p.sum(2, keepdims=True) @ v
    before = tdsl.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            tdsl.set_num_threads(threads)
            results.append(f(*args))
    finally:
        tdsl.set_num_threads(before)
    assert results[0].tobytes() == results[1].tobytes()
    # scores of up to 20 are rounded to bf16 before the exponential
    assert np.abs(exactly(results[0]) - want).max() < 0.1


def test_sums_that_only_a_comparison_reads_are_packed() -> None:
    """Nothing of their dtype is stored: they gather in room of their own."""
    f = tdsl.compile("def f(x: f32[m, k], y: f32[k, n]) -> bool[m, n]:\n    return x @ y > 1\n").f
    assert "panels" in f.ir("loops")
    rng = np.random.default_rng(7)
    for m, k, n in ((0, 5, 3), (3, 0, 4), (5, 7, 9), (130, 900, 70)):
        x = rng.integers(-9, 9, (m, k)).astype(np.float32)  # whose sums are exact
        y = rng.integers(-9, 9, (k, n)).astype(np.float32)
        assert (f(x, y) == (x @ y > 1)).all()
