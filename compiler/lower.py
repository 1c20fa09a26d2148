"""Lowering: a kernel becomes a loop nest over its output indices.

In: a `Program`. Out: one `Nest` per kernel (its loops not yet tiled) and the index checks that the
native code may report. Left to others: lanes and copies (`tile`), instructions (`emit`).

A read of a member of the same kernel becomes its value. A read under a `where` carries the
condition as a guard, and one whose place is not proved to be in range is checked. Neighbouring
indices that every access walks as one are merged, so that lanes cross rows.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from functools import reduce
from itertools import product as product_of
from typing import Literal
from weakref import WeakKeyDictionary

from . import ranges
from . import scalar as sc
from .artifact import IndexCheck
from .dims import Dim, dim, product, provably_positive, strides
from .dtypes import BOOL, F64, I64, DType
from .graph import REDUCERS, Comp, Node, operands
from .instructions import identity
from .joined_index import nest_along
from .kernels import Kernel, inside, is_identity_read
from .loops import (
    Accumulator,
    Apply,
    Buffer,
    Check,
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
    Statement,
    Store,
    Update,
    Value,
)
from .merged_indices import distinct, mergeable, merged_extents
from .plan import Program
from .records import dataclass, field
from .scalar import Scalar
from .show import index_name, node_name
from .tile import Preference, Registers, preference

InnerIndex = Literal["output", "sum"]


@dataclass(frozen=True)
class LoopProgram:
    """The nests in order, and what their checks mean. A nest of a band runs over the rows that its
    caller states."""

    program: Program
    nests: tuple[Nest, ...]
    checks: tuple[IndexCheck, ...]


def lower(program: Program) -> LoopProgram:
    checks: list[IndexCheck] = []
    nests: list[Nest] = []
    for k, kernel in enumerate(program.kernels.kernels):
        band = program.kernels.band(k)
        stored, shared, summed = program.stored, 0, False
        inner: InnerIndex | None = None
        if band is not None:
            shared, summed = band.shared, k in band.summed
            if band.is_inner(k):
                inner = "sum" if band.is_inner_sum(k) else "output"
            room = program.rooms[band].inner
            if room is not None and inner == "sum":
                stored = {**stored, **{c: (s.part,) for c, s in room.sums.items()}}
        lowering = _Lowering(stored, kernel, checks, shared, summed, inner)
        nests.append(lowering.nest(f"kernel{k}"))
    return LoopProgram(program, tuple(nests), tuple(checks))


_lone: WeakKeyDictionary[Comp, Nest] = WeakKeyDictionary()


def lone_nest(kernel: Kernel) -> Nest:
    """The nest of a kernel, wherever its operands live. That of a single comprehension is kept as
    long as it: several passes ask."""
    if len(kernel.comps) > 1:
        return _lone_nest(kernel)
    (c,) = kernel.comps
    found = _lone.get(c)
    if found is None:
        found = _lone[c] = _lone_nest(kernel)
    return found


def _lone_nest(kernel: Kernel) -> Nest:
    return _Lowering(_anywhere(kernel), kernel, []).nest("alone")


def inner_nest(kernel: Kernel, shared: int, inner: InnerIndex) -> Nest:
    """The nest of an inner kernel of a band, wherever its operands live."""
    return _Lowering(_anywhere(kernel), kernel, [], shared, False, inner).nest("inner")


def _anywhere(kernel: Kernel) -> dict[Node, tuple[Buffer, ...]]:
    nodes = {n: None for c in kernel.comps for n in (c, *operands(c))}
    return {n: (Buffer("", n.dtype, n.shape, "arena", 0, dim(0)),) for n in nodes}


def preferred_tile(c: Comp, registers: Registers) -> Preference:
    """The tile that `c` wants when it stands alone, wherever its operands live."""
    return preference(lone_nest(Kernel((c,))), registers)


def settled(d: DType) -> DType:
    """The dtype in which a weak expression is computed."""
    return d if not d.is_weak else F64 if d.is_float else I64


@dataclass
class _Lowering:
    """One kernel. The nest's indices: those of the output, then each member's reduced ones, with
    numbers of their own. An index of extent 1 is the number 0; a merged index is dropped, and its
    neighbour to the right runs over the product of both extents."""

    stored: Mapping[Node, tuple[Buffer, ...]]
    kernel: Kernel
    checks: list[IndexCheck]
    shared: int = 0
    """In a band, how many of the first indices of the output, or, if `summed`, of the reduced
    ones, are its rows: they are merged into one, and with no other."""
    summed: bool = False
    inner: InnerIndex | None = None
    """In a band, whose index of it is the one of which the caller states a part, too."""
    known: dict[Node, Value] = field(default_factory=dict)
    loaded: dict[tuple[Node, Linear], Load] = field(default_factory=dict)
    """What members read at the place that they compute, once for all: one of them may be written
    there. In a pass over rows all places are shared."""
    values: dict[Hashable, Value] = field(default_factory=dict)
    """What members compute alike, once for all."""
    fixed: dict[int, int] = field(default_factory=dict)
    """In a pass: the nest's indices that stand for one number at a time."""
    names: dict[int, str] = field(default_factory=dict)

    def nest(self, name: str) -> Nest:
        head = self.kernel.comps[0]
        rank = len(head.extents) if head.target is not None else head.rank
        if self.kernel.rows is not None:
            rank = self.kernel.rows
        numbers = self.numbered(rank)
        merged = mergeable(self.kernel.comps, numbers, rank) - self.rows(numbers)
        self.extents = merged_extents(self.kernel.comps, numbers, merged)
        self.dropped = merged
        for c in self.kernel.comps:
            for k, n in numbers[c].items():
                self.names.setdefault(n, index_name(c, k))
        self.names = distinct(self.names)
        body: list[Statement] = []
        fills: list[Fill] = []
        if self.kernel.rows is not None:
            body += self.walk(numbers, self.kernel.rows)
        else:
            for c in self.kernel.comps:
                self.member(c, numbers[c], body, fills)
        kind = Kind.SERIAL if head.target is not None else Kind.PARALLEL
        loops = tuple(
            Loop(n, self.extents[n], kind)
            for k, n in numbers[head].items()
            if k < rank and n in self.extents
        )
        ranged = tuple(n for n in sorted(self.rows(numbers)))
        nest = Nest(name, str(head.span), tuple(fills), loops, tuple(body), self.names, ranged)
        return nest if self.summed else self.by_rows(nest)

    def by_rows(self, nest: Nest) -> Nest:
        """The nest over a band's rows as one index. That of a copy is not, whose reads do not walk
        them as one."""
        group = tuple(loop for loop in nest.loops if loop.index < self.shared)
        if len(group) < 2:
            return nest
        assert all(isinstance(s, Store) for s in nest.body)
        number = max(nest.index_names) + 1
        rows = Loop(number, product(tuple(x.extent for x in group)), group[-1].kind)
        names = nest.index_names
        joined = "".join(names[x.index] for x in group)
        return nest_along(nest, rows, group, distinct({**names, number: joined}))

    def rows(self, numbers: dict[Comp, dict[int, int]]) -> frozenset[int]:
        """The indices that count the rows of a band."""
        sums = [c for c in self.kernel.comps if c.reducer is not None]
        if self.summed:
            return frozenset(numbers[c][c.rank + self.shared - 1] for c in sums)
        rows = {self.shared - 1} if self.shared else set()
        match self.inner:
            case "output":
                rows.add(self.shared)
            case "sum":
                rows |= {numbers[c][c.rank] for c in sums}
        return frozenset(rows)

    def numbered(self, rank: int) -> dict[Comp, dict[int, int]]:
        """For every member, its own index numbers to the nest's. Those that walk along the rows of
        a pass are the same for all members."""
        comps, fresh = self.kernel.comps, rank
        if self.kernel.rows is not None:
            fresh += max(len(inside(c, rank)) for c in comps)
        out: dict[Comp, dict[int, int]] = {}
        for c in comps:
            out[c] = {k: k for k in range(rank)}
            along = range(0) if self.kernel.rows is None else inside(c, rank)
            for k in range(rank, len(c.extents)):
                if k in along:
                    out[c][k] = rank + k - along.start
                else:
                    out[c][k] = fresh
                    fresh += 1
        return out

    # ----------------------------------------------------------------- members

    def begin(self, c: Comp, numbers: dict[int, int]) -> None:
        self.comp, self.numbers = c, numbers
        self.guards = ranges.path_guards((c.body, *(c.target or ())))
        self.made: dict[Scalar, Value] = {}
        self.pending: set[Scalar] = set()  # tests of guards that are being lowered
        self.contexts: dict[tuple[Scalar, ranges.Conjunction], Value] = {}
        self.contextual = False

    def member(
        self, c: Comp, numbers: dict[int, int], body: list[Statement], fills: list[Fill]
    ) -> None:
        self.begin(c, numbers)
        buffers = self.stored.get(c, ())
        if c.target is not None:
            assert c.reducer is not None
            start = Number(identity(c.reducer, c.dtype), c.dtype)
            for b in buffers:
                fills.append(Fill(b, start))
                body.append(self.update(b, c))
            return
        if c.reducer is None:
            value = self.value(c.body)
        else:
            value = Result(f"{c.reducer}_{node_name(c)}", c.dtype)
            body.append(self.reduction(c, value))
        self.known[c] = value
        body += self.stores(c, value)

    def stores(self, c: Comp, value: Value) -> list[Store]:
        at = self.linear([(sc.affine(dict(enumerate(strides(c.shape)))), dim(1))])
        return [Store(b, at, value) for b in self.stored.get(c, ())]

    def walk(self, numbers: dict[Comp, dict[int, int]], rows: int) -> list[Statement]:
        """A pass over rows: all accumulators and stores of a step, then what is known once a row.
        A sum with a few results for each row has an accumulator for every one."""
        every: list[Reduce] = []
        within: list[Store] = []
        after: list[Statement] = []
        for c in self.kernel.comps:
            behind = range(rows, c.rank) if c.reducer is not None else range(0)
            sizes = [range(c.extents[k].const or 0) for k in behind]
            for point in product_of(*sizes):
                self.begin(c, numbers[c])
                self.fixed = {numbers[c][k]: n for k, n in zip(behind, point, strict=True)}
                if c.reducer is None:
                    self.known[c] = value = self.value(c.body)
                    (within if c.rank > rows else after).extend(self.stores(c, value))
                    continue
                name = "_".join([c.reducer, node_name(c), *(str(n) for n in point)])
                self.known[c] = result = Result(name, c.dtype)
                every.append(self.reduction(c, result))
                after += self.stores(c, result)
        accumulators = tuple(a for s in every for a in s.accumulators)
        return [Reduce(every[0].loops, accumulators, stores=tuple(within)), *after]

    def reduction(self, c: Comp, result: Result) -> Reduce:
        assert c.reducer is not None
        body, guard = c.body, None
        match body:  # sum of (v if g else 0) adds v where g holds
            case sc.Op("where", (test, then, other)) if self.is_identity(other):
                body, guard = then, self.value(test)
            case sc.Op("where", (test, then, other)) if self.is_identity(then):
                body, guard = other, Apply("not", (self.value(test),), BOOL)
        position = None
        if c.reducer in ("argmax", "argmin"):
            steps = strides(c.extents[c.rank :])
            form = sc.affine({c.rank + k: s for k, s in enumerate(steps)})
            position = self.linear([(form, dim(1))])
        loops = tuple(
            Loop(self.numbers[k], self.extents[self.numbers[k]], Kind.SERIAL)
            for k in c.reduced
            if self.numbers[k] in self.extents
        )
        acc = Accumulator(result, c.reducer, self.value(body), guard, position)
        return Reduce(loops, (acc,))

    def is_identity(self, x: Scalar) -> bool:
        reducer = self.comp.reducer or ""
        if REDUCERS[reducer].combine is None:
            return False
        return isinstance(x, sc.Const) and x.value == identity(reducer, self.comp.dtype)

    def update(self, b: Buffer, c: Comp) -> Update:
        assert c.target is not None and c.reducer is not None
        name = c.name or "the result"
        offset, gathered, checks, _, _ = self.place(c, c.shape, c.target, ranges.ALWAYS, name)
        combine = REDUCERS[c.reducer].combine
        assert combine is not None
        return Update(b, offset, gathered, checks, c.reducer, self.value(c.body))

    # ----------------------------------------------------------------- values

    def value(self, root: Scalar) -> Value:
        for x in sc.postorder([root]):
            if x not in self.made:
                self.made[x] = self.one(x)
        return self.made[root]

    def one(self, x: Scalar) -> Value:
        match x:
            case sc.Const():
                return self.number(x.value, settled(x.dtype))
            case sc.Affine():
                at = self.linear([(x, dim(1))])
                if not at.terms and at.const.const is not None:
                    return self.number(at.const.const, I64)
                return self.unique(at, lambda: IndexValue(at))
            case sc.Read():
                return self.known[x.tensor] if x.tensor in self.known else self.load(x)
            case sc.Op("cast", (inner,)):
                of, to = self.made[inner], settled(x.dtype)
                return of if of.dtype is to else self.apply("cast", (of,), to)
            case sc.Op():
                args = tuple(self.made[a] for a in x.args)
                return self.apply(x.name, args, settled(x.dtype))
            case _:
                raise TypeError(f"not a primitive expression: {x}")

    def number(self, value: float, d: DType) -> Value:
        return self.unique((repr(value), d), lambda: Number(value, d))

    def apply(self, name: str, args: tuple[Value, ...], d: DType) -> Value:
        return self.unique((name, args, d), lambda: Apply(name, args, d))

    def unique(self, what: Hashable, make: Callable[[], Value]) -> Value:
        if what not in self.values:
            self.values[what] = make()
        return self.values[what]

    def load(self, x: sc.Read) -> Load | Number:
        buffer = self.stored[x.tensor][0]
        guard = self.guards.get(x, ranges.ALWAYS)
        if not guard:  # the tests on every way to it exclude each other: it is never read
            return Number(0, x.dtype)
        offset, gathered, checks, proved, safe = self.place(
            x, buffer.shape, x.indices, guard, node_name(x.tensor)
        )
        needed = ranges.proving(guard, x, self.comp.extents) if proved else guard
        condition = None if guard == ranges.ALWAYS or safe else self.condition(needed)
        if checks:
            condition = self.where_wanted(x, condition)
        hoistable = safe or proved or condition is not None or bool(checks)
        made = Load(buffer, offset, gathered, condition, checks, hoistable, x.dtype)
        if condition is not None or gathered or checks:
            return made
        own = self.comp.reducer is None and is_identity_read(x, self.comp.rank)
        if own or self.kernel.rows is not None:
            return self.loaded.setdefault((x.tensor, offset), made)
        return made

    def where_wanted(self, x: sc.Read, condition: Value | None) -> Value | None:
        """`condition`, and that the indices which `x` does not depend on have values: it is made
        outside their loops, and no index is checked for an empty sum, or for a result without
        elements."""
        own = sc.indices_of(x)
        for k, extent in enumerate(self.comp.extents):
            if k not in own and not provably_positive(extent):
                some = self.value(sc.op("lt", sc.size(0), sc.size(extent)))
                condition = some if condition is None else Apply("and", (condition, some), BOOL)
        return condition

    def place(
        self,
        what: Comp | sc.Read,
        shape: Sequence[Dim],
        indices: Sequence[Scalar],
        guard: ranges.Guard,
        name: str,
    ) -> tuple[Linear, tuple[tuple[Value, Dim], ...], tuple[Check, ...], bool, bool]:
        """Offset, computed indices and checks of an access; whether every index is proved to be in
        range under the guard, and whether even without it."""
        affine_parts: list[tuple[sc.Affine, Dim]] = []
        gathered: list[tuple[Value, Dim]] = []
        checks: list[Check] = []
        proved = safe = True
        for axis, (at, size, step) in enumerate(zip(indices, shape, strides(shape), strict=True)):
            extents = self.comp.extents
            here = ranges.in_range(at, size, extents)
            under = here or all(ranges.in_range(at, size, extents, ranges.facts(c)) for c in guard)
            safe, proved = safe and here, proved and under
            form = sc.as_affine(at)
            # an affine index without a guard is in range by the front end's rules
            if not under and (form is None or guard != ranges.ALWAYS or isinstance(what, Comp)):
                checks.append(self.check(name, axis, size, self.value(at)))
            if form is not None:
                affine_parts.append((form, step))
            else:
                gathered.append((self.value(at), step))
        return self.linear(affine_parts), tuple(gathered), tuple(checks), proved, safe

    def check(self, name: str, axis: int, size: Dim, index: Value) -> Check:
        message = f"an index of {name} is out of range in dim {axis}, of size {size}"
        entry = IndexCheck(name, axis, str(size), str(self.comp.span), message)
        if entry not in self.checks:
            self.checks.append(entry)
        return Check(self.checks.index(entry), index, size, axis)

    def condition(self, guard: ranges.Guard) -> Value:
        """The guard as one condition."""
        if self.contextual:
            return self.condition_in_context(guard)
        tests = {test for c in guard for test, _ in c}
        if tests & self.pending:
            raise _CircularGuardError
        outermost = not self.pending
        self.pending |= tests
        try:
            return _either(
                [[self.holds(self.value(t), h) for t, h in c] for c in sorted(guard, key=len)]
            )
        except _CircularGuardError:
            if not outermost:
                raise
        finally:
            self.pending -= tests
        return self.condition_in_context(guard)

    def condition_in_context(self, guard: ranges.Guard) -> Value:
        """The guard, each of its tests evaluated for itself, under those before it on its path. A
        read may stand both in a test and, under that test, elsewhere: its guard in one place then
        asks for its value in the other, and they must be two loads."""
        return _either(
            [
                [self.holds(self.test_under(t, c[:n]), h) for n, (t, h) in enumerate(c)]
                for c in sorted(guard, key=len)
            ]
        )

    def test_under(self, test: Scalar, context: ranges.Conjunction) -> Value:
        key = (test, context)
        if key not in self.contexts:
            outside = self.made, self.guards, self.contextual
            within = ranges.path_guards([test])
            guards = {
                x: frozenset((*context, *(t for t in c if t not in context)) for c in g)
                for x, g in within.items()
            }
            self.made, self.guards, self.contextual = {}, guards, True
            self.contexts[key] = self.value(test)
            self.made, self.guards, self.contextual = outside
        return self.contexts[key]

    def holds(self, test: Value, holds: bool) -> Value:
        return test if holds else Apply("not", (test,), BOOL)

    def linear(self, parts: Iterable[tuple[sc.Affine, Dim]]) -> Linear:
        """The sum of affine forms times steps, over the nest's indices."""
        terms: dict[int, Dim] = {}
        constant = dim(0)
        for form, step in parts:
            constant = constant + form.const * step
            for k, c in form.terms:
                n = self.numbers[k]
                if n in self.fixed:
                    constant = constant + c * step * self.fixed[n]
                elif n not in self.dropped and n in self.extents:
                    terms[n] = terms.get(n, dim(0)) + c * step
        return Linear(tuple((k, c) for k, c in sorted(terms.items()) if c.terms), constant)


class _CircularGuardError(Exception):
    """A guard asks for a value that the guard guards."""


def _either(conjunctions: list[list[Value]]) -> Value:
    """The disjunction of conjunctions, as one value."""
    every = [reduce(lambda a, b: Apply("and", (a, b), BOOL), c) for c in conjunctions]
    return reduce(lambda a, b: Apply("or", (a, b), BOOL), every)
