"""Memory that a call needs at its peak, over its arguments and its results.

Linux only: the peak of the resident memory is reset before a call and read after it. Every system
and workload runs in a process of its own (memory that was freed would be used again), in which a
call at small sizes (for JAX: at the sizes measured, which it compiles for) has come first.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from child_process import run_python
from tables import Table
from workload_table import WORKLOADS, Workload

_ATTENTION = next(w for w in WORKLOADS if w.name == "attention")
_LONG = replace(
    _ATTENTION, title="attention 1×1×8192×64", sizes={**_ATTENTION.sizes, "b": 1, "h": 1, "s": 8192}
)
MEASURED = (*WORKLOADS, _LONG)

SYSTEMS = {"tdsl": "", "torch": "peers.pytorch", "jax.jit": "peers.jax_jit"}
CHILD = "import peak_memory; peak_memory.measure_system()"
STATUS = Path("/proc/self/status")
RESET = Path("/proc/self/clear_refs")


def _kilobytes(field: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise RuntimeError(f"no {field} in {STATUS}")


def _extra(workload: Workload, system: Any) -> float:
    """Megabytes over arguments and results, of one call at full size."""
    small = workload.arguments(workload.small)
    system.build(workload, small)()
    arguments = workload.arguments(workload.sizes)
    work = system.build(workload, arguments)
    if system.name == "jax.jit":
        work()
    gc.collect()
    RESET.write_text("5")
    before = _kilobytes("VmRSS")
    results = work()
    peak = _kilobytes("VmHWM")
    own: int = sum(np.asarray(a).nbytes for a in system.arrays(results))
    return max(0.0, (peak - before) / 1024 - own / 2**20)


def measure_system() -> None:
    """In a process of its own: the system named on the command line."""
    name = sys.argv[1]
    if name == "tdsl":
        from peers import System
        from workload_times import _tdsl

        system = System("tdsl", _tdsl, tuple)
    else:
        system = next(s for s in import_module(SYSTEMS[name]).systems(1) if s.name == name)
    print(json.dumps([_in_fork(w, system) for w in MEASURED]))


def _in_fork(workload: Workload, system: Any) -> float | None:
    """`_extra`, in a copy of this process, which has imported the system and run nothing; None
    where that fails."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, f"{_extra(workload, system)}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return float(text) if text else None


def tables(threads: int, quick: bool) -> list[Table]:
    found: dict[str, list[float | None]] = {}
    for name in SYSTEMS if not quick else ("tdsl", "torch"):
        try:
            found[name] = run_python(CHILD, name)
        except RuntimeError as error:
            print(f"  memory of {name}: {error}", file=sys.stderr)
    if not found:
        return []
    rows = [
        [w.title, *("–" if m[k] is None else f"{m[k]:.1f}" for m in found.values())]
        for k, w in enumerate(MEASURED)
    ]
    note = (
        "Megabytes at the peak of a call, over its arguments and results. (JAX's is a lower bound: "
        "its first call compiles for these sizes, and memory that it freed may be used again.)"
    )
    return [Table("Memory", note, ["", *found], rows)]
