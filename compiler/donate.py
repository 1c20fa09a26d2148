"""Donated arguments: outputs that are written in place of parameters.

In: `Kernels` whose function says which parameters' memory the caller gives away, and for which
outputs. Out: `Kernels` that say which outputs stand in place of which parameters, arranged so that
nothing reads a parameter where its output was written already. Left to others: who matched
parameters and outputs (`runtime.donation`), the buffers (`plan`).

A kernel writes in place if it is the last to read the parameter, and reads it element by element,
before it writes. In a band others may read the same rows before it. Where that does not hold, in
this order:

- what follows a reduction in its nest becomes a kernel of its own: a packed contraction gathers its
  sums where its result goes (`packed`), and may start over;
- an update that comes too early is put behind all other kernels;
- the output gets memory of its own, and is copied at the end.
"""

from __future__ import annotations

from dataclasses import replace

from . import scalar as sc
from .graph import Comp, Input, comp, identity_read, operands
from .inline import reads_of
from .kernels import Band, Kernel, Kernels, is_along, is_identity_read
from .loops import may_fail
from .lower import lone_nest
from .packed import contraction
from .tile import Registers

Pair = tuple[Comp, Input]
"""An output and the parameter in whose place it is to stand."""


def in_place(kernels: Kernels, registers: Registers) -> Kernels:
    """Every donated parameter replaced by its output."""
    fn = kernels.function
    wanted = {o: fn.params[p] for p, o in fn.donated}
    pairs = [(c, p) for o, p in wanted.items() if isinstance(c := fn.outputs[o], Comp)]
    for pair in pairs:
        if not is_direct(kernels, *pair, registers):
            kernels = _without_epilogue(kernels, *pair)
    for _ in pairs:  # to put one behind all others may bring it behind the next
        for pair in pairs:
            if not is_direct(kernels, *pair, registers):
                kernels = _last(kernels, *pair)
    outputs = list(fn.outputs)
    for (c, p), o in zip(pairs, wanted, strict=True):
        if not is_direct(kernels, c, p, registers):
            outputs[o] = comp(
                identity_read(c), c.shape, c.rank, name=f"{c.name or 't'}_copy", span=c.span
            )
    copies = [c for c in dict.fromkeys(outputs) if isinstance(c, Comp) and c not in fn.outputs]
    return replace(
        kernels,
        function=fn.with_outputs(outputs),
        kernels=(*kernels.kernels, *(Kernel((c,)) for c in copies)),
        in_place=tuple(wanted.items()),
    )


# --------------------------------------------------------------------------- what is safe


def is_direct(kernels: Kernels, c: Comp, p: Input, registers: Registers) -> bool:
    """Whether the kernel that computes `c` may write it in place of `p`."""
    own = _place(kernels, c)
    band = kernels.band(own)
    late = band is not None and own in band.summed  # written when all rows of the band are done
    for k, kernel in enumerate(kernels.kernels):
        if k == own or not _reads(kernel, p):
            continue
        if band is None or k not in band:
            if k > own:
                return False
        elif late:
            if k > own and k in band.summed:
                return False
        elif k > own or not _reads_own_rows(kernel, p, band.shared, k in band.summed):
            return False
    kernel = kernels.kernels[own]
    if band is not None and not late:
        inside = kernels.kernels[band.first : band.last]
        if any(_reads(x, p) for x in inside) and any(may_fail(lone_nest(x)) for x in inside):
            return False  # parts of a band are done again after a failure, from what it began with
        others = (x for k, x in enumerate(inside, band.first) if k != own)
        if band.is_inner(own) and any(_reads(x, p) for x in others):
            return False  # they come back to a row of which a part is written already
    if not _reads(kernel, p):
        return True
    return _reads_before(kernel, c, p, after_sums=late) and (
        late or not _is_packed(kernel, registers)
    )


def are_in_place(kernels: Kernels, registers: Registers) -> bool:
    """Whether every output that stands in a parameter's place may be written there."""
    outputs = kernels.function.outputs
    return all(
        isinstance(c := outputs[o], Comp) and is_direct(kernels, c, p, registers)
        for o, p in kernels.in_place
    )


