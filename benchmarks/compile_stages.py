"""How long each stage of the compiler takes, workload by workload, nothing cached.

Every compilation runs in a process of its own, after a small program has been compiled there, so
that imports and LLVM's start are not counted and no memory of an earlier compilation helps.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time

import tdsl
from child_process import run_python
from rounds import Quartiles
from tables import Table
from workload_table import BY_NAME, WORKLOADS

CHILD = "import compile_stages; compile_stages.compile_one()"
SMALL = "def f(x: f32[n]) -> f32:\n    return sum(exp(x * x))\n"
QUICK = ("cross_entropy", "mlp", "tiny")
ALL = "all"
LEAST = 5e-5  # seconds; a stage that is below in all rows is left out


def compile_one() -> None:
    """In a process of its own: prints the stages' seconds of the workload that the command line
    names."""
    tdsl.compile(SMALL).f.value_and_grad("x").compile()
    before = tdsl.stats().seconds
    start = time.perf_counter()
    BY_NAME[sys.argv[1]].compiled().compile()
    took = {ALL: time.perf_counter() - start}
    after = tdsl.stats().seconds
    print(json.dumps(took | {stage: s - before.get(stage, 0.0) for stage, s in after.items()}))


def tables(threads: int, quick: bool) -> list[Table]:
    medians: dict[str, dict[str, float]] = {}
    for workload in WORKLOADS if not quick else [BY_NAME[n] for n in QUICK]:
        runs = []
        for _ in range(1 if quick else 5):
            with tempfile.TemporaryDirectory() as cache:
                runs.append(run_python(CHILD, workload.name, env={"TDSL_CACHE_DIR": cache}))
        medians[workload.title] = {
            stage: Quartiles.of([r[stage] for r in runs if stage in r]).median
            for stage in dict.fromkeys(s for r in runs for s in r)
        }
    stages = [
        stage
        for stage in dict.fromkeys(s for m in medians.values() for s in m)
        if any(m.get(stage, 0.0) > LEAST for m in medians.values())
    ]
    rows = [
        [title, *(f"{1e3 * m.get(s, 0.0):.1f}" for s in stages)] for title, m in medians.items()
    ]
    note = (
        "Milliseconds, value and gradients, medians over fresh processes; nothing cached. Stages "
        "that several threads work on overlap: all may be less than their sum. A derivative that "
        "the compiler has no formula for loads SymPy, which is counted."
    )
    return [Table("Compile time by stage", note, ["", *stages], rows)]
