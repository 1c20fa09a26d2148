"""Places: a left operand whose rows overlap, read where it stands by all of them.

In: a `Contraction`. Out: the same one with `Places`, where the left operand is an array that rows
and places of the sum walk in common (`i + u`: a window): panels would hold each element once for
every place of the window. Its rows are joined, as many of its indices as the result walks as one;
a list says where each row starts, and by how much every place of the sum moves all of them. Left to
others: the list (`emit_places`), the product (`microkernel_places`), and which operand is the left
one (`packed_windows`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .dims import product
from .joined_index import nest_along, store_along, taken_apart
from .loops import Linear, Load, Loop, Store
from .packed import Contraction, Places
from .packed_strip import LONGEST, ratio


def with_places(c: Contraction) -> Contraction:
    """`c`, with places if its left operand can be read at some."""
    load = c.left.value
    if c.strip is not None or c.tiles or c.columns not in c.direct.loops:
        return c
    if c.left.guard is not None or c.left.finite or c.right.finite:
        return c
    if not isinstance(load, Load) or load.guard is not None or load.gathered or load.checks:
        return c
    if load.buffer.dtype is not load.dtype:
        return c
    group = _group(c, load.offset)
    windows = _overlaps(load.offset, group, c.left.reduced)
    if c.rows not in group or not windows:
        return c
    places = Places(load, group, windows)
    if len(group) == 1:
        return replace(c, places=places)
    names = dict(c.left.nest.index_names)
    number = max(names) + 1
    names[number] = "".join(names[loop.index] for loop in group)
    rows = Loop(number, product(tuple(x.extent for x in group)), group[-1].kind)
    gone = {loop.index for loop in group}
    nest = c.left.nest
    left = replace(
        c.left,
        nest=replace(
            nest,
            loops=(*(x for x in nest.loops if x not in group), rows),
            ranged=(
                *(x.index for x in nest.loops[:-1] if x not in group),
                number,
                *(k for k in nest.ranged if k not in {x.index for x in nest.loops}),
            ),
            index_names=names,
        ),
        index=number,
        value=taken_apart(rows, group, [load])[load],
    )
    right = replace(c.right, nest=replace(c.right.nest, index_names=names))
    return replace(
        c,
        rows=rows,
        batch=tuple(k for k in c.batch if k.index not in gone),
        left=left,
        right=right,
        store=store_along(rows, group, c.store),
        rest=None if c.rest is None else nest_along(c.rest, rows, group, names),
        places=places,
    )


def _group(c: Contraction, read: Linear) -> tuple[Loop, ...]:
    """The innermost indices of the left operand alone that all results walk as one."""
    offsets = [c.store.offset]
    if c.rest is not None:
        offsets += [s.offset for s in c.rest.body if isinstance(s, Store)]
    shared = {loop.index for loop in c.right.nest.loops}
    group: tuple[Loop, ...] = ()
    for loop in reversed(c.direct.loops):
        if loop is c.columns:
            continue
        if loop.index in shared or read.coefficient(loop.index) is None:
            break
        if group:
            room = product(tuple(x.extent for x in group))
            inner = [at.coefficient(group[-1].index) for at in offsets]
            outer = [at.coefficient(loop.index) for at in offsets]
            if any(x is None or y != x * room for x, y in zip(inner, outer, strict=True)):
                break
        group = (loop, *group)
    return group


def _overlaps(
    read: Linear, rows: Sequence[Loop], reduced: Sequence[Loop]
) -> tuple[tuple[Loop, Loop], ...]:
    """Indices of the rows with summed ones that walk the same way."""
    return tuple(
        (x, y)
        for x in rows
        for y in reduced
        if any(
            by is not None and abs(by) < (b.extent.const or LONGEST)
            for b, by in ((y, ratio([read], x, y)), (x, ratio([read], y, x)))
        )
    )
