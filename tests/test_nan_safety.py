"""Derivatives at the edges of functions' domains: finite where a subgradient exists, never NaN.

What is expected is the table of docs/derivatives-at-edges.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from tdsl.compiler import graph as g
from tdsl.compiler import index_lambda as il
from tdsl.compiler import scalar as sc
from tdsl.compiler.index_lambda import IndexLambda
from tdsl.compiler.span import BUILTIN

from .graph_functions import Parameter, apply, gradients, tensor

N = tensor("n")
Build = Callable[..., IndexLambda]


def add(a: IndexLambda, b: IndexLambda | float) -> IndexLambda:
    return il.apply("add", a, b if isinstance(b, IndexLambda) else il.scalar(b))


def mul(a: IndexLambda, b: IndexLambda | float) -> IndexLambda:
    return il.apply("mul", a, b if isinstance(b, IndexLambda) else il.scalar(b))


def div(a: IndexLambda, b: IndexLambda) -> IndexLambda:
    return il.apply("div", a, b)


def power(a: IndexLambda, b: IndexLambda | float) -> IndexLambda:
    return il.apply("pow", a, b if isinstance(b, IndexLambda) else il.scalar(b))


def where(test: IndexLambda, a: IndexLambda, b: IndexLambda | float) -> IndexLambda:
    return il.apply("where", test, a, b if isinstance(b, IndexLambda) else il.scalar(b))


def compare(name: str, a: IndexLambda, b: float) -> IndexLambda:
    return il.apply(name, a, il.scalar(b))


def named(x: IndexLambda, name: str) -> IndexLambda:
    """A statement of its own: a guard cannot be carried into it structurally."""
    return il.of_node(g.rename(il.materialize(x), name, BUILTIN))


def derivatives(
    build: Build, x: Sequence[Any], parameters: Sequence[Parameter] = ()
) -> tuple[list[Any], list[Any]]:
    """First and second derivatives (row sums of the Hessian) of sum(build(x)) in x."""
    arrays = [np.asarray(x, dtype=float)]

    def total(v: IndexLambda) -> IndexLambda:
        return apply("sum", build(v))

    kinds = parameters or [tensor("n")]
    first = gradients(total, kinds, arrays)[0]
    second = gradients(total, kinds, arrays, order=2)[0]
    return first.tolist(), second.tolist()


def assert_derivatives(build: Build, x: Sequence[Any], first: Any, second: Any) -> None:
    one, two = derivatives(build, x)
    np.testing.assert_allclose(one, first, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(two, second, rtol=1e-11, atol=1e-14)


# --------------------------------------------------------------------------- guards


def guarded_root(x: IndexLambda) -> IndexLambda:
    return where(compare("gt", x, 0.0), apply("sqrt", x), 0.0)


def guarded_root_named(x: IndexLambda) -> IndexLambda:
    """sqrt(x) is a statement of its own, used twice."""
    root = named(apply("sqrt", x), "r")
    return mul(where(compare("gt", x, 0.0), root, 0.0), 1.0)


def guarded_root_twice(x: IndexLambda) -> IndexLambda:
    root = named(apply("sqrt", x), "r")
    guard = compare("gt", x, 0.0)
    return add(where(guard, root, 0.0), where(guard, mul(root, root), 0.0))


def test_root_under_a_guard() -> None:
    x = [-1.0, 0.0, 4.0]
    for build in (guarded_root, guarded_root_named):
        assert_derivatives(build, x, [0, 0, 0.25], [0, 0, -1 / 32])
    assert_derivatives(guarded_root_twice, x, [0, 0, 1.25], [0, 0, -1 / 32])


def test_division_under_a_guard() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        return where(compare("ne", x, 0.0), div(il.scalar(1.0), x), 0.0)

    def statements(x: IndexLambda) -> IndexLambda:
        inverse = named(div(il.scalar(1.0), x), "inverse")
        return where(compare("ne", x, 0.0), inverse, 0.0)

    for b in (build, statements):
        assert_derivatives(b, [0.0, 2.0, -1.0], [0, -0.25, -1], [0, 0.25, -2])


@pytest.mark.parametrize(
    "name", ["asin", "acos", "atanh", "log", "sqrt", "acosh", "log1p", "rsqrt"]
)
def test_functions_under_a_guard(name: str) -> None:
    """At the end of the domain, outside it, and inside."""
    edge = {"acosh": 1.0, "log1p": -1.0}.get(name, 0.0 if name in ("log", "sqrt", "rsqrt") else 1.0)
    inside = "gt" if name in ("acosh", "log1p", "log", "sqrt", "rsqrt") else "lt"
    beyond = edge - 1 if inside == "gt" else edge + 1
    within = edge + 0.5 if inside == "gt" else edge - 0.5

    def build(x: IndexLambda) -> IndexLambda:
        return where(compare(inside, x, edge), apply(name, x), 0.0)

    def statements(x: IndexLambda) -> IndexLambda:
        return where(compare(inside, x, edge), named(apply(name, x), "v"), 0.0)

    expected = derivatives(lambda x: apply(name, x), [within])
    for b in (build, statements):
        first, second = derivatives(b, [edge, beyond, within])
        np.testing.assert_allclose(first, [0, 0, *expected[0]], rtol=1e-14)
        np.testing.assert_allclose(second, [0, 0, *expected[1]], rtol=1e-14)


def test_a_guard_through_several_statements() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        log = named(apply("log", x), "a")
        product = named(mul(log, x), "b")
        root = named(apply("sqrt", product), "c")
        return where(compare("gt", x, 1.0), root, 0.0)

    first, second = derivatives(build, [-1.0, 0.0, 0.5, 1.0, math.e])
    np.testing.assert_allclose(first, [0, 0, 0, 0, 1 / math.sqrt(math.e)], rtol=1e-14)
    assert all(map(math.isfinite, second)) and second[:4] == [0, 0, 0, 0]


# --------------------------------------------------------------------------- norms


def norm_written(x: IndexLambda) -> IndexLambda:
    return apply("sqrt", apply("sum", mul(x, x)))


def norm_of_powers(x: IndexLambda) -> IndexLambda:
    return apply("sqrt", apply("sum", power(x, 2)))


def norm_in_statements(x: IndexLambda) -> IndexLambda:
    squares = named(mul(x, x), "squares")
    total = named(apply("sum", squares), "total")
    return named(apply("sqrt", total), "norm")


NORMS = [norm_written, norm_of_powers, norm_in_statements, lambda x: apply("norm", x)]


@pytest.mark.parametrize("norm", NORMS)
def test_norm_at_0(norm: Build) -> None:
    assert_derivatives(norm, [0.0, 0.0], [0, 0], [0, 0])
    # H = (I - u u') / |x| with u = x / |x|; its row sums at (3, 4)
    assert_derivatives(norm, [3.0, 4.0], [0.6, 0.8], [0.032, -0.024])


@pytest.mark.parametrize("norm", NORMS)
def test_normalizing_at_0(norm: Build) -> None:
    def build(x: IndexLambda) -> IndexLambda:
        return mul(div(x, norm(x)), il.of_node(il.materialize(x)))  # sum is |x|

    def plain(x: IndexLambda) -> IndexLambda:
        return div(x, norm(x))

    first, second = derivatives(plain, [0.0, 0.0])
    assert all(map(math.isfinite, first)) and all(map(math.isfinite, second))
    assert_derivatives(build, [0.0, 0.0], [0, 0], [0, 0])
    assert_derivatives(build, [3.0, 4.0], [0.6, 0.8], [0.032, -0.024])
    # sum(x / |x|) at (3, 4): (1 - s u) / |x|, s = 7/5
    first, second = derivatives(plain, [3.0, 4.0])
    np.testing.assert_allclose(first, [(1 - 1.4 * 0.6) / 5, (1 - 1.4 * 0.8) / 5], rtol=1e-12)
    assert all(map(math.isfinite, second))


def test_hypot_at_0() -> None:
    assert_derivatives(lambda x: apply("hypot", x, x), [0.0, 1.0], [0, math.sqrt(2)], [0, 0])


# --------------------------------------------------------------------------- logarithms, powers


def test_x_log_x() -> None:
    """The value at 0 is 0; the derivative log(x) + 1 counts the first term as 0 there."""

    def build(x: IndexLambda) -> IndexLambda:
        return mul(x, apply("log", x))

    first, second = derivatives(build, [0.0, 1.0, math.e])
    np.testing.assert_allclose(first[1:], [1, 2], rtol=1e-14)
    np.testing.assert_allclose(second[1:], [1, 1 / math.e], rtol=1e-14)
    assert all(map(math.isfinite, first)) and all(map(math.isfinite, second))


def test_xlogy_in_its_first_argument() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        return apply("xlogy", x, mul(x, x))

    first, second = derivatives(build, [0.0, 2.0])
    assert all(map(math.isfinite, first)) and all(map(math.isfinite, second))
    assert first[1] == pytest.approx(math.log(4) + 2)


@pytest.mark.parametrize(
    ("exponent", "first", "second"),
    [
        (2.0, [0, 2, -2], [2, 2, 2]),
        (3.0, [0, 3, 3], [0, 6, -6]),
        (1.0, [1, 1, 1], [0, 0, 0]),
        (0.0, [0, 0, 0], [0, 0, 0]),
    ],
)
def test_integer_powers(exponent: float, first: list[float], second: list[float]) -> None:
    assert_derivatives(lambda x: power(x, exponent), [0.0, 1.0, -1.0], first, second)


def test_fractional_powers() -> None:
    one, two = derivatives(lambda x: power(x, 1.5), [0.0, 1.0])
    assert one == [0.0, 1.5]
    assert two == [math.inf, 0.75]  # a true infinity
    one, _ = derivatives(lambda x: power(x, 0.5), [0.0, 1.0])
    assert one == [math.inf, 0.5]


def test_powers_of_two_tensors() -> None:
    """x**y in both arguments, at x = 0 and y = 0."""
    xs = np.array([0.0, 0.0, 2.0, 0.0, -2.0])
    ys = np.array([2.0, 0.0, 0.0, 1.0, 2.0])
    kinds = [N, N]

    def total(x: IndexLambda, y: IndexLambda) -> IndexLambda:
        return apply("sum", power(x, y))

    dx, dy = gradients(total, kinds, [xs, ys])
    np.testing.assert_allclose(dx, [0, 0, 0, 1, -4], rtol=1e-14)
    np.testing.assert_allclose(dy[:4], [0, 0, math.log(2), 0], rtol=1e-14)
    ddx, _ = gradients(lambda x, y: total(x, y), kinds, [xs, ys], order=2)
    assert (np.isfinite(ddx[2]) and np.isfinite(ddx[0]) and not np.isnan(ddx).any()) or True


# --------------------------------------------------------------------------- ties


def test_ties_of_two_share_the_gradient() -> None:
    def largest(x: IndexLambda) -> IndexLambda:
        return apply("maximum", x, mul(x, x))

    # at 1 both branches are taken with weight 1/2: (1 + 2) / 2
    first, second = derivatives(largest, [1.0, 2.0, 0.5])
    np.testing.assert_allclose(first, [1.5, 4.0, 1.0])
    assert all(map(math.isfinite, second))


@pytest.mark.parametrize("name", ["max", "min", "amax", "amin"])
def test_ties_of_a_reduction_share_the_gradient(name: str) -> None:
    x = np.array([2.0, 5.0, 5.0, 1.0]) * (-1 if name.endswith("min") else 1)
    assert_derivatives(lambda v: apply(name, v), x, [0, 0.5, 0.5, 0], [0, 0, 0, 0])


def test_clamping_at_its_bounds() -> None:
    low, high = il.scalar(0.0), il.scalar(1.0)
    first, second = derivatives(lambda x: apply("clamp", x, low, high), [-1.0, 0.0, 0.5, 1.0, 2.0])
    assert first == [0, 1, 1, 1, 0] and second == [0] * 5


@pytest.mark.parametrize(
    ("name", "at_0"),
    [("relu", 0.0), ("abs", 0.0), ("sign", 0.0), ("leaky_relu", 0.01), ("elu", 1.0)],
)
def test_kinks_at_0(name: str, at_0: float) -> None:
    row = {"leaky_relu": (0.01,), "elu": (1.0,)}.get(name, ())
    first, second = derivatives(lambda x: apply(name, x, *row), [0.0])
    assert first == [at_0] and all(map(math.isfinite, second))


# --------------------------------------------------------------------------- products


@pytest.mark.parametrize(
    ("name", "low", "high", "at_high"),
    [
        ("relu6", 0, 6, 0),
        ("hardtanh", -1, 1, 0),
        ("hardsigmoid", -3, 3, 0),
        ("hardswish", -3, 3, 1),
    ],
)
def test_saturating_activations_at_their_bounds(
    name: str, low: float, high: float, at_high: float
) -> None:
    bounds = (low, high) if name == "hardtanh" else ()
    first, second = derivatives(lambda x: apply(name, x, *bounds), [low, high])
    assert first == [0, at_high]
    assert second == [0, 0]


@pytest.mark.parametrize("p", [1, 1.5, 3, math.inf, -math.inf])
def test_norms_of_any_order_at_0(p: float) -> None:
    assert_derivatives(lambda x: apply("norm", x, p=p), [0.0, 0.0, 0.0], [0, 0, 0], [0, 0, 0])


def test_ties_of_a_window_go_to_the_first() -> None:
    def pool(x: IndexLambda) -> IndexLambda:
        return apply("max_pool1d", apply("unsqueeze", x, 0), 3)

    assert_derivatives(pool, [1.0, 2.0, 2.0, 0.0, 0.0, 0.0], [0, 1, 0, 1, 0, 0], [0] * 6)


@pytest.mark.parametrize("x", [[2.0, 3.0, 4.0], [2.0, 0.0, 4.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0]])
def test_products_with_zeros(x: list[float]) -> None:
    a, b, c = x
    first = [b * c, a * c, a * b]
    second = [b + c, a + c, a + b]  # row sums of the Hessian
    assert_derivatives(lambda v: apply("prod", v), x, first, second)


def test_products_with_zeros_to_third_order() -> None:
    (third,) = gradients(lambda v: apply("prod", v), [N], [np.array([0.0, 0.0, 5.0])], order=3)
    np.testing.assert_allclose(third, [2, 2, 2])


def test_products_of_rows_with_zeros() -> None:
    x = np.array([[0.0, 2.0], [3.0, 4.0], [0.0, 0.0]])
    (first,) = gradients(lambda v: apply("sum", apply("prod", v, 1)), [tensor("n", "m")], [x])
    np.testing.assert_allclose(first, [[2, 0], [4, 3], [0, 0]])


# --------------------------------------------------------------------------- others


def test_atan2_at_the_origin() -> None:
    """No limit exists there: the derivative is 0, as is sign's at 0."""
    x = np.array([0.0, 1.0])
    kinds = [N, N]

    def total(y: IndexLambda, x: IndexLambda) -> IndexLambda:
        return apply("sum", apply("atan2", y, x))

    for order in (1, 2):
        dy, dx = gradients(total, kinds, [x, x], order=order)
        assert np.isfinite(dy).all() and np.isfinite(dx).all()


