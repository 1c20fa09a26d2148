"""The check that `tdsl check` makes of every function: are its gradients right?

In: a compiled function. Out: an `Outcome`: passed with the worst error, failed with the place, or
skipped with the reason. The compiled vjp is compared with central differences of the compiled
value along random directions, one parameter at a time:

    (f(x + h v) − f(x − h v)) · c / 2h  =  v · vjp(c)

extrapolated from h and h/2 to order h⁴ (Richardson).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..compiler.records import dataclass
from .arguments import OutOfRangeError
from .function import Function
from .random_inputs import NoInputsError, Style, choose_sizes, draw

# Step and tolerance: the extrapolated difference is off by about h⁴, its rounding by eps/h.
_STEP = {"f16": 0.25, "f32": 3e-2, "f64": 1e-3}
_TOLERANCE = {"f16": 0.2, "f32": 5e-3, "f64": 1e-6}
_SEEDS = 4  # a kink near one random point is no error: a gradient fails when it always differs

_LARGEST = 1_000_000  # elements of an argument or result


@dataclass(frozen=True)
class Outcome:
    """`status` is passed, failed or skipped; `detail` says how, in a phrase."""

    status: str
    detail: str


def check_gradients(f: Function) -> Outcome:
    """Compare every gradient of `f` with central differences at small random inputs."""
    signature = f.description
    if not signature.differentiable:
        return Outcome("skipped", "no floating-point parameter")
    if not any(o.dtype.is_float for o in signature.outputs):
        return Outcome("skipped", "no floating-point result")
    vjp = f.vjp()
    worst: dict[str, float] = {}
    try:
        for seed in range(_SEEDS):
            inputs = _inputs(f, seed)
            for name, error in _errors(f, vjp, inputs, np.random.default_rng(100 + seed)).items():
                worst[name] = min(error, worst.get(name, np.inf))
            if all(worst[p] <= _tolerance(f, p) for p in signature.differentiable):
                break
    except NoInputsError as reason:
        return Outcome("skipped", str(reason))
    wrong = [p for p in signature.differentiable if not worst[p] <= _tolerance(f, p)]
    if wrong:
        shown = ", ".join(f"{p} (relative error {worst[p]:.1e})" for p in wrong)
        return Outcome("failed", f"gradient differs from central differences in {shown}")
    return Outcome(
        "passed", f"{len(worst)} gradients, relative error at most {max(worst.values()):.0e}"
    )


def _precision(f: Function, parameter: str) -> str:
    """The narrowest dtype on the way from the parameter to the results."""
    dtypes = [p.dtype for p in f.description.params if p.name == parameter]
    dtypes += [o.dtype for o in f.description.outputs if o.dtype.is_float]
    return min(dtypes, key=lambda d: d.bits).name


def _tolerance(f: Function, parameter: str) -> float:
    return _TOLERANCE[_precision(f, parameter)]


def _inputs(f: Function, seed: int) -> list[Any]:
    """Random arguments at which the function is defined and finite."""
    s = f.description
    env = choose_sizes(s)
    most = max(math.prod(d.evaluate(env) for d in v.shape) for v in (*s.params, *s.outputs))
    if most > _LARGEST:
        raise NoInputsError(f"its arrays would have {most:,} elements: the limit is {_LARGEST:,}")
    smallest = min(env.values(), default=2)
    reason = "no random inputs give a finite result"
    for positive in (False, True):
        for bound in (smallest, 2, 1):
            rng = np.random.default_rng(seed)
            arguments = [draw(p, env, rng, Style(positive, bound)) for p in s.params]
            try:
                values = _values(f, arguments)
            except OutOfRangeError as error:
                reason = f"random indices do not fit: {error}"
                continue
            if all(np.isfinite(v).all() for v in values):
                return arguments
    raise NoInputsError(reason)


def _values(f: Function, arguments: Sequence[Any]) -> list[np.ndarray[Any, Any]]:
    """The floating-point results, in f64."""
    found = f(*arguments)
    several = found if isinstance(found, tuple) else (found,)
    outputs = zip(several, f.description.outputs, strict=True)
    return [np.asarray(v, np.float64) for v, o in outputs if o.dtype.is_float]


def _errors(
    f: Function, vjp: Function, arguments: list[Any], rng: np.random.Generator
) -> dict[str, float]:
    """The relative error of the directional derivative along each parameter."""
    values = _values(f, arguments)
    floats = [o.dtype.numpy for o in f.description.outputs if o.dtype.is_float]
    cts = [np.asarray(rng.standard_normal(v.shape), d) for v, d in zip(values, floats, strict=True)]
    found = vjp(*arguments, *cts)
    gradients = dict(
        zip(vjp._transform.wrt, found if isinstance(found, tuple) else (found,), strict=True)  # type: ignore[union-attr]
    )

    def functional(at: list[Any]) -> float:
        return float(
            sum(np.sum(v * np.float64(c)) for v, c in zip(_values(f, at), cts, strict=True))
        )

    scale = float(sum(np.sum(np.abs(v * c)) for v, c in zip(values, cts, strict=True)))
    errors = {}
    for k, p in enumerate(f.description.params):
        if p.name not in gradients:
            continue
        direction = rng.standard_normal(np.shape(arguments[k]))
        h = _STEP[_precision(f, p.name)]

        def slope(step: float, k: int = k, direction: Any = direction) -> float:
            ends = []
            for sign in (1, -1):
                moved = list(arguments)
                moved[k] = np.asarray(arguments[k] + sign * step * direction, arguments[k].dtype)
                ends.append(functional(moved))
            return (ends[0] - ends[1]) / (2 * step)

        try:
            numeric = (4 * slope(h / 2) - slope(h)) / 3
        except OutOfRangeError:
            numeric = np.nan
        analytic = float(np.sum(np.float64(gradients[p.name]) * direction))
        size = float(np.sum(np.abs(np.float64(gradients[p.name]) * direction)))
        errors[p.name] = abs(analytic - numeric) / max(size, abs(numeric), 1e-2 * scale, 1e-6)
        if not np.isfinite(errors[p.name]):
            errors[p.name] = np.inf
    return errors
