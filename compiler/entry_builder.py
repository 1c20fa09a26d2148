"""An LLVM IR builder for code that deals with Python objects.

In: a module with the table of pointers (`entry_table`). Out: `Builder`, an IRBuilder with
byte addresses, loops, and calls of C functions through the table; `routine` starts an internal
function.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import entry_table as table
from . import ir
from .records import dataclass

PTR = ir.PointerType()
I1, I8, I16, I32, I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
F32_T, F64_T = ir.FloatType(), ir.DoubleType()
VOID = ir.VoidType()
NULL = ir.Constant(PTR, None)

SIGNATURES: Mapping[str, ir.FunctionType] = {
    "PyBool_FromLong": ir.FunctionType(PTR, [I64]),
    "PyDict_New": ir.FunctionType(PTR, []),
    "PyDict_SetItem": ir.FunctionType(I32, [PTR, PTR, PTR]),
    "PyErr_Clear": ir.FunctionType(VOID, []),
    "PyErr_NoMemory": ir.FunctionType(PTR, []),
    "PyErr_Occurred": ir.FunctionType(PTR, []),
    "PyEval_RestoreThread": ir.FunctionType(VOID, [PTR]),
    "PyEval_SaveThread": ir.FunctionType(PTR, []),
    "PyFloat_AsDouble": ir.FunctionType(F64_T, [PTR]),
    "PyFloat_FromDouble": ir.FunctionType(PTR, [F64_T]),
    "PyFloat_Pack2": ir.FunctionType(I32, [F64_T, PTR, I32]),
    "PyFloat_Unpack2": ir.FunctionType(F64_T, [PTR, I32]),
    "PyLong_AsDouble": ir.FunctionType(F64_T, [PTR]),
    "PyLong_AsLongLong": ir.FunctionType(I64, [PTR]),
    "PyLong_FromLongLong": ir.FunctionType(PTR, [I64]),
    "PyMem_RawFree": ir.FunctionType(VOID, [PTR]),
    "PyMem_RawMalloc": ir.FunctionType(PTR, [I64]),
    "PyMem_RawRealloc": ir.FunctionType(PTR, [PTR, I64]),
    "PyObject_CallFunctionObjArgs": ir.FunctionType(PTR, [PTR], var_arg=True),
    "PyTuple_GetItem": ir.FunctionType(PTR, [PTR, I64]),
    "PyTuple_New": ir.FunctionType(PTR, [I64]),
    "PyTuple_SetItem": ir.FunctionType(I32, [PTR, I64, PTR]),
    "PyTuple_Size": ir.FunctionType(I64, [PTR]),
    "Py_DecRef": ir.FunctionType(VOID, [PTR]),
    "Py_IncRef": ir.FunctionType(VOID, [PTR]),
    # array, flags
    "array_flags": ir.FunctionType(VOID, [PTR, I32]),
    # subtype, dtype (a reference is taken over), rank, sizes, strides, data, flags, prototype
    "array_new": ir.FunctionType(PTR, [PTR, PTR, I32, PTR, PTR, PTR, I32, PTR]),
}


# --------------------------------------------------------------------------- a builder


@dataclass(frozen=True)
class Callee:
    """A pointer with the type of the function behind it."""

    value: Any
    function_type: ir.FunctionType
    type: Any = PTR

    @property
    def ref(self) -> str:
        return str(self.value.ref)


class Builder(ir.IRBuilder):
    """An IRBuilder that knows the table and C's habits."""

    def __init__(self, block: ir.Block) -> None:
        super().__init__(block)
        self.pointers = block.function.module.globals.get("tdsl_table")

    def at(self, base: Any, offset: Any, typ: Any) -> Any:
        """Load a `typ` from `offset` bytes after `base`."""
        return self.load(self.byte(base, offset), typ=typ)

    def byte(self, base: Any, offset: Any) -> Any:
        offset = I64(offset) if isinstance(offset, int) else offset
        return self.gep(base, [offset], source_etype=I8)

    def item(self, base: Any, index: Any, typ: Any) -> Any:
        """The address of element `index` of an array of `typ`."""
        index = I64(index) if isinstance(index, int) else index
        return self.gep(base, [index], source_etype=typ)

    def entry(self, name: str | int) -> Any:
        """An entry of the table, by name or number."""
        slot = table.SLOT[name] if isinstance(name, str) else name
        return self.load(self.item(self.pointers, slot, PTR), typ=PTR)

    def c(self, name: str, *args: Any) -> Any:
        """Call a C function of the table."""
        return self.call(Callee(self.entry(name), SIGNATURES[name]), args)

    def equal(self, a: Any, b: Any) -> Any:
        return self.icmp_signed("==", a, b)

    def is_null(self, a: Any) -> Any:
        return self.equal(a, NULL)

    def continue_if(self, condition: Any, otherwise: ir.Block) -> None:
        """Go to `otherwise` unless `condition` holds; building goes on where it does."""
        onward = self.function.append_basic_block()
        self.cbranch(condition, onward, otherwise)
        self.position_at_end(onward)

    def loop(self, count: Any) -> Loop:
        return Loop(self, count)

    def stack(self, count: Any) -> Any:
        """Stack memory for `count` words of 64 bits."""
        return self.alloca(I64, self.add(count, I64(1)))

    def variable(self, value: Any) -> Any:
        """A local variable that holds `value` at first."""
        with self.goto_entry_block():
            slot = self.alloca(value.type)
        self.store(value, slot)
        return slot


class Loop:
    """`with b.loop(n) as i:` builds a loop over 0 … n-1."""

    def __init__(self, b: Builder, count: Any) -> None:
        self.b, self.count = b, count

    def __enter__(self) -> Any:
        b = self.b
        before = b.block
        self.head, body, self.exit = (b.function.append_basic_block() for _ in range(3))
        b.branch(self.head)
        b.position_at_end(self.head)
        self.index = b.phi(I64)
        self.index.add_incoming(I64(0), before)
        b.cbranch(b.icmp_signed("<", self.index, self.count), body, self.exit)
        b.position_at_end(body)
        return self.index

    def __exit__(self, *exc: object) -> None:
        b = self.b
        self.index.add_incoming(b.add(self.index, I64(1)), b.block)
        b.branch(self.head)
        b.position_at_end(self.exit)


def routine(module: ir.Module, name: str, returns: Any, args: Sequence[Any]) -> Any:
    """Start an internal function: its builder."""
    f = ir.Function(module, ir.FunctionType(returns, args), name)
    f.linkage = "internal"
    return Builder(f.append_basic_block("entry"))


def not_hot(f: ir.Function) -> None:
    """LLVM need not look for the best code: little time is spent in `f` itself. It takes a fifth of
    the time to compile then (`object_code.quick_code`)."""
    for attribute in ("nounwind", "noinline", "optnone"):
        f.attributes.add(attribute)
