"""New Tensors in the likeness of one: of its dtype, unless another is stated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .core import TensorBase
from .creation import empty, full, tensor, zeros
from .views import sizes_of

if TYPE_CHECKING:
    from .tensor import Tensor


class CreationMethods(TensorBase):
    """Creation as methods."""

    __slots__ = ()

    def new_tensor(self: Tensor, data: Any, **options: Any) -> Tensor:
        """`tensor(data)` of this dtype."""
        return tensor(data, **_likewise(self, options))

    def new_empty(self: Tensor, *size: Any, **options: Any) -> Tensor:
        """Elements of any value."""
        return empty(*size, **_likewise(self, options))

    def new_zeros(self: Tensor, *size: Any, **options: Any) -> Tensor:
        """All 0."""
        return zeros(*size, **_likewise(self, options))

    def new_ones(self: Tensor, *size: Any, **options: Any) -> Tensor:
        """All 1."""
        return full(sizes_of(size), 1, **_likewise(self, options))

    def new_full(self: Tensor, size: Any, fill_value: Any, **options: Any) -> Tensor:
        """All `fill_value`."""
        return full(size, fill_value, **_likewise(self, options))


def _likewise(t: Tensor, options: dict[str, Any]) -> dict[str, Any]:
    return {"dtype": t._kind.dtype, **{k: v for k, v in options.items() if v is not None}}
