"""Digits: sums whose indices are taken apart by // and %, as sums over the parts.

In: a `Function` over primitives. Out: one that computes the same, where

- an index k of extent q*d on which a body depends by way of k // d and k % d has become two,
  k = d*K + r: those of a group and of what is in it (`c // 8`, `c % 8`). A result has the same
  elements in the same order, with one dim more.
- a sum of products that counts only where (i - u) % s == 0, for an index i of the output and a
  summed u, is s sums: for every i % s the places u that count are s*U + r, and are all of its
  places. The result is put together from them. (A strided convolution's gradient.)

What is left are affine indices and tests, of which packed contractions are made (`packed`). Left to
others: arithmetic of quotients (`quotients`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import product

from . import ranges
from . import scalar as sc
from .dims import Dim, dim
from .graph import Comp, Function, Node, comp, postorder
from .inline import reads_of
from .quotients import divisor, quotient, resolved
from .records import dataclass
from .scalar import Affine, Scalar

MOST_PHASES = 9
"""Sums that one is made into."""


@dataclass(frozen=True)
class _Digit:
    """`number // stride % size`; the leading one has no size."""

    stride: Dim
    size: Dim | None

    def of(self, number: Scalar) -> Scalar:
        x = number
        if self.stride.const != 1:
            x = sc.op("floordiv", x, sc.size(self.stride))
        return x if self.size is None else sc.op("mod", x, sc.size(self.size))


_WHOLE = (_Digit(dim(1), None),)

_Axes = tuple[tuple[_Digit, ...], ...]
"""For each dim of a result, the digits that stand for it."""


def by_digits(fn: Function) -> Function:
    if not any(_is_divided(n) for n in postorder(fn.outputs)):
        return fn
    fixed = _fixed(fn)
    done: dict[Node, Node] = {}
    axes: dict[Node, _Axes] = {}  # of nodes that were taken apart

    def redirect(x: Scalar) -> Scalar:
        if not isinstance(x, sc.Read) or done[x.tensor] is x.tensor:
            return x
        parts = axes.get(x.tensor)
        at = x.indices
        if parts is not None:
            at = tuple(d.of(i) for i, digits in zip(at, parts, strict=True) for d in digits)
        return sc.read(done[x.tensor], at)

    for node in postorder(fn.outputs):
        if not isinstance(node, Comp):
            done[node] = node
            continue
        body = resolved(sc.rewrite(node.body, redirect), node.extents)
        target = node.target and [sc.rewrite(t, redirect) for t in node.target]
        same = body is node.body and (target is None or list(node.target or ()) == target)
        made = node if same else _with(node, body, node.extents, node.rank, target)
        if node.target is None:
            made, parts = _apart(made, node in fixed)
            if any(digits != _WHOLE for digits in parts):
                axes[node] = parts
            made = _in_phases(made)
        done[node] = made
    return fn.with_outputs(done[o] for o in fn.outputs)


def _is_divided(node: Node) -> bool:
    return isinstance(node, Comp) and any(True for _ in _divisions(node.body))


def _divisions(body: Scalar) -> Iterator[tuple[str, Affine, Dim]]:
    """All numbers that are affine forms of indices, by what they are divided, and whether it is
    the quotient or what is left that counts."""
    for x in sc.postorder([body]):
        match x:
            case sc.Op("floordiv" | "mod" as name, (Affine() as number, by)) if number.terms:
                d = divisor(by)
                if d is not None:
                    yield name, number, d


def _fixed(fn: Function) -> set[Node]:
    """The nodes that keep their dims: they are read, or written, at computed places, or stand in
    place of a parameter."""
    out = {fn.outputs[o] for _, o in fn.donated}
    for node in postorder(fn.outputs):
        if isinstance(node, Comp):
            if node.target is not None:
                out.add(node)
            out.update(
                r.tensor for r in reads_of(node) if any(map(sc.reads, ([i] for i in r.indices)))
            )
    return out


def _with(
    node: Comp,
    body: Scalar,
    extents: Sequence[Dim],
    rank: int,
    target: Sequence[Scalar] | None = None,
    names: Sequence[str] | None = None,
    name: str | None = None,
) -> Comp:
    return comp(
        body,
        extents,
        rank,
        node.reducer,
        target=target,
        shape=None if target is None else node.shape,
        variable=node.variable,
        name=node.name if name is None else name,
        index_names=node.index_names if names is None else names,
        span=node.span,
    )


# --------------------------------------------------------------------------- digits of one index


def _apart(node: Comp, is_fixed: bool) -> tuple[Comp, _Axes]:
    """k = d*K + r, for all indices that are taken apart, and what became of the result's dims."""
    parts: list[tuple[_Digit, ...]] = [_WHOLE] * node.rank
    if node.reducer not in (None, "sum"):
        return node, tuple(parts)
    while (found := _taken_apart(node, is_fixed)) is not None:
        k, d, leading = found
        at = {j: sc.index(j if j < k else j + 1) for j in range(len(node.extents))}
        at[k] = sc.affine({k: d, k + 1: dim(1)})
        extents = (*node.extents[:k], leading, d, *node.extents[k + 1 :])
        names = node.index_names
        if k < len(names):
            names = (*names[:k], f"{names[k]}_group" if names[k] else "", *names[k:])
        body = resolved(sc.substitute_indices(node.body, at), extents)
        if k < node.rank:
            axis, digits, place = 0, parts[0], k
            while place >= len(digits):
                place -= len(digits)
                axis += 1
                digits = parts[axis]
            whole = digits[place]
            first = _Digit(whole.stride * d, None if whole.size is None else leading)
            parts[axis] = (*digits[:place], first, _Digit(whole.stride, d), *digits[place + 1 :])
        node = _with(node, body, extents, node.rank + (k < node.rank), names=names)
    return node, tuple(parts)


