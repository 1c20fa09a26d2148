"""The frame of a nest while it is emitted: scopes, index values, masks, addresses.

In: the nest, a builder, and a `Target`. Out: LLVM values, each made once in the outermost open
scope that asks for it. Left to others: values and statements (`emit`), what differs between
machines (`target`).

A scope is a loop's body. A value made in an open scope may be used in every scope inside it, so
that what does not depend on a loop stands before the loop: `emit` asks for it there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any, TypeVar

from . import ir
from .dims import Dim, FloorDiv, provably_positive
from .instructions import I32, I64, memory_type
from .llvm_vector import constant, intrinsic, vector
from .loops import Buffer, Linear, Loop, Nest
from .target import Target
from .tile import split_loops


def formatted(t: ir.Type, text: str) -> ir.Value:
    """A constant of any type by its text."""
    return ir.FormattedConstant(t, text)


@cache
def lanes_from(lanes: tuple[int, ...]) -> ir.Constant:
    """The mask of a shuffle."""
    return ir.Constant(ir.VectorType(I32, len(lanes)), lanes)


T = TypeVar("T")

Copies = Mapping[int, int]
"""Which unrolled copy is meant, by index."""


class Frame:
    """What stands open while one nest is emitted. `loops` are the open loops by index."""

    def __init__(
        self,
        target: Target,
        module: ir.Module,
        nest: Nest,
        dims: Sequence[str],
        param_count: int,
    ) -> None:
        self.target = target
        self.nest = nest
        self.dims = list(dims)
        self.param_count = param_count
        self.function = target.kernel(module, nest)
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))
        self.scopes: list[dict[Any, Any]] = [{}]
        self.loops: dict[int, Loop] = {}
        self.base: dict[int, ir.Value] = {}
        self.limits: dict[int, ir.Value] = {}  # extents that a guard has cut short
        self.split = split_loops(nest, target.registers)
        self.exact: set[int] = set()  # open loops, split, that are in their whole tiles
        self.ranges = dict(target.ranges(self.function, nest))  # of indices with stated bounds
        self.splats: dict[tuple[ir.Value, int], ir.Value] = {}
        self.lane_index: int | None = None
        self.lanes = 1

    def hoist(self) -> None:
        """Make all that the open loops allow (called by targets after opening one): nothing, where
        a frame has no values of its own."""

    # ----------------------------------------------------------------- scopes

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """The value under `key`, made now unless an open scope has it."""
        for scope in reversed(self.scopes):
            if key in scope:
                found: T = scope[key]
                return found
        out = self.scopes[-1][key] = make()
        return out

    @contextmanager
    def scope(self) -> Iterator[None]:
        self.scopes.append({})
        try:
            yield
        finally:
            self.scopes.pop()

    # ----------------------------------------------------------------- sizes

    def size(self, d: Dim) -> ir.Value:
        """A symbolic size as an i64. Made where it is first asked for."""
        if d.const is not None:
            return constant(I64, d.const)
        return self.once(("size", d), lambda: self._size(d))

    def _size(self, d: Dim) -> ir.Value:
        total: ir.Value | None = None
        for mono, c in d.terms:
            product: ir.Value | None = None
            for atom in mono:
                x = self._named(atom) if isinstance(atom, str) else self._floor_division(atom)
                product = x if product is None else self.b.mul(product, x)
            if product is None:
                product = constant(I64, c)
            elif c != 1:
                product = self.b.mul(product, constant(I64, c))
            total = product if total is None else self.b.add(total, product)
        assert total is not None
        return total

    def _named(self, name: str) -> Any:
        return self.once(("dim", name), lambda: self.target.size(self, name))

    def _floor_division(self, atom: FloorDiv) -> ir.Value:
        b, x = self.b, self.size(atom.numerator)
        n = constant(I64, atom.divisor)
        quotient, rem = b.sdiv(x, n), b.srem(x, n)
        below = b.zext(b.icmp_signed("<", rem, constant(I64, 0)), I64)
        return b.sub(quotient, below)

    # ----------------------------------------------------------------- loops

    def open(self, loop: Loop, at: ir.Value) -> None:
        """Bind the loop's index; `at` is that of the tile's first point."""
        self.loops[loop.index] = loop
        self.base[loop.index] = at
        if loop.lanes > 1:
            self.lane_index, self.lanes = loop.index, loop.lanes

    def close(self, loop: Loop) -> None:
        del self.loops[loop.index], self.base[loop.index]
        if loop.lanes > 1:
            self.lane_index, self.lanes = None, 1

    def counted(
        self,
        loop: Loop,
        carried: Sequence[ir.Value],
        body: Callable[[Sequence[ir.Value]], Sequence[ir.Value]],
        stride: tuple[ir.Value, ir.Value] | None = None,
    ) -> list[ir.Value]:
        """A loop over `loop` with values carried round; the test stands at the end. `stride` is
        where one of several threads starts, and how far it steps."""
        if stride is None and loop.index in self.split and not self.whole(loop, loop.step):
            return self._whole_tiles_and_rest(loop, carried, body)
        b = self.b
        limit = self.limits.get(loop.index)
        lowest, highest = self.range_of(loop)
        extent = highest if limit is None else limit
        start = b.block
        inside = b.append_basic_block(f"for_{self.nest.index_names[loop.index]}")
        after = b.append_basic_block("end")
        first, step = stride or (lowest, constant(I64, loop.step))
        entered = (
            stride is None
            and limit is None
            and loop.index not in self.ranges
            and provably_positive(loop.extent)
        )
        if entered:
            b.branch(inside)
        else:
            b.cbranch(b.icmp_signed("<", first, extent), inside, after)
        b.position_at_end(inside)
        at = b.phi(I64)
        at.add_incoming(first, start)
        phis = []
        for x in carried:
            phi = b.phi(x.type)
            phi.add_incoming(x, start)
            phis.append(phi)
        self.open(loop, at)
        with self.scope():
            out = body(phis)
        self.close(loop)
        further = b.add(at, step, flags=["nsw"])
        latch = b.block
        at.add_incoming(further, latch)
        for phi, x in zip(phis, out, strict=True):
            phi.add_incoming(x, latch)
        b.cbranch(b.icmp_signed("<", further, extent), inside, after)
        b.position_at_end(after)
        if entered:
            return list(out)
        return self.either(carried, start, out, latch)

    def _whole_tiles_and_rest(
        self,
        loop: Loop,
        carried: Sequence[ir.Value],
        body: Callable[[Sequence[ir.Value]], Sequence[ir.Value]],
    ) -> list[ir.Value]:
        """The loop over whole tiles, without masks; then `body` once more for what is left: for all
        of it at once, or vector by vector."""
        b, k = self.b, loop.index
        lowest, end = self.range_of(loop)
        limit = self.limits.get(k)
        end = end if limit is None else limit
        points = intrinsic(b, "llvm.smax", [b.sub(end, lowest), constant(I64, 0)])
        left = b.urem(points, constant(I64, loop.step))
        self.limits[k] = b.sub(end, left)
        self.exact.add(k)
        carried = self.counted(loop, carried, body)
        self.exact.remove(k)
        at = self.limits.pop(k)
        if limit is not None:
            self.limits[k] = limit
        before = b.block
        rest = b.append_basic_block(f"rest_{self.nest.index_names[k]}")
        after = b.append_basic_block("end")
        b.cbranch(b.icmp_signed(">", left, constant(I64, 0)), rest, after)
        b.position_at_end(rest)
        if loop.copies > 1 and self.split[k]:
            out = self._vector_by_vector(loop, at, end, carried, body)
        else:
            self.open(loop, at)
            with self.scope():
                out = body(carried)
            self.close(loop)
        last = b.block
        b.branch(after)
        b.position_at_end(after)
        return self.either(carried, before, out, last)

    def _vector_by_vector(
        self,
        loop: Loop,
        first: ir.Value,
        end: ir.Value,
        carried: Sequence[ir.Value],
        body: Callable[[Sequence[ir.Value]], Sequence[ir.Value]],
    ) -> Sequence[ir.Value]:
        split = self.split.pop(loop.index)
        with self.over(loop.index, first, end):
            out = self.counted(replace(loop, copies=1), carried, body)
        self.split[loop.index] = split
        return out

    @contextmanager
    def over(self, k: int, low: ir.Value, high: ir.Value) -> Iterator[None]:
        """An index over a part of its range."""
        limit, stated = self.limits.pop(k, None), self.ranges.get(k)
        self.ranges[k] = low, high
        yield
        del self.ranges[k]
        if stated is not None:
            self.ranges[k] = stated
        if limit is not None:
            self.limits[k] = limit

    def blocks(
        self,
        loop: Loop,
        steps: int,
        carried: Sequence[ir.Value],
        body: Callable[[Sequence[ir.Value]], Sequence[ir.Value]],
    ) -> list[ir.Value]:
        """`body` for every block of `steps` steps of `loop`, which it runs over the block only."""
        b, k = self.b, loop.index
        exact, whole = k in self.exact, self.whole(loop, loop.step)
        low, high = self.range_of(loop)
        high = self.limits.get(k, high)
        start = b.block
        inside = b.append_basic_block(f"block_{self.nest.index_names[k]}")
        after = b.append_basic_block("end")
        b.cbranch(b.icmp_signed("<", low, high), inside, after)
        b.position_at_end(inside)
        at = b.phi(I64)
        at.add_incoming(low, start)
        phis = [b.phi(x.type) for x in carried]
        further = b.add(at, constant(I64, steps * loop.step), flags=["nsw"])
        end = intrinsic(b, "llvm.smin", [further, high])
        if whole:
            self.exact.add(k)
        with self.over(k, at, end), self.scope():
            out = body(phis)
        if not exact:
            self.exact.discard(k)
        latch = b.block
        at.add_incoming(further, latch)
        for phi, old, new in zip(phis, carried, out, strict=True):
            phi.add_incoming(old, start)
            phi.add_incoming(new, latch)
        b.cbranch(b.icmp_signed("<", further, high), inside, after)
        b.position_at_end(after)
        return self.either(carried, start, out, latch)

    def either(
        self, old: Sequence[ir.Value], before: ir.Block, new: Sequence[ir.Value], last: ir.Block
    ) -> list[ir.Value]:
        """What a block is entered with: `old` from one block, `new` from the other."""
        results: list[ir.Value] = []
        for x, y in zip(old, new, strict=True):
            phi = self.b.phi(x.type)
            phi.add_incoming(x, before)
            phi.add_incoming(y, last)
            results.append(phi)
        return results

    # ----------------------------------------------------------------- indices

    def range_of(self, loop: Loop) -> tuple[ir.Value, ir.Value]:
        """The first and one past the last value of the loop's index."""
        stated = self.ranges.get(loop.index)
        return (constant(I64, 0), self.size(loop.extent)) if stated is None else stated

    def whole(self, loop: Loop, width: int) -> bool:
        """Whether tiles of `width` points never pass the extent."""
        if loop.index in self.exact:
            return True
        if loop.index in self.ranges:
            return False
        n = loop.extent.const
        return n is not None and n % width == 0

    def index(self, k: int, at: Copies) -> ir.Value:
        """The scalar value of an index: of the first lane for the lanes' own. A copy past the
        extent repeats the last point."""
        loop, copy = self.loops[k], at.get(k, 0)
        if copy == 0:
            return self.base[k]
        return self.once(("index", k, copy), lambda: self._index(loop, copy))

    def _index(self, loop: Loop, copy: int) -> ir.Value:
        b = self.b
        x = b.add(self.base[loop.index], constant(I64, copy * loop.lanes), flags=["nsw"])
        if loop.lanes > 1 or self.whole(loop, loop.step):
            return x
        last = self.once(
            ("last", loop.index), lambda: b.sub(self.range_of(loop)[1], constant(I64, 1))
        )
        return intrinsic(b, "llvm.smin", [x, last])

    def scaled(self, k: int, copy: int, c: Dim) -> ir.Value:
        """An index times a step."""
        x = self.index(k, {k: copy})
        if c.const == 1:
            return x
        return self.once(("scaled", k, copy, c), lambda: self.b.mul(x, self.size(c)))

    def linear(self, x: Linear, at: Copies) -> ir.Value:
        """An affine value: a vector if it depends on the lanes' index."""
        b = self.b
        total: ir.Value | None = None if x.const.const == 0 and x.terms else self.size(x.const)
        wide: ir.Value | None = None
        for k, c in x.terms:
            step = self.scaled(k, at.get(k, 0), c)
            total = step if total is None else b.add(total, step)
            if k == self.lane_index:
                wide = self._steps(c)
        assert total is not None
        return total if wide is None else b.add(self.splat(total), wide)

    def _steps(self, c: Dim) -> ir.Value:
        """0, c, 2c, … along the lanes."""
        if c.const is not None:
            return self.numbers(I64, c.const)
        return self.once(
            ("steps", c),
            lambda: self.b.mul(self.numbers(I64, 1), self.splat(self.size(c))),
        )

    def numbers(self, element: ir.Type, step: int) -> ir.Value:
        text = ", ".join(f"{element} {step * k}" for k in range(self.lanes))
        return formatted(ir.VectorType(element, self.lanes), f"<{text}>")

    def splat(self, x: ir.Value) -> ir.Value:
        """`x` in every lane."""
        if isinstance(x.type, ir.VectorType):
            return x
        if isinstance(x, ir.FormattedConstant):
            return formatted(vector(x.type, self.lanes), f"splat ({x.type} {x.ref})")
        key = x, self.lanes
        if key not in self.splats:
            self.splats[key] = self._splat(x)
        return self.splats[key]

    def _splat(self, x: ir.Value) -> ir.Value:
        """Made where `x` is: once, however many loops are open by now."""
        wide = vector(x.type, self.lanes)
        none = formatted(wide, "poison")
        b = self.b
        home = x.parent if isinstance(x, ir.Instruction) else self.function.entry_basic_block
        if home is not b.block:
            b = ir.IRBuilder(home)
        first = b.insert_element(none, x, constant(I32, 0))
        return b.shuffle_vector(first, none, lanes_from((0,) * self.lanes))

    def lane_mask(self, at: Copies) -> ir.Value | None:
        """Which lanes are within the extent; None if all are."""
        if self.lane_index is None:
            return None
        loop = self.loops[self.lane_index]
        if self.whole(loop, loop.step):
            return None
        copy = at.get(loop.index, 0)
        return self.once(("mask", copy), lambda: self._lane_mask(loop, copy))

    def all_lanes(self) -> ir.Value | None:
        """Whether all lanes of all copies are within the extent; None where masks cost nothing."""
        if self.lane_index is None or self.target.registers.of_masks:
            return None
        loop = self.loops[self.lane_index]
        step = constant(I64, loop.step)
        return self.once(("whole",), lambda: self.b.icmp_signed(">=", self._left(loop), step))

    def _left(self, loop: Loop) -> ir.Value:
        """How many points there are from the first lane on."""
        end, at = self.range_of(loop)[1], self.base[loop.index]
        return self.once(("left",), lambda: self.b.sub(end, at, flags=["nsw"]))

    def _lane_mask(self, loop: Loop, copy: int) -> ir.Value:
        b = self.b
        left = self._left(loop)
        # clamped, the number of points left fits 32 bits
        short = self.once(
            ("short",),
            lambda: b.trunc(intrinsic(b, "llvm.smin", [left, constant(I64, loop.step)]), I32),
        )
        return b.icmp_signed("<", self.numbers_from(copy * loop.lanes), self.splat(short))

    def numbers_from(self, first: int) -> ir.Value:
        text = ", ".join(f"i32 {first + k}" for k in range(self.lanes))
        return formatted(ir.VectorType(I32, self.lanes), f"<{text}>")

    # ----------------------------------------------------------------- addresses

    def pointer(self, buffer: Buffer) -> ir.Value:
        return self.once(("pointer", buffer.name), lambda: self.target.pointer(self, buffer))

    def address(self, buffer: Buffer, x: Linear, at: Copies) -> ir.Value:
        """Where `buffer[x]` stands, for the first lane. Made loop by loop, outermost first, so that
        an inner loop adds its own part only."""
        b = self.b
        element = memory_type(buffer.dtype)
        p = self.pointer(buffer)
        key: tuple[Any, ...] = ("address", buffer.name)
        if x.const.terms:
            key = (*key, x.const)
            p = self.once(key, partial(self._displaced, p, x.const, element))
        order = list(self.loops)
        late = 0
        for k, c in sorted(x.terms, key=lambda t: order.index(t[0])):
            copy, loop = at.get(k, 0), self.loops[k]
            exact = loop.lanes > 1 or self.whole(loop, loop.step)
            if copy and exact and c.const is not None:
                late += copy * loop.lanes * c.const  # a displacement
                copy = 0
            key = (*key, k, copy, c)
            p = self.once(key, partial(self._step, p, k, c, copy, element))
        return b.gep(p, [constant(I64, late)], source_etype=element) if late else p

    def _displaced(self, p: ir.Value, by: Dim, element: ir.Type) -> ir.Value:
        return self.b.gep(p, [self.size(by)], source_etype=element)

    def _step(self, p: ir.Value, k: int, c: Dim, copy: int, element: ir.Type) -> ir.Value:
        return self.b.gep(p, [self.scaled(k, copy, c)], source_etype=element)

    def prefix(self, buffer: Buffer, x: Linear, at: Copies) -> None:
        """Make what the open loops already say about an address."""
        known = Linear(tuple(t for t in x.terms if t[0] in self.loops), x.const)
        self.address(buffer, known, at)
