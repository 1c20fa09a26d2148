"""Under which conditions a subexpression is evaluated, and which indices are then in range.

In: scalar bodies with their extents. Out: guards (the conditions of the `where`s around a read),
and proofs that an affine form is at least 0. Left to others: what becomes of a guard (`lower`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from . import scalar as sc
from .dims import Dim, FloorDiv, dim, provably_nonnegative, provably_positive, quotient
from .dtypes import I64
from .scalar import Affine, Scalar

Conjunction = tuple[tuple[Scalar, bool], ...]
"""Conditions that all hold (True) or fail (False), outermost first: each is evaluated only where
those before it are as stated."""

Guard = frozenset[Conjunction]
"""A disjunction of them."""

ALWAYS: Guard = frozenset({()})


def path_guards(roots: Sequence[Scalar]) -> dict[Scalar, Guard]:
    """When each subexpression's value is wanted: the union over all paths from a root."""
    order = list(sc.postorder(roots))
    if not any(isinstance(x, sc.Op) and x.name == "where" for x in order):
        return dict.fromkeys(order, ALWAYS)
    guards: dict[Scalar, Guard] = dict.fromkeys(order, frozenset())
    guards.update(dict.fromkeys(roots, ALWAYS))
    for x in reversed(order):  # readers first
        mine = guards[x]
        match x:
            case sc.Op("where", (test, then, other)):
                guards[test] = _either(guards[test], mine)
                guards[then] = _either(guards[then], _and(mine, test, True))
                guards[other] = _either(guards[other], _and(mine, test, False))
            case _:
                for kid in sc.children(x):
                    guards[kid] = _either(guards[kid], mine)
    return guards


def _and(guard: Guard, test: Scalar, holds: bool) -> Guard:
    return _absorbed(
        c if (test, holds) in c else (*c, (test, holds))
        for c in guard
        if (test, not holds) not in c
    )


def _either(a: Guard, b: Guard) -> Guard:
    if a == ALWAYS or b == ALWAYS:
        return ALWAYS
    return _absorbed(a | b)


def _absorbed(guard: Iterable[Conjunction]) -> Guard:
    """A or (A and B) = A;  (A and c) or (A and not c) = A."""
    kept = {frozenset(c): c for c in guard}
    changed = True
    while changed:
        changed = False
        for c in list(kept):
            for test, holds in c:
                if (c - {(test, holds)}) | {(test, not holds)} in kept:
                    smaller = tuple(t for t in kept[c] if t != (test, holds))
                    changed = changed or frozenset(smaller) not in kept
                    kept.setdefault(frozenset(smaller), smaller)
        kept = {c: path for c, path in kept.items() if not any(d < c for d in kept)}
    return ALWAYS if frozenset() in kept else frozenset(kept.values())


def facts(conjunction: Conjunction) -> list[Affine]:
    """Affine forms that are at least 0 where the conditions hold."""
    out: list[Affine] = []
    stack = list(conjunction)
    while stack:
        test, holds = stack.pop()
        match test:
            case sc.Op("and", (a, b)) if holds:
                stack += [(a, True), (b, True)]
            case sc.Op("or", (a, b)) if not holds:
                stack += [(a, False), (b, False)]
            case sc.Op("not", (a,)):
                stack.append((a, not holds))
            case sc.Op("lt" | "le" | "gt" | "ge" | "eq" as name, (a, b)):
                x, y = _integer(a), _integer(b)
                if x is None or y is None:
                    continue
                match (name, holds):
                    case ("lt", True) | ("ge", False):
                        out.append(_minus(y, x, 1))
                    case ("le", True) | ("gt", False):
                        out.append(_minus(y, x, 0))
                    case ("gt", True) | ("le", False):
                        out.append(_minus(x, y, 1))
                    case ("ge", True) | ("lt", False):
                        out.append(_minus(x, y, 0))
                    case ("eq", True):
                        out += [_minus(x, y, 0), _minus(y, x, 0)]
            case _:
                pass
    return out


def _integer(x: Scalar) -> Affine | None:
    if isinstance(x, sc.Op) and x.name == "cast" and x.dtype is I64:
        return sc.as_affine(x.args[0])
    if isinstance(x, sc.Const) and x.dtype is I64:
        return sc.size(int(x.value))
    return sc.as_affine(x)


def _minus(x: Affine, y: Affine, less: int) -> Affine:
    """x - y - less"""
    terms = dict(x.terms)
    for k, c in y.terms:
        terms[k] = terms.get(k, dim(0)) - c
    return sc.affine(terms, x.const - y.const - less)


