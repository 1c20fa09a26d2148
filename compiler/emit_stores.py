"""Stores of a nest: a value of every point of the tile goes where its buffer stands.

In: a `Store` of the loop IR. Out: LLVM stores: of rows, of scattered lanes, of scalars. Left to
others: the value (`emit_values`), when it is stored (`emit`, `emit_reductions`).
"""

from __future__ import annotations

from . import instructions as ins
from . import ir
from .emit_values import Values
from .instructions import I8, I32, I64, memory_type
from .llvm_vector import ask_for, constant, intrinsic
from .loops import Ahead, Store


class Stores(Values):
    def further_on(self, x: Ahead) -> ir.Value:
        """How many bytes further on the caller will come back for the same place; 0 if it will
        not."""
        return self.once(("ahead", x.buffer.name), lambda: self._further_on(x))

    def _further_on(self, x: Ahead) -> ir.Value:
        b = self.b
        low, high = self.ranges[x.rows]
        step = x.offset.coefficient(x.rows)
        assert step is not None
        by = b.mul(b.sub(high, low), self.size(step * x.buffer.dtype.size))
        last = next(k for k in self.nest.every_loop if k.index == x.rows)
        return b.select(b.icmp_signed("<", high, self.size(last.extent)), by, constant(I64, 0))

    def ask_ahead(self) -> None:
        """Of the second-level cache: a block of rows is longer than the first."""
        b = self.b
        for x in self.nest.ahead:
            for at in self.copies_of(k for k, _ in x.offset.terms):
                place = self.address(x.buffer, x.offset, at)
                place = b.gep(place, [self.further_on(x)], source_etype=I8)
                ask_for(b, place, 2)

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
            full = self.splat(constant(ins.I1, 1)) if mask is None else mask
            intrinsic(
                b,
                "llvm.masked.scatter",
                [x, pointers, constant(I32, self.align(element)), full],
                result=ir.VoidType(),
                overload=[x.type, pointers.type],
            )
