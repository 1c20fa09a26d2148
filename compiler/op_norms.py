"""Norms of order p, and what is measured with them: unit vectors, distances, angles.

`p` is a positive number, 0 (how many elements are not 0), ±inf (the greatest or least size), or
'fro' for 2. At 0 every gradient is 0.
"""

from __future__ import annotations

import math

from . import index_lambda as il
from .index_lambda import IndexLambda, OpError
from .op_arguments import Dims, Order, dims_of
from .op_pointwise import call


def norm(x: IndexLambda, dim: Dims = None, keepdim: bool = False, p: Order = 2) -> IndexLambda:
    """The p-norm over `dim`, of a matrix too; p = 2 is the Euclidean one. Its gradient at 0 is
    0."""
    if isinstance(p, str):
        if p != "fro":
            raise OpError("E0603", f"a norm's order is a number or 'fro', got {p!r}")
        p = 2

    def over(reducer: str, of: IndexLambda) -> IndexLambda:
        return il.reduce(of, reducer, dims_of(dim), keepdim)

    if p == 2:
        return call("root_of_squares", over("sum", il.apply("mul", x, x)))
    if math.isinf(p):
        return over("max" if p > 0 else "min", il.apply("abs", x))
    if p == 1:
        return over("sum", il.apply("abs", x))
    if p == 0:
        return over("sum", il.cast(il.apply("ne", x, il.scalar(0)), x.dtype))
    return call("root_of_powers", over("sum", call("power_of_size", x, p)), p)


def vector_norm(
    x: IndexLambda, ord: Order = 2, dim: Dims = None, keepdim: bool = False
) -> IndexLambda:
    """`norm` with the order first, as in `linalg`."""
    return norm(x, dim, keepdim, ord)


def normalize(x: IndexLambda, dim: int = 1, eps: float = 1e-12, p: float = 2.0) -> IndexLambda:
    x = il.computed_once(x)
    return il.apply("div", x, il.apply("max", norm(x, dim, True, p), il.scalar(eps)))


def cosine_similarity(
    x1: IndexLambda, x2: IndexLambda, dim: int = 1, eps: float = 1e-8
) -> IndexLambda:
    """x1·x2 / (max(‖x1‖, eps) * max(‖x2‖, eps)) over `dim`, after broadcasting."""
    shape = il.broadcast_shapes([x1.shape, x2.shape])
    x, y = (il.computed_once(il.broadcast_to(t, shape)) for t in (x1, x2))
    product = il.reduce(il.apply("mul", x, y), "sum", (dim,))
    sizes = [call("clamp_min", norm(t, dim), eps) for t in (x, y)]
    return il.apply("div", product, il.apply("mul", *sizes))


def pairwise_distance(
    x1: IndexLambda, x2: IndexLambda, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> IndexLambda:
    """The norm of x1 - x2 + eps over the last dim."""
    gap = il.apply("add", il.apply("sub", x1, x2), il.scalar(eps))
    return norm(il.computed_once(gap), -1, keepdim, p)
