"""Algebra on whole reductions.

In: a comprehension. Out: an equal, cheaper one with the equation that made it, or None:

    Σ_k a·b[k]  =  a·Σ_k b[k]         a factor that does not depend on the summed index leaves
    Σ_k absorb(b[k], a·c[k])  =  absorb(Σ_k absorb(b[k], c[k]), a)       a literal, or 1 over the
                                      sum of a softmax
    Σ_k a       =  n·a                a sum of a broadcast
    r[i,j] = Σ_k a[j,k]  is  s[j] = Σ_k a[j,k]  for every i, whatever is reduced by
    max_k a     =  a                  likewise max, min, any, all (the extent known to be > 0)
    Σ_k (a[k] if k == e else 0)  =  a[e]      e known to be an index
"""

from __future__ import annotations

from . import index_lambda as il
from . import scalar as sc
from .conditions import conjuncts
from .dims import Dim, dim, provably_positive
from .facts import decide, is_shifted_sum
from .graph import Comp, Node, comp, over_indices
from .ranges import ALWAYS, may_stand_apart
from .scalar import Affine, Scalar


def collapse_reduction(node: Comp) -> tuple[str, Node] | None:
    if node.target is not None or node.reducer is None:
        return None
    single = [k for k in node.reduced if node.extents[k].const == 1]
    if single and not node.reducer.startswith("arg"):
        body = sc.substitute_indices(node.body, dict.fromkeys(single, sc.size(0)))
        body = sc.convert(body, node.dtype)
        return f"{node.reducer} of one element", _without_indices(node, single, body, node.name)
    same = _same_along(node)
    if same is not None:
        return f"{node.reducer}[k](a[k]) for every i = {node.reducer}[k](a[k]), once", same
    if node.reducer == "sum":
        chosen = _chosen_term(node)
        if chosen is not None:
            return "sum[k](a[k] if k == e else 0) = a[e]", chosen
    if node.reducer == "sum" and node.dtype.is_float:
        return _factor_out(node) or _absorbed_out(node)
    if node.reducer in ("max", "min", "any", "all"):
        used = sc.indices_of(node.body)
        free = [k for k in node.reduced if k not in used and provably_positive(node.extents[k])]
        if free:
            return f"{node.reducer} of a broadcast", _without_indices(
                node, free, node.body, node.name
            )
    return None


def _same_along(node: Comp) -> Comp | None:
    """A reduction that some indices of the output play no part in, made once for all of them. Not
    where an index is computed: its check is none of an empty result."""
    used = sc.indices_of(node.body)
    free = [k for k in range(node.rank) if k not in used and node.extents[k].const != 1]
    if not free or not node.reduced:
        return None
    if any(sc.as_affine(at) is None for r in sc.reads([node.body]) for at in r.indices):
        return None
    kept = [k for k in range(node.rank) if k not in free]
    names = node.index_names
    once = over_indices(node, [*kept, *node.reduced], len(kept))
    return comp(
        sc.read(once, [sc.index(k) for k in kept]),
        node.shape,
        node.rank,
        name=node.name,
        index_names=names[: node.rank],
        span=node.span,
    )


def _chosen_term(node: Comp) -> Comp | None:
    match node.body:
        case sc.Op("where", (test, then, other)) if sc.is_literal(other, 0):
            pass
        case _:
            return None
    tests = conjuncts(test)
    extents = dict(enumerate(node.extents))
    for position, equation in enumerate(tests):
        for k in node.reduced:
            e = _solved(equation, k)
            if e is None or decide(sc.op("ge", e, sc.size(0)), extents) is not True:
                continue
            if decide(sc.op("lt", e, sc.size(node.extents[k])), extents) is not True:
                continue
            body = then
            for rest in (*tests[:position], *tests[position + 1 :]):
                body = sc.op("where", rest, body, sc.const(0, then.dtype))
            return _without_indices(node, [k], sc.substitute_indices(body, {k: e}), node.name)
    return None


def _solved(equation: Scalar, k: int) -> Affine | None:
    """What index `k` is equal to where `equation` holds, if it says so."""
    match equation:
        case sc.Op("eq", (a, b)):
            x, y = sc.as_affine(a), sc.as_affine(b)
        case _:
            return None
    if x is None or y is None:
        return None
    difference = sc.as_affine(sc.op("sub", x, y))
    if difference is None:
        return None
    slope = dict(difference.terms).get(k)
    if slope is None or slope.const not in (1, -1):
        return None
    rest = sc.affine({n: c for n, c in difference.terms if n != k}, difference.const)
    return sc.as_affine(sc.op("neg", rest) if slope.const == 1 else rest)


