"""Counters of what the run time did, and how long it took: for tests and for the curious."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..compiler.records import dataclass, field
from ..compiler.stages import seconds


@dataclass
class Stats:
    """`compilations`: functions compiled by this process; `cache_hits`: functions whose object
    code came from the disk cache; `parses`: programs parsed and checked. `seconds`: how long each
    stage of the compiler took, summed over all that was compiled."""

    compilations: int = 0
    cache_hits: int = 0
    parses: int = 0
    seconds: Mapping[str, float] = field(default_factory=dict)


counters = Stats()


def stats() -> Stats:
    """A copy of the counters since the process began."""
    return replace(counters, seconds=dict(seconds))
