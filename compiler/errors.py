"""Diagnostics: what every stage reports, and the exception that carries them to the user.

A stage collects `Diagnostic`s; `TdslError` holds all of them, so that a user sees every error of
a file at once. How they are drawn (source line, caret) is `render`'s business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .records import dataclass
from .span import Span


@dataclass(frozen=True)
class Note:
    """A second place that helps to understand the first ("n was bound here")."""

    message: str
    span: Span


@dataclass(frozen=True)
class Diagnostic:
    """One error or warning.

    `code` is stable (E0101, W0301: see docs/errors/); `message` one sentence with what was
    expected and what came; `hint` how to mend it, where there is a way.
    """

    code: str
    message: str
    span: Span
    hint: str | None = None
    notes: tuple[Note, ...] = ()

    @property
    def is_warning(self) -> bool:
        return self.code.startswith("W")


class OpError(Exception):
    """An operator was applied to what it cannot take; `code` is the diagnostic's."""

    def __init__(self, code: str, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.code, self.message, self.hint = code, message, hint


class TdslError(Exception):
    """The program is wrong. `diagnostics` lists every error found, in source order."""

    def __init__(self, diagnostics: Sequence[Diagnostic], sources: Mapping[str, str]) -> None:
        self.diagnostics = tuple(diagnostics)
        self.sources = dict(sources)
        super().__init__(render(self.diagnostics, self.sources))


def render(
    diagnostics: Sequence[Diagnostic], sources: Mapping[str, str], *, color: bool = False
) -> str:
    """Draw diagnostics: `file:line:col`, the source line, a caret under the guilty text.

    `sources` maps a span's path to the file's text; where it lacks one, no line is drawn.
    Very long lines are cut around the caret.
    """
    return "\n\n".join(_render_one(d, sources, color) for d in diagnostics)


def _render_one(d: Diagnostic, sources: Mapping[str, str], color: bool) -> str:
    kind = "warning" if d.is_warning else "error"
    tint = ("\033[33m" if d.is_warning else "\033[31m") if color else ""
    bold, reset = ("\033[1m", "\033[0m") if color else ("", "")
    lines = [f"{bold}{d.span}: {tint}{kind}[{d.code}]{reset}{bold}: {d.message}{reset}"]
    lines += _excerpt(d.span, sources, tint, reset)
    for note in d.notes:
        lines.append(f"{note.span}: note: {note.message}")
        lines += _excerpt(note.span, sources, "", "")
    if d.hint:
        lines.append(f"  hint: {d.hint}")
    return "\n".join(lines)


_WIDTH = 100  # characters of a source line shown around the caret


def _excerpt(span: Span, sources: Mapping[str, str], tint: str, reset: str) -> list[str]:
    source = sources.get(span.path)
    if source is None:
        return []
    rows = source.split("\n")
    if not 1 <= span.line <= len(rows):
        return []
    row = rows[span.line - 1].rstrip("\r")
    start = span.column - 1
    end = span.end_column - 1 if span.end_line == span.line else len(row)
    end = max(end, start + 1)
    left = max(0, start - _WIDTH // 2) if len(row) > _WIDTH else 0
    shown = row[left : left + _WIDTH]
    pad = "".join("\t" if c == "\t" else " " for c in shown[: start - left])
    marks = "^" * max(1, min(end - left, _WIDTH) - (start - left))
    gutter = f"{span.line:>5} | "
    return [gutter + shown, " " * (len(gutter) - 2) + "| " + pad + tint + marks + reset]
