"""The canonical text of a syntax tree: `format_module`.

In: a `Module`. Out: text that parses to the same tree (but for spans), comments and docstrings
included; formatting it again changes nothing. Line breaks inside statements are decided here
(100 columns, split at brackets); blank lines are kept, at most one. Meaning is not looked at.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..compiler.records import dataclass
from .build import clean_doc
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
    IndexAssign,
    Keyword,
    Module,
    Name,
    NewAxis,
    Number,
    Parameter,
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

WIDTH = 100
INDENT = "    "

# How tightly an expression binds: parentheses go around it where a tighter one is wanted.
_CONDITIONAL, _OR, _AND, _NOT, _COMPARE, _SUM, _PRODUCT, _SIGNED, _POWER, _PRIMARY = range(10)
_BINARY = {
    "or": (_OR, _OR, _AND),  # its own level, the least its left and right operands may have
    "and": (_AND, _AND, _NOT),
    "+": (_SUM, _SUM, _PRODUCT),
    "-": (_SUM, _SUM, _PRODUCT),
    **dict.fromkeys(("*", "/", "//", "%", "@"), (_PRODUCT, _PRODUCT, _SIGNED)),
    "**": (_POWER, _PRIMARY, _SIGNED),
}


# -------------------------------------------------------------------------------- pieces


@dataclass(frozen=True)
class _Space:
    """A space before an operator of that level; inside brackets the line may break there."""

    level: int


@dataclass(frozen=True)
class _Bracket:
    """`open items close`; when broken, every item has its own line, with a `,` where it may."""

    open: str
    items: list[list[_Piece]]
    close: str
    comma: bool
    flat: str


_Piece = str | _Space | _Bracket


def _flat(pieces: Sequence[_Piece]) -> str:
    return "".join(
        p if isinstance(p, str) else " " if isinstance(p, _Space) else p.flat for p in pieces
    )


def _bracket(open_: str, items: list[list[_Piece]], close: str, *, comma: bool = True) -> _Bracket:
    return _Bracket(open_, items, close, comma, open_ + ", ".join(map(_flat, items)) + close)


def _lines(pieces: list[_Piece], indent: str, tail: str = "") -> list[str]:
    """`pieces` from column `indent` on, with `tail` after the last; broken where too long.

    The last bracket that has content is broken first, as in a call whose arguments go below it.
    """
    flat = indent + _flat(pieces) + tail
    if len(flat) <= WIDTH:
        return [flat]
    at = max((i for i, p in enumerate(pieces) if isinstance(p, _Bracket) and p.items), default=None)
    if at is None:
        return [flat]
    bracket = pieces[at]
    assert isinstance(bracket, _Bracket)
    head, rest = pieces[:at], pieces[at + 1 :]
    if len(indent) + len(_flat(head)) + len(bracket.open) > WIDTH and any(
        isinstance(p, _Bracket) and p.items for p in head
    ):
        *lines, last = _lines(head, indent)
        return lines + _lines([last[len(indent) :], bracket, *rest], indent, tail)
    lines = [indent + _flat(head) + bracket.open]
    for i, item in enumerate(bracket.items):
        comma = "," if i < len(bracket.items) - 1 or (bracket.comma and bracket.items) else ""
        lines += _item_lines(item, indent + INDENT, comma)
    lines.append(indent + bracket.close + _flat(rest) + tail)
    return lines


def _item_lines(item: list[_Piece], indent: str, comma: str) -> list[str]:
    """One item of a broken bracket: whole, or one operand of its loosest operators a line."""
    levels = [p.level for p in item if isinstance(p, _Space)]
    if len(indent + _flat(item) + comma) <= WIDTH or not levels:
        return _lines(item, indent, comma)
    loosest = min(levels)
    operands: list[list[_Piece]] = [[]]
    for piece in item:
        if isinstance(piece, _Space) and piece.level == loosest:
            operands.append([])
        else:
            operands[-1].append(piece)
    lines = []
    for i, operand in enumerate(operands):
        lines += _lines(operand, indent, comma if i == len(operands) - 1 else "")
    return lines


# ------------------------------------------------------------------------------ the file


def format_module(module: Module) -> str:
    """The module as text, ending in a newline (empty for an empty module)."""
    lines = _comments(module.comments, "")
    if module.doc is not None:
        lines += _doc(module.doc, "")
    before: Declaration | None = None
    for declaration in module.declarations:
        if before is None:
            separate = bool(lines)
        else:
            separate = (
                isinstance(declaration, DefDecl)
                or isinstance(before, DefDecl)
                or type(before) is not type(declaration)
                or _gap(before, declaration)
            )
        if separate:
            lines.append("")
        lines += _declaration(declaration)
        before = declaration
    if module.trailing:
        lines += [""] * bool(lines) + _comments(module.trailing, "")
    return "\n".join(lines) + "\n" if lines else ""


def _gap(before: Declaration | Statement, node: Declaration | Statement) -> bool:
    """Was there a blank line between the two? (A tree that was not parsed has none.)"""
    if before.span.path != node.span.path:
        return False
    return node.span.line - len(node.comments) - before.span.end_line > 1


def _comments(comments: Sequence[str], indent: str) -> list[str]:
    return [f"{indent}# {c}".rstrip() for c in comments]


def _remark(remark: str | None) -> str:
    return "" if remark is None else f"  # {remark}".rstrip()


_ESCAPED = re.compile(r"\\[\s\S]")


def _doc(doc: str, indent: str) -> list[str]:
    quote = '"""'
    if quote in _ESCAPED.sub("", doc):
        quote = "'''"
    first, *rest = doc.split("\n")
    rows = [first, *((indent + r).rstrip() for r in rest)]
    if doc.endswith(("\\", quote[0])):
        rows.append(indent)  # or the end would run into the closing quotes
    body = "\n".join(rows)
    if doc.startswith(quote[0]) or clean_doc(body) != doc:
        body = "\n".join(["", *((indent + r).rstrip() for r in doc.split("\n")), indent])
    return (indent + quote + body + quote).split("\n")


