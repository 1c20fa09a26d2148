"""Sorting, searching, scans: what goes along a dim in order.

In: Tensors. Out: values with their indices. NumPy sorts and scans (the comprehensions of the
compiler have no order); gradients are gathers and scans again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import dtype as dt
from .conversion import readable
from .core import Array, TensorBase, kind, wrap
from .indexing import IndexBackward0, _take, positions
from .modes import mode
from .tape import Edge, Gradients, Node, edge_of, needs_grad
from .views import axis_of

if TYPE_CHECKING:
    from .tensor import Tensor


class sort_result(NamedTuple):
    values: Any
    indices: Any


class topk_result(NamedTuple):
    values: Any
    indices: Any


class kthvalue_result(NamedTuple):
    values: Any
    indices: Any


class median_result(NamedTuple):
    values: Any
    indices: Any


def _indices(array: Array) -> Tensor:
    return wrap(
        np.ascontiguousarray(array, np.int64).reshape(array.shape), kind(dt.int64, array.ndim)
    )


def _order(values: Array, axis: int, descending: bool) -> Array:
    """Stable; NaN counts as the greatest."""
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if not descending:
        return np.argsort(values, axis=axis, kind="stable")
    flipped = np.flip(values, axis)
    found = np.flip(np.argsort(flipped, axis=axis, kind="stable"), axis)
    return values.shape[axis] - 1 - found


class SortBackward0(IndexBackward0):
    __slots__ = ()


class TopkBackward0(IndexBackward0):
    __slots__ = ()


class KthvalueBackward0(IndexBackward0):
    __slots__ = ()


class CummaxBackward0(IndexBackward0):
    __slots__ = ()


class CumminBackward0(IndexBackward0):
    __slots__ = ()


def _along(
    t: Tensor, order: Array, axis: int, node: type[IndexBackward0] = IndexBackward0
) -> Tensor:
    """`t`'s elements in an order along a dim, recorded."""
    at = list(np.ogrid[tuple(slice(n) for n in order.shape)])
    at[axis] = order
    return _take(t, tuple(at), node)


