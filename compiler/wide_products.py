"""Products of 16-bit floats are summed in f32.

In: a `Function`. Out: the same, every sum of products of two f16 or two bf16 as a sum in f32 and a
comprehension that rounds it once. Such a product is exact in f32, so this is what fused additions
give; and a packed product, whose sums stand in memory for a while, needs f32 there.
"""

from __future__ import annotations

from . import scalar as sc
from .dtypes import F32
from .graph import Comp, Function, Node, comp, identity_read, rewrite
from .scalar import Scalar


def with_wide_products(fn: Function) -> Function:
    return fn.with_outputs(rewrite(fn.outputs, _widened))


def _widened(node: Node) -> Node:
    if not isinstance(node, Comp) or node.reducer != "sum" or node.target is not None:
        return node
    if not node.dtype.is_half:
        return node
    body = _exact(node.body)
    if body is None:
        return node
    names, span = node.index_names, node.span
    sums = comp(body, node.extents, node.rank, node.reducer, index_names=names, span=span)
    return comp(
        sc.cast(identity_read(sums), node.dtype),
        node.shape,
        node.rank,
        name=node.name,
        index_names=names[: node.rank],
        span=span,
    )


def _exact(x: Scalar) -> Scalar | None:
    """A product, perhaps in a branch, in f32."""
    match x:
        case sc.Op("mul" | "absorb" as name, factors):
            return sc.op(name, *(sc.cast(factor, F32) for factor in factors))
        case sc.Op("where", (test, then, other)):
            yes, no = _exact(then), _exact(other)
            return None if yes is None or no is None else sc.op("where", test, yes, no)
        case sc.Const() if x.value == 0:  # a literal, by which later stages know a guarded sum
            return sc.const(x.value, F32)
        case sc.Const():
            return sc.convert(x, F32)
        case _:
            return None
