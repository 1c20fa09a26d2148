"""Passes: kernels of a band that walk along the same rows do so together.

In: `Kernels` with bands, and what the target offers. Out: the same, where kernels that make a value
of every element of a row, and kernels that sum over rows, are one (`Kernel.rows`). Left to others:
how a pass is one nest (`lower`), where its values live (`plan`).

A table of all pairs that is summed up along its rows need not exist, and what several sums of a
row read, they read once.
"""

from __future__ import annotations

from dataclasses import replace

from . import scalar as sc
from .dims import Dim, product
from .graph import REDUCERS, Comp, Function, Node, comp, identity_read, operands, with_nodes
from .inline import reads_of
from .kernels import Band, Kernel, Kernels, inside, is_read_in_pass
from .lower import lone_nest
from .packed import contraction
from .records import dataclass, field
from .tile import Registers, walks_rows

_MOST_SUMS = 8
"""Of a pass: each has accumulators."""

_MOST_POINTS = 4  # results of one sum for every row


@dataclass(frozen=True)
class _Walk:
    """How a kernel can take part: `rows` of its indices count rows (unless any number would do; 0:
    the band's rows, of one element each, are walked as one), `extents` are those of rows and of
    what is in them; it has so many `sums`, of floats (`rounded`), or of what needs no blocks."""

    rows: int | None
    extents: tuple[Dim, ...]
    sums: int
    rounded: bool


@dataclass(eq=False)
class _Pass:
    """Kernels at one place of the band's order. What is no pass is one kernel without a `walk`."""

    walk: _Walk | None
    kernels: list[Kernel] = field(default_factory=list)
    summed: bool = False

    def kernel(self) -> Kernel:
        if self.walk is None or (len(self.kernels) == 1 and self.walk.sums < 2):
            return self.kernels[0]
        return Kernel(tuple(c for k in self.kernels for c in k.comps), self.walk.rows)


def in_passes(kernels: Kernels, registers: Registers) -> Kernels:
    """The kernels of every band in passes. What is written in a parameter's place stays alone."""
    fixed = {kernels.function.outputs[o] for o, _ in kernels.in_place}
    out: list[Kernel] = []
    bands: list[Band] = []
    for k, kernel in enumerate(kernels.kernels):
        band = kernels.band(k)
        if band is None:
            out.append(kernel)
        elif band.first == k:
            first = len(out)
            passes = _formed(kernels, band, fixed, registers)
            out += [p.kernel() for p in passes]
            summed = frozenset(n for n, p in enumerate(passes, first) if p.summed)
            bands.append(replace(band, first=first, last=len(out), summed=summed))
    return replace(kernels, kernels=tuple(out), bands=tuple(bands))


def _formed(kernels: Kernels, band: Band, fixed: set[Node], registers: Registers) -> list[_Pass]:
    """Greedily: each kernel joins the last pass that it can, else starts one. A pass stands where
    its first kernel does, so a kernel must read nothing made after that place."""
    passes: list[_Pass] = []
    place: dict[Node, int] = {}
    every = [
        (part, k in band.summed)
        for k in range(band.first, band.last)
        for part in _by_kinds(kernels.kernels[k])
    ]
    for kernel, summed in every:
        free = fixed.isdisjoint(kernel.comps)
        walk = _walk(kernel, band.shared, summed, registers) if free else None
        first = max((place[n] for c in kernel.comps for n in operands(c) if n in place), default=0)
        for p in range(len(passes) - 1, first - 1, -1):
            joined = None if walk is None else _joined(kernel, walk, passes[p])
            if joined is not None:
                passes[p].walk, passes[p].summed = joined, passes[p].summed or summed
                passes[p].kernels.append(kernel)
                break
        else:
            p = len(passes)
            passes.append(_Pass(walk, [kernel], summed))
        for c in kernel.comps:
            place[c] = p
    return passes


# --------------------------------------------------------------------------- one kernel


def _is_rounded(c: Comp) -> bool:
    """Whether it is a sum that is made in blocks."""
    return c.reducer == "sum" and c.dtype.is_float


def _by_kinds(kernel: Kernel) -> list[Kernel]:
    """Sums that are made in blocks, and other reductions, each with what follows it, if they can
    be told apart."""
    kinds: dict[Node, bool] = {}
    for c in kernel.comps:
        own = {kinds[n] for n in operands(c) if n in kinds}
        if len(own) != (1 if c.reducer is None else 0):
            return [kernel]
        kinds[c] = _is_rounded(c) if c.reducer is not None else own.pop()
    groups = [tuple(c for c in kernel.comps if kinds[c] is kind) for kind in (True, False)]
    return [Kernel(g) for g in groups if g]


