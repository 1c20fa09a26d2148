"""The native entry that all compiled functions share: LLVM IR of a CPython builtin's body.

In: nothing (the code reads a function's signature as data, see `entry_table`). Out: a module with

    tdsl_enter    (self, args, nargs, kwnames, again, signature) -> object
    tdsl_release  (signature): frees the function's kept scratch memory
    tdsl_table    the pointers the code needs, to be filled by the loader

and the fork-join pool (`fork_join`).

The entry accepts what needs no conversion: contiguous, aligned arrays of the parameters' dtypes
and ranks, Python numbers and array scalars for scalars, positional or by name. It binds the named
dims, checks every size, allocates results (or takes what was given away, `entry_donated`) and
scratch, runs, and builds the value. Anything else
goes to the Python function `slow` of the table, which converts or explains; a gather out of range
goes to `fail`. Arguments are borrowed from the caller for as long as the call lasts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import entry_table as table
from . import ir
from .entry_blocks import SMALLEST, add_blocks
from .entry_builder import (
    F32_T,
    F64_T,
    I1,
    I8,
    I16,
    I32,
    I64,
    NULL,
    PTR,
    Builder,
    Callee,
    not_hot,
    routine,
)
from .entry_donated import apart, result
from .entry_scratch import give, release, take
from .fork_join import add_pool

# Beyond this many scalar operations a call lets other threads run: giving the interpreter lock
# away and taking it back costs about as much as 100 of them.
GIL_RELEASE_WORK = 50_000

_RUN = ir.FunctionType(I64, [PTR] * 4)
_ARENA = ir.FunctionType(I64, [PTR])
_BIND = ir.FunctionType(I64, [PTR] * 3)


def entry_module() -> ir.Module:
    """The module, for the host's target to compile."""
    module = ir.Module("entry")
    pointers = ir.GlobalVariable(module, ir.ArrayType(PTR, len(table.SLOT)), "tdsl_table")
    pointers.initializer = ir.Constant(pointers.value_type, None)
    parts = {
        "array": _array(module),
        "number": _number(module),
        "keywords": _keywords(module),
        "slow": _slow(module),
        "take": take(module),
        "give": give(module),
    }
    parts["scalar"] = _scalar(module, parts["array"])
    parts["result"] = result(module, _new_array(module, add_blocks(module)))
    parts["apart"] = apart(module)
    _enter(module, parts)
    release(module)
    add_pool(module)
    return module


def _word(b: Builder, base: Any, index: int, typ: Any = I64) -> Any:
    """Word `index` of a signature or a record."""
    return b.load(b.item(base, index, I64), typ=typ)


# --------------------------------------------------------------------------- the call