def _taken_apart(node: Comp, is_fixed: bool) -> tuple[int, Dim, Dim] | None:
    """An index, the extent of its last digit, and that of the leading one. The last index, along
    which there may be vectors, is taken apart only where both digits count."""
    found: dict[tuple[int, Dim], set[str]] = {}
    for name, number, d in _divisions(node.body):
        if len(number.terms) == 1 and number is sc.index(number.terms[0][0]):
            found.setdefault((number.terms[0][0], d), set()).add(name)
    last = node.rank - 1, len(node.extents) - 1
    for (k, d), names in found.items():
        leading = quotient(node.extents[k], d)
        if leading is None or (is_fixed and k < node.rank) or (k in last and len(names) < 2):
            continue
        return k, d, leading
    return None


# --------------------------------------------------------------------------- sums in phases


def _in_phases(node: Comp) -> Comp:
    """For every remainder of the output's indices a sum of its own."""
    tests, value = _tests(node.body)
    if node.reducer != "sum" or not _is_product(value):
        return node
    steps: dict[int, int] = {}
    for test in tests:
        relation = _relation(test)
        if relation is not None:
            form, s = relation
            for k, c in form.terms:
                if k < node.rank and (c.const or 0) % s:
                    steps[k] = math.lcm(s, steps.get(k, 1))
    if not steps:
        return node
    if math.prod(steps.values()) > MOST_PHASES:
        return node
    made: dict[tuple[int, ...], Comp | None] = {}
    for remainders in product(*map(range, steps.values())):
        at = {k: (s, a) for (k, s), a in zip(steps.items(), remainders, strict=True)}
        phase = _Phase(node, at)
        try:
            made[remainders] = phase.run()
        except _UnsolvedError:
            return node
    return _together(node, steps, made)


def _together(
    node: Comp, steps: Mapping[int, int], phases: Mapping[tuple[int, ...], Comp | None]
) -> Comp:
    """The result, from that of every phase; None is 0."""
    at = [
        sc.op("floordiv", sc.index(k), sc.const(steps[k])) if k in steps else sc.index(k)
        for k in range(node.rank)
    ]

    def chosen(before: tuple[int, ...]) -> Scalar:
        if len(before) == len(steps):
            phase = phases[before]
            return sc.const(0, node.dtype) if phase is None else sc.read(phase, at)
        k, s = list(steps.items())[len(before)]
        out = chosen((*before, s - 1))
        for a in range(s - 2, -1, -1):
            here = chosen((*before, a))
            if here is not out:
                test = sc.op("eq", sc.op("mod", sc.index(k), sc.const(s)), sc.const(a))
                out = sc.op("where", test, here, out)
        return out

    return comp(
        chosen(()),
        node.shape,
        node.rank,
        variable=node.variable,
        name=node.name,
        index_names=node.index_names[: node.rank],
        span=node.span,
    )


def _tests(body: Scalar) -> tuple[list[Scalar], Scalar]:
    """The tests under which the body is not 0, outermost first, and its value there."""
    tests: list[Scalar] = []
    while True:
        match body:
            case sc.Op("where", (test, then, sc.Const(0))):
                tests += _conjuncts(test)
                body = then
            case _:
                return tests, body


def _conjuncts(test: Scalar) -> list[Scalar]:
    match test:
        case sc.Op("and", (a, b)):
            return [*_conjuncts(a), *_conjuncts(b)]
        case sc.Op("where", (a, b, no)) if sc.is_false(no):
            return [*_conjuncts(a), *_conjuncts(b)]
        case _:
            return [test]


def _is_product(value: Scalar) -> bool:
    match value:
        case sc.Op("mul" | "absorb", (x, y)):
            return bool(sc.reads([x])) and bool(sc.reads([y]))
        case _:
            return False


