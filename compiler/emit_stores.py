"""Stores of a nest: a value of every point of the tile goes where its buffer stands.

In: a `Store` of the loop IR. Out: LLVM stores: of rows, of scattered lanes, of scalars. Left to
others: the value (`emit_values`), when it is stored (`emit`, `emit_reductions`).
"""

from __future__ import annotations

import llvmlite.ir as ir

from . import instructions as ins
from .emit_values import Values
from .instructions import I32, memory_type
from .llvm_vector import constant, intrinsic
from .loops import Store


class Stores(Values):
    def store(self, s: Store) -> None:
        b = self.b
        element = memory_type(s.buffer.dtype)
        every = list(self.copies_of(self.loops))
        if s.is_update:  # a copy that repeats the last point must read what the others read
            for at in every:
                self.value(s.value, at)
        for at in every:
            x = self.value(s.value, at)
            address = self.address(s.buffer, s.offset, at)
            if self.lane_index is None:
                x = ins.to_memory(b, x, s.buffer.dtype)
                b.store(x, address, align=self.align(element))
                continue
            x = ins.to_memory(b, self.splat(x), s.buffer.dtype)
            step = s.offset.coefficient(self.lane_index)
            mask = self.lane_mask(at)
            if step is not None and step.const == 1:
                self.store_row(x, address, mask)
                continue
            assert step is not None
            pointers = b.gep(address, [self._steps(step)], source_etype=element)
            pointers.type = ir.VectorType(address.type, self.lanes)
            full = self.splat(constant(ins.I1, 1)) if mask is None else mask
            intrinsic(
                b,
                "llvm.masked.scatter",
                [x, pointers, constant(I32, self.align(element)), full],
                result=ir.VoidType(),
                overload=[x.type, pointers.type],
            )
