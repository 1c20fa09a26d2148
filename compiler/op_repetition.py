"""Tensors that repeat or turn another's elements along its dims.

A copy is spread over a dim of its own, stored, and then folded into the dim that it lengthens:
the gradient is a sum over the copies, where reads at `position % size` would be a scatter.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim, is_one, product
from .dims import dim as dim_of
from .index_lambda import IndexLambda, OpError
from .op_arguments import Dims, Sizes, dims_of
from .op_views import reshape
from .scalar import Scalar


def repeat(x: IndexLambda, repeats: Sizes) -> IndexLambda:
    """`repeats` copies along each dim; leading ones make new dims."""
    counts = list(repeats if isinstance(repeats, tuple) else (repeats,))
    if len(counts) < x.rank:
        raise OpError("E0503", f"repeat takes {x.rank} numbers at least, got {len(counts)}")
    x = il.insert_axes(x, range(len(counts) - x.rank)) if len(counts) > x.rank else x
    return _copied(x, counts, before=True)


def tile(input: IndexLambda, dims: Sizes) -> IndexLambda:
    """`repeat`, where fewer numbers than dims belong to the last dims."""
    counts = list(dims if isinstance(dims, tuple) else (dims,))
    return repeat(input, (*[dim_of(1)] * (input.rank - len(counts)), *counts))


def repeat_interleave(input: IndexLambda, repeats: Sizes, dim: int | None = None) -> IndexLambda:
    """Each element `repeats` times in a row along `dim`; without `dim`, of all as a vector."""
    if isinstance(repeats, tuple):
        raise OpError("E0503", "repeat_interleave takes one number")
    x, axis = (input, dim) if dim is not None else (reshape(input, product(input.shape)), 0)
    counts = [dim_of(1)] * x.rank
    counts[il.axis_of(axis, x.rank)] = repeats
    return _copied(x, counts, before=False)


def _copied(x: IndexLambda, counts: Sequence[Dim], before: bool) -> IndexLambda:
    """Along each dim `counts` copies of the whole (`before`), or of each element."""
    spread: list[Dim] = []
    at: list[Scalar] = []
    for d, n in zip(x.shape, counts, strict=True):
        parts = [d] if is_one(n) else [n] if is_one(d) else [n, d] if before else [d, n]
        own = sc.index(len(spread) + (len(parts) == 2 and before))
        at.append(sc.size(0) if is_one(d) else own)
        spread += parts
    copies = il.of_node(il.materialize(il.reindex(x, spread, at)))
    return reshape(copies, tuple(d * n for d, n in zip(x.shape, counts, strict=True)))


def roll(input: IndexLambda, shifts: Dims, dims: Dims = None) -> IndexLambda:
    """Positions moved up by `shifts` along `dims`, round the end; without `dims`, of all elements
    as a vector."""
    moved, axes = dims_of(shifts) or (), dims_of(dims)
    if axes is None:
        if len(moved) != 1 or not input.rank:
            raise OpError("E0503", f"roll of all elements takes one shift, got {shifts}")
        return reshape(roll(reshape(input, product(input.shape)), moved, 0), input.shape)
    if len(moved) != len(axes):
        raise OpError("E0503", f"roll takes a shift for each dim, got {shifts} and {dims}")
    x = input
    for shift, d in zip(moved, axes, strict=True):
        x = _rolled(il.computed_once(x), shift, il.axis_of(d, x.rank))
    return x


def _rolled(x: IndexLambda, shift: int, axis: int) -> IndexLambda:
    size, place = x.shape[axis], sc.index(axis)
    if size.const is None:
        source = sc.op("mod", sc.op("sub", place, sc.size(shift)), sc.size(size))
        return il.reindex(x, x.shape, [source if k == axis else sc.index(k) for k in range(x.rank)])
    shift = shift % size.const if size.const else 0
    if not shift:
        return x

    def moved(by: int) -> Scalar:
        return sc.substitute_indices(x.body, {axis: sc.op("add", place, sc.size(by))})

    wraps = sc.op("lt", place, sc.size(shift))
    return IndexLambda(x.shape, sc.op("where", wraps, moved(size.const - shift), moved(-shift)))
