"""The native entry's part for donated arguments: arrays whose memory results take.

In: the arguments of a call, which are arrays of the right dtypes and ranks. Out: two functions of
the entry's module: whether what is given away may be written and stands apart from all other
arguments; and the object of a result, a new array or the argument in whose place it stands. Left to
others: why a call was refused (`runtime.donation`).
"""

from __future__ import annotations

from typing import Any

from . import entry_table as table
from . import ir
from .entry_builder import I1, I32, I64, PTR, Builder, not_hot, routine


def apart(module: ir.Module) -> Any:
    """`(objects, pointers, sizes, signature) -> i1`: whether every donated argument is writable and
    shares no byte with another."""
    b = routine(module, "tdsl_apart", I1, [PTR, PTR, PTR, PTR])
    not_hot(b.function)
    objects, pointers, sizes, signature = b.function.args
    count = b.load(b.item(signature, table.PARAMS, I64), typ=I64)
    records = b.item(signature, table.HEADER, I64)
    ends = b.stack(count)
    axis = b.variable(sizes)
    size = b.variable(I64(0))

    def word(k: Any, index: int) -> Any:
        record = b.item(records, b.mul(k, I64(table.RECORD)), I64)
        return b.load(b.item(record, index, I64), typ=I64)

    def bounds(k: Any) -> tuple[Any, Any]:
        return tuple(b.load(b.item(x, k, I64), typ=I64) for x in (pointers, ends))

    with b.loop(count) as k:
        b.store(b.lshr(word(k, table.BITS), I64(3)), size)
        with b.loop(word(k, table.RANK)):
            at = b.load(axis, typ=PTR)
            b.store(b.mul(b.load(size, typ=I64), b.load(at, typ=I64)), size)
            b.store(b.item(at, 1, I64), axis)
        start = b.load(b.item(pointers, k, I64), typ=I64)
        b.store(b.add(start, b.load(size, typ=I64)), b.item(ends, k, I64))
    no = b.function.append_basic_block("no")
    Builder(no).ret(I1(0))
    with b.loop(count) as k, b.if_then(b.icmp_signed("!=", word(k, table.PLACE), I64(0))):
        given = b.load(b.item(objects, k, PTR), typ=PTR)
        writable = b.and_(b.at(given, table.ARRAY_FLAGS, I32), I32(table.ARRAY_WRITABLE))
        b.continue_if(b.icmp_signed("!=", writable, I32(0)), no)
        start, end = bounds(k)
        with b.loop(count) as n:
            first, last = bounds(n)
            overlap = b.icmp_signed("!=", k, n)
            for low, high in ((start, last), (first, end), (start, end), (first, last)):
                overlap = b.and_(overlap, b.icmp_unsigned("<", low, high))
            b.continue_if(b.not_(overlap), no)
    b.ret(I1(1))
    return b.function


def result(module: ir.Module, new_array: Any) -> Any:
    """`(record, sizes, objects) -> object`: the array of a result."""
    b = routine(module, "tdsl_result", PTR, [PTR, PTR, PTR])
    record, sizes, objects = b.function.args
    place = b.load(b.item(record, table.PLACE, I64), typ=I64)
    with b.if_then(b.icmp_signed("!=", place, I64(0)), likely=False):
        given = b.load(b.item(objects, b.sub(place, I64(1)), PTR), typ=PTR)
        b.c("Py_IncRef", given)
        b.ret(given)
    b.ret(b.call(new_array, [record, sizes]))
    return b.function
