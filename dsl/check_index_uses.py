"""What the reads of an index statement say about its indices: uses, guards, bounds.

In: the positions and conditions that check_indices meets. Out: records for check_ranges.
"""

from __future__ import annotations

from ..compiler import scalar as sc
from ..compiler.dims import Dim, dim
from ..compiler.records import dataclass
from ..compiler.scalar import Scalar
from ..compiler.span import Span


@dataclass(frozen=True)
class Bounds:
    """`lo <= index < hi`."""

    lo: Dim
    hi: Dim

    @property
    def extent(self) -> Dim:
        return self.hi - self.lo

    def __str__(self) -> str:
        return f"{self.lo}:{self.hi}"


@dataclass(frozen=True)
class Guard:
    """A condition around a read, and the indices that it compares: by order, or for equality."""

    condition: Scalar
    ordered: frozenset[int]
    equated: frozenset[int]


@dataclass(frozen=True)
class Use:
    """An affine position of a read: `form` must lie in `0 <= form < extent`."""

    form: sc.Affine
    extent: Dim
    tensor: str
    axis: int
    span: Span
    guards: tuple[Guard, ...]

    @property
    def indices(self) -> tuple[int, ...]:
        return tuple(k for k, _ in self.form.terms)

    @property
    def bare(self) -> bool:
        return self.form.terms == ((self.form.terms[0][0], dim(1)),) and self.form.const == dim(0)

    @property
    def guarded(self) -> bool:
        """Whether conditions bound this read. An equality (`0 if i == j else a[i]`) takes single
        points out of a range, so a bare read still tells how far its index runs."""
        ordered = {k for g in self.guards for k in g.ordered}
        equated = {k for g in self.guards for k in g.equated}
        compared = ordered if self.bare else ordered | equated
        return bool(compared & set(self.indices))

    def __str__(self) -> str:
        return f"dim {self.axis} of `{self.tensor}` has {self.extent}"


_ORDER = ("lt", "le", "gt", "ge")
_EQUALITY = ("eq", "ne")


def guard_of(condition: Scalar) -> Guard:
    """The indices that `condition` compares in affine form."""
    ordered: set[int] = set()
    equated: set[int] = set()
    for x in sc.postorder([condition]):
        if isinstance(x, sc.Op) and x.name in (*_ORDER, *_EQUALITY):
            for a in x.args:
                while isinstance(a, sc.Op) and a.name == "cast":
                    a = a.args[0]
                if isinstance(a, sc.Affine):
                    (ordered if x.name in _ORDER else equated).update(k for k, _ in a.terms)
    return Guard(condition, frozenset(ordered), frozenset(equated))
