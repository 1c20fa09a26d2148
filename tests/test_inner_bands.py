"""Inner kernels of bands: tables that are as long as the square of a row are never there as a
whole, and what they give is what the interpreter gives; the same bits for any number of threads."""

from __future__ import annotations

import ctypes
import re
from typing import Any

import numpy as np
import pytest
import tdsl
from hypothesis import given, settings
from hypothesis import strategies as st
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import differentiated, simplified

from .native_functions import Native, assert_close, built, drawn

PROGRAM = """
def attention(q: T[b, s, d], k: T[b, s, d], v: T[b, s, d]) -> (
        T, T[b, s, d], T[b, s, d], T[b, s, d]
):
    a[e, i, j] = sum[c](q[e, i, c] * k[e, j, c]) / sqrt(d)
    l = mean((softmax(a, dim=2) @ v)**2)
    return l, grad(l, q), grad(l, k), grad(l, v)
def causal(q: T[b, s, d], k: T[b, s, d], v: T[b, s, d]) -> (
        T[b, s, d], T[b, s, d], T[b, s, d], T[b, s, d]
):
    a[e, i, j] = sum[c](q[e, i, c] * k[e, j, c]) if j <= i else -1e30
    o = softmax(a, dim=2) @ v
    l = sum(o**2)
    return o, grad(l, q), grad(l, k), grad(l, v)
def biased(q: T[b, s, d], k: T[b, t, d], v: T[b, t, d], w: T[s, t]) -> (
        T[b, s, d], T[b, s, d], T[b, t, d], T[b, t, d], T[s, t]
):
    a[e, i, j] = sum[c](q[e, i, c] * k[e, j, c]) + w[i, j]
    o = softmax(a, dim=2) @ v
    l = sum(o**2)
    return o, grad(l, q), grad(l, k), grad(l, v), grad(l, w)
def kept(q: T[b, s, d], k: T[b, s, d], v: T[b, s, d]) -> (T[b, s, d], T[b, s, s], T[b, s]):
    a[e, i, j] = sum[c](q[e, i, c] * k[e, j, c])
    p = softmax(a, dim=2)
    return p @ v, p, sum(p, dim=1)
def kernel(x: T[b, s, d], y: T[b, t, d], w: T[b, t]) -> (T[b, s], T[b, s, d], T[b, t, d], T[b, t]):
    p[e, i, j] = exp(-0.5 * sum[c](x[e, i, c]**2) + sum[c](x[e, i, c] * y[e, j, c])
        - 0.5 * sum[c](y[e, j, c]**2))
    r[e, i] = sum[j](p[e, i, j] * w[e, j])
    l = sum(r**2)
    return r, grad(l, x), grad(l, y), grad(l, w)
def layer(x: T[b, s, d], wq: T[d, h], wk: T[d, h], wv: T[d, h], wo: T[h, d]) -> (
        T, T[b, s, d], T[d, h], T[d, h], T[d, h], T[h, d]
):
    q = x @ wq
    k = x @ wk
    a[e, i, j] = sum[c](q[e, i, c] * k[e, j, c]) / sqrt(h)
    o = (softmax(a, dim=2) @ (x @ wv)) @ wo
    l = mean((x + o)**2)
    return l, grad(l, x), grad(l, wq), grad(l, wk), grad(l, wv), grad(l, wo)
def head(q: T[s, d], k: T[s, d], v: T[s, d]) -> (T, T[s, d], T[s, d], T[s, d]):
    l = mean((softmax(q @ transpose(k) / sqrt(d), dim=1) @ v)**2)
    return l, grad(l, q), grad(l, k), grad(l, v)
def back(q: T[s, d], k: T[s, d], v: T[s, d]) -> (T[s, d], T[s, d], T[s, d], T[s, d]):
    a[i, j] = sum[c](q[i, c] * k[j, c]) if j <= i else -1e30
    o = softmax(a, dim=1) @ v
    l = sum(o**2)
    return o, grad(l, q), grad(l, k), grad(l, v)
def scalar(q: T[s, d], k: T[t, d], v: T[t, h], w: T[s, h]) -> T:
    return sum((softmax(q @ transpose(k), dim=1) @ v) * w)
def points(x: T[s, d], y: T[t, d], w: T[t]) -> (T[s], T[s, d], T[t, d], T[t]):
    p[i, j] = exp(-0.5 * sum[c](x[i, c]**2) + sum[c](x[i, c] * y[j, c]) - 0.5 * sum[c](y[j, c]**2))
    r = p @ w
    l = sum(r**2)
    return r, grad(l, x), grad(l, y), grad(l, w)
def linear(x: T[s, d], u: T[t, d], w: T[h, t]) -> (T, T[s, d], T[t, d], T[h, t]):
    l = mean((tanh(x @ transpose(u)) @ transpose(w))**2)
    return l, grad(l, x), grad(l, u), grad(l, w)
def four(q: T[b, g, s, d], k: T[b, g, s, d], v: T[b, g, s, d]) -> (
        T[b, g, s, d], T[b, g, s, d], T[b, g, s, d]
):
    a[e, f, i, j] = sum[c](q[e, f, i, c] * k[e, f, j, c])
    o = softmax(a, dim=3) @ v
    l = sum(o**2)
    return grad(l, q), grad(l, k), grad(l, v)
def usual(q: T[b, s, g, d], k: T[b, t, g, d], v: T[b, t, g, d]) -> (
        T[b, s, g, d], T[b, s, g, d], T[b, t, g, d], T[b, t, g, d]
):
    a[e, f, i, j] = sum[c](q[e, i, f, c] * k[e, j, f, c]) / sqrt(d)
    p = softmax(a, dim=3)
    o[e, i, f, c] = sum[j](p[e, f, i, j] * v[e, j, f, c])
    l = mean(o**2)
    return o, grad(l, q), grad(l, k), grad(l, v)
def heads(q: T[s, g, d], k: T[s, g, d], v: T[s, g, d]) -> (T, T[s, g, d], T[s, g, d], T[s, g, d]):
    a[f, i, j] = sum[c](q[i, f, c] * k[j, f, c]) if j <= i else -1e30
    p = softmax(a, dim=2)
    o[i, f, c] = sum[j](p[f, i, j] * v[j, f, c])
    l = mean(o**2)
    return l, grad(l, q), grad(l, k), grad(l, v)
def grouped(q: T[b, s, g, d], k: T[b, t, d], v: T[b, t, d]) -> (
        T[b, s, g, d], T[b, s, g, d], T[b, t, d], T[b, t, d]
):
    a[e, f, i, j] = sum[c](q[e, i, f, c] * k[e, j, c])
    p = softmax(a, dim=3)
    o[e, i, f, c] = sum[j](p[e, f, i, j] * v[e, j, c])
    l = sum(exp(-o**2))
    return o, grad(l, q), grad(l, k), grad(l, v)
"""
NAMES = re.findall(r"^def (\w+)", PROGRAM, re.MULTILINE)
SIZES = [
    {"b": 2, "g": 2, "s": 5, "t": 7, "d": 3, "h": 4},
    {"b": 1, "g": 3, "s": 40, "t": 33, "d": 8, "h": 5},
    {"b": 3, "g": 1, "s": 90, "t": 130, "d": 24, "h": 16},
    {"b": 5, "g": 2, "s": 65, "t": 64, "d": 40, "h": 48},
]


