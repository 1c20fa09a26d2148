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
from . import build
from .automaton import Automaton
from .build import RefusalError
from .complaints import misplaced_indentation, missing_body, unexpected
from .layout import MAX_ERRORS, Comment, Line, Token, lay_out
from .syntax import Module
from .tables import Grammar, grammar

MAX_DEPTH = 400  # levels of a syntax tree: later stages recurse over it


def parse(source: str, path: str) -> Module:
    """The syntax tree of `source`; `path` is what messages and spans call the file.

    Raises TdslError with all lexical and syntax errors, in source order.
    """
    if source.startswith("\ufeff"):
        source = source[1:]
    g = grammar()
    layout = lay_out(source, path, g.terminals)
    driver = _Driver(g, path, layout.lines)
    module = driver.run(layout.after, _end_of(source, path))
    diagnostics = layout.diagnostics + driver.diagnostics
    if not diagnostics:
        diagnostics = _too_deep(module, layout.lines)
    if diagnostics:
        raise TdslError(_in_order(diagnostics), {path: source})
    whole = Span(path, 1, 1, module.span.end_line, module.span.end_column)
    return replace(module, path=path, source=source, span=whole)


def _end_of(source: str, path: str) -> Span:
    line = source.count("\n") + 1
    column = len(source) - (source.rfind("\n") + 1) + 1
    return Span(path, line, column, line, column)


def _in_order(diagnostics: list[Diagnostic]) -> list[Diagnostic]:
    ordered = sorted(diagnostics, key=lambda d: (d.span.line, d.span.column))
    if len(ordered) > MAX_ERRORS:
        message = f"there are more errors after the first {MAX_ERRORS}, which are not shown"
        ordered[MAX_ERRORS:] = [Diagnostic("E0119", message, ordered[MAX_ERRORS].span)]
    return ordered


class _Driver:
    """Feeds lines to the automaton. A line is all or nothing: when it fails, the automaton's
    stacks are put back to where they were before it."""

    def __init__(self, g: Grammar, path: str, lines: list[Line]) -> None:
        self.grammar = g
        self.path = path
        self.lines = lines
        self.automaton = Automaton(g.table, vars(build))
        self.indents = [lines[0].indent if lines else ""]  # a file may be indented as a whole
        self.header: Line | None = None  # the `def` line whose body must follow
        self.diagnostics: list[Diagnostic] = []

    def run(self, after: list[Comment], end: Span) -> Module:
        """The module: of no use where a line failed, which `diagnostics` then says."""
        at = 0
        while at < len(self.lines) and len(self.diagnostics) <= MAX_ERRORS:
            line = self.lines[at]
            at += 1
            if not self.indentation(line):
                at = self.skip_deeper(at)
                continue
            mark = self.automaton.mark()
            line.tokens[-1].comments = tuple(c.text for c in line.comments)
            is_def = line.tokens[0].type == "DEF"
            if not line.broken and self.line(line):
                self.header = line if is_def else None
                continue
            self.automaton.restore(mark)
            if is_def and len(self.indents) == 1 and self.deeper(at):
                self.stand_in_header(line.tokens[0].span)  # so that the body is read all the same
                self.header = line
            else:
                at = self.skip_deeper(at)
        self.body_given()
        self.close_blocks(1, after, end)
        self.automaton.feed(Token("EOF", "", end, tuple(c.text for c in after)))
        module: Module = self.automaton.finish()
        return module

    def line(self, line: Line) -> bool:
        """Feed a line's tokens; False where one does not fit, which is then reported."""
        try:
            for i, token in enumerate(line.tokens):
                if not self.automaton.feed(token):
                    expected = self.automaton.expected()
                    spelling, in_body = self.grammar.spelling, len(self.indents) > 1
                    self.diagnostics.append(unexpected(line, i, expected, spelling, in_body))
                    return False
        except RefusalError as refusal:
            self.diagnostics.append(refusal.diagnostic)
            return False
        return True

    # ------------------------------------------------------------------------- indentation

    def indentation(self, line: Line) -> bool:
        """Open or close blocks before `line`; False where it cannot be read as part of one."""
        indent, top = line.indent, self.indents[-1]
        at = _gap_before(line, self.path)
        if " " in indent and "\t" in indent:
            message = "tabs and spaces are mixed in the indentation of this line"
            self.report_indentation(message, at, "indent with spaces only")
            if self.header is None:
                return True  # as a part of the open block
        if self.header is not None and len(indent) > len(top):
            self.header = None
            self.indents.append(indent)
            self.automaton.feed(Token("INDENT", "", at))
            return True
        self.body_given()
        if indent == top:
            return True
        if indent.startswith(top):
            self.diagnostics.append(misplaced_indentation(line, at))
            return False
        if indent in self.indents:
            self.close_blocks(self.indents.index(indent) + 1, line.comments, at)
            return True
        if top.startswith(indent):
            outer = f"by {_width(self.indents[0])}" if self.indents[0] else "not at all"
            hint = f"indent it by {_width(top)}, like the line above, or {outer}"
            message = "the indentation of this line matches no line above it"
            self.report_indentation(message, at, hint)
        else:
            unit, other = ("tabs", "spaces") if "\t" in indent else ("spaces", "tabs")
            message = f"this line is indented with {unit}, the lines above with {other}"
            self.report_indentation(message, at, f"indent it with {other} too")
        return True

    def body_given(self) -> None:
        """Where a `def` line waits for its body and none comes: report it and supply one."""
        header, self.header = self.header, None
        if header is None:
            return
        self.diagnostics.append(missing_body(header))
        span = header.tokens[0].span
        self.automaton.feed(Token("INDENT", "", span))
        self.automaton.feed(Token("DEDENT", "", span))

    def close_blocks(self, depth: int, comments: list[Comment], at: Span) -> None:
        """Close blocks until `depth` are open. Comments still indented like the block's lines
        belong to its end."""
        while len(self.indents) > depth:
            self.indents.pop()
            outer = len(self.indents[-1])
            inner = 0
            while inner < len(comments) and comments[inner].column > outer + 1:
                inner += 1
            trailing = tuple(c.text for c in comments[:inner])
            del comments[:inner]
            self.automaton.feed(Token("DEDENT", "", at, trailing))

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
            self.automaton.feed(Token(kind, text, span))


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
