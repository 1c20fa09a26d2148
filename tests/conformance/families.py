"""All families of cases, and the list of the names that they are to show.

In: the modules of this folder, `names.txt`. Out: every case; the listed names, by section.
"""

from __future__ import annotations

from pathlib import Path

from . import (
    arithmetic,
    attributes,
    autograd,
    autograd_functions,
    choosing,
    conversion,
    creation,
    errors,
    indexing,
    inplace,
    layout,
    linear_algebra,
    messages,
    modules,
    nn_functional,
    nodes,
    optimizers,
    pointwise,
    printing,
    promotion,
    randomness,
    reductions,
    saving,
    views,
)
from .case import Case

_NAMES = Path(__file__).with_name("names.txt")
_MODULES = (
    attributes,
    nodes,
    layout,
    creation,
    views,
    indexing,
    inplace,
    pointwise,
    arithmetic,
    promotion,
    reductions,
    linear_algebra,
    choosing,
    nn_functional,
    autograd,
    autograd_functions,
    conversion,
    printing,
    errors,
    messages,
    saving,
    randomness,
    modules,
    optimizers,
)


def cases() -> list[Case]:
    """Every case, in the order of the families."""
    return [case for module in _MODULES for case in module.CASES]


def sections() -> dict[str, list[str]]:
    """The listed names, by section."""
    found: dict[str, list[str]] = {}
    for line in _NAMES.read_text(encoding="utf-8").splitlines():
        if line.startswith("# "):
            section = found.setdefault(line[2:], [])
        else:
            section.extend(line.split())
    return found
