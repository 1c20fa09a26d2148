"""Inner kernels of a band: those that may run for a part of a long row at a time.

In: `Kernels` with bands. Out: the same, where kernels of a band that share one index more than its
rows stand next to each other, if that spares the room of whole tables. Left to others: where their
values live (`plan`), how long a row is at run time, and what then runs (`emit_inner`).

Attention makes a table of scores for every head, as large as the square of its length. Its kernels
share the rows of that table, too: what is made and read at one of them needs room for some of them
only, and a sum over them is added up as they come. Such a table begins with a product of two
operands that both depend on the band's rows; one with a matrix that all rows share would have that
packed anew for every part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from . import scalar as sc
from .dims import Dim, product
from .graph import REDUCERS, Comp, Node, operands
from .inline import reads_of
from .kernels import Band, Inner, Kernel, Kernels
from .loops import Reduce, may_fail
from .lower import InnerIndex, inner_nest, lone_nest
from .packed import contraction
from .packed_strip import with_strip
from .pairs import are_rows, sides_of_pairs
from .records import dataclass, field
from .tile import Registers

_TYPICAL = 512  # of a named dim, to compare sizes

_Known = dict[tuple[Kernel, InnerIndex, int], bool]
"""Whether a kernel can be an inner one in that way, in a band that shares so many indices."""

WINDOW = 256
"""Kernels among which those of a band of inner kernels alone are sought: the time that takes grows
with the square of their number."""


def with_inner(kernels: Kernels, registers: Registers) -> Kernels:
    """The bands with their inner kernels; or, where none has any, bands of inner kernels alone."""
    known: _Known = {}
    formed = {band: _best(kernels, band, registers, known) for band in kernels.bands}
    found = {band: best for band, best in formed.items() if best is not None}
    if found:
        return _arranged(kernels, found)
    return _apart(kernels, registers, known)


def _apart(kernels: Kernels, registers: Registers, known: _Known) -> Kernels:
    """Bands of inner kernels alone, wherever there are some."""
    stretches = [(0, len(kernels.kernels), WINDOW)]
    while stretches:
        first, last, window = stretches.pop()
        end = min(last, first + window)
        summed = frozenset(k for band in kernels.bands for k in band.summed if first <= k < end)
        stretch = Band(first, end, 0, summed)
        best = _best(kernels, stretch, registers, known)
        if best is None:
            stretches += [(first + window // 2, last, window)] if end < last else []
            continue
        changed = _arranged(kernels, {stretch: best})
        made = next(b for b in changed.bands if b.inner and first <= b.first < end)
        if made.last == end < last:  # there may be more of them
            stretches.append((first, last, 2 * window))
            continue
        kernels = changed
        stretches += [(made.last, last, WINDOW), (first, made.first, WINDOW)]
    return kernels


def _arranged(kernels: Kernels, found: Mapping[Band, _Forming]) -> Kernels:
    """The kernels of these bands in their new order. Where inner kernels are a band of their own,
    what they leave of others stays one."""
    own = kernels.kernels
    of = {kernel: kernels.band(k) for k, kernel in enumerate(own)}
    inner = {kernel for forming in found.values() for kernel in forming.inner}
    summed = {own[k] for band in kernels.bands for k in band.summed} - inner
    order: list[tuple[Band | None, Kernel]] = []
    done = 0
    for band, forming in found.items():
        order += [(of[kernel], kernel) for kernel in own[done : band.first]]
        for kernel in forming.order:
            order.append(
                (band if band.shared or kernel in forming.inner else of.get(kernel), kernel)
            )
        done = band.last
    order += [(of[kernel], kernel) for kernel in own[done:]]
    bands: list[Band] = []
    first = 0
    for old, group in groupby(order, key=lambda member: member[0]):
        members = [kernel for _, kernel in group]
        last = first + len(members)
        sums = frozenset(n for n, kernel in enumerate(members, first) if kernel in summed)
        if old in found:
            bands.append(Band(first, last, old.shared, sums, found[old].span(members)))
        elif old is not None and (len(members) > 1 or sums):
            bands.append(Band(first, last, old.shared, sums, old.inner))
        first = last
    return replace(kernels, kernels=tuple(kernel for _, kernel in order), bands=tuple(bands))


def _best(
    kernels: Kernels,
    band: Band,
    registers: Registers,
    known: _Known,
) -> _Forming | None:
    """The inner kernels that spare most, begun with each kernel in turn; `known` is for all
    calls."""
    own = kernels.kernels[band.first : band.last]
    seeds = [
        k
        for k, kernel in enumerate(own)
        if k + band.first not in band.summed
        and any(_is_over_pairs(c, band.shared) for c in kernel.comps)
    ]
    read_after = set(kernels.function.outputs)
    for k, kernel in enumerate(kernels.kernels):
        if k not in band:
            read_after.update(kernel.operands)
    # first by what indices say, which is quick and mostly enough
    best: _Forming | None = None
    for check in (None, registers):
        able = _Able(band.shared, kernels.function.outputs, check, known)
        # sums in parts are more exact: they become inner ones only where that spares a table
        every = [
            _formed(kernels, band, seed, sums, able, read_after)
            for sums in ((False,) if band.shared else (False, True))
            for seed in seeds
        ]
        best = max(every, key=lambda f: f.spared, default=None)
        if best is None or best.spared <= 0:
            return None
    return best


def _is_over_pairs(c: Comp, shared: int) -> bool:
    """Whether `c` is a sum of products, each factor with an index of the output of its own, and all
    of the `shared` ones; where there is none, of the rows of two arrays, at a size that is not
    known."""
    sides = sides_of_pairs(c)
    if sides is None:
        return False
    if shared:
        return all(set(range(shared)) <= sc.indices_of(side) for side in sides)
    return are_rows(c, sides) and c.extents[c.rank - 1].const is None


@dataclass(eq=False)
class _Forming:
    """The kernels of a band: those that run before the inner ones, these, and those that run after
    them. `made` is what inner kernels make, and, None, what is known when they all have run."""

    before: list[Kernel] = field(default_factory=list)
    inner: dict[Kernel, InnerIndex] = field(default_factory=dict)
    after: list[Kernel] = field(default_factory=list)
    made: dict[Node, InnerIndex | None] = field(default_factory=dict)
    spared: float = 0
    checks: bool = False

    @property
    def order(self) -> list[Kernel]:
        return [*self.before, *self.inner, *self.after]

    def span(self, members: Sequence[Kernel]) -> Inner:
        """Where the inner kernels stand among these."""
        first = next(n for n, kernel in enumerate(members) if kernel in self.inner)
        sums = (n for n, how in enumerate(self.inner.values(), first) if how == "sum")
        return Inner(first, first + len(self.inner), frozenset(sums))

    def put(self, kernel: Kernel, how: InnerIndex | None) -> None:
        if how is not None:
            self.inner[kernel] = how
        elif kernel.operands.keys() & self.made.keys():
            self.after.append(kernel)
        else:
            self.before.append(kernel)
            return
        self.made |= dict.fromkeys(kernel.comps, how)


def _formed(
    kernels: Kernels, band: Band, seed: int, with_sums: bool, able: _Able, read_after: set[Node]
) -> _Forming:
    """The inner kernels that begin with number `seed` of the band: all that read what they make,
    at its place; `with_sums`, those that are sums over rows, too."""
    forming = _Forming()
    own = kernels.kernels[band.first : band.last]
    extents = own[seed].comps[0].extents[: band.shared + 1]
    for k, kernel in enumerate(own):
        starts, reads = k == seed, kernel.operands.keys()
        hows: list[tuple[Kernel, InnerIndex | None]] = [(kernel, None)]
        is_sum = k + band.first in band.summed
        if (starts or reads & forming.made.keys()) and (with_sums or not is_sum):
            hows = able.ways(kernel, extents, forming.made)
        if starts and hows != [(kernel, "output")]:
            return _Forming()
        for x, how in hows:
            # of two failures that of the first kernel is reported, wherever it is
            if how is not None and able.may_fail(x):
                how = None if forming.checks else how
                forming.checks = True
            forming.put(x, how)
    if not band.shared and not any(_sums_rows(kernel, forming) for kernel in forming.inner):
        return forming
    outside = read_after.union(*(k.operands for k in (*forming.before, *forming.after)))
    for n, how in forming.made.items():
        if how == "output" and n not in outside and len(n.shape) > band.shared + 1:
            size = product(n.shape[band.shared :])
            forming.spared += size.evaluate(dict.fromkeys(size.names, _TYPICAL))
    return forming


def _sums_rows(kernel: Kernel, forming: _Forming) -> bool:
    """Whether the rows of a table are reduced, and not only multiplied: as those of scores or of a
    kernel's values are. Between the layers of a network nothing speaks for cutting rows."""
    return forming.inner[kernel] == "output" and any(
        c.reducer is not None
        and any(len(r.tensor.shape) > c.rank and r.tensor in forming.made for r in reads_of(c))
        and not _is_over_pairs(c, 0)
        for c in kernel.comps
    )


