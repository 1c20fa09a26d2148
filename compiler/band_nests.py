"""A band as loops: its nests, which run over some rows at a time, and what its sums need.

In: the nests of a band's kernels, and the room of its values. Out: a `BandNest`: for every block of
rows the nests run in order; a sum over the rows becomes three nests: one that clears a part, one
that adds a block of rows to it, and one that adds up all parts. Left to others: how many rows a
block has, and who runs it (`emit_band`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .dims import Dim, dim, product
from .graph import REDUCERS, Comp
from .instructions import identity
from .joined_index import rebuilt
from .kernels import Band
from .loops import (
    Accumulator,
    Apply,
    Buffer,
    Fill,
    Kind,
    Linear,
    Load,
    Loop,
    Nest,
    Number,
    Reduce,
    Result,
    Statement,
    Store,
    Value,
    nest_text,
    postorder,
    stores_of,
    values_of,
    verify_nest,
)
from .packed import Contraction
from .packed_text import contraction_text
from .plan import MOST_PARTS, BandRoom, InnerSum
from .records import dataclass


@dataclass(frozen=True, eq=False)
class InnerNest:
    """The stages from `first` up to `last`, which may run for some of `rows` inner rows at a time.
    `sums` add what those brought to what they had so far; `row_bytes` is the room that all values
    of an inner row take; `outside` are the bytes that a row has of all else that they read
    and write."""

    first: int
    last: int
    rows: Dim
    row_bytes: Dim
    outside: Dim
    sums: tuple[tuple[InnerSum, Nest], ...]

    def __contains__(self, stage: int) -> bool:
        return self.first <= stage < self.last


@dataclass(frozen=True, eq=False)
class BandNest:
    """`rows` is the extent of the `shared` indices, `row_bytes` what one row takes of all that the
    stages read and write by rows, `block_bytes` what the rows of a block may take. `stages` run for
    every block; `starts` before the blocks of a part of the rows, `ends` when all parts are done:
    over the parts that there are."""

    name: str
    source: str
    shared: int
    rows: Dim
    row_bytes: Dim
    block_bytes: int
    starts: tuple[Nest, ...]
    stages: tuple[Nest | Contraction, ...]
    ends: tuple[Nest, ...]
    room: BandRoom
    inner: InnerNest | None = None


def band_nest(
    band: Band,
    nests: Sequence[Nest],
    tiled: Sequence[Nest | Contraction],
    room: BandRoom,
    block_bytes: int,
) -> BandNest:
    """The nests of the band's kernels, in its order; `tiled` are the same ones with their tiles."""
    starts: list[Nest] = []
    stages: list[Nest | Contraction] = []
    ends: list[Nest] = []
    parts = iter(room.parts.values())
    touched: dict[str, Dim] = {}
    for k, (nest, stage) in enumerate(zip(nests, tiled, strict=True), band.first):
        rows = _shared_extent(nest) if band.shared else dim(1)
        touched |= _row_bytes(nest, band.shared, band.is_inner(k))
        if k in band.summed:
            assert isinstance(stage, Nest)
            many = sum(len(s.accumulators) for s in nest.body if isinstance(s, Reduce))
            start, stage, end = _in_parts(nest, stage, [next(parts) for _ in range(many)])
            starts.append(start)
            ends.append(end)
        stages.append(stage)
    total = sum(touched.values(), dim(0))
    name = f"{nests[0].name}_band"
    source, shared = nests[0].source, band.shared
    return BandNest(
        name,
        source,
        shared,
        rows,
        total,
        block_bytes,
        tuple(starts),
        tuple(stages),
        tuple(ends),
        room,
        _inner(band, nests, room),
    )


def _inner(band: Band, nests: Sequence[Nest], room: BandRoom) -> InnerNest | None:
    inner = band.inner
    if inner is None or room.inner is None:
        return None
    head = nests[inner.first]
    (rows,) = (loop.extent for loop in head.every_loop if loop.index == head.ranged[-1])
    shared = _shared_extent(head) if band.shared else dim(1)
    sums = tuple(
        (s, _added(s, _combine(c), head.source, shared, band.shared))
        for c, s in room.inner.sums.items()
    )
    total = sum(room.inner.slots, dim(0))
    touched: dict[str, Dim] = {}
    for nest in nests[inner.first : inner.last]:
        touched |= _row_bytes(nest, band.shared, True)
    own = {v.name for v, _ in room.inner.values} | {s.part.name for s in room.inner.sums.values()}
    outside = sum((size for name, size in touched.items() if name not in own), dim(0))
    return InnerNest(inner.first, inner.last, rows, total, outside, sums)


def _added(s: InnerSum, combine: str, source: str, rows: Dim, shared: int) -> Nest:
    """What adds the sum of some inner rows to that of those before."""
    d, inside = s.part.dtype, product(s.part.shape[shared:])
    at = Linear(((0, inside), (1, dim(1))), dim(0))
    so_far, more = (Load(x, at, (), None, (), True, d) for x in (s.so_far, s.part))
    loops = Loop(0, rows, Kind.PARALLEL), Loop(1, inside, Kind.PARALLEL)
    store = Store(s.so_far, at, Apply(combine, (so_far, more), d))
    names = {0: "row", 1: "at"}
    return Nest(f"{s.part.name}_added", source, (), loops, (store,), names, (0, 1))


def _combine(c: Comp) -> str:
    combine = REDUCERS[c.reducer or ""].combine
    assert combine is not None
    return combine


