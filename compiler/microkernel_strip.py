"""The register-tiled product of left panels and a strip: windows are read where they stand.

In: what the machine offers. Out: a function that all contractions with strips share, for
one element type:

    void tdsl_multiply_strip_f32(ptr a, ptr strip, ptr c, i64 m, i64 n, i64 lines, i64 k,
                                 i64 row, i64 line, i64 accumulate)

`c[l*line + i*row + j]` (+)= Σ_k a(i, k)·b(k, l, j) for l < lines, i < m, j < n. `a` holds panels
(`microkernel`). The strip starts with some words: by how many bytes a step of l moves, and for
every k, at how many bytes from its start b(k, 0, 0) stands; its j stand side by side, at any
alignment. The vectors of one tile may be of two lines. Left to others: who fills it (`emit_strip`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import ir
from .instructions import I64
from .llvm_loop import POINTER, VOID, counted, minimum
from .llvm_vector import constant
from .microkernel import copy, edge_of, prefetch, side_by_side, smallest
from .packed_task import external
from .register_tile import Factors, Panels, chains, load_wide, tile_sizes

LINE, START, COUNT, TABLE = range(4)
"""Words of a strip: bytes from line to line, where its elements start and how many there are; for
every place of the sum, where it reads."""


STRIP_CALL = ir.FunctionType(VOID, [POINTER] * 3 + [I64] * 7)


def shared_strip(module: ir.Module, tile: Panels) -> ir.Function:
    """The function as an external symbol."""
    return external(module, STRIP_CALL, f"tdsl_multiply_strip_{tile.name}")


def multiply_strip(module: ir.Module, tile: Panels) -> ir.Function:
    function = shared_strip(module, tile)
    function.attributes.add("nounwind")
    pa, strip, pc, m, n, lines, k, row, line, accumulate = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    lanes = constant(I64, tile.lanes)
    a_line = b.sdiv(b.add(n, constant(I64, tile.lanes - 1)), lanes)  # vectors
    step = b.load(b.gep(strip, [constant(I64, LINE)], source_etype=I64), typ=I64)

    def vector(number: ir.Value) -> Vector:
        at, within = b.sdiv(number, a_line), b.mul(b.srem(number, a_line), lanes)
        p = b.gep(strip, [b.mul(at, step)], source_etype=ir.IntType(8))
        out = b.add(b.mul(at, line), within)
        return (
            b.gep(p, [within], source_etype=tile.element),
            b.gep(pc, [out], source_etype=tile.element),
            minimum(b, b.sub(n, within), lanes),
        )

    def left(i: ir.Value) -> list[ir.Value]:
        return [b.gep(pa, [b.mul(i, k)], source_etype=tile.element), strip]

    tiles = {size: _tile(module, tile, *size) for size in tile_sizes(tile)}
    total = b.mul(lines, a_line)
    by_vectors(b, tile, tiles, left, (total, vector), (m, k), (row, accumulate))
    b.ret_void()
    return function


Vector = tuple[ir.Value, ir.Value, ir.Value]
"""Of columns: where its right operand and its result start, and how many there are."""


def by_vectors(
    b: ir.IRBuilder,
    tile: Panels,
    tiles: dict[tuple[int, int], ir.Function],
    left: Callable[[ir.Value], list[ir.Value]],
    columns: tuple[ir.Value, Callable[[ir.Value], Vector]],
    sizes: tuple[ir.Value, ir.Value],
    ends: tuple[ir.Value, ir.Value],
) -> None:
    """The product of all vectors of columns, as many as there are, and rows. A tile's function is
    given what `left` says of a row, the starts of its vectors, and of their results."""
    (total, vector), (m, k), (row, accumulate) = columns, sizes, ends
    edge = edge_of(b, tile)
    here = side_by_side(b, tile, edge), constant(I64, tile.columns)
    going_on = b.icmp_signed("!=", accumulate, constant(I64, 0))
    groups = b.sdiv(b.add(total, constant(I64, tile.vectors - 1)), constant(I64, tile.vectors))
    whole_rows = {size: f for size, f in tiles.items() if size[0] == tile.rows}
    with counted(b, groups, constant(I64, 1)) as group:
        first = b.sdiv(b.mul(group, total), groups)
        end = b.sdiv(b.mul(b.add(group, constant(I64, 1)), total), groups)
        rights, outs, counts = [], [], []
        for v in range(tile.vectors):
            number = b.add(first, constant(I64, v))
            inside = b.icmp_signed("<", number, end)
            number = b.select(inside, number, first)  # past the end, the first one once more
            right, out, count = vector(number)
            rights.append(right)
            outs.append(out)
            counts.append(b.select(inside, count, constant(I64, 0)))
        over = [b.and_(x, constant(I64, tile.lanes - 1)) for x in counts]
        whole = [b.icmp_signed("==", x, constant(I64, 0)) for x in over]
        used = constant(I64, tile.lanes)
        for v, x in enumerate(counts[1:], 2):
            some = b.icmp_signed(">", x, constant(I64, 0))
            used = b.select(some, constant(I64, v * tile.lanes), used)
        with counted(b, m, constant(I64, tile.rows)) as i:
            rows = minimum(b, b.sub(m, i), constant(I64, tile.rows))
            full = b.icmp_signed("==", rows, constant(I64, tile.rows))
            for x in whole:
                full = b.and_(full, x)
            starts = _moved(b, tile, outs, b.mul(i, row))
            with b.if_then(going_on):
                prefetch(b, tile, _moved(b, tile, starts, b.mul(row, rows)), row)
            operands = [*left(i), *rights]
            with b.if_else(full) as (all_of_it, part):
                with all_of_it:
                    args = [*operands, *starts, k, row, accumulate]
                    smallest(b, tile, whole_rows, (rows, used), args)
                with part:
                    with b.if_then(going_on):
                        copy(b, tile, (starts, row), here, rows, counts)
                    args = [*operands, *here[0], k, here[1], accumulate]
                    smallest(b, tile, tiles, (rows, used), args)
                    copy(b, tile, here, (starts, row), rows, counts)


def _moved(
    b: ir.IRBuilder, tile: Panels, pointers: Sequence[ir.Value], by: ir.Value
) -> list[ir.Value]:
    return [b.gep(p, [by], source_etype=tile.element) for p in pointers]


def _tile(module: ir.Module, tile: Panels, rows: int, vectors: int) -> ir.Function:
    """`(a, strip, b…, c…, k, row, accumulate)`: one tile, where of each vector b(0, …) would stand
    in the strip, and where its result stands."""
    most = tile.vectors
    t = ir.FunctionType(VOID, [POINTER] * (2 + 2 * most) + [I64] * 3)
    f = ir.Function(module, t, f"tdsl_multiply_strip_{tile.name}_{rows}x{vectors}")
    f.linkage = "internal"
    f.attributes.add("nounwind")
    f.attributes.add("noinline")
    left, strip, *starts, k, row, accumulate = f.args
    rights, outs = starts[:most], starts[most:]
    b = ir.IRBuilder(f.append_basic_block("entry"))
    table = b.gep(strip, [constant(I64, TABLE)], source_etype=I64)

    def factors(at: ir.Value, places: Sequence[ir.Value]) -> Factors:
        (pa,) = places
        lefts = [b.gep(pa, [constant(I64, r)], source_etype=tile.element) for r in range(rows)]
        moved = b.load(b.gep(table, [at], source_etype=I64), typ=I64)
        ways = [b.gep(p, [moved], source_etype=ir.IntType(8)) for p in rights[:vectors]]
        return lefts, [load_wide(b, tile, p, 0, tile.bytes) for p in ways]

    def place(r: int, v: int) -> ir.Value:
        return b.gep(outs[v], [b.mul(row, constant(I64, r))], source_etype=tile.element)

    steps = [(left, constant(I64, tile.rows))]
    chains(b, tile, (rows, vectors), (k, accumulate), place, steps, factors)
    return f
