"""Programs that are wrong, or strange but right, as a user meets them: from Python and the CLI.

In: bytes of a file, by family: encodings and layout; names; literals; arguments of built-in
functions; sizes and depth. Out: the code that is reported, and where; never a traceback, never a
wait. Every kind of syntax error has its test in test_parser.py, every page of docs/errors in
test_check.py; 10 MB texts are in test_hostile_source.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.dsl import tables
from tdsl.runtime.cli import main

F = "def f(x: f64[n]) -> f64:\n    return "


def squares(depth: int) -> str:
    """Scalar functions of which each calls the one before twice."""
    rows = ["fn f0(x) = sin(x)"]
    rows += [f"fn f{k}(x) = f{k - 1}(x) * f{k - 1}(x + {k})" for k in range(1, depth)]
    return "\n".join(rows) + "\n"


def chain(depth: int) -> str:
    rows = ["fn f0(x) = sin(x)", *(f"fn f{k}(x) = f{k - 1}(x) + 1" for k in range(1, depth))]
    return "\n".join(rows) + "\n"


BAD = {
    "UTF-16": (F.encode("utf-16"), "E0203", "1:1"),
    "Latin-1": (b"# caf\xe9\n" + F.encode() + b"sum(x)\n", "E0203", "1:6"),
    "NUL": (F.encode() + b"sum(x)\0\n", "E0204", "2:18"),
    "CR alone": (F.encode().replace(b"\n", b"\r") + b"sum(x)\r", "E0101", "1:25"),
    "tabs after spaces": (F.encode() + b"sum(x)\n\ty = x\n", "E0105", "3:1"),
    "minus sign": ((F + "sum(x − 1)\n").encode(), "E0101", "2:18"),
    "10 MB": (b"# " + b"a" * 10_000_000, "E0206", "1:1"),
    "many lines": (b"#\n" * 200_000, "E0206", "1:1"),
    "5,000 parentheses": ((F + "(" * 5000 + "1" + ")" * 5000).encode(), "E0108", None),
    "5,000 calls": ((F + "exp(" * 5000 + "1" + ")" * 5000).encode(), "E0108", None),
    "declared twice": ((F + "sum(x)\n").encode() * 2, "E0302", "3:5"),
    "parameter twice": (b"def f(x: f64, x: f64) -> f64:\n    return x\n", "E0302", "1:15"),
    "itself": (b"def f(x: f64) -> f64:\n    return f(x)\n", "E0310", "2:12"),
    "shape": (b"def f(x: f64[n], y: f64[m]):\n    return x + y\n", "E0501", "2:12"),
    "dtype": (b"def f(x: f64[n]) -> i64[n]:\n    return x\n", "E0404", "2:12"),
    "two extents": (
        b"def f(x: f64[n], y: f64[m]):\n    z[i] = x[i] + y[i]\n    return z\n",
        "E0506",
        "2:21",
    ),
    "integer power": ((F + "sum(x) * 2**-1\n").encode(), "E0309", "2:21"),
    "large power": ((F + "sum(x) * 10**20\n").encode(), "E0309", "2:21"),
    "power tower": ((F + "sum(x) * 9**9**9**9\n").encode(), "E0309", "2:24"),
    "large product": ((F + "sum(x) * (2**40 * 2**40)\n").encode(), "E0309", "2:21"),
    "2**63": (b"const A = 2**63\n", "E0309", "1:11"),
    "literal beyond i32": (b"def f(k: i32[n]):\n    return k + 99999999999\n", "E0407", "2:16"),
    "compared beyond u8": (b"def f(k: u8[n]):\n    return 0 <= k < 256\n", "E0407", "2:21"),
    "negative for u8": (b"def f(k: u8[n]):\n    return k if k > 3 else -1\n", "E0407", "2:28"),
    "dims twice": ((F + "sum(sum(x[:, None], dim=(0, -2)))\n").encode(), "E0502", "2:36"),
    "permute by one": ((F + "sum(permute(x[:, None], 1))\n").encode(), "E0502", "2:16"),
    "pad by one": ((F + "sum(pad(x, 1))\n").encode(), "E0503", "2:16"),
    "70 dims": ((F + f"sum(x[{'None, ' * 70}0])\n").encode(), "E0517", None),
    "70 declared dims": (f"def f(x: f64[{'1, ' * 69}1]):\n    return 1\n".encode(), "E0517", "1:7"),
    "negative dim": (b"def f(x: f64[n, -3]) -> f64:\n    return sum(x)\n", "E0516", "1:17"),
    "exponential": (squares(30).encode(), "E0609", None),
    "deep functions": (chain(3000).encode(), "E0609", None),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_programs(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, code, place = BAD[name]
    path = tmp_path / "bad.tdsl"
    path.write_bytes(data)
    start = time.perf_counter()
    assert main(["check", str(path)]) == 1
    assert time.perf_counter() - start < 2
    err = capsys.readouterr().err
    with pytest.raises(tdsl.TdslError) as caught:
        tdsl.load(path)
    text = str(caught.value)
    first = caught.value.diagnostics[0]
    assert first.code == code
    assert place is None or f"{first.span.line}:{first.span.column}" == place
    assert text in err and "Traceback" not in err
    assert code in ("E0203", "E0204", "E0206") or "^" in text
    if len(data) < 10_000 and name not in ("UTF-16", "Latin-1", "NUL"):
        with pytest.raises(tdsl.TdslError, match=code):
            tdsl.compile(data.decode())


@pytest.mark.parametrize("text", ["", "\n", "# a remark\n", '"""A text."""\n', "\ufeff"])
def test_a_program_may_be_empty(text: str, tmp_path: Path) -> None:
    path = tmp_path / "empty.tdsl"
    path.write_text(text, encoding="utf-8")
    assert main(["check", str(path)]) == 0
    assert list(tdsl.load(path)) == []


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + F + "sum(x)\n",
        (F + "sum(x)\n").replace("\n", "\r\n"),
        (F + "sum(x)\n").replace("    ", "\t"),
        F + "sum(x)",
        '"""A "docstring" with \\""" in it."""\n' + F + "sum(x)\n",
        squares(8) + F + "sum(x)\n",
        chain(60) + F + "sum(x)\n",
    ],
    ids=["BOM", "CR LF", "tabs", "no newline", "quotes", "calls", "chain"],
)
def test_strange_but_right(text: str) -> None:
    assert tdsl.compile(text).f(np.arange(4.0)) == 6.0


