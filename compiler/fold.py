"""Arithmetic on scalar trees with the trivial identities applied while building.

For derivatives, where a structural 0 or 1 is known to be exact: `times(x, 0)` is 0 whatever `x`
would be. User-written arithmetic is built by `scalar.op` and keeps its IEEE meaning.
"""

from __future__ import annotations

from . import scalar as sc
from .scalar import Scalar, is_literal


def zero_like(x: Scalar) -> Scalar:
    return sc.const(0, x.dtype) if x.dtype.is_float else sc.const(0.0)


def _typed(x: Scalar, other: Scalar) -> Scalar:
    """`x` in the dtype that combining it with `other` would have given."""
    weak = x.dtype.is_weak and not (other.dtype.is_weak and other.dtype.bits <= x.dtype.bits)
    return sc.convert(x, other.dtype) if weak else x


def plus(x: Scalar, y: Scalar) -> Scalar:
    if is_literal(x, 0):
        return _typed(y, x)
    if is_literal(y, 0):
        return _typed(x, y)
    match y:
        case sc.Op("neg", (inner,)):
            return sc.op("sub", x, inner)
        case sc.Const() if y.dtype.is_float and y.value < 0:
            return sc.op("sub", x, negate(y))
    match x:
        case sc.Op("neg", (inner,)):
            return sc.op("sub", y, inner)
    return sc.op("add", x, y)


def negate(x: Scalar) -> Scalar:
    match x:
        case sc.Op("neg", (inner,)):
            return inner
        case sc.Op("sub", (a, b)):
            return sc.op("sub", b, a)
        case sc.Op("mul", (sc.Const() as c, b)):
            return times(negate(c), b)
        case sc.Op("where", (test, a, b)) if is_literal(b, 0):
            return sc.op("where", test, negate(a), b)
        case _ if is_literal(x, 0):
            return x
    return sc.op("neg", x)


def times(x: Scalar, y: Scalar) -> Scalar:
    """The product, constants in front and quotients outside: `x * (1/d)` is `x / d`."""
    if is_literal(x, 0) or is_literal(y, 0):
        return zero_like(y if is_literal(x, 0) and not x.dtype.is_float else x)
    if is_literal(x, 1):
        return _typed(y, x)
    if is_literal(y, 1):
        return _typed(x, y)
    if is_literal(x, -1):
        return negate(_typed(y, x))
    if is_literal(y, -1):
        return negate(_typed(x, y))
    match x, y:
        case sc.Const() as a, sc.Const() as b if a.dtype.is_float or b.dtype.is_float:
            return sc.convert(sc.const(float(a.value) * float(b.value)), sc.op("mul", a, b).dtype)
        case sc.Op("neg", (a,)), _:
            return negate(times(a, y))
        case _, sc.Op("neg", (b,)):
            return negate(times(x, b))
        case _, sc.Op("div", (a, d)) if is_literal(a, 1):
            return sc.op("div", x, d)
        case _, sc.Op("div", (a, d)) if is_literal(a, -1):
            return negate(sc.op("div", x, d))
        case sc.Op("div", (a, d)), _ if is_literal(a, 1):
            return sc.op("div", y, d)
        case _, sc.Const():
            return sc.op("mul", y, x)
    return sc.op("mul", x, y)


def divide(x: Scalar, y: Scalar) -> Scalar:
    if is_literal(x, 0) or is_literal(y, 1):
        return x
    return sc.op("div", x, y)


def choose(test: Scalar, then: Scalar, other: Scalar) -> Scalar:
    if then is other:
        return then
    if isinstance(test, sc.Const):
        return then if test.value else other
    return sc.op("where", test, then, other)


def both(x: Scalar | None, y: Scalar | None) -> Scalar | None:
    """The conjunction; None is True. What `y` reads may be out of range where `x` fails, so it
    is looked at under `x` only."""
    if x is None or x is y:
        return y
    if y is None:
        return x
    return sc.op("where", x, y, sc.const(False)) if sc.reads([y]) else sc.op("and", x, y)


def either(x: Scalar | None, y: Scalar | None) -> Scalar | None:
    """The disjunction; None is True."""
    if x is None or y is None:
        return None
    return x if x is y else sc.op("or", x, y)


def negation(test: Scalar) -> Scalar:
    match test:
        case sc.Op("not", (inner,)):
            return inner
        case sc.Op("eq", (a, b)):
            return sc.op("ne", a, b)
        case sc.Op("ne", (a, b)):
            return sc.op("eq", a, b)
        case sc.Const():
            return sc.const(not test.value)
    return sc.op("not", test)
