"""The examples of the README and of the page on Tensors print what stands below them, and the
files that the pages name exist."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = pytest.mark.parametrize("page", ["README.md", "docs/tensor.md"])


@PAGES
def test_the_example_prints_what_stands_below_it(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.search(r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```", text, re.DOTALL)
    assert found, f"{page} has no example followed by its output"
    program, expected = found.groups()
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.rstrip() == expected.rstrip()


@PAGES
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8"))
    assert links
    assert not [link for link in links if not (path.parent / link).exists()]


def test_nothing_is_left_to_fill_in() -> None:
    assert "FILL" not in README
