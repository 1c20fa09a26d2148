"""Bands: kernels that share their outer indices run together, some rows at a time.

In: `Kernels`, and what the target offers. Out: the same kernels, those of a band next to each
other. Left to others: where a band's values live (`plan`), how it runs (`band_nests`).

A softmax reads its row three times: the second and third time it is in the cache. Where all that
reads a value is in its band, only a few rows of it ever exist: attention keeps no table of scores
for the whole batch. A sum over the rows is made in parts, so that it can share their band, and so
that several threads can work on it.
"""

from __future__ import annotations

from . import scalar as sc
from .dims import Dim, product
from .graph import REDUCERS, Input, Node
from .index_order import plain_indices
from .inline import reads_of
from .kernels import Band, Kernel, Kernels
from .loops import Load, Nest, Reduce, may_fail, postorder, values_of
from .lower import lone_nest
from .packed import contraction
from .records import dataclass, field
from .tile import Registers, tile


@dataclass(frozen=True, eq=False)
class _Rows:
    """How a kernel can take part: `most` of its first indices may be shared; they are those of its
    output, or, if it is `summed`, those of its sums. `touched` is what it reads or makes by them:
    tensors with the most leading indices at which every read agrees."""

    summed: bool
    most: int
    extents: tuple[Dim, ...]
    touched: dict[Node, int]


@dataclass(eq=False)
class _Forming:
    kernels: list[Kernel] = field(default_factory=list)
    ways: list[_Rows | None] = field(default_factory=list)
    shared: int = 0
    checks: bool = False

    def put(self, kernel: Kernel, way: _Rows | None) -> None:
        self.kernels.append(kernel)
        self.ways.append(way)

    def made(self) -> dict[Node, _Rows | None]:
        return {c: way for k, way in zip(self.kernels, self.ways, strict=True) for c in k.comps}


def banded(kernels: Kernels, registers: Registers) -> Kernels:
    """The bands of a CPU."""
    forming: list[_Forming] = []
    place: dict[Node, int] = {}
    copies: dict[Node, Kernel] = {}  # of what is given: each stands before what first reads it,
    apart: list[Kernel] = []  # or, where it cannot share that one's rows, before all others
    for kernel in kernels.kernels:
        is_copy = _is_copy(kernel)
        if is_copy and all(isinstance(n, Input) for n in kernel.operands):
            copies[kernel.comps[0]] = kernel
            continue
        ways = _ways(kernel, registers)
        checks = bool(ways) and may_fail(lone_nest(kernel))
        first = max((place[n] for n in kernel.operands if n in place), default=0)
        way: _Rows | None
        for g in range(len(forming) - 1, first - 1, -1):
            if checks and forming[g].checks:
                continue  # of two failures that of the first kernel is reported, wherever it is
            # a copy is not worth that others share fewer indices, or are parted
            if not is_copy and all(map(_is_copy, forming[g].kernels)):
                continue
            least = max(1, forming[g].shared) if is_copy else 1
            joined = next(
                (w for w in ((w, _shared(kernel, w, forming[g])) for w in ways) if w[1] >= least),
                None,
            )
            if joined is not None:
                way, forming[g].shared = joined
                break
        else:
            g = len(forming)
            way = _way_alone(kernel, ways, registers)
            forming.append(_Forming([], [], 0 if way is None else way.most))
        for n in [n for n in kernel.operands if n in copies]:
            copy = copies.pop(n)
            (own,) = _ways(copy, registers)
            if way is not None and _goes_along(own, way.touched.get(n, 0), way, forming[g].shared):
                forming[g].put(copy, own)
                place[n] = g
            else:
                apart.append(copy)
        forming[g].put(kernel, way)
        forming[g].checks |= checks
        for c in kernel.comps:
            place[c] = g
    forming[:0] = [_Forming([copy], [None]) for copy in (*apart, *copies.values())]
    order: list[Kernel] = []
    bands: list[Band] = []
    for group in forming:
        first = len(order)
        order += group.kernels
        summed = [n for n, way in enumerate(group.ways, first) if way is not None and way.summed]
        if group.shared and (len(group.kernels) > 1 or summed):
            bands.append(Band(first, len(order), group.shared, frozenset(summed)))
    return Kernels(kernels.function, tuple(order), tuple(bands))


def _goes_along(copy: _Rows, read: int, way: _Rows, shared: int) -> bool:
    """Whether a copy that is read by so many leading indices can share these of its reader's."""
    return min(copy.most, read) >= shared and copy.extents[:shared] == way.extents[:shared]


def _is_copy(kernel: Kernel) -> bool:
    """Whether all that is made are whole rows of another array, in some order."""
    (c, *others) = kernel.comps
    if others or c.reducer is not None or c.rank < 3 or not isinstance(c.body, sc.Read):
        return False
    order = plain_indices(c.body)
    return order is not None and order[-1:] == (c.rank - 1,)


