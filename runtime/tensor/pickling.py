"""Tensors as pickles and copies: memory is taken as it stands, and Tensors that share it go on
sharing it.

In: a Tensor. Out: what `pickle` and `copy` ask for. A Tensor is its memory and how it lies there;
of its history remains that it requires grad. `Memory` stands for the bytes under several Tensors:
there is one at a time for each, so that a pickle holds them once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np

from . import core
from . import dtype as dt
from .core import Array, TensorBase, Version, kind
from .storage import address, owner
from .tape import grad_fn_of, needs_grad

if TYPE_CHECKING:
    from .tensor import Tensor


class Memory:
    """The bytes under a Tensor and all its views, and their version counter."""

    __slots__ = ("__weakref__", "counter", "data")

    def __init__(self, data: Array) -> None:
        self.data = data
        self.counter: Version | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return memory_from, (self.data.tobytes(),)


#: By address and size. A Memory lives as long as a pickler (or a copy) knows it.
_known: WeakValueDictionary[tuple[int, int], Memory] = WeakValueDictionary()


def memory_of(array: Array) -> Memory:
    """The memory under an array."""
    root = owner(array)
    if not root.size:
        return Memory(np.empty(0, np.uint8))
    key = address(root), root.nbytes
    found = _known.get(key)
    if found is None:
        found = _known[key] = Memory(_bytes(root))
    return found


def _bytes(root: Array) -> Array:
    """The elements of an owner, which is dense, as they lie in memory."""
    inorder = sorted(range(root.ndim), key=lambda k: -root.strides[k])
    return root.transpose(inorder).reshape(-1).view(np.uint8)


def memory_from(data: bytes) -> Memory:
    """Memory of its own with these bytes."""
    return Memory(np.frombuffer(bytearray(data), np.uint8))


def rebuilt(
    cls: type[Tensor],
    memory: Memory,
    dtype: dt.dtype,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    offset: int,
    requires_grad: bool,
) -> Tensor:
    """The Tensor that was pickled; strides and offset are in bytes."""
    if memory.data.size:
        array = np.ndarray(shape, dtype.numpy, memory.data, offset, strides)
    else:
        array = np.empty(shape, dtype.numpy)
    out: Tensor = object.__new__(cls)
    core.initialize(out, array, kind(dtype, len(shape)))
    if memory.counter is None:
        memory.counter = Version()
    out._counter = memory.counter
    out._requires_grad = bool(requires_grad) and dtype.is_floating_point
    return out


class PicklingMethods(TensorBase):
    """What `pickle` and `copy` ask a Tensor for."""

    __slots__ = ()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        array = self._array
        memory = memory_of(array)
        offset = address(array) - address(owner(array)) if array.size else 0
        given = (
            type(self),
            memory,
            self._kind.dtype,
            array.shape,
            array.strides,
            offset,
            needs_grad(self),  # type: ignore[arg-type]
        )
        return (rebuilt, given, self.__dict__) if self.__dict__ else (rebuilt, given)

    def __copy__(self) -> Tensor:
        make, given, *rest = self.__reduce_ex__(4)
        out: Tensor = make(*given)
        out._counter = core.counter(self)  # type: ignore[arg-type]
        out.__dict__.update(*rest)
        return out

    def __deepcopy__(self, memo: dict[Any, Any]) -> Tensor:
        from copy import deepcopy

        found: Tensor | None = memo.get(id(self))
        if found is not None:
            return found
        if grad_fn_of(self) is not None:  # type: ignore[arg-type]
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment."
            )
        _, (cls, memory, *layout), *rest = self.__reduce_ex__(4)
        key = f"memory at {address(memory.data)}" if memory.data.size else None
        copied = memo.get(key) if key is not None else None
        if copied is None:
            copied = memory_from(memory.data.tobytes())
            if key is not None:
                memo[key] = copied
        out = rebuilt(cls, copied, *layout)
        memo[id(self)] = out
        if rest:
            out.__dict__.update(deepcopy(rest[0], memo))
        if self._leaf is not None and self._leaf.grad is not None:
            core.leaf_state(out).grad = self._leaf.grad.__deepcopy__(memo)
        return out
