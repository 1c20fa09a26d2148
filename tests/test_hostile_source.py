"""Text that is no program: every kind must end in a TdslError, quickly, or parse.

In: 10 MB lines, deep nesting, random words, programs with a piece cut out. Which error a common
mistake gives is tested in test_parser.py.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tdsl.compiler.errors import Diagnostic, TdslError
from tdsl.dsl import syntax as s
from tdsl.dsl.parser import MAX_DEPTH, parse

PROGRAM = '''\
"""A docstring."""
from "layers.tdsl" import dense as d, relu          # a remark
const HALF = 0.5

# a comment
fn gelu(x) = HALF * x * (1 + erf(x * 0.7071067811865476))

def loss(x: f32[b, 2*i], y: i64[b], t: f32) -> (f32, f32[b]):
    """Mean
    cross-entropy."""
    out[n, h + 1] = sum[p, q](x[n, h + p] * k[p, q]) for n in 0:b, h in 1:2*i for w in 0:3
    g: f32[b] = 0
    g[y[r]] += z[r, :, None, ..., 1:-1:2]
    (l, u) = (
        l,   # a comment
        u if not t >= 0 else -u ** 2,
    )
    return l, u
'''


def errors(source: str) -> tuple[Diagnostic, ...]:
    with pytest.raises(TdslError) as caught:
        parse(source, "wrong.tdsl")
    return caught.value.diagnostics


def expression(text: str) -> Any:
    (declaration,) = parse(f"const c = {text}", "x").declarations
    assert isinstance(declaration, s.ConstDecl)
    return declaration.value


TEN_MB = 10_000_000
HOSTILE = {
    "garbage line": ("@#$%^&*(" * (TEN_MB // 8), "E0113"),
    "one bad character": ("×" * TEN_MB, "E0101"),
    "long sum": ("const a = " + "1+" * (TEN_MB // 2) + "1", "E0109"),
    "long name": ("a" * TEN_MB, "E0109"),
    "long number": ("const a = " + "9" * TEN_MB, "E0107"),
    "long fraction": ("const a = 0." + "9" * TEN_MB + "x", "E0106"),
    "unterminated string": ('const a = "' + "\\" * TEN_MB, "E0104"),
    "unterminated docstring": ('"""' + "\\a" * (TEN_MB // 2), "E0104"),
    "quotes": ("'" * TEN_MB, "E0109"),
    "open brackets": ("(" * TEN_MB, "E0108"),
    "closing brackets": (")" * TEN_MB, "E0103"),
    "parentheses": ("const a = " + "(" * 5000 + "1" + ")" * 5000, "E0108"),
    "brackets on lines": ("const a = " + "[\n" * 5000, "E0108"),
    "unary minus": ("const a = " + "-" * 5000 + "1", "E0108"),
    "not": ("const a = " + "not " * 5000 + "1", "E0108"),
    "powers": ("const a = " + "2**" * 5000 + "1", "E0108"),
    "sum": ("const a = " + "1+" * 5000 + "1", "E0108"),
    "conditionals": ("const a = " + "1 if 1 else " * 4000 + "1", "E0108"),
    "subscripts": ("const a = b" + "[0]" * 5000, "E0108"),
    "bad lines": ("@#$%\n" * 20_000, "E0113"),
    "unclosed headers": ("def f(x:\n" * 20_000, "E0103"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_is_refused_quickly(name: str) -> None:
    source, code = HOSTILE[name]
    start = time.perf_counter()
    found = errors(source)
    assert found[0].code == code
    assert max(len(d.message) + len(d.hint or "") for d in found) < 300
    assert len(found) <= 51
    assert time.perf_counter() - start < 2


def test_depth_limit_is_exact() -> None:
    # Module and declaration are not counted as levels of the expression; the declaration is.
    parse("const a = " + "-" * (MAX_DEPTH - 2) + "1", "x")
    assert errors("const a = " + "-" * (MAX_DEPTH - 1) + "1")[0].code == "E0108"


def test_wide_is_not_deep() -> None:
    module = parse("fn f(x) = g(" + "x, " * 5000 + "x)\n" + "const a = 1\n" * 5000, "x")
    assert len(module.declarations) == 5001
    assert len(expression("1" + " < 1" * 3000).rest) == 3000


def test_threads_share_the_parser() -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = [m.path for m in pool.map(lambda i: parse(PROGRAM, str(i)), range(8))]
    assert paths == [str(i) for i in range(8)]


WORDS = (
    "def fn const from import return for in if else not and None f x ( ) [ ] : , = += -> ... + - "
    '** 1 2.5 \'a\' """ # @ ! \\ é \t'
)
pieces = st.sampled_from([*WORDS.split(" "), "\n", "\n    ", "\n  ", " ", "\r\n", "\x00"])


@settings(max_examples=300, deadline=None)
@given(st.lists(pieces, max_size=40).map(" ".join))
def test_any_text_parses_or_is_refused(source: str) -> None:
    try:
        module = parse(source, "x")
    except TdslError as error:
        assert all(d.code.startswith("E01") for d in error.diagnostics)
        assert str(error)
    else:
        assert module.source == source


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_mutilated_programs_are_refused_cleanly(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(PROGRAM)))
    length = data.draw(st.integers(0, 12))
    source = PROGRAM[:start] + data.draw(pieces) + PROGRAM[start + length :]
    try:
        parse(source, "x")
    except TdslError as error:
        assert str(error)
