"""The formatter: what it prints parses to the same tree, and formatting again changes nothing.

In: trees from hypothesis and programs written badly. The parser is taken as right.
"""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tdsl.compiler.span import BUILTIN
from tdsl.dsl import syntax as s
from tdsl.dsl.format import WIDTH, format_module
from tdsl.dsl.parser import parse


def without_spans(node: Any) -> Any:
    """The tree with every span, and the text and name of the file, replaced by constants."""
    if isinstance(node, tuple):
        return tuple(without_spans(n) for n in node)
    if not is_dataclass(node) or isinstance(node, type):
        return node
    kept = {f.name: without_spans(getattr(node, f.name)) for f in fields(node)}
    kept |= {name: BUILTIN for name in ("span", "name_span") if name in kept}
    if isinstance(node, s.Module):
        kept |= {"path": "", "source": ""}
    return type(node)(**kept)


def assert_faithful(module: s.Module) -> str:
    text = format_module(module)
    again = parse(text, "formatted.tdsl")
    assert without_spans(again) == without_spans(module)
    assert format_module(again) == text
    return text


# ---------------------------------------------------------------------------- by example

UGLY = '''\
# a licence

"""The file.

More of it."""
from   'layers.tdsl'   import dense as d,relu   # two
const A=1_000
const B = 0xFF  # hex


const C = .5
fn gelu(x)=0.5*x*(1+erf( x*A ))
def f( x:f32[ b,2 * n ],y : i64[b])->f32 :   # the header
   """Doc."""
   # above
   c[i,j]=sum[ k ]( x[i,k]*-x[k,j] )**2 for i in 0 : n for j in 1:n-1   # c

   # about d
   d : f32[n]=0
   d[y[i]]+=x[i]
   (a,b)=(1,)+(2 ,3)
   z = x[ : , None , ... ,1:-1: 2]  if not (a<b<=c) and ((a or b)) else (x)[0][1]
   return (z , -(-a)**-b , (-a)**2 , a-(b-c) , (a-b)-c , f( x,dim = 1 ))
   # after the body
# at the end
'''

NEAT = '''\
# a licence
"""The file.

More of it."""

from "layers.tdsl" import dense as d, relu  # two

const A = 1_000
const B = 0xFF  # hex

const C = .5

fn gelu(x) = 0.5 * x * (1 + erf(x * A))

def f(x: f32[b, 2 * n], y: i64[b]) -> f32:  # the header
    """Doc."""
    # above
    c[i, j] = sum[k](x[i, k] * -x[k, j])**2 for i in 0:n, j in 1:n - 1  # c

    # about d
    d: f32[n] = 0
    d[y[i]] += x[i]
    a, b = (1,) + (2, 3)
    z = x[:, None, ..., 1:-1:2] if not a < b <= c and (a or b) else x[0][1]
    return z, -(-a)**-b, (-a)**2, a - (b - c), a - b - c, f(x, dim=1)
    # after the body

# at the end
'''


def test_canonical_form() -> None:
    assert assert_faithful(parse(UGLY, "ugly.tdsl")) == NEAT


@pytest.mark.parametrize("source", ["", "\n\n", "# only\n# comments\n", '"""Only a docstring."""'])
def test_files_without_declarations(source: str) -> None:
    assert_faithful(parse(source, "x"))


def test_long_lines_are_broken_at_brackets() -> None:
    params = ", ".join(f"parameter_{i}: f32[batch, width]" for i in range(6))
    terms = " + ".join(f"parameter_{i} * {i}.5" for i in range(9))
    source = (
        f"def f({params}) -> (f32[batch, width], f32):\n"
        f"    a = {terms}\n"
        f"    b = g({terms}, dim=1) + h({terms})\n"
        f"    return {terms}, {terms}\n"
        f"fn g({', '.join(f'argument_{i}' for i in range(12))}) = {terms}\n"
    )
    text = assert_faithful(parse(source, "x"))
    assert max(len(line) for line in text.split("\n")) <= WIDTH
    assert "    parameter_0: f32[batch, width],\n    parameter_1" in text
    assert "    a = (\n        parameter_0 * 0.5\n        + parameter_1 * 1.5\n" in text


def test_comments_inside_brackets_move_above() -> None:
    source = (
        "def f(x: f32[n]):\n"
        "    y = g(  # one\n"
        "        x,\n"
        "        # two\n"
        "    )  # three\n"
        "    return y\n"
    )
    text = assert_faithful(parse(source, "x"))
    assert text.split("\n")[1:4] == ["    # one", "    # two", "    y = g(x)  # three"]


@pytest.mark.parametrize(
    "doc",
    [
        'ends in "',
        '"""',
        "'''",
        "two\n\n  rows",
        "  indented\nfirst",
        "a\n  b",
        "",
        "\\",
        '"',
        "x\\\n",
    ],
)
def test_awkward_docstrings(doc: str) -> None:
    from tdsl.dsl.build import clean_doc

    body = s.Return(s.Name("x", BUILTIN), BUILTIN)
    function = s.DefDecl(s.Name("f", BUILTIN), (), None, clean_doc(doc), (body,), BUILTIN)
    assert_faithful(s.Module("", "", None, (function,), BUILTIN))


def test_deep_trees_are_printed() -> None:
    for body in ("x + " * 390 + "x", "-" * 390 + "x", "f(" * 190 + "x" + ")" * 190):
        module = parse(f"fn g(x) = {body}", "x")
        assert parse(format_module(module), "x").declarations  # equality itself would recurse


# --------------------------------------------------------------------------- by property

