"""The blocks of packed contractions: one routine per element type, which all kernels share.

In: what the machine offers. Out: modules, compiled once per machine, with (for f32, f64, and bf16
where there are matrix tiles)

    i64  tdsl_contract(ptr task)
    i64  tdsl_contract_rows(ptr task, i64 low, i64 high, ptr panels)

and what it stands on: the microkernels, and routines for plain operands (`packed_plain`). It
decides whether panels pay, shares the result out among threads, goes through it block by block, has
both operands packed, and calls what follows the sums after the last block of them. Long sums of few
results are made in parts (`packed_split`). `tdsl_contract_rows` works on some values of the first
batch index, on the thread that calls it. Left to others: what a task says (`packed_task`), how it
is packed and multiplied (`packed_ways`).
"""

from __future__ import annotations

from contextlib import ExitStack

from . import ir
from .block_sizes import depth_blocks, even
from .dtypes import DType
from .entry_builder import Callee, not_hot
from .fork_join import PARTS_A_THREAD, parallel, threads, up
from .instructions import I1, I64, register_type
from .llvm_loop import POINTER, VOID, counted, minimum
from .llvm_vector import constant
from .microkernel import finite
from .microkernel_places import multiply_places
from .microkernel_strip import STRIP_CALL, multiply_strip
from .microkernel_turn import add_turn
from .packed import MOST_PANELS, ROWS
from .packed_direct import add_direct
from .packed_in_place import (
    fills_right,
    has_to_be_finite,
    left_in_place,
    reads_left_in_place,
    right_in_place,
    whole_panels,
)
from .packed_plain import add_packs
from .packed_shares import (
    SHARING,
    columns_of_part,
    next_claim,
    not_shared_out,
    rows_of_claims,
    share_out,
    while_found,
)
from .packed_split import add_up
from .packed_task import (
    ALONE,
    AT_BATCH,
    AT_COLUMNS,
    AT_LAST,
    AT_OUTER,
    AT_ROWS,
    AT_WINDOW,
    BATCHES,
    BYTES,
    DIRECT,
    DIRECT_ARGS,
    DIRECT_CALL,
    DIRECT_DIMS,
    DIRECT_ROWS,
    DIRECT_ROWS_CALL,
    END,
    ENTRY,
    EXTENT,
    FIRST,
    FROM,
    INNER,
    LEFT,
    LEFT_BYTES,
    OUT,
    OUT_STEP,
    OWN,
    PANELS,
    PARTS,
    REST,
    RIGHT,
    RIGHT_STEP,
    SHARED,
    STEP,
    STRIP,
    WINDOW,
    WORK,
    contract,
    contract_rows,
    each_index,
    field,
    length,
    product_of_batches,
    range_at,
    stack,
    sum_of_batches,
    word,
)
from .packed_ways import Way, by_tiles, by_vectors, is_for
from .register_tile import Panels, panels
from .target import Target
from .tile_extremes import NO_EXTREMES


def shared_module(target: Target, kind: str, d: DType) -> ir.Module:
    """The routines of one kind (`entry_table.ROUTINES`) for one dtype of operands; those of 16 bits
    are packed as f32, whose products they share."""
    tile = panels(register_type(d), target.registers)
    module = ir.Module(f"tdsl_{kind}_{d}")
    match kind:
        case "products":
            _add_products(module, by_vectors(module, tile))
        case "tiles":
            _add_products(module, by_tiles(module, tile))
        case "strips":
            multiply_strip(module, tile)
        case "places":
            multiply_places(module, tile)
            add_turn(module, tile)
        case "plain":
            add_packs(target, module, tile, d)
            for transposed in (False, True):
                add_direct(target, module, tile, d, transposed)
    return module


def _add_products(module: ir.Module, way: Way) -> None:
    part = _part(module, way)
    _contract(module, way, part)
    _contract_rows(module, way, part)


FINE, REFUSED = 0, 1  # what becomes of a task
_SUMMED = (AT_OUTER, AT_LAST)  # in as many parts as the task says
_SHARED = (AT_BATCH, AT_WINDOW, AT_COLUMNS, AT_ROWS, *_SUMMED)  # of a batch, the first index
_FAILED, _TASK, _FIRST = range(3)  # words that all parts are given; from FIRST on, of what may be
_SHARES = _FIRST + len(_SHARED)  # shared, where it starts; then, how much a part has
_SHARING = _SHARES + len(_SHARED)  # then, how columns or rows are shared out (`packed_shares`)
_WORDS = _SHARING + SHARING


