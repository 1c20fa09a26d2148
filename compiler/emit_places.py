"""Places as code: where a left operand's rows stand, and by how much every place of the sum moves
them.

In: a `Contraction` with `Places`. Out: a function that lists them over stated ranges, for
`microkernel_places`. Left to others: when that is done (`packed_blocks`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from . import ir
from .fork_join import up
from .frame import Frame, Target
from .instructions import I64
from .llvm_vector import constant
from .loops import Linear
from .microkernel import Panels, counted, minimum
from .packed import Contraction, Places


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
        *outside, along = self.nest.loops
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

        low, high = self.range_of(along)
        rows = b.sub(high, low)
        height = constant(I64, tile.rows)
        last = b.sub(high, one)
        sizes = {loop.index: self.size(loop.extent) for loop in places.rows}
        with counted(b, b.mul(up(b, rows, height), height), one) as r:
            at = minimum(b, b.add(low, r), last)
            values = {}
            for loop in reversed(places.rows[1:]):
                size = sizes[loop.index]
                values[loop.index] = b.srem(at, size)
                at = b.sdiv(at, size)
            values[places.rows[0].index] = at
            row = b.gep(start, [self.moved(values, offset)], source_etype=tile.element)
            b.store(row, b.gep(memory, [b.add(count, r)], source_etype=I64))
        b.ret(constant(I64, 0))

    def moved(self, values: Mapping[int, ir.Value], offset: Linear) -> ir.Value:
        """How many elements further these indices read."""
        total = constant(I64, 0)
        for k, step in offset.terms:
            if k in values:
                total = self.b.add(total, self.b.mul(values[k], self.size(step)))
        return total
