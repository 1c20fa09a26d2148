"""Indices that are taken apart by // and % become several: the same values, by contractions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tdsl
from hypothesis import given, settings
from hypothesis import strategies as st
from tdsl.compiler import scalar as sc
from tdsl.compiler.digits import by_digits
from tdsl.compiler.graph import Comp, postorder
from tdsl.compiler.inline import primitives_only
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import simplified

from .native_functions import Native

Array = Any


def _convolution(signature: str, options: str, result: str = "grad(sum(y ** 3), (x, k))") -> str:
    return f"def f({signature}):\n    y = conv2d(x, k, {options})\n    return {result}\n"


PLAIN = "x: T[b, c, h, w], k: T[o, c, p, q]"
GROUPS = "x: T[b, 3*c, h, w], k: T[3*o, c, p, q]"
CONVOLUTIONS = {
    "stride 1": _convolution(PLAIN, "padding=1"),
    "stride 2": _convolution(PLAIN, "stride=2, padding=1"),
    "stride 2, no padding": _convolution(PLAIN, "stride=2"),
    "stride 3": _convolution(PLAIN, "stride=3, padding=2"),
    "strides 1 and 2": _convolution(PLAIN, "stride=(1, 2), padding=(0, 1)"),
    "strides 2 and 3": _convolution(PLAIN, "stride=(2, 3), padding=1"),
    "stride 4": _convolution(PLAIN, "stride=4"),
    "strides 4 and 5": _convolution(PLAIN, "stride=(4, 5), padding=2"),
    "stride as wide as the window": _convolution(
        "x: T[b, c, h, w], k: T[o, c, 3, 3]", "stride=3, padding=1"
    ),
    "half as wide": _convolution("x: T[b, c, h, w], k: T[o, c, 4, 2]", "stride=(2, 1), padding=1"),
    "dilation 2": _convolution(PLAIN, "padding=2, dilation=2"),
    "stride 2, dilation 2": _convolution(PLAIN, "stride=2, padding=1, dilation=2"),
    "stride 2, dilation 3": _convolution(PLAIN, "stride=2, padding=2, dilation=3"),
    "groups": _convolution(GROUPS, "padding=1, groups=3"),
    "groups, stride 2": _convolution(GROUPS, "stride=2, padding=1, groups=3"),
    "known groups": _convolution("x: T[b, 24, h, w], k: T[18, 8, p, q]", "padding=1, groups=3"),
    "each channel": _convolution(
        "x: T[b, 5, h, w], k: T[5, 1, p, q]", "stride=2, padding=1, groups=5"
    ),
    "known window": _convolution("x: T[b, c, h, w], k: T[o, c, 1, 1]", "stride=2"),
    "known sizes": _convolution("x: T[b, 3, 15, 14], k: T[16, 3, 3, 3]", "stride=2, padding=1"),
    "known sizes, a window longer than few steps": _convolution(
        "x: T[b, 6, 15, 14], k: T[16, 6, 5, 5]", "stride=3, padding=2"
    ),
    "only the input's": _convolution(PLAIN, "stride=2, padding=1", "grad(sum(y ** 3), x)"),
    "with a nonlinear part": _convolution(
        PLAIN, "stride=2, padding=1", "(relu(y), grad(sum(relu(y) ** 2), x))"
    ),
}
PICTURE = {"b": 2, "c": 6, "h": 13, "w": 18, "o": 7, "p": 3, "q": 3}
SIZES = [
    PICTURE,
    {**PICTURE, "h": 14, "w": 17, "c": 11, "o": 17},
    {**PICTURE, "p": 2, "q": 4, "h": 12},
    {**PICTURE, "p": 1, "q": 1, "b": 5},
    {**PICTURE, "h": 5, "w": 40, "p": 4, "q": 5},
    {**PICTURE, "b": 0},
    {**PICTURE, "c": 0},
    {**PICTURE, "o": 0},
]


def _built(source: str, dtype: str = "f32") -> Native:
    fn = simplified(tdsl.compile(source.replace("T[", f"{dtype}[")).f.graph())
    with fn.scope.active():
        return Native(fn)


def _arrays(native: Native, sizes: dict[str, int]) -> list[Array]:
    rng = np.random.default_rng(0)
    shapes = [[d.evaluate(sizes) for d in p.shape] for p in native.fn.params]
    return [rng.standard_normal(s).astype(native.fn.params[0].dtype.numpy) for s in shapes]


def _agree(native: Native, arrays: list[Array], tolerance: float) -> None:
    want = interpret(native.fn, [a.astype(np.float64) for a in arrays])
    for got, other in zip(native(*arrays), want, strict=True):
        assert got.shape == other.shape
        scale = np.abs(other).max(initial=1)
        assert np.abs(got - other).max(initial=0) <= tolerance * scale


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(name: str, dtype: str) -> None:
    native = _built(CONVOLUTIONS[name], dtype)
    for sizes in SIZES:
        _agree(native, _arrays(native, sizes), 1e-5 if dtype == "f32" else 1e-13)


def _divided(source: str) -> list[str]:
    """What is still divided, in sums."""
    fn = simplified(tdsl.compile(source.replace("T[", "f32[")).f.graph())
    with fn.scope.active():
        fn = by_digits(primitives_only(fn))
        return [
            repr(x)
            for n in postorder(fn.outputs)
            if isinstance(n, Comp) and n.reducer == "sum"
            for x in sc.postorder([n.body])
            if isinstance(x, sc.Op) and x.name in ("floordiv", "mod")
        ]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_no_sum_divides(name: str) -> None:
    assert _divided(CONVOLUTIONS[name]) == []


PHASES = {
    "stride 2": 4,
    "strides 2 and 3": 6,
    "groups": 1,
    "stride 2, dilation 2": 1,
    "strides 4 and 5": 1,  # with the remainders as indices
    "stride as wide as the window": 1,
    "half as wide": 1,
}


@pytest.mark.parametrize("name", PHASES)
def test_gradients_are_contractions(name: str) -> None:
    """Every product of the value and its gradient: the value, one for each phase, the weights'."""
    f = tdsl.compile(CONVOLUTIONS[name].replace("T[", "f32[")).f
    text = f.ir("loops")
    assert text.count("left @ right") == PHASES[name] + 2
    assert "right = strips along" in text or name == "stride as wide as the window"


