"""What is known of a scalar without running it: signs, ranges of affine forms, squares.

Used to drop tests that always hold and products that need not absorb. Every answer is a proof:
False means "not known". Proofs look through the nodes that are read; each is found once per
scalar, operands first, so that neither a deep graph nor a shared one costs more than its size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from weakref import WeakKeyDictionary

from . import primitives
from . import scalar as sc
from .dims import Dim, dim, provably_nonnegative
from .graph import Comp
from .scalar import Affine, Scalar


def _proof(judge: Callable[[Scalar], bool]) -> Callable[[Scalar], bool]:
    """`judge` decides a scalar from its parts; what it answered is kept for as long as the
    scalar lives (scalars are immutable and interned)."""
    known: WeakKeyDictionary[Scalar, bool] = WeakKeyDictionary()

    @wraps(judge)
    def proof(x: Scalar) -> bool:
        if x not in known:
            for part in _parts_first(x, known):
                known[part] = judge(part)
        return known[x]

    return proof


def last_number(x: sc.Op) -> float | None:
    """The value of the last argument, if that is a number."""
    last = x.args[-1]
    return float(last.value) if isinstance(last, sc.Const) else None


def _parts_first(root: Scalar, known: Mapping[Scalar, bool]) -> list[Scalar]:
    """The parts of `root` that are not known yet, bodies of read nodes and functions included."""
    out: list[Scalar] = []
    seen: set[Scalar] = set()
    stack: list[tuple[Scalar, bool]] = [(root, False)]
    while stack:
        x, expanded = stack.pop()
        if expanded:
            out.append(x)
        elif x not in seen and x not in known:
            seen.add(x)
            stack.append((x, True))
            match x:
                case sc.Read(tensor=Comp() as source):
                    stack.append((source.body, False))
                case sc.Call():
                    stack.append((x.function.body, False))
                    stack.extend((c, False) for c in x.args)
                case sc.Op():
                    stack.extend((c, False) for c in x.args)
    return out


@_proof
def finite(x: Scalar) -> bool:
    """Whether `x` is finite wherever the inputs are finite (sums and products do not count as
    overflowing; exponentials do)."""
    match x:
        case sc.Op("div", (above, below)):
            return finite(above) and nonzero(below)
        case sc.Op("where", (_, then, other)):
            return finite(then) and finite(other)
        case sc.Op("log" | "log2" | "log10" | "sqrt" | "rsqrt", (inner,)):
            return positive(inner) and finite(inner)
        case sc.Op("exp" | "exp2" | "expm1", (inner,)):
            return finite(inner) and nonpositive(inner)
        case sc.Op("sinh" | "cosh", _):
            return False
        case sc.Op(name, args):
            return not primitives.is_singular(name, last_number(x)) and all(map(finite, args))
        case sc.Call(function, args):
            return all(map(finite, args)) and (function.builtin or finite(function.body))
        case sc.Read(tensor=Comp() as source):
            return finite(source.body)
        case _:
            return True


@_proof
def selected(x: Scalar) -> bool:
    """Whether `x` may be 0 because a `where` or an index left something out."""
    match x:
        case sc.Op("where", (_, then, other)):
            return sc.is_literal(then, 0) or sc.is_literal(other, 0) or selected(then)
        case sc.Op("absorb", _):
            return True
        case sc.Op(_, args) | sc.Call(_, args):
            return any(map(selected, args))
        case sc.Read(tensor=Comp() as source):
            return source.target is not None or selected(source.body)
        case _:
            return False


@_proof
def nonpositive(x: Scalar) -> bool:
    match x:
        case sc.Const():
            return not x.dtype.is_bool and x.value <= 0
        case sc.Op("neg", (inner,)):
            return nonnegative(inner)
        case sc.Op("mul", (a, b)):
            return (nonpositive(a) and nonnegative(b)) or (nonnegative(a) and nonpositive(b))
        case sc.Op("sub", (_, sc.Read(tensor=Comp() as shift))):
            return is_maximum(shift)
        case sc.Op("min", (a, b)):
            return nonpositive(a) or nonpositive(b)
        case sc.Op("cast" | "stop_gradient", (inner,)):
            return nonpositive(inner)
        case _:
            return False


@_proof
def nonzero(x: Scalar) -> bool:
    """Whether `x` is never 0 where its leaves are finite. Sizes count as non-zero: an empty mean
    has no derivative worth protecting."""
    match x:
        case sc.Const():
            return x.value != 0
        case Affine():
            return not x.terms
        case sc.Op("cast" | "neg", (inner,)):
            return nonzero(inner)
        case sc.Op("mul", (a, b)):
            return isinstance(a, sc.Const) and nonzero(a) and nonzero(b)
        case _:
            return positive(x)


@_proof
def positive(x: Scalar) -> bool:
    """Whether `x` is bounded away from 0 from above."""
    match x:
        case sc.Const():
            return not x.dtype.is_bool and x.value > 0
        case Affine():
            return not x.terms and provably_nonnegative(x.const - 1)
        case sc.Op("cast" | "sqrt", (inner,)):
            return positive(inner)
        case sc.Op("add", (a, b)):
            return (positive(a) and nonnegative(b)) or (positive(b) and nonnegative(a))
        case sc.Op("max", (a, b)):
            return positive(a) or positive(b)
        case sc.Op("cosh", _):
            return True
        case sc.Read(tensor=Comp() as source):
            return is_shifted_sum(source) or (source.reducer is None and positive(source.body))
        case _:
            return False


@_proof
def nonnegative(x: Scalar) -> bool:
    match x:
        case sc.Const():
            return not x.dtype.is_bool and x.value >= 0
        case Affine():
            return not x.terms and provably_nonnegative(x.const)
        case sc.Op("mul", (a, b)):
            return a is b or (nonnegative(a) and nonnegative(b))
        case sc.Op("add" | "div" | "min", (a, b)):
            return nonnegative(a) and nonnegative(b)
        case sc.Op("max", (a, b)):
            return nonnegative(a) or nonnegative(b)
        case sc.Op("abs" | "exp" | "exp2" | "sqrt" | "cosh", _):
            return True
        case sc.Op("pow", (base, sc.Const() as n)):
            return float(n.value) % 2 == 0 or nonnegative(base)
        case sc.Op("cast" | "stop_gradient", (inner,)):
            return nonnegative(inner)
        case sc.Op("where", (_, a, b)):
            return nonnegative(a) and nonnegative(b)
        case sc.Call(function, args):
            return is_square(x) or (all(map(nonnegative, args)) and nonnegative(function.body))
        case sc.Param():
            return False
        case sc.Read(tensor=Comp() as source):
            return source.reducer in (None, "sum", "prod", "max", "min") and nonnegative(
                source.body
            )
        case _:
            return False


@_proof
def is_square(x: Scalar) -> bool:
    """Whether `x` is a sum of squares: 0 only where every term is 0."""
    match x:
        case sc.Op("mul", (a, b)):
            return a is b or (positive(a) and is_square(b)) or (positive(b) and is_square(a))
        case sc.Op("pow", (_, sc.Const() as n)):
            return float(n.value) > 0 and float(n.value) % 2 == 0
        case sc.Op("add", (a, b)):
            return is_square(a) and is_square(b)
        case sc.Op("div", (a, b)):
            return is_square(a) and nonzero(b) and nonnegative(b)
        case sc.Op("where", (_, a, b)):
            return (is_square(a) or sc.is_literal(a, 0)) and (is_square(b) or sc.is_literal(b, 0))
        case sc.Call(function, (inner,)):
            return function.body is sc.op("mul", sc.param(0), sc.param(0)) and inner is not None
        case sc.Read(tensor=Comp() as source):
            return source.reducer in (None, "sum") and is_square(source.body)
        case _:
            return False


def is_shifted_sum(node: Comp) -> bool:
    """`sum(exp(u - m))`, m the (gradient-free) maximum of u: at least 1."""
    if node.reducer != "sum" or node.target is not None:
        return False
    body = node.body
    match body:
        case sc.Read(tensor=Comp(None, target=None) as inner):
            body = inner.body
    match body:
        case sc.Op("exp", (inside,)):
            match inside:
                case sc.Read(tensor=Comp(None, target=None) as named):
                    inside = named.body
            match inside:
                case sc.Op("sub", (_, sc.Read(tensor=Comp() as m))):
                    return is_maximum(m)
    return False


def is_maximum(node: Comp) -> bool:
    """The shift of a softmax: the gradient-free maximum of what it is subtracted from."""
    return isinstance(node.body, sc.Op) and node.body.name == "stop_gradient"


# --------------------------------------------------------------------------- affine forms


def affine_range(x: Affine, extents: Mapping[int, Dim]) -> tuple[Dim, Dim] | None:
    """The least and greatest value over the indices' ranges, where the coefficients' signs are
    known."""
    low = high = x.const
    for k, c in x.terms:
        last = extents[k] - dim(1)
        if provably_nonnegative(c):
            high = high + c * last
        elif provably_nonnegative(-c):
            low = low + c * last
        else:
            return None
    return low, high


def in_range(x: Scalar, extents: Mapping[int, Dim]) -> bool:
    """Whether every read in `x` is in range wherever the indices run."""
    for r in sc.reads([x]):
        for i, n in zip(r.indices, r.tensor.shape, strict=True):
            bounds = affine_range(i, extents) if isinstance(i, Affine) else None
            if bounds is None:
                return False
            if not provably_nonnegative(bounds[0]) or not provably_nonnegative(n - 1 - bounds[1]):
                return False
    return True


def decide(test: Scalar, extents: Mapping[int, Dim]) -> bool | None:
    """The value of a comparison of affine forms, where the ranges settle it. Over an empty range
    nothing is evaluated, so an extent counts as at least 1."""
    match test:
        case sc.Const():
            return bool(test.value)
        case sc.Op("lt" | "le" | "gt" | "ge" | "eq" | "ne" as name, (a, b)):
            x, y = sc.as_affine(a), sc.as_affine(b)
            if x is None or y is None:
                return None
            difference = sc.as_affine(sc.op("sub", x, y))
            if difference is None:
                return None
            bounds = affine_range(difference, extents)
            if bounds is None:
                return None
            return _compare(name, *bounds)
        case _:
            return None


def _compare(name: str, low: Dim, high: Dim) -> bool | None:
    """`d name 0` for every d in low…high."""
    at_least_0 = provably_nonnegative(low)
    above_0 = provably_nonnegative(low - 1)
    at_most_0 = provably_nonnegative(-high)
    below_0 = provably_nonnegative(-high - 1)
    match name:
        case "ge":
            return True if at_least_0 else False if below_0 else None
        case "gt":
            return True if above_0 else False if at_most_0 else None
        case "le":
            return True if at_most_0 else False if above_0 else None
        case "lt":
            return True if below_0 else False if at_least_0 else None
        case "eq":
            return True if at_least_0 and at_most_0 else False if above_0 or below_0 else None
        case _:
            return False if at_least_0 and at_most_0 else True if above_0 or below_0 else None