def _shared_extent(nest: Nest) -> Dim:
    return next(x.extent for x in nest.every_loop if x.index == nest.ranged[0])


def _row_bytes(nest: Nest, shared: int, is_inner: bool) -> dict[str, Dim]:
    """Of every buffer that is walked by the `shared` indices, by name: all of it, if there are
    none."""
    out: dict[str, Dim] = {}
    for s in nest.body:
        places = [(x.buffer, x.offset) for x in postorder(values_of(s)) if isinstance(x, Load)]
        places += [(x.buffer, x.offset) for x in stores_of(s)]
        for buffer, offset in places:
            if not shared:
                out[buffer.name] = product(buffer.shape) * buffer.dtype.size
            for k in nest.ranged[: shared and 1] if is_inner else nest.ranged:
                step = offset.coefficient(k)
                if step is not None:
                    out[buffer.name] = step * buffer.dtype.size
    return out


# --------------------------------------------------------------------------- sums in parts


def _in_parts(
    nest: Nest, tiled: Nest, parts: Sequence[tuple[Buffer, Buffer]]
) -> tuple[Nest, Nest, Nest]:
    """What clears a part, what adds some rows to it (in the tiles of `tiled`), and what adds up all
    parts."""
    number = max(nest.index_names) + 1
    names = {**nest.index_names, number: "part"}
    dense, step = [], dim(1)
    for loop in reversed(nest.loops):
        dense.append((loop.index, step))
        step = step * loop.extent
    at = Linear(tuple(sorted(dense)), dim(0))
    fills: list[Fill] = []
    stage: list[Statement] = []
    stores: list[Statement] = []
    end: list[Statement] = []
    made: dict[Value, Value] = {}
    places = iter(parts)
    for s in (s for s in tiled.body if isinstance(s, Reduce)):
        blocks: list[Accumulator] = []
        for a in s.accumulators:
            part, whole = next(places)
            combine = REDUCERS[a.reducer].combine
            assert combine is not None
            fills.append(Fill(part, Number(identity(a.reducer, part.dtype), part.dtype)))
            block = Result(a.result.name, part.dtype)
            blocks.append(replace(a, result=block))
            so_far = Load(part, at, (), None, (), True, part.dtype)
            stores.append(Store(part, at, Apply(combine, (so_far, block), part.dtype)))
            total = Result(a.result.name, part.dtype)
            place = Linear((*at.terms, (number, step)), dim(0))
            one = Load(whole, place, (), None, (), True, part.dtype)
            loop = Loop(number, dim(MOST_PARTS), Kind.SERIAL)
            end.append(Reduce((loop,), (replace(a, result=total, value=one, guard=None),)))
            same = total.dtype is a.result.dtype
            made[a.result] = total if same else Apply("cast", (total,), a.result.dtype)
        stage.append(replace(s, accumulators=tuple(blocks)))
    rest = [s for s in nest.body if isinstance(s, Store)]
    for x in postorder(v for s in rest for v in values_of(s)):
        if x not in made:
            made[x] = rebuilt(x, made)
    end += [replace(s, value=made[s.value]) for s in rest]
    first = replace(
        nest, name=f"{nest.name}_start", fills=tuple(fills), loops=(), body=(), ranged=()
    )
    last = replace(
        nest, name=f"{nest.name}_end", body=tuple(end), index_names=names, ranged=(number,)
    )
    return first, replace(tiled, body=(*stage, *stores)), last


# --------------------------------------------------------------------------- text, verifier


def band_text(band: BandNest) -> str:
    """Short pseudo-code."""
    lines = [f"{band.name}:  # {band.source}"]

    def put(depth: int, nest: Nest | Contraction) -> None:
        text = contraction_text(nest) if isinstance(nest, Contraction) else nest_text(nest)
        lines.extend("  " * depth + line for line in text.rstrip().split("\n"))

    depth = 1
    if band.ends:
        lines.append(f"  parallel part of 0:{band.rows}")
        depth = 2
        for nest in band.starts:
            put(depth, nest)
    kind = "for" if band.ends else "parallel"
    lines.append("  " * depth + f"{kind} block of 0:{band.rows}, {band.row_bytes} bytes a row")
    depth += 1
    for k, stage in enumerate(band.stages):
        inner = band.inner
        if inner is not None and k == inner.first:
            size = f"{inner.row_bytes} bytes each"
            lines.append(
                "  " * depth + f"for block of 0:{inner.rows}, {size}; all if these are few"
            )
        put(depth + (inner is not None and k in inner), stage)
        if inner is not None and k == inner.last - 1:
            for _, nest in inner.sums:
                put(depth + 1, nest)
    for nest in band.ends:
        put(1, nest)
    return "\n".join(lines) + "\n"


def verify_band(band: BandNest) -> None:
    """Invariants: every nest is a valid one; every stage runs over rows, as many as all others."""
    sums = () if band.inner is None else (nest for _, nest in band.inner.sums)
    for nest in (*band.starts, *band.stages, *band.ends, *sums):
        verify_nest(nest.direct if isinstance(nest, Contraction) else nest)
    for stage in band.stages:
        nest = stage.direct if isinstance(stage, Contraction) else stage
        rows = band.rows if band.shared or band.inner is None else band.inner.rows
        assert nest.ranged and _shared_extent(nest) == rows, "a stage without the band's rows"