def _walk(kernel: Kernel, shared: int, summed: bool, registers: Registers) -> _Walk | None:
    sums = [c for c in kernel.comps if c.reducer is not None]
    nest = lone_nest(kernel)
    if contraction(nest, registers) is not None or not walks_rows(nest, registers):
        return None
    head = kernel.comps[0]
    if not sums:
        return _Walk(None, head.extents, 0, False) if head.rank >= shared else None
    rounded = {_is_rounded(c) for c in sums}
    if len(rounded) > 1 or any(set(operands(c)) & set(kernel.comps) for c in sums):
        return None
    if summed:  # of everything in the band's rows, of which there is one element each
        if any(c.rank > 0 for c in kernel.comps) or any(len(c.extents) != shared for c in sums):
            return None
        return _Walk(0, sums[0].extents, len(sums), *rounded)
    rows, points = sums[0].rank, 1
    if rows > shared and (few := sums[0].extents[rows - 1].const) is not None:
        if few > _MOST_POINTS:
            return None
        rows, points = rows - 1, few
    if points > 1 and len(sums) < len(kernel.comps):
        return None  # what follows a sum with several results for a row stays as it is
    along = {c.extents[c.rank :] for c in sums}
    if rows < shared or len(along) > 1 or any(_is_short(e, registers) for e in along):
        return None
    extents = (*sums[0].extents[:rows], *sums[0].extents[sums[0].rank :])
    return _Walk(rows, extents, points * len(sums), *rounded)


def _is_short(along: tuple[Dim, ...], registers: Registers) -> bool:
    known = product(along).const
    return known is not None and known * 4 < registers.vector_bytes


def _joined(kernel: Kernel, walk: _Walk, group: _Pass) -> _Walk | None:
    """How the group walks once the kernel has joined it; None if it cannot, or if that brings
    nothing."""
    have = group.walk
    if have is None or have.extents != walk.extents:
        return None
    rows = walk.rows if have.rows is None else have.rows
    if rows is None or (walk.rows is not None and walk.rows != rows):
        return None
    if have.sums and walk.sums and have.rounded != walk.rounded:
        return None
    sums = have.sums + walk.sums
    if sums > _MOST_SUMS:
        return None
    members = {c for k in group.kernels for c in k.comps}
    read: set[Node] = {*members}
    read |= {r.tensor for c in members for r in reads_of(c) if _is_inside(r, c, rows)}
    gain = False
    for c in kernel.comps:
        for r in reads_of(c):
            of = r.tensor
            if isinstance(of, Comp) and of in members and not is_read_in_pass(r, c, of, rows):
                return None
            gain |= of in read and _is_inside(r, c, rows)
    if not gain:
        return None
    return _Walk(rows, walk.extents, sums, have.rounded or walk.rounded)


def _is_inside(r: sc.Read, c: Comp, rows: int) -> bool:
    """Whether a read depends on where in a row it stands."""
    along = set(inside(c, rows))
    forms = (sc.as_affine(at) for at in r.indices)
    return any(f is None or any(k in along for k, _ in f.terms) for f in forms)


# --------------------------------------------------------------------------- sums of sums


def with_row_sums(kernels: Kernels) -> Function | None:
    """Sums over whole rows of a band as sums over each row, added up, where another kernel of the
    band walks along the same rows. None if there are none."""
    found: dict[Comp, Comp] = {}
    for band in kernels.bands:
        others = {
            c.extents
            for k in range(band.first, band.last)
            if k not in band.summed
            for c in kernels.kernels[k].comps
        }
        for k in band.summed:
            for c in kernels.kernels[k].comps:
                if c.rank > 0 or len(c.extents) <= band.shared:
                    continue
                if c.reducer is None or REDUCERS[c.reducer].combine is None:
                    continue
                if c.extents in others:
                    found[c] = _by_rows(c, band.shared)
    fn = kernels.function
    return fn.with_outputs(with_nodes(fn.outputs, found)) if found else None


def _by_rows(c: Comp, shared: int) -> Comp:
    """The same sum, of what each of the first indices' rows gives."""
    rows = comp(c.body, c.extents, shared, c.reducer, index_names=c.index_names, span=c.span)
    names = c.index_names[:shared]
    body = identity_read(rows)
    return comp(body, rows.shape, 0, c.reducer, name=c.name, index_names=names, span=c.span)
