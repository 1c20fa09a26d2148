"""How far each index of a statement runs: `infer`.

In: the uses of the indices as positions of reads (`x[i+p]`: the affine form i + p against the
extent of x's dim), and the ranges that the statement states. Out: a lower and an upper bound for
every index, or an error that shows what was read. An index that stands bare runs over that dim;
one that stands only in affine positions takes the range that keeps all its reads in bounds, the
other indices running over the whole of theirs. A read under a condition on its index is bounded
by that condition, and says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from ..compiler.dims import Dim, dim
from ..compiler.errors import Note
from ..compiler.records import dataclass
from ..compiler.span import Span
from .check_frame import Frame, kind_of, relation, static_size
from .check_index_uses import Bounds, Use
from .syntax import Expr

if TYPE_CHECKING:
    from .check_indices import Indices


# --------------------------------------------------------------------------- inference


def infer(frame: Frame, ix: Indices, outputs: int | None, span: Span) -> bool:
    """Set `ix.bounds`. The first `outputs` indices are the result's and must begin at 0 unless
    stated; None where the statement scatters. False where an error was reported."""
    found: dict[int, Bounds] = {}
    stated = _stated(frame, ix, found)
    if stated is None:
        return False
    inference = _Inference(frame, ix, found, stated, outputs or 0)
    if not inference.run():
        return False
    ix.bounds = [found[k] for k in range(len(ix.names))]
    return True


def _stated(frame: Frame, ix: Indices, found: dict[int, Bounds]) -> set[int] | None:
    """The ranges written at the statement's end."""
    ok = True
    stated: set[int] = set()
    for r in ix.explicit:
        numbers = [k for k, n in enumerate(ix.names) if n == r.index.id]
        if not numbers:
            frame.error("E0507", f"`{r.index.id}` is not an index of this statement", r.index.span)
            ok = False
            continue
        lo, hi = stated_size(frame, r.lo), stated_size(frame, r.hi)
        if lo is None or hi is None:
            ok = False
            continue
        if stated & set(numbers):
            frame.error("E0507", f"the range of `{r.index.id}` is stated twice", r.span)
            ok = False
            continue
        what = f"the range {lo}:{hi} of `{r.index.id}`"
        ok &= frame.require(hi - lo, what, r.span, never=f"{what} ends before it begins")
        for k in numbers:
            found[k] = Bounds(lo, hi)
            stated.add(k)
    return stated if ok else None


def stated_size(frame: Frame, e: Expr) -> Dim | None:
    """A bound of `for i in lo:hi`."""
    value = frame.operand(e, None)
    if value is None:
        return None
    found = static_size(value)
    if found is None:
        return frame.error("E0507", f"a range's bound is a size, got {kind_of(value)}", e.span)
    return found


