"""The blocks of packed contractions: one routine per element type, which all kernels share.

In: what the machine offers. Out: a module, compiled once per machine, with (for f32 and f64)

    i64  tdsl_contract(ptr task)
    void tdsl_pack_left(ptr task, ptr ranges, ptr panels), …_left_transposed, …_right, …

and the microkernel they stand on. A task is words on the caller's stack that say what a contraction
is: the functions that are its own, where its operands and its result stand, and a record for every
loop: its extent, and by how many elements the result and both operands move with it. `ranges` holds
the first and one past the last value of every loop. The routine decides whether panels pay, shares
the result out among threads, goes through it block by block, has both operands packed, and calls
what follows the sums after the last block of them.

The packing routines serve operands that are plain reads; a kernel brings its own for others. Left
to others: how a task is written (`emit_packed`), what packing is (`emit_panels`).
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import llvmlite.ir as ir

from .dims import dim, named
from .dtypes import F32, F64
from .emit_panels import Pack
from .entry_builder import Callee, not_hot
from .fork_join import PARTS_A_THREAD, parallel, threads, up
from .frame import Target
from .instructions import I1, I64
from .llvm_vector import constant, intrinsic
from .loops import Accumulator, Buffer, Kind, Linear, Load, Loop, Nest, Reduce, Result
from .microkernel import POINTER, VOID, Panels, counted, finite, minimum, multiply, panels
from .packed import (
    COLUMNS,
    DEPTH,
    ROWS,
    SPREAD,
    WORTH_A_BATCH,
    WORTH_PACKING,
    WORTH_SHARING,
    Contraction,
    Operand,
)

CONTRACT = ir.FunctionType(I64, [POINTER])
STEP = ir.FunctionType(VOID, [POINTER] * 3)  # (task, ranges, panels)
_DIRECT = ir.FunctionType(I64, [POINTER] * 4)

# --------------------------------------------------------------------------- tasks

ENTRY = (0, 1, 2, 3)  # the entry's pointers
(
    DIRECT,  # the function for small sizes
    REST,  # what follows the sums, or NULL
    PANELS,  # memory for panels
    LEFT_BYTES,  # of it, for those of the left operand
    BYTES,  # and for both
    OUT,  # where the result starts
    WORK,  # multiplications in all
    INNER,  # extents of all reduced loops that have no record
    BATCHES,  # how many batch loops
    LEFT,
) = range(4, 14)
# … from LEFT on, and from RIGHT on, about an operand
PACK, START, FINITE, ALONE, SIDE = range(5)  # ALONE: no batch loop moves it
RIGHT = LEFT + SIDE
RECORDS = RIGHT + SIDE
# … then a record for each loop
EXTENT, OUT_STEP, LEFT_STEP, RIGHT_STEP, RECORD = range(5)
AT_COLUMNS, AT_ROWS, AT_OUTER, AT_LAST, AT_BATCH = range(
    5
)  # its place; the reduced loops outside in
_LOOP_NAMES = ("columns", "rows", "outer", "last")
_FIELD_NAMES = ("extent", "out", "left", "right")


def size(batches: int) -> int:
    """Words of a task."""
    return RECORDS + RECORD * (AT_BATCH + batches)


def field(place: int, which: int) -> int:
    """The word of a loop's record."""
    return RECORDS + RECORD * place + which


def loops_of(c: Contraction) -> dict[int, Loop]:
    """The loops that have records, by their places."""
    *outer, last = c.left.reduced[:2]
    found = {AT_COLUMNS: c.columns, AT_ROWS: c.rows, AT_LAST: last}
    found |= dict.fromkeys([AT_OUTER] if outer else [], *outer)
    return found | {AT_BATCH + k: loop for k, loop in enumerate(c.batch)}


def word(b: ir.IRBuilder, base: ir.Value, k: int, t: ir.Type = I64) -> ir.Value:
    return b.load(b.gep(base, [constant(I64, k)], source_etype=I64), typ=t)


def stack(b: ir.IRBuilder, words: int) -> ir.Value:
    """Memory of the function's own."""
    with b.goto_entry_block():
        memory = b.alloca(ir.ArrayType(I64, words))
    memory.type = POINTER
    return memory


# --------------------------------------------------------------------------- names


