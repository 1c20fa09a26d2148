"""Elements chosen along a dim by integer Tensors: `gather`, `scatter`, `index_select`, …

In: a Tensor and indices. Out: Tensors; an index outside its dim is refused before anything is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtype as dt
from .choosing import masked_fill
from .core import TensorBase, kind, wrap
from .inplace import scalar_name
from .operation import Operation
from .views import axis_of

if TYPE_CHECKING:
    from .tensor import Tensor

_GATHER, _SCATTER_ADD = (
    Operation("gather", "GatherBackward0", promotes=False),
    Operation("scatter_add", "ScatterAddBackward0", promotes=False),
)
_INDEX_SELECT = Operation("index_select", "IndexSelectBackward0", promotes=False)
_INDEX_ADD = Operation("index_add", "IndexAddBackward0", promotes=False)


def _whole(name: str, index: Tensor) -> None:
    if index._kind.dtype not in (dt.int64, dt.int32):
        raise RuntimeError(f"{name}(): Expected dtype int64 for index")


def _inside(name: str, self: Tensor, axis: int, index: Tensor) -> None:
    """Refuse an index outside a dim, also below 0."""
    array = index._array
    n = self._array.shape[axis] if self._kind.rank else 1
    if array.size and (array.min() < 0 or array.max() >= n):
        bad = array[(array < 0) | (array >= n)].flat[0]
        raise RuntimeError(f"index {int(bad)} is out of bounds for dimension {axis} with size {n}")


def gather(self: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """`out[i, j] = self[index[i, j], j]` (for dim 0)."""
    axis = axis_of(dim, self._kind.rank)
    _whole("gather", index)
    if index._kind.rank != self._kind.rank:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for k, (n, m) in enumerate(zip(index._array.shape, self._array.shape, strict=True)):
        if k != axis and n > m:
            raise RuntimeError(
                f"Size does not match at dimension {k} expected index "
                f"{list(index._array.shape)} to be no larger than self "
                f"{list(self._array.shape)} apart from dimension {axis}"
            )
    _inside("gather", self, axis, index)
    if any(n < m for k, (n, m) in enumerate(zip(index._array.shape, self._array.shape, strict=True))
           if k != axis):  # fmt: skip
        for k, n in enumerate(index._array.shape):
            if k != axis:
                self = self.narrow(k, 0, n)
    return _GATHER.call((self, index), (axis,))


def scatter_add(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`self` with `out[index[i, j], j] += src[i, j]` (for dim 0)."""
    axis = axis_of(dim, self._kind.rank)
    _whole("scatter", index)
    _same_dtype("scatter", self, src)
    _inside("scatter", self, axis, index)
    if src._array.shape != index._array.shape:
        for k, n in enumerate(index._array.shape):
            if n > src._array.shape[k]:
                raise RuntimeError(
                    f"Expected index {list(index._array.shape)} to be no larger than self "
                    f"{list(self._array.shape)} apart from dimension {axis} and to be no larger "
                    f"size than src {list(src._array.shape)}"
                )
            src = src.narrow(k, 0, n)
    return _SCATTER_ADD.call((self, index, src), (axis,))


def _same_dtype(name: str, self: Tensor, other: Tensor) -> None:
    if self._kind.dtype is not other._kind.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")


def scatter(self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None) -> Tensor:
    """`self` with `out[index[i, j], j] = src[i, j]` (for dim 0); the last of several counts."""
    from .indexing import put

    axis = axis_of(dim, self._kind.rank)
    _whole("scatter", index)
    source = src if src is not None else value
    _inside("scatter", self, axis, index)
    at: list[Any] = list(np.ogrid[tuple(slice(n) for n in index._array.shape)])
    at[axis] = index._array
    out = self.clone()
    if isinstance(source, TensorBase):
        _same_dtype("scatter", self, source)  # type: ignore[arg-type]
        for k, n in enumerate(index._array.shape):
            source = source.narrow(k, 0, n)  # type: ignore[attr-defined]
    else:
        from .creation import tensor

        source = tensor(source, dtype=self._kind.dtype)
    put(out, out, tuple(at), source, accumulate=False)
    return out


def index_select(self: Tensor, dim: int, index: Tensor) -> Tensor:
    """The parts along a dim at `index`."""
    axis = axis_of(dim, self._kind.rank)
    _whole("index_select", index)
    if index._kind.rank > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    array = index._array
    n = self._array.shape[axis] if self._kind.rank else 1
    if array.size and (array.min() < 0 or array.max() >= n):
        raise IndexError("index out of range in self")
    at = index.reshape(-1)
    if not self._kind.rank:
        return self.clone()
    return _INDEX_SELECT.call((self, at), (axis,))


def index_add(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """`self` with the parts of `source` along a dim added at `index`."""
    axis = axis_of(dim, self._kind.rank)
    _whole("index_add", index)
    _inside("index_add", self, axis, index)
    given = source if alpha == 1 else source * alpha
    return _INDEX_ADD.call((self, index, given), (axis, 1))


def index_put(self: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """`self` with `values` written (or added) at advanced indices."""
    out = self.clone()
    return index_put_(out, indices, values, accumulate)


def index_put_(self: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """Write (or add) `values` at advanced indices."""
    from .indexing import _basic_part, _index, _parsed, put
    from .inplace import check_writable

    check_writable(self)
    _same_dtype("index_put", self, values)
    entries, arrays = _parsed(self, tuple(indices))
    assert arrays is not None
    target, advanced = _basic_part(self, entries, arrays)
    put(self, target, _index(advanced), values, accumulate)
    return self


def index_fill(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """`self` with `value` at `index` along a dim."""
    axis = axis_of(dim, self._kind.rank)
    _whole("index_fill", index)
    mask = np.zeros(self._array.shape, np.bool_)
    mask[(slice(None),) * axis + (index._array,)] = True
    return masked_fill(self, wrap(mask, kind(dt.bool_, mask.ndim)), value)


def take_along_dim(self: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` with broadcasting."""
    if indices._kind.dtype is not dt.int64:
        raise RuntimeError(
            "torch.take_along_dim(): dtype of indices should be Long but got "
            f"{scalar_name(indices._kind.dtype)}".replace("torch", "tdsl")
        )
    if dim is None:
        return gather(self.reshape(-1), 0, indices.reshape(-1))
    axis = axis_of(dim, self._kind.rank)
    if indices._kind.rank != self._kind.rank:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, "
            f"but got {self._kind.rank} dimensions for input, and {indices._kind.rank} dimensions "
            "for indices".replace("torch", "tdsl")
        )
    a, b = list(self._array.shape), list(indices._array.shape)
    na, nb = a[axis], b[axis]
    a[axis] = b[axis] = 1
    shape = list(np.broadcast_shapes(tuple(a), tuple(b)))
    whole, picked = list(shape), list(shape)
    whole[axis], picked[axis] = na, nb
    return gather(self.expand(whole), axis, indices.expand(picked))


def take(self: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened Tensor at `index`."""
    return self.reshape(-1)[index]
