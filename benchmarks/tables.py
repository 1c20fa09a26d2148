"""A table of the page: what the sections of the suite hand back, and how it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    """Rows of text. `missed` holds the rows (by their first cell) that miss their target: the page
    states a reason for each."""

    title: str
    note: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    missed: Sequence[str] = field(default_factory=list)

    def markdown(self) -> str:
        lines = [f"| {' | '.join(self.header)} |", "|---" * len(self.header) + "|"]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        return "\n".join(lines)

    def text(self) -> str:
        """With the columns aligned, for a terminal."""
        rows = [self.header, *self.rows]
        widths = [max(len(r[k]) for r in rows) for k in range(len(self.header))]
        lines = []
        for row in rows:
            first, *others = [
                cell.ljust(w) if k == 0 else cell.rjust(w)
                for k, (cell, w) in enumerate(zip(row, widths, strict=True))
            ]
            lines.append("  ".join([first, *others]).rstrip())
        return "\n".join(lines)


def to_json(tables: Sequence[Table]) -> str:
    return json.dumps([asdict(t) for t in tables])


def from_json(text: str) -> list[Table]:
    made: list[dict[str, Any]] = json.loads(text)
    return [Table(**t) for t in made]


def milliseconds(seconds: float) -> str:
    """Three digits."""
    ms = 1e3 * seconds
    digits = 2 if ms >= 1 else 3 if ms >= 0.1 else 4 if ms >= 0.01 else 5
    return f"{ms:.{0 if ms >= 100 else 1 if ms >= 10 else digits}f}"


def times(ratio: float) -> str:
    return f"{ratio:.1f}×" if ratio >= 10 else f"{ratio:.2f}×"
