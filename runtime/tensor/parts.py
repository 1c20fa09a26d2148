"""Views of some of the elements: `select`, `narrow`, `diagonal`, windows, and parts side by side.

In: a Tensor. Out: views of it; their gradients are zeros with the part's gradient in its place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .core import TensorBase
from .storage import strided
from .views import (
    DiagonalBackward0,
    SelectBackward0,
    SliceBackward0,
    SplitBackward0,
    SplitWithSizesBackward0,
    UnbindBackward0,
    UnfoldBackward0,
    axis_of,
    embedded,
    part,
    several,
    sizes_of,
    viewed,
)

if TYPE_CHECKING:
    from .tensor import Tensor


def sliced(t: Tensor, axis: int, start: int, stop: int, step: int) -> Tensor:
    """`t[…, start:stop:step, …]` along one dim."""
    at = (slice(None),) * axis + (slice(start, stop, step),)
    return part(t, t._array[at], SliceBackward0, lambda b: sliced(b, axis, start, stop, step))


class PartMethods(TensorBase):
    """Parts as methods."""

    __slots__ = ()

    def select(self: Tensor, dim: int, index: int) -> Tensor:
        """The part at `index` of `dim`."""
        array = self._array
        if not array.ndim:
            raise IndexError("select() cannot be applied to a 0-dim tensor.")
        axis = axis_of(dim, array.ndim)
        if isinstance(index, TensorBase):
            index = index.item()  # type: ignore[attr-defined]
        n = array.shape[axis]
        if not -n <= index < n:
            raise IndexError(
                f"select(): index {index} out of range for tensor of size {list(array.shape)} at "
                f"dimension {dim}"
            )
        at = (slice(None),) * axis + (index % n, ...)
        return part(self, array[at], SelectBackward0, lambda b: b.select(axis, index))

    def narrow(self: Tensor, dim: int, start: Any, length: int) -> Tensor:
        """`length` elements of `dim` from `start` on."""
        array = self._array
        if not array.ndim:
            raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
        axis = axis_of(dim, array.ndim)
        if isinstance(start, TensorBase):
            start = start.item()  # type: ignore[attr-defined]
        n = array.shape[axis]
        if length < 0:
            raise RuntimeError("narrow(): length must be non-negative.")
        if not -n <= start <= n:
            raise IndexError(
                f"start out of range (expected to be in range of [{-n}, {n}], but got {start})"
            )
        start = start + n if start < 0 else start
        if start + length > n:
            raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
        return sliced(self, axis, start, start + length, 1)

    def diagonal(self: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
        """The elements with equal indices in two dims, which become the last."""
        array = self._array
        a, b = axis_of(dim1, array.ndim), axis_of(dim2, array.ndim)
        if a == b:
            raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
        found = np.diagonal(array, offset, a, b)
        if array.flags.writeable:
            found.flags.writeable = True
        return part(self, found, DiagonalBackward0, lambda x: x.diagonal(offset, a, b))

    def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
        """Windows of `size` along a dim, `step` apart; the window is the last dim."""
        array = self._array
        axis = axis_of(dimension, array.ndim)
        n = array.shape[axis] if array.ndim else 1
        if size < 0:
            raise RuntimeError(f"size is {size} but must be >= 0")
        if size > n:
            raise RuntimeError(
                f"maximum size for tensor at dimension {axis} is {n} but size is {size}"
            )
        if step <= 0:
            raise RuntimeError(f"step is {step} but must be > 0")
        windows = (n - size) // step + 1
        own = array.strides[axis] if array.ndim else array.itemsize
        shape = [*array.shape, size]
        strides = [*array.strides, own]
        if array.ndim:
            shape[axis], strides[axis] = windows, own * step
        found = strided(array, shape, strides)
        whole = array.shape

        def back(g: Tensor) -> Tensor:
            return embedded([g], whole, [lambda b: b.unfold(axis, size, step)], step < size)

        return viewed(self, found, UnfoldBackward0, back)

    def unbind(self: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
        """The parts along a dim, without it."""
        if not self._array.ndim:
            raise IndexError("Dimension specified as 0 but tensor has no dimensions")
        axis = axis_of(dim, self._array.ndim)
        count = self._array.shape[axis]
        return several(
            self, UnbindBackward0, [lambda b, k=k: b.select(axis, k) for k in range(count)]
        )

    def split(self: Tensor, split_size: Any, dim: int = 0) -> tuple[Tensor, ...]:
        """Parts along a dim: of one size (the last may be smaller), or of the listed sizes."""
        if not self._array.ndim:
            raise RuntimeError("split expects at least a 1-dimensional tensor")
        axis = axis_of(dim, self._array.ndim)
        n = self._array.shape[axis]
        if isinstance(split_size, int):
            if split_size < 0:
                raise RuntimeError(
                    f"split expects split_size be non-negative, but got split_size={split_size}"
                )
            if split_size == 0 and n:
                raise RuntimeError(
                    "split_size can only be 0 if dimension size is 0, but got dimension size of "
                    f"{n}"
                )
            count = max(1, -(-n // split_size)) if split_size else 1
            sizes = [split_size] * count
            sizes[-1] = n - split_size * (count - 1)
            node: Any = SplitBackward0
        else:
            sizes = list(sizes_of([split_size]))
            if sum(sizes) != n:
                raise RuntimeError(
                    "split_with_sizes expects split_sizes to sum exactly to "
                    f"{n} (input tensor's size at dimension {axis}), but got "
                    f"split_sizes={sizes}"
                )
            node = SplitWithSizesBackward0
        starts = [sum(sizes[:k]) for k in range(len(sizes))]
        views = [
            lambda b, s=s, n=n: sliced(b, axis, s, s + n, 1)
            for s, n in zip(starts, sizes, strict=True)
        ]
        return several(self, node, views)

    def chunk(self: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
        """At most `chunks` parts of equal size along a dim; the last may be smaller."""
        if chunks <= 0:
            raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
        if not self._array.ndim:
            raise RuntimeError("chunk expects at least a 1-dimensional tensor")
        n = self._array.shape[axis_of(dim, self._array.ndim)]
        if n == 0:
            return self.split([0] * chunks, dim)
        return self.split(max(1, -(-n // chunks)), dim)
