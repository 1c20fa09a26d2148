"""Kernels: what is computed together in one loop nest, in order.

In: nothing (data only). Out: the dataclasses that fusion makes, their text and their verifier.
Left to others: what belongs together (`fuse`), where results live (`plan`).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

from . import scalar as sc
from .graph import Comp, Function, Input, Node, operands
from .inline import reads_of
from .records import dataclass
from .show import comp_text


@dataclass(frozen=True)
class Kernel:
    """Comprehensions with the same output extents, computed tile by tile in one loop nest.

    A later one may read an earlier one at the same output indices: the value is then still in a
    register. A kernel with a `target` (a scatter) stands alone.

    Where `rows` is stated, the kernel is a pass over rows, which the first `rows` indices of every
    member count: what has more indices, and sums over the rest, are made in one walk along each
    row. A member then reads another at its own place in the row, or what a whole row gave.
    """

    comps: tuple[Comp, ...]
    rows: int | None = None

    @cached_property
    def operands(self) -> Mapping[Node, None]:
        """What the kernel reads that it does not make, in order."""
        found = dict.fromkeys(n for c in self.comps for n in operands(c))
        return {n: None for n in found if n not in self.comps}


@dataclass(frozen=True)
class Inner:
    """Kernels of a band, from its kernel `first` up to its kernel `last`, that may run for some
    values at a time of one index more: the one behind the band's rows, of their output; or, for one
    in `summed`, the first that it sums over. What they read of each other, they read at the same
    value of it."""

    first: int
    last: int
    summed: frozenset[int]

    def __contains__(self, kernel: int) -> bool:
        return self.first <= kernel < self.last


@dataclass(frozen=True)
class Band:
    """The kernels from `first` up to `last`, which run one after another for some rows at a time,
    so that what one leaves is in the cache when the next reads it.

    The rows are the first `shared` indices of every kernel: of its output; or, for one in
    `summed`, of what it sums over: the sum is then made in parts. What they read of each other,
    they read at the same row. Where rows are long, those of `inner` run for a part of one at a
    time.
    """

    first: int
    last: int
    shared: int
    summed: frozenset[int]
    inner: Inner | None = None

    def __contains__(self, kernel: int) -> bool:
        return self.first <= kernel < self.last

    def is_inner(self, kernel: int) -> bool:
        return self.inner is not None and kernel - self.first in self.inner

    def is_inner_sum(self, kernel: int) -> bool:
        return self.inner is not None and kernel - self.first in self.inner.summed


@dataclass(frozen=True)
class Kernels:
    """`function` with every comprehension's body over primitives, and its kernels in order."""

    function: Function
    kernels: tuple[Kernel, ...]
    bands: tuple[Band, ...] = ()
    in_place: tuple[tuple[int, Input], ...] = ()
    """Outputs that are written where a parameter stands, which is read by nothing after that."""
    gathered: frozenset[Comp] = frozenset()
    """Sums of large products, which gather in memory: where a member of their kernel with the same
    dtype is stored, else in room of their own."""

    def band(self, kernel: int) -> Band | None:
        """The band in which a kernel runs."""
        return next((band for band in self.bands if kernel in band), None)

    def __str__(self) -> str:
        lines = [f"kernels of {self.function.name}"]
        for k, kernel in enumerate(self.kernels):
            band = self.band(k)
            if band is not None and band.first == k:
                rows = "row" if band.shared == 1 else f"{band.shared} indices"
                if band.shared:
                    lines.append(f"kernels {band.first} to {band.last - 1}, by the first {rows}:")
            if band is not None and band.inner is not None and k == band.first + band.inner.first:
                last = band.first + band.inner.last - 1
                by = "next" if band.shared else "first"
                how = f"some rows of large tables at a time, by the {by} index"
                lines.append(f"kernels {k} to {last}, {how}:")
            in_parts = band is not None and (k in band.summed or band.is_inner_sum(k))
            sums = ", in parts" if in_parts else ""
            walk = "" if kernel.rows is None else ", in one pass"
            lines.append(f"kernel {k}{sums}{walk}:")
            lines += ["    " + line for c in kernel.comps for line in comp_text(c).split("\n")]
        return "\n".join(lines) + "\n"


