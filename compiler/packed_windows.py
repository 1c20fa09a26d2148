"""Windows as rows: the same sums another way, which does not copy what windows share.

In: a `Contraction`. Out: the same one with another beside it, whose left operand is read in windows
where it stands (`packed_places`). Where it is the right operand that is read in windows, and the
result runs along these (a convolution's gradient by its kernel), rows and columns change places:
the sums then stand the wrong way round, in room of their own, and are turned back, which pays if
they are long. Left to others: which of both it is, for given sizes (`emit_packed`).
"""

from __future__ import annotations

from dataclasses import replace

from .dims import Dim, dim
from .loops import Buffer, Linear, Loop, Nest, Reduce, Store
from .packed import Contraction, contraction
from .packed_places import with_places
from .tile import Registers


def with_windows(c: Contraction, registers: Registers) -> Contraction:
    """`c`, with `windowed` if there is such a way."""
    if c.strip is not None or c.tiles or c.direct.ranged or c.direct.block is not None:
        return c
    for nest in (replace(c.direct, name=f"{c.name}_windowed"), _turned(c)):
        found = None if nest is None else contraction(nest, registers)
        found = None if found is None else with_places(found)
        if found is None or found.places is None:
            continue
        if found.is_turned and (found.columns is not c.rows or found.batch != c.batch):
            continue
        return replace(c, windowed=found)
    return c


def _turned(c: Contraction) -> Nest | None:
    """The nest whose last index is that of the rows."""
    nest = c.direct
    if c.rest is not None or nest.fills or len(nest.body) != 2:
        return None
    sums, store = nest.body
    if not isinstance(sums, Reduce) or not isinstance(store, Store):
        return None
    loops = (*(k for k in nest.loops if k is not c.rows), c.rows)
    room = Buffer("turned", store.buffer.dtype, (), "block", 0, dim(0))
    store = replace(store, buffer=room, offset=_dense(loops))
    return replace(nest, name=f"{nest.name}_turned", loops=loops, body=(sums, store))


def _dense(loops: tuple[Loop, ...]) -> Linear:
    terms: list[tuple[int, Dim]] = []
    step = dim(1)
    for loop in reversed(loops):
        terms.append((loop.index, step))
        step = step * loop.extent
    return Linear(tuple(reversed(terms)), dim(0))
