"""Views: where each element of the result is read from. PyTorch's names, arguments and meaning."""

from __future__ import annotations

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim, is_one, product, provably_nonnegative
from .dims import dim as dim_of
from .index_lambda import IndexLambda, OpError
from .op_arguments import Dims, Sizes, Tensors, dims_of
from .scalar import Scalar


def permute(x: IndexLambda, dims: tuple[int, ...]) -> IndexLambda:
    order = [il.axis_of(d, x.rank) for d in dims]
    if sorted(order) != list(range(x.rank)):
        raise OpError(
            "E0502", f"permute of a tensor of rank {x.rank} names each dim once, got {dims}"
        )
    return il.permute(x, order)


def transpose(x: IndexLambda, dim0: int = -2, dim1: int = -1) -> IndexLambda:
    if x.rank < 2:
        raise OpError("E0502", f"transpose needs a rank of 2 at least, got {il.type_text(x)}")
    order = list(range(x.rank))
    a, b = il.axis_of(dim0, x.rank), il.axis_of(dim1, x.rank)
    order[a], order[b] = order[b], order[a]
    return il.permute(x, order)


def unsqueeze(x: IndexLambda, dim: int) -> IndexLambda:
    return il.insert_axes(x, [il.axis_of(dim, x.rank + 1)])


def squeeze(x: IndexLambda, dim: Dims = None) -> IndexLambda:
    given = dims_of(dim)
    if given is None:
        return il.drop_axes(x, [k for k, d in enumerate(x.shape) if is_one(d)])
    axes = [il.axis_of(d, x.rank) for d in given]
    return il.drop_axes(x, [k for k in axes if is_one(x.shape[k])])


def expand(x: IndexLambda, size: Sizes) -> IndexLambda:
    return il.broadcast_to(x, size if isinstance(size, tuple) else (size,))


def flip(x: IndexLambda, dims: Dims) -> IndexLambda:
    axes = {il.axis_of(d, x.rank) for d in dims_of(dims) or ()}
    at: list[Scalar] = [
        sc.op("sub", sc.size(d - 1), sc.index(k)) if k in axes else sc.index(k)
        for k, d in enumerate(x.shape)
    ]
    return il.reindex(x, x.shape, at)


def reshape(x: IndexLambda, shape: Sizes) -> IndexLambda:
    """Row-major. One size may be -1 where the others are known to divide."""
    wanted = list(shape if isinstance(shape, tuple) else (shape,))
    total = product(x.shape)
    if sum(d.const == -1 for d in wanted) == 1:
        k = next(k for k, d in enumerate(wanted) if d.const == -1)
        rest = product(tuple(d for j, d in enumerate(wanted) if j != k))
        wanted[k] = _exact_quotient(total, rest)
    if product(tuple(wanted)) != total:
        raise OpError(
            "E0503",
            f"{il.shape_text(x.shape)} has {total} elements, "
            f"{il.shape_text(wanted)} would have {product(tuple(wanted))}",
        )
    x = il.computed_once(x)
    if any(not isinstance(i, sc.Affine) for r in sc.reads([x.body]) for i in r.indices):
        x = il.of_node(il.materialize(x))  # quotients of quotients could not be solved back
    kept = 0  # leading dims that both shapes share need no division
    while kept < min(len(wanted), x.rank) and wanted[kept] == x.shape[kept]:
        kept += 1
    position: Scalar = sc.size(0)
    for k in range(kept, len(wanted)):
        position = sc.op("add", sc.op("mul", position, sc.size(wanted[k])), sc.index(k))
    at: list[Scalar] = []
    for k in reversed(range(kept, x.rank)):
        d = x.shape[k]
        if is_one(d):
            at.append(sc.size(0))
            continue
        last = all(map(is_one, x.shape[kept:k]))
        at.append(position if last else sc.op("mod", position, sc.size(d)))
        position = sc.op("floordiv", position, sc.size(d))
    return il.reindex(x, wanted, [*map(sc.index, range(kept)), *reversed(at)])


