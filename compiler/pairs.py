"""Sums of products for all pairs: of a row of one array and a row of another.

In: a comprehension. Out: its two factors. Scores of attention are such sums, and squared distances
by their products. Left to others: what follows from that (`index_order`, `inner_bands`).
"""

from __future__ import annotations

from . import scalar as sc
from .graph import Comp
from .scalar import Scalar


def sides_of_pairs(c: Comp) -> tuple[Scalar, Scalar] | None:
    """The factors, each with an index of the output that the other lacks."""
    match c:
        case Comp(reducer="sum", target=None, body=sc.Op("mul" | "absorb", (x, y))):
            pass
        case Comp(reducer="sum", target=None, body=sc.Op("where", (_, sc.Op("mul", (x, y)), _))):
            pass
        case _:
            return None
    first, second = (sc.indices_of(side) & set(range(c.rank)) for side in (x, y))
    return (x, y) if first - second and second - first else None


def are_rows(c: Comp, sides: tuple[Scalar, Scalar]) -> bool:
    """Whether both read something along the last index that is summed."""
    last = sc.index(len(c.extents) - 1)
    return all(any(r.indices[-1:] == (last,) for r in sc.reads([side])) for side in sides)
