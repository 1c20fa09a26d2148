"""The disk cache: what was compiled once is not compiled again.

In: a key (a hash of everything that the result depends on). Out: the entry stored under it, a
JSON header and bytes, or None. An entry is written whole or not at all (a temporary file, then a
rename) and carries its own hash, so that a truncated, corrupt or foreign file counts as absent.
Nothing in it is executed by Python: no pickles. What a key must depend on is the callers'
business; `fingerprint` is the part that they share.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

from ..compiler.records import dataclass
from .cache_directory import cache_directory as directory

__all__ = [
    "SUFFIX",
    "Entry",
    "clear",
    "directory",
    "fingerprint",
    "get",
    "key",
    "put",
    "remove",
    "usage",
]

MAGIC = b"tdsl cache 1\n"
SUFFIX = ".tdslc"
LIMIT = 512 << 20  # bytes; TDSL_CACHE_LIMIT overrides
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Entry:
    header: dict[str, Any]
    data: bytes


@functools.cache
def fingerprint() -> str:
    """A hash of the compiler's own source files and of Python's version."""
    h = hashlib.sha256(sys.implementation.cache_tag.encode())
    for folder in ("compiler", "dsl", "runtime", "runtime/tensor"):
        for file in sorted(os.scandir(_PACKAGE / folder), key=lambda e: e.name):
            if file.name.endswith((".py", ".lark", ".json")):
                h.update(file.name.encode())
                with open(file.path, "rb", buffering=0) as content:
                    h.update(content.read())
    return h.hexdigest()


def key(*parts: str) -> str:
    """A key made of `parts`; their boundaries count."""
    h = hashlib.sha256()
    for part in (fingerprint(), *parts):
        data = part.encode("utf-8", "surrogatepass")
        h.update(len(data).to_bytes(8, "little") + data)
    return h.hexdigest()


def get(name: str) -> Entry | None:
    """The entry stored under a key; None if there is none, or none that can be trusted."""
    path = directory() / (name + SUFFIX)
    try:
        raw = path.read_bytes()
    except OSError:
        return None
    start = len(MAGIC) + 32
    if not raw.startswith(MAGIC) or hashlib.sha256(raw[start:]).digest() != raw[len(MAGIC) : start]:
        return None
    length = int.from_bytes(raw[start : start + 8], "little")
    try:
        header = json.loads(raw[start + 8 : start + 8 + length])
    except ValueError:
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # recently used: pruned last
    return Entry(header, raw[start + 8 + length :]) if isinstance(header, dict) else None


def put(name: str, header: dict[str, Any], data: bytes = b"", *, silent: bool = False) -> None:
    """Store an entry. A directory that cannot be written is reported once, as a warning, unless
    `silent`."""
    text = json.dumps(header).encode()
    payload = len(text).to_bytes(8, "little") + text + data
    folder = directory()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = folder / f"{name}.{os.getpid()}.{threading.get_ident()}.tmp"
        try:
            temporary.write_bytes(MAGIC + hashlib.sha256(payload).digest() + payload)
            os.replace(temporary, folder / (name + SUFFIX))
        except BaseException:
            _remove(temporary)
            raise
    except OSError as error:
        if not silent:
            _report(folder, error.strerror or str(error))
        return
    _prune(folder)


def remove(name: str) -> bool:
    """Delete the entry stored under a key; whether there was one."""
    return _remove(directory() / (name + SUFFIX))


@functools.cache
def _report(folder: Path, reason: str) -> None:
    warnings.warn(
        f"tdsl's cache {folder} cannot be written ({reason}): what is compiled will be compiled "
        f"again next time; TDSL_CACHE_DIR names another place",
        RuntimeWarning,
        stacklevel=2,
    )


# --------------------------------------------------------------------------- size


def usage() -> tuple[int, int]:
    """Entries in the cache, and the bytes of all that is in it."""
    found = _files(directory())
    entries = sum(path.endswith(SUFFIX) for _, _, path in found)
    return entries, sum(size for _, size, _ in found)


def clear() -> int:
    """Delete every entry; how many there were."""
    found = _files(directory())
    return sum([_remove(path) and path.endswith(SUFFIX) for _, _, path in found])


def _prune(folder: Path) -> None:
    """Above the limit, delete the entries that were unused longest, down to three quarters."""
    try:
        limit = int(os.environ.get("TDSL_CACHE_LIMIT", LIMIT))
    except ValueError:
        limit = LIMIT
    found = _files(folder)
    total = sum(size for _, size, _ in found)
    if total <= limit:
        return
    for _, size, path in sorted(found):
        if total <= limit * 3 // 4:
            return
        _remove(path)
        total -= size


def _files(folder: Path) -> list[tuple[float, int, str]]:
    """(last use, bytes, path) of every file of ours."""
    found = []
    try:
        for file in os.scandir(folder):
            if file.name.endswith((SUFFIX, ".tmp")):
                try:
                    status = file.stat()
                except OSError:
                    continue  # another process deleted it
                found.append((status.st_mtime, status.st_size, file.path))
    except OSError:
        pass
    return found


def _remove(path: str | Path) -> bool:
    try:
        os.unlink(path)
    except OSError:
        return False
    return True
