"""Packed contractions: large products of all shapes agree with the interpreter's sums.

The direct nest and the packed one add in the same order, so that they give the same bits wherever
the direct one runs along the output's rows, except for long sums of few results
(`test_packed_split`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
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


@pytest.fixture(autouse=True)
def usual_threads() -> Iterator[None]:
    before = tdsl.get_num_threads()
    yield
    tdsl.set_num_threads(before)


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


@pytest.mark.parametrize("dtype", DTYPES)
def test_some_rows_of_a_right_operand_read_where_it_stands(dtype: str) -> None:
    """From 8 to 24 rows and 256 columns on: the same bits as rows of a large product."""
    f = tdsl.compile(PROGRAMS["plain"].replace("T[", f"{dtype}[")).f
    rng = np.random.default_rng(9)
    before = tdsl.get_num_threads()
    try:
        for k, n in ((1, 20000), (70, 255), (70, 256), (333, 1031)):
            x, y = (rng.standard_normal(s).astype(DTYPES[dtype]) for s in ((90, k), (k, n)))
            want = f(x, y)
            for m in (5, 7, 8, 13, 23, 24, 25):
                for threads in (1, 2, 3, 7):
                    tdsl.set_num_threads(threads)
                    assert f(x[:m], y).tobytes() == want[:m].tobytes(), (m, k, n, threads)
    finally:
        tdsl.set_num_threads(before)


def test_nothing_outside_the_result_is_written() -> None:
    """Edges of tiles, of panels and of blocks: every size around them."""
    f = tdsl.compile(
        "def f(x: f32[m, k], y: f32[k, n]) -> (f32[m, n], f32[m, n]):\n"
        "    return x @ y, x @ y - 1\n"
    ).f
    rows = 8, 9, 12, 13, 159, 160, 161, 321
    columns = 8, 15, 17, 32, 33, 48, 49, 63, 64, 65, 111, 112, 113, 671, 673, 688, 2049
    rng = np.random.default_rng(5)
    for m, n in itertools.product(rows, columns):
        k = max(8, 2 + (1 << 17) // (m * n))
        # whole numbers: every order of a sum gives the same
        x = rng.integers(-3, 4, (m, k)).astype(np.float32)
        y = rng.integers(-3, 4, (k, n)).astype(np.float32)
        want = x @ y
        a, b = f(x, y)
        assert (a == want).all() and (b == want - 1).all(), (m, n)


def test_special_values_stay_in_their_row_and_column() -> None:
    f = tdsl.compile(PROGRAMS["right transposed"].replace("T[", "f32[")).f
    x, y = np.ones((100, 100), np.float32), np.ones((90, 100), np.float32)
    x[99, 99], y[89, 0] = np.nan, np.inf
    got = f(x, y)
    assert np.isnan(got[99]).all() and np.isinf(got[:99, 89]).all()
    assert (got[:99, :89] == 100).all()


GUARDED = (
    "def f(x: f32[m, k], y: f32[k, n], g: f32[k, n], h: f32[m, k]) -> f32[m, n]:\n"
    "    z[i, j] = sum[p](x[i, p] * y[p, j] if g[p, j] > 0 and h[i, p] > 0 else 0)\n"
    "    return z\n"
)


def test_what_a_guard_leaves_out_does_no_harm() -> None:
    """Zeros stand for it in the panels; where the other operand is not finite there, 0·∞ must not
    reach the sum."""
    f = tdsl.compile(GUARDED).f
    rng = np.random.default_rng(2)
    x, h = rng.standard_normal((2, 70, 90), dtype=np.float32)
    y, g = rng.standard_normal((2, 90, 50), dtype=np.float32)
    want = np.where(h > 0, x, 0) @ np.where(g > 0, y, 0)
    assert np.abs(f(x, y, g, h) - want).max() < 1e-4
    for value in (np.inf, -np.inf, np.nan):
        x2, y2 = x.copy(), y.copy()
        x2[3, 5], y2[7, 11] = value, value
        g2, h2 = g.copy(), h.copy()
        g2[5], h2[:, 7] = -1, -1
        want = np.where(h2 > 0, x, 0) @ np.where(g2 > 0, y, 0)
        assert np.abs(f(x2, y2, g2, h2) - want).max() < 1e-4, value


@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 1, 1), (2, 0, 1), (1, 2, 2), (3, 1, 1)]
)
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_convolution_and_its_gradients(
    kernel: int, stride: int, padding: int, dilation: int
) -> None:
    options = f"stride={stride}, padding={padding}, dilation={dilation}"
    source = f"""
def y(x: f32[b, c, h, w], k: f32[o, c, {kernel}, {kernel}]) -> f32[b, o, {{}}, {{}}]:
    return conv2d(x, k, {options})
def dx(x: f32[b, c, h, w], k: f32[o, c, {kernel}, {kernel}]) -> f32[b, c, h, w]:
    return grad(sum(conv2d(x, k, {options}) ** 2) / 2, x)
def dk(x: f32[b, c, h, w], k: f32[o, c, {kernel}, {kernel}]) -> f32[o, c, {kernel}, {kernel}]:
    return grad(sum(conv2d(x, k, {options}) ** 2) / 2, k)
