"""Gradients on the graph: reads turned round into gathers and scatters, reductions, requests.

Every case is compared with central differences, first and second order; what must come out as a
gather is asserted to hold no scatter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from tdsl.compiler import index_lambda as il
from tdsl.compiler import scalar as sc
from tdsl.compiler.dims import Dim, dim, named
from tdsl.compiler.dtypes import F64, I64
from tdsl.compiler.graph import comp
from tdsl.compiler.index_lambda import IndexLambda
from tdsl.compiler.pipeline import differentiated, simplified
from tdsl.compiler.scalar import Scalar

from .graph_functions import (
    Build,
    Parameter,
    apply,
    check_derivatives,
    function,
    gradient_of,
    gradients,
    random_arrays,
    scatters,
    tensor,
    value,
)

I, J, K, L = (sc.index(number) for number in range(4))  # noqa: E741
n, m, k, h, w = (named(c) for c in "nmkhw")
SIZES_NM = tensor("n", "m", dtype=I64)  # says what n and m are where only their product stands
N, NM, H, HW = tensor("n"), tensor("n", "m"), tensor("h"), tensor("h", "w")
INTS = tensor("n", dtype=I64)


def plus(a: Scalar, b: Scalar | int) -> Scalar:
    return sc.op("add", a, b if not isinstance(b, int) else sc.size(b))


def times(a: Scalar | int, b: Scalar) -> Scalar:
    return sc.op("mul", a if not isinstance(a, int) else sc.size(a), b)


def at(x: IndexLambda, *indices: Scalar) -> Scalar:
    return sc.substitute_indices(x.body, dict(enumerate(indices)))


def summed(body: Scalar, extents: Sequence[Dim | int], rank: int, how: str = "sum") -> IndexLambda:
    return il.of_node(comp(body, [dim(e) for e in extents], rank, how))


def mapped(body: Scalar, *extents: Dim | int) -> IndexLambda:
    return IndexLambda(tuple(dim(e) for e in extents), body)


# --------------------------------------------------------------------------- gathers


def conv(x: IndexLambda, f: IndexLambda, stride: int = 1, dilation: int = 1) -> IndexLambda:
    taps = f.shape[0].const or 0
    length = (x.shape[0] - dilation * (taps - 1) - 1) // stride + 1
    place = plus(times(stride, I), times(dilation, J))
    return summed(sc.op("mul", at(x, place), at(f, J)), [length, taps], 1)


def padded_conv(x: IndexLambda, f: IndexLambda) -> IndexLambda:
    """Zeros outside, by a guard in the body."""
    place = sc.op("sub", plus(I, J), sc.size(1))
    inside = sc.op("and", sc.op("ge", place, sc.size(0)), sc.op("lt", place, sc.size(h)))
    body = sc.op("where", inside, sc.op("mul", at(x, place), at(f, J)), sc.const(0.0))
    return summed(body, [h, 3], 1)


def conv_2d(x: IndexLambda, f: IndexLambda) -> IndexLambda:
    rows, columns = x.shape[0] - 2, (x.shape[1] - 3) // 2 + 1
    body = sc.op("mul", at(x, plus(I, K), plus(times(2, J), L)), at(f, K, L))
    return summed(body, [rows, columns, 3, 3], 2)


def conv_channels(x: IndexLambda, f: IndexLambda) -> IndexLambda:
    """out[o, i] = sum over channels and taps of x[c, i + p] f[o, c, p]"""
    o, i, c, p = I, J, K, L
    body = sc.op("mul", at(x, c, plus(i, p)), at(f, o, c, p))
    return summed(body, [2, x.shape[1] - 2, x.shape[0], 3], 2)


def sliced(x: IndexLambda) -> IndexLambda:
    return mapped(at(x, plus(times(2, I), 1)), (h - 2) // 2 + 1)


def backwards(x: IndexLambda) -> IndexLambda:
    """x[::-2]"""
    place = sc.op("sub", sc.size(h - 1), times(2, I))
    return mapped(at(x, place), (h - 1) // 2 + 1)


def stencil(x: IndexLambda) -> IndexLambda:
    """x[i] x[i + 2] - 2 x[i + 1]²: one operand read at three places."""
    middle = at(x, plus(I, 1))
    ends = sc.op("mul", at(x, I), at(x, plus(I, 2)))
    return mapped(sc.op("sub", ends, times_float(2.0, sc.op("mul", middle, middle))), h - 2)


def times_float(c: float, x: Scalar) -> Scalar:
    return sc.op("mul", sc.const(c), x)


def laplacian(x: IndexLambda) -> IndexLambda:
    i, j = plus(I, 1), plus(J, 1)
    around = [(I, j), (plus(I, 2), j), (i, J), (i, plus(J, 2))]
    total = times_float(-4.0, at(x, i, j))
    for a, b in around:
        total = sc.op("add", total, at(x, a, b))
    return mapped(sc.op("mul", total, total), h - 2, w - 2)


def diagonal_read(x: IndexLambda) -> IndexLambda:
    return mapped(sc.op("mul", at(x, I, I), at(x, I, sc.size(0))), n)


def antidiagonals(x: IndexLambda) -> IndexLambda:
    """x[i + j] over two output indices: a sum of a window."""
    return mapped(sc.op("exp", at(x, plus(I, J))), h - 2, 3)


def guarded_neighbour(x: IndexLambda) -> IndexLambda:
    """x[i - 1] where that exists, else x[i]."""
    left = at(x, sc.op("sub", I, sc.size(1)))
    body = sc.op("where", sc.op("ge", I, sc.size(1)), sc.op("mul", left, left), at(x, I))
    return mapped(body, h)


def data_guard(x: IndexLambda) -> IndexLambda:
    """A guard on data that reads elsewhere."""
    left = at(x, sc.op("sub", I, sc.size(1)))
    test = sc.op("and", sc.op("ge", I, sc.size(1)), sc.op("gt", at(x, I), sc.const(0.0)))
    return mapped(sc.op("where", test, sc.op("exp", left), at(x, I)), h)


def shifted_reduction(x: IndexLambda) -> IndexLambda:
    """The maximum of a sliding window."""
    return summed(at(x, plus(I, J)), [h - 2, 3], 1, "max")


def cumulative(x: IndexLambda) -> IndexLambda:
    body = sc.op("where", sc.op("le", J, I), at(x, J), sc.const(0.0))
    return summed(body, [h, h], 1)


def attention(q: IndexLambda, v: IndexLambda) -> IndexLambda:
    scores = apply("matmul", q, apply("transpose", q))
    return apply("matmul", apply("softmax", scores, 1), v)


def pairwise(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    """sum[j] exp(-(x[i] - y[j])²)"""
    d = sc.op("sub", at(x, I), at(y, J))
    return summed(sc.op("exp", sc.op("neg", sc.op("mul", d, d))), [n, m], 1)


def transposed_read(x: IndexLambda) -> IndexLambda:
    return mapped(sc.op("mul", at(x, J, I), at(x, J, I)), m, n)


def blocks(x: IndexLambda, *_: IndexLambda) -> IndexLambda:
    """x[i*m + j] with 0 <= j < m: one dim split in two."""
    return mapped(sc.op("exp", at(x, plus(times(sc.size(m), I), J))), n, m)


def blocks_shifted(x: IndexLambda, *_: IndexLambda) -> IndexLambda:
    """The same from the second block on."""
    place = plus(plus(times(sc.size(m), I), J), sc.size(m))
    return mapped(sc.op("exp", at(x, place)), n - 1, m)


def pooled(x: IndexLambda) -> IndexLambda:
    """Windows of 3 that do not overlap; a remainder is left out."""
    return summed(at(x, plus(times(3, I), J)), [x.shape[0] // 3, 3], 1, "max")


def split_rows(x: IndexLambda) -> IndexLambda:
    """x[p // m, p % m]"""
    p = I
    return mapped(
        sc.op("exp", at(x, sc.op("floordiv", p, sc.size(m)), sc.op("mod", p, sc.size(m)))), n * m
    )


def reshaped(*shape: Dim) -> Build:
    return lambda x, *_: apply("square", apply("reshape", x, tuple(shape)))


def reshaped_twice(x: IndexLambda) -> IndexLambda:
    return apply("exp", apply("reshape", apply("reshape", x, (m * n,)), (m, n)))


GATHERS: dict[str, tuple[Build, list[Parameter]]] = {
    "conv": (conv, [H, tensor(3)]),
    "conv strided": (lambda x, f: conv(x, f, stride=2), [H, tensor(3)]),
    "conv strided by its width": (lambda x, f: conv(x, f, stride=3), [H, tensor(3)]),
    "conv strided beyond its width": (lambda x, f: conv(x, f, stride=4), [H, tensor(2)]),
    "conv dilated": (lambda x, f: conv(x, f, dilation=3), [H, tensor(3)]),
    "conv strided and dilated": (lambda x, f: conv(x, f, 2, 3), [H, tensor(3)]),
    "conv padded": (padded_conv, [H, tensor(3)]),
    "conv 2-D": (conv_2d, [HW, tensor(3, 3)]),
    "conv with channels": (conv_channels, [tensor("k", "h"), tensor(2, "k", 3)]),
    "slice with a step": (sliced, [H]),
    "slice backwards": (backwards, [H]),
    "stencil": (stencil, [H]),
    "laplacian": (laplacian, [HW]),
    "diagonal": (diagonal_read, [tensor("n", "n")]),
    "antidiagonals": (antidiagonals, [H]),
    "guarded neighbour": (guarded_neighbour, [H]),
    "guard on data": (data_guard, [H]),
    "sliding maximum": (shifted_reduction, [H]),
    "cumulative sum": (cumulative, [H]),
    "attention": (attention, [NM, tensor("n", "k")]),
    "pairwise": (pairwise, [N, tensor("m")]),
    "transpose": (transposed_read, [NM]),
    "blocks": (blocks, [tensor(n * m), SIZES_NM]),
    "blocks, shifted": (blocks_shifted, [tensor(n * m), SIZES_NM]),
    "pooling": (pooled, [H]),
    "split rows": (split_rows, [NM]),
    "merge two": (reshaped(n * m), [NM]),
    "merge three": (reshaped(n * m * k), [tensor("n", "m", "k")]),
    "split in two": (reshaped(n, m), [tensor(n * m), SIZES_NM]),
    "split in three": (reshaped(n, dim(2), m), [tensor(2 * n * m), SIZES_NM]),
    "merge the last": (reshaped(n, m * k), [tensor("n", "m", "k")]),
    "merge the first": (reshaped(n * m, k), [tensor("n", "m", "k")]),
    "regroup": (reshaped(k, m, n), [tensor("n", "m", "k")]),
    "regroup in part": (reshaped(n, k, m), [tensor("n", "m", "k")]),
    "ones come and go": (reshaped(dim(1), n * m, dim(1)), [tensor("n", 1, "m")]),
    "literal sizes": (reshaped(dim(4), dim(6)), [tensor(2, 12)]),
    "reshape twice": (reshaped_twice, [NM]),
}


@pytest.mark.parametrize("name", GATHERS)
def test_reads_that_can_be_solved_become_gathers(name: str) -> None:
    build, parameters = GATHERS[name]
    arrays = random_arrays(parameters, np.random.default_rng(0))
    check_derivatives(build, parameters, arrays)

    def derived(*xs: IndexLambda) -> tuple[IndexLambda, ...]:
        floats = [x for x in xs if x.dtype.is_float]
        return tuple(gradient_of(apply("sum", apply("exp", build(*xs))), *floats))

    for stage in (differentiated, simplified):
        assert not scatters(stage(function(derived, parameters)))


# --------------------------------------------------------------------------- scatters


def gathered(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    """Rows by an index array, some of them twice: an embedding."""
    return mapped(sc.op("exp", at(x, y.body, J)), n, m)


def picked(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    """z[r, y[r]]"""
    e = at(x, I, y.body)
    return mapped(sc.op("mul", e, e), n)


def picked_of_computed(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    return picked(il.of_node(il.materialize(apply("log_softmax", x, 1))), y)


def nested_gather(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    """x[y[y[i]]]"""
    return mapped(sc.op("exp", at(x, at(y, y.body))), n)


def gather_under_a_guard(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    """An index that is out of range where it is not used."""
    test = sc.op("lt", y.body, sc.size(1))
    return mapped(sc.op("where", test, sc.op("exp", at(x, times(9, y.body))), sc.const(0.0)), n)


def scatter(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    """d[y[i]] += exp(x[i])"""
    body = sc.op("exp", x.body)
    return il.of_node(comp(body, [n], 0, "sum", target=[y.body], shape=[n]))


def histogram_squared(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    return apply("square", scatter(x, y))


def scatter_to_affine(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    """d[2*i] += x[i]²"""
    body = sc.op("mul", x.body, x.body)
    return apply("exp", il.of_node(comp(body, [n], 0, "sum", target=[times(2, I)], shape=[2 * n])))


SCATTERS: dict[str, tuple[Build, list[Parameter]]] = {
    "embedding": (gathered, [NM, INTS]),
    "picked": (picked, [NM, INTS]),
    "picked of a computed tensor": (picked_of_computed, [NM, INTS]),
    "nested gather": (nested_gather, [N, INTS]),
    "gather under a guard": (gather_under_a_guard, [N, INTS]),
    "scatter": (scatter, [N, INTS]),
    "histogram squared": (histogram_squared, [N, INTS]),
    "scatter to affine places": (scatter_to_affine, [N, INTS]),
}


@pytest.mark.parametrize("name", SCATTERS)
def test_gathers_and_scatters(name: str) -> None:
    build, parameters = SCATTERS[name]
    arrays = random_arrays(parameters, np.random.default_rng(1))
    check_derivatives(build, parameters, arrays)


def test_the_gradient_of_a_picked_element_needs_no_scatter() -> None:
    """z[r, y[r]]: a one-hot test costs less."""

    def derived(x: IndexLambda, y: IndexLambda) -> IndexLambda:
        return gradient_of(apply("sum", picked(x, y)), x)[0]

    assert not scatters(simplified(function(derived, [NM, INTS])))


def test_the_gradient_of_an_embedding_is_a_scatter() -> None:
    def derived(x: IndexLambda, y: IndexLambda) -> IndexLambda:
        return gradient_of(apply("sum", gathered(x, y)), x)[0]

    assert len(scatters(simplified(function(derived, [NM, INTS])))) == 1


def test_gathers_repeat_and_add_up() -> None:
    x, y = np.zeros((3, 2)), np.array([1, 1, 1])
    build = lambda x, y: apply("sum", gathered(x, y))  # noqa: E731
    kinds = [tensor("n", 2), INTS]
    found = gradients(lambda x, y: apply("sum", mapped(at(x, y.body, J), n, 2)), kinds, [x, y])[0]
    np.testing.assert_array_equal(found, [[0, 0], [3, 3], [0, 0]])
    assert value(build, [NM, INTS], [np.zeros((3, 4)), y]) == 12


# --------------------------------------------------------------------------- reductions


@pytest.mark.parametrize("reducer", ["sum", "prod", "max", "min"])
@pytest.mark.parametrize("over", [1, 2])
def test_reducers(reducer: str, over: int) -> None:
    kinds = [tensor("n", "m", "k")]
    arrays = random_arrays(kinds, np.random.default_rng(2))

    def build(x: IndexLambda) -> IndexLambda:
        return il.of_node(comp(sc.op("sin", x.body), x.shape, 3 - over, reducer))

    check_derivatives(build, kinds, arrays)


@pytest.mark.parametrize("reducer", ["argmax", "argmin", "any", "all"])
def test_reducers_without_derivative(reducer: str) -> None:
    def build(x: IndexLambda) -> IndexLambda:
        test = x.body if reducer.startswith("arg") else sc.op("gt", x.body, sc.const(0.0))
        found = il.of_node(comp(test, x.shape, 1, reducer))
        scaled = il.apply("mul", il.cast(found, F64), apply("sum", x, 1))
        return apply("sum", scaled)

    x = np.array([[1.0, 3.0, 2.0, -1.0]] * 3)
    factor = {"argmax": 1.0, "argmin": 3.0, "any": 1.0, "all": 0.0}[reducer]
    (found,) = gradients(build, [NM], [x])
    np.testing.assert_array_equal(found, np.full((3, 4), factor))


def test_a_reduction_of_a_reduction() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        return apply("max", apply("prod", apply("exp", x), 1))

    check_derivatives(build, [NM], random_arrays([NM], np.random.default_rng(3)))
