"""Packed contractions as text: what happens for large sizes, and the nest for small ones.

In: a `Contraction`. Out: short pseudo-code. Left to others: that of nests (`loops`).
"""

from __future__ import annotations

from collections.abc import Callable

from .loops import Value, nest_text, postorder, value_text
from .packed import DEPTH, ROWS, Contraction, Operand, Strip


def contraction_text(c: Contraction) -> str:
    """Short pseudo-code: what happens for large sizes, then the nest for small ones."""
    lines = [f"{c.name}:  # {c.direct.source}"]
    condition = "if large:"
    if c.windowed is not None:
        lines += ["  if large, and faster so:", *_large(c.windowed)]
        if c.windowed.is_turned:
            names = c.store.buffer.name, c.windowed.store.buffer.name
            lines.append("    {} = {}, the other way round".format(*names))
        condition = "else if large:"
    lines += [f"  {condition}", *_large(c), "  else:"]
    lines += ["  " * 2 + line for line in nest_text(c.direct).rstrip().split("\n")]
    return "\n".join(lines) + "\n"


def _large(c: Contraction) -> list[str]:
    names = c.right.nest.index_names
    lines: list[str] = []
    depth = 2

    def put(text: str) -> None:
        lines.append("  " * depth + text)

    put(f"for {names[c.columns.index]} in 0:{c.columns.extent} by blocks of {c.most_panels} panels")
    for loop in c.batch:
        depth += 1
        put(f"for {names[loop.index]} in 0:{loop.extent}")
    if c.window is not None:
        depth += 1
        put(f"for {names[c.window.index]} in 0:{c.window.extent} by blocks")
    depth += 1
    reduced = ", ".join(f"{names[x.index]} in 0:{x.extent}" for x in c.left.reduced)
    put(f"for {reduced} by blocks of {DEPTH}")
    depth += 1
    if c.strip is None:
        _put_pack(put, "right", c.right, names)
    else:
        _put_strip(put, c.strip, names)
    put(f"for {names[c.rows.index]} in 0:{c.rows.extent} by blocks of {ROWS}")
    depth += 1
    _put_pack(put, "left", c.left, names, "panels" if c.places is None else "places")
    for name, x in (("left", c.left), ("right", c.right)):
        if x.finite:
            put(f"if {name} is not finite: go the direct way")
    if c.tiles:
        put("if this process may use matrix tiles, and no product is too small for them: by tiles")
    put(f"{c.store.buffer.name} += left @ right")
    if c.rest is not None:
        put("after the last block of the sums:")
        depth += 1
        lines += ["  " * depth + line for line in nest_text(c.rest).rstrip().split("\n")]
    return lines


def _put_strip(put: Callable[[str], None], strip: Strip, names: dict[int, str]) -> None:
    for x in (strip.columns, strip.lines):
        if x is not None:
            sums = " + ".join(f"{names[loop.index]}*{step}" for loop, step in x.steps)
            put(f"{names[x.kept.index]}' = {sums}")
    # in what is packed, a coordinate has the name of the index that stands for it
    kept = {x.kept.index for x in (strip.columns, strip.lines) if x is not None}
    marked = {k: f"{name}'" if k in kept else name for k, name in names.items()}
    _put_pack(put, "right", strip.operand, marked, "strips")


def _put_pack(
    put: Callable[[str], None],
    name: str,
    x: Operand,
    names: dict[int, str],
    what: str = "panels",
) -> None:
    made: dict[Value, str] = {}
    for v in postorder([x.value]):
        made[v] = value_text(v, names, made, put)
    how = " transposed" if x.transposed else ""
    if x.guard is not None:
        for v in postorder([x.guard]):
            made.setdefault(v, value_text(v, names, made, put))
        how += f" where {made[x.guard]}"
    put(f"{name} = {what} along {names[x.index]}{how} of {made[x.value]}")
