"""Runs every case on PyTorch and writes `recorded.json`: `python -m tests.conformance.record`.

In: the families' cases; PyTorch, on one thread. Out: the file that `tests/test_conformance.py`
compares tdsl with, a line a case: its name, the digest of its text, its outcome. A case that ends
in an error of its own text (a name that does not exist) is refused.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from .case import Case
from .families import cases
from .outcome import outcome

RECORDED = Path(__file__).with_name("recorded.json")
_MISTAKES = {"NameError", "SyntaxError", "AttributeError", "AssertionError", "ImportError"}


def pytorch() -> Any:
    """PyTorch, so that it gives the same on every run."""
    import torch

    torch.set_num_threads(1)
    return torch


def recorded() -> dict[str, tuple[str, Any]]:
    """(digest, outcome) of every case, by its name."""
    lines = json.loads(RECORDED.read_text(encoding="utf-8"))["cases"]
    return {name: (digest, result) for name, digest, result in lines}


def recorded_version() -> str:
    """The version of PyTorch that the record is of."""
    return str(json.loads(RECORDED.read_text(encoding="utf-8"))["pytorch"])


def record(found: list[Case], module: Any) -> list[list[Any]]:
    """A line for each case."""
    return [[case.name, case.digest, outcome(case, module)] for case in found]


def mistakes(lines: list[list[Any]]) -> list[str]:
    """The cases that are wrong in themselves."""
    wrong = [
        f"{name}: {result['error']}: {' '.join(result['message'])}"
        for name, _, result in lines
        if isinstance(result, dict) and result.get("error") in _MISTAKES
    ]
    names = [name for name, _, _ in lines]
    return wrong + [f"{name}: a name twice" for name in {*names} if names.count(name) > 1]


def main() -> None:
    torch = pytorch()
    lines = record(cases(), torch)
    wrong = mistakes(lines)
    if wrong:
        sys.exit("\n".join(wrong))
    version = str(torch.__version__).partition("+")[0]
    text = ",\n".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines)
    RECORDED.write_text(f'{{"pytorch":"{version}","cases":[\n{text}\n]}}\n', encoding="utf-8")
    print(f"{len(lines)} cases, PyTorch {version}")


if __name__ == "__main__":
    main()
