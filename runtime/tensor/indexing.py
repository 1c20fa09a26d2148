"""Indexing and assignment: `x[…]` by ints, slices, None, `...`, masks and integer Tensors.

Basic indices make views. Advanced ones move elements: a copy of those at integer Tensors (a mask
counts as the positions of its True elements); their gradients add up where an element was read
several times. Nothing is computed, so NumPy does both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import core
from . import dtype as dt
from .core import Array, TensorBase, kind, wrap
from .creation import tensor
from .inplace import check_writable, take_history
from .modes import mode
from .tape import Edge, Gradients, Node, edge_of, needs_grad
from .view_methods import sum_to
from .views import (
    AliasBackward0,
    SelectBackward0,
    SliceBackward0,
    UnsqueezeBackward0,
    part,
    view_of,
)

if TYPE_CHECKING:
    from .tensor import Tensor


def getitem(t: Tensor, key: Any) -> Tensor:
    """`t[key]`."""
    if type(key) is int:
        if not t._kind.rank:
            return _no_dims()
        size = t._array.shape[0]
        if -size <= key < size:
            return t.select(0, key)
        raise IndexError(f"index {key} is out of bounds for dimension 0 with size {size}")
    array = _plain_view(t._array, key)
    if array is not None:
        if not (mode.grad and needs_grad(t)):
            return view_of(t, array)
        if array.shape != t._array.shape:  # else it may be the whole, which has another name
            entries = (*key, ...) if type(key) is tuple else (key, ...)
            node = SliceBackward0 if array.ndim == t._kind.rank else SelectBackward0
            return part(t, array, node, lambda b: _again(b, entries))
    basic, arrays = _parsed(t, key)
    if arrays is None:
        return _view(t, basic)
    found, advanced = _basic_part(t, basic, arrays)
    return _gathered(found, advanced)


_ENDS = (int, type(None))


def _plain_view(array: Array, key: Any) -> Array | None:
    """What ints and slices without a step select, where NumPy means the same by them; None for
    any other key, and for what is out of range."""
    entries = key if type(key) is tuple else (key,)
    for e in entries:
        if type(e) is slice:
            if e.step is not None or type(e.start) not in _ENDS or type(e.stop) not in _ENDS:
                return None
        elif type(e) is not int:
            return None
    try:
        found: Array = array[(*entries, ...)]
    except IndexError:
        return None  # what is wrong is said elsewhere
    return found


def _no_dims() -> Any:
    raise IndexError(
        "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or `tensor.item<T>()` in "
        "C++ to convert a 0-dim tensor to a number"
    )


def _parsed(t: Tensor, key: Any) -> tuple[list[Any], dict[int, Any] | None]:
    """The key as one entry per dim (and None for new dims): ints, slices, and for advanced
    indices arrays, by their place in the list. Raises IndexError, TypeError."""
    if isinstance(key, list) and any(
        isinstance(e, slice | list | tuple) or e is None or e is Ellipsis for e in key
    ):
        key = tuple(key)  # as NumPy once did: a list of indices that are no ints
    entries = list(key) if isinstance(key, tuple) else [key]
    entries = [_entry(e) for e in entries]
    used = sum(_dims_used(e) for e in entries)
    rank = t._kind.rank
    if used > rank:
        if rank == 0 and used:
            _no_dims()
        raise IndexError(f"too many indices for tensor of dimension {rank}")
    dots = [k for k, e in enumerate(entries) if e is Ellipsis]
    for k in reversed(dots[1:]):
        del entries[k]  # the first stands for all dims
    if not any(e is Ellipsis for e in entries):
        entries.append(Ellipsis)
    at = next(k for k, e in enumerate(entries) if e is Ellipsis)
    entries[at : at + 1] = [slice(None)] * (rank - used)
    if any(isinstance(e, np.ndarray) for e in entries):
        return _with_arrays(t, entries)
    return entries, None


def _entry(e: Any) -> Any:
    """One index as an int, slice, None, Ellipsis, or an array of ints or bools."""
    if e is None or e is Ellipsis or isinstance(e, slice):
        return e
    if isinstance(e, bool | np.bool_):
        return np.asarray(e)
    if isinstance(e, int | np.integer):
        return int(e)
    if isinstance(e, TensorBase):
        if (
            not e._kind.rank
            and e._kind.dtype is not dt.bool_
            and (not e._kind.dtype.is_floating_point)
        ):
            return int(e._array)
        array = e._array
    elif isinstance(e, list | tuple | range | np.ndarray):
        array = np.asarray([v.item() if isinstance(v, TensorBase) else v for v in e]  # type: ignore[attr-defined]
                           if isinstance(e, list) else e)  # fmt: skip
        if array.size == 0:
            array = array.astype(np.int64)
    elif hasattr(e, "__index__"):
        return e.__index__()
    else:
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are "
            f"valid indices (got {type(e).__name__})"
        )
    if array.dtype.kind not in "iub":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if array.dtype == np.uint8:
        array = array.astype(np.bool_)
    return array


def _dims_used(e: Any) -> int:
    if e is None or e is Ellipsis:
        return 0
    if isinstance(e, np.ndarray) and e.dtype == np.bool_:
        return e.ndim
    return 1


def _with_arrays(t: Tensor, entries: list[Any]) -> tuple[list[Any], dict[int, Any]]:
    """Masks become positions; ints beside arrays are arrays, too."""
    out: list[Any] = []
    arrays: dict[int, Any] = {}
    axis = 0
    for e in entries:
        if e is None:
            out.append(None)
            continue
        if isinstance(e, np.ndarray) and e.dtype == np.bool_:
            for k, n in enumerate(e.shape):
                if t._array.shape[axis + k] != n:
                    raise IndexError(
                        f"The shape of the mask {list(e.shape)} at index {k} does not match the "
                        f"shape of the indexed tensor {list(t._array.shape)} at index {axis + k}"
                    )
            if not e.ndim:
                arrays[len(out)] = np.zeros(int(e), np.int64)
                out.append("new")
                continue
            for found in np.nonzero(e):
                arrays[len(out)] = found
                out.append(slice(None))
            axis += e.ndim
        elif isinstance(e, np.ndarray):
            n = t._array.shape[axis]
            if e.size and (e.min() < -n or e.max() >= n):
                bad = e[(e < -n) | (e >= n)].flat[0]
                raise IndexError(
                    f"index {int(bad)} is out of bounds for dimension {axis} with size {n}"
                )
            arrays[len(out)] = np.where(e < 0, e + n, e).astype(np.int64)
            out.append(slice(None))
            axis += 1
        else:
            out.append(e)
            axis += 1
    return out, arrays


def _slice(e: slice, n: int) -> tuple[int, int, int]:
    start, stop, step = (_number(v) for v in (e.start, e.stop, e.step))
    if step is not None and step <= 0:
        raise ValueError("step must be greater than zero")
    found = slice(start, stop, step).indices(n)
    return found[0], max(found[0], found[1]), found[2]


def _number(v: Any) -> int | None:
    if v is None:
        return None
    if isinstance(v, TensorBase):
        return int(v.item())  # type: ignore[attr-defined]
    if not hasattr(v, "__index__"):
        raise TypeError("slice indices must be integers or None or have an __index__ method")
    return v.__index__()


def _view(t: Tensor, entries: Sequence[Any]) -> Tensor:
    """The view that basic indices make: one step back for all of them."""
    array = t._array
    shape = array.shape
    at: list[Any] = []
    axis = 0
    plain = True
    for e in entries:
        if e is None or isinstance(e, str):
            at.append(None)
            plain = False
            continue
        n = shape[axis]
        if isinstance(e, slice):
            start, stop, step = _slice(e, n)
            plain = plain and (start, stop, step) == (0, n, 1)
            at.append(slice(start, stop, step))
        else:
            if not -n <= e < n:
                raise IndexError(f"index {e} is out of bounds for dimension {axis} with size {n}")
            plain = False
            at.append(e % n)
        axis += 1
    key = (*at, ...)
    if plain:
        return part(t, array[key], AliasBackward0, lambda b: _again(b, key))
    integers = any(not isinstance(e, slice) and e is not None for e in at)
    node = SelectBackward0 if integers else SliceBackward0
    if not integers and all(
        e is None or e == slice(0, n, 1) for e, n in zip(at, _sizes_along(at, shape), strict=True)
    ):
        node = UnsqueezeBackward0
    return part(t, array[key], node, lambda b: _again(b, key))


def _sizes_along(at: Sequence[Any], shape: Sequence[int]) -> list[int]:
    sizes = iter(shape)
    return [0 if e is None else next(sizes) for e in at]


def _again(b: Tensor, key: Any) -> Tensor:
    """The same view of another Tensor of the same shape."""
    return part(b, b._array[key], SliceBackward0, lambda c: _again(c, key))


def _basic_part(t: Tensor, entries: list[Any], arrays: dict[int, Any]) -> tuple[Tensor, list[Any]]:
    """What basic indices beside advanced ones select, and the arrays per remaining dim."""
    basic = list(entries)
    before = [e for e in basic if e is not slice(None)]
    found = (
        _view(t, basic)
        if before and any(not isinstance(e, slice) or e != slice(None) for e in basic)
        else t
    )
    advanced: list[Any] = []
    for k, e in enumerate(entries):
        if k in arrays:
            advanced.append(arrays[k])
        elif e is None or isinstance(e, slice):
            advanced.append(None)
    return found, advanced


# --------------------------------------------------------------------------- gathers


class IndexBackward0(Node):
    """The step of an advanced index: elements that were read several times add up."""

    __slots__ = ("_at", "_shape")

    def __init__(self, edge: Edge, shape: Sequence[int], at: tuple[Any, ...]) -> None:
        super().__init__((edge,))
        self._shape, self._at = tuple(shape), at

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        gradient = cotangents[0]
        return [None if gradient is None else _spread(gradient, self._shape, self._at)]


class IndexPutBackward0(Node):
    """The step of an assignment at advanced indices: to the former elements, and the values."""

    __slots__ = ("_accumulate", "_at", "_shape")

    def __init__(
        self, edges: tuple[Edge, Edge], at: Any, shape: Sequence[int], accumulate: bool
    ) -> None:
        super().__init__(edges)
        self._at, self._shape, self._accumulate = at, tuple(shape), accumulate

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        gradient = cotangents[0]
        assert gradient is not None
        rest: Tensor | None = gradient
        if not self._accumulate and self.next_functions[0][0] is not None:
            kept = np.ones(gradient._array.shape, np.bool_)
            kept[self._at] = False
            mask = wrap(kept, kind(dt.bool_, kept.ndim))
            rest = gradient * mask
        values = None
        if self.next_functions[1][0] is not None:
            values = sum_to(_take(gradient, self._at), self._shape)
        return [rest, values]


def _flat(at: tuple[Any, ...], shape: Sequence[int]) -> Array:
    """The positions in the flattened tensor that an index reads, in the result's shape."""
    positions = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.int64)
    return positions.reshape(tuple(shape))[at]


