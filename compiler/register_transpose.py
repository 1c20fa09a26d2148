"""Matrices that lie in vector registers, transposed there.

In: rows as vectors, a power of two of them, as many at least as a block has lanes, and a register
blocks. Out: as many vectors, of their columns. The network is the usual one of a machine with
registers of some blocks of 16 bytes: what stays inside a block is unpacked pair by pair, then whole
blocks change places. Each step is one instruction that needs no table of lanes; LLVM recognises it
at once (measured: a function that packs is translated in two thirds of the time that it takes with
steps across whole registers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

from . import ir
from .frame import lanes_from

BLOCK = 16
"""Bytes."""

_BYTES = {"half": 2, "bfloat": 2, "float": 4, "double": 8}


def transposed(b: ir.IRBuilder, rows: Sequence[ir.Value]) -> list[ir.Value]:
    """The elements of `rows`, a power of two of them, in the other order: first those of lane 0,
    one of each row, and so on."""
    lanes = rows[0].type.count
    element = rows[0].type.element
    size = _BYTES.get(element.text) or element.width // 8
    inside = min(BLOCK // size, lanes)  # lanes of a block
    blocks = lanes // inside
    assert len(rows) >= max(inside, blocks)

    def both(x: ir.Value, y: ir.Value, which: tuple[tuple[int, ...], tuple[int, ...]]) -> _Pair:
        first, second = (b.shuffle_vector(x, y, lanes_from(lanes)) for lanes in which)
        return first, second

    groups = [[x] for x in rows]  # each: neighbouring rows, by column inside a block
    together = 1
    while together < inside:
        unpack = _unpacked(lanes, inside, together)
        pairs = zip(groups[::2], groups[1::2], strict=True)
        groups = [
            [z for x, y in zip(*pair, strict=True) for z in both(x, y, unpack)] for pair in pairs
        ]
        together *= 2
    in_order = [x for column in zip(*groups, strict=True) for x in column]

    def by_block(some: Sequence[ir.Value]) -> list[ir.Value]:
        """The first blocks of `some` as one vector, their second ones, and so on."""
        if len(some) == 1:
            return [*some]
        dealt = _dealt(lanes, inside)
        even, odd = zip(*(both(x, y, dealt) for x, y in _pairs(some)), strict=True)
        return [x for pair in zip(by_block(even), by_block(odd), strict=True) for x in pair]

    parts = [by_block(in_order[k : k + blocks]) for k in range(0, len(rows), blocks)]
    return [x for column in zip(*parts, strict=True) for x in column]


_Pair = tuple[ir.Value, ir.Value]
_Lanes = tuple[tuple[int, ...], tuple[int, ...]]


def _pairs(some: Sequence[ir.Value]) -> Iterator[_Pair]:
    return zip(some[::2], some[1::2], strict=True)


@cache
def _unpacked(lanes: int, inside: int, together: int) -> _Lanes:
    """Of each block of two vectors, some lanes of the one and of the other in turn: of its first
    half, and of its second."""
    low, high = (
        tuple(
            start + at + k + vector * lanes
            for start in range(0, lanes, inside)
            for at in range(half, half + inside // 2, together)
            for vector in (0, 1)
            for k in range(together)
        )
        for half in (0, inside // 2)
    )
    return low, high


@cache
def _dealt(lanes: int, inside: int) -> _Lanes:
    """The even blocks of two vectors, and the odd ones."""
    even, odd = (
        tuple(
            start + k
            for start in range(first * inside, 2 * lanes, 2 * inside)
            for k in range(inside)
        )
        for first in (0, 1)
    )
    return even, odd
