"""Contractions of plain operands without panels: for small sizes, and for few rows or columns.

In: what the machine offers. Out: functions of the module that all contractions share, for one dtype
of operands:

    i64  tdsl_direct(ptr operands, ptr loops, ptr, ptr), …_transposed

The sizes choose one of several tiles. A matrix times a vector is bound by memory: it is read once,
in order. Left to others: the emission, which is that of kernels.
"""

from __future__ import annotations

from dataclasses import replace

from . import ir
from .dims import dim
from .dtypes import DType
from .emit import emit
from .emit_parallel import emit_nest, operations
from .entry_builder import not_hot
from .fork_join import share
from .frame import Frame
from .instructions import I1, I8, I64
from .llvm_loop import counted, minimum
from .llvm_vector import constant, intrinsic
from .loops import (
    Accumulator,
    Apply,
    Buffer,
    Kind,
    Linear,
    Load,
    Loop,
    Nest,
    Reduce,
    Result,
    Store,
)
from .packed import WORTH_PACKING
from .packed_columns import few_columns, most_columns
from .packed_plain import plain_load, plain_loop, plain_step
from .packed_rows import few_rows
from .packed_task import (
    AT_COLUMNS,
    AT_LAST,
    AT_ROWS,
    DIM_NAMES,
    DIRECT_CALL,
    EXTENT,
    LEFT_STEP,
    LOOP_NAMES,
    RECORD,
    external,
    word,
)
from .register_tile import Panels
from .target import Target
from .tile import tile as tiled

FEW = 4
"""The most rows whose product is bound by memory, rather than by arithmetic."""

FEW_ROWS = (1, 2, FEW)
"""The most rows that a routine is for."""

DEPTH = 32
"""Of the sums, how many terms are added at a time for more rows than that: as many rows of the
right operand are read side by side."""

UNPACKED, WIDE = 24, 256
"""The most rows that make tiles as the microkernel's, of a right operand that is read where it
stands: panels of it would cost more than they bring. And the fewest columns, along which it is
read. Only where such a tile has a multiple of FEW rows: six are 1.3 to 2.2 times as fast by panels
(measured, 8 to 24 rows)."""


def direct_nest(d: DType, transposed: bool) -> Nest:
    """The sums of two plain operands without batches, for small sizes. If `transposed`, both are
    dense along the sum; else the right one is along its own index, the left one need not be."""
    left = AT_LAST if transposed else None
    right = AT_LAST if transposed else AT_COLUMNS
    return _nest(d, f"{_name(d, transposed)}_usual", left, right)


def _nest(d: DType, name: str, left_dense: int | None, right_dense: int | None) -> Nest:
    rows, columns = (plain_loop(k, Kind.PARALLEL) for k in (AT_ROWS, AT_COLUMNS))
    last = plain_loop(AT_LAST, Kind.SERIAL)
    left = plain_load(d, "left", 0, (rows, last), left_dense)
    right = plain_load(d, "right", 1, (columns, last), right_dense)
    result = Result("sums", left.dtype)
    total = Accumulator(result, "sum", Apply("mul", (left, right), left.dtype), None, None)
    out = Buffer("out", left.dtype, (), "output", 0, dim(0))
    steps = tuple((x.index, plain_step(x.index, "out", AT_COLUMNS)) for x in (rows, columns))
    body = Reduce((last,), (total,)), Store(out, Linear(steps, dim(0)), result)
    return Nest(name, "", (), (rows, columns), body, dict(enumerate(LOOP_NAMES)))


def _name(d: DType, transposed: bool) -> str:
    return f"tdsl_direct{'_transposed' if transposed else ''}_{d}"


def shared_direct(module: ir.Module, d: DType, transposed: bool) -> ir.Function:
    """The routine for small sizes, as an external symbol. It is given the words from LEFT_START on,
    and those from RECORDS on."""
    return external(module, DIRECT_CALL, _name(d, transposed))


def has_more_rows(tile: Panels) -> bool:
    """Whether there is a routine for more than a few rows."""
    return tile.rows % FEW == 0


def reads_in_place(
    b: ir.IRBuilder, tile: Panels, rows: ir.Value, columns: ir.Value, depth: ir.Value
) -> ir.Value:
    """Whether more than a few rows are few enough for that."""
    if not has_more_rows(tile):
        return constant(I1, 0)
    work = b.mul(b.mul(rows, columns), depth)
    wide = b.icmp_signed(">=", columns, constant(I64, WIDE))
    large = b.and_(wide, b.icmp_signed(">=", work, constant(I64, WORTH_PACKING)))
    return b.and_(large, b.icmp_signed("<=", rows, constant(I64, UNPACKED)))


