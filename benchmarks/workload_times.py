"""Every workload on every system: checked, then timed by turns.

In: a number of threads, on as many CPUs (`__main__` pins the process before this is imported). Out:
plain data for the page: seconds round by round, the first call's seconds, the floors, and why a
system was left out.
"""

from __future__ import annotations

import gc
import importlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import limits
import tdsl
from peers import System, UnavailableError
from rounds import Effort, Work, interleaved
from workload_table import WORKLOADS, Workload

#: The peers' modules and what has to be installed for each.
PEERS = {
    "peers.pytorch": "torch",
    "peers.jax_jit": "jax",
    "peers.numba_loops": "numba",
    "peers.keops": "pykeops",
    "peers.symbolic": "casadi or symforce",
}
SLOW_TO_START = {"torch.compile": "it compiles for a minute", "KeOps": "it compiles for 20 s"}


def _tdsl(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    function = workload.compiled()
    return lambda: function(*arguments)


def systems(threads: int, left_out: list[str]) -> Iterator[System]:
    """tdsl and the peers that are installed; the others' reasons go to `left_out`."""
    tdsl.set_num_threads(threads)
    yield System("tdsl", _tdsl, tuple)
    for module, needed in PEERS.items():
        try:
            found = importlib.import_module(module).systems(threads)
        except ImportError as error:
            left_out.append(f"{needed} is not installed ({error.name or error})")
            continue
        except Exception as error:
            left_out.append(f"{needed}: {type(error).__name__}: {error}")
            continue
        yield from found


def _ready(
    system: System, workload: Workload, arguments: tuple[Any, ...], expected: tuple[Any, ...]
) -> tuple[Work, float] | None:
    """The checked work and the seconds to its first result. Raises UnavailableError, and ValueError
    where the results are wrong."""
    start = time.perf_counter()
    work = system.build(workload, arguments)
    if work is None:
        return None
    results = work()
    first = time.perf_counter() - start
    try:
        workload.require_right(system.arrays(results), expected)
    except ValueError as error:
        raise ValueError(f"{system.name}, {workload.name}: {error}") from None
    return work, first


def measure(threads: int, quick: bool, names: Sequence[str] = ()) -> dict[str, Any]:
    """The data of the page for so many threads, of the workloads named (all, if none is). tdsl's
    wrong results end the run; a peer's wrong results are a reason to leave it out."""
    effort = Effort.quick() if quick else Effort()
    left_out: list[str] = []
    everything = list(systems(threads, left_out))
    if quick:
        everything = [s for s in everything if s.name not in SLOW_TO_START]
        left_out += [f"{name} in a quick run ({why})" for name, why in SLOW_TO_START.items()]
    peak = limits.peak_flops(threads)
    rows = []
    for workload in WORKLOADS:
        if names and workload.name not in names:
            continue
        arguments = workload.arguments(workload.sizes)
        expected = workload.reference(arguments)
        works: dict[str, Work] = {}
        first: dict[str, float] = {}
        for system in everything:
            try:
                ready = _ready(system, workload, arguments, expected)
            except (UnavailableError, ValueError) as error:
                if system.name == "tdsl":
                    raise
                left_out.append(str(error))
                continue
            if ready is not None:
                works[system.name], first[system.name] = ready
        gc.collect()
        seconds = interleaved(works, effort)
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
    bandwidth = 256e6 / limits.copy_seconds(256_000_000, threads)
    return {
        "threads": threads,
        "peak": peak,
        "bandwidth": bandwidth,
        "rows": rows,
        "left out": sorted(set(left_out)),
    }
