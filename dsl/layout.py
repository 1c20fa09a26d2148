"""Text to logical lines: tokens, brackets, comments and indentation.

In: a file's text and the grammar's terminals. Out: one `Line` per logical line (one that goes on
inside brackets is one line), each with its tokens, its indentation and the comments that belong
to it; and a diagnostic for every lexical error. What the tokens mean together is the parser's
business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from ..compiler.errors import Diagnostic, Note
from ..compiler.records import dataclass, field
from ..compiler.span import Span
from .characters import foreign_operator, unknown_character

MAX_BRACKETS = 200  # brackets open at once
MAX_TOKENS = 20_000  # tokens in one logical line
MAX_NAME = 200  # characters of one name
MAX_ERRORS_PER_LINE = 5
MAX_ERRORS = 50  # in a file

# Every hard keyword of Python that the grammar does not use itself.
_PYTHON_ONLY = (
    "assert async await break class continue del elif except finally global is lambda nonlocal "
    "pass raise try while with yield"
)
RESERVED = frozenset(_PYTHON_ONLY.split())
# These can only begin a line; inside an open bracket they show that it was never closed.
_LINE_STARTERS = frozenset(("def", "fn", "const", "return"))
_CLOSERS = {")": "(", "]": "["}


@dataclass(slots=True)
class Token:
    """`type` is a terminal of the grammar. NEWLINE, DEDENT and EOF also carry comments: those above
    the line (of a DEDENT or EOF: after the block's last line), and the one at its end."""

    type: str
    text: str
    span: Span
    comments: tuple[str, ...] = ()
    remark: str | None = None


@dataclass(frozen=True)
class Comment:
    text: str
    column: int
    line: int


@dataclass
class Line:
    """`indent` is the white space before the first token; the last token is the NEWLINE. `broken`
    lines had a lexical error that has been reported."""

    indent: str
    tokens: list[Token]
    comments: list[Comment] = field(default_factory=list)
    broken: bool = False


@dataclass(frozen=True)
class Layout:
    """`after` are the comments below the last line."""

    lines: list[Line]
    after: list[Comment]
    diagnostics: list[Diagnostic]


@dataclass(frozen=True)
class Terminals:
    """What the grammar's terminals look like: patterns by name, and names by literal text."""

    master: re.Pattern[str]
    literals: Mapping[str, str]

    @classmethod
    def of(cls, patterns: Iterable[tuple[str, str, bool]]) -> Terminals:
        """From (name, pattern or literal, is it a literal?) of every terminal of the grammar."""
        regexes = {}
        literals = {}
        for name, text, is_literal in patterns:
            if is_literal:
                literals[text] = name
            else:
                regexes[name] = text
        symbols = sorted((t for t in literals if not t[0].isalpha()), key=len, reverse=True)
        order = ("NAME", "NUMBER", "LONG_STRING", "STRING")
        parts = [
            r"(?P<SPACE>[ \t]+)",
            r"(?P<COMMENT>#[^\n]*)",
            r"(?P<END>(?>(?:\r?\n)+))",
            *(f"(?P<{name}>{regexes[name]})" for name in order),
            f"(?P<SYMBOL>{'|'.join(re.escape(s) for s in symbols)})",
        ]
        return cls(re.compile("|".join(parts)), literals)


def lay_out(source: str, path: str, terminals: Terminals) -> Layout:
    """Split `source` into logical lines. Never raises on bad text: errors come as diagnostics."""
    return _Scanner(source, path, terminals).run()


# After a number: what shows that the number goes on wrongly (`1__0`, `0b1`, `1.2.3`, `3x`).
_NUMBER_TAIL = re.compile(r"[A-Za-z0-9_.]*[A-Za-z0-9_]")
_INDENT = re.compile(r"[ \t]*")


class _Scanner:
    """One pass over the text. State: where we are, the open brackets, the line being built."""

    def __init__(self, source: str, path: str, terminals: Terminals) -> None:
        self.source = source
        self.path = path
        self.terminals = terminals
        self.row = 1
        self.row_start = 0  # offset at which the current physical line starts
        self.lines: list[Line] = []
        self.diagnostics: list[Diagnostic] = []
        self.pending: list[Comment] = []  # comment lines above the line to come
        self.open: list[Token] = []
        self.tokens: list[Token] = []
        self.indent = ""
        self.broken = False
        self.errors_in_line = 0

    def run(self) -> Layout:
        source, match_at, literals = (
            self.source,
            self.terminals.master.match,
            self.terminals.literals,
        )
        at, end = 0, len(self.source)
        while at < end and len(self.diagnostics) <= MAX_ERRORS:
            m = match_at(source, at)
            if m is None:
                at = self.unknown(at)
                continue
            kind, start, at = m.lastgroup or "", at, m.end()
            if kind == "SPACE":
                continue
            if kind == "END":
                self.end_of_row(start)
                rows = m.group().count("\n")
                self.row += rows
                self.row_start = at
            elif kind == "COMMENT":
                self.comment(m.group(), start)
            elif len(self.tokens) >= MAX_TOKENS:
                at = self.too_long(start)
            elif kind == "NAME":
                text = m.group()
                if at - start > MAX_NAME:
                    self.name_too_long(start, at)
                    continue
                if self.open and text in _LINE_STARTERS and self.is_first_in_row(start):
                    self.unclosed(start)
                name = literals.get(text) or ("RESERVED" if text in RESERVED else "NAME")
                self.token(name, text, start, at)
            elif kind == "SYMBOL":
                at = self.symbol(m.group(), start, at)
            elif kind == "NUMBER":
                tail = _NUMBER_TAIL.match(source, at)
                if tail is not None:
                    at = self.malformed_number(start, tail.end())
                else:
                    self.token("NUMBER", m.group(), start, at)
            else:
                self.string(kind, m.group(), start, at)
        if self.open and at >= end:
            self.unclosed(end)
        self.end_of_row(end)
        return Layout(self.lines, self.pending, self.diagnostics)

    # ------------------------------------------------------------------------------- tokens

    def span(self, start: int, end: int) -> Span:
        """Of text within the current physical line."""
        first = self.row_start
        return Span(self.path, self.row, start - first + 1, self.row, end - first + 1)

    def token(self, kind: str, text: str, start: int, end: int) -> None:
        if not self.tokens:
            self.begin(start)
        self.tokens.append(Token(kind, text, self.span(start, end)))

    def begin(self, start: int) -> None:
        m = _INDENT.match(self.source, self.row_start)
        self.indent = m.group() if m else ""

    def symbol(self, text: str, start: int, end: int) -> int:
        after = self.foreign(start)
        if after is not None:
            return after
        self.token(self.terminals.literals[text], text, start, end)
        if text in "([":
            self.open.append(self.tokens[-1])
            if len(self.open) > MAX_BRACKETS:
                message = f"brackets nested too deeply: the limit is {MAX_BRACKETS}"
                hint = "compute inner parts first and give them names"
                self.error("E0108", message, start, end, hint)
                return self.skip_statement(end)
        elif text in _CLOSERS:
            self.close(text, start, end)
        return end

    def close(self, text: str, start: int, end: int) -> None:
        if not self.open:
            self.error("E0103", f"`{text}` closes a bracket that was never opened", start, end)
            return
        opener = self.open.pop()
        if opener.text != _CLOSERS[text]:
            wanted = ")" if opener.text == "(" else "]"
            message = f"expected `{wanted}` to close `{opener.text}`, but found `{text}`"
            note = Note(f"`{opener.text}` was opened here", opener.span)
            self.error("E0103", message, start, end, notes=(note,))

    def string(self, kind: str, text: str, start: int, end: int) -> None:
        if not self.tokens:
            self.begin(start)
        line, column = self.row, start - self.row_start + 1
        newlines = text.count("\n")
        if newlines:
            self.row += newlines
            self.row_start = start + text.rfind("\n") + 1
        span = Span(self.path, line, column, self.row, end - self.row_start + 1)
        self.tokens.append(Token(kind, text, span))

    def comment(self, text: str, start: int) -> None:
        text = text[1:].rstrip()
        self.pending.append(Comment(text.removeprefix(" "), start - self.row_start + 1, self.row))

    # -------------------------------------------------------------------------------- lines

    def end_of_row(self, at: int) -> None:
        """A physical line ends; outside brackets the logical line ends with it."""
        if self.open or not (self.tokens or self.broken):
            return
        remark = None
        if self.pending and self.pending[-1].line == self.row:
            remark = self.pending.pop().text
        newline = Token("NEWLINE", "", self.span(at, at), remark=remark)
        tokens = [*self.tokens, newline]
        self.lines.append(Line(self.indent, tokens, self.pending, self.broken))
        self.tokens, self.pending = [], []
        self.broken = False
        self.errors_in_line = 0

    def is_first_in_row(self, at: int) -> bool:
        return not self.source[self.row_start : at].strip()

    def skip_row(self, at: int) -> int:
        end = self.source.find("\n", at)
        return len(self.source) if end < 0 else end

    def skip_statement(self, at: int) -> int:
        """Give this logical line up: forget its brackets and go on at the next row that is
        indented no deeper than its first."""
        self.open.clear()
        self.errors_in_line = MAX_ERRORS_PER_LINE
        depth = len(self.indent)
        at = self.skip_row(at)
        while at < len(self.source):
            row_start = at + 1
            end = self.skip_row(row_start)
            row = self.source[row_start:end]
            if row.strip() and len(row) - len(row.lstrip()) <= depth and row.strip()[0] not in ")]":
                break
            self.row += 1
            self.row_start = row_start
            at = end
        return at

    # ------------------------------------------------------------------------------- errors

    def error(
        self,
        code: str,
        message: str,
        start: int,
        end: int,
        hint: str | None = None,
        notes: tuple[Note, ...] = (),
    ) -> None:
        if not self.tokens and not self.broken:
            self.begin(start)
        self.broken = True
        self.errors_in_line += 1
        if self.errors_in_line <= MAX_ERRORS_PER_LINE:
            self.diagnostics.append(Diagnostic(code, message, self.span(start, end), hint, notes))

    def unknown(self, at: int) -> int:
        """Text that no token matches: a string without its end, or a character we do not know."""
        source = self.source
        if source[at] in "\"'":
            return self.unterminated_string(at)
        end = self.foreign(at)
        if end is None:
            run = re.compile(re.escape(source[at]) + "+").match(source, at)
            end = run.end() if run else at + 1
            message, hint = unknown_character(source[at])
            self.error("E0101", message, at, end, hint)
        if self.errors_in_line > MAX_ERRORS_PER_LINE:
            return self.skip_row(end)
        return end

    def foreign(self, at: int) -> int | None:
        """Where an operator of another language stands: report it and return its end."""
        found = foreign_operator(self.source, at)
        if found is None:
            return None
        spelled, hint = found
        end = at + len(spelled)
        self.error("E0102", f"`{spelled}` is not an operator of the language", at, end, hint)
        return end

    def unterminated_string(self, at: int) -> int:
        quote = self.source[at : at + 3]
        if quote in ('"""', "'''"):
            message = f"this string is never closed: no {quote} follows"
            self.error("E0104", message, at, at + 3)
            self.open.clear()
            return len(self.source)
        end = self.skip_row(at)
        if self.source[end - 1] == "\r":
            end -= 1
        message = f"this string is never closed: no {quote[0]} before the end of the line"
        hint = "a text of several lines stands between triple quotes"
        self.error("E0104", message, at, end, hint)
        self.open.clear()  # the quote that is missing took their closing brackets along
        return end

    def malformed_number(self, start: int, end: int) -> int:
        text = self.source[start:end]
        shown = text if len(text) <= 30 else text[:30] + "…"
        hint = None
        if text[-1] in "jJ":
            hint = "complex numbers are not supported yet"
        elif text[:2].lower() in ("0b", "0o"):
            hint = "write the number in decimal, or in hexadecimal as 0x1f"
        elif "_" in text:
            hint = "`_` may stand between two digits only"
        elif text.count(".") > 1:
            hint = "a number has one decimal point"
        else:
            name = text.lstrip("0123456789._")
            if name and text[: -len(name)] and len(text) <= 30:
                hint = f"to multiply, write `{text[: -len(name)]} * {name}`"
        self.error("E0106", f"`{shown}` is not a number", start, end, hint)
        return end

    def name_too_long(self, start: int, end: int) -> None:
        message = f"a name of {end - start:,} characters is too long: the limit is {MAX_NAME}"
        self.error("E0109", message, start, end)

    def too_long(self, at: int) -> int:
        message = f"this statement is too long: the limit is {MAX_TOKENS:,} tokens"
        first = self.tokens[0].span
        note = Note("the statement starts here", first)
        hint = "compute parts of it first and give them names"
        self.error("E0109", message, at, at + 1, hint, (note,))
        return self.skip_statement(at)

    def unclosed(self, at: int) -> None:
        """The text went on as if the innermost bracket had been closed: end the line before it."""
        opener = self.open[-1]
        closer = ")" if opener.text == "(" else "]"
        self.open.clear()
        self.broken = True
        message = f"`{opener.text}` is never closed"
        hint = f"put `{closer}` where it should end"
        self.diagnostics.append(Diagnostic("E0103", message, opener.span, hint))
        self.end_of_row(min(at, self.row_start))
