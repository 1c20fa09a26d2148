"""Writes docs/conformance.md: for every listed name, its cases, and how many of them agree.

In: the names, the cases, the known differences. Out: the page's text. `tests/test_conformance.py`
runs the cases, so a case that is not a known difference agrees, and the page need not run them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .case import Case

HEAD = """# Conformance with PyTorch

Every attribute, method and function of the Tensor, and the cases that compare it with PyTorch
{version}: values, gradients of first and second order, dtypes, shapes, strides, flags, the class
names of `grad_fn`, and the class of every error. {agree} of {cases} cases agree.

A case is a few lines that run on both. `tests/conformance/recorded.json` holds what PyTorch gave,
so the tests need no PyTorch. Floats agree within 1e-10 (float64) or 1e-5 (float32), relative;
integers, booleans, printed forms and everything else exactly. An error agrees if the first of its
classes that Python itself defines is the same: the one that an `except` would name. Random numbers
are compared by their properties only.

    pytest tests/test_conformance.py                  # tdsl against the record
    python -m tests.conformance.run 'views/*'         # the same, by name, with every difference
    python -m tests.conformance.record                # the record, made again (needs PyTorch)
    pytest -m slow tests/test_conformance.py          # PyTorch against the record
    pytest tests/test_conformance.py --update-golden  # this page"""

TAIL = """
## Differences

"""


def page(
    sections: Mapping[str, list[str]],
    cases: list[Case],
    reasons: Mapping[str, str],
    version: str,
) -> str:
    """The whole page. A case counts under every name that it shows, once in the total."""
    agree = sum(case.name not in reasons for case in cases)
    lines = [HEAD.format(version=version, agree=agree, cases=len(cases))]
    for section, names in sections.items():
        lines.append(f"\n## {section}\n\n| name | cases | agree | differs in |\n|---|---|---|---|")
        lines += [_row(name, cases, reasons) for name in names]
    return "\n".join([*lines, TAIL + "\n".join(_differences(cases, reasons))]) + "\n"


def _row(name: str, cases: list[Case], reasons: Mapping[str, str]) -> str:
    shown = [case.name for case in cases if name in case.shows]
    told = [reasons[case] for case in shown if case in reasons]
    note = "; ".join(dict.fromkeys(told))
    return f"| `{name}` | {len(shown)} | {len(shown) - len(told)} | {note} |"


def _differences(cases: list[Case], reasons: Mapping[str, str]) -> Iterator[str]:
    differing = [case for case in cases if case.name in reasons]
    if not differing:
        yield "None."
        return
    yield "| case | code | reason |\n|---|---|---|"
    for case in differing:
        code = "; ".join(line.strip() for line in case.text.splitlines()).replace("|", "\\|")
        yield f"| {case.name} | `{code}` | {reasons[case.name]} |"
