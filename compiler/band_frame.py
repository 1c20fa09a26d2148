"""What the functions of a band have in common: its stages as code, and the table of pointers.

In: a `BandNest` and the functions of its stages. Out: a frame that knows where the values of some
rows stand. Left to others: which rows, and who works on them (`emit_band`, `emit_inner`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import fork_join, ir
from .band_nests import BandNest
from .bounds import ENTRY
from .dims import Dim, product
from .emit_packed import contraction_scratch
from .entry_builder import not_hot
from .frame import Frame
from .instructions import I1, I8, I64
from .llvm_loop import POINTER, counted
from .llvm_vector import constant, intrinsic
from .loops import Buffer, Loop, Nest, may_fail
from .packed import Contraction
from .plan import ALIGNMENT, BandRoom, InnerRoom
from .records import dataclass
from .tile import Registers


@dataclass(frozen=True)
class Stage:
    """`rows` computes some rows, given as `ranges` equal pairs, and for a contraction memory;
    `whole`, of a contraction, all of them. Where there is `results`, `rows` is given a range of the
    outermost loop, too, and `results` computes all rows of such a range. An inner stage is given a
    range of inner rows as well; it has `parts` where several threads can share what is between the
    table's bounds: given a range of `shared`. That is the loop over inner rows, or one whose bounds
    `rows` is given behind theirs."""

    rows: ir.Function
    whole: ir.Function | None
    ranges: int
    nest: Nest | Contraction
    results: ir.Function | None = None
    parts: ir.Function | None = None
    shared: Loop | None = None

    def bounds(self, limits: Sequence[ir.Value], size: Callable[[Dim], ir.Value]) -> list[ir.Value]:
        """What `rows` of an inner stage is given, between these limits of rows and inner rows."""
        nest, stated = self.nest, list(limits[-2 * self.ranges :])
        if isinstance(nest, Contraction):
            return stated[:2]
        if self.shared is None or len(nest.ranged) == self.ranges:
            return stated
        return [*stated, constant(I64, 0), size(self.shared.extent)]

    @property
    def may_fail(self) -> bool:
        return isinstance(self.nest, Nest) and may_fail(self.nest)


@dataclass(frozen=True)
class Code:
    """The functions of a band. `outside` counts the pointers that all parts have in common."""

    band: BandNest
    starts: tuple[ir.Function, ...]
    stages: tuple[Stage, ...]
    ends: tuple[ir.Function, ...]
    outside: int
    added: tuple[Stage, ...] = ()
    inner_part: ir.Function | None = None


Arguments = Callable[[ir.IRBuilder, Sequence[ir.Value], ir.Value], list[ir.Value]]
"""What a part is given, made of words that all parts have, and its number."""


class Rows(Frame):
    """What the code of a part, and that of the whole, have in common."""

    def table(self, code: Code, known: int | None = None) -> ir.Value:
        """The table of pointers, with room for those of the band; so many are known."""
        b, band = self.b, code.band
        many, inner = code.outside + len(band.room.values) + len(band.room.parts), band.room.inner
        if inner is not None:
            many = inner.bounds + 4
        with b.goto_entry_block():
            table = b.alloca(ir.ArrayType(POINTER, many))
        size = 8 * (code.outside if known is None else known)
        copy = [table, self.function.args[0], constant(I64, size), constant(I1, 0)]
        intrinsic(b, "llvm.memcpy", copy, result=ir.VoidType(), overload=[POINTER, POINTER, I64])
        return table

    def put(self, table: ir.Value, position: int, word: ir.Value) -> None:
        self.b.store(word, self.b.gep(table, [constant(I64, position)], source_etype=POINTER))

    def pointer_at(self, table: ir.Value, position: int) -> ir.Value:
        place = self.b.gep(table, [constant(I64, position)], source_etype=POINTER)
        return self.b.load(place, typ=POINTER)

    def moved(self, pointer: ir.Value, by: ir.Value) -> ir.Value:
        return self.b.gep(pointer, [by], source_etype=I8)

    def point_to_sums(self, band: BandNest, table: ir.Value, number: ir.Value) -> None:
        for part, whole in band.room.parts.values():
            size = self.size(product(part.shape) * part.dtype.size)
            place = self.moved(self.pointer(whole), self.b.mul(number, size))
            self.put(table, part.position, place)

    def point_to_rows(
        self,
        band: BandNest,
        table: ir.Value,
        memory: ir.Value,
        rows: ir.Value,
        first: ir.Value,
    ) -> ir.Value:
        """The values of a block of `rows` rows from `first` on; what of the memory is left."""
        return self.point_to(band.room, band.shared, table, memory, rows, first)

    def point_to(
        self,
        room: BandRoom | InnerRoom,
        leading: int,
        table: ir.Value,
        memory: ir.Value,
        rows: ir.Value,
        first: ir.Value,
    ) -> ir.Value:
        """The same of rows that the `leading` first indices count."""
        b, places = self.b, []
        for slot in room.slots:
            places.append(memory)
            memory = self.moved(memory, bytes_of(b, rows, self.size(slot)))
        for value, slot_number in room.values:
            back = b.mul(first, self.size(row_bytes(value, leading)))
            back = b.sub(constant(I64, 0), back)
            self.put(table, value.position, self.moved(places[slot_number], back))
        return memory

    def run_parts(
        self,
        part: ir.Function,
        entry: Sequence[ir.Value],
        words: Sequence[ir.Value],
        arguments: Arguments,
        count: ir.Value,
        own: Callable[[], ir.Value],
        memory: ir.Value,
        several: ir.Value,
        check: Callable[[ir.Value], None],
    ) -> None:
        """`part` for every number below `count`, on `several` threads or one after the other: it is
        given its `arguments`, and `memory`, of which another thread has `own()` bytes."""
        b, none = self.b, constant(I64, 0)
        with b.goto_entry_block():
            failed = b.alloca(I64)
            context = b.alloca(ir.ArrayType(I64, 1 + len(entry) + len(words)))
        # what failed is done again, in order: the first failure is reported
        b.store(constant(I64, 1), failed)
        with b.if_then(several):
            b.store(none, failed)
            every = [*(b.ptrtoint(x, I64) for x in (failed, *entry)), *words]
            for k, x in enumerate(every):
                b.store(x, b.gep(context, [constant(I64, k)], source_etype=I64))
            thunk = _one_part(b.module, part, len(words), arguments)
            b.call(fork_join.parallel(b.module), [thunk, context, count, own(), memory])
        again = b.icmp_signed("!=", b.load(failed, typ=I64), none)
        with b.if_then(again), counted(b, count, constant(I64, 1)) as number:
            check(b.call(part, [*entry, *arguments(b, words, number), memory]))

    def entry(self, table: ir.Value) -> list[ir.Value]:
        return [table, *self.function.args[1:ENTRY]]

    def check(self, stage: Stage, status: ir.Value) -> None:
        """Leave with a failed status, where the stage can fail."""
        if stage.may_fail:
            self.leave(status)

    def leave(self, status: ir.Value) -> None:
        """Leave with a status, if it is a failed one."""
        failed = self.b.icmp_signed("!=", status, constant(I64, 0))
        with self.b.if_then(failed, likely=False):
            self.b.ret(status)


def _one_part(module: ir.Module, part: ir.Function, many: int, arguments: Arguments) -> ir.Function:
    """The part of a number, as the pool calls it."""
    f = ir.Function(module, fork_join.PART, f"{part.name}_of")
    f.linkage = "internal"
    not_hot(f)
    context, number, memory = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    types = [POINTER] * (1 + ENTRY) + [I64] * many
    failed, *rest = (
        b.load(b.gep(context, [constant(I64, k)], source_etype=I64), typ=t)
        for k, t in enumerate(types)
    )
    entry, words = rest[:ENTRY], rest[ENTRY:]
    status = b.call(part, [*entry, *arguments(b, words, number), memory])
    with b.if_then(b.icmp_signed("!=", status, constant(I64, 0)), likely=False):
        b.store(status, failed)
    b.ret_void()
    return f


def at_least(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return intrinsic(b, "llvm.smax", [x, y])


def bytes_of(b: ir.IRBuilder, rows: ir.Value, row_bytes: ir.Value) -> ir.Value:
    """Of so many rows, up to a multiple of the alignment."""
    raw = b.add(b.mul(rows, row_bytes), constant(I64, ALIGNMENT - 1))
    return b.and_(raw, constant(I64, -ALIGNMENT))


def row_bytes(value: Buffer, leading: int) -> Dim:
    """Of one row, which the `leading` first indices count."""
    return product(value.shape[leading:]) * value.dtype.size


def panel_room(
    b: ir.IRBuilder, size: Callable[[Dim], ir.Value], band: BandNest, registers: Registers
) -> ir.Value:
    """What the contractions' panels take at most."""
    most: ir.Value = constant(I64, 0)
    for stage in band.stages:
        if isinstance(stage, Contraction):
            both = contraction_scratch(b, size, stage, registers)
            most = intrinsic(b, "llvm.smax", [most, both])
    return most
