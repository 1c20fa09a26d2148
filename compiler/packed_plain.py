"""Contractions of plain operands: the routines that pack them.

In: what the machine offers. Out: functions of the module that all contractions share, for one
element type:

    void tdsl_pack_left(ptr task, ptr ranges, ptr panels), …_left_transposed, …_right, …

An operand is plain if nothing but strides sets it apart from others: these are a task's
(`packed_task`). A nest over named strides says what is done; left to others: the emission, which is
that of kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

import llvmlite.ir as ir

from .dims import Dim, dim, named
from .dtypes import F32, F64
from .emit_panels import Pack
from .entry_builder import not_hot
from .frame import Target
from .instructions import I64
from .llvm_vector import constant
from .loops import Accumulator, Buffer, Kind, Linear, Load, Loop, Nest, Reduce, Result
from .microkernel import POINTER, Panels
from .packed import Operand
from .packed_task import (
    AT_COLUMNS,
    AT_LAST,
    AT_OUTER,
    AT_ROWS,
    DIM_NAMES,
    LEFT_START,
    LEFT_STEP,
    LOOP_NAMES,
    RECORDS,
    RIGHT_START,
    RIGHT_STEP,
    STEP,
    external,
    stack,
    suffix,
    sum_of_batches,
    word,
)


def add_packs(target: Target, module: ir.Module, tile: Panels) -> None:
    for transposed in (False, True):
        for side, width in (("left", tile.rows), ("right", tile.columns)):
            _pack(target, module, tile, side, width, transposed)


def shared_pack(module: ir.Module, tile: Panels, side: str, transposed: bool) -> ir.Function:
    """The routine that packs a plain operand, as an external symbol."""
    return external(module, STEP, _pack_name(tile, side, transposed))


def _pack_name(tile: Panels, side: str, transposed: bool) -> str:
    return f"tdsl_pack_{side}{'_transposed' if transposed else ''}_{suffix(tile)}"


def _pack(
    target: Target, module: ir.Module, tile: Panels, side: str, width: int, transposed: bool
) -> None:
    """The packing of a read whose strides are the task's."""
    name = _pack_name(tile, side, transposed)
    operand = _plain_operand(tile, side, transposed, f"{name}_ranges")
    own = Pack(target, module, operand, DIM_NAMES, 1, width, tile.lanes).run()
    f = ir.Function(module, STEP, name)
    not_hot(f)
    task, ranges, memory = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    first, step = (LEFT_START, LEFT_STEP) if side == "left" else (RIGHT_START, RIGHT_STEP)
    moved = sum_of_batches(b, task, ranges, step)
    start = b.gep(word(b, task, first, POINTER), [moved], source_etype=tile.element)
    args = stack(b, 1)
    b.store(start, args)
    none = ir.Constant(POINTER, None)
    sizes = b.gep(task, [constant(I64, RECORDS)], source_etype=I64)
    bounds = [word(b, ranges, 2 * place + end) for place in operand.nest.ranged for end in (0, 1)]
    b.call(own, [args, sizes, none, none, *bounds, memory])
    b.ret_void()


def _plain_operand(tile: Panels, side: str, transposed: bool, name: str) -> Operand:
    along = AT_ROWS if side == "left" else AT_COLUMNS
    loops = [plain_loop(k, Kind.SERIAL) for k in (along, AT_OUTER, AT_LAST)]
    value = plain_load(tile, side, 0, loops, AT_LAST if transposed else along)
    total = Accumulator(Result("panels", value.dtype), "sum", value, None, None)
    nest = Nest(
        name,
        "",
        (),
        (loops[0],),
        (Reduce(tuple(loops[1:]), (total,)),),
        dict(enumerate(LOOP_NAMES)),
        (along, AT_OUTER, AT_LAST),
        Buffer("panels", value.dtype, (), "block", 0, dim(0)),
    )
    return Operand(nest, along, value, None, transposed, False)


def plain_load(
    tile: Panels, side: str, position: int, loops: Sequence[Loop], contiguous: int | None
) -> Load:
    dtype = F32 if tile.bytes == F32.size else F64
    buffer = Buffer(side, dtype, (), "param", position, dim(0))
    at = Linear(tuple((x.index, plain_step(x.index, side, contiguous)) for x in loops), dim(0))
    return Load(buffer, at, (), None, (), True, dtype)


def plain_loop(place: int, kind: Kind) -> Loop:
    return Loop(place, named(f"{LOOP_NAMES[place]}_extent"), kind)


def plain_step(place: int, what: str, contiguous: int | None) -> Dim:
    return dim(1) if place == contiguous else named(f"{LOOP_NAMES[place]}_{what}")
