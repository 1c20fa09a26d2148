"""What a compilation leaves: object code and what a caller must know, in plain data.

In: nothing (data only). Out: a frozen `Artifact` that survives pickling and JSON, and sizes that
are evaluated without the compiler. Left to others: loading (`target_cpu.load`), the disk cache,
the call itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .dims import Dim
from .records import dataclass

Size = tuple[Any, ...]
"""A size as data: a sum of (coefficient, (atom, …)); an atom is a name or (Size, divisor), a floor
division."""


def encode(d: Dim) -> Size:
    return tuple(
        (c, tuple(a if isinstance(a, str) else (encode(a.numerator), a.divisor) for a in mono))
        for mono, c in d.terms
    )


def evaluate(size: Size, env: Mapping[str, int]) -> int:
    """The size under a binding of its names."""
    total = 0
    for c, atoms in size:
        for a in atoms:
            c *= env[a] if isinstance(a, str) else evaluate(a[0], env) // a[1]
        total += c
    return total


@dataclass(frozen=True)
class Array:
    """A parameter or an output; `text` is the shape as the user wrote it."""

    name: str
    dtype: str
    shape: tuple[Size, ...]
    text: str


@dataclass(frozen=True)
class RequiredSize:
    """`nonnegative >= 0` at every call, else `message`; `position` is file:line:column."""

    nonnegative: Size
    message: str
    position: str


@dataclass(frozen=True)
class IndexCheck:
    """What it means when the native code reports this entry."""

    tensor: str
    axis: int
    size: str
    position: str
    message: str


@dataclass(frozen=True)
class Artifact:
    """`code` defines `tdsl_run` and `tdsl_arena`:

        i64 tdsl_run(ptr args, ptr dims, ptr arena, ptr err)
        i64 tdsl_arena(ptr dims)

    `args` points to the data of every param, then of every output: dense, in C order, bool as one
    byte; `dims` to the i64 sizes named in `dims`; `arena` to `tdsl_arena(dims)` bytes aligned to
    64. The result is 0, or 1 after an index was out of range: `err` then holds four i64: the entry
    of `checks`, the axis, the index and the size. `features` names the machine that it runs on.
    """

    name: str
    code: bytes
    params: tuple[Array, ...]
    outputs: tuple[Array, ...]
    returns_tuple: bool
    dims: tuple[str, ...]
    requirements: tuple[RequiredSize, ...]
    checks: tuple[IndexCheck, ...]
    features: str
