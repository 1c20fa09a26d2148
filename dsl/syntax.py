"""The abstract syntax of a `.tdsl` file: what the parser produces and the checker reads.

Every node carries a `Span`. Comments and docstrings are kept, so that a formatter can print a
file back. Nothing here knows types, shapes or the compiler.
"""

from __future__ import annotations

from ..compiler.records import dataclass
from ..compiler.span import Span

# --------------------------------------------------------------------------- expressions


@dataclass(frozen=True)
class Number:
    """A literal; `value` is an int or a float, `text` what the user wrote."""

    value: int | float
    text: str
    span: Span


@dataclass(frozen=True)
class Text:
    """A string literal (only where a keyword argument wants one, and in imports)."""

    value: str
    span: Span


@dataclass(frozen=True)
class Name:
    id: str
    span: Span


@dataclass(frozen=True)
class Unary:
    """`op` is one of `-`, `+`, `not`."""

    op: str
    operand: Expr
    span: Span


@dataclass(frozen=True)
class Binary:
    """`op` is one of `+ - * / // % ** @ and or`."""

    op: str
    left: Expr
    right: Expr
    span: Span


@dataclass(frozen=True)
class Compare:
    """A chain `first ops[0] rest[0] ops[1] rest[1] …`, each of `< <= > >= == !=`."""

    first: Expr
    ops: tuple[str, ...]
    rest: tuple[Expr, ...]
    span: Span


@dataclass(frozen=True)
class Conditional:
    """`then if test else other`, elementwise."""

    test: Expr
    then: Expr
    other: Expr
    span: Span


@dataclass(frozen=True)
class Keyword:
    name: str
    value: Expr
    span: Span
    name_span: Span


@dataclass(frozen=True)
class Call:
    """`func(args, keywords)`; `func` is a plain name."""

    func: Name
    args: tuple[Expr, ...]
    keywords: tuple[Keyword, ...]
    span: Span


@dataclass(frozen=True)
class Reduce:
    """`sum[k, l](body)`: a reducer over named indices."""

    reducer: Name
    indices: tuple[Name, ...]
    body: Expr
    span: Span


@dataclass(frozen=True)
class Slice:
    """`lo:hi:step` inside a subscript; absent parts are None."""

    lo: Expr | None
    hi: Expr | None
    step: Expr | None
    span: Span


@dataclass(frozen=True)
class NewAxis:
    """`None` inside a subscript."""

    span: Span


@dataclass(frozen=True)
class Ellipsis_:
    """`...` inside a subscript."""

    span: Span


@dataclass(frozen=True)
class Subscript:
    """`base[i, j, …]`: a read in index notation, a slice or a NumPy index."""

    base: Expr
    items: tuple[Expr | Slice | NewAxis | Ellipsis_, ...]
    span: Span


@dataclass(frozen=True)
class TupleExpr:
    items: tuple[Expr, ...]
    span: Span


Expr = (
    Number
    | Text
    | Name
    | Unary
    | Binary
    | Compare
    | Conditional
    | Call
    | Reduce
    | Subscript
    | TupleExpr
)

# --------------------------------------------------------------------------- types


@dataclass(frozen=True)
class TypeExpr:
    """`f32[b, 2*n]`; `dims` is None for a scalar without brackets."""

    dtype: Name
    dims: tuple[Expr, ...] | None
    span: Span


@dataclass(frozen=True)
class TupleType:
    """`(f32, f32[n])` as a return type."""

    items: tuple[TypeExpr, ...]
    span: Span


# --------------------------------------------------------------------------- statements


@dataclass(frozen=True)
class Range:
    """`for i in lo:hi` at the end of an index statement."""

    index: Name
    lo: Expr
    hi: Expr
    span: Span


@dataclass(frozen=True)
class Assign:
    """`a = e` or `a, b = e`; with `type`, one target: `d: f32[n] = 0`."""

    targets: tuple[Name, ...]
    value: Expr
    span: Span
    type: TypeExpr | None = None
    comments: tuple[str, ...] = ()
    remark: str | None = None


@dataclass(frozen=True)
class IndexAssign:
    """`c[i, j] = e for i in lo:hi` (`augmented` False) or `d[p[i]] += e` (True)."""

    target: Name
    indices: tuple[Expr, ...]
    value: Expr
    ranges: tuple[Range, ...]
    augmented: bool
    span: Span
    comments: tuple[str, ...] = ()
    remark: str | None = None


@dataclass(frozen=True)
class Return:
    value: Expr
    span: Span
    comments: tuple[str, ...] = ()
    remark: str | None = None


Statement = Assign | IndexAssign | Return

# --------------------------------------------------------------------------- top level


@dataclass(frozen=True)
class Parameter:
    name: str
    type: TypeExpr | None
    span: Span


@dataclass(frozen=True)
class ImportItem:
    name: str
    alias: str
    span: Span


@dataclass(frozen=True)
class Import:
    """`from "layers.tdsl" import dense as d`, the path relative to the importing file."""

    path: Text
    items: tuple[ImportItem, ...]
    span: Span
    comments: tuple[str, ...] = ()
    remark: str | None = None


@dataclass(frozen=True)
class ConstDecl:
    name: Name
    value: Expr
    span: Span
    comments: tuple[str, ...] = ()
    remark: str | None = None


@dataclass(frozen=True)
class FnDecl:
    """`fn gelu(x) = …`: a scalar function. Parameters have no types."""

    name: Name
    params: tuple[Parameter, ...]
    body: Expr
    span: Span
    comments: tuple[str, ...] = ()
    remark: str | None = None


@dataclass(frozen=True)
class DefDecl:
    name: Name
    params: tuple[Parameter, ...]
    returns: TypeExpr | TupleType | None
    doc: str | None
    body: tuple[Statement, ...]
    span: Span
    comments: tuple[str, ...] = ()
    remark: str | None = None
    trailing: tuple[str, ...] = ()


Declaration = Import | ConstDecl | FnDecl | DefDecl


@dataclass(frozen=True)
class Module:
    """A parsed file.

    Everywhere, `comments` are the comment lines above a node and those inside its brackets,
    without `#`; `remark` the one at its line's end (of a `def`: of its first line); `trailing`
    those after the last line of a file or of a function's body. A file's own `comments` stand
    above its docstring.
    """

    path: str
    source: str
    doc: str | None
    declarations: tuple[Declaration, ...]
    span: Span
    trailing: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()
