"""The register-tiled product of a left operand at listed places and panels: what windows of it
overlap in is read where it stands, by as many of its rows as there are.

In: what the machine offers. Out: a function that all contractions with places share, for one
element type, with the signature of `microkernel_strip`:

    void tdsl_multiply_places_f32(ptr places, ptr b, ptr c, i64 m, i64 n, i64 lines, i64 k,
                                  i64 row, i64 line, i64 accumulate)

`c[i*row + j]` (+)= Σ_k a(i, k)·b(k, j) for i < m, j < n; there is one line. `b` holds panels
(`microkernel`). `places` are words: for every k, by how many bytes it moves a row; then for every
row the address where it starts, whole tiles of them. Left to others: who lists them
(`emit_places`).
"""

from __future__ import annotations

from collections.abc import Sequence

from . import ir
from .instructions import I8, I64
from .llvm_loop import POINTER, VOID, minimum
from .llvm_vector import constant
from .microkernel_strip import STRIP_CALL, Vector, by_vectors
from .packed_task import external
from .register_tile import Factors, Panels, chains, load_wide, tile_sizes


def shared_places(module: ir.Module, tile: Panels) -> ir.Function:
    """The function as an external symbol."""
    return external(module, STRIP_CALL, f"tdsl_multiply_places_{tile.name}")


def multiply_places(module: ir.Module, tile: Panels) -> ir.Function:
    function = shared_places(module, tile)
    function.attributes.add("nounwind")
    places, pb, pc, m, n, _, k, row, _, accumulate = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    lanes, one = constant(I64, tile.lanes), constant(I64, 1)
    first = b.gep(places, [k], source_etype=I64)

    def left(i: ir.Value) -> list[ir.Value]:
        return [b.gep(first, [i], source_etype=I64), places]

    def vector(number: ir.Value) -> Vector:
        within = b.mul(number, lanes)
        side = constant(I64, tile.vectors)
        panel = b.mul(b.sdiv(number, side), b.mul(k, constant(I64, tile.columns)))
        at = b.add(panel, b.mul(b.srem(number, side), lanes))
        return (
            b.gep(pb, [at], source_etype=tile.element),
            b.gep(pc, [within], source_etype=tile.element),
            minimum(b, b.sub(n, within), lanes),
        )

    tiles = {size: _tile(module, tile, *size) for size in tile_sizes(tile)}
    total = b.sdiv(b.add(n, b.sub(lanes, one)), lanes)
    by_vectors(b, tile, tiles, left, (total, vector), (m, k), (row, accumulate))
    b.ret_void()
    return function


def _tile(module: ir.Module, tile: Panels, rows: int, vectors: int) -> ir.Function:
    """`(starts, places, b…, c…, k, row, accumulate)`: one tile, where its rows start, where of each
    vector b(0, …) stands in a panel, and where its result stands."""
    most = tile.vectors
    t = ir.FunctionType(VOID, [POINTER] * (2 + 2 * most) + [I64] * 3)
    f = ir.Function(module, t, f"tdsl_multiply_places_{tile.name}_{rows}x{vectors}")
    f.linkage = "internal"
    f.attributes.add("nounwind")
    f.attributes.add("noinline")
    first, table, *operands, k, row, accumulate = f.args
    rights, outs = operands[:most], operands[most:]
    b = ir.IRBuilder(f.append_basic_block("entry"))
    starts = [
        b.load(b.gep(first, [constant(I64, r)], source_etype=I64), typ=POINTER) for r in range(rows)
    ]

    def factors(at: ir.Value, panels: Sequence[ir.Value]) -> Factors:
        moved = b.load(b.gep(table, [at], source_etype=I64), typ=I64)
        lefts = [b.gep(p, [moved], source_etype=I8) for p in starts]
        return lefts, [load_wide(b, tile, p, 0, tile.lanes * tile.bytes) for p in panels]

    def place(r: int, v: int) -> ir.Value:
        return b.gep(outs[v], [b.mul(row, constant(I64, r))], source_etype=tile.element)

    steps = [(p, constant(I64, tile.columns)) for p in rights[:vectors]]
    chains(b, tile, (rows, vectors), (k, accumulate), place, steps, factors)
    return f
