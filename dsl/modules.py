"""A file and all that it imports: `load_modules`.

In: a path or a text. Out: a `Program`, the parsed modules with every import resolved to a file
and every imported name found there; or a `TdslError` with the errors of all files. What the
names stand for is the checker's business.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ..compiler.errors import Diagnostic, Note, TdslError
from ..compiler.records import dataclass, field
from .parser import parse
from .source import check_length, read_source
from .suggest import did_you_mean
from .syntax import ConstDecl, DefDecl, FnDecl, Import, Module

MAX_IMPORT_DEPTH = 100
TEXT_PATH = "<text>"  # what messages call a text that came from no file


@dataclass(frozen=True)
class Program:
    """A root module and what it imports, directly or not.

    `modules` is keyed by resolved path and ordered so that imported modules stand before their
    importers; the root is the last. `imports` maps (path of the importing module, path as
    written there) to the key of the imported module.
    """

    root: Module
    modules: Mapping[str, Module]
    imports: Mapping[tuple[str, str], str]

    def imported(self, importer: Module, statement: Import) -> Module:
        """The module that an import statement of `importer` means."""
        return self.modules[self.imports[importer.path, statement.path.value]]

    @property
    def sources(self) -> dict[str, str]:
        """The text of every file by the path that spans carry, for `errors.render`."""
        return {m.path: m.source for m in self.modules.values()}


def load_modules(path: Path | None, text: str | None = None) -> Program:
    """Parse a program from the file at `path`, or from `text`.

    A `text` is called `path` in messages where both are given; without a path its imports are
    relative to the current directory. Raises TdslError with all errors of all files: those of
    `read_source` and `parse`, import cycles (E0207), imported names that do not exist (E0208) and
    chains of imports longer than 100 files (E0209).
    """
    if path is None and text is None:
        raise TypeError("load_modules needs a path or a text")
    shown = TEXT_PATH if path is None else os.fspath(path)
    loading = _Loading()
    key = TEXT_PATH if path is None else _resolve(shown)
    if text is None:
        text = read_source(shown)
    else:
        check_length(text, shown)
    root = loading.load(key, shown, text)
    if root is None or loading.diagnostics:
        raise TdslError(loading.diagnostics, loading.sources)
    return Program(root, loading.modules, loading.imports)


def _resolve(path: str) -> str:
    return os.path.realpath(path)


@dataclass
class _Loading:
    """Depth-first over the imports. `stack` holds the files being loaded, each with the import
    statement that it is at."""

    modules: dict[str, Module] = field(default_factory=dict)
    imports: dict[tuple[str, str], str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    stack: list[tuple[str, str, Import | None]] = field(default_factory=list)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    def load(self, key: str, shown: str, text: str) -> Module | None:
        self.sources[shown] = text
        try:
            module = parse(text, shown)
        except TdslError as error:
            self.diagnostics += error.diagnostics
            self.failed.add(key)
            return None
        for statement in module.declarations:
            if isinstance(statement, Import):
                self.stack.append((key, shown, statement))
                target = self.follow(shown, statement)
                self.stack.pop()
                if target is not None:
                    self.check_names(statement, target)
        self.modules[key] = module
        return module

    def follow(self, importer: str, statement: Import) -> Module | None:
        """The module that `statement` names; None where that failed, which has been reported."""
        folder = "" if importer == TEXT_PATH else os.path.dirname(importer)
        written = statement.path
        shown = os.path.normpath(os.path.join(folder, written.value)) if written.value else ""
        key = _resolve(shown) if "\0" not in shown else shown
        self.imports[importer, written.value] = key
        if key in self.modules:
            return self.modules[key]
        if key in self.failed:
            return None
        at = [k for k, _, _ in self.stack]
        if key in at:
            self.cycle(at.index(key), statement)
            return None
        if len(self.stack) >= MAX_IMPORT_DEPTH:
            message = f"imports are nested too deeply: the limit is {MAX_IMPORT_DEPTH} files"
            self.diagnostics.append(Diagnostic("E0209", message, written.span))
            return None
        try:
            text = read_source(shown)
        except TdslError as error:
            # At the import, where the user can mend it; a bad byte's own place as a note.
            self.failed.add(key)
            for d in error.diagnostics:
                notes = () if d.code in ("E0201", "E0202") else (Note("in this file", d.span),)
                hint = self.other_file(shown) if d.code == "E0201" else d.hint
                self.diagnostics.append(Diagnostic(d.code, d.message, written.span, hint, notes))
            return None
        return self.load(key, shown, text)

    def other_file(self, shown: str) -> str | None:
        """A file beside the missing one whose name is alike."""
        folder, name = os.path.split(shown)
        try:
            beside = [n for n in os.listdir(folder or ".") if n.endswith(".tdsl")]
        except OSError:
            return f"there is no directory `{folder}`"
        near = f"{name}.tdsl" if f"{name}.tdsl" in beside else did_you_mean(name, beside)
        if near is None:
            return "the path is relative to the file that imports it"
        return f"did you mean `{near}`?"

    def cycle(self, start: int, statement: Import) -> None:
        members = self.stack[start:]
        names = [shown for _, shown, _ in members]
        path = " → ".join(f"`{n}`" for n in [*names, names[0]])
        notes = tuple(
            Note(f"`{shown}` imports `{after}`", via.path.span)
            for (_, shown, via), after in zip(members[:-1], names[1:], strict=True)
            if via is not None
        )
        message = (
            f"`{names[0]}` imports itself"
            if len(names) == 1
            else f"these files import each other in a cycle: {path}"
        )
        hint = "move what both need into a third file"
        self.diagnostics.append(
            Diagnostic("E0207", message, statement.path.span, hint if notes else None, notes)
        )

    def check_names(self, statement: Import, target: Module) -> None:
        declared = {
            d.name.id for d in target.declarations if isinstance(d, ConstDecl | FnDecl | DefDecl)
        }
        passed_on = {
            item.alias: (d.path.value, item.name)
            for d in target.declarations
            if isinstance(d, Import)
            for item in d.items
        }
        for item in statement.items:
            if item.name in declared:
                continue
            message = f"`{target.path}` declares no `{item.name}`"
            near = did_you_mean(item.name, declared)
            hint = None if near is None else f"did you mean `{near}`?"
            if item.name in passed_on:
                file, original = passed_on[item.name]
                hint = f'it imports `{original}` from "{file}": import it from there'
            elif near is None and not declared:
                hint = "that file declares nothing"
            self.diagnostics.append(Diagnostic("E0208", message, item.span, hint))
