"""Systems timed by turns: every system once a round, in random order, many rounds.

In: functions of no arguments by name, or what has them called elsewhere (`players`). Out: seconds
per call, round by round. A ratio of two systems is the median of the rounds' ratios: what disturbs
the machine disturbs the whole round.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Work = Callable[[], object]
Turn = Callable[[int], float]
"""Given how many calls to time, the seconds of one."""
QUICK = 0.02  # seconds; what takes longer notices neither spinning threads nor cold caches


@dataclass(frozen=True)
class Effort:
    """How long to measure: rounds at most and at least, seconds a row, seconds a turn."""

    rounds: int = 40
    least: int = 7
    seconds: float = 12.0
    turn: float = 0.004

    @staticmethod
    def quick() -> Effort:
        return Effort(rounds=3, least=2, seconds=0.5, turn=0.001)


@dataclass(frozen=True)
class Quartiles:
    low: float
    median: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Quartiles:
        if len(values) == 1:
            return Quartiles(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return Quartiles(low, median, high)


def interleaved(works: Mapping[str, Work], effort: Effort) -> dict[str, list[float]]:
    """Of functions in this process. A quick one's turn begins with a call that is not timed: the
    caches hold what another system left there."""

    def turn(work: Work) -> Turn:
        work()  # which may build something
        quick = seconds_of(work, 1) < QUICK

        def run(calls: int) -> float:
            if quick:
                work()
            return seconds_of(work, calls)

        return run

    return by_turns({name: turn(work) for name, work in works.items()}, effort)


def by_turns(turns: Mapping[str, Turn], effort: Effort) -> dict[str, list[float]]:
    """Seconds per call of every system, round by round; so many calls a turn as take
    `effort.turn`."""
    repeats = {
        name: max(1, min(50_000, int(effort.turn / max(turn(1), 1e-7))))
        for name, turn in turns.items()
    }
    found: dict[str, list[float]] = {name: [] for name in turns}
    order = list(turns)
    rng = random.Random(0)
    begin = time.perf_counter()
    for done in range(effort.rounds):
        if done >= effort.least and time.perf_counter() - begin > effort.seconds:
            break
        rng.shuffle(order)
        for name in order:
            found[name].append(turns[name](repeats[name]))
    return found


def seconds_of(work: Work, calls: int) -> float:
    """Of one call, the mean of so many in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


def ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """How many times as long as `base` it took: the median of the rounds' ratios."""
    return statistics.median(t / b for t, b in zip(times, base, strict=True))