@pytest.mark.parametrize("name", ["stride 2", "strides 4 and 5", "groups, stride 2"])
def test_same_bits_for_any_threads(name: str) -> None:
    source = CONVOLUTIONS[name].replace("T[", "f32[")
    f, native = tdsl.compile(source).f, _built(CONVOLUTIONS[name])
    arrays = _arrays(native, {**PICTURE, "c": 16, "o": 24, "h": 33, "w": 35})
    before = tdsl.get_num_threads()
    try:
        results = set()
        for threads in (1, 2, 3, 7):
            tdsl.set_num_threads(threads)
            results.add(b"".join(x.tobytes() for x in f(*arrays)))
        assert len(results) == 1
    finally:
        tdsl.set_num_threads(before)


def test_a_phase_without_a_window_is_nothing() -> None:
    """What no window covers has a gradient of 0."""
    f = tdsl.compile(
        "def f(x: f32[b, c, h, w], k: f32[o, c, 1, 1]) -> f32[b, c, h, w]:\n"
        "    return grad(sum(conv2d(x, k, stride=2) ** 2), x)\n"
    ).f
    assert f.ir("kernels").count("= sum[") == 2
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 3, 9, 8), dtype=np.float32)
    k = rng.standard_normal((4, 3, 1, 1), dtype=np.float32)
    dx = f(x, k)
    assert (dx[:, :, ::2, ::2] != 0).all()
    dx[:, :, ::2, ::2] = 0
    assert (dx == 0).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_what_is_not_finite_stays_where_it_is_used(value: float, stride: int) -> None:
    """A weight reaches the elements that it is multiplied with; nothing else, and no padding."""
    source = (
        "def f(x: f32[b, c, h, w], k: f32[o, c, 3, 3]):\n"
        f"    y = conv2d(x, k, stride={stride}, padding=1)\n"
        "    return grad(sum(y), x)\n"
    )
    loss = tdsl.compile(source).f
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 12, 23, 20), dtype=np.float32)
    k = rng.standard_normal((17, 12, 3, 3), dtype=np.float32)
    plain = loss(x, k)
    k[3, 5, 0, 2] = value
    got = loss(x, k)
    reached = np.zeros(plain.shape, bool)
    # element (l, r) meets the weight (0, 2) where l + 1 - 0 and r + 1 - 2 start a window

    def starts(size: int, first: int) -> list[int]:
        return [r for r in range(size) if (r + first) % stride == 0
                and 0 <= (r + first) // stride <= (size - 1) // stride]  # fmt: skip

    rows, columns = starts(23, 1), starts(20, -1)
    reached[np.ix_(range(2), [5], rows, columns)] = True
    assert not np.isfinite(got[reached]).any()
    assert (got[~reached] == plain[~reached]).all()


@pytest.mark.parametrize("options", ["stride=2, padding=1", "padding=1, groups=3", "stride=3"])
def test_second_derivatives(options: str) -> None:
    kernel = "3*o, c" if "groups" in options else "o, 3*c"
    source = (
        f"def f(x: T[b, 3*c, h, w], k: T[{kernel}, p, q]):\n"
        f"    g = grad(sum(conv2d(x, k, {options}) ** 3), x)\n"
        "    return grad(sum(g * g), (x, k))\n"
    )
    native = _built(source, "f64")
    for sizes in ({**PICTURE, "c": 2, "o": 2, "h": 7, "w": 8}, {**PICTURE, "c": 1, "h": 8}):
        _agree(native, _arrays(native, sizes), 1e-12)


def test_an_output_in_place_keeps_its_dims() -> None:
    f = tdsl.compile(
        "def f(x: f32[b, 6, h, w], k: f32[8, 3, 3, 3]):\n"
        "    return x - grad(sum(conv2d(x, k, padding=1, groups=2) ** 2), x)\n"
    ).f
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2, 6, 9, 11), dtype=np.float32)
    k = rng.standard_normal((8, 3, 3, 3), dtype=np.float32)
    want = f(x, k)
    assert (f.donate("x")(x.copy(), k) == want).all()


