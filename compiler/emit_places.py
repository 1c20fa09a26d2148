"""Places as code: where a left operand's rows stand, and by how much every place of the sum moves
them.

In: a `Contraction` with `Places`. Out: a function that lists them over stated ranges, for
`microkernel_places`. Left to others: when that is done (`packed_blocks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from . import ir
from .dims import dim
from .fork_join import up
from .frame import Frame
from .instructions import I1, I64
from .llvm_loop import counted
from .llvm_vector import constant
from .loops import Linear
from .packed import Contraction, Places
from .packed_task import stack
from .register_tile import Panels
from .target import Target


def emit_places(
    target: Target,
    module: ir.Module,
    c: Contraction,
    places: Places,
    dims: Sequence[str],
    param_count: int,
    tile: Panels,
) -> ir.Function:
    """`(…, ranges, memory)`, the ranges those of the left operand."""
    whole = _Places(target, module, c.left.nest, dims, param_count)
    whole.run(c, places, tile)
    return whole.function


class _Places(Frame):
    def run(self, c: Contraction, places: Places, tile: Panels) -> None:
        b, one = self.b, constant(I64, 1)
        memory, offset = self.function.args[-1], places.load.offset
        *outside, _ = self.nest.loops
        for loop in (*outside, *places.rows, *c.left.reduced):
            self.size(loop.extent)  # here, where all loops see it
        for _, step in offset.terms:
            self.size(step)
        start = self.address(places.load.buffer, Linear((), offset.const), {})
        for loop in outside:
            start = b.gep(
                start,
                [self.moved({loop.index: self.range_of(loop)[0]}, offset)],
                source_etype=tile.element,
            )

        count = one
        for loop in c.left.reduced:
            low, high = self.range_of(loop)
            count = b.mul(count, b.sub(high, low))
        with ExitStack() as loops:
            values: dict[int, ir.Value] = {}
            place = constant(I64, 0)
            for loop in c.left.reduced:
                low, high = self.range_of(loop)
                r = loops.enter_context(counted(b, high, one, low))
                values[loop.index] = r
                place = b.add(b.mul(place, b.sub(high, low)), b.sub(r, low))
            by = b.mul(self.moved(values, offset), constant(I64, tile.bytes))
            b.store(by, b.gep(memory, [place], source_etype=I64))

        self.rows(places, b.gep(memory, [count], source_etype=I64), start, tile)
        b.ret(constant(I64, 0))

    def rows(self, places: Places, to: ir.Value, start: ir.Value, tile: Panels) -> None:
        """Where each row starts; indices are counted, which takes no division for every row."""
        b, one, none = self.b, constant(I64, 1), constant(I64, 0)
        low, high = self.range_of(self.nest.loops[-1])
        rows = b.sub(high, low)
        first, rest = dict[int, ir.Value](), low
        for loop in reversed(places.rows[1:]):
            size = self.size(loop.extent)
            first[loop.index], rest = b.srem(rest, size), b.sdiv(rest, size)
        first[places.rows[0].index] = rest
        digits = stack(b, len(places.rows))
        for k, loop in enumerate(places.rows):
            b.store(first[loop.index], b.gep(digits, [constant(I64, k)], source_etype=I64))
        at = b.alloca(I64)
        b.store(self.moved(first, places.load.offset), at)

        def put(r: ir.Value) -> None:
            row = b.gep(start, [b.load(at, typ=I64)], source_etype=tile.element)
            b.store(row, b.gep(to, [r], source_etype=I64))

        with counted(b, rows, one) as r:
            put(r)
            by, carry = none, constant(I1, 1)
            for k, loop in reversed(list(enumerate(places.rows))):
                step = self.size(places.load.offset.coefficient(loop.index) or dim(0))
                size = self.size(loop.extent)
                digit = b.gep(digits, [constant(I64, k)], source_etype=I64)
                x = b.add(b.load(digit, typ=I64), b.zext(carry, I64))
                by = b.add(by, b.select(carry, step, none))
                carry = b.and_(carry, b.icmp_signed("==", x, size))
                b.store(b.select(carry, none, x), digit)
                by = b.sub(by, b.select(carry, b.mul(size, step), none))
            # past the last one, rows that fill a tile are like it
            further = b.icmp_signed("<", b.add(r, one), rows)
            b.store(b.add(b.load(at, typ=I64), b.select(further, by, none)), at)
        height = constant(I64, tile.rows)
        with counted(b, b.mul(up(b, rows, height), height), one, rows) as r:
            put(r)

    def moved(self, values: Mapping[int, ir.Value], offset: Linear) -> ir.Value:
        """How many elements further these indices read."""
        total = constant(I64, 0)
        for k, step in offset.terms:
            if k in values:
                total = self.b.add(total, self.b.mul(values[k], self.size(step)))
        return total
