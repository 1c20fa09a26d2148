"""Sums of products: matrix products, inner and outer products of vectors."""

from __future__ import annotations

from collections.abc import Sequence

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim, is_one
from .graph import comp
from .index_lambda import IndexLambda, OpError
from .op_diagonals import diagonal
from .op_views import unsqueeze
from .scalar import Scalar


def matmul(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    """NumPy's and PyTorch's `@`: vectors, matrices, and batches broadcast over leading dims."""
    if x.rank == 0 or y.rank == 0:
        raise OpError(
            "E0504", f"@ needs vectors or matrices, got {il.type_text(x)} and {il.type_text(y)}"
        )
    inner, other = x.shape[-1], y.shape[-2 if y.rank > 1 else 0]
    if inner != other:
        raise OpError(
            "E0504",
            f"@ needs equal inner sizes: {il.shape_text(x.shape)} has {inner} columns, "
            f"{il.shape_text(y.shape)} has {other} rows",
        )
    x, y = il.computed_once(x), il.computed_once(y)
    batch = il.broadcast_shapes([x.shape[:-2], y.shape[:-2]])
    rows = x.shape[-2:-1]
    columns = y.shape[-1:] if y.rank > 1 else ()
    shape = (*batch, *rows, *columns)
    n = len(batch)
    k = sc.index(len(shape))
    left = _at(x, batch, [*([sc.index(n)] if rows else []), k])
    right = _at(y, batch, [k, *([sc.index(n + len(rows))] if columns else [])])
    node = comp(sc.op("mul", left, right), [*shape, inner], len(shape), "sum")
    return il.of_node(node)


def _at(x: IndexLambda, batch: tuple[Dim, ...], last: Sequence[Scalar]) -> Scalar:
    """The body of `x` with its leading dims broadcast over `batch`, the rest at `last`."""
    lead = x.shape[: x.rank - len(last)]
    offset = len(batch) - len(lead)
    at: list[Scalar] = [
        sc.size(0) if is_one(d) else sc.index(k + offset) for k, d in enumerate(lead)
    ]
    return sc.substitute_indices(x.body, dict(enumerate([*at, *last])))


def outer(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    if x.rank != 1 or y.rank != 1:
        raise OpError(
            "E0504", f"outer needs two vectors, got {il.type_text(x)} and {il.type_text(y)}"
        )
    return il.apply("mul", unsqueeze(x, 1), y)


def dot(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    if x.rank != 1 or y.rank != 1:
        raise OpError(
            "E0504", f"dot needs two vectors, got {il.type_text(x)} and {il.type_text(y)}"
        )
    return matmul(x, y)


def trace(x: IndexLambda) -> IndexLambda:
    return il.reduce(diagonal(x), "sum", (-1,))