def _enter(module: ir.Module, parts: dict[str, Any]) -> None:
    f = ir.Function(module, ir.FunctionType(PTR, [PTR, PTR, I64, PTR, I64, PTR]), "tdsl_enter")
    b = Builder(f.append_basic_block("entry"))
    this, args, nargs, kwnames, again, signature = f.args
    count = _word(b, signature, table.PARAMS)
    outputs = _word(b, signature, table.OUTPUTS)
    values = b.add(count, outputs)
    records = b.item(signature, table.HEADER, I64)
    named = b.stack(count)
    pointers = b.stack(values)  # the data of every parameter and output
    cells = b.stack(values)  # scalars
    sizes = b.stack(_word(b, signature, table.PARAM_AXES))
    shapes = b.stack(_word(b, signature, table.OUTPUT_AXES))
    dims = b.stack(_word(b, signature, table.DIMS))
    made = b.stack(outputs)  # the arrays made so far
    err = b.stack(I64(4))

    slow = f.append_basic_block("slow")
    other = Builder(slow)
    other.ret(other.call(parts["slow"], [this, args, nargs, kwnames, again]))

    # arguments by position, or put in order by name
    by_name, ordered = (f.append_basic_block(n) for n in ("by_name", "ordered"))
    start = b.block
    b.cbranch(b.and_(b.is_null(kwnames), b.equal(nargs, count)), ordered, by_name)
    b.position_at_end(by_name)
    matched = b.call(parts["keywords"], [args, nargs, kwnames, named, signature])
    b.cbranch(matched, ordered, slow)
    b.position_at_end(ordered)
    objects = b.phi(PTR)
    objects.add_incoming(args, start)
    objects.add_incoming(named, by_name)

    # what each argument is; `axis` counts the axes of all
    axis = b.variable(sizes)
    with b.loop(count) as k:
        given = b.load(b.item(objects, k, PTR), typ=PTR)
        record = b.item(records, b.mul(k, I64(table.RECORD)), I64)
        data = b.variable(NULL)
        with b.if_else(b.equal(_word(b, record, table.RANK), I64(0))) as (scalar, array):
            with scalar:
                b.store(b.call(parts["scalar"], [given, record, b.item(cells, k, I64)]), data)
            with array:
                to = b.load(axis, typ=PTR)
                b.store(b.call(parts["array"], [given, record, to]), data)
                b.store(b.item(to, _word(b, record, table.RANK), I64), axis)
        found = b.load(data, typ=PTR)
        b.continue_if(b.not_(b.is_null(found)), slow)
        b.store(found, b.item(pointers, k, PTR))

    # what is given away
    donated = b.equal(_word(b, signature, table.DONATED), I64(0))
    with b.if_then(b.not_(donated)):
        fit = b.call(parts["apart"], [objects, pointers, sizes, signature])
        b.continue_if(fit, slow)

    # sizes
    bind = Callee(_word(b, signature, table.BIND, PTR), _BIND)
    work = b.call(bind, [sizes, dims, shapes])
    b.continue_if(b.icmp_signed(">=", work, I64(0)), slow)

    # results
    undo = f.append_basic_block("undo")
    with b.loop(outputs) as k:
        b.store(NULL, b.item(made, k, PTR))
    result_records = b.item(records, b.mul(count, I64(table.RECORD)), I64)
    b.store(shapes, axis)
    numbers = b.equal(_word(b, signature, table.ARRAYS), I64(0))
    with b.loop(outputs) as k:
        record = b.item(result_records, b.mul(k, I64(table.RECORD)), I64)
        at = b.item(pointers, b.add(count, k), PTR)
        rank = _word(b, record, table.RANK)
        with b.if_else(b.and_(numbers, b.equal(rank, I64(0)))) as (scalar, array):
            with scalar:
                b.store(b.item(cells, b.add(count, k), I64), at)
            with array:
                shape = b.load(axis, typ=PTR)
                new = b.call(parts["result"], [record, shape, objects])
                b.continue_if(b.not_(b.is_null(new)), undo)
                b.store(new, b.item(made, k, PTR))
                b.store(b.at(new, table.ARRAY_DATA, PTR), at)
                b.store(b.item(shape, rank, I64), axis)

    # scratch, run
    need = b.call(Callee(_word(b, signature, table.ARENA, PTR), _ARENA), [dims])
    arena = b.call(parts["take"], [need, signature])
    starved = f.append_basic_block("starved")
    short = b.and_(b.is_null(arena), b.icmp_signed(">", need, I64(0)))
    b.continue_if(b.not_(short), starved)
    status = _run(b, work, signature, [pointers, dims, arena, err])
    b.call(parts["give"], [arena, signature])
    out_of_range = f.append_basic_block("out_of_range")
    b.continue_if(b.equal(status, I64(0)), out_of_range)

    # values: arrays as they are, scalars as Python numbers, several as a tuple
    with b.loop(outputs) as k:
        record = b.item(result_records, b.mul(k, I64(table.RECORD)), I64)
        with b.if_then(b.and_(numbers, b.equal(_word(b, record, table.RANK), I64(0)))):
            cell = b.item(cells, b.add(count, k), I64)
            number = b.call(parts["number"], [cell, record])
            b.continue_if(b.not_(b.is_null(number)), undo)
            b.store(number, b.item(made, k, PTR))
    several, single = (f.append_basic_block(n) for n in ("several", "single"))
    b.cbranch(b.equal(_word(b, signature, table.RETURNS_TUPLE), I64(0)), single, several)
    b.position_at_end(single)
    b.ret(b.load(made, typ=PTR))
    b.position_at_end(several)
    result = b.c("PyTuple_New", outputs)
    b.continue_if(b.not_(b.is_null(result)), undo)
    with b.loop(outputs) as k:
        b.c("PyTuple_SetItem", result, k, b.load(b.item(made, k, PTR), typ=PTR))
    b.ret(result)

    b.position_at_end(out_of_range)
    where = b.c("PyLong_FromLongLong", b.ptrtoint(err, I64))
    b.continue_if(b.not_(b.is_null(where)), undo)
    b.c("PyObject_CallFunctionObjArgs", b.entry("fail"), this, where, NULL)
    b.c("Py_DecRef", where)
    b.branch(undo)
    b.position_at_end(starved)
    b.c("PyErr_NoMemory")
    b.branch(undo)
    b.position_at_end(undo)
    with b.loop(outputs) as k:
        b.c("Py_DecRef", b.load(b.item(made, k, PTR), typ=PTR))  # NULL is allowed
    b.ret(NULL)