def _take(t: Tensor, at: tuple[Any, ...], node: type[IndexBackward0] = IndexBackward0) -> Tensor:
    """`t[at]`, recorded under the name of `node`."""
    own = t._kind.dtype
    found = t._array[at]
    if found.base is not None:
        found = found.copy()
    out = wrap(np.asarray(found), kind(own, np.ndim(found)))
    if mode.grad and needs_grad(t):
        out._grad_fn = node(edge_of(t), t._array.shape, at)
        out._requires_grad = True
    return out


def _spread(gradient: Tensor, shape: Sequence[int], at: tuple[Any, ...]) -> Tensor:
    """Zeros of `shape` with `gradient` added at `at`: the transpose of `_take`, recorded."""
    own = gradient._kind.dtype
    out = np.zeros(tuple(shape), own.numpy)
    if own is dt.bfloat16:
        wide = _spread(gradient.float(), shape, at)
        return wide.to(own)
    np.add.at(out, at, gradient._array)
    found = wrap(out, kind(own, out.ndim))
    if mode.grad and needs_grad(gradient):
        found._grad_fn = SpreadBackward0(edge_of(gradient), at)
        found._requires_grad = True
    return found


class SpreadBackward0(Node):
    """The step of `_spread`."""

    __slots__ = ("_at",)

    def __init__(self, edge: Edge, at: tuple[Any, ...]) -> None:
        super().__init__((edge,))
        self._at = at

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        gradient = cotangents[0]
        return [None if gradient is None else _take(gradient, self._at)]


