"""Contractions of plain operands: the routines that pack them.

In: what the machine offers. Out: functions of the module that all contractions share, for one
dtype of operands (the panels of f16 and bf16 are f32):

    void tdsl_pack_left(ptr task, ptr ranges, ptr panels), …_left_transposed, …_right, …

An operand is plain if nothing but strides sets it apart from others: these are a task's
(`packed_task`). A nest over named strides says what is done; left to others: the emission, which is
that of kernels.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import ir
from .dims import Dim, dim, named
from .dtypes import F32, DType
from .emit_panels import Pack
from .entry_builder import not_hot
from .instructions import I64, memory_type
from .llvm_loop import POINTER
from .llvm_vector import constant
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
    Value,
)
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
    sum_of_batches,
    word,
)
from .register_tile import Panels
from .target import Target


def add_packs(target: Target, module: ir.Module, tile: Panels, d: DType) -> None:
    for transposed in (False, True):
        for side, width in (("left", tile.rows), ("right", tile.columns)):
            name = _pack_name(d, side, transposed)
            operand = _plain_operand(d, side, transposed, f"{name}_ranges")
            own = Pack(target, module, operand, DIM_NAMES, 1, width, tile.lanes).run()
            _pack(module, name, own, operand, d, side)


def shared_pack(module: ir.Module, d: DType, side: str, transposed: bool) -> ir.Function:
    """The routine that packs a plain operand of dtype `d`, as an external symbol."""
    return external(module, STEP, _pack_name(d, side, transposed))


def _pack_name(d: DType, side: str, transposed: bool) -> str:
    return f"tdsl_pack_{side}{'_transposed' if transposed else ''}_{d}"


def _pack(
    module: ir.Module, name: str, own: ir.Function, operand: Operand, d: DType, side: str
) -> None:
    """The packing of a read whose strides are the task's."""
    f = ir.Function(module, STEP, name)
    not_hot(f)
    task, ranges, memory = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    first, step = (LEFT_START, LEFT_STEP) if side == "left" else (RIGHT_START, RIGHT_STEP)
    moved = sum_of_batches(b, task, ranges, step)
    start = b.gep(word(b, task, first, POINTER), [moved], source_etype=memory_type(d))
    args = stack(b, 1)
    b.store(start, args)
    none = ir.Constant(POINTER, None)
    sizes = b.gep(task, [constant(I64, RECORDS)], source_etype=I64)
    bounds = [word(b, ranges, 2 * place + end) for place in operand.nest.ranged for end in (0, 1)]
    b.call(own, [args, sizes, none, none, *bounds, memory])
    b.ret_void()


def _plain_operand(d: DType, side: str, transposed: bool, name: str) -> Operand:
    along = AT_ROWS if side == "left" else AT_COLUMNS
    loops = [plain_loop(k, Kind.SERIAL) for k in (along, AT_OUTER, AT_LAST)]
    value = plain_load(d, side, 0, loops, AT_LAST if transposed else along)
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
    d: DType, side: str, position: int, loops: Sequence[Loop], contiguous: int | None
) -> Value:
    """As it is multiplied: in f32 if `d` has 16 bits."""
    buffer = Buffer(side, d, (), "param", position, dim(0))
    at = Linear(tuple((x.index, plain_step(x.index, side, contiguous)) for x in loops), dim(0))
    load = Load(buffer, at, (), None, (), True, d)
    return Apply("cast", (load,), F32) if d.is_half else load


def plain_loop(place: int, kind: Kind) -> Loop:
    return Loop(place, named(f"{LOOP_NAMES[place]}_extent"), kind)


def plain_step(place: int, what: str, contiguous: int | None) -> Dim:
    return dim(1) if place == contiguous else named(f"{LOOP_NAMES[place]}_{what}")
