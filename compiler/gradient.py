"""Reverse mode on the graph: `Gradient` requests become comprehensions.

In: a `Function`, possibly with (nested) gradient requests. Out: one without. Requests are
replaced innermost first. The chain rule lives here: a cotangent per node, passed back through
each read of its body; local derivatives come from `derivative`, and `transpose` turns each read
round into a gather or a scatter.

NaN-safe by construction: a cotangent that passes through `where` carries the test as a guard,
which is applied last and never multiplied; where a guard cannot be carried (across nodes), the
product with a local derivative that may be infinite absorbs: 0·∞ = 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from . import fold
from . import index_lambda as il
from . import scalar as sc
from .derivative import is_singular, local_partial
from .dtypes import DType
from .facts import finite, nonzero, selected
from .graph import (
    Comp,
    Function,
    Gradient,
    Node,
    as_variable,
    comp,
    operands,
    postorder,
    rename,
    rewrite,
)
from .index_lambda import IndexLambda
from .primitives import PRIMITIVES, Typing
from .scalar import Scalar, is_literal
from .transpose import transpose_read

_WORTH_READING = 6  # the cost from which a value is read, not computed again

#: A guarded value: it counts where the guard holds (None: everywhere).
Guarded = tuple[Scalar | None, Scalar]


def expand(fn: Function) -> Function:
    """Replace every gradient request of `fn`."""
    with fn.scope.active():
        outputs: Sequence[Node] = fn.outputs
        while True:
            requests = _innermost(outputs)
            if not requests:
                return fn.with_outputs(rewrite(outputs, _untagged))
            found: dict[Node, Node] = {}
            for of in dict.fromkeys(r.of for r in requests):
                group = [r for r in requests if r.of is of]
                cotangents = pullback(of, [r.wrt for r in group])
                for request, cotangent in zip(group, cotangents, strict=True):
                    name = request.name or (f"d{request.wrt.name}" if request.wrt.name else "d")
                    found[request] = rename(cotangent, name, request.span)
            outputs = rewrite(outputs, lambda n, known=found: known.get(n, n))  # type: ignore[misc]


def _untagged(node: Node) -> Node:
    """What a gradient was taken by need not be kept apart any longer."""
    if isinstance(node, Comp) and node.variable is not None:
        return as_variable(node, None)
    return node


def _innermost(roots: Iterable[Node]) -> list[Gradient]:
    """The requests below which there is no other."""
    tainted: set[Node] = set()
    out: list[Gradient] = []
    for node in postorder(roots):
        below = any(n in tainted for n in operands(node))
        if isinstance(node, Gradient):
            tainted.add(node)
            if not below:
                out.append(node)
        elif below:
            tainted.add(node)
    return out


def pullback(of: Node, wrt: Sequence[Node]) -> list[Node]:
    """The cotangents of `wrt` for a cotangent of 1 on the scalar `of`."""
    order = postorder([of])
    active = _dependents(order, set(wrt))
    pending: dict[Node, list[IndexLambda]] = {n: [] for n in order}
    pending.setdefault(of, []).append(IndexLambda((), sc.const(1, of.dtype)))
    done: dict[Node, Node] = {}
    for node in reversed(order):
        if node not in active or not pending[node]:
            continue
        total = _sum(pending.pop(node))
        kept = _kept(total, node, node in wrt)
        if node in wrt:
            done[node] = il.materialize(kept)
        if isinstance(node, Comp):
            for producer, contribution in _contributions(node, kept, active):
                pending[producer].append(contribution)
    return [done[n] if n in done else il.materialize(_zeros(n)) for n in wrt]


def _dependents(order: Sequence[Node], wrt: set[Node]) -> set[Node]:
    """The nodes through which a derivative with respect to `wrt` flows."""
    active: set[Node] = set()
    for node in order:
        if node in wrt or any(n in active and n.dtype.is_float for n in operands(node)):
            active.add(node)
    return active


def _zeros(node: Node) -> IndexLambda:
    return IndexLambda(node.shape, sc.const(0, node.dtype))


def _sum(parts: Sequence[IndexLambda]) -> IndexLambda:
    total = parts[0]
    for p in parts[1:]:
        total = il.elementwise(fold.plus, total, p)
    return total


def _kept(cotangent: IndexLambda, node: Node, wanted: bool) -> IndexLambda:
    """A node of its own, named after the primal, unless it costs nothing to repeat."""
    if not wanted and not isinstance(cotangent.body, sc.Op | sc.Call):
        return cotangent
    held = il.materialize(cotangent)
    if node.name is not None:
        rename(held, f"d{node.name}", node.span)
    return il.of_node(held)


# --------------------------------------------------------------------------- one comprehension


def _contributions(
    node: Comp, cotangent: IndexLambda, active: set[Node]
) -> list[tuple[Node, IndexLambda]]:
    """What `node`'s cotangent gives to each active node that its body reads."""
    seed = _seed(node, cotangent)
    if seed is None:
        return []
    out: list[tuple[Node, IndexLambda]] = []
    for target, (guard, value) in _reverse(node.body, seed, active).items():
        value = _by_value(value, node)
        back = transpose_read(
            target,
            node.extents,
            node.rank,
            value,
            guard,
            names=node.index_names,
            span=node.span,
        )
        out.append((target.tensor, _lambda(back)))
    return out


