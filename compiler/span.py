"""Where a piece of the user's text stands. Every tree and graph node carries one."""

from __future__ import annotations

from .records import dataclass


@dataclass(frozen=True)
class Span:
    """Lines and columns count from 1; `end_column` is one past the last character."""

    path: str
    line: int
    column: int
    end_line: int
    end_column: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}"


BUILTIN = Span("<tdsl>", 1, 1, 1, 1)