def _index(advanced: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(slice(None) if a is None else a for a in advanced)


def _gathered(t: Tensor, advanced: Sequence[Any]) -> Tensor:
    try:
        np.broadcast_shapes(*(a.shape for a in advanced if a is not None))
    except ValueError:
        shapes = ", ".join(str(list(a.shape)) for a in advanced if a is not None)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    return _take(t, _index(advanced))


# --------------------------------------------------------------------------- assignment


def setitem(t: Tensor, key: Any, value: Any) -> None:
    """`t[key] = value`."""
    check_writable(t)
    own = t._kind.dtype
    if value is None or isinstance(value, str):
        raise TypeError(f"can't assign a {type(value).__name__} to a {t.type()}")
    if not isinstance(value, TensorBase):
        value = tensor(value, dtype=own if isinstance(value, bool | int | float) else None)
    basic, arrays = _parsed(t, key)
    if value._kind.dtype is not own:
        value = value.to(own)
    if arrays is None:
        place = _view(t, basic)
        _copy(place, value)
        return
    before, mode.grad = mode.grad, False
    try:
        target, advanced = _basic_part(t, basic, arrays)
    finally:
        mode.grad = before
    put(t, target, _index(advanced), value, accumulate=False)


def _copy(place: Tensor, value: Tensor) -> None:
    """Write `value`, broadcast, to a view."""
    shape = place._array.shape
    while value._kind.rank > len(shape) and value._array.shape[0] == 1:
        value = value.squeeze(0)
    if value._array.shape != shape:
        try:
            value = value.expand(shape)
        except RuntimeError:
            raise RuntimeError(
                f"The expanded size of the tensor {list(shape)} must match the existing size "
                f"{list(value._array.shape)}: the value cannot be broadcast to what it is "
                "assigned to"
            ) from None
    np.copyto(place._array, value._array)
    core.bump(place, "__setitem__")
    if mode.grad and (needs_grad(value) or needs_grad(place)):
        if place._view is None:  # integers have no history
            return
        result = wrap(place._array, place._kind)
        if needs_grad(value):
            result._grad_fn, result._output_nr = edge_of(value)
            result._requires_grad = True
        take_history(place, result)


def put(t: Tensor, target: Tensor, at: tuple[Any, ...], value: Tensor, accumulate: bool) -> None:
    """Write (or add) `value` to `target[at]`, `target` being `t` or a view of it."""
    array = target._array
    shape = array[at].shape
    values = value._array
    while values.ndim > len(shape) and values.shape[0] == 1:
        values = values[0]
    try:
        values = np.broadcast_to(values, shape)
    except ValueError:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(value._array.shape)} cannot be broadcast "
            f"to indexing result of shape {list(shape)}"
        ) from None
    record = mode.grad and (needs_grad(t) or needs_grad(value))
    edges = (edge_of(target), edge_of(value)) if record else ((None, 0), (None, 0))
    if accumulate:
        np.add.at(array, at, values)
    else:
        array[at] = values
    core.bump(target, "index_put_")
    if target is not t:
        target._counter = core.counter(t)
    if record and t._kind.dtype.is_floating_point:
        result = wrap(array, target._kind)
        result._grad_fn = IndexPutBackward0(edges, at, value._array.shape, accumulate)
        result._requires_grad = True
        take_history(target, result)


def positions(t: Tensor) -> Array:
    """The indices of the elements that are not zero, one row each."""
    values = t.float()._array if t._kind.dtype is dt.bfloat16 else t._array
    return np.argwhere(values)
