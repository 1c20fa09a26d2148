"""Import time, and source to first result: cold (empty cache) and warm, each in fresh processes.

Figures are medians over the runs, of the time inside the process from its first statement.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec

from child_process import run_python
from rounds import Quartiles
from tables import Table
from workload_table import BY_NAME, WORKLOADS

IMPORT = """
import sys, time
start = time.perf_counter()
for name in sys.argv[1].split(","):
    __import__(name)
print(time.perf_counter() - start)
"""

#: NumPy is a part of it; the arguments are made between the import and the first call, not counted.
FIRST = """
import sys, time
from workload_table import BY_NAME  # imports NumPy alone
workload = BY_NAME[sys.argv[1]]
arguments = workload.arguments(workload.small)
start = time.perf_counter()
workload.compiled()(*arguments)
print(time.perf_counter() - start)
"""
QUICK = ("mlp", "tiny")


TARGETS = {"cold": 0.4, "warm": 0.06}  # seconds


def _median(seconds: Sequence[float]) -> str:
    return f"{1e3 * Quartiles.of(seconds).median:.0f}"


def tables(threads: int, quick: bool) -> list[Table]:
    runs = 1 if quick else 7
    run_python(IMPORT, "numpy,tdsl")  # bytecode is written
    with tempfile.TemporaryDirectory() as cache:
        run_python(FIRST, "mlp", env={"TDSL_CACHE_DIR": cache})
    imports = [
        [f"import {names}", _median([run_python(IMPORT, names) for _ in range(runs)])]
        for names in ("numpy", "tdsl", "numpy,tdsl", "torch", "jax", "numba")
        if all(find_spec(name) for name in names.split(","))
    ]
    firsts, missed = [], []
    for workload in WORKLOADS if not quick else [BY_NAME[n] for n in QUICK]:
        cold, warm = [], []
        for _ in range(runs):
            with tempfile.TemporaryDirectory() as cache:
                own = {"TDSL_CACHE_DIR": cache}
                cold.append(run_python(FIRST, workload.name, env=own))
                warm.append(run_python(FIRST, workload.name, env=own))
        firsts.append([workload.title, _median(cold), _median(warm)])
        for name, seconds in (("cold", cold), ("warm", warm)):
            if Quartiles.of(seconds).median > TARGETS[name]:
                missed.append(f"{workload.title}, {name}")
    return [
        Table("Imports", "Milliseconds, in a fresh process.", ["", "ms"], imports),
        Table(
            "Source to first result",
            "Milliseconds from `import tdsl` (NumPy being imported) to the value and the "
            "gradients at small sizes, in a fresh process: with an empty cache, and with what the "
            f"process before left there. The targets are {1e3 * TARGETS['cold']:.0f} and "
            f"{1e3 * TARGETS['warm']:.0f}.",
            ["", "cold", "warm"],
            firsts,
            missed,
        ),
    ]
