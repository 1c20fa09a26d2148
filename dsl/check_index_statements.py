"""Index statements: `c[i, j] = …` defines a tensor, `d[p[i]] += …` adds to one (a scatter).

In: the statement. Out: its node, under the target's name. What its reads and reducers mean stands
in check_indices, how far its indices run in check_ranges.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler import index_lambda as il
from ..compiler import scalar as sc
from ..compiler.dims import dim
from ..compiler.graph import Comp, Node, comp, rename
from ..compiler.index_lambda import IndexLambda
from ..compiler.scalar import Scalar
from .check_frame import Frame, kind_of
from .check_index_uses import Bounds
from .check_indices import (
    POSITIONS,
    Indices,
    comprehension,
    fresh_indices,
    outer_values,
    position_of,
)
from .check_ranges import infer
from .syntax import IndexAssign, Name, Reduce, Subscript
from .syntax_walk import Part, parts


def index_assign(frame: Frame, s: IndexAssign) -> Node | None:
    """The tensor that an index statement defines; with `+=`, its new value."""
    if s.augmented:
        return _accumulate(frame, s)
    names = [i for i in s.indices if isinstance(i, Name)]
    if len(names) < len(s.indices):
        odd = next(i for i in s.indices if not isinstance(i, Name))
        return frame.error(
            "E0512",
            f"`{s.target.id}[…] = …` defines every element: its indices are plain names",
            odd.span,
            "write `+=` to add to chosen positions of a tensor that exists",
        )
    if not fresh_indices(frame, names):
        return None
    ix = Indices(explicit=s.ranges)
    numbers = [ix.add(n) for n in names]
    with ix.scope(names, numbers):
        if frame.operand(s.value, ix) is None or not infer(frame, ix, len(names), s.span):
            return None
        assert ix.bounds is not None
        if isinstance(s.value, Reduce):
            node = _whole_reduction(frame, s, s.value, ix, numbers)
            if node is not None:
                return node
        x = frame.operand(s.value, ix)
    if x is None:
        return None
    node = comprehension(ix, x.body, numbers, (), None, s.span)
    return rename(node, s.target.id, s.span, [n.id for n in names])


def _whole_reduction(
    frame: Frame, s: IndexAssign, e: Reduce, ix: Indices, free: Sequence[int]
) -> Node | None:
    """`c[i, j] = sum[k](…)` is one comprehension, where its reducer is one of the graph's."""
    reducer = e.reducer.id
    numbers = ix.reduced[id(e)]
    assert ix.bounds is not None
    if reducer in ("mean", "logsumexp") or (
        reducer in POSITIONS and ix.bounds[numbers[0]].lo != dim(0)
    ):
        return None
    with ix.scope(e.indices, numbers):
        x = frame.operand(e.body, ix)
    if x is None:
        return None
    node = comprehension(ix, x.body, free, numbers, reducer, s.span)
    return rename(node, s.target.id, s.span, node.index_names)