def test_literals_are_exact() -> None:
    m = tdsl.compile(
        "def f(x: f64):\n    return x * 2**62, x * (-7 // 2), x * (-7 % 3), x * 10.0**20\n"
    )
    assert m.f(1.0) == (2.0**62, -4.0, 2.0, 1e20)


def test_missing_and_circular_imports(tmp_path: Path) -> None:
    def errors(**files: str) -> list[str]:
        for name, text in files.items():
            (tmp_path / f"{name}.tdsl").write_text(text)
        with pytest.raises(tdsl.TdslError) as caught:
            tdsl.load(tmp_path / f"{next(iter(files))}.tdsl")
        return [d.code for d in caught.value.diagnostics]

    assert errors(
        a=f'from "b.tdsl" import g\n{F}1\n', b='from "a.tdsl" import f\nconst g = 1\n'
    ) == ["E0207"]
    assert errors(c='from "c.tdsl" import f\n') == ["E0207"]
    assert errors(d='from "absent.tdsl" import f\n') == ["E0201"]
    assert errors(e='from "." import f\n') == ["E0202"]
    assert errors(g='from "h.tdsl" import nothing\n', h="const A = 1\n") == ["E0208"]


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        ("power(x, 2)", "`pow`"),
        ("fabs(x)", "`abs`"),
        ("sum(x, axis=0)", "`dim`"),
        ("int(x)", "`i64`"),
        ("smu(x)", "`sum`"),
    ],
)
def test_names_of_other_systems_are_understood(call: str, hint: str) -> None:
    with pytest.raises(tdsl.TdslError, match=f"did you mean {hint}"):
        tdsl.compile(F + call + "\n")


def test_unreadable_paths() -> None:
    for path in ("", ".", "absent.tdsl", "a\0b"):
        with pytest.raises(tdsl.TdslError, match=r"E020[125]"):
            tdsl.load(path)
    for wrong in (None, b"x", 3):
        with pytest.raises(TypeError, match="a path is a string"):
            tdsl.load(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="a program is a string"):
            tdsl.compile(wrong)  # type: ignore[arg-type]


def test_no_pattern_relies_on_possessive_groups_around_a_lookahead() -> None:
    # Python 3.11.0 to 3.11.3 never match them: no docstring could be read there
    def parts(tree: Any, possessive: bool) -> Iterator[bool]:
        for operation, argument in tree:
            kind = str(operation)
            yield possessive and kind in ("ASSERT", "ASSERT_NOT")
            inner = possessive or kind == "POSSESSIVE_REPEAT"
            for branch in argument[1] if kind == "BRANCH" else (argument,):
                for part in branch if isinstance(branch, tuple) else (branch,):
                    if isinstance(part, re._parser.SubPattern):  # type: ignore[attr-defined]
                        yield from parts(part, inner)

    def relies(pattern: str) -> bool:
        return any(parts(re._parser.parse(pattern), False))  # type: ignore[attr-defined]

    assert relies('a(?:b|"(?!c))*+') and not relies('a(?>(?:"(?!c)[^d]*+)*)')
    terminals = tables.construct(tables._GRAMMAR.read_bytes())["terminals"]
    assert not any(relies(pattern) for _, pattern, is_literal in terminals if not is_literal)