def _with_remark(lines: list[str], remark: str | None) -> list[str]:
    lines[-1] += _remark(remark)
    return lines


def _declaration(d: Declaration) -> list[str]:
    lines = _comments(d.comments, "")
    pieces: list[_Piece]
    match d:
        case Import():
            items = [i.name if i.alias == i.name else f"{i.name} as {i.alias}" for i in d.items]
            head = f"from {_quoted(d.path.value)} import "
            pieces = [head + ", ".join(items)]
            if len(head + ", ".join(items)) > WIDTH:
                pieces = [head, _bracket("(", [[i] for i in items], ")")]
            lines += _lines(pieces, "")
        case ConstDecl():
            lines += _binding([f"const {d.name.id}", " = "], d.value, "")
        case FnDecl():
            pieces = [f"fn {d.name.id}", _parameters(d.params), " = "]
            lines += _binding(pieces, d.body, "")
        case DefDecl():
            pieces = [f"def {d.name.id}", _parameters(d.params)]
            if d.returns is not None:
                pieces += [" -> ", *_returns(d.returns)]
            # The parameters are broken before the types that are returned.
            lines += _lines(pieces, "", ":") if d.returns is None else _header(pieces)
            lines[-1] += _remark(d.remark)
            lines += _body(d)
            return lines
    return _with_remark(lines, d.remark)


def _header(pieces: list[_Piece]) -> list[str]:
    return _lines(pieces[:2], "", _flat(pieces[2:]) + ":")


def _body(d: DefDecl) -> list[str]:
    lines = [] if d.doc is None else _doc(d.doc, INDENT)
    before: Statement | None = None
    for statement in d.body:
        if before is not None and _gap(before, statement):
            lines.append("")
        lines += _comments(statement.comments, INDENT)
        lines += _with_remark(_statement(statement), statement.remark)
        before = statement
    return lines + _comments(d.trailing, INDENT)


def _parameters(params: Sequence[Parameter]) -> _Bracket:
    items: list[list[_Piece]] = []
    for p in params:
        items.append([p.name] if p.type is None else [f"{p.name}: ", *_type(p.type)])
    return _bracket("(", items, ")")


def _type(type_: TypeExpr) -> list[_Piece]:
    if type_.dims is None:
        return [type_.dtype.id]
    return [type_.dtype.id, _bracket("[", [_expr(d) for d in type_.dims], "]")]


def _returns(returns: TypeExpr | TupleType) -> list[_Piece]:
    if isinstance(returns, TypeExpr):
        return _type(returns)
    items = [_type(t) for t in returns.items]
    if len(items) == 1:
        items[0].append(",")
    return [_bracket("(", items, ")", comma=len(items) > 1)]


# ---------------------------------------------------------------------------- statements


def _statement(s: Statement) -> list[str]:
    pieces: list[_Piece]
    match s:
        case Assign(type=None):
            targets = ", ".join(t.id for t in s.targets)
            return _binding([targets, " = "], s.value, INDENT, bare_tuple=True)
        case Assign():
            assert s.type is not None
            pieces = [f"{s.targets[0].id}: ", *_type(s.type), " = "]
            return _binding(pieces, s.value, INDENT)
        case IndexAssign():
            pieces = [s.target.id]
            if s.indices:
                pieces.append(_bracket("[", [_expr(i) for i in s.indices], "]"))
            ranges = [f"{r.index.id} in {_bound(r.lo)}:{_bound(r.hi)}" for r in s.ranges]
            tail = f" for {', '.join(ranges)}" if ranges else ""
            operator = " += " if s.augmented else " = "
            return _binding([*pieces, operator], s.value, INDENT, tail)
        case Return():
            return _binding(["return "], s.value, INDENT, bare_tuple=True)


def _bound(e: Expr) -> str:
    return _flat(_expr(e))