def _run(b: Builder, work: Any, signature: Any, args: Sequence[Any]) -> Any:
    """Call the native code, without the interpreter lock when there is much to do."""
    run = Callee(_word(b, signature, table.RUN, PTR), _RUN)
    much, little, done = (b.function.append_basic_block() for _ in range(3))
    b.cbranch(b.icmp_signed(">", work, I64(GIL_RELEASE_WORK)), much, little)
    b.position_at_end(much)
    state = b.c("PyEval_SaveThread")
    unlocked = b.call(run, args)
    b.c("PyEval_RestoreThread", state)
    b.branch(done)
    b.position_at_end(little)
    locked = b.call(run, args)
    b.branch(done)
    b.position_at_end(done)
    status = b.phi(I64)
    status.add_incoming(unlocked, much)
    status.add_incoming(locked, little)
    return status


def _new_array(module: ir.Module, take: Any) -> Any:
    """`(record, sizes) -> object`: a new array; a large one in a kept block."""
    b = routine(module, "tdsl_new_array", PTR, [PTR, PTR])
    record, sizes = b.function.args
    dtype, rank = _word(b, record, table.DTYPE, PTR), _word(b, record, table.RANK)
    kind, ndim = b.entry("ndarray"), b.trunc(rank, I32)
    count = b.variable(b.lshr(_word(b, record, table.BITS), I64(3)))
    with b.loop(rank) as axis:
        size = b.load(b.item(sizes, axis, I64), typ=I64)
        b.store(b.mul(b.load(count, typ=I64), size), count)
    b.c("Py_IncRef", dtype)
    small, large = (b.function.append_basic_block(n) for n in ("small", "large"))
    total = b.load(count, typ=I64)
    b.cbranch(b.icmp_signed(">=", total, I64(SMALLEST)), large, small)
    b.position_at_end(large)
    block = b.call(take, [total])
    b.continue_if(b.not_(b.is_null(block)), small)  # NumPy says that memory is short
    flags = I32(table.ARRAY_READY | table.ARRAY_WRITABLE)
    new = b.c("array_new", kind, dtype, ndim, sizes, NULL, block, flags, NULL)
    failed = b.function.append_basic_block("failed")
    other = Builder(failed)
    other.c("PyMem_RawFree", block)
    other.ret(NULL)
    b.continue_if(b.not_(b.is_null(new)), failed)
    b.c("array_flags", new, I32(table.ARRAY_LAYOUT))
    own = b.byte(new, table.ARRAY_FLAGS)
    b.store(b.or_(b.load(own, typ=I32), I32(table.ARRAY_OWNED)), own)
    handler = b.entry("handler")
    b.c("Py_IncRef", handler)
    b.store(handler, b.byte(new, table.ARRAY_HANDLER))
    b.ret(new)
    b.position_at_end(small)
    b.ret(b.c("array_new", kind, dtype, ndim, sizes, NULL, NULL, I32(0), NULL))
    return b.function


