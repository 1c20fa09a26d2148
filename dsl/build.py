"""What each rule of grammar.lark builds: one function per rule or alias, of the same name.

In: the parts of a rule, in the order in which they are written (tokens, and nodes built before).
Out: a node of syntax.py, or `RefusalError` where the grammar is wider than the language. Nothing
here keeps state, so one parser serves every file and thread.
"""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

from ..compiler.errors import Diagnostic, Note
from ..compiler.records import dataclass
from ..compiler.span import Span
from .layout import Token
from .syntax import (
    Assign,
    Binary,
    Call,
    Compare,
    Conditional,
    ConstDecl,
    Declaration,
    DefDecl,
    Ellipsis_,
    Expr,
    FnDecl,
    Import,
    ImportItem,
    IndexAssign,
    Keyword,
    Module,
    Name,
    NewAxis,
    Number,
    Parameter,
    Range,
    Reduce,
    Return,
    Slice,
    Statement,
    Subscript,
    Text,
    TupleExpr,
    TupleType,
    TypeExpr,
    Unary,
)

Parts = list[Any]  # tokens and nodes, as the rule says


class RefusalError(Exception):
    """A sentence that the grammar lets through and the language does not have."""

    def __init__(
        self,
        code: str,
        message: str,
        span: Span,
        hint: str | None = None,
        notes: tuple[Note, ...] = (),
    ) -> None:
        self.diagnostic = Diagnostic(code, message, span, hint, notes)
        super().__init__(message)


@dataclass(frozen=True)
class _Docstring:
    text: str
    comments: tuple[str, ...]


@dataclass(frozen=True)
class _Header:
    """The first line of a `def`."""

    name: Name
    params: tuple[Parameter, ...]
    returns: TypeExpr | TupleType | None
    span: Span


def join(first: Span, last: Span) -> Span:
    """From the start of `first` to the end of `last`."""
    return Span(first.path, first.line, first.column, last.end_line, last.end_column)


def _covering(parts: Parts) -> Span:
    return join(parts[0].span, parts[-1].span)


def _nodes(parts: Parts) -> tuple[Any, ...]:
    return tuple(p for p in parts if not isinstance(p, Token))


def _name(token: Token) -> Name:
    return Name(token.text, token.span)


# ------------------------------------------------------------------------------ the file


def module(parts: Parts) -> Module:
    eof: Token = parts.pop()
    doc: str | None = None
    comments: tuple[str, ...] = ()
    if parts and isinstance(parts[0], _Docstring):
        doc, comments = parts[0].text, parts[0].comments
        parts = parts[1:]
    # `path`, `source` and the file's span are the parser's to fill in.
    return Module("", "", doc, tuple(parts), eof.span, eof.comments, comments)


def docstring(parts: Parts) -> _Docstring:
    text, newline = parts
    width = 3 if text.type == "LONG_STRING" else 1
    remark = () if newline.remark is None else (newline.remark,)
    return _Docstring(clean_doc(text.text[width:-width]), newline.comments + remark)


def clean_doc(text: str) -> str:
    """A docstring without the indentation that its place in the file gave it (PEP 257)."""
    first, *rest = text.replace("\r\n", "\n").expandtabs().split("\n")
    margin = min((len(r) - len(r.lstrip()) for r in rest if r.strip()), default=0)
    rows = [first.strip(), *(r[margin:].rstrip() for r in rest)]
    while rows and not rows[-1]:
        rows.pop()
    while rows and not rows[0]:
        rows.pop(0)
    return "\n".join(rows)


def line(parts: Parts) -> Declaration | Statement:
    node, newline = parts
    if newline.comments or newline.remark is not None:
        return replace(node, comments=newline.comments, remark=newline.remark)  # type: ignore[no-any-return]
    return node  # type: ignore[no-any-return]


def import_(parts: Parts) -> Import:
    _, path, _, items = parts
    items, last = items
    return Import(text([path]), items, join(parts[0].span, last))