def _shared(kernel: Kernel, way: _Rows, group: _Forming) -> int:
    """How many indices the group shares once the kernel has joined it; 0 if it cannot, or if that
    brings nothing."""
    made = group.made()
    shared = min(way.most, group.shared)
    gain = False
    for n in kernel.operands:
        if n in made:
            maker = made[n]
            if maker is None or maker.summed:
                return 0
            shared = min(shared, way.touched.get(n, 0))
            gain = True
        elif n in way.touched:
            gain |= any(w is not None and n in w.touched for w in group.ways)
    head = group.ways[0]
    if head is None or not gain:
        return 0
    while shared and (
        head.extents[:shared] != way.extents[:shared] or product(head.extents[:shared]).const == 1
    ):
        shared -= 1
    return shared


def _way_alone(kernel: Kernel, ways: list[_Rows], registers: Registers) -> _Rows | None:
    """How a kernel starts a group: by the rows of its sums, if it walks down columns otherwise."""
    summed = next((w for w in ways if w.summed), None)
    if summed is not None and len(ways) > 1 and _walks_down(tile(lone_nest(kernel), registers)):
        return summed
    return ways[0] if ways else None


def _walks_down(nest: Nest) -> bool:
    """Whether the innermost loop jumps from row to row of what it sums, for some columns that fill
    vectors: every step is on another page."""
    columns = [loop.index for loop in nest.loops if loop.lanes > 1]
    loads = [
        (x, s.loops[-1].index)
        for s in nest.body
        if isinstance(s, Reduce) and s.loops
        for x in postorder(values_of(s))
        if isinstance(x, Load)
    ]
    return any(
        (across := x.offset.coefficient(k)) is not None
        and across.const == 1
        and (down := x.offset.coefficient(inner)) is not None
        and (down.const is None or down.const > 64)
        for x, inner in loads
        for k in columns
    )


# --------------------------------------------------------------------------- one kernel


def _ways(kernel: Kernel, registers: Registers) -> list[_Rows]:
    if kernel.comps[0].target is not None:
        return []
    nest = lone_nest(kernel)
    found = contraction(nest, registers)
    ways: list[_Rows] = []
    c = kernel.comps[0]
    if _is_copy(kernel):  # by as many as the others share (`lower.by_rows`)
        return [_rows(kernel, False, c.rank - 1, c.extents)]
    batch = nest.loops[:1] if found is None else [x for x in nest.loops[:1] if x in found.batch]
    if batch:
        ways.append(_rows(kernel, False, batch[0].index + 1, c.extents[: c.rank]))
    if found is None and _sums_only(kernel):
        ways += _summed(kernel, nest)
    return ways


def _sums_only(kernel: Kernel) -> bool:
    """Whether every reduction of the kernel can be made in parts, and reads no other one."""
    own = set(kernel.comps)
    return any(c.reducer is not None for c in kernel.comps) and all(
        c.reducer is None
        or (REDUCERS[c.reducer].combine is not None and not own & {r.tensor for r in reads_of(c)})
        for c in kernel.comps
    )


def _summed(kernel: Kernel, nest: Nest) -> list[_Rows]:
    reduced = [c for c in kernel.comps if c.reducer is not None]
    reduces = [s for s in nest.body if isinstance(s, Reduce)]
    extents = reduced[0].extents[reduced[0].rank :]
    most = len(extents)
    first = reduced[0].rank
    for c, s in zip(reduced, reduces, strict=True):
        if not s.loops:
            return []
        # the numbers of a comprehension's reduced indices follow each other
        most = min(most, s.loops[0].index - first + 1)
        first += len(c.extents) - c.rank
        while most and extents[:most] != c.extents[c.rank : c.rank + most]:
            most -= 1
    return [_rows(kernel, True, most, extents)] if most > 0 else []


def _rows(kernel: Kernel, summed: bool, most: int, extents: tuple[Dim, ...]) -> _Rows:
    touched: dict[Node, int] = {}
    for c in kernel.comps:
        if summed and c.reducer is None:
            # computed when all parts are done, from whatever is complete by then
            touched |= dict.fromkeys((r.tensor for r in reads_of(c)), 0)
            continue
        base = c.rank if summed else 0
        for r in reads_of(c):
            agree = 0
            while agree < min(most, len(r.indices)) and r.indices[agree] is sc.index(base + agree):
                agree += 1
            touched[r.tensor] = min(agree, touched.get(r.tensor, agree))
    touched |= dict.fromkeys(kernel.comps, 0 if summed else most)
    return _Rows(summed, most, extents, {n: k for n, k in touched.items() if k})