def _contract(module: ir.Module, way: Way, part: ir.Function) -> None:
    f, tile = contract(module, way.element), way.tile
    not_hot(f)
    (task,) = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    work = word(b, task, WORK)
    suits = is_for(b, task, way)
    directly = f.append_basic_block("directly")
    onward = f.append_basic_block("packed")
    b.cbranch(suits, onward, directly)
    b.position_at_end(onward)

    count, sums = b.load(threads(module), typ=I64), word(b, task, PARTS)
    several = b.icmp_signed(">=", work, constant(I64, way.worth_sharing))
    count = b.select(several, count, constant(I64, 1))
    batch, window, n, m, outer, _ = (length(b, task, k) for k in _SHARED)
    summed = b.icmp_signed(">", sums, constant(I64, 1))
    words = stack(b, _WORDS)
    sharing = b.gep(words, [constant(I64, _SHARING)], source_etype=I64)
    larger = b.and_(b.icmp_signed("<", batch, count), b.icmp_signed("<", window, count))
    larger = b.and_(larger, b.not_(summed))  # of rows and columns
    if way.by_tiles:
        larger = constant(I1, 0)
    by_columns, by_claims, finer = share_out(b, task, tile, sharing, count, larger)
    # the first range that can be shared out is: by which steps, and in how many parts. Every part
    # packs what it needs of the other operand: few parts, except of a batch
    ways = {
        AT_OUTER: (b.and_(summed, b.icmp_signed(">", outer, constant(I64, 1))), 1, sums),
        AT_LAST: (summed, 1, sums),
        AT_BATCH: (
            b.icmp_signed(">=", batch, count),
            1,
            b.mul(count, constant(I64, PARTS_A_THREAD)),
        ),
        AT_WINDOW: (b.icmp_signed(">=", window, count), 1, count),
        AT_COLUMNS: (
            b.and_(b.icmp_signed(">=", n, m), b.not_(by_claims)),
            tile.lanes,
            b.select(by_columns, constant(I64, 1), count),
        ),
        AT_ROWS: (constant(I1, 1), tile.rows, b.select(by_claims, constant(I64, 1), count)),
    }
    parts, rest = constant(I64, 1), constant(I1, 1)
    for place, (can_be, step, number) in ways.items():
        x, by = length(b, task, place), constant(I64, step)
        shared = b.and_(rest, can_be)
        rest = b.and_(rest, b.not_(can_be))
        share = b.mul(up(b, up(b, x, number), by), by)
        share = b.select(shared, share, x)
        parts = b.select(shared, up(b, x, share), parts)
        at = constant(I64, _SHARES + _SHARED.index(place))
        b.store(share, b.gep(words, [at], source_etype=I64))
    parts = b.select(b.or_(by_columns, by_claims), finer, parts)
    b.store(constant(I64, FINE), words)
    b.store(task, b.gep(words, [constant(I64, _TASK)], source_etype=I64))
    for k, place in enumerate(_SHARED):
        first = word(b, task, field(place, FROM))
        b.store(first, b.gep(words, [constant(I64, _FIRST + k)], source_etype=I64))
    memory = word(b, task, PANELS, POINTER)
    b.call(parallel(module), [part, words, parts, word(b, task, BYTES), memory])
    failed = b.icmp_signed("!=", word(b, words, _FAILED), constant(I64, FINE))
    fine = f.append_basic_block("fine")
    b.cbranch(failed, directly, fine)
    b.position_at_end(fine)
    with b.if_then(summed):
        _finish_sums(b, module, tile, task, parts)
    b.ret(constant(I64, 0))

    b.position_at_end(directly)
    if way.by_tiles:
        b.ret(b.call(contract(module, "f32"), [task]))
        return
    given = (DIRECT_ARGS, DIRECT_DIMS, *ENTRY[2:])
    entry = [word(b, task, k, POINTER) for k in given]
    status = b.call(Callee(word(b, task, DIRECT, POINTER), DIRECT_CALL), entry)
    shared = b.icmp_signed("!=", word(b, task, SHARED), constant(I64, OWN))
    _rest(b, task, _everything(b, task), shared)
    b.ret(status)


def _finish_sums(
    b: ir.IRBuilder, module: ir.Module, tile: Panels, task: ir.Value, parts: ir.Value
) -> None:
    """The parts of all sums added up, and what follows them."""
    n, m = (word(b, task, field(k, EXTENT)) for k in (AT_COLUMNS, AT_ROWS))
    step = word(b, task, field(AT_ROWS, OUT_STEP))
    sums = [_parts_of_sums(b, task), word(b, task, OUT, POINTER)]
    b.call(add_up(module, tile), [*sums, parts, m, n, step])
    _rest(b, task, _everything(b, task), constant(I1, 1))


