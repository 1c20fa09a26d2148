"""Strips as code: one is filled, its places are listed, its memory is measured.

In: a `Contraction` with a `Strip`. Out: a function that fills it over stated ranges, and how many
values of the window one strip holds. Lines stand one after the other, whole vectors each; a table
in front of them says for every place of the sum where its values start (`microkernel_strip`). Left
to others: values (`emit_panels`), when a strip is filled (`packed_blocks`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial, reduce

from . import ir
from .block_sizes import depth_blocks
from .dims import Dim
from .dtypes import BOOL
from .emit_panels import Pack
from .frame import Frame
from .instructions import I1, I8, I64
from .llvm_loop import counted, minimum
from .llvm_vector import constant, intrinsic
from .loops import Loop
from .microkernel_strip import COUNT, LINE, START, TABLE
from .packed import Contraction, Coordinate, Strip
from .register_tile import ALIGNMENT, Panels
from .target import Target

FEW = 4
"""Vectors of a short line."""

BYTES = 1 << 19
"""Of a strip: it is read once for every panel of the left operand, and stays in a core's own cache.
A single line of the window may take more."""


def emit_strip(
    target: Target,
    module: ir.Module,
    c: Contraction,
    strip: Strip,
    dims: Sequence[str],
    param_count: int,
    tile: Panels,
) -> ir.Function:
    """`(…, ranges, memory)`, the ranges those of the right operand."""
    lines = _Lines(target, module, strip.operand, dims, param_count, tile.lanes, tile.lanes)
    lines.has_lines = strip.lines is not None
    nest = replace(c.right.nest, name=f"{c.right.nest.name}_places")
    whole = _Whole(target, module, nest, dims, param_count)
    whole.run(lines.run(), c, strip, tile)
    return whole.function


def _length(b: ir.IRBuilder, count: ir.Value, lanes: int, has_lines: bool) -> ir.Value:
    """Of a line, in elements: whole vectors. What stands far apart in a strip should not share the
    places of a cache: an odd number of lines, or of vectors where there are none, follow each
    other."""
    vectors = b.sdiv(b.add(count, constant(I64, lanes - 1)), constant(I64, lanes))
    vectors = vectors if has_lines else b.or_(vectors, constant(I64, 1))
    return b.mul(vectors, constant(I64, lanes))


class _Lines(Pack):
    """The lines of a strip."""

    has_lines = False

    def start_values(self) -> None:
        super().start_values()
        low, high = self.range_of(self.nest.loops[-1])
        self.length = _length(self.b, self.b.sub(high, low), self.width, self.has_lines)

    def fill(self) -> None:
        """Tests of a column are made once for all lines, where these are short: long ones are
        filled one after the other, which memory likes better."""
        *outside, along = self.nest.loops
        if not self.is_computed(along, BOOL):
            super().fill()
            return
        few = replace(along, copies=FEW)
        is_short = self.b.icmp_signed("<=", self.length, constant(I64, FEW * self.width))
        with self.b.if_else(is_short) as (short, long):
            with short, self.scope():
                put = partial(self.put_some, loop=few)
                loops = (*outside, few)
                self.target.output_loops(self, loops, lambda: self.walk(0, None, put))
            self.limits.clear()  # which stand in that branch
            with long, self.scope():
                super().fill()

    def put_some(self, position: ir.Value, loop: Loop) -> None:
        """All vectors of a line, of which there may be fewer than `loop` has."""
        to = self.place(position)
        for copy in range(loop.copies):
            x = self.element({loop.index: copy})
            at = constant(I64, copy * loop.lanes)
            there = None if copy == 0 else self.b.icmp_signed("<", at, self.length)
            self.store_row(x, self.moved(to, at), there)

    def count(self, loop: Loop) -> ir.Value:
        n = super().count(loop)
        is_line = self.has_lines and loop is self.statement.loops[-1]
        return self.b.or_(n, constant(I64, 1)) if is_line else n

    def place(self, position: ir.Value) -> ir.Value:
        b, along = self.b, self.nest.loops[-1]
        within = b.sub(self.base[along.index], self.first)
        return self.moved(self.function.args[-1], b.add(b.mul(position, self.length), within))

    def between_panels(self) -> ir.Value:
        return constant(I64, self.width)  # vectors of a line stand side by side


class _Whole(Frame):
    """The function that has the lines filled, and lists the places."""

    def run(self, lines: ir.Function, c: Contraction, strip: Strip, tile: Panels) -> None:
        b, one = self.b, constant(I64, 1)
        memory = self.function.args[-1]
        reduced = c.right.reduced
        ranges = {x.kept.index: self.hull(x) for x in (strip.columns, strip.lines) if x is not None}
        counts = {x.index: self.length_of(x) for x in (*reduced, *c.right.nest.loops)}
        low, high = ranges[strip.columns.kept.index]
        length = _length(b, b.sub(high, low), tile.lanes, strip.lines is not None)
        number = one
        if strip.lines is not None:
            low, high = ranges[strip.lines.kept.index]
            number = b.or_(b.sub(high, low), one)
        others = [x for x in strip.operand.reduced if x.index not in ranges]
        total = reduce(b.mul, (counts[x.index] for x in others), b.mul(number, length))
        places = reduce(b.mul, (counts[x.index] for x in reduced))
        start = b.mul(b.add(places, constant(I64, TABLE)), constant(I64, 8))
        start = _aligned(b, start)
        at = b.gep(memory, [start], source_etype=I8)
        element = constant(I64, tile.bytes)
        if strip.operand.finite:  # lines that are there for their number only, too
            fill = [at, constant(I8, 0), b.mul(total, element), constant(I1, 0)]
            intrinsic(b, "llvm.memset", fill, result=ir.VoidType(), overload=[at.type, I64])
        bounds = [
            x
            for loop in (*strip.operand.nest.loops, *strip.operand.reduced)
            for x in ranges.get(loop.index, self.range_of(loop))
        ]
        b.call(lines, [*self.function.args[: -1 - 2 * len(self.nest.ranged)], *bounds, at])

        line = dict(strip.lines.steps).get(c.window, 0) if strip.lines and c.window else 0
        words = {LINE: b.mul(b.mul(length, element), constant(I64, line)), START: start,
                 COUNT: total}  # fmt: skip
        for k, x in words.items():
            b.store(x, b.gep(memory, [constant(I64, k)], source_etype=I64))
        with ExitStack() as loops:
            values: dict[int, ir.Value] = {}
            place = constant(I64, 0)
            for loop in reduced:
                low, high = self.range_of(loop)
                r = loops.enter_context(counted(b, high, one, low))
                values[loop.index] = r
                place = b.add(b.mul(place, counts[loop.index]), b.sub(r, low))
            position = constant(I64, 0)
            for loop in others:
                here = b.sub(values[loop.index], self.range_of(loop)[0])
                position = b.add(b.mul(position, counts[loop.index]), here)
            if strip.lines is not None:
                position = b.mul(position, number)
                position = b.add(position, self.first_place(strip.lines, ranges, values))
            position = b.mul(position, length)
            position = b.add(position, self.first_place(strip.columns, ranges, values))
            offset = b.add(start, b.mul(position, element))
            to = b.gep(memory, [b.add(place, constant(I64, TABLE))], source_etype=I64)
            b.store(offset, to)
        b.ret(constant(I64, 0))

    def length_of(self, loop: Loop) -> ir.Value:
        low, high = self.range_of(loop)
        return self.b.sub(high, low)

    def hull(self, x: Coordinate) -> tuple[ir.Value, ir.Value]:
        """The lowest, and one past the highest value of a coordinate."""
        b, low, high = self.b, constant(I64, 0), constant(I64, 1)
        for loop, step in x.steps:
            first, end = self.range_of(loop)
            ends = [first, b.sub(end, constant(I64, 1))]
            near, far = ends if step > 0 else reversed(ends)
            low = b.add(low, b.mul(near, constant(I64, step)))
            high = b.add(high, b.mul(far, constant(I64, step)))
        return low, high

    def first_place(
        self,
        x: Coordinate,
        ranges: dict[int, tuple[ir.Value, ir.Value]],
        values: dict[int, ir.Value],
    ) -> ir.Value:
        """How far from the lowest value the coordinate is for given reduced indices, at the first
        value of the output's index."""
        b = self.b
        at = b.neg(ranges[x.kept.index][0])
        for loop, step in x.steps:
            value = values.get(loop.index, self.range_of(loop)[0])
            at = b.add(at, b.mul(value, constant(I64, step)))
        return at


