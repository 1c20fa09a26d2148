"""Packed contractions: which nests are large products of two operands, and in what parts.

In: a lowered nest. Out: a `Contraction`, if the nest is a sum of products of two operands, one of
which walks along the output's contiguous index N, the other along another index M. Its parts are
nests themselves: two that pack an operand into panels, as its accesses say and whatever is computed
on the way (`emit_packed`), and one that finishes a block of sums. Left to others: the product of
panels (`microkernel`).

Found by analysis, never by name: a product with any transposes, batches, or a convolution. The
nest itself stays for small sizes, which are not worth packing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import reduce

from .dims import Dim, dim, is_window, product
from .dtypes import BF16, BOOL, F32, F64
from .joined_index import nest_along, rebuilt, store_along, taken_apart
from .loops import (
    Accumulator,
    Apply,
    Buffer,
    IndexValue,
    Load,
    Loop,
    Nest,
    Number,
    Reduce,
    Result,
    Store,
    Value,
    conjuncts,
    indices_of,
    postorder,
    values_of,
)
from .records import dataclass
from .tile import Registers

ROWS, MOST_PANELS, DEPTH = 112, 12, 512
"""How much of each operand is packed at a time: rows of the left one, panels of the right one. All
of these panels stay in two thirds of a core's own second-level cache, and so many terms of a tile's
rows in the first level (measured: 2 to 3 % faster than 14 panels of 384 terms, for which sums are
written more often; level while neighbours use the caches, too)."""

STEP_OF_TILES, PANELS_OF_TILES = 32, 24
"""Where panels are matrix tiles of bf16: terms of the sums in a tile, of which DEPTH is a multiple;
and twice as many panels, which take as many bytes. Of a strip there are as many as of others."""

WORTH_PACKING, WORTH_A_BATCH = 1 << 17, 1 << 13
"""Multiplications in all, and for each value of the batch indices, from which panels pay."""

WORTH_SHARING = 1 << 21
"""Multiplications from which several threads pay: some 25 µs of them. Where the others are asleep,
waking them costs the caller 3 µs, and it does their parts itself."""

NARROW = 16
"""An output's contiguous index this short is joined with those before it."""

SPREAD = 2048
"""The most that the innermost indices of a sum may span together; beyond, nothing is packed."""


@dataclass(frozen=True, eq=False)
class Operand:
    """One factor, as a nest over `index` (M or N) and the reduced indices that is packed and not
    summed: `value`, or 0 where `guard` fails. `transposed`: its rows run along the innermost
    reduced index. `finite`: it has to be, since 0 times it has to be 0: the other factor's guard
    leaves it out, or the other factor absorbs it."""

    nest: Nest
    index: int
    value: Value
    guard: Value | None
    transposed: bool
    finite: bool

    @property
    def reduced(self) -> tuple[Loop, ...]:
        (s,) = self.nest.body
        assert isinstance(s, Reduce)
        return s.loops

    @property
    def strided(self) -> Load | None:
        """The load that is all of it (but for widening 16 bits), where nothing but strides sets it
        apart from others: an array of its dtype, dense along its own index or, if transposed, the
        innermost reduced one."""
        x = self.value
        match x:
            case Apply("cast", (Load(dtype=d) as load,)) if d.is_half and x.dtype is F32:
                x = load
        if not isinstance(x, Load) or x.guard is not None or x.gathered or x.checks:
            return None
        if self.guard is not None or len(self.reduced) > 2 or x.buffer.dtype is not x.dtype:
            return None
        step = x.offset.coefficient(self.reduced[-1].index if self.transposed else self.index)
        return x if step is not None and step.const == 1 else None


@dataclass(frozen=True)
class Coordinate:
    """`Σ step·index`: `kept` is an index whose step is 1, and stands for the sum in a strip."""

    kept: Loop
    steps: tuple[tuple[Loop, int], ...]

    @property
    def loops(self) -> tuple[Loop, ...]:
        return tuple(loop for loop, _ in self.steps)

    @property
    def dense(self) -> bool:
        """Whether every value between the lowest and the highest one is one of the sum's."""
        return all(step in (1, -1) for _, step in self.steps)


