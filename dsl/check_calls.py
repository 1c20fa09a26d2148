"""Calls: casts, rows of the operator table, scalar functions, tensor functions, gradients.

In: a call and its frame. Out: the value of the call. A name means the file's own function first,
then the built-in one. Arguments are bound by name and position as in Python, and read as the
row's signature says; what does not fit is an error that shows that signature.
"""

from __future__ import annotations

import functools

from ..compiler import dtypes
from ..compiler import index_lambda as il
from ..compiler import scalar as sc
from ..compiler.index_lambda import IndexLambda, OpError
from ..compiler.ops import CALLED, ROWS
from ..compiler.scalar import ScalarFunction
from .check_arguments import bind, evaluate_all
from .check_frame import (
    Broken,
    Constant,
    Frame,
    InlinedCall,
    TensorFunction,
    Value,
)
from .check_gradients import gradient
from .check_indices import Indices
from .check_rows import row_call
from .suggest import did_you_mean
from .syntax import Call

LATER = ("jvp", "vjp", "jacobian", "hessian", "vmap", "checkpoint")


def means(frame: Frame, e: Call, builtin: str) -> bool:
    """Whether `e` calls the built-in function of that name."""
    return e.func.id == builtin and frame.linker.symbol(frame.module, builtin, e.span) is None


def call(frame: Frame, e: Call, ix: Indices | None) -> Value:
    name = e.func.id
    match frame.linker.symbol(frame.module, name, e.func.span):
        case ScalarFunction() as function:
            return _scalar_call(frame, e, function, ix)
        case TensorFunction() as function:
            return _tensor_call(frame, e, function, ix)
        case Constant():
            return frame.error("E0308", f"`{name}` is a number, not a function", e.func.span)
        case Broken():
            evaluate_all(frame, e, ix)
            return None
    if name in dtypes.BY_NAME:
        return _cast(frame, e, ix)
    if name == "grad":
        return gradient(frame, e, ix)
    if name in ROWS:
        return row_call(frame, e, ROWS[name], ix)
    evaluate_all(frame, e, ix)
    if name in LATER:
        return frame.error("E0607", f"`{name}` is not supported yet", e.func.span)
    if name in frame.locals or name in frame.dims:
        hint = f"one element of it is `{name}[…]`" if name in frame.locals else None
        return frame.error("E0308", f"`{name}` is a value, not a function", e.func.span, hint)
    known = [*frame.linker.declared(frame.module), *CALLED, *dtypes.BY_NAME, "grad"]
    near = did_you_mean(name, known)
    hint = f"did you mean `{near}`?" if near else None
    return frame.error("E0301", f"no function is called `{name}`", e.func.span, hint)


# --------------------------------------------------------------------------- scalar functions


def _scalar_call(frame: Frame, e: Call, function: ScalarFunction, ix: Indices | None) -> Value:
    shown = f"{function.name}({', '.join(function.params)})"
    bound = bind(frame, e, function.params, (), shown)
    if bound is None:
        evaluate_all(frame, e, ix)
        return None
    args = [frame.operand(bound[p], ix) for p in function.params]
    given = [a for a in args if a is not None]
    if len(given) < len(args):
        return None
    frame.scope.span = e.span
    if not _affordable(frame, e, function):
        return None
    if not given:
        return IndexLambda((), sc.call(function, ()))
    try:
        return il.elementwise(lambda *bodies: sc.call(function, bodies), *given)
    except OpError as error:
        operands = [
            (f"`{p}`", a, bound[p].span) for p, a in zip(function.params, args, strict=True)
        ]
        return frame.op_error(error, e.span, operands)


MAX_SCALAR_CALLS, MAX_SCALAR_DEPTH = 2_000, 64  # calls within calls that one call stands for


def _affordable(frame: Frame, e: Call, function: ScalarFunction) -> bool:
    """Whether a scalar function's calls of calls stay few; False is reported."""
    count, depth = _calls_within(function)
    if depth > MAX_SCALAR_DEPTH:
        frame.error(
            "E0609",
            f"`{function.name}` calls scalar functions in each other more than "
            f"{MAX_SCALAR_DEPTH} deep",
            e.span,
        )
    elif count > MAX_SCALAR_CALLS:
        frame.error(
            "E0609",
            f"the calls within `{function.name}` multiply to more than {MAX_SCALAR_CALLS}",
            e.span,
        )
    return count <= MAX_SCALAR_CALLS and depth <= MAX_SCALAR_DEPTH


@functools.lru_cache(maxsize=4096)
def _calls_within(function: ScalarFunction) -> tuple[int, int]:
    """How many calls a call of `function` is when all are written out, and how deep they nest."""
    body = sc.postorder([function.body])
    inner = [_calls_within(x.function) for x in body if isinstance(x, sc.Call)]
    return 1 + sum(n for n, _ in inner), 1 + max((d for _, d in inner), default=0)


# --------------------------------------------------------------------------- tensor functions


def _tensor_call(frame: Frame, e: Call, callee: TensorFunction, ix: Indices | None) -> Value:
    decl = callee.decl
    name = e.func.id
    if frame.scalar:
        return frame.error(
            "E0405",
            f"`{name}` is a tensor function; a scalar function calls scalar functions only",
            e.func.span,
            f"make `{name}` an `fn`, or this one a `def`",
        )
    if ix is not None and ix.mentioned(e):
        return frame.error(
            "E0608",
            f"the tensor function `{name}` is applied to one element in index notation",
            e.span,
            f"call it on whole tensors first (`t = {name}(…)`) and read `t[…]`, "
            f"or make `{name}` an `fn`",
        )
    params = [p.name for p in decl.params]
    bound = bind(frame, e, params, (), f"{name}({', '.join(params)})")
    if bound is None:
        evaluate_all(frame, e, None)
        return None
    args = [frame.operand(bound[p], None) for p in params]
    given = [a for a in args if a is not None]
    if len(given) < len(args):
        return None
    frame.scope.span = e.span
    spans = tuple(bound[p].span for p in params)
    return frame.linker.inline(frame, callee, given, InlinedCall(e.span, spans))


# --------------------------------------------------------------------------- casts


def _cast(frame: Frame, e: Call, ix: Indices | None) -> Value:
    bound = bind(frame, e, ("x",), (), f"{e.func.id}(x)")
    if bound is None:
        return None
    x = frame.operand(bound["x"], ix)
    return None if x is None else il.cast(x, dtypes.BY_NAME[e.func.id])