def argsort(self: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Tensor:
    """The indices that sort along a dim."""
    if not self._kind.rank:
        return _indices(np.zeros((), np.int64))
    return _indices(_order(readable(self), axis_of(dim, self._kind.rank), descending))


def sort(self: Tensor, dim: int = -1, descending: bool = False, stable: bool = True) -> Any:
    """The elements sorted along a dim, and their indices."""
    if not self._kind.rank:
        axis_of(dim, 0)
        return sort_result(self.clone(), _indices(np.zeros((), np.int64)))
    axis = axis_of(dim, self._kind.rank)
    order = _order(readable(self), axis, descending)
    return sort_result(_along(self, order, axis, SortBackward0), _indices(order))


def topk(self: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    """The `k` greatest (or smallest) elements along a dim, in order, and their indices."""
    if not self._kind.rank:
        axis_of(dim, 0)
        if k > 1:
            raise RuntimeError("selected index k out of range")
        return topk_result(self.clone(), _indices(np.zeros((), np.int64)))
    axis = axis_of(dim, self._kind.rank)
    if not 0 <= k <= self._array.shape[axis]:
        raise RuntimeError("selected index k out of range")
    order = np.take(_order(readable(self), axis, largest), np.arange(k), axis)
    return topk_result(_along(self, order, axis, TopkBackward0), _indices(order))


def kthvalue(self: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> Any:
    """The k-th smallest element along a dim (k from 1), and its index."""
    axis = axis_of(dim, self._kind.rank)
    if not 1 <= k <= self._array.shape[axis]:
        raise RuntimeError("kthvalue(): selected number k out of range for dimension " + str(axis))
    order = np.take(_order(readable(self), axis, False), [k - 1], axis)
    values, found = _along(self, order, axis, KthvalueBackward0), _indices(order)
    return kthvalue_result(
        *((values, found) if keepdim else (values.squeeze(axis), found.squeeze(axis)))
    )


def median(self: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The median: of an even number the lower of the two in the middle."""
    if dim is None:
        flat = self.reshape(-1)
        n = flat._array.size
        return flat.kthvalue((n + 1) // 2, 0)[0]
    n = self._array.shape[axis_of(dim, self._kind.rank)]
    return median_result(*self.kthvalue((n + 1) // 2, dim, keepdim))


def nonzero(self: Tensor, *, as_tuple: bool = False) -> Any:
    """The indices of the elements that are not 0, one row each; or one Tensor per dim."""
    found = positions(self)
    if as_tuple:
        return tuple(_indices(found[:, k]) for k in range(max(self._kind.rank, 1)))
    return _indices(found)


def unique(self: Tensor, sorted: bool = True, return_inverse: bool = False,
           return_counts: bool = False, dim: int | None = None) -> Any:  # fmt: skip
    """The different elements in order, perhaps with where each came from and how often."""
    values, inverse, counts = np.unique(
        readable(self), return_inverse=True, return_counts=True, axis=dim
    )
    from .creation import encoded

    own = self._kind.dtype
    out: list[Any] = [wrap(encoded(values, own), kind(own, values.ndim))]
    if return_inverse:
        out.append(_indices(inverse.reshape(self._array.shape) if dim is None else inverse))
    if return_counts:
        out.append(_indices(counts))
    return out[0] if len(out) == 1 else tuple(out)


def searchsorted(sorted_sequence: Tensor, input: Any, *, right: bool = False) -> Tensor:
    """Where elements would be inserted into a sorted vector."""
    given = input._array if isinstance(input, TensorBase) else np.asarray(input)
    found: Any = np.searchsorted(sorted_sequence._array, given, "right" if right else "left")
    return _indices(np.asarray(found))


def bincount(self: Tensor, weights: Any = None, minlength: int = 0) -> Tensor:
    """How often every number from 0 on occurs."""
    if self._array.size and self._array.min() < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    given = None if weights is None else weights._array
    found = np.bincount(self._array, given, minlength)
    if given is None:
        return _indices(found)
    return wrap(found, kind(dt.float64, 1))


# --------------------------------------------------------------------------- scans


class CumsumBackward0(Node):
    """The step of `cumsum`: the sum of what follows."""

    __slots__ = ("_axis",)

    def __init__(self, edge: Edge, axis: int) -> None:
        super().__init__((edge,))
        self._axis = axis

    def apply(self, cotangents: Gradients) -> list[Tensor | None]:
        g = cotangents[0]
        assert g is not None
        return [g.flip(self._axis).cumsum(self._axis).flip(self._axis)]


def cumsum(self: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The sums of all elements up to every one along a dim."""
    x = self if dtype is None else self.to(dtype)
    own = x._kind.dtype if x._kind.dtype.is_floating_point or dtype is not None else dt.int64
    axis = axis_of(dim, x._kind.rank)
    out = _scanned(x, np.add, axis, own)
    if mode.grad and needs_grad(x):
        out._grad_fn, out._requires_grad = CumsumBackward0(edge_of(x), axis), True
    return out


def _scanned(x: Tensor, operation: np.ufunc, axis: int, own: dt.dtype) -> Tensor:
    from .creation import encoded

    values = readable(x)
    if not values.ndim:
        return wrap(encoded(values.copy(), own), kind(own, 0))
    wide = np.float32 if own in (dt.float16, dt.bfloat16) else own.numpy
    found = operation.accumulate(values.astype(wide), axis)
    return wrap(encoded(found, own), kind(own, values.ndim))


def cumprod(self: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
    """The products of all elements up to every one along a dim.

    With zeros the quotient rule does not hold; then, and for higher orders, the gradient is that of
    the products of prefixes, written out as a masked product: n² operations along the dim."""
    x = self if dtype is None else self.to(dtype)
    own = x._kind.dtype if x._kind.dtype.is_floating_point or dtype is not None else dt.int64
    axis = axis_of(dim, x._kind.rank)
    if mode.grad and needs_grad(x):
        return _cumprod_recorded(x, axis)
    return _scanned(x, np.multiply, axis, own)


def _cumprod_recorded(x: Tensor, axis: int) -> Tensor:
    """Row i holds the elements up to i and ones after it; its product is the result."""
    if not x._kind.rank:
        return x.clone()
    n = x._array.shape[axis]
    moved = x.movedim(axis, -1)
    kept = wrap(np.tri(n, dtype=np.bool_), kind(dt.bool_, 2))
    one = wrap(np.ones((), x._kind.dtype.numpy), kind(x._kind.dtype, 0))
    table = moved.unsqueeze(-2).where(kept, one)
    return table.prod(-1).movedim(-1, axis)


def _extremes(self: Tensor, dim: int, operation: np.ufunc, result: Any, node: Any) -> Any:
    values = readable(self)
    axis = axis_of(dim, self._kind.rank)
    if not values.ndim:
        return result(self.clone(), _indices(np.zeros((), np.int64)))
    running = operation.accumulate(values, axis)
    here = (values == running) | (np.isnan(values) if values.dtype.kind == "f" else False)
    shape = [1] * values.ndim
    shape[axis] = -1
    places = np.where(here, np.arange(values.shape[axis]).reshape(shape), -1)
    order = np.maximum.accumulate(places, axis)
    return result(_along(self, order, axis, node), _indices(order))


class cummax_result(NamedTuple):
    values: Any
    indices: Any


class cummin_result(NamedTuple):
    values: Any
    indices: Any


def cummax(self: Tensor, dim: int) -> Any:
    """The greatest element so far along a dim, and its index."""
    return _extremes(self, dim, np.maximum, cummax_result, CummaxBackward0)


def cummin(self: Tensor, dim: int) -> Any:
    """The smallest element so far along a dim, and its index."""
    return _extremes(self, dim, np.minimum, cummin_result, CumminBackward0)


class OrderMethods(TensorBase):
    """Order as methods."""

    __slots__ = ()

    sort, argsort, topk, kthvalue, median = sort, argsort, topk, kthvalue, median
    nonzero, unique, bincount = nonzero, unique, bincount
    cumsum, cumprod, cummax, cummin = cumsum, cumprod, cummax, cummin
