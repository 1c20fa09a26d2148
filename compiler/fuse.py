"""Fusion: what is computed together in one loop nest.

In: a simplified `Function`. Out: `Kernels`. First indices that are taken apart become several
(`digits`), short reductions are written out (`unroll`),
cheap producers disappear into their readers and expensive invariant parts come out of loops
(`inline`), operands get the layout that vectors want (`layout`), and products of 16-bit floats are
summed in f32 (`wide_products`); then comprehensions over the same output indices that want the same
tile share a nest, so that a reduction's epilogue, or a value and its gradient, see operands while
they are in registers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from . import primitives
from . import scalar as sc
from .bands import banded
from .digits import by_digits
from .facts import last_number
from .graph import Comp, Function, Node, operands, postorder
from .index_order import in_order_of_tables
from .inline import cost, extract, inline, primitives_only, reads_of
from .kernels import Kernel, Kernels, is_identity_read
from .layout import laid_out
from .lower import lone_nest, preferred_tile
from .outer_guards import with_outer_guards
from .packed import contraction
from .passes import with_row_sums
from .scalar import Scalar
from .share import shared_parts
from .tile import Preference, Registers
from .unroll import unroll
from .wide_products import with_wide_products

EPILOGUE = 8
"""Operations that a full register tile may be followed by: its code is repeated for every
accumulator."""


def fuse(fn: Function, registers: Registers) -> Kernels:
    """The kernels of `fn` for a target with these registers."""
    fn = primitives_only(fn)
    if registers.vector_bytes:
        fn = by_digits(fn)
    fn = unroll(fn)
    fn = inline(fn)
    if registers.tuning.extraction:
        fn = inline(extract(fn))
    fn = with_outer_guards(fn, registers)
    if registers.vector_bytes and registers.tuning.bands:
        fn = in_order_of_tables(fn)
    fn = with_wide_products(laid_out(fn, registers))
    return Kernels(fn, _grouped(fn, registers))


def fuse_in_bands(fn: Function, registers: Registers) -> Kernels:
    """The same with bands, which a CPU runs."""
    kernels = fuse(fn, registers)
    if registers.tuning.bands:
        kernels = banded(kernels, registers)
        for change in (shared_parts, with_row_sums):
            changed = change(kernels)
            if changed is not None:
                kernels = banded(Kernels(changed, _grouped(changed, registers)), registers)
    return replace(kernels, gathered=frozenset(_gathered(kernels.kernels, registers)))


def _gathered(kernels: Iterable[Kernel], registers: Registers) -> Iterator[Comp]:
    """The sums of large products, among kernels with an epilogue: others store their sums."""
    for kernel in kernels:
        sums = [c for c in kernel.comps if c.reducer is not None]
        if len(sums) == 1 < len(kernel.comps) and contraction(lone_nest(kernel), registers):
            yield from sums


def _grouped(fn: Function, registers: Registers) -> tuple[Kernel, ...]:
    """Greedily: each comprehension joins the last kernel that it can, else starts one. A kernel's
    place is that of its first member, so a member must read nothing made after that place."""
    groups: list[list[Comp]] = []
    wants: list[Preference] = []
    place: dict[Node, int] = {}
    for c in postorder(fn.outputs):
        if not isinstance(c, Comp):
            continue
        want = preferred_tile(c, registers)
        first = max((place[n] for n in operands(c) if n in place), default=0)
        for g in range(len(groups) - 1, first - 1, -1):
            if _joins(c, groups[g], want, wants[g], place, g):
                groups[g].append(c)
                place[c] = g
                wants[g] = wants[g].joined(want)
                break
        else:
            groups.append([c])
            wants.append(want)
            place[c] = len(groups) - 1
    return tuple(Kernel(tuple(g)) for g in groups)


def _joins(
    c: Comp, group: list[Comp], want: Preference, have: Preference, place: dict[Node, int], g: int
) -> bool:
    head = group[0]
    if c.target is not None or head.target is not None:
        return False
    if c.extents[: c.rank] != head.extents[: head.rank] or not want.agrees(have):
        return False
    members = set(group)
    if head.rank == 0 and c.reducer is not None and members & set(operands(c)):
        return False  # nothing would stay in registers, and neither could be made in parts
    if (have.full and _cost_of_a_point(c) > EPILOGUE) or (
        want.full and any(_is_dear(m) for m in group)
    ):
        return False
    if any(not is_identity_read(r, c.rank) for r in reads_of(c) if r.tensor in members):
        return False
    shared = {n for m in group for n in operands(m)} | members
    return any(n in shared for n in operands(c))


def _is_dear(c: Comp) -> bool:
    return c.reducer is None and _cost_of_a_point(c) > EPILOGUE


def _cost_of_a_point(c: Comp) -> int:
    """Of what depends on the indices; the rest is evaluated once."""
    if cost(c.body) <= EPILOGUE:
        return cost(c.body)
    varying: set[Scalar] = set()
    total = 0
    for x in sc.postorder([c.body]):
        own = isinstance(x, sc.Affine) and x.terms
        if own or any(y in varying for y in sc.children(x)):
            varying.add(x)
            if isinstance(x, sc.Op):
                total += primitives.cost(x.name, last_number(x))
    return total
