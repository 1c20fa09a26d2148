"""`x[…]` outside index notation: NumPy's indexing.

In: a tensor and the items between the brackets. Out: an index lambda that reads it elsewhere.
Integers, slices, `None`, `...` and tensors of integers mean what they mean in NumPy, with three
exceptions, each an error: a slice that reaches beyond its dim (NumPy cuts it short; here what
cannot be proved is required at run time), a mask of bools (its size depends on data), and tensors
of integers apart from each other (NumPy moves their dims to the front).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler import index_lambda as il
from ..compiler import scalar as sc
from ..compiler.dims import Dim, dim, provably_nonnegative
from ..compiler.index_lambda import IndexLambda, OpError
from ..compiler.records import dataclass, field
from ..compiler.scalar import Scalar
from ..compiler.span import Span
from .check_frame import Frame, Value, kind_of, static_int, static_size
from .syntax import Ellipsis_, Expr, Name, NewAxis, Slice, Subscript

Item = Expr | Slice | NewAxis


def source_text(e: Expr) -> str:
    return e.id if isinstance(e, Name) else "the tensor"


def tuple_item(frame: Frame, e: Subscript, items: tuple[Value, ...]) -> Value:
    """`t[0]` of a tuple: a literal position."""
    item = e.items[0]
    if len(e.items) > 1 or isinstance(item, Slice | NewAxis | Ellipsis_):
        position = None
    else:
        position = static_int(frame.evaluate(frame, item, None))
    if position is None:
        return frame.error("E0603", "a tuple is indexed by one integer literal", e.span)
    if not -len(items) <= position < len(items):
        message = f"position {position} is out of range: the tuple has {len(items)} values"
        return frame.error("E0509", message, e.span)
    return items[position]


# --------------------------------------------------------------------------- NumPy's indexing


@dataclass
class _Selection:
    """What the items read so far choose: per dim of the source where it is read (in the result's
    indices), and the result's dims."""

    at: list[Scalar] = field(default_factory=list)
    shape: list[Dim] = field(default_factory=list)
    gathers: list[tuple[int, IndexLambda, Span]] = field(default_factory=list)  # dim, positions
    places: list[int] = field(default_factory=list)  # of each gather: the result's rank before it

    def axis(self, extent: Dim) -> Scalar:
        """A dim of the result."""
        self.shape.append(extent)
        return sc.index(len(self.shape) - 1)


def subscript(frame: Frame, e: Subscript, x: IndexLambda) -> Value:
    items = _spread(frame, e, x)
    if items is None:
        return None
    chosen = _Selection()
    ok = True
    axis = 0
    fixed: list[int] = []  # dims of the source taken at one position
    for item in items:
        if isinstance(item, NewAxis):
            chosen.axis(dim(1))
            continue
        extent = x.shape[axis]
        if isinstance(item, Slice):
            at = _slice(frame, e, item, extent, chosen)
            ok &= at is not None
            chosen.at.append(at if at is not None else sc.size(0))
        else:
            value = frame.operand(item, None)
            ok &= value is not None and _integer(frame, e, item, value, axis, extent, chosen, fixed)
        axis += 1
    if not ok:
        return None
    frame.scope.span = e.span
    if not chosen.gathers:
        return il.reindex(x, chosen.shape, chosen.at)
    return _gather(frame, e, x, chosen, fixed)


def _spread(frame: Frame, e: Subscript, x: IndexLambda) -> list[Item] | None:
    """The items with `...` written out, one for every dim of `x`."""
    dots = [i for i in e.items if isinstance(i, Ellipsis_)]
    count = sum(not isinstance(i, Ellipsis_ | NewAxis) for i in e.items)
    if len(dots) > 1:
        return frame.error("E0510", "only one `...` may stand in an index", dots[1].span)
    if count > x.rank:
        shown = il.type_text(x)
        message = f"{count} indices for {source_text(e.base)} of rank {x.rank} ({shown})"
        return frame.error("E0510", message, e.span, notes=frame.dim_notes(x.shape))
    full = [Slice(None, None, None, e.span)] * (x.rank - count)
    out: list[Item] = []
    for item in e.items:
        if isinstance(item, Ellipsis_):
            out += full
        else:
            out.append(item)
    return out if dots else [*out, *full]


