"""Source text to the syntax tree: `parse`.

In: a file's text. Out: a `Module`, or a `TdslError` with every syntax error that was found. The
layout gives logical lines; this file turns their indentation into blocks, feeds them to the LALR
automaton and, where a line is wrong, reports it and goes on at the next line of the same or a
lower indentation. What an error means in words stands in complaints.py; names and types are the
checker's.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from ..compiler.errors import Diagnostic, TdslError
from ..compiler.span import Span
from .build import Refusal
from .complaints import misplaced_indentation, missing_body, unexpected
from .layout import Comment, Line, Token, lay_out
from .syntax import Module
from .tables import Grammar, grammar

MAX_DEPTH = 400  # levels of a syntax tree: later stages recurse over it
MAX_ERRORS = 50


def parse(source: str, path: str) -> Module:
    """The syntax tree of `source`; `path` is what messages and spans call the file.

    Raises TdslError with all lexical and syntax errors, in source order.
    """
    if source.startswith("\ufeff"):
        source = source[1:]
    g = grammar()
    layout = lay_out(source, path, g.terminals)
    driver = _Driver(g, path, layout.lines)
    driver.diagnostics += layout.diagnostics
    module = driver.run(layout.after, _end_of(source, path))
    if module is not None:
        driver.diagnostics += _too_deep(module, layout.lines)
    if module is None or driver.diagnostics:
        raise TdslError(_in_order(driver.diagnostics), {path: source})
    whole = Span(path, 1, 1, module.span.end_line, module.span.end_column)
    return replace(module, path=path, source=source, span=whole)


def _end_of(source: str, path: str) -> Span:
    line = source.count("\n") + 1
    column = len(source) - (source.rfind("\n") + 1) + 1
    return Span(path, line, column, line, column)


def _in_order(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    ordered = sorted(diagnostics, key=lambda d: (d.span.line, d.span.column))
    if len(ordered) > MAX_ERRORS:
        last = ordered[MAX_ERRORS - 1]
        message = f"{len(ordered) - MAX_ERRORS} more errors are not shown"
        ordered = [*ordered[:MAX_ERRORS], Diagnostic("E0119", message, last.span)]
    return ordered


class _Driver:
    """Feeds lines to the automaton. A line is all or nothing: when it fails, the automaton's
    stacks are put back to where they were before it."""

    def __init__(self, g: Grammar, path: str, lines: list[Line]) -> None:
        self.grammar = g
        self.path = path
        self.lines = lines
        self.interactive = g.lark.parse_interactive()
        self.state = self.interactive.parser_state
        self.indents = [lines[0].indent if lines else ""]  # a file may be indented as a whole
        self.header: Line | None = None  # the `def` line whose body must follow
        self.diagnostics: list[Diagnostic] = []

    def run(self, after: list[Comment], end: Span) -> Module | None:
        """The module; None where a line failed (its diagnostics say so)."""
        from lark import UnexpectedToken

        failed = False
        at = 0
        while at < len(self.lines):
            line = self.lines[at]
            at += 1
            start = line.tokens[0].span
            if not self.indentation(line):
                failed = True
                at = self.skip_deeper(at)
                continue
            stacks = list(self.state.state_stack), list(self.state.value_stack)
            line.tokens[-1].comments = tuple(c.text for c in line.comments)
            fed = 0
            try:
                if not line.broken:
                    for token in line.tokens:
                        self.state.feed_token(token)
                        fed += 1
                    if line.tokens[0].type == "DEF":
                        self.header = line
                    continue
            except UnexpectedToken:
                expected = self.interactive.accepts()
                self.diagnostics.append(
                    unexpected(line, fed, expected, self.grammar.spelling, len(self.indents) > 1)
                )
            except Refusal as refusal:
                self.diagnostics.append(refusal.diagnostic)
            failed = True
            self.state.state_stack[:], self.state.value_stack[:] = stacks
            if line.tokens[0].type == "DEF" and len(self.indents) == 1 and self.deeper(at):
                self.stand_in_header(start)  # so that the body is read all the same
                self.header = line
            else:
                at = self.skip_deeper(at)
        failed |= not self.close_blocks(1, after, end)
        self.state.feed_token(Token("EOF", "", end, tuple(c.text for c in after)))
        module: Module = self.state.feed_token(Token("$END", "", end), True)
        return None if failed else module

    # ------------------------------------------------------------------------- indentation

    def indentation(self, line: Line) -> bool:
        """Open or close blocks before `line`; False where its indentation is an error."""
        indent, top = line.indent, self.indents[-1]
        at = _gap_before(line, self.path)
        if " " in indent and "\t" in indent:
            self.report_indentation(
                "tabs and spaces are mixed in the indentation of this line",
                at,
                "indent with spaces only",
            )
            return False
        if indent == top:
            return self.body_given(line)
        if indent.startswith(top):
            if self.header is not None:
                self.header = None
                self.indents.append(indent)
                self.state.feed_token(Token("INDENT", "", at))
                return True
            self.diagnostics.append(misplaced_indentation(line, at))
            return False
        if not self.body_given(line):
            return False
        if not top.startswith(indent):
            unit = "tabs" if "\t" in indent else "spaces"
            other = "spaces" if unit == "tabs" else "tabs"
            self.report_indentation(
                f"this line is indented with {unit}, the lines above with {other}", at
            )
            return False
        if indent not in self.indents:
            known = "nothing" if len(self.indents[0]) == 0 else "the file's first line"
            self.report_indentation(
                "the indentation of this line matches no line above it",
                at,
                f"indent it like the body above ({_width(top)}) or like {known}",
            )
            return False
        depth = self.indents.index(indent) + 1
        return self.close_blocks(depth, line.comments, at)

    def body_given(self, line: Line) -> bool:
        """Where a `def` line waits for its body and none comes: report it and supply one."""
        header, self.header = self.header, None
        if header is None:
            return True
        if not header.broken:
            self.diagnostics.append(missing_body(header))
        span = header.tokens[0].span
        self.state.feed_token(Token("INDENT", "", span))
        self.state.feed_token(Token("DEDENT", "", span))
        return True

    def close_blocks(self, depth: int, comments: list[Comment], at: Span) -> bool:
        """Close blocks until `depth` are open. Comments still indented like the block's lines
        belong to its end."""
        ok = True
        if self.header is not None:
            ok = False
            self.body_given(self.header)
        while len(self.indents) > depth:
            self.indents.pop()
            outer = len(self.indents[-1])
            inner = 0
            while inner < len(comments) and comments[inner].column > outer + 1:
                inner += 1
            trailing = tuple(c.text for c in comments[:inner])
            del comments[:inner]
            self.state.feed_token(Token("DEDENT", "", at, trailing))
        return ok

    def report_indentation(self, message: str, at: Span, hint: str | None = None) -> None:
        self.diagnostics.append(Diagnostic("E0105", message, at, hint))

    # ---------------------------------------------------------------------------- recovery

    def deeper(self, at: int) -> bool:
        """Is the line at `at` indented deeper than the open block?"""
        return at < len(self.lines) and len(self.lines[at].indent) > len(self.indents[-1])

    def skip_deeper(self, at: int) -> int:
        while self.deeper(at):
            at += 1
        return at

    def stand_in_header(self, span: Span) -> None:
        words = (("DEF", "def"), ("NAME", "_"), ("LPAR", "("), ("RPAR", ")"), ("COLON", ":"))
        for kind, text in (*words, ("NEWLINE", "")):
            self.state.feed_token(Token(kind, text, span))


def _gap_before(line: Line, path: str) -> Span:
    """The white space before a line's first token."""
    first = line.tokens[0].span
    return Span(path, first.line, 1, first.line, max(2, len(line.indent) + 1))


def _width(indent: str) -> str:
    unit = "tab" if indent.startswith("\t") else "space"
    return f"{len(indent)} {unit}{'s' if len(indent) != 1 else ''}"


# ------------------------------------------------------------------------------- nesting


def _too_deep(module: Module, lines: list[Line]) -> list[Diagnostic]:
    """One error for every declaration whose tree has more than MAX_DEPTH levels."""
    if all(len(line.tokens) <= MAX_DEPTH for line in lines):
        return []  # a level takes at least one token
    found = []
    for declaration in module.declarations:
        stack: list[tuple[Any, int]] = [(declaration, 1)]
        while stack:
            node, depth = stack.pop()
            if depth > MAX_DEPTH:
                message = f"this expression is nested too deeply: the limit is {MAX_DEPTH} levels"
                hint = "compute parts of it first and give them names"
                found.append(Diagnostic("E0108", message, node.span, hint))
                break
            for f in fields(node):
                value = getattr(node, f.name)
                for child in value if isinstance(value, tuple) else (value,):
                    if hasattr(child, "span"):
                        stack.append((child, depth + 1))
    return found
