"""Gradient requests: nested, of intermediate values, of several parameters, at every size and
depth; and how the result reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tdsl.compiler import graph as g
from tdsl.compiler import index_lambda as il
from tdsl.compiler import scalar as sc
from tdsl.compiler.dims import dim, named
from tdsl.compiler.dtypes import BF16, F16, F32, F64, I64
from tdsl.compiler.graph import Comp, Scope, comp
from tdsl.compiler.index_lambda import IndexLambda
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import simplified
from tdsl.compiler.text import function_text

from .graph_functions import (
    Array,
    Parameter,
    apply,
    check_derivatives,
    function,
    gradient_of,
    gradients,
    random_arrays,
    tensor,
)

I = sc.index(0)  # noqa: E741
n = named("n")
N, NM, H, INTS = tensor("n"), tensor("n", "m"), tensor("h"), tensor("n", dtype=I64)


# --------------------------------------------------------------------------- requests


def test_third_order() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        return apply("sum", apply("sin", il.apply("mul", x, x)))

    x = np.array([0.3, -1.2, 0.7])
    (third,) = gradients(build, [N], [x], order=3)
    s, c = np.sin(x * x), np.cos(x * x)
    np.testing.assert_allclose(third, -8 * x**3 * c - 12 * x * s, rtol=1e-12)


def test_fourth_order_of_a_product() -> None:
    (fourth,) = gradients(lambda x: apply("prod", x), [tensor(5)], [np.arange(1.0, 6.0)], order=4)
    np.testing.assert_allclose(fourth, [6.0 * (15 - v) for v in range(1, 6)], rtol=1e-12)


def test_with_respect_to_an_intermediate_value() -> None:
    def build(x: IndexLambda, y: IndexLambda) -> tuple[IndexLambda, ...]:
        z = il.of_node(il.materialize(il.apply("mul", x, y)))
        of = apply("sum", apply("exp", z))
        return tuple(gradient_of(of, z, x, y))

    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(2, 3))
    dz, dx, dy = interpret(simplified(function(build, [N, N])), [x, y])
    np.testing.assert_allclose(dz, np.exp(x * y), rtol=1e-14)
    np.testing.assert_allclose(dx, y * np.exp(x * y), rtol=1e-14)
    np.testing.assert_allclose(dy, x * np.exp(x * y), rtol=1e-14)


def test_what_is_differentiated_by_stays_a_node() -> None:
    """log(sum(exp(z))): the shift must not swallow the node z that is asked for."""

    def build(x: IndexLambda) -> IndexLambda:
        z = il.of_node(il.materialize(il.apply("mul", x, x)))
        of = apply("log", apply("sum", apply("exp", z)))
        return gradient_of(of, z)[0]

    x = np.array([0.5, 1.0, 2.0])
    found = interpret(simplified(function(build, [N])), [x])[0]
    e = np.exp(x * x)
    np.testing.assert_allclose(found, e / e.sum(), rtol=1e-14)


def test_an_unused_parameter_has_a_gradient_of_zeros() -> None:
    def build(x: IndexLambda, y: IndexLambda) -> tuple[IndexLambda, ...]:
        return tuple(gradient_of(apply("sum", x), x, y))

    dx, dy = interpret(simplified(function(build, [N, NM])), [np.ones(3), np.ones((3, 4))])
    assert (dx == 1).all() and dy.shape == (3, 4) and not dy.any()


def test_the_value_itself() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        return gradient_of(x, x)[0]

    assert interpret(simplified(function(build, [tensor()])), [np.array(3.0)])[0] == 1.0


def test_stop_gradient() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        return apply("sum", il.apply("mul", x, apply("stop_gradient", x)))

    (found,) = gradients(build, [N], [np.array([1.0, 2.0, 3.0])])
    np.testing.assert_array_equal(found, [1.0, 2.0, 3.0])


def test_a_gradient_inside_a_loss() -> None:
    """A gradient penalty: sum((d sum(sin x) / dx)²) differentiated again."""

    def build(x: IndexLambda) -> IndexLambda:
        (inner,) = gradient_of(apply("sum", apply("sin", x)), x)
        return apply("sum", apply("square", inner))

    x = np.array([0.1, 0.5, 2.0])
    (found,) = gradients(build, [N], [x])
    np.testing.assert_allclose(found, -np.sin(2 * x), rtol=1e-13)


def test_two_requests_of_one_value_share_their_work() -> None:
    def build(x: IndexLambda, y: IndexLambda) -> tuple[IndexLambda, ...]:
        return tuple(gradient_of(apply("sum", apply("exp", apply("matmul", x, y))), x, y))

    fn = simplified(function(build, [NM, tensor("m", "k")]))
    nodes = [v for v in g.postorder(fn.outputs) if isinstance(v, Comp)]
    assert len(nodes) <= 4  # x @ y, its exponential, and the two products


@pytest.mark.parametrize("dtype", [F16, F32])
def test_the_gradient_has_the_dtype_of_what_it_is_taken_by(dtype: Any) -> None:
    kinds = [Parameter(dtype, (named("n"),)), tensor("n")]

    def build(x: IndexLambda, y: IndexLambda) -> tuple[IndexLambda, ...]:
        return tuple(gradient_of(apply("sum", il.apply("mul", x, y)), x, y))

    dx, dy = interpret(simplified(function(build, kinds)), [np.ones(3), np.full(3, 2.0)])
    assert dx.dtype == dtype.numpy and dy.dtype == np.float64
    assert (dx == 2).all() and (dy == 1).all()


# --------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("size", [0, 1, 2, 5])
@pytest.mark.parametrize(
    "build",
    [
        lambda x: apply("sum", apply("exp", x)),
        lambda x: apply("mean", il.apply("mul", x, x)),
        lambda x: apply("prod", x),
        lambda x: apply("sum", apply("matmul", x, apply("transpose", x))),
        lambda x: apply("sum", apply("square", apply("flatten", x))),
        lambda x: apply("sum", apply("cat", (x, x), 0)),
        lambda x: apply("sum", apply("exp", apply("pad", x, (1, 1)))),
    ],
)
def test_sizes_from_0_up(build: Callable[..., IndexLambda], size: int) -> None:
    """One function for every size; an empty tensor has an empty gradient."""
    rng = np.random.default_rng(size)
    for shape in ((size, 3), (3, size), (size, size)):
        x = rng.normal(size=shape)
        (found,) = gradients(build, [NM], [x])
        assert found.shape == shape
        if size:
            check_derivatives(build, [NM], [x])


def convolved_by_one_tap(x: IndexLambda, f: IndexLambda) -> IndexLambda:
    place = sc.op("add", I, sc.index(1))
    shifted = sc.substitute_indices(x.body, {0: place})
    tap = sc.substitute_indices(f.body, {0: sc.index(1)})
    return il.of_node(comp(sc.op("mul", shifted, tap), [*x.shape, dim(1)], 1, "sum"))


def test_an_index_over_a_literal_1() -> None:
    one = [H, tensor(1)]
    check_derivatives(convolved_by_one_tap, one, random_arrays(one, np.random.default_rng(6)))
    one = [tensor(1, "m"), tensor("m", 1)]
    check_derivatives(
        lambda x, y: apply("matmul", x, y), one, random_arrays(one, np.random.default_rng(7))
    )


# --------------------------------------------------------------------------- depth


def chain(length: int) -> g.Function:
    """x = sin(x) * 0.99, `length` times, each a node."""
    scope = Scope()
    with scope.active():
        x = g.make_input("x", 0, F64, [n])
        node: g.Node = x
        for _ in range(length):
            body = sc.op("mul", sc.op("sin", il.of_node(node).body), sc.const(0.99))
            node = comp(body, [n], 1)
        total = comp(il.of_node(node).body, [n], 0, "sum")
        return g.Function("f", (x,), (total, g.gradient(total, x)), True, scope=scope)


@pytest.mark.parametrize("length", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_thousands_of_nodes_in_a_row(length: int) -> None:
    """No recursion over the graph, and no quadratic work."""
    x = np.array([0.3, 1.0])
    out, slope = interpret(simplified(chain(length)), [x])
    v, d = x.copy(), np.ones(2)
    for _ in range(length):
        d = d * 0.99 * np.cos(v)
        v = 0.99 * np.sin(v)
    np.testing.assert_allclose(out, v.sum(), rtol=1e-12)
    np.testing.assert_allclose(slope, d, rtol=1e-9)


def test_a_deep_body() -> None:
    """Two thousand operations inside one comprehension."""
    scope = Scope()
    with scope.active():
        x = g.make_input("x", 0, F64, [n])
        body = il.of_node(x).body
        for _ in range(1_000):
            body = sc.op("add", sc.op("mul", body, sc.const(0.5)), il.of_node(x).body)
        total = comp(body, [n], 0, "sum")
        fn = g.Function("f", (x,), (total, g.gradient(total, x)), True, scope=scope)
    values: list[Array] = list(interpret(simplified(fn), [np.array([1.0, 2.0])]))
    np.testing.assert_allclose(values[0], 6.0, rtol=1e-12)
    np.testing.assert_allclose(values[1], [2.0, 2.0], rtol=1e-12)


# --------------------------------------------------------------------------- narrow floats, text


def bf16(x: Array) -> Array:
    """The bits of numbers that bf16 holds exactly."""
    return (np.asarray(x, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16)


def test_bf16_is_computed_in_its_own_precision() -> None:
    kinds = [Parameter(BF16, (named("n"),))]

    def build(x: IndexLambda) -> tuple[IndexLambda, ...]:
        total = apply("sum", il.apply("mul", x, x))
        return il.apply("add", x, il.scalar(1.0)), gradient_of(total, x)[0]

    x = np.array([1.0, 256.0, -0.5], dtype=np.float32)
    above, slope = interpret(simplified(function(build, kinds)), [bf16(x)])
    assert above.dtype == np.uint16 == slope.dtype
    np.testing.assert_array_equal(above, bf16(np.array([2.0, 256.0, 0.5])))  # 257 needs 9 bits
    np.testing.assert_array_equal(slope, bf16(2 * x))


def test_the_gradient_of_cross_entropy_reads_well() -> None:
    """One statement under the parameter's name, over what the value already computed."""

    def build(z: IndexLambda, y: IndexLambda) -> tuple[IndexLambda, ...]:
        p = apply("softmax", z, 1)
        picks = il.reindex(apply("log", p), y.shape, [I, y.body])
        loss = apply("negative", apply("mean", picks))
        return loss, gradient_of(loss, z)[0]

    text = function_text(simplified(function(build, [NM, INTS])))
    rows = [row for row in text.splitlines() if row.startswith("    dx")]
    assert len(rows) == 1 and rows[0].count(" if ") == 1, text
    assert "absorb" not in text and len(text.splitlines()) <= 11, text
