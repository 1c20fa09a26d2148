"""Formulas as text: `"0.5*x*(1 + erf(x*c))"` becomes a scalar tree.

The operator table, the primitives' derivatives and the rewrite rules are written in this form,
which is the language's own expression syntax (read here with Python's parser, since the
compiler does not import the front end).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Mapping

from . import scalar as sc
from .primitives import INFIX, PRIMITIVES
from .scalar import Scalar, ScalarFunction

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Eq: "==",
    ast.NotEq: "!=",
}
CONSTANTS: Mapping[str, float | bool] = {
    "inf": math.inf,
    "nan": math.nan,
    "pi": math.pi,
    "True": True,
    "False": False,
}

Lookup = Callable[[str], ScalarFunction | None]


def formula(text: str, names: Mapping[str, Scalar], functions: Lookup) -> Scalar:
    """The scalar tree of `text`; `names` binds its variables, `functions` finds the scalar
    functions that are not primitives. Raises ValueError on anything else."""
    return _build(ast.parse(text, mode="eval").body, names, functions)


def _build(e: ast.expr, names: Mapping[str, Scalar], functions: Lookup) -> Scalar:
    def build(x: ast.expr) -> Scalar:
        return _build(x, names, functions)

    match e:
        case ast.Constant(bool() | int() | float() as value):
            return sc.const(value)
        case ast.Name(id) if id in names:
            return names[id]
        case ast.Name(id) if id in CONSTANTS:
            return sc.const(CONSTANTS[id])
        case ast.UnaryOp(ast.USub(), operand):
            return sc.op("neg", build(operand))
        case ast.UnaryOp(ast.Not(), operand):
            return sc.op("not", build(operand))
        case ast.BinOp(left, operator, right):
            return sc.op(INFIX[_BINARY[type(operator)]].name, build(left), build(right))
        case ast.BoolOp(operator, values):
            name = "and" if isinstance(operator, ast.And) else "or"
            out = build(values[0])
            for v in values[1:]:
                out = sc.op(name, out, build(v))
            return out
        case ast.Compare(left, [operator], [right]):
            return sc.op(INFIX[_COMPARE[type(operator)]].name, build(left), build(right))
        case ast.IfExp(test, then, other):
            return sc.op("where", build(test), build(then), build(other))
        case ast.Call(ast.Name(id), args):
            given = [build(a) for a in args]
            function = functions(id)
            if function is not None:
                return sc.call(function, given)
            if id in PRIMITIVES:
                return sc.op(id, *given)
    raise ValueError(f"not a formula: {ast.unparse(e)}")
