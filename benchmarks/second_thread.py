"""What a second thread brings: the same work on one thread and on two, in turns, in one run.

Beside the workloads whose time is arithmetic stands the machine itself: chains of fused
multiply-adds in registers, which nothing but its own cores and their frequency holds back.
"""

from __future__ import annotations

import limits
from players import Player
from rounds import Effort, Quartiles, by_turns, ratio
from tables import Table, milliseconds, times
from workload_table import BY_NAME

BOUND_BY_ARITHMETIC = (
    "mlp", "attention", "conv2d", "black_scholes", "lennard_jones", "gaussian_kernel",
)  # fmt: skip
TARGET = 1.9
PEAKS = 9  # how often the machine's own is measured


def tables(threads: int, quick: bool) -> list[Table]:
    if threads < 2:
        return []
    effort = Effort.quick() if quick else Effort()
    players = {count: Player("workload_times", count, None, "tdsl") for count in (1, 2)}
    for player in players.values():
        player.ready()
    peaks = [[limits.peak_flops(count) for count in (1, 2)] for _ in range(1 if quick else PEAKS)]
    own = Quartiles.of([two / one for one, two in peaks]).median
    rows = [["the machine's arithmetic", "–", "–", times(own)]]
    missed = []
    for name in BOUND_BY_ARITHMETIC:
        workload = BY_NAME[name]
        arguments = workload.arguments(workload.sizes)
        expected = workload.reference(arguments)
        for player in players.values():
            player.prepare(name, arguments, expected)
        seconds = by_turns({str(n): player.turn for n, player in players.items()}, effort)
        gain = ratio(seconds["1"], seconds["2"])
        medians = [milliseconds(Quartiles.of(seconds[n]).median) for n in ("1", "2")]
        rows.append([workload.title, *medians, times(gain)])
        if gain < TARGET:
            missed.append(workload.title)
    for player in players.values():
        player.close()
    return [
        Table(
            "From the second thread",
            "Milliseconds of a value and its gradients, tdsl alone, one thread and two in turns; "
            f"the target is {times(TARGET)} where arithmetic is what takes the time.",
            ["", "1 thread", "2 threads", "ratio"],
            rows,
            missed,
        )
    ]
