"""Runs an LALR(1) automaton: tokens in, what the rules' actions build out.

In: the `Table` that tables.py takes from Lark. Why not Lark's own loop: a line must be undone
when it fails, and with the table cached on disk a warm start need not import Lark at all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..compiler.records import dataclass
from .layout import Token

END = "$END"


@dataclass(frozen=True)
class Rule:
    """`size` symbols on the stack become one `origin`, with the value `action(values)`.

    Values at `inlined` places are lists, spliced in. Without an action the value is the list
    itself, or its only element where the rule `passes_single`.
    """

    origin: str
    size: int
    action: str | None
    inlined: tuple[int, ...]
    passes_single: bool


@dataclass(frozen=True)
class Table:
    """`states[s][symbol]` is the next state (shift, goto) or `~r`, a reduction by `rules[r]`."""

    states: Sequence[Mapping[str, int]]
    rules: Sequence[Rule]
    start: int
    accept: int


Actions = Mapping[str, Callable[[list[Any]], Any]]


class Automaton:
    """One parse in progress."""

    def __init__(self, table: Table, actions: Actions) -> None:
        self.table = table
        self.states = [table.start]
        self.values: list[Any] = []
        self.bound = [None if r.action is None else actions[r.action] for r in table.rules]

    def feed(self, token: Token) -> bool:
        """Take the next token; False if it cannot stand here. `finish` feeds the last."""
        states, rows = self.states, self.table.states
        kind = token.type
        while True:
            step = rows[states[-1]].get(kind)
            if step is None:
                return False
            if step >= 0:
                states.append(step)
                self.values.append(token)
                return True
            self.reduce(~step)

    def finish(self) -> Any:
        """What the start rule built. All tokens must have been fed."""
        while self.states[-1] != self.table.accept:
            self.reduce(~self.table.states[self.states[-1]][END])
        return self.values[-1]

    def reduce(self, number: int) -> None:
        rule = self.table.rules[number]
        size = rule.size
        parts = self.values[len(self.values) - size :]
        if rule.inlined:
            parts = _spliced(parts, rule.inlined)
        action = self.bound[number]
        value: Any = parts
        if action is not None:
            value = action(parts)
        elif rule.passes_single:
            value = parts[0]
        if size:
            del self.states[-size:], self.values[-size:]
        self.states.append(self.table.states[self.states[-1]][rule.origin])
        self.values.append(value)

    # ---------------------------------------------------------------------------- recovery

    def mark(self) -> tuple[list[int], list[Any]]:
        """To come back to with `restore`. Lists of lines that were finished before are shared,
        so that after a `restore` the actions' results may repeat lines: good for finding further
        errors only."""
        return self.states[:], self.values[:]

    def restore(self, mark: tuple[list[int], list[Any]]) -> None:
        self.states, self.values = mark[0][:], mark[1][:]

    def expected(self) -> set[str]:
        """The terminals that could come next. (A row alone says too much: LALR(1) reduces on
        some tokens that turn out not to fit.)"""
        return {t for t in self.table.states[self.states[-1]] if t.isupper() and self.accepts(t)}

    def accepts(self, terminal: str) -> bool:
        stack = self.states[:]
        while True:
            step = self.table.states[stack[-1]].get(terminal)
            if step is None:
                return False
            if step >= 0:
                return True
            rule = self.table.rules[~step]
            if rule.size:
                del stack[-rule.size :]
            stack.append(self.table.states[stack[-1]][rule.origin])


def _spliced(parts: list[Any], inlined: tuple[int, ...]) -> list[Any]:
    # A repetition `many: many item` grows its own list: copying would be quadratic.
    result: list[Any] = parts[0] if inlined[0] == 0 else [parts[0]]
    for i in range(1, len(parts)):
        if i in inlined:
            result += parts[i]
        else:
            result.append(parts[i])
    return result
