"""Random functions: simplification keeps values and is idempotent, gradients match differences."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tdsl.compiler import graph as g
from tdsl.compiler.graph import Function
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import differentiated, simplified
from tdsl.compiler.simplify import simplify
from tdsl.compiler.text import function_text
from tdsl.compiler.verify import verify

from .graph_functions import Array
from .random_graphs import functions

QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


def with_gradients(fn: Function) -> Function:
    with fn.scope.active():
        floats = [p for p in fn.params if p.dtype.is_float]
        found = [g.gradient(fn.outputs[0], p) for p in floats]
        return fn.with_outputs([*fn.outputs, *found])


def close(a: Array, b: Array, tolerance: float) -> None:
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def check(case: tuple[Function, list[Array]]) -> None:
    fn, arrays = case
    verify(fn)
    (value,) = interpret(fn, arrays)
    simple = simplify(fn)
    verify(simple)
    close(interpret(simple, arrays)[0], value, 1e-9)
    whole = with_gradients(fn)
    plain = interpret(differentiated(whole), arrays)
    reduced = simplified(whole)
    found = interpret(reduced, arrays)
    for a, b in zip(found, plain, strict=True):
        close(a, b, 1e-7)
    again = simplify(reduced)
    assert function_text(again) == function_text(reduced), "simplification is not idempotent"
    differences(fn, arrays, found[1:])


def differences(fn: Function, arrays: list[Array], slopes: tuple[Array, ...]) -> None:
    """Along a random direction; where two step widths disagree there is a kink, and no verdict."""
    rng = np.random.default_rng(0)
    floats = [p.position for p in fn.params if p.dtype.is_float]
    direction = {k: rng.uniform(-1, 1, arrays[k].shape) for k in floats}

    def at(amount: float) -> float:
        moved = [a + amount * direction[k] if k in direction else a for k, a in enumerate(arrays)]
        return float(interpret(fn, moved)[0])

    coarse, fine = ((at(h) - at(-h)) / (2 * h) for h in (2e-5, 1e-5))
    one_sided = (at(1e-6) - at(0.0)) / 1e-6, (at(0.0) - at(-1e-6)) / 1e-6
    exact = sum(float(np.sum(s * direction[k])) for s, k in zip(slopes, floats, strict=True))
    scale = 1 + abs(fine) + sum(float(np.sum(np.abs(s))) for s in slopes)
    smooth = abs(coarse - fine) < 1e-6 * scale and abs(one_sided[0] - one_sided[1]) < 1e-3 * scale
    if smooth and np.isfinite(fine):
        assert abs(exact - fine) <= 1e-5 * scale, (exact, fine)


@settings(max_examples=60, **QUIET)
@given(functions())
def test_random_functions(case: tuple[Function, list[Array]]) -> None:
    check(case)


@pytest.mark.slow
@settings(max_examples=2_000, **QUIET)
@given(functions(steps=9))
def test_many_random_functions(case: tuple[Function, list[Array]]) -> None:
    check(case)
