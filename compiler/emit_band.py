"""A band as code: blocks of rows through all stages, and parts of the rows on several threads.

In: a `BandNest`. Out: functions of the module, the last of which carries the band's name. Left to
others: the stages themselves (`emit`, `emit_packed`).

How many rows a block has, and how many blocks a part, depends on the sizes alone: so do the bits of
a sum over the rows. Where rows are so few that there is nothing to share out, or a sum over them
has so many results that adding them up would cost more than the cache brings, the band is run stage
by stage instead, each over all rows and on all threads.

The stages find the band's values in the table of pointers, behind the outputs: every part has a
table of its own. A pointer is that of row 0, wherever the block's rows stand.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from . import fork_join, ir
from .band_frame import (
    Code,
    Stage,
    at_least,
    bytes_of,
    panel_room,
    row_bytes,
)
from .band_nests import BandNest
from .bounds import ENTRY
from .dims import Dim, dim, product
from .dtypes import BOOL
from .emit import emit
from .emit_inner import InnerRows, inner_sizes, inner_stage
from .emit_inner_parts import RowsInParts, emit_inner_part, part_sizes
from .emit_packed import emit_rows
from .emit_parallel import operations, splittable
from .entry_builder import not_hot
from .fork_join import up
from .frame import Frame
from .instructions import I64
from .llvm_loop import counted, minimum
from .llvm_vector import constant
from .loops import Buffer, Loop, Nest, may_fail
from .packed import Contraction
from .plan import MOST_PARTS
from .records import dataclass
from .target import Target
from .tile import Registers

LONGEST = 1 << 22
"""Bytes of a block of several rows, made for the sake of sums with many results, that is still
worth it: longer ones are no better than whole arrays."""

FEWEST = 4  # blocks: fewer are run stage by stage

DEAR, SHARES = 1 << 22, 16
"""Operations, about, from which a band has that many blocks, though its rows would all fit into
one: few bytes are no reason to leave other threads without work."""

_PARTS_SO_FAR = 4  # a block has at least as many times the bytes that a part of the sums has


@dataclass(frozen=True)
class Sizes:
    """The numbers on which a band decides: rows of a block, rows of a part, how many parts, and
    whether it is run in blocks at all."""

    block: ir.Value
    part: ir.Value
    parts: ir.Value
    banded: ir.Value


def sizes_of(b: ir.IRBuilder, size: Callable[[Dim], ir.Value], band: BandNest) -> Sizes:
    one, rows = constant(I64, 1), size(band.rows)
    row = at_least(b, size(band.row_bytes), one)
    each = b.sdiv(constant(I64, band.block_bytes), row)
    share = up(b, rows, constant(I64, SHARES))
    rounded = b.and_(b.add(share, constant(I64, 15)), constant(I64, -16))
    share = b.select(b.icmp_signed(">=", share, constant(I64, 16)), rounded, share)
    each = b.select(is_dear(b, size, band), minimum(b, each, share), each)
    wanted = up(b, b.mul(size(part_bytes(band)), constant(I64, _PARTS_SO_FAR)), row)
    each = at_least(b, at_least(b, each, wanted), one)
    many = b.and_(each, constant(I64, -16))
    each = b.select(b.icmp_signed(">", many, constant(I64, 0)), many, each)
    block = at_least(b, minimum(b, each, rows), one)
    blocks = up(b, rows, block)
    fits = b.icmp_signed("<=", b.mul(wanted, row), constant(I64, LONGEST))
    fits = b.or_(fits, b.icmp_signed("<=", wanted, one))
    enough = b.icmp_signed(">=", blocks, constant(I64, FEWEST))
    banded = b.and_(fits, b.or_(enough, is_one_block(b, size, band)))
    part = b.mul(at_least(b, up(b, blocks, constant(I64, MOST_PARTS)), one), block)
    return Sizes(block, part, up(b, rows, part), banded)


def is_one_block(b: ir.IRBuilder, size: Callable[[Dim], ir.Value], band: BandNest) -> ir.Value:
    """Whether all rows would fit into one."""
    total = b.mul(size(band.rows), size(band.row_bytes))
    return b.icmp_signed("<=", total, constant(I64, band.block_bytes))


def is_dear(b: ir.IRBuilder, size: Callable[[Dim], ir.Value], band: BandNest) -> ir.Value:
    work = size(sum((work_of(stage) for stage in band.stages), dim(0)))
    return b.icmp_signed(">=", work, constant(I64, DEAR))


def part_bytes(band: BandNest) -> Dim:
    """Of one part of all sums."""
    sums = (part for part, _ in band.room.parts.values())
    return sum((product(p.shape) * p.dtype.size for p in sums), dim(0))


def band_scratch(
    b: ir.IRBuilder, size: Callable[[Dim], ir.Value], band: BandNest, registers: Registers
) -> ir.Value:
    """The bytes that a thread needs."""
    sizes = sizes_of(b, size, band)
    in_blocks = b.and_(sizes.banded, b.not_(is_one_block(b, size, band)))
    rows = b.select(in_blocks, sizes.block, size(band.rows))
    total = panel_room(b, size, band, registers)
    for slot in band.room.slots:
        total = b.add(total, bytes_of(b, rows, size(slot)))
    if band.inner is None:
        return total
    inner = inner_sizes(b, size, band, rows)
    parts = part_sizes(b, size, band, registers)
    in_parts = b.and_(b.not_(sizes.banded), b.not_(inner.whole))
    return b.add(total, b.select(in_parts, b.add(parts.own, parts.sums), inner.bytes))


def emit_band(
    target: Target,
    module: ir.Module,
    band: BandNest,
    dims: Sequence[str],
    param_count: int,
    output_count: int,
    scratch: Dim,
) -> ir.Function:
    """The band's function; a thread's own memory may stand at `scratch` bytes in the arena."""
    common = (dims, param_count)
    starts = [emit(target, module, n, *common) for n in band.starts]
    ends = [emit(target, module, n, *common) for n in band.ends]
    stages: list[Stage] = []
    for stage in band.stages:
        inner = None
        if band.inner is not None and len(stages) in band.inner:
            inner = band.room.inner
        if isinstance(stage, Contraction):
            bounds = None if inner is None else inner.bounds
            rows, whole = emit_rows(target, module, stage, *common, scratch, bounds)
            ranges = 1 if inner is None else len(stage.direct.ranged)
            stages.append(Stage(rows, whole, ranges, stage))
        elif inner is not None:
            stages.append(inner_stage(target, module, stage, *common, inner.bounds))
        else:
            stages.append(_nest_stage(target, module, band, stage, *common))
    added: tuple[Stage, ...] = ()
    if band.inner is not None and band.room.inner is not None:
        bounds = band.room.inner.bounds
        added = tuple(
            inner_stage(target, module, n, *common, bounds, "columns") for _, n in band.inner.sums
        )
    outside = param_count + output_count
    code = Code(band, tuple(starts), tuple(stages), tuple(ends), outside, added)
    if band.inner is not None:
        code = replace(code, inner_part=emit_inner_part(target, module, code, *common))
    part_nest = Nest(
        f"{band.name}_part", band.source, (), (), (), {}, (_ROWS, _NUMBER), _memory(band)
    )
    part = _Part(target, module, part_nest, *common)
    part.run(code)
    made = _Whole(target, module, Nest(band.name, band.source, (), (), (), {}), *common)
    made.run(code, part.function, scratch)
    return made.function


def _nest_stage(
    target: Target,
    module: ir.Module,
    band: BandNest,
    nest: Nest,
    dims: Sequence[str],
    param_count: int,
) -> Stage:
    if rows_of(nest) or not nest.loops or not splittable(nest):
        return Stage(emit(target, module, nest, dims, param_count), None, len(nest.ranged), nest)
    # a sum over the rows: stage by stage, several threads share its results
    outermost = nest.loops[0]
    wide = replace(nest, ranged=(*nest.ranged, outermost.index))
    part = emit(target, module, wide, dims, param_count)
    own = Nest(f"{nest.name}_results", nest.source, (), (), (), {}, (outermost.index,))
    results = _Results(target, module, own, dims, param_count)
    results.run(part, band, len(nest.ranged))
    return Stage(part, None, len(nest.ranged), nest, results.function)


_ROWS, _NUMBER = range(2)  # ranges of a part: its rows; its number, and how many rows a block has


def _memory(band: BandNest) -> Buffer:
    """A thread's own: panels, then the values of the band's rows."""
    return Buffer(f"{band.name}_memory", BOOL, (), "block", 0, dim(0))


class _Part(InnerRows):
    """`(…, low, high, number, block, memory)`: the rows from low to high, block by block; their
    sums are part `number`."""

    def run(self, code: Code) -> None:
        b, band = self.b, code.band
        not_hot(self.function)
        low, high, number, block, memory = self.function.args[ENTRY:]
        table = self.table(code)
        self.point_to_sums(band, table, number)
        entry = self.entry(table)
        values = self.moved(memory, panel_room(b, self.size, band, self.target.registers))
        for value, _ in band.room.values:
            self.size(row_bytes(value, band.shared))
        for slot in band.room.slots:
            self.size(slot)
        self.make_sizes(band)
        for start in code.starts:
            b.call(start, entry)
        with counted(b, high, block, low) as at, self.scope():
            end = minimum(b, b.add(at, block), high)
            left = self.point_to_rows(band, table, values, block, at)

            def run(stage: Stage) -> None:
                args = [*entry, *([at, end] * stage.ranges)]
                if stage.whole is not None:
                    args.append(memory)
                if stage.results is not None and isinstance(stage.nest, Nest):
                    args += [constant(I64, 0), self.size(stage.nest.loops[0].extent)]
                self.check(stage, b.call(stage.rows, args))

            def run_one(stage: Stage, limits: Sequence[ir.Value]) -> None:
                self.run_alone(stage, limits, entry, memory)

            def run_inner() -> None:
                assert band.inner is not None
                span, wholes = self.every_inner_row(band), self.all_wholes(band, table)
                self.inner_stages(code, table, left, (at, end), span, wholes, run_one)

            self.each_stage(code, run, run_inner)
        b.ret(constant(I64, 0))


class _Whole(RowsInParts):
    def run(self, code: Code, part: ir.Function, scratch: Dim) -> None:
        b, band = self.b, code.band
        not_hot(self.function)
        none, one = constant(I64, 0), constant(I64, 1)
        common = list(self.function.args)
        memory = self.moved(common[2], self.size(scratch))
        rows = self.size(band.rows)
        self.size(band.row_bytes)

        def ended(parts: ir.Value) -> None:
            for end, nest in zip(code.ends, band.ends, strict=True):
                status = b.call(end, [*common, none, parts])
                if may_fail(nest):
                    self.leave(status)
            b.ret(none)

        is_cheap = b.not_(is_dear(b, self.size, band))
        is_small = b.and_(is_one_block(b, self.size, band), is_cheap)
        with b.if_then(is_small), self.scope():
            block = at_least(b, rows, one)
            status = b.call(part, [*common, none, rows, none, block, memory])
            self.check_part(code, status)
            ended(one)
        sizes = sizes_of(b, self.size, band)
        with b.if_then(b.not_(sizes.banded)), self.scope():
            table = self.table(code)
            self.point_to_sums(band, table, none)
            panels = panel_room(b, self.size, band, self.target.registers)
            left = self.point_to_rows(band, table, self.moved(memory, panels), rows, none)
            self.stage_by_stage(code, rows, table, left)
            ended(one)
        work = self.size(sum((work_of(s.nest) for s in code.stages), dim(0)))
        self.in_parts(code, part, sizes, memory, work)
        ended(sizes.parts)

    def in_parts(
        self, code: Code, part: ir.Function, sizes: Sizes, memory: ir.Value, work: ir.Value
    ) -> None:
        b = self.b
        threads = b.load(fork_join.threads(b.module), typ=I64)
        several = b.and_(
            b.icmp_signed(">=", work, constant(I64, fork_join.WORTH_A_FORK)),
            b.and_(
                b.icmp_signed(">", threads, constant(I64, 1)),
                b.icmp_signed(">", sizes.parts, constant(I64, 1)),
            ),
        )
        words = [self.size(code.band.rows), sizes.part, sizes.block]
        self.run_parts(
            part,
            list(self.function.args),
            words,
            _rows_of_part,
            sizes.parts,
            lambda: band_scratch(b, self.size, code.band, self.target.registers),
            memory,
            several,
            lambda status: self.check_part(code, status),
        )

    def check_part(self, code: Code, status: ir.Value) -> None:
        if any(s.may_fail for s in code.stages):
            self.leave(status)

    def shared(self, part: ir.Function, entry: list[ir.Value], nest: Nest, loop: Loop) -> ir.Value:
        """Call `part` for all of a loop, on several threads if that pays."""
        extent, work = self.size(loop.extent), self.size(operations(nest))
        words = [part, *entry, extent, constant(I64, loop.step), work]
        return self.b.call(fork_join.share(self.b.module), words)

    def stage_by_stage(self, code: Code, rows: ir.Value, table: ir.Value, left: ir.Value) -> None:
        """All rows, every stage on all threads; `left` is where inner values may stand."""
        b, none, entry = self.b, constant(I64, 0), self.entry(table)
        for start in code.starts:
            b.call(start, entry)

        def run(stage: Stage) -> None:
            nest = stage.nest
            if stage.whole is not None:
                status = b.call(stage.whole, entry)
            elif isinstance(nest, Nest) and stage.results is not None:
                status = self.shared(stage.results, entry, nest, nest.loops[0])
            elif isinstance(nest, Nest) and splittable(nest) and rows_of(nest):
                status = self.shared(stage.rows, entry, nest, rows_of(nest)[0])
            else:
                status = b.call(stage.rows, [*entry, *([none, rows] * stage.ranges)])
            self.check(stage, status)

        def run_one(stage: Stage, limits: Sequence[ir.Value]) -> None:
            self.run_on_all_threads(stage, limits, entry)

        def run_inner() -> None:
            band = code.band
            sizes = inner_sizes(b, self.size, band, rows)
            with b.if_else(sizes.whole) as (at_once, in_parts):
                with at_once, self.scope():
                    span, wholes = self.every_inner_row(band), self.all_wholes(band, table)
                    self.inner_stages(code, table, left, (none, rows), span, wholes, run_one)
                with in_parts, self.scope():
                    assert code.inner_part is not None
                    self.in_inner_parts(code, code.inner_part, table, left, rows)

        self.each_stage(code, run, run_inner)


def _rows_of_part(b: ir.IRBuilder, words: Sequence[ir.Value], number: ir.Value) -> list[ir.Value]:
    """What a part is given: its rows, its number, the rows of a block."""
    rows, size, block = words
    low = b.mul(number, size)
    return [low, minimum(b, b.add(low, size), rows), number, block]


class _Results(Frame):
    """`(…, low, high)`: all rows, of a range of the outermost loop."""

    def run(self, part: ir.Function, band: BandNest, ranges: int) -> None:
        *entry, low, high = self.function.args
        rows = [constant(I64, 0), self.size(band.rows)] * ranges
        self.b.ret(self.b.call(part, [*entry, *rows, low, high]))


# --------------------------------------------------------------------------- what stages are


def work_of(stage: Nest | Contraction) -> Dim:
    """About how many operations."""
    return operations(stage.direct if isinstance(stage, Contraction) else stage)


def rows_of(nest: Nest) -> list[Loop]:
    """The loop over the rows, if it is one of the output."""
    return [loop for loop in nest.loops if loop.index in nest.ranged]
