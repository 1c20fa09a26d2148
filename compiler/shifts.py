"""Stabilising rewrites that look through a reduction: log-sum-exp, softmax, norms.

In: a scalar whose operands are already rewritten. Out: the stable form, or None. Equations, with
m = stop_gradient(max u) over the summed indices (0 where infinite):

    log(Σ exp(u))        = m + log(Σ exp(u − m))
    exp(u) / Σ exp(u)    = exp(u − m) / Σ exp(u − m)
    log(exp(w) / s)      = w − log(s)                 s such a shifted sum (s ≥ 1)
    sqrt(Σ x²)           = root_of_squares(Σ x²)      subgradient 0 at 0
    x / sqrt(Σ x²)       = 0 where the root is 0, else the quotient
"""

from __future__ import annotations

from collections.abc import Callable

from . import index_lambda as il
from . import scalar as sc
from .facts import is_shifted_sum, is_square
from .graph import Comp, comp
from .ops import scalar_function
from .scalar import Affine, Scalar
from .sight import Sight

Shift = Callable[[Scalar, Sight], Scalar | None]


def log_of_sum(x: Scalar, sight: Sight) -> Scalar | None:
    match x:
        case sc.Op("log", (inner,)):
            match sight.see(inner):
                case sc.Read(tensor=Comp() as total) as r:
                    exponent = _exponent(total, sight)
                    if exponent is not None and not is_shifted_sum(total):
                        m, shifted = _shifted(total, exponent)
                        rest = sc.op("log", sc.read(shifted, r.indices))
                        return sc.op("add", sc.read(m, r.indices), rest)
    return None


def softmax_quotient(x: Scalar, sight: Sight) -> Scalar | None:
    match x:
        case sc.Op("div", (above, below)):
            match sight.see(below), sight.see(above):
                case sc.Read(tensor=Comp() as total) as r, sc.Op("exp", (w,)):
                    exponent = _exponent(total, sight)
                    if exponent is None or is_shifted_sum(total):
                        return None
                    found: dict[int, Scalar] = dict(enumerate(r.indices))
                    if unify(exponent, w, found, sight):
                        m, shifted = _shifted(total, exponent)
                        top = sc.op("exp", sc.op("sub", w, sc.read(m, r.indices)))
                        return sc.op("div", top, sc.read(shifted, r.indices))
    return None


def log_of_softmax(x: Scalar, sight: Sight) -> Scalar | None:
    match x:
        case sc.Op("log", (inner,)):
            match sight.see(inner):
                case sc.Op("div", (above, below)):
                    match sight.see(above), sight.see(below):
                        case sc.Op("exp", (w,)), sc.Read(tensor=Comp() as s) as r:
                            if is_shifted_sum(s):
                                return sc.op("sub", w, sc.op("log", r))
    return None


def root_of_sum(x: Scalar, sight: Sight) -> Scalar | None:
    match x:
        case sc.Op("sqrt", (inner,)) if is_square(inner):
            root = scalar_function("root_of_squares")
            assert root is not None
            return sc.call(root, [inner])
    return None


def normalized(x: Scalar, sight: Sight) -> Scalar | None:
    match x:
        case sc.Op("div", (above, below)):
            root = sight.see(below)
            if not isinstance(root, sc.Call):
                return None
            if root.function is not scalar_function("root_of_squares"):
                return None
            (inside,) = root.args
            factors = [f for f in map(sight.see, _factors(above)) if isinstance(f, sc.Read)]
            if any(_squared_in(r, sight.see(inside), sight) for r in factors):
                at_zero = sc.op("eq", root, sc.const(0))
                # the denominator made 1 where it is 0, so that the rule does not match again
                safe = sc.op("where", at_zero, sc.const(1, x.dtype), root)
                return sc.op("where", at_zero, sc.const(0, x.dtype), sc.op("div", above, safe))
    return None


