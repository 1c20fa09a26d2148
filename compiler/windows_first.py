"""Sums over windows whose result runs along the window: they are made in another order.

In: a `Function` whose comprehensions are final, and what the target offers. Out: one that computes
the same: where a product's operand is read in windows, and the result's last index is a place of
the window (a convolution's gradient by its kernel), the sums stand in memory with the other
operand's indices last. Vectors run along these; the windows are read where they stand, as rows
(`packed_places`), not copied once for every place. Left to others: operands that are packed once
for all places (`packed_strip`).
"""

from __future__ import annotations

from . import scalar as sc
from .graph import Comp, Function, Node, comp, rewrite, unreduced
from .kernels import Kernel
from .lower import lone_nest
from .packed import contraction
from .packed_places import with_places
from .packed_strip import with_strip
from .scalar import Affine
from .tile import Registers


def windows_first(fn: Function, registers: Registers) -> Function:
    if registers.vector_bytes == 0:
        return fn

    def rule(node: Node) -> Node:
        turned = _turned(node) if isinstance(node, Comp) else None
        if not isinstance(node, Comp) or turned is None:
            return node
        usual = contraction(lone_nest(Kernel((node,))), registers)
        if usual is None or with_strip(usual, registers).strip is not None:
            return node
        sums, order = turned
        found = contraction(lone_nest(Kernel((sums,))), registers)
        if found is None or with_places(found).places is None:
            return node
        return unreduced(node, sc.read(sums, [sc.index(k) for k in order]))

    return fn.with_outputs(rewrite(fn.outputs, rule))


def _turned(node: Comp) -> tuple[Comp, list[int]] | None:
    """The sums with the indices last that the read in windows lacks; which index of the node each
    of theirs is."""
    if node.reducer != "sum" or node.rank < 2 or node.target is not None:
        return None
    match node.body:
        case sc.Op("mul", (sc.Read() as x, sc.Read() as y)):
            pass
        case _:
            return None
    last = node.rank - 1
    windows, other = (x, y) if last in sc.indices_of(x) else (y, x)
    mine, others = sc.indices_of(windows), sc.indices_of(other)
    if last in others or not any(_mixes(at, last, node.rank) for at in windows.indices):
        return None
    own = [k for k in range(node.rank) if k in others and k not in mine]
    if not own:
        return None
    order = [k for k in range(node.rank) if k not in own] + own
    new = {k: sc.index(order.index(k)) for k in order}
    summed = range(node.rank, len(node.extents))
    new |= {k: sc.index(k) for k in summed}
    names = dict(enumerate(node.index_names))
    sums = comp(
        sc.substitute_indices(node.body, new),
        [node.extents[k] for k in (*order, *summed)],
        node.rank,
        "sum",
        index_names=[names.get(k, "") for k in (*order, *summed)],
        name=f"{node.name}_turned" if node.name else None,
        span=node.span,
    )
    return sums, order


def _mixes(at: sc.Scalar, own: int, rank: int) -> bool:
    """Whether a position is a sum of an output's index and a summed one."""
    match at:
        case Affine(terms):
            found = {k for k, _ in terms}
            return own in found and any(k >= rank for k in found)
        case _:
            return False
