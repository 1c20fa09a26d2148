"""Copies of the same work, instruction by instruction in turns.

In: the lines that a block has for every copy. Out: the same lines in another order. Left to others:
which copies there are (`tile`), what they compute (`emit_values`).

A processor looks only so far ahead: of long chains one after the other it sees one or two at a
time, and waits for each of their results. Side by side they are all in sight. LLVM's scheduler
keeps the order of what it is given where it sees nothing to gain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from . import ir

LONG = 12
"""Instructions of a copy from which on the order of shorter ones, which LLVM chooses well, is left
alone."""

_NAME = re.compile(r"%\.\d+")


@contextmanager
def side_by_side(builder: ir.IRBuilder) -> Iterator[Callable[[], None]]:
    """To call what is given before every copy. Where copies branch, their order stays."""
    block, starts = builder.block, list[int]()
    yield lambda: starts.append(len(builder.block.instructions))
    if builder.block is not block or len(starts) < 2:
        return
    lines, ends = block.instructions, [*starts, len(block.instructions)]
    copies = [lines[a:b] for a, b in pairwise(ends)]
    if min(len(copy) for copy in copies) >= LONG:
        lines[starts[0] :] = woven(copies)


def woven(copies: Sequence[Sequence[Any]]) -> list[Any]:
    """The lines of all copies in turns, each after what it uses: what a copy made, those after it
    may use, too."""
    out: list[Any] = []
    named = [[_NAME.findall(str(line)) for line in copy] for copy in copies]
    missing = {
        names[0]
        for copy, uses in zip(copies, named, strict=True)
        for line, names in zip(copy, uses, strict=True)
        if str(line).startswith("%")
    }
    at = [0] * len(copies)
    while len(out) < sum(map(len, copies)):
        for k, copy in enumerate(copies):
            if at[k] == len(copy):
                continue
            line, names = copy[at[k]], named[k][at[k]]
            own = names[0] if str(line).startswith("%") else ""
            if any(name in missing and name != own for name in names):
                continue
            missing.discard(own)
            out.append(line)
            at[k] += 1
    return out
