"""New Tensors: from data, filled, ranges.

In: Python numbers, nested lists, arrays, sizes. Out: leaf Tensors. Elements that are only laid
down (zeros, a value, a range) are NumPy's business; random ones are in `random_tensors`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import blocks
from . import device as dv
from . import dtype as dt
from .bfloat16 import bfloat16_bits
from .core import Array, TensorBase, kind, wrap
from .storage import dense
from .views import sizes_of

if TYPE_CHECKING:
    from .tensor import Tensor


def finished(
    array: Array, dtype: dt.dtype, requires_grad: bool = False, device: Any = None
) -> Tensor:
    """A leaf over `array`, whose elements are of `dtype`."""
    if device is not None:
        dv.require(device)
    out = wrap(array, kind(dtype, array.ndim))
    if requires_grad:
        out.requires_grad_()
    return out


def encoded(array: Array, dtype: dt.dtype) -> Array:
    """The values of `array` as memory of `dtype`."""
    if dtype is dt.bfloat16:
        return bfloat16_bits(array)
    with np.errstate(all="ignore"):
        return array.astype(dtype.numpy, order="C", copy=False)


# --------------------------------------------------------------------------- from data


def tensor(
    data: Any,
    *,
    dtype: dt.dtype | None = None,
    device: Any = None,
    requires_grad: bool = False,
    pin_memory: bool = False,
) -> Tensor:
    """A new leaf with a copy of `data` (numbers, nested lists, arrays, Tensors).

    Python floats become the default dtype, ints int64, bools bool, unless `dtype` says otherwise;
    an array keeps its dtype. Raises ValueError for ragged lists, TypeError for other data,
    RuntimeError where `requires_grad` meets a dtype without gradients or a value does not fit.
    """
    if device is not None:
        dv.require(device)
    dtype = checked_dtype("tensor", dtype)
    if isinstance(data, TensorBase):
        out: Tensor = data.detach().clone()  # type: ignore[attr-defined]
        out = out if dtype is None else out.to(dtype)
    elif isinstance(data, np.ndarray | np.generic):
        out = _of_array(np.asarray(data), dtype)
    elif hasattr(data, "__dlpack__"):
        from .interop import from_dlpack

        out = from_dlpack(data, copy=True)
        out = out if dtype is None else out.to(dtype)
    elif hasattr(data, "__array_interface__"):
        out = _of_array(np.array(data), dtype)
    elif isinstance(data, bytes):
        raise TypeError("new(): invalid data type 'bytes'")
    else:
        out = _of_lists(data, dtype)
    return out.requires_grad_() if requires_grad else out


_PYTHON_TYPES = {float: dt.float64, int: dt.int64, bool: dt.bool_}


def checked_dtype(name: str, dtype: Any) -> dt.dtype | None:
    """A `dtype` argument; Python's types count as their widest. Raises TypeError for others."""
    if dtype is None or isinstance(dtype, dt.dtype):
        return dtype
    if isinstance(dtype, type) and dtype in _PYTHON_TYPES:
        return _PYTHON_TYPES[dtype]
    raise TypeError(f"{name}(): argument 'dtype' must be tdsl.dtype, not {type(dtype).__name__}")


def _of_array(array: Array, dtype: dt.dtype | None) -> Tensor:
    if array.dtype.byteorder in "<>" and not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    found = dt.of_array(array)
    out = finished(blocks.copied(array.view(found.numpy)), found)
    return out if dtype is None else out.to(dtype)


def _of_lists(data: Any, dtype: dt.dtype | None) -> Tensor:
    if isinstance(data, list | tuple) and data and isinstance(data[0], np.ndarray) and data[0].ndim:
        return _of_array(np.array(data), dtype)
    shape: list[int] = []
    level = data
    while isinstance(level, list | tuple) or (
        isinstance(level, Sequence) and not isinstance(level, str | bytes)
    ):
        shape.append(len(level))
        if len(shape) > 64:
            raise ValueError("too many dimensions 'list'")
        if not level:
            break
        level = level[0]
    if isinstance(level, str) and shape:
        raise ValueError("too many dimensions 'str'")
    flat: list[Any] = []
    kinds: set[type] = set()
    _flatten(data, shape, 0, flat, kinds)
    found = dtype or _inferred_dtype(kinds)
    return finished(_filled(flat, found).reshape(shape), found)


