"""The schedule of a CPU: which nests are packed contractions, and the tiles of all.

In: a `LoopProgram`. Out: a `Schedule`, ready to be emitted. Left to others: how a tile is chosen
(`tile`), what a contraction is (`packed`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from .artifact import IndexCheck
from .loops import Nest, nest_text, verify_nest
from .lower import LoopProgram
from .packed import Contraction, contraction, contraction_text
from .partial_sums import with_partial_sums
from .plan import Program
from .tile import Registers, tile


@dataclass(frozen=True)
class Schedule:
    """What runs, in order. The contractions' panels take `scratch` bytes behind the arena."""

    program: Program
    nests: tuple[Nest | Contraction, ...]
    checks: tuple[IndexCheck, ...]
    scratch: int

    def __str__(self) -> str:
        return "\n".join(
            contraction_text(n) if isinstance(n, Contraction) else nest_text(n) for n in self.nests
        )


def schedule(lowered: LoopProgram, registers: Registers) -> Schedule:
    nests: list[Nest | Contraction] = []
    scratch = 0
    for nest in lowered.nests:
        tiled = tile(nest, registers)
        found = contraction(nest, registers)
        if found is None:
            nests.append(with_partial_sums(tiled))
        else:
            nests.append(replace(found, direct=tiled))
            scratch = max(scratch, sum(found.scratch))
    return Schedule(lowered.program, tuple(nests), lowered.checks, scratch)


def verify_schedule(made: Schedule) -> None:
    """Invariants: every nest is a valid one, a contraction's direct one as well."""
    for nest in made.nests:
        verify_nest(nest.direct if isinstance(nest, Contraction) else nest)