def is_along(c: Comp, kernel: Kernel) -> bool:
    """Whether `c` is a value of every element in a pass."""
    return kernel.rows is not None and c.reducer is None and c.rank > kernel.rows


def inside(c: Comp, rows: int) -> range:
    """The indices of `c` that walk along a row."""
    return c.reduced if c.reducer is not None else range(rows, c.rank)


def is_read_in_pass(x: sc.Read, c: Comp, of: Comp, rows: int) -> bool:
    """Whether `c` reads another member of its pass where that is known: in every step, at the same
    step; what sums over rows have left, at the same row, after the walk."""
    if of.reducer is None and of.rank > rows:
        own = (*range(rows), *inside(c, rows))
    elif c.reducer is not None or c.rank > rows:
        return False
    else:
        own = tuple(range(rows))
    return x.indices == tuple(sc.index(k) for k in own)


def is_identity_read(x: sc.Read, rank: int) -> bool:
    """Whether `x` reads at exactly the output indices 0, 1, …, rank - 1."""
    return len(x.indices) == rank and all(at is sc.index(k) for k, at in enumerate(x.indices))


def verify_kernels(kernels: Kernels) -> None:
    """Invariants: every comprehension stands in exactly one kernel; what a kernel reads is an
    input, or comes from an earlier kernel, or from an earlier member at the same indices; members
    of a kernel have the same output extents; scatters stand alone; bodies hold primitives only;
    every output is produced; bands do not overlap, and a kernel reads the sums of its own band in
    no kernel of it but the one that makes them; inner kernels read each other at their own place,
    and no sum that is not whole."""
    done: set[Node] = set(kernels.function.params)
    for kernel in kernels.kernels:
        made: set[Node] = set()
        for c in kernel.comps:
            assert c not in done and c not in made, "computed twice"
            assert c.target is None or len(kernel.comps) == 1, "a scatter stands alone"
            head, rows = kernel.comps[0], kernel.rows
            first = [x.extents[: x.rank if rows is None else rows] for x in (c, head)]
            assert first[0] == first[1], "other output extents"
            for x in sc.postorder((c.body, *(c.target or ()))):
                assert not isinstance(x, sc.Call | sc.Param), "not inlined"
                if isinstance(x, sc.Read) and isinstance(x.tensor, Comp) and x.tensor in made:
                    same = is_identity_read(x, c.rank)
                    if rows is not None:
                        same = is_read_in_pass(x, c, x.tensor, rows)
                    assert same, "read of a member at other indices"
            assert set(operands(c)) <= done | made, "read before it is computed"
            made.add(c)
        done |= made
    assert set(kernels.function.outputs) <= done, "an output is not produced"
    for before, band in zip((None, *kernels.bands), kernels.bands, strict=False):
        assert before is None or before.last <= band.first, "bands overlap"
        place = {c: k for k in range(band.first, band.last) for c in kernels.kernels[k].comps}
        for c, k in place.items():
            assert c.target is None, "a scatter in a band"
            for n in operands(c):
                where = place.get(n, k) if isinstance(n, Comp) else k
                early = where == k or where not in band.summed
                if isinstance(n, Comp):
                    early |= is_along(n, kernels.kernels[where])
                assert early, "a sum is read before it is whole"
        for k in filter(band.is_inner, range(band.first, band.last)):
            for c in kernels.kernels[k].comps:
                for r in reads_of(c):
                    where = place.get(r.tensor, k) if isinstance(r.tensor, Comp) else k
                    if where == k or not band.is_inner(where):
                        continue
                    assert not band.is_inner_sum(where), "a sum is read before it is whole"
                    own = sc.index(c.rank if band.is_inner_sum(k) else band.shared)
                    assert r.indices[band.shared] is own, "an inner kernel reads at another place"