def _suffix(tile: Panels) -> str:
    return f"f{8 * tile.bytes}"


def contract(module: ir.Module, tile: Panels) -> ir.Function:
    """The routine as an external symbol of a module that calls it."""
    return _external(module, CONTRACT, f"tdsl_contract_{_suffix(tile)}")


def shared_pack(module: ir.Module, tile: Panels, side: str, transposed: bool) -> ir.Function:
    """The routine that packs a plain operand, as an external symbol."""
    return _external(module, STEP, _pack_name(tile, side, transposed))


def _pack_name(tile: Panels, side: str, transposed: bool) -> str:
    return f"tdsl_pack_{side}{'_transposed' if transposed else ''}_{_suffix(tile)}"


def _external(module: ir.Module, t: ir.FunctionType, name: str) -> ir.Function:
    found = module.globals.get(name)
    return ir.Function(module, t, name) if found is None else found


def contraction_module(target: Target, element: ir.Type) -> ir.Module:
    """All routines of one element type."""
    tile = panels(element, target.registers)
    module = ir.Module(f"tdsl_contractions_{_suffix(tile)}")
    multiply(module, tile)
    for side, width in (("left", tile.rows), ("right", tile.columns)):
        for transposed in (False, True):
            _pack(target, module, tile, side, width, transposed)
    _contract(module, tile, _part(module, tile))
    return module


# --------------------------------------------------------------------------- plain operands


def _pack(
    target: Target, module: ir.Module, tile: Panels, side: str, width: int, transposed: bool
) -> None:
    """The packing of a read whose strides are the task's."""
    dims = [f"{loop}_{what}" for loop in _LOOP_NAMES for what in _FIELD_NAMES]
    name = _pack_name(tile, side, transposed)
    operand = _plain_operand(tile, side, transposed, f"{name}_ranges")
    own = Pack(target, module, operand, dims, 1, width, tile.lanes).run()
    f = ir.Function(module, STEP, name)
    not_hot(f)
    task, ranges, memory = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    about, step = (LEFT, LEFT_STEP) if side == "left" else (RIGHT, RIGHT_STEP)
    moved = _sum_of_batches(b, task, ranges, step)
    start = b.gep(word(b, task, about + START, POINTER), [moved], source_etype=tile.element)
    args = stack(b, 1)
    b.store(start, args)
    none = ir.Constant(POINTER, None)
    sizes = b.gep(task, [constant(I64, RECORDS)], source_etype=I64)
    bounds = [word(b, ranges, 2 * place + end) for place in operand.nest.ranged for end in (0, 1)]
    b.call(own, [args, sizes, none, none, *bounds, memory])
    b.ret_void()


def _plain_operand(tile: Panels, side: str, transposed: bool, name: str) -> Operand:
    dtype = F32 if tile.bytes == F32.size else F64
    along = AT_ROWS if side == "left" else AT_COLUMNS
    contiguous = AT_LAST if transposed else along
    loops = {
        k: Loop(k, named(f"{_LOOP_NAMES[k]}_extent"), Kind.SERIAL)
        for k in (along, AT_OUTER, AT_LAST)
    }
    steps = tuple(
        (k, dim(1) if k == contiguous else named(f"{_LOOP_NAMES[k]}_{side}")) for k in loops
    )
    buffer = Buffer("operand", dtype, (), "param", 0, dim(0))
    value = Load(buffer, Linear(steps, dim(0)), (), None, (), True, dtype)
    total = Accumulator(Result("panels", dtype), "sum", value, None, None)
    reduced = Reduce((loops[AT_OUTER], loops[AT_LAST]), (total,))
    nest = Nest(
        name,
        "",
        (),
        (loops[along],),
        (reduced,),
        dict(enumerate(_LOOP_NAMES)),
        (along, AT_OUTER, AT_LAST),
        Buffer("panels", dtype, (), "block", 0, dim(0)),
    )
    return Operand(nest, along, value, None, transposed, False)


# --------------------------------------------------------------------------- a task in parts

FINE, NOT_FINITE = 0, 1  # what becomes of a task
_FAILED, _TASK, _SHARES = 0, 1, 2  # words that all parts are given
_SHARED = (AT_BATCH, AT_COLUMNS, AT_ROWS)  # ranges that may be shared out; of a batch, the first