def _relation(test: Scalar) -> tuple[Affine, int] | None:
    """`form` and s, where the test is `form % s == 0`, all its coefficients known."""
    match test:
        case sc.Op("eq", (sc.Op("mod", (Affine() as form, sc.Const() as s)), zero)) if (
            sc.is_literal(zero, 0)
        ):
            known = all(c.const is not None for c in (*(c for _, c in form.terms), form.const))
            return (form, int(s.value)) if known and s.value > 1 else None
        case _:
            return None


class _UnsolvedError(Exception):
    """A relation of several summed indices."""


class _Phase:
    """The sum where some indices of the output are s*k + a. Its extents are those of every phase,
    rounded up: what passes the end is not used."""

    def __init__(self, node: Comp, steps: Mapping[int, tuple[int, int]]) -> None:
        self.node, self.steps = node, steps
        self.extents = list(node.extents)
        self.own = {k: sc.affine({k: dim(s)}, a) for k, (s, a) in steps.items()}
        for k, (s, _) in steps.items():
            self.extents[k] = (node.extents[k] + (s - 1)) // s

    def run(self) -> Comp | None:
        """None if it is 0."""
        body = self.replaced(self.node.body, self.own)
        while True:
            tests, value = _tests(body)
            if any(isinstance(t, sc.Const) and not t.value for t in tests):
                return None
            if not isinstance(body, sc.Op) or sc.is_literal(body, 0):
                return None
            relations = [r for t in tests if (r := _relation(t)) is not None]
            if not relations:
                break
            body = self.solved(body, relations)
        # what holds wherever the whole result has elements
        inside = [self.node.extents[k] - 1 for k in self.steps]
        known = [_minus(n, self.own[k]) for n, k in zip(inside, self.steps, strict=True)]
        kept = [_lowest(t) for t in tests if not self.always(t, known)]
        ends = [sc.op("lt", self.own[k], sc.size(self.node.extents[k])) for k in self.steps]
        for guard in (kept, [*ends, *kept]):
            body = value
            if guard:
                test = reduce(lambda a, b: sc.op("and", a, b), guard)
                body = sc.op("where", test, value, sc.const(0, value.dtype))
            if self.is_proved(body):
                break
        name = "_".join([self.node.name or "", *(str(a) for _, a in self.steps.values())])
        return _with(self.node, body, self.extents, self.node.rank, name=name)

    def replaced(self, body: Scalar, at: Mapping[int, Scalar]) -> Scalar:
        return resolved(sc.substitute_indices(body, at), self.extents)

    def solved(self, body: Scalar, relations: Sequence[tuple[Affine, int]]) -> Scalar:
        """A summed index that a relation determines up to multiples."""
        for form, s in relations:
            if len(form.terms) == 1:
                ((u, c),) = form.terms
                if u >= self.node.rank and math.gcd(c.const or 0, s) == 1:
                    r = -(form.const.const or 0) * pow(c.const or 0, -1, s) % s
                    self.extents[u] = (self.extents[u] + (s - 1 - r)) // s
                    return self.replaced(body, {u: sc.affine({u: dim(s)}, r)})
        raise _UnsolvedError

    def always(self, test: Scalar, known: Sequence[Affine]) -> bool:
        """Whether a test holds where `known` are at least 0."""
        forms = ranges.facts(((test, True),))
        one = isinstance(test, sc.Op) and test.name in ("lt", "le", "gt", "ge")
        return (
            one and bool(forms) and all(ranges.nonnegative(f, self.extents, known) for f in forms)
        )

    def is_proved(self, body: Scalar) -> bool:
        """Whether every affine read is in range."""
        guards = ranges.path_guards([body])
        return all(
            sc.as_affine(at) is None
            or ranges.in_range(at, size, self.extents)
            or all(ranges.in_range(at, size, self.extents, ranges.facts(c)) for c in guards[r])
            for r in sc.reads([body])
            for at, size in zip(r.indices, r.tensor.shape, strict=True)
        )


def _minus(n: Dim, form: Affine) -> Affine:
    out = sc.op("sub", sc.size(n), form)
    assert isinstance(out, Affine)
    return out


def _lowest(test: Scalar) -> Scalar:
    """g*x >= n as x >= n / g, rounded up; likewise where x is less."""
    match test:
        case sc.Op("ge" | "lt" as name, (a, b)):
            x, y = sc.as_affine(a), sc.as_affine(b)
            if x is None or y is None:
                return test
            form = sc.op("sub", x, y)
            assert isinstance(form, Affine)
            steps = [c.const for _, c in form.terms]
            g = math.gcd(*(c or 0 for c in steps))
            if g < 2 or None in steps:
                return test
            left = {k: dim((c.const or 0) // g) for k, c in form.terms}
            if name == "ge":  # x + n >= 0
                return sc.op("ge", sc.affine(left, form.const // g), sc.const(0))
            end = (-form.const - 1) // g + 1  # x < -n
            return sc.op("lt", sc.affine(left), sc.size(end))
        case _:
            return test
