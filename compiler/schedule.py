"""The schedule of a CPU: which nests are packed contractions, and the tiles of all.

In: a `LoopProgram`. Out: a `Schedule`, ready to be emitted. Left to others: how a tile is chosen
(`tile`), what a contraction is (`packed`), what a band is (`band_nests`).
"""

from __future__ import annotations

from dataclasses import replace

from .ahead import asked_ahead
from .artifact import IndexCheck
from .band_nests import BandNest, band_nest, band_text, verify_band
from .loops import Nest, nest_text, verify_nest
from .lower import LoopProgram
from .packed import Contraction, contraction
from .packed_strip import with_strip
from .packed_text import contraction_text
from .packed_windows import with_windows
from .partial_sums import with_partial_sums
from .plan import Program
from .records import dataclass
from .tile import Registers, tile
from .tuning import STATIC


@dataclass(frozen=True)
class Schedule:
    """What runs, in order; `registers` are what it was made for."""

    program: Program
    nests: tuple[Nest | Contraction | BandNest, ...]
    checks: tuple[IndexCheck, ...]
    registers: Registers

    def __str__(self) -> str:
        tuning = self.registers.tuning
        head = [] if tuning == STATIC else [f"# tuned: {tuning}\n"]
        return "\n".join([*head, *(_text(n) for n in self.nests)])


def _text(n: Nest | Contraction | BandNest) -> str:
    match n:
        case Nest():
            return nest_text(n)
        case Contraction():
            return contraction_text(n)
        case BandNest():
            return band_text(n)


def schedule(lowered: LoopProgram, registers: Registers) -> Schedule:
    nests: list[Nest | Contraction | BandNest] = []
    program = lowered.program
    k = 0
    while k < len(lowered.nests):
        band = program.kernels.band(k)
        if band is None:
            nests.append(_scheduled(lowered.nests[k], registers, alone=True))
            k += 1
            continue
        own = lowered.nests[band.first : band.last]
        tiled = asked_ahead([_scheduled(n, registers) for n in own])
        made = band_nest(band, own, tiled, program.rooms[band], registers.tuning.band_bytes)
        made = replace(made, ends=tuple(tile(n, registers) for n in made.ends))
        if made.inner is not None:
            sums = tuple((s, tile(n, registers)) for s, n in made.inner.sums)
            made = replace(made, inner=replace(made.inner, sums=sums))
        nests.append(made)
        k = band.last
    return Schedule(program, tuple(nests), lowered.checks, registers)


def _scheduled(nest: Nest, registers: Registers, alone: bool = False) -> Nest | Contraction:
    tiled = tile(nest, registers)
    found = contraction(nest, registers)
    if found is None:
        return with_partial_sums(tiled)
    found = with_strip(found, registers)
    if alone:
        found = with_windows(found, registers)
    return replace(found, direct=tiled)


def verify_schedule(made: Schedule) -> None:
    """Invariants: every nest is a valid one, a contraction's direct one as well."""
    for nest in made.nests:
        match nest:
            case BandNest():
                verify_band(nest)
            case Contraction():
                verify_nest(nest.direct)
            case Nest():
                verify_nest(nest)
