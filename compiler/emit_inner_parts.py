"""A few long rows on several threads: each row's inner rows in parts.

In: a band's functions. Out: code that shares the inner rows of one row after the other among
threads: a part has memory and sums of its own, and the sums of all parts are added up in order. How
many parts there are depends on the sizes alone: so do the bits. Left to others: what a part does
(`emit_inner`), bands with rows enough for all threads (`emit_band`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import ir
from .band_frame import Code, Stage, at_least, bytes_of, panel_room
from .band_nests import BandNest
from .bounds import ENTRY
from .dims import Dim, dim
from .dtypes import BOOL
from .emit_inner import InnerRows, inner_sizes, rooms_of, sum_bytes
from .entry_builder import not_hot
from .fork_join import up
from .instructions import I1, I64
from .llvm_loop import counted, minimum
from .llvm_vector import constant
from .loops import Buffer, Nest
from .records import dataclass
from .target import Target
from .tile import Registers

MOST = 8
"""Parts: all but the first have room for the sums, together no more than the operands have."""


@dataclass(frozen=True)
class PartSizes:
    """How many inner rows a part has, how many parts there are; the bytes of a thread, and those of
    all parts' sums."""

    share: ir.Value
    count: ir.Value
    own: ir.Value
    sums: ir.Value


def part_sizes(
    b: ir.IRBuilder, size: Callable[[Dim], ir.Value], band: BandNest, registers: Registers
) -> PartSizes:
    inner, room = rooms_of(band)
    one = constant(I64, 1)
    sizes = inner_sizes(b, size, band, one)
    extent = at_least(b, size(inner.rows), one)
    total: ir.Value = constant(I64, 0)
    for s in room.sums.values():
        total = b.add(total, bytes_of(b, one, size(sum_bytes(band, s.part))))
    most = b.add(b.sdiv(size(inner.outside), at_least(b, total, one)), one)
    most = minimum(b, most, constant(I64, MOST))
    share = b.mul(up(b, up(b, extent, sizes.block), most), sizes.block)
    count = up(b, extent, share)
    own = b.add(panel_room(b, size, band, registers), sizes.bytes)
    return PartSizes(share, count, own, b.mul(total, b.sub(count, one)))


def emit_inner_part(
    target: Target, module: ir.Module, code: Code, dims: Sequence[str], param_count: int
) -> ir.Function:
    """`(…, row, number, share, sums, memory)`: part `number` of a row's inner rows."""
    name = f"{code.band.name}_inner_part"
    memory = Buffer(f"{name}_memory", BOOL, (), "block", 0, dim(0))
    part = _Part(target, module, Nest(name, "", (), (), (), {}, (0, 1), memory), dims, param_count)
    part.run(code)
    return part.function


class _Part(InnerRows):
    def run(self, code: Code) -> None:
        b, band = self.b, code.band
        not_hot(self.function)
        row, number, share, sums, memory = self.function.args[ENTRY:]
        inner, room = rooms_of(band)
        one = constant(I64, 1)
        table = self.table(code, room.bounds)
        entry = self.entry(table)
        low = b.mul(number, share)
        high = minimum(b, b.add(low, share), self.size(inner.rows))
        is_first = b.icmp_signed("==", number, constant(I64, 0))
        own = self.own_sums(band, sums, number, row)
        every = zip(self.all_wholes(band, table), own, strict=True)
        wholes = [b.select(is_first, whole, mine) for whole, mine in every]
        place = self.moved(memory, panel_room(b, self.size, band, self.target.registers))

        def run(stage: Stage, limits: Sequence[ir.Value]) -> None:
            self.run_alone(stage, limits, entry, memory)

        self.inner_stages(code, table, place, (row, b.add(row, one)), (low, high), wholes, run)
        b.ret(constant(I64, 0))


class RowsInParts(InnerRows):
    """What the whole of a band does where it has inner kernels, but few rows."""

    def in_inner_parts(
        self, code: Code, part: ir.Function, table: ir.Value, memory: ir.Value, rows: ir.Value
    ) -> None:
        b, band = self.b, code.band
        inner, room = rooms_of(band)
        none, one = constant(I64, 0), constant(I64, 1)
        sizes = part_sizes(b, self.size, band, self.target.registers)
        sums = b.ptrtoint(self.moved(memory, sizes.own), I64)
        entry = self.entry(table)
        with counted(b, rows, one) as row, self.scope():
            self.run_parts(
                part,
                entry,
                [row, sizes.share, sums],
                lambda _, words, number: [words[0], number, *words[1:]],
                sizes.count,
                lambda: sizes.own,
                memory,
                constant(I1, 1),
                self.leave,
            )
            for k, x in enumerate((row, b.add(row, one))):
                self.put(table, room.bounds + k, x)
            for s, whole in zip(room.sums.values(), self.all_wholes(band, table), strict=True):
                self.put(table, s.so_far.position, whole)
            with counted(b, sizes.count, one, one) as number, self.scope():
                own = self.own_sums(band, sums, number, row)
                for s, place_of_it in zip(room.sums.values(), own, strict=True):
                    self.put(table, s.part.position, place_of_it)
                for added, (_, nest) in zip(code.added, inner.sums, strict=True):
                    limits = [row, b.add(row, one), none, self.size(nest.loops[1].extent)]
                    self.run_on_all_threads(added, limits, entry)
