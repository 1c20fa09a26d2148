"""How several threads share out a packed contraction, so that one that is slower does less.

In: sizes, and how many threads there are. Out: the parts of the columns; and the claims on rows.
Left to others: what is shared out, and the work (`packed_blocks`).

Rows: a part is a thread's work. Every thread packs the right operand for itself, once. It claims
rows, some at a time, on the way through a block of columns, for the first terms of their sums, and
goes on with the same rows for the later ones: nobody waits before the end. It begins with its own
share of them, and then helps others, so that it mostly finds in its cache what it left there in the
contraction before.

Columns, for wide results of left operands that are read where they stand: nothing is packed twice.
There are many parts, smaller and smaller ones, each as often as there are threads: of threads that
are equally fast all do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import ir
from .entry_builder import not_hot
from .fork_join import up
from .instructions import I1, I64
from .llvm_loop import POINTER, counted, minimum
from .llvm_vector import constant, intrinsic
from .packed_in_place import reads_left_in_place
from .packed_task import (
    AT_COLUMNS,
    AT_ROWS,
    AT_WINDOW,
    BATCHES,
    EXTENT,
    STRIP,
    field,
    length,
    product_of_batches,
    word,
)
from .register_tile import Panels

MOST_CLAIMS = 62
"""On the rows of a block of columns: the bits of a word hold a thread's."""

CLAIMS_A_THREAD = 16
"""So that of threads that are equally fast none waits long for another's last one."""

LEAST_TILES = 4
"""Of a claim on rows that have to be packed: in few, they would be read in short pieces."""

LINE = 8
"""Words from one counter to the next: a line of the cache, as many threads write them."""


# words of a part's that say how
THREADS, BY_COLUMNS, CLAIM, CLAIMS, COUNTERS, COUNT, SHARING = range(7)