names = st.sampled_from(["x", "y", "alpha", "w1", "inf", "_t", "a_very_long_name_that_fills_lines"])
name_nodes = names.map(lambda n: s.Name(n, BUILTIN))
numbers = st.sampled_from(["0", "12", "1_000", "0x1F", "2.5", ".5", "3.", "1e-7", "6.02E23"])


def _number(text: str) -> s.Number:
    digits = text.replace("_", "")
    value = int(digits, 0) if digits.isdecimal() or digits[:2] == "0x" else float(digits)
    return s.Number(value, text, BUILTIN)


leaves: st.SearchStrategy[Any] = st.one_of(
    name_nodes,
    numbers.map(_number),
    st.text("ab\"\\'\n\té", max_size=4).map(lambda t: s.Text(t, BUILTIN)),
)


def _grown(e: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    whole = e
    e = st.deferred(lambda: whole)  # has a short repr; hypothesis builds those of all strategies
    items = st.lists(e, max_size=4).map(tuple)
    keywords = st.lists(
        st.builds(s.Keyword, names, e, st.just(BUILTIN), st.just(BUILTIN)),
        max_size=2,
        unique_by=lambda k: k.name,
    ).map(tuple)
    maybe = st.one_of(st.none(), e)
    subscripts = st.one_of(
        e,
        st.builds(s.Slice, maybe, maybe, maybe, st.just(BUILTIN)),
        st.just(s.NewAxis(BUILTIN)),
        st.just(s.Ellipsis_(BUILTIN)),
    )
    span = st.just(BUILTIN)
    comparisons = st.lists(
        st.tuples(st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), e), min_size=1, max_size=3
    )
    return st.one_of(
        st.builds(s.Unary, st.sampled_from(["-", "+", "not"]), e, span),
        st.builds(
            s.Binary,
            st.sampled_from(["+", "-", "*", "/", "//", "%", "**", "@", "and", "or"]),
            e,
            e,
            span,
        ),
        st.builds(
            lambda first, chain: s.Compare(
                first, tuple(o for o, _ in chain), tuple(r for _, r in chain), BUILTIN
            ),
            e,
            comparisons,
        ),
        st.builds(s.Conditional, e, e, e, span),
        st.builds(s.Call, name_nodes, items, keywords, span),
        st.builds(s.Reduce, name_nodes, st.lists(name_nodes, min_size=1).map(tuple), e, span),
        st.builds(s.Subscript, e, st.lists(subscripts, min_size=1).map(tuple), span),
        st.builds(s.TupleExpr, items, span),
    )


_expressions = st.recursive(leaves, _grown, max_leaves=25)
expressions: st.SearchStrategy[Any] = st.deferred(lambda: _expressions)
comment_texts = st.text("ab #é", max_size=6).map(str.rstrip)
comments = st.lists(comment_texts, max_size=2).map(tuple)
remarks = st.one_of(st.none(), comment_texts)


def _noted(node: Any) -> st.SearchStrategy[Any]:
    return st.builds(lambda c, r: replace(node, comments=c, remark=r), comments, remarks)


types = st.builds(
    s.TypeExpr,
    st.just(s.Name("f32", BUILTIN)),
    st.one_of(st.none(), st.lists(expressions, min_size=1, max_size=3).map(tuple)),
    st.just(BUILTIN),
)
ranges = st.builds(s.Range, name_nodes, expressions, expressions, st.just(BUILTIN))
statements = st.one_of(
    st.builds(
        s.Assign,
        st.lists(name_nodes, min_size=1, max_size=3).map(tuple),
        expressions,
        st.just(BUILTIN),
    ),
    st.builds(
        s.Assign,
        name_nodes.map(lambda n: (n,)),
        expressions,
        st.just(BUILTIN),
        st.just(None) | types,
    ),
    st.builds(
        s.IndexAssign,
        name_nodes,
        st.lists(expressions, min_size=1, max_size=3).map(tuple),
        expressions,
        st.lists(ranges, max_size=2).map(tuple),
        st.booleans(),
        st.just(BUILTIN),
    ),
    st.builds(s.Return, expressions, st.just(BUILTIN)),
).flatmap(_noted)
docs = st.one_of(st.none(), st.text("ab \\\"'\n\té", max_size=12))
parameters = st.builds(s.Parameter, names, types, st.just(BUILTIN))
declarations = st.one_of(
    st.builds(s.ConstDecl, name_nodes, expressions, st.just(BUILTIN)).flatmap(_noted),
    st.builds(
        s.FnDecl,
        name_nodes,
        st.lists(st.builds(s.Parameter, names, st.none(), st.just(BUILTIN)), max_size=9).map(tuple),
        expressions,
        st.just(BUILTIN),
    ).flatmap(_noted),
    st.builds(
        s.DefDecl,
        name_nodes,
        st.lists(parameters, max_size=4).map(tuple),
        st.one_of(
            st.none(),
            types,
            st.builds(
                s.TupleType, st.lists(types, min_size=1, max_size=3).map(tuple), st.just(BUILTIN)
            ),
        ),
        st.none(),
        st.lists(statements, min_size=1, max_size=4).map(tuple),
        st.just(BUILTIN),
        trailing=comments,
    ).flatmap(_noted),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(declarations, max_size=3).map(tuple), docs, comments)
def test_printed_trees_parse_back(
    body: tuple[Any, ...], doc: str | None, trailing: tuple[str, ...]
) -> None:
    from tdsl.dsl.build import clean_doc

    doc = None if doc is None or doc.endswith("\\") else clean_doc(doc)
    if doc is not None and (doc.count("\\") or ('"""' in doc and "'''" in doc)):
        doc = None  # no source text has such a docstring
    assert_faithful(s.Module("", "", doc, body, BUILTIN, trailing))
