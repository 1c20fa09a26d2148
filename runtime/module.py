"""`tdsl.load` and `tdsl.compile`: a program as an object with its functions for attributes.

In: a path or a text. Out: a `Module`. A program is read anew when its file, or one that it
imports, has other content than before; its functions are compiled when they are first called.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from typing import IO, Any

from ..dsl.source import read_source
from ..dsl.suggest import did_you_mean
from .function import Function
from .source import Source


class TdslWarning(UserWarning):
    """The program is right but probably not what was meant."""


class Module:
    """A loaded program: `module.loss` is its function `loss`; iterating yields the names."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._lock = threading.Lock()
        self.__doc__ = source.index.doc
        self.__name__ = os.path.splitext(os.path.basename(source.shown))[0]

    @property
    def __file__(self) -> str | None:
        """Where the program stands; None for a text without a path."""
        return self._source.path

    @property
    def source(self) -> str:
        """The program's text."""
        return self._source.text

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the checker remarked, drawn as text."""
        return self._source.index.warnings

    def __getattr__(self, name: str) -> Function:
        if name not in self._source.index.signatures:
            raise AttributeError(self._absent(name), name=name, obj=self)
        with self._lock:
            # an attribute of its own from now on: found without coming here
            made: Function = self.__dict__.setdefault(name, Function(self._source, name))
            return made

    def __getitem__(self, name: str) -> Function:
        """The function of any name, also one like `source` that an attribute hides."""
        if not isinstance(name, str):
            raise TypeError(f"a function is named by a string, not {type(name).__name__}")
        if name not in self._source.index.signatures:
            raise KeyError(self._absent(name))
        return self.__getattr__(name)

    def _absent(self, name: str) -> str:
        signatures = self._source.index.signatures
        near = did_you_mean(name, signatures)
        known = ", ".join(signatures) or "none"
        hint = f"did you mean {near!r}?" if near else f"functions: {known}"
        return f"{self._source.shown} has no function {name!r}; {hint}"

    def __iter__(self) -> Iterator[str]:
        return iter(self._source.index.signatures)

    def __contains__(self, name: object) -> bool:
        return name in self._source.index.signatures

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._source.index.signatures})

    def __repr__(self) -> str:
        lines = [f"<tdsl module {self._source.shown}>"]
        lines += [
            f"  {str(s).removeprefix('def ')}" for s in self._source.index.signatures.values()
        ]
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return module_of, (self._source.path, self._source.text)


def load(f: str | os.PathLike[str] | IO[bytes], map_location: Any = None, **options: Any) -> Any:
    """The program in a file, as a `Module`; or the object that `save` wrote there. What the file
    begins with tells which; `f` is a path or a binary file object.

    A path to a program that was loaded before gives the same Module, unless the file or one of its
    imports has changed. `map_location` and `weights_only` are for saved objects
    (`saving.load_saved`). Raises TdslError with every error of a program, a missing file included;
    EOFError and RuntimeError for an empty and a damaged file of `save`.
    """
    shown = os.fspath(f) if isinstance(f, os.PathLike) else f
    if not isinstance(shown, str) and not hasattr(shown, "read"):
        raise TypeError(f"a path is a string or a Path, not {type(f).__name__}")
    if not (isinstance(shown, str) and shown.endswith(".tdsl")):
        from .saving import is_saved, load_saved

        if is_saved(shown):
            return load_saved(shown, map_location, **options)
    if map_location is not None or options:
        raise ValueError(f"{', '.join(options) or 'map_location'}: for files that save wrote")
    if isinstance(shown, str):
        return module_of(shown, read_source(shown))
    content = shown.read()
    try:
        text = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError:
        raise RuntimeError("neither a program nor a file that save wrote") from None
    return module_of(getattr(f, "name", None), text)


def compile(text: str, path: str | os.PathLike[str] | None = None) -> Module:
    """The program in `text`; `path` is what messages call it and what its imports are relative to
    (the current directory without one). Raises TdslError with every error of the program."""
    if not isinstance(text, str):
        raise TypeError(f"a program is a string, not {type(text).__name__}; `load` reads a file")
    return module_of(None if path is None else os.fspath(path), text)


_loaded: dict[tuple[str | None, str, str], Module] = {}
_loaded_lock = threading.Lock()
_KEPT = 256  # modules kept for reuse


def module_of(path: str | None, text: str) -> Module:
    """The Module of this version of a program: the one made before, or a new one."""
    key = (path, text, os.getcwd())
    with _loaded_lock:
        found = _loaded.get(key)
    if found is not None and found._source.index.current:
        return found
    module = Module(Source(path, text))
    for warning in module.warnings:
        warnings.warn("\n" + warning, TdslWarning, stacklevel=3)
    with _loaded_lock:
        while len(_loaded) >= _KEPT:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = module
    return module
