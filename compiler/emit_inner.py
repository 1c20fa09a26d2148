"""The inner kernels of a band as code: where rows are long, for a part of one at a time.

In: a band's functions, and rows of it. Out: code that runs the inner stages over these rows: in one
go where all that they keep is small; else row by row, for a block of inner rows at a time, what
each brings to a sum added to what there is so far. How many inner rows a block has depends on the
sizes alone: so do the bits of these sums. Left to others: the stages themselves, the other stages
(`emit_band`).

The functions of inner kernels find the bounds of rows and inner rows in the table of pointers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from . import fork_join, ir
from .band_frame import Code, Rows, Stage, at_least, bytes_of, row_bytes
from .band_nests import BandNest, InnerNest
from .bounds import Given, of_bounds
from .dims import Dim, product
from .emit import emit
from .emit_parallel import operations, splittable
from .instructions import I64
from .llvm_loop import POINTER, counted, minimum
from .llvm_vector import constant
from .loops import Buffer, Nest
from .plan import InnerRoom
from .records import dataclass
from .target import Target

WHOLE = 5 << 18
"""Bytes that inner kernels may keep for all inner rows of a row."""

OUTSIDE = 1
"""How many times what inner kernels read and write elsewhere they may keep, too: where their
operands are as large, there is little to spare."""

BLOCK = 1 << 20
"""Bytes that they keep for a block of inner rows, else."""

LEAST = 128
"""Inner rows of a block: every block has the operands of its products packed again."""


@dataclass(frozen=True)
class InnerSizes:
    """How many inner rows run at a time, whether these are all, and the bytes that it takes."""

    block: ir.Value
    whole: ir.Value
    bytes: ir.Value


def inner_sizes(
    b: ir.IRBuilder, size: Callable[[Dim], ir.Value], band: BandNest, rows: ir.Value
) -> InnerSizes:
    """Those for so many rows of the band."""
    inner, room = rooms_of(band)
    one = constant(I64, 1)
    extent, row = size(inner.rows), at_least(b, size(inner.row_bytes), one)
    outside = b.mul(size(inner.outside), constant(I64, OUTSIDE))
    most = at_least(b, outside, constant(I64, WHOLE))
    whole = b.icmp_signed("<=", b.mul(extent, row), most)
    each = at_least(b, b.sdiv(constant(I64, BLOCK), row), constant(I64, LEAST))
    each = minimum(b, b.and_(each, constant(I64, -16)), extent)
    block = at_least(b, b.select(whole, extent, each), one)
    at_once = b.select(whole, b.mul(rows, extent), block)
    total = constant(I64, 0)
    for slot in room.slots:
        total = b.add(total, bytes_of(b, at_once, size(slot)))
    for s in room.sums.values():
        total = b.add(total, bytes_of(b, one, size(sum_bytes(band, s.part))))
    return InnerSizes(block, whole, total)


def rooms_of(band: BandNest) -> tuple[InnerNest, InnerRoom]:
    assert band.inner is not None and band.room.inner is not None
    return band.inner, band.room.inner


def sum_bytes(band: BandNest, part: Buffer) -> Dim:
    return product(part.shape[band.shared :]) * part.dtype.size


class InnerRows(Rows):
    """What a part of a band and the whole have in common: how stages follow each other."""

    def each_stage(
        self,
        code: Code,
        run: Callable[[Stage], None],
        run_inner: Callable[[], None],
    ) -> None:
        """All stages in order: `run` is given each that is no inner one, `run_inner` runs these."""
        inner = code.band.inner
        for k, stage in enumerate(code.stages):
            if inner is None or k not in inner:
                run(stage)
            elif k == inner.first:
                run_inner()

    def every_inner_row(self, band: BandNest) -> tuple[ir.Value, ir.Value]:
        return constant(I64, 0), self.size(rooms_of(band)[0].rows)

    def make_sizes(self, band: BandNest) -> None:
        """All sizes, where every block finds them."""
        if band.inner is None:
            return
        inner, room = rooms_of(band)
        for v, _ in room.values:
            self.size(row_bytes(v, band.shared + 1))
        for s in room.sums.values():
            self.size(sum_bytes(band, s.part))
        for d in (inner.rows, inner.row_bytes, inner.outside, *room.slots):
            self.size(d)

    def inner_stages(
        self,
        code: Code,
        table: ir.Value,
        memory: ir.Value,
        bounds: tuple[ir.Value, ir.Value],
        span: tuple[ir.Value, ir.Value],
        wholes: Sequence[ir.Value],
        run: Callable[[Stage, Sequence[ir.Value]], None],
    ) -> None:
        """All inner stages for these rows and this span of inner ones: `run` is given each with its
        bounds. `memory` is where their values may stand, `wholes` where their sums are to be."""
        b, band = self.b, code.band
        inner, room = rooms_of(band)
        low, high = bounds
        one, none = constant(I64, 1), constant(I64, 0)
        rows = self.size(inner.rows)
        sizes = inner_sizes(b, self.size, band, b.sub(high, low))
        step = b.select(sizes.whole, at_least(b, b.sub(high, low), one), one)
        at_once = b.select(sizes.whole, b.mul(b.sub(high, low), rows), sizes.block)
        with counted(b, high, step, low) as row, self.scope():
            end = minimum(b, b.add(row, step), high)
            # no inner row at all: sums of nothing are made, too
            until = at_least(b, span[1], b.add(span[0], one))
            with counted(b, until, sizes.block, span[0]) as at, self.scope():
                limits = row, end, at, minimum(b, b.add(at, sizes.block), span[1])
                for k, x in enumerate(limits):
                    self.put(table, room.bounds + k, x)
                first = b.add(b.mul(row, rows), at)
                left = self.point_to(room, band.shared + 1, table, memory, at_once, first)
                is_first = b.icmp_signed("==", at, span[0])
                for s, whole in zip(room.sums.values(), wholes, strict=True):
                    self.put(table, s.so_far.position, whole)
                    size = self.size(sum_bytes(band, s.part))
                    own = self.moved(left, b.sub(none, b.mul(row, size)))
                    self.put(table, s.part.position, b.select(is_first, whole, own))
                    left = self.moved(left, bytes_of(b, one, size))
                for stage in code.stages[inner.first : inner.last]:
                    run(stage, limits)
                with b.if_then(b.not_(is_first)):
                    for added, (_, nest) in zip(code.added, inner.sums, strict=True):
                        run(added, [row, end, none, self.size(nest.loops[1].extent)])

    def own_sums(
        self, band: BandNest, sums: ir.Value, number: ir.Value, row: ir.Value
    ) -> list[ir.Value]:
        """Where part `number` of a row's inner rows, if it is not the first, has its sums."""
        b, (_, room) = self.b, rooms_of(band)
        one, every = constant(I64, 1), []
        sizes = [self.size(sum_bytes(band, s.part)) for s in room.sums.values()]
        total: ir.Value = constant(I64, 0)
        for size in sizes:
            every.append(b.sub(total, b.mul(row, size)))
            total = b.add(total, bytes_of(b, one, size))
        first = b.add(sums, b.mul(b.sub(number, one), total))
        return [b.inttoptr(b.add(first, x), POINTER) for x in every]

    def all_wholes(self, band: BandNest, table: ir.Value) -> list[ir.Value]:
        """Where all sums of inner rows are to be."""
        room = rooms_of(band)[1]
        return [self.place_of(s.whole, table) for s in room.sums.values()]

    def run_alone(
        self,
        stage: Stage,
        limits: Sequence[ir.Value],
        entry: Sequence[ir.Value],
        memory: ir.Value,
    ) -> None:
        """An inner stage between these bounds; `memory` is for panels."""
        args = [*entry, *stage.bounds(limits, self.size)]
        if stage.whole is not None:
            args.append(memory)
        self.check(stage, self.b.call(stage.rows, args))

    def place_of(self, buffer: Buffer, table: ir.Value) -> ir.Value:
        """Where a buffer starts that all inner rows share."""
        if buffer.space == "arena":
            return self.moved(self.function.args[2], self.size(buffer.offset))
        position = buffer.position + (self.param_count if buffer.space == "output" else 0)
        return self.pointer_at(table, position)

    def run_on_all_threads(
        self, stage: Stage, limits: Sequence[ir.Value], entry: Sequence[ir.Value]
    ) -> None:
        """An inner stage between these bounds, which the table has, too."""
        b = self.b
        if stage.whole is not None:
            b.call(stage.whole, entry)
        elif stage.parts is None or stage.shared is None:
            self.check(stage, b.call(stage.rows, [*entry, *stage.bounds(limits, self.size)]))
        else:
            assert isinstance(stage.nest, Nest)
            low, high = stage.bounds(limits, self.size)[-2:]
            stated = stage.nest.ranged[: stage.ranges]
            every = [loop for loop in stage.nest.every_loop if loop.index in stated]
            many = self.size(product(tuple(loop.extent for loop in every)))
            work = b.sdiv(self.size(operations(stage.nest)), at_least(b, many, constant(I64, 1)))
            rows = b.mul(b.sub(limits[1], limits[0]), b.sub(limits[3], limits[2]))
            words = [b.sub(high, low), constant(I64, stage.shared.step), b.mul(work, rows)]
            b.call(fork_join.share(b.module), [stage.parts, *entry, *words])


# --------------------------------------------------------------------------- functions


def inner_stage(
    target: Target,
    module: ir.Module,
    nest: Nest,
    dims: Sequence[str],
    param_count: int,
    bounds: int,
    given: Given = "inner",
) -> Stage:
    """The stage of a nest over rows and inner rows (or, `given` others, columns of a sum); the
    table has their bounds, too."""
    pairs, own = len(nest.ranged), nest.ranged[-1]
    loops = {loop.index: loop for loop in nest.loops}
    shared = loops.get(own) if splittable(nest) else None
    if shared is None and splittable(nest):  # a sum over inner rows: its results are shared out
        shared = next((loop for loop in nest.loops if loop.index not in nest.ranged), None)
        if shared is not None:
            nest, given = replace(nest, ranged=(*nest.ranged, shared.index)), "results"
    rows = emit(target, module, nest, dims, param_count)
    if shared is None:
        return Stage(rows, None, pairs, nest)
    parts = of_bounds(target, module, rows, bounds, pairs, f"{nest.name}_shared", given)
    return Stage(rows, None, pairs, nest, None, parts, shared)
