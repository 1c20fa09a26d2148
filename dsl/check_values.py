"""Expressions to values: `evaluate`, one `match` over the syntax.

In: an expression, the frame it stands in and, inside index notation, the indices in scope. Out: a
`Value`. Inside index notation every value is a scalar: an index lambda without dims, whose body
may mention index numbers of the statement. Calls, subscripts and reducers over named indices are
read by the files beside this one.
"""

from __future__ import annotations

from ..compiler import index_lambda as il
from ..compiler import scalar as sc
from ..compiler.dtypes import BY_NAME
from ..compiler.formula import CONSTANTS
from ..compiler.index_lambda import IndexLambda, OpError
from ..compiler.ops import CALLED, ROWS
from ..compiler.primitives import INFIX
from . import check_calls, check_indices, check_literals, check_subscripts, check_types
from .check_frame import Broken, Constant, Frame, TensorFunction, Value
from .check_indices import Indices
from .suggest import did_you_mean
from .syntax import (
    Binary,
    Call,
    Compare,
    Conditional,
    Expr,
    Name,
    Number,
    Reduce,
    Subscript,
    Text,
    TupleExpr,
    Unary,
)


def evaluate(frame: Frame, e: Expr, ix: Indices | None) -> Value:
    """The value of `e`; None where it, or a part of it, is wrong (which has been reported)."""
    value = _evaluate(frame, e, ix)
    if isinstance(value, IndexLambda) and value.rank > check_types.MAX_RANK:
        check_types.too_many_dims(frame, value.rank, e.span)
        return None
    if ix is not None and isinstance(value, IndexLambda) and value.shape:
        names = ", ".join([*ix.visible, *"…" * value.rank][: value.rank])
        return frame.error(
            "E0511",
            f"a whole tensor stands in index notation: this is {il.type_text(value)}",
            e.span,
            f"read one element of it, as in `{_shown(e)}[{names}]`",
        )
    return value


def _shown(e: Expr) -> str:
    return e.id if isinstance(e, Name) else "(…)"


def _evaluate(frame: Frame, e: Expr, ix: Indices | None) -> Value:
    match e:
        case Number(value):
            return il.scalar(value)
        case Text(value):
            return value
        case Name():
            return _name(frame, e, ix)
        case TupleExpr(items):
            values = tuple(evaluate(frame, i, ix) for i in items)
            return None if None in values else values
        case Unary("+", operand):
            return frame.operand(operand, ix)
        case Unary(op, operand):
            x = frame.operand(operand, ix)
            if x is None:
                return None
            frame.scope.span = e.span
            return il.apply("neg" if op == "-" else "not", x)
        case Binary():
            return _binary(frame, e, ix)
        case Compare():
            return _comparison(frame, e, ix)
        case Conditional(test, then, other):
            return conditional(frame, e, (test, then, other), ix)
        case Call(args=(test, then, other), keywords=()) if check_calls.means(frame, e, "where"):
            return conditional(frame, e, (test, then, other), ix)
        case Call():
            return check_calls.call(frame, e, ix)
        case Reduce():
            return check_indices.reduction(frame, e, ix)
        case Subscript():
            return _subscript(frame, e, ix)


# --------------------------------------------------------------------------- names


def _name(frame: Frame, e: Name, ix: Indices | None) -> Value:
    if ix is not None and e.id in ix.visible:
        return IndexLambda((), sc.index(ix.visible[e.id]))
    local = frame.locals.get(e.id)
    if local is not None:
        local.used = True
        return local.value
    if e.id in frame.dims:
        return il.scalar(frame.dims[e.id])
    match frame.linker.symbol(frame.module, e.id, e.span):
        case Constant(value):
            return il.scalar(value)
        case Broken():
            return None
        case None:
            if e.id in CONSTANTS:
                return il.scalar(CONSTANTS[e.id])
            return _unknown(frame, e, ix)
        case TensorFunction() | _:
            return frame.error(
                "E0307", f"`{e.id}` is a function, not a value", e.span, f"call it: `{e.id}(…)`"
            )


