"""Every workload on every system, each in a process of its own: checked, then timed by turns.

In: a number of threads, on as many CPUs (`__main__` pins the process before this is imported). Out:
plain data for the page: seconds round by round, the first call's seconds, the floors, and why a
system was left out.
"""

from __future__ import annotations

import gc
import importlib
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import limits
import tdsl
from peers import System
from players import Player, PlayerError, Prepare
from rounds import Effort, Turn, Work, by_turns
from workload_table import BY_NAME, WORKLOADS, Workload

#: Of each module of peers, its systems and what has to be installed for them.
PEERS = {
    "peers.pytorch": (("torch", "torch.compile"), "torch"),
    "peers.jax_jit": (("jax.jit",), "jax"),
    "peers.numba_loops": (("numba by hand",), "numba"),
    "peers.keops": (("KeOps",), "pykeops"),
    "peers.symbolic": (("CasADi", "SymForce"), "casadi or symforce"),
}
SLOW_TO_START = {"torch.compile": "it compiles for a minute", "KeOps": "it compiles for 20 s"}
OWN = "tdsl"


def _tdsl(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    function = workload.compiled()
    return lambda: function(*arguments)


def works(threads: int, module: str | None, name: str) -> Prepare:
    """What a system does in its own process (`players`). Raises ImportError where it is not
    installed."""
    tdsl.set_num_threads(threads)
    found = [System(OWN, _tdsl, tuple)]
    if module is not None:
        found = importlib.import_module(module).systems(threads)
    system = next((s for s in found if s.name == name), None)
    if system is None:
        raise ImportError(name)

    def prepare(which: str, arguments: tuple[Any, ...], expected: tuple[Any, ...]) -> Any:
        return _ready(system, BY_NAME[which], arguments, expected)

    return prepare


def _ready(
    system: System, workload: Workload, arguments: tuple[Any, ...], expected: tuple[Any, ...]
) -> tuple[Work | None, float]:
    """The checked work and the seconds to its first result. Raises UnavailableError, and ValueError
    where the results are wrong."""
    start = time.perf_counter()
    work = system.build(workload, arguments)
    if work is None:
        return None, 0.0
    results = work()
    first = time.perf_counter() - start
    try:
        workload.require_right(system.arrays(results), expected)
    except ValueError as error:
        raise ValueError(f"{system.name}, {workload.name}: {error}") from None
    gc.collect()
    return work, first


def _players(threads: int, quick: bool, left_out: list[str]) -> dict[str, Player]:
    """tdsl and the peers that are installed; the others' reasons go to `left_out`."""
    wanted: list[tuple[str | None, str, str]] = [(None, OWN, OWN)]
    for module, (names, needed) in PEERS.items():
        wanted += [(module, name, needed) for name in names]
    if quick:
        left_out += [f"{name} in a quick run ({why})" for name, why in SLOW_TO_START.items()]
        wanted = [w for w in wanted if w[1] not in SLOW_TO_START]
    started = [(Player(__name__, threads, *w[:2]), w) for w in wanted]
    players = {}
    for player, (_, name, needed) in started:
        try:
            player.ready()
        except PlayerError as error:
            if name == OWN:
                raise
            missing = error.kind in ("ImportError", "ModuleNotFoundError")
            reason = f"is not installed ({error})" if missing else f"{error.kind}: {error}"
            left_out.append(f"{needed} {reason}")
            continue
        players[name] = player
    return players


def measure(threads: int, quick: bool, names: Sequence[str] = ()) -> dict[str, Any]:
    """The data of the page for so many threads, of the workloads named (all, if none is). tdsl's
    wrong results end the run; a peer's wrong results are a reason to leave it out."""
    effort = Effort.quick() if quick else Effort()
    left_out: list[str] = []
    peak = limits.peak_flops(threads)
    players = _players(threads, quick, left_out)
    rows = []
    for workload in WORKLOADS:
        if names and workload.name not in names:
            continue
        arguments = workload.arguments(workload.sizes)
        expected = workload.reference(arguments)
        turns: dict[str, Turn] = {}
        first: dict[str, float] = {}
        for name, player in players.items():
            try:
                is_for_it, seconds_to_first = player.prepare(workload.name, arguments, expected)
            except PlayerError as error:
                if name == OWN:
                    raise
                left_out.append(str(error))
                continue
            if is_for_it:
                turns[name], first[name] = player.turn, seconds_to_first
        seconds = by_turns(turns, effort)
        moved = sum(a.nbytes for a in arguments) + 4 * sum(e.size for e in expected)
        rows.append(
            {
                "name": workload.name,
                "seconds": seconds,
                "first": first,
                "memory floor": limits.copy_seconds(moved, threads),
                "compute floor": workload.operations(workload.sizes) / peak,
            }
        )
        print(f"  {workload.name}: {len(seconds['tdsl'])} rounds", file=sys.stderr, flush=True)
    for player in players.values():
        player.close()
    bandwidth = 256e6 / limits.copy_seconds(256_000_000, threads)
    return {
        "threads": threads,
        "peak": peak,
        "bandwidth": bandwidth,
        "rows": rows,
        "left out": sorted(set(left_out)),
    }