def import_items(parts: Parts) -> tuple[tuple[ImportItem, ...], Span]:
    return _nodes(parts), parts[-1].span


def import_item(parts: Parts) -> ImportItem:
    return ImportItem(parts[0].text, parts[-1].text, _covering(parts))


def const(parts: Parts) -> ConstDecl:
    _, name_, _, value = parts
    return ConstDecl(_name(name_), value, _covering(parts))


def fn(parts: Parts) -> FnDecl:
    _, name_, params, _, body = parts
    for p in params:
        if p.type is not None:
            raise RefusalError(
                "E0115",
                f"parameter `{p.name}` of the scalar function `{name_.text}` has a type",
                p.type.span,
                f"an `fn` takes scalars of any dtype: write `{p.name}` alone, or use `def`",
            )
    return FnDecl(_name(name_), params, body, _covering(parts))


def def_(parts: Parts) -> DefDecl:
    header_, newline, _, *body, dedent = parts
    doc: str | None = None
    comments = newline.comments
    last = header_.span
    if body and isinstance(body[0], _Docstring):
        doc = body[0].text
        comments += body[0].comments
        body = body[1:]
    if body:
        last = body[-1].span
    return DefDecl(
        header_.name,
        header_.params,
        header_.returns,
        doc,
        tuple(body),
        join(header_.span, last),
        comments,
        newline.remark,
        dedent.comments,
    )


def header(parts: Parts) -> _Header:
    name_, params = parts[1], parts[2]
    for p in params:
        if p.type is None:
            raise RefusalError(
                "E0115",
                f"parameter `{p.name}` of `{name_.text}` has no type",
                p.span,
                f"write for instance `{p.name}: f32[n]`; a function of scalars of any dtype is "
                f"an `fn`",
            )
    returns = parts[4] if len(parts) == 6 else None
    return _Header(_name(name_), params, returns, _covering(parts))


def parameters(parts: Parts) -> tuple[Parameter, ...]:
    return _nodes(parts)


def parameter(parts: Parts) -> Parameter:
    type_node = parts[2] if len(parts) == 3 else None
    return Parameter(parts[0].text, type_node, _covering(parts))


# --------------------------------------------------------------------------------- types


def type_(parts: Parts) -> TypeExpr:
    dims = _nodes(parts[1:])
    for d in dims:
        if isinstance(d, Ellipsis_):
            raise RefusalError(
                "E0114",
                "`...` in a type is not supported yet",
                d.span,
                "name every dim",
            )
    if len(parts) == 1:
        return TypeExpr(_name(parts[0]), None, parts[0].span)
    if not dims:
        dtype = parts[0].text
        raise RefusalError(
            "E0110",
            "expected a dim between `[` and `]`",
            join(parts[1].span, parts[-1].span),
            f"a scalar has no brackets: write `{dtype}`",
        )
    return TypeExpr(_name(parts[0]), dims, _covering(parts))


def type_tuple(parts: Parts) -> TupleType:
    if len(parts) == 3:
        raise RefusalError(
            "E0110",
            "expected `,` between the parentheses of a tuple type",
            _covering(parts),
            "write the type without parentheses, or `(f32,)` for a tuple of one",
        )
    return TupleType(_nodes(parts), _covering(parts))


# ---------------------------------------------------------------------------- statements


def assign(parts: Parts) -> Assign | IndexAssign:
    names_ = next(p for p in parts if isinstance(p, tuple))
    first = parts[0].span if isinstance(parts[0], Token) else names_[0].span
    if isinstance(parts[-1], tuple):  # ranges: a scalar in index notation
        value, ranges_ = parts[-2:]
        span = join(first, ranges_[-1].span)
        if len(names_) > 1:
            raise RefusalError("E0118", "ranges belong to one target, not to a tuple", span)
        return IndexAssign(names_[0], (), value, ranges_, False, span)
    value = parts[-1]
    return Assign(names_, value, join(first, value.span))


