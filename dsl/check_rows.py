"""Calls of built-in operators: rows of the operator table.

In: a call and its row. Out: the row applied. Arguments are read as the row's signature annotates
them: tensors, or numbers and sizes that are known when the file is checked.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..compiler import ops
from ..compiler import scalar as sc
from ..compiler.index_lambda import IndexLambda, OpError
from ..compiler.ops import ROWS, Pointwise, Row
from .check_arguments import bind, evaluate_all
from .check_frame import Frame, Value, kind_of, static_int, static_number, static_size
from .check_indices import Indices
from .syntax import Call, Expr, TupleExpr


def row_call(frame: Frame, e: Call, row: Row, ix: Indices | None) -> Value:
    if row.name in _ELEMENTWISE and len(e.args) == 2 and not e.keywords:
        done, value = _extremum_of_two(frame, e, ix)
        if done:
            return value
    indexed = ix is not None and (isinstance(row, Pointwise) or ix.mentioned(e))
    inside = ix if indexed else None
    parameters = row.signature.parameters
    optional = [n for n, p in parameters.items() if p.default is not inspect.Parameter.empty]
    bound = bind(frame, e, list(parameters), optional, signature_text(row))
    if bound is None:
        evaluate_all(frame, e, inside)
        return None
    arguments: dict[str, Any] = {}
    for n, value_expr in bound.items():
        read = _argument(frame, row, parameters[n], value_expr, inside)
        if read is not _BAD:
            arguments[n] = read
    if len(arguments) < len(bound):
        return None
    for n, p in parameters.items():
        arguments.setdefault(n, p.default)
    if not _named_once(frame, row, arguments, bound):
        return None
    frame.scope.span = e.span
    try:
        # a pointwise row takes its arguments in order, a structural one by name
        out = (
            row.apply(*arguments.values()) if isinstance(row, Pointwise) else row.apply(**arguments)
        )
    except OpError as error:
        if indexed and not isinstance(row, Pointwise):
            return _elementwise_only(frame, e, row, arguments, None)
        operands = [(f"`{n}`", arguments[n], bound[n].span) for n in bound]
        return frame.op_error(error, e.span, operands)
    if not isinstance(row, Pointwise) and (indexed or frame.scalar):
        return _elementwise_only(frame, e, row, arguments, out)
    return out


#: Reductions that, given two tensors, mean the elementwise operation.
_ELEMENTWISE = {"max": "maximum", "min": "minimum"}


def _extremum_of_two(frame: Frame, e: Call, ix: Indices | None) -> tuple[bool, Value]:
    """`max(a, b)`; (False, None) where the second argument is a tuple of dims instead."""
    name, other = e.func.id, _ELEMENTWISE[e.func.id]
    if isinstance(e.args[1], TupleExpr):
        return False, None
    a, b = (frame.operand(x, ix) for x in e.args)
    if a is None or b is None:
        return True, None
    if a.rank and static_int(b) is not None:
        shown = static_int(b)
        frame.error(
            "E0604",
            f"`{name}(x, {shown})` could mean the {name} over dim {shown}, or elementwise the "
            f"{other} of x and {shown}",
            e.span,
            f"write `{name}(x, dim={shown})` or `{other}(x, {shown})`",
        )
        return True, None
    frame.scope.span = e.span
    try:
        return True, ROWS[other].apply(a, b)
    except OpError as error:
        sides = (("the first", a, e.args[0].span), ("the second", b, e.args[1].span))
        return True, frame.op_error(error, e.span, sides)


def _elementwise_only(
    frame: Frame, e: Call, row: Row, arguments: Mapping[str, Any], out: Any
) -> Value:
    """Of the rows that are no scalar functions, those that work element by element (as `clamp`)
    may stand on scalars: they read nothing that their arguments do not."""
    given = [a.body for a in arguments.values() if isinstance(a, IndexLambda)]
    reducer = row.name in ops.INDEX_REDUCERS
    if (
        not reducer
        and isinstance(out, IndexLambda)
        and set(sc.reads([out.body])) <= set(sc.reads(given))
    ):
        return out
    if frame.scalar:
        return frame.error(
            "E0405", f"`{row.name}` takes tensors, and a scalar function has scalars", e.span
        )
    hint = (
        f"over named indices it is `{row.name}[k](…)`"
        if reducer
        else f"apply it to whole tensors first (`t = {row.name}(…)`) and read `t[…]`"
    )
    message = f"`{row.name}` takes whole tensors, not one element in index notation"
    return frame.error("E0608", message, e.span, hint)


def _named_once(
    frame: Frame, row: Row, arguments: Mapping[str, Any], bound: Mapping[str, Expr]
) -> bool:
    """Whether no dim is named twice, be it as 1 and -1; False is reported."""
    x = next(iter(arguments.values()), None)
    for n, p in row.signature.parameters.items():
        dims = arguments[n]
        if str(p.annotation) != "Dims" or not isinstance(dims, tuple) or not dims:
            continue
        rank = max(x.rank, 1) if isinstance(x, IndexLambda) else 1
        places = [d % rank for d in dims]
        twice = next((d for k, d in enumerate(dims) if places[k] in places[:k]), None)
        if twice is not None and all(-rank <= d < rank for d in dims):
            frame.error("E0502", f"dim {twice} is named twice in {dims}", bound[n].span)
            return False
    return True


_BAD = object()  # an argument whose error has been reported


def _argument(frame: Frame, row: Row, p: inspect.Parameter, e: Expr, ix: Indices | None) -> Any:
    """One argument as the row's signature wants it."""
    kind = str(p.annotation).removesuffix(" | None")
    value = frame.evaluate(frame, e, ix)
    if value is None:
        return _BAD
    read: Any = None
    match kind:
        case "IndexLambda":
            read = value if isinstance(value, IndexLambda) else None
        case "Tensors":
            items = value if isinstance(value, tuple) else ()
            read = items if items and all(isinstance(i, IndexLambda) for i in items) else None
        case "int":
            read = static_int(value)
        case "float":
            read = static_number(value)
        case "bool":
            number = static_number(value)
            read = number if isinstance(number, bool) else None
        case "str":
            read = value if isinstance(value, str) else None
        case "Dims" | "Window":
            read = _several(value, static_int)
        case "Padding":
            read = value if isinstance(value, str) else _several(value, static_int)
        case "Order":
            read = value if isinstance(value, str) else static_number(value)
        case "tuple[int, ...]":
            one = static_int(value)
            read = _several(value, static_int) if one is None else (one,)
        case "Sizes":
            read = _several(value, static_size)
    if read is not None:
        return read
    frame.error(
        "E0603",
        f"`{p.name}` of `{row.name}` is {_WANTED.get(kind, kind)}, got {kind_of(value)}",
        e.span,
        f"it is `{signature_text(row)}`",
    )
    return _BAD


_WANTED = {
    "IndexLambda": "a tensor",
    "Tensors": "a tuple of tensors",
    "int": "an integer literal",
    "float": "a number literal",
    "bool": "True or False",
    "str": "a string",
    "Dims": "a dim's position or a tuple of them (integer literals)",
    "tuple[int, ...]": "a tuple of integer literals",
    "Sizes": "a size or a tuple of sizes",
    "Window": "an integer literal or one for each dim",
    "Padding": "an integer literal, one for each dim, or a string",
    "Order": "a number literal or a string",
}


def _several(value: Value, one: Any) -> Any:
    if not isinstance(value, tuple):
        return one(value)
    items = tuple(one(v) for v in value)
    return None if None in items else items


def signature_text(row: Row) -> str:
    """`softmax(x, dim)`, for messages."""
    parts = []
    for n, p in row.signature.parameters.items():
        default = "…" if p.default is None else p.default  # None cannot be written in a program
        parts.append(n if p.default is inspect.Parameter.empty else f"{n}={default}")
    return f"{row.name}({', '.join(parts)})"