def _module(dtype: str) -> Any:
    return tdsl.compile(re.sub(r"\bT\b", dtype, PROGRAM))


def _native(name: str, dtype: str = "f64") -> Native:
    return built(re.sub(r"\bT\b", dtype, PROGRAM), name)


@pytest.mark.parametrize("name", NAMES)
def test_blocks(blocks: None, name: str) -> None:
    native = _native(name)
    for sizes in SIZES:
        arrays = drawn(native.fn, sizes)
        assert_close(native(*arrays), interpret(native.fn, arrays), 1e-9)


@pytest.mark.parametrize("name", ["attention", "causal", "head", "kernel", "points", "usual"])
def test_the_same_bits_for_any_number_of_threads(name: str) -> None:
    """Sizes at which rows are cut: several rows of the band, each a thread's own; and few, whose
    stages all threads share."""
    f = getattr(_module("f32"), name)
    most = tdsl.get_num_threads()
    for more in ({"b": 5, "s": 700, "t": 650, "d": 8}, {"b": 2, "s": 1030, "t": 650, "d": 40}):
        sizes = {**more, "g": 2}
        arrays = drawn(f.graph(), sizes)
        every = []
        for threads in (1, 2, 3, 7):
            tdsl.set_num_threads(threads)
            try:
                every.append([np.asarray(x) for x in f(*arrays)])
            finally:
                tdsl.set_num_threads(most)
        for other in every[1:]:
            for a, b in zip(every[0], other, strict=True):
                assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize(
    "name", ["attention", "causal", "head", "back", "kernel", "points", "four", "usual", "heads"]
)
def test_memory_grows_with_the_length(name: str) -> None:
    """Not with its square."""
    native = _native(name, "f32")
    needed = [_arena(native, {"b": 4, "g": 1, "s": n, "t": n, "d": 64}) for n in (4096, 8192)]
    copies = 2 if name in ("usual", "heads") else 1  # of results, and what is not cut
    assert needed[1] < 2.2 * needed[0] < copies * 8192 * 8192


