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

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from .dims import Dim, dim, product
from .dtypes import F32, F64
from .loops import (
    Accumulator,
    Apply,
    Buffer,
    Load,
    Loop,
    Nest,
    Reduce,
    Result,
    Store,
    Value,
    indices_of,
    nest_text,
    postorder,
    value_text,
    values_of,
)
from .tile import Registers

ROWS, COLUMNS, DEPTH = 320, 2048, 704
"""How much of each operand is packed at a time: the left one's panels stay in a core's own cache,
one panel of the right one in its first level."""

WORTH_PACKING = 1 << 17
"""Multiplications, batches apart, from which panels pay."""

SPREAD = 2048
"""The most that the innermost indices of a sum may span together; beyond, nothing is packed."""


@dataclass(frozen=True, eq=False)
class Operand:
    """One factor, as a nest over `index` (M or N) and the reduced indices that is packed and not
    summed. `transposed`: its rows run along the innermost reduced index."""

    nest: Nest
    index: int
    value: Value
    guard: Value | None
    transposed: bool

    @property
    def reduced(self) -> tuple[Loop, ...]:
        (s,) = self.nest.body
        assert isinstance(s, Reduce)
        return s.loops


@dataclass(frozen=True, eq=False)
class Contraction:
    """`direct` computes all; for large sizes, blocks of `rows` × `columns` for every value of the
    `batch` loops. The sums gather where `store` writes its result; `rest` reads them there and does
    what follows, None if nothing does."""

    direct: Nest
    rows: Loop
    columns: Loop
    batch: tuple[Loop, ...]
    left: Operand
    right: Operand
    store: Store
    rest: Nest | None

    @property
    def name(self) -> str:
        return self.direct.name

    @property
    def inner(self) -> Dim:
        """The extents of all reduced indices but the first two."""
        return product(tuple(x.extent for x in self.left.reduced[2:]))

    @property
    def scratch(self) -> tuple[int, int]:
        """Bytes for the panels of both operands."""
        size = self.left.value.dtype.size
        most = self.inner.const
        depth = max(DEPTH, most if most is not None and most <= SPREAD else SPREAD)
        if len(self.left.reduced) <= 2 and most == 1:
            depth = DEPTH
        slack = 64 * 64  # a transposed panel's last stores pass its end
        return ROWS * depth * size + slack, COLUMNS * depth * size + slack


def contraction(nest: Nest, registers: Registers) -> Contraction | None:
    """The parts of `nest`, if it is one."""
    first, *others = nest.body or (None,)
    if not isinstance(first, Reduce) or not first.loops or len(first.accumulators) != 1:
        return None
    stores = [s for s in others if isinstance(s, Store)]
    if not stores or len(stores) < len(others) or registers.vector_bytes == 0:
        return None
    (a,) = first.accumulators
    match a:
        case Accumulator(_, "sum", Apply("mul", (x, y), d), _, None) if d in (F32, F64):
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
    columns = _contiguous(nest, stores)
    if columns is None or (columns.index in deps[x]) == (columns.index in deps[y]):
        return None
    left, right = (y, x) if columns.index in deps[x] else (x, y)
    free = [k for k in nest.loops if k.index in deps[left] and k.index not in deps[right]]
    if not free or a.guard is not None:
        return None
    rows = max(free, key=lambda loop: loop.extent.const or SPREAD)
    inner = {loop.index for loop in first.loops}
    if not deps[left] & inner or not deps[right] & inner:
        return None
    batch = tuple(k for k in nest.loops if k not in (rows, columns))
    sums = next((s for s in stores if s.buffer.dtype is d is a.result.dtype), None)
    if sums is None:
        return None
    plain = stores == [sums] and sums.value is a.result
    return Contraction(
        nest,
        rows,
        columns,
        batch,
        _operand(nest, first, left, deps, rows, batch, "left"),
        _operand(nest, first, right, deps, columns, batch, "right"),
        sums,
        None if plain else _rest(nest, a.result, stores, sums, rows, columns, batch),
    )


