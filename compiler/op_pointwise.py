"""Pointwise rows of the operator table: a formula each, over tensors of any shape.

In: numbers of the formulas' arguments. Out: rows, `scalar_function(name)` for a formula's calls
of other rows, and the primitives under their language names. A row states a derivative where the
derived one would be less stable. Formula sources stand at the rows; PyTorch's documentation
where none is named. Views, reductions and what is built from rows stand in `op_*.py` beside this.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from . import index_lambda as il
from . import scalar as sc
from .formula import formula
from .index_lambda import IndexLambda
from .primitives import PRIMITIVES, Typing
from .scalar import Scalar, ScalarFunction


@dataclass(frozen=True)
class Pointwise:
    """`partials` states a derivative by parameter where the derived one would be less stable."""

    name: str
    params: tuple[str, ...]
    text: str
    partials: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)
    domain: tuple[tuple[float, float], ...] = ()

    @cached_property
    def function(self) -> ScalarFunction:
        names: dict[str, Scalar] = {p: sc.param(k) for k, p in enumerate(self.params)}
        body = formula(self.text, names, scalar_function)
        stated: dict[int, Scalar] = {}
        out = ScalarFunction(self.name, self.params, body, stated, builtin=True)
        names["out"] = sc.call(out, [names[p] for p in self.params])
        for p, text in self.partials.items():  # after `out` exists: a derivative may call it
            stated[self.params.index(p)] = formula(
                text, names, lambda n: out if n == self.name else scalar_function(n)
            )
        return out

    @cached_property
    def signature(self) -> inspect.Signature:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature(
            [
                inspect.Parameter(
                    p,
                    kind,
                    default=self.defaults.get(p, inspect.Parameter.empty),
                    annotation="IndexLambda",
                )
                for p in self.params
            ]
        )

    def apply(self, *args: Any) -> IndexLambda:
        xs = [a if isinstance(a, IndexLambda) else il.scalar(a) for a in args]
        return il.elementwise(lambda *b: sc.call(self.function, b), *xs)


@dataclass(frozen=True)
class Primitivelike(Pointwise):
    """A primitive under its own name: applied directly, without a function around it."""

    def apply(self, *args: Any) -> IndexLambda:
        xs = [a if isinstance(a, IndexLambda) else il.scalar(a) for a in args]
        return il.apply(PRIMITIVES_BY_NAME[self.name], *xs)


def scalar_function(name: str) -> ScalarFunction | None:
    """The scalar function of a pointwise row; None for primitives and unknown names."""
    row = POINTWISE.get(name)
    return row.function if row is not None else None


def call(name: str, *xs: IndexLambda | float) -> IndexLambda:
    """A pointwise row by name, applied."""
    return POINTWISE[name].apply(*xs)


_SIGMOID_DX = "out * sigmoid(-x)"
_SELU_A, _SELU_L = "1.6732632423543772", "1.0507009873554805"

_POINTWISE = (
    # one exponential, which cannot overflow
    Pointwise("sigmoid", ("x",), "(1 if x >= 0 else exp(-abs(x))) / (1 + exp(-abs(x)))",
              {"x": _SIGMOID_DX}),
    Pointwise("log_sigmoid", ("x",), "-softplus(-x)", {"x": "sigmoid(-x)"}),
    Pointwise("softplus", ("x",), "max(x, 0) + log1p(exp(-abs(x)))", {"x": "sigmoid(x)"}),
    Pointwise("log1mexp", ("x",),  # log(1 - exp(x)), x < 0; Maechler 2012
              "log(-expm1(x)) if x > -0.6931471805599453 else log1p(-exp(x))",
              {"x": "exp(x) / expm1(x)"}, domain=((-6.0, -0.1),)),
    Pointwise("logaddexp", ("x", "y"),
              "x if x == y and isinf(x) else max(x, y) + log1p(exp(-abs(x - y)))",
              {"x": "sigmoid(x - y)", "y": "sigmoid(y - x)"}),
    Pointwise("xlogy", ("x", "y"), "nan if isnan(y) else (0 if x == 0 else x * log(y))",
              {"x": "0 if x == 0 and y <= 0 else log(y)",
               "y": "0 if x == 0 and y == 0 else x / y"},
              domain=((-3.0, 3.0), (0.05, 8.0))),
    # square root of a sum of squares: its subgradient at 0 is 0, and every argument is 0 there
    Pointwise("root_of_squares", ("x",), "sqrt(x)", {"x": "0 if x == 0 else 0.5 / out"},
              domain=((0.05, 8.0),)),
    # sin(x)/x and its series near 0 (DLMF 4.19.1), so that derivatives stay accurate there
    Pointwise("spherical_bessel_j0", ("x",),
              "1 - x*x/6*(1 - x*x/20*(1 - x*x/42*(1 - x*x/72*(1 - x*x/110*(1 - x*x/156"
              "*(1 - x*x/210*(1 - x*x/272))))))) if abs(x) < 1 else sin(x) / x"),
    Pointwise("sinc", ("x",), "spherical_bessel_j0(3.141592653589793 * x)"),
    # polygamma(1, x): recurrence by 8, then the asymptotic series (DLMF 5.15.1, 5.15.8)
    Pointwise("trigamma_positive", ("x",),
              "1/(x*x) + 1/((x+1)*(x+1)) + 1/((x+2)*(x+2)) + 1/((x+3)*(x+3)) + 1/((x+4)*(x+4))"
              " + 1/((x+5)*(x+5)) + 1/((x+6)*(x+6)) + 1/((x+7)*(x+7)) + trigamma_tail(x + 8)",
              domain=((0.05, 8.0),)),
    Pointwise("trigamma_tail", ("x",),
              "1/x + 0.5/(x*x) + 1/(x*x*x) * (1/6 - 1/(x*x)*(1/30 - 1/(x*x)*(1/42 - 1/(x*x)"
              "*(1/30 - 1/(x*x)*(5/66 - 1/(x*x)*691/2730)))))", domain=((8.0, 20.0),)),
    Pointwise("trigamma", ("x",),
              "trigamma_positive(x) if x >= 0.5 else "
              "9.869604401089358/(sin(3.141592653589793*x)*sin(3.141592653589793*x))"
              " - trigamma_positive(1 - x)", domain=((0.05, 8.0),)),
    Pointwise("relu", ("x",), "x if x > 0 else (nan if isnan(x) else 0)",
              {"x": "1 if x > 0 else 0"}),
    Pointwise("gelu", ("x",), "0.5 * x * (1 + erf(x * 0.7071067811865476))",
              {"x": "0.5 * (1 + erf(x * 0.7071067811865476))"
                    " + 0.3989422804014327 * x * exp(-0.5 * x * x)"}),
    Pointwise("gelu_tanh", ("x",),
              "0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))"),
    Pointwise("silu", ("x",), "x * sigmoid(x)",
              {"x": "sigmoid(x) * (1 + x * sigmoid(-x))"}),
    Pointwise("mish", ("x",), "x * tanh(softplus(x))"),
    Pointwise("leaky_relu", ("x", "negative_slope"), "x if x > 0 else negative_slope * x",
              defaults={"negative_slope": 0.01}),
    Pointwise("elu", ("x", "alpha"), "x if x > 0 else alpha * expm1(x)", defaults={"alpha": 1.0}),
    Pointwise("selu", ("x",),
              f"{_SELU_L} * x if x > 0 else {_SELU_L} * {_SELU_A} * expm1(x)"),
    Pointwise("relu6", ("x",), "min(max(x, 0), 6)", {"x": "1 if x > 0 and x < 6 else 0"}),
    Pointwise("hardtanh", ("x", "min_val", "max_val"), "min(max(x, min_val), max_val)",
              defaults={"min_val": -1.0, "max_val": 1.0}),
    Pointwise("softsign", ("x",), "x / (1 + abs(x))"),
    Pointwise("square", ("x",), "x * x", {"x": "2 * x"}),
    Pointwise("reciprocal", ("x",), "1 / x", domain=((0.3, 4.0),)),
    Pointwise("hypot", ("x", "y"), "root_of_squares(x*x + y*y)"),
    Pointwise("deg2rad", ("x",), "x * 0.017453292519943295"),
    Pointwise("rad2deg", ("x",), "x * 57.29577951308232"),
    Pointwise("lerp", ("input", "end", "weight"), "input + weight * (end - input)"),
    Pointwise("logit", ("x",), "log(x / (1 - x))", {"x": "1 / (x * (1 - x))"},
              domain=((0.05, 0.95),)),
    Pointwise("frac", ("x",), "x - trunc(x)"),
    # PyTorch's clamp: at a bound the gradient is the value's alone, beyond it the bound's alone,
    # so that the partial derivatives sum to 1 everywhere
    Pointwise("clamp_both", ("x", "low", "high"), "min(max(x, low), high)",
              {"x": "1 if x >= low and x <= high else 0",
               "low": "1 if x < low and low < high else 0",
               "high": "1 if x > high or high < low or (x < low and low == high) else 0"}),
    Pointwise("clamp_min", ("x", "low"), "max(x, low)",
              {"x": "1 if x >= low else 0", "low": "1 if x < low else 0"}),
    Pointwise("clamp_max", ("x", "high"), "min(x, high)",
              {"x": "1 if x <= high else 0", "high": "1 if x > high else 0"}),
)  # fmt: skip

POINTWISE: Mapping[str, Pointwise] = {row.name: row for row in _POINTWISE}

#: Language names of primitives that have no infix form. `max`/`min` of two tensors are
#: `maximum`/`minimum` here: the bare names are reductions too.
PRIMITIVES_BY_NAME: dict[str, str] = {
    **{
        row.name: row.name
        for row in PRIMITIVES.values()
        if row.infix is None
        and row.typing not in (Typing.CAST, Typing.LOGIC)
        and row.name not in ("max", "min", "neg")
    },
    "maximum": "max",
    "minimum": "min",
    "negative": "neg",
    "pow": "pow",
    "remainder": "mod",
    "floor_divide": "floordiv",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "gammaln": "lgamma",
    "logical_not": "not",
    "logical_and": "and",
    "logical_or": "or",
}

_ARGUMENTS = {
    1: ("x",),
    2: ("x", "y"),
    3: ("condition", "x", "y"),
}


def primitive_rows() -> list[Primitivelike]:
    out = []
    for name, primitive in PRIMITIVES_BY_NAME.items():
        row = PRIMITIVES[primitive]
        out.append(Primitivelike(name, _ARGUMENTS[row.arity], "", domain=row.domain))
    return out