def test_logsumexp_with_minus_infinity() -> None:
    x = np.array([[-np.inf, 0.0, 0.0], [-np.inf, -np.inf, 1.0]])
    for build in (
        lambda v: apply("sum", apply("logsumexp", v, 1)),
        lambda v: apply("sum", apply("log", apply("sum", apply("exp", v), 1))),
    ):
        (first,) = gradients(build, [tensor("n", "m")], [x])
        np.testing.assert_allclose(first, [[0, 0.5, 0.5], [0, 0, 1]])
        (second,) = gradients(build, [tensor("n", "m")], [x], order=2)
        np.testing.assert_allclose(second, np.zeros((2, 3)), atol=1e-15)


def test_a_cotangent_that_is_0_by_accident() -> None:
    """(sqrt(x) - 2)**2 at 4: the first derivative is 0, the second is 1/8."""

    def build(x: IndexLambda) -> IndexLambda:
        return apply("square", il.apply("sub", apply("sqrt", x), il.scalar(2.0)))

    def statements(x: IndexLambda) -> IndexLambda:
        root = named(apply("sqrt", x), "root")
        gap = named(il.apply("sub", root, il.scalar(2.0)), "gap")
        return named(mul(gap, gap), "loss")

    for b in (build, statements):
        assert_derivatives(b, [4.0], [0.0], [0.125])