def _binding(
    head: list[_Piece], value: Expr, indent: str, tail: str = "", *, bare_tuple: bool = False
) -> list[str]:
    """`head value tail`. A value that is too long and has no brackets of its own gets them."""
    if bare_tuple and isinstance(value, TupleExpr) and len(value.items) > 1:
        items = [_expr(i) for i in value.items]
        flat = indent + _flat(head) + ", ".join(map(_flat, items))
        if len(flat) <= WIDTH:
            return [flat]
        return _lines([*head, _bracket("(", items, ")")], indent)
    pieces = _expr(value)
    if len(indent + _flat([*head, *pieces]) + tail) <= WIDTH:
        return [indent + _flat([*head, *pieces]) + tail]
    if isinstance(value, Call | Reduce | TupleExpr):
        return _lines([*head, *pieces], indent, tail)
    return _lines([*head, _bracket("(", [pieces], ")", comma=False)], indent, tail)


# --------------------------------------------------------------------------- expressions


def _expr(e: Expr | Keyword, level: int = _CONDITIONAL) -> list[_Piece]:
    out: list[_Piece] = []
    _emit(e, level, out)
    return out


def _emit(e: Expr | Keyword | Slice | NewAxis | Ellipsis_, level: int, out: list[_Piece]) -> None:
    """Append the pieces of `e`, in parentheses where it binds less tightly than `level`.

    One call per level of the tree: the depth that the parser allows must not exhaust the stack.
    """
    own = _level(e)
    if own < level:
        inner: list[_Piece] = []
        _emit(e, _CONDITIONAL, inner)
        out.append(_bracket("(", [inner], ")", comma=False))
        return
    match e:
        case Number():
            out.append(e.text)
        case Text():
            out.append(_quoted(e.value))
        case Name():
            out.append(e.id)
        case Unary():
            out.append("not " if e.op == "not" else e.op)
            _emit(e.operand, own, out)
        case Binary():
            _, left, right = _BINARY[e.op]
            _emit(e.left, left, out)
            out.extend((e.op,) if e.op == "**" else (_Space(own), f"{e.op} "))
            _emit(e.right, right, out)
        case Compare():
            _emit(e.first, _SUM, out)
            for op, operand in zip(e.ops, e.rest, strict=True):
                out.extend((_Space(own), f"{op} "))
                _emit(operand, _SUM, out)
        case Conditional():
            _emit(e.then, _OR, out)
            out.extend((_Space(own), "if "))
            _emit(e.test, _OR, out)
            out.extend((_Space(own), "else "))
            _emit(e.other, _CONDITIONAL, out)
        case Keyword():
            out.append(f"{e.name}=")
            _emit(e.value, _CONDITIONAL, out)
        case Call() | Reduce() | Subscript() | TupleExpr():
            _emit_brackets(e, out)
        case Slice():
            _emit_slice(e, out)
        case NewAxis():
            out.append("None")
        case Ellipsis_():
            out.append("...")


def _emit_brackets(e: Call | Reduce | Subscript | TupleExpr, out: list[_Piece]) -> None:
    inside: Sequence[Expr | Keyword | Slice | NewAxis | Ellipsis_]
    open_, close, comma = "(", ")", True
    match e:
        case Call():
            out.append(e.func.id)
            inside = [*e.args, *e.keywords]
        case Reduce():
            out.append(f"{e.reducer.id}[{', '.join(i.id for i in e.indices)}]")
            inside, comma = [e.body], False
        case Subscript():
            _emit(e.base, _PRIMARY, out)
            open_, inside, close = "[", e.items, "]"
        case TupleExpr():
            inside = e.items
    items: list[list[_Piece]] = []
    for part in inside:
        pieces: list[_Piece] = []
        _emit(part, _CONDITIONAL, pieces)
        items.append(pieces)
    if isinstance(e, TupleExpr) and len(items) == 1:
        items[0].append(",")
        comma = False
    out.append(_bracket(open_, items, close, comma=comma and bool(items)))


def _emit_slice(e: Slice, out: list[_Piece]) -> None:
    if e.lo is not None:
        _emit(e.lo, _CONDITIONAL, out)
    out.append(":")
    if e.hi is not None:
        _emit(e.hi, _CONDITIONAL, out)
    if e.step is not None:
        out.append(":")
        _emit(e.step, _CONDITIONAL, out)


def _level(e: Expr | Keyword | Slice | NewAxis | Ellipsis_) -> int:
    match e:
        case Conditional() | Keyword() | Slice():
            return _CONDITIONAL
        case Binary():
            return _BINARY[e.op][0]
        case Unary():
            return _NOT if e.op == "not" else _SIGNED
        case Compare():
            return _COMPARE
        case _:
            return _PRIMARY


_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\t": "\\t"}


def _quoted(text: str) -> str:
    return '"' + "".join(_ESCAPES.get(c, c) for c in text) + '"'
