"""How long each stage of the compiler took.

In: a stage's name around its work. Out: seconds by stage, from the process's beginning on, summed
over everything that was compiled, in the order in which the stages first ran. Those that several
threads work on count for each of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

seconds: dict[str, float] = {}


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Count what runs inside as the stage `name`. Stages do not nest."""
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - start
