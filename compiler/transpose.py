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

from . import fold
from . import scalar as sc
from .dims import Dim, FloorDiv, dim, provably_nonnegative
from .facts import affine_range
from .graph import Comp, comp
from .records import dataclass, field
from .scalar import Affine, Scalar
from .span import Span

#: The size taken for a named dim when two choices are compared; less for one that is subtracted in
#: some size, as a window's is: `h - p + 1` is nearer to h than to 1.
_TYPICAL, _SUBTRACTED = 1000, 10


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
    if tuple(extents) == shape and all(i is sc.index(d) for d, i in enumerate(target.indices)):
        return comp(
            value if guard is None else fold.choose(guard, value, fold.zero_like(value)),
            extents,
            len(shape),
            index_names=names,
            span=span,
        )
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


@dataclass(frozen=True)
class _Equation:
    """`index == position`: an index expression of the read, and the operand's positions."""

    index: Scalar
    position: Scalar


def _solve(target: sc.Read, extents: Sequence[Dim], rank: int) -> _Solution | None:
    """Express indices by the operand's positions; None where no gather is worth having."""
    out = _Solution()
    shape = target.tensor.shape
    sizes = {**dict(enumerate(extents)), **{_POSITION + d: n for d, n in enumerate(shape)}}
    for k, n in enumerate(extents):
        if n.const == 1:
            out.values[k] = sc.size(0)
    pending = _equations(target, out)
    affine = [e for e in pending if isinstance(e.index, Affine)]
    # single indices first: they pin most others
    for e in sorted(affine, key=lambda e: len(e.index.terms) if isinstance(e.index, Affine) else 0):
        if not _solve_affine(out, e, sizes, rank):
            return None
    for e in pending:  # gathers
        if isinstance(e.index, Affine):
            continue
        if any(k not in out.values for k in sc.indices_of(e.index)):
            return None
        if len(out.values) < len(extents):
            return None  # a one-hot test inside a sum: a scatter does less
        out.require(sc.op("eq", e.position, sc.substitute_indices(e.index, out.values)))
    out.values = {k: _closed(v, out.values) for k, v in out.values.items()}
    out.tests = [_closed(t, out.values) for t in out.tests]
    return out


def _closed(x: Scalar, values: dict[int, Scalar]) -> Scalar:
    """`x` with solved indices replaced until only positions and leftovers remain."""
    while any(k in values for k in sc.indices_of(x)):
        x = sc.substitute_indices(x, values)
    return x


def _solve_affine(out: _Solution, e: _Equation, sizes: dict[int, Dim], rank: int) -> bool:
    """Solve `Σ c*k + constant == position` for what is free in it; False where that cannot be."""
    index = e.index
    assert isinstance(index, Affine)
    free = [(k, c) for k, c in index.terms if k not in out.values]
    if not free:
        value = sc.substitute_indices(index, out.values)
        if not _always_equal(value, e.position, sizes):
            out.require(sc.op("eq", e.position, value))
        return True
    digits = _digits_of_sum(free, sizes)
    if digits is not None:
        rest = sc.affine({j: c for j, c in index.terms if j in out.values}, index.const)
        offset = sc.op("sub", e.position, _closed(rest, out.values))
        _pin_digits(out, digits, offset, sizes)
        return True
    choice = _choose(free, sizes, rank)
    if choice is None:
        return False
    k, c = choice
    rest = sc.affine({j: e for j, e in index.terms if j != k}, index.const)
    _pin(out, k, c, sc.op("sub", e.position, sc.substitute_indices(rest, out.values)), sizes)
    return True


def _always_equal(value: Scalar, position: Scalar, sizes: dict[int, Dim]) -> bool:
    """A position of a dim of size 1 is 0."""
    single = isinstance(position, Affine) and all(sizes[k].const == 1 for k, _ in position.terms)
    return single and value is sc.size(0)


def _choose(
    free: list[tuple[int, Dim]], sizes: dict[int, Dim], rank: int
) -> tuple[int, int] | None:
    """Which index to solve for: the one whose sum would be the longest, an output's if equal. Of
    what is left when `c*k` is solved for k, one in c places counts (`phases`)."""
    best: tuple[tuple[int, bool, int], tuple[int, int]] | None = None
    less = {name for size in sizes.values() for name in _subtracted(size)}
    for k, coefficient in free:
        c = coefficient.const
        if c is None:
            continue
        names = sizes[k].names
        size = sizes[k].evaluate({n: _SUBTRACTED if n in less else _TYPICAL for n in names})
        score = (size * abs(c), k < rank, -k)
        if best is None or score > best[0]:
            best = (score, (k, c))
    return None if best is None else best[1]


def _subtracted(size: Dim) -> set[str]:
    """The names that a size gets less by."""
    out: set[str] = set()
    for monomial, c in size.terms:
        for atom in monomial:
            if isinstance(atom, FloorDiv):
                out |= _subtracted(atom.numerator)
            elif c < 0:
                out.add(atom)
    return out