def _flatten(data: Any, shape: list[int], level: int, flat: list[Any], kinds: set[type]) -> None:
    """The numbers of nested lists in order. Raises ValueError where the lists are ragged."""
    if level == len(shape):
        if isinstance(data, TensorBase):
            if data._array.size != 1:
                raise ValueError("only one element tensors can be converted to Python scalars")
            kinds.add(_python_type(data))
            flat.append(data.item())  # type: ignore[attr-defined]
            return
        value = data.item() if isinstance(data, np.generic) else data
        if isinstance(value, np.ndarray) and value.ndim == 0:
            value = value.item()
        if isinstance(value, list | tuple):
            raise TypeError(
                f"'{type(value).__name__}' object at dim {level} cannot be interpreted as a number"
            )
        if not isinstance(value, bool | int | float):
            if isinstance(value, str):
                raise TypeError("new(): invalid data type 'str'")
            raise RuntimeError(f"Could not infer dtype of {type(value).__name__}")
        kinds.add(type(data) if isinstance(data, np.floating) else type(value))
        flat.append(value)
        return
    if not isinstance(data, Sequence | np.ndarray | TensorBase) or isinstance(data, str):
        raise TypeError(f"not a sequence: {type(data).__name__}")
    parts: Any = data
    if len(parts) != shape[level]:
        raise ValueError(
            f"expected sequence of length {shape[level]} at dim {level} (got {len(parts)})"
        )
    for d in parts:
        _flatten(d, shape, level + 1, flat, kinds)


def _python_type(t: Any) -> type:
    d = t._kind.dtype
    return float if d.is_floating_point else bool if d is dt.bool_ else int


def _inferred_dtype(kinds: set[type]) -> dt.dtype:
    if not kinds:
        return dt.get_default_dtype()
    if any(issubclass(k, float | np.floating) for k in kinds):
        return dt.get_default_dtype()
    return dt.bool_ if kinds == {bool} else dt.int64


def _filled(flat: list[Any], dtype: dt.dtype) -> Array:
    """Numbers as an array. Raises RuntimeError for an integer that does not fit."""
    if dtype.is_floating_point:
        try:
            return encoded(np.array(flat, np.float64), dtype)
        except OverflowError:
            raise RuntimeError("value cannot be converted to a floating-point number") from None
    if dtype is dt.bool_:
        return np.array([bool(v) for v in flat], np.bool_)
    info = np.iinfo(dtype.numpy)
    whole = []
    for v in flat:
        if isinstance(v, float) and not math.isfinite(v):
            raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
        n = int(v)
        if not info.min <= n <= info.max:
            if not -(1 << 63) <= n < 1 << 63:
                raise ValueError("Overflow when unpacking long long")
            raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")
        whole.append(n)
    return np.array(whole, dtype.numpy)


def as_tensor(data: Any, dtype: dt.dtype | None = None, device: Any = None) -> Tensor:
    """A Tensor of `data`, sharing its memory where dtype and kind allow it."""
    if device is not None:
        dv.require(device)
    if isinstance(data, TensorBase):
        return data if dtype is None else data.to(dtype)  # type: ignore[attr-defined, return-value]
    if isinstance(data, np.ndarray):
        out = from_array(data)
    elif hasattr(data, "__dlpack__"):
        from .interop import from_dlpack

        out = from_dlpack(data)
    else:
        return tensor(data, dtype=dtype)
    return out if dtype is None else out.to(dtype)


def from_numpy(ndarray: Array) -> Tensor:
    """A Tensor over an array's memory. Raises TypeError for foreign elements, ValueError for
    negative strides."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    return from_array(ndarray)


def from_array(array: Array) -> Tensor:
    """A Tensor that shares an array's memory."""
    from .storage import adopted

    if not array.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion "
            "between byte orders is currently not supported."
        )
    found = dt.of_array(array)
    if any(s < 0 for s in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array  with array.copy().) "
        )
    if any(s % array.itemsize for s in array.strides):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size. Copy the numpy "
            "array to reallocate the memory."
        )
    # a view even of the same dtype: NumPy has several objects for one (after unpickling, or for C's
    # `long` and `long long`), and native code knows one of them
    return wrap(adopted(array.view(found.numpy)), kind(found, array.ndim))


# --------------------------------------------------------------------------- filled


