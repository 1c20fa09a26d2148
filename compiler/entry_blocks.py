"""Memory for large results: blocks that are kept when an array dies, for the next of like size.

In: sizes in bytes. Out: functions of the entry's module

    tdsl_block_take(bytes) -> block      NULL when out of memory
    tdsl_block_drop()                    gives all kept blocks back to the system
    tdsl_block_new(context, bytes) -> block
    tdsl_block_zeros(context, count, bytes) -> block
    tdsl_block_renew(context, block, bytes) -> block
    tdsl_block_free(context, block, bytes)

of which the last four are what NumPy calls through the arrays' memory handler (NEP 49). Fresh
memory costs a page fault every 4 KiB, more than most operations; a kept block costs none. Sizes
are rounded up to a quarter of a power of two, so that a class of blocks serves like sizes; kept
blocks are linked through their first word. Blocks begin at a multiple of 64, so that no vector
crosses a cache line; in front of a block stand the address that malloc gave, and its bytes.
Everything runs under the interpreter's lock.
"""

from __future__ import annotations

from typing import Any

from . import ir
from .entry_builder import I1, I8, I32, I64, NULL, PTR, VOID, Builder, Callee, not_hot, routine

SMALLEST = 8 << 10  # bytes; the C library is quick with less
KEPT = 512 << 20  # bytes that may lie idle
HUGE_PAGES = 4 << 20  # from this size on, huge pages are asked for
_CLASSES = 4 * 64 + 16
_PAGE = 4096
_MADV_HUGEPAGE = 14
_ALIGN = 64
_FRONT = 16  # bytes in front of a block

_MADVISE = ir.FunctionType(I32, [PTR, I64, I32])


def add_blocks(module: ir.Module) -> Any:
    """Add the functions; the result is `tdsl_block_take`."""
    lists = ir.GlobalVariable(module, ir.ArrayType(PTR, _CLASSES), "tdsl_block_lists")
    held = ir.GlobalVariable(module, I64, "tdsl_block_held")
    for variable in (lists, held):
        variable.initializer = ir.Constant(variable.value_type, None)
        variable.linkage = "internal"
    rounded = _rounded(module)
    fresh = _fresh(module)
    drop = _drop(module, lists, held)
    take = _take(module, lists, held, rounded, fresh, drop)
    free = _free(module, lists, held, rounded)
    new = _new(module, fresh, take)
    _renew(module, new, free)
    return take


def _fresh(module: ir.Module) -> Any:
    """A block of so many bytes from malloc, or NULL."""
    b = routine(module, "tdsl_block_fresh", PTR, [I64])
    not_hot(b.function)
    size = b.function.args[0]
    raw = b.c("PyMem_RawMalloc", b.add(size, I64(_FRONT + _ALIGN)))
    with b.if_then(b.is_null(raw)):
        b.ret(NULL)
    first = b.add(b.ptrtoint(raw, I64), I64(_FRONT + _ALIGN - 1))
    block = b.inttoptr(b.and_(first, I64(-_ALIGN)), PTR)
    b.store(raw, b.byte(block, -8))
    b.store(size, b.byte(block, -16))
    b.ret(block)
    return b.function


def _rounded(module: ir.Module) -> Any:
    """`(bytes, want_class) -> i64`: the class that serves a size, or the bytes of its blocks."""
    b = routine(module, "tdsl_block_rounded", I64, [I64, I1])
    size, want_class = b.function.args
    count = ir.Function(module, ir.FunctionType(I64, [I64, I1]), "llvm.ctlz.i64")
    shift = b.sub(I64(61), b.call(count, [size, I1(0)]))  # of the highest three bits
    step = b.shl(I64(1), shift)
    quarters = b.lshr(b.add(size, b.sub(step, I64(1))), shift)
    number = b.add(b.mul(shift, I64(4)), quarters)
    b.ret(b.select(want_class, number, b.shl(quarters, shift)))
    return b.function


def _drop(module: ir.Module, lists: Any, held: Any) -> Any:
    f = ir.Function(module, ir.FunctionType(VOID, []), "tdsl_block_drop")
    not_hot(f)
    b = Builder(f.append_basic_block("entry"))
    with b.loop(I64(_CLASSES)) as k:
        head = b.item(lists, k, PTR)
        test, body, done = (f.append_basic_block() for _ in range(3))
        b.branch(test)
        b.position_at_end(test)
        block = b.load(head, typ=PTR)
        b.cbranch(b.is_null(block), done, body)
        b.position_at_end(body)
        b.store(b.load(block, typ=PTR), head)
        b.c("PyMem_RawFree", b.at(block, -8, PTR))
        b.branch(test)
        b.position_at_end(done)
    b.store(I64(0), held)
    b.ret_void()
    return f


