"""The parser of grammar.lark, built once per process when the first file is parsed.

In: grammar.lark. Out: Lark's LALR automaton, with the functions of build.py as its actions, and
the terminals for the layout.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from .layout import Terminals


@dataclass(frozen=True)
class Grammar:
    lark: Any
    terminals: Terminals
    spelling: dict[str, str]  # literal terminals: name to text


@cache
def grammar() -> Grammar:
    """Not at import: Lark's import and the table's construction cost more than most files do."""
    from lark import Lark
    from lark.lexer import Lexer

    from . import build

    class NoLexer(Lexer):
        """Tokens come from layout.py; Lark asks for a lexer all the same."""

        def __init__(self, lexer_conf: object) -> None:
            pass

        def lex(self, lexer_state: object, parser_state: object) -> Iterator[Any]:
            return iter(())

    text = resources.files(__package__).joinpath("grammar.lark").read_text("utf-8")
    lark = Lark(
        text,
        parser="lalr",
        lexer=NoLexer,
        start="module",
        keep_all_tokens=True,
        maybe_placeholders=False,
        transformer=build,
    )
    patterns = [(t.name, t.pattern.value, t.pattern.type == "str") for t in lark.terminals]
    spelling = {name: value for name, value, is_literal in patterns if is_literal}
    return Grammar(lark, Terminals.of(patterns), spelling)
