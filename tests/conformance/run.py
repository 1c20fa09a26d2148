"""Runs cases on tdsl and prints what differs: `python -m tests.conformance.run [pattern …]`.

A pattern is a case's name, `*` and `?` allowed: `'views/*'`, `views/squeeze/3`. The first argument
`--torch` runs PyTorch itself against the record.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from fnmatch import fnmatchcase
from typing import Any

from .agreement import differences
from .case import Case
from .families import cases
from .known import reasons
from .outcome import outcome
from .record import pytorch, recorded


def run(found: list[Case], module: Any) -> None:
    record, known = recorded(), reasons()
    total: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    for case in found:
        family = case.name.partition("/")[0]
        start = time.perf_counter()
        told = differences(outcome(case, module), record[case.name][1], case)
        seconds = time.perf_counter() - start
        total[family] += 1
        if told:
            failed[family] += 1
            mark = " (known)" if case.name in known else ""
            print(f"{case.name}{mark}\n    {case.text.replace(chr(10), chr(10) + '    ')}")
            print(*(f"      {line}" for line in told[:3]), sep="\n")
        if seconds > 1:
            print(f"{case.name} took {seconds:.1f} s")
    for family in total:
        print(f"{family:20} {total[family] - failed[family]:5} of {total[family]}")
    print(f"{'all':20} {total.total() - failed.total():5} of {total.total()}")


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["--torch"]:
        module, patterns = pytorch(), arguments[1:]
    else:
        import tdsl

        module, patterns = tdsl, arguments
    chosen = [c for c in cases() if not patterns or any(fnmatchcase(c.name, p) for p in patterns)]
    run(chosen, module)


if __name__ == "__main__":
    main(sys.argv[1:])
