"""Packed contractions as code: packing, blocks, the call of the microkernel, the rest.

In: a `Contraction`. Out: functions of the module: its direct nest, one that packs each operand, one
for what follows the sums, and the driver that carries the contraction's name and chooses by the
sizes. Left to others: the product of panels (`microkernel`), values (`emit_values`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

import llvmlite.ir as ir

from .dims import Dim, dim
from .emit import emit
from .emit_parallel import Forking, emit_nest, pointers
from .emit_values import Values
from .fork_join import PARTS_A_THREAD, up
from .frame import Frame, Target, lanes_from
from .instructions import I1, I64, register_type
from .llvm_vector import constant, intrinsic
from .loops import Buffer, Load, Loop, Nest, Reduce
from .microkernel import POINTER, Panels, counted, declared, finite, minimum, panels
from .packed import (
    COLUMNS,
    DEPTH,
    ROWS,
    SPREAD,
    WORTH_A_BATCH,
    WORTH_PACKING,
    WORTH_SHARING,
    Contraction,
    Operand,
)
from .tile import tile


def emit_contraction(
    target: Target,
    module: ir.Module,
    c: Contraction,
    dims: Sequence[str],
    param_count: int,
    scratch: Dim,
) -> ir.Function:
    """The driver of `c`; `scratch` is where its panels stand in the arena, in bytes."""

    def function(nest: Nest) -> ir.Function:
        return emit(target, module, tile(nest, target.registers), dims, param_count)

    direct = emit_nest(
        target,
        module,
        tile(replace(c.direct, name=f"{c.name}_direct"), target.registers),
        dims,
        param_count,
    )
    rest = None if c.rest is None else function(c.rest)
    shape = panels(register_type(c.left.value.dtype), target.registers)
    packs = [
        _Pack(target, module, operand, dims, param_count, width, shape.lanes).run()
        for operand, width in ((c.left, shape.rows), (c.right, shape.columns))
    ]
    outer = c.batch[:1]
    ranged = (*(x.index for x in outer), c.columns.index, c.rows.index)
    block = Buffer("panels", c.left.value.dtype, (), "block", 0, dim(0))
    part = replace(c.direct, name=f"{c.name}_part", ranged=ranged, block=block)
    inner = _Part(target, module, part, dims, param_count)
    inner.run(c, shape, packs, rest)
    whole = _Driver(target, module, c.direct, dims, param_count)
    whole.run(c, shape, direct, inner.function, scratch)
    return whole.function


# --------------------------------------------------------------------------- packing


def _shaped(operand: Operand, width: int, lanes: int) -> Nest:
    """The operand's nest with lanes: along its own index, whole panels at once; or along the
    innermost reduced index, for as many rows as can be transposed in registers."""
    nest = operand.nest
    (s,) = nest.body
    assert isinstance(s, Reduce)
    *batch, along = nest.loops
    if operand.transposed:
        rows = min(width, lanes)
        *outer, last = s.loops
        s = replace(s, loops=(*outer, replace(last, lanes=lanes)))
        return replace(nest, loops=(*batch, replace(along, copies=rows)), body=(s,))
    lanes = min(width, lanes)
    wide = replace(along, lanes=lanes, copies=width // lanes)
    return replace(nest, loops=(*batch, wide), body=(s,))


class _Pack(Values):
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
        super().__init__(target, module, _shaped(operand, width, lanes), dims, param_count)
        self.operand, self.width = operand, width
        (s,) = self.nest.body
        assert isinstance(s, Reduce)
        self.statement = s

    def run(self) -> ir.Function:
        self.find_dependencies()
        self.start_values()
        along = self.nest.loops[-1]
        b = self.b
        self.first = self.range_of(along)[0]
        self.counts = [self.count(loop) for loop in self.statement.loops]
        self.depth = self.counts[0]
        for n in self.counts[1:]:
            self.depth = b.mul(self.depth, n)
        self.hoist()
        if self.operand.transposed:
            self.target.output_loops(self, self.nest.loops, lambda: self.walk(0, None, self.panel))
        else:  # whole rows in order, each spread over all panels
            *batch, along = self.nest.loops
            self.target.output_loops(self, batch, lambda: self.walk(0, None, self.spread))
        self.target.finish(self)
        return self.function

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

    def spread(self, position: ir.Value) -> None:
        """The values of one place, over all panels."""
        along = self.nest.loops[-1]
        self.hoist_values(self.order[self.statement], {})

        def body(_: Sequence[ir.Value]) -> Sequence[ir.Value]:
            to = self.place(position)
            self.lane_mask({})
            for copy in range(along.copies):
                x = self.element({along.index: copy})
                self.store_row(x, self.moved(to, constant(I64, copy * along.lanes)), None)
            return ()

        self.target.reduced_loop(self, along, (), body)

    def panel(self, position: ir.Value) -> None:
        """Some columns of one panel, at as many places as a vector holds."""
        along = self.nest.loops[-1]
        to = self.place(position)
        rows = [self.element({along.index: copy}) for copy in range(along.copies)]
        for k, x in enumerate(transposed(self.b, rows)):
            # a row narrower than a vector: the next one overwrites what stands after it
            at = k * (self.width if len(rows) == self.lanes else self.lanes)
            self.store_row(x, self.moved(to, constant(I64, at)), None)

    def place(self, position: ir.Value) -> ir.Value:
        """Where the first of the current columns stands at a place."""
        b, along = self.b, self.nest.loops[-1]
        done = b.sub(self.base[along.index], self.first)
        within = b.and_(done, constant(I64, self.width - 1))
        at = b.add(b.mul(b.sub(done, within), self.depth), within)
        at = b.add(at, b.mul(position, constant(I64, self.width)))
        return self.moved(self.function.args[-1], at)

    def element(self, at: dict[int, int]) -> ir.Value:
        x = self.splat(self.value(self.operand.value, at))
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


def transposed(b: ir.IRBuilder, rows: list[ir.Value]) -> list[ir.Value]:
    """`rows` of vectors, a power of two of them, as their elements in the other order: first those
    of lane 0, one of each row, and so on."""
    lanes = rows[0].type.count
    half = lanes // 2
    low = tuple(x for k in range(half) for x in (k, lanes + k))
    high = tuple(x for k in range(half, lanes) for x in (k, lanes + k))
    for _ in range(len(rows).bit_length() - 1):
        pairs = list(zip(rows[: len(rows) // 2], rows[len(rows) // 2 :], strict=True))
        rows = [
            b.shuffle_vector(x, y, lanes_from(which)) for x, y in pairs for which in (low, high)
        ]
    return rows


# --------------------------------------------------------------------------- blocks

FINE, NOT_FINITE = 0, 1  # what a part returns


class _Driver(Forking):
    """The function that all others call: small sizes go the direct way, large ones in parts."""

    def run(
        self,
        c: Contraction,
        shape: Panels,
        direct: ir.Function,
        part: ir.Function,
        scratch: Dim,
    ) -> None:
        b, common = self.b, list(self.function.args)
        outer = c.batch[:1]
        extents = [self.size(x.extent) for x in (*outer, c.columns, c.rows)]
        *_, n, m = extents
        inner = self.size(c.inner)
        own = self.b.gep(common[2], [self.size(scratch)], source_etype=ir.IntType(8))
        depth = inner
        for x in c.left.reduced[:2]:
            depth = b.mul(depth, self.size(x.extent))
        each = b.mul(b.mul(m, n), depth)
        work = each
        for x in c.batch:
            work = b.mul(work, self.size(x.extent))
        large = b.and_(
            b.icmp_signed(">=", each, constant(I64, WORTH_A_BATCH)),
            b.icmp_signed(">=", work, constant(I64, WORTH_PACKING)),
        )
        for size, least in ((m, shape.rows), (n, shape.lanes // 2), (depth, 8)):
            large = b.and_(large, b.icmp_signed(">=", size, constant(I64, least)))
        large = b.and_(large, b.icmp_signed("<=", inner, constant(I64, SPREAD)))
        with b.if_then(b.not_(large)):
            b.ret(b.call(direct, common))

        # the range that is shared out: of a batch index, else the longer side
        threads = self.threads()
        longer = b.icmp_signed(">=", n, m)
        steps = [constant(I64, 1)] * len(outer)
        steps += [constant(I64, shape.columns), constant(I64, shape.rows)]
        along = [b.and_(longer, constant(I1, 1)), b.not_(longer)]
        if outer:
            batches = b.icmp_signed(">=", extents[0], threads)
            along = [batches, *(b.and_(b.not_(batches), x) for x in along)]
        several = b.icmp_signed(">=", work, constant(I64, WORTH_SHARING))
        count = b.select(several, threads, constant(I64, 1))
        parts = constant(I64, 1)
        bounds: list[ir.Value] = []  # how much of each range a part takes
        for k, (size, step, shared) in enumerate(zip(extents, steps, along, strict=True)):
            # every part packs what it needs of the other operand: few parts, except of a batch
            many = b.mul(count, constant(I64, PARTS_A_THREAD)) if k < len(outer) else count
            share = b.mul(up(b, up(b, size, many), step), step)
            bounds.append(b.select(shared, share, size))
            parts = b.select(shared, up(b, size, share), parts)

        width = len(extents)

        def one(b: ir.IRBuilder, words: list[ir.Value], k: ir.Value, memory: ir.Value) -> None:
            ranges: list[ir.Value] = []
            for share, size in zip(words[1 : 1 + width], words[1 + width :], strict=False):
                whole = b.icmp_signed(">=", share, size)
                low = b.select(whole, constant(I64, 0), b.mul(k, share))
                ranges += [low, minimum(b, b.add(low, share), size)]
            result = b.call(part, [*pointers(b, words[1 + 2 * width :]), *ranges, memory])
            with b.if_then(b.icmp_signed("!=", result, constant(I64, FINE))):
                b.store(result, b.inttoptr(words[0], POINTER))

        with b.goto_entry_block():
            failed = b.alloca(I64)
        failed.type = POINTER
        b.store(constant(I64, FINE), failed)
        size = constant(I64, sum(c.scratch))
        self.fork(one, [b.ptrtoint(failed, I64), *bounds, *extents], parts, size, own)
        with b.if_then(b.icmp_signed("!=", b.load(failed, typ=I64), constant(I64, FINE))):
            b.ret(b.call(direct, common))
        b.ret(constant(I64, 0))


class _Part(Frame):
    """`(…, ranges, scratch)`: the blocks of a range of the output, by packed panels."""

    def hoist(self) -> None:
        pass

    def run(
        self,
        c: Contraction,
        shape: Panels,
        packs: Sequence[ir.Function],
        rest: ir.Function | None,
    ) -> None:
        b, common = self.b, list(self.function.args[:4])
        reduced = c.left.reduced
        inner = self.size(c.inner)
        outer = {x.index: self.range_of(x) for x in (*c.batch, c.columns, c.rows)}
        depths = [self.size(x.extent) for x in reduced[:2]]
        memory = self.function.args[-1]
        right_at = constant(I64, c.scratch[0])
        panel = [memory, b.gep(memory, [right_at], source_etype=ir.IntType(8))]
        step = self.size(c.store.offset.coefficient(c.rows.index) or c.rows.extent)
        out = self.pointer(c.store.buffer)
        for _, by in c.store.offset.terms:
            self.size(by)
        first_out = self.size(c.store.offset.const)

        room = b.sdiv(constant(I64, DEPTH), inner)  # values of the second reduced index
        room = intrinsic(b, "llvm.smax", [room, constant(I64, 1)])
        blocks = [constant(I64, 1)] * len(depths)
        if len(depths) == 2:
            whole = b.icmp_signed("<=", depths[1], room)
            blocks[1] = b.select(whole, depths[1], self.even(depths[1], room, 1))
            room = b.select(whole, b.sdiv(room, depths[1]), constant(I64, 1))
        blocks[0] = self.even(depths[0], room, 1)
        single = None
        for size, block in zip(depths, blocks, strict=True):
            fits = b.icmp_signed("<=", size, block)
            single = fits if single is None else b.and_(single, fits)
        assert single is not None
        low_row, high_row = outer[c.rows.index]
        low_column, high_column = outer[c.columns.index]
        m = b.sub(high_row, low_row)
        block_rows = self.even(m, constant(I64, ROWS), shape.rows)
        block_columns = self.even(
            b.sub(high_column, low_column), constant(I64, COLUMNS), shape.columns
        )
        once_left = b.and_(single, b.icmp_signed("<=", m, block_rows))
        batch = {x.index for x in c.batch}
        left_alone, right_alone = (not batch & set(x.nest.ranged) for x in (c.left, c.right))
        ranges: dict[int, tuple[ir.Value, ir.Value]] = {}

        def pack(which: int) -> None:
            operand = (c.left, c.right)[which]
            bounds = [x for k in operand.nest.ranged for x in ranges[k]]
            b.call(packs[which], [*common, *bounds, panel[which]])
            if not operand.finite:
                return
            width = (shape.rows, shape.columns)[which]
            count = b.sub(ranges[operand.index][1], ranges[operand.index][0])
            count = b.and_(b.add(count, constant(I64, width - 1)), constant(I64, -width))
            for x in reduced[:2]:
                count = b.mul(count, b.sub(ranges[x.index][1], ranges[x.index][0]))
            fine = b.call(finite(b.module, shape), [panel[which], b.mul(count, inner)])
            with b.if_then(b.not_(fine)):
                b.ret(constant(I64, NOT_FINITE))

        def pack_unless(condition: ir.Value, which: int) -> None:
            with b.if_then(b.not_(condition)):
                pack(which)

        def opened(
            stack: ExitStack, k: int, bounds: tuple[ir.Value, ir.Value], by: ir.Value
        ) -> ir.Value:
            low, high = bounds
            at = stack.enter_context(counted(b, high, by, low))
            ranges[k] = at, minimum(b, b.add(at, by), high)
            return at

        ranges[c.rows.index] = outer[c.rows.index]
        for x, size in zip(reduced[:2], depths, strict=True):
            ranges[x.index] = constant(I64, 0), size
        if left_alone:
            pack_unless(b.not_(once_left), 0)
        with ExitStack() as stack:
            opened(stack, c.columns.index, outer[c.columns.index], block_columns)
            if right_alone and c.batch:
                pack_unless(b.not_(single), 1)
            for x in c.batch:
                opened(stack, x.index, outer[x.index], constant(I64, 1))
            later, last, here = constant(I64, 0), constant(I1, 1), inner
            for x, size, block in zip(reduced[:2], depths, blocks, strict=True):
                later = b.or_(later, opened(stack, x.index, (constant(I64, 0), size), block))
                low, high = ranges[x.index]
                here = b.mul(here, b.sub(high, low))
                last = b.and_(last, b.icmp_signed("==", high, size))
            if right_alone and c.batch:
                pack_unless(single, 1)
            else:
                pack(1)
            opened(stack, c.rows.index, outer[c.rows.index], block_rows)
            if left_alone:
                pack_unless(once_left, 0)
            else:
                pack(0)
            at = first_out
            for k, by in c.store.offset.terms:
                at = b.add(at, b.mul(ranges[k][0], self.size(by)))
            place = b.gep(out, [at], source_etype=shape.element)
            counts = [b.sub(ranges[x.index][1], ranges[x.index][0]) for x in (c.rows, c.columns)]
            b.call(declared(b.module, shape), [*panel, place, *counts, here, step, later])
            if rest is not None and c.rest is not None:
                with b.if_then(last):
                    b.call(rest, [*common, *(x for k in c.rest.ranged for x in ranges[k])])
        b.ret(constant(I64, FINE))

    def even(self, size: ir.Value, most: ir.Value, multiple: int) -> ir.Value:
        """A block's size: at most `most`, a multiple of `multiple`, about the same in all."""
        b, one = self.b, constant(I64, 1)
        many = up(b, size, most)
        at_least = b.select(b.icmp_signed("<", many, one), one, many)
        each = up(b, size, at_least)
        by = constant(I64, multiple)
        each = b.mul(up(b, each, by), by)
        return b.select(b.icmp_signed("<", each, one), one, each)
