"""Merged indices: which neighbours among a kernel's indices are walked as one.

In: comprehensions, and the numbers of their indices in a nest. Out: which numbers disappear into
the index to their right, and the extents of those that are left. Left to others: the nest
(`lower`).
"""

from __future__ import annotations

from collections.abc import Sequence

from . import scalar as sc
from .dims import Dim, dim, strides
from .graph import Comp


def mergeable(
    comps: Sequence[Comp], numbers: dict[Comp, dict[int, int]], rank: int
) -> frozenset[int]:
    """The nest's indices that every access walks as rows of the index to their right: i and i + 1
    with stride(i) = extent(i + 1) · stride(i + 1), neither used as a number. The last of the
    output's, of which there are `rank`, stays apart from those of sums."""
    apart: set[int] = {rank - 1}  # cannot be merged with the index to the right
    for c in comps:
        own = numbers[c]
        last = {c.rank - 1, len(c.extents) - 1} if c.target is None else {len(c.extents) - 1}
        apart |= {own[k] for k in last if k >= 0}
        roots = (c.body, *(c.target or ()))
        inside = {
            a
            for x in sc.postorder(roots)
            if not isinstance(x, sc.Read)
            for a in sc.children(x)
            if isinstance(a, sc.Affine)
        }
        inside |= {r for r in roots if isinstance(r, sc.Affine)}
        for form in inside:
            for k, _ in form.terms:
                apart |= {own[k], own[k] - 1}
        for x in sc.reads(roots):
            if x.tensor in comps:
                continue
            total: dict[int, Dim] = {}
            for at, step in zip(x.indices, strides(x.tensor.shape), strict=True):
                if isinstance(at, sc.Affine):
                    for k, cf in at.terms:
                        total[k] = total.get(k, dim(0)) + cf * step
            for k in range(len(c.extents) - 1):
                here, right = total.get(k, dim(0)), total.get(k + 1, dim(0))
                if here != right * c.extents[k + 1]:
                    apart.add(own[k])
    every = {n for c in comps for n in numbers[c].values()}
    return frozenset(every - apart)


def merged_extents(
    comps: Sequence[Comp], numbers: dict[Comp, dict[int, int]], merged: frozenset[int]
) -> dict[int, Dim]:
    """The extents of the indices that are left; those of extent 1 are not."""
    out: dict[int, Dim] = {}
    for c in comps:
        room = dim(1)
        for k, e in enumerate(c.extents):
            room = room * e
            if numbers[c][k] not in merged:
                if room.const != 1:
                    out[numbers[c][k]] = room
                room = dim(1)
    return out


def distinct(names: dict[int, str]) -> dict[int, str]:
    """The same names, a number added where one repeats."""
    out: dict[int, str] = {}
    for k, name in names.items():
        out[k] = name if name not in out.values() else f"{name}_{k}"
    return out