def _accumulate(frame: Frame, s: IndexAssign) -> Node | None:
    """`d[p, …] += e`: a scatter, or a sum where every position is a plain index of its own."""
    local = frame.locals.get(s.target.id)
    if local is None:
        frame.error(
            "E0301",
            f"`{s.target.id}` has no value yet to add to",
            s.target.span,
            f"begin with zeros: `{s.target.id}: f32[n] = 0`",
        )
        return None
    local.used = True
    before = local.value
    if not isinstance(before, IndexLambda) or before.rank != len(s.indices):
        if before is not None:
            shown = kind_of(before)
            message = f"{len(s.indices)} indices for `{s.target.id}`, which is {shown}"
            frame.error("E0510", message, s.span)
        return None
    ix = Indices(explicit=s.ranges)
    fresh = _target_indices(frame, s)
    numbers = [ix.add(n) for n in fresh]
    with ix.scope(fresh, numbers):
        if not _scatter_parts(frame, s, before, ix) or not infer(frame, ix, None, s.span):
            return None
        parts = _scatter_parts(frame, s, before, ix)
    if parts is None:
        return None
    positions, body = parts
    fitted = _fitting_body(frame, s, before, body)
    if fitted is None:
        return None
    frame.scope.span = s.span
    order = sorted({k for x in (*positions, fitted) for k in sc.indices_of(x)} | set(numbers))
    assert ix.bounds is not None
    values = outer_values(ix, order)
    if list(positions) == [sc.index(k) for k in order] and all(
        ix.bounds[k] == Bounds(dim(0), d) for k, d in zip(order, before.shape, strict=True)
    ):  # every element once: an addition, no scatter
        addend = IndexLambda(before.shape, sc.substitute_indices(fitted, values))
        total = addend if _is_zero(before) else il.apply("add", before, addend)
        names = [ix.names[k] for k in order]
        return rename(il.materialize(total, span=s.span), s.target.id, s.span, names)
    node = comp(
        sc.substitute_indices(fitted, values),
        [ix.bounds[k].extent for k in order],
        len(order),
        "sum",
        target=[sc.substitute_indices(p, values) for p in positions],
        shape=before.shape,
        index_names=[ix.names[k] for k in order],
        span=s.span,
    )
    if not _is_zero(before):
        total = il.apply("add", before, il.of_node(node))
        return rename(il.materialize(total, span=s.span), s.target.id, s.span)
    return rename(node, s.target.id, s.span)


def _target_indices(frame: Frame, s: IndexAssign) -> list[Name]:
    """The indices that a scatter's target introduces, in order of appearance. A name that is a
    whole position is one, even where it repeats a dim's name; in `d[n-1-i]` the `n` is the dim."""
    alone: dict[str, Name] = {}
    every: dict[str, Name] = {}
    stack: list[Part] = list(reversed(s.indices))
    whole = {id(i) for i in s.indices}
    while stack:
        x = stack.pop()
        if isinstance(x, Subscript):
            whole |= {id(i) for i in x.items}
        if isinstance(x, Name):
            every.setdefault(x.id, x)
            if id(x) in whole:
                alone.setdefault(x.id, x)
        stack.extend(reversed(parts(x)))
    found = []
    for name in every.values():
        known = name.id in frame.locals or (name.id in frame.dims and name.id not in alone)
        if not known and frame.linker.symbol(frame.module, name.id, name.span) is None:
            found.append(name)
    return found


def _scatter_parts(
    frame: Frame, s: IndexAssign, before: IndexLambda, ix: Indices
) -> tuple[list[Scalar], Scalar] | None:
    positions: list[Scalar] = []
    target = Subscript(s.target, s.indices, s.span)
    for axis, item in enumerate(s.indices):
        value = frame.operand(item, ix)
        if value is None:
            continue
        position = position_of(frame, target, item, value, axis, before.shape[axis], ix)
        if position is not None:
            positions.append(position)
    x = frame.operand(s.value, ix)
    if x is None or len(positions) < len(s.indices):
        return None
    return positions, x.body


def _fitting_body(frame: Frame, s: IndexAssign, before: IndexLambda, body: Scalar) -> Scalar | None:
    """`body` in the dtype of what it is added to; nothing is demoted."""
    total = sc.op("add", sc.const(0, before.dtype), body).dtype
    if total is before.dtype:
        return sc.convert(body, before.dtype)
    return frame.error(
        "E0403",
        f"adding {body.dtype} to `{s.target.id}`, which is {before.dtype}, would demote it",
        s.value.span,
        f"convert it: `{before.dtype}(…)`",
    )


def _is_zero(x: IndexLambda) -> bool:
    node = il.as_node(x)
    if isinstance(node, Comp) and node.reducer is None and node.target is None:
        return sc.is_literal(node.body, 0)
    return sc.is_literal(x.body, 0)