def _unknown(frame: Frame, e: Name, ix: Indices | None) -> Value:
    values = [*frame.locals, *frame.dims, *CONSTANTS, *(ix.visible if ix else ())]
    if e.id in ROWS:
        near = did_you_mean(e.id, values)
        call = f"call it: `{e.id}(…)`" + (f", or did you mean `{near}`?" if near else "")
        return frame.error("E0307", f"`{e.id}` is a function, not a value", e.span, call)
    if e.id in BY_NAME:
        return frame.error(
            "E0307", f"`{e.id}` is a dtype, not a value", e.span, f"`{e.id}(x)` converts to it"
        )
    near = did_you_mean(e.id, [*values, *frame.linker.declared(frame.module), *CALLED])
    hint: str | None = None
    if near is not None:
        hint = f"did you mean `{near}`?"
    elif ix is not None:
        hint = f"an index stands in the target, or in a reducer: `sum[{e.id}](…)`"
    return frame.error("E0301", f"nothing is called `{e.id}` here", e.span, hint)


# --------------------------------------------------------------------------- operators


def _binary(frame: Frame, e: Binary, ix: Indices | None) -> Value:
    left, right = frame.operand(e.left, ix), frame.operand(e.right, ix)
    if left is None or right is None:
        return None
    frame.scope.span = e.span
    try:
        if e.op != "@":
            literal, number = check_literals.folded(frame, e, INFIX[e.op].name, left, right)
            if literal:
                return number
            if not check_literals.fit(frame, ((left, e.left), (right, e.right))):
                return None
            return il.apply(INFIX[e.op].name, left, right)
        if frame.scalar or ix is not None:
            where = "a scalar function" if frame.scalar else "index notation"
            hint = "write the sum out: `sum[k](a[i, k] * b[k, j])`" if ix is not None else None
            return frame.error("E0405", f"`@` takes tensors, and {where} has scalars", e.span, hint)
        return ROWS["matmul"].apply(left, right)
    except OpError as error:
        sides = (("the left side", left, e.left.span), ("the right side", right, e.right.span))
        return frame.op_error(error, e.span, sides)


def _comparison(frame: Frame, e: Compare, ix: Indices | None) -> Value:
    """`a < b < c` is `a < b and b < c`."""
    parts = (e.first, *e.rest)
    values = [frame.operand(p, ix) for p in parts]
    out: IndexLambda | None = None
    for k, op in enumerate(e.ops):
        left, right = values[k], values[k + 1]
        if left is None or right is None:
            return None
        if not check_literals.fit(frame, ((left, parts[k]), (right, parts[k + 1]))):
            return None
        frame.scope.span = e.span
        try:
            one = il.apply(INFIX[op].name, left, right)
            out = one if out is None else il.apply("and", out, one)
        except OpError as error:
            a, b = parts[k], parts[k + 1]
            sides = (("the left side", left, a.span), ("the right side", right, b.span))
            return frame.op_error(error, e.span, sides)
    return out


def conditional(frame: Frame, e: Expr, parts: tuple[Expr, Expr, Expr], ix: Indices | None) -> Value:
    """`then if test else other`, elementwise; also `where(test, then, other)`."""
    test, then, other = parts
    condition = frame.operand(test, ix)
    if ix is None or condition is None:
        yes, no = frame.operand(then, ix), frame.operand(other, ix)
    else:
        # reads in a branch happen only where it is taken, so they bound an index less strictly
        with ix.under(condition.body):
            yes = frame.operand(then, ix)
        with ix.under(sc.op("not", condition.body)):
            no = frame.operand(other, ix)
    if condition is None or yes is None or no is None:
        return None
    if not check_literals.fit(frame, ((yes, then), (no, other))):
        return None
    frame.scope.span = e.span
    try:
        return il.apply("where", condition, yes, no)
    except OpError as error:
        sides = (
            ("the condition", condition, test.span),
            ("the first value", yes, then.span),
            ("the other value", no, other.span),
        )
        return frame.op_error(error, e.span, sides)


# --------------------------------------------------------------------------- subscripts


def _subscript(frame: Frame, e: Subscript, ix: Indices | None) -> Value:
    if frame.scalar:
        return frame.error(
            "E0405", "a scalar function has no tensors to index", e.span, "write a `def` instead"
        )
    if ix is not None and ix.mentioned(e):
        return check_indices.read(frame, e, ix)
    base = evaluate(frame, e.base, None)
    if base is None:
        return None
    if isinstance(base, tuple):
        return check_subscripts.tuple_item(frame, e, base)
    if isinstance(base, str):
        return frame.error("E0406", "a string has no elements", e.base.span)
    return check_subscripts.subscript(frame, e, base)
