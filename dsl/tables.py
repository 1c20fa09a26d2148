"""grammar.lark as tables: made by Lark once, kept in the cache directory, loaded on first use.

In: grammar.lark. Out: a `Grammar`: the LALR table for automaton.py and the terminals for the
layout. Lark's import and the table's construction take 200 ms, the cached table 2 ms. The cache is
never needed: where it is absent, stale, damaged or not writable, the table is made again.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import sys
import tempfile
from dataclasses import astuple, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from .automaton import Rule, Table
from .cache_directory import GRAMMAR_PREFIX, cache_directory
from .layout import Terminals

_GRAMMAR = Path(__file__).with_name("grammar.lark")


@dataclass(frozen=True)
class Grammar:
    """`spelling` maps the name of a terminal with a fixed text to that text."""

    table: Table
    terminals: Terminals
    spelling: dict[str, str]


@cache
def grammar() -> Grammar:
    """The language's grammar, once per process."""
    text = _GRAMMAR.read_bytes()
    maker = Path(__file__).read_bytes()  # decides the stored form, as Python's version does
    key = hashlib.sha256(b"\0".join((text, maker, sys.version.encode()))).hexdigest()
    file = cache_directory() / f"{GRAMMAR_PREFIX}{key[:32]}.bin"
    stored = _load(file)
    if stored is None:
        stored = _construct(text.decode("utf-8"))
        _store(file, stored)
    states, rules, start, accept, patterns = stored
    return Grammar(
        Table(states, [Rule(*r) for r in rules], start, accept),
        Terminals.of(patterns),
        {name: value for name, value, is_literal in patterns if is_literal},
    )


Stored = tuple[list[dict[str, int]], list[Any], int, int, list[tuple[str, str, bool]]]


def _construct(text: str) -> Stored:
    from lark import Lark
    from lark.parsers.lalr_analysis import Shift

    # Lark's names are a subclass of str, which marshal refuses. Its lexer is never run.
    lark: Any = Lark(text, parser="lalr", lexer="basic", start="module", maybe_placeholders=False)
    lalr = lark.parser.parser._parse_table
    numbers = {state: i for i, state in enumerate(lalr.states)}
    rules: dict[Any, int] = {}
    states = []
    for row in lalr.states.values():
        steps = {}
        for symbol, (action, target) in row.items():
            if action is Shift:
                steps[str(symbol)] = numbers[target]
            else:
                steps[str(symbol)] = ~rules.setdefault(target, len(rules))
        states.append(steps)
    patterns = [
        (str(t.name), str(t.pattern.value), t.pattern.type == "str") for t in lark.terminals
    ]
    return (
        states,
        [astuple(_rule(r)) for r in rules],
        numbers[lalr.start_states["module"]],
        numbers[lalr.end_states["module"]],
        patterns,
    )


def _rule(rule: Any) -> Rule:
    """Lark's conventions: rules whose name begins with `_` are spliced into the rule that uses
    them, and `?rule` without an alias passes a single part on."""
    origin = str(rule.origin.name)
    inlined = tuple(
        i for i, s in enumerate(rule.expansion) if not s.is_term and s.name.startswith("_")
    )
    passes_single = bool(rule.options.expand1) and not rule.alias and len(rule.expansion) == 1
    has_action = not origin.startswith("_") and not passes_single
    action = str(rule.alias or origin) if has_action else None
    return Rule(origin, len(rule.expansion), action, inlined, passes_single)


def _load(file: Path) -> Stored | None:
    """What was stored; None if nothing intact is there."""
    try:
        data = file.read_bytes()
    except OSError:
        return None
    digest, body = data[:32], data[32:]
    if hashlib.sha256(body).digest() != digest:
        return None
    stored: Stored = marshal.loads(body)
    return stored


def _store(file: Path, stored: Stored) -> None:
    """Write aside and rename: a reader sees all of the file or nothing."""
    body = marshal.dumps(stored)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=file.parent, prefix=".grammar-")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(hashlib.sha256(body).digest() + body)
            os.replace(aside, file)
        except BaseException:
            os.unlink(aside)
            raise
    except OSError:
        pass  # a cache that cannot be written costs time, nothing else
