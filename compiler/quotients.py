"""Quotients and remainders of index forms, where the indices' ranges say what they are.

In: a scalar and the extents of its indices. Out: an equal one:

    (d*a + r) // d  =  a + r // d        where d > 0: by 0, all is 0
    (d*a + r) % d   =  r % d
    r // d  =  0,   r % d  =  r          where 0 <= r < d
    d*(x // d) + x % d  =  x             where d > 0

and tests that ranges decide are gone. Left to others: which indices are taken apart (`digits`).
"""

from __future__ import annotations

from collections.abc import Sequence

from . import ranges
from . import scalar as sc
from .conditions import connective
from .dims import Dim, dim, quotient
from .facts import decide
from .scalar import Affine, Scalar


def resolved(root: Scalar, extents: Sequence[Dim]) -> Scalar:
    known = dict(enumerate(extents))

    def rule(x: Scalar) -> Scalar:
        match x:
            case sc.Op("floordiv" | "mod" as name, (number, by)):
                return _divided(x, name, number, by, extents)
            case sc.Op("add", (a, b)):
                return _recombined(a, b, extents) or _recombined(b, a, extents) or x
            case sc.Op("lt" | "le" | "gt" | "ge" | "eq" | "ne", (a, b)):
                if isinstance(a, sc.Const) and isinstance(b, sc.Const):
                    return x
                holds = decide(x, known)
                return x if holds is None else sc.const(holds)
            case sc.Op("and" | "or" as name, (a, b)):
                return connective(name, a, b)
            case sc.Op("where", (sc.Const() as test, then, other)):
                return then if test.value else other
            case _:
                return x

    return sc.rewrite(root, rule)


def _divided(x: Scalar, name: str, number: Scalar, by: Scalar, extents: Sequence[Dim]) -> Scalar:
    form, d = sc.as_affine(number), divisor(by)
    if form is None or d is None:
        return x
    whole, rest = divided(form, d)
    if ranges.in_range(rest, d, extents):
        return whole if name == "floordiv" else rest
    if not whole.terms or (name == "floordiv" and not ranges.is_above_zero(d, form, extents)):
        return x  # what is divided by 0 is 0
    part = sc.op(name, rest, by)
    return part if name == "mod" else sc.op("add", whole, part)


def divisor(by: Scalar) -> Dim | None:
    """A size, or a number above 0."""
    form = sc.as_affine(by)
    if form is None or form.terms or (form.const.const is not None and form.const.const < 1):
        return None
    return form.const


def divided(form: Affine, d: Dim) -> tuple[Affine, Affine]:
    """`whole` and `rest` with form = d*whole + rest; what is a multiple of d is in `whole`."""
    whole: dict[int, Dim] = {}
    rest: dict[int, Dim] = {}
    for k, c in form.terms:
        q = quotient(c, d)
        if q is None:
            rest[k] = c
        else:
            whole[k] = q
    multiple, left = dim(0), dim(0)
    for term in form.const.terms:
        part = Dim((term,))
        q = quotient(part, d)
        if q is None and part.const is not None and d.const is not None:
            q = dim(part.const // d.const)
        multiple = multiple if q is None else multiple + q
        left = left + part if q is None else left + part - q * d
    return sc.affine(whole, multiple), sc.affine(rest, left)


def _recombined(a: Scalar, b: Scalar, extents: Sequence[Dim]) -> Scalar | None:
    """x, where a is d*(x // d) and b is x % d."""
    match a, b:
        case sc.Op("mul", (p, q)), sc.Op("mod", (x, by)):
            for size, other in ((p, q), (q, p)):
                match other:
                    case sc.Op("floordiv", (y, d)) if x is y:
                        sizes = divisor(size), divisor(d), divisor(by)
                        if sizes[0] is None or not sizes[0] == sizes[1] == sizes[2]:
                            continue
                        if ranges.is_above_zero(sizes[0], x, extents):
                            return x
    return None
