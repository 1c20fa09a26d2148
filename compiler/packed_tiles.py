"""Operands of packed contractions as matrix tiles of bf16 (`microkernel_tiles`).

In: a task whose operands' values are all bf16's. Out: routines that pack one of them over stated
ranges. A plain array is read as it stands; whatever else is computed comes as panels of f32, packed
as for vectors, whose values have but 16 bits that are not 0. Left to others: what is packed when
(`packed_blocks`), whether tiles may multiply it (`tile_extremes`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from . import ir
from .entry_builder import Callee, not_hot
from .fork_join import up
from .frame import lanes_from
from .instructions import I1, I8, I16, I32, I64
from .llvm_loop import POINTER, below, counted
from .llvm_vector import constant, intrinsic, vector
from .microkernel_tiles import BYTES as TILE_BYTES
from .microkernel_tiles import SIDE
from .packed import STEP_OF_TILES as STEP
from .packed_task import (
    ALONG_ITSELF,
    ALONG_SUM,
    AT_COLUMNS,
    AT_LAST,
    AT_OUTER,
    AT_ROWS,
    BYTES,
    EXTENT,
    INNER,
    LEFT,
    LEFT_START,
    LEFT_STEP,
    PACK,
    PLAIN,
    RIGHT,
    RIGHT_START,
    RIGHT_STEP,
    STRIP,
    field,
    sum_of_batches,
    word,
)
from .packed_task import STEP as STEP_CALL
from .register_tile import Panels
from .register_transpose import transposed
from .tile_extremes import Extremes, fit

_PAIRS = vector(I32, SIDE)  # two terms of each index, or two terms each of one


def tile_packing(module: ir.Module, tile: Panels) -> ir.Function:
    """`(task, ranges, memory, which, extremes) -> i1`: an operand packed; false where its values
    are not for tiles. `extremes` has the least magnitudes, less 1, of all that is packed so far of
    both operands and is multiplied together."""
    t = ir.FunctionType(I1, [POINTER, POINTER, POINTER, I64, POINTER])
    f = ir.Function(module, t, "tdsl_tile_packing")
    f.linkage = "internal"
    not_hot(f)
    task, ranges, memory, which, extremes = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    found = b.alloca(I64)
    sides = (
        ("left", LEFT, AT_ROWS, LEFT_START, LEFT_STEP, tile.rows),
        ("right", RIGHT, AT_COLUMNS, RIGHT_START, RIGHT_STEP, tile.columns),
    )
    low, high = ({k: word(b, ranges, 2 * k + end) for k in range(AT_LAST + 1)} for end in (0, 1))
    depth = word(b, task, INNER)
    for k in (AT_OUTER, AT_LAST):
        depth = b.mul(depth, b.sub(high[k], low[k]))
    whole = b.icmp_signed("==", word(b, task, field(AT_OUTER, EXTENT)), constant(I64, 1))
    for number, (name, side, own, start, step, width) in enumerate(sides):
        with b.if_then(b.icmp_signed("==", which, constant(I64, number))):
            count = b.sub(high[own], low[own])
            form = b.select(whole, word(b, task, side + PLAIN), constant(I64, 0))
            steps = [word(b, task, field(k, step)) for k in (own, AT_LAST)]
            by = [b.mul(low[k], x) for k, x in zip((own, AT_LAST), steps, strict=True)]
            at = b.add(sum_of_batches(b, task, ranges, step), b.add(*by))
            place = b.gep(word(b, task, start, POINTER), [at], source_etype=I16)
            done = b.append_basic_block("done")
            pack_call = Callee(word(b, task, side + PACK, POINTER), STEP_CALL)
            if side == RIGHT:
                strip = b.icmp_signed("!=", word(b, task, STRIP), constant(I64, 0))
                with b.if_then(strip):  # becomes tiles when it is multiplied
                    b.call(pack_call, [task, ranges, memory])
                    b.ret(constant(I1, 1))
            for way, read, across in (
                (ALONG_ITSELF, _along_itself, steps[1]),
                (ALONG_SUM, _along_sum, steps[0]),
            ):
                with b.if_then(b.icmp_signed("==", form, constant(I64, way))):
                    pack = _packer(module, name, read)
                    b.store(b.call(pack, [place, across, count, depth, memory]), found)
                    b.branch(done)
            # behind the tiles there is as much room for panels
            room = b.sdiv(word(b, task, BYTES), constant(I64, 2))
            panels = b.gep(memory, [room], source_etype=I8)
            b.call(pack_call, [task, ranges, panels])
            pack = _packer(module, name, _from_panels(width))
            b.store(b.call(pack, [panels, depth, count, depth, memory]), found)
            b.branch(done)
            b.position_at_end(done)
    b.ret(b.call(fit(module), [task, which, b.load(found, typ=I64), extremes]))
    return f


Read = Callable[["_Source"], list[ir.Value]]
"""The sixteen vectors of one tile: of an index each, or of two terms each."""


class _Source:
    """Where a tile of an operand is read: from its index `first`, and the term `term`."""

    def __init__(
        self, b: ir.IRBuilder, args: Sequence[ir.Value], first: ir.Value, term: ir.Value
    ) -> None:
        self.b = b
        self.start, self.step, self.count, self.depth = args
        self.first, self.term = first, term

    def masked(self, p: ir.Value, mask: ir.Value, element: ir.Type) -> ir.Value:
        t = vector(element, mask.type.count)
        args = [p, constant(I32, 2), mask, constant(t, 0)]
        return intrinsic(self.b, "llvm.masked.load", args, result=t, overload=[t, POINTER])

    def where(self, condition: ir.Value, mask: ir.Value) -> ir.Value:
        return self.b.select(condition, mask, constant(mask.type, 0))


def _along_sum(s: _Source) -> list[ir.Value]:
    """Of an array that is dense along the sum."""
    b, made = s.b, []
    mask = below(b, STEP, b.sub(s.depth, s.term))
    for r in range(SIDE):
        index = b.add(s.first, constant(I64, r))
        at = b.add(b.mul(index, s.step), s.term)
        p = b.gep(s.start, [at], source_etype=I16)
        inside = s.where(b.icmp_signed("<", index, s.count), mask)
        made.append(b.bitcast(s.masked(p, inside, I16), _PAIRS))
    return made


def _along_itself(s: _Source) -> list[ir.Value]:
    """Of an array that is dense along its own index."""
    b, made = s.b, []
    mask = below(b, SIDE, b.sub(s.count, s.first))
    for pair in range(SIDE):
        both = []
        for k in range(2):
            term = b.add(s.term, constant(I64, 2 * pair + k))
            at = b.add(b.mul(term, s.step), s.first)
            p = b.gep(s.start, [at], source_etype=I16)
            inside = s.where(b.icmp_signed("<", term, s.depth), mask)
            both.append(b.zext(s.masked(p, inside, I16), _PAIRS))
        made.append(b.or_(both[0], b.shl(both[1], constant(_PAIRS, 16))))
    return made


def _from_panels(width: int) -> Read:
    """Of f32 in panels of `width`."""
    here = min(width, SIDE)  # indices of a tile that stand in one panel: all, or half of them

    def read(s: _Source) -> list[ir.Value]:
        b, made = s.b, []
        starts = []
        for part in range(SIDE // here):
            first = b.add(s.first, constant(I64, part * here))
            within = b.urem(first, constant(I64, width))
            at = b.add(b.mul(b.sub(first, within), s.depth), within)
            at = b.add(at, b.mul(s.term, constant(I64, width)))
            there = below(b, here, b.sub(s.count, first))
            starts.append((b.gep(s.start, [at], source_etype=I32), there))
        for pair in range(SIDE):
            both = []
            for k in range(2):
                term = b.add(s.term, constant(I64, 2 * pair + k))
                inside = b.icmp_signed("<", term, s.depth)
                parts = []
                for p, there in starts:
                    at = b.gep(p, [constant(I64, (2 * pair + k) * width)], source_etype=I32)
                    parts.append(s.masked(at, s.where(inside, there), I32))
                order = lanes_from(range(SIDE))
                both.append(
                    parts[0] if here == SIDE else b.shuffle_vector(parts[0], parts[1], order)
                )
            upper = b.and_(both[1], constant(_PAIRS, -0x10000))
            made.append(b.or_(b.lshr(both[0], constant(_PAIRS, 16)), upper))
        return made

    return read


def _packer(module: ir.Module, side: str, read: Read) -> ir.Function:
    """`(source, step, count, depth, tiles) -> i64`: `count` indices and `depth` terms as tiles,
    zeros where they pass the end. Gives back the least magnitude less 1 (so that zeros are the
    largest ones) and, from bit 16 on, the greatest."""
    name = f"tdsl_tiles_{side}_{read.__qualname__.split('.')[0]}"
    found: ir.Function | None = module.globals.get(name)
    if found is not None:
        return found
    f = ir.Function(module, ir.FunctionType(I64, [POINTER, *[I64] * 3, POINTER]), name)
    f.linkage = "internal"
    f.attributes.add("nounwind")
    *args, out = f.args
    _, _, count, depth = args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    extremes = Extremes(b)
    chunks = up(b, depth, constant(I64, STEP))
    ranges = [(count, SIDE), (depth, STEP)]
    across = read is _along_itself  # whole rows of the array, some at a time
    if across:
        ranges.reverse()
    (outer, by), (inner, step) = ranges
    with counted(b, outer, constant(I64, by)) as x, counted(b, inner, constant(I64, step)) as y:
        first, term = (y, x) if across else (x, y)
        rows = read(_Source(b, args, first, term))
        if (read is _along_sum) != (side == "left"):  # of an index each: what the left one wants
            rows = transposed(b, rows)
        number = b.mul(b.sdiv(first, constant(I64, SIDE)), chunks)
        number = b.add(number, b.sdiv(term, constant(I64, STEP)))
        to = b.gep(out, [b.mul(number, constant(I64, TILE_BYTES))], source_etype=I8)
        for k, row in enumerate(rows):
            place = b.gep(to, [constant(I64, 4 * SIDE * k)], source_etype=I8)
            b.store(row, place, align=4 * SIDE)
        extremes.look_at(rows)
    b.ret(extremes.packed())
    return f
