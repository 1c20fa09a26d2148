"""Memory shared with other libraries: DLPack both ways, the buffer protocol, NumPy's functions.

In: objects that hold numbers; Tensors. Out: Tensors over the same memory, and what the other
library asks for. A write through one side is seen on the other; version counters are not shared,
so reverse mode does not notice a write from outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import dlpack
from . import device as dv
from . import dtype as dt
from .core import Array, TensorBase, kind, of_array, wrap
from .storage import adopted
from .tape import needs_grad

if TYPE_CHECKING:
    from .tensor import Tensor

# --------------------------------------------------------------------------- from others


def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A Tensor over the memory of an object with `__dlpack__`, or of its capsule.

    Raises RuntimeError for anything else and for a capsule that was used before, BufferError for
    another device or elements that Tensors do not have.
    """
    if device is not None:
        dv.require(device)
    if hasattr(ext_tensor, "__dlpack__"):
        array, bfloat16 = dlpack.array_from_capsule(dlpack.capsule_from(ext_tensor))
    else:
        array, bfloat16 = dlpack.array_from_capsule(ext_tensor)
    found = dt.bfloat16 if bfloat16 else dt.OF_NUMPY.get(array.dtype)
    if found is None:
        raise BufferError(f"Tensors have no elements of type {array.dtype.name}")
    if any(s < 0 for s in array.strides):
        raise RuntimeError("Tensors with negative strides are not supported: copy the array")
    out = wrap(adopted(array), kind(found, array.ndim))
    return out.clone() if copy else out


def to_dlpack(tensor: Tensor) -> Any:
    """The capsule of a Tensor's memory."""
    return tensor.__dlpack__()


def frombuffer(
    buffer: Any, *, dtype: dt.dtype, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> Tensor:
    """A vector over the memory of an object with the buffer protocol, its bytes read as `dtype`:
    `count` elements (all if negative) from byte `offset` on.

    Raises ValueError where the buffer does not hold them. The memory of `bytes` stays read-only.
    """
    data = _bytes_of(buffer)
    size, wide = len(data), dtype.itemsize
    if not size or not count:
        raise ValueError(f"both buffer length ({size}) and count ({count}) must not be 0")
    if not 0 <= offset < size:
        raise ValueError(
            f"offset ({offset} bytes) must be non-negative and no greater than buffer length "
            f"({size} bytes) minus 1"
        )
    if count < 0:
        if (size - offset) % wide:
            raise ValueError(
                f"buffer length ({size - offset} bytes) after offset ({offset} bytes) must be a "
                f"multiple of element size ({wide})"
            )
        count = (size - offset) // wide
    if offset + count * wide > size:
        raise ValueError(
            f"requested buffer length ({count} * {wide} bytes) after offset ({offset} bytes) must "
            f"not be greater than actual buffer length ({size} bytes)"
        )
    array = data[offset : offset + count * wide].view(dtype.numpy)
    out = wrap(adopted(array), kind(dtype, 1))
    return out.requires_grad_() if requires_grad else out


def _bytes_of(buffer: Any) -> Array:
    try:
        view = memoryview(buffer)
    except TypeError:
        raise ValueError("object does not implement Python buffer protocol.") from None
    if not view.c_contiguous:
        raise RuntimeError("could not retrieve buffer from object: it is not contiguous")
    return np.frombuffer(view, np.uint8) if view.nbytes else np.empty(0, np.uint8)


def asarray(
    obj: Any,
    *,
    dtype: dt.dtype | None = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool | None = None,
) -> Tensor:
    """A Tensor of `obj`, over its memory where that is possible and `copy` is not True.

    A Tensor, an array, an object with `__dlpack__` keep their dtype; the bytes of a buffer are
    read as `dtype` (or the default); numbers and sequences are copied. Raises ValueError where
    `copy=False` cannot be had.
    """
    from .creation import tensor

    if device is not None:
        dv.require(device)
    shared = _over(obj, dtype)
    if shared is None:
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        return tensor(obj, dtype=dtype, requires_grad=bool(requires_grad))
    out = shared
    if dtype is not None and dtype is not out._kind.dtype:
        if copy is False:
            raise ValueError(f"can't alias tensor with dtype {out._kind.dtype} into dtype {dtype}.")
        out = out.to(dtype)
    if copy and out._array is shared._array:
        out = out.clone()
    if requires_grad is None or requires_grad == needs_grad(out):
        return out
    return out.detach().requires_grad_(requires_grad)


def _over(obj: Any, dtype: dt.dtype | None) -> Tensor | None:
    """A Tensor over the memory of `obj`; None where it has none to share."""
    from .creation import from_array

    if isinstance(obj, TensorBase):
        return obj  # type: ignore[return-value]
    if isinstance(obj, np.ndarray):
        return from_array(obj)
    if hasattr(obj, "__dlpack__") or dlpack.is_capsule(obj):
        return from_dlpack(obj)
    if hasattr(obj, "__array_interface__") and not isinstance(obj, np.generic):
        return from_array(np.asarray(obj))
    try:
        memoryview(obj)
    except TypeError:
        return None
    if isinstance(obj, np.generic):
        return None
    return frombuffer(obj, dtype=dtype or dt.get_default_dtype())


# --------------------------------------------------------------------------- to others


class InteropMethods(TensorBase):
    """What other libraries ask a Tensor for."""

    __slots__ = ()

    #: NumPy's operators leave a Tensor operand to the Tensor.
    __array_priority__ = 1000

    def __dlpack__(
        self,
        *,
        stream: Any = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """A DLPack capsule over this Tensor's memory. Raises BufferError for a Tensor that
        requires grad."""
        if needs_grad(self):  # type: ignore[arg-type]
            raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
        if stream is not None and type(stream) is not int:
            raise TypeError("stream must be ``int`` or ``none``")
        if stream is not None:
            raise AssertionError("stream should be None on cpu.")
        if dl_device is not None and tuple(dl_device) != (dlpack.CPU, 0):
            raise BufferError(f"the tensor is on the CPU, not on DLPack's device {dl_device}")
        return dlpack.capsule_over(
            self._array, self._kind.dtype is dt.bfloat16, max_version=max_version, copy=copy
        )

    def __dlpack_device__(self) -> tuple[int, int]:
        """DLPack's name of the CPU."""
        return dlpack.CPU, 0

    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        array: Array = self.numpy()  # type: ignore[attr-defined]
        if dtype is None and not copy:
            return array
        if copy:
            return np.array(array, dtype=dtype)
        wanted = np.dtype(dtype)
        if copy is not None and wanted != array.dtype:
            raise ValueError("Unable to avoid copy while creating an array as requested.")
        return array.astype(wanted, copy=False)

    def __array_wrap__(self, array: Array, context: Any = None, return_scalar: bool = False) -> Any:
        """The result of a NumPy function of Tensors, as a Tensor where Tensors have its dtype."""
        return of_array(array) if array.dtype in dt.OF_NUMPY else array
