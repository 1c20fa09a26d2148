"""Turning: the sums of a turned contraction, put where its result stands.

In: what the machine offers. Out: a function that all such contractions share, for one element type:

    void tdsl_turn_f32(ptr from, ptr to, i64 rows, i64 columns, i64 step)

`to[j*step + i] = from[i*columns + j]` for i < rows, j < columns. Left to others: who turns what
(`emit_packed`).
"""

from __future__ import annotations

from . import ir
from .instructions import I32, I64
from .llvm_loop import POINTER, VOID, below, counted
from .llvm_vector import constant, intrinsic, vector
from .packed_task import external
from .register_tile import Panels
from .register_transpose import transposed

SIGNATURE = ir.FunctionType(VOID, [POINTER] * 2 + [I64] * 3)


def shared_turn(module: ir.Module, tile: Panels) -> ir.Function:
    """The function as an external symbol."""
    return external(module, SIGNATURE, f"tdsl_turn_{tile.name}")


def add_turn(module: ir.Module, tile: Panels) -> None:
    function = shared_turn(module, tile)
    function.attributes.add("nounwind")
    source, to, rows, columns, step = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    wide, align = vector(tile.element, tile.lanes), constant(I32, tile.bytes)
    lanes, none = constant(I64, tile.lanes), constant(I64, 0)

    def count(at: ir.Value, end: ir.Value, left: ir.Value) -> ir.Value:
        """The mask of `left` lanes, of none from `end` on."""
        return below(b, tile.lanes, b.select(b.icmp_signed("<", at, end), left, none))

    with counted(b, rows, lanes) as i, counted(b, columns, lanes) as j:
        block: list[ir.Value] = []
        for k in range(tile.lanes):
            at = b.add(i, constant(I64, k))
            p = b.gep(source, [b.add(b.mul(at, columns), j)], source_etype=tile.element)
            mask = count(at, rows, b.sub(columns, j))
            block.append(
                intrinsic(
                    b, "llvm.masked.load", [p, align, mask, constant(wide, 0)],
                    result=wide, overload=[wide, POINTER],
                )
            )  # fmt: skip
        for k, x in enumerate(transposed(b, block)):
            at = b.add(j, constant(I64, k))
            p = b.gep(to, [b.add(b.mul(at, step), i)], source_etype=tile.element)
            intrinsic(
                b, "llvm.masked.store", [x, p, align, count(at, columns, b.sub(rows, i))],
                result=VOID, overload=[wide, POINTER],
            )  # fmt: skip
    b.ret_void()