def _everything(b: ir.IRBuilder, task: ir.Value) -> ir.Value:
    """All ranges in full, where there are no batches."""
    ranges = stack(b, 2 * (AT_BATCH + 1))
    for place in range(AT_BATCH + 1):
        at = range_at(b, ranges, constant(I64, place))
        b.store(constant(I64, 0), at)
        end = b.gep(at, [constant(I64, 1)], source_etype=I64)
        b.store(word(b, task, field(place, EXTENT)), end)
    return ranges


def _parts_of_sums(b: ir.IRBuilder, task: ir.Value) -> ir.Value:
    """Where they stand: behind the panels of the thread that has them made."""
    memory = word(b, task, PANELS, POINTER)
    return b.gep(memory, [word(b, task, BYTES)], source_etype=ir.IntType(8))


def _rest(b: ir.IRBuilder, task: ir.Value, ranges: ir.Value, last: ir.Value) -> None:
    """What follows the sums, after the last block of them."""
    rest = word(b, task, REST, POINTER)
    wanted = b.icmp_unsigned("!=", b.ptrtoint(rest, I64), constant(I64, 0))
    with b.if_then(b.and_(last, wanted)):
        b.call(Callee(rest, STEP), [task, ranges, ir.Constant(POINTER, None)])


def _contract_rows(module: ir.Module, way: Way, part: ir.Function) -> None:
    f = contract_rows(module, way.element)
    not_hot(f)
    task, low, high, memory = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    entry = [word(b, task, k, POINTER) for k in ENTRY]
    direct: ir.Function | Callee
    if way.by_tiles:
        direct, otherwise = contract_rows(module, "f32"), list[ir.Value](f.args)
    else:
        direct = Callee(word(b, task, DIRECT_ROWS, POINTER), DIRECT_ROWS_CALL)
        otherwise = [*entry, low, high]
    with b.if_then(b.not_(is_for(b, task, way))):
        b.ret(b.call(direct, otherwise))
    words = stack(b, _WORDS)
    not_shared_out(b, b.gep(words, [constant(I64, _SHARING)], source_etype=I64))
    b.store(task, b.gep(words, [constant(I64, _TASK)], source_etype=I64))
    b.store(constant(I64, FINE), words)
    for k, place in enumerate(_SHARED):
        here = b.icmp_signed("==", word(b, task, FIRST), constant(I64, place))
        first = b.select(here, low, word(b, task, field(place, FROM)))
        share = b.select(here, b.sub(high, low), length(b, task, place))
        for at, x in ((_FIRST + k, first), (_SHARES + k, share)):
            b.store(x, b.gep(words, [constant(I64, at)], source_etype=I64))
    b.call(part, [words, constant(I64, 0), memory])
    failed = b.icmp_signed("!=", word(b, words, _FAILED), constant(I64, FINE))
    with b.if_then(failed, likely=False):
        b.call(direct, otherwise)
    b.ret(constant(I64, 0))