def _by_value(x: Scalar, node: Comp) -> Scalar:
    """`x` with `node`'s own value read rather than written out (exp is its own derivative)."""
    body = node.body
    if node.reducer is not None or node.target is not None or not isinstance(body, sc.Op):
        return x
    if PRIMITIVES[body.name].cost < _WORTH_READING:
        return x
    return sc.rewrite(x, lambda part: il.of_node(node).body if part is body else part)


def _lambda(node: Comp) -> IndexLambda:
    """Elementwise contributions stay formulas, to be summed in one body."""
    if node.reducer is None and node.target is None:
        return IndexLambda(node.shape, node.body)
    return il.of_node(node)


def _seed(node: Comp, cotangent: IndexLambda) -> Guarded | None:
    """The cotangent of the body, over the comprehension's whole index space."""
    if node.target is not None:
        return None, sc.substitute_indices(cotangent.body, dict(enumerate(node.target)))
    here = cotangent.body  # the output's indices are numbered alike
    result = il.of_node(node).body
    match node.reducer:
        case None | "sum":
            return None, here
        case "max" | "min":  # ties share the cotangent evenly
            hit = sc.op("eq", node.body, result)
            count = comp(
                sc.op("where", hit, sc.const(1, node.dtype), sc.const(0, node.dtype)),
                node.extents,
                node.rank,
                "sum",
                index_names=node.index_names,
                span=node.span,
            )
            return hit, fold.divide(here, il.of_node(count).body)
        case "prod":
            return None, fold.times(here, _product_of_others(node, result))
        case _:
            return None


def _product_of_others(node: Comp, result: Scalar) -> Scalar:
    """∏ over the other elements: the quotient where no element is 0, else computed as such, so
    that zeros give the right derivatives to any order."""
    zero = sc.op("eq", node.body, sc.const(0))
    zeros = il.of_node(
        comp(
            sc.op("where", zero, sc.const(1), sc.const(0)),
            node.extents,
            node.rank,
            "sum",
            index_names=node.index_names,
            span=node.span,
        )
    ).body
    # indices: output, this element's, then the other elements'
    total = len(node.extents)
    other = {k: sc.index(total + n) for n, k in enumerate(node.reduced)}
    differs: Scalar | None = None
    for k in node.reduced:
        test = sc.op("ne", sc.index(k), other[k])
        differs = test if differs is None else sc.op("or", differs, test)
    assert differs is not None
    needed = sc.op("ne", zeros, sc.const(0))
    one = sc.const(1, node.dtype)
    factor = sc.op("where", differs, sc.substitute_indices(node.body, other), one)
    others = comp(
        sc.op("where", needed, factor, one),
        [*node.extents, *(node.extents[k] for k in node.reduced)],
        total,
        "prod",
        span=node.span,
    )
    # the quotient is taken where it is safe, the product where there is a 0
    quotient = sc.op("div", result, sc.op("where", needed, one, node.body))
    return sc.op("where", needed, il.of_node(others).body, quotient)