def names(parts: Parts) -> tuple[Name, ...]:
    if len(parts) == 2:
        raise RefusalError(
            "E0118",
            "one name with a comma after it is not a target",
            parts[1].span,
            f"write `{parts[0].text} = …`",
        )
    return tuple(_name(p) for p in parts if p.type == "NAME")


def annotated(parts: Parts) -> Assign:
    name_, _, type_node, _, value = parts
    return Assign((_name(name_),), value, _covering(parts), type_node)


def index_assign(parts: Parts) -> IndexAssign:
    close = next(i for i, p in enumerate(parts) if isinstance(p, Token) and p.text == "]")
    indices = _nodes(parts[2:close])
    equals, value = parts[close + 1], parts[close + 2]
    ranges_: tuple[Range, ...] = parts[close + 3] if len(parts) > close + 3 else ()
    last = ranges_[-1].span if ranges_ else value.span
    return IndexAssign(
        _name(parts[0]),
        indices,
        value,
        ranges_,
        equals.text == "+=",
        join(parts[0].span, last),
    )


def ranges(parts: Parts) -> tuple[Range, ...]:
    return _nodes(parts)


def range_(parts: Parts) -> Range:
    index, _, lo, _, hi = parts
    return Range(_name(index), lo, hi, _covering(parts))


def return_(parts: Parts) -> Return:
    return Return(parts[1], _covering(parts))


# --------------------------------------------------------------------------- expressions


def expressions(parts: Parts) -> Expr:
    if len(parts) == 1:
        return parts[0]  # type: ignore[no-any-return]
    return TupleExpr(_nodes(parts), _covering(parts))


def conditional(parts: Parts) -> Conditional:
    then, _, test, _, other = parts
    return Conditional(test, then, other, _covering(parts))


def binary(parts: Parts) -> Binary:
    left, op, right = parts
    return Binary(op.text, left, right, join(left.span, right.span))


def unary(parts: Parts) -> Unary:
    op, operand = parts
    return Unary(op.text, operand, join(op.span, operand.span))


def compare(parts: Parts) -> Compare:
    ops = tuple(p.text for p in parts[1::2])
    return Compare(parts[0], ops, tuple(parts[2::2]), _covering(parts))


def name(parts: Parts) -> Name:
    return _name(parts[0])


def group(parts: Parts) -> Expr:
    """An expression in parentheses is that expression; its span includes them."""
    return replace(parts[1], span=_covering(parts))  # type: ignore[no-any-return]


def tuple_(parts: Parts) -> TupleExpr:
    return TupleExpr(_nodes(parts), _covering(parts))


def call(parts: Parts) -> Call:
    arguments = _nodes(parts[2:])
    args = tuple(a for a in arguments if not isinstance(a, Keyword))
    keywords = tuple(a for a in arguments if isinstance(a, Keyword))
    if arguments[: len(args)] != args:
        late = next(
            a
            for i, a in enumerate(arguments)
            if i >= 1 and not isinstance(a, Keyword) and isinstance(arguments[i - 1], Keyword)
        )
        raise RefusalError(
            "E0116",
            "an argument without a name stands after one with a name",
            late.span,
            "put the arguments without names first",
        )
    seen: dict[str, Keyword] = {}
    for k in keywords:
        if k.name in seen:
            note = Note("it was given here first", seen[k.name].name_span)
            message = f"the argument `{k.name}` is given twice"
            raise RefusalError("E0116", message, k.name_span, notes=(note,))
        seen[k.name] = k
    return Call(_name(parts[0]), args, keywords, _covering(parts))


