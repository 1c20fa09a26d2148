"""Tiles: which index runs along SIMD lanes, and which are unrolled in registers.

In: a nest whose loops step by 1, and what the target offers. Out: the same nest with lanes and
copies on its loops. Left to others: how a tile is emitted (`emit`).

Lanes go to the output index along which most loads are contiguous or invariant; else every
reduction runs along lanes of its own contiguous index; else all is scalar. Copies give a reduction
independent accumulators, and reuse of what a load brought: for a sum of products this is the
register tile of a matrix product, of whatever operands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from math import ceil, prod

from .dims import Dim, is_window
from .loops import (
    Apply,
    Load,
    Loop,
    Nest,
    Reduce,
    Statement,
    Store,
    Update,
    Value,
    indices_of,
    postorder,
    stores_of,
    values_of,
)
from .primitives import PRIMITIVES
from .records import dataclass
from .tuning import STATIC, Tuning


@dataclass(frozen=True)
class Registers:
    """What a target offers: bytes of one vector (0: no vectors), and how many vectors a tile's
    accumulators may take; whether it multiplies matrix tiles of bf16 (`microkernel_tiles`); and
    what is chosen in using it."""

    vector_bytes: int
    accumulators: int
    tuning: Tuning = STATIC
    matrix_tiles: bool = False

    @property
    def of_masks(self) -> bool:
        """Whether there are registers for masks (AVX-512), which then cost nothing."""
        return self.vector_bytes == 64

    def dear_copies(self, cost: float) -> int:
        """Vectors at once of a body of so many additions: side by side (`weave`), one is computed
        while others wait. Measured (Zen 3, of the time of one): 3 of gelu and its derivative 0.76,
        2 of Black and Scholes' formula with four derivatives 0.9. Where masks cost nothing, and
        twice as many instructions are in sight, 1."""
        if self.tuning.dear_copies is not None:
            return self.tuning.dear_copies
        if self.of_masks:
            return 1
        return 3 if cost <= _LONG else 2 if cost <= 4 * _LONG else 1

    @property
    def split_cost(self) -> int:
        """Additions of the longest body that is worth being emitted twice (`split_loops`)."""
        stated = self.tuning.split_cost
        return stated if stated is not None else _TILE if self.of_masks else 16 * _TILE


@dataclass(frozen=True)
class Preference:
    """The tile that a comprehension wants: its lanes' index, and whether its accumulators fill the
    registers."""

    along: int | None
    full: bool

    def agrees(self, other: Preference) -> bool:
        return self.along == other.along and not (self.full and other.full)

    def joined(self, other: Preference) -> Preference:
        return Preference(self.along, self.full or other.full)


@dataclass(frozen=True)
class _Body:
    """What the choice looks at: distinct values with their indices, loads among them."""

    nest: Nest
    deps: dict[Value, frozenset[int]]
    lanes: int
    tuning: Tuning

    def loads(self, values: Iterable[Value]) -> list[Load]:
        return [x for x in postorder(values) if isinstance(x, Load)]

    def is_contiguous(self, x: Load, k: int) -> bool:
        if any(k in self.deps[v] for v, _ in x.gathered):
            return False
        c = x.offset.coefficient(k)
        return c is not None and c.const == 1

    def load_cost(self, x: Load, k: int | None) -> float:
        """Of one load for one vector along `k`, in vector instructions."""
        if k is None or k not in self.deps[x]:
            return 0.5
        return 1.0 if self.is_contiguous(x, k) else self.lanes / 2


def preference(nest: Nest, registers: Registers) -> Preference:
    """What the nest of one comprehension wants."""
    if registers.vector_bytes == 0:
        return Preference(None, False)
    body = _body(nest, registers)
    along = _lane_index(body)
    reduces = [s for s in nest.body if isinstance(s, Reduce)]
    return Preference(along, any(_reuse(body, s, along)[1] for s in reduces))


def walks_rows(nest: Nest, registers: Registers) -> bool:
    """Whether all that the nest does runs along lanes of the last index: of its output, or of its
    sums."""
    if registers.vector_bytes == 0:
        return False
    body = _body(nest, registers)
    along = _lane_index(body)
    reduces = [s for s in nest.body if isinstance(s, Reduce)]
    if not reduces:
        return bool(nest.loops) and along == nest.loops[-1].index
    return along is None and all(
        bool(s.loops) and _reduced_lane_index(body, s)[0] == s.loops[-1].index for s in reduces
    )


def _body(nest: Nest, registers: Registers) -> _Body:
    outer = frozenset(loop.index for loop in nest.loops)
    values = [v for s in nest.body for v in values_of(s)]
    lanes = max(1, registers.vector_bytes // _element_bytes(nest, values))
    return _Body(nest, indices_of(values, outer), lanes, registers.tuning)


def tile(nest: Nest, registers: Registers) -> Nest:
    """Lanes and copies for every loop."""
    if registers.vector_bytes == 0:
        return nest
    body = _body(nest, registers)
    lanes = body.lanes
    along = _lane_index(body)
    copies = _copies(body, along, registers)
    loops = _panels_outside([_tiled(loop, along, lanes, copies) for loop in nest.loops])
    statements = []
    for s in nest.body:
        if isinstance(s, Reduce):
            own = None if along is not None else _reduced_lane_index(body, s)[0]
            many = _reduced_copies(body, s, own, copies, registers)
            s = replace(s, loops=tuple(_tiled(x, own, lanes, many) for x in s.loops))
        statements.append(s)
    return replace(nest, loops=loops, body=tuple(statements))


def _panels_outside(loops: list[Loop]) -> tuple[Loop, ...]:
    """The loop along lanes around the one whose copies reuse what a lane row brought: a panel of
    the operand that is read by rows then stays in the cache while all tiles below it use it."""
    reusing = next((n for n, x in enumerate(loops) if x.copies > 1 and x.lanes == 1), None)
    panel = next((n for n, x in enumerate(loops) if x.lanes > 1), None)
    if reusing is not None and panel is not None and reusing < panel:
        loops.insert(reusing, loops.pop(panel))
    return tuple(loops)


def _tiled(loop: Loop, along: int | None, lanes: int, copies: dict[int, int]) -> Loop:
    return replace(
        loop, lanes=lanes if loop.index == along else 1, copies=copies.get(loop.index, 1)
    )


def _element_bytes(nest: Nest, values: Sequence[Value]) -> int:
    """Bytes of the dtype that most lanes hold: the widest float, else the widest in memory."""
    floats = {x.dtype.size for x in postorder(values) if x.dtype.is_float and not x.dtype.is_weak}
    written = [x.buffer.dtype for s in nest.body for x in stores_of(s)]
    floats |= {
        x.buffer.dtype.size
        for s in nest.body
        for x in stores_of(s)
        if isinstance(x, Store) and x.buffer.dtype.is_float
    }
    if floats:
        return max(4, *floats)
    sizes = [x.dtype.size for x in postorder(values) if isinstance(x, Load)]
    sizes += [d.size for d in written]
    return max(4, *sizes) if sizes else 8


# --------------------------------------------------------------------------- lanes


def _lane_index(body: _Body) -> int | None:
    """The output index for the lanes, or None: reductions then use their own."""
    best: tuple[float, int | None] = (_cost_without(body), None)
    if any(isinstance(s, Reduce) and s.is_pass for s in body.nest.body):
        return None
    if any(isinstance(s, Reduce) and s.loops for s in body.nest.body):
        match body.tuning.lanes:
            case "output":
                best = (float("inf"), None)
            case "sum":
                return None
    for loop in reversed(body.nest.loops):
        if (cost := _cost_along(body, loop)) < best[0]:
            best = (cost, loop.index)
    return best[1]


_WINDOW = 4
"""The size taken for a window."""


def _padding(body: _Body, loop: Loop) -> float:
    """How much work the masked lanes waste."""
    n = loop.extent.const
    if n is None and is_window(loop.extent, [x.extent for x in body.nest.every_loop]):
        n = _WINDOW
    return ceil(n / body.lanes) * body.lanes / n if n else 1.0


def _cost_along(body: _Body, loop: Loop) -> float:
    """Per element of the tile, of running `loop` along lanes; infinite where that is impossible."""
    k = loop.index
    total = 0.0
    for s in body.nest.body:
        match s:
            case Store():
                c = s.offset.coefficient(k)
                step = 1.0 if c is not None and c.const == 1 else body.lanes * 2.0
                total += step + _work(body, values_of(s), k)
            case Update():
                c = s.offset.coefficient(k)
                if c is None or c.const != 1 or any(k in body.deps[v] for v, _ in s.gathered):
                    return float("inf")
                total += 2 + _work(body, values_of(s), k)
            case Reduce():
                total += 8 * _work(body, values_of(s), k)
    return total / body.lanes * _padding(body, loop)


def _cost_without(body: _Body) -> float:
    total = 0.0
    for s in body.nest.body:
        if isinstance(s, Reduce):
            _, cost = _reduced_lane_index(body, s)
            total += 8 * cost + 0.5
        else:
            total += _work(body, values_of(s), None) + 1
    return total


def _reduced_lane_index(body: _Body, s: Reduce) -> tuple[int | None, float]:
    """The reduced index for the lanes of `s`, and the cost per element."""
    best: tuple[int | None, float] = (None, _work(body, values_of(s), None))
    for loop in s.loops[-1:] if s.is_pass else reversed(s.loops):
        work = _work(body, values_of(s), loop.index)
        cost = work / body.lanes * _padding(body, loop)
        if cost < best[1]:
            best = (loop.index, cost)
    return best


def _work(body: _Body, values: Iterable[Value], k: int | None) -> float:
    """Instructions for one vector along `k` (for one element: None)."""
    total = 1.0
    for x in postorder(values):
        match x:
            case Load():
                total += body.load_cost(x, k)
            case Apply():
                total += PRIMITIVES[x.name].cost
    return total


# --------------------------------------------------------------------------- copies

_SHORT = 10
"""Operations of a body that leaves time for the loop's own."""

