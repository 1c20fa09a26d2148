"""Layout: an operand that vectors would gather again and again is copied once in their order.

In: a `Function` whose comprehensions are final, and what the target offers. Out: one that computes
the same; some reads go to transposed copies. Left to others: which index runs along the lanes
(`tile`), operands of packed contractions (`packed`).

The distances of all pairs of points in n × 3 coordinates read every third element for every pair:
from a 3 × n copy they read rows.
"""

from __future__ import annotations

from . import scalar as sc
from .graph import Comp, Function, Node, comp, rewrite, with_body
from .inline import reads_of
from .kernels import Kernel
from .loops import Nest, Reduce
from .lower import lone_nest
from .packed import contraction
from .scalar import Scalar
from .tile import Registers, tile

REPEATED = 16
"""How often an operand is read at least for a copy of it to pay, where that is known."""


def laid_out(fn: Function, registers: Registers) -> Function:
    if registers.vector_bytes == 0:
        return fn

    def rule(node: Node) -> Node:
        if not isinstance(node, Comp) or node.target is not None or len(node.extents) < 2:
            return node
        if not any(_may_gather(node, r) for r in reads_of(node)):
            return node
        nest = lone_nest(Kernel((node,)))
        if contraction(nest, registers) is not None:
            return node
        lanes = _lanes(tile(nest, registers))
        found: dict[Scalar, Scalar] = {}
        for r in reads_of(node):
            axis = _gathered_axis(node, r, lanes)
            if axis is not None:
                found[r] = _from_copy(r, axis)
        return with_body(node, sc.rewrite(node.body, lambda x: found.get(x, x))) if found else node

    return fn.with_outputs(rewrite(fn.outputs, rule))


def _may_gather(node: Comp, r: sc.Read) -> bool:
    """Whether some index of the node, on which the last dim does not depend, moves the read, and
    another one does not."""
    if len(r.indices) < 2:
        return False
    own = sc.indices_of(r)
    return bool(own - sc.indices_of(r.indices[-1])) and len(own) < len(node.extents)


def _lanes(nest: Nest) -> int | None:
    """The index along the lanes, if there is only one."""
    loops = [*nest.loops, *(x for s in nest.body if isinstance(s, Reduce) for x in s.loops)]
    along = {loop.index for loop in loops if loop.lanes > 1}
    return along.pop() if len(along) == 1 else None


def _gathered_axis(node: Comp, r: sc.Read, lanes: int | None) -> int | None:
    """The dim, not the last one, along which the lanes walk step by step, if the whole dim is read
    several times."""
    if lanes is None:
        return None
    axes = [a for a, at in enumerate(r.indices) if lanes in sc.indices_of(at)]
    if len(axes) != 1 or axes[0] == len(r.indices) - 1:
        return None
    if r.indices[axes[0]] is not sc.index(lanes):
        return None
    if any(sc.as_affine(at) is None for at in r.indices):
        return None
    own = sc.indices_of(r)
    others = [e for k, e in enumerate(node.extents) if k not in own]
    if not any(e.const is None or e.const >= REPEATED for e in others):
        return None
    return axes[0]


def _from_copy(r: sc.Read, axis: int) -> Scalar:
    """The read, of a copy whose last dim is `axis`."""
    order = [a for a in range(len(r.indices)) if a != axis] + [axis]
    rank = len(order)
    at: list[Scalar] = [sc.index(order.index(a)) for a in range(rank)]
    copy = comp(
        sc.read(r.tensor, at),
        [r.tensor.shape[a] for a in order],
        rank,
        name=f"{r.tensor.name}_turned" if r.tensor.name else None,
    )
    return sc.read(copy, [r.indices[a] for a in order])