def add_direct(target: Target, module: ir.Module, tile: Panels, d: DType, transposed: bool) -> None:
    """The routine for small sizes."""
    usual = tiled(direct_nest(d, transposed), target.registers)
    functions = [emit_nest(target, module, usual, DIM_NAMES, 2)]
    tests = []
    if not transposed:
        functions.append(few_columns(module, tile, d, f"{_name(d, False)}_few_columns"))
        for most in FEW_ROWS:
            name = f"{_name(d, False)}_{most}_rows"
            factors = target.registers.accumulators
            functions.append(few_rows(module, tile, d, name, most, factors))
        if has_more_rows(tile):
            functions.append(_more_rows(target, module, tile, d))
    f = ir.Function(module, DIRECT_CALL, _name(d, transposed))
    not_hot(f)
    b = ir.IRBuilder(f.append_basic_block("entry"))
    if not transposed:
        rows, columns, depth = (
            word(b, f.args[1], RECORD * k + EXTENT) for k in (AT_ROWS, AT_COLUMNS, AT_LAST)
        )
        dense = b.icmp_signed(
            "==", word(b, f.args[1], RECORD * AT_LAST + LEFT_STEP), constant(I64, 1)
        )
        narrow = b.icmp_signed("<=", columns, constant(I64, most_columns(tile)))
        long = b.icmp_signed(">=", depth, constant(I64, tile.lanes))
        tests = [
            b.and_(dense, b.and_(narrow, long)),
            *(b.icmp_signed("<=", rows, constant(I64, most)) for most in FEW_ROWS),
            reads_in_place(b, tile, rows, columns, depth),
        ]
    for test, function in zip(tests, functions[1:], strict=False):
        with b.if_then(test):
            b.ret(b.call(function, f.args))
    b.ret(b.call(functions[0], f.args))


def _more_rows(target: Target, module: ir.Module, tile: Panels, d: DType) -> ir.Function:
    """The microkernel's tiles; the right operand is read DEPTH rows at a time."""
    name = f"{_name(d, False)}_more_rows"
    nest = _nest(d, name, None, AT_COLUMNS)
    rows, columns = nest.loops
    columns = replace(columns, lanes=tile.lanes, copies=tile.vectors)
    total, store = nest.body
    assert isinstance(store, Store)
    so_far = Load(store.buffer, store.offset, (), None, (), True, store.value.dtype)
    assert isinstance(total, Reduce)
    (a,) = total.accumulators
    more = replace(total, accumulators=(replace(a, start=so_far),))

    rows = replace(rows, copies=tile.rows)
    ranged = (AT_COLUMNS, AT_LAST)
    made = replace(
        nest, name=f"{name}_block", loops=(columns, rows), body=(more, store), ranged=ranged
    )
    block = emit(target, module, made, DIM_NAMES, 2)
    own = Nest(f"{name}_part", "", (), (), (), {}, (AT_COLUMNS,))
    part = _Part(target, module, own, DIM_NAMES, 2)
    part.run(block, rows, store)
    whole = _Whole(target, module, Nest(name, "", (), (), (), {}), DIM_NAMES, 2)
    whole.run(part.function, nest, columns)
    return whole.function


class _Part(Frame):
    """`(…, low, high)`: some columns, for one block of the sums after the other."""

    def run(self, block: ir.Function, rows: Loop, store: Store) -> None:
        b = self.b
        *entry, low, high = self.function.args
        none, one, step = constant(I64, 0), constant(I64, 1), constant(I64, DEPTH)
        bytes_of = constant(I64, store.buffer.dtype.size)
        out, size = self.pointer(store.buffer), b.mul(b.sub(high, low), bytes_of)
        row_step = self.size(store.offset.coefficient(rows.index) or dim(0))
        depth = self.size(plain_loop(AT_LAST, Kind.SERIAL).extent)
        with counted(b, self.size(rows.extent), one) as row:
            at = b.mul(b.add(b.mul(row, row_step), low), bytes_of)
            place = b.gep(out, [at], source_etype=I8)
            fill = [place, constant(I8, 0), size, constant(I1, 0)]
            intrinsic(b, "llvm.memset", fill, result=ir.VoidType(), overload=[place.type, I64])
        with counted(b, depth, step) as at:
            b.call(block, [*entry, low, high, at, minimum(b, b.add(at, step), depth)])
        b.ret(none)


class _Whole(Frame):
    def run(self, part: ir.Function, nest: Nest, columns: Loop) -> None:
        extent, work = self.size(columns.extent), self.size(operations(nest))
        step = constant(I64, columns.step)
        self.b.ret(
            self.b.call(share(self.b.module), [part, *self.function.args, extent, step, work])
        )
