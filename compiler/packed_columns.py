"""Products of few columns: bound by memory, so the left operand is read once, from end to end.

In: what the machine offers. Out: a function of a module, for one dtype of operands, with the
arguments of `packed_direct`'s routines:

    i64  tdsl_direct_f32_few_columns(ptr operands, ptr loops, ptr, ptr)

Lanes run along the sum, along which the left operand is dense. The right one is copied, a block of
terms at a time, so that it is, too. (Measured where a vector has 8 lanes: a matrix times a vector
in 0.4 to 0.6 of the time that it takes to gather the vector for every four rows.) A sum is added up
in lanes within a block, then block by block, whatever the number of threads.
"""

from __future__ import annotations

from . import ir
from .dtypes import DType
from .instructions import I1, I64, from_memory, memory_type, sum_of_lanes
from .llvm_loop import counted, minimum
from .llvm_vector import constant, intrinsic, vector
from .packed_range import Part, part_of, shared_out
from .packed_task import AT_COLUMNS, AT_LAST, AT_ROWS, EXTENT, LEFT_STEP, OUT_STEP, RIGHT_STEP
from .register_tile import ALIGNMENT, Panels

BLOCK = 1024
"""Terms of the sums."""

ROWS, COLUMNS = 4, 2
"""That are worked on at a time: every vector of a row is used for both columns, and eight sums keep
the additions busy."""

SHARED = 32
"""Rows that a thread gets at least."""


def most_columns(tile: Panels) -> int:
    """For more than that, lanes along the columns are faster."""
    return tile.lanes // 2 - 1


def few_columns(module: ir.Module, tile: Panels, d: DType, name: str) -> ir.Function:
    part = part_of(module, name)
    _write(part, tile, d)
    return shared_out(part, name, AT_ROWS, SHARED)


def _write(part: Part, tile: Panels, d: DType) -> None:
    """Some rows."""
    b, record, low, high = part.b, part.record, part.low, part.high
    left, right, out = part.operands
    columns, depth = (record(k, EXTENT) for k in (AT_COLUMNS, AT_LAST))
    row, below = record(AT_ROWS, LEFT_STEP), record(AT_LAST, RIGHT_STEP)
    out_row = record(AT_ROWS, OUT_STEP)
    room = b.alloca(ir.ArrayType(tile.element, BLOCK * most_columns(tile)))
    room.align = ALIGNMENT
    none, one, size = constant(I64, 0), constant(I64, 1), constant(I64, BLOCK)
    lanes, stands = constant(I64, tile.lanes), memory_type(d)
    dense = b.and_(b.icmp_signed("==", columns, one), b.icmp_signed("==", below, one))
    if d.is_half:  # is made f32 when it is copied
        dense = constant(I1, 0)
    last_row = b.sub(high, one)

    def at(p: ir.Value, by: ir.Value, t: ir.Type = tile.element) -> ir.Value:
        return b.gep(p, [by], source_etype=t)

    def value(p: ir.Value, by: ir.Value, width: int = 1) -> ir.Value:
        x = b.load(at(p, by, stands), memory_type(d, width), align=d.size)
        return from_memory(b, x, d)

    with counted(b, depth, size) as first:
        terms = minimum(b, b.sub(depth, first), size)
        whole = b.sub(terms, b.urem(terms, lanes))
        here = at(right, b.mul(first, below), stands)
        with b.if_then(b.not_(dense)), counted(b, terms, one) as t, counted(b, columns, one) as c:
            x = value(here, b.add(b.mul(t, below), c))
            b.store(x, at(room, b.add(b.mul(c, size), t)), align=tile.bytes)
        factors = b.select(dense, here, room)
        is_first = b.icmp_signed("==", first, none)

        def several(row_at: ir.Value, column: ir.Value, many: int) -> None:
            """`many` columns of some rows; beyond the last row, it is computed again."""
            numbers = [minimum(b, b.add(row_at, constant(I64, r)), last_row) for r in range(ROWS)]
            lines = [at(left, b.add(b.mul(r, row), first), stands) for r in numbers]
            others = [
                at(factors, b.mul(b.add(column, constant(I64, c)), size)) for c in range(many)
            ]
            points = [(r, c) for r in range(ROWS) for c in range(many)]

            def summed(width: int, start: ir.Value, end: ir.Value) -> list[ir.Value]:
                t = vector(tile.element, width)
                before = b.block
                again, after = b.append_basic_block("again"), b.append_basic_block("after")
                b.cbranch(b.icmp_signed("<", start, end), again, after)
                b.position_at_end(again)
                k, *sums = (b.phi(x) for x in (I64, *(t for _ in points)))
                ys = [b.load(at(p, k), t, align=tile.bytes) for p in others]
                xs = [value(p, k, width) for p in lines]
                new = [
                    intrinsic(b, "llvm.fma", [xs[r], ys[c], s])
                    for (r, c), s in zip(points, sums, strict=True)
                ]
                further = b.add(k, constant(I64, width))
                k.add_incoming(start, before)
                k.add_incoming(further, again)
                b.cbranch(b.icmp_signed("<", further, end), again, after)
                b.position_at_end(after)
                found: list[ir.Value] = []
                for s, x in zip(sums, new, strict=True):
                    s.add_incoming(constant(t, 0), before)
                    s.add_incoming(x, again)
                    y = b.phi(t)
                    y.add_incoming(constant(t, 0), before)
                    y.add_incoming(x, again)
                    found.append(y)
                return found

            wide = [sum_of_lanes(b, x) for x in summed(tile.lanes, none, whole)]
            rest = summed(1, whole, terms)
            places = [
                at(out, b.add(b.mul(numbers[r], out_row), b.add(column, constant(I64, c))))
                for r, c in points
            ]
            olds = [b.load(p, tile.element, align=tile.bytes) for p in places]
            for p, old, x, y in zip(places, olds, wide, rest, strict=True):
                old = b.select(is_first, constant(tile.element, 0), old)
                b.store(b.fadd(old, b.fadd(x, y)), p, align=tile.bytes)

        pairs = b.sub(columns, b.urem(columns, constant(I64, COLUMNS)))
        with counted(b, high, constant(I64, ROWS), low) as row_at:
            with counted(b, pairs, constant(I64, COLUMNS)) as column:
                several(row_at, column, COLUMNS)
            with counted(b, columns, one, pairs) as column:
                several(row_at, column, 1)
    b.ret(none)