def _shape(size: Sequence[Any]) -> tuple[int, ...]:
    found = sizes_of(size)
    for n in found:
        if n < 0:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {n}: {list(found)}"
            )
    if math.prod(found) > (1 << 60):
        raise RuntimeError(
            f"[enforce fail] tensors of sizes {list(found)} do not fit into any memory"
        )
    return found


def _default(dtype: Any) -> dt.dtype:
    return checked_dtype("empty", dtype) or dt.get_default_dtype()


def _made(make: Any, shape: tuple[int, ...], dtype: dt.dtype) -> Array:
    try:
        return make(shape, dtype.numpy)
    except (MemoryError, ValueError):
        size = math.prod(shape) * dtype.itemsize
        raise MemoryError(
            f"not enough memory: you tried to allocate {size} bytes for sizes {list(shape)}"
        ) from None


def empty(*size: Any, dtype: dt.dtype | None = None, device: Any = None,
          requires_grad: bool = False, memory_format: Any = None, layout: Any = None,
          pin_memory: bool = False, **named: Any) -> Tensor:  # fmt: skip
    """Elements of any value."""
    d = _default(dtype)
    return finished(_made(blocks.empty, sizes("empty", size, named), d), d, requires_grad, device)


def zeros(*size: Any, dtype: dt.dtype | None = None, device: Any = None,
          requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
          **named: Any) -> Tensor:  # fmt: skip
    """All 0."""
    d = _default(dtype)
    return finished(_made(np.zeros, sizes("zeros", size, named), d), d, requires_grad, device)


def ones(*size: Any, dtype: dt.dtype | None = None, device: Any = None,
         requires_grad: bool = False, layout: Any = None, pin_memory: bool = False,
         **named: Any) -> Tensor:  # fmt: skip
    """All 1."""
    return full(sizes("ones", size, named), 1, dtype=_default(dtype), device=device,
                requires_grad=requires_grad)  # fmt: skip


def full(size: Any, fill_value: Any, *, dtype: dt.dtype | None = None, device: Any = None,
         requires_grad: bool = False) -> Tensor:  # fmt: skip
    """All `fill_value`, whose kind decides the dtype unless it is stated."""
    if isinstance(fill_value, TensorBase):
        dtype = dtype or fill_value._kind.dtype
        fill_value = fill_value.item()  # type: ignore[attr-defined]
    d = dtype or dt.of_number(fill_value)
    out = _made(blocks.empty, _shape([size] if not isinstance(size, int) else (size,)), d)
    try:
        out[...] = _filled([fill_value], d)[0]
    except ValueError:
        raise RuntimeError(f"value cannot be converted to type {d.name} without overflow") from None
    return finished(out, d, requires_grad, device)


def sizes(name: str, size: tuple[Any, ...], named: dict[str, Any]) -> tuple[int, ...]:
    """The sizes that `name(2, 3)`, `name((2, 3))` or `name(size=(2, 3))` was given."""
    if "size" in named:
        size = (*size, named.pop("size"))
    if named:
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(named))}'")
    if not size:
        raise TypeError(f"{name}() received an invalid combination of arguments - got ()")
    return _shape(size)


def _like(t: Tensor, dtype: dt.dtype | None, memory_format: Any = None) -> tuple[Array, dt.dtype]:
    """Memory laid out as `t`'s elements are where those are dense, in order where they are not."""
    d = dtype or t._kind.dtype
    array = t._array
    kept = not array.flags.c_contiguous and memory_format is None and dense(array)
    return np.empty_like(array, d.numpy, order="K" if kept else "C"), d


def zeros_like(input: Tensor, *, dtype: dt.dtype | None = None, device: Any = None,
               layout: Any = None, requires_grad: bool = False,
               memory_format: Any = None) -> Tensor:  # fmt: skip
    """All 0, in the shape and dtype of another Tensor."""
    return full_like(input, 0, dtype=dtype, device=device, requires_grad=requires_grad,
                     memory_format=memory_format)  # fmt: skip


def ones_like(input: Tensor, *, dtype: dt.dtype | None = None, device: Any = None,
              layout: Any = None, requires_grad: bool = False,
               memory_format: Any = None) -> Tensor:  # fmt: skip
    """All 1, in the shape and dtype of another Tensor."""
    return full_like(input, 1, dtype=dtype, device=device, requires_grad=requires_grad,
                     memory_format=memory_format)  # fmt: skip


