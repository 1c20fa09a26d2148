"""The register-tiled product of packed panels: the inner part of every large contraction.

In: what the machine offers. Out: a function of the module that all contractions share
(`packed_blocks`), for one element type:

    void tdsl_multiply_f32(ptr a, i64 tile, i64 next, i64 step, i64 ahead, ptr b, ptr c,
                           i64 m, i64 n, i64 k, i64 row, i64 accumulate, ptr source, i64 below)

`c[i*row + j]` (+)= Σ_k a(i, k)·b(k, j) for i < m, j < n. `b` holds panels of `columns` values of j;
within a panel, the values of one k stand together. So do `rows` values of i in the panels of `a`:
`a[i // rows · rows·k_count + k·rows + i % rows]`; or `a` is read where it stands. Both are said by
three steps: `a[i // rows · rows·tile + i % rows · next + k·step]`; of a narrow result (`AHEAD`)
what stands `ahead` of that is asked for on the way, unless that is 0. Panels of whole vectors may
still be empty: `source`, unless that is NULL, is where the right operand stands, with as many
elements from one k to the next as `below` says; the first rows, `rows` at least, read it there and
fill the panels. Every element is one chain of fused additions in the order of k, whatever the tile
it falls into; `accumulate` goes on from what `c` holds.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import ir
from .instructions import I1, I32, I64
from .llvm_loop import POINTER, VOID, below, counted, minimum
from .llvm_vector import any_lane, ask_for, constant, intrinsic, vector
from .register_tile import ALIGNMENT, Factors, Panels, chains, load_wide, tile_sizes

SIGNATURE = ir.FunctionType(
    VOID, [POINTER] + [I64] * 4 + [POINTER] * 2 + [I64] * 5 + [POINTER, I64]
)


AHEAD = 2
"""The most vectors of a result, whose left operand is asked for before it is needed: for more, its
lines come in time (1.2 times as fast with one, measured; level with three)."""


def finite(module: ir.Module, tile: Panels) -> ir.Function:
    """`(start, rows, row, count) -> i1`: whether the first `count` elements of each of some rows,
    which are `row` elements apart, are neither infinite nor NaN."""
    name = f"tdsl_finite_{tile.name}"
    found: ir.Function | None = module.globals.get(name)
    if found is not None:
        return found
    f = ir.Function(module, ir.FunctionType(I1, [POINTER] + [I64] * 3), name)
    f.linkage = "internal"
    f.attributes.add("nounwind")
    start, rows, row, count = f.args
    wide = vector(tile.element, tile.lanes)
    b = ir.IRBuilder(f.append_basic_block("entry"))
    align, lanes, zero = constant(I32, tile.bytes), constant(I64, tile.lanes), constant(wide, 0)
    totals: list[ir.PhiInstr] = []  # 0, or NaN from the first such element on

    def carried(start: ir.Value, before: ir.Block) -> None:
        totals.append(b.phi(wide))
        totals[-1].add_incoming(start, before)

    def ended(new: ir.Value, latch: ir.Block) -> ir.Value:
        """What a loop leaves, which started with the last of `totals`."""
        total = totals.pop()
        after = b.phi(wide)
        after.add_incoming(*total.incomings[0])
        total.add_incoming(new, latch)
        after.add_incoming(new, latch)
        return after

    first = b.block
    with counted(b, rows, constant(I64, 1)) as r:
        carried(zero, first)
        outside = b.block
        with counted(b, count, lanes) as at:
            carried(totals[-1], outside)
            p = b.gep(start, [b.add(b.mul(r, row), at)], source_etype=tile.element)
            x = intrinsic(
                b, "llvm.masked.load",
                [p, align, below(b, tile.lanes, b.sub(count, at)), zero],
                result=wide, overload=[wide, POINTER],
            )  # fmt: skip
            new = intrinsic(b, "llvm.fma", [x, zero, totals[-1]])
            inside = b.block
        new = ended(new, inside)
        latch = b.block
    last = ended(new, latch)
    bad = b.fcmp_unordered("uno", last, last)
    b.ret(b.not_(any_lane(b, bad)))
    return f


def edge_of(b: ir.IRBuilder, tile: Panels) -> ir.Value:
    """Memory of the function's own for a tile that is not written whole."""
    edge = b.alloca(ir.ArrayType(tile.element, tile.rows * tile.columns))
    edge.align = ALIGNMENT
    return edge


