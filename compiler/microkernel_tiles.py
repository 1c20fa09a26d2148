"""The product of panels by matrix tiles: x86's AMX, which multiplies bf16 and adds up in f32.

In: nothing. Out: functions of the module that all such contractions share, one of which says
whether this process may use tiles, and

    void tdsl_multiply_tiles(ptr a, i64, i64, i64, ptr b, ptr c, i64 m, i64 n, i64 k, i64 row,
                             i64 accumulate, ptr, i64)

`c[i*row + j]` (+)= Σ_k a(i, k)·b(k, j) for i < m, j < n, with the signature of `microkernel` (the
steps of `a`, and where `b` stood, are not needed). Both operands stand in tiles of 1 KB: 16 of
their own index times `STEP` terms, those of one tile after the other, then the next 16. A tile of
`a` has a row for each index; one of `b` has a row for two terms, of which each index has both, side
by side. Terms are filled up with zeros. A product is exact in f32; the even terms of a step are
added one after the other, and so are the odd ones, each sum rounded to nearest; then both, and the
result (Intel's manual, TDPBF16PS). Subnormal numbers count as 0 there: `packed_tiles` sees to it
that there are none.
"""

from __future__ import annotations

from . import ir
from .fork_join import up
from .instructions import I1, I8, I64
from .llvm_loop import POINTER, VOID, counted, minimum
from .llvm_vector import constant, intrinsic
from .microkernel import SIGNATURE, copy
from .packed import STEP_OF_TILES as STEP
from .register_tile import ALIGNMENT, Panels

SIDE = 16
"""Of a tile: its rows, and f32 in a row."""

BYTES = 1024
"""Of a tile."""

SQUARE = Panels(ir.FloatType(), SIDE, 2 * SIDE, 2)
"""What is computed at a time: two tiles by two. Each tile that is loaded is used twice, so that the
products set the pace, not the loads (16 cycles a product of tiles, 8 a load from the first level:
1,790 GFLOP/s a core measured). More than that, the numbers do: from the second level, zeros are
multiplied at 2,300 GFLOP/s, normal random numbers at 1,200 to 1,390."""

_LEFT, _RIGHT = 4, 6  # tiles 0 to 3 hold sums, then two of each operand


WORTH_SHARING = 1 << 24
"""Multiplications from which several threads pay."""


def multiply_tiles(module: ir.Module) -> ir.Function:
    function = ir.Function(module, SIGNATURE, "tdsl_multiply_tiles")
    function.linkage = "internal"
    function.attributes.add("nounwind")
    left, _, _, _, _, right, out, m, n, k, row, accumulate, _, _ = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    edge = b.alloca(ir.ArrayType(SQUARE.element, SQUARE.rows * SQUARE.columns))
    edge.align = ALIGNMENT
    side, square = constant(I64, SIDE), constant(I64, 2 * SIDE)
    panel = b.mul(up(b, k, constant(I64, STEP)), constant(I64, BYTES))  # bytes of 16 indices
    going_on = b.icmp_signed("!=", accumulate, constant(I64, 0))
    here = [edge, _beside(b, edge)]
    configured(b)
    with counted(b, m, square) as i, counted(b, n, square) as j:
        rows, columns = minimum(b, b.sub(m, i), square), minimum(b, b.sub(n, j), square)
        operands = [
            b.gep(p, [b.mul(b.sdiv(at, side), panel)], source_etype=I8)
            for p, at in ((left, i), (right, j))
        ]
        at = b.gep(out, [b.add(b.mul(i, row), j)], source_etype=SQUARE.element)
        there = [at, _beside(b, at)]
        uneven = b.and_(b.or_(rows, columns), constant(I64, SIDE - 1))
        in_part = b.icmp_signed("!=", uneven, constant(I64, 0))
        counts = [columns, b.sub(columns, side)]
        with b.if_then(b.and_(in_part, going_on)):
            copy(b, SQUARE, (there, row), (here, square), rows, counts)
        places = [b.select(in_part, *x) for x in zip(here, there, strict=True)]
        width = b.select(in_part, square, row)
        product_of_tiles(b, (rows, columns), [*operands, *places], k, width, accumulate)
        with b.if_then(in_part):
            copy(b, SQUARE, (here, square), (there, row), rows, counts)
    released(b)
    b.ret_void()
    return function


def _beside(b: ir.IRBuilder, at: ir.Value) -> ir.Value:
    return b.gep(at, [constant(I64, SIDE)], source_etype=SQUARE.element)


def configured(b: ir.IRBuilder) -> None:
    """From here on, until they are `released`, there are eight tiles."""
    _call(b, "ldtilecfg", _configuration(b.module))


def released(b: ir.IRBuilder) -> None:
    _call(b, "tilerelease")


def product_of_tiles(
    b: ir.IRBuilder,
    size: tuple[ir.Value, ir.Value],
    operands: list[ir.Value],
    k: ir.Value,
    row: ir.Value,
    accumulate: ir.Value,
) -> None:
    """As many tiles as `size`, rows and columns, wants: at most two by two. `operands` are both
    panels, and where the sums of both columns' tiles stand, in rows of `row`."""
    steps = up(b, k, constant(I64, STEP))
    ways = [b.icmp_signed(">", x, constant(I64, SIDE)) for x in size]
    for r in (1, 2):
        for v in (1, 2):
            f = _tiles(b.module, r, v)
            fits = [w if x == 2 else b.not_(w) for w, x in zip(ways, (r, v), strict=True)]
            with b.if_then(b.and_(*fits)):
                b.call(f, [*operands, steps, b.mul(row, constant(I64, 4)), accumulate])


