"""Elements chosen by a condition: `where`, `clamp`, masks.

In: Tensors that broadcast, and numbers. Out: Tensors; each is a row of the operator table, with
PyTorch's rules about dtypes before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtype as dt
from .core import TensorBase
from .inplace import scalar_name
from .operation import Operation, plain_number

if TYPE_CHECKING:
    from .tensor import Tensor

_WHERE = Operation("where", "WhereBackward0", apart=("condition",))
_CLAMP = Operation("clamp", "ClampBackward1")
_CLAMP_TENSOR = Operation("clamp", "ClampBackward0")
_MASKED_FILL = Operation(
    "masked_fill", "MaskedFillBackward0", promotes=True, apart=("mask", "value")
)


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """`input` where `condition` holds, else `other`; of the condition alone, where it holds."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if not isinstance(condition, TensorBase):
        raise TypeError(
            f"where(): argument 'condition' (position 1) must be Tensor, not "
            f"{type(condition).__name__}"
        )
    if condition._kind.dtype not in (dt.bool_, dt.uint8):
        raise RuntimeError(
            "where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{scalar_name(condition._kind.dtype)}"
        )
    for value in (input, other):
        if not isinstance(value, TensorBase | bool | int | float) and (
            plain_number(value) is value
        ):
            raise TypeError(
                "where() received an invalid combination of arguments - got (Tensor, "
                f"{type(input).__name__}, {type(other).__name__})"
            )
    test = condition if condition._kind.dtype is dt.bool_ else condition.bool()  # type: ignore[attr-defined]
    return _WHERE.call((test, plain_number(input), plain_number(other)), ())


def _where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """`self` where `condition` holds, else `other`."""
    return where(condition, self, other)


def clamp(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """The elements, none below `min` or above `max`."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None".replace(
            "torch", "tdsl"))  # fmt: skip
    tensors = isinstance(min, TensorBase) or isinstance(max, TensorBase)
    operation = _CLAMP_TENSOR if tensors else _CLAMP
    return operation.call((self, plain_number(min), plain_number(max)), ())


def clamp_min(self: Tensor, min: Any) -> Tensor:
    """The elements, none below `min`."""
    return clamp(self, min)


def clamp_max(self: Tensor, max: Any) -> Tensor:
    """The elements, none above `max`."""
    return clamp(self, None, max)


def masked_fill(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value` where `mask` holds."""
    if mask._kind.dtype is not dt.bool_:
        raise RuntimeError(
            "masked_fill_ only supports boolean masks, but got mask with dtype "
            f"{scalar_name(mask._kind.dtype)}"
        )
    if isinstance(value, TensorBase):
        if value._kind.rank:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value._kind.rank} dimension(s)."
            )
        value = value.to(self._kind.dtype)  # type: ignore[attr-defined]
    value = plain_number(value)
    if isinstance(value, float) and not self._kind.dtype.is_floating_point:
        raise RuntimeError(
            f"value cannot be converted to type {self._kind.dtype.name} without overflow"
        )
    return _MASKED_FILL.call((self, mask, value), ())


def masked_select(self: Tensor, mask: Tensor) -> Tensor:
    """The elements where `mask` holds, in one dim."""
    shape = np.broadcast_shapes(self._array.shape, mask._array.shape)
    return self.expand(shape)[mask.expand(shape)]
