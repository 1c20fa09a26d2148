"""A program as the run time holds it: its text, its imports, and what it declares.

In: a path or a text. Out: a `Source`: signatures and documentation at once (from the disk cache
where the same text with the same imports was read before), the checked graph only when it is
asked for. Left to others: parsing and checking (`dsl`), compiling (`compilation`).
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compiler.interrupts import interrupts_held_back
from ..compiler.records import dataclass
from ..compiler.stages import stage
from ..dsl.source import read_source
from . import cache, collector
from .signature import Signature, from_json, signature_of, to_json
from .stats import counters

if TYPE_CHECKING:
    from ..compiler.graph import Function
    from ..dsl.check import Checked
    from ..dsl.modules import Program


@dataclass(frozen=True)
class Index:
    """What is known of a program without parsing it. `imports` maps every imported file to the
    hash of its content; `warnings` is drawn as text."""

    imports: Mapping[str, str]
    doc: str | None
    signatures: Mapping[str, Signature]
    warnings: tuple[str, ...]

    @property
    def current(self) -> bool:
        """Whether every imported file still has the content that was read."""
        return all(_hash_of_file(path) == known for path, known in self.imports.items())


class Source:
    """One version of a program: `path` (None for a bare text) and `text`."""

    def __init__(self, path: str | None, text: str) -> None:
        """Raises TdslError with every error of the program."""
        self.path, self.text = path, text
        self._lock = threading.RLock()
        self._parsed: tuple[Program, Checked] | None = None
        self.index = self._stored_index() or self._new_index()

    @cached_property
    def digest(self) -> str:
        """A hash of the text and of all that it imports."""
        imports = [f"{p}={h}" for p, h in sorted(self.index.imports.items())]
        return cache.key("program", self.path or "", self.text, *imports)

    @property
    def shown(self) -> str:
        return self.path or "<text>"

    def function(self, name: str) -> Function:
        """The checked graph of a function."""
        found: Function = self.checked.functions[name]
        return found

    @property
    def program(self) -> Program:
        """The program's syntax, with its imports."""
        return self._read()[0]

    @property
    def checked(self) -> Checked:
        """The program, checked."""
        return self._read()[1]

    def _read(self) -> tuple[Program, Checked]:
        """Parse and check, once."""
        with self._lock, collector.paused():
            if self._parsed is None:
                with stage("imports"), interrupts_held_back():
                    from ..dsl.check import check
                    from ..dsl.modules import load_modules

                counters.parses += 1
                path = None if self.path is None else Path(self.path)
                with stage("parse"):
                    program = load_modules(path, self.text)
                with stage("check"):
                    self._parsed = program, check(program)
            return self._parsed

    def _stored_index(self) -> Index | None:
        entry = cache.get(self._index_key)
        if entry is None:
            return None
        try:
            index = _index_from_json(entry.header)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return index if index.current else None

    def _new_index(self) -> Index:
        from ..compiler.errors import render
        from .loading import map_ahead

        map_ahead()
        program, checked = self._read()
        imports = {
            path: _hash(m.source) for path, m in program.modules.items() if m is not program.root
        }
        index = Index(
            imports,
            program.root.doc,
            {name: signature_of(fn) for name, fn in checked.functions.items()},
            tuple(render([w], program.sources) for w in checked.warnings),
        )
        cache.put(self._index_key, _index_to_json(index))
        return index

    @property
    def _index_key(self) -> str:
        # imports are relative to the file, and a relative path to the current directory
        place = os.getcwd() if self.path is None else os.path.abspath(self.path)
        return cache.key("index", self.path or "", place, self.text)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _hash_of_file(path: str) -> str | None:
    from ..compiler.errors import TdslError

    try:
        return _hash(read_source(path))
    except TdslError:
        return None


def _index_to_json(index: Index) -> dict[str, Any]:
    return {
        "imports": dict(index.imports),
        "doc": index.doc,
        "signatures": [to_json(s) for s in index.signatures.values()],
        "warnings": list(index.warnings),
    }


def _index_from_json(data: dict[str, Any]) -> Index:
    signatures: Sequence[Signature] = [from_json(s) for s in data["signatures"]]
    return Index(
        dict(data["imports"]),
        data["doc"],
        {s.name: s for s in signatures},
        tuple(data["warnings"]),
    )