# --------------------------------------------------------------------------- arguments


def _array(module: ir.Module) -> Any:
    """`(object, record, sizes) -> data`: the data and the sizes of an array that needs no
    conversion; NULL for anything else."""
    b = routine(module, "tdsl_array", PTR, [PTR, PTR, PTR])
    given, record, sizes = b.function.args
    no = b.function.append_basic_block("no")
    Builder(no).ret(NULL)
    b.continue_if(b.equal(b.at(given, table.TYPE_OFFSET, PTR), b.entry("ndarray")), no)
    dtype = _word(b, record, table.DTYPE, PTR)
    rank = _word(b, record, table.RANK)
    own_dtype = b.at(given, table.ARRAY_DTYPE, PTR)
    same_rank = b.equal(b.at(given, table.ARRAY_RANK, I32), b.trunc(rank, I32))
    flags = b.and_(b.at(given, table.ARRAY_FLAGS, I32), I32(table.ARRAY_READY))
    ready = b.equal(flags, I32(table.ARRAY_READY))
    b.continue_if(b.and_(same_rank, ready), no)
    with b.if_then(b.not_(b.equal(own_dtype, dtype)), likely=False):
        differ = b.xor(*(b.at(d, table.DTYPE_KIND, I64) for d in (own_dtype, dtype)))
        differ = b.and_(differ, I64(~table.DTYPE_UNUSED))
        b.continue_if(b.equal(differ, I64(0)), no)
    shape = b.at(given, table.ARRAY_SIZES, PTR)
    with b.loop(rank) as axis:
        b.store(b.load(b.item(shape, axis, I64), typ=I64), b.item(sizes, axis, I64))
    b.ret(b.at(given, table.ARRAY_DATA, PTR))
    return b.function


def _scalar(module: ir.Module, array: Any) -> Any:
    """`(object, record, cell) -> data`: where the value of a scalar argument stands; NULL for one
    that is not a Python number, an array scalar or a 0-d array that fits without loss of meaning.
    """
    b = routine(module, "tdsl_scalar", PTR, [PTR, PTR, PTR])
    f = b.function
    given, record, cell = f.args
    kind = _word(b, record, table.KIND)
    of = b.at(given, table.TYPE_OFFSET, PTR)
    float_, whole, truth, rest, failed, no = (
        f.append_basic_block(n) for n in ("float", "whole", "truth", "rest", "failed", "no")
    )
    cases = b.switch(kind, rest)
    cases.add_case(I64(table.FLOAT), float_)
    cases.add_case(I64(table.BRAIN_FLOAT), float_)
    cases.add_case(I64(table.SIGNED), whole)
    cases.add_case(I64(table.UNSIGNED), whole)
    cases.add_case(I64(table.BOOLEAN), truth)

    b.position_at_end(float_)
    with b.if_then(b.equal(of, b.entry("float"))):
        _store_float(b, b.c("PyFloat_AsDouble", given), cell, record, failed)
        b.ret(cell)
    with b.if_then(b.equal(of, b.entry("int"))):
        value = b.c("PyLong_AsDouble", given)
        suspect = b.fcmp_ordered("==", value, F64_T(-1.0))
        b.continue_if(b.not_(_error(b, suspect)), failed)
        _store_float(b, value, cell, record, failed)
        b.ret(cell)
    b.branch(rest)

    b.position_at_end(truth)
    for entry in ("false", "true"):
        with b.if_then(b.equal(given, b.entry(entry))):
            b.store(I8(int(entry == "true")), cell)
            b.ret(cell)
    b.branch(rest)

    b.position_at_end(whole)
    with b.if_then(b.equal(of, b.entry("int"))):
        value = b.c("PyLong_AsLongLong", given)
        b.continue_if(b.not_(_error(b, b.equal(value, I64(-1)))), failed)
        b.continue_if(b.equal(_narrowed(b, value, record), value), no)
        b.store(value, cell)  # little-endian: the low bytes come first
        b.ret(cell)
    b.branch(rest)

    b.position_at_end(rest)
    with b.if_then(b.equal(of, _word(b, record, table.SCALAR, PTR))):
        b.ret(b.byte(given, table.SCALAR_VALUE))
    b.ret(b.call(array, [given, record, cell]))
    b.position_at_end(failed)
    b.c("PyErr_Clear")
    b.branch(no)
    b.position_at_end(no)
    b.ret(NULL)
    return f


