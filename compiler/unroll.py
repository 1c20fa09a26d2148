"""Short reductions written out: a sum over three coordinates becomes two additions.

In: a `Function` over primitives. Out: one that computes the same, where a reduction over a few
known places has become a body without one. It can then be written into its readers (`inline`), so
that the squared distances of all pairs need not be kept.
"""

from __future__ import annotations

from functools import reduce
from itertools import product

from . import scalar as sc
from .graph import REDUCERS, Comp, Function, Node, rewrite, unreduced
from .inline import cost, reads_of

PLACES = 8
"""The most that are written out."""

OPERATIONS = 64
"""The most that a written-out body has."""


def unroll(fn: Function) -> Function:
    return fn.with_outputs(rewrite(fn.outputs, _written_out))


def _written_out(node: Node) -> Node:
    """reduce over k in 0:n of f(k) = f(0) ∘ f(1) ∘ … ∘ f(n - 1)"""
    if not isinstance(node, Comp) or node.reducer is None or node.target is not None:
        return node
    combine = REDUCERS[node.reducer].combine
    extents = [node.extents[k].const for k in node.reduced]
    places = reduce(lambda x, y: x * (PLACES + 1 if y is None else y), extents, 1)
    if combine is None or not 1 <= places <= PLACES or node.dtype.bits == 16:
        return node
    if (cost(node.body) + 1) * places > OPERATIONS or not _is_affine(node):
        return node
    every = product(*(range(n or 0) for n in extents))
    terms = [
        sc.substitute_indices(
            node.body, {k: sc.size(x) for k, x in zip(node.reduced, at, strict=True)}
        )
        for at in every
    ]
    return unreduced(node, reduce(lambda x, y: sc.op(combine, x, y), terms))


def _is_affine(node: Comp) -> bool:
    """Whether no index is computed: each such read keeps its check."""
    return all(sc.as_affine(at) is not None for r in reads_of(node) for at in r.indices)
