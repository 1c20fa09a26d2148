"""Asking ahead: while a band computes, the rows that come next are on their way to the cache.

In: the tiled stages of a band. Out: the same; one of them, that which computes most for every
element, asks for what the next block of rows will read. Left to others: the addresses
(`emit_stores`).

Memory and arithmetic then overlap: otherwise the first stage that reads a row waits for it, and
nothing is read while the others compute. The processor's own prefetching ends at every page.
Measured: asking for what is written gains nothing more, nor does asking where little is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .dims import Dim
from .loops import (
    Ahead,
    Apply,
    Buffer,
    Linear,
    Load,
    Nest,
    Reduce,
    Statement,
    Update,
    indices_of,
    postorder,
    stores_of,
    values_of,
)
from .packed import Contraction
from .primitives import PRIMITIVES

ENOUGH = 8
"""Additions for every element, behind which reading can hide."""

_Way = frozenset[tuple[Dim, Dim | None]]
"""How an access walks: the step of every index and its extent (None: the rows)."""


def asked_ahead(stages: Sequence[Nest | Contraction]) -> list[Nest | Contraction]:
    wanted: dict[str, tuple[Buffer, _Way]] = {}
    carriers: dict[_Way, tuple[int, Nest, Linear]] = {}
    for stage in stages:
        if isinstance(stage, Contraction):
            continue
        cost = _cost_of_a_step(stage)
        for buffer, offset, is_read in _accesses(stage):
            way = _way(stage, offset)
            if way is None:
                continue
            if is_read and buffer.space in ("param", "arena"):
                wanted.setdefault(buffer.name, (buffer, way))
            if cost >= ENOUGH and (way not in carriers or cost > carriers[way][0]):
                carriers[way] = cost, stage, offset
    found: dict[Nest | Contraction, list[Ahead]] = {}
    for buffer, way in wanted.values():
        if way in carriers:
            _, stage, offset = carriers[way]
            found.setdefault(stage, []).append(Ahead(buffer, offset, stage.ranged[0]))
    return [
        replace(s, ahead=tuple(found[s])) if isinstance(s, Nest) and s in found else s
        for s in stages
    ]


def _innermost(nest: Nest) -> Sequence[Statement]:
    """The statements among which the nest asks: its first reduction, or those outside of any."""
    if isinstance(nest.body[0], Reduce):
        return nest.body[:1]
    return [s for s in nest.body if not isinstance(s, Reduce)]


def _cost_of_a_step(nest: Nest) -> int:
    """In additions, of what is not the same for all lanes."""
    values = [v for s in _innermost(nest) for v in values_of(s)]
    deps = indices_of(values, frozenset(loop.index for loop in nest.loops))
    lanes = {loop.index for loop in nest.every_loop if loop.lanes > 1}
    return sum(
        PRIMITIVES[x.name].cost
        for x in postorder(values)
        if isinstance(x, Apply) and deps[x] & lanes
    )


def _accesses(nest: Nest) -> Iterator[tuple[Buffer, Linear, bool]]:
    """The places of the innermost loops, and whether each is read."""
    for s in _innermost(nest):
        for x in postorder(values_of(s)):
            if isinstance(x, Load) and not x.gathered:
                yield x.buffer, x.offset, True
        for written in stores_of(s):
            if not isinstance(written, Update):
                yield written.buffer, written.offset, False


def _way(nest: Nest, offset: Linear) -> _Way | None:
    """None if the access does not walk along rows that lie close together, in lanes."""
    if len(nest.ranged) != 1:
        return None
    loops = {loop.index: loop for loop in nest.every_loop}
    rows = nest.ranged[0]
    in_lanes = any(c.const == 1 and loops[k].lanes > 1 and k != rows for k, c in offset.terms)
    if not in_lanes or offset.coefficient(rows) is None or offset.const.terms:
        return None
    return frozenset((c, None if k == rows else loops[k].extent) for k, c in offset.terms)
