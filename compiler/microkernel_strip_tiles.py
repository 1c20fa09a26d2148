"""The product of left panels and a strip by matrix tiles (`microkernel_tiles`).

In: nothing. Out: a function of the module that all such contractions share. Its `a` are tiles; the
strip is that of `microkernel_strip`, of f32 whose lower halves are 0. For two vectors of columns at
a time, of one line or of two, what the places of the sum read becomes tiles in the first-level
cache, by which all tiles of `a` are then multiplied.
"""

from __future__ import annotations

from . import ir
from .fork_join import up
from .instructions import I1, I8, I32, I64
from .llvm_loop import POINTER, below, counted, minimum
from .llvm_vector import constant, vector
from .microkernel import copy
from .microkernel_strip import LINE, STRIP_CALL, TABLE
from .microkernel_tiles import BYTES, SIDE, SQUARE, configured, product_of_tiles, released
from .packed import STEP_OF_TILES as STEP
from .register_tile import ALIGNMENT
from .tile_extremes import Extremes, fit

_PAIRS = vector(I32, SIDE)


def multiply_strip_tiles(module: ir.Module) -> ir.Function:
    """`(task, extremes, …) -> i1`: false where `fit` says that tiles are not for what is read: of
    a strip, which has more than that, it is known only here."""
    t = ir.FunctionType(I1, [POINTER, POINTER, *STRIP_CALL.args])
    function = ir.Function(module, t, "tdsl_multiply_strip_tiles")
    function.linkage = "internal"
    function.attributes.add("nounwind")
    task, extremes, pa, strip, pc, m, n, lines, k, row, line, accumulate = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    gather = _gather(module)
    edge = b.alloca(ir.ArrayType(SQUARE.element, SQUARE.rows * SQUARE.columns))
    edge.align = ALIGNMENT
    side, square = constant(I64, SIDE), constant(I64, 2 * SIDE)
    panel = b.mul(up(b, k, constant(I64, STEP)), constant(I64, BYTES))
    right = b.alloca(I8, b.mul(panel, constant(I64, 2)))
    right.align = ALIGNMENT
    going_on = b.icmp_signed("!=", accumulate, constant(I64, 0))
    a_line = up(b, n, side)  # vectors
    step = b.load(b.gep(strip, [constant(I64, LINE)], source_etype=I64), typ=I64)
    total = b.mul(lines, a_line)
    configured(b)
    with counted(b, total, constant(I64, 2)) as first:
        outs, counts = [], []
        for v in range(2):
            number = b.add(first, constant(I64, v))
            inside = b.icmp_signed("<", number, total)
            number = b.select(inside, number, first)  # past the end, the first one once more
            at, within = b.sdiv(number, a_line), b.mul(b.srem(number, a_line), side)
            start = b.add(b.mul(at, step), b.mul(within, constant(I64, 4)))
            to = b.gep(right, [b.mul(panel, constant(I64, v))], source_etype=I8)
            count = minimum(b, b.sub(n, within), side)
            found = b.call(gather, [strip, start, k, count, to])
            fine = b.call(fit(module), [task, constant(I64, 1), found, extremes])
            with b.if_then(b.not_(fine), likely=False):
                released(b)
                b.ret(constant(I1, 0))
            out = b.add(b.mul(at, line), within)
            outs.append(b.gep(pc, [out], source_etype=SQUARE.element))
            counts.append(b.select(inside, count, constant(I64, 0)))
        narrow = b.icmp_signed("<", minimum(b, *counts), side)
        columns = b.select(b.icmp_signed(">", counts[1], constant(I64, 0)), square, side)
        with counted(b, m, square) as i:
            rows = minimum(b, b.sub(m, i), square)
            left = b.gep(pa, [b.mul(b.sdiv(i, side), panel)], source_etype=I8)
            starts = [b.gep(p, [b.mul(i, row)], source_etype=SQUARE.element) for p in outs]
            uneven = b.icmp_signed("!=", b.and_(rows, constant(I64, SIDE - 1)), constant(I64, 0))
            in_part = b.or_(narrow, uneven)
            here = [b.gep(edge, [constant(I64, v * SIDE)], source_etype=SQUARE.element)
                    for v in range(2)]  # fmt: skip
            with b.if_then(b.and_(in_part, going_on)):
                copy(b, SQUARE, (starts, row), (here, square), rows, counts)
            places = [b.select(in_part, *x) for x in zip(here, starts, strict=True)]
            width = b.select(in_part, square, row)
            product_of_tiles(b, (rows, columns), [left, right, *places], k, width, accumulate)
            with b.if_then(in_part):
                copy(b, SQUARE, (here, square), (starts, row), rows, counts)
    released(b)
    b.ret(constant(I1, 1))
    return function


def _gather(module: ir.Module) -> ir.Function:
    """`(strip, start, k, count, tiles)`: the sixteen columns from `start` on, in bytes, at all
    places; gives back the extremes of the first `count`."""
    t = ir.FunctionType(I64, [POINTER, I64, I64, I64, POINTER])
    f = ir.Function(module, t, "tdsl_gather")
    f.linkage = "internal"
    f.attributes.add("nounwind")
    strip, start, k, count, out = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    extremes, columns = Extremes(b), below(b, SIDE, count)
    from_here = b.gep(strip, [start], source_etype=I8)
    table = b.gep(strip, [constant(I64, TABLE)], source_etype=I64)
    one = constant(I64, 1)

    def values(place: ir.Value) -> ir.Value:
        moved = b.load(b.gep(table, [place], source_etype=I64), typ=I64)
        return b.load(b.gep(from_here, [moved], source_etype=I8), typ=_PAIRS, align=4)

    def put(pair: ir.Value, first: ir.Value, second: ir.Value) -> None:
        x = b.and_(second, constant(_PAIRS, -0x10000))
        x = b.or_(b.lshr(first, constant(_PAIRS, 16)), x)
        extremes.look_at([b.select(columns, x, constant(_PAIRS, 0))])
        at = b.gep(out, [b.mul(pair, constant(I64, 4 * SIDE))], source_etype=I8)
        b.store(x, at, align=4 * SIDE)

    pairs = b.lshr(k, one)
    with counted(b, pairs, one) as pair:
        place = b.shl(pair, one)
        put(pair, values(place), values(b.add(place, one)))
    # zeros up to the end of the last tile
    with b.if_then(b.icmp_signed("!=", b.and_(k, one), constant(I64, 0))):
        put(pairs, values(b.sub(k, one)), constant(_PAIRS, 0))
    done = b.lshr(b.add(k, one), one)
    all_pairs = b.mul(up(b, k, constant(I64, STEP)), constant(I64, SIDE))
    with counted(b, all_pairs, one, done) as pair:
        put(pair, constant(_PAIRS, 0), constant(_PAIRS, 0))
    b.ret(extremes.packed())
    return f
