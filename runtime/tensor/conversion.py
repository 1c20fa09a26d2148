"""Other dtypes and devices, Python numbers, arrays: what leaves and enters a Tensor.

In: a Tensor. Out: a Tensor of another dtype (compiled, recorded), numbers, lists, an array over
the same memory.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from . import core
from . import device as dv
from . import dtype as dt
from .bfloat16 import bfloat16_values
from .core import Array, TensorBase, kind, wrap
from .kernels import Kernel
from .modes import mode
from .saved import type_name
from .tape import edge_of, needs_grad
from .views import ToCopyBackward0

if TYPE_CHECKING:
    from ...compiler.graph import Function
    from .tensor import Tensor


@functools.cache
def _cast(source: dt.dtype, target: dt.dtype) -> Kernel:
    """The kernel that converts the elements of a vector."""

    def graph() -> Function:
        from ...compiler import graph as g
        from ...compiler import index_lambda as il
        from ...compiler.dims import named

        scope = g.Scope()
        with scope.active():
            x = g.make_input("x0", 0, source.compiled, [named("d0")])
            out = il.materialize(il.cast(il.of_node(x), target.compiled))
            return g.Function("cast", (x,), (out,), False, scope=scope)

    return Kernel(f"cast {source.compiled} to {target.compiled}", graph)


def converted(array: Array, source: dt.dtype, target: dt.dtype) -> Array:
    """The elements as another dtype, in new memory."""
    flat = (
        np.array(array, order="C").reshape(-1)
        if not array.flags.c_contiguous
        else (array.reshape(-1))
    )
    out: Array = _cast(source, target).native(flat)
    if out is None:
        out = _cast(source, target).native(flat.copy())
    return out.reshape(array.shape)


def to_dtype(t: Tensor, target: dt.dtype) -> Tensor:
    """`t` as another dtype; the gradient comes back in `t`'s."""
    source = t._kind.dtype
    out = wrap(converted(t._array, source, target), kind(target, t._kind.rank))
    if mode.grad and target.is_floating_point and needs_grad(t):
        out._grad_fn = ToCopyBackward0(edge_of(t), lambda g: g.to(source))
        out._requires_grad = True
    return out


def _wanted(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, bool, bool]:
    """The dtype (or None), whether to copy in any case, after the device was checked."""
    target = kwargs.pop("dtype", None)
    copy = bool(kwargs.pop("copy", False))
    kwargs.pop("non_blocking", None)
    kwargs.pop("memory_format", None)
    device = kwargs.pop("device", None)
    other = kwargs.pop("other", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument '{next(iter(kwargs))}'")
    for a in (*args, *([other] if other is not None else [])):
        if isinstance(a, TensorBase):
            target = a._kind.dtype
        elif isinstance(a, dt.dtype):
            target = a
        elif isinstance(a, str | dv.device | int) and not isinstance(a, bool):
            device = a
        elif isinstance(a, bool):
            copy = copy or a
        elif a is not None:
            raise TypeError(
                f"to() received an invalid combination of arguments - got ({type(a).__name__})"
            )
    if device is not None:
        dv.require(device)
    return target, copy, True


class ConversionMethods(TensorBase):
    """Conversions as methods."""

    __slots__ = ()

    def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """In another dtype, on another device, or both as another Tensor; itself if nothing
        changes (and `copy` is not asked for)."""
        target, copy, _ = _wanted(args, dict(kwargs))
        if target is not None and target is not self._kind.dtype:
            return to_dtype(self, target)
        return self.clone() if copy else self

    def type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
        """The name of the type (`tdsl.FloatTensor`), or `to(dtype)`."""
        if dtype is None:
            return type_name(self._kind)
        return self.to(dtype)

    def type_as(self: Tensor, other: Tensor) -> Tensor:
        """`to(other.dtype)`."""
        return self.to(other._kind.dtype)

    def float(self: Tensor) -> Tensor:
        """As float32."""
        return self.to(dt.float32)

    def double(self: Tensor) -> Tensor:
        """As float64."""
        return self.to(dt.float64)

    def half(self: Tensor) -> Tensor:
        """As float16."""
        return self.to(dt.float16)

    def bfloat16(self: Tensor) -> Tensor:
        """As bfloat16."""
        return self.to(dt.bfloat16)

    def char(self: Tensor) -> Tensor:
        """As int8."""
        return self.to(dt.int8)

    def byte(self: Tensor) -> Tensor:
        """As uint8."""
        return self.to(dt.uint8)

    def short(self: Tensor) -> Tensor:
        """As int16."""
        return self.to(dt.int16)

    def int(self: Tensor) -> Tensor:
        """As int32."""
        return self.to(dt.int32)

    def long(self: Tensor) -> Tensor:
        """As int64."""
        return self.to(dt.int64)

    def bool(self: Tensor) -> Tensor:
        """Whether the elements are not 0."""
        return self.to(dt.bool_)

    def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
        """On the CPU: itself."""
        return self

    def cuda(self: Tensor, device: Any = None, non_blocking: Any = False) -> Tensor:
        """On a CUDA device. Raises AssertionError where there is none."""
        dv.require("cuda" if device is None else dv.device(device))
        raise AssertionError("unreachable")

    # ----------------------------------------------------------------------- to Python

    def item(self: Tensor) -> Any:
        """The only element as a Python number. Raises RuntimeError if there are several."""
        array = self._array
        if array.size != 1:
            raise RuntimeError(f"a Tensor with {array.size} elements cannot be converted to Scalar")
        return readable(self).item()

    def tolist(self: Tensor) -> Any:
        """The elements as nested lists; of a Tensor without dims, the number."""
        return readable(self).tolist()

    def numpy(self: Tensor, *, force: Any = False) -> Array:
        """An array over the same memory. Raises RuntimeError for a Tensor that requires grad,
        TypeError for bfloat16, which NumPy has not."""
        if force:
            return self.detach().numpy()
        if needs_grad(self):
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        if self._kind.dtype is dt.bfloat16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._array

    def __float__(self: Tensor) -> Any:
        return float_(_only_element(self))

    def __int__(self: Tensor) -> Any:
        return int_(_only_element(self))

    def __complex__(self: Tensor) -> complex:
        return complex(self.item())

    def __index__(self: Tensor) -> Any:
        if self._kind.dtype.is_floating_point or self._array.size != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int_(self.item())

    def __bool__(self: Tensor) -> Any:
        size = self._array.size
        if size != 1:
            raise RuntimeError(
                "Boolean value of Tensor with more than one value is ambiguous"
                if size
                else "Boolean value of Tensor with no values is ambiguous"
            )
        return bool_(self.item())

    def is_nonzero(self: Tensor) -> Any:
        """Whether the only element is not 0."""
        return self.__bool__()

    def __format__(self: Tensor, spec: str) -> str:
        if not self._kind.rank and not needs_grad(self):
            return self.item().__format__(spec)
        if spec and not self._kind.rank:
            return self.item().__format__(spec)
        return object.__format__(self, spec)


float_, int_, bool_ = float, int, bool


def _only_element(t: Tensor) -> Any:
    if t._array.size != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    return t.item()


def readable(t: Tensor) -> Array:
    """The elements as an array that NumPy understands: bfloat16 as float32."""
    return bfloat16_values(t._array) if t._kind.dtype is dt.bfloat16 else t._array


__all__ = ["ConversionMethods", "converted", "core", "readable", "to_dtype"]
