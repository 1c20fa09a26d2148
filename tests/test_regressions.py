"""What random programs found, each in its smallest form."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
import tdsl
from tdsl.compiler import scalar as sc
from tdsl.compiler.dtypes import F64
from tdsl.compiler.primitives import PRIMITIVES

pytestmark = pytest.mark.filterwarnings("ignore::tdsl.TdslWarning")


@pytest.mark.parametrize(
    "body", ["clamp(x, max=x)", "clamp(x, min=x)", "clamp(x, -9, x)", "clamp(x, x, x)"]
)
def test_partial_derivatives_of_clamp_sum_to_one_at_a_bound(body: str) -> None:
    """All of these are the identity; the bound once had half the gradient beside the value's."""
    m = tdsl.compile(f"def f(x: f64[n]):\n    return sum({body})\n")
    np.testing.assert_array_equal(m.f.grad("x")(np.array([-1.0, 0.0, 2.0])), np.ones(3))


def test_beyond_its_bounds_the_gradient_of_clamp_is_the_bounds() -> None:
    m = tdsl.compile(
        "def f(x: f64[n], a: f64[n], b: f64[n]):\n    return sum(clamp(x, a, b))\n",
    )
    x, a, b = np.array([0.0, -3.0, 3.0, 0.0]), np.array([-1.0] * 3 + [2.0]), np.ones(4)
    dx, da, db = m.f.grad()(x, a, b)
    np.testing.assert_array_equal(dx, [1, 0, 0, 0])
    np.testing.assert_array_equal(da, [0, 1, 0, 0])
    np.testing.assert_array_equal(db, [0, 0, 1, 1])  # low above high: high is the value


def test_a_gradient_has_its_parameters_dtype_through_a_scalar_function_of_two_dtypes() -> None:
    m = tdsl.compile(
        "fn f(x, y) = x * y\n\n"
        "def loss(x: f64[n], y: f32[n]):\n    return sum(f(x, y))\n\n"
        "def inside(x: f64[n], y: f32[n]) -> f32[n]:\n    return grad(sum(f(x, y)), y)\n"
    )
    x, y = np.array([1.5, -2.0]), np.array([3.0, 4.0], np.float32)
    for dy in (m.loss.grad("y")(x, y), m.inside(x, y)):
        assert dy.dtype == np.float32
        np.testing.assert_array_equal(dy, x)
    assert "-> f32[n]" in m.loss.gradient_source("y")


def test_the_interpreters_digamma_near_its_root() -> None:
    """Two terms of the series were missing: 2e-14 off, more than native code."""
    x = np.linspace(1.0, 2.0, 41)
    expected = [float(mp.digamma(mp.mpf(float(v)))) for v in x]
    np.testing.assert_allclose(PRIMITIVES["digamma"].numpy(x), expected, rtol=0, atol=2e-15)


def test_a_sum_of_zeros_is_a_zero_and_its_text_reads_back_to_itself() -> None:
    """It was `0 * n`, which the checker folds: the text changed with every reading."""
    m = tdsl.compile(
        "def f(x: f64[n], y: f64):\n    return sum(grad(y, x))\n",
    )
    text = m.f.ir("simplified")
    assert "*" not in text
    assert tdsl.compile(text).f.ir("graph").partition("#")[0] == text.partition("#")[0]


@pytest.mark.xfail(
    strict=True, reason="sum(a*b[k]) = a*sum(b[k]) multiplies 0 with inf if b is empty"
)
def test_a_sum_over_nothing_is_0_whatever_leaves_it() -> None:
    m = tdsl.compile(
        "def quotient(x: f64[n], y: f64):\n    return sum(x / y)\n\n"
        "def broadcast(x: f64[n], y: f64):\n    t = sum[i](y) for i in 0:n\n    return t\n"
    )
    assert m.quotient(np.zeros(0), 0.0) == 0.0
    assert m.broadcast(np.zeros(0), np.inf) == 0.0


def test_a_known_size_is_the_literal_that_prints_it() -> None:
    """Else a mean over 3 elements, printed and read back, may differ in its gradient's last bit."""
    assert sc.op("div", sc.const(1, F64), sc.size(3)) is sc.op("div", sc.const(1, F64), sc.const(3))


def test_an_index_is_not_checked_where_there_is_no_element() -> None:
    m = tdsl.compile(
        "def f(x: f64[n, m], k: i64[n]):\n    t[i, j] = x[i, k[i]] + x[i, j]\n    return t\n"
    )
    assert m.f(np.zeros((1, 0)), np.array([0])).shape == (1, 0)


def test_a_read_under_tests_that_exclude_each_other_is_never_made() -> None:
    """The inlined gradient of a difference under `cat` holds such a read; lowering failed."""
    m = tdsl.compile(
        "def loss(x: f64[n]):\n"
        "    t[i] = x[i+1] - x[i]\n"
        "    u = cat((t, x), dim=0)\n"
        "    return sum(tanh(f32(u)))\n"
    )
    x = np.array([0.0, 1.0, 3.0])
    slope = 1 - np.tanh(np.concatenate([np.diff(x), x]).astype(np.float32)) ** 2
    want = slope[2:] - np.append(slope[:2], 0) + np.append(0, slope[:2])
    np.testing.assert_allclose(m.loss.grad("x")(x), want, rtol=1e-6)
    assert m.loss.grad("x")(np.array([2.0])) == pytest.approx(1 - np.tanh(2.0) ** 2)
