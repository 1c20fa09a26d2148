"""Walking over expressions without recursion."""

from __future__ import annotations

from collections.abc import Iterator

from .syntax import (
    Binary,
    Call,
    Compare,
    Conditional,
    Ellipsis_,
    Expr,
    Name,
    NewAxis,
    Reduce,
    Slice,
    Subscript,
    TupleExpr,
    Unary,
)

Part = Expr | Slice | NewAxis | Ellipsis_


def parts(e: Part) -> tuple[Part, ...]:
    """The expressions directly inside `e`, in source order; the name of a function that is called
    is not one."""
    match e:
        case Unary(_, operand):
            return (operand,)
        case Binary(_, left, right):
            return (left, right)
        case Compare(first, _, rest):
            return (first, *rest)
        case Conditional(test, then, other):
            return (then, test, other)
        case Call(_, args, keywords):
            return (*args, *(k.value for k in keywords))
        case Reduce(_, _, body):
            return (body,)
        case Slice(lo, hi, step):
            return tuple(x for x in (lo, hi, step) if x is not None)
        case Subscript(base, items):
            return (base, *items)
        case TupleExpr(items):
            return items
        case _:
            return ()


def names_read(e: Part) -> Iterator[Name]:
    """Every name that stands for a value in `e`, in source order; a reducer's own indices
    included."""
    stack: list[Part] = [e]
    while stack:
        x = stack.pop()
        if isinstance(x, Name):
            yield x
        else:
            stack.extend(reversed(parts(x)))
