"""Rewrite rules on scalar trees, each an equation.

The left side is matched, the right side built; letters are any expressions. A stabilising rule's
right side is nowhere less accurate than its left side, in value or derivative; the test of each
stands in `tests/test_rules.py` with extreme arguments. Constants stand where people write them:
sums and products match in either order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

from . import scalar as sc
from .formula import formula
from .ops import scalar_function
from .primitives import PRIMITIVES
from .records import dataclass
from .scalar import Scalar

See = Callable[[Scalar], Scalar]

_LETTERS = ("x", "y", "z")


@dataclass(frozen=True)
class Rule:
    """`left = right`; `unless` names a letter that must not be a constant."""

    left: str
    right: str
    unless: str | None = None

    @property
    def equation(self) -> str:
        return f"{self.left} = {self.right}"

    @cached_property
    def pattern(self) -> Scalar:
        return formula(self.left, _VARIABLES, scalar_function)

    @cached_property
    def replacement(self) -> Scalar:
        return formula(self.right, _VARIABLES, scalar_function)

    def apply(self, x: Scalar, see: See | None = None) -> Scalar | None:
        """The right side, where the left side matches `x`; `see` shows the formula behind a
        read."""
        for found in match(self.pattern, x, {}, see or _as_it_stands):
            if self.unless is not None:
                fixed = found[_LETTERS.index(self.unless)]
                if isinstance(fixed, sc.Const | sc.Affine):
                    continue
            args = [found.get(k, sc.const(0)) for k in range(len(_LETTERS))]
            return sc.substitute_params(self.replacement, args)
        return None


def _as_it_stands(x: Scalar) -> Scalar:
    return x


_VARIABLES: dict[str, Scalar] = {letter: sc.param(k) for k, letter in enumerate(_LETTERS)}

STABILIZING = (
    # logarithms and exponentials near 1 and 0
    Rule("log(1 + x)", "log1p(x)"),
    Rule("log(1 - x)", "log1p(-x)"),
    Rule("exp(x) - 1", "expm1(x)"),
    Rule("log(exp(x))", "x"),
    Rule("log1p(expm1(x))", "x"),
    # log(1 ± exp(x))
    Rule("log1p(exp(x))", "softplus(x)"),
    Rule("log1p(-exp(x))", "log1mexp(x)"),
    Rule("log(-expm1(x))", "log1mexp(x)"),
    Rule("log(exp(x) + exp(y))", "logaddexp(x, y)"),
    # the logistic function in its written forms
    Rule("1 / (1 + exp(-x))", "sigmoid(x)"),
    Rule("1 / (1 + exp(x))", "sigmoid(-x)"),
    Rule("exp(x) / (1 + exp(x))", "sigmoid(x)"),
    Rule("exp(-x) / (1 + exp(-x))", "sigmoid(-x)"),
    Rule("1 - sigmoid(x)", "sigmoid(-x)"),
    Rule("log(sigmoid(x))", "log_sigmoid(x)"),
    Rule("log1p(-sigmoid(x))", "log_sigmoid(-x)"),
    # squares under roots and logarithms
    Rule("sqrt(x * x)", "abs(x)"),
    Rule("sqrt(x**2)", "abs(x)"),
    Rule("sqrt(square(x))", "abs(x)"),
    Rule("log(x * x)", "2 * log(abs(x))"),
    Rule("log(x**2)", "2 * log(abs(x))"),
    Rule("log(square(x))", "2 * log(abs(x))"),
    # removable singularities
    Rule("x * log(y)", "xlogy(x, y)", unless="x"),
    Rule("sin(x) / x", "spherical_bessel_j0(x)"),
    Rule("1 - cos(x)", "2 * sin(0.5 * x) * sin(0.5 * x)"),
)

ALGEBRA = (
    Rule("x * 1", "x"),
    Rule("x / 1", "x"),
    Rule("x - 0", "x"),
    Rule("x ** 1", "x"),
    Rule("x ** 2", "x * x"),
    Rule("--x", "x"),
    Rule("-x * y", "-(x * y)"),
    Rule("not not x", "x"),
    Rule("x * (1 / y)", "x / y", unless="x"),
    Rule("x if y else x", "x"),
    Rule("x + x", "2 * x"),
    Rule("x + -y", "x - y"),
    Rule("x - -y", "x + y"),
)


def match(
    pattern: Scalar, x: Scalar, bound: dict[int, Scalar], see: See
) -> Iterator[dict[int, Scalar]]:
    """The bindings of the pattern's letters under which it is `x`."""
    if isinstance(pattern, sc.Param):
        known = bound.get(pattern.position)
        if known is None:
            yield {**bound, pattern.position: x}
        elif known is x or see(known) is see(x):
            yield bound
        return
    x = see(x)
    match pattern, x:
        case sc.Const(), _:
            if not x.dtype.is_bool and sc.is_literal(x, float(pattern.value)):
                yield bound
        case sc.Op(), sc.Op() if pattern.name == x.name:
            yield from _match_all(pattern.args, x.args, bound, see)
            if PRIMITIVES[pattern.name].commutes:
                yield from _match_all(pattern.args, x.args[::-1], bound, see)
        case sc.Call(), sc.Call() if pattern.function is x.function:
            yield from _match_all(pattern.args, x.args, bound, see)


def _match_all(
    patterns: tuple[Scalar, ...], xs: tuple[Scalar, ...], bound: dict[int, Scalar], see: See
) -> Iterator[dict[int, Scalar]]:
    if not patterns:
        yield bound
        return
    for found in match(patterns[0], xs[0], bound, see):
        yield from _match_all(patterns[1:], xs[1:], found, see)


def head(x: Scalar) -> str:
    """What a rule's left side must start with to match `x`."""
    match x:
        case sc.Op():
            return x.name
        case sc.Call():
            return x.function.name
        case _:
            return ""
