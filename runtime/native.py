"""From object code to a Python callable: load, fill the entry's table, make the builtin.

In: an artifact's object code and parameter names. Out: a `Native` whose `callable` is a CPython
builtin over the code's `tdsl_call`. What the entry does natively is `compiler.python_entry`'s
business; what happens to arguments that it refuses is `calls`'.

Lifetime: a builtin holds its `self`, the `Native`, which holds the loaded code. The `Native` does
not hold the builtin, so plain reference counting frees the code when the last builtin is gone.
"""

from __future__ import annotations

import ctypes
import importlib
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..compiler import entry_table as table
from ..compiler.dtypes import STRONG
from .loading import LoadedCode

Array = np.ndarray[Any, Any]

METH_FASTCALL, METH_KEYWORDS = 0x0080, 0x0002


class _MethodDef(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


_new_builtin = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p
)(("PyCFunction_NewEx", ctypes.pythonapi))


class Native:
    """The loaded code of one function; `self` of its builtins. `owner` is what the slow path needs
    to know about the function."""

    __slots__ = ("__weakref__", "_again", "_call", "_code", "_names", "_signature", "owner")

    def __init__(
        self, code: LoadedCode, entry: Entry, name: str, parameters: Sequence[str], owner: Any
    ) -> None:
        self.owner = owner
        self._code = code
        self._names = tuple(sys.intern(p) for p in parameters)  # the table has their addresses
        self._signature = code.address("tdsl_signature")
        self._describe(entry)
        flags = METH_FASTCALL | METH_KEYWORDS
        label = name.encode()
        self._call = _MethodDef(label, code.address("tdsl_call"), flags, None)
        self._again = _MethodDef(label, code.address("tdsl_again"), flags, None)

    def _describe(self, entry: Entry) -> None:
        """Fill the signature's words that hold addresses."""
        header = (ctypes.c_int64 * table.HEADER).from_address(self._signature)
        header[table.RUN] = self._code.address("tdsl_run")
        header[table.ARENA] = self._code.address("tdsl_arena")
        header[table.BIND] = self._code.address("tdsl_bind")
        header[table.ENTER] = entry.enter
        values = header[table.PARAMS] + header[table.OUTPUTS]
        records = (ctypes.c_int64 * (values * table.RECORD)).from_address(
            self._signature + 8 * table.HEADER
        )
        for k in range(values):
            dtype = entry.dtypes[records[k * table.RECORD + table.DTYPE]]
            records[k * table.RECORD + table.DTYPE] = id(dtype)
            records[k * table.RECORD + table.SCALAR] = id(dtype.type)
        for k, name in enumerate(self._names):
            records[k * table.RECORD + table.NAME] = id(name)
        weakref.finalize(self, entry.release, self._signature).atexit = False

    @property
    def callable(self) -> Callable[..., Any]:
        """The builtin: checks its arguments natively, leaves what it refuses to the slow path."""
        return self._builtin(self._call)

    @property
    def converted(self) -> Callable[..., Any]:
        """The builtin for arguments that the slow path has converted."""
        return self._builtin(self._again)

    def _builtin(self, definition: _MethodDef) -> Callable[..., Any]:
        made: Callable[..., Any] = _new_builtin(ctypes.addressof(definition), self, None)
        return made


# --------------------------------------------------------------------------- the shared entry


class Entry:
    """The loaded entry code with its table filled: one per process."""

    def __init__(
        self, code: LoadedCode, slow: Callable[..., Any], fail: Callable[..., Any]
    ) -> None:
        _check_layouts()
        self.code = code
        self.dtypes = [np.dtype(d.numpy) for d in STRONG]
        self._kept = (slow, fail)
        self._handler = _Handler(code)
        objects: dict[str, int | None] = {
            "array_flags": _numpy_function(table.UPDATE_FLAGS),
            "array_new": _numpy_function(table.NEW_FROM_DESCR),
            "fail": id(fail),
            "false": id(False),
            "float": id(float),
            "handler": id(self._handler.capsule),
            "madvise": _madvise(),
            "int": id(int),
            "ndarray": id(np.ndarray),
            "slow": id(slow),
            "true": id(True),
        }
        pointers: list[int | None] = [
            _address(getattr(ctypes.pythonapi, name)) for name in table.C_FUNCTIONS
        ]
        pointers += [objects[name] for name in table.OBJECTS]
        slots = (ctypes.c_void_p * len(pointers)).from_address(code.address("tdsl_table"))
        for slot, value in enumerate(pointers):
            slots[slot] = value
        self.enter = code.address("tdsl_enter")
        self._free = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("tdsl_release"))

    def in_a_block(self, make: Callable[[], Array]) -> Array:
        """The array that `make` makes, in memory of the kind that large results have."""
        before = _set_handler(self._handler.capsule)
        try:
            return make()
        finally:
            _set_handler(before)

    def release(self, signature: int) -> None:
        """Free the scratch memory that a function has kept."""
        self._free(signature)


