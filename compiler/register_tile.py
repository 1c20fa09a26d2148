"""Register tiles: how large they are, and the loop that adds up the sums of one.

In: what the machine offers; where the factors of a step stand. Out: sums that stay in registers, of
as many rows and vectors as a tile has. Left to others: what the factors are, and which tiles cover
a result (`microkernel`, `microkernel_strip`, `microkernel_places`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from . import ir
from .instructions import I64
from .llvm_loop import POINTER, spread
from .llvm_vector import constant, intrinsic, vector
from .records import dataclass
from .tile import Registers

ALIGNMENT = 64
"""Bytes of a line of the cache."""


@dataclass(frozen=True)
class Panels:
    """The register tile of one element type: `rows` × `vectors` of `lanes`."""

    element: ir.Type
    lanes: int
    rows: int
    vectors: int

    @property
    def columns(self) -> int:
        return self.lanes * self.vectors

    @property
    def bytes(self) -> int:
        return 4 if isinstance(self.element, ir.FloatType) else 8

    @property
    def name(self) -> str:
        return f"f{8 * self.bytes}"

    @property
    def routine(self) -> str:
        return f"tdsl_multiply_{self.name}"


TERMS = 4
"""Of the sums, in one turn of the loop over them, of a tile that is not small: what the loop takes
beside them is then spread over so many (measured: products by 1 to 3 %, by 5 to 8 % while a
neighbour shares the core; eight are no better, and take longer to translate)."""


LOW = 4
"""Rows of the tiles for what is left below whole ones: fewer would not be faster, since so many
sums of two vectors are what keeps the additions busy."""


LARGE, SMALL = (8, 3), (6, 2)
"""Rows and vectors of a register tile, where there are 32 registers and where there are 16. Every
value of the left operand is loaded for all vectors, and the sums leave room for a step's factors
(measured with 32: 5 to 10 % faster than two vectors while neighbours work, level otherwise; four,
and more rows, were no better. With 16: products 1.2 times as fast as with four rows of two vectors;
four rows of three need every register, LLVM then keeps a sum in memory: 1.6 times)."""


def panels(element: ir.Type, registers: Registers) -> Panels:
    size = 4 if isinstance(element, ir.FloatType) else 8
    rows, vectors = LARGE if registers.accumulators >= 16 else SMALL
    return Panels(element, registers.vector_bytes // size, rows, vectors)


def tile_sizes(tile: Panels) -> list[tuple[int, int]]:
    """Rows and vectors of the tiles that there are: the whole one, and smaller ones for edges."""
    return [(r, v) for r in (LOW, tile.rows) for v in range(1, tile.vectors + 1)]


def load_wide(b: ir.IRBuilder, tile: Panels, p: ir.Value, at: int, align: int) -> ir.Value:
    p = b.gep(p, [constant(I64, at)], source_etype=tile.element)
    return b.load(p, typ=vector(tile.element, tile.lanes), align=align)


Factors = tuple[list[ir.Value], list[ir.Value]]
"""Of one step of the sums: where the left ones stand, and the vectors of right ones."""


def chains(
    b: ir.IRBuilder,
    tile: Panels,
    size: tuple[int, int],
    ends: tuple[ir.Value, ir.Value],
    place: Callable[[int, int], ir.Value],
    steps: Sequence[tuple[ir.Value, ir.Value]],
    factors: Callable[[ir.Value, Sequence[ir.Value]], Factors],
    asks: bool = False,
) -> None:
    """The sums of a tile of `size` rows and vectors, whose results stand at `place`, over as many
    products as `ends` says, from zero or from what stands there. `factors` of each are given its
    number, and pointers that start and move as `steps` say; they may ask for what is far ahead.
    Ends the function."""
    k, accumulate = ends
    rows, vectors = size
    wide, f = vector(tile.element, tile.lanes), b.function
    load, zero, start = (f.append_basic_block(x) for x in ("load", "zero", "start"))
    points = [(r, v) for r in range(rows) for v in range(vectors)]
    types = [I64, *(POINTER for _ in steps), *(wide for _ in points)]
    b.cbranch(b.icmp_signed("!=", accumulate, constant(I64, 0)), load, zero)
    b.position_at_end(zero)
    b.branch(start)
    b.position_at_end(load)
    old = [b.load(place(*p), typ=wide, align=tile.bytes) for p in points]
    b.branch(start)
    b.position_at_end(start)
    first = [constant(I64, 0), *(p for p, _ in steps)]
    fresh = [constant(wide, 0) for _ in points]
    state = _joined(b, types, {zero: [*first, *fresh], load: [*first, *old]})

    def next_term(state: Sequence[ir.Value]) -> list[ir.Value]:
        at, pointers, sums = state[0], state[1 : 1 + len(steps)], state[1 + len(steps) :]
        lefts, columns = factors(at, pointers)
        new: list[ir.Value] = []
        for r in range(rows):
            x = spread(b, b.load(lefts[r], typ=tile.element, align=tile.bytes), tile.lanes)
            own = sums[r * vectors : (r + 1) * vectors]
            new += [intrinsic(b, "llvm.fma", [x, *y]) for y in zip(columns, own, strict=True)]
        further = b.add(at, constant(I64, 1))
        moved = [
            b.gep(p, [by], source_etype=tile.element)
            for p, (_, by) in zip(pointers, steps, strict=True)
        ]
        return [further, *moved, *new]

    def added(state: Sequence[ir.Value], terms: int, stop: ir.Value) -> list[ir.Value]:
        """The state after the terms before `stop`, some at a time."""
        before = b.block
        again, after = (f.append_basic_block(x) for x in ("again", "after"))
        b.cbranch(b.icmp_signed("<", state[0], stop), again, after)
        b.position_at_end(again)
        carried = [b.phi(t) for t in types]
        new: Sequence[ir.Value] = carried
        for _ in range(terms):
            new = next_term(new)
        for phi, x, y in zip(carried, state, new, strict=True):
            phi.add_incoming(x, before)
            phi.add_incoming(y, again)
        b.cbranch(b.icmp_signed("<", new[0], stop), again, after)
        b.position_at_end(after)
        return _joined(b, types, {before: state, again: new})

    if (vectors >= tile.vectors or rows * vectors >= 2 * tile.rows) and not asks:
        state = added(state, TERMS, b.and_(k, constant(I64, -TERMS)))
    state = added(state, 1, k)
    for point, x in zip(points, state[1 + len(steps) :], strict=True):
        b.store(x, place(*point), align=tile.bytes)
    b.ret_void()


def _joined(
    b: ir.IRBuilder, types: Sequence[ir.Type], ways: Mapping[ir.Block, Sequence[ir.Value]]
) -> list[ir.Value]:
    """What comes from one of several blocks."""
    out = [b.phi(t) for t in types]
    for before, values in ways.items():
        for phi, x in zip(out, values, strict=True):
            phi.add_incoming(x, before)
    return list[ir.Value](out)