def full_like(input: Tensor, fill_value: Any, *, dtype: dt.dtype | None = None,
              device: Any = None, layout: Any = None, requires_grad: bool = False,
              memory_format: Any = None) -> Tensor:  # fmt: skip
    """All `fill_value`, in the shape and dtype of another Tensor."""
    out, d = _like(input, dtype, memory_format)
    out[...] = _filled([fill_value], d)[0]
    return finished(out, d, requires_grad, device)


def empty_like(input: Tensor, *, dtype: dt.dtype | None = None, device: Any = None,
               layout: Any = None, requires_grad: bool = False,
               memory_format: Any = None) -> Tensor:  # fmt: skip
    """Elements of any value, in the shape and dtype of another Tensor."""
    out, d = _like(input, dtype, memory_format)
    return finished(out, d, requires_grad, device)


def eye(n: int, m: int | None = None, *, dtype: dt.dtype | None = None, device: Any = None,
        requires_grad: bool = False) -> Tensor:  # fmt: skip
    """1 where row and column are equal, else 0."""
    rows, columns = _shape((n, n if m is None else m))
    d = _default(dtype)
    return finished(encoded(np.eye(rows, columns), d), d, requires_grad, device)


# --------------------------------------------------------------------------- ranges


def arange(start: Any, end: Any = None, step: Any = 1, *, dtype: dt.dtype | None = None,
           device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """`start`, `start + step`, … below `end`; one argument is the end."""
    if end is None:
        start, end = 0, start
    start, end, step = map(_plain, (start, end, step))
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not all(math.isfinite(v) for v in (start, end, step)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (end - start) * step < 0:
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    whole = all(isinstance(v, int | np.integer) for v in (start, end, step))
    d = dtype or (dt.int64 if whole else dt.get_default_dtype())
    count = (
        max(0, math.ceil((end - start) / step)) if not whole else max(0, -((start - end) // step))
    )
    if count > 1 << 50:
        raise MemoryError(f"not enough memory for {count} elements")
    wide = np.int64 if whole or not d.is_floating_point else np.float64
    values = np.arange(count, dtype=wide)
    found = (
        start + values * step
        if wide is np.float64 or whole
        else (np.trunc(start + np.arange(count) * step))
    )
    return finished(encoded(np.asarray(found), d), d, requires_grad, device)


def _plain(value: Any) -> Any:
    """A number, perhaps given as a Tensor."""
    return value.item() if isinstance(value, TensorBase) else value  # type: ignore[attr-defined]


def linspace(start: Any, end: Any, steps: int, *, dtype: dt.dtype | None = None,
             device: Any = None, requires_grad: bool = False) -> Tensor:  # fmt: skip
    """`steps` numbers from `start` to `end`, both included."""
    start, end = (v.item() if isinstance(v, TensorBase) else v for v in (start, end))  # type: ignore[attr-defined]
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    if steps > 1 << 50:
        raise RuntimeError(f"Storage size calculation overflowed with sizes=[{steps}]")
    d = _default(dtype)
    return finished(encoded(_spaced(start, end, steps, d), d), d, requires_grad, device)


def _spaced(start: float, end: float, steps: int, d: dt.dtype) -> Array:
    """From both ends towards the middle, in the dtype's precision, so that the ends are exact."""
    wide: Any = np.float32 if d in (dt.float32, dt.float16, dt.bfloat16) else np.float64
    if steps == 1:
        return np.array([start], wide)
    step = wide((end - start) / wide(steps - 1)) if steps > 1 else wide(0)
    k = np.arange(steps)
    low = wide(start) + step * k.astype(wide)
    high = wide(end) - step * (steps - 1 - k).astype(wide)
    return np.where(k < steps // 2, low, high)


def logspace(start: Any, end: Any, steps: int, base: float = 10.0, *,
             dtype: dt.dtype | None = None, device: Any = None,
             requires_grad: bool = False) -> Tensor:  # fmt: skip
    """`base` to the powers that `linspace` gives."""
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    d = _default(dtype)
    exponents = np.linspace(float(start), float(end), steps)
    return finished(encoded(np.power(float(base), exponents), d), d, requires_grad, device)


def tril_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """The row and column of every element on and below a diagonal."""
    return finished(np.stack(np.tril_indices(row, offset, col)).astype(np.int64), dt.int64)


def triu_indices(row: int, col: int, offset: int = 0) -> Tensor:
    """The row and column of every element on and above a diagonal."""
    return finished(np.stack(np.triu_indices(row, offset, col)).astype(np.int64), dt.int64)
