"""Storage: the memory under a Tensor, and views of it by geometry.

In: arrays. Out: the array that owns their memory, views with any strides, and `UntypedStorage` as
the user sees it. Every array of a Tensor has an owner that is dense, so that any view is a view
of the owner's buffer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def owner(array: Array) -> Array:
    """The array whose memory this is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def address(array: Array) -> int:
    """Where the first element is."""
    found: int = array.__array_interface__["data"][0]
    return found


def strided(array: Array, shape: Sequence[int], strides: Sequence[int], offset: int = 0) -> Array:
    """A view of the memory under `array`: `strides` and `offset` (from `array`'s first element)
    in bytes. The caller answers for its staying inside."""
    root = owner(array)
    if not array.size:
        return np.empty(tuple(shape), array.dtype)
    if 0 in shape:
        offset = 0
    start = address(array) - address(root) + offset
    found = np.ndarray(tuple(shape), array.dtype, root, start, tuple(strides))
    if not array.flags.writeable:
        found.flags.writeable = False
    return found


def dense(array: Array) -> bool:
    """Whether the elements fill their memory without overlap, in some order of the dims."""
    expected = array.itemsize
    for s, n in sorted(zip(array.strides, array.shape, strict=True)):
        if n == 1:
            continue
        if s != expected:
            return False
        expected *= n
    return True


class _Borrowed:
    """Foreign memory as NumPy's array interface describes it, kept alive."""

    def __init__(self, interface: dict[str, Any], kept: Any) -> None:
        self.__array_interface__ = interface
        self.kept = kept


def adopted(array: Array) -> Array:
    """The same elements, in memory that ends where they end: a Tensor's storage begins at its
    first element, whatever the array was a view of."""
    low = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True) if s < 0)
    high = sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True) if s > 0)
    size = high - low + array.itemsize if array.size else 0
    interface = {
        "version": 3,
        "shape": (size,),
        "typestr": "|u1",
        "data": (address(array) + low, not array.flags.writeable),
    }
    root = np.asarray(_Borrowed(interface, array))
    if not array.size:
        return np.empty(array.shape, array.dtype)
    return np.ndarray(array.shape, array.dtype, root, -low, array.strides)


class UntypedStorage:
    """The bytes under a Tensor and all its views."""

    __slots__ = ("_bytes",)

    def __init__(self, array: Array) -> None:
        root = owner(array)
        self._bytes = root.reshape(-1).view(np.uint8) if root.size else np.empty(0, np.uint8)

    def size(self) -> int:
        """Bytes."""
        return int(self._bytes.size)

    nbytes = __len__ = size

    def data_ptr(self) -> int:
        """The address of the first byte."""
        return address(self._bytes) if self._bytes.size else 0

    def element_size(self) -> int:
        """1: a storage has bytes."""
        return 1

    @property
    def device(self) -> Any:
        from .device import CPU

        return CPU

    def __getitem__(self, key: Any) -> Any:
        found = self._bytes[key]
        return int(found) if np.ndim(found) == 0 else found.tolist()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._bytes[key] = value

    def __iter__(self) -> Iterator[int]:
        return iter(self._bytes.tolist())

    def tolist(self) -> list[int]:
        """The bytes as ints."""
        found: list[int] = self._bytes.tolist()
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UntypedStorage) and self.data_ptr() == other.data_ptr()

    def __hash__(self) -> int:
        return hash(self.data_ptr())

    def __repr__(self) -> str:
        lines = "".join(f" {b}\n" for b in self._bytes[:1000].tolist())
        return f"{lines}[tdsl.storage.UntypedStorage(device=cpu) of size {self.size()}]"


class TypedStorage(UntypedStorage):
    """The elements under a Tensor and all its views."""

    __slots__ = ("_dtype", "_elements")

    def __init__(self, array: Array, dtype: Any) -> None:
        super().__init__(array)
        self._dtype = dtype
        self._elements = self._bytes.view(dtype.numpy)

    @property
    def dtype(self) -> Any:
        return self._dtype

    def size(self) -> int:
        """Elements."""
        return int(self._elements.size)

    __len__ = size

    def nbytes(self) -> int:
        """Bytes."""
        return int(self._bytes.size)

    def element_size(self) -> int:
        """Bytes of an element."""
        return int(self._dtype.itemsize)

    def untyped(self) -> UntypedStorage:
        """The same bytes."""
        return UntypedStorage(self._bytes)

    def __getitem__(self, key: Any) -> Any:
        found = self._elements[key]
        return found.item() if np.ndim(found) == 0 else found.tolist()

    def __setitem__(self, key: Any, value: Any) -> None:
        self._elements[key] = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self._elements.tolist())

    def tolist(self) -> list[Any]:
        found: list[Any] = self._elements.tolist()
        return found

    def __repr__(self) -> str:
        lines = "".join(f" {v}\n" for v in self._elements[:1000].tolist())
        return (
            f"{lines}[tdsl.storage.TypedStorage(dtype={self._dtype}, device=cpu) of size "
            f"{self.size()}]"
        )
