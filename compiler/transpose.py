"""The transpose of a read: where each element of the operand was used.

In: a read `x[g(i)]` over an index space and a cotangent `v(i)` of the value read, with its guard.
Out: the contribution to x's cotangent, `x̄[a] += Σ over i with g(i) = a of v(i)`.

Where the affine map `g` can be solved for some of the indices the result is a gather: a plain
comprehension over x's own indices and what is left of i, with the ranges of the solved indices as
a guard. Convolutions (strided, dilated, padded) and slices come out this way. Otherwise it is a
scatter.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from . import fold
from . import scalar as sc
from .dims import Dim, dim, provably_nonnegative
from .graph import Comp, comp
from .scalar import Affine, Scalar
from .span import Span

_TYPICAL = 1000  # the size taken for a named dim when two choices are compared


@dataclass
class _Solution:
    """Indices expressed in the operand's positions; tests that a position must pass."""

    values: dict[int, Scalar] = field(default_factory=dict)
    tests: list[Scalar] = field(default_factory=list)

    def require(self, test: Scalar | None) -> None:
        if test is not None:
            self.tests.append(test)


def transpose_read(
    target: sc.Read,
    extents: Sequence[Dim],
    rank: int,
    value: Scalar,
    guard: Scalar | None,
    *,
    names: Sequence[str] = (),
    span: Span,
) -> Comp:
    """The contribution of `value` (over `extents`, the first `rank` of them output indices) to
    the cotangent of `target.tensor`. `guard` None is True; it holds wherever `value` counts."""
    shape = target.tensor.shape
    solution = _solve(target, extents, rank)
    if solution is None:
        return _scatter(target, extents, value, guard, names, span)
    # positions of the operand become indices 0…, what is left over follows
    left = [k for k in range(len(extents)) if k not in solution.values]
    shifted = {k: sc.index(len(shape) + n) for n, k in enumerate(left)}
    place = {_POSITION + d: sc.index(d) for d in range(len(shape))}

    def moved(x: Scalar) -> Scalar:
        return sc.substitute_indices(
            sc.substitute_indices(x, solution.values), {**shifted, **place}
        )

    body = moved(value)
    zero = fold.zero_like(body)
    if guard is not None:
        body = fold.choose(moved(guard), body, zero)
    inside: Scalar | None = None
    for test in solution.tests:
        inside = fold.both(inside, moved(test))
    if inside is not None:  # outermost: under it every index is in range
        body = _guarded(inside, body, zero)
    bounds = [*shape, *(extents[k] for k in left)]
    return comp(
        body,
        bounds,
        len(shape),
        "sum" if left else None,
        index_names=_named(names, target, left),
        span=span,
    )


def _guarded(inside: Scalar, body: Scalar, zero: Scalar) -> Scalar:
    """One conditional where the inner test reads nothing that the outer one protects."""
    match body:
        case sc.Op("where", (test, then, other)) if other is zero and not sc.reads([test]):
            return sc.op("where", sc.op("and", inside, test), then, zero)
    return sc.op("where", inside, body, zero)


def _scatter(
    target: sc.Read,
    extents: Sequence[Dim],
    value: Scalar,
    guard: Scalar | None,
    names: Sequence[str],
    span: Span,
) -> Comp:
    at = list(target.indices)
    if guard is not None:  # an index that is not used need not be valid
        at = [sc.op("where", guard, i, sc.const(0)) for i in at]
        value = fold.choose(guard, value, fold.zero_like(value))
    return comp(
        value,
        extents,
        0,
        "sum",
        target=at,
        shape=target.tensor.shape,
        index_names=names,
        span=span,
    )


def _named(names: Sequence[str], target: sc.Read, left: Sequence[int]) -> tuple[str, ...]:
    """An index that a position stands for gives it its name; what is left over keeps its own."""
    known = dict(enumerate(names))
    positions = []
    for i in target.indices:
        bare = isinstance(i, Affine) and len(i.terms) == 1 and i is sc.index(i.terms[0][0])
        positions.append(known.get(i.terms[0][0], "") if bare and isinstance(i, Affine) else "")
    return (*positions, *(known.get(k, "") for k in left))


# --------------------------------------------------------------------------- solving

