"""The choices that speed depends on and meaning does not, as one value.

In: nothing (data only). Out: `Tuning`; its defaults are the static choice. Left to others: what
each choice does (`tile`, `fuse`, `emit_band`, `packed`), which is best for a function and its sizes
(`runtime/tuning.py`, by measurement).

A choice may change the order in which sums are added up, so their last bits; never which numbers
are added, and never by the number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Tuning:
    """Every choice. Bytes are those of a block of a band's rows; copies and vectors count the
    vectors of registers that one index is unrolled by."""

    lanes: Literal["cheapest", "output", "sum"] = "cheapest"
    """The index along SIMD lanes where a nest has sums: the cheapest by `tile`'s cost model, one of
    the output, or one of those summed over."""

    pointwise_copies: int = 2
    """Vectors of a short nest without sums."""

    dear_copies: int = 1
    """The same of a nest with more than ten operations."""

    tile_vectors: int = 2
    """Vectors along the lanes of a register tile, whose accumulators fill the registers."""

    sum_copies: int = 4
    """Accumulators of a sum along lanes, at most."""

    split_cost: int = 64
    """Operations of the longest body that is emitted twice: whole tiles without masks, then the
    rest."""

    bands: bool = True
    """Whether kernels that share their rows run together, a block of rows at a time."""

    band_bytes: int = 1 << 18
    """Bytes of such a block: by default they stay in a core's own cache."""

    sharing: bool = True
    """Whether what two kernels of a band would both compute is computed once."""

    extraction: bool = True
    """Whether what does not depend on an inner index is computed once, outside, and stored."""

    packing: bool = True
    """Whether large products of two operands are packed into panels."""


STATIC = Tuning()