class _MemoryHandler(ctypes.Structure):
    """PyDataMem_Handler of NumPy's ndarraytypes.h."""

    _fields_ = (
        ("name", ctypes.c_char * 127),
        ("version", ctypes.c_uint8),
        ("context", ctypes.c_void_p),
        ("malloc", ctypes.c_void_p),
        ("calloc", ctypes.c_void_p),
        ("realloc", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
    )


_new_capsule = ctypes.PYFUNCTYPE(
    ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p
)(("PyCapsule_New", ctypes.pythonapi))


class _Handler:
    """Who frees the memory of large results, as NumPy wants it: a capsule."""

    _NAME = b"mem_handler"

    def __init__(self, code: LoadedCode) -> None:
        functions = [
            code.address(f"tdsl_block_{name}") for name in ("new", "zeros", "renew", "free")
        ]
        self._struct = _MemoryHandler(b"tdsl", 1, None, *functions)
        self.capsule = _new_capsule(ctypes.addressof(self._struct), self._NAME, None)
        # arrays may outlive everything else, to the very end of the process: so must the code
        # that frees them
        for kept in (self._struct, code, self.capsule):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


def _madvise() -> int | None:
    """The address of `madvise` on Linux, which asks for huge pages; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        return _address(ctypes.CDLL(None).madvise)
    except (OSError, AttributeError):
        return None


def _address(function: Any) -> int:
    value = ctypes.cast(function, ctypes.c_void_p).value
    assert value is not None
    return value


def _numpy_function(index: int) -> int:
    """The address of a function in NumPy's C API table."""
    capsule = importlib.import_module("numpy._core._multiarray_umath")._ARRAY_API
    get = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_void_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    base = get(capsule, None)
    value = ctypes.c_void_p.from_address(base + index * table.POINTER).value
    assert value is not None
    return value


_set_handler = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object)(
    _numpy_function(table.SET_HANDLER)
)

_CAPSULE = type(importlib.import_module("numpy._core._multiarray_umath")._ARRAY_API)


def _check_layouts() -> None:
    """Compare the layouts that the entry reads with real objects; RuntimeError where they differ
    (a build of Python or NumPy with another C ABI)."""
    probe = np.zeros((2, 3), np.float32)
    at = id(probe)
    scalar = np.float32(1.5)

    def word(address: int) -> int | None:
        return ctypes.c_void_p.from_address(address).value

    sizes = word(at + table.ARRAY_SIZES) or 0
    known = (
        word(at + table.TYPE_OFFSET) == id(np.ndarray)
        and word(at + table.ARRAY_DATA) == probe.ctypes.data
        and ctypes.c_int.from_address(at + table.ARRAY_RANK).value == 2
        and word(at + table.ARRAY_DTYPE) == id(probe.dtype)
        and ctypes.c_int.from_address(at + table.ARRAY_FLAGS).value & table.ARRAY_READY
        == table.ARRAY_READY
        and (ctypes.c_ssize_t * 2).from_address(sizes)[:] == [2, 3]
        and word((word(at + table.ARRAY_HANDLER) or 0) + table.TYPE_OFFSET) == id(_CAPSULE)
        and ctypes.string_at(id(probe.dtype) + table.DTYPE_KIND, 3) == b"ff="
        and ctypes.c_int.from_address(id(probe.dtype) + table.DTYPE_KIND + 4).value
        == probe.dtype.num
        and ctypes.c_float.from_address(id(scalar) + table.SCALAR_VALUE).value == 1.5
        and ctypes.sizeof(ctypes.c_void_p) == table.POINTER
    )
    if not known:
        raise RuntimeError(
            f"tdsl does not know the memory layout of NumPy {np.__version__}'s arrays on Python "
            f"{sys.version.split()[0]}"
        )