class _Able:
    """How kernels can take part; what does not depend on the others is kept."""

    def __init__(
        self,
        shared: int,
        outputs: tuple[Node, ...],
        check: Registers | None,
        known: _Known,
    ) -> None:
        self.shared, self.outputs, self.check, self.known = shared, outputs, check, known

    def ways(
        self, kernel: Kernel, extents: tuple[Dim, ...], made: dict[Node, InnerIndex | None]
    ) -> list[tuple[Kernel, InnerIndex | None]]:
        """The kernel, or its sums and what follows them, each with its way: None if it cannot.
        They have the index of extent `extents[-1]`, and read what is `made` there at the same
        place."""
        is_scatter = kernel.comps[0].target is not None
        if is_scatter or len(extents) <= self.shared or extents[-1].const == 1:
            return [(kernel, None)]
        if self.takes_part(kernel, "output", extents, made):
            return [(kernel, "output")]
        sums = [c for c in kernel.comps if c.reducer is not None]
        parts = [Kernel((c,)) for c in sums]
        if (
            not sums
            or kernel.rows is not None
            or any(self.outputs.count(c) > 1 or set(operands(c)) & set(kernel.comps) for c in sums)
            or not all(self.takes_part(x, "sum", extents, made) for x in parts)
        ):
            return [(kernel, None)]
        rest = tuple(c for c in kernel.comps if c not in sums)
        return [*((x, "sum") for x in parts), *((Kernel(rest), None) for _ in rest[:1])]

    def takes_part(
        self,
        kernel: Kernel,
        how: InnerIndex,
        extents: tuple[Dim, ...],
        made: dict[Node, InnerIndex | None],
    ) -> bool:
        shared, head = self.shared, kernel.comps[0]
        rows = head.rank if kernel.rows is None else kernel.rows
        own = shared if how == "output" else head.rank
        if (how == "output" and rows <= shared) or head.rank < shared:
            return False
        if how == "sum":
            if kernel.rows is not None or head.reducer is None:
                return False
            if head.dtype.is_half and head.reducer in ("sum", "prod"):
                return False  # what is added block by block would be rounded every time
        if (*head.extents[:shared], head.extents[own]) != extents:
            return False
        for c in kernel.comps:
            for r in reads_of(c):
                if r.tensor not in made or r.tensor in kernel.comps:
                    continue
                if made[r.tensor] != "output" or r.indices[shared] is not sc.index(own):
                    return False
        if self.check is None:
            return True
        key = kernel, how, shared
        if key not in self.known:
            self.known[key] = self.fits(kernel, how, self.check)
        return self.known[key]

    def may_fail(self, kernel: Kernel) -> bool:
        return self.check is not None and may_fail(lone_nest(kernel))

    def fits(self, kernel: Kernel, how: InnerIndex, registers: Registers) -> bool:
        """Whether its nest can be given a part of the index, and packs nothing that all rows of the
        band share."""
        nest = inner_nest(kernel, self.shared, how)
        if len(nest.ranged) != (2 if self.shared else 1):
            return False
        own = nest.ranged[-1]
        found = contraction(nest, registers)
        if found is None:
            if how == "output":
                return any(loop.index == own for loop in nest.loops)
            reducer = REDUCERS[kernel.comps[0].reducer or ""]
            return reducer.combine is not None and any(
                isinstance(s, Reduce) and s.loops[:1] and s.loops[0].index == own for s in nest.body
            )
        c = with_strip(found, registers)
        both = (c.left, c.right)
        if c.strip is not None:
            return False
        if self.shared and any(nest.ranged[0] not in x.nest.ranged for x in both):
            return False
        if how == "sum":
            return c.rest is None and c.left.reduced[0].index == own
        return own in (c.rows.index, c.columns.index)
