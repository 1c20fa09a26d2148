"""docs/: its programs compile, and its links lead somewhere. (The pages of error codes have their
tests in test_check.py, the README in test_readme.py.)"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tdsl

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_programs_compile(page: Path) -> None:
    for text in re.findall(r"```tdsl\n(.*?)```", page.read_text(), re.S):
        assert list(tdsl.compile(text, ROOT / "examples" / "documented.tdsl"))


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "README.md", ROOT / "docs" / "errors" / "README.md"],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`(?!\])", "", page.read_text(), flags=re.S)
    links = re.findall(r"\]\(([^)#\s]+)", text)
    missing = [k for k in links if "://" not in k and not (page.parent / k).exists()]
    assert not missing
