"""DLPack: the protocol by which libraries hand each other tensors without copying.

In: an object with `__dlpack__`, or its capsule. Out: a NumPy array over the same memory, which
keeps the other side's tensor alive. And the way out: a capsule over an array. NumPy's own reader
knows no bfloat16 and marks arrays read-only that are not, hence this one; its writer is used.

The structures are those of dlpack.h 1.1 (https://dmlc.github.io/dlpack), of the CPU alone.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_int32, c_int64, c_uint8, c_uint16, c_uint32, c_uint64
from ctypes import c_void_p as pointer
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

#: kDLCPU, and host memory that CUDA has pinned.
CPU, _PINNED = 1, 3
#: The versions of the protocol that are understood.
VERSION = (1, 0)
_UNSIGNED, _BFLOAT = 1, 4
_CODES = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}  # of DLDataTypeCode, in NumPy's letters
_READ_ONLY = 1


class _Tensor(Structure):
    """DLTensor: DLDevice and DLDataType are spelled out."""

    _fields_ = (
        ("data", pointer),
        ("device", c_int32),
        ("device_index", c_int32),
        ("rank", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("offset", c_uint64),
    )


_Deleter = ctypes.CFUNCTYPE(None, pointer)


class _Managed(Structure):
    """DLManagedTensor."""

    _fields_ = (("tensor", _Tensor), ("context", pointer), ("deleter", _Deleter))


class _Versioned(Structure):
    """DLManagedTensorVersioned."""

    _fields_ = (
        ("major", c_uint32),
        ("minor", c_uint32),
        ("context", pointer),
        ("deleter", _Deleter),
        ("flags", c_uint64),
        ("tensor", _Tensor),
    )


#: The names of capsules: fresh, then taken. Capsules keep pointers to these bytes.
_KINDS: dict[bytes, tuple[bytes, type[_Managed] | type[_Versioned]]] = {
    b"dltensor": (b"used_dltensor", _Managed),
    b"dltensor_versioned": (b"used_dltensor_versioned", _Versioned),
}

_api = ctypes.pythonapi
_is_valid = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_IsValid", _api)
)
_pointer_of = ctypes.PYFUNCTYPE(pointer, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_GetPointer", _api)
)
_rename = ctypes.PYFUNCTYPE(ctypes.c_int, ctypes.py_object, ctypes.c_char_p)(
    ("PyCapsule_SetName", _api)
)


class _Borrowed:
    """Another library's memory as NumPy's array interface describes it; gives it back at last."""

    def __init__(self, managed: _Managed | _Versioned, interface: dict[str, Any]) -> None:
        self.__array_interface__ = interface
        self._managed = managed

    def __del__(self) -> None:
        if self._managed.deleter:
            self._managed.deleter(ctypes.addressof(self._managed))


def is_capsule(value: Any) -> bool:
    """Whether this is a DLPack capsule that was not taken yet."""
    return type(value).__name__ == "PyCapsule" and any(_is_valid(value, k) for k in _KINDS)


def require_cpu(value: Any) -> None:
    """Raise BufferError for the tensor of another device."""
    device = getattr(value, "__dlpack_device__", lambda: (CPU, 0))()
    if int(device[0]) not in (CPU, _PINNED):
        raise BufferError(
            f"the tensor is on another device (DLPack type {int(device[0])}): copy it to the CPU"
        )


def capsule_from(value: Any, copy: bool | None = None) -> Any:
    """The capsule of an object with `__dlpack__`, by the newest protocol that it speaks."""
    require_cpu(value)
    asked = {} if copy is None else {"copy": copy}
    try:
        return value.__dlpack__(max_version=VERSION, **asked)
    except TypeError:
        if copy is not None:
            raise
        return value.__dlpack__()  # of before version 1.0


def array_from_capsule(capsule: Any) -> tuple[Array, bool]:
    """The array over a capsule's memory, and whether its elements are the bits of bfloat16.

    Raises RuntimeError for a capsule that was taken before, BufferError for memory or elements
    that NumPy cannot describe.
    """
    name = next((k for k in _KINDS if _is_valid(capsule, k)), None)
    if name is None:
        raise RuntimeError(
            "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed "
            "only once, so you might have already constructed a tensor from it once."
        )
    taken, kind = _KINDS[name]
    managed = kind.from_address(_pointer_of(capsule, name))
    if isinstance(managed, _Versioned) and managed.major != VERSION[0]:
        raise BufferError(f"DLPack {managed.major}.{managed.minor} is not understood")
    interface = _interface(managed.tensor)
    writable = not (isinstance(managed, _Versioned) and managed.flags & _READ_ONLY)
    interface["data"] = (interface["data"], not writable)
    borrowed = _Borrowed(managed, interface)
    _rename(capsule, taken)  # from here on the memory is given back by `borrowed`
    return np.asarray(borrowed), managed.tensor.code == _BFLOAT


def _interface(t: _Tensor) -> dict[str, Any]:
    """What NumPy's array interface says of a DLTensor."""
    if t.device not in (CPU, _PINNED):
        raise BufferError(f"the tensor is on another device (DLPack type {t.device})")
    letter = "u" if t.code == _BFLOAT else _CODES.get(t.code)
    if letter is None or t.lanes != 1 or t.bits % 8:
        raise BufferError(f"DLPack elements of type ({t.code}, {t.bits}, {t.lanes})")
    size, shape = t.bits // 8, tuple(t.shape[k] for k in range(t.rank))
    strides = tuple(t.strides[k] * size for k in range(t.rank)) if t.strides else None
    # NumPy wants an address even of nothing
    start = (t.data or 0) + t.offset if 0 not in shape else ctypes.addressof(t)
    return {
        "version": 3,
        "shape": shape,
        "typestr": f"{'|' if size == 1 else '='}{letter}{size}".replace("=", _ORDER),
        "strides": strides if 0 not in shape else None,
        "data": start,
    }


_ORDER = np.dtype(np.int64).str[0]


def capsule_over(array: Array, bfloat16: bool, **options: Any) -> Any:
    """A capsule over an array's memory. Raises BufferError for a read-only array, unless a
    version that can say so is asked for."""
    options = {k: v for k, v in options.items() if v is not None}
    try:
        capsule = array.__dlpack__(**options)
    except TypeError:
        if options.get("copy"):
            array = array.copy()
        capsule = array.__dlpack__()  # NumPy before 2.1
    if bfloat16:
        name = next(k for k in _KINDS if _is_valid(capsule, k))
        managed = _KINDS[name][1].from_address(_pointer_of(capsule, name))
        assert managed.tensor.code == _UNSIGNED
        managed.tensor.code = _BFLOAT
    return capsule