def _error(b: Builder, suspect: Any) -> Any:
    """Whether a C function failed that returned its error value (which may be a value, too)."""
    return b.and_(suspect, b.not_(b.is_null(b.c("PyErr_Occurred"))))


def _narrowed(b: Builder, value: Any, record: Any) -> Any:
    """The low bits of an integer, extended as its dtype says."""
    unused = b.sub(I64(64), _word(b, record, table.BITS))
    high = b.shl(value, unused)
    signed = b.equal(_word(b, record, table.KIND), I64(table.SIGNED))
    return b.select(signed, b.ashr(high, unused), b.lshr(high, unused))


def _store_float(b: Builder, value: Any, cell: Any, record: Any, failed: ir.Block) -> None:
    """Store a double in a cell of a float dtype, rounding to nearest even."""
    double, half, single, brain, done = (b.function.append_basic_block() for _ in range(5))
    narrow = b.function.append_basic_block()
    cases = b.switch(_word(b, record, table.BITS), double)
    cases.add_case(I64(16), narrow)
    cases.add_case(I64(32), single)
    b.position_at_end(double)
    b.store(value, cell)
    b.branch(done)
    b.position_at_end(single)
    b.store(b.fptrunc(value, F32_T), cell)
    b.branch(done)
    b.position_at_end(narrow)
    b.cbranch(b.equal(_word(b, record, table.KIND), I64(table.BRAIN_FLOAT)), brain, half)
    b.position_at_end(half)
    packed = b.c("PyFloat_Pack2", value, cell, I32(1))
    b.cbranch(b.equal(packed, I32(0)), done, failed)
    b.position_at_end(brain)
    bits = b.bitcast(b.fptrunc(value, F32_T), I32)
    odd = b.and_(b.lshr(bits, I32(16)), I32(1))
    rounded = b.lshr(b.add(bits, b.add(odd, I32(0x7FFF))), I32(16))
    nan = b.fcmp_unordered("uno", value, value)
    b.store(b.trunc(b.select(nan, I32(0x7FC0), rounded), I16), cell)
    b.branch(done)
    b.position_at_end(done)


def _number(module: ir.Module) -> Any:
    """`(cell, record) -> object`: a new Python number."""
    b = routine(module, "tdsl_number", PTR, [PTR, PTR])
    f = b.function
    cell, record = f.args
    float_, whole, truth, brain = (
        f.append_basic_block(n) for n in ("float", "whole", "truth", "brain")
    )
    cases = b.switch(_word(b, record, table.KIND), whole)
    cases.add_case(I64(table.FLOAT), float_)
    cases.add_case(I64(table.BRAIN_FLOAT), brain)
    cases.add_case(I64(table.BOOLEAN), truth)
    b.position_at_end(whole)
    b.ret(b.c("PyLong_FromLongLong", _narrowed(b, b.load(cell, typ=I64), record)))
    b.position_at_end(truth)
    b.ret(b.c("PyBool_FromLong", b.zext(b.load(cell, typ=I8), I64)))
    b.position_at_end(brain)
    bits = b.shl(b.zext(b.load(cell, typ=I16), I32), I32(16))
    b.ret(b.c("PyFloat_FromDouble", b.fpext(b.bitcast(bits, F32_T), F64_T)))
    b.position_at_end(float_)
    half, single, double = (f.append_basic_block() for _ in range(3))
    widths = b.switch(_word(b, record, table.BITS), double)
    widths.add_case(I64(16), half)
    widths.add_case(I64(32), single)
    b.position_at_end(half)
    b.ret(b.c("PyFloat_FromDouble", b.c("PyFloat_Unpack2", cell, I32(1))))
    b.position_at_end(single)
    b.ret(b.c("PyFloat_FromDouble", b.fpext(b.load(cell, typ=F32_T), F64_T)))
    b.position_at_end(double)
    b.ret(b.c("PyFloat_FromDouble", b.load(cell, typ=F64_T)))
    return f