STATEMENTS = {
    "a group's sum": (
        "def f(x: T[6*n, m], y: T[n, m]) -> T[6*n]:\n"
        "    z[i] = sum[j](x[i, j] * y[i // 6, j])\n    return z\n"
    ),
    "three digits": (
        "def f(x: T[a, 4, 3, m], y: T[m, n]) -> T[12*a, n]:\n"
        "    z[i, j] = sum[k](x[i // 12, i // 3 % 4, i % 3, k] * y[k, j])"
        " for i in 0:12*a\n    return z\n"
    ),
    "read as it is, too": (
        "def f(x: T[a, 4, m], u: T[4*a, m], y: T[m, n]) -> T[4*a, n]:\n"
        "    z[i, j] = sum[k](x[i // 4, i % 4, k] * u[i, k] * y[k, j])\n    return z\n"
    ),
    "summed digits": (
        "def f(x: T[a, 5, m], y: T[5*a, n]) -> T[m, n]:\n"
        "    z[i, j] = sum[k](x[k // 5, k % 5, i] * y[k, j])\n    return z\n"
    ),
    "a reader elsewhere": (
        "def f(x: T[a, 4, m], y: T[m, n]) -> T[4*a, n]:\n"
        "    z[i, j] = sum[k](x[i // 4, i % 4, k] * y[k, j]) for i in 0:4*a\n"
        "    t[i, j] = z[4*a - 1 - i, j] + 1 for i in 0:4*a\n    return t\n"
    ),
    "a result read by number": (
        "def f(x: T[a, 4, m], y: T[m, n]) -> (T[4*a, n], T[n]):\n"
        "    z[i, j] = sum[k](x[i // 4, i % 4, k] * y[k, j]) for i in 0:4*a\n"
        "    return z, sum(z * z, dim=0)\n"
    ),
    "not a multiple": (
        "def f(x: T[n // 4 + 1, 4, m], y: T[m, o], u: T[n]) -> T[n, o]:\n"
        "    z[i, j] = sum[k](x[i // 4, i % 4, k] * y[k, j]) for i in 0:n\n    return z\n"
    ),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_statements(name: str) -> None:
    native = _built(STATEMENTS[name])
    for sizes in (
        {"n": 23, "m": 33, "a": 5, "o": 19},
        {"n": 40, "m": 70, "a": 17, "o": 33},
        {"n": 0, "m": 3, "a": 0, "o": 2},
    ):
        _agree(native, _arrays(native, sizes), 1e-5)


@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "i64"])
@pytest.mark.parametrize("times", [2, 3, 4, 5])
@pytest.mark.parametrize("first", [0, 1, 3])
def test_elements_for_several_lanes(times: int, first: int, dtype: str) -> None:
    """Read once for all of them, and nothing past the end."""
    f = tdsl.compile(
        f"def f(x: {dtype}[n, m]) -> {dtype}[n, {times}*m - {first}]:\n"
        f"    y[i, j] = x[i, (j + {first}) // {times}] for j in 0:{times}*m - {first}\n"
        "    return y\n"
    ).f
    assert ("masked.gather" in f.ir("llvm")) == (times > 4)
    kind = "int64" if dtype == "i64" else f"float{dtype[1:]}"
    for n, m in ((3, 2), (2, 7), (5, 16), (2, 33), (1, 100)):
        x = np.arange(n * m).reshape(n, m).astype(kind)
        assert (f(x) == np.repeat(x, times, axis=1)[:, first:]).all()