def reduce(parts: Parts) -> Reduce:
    """`sum[k, l](body)`: between the brackets only names, between the parentheses one body."""
    close = next(i for i, p in enumerate(parts) if isinstance(p, Token) and p.text == "]")
    indices, arguments = _nodes(parts[2:close]), _nodes(parts[close + 1 :])
    reducer = parts[0].text
    for i in indices:
        if not isinstance(i, Name):
            raise RefusalError(
                "E0116",
                f"expected an index name between the brackets of `{reducer}[…](…)`",
                i.span,
                "a reduction looks like `sum[k](a[k])`; to multiply write `*`",
            )
    if len(arguments) != 1 or isinstance(arguments[0], Keyword):
        span = (
            arguments[1].span if len(arguments) > 1 else join(parts[close + 1].span, parts[-1].span)
        )
        shown = ", ".join(i.id for i in indices)
        raise RefusalError(
            "E0116",
            f"expected one expression in `{reducer}[{shown}](…)`, but found {len(arguments)}"
            if len(arguments) != 1
            else f"`{reducer}[{shown}](…)` takes no named arguments",
            span,
        )
    return Reduce(_name(parts[0]), indices, arguments[0], _covering(parts))


def keyword(parts: Parts) -> Keyword:
    name_, _, value = parts
    return Keyword(name_.text, value, _covering(parts), name_.span)


def name_subscript(parts: Parts) -> Subscript:
    return Subscript(_name(parts[0]), _nodes(parts[2:]), _covering(parts))


def subscript(parts: Parts) -> Subscript:
    return Subscript(parts[0], _nodes(parts[2:]), _covering(parts))


def slice_(parts: Parts) -> Slice:
    bounds: list[Expr | None] = [None]
    for p in parts:
        if isinstance(p, Token):
            bounds.append(None)
        else:
            bounds[-1] = p
    lo, hi, step = (*bounds, None)[:3]
    return Slice(lo, hi, step, _covering(parts))


def ellipsis(parts: Parts) -> Ellipsis_:
    return Ellipsis_(parts[0].span)


def new_axis(parts: Parts) -> NewAxis:
    return NewAxis(parts[0].span)


# ------------------------------------------------------------------------------ literals

_MAX_INT = 2**63 - 1


def number(parts: Parts) -> Number:
    token: Token = parts[0]
    written, span = token.text, token.span
    digits = written.replace("_", "")
    shown = written if len(written) <= 30 else written[:30] + "…"
    if digits.isdecimal() or digits[:2] in ("0x", "0X"):
        is_hex = not digits.isdecimal()
        if not is_hex and digits[0] == "0" and digits.strip("0"):
            hint = f"write `{digits.lstrip('0')[:30]}`"
            raise RefusalError("E0106", f"`{shown}` has leading zeros", span, hint)
        # 25 digits are beyond 64 bits in any base; int() refuses some thousands.
        significant = digits[2:].lstrip("0") if is_hex else digits
        value = _MAX_INT + 1 if len(significant) > 25 else int(digits, 16 if is_hex else 10)
        if value > _MAX_INT:
            message = f"`{shown}` does not fit into 64 bits: the largest integer is {_MAX_INT}"
            raise RefusalError("E0107", message, span, "write it as a float, for instance 1e20")
        return Number(value, written, span)
    real = float(digits)
    if math.isinf(real):
        message = f"`{shown}` is larger than any 64-bit float: the limit is about 1.8e308"
        raise RefusalError("E0107", message, span, "infinity is written `inf`")
    return Number(real, written, span)


_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", "'": "'", '"': '"'}


def text(parts: Parts) -> Text:
    token: Token = parts[0]
    bad = next((m for m in _ESCAPE.finditer(token.text) if m[1] not in _ESCAPES), None)
    if bad is not None:
        at = token.span.column + bad.start()
        span = replace(token.span, column=at, end_column=at + 2)
        hint = "a backslash itself is written `\\\\`; paths may use `/`"
        raise RefusalError("E0104", f"`{bad[0]}` has no meaning in a string", span, hint)
    value = _ESCAPE.sub(lambda m: _ESCAPES[m[1]], token.text[1:-1])
    return Text(value, token.span)