def _keywords(module: ir.Module) -> Any:
    """`(args, nargs, kwnames, slots, signature) -> i1`: put arguments in order. Names are
    interned, so their addresses decide; a name that is not found that way is left to `slow`."""
    b = routine(module, "tdsl_keywords", I1, [PTR, I64, PTR, PTR, PTR])
    f = b.function
    args, nargs, kwnames, slots, signature = f.args
    count = _word(b, signature, table.PARAMS)
    no, some = f.append_basic_block("no"), f.append_basic_block("some")
    Builder(no).ret(I1(0))
    b.cbranch(b.is_null(kwnames), no, some)
    b.position_at_end(some)
    names = b.c("PyTuple_Size", kwnames)
    b.continue_if(b.equal(b.add(nargs, names), count), no)
    with b.loop(count) as k:
        early = b.icmp_signed("<", k, nargs)
        with b.if_else(early) as (positional, absent):
            with positional:
                b.store(b.load(b.item(args, k, PTR), typ=PTR), b.item(slots, k, PTR))
            with absent:
                b.store(NULL, b.item(slots, k, PTR))
    with b.loop(names) as n:
        name = b.c("PyTuple_GetItem", kwnames, n)
        with b.loop(count) as k:
            words = b.add(b.mul(k, I64(table.RECORD)), I64(table.HEADER + table.NAME))
            known = b.load(b.item(signature, words, I64), typ=PTR)
            with b.if_then(b.equal(name, known)):
                given = b.load(b.item(args, b.add(nargs, n), PTR), typ=PTR)
                slot = b.item(slots, k, PTR)
                b.continue_if(b.is_null(b.load(slot, typ=PTR)), no)
                b.store(given, slot)
    with b.loop(count) as k:
        b.continue_if(b.not_(b.is_null(b.load(b.item(slots, k, PTR), typ=PTR))), no)
    b.ret(I1(1))
    return f


def _slow(module: ir.Module) -> Any:
    """`(self, args, nargs, kwnames, again) -> object`: `slow(self, args, kwargs, again)`."""
    b = routine(module, "tdsl_slow", PTR, [PTR, PTR, I64, PTR, I64])
    not_hot(b.function)
    this, args, nargs, kwnames, again = b.function.args
    failed = b.function.append_basic_block("failed")
    Builder(failed).ret(NULL)  # out of memory: the error is set
    positional = b.c("PyTuple_New", nargs)
    b.continue_if(b.not_(b.is_null(positional)), failed)
    with b.loop(nargs) as k:
        value = b.load(b.item(args, k, PTR), typ=PTR)
        b.c("Py_IncRef", value)
        b.c("PyTuple_SetItem", positional, k, value)
    keywords = b.c("PyDict_New")
    b.continue_if(b.not_(b.is_null(keywords)), failed)
    with b.if_then(b.not_(b.is_null(kwnames))), b.loop(b.c("PyTuple_Size", kwnames)) as k:
        value = b.load(b.item(args, b.add(nargs, k), PTR), typ=PTR)
        b.c("PyDict_SetItem", keywords, b.c("PyTuple_GetItem", kwnames, k), value)
    flag = b.c("PyBool_FromLong", again)
    result = b.c(
        "PyObject_CallFunctionObjArgs", b.entry("slow"), this, positional, keywords, flag, NULL
    )
    for owned in (positional, keywords, flag):
        b.c("Py_DecRef", owned)
    b.ret(result)
    return b.function
