"""Tuning: a function in several variants, timed by turns; the fastest is recorded.

In: a function and arguments. Out: an `Outcome`: the choices that are best for it, and every
variant's time. Each choice is tried alone, then those that gained are combined, the best first. A
variant whose results differ from the static choice's by more than rounding is rejected, and so is
one that gains no more than the noise. Left to others: what a choice does (`compiler.tuning`), where
it is kept (`tuning_records`).

Times are compared round by round: every variant once a round, in random order, since what disturbs
the machine for long disturbs the whole round. What disturbs it for a moment hits one burst of a
turn's three: the fastest counts. A ratio is the median of the rounds' ratios.
"""

from __future__ import annotations

import hashlib
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compiler.records import dataclass
from ..compiler.tuning import CANDIDATES, STATIC, Tuning
from .arguments import convert
from .calls import tensors_among
from .tuning_records import forget, record

if TYPE_CHECKING:
    from ..compiler.dtypes import DType
    from .function import Function

Call = Callable[[], Any]
Say = Callable[[str], None]

NOISE = 0.03
"""The gain that a record needs; equal code seems to gain up to half of it on a quiet machine."""

_STEP = 0.02  # the gain for which a choice is tried with others, or added to them
_HOPELESS = 1.3  # times the static choice's time, after a few rounds
_TRIAL, _FINAL = 11, 31  # rounds
_FEW = 3
_BURSTS, _BURST = 3, 0.001  # of a turn, the fastest of which counts; seconds of calls in each
_PATIENCE = 1.0  # seconds for every variant, unless a few rounds take longer
_MOSTLY = 0.75  # the share of rounds in which what gains is faster

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
    """`variants` begin with the static choice. `again` is the fastest of the others, timed for
    longer; `best` is its choices, or the static ones if it gains no more than the noise. `same`
    counts the candidates that make no difference to the code."""

    variants: tuple[Variant, ...]
    again: Variant | None
    best: Tuning
    same: int


def tune(
    f: Function, args: Sequence[Any], kwargs: Mapping[str, Any], say: Say = lambda text: None
) -> Outcome:
    """Time the variants of `f` at these arguments, record the best one, and let `f` use it; `say`
    is told what goes on. Raises what a call with these arguments raises."""
    outcome = _Trial(f, args, kwargs, say).run()
    best = outcome.best
    if best == STATIC:
        forget(f._source, f._base, f._transform)
    else:
        record(f._source, f._base, f._transform, best)
    f._use(best)
    return outcome


class _Trial:
    """The variants of one function at some arguments. `calls` are those whose results are right."""

    def __init__(
        self,
        f: Function,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        say: Say = lambda text: None,
    ) -> None:
        from ..compiler.pipeline import simplified

        self.f, self.say = f, say
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
        gaining = self.race(STATIC, [t for t in alone if self.prepare(t)])
        same = len(alone) - len(self.variants.keys() - {STATIC})
        best = STATIC
        for tuning in gaining:
            if tuning.changes.keys() & best.changes.keys():
                continue  # another value of the same choice gained more
            both = replace(best, **tuning.changes)
            if best == STATIC or (self.prepare(both) and self.race(best, [both])):
                best = both
        static = self.variants.pop(STATIC)
        variants = (static, *self.variants.values())
        if best == STATIC:
            return Outcome(variants, None, STATIC, same)
        seconds = self.rounds([STATIC, best], _FINAL)
        times, base = seconds[best], seconds[STATIC]
        again = Variant(best, statistics.median(times), _ratio(times, base))
        return Outcome(variants, again, best if _gain(times, base, NOISE) else STATIC, same)

    def prepare(self, tuning: Tuning) -> bool:
        """Compile a variant and check its results; whether it is to be timed."""
        if tuning in self.calls:
            return True
        self.say(str(tuning))
        code = self.code(tuning)
        if code in self.codes:
            return False
        self.codes.add(code)
        call = self.call(tuning)
        fault = _fault(_values(call()), self.expected, self.dtypes)
        if fault:
            self.variants[tuning] = Variant(tuning, fault=fault)
            return False
        self.calls[tuning] = call
        return True

    def race(self, base: Tuning, others: Sequence[Tuning]) -> list[Tuning]:
        """Time variants by turns: the others that gain on `base`, the fastest first."""
        seconds = self.rounds(list(dict.fromkeys((STATIC, base, *others))), _TRIAL)
        for tuning, times in seconds.items():
            ratio = _ratio(times, seconds[STATIC])
            self.variants.setdefault(tuning, Variant(tuning, statistics.median(times), ratio))
        gaining = [t for t in others if _gain(seconds[t], seconds[base], _STEP)]
        return sorted(gaining, key=lambda t: _ratio(seconds[t], seconds[base]))

    def rounds(self, tunings: Sequence[Tuning], most: int) -> dict[Tuning, list[float]]:
        """Seconds of a call, round by round; fewer of them for what is clearly slow."""
        once = {t: _seconds(self.calls[t], 1) for t in tunings}
        calls = {t: max(1, int(_BURST / max(s, 1e-7))) for t, s in once.items()}
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
                bursts = [_seconds(self.calls[t], calls[t]) for _ in range(_BURSTS)]
                out[t].append(min(bursts))
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


def _gain(times: Sequence[float], base: Sequence[float], least: float) -> bool:
    """Whether it is faster by more than `least`, and faster in most rounds."""
    faster = sum(t < b for t, b in zip(times, base, strict=False))
    return _ratio(times, base) < 1 - least and faster >= _MOSTLY * len(times)


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