@dataclass(frozen=True, eq=False)
class Strip:
    """The right operand over coordinates: `columns` has the result's columns and reduced indices,
    `lines` the window and others. Lines are the innermost reduced index of `operand`."""

    operand: Operand
    columns: Coordinate
    lines: Coordinate | None


@dataclass(frozen=True, eq=False)
class Places:
    """The left operand is `load`, whose rows are all values of several indices, and is read where
    it stands. `windows`: indices of the rows, each with a summed one that walks the same way."""

    load: Load
    rows: tuple[Loop, ...]
    windows: tuple[tuple[Loop, Loop], ...]


@dataclass(frozen=True, eq=False)
class Contraction:
    """`direct` computes all; for large sizes, blocks of `rows` × `columns` for every value of the
    `batch` loops. The sums gather where `store` writes its result; `rest` reads them there and does
    what follows, None if nothing does. `windowed` makes the same sums another way."""

    direct: Nest
    rows: Loop
    columns: Loop
    batch: tuple[Loop, ...]
    left: Operand
    right: Operand
    store: Store
    rest: Nest | None
    strip: Strip | None = None
    window: Loop | None = None
    places: Places | None = None
    windowed: Contraction | None = None
    tiles: bool = False

    @property
    def element(self) -> str:
        """What is multiplied."""
        return "bf16" if self.tiles else str(self.left.value.dtype)

    @property
    def name(self) -> str:
        return self.direct.name

    @property
    def routines(self) -> frozenset[str]:
        """The shared ones that are wanted (`entry_table.ROUTINES`)."""
        kinds = ["products"]
        kinds += [] if self.strip is None else ["strips"]
        kinds += [] if self.places is None else ["places"]
        plain = (x.strided for x in (self.left, self.right))
        return frozenset(
            [f"{kind} {self.left.value.dtype}" for kind in kinds]
            + [f"plain {x.dtype}" for x in plain if x is not None]
            + (["tiles bf16"] if self.tiles else [])
            + ([] if self.windowed is None else [*self.windowed.routines])
        )

    @property
    def is_turned(self) -> bool:
        """Whether the sums stand in room that the caller states, the wrong way round."""
        return self.store.buffer.space == "block"

    @property
    def inner(self) -> Dim:
        """The extents of all reduced indices but the first two."""
        return product(tuple(x.extent for x in self.left.reduced[2:]))

    @property
    def depth(self) -> Dim:
        """The extents of all reduced indices."""
        return product(tuple(x.extent for x in self.left.reduced))

    @property
    def depth_step(self) -> int:
        """Of how many terms blocks are a multiple."""
        return STEP_OF_TILES if self.tiles else 1

    @property
    def most_panels(self) -> int:
        """Of the right operand, that are packed at a time."""
        return PANELS_OF_TILES if self.tiles and self.strip is None else MOST_PANELS

    @property
    def most_depth(self) -> int:
        """The most of it that is packed at a time."""
        most = self.inner.const
        return max(DEPTH, most if most is not None and most <= SPREAD else SPREAD)


