"""The loop IR: explicit loops with lanes and unrolled copies, loads, stores, accumulators.

In: nothing (data only). Out: frozen dataclasses, their short pseudo-code, a verifier. `lower`
makes them, `emit` reads them.

A `Nest` is one kernel. Its `loops` run over tiles of the output: a loop with `copies` and `lanes`
steps by `copies * lanes`, and the statements inside stand for every point of the tile (lanes are
SIMD lanes, copies are unrolled). Points past the extent are masked along lanes; an unrolled copy
past the extent repeats the last point, which is harmless since statements are idempotent.
`Reduce` runs loops of its own and binds its results for every point of the tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum

from .dims import Dim
from .dtypes import BOOL, I64, DType
from .primitives import PRIMITIVES
from .records import dataclass


class Kind(Enum):
    """How the iterations of a loop relate. Targets map PARALLEL: serial on one CPU thread, threads
    of a grid on a GPU."""

    SERIAL = "for"
    PARALLEL = "parallel"


@dataclass(frozen=True)
class Buffer:
    """A dense array in C order. `space` is "param", "output", "arena" or "block" (the caller of a
    nest says where it stands); `position` counts params and outputs, `offset` is in bytes from the
    arena's start."""

    name: str
    dtype: DType
    shape: tuple[Dim, ...]
    space: str
    position: int
    offset: Dim


@dataclass(frozen=True)
class Linear:
    """`const + Σ coefficient·index`: an offset in elements, or an index value."""

    terms: tuple[tuple[int, Dim], ...]
    const: Dim

    def coefficient(self, index: int) -> Dim | None:
        return next((c for k, c in self.terms if k == index), None)


@dataclass(frozen=True, eq=False, slots=True)
class Number:
    value: int | float | bool
    dtype: DType


@dataclass(frozen=True, eq=False, slots=True)
class IndexValue:
    """An integer known from the indices and sizes alone."""

    at: Linear
    dtype: DType = I64


@dataclass(frozen=True, eq=False, slots=True)
class Check:
    """`index` must lie in 0:size, else the call fails with entry `id` of the artifact's checks."""

    id: int
    index: Value
    size: Dim
    axis: int


@dataclass(frozen=True, eq=False, slots=True)
class Load:
    """`buffer[offset + Σ stride·index]`, where `guard` holds (0 elsewhere). `gathered` holds the
    indices that are computed. `hoistable` says that the place is in range wherever the load's own
    indices are, even if another loop around it runs zero times."""

    buffer: Buffer
    offset: Linear
    gathered: tuple[tuple[Value, Dim], ...]
    guard: Value | None
    checks: tuple[Check, ...]
    hoistable: bool
    dtype: DType


@dataclass(frozen=True, eq=False, slots=True)
class Apply:
    name: str
    args: tuple[Value, ...]
    dtype: DType


@dataclass(frozen=True, eq=False, slots=True)
class Result:
    """What a `Reduce` earlier in the nest left for this point of the tile."""

    name: str
    dtype: DType


Value = Number | IndexValue | Load | Apply | Result


@dataclass(frozen=True)
class Loop:
    """`index` over 0:extent in steps of `copies * lanes`."""

    index: int
    extent: Dim
    kind: Kind
    copies: int = 1
    lanes: int = 1

    @property
    def step(self) -> int:
        return self.copies * self.lanes


@dataclass(frozen=True, eq=False)
class Accumulator:
    """`result` combines `value` over the loops where `guard` holds, from `start` on if there is
    one (lanes then run along the nest's own loops)."""

    result: Result
    reducer: str
    value: Value
    guard: Value | None
    position: Linear | None  # for argmax and argmin: the flattened position
    start: Value | None = None