def test_nothing_is_cut_where_operands_are_as_large() -> None:
    """Their panels would be packed for every block, to spare little."""
    native, table = _native("head", "f32"), 4 * 1024 * 1024
    narrow, wide = (_arena(native, {"s": 1024, "d": d}) for d in (16, 1024))
    assert narrow < 2 * table < 3 * table < wide


def test_layers_are_not_cut() -> None:
    """Whatever their sizes: a layer's weights would be packed for every block."""
    assert "some rows of large tables" not in _module("f32").linear.ir("kernels")


def _arena(native: Native, sizes: dict[str, int]) -> int:
    values = [sizes[name] for name in native.artifact.dims]
    return int(native.arena((ctypes.c_int64 * len(values))(*values)))


def test_values_that_are_not_finite(blocks: None) -> None:
    """A product whose operand has to be finite goes the direct way for the inner rows at hand, and
    nothing is added twice."""
    for name in ("attention", "head"):
        native = _native(name)
        for value in (np.inf, -np.inf, np.nan):
            arrays = drawn(native.fn, {"b": 2, "s": 100, "d": 24})
            for k in (1, 2):
                given = [x.copy() for x in arrays]
                given[k].flat[37] = value
                for got, want in zip(native(*given), interpret(native.fn, given), strict=True):
                    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def test_no_inner_row_at_all(blocks: None) -> None:
    """Sums over none are made, too."""
    native = _native("points")
    for sizes in ({"s": 0, "t": 5, "d": 3}, {"s": 5, "t": 0, "d": 3}, {"s": 5, "t": 4, "d": 0}):
        arrays = drawn(native.fn, sizes)
        for got, want in zip(native(*arrays), interpret(native.fn, arrays), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-9)


def test_second_derivatives(blocks: None) -> None:
    source = (
        PROGRAM
        + """
def curved(q: T[b, s, d], k: T[b, s, d], v: T[b, s, d], u: T[b, s, d]) -> (T[b, s, d], T[b, s, d]):
    a[e, i, j] = sum[c](q[e, i, c] * k[e, j, c])
    l = sum((softmax(a, dim=2) @ v)**2)
    g = sum(grad(l, k) * u)
    return grad(g, q), grad(g, v)
"""
    )
    fn = simplified(differentiated(tdsl.compile(re.sub(r"\bT\b", "f64", source)).curved.graph()))
    with fn.scope.active():
        native = Native(fn)
    for sizes in SIZES:
        arrays = drawn(fn, sizes)
        for got, want in zip(native(*arrays), interpret(fn, arrays), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-8, atol=1e-10 * np.abs(want).max())