def multiply(module: ir.Module, tile: Panels) -> ir.Function:
    function = ir.Function(module, SIGNATURE, tile.routine)
    function.linkage = "internal"
    function.attributes.add("nounwind")
    pa, a_tile, a_next, a_step, ahead, pb, pc, m, n, k, row, accumulate, *source = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    tiles = {size: _tile(module, tile, *size) for size in tile_sizes(tile)}
    asking = {(tile.rows, v): _tile(module, tile, tile.rows, v, True) for v in range(1, AHEAD + 1)}
    filling = {(tile.rows, v): _filling(module, tile, v) for v in range(1, tile.vectors + 1)}
    edge = edge_of(b, tile)
    going_on = b.icmp_signed("!=", accumulate, constant(I64, 0))
    empty = b.icmp_unsigned("!=", b.ptrtoint(source[0], I64), constant(I64, 0))
    width = constant(I64, tile.columns)
    height = constant(I64, tile.rows)
    whole_rows = {size: f for size, f in tiles.items() if size[0] == tile.rows}
    low = tile.rows // 2
    wide = _tile(module, tile, low, tile.vectors + 1)
    # a vector that is left over is no tile of its own: with the last panel it makes two lower ones
    narrow, broad = constant(I64, tile.lanes), constant(I64, tile.columns + tile.lanes)
    left_over = b.icmp_signed("==", b.srem(n, width), narrow)
    left_over = b.and_(left_over, b.icmp_signed(">=", n, broad))
    asked = b.and_(
        b.icmp_signed("!=", ahead, constant(I64, 0)),
        b.icmp_signed("<=", n, constant(I64, AHEAD * tile.lanes)),
    )

    def fitting(
        among: dict[tuple[int, int], ir.Function],
        rows: ir.Value,
        columns: ir.Value,
        args: Sequence[ir.Value],
    ) -> None:
        with b.if_else(asked) as (by_asking, otherwise):
            with by_asking:
                smallest(b, tile, asking, (rows, columns), [*args, ahead])
            with otherwise:
                smallest(b, tile, among, (rows, columns), args)

    with counted(b, m, height) as i:  # a tile's rows stay in the first-level cache for all panels
        rows = minimum(b, b.sub(m, i), height)
        left = b.gep(pa, [b.mul(i, a_tile)], source_etype=tile.element)
        line = b.gep(pc, [b.mul(i, row)], source_etype=tile.element)
        under = b.gep(line, [b.mul(row, height)], source_etype=tile.element)
        all_rows = b.icmp_signed("==", rows, height)
        fills = b.and_(empty, b.icmp_signed("==", i, constant(I64, 0)))
        joined = b.and_(left_over, b.and_(all_rows, b.not_(fills)))
        stop = b.select(joined, b.sub(n, narrow), n)
        with counted(b, stop, width) as j:
            columns = minimum(b, b.sub(n, j), width)
            right = b.gep(pb, [b.mul(j, k)], source_etype=tile.element)
            operands = [left, a_next, a_step, right]
            at = b.gep(line, [j], source_etype=tile.element)
            is_last = b.icmp_signed("<=", b.sub(stop, j), width)
            beside = b.gep(at, [width], source_etype=tile.element)
            following = b.select(is_last, under, beside)
            with b.if_then(going_on):
                prefetch(b, tile, side_by_side(b, tile, following), row)
            over = b.and_(columns, constant(I64, tile.lanes - 1))
            full = b.and_(all_rows, b.icmp_signed("==", over, constant(I64, 0)))
            with b.if_else(full) as (whole, part):
                with whole, b.if_else(fills) as (first, later):
                    args = [*operands, at, k, row, accumulate]
                    with first:
                        stands = b.gep(source[0], [j], source_etype=tile.element)
                        smallest(b, tile, filling, (rows, columns), [*args, stands, source[1]])
                    with later, b.if_else(b.and_(joined, is_last)) as (together, alone):
                        with together:
                            b.call(wide, args)
                            lower, below = (
                                b.gep(p, [b.mul(by, constant(I64, low))], source_etype=tile.element)
                                for p, by in ((left, a_next), (at, row))
                            )
                            b.call(wide, [lower, *args[1:4], below, *args[5:]])
                        with alone:
                            fitting(whole_rows, rows, columns, args)
                with part:
                    there = side_by_side(b, tile, at), row
                    here = side_by_side(b, tile, edge), width
                    counts = [
                        b.sub(columns, constant(I64, v * tile.lanes)) for v in range(tile.vectors)
                    ]
                    with b.if_then(going_on):
                        copy(b, tile, there, here, rows, counts)
                    args = [*operands, edge, k, width, accumulate]
                    fitting(tiles, rows, columns, args)
                    copy(b, tile, here, there, rows, counts)
    b.ret_void()
    return function