def contraction(nest: Nest, registers: Registers, join: bool = True) -> Contraction | None:
    """The parts of `nest`, if it is one; `join` allows several indices to be the columns."""
    first, *others = nest.body or (None,)
    if not isinstance(first, Reduce) or not first.loops or len(first.accumulators) != 1:
        return None
    if first.stores:
        return None
    stores = [s for s in others if isinstance(s, Store)]
    if not stores or len(stores) < len(others) or registers.vector_bytes == 0:
        return None
    if not registers.tuning.packing:
        return None
    (a,) = first.accumulators
    match a:
        case Accumulator(_, "sum", Apply("mul" | "absorb" as product_of, (x, y), d), _, None) if (
            d in (F32, F64)
        ):
            pass
        case _:
            return None
    work = product(tuple(loop.extent for loop in (*nest.loops, *first.loops))).const
    if work is not None and work < WORTH_PACKING:
        return None
    values = [v for s in nest.body for v in values_of(s)]
    if any(isinstance(v, Load) and v.checks for v in postorder(values)):
        return None
    outer = frozenset(loop.index for loop in nest.loops)
    deps = indices_of(values, outer)
    last = _contiguous(nest, stores)
    if last is None or (last.index in deps[x]) == (last.index in deps[y]):
        return None
    left, right = (y, x) if last.index in deps[x] else (x, y)
    free = [k for k in nest.loops if k.index in deps[left] and k.index not in deps[right]]
    tests = conjuncts(a.guard)
    if not free:
        return None
    rows = max(free, key=lambda loop: loop.extent.const or SPREAD)
    inner = {loop.index for loop in first.loops}
    if not deps[left] & inner or not deps[right] & inner:
        return None
    if any(rows.index in deps[v] and (deps[v] & outer) - deps[left] for v in tests):
        return None  # a test of both operands
    sums = next((s for s in stores if s.buffer.dtype is d is a.result.dtype), None)
    if sums is None:
        return None
    plain = stores == [sums] and sums.value is a.result
    # tests of the left operand alone go there, and so leave the right one as it is
    alone = [v for v in tests if deps[v] <= deps[left] and not deps[v] <= deps[right]]
    own = [v for v in tests if v in alone or rows.index in deps[v]]
    of_right = [v for v in tests if v not in own]
    made = _Factors(nest, first, left, right, _all(own), _all(of_right), deps)
    group = made.dense(last, stores) if join else (last,)
    batch = tuple(k for k in nest.loops if k is not rows and k not in group)
    columns = made.merge(group) if len(group) > 1 else last
    after = None if plain else _rest(nest, a.result, stores, sums, rows, columns, batch)
    store = sums
    if len(group) > 1:
        store = store_along(columns, group, sums)
        if after is not None:
            after = nest_along(after, columns, group, made.names)
    absorbed = y if product_of == "absorb" else None
    finite = (
        left is absorbed or made.right_guard is not None,
        right is absorbed or made.left_guard is not None,
    )
    return Contraction(
        nest,
        rows,
        columns,
        batch,
        made.operand(left, made.left_guard, rows, batch, "left", finite[0]),
        made.operand(made.right, made.right_guard, columns, batch, "right", finite[1]),
        store,
        after,
        tiles=registers.matrix_tiles and _is_bf16(left) and _is_bf16(right),
    )


def _is_bf16(x: Value) -> bool:
    """Whether `x` is in f32 what a value of bf16 is."""
    match x:
        case Apply("cast", (own,)):
            return own.dtype is BF16 and x.dtype is F32
        case _:
            return False


def _all(tests: Sequence[Value]) -> Value | None:
    return reduce(lambda a, b: Apply("and", (a, b), BOOL), tests) if tests else None


def _contiguous(nest: Nest, stores: list[Store]) -> Loop | None:
    """The index along which every store is contiguous."""
    for loop in nest.loops:
        steps = [s.offset.coefficient(loop.index) for s in stores]
        if all(c is not None and c.const == 1 for c in steps):
            return loop
    return None


