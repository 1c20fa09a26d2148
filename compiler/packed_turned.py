"""Turned contractions: rows and columns change places where the sums are long.

In: a `Contraction`. Out: the same one with another beside it, for the same sums, whose left operand
can be read at places (`packed_places`): where the right operand is read in windows, and the result
runs along these (a convolution's gradient by its kernel), panels hold every element once for each
place of the window. Turned, nothing of it is packed; but the sums stand the wrong way round, in
room of their own, and have to be turned back, which pays if they are long. Left to others: which of
both it is, for given sizes (`emit_packed`).
"""

from __future__ import annotations

from dataclasses import replace

from .dims import Dim, dim
from .joined_index import store_along
from .loops import Buffer, Linear, Loop, Reduce, Store
from .packed import Contraction, contraction
from .packed_places import with_places
from .tile import Registers


def with_turned(c: Contraction, registers: Registers) -> Contraction:
    """`c`, with `turned` if it can be turned."""
    nest = c.direct
    if c.strip is not None or c.places is not None or c.rest is not None or c.batch or c.tiles:
        return c
    if nest.ranged or nest.block is not None or nest.fills or len(nest.body) != 2:
        return c
    sums, store = nest.body
    if not isinstance(sums, Reduce) or not isinstance(store, Store):
        return c
    group = tuple(k for k in nest.loops if k is not c.rows)
    if len(group) > 1 and store_along(c.columns, group, store).offset != c.store.offset:
        return c
    room = Buffer("turned", c.store.buffer.dtype, (), "block", 0, dim(0))
    loops = (*group, c.rows)
    made = replace(
        nest,
        name=f"{nest.name}_turned",
        loops=loops,
        body=(sums, replace(store, buffer=room, offset=_dense(loops))),
    )
    found = contraction(made, registers)
    if found is None:
        return c
    found = with_places(found)
    if found.places is None or found.places.rows != group or found.columns is not c.rows:
        return c
    return replace(c, turned=found)


def _dense(loops: tuple[Loop, ...]) -> Linear:
    terms: list[tuple[int, Dim]] = []
    step = dim(1)
    for loop in reversed(loops):
        terms.append((loop.index, step))
        step = step * loop.extent
    return Linear(tuple(reversed(terms)), dim(0))