@dataclass(frozen=True, eq=False)
class Reduce:
    loops: tuple[Loop, ...]
    accumulators: tuple[Accumulator, ...]
    block: tuple[int, int] | None = None
    """An index and a count of its steps: sums over so many are made one by one, and added up in
    f64."""
    stores: tuple[Store, ...] = ()
    """What every step leaves, besides what it accumulates: none of them reads where another one
    writes."""

    @property
    def is_pass(self) -> bool:
        """Whether it is a walk along rows, made for lanes along them."""
        return bool(self.stores) or len(self.accumulators) > 1


@dataclass(frozen=True, eq=False)
class Store:
    buffer: Buffer
    offset: Linear
    value: Value


@dataclass(frozen=True, eq=False)
class Fill:
    """Every element of `buffer` becomes `value` (before the nest's loops)."""

    buffer: Buffer
    value: Number


@dataclass(frozen=True, eq=False)
class Update:
    """`buffer[offset + Σ stride·index] = combine(old, value)`, in index order."""

    buffer: Buffer
    offset: Linear
    gathered: tuple[tuple[Value, Dim], ...]
    checks: tuple[Check, ...]
    combine: str
    value: Value


Statement = Reduce | Store | Update


@dataclass(frozen=True, eq=False)
class Ahead:
    """What the innermost loops ask the cache for: `buffer[offset]`, as many rows further on as the
    caller's range of `rows` has; the caller comes back for them."""

    buffer: Buffer
    offset: Linear
    rows: int


@dataclass(frozen=True, eq=False)
class Nest:
    name: str
    source: str  # file:line:column of the first comprehension
    fills: tuple[Fill, ...]
    loops: tuple[Loop, ...]
    body: tuple[Statement, ...]
    index_names: dict[int, str]
    ranged: tuple[int, ...] = ()
    """Indices that run over a range which the caller states, not over their whole extent."""
    block: Buffer | None = None
    """A buffer whose address the caller states."""
    ahead: tuple[Ahead, ...] = ()

    @property
    def every_loop(self) -> tuple[Loop, ...]:
        """Those of the output, and of its reductions."""
        own = (x for s in self.body if isinstance(s, Reduce) for x in s.loops)
        return (*self.loops, *own)


# --------------------------------------------------------------------------- traversal


def children(x: Value) -> tuple[Value, ...]:
    match x:
        case Load():
            guard = () if x.guard is None else (x.guard,)
            return (*(v for v, _ in x.gathered), *(c.index for c in x.checks), *guard)
        case Apply():
            return x.args
        case _:
            return ()


def postorder(roots: Iterable[Value]) -> Iterator[Value]:
    """Every distinct value once, children first."""
    seen: set[Value] = set()
    stack: list[tuple[Value, bool]] = [(r, False) for r in reversed(list(roots))]
    while stack:
        x, expanded = stack.pop()
        if expanded:
            yield x
        elif x not in seen:
            seen.add(x)
            if below := children(x):
                stack.append((x, True))
                stack += [(c, False) for c in reversed(below) if c not in seen]
            else:
                yield x


def may_fail(nest: Nest) -> bool:
    """Whether an index is checked."""
    values = postorder(v for s in nest.body for v in values_of(s))
    return any(isinstance(x, Load | Update) and x.checks for x in (*values, *nest.body))


def values_of(s: Statement) -> tuple[Value, ...]:
    """The values that a statement evaluates."""
    match s:
        case Store():
            return (s.value,)
        case Update():
            return (*(v for v, _ in s.gathered), *(c.index for c in s.checks), s.value)
        case Reduce():
            others = (x for a in s.accumulators for x in (a.guard, a.start) if x is not None)
            left = (x.value for x in s.stores)
            return (*(a.value for a in s.accumulators), *others, *left)


def stores_of(s: Statement) -> tuple[Store | Update, ...]:
    """What a statement writes."""
    return s.stores if isinstance(s, Reduce) else (s,)


def conjuncts(guard: Value | None) -> list[Value]:
    """The tests that must all hold."""
    match guard:
        case None:
            return []
        case Apply("and", (left, right)):
            return [*conjuncts(left), *conjuncts(right)]
        case _:
            return [guard]


