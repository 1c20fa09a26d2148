"""Tensors joined into one: `cat`, `stack`, and the coordinates of a grid.

In: Tensors whose sizes fit. Out: Tensors, recorded; memory is moved, nothing is computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtype as dt
from .core import TensorBase, kind, wrap
from .modes import mode
from .tape import Gradients, Node, edge_of, needs_grad
from .views import axis_of

if TYPE_CHECKING:
    from .tensor import Tensor


def cat(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors one after another along a dim; they promote to one dtype."""
    if isinstance(tensors, TensorBase):
        raise TypeError(
            "cat(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor"
        )
    given = list(tensors)
    if not given:
        raise ValueError("tdsl.cat(): expected a non-empty list of Tensors")
    for k, t in enumerate(given):
        if not isinstance(t, TensorBase):
            raise TypeError(
                f"expected Tensor as element {k} in argument 0, but got {type(t).__name__}"
            )
        if not t._kind.rank:
            raise RuntimeError(f"zero-dimensional tensor (at position {k}) cannot be concatenated")
    common = given[0]._kind.dtype
    for t in given[1:]:
        common = dt.promote_types(common, t._kind.dtype)
    given = [t if t._kind.dtype is common else t.to(common) for t in given]
    useful = [t for t in given if t._array.shape != (0,)] or given[:1]
    rank = useful[0]._kind.rank
    axis = axis_of(dim, rank)
    first = useful[0]._array.shape
    for k, t in enumerate(useful[1:], 1):
        shape = t._array.shape
        if len(shape) != rank:
            raise RuntimeError(
                f"Tensors must have same number of dimensions: got {rank} and {len(shape)}"
            )
        for a in range(rank):
            if a != axis and shape[a] != first[a]:
                raise RuntimeError(
                    f"Sizes of tensors must match except in dimension {axis}. Expected size "
                    f"{first[a]} but got size {shape[a]} for tensor number {k} in the list."
                )
    return joined(useful, axis)


def joined(tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Tensors of fitting sizes joined, recorded: memory is moved, nothing computed."""
    array = np.concatenate([t._array for t in tensors], axis)
    out = wrap(array, tensors[0]._kind)
    if mode.grad and any(needs_grad(t) for t in tensors):
        out._grad_fn = CatBackward0(
            tuple(edge_of(t) for t in tensors), [t._array.shape[axis] for t in tensors], axis
        )
        out._requires_grad = out._kind.dtype.is_floating_point
    return out


class CatBackward0(Node):
    """The step of `cat`: every part gets its slice."""

    __slots__ = ("_axis", "_sizes")

    def __init__(self, edges: Any, sizes: list[int], axis: int) -> None:
        super().__init__(edges)
        self._sizes, self._axis = sizes, axis

    def apply(self, cotangents: Gradients) -> list[Tensor | None]:
        gradient = cotangents[0]
        assert gradient is not None
        parts: list[Tensor | None] = []
        start = 0
        for (node, _), n in zip(self.next_functions, self._sizes, strict=True):
            parts.append(None if node is None else gradient.narrow(self._axis, start, n))
            start += n
        return parts


def stack(tensors: Any, dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dim."""
    given = list(tensors)
    if not given:
        raise RuntimeError("stack expects a non-empty TensorList")
    first = given[0]._array.shape
    for k, t in enumerate(given):
        if t._array.shape != first:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 "
                f"and {list(t._array.shape)} at entry {k}"
            )
    axis = axis_of(dim, len(first) + 1)
    common = given[0]._kind.dtype
    for t in given[1:]:
        common = dt.promote_types(common, t._kind.dtype)
    given = [t if t._kind.dtype is common else t.to(common) for t in given]
    array = np.stack([t._array for t in given], axis)
    out = wrap(array, kind(common, array.ndim))
    if mode.grad and common.is_floating_point and any(needs_grad(t) for t in given):
        out._grad_fn = StackBackward0(tuple(edge_of(t) for t in given), axis)
        out._requires_grad = True
    return out


class StackBackward0(Node):
    """The step of `stack`: every part gets its place along the new dim."""

    __slots__ = ("_axis",)

    def __init__(self, edges: Any, axis: int) -> None:
        super().__init__(edges)
        self._axis = axis

    def apply(self, cotangents: Gradients) -> list[Tensor | None]:
        gradient = cotangents[0]
        assert gradient is not None
        return [
            None if node is None else gradient.select(self._axis, k)
            for k, (node, _) in enumerate(self.next_functions)
        ]


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates: vectors expanded over all dims, the k-th along dim k ("ij"), or with the first
    two dims exchanged ("xy")."""
    given = (
        list(tensors[0])
        if len(tensors) == 1 and isinstance(tensors[0], tuple | list)
        else [*tensors]
    )
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(
            f'tdsl.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    swap = indexing == "xy" and len(given) >= 2
    if swap:
        given[0], given[1] = given[1], given[0]
    sizes = [t._array.size for t in given]
    out = [
        t.reshape([-1 if j == k else 1 for j in range(len(given))]).expand(sizes)
        for k, t in enumerate(given)
    ]
    if swap:
        out[0], out[1] = out[1], out[0]
    return tuple(out)
