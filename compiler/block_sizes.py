"""How large blocks are: of indices that are walked in some, all of about the same size.

In: sizes, as LLVM values. Out: those of blocks. Left to others: who walks them (`packed_blocks`).
"""

from __future__ import annotations

from collections.abc import Sequence

from . import ir
from .fork_join import up
from .instructions import I64
from .llvm_vector import constant, intrinsic
from .packed import DEPTH


def even(b: ir.IRBuilder, size: ir.Value, most: ir.Value, multiple: int) -> ir.Value:
    """A block's size: at most `most`, a multiple of `multiple`, about the same in all."""
    one, by = constant(I64, 1), constant(I64, multiple)
    many = intrinsic(b, "llvm.smax", [up(b, size, most), one])
    each = b.mul(up(b, up(b, size, many), by), by)
    return intrinsic(b, "llvm.smax", [each, one])


def depth_blocks(
    b: ir.IRBuilder,
    inner: ir.Value,
    depths: Sequence[ir.Value],
    multiple: int = 1,
) -> tuple[ir.Value, ir.Value]:
    """Of the two outer reduced indices, where all others have `inner` values together: how many of
    each are packed at a time; a multiple, if the second one stands alone."""
    outer, last = depths
    one = constant(I64, 1)
    room = intrinsic(b, "llvm.smax", [b.sdiv(constant(I64, DEPTH), inner), one])
    whole = b.icmp_signed("<=", last, room)
    apart = even(b, last, room, 1)
    if multiple > 1:  # of which DEPTH is one
        apart = b.select(b.icmp_signed("==", inner, one), even(b, last, room, multiple), apart)
    block = b.select(whole, last, apart)
    several = b.sdiv(room, intrinsic(b, "llvm.smax", [last, one]))
    return even(b, outer, b.select(whole, several, one), 1), block
