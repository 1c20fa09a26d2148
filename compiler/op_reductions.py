"""Reductions over some dims and what is built from them: statistics, norms, the softmax family.

`dim` is None (all dims), one dim or several; `keepdim` keeps them with size 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import index_lambda as il
from .dims import Dim, product
from .index_lambda import IndexLambda, OpError
from .op_arguments import Dims, dims_of
from .op_pointwise import call


def reduction(reducer: str) -> Callable[..., IndexLambda]:
    def build(x: IndexLambda, dim: Dims = None, keepdim: bool = False) -> IndexLambda:
        return il.reduce(x, reducer, dims_of(dim), keepdim)

    return build


def mean(x: IndexLambda, dim: Dims = None, keepdim: bool = False) -> IndexLambda:
    if not x.dtype.is_float:
        raise OpError(
            "E0402", f"mean needs a float tensor, got {il.type_text(x)}", "cast it first: f32(x)"
        )
    total = il.reduce(x, "sum", dims_of(dim), keepdim)
    return il.apply("div", total, il.scalar(_count(x, dims_of(dim))))


def _count(x: IndexLambda, axes: Sequence[int] | None) -> Dim:
    over = {il.axis_of(a, x.rank) for a in axes} if axes is not None else set(range(x.rank))
    return product(tuple(d for k, d in enumerate(x.shape) if k in over))


def var(
    x: IndexLambda,
    dim: Dims = None,
    correction: int = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
) -> IndexLambda:
    """Two passes: the mean, then the mean squared deviation. `unbiased` says 1 or 0 for
    `correction`, by its older name."""
    correction = correction if unbiased is None else int(unbiased)
    x = il.computed_once(x)
    deviation = il.apply("sub", x, mean(x, dim, True))
    total = il.reduce(il.apply("mul", deviation, deviation), "sum", dims_of(dim), keepdim)
    return il.apply("div", total, il.scalar(_count(x, dims_of(dim)) - correction))


def std(
    x: IndexLambda,
    dim: Dims = None,
    correction: int = 1,
    keepdim: bool = False,
    unbiased: bool | None = None,
) -> IndexLambda:
    return call("root_of_squares", var(x, dim, correction, keepdim, unbiased))


def count_nonzero(input: IndexLambda, dim: Dims = None) -> IndexLambda:
    return il.reduce(il.apply("ne", input, il.scalar(0)), "sum", dims_of(dim))


def nansum(input: IndexLambda, dim: Dims = None, keepdim: bool = False) -> IndexLambda:
    """The sum of what is not NaN."""
    if not input.dtype.is_float:
        return il.reduce(input, "sum", dims_of(dim), keepdim)
    x = il.computed_once(input)
    numbers = il.apply("where", il.apply("isnan", x), il.scalar(0), x)
    return il.reduce(numbers, "sum", dims_of(dim), keepdim)


def nanmean(input: IndexLambda, dim: Dims = None, keepdim: bool = False) -> IndexLambda:
    """The mean of what is not NaN."""
    if not input.dtype.is_float:
        return mean(input, dim, keepdim)
    x = il.computed_once(input)
    present = il.cast(il.apply("not", il.apply("isnan", x)), x.dtype)
    count = il.reduce(present, "sum", dims_of(dim), keepdim)
    return il.apply("div", nansum(x, dim, keepdim), count)


def _shift(x: IndexLambda, dims: Dims) -> IndexLambda:
    """The maximum over `dims`, kept and without gradient; 0 where it is infinite."""
    m = il.reduce(x, "max", dims_of(dims))
    finite = il.apply("where", il.apply("isfinite", m), m, il.scalar(0))
    shift = il.of_node(il.materialize(il.apply("stop_gradient", finite)))
    axes = {il.axis_of(a, x.rank) for a in dims_of(dims) or range(x.rank)} if x.rank else set()
    return il.insert_axes(shift, sorted(axes))


def logsumexp(x: IndexLambda, dim: Dims = None, keepdim: bool = False) -> IndexLambda:
    x = il.computed_once(x)
    m = _shift(x, dim)
    total = il.reduce(il.apply("exp", il.apply("sub", x, m)), "sum", dims_of(dim), True)
    out = il.apply("add", m, il.apply("log", total))
    if keepdim:
        return out
    axes = [il.axis_of(a, x.rank) for a in dims_of(dim) or range(x.rank)] if x.rank else []
    return il.drop_axes(out, axes)


def softmax(x: IndexLambda, dim: int) -> IndexLambda:
    x = il.computed_once(x)
    e = il.of_node(il.materialize(il.apply("exp", il.apply("sub", x, _shift(x, dim)))))
    return il.apply("div", e, il.reduce(e, "sum", (dim,), True))


def log_softmax(x: IndexLambda, dim: int) -> IndexLambda:
    x = il.computed_once(x)
    shifted = il.apply("sub", x, _shift(x, dim))
    total = il.reduce(il.apply("exp", shifted), "sum", (dim,), True)
    return il.apply("sub", shifted, il.apply("log", total))
