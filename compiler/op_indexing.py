"""Reading and writing at positions that other tensors hold.

Positions count from 0; one out of range is an error when it is read. A read's gradient is a
scatter to the same positions, and the other way round.
"""

from __future__ import annotations

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim, product, provably_nonnegative
from .graph import comp
from .index_lambda import IndexLambda, OpError
from .op_views import reshape
from .scalar import Scalar


def _whole_numbers(index: IndexLambda, what: str = "index") -> IndexLambda:
    if not index.dtype.is_integer:
        raise OpError("E0402", f"{what} must be integers, got {il.type_text(index)}")
    return il.computed_once(index)


def index_select(x: IndexLambda, dim: int, index: IndexLambda) -> IndexLambda:
    axis = il.axis_of(dim, x.rank)
    if index.rank != 1 or not index.dtype.is_integer:
        raise OpError("E0402", f"index must be a vector of integers, got {il.type_text(index)}")
    x = il.computed_once(x)
    picked = sc.substitute_indices(il.computed_once(index).body, {0: sc.index(axis)})
    at: list[Scalar] = [picked if k == axis else sc.index(k) for k in range(x.rank)]
    return il.reindex(x, (*x.shape[:axis], index.shape[0], *x.shape[axis + 1 :]), at)


def gather(input: IndexLambda, dim: int, index: IndexLambda) -> IndexLambda:
    """out[i, j, …] = input[i, index[i, j, …], …], where `dim` is 1; of the shape of `index`."""
    axis = il.axis_of(dim, input.rank)
    index = _whole_numbers(index)
    _check_within(index, input, axis)
    x = il.computed_once(input)
    if not x.rank:
        return il.reindex(x, index.shape, [])
    at: list[Scalar] = [index.body if k == axis else sc.index(k) for k in range(x.rank)]
    return il.reindex(x, index.shape, at)


def _check_within(index: IndexLambda, x: IndexLambda, axis: int) -> None:
    """Beside `axis` no size of `index` may exceed that of `x`; known sizes are compared here,
    the others when they are read."""
    short = [k for k in range(min(x.rank, index.rank)) if k != axis and _less(x, index, k)]
    if index.rank != x.rank or short:
        raise OpError(
            "E0501",
            f"an index of shape {il.shape_text(index.shape)} does not fit into "
            f"{il.shape_text(x.shape)} beside dim {axis}",
        )


def _less(x: IndexLambda, y: IndexLambda, k: int) -> bool:
    return provably_nonnegative(y.shape[k] - x.shape[k] - 1)


def take_along_dim(input: IndexLambda, indices: IndexLambda, dim: int | None = None) -> IndexLambda:
    """`gather`, the other dims broadcast; without `dim` both are read as vectors."""
    if dim is None:
        return gather(_flat(input), 0, _flat(indices))
    if input.rank != indices.rank:
        raise OpError(
            "E0501",
            f"take_along_dim takes tensors of one rank, got {il.type_text(input)} and "
            f"{il.type_text(indices)}",
        )
    axis = il.axis_of(dim, input.rank)

    def others(x: IndexLambda) -> tuple[Dim, ...]:
        return (*x.shape[:axis], *x.shape[axis + 1 :])

    rest = il.broadcast_shapes([others(input), others(indices)])
    x, index = (
        il.broadcast_to(t, (*rest[:axis], t.shape[axis], *rest[axis:])) for t in (input, indices)
    )
    return gather(x, axis, index)


def _flat(x: IndexLambda) -> IndexLambda:
    return x if x.rank == 1 else reshape(x, product(x.shape))


def embedding(
    input: IndexLambda, weight: IndexLambda, padding_idx: int | None = None
) -> IndexLambda:
    """The rows of `weight` that `input` numbers; row `padding_idx` gets no gradient."""
    index = _whole_numbers(input, "input")
    if weight.rank != 2:
        raise OpError("E0503", f"embedding takes rows of a matrix, got {il.type_text(weight)}")
    w = il.computed_once(weight)
    row, column = index.body, sc.index(index.rank)
    out = il.reindex(w, (*index.shape, w.shape[1]), [row, column])
    if padding_idx is None:
        return out
    number = w.shape[0] + padding_idx if padding_idx < 0 else padding_idx
    fixed = sc.op("eq", row, sc.size(number))
    return IndexLambda(out.shape, sc.op("where", fixed, sc.op("stop_gradient", out.body), out.body))


def masked_fill(input: IndexLambda, mask: IndexLambda, value: IndexLambda) -> IndexLambda:
    if not mask.dtype.is_bool:
        raise OpError("E0402", f"a mask is bool, got {il.type_text(mask)}")
    if value.rank:
        raise OpError("E0503", f"masked_fill takes a scalar, got {il.type_text(value)}")
    return il.apply("where", mask, IndexLambda((), sc.convert(value.body, input.dtype)), input)


# --------------------------------------------------------------------------- accumulating


