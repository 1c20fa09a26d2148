"""Values of the command line: `--arg x=data.npy` and its kin, to arguments of a function.

In: texts such as `x=data.npz:images`, `lr=0.1`, `w=random`. Out: arrays and numbers; or a
`UsageError` that says what is wrong with the text. Whether they fit is decided by the call.
"""

from __future__ import annotations

import ast
import os
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..dsl.suggest import did_you_mean
from .random_inputs import NoInputsError, Style, choose_sizes, draw
from .signature import Signature


class UsageError(Exception):
    """The command line is wrong; the text says how."""


def assignments(texts: Sequence[str], option: str) -> dict[str, str]:
    """`name=value` texts as a dict."""
    out: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or not value:
            raise UsageError(f"{option} {text!r}: expected name=value")
        if name in out:
            raise UsageError(f"{option}: {name} is given twice")
        out[name] = value
    return out


def sizes(texts: Sequence[str]) -> dict[str, int]:
    """The sizes that `--dim` states."""
    out: dict[str, int] = {}
    for name, text in assignments(texts, "--dim").items():
        if not (text.isascii() and text.isdecimal()):
            raise UsageError(f"--dim {name}={text}: a size is a whole number")
        out[name] = int(text)
    return out


def arguments(
    s: Signature, given: Mapping[str, str], sizes: Mapping[str, int], seed: int
) -> dict[str, Any]:
    """The arguments that `--arg`, `--dim` and `--seed` describe.

    Files and literals come first; the sizes that they settle, and those of `--dim`, are those of
    the random ones.
    """
    names = {p.name: p for p in s.params}
    for name in given:
        if name not in names:
            near = did_you_mean(name, names)
            hint = f"; did you mean {near}?" if near else f" (it has {', '.join(names)})"
            raise UsageError(f"{s.name} has no parameter {name}{hint}")
    missing = [n for n in names if n not in given]
    if missing:
        raise UsageError(f"no --arg for {', '.join(missing)}: {s}")
    strange = sizes.keys() - _names(s)
    if strange:
        raise UsageError(f"{s.name} has no dim {', '.join(sorted(strange))}: {s}")
    values = {n: value_of(n, text) for n, text in given.items() if text != "random"}
    drawn = [names[n] for n, text in given.items() if text == "random"]
    if drawn:
        env = _known_sizes(s, values, sizes)
        wanted = {d for p in drawn for size in p.shape for d in size.names}
        if wanted - env.keys():
            lacking = sorted(wanted - env.keys())
            raise UsageError(
                f"random needs the size of {', '.join(lacking)}: "
                + " ".join(f"--dim {d}=…" for d in lacking)
            )
        rng = np.random.default_rng(seed)
        bound = min(env.values(), default=2)
        try:
            choose_sizes(s, {**env, **dict.fromkeys(_names(s) - env.keys(), 1)})
            for p in drawn:
                values[p.name] = draw(p, env, rng, Style(False, bound))
        except NoInputsError as reason:
            raise UsageError(str(reason)) from None
    return values


def _names(s: Signature) -> set[str]:
    return {n for p in s.params for d in p.shape for n in d.names}


def _known_sizes(
    s: Signature, values: Mapping[str, Any], sizes: Mapping[str, int]
) -> dict[str, int]:
    """`--dim`, and the plain dims of the arguments that are there."""
    env = dict(sizes)
    for p in s.params:
        if p.name in values and np.ndim(values[p.name]) == len(p.shape):
            for d, size in zip(p.shape, np.shape(values[p.name]), strict=True):
                if str(d) in d.names:
                    env.setdefault(str(d), size)
    return env


def value_of(name: str, text: str) -> Any:
    """A file's content (`.npy`, `.npz:key`, `.csv`) or a literal (a number or nested lists)."""
    path, colon, key = text.rpartition(":")
    if colon and path.endswith(".npz"):
        return _from_npz(name, path, key)
    suffix = Path(text).suffix.lower()
    if suffix == ".npz":
        return _from_npz(name, text, name)
    if suffix == ".npy":
        return _read(name, text, lambda: np.load(text, allow_pickle=False))
    if suffix == ".csv":
        return _from_csv(name, text)
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        words = {"inf": np.inf, "-inf": -np.inf, "nan": np.nan, "true": True, "false": False}
        if text.lower() not in words:
            raise UsageError(
                f"--arg {name}={text}: expected a .npy, .npz or .csv file, `random`, a number or "
                f"a nested list"
            ) from None
        value = words[text.lower()]
    if not isinstance(value, bool | int | float | list | tuple):
        raise UsageError(f"--arg {name}={text}: a {type(value).__name__} is not a number")
    return value


def _read(name: str, path: str, read: Any) -> Any:
    try:
        return read()
    except FileNotFoundError:
        raise UsageError(f"--arg {name}: there is no file {path}") from None
    except UnicodeDecodeError:
        raise UsageError(f"--arg {name}: {path} is not UTF-8 text") from None
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"--arg {name}: {path} cannot be read: {error}") from None


def _from_npz(name: str, path: str, key: str) -> Any:
    def read() -> Any:
        if os.path.isfile(path) and not zipfile.is_zipfile(path):
            raise ValueError("it is not a .npz archive")
        with np.load(path, allow_pickle=False) as data:
            if key not in data:
                near = did_you_mean(key, data.files)
                hint = f"; did you mean {near}?" if near else f" (keys: {', '.join(data.files)})"
                raise UsageError(f"--arg {name}: {path} has no array {key}{hint}")
            return data[key]

    return _read(name, path, read)


def _from_csv(name: str, path: str) -> Any:
    """Numbers separated by commas, a header line allowed; one column gives a vector."""

    def read() -> Any:
        with open(path, encoding="utf-8") as file:
            first = file.readline()
        try:
            [float(cell) for cell in first.split(",") if cell.strip()]
            header = 0
        except ValueError:
            header = 1
        with warnings.catch_warnings():  # of a file without numbers, which is refused below
            warnings.simplefilter("ignore", UserWarning)
            table = np.loadtxt(path, delimiter=",", skiprows=header, ndmin=2, encoding="utf-8")
        if not table.size:
            raise ValueError("it holds no numbers")
        if table.shape[1] == 1:
            table = table[:, 0]
        whole = np.isfinite(table).all() and (table == np.trunc(table)).all()
        # a text file states no dtype: its numbers are as weak as literals
        return (table.astype(np.int64) if whole else table).tolist()

    return _read(name, path, read)