def test_the_text_says_what_is_cut() -> None:
    text = _module("f32").attention.ir("kernels")
    assert "some rows of large tables at a time, by the next index" in text
    plan = _module("f32").attention.ir("plan")
    assert not re.findall(r"\[b, s, s\] .*(?:arena|each row|at \d)", plan)
    assert re.findall(r"\[b, s, s\] .*each inner row", plan)


@pytest.mark.parametrize("donated", ["q", "v"])
def test_donated_operands(donated: str) -> None:
    """What is written in place of an operand is not read again."""
    source = """
def step(q: f32[b, s, d], k: f32[b, s, d], v: f32[b, s, d]) -> f32[b, s, d]:
    a[e, i, j] = sum[c](q[e, i, c] * k[e, j, c])
    return softmax(a, dim=2) @ v - W
""".replace("W", donated)
    f = tdsl.compile(source).step
    arrays = drawn(f.graph(), {"b": 3, "s": 640, "d": 16})
    want = np.asarray(f(*arrays))
    given = dict(zip("qkv", (x.copy() for x in arrays), strict=True))
    got = f.donate(donated)(**given)
    assert np.asarray(got).tobytes() == want.tobytes()


SCORES = [
    "exp(-x**2)",
    "tanh(x)",
    "softmax(x, dim=LAST)",
    "x / (1 + sum(x**2, dim=LAST, keepdim=True))",
    "softmax(x - max(x, dim=LAST - 1, keepdim=True), dim=LAST)",
]
GUARDS = [
    "",
    " if j <= i else -2.0",
    " if i - j < 3 and j < s - 1 else 0",
    " if (i + j) % 2 == 0 else 1",
]
TAILS = [
    "sum((p @ v)**2)",
    "sum(p @ v) + sum(p * p)",
    "sum(max(p, dim=LAST)**2)",
    "sum(sum(p, dim=LAST - 1)**3) + sum((p @ v) * q)",
    "mean(logsumexp(p, dim=LAST) * sum(q, dim=LAST))",
]
EXTRAS = ["", ", p", ", sum(p, dim=LAST - 1)", ", sum(p, dim=LAST)"]


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """A function of all pairs of rows, with or without a batch, its gradients, and sizes."""
    rank = draw(st.integers(0, 2))
    batch = "".join(f"b{k}, " for k in range(rank))
    at = "".join(f"e{k}, " for k in range(rank))
    lines = [
        f"def f(q: f64[{batch}s, d], k: f64[{batch}t, d], v: f64[{batch}t, d]) -> RESULTS:",
        f"    x[{at}i, j] = sum[c](q[{at}i, c] * k[{at}j, c]){draw(st.sampled_from(GUARDS))}",
        f"    p = {draw(st.sampled_from(SCORES))}",
        f"    l = {draw(st.sampled_from(TAILS))}",
    ]
    extra = draw(st.sampled_from(EXTRAS))
    shape = {"": "", ", p": "s, t", ", sum(p, dim=LAST - 1)": "t", ", sum(p, dim=LAST)": "s"}[extra]
    results = [f"f64[{batch}s, d]", f"f64[{batch}t, d]", f"f64[{batch}t, d]"]
    results += [f"f64[{batch}{shape}]"] if extra else []
    lines.append(f"    return grad(l, q), grad(l, k), grad(l, v){extra}")
    text = "\n".join(lines).replace("RESULTS", f"({', '.join(results)})")
    sizes = {"s": draw(st.integers(1, 70)), "t": draw(st.integers(1, 70))}
    sizes |= {"d": draw(st.integers(1, 20)), "b0": draw(st.integers(1, 5)), "b1": 2}
    return text.replace("LAST - 1", str(rank)).replace("LAST", str(rank + 1)), sizes