def indices_of(values: Iterable[Value], outer: frozenset[int]) -> dict[Value, frozenset[int]]:
    """For every value below `values`, the indices that it depends on; a `Result` depends on all
    of the nest's own (`outer`)."""
    found: dict[Value, frozenset[int]] = {}
    for x in postorder(values):
        own: frozenset[int] = frozenset()
        match x:
            case IndexValue():
                own = frozenset(k for k, _ in x.at.terms)
            case Load():
                own = frozenset(k for k, _ in x.offset.terms)
            case Result():
                own = outer
        found[x] = own.union(*(found[c] for c in children(x)))
    return found


# --------------------------------------------------------------------------- text


def nest_text(nest: Nest) -> str:
    """Short pseudo-code."""
    names = nest.index_names
    lines = [f"{nest.name}:  # {nest.source}"]
    depth = 1
    made: dict[Value, str] = {}

    def put(text: str) -> None:
        lines.append("  " * depth + text)

    for f in nest.fills:
        put(f"{f.buffer.name}[:] = {f.value.value}")
    for loop in nest.loops:
        put(loop_text(loop, names))
        depth += 1
    for s in nest.body:
        for v in postorder(values_of(s)):
            if v not in made:
                made[v] = value_text(v, names, made, put)
        match s:
            case Store():
                put(_store_text(s, names, made))
            case Update():
                at = _place(s.offset, s.gathered, names, made)
                for c in s.checks:
                    put(f"check {made[c.index]} in 0:{c.size}")
                put(f"{s.buffer.name}[{at}] {s.combine}= {made[s.value]}")
            case Reduce():
                for loop in s.loops:
                    put(loop_text(loop, names) + _block_text(s, loop))
                    depth += 1
                for a in s.accumulators:
                    guard = "" if a.guard is None else f" if {made[a.guard]}"
                    start = "" if a.start is None else f", from {made[a.start]}"
                    put(f"{a.result.name} {a.reducer}= {made[a.value]}{guard}{start}")
                for left in s.stores:
                    put(_store_text(left, names, made))
                depth -= len(s.loops)
    for x in nest.ahead:
        put(f"ahead: {x.buffer.name}[{linear_text(x.offset, names)}]")
    return "\n".join(lines) + "\n"


def _store_text(s: Store, names: dict[int, str], made: dict[Value, str]) -> str:
    return f"{s.buffer.name}[{linear_text(s.offset, names)}] = {made[s.value]}"


def loop_text(loop: Loop, names: dict[int, str]) -> str:
    shape = ""
    if loop.step > 1:
        parts = [f"{loop.copies} copies"] if loop.copies > 1 else []
        parts += [f"{loop.lanes} lanes"] if loop.lanes > 1 else []
        shape = " by " + " of ".join(parts)
    return f"{loop.kind.value} {names[loop.index]} in 0:{loop.extent}{shape}"


def _block_text(s: Reduce, loop: Loop) -> str:
    if s.block is None or s.block[0] != loop.index:
        return ""
    return f", sums of {s.block[1]} steps in f64"


def linear_text(at: Linear, names: dict[int, str]) -> str:
    parts = [
        names[k]
        if c.const == 1
        else f"{names[k]}*{c}"
        if len(c.terms) == 1
        else f"{names[k]}*({c})"
        for k, c in at.terms
    ]
    if at.const.terms or not parts:
        parts.append(str(at.const))
    return " + ".join(parts).replace("+ -", "- ")


def _place(
    offset: Linear,
    gathered: tuple[tuple[Value, Dim], ...],
    names: dict[int, str],
    made: dict[Value, str],
) -> str:
    parts = [f"{made[v]}*{d}" if d.const != 1 else made[v] for v, d in gathered]
    if offset.terms or offset.const.terms or not parts:
        parts.insert(0, linear_text(offset, names))
    return " + ".join(parts)


