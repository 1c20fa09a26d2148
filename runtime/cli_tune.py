"""What `tdsl tune` prints: a table of the variants, and what became of them.

In: a function and arguments. Out: text. Left to others: the variants and their times (`tuning`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..compiler.tuning import STATIC
from .threads import get_num_threads
from .tuning import NOISE, Outcome, Variant, tune

if TYPE_CHECKING:
    from .function import Function


def table(f: Function, arguments: Mapping[str, Any]) -> str:
    """Tune `f` at these arguments; every variant, and the verdict."""
    outcome = tune(f, (), arguments, _progress)
    threads = get_num_threads()
    rows = [("choice", "time", "ratio"), *(_row(v) for v in outcome.variants)]
    wide = max(len(name) for name, _, _ in rows)
    lines = [f"{f.__name__} on {threads} thread{'s' if threads != 1 else ''}"]
    lines += [f"  {name:{wide}}  {time:>10}  {ratio}".rstrip() for name, time, ratio in rows]
    return "\n".join([*lines, *_verdict(outcome)])


def forgotten(f: Function) -> str:
    found = f.forget_tuning()
    return f"{f.__name__}: {'back to the static choice' if found else 'nothing was recorded'}"


def _row(v: Variant) -> tuple[str, str, str]:
    if v.fault:
        return str(v.tuning), "rejected", v.fault
    return str(v.tuning), _time(v.seconds), f"{v.ratio:.2f}"


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-9:.3g} ns"


def _verdict(outcome: Outcome) -> list[str]:
    lines, again = [], outcome.again
    if outcome.same:
        lines.append(f"{outcome.same} more make no difference to the code")
    if again is not None:
        name, time, ratio = _row(again)
        lines.append(f"again, for longer: {name}  {time}  {ratio}")
    if outcome.best == STATIC:
        lines.append(f"the static choice stays: nothing gains more than {NOISE:.0%} reliably")
    else:
        lines.append(f"recorded: {outcome.best}")
    return lines


def _progress(text: str) -> None:
    """Where somebody watches."""
    if sys.stderr is not None and sys.stderr.isatty():
        print(f"compiling: {text}", file=sys.stderr, flush=True)