def test_random_tables(blocks: None) -> None:
    @settings(max_examples=40, database=None, deadline=None, derandomize=True)
    @given(tables())
    def examined(case: tuple[str, dict[str, int]]) -> None:
        text, sizes = case
        native = built(text)
        arrays = drawn(native.fn, sizes)
        assert_close(native(*arrays), interpret(native.fn, arrays), 1e-8)

    examined()


CHECKED = """
def f(q: f64[b, s, d], k: f64[b, t, d], z: f64[n], at: i64[t]) -> f64[b, s]:
    a[e, i, j] = sum[c](q[e, i, c] * k[e, j, c])
    p = softmax(a, dim=2)
    r[e, i] = sum[j](p[e, i, j] * z[at[j]])
    return r
def g(q: f64[b, s, d], k: f64[b, t, d], y: f64[n, t], z: f64[b, n], at: i64[b, s],
        to: i64[b, s]) -> (f64[b, t], f64[b, s]):
    a[e, i, j] = sum[c](q[e, i, c] * k[e, j, c])
    p = softmax(a, dim=2)
    u[e, j] = sum[i](p[e, i, j] * y[at[e, i], j])
    w[e, i] = sum[j](p[e, i, j] * u[e, j]) * z[e, to[e, i]]
    return u, w
"""


def _checked(name: str, sizes: dict[str, int]) -> tuple[Native, list[np.ndarray]]:
    fn = simplified(getattr(tdsl.compile(CHECKED), name).graph())
    with fn.scope.active():
        native = Native(fn)
    arrays = drawn(fn, sizes)
    for a in arrays:
        if a.dtype.kind == "i":
            a[...] = np.random.default_rng(0).integers(0, sizes["n"], a.shape)
    return native, arrays


def test_operands_at_computed_places(blocks: None) -> None:
    native, arrays = _checked("f", {"b": 2, "s": 50, "t": 40, "d": 3, "n": 7})
    for got, want in zip(native(*arrays), interpret(native.fn, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9)


def test_the_first_failure_is_reported(blocks: None) -> None:
    """That of the first kernel, though a later one fails at an earlier row."""
    native, arrays = _checked("g", {"b": 2, "s": 60, "t": 40, "d": 3, "n": 5})
    arrays[4][0, 50], arrays[5][0, 3] = 111, 222
    with pytest.raises(IndexError) as caught:
        native(*arrays)
    assert caught.value.args[0][2] == 111


def test_sums_in_half_precision_are_rounded_once(blocks: None) -> None:
    """Halfway, they would overflow."""
    source = """
def f(q: f16[b, s, d], k: f16[b, t, d], w: f16[b, s]) -> (f16[b, t], f16[b, s]):
    a[e, i, j] = sum[c](q[e, i, c] * k[e, j, c])
    p = softmax(a, dim=2)
    x[e, j] = sum[i](max(w[e, i], p[e, i, j] - 1000))
    return x, sum(p, dim=2)
"""
    n = 512
    w = np.where(np.arange(n) < n // 2, 400, -400).astype("f2")[None]
    zeros = np.zeros((1, n, 4), "f2")
    fn = simplified(tdsl.compile(source).f.graph())
    with fn.scope.active():
        x, _ = Native(fn)(zeros, zeros, w)
    assert (x == 0).all()


def test_guards_that_leave_little_stay() -> None:
    """The product as a whole would mostly be made for nothing."""
    source = """
def f(q: f32[s, d], k: f32[s, d]) -> f32[s, s]:
    a[i, j] = sum[c](q[i, c] * k[j, c]) if i - j < 3 and j <= i else 0
    return a
"""
    assert " else 0" in tdsl.compile(source).f.ir("kernels").split("sum[")[1].split("\n")[0]
