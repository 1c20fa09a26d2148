"""Reductions: accumulators carried through loops, then folded in a fixed order.

In: a `Reduce` of the loop IR. Out: its results, known for every point of the tile. The order of
the sums depends on the shape alone: copies pairwise, lanes by halves, then what the target's
threads hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import product

from . import instructions as ins
from . import ir
from .dims import FloorDiv, atoms
from .emit_stores import Stores
from .frame import Copies, formatted, lanes_from
from .instructions import DOUBLE, I32, I64, register_type
from .llvm_vector import constant, element_of, intrinsic, vector, width_of
from .loops import Accumulator, Apply, Load, Loop, Reduce, Value, conjuncts, postorder
from .weave import side_by_side


class Reductions(Stores):
    def reduce(self, s: Reduce) -> None:
        """Accumulators for every copy, carried through the loops, then folded into one."""
        outer_lane = self.lane_index is not None
        points = list(self.copies_of(self.loops))
        own = [loop for loop in s.loops if loop.lanes > 1]
        lanes = self.lanes if outer_lane else own[0].lanes if own else 1
        inner = own[0].copies if own else 1
        width = 1 if outer_lane else lanes
        starts: list[ir.Value] = []
        if s.block is not None:
            total = vector(DOUBLE, lanes if outer_lane else _lanes_of_totals(s, width))
            starts = [constant(total, 0)] * (len(points) * len(s.accumulators))
        else:
            for at in points:
                starts += [x for a in s.accumulators for x in self.start_at(a, lanes, at)] * inner
        for at in points:
            self.lane_mask(at)
        self.hoist_values(self.order[s], {})
        needed = self.both(self.needed(s, points), self.steps(s))
        if needed is not None:
            low, high = self.range_of(s.loops[0])
            self.limits[s.loops[0].index] = self.b.select(needed, high, low)
        ends = self.reduce_loops(s, points, inner, s.loops, starts)
        if s.block is not None:
            width, inner = min(width, _lanes_of_totals(s, width)), 1
        states = iter(ends)
        for at in points:
            copies = [
                [[next(states) for _ in range(_parts(a))] for a in s.accumulators]
                for _ in range(inner)
            ]
            for k, a in enumerate(s.accumulators):
                folded = self.fold(a, [copy[k] for copy in copies], width, s.loops)
                key = (a.result, *((k, c) for k, c in at.items()))
                self.scopes[-1][key] = folded

    def needed(self, s: Reduce, points: list[Copies]) -> ir.Value | None:
        """Whether the loops have anything to do: a guard that does not depend on them holds at
        some point of the tile. None where there is no such guard."""
        if s.stores:
            return None
        within = {loop.index for loop in s.loops}
        out: ir.Value | None = None
        for a in s.accumulators:
            tests = [t for t in conjuncts(a.guard) if self.deps[t].isdisjoint(within)]
            if not s.loops or not tests or any(_may_fail(t) for t in tests):
                return None
            for at in points:
                holds = self.any(self.value(tests[0], at))
                for t in tests[1:]:
                    holds = self.b.and_(holds, self.any(self.value(t, at)))
                out = holds if out is None else self.b.or_(out, holds)
        return out

    def steps(self, s: Reduce) -> ir.Value | None:
        """Whether inner loops have any steps, where that is in doubt: a size's half may be 0. An
        outer one would run for nothing."""
        b, out = self.b, None
        for loop in s.loops[1:]:
            if any(isinstance(x, FloorDiv) for x in atoms(loop.extent)):
                some = b.icmp_signed(">", self.size(loop.extent), constant(I64, 0))
                out = self.both(out, some)
        return out

    def both(self, x: ir.Value | None, y: ir.Value | None) -> ir.Value | None:
        if x is None or y is None:
            return x if y is None else y
        return self.b.and_(x, y)

    def start_at(self, a: Accumulator, lanes: int, at: Copies) -> list[ir.Value]:
        if a.start is None:
            return self.start(a, lanes)
        first = self.value(a.start, at)
        return [self.splat(first) if lanes > 1 else first]

    def start(self, a: Accumulator, lanes: int) -> list[ir.Value]:
        d = a.value.dtype
        first = constant(register_type(d, lanes), ins.identity(a.reducer, d))
        if a.position is None:
            return [first]
        return [first, constant(vector(I64, lanes), (1 << 63) - 1)]

    def reduce_loops(
        self,
        s: Reduce,
        points: list[Copies],
        inner: int,
        loops: Sequence[Loop],
        carried: Sequence[ir.Value],
    ) -> Sequence[ir.Value]:
        if not loops:
            return self.step(s, points, inner, carried)
        if s.block is not None and loops[0].index == s.block[0]:
            return self.blocks(loops[0], s.block[1], carried, partial(self.block, s, points, inner))
        return self.loop(s, points, inner, loops, carried)

    def block(
        self, s: Reduce, points: list[Copies], inner: int, totals: Sequence[ir.Value]
    ) -> list[ir.Value]:
        """The totals with the sums of one block: those of the copies are added up first, and
        halves of the lanes until the rest is one vector in f64."""
        assert s.block is not None
        first = next(n for n, loop in enumerate(s.loops) if loop.index == s.block[0])
        lanes = width_of(totals[0].type)
        width = max([lanes, *(loop.lanes for loop in s.loops)])
        starts = [
            x
            for _ in range(len(points) * inner)
            for a in s.accumulators
            for x in self.start(a, width)
        ]
        sums = self.loop(s, points, inner, s.loops[first:], starts)
        out: list[ir.Value] = []
        many = len(s.accumulators)
        for k, total in enumerate(totals):
            p, a = divmod(k, many)
            copies = [[sums[(p * inner + c) * many + a]] for c in range(inner)]
            (x,) = self.pairwise(s.accumulators[a], copies)
            while width_of(x.type) > lanes:
                half = width_of(x.type) // 2
                x = self.b.fadd(self.half(x, 0, half), self.half(x, half, half))
            wide = x if x.type == total.type else self.b.fpext(x, total.type)
            out.append(self.b.fadd(total, wide))
        return out

    def loop(
        self,
        s: Reduce,
        points: list[Copies],
        inner: int,
        loops: Sequence[Loop],
        carried: Sequence[ir.Value],
    ) -> Sequence[ir.Value]:
        def body(states: Sequence[ir.Value]) -> Sequence[ir.Value]:
            if loops[1:]:
                self.hoist_values(self.order[s], {})
            return self.reduce_loops(s, points, inner, loops[1:], states)

        return self.target.reduced_loop(self, loops[0], carried, body)

    def step(
        self, s: Reduce, points: list[Copies], inner: int, carried: Sequence[ir.Value]
    ) -> list[ir.Value]:
        """One step of the innermost loop, for every copy."""
        if s is self.nest.body[0]:
            self.ask_ahead()
        states = iter(carried)
        out: list[ir.Value] = []
        own = next((loop.index for loop in s.loops if loop.lanes > 1), None)
        now = inner if own is None else self.loops[own].copies  # of a rest, one
        with side_by_side(self.b) as copy:
            for at, k in product(points, range(inner)):
                old = [next(states) for a in s.accumulators for _ in range(_parts(a))]
                if k >= now:
                    out += old
                    continue
                copy()
                here = at if own is None or now == 1 else {**at, own: k}
                out += self.accumulated(s, old, here, own is not None)
        self.stores(s.stores)
        return out

    def accumulated(
        self, s: Reduce, states: Sequence[ir.Value], at: Copies, in_lanes: bool
    ) -> list[ir.Value]:
        out: list[ir.Value] = []
        for a in s.accumulators:
            old = list(states[len(out) : len(out) + _parts(a)])
            new = self.accumulate(a, old, at)
            mask = self.lane_mask(at) if in_lanes else None
            if a.guard is not None:
                guard = self.value(a.guard, at)
                mask = guard if mask is None else self.b.and_(mask, self.splat(guard))
            if mask is not None:
                new = [self.b.select(mask, n, o) for n, o in zip(new, old, strict=True)]
            out += new
        return out

    def accumulate(self, a: Accumulator, old: list[ir.Value], at: Copies) -> list[ir.Value]:
        d, t = a.value.dtype, old[0].type
        wide = isinstance(t, ir.VectorType)

        def lanes(x: ir.Value) -> ir.Value:
            return self.splat(x) if wide else x

        match a.value:
            case Apply("mul", (left, right)) if a.reducer == "sum" and d.is_float:
                factors = [lanes(self.value(left, at)), lanes(self.value(right, at))]
                return [intrinsic(self.b, "llvm.fma", [*factors, old[0]])]
        x = lanes(self.value(a.value, at))
        if a.position is None:
            return [ins.combine(self.b, a.reducer, old[0], x, d)]
        place = lanes(self.linear(a.position, at))
        return list(ins.choose_position(self.b, a.reducer, (old[0], old[1]), (x, place), d))

    def fold(
        self,
        a: Accumulator,
        copies: list[list[ir.Value]],
        width: int,
        loops: Sequence[Loop],
    ) -> ir.Value:
        """Copies pairwise, then lanes by halves, then threads: a fixed tree."""
        state = self.pairwise(a, copies)
        whole = None if width == 1 else ins.reduce_lanes(self.b, a.reducer, state[0], a.value.dtype)
        if whole is not None:
            state, width = [whole], 1
        while width > 1:
            width //= 2
            state = self.merge(
                a,
                [self.half(x, 0, width) for x in state],
                [self.half(x, width, width) for x in state],
            )
        state = self.target.joined(self, loops, state, lambda x, y: self.merge(a, x, y))
        out = state[-1]
        held = register_type(a.result.dtype, width_of(out.type))
        if a.position is None and a.result.dtype.is_float and out.type != held:
            wider = element_of(held) == DOUBLE
            out = self.b.fpext(out, held) if wider else self.b.fptrunc(out, held)
        return out if a.position is not None else ins.rounded(self.b, out, a.result.dtype)

    def pairwise(self, a: Accumulator, copies: list[list[ir.Value]]) -> list[ir.Value]:
        while len(copies) > 1:
            pairs = [self.merge(a, x, y) for x, y in zip(copies[::2], copies[1::2], strict=False)]
            copies = pairs + ([copies[-1]] if len(copies) % 2 else [])
        return copies[0]

    def merge(self, a: Accumulator, x: list[ir.Value], y: list[ir.Value]) -> list[ir.Value]:
        d = a.value.dtype
        if a.position is None:
            return [ins.combine(self.b, a.reducer, x[0], y[0], d)]
        return list(ins.choose_position(self.b, a.reducer, (x[0], x[1]), (y[0], y[1]), d))

    def half(self, x: ir.Value, first: int, width: int) -> ir.Value:
        if width == 1:
            return self.b.extract_element(x, constant(I32, first))
        lanes = lanes_from(tuple(range(first, first + width)))
        return self.b.shuffle_vector(x, formatted(x.type, "poison"), lanes)


def _may_fail(x: Value) -> bool:
    """Whether making `x` checks an index: an error that the loops might never meet."""
    return any(isinstance(v, Load) and (v.checks or not v.hoistable) for v in postorder([x]))


def _parts(a: Accumulator) -> int:
    return 1 if a.position is None else 2


def _lanes_of_totals(s: Reduce, lanes: int) -> int:
    """As many f64 as a vector of this many sums has room for."""
    size = max(4, *(a.value.dtype.size for a in s.accumulators))
    return max(1, lanes * size // 8)