def share_out(
    b: ir.IRBuilder,
    task: ir.Value,
    tile: Panels,
    sharing: ir.Value,
    threads: ir.Value,
    may_be: ir.Value,
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Whether columns are shared out, whether rows are, and in how many parts; `sharing` written.
    Nothing is, unless it `may_be`, and there are several threads: then nothing is worked out."""
    none, one = constant(I64, 0), constant(I64, 1)
    counters = _counters(b, threads)
    not_shared_out(b, sharing)
    with b.if_then(b.and_(may_be, b.icmp_signed(">", threads, one))):
        n, m = (length(b, task, k) for k in (AT_COLUMNS, AT_ROWS))
        in_place = reads_left_in_place(b, task, tile)
        single = b.icmp_signed("==", word(b, task, STRIP), none)
        batches = product_of_batches(b, task, word(b, task, BATCHES))
        for x in (batches, word(b, task, field(AT_WINDOW, EXTENT))):
            single = b.and_(single, b.icmp_signed("==", x, one))
        # every thread packs the right operand; it has the same rows in the next one, mostly
        by_claims = b.and_(single, b.icmp_signed("<=", n, b.mul(m, constant(I64, 2))))
        by_columns = b.and_(in_place, b.icmp_signed(">=", n, m))
        by_columns = b.and_(by_columns, b.not_(by_claims))
        claim = _rows_of_a_claim(b, m, threads, tile, in_place)
        words = {
            THREADS: threads,
            BY_COLUMNS: b.zext(by_columns, I64),
            CLAIM: b.select(by_claims, claim, none),
            CLAIMS: b.select(by_claims, up(b, m, claim), none),
            COUNTERS: counters,
            COUNT: b.select(by_claims, threads, _parts(b, n, threads, tile)),
        }
        _write(b, sharing, words)
    is_some = [b.icmp_signed("!=", word(b, sharing, place), none) for place in (BY_COLUMNS, CLAIM)]
    return is_some[0], is_some[1], word(b, sharing, COUNT)


def not_shared_out(b: ir.IRBuilder, sharing: ir.Value) -> None:
    """`sharing` for a part that is all."""
    words = {THREADS: 1, BY_COLUMNS: 0, CLAIM: 0, CLAIMS: 0, COUNT: 1}
    _write(b, sharing, {place: constant(I64, x) for place, x in words.items()})


def _write(b: ir.IRBuilder, sharing: ir.Value, words: dict[int, ir.Value]) -> None:
    for place, x in words.items():
        b.store(x, b.gep(sharing, [constant(I64, place)], source_etype=I64))


# --------------------------------------------------------------------------- columns


def columns_of_part(
    b: ir.IRBuilder,
    tile: Panels,
    sharing: ir.Value,
    number: ir.Value,
    n: ir.Value,
    otherwise: tuple[ir.Value, ir.Value],
) -> tuple[ir.Value, ir.Value]:
    """Where a part starts, and how many columns it has; `otherwise` if these are not shared out."""
    shared = b.icmp_signed("!=", word(b, sharing, BY_COLUMNS), constant(I64, 0))
    found = b.alloca(ir.ArrayType(I64, 2))
    places = [found, b.gep(found, [constant(I64, 1)], source_etype=I64)]
    for x, place in zip(otherwise, places, strict=True):
        b.store(x, place)
    with b.if_then(shared):
        own = _part(b, n, word(b, sharing, THREADS), tile, number)
        for x, place in zip(own, places, strict=True):
            b.store(x, place)
    start, size = (b.load(place, typ=I64) for place in places)
    return start, size


def _parts(b: ir.IRBuilder, n: ir.Value, threads: ir.Value, tile: Panels) -> ir.Value:
    """In how many parts."""
    return b.mul(_rounds(b, n, threads, tile, n)[0], threads)


def _part(
    b: ir.IRBuilder, n: ir.Value, threads: ir.Value, tile: Panels, number: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """Where a part starts, which may be past the end, and how many columns it has."""
    rounds = b.sdiv(number, threads)
    _, start = _rounds(b, n, threads, tile, rounds)
    size = _share(b, b.sub(n, start), threads, tile)
    within = b.sub(number, b.mul(rounds, threads))
    return b.add(start, b.mul(within, size)), size


def _rounds(
    b: ir.IRBuilder, n: ir.Value, threads: ir.Value, tile: Panels, most: ir.Value
) -> tuple[ir.Value, ir.Value]:
    """In how many rounds all columns are given out, at most so many; how many columns these are."""
    before, look, give, done = b.block, *(b.append_basic_block(x) for x in ("look", "give", "done"))
    b.branch(look)
    b.position_at_end(look)
    rounds, given = b.phi(I64), b.phi(I64)
    for x in (rounds, given):
        x.add_incoming(constant(I64, 0), before)
    more = b.and_(b.icmp_signed("<", given, n), b.icmp_signed("<", rounds, most))
    b.cbranch(more, give, done)
    b.position_at_end(give)
    size = _share(b, b.sub(n, given), threads, tile)
    given.add_incoming(b.add(given, b.mul(size, threads)), give)
    rounds.add_incoming(b.add(rounds, constant(I64, 1)), give)
    b.branch(look)
    b.position_at_end(done)
    return rounds, given


def _share(b: ir.IRBuilder, left: ir.Value, threads: ir.Value, tile: Panels) -> ir.Value:
    """Of the columns that are left, those of one part: half of an equal share, in whole panels;
    all of it, if it is a panel and a vector, about."""
    each, lanes, columns = up(b, left, threads), constant(I64, tile.lanes), tile.columns
    whole = b.mul(up(b, each, lanes), lanes)
    panels = b.sdiv(b.add(each, constant(I64, columns)), constant(I64, 2 * columns))
    few = b.icmp_signed("<=", each, constant(I64, columns + tile.lanes))
    return b.select(few, whole, b.mul(panels, constant(I64, columns)))


# --------------------------------------------------------------------------- rows


def rows_of_claims(b: ir.IRBuilder, sharing: ir.Value, m: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Whether rows are claimed, and how many at a time: all, if not."""
    claim = word(b, sharing, CLAIM)
    claiming = b.icmp_signed("!=", claim, constant(I64, 0))
    return claiming, b.select(claiming, claim, m)


@contextmanager
def while_found(
    b: ir.IRBuilder, first: ir.Value, following: Callable[[ir.Value], ir.Value]
) -> Iterator[ir.Value]:
    """A loop over numbers, each found from the one before, until that gives a negative one."""
    before = b.block
    inside, after = b.append_basic_block("found"), b.append_basic_block("none")
    b.branch(inside)
    b.position_at_end(inside)
    k = b.phi(I64)
    k.add_incoming(first, before)
    yield k
    further = following(k)
    k.add_incoming(further, b.block)
    b.cbranch(b.icmp_signed(">=", further, constant(I64, 0)), inside, after)
    b.position_at_end(after)


def _rows_of_a_claim(
    b: ir.IRBuilder, m: ir.Value, threads: ir.Value, tile: Panels, in_place: ir.Value
) -> ir.Value:
    most = minimum(b, b.mul(threads, constant(I64, CLAIMS_A_THREAD)), constant(I64, MOST_CLAIMS))
    rows = constant(I64, tile.rows)
    each = b.mul(up(b, up(b, m, most), rows), rows)
    least = b.select(in_place, rows, constant(I64, LEAST_TILES * tile.rows))
    return intrinsic(b, "llvm.smax", [each, least])


def _counters(b: ir.IRBuilder, threads: ir.Value) -> ir.Value:
    """How often the rows of each thread's share have been claimed."""
    out = b.alloca(I64, b.mul(threads, constant(I64, LINE)))
    with counted(b, threads, constant(I64, 1)) as k:
        b.store(constant(I64, 0), _counter(b, out, k))
    return out


def _counter(b: ir.IRBuilder, start: ir.Value, share: ir.Value) -> ir.Value:
    return b.gep(start, [b.mul(share, constant(I64, LINE))], source_etype=I64)


def next_claim(module: ir.Module) -> ir.Function:
    """`(sharing, claims, number, block, before, is_first)`: the next claim of thread `number` on
    the rows of a block of columns, or -1 if there is none. With the first terms of the sums rows
    are claimed, those of the thread's own share before others; with later terms it is the next one
    after `before` of those that it has, which are the bits of `claims`."""
    f = ir.Function(module, ir.FunctionType(I64, [POINTER] * 2 + [I64] * 4), "tdsl_claim")
    f.linkage = "internal"
    not_hot(f)
    sharing, claims, number, block, before, is_first = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    threads, count = (word(b, sharing, k) for k in (THREADS, CLAIMS))
    with b.if_then(b.icmp_signed("==", count, constant(I64, 0))):
        b.ret(constant(I64, -1))
    start = word(b, sharing, COUNTERS, POINTER)
    one, none = constant(I64, 1), constant(I64, -1)
    own = b.load(claims, typ=I64)
    with b.if_then(b.icmp_signed("==", is_first, constant(I64, 0))):
        later = b.and_(own, b.shl(none, b.add(before, one)))
        with b.if_then(b.icmp_signed("==", later, constant(I64, 0))):
            b.ret(none)
        b.ret(intrinsic(b, "llvm.cttz", [later, ir.Constant(I1, 0)], overload=[I64]))
    with counted(b, threads, one) as k:
        share = b.srem(b.add(number, k), threads)
        low, high = (b.sdiv(b.mul(x, count), threads) for x in (share, b.add(share, one)))
        size = b.sub(high, low)
        first = b.mul(block, size)
        end = b.add(first, size)
        at = _counter(b, start, share)
        before_loop = b.block
        look, take, over, got = (b.append_basic_block(x) for x in ("look", "take", "over", "got"))
        now = b.load_atomic(at, "seq_cst", 8, typ=I64)
        b.branch(look)
        b.position_at_end(look)
        seen = b.phi(I64)
        seen.add_incoming(now, before_loop)
        b.cbranch(b.icmp_signed("<", seen, end), take, over)
        b.position_at_end(take)
        taken = b.cmpxchg(at, seen, b.add(seen, one), "seq_cst", "seq_cst")
        seen.add_incoming(b.extract_value(taken, 0), take)
        b.cbranch(b.extract_value(taken, 1), got, look)
        b.position_at_end(got)
        found = b.add(low, b.sub(seen, first))
        b.store(b.or_(own, b.shl(one, found)), claims)
        b.ret(found)
        b.position_at_end(over)
    b.ret(none)
    return f