def prefetch(b: ir.IRBuilder, tile: Panels, starts: Sequence[ir.Value], row: ir.Value) -> None:
    """A tile that is gone on from, by the starts of its vectors in the first row: far apart in
    memory, its rows would each be waited for. One that is only written is not: asking for it costs
    what other loads then wait for (measured: 3 to 6 % of short sums)."""
    for r in range(tile.rows):
        for start in starts:
            line = b.gep(start, [b.mul(row, constant(I64, r))], source_etype=tile.element)
            for first in range(0, tile.lanes, ALIGNMENT // tile.bytes):
                p = b.gep(line, [constant(I64, first)], source_etype=tile.element)
                ask_for(b, p, 2, write=True)


def side_by_side(b: ir.IRBuilder, tile: Panels, at: ir.Value) -> list[ir.Value]:
    """The starts of a tile's vectors, one after the other from `at` on."""
    return [
        b.gep(at, [constant(I64, v * tile.lanes)], source_etype=tile.element)
        for v in range(tile.vectors)
    ]


def smallest(
    b: ir.IRBuilder,
    tile: Panels,
    tiles: dict[tuple[int, int], ir.Function],
    size: tuple[ir.Value, ir.Value],
    args: Sequence[ir.Value],
) -> None:
    """The smallest tile that holds `size` rows and columns."""
    choices = sorted(tiles, key=lambda t: t[0] * t[1])
    done = b.append_basic_block("done")
    for r, v in choices:
        fits = b.and_(
            b.icmp_signed("<=", size[0], constant(I64, r)),
            b.icmp_signed("<=", size[1], constant(I64, v * tile.lanes)),
        )
        with b.if_then(fits):
            b.call(tiles[r, v], list(args))
            b.branch(done)
    b.branch(done)
    b.position_at_end(done)


def copy(
    b: ir.IRBuilder,
    tile: Panels,
    source: tuple[Sequence[ir.Value], ir.Value],
    to: tuple[Sequence[ir.Value], ir.Value],
    rows: ir.Value,
    counts: Sequence[ir.Value],
) -> None:
    """A part of a tile, row by row, under masks: `counts` elements of each vector. Either side is
    given by the starts of its vectors and by its row."""
    wide = vector(tile.element, tile.lanes)
    align = constant(I32, tile.bytes)
    masks = [below(b, tile.lanes, x) for x in counts]
    with counted(b, rows, constant(I64, 1)) as r:
        for v, mask in enumerate(masks):
            here, there = (
                b.gep(starts[v], [b.mul(r, row)], source_etype=tile.element)
                for starts, row in (source, to)
            )
            x = intrinsic(
                b, "llvm.masked.load", [here, align, mask, constant(wide, 0)],
                result=wide, overload=[wide, POINTER],
            )  # fmt: skip
            intrinsic(
                b, "llvm.masked.store", [x, there, align, mask],
                result=VOID, overload=[wide, POINTER],
            )  # fmt: skip


def _tile(
    module: ir.Module, tile: Panels, rows: int, vectors: int, asks: bool = False
) -> ir.Function:
    """`(a, next, step, b, c, k, row, accumulate)`: one tile of `rows` × `vectors`, all of it
    written. Vectors beyond a panel's are those of the next one. If it `asks`, a last argument says
    how far ahead."""
    t = ir.FunctionType(VOID, [POINTER, I64, I64] + [POINTER] * 2 + [I64] * (3 + asks))
    name = f"{tile.routine}_{rows}x{vectors}{'_asking' if asks else ''}"
    f = ir.Function(module, t, name)
    f.linkage = "internal"
    f.attributes.add("nounwind")
    f.attributes.add("noinline")
    left, a_next, a_step, right, c, k, row, accumulate, *ahead = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    below = [b.mul(a_next, constant(I64, r)) for r in range(rows)]

    def factors(at: ir.Value, places: Sequence[ir.Value]) -> Factors:
        pa, *panels = places
        for far in ahead:  # one row a step: they have been asked for a line's steps later
            by = b.add(far, b.mul(b.urem(at, constant(I64, rows)), a_next))
            ask_for(b, b.gep(pa, [by], source_etype=tile.element), 2)
        lefts = [b.gep(pa, [x], source_etype=tile.element) for x in below]
        align = tile.lanes * tile.bytes
        ways = [divmod(v, tile.vectors) for v in range(vectors)]
        return lefts, [load_wide(b, tile, panels[p], v * tile.lanes, align) for p, v in ways]

    def place(r: int, v: int) -> ir.Value:
        at = b.add(b.mul(row, constant(I64, r)), constant(I64, v * tile.lanes))
        return b.gep(c, [at], source_etype=tile.element)

    steps: list[tuple[ir.Value, ir.Value]] = [(left, a_step)]
    columns = constant(I64, tile.columns)
    for p in range(-(-vectors // tile.vectors)):
        start = b.gep(right, [b.mul(k, constant(I64, p * tile.columns))], source_etype=tile.element)
        steps.append((start, columns))
    chains(b, tile, (rows, vectors), (k, accumulate), place, steps, factors, asks)
    return f


def _filling(module: ir.Module, tile: Panels, vectors: int) -> ir.Function:
    """A tile of all rows that reads the right operand where it stands and fills its panel, with two
    more arguments: where, and how many elements are between its terms."""
    size = tile.rows, vectors
    t = ir.FunctionType(VOID, [POINTER, I64, I64] + [POINTER] * 2 + [I64] * 3 + [POINTER, I64])
    f = ir.Function(module, t, f"{tile.routine}_{tile.rows}x{vectors}_filling")
    f.linkage = "internal"
    f.attributes.add("nounwind")
    f.attributes.add("noinline")
    left, a_next, a_step, panel, c, k, row, accumulate, source, below = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    rows = [b.mul(a_next, constant(I64, r)) for r in range(tile.rows)]

    def factors(_: ir.Value, places: Sequence[ir.Value]) -> Factors:
        pa, here, to = places
        found = [load_wide(b, tile, here, v * tile.lanes, tile.bytes) for v in range(vectors)]
        for v, x in enumerate(found):
            at = b.gep(to, [constant(I64, v * tile.lanes)], source_etype=tile.element)
            b.store(x, at, align=tile.lanes * tile.bytes)
        return [b.gep(pa, [x], source_etype=tile.element) for x in rows], found

    def place(r: int, v: int) -> ir.Value:
        at = b.add(b.mul(row, constant(I64, r)), constant(I64, v * tile.lanes))
        return b.gep(c, [at], source_etype=tile.element)

    steps = [(left, a_step), (source, below), (panel, constant(I64, tile.columns))]
    chains(b, tile, size, (k, accumulate), place, steps, factors)
    return f