def _tiles(module: ir.Module, rows: int, columns: int) -> ir.Function:
    """`(a, b, c, c, steps, row, accumulate)`: so many tiles of sums, those of each of two columns
    at a place of their own; a row of them has `row` bytes."""
    name = f"tdsl_multiply_tiles_{rows}x{columns}"
    found: ir.Function | None = module.globals.get(name)
    if found is not None:
        return found
    t = ir.FunctionType(VOID, [POINTER] * 4 + [I64] * 3)
    f = ir.Function(module, t, name)
    f.linkage = "internal"
    f.attributes.add("nounwind")
    f.attributes.add("noinline")
    left, right, *outs, steps, row, accumulate = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    panel, dense = b.mul(steps, constant(I64, BYTES)), constant(I64, 4 * SIDE)

    def moved(p: ir.Value, by: ir.Value) -> ir.Value:
        return b.gep(p, [by], source_etype=I8)

    def place(r: int, v: int) -> ir.Value:
        return moved(outs[v], b.mul(row, constant(I64, SIDE * r)))

    sums = {(r, v): 2 * r + v for r in range(rows) for v in range(columns)}
    with b.if_else(b.icmp_signed("!=", accumulate, constant(I64, 0))) as (load, zero):
        with load:
            for (r, v), tile in sums.items():
                _call(b, "tileloadd64", _tile(tile), place(r, v), row)
        with zero:
            for tile in sums.values():
                _call(b, "tilezero", _tile(tile))
    with counted(b, panel, constant(I64, BYTES)) as at:
        for v in range(columns):
            p = moved(right, b.add(at, panel) if v else at)
            _call(b, "tileloadd64", _tile(_RIGHT + v), p, dense)
        for r in range(rows):
            p = moved(left, b.add(at, panel) if r else at)
            _call(b, "tileloadd64", _tile(_LEFT + r), p, dense)
            for v in range(columns):
                operands = _tile(_LEFT + r), _tile(_RIGHT + v)
                _call(b, "tdpbf16ps", _tile(sums[r, v]), *operands)
    for (r, v), tile in sums.items():
        _call(b, "tilestored64", _tile(tile), place(r, v), row)
    b.ret_void()
    return f


def _tile(number: int) -> ir.Value:
    return constant(I8, number)


def _call(b: ir.IRBuilder, name: str, *args: ir.Value) -> None:
    """An instruction on tiles, which LLVM takes as it is: it assigns none of them."""
    intrinsic(b, f"llvm.x86.{name}", args, result=VOID, overload=[])


def _configuration(module: ir.Module) -> ir.GlobalVariable:
    """What `ldtilecfg` reads: palette 1, and all eight tiles as large as they can be."""
    words = [0] * 64
    words[0] = 1
    for tile in range(8):
        words[16 + 2 * tile] = 4 * SIDE  # bytes of a row: 16 bits each
        words[48 + tile] = SIDE
    t = ir.ArrayType(I8, len(words))
    made: ir.GlobalVariable | None = module.globals.get("tdsl_tile_configuration")
    if made is not None:
        return made
    made = ir.GlobalVariable(module, t, "tdsl_tile_configuration")
    made.initializer = ir.Constant(t, words)
    made.linkage, made.global_constant, made.align = "internal", True, ALIGNMENT
    return made


_UNKNOWN, _ALLOWED, _REFUSED = range(3)
_ARCH_PRCTL, _ASK, _TILE_DATA = 158, 0x1023, 18


def tiles_allowed(module: ir.Module) -> ir.Function:
    """`() -> i1`: whether this process may use tiles. Linux is asked once, since every thread's
    saved state grows by 8 KB; it refuses where a thread's own stack for signals is too small."""
    state = ir.GlobalVariable(module, I64, "tdsl_tiles_state")
    state.initializer, state.linkage = ir.Constant(I64, _UNKNOWN), "internal"
    f = ir.Function(module, ir.FunctionType(I1, []), "tdsl_tiles_allowed")
    f.linkage = "internal"
    f.attributes.add("nounwind")
    b = ir.IRBuilder(f.append_basic_block("entry"))
    known = b.load_atomic(state, "monotonic", 8, typ=I64)
    with b.if_then(b.icmp_signed("==", known, constant(I64, _UNKNOWN)), likely=False):
        t = ir.FunctionType(I64, [I64] * 3)
        call = module.globals.get("syscall") or ir.Function(module, t, "syscall")
        args = [constant(I64, x) for x in (_ARCH_PRCTL, _ASK, _TILE_DATA)]
        granted = b.icmp_signed("==", b.call(call, args), constant(I64, 0))
        found = b.select(granted, constant(I64, _ALLOWED), constant(I64, _REFUSED))
        b.store_atomic(found, state, "monotonic", 8)
        b.ret(granted)
    b.ret(b.icmp_signed("==", known, constant(I64, _ALLOWED)))
    return f
