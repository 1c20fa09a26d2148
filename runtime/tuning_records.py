"""Records of tuning: which choices were measured to be best for a function, in the disk cache.

In: a source, a function's name, perhaps a transform of it. Out: the recorded `Tuning`, or the
static one. A record belongs to the content of the program with all that it imports, to the
compiler's version and to the machine, wherever the file stands. One that is damaged, or states what
is no choice, counts as absent. Left to others: measuring (`tuning`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..compiler.tuning import CANDIDATES, STATIC, Tuning
from . import cache
from .loading import machine_key, processor
from .source import Source
from .transforms import Transform


def recorded(source: Source, name: str, t: Transform | None) -> Tuning:
    """The choices recorded for a function, else the static ones."""
    found = cache.get(_key(source, name, t))
    return (None if found is None else from_json(found.header.get("tuning"))) or STATIC


def record(source: Source, name: str, t: Transform | None, tuning: Tuning) -> None:
    cache.put(_key(source, name, t), {"tuning": asdict(tuning)})


def forget(source: Source, name: str, t: Transform | None) -> bool:
    """Delete the record; whether there was one."""
    return cache.remove(_key(source, name, t))


def from_json(data: Any) -> Tuning | None:
    """The choices that a record states; None unless it states all of them, each one that is
    tried."""
    usual = asdict(STATIC)
    if not isinstance(data, dict) or data.keys() != usual.keys():
        return None
    for name, value in data.items():
        possible = [usual[name], *(v for n, v in CANDIDATES if n == name)]
        if not any(type(value) is type(v) and value == v for v in possible):
            return None
    return Tuning(**data)


def _key(source: Source, name: str, t: Transform | None) -> str:
    if t is not None and t.kind == "donate":
        t = t.inner  # the same function, which alone can be called again and again
    imports = sorted(source.index.imports.values())
    # times depend on the CPU itself as well as on its features
    return cache.key("tuning", source.text, *imports, name, str(t), processor(), machine_key())
