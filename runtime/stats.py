"""Counters of what the run time did, for tests and for the curious."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass
class Stats:
    """`compilations`: functions compiled by this process; `cache_hits`: functions whose object
    code came from the disk cache; `parses`: programs parsed and checked."""

    compilations: int = 0
    cache_hits: int = 0
    parses: int = 0


counters = Stats()


def stats() -> Stats:
    """A copy of the counters since the process began."""
    return replace(counters)
