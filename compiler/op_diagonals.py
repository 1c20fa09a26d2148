"""Diagonals and triangles of matrices: the last two dims, or two that are named."""

from __future__ import annotations

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim, provably_nonnegative
from .dims import dim as dim_of
from .index_lambda import IndexLambda, OpError


def diagonal(x: IndexLambda, offset: int = 0, dim1: int = -2, dim2: int = -1) -> IndexLambda:
    """The elements whose position in `dim2` is that in `dim1` plus `offset`, as the last dim."""
    if x.rank < 2:
        raise OpError("E0501", f"diagonal needs a square matrix, got {il.type_text(x)}")
    a, b = il.axis_of(dim1, x.rank), il.axis_of(dim2, x.rank)
    if a == b:
        raise OpError("E0502", f"a diagonal needs two dims, got {dim1} and {dim2}")
    rows, columns = (0, offset) if offset >= 0 else (-offset, 0)
    length = _smaller(x.shape[a] - rows, x.shape[b] - columns)
    if length is None:
        raise OpError("E0501", f"diagonal needs a square matrix, got {il.type_text(x)}")
    rest = [k for k in range(x.rank) if k not in (a, b)]
    at = {k: sc.index(place) for place, k in enumerate(rest)}
    for k, first in ((a, rows), (b, columns)):
        at[k] = sc.affine({len(rest): dim_of(1)}, first)
    return il.reindex(x, (*(x.shape[k] for k in rest), length), [at[k] for k in range(x.rank)])


def _smaller(m: Dim, n: Dim) -> Dim | None:
    """The least of two sizes, at least 0 where it is known; None where it is not known which."""
    if provably_nonnegative(n - m):
        least = m
    elif provably_nonnegative(m - n):
        least = n
    else:
        return None
    return dim_of(0) if provably_nonnegative(-least) else least


def diag_embed(input: IndexLambda, offset: int = 0, dim1: int = -2, dim2: int = -1) -> IndexLambda:
    """Matrices in `dim1` and `dim2` with the last dim on a diagonal, 0 elsewhere."""
    if not input.rank:
        raise OpError("E0502", "diag_embed takes a vector at least")
    rank = input.rank + 1
    a, b = il.axis_of(dim1, rank), il.axis_of(dim2, rank)
    if a == b:
        raise OpError("E0502", f"a diagonal needs two dims, got {dim1} and {dim2}")
    size = input.shape[-1] + abs(offset)
    rest = [k for k in range(rank) if k not in (a, b)]
    shape = [size] * rank
    for k, d in zip(rest, input.shape, strict=False):
        shape[k] = d
    row, column = sc.index(a), sc.index(b)
    on = sc.op("eq", column, sc.affine({a: dim_of(1)}, offset))
    x = il.computed_once(input)
    # the lesser of both positions, which is in range wherever they lie on the diagonal
    place = row if offset >= 0 else column
    found = il.reindex(x, shape, [*map(sc.index, rest), place])
    return IndexLambda(tuple(shape), sc.op("where", on, found.body, sc.const(0, input.dtype)))


def diag(input: IndexLambda, diagonal: int = 0) -> IndexLambda:
    """The matrix with this diagonal, or the diagonal of this matrix."""
    if input.rank == 1:
        return diag_embed(input, diagonal)
    if input.rank != 2:
        raise OpError("E0502", f"diag takes a vector or a matrix, got {il.type_text(input)}")
    return _diagonal(input, diagonal)


_diagonal = diagonal  # `diag` has an argument of that name


def tril(x: IndexLambda, diagonal: int = 0) -> IndexLambda:
    return _triangle(x, "le", diagonal)


def triu(x: IndexLambda, diagonal: int = 0) -> IndexLambda:
    return _triangle(x, "ge", diagonal)


def _triangle(x: IndexLambda, keep: str, diagonal: int) -> IndexLambda:
    if x.rank < 2:
        raise OpError("E0502", f"a triangle needs a rank of 2 at least, got {il.type_text(x)}")
    row, column = sc.index(x.rank - 2), sc.index(x.rank - 1)
    kept = sc.op(keep, column, sc.op("add", row, sc.size(diagonal)))
    return IndexLambda(x.shape, sc.op("where", kept, x.body, sc.const(0)))