def _part(module: ir.Module, way: Way) -> ir.Function:
    """One part: the blocks of a range of the result, by packed panels."""
    tile = way.tile
    f = ir.Function(module, ir.FunctionType(VOID, [POINTER, I64, POINTER]), "tdsl_part")
    f.linkage = "internal"
    not_hot(f)
    words, number, memory = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    one, none = constant(I64, 1), constant(I64, 0)
    task = word(b, words, _TASK, POINTER)
    sharing = b.gep(words, [constant(I64, _SHARING)], source_etype=I64)
    batches = word(b, task, BATCHES)
    ranges = b.alloca(I64, b.mul(b.add(batches, constant(I64, AT_BATCH)), constant(I64, 2)))

    def extent(place: int) -> ir.Value:
        return word(b, task, field(place, EXTENT))

    def put(place: ir.Value | int, low: ir.Value, high: ir.Value) -> None:
        at = range_at(b, ranges, constant(I64, place) if isinstance(place, int) else place)
        b.store(low, at)
        b.store(high, b.gep(at, [one], source_etype=I64))

    with counted(b, batches, one) as at:  # an operand that no batch moves is packed before them
        put(b.add(at, constant(I64, AT_BATCH)), none, one)
    outer: dict[int, tuple[ir.Value, ir.Value]] = {}
    for k, place in enumerate(_SHARED):
        share, whole = word(b, words, _SHARES + k), length(b, task, place)
        all_of_it = b.icmp_signed(">=", share, whole)
        low = b.select(all_of_it, none, b.mul(number, share))
        if place == AT_COLUMNS:
            low, share = columns_of_part(b, tile, sharing, number, whole, (low, share))
        low = b.add(low, word(b, words, _FIRST + k))
        outer[place] = low, minimum(b, b.add(low, share), word(b, task, field(place, END)))
    inner = word(b, task, INNER)
    depths = [b.sub(high, low) for low, high in (outer[place] for place in _SUMMED)]
    summed = b.icmp_signed(">", word(b, task, PARTS), one)
    panel = [memory, b.gep(memory, [word(b, task, LEFT_BYTES)], source_etype=ir.IntType(8))]

    blocks = depth_blocks(b, inner, depths, way.depth)
    single = b.and_(*(b.icmp_signed("<=", x, y) for x, y in zip(depths, blocks, strict=True)))
    low_row, high_row = outer[AT_ROWS]
    low_column, high_column = outer[AT_COLUMNS]
    m = b.sub(high_row, low_row)
    claiming, claim = rows_of_claims(b, sharing, m)
    found = next_claim(module)
    block_rows = even(b, claim, constant(I64, ROWS), tile.rows)
    is_strip = b.icmp_signed("!=", word(b, task, STRIP), none)
    panels_of = [constant(I64, x * tile.columns) for x in (MOST_PANELS, way.most_panels)]
    most = b.select(is_strip, *panels_of)
    block_columns = even(b, b.sub(high_column, low_column), most, tile.columns)
    alone = [b.icmp_signed("!=", word(b, task, x + ALONE), none) for x in (LEFT, RIGHT)]
    in_place = constant(I1, 0) if way.by_tiles else reads_left_in_place(b, task, tile)
    fills = constant(I1, 0) if way.by_tiles else fills_right(b, task, tile)
    below, nowhere = word(b, task, field(AT_LAST, RIGHT_STEP)), ir.Constant(POINTER, None)
    once_left = b.and_(alone[0], b.and_(single, b.icmp_signed("<=", m, block_rows)))
    once_left = b.and_(once_left, b.not_(b.or_(in_place, claiming)))
    low_line, high_line = outer[AT_WINDOW]
    lines = b.sub(high_line, low_line)
    block_lines = even(b, lines, word(b, task, WINDOW), 1)
    once_right = b.and_(alone[1], b.and_(single, b.icmp_signed("<=", lines, block_lines)))
    once_right = b.and_(once_right, b.not_(claiming))
    own_claims = b.alloca(I64)
    looked_through = b.and_(in_place, has_to_be_finite(b, task))
    to_pack, source = b.alloca(I1), b.alloca(POINTER)
    extremes = b.alloca(ir.ArrayType(I64, 2))

    def forget_extremes(which: int) -> None:
        start = b.gep(extremes, [constant(I64, which)], source_etype=I64)
        b.store(constant(I64, NO_EXTREMES), start)

    forget_extremes(0)
    forget_extremes(1)

    def refuse_unless(fine: ir.Value) -> None:
        with b.if_then(b.not_(fine), likely=False):
            b.store(constant(I64, REFUSED), words)
            b.ret_void()

    def packed(which: int, memory: ir.Value) -> None:
        side = constant(I64, which)
        refuse_unless(b.call(way.packing, [task, ranges, memory, side, extremes]))

    put(AT_ROWS, low_row, high_row)
    put(AT_WINDOW, low_line, high_line)
    for place in _SUMMED:
        put(place, *outer[place])
    with b.if_then(once_left):
        packed(0, panel[0])
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
        b.store(once_right, to_pack)
        b.store(none, own_claims)
        low, high = outer[AT_BATCH]
        others = b.sdiv(product_of_batches(b, task, batches), extent(AT_BATCH))
        at = loops.enter_context(counted(b, b.mul(high, others), one, b.mul(low, others)))
        each_index(b, task, batches, at, put)
        if way.by_tiles:  # what is multiplied together decides, not which batches a part has
            for which, once in enumerate((once_left, once_right)):
                with b.if_then(b.not_(once)):
                    forget_extremes(which)
        window = opened(AT_WINDOW, outer[AT_WINDOW], block_lines)
        later, last, here = none, constant(I1, 1), inner
        for place, block in zip(_SUMMED, blocks, strict=True):
            first, end = outer[place]
            low, high = opened(place, (first, end), block)
            later = b.or_(later, b.sub(low, first))
            here = b.mul(here, b.sub(high, low))
            last = b.and_(last, b.icmp_signed("==", high, end))

        def next_rows(before: ir.Value) -> ir.Value:
            block = b.sdiv(b.sub(columns[0], low_column), block_columns)
            is_first = b.select(b.icmp_signed("==", later, none), one, none)
            return b.call(found, [sharing, own_claims, number, block, before, is_first])

        first = b.select(claiming, next_rows(constant(I64, -1)), none)
        loops.enter_context(b.if_then(b.icmp_signed(">=", first, none)))
        b.store(b.or_(b.load(to_pack, typ=I1), b.not_(once_right)), to_pack)
        claimed = loops.enter_context(while_found(b, first, next_rows))
        some = b.add(low_row, b.mul(claimed, claim))
        rows = opened(AT_ROWS, (some, minimum(b, b.add(some, claim), high_row)), block_rows)
        # a part of the sums is dense, and has no batches
        step = b.select(summed, extent(AT_COLUMNS), word(b, task, field(AT_ROWS, OUT_STEP)))
        before = b.select(summed, b.mul(number, b.mul(extent(AT_ROWS), step)), none)
        start = b.select(summed, _parts_of_sums(b, task), word(b, task, OUT, POINTER))
        line = word(b, task, field(AT_WINDOW, OUT_STEP))
        out = b.add(b.add(sum_of_batches(b, task, ranges, OUT_STEP), before), columns[0])
        out = b.add(out, b.mul(window[0], line))
        width = b.sub(columns[1], columns[0])
        # whole tiles of a left operand that is read where it stands; the others are packed
        high = constant(I64, tile.rows)
        tiles = b.mul(b.sdiv(b.sub(rows[1], rows[0]), high), high)
        packed_from = b.select(in_place, b.add(rows[0], tiles), rows[0])

        def place_of(row: ir.Value) -> ir.Value:
            return b.gep(start, [b.add(out, b.mul(row, step))], source_etype=tile.element)

        def multiplied(low: ir.Value, high: ir.Value, left: list[ir.Value]) -> None:
            args = [*left, panel[1], place_of(low), b.sub(high, low), width, here, step, later]
            b.call(way.multiply, [*args, b.load(source, typ=POINTER), below])
            b.store(nowhere, source)

        b.store(nowhere, source)
        with b.if_then(b.load(to_pack, typ=I1)):
            b.store(constant(I1, 0), to_pack)
            enough = b.icmp_signed(">=", b.sub(rows[1], rows[0]), high)
            done = b.select(b.and_(fills, enough), whole_panels(b, tile, width), none)
            with b.if_then(b.icmp_signed(">", done, none)):
                b.store(right_in_place(b, task, ranges, tile), source)
            with b.if_then(b.icmp_signed("<", done, width)):
                put(AT_COLUMNS, b.add(columns[0], done), columns[1])
                size = b.mul(b.mul(done, here), constant(I64, tile.bytes))
                packed(1, b.gep(panel[1], [size], source_etype=ir.IntType(8)))
                put(AT_COLUMNS, *columns)
        with b.if_then(b.icmp_signed("<", rows[0], packed_from)):
            multiplied(rows[0], packed_from, left_in_place(b, task, ranges, tile))
        with b.if_then(b.icmp_signed("<", packed_from, rows[1])):
            put(AT_ROWS, packed_from, rows[1])
            with b.if_then(b.not_(once_left)):
                packed(0, panel[0])
            put(AT_ROWS, *rows)
            with b.if_else(is_strip) as (by_strip, by_panels):
                with by_strip:
                    sizes = [b.sub(high, low) for low, high in (rows, columns, window)]
                    args = [*panel, place_of(rows[0]), *sizes, here, step, line, later]
                    if way.multiply_strip is None:
                        b.call(Callee(word(b, task, STRIP, POINTER), STRIP_CALL), args)
                    else:
                        refuse_unless(b.call(way.multiply_strip, [task, extremes, *args]))
                with by_panels:
                    steps = [here, one, constant(I64, tile.rows), none]
                    multiplied(packed_from, rows[1], [panel[0], *steps])
        with b.if_then(b.and_(last, looked_through)):
            sums = [place_of(rows[0]), b.sub(rows[1], rows[0]), step, width]
            refuse_unless(b.call(finite(module, tile), sums))
        _rest(b, task, ranges, b.and_(last, b.not_(summed)))
    b.ret_void()
    return f
