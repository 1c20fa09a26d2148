"""Elements in another order, or several times: `flip`, `roll`, `repeat`, triangles and diagonals.

In: a Tensor. Out: new memory with its elements.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtype as dt
from .by_index import index_select
from .core import TensorBase, kind, wrap
from .operation import Operation
from .views import axis_of, sizes_of

if TYPE_CHECKING:
    from .tensor import Tensor

_FLIP = Operation("flip", "FlipBackward0", promotes=False)
_TRIL, _TRIU = (
    Operation("tril", "TrilBackward0", promotes=False),
    Operation("triu", "TriuBackward0", promotes=False),
)


def flip(self: Tensor, *dims: Any) -> Tensor:
    """The elements in reverse order along dims."""
    axes = tuple(axis_of(d, self._kind.rank) for d in sizes_of(dims))
    if len(set(axes)) < len(axes):
        raise RuntimeError(f"dim {axes[0]} appears multiple times in the list of dims")
    return _FLIP.call((self,), (axes,)) if axes else self.clone()


def roll(self: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """The elements moved along dims, those that leave coming in again."""
    by = tuple(shifts) if isinstance(shifts, tuple | list) else (shifts,)
    if dims is None or dims == ():
        return roll(self.reshape(-1), by, (0,)).reshape(self._array.shape)
    along = tuple(dims) if isinstance(dims, tuple | list) else (dims,)
    if len(by) != len(along):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(by)}, dims:{len(along)}"
        )
    out = self
    for s, d in zip(by, along, strict=True):  # a roll is two slices exchanged
        axis = axis_of(d, self._kind.rank)
        n = self._array.shape[axis]
        k = s % n if n else 0
        from .joining import cat

        out = cat([out.narrow(axis, n - k, k), out.narrow(axis, 0, n - k)], axis)
    return out


def repeat(self: Tensor, *repeats: Any) -> Tensor:
    """The Tensor laid out several times along every dim."""
    counts = sizes_of(repeats)
    rank = self._kind.rank
    if len(counts) < rank:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    if any(n < 0 for n in counts):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(counts)}")
    shape = (1,) * (len(counts) - rank) + self._array.shape
    wide = self.reshape([s for n in shape for s in (1, n)])
    laid = wide.expand([s for r, n in zip(counts, shape, strict=True) for s in (r, n)])
    whole = laid.contiguous() if laid._array.size > self._array.size else laid.clone()
    return whole.reshape([r * n for r, n in zip(counts, shape, strict=True)])


def tile(self: Tensor, *dims: Any) -> Tensor:
    """`repeat`, with leading dims left out."""
    counts = sizes_of(dims)
    return repeat(self, (1,) * (self._kind.rank - len(counts)) + counts)


def repeat_interleave(self: Tensor, repeats: Any, dim: int | None = None) -> Tensor:
    """Every element several times in a row, along a dim."""
    if dim is None:
        return repeat_interleave(self.reshape(-1), repeats, 0)
    axis = axis_of(dim, self._kind.rank)
    n = self._array.shape[axis]
    counts = repeats._array if isinstance(repeats, TensorBase) else np.full(n, repeats)
    at = np.repeat(np.arange(n), np.broadcast_to(counts, (n,)))
    return index_select(self, axis, wrap(at.astype(np.int64), kind(dt.int64, 1)))


def tril(self: Tensor, diagonal: int = 0) -> Tensor:
    """The elements on and below a diagonal of the last two dims, 0 elsewhere."""
    return _triangle(self, diagonal, _TRIL, "tril")


def triu(self: Tensor, diagonal: int = 0) -> Tensor:
    """The elements on and above a diagonal of the last two dims, 0 elsewhere."""
    return _triangle(self, diagonal, _TRIU, "triu")


def _triangle(self: Tensor, diagonal: int, operation: Operation, name: str) -> Tensor:
    if self._kind.rank < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
    return operation.call((self,), (diagonal,))


def diag(self: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or a matrix with a vector on its diagonal."""
    if self._kind.rank == 2:
        return self.diagonal(diagonal).clone()
    if self._kind.rank != 1:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {self._kind.rank}D")
    return _DIAG.call((self,), (diagonal,))


_DIAG = Operation("diag", "DiagEmbedBackward0", promotes=False)


def trace(self: Tensor) -> Tensor:
    """The sum of a matrix' diagonal."""
    if self._kind.rank != 2:
        raise RuntimeError("trace: expected a matrix")
    return self.diagonal().sum()
