"""Products of few rows: bound by memory, so the right operand is read once, from end to end.

In: what the machine offers. Out: functions of a module, for one dtype of operands, with the
arguments of `packed_direct`'s routines:

    i64  tdsl_direct_f32_1_rows(ptr operands, ptr loops, ptr, ptr), …_2_rows, …_4_rows

Some terms are added at a time, whose rows of the right operand are read side by side, each along a
block of columns; the sums so far stay in the first-level cache. (Measured where a vector has 8
lanes, against tiles whose sums stay in registers: these jump from row to row, up to 4 times as slow
where the operand is not in the second-level cache.) Every sum is one chain of fused additions in
the order of its terms.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import ir
from .dtypes import DType
from .frame import formatted
from .instructions import I1, I8, I32, I64, from_memory, memory_type
from .llvm_loop import POINTER, below, counted, minimum, spread
from .llvm_vector import constant, intrinsic, vector
from .packed_range import Part, part_of, shared_out
from .packed_task import AT_COLUMNS, AT_LAST, AT_ROWS, EXTENT, LEFT_STEP, OUT_STEP, RIGHT_STEP
from .register_tile import Panels

BLOCK = 8192
"""Bytes of a row's sums that are worked on at a time."""

TERMS = 8
"""That are added at a time, at most: as many rows are read side by side."""

SHARED = 256
"""Columns that a thread gets at a time, at least."""


def few_rows(
    module: ir.Module, tile: Panels, d: DType, name: str, rows: int, factors: int
) -> ir.Function:
    """The routine for at most so many rows; registers hold so many vectors of left factors, one for
    each row and term."""
    part = part_of(module, name)
    _write(part, tile, d, rows, min(TERMS, factors // rows))
    return shared_out(part, name, AT_COLUMNS, SHARED)


def _write(part: Part, tile: Panels, d: DType, rows: int, many: int) -> None:
    """Some columns, `many` terms at a time."""
    b, record, low, high = part.b, part.record, part.low, part.high
    left, right, out = part.operands

    def at(p: ir.Value, t: ir.Type, by: ir.Value) -> ir.Value:
        return b.gep(p, [by], source_etype=t)

    lanes = constant(I64, tile.lanes)
    wide = vector(tile.element, tile.lanes)
    # sums beside the last whole vector gather in room of their own, whole vectors, too
    room = b.alloca(ir.ArrayType(wide, rows))
    beside = [b.gep(room, [constant(I64, r)], source_etype=wide) for r in range(rows)]
    none, one = constant(I64, 0), constant(I64, 1)
    last = b.sub(record(AT_ROWS, EXTENT), one)
    with b.if_then(b.icmp_signed("<", last, none)):
        b.ret(none)
    # beyond the last row, it is computed again
    numbers = [minimum(b, constant(I64, r), last) for r in range(rows)]
    depth, down = record(AT_LAST, EXTENT), record(AT_LAST, RIGHT_STEP)
    along = record(AT_LAST, LEFT_STEP)
    lefts = [at(left, memory_type(d), b.mul(r, record(AT_ROWS, LEFT_STEP))) for r in numbers]
    outs = [at(out, tile.element, b.mul(r, record(AT_ROWS, OUT_STEP))) for r in numbers]
    bytes_of = constant(I64, tile.bytes)
    for p in outs:
        fill = [at(p, tile.element, low), constant(I8, 0), b.mul(b.sub(high, low), bytes_of)]
        overload = [POINTER, I64]
        intrinsic(b, "llvm.memset", [*fill, constant(I1, 0)], ir.VoidType(), overload)
    whole = b.and_(depth, constant(I64, -many))
    block = constant(I64, BLOCK // tile.bytes // rows)

    def added(first: ir.Value, terms: int, start: ir.Value, edge: ir.Value, end: ir.Value) -> None:
        """The terms from `first` on, for the columns from `start` to `end`."""
        ways = [b.add(first, constant(I64, t)) for t in range(terms)]
        lines = [at(right, memory_type(d), b.mul(t, down)) for t in ways]
        factors = [
            [from_memory(b, b.load(at(p, memory_type(d), b.mul(t, along)), memory_type(d)), d)
             for t in ways]
            for p in lefts
        ]  # fmt: skip
        spreads = [[spread(b, x, tile.lanes) for x in k] for k in factors]
        t = memory_type(d, tile.lanes)

        def step(values: Sequence[ir.Value], places: Sequence[ir.Value]) -> None:
            sums = [b.load(p, wide, align=tile.bytes) for p in places]
            ys = [from_memory(b, y, d) for y in values]
            for k, row in enumerate(spreads):
                for x, y in zip(row, ys, strict=True):
                    sums[k] = intrinsic(b, "llvm.fma", [x, y, sums[k]])
            for p, x in zip(places, sums, strict=True):
                b.store(x, p, align=tile.bytes)

        with counted(b, edge, lanes, start) as column:
            values = [b.load(at(p, memory_type(d), column), t, align=d.size) for p in lines]
            step(values, [at(p, tile.element, column) for p in outs])
        with b.if_then(b.icmp_signed("<", edge, end)):
            mask = below(b, tile.lanes, b.sub(end, edge))
            step([masked(at(p, memory_type(d), edge), t, d.size, mask) for p in lines], beside)

    def masked(p: ir.Value, t: ir.Type, align: int, mask: ir.Value) -> ir.Value:
        args = [p, constant(I32, align), mask, formatted(t, "zeroinitializer")]
        return intrinsic(b, "llvm.masked.load", args, result=t, overload=[t, POINTER])

    with counted(b, high, block, low) as start:
        end = minimum(b, b.add(start, block), high)
        edge = b.sub(end, b.urem(b.sub(end, start), lanes))
        for p in beside:
            b.store(constant(wide, 0), p, align=tile.bytes)
        with counted(b, whole, constant(I64, many)) as first:
            added(first, many, start, edge, end)
        with counted(b, depth, one, whole) as first:
            added(first, 1, start, edge, end)
        with b.if_then(b.icmp_signed("<", edge, end)):
            mask = below(b, tile.lanes, b.sub(end, edge))
            for p, to in zip(beside, outs, strict=True):
                x = b.load(p, wide, align=tile.bytes)
                args = [x, at(to, tile.element, edge), constant(I32, tile.bytes), mask]
                intrinsic(b, "llvm.masked.store", args, ir.VoidType(), [wide, POINTER])
    b.ret(none)
