"""Did you mean …? the known name that is nearest to a misspelled one.

In: a name and the names that would have been right. Out: the nearest, or None when none is near
enough to be what was meant.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile

#: What NumPy, Python and other systems call what has another name here.
ELSEWHERE = {
    "array": "stack",
    "astype": "f32",
    "axis": "dim",
    "double": "f64",
    "fabs": "abs",
    "float": "f32",
    "float16": "f16",
    "float32": "f32",
    "float64": "f64",
    "half": "f16",
    "int": "i64",
    "int16": "i16",
    "int32": "i32",
    "int64": "i64",
    "int8": "i8",
    "keepdims": "keepdim",
    "ln": "log",
    "long": "i64",
    "power": "pow",
    "uint8": "u8",
}


def did_you_mean(name: str, candidates: Iterable[str]) -> str | None:
    """The candidate closest to `name`, for a hint; None if none is close.

    Close means: equal but for upper and lower case or underscores, or at most one edit in three
    characters (inserting, dropping, changing a character, or exchanging two neighbours). Ties go
    to a name of the same letters, `tanh` for `tahn` rather than `tan`; then to the one that begins
    like it for longest, `sum` for `sun` rather than `sgn`; then to the first in alphabetical order.
    A name of another system stands for what it is called here.
    """
    candidates = set(candidates)
    if ELSEWHERE.get(name) in candidates:
        return ELSEWHERE[name]
    folded = _fold(name)
    best: tuple[int, bool, int, str] | None = None
    for candidate in sorted(candidates):
        if candidate == name:
            continue
        if _fold(candidate) == folded:
            return candidate
        shorter = min(len(name), len(candidate))
        limit = max(1, shorter // 3) if shorter > 1 else 0
        if best is not None:
            limit = min(limit, best[0])
        if limit < 1 or abs(len(name) - len(candidate)) > limit:
            continue
        distance = _edits(name, candidate)
        if distance <= limit:
            alike = len([*takewhile(lambda xy: xy[0] == xy[1], zip(name, candidate, strict=False))])
            rank = distance, sorted(name) != sorted(candidate), -alike, candidate
            best = rank if best is None else min(best, rank)
    return None if best is None else best[3]


def _fold(name: str) -> str:
    return name.replace("_", "").lower()


def _edits(a: str, b: str) -> int:
    """The Damerau–Levenshtein distance, in its restricted form (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row, older = row, [i], before
        for j, y in enumerate(b, 1):
            cost = min(above[j] + 1, row[j - 1] + 1, above[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and y == a[i - 2]:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
        before = above
    return row[-1]
