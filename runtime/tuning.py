"""Tuning: a function in several variants, timed by turns; the fastest is recorded.

In: a function and arguments. Out: an `Outcome`: the choices that are best for it, and every
variant's time. Each choice is tried alone, then those that gained are combined, the best first. A
variant whose results differ from the static choice's by more than rounding is rejected, and so is
one that gains no more than the noise. Left to others: what a choice does (`compiler.tuning`), where
it is kept (`tuning_records`).

Times are compared round by round: every variant once a round, in random order, since what disturbs
the machine disturbs the whole round. What counts is the median of the rounds' ratios.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compiler.tuning import STATIC, Tuning
from .arguments import convert
from .calls import tensors_among
from .tuning_records import forget, record

if TYPE_CHECKING:
    from ..compiler.dtypes import DType
    from .function import Function

Call = Callable[[], Any]

CANDIDATES: tuple[tuple[str, Any], ...] = (
    ("lanes", "output"),
    ("lanes", "sum"),
    ("pointwise_copies", 1),
    ("pointwise_copies", 4),
    ("dear_copies", 2),
    ("tile_vectors", 1),
    ("tile_vectors", 4),
    ("sum_copies", 2),
    ("sum_copies", 8),
    ("split_cost", 0),
    ("split_cost", 512),
    ("bands", False),
    ("band_bytes", 1 << 16),
    ("band_bytes", 1 << 17),
    ("band_bytes", 1 << 19),
    ("band_bytes", 1 << 20),
    ("sharing", False),
    ("extraction", False),
    ("packing", False),
)
"""The choices that are tried, one at a time."""

NOISE = 0.03
"""The gain that a record needs; equal code seems to gain up to half of it on a quiet machine."""

_STEP = 0.01  # the gain for which a choice is tried with others
_HOPELESS = 1.3  # times the static choice's time, after a few rounds
_TRIAL, _FINAL = 11, 31  # rounds
_FEW = 3
_TURN = 0.003  # seconds; a quick function is called several times
_PATIENCE = 1.0  # seconds for every variant, unless a few rounds take longer
_MOSTLY = 0.75  # the share of rounds in which the best has to be faster

_TOLERANCE = {"f16": 1e-2, "bf16": 5e-2, "f32": 1e-4, "f64": 1e-11}
"""Of a result's largest entry: by what sums in another order may differ."""


@dataclass(frozen=True)
class Variant:
    """Choices that were tried. `seconds` of a call and `ratio` to the static choice are medians
    over the rounds; `fault` says why they are out of the question."""

    tuning: Tuning
    seconds: float = float("nan")
    ratio: float = float("nan")
    fault: str = ""


@dataclass(frozen=True)
class Outcome:
    """`variants` begin with the static choice. `best` is that where nothing gains more than the
    noise. `same` counts the candidates that make no difference to the code."""

    variants: tuple[Variant, ...]
    best: Variant
    same: int


