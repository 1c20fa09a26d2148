"""What the native entry and its loader agree on.

Object code holds no address of the process it runs in, so that it can be stored and loaded
anywhere: every C function and Python object that the entry needs is read from tables that the
loader fills. `tdsl_table` is that of the entry code, which all functions share; `tdsl_signature`
describes one function. This file states their order, and the layouts of the objects that the
entry reads.

Layouts: `PyObject` ends with the type pointer, in every build of CPython; `PyArrayObject_fields`
and the array scalars are part of NumPy's C ABI (ndarraytypes.h, arrayscalars.h), which its macros
compile into every extension. The loader checks them against real objects before first use.
"""

from __future__ import annotations

import platform
import sys

from .dtypes import BF16, DType

POINTER = 8
HEAD = object.__basicsize__  # bytes of a PyObject's header
TYPE_OFFSET = HEAD - POINTER

# PyArrayObject_fields
ARRAY_DATA = HEAD
ARRAY_RANK = HEAD + 8  # an int
ARRAY_SIZES = HEAD + 16
ARRAY_DTYPE = HEAD + 40
ARRAY_FLAGS = HEAD + 48  # an int
ARRAY_HANDLER = HEAD + 72  # the capsule of who frees the data (NEP 49)
# PyArray_Descr's kind, type, byte order, a byte that is not used, and type number (an int): they
# say all of a builtin dtype, of which there may be copies (an unpickled array has its own)
DTYPE_KIND = HEAD + 8
DTYPE_UNUSED = 0xFF << (24 if sys.byteorder == "little" else 32)

ARRAY_READY = 0x0001 | 0x0100  # C-contiguous, aligned
ARRAY_OWNED = 0x0004  # frees its data
ARRAY_WRITABLE = 0x0400
ARRAY_LAYOUT = 0x0001 | 0x0002 | 0x0100  # what follows from sizes and strides

# an array scalar's value
SCALAR_VALUE = HEAD

# places in NumPy's table of C functions: PyArray_UpdateFlags, PyArray_NewFromDescr,
# PyDataMem_SetHandler
UPDATE_FLAGS, NEW_FROM_DESCR, SET_HANDLER = 92, 94, 304

C_FUNCTIONS = (
    "PyBool_FromLong",
    "PyDict_New",
    "PyDict_SetItem",
    "PyErr_Clear",
    "PyErr_NoMemory",
    "PyErr_Occurred",
    "PyEval_RestoreThread",
    "PyEval_SaveThread",
    "PyFloat_AsDouble",
    "PyFloat_FromDouble",
    "PyFloat_Pack2",
    "PyFloat_Unpack2",
    "PyLong_AsDouble",
    "PyLong_AsLongLong",
    "PyLong_FromLongLong",
    "PyMem_RawFree",
    "PyMem_RawMalloc",
    "PyMem_RawRealloc",
    "PyObject_CallFunctionObjArgs",
    "PyTuple_GetItem",
    "PyTuple_New",
    "PyTuple_SetItem",
    "PyTuple_Size",
    "Py_DecRef",
    "Py_IncRef",
)
OBJECTS = (
    "array_flags", "array_new", "fail", "false", "float", "handler", "int", "madvise", "ndarray",
    "slow", "true",
)  # fmt: skip

SLOT: dict[str, int] = {name: k for k, name in enumerate((*C_FUNCTIONS, *OBJECTS))}

# `tdsl_signature` of one function: words of 64 bits. First a header …
(
    PARAMS,  # how many parameters
    OUTPUTS,  # how many outputs
    RETURNS_TUPLE,
    ARRAYS,  # whether a result without axes is an array, too, not a Python number
    PARAM_AXES,  # the ranks of all parameters together
    OUTPUT_AXES,
    DIMS,  # how many named dims
    RUN,  # address of tdsl_run; the loader fills in addresses
    ARENA,
    BIND,
    ENTER,  # address of the entry shared by all functions
    SCRATCH,  # the kept block of scratch memory
    DONATED,  # how many parameters' memory outputs take
    HEADER,  # words of the header
) = range(14)
# … then a record for every parameter and every output
(
    NAME,  # the parameter's interned name
    RANK,
    KIND,
    BITS,
    DTYPE,  # the number of the dtype in STRONG; the loader puts NumPy's dtype object there
    SCALAR,  # NumPy's scalar type
    PLACE,  # of an output: 1 + the parameter in whose place it stands, or 0; and the reverse
    RECORD,  # words of a record
) = range(8)

FLOAT, SIGNED, UNSIGNED, BOOLEAN, BRAIN_FLOAT = range(5)  # values of KIND


def kind_of(dtype: DType) -> int:
    """How a Python number becomes a value of `dtype`, and back."""
    if dtype is BF16:
        return BRAIN_FLOAT
    return {"f": FLOAT, "i": SIGNED, "u": UNSIGNED, "b": BOOLEAN}[dtype.kind]


# the fork-join pool's symbols (`fork_join`), and where its words stand
POOL_THREADS = "tdsl_threads"
POOL = (POOL_THREADS, "tdsl_parallel", "tdsl_share", "tdsl_pool")
POOL_WORDS, POOL_STOP = 32, 6

# the number of Linux' futex system call, by machine
FUTEX = {"x86_64": 202, "amd64": 202, "aarch64": 98, "arm64": 98}


def workers_can_sleep() -> bool:
    """Whether there are futexes here; without them there are no workers."""
    return platform.system() == "Linux" and platform.machine().lower() in FUTEX


# what functions with large contractions share (`packed_blocks`), by what is compiled together: the
# products of panels, by vectors or by matrix tiles, those of panels and strips or what is read at
# places, and what is done with plain operands
ROUTINES = {
    **{
        f"products {element}": (f"tdsl_contract_{element}", f"tdsl_contract_rows_{element}")
        for element in ("f32", "f64")  # the others are packed as f32
    },
    "tiles bf16": ("tdsl_contract_bf16", "tdsl_contract_rows_bf16"),
    **{f"strips {element}": (f"tdsl_multiply_strip_{element}",) for element in ("f32", "f64")},
    **{
        f"places {element}": (f"tdsl_multiply_places_{element}", f"tdsl_turn_{element}")
        for element in ("f32", "f64")
    },
    **{
        f"plain {element}": (
            *(
                f"tdsl_pack_{side}{how}_{element}"
                for side in ("left", "right")
                for how in ("", "_transposed")
            ),
            f"tdsl_direct_{element}",
            f"tdsl_direct_transposed_{element}",
        )
        for element in ("f32", "f64", "f16", "bf16")
    },
}
CALLED = {"tiles bf16": ("products f32",)}  # by others