@dataclass(eq=False)
class _Factors:
    """The factors of a sum with the tests on which their product depends."""

    nest: Nest
    statement: Reduce
    left: Value
    right: Value
    left_guard: Value | None
    right_guard: Value | None
    deps: dict[Value, frozenset[int]]

    def __post_init__(self) -> None:
        self.names = dict(self.nest.index_names)
        self.outer = frozenset(loop.index for loop in self.nest.loops)
        guards = [v for v in (self.left_guard, self.right_guard) if v is not None]
        self.deps |= indices_of(guards, self.outer)

    def dense(self, last: Loop, stores: Sequence[Store]) -> tuple[Loop, ...]:
        """`last` with the indices before it that the output and the right factor walk as one with
        it: worth while where vectors along `last` alone would be mostly empty, or the right factor
        is read along the summed indices in any case."""
        group: tuple[Loop, ...] = (last,)
        if not (self.narrow(last.extent) or self.dense_by_sums(self.right, last)):
            return group
        walked = self.deps[self.right] - self.deps[self.left]
        room = last.extent
        for loop in reversed(self.nest.loops[: self.nest.loops.index(last)]):
            steps = [s.offset.coefficient(loop.index) for s in stores]
            if loop.index not in walked or any(step != room for step in steps):
                break
            group, room = (loop, *group), room * loop.extent
        return group

    def narrow(self, d: Dim) -> bool:
        """Whether `d` is known to be short, or is a window: another extent is shorter by it."""
        if d.const is not None:
            return d.const < NARROW
        return is_window(d, [x.extent for x in (*self.nest.loops, *self.statement.loops)])

    def merge(self, group: tuple[Loop, ...]) -> Loop:
        """One index in place of `group`, which the right factor takes apart."""
        number = max(self.names) + 1
        self.names[number] = "".join(self.names[loop.index] for loop in group)
        merged = Loop(number, product(tuple(x.extent for x in group)), group[-1].kind)
        values = [v for v in (self.right, self.right_guard) if v is not None]
        made = taken_apart(merged, group, values)
        self.right = made[self.right]
        self.right_guard = None if self.right_guard is None else made[self.right_guard]
        values = [v for v in (self.right, self.right_guard) if v is not None]
        self.deps |= indices_of(values, self.outer)
        return merged

    def dense_by_sums(self, value: Value, along: Loop) -> bool:
        """Whether more is contiguous along the innermost summed index."""
        last = self.statement.loops[-1]
        return _cost(value, self.deps, last) < _cost(value, self.deps, along)

    def transposed(self, value: Value, along: Loop) -> bool:
        """Whether vectors run along the innermost summed index. Where that is short and `along`
        is taken apart, its places are better worked out for a vector of them at once."""
        is_merged = along not in self.nest.loops
        if is_merged and self.narrow(self.statement.loops[-1].extent):
            return False
        return self.dense_by_sums(value, along)

    def operand(
        self,
        value: Value,
        guard: Value | None,
        along: Loop,
        batch: Sequence[Loop],
        name: str,
        finite: bool,
    ) -> Operand:
        s = self.statement
        (a,) = s.accumulators
        if isinstance(value, Load) and is_same(value.guard, guard):
            guard = None  # it is 0 there already
        walked = self.deps[value] | (frozenset() if guard is None else self.deps[guard])
        outside = tuple(k for k in batch if k.index in walked)
        reduced = replace(s, accumulators=(replace(a, value=value, guard=guard),))
        pack = Nest(
            f"{self.nest.name}_{name}",
            self.nest.source,
            (),
            (*outside, along),
            (reduced,),
            self.names,
            (*(k.index for k in outside), along.index, *(k.index for k in s.loops[:2])),
            Buffer("panels", a.value.dtype, (), "block", 0, dim(0)),
        )
        return Operand(pack, along.index, value, guard, self.transposed(value, along), finite)


def is_same(x: Value | None, y: Value | None) -> bool:
    """Whether two values are made alike."""
    if x is y:
        return True
    match x, y:
        case (Number(), Number()):
            return x.dtype is y.dtype and x.value == y.value
        case (IndexValue(), IndexValue()):
            return x.at == y.at
        case (Apply(), Apply()):
            alike = x.name == y.name and x.dtype is y.dtype and len(x.args) == len(y.args)
            return alike and all(map(is_same, x.args, y.args))
        case _:
            return False


def _cost(value: Value, deps: Mapping[Value, frozenset[int]], along: Loop) -> int:
    """How many loads are not contiguous when vectors run along a loop."""
    k = along.index
    return sum(
        1
        for x in postorder([value])
        if isinstance(x, Load)
        and k in deps[x]
        and (
            (c := x.offset.coefficient(k)) is None
            or c.const != 1
            or any(k in deps[v] for v, _ in x.gathered)
        )
    )


def _rest(
    nest: Nest,
    result: Result,
    stores: list[Store],
    at: Store,
    rows: Loop,
    columns: Loop,
    batch: tuple[Loop, ...],
) -> Nest:
    """What follows the sums, over one block of them: a point reads its sum before it writes."""
    sums = Load(at.buffer, at.offset, (), None, (), True, result.dtype)
    made: dict[Value, Value] = {result: sums}
    for x in postorder(v for s in stores for v in values_of(s)):
        if x not in made:
            made[x] = rebuilt(x, made)
    return Nest(
        f"{nest.name}_rest",
        nest.source,
        (),
        nest.loops,
        # the sums are there already
        tuple(replace(s, value=made[s.value]) for s in stores if s != at or s.value is not result),
        nest.index_names,
        (*(k.index for k in batch), rows.index, columns.index),
    )