def _pin(out: _Solution, k: int, c: int, offset: Scalar, sizes: dict[int, Dim]) -> None:
    """Set index k so that c*k == offset, with the tests that it exists and is in range."""
    if c < 0:
        c, offset = -c, sc.op("neg", offset)
    if c == 1:
        out.values[k] = offset
    else:
        step = sc.const(c)
        out.require(sc.op("eq", sc.op("mod", offset, step), sc.const(0)))
        out.values[k] = sc.op("floordiv", offset, step)
    # tested on the offset: 0 <= offset < c*extent, so that no quotient is needed
    _require_range(out, offset, sizes[k] * c, sizes)


def _require_range(out: _Solution, offset: Scalar, limit: Dim, sizes: dict[int, Dim]) -> None:
    """`0 <= offset < limit`, each side only where the positions' ranges do not prove it."""
    bounds = affine_range(offset, sizes) if isinstance(offset, Affine) else None
    if bounds is None or not provably_nonnegative(bounds[0]):
        out.require(sc.op("ge", offset, sc.const(0)))
    if bounds is None or not provably_nonnegative(limit - 1 - bounds[1]):
        out.require(sc.op("lt", offset, sc.size(limit)))


# --------------------------------------------------------------------------- mixed radix


@dataclass(frozen=True)
class _Digit:
    """`number // stride % modulus` (no modulus: the leading digit)."""

    number: Affine
    stride: Dim
    modulus: Dim | None


def _equations(target: sc.Read, out: _Solution) -> list[_Equation]:
    """One equation per dim; dims whose indices are the digits of one number give one equation
    for that number: `x[p // m, p % m]` has `p == a*m + b`."""
    shape = target.tensor.shape
    numbers: dict[Affine, list[tuple[int, _Digit]]] = {}
    for d, index in enumerate(target.indices):
        digit = _digit(index)
        if digit is not None:
            numbers.setdefault(digit.number, []).append((d, digit))
    equations: list[_Equation] = []
    done: set[int] = set()
    for number, digits in numbers.items():
        position = _number(digits)
        if position is None or len(digits) == 1:
            continue
        equations.append(_Equation(number, position))
        for d, digit in digits:
            done.add(d)
            if digit.modulus is not None and digit.modulus != shape[d]:
                out.require(sc.op("lt", sc.index(_POSITION + d), sc.size(digit.modulus)))
    equations += [
        _Equation(index, sc.index(_POSITION + d))
        for d, index in enumerate(target.indices)
        if d not in done
    ]
    return equations


def _digit(index: Scalar) -> _Digit | None:
    match index:
        case Affine():
            return _Digit(index, dim(1), None)
        case sc.Op("mod" | "floordiv" as name, (inner, by)):
            digit, size = _digit(inner), sc.as_affine(by)
            if digit is None or digit.modulus is not None or size is None or size.terms:
                return None
            if name == "mod":
                return _Digit(digit.number, digit.stride, size.const)
            return _Digit(digit.number, digit.stride * size.const, None)
        case _:
            return None


def _number(digits: Sequence[tuple[int, _Digit]]) -> Scalar | None:
    """`Σ position*stride`, if these are all digits of the number."""
    total: Scalar = sc.size(0)
    stride = dim(1)
    left = list(digits)
    while left:
        found = [entry for entry in left if entry[1].stride == stride]
        if len(found) != 1:
            return None
        d, digit = found[0]
        left.remove(found[0])
        total = sc.op("add", total, sc.op("mul", sc.index(_POSITION + d), sc.size(stride)))
        if digit.modulus is None:
            return None if left else total
        stride = stride * digit.modulus
    return None  # the leading digit is not read: many numbers have these digits


def _digits_of_sum(
    free: Sequence[tuple[int, Dim]], sizes: dict[int, Dim]
) -> list[tuple[int, Dim]] | None:
    """The free terms from the least stride up, if each runs over exactly one digit:
    `i*m + j` with 0 <= j < m."""
    if len(free) < 2:
        return None
    out: list[tuple[int, Dim]] = []
    stride = dim(1)
    left = list(free)
    while left:
        found = [entry for entry in left if entry[1] == stride]
        if len(found) != 1:
            return None
        left.remove(found[0])
        out.append(found[0])
        stride = stride * sizes[found[0][0]]
    return out


def _pin_digits(
    out: _Solution, digits: list[tuple[int, Dim]], offset: Scalar, sizes: dict[int, Dim]
) -> None:
    """Each index is a digit of the offset; the leading one is bounded by the offset's range."""
    for n, (k, stride) in enumerate(digits):
        value = offset if stride.const == 1 else sc.op("floordiv", offset, sc.size(stride))
        leading = n == len(digits) - 1
        out.values[k] = value if leading else sc.op("mod", value, sc.size(sizes[k]))
    k, stride = digits[-1]
    _require_range(out, offset, stride * sizes[k], sizes)