_POSITION = 1 << 20  # index numbers from here on stand for the operand's positions


def _solve(target: sc.Read, extents: Sequence[Dim], rank: int) -> _Solution | None:
    """Express indices by the operand's positions; None where no gather is worth having."""
    out = _Solution()
    pending = list(enumerate(target.indices))
    shape = target.tensor.shape

    def known(form: Affine) -> bool:
        return all(k in out.values for k, _ in form.terms)

    # single indices first: they pin most others
    for single in (True, False):
        for d, index in [p for p in pending if isinstance(p[1], Affine)]:
            assert isinstance(index, Affine)
            free = [(k, c) for k, c in index.terms if k not in out.values]
            if single and len(index.terms) != 1:
                continue
            pending.remove((d, index))
            position = sc.index(_POSITION + d)
            if not free:
                value = sc.substitute_indices(index, out.values)
                if not _always_equal(value, shape[d]):
                    out.require(sc.op("eq", position, value))
                continue
            choice = _choose(free, extents, rank)
            if choice is None:
                return None
            k, c = choice
            rest = sc.affine({j: e for j, e in index.terms if j != k}, index.const)
            offset = sc.op("sub", position, sc.substitute_indices(rest, out.values))
            _pin(out, k, c, offset, extents[k], shape[d], rest)
    for d, index in pending:  # gathers
        if any(k not in out.values for k in sc.indices_of(index)):
            return None
        if len(out.values) < len(extents):
            return None  # a one-hot test inside a sum: a scatter does less
        out.require(sc.op("eq", sc.index(_POSITION + d), sc.substitute_indices(index, out.values)))
    out.values = {k: _closed(v, out.values) for k, v in out.values.items()}
    out.tests = [_closed(t, out.values) for t in out.tests]
    return out


def _closed(x: Scalar, values: dict[int, Scalar]) -> Scalar:
    """`x` with solved indices replaced until only positions and leftovers remain."""
    while any(k in values for k in sc.indices_of(x)):
        x = sc.substitute_indices(x, values)
    return x


def _always_equal(value: Scalar, size: Dim) -> bool:
    """A position of a dim of size 1 is 0."""
    return size.const == 1 and value is sc.size(0)


def _choose(
    free: list[tuple[int, Dim]], extents: Sequence[Dim], rank: int
) -> tuple[int, int] | None:
    """Which index to solve for: the one whose sum would be the longest, an output's if equal."""
    best: tuple[tuple[int, bool, int], tuple[int, int]] | None = None
    for k, coefficient in free:
        c = coefficient.const
        if c is None:
            continue
        size = extents[k].evaluate(dict.fromkeys(extents[k].names, _TYPICAL))
        score = (size // abs(c), k < rank, -k)
        if best is None or score > best[0]:
            best = (score, (k, c))
    return None if best is None else best[1]


def _pin(
    out: _Solution, k: int, c: int, offset: Scalar, extent: Dim, size: Dim, rest: Affine
) -> None:
    """Set index k so that c*k == offset, with the tests that it exists and is in range."""
    if c < 0:
        c, offset = -c, sc.op("neg", offset)
    if c == 1:
        out.values[k] = offset
    else:
        step = sc.const(c)
        out.require(sc.op("eq", sc.op("mod", offset, step), sc.const(0)))
        out.values[k] = sc.op("floordiv", offset, step)
    low, high = _bounds(offset, size)
    if low is None or not provably_nonnegative(low):
        # tested on the offset: 0 <= offset < c*extent, so that no quotient is needed
        out.require(sc.op("ge", offset, sc.const(0)))
    limit = extent * c
    if high is None or not provably_nonnegative(limit - 1 - high):
        out.require(sc.op("lt", offset, sc.size(limit)))


def _bounds(offset: Scalar, size: Dim) -> tuple[Dim | None, Dim | None]:
    """The least and greatest value of an offset that depends on its position alone."""
    if not isinstance(offset, Affine) or len(offset.terms) != 1:
        return None, None
    (k, c) = offset.terms[0]
    if k < _POSITION or c.const not in (1, -1):
        return None, None
    ends = offset.const, offset.const + c * (size - dim(1))
    return (ends[0], ends[1]) if c.const == 1 else (ends[1], ends[0])
