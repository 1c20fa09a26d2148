"""The Tensor agrees with PyTorch, case by case; docs/conformance.md says where.

The cases stand in `tests/conformance/`, what PyTorch gave in `recorded.json` there. PyTorch itself
is needed by one slow test only, which runs it against the record.
"""

from __future__ import annotations

from math import nan
from pathlib import Path
from typing import Any

import pytest
import tdsl

from .conformance.agreement import differences
from .conformance.case import Case
from .conformance.families import cases, sections
from .conformance.known import reasons
from .conformance.outcome import outcome
from .conformance.page import page
from .conformance.record import pytorch, recorded, recorded_version

PAGE = Path(__file__).resolve().parent.parent / "docs" / "conformance.md"
CASES = cases()
RECORD = recorded()
REASONS = reasons()


def marked(case: Case) -> pytest.ParameterSet:
    """The case as a parameter, expected to fail if it is a known difference."""
    reason = REASONS.get(case.name)
    marks = [pytest.mark.xfail(reason=reason, strict=True)] if reason else []
    return pytest.param(case, id=case.name, marks=marks)


@pytest.mark.parametrize("case", [marked(case) for case in CASES])
def test_agrees_with_pytorch(case: Case) -> None:
    told = differences(outcome(case, tdsl), RECORD[case.name][1], case)
    assert not told, "\n".join([case.text, *told])


def test_the_record_is_of_these_cases() -> None:
    """Otherwise `python -m tests.conformance.record` is due."""
    assert {c.name: c.digest for c in CASES} == {n: digest for n, (digest, _) in RECORD.items()}


def test_every_listed_name_has_cases() -> None:
    listed = [name for names in sections().values() for name in names]
    shown = [name for case in CASES for name in case.shows]
    assert len(listed) == len({*listed})
    assert not {*shown} - {*listed}, "shown, but not in names.txt"
    assert not [name for name in listed if shown.count(name) < 2]


@pytest.mark.parametrize(
    "changed",
    [
        {"tensor": "float32"},
        {"shape": [1, 2]},
        {"requires_grad": True},
        {"is_leaf": False},
        {"stride": [2]},
        {"grad_fn": "MulBackward0"},
        {"values": [1.0, 2.0 + 1e-6]},
        {"values": [1.0, nan]},
        {"values": [1.0]},
        {"values": [1, 2]},
    ],
    ids=str,
)
def test_what_differs_is_seen(changed: dict[str, Any]) -> None:
    case = Case("family/topic/1", ("view",), "", strides=True, nodes=True)
    given = {
        "tensor": "float64",
        "shape": [2],
        "stride": [1],
        "requires_grad": False,
        "is_leaf": True,
        "grad_fn": None,
        "values": [1.0, 2.0],
    }
    assert not differences({"tuple": [given]}, {"tuple": [given]}, case)
    assert differences({"tuple": [given | changed]}, {"tuple": [given]}, case)
    assert differences({"error": "ValueError", "message": [""]}, given, case)
    assert differences(given, {"error": "ValueError", "message": [""]}, case)


def test_known_differences_are_cases() -> None:
    assert not REASONS.keys() - RECORD.keys()
    assert all(REASONS.values())


def test_the_page_is_current(request: pytest.FixtureRequest) -> None:
    text = page(sections(), CASES, REASONS, recorded_version())
    if request.config.getoption("--update-golden"):
        PAGE.write_text(text, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == text


@pytest.mark.slow
def test_pytorch_agrees_with_the_record() -> None:
    pytest.importorskip("torch", reason="needs PyTorch, which wrote the record")
    torch = pytorch()
    told = {c.name: differences(outcome(c, torch), RECORD[c.name][1], c) for c in CASES}
    assert not {name: lines for name, lines in told.items() if lines}
