"""The suite: `python benchmarks [--quick]`, or `make bench`.

Every section runs in a process of its own, pinned to as many CPUs as it may use threads. The tables
are printed, and written with a plot to docs/performance.md and docs/performance.png (`--page`: by
another name, of another kind of machine); a quick run (few rounds, fewer rows, under two minutes)
or a part only prints, unless `--to` names a folder.
"""

from __future__ import annotations

import argparse
import datetime
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WORKLOADS = "workload_times"
#: The sections after the workloads' times, in the page's order; whether for each number of threads.
SECTIONS = {
    "second_thread": False,
    "matrix_products": True,
    "elementary_functions": False,
    "eager_operations": False,
    "digits_step": False,
    "call_overhead": False,
    "compile_stages": False,
    "start_up": False,
    "peak_memory": False,
}
#: What is measured with all threads where it is measured once: a process starts with all its CPUs.
WITH_ALL = ("second_thread", "start_up", "compile_stages")
THREADS = [1, 2]
#: What makes NumPy's BLAS take another CPU's kernels, which are slower.
BLAS_OVERRIDES = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
#: What NumPy's BLAS and OpenMP read when they are loaded.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
PACKAGES = ("numpy", "torch", "jax", "numba", "pykeops", "casadi", "symforce")


def main() -> None:
    options = _options()
    if options.section:
        _run_here(options)
        return
    available = _cpus()
    threads = [t for t in options.threads if t <= len(available)]
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    sections = options.only or [WORKLOADS, *SECTIONS]
    with tempfile.TemporaryDirectory() as scratch:
        data: list[Any] = []
        others: list[Any] = []
        for name in sections:
            every = name == WORKLOADS or SECTIONS[name]
            once = threads[-1:] if name in WITH_ALL else threads[:1]
            for count in threads if every else once:
                print(f"{name}, threads: {count}", file=sys.stderr, flush=True)
                start = time.monotonic()
                found = _in_process(name, count, options.quick, Path(scratch), options.workloads)
                took = time.monotonic() - start
                print(f"  {took:.0f} s", file=sys.stderr, flush=True)
                (data if name == WORKLOADS else others).append(found)
    machine = _machine(load, options.quick)
    _write(options, machine, data, others)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds; print only")
    parser.add_argument("--threads", type=int, nargs="+", default=THREADS)
    parser.add_argument("--only", nargs="+", choices=[WORKLOADS, *SECTIONS], help="these sections")
    parser.add_argument("--workloads", nargs="+", default=[], help="these workloads' times alone")
    parser.add_argument("--to", type=Path, help="the folder of the page and its plot")
    parser.add_argument("--page", default="performance", help="its name, and its plot's")
    parser.add_argument("--section", help=argparse.SUPPRESS)  # one section, in this process
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def _cpus() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _in_process(
    name: str, threads: int, quick: bool, scratch: Path, workloads: Sequence[str]
) -> Any:
    """The section's data. Compiled code goes to caches of this run's own."""
    env = {k: v for k, v in os.environ.items() if k not in BLAS_OVERRIDES}
    env.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    env.update(
        TDSL_CACHE_DIR=str(scratch / "tdsl"),
        TORCHINDUCTOR_CACHE_DIR=str(scratch / f"inductor-{threads}"),
        KEOPS_CACHE_FOLDER=str(scratch / "keops"),
    )
    result = scratch / "result.json"
    command = [sys.executable, str(HERE), "--section", name, "--result", str(result)]
    command += ["--threads", str(threads), *(["--quick"] if quick else [])]
    command += ["--workloads", *workloads] if workloads else []
    subprocess.run(command, env=env, check=True)
    return json.loads(result.read_text(encoding="utf-8"))


def _run_here(options: argparse.Namespace) -> None:
    """One section, in this process, which is pinned before anything starts threads."""
    threads = options.threads[0]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, _cpus()[-threads:])  # the first serves interrupts
    module = importlib.import_module(options.section)
    if options.section == WORKLOADS:
        text = json.dumps(module.measure(threads, options.quick, options.workloads))
    else:
        from tables import to_json

        text = to_json(module.tables(threads, options.quick))
    options.result.write_text(text, encoding="utf-8")


def _write(
    options: argparse.Namespace, machine: str, data: Sequence[Any], others: Sequence[Any]
) -> None:
    import report
    from tables import Table

    tables = [report.main_table(d) for d in data]
    tables += [Table(**t) for section in others for t in section]
    tables += [report.spread_table(d) for d in data]
    print(machine)
    for table in tables:
        print(f"\n{table.title}\n{table.note}\n\n{table.text()}")
    part = options.quick or options.only or options.workloads or options.threads != THREADS
    if part and options.to is None:
        return
    folder = options.to or HERE.parent / "docs"
    folder.mkdir(parents=True, exist_ok=True)
    plot = None
    if data:
        try:
            plot = f"{options.page}.png"
            report.draw(data, folder / plot)
        except ImportError:
            plot = None
            print("no plot: matplotlib is not installed", file=sys.stderr)
    text = report.page(machine, tables, plot)
    (folder / f"{options.page}.md").write_text(text, encoding="utf-8")


def _machine(load: float, quick: bool) -> str:
    """What was measured where and when, and what else the machine did."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        names = [
            line.partition(":")[2].strip()
            for line in information.read_text().splitlines()
            if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    quickly = " A quick run: few rounds, no torch.compile, fewer rows." if quick else ""
    return (
        f"Measured on {datetime.date.today():%Y-%m-%d} on {len(_cpus())} cores of an {cpu} "
        f"({platform.system()}), Python {platform.python_version()}, with {', '.join(versions)}. "
        f"Load of the machine before: {load:.1f}.{quickly}"
    )


if __name__ == "__main__":
    main()
