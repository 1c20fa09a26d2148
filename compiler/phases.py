"""Phases: sums of products that look at an output's index by its quotient and its remainder.

In: a sum of products that counts only where (i - u) % s == 0, for an index i of the output and a
summed u (a strided convolution's gradient), or that reads at (i + n) // s and (i + n) % s. Out: an
equal comprehension without reduction, put together from sums whose indices are affine:

- one for every i % s = a: the places u that count are s*U + r, and are all of its places; or
- one with an index more: i + n = s*K + a, and u = s*U + a. This is as good where a window is whole
  multiples of s long, and the only way where phases are many.

Left to others: indices that are taken apart exactly (`digits`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from itertools import product

from . import ranges
from . import scalar as sc
from .dims import Dim, dim, quotient
from .graph import Comp, comp, unreduced
from .quotients import divided, divisor, resolved
from .records import dataclass, field
from .scalar import Affine, Scalar

MOST_PHASES = 9
"""Sums that one is made into."""


@dataclass(frozen=True)
class _Step:
    """An index i of the output for which i + shift counts by its quotient and remainder by `by`."""

    by: int
    shift: int

    def whole(self, i: Scalar) -> Scalar:
        return sc.op("floordiv", self.shifted(i), sc.const(self.by))

    def rest(self, i: Scalar) -> Scalar:
        return sc.op("mod", self.shifted(i), sc.const(self.by))

    def shifted(self, i: Scalar) -> Scalar:
        return sc.op("add", i, sc.size(self.shift))


@dataclass
class _Found:
    """What a body looks at: the steps of the output's indices, and whether phases of different
    lengths, or empty ones, would be made into one."""

    steps: dict[int, _Step] = field(default_factory=dict)
    uneven: bool = False


def in_phases(node: Comp) -> Comp:
    tests, value = _tests(node.body)
    if node.reducer != "sum" or not _is_product(value):
        return node
    found = _steps(node, tests)
    steps = found.steps
    if not steps:
        return node
    few = math.prod(step.by for step in steps.values()) <= MOST_PHASES
    ways = [_with_digits, _phase_by_phase] if not found.uneven else [_phase_by_phase, _with_digits]
    for way in ways:
        if way is _phase_by_phase and not few:
            continue
        try:
            return way(node, steps)
        except _UnsolvedError:
            pass
    return node


def _steps(node: Comp, tests: Sequence[Scalar]) -> _Found:
    out = _Found()

    def note(form: Affine, s: int) -> bool:
        own = [(k, c.const or 0) for k, c in form.terms if (c.const or 0) % s]
        summed = [k for k, _ in own if k >= node.rank]
        for k, c in own:
            if k < node.rank and math.gcd(c, s) == 1:
                shift = pow(c, -1, s) * (form.const.const or 0) % s
                known = out.steps.get(k)
                out.uneven |= known is not None and known != _Step(s, shift)
                by = s if known is None else math.lcm(s, known.by)
                out.steps[k] = _Step(by, shift)
        out.uneven |= any(quotient(node.extents[k], dim(s)) is None for k in summed)
        return bool(summed)

    for test in tests:
        relation = _relation(test)
        if relation is not None and not note(*relation):
            out.uneven = True
    for form, s in _quotients(node.body):
        if all(k < node.rank for k, c in form.terms if (c.const or 0) % s):
            note(form, s)
    return out


def _quotients(body: Scalar) -> Iterator[tuple[Affine, int]]:
    """Affine forms with known numbers, and the numbers by which they are divided."""
    for x in sc.postorder([body]):
        match x:
            case sc.Op("floordiv" | "mod", (Affine() as form, by)) if form.terms:
                d = divisor(by)
                if d is not None and (d.const or 0) > 1 and _is_known(form):
                    yield form, d.const or 0


def _is_known(form: Affine) -> bool:
    return all(c.const is not None for c in (*(c for _, c in form.terms), form.const))


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
            return (form, int(s.value)) if _is_known(form) and s.value > 1 else None
        case _:
            return None


# --------------------------------------------------------------------------- two ways


def _phase_by_phase(node: Comp, steps: Mapping[int, _Step]) -> Comp:
    made: dict[tuple[int, ...], Comp | None] = {}
    for remainders in product(*(range(step.by) for step in steps.values())):
        at: dict[int, Affine] = {k: sc.index(k) for k in range(len(node.extents))}
        extents = list(node.extents)
        for (k, step), a in zip(steps.items(), remainders, strict=True):
            at[k] = sc.affine({k: dim(step.by)}, a)
            extents[k] = (node.extents[k] + (step.by - 1)) // step.by
        name = "_".join([node.name or "", *map(str, remainders)])
        made[remainders] = _Part(node, at, extents, node.rank, list(steps)).run(name)
    read_at = [
        sc.op("floordiv", sc.index(k), sc.const(steps[k].by)) if k in steps else sc.index(k)
        for k in range(node.rank)
    ]

    def chosen(before: tuple[int, ...]) -> Scalar:
        if len(before) == len(steps):
            phase = made[before]
            return sc.const(0, node.dtype) if phase is None else sc.read(phase, read_at)
        k, step = list(steps.items())[len(before)]
        out = chosen((*before, step.by - 1))
        for a in range(step.by - 2, -1, -1):
            here = chosen((*before, a))
            if here is not out:
                test = sc.op("eq", sc.op("mod", sc.index(k), sc.const(step.by)), sc.const(a))
                out = sc.op("where", test, here, out)
        return out

    return unreduced(node, chosen(()))


def _with_digits(node: Comp, steps: Mapping[int, _Step]) -> Comp:
    """The remainders as indices, in front of the first quotient."""
    order = sorted(steps)
    first, more = order[0], len(order)
    at: dict[int, Affine] = {
        k: sc.index(k if k < first else k + more) for k in range(len(node.extents))
    }
    extents = [*node.extents[:first], *(dim(steps[k].by) for k in order), *node.extents[first:]]
    for n, k in enumerate(order):
        step = steps[k]
        extents[k + more] = (node.extents[k] + (step.shift - 1)) // step.by + 1
        at[k] = sc.affine({k + more: dim(step.by), first + n: dim(1)}, -step.shift)
    digits = {first + n: steps[k].by for n, k in enumerate(order)}
    part = _Part(node, at, extents, node.rank + more, order, digits).run(node.name or "")
    if part is None:
        return unreduced(node, sc.const(0, node.dtype))
    rests = [steps[k].rest(sc.index(k)) for k in order]
    wholes = [steps[k].whole(sc.index(k)) if k in steps else sc.index(k) for k in range(node.rank)]
    return unreduced(node, sc.read(part, [*wholes[:first], *rests, *wholes[first:]]))


class _UnsolvedError(Exception):
    """A relation that determines no summed index."""


class _Part:
    """The sum over other indices, `at` those of `node`: `over` are those of the output that are
    forms of several. Where these pass an end, the result is not used. `digits`: indices that are
    remainders, and of what."""

    def __init__(
        self,
        node: Comp,
        at: Mapping[int, Affine],
        extents: Sequence[Dim],
        rank: int,
        over: Sequence[int],
        digits: Mapping[int, int] | None = None,
    ) -> None:
        self.node, self.at, self.rank, self.over = node, at, rank, over
        self.extents = list(extents)
        self.digits = digits or {}
        self.inside: list[Scalar] = []  # tests of summed indices

    def run(self, name: str) -> Comp | None:
        """None if it is 0."""
        body = self.replaced(self.node.body, self.at)
        while True:
            tests, value = _tests(body)
            if sc.is_literal(body, 0) or any(sc.is_false(t) for t in tests):
                return None
            relations = [r for t in tests if (r := _relation(t)) is not None]
            if not relations:
                break
            body = self.solved(body, relations)
        if any(True for _ in _quotients(value)):
            raise _UnsolvedError
        # what holds wherever the whole result has elements
        ends = [
            test
            for k in self.over
            for test in (
                sc.op("ge", self.at[k], sc.const(0)),
                sc.op("lt", self.at[k], sc.size(self.node.extents[k])),
            )
            if not self.always(test, ())
        ]
        known = ranges.facts(tuple((t, True) for t in ends))
        kept = [
            *self.inside,
            *(_lowest(t, self.extents) for t in tests if not self.always(t, known)),
        ]
        for guard in (kept, [*ends, *kept]):
            body = value
            if guard:
                test = reduce(lambda a, b: sc.op("and", a, b), guard)
                body = sc.op("where", test, value, sc.const(0, value.dtype))
            if self.is_proved(body):
                break
        names = dict(enumerate(self.node.index_names))
        own = {x.terms[0][0]: names.get(k, "") for k, x in self.at.items() if x.terms}
        return comp(
            body,
            self.extents,
            self.rank,
            "sum",
            name=name or None,
            index_names=[own.get(k, "") for k in range(len(self.extents))],
            span=self.node.span,
        )

    def replaced(self, body: Scalar, at: Mapping[int, Scalar]) -> Scalar:
        return resolved(sc.substitute_indices(body, at), self.extents)

    def solved(self, body: Scalar, relations: Sequence[tuple[Affine, int]]) -> Scalar:
        """A summed index that a relation determines up to multiples: s*u + r, or s*u + a."""
        for form, s in relations:
            own = [(k, c.const or 0) for k, c in form.terms if (c.const or 0) % s]
            summed = [(k, c) for k, c in own if k >= self.rank]
            others = [(k, c) for k, c in own if k < self.rank]
            if len(summed) != 1 or len(others) > 1 or math.gcd(summed[0][1], s) > 1:
                continue
            ((u, c),) = summed
            inverse = pow(-c, -1, s)
            r = inverse * (form.const.const or 0) % s
            if not others:
                self.extents[u] = (self.extents[u] + (s - 1 - r)) // s
                return self.replaced(body, {u: sc.affine({u: dim(s)}, r)})
            ((a, step),) = others
            if self.digits.get(a) != s or step * inverse % s != 1 or r:
                continue
            whole, size = sc.affine({u: dim(s), a: dim(1)}), self.extents[u]
            self.extents[u] = (size + (s - 1)) // s
            if quotient(size, dim(s)) is None:
                self.inside.append(sc.op("lt", whole, sc.size(size)))
            return self.replaced(body, {u: whole})
        raise _UnsolvedError

    def always(self, test: Scalar, known: Sequence[Affine]) -> bool:
        """Whether a comparison holds where `known` are at least 0."""
        if not isinstance(test, sc.Op) or test.name not in ("lt", "le", "gt", "ge"):
            return False
        forms = ranges.facts(((test, True),))
        return bool(forms) and all(ranges.nonnegative(f, self.extents, known) for f in forms)

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


def _lowest(test: Scalar, extents: Sequence[Dim]) -> Scalar:
    """s*x + r >= 0 as x >= 0, where 0 <= r < s; likewise where it is less."""
    match test:
        case sc.Op("ge" | "lt" as name, (a, b)):
            x, y = sc.as_affine(a), sc.as_affine(b)
            if x is None or y is None:
                return test
            form = sc.op("sub", x, y)
            assert isinstance(form, Affine)
            for s in sorted({abs(c.const or 0) for _, c in form.terms}, reverse=True):
                whole, rest = divided(form, dim(s)) if s > 1 else (form, form)
                if s > 1 and whole.terms and ranges.in_range(rest, dim(s), extents):
                    return sc.op(name, sc.affine(dict(whole.terms)), sc.size(-whole.const))
            return test
        case _:
            return test