_LONG = 50
"""Those of a body of which three vectors at once fit the registers."""

_TILE = 64
"""Those of a tile that compiles fast."""


def _copies(body: _Body, along: int | None, registers: Registers) -> dict[int, int]:
    """Unrolled copies of the output's loops."""
    if any(isinstance(s, Update) for s in body.nest.body):
        return {}
    reduces = [s for s in body.nest.body if isinstance(s, Reduce)]
    extents = {loop.index: loop.extent for loop in body.nest.loops}
    if not reduces:
        cost = _work(body, [v for s in body.nest.body for v in values_of(s)], along)
        wanted = 2 if cost <= _SHORT else registers.dear_copies(cost)
        if along is None or wanted == 1:
            return {}
        return _fitted({along: wanted}, extents, {along: body.lanes})
    main = max(reduces, key=lambda s: _reuse(body, s, along)[0])
    saved, rows = _reuse(body, main, along)
    cost = _inner_cost(body, main)
    budget = max(1, min(registers.accumulators, int(48 / cost)) // len(main.accumulators))
    lanes = {} if along is None else {along: body.lanes}
    if along is not None:
        if saved > 0 and budget >= 4:
            vectors = body.tuning.tile_vectors
            wide = {along: vectors, rows[0]: max(1, budget // vectors)}
        else:
            wide = {along: min(8, budget)}  # long rows: fewer passes over far pages
        return _fitted(wide, extents, lanes)
    if len(rows) >= 2 and budget >= 4:
        side = 4 if budget >= 16 else 2
        return _fitted({rows[0]: side, rows[1]: side}, extents, lanes)
    if len(rows) == 1 and budget >= 4:
        return _fitted({rows[0]: 4}, extents, lanes)
    return {}


def _fitted(
    copies: dict[int, int], extents: dict[int, Dim], lanes: dict[int, int]
) -> dict[int, int]:
    """No more copies than a known extent needs, spread evenly over its tiles."""
    out: dict[int, int] = {}
    for k, n in copies.items():
        known = extents[k].const
        if known is not None:
            points = max(1, ceil(known / lanes.get(k, 1)))
            n = ceil(points / ceil(points / n))
        out[k] = n
    return out


def _inner_cost(body: _Body, s: Reduce) -> int:
    """Operations for one step of the innermost loop at one point of the tile."""
    inner = {loop.index for loop in s.loops}
    ops = (
        PRIMITIVES[x.name].cost
        for x in postorder(values_of(s))
        if isinstance(x, Apply) and body.deps[x] & inner
    )
    return max(1, sum(ops))


def _reuse(body: _Body, s: Reduce, along: int | None) -> tuple[float, list[int]]:
    """How much an unrolled copy saves, and the output indices worth unrolling, best first: those
    on which some load of the inner loop does not depend while the reduction does."""
    inner = {loop.index for loop in s.loops}
    loads = [x for x in body.loads(values_of(s)) if body.deps[x] & inner]
    scored: list[tuple[float, int]] = []
    for loop in body.nest.loops:
        k = loop.index
        if k == along or loop.extent.const == 1:
            continue
        with_k = [x for x in loads if k in body.deps[x]]
        free = [x for x in loads if k not in body.deps[x]]
        if not with_k or not free:
            continue
        weight = sum(1.0 if along in body.deps[x] else 0.5 for x in free)
        scored.append((weight, k))
    scored.sort(key=lambda t: (-t[0], -t[1]))
    return (scored[0][0] if scored else 0.0), [k for _, k in scored]


def _reduced_copies(
    body: _Body, s: Reduce, own: int | None, copies: dict[int, int], registers: Registers
) -> dict[int, int]:
    """Several accumulators along the lanes of a reduction, where the tile has too few to hide the
    latency of an addition."""
    if own is None:
        return {}
    tiled = 1
    for n in copies.values():
        tiled *= n
    cost, sums = _inner_cost(body, s), len(s.accumulators)
    budget = int(48 / cost) // sums
    if cost > _SHORT:
        budget = max(budget, min(registers.dear_copies(cost), registers.accumulators // (2 * sums)))
    want = max(1, min(body.tuning.sum_copies, budget, registers.accumulators) // tiled)
    extents = {loop.index: loop.extent for loop in s.loops}
    return _fitted({own: want}, extents, {own: body.lanes})


# --------------------------------------------------------------------------- masks


def split_loops(nest: Nest, registers: Registers) -> dict[int, bool]:
    """The indices along lanes whose whole tiles run apart from the rest, so that only the rest
    needs masks: those of loops of which a tile has up to `registers.split_cost` additions;
    innermost ones, and where masks are no registers, but branches and more, those around sums that
    may be long, too. True for tiles that take long to compile: their rest goes vector by vector,
    unless sums would be walked again for every vector."""
    reduces = [s for s in nest.body if isinstance(s, Reduce) and s.loops]
    points = prod(loop.copies for loop in nest.loops)
    bodies: list[tuple[Loop, Sequence[Statement], int]] = [
        (s.loops[-1], [s], points * s.loops[-1].copies) for s in reduces
    ]
    around = nest.loops[-1].index if nest.loops and reduces else None
    walked = any(loop.extent.const is None for s in reduces for loop in s.loops)
    if nest.loops and (not reduces or (walked and not registers.of_masks)):
        bodies.append((nest.loops[-1], nest.body, points))
    costs = {
        loop.index: copies * _cost_of(statements)
        for loop, statements, copies in bodies
        if loop.lanes > 1
    }
    return {
        k: cost > _TILE and k != around for k, cost in costs.items() if cost <= registers.split_cost
    }


def _cost_of(statements: Sequence[Statement]) -> int:
    values = postorder(v for s in statements for v in values_of(s))
    return sum(PRIMITIVES[x.name].cost if isinstance(x, Apply) else 1 for x in values)
