"""Partial sums: a long sum is added up in blocks, so that its error does not grow with its length.

In: a tiled nest. Out: the same nest, its long sums of floats in blocks of a few steps, whose sums
are added up in f64. The blocks depend on the shape alone. Left to others: how blocks are emitted
(`emit_reductions`).

A running sum of n terms in f32 is off by up to n/2 units in the last place; one in blocks by half a
block's steps. Contractions stay as they are: their packed form adds in the order of their loops.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from .loops import Nest, Reduce

STEPS = 32
"""Of a block. The conversion after each is then a few per cent of a sum that is in the cache."""


def with_partial_sums(nest: Nest) -> Nest:
    body = tuple(_in_blocks(s) if isinstance(s, Reduce) else s for s in nest.body)
    return replace(nest, body=body)


def _in_blocks(s: Reduce) -> Reduce:
    """Blocks of the innermost loop that is not known to be short, with all loops inside it."""
    if not all(a.reducer == "sum" and a.value.dtype.is_float for a in s.accumulators):
        return s
    steps = 1
    for loop in reversed(s.loops):
        known = loop.extent.const
        here = None if known is None else ceil(known / loop.step)
        if here is None or steps * here > STEPS:
            return replace(s, block=(loop.index, max(1, STEPS // max(1, steps))))
        steps *= here
    return s
