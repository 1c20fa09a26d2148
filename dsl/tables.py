"""grammar.lark as tables: made by Lark, shipped beside it, loaded on first use.

In: grammar.lark and grammar_tables.json. Out: a `Grammar`: the LALR table for automaton.py and the
terminals for the layout. Lark's import and the table's construction take 200 ms, reading the table
2 ms. Where the grammar is another than the one that the file was made from, Lark makes the table
anew, in every process, until `pytest --update-golden` has written the file again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple
from functools import cache
from pathlib import Path
from typing import Any

from ..compiler.records import dataclass
from .automaton import Rule, Table
from .layout import Terminals

_GRAMMAR = Path(__file__).with_name("grammar.lark")
SHIPPED = Path(__file__).with_name("grammar_tables.json")


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
    stored = json.loads(SHIPPED.read_bytes())
    if stored["grammar"] != hashlib.sha256(text).hexdigest():
        stored = construct(text)
    return Grammar(
        Table(
            stored["states"],
            [Rule(o, size, act, tuple(at), single) for o, size, act, at, single in stored["rules"]],
            stored["start"],
            stored["accept"],
        ),
        Terminals.of(stored["terminals"]),
        {name: value for name, value, is_literal in stored["terminals"] if is_literal},
    )


def shipped_text() -> str:
    """What grammar_tables.json must hold: a line for every state, rule and terminal."""
    parts = []
    for name, value in construct(_GRAMMAR.read_bytes()).items():
        text = json.dumps(value)
        if isinstance(value, list):
            text = "[\n" + ",\n".join(json.dumps(row) for row in value) + "\n]"
        parts.append(f'"{name}": {text}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


# --------------------------------------------------------------------------- by Lark


def construct(text: bytes) -> dict[str, Any]:
    """The tables of a grammar. Lark numbers its states anew in every process; here they are
    numbered in the order in which they are reached, a state's symbols by name."""
    from lark import Lark
    from lark.parsers.lalr_analysis import Shift

    # Lark's lexer is never run.
    grammar: Any = Lark(
        text.decode("utf-8"),
        parser="lalr",
        lexer="basic",
        start="module",
        maybe_placeholders=False,
    )
    lalr = grammar.parser.parser._parse_table
    steps = {state: sorted(row.items()) for state, row in lalr.states.items()}
    reductions = {rule for row in steps.values() for _, (act, rule) in row if act is not Shift}
    rules = {rule: k for k, rule in enumerate(sorted(reductions, key=_content))}
    start = lalr.start_states["module"]
    numbers = {start: 0}
    order = [start]
    for state in order:  # which grows
        for _, (action, target) in steps[state]:
            if action is Shift and target not in numbers:
                numbers[target] = len(order)
                order.append(target)
    states = [
        {
            str(symbol): numbers[target] if action is Shift else ~rules[target]
            for symbol, (action, target) in steps[state]
        }
        for state in order
    ]
    return {
        "grammar": hashlib.sha256(text).hexdigest(),
        "start": numbers[start],
        "accept": numbers[lalr.end_states["module"]],
        "states": states,
        "rules": [astuple(_rule(r)) for r in rules],
        "terminals": [
            (str(t.name), str(t.pattern.value), t.pattern.type == "str")
            for t in sorted(grammar.terminals, key=lambda t: t.name)
        ],
    }


def _content(rule: Any) -> tuple[Any, ...]:
    return str(rule.origin.name), [str(s.name) for s in rule.expansion], str(rule.alias)


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
