"""docs/operators.md lists the operator table as it is (`pytest --update-golden` rewrites it)."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest
from tdsl.compiler.ops import INDEX_REDUCERS, PRIMITIVES_BY_NAME, ROWS
from tdsl.compiler.primitives import PRIMITIVES

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operators.md"

HEAD = """# Operators

Names and arguments are PyTorch's. `dim` is an int, a tuple of ints or absent (all dims); sizes are
expressions in the dims of the signature. Elementwise operators broadcast. The infix forms stand in
[the language](language.md); the reducers of index notation are {reducers}.

This page is made from the operator table (`compiler/ops.py`) and a test keeps it so.
"""


def signature_text(name: str) -> str:
    parts = []
    for p in ROWS[name].signature.parameters.values():
        default = "" if p.default is inspect.Parameter.empty else f"={p.default}"
        parts.append(p.name + default)
    return f"{name}({', '.join(parts)})"


def page() -> str:
    out = [HEAD.format(reducers=", ".join(f"`{r}`" for r in INDEX_REDUCERS))]
    out.append("## Primitives\n\n| operator | derivative, in x, y and the value `out` |\n|---|---|")
    for name in sorted(PRIMITIVES_BY_NAME):
        partials = ", ".join(PRIMITIVES[PRIMITIVES_BY_NAME[name]].derivative)
        out.append(f"| `{signature_text(name)}` | `{partials}` |")
    out.append("\n## Elementwise\n\n| operator | formula |\n|---|---|")
    rows = [(n, r) for n, r in sorted(ROWS.items()) if n not in PRIMITIVES_BY_NAME]
    for name, row in rows:
        text = getattr(row, "text", None)
        if text:
            out.append(f"| `{signature_text(name)}` | `{text}` |")
    out.append("\n## Views, reductions, products, layers and losses\n")
    for name, row in rows:
        if not getattr(row, "text", None):
            doc = inspect.getdoc(row.build) or ""
            told = f": {' '.join(doc.split())}" if doc else ""
            out.append(f"- `{signature_text(name)}`{told}")
    return "\n".join(out) + "\n"


def test_the_page_lists_the_table(request: pytest.FixtureRequest) -> None:
    text = page()
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text