"""
    h, w = 21, 34
    out_h, out_w = ((n + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1 for n in (h, w))
    fixed = source.replace("h, w]", f"{h}, {w}]").format(out_h, out_w)
    m = tdsl.compile(fixed)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((3, 5, h, w)).astype(np.float32)
    k = rng.standard_normal((20, 5, kernel, kernel)).astype(np.float32)
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))
    y = np.zeros((3, 20, out_h, out_w))
    dx, dk = np.zeros_like(padded), np.zeros(k.shape)

    def window(p: int, q: int) -> tuple[slice, slice]:
        return (
            slice(p * dilation, p * dilation + stride * (out_h - 1) + 1, stride),
            slice(q * dilation, q * dilation + stride * (out_w - 1) + 1, stride),
        )

    places = list(itertools.product(range(kernel), repeat=2))
    for p, q in places:
        y += np.einsum("bchw,oc->bohw", padded[(..., *window(p, q))], k[:, :, p, q])
    for p, q in places:
        dk[:, :, p, q] = np.einsum("bohw,bchw->oc", y, padded[(..., *window(p, q))])
        dx[(..., *window(p, q))] += np.einsum("bohw,oc->bchw", y, k[:, :, p, q])
    dx = dx[:, :, padding : padding + h, padding : padding + w]
    for got, want in ((m.y(x, k), y), (m.dx(x, k), dx), (m.dk(x, k), dk)):
        assert np.abs(got - want).max() < 3e-5 * np.abs(want).max()


@pytest.mark.parametrize("dtype", DTYPES)
def test_few_rows_or_columns(dtype: str) -> None:
    """They have tiles of their own, with the sums in blocks."""
    f = tdsl.compile(PROGRAMS["plain"].replace("T[", f"{dtype}[")).f
    rng = np.random.default_rng(3)
    for m, k, n in itertools.product(
        (0, 1, 2, 4, 5, 700), (0, 1, 15, 16, 64, 65, 1000), (0, 1, 3, 7, 8, 129)
    ):
        x, y = rng.standard_normal((m, k)), rng.standard_normal((k, n))
        x, y = x.astype(DTYPES[dtype]), y.astype(DTYPES[dtype])
        exact = x.astype(np.float64) @ y.astype(np.float64)
        bound = (np.abs(x).astype(np.float64) @ np.abs(y)) * (1e-6 if dtype == "f32" else 1e-14)
        assert (np.abs(f(x, y) - exact) <= bound + 1e-30).all(), (m, k, n)


@pytest.mark.parametrize("right", ["k, n", "n, k"])
def test_what_follows_the_sums_of_few_rows_or_columns(right: str) -> None:
    """A shared routine makes the sums, which are exact here; what follows is the function's own."""
    product = "x @ y" if right == "k, n" else "x @ transpose(y)"
    f = tdsl.compile(
        f"def f(x: f32[m, k], y: f32[{right}], b: f32[n]) -> (f32[m, n], bool[m, n]):\n"
        f"    z = {product}\n    return relu(z + b), z > 1\n"
    ).f
    rng = np.random.default_rng(5)
    before = tdsl.get_num_threads()
    try:
        for m, k, n in ((1, 700, 900), (4, 333, 500), (13, 300, 400), (900, 700, 1), (500, 333, 5)):
            x, y, b = (rng.integers(-4, 5, s) for s in ((m, k), (k, n), (n,)))
            args = x, y if right == "k, n" else y.T, b
            for threads in (1, 3):
                tdsl.set_num_threads(threads)
                got, test = f(*(np.ascontiguousarray(v, np.float32) for v in args))
                assert (got == np.maximum(x @ y + b, 0)).all() and (test == (x @ y > 1)).all()
    finally:
        tdsl.set_num_threads(before)


def test_a_vector_gives_the_same_bits_for_any_threads() -> None:
    f = tdsl.compile(PROGRAMS["plain"].replace("T[", "f32[")).f
    rng = np.random.default_rng(4)
    for m, k, n in ((1, 3000, 2000), (3, 3000, 900), (4000, 800, 1), (4000, 800, 5)):
        x = rng.standard_normal((m, k)).astype(np.float32)
        y = rng.standard_normal((k, n)).astype(np.float32)
        results = []
        for threads in (1, 2, 3, 7):
            tdsl.set_num_threads(threads)
            results.append(f(x, y).tobytes())
        assert len(set(results)) == 1


@pytest.mark.parametrize("rows", [8, 13, 200, 333])
def test_rows_that_are_read_where_they_stand(rows: int) -> None:
    """Few columns: the left operand is not packed, but for the rows behind the last whole tile.
    Many, and a left operand whose rows are scattered: it is. The bits are the same."""
    f, turned = (
        tdsl.compile(PROGRAMS[name].replace("T", "f32")).f for name in ("plain", "left transposed")
    )
    rng = np.random.default_rng(rows)
    for depth in (70, 1500):
        x = rng.standard_normal((rows, depth)).astype(np.float32)
        y = rng.standard_normal((depth, 1100)).astype(np.float32)
        wide = f(x, y)
        assert np.abs(wide - x.astype(np.float64) @ y).max() < 1e-3
        for columns in (1024, 600, 65, 40):
            few = np.ascontiguousarray(y[:, :columns])
            for threads in (1, 2, 3):
                tdsl.set_num_threads(threads)
                assert f(x, few).tobytes() == wide[:, :columns].tobytes()
            assert turned(np.ascontiguousarray(x.T), few).tobytes() == f(x, few).tobytes()


@pytest.mark.parametrize("columns", [16, 32, 48, 64, 150])
def test_any_number_of_terms(columns: int) -> None:
    """Several terms a turn of the loop, and those that are left over: tiles of all widths."""
    f = tdsl.compile(PROGRAMS["plain"].replace("T", "f32")).f
    rng = np.random.default_rng(columns)
    for terms in (*range(1, 14), *range(510, 516), *range(1023, 1027)):
        x, y = (
            rng.integers(-9, 10, shape).astype(np.float32)
            for shape in ((1 + 140000 // (columns * terms) + 16, terms), (terms, columns))
        )
        assert np.array_equal(f(x, y), x.astype(np.float64) @ y)
