"""bfloat16 as bits: NumPy has no such dtype, so its elements are held as uint16."""

from __future__ import annotations

import numpy as np

from .core import Array


def bfloat16_bits(values: Array) -> Array:
    """Values rounded to bfloat16 (to nearest, ties to even), as their bits."""
    bits = np.ascontiguousarray(values, np.float32).reshape(np.shape(values)).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    nan = (bits & 0x7FFFFFFF) > 0x7F800000
    return np.asarray(np.where(nan, 0x7FC0, rounded).astype(np.uint16))


def bfloat16_values(bits: Array) -> Array:
    """bfloat16 bits as float32 values."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
