"""The emitter: a loop nest becomes an LLVM function, for any target.

In: a `Nest` and a `Target`. Out: a function in the module. Every value is made once for each
combination of the unrolled copies on which it depends, in the outermost loop that has all its
indices: a load that several accumulators share is one load. Left to others: what differs between
machines (the target), instructions of primitives (`instructions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import product

import llvmlite.ir as ir

from . import instructions as ins
from .dims import dim
from .dims import product as dims_product
from .dtypes import I64 as INDEX
from .dtypes import DType
from .frame import Copies, Frame, Target, formatted, lanes_from
from .instructions import I32, I64, memory_type, register_type
from .llvm_vector import constant, intrinsic, vector
from .loops import (
    Accumulator,
    Apply,
    Buffer,
    Fill,
    IndexValue,
    Kind,
    Linear,
    Load,
    Loop,
    Nest,
    Number,
    Reduce,
    Result,
    Store,
    Update,
    Value,
    children,
    indices_of,
    postorder,
    values_of,
)


def emit(
    target: Target, module: ir.Module, nest: Nest, dims: Sequence[str], param_count: int
) -> ir.Function:
    """The function of `nest`, added to `module`. `dims` are the names of the sizes in the order in
    which they are passed."""
    return _Emitter(target, module, nest, dims, param_count).run()


class _Emitter(Frame):
    def run(self) -> ir.Function:
        nest = self.nest
        outer = frozenset(loop.index for loop in nest.loops)
        every = [v for s in nest.body for v in values_of(s)]
        self.deps = indices_of(every, outer)
        self.order = {s: list(postorder(values_of(s))) for s in nest.body}
        self.roots: dict[Value, list[Value]] = {}
        self.start_values()
        for fill in nest.fills:
            self.fill(fill)
        self.hoist()
        self.target.output_loops(self, nest.loops, self.body)
        self.target.finish(self)
        return self.function

    def body(self) -> None:
        for s in self.nest.body:
            match s:
                case Store():
                    self.target.store(self, partial(self.store, s))
                case Update():
                    self.update(s)
                case Reduce():
                    self.reduce(s)

    def start_values(self) -> None:
        """Pointers and sizes stand at the start of the function."""
        places: list[tuple[Buffer, Linear]] = []
        for s in self.nest.body:
            places += [(x.buffer, x.offset) for x in self.order[s] if isinstance(x, Load)]
            if isinstance(s, Store | Update):
                places.append((s.buffer, s.offset))
        for buffer, offset in places:
            self.pointer(buffer)
            for _, c in offset.terms:
                self.size(c)
        for s in self.nest.body:
            for loop in (*self.nest.loops, *(s.loops if isinstance(s, Reduce) else ())):
                self.size(loop.extent)

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
        """Every combination of unrolled copies of the open loops among `indices`."""
        many = [k for k in self.loops if k in indices and self.loops[k].copies > 1]
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
        args = [self.one(a, at) for a in x.args]
        if any(isinstance(a.type, ir.VectorType) for a in args):
            first = 1 if x.name == "where" else 0  # a test may stay a scalar
            if first and isinstance(args[0].type, ir.VectorType):
                first = 0
            args[first:] = [self.splat(a) for a in args[first:]]
        last = x.args[-1]
        literal = last.value if isinstance(last, Number) else None
        return ins.apply(self.b, x.name, args, last.dtype, x.dtype, literal)

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
        pointers = b.gep(address, [scattered], source_etype=element)
        pointers.type = ir.VectorType(address.type, self.lanes)
        full = self.splat(constant(ins.I1, 1)) if mask is None else self.splat(mask)
        got = intrinsic(
            b,
            "llvm.masked.gather",
            [pointers, full, constant_zero(row)],
            result=row,
            overload=[row, pointers.type],
        )
        return ins.from_memory(b, got, x.dtype)

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

    # ----------------------------------------------------------------- statements

    def store(self, s: Store) -> None:
        b = self.b
        element = memory_type(s.buffer.dtype)
        for at in self.copies_of(self.loops):
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
            pointers.type = ir.VectorType(address.type, self.lanes)
            full = self.splat(constant(ins.I1, 1)) if mask is None else mask
            intrinsic(
                b,
                "llvm.masked.scatter",
                [x, pointers, constant(I32, self.align(element)), full],
                result=ir.VoidType(),
                overload=[x.type, pointers.type],
            )

    def update(self, s: Update) -> None:
        b, d = self.b, s.buffer.dtype
        element = memory_type(d)
        mask = self.lane_mask({})
        for c in s.checks:
            index = self.as_index(self.value(c.index, {}), c.index.dtype)
            self.require(c.id, c.axis, index, c.size, mask)
        x = self.value(s.value, {})
        address = self.address(s.buffer, s.offset, {})
        for v, stride in s.gathered:
            step = self.as_index(self.value(v, {}), v.dtype)
            step = step if stride.const == 1 else b.mul(step, self.size(stride))
            address = b.gep(address, [step], source_etype=element)
        if self.lane_index is None:
            old = b.load(address, typ=element, align=self.align(element))
        else:
            old = self.load_row(address, vector(element, self.lanes), d, mask)
            x = self.splat(x)
        new = ins.combine(b, s.combine, ins.from_memory(b, old, d), x, d)
        new = ins.to_memory(b, ins.rounded(b, new, d), d)
        if self.lane_index is None:
            b.store(new, address, align=self.align(element))
        else:
            self.store_row(new, address, mask)

    def fill(self, f: Fill) -> None:
        """A value over a whole buffer; zeros by a block operation."""
        b, d = self.b, f.buffer.dtype
        element = memory_type(d)
        start = self.address(f.buffer, Linear((), dim(0)), {})
        count = self.size(dims_product(f.buffer.shape))
        if not f.value.value:
            size = b.mul(count, constant(I64, d.size))
            intrinsic(
                b,
                "llvm.memset",
                [start, constant(ins.I8, 0), size, constant(ins.I1, 0)],
                result=ir.VoidType(),
                overload=[start.type, I64],
            )
            return
        loop = Loop(-1, dims_product(f.buffer.shape), Kind.SERIAL)
        x = ins.to_memory(b, constant(register_type(d), f.value.value), d)
        self.nest.index_names[-1] = "fill"

        def body(_: Sequence[ir.Value]) -> Sequence[ir.Value]:
            address = b.gep(start, [self.base[-1]], source_etype=element)
            b.store(x, address, align=self.align(element))
            return ()

        self.counted(loop, (), body)

    # ----------------------------------------------------------------- reductions

    def reduce(self, s: Reduce) -> None:
        """Accumulators for every copy, carried through the loops, then folded into one."""
        outer_lane = self.lane_index is not None
        points = list(self.copies_of(self.loops))
        own = [loop for loop in s.loops if loop.lanes > 1]
        lanes = self.lanes if outer_lane else own[0].lanes if own else 1
        inner = own[0].copies if own else 1
        starts: list[ir.Value] = []
        for _ in range(len(points) * inner):
            for a in s.accumulators:
                starts += self.start(a, lanes)
        for at in points:
            self.lane_mask(at)
        self.hoist_values(self.order[s], {})
        needed = self.needed(s, points)
        if needed is not None:
            extent = self.size(s.loops[0].extent)
            self.limits[s.loops[0].index] = self.b.select(needed, extent, constant(I64, 0))
        ends = self.reduce_loops(s, points, inner, list(s.loops), starts)
        states = iter(ends)
        width = 1 if outer_lane else lanes
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
        loops: list[Loop],
        carried: Sequence[ir.Value],
    ) -> Sequence[ir.Value]:
        if not loops:
            return self.step(s, points, inner, carried)

        def body(states: Sequence[ir.Value]) -> Sequence[ir.Value]:
            if loops[1:]:
                self.hoist_values(self.order[s], {})
            return self.reduce_loops(s, points, inner, loops[1:], states)

        return self.target.reduced_loop(self, loops[0], carried, body)

    def step(
        self, s: Reduce, points: list[Copies], inner: int, carried: Sequence[ir.Value]
    ) -> list[ir.Value]:
        """One step of the innermost loop, for every copy."""
        states = iter(carried)
        out: list[ir.Value] = []
        own = next((loop.index for loop in s.loops if loop.lanes > 1), None)
        for at in points:
            for copy in range(inner):
                here = at if own is None or inner == 1 else {**at, own: copy}
                for a in s.accumulators:
                    old = [next(states) for _ in range(_parts(a))]
                    new = self.accumulate(a, old, here)
                    mask = None if own is None else self.lane_mask(here)
                    if a.guard is not None:
                        guard = self.value(a.guard, here)
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
        while len(copies) > 1:
            pairs = [self.merge(a, x, y) for x, y in zip(copies[::2], copies[1::2], strict=False)]
            copies = pairs + ([copies[-1]] if len(copies) % 2 else [])
        state = copies[0]
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
        return out if a.position is not None else ins.rounded(self.b, out, a.result.dtype)

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


def conjuncts(guard: Value | None) -> list[Value]:
    """The tests that must all hold."""
    match guard:
        case None:
            return []
        case Apply("and", (left, right)):
            return [*conjuncts(left), *conjuncts(right)]
        case _:
            return [guard]


def _may_fail(x: Value) -> bool:
    """Whether making `x` checks an index: an error that the loops might never meet."""
    return any(isinstance(v, Load) and (v.checks or not v.hoistable) for v in postorder([x]))


def _parts(a: Accumulator) -> int:
    return 1 if a.position is None else 2


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