def scatter_add(input: IndexLambda, dim: int, index: IndexLambda, src: IndexLambda) -> IndexLambda:
    """`input` with src[i, j, …] added at [i, index[i, j, …], …], where `dim` is 1."""
    axis = il.axis_of(dim, input.rank)
    index = _whole_numbers(index)
    _check_within(index, input, axis)
    if src.rank != index.rank or any(_less(src, index, k) for k in range(src.rank)):
        raise OpError(
            "E0501",
            f"src {il.shape_text(src.shape)} is smaller than index {il.shape_text(index.shape)}",
        )
    at: list[Scalar] = [index.body if k == axis else sc.index(k) for k in range(input.rank)]
    return _accumulated(input, at, index.shape, src.body)


def index_add(
    input: IndexLambda, dim: int, index: IndexLambda, source: IndexLambda, alpha: float = 1
) -> IndexLambda:
    """`input` with `alpha` times slice k of `source` added to its slice index[k], along `dim`."""
    axis = il.axis_of(dim, input.rank)
    index = _whole_numbers(index)
    shape = (*input.shape[:axis], *index.shape, *input.shape[axis + 1 :])
    if index.rank != 1 or source.shape != shape:
        raise OpError(
            "E0501",
            f"index_add along dim {axis} of {il.shape_text(input.shape)} takes a source of shape "
            f"{il.shape_text(shape)}, got {il.shape_text(source.shape)}",
        )
    number = sc.substitute_indices(index.body, {0: sc.index(axis)})
    at: list[Scalar] = [number if k == axis else sc.index(k) for k in range(input.rank)]
    value = source.body if alpha == 1 else sc.op("mul", sc.const(alpha), source.body)
    return _accumulated(input, at, shape, value)


def _accumulated(
    x: IndexLambda, at: list[Scalar], extents: tuple[Dim, ...], value: Scalar
) -> IndexLambda:
    value = sc.convert(value, x.dtype) if value.dtype.is_weak else value
    added = comp(value, extents, 0, "sum", target=at, shape=x.shape)
    return il.apply("add", x, il.of_node(added))


# --------------------------------------------------------------------------- replacing


def scatter(
    input: IndexLambda,
    dim: int,
    index: IndexLambda,
    src: IndexLambda | None = None,
    value: IndexLambda | None = None,
) -> IndexLambda:
    """`input` with src[i, j, …] (or the scalar `value`) at [i, index[i, j, …], …], where `dim`
    is 1. Of several for one place the last counts.

    Every place looks for the last index that names it: a gather, whose cost is the size of
    `input` times that of `index` along `dim`.
    """
    axis = il.axis_of(dim, input.rank)
    index = _whole_numbers(index)
    _check_within(index, input, axis)
    given = src if src is not None else value
    if given is None or (src is not None and value is not None):
        raise OpError("E0601", "scatter takes either src or value")
    if given.rank and (
        given.rank != index.rank or any(_less(given, index, k) for k in range(given.rank))
    ):
        raise OpError(
            "E0501",
            f"src {il.shape_text(given.shape)} is smaller than index {il.shape_text(index.shape)}",
        )
    if not input.rank:
        return IndexLambda((), sc.convert(given.body, input.dtype))
    return _replaced(input, axis, index, given)


def index_fill(input: IndexLambda, dim: int, index: IndexLambda, value: IndexLambda) -> IndexLambda:
    """`input` with the scalar `value` in the slices that `index` numbers, along `dim`."""
    axis = il.axis_of(dim, input.rank)
    index = _whole_numbers(index)
    if index.rank != 1 or value.rank:
        raise OpError(
            "E0503",
            f"index_fill takes a vector and a scalar, got {il.type_text(index)} and "
            f"{il.type_text(value)}",
        )
    hit = sc.op("eq", index.body, sc.index(1))
    swapped = sc.substitute_indices(hit, {0: sc.index(1), 1: sc.index(0)})
    named = il.of_node(comp(swapped, [input.shape[axis], index.shape[0]], 1, "any"))
    here = sc.substitute_indices(named.body, {0: sc.index(axis)})
    return IndexLambda(
        input.shape, sc.op("where", here, sc.convert(value.body, input.dtype), input.body)
    )


def _replaced(x: IndexLambda, axis: int, index: IndexLambda, given: IndexLambda) -> IndexLambda:
    """`x` with `given` at the places along `axis` that `index` names."""
    rank = x.rank
    step = sc.index(rank)  # along `axis` of the index, counted from 1: 0 names no place
    before = sc.op("sub", step, sc.size(1))
    hit = sc.op("eq", sc.substitute_indices(index.body, {axis: before}), sc.index(axis))
    covered = sc.op("gt", step, sc.const(0))
    for k in range(rank):
        if k != axis and index.shape[k] != x.shape[k]:
            inside = sc.op("lt", sc.index(k), sc.size(index.shape[k]))
            covered = sc.op("and", covered, inside)
    number = sc.op("where", covered, sc.op("where", hit, step, sc.const(0)), sc.const(0))
    last = il.of_node(comp(number, [*x.shape, index.shape[axis] + 1], rank, "max")).body
    found = given.body
    if given.rank:
        given = il.computed_once(given)
        found = sc.substitute_indices(given.body, {axis: sc.op("sub", last, sc.size(1))})
    taken = sc.op("gt", last, sc.const(0))
    return IndexLambda(x.shape, sc.op("where", taken, sc.convert(found, x.dtype), x.body))