def _contract(module: ir.Module, tile: Panels, part: ir.Function) -> None:
    f = contract(module, tile)
    not_hot(f)
    (task,) = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    work, inner = word(b, task, WORK), word(b, task, INNER)
    batch, n, m = extents = [word(b, task, field(k, EXTENT)) for k in _SHARED]
    depth = inner
    for k in (AT_OUTER, AT_LAST):
        depth = b.mul(depth, word(b, task, field(k, EXTENT)))
    each = b.mul(b.mul(m, n), depth)
    large = b.and_(
        b.icmp_signed(">=", each, constant(I64, WORTH_A_BATCH)),
        b.icmp_signed(">=", work, constant(I64, WORTH_PACKING)),
    )
    for x, least in ((m, tile.rows), (n, tile.lanes // 2), (depth, 8)):
        large = b.and_(large, b.icmp_signed(">=", x, constant(I64, least)))
    large = b.and_(large, b.icmp_signed("<=", inner, constant(I64, SPREAD)))
    directly = f.append_basic_block("directly")
    here = ir.IRBuilder(directly)
    entry = [word(here, task, k, POINTER) for k in ENTRY]
    here.ret(here.call(Callee(word(here, task, DIRECT, POINTER), _DIRECT), entry))
    onward = f.append_basic_block("packed")
    b.cbranch(large, onward, directly)
    b.position_at_end(onward)

    # the range that is shared out: of the first batch index, else the longer side
    count = b.load(threads(module), typ=I64)
    batches = b.icmp_signed(">=", batch, count)
    longer = b.icmp_signed(">=", n, m)
    along = [
        batches,
        b.and_(b.not_(batches), longer),
        b.and_(b.not_(batches), b.not_(longer)),
    ]
    several = b.icmp_signed(">=", work, constant(I64, WORTH_SHARING))
    count = b.select(several, count, constant(I64, 1))
    # every part packs what it needs of the other operand: few parts, except of a batch
    many = [b.mul(count, constant(I64, PARTS_A_THREAD)), count, count]
    steps = [1, tile.columns, tile.rows]
    parts = constant(I64, 1)
    words = stack(b, _SHARES + len(_SHARED))
    for k, (x, step, number, shared) in enumerate(zip(extents, steps, many, along, strict=True)):
        by = constant(I64, step)
        share = b.mul(up(b, up(b, x, number), by), by)
        share = b.select(shared, share, x)
        parts = b.select(shared, up(b, x, share), parts)
        b.store(share, b.gep(words, [constant(I64, _SHARES + k)], source_etype=I64))
    b.store(constant(I64, FINE), words)
    b.store(task, b.gep(words, [constant(I64, _TASK)], source_etype=I64))
    memory = word(b, task, PANELS, POINTER)
    b.call(parallel(module), [part, words, parts, word(b, task, BYTES), memory])
    failed = b.icmp_signed("!=", word(b, words, _FAILED), constant(I64, FINE))
    fine = f.append_basic_block("fine")
    b.cbranch(failed, directly, fine)
    b.position_at_end(fine)
    b.ret(constant(I64, 0))


def _part(module: ir.Module, tile: Panels) -> ir.Function:
    """One part: the blocks of a range of the result, by packed panels."""
    f = ir.Function(module, ir.FunctionType(VOID, [POINTER, I64, POINTER]), "tdsl_part")
    f.linkage = "internal"
    not_hot(f)
    words, number, memory = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    one, none = constant(I64, 1), constant(I64, 0)
    task = word(b, words, _TASK, POINTER)
    batches = word(b, task, BATCHES)
    ranges = b.alloca(I64, b.mul(b.add(batches, constant(I64, AT_BATCH)), constant(I64, 2)))
    ranges.type = POINTER

    def extent(place: int) -> ir.Value:
        return word(b, task, field(place, EXTENT))

    def put(place: ir.Value | int, low: ir.Value, high: ir.Value) -> None:
        at = _range(b, ranges, constant(I64, place) if isinstance(place, int) else place)
        b.store(low, at)
        b.store(high, b.gep(at, [one], source_etype=I64))

    with counted(b, batches, one) as k:  # an operand that no batch moves is packed before them
        put(b.add(k, constant(I64, AT_BATCH)), none, one)
    outer: dict[int, tuple[ir.Value, ir.Value]] = {}
    for k, place in enumerate(_SHARED):
        share, whole = word(b, words, _SHARES + k), extent(place)
        all_of_it = b.icmp_signed(">=", share, whole)
        low = b.select(all_of_it, none, b.mul(number, share))
        outer[place] = low, minimum(b, b.add(low, share), whole)
    inner, depths = word(b, task, INNER), [extent(AT_OUTER), extent(AT_LAST)]
    panel = [memory, b.gep(memory, [word(b, task, LEFT_BYTES)], source_etype=ir.IntType(8))]

    room = b.sdiv(constant(I64, DEPTH), inner)  # values of the last reduced index
    room = intrinsic(b, "llvm.smax", [room, one])
    whole = b.icmp_signed("<=", depths[1], room)
    last = b.select(whole, depths[1], _even(b, depths[1], room, 1))
    room = b.select(whole, b.sdiv(room, depths[1]), one)
    blocks = [_even(b, depths[0], room, 1), last]
    single = b.and_(*(b.icmp_signed("<=", x, y) for x, y in zip(depths, blocks, strict=True)))
    low_row, high_row = outer[AT_ROWS]
    low_column, high_column = outer[AT_COLUMNS]
    m = b.sub(high_row, low_row)
    block_rows = _even(b, m, constant(I64, ROWS), tile.rows)
    block_columns = _even(b, b.sub(high_column, low_column), constant(I64, COLUMNS), tile.columns)
    alone = [b.icmp_signed("!=", word(b, task, x + ALONE), none) for x in (LEFT, RIGHT)]
    once_left = b.and_(alone[0], b.and_(single, b.icmp_signed("<=", m, block_rows)))
    once_right = b.and_(alone[1], single)
    pack = _packing(module, tile)

    def packed(which: int, condition: ir.Value) -> None:
        with b.if_then(condition):
            fine = b.call(pack, [task, ranges, panel[which], constant(I64, which)])
            with b.if_then(b.not_(fine), likely=False):
                b.store(constant(I64, NOT_FINITE), words)
                b.ret_void()

    put(AT_ROWS, low_row, high_row)
    for place, x in zip((AT_OUTER, AT_LAST), depths, strict=True):
        put(place, none, x)
    packed(0, once_left)
    with ExitStack() as loops:

        def opened(
            place: int, bounds: tuple[ir.Value, ir.Value], by: ir.Value
        ) -> tuple[ir.Value, ir.Value]:
            low, high = bounds
            at = loops.enter_context(counted(b, high, by, low))
            end = minimum(b, b.add(at, by), high)
            put(place, at, end)
            return at, end

        columns = opened(AT_COLUMNS, outer[AT_COLUMNS], block_columns)
        packed(1, once_right)
        low, high = outer[AT_BATCH]
        others = b.sdiv(_product_of_batches(b, task, batches), extent(AT_BATCH))
        at = loops.enter_context(counted(b, b.mul(high, others), one, b.mul(low, others)))
        _each_index(b, task, batches, at, put)
        later, last, here = none, constant(I1, 1), inner
        for place, x, block in zip((AT_OUTER, AT_LAST), depths, blocks, strict=True):
            low, high = opened(place, (none, x), block)
            later = b.or_(later, low)
            here = b.mul(here, b.sub(high, low))
            last = b.and_(last, b.icmp_signed("==", high, x))
        packed(1, b.not_(once_right))
        rows = opened(AT_ROWS, outer[AT_ROWS], block_rows)
        packed(0, b.not_(once_left))
        step = word(b, task, field(AT_ROWS, OUT_STEP))
        at = b.add(_sum_of_batches(b, task, ranges, OUT_STEP), b.mul(rows[0], step))
        place = b.gep(
            word(b, task, OUT, POINTER), [b.add(at, columns[0])], source_etype=tile.element
        )
        counts = [b.sub(high, low) for low, high in (rows, columns)]
        b.call(module.globals[tile.routine], [*panel, place, *counts, here, step, later])
        rest = word(b, task, REST, POINTER)
        wanted = b.icmp_unsigned("!=", b.ptrtoint(rest, I64), none)
        with b.if_then(b.and_(last, wanted)):
            b.call(Callee(rest, STEP), [task, ranges, ir.Constant(POINTER, None)])
    b.ret_void()
    return f


def _packing(module: ir.Module, tile: Panels) -> ir.Function:
    """`(task, ranges, panels, which) -> i1`: an operand packed; false where it had to be finite
    and is not."""
    t = ir.FunctionType(I1, [POINTER, POINTER, POINTER, I64])
    f = ir.Function(module, t, "tdsl_packing")
    f.linkage = "internal"
    not_hot(f)
    task, ranges, memory, which = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    is_left = b.icmp_signed("==", which, constant(I64, 0))

    def about(k: int, t: ir.Type) -> ir.Value:
        return b.select(is_left, word(b, task, LEFT + k, t), word(b, task, RIGHT + k, t))

    def length(place: int) -> ir.Value:
        return b.sub(word(b, ranges, 2 * place + 1), word(b, ranges, 2 * place))

    b.call(Callee(about(PACK, POINTER), STEP), [task, ranges, memory])
    with b.if_then(b.icmp_signed("==", about(FINITE, I64), constant(I64, 0))):
        b.ret(constant(I1, 1))
    count = b.select(is_left, length(AT_ROWS), length(AT_COLUMNS))
    width = b.select(is_left, constant(I64, tile.rows), constant(I64, tile.columns))
    count = b.mul(up(b, count, width), width)
    for x in (length(AT_OUTER), length(AT_LAST), word(b, task, INNER)):
        count = b.mul(count, x)
    b.ret(b.call(finite(module, tile), [memory, count]))
    return f


# --------------------------------------------------------------------------- ranges and batches


def _range(b: ir.IRBuilder, ranges: ir.Value, place: ir.Value) -> ir.Value:
    return b.gep(ranges, [b.mul(place, constant(I64, 2))], source_etype=I64)


def _batch_field(b: ir.IRBuilder, task: ir.Value, k: ir.Value, which: int) -> ir.Value:
    at = b.add(b.mul(k, constant(I64, RECORD)), constant(I64, field(AT_BATCH, which)))
    return b.load(b.gep(task, [at], source_etype=I64), typ=I64)


def _product_of_batches(b: ir.IRBuilder, task: ir.Value, batches: ir.Value) -> ir.Value:
    total = stack(b, 1)
    b.store(constant(I64, 1), total)
    with counted(b, batches, constant(I64, 1)) as k:
        b.store(b.mul(b.load(total, typ=I64), _batch_field(b, task, k, EXTENT)), total)
    return b.load(total, typ=I64)


def _sum_of_batches(b: ir.IRBuilder, task: ir.Value, ranges: ir.Value, which: int) -> ir.Value:
    """By how many elements the batch indices move the result or an operand."""
    total = stack(b, 1)
    b.store(constant(I64, 0), total)
    with counted(b, word(b, task, BATCHES), constant(I64, 1)) as k:
        at = _range(b, ranges, b.add(k, constant(I64, AT_BATCH)))
        by = b.mul(b.load(at, typ=I64), _batch_field(b, task, k, which))
        b.store(b.add(b.load(total, typ=I64), by), total)
    return b.load(total, typ=I64)


def _each_index(
    b: ir.IRBuilder,
    task: ir.Value,
    batches: ir.Value,
    number: ir.Value,
    put: Callable[[ir.Value, ir.Value, ir.Value], None],
) -> None:
    """The batch indices of the batch with this number, the last one running fastest."""
    left = stack(b, 1)
    b.store(number, left)
    one = constant(I64, 1)
    with counted(b, batches, one) as n:
        k = b.sub(b.sub(batches, one), n)
        number, size = b.load(left, typ=I64), _batch_field(b, task, k, EXTENT)
        at = b.srem(number, size)
        b.store(b.sdiv(number, size), left)
        put(b.add(k, constant(I64, AT_BATCH)), at, b.add(at, one))


def _even(b: ir.IRBuilder, size: ir.Value, most: ir.Value, multiple: int) -> ir.Value:
    """A block's size: at most `most`, a multiple of `multiple`, about the same in all."""
    one, by = constant(I64, 1), constant(I64, multiple)
    many = intrinsic(b, "llvm.smax", [up(b, size, most), one])
    each = b.mul(up(b, up(b, size, many), by), by)
    return intrinsic(b, "llvm.smax", [each, one])