def _slice(frame: Frame, e: Subscript, s: Slice, extent: Dim, chosen: _Selection) -> Scalar | None:
    if s.lo is None and s.hi is None and s.step is None:
        return chosen.axis(extent)
    step = 1 if s.step is None else static_int(frame.operand(s.step, None))
    if step is None or step == 0:
        where = s.step.span if s.step is not None else s.span
        return frame.error("E0509", "the step of a slice is an integer literal other than 0", where)
    if step < 0:
        if step != -1 or s.lo is not None or s.hi is not None:
            return frame.error(
                "E0509",
                "of the negative steps only `[::-1]` is supported",
                s.span,
                "slice first, then reverse: `x[a:b][::-1]`",
            )
        return sc.op("sub", sc.size(extent - 1), chosen.axis(extent))
    lo = dim(0) if s.lo is None else _bound(frame, s.lo, extent)
    hi = extent if s.hi is None else _bound(frame, s.hi, extent)
    if lo is None or hi is None:
        return None
    what = f"the slice `{_slice_text(e, s, lo, hi)}` of a dim of size {extent}"
    reached = frame.require(lo, what, s.span) and frame.require(extent - hi, what, s.span)
    never = f"{what} ends before it begins"
    if not (reached and frame.require(hi - lo, what, s.span, never=never)):
        return None
    at = chosen.axis((hi - lo + (step - 1)) // step)
    return sc.op("add", sc.size(lo), sc.op("mul", sc.size(step), at))


def _slice_text(e: Subscript, s: Slice, lo: Dim, hi: Dim) -> str:
    left = "" if s.lo is None else str(lo)
    right = "" if s.hi is None else str(hi)
    return f"{source_text(e.base)}[{left}:{right}]"


def _bound(frame: Frame, e: Expr, extent: Dim) -> Dim | None:
    """A slice's bound as a position; a negative literal counts from the end."""
    value = frame.operand(e, None)
    if value is None:
        return None
    bound = static_size(value)
    if bound is None:
        return frame.error(
            "E0509",
            f"a slice's bound is an integer or a size, got {kind_of(value)}",
            e.span,
            "the size of a slice must not depend on data",
        )
    return from_end(frame, bound, extent, e.span)


def from_end(frame: Frame, position: Dim, extent: Dim, span: Span) -> Dim | None:
    """A stated position from 0; a negative one counts from the end, as in NumPy."""
    if position.const is not None:
        return extent + position if position.const < 0 else position
    if provably_nonnegative(-position):
        return frame.error(
            "E0509",
            f"a position counted from the end must be a literal, got {position}",
            span,
            f"write `{extent + position}`",
        )
    return position


def within(frame: Frame, position: Dim, extent: Dim, what: str, span: Span) -> bool:
    """Make sure that `0 <= position < extent`."""
    if position.const is not None and extent.const is not None:
        if 0 <= position.const < extent.const:
            return True
        size = extent.const
        message = f"{what} is out of range: its positions are 0 to {size - 1}"
        frame.error("E0509", message if size else f"{what} is empty", span)
        return False
    return frame.require(position, what, span) and frame.require(extent - 1 - position, what, span)


def _integer(
    frame: Frame,
    e: Subscript,
    item: Expr,
    value: IndexLambda,
    axis: int,
    extent: Dim,
    chosen: _Selection,
    fixed: list[int],
) -> bool:
    """An integer, a size, or a tensor of integers."""
    if value.dtype.is_bool:
        frame.error(
            "E0514",
            "a mask of bools cannot index: the result's size would depend on data",
            item.span,
            "keep the shape: `x if mask else 0`",
        )
        return False
    if not value.dtype.is_integer:
        frame.error("E0402", f"an index is an integer, got {kind_of(value)}", item.span)
        return False
    stated = static_size(value)
    if stated is not None:
        position = from_end(frame, stated, extent, item.span)
        shown = f"position {stated} in dim {axis} of {source_text(e.base)} (size {extent})"
        if position is None or not within(frame, position, extent, shown, item.span):
            return False
        chosen.at.append(sc.size(position))
        fixed.append(axis)
    elif value.rank == 0:
        chosen.at.append(value.body)
        fixed.append(axis)
    else:
        chosen.gathers.append((axis, value, item.span))
        chosen.places.append(len(chosen.shape))
        chosen.at.append(sc.size(0))
    return True


def _gather(
    frame: Frame, e: Subscript, x: IndexLambda, chosen: _Selection, fixed: Sequence[int]
) -> Value:
    """Tensors of integers, broadcast together, take the place of the dims that they index."""
    axes = [axis for axis, _, _ in chosen.gathers]
    apart = chosen.places[0] != chosen.places[-1]
    if apart or not all(_adjacent(f, axes, fixed) for f in fixed):
        return frame.error(
            "E0510",
            "tensors of integers stand apart in this index (NumPy would move their dims to the "
            "front, PyTorch would not)",
            e.span,
            "say which is meant in index notation, as in `y[i, j] = x[p[i], j, q[i]]`",
        )
    try:
        common = il.broadcast_shapes([v.shape for _, v, _ in chosen.gathers])
    except OpError as error:
        return frame.op_error(error, e.span, [("an index", v, at) for _, v, at in chosen.gathers])
    place, grown = chosen.places[0], len(common)
    shifted = {k: sc.index(k + grown) for k in range(place, len(chosen.shape))}
    at = [sc.substitute_indices(a, shifted) for a in chosen.at]
    for axis, positions, _ in chosen.gathers:
        wide = il.broadcast_to(il.computed_once(positions), common)
        here = {k: sc.index(k + place) for k in range(grown)}
        at[axis] = sc.substitute_indices(wide.body, here)
    shape = (*chosen.shape[:place], *common, *chosen.shape[place:])
    return il.reindex(il.computed_once(x), shape, at)


def _adjacent(position: int, axes: Sequence[int], fixed: Sequence[int]) -> bool:
    """Whether only dims that are indexed by integers lie between `position` and a gather."""
    indexed = {*axes, *fixed}
    nearest = min(axes, key=lambda a: abs(a - position))
    low, high = sorted((nearest, position))
    return all(k in indexed for k in range(low, high + 1))
