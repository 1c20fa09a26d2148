"""Whether matrix tiles may multiply two operands of bf16: by how small and how large they are.

In: values, as code. Out: code that looks at them. Left to others: packing (`packed_tiles`), strips
(`microkernel_strip_tiles`).

A product of tiles takes subnormal numbers for 0. They do not occur where the least magnitudes of
both operands, zeros apart, are at least 2^x and 2^y with x + y ≥ -112: every product, so every sum
of some, rounded or not, is a multiple of 2^(x-7) · 2^(y-7), at least 2^-126 if it is not 0. Where
they are too small, vectors do the work instead.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import ir
from .entry_builder import not_hot
from .instructions import I1, I16, I64
from .llvm_loop import POINTER
from .llvm_vector import constant, intrinsic, vector
from .microkernel_tiles import SIDE
from .packed_task import FINITE, LEFT, RIGHT, word

_HALVES = vector(I16, 2 * SIDE)
_INFINITE = 0x7F80  # the magnitude of infinity
_LEAST_EXPONENTS = 254 - 112  # of both together, biased

NO_EXTREMES = 0xFFFF
"""What the least magnitudes start with."""


class Extremes:
    """The least and the greatest magnitude of bf16, as code that looks at them."""

    def __init__(self, b: ir.IRBuilder) -> None:
        self.b = b
        self.least, self.most = b.alloca(_HALVES), b.alloca(_HALVES)
        b.store(constant(_HALVES, -1), self.least)
        b.store(constant(_HALVES, 0), self.most)

    def look_at(self, pairs: Sequence[ir.Value]) -> None:
        b = self.b
        sizes = [b.and_(b.bitcast(x, _HALVES), constant(_HALVES, 0x7FFF)) for x in pairs]
        lesser = [b.sub(x, constant(_HALVES, 1)) for x in sizes]  # zeros are the largest ones then
        for name, memory, found in (("umin", self.least, lesser), ("umax", self.most, sizes)):
            x = _tree(b, f"llvm.{name}", [b.load(memory, typ=_HALVES), *found])
            b.store(x, memory)

    def packed(self) -> ir.Value:
        """Of all, in one word: the least magnitude less 1, and the greatest from bit 16 on."""
        b, ends = self.b, []
        for name, memory in (("umin", self.least), ("umax", self.most)):
            x = b.load(memory, typ=_HALVES)
            x = intrinsic(b, f"llvm.vector.reduce.{name}", [x], result=I16)
            ends.append(b.zext(x, I64))
        return b.or_(ends[0], b.shl(ends[1], constant(I64, 16)))


def _tree(b: ir.IRBuilder, name: str, values: list[ir.Value]) -> ir.Value:
    while len(values) > 1:
        pairs = zip(values[::2], values[1::2], strict=False)
        rest = values[-1:] if len(values) % 2 else []
        values = [intrinsic(b, name, [x, y]) for x, y in pairs] + rest
    return values[0]


def fit(module: ir.Module) -> ir.Function:
    """`(task, which, found, extremes) -> i1`: whether tiles may multiply what has been found of an
    operand, its `Extremes`, by what the other one has so far."""
    name = "tdsl_tiles_fit"
    known: ir.Function | None = module.globals.get(name)
    if known is not None:
        return known
    f = ir.Function(module, ir.FunctionType(I1, [POINTER, I64, I64, POINTER]), name)
    f.linkage = "internal"
    not_hot(f)
    task, which, both, extremes = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    least, most = b.and_(both, constant(I64, 0xFFFF)), b.lshr(both, constant(I64, 16))
    finite = b.icmp_signed("<", most, constant(I64, _INFINITE))
    is_left = b.icmp_signed("==", which, constant(I64, 0))
    wanted = b.select(is_left, word(b, task, LEFT + FINITE), word(b, task, RIGHT + FINITE))
    fine = b.or_(finite, b.icmp_signed("==", wanted, constant(I64, 0)))
    here = b.gep(extremes, [which], source_etype=I64)
    least = intrinsic(b, "llvm.umin", [least, b.load(here, typ=I64)])
    b.store(least, here)
    exponents = []
    for k in range(2):
        x = b.add(word(b, extremes, k), constant(I64, 1))  # of nothing but zeros: very large
        exponents.append(b.lshr(x, constant(I64, 7)))
        fine = b.and_(fine, b.icmp_signed("!=", exponents[-1], constant(I64, 0)))
    enough = b.icmp_signed(">=", b.add(*exponents), constant(I64, _LEAST_EXPONENTS))
    b.ret(b.and_(fine, enough))
    return f
