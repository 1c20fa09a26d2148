"""The choices that speed depends on and meaning does not, as one value.

In: nothing (data only). Out: `Tuning`, whose defaults are the static choice, and the values worth
trying. Left to others: what a choice does (`tile`, `fuse`, `emit_band`, `packed`), which is best
for a function and its sizes (`runtime/tuning.py`, by measurement).

A choice may change the order in which sums are added up, so their last bits; never what is added,
and nothing by the number of threads.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from .records import dataclass


@dataclass(frozen=True)
class Tuning:
    """Every choice. Copies and vectors count the vectors of registers by which an index is
    unrolled."""

    lanes: Literal["cheapest", "output", "sum"] = "cheapest"
    """The index along SIMD lanes where a nest reduces: the cheapest by `tile`'s cost model, one of
    the output, or one of those reduced over."""

    dear_copies: int | None = None
    """Vectors of a body of more than ten operations; unless stated by `tile`'s cost model."""

    tile_vectors: int = 2
    """Vectors along the lanes of a register tile, whose accumulators fill the registers."""

    sum_copies: int = 4
    """Accumulators of a reduction along lanes, at most: for short rows fewer are better."""

    split_cost: int | None = None
    """Operations of the longest body that is emitted twice: whole tiles without masks, then the
    rest. Unless stated by what masks cost."""

    bands: bool = True
    """Whether kernels that share their rows run together, a block of rows at a time."""

    band_bytes: int = 1 << 18
    """Bytes of such a block: by default they stay in a core's own cache."""

    extraction: bool = True
    """Whether what does not depend on an inner index is computed outside, once, and stored."""

    packing: bool = True
    """Whether large products of two operands are packed into panels."""

    @property
    def changes(self) -> dict[str, Any]:
        """The choices that are not the static ones, by name."""
        return {n: v for n, v in asdict(self).items() if v != getattr(STATIC, n)}

    def __str__(self) -> str:
        """`bands=False, sum_copies=2`."""
        return ", ".join(f"{n}={v}" for n, v in self.changes.items()) or "static choice"


STATIC = Tuning()

CANDIDATES: tuple[tuple[str, Any], ...] = (
    ("lanes", "output"),
    ("lanes", "sum"),
    ("dear_copies", 1),
    ("dear_copies", 2),
    ("tile_vectors", 1),
    ("tile_vectors", 4),
    ("sum_copies", 1),
    ("split_cost", 64),
    ("split_cost", 512),
    ("bands", False),
    ("band_bytes", 1 << 16),
    ("band_bytes", 1 << 19),
    ("extraction", False),
    ("packing", False),
)
"""The values that are tried, by name: each won somewhere by more than the noise."""