def strip_room(
    b: ir.IRBuilder, size: Callable[[Dim], ir.Value], c: Contraction, strip: Strip, tile: Panels
) -> tuple[ir.Value, ir.Value]:
    """Values of the window that one strip holds, and its bytes at most."""
    one = constant(I64, 1)

    def least_one(x: ir.Value) -> ir.Value:
        return intrinsic(b, "llvm.smax", [x, one])

    *outer, last = c.left.reduced[:2]
    depths = [size(x.extent) for x in outer] or [one]
    inner = least_one(size(c.inner))
    blocks = depth_blocks(b, inner, [*depths, size(last.extent)], c.depth_step)
    most = {x.index: least_one(n) for x, n in zip((*outer, last), blocks[-1 - len(outer) :],
                                                  strict=True)}  # fmt: skip

    def extent(loop: Loop) -> ir.Value:
        return most.get(loop.index, size(loop.extent))

    def span(x: Coordinate, own: ir.Value) -> ir.Value:
        """How many values a coordinate has, for so many of the output's index."""
        total = one
        for loop, step in x.steps:
            n = own if loop in (c.columns, c.window) else extent(loop)
            total = b.add(total, b.mul(b.sub(least_one(n), one), constant(I64, abs(step))))
        return total

    columns = minimum(b, size(c.columns.extent), constant(I64, c.most_panels * tile.columns))
    has_lines = strip.lines is not None
    line = b.mul(_length(b, span(strip.columns, columns), tile.lanes, has_lines),
                 constant(I64, tile.bytes))  # fmt: skip
    parts = {loop for x in (strip.columns, strip.lines) if x is not None for loop in x.loops}
    for loop in strip.operand.reduced:
        if loop not in parts:
            line = b.mul(line, least_one(extent(loop)))
    window, lines = one, one
    if strip.lines is not None and c.window is not None:
        step = constant(I64, abs(dict(strip.lines.steps)[c.window]))
        room = b.sub(b.sdiv(constant(I64, BYTES), line), span(strip.lines, one))
        window = minimum(b, least_one(b.sdiv(room, step)), least_one(size(c.window.extent)))
        lines = b.or_(span(strip.lines, window), one)
    places = reduce(b.mul, most.values(), b.add(inner, constant(I64, TABLE)))
    table = _aligned(b, b.mul(places, constant(I64, 8)))
    return window, b.add(table, b.mul(line, lines))


def _aligned(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return b.and_(b.add(x, constant(I64, ALIGNMENT - 1)), constant(I64, -ALIGNMENT))
