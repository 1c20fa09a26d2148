"""The body of a `def`: its statements in order, up to the value that it returns.

In: a frame whose parameters are bound, and the declaration. Out: the returned value. Every
assignment makes a node under the user's name, except that literals and sizes stay what they are;
an error in one statement poisons what it assigns, and the next ones are read all the same.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..compiler import index_lambda as il
from ..compiler import scalar as sc
from ..compiler.dtypes import BY_NAME
from ..compiler.errors import Note
from ..compiler.formula import CONSTANTS
from ..compiler.graph import Comp, as_variable, rename
from ..compiler.index_lambda import IndexLambda
from ..compiler.span import Span
from .check_frame import Frame, Local, Value, kind_of
from .check_index_statements import index_assign
from .check_types import annotated, tensor_type
from .syntax import Assign, Call, DefDecl, IndexAssign, Name, Return, TupleType, TypeExpr
from .syntax_walk import Part, names_read, parts


def run(frame: Frame, decl: DefDecl) -> Value:
    """The value that the body returns; None where it is wrong."""
    out: Value = None
    returned: Return | None = None
    frame.variables = differentiated_by(decl)
    for s in decl.body:
        if returned is not None:
            frame.error(
                "E0306",
                "this statement is never reached",
                s.span,
                notes=(Note("the function returns here", returned.span),),
            )
            break
        match s:
            case Assign():
                _assign(frame, s)
            case IndexAssign():
                node = index_assign(frame, s)
                _bind(frame, s.target, None if node is None else il.of_node(node))
            case Return():
                returned = s
                out = _returned(frame, decl, s)
    if returned is None:
        frame.error(
            "E0305",
            f"`{frame.name}` returns nothing",
            decl.name.span,
            "end its body with `return …`",
        )
    _warn_unused(frame)
    return out


def differentiated_by(decl: DefDecl) -> frozenset[str]:
    """The names by which a gradient is taken in this body."""
    out: set[str] = set()
    stack: list[Part] = [s.value for s in decl.body]
    while stack:
        e = stack.pop()
        stack.extend(parts(e))
        if isinstance(e, Call) and e.func.id == "grad":
            by = [*e.args[1:], *(k.value for k in e.keywords)]
            out |= {n.id for b in by for n in names_read(b)}
    return frozenset(out)


# --------------------------------------------------------------------------- assignment


def _assign(frame: Frame, s: Assign) -> None:
    value = frame.evaluate(frame, s.value, None)
    if s.type is not None:
        _bind(frame, s.targets[0], _declared(frame, s, s.type, value))
        return
    if len(s.targets) == 1:
        named = _named(frame, value, s.targets[0].id, s.span)
        _bind(frame, s.targets[0], named, alias=isinstance(s.value, Name))
        return
    if value is not None and not (isinstance(value, tuple) and len(value) == len(s.targets)):
        frame.error(
            "E0406", f"expected {len(s.targets)} values, got {kind_of(value)}", s.value.span
        )
        value = None
    values = value if isinstance(value, tuple) else (None,) * len(s.targets)
    for target, v in zip(s.targets, values, strict=True):
        _bind(frame, target, _named(frame, v, target.id, s.span))


def _declared(frame: Frame, s: Assign, t: TypeExpr, value: Value) -> Value:
    """`d: f32[n] = 0`: a scalar fills the shape, anything else must have it."""
    if value is not None and not isinstance(value, IndexLambda):
        return frame.error("E0406", f"expected a tensor, got {kind_of(value)}", s.value.span)
    stated = tensor_type(frame, t)
    if value is None or stated is None:
        return None
    if value.rank == 0 and stated.shape:
        value = IndexLambda(stated.shape, value.body)
    x = annotated(frame, value, t, s.value.span, f"`{s.targets[0].id}` is")
    if x is None:
        return None
    return il.of_node(rename(il.materialize(x, span=s.span), s.targets[0].id, s.span))


def _named(frame: Frame, value: Value, name: str, span: Span) -> Value:
    """`value` as a node under the user's name; literals and sizes stay lambdas."""
    if isinstance(value, tuple):
        return tuple(_named(frame, v, f"{name}_{k}", span) for k, v in enumerate(value))
    if not isinstance(value, IndexLambda) or (value.rank == 0 and value.dtype.is_weak):
        return value
    return il.of_node(rename(il.materialize(value, span=span), name, span))


