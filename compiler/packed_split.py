"""Long sums of few results: they are made in parts, which are added up in order.

In: a contraction's sizes. Out: in how many parts its sums are made, and code that adds these up.
Left to others: who makes a part (`packed_blocks`).

Threads that share out few rows or columns each pack the other operand whole; by parts of the sums
they share both. The number of parts depends on the sizes alone, so the bits do not depend on the
number of threads; and the error of a sum in parts does not grow with its length.
"""

from __future__ import annotations

from collections.abc import Callable

from . import ir
from .dims import Dim, product
from .instructions import I32, I64
from .llvm_loop import POINTER, VOID, below, counted, minimum
from .llvm_vector import constant, intrinsic, vector
from .packed import Contraction
from .register_tile import Panels

MOST_RESULTS = 1 << 14
"""Results of a contraction whose sums are made in parts."""

PART = 1024
"""Terms that a part has at least."""

MOST_PARTS = 16


def part_count(b: ir.IRBuilder, size: Callable[[Dim], ir.Value], c: Contraction) -> ir.Value:
    """How many parts the sums are made in: 1 if they are not."""
    one = constant(I64, 1)
    if c.batch or c.window is not None or c.strip is not None:
        return one
    outer, last = (one, *(size(loop.extent) for loop in c.left.reduced[:2]))[-2:]
    shared = b.select(b.icmp_signed(">", outer, one), outer, last)
    results = size(product((c.rows.extent, c.columns.extent)))
    parts = minimum(b, b.sdiv(size(c.depth), constant(I64, PART)), constant(I64, MOST_PARTS))
    parts = intrinsic(b, "llvm.smax", [minimum(b, parts, shared), one])
    few = b.icmp_signed("<=", results, constant(I64, MOST_RESULTS))
    return b.select(few, parts, one)


def part_bytes(
    b: ir.IRBuilder, size: Callable[[Dim], ir.Value], c: Contraction, shape: Panels
) -> ir.Value:
    """Memory for all parts."""
    parts = part_count(b, size, c)
    results = size(product((c.rows.extent, c.columns.extent)))
    room = b.mul(b.mul(parts, results), constant(I64, shape.bytes))
    several = b.icmp_signed(">", parts, constant(I64, 1))
    return b.select(several, room, constant(I64, 0))


def add_up(module: ir.Module, tile: Panels) -> ir.Function:
    """`(parts, out, count, m, n, row)`: `out[i*row + j]` = Σ `parts[(p*m + i)*n + j]` over p, in
    order."""
    f = ir.Function(module, ir.FunctionType(VOID, [POINTER] * 2 + [I64] * 4), "tdsl_add_up")
    f.linkage = "internal"
    f.attributes.add("nounwind")
    parts, out, count, m, n, row = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    wide, align = vector(tile.element, tile.lanes), constant(I32, tile.bytes)
    one, whole = constant(I64, 1), b.mul(m, n)
    total = b.alloca(wide)
    with counted(b, m, one) as i, counted(b, n, constant(I64, tile.lanes)) as j:
        mask = below(b, tile.lanes, b.sub(n, j))
        b.store(constant(wide, 0), total)
        first = b.add(b.mul(i, n), j)
        with counted(b, count, one) as p:
            at = b.gep(parts, [b.add(b.mul(p, whole), first)], source_etype=tile.element)
            x = intrinsic(
                b, "llvm.masked.load", [at, align, mask, constant(wide, 0)],
                result=wide, overload=[wide, POINTER],
            )  # fmt: skip
            b.store(b.fadd(b.load(total, typ=wide), x), total)
        to = b.gep(out, [b.add(b.mul(i, row), j)], source_etype=tile.element)
        intrinsic(
            b, "llvm.masked.store", [b.load(total, typ=wide), to, align, mask],
            result=VOID, overload=[wide, POINTER],
        )  # fmt: skip
    b.ret_void()
    return f
