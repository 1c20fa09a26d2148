"""Simplification of a function's graph: stabilising rewrites, algebra, contraction order.

In: a `Function`. Out: an equal one. `stabilize` is what the gradient stage runs first (what is
differentiated is the stable form); `simplify` runs after it and adds the algebra. `log` collects
which equation fired where (`--explain`).

A body is rewritten bottom-up, each node by every rule until none matches. Rules that see through
a producer (a pointwise node inlined) are tried on the inlined body too, which is kept only if a
stabilising rule fired there.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from . import scalar as sc
from .algebra import collapse_reduction
from .contraction import order_contractions
from .dims import Dim
from .facts import decide, finite
from .graph import Comp, Function, Gradient, Node, postorder, rewrite, with_body
from .primitives import PRIMITIVES
from .rules import ALGEBRA, STABILIZING, Rule, head
from .scalar import Scalar, ScalarFunction
from .shifts import SHIFTS
from .span import Span


@dataclass(frozen=True)
class Fired:
    """A rule that fired: its equation, and where."""

    equation: str
    where: str
    span: Span


Log = list[Fired]

_BY_HEAD: dict[str, list[tuple[Rule, bool]]] = defaultdict(list)
_INLINE_LIMIT = 400  # nodes of a body seen through its producers


def stabilize(fn: Function, log: Log | None = None) -> Function:
    """Rewrite into numerically stable form; what a gradient is taken by stays a node."""
    with fn.scope.active():
        kept = _protected(fn.outputs)
        outputs = rewrite(fn.outputs, lambda n: _stable(n, kept, log))
        return fn.with_outputs(outputs)


def simplify(fn: Function, log: Log | None = None) -> Function:
    """Stable form, then algebra on whole reductions, then the order of contractions."""
    fn = stabilize(fn, log)
    with fn.scope.active():
        outputs: Sequence[Node] = rewrite(fn.outputs, lambda n: _algebra(n, log))
        outputs = rewrite(outputs, _without_views)
        outputs = order_contractions(outputs, lambda eq, n: _note(log, eq, n))
        return stabilize(fn.with_outputs(outputs), log)


def _protected(roots: Sequence[Node]) -> frozenset[Node]:
    return frozenset(n.wrt for n in postorder(roots) if isinstance(n, Gradient))


def _note(log: Log | None, equation: str, node: Comp) -> None:
    if log is not None:
        entry = Fired(equation, node.name or "an intermediate value", node.span)
        if entry not in log:
            log.append(entry)


# --------------------------------------------------------------------------- one node


def _stable(node: Node, protected: frozenset[Node], log: Log | None) -> Node:
    if not isinstance(node, Comp):
        return node
    extents = dict(enumerate(node.extents))
    plain = _Rewriter(extents)
    body = plain.run(node.body)
    inlined = _through_producers(body, protected)
    if inlined is not body:
        deep = _Rewriter(extents)
        seen = deep.run(inlined)
        if any(e not in plain.stabilized for e in deep.stabilized):
            plain, body = deep, seen
    for equation in plain.stabilized:
        _note(log, equation, node)
    if body is node.body:
        return node
    return with_body(node, body)


def _through_producers(body: Scalar, protected: frozenset[Node]) -> Scalar:
    """`body` with every pointwise producer's formula in place of its reads."""

    def rule(x: Scalar) -> Scalar:
        match x:
            case sc.Read(tensor=Comp(None, target=None) as source) if source not in protected:
                inner = sc.substitute_indices(source.body, dict(enumerate(x.indices)))
                return _through_producers(inner, protected)
        return x

    out = sc.rewrite(body, rule)
    size = sum(1 for _ in sc.postorder([out]))
    return out if size <= _INLINE_LIMIT else body


def _without_views(node: Node) -> Node:
    """Read through nodes that only rename elements: permute∘permute and the like vanish."""
    if not isinstance(node, Comp):
        return node

    def rule(x: Scalar) -> Scalar:
        match x:
            case sc.Read(tensor=Comp(None, body=sc.Read() as inner, target=None)):
                return sc.substitute_indices(inner, dict(enumerate(x.indices)))
        return x

    return with_body(node, sc.rewrite(node.body, rule))


def _algebra(node: Node, log: Log | None) -> Node:
    if not isinstance(node, Comp):
        return node
    found = collapse_reduction(node)
    if found is None:
        return node
    equation, out = found
    _note(log, equation, node)
    return out


# --------------------------------------------------------------------------- one body


