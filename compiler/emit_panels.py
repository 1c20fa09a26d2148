"""Packing: one operand of a packed contraction, as panels for the microkernel.

In: an `Operand`. Out: a function that writes its values over stated ranges as panels, zeros or
repeated values where a panel passes a range's end. Left to others: what is packed when
(`packed_blocks`), values (`emit_values`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from math import gcd

from . import ir
from .dims import product
from .dtypes import I64 as INDEX
from .dtypes import DType
from .emit_values import Values
from .instructions import I8, I64, register_type
from .joined_index import taken_apart
from .llvm_vector import ask_for, constant
from .loops import Apply, IndexValue, Load, Loop, Nest, Reduce, postorder
from .packed import Operand
from .register_tile import ALIGNMENT
from .register_transpose import transposed
from .target import Target


def _shaped(operand: Operand, group: tuple[Loop, ...], width: int, lanes: int) -> Nest:
    """The operand's nest with lanes: along its own index, whole panels at once; or along the
    innermost reduced index, for as many rows as can be transposed in registers: as many as a vector
    has lanes, or a panel if these do not fill it. `group`: reduced indices that are one."""
    nest = operand.nest
    (s,) = nest.body
    assert isinstance(s, Reduce)
    if len(group) > 1:
        number = max(nest.index_names) + 1
        merged = replace(group[-1], index=number, extent=product(tuple(x.extent for x in group)))
        (a,) = s.accumulators
        value = taken_apart(merged, group, [a.value])[a.value]
        loops = (*s.loops[: -len(group)], merged)
        s = replace(s, loops=loops, accumulators=(replace(a, value=value),))
        name = "".join(nest.index_names[x.index] for x in group)
        nest = replace(nest, index_names={**nest.index_names, number: name})
    *batch, along = nest.loops
    fitting = width % min(width, lanes) == 0
    if operand.transposed:
        rows = min(width, lanes) if fitting else width
        *outer, last = s.loops
        s = replace(s, loops=(*outer, replace(last, lanes=lanes)))
        return replace(nest, loops=(*batch, replace(along, copies=rows)), body=(s,))
    lanes = min(width, lanes) if fitting else gcd(width, lanes)
    wide = replace(along, lanes=lanes, copies=width // lanes)
    return replace(nest, loops=(*batch, wide), body=(s,))


TOGETHER = 8
"""Panels that are filled side by side: their lines may all fall into one set of the cache."""

AHEAD = 8
"""Places of the sum."""

VECTORS = 8
"""That are moved at once, of whole panels: what a step of a loop costs is shared by them."""


def _walked_as_one(operand: Operand) -> tuple[Loop, ...]:
    """The innermost reduced indices that a transposed operand walks as one: vectors along these
    alone may be mostly empty (a convolution's window). In a block, an index inside another one has
    all its values, or the other one has one value (`block_sizes`)."""
    loops = operand.reduced
    group = loops[-1:]
    if not operand.transposed or operand.guard is not None:
        return group
    reads = list(postorder([operand.value]))
    for loop in reversed(loops[:-1]):
        room = product(tuple(x.extent for x in group))
        for x in reads:
            match x:
                case Load(offset=at):
                    inner = at.coefficient(group[-1].index)
                    outer = at.coefficient(loop.index)
                    dense = inner is not None and outer == inner * room
                    if not dense and (inner is not None or outer is not None):
                        return group
                case IndexValue(at) if at.coefficient(loop.index) or at.coefficient(
                    group[-1].index
                ):
                    return group
                case _:
                    pass
        group = (loop, *group)
    return group


class Pack(Values):
    """`(…, ranges, panels)`: the operand over these ranges, in panels of `width`."""

    def __init__(
        self,
        target: Target,
        module: ir.Module,
        operand: Operand,
        dims: Sequence[str],
        param_count: int,
        width: int,
        lanes: int,
    ) -> None:
        self.group = _walked_as_one(operand)
        nest = _shaped(operand, self.group, width, lanes)
        super().__init__(target, module, nest, dims, param_count)
        self.operand, self.width = operand, width
        self.split = {}  # masks cost nothing beside what is moved
        (s,) = self.nest.body
        assert isinstance(s, Reduce)
        self.statement = s
        (a,) = s.accumulators
        self.packed = a.value

    def run(self) -> ir.Function:
        self.find_dependencies()
        self.start_values()
        along = self.nest.loops[-1]
        b = self.b
        self.first = self.range_of(along)[0]
        if len(self.group) > 1:
            self.ranges[self.statement.loops[-1].index] = self.range_of_all()
        self.counts = [self.count(loop) for loop in self.statement.loops]
        self.depth = self.counts[0]
        for n in self.counts[1:]:
            self.depth = b.mul(self.depth, n)
        self.hoist()
        self.fill()
        self.target.finish(self)
        return self.function

    def fill(self) -> None:
        along = self.nest.loops[-1]
        if self.operand.transposed:
            self.target.output_loops(self, self.nest.loops, lambda: self.walk(0, None, self.panel))
        elif self.is_computed(along):  # once for all places of the sum
            put = partial(self.put, loop=along)
            self.target.output_loops(self, self.nest.loops, lambda: self.walk(0, None, put))
        else:  # rows in order, each spread over some panels
            *batch, along = self.nest.loops
            self.target.output_loops(self, batch, self.spread_groups)

    def range_of_all(self) -> tuple[ir.Value, ir.Value]:
        """The range of the group's places, from those of its indices."""
        b, (low, last) = self.b, (constant(I64, 0), constant(I64, 0))
        for loop in self.group:
            first, end = self.range_of(loop)
            size = self.size(loop.extent)
            low = b.add(b.mul(low, size), first)
            last = b.add(b.mul(last, size), b.sub(end, constant(I64, 1)))
        return low, b.add(last, constant(I64, 1))

    def is_computed(self, along: Loop, what: DType = INDEX) -> bool:
        """Whether something is worked out from a loop's index alone."""
        return any(
            isinstance(x, Apply) and x.dtype is what and self.deps[x] == {along.index}
            for x in self.order[self.statement]
        )

    def count(self, loop: Loop) -> ir.Value:
        if loop.index not in self.ranges:
            return self.size(loop.extent)
        low, high = self.range_of(loop)
        return self.b.sub(high, low)

    def walk(
        self, level: int, position: ir.Value | None, inside: Callable[[ir.Value], None]
    ) -> None:
        """`inside` for every place of the reduced indices from `level` on; it is given the number
        of the place."""
        loop = self.statement.loops[level]
        self.hoist_values(self.order[self.statement], {})

        def body(_: Sequence[ir.Value]) -> Sequence[ir.Value]:
            b, here = self.b, self.base[loop.index]
            if loop.index in self.ranges:
                here = b.sub(here, self.range_of(loop)[0])
            if position is not None:
                here = b.add(b.mul(position, self.counts[level]), here)
            if level + 1 < len(self.statement.loops):
                self.walk(level + 1, here, inside)
            else:
                inside(here)
            return ()

        self.target.reduced_loop(self, loop, (), body)

    def spread_groups(self) -> None:
        """All places, for some panels after the other."""
        along = self.nest.loops[-1]
        several = replace(along, copies=along.copies * max(VECTORS // along.copies, 1))
        step = constant(I64, several.step)

        def group(_: Sequence[ir.Value]) -> Sequence[ir.Value]:
            b, (low, high) = self.b, self.range_of(along)
            end = b.sub(high, b.urem(b.sub(high, low), step))
            self.walk(0, None, lambda at: self.spread(at, several, (low, end, high)))
            return ()

        self.blocks(along, TOGETHER, (), group)

    def spread(self, position: ir.Value, several: Loop, bounds: Sequence[ir.Value]) -> None:
        """The values of one place, over all panels: of whole ones as many as `several` says at
        once, without masks."""
        along = self.nest.loops[-1]
        self.hoist_values(self.order[self.statement], {})
        stated = self.ranges[along.index]
        for loop, ends in ((several, bounds[:2]), (along, bounds[1:])):
            self.ranges[along.index] = ends[0], ends[1]
            if loop is several:
                self.exact.add(along.index)
            self.target.reduced_loop(self, loop, (), partial(self.spread_panels, position, loop))
            self.exact.discard(along.index)
        self.ranges[along.index] = stated

    def spread_panels(
        self, position: ir.Value, loop: Loop, _: Sequence[ir.Value]
    ) -> Sequence[ir.Value]:
        self.ask_ahead(loop)
        self.put(position, loop)
        return ()

    def put(self, position: ir.Value, loop: Loop) -> None:
        """The values of one place, in as many panels as `loop` has vectors for."""
        own = self.width // loop.lanes  # copies of one panel
        to = self.place(position)
        self.lane_mask({})
        further = self.between_panels()
        for copy in range(loop.copies):
            x = self.element({loop.index: copy})
            self.store_row(x, self.moved(to, constant(I64, copy % own * loop.lanes)), None)
            if (copy + 1) % own == 0:
                to = self.moved(to, further)

    def ask_ahead(self, along: Loop) -> None:
        """For what is read some places later: a group of panels has but a short piece of every row,
        and the next one starts far from it."""
        b, last = self.b, self.statement.loops[-1]
        for x in self.order[self.statement]:
            step = x.offset.coefficient(last.index) if isinstance(x, Load) else None
            if not isinstance(x, Load) or x.gathered or step is None:
                continue
            by = self.size(step * (AHEAD * x.buffer.dtype.size))
            a_line = max(ALIGNMENT // (along.lanes * x.buffer.dtype.size), 1)
            for copy in range(0, along.copies, a_line):
                here = self.address(x.buffer, x.offset, {along.index: copy})
                ask_for(b, b.gep(here, [by], source_etype=I8), 1)

    def panel(self, position: ir.Value) -> None:
        """Some columns of one panel, at as many places as a vector holds."""
        along = self.nest.loops[-1]
        to = self.place(position)
        rows = [self.element({along.index: copy}) for copy in range(along.copies)]
        filled = 1 << (len(rows) - 1).bit_length()
        vectors = transposed(self.b, [*rows, *rows[: filled - len(rows)]])
        if filled < self.lanes:  # several places in each
            places = [(k * self.lanes, x) for k, x in enumerate(vectors)]
        else:  # what passes a place's rows is overwritten by the next ones
            each = filled // self.lanes
            places = [
                (k // each * self.width + k % each * self.lanes, x)
                for k, x in enumerate(vectors)
                if k % each * self.lanes < len(rows)
            ]
        for at, x in places:
            self.store_row(x, self.moved(to, constant(I64, at)), None)

    def place(self, position: ir.Value) -> ir.Value:
        """Where the first of the current columns stands at a place."""
        b, along = self.b, self.nest.loops[-1]
        done = b.sub(self.base[along.index], self.first)
        within = b.urem(done, constant(I64, self.width))
        at = b.add(b.mul(b.sub(done, within), self.depth), within)
        at = b.add(at, b.mul(position, constant(I64, self.width)))
        return self.moved(self.function.args[-1], at)

    def between_panels(self) -> ir.Value:
        """How far the same place of the next panel is."""
        return self.b.mul(self.depth, constant(I64, self.width))

    def element(self, at: dict[int, int]) -> ir.Value:
        x = self.splat(self.value(self.packed, at))
        if self.operand.guard is None:
            return x
        holds = self.splat(self.value(self.operand.guard, at))
        return self.b.select(holds, x, constant(x.type, 0))

    def moved(self, p: ir.Value, by: ir.Value) -> ir.Value:
        return self.b.gep(p, [by], source_etype=register_type(self.operand.value.dtype))

    def start_values(self) -> None:
        """Pointers and sizes stand at the start of the function."""
        for x in self.order[self.statement]:
            if isinstance(x, Load):
                self.pointer(x.buffer)
                for _, step in x.offset.terms:
                    self.size(step)
        for loop in (*self.nest.loops, *self.statement.loops):
            self.size(loop.extent)