def in_range(at: Scalar, size: Dim, extents: Sequence[Dim], known: Sequence[Affine] = ()) -> bool:
    """Whether `0 <= at < size` is proved, for indices in their extents where `known` are >= 0."""
    match at:
        case Affine(((k, one),), const) if (
            one.const == 1 and not const.terms and (extents[k] == size)
        ):
            return True
        case Affine():
            top = sc.affine({k: -c for k, c in at.terms}, size - at.const - 1)
            return nonnegative(at, extents, known) and nonnegative(top, extents, known)
        case sc.Op("floordiv", (num, sc.Const() as divisor)) if divisor.value > 0:
            # 0 <= num // d < size  is  0 <= num < size * d
            return in_range(num, size * int(divisor.value), extents, known)
        case sc.Op("mod", (num, by)) if (d := sc.as_affine(by)) is not None and not d.terms:
            # 0 <= num % d < d
            return is_above_zero(d.const, num, extents) and provably_nonnegative(size - d.const)
        case sc.Op("cast", (inner,)) if at.dtype is I64 and isinstance(inner, Affine):
            return in_range(inner, size, extents, known)
        case _:
            return False


def may_stand_apart(x: Scalar, guard: Guard, extents: Sequence[Dim]) -> bool:
    """Whether `x` may be computed for all values of its indices: it cannot fail, or it is computed
    for all of them in any case, which takes some value of every other index."""
    if is_safe(x, extents):
        return True
    own = sc.indices_of(x)
    others = (e for k, e in enumerate(extents) if k not in own)
    return guard == ALWAYS and all(map(provably_positive, others))


def is_safe(x: Scalar, extents: Sequence[Dim]) -> bool:
    """Whether every read below `x` is in range without its guard."""
    return all(
        in_range(at, size, extents)
        for r in sc.reads([x])
        for at, size in zip(r.indices, r.tensor.shape, strict=True)
    )


def is_above_zero(d: Dim, number: Scalar, extents: Sequence[Dim]) -> bool:
    """Whether a divisor of `number` is proved to be: as it stands; or since an index of `number`
    has d values, or a multiple of that, and where it has none there is no number."""
    if provably_positive(d):
        return True
    indices = sc.indices_of(number)
    return provably_nonnegative(d) and any(quotient(extents[k], d) is not None for k in indices)


def proving(guard: Guard, x: sc.Read, extents: Sequence[Dim]) -> Guard:
    """Of the tests on a single way to a read, those that prove its place: where others fail, it is
    read for nothing. The whole guard, if it is not that simple."""
    if len(guard) > 1 or guard == ALWAYS:
        return guard
    tests = [part for (c,) in (guard,) for t, holds in c for part in _parts(t, holds)]
    wanted: list[tuple[Scalar, bool]] = []
    for at, size in zip(x.indices, x.tensor.shape, strict=True):
        for e in _bounds(at, size) or ():
            if _least_is_nonnegative(e, extents):
                continue
            found = next((t for t in tests if nonnegative(e, extents, facts((t,)))), None)
            if found is None:
                return guard
            wanted.append(found)
    kept = tuple(t for t in tests if t in wanted)
    return guard if len(kept) == len(tests) else frozenset({kept})


def _parts(test: Scalar, holds: bool) -> list[tuple[Scalar, bool]]:
    match test:
        case sc.Op("and", (a, b)) if holds:
            return [*_parts(a, True), *_parts(b, True)]
        case _:
            return [(test, holds)]


def _bounds(at: Scalar, size: Dim) -> tuple[Affine, Affine] | None:
    """What is at least 0 where `0 <= at < size`."""
    match at:
        case Affine():
            return at, sc.affine({k: -c for k, c in at.terms}, size - at.const - 1)
        case sc.Op("floordiv", (num, sc.Const() as divisor)) if divisor.value > 0:
            return _bounds(num, size * int(divisor.value))
        case sc.Op("cast", (inner,)) if at.dtype is I64 and isinstance(inner, Affine):
            return _bounds(inner, size)
        case _:
            return None


def nonnegative(e: Affine, extents: Sequence[Dim], known: Sequence[Affine] = ()) -> bool:
    if _least_is_nonnegative(e, extents):
        return True
    return any(_least_is_nonnegative(_minus(e, f, 0), extents) for f in known)


def _least_is_nonnegative(e: Affine, extents: Sequence[Dim]) -> bool:
    total = e.const
    for k, c in e.terms:
        if provably_nonnegative(c):
            continue  # least at index 0
        if not provably_nonnegative(-c):
            return False
        total = total + c * (extents[k] - 1)
    return provably_nonnegative(_floors_undone(total))


def _floors_undone(d: Dim) -> Dim:
    """A lower bound without `c·(N // d)` where d divides c: `-c·(N // d) >= -(c / d)·N`, and
    `c·(N // d) >= (c / d)·(N - d + 1)`."""
    out = d
    for mono, c in d.terms:
        if len(mono) == 1 and isinstance(mono[0], FloorDiv):
            atom = mono[0]
            if c % atom.divisor == 0:
                least = atom.numerator if c < 0 else atom.numerator - (atom.divisor - 1)
                out = out - Dim(((mono, c),)) + least * (c // atom.divisor)
    return out
