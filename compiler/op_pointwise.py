"""Pointwise rows of the operator table: a formula each, over tensors of any shape.

In: the formulas of `op_formulas` and `op_activations`, and the primitives. Out: rows,
`scalar_function(name)` for a formula's calls of other rows, and the primitives under their
language names. Views, reductions and what is built from rows stand in `op_*.py` beside this.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from . import index_lambda as il
from . import scalar as sc
from .formula import formula
from .index_lambda import IndexLambda
from .op_activations import ACTIVATIONS, LOSSES
from .op_formulas import ARITHMETIC, SPECIAL, Formula
from .primitives import PRIMITIVES, Typing
from .records import dataclass, field
from .scalar import Scalar, ScalarFunction


@dataclass(frozen=True)
class Pointwise(Formula):
    """A formula as a row."""

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
class Alias(Pointwise):
    """Another name of a row: the same function, and in programs the same text."""

    of: Pointwise = field(kw_only=True)

    @cached_property
    def signature(self) -> inspect.Signature:
        return self.of.signature

    def apply(self, *args: Any) -> IndexLambda:
        return self.of.apply(*args)


@dataclass(frozen=True)
class Optioned(Pointwise):
    """A row with options beside its tensors, known when it is applied; `build` chooses by them."""

    build: Callable[..., IndexLambda] = field(kw_only=True)

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.build)

    def apply(self, *args: Any, **keywords: Any) -> IndexLambda:
        return self.build(*args, **keywords)


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


POINTWISE: Mapping[str, Pointwise] = {
    row.name: Pointwise(**vars(row)) for row in (*ARITHMETIC, *SPECIAL, *ACTIVATIONS, *LOSSES)
}

#: Primitives that programs write infix; as functions they have PyTorch's names.
INFIX_NAMES = ("add", "sub", "mul", "div", "neg", "lt", "le", "gt", "ge", "eq", "ne")

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
    "absolute": "abs",
    "arccosh": "acosh",
    "arcsinh": "asinh",
    "arctanh": "atanh",
    "fix": "trunc",
    "sgn": "sign",
    **{name: name for name in INFIX_NAMES},
    "subtract": "sub",
    "multiply": "mul",
    "divide": "div",
    "true_divide": "div",
    "less": "lt",
    "less_equal": "le",
    "greater": "gt",
    "greater_equal": "ge",
    "not_equal": "ne",
}

_ALIASES = {"expit": "sigmoid", "logsigmoid": "log_sigmoid"}

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


def aliases() -> list[Alias]:
    """The other names of formula rows."""
    out = []
    for name, of in _ALIASES.items():
        row = POINTWISE[of]
        shared = {k: v for k, v in vars(row).items() if k in Formula.__dataclass_fields__}
        out.append(Alias(**{**shared, "name": name}, of=row))
    return out
