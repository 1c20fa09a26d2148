"""The parser: trees and exact spans of right programs, diagnostics of wrong ones.

In: source texts. An error is tested by its code, by the text under its caret and by words of its
message or hint. Bad input of every kind must end in a TdslError, quickly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest
from tdsl.compiler.errors import Diagnostic, TdslError
from tdsl.compiler.span import Span
from tdsl.dsl import syntax as s
from tdsl.dsl.parser import parse
from tdsl.dsl.suggest import did_you_mean

ROOT = Path(__file__).resolve().parent.parent


def under(span: Span, source: str) -> str:
    """The text that a span covers."""
    rows = source.split("\n")[span.line - 1 : span.end_line]
    rows[-1] = rows[-1][: span.end_column - 1]
    rows[0] = rows[0][span.column - 1 :]
    return "\n".join(rows)


def nodes(node: Any) -> Iterator[Any]:
    if isinstance(node, tuple):
        for n in node:
            yield from nodes(n)
    elif is_dataclass(node) and not isinstance(node, Span):
        yield node
        for f in fields(node):
            yield from nodes(getattr(node, f.name))


def expression(text: str) -> Any:
    (declaration,) = parse(f"const c = {text}", "x").declarations
    assert isinstance(declaration, s.ConstDecl)
    return declaration.value


def shown(e: Any) -> str:
    """An expression with all parentheses."""
    match e:
        case s.Number() | s.Name():
            return e.text if isinstance(e, s.Number) else e.id
        case s.Unary():
            return f"({e.op} {shown(e.operand)})"
        case s.Binary():
            return f"({shown(e.left)} {e.op} {shown(e.right)})"
        case s.Compare():
            rest = "".join(f" {o} {shown(r)}" for o, r in zip(e.ops, e.rest, strict=True))
            return f"({shown(e.first)}{rest})"
        case s.Conditional():
            return f"({shown(e.then)} if {shown(e.test)} else {shown(e.other)})"
        case s.Call():
            keywords = [f"{k.name}={shown(k.value)}" for k in e.keywords]
            return f"{e.func.id}({', '.join([*map(shown, e.args), *keywords])})"
        case s.Reduce():
            return f"{e.reducer.id}<{' '.join(i.id for i in e.indices)}>({shown(e.body)})"
        case s.Subscript():
            return f"{shown(e.base)}[{', '.join(map(shown, e.items))}]"
        case s.Slice():
            return ":".join("" if p is None else shown(p) for p in (e.lo, e.hi, e.step))
        case s.TupleExpr():
            return f"<{', '.join(map(shown, e.items))}>"
        case s.NewAxis():
            return "None"
        case s.Ellipsis_():
            return "..."
    raise AssertionError(e)


# ----------------------------------------------------------------------- right programs

PROGRAM = '''\
"""Digits classifier: a docstring for the file."""
from "layers.tdsl" import dense as d, relu          # relative to this file
const HALF = 0.5

# scalar: applies to tensors of any shape
fn gelu(x) = HALF * x * (1 + erf(x * 0.7071067811865476))

def loss(x: f32[b, 2*i], y: i64[b], t: f32) -> (f32, f32[b]):
    """Mean
    cross-entropy."""
    z = d(gelu(d(x, w1)), c2)
    picked[r] = z[r, y[r]]                             # index notation
    out[n, h + 1] = sum[p, q](x[n, h + p] * k[p, q]) for n in 0:b, h in 1:2*i for w in 0:3
    g: f32[b] = 0
    g[y[r]] += z[r, :, None, ..., 1:-1:2]
    l, u = grad(mean(picked, dim=(0,)), (x, t))
    (l, u) = (
        l,   # a comment
        u if not t >= 0 else -u ** 2,
    )
    return l, u
'''


def test_program() -> None:
    module = parse(PROGRAM, "p.tdsl")
    assert (module.path, module.source) == ("p.tdsl", PROGRAM)
    assert module.doc == "Digits classifier: a docstring for the file."
    imports, const, gelu, loss = module.declarations
    assert isinstance(imports, s.Import) and isinstance(const, s.ConstDecl)
    assert isinstance(gelu, s.FnDecl) and isinstance(loss, s.DefDecl)
    assert imports.path.value == "layers.tdsl"
    assert [(i.name, i.alias) for i in imports.items] == [("dense", "d"), ("relu", "relu")]
    assert imports.remark == "relative to this file"
    assert gelu.comments == ("scalar: applies to tensors of any shape",)
    assert [p.name for p in gelu.params] == ["x"] and gelu.params[0].type is None
    assert shown(gelu.body) == "((HALF * x) * (1 + erf((x * 0.7071067811865476))))"
    assert loss.doc == "Mean\ncross-entropy."
    assert [p.name for p in loss.params] == ["x", "y", "t"]
    x, _, t = (p.type for p in loss.params)
    assert x is not None and t is not None and x.dims is not None
    assert (x.dtype.id, [shown(d) for d in x.dims], t.dims) == ("f32", ["b", "(2 * i)"], None)
    assert isinstance(loss.returns, s.TupleType) and len(loss.returns.items) == 2
    z, picked, out, g, scatter, l_u, again, ret = loss.body
    assert isinstance(z, s.Assign) and z.type is None and [n.id for n in z.targets] == ["z"]
    assert isinstance(picked, s.IndexAssign) and not picked.augmented
    assert picked.remark == "index notation"
    assert isinstance(out, s.IndexAssign) and isinstance(out.value, s.Reduce)
    assert [shown(i) for i in out.indices] == ["n", "(h + 1)"]
    assert [(r.index.id, shown(r.lo), shown(r.hi)) for r in out.ranges] == [
        ("n", "0", "b"),
        ("h", "1", "(2 * i)"),
        ("w", "0", "3"),
    ]
    assert isinstance(g, s.Assign) and g.type is not None
    assert isinstance(scatter, s.IndexAssign) and scatter.augmented
    assert shown(scatter.value) == "z[r, ::, None, ..., 1:(- 1):2]"
    assert isinstance(l_u, s.Assign) and [n.id for n in l_u.targets] == ["l", "u"]
    assert shown(l_u.value) == "grad(mean(picked, dim=<0>), <x, t>)"
    assert isinstance(again, s.Assign) and [n.id for n in again.targets] == ["l", "u"]
    assert shown(again.value) == "<l, (u if (not (t >= 0)) else (- (u ** 2)))>"
    assert again.comments == ("a comment",)
    assert isinstance(ret, s.Return) and shown(ret.value) == "<l, u>"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("-x**2", "(- (x ** 2))"),
        ("(-x)**2", "((- x) ** 2)"),
        ("2**-x**y", "(2 ** (- (x ** y)))"),
        ("a - b - c", "((a - b) - c)"),
        ("a / b * c @ d // e % f", "(((((a / b) * c) @ d) // e) % f)"),
        ("-a * b", "((- a) * b)"),
        ("a + b * c", "(a + (b * c))"),
        ("not a == b and c or d", "(((not (a == b)) and c) or d)"),
        ("0 < x <= 1 != y", "(0 < x <= 1 != y)"),
        ("(0 < x) < y", "((0 < x) < y)"),
        ("a if b else c if d else e", "(a if b else (c if d else e))"),
        ("a or b if c or d else e", "((a or b) if (c or d) else e)"),
        ("f(x)[0][i, j]", "f(x)[0][i, j]"),
        ("max[i](x[i])[0]", "max<i>(x[i])[0]"),
        ("sum[k, l](a[k] + b[l]) * 2", "(sum<k l>((a[k] + b[l])) * 2)"),
        ("u[clamp(i-1), wrap(j+1)]", "u[clamp((i - 1)), wrap((j + 1))]"),
        ("()", "<>"),
        ("(a,)", "<a>"),
        ("f(a, (b, c), dim=1,)", "f(a, <b, c>, dim=1)"),
        ("x[:]", "x[::]"),
        ("x[1:, :n, ::2, i,]", "x[1::, :n:, ::2, i]"),
        ("True if inf else -nan * pi", "(True if inf else ((- nan) * pi))"),
    ],
)
def test_expressions(text: str, tree: str) -> None:
    assert shown(expression(text)) == tree


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("1_000", 1000),
        ("0xFf", 255),
        ("9223372036854775807", 2**63 - 1),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1_0.2_5e-0_1", 1.025),
        ("00", 0),
    ],
)
def test_numbers(text: str, value: int | float) -> None:
    number = expression(text)
    assert (number.value, type(number.value), number.text) == (value, type(value), text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("'a\"b'", 'a"b'), (r'"a\"\\\n\t\'"', "a\"\\\n\t'"), ('""', ""), ("'#'", "#")],
)
def test_strings(text: str, value: str) -> None:
    assert expression(text).value == value


def test_spans_are_exact() -> None:
    module = parse(PROGRAM, "p.tdsl")
    for node in nodes(module):
        text = under(node.span, PROGRAM)
        match node:
            case s.Name():
                assert text in (node.id, f"({node.id})")
            case s.Number():
                assert text == node.text
            case s.Keyword():
                assert text.startswith(node.name + "=")
                assert under(node.name_span, PROGRAM) == node.name
            case s.Call() | s.Reduce():
                assert text.endswith(")")
            case s.Subscript() | s.TypeExpr(dims=tuple()):
                assert text.endswith("]")
            case s.Parameter():
                assert re.fullmatch(rf"{node.name}(: \w+(\[.*\])?)?", text)
            case s.Range():
                assert re.fullmatch(r"\w+ in \w+:[\w*]+", text)
            case s.Return():
                assert text == "return l, u"
    *_, loss = module.declarations
    assert under(loss.span, PROGRAM) == PROGRAM[PROGRAM.index("def loss") :].rstrip()
    spans = [
        under(n.span, "const c = (a + b) * c < -d") for n in nodes(expression("(a + b) * c < -d"))
    ]
    assert spans == ["(a + b) * c < -d", "(a + b) * c", "(a + b)", "a", "b", "c", "-d", "d"]


def test_children_lie_inside_their_parents() -> None:
    def check(node: Any) -> None:
        start, end = (node.span.line, node.span.column), (node.span.end_line, node.span.end_column)
        for f in fields(node):
            value = getattr(node, f.name)
            for child in value if isinstance(value, tuple) else (value,):
                if is_dataclass(child) and not isinstance(child, Span):
                    assert start <= (child.span.line, child.span.column)
                    assert (child.span.end_line, child.span.end_column) <= end
                    check(child)

    check(parse(PROGRAM, "p.tdsl"))


@pytest.mark.parametrize("source", ["", "\n", "   \n\t\n", "# a comment", "\ufeff", "#\r\n\r\n"])
def test_empty_files(source: str) -> None:
    module = parse(source, "x")
    assert module.declarations == () and module.doc is None


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("    ", "\t"),
        lambda t: "".join("  " + row for row in t.splitlines(keepends=True)),
        lambda t: "\ufeff" + t,
        lambda t: t.rstrip("\n"),
    ],
    ids=["crlf", "tabs", "indented as a whole", "byte order mark", "no last newline"],
)
def test_layout_does_not_change_the_tree(change: Any) -> None:
    from tdsl.dsl.format import format_module

    assert format_module(parse(change(PROGRAM), "x")) == format_module(parse(PROGRAM, "x"))


# ------------------------------------------------------------------------ wrong programs

F = "def f(x: f32[n]) -> f32:\n"


def errors(source: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(TdslError) as caught:
        parse(source, "wrong.tdsl")
    assert str(caught.value).startswith("wrong.tdsl:")
    return caught.value.diagnostics


# Source, code, the text under the caret, and words of the message or hint.
WRONG = [
    ("const a = 2 × 3", "E0101", "×", "U+00D7, multiplication sign"),
    ("const a = “", "E0101", "“", "U+201C"),
    ("const a = ｘ", "E0101", "ｘ", "write `x`"),
    ("const π = 3", "E0101", "π", "write `pi`"),
    ("const a = 1\u00a0+ 2", "E0101", "\u00a0", "ordinary space"),
    ("const a = 1 $ 2", "E0101", "$", "U+0024"),
    ("const a = 1 \x00 2", "E0101", "\x00", "U+0000"),
    ("fn f(x) = x ^ 2", "E0102", "^", "`**`"),
    ("fn f(x) = x && x", "E0102", "&&", "`and`"),
    ("fn f(x) = x || x", "E0102", "||", "`or`"),
    ("fn f(x) = !x", "E0102", "!", "`not`"),
    (F + "    y -= 1", "E0102", "-=", "a = a - e"),
    (F + "    return x.sum()", "E0102", ".", "no attributes or methods"),
    (F + "    return x;", "E0102", ";", "line of its own"),
    ("const a = 1 + \\\n 2", "E0102", "\\", "inside brackets"),
    ("const a = (1 + 2", "E0103", "(", "never closed"),
    ("const a = f[1, (2)\nconst b = 1", "E0103", "[", "never closed"),
    ("const a = (1 + 2]", "E0103", "]", "expected `)`"),
    ("const a = 1)", "E0103", ")", "never opened"),
    ("const a = 'b", "E0104", "'b", "never closed"),
    ('const a = f("b)\nconst b = 1', "E0104", '"b)', "never closed"),
    ('"""a\n\nb', "E0104", '"""', "never closed"),
    (r"const a = 'b\q'", "E0104", r"\q", "no meaning"),
    (F + "    y = x\n   return y", "E0105", "   ", "matches no line"),
    (F + "    y = x\n\treturn y", "E0105", "\t", "tabs"),
    (F + "\t    return x", "E0105", "\t    ", "mixed"),
    (F + "    y = x\n        return y", "E0105", "        ", "opens no block"),
    ("const a = 2x", "E0106", "2x", "2 * x"),
    ("const a = 1__0", "E0106", "1__0", "between two digits"),
    ("const a = 0b1", "E0106", "0b1", "hexadecimal"),
    ("const a = 1.2.3", "E0106", "1.2.3", "one decimal point"),
    ("const a = 007", "E0106", "007", "leading zeros"),
    ("const a = 3j", "E0106", "3j", "complex"),
    ("const a = 9223372036854775808", "E0107", "9223372036854775808", "64 bits"),
    ("const a = 0x1_0000_0000_0000_0000", "E0107", "0x1_0000_0000_0000_0000", "64 bits"),
    ("const a = 1e999", "E0107", "1e999", "inf"),
    ("const a = " + "b" * 201, "E0109", "b" * 201, "limit is 200"),
    ("const a = ", "E0110", "", "expected an expression, but found the end of the line"),
    ("const a = 1 +* 2", "E0110", "*", "expected an expression, but found `*`"),
    ("fn f(x) = x if x", "E0110", "", "a if c else b"),
    ("fn f(x) = 1 if x = 1 else 2", "E0110", "=", "`==`"),
    ("fn f(x) = g(x y)", "E0110", "y", "found the name `y`"),
    ("def f(x: f32)\n    return x", "E0110", "", "ends with `:`"),
    ("def f(x: f32 y: f32):\n    return x", "E0110", "y", "expected `)`"),
    (F + "    return x[]", "E0110", "]", "expected an expression"),
    (F + "    c[i] = x[i] for i in range(n)", "E0110", "", "lo:hi"),
    (F + "    return", "E0110", "", "always returns a value"),
    ("def f(x: f32[]):\n    return x", "E0110", "[]", "write `f32`"),
    ("def f(x: f32) -> (f32):\n    return x", "E0110", "(f32)", "tuple of one"),
    ("const for = 1", "E0111", "for", "reserved"),
    ("fn lambda(x) = x", "E0111", "lambda", "reserved"),
    ("def f(class: f32):\n    return 1", "E0111", "class", "reserved"),
    (F + "    for = 1\n    return x", "E0111", "for", "reserved"),
    ("x = 3", "E0113", "x", "const x = …"),
    ("return 3", "E0113", "return", "outside a function"),
    ("import numpy as np", "E0113", "import", "from"),
    ("from layers import dense", "E0113", "layers", "in quotes"),
    (F + "    if x > 0:\n        y = 1\n    return x", "E0113", "if", "a if c else b"),
    (F + "    let y = 1", "E0113", "y", "y = …"),
    (F + "    y += 1", "E0113", "+=", "y = y + …"),
    (F + "    g(x)", "E0113", "(", "alone does nothing"),
    (F + "    y == 3", "E0113", "==", "alone does nothing"),
    (F + "    fn g(x) = x", "E0113", "fn", "top level"),
    ("fn f(x) = lambda y: y", "E0113", "lambda", "fn name(x)"),
    ("def f(x: f32) = x", "E0113", "=", "no one-line form"),
    ("def f(x: f32): return x", "E0113", "return", "lines of its own"),
    ("fn f(x): x", "E0113", ":", "one expression"),
    ("def f(x: f32 = 1):\n    return x", "E0113", "=", "default"),
    ("fn f(x) = [x, x]", "E0113", "[", "tuple"),
    ("fn f(x) = None", "E0113", "None", "new axis"),
    (F + "    for s in 0:t:\n        y = 1\n    return x", "E0114", "for", "not supported yet"),
    (F + "    while x:\n        y = 1\n    return x", "E0114", "while", "not supported yet"),
    ("fn f(x) = x\n    gradient x: g", "E0114", "gradient", "not supported yet"),
    (F + "    gradient x: g", "E0114", "gradient", "not supported yet"),
    ("def f(x: f32[...]):\n    return x", "E0114", "...", "not supported yet"),
    ("def f(x):\n    return x", "E0115", "x", "x: f32[n]"),
    ("fn f(x: f32) = x", "E0115", "f32", "scalars of any dtype"),
    ("fn f(x) = x[0](1)", "E0116", "0", "index name"),
    ("fn f(x) = sum[i](x, x)", "E0116", "x", "one expression"),
    ("fn f(x) = g(a=x, x)", "E0116", "x", "without names first"),
    ("fn f(x) = g(a=x, a=x)", "E0116", "a", "given twice"),
    ("fn f(x) = (x)(x)", "E0116", "(", "only a name can be called"),
    ("def f(x: f32):", "E0117", "def f(x: f32):", "no body"),
    ("def f(x: f32):\n# a comment\nconst a = 1", "E0117", "def f(x: f32):", "no body"),
    (F + "    a, = x", "E0118", ",", "a = …"),
]


@pytest.mark.parametrize(("source", "code", "caret", "words"), WRONG, ids=lambda v: repr(v)[:40])
def test_errors(source: str, code: str, caret: str, words: str) -> None:
    (d,) = errors(source)  # exactly one: no error follows from another
    assert (d.code, under(d.span, source.replace("\ufeff", ""))) == (code, caret)
    assert words in f"{d.message} {d.hint}"
    assert not re.search(r"__ANON|NEWLINE|RPAR|LSQB|INDENT|\bNAME\b", f"{d.message} {d.hint}")


def test_all_errors_of_a_file() -> None:
    source = (
        "const a = = 1\n"
        "fn f(x) = (x +\n"
        "fn g(x) = x ^ 2\n"
        "def h(x f32):\n"
        "    y = *\n"
        "    z = x\n"
        "    if z:\n"
        "        w = * 1\n"
        "    return\n"
        "  \n"
        "def i(x: f32):\n"
        "    return x x\n"
        "const b = 1\n"
    )
    assert [(d.span.line, d.code) for d in errors(source)] == [
        (1, "E0110"),
        (2, "E0103"),
        (3, "E0102"),
        (4, "E0110"),
        (5, "E0110"),
        (7, "E0113"),
        (9, "E0110"),
        (12, "E0110"),
    ]


def test_errors_are_cut_off() -> None:
    found = errors("const = 1\n" * 200)
    assert [d.code for d in found[:50]] == ["E0110"] * 50
    assert [d.code for d in found[50:]] == ["E0119"]


def test_caret_in_a_rendered_error() -> None:
    with pytest.raises(TdslError) as caught:
        parse("const a = 1\nconst b = 2 ^ a\n", "dir/wrong.tdsl")
    assert str(caught.value) == (
        "dir/wrong.tdsl:2:13: error[E0102]: `^` is not an operator of the language\n"
        "    2 | const b = 2 ^ a\n"
        "      |             ^\n"
        "  hint: powers are written `**`"
    )


# -------------------------------------------------------------------------------- pages


def test_every_error_code_has_a_page() -> None:
    used = set()
    for folder in ("dsl", "compiler", "runtime"):
        for file in (ROOT / folder).glob("*.py"):
            used |= set(re.findall(r'"([EW]\d{4})"', file.read_text("utf-8")))
    pages = {p.stem for p in (ROOT / "docs" / "errors").glob("[EW]*.md")}
    assert {c for c in used if c < "E0300"} <= pages
    index = (ROOT / "docs" / "errors" / "README.md").read_text("utf-8")
    assert all(f"({page}.md)" in index for page in pages)


def test_the_pages_examples_trigger_their_errors(tmp_path: Path) -> None:
    checked = 0
    for page in sorted((ROOT / "docs" / "errors").glob("E01*.md")):
        wrong, right = re.findall(r"```tdsl\n(.*?)```", page.read_text("utf-8"), re.DOTALL)[:2]
        assert page.stem in [d.code for d in errors(wrong)], page.stem
        parse(right, page.stem)
        checked += 1
    assert checked >= 17


# ------------------------------------------------------------------------------ suggest


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sofmax", "softmax"),
        ("logsumpexp", "logsumexp"),
        ("Softmax", "softmax"),
        ("log_softmax", "log_softmax2"),
        ("smu", "sum"),
        ("x", None),
        ("entirely_different", None),
        ("tahn", "tanh"),  # as near as tan, of the same letters
        ("tnh", "tanh"),
        ("taan", "tan"),
        ("sun", "sum"),  # as near as sgn, and begins like it for longer
    ],
)
def test_did_you_mean(name: str, expected: str | None) -> None:
    known = ["softmax", "logsumexp", "sum", "mean", "y", "log_softmax2", "tan", "tanh", "sgn"]
    assert did_you_mean(name, known) == expected
