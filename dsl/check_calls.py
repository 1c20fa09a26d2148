"""Calls: casts, rows of the operator table, scalar functions, tensor functions, gradients.

In: a call and its frame. Out: the value of the call. A name means the file's own function first,
then the built-in one. Arguments are bound by name and position as in Python, and read as the
row's signature says; what does not fit is an error that shows that signature.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from ..compiler import dtypes, graph, ops
from ..compiler import index_lambda as il
from ..compiler import scalar as sc
from ..compiler.errors import Note
from ..compiler.index_lambda import IndexLambda, OpError
from ..compiler.ops import ROWS, Pointwise, Row
from ..compiler.scalar import ScalarFunction
from .check_frame import (
    Broken,
    Constant,
    Frame,
    InlinedCall,
    TensorFunction,
    Value,
    kind_of,
    static_int,
    static_number,
    static_size,
)
from .check_indices import Indices
from .suggest import did_you_mean
from .syntax import Call, Expr, Keyword, Name, TupleExpr

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
            _evaluate_all(frame, e, ix)
            return None
    if name in dtypes.BY_NAME:
        return _cast(frame, e, ix)
    if name == "grad":
        return _gradient(frame, e, ix)
    if name in ROWS:
        return _row_call(frame, e, ROWS[name], ix)
    _evaluate_all(frame, e, ix)
    if name in LATER:
        return frame.error("E0607", f"`{name}` is not supported yet", e.func.span)
    if name in frame.locals or name in frame.dims:
        hint = f"one element of it is `{name}[…]`" if name in frame.locals else None
        return frame.error("E0308", f"`{name}` is a value, not a function", e.func.span, hint)
    known = [*frame.linker.declared(frame.module), *ROWS, *dtypes.BY_NAME, "grad"]
    near = did_you_mean(name, known)
    hint = f"did you mean `{near}`?" if near else None
    return frame.error("E0301", f"no function is called `{name}`", e.func.span, hint)


def _evaluate_all(frame: Frame, e: Call, ix: Indices | None) -> None:
    """For the errors in the arguments alone."""
    for a in (*e.args, *(k.value for k in e.keywords)):
        if not (isinstance(a, Name) and a.id not in frame.locals):
            frame.evaluate(frame, a, ix if ix is not None and ix.mentioned(a) else None)
        elif a.id in frame.locals:
            frame.locals[a.id].used = True


# --------------------------------------------------------------------------- binding


def _bind(
    frame: Frame, e: Call, names: Sequence[str], optional: Sequence[str], shown: str
) -> dict[str, Expr] | None:
    """Arguments by parameter name, as Python binds them."""
    declared = f"it is `{shown}`"
    func = e.func.id
    if len(e.args) > len(names):
        return frame.error(
            "E0601",
            f"`{func}` takes {_count(len(names))}, got {len(e.args) + len(e.keywords)}",
            e.args[len(names)].span,
            declared,
        )
    bound: dict[str, Expr] = dict(zip(names, e.args, strict=False))
    ok = True
    for k in e.keywords:
        ok &= _bind_keyword(frame, func, k, names, bound, declared)
    missing = [n for n in names if n not in bound and n not in optional]
    if missing and ok:
        listed = ", ".join(f"`{n}`" for n in missing)
        return frame.error("E0601", f"`{func}` lacks its argument {listed}", e.span, declared)
    return bound if ok else None


def _bind_keyword(
    frame: Frame,
    func: str,
    k: Keyword,
    names: Sequence[str],
    bound: dict[str, Expr],
    declared: str,
) -> bool:
    if k.name not in names:
        near = did_you_mean(k.name, names)
        hint = f"did you mean `{near}`? {declared}" if near else declared
        frame.error("E0602", f"`{func}` has no argument `{k.name}`", k.name_span, hint)
        return False
    if k.name in bound:
        frame.error("E0602", f"`{func}` got its argument `{k.name}` twice", k.span, declared)
        return False
    bound[k.name] = k.value
    return True


def _count(n: int) -> str:
    return "no argument" if n == 0 else "1 argument" if n == 1 else f"{n} arguments"


# --------------------------------------------------------------------------- scalar functions


def _scalar_call(frame: Frame, e: Call, function: ScalarFunction, ix: Indices | None) -> Value:
    shown = f"{function.name}({', '.join(function.params)})"
    bound = _bind(frame, e, function.params, (), shown)
    if bound is None:
        _evaluate_all(frame, e, ix)
        return None
    args = [frame.operand(bound[p], ix) for p in function.params]
    given = [a for a in args if a is not None]
    if len(given) < len(args):
        return None
    frame.scope.span = e.span
    if not given:
        return IndexLambda((), sc.call(function, ()))
    try:
        return il.elementwise(lambda *bodies: sc.call(function, bodies), *given)
    except OpError as error:
        operands = [(f"`{p}`", a, bound[p].span) for p, a in zip(function.params, args, strict=True)]
        return frame.op_error(error, e.span, operands)


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
    bound = _bind(frame, e, params, (), f"{name}({', '.join(params)})")
    if bound is None:
        _evaluate_all(frame, e, None)
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
    bound = _bind(frame, e, ("x",), (), f"{e.func.id}(x)")
    if bound is None:
        return None
    x = frame.operand(bound["x"], ix)
    return None if x is None else il.cast(x, dtypes.BY_NAME[e.func.id])


# --------------------------------------------------------------------------- rows


def _row_call(frame: Frame, e: Call, row: Row, ix: Indices | None) -> Value:
    if row.name in _ELEMENTWISE and len(e.args) == 2 and not e.keywords:
        done, value = _extremum_of_two(frame, e, ix)
        if done:
            return value
    indexed = ix is not None and (isinstance(row, Pointwise) or ix.mentioned(e))
    inside = ix if indexed else None
    parameters = row.signature.parameters
    optional = [n for n, p in parameters.items() if p.default is not inspect.Parameter.empty]
    bound = _bind(frame, e, list(parameters), optional, signature_text(row))
    if bound is None:
        _evaluate_all(frame, e, inside)
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
    frame.scope.span = e.span
    try:
        # a pointwise row takes its arguments in order, a structural one by name
        out = (
            row.apply(*arguments.values()) if isinstance(row, Pointwise) else row.apply(**arguments)
        )
    except OpError as error:
        operands = [(f"`{n}`", arguments[n], bound[n].span) for n in bound]
        return frame.op_error(error, e.span, operands)
    if not isinstance(row, Pointwise) and (indexed or frame.scalar):
        return _elementwise_only(frame, e, row, arguments, out)
    return out  # type: ignore[no-any-return]


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
    if isinstance(out, IndexLambda) and set(sc.reads([out.body])) <= set(sc.reads(given)):
        return out
    if frame.scalar:
        return frame.error(
            "E0405", f"`{row.name}` takes tensors, and a scalar function has scalars", e.span
        )
    hint = (
        f"over named indices it is `{row.name}[k](…)`"
        if row.name in ops.INDEX_REDUCERS
        else f"apply it to whole tensors first (`t = {row.name}(…)`) and read `t[…]`"
    )
    message = f"`{row.name}` takes whole tensors, not one element in index notation"
    return frame.error("E0608", message, e.span, hint)


_BAD = object()  # an argument whose error has been reported


def _argument(
    frame: Frame, row: Row, p: inspect.Parameter, e: Expr, ix: Indices | None
) -> Any:
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
        case "Dims" | "tuple[int, ...]":
            read = _several(value, static_int)
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
        parts.append(n if p.default is inspect.Parameter.empty else f"{n}={p.default}")
    return f"{row.name}({', '.join(parts)})"


# --------------------------------------------------------------------------- gradients


def _gradient(frame: Frame, e: Call, ix: Indices | None) -> Value:
    bound = _bind(frame, e, ("e", "w"), (), "grad(e, w)")
    if bound is None:
        return None
    if frame.scalar or (ix is not None and ix.mentioned(e)):
        return frame.error(
            "E0608",
            "`grad` differentiates a whole expression: it has no place in "
            + ("a scalar function" if frame.scalar else "index notation"),
            e.span,
            "take it in a statement of its own: `g = grad(e, w)`",
        )
    of = frame.operand(bound["e"], None)
    if of is not None and (of.rank or not of.dtype.is_float or of.dtype.is_weak):
        frame.error(
            "E0605",
            f"`grad` differentiates one float, got {kind_of(of)}",
            bound["e"].span,
            "sum it first: `grad(sum(e), w)`" if of.rank else None,
        )
        of = None
    wanted = bound["w"]
    several = isinstance(wanted, TupleExpr)
    targets = wanted.items if isinstance(wanted, TupleExpr) else (wanted,)
    wrt = [_variable(frame, t) for t in targets]
    if of is None or None in wrt:
        return None
    node = il.materialize(of, span=bound["e"].span)
    reached = set(graph.postorder([node]))
    out: list[Value] = []
    for t, w in zip(targets, wrt, strict=True):
        assert w is not None
        if w not in reached:
            shown = t.id if isinstance(t, Name) else "it"
            frame.warn(
                "W0702",
                f"this gradient is always 0: what is differentiated does not depend on `{shown}`",
                t.span,
            )
        out.append(il.of_node(graph.gradient(node, w, span=e.span)))
    return tuple(out) if several else out[0]


def _variable(frame: Frame, e: Expr) -> graph.Node | None:
    """A parameter or a named value, as what a gradient is taken by."""
    local = frame.locals.get(e.id) if isinstance(e, Name) else None
    if local is None:
        if isinstance(e, Name) and e.id not in frame.dims:
            frame.evaluate(frame, e, None)  # the usual error for an unknown name
            if frame.linker.symbol(frame.module, e.id, e.span) is None:
                return None
        return frame.error(
            "E0606",
            "a gradient is taken by a parameter or a named value, not by an expression",
            e.span,
            "name it first: `w = …`, and use `w` in what is differentiated",
        )
    local.used = True
    x = local.value
    if x is None:
        return None
    node = il.as_node(x) if isinstance(x, IndexLambda) else None
    if not isinstance(x, IndexLambda) or node is None or not x.dtype.is_float:
        return frame.error(
            "E0606", f"a gradient is taken by a float tensor or scalar, got {kind_of(x)}", e.span
        )
    if not _independent(frame, node):
        assert frame.call is not None and isinstance(e, Name)
        return frame.error(
            "E0606",
            f"`{frame.name}` differentiates by its parameter `{e.id}`, and another argument of "
            "this call depends on the same value",
            frame.call.span,
            "write the derivative at the call, where it is clear what it is taken by",
            (Note("differentiated here", e.span),),
        )
    return node


def _independent(frame: Frame, node: graph.Node) -> bool:
    """In an inlined body a parameter is its argument: the derivative by it is what the callee
    means only while no other argument depends on the same node."""
    if frame.call is None:
        return True
    given = [il.as_node(a) for a in frame.arguments]
    if node not in given:
        return True
    others = [n for k, n in enumerate(given) if n is not None and k != given.index(node)]
    return node not in graph.postorder(others)