@st.composite
def _programs(draw: st.DrawFn) -> tuple[str, dict[str, int]]:
    """A sum of products that counts where affine forms of an output's and a summed index are
    multiples of numbers, read at their quotients."""
    s, t = draw(st.integers(1, 4)), draw(st.integers(2, 3))
    a, b = draw(st.sampled_from([1, -1, 2, 3])), draw(st.sampled_from([1, -1, 2, -3]))
    c, d = draw(st.integers(-3, 3)), draw(st.integers(1, 9))
    form = f"{a}*i + {b}*u + {c}".replace("+ -", "- ")
    at = f"({form}) // {s}" if s > 1 else form
    test = f"({form}) % {s} == 0 and " if s > 1 else ""
    source = (
        f"def f(x: T[n, m], k: T[{t}*p, m, q], l: T[{t}, p]):\n"
        f"    y[i, j] = sum[u, v]((x[{at}, v] * k[u, v, j] * l[u % {t}, u // {t}])"
        f" if {test}({form}) >= 0 and ({form}) < {s}*n else 0)"
        f" for i in 0:{d}*p, u in 0:{t}*p, v in 0:m, j in 0:q\n"
        f"    return y\n"
    )
    sizes = {k: draw(st.integers(0, 6)) for k in "np"} | {"m": draw(st.integers(1, 9)), "q": 17}
    return source, sizes


@settings(max_examples=40, deadline=None)
@given(_programs())
def test_random_sums(program: tuple[str, dict[str, int]]) -> None:
    source, sizes = program
    native = _built(source, "f64")
    _agree(native, _arrays(native, sizes), 1e-12)


def test_a_size_that_divides_may_be_0_or_less() -> None:
    """Of what is divided by 0 the quotient and the remainder are 0, which is no place in an empty
    array; a size that some index has says that it is not 0 where it counts."""
    text = """
def turned(x: f32[n], z: f32[m]) -> f32[m]:
    s[i] = x[i % n] + z[i]
    return s
def shorter(x: f32[n], z: f32[m]) -> f32[m]:
    s[i] = x[i % (n - 3)] + z[i]
    return s
def counted(x: f32[n], z: f32[m]) -> f32[m]:
    s[i] = z[i] + (n*i) // n
    return s
def whole(x: f32[n], z: f32[m]) -> f32[m]:
    s[i] = z[i] + (n * (i // n) + i % n)
    return s
"""
    program = tdsl.compile(text)
    z = np.ones(5, np.float32)
    for f, n in ((program.turned, 0), (program.shorter, 1)):
        with pytest.raises(tdsl.OutOfRangeError):
            f(np.ones(n, np.float32), z)
    x = np.arange(5, dtype=np.float32)
    np.testing.assert_array_equal(program.turned(x[:3].copy(), z), [1, 2, 3, 1, 2])
    np.testing.assert_array_equal(program.shorter(x, z), [1, 2, 1, 2, 1])
    np.testing.assert_array_equal(program.shorter(x[:3].copy(), z), z)
    for n in (0, 1, 2, 7):
        x = np.ones(n, np.float32)
        counts = np.arange(5) * (n > 0)
        np.testing.assert_array_equal(program.counted(x, z), 1 + counts)
        np.testing.assert_array_equal(program.whole(x, z), 1 + counts)
