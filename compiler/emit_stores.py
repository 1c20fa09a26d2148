"""Stores of a nest: a value of every point of the tile goes where its buffer stands.

In: a `Store` of the loop IR. Out: LLVM stores: of rows, of scattered lanes, of scalars. Left to
others: the value (`emit_values`), when it is stored (`emit`, `emit_reductions`).
"""

from __future__ import annotations

from collections.abc import Sequence

from . import instructions as ins
from . import ir
from .emit_values import Values
from .instructions import I8, I32, I64, memory_type
from .llvm_vector import ask_for, constant, intrinsic
from .loops import Ahead, Load, Store, postorder
from .weave import side_by_side

_Row = tuple[ir.Value, ir.Value, ir.Value | None]
"""A vector, where its first lane goes, and which lanes do; None if all do."""


def together(stores: Sequence[Store]) -> list[list[Store]]:
    """In groups of which none reads what another one writes."""
    groups: list[list[Store]] = []
    for s in stores:
        read = {x.buffer.name for x in postorder([s.value]) if isinstance(x, Load)}
        if not groups or read & {x.buffer.name for x in groups[-1]}:
            groups.append([])
        groups[-1].append(s)
    return groups


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

    def stores(self, several: Sequence[Store]) -> None:
        """All values, then the stores: none reads what another one writes."""
        b = self.b
        rows: list[_Row] = []
        every = list(self.copies_of(self.loops))
        # before the stores: a copy that repeats the last point must read what the others read
        with side_by_side(b) as copy:
            for at in every:
                copy()
                for s in several:
                    self.value(s.value, at)
        for s in several:
            element = memory_type(s.buffer.dtype)
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
                    rows.append((x, address, mask))
                    continue
                assert step is not None
                self.store_rows(rows)
                rows = []
                pointers = b.gep(address, [self._steps(step)], source_etype=element)
                full = self.splat(constant(ins.I1, 1)) if mask is None else mask
                intrinsic(
                    b,
                    "llvm.masked.scatter",
                    [x, pointers, constant(I32, self.align(element)), full],
                    result=ir.VoidType(),
                    overload=[x.type, pointers.type],
                )
        self.store_rows(rows)

    def store_rows(self, rows: Sequence[_Row]) -> None:
        """Under masks only where these leave some lanes out, unless masks cost nothing: such a
        store is many instructions (AMD's cores take 12 cycles for 8 lanes)."""
        masked = any(mask is not None for _, _, mask in rows)
        whole = self.all_lanes() if masked else None
        if whole is None:
            for x, address, mask in rows:
                self.store_row(x, address, mask)
            return
        with self.b.if_else(whole) as (all_of_them, some):
            with all_of_them:
                for x, address, _ in rows:
                    self.store_row(x, address, None)
            with some:
                for x, address, mask in rows:
                    self.store_row(x, address, mask)