def _factor_out(node: Comp) -> tuple[str, Node] | None:
    over = set(node.reduced)
    inside: list[tuple[Scalar, bool]] = []
    outside: list[tuple[Scalar, bool]] = []
    for factor, below in _factors(node.body, False):
        leaves = not sc.indices_of(factor) & over and may_stand_apart(factor, ALWAYS, node.extents)
        (outside if leaves else inside).append((factor, below))
    used = {k for f, _ in inside for k in sc.indices_of(f)}
    free = [k for k in node.reduced if k not in used]
    if not outside and not free:
        return None
    if not free and all(_trivial(f) for f, _ in outside):
        return None
    count = dim(1)
    for k in free:
        count = count * node.extents[k]
    if not inside:  # nothing is left to sum
        whole = _scaled(None, outside, count, node)
        return "sum of a broadcast = size * value", whole
    rest = _without_indices(node, free, _scaled_body(None, inside))
    out = _scaled(il.of_node(rest).body, outside, count, node)
    return "sum(a * b[k]) = a * sum(b[k])", out


def _absorbed_out(node: Comp) -> tuple[str, Node] | None:
    match node.body:
        case sc.Op("absorb", (value, factor)):
            pass
        case _:
            return None
    over = set(node.reduced)
    factors = _factors(factor, False)
    inside = [(f, below) for f, below in factors if sc.indices_of(f) & over]
    outside = [(f, below) for f, below in factors if not sc.indices_of(f) & over]
    if all(_trivial(f) or sc.is_literal(f, -1) for f, _ in outside):
        return None
    if not all(_is_harmless(f, below) for f, below in outside):
        return None
    body = sc.op("absorb", value, _scaled_body(None, inside)) if inside else value
    rest = _without_indices(node, [], body)
    out = comp(
        sc.op("absorb", il.of_node(rest).body, _scaled_body(None, outside)),
        node.shape,
        node.rank,
        name=node.name,
        index_names=node.index_names[: node.rank],
        span=node.span,
    )
    return "sum(absorb(b[k], a * c[k])) = absorb(sum(absorb(b[k], c[k])), a)", out


def _is_harmless(x: Scalar, below: bool) -> bool:
    """Whether `x` can be left out where a sum is 0, though no term is, and 1/x does not overflow: a
    literal, or a softmax's sum, which is at least 1 (or NaN, and then so is what is summed)."""
    if isinstance(x, sc.Const):
        return 2.0**-14 <= abs(x.value) <= 2.0**14
    return (
        below and isinstance(x, sc.Read) and isinstance(x.tensor, Comp) and is_shifted_sum(x.tensor)
    )


def _trivial(x: Scalar) -> bool:
    return sc.is_literal(x, 1)


def _factors(x: Scalar, below: bool) -> list[tuple[Scalar, bool]]:
    """The factors of a product, with whether each divides."""
    match x:
        case sc.Op("mul", (a, b)):
            return [*_factors(a, below), *_factors(b, below)]
        case sc.Op("div", (a, b)) if not below:
            return [*_factors(a, below), (b, True)]
        case sc.Op("neg", (a,)):
            return [*_factors(a, below), (sc.const(-1, x.dtype), False)]
        case _:
            return [(x, below)]


def _scaled_body(start: Scalar | None, factors: list[tuple[Scalar, bool]]) -> Scalar:
    out = start
    negative = False
    for f, below in sorted(factors, key=lambda t: t[1]):
        if sc.is_literal(f, -1):
            negative = not negative
        elif out is None:
            out = sc.op("div", sc.const(1, f.dtype), f) if below else f
        else:
            out = sc.op("div" if below else "mul", out, f)
    if out is None:
        out = sc.const(1.0)
    return sc.op("neg", out) if negative else out


def _scaled(
    start: Scalar | None, factors: list[tuple[Scalar, bool]], count: Dim, node: Comp
) -> Comp:
    """A pointwise node: `start` times what left the sum, under the sum's name."""
    body = _scaled_body(start, factors)
    if count.const != 1 and not sc.is_literal(body, 0):
        body = sc.op("mul", body, sc.size(count))
    return comp(
        sc.convert(body, node.dtype),
        node.shape,
        node.rank,
        name=node.name,
        index_names=node.index_names[: node.rank],
        span=node.span,
    )


def _without_indices(node: Comp, free: list[int], body: Scalar, name: str | None = None) -> Comp:
    """The reduction of `body` over the other indices."""
    kept = [k for k in range(len(node.extents)) if k not in free]
    return over_indices(node, kept, node.rank, body=body, name=name)
