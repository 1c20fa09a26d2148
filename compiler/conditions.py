"""Tests decided by the conditionals around them.

In: a scalar tree. Out: an equal one, in which a test known from an enclosing `where` is replaced
by its value, and conditionals that are thereby decided are gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import fold
from . import scalar as sc
from .scalar import Scalar

_DEEPEST = 150  # nested conditionals: beyond it a body is left as it is


def assume(root: Scalar) -> Scalar:
    """`root` with every test decided that an enclosing conditional decides."""
    relevant = _relevant(root)
    if relevant is None or root not in relevant:
        return root
    return _Assumption(relevant).visit(root, {})


def _relevant(root: Scalar) -> set[Scalar] | None:
    """The parts that hold a conditional or a test; None where the nesting is too deep."""
    tests: set[Scalar] = set()
    order = list(sc.postorder([root]))
    for x in order:
        if isinstance(x, sc.Op) and x.name == "where":
            tests.update(known_if(x.args[0], True), known_if(x.args[0], False))
    if not tests and not any(isinstance(x, sc.Op) and x.name == "where" for x in order):
        return set()
    depth: dict[Scalar, int] = {}
    for x in order:
        below = max((depth[c] for c in sc.children(x) if c in depth), default=0)
        if below or x in tests or (isinstance(x, sc.Op) and x.name == "where"):
            depth[x] = below + 1
    return None if max(depth.values(), default=0) > _DEEPEST else set(depth)


class _Assumption:
    def __init__(self, relevant: set[Scalar]) -> None:
        self.relevant = relevant
        self.done: dict[tuple[Scalar, frozenset[Any]], Scalar] = {}

    def visit(self, x: Scalar, known: Mapping[Scalar, bool]) -> Scalar:
        if x in known:
            return sc.const(known[x])
        if x not in self.relevant:
            return x
        key = (x, frozenset(known.items()))
        if key not in self.done:
            self.done[key] = self.rebuilt(x, known)
        return self.done[key]

    def rebuilt(self, x: Scalar, known: Mapping[Scalar, bool]) -> Scalar:
        match x:
            case sc.Op("where", (test, then, other)):
                test = self.visit(test, known)
                if isinstance(test, sc.Const):
                    return self.visit(then if test.value else other, known)
                then = self.visit(then, {**known, **known_if(test, True)})
                other = self.visit(other, {**known, **known_if(test, False)})
                return then if then is other else sc.op("where", test, then, other)
            case sc.Op("and" | "or" as name, (a, b)):
                return connective(name, self.visit(a, known), self.visit(b, known))
            case sc.Op("not", (a,)):
                return fold.negation(self.visit(a, known))
        kids = sc.children(x)
        new = [self.visit(c, known) for c in kids]
        same = all(p is q for p, q in zip(new, kids, strict=True))
        return x if same else sc.with_children(x, new)


def known_if(test: Scalar, value: bool) -> dict[Scalar, bool]:
    """The tests that `test` being `value` decides."""
    out: dict[Scalar, bool] = {}
    stack = [(test, value)]
    while stack:
        t, v = stack.pop()
        out[t] = v
        match t:
            case sc.Op("and", (a, b)) if v:
                stack += [(a, True), (b, True)]
            case sc.Op("or", (a, b)) if not v:
                stack += [(a, False), (b, False)]
            case sc.Op("where", (a, b, c)) if v and sc.is_false(c):
                stack += [(a, True), (b, True)]
            case sc.Op("not", (a,)):
                stack.append((a, not v))
            case sc.Op("eq" | "ne", _):
                out[fold.negation(t)] = not v
            case sc.Op("lt" | "le" | "gt" | "ge" as name, (a, b)) if a.dtype.is_integer:
                out[sc.op(_OPPOSITE[name], a, b)] = not v
    return {t: v for t, v in out.items() if not isinstance(t, sc.Const)}


_OPPOSITE = {"lt": "ge", "ge": "lt", "gt": "le", "le": "gt"}


def conjuncts(test: Scalar) -> list[Scalar]:
    """The tests that hold where `test` does, all of them asked in any case."""
    match test:
        case sc.Op("and", (a, b)):
            return [*conjuncts(a), *conjuncts(b)]
        case _:
            return [test]


def connective(name: str, a: Scalar, b: Scalar) -> Scalar:
    """`a and b` or `a or b`, a constant or repeated operand gone."""
    if a is b:
        return a
    for this, that in ((a, b), (b, a)):
        if isinstance(this, sc.Const):
            return that if bool(this.value) == (name == "and") else this
    return sc.op(name, a, b)
