"""Shared parts: what two kernels of a band would both compute is computed once.

In: banded `Kernels`. Out: a `Function` in which expensive subexpressions that stand in several
kernels of a band are comprehensions of their own; None if there are none. Left to others: the
kernels and bands of that function (`fuse`, `bands`).

A value and its derivative often share a function: the sum of gelu(x) and its gradient both need
erf(x/√2). In a band the second kernel finds it in the cache.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from . import ranges
from . import scalar as sc
from .graph import Comp, Function, Node, operands, with_body, with_nodes
from .inline import Part, comp_of, cost, is_no_larger, part_of
from .kernels import Kernels
from .records import dataclass
from .scalar import Scalar

DEAR = 5
"""Operations that cost more than a store and two loads in the cache: a division and one more."""


@dataclass(frozen=True, eq=False)
class _Site:
    """Where a subexpression stands. `order` are the node's indices on which it depends: those of
    the band's rows, then the others as they appear."""

    kernel: int
    node: Comp
    value: Scalar
    order: list[int]


def shared_parts(kernels: Kernels) -> Function | None:
    found: dict[Comp, dict[Scalar, Scalar]] = {}
    for band in kernels.bands:
        sites: dict[tuple[Part, tuple[int, ...]], list[_Site]] = {}
        sizes: list[Node] = []
        for k in range(band.first, band.last):
            for c in kernels.kernels[k].comps:
                sizes += [c, *operands(c)]
                if k in band.summed and c.reducer is None:
                    continue  # computed once, when all parts are done
                first = c.rank if k in band.summed else 0
                for key, site in _sites(k, c, range(first, first + band.shared)):
                    sites.setdefault(key, []).append(site)
        taken: set[tuple[Comp, Scalar]] = set()
        for (part, _), places in sorted(sites.items(), key=lambda item: -cost(item[0][0].body)):
            places = [s for s in places if (s.node, s.value) not in taken]
            if len({s.kernel for s in places}) < 2 or not is_no_larger(part.extents, sizes):
                continue
            first_site = places[0]
            shared = comp_of(first_site.node, first_site.value, first_site.order)
            for s in places:
                at = [sc.index(k) for k in s.order]
                found.setdefault(s.node, {})[s.value] = sc.read(shared, at)
                taken.update((s.node, x) for x in sc.postorder([s.value]))
    if not found:
        return None
    changed = {c: with_body(c, _replaced(c.body, values)) for c, values in found.items()}
    fn = kernels.function
    return fn.with_outputs(with_nodes(fn.outputs, changed))


def _sites(k: int, c: Comp, rows: range) -> Iterator[tuple[tuple[Part, tuple[int, ...]], _Site]]:
    """The parts of a body that are dear, depend on the rows, and may be computed anywhere."""
    guards = ranges.path_guards([c.body])
    for x in sc.postorder([c.body]):
        if not isinstance(x, sc.Op) or x.dtype.is_weak or x.dtype.is_bool or cost(x) < DEAR:
            continue
        part, order = part_of(c, x)
        if not set(rows) <= set(order):
            continue
        if x is c.body and c.reducer is None:
            continue  # it is a comprehension already, which `extract` lets others read
        if ranges.may_stand_apart(x, guards[x], c.extents):
            arranged = [*rows, *(i for i in order if i not in rows)]
            yield (part, tuple(order.index(i) for i in rows)), _Site(k, c, x, arranged)


def _replaced(root: Scalar, values: Mapping[Scalar, Scalar]) -> Scalar:
    return sc.rewrite(root, lambda x: values.get(x, x))