SHIFTS: tuple[tuple[str, Shift], ...] = (
    ("log(sum(exp(u))) = m + log(sum(exp(u - m))), m = max(u)", log_of_sum),
    ("exp(u) / sum(exp(u)) = exp(u - m) / sum(exp(u - m)), m = max(u)", softmax_quotient),
    ("log(softmax(u)) = (u - m) - log(sum(exp(u - m)))", log_of_softmax),
    ("sqrt(sum(x*x)): gradient 0 at 0", root_of_sum),
    ("x / sqrt(sum(x*x)) = 0 at 0", normalized),
)


# --------------------------------------------------------------------------- parts


def _exponent(node: Comp, sight: Sight) -> Scalar | None:
    """u, where `node` is Σ exp(u)."""
    if node.reducer != "sum" or node.target is not None:
        return None
    match sight.see(node.body):
        case sc.Op("exp", (u,)):
            return u
    return None


def _shifted(node: Comp, exponent: Scalar) -> tuple[Comp, Comp]:
    """The shift m and Σ exp(u − m)."""
    highest = comp(
        exponent, node.extents, node.rank, "max", index_names=node.index_names, span=node.span
    )
    m = il.of_node(highest).body
    bounded = sc.op("where", sc.op("isfinite", m), m, sc.const(0))
    shift = comp(
        sc.op("stop_gradient", bounded),
        node.shape,
        len(node.shape),
        index_names=node.index_names[: node.rank],
        span=node.span,
    )
    body = sc.op("exp", sc.op("sub", exponent, il.of_node(shift).body))
    return shift, comp(
        body,
        node.extents,
        node.rank,
        "sum",
        name=node.name,
        index_names=node.index_names,
        span=node.span,
    )


def _factors(x: Scalar) -> list[Scalar]:
    match x:
        case sc.Op("mul", (a, b)):
            return [*_factors(a), *_factors(b)]
        case sc.Op("neg", (a,)):
            return _factors(a)
        case _:
            return [x]


def _squared_in(r: sc.Read, inside: Scalar, sight: Sight) -> bool:
    """Whether the element `r` is among those whose squares `inside` sums."""
    if inside is sc.op("mul", r, r):
        return True
    match inside:
        case sc.Read(tensor=Comp("sum", target=None) as node):
            body = sight.see(node.body)
            if not is_square(body):
                return False
            for squared in sc.reads([body]):
                found: dict[int, Scalar] = dict(enumerate(inside.indices))
                seen = sight.see(squared)
                if isinstance(seen, sc.Read) and unify(seen, r, found, sight):
                    return True
    return False


def unify(pattern: Scalar, x: Scalar, bound: dict[int, Scalar], sight: Sight) -> bool:
    """Whether `x` is `pattern` with its bare indices replaced; `bound` holds and collects what
    each stands for."""
    stack: list[tuple[Scalar, Scalar]] = [(pattern, x)]
    later: list[tuple[Affine, Scalar]] = []
    while stack:
        p, y = stack.pop()
        if isinstance(p, sc.Read) and isinstance(y, sc.Read) and p.tensor is y.tensor:
            stack.extend(zip(p.indices, y.indices, strict=True))
            continue
        p, y = sight.see(p), sight.see(y)
        match p, y:
            case sc.Affine(), _ if len(p.terms) == 1 and p is sc.index(p.terms[0][0]):
                k = p.terms[0][0]
                if bound.setdefault(k, y) is not y:
                    return False
            case sc.Affine(), _:
                later.append((p, y))
            case (sc.Read(), sc.Read()) if p.tensor is y.tensor:
                stack.extend(zip(p.indices, y.indices, strict=True))
            case (sc.Op(), sc.Op()) if p.name == y.name and p.dtype is y.dtype:
                stack.extend(zip(p.args, y.args, strict=True))
            case (sc.Call(), sc.Call()) if p.function is y.function:
                stack.extend(zip(p.args, y.args, strict=True))
            case _:
                if p is not y:
                    return False
    return all(
        all(k in bound for k, _ in p.terms) and sc.substitute_indices(p, bound) is y
        for p, y in later
    )
