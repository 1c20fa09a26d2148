"""Element types as Tensors name them, and their promotion.

In: rows of the compiler's dtype table. Out: `tdsl.float32` and its like, PyTorch's promotion of
dtypes, and the default dtypes. NumPy has no bfloat16: such elements are held as their bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...compiler import dtypes as c


class dtype:
    """An element type: `tdsl.float32` and its like."""

    __slots__ = ("compiled", "is_complex", "is_floating_point", "is_signed", "name", "numpy")

    def __init__(self, name: str, compiled: c.DType) -> None:
        self.name = name
        self.compiled = compiled
        self.numpy = np.dtype(compiled.numpy)
        self.is_floating_point = compiled.is_float
        self.is_signed = compiled.kind in "fi"
        self.is_complex = False

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return self.compiled.size

    def to_real(self) -> dtype:
        """The dtype of the real part: itself."""
        return self

    def __repr__(self) -> str:
        return f"tdsl.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return named, (self.name,)


float16, bfloat16 = dtype("float16", c.F16), dtype("bfloat16", c.BF16)
float32, float64 = dtype("float32", c.F32), dtype("float64", c.F64)
int8, int16 = dtype("int8", c.I8), dtype("int16", c.I16)
int32, int64 = dtype("int32", c.I32), dtype("int64", c.I64)
uint8, bool_ = dtype("uint8", c.U8), dtype("bool", c.BOOL)

DTYPES = (float16, bfloat16, float32, float64, int8, int16, int32, int64, uint8, bool_)
#: PyTorch's other names.
ALIASES = {
    "half": float16, "float": float32, "double": float64,
    "short": int16, "int": int32, "long": int64,
}  # fmt: skip
_BY_NAME = {d.name: d for d in DTYPES}
OF_COMPILED = {d.compiled: d for d in DTYPES}
OF_NUMPY = {d.numpy: d for d in DTYPES if d is not bfloat16}


def named(name: str) -> dtype:
    """The dtype of that name."""
    return _BY_NAME[name]


def of_array(array: np.ndarray[Any, Any]) -> dtype:
    """The dtype of an array's elements. Raises TypeError for one that Tensors do not have."""
    found = OF_NUMPY.get(array.dtype)
    if found is None:
        if array.dtype.name == "bfloat16":  # of the package ml_dtypes
            return bfloat16
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{array.dtype.name}. The only supported types "
            "are: float64, float32, float16, int64, int32, int16, int8, uint8, and bool."
        )
    return found


# --------------------------------------------------------------------------- defaults

_default = [float32]
#: Called when the default dtype has changed: what was compiled for the former is no longer meant.
WHEN_DEFAULT_CHANGES: list[Callable[[], None]] = []


def get_default_dtype() -> dtype:
    """The dtype of Python floats: float32 unless `set_default_dtype` said otherwise."""
    return _default[0]


def set_default_dtype(d: dtype) -> None:
    """Make `d` the dtype of Python floats. Raises TypeError unless `d` is a floating-point
    dtype."""
    if not isinstance(d, dtype):
        raise TypeError("invalid dtype object: only floating-point types are supported as the "
                        "default type")  # fmt: skip
    if not d.is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    if d is not _default[0]:
        _default[0] = d
        for forget in WHEN_DEFAULT_CHANGES:
            forget()


def of_number(value: Any) -> dtype:
    """The dtype that a Python number becomes on its own."""
    if isinstance(value, bool | np.bool_):
        return bool_
    return int64 if isinstance(value, int | np.integer) else _default[0]


# --------------------------------------------------------------------------- promotion


def promote_types(a: dtype, b: dtype) -> dtype:
    """The smallest dtype to which both convert, by PyTorch's table."""
    return OF_COMPILED[c.promote(a.compiled, b.compiled)]


def category(d: dtype) -> int:
    """0 for bool, 1 for integers, 2 for floats."""
    return 2 if d.is_floating_point else 0 if d is bool_ else 1


def promoted(sized: list[dtype], unsized: list[dtype], numbers: list[dtype]) -> dtype:
    """PyTorch's rule: tensors with dims decide; tensors without dims, then Python numbers, count
    only if of a higher category. `numbers` holds the dtypes of Python numbers."""
    found: dtype | None = None
    for level in (sized, unsized, numbers):
        if not level:
            continue
        here = level[0]
        for d in level[1:]:
            here = promote_types(here, d)
        if found is None or category(here) > category(found):
            found = here
    assert found is not None
    return found


def can_cast(source: dtype, target: dtype) -> bool:
    """Whether a result of dtype `source` may be written to elements of dtype `target`."""
    return category(source) <= category(target)


# --------------------------------------------------------------------------- limits


class finfo:
    """Limits of a floating-point dtype: `bits eps max min tiny smallest_normal resolution`."""

    def __init__(self, type: dtype | None = None) -> None:
        d = type or get_default_dtype()
        if not d.is_floating_point:
            raise TypeError(
                f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle "
                f"'{d}'".replace("torch.", "tdsl.")
            )
        self.dtype, self.bits = d.name, d.compiled.bits
        if d is bfloat16:
            self.eps, self.tiny = 2.0**-7, 2.0**-126
            self.max, self.resolution = (2 - 2.0**-7) * 2.0**127, 0.01
        else:
            info = np.finfo(d.numpy)
            self.eps, self.tiny = float(info.eps), float(info.tiny)
            self.max, self.resolution = float(info.max), float(info.resolution)
        self.min, self.smallest_normal = -self.max, self.tiny

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo:
    """Limits of an integer dtype: `bits max min`."""

    def __init__(self, type: dtype) -> None:
        if category(type) != 1:
            raise TypeError(
                f"tdsl.iinfo() requires an integer input type. Use tdsl.finfo to handle '{type}'"
            )
        info = np.iinfo(type.numpy)
        self.dtype, self.bits = type.name, int(info.bits)
        self.min, self.max = int(info.min), int(info.max)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"