def _contiguous(nest: Nest, stores: list[Store]) -> Loop | None:
    """The index along which every store is contiguous."""
    for loop in nest.loops:
        steps = [s.offset.coefficient(loop.index) for s in stores]
        if all(c is not None and c.const == 1 for c in steps):
            return loop
    return None


def _operand(
    nest: Nest,
    s: Reduce,
    value: Value,
    deps: Mapping[Value, frozenset[int]],
    along: Loop,
    batch: tuple[Loop, ...],
    name: str,
) -> Operand:
    (a,) = s.accumulators
    walked = tuple(k for k in batch if k.index in deps[value])
    reduced = replace(s, accumulators=(replace(a, value=value),))
    pack = Nest(
        f"{nest.name}_{name}",
        nest.source,
        (),
        (*walked, along),
        (reduced,),
        nest.index_names,
        (*(k.index for k in walked), along.index, *(k.index for k in s.loops[:2])),
        Buffer("panels", a.value.dtype, (), "block", 0, dim(0)),
    )
    rows, columns = _cost(value, deps, s.loops[-1]), _cost(value, deps, along)
    return Operand(pack, along.index, value, None, rows < columns)


def _cost(value: Value, deps: Mapping[Value, frozenset[int]], along: Loop) -> int:
    """How many loads are not contiguous when vectors run along a loop."""
    k = along.index
    return sum(
        1
        for x in postorder([value])
        if isinstance(x, Load)
        and k in deps[x]
        and ((c := x.offset.coefficient(k)) is None or c.const != 1 or bool(x.gathered))
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
            made[x] = _rebuilt(x, made)
    return Nest(
        f"{nest.name}_rest",
        nest.source,
        (),
        nest.loops,
        tuple(replace(s, value=made[s.value]) for s in stores),
        nest.index_names,
        (*(k.index for k in batch), rows.index, columns.index),
    )


def _rebuilt(x: Value, made: Mapping[Value, Value]) -> Value:
    match x:
        case Apply() if any(made[v] is not v for v in x.args):
            return replace(x, args=tuple(made[v] for v in x.args))
        case Load():
            gathered = tuple((made[v], d) for v, d in x.gathered)
            guard = None if x.guard is None else made[x.guard]
            return replace(x, gathered=gathered, guard=guard)
        case _:
            return x


# --------------------------------------------------------------------------- text


def contraction_text(c: Contraction) -> str:
    """Short pseudo-code: what happens for large sizes, then the nest for small ones."""
    names = c.direct.index_names
    lines = [f"{c.name}:  # {c.direct.source}"]
    depth = 1

    def put(text: str) -> None:
        lines.append("  " * depth + text)

    put("if large:")
    depth += 1
    put(f"for {names[c.columns.index]} in 0:{c.columns.extent} by blocks of {COLUMNS}")
    for loop in c.batch:
        depth += 1
        put(f"for {names[loop.index]} in 0:{loop.extent}")
    depth += 1
    reduced = ", ".join(f"{names[x.index]} in 0:{x.extent}" for x in c.left.reduced)
    put(f"for {reduced} by blocks of {DEPTH}")
    depth += 1
    _put_pack(put, "right", c.right, names)
    put(f"for {names[c.rows.index]} in 0:{c.rows.extent} by blocks of {ROWS}")
    depth += 1
    _put_pack(put, "left", c.left, names)
    put(f"{c.store.buffer.name} += left @ right")
    if c.rest is not None:
        put("after the last block of the sums:")
        depth += 1
        lines += ["  " * depth + line for line in nest_text(c.rest).rstrip().split("\n")]
    depth = 1
    put("else:")
    lines += ["  " * 2 + line for line in nest_text(c.direct).rstrip().split("\n")]
    return "\n".join(lines) + "\n"


def _put_pack(put: Callable[[str], None], name: str, x: Operand, names: dict[int, str]) -> None:
    made: dict[Value, str] = {}
    for v in postorder([x.value]):
        made[v] = value_text(v, names, made, put)
    how = " transposed" if x.transposed else ""
    put(f"{name} = panels along {names[x.index]}{how} of {made[x.value]}")
