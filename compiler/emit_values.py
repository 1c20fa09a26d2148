"""Values of a nest as LLVM values: hoisted, shared, loaded under masks.

In: the values of the loop IR. Out: LLVM values, each made once for every combination of the
unrolled copies on which it depends, in the outermost loop that has all its indices: a load that
several accumulators share is one load. Left to others: statements (`emit`), instructions of
primitives (`instructions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import product

from . import instructions as ins
from . import ir
from .dims import Dim, dim
from .dtypes import I64 as INDEX
from .dtypes import DType
from .frame import Copies, Frame, formatted, lanes_from
from .instructions import I1, I32, I64, memory_type, register_type
from .llvm_vector import constant, intrinsic, vector, width_of
from .loops import (
    Apply,
    IndexValue,
    Linear,
    Load,
    Number,
    Result,
    Value,
    children,
    indices_of,
    postorder,
    values_of,
)

MOST_TIMES = 4
"""Lanes that an element is read for, where it is read once for all of them."""


class Values(Frame):
    """A frame that makes values. `deps` are the loop indices on which each depends."""

    def find_dependencies(self) -> None:
        outer = frozenset(loop.index for loop in self.nest.loops)
        every = [v for s in self.nest.body for v in values_of(s)]
        self.deps = indices_of(every, outer)
        self.order = {s: list(postorder(values_of(s))) for s in self.nest.body}
        self.roots: dict[Value, list[Value]] = {}

    # ----------------------------------------------------------------- hoisting

    def hoist(self) -> None:
        """Make all that depends on the open loops only, and the known part of addresses."""
        if all(k.index in self.loops for k in self.nest.loops) and self.loops:
            return  # each statement makes what it needs
        ready: dict[Value, bool] = {}
        for s in self.nest.body:
            self.hoist_values(self.order[s], ready)

    def hoist_values(self, order: Iterable[Value], ready: dict[Value, bool]) -> None:
        for x in order:
            if x not in ready:
                ready[x] = (
                    self.deps[x] <= self.loops.keys()
                    and all(ready[c] for c in children(x))
                    and (not isinstance(x, Load) or x.hoistable)
                    and (not isinstance(x, Result) or self.is_made(x))
                )
            if ready[x] and not isinstance(x, Number | IndexValue | Result):
                for at in self.copies_of(self.deps[x]):
                    self.one(x, at)
            elif isinstance(x, Load) and not x.gathered:
                known = self.deps[x] & self.loops.keys()
                if known or not x.offset.terms:
                    for at in self.copies_of(known):
                        self.prefix(x.buffer, x.offset, at)

    def is_made(self, x: Result) -> bool:
        return any(isinstance(key, tuple) and key[0] is x for s in self.scopes for key in s)

    def copies_of(self, indices: Iterable[int]) -> Iterator[Copies]:
        """Every combination of unrolled copies of the open loops among `indices`. Those of which
        there are fewer vary faster: what depends on these alone is fewer values to keep."""
        many = [k for k in self.loops if k in indices and self.loops[k].copies > 1]
        many.sort(key=lambda k: -self.loops[k].copies)
        for combination in product(*(range(self.loops[k].copies) for k in many)):
            yield dict(zip(many, combination, strict=True))

    # ----------------------------------------------------------------- values

    def value(self, root: Value, at: Copies) -> ir.Value:
        order = self.roots.get(root)
        if order is None:
            order = self.roots[root] = list(postorder([root]))
        for x in order:
            self.one(x, at)
        return self.one(root, at)

    def one(self, x: Value, at: Copies) -> ir.Value:
        """The value of `x`, whose children are made."""
        own = self.deps[x]
        key = (x, *((k, c) for k, c in at.items() if k in own))
        return self.once(key, lambda: self.make(x, at))

    def make(self, x: Value, at: Copies) -> ir.Value:
        match x:
            case Number():
                return constant(register_type(x.dtype), x.value)
            case IndexValue():
                return self.linear(x.at, at)
            case Load():
                return self.load(x, at)
            case Apply():
                return self.apply(x, at)
            case Result():
                raise AssertionError(f"{x.name} is not made for {at}")

    def apply(self, x: Apply, at: Copies) -> ir.Value:
        test = self.lane_test(x, at)
        if test is not None:
            return test
        args = [self.one(a, at) for a in x.args]
        if any(isinstance(a.type, ir.VectorType) for a in args):
            first = 1 if x.name == "where" else 0  # a test may stay a scalar
            if first and isinstance(args[0].type, ir.VectorType):
                first = 0
            args[first:] = [self.splat(a) for a in args[first:]]
        last = x.args[-1]
        literal = last.value if isinstance(last, Number) else None
        return ins.apply(self.b, x.name, args, last.dtype, x.dtype, literal)

    def lane_test(self, x: Apply, at: Copies) -> ir.Value | None:
        """A comparison of integers of which one walks along the lanes by 1, the other not at all:
        one comparison of short lane numbers. It holds up to some lane, from there on, in one, or in
        all others. What is not affine may be so large that differences wrap: then only equality."""
        k = self.lane_index
        if x.name not in _RELATIONS or k is None or k not in self.deps[x]:
            return None
        sides = [_affine(a) for a in x.args]
        if None in sides and x.name not in ("eq", "ne"):
            return None
        steps = [dim(0) if s is None else s.coefficient(k) or dim(0) for s in sides]
        step = (steps[0] - steps[1]).const
        if step not in (1, -1):
            return None
        if any(
            s is None and (a.dtype is not INDEX or k in self.deps[a])
            for s, a in zip(sides, x.args, strict=True)
        ):
            return None
        b = self.b
        first = [
            self.one(a, at) if s is None else self.scalar(s, at)
            for s, a in zip(sides, x.args, strict=True)
        ]
        # lane ? right - left for a step of 1; left - right ? lane for -1
        bound = b.sub(*(reversed(first) if step == 1 else first))
        bound = intrinsic(b, "llvm.smax", [bound, constant(I64, -1)])
        bound = intrinsic(b, "llvm.smin", [bound, constant(I64, self.lanes)])
        relation = x.name if step == 1 else _MIRRORED.get(x.name, x.name)
        lanes, short = self.numbers_from(0), self.splat(b.trunc(bound, I32))
        return b.icmp_signed(_RELATIONS[relation], lanes, short)

    def scalar(self, x: Linear, at: Copies) -> ir.Value:
        """An affine value in the first lane."""
        total = self.size(x.const)
        for k, c in x.terms:
            total = self.b.add(total, self.scaled(k, at.get(k, 0), c))
        return total

    def load(self, x: Load, at: Copies) -> ir.Value:
        b = self.b
        guard = None if x.guard is None else self.one(x.guard, at)
        wide = self.lane_index in self.deps[x]
        tail = self.lane_mask(at) if wide else None
        mask = guard if tail is None else tail if guard is None else b.and_(tail, self.splat(guard))
        for c in x.checks:
            index = self.one(c.index, at)
            self.require(c.id, c.axis, self.as_index(index, c.index.dtype), c.size, mask)
        element = memory_type(x.dtype)
        times = self.repetition(x)
        if times is not None:
            return ins.from_memory(b, self.repeated(x, at, *times), x.dtype)
        address = self.address(x.buffer, x.offset, at)
        scattered: ir.Value | None = None
        for v, stride in x.gathered:
            step = self.as_index(self.one(v, at), v.dtype)
            size = self.size(stride)
            if isinstance(step.type, ir.VectorType):
                step = step if stride.const == 1 else b.mul(step, self.splat(size))
                scattered = step if scattered is None else b.add(scattered, step)
            else:
                step = step if stride.const == 1 else b.mul(step, size)
                address = b.gep(address, [step], source_etype=element)
        if not wide:
            return ins.from_memory(b, self.load_one(address, element, guard), x.dtype)
        lane_step = (
            x.offset.coefficient(self.lane_index or 0) if self.lane_index is not None else None
        )
        row = vector(element, self.lanes)
        if scattered is None and lane_step is not None and lane_step.const == 1:
            return ins.from_memory(b, self.load_row(address, row, x.dtype, mask), x.dtype)
        if scattered is None and lane_step is None:  # only the guard varies along the lanes
            out = self.splat(self.load_one(address, element, self.any(mask)))
            return ins.from_memory(b, out, x.dtype)
        if lane_step is not None:
            steps = self._steps(lane_step)
            scattered = steps if scattered is None else b.add(scattered, steps)
        assert scattered is not None
        pointers = b.gep(address, [scattered], source_etype=element)
        full = self.splat(constant(ins.I1, 1)) if mask is None else self.splat(mask)
        got = intrinsic(
            b,
            "llvm.masked.gather",
            [pointers, full, constant_zero(row)],
            result=row,
            overload=[row, pointers.type],
        )
        return ins.from_memory(b, got, x.dtype)

    def repetition(self, x: Load) -> tuple[Linear, int] | None:
        """Of a load at `place // times` along the lanes, which walk along the place by 1."""
        k = self.lane_index
        if k is None or x.guard is not None or x.checks or x.offset.coefficient(k) is not None:
            return None
        match [(v, step) for v, step in x.gathered if k in self.deps[v]]:
            case [(Apply("floordiv", (IndexValue(place), Number(int() as times))), step)] if (
                step.const == 1 and 1 < times <= MOST_TIMES
            ):
                one = place.coefficient(k)
                return (place, times) if one is not None and one.const == 1 else None
            case _:
                return None

    def repeated(self, x: Load, at: Copies, place: Linear, times: int) -> ir.Value:
        """Neighbouring elements, each for several lanes: a row is read, and spread."""
        b, lanes = self.b, self.lanes
        first = self.scalar(place, at)
        start = ins.apply(b, "floordiv", [first, constant(I64, times)], INDEX, INDEX, times)
        before = b.sub(first, b.mul(start, constant(I64, times)))  # lanes of its first element
        element = memory_type(x.dtype)
        address = self.address(x.buffer, x.offset, at)
        for v, stride in x.gathered:
            if self.lane_index not in self.deps[v]:
                step = b.mul(self.as_index(self.one(v, at), v.dtype), self.size(stride))
                address = b.gep(address, [step], source_etype=element)
        address = b.gep(address, [start], source_etype=element)
        here, none = constant(I64, lanes), constant(I64, 0)
        if self.lane_mask(at) is not None:
            assert self.lane_index is not None
            at_lane = self.index(self.lane_index, at)
            here = b.sub(self.range_of(self.loops[self.lane_index])[1], at_lane)
            here = intrinsic(b, "llvm.smin", [here, constant(I64, lanes)])
        end = b.select(b.icmp_signed(">", here, none), b.add(before, here), none)
        mask = b.icmp_signed("<", self.numbers(I32, times), self.splat(b.trunc(end, I32)))
        row = self.load_row(address, vector(element, lanes), x.dtype, mask)
        out = None
        for skipped in range(times):
            spread = lanes_from(tuple((skipped + lane) // times for lane in range(lanes)))
            other = b.shuffle_vector(row, formatted(row.type, "poison"), spread)
            here = b.icmp_signed("==", before, constant(I64, skipped))
            out = other if out is None else b.select(here, other, out)
        assert out is not None
        return out

    def any(self, mask: ir.Value | None) -> ir.Value | None:
        if mask is None or not isinstance(mask.type, ir.VectorType):
            return mask
        return intrinsic(self.b, "llvm.vector.reduce.or", [mask], result=ins.I1)

    def as_index(self, x: ir.Value, d: DType) -> ir.Value:
        return ins.cast(self.b, x, d, INDEX)

    def load_one(self, address: ir.Value, element: ir.Type, guard: ir.Value | None) -> ir.Value:
        """A scalar; 0 where the guard fails, without touching the address."""
        b = self.b
        if guard is not None:
            address = b.select(guard, address, _zeros(b.module, address.type))
        return b.load(address, typ=element, align=self.align(element))

    def align(self, element: ir.Type) -> int:
        return {ir.HalfType: 2, ir.FloatType: 4, ir.DoubleType: 8}.get(
            type(element), getattr(element, "width", 8) // 8
        )

    def load_row(
        self, address: ir.Value, row: ir.Type, dtype: DType, mask: ir.Value | None
    ) -> ir.Value:
        align = self.align(row.element)
        if mask is None:
            return self.b.load(address, typ=row, align=align)
        return intrinsic(
            self.b,
            "llvm.masked.load",
            [address, constant(I32, align), self.splat(mask), constant_zero(row)],
            result=row,
            overload=[row, address.type],
        )

    def store_row(self, x: ir.Value, address: ir.Value, mask: ir.Value | None) -> None:
        align = self.align(x.type.element)
        if mask is None:
            self.b.store(x, address, align=align)
            return
        intrinsic(
            self.b,
            "llvm.masked.store",
            [x, address, constant(I32, align), self.splat(mask)],
            result=ir.VoidType(),
            overload=[x.type, address.type],
        )

    # ----------------------------------------------------------------- checks

    def require(
        self, check: int, axis: int, index: ir.Value, size: Dim, mask: ir.Value | None
    ) -> None:
        """Leave the function if a lane of `index` (where `mask` holds) is outside 0:size."""
        b = self.b
        bound = self.size(size)
        wide = isinstance(index.type, ir.VectorType)
        bad = b.icmp_unsigned(">=", index, self.splat(bound) if wide else bound)
        if mask is not None:
            if isinstance(mask.type, ir.VectorType) and not wide:
                mask = intrinsic(b, "llvm.vector.reduce.or", [mask], result=I1)
            elif wide:
                mask = self.splat(mask)
            bad = b.and_(bad, mask)
        any_bad = intrinsic(b, "llvm.vector.reduce.or", [bad], result=I1) if wide else bad
        failed, fine = b.append_basic_block("out_of_range"), b.append_basic_block("in_range")
        b.cbranch(any_bad, failed, fine)
        b.position_at_end(failed)
        value = index
        if wide:
            bits = b.bitcast(bad, ir.IntType(width_of(bad.type)))
            lane = intrinsic(b, "llvm.cttz", [bits, constant(I1, 0)], overload=[bits.type])
            lane = b.zext(lane, I64) if lane.type.width < 64 else lane
            value = b.extract_element(index, lane)
        self.target.fail(self, check, axis, value, bound)
        b.position_at_end(fine)


_RELATIONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
_MIRRORED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def _affine(x: Value) -> Linear | None:
    match x:
        case IndexValue(at):
            return at
        case Number(int() as n) if x.dtype is INDEX:
            return Linear((), dim(n))
        case _:
            return None


def constant_zero(t: ir.Type) -> ir.Value:
    return formatted(t, "zeroinitializer")


def _zeros(module: ir.Module, pointer: ir.Type) -> ir.Value:
    found = module.globals.get("zeros")
    if found is None:
        found = ir.GlobalVariable(module, ir.ArrayType(I64, 1), "zeros", pointer.addrspace)
        found.initializer = ir.Constant(found.value_type, None)
        found.global_constant = True
        found.linkage = "internal"
    return found