@dataclass
class _Rewriter:
    """Rewrites scalar trees; `stabilized` lists the stabilising equations that fired."""

    extents: Mapping[int, Dim]
    stabilized: list[str] = field(default_factory=list)

    def run(self, root: Scalar) -> Scalar:
        for _ in range(8):  # conditions seen from above open new matches below: a few rounds
            out = _assume(sc.rewrite(root, self.one), {})
            if out is root:
                return out
            root = out
        return root

    def one(self, x: Scalar) -> Scalar:
        for _ in range(16):
            y = self.step(x)
            if y is x:
                return x
            x = y
            if isinstance(x, sc.Op | sc.Call):
                kids = [self.one(c) for c in x.args]
                x = (
                    sc.with_children(x, kids)
                    if any(a is not b for a, b in zip(kids, x.args, strict=True))
                    else x
                )
        return x

    def step(self, x: Scalar) -> Scalar:
        match x:
            case sc.Call() if not x.function.builtin:
                simpler = simplified_function(x.function)
                if simpler is not x.function:
                    return sc.call(simpler, x.args)
            case sc.Op("where", (test, then, other)):
                known = decide(test, self.extents)
                if known is not None:
                    return then if known else other
                if then is other:
                    return then
            case sc.Op("and" | "or" as name, (a, b)):
                for this, that in ((a, b), (b, a)):
                    known = decide(this, self.extents)
                    if known is not None:
                        return that if known == (name == "and") else this
                if a is b:
                    return a
            case sc.Op("absorb", (value, factor)) if finite(factor):
                return sc.op("mul", value, factor)
            case sc.Op():
                folded = _folded(x)
                if folded is not x:
                    return folded
        for rule, stabilizing in _rules(head(x)):
            out = rule.apply(x)
            if out is not None and out is not x:
                if out.dtype is not x.dtype:
                    out = sc.convert(out, x.dtype)
                if stabilizing:
                    self.stabilized.append(rule.equation)
                return out
        for equation, shift in SHIFTS:
            out = shift(x)
            if out is not None:
                self.stabilized.append(equation)
                return out
        return x


def _rules(name: str) -> list[tuple[Rule, bool]]:
    if not _BY_HEAD:
        for rules, stabilizing in ((STABILIZING, True), (ALGEBRA, False)):
            for rule in rules:
                _BY_HEAD[head(rule.pattern)].append((rule, stabilizing))
    return _BY_HEAD.get(name, [])


_functions: WeakKeyDictionary[ScalarFunction, ScalarFunction] = WeakKeyDictionary()


def simplified_function(function: ScalarFunction) -> ScalarFunction:
    """A user's scalar function with its body in stable form."""
    known = _functions.get(function)
    if known is None:
        body = _Rewriter({}).run(function.body)
        known = function
        if body is not function.body:
            known = ScalarFunction(function.name, function.params, body, function.partials)
        _functions[function] = known
        _functions[known] = known
    return known


def _assume(root: Scalar, facts: Mapping[Scalar, bool]) -> Scalar:
    """`root` with tests decided by the conditionals around them."""
    done: dict[tuple[Scalar, frozenset[Any]], Scalar] = {}

    def visit(x: Scalar, known: Mapping[Scalar, bool]) -> Scalar:
        if x in known:
            return sc.const(known[x])
        kids = sc.children(x)
        if not kids:
            return x
        key = (x, frozenset(known.items()))
        if key in done:
            return done[key]
        if isinstance(x, sc.Op) and x.name == "where":
            test = visit(x.args[0], known)
            if isinstance(test, sc.Const):
                out = visit(x.args[1] if test.value else x.args[2], known)
            else:
                then = visit(x.args[1], {**known, **dict.fromkeys(_conjuncts(test), True)})
                other = visit(x.args[2], {**known, test: False})
                out = then if then is other else sc.op("where", test, then, other)
        elif isinstance(x, sc.Op) and x.name in ("and", "or"):
            a, b = (visit(c, known) for c in x.args)
            out = _connective(x.name, a, b)
        else:
            new = [visit(c, known) for c in kids]
            same = all(p is q for p, q in zip(new, kids, strict=True))
            out = x if same else sc.with_children(x, new)
        done[key] = out
        return out

    if not any(isinstance(x, sc.Op) and x.name == "where" for x in sc.postorder([root])):
        return root
    return visit(root, facts)


def _connective(name: str, a: Scalar, b: Scalar) -> Scalar:
    for this, that in ((a, b), (b, a)):
        if isinstance(this, sc.Const):
            return that if bool(this.value) == (name == "and") else this
    return sc.op(name, a, b)


def _conjuncts(test: Scalar) -> list[Scalar]:
    if isinstance(test, sc.Op) and test.name == "and":
        return [*_conjuncts(test.args[0]), *_conjuncts(test.args[1]), test]
    return [test]


def _folded(x: sc.Op) -> Scalar:
    """An operation on constants, computed in its own dtype."""
    if x.name in ("cast", "stop_gradient") or not all(isinstance(a, sc.Const) for a in x.args):
        return x
    values = [np.asarray(a.value, dtype=a.dtype.numpy) for a in x.args if isinstance(a, sc.Const)]
    if x.dtype.name == "bf16":
        return x
    with np.errstate(all="ignore"):
        out = np.asarray(PRIMITIVES[x.name].numpy(*values)).astype(x.dtype.numpy).item()
    if isinstance(out, float) and math.isnan(out):
        return x
    return sc.const(out, x.dtype)