def tune(f: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Outcome:
    """Time the variants of `f` at these arguments, record the best one, and let `f` use it. Raises
    what a call with these arguments raises."""
    outcome = _Trial(f, args, kwargs).run()
    best = outcome.best.tuning
    if best == STATIC:
        forget(f._source, f._base, f._transform)
    else:
        record(f._source, f._base, f._transform, best)
    f._use(best)
    return outcome


def differences(tuning: Tuning) -> str:
    """The choices that are not the static ones: `bands=False, sum_copies=8`."""
    changed = {n: v for n, v in _choices(tuning).items() if v != getattr(STATIC, n)}
    return ", ".join(f"{n}={v}" for n, v in changed.items()) or "static choice"


def _choices(tuning: Tuning) -> dict[str, Any]:
    return {f.name: getattr(tuning, f.name) for f in fields(tuning)}


class _Trial:
    """The variants of one function at some arguments. `calls` are those whose results are right."""

    def __init__(self, f: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        from ..compiler.pipeline import simplified

        self.f = f
        self.args, self.kwargs = args, kwargs
        self.converted = (
            None if tensors_among(args, kwargs) else convert(f.description, args, kwargs)
        )
        self.graph = simplified(f.graph())
        self.calls = {STATIC: self.call(STATIC)}
        self.expected = _values(self.calls[STATIC]())
        self.dtypes = [o.dtype for o in f.description.outputs]
        self.codes = {self.code(STATIC)}
        self.variants: dict[Tuning, Variant] = {}
        self.same = 0

    def call(self, tuning: Tuning) -> Call:
        """What calls the function compiled by these choices."""
        from .function import Function

        f = Function(self.f._source, self.f._base, self.f._transform, tuning)
        f.compile()
        converted = self.converted
        if converted is None:
            return lambda: f(*self.args, **self.kwargs)
        return lambda: f.converted(*converted)

    def code(self, tuning: Tuning) -> bytes:
        """Equal for choices that make the same code."""
        from ..compiler.build import Build
        from ..compiler.machine import host

        with self.graph.scope.active():
            text = Build(self.graph, host(), tuning).llvm
        return hashlib.sha256(text.encode()).digest()

    def run(self) -> Outcome:
        alone = [replace(STATIC, **{name: value}) for name, value in CANDIDATES]
        self.race(filter(self.prepare, alone), _TRIAL)
        gains = [v for v in self.variants.values() if v.ratio < 1 - _STEP]
        best = STATIC
        for v in sorted(gains, key=lambda v: v.ratio):
            own = {n: x for n, x in _choices(v.tuning).items() if x != getattr(STATIC, n)}
            if any(getattr(best, n) != getattr(STATIC, n) for n in own):
                continue  # another value of the same choice gained more
            both = replace(best, **own)
            if best == STATIC or (
                self.prepare(both) and self.race([best, both], _TRIAL)[both] < 1 - _STEP
            ):
                best = both
        static = self.variants.pop(STATIC)
        variants = (static, *self.variants.values())
        if best == STATIC:
            return Outcome(variants, static, self.same)
        seconds = self.rounds([STATIC, best], _FINAL)
        ratios = [t / s for t, s in zip(seconds[best], seconds[STATIC], strict=True)]
        found = Variant(best, statistics.median(seconds[best]), statistics.median(ratios))
        faster = sum(r < 1 for r in ratios) >= _MOSTLY * len(ratios)
        won = found.ratio < 1 - NOISE and faster
        return Outcome((*variants, found), found if won else static, self.same)

    def prepare(self, tuning: Tuning) -> bool:
        """Compile a variant and check its results; whether it is to be timed."""
        if tuning in self.calls:
            return True
        code = self.code(tuning)
        if code in self.codes:
            self.same += 1
            return False
        self.codes.add(code)
        call = self.call(tuning)
        fault = _fault(_values(call()), self.expected, self.dtypes)
        if fault:
            self.variants[tuning] = Variant(tuning, fault=fault)
            return False
        self.calls[tuning] = call
        return True

    def race(self, tunings: Iterable[Tuning], rounds: int) -> dict[Tuning, float]:
        """Time variants and the static choice by turns. The ratios to the first of them."""
        order = list(dict.fromkeys((*tunings, STATIC)))
        seconds = self.rounds(order, rounds)
        for tuning, times in seconds.items():
            ratio = _ratio(times, seconds[STATIC])
            self.variants.setdefault(tuning, Variant(tuning, statistics.median(times), ratio))
        return {t: _ratio(times, seconds[order[0]]) for t, times in seconds.items()}

    def rounds(self, tunings: Sequence[Tuning], most: int) -> dict[Tuning, list[float]]:
        """Seconds of a call, round by round; fewer of them for what is clearly slow."""
        once = {t: _seconds(self.calls[t], 1) for t in tunings}
        calls = {t: max(1, int(_TURN / max(s, 1e-7))) for t, s in once.items()}
        out: dict[Tuning, list[float]] = {t: [] for t in tunings}
        racing = list(tunings)
        rng = random.Random(0)
        begin = time.perf_counter()
        for done in range(most):
            if done >= _FEW and time.perf_counter() - begin > _PATIENCE * len(racing):
                break
            if done == _FEW:
                racing = [t for t in racing if _ratio(out[t], out[STATIC]) < _HOPELESS]
            rng.shuffle(racing)
            for t in racing:
                if calls[t] > 1:
                    self.calls[t]()  # the caches hold what another variant left there
                out[t].append(_seconds(self.calls[t], calls[t]))
        return out


def _seconds(call: Call, calls: int) -> float:
    """Of one call, the mean of so many in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _ratio(times: Sequence[float], base: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(t / b for t, b in zip(times, base, strict=False))


# --------------------------------------------------------------------------- results


def _values(result: Any) -> list[np.ndarray[Any, Any]]:
    several = result if isinstance(result, tuple) else (result,)
    return [np.asarray(v.detach() if hasattr(v, "detach") else v) for v in several]


def _fault(
    found: Sequence[np.ndarray[Any, Any]],
    expected: Sequence[np.ndarray[Any, Any]],
    dtypes: Sequence[DType],
) -> str:
    """In what the results differ by more than rounding; nothing where they do not."""
    for k, (x, y, d) in enumerate(zip(found, expected, dtypes, strict=True)):
        if d.name not in _TOLERANCE:
            if not np.array_equal(x, y):
                return f"result {k} differs"
            continue
        a, b = _numbers(x, d), _numbers(y, d)
        finite = np.isfinite(b)
        if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
            return f"result {k} differs where it is not finite"
        scale = np.abs(b[finite]).max(initial=0.0)
        off = np.abs(a[finite] - b[finite]).max(initial=0.0)
        if not off <= _TOLERANCE[d.name] * scale:  # nan is not
            return f"result {k} is off by {off / scale if scale else off:.0e}"
    return ""


def _numbers(x: np.ndarray[Any, Any], d: DType) -> np.ndarray[Any, Any]:
    if d.name == "bf16" and x.dtype == np.uint16:  # its bits
        x = (x.astype(np.uint32) << 16).view(np.float32)
    return np.asarray(x, np.float64)
