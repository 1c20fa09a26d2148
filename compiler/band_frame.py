"""What the functions of a band have in common: its stages as code, and the table of pointers.

In: a `BandNest` and the functions of its stages. Out: a frame that knows where the values of some
rows stand. Left to others: which rows, and who works on them (`emit_band`, `emit_inner`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import ir
from .band_nests import BandNest
from .dims import Dim, product
from .emit_packed import contraction_scratch
from .frame import Frame
from .instructions import I1, I8, I64
from .llvm_vector import constant, intrinsic
from .loops import Buffer, Loop, Nest, may_fail
from .microkernel import POINTER
from .packed import Contraction
from .plan import ALIGNMENT
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
            place = self.b.add(self.size(whole.offset), self.b.mul(number, size))
            self.put(table, part.position, self.moved(self.function.args[2], place))

    def point_to_rows(
        self,
        band: BandNest,
        table: ir.Value,
        memory: ir.Value,
        rows: ir.Value,
        first: ir.Value,
    ) -> ir.Value:
        """The values of a block of `rows` rows from `first` on; what of the memory is left."""
        b, places = self.b, []
        at = memory
        for slot in band.room.slots:
            places.append(at)
            at = self.moved(at, bytes_of(b, rows, self.size(slot)))
        for value, slot_number in band.room.values:
            row = row_bytes(band, value)
            back = b.sub(constant(I64, 0), b.mul(first, self.size(row)))
            self.put(table, value.position, self.moved(places[slot_number], back))
        return at

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


ENTRY = 4  # pointers of every function


def at_least(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return intrinsic(b, "llvm.smax", [x, y])


def bytes_of(b: ir.IRBuilder, rows: ir.Value, row_bytes: ir.Value) -> ir.Value:
    """Of so many rows, up to a multiple of the alignment."""
    raw = b.add(b.mul(rows, row_bytes), constant(I64, ALIGNMENT - 1))
    return b.and_(raw, constant(I64, -ALIGNMENT))


def row_bytes(band: BandNest, value: Buffer) -> Dim:
    return product(value.shape[band.shared :]) * value.dtype.size


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