def _reads_own_rows(kernel: Kernel, p: Input, shared: int, summed: bool) -> bool:
    """Whether a kernel of a band reads `p` at the rows that it works on only: the first `shared`
    indices of its output, or of what it sums over."""
    for c in kernel.comps:
        sums = summed and not is_along(c, kernel)
        first = c.rank if sums else 0
        rows = tuple(sc.index(first + k) for k in range(shared))
        for r in reads_of(c):
            if r.tensor is p and (r.indices[:shared] != rows or (sums and c.reducer is None)):
                return False
    return True


def _reads_before(kernel: Kernel, c: Comp, p: Input, *, after_sums: bool) -> bool:
    """Whether all reads of `p` in the kernel of `c` come before the write at the same place: what
    members read at the place that they compute is loaded once for all of them (`lower`)."""
    seen = False
    for x in kernel.comps:
        reads = [r for r in reads_of(x) if r.tensor is p]
        if reads and (x.reducer is None or not after_sums):
            if x.reducer is not None or any(not is_identity_read(r, x.rank) for r in reads):
                return False
            seen = True
        if x is c:
            before = seen
        elif reads and x.reducer is None and not seen:
            return False
    return before or not seen


def _is_packed(kernel: Kernel, registers: Registers) -> bool:
    return contraction(lone_nest(kernel), registers) is not None


def _reads(kernel: Kernel, p: Input) -> bool:
    return any(p in operands(c) for c in kernel.comps)


def _place(kernels: Kernels, c: Comp) -> int:
    return next(k for k, kernel in enumerate(kernels.kernels) if c in kernel.comps)


# --------------------------------------------------------------------------- what makes it safe


def _without_epilogue(kernels: Kernels, c: Comp, p: Input) -> Kernels:
    """What follows the last reduction of the kernel of `c` as the next kernel, `c` among it."""
    k = _place(kernels, c)
    comps = kernels.kernels[k].comps
    end = max((n for n, x in enumerate(comps, 1) if x.reducer is not None), default=0)
    if kernels.band(k) is not None or not 0 < end <= comps.index(c):
        return kernels
    if not _reads(kernels.kernels[k], p):
        return kernels
    return _with(kernels, k, (Kernel(comps[:end]), Kernel(comps[end:])))


def _last(kernels: Kernels, c: Comp, p: Input) -> Kernels:
    """`c` as the last kernel, where it reads `p` element by element and nothing reads `c`."""
    k = _place(kernels, c)
    comps = kernels.kernels[k].comps
    if kernels.band(k) is not None or c.reducer is not None:
        return kernels
    if any(r.tensor is p and not is_identity_read(r, c.rank) for r in reads_of(c)):
        return kernels
    if any(c in operands(x) for kernel in kernels.kernels for x in kernel.comps):
        return kernels
    others = tuple(x for x in comps if x is not c)
    kernels = _with(kernels, k, (Kernel(others),) if others else ())
    return replace(kernels, kernels=(*kernels.kernels, Kernel((c,))))


def _with(kernels: Kernels, k: int, instead: tuple[Kernel, ...]) -> Kernels:
    """`instead` of kernel `k`, which stands in no band."""
    by = len(instead) - 1
    bands = tuple(b if b.first < k else _moved(b, by) for b in kernels.bands)
    before, after = kernels.kernels[:k], kernels.kernels[k + 1 :]
    return replace(kernels, kernels=(*before, *instead, *after), bands=bands)


def _moved(band: Band, by: int) -> Band:
    summed = frozenset(k + by for k in band.summed)
    return replace(band, first=band.first + by, last=band.last + by, summed=summed)


# --------------------------------------------------------------------------- verifier


def verify_in_place(kernels: Kernels, registers: Registers) -> None:
    """Invariants: every donated parameter has its output in its place, of the same dtype and shape,
    at most one, and nothing reads the parameter where that was written."""
    fn = kernels.function
    assert {(p.position, o) for o, p in kernels.in_place} == set(fn.donated), "who stands where"
    assert len({p for _, p in kernels.in_place}) == len(kernels.in_place), "two in one place"
    for o, p in kernels.in_place:
        c = fn.outputs[o]
        assert isinstance(c, Comp) and c.dtype is p.dtype and c.shape == p.shape, "another type"
        assert is_direct(kernels, c, p, registers), f"{p.name} is read after it was replaced"