@dataclass
class _Inference:
    frame: Frame
    ix: Indices
    found: dict[int, Bounds]
    stated: set[int]
    outputs: int

    def run(self) -> bool:
        hard = [u for u in self.ix.uses if u.indices and not u.guarded]
        soft = [u for u in self.ix.uses if u.indices and u.guarded]
        settled: set[int] = set()  # uses that the ranges were derived from
        everything = range(len(self.ix.names))
        ok = True
        for k in everything:
            if k not in self.found:
                ok &= self.from_bare(k, hard, soft, settled)
        if not ok:
            return False
        while True:
            ready = [k for k in everything if k not in self.found and self.ready(k, hard)]
            if not ready:
                break
            for k in ready:
                if not self.from_affine(k, hard, settled):
                    return False
        for k in everything:
            if k not in self.found:
                self.unknown(k, hard, soft)
                ok = False
        return ok and self.begins(everything) and self.verified(hard, settled)

    def from_bare(self, k: int, hard: list[Use], soft: list[Use], settled: set[int]) -> bool:
        """Bare reads give the range; they must agree. Affine reads of this index alone may make
        it smaller."""
        bare = [u for u in hard if u.bare and u.indices == (k,)]
        if not bare and not any(k in u.indices for u in hard):
            mine = [u for u in soft if k in u.indices]
            if mine and all(u.bare for u in mine):
                bare = mine  # all reads stand under conditions, and none is shifted
        if not bare:
            return True
        first = bare[0]
        name = self.ix.names[k]
        for other in bare[1:]:
            if other.extent != first.extent:
                self.frame.error(
                    "E0506",
                    f"the index `{name}` runs over two sizes: {first}, {other}",
                    other.span,
                    None,
                    (
                        Note(f"`{name}` runs over {first.extent} here", first.span),
                        *self.frame.dim_notes((first.extent,), (other.extent,)),
                    ),
                )
                return False
        bounds = Bounds(dim(0), first.extent)
        for u in hard:
            if u.indices == (k,) and not u.bare:
                allowed = self.allowed(k, u)
                narrowed = None if allowed is None else self.both(bounds, allowed)
                if narrowed is None:
                    return self.two_readings(k, bounds, allowed, first, u)
                bounds = narrowed
                settled.add(id(u))
        settled |= {id(u) for u in bare}
        self.found[k] = bounds
        return True

    def ready(self, k: int, hard: list[Use]) -> bool:
        mine = [u for u in hard if k in u.indices]
        return bool(mine) and all(j in self.found for u in mine for j in u.indices if j != k)

    def from_affine(self, k: int, hard: list[Use], settled: set[int]) -> bool:
        bounds: Bounds | None = None
        first: Use | None = None
        for u in hard:
            if k not in u.indices:
                continue
            allowed = self.allowed(k, u)
            if allowed is None:
                self.needs_range(k, u, "its position is no integer multiple of it plus the rest")
                return False
            if bounds is None:
                bounds, first = allowed, u
            else:
                narrowed = self.both(bounds, allowed)
                if narrowed is None:
                    assert first is not None
                    return self.two_readings(k, bounds, allowed, first, u)
                bounds = narrowed
            settled.add(id(u))
        assert bounds is not None
        self.found[k] = bounds
        return True

    def allowed(self, k: int, u: Use) -> Bounds | None:
        """The values of index `k` for which `u` is in bounds, whatever the others are."""
        slope = dict(u.form.terms)[k].const
        if slope is None:
            return None
        rest = self.span_of(u, lambda j: j != k)
        if rest is None:
            return None
        low, high = rest
        last = u.extent - 1
        if slope > 0:  # low + slope*k >= 0 and high + slope*k <= last
            return Bounds((-low + (slope - 1)) // slope, (last - high) // slope + 1)
        slope = -slope
        return Bounds((high - last + (slope - 1)) // slope, low // slope + 1)

    def span_of(self, u: Use, taken: Callable[[int], bool]) -> tuple[Dim, Dim] | None:
        """The least and the greatest value of `u`'s form over the ranges of the chosen indices
        (the others left out)."""
        low = high = u.form.const
        for j, c in u.form.terms:
            if not taken(j):
                continue
            first, last = self.found[j].lo, self.found[j].hi - 1
            if self.frame.sizes.proven(c):
                low, high = low + c * first, high + c * last
            elif self.frame.sizes.proven(-c):
                low, high = low + c * last, high + c * first
            else:
                return None
        return low, high

    def both(self, a: Bounds, b: Bounds) -> Bounds | None:
        """The intersection, where it can be told which bound is the tighter."""
        lo = self.larger(a.lo, b.lo)
        smaller = self.larger(-a.hi, -b.hi)
        return None if lo is None or smaller is None else Bounds(lo, -smaller)

    def larger(self, a: Dim, b: Dim) -> Dim | None:
        if self.frame.sizes.proven(a - b):
            return a
        return b if self.frame.sizes.proven(b - a) else None

    # --------------------------------------------------------------------- checks

    def begins(self, numbers: Iterable[int]) -> bool:
        """Where the inferred ranges begin: a result's entries are numbered from 0."""
        ok = True
        for k in numbers:
            bounds = self.found[k]
            if k not in self.stated:
                name = self.ix.names[k]
                first_use = next(u for u in self.ix.uses if k in u.indices)
                what = f"the range {bounds} of `{name}`"
                never = f"{what} would have a size of {bounds.extent}"
                ok &= self.frame.require(
                    bounds.extent, what, first_use.span, never=never, code="E0516"
                )
                if bounds.lo == dim(0):
                    continue
                if k < self.outputs or not self.frame.sizes.proven(bounds.lo):
                    self.frame.error(
                        "E0508",
                        f"`{name}` would run over {bounds}, and an index begins at 0",
                        first_use.span,
                        self.shifted_hint(k, bounds),
                    )
                    ok = False
        return ok

    def shifted_hint(self, k: int, bounds: Bounds) -> str:
        name = self.ix.names[k]
        if self.frame.sizes.proven(-bounds.lo):
            return f"to begin at 0, state the range: `for {name} in 0:{bounds.hi}`"
        if k >= self.outputs:
            return f"shift the reads, or state the range: `for {name} in …`"
        return (
            f"shift the reads, or state the range: `for {name} in {bounds}` (entry 0 of the result "
            f"then belongs to {name} = {bounds.lo})"
        )

    def verified(self, hard: list[Use], settled: set[int]) -> bool:
        """The reads that did not shape the ranges: proved in bounds, or required at run time
        where a range was stated."""
        ok = True
        for u in hard:
            if id(u) in settled:
                continue
            reach = self.span_of(u, lambda _: True)
            if reach is None:
                continue  # a coefficient of unknown sign: checked at run time
            low, high = reach
            margins = (low, u.extent - 1 - high)
            if any(j in self.stated for j in u.indices):
                for margin in margins:
                    shown = ", ".join(f"{self.ix.names[j]} in {self.found[j]}" for j in u.indices)
                    what = f"the read of `{u.tensor}` (dim {u.axis}, size {u.extent}) with {shown}"
                    ok &= self.frame.require(margin, what, u.span)
            elif not all(self.frame.sizes.proven(m) for m in margins):
                self.overlap(u, margins)
                ok = False
        return ok

    # --------------------------------------------------------------------- messages

    def overlap(self, u: Use, margins: Sequence[Dim]) -> None:
        """Every index of this read has its range from elsewhere, and together they reach out."""
        names = [self.ix.names[j] for j in u.indices]
        ranges = ", ".join(
            f"`{n}` over {self.found[j]}" for n, j in zip(names, u.indices, strict=True)
        )
        missing = next(m for m in margins if not self.frame.sizes.proven(m))
        self.frame.error(
            "E0507",
            f"with {ranges} this read of `{u.tensor}` (size {u.extent}) is in bounds only if "
            f"{relation(missing)}",
            u.span,
            f"say which index is to run less far: `for {names[0]} in 0:…`",
            self.frame.dim_notes((u.extent,), *[(self.found[j].hi,) for j in u.indices]),
        )

    def two_readings(self, k: int, a: Bounds, b: Bounds | None, first: Use, second: Use) -> bool:
        name = self.ix.names[k]
        if b is None:
            self.needs_range(k, second, "its position is no integer multiple of it plus the rest")
            return False
        self.frame.error(
            "E0507",
            f"`{name}` could run over {a} or over {b}: which is shorter depends on the sizes",
            second.span,
            f"state it: `for {name} in {a}`",
            (Note(f"this read allows {a}", first.span), *self.frame.dim_notes((a.hi, b.hi))),
        )
        return False

    def needs_range(self, k: int, u: Use, why: str) -> None:
        name = self.ix.names[k]
        self.frame.error(
            "E0507",
            f"the range of `{name}` cannot be told from this read: {why}",
            u.span,
            f"state it at the statement's end: `for {name} in 0:…`",
        )

    def unknown(self, k: int, hard: list[Use], soft: list[Use]) -> None:
        name = self.ix.names[k]
        mine = [u for u in hard if k in u.indices]
        hint = f"state it at the statement's end: `for {name} in 0:n`"
        if mine:
            others = {self.ix.names[j] for u in mine for j in u.indices if j not in self.found}
            listed = " and ".join(f"`{n}`" for n in sorted(others))
            self.frame.error(
                "E0507",
                f"the ranges of {listed} depend on each other",
                mine[0].span,
                hint,
            )
            return
        why = (
            "every read with it stands under a condition on it"
            if any(k in u.indices for u in soft)
            else "no tensor is read at it"
        )
        self.frame.error(
            "E0507", f"how far `{name}` runs cannot be told: {why}", self.ix.spans[k], hint
        )