# --------------------------------------------------------------------------- one body


def _reverse(root: Scalar, seed: Guarded, active: set[Node]) -> dict[sc.Read, Guarded]:
    """The guarded cotangents of the active reads in a body."""
    order = list(sc.postorder([root]))
    flows: set[Scalar] = set()
    for x in order:
        match x:
            case sc.Read():
                if x.tensor in active and x.dtype.is_float:
                    flows.add(x)
            case sc.Op() | sc.Call():
                if any(a in flows for a in x.args) and not _stops(x):
                    flows.add(x)
    pending: dict[Scalar, list[Guarded]] = {root: [seed]}
    out: dict[sc.Read, Guarded] = {}
    for x in reversed(order):
        if x not in flows or x not in pending:
            continue
        guard, value = _merge(pending.pop(x))
        match x:
            case sc.Read():
                out[x] = guard, value
            case sc.Op("where", (test, then, other)):
                for branch, condition in ((then, test), (other, fold.negation(test))):
                    if branch in flows:
                        entry = fold.both(guard, condition), value
                        pending.setdefault(branch, []).append(entry)
            case sc.Op("cast", (inner,)):
                pending.setdefault(inner, []).append((guard, sc.cast(value, inner.dtype)))
            case sc.Op() | sc.Call():
                for k, argument in enumerate(x.args):
                    if argument in flows:
                        entry = guard, _narrowed(_product(value, x, k), argument.dtype)
                        pending.setdefault(argument, []).append(entry)
    return out


def _narrowed(value: Scalar, dtype: DType) -> Scalar:
    """A cotangent in its argument's dtype: a scalar function takes arguments of several."""
    return value if value.dtype is dtype or value.dtype.is_weak else sc.cast(value, dtype)


def _stops(x: sc.Op | sc.Call) -> bool:
    """Whether no derivative passes: comparisons, rounding, `stop_gradient`."""
    if isinstance(x, sc.Call):
        return False
    row = PRIMITIVES[x.name]
    return row.typing is not Typing.WHERE and set(row.derivative) == {"0"}


def _merge(parts: Sequence[Guarded]) -> Guarded:
    """The sum of guarded values: guarded by any of the guards."""
    if len(parts) == 1:
        return parts[0]
    guard = parts[0][0]
    for other, _ in parts[1:]:
        guard = fold.either(guard, other)
    total: Scalar | None = None
    for test, value in parts:
        term = (
            value
            if test is None or test is guard
            else fold.choose(test, value, fold.zero_like(value))
        )
        total = term if total is None else fold.plus(total, term)
    assert total is not None
    return guard, total


def _product(value: Scalar, x: sc.Op | sc.Call, position: int) -> Scalar:
    """`value` times the local derivative of `x`."""
    factor = local_partial(x, position)
    if is_literal(factor, 0):
        return fold.zero_like(value)
    match factor:  # a guard is applied last, never multiplied
        case sc.Op("where", (test, then, other)) if is_literal(other, 0):
            return fold.choose(test, _scaled(value, then, x), fold.zero_like(value))
        case sc.Op("where", (test, then, other)) if is_literal(then, 0):
            return fold.choose(test, fold.zero_like(value), _scaled(value, other, x))
    return _scaled(value, factor, x)


def _scaled(value: Scalar, factor: Scalar, x: sc.Op | sc.Call) -> Scalar:
    """`value * factor`, absorbing where one may be 0 by choice and the other infinite."""
    may_vanish = not isinstance(value, sc.Const) and not nonzero(value)
    # a factor that only overflows need not absorb a zero that the user computed
    if may_vanish and not finite(factor) and (is_singular(x) or selected(value)):
        return sc.op("absorb", value, factor)
    if selected(factor) and not finite(value):
        return sc.op("absorb", factor, value)
    return fold.times(value, factor)
