"""Loops and masks of code that no nest says: over counts that are known when it runs.

In: a builder. Out: code at its end. Left to others: loops over a nest's indices (`frame`,
`target_cpu`).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from . import ir
from .instructions import I32, I64
from .llvm_vector import constant, intrinsic, vector

POINTER = ir.PointerType()
VOID = ir.VoidType()


@contextmanager
def counted(b: ir.IRBuilder, stop: ir.Value, step: ir.Value, start: ir.Value | None = None
            ) -> Iterator[ir.Value]:  # fmt: skip
    """A loop of any builder: the index from `start` (0) below `stop`; runs zero times, too."""
    start = constant(I64, 0) if start is None else start
    before = b.block
    inside, after = b.append_basic_block("for"), b.append_basic_block("end")
    b.cbranch(b.icmp_signed("<", start, stop), inside, after)
    b.position_at_end(inside)
    at = b.phi(I64)
    at.add_incoming(start, before)
    yield at
    further = b.add(at, step)
    at.add_incoming(further, b.block)
    b.cbranch(b.icmp_signed("<", further, stop), inside, after)
    b.position_at_end(after)


def minimum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    return intrinsic(b, "llvm.smin", [x, y])


def below(b: ir.IRBuilder, lanes: int, count: ir.Value) -> ir.Value:
    """The mask of the first `count` lanes."""
    numbers = ", ".join(f"i64 {lane}" for lane in range(lanes))
    numbered = ir.FormattedConstant(vector(I64, lanes), f"<{numbers}>")
    return b.icmp_signed("<", numbered, spread(b, count, lanes))


def spread(b: ir.IRBuilder, x: ir.Value, lanes: int) -> ir.Value:
    """`x` in every lane."""
    poison = ir.Constant(vector(x.type, lanes), ir.Undefined)
    zeros = ir.Constant(vector(I32, lanes), [0] * lanes)
    return b.shuffle_vector(b.insert_element(poison, x, constant(I32, 0)), poison, zeros)