def value_text(
    x: Value, names: dict[int, str], made: dict[Value, str], put: Callable[[str], None]
) -> str:
    """The text of a value whose children's texts are `made`; long ones get a name by `put`."""
    match x:
        case Number():
            return str(x.value)
        case IndexValue():
            return (
                f"({linear_text(x.at, names)})" if len(x.at.terms) > 1 else linear_text(x.at, names)
            )
        case Result():
            return x.name
        case Load():
            text = f"{x.buffer.name}[{_place(x.offset, x.gathered, names, made)}]"
            if x.checks:
                text += "?"  # checked
            return text if x.guard is None else f"{{{text} if {made[x.guard]}}}"
        case Apply("cast", (inner,)):
            return f"{x.dtype}({made[inner]})"
        case Apply("where", (test, then, other)):
            return f"({made[then]} if {made[test]} else {made[other]})"
        case Apply():
            infix = PRIMITIVES[x.name].infix
            if infix is not None and len(x.args) == 2:
                text = f"({made[x.args[0]]} {infix} {made[x.args[1]]})"
            else:
                text = f"{x.name}({', '.join(made[a] for a in x.args)})"
            if len(text) > 60:  # give long subexpressions a name
                name = f"%{sum(v.startswith('%') for v in made.values())}"
                put(f"let {name} = {text}")
                return name
            return text


# --------------------------------------------------------------------------- verifier


def verify_nest(nest: Nest) -> None:
    """Invariants: every index is bound once; values use bound indices only; a `Result` is used
    after its `Reduce` and once defined; guards are bool; lanes stand on one loop of the nest, or
    on one of a `Reduce`, not on both; an `Update` has no copies around it (it is not idempotent);
    operands of arithmetic agree in dtype."""
    outer = {loop.index for loop in nest.loops}
    assert len(outer) == len(nest.loops), "an index is bound twice"
    assert all(k in nest.index_names for k in outer), "an index without a name"
    lanes = [loop for loop in nest.loops if loop.lanes > 1]
    assert len(lanes) <= 1, "lanes on two loops"
    defined: set[Value] = set()
    for s in nest.body:
        bound = set(outer)
        if isinstance(s, Reduce):
            own = [loop.index for loop in s.loops]
            assert not bound & set(own) and len(set(own)) == len(own), "an index is bound twice"
            bound |= set(own)
            inner = [loop for loop in s.loops if loop.lanes > 1]
            assert len(inner) + len(lanes) <= 1, "lanes on two loops"
            for a in s.accumulators:
                assert a.guard is None or a.guard.dtype is BOOL, "a guard is a condition"
        if isinstance(s, Update):
            assert all(loop.copies == 1 for loop in nest.loops), "an update is not idempotent"
        for x in postorder(values_of(s)):
            _verify_value(x, bound, defined)
        for written in stores_of(s):
            assert {k for k, _ in written.offset.terms} <= bound, "a store at an unbound index"
        if isinstance(s, Reduce):
            for a in s.accumulators:
                assert a.result not in defined, "a result is defined twice"
                defined.add(a.result)


def _verify_value(x: Value, bound: set[int], defined: set[Value]) -> None:
    match x:
        case IndexValue():
            assert {k for k, _ in x.at.terms} <= bound, "an unbound index"
        case Load():
            assert {k for k, _ in x.offset.terms} <= bound, "a load at an unbound index"
            assert x.guard is None or x.guard.dtype is BOOL, "a guard is a condition"
            assert x.dtype is x.buffer.dtype, "a load of another dtype"
            assert all(not v.dtype.is_float for v, _ in x.gathered), "an index is an integer"
        case Result():
            assert x in defined, f"{x.name} is used before it is computed"
        case Apply("where", (test, then, other)):
            assert test.dtype is BOOL and then.dtype is other.dtype is x.dtype, (
                "a badly typed where"
            )
        case Apply("cast"):
            pass
        case Apply():
            assert len({a.dtype for a in x.args}) == 1, f"operands of {x.name} disagree"
        case _:
            pass
