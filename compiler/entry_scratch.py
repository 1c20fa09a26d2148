"""The entry's scratch memory: one block that a function keeps from call to call.

In: a signature, whose SCRATCH word is the kept block or 0. Out: three functions of the entry's
module. A call takes the block (an atomic exchange leaves 0 behind, so a second thread that calls
at the same time allocates its own) and puts it back. In front of a block's 64-byte aligned
address stand its size and the address that malloc gave.
"""

from __future__ import annotations

from typing import Any

from . import entry_table as table
from . import ir
from .entry_builder import I64, NULL, PTR, VOID, Builder, not_hot, routine

# A larger block is freed after each call.
KEPT_SCRATCH = 256 << 20


def take(module: ir.Module) -> Any:
    """`(bytes, signature) -> block`: at least so many bytes; NULL for 0, or out of memory."""
    b = routine(module, "tdsl_take", PTR, [I64, PTR])
    need, signature = b.function.args
    nothing = b.function.append_basic_block("nothing")
    Builder(nothing).ret(NULL)
    b.continue_if(b.icmp_signed(">", need, I64(0)), nothing)
    kept = b.inttoptr(_exchange(b, signature, I64(0)), PTR)
    with b.if_then(b.not_(b.is_null(kept))):
        with b.if_then(b.icmp_signed(">=", b.at(kept, -16, I64), need)):
            b.ret(kept)
        b.c("PyMem_RawFree", b.at(kept, -8, PTR))
    raw = b.c("PyMem_RawMalloc", b.add(need, I64(16 + 63)))
    b.continue_if(b.not_(b.is_null(raw)), nothing)
    aligned = b.and_(b.add(b.ptrtoint(raw, I64), I64(16 + 63)), I64(-64))
    block = b.inttoptr(aligned, PTR)
    b.store(need, b.byte(block, -16))
    b.store(raw, b.byte(block, -8))
    b.ret(block)
    return b.function


def give(module: ir.Module) -> Any:
    """`(block, signature)`: keep a block, or free it when it is large or another is kept."""
    b = routine(module, "tdsl_give", VOID, [PTR, PTR])
    block, signature = b.function.args
    done = b.function.append_basic_block("done")
    Builder(done).ret_void()
    b.continue_if(b.not_(b.is_null(block)), done)
    with b.if_then(b.icmp_signed(">", b.at(block, -16, I64), I64(KEPT_SCRATCH))):
        b.c("PyMem_RawFree", b.at(block, -8, PTR))
        b.ret_void()
    other = b.inttoptr(_exchange(b, signature, b.ptrtoint(block, I64)), PTR)
    b.continue_if(b.not_(b.is_null(other)), done)
    b.c("PyMem_RawFree", b.at(other, -8, PTR))
    b.ret_void()
    return b.function


def release(module: ir.Module) -> None:
    """`tdsl_release(signature)`: free the kept block."""
    f = ir.Function(module, ir.FunctionType(VOID, [PTR]), "tdsl_release")
    not_hot(f)
    b = Builder(f.append_basic_block("entry"))
    done = f.append_basic_block("done")
    Builder(done).ret_void()
    kept = b.inttoptr(_exchange(b, f.args[0], I64(0)), PTR)
    b.continue_if(b.not_(b.is_null(kept)), done)
    b.c("PyMem_RawFree", b.at(kept, -8, PTR))
    b.ret_void()


def _exchange(b: Builder, signature: Any, value: Any) -> Any:
    return b.atomic_rmw("xchg", b.item(signature, table.SCRATCH, I64), value, "acq_rel")
