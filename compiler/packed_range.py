"""Direct routines that threads share out: by ranges of the result's rows, or of its columns.

In: what a part is to do. Out: a function with the arguments of `packed_direct`'s routines, and what
its parts are given. Left to others: what they do (`packed_rows`, `packed_columns`).
"""

from __future__ import annotations

from . import ir
from .entry_builder import not_hot
from .fork_join import share, threads, up
from .instructions import I64
from .llvm_loop import POINTER
from .llvm_vector import constant, intrinsic
from .packed_task import (
    AT_COLUMNS,
    AT_LAST,
    AT_ROWS,
    DIRECT_CALL,
    DIRECT_RANGE,
    EXTENT,
    RECORD,
    word,
)
from .records import dataclass

PARTS = 2
"""Of each thread, at most: shorter pieces of an operand's rows take longer to come."""


@dataclass(frozen=True, eq=False)
class Part:
    """The function of one range, from `low` up to `high`, which `b` writes: where the operands and
    the result start, and the loops' records."""

    b: ir.IRBuilder
    operands: tuple[ir.Value, ir.Value, ir.Value]
    loops: ir.Value
    low: ir.Value
    high: ir.Value

    def record(self, place: int, which: int) -> ir.Value:
        return _record(self.b, self.loops, place, which)


def part_of(module: ir.Module, name: str) -> Part:
    """The part of the routine of that name."""
    f = ir.Function(module, DIRECT_RANGE, f"{name}_part")
    f.linkage = "internal"
    f.attributes.add("nounwind")
    operands, loops, _, _, low, high = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    left, right, out = (word(b, operands, k, POINTER) for k in range(3))
    return Part(b, (left, right, out), loops, low, high)


def shared_out(part: Part, name: str, along: int, least: int) -> ir.Function:
    """The routine: ranges of `along`, of at least so many values."""
    module = part.b.module
    f = ir.Function(module, DIRECT_CALL, name)
    f.linkage = "internal"
    not_hot(f)
    b = ir.IRBuilder(f.append_basic_block("entry"))
    m, n, k = (_record(b, f.args[1], place, EXTENT) for place in (AT_ROWS, AT_COLUMNS, AT_LAST))
    work = b.mul(constant(I64, 2), b.mul(m, b.mul(n, k)))
    extent = m if along == AT_ROWS else n
    parts = b.mul(b.load(threads(module), typ=I64), constant(I64, PARTS))
    step = intrinsic(b, "llvm.smax", [up(b, extent, parts), constant(I64, least)])
    b.ret(b.call(share(module), [part.b.function, *f.args, extent, step, work]))
    return f


def _record(b: ir.IRBuilder, loops: ir.Value, place: int, which: int) -> ir.Value:
    return word(b, loops, RECORD * place + which)