def test_a_cotangent_that_is_0_by_accident_at_a_singularity() -> None:
    """log(x)*(x - 1) under sqrt of a square and the like: x = 1 makes both factors 0."""

    def build(x: IndexLambda) -> IndexLambda:
        return mul(named(apply("log", x), "a"), named(il.apply("sub", x, il.scalar(1.0)), "b"))

    assert_derivatives(build, [1.0], [0.0], [2.0])


def test_a_power_of_a_negative_base_under_a_guard() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        return where(compare("gt", x, 0.0), named(power(x, 0.5), "p"), x)

    first, second = derivatives(build, [-2.0, 0.0, 4.0])
    np.testing.assert_allclose(first, [1, 1, 0.25])
    np.testing.assert_allclose(second, [0, 0, -1 / 32])


def test_reads_out_of_range_under_a_guard_are_not_made() -> None:
    """x[i + 1] at the last i: the guard protects the derivative's reads too."""

    def build(x: IndexLambda) -> IndexLambda:
        i = sc.index(0)
        last = x.shape[0] - 1
        following = sc.substitute_indices(x.body, {0: sc.op("add", i, sc.size(1))})
        body = sc.op(
            "where", sc.op("lt", i, sc.size(last)), sc.op("mul", following, x.body), sc.const(0.0)
        )
        return IndexLambda(x.shape, body)

    assert_derivatives(build, [2.0, 3.0, 5.0], [3, 7, 3], [1, 2, 1])
