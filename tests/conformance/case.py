"""A conformance case: a few lines of Python that mean the same to PyTorch and to tdsl.

In: tables of snippets, by topic. Out: `Case`s, named `family/topic/number`. A snippet sees the
module under test as `T` (and what `environment` adds); its last line, if an expression, is
the case's result. A topic is a name from `names.txt`; `"topic: name name"` shows other names.
Numbers count within a topic: add new snippets at its end, for `known.py` refers to them.
Running a case is left to `outcome`, the tables to the modules that `families` lists.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

#: One snippet a line, or a list of snippets of any length.
Snippets = str | Iterable[str]
Table = Mapping[str, Snippets]


@dataclass(frozen=True)
class Case:
    """One snippet, what it shows, and which optional properties of its result count."""

    name: str  # family/topic/number
    shows: tuple[str, ...]  # names from names.txt
    text: str
    strides: bool  # the strides of the tensors in the result are compared
    nodes: bool  # the class names of their grad_fn are compared

    @property
    def digest(self) -> str:
        """Tells a record of this text from a record of an older one."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:8]


def blocks(text: str) -> list[str]:
    """Snippets of several lines, separated by blank lines."""
    return [block.strip("\n") for block in textwrap.dedent(text).split("\n\n") if block.strip()]


def family(
    name: str, *tables: Table, strides: bool = False, nodes: bool = False
) -> tuple[Case, ...]:
    """The cases of several tables; topics that stand in more than one are counted on."""
    count: dict[str, int] = {}
    return tuple(
        Case(f"{name}/{topic}/{number}", shows, text, strides, nodes)
        for table in tables
        for topic, shows, text, number in _numbered(table, count)
    )


def _numbered(
    table: Table, count: dict[str, int]
) -> Iterator[tuple[str, tuple[str, ...], str, int]]:
    for key, snippets in table.items():
        topic, _, names = key.partition(":")
        shows = tuple(names.split()) or (topic,)
        topic = topic.replace(" ", "-")
        for text in _texts(snippets):
            count[topic] = count.get(topic, 0) + 1
            yield topic, shows, text, count[topic]


def _texts(snippets: Snippets) -> Iterator[str]:
    if isinstance(snippets, str):
        yield from (line.strip() for line in snippets.splitlines() if line.strip())
    else:
        yield from snippets
