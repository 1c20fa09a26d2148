"""One index in place of several: what they were is worked out from it, where they are not walked as
one.

In: values and stores of the loop IR over a group of neighbouring indices. Out: the same over the
index that counts all their places. Left to others: which are joined (`packed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce

from .dims import dim
from .dtypes import I64
from .loops import Apply, IndexValue, Linear, Load, Loop, Nest, Store, Value, postorder


def taken_apart(
    merged: Loop, group: tuple[Loop, ...], values: Iterable[Value]
) -> dict[Value, Value]:
    """All values below `values`, over `merged` in place of `group`."""
    parts: dict[int, Value] = {}
    rest: Value = IndexValue(Linear(((merged.index, dim(1)),), dim(0)))
    for loop in reversed(group[1:]):
        size = IndexValue(Linear((), loop.extent))
        parts[loop.index] = Apply("mod", (rest, size), I64)
        rest = Apply("floordiv", (rest, size), I64)
    parts[group[0].index] = rest
    made: dict[Value, Value] = {}
    for x in postorder(values):
        y = rebuilt(x, made)
        if isinstance(y, Load):
            y = replace(y, offset=_along(y.offset, merged, group))
        made[x] = _in_parts(y, parts)
    return made


def store_along(merged: Loop, group: tuple[Loop, ...], store: Store) -> Store:
    return replace(store, offset=_along(store.offset, merged, group))


def nest_along(nest: Nest, merged: Loop, group: tuple[Loop, ...], names: dict[int, str]) -> Nest:
    """A nest of stores alone, over `merged`, at the place of the group's last index."""
    stores = [s for s in nest.body if isinstance(s, Store)]
    made = taken_apart(merged, group, [s.value for s in stores])
    loops = (merged if k is group[-1] else k for k in nest.loops if k not in group[:-1])
    gone = {loop.index: merged.index for loop in group}
    return replace(
        nest,
        loops=tuple(loops),
        body=tuple(replace(store_along(merged, group, s), value=made[s.value]) for s in stores),
        index_names=names,
        ranged=tuple(dict.fromkeys(gone.get(k, k) for k in nest.ranged)),
    )


def _along(at: Linear, merged: Loop, group: tuple[Loop, ...]) -> Linear:
    """`at` over `merged`, if it walks all of `group` as one."""
    step = at.coefficient(group[-1].index)
    room = dim(1)
    for loop in reversed(group):
        if step is None or at.coefficient(loop.index) != step * room:
            return at
        room = room * loop.extent
    assert step is not None
    gone = {loop.index for loop in group}
    kept = tuple(t for t in at.terms if t[0] not in gone)
    return Linear((*kept, (merged.index, step)), at.const)


def _in_parts(x: Value, parts: Mapping[int, Value]) -> Value:
    """`x` with some indices computed."""
    match x:
        case IndexValue(at) if any(k in parts for k, _ in at.terms):
            kept = Linear(tuple(t for t in at.terms if t[0] not in parts), at.const)
            first: Value = IndexValue(kept)
            return reduce(_plus, _steps(at, parts), first)
        case Load() if any(k in parts for k, _ in x.offset.terms):
            kept = Linear(tuple(t for t in x.offset.terms if t[0] not in parts), x.offset.const)
            step = reduce(_plus, _steps(x.offset, parts))
            return replace(x, offset=kept, gathered=(*x.gathered, (step, dim(1))))
        case _:
            return x


def _steps(at: Linear, parts: Mapping[int, Value]) -> list[Value]:
    return [
        Apply("mul", (parts[k], IndexValue(Linear((), c))), I64) for k, c in at.terms if k in parts
    ]


def _plus(x: Value, y: Value) -> Value:
    return Apply("add", (x, y), I64)


def rebuilt(x: Value, made: Mapping[Value, Value]) -> Value:
    """`x` over the new versions of its children."""
    match x:
        case Apply() if any(made[v] is not v for v in x.args):
            return replace(x, args=tuple(made[v] for v in x.args))
        case Load():
            gathered = tuple((made[v], d) for v, d in x.gathered)
            guard = None if x.guard is None else made[x.guard]
            return replace(x, gathered=gathered, guard=guard)
        case _:
            return x
