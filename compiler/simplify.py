"""Simplification of a function's graph: stabilising rewrites, algebra, contraction order.

In: a `Function`. Out: an equal one. `stabilize` is what the gradient stage runs first (what is
differentiated is the stable form); `simplify` runs after it and adds the algebra. `log` collects
which equation fired where (`--explain`).

A body is rewritten bottom-up, each part by every rule until none matches. Stabilising rules see
through pointwise producers (`sight`); algebra stays inside one body.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from weakref import WeakKeyDictionary

import numpy as np

from . import scalar as sc
from .algebra import collapse_reduction
from .conditions import assume, connective
from .contraction import order_contractions
from .dims import Dim
from .facts import decide, finite, in_range
from .graph import Comp, Function, Gradient, Node, postorder, rewrite, with_body
from .primitives import PRIMITIVES
from .records import dataclass, field
from .rules import ALGEBRA, STABILIZING, Rule, head
from .scalar import Scalar, ScalarFunction
from .shifts import SHIFTS
from .sight import Sight
from .span import Span
from .symmetry import opposite_sums


@dataclass(frozen=True)
class Fired:
    """A rule that fired: its equation, and where."""

    equation: str
    where: str
    span: Span


Log = list[Fired]

_BY_HEAD: dict[str, list[tuple[Rule, bool]]] = defaultdict(list)
_DEEPEST = 64  # rewrites of a rewritten form
_ROUNDS = 8


def stabilize(fn: Function, log: Log | None = None) -> Function:
    """Rewrite into numerically stable form; what a gradient is taken by stays a node."""
    with fn.scope.active():
        rewriting = _Pass(Sight(_protected(fn.outputs)), log)
        return fn.with_outputs(rewrite(fn.outputs, rewriting.node))


def simplify(fn: Function, log: Log | None = None) -> Function:
    """Stable form, then algebra on whole reductions, then the order of contractions; repeated
    until nothing changes."""
    with fn.scope.active():
        opaque = _protected(fn.outputs)
        rewriting = _Pass(Sight(opaque), log)
        outputs: Sequence[Node] = rewrite(fn.outputs, rewriting.node)
        for _ in range(_ROUNDS):
            before = tuple(outputs)
            outputs = rewrite(outputs, lambda n: _without_views(n, opaque))
            outputs = rewrite(outputs, lambda n: _algebra(n, log))
            outputs = order_contractions(outputs, lambda eq, n: _note(log, eq, n))
            outputs = opposite_sums(outputs, lambda eq, n: _note(log, eq, n))
            outputs = rewrite(outputs, rewriting.node)
            if tuple(outputs) == before:
                break
        return fn.with_outputs(outputs)


def _protected(roots: Sequence[Node]) -> frozenset[Node]:
    return frozenset(n.wrt for n in postorder(roots) if isinstance(n, Gradient))


def _note(log: Log | None, equation: str, node: Comp) -> None:
    if log is not None:
        entry = Fired(equation, node.name or "an intermediate value", node.span)
        if entry not in log:
            log.append(entry)


# --------------------------------------------------------------------------- one node


@dataclass
class _Pass:
    """One pass over a graph; bodies over equal extents share what was found for their parts."""

    sight: Sight
    log: Log | None
    rewriters: dict[tuple[Dim, ...], _Rewriter] = field(default_factory=dict)

    def node(self, node: Node) -> Node:
        if not isinstance(node, Comp):
            return node
        rewriter = self.rewriters.get(node.extents)
        if rewriter is None:
            extents = dict(enumerate(node.extents))
            rewriter = self.rewriters[node.extents] = _Rewriter(extents, self.sight)
        rewriter.stabilized.clear()
        body = rewriter.run(node.body)
        for equation in rewriter.stabilized:
            _note(self.log, equation, node)
        return node if body is node.body else with_body(node, body)


def _without_views(node: Node, opaque: frozenset[Node]) -> Node:
    """Read through nodes that only rename elements (permute∘permute and the like vanish), or
    negate them, and through those that hold one small constant expression."""
    if not isinstance(node, Comp):
        return node

    def rule(x: Scalar) -> Scalar:
        match x:
            case sc.Read(tensor=Comp(None, target=None) as source) if source not in opaque:
                if _is_view(source.body) or _constant(source.body):
                    return sc.substitute_indices(source.body, dict(enumerate(x.indices)))
        return x

    return with_body(node, sc.rewrite(node.body, rule))


def _is_view(body: Scalar) -> bool:
    match body:
        case sc.Op("neg", (inner,)):
            return isinstance(inner, sc.Read)
        case _:
            return isinstance(body, sc.Read)


def _constant(body: Scalar) -> bool:
    """Sizes and literals only, few enough to be written where they are used."""
    parts = list(sc.postorder([body]))
    operations = [x for x in parts if isinstance(x, sc.Op | sc.Call)]
    return len(operations) <= 3 and not any(isinstance(x, sc.Read | sc.Call) for x in parts)


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
    sight: Sight
    stabilized: list[str] = field(default_factory=list)
    done: dict[Scalar, Scalar] = field(default_factory=dict)

    def run(self, root: Scalar) -> Scalar:
        for _ in range(8):  # conditions seen from above open new matches below: a few rounds
            out = assume(self.normal(root, 0))
            if out is root:
                return out
            root = out
        return root

    def normal(self, root: Scalar, depth: int) -> Scalar:
        """`root` with no rule left to apply; what a rule makes is rewritten in its turn."""
        order: list[tuple[Scalar, bool]] = [(root, False)]
        while order:
            x, expanded = order.pop()
            if x in self.done:
                continue
            kids = sc.children(x)
            if not expanded:
                order.append((x, True))
                order.extend((c, False) for c in kids if c not in self.done)
                continue
            new = [self.done[c] for c in kids]
            same = all(a is b for a, b in zip(new, kids, strict=True))
            rebuilt = x if same else sc.with_children(x, new)
            out = self.done.get(rebuilt)
            if out is None:
                out = self.step(rebuilt)
                if out is not rebuilt and depth < _DEEPEST:
                    out = self.normal(out, depth + 1)
                self.done[rebuilt] = out
            self.done[x] = out
        return self.done[root]

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
                if sc.is_false(other) and in_range(then, self.extents):
                    return connective("and", test, then)
            case sc.Op("and" | "or" as name, (a, b)):
                for this, that in ((a, b), (b, a)):
                    known = decide(this, self.extents)
                    if known is not None:
                        return that if known == (name == "and") else this
                if a is b:
                    return a
            case sc.Op("absorb", (value, factor)) if finite(factor):
                return sc.op("mul", value, factor)
            case sc.Op(
                "add" | "sub" | "mul" as name,
                (sc.Op("where", (test, a, b)), sc.Op("where", (again, c, d))),
            ) if test is again:
                return sc.op("where", test, sc.op(name, a, c), sc.op(name, b, d))
            case sc.Op():
                folded = _folded(x)
                if folded is not x:
                    return folded
        if not isinstance(x, sc.Op | sc.Call):
            return x
        for rule, stabilizing in _rules(head(x)):
            out = rule.apply(x, self.sight.see if stabilizing else None)
            if out is not None and out is not x:
                if out.dtype is not x.dtype:
                    out = sc.convert(out, x.dtype)
                if stabilizing:
                    self.stabilized.append(rule.equation)
                return out
        for equation, shift in SHIFTS:
            out = shift(x, self.sight)
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
        body = _Rewriter({}, Sight(frozenset())).run(function.body)
        known = function
        if body is not function.body:
            known = ScalarFunction(function.name, function.params, body, function.partials)
        _functions[function] = known
        _functions[known] = known
    return known


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
