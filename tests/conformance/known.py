"""Where tdsl differs from PyTorch, and why. Each case named here is expected to fail: one that
agrees again is an error until its name is taken out."""

from __future__ import annotations

#: reason: the names of the cases, separated by spaces.
DIFFERENCES: dict[str, str] = {}


def reasons() -> dict[str, str]:
    """The reason for each case that differs."""
    return {name: reason for reason, names in DIFFERENCES.items() for name in names.split()}
