"""Left operands of packed contractions that are read where they stand: panels would cost more than
they bring.

In: a task, and what part of it is done. Out: whether the operand is read in place, and what the
microkernel is given for it. Left to others: blocks and panels (`packed_blocks`).

An operand that has to be finite need not be looked through first: one infinity or NaN in it makes
every sum that it enters infinite or NaN, so the results are looked through.
"""

from __future__ import annotations

from . import ir
from .instructions import I64
from .llvm_loop import POINTER
from .llvm_vector import constant
from .packed_task import (
    AS_IT_IS,
    AT_COLUMNS,
    AT_LAST,
    AT_OUTER,
    AT_ROWS,
    EXTENT,
    FINITE,
    INNER,
    LEFT,
    LEFT_START,
    LEFT_STEP,
    PARTS,
    PLAIN,
    RIGHT,
    RIGHT_START,
    RIGHT_STEP,
    STRIP,
    field,
    sum_of_batches,
    word,
)
from .register_tile import Panels

SPAN = 1 << 18
"""Bytes from one end of an operand to the other that still stay in the second-level cache."""

FILLING = 64
"""The most rows of a result whose first ones fill the right operand's panels."""

PAGE = 1 << 12
"""Bytes of a page of memory, on most machines."""

LARGE = 1 << 20
"""Bytes of an operand from which on it may not stay there."""


def reads_left_in_place(b: ir.IRBuilder, task: ir.Value, tile: Panels) -> ir.Value:
    """Whether the left operand is: its rows, if each lies in memory as a whole (a tile's rows come
    once for all panels, packed or not); its columns, if these do, near each other, for a result as
    narrow as the microkernel's broadest tile (1.0 to 1.4 times as fast as panels, measured; else
    0.5 to 0.9 times)."""
    one = constant(I64, 1)
    n, depth = (word(b, task, field(k, EXTENT)) for k in (AT_COLUMNS, AT_LAST))
    along, down = (word(b, task, field(k, LEFT_STEP)) for k in (AT_ROWS, AT_LAST))
    span = b.mul(down, depth)
    near = b.icmp_unsigned("<=", span, constant(I64, SPAN // tile.bytes))
    narrow = b.icmp_signed("<=", n, constant(I64, tile.columns + tile.lanes))
    columns = b.and_(b.icmp_signed("==", along, one), b.and_(near, narrow))
    dense = b.or_(b.icmp_signed("==", down, one), columns)
    plain = b.icmp_signed("==", word(b, task, LEFT + PLAIN), constant(I64, AS_IT_IS))
    plain = b.and_(plain, b.icmp_signed("==", word(b, task, STRIP), constant(I64, 0)))
    for place in (INNER, field(AT_OUTER, EXTENT)):
        plain = b.and_(plain, b.icmp_signed("==", word(b, task, place), one))
    # sums in parts have no results yet that could be looked through
    whole = b.icmp_signed("<=", word(b, task, PARTS), one)
    plain = b.and_(plain, b.or_(whole, b.not_(has_to_be_finite(b, task))))
    return b.and_(plain, dense)


def has_to_be_finite(b: ir.IRBuilder, task: ir.Value) -> ir.Value:
    return b.icmp_signed("!=", word(b, task, LEFT + FINITE), constant(I64, 0))


def left_in_place(
    b: ir.IRBuilder, task: ir.Value, ranges: ir.Value, tile: Panels
) -> list[ir.Value]:
    """The left operand for the microkernel, from the first of the current rows on."""
    at = sum_of_batches(b, task, ranges, LEFT_STEP)
    steps = [word(b, task, field(k, LEFT_STEP)) for k in (AT_ROWS, AT_LAST)]
    for place, step in zip((AT_ROWS, AT_LAST), steps, strict=True):
        at = b.add(at, b.mul(word(b, ranges, 2 * place), step))
    start = b.gep(word(b, task, LEFT_START, POINTER), [at], source_etype=tile.element)
    return [start, steps[0], *steps, _ahead(b, task, tile)]


def _ahead(b: ir.IRBuilder, task: ir.Value, tile: Panels) -> ir.Value:
    """How far from a tile's rows the next one's are, where these should be asked for: where they do
    not stay in the second-level cache (where they do, it costs 6 % of a narrow result's time)."""
    m = word(b, task, field(AT_ROWS, EXTENT))
    along, down = (word(b, task, field(k, LEFT_STEP)) for k in (AT_ROWS, AT_LAST))
    dense = b.icmp_signed("==", down, constant(I64, 1))
    large = b.icmp_unsigned(">", b.mul(along, m), constant(I64, LARGE // tile.bytes))
    wanted = b.and_(dense, large)
    return b.select(wanted, b.mul(along, constant(I64, tile.rows)), constant(I64, 0))


def fills_right(b: ir.IRBuilder, task: ir.Value, tile: Panels) -> ir.Value:
    """Whether the right operand's panels are filled by the first rows that are multiplied, which
    read it where it stands: for few rows, if its own lie in memory as a whole, and near each other.
    (Measured where a vector has 8 lanes, 512 terms: results of 24 rows are 1.1 times as fast as by
    panels first, of 96 the same, of 256 0.96 to 1.0 times; where the right operand's rows take 4 KB
    or more, each on a page of its own, 0.7 to 0.9 times.)"""
    one, none = constant(I64, 1), constant(I64, 0)
    fine = b.icmp_signed("==", word(b, task, RIGHT + PLAIN), constant(I64, AS_IT_IS))
    for place, x in (
        (field(AT_COLUMNS, RIGHT_STEP), one),
        (field(AT_OUTER, EXTENT), one),
        (INNER, one),
        (RIGHT + FINITE, none),
        (STRIP, none),
    ):
        fine = b.and_(fine, b.icmp_signed("==", word(b, task, place), x))
    down = word(b, task, field(AT_LAST, RIGHT_STEP))
    near = b.icmp_unsigned("<", down, constant(I64, PAGE // tile.bytes))
    m = word(b, task, field(AT_ROWS, EXTENT))
    return b.and_(b.and_(fine, near), b.icmp_signed("<=", m, constant(I64, FILLING)))


def right_in_place(b: ir.IRBuilder, task: ir.Value, ranges: ir.Value, tile: Panels) -> ir.Value:
    """Where the current ranges of the right operand start."""
    at = sum_of_batches(b, task, ranges, RIGHT_STEP)
    for place in (AT_COLUMNS, AT_LAST):
        step = word(b, task, field(place, RIGHT_STEP))
        at = b.add(at, b.mul(word(b, ranges, 2 * place), step))
    return b.gep(word(b, task, RIGHT_START, POINTER), [at], source_etype=tile.element)


def whole_panels(b: ir.IRBuilder, tile: Panels, width: ir.Value) -> ir.Value:
    """How many of `width` columns stand in panels of whole vectors."""
    even = b.icmp_signed("==", b.urem(width, constant(I64, tile.lanes)), constant(I64, 0))
    return b.select(even, width, b.sub(width, b.urem(width, constant(I64, tile.columns))))