def _take(module: ir.Module, lists: Any, held: Any, rounded: Any, fresh: Any, drop: Any) -> Any:
    f = ir.Function(module, ir.FunctionType(PTR, [I64]), "tdsl_block_take")
    b = Builder(f.append_basic_block("entry"))
    number = b.call(rounded, [f.args[0], I1(1)])
    size = b.call(rounded, [f.args[0], I1(0)])
    head = b.item(lists, number, PTR)
    kept = b.load(head, typ=PTR)
    with b.if_then(b.not_(b.is_null(kept))):
        b.store(b.load(kept, typ=PTR), head)
        b.store(b.sub(b.load(held, typ=I64), size), held)
        b.ret(kept)
    slot = b.variable(NULL)
    b.store(b.call(fresh, [size]), slot)
    with b.if_then(b.is_null(b.load(slot, typ=PTR))):
        b.call(drop, [])  # what lies idle may be what is missing
        b.store(b.call(fresh, [size]), slot)
    block = b.load(slot, typ=PTR)
    advise = b.entry("madvise")
    large = b.icmp_signed(">=", size, I64(HUGE_PAGES))
    usable = b.and_(large, b.and_(b.not_(b.is_null(block)), b.not_(b.is_null(advise))))
    with b.if_then(usable):
        start = b.and_(b.add(b.ptrtoint(block, I64), I64(_PAGE - 1)), I64(-_PAGE))
        length = b.sub(size, b.sub(start, b.ptrtoint(block, I64)))
        b.call(Callee(advise, _MADVISE), [b.inttoptr(start, PTR), length, I32(_MADV_HUGEPAGE)])
    b.ret(block)
    return f


def _free(module: ir.Module, lists: Any, held: Any, rounded: Any) -> Any:
    f = ir.Function(module, ir.FunctionType(VOID, [PTR, PTR, I64]), "tdsl_block_free")
    b = Builder(f.append_basic_block("entry"))
    _, block, count = f.args
    away = f.append_basic_block("away")
    other = Builder(away)
    other.c("PyMem_RawFree", other.at(block, -8, PTR))
    other.ret_void()
    b.continue_if(b.icmp_signed(">=", count, I64(SMALLEST)), away)
    size = b.call(rounded, [count, I1(0)])
    total = b.add(b.load(held, typ=I64), size)
    b.continue_if(b.icmp_signed("<=", total, I64(KEPT)), away)
    head = b.item(lists, b.call(rounded, [count, I1(1)]), PTR)
    b.store(b.load(head, typ=PTR), block)
    b.store(block, head)
    b.store(total, held)
    b.ret_void()
    return f


def _new(module: ir.Module, fresh: Any, take: Any) -> Any:
    """Memory as NumPy would ask the handler for it."""
    f = ir.Function(module, ir.FunctionType(PTR, [PTR, I64]), "tdsl_block_new")
    not_hot(f)
    b = Builder(f.append_basic_block("entry"))
    with b.if_then(b.icmp_signed("<", f.args[1], I64(SMALLEST))):
        b.ret(b.call(fresh, [f.args[1]]))
    b.ret(b.call(take, [f.args[1]]))
    zeros = ir.Function(module, ir.FunctionType(PTR, [PTR, I64, I64]), "tdsl_block_zeros")
    not_hot(zeros)
    b = Builder(zeros.append_basic_block("entry"))
    context, count, size = zeros.args
    total = b.mul(count, size)
    block = b.call(f, [context, total])
    missing = zeros.append_basic_block("missing")
    Builder(missing).ret(NULL)
    b.continue_if(b.not_(b.is_null(block)), missing)
    with b.loop(total) as k:
        b.store(I8(0), b.item(block, k, I8))
    b.ret(block)
    return f


def _renew(module: ir.Module, new: Any, free: Any) -> None:
    """What `array.resize` calls: a new block with as much of the old one as there is room for."""
    f = ir.Function(module, ir.FunctionType(PTR, [PTR, PTR, I64]), "tdsl_block_renew")
    not_hot(f)
    b = Builder(f.append_basic_block("entry"))
    context, block, count = f.args
    made = b.call(new, [context, count])
    with b.if_then(b.is_null(made)):
        b.ret(NULL)
    size = b.at(block, -16, I64)
    kept = b.select(b.icmp_signed("<", size, count), size, count)
    with b.loop(kept) as k:
        b.store(b.load(b.item(block, k, I8), typ=I8), b.item(made, k, I8))
    b.call(free, [context, block, size])
    b.ret(made)
