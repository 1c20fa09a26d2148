"""Sums over symmetric tables: one for both points of a pair, and only where that holds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tdsl
from hypothesis import given, settings
from hypothesis import strategies as st
from tdsl.compiler.graph import Comp, postorder
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import differentiated, simplified
from tdsl.compiler.primitives import PRIMITIVES

POINTS = "def f(x: f64[n, 3], w: f64[n], s: f64[n, n]) -> f64:\n    return {body}\n"


def sums(source: str, wrt: str) -> int:
    """Sums over one of n points of the gradient that are left."""
    fn = simplified(tdsl.compile(source).f.grad(wrt).graph())
    return sum(
        isinstance(c, Comp) and c.reducer == "sum" and c.extents[-1].const is None
        for c in postorder(fn.outputs)
    )


SYMMETRIC = {
    "a distance": "sum[i, j](exp(-sum[k]((x[i, k] - x[j, k])**2)))",
    "a product": "sum[i, j](tanh(sum[k](x[i, k] * x[j, k])))",
    "without a pair of one": "sum[i, j](0 if i == j else 1 / sum[k]((x[i, k] - x[j, k])**2))",
    "weights of both": "sum[i, j](w[i] * w[j] * exp(-sum[k](abs(x[i, k] - x[j, k]))))",
    "a sum of both": "sum[i, j](sqrt(1 + sum[k]((x[i, k] + x[j, k])**4)))",
}
OTHERS = {
    "weights of one": "sum[i, j](w[i] * exp(-sum[k]((x[i, k] - x[j, k])**2)))",
    "one side": "sum[i, j](exp(-sum[k]((x[i, k] - x[j, k])**2)) if i < j else 0)",
    "a table": "sum[i, j](s[i, j] * sum[k]((x[i, k] - x[j, k])**2))",
    "odd in the difference": "sum[i, j](w[i] * sin(x[i, 0] - x[j, 0]))",
}


@pytest.mark.parametrize("name", SYMMETRIC)
def test_both_points_of_a_pair_by_one_sum(name: str) -> None:
    source = POINTS.format(body=SYMMETRIC[name])
    assert sums(source, "x") == 1
    agrees(source)


@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_symmetric_stays(name: str) -> None:
    source = POINTS.format(body=OTHERS[name])
    assert sums(source, "x") > 1
    agrees(source)


def agrees(source: str) -> None:
    """The gradients, and their own sum's, compiled, against the graph as it was differentiated."""
    rng = np.random.default_rng(3)
    f = tdsl.compile(source).f
    for n in (0, 1, 2, 5, 17):
        values = rng.standard_normal((n, 3)), rng.standard_normal(n), rng.standard_normal((n, n))
        for wrt in ("x", "w", "s"):
            if f"{wrt}[" not in source.split("return")[1]:
                continue  # what nothing depends on
            gradient = f.grad(wrt)
            want = interpret(differentiated(gradient.graph()), values)
            got = gradient(*values)
            np.testing.assert_allclose(got, np.asarray(want[0]), rtol=1e-9, atol=1e-12)


def test_its_text_is_short() -> None:
    source = POINTS.format(body=SYMMETRIC["a distance"])
    text = tdsl.compile(source).f.gradient_source("x")
    assert text.count("sum[") == 2  # the distance, and the gradient
    again = tdsl.compile(text)
    values = np.random.default_rng(0).standard_normal((7, 3)), np.ones(7), np.ones((7, 7))
    want = tdsl.compile(source).f.grad("x")(*values)
    np.testing.assert_allclose(again.f_dx(*values), want, rtol=1e-12)


def test_values_that_are_not_finite() -> None:
    """The negative of what is not a number is none; an infinite difference has a sign."""
    source = POINTS.format(body=SYMMETRIC["a distance"])
    gradient = tdsl.compile(source).f.grad("x")
    x = np.random.default_rng(1).standard_normal((6, 3))
    for bad in (np.nan, np.inf, -np.inf, 1e200):
        y = x.copy()
        y[2, 1] = bad
        with np.errstate(all="ignore"):
            want = interpret(differentiated(gradient.graph()), (y, np.ones(6), np.ones((6, 6))))[0]
        np.testing.assert_allclose(gradient(y, np.ones(6), np.ones((6, 6))), want, rtol=1e-9)


PAIRS = ["x[{i}, 0] - x[{j}, 0]", "x[{i}, 1] * x[{j}, 2]", "w[{i}] + w[{j}]", "s[{i}, {j}]"]
AROUND = ["abs({a})", "({a})**2", "-({a})", "({a})**3", "sin({a})", "({a} if {i} != {j} else 0)"]
BETWEEN = ["({a}) * ({b})", "({a}) + ({b})", "({a}) - ({b})", "({a}) / (2 + ({b})**2)"]


@st.composite
def tables(draw: st.DrawFn, depth: int = 3) -> str:
    """A body of i and j, of parts that are symmetric, antisymmetric or neither."""
    if depth == 0 or draw(st.booleans()):
        return draw(st.sampled_from(PAIRS))
    if draw(st.booleans()):
        return draw(st.sampled_from(AROUND)).replace("{a}", draw(tables(depth - 1)))
    a, b = draw(tables(depth - 1)), draw(tables(depth - 1))
    return draw(st.sampled_from(BETWEEN)).replace("{a}", a).replace("{b}", b)


@settings(max_examples=60, deadline=None)
@given(tables(), tables())
def test_random_tables(table: str, other: str) -> None:
    """Row sums and column sums of random tables, of which some are each other's negatives: with
    the interpreter, simplified and as they are written."""
    a, b = (t.replace("{i}", "i").replace("{j}", "j") for t in (table, other))
    source = f"""
def f(x: f64[n, 3], w: f64[n], s: f64[n, n]):
    a[i, j] = {a}
    b[i, j] = {b}
    rows[i] = sum[j](a[i, j] * b[i, j])
    columns[j] = sum[i](a[i, j] * b[i, j])
    turned[i] = sum[j](a[j, i] * b[i, j])
    return rows, columns, turned
"""
    graph = tdsl.compile(source).f.graph()
    rng = np.random.default_rng(11)
    values = rng.standard_normal((6, 3)), rng.standard_normal(6), rng.standard_normal((6, 6))
    with np.errstate(all="ignore"):
        for got, want in itertools.zip_longest(
            interpret(simplified(graph), values), interpret(differentiated(graph), values)
        ):
            np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-12)


EDGES = [0.0, 1e-45, 1e-38, 0.1, 1.0, 3.0, 7.25, 3e38, np.inf, np.nan]


@pytest.mark.parametrize("name", [n for n, row in PRIMITIVES.items() if row.parity or row.commutes])
def test_rows_say_what_signs_and_the_order_of_arguments_do(name: str) -> None:
    """To the last bit, compiled, for every pair of edge values; a zero's sign apart."""
    row = PRIMITIVES[name]
    form = f"x[i] {row.infix} y[i]" if row.infix else f"{name}(x[i])" if name != "neg" else "-x[i]"
    head = "def f(x: f32[n], y: f32[n]):"
    f = tdsl.compile(f"{head}\n    z[i] = ({form}) for i in 0:n\n    return z\n").f
    values = np.array([*EDGES, *(-v for v in EDGES)], np.float32)
    x, y = (v.ravel() for v in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        here = f(x, y)
        if row.commutes:
            np.testing.assert_array_equal(here, f(y, x))
        if row.parity:
            sign = -1 if row.parity == "odd" else 1
            np.testing.assert_array_equal(f(-x, y), sign * here)
            if row.arity == 2:
                np.testing.assert_array_equal(f(x, -y), sign * here)
