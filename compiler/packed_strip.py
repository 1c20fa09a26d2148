"""Strips: a right operand whose values serve many places of the sum, packed once for all of them.

In: a `Contraction`. Out: the same one with a `Strip`, where the right operand depends on an index
of the output and on reduced ones only by way of one sum of them (`j + v`, `2*i + u`, `j - 3*v`: a
convolution's windows): that sum is a coordinate. The strip holds the operand at every coordinate,
each once, with zeros where a guard fails; a place of the sum reads it at an offset. Left to others:
its memory and its code (`emit_strip`), the product (`microkernel_strip`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .dims import dim
from .dtypes import I64
from .joined_index import rebuilt
from .loops import Apply, IndexValue, Linear, Load, Loop, Reduce, Value, postorder
from .packed import Contraction, Coordinate, Operand, Strip, contraction
from .tile import Registers

LONGEST = 64
"""A step of a window that may be long for its size: longer ones are lines of an array, or planes,
whose lengths are known."""


SHORT = 8
"""Columns that are better joined with the window than left to vectors of their own."""


def with_strip(c: Contraction, registers: Registers) -> Contraction:
    """`c`, with a strip if its right operand can be one."""
    if c.columns not in c.direct.loops:
        apart = contraction(c.direct, registers, join=False)
        assert apart is not None
        known = apart.columns.extent.const
        made = apart if known is None or known < SHORT else _with_strip(apart)
        return c if made.strip is None else made
    return _with_strip(c)


def _with_strip(c: Contraction) -> Contraction:
    right = c.right
    (s,) = right.nest.body
    assert isinstance(s, Reduce)
    if right.transposed:
        return c
    values = [v for v in (right.value, right.guard) if v is not None]
    forms = _forms(values)
    columns = _coordinate(forms, c.columns, s.loops)
    window = _window(c)
    lines = None
    if columns is not None and window is not None:
        rest = [x for x in s.loops if x not in columns.loops]
        lines = _coordinate(forms, window, rest) or _inverse(forms, window, rest)
    if columns is None or (lines is None and len(s.loops) < len(columns.loops)):
        return c
    both = [columns] if lines is None else [columns, lines]
    if not all(x.dense for x in both) and not _is_convex(values):
        return c
    return replace(
        c,
        batch=c.batch if lines is None else c.batch[:-1],
        window=None if lines is None else window,
        strip=Strip(_operand(right, s, both), columns, lines),
    )


def _window(c: Contraction) -> Loop | None:
    """The batch index that may run along a strip's lines."""
    last = c.batch[-1] if c.batch else None
    return None if last is None or last.index in c.left.nest.ranged else last


def _forms(values: Iterable[Value]) -> list[Linear]:
    """All by which values depend on indices."""
    forms: list[Linear] = []
    for x in postorder(values):
        match x:
            case IndexValue(at):
                forms.append(at)
            case Load():
                forms.append(x.offset)
            case _:
                pass
    return forms


def _coordinate(forms: Sequence[Linear], own: Loop, reduced: Sequence[Loop]) -> Coordinate | None:
    """`own` and all multiples of it among the reduced indices, if there are any."""
    steps = [(x, ratio(forms, x, own)) for x in reduced]
    most = own.extent.const or LONGEST
    parts = tuple((x, k) for x, k in steps if k is not None and abs(k) < most)
    return Coordinate(own, ((own, 1), *parts)) if parts else None


def _inverse(forms: Sequence[Linear], own: Loop, reduced: Sequence[Loop]) -> Coordinate | None:
    """The same, where `own` is the multiple of a reduced index."""
    for kept in reduced:
        if ratio(forms, own, kept) is not None:
            return _coordinate(forms, kept, [own, *(x for x in reduced if x is not kept)])
    return None


def ratio(forms: Iterable[Linear], x: Loop, base: Loop) -> int | None:
    """How many times as far as `base` an index moves all that depends on either."""
    ratio: int | None = None
    for at in forms:
        step, unit = at.coefficient(x.index), at.coefficient(base.index)
        if step is None and unit is None:
            continue
        if step is None or unit is None:
            return None
        if ratio is None:
            ((mono, one), *_) = unit.terms
            ratio, left = divmod(dict(step.terms).get(mono, 0), one)
            if left or not ratio:
                return None
        if step != unit * dim(ratio):
            return None
    return ratio


def _is_convex(values: Iterable[Value]) -> bool:
    """Whether reads are in bounds between any two coordinates of which that is known: their places
    and their tests are affine. (Steps longer than 1 may pass over coordinates.)"""
    return not any(
        (isinstance(x, Load) and (x.gathered or not x.hoistable))
        or (isinstance(x, Apply) and x.dtype is I64)
        for x in postorder(values)
    )


def _operand(right: Operand, s: Reduce, coordinates: Sequence[Coordinate]) -> Operand:
    """The operand over its coordinates: each index that stands for one has all its values."""
    *lines, columns = (x.kept for x in reversed(coordinates))
    parts = [loop for x in coordinates for loop in x.loops]
    dropped = {x.index for x in parts if x not in (columns, *lines)}
    made: dict[Value, Value] = {}
    for v in postorder(v for v in (right.value, right.guard) if v is not None):
        made[v] = _without(rebuilt(v, made), dropped)
    value = made[right.value]
    guard = None if right.guard is None else made[right.guard]
    outside = tuple(x for x in right.nest.loops[:-1] if x not in parts)
    (a,) = s.accumulators
    total = replace(a, value=value, guard=guard)
    reduced = (*(x for x in s.loops if x not in parts), *lines)
    own = replace(
        right.nest,
        name=f"{right.nest.name}_strip",
        loops=(*outside, columns),
        body=(replace(s, loops=reduced, accumulators=(total,)),),
        ranged=(*(x.index for x in outside), columns.index, *(x.index for x in reduced)),
    )
    return Operand(own, columns.index, value, guard, False, right.finite)


def _without(x: Value, dropped: set[int]) -> Value:
    """`x` where some indices are 0."""
    match x:
        case IndexValue(at):
            return replace(x, at=_rest(at, dropped))
        case Load():
            return replace(x, offset=_rest(x.offset, dropped))
        case _:
            return x


def _rest(at: Linear, dropped: set[int]) -> Linear:
    return Linear(tuple(t for t in at.terms if t[0] not in dropped), at.const)
