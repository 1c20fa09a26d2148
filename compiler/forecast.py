"""Which shared routines a function will most likely call, told from its graph alone.

In: a checked function, its gradients still requests. Out: names of `entry_table.ROUTINES`. They are
then compiled while the function itself is differentiated and planned. Which it does call is known
when its nests are (`packed.Contraction.routines`); a wrong guess costs time, once.
"""

from __future__ import annotations

from collections.abc import Iterator

from . import scalar as sc
from .dims import product
from .dtypes import F32, F64
from .graph import Comp, Function, postorder
from .packed import WORTH_PACKING


def likely_routines(fn: Function) -> list[str]:
    return sorted({what for c in postorder(fn.outputs) for what in _of(c)})


def _of(c: object) -> Iterator[str]:
    """Of a sum of products of two reads, each with an output index that the other lacks."""
    if not isinstance(c, Comp) or c.reducer != "sum" or c.rank < 2 or c.target is not None:
        return
    match c.body:
        case sc.Op("mul", (sc.Read() as x, sc.Read() as y)) if c.dtype in (F32, F64):
            work = product(c.extents).const
            first, second = (sc.indices_of(r) & set(range(c.rank)) for r in (x, y))
            alone = first ^ second
            if not first - second or not second - first or c.rank - 1 not in alone:
                return
            if work is not None and work < WORTH_PACKING:
                return
            yield f"products {c.dtype}"
            if all(i is sc.index(k) for r in (x, y) for i in r.indices for k in sc.indices_of(i)):
                yield f"plain {c.dtype}"
