"""Memory of large Tensors that no compiled function made: blocks like those of results.

In: a shape and a dtype, or an array to copy. Out: an array. Blocks begin at a multiple of 64 bytes,
so that no vector crosses a cache line, where NumPy's own memory begins at an odd multiple of 16: a
vector operation in the cache is up to 8 % faster. Below `LARGE` that is less than what asking for a
block costs, 2 µs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .core import Array

LARGE = 64 << 10  # bytes


def empty(shape: Sequence[int], dtype: Any) -> Array:
    """Elements of any value. Raises MemoryError."""
    dtype = np.dtype(dtype)
    size = dtype.itemsize
    for n in shape:
        size *= n
    if size < LARGE:
        return np.empty(tuple(shape), dtype)
    from ..compilation import entry

    return entry().in_a_block(lambda: np.empty(tuple(shape), dtype))


def copied(array: Array, order: Any = "C") -> Array:
    """A copy, in order or (`K`) with the axes laid out as they are."""
    if array.nbytes < LARGE:
        return np.array(array, order=order)
    from ..compilation import entry

    return entry().in_a_block(lambda: np.array(array, order=order))