def _exact_quotient(total: Dim, rest: Dim) -> Dim:
    """`total / rest` where both are single terms."""
    if len(total.terms) == 1 and len(rest.terms) == 1:
        (atoms, c), (others, by) = total.terms[0], rest.terms[0]
        left = list(atoms)
        for a in others:
            if a not in left:
                break
            left.remove(a)
        else:
            if c % by == 0:
                return Dim(((tuple(left), c // by),))
    raise OpError("E0503", f"cannot infer a size: {total} elements over {rest}")


def flatten(x: IndexLambda, start_dim: int = 0, end_dim: int = -1) -> IndexLambda:
    a, b = il.axis_of(start_dim, x.rank), il.axis_of(end_dim, x.rank)
    shape = (*x.shape[:a], product(x.shape[a : b + 1]), *x.shape[b + 1 :])
    return reshape(x, shape)


def cat(tensors: Tensors, dim: int = 0) -> IndexLambda:
    first = tensors[0]
    axis = il.axis_of(dim, first.rank)
    for t in tensors[1:]:
        rest = [k for k in range(first.rank) if k != axis]
        if t.rank != first.rank or any(t.shape[k] != first.shape[k] for k in rest):
            raise OpError(
                "E0501",
                f"cat along dim {axis}: {il.shape_text(first.shape)} and "
                f"{il.shape_text(t.shape)} differ elsewhere",
            )
    ends: list[Dim] = []
    for t in tensors:
        ends.append((ends[-1] if ends else _zero) + t.shape[axis])
    i = sc.index(axis)
    shape = (*first.shape[:axis], ends[-1], *first.shape[axis + 1 :])
    body: Scalar | None = None
    for k in reversed(range(len(tensors))):
        start = ends[k] - tensors[k].shape[axis]
        shifted = sc.substitute_indices(tensors[k].body, {axis: sc.op("sub", i, sc.size(start))})
        body = (
            shifted
            if body is None
            else sc.op("where", sc.op("lt", i, sc.size(ends[k])), shifted, body)
        )
    assert body is not None
    return IndexLambda(shape, body)


_zero = dim_of(0)


def stack(tensors: Tensors, dim: int = 0) -> IndexLambda:
    return cat(tuple(unsqueeze(t, dim) for t in tensors), dim)


def pad(x: IndexLambda, pad: tuple[int, ...], value: float = 0.0) -> IndexLambda:
    """`pad = (left, right, …)` from the last dim backwards, as PyTorch's constant mode."""
    if len(pad) % 2 or len(pad) > 2 * x.rank:
        raise OpError("E0503", f"pad takes (before, after) for up to {x.rank} dims, got {pad}")
    shape = list(x.shape)
    at: list[Scalar] = [sc.index(k) for k in range(x.rank)]
    inside: Scalar | None = None
    for n in range(len(pad) // 2):
        k = x.rank - 1 - n
        before, after = pad[2 * n], pad[2 * n + 1]
        shape[k] = x.shape[k] + before + after
        at[k] = sc.op("sub", sc.index(k), sc.size(before))
        for ok in (
            sc.op("ge", sc.index(k), sc.size(before)) if before > 0 else None,
            sc.op("lt", sc.index(k), sc.size(x.shape[k] + before)) if after > 0 else None,
        ):
            if ok is not None:
                inside = ok if inside is None else sc.op("and", inside, ok)
    moved = il.reindex(x, shape, at)
    if inside is None:
        return moved
    return IndexLambda(moved.shape, sc.op("where", inside, moved.body, sc.const(value)))


def unflatten(x: IndexLambda, dim: int, sizes: Sizes) -> IndexLambda:
    """One dim as several, row-major; one of the sizes may be -1."""
    axis = il.axis_of(dim, x.rank)
    inner = list(sizes if isinstance(sizes, tuple) else (sizes,))
    if sum(d.const == -1 for d in inner) == 1:
        k = next(k for k, d in enumerate(inner) if d.const == -1)
        inner[k] = _exact_quotient(x.shape[axis], product((*inner[:k], *inner[k + 1 :])))
    return reshape(x, (*x.shape[:axis], *inner, *x.shape[axis + 1 :]))


def movedim(x: IndexLambda, source: Dims, destination: Dims) -> IndexLambda:
    """Each dim of `source` goes to the place in `destination`; the others keep their order."""
    sources = [il.axis_of(d, x.rank) for d in dims_of(source) or ()]
    places = [il.axis_of(d, x.rank) for d in dims_of(destination) or ()]
    if len(sources) != len(places) or any(len(set(a)) < len(a) for a in (sources, places)):
        raise OpError("E0502", f"movedim pairs distinct dims, got {source} and {destination}")
    rest = iter(k for k in range(x.rank) if k not in sources)
    moved = dict(zip(places, sources, strict=True))
    return il.permute(x, [moved[k] if k in moved else next(rest) for k in range(x.rank)])


def narrow(x: IndexLambda, dim: int, start: int, length: Sizes) -> IndexLambda:
    """`length` elements of `dim` from `start` on, which may count from the end."""
    if isinstance(length, tuple):
        raise OpError("E0503", "narrow takes one length")
    axis = il.axis_of(dim, x.rank)
    size = x.shape[axis]
    first = size + start if start < 0 else dim_of(start)
    if provably_nonnegative(first + length - size - 1) or provably_nonnegative(-length - 1):
        raise OpError("E0503", f"narrow: {length} elements from {start} on, of {size}")
    at = [sc.index(k) for k in range(x.rank)]
    at[axis] = sc.affine({axis: dim_of(1)}, first)
    return il.reindex(x, (*x.shape[:axis], length, *x.shape[axis + 1 :]), at)


def select(x: IndexLambda, dim: int, index: int) -> IndexLambda:
    """The slice at one position of `dim`, which may count from the end."""
    axis = il.axis_of(dim, x.rank)
    if not x.rank:
        raise OpError("E0502", "select takes a dim, and a scalar has none")
    size = x.shape[axis].const
    if size is not None and not -size <= index < size:
        raise OpError("E0502", f"position {index} of a dim of size {size}")
    position = sc.size(x.shape[axis] + index if index < 0 else index)
    shape = (*x.shape[:axis], *x.shape[axis + 1 :])
    rest = iter(range(x.rank - 1))
    at = [position if k == axis else sc.index(next(rest)) for k in range(x.rank)]
    return il.reindex(x, shape, at)


def unfold(x: IndexLambda, dimension: int, size: int, step: int) -> IndexLambda:
    """Windows of `size` elements, `step` apart, along `dimension`; a window's elements last."""
    axis = il.axis_of(dimension, x.rank)
    if size < 0 or step < 1 or not x.rank:
        raise OpError("E0503", f"unfold of {il.type_text(x)} in windows of {size}, {step} apart")
    at = [sc.index(k) for k in range(x.rank)]
    at[axis] = sc.affine({axis: dim_of(step), x.rank: dim_of(1)})
    windows = (x.shape[axis] - size) // step + 1
    shape = (*x.shape[:axis], windows, *x.shape[axis + 1 :], dim_of(size))
    return il.reindex(il.computed_once(x), shape, at)