def _bind(frame: Frame, target: Name, value: Value, *, alias: bool = False) -> None:
    """Give `value` the name; what a gradient is taken by below becomes a value of its own, unless
    it is another name for one."""
    name = target.id
    if name in frame.variables and not alias and isinstance(value, IndexLambda):
        node = il.as_node(value)
        if isinstance(node, Comp):
            value = il.of_node(as_variable(node, f"{name} at {target.span}", name))
    if name in frame.dims:
        note = frame.sizes.bound_at.get(name) if frame.call is None else None
        frame.error(
            "E0303",
            f"`{name}` is a dim of `{frame.name}`: its size cannot be assigned",
            target.span,
            "choose another name",
            () if note is None else (Note(f"`{name}` is bound here", note),),
        )
        return
    if name in CONSTANTS or name in BY_NAME:
        frame.error("E0302", f"`{name}` is built in and cannot be assigned", target.span)
        return
    before = frame.locals.get(name)
    if before is not None:
        _warn_if_unused(frame, name, before, "this value is never used: it is assigned anew below")
    frame.locals[name] = Local(value, target.span, used=name.startswith("_"))


def _warn_unused(frame: Frame) -> None:
    for name, local in frame.locals.items():
        _warn_if_unused(frame, name, local, f"`{name}` is never used")


def _warn_if_unused(frame: Frame, name: str, local: Local, message: str) -> None:
    if not local.used and local.value is not None:
        frame.warn(
            "W0701", message, local.span, f"remove it, or call it `_{name}` to say it is meant so"
        )


# --------------------------------------------------------------------------- return


def _returned(frame: Frame, decl: DefDecl, s: Return) -> Value:
    value = frame.evaluate(frame, s.value, None)
    if value is None:
        if decl.returns is not None:
            types = decl.returns.items if isinstance(decl.returns, TupleType) else (decl.returns,)
            for t in types:
                tensor_type(frame, t)  # for its own errors
        return None
    items = value if isinstance(value, tuple) else (value,)
    odd = next((v for v in items if not isinstance(v, IndexLambda)), None)
    if odd is not None:
        what = kind_of(odd)
        return frame.error("E0406", f"a function returns tensors and scalars, got {what}", s.span)
    lambdas = [v for v in items if isinstance(v, IndexLambda)]
    if decl.returns is not None:
        return _as_declared(frame, decl.returns, lambdas, isinstance(value, tuple), s)
    strong = tuple(IndexLambda(v.shape, sc.settle(v.body)) for v in lambdas)
    return strong if isinstance(value, tuple) else strong[0]


def _as_declared(
    frame: Frame,
    declared: TypeExpr | TupleType,
    values: Sequence[IndexLambda],
    is_tuple: bool,
    s: Return,
) -> Value:
    """The returned values in the types after `->`."""
    types = declared.items if isinstance(declared, TupleType) else (declared,)
    if is_tuple != isinstance(declared, TupleType) or len(types) != len(values):
        wanted = f"a tuple of {len(types)}" if isinstance(declared, TupleType) else "one value"
        given = f"a tuple of {len(values)}" if is_tuple else "one value"
        return frame.error(
            "E0404",
            f"`{frame.name}` returns {given}, but the annotation says {wanted}",
            s.value.span,
            notes=(Note("declared here", declared.span),),
        )
    out: list[IndexLambda] = []
    for t, x in zip(types, values, strict=True):
        fitted = annotated(frame, x, t, s.value.span, f"`{frame.name}` returns")
        if fitted is not None:
            out.append(fitted)
    if len(out) < len(types):
        return None
    return tuple(out) if is_tuple else out[0]
