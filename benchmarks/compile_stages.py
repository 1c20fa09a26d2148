"""How long each stage of the compiler takes, workload by workload, nothing cached.

Every compilation runs in a process of its own, after a small program has been compiled there, so
that imports and LLVM's start are not counted and no memory of an earlier compilation helps.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from child_process import run_python
from rounds import Quartiles
from tables import Table
from workload_table import BY_NAME, WORKLOADS

PARSE, CHECK, GRADIENT, SIMPLIFY, FUSE, PLAN, LOWER, EMIT, LLVM, OBJECT = STAGES = (
    *("parse", "check", "gradient", "simplify", "fuse", "plan", "lower"),
    *("emit", "llvm", "object"),
)
QUICK = ("cross_entropy", "mlp", "tiny")
SMALL = "def f(x: f32[n]) -> f32:\n    return sum(exp(x @ x))\n"


def seconds_by_stage(path: Path | None, text: str | None, name: str, wrt: tuple[str, ...]) -> Any:
    """Of one compilation. `wrt` names the gradients wanted beside the value, if any."""
    from tdsl.compiler import build, pipeline, target_cpu
    from tdsl.compiler.python_entry import add_entry
    from tdsl.compiler.simplify import simplify
    from tdsl.compiler.verify import verify
    from tdsl.dsl.check import check
    from tdsl.dsl.modules import load_modules
    from tdsl.runtime.transforms import Transform, transform

    found: dict[str, float] = {}

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        result = work()
        found[stage] = time.perf_counter() - start
        return result

    def simplified(fn: Any) -> Any:
        out = simplify(fn)
        verify(out)
        return out

    program = timed(PARSE, lambda: load_modules(path, text))
    fn = timed(CHECK, lambda: check(program)).functions[name]
    if wrt:
        fn = transform(fn, Transform("value_and_grad", wrt))
    fn = timed(GRADIENT, lambda: pipeline.differentiated(fn))
    ready = timed(SIMPLIFY, lambda: simplified(fn))
    host = target_cpu.host()
    with ready.scope.active():
        stages = build.Build(ready, host)
        timed(FUSE, lambda: stages.kernels)
        timed(PLAN, lambda: stages.program)
        timed(LOWER, lambda: stages.loops)

        def emitted() -> str:
            module = target_cpu.module_of(stages.loops, host)
            requirements = (*ready.requirements, *build._nonempty(stages.kernels))
            add_entry(module, replace(ready, requirements=requirements))
            return str(module)

        llvm_text = timed(EMIT, emitted)
        module = timed(LLVM, lambda: target_cpu.optimized(llvm_text, host))
        timed(OBJECT, lambda: target_cpu.object_code(module, host))
    return found


CHILD = "import compile_stages; compile_stages.compile_one()"


def compile_one() -> None:
    """In a process of its own: the workload named on the command line."""
    workload = BY_NAME[sys.argv[1]]
    seconds_by_stage(None, SMALL, "f", ("x",))
    wrt = () if workload.own_gradients else workload.wrt
    print(json.dumps(seconds_by_stage(workload.path, None, workload.function, wrt)))


def tables(threads: int, quick: bool) -> list[Table]:
    rows = []
    for workload in WORKLOADS if not quick else [BY_NAME[n] for n in QUICK]:
        runs = [run_python(CHILD, workload.name) for _ in range(1 if quick else 5)]
        medians = [Quartiles.of([r[s] for r in runs]).median for s in STAGES]
        shown = [f"{1e3 * m:.1f}" for m in (sum(medians), *medians)]
        rows.append([workload.title, *shown])
    note = (
        "Milliseconds, value and gradients, medians over fresh processes; nothing cached. A "
        "derivative that the compiler has no formula for loads SymPy, which is counted."
    )
    return [Table("Compile time by stage", note, ["", "all", *STAGES], rows)]
