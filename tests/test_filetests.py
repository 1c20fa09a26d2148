"""File tests: `.tdsl` files that say on the line concerned what the checker is to report.

    # error: E0501 m against n     an error of this code on this line; its text holds the rest
    # warning: W0701 …             a warning, likewise
    # check: d[i] = x[i + 1]       the printed graph of the `def` around it has a line with this
                                   text; several stand in the printed order

Every diagnostic must be expected, and every expectation met. What is printed must read back to
the same text.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tdsl.compiler.errors import Diagnostic, TdslError
from tdsl.compiler.text import function_text
from tdsl.dsl.check import Checked, check
from tdsl.dsl.modules import load_modules

FOLDER = Path(__file__).parent / "filetests"
FILES = sorted(FOLDER.glob("*.tdsl"))
COMMENT = re.compile(r"#\s*(error|warning|check):\s*(.*?)\s*(?=#\s*(?:error|warning|check):|$)")


def expectations(source: str) -> list[tuple[int, str, str]]:
    """(line, kind, text) of every comment that expects something."""
    rows = enumerate(source.split("\n"), 1)
    return [(line, m[1], m[2]) for line, row in rows for m in COMMENT.finditer(row)]


def diagnostics(path: Path) -> tuple[Checked | None, list[Diagnostic]]:
    try:
        checked = check(load_modules(path))
    except TdslError as error:
        return None, list(error.diagnostics)
    return checked, list(checked.warnings)


def shown(d: Diagnostic) -> str:
    return f"{d.message} {d.hint or ''}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_diagnostics_are_those_expected(path: Path) -> None:
    wanted = [e for e in expectations(path.read_text()) if e[1] != "check"]
    _, found = diagnostics(path)
    for line, kind, text in wanted:
        code, _, part = text.partition(" ")
        match = [d for d in found if d.span.line == line and d.code == code and part in shown(d)]
        assert match, f"line {line}: no {kind} {code} with {part!r} among {found}"
        found.remove(match[0])
    assert not found, f"not expected: {found}"


@pytest.mark.parametrize("path", [p for p in FILES if "# check:" in p.read_text()], ids=str)
def test_graphs_print_as_expected(path: Path) -> None:
    checked, _ = diagnostics(path)
    assert checked is not None
    for name, function in checked.functions.items():
        printed = function_text(function)
        rows = iter(printed.split("\n"))
        for line, kind, text in expectations(path.read_text()):
            inside = function.span.line <= line <= function.span.end_line
            if kind == "check" and inside:
                assert any(text in row for row in rows), f"{name}: no {text!r} in\n{printed}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.stem)
def test_printed_graphs_read_back(path: Path) -> None:
    checked, _ = diagnostics(path)
    for name, function in checked.functions.items() if checked is not None else ():
        printed = function_text(function)
        again = check(load_modules(None, printed)).functions[name]
        assert function_text(again) == printed
