"""Random functions and their gradients on the emulated device agree with the interpreter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from tdsl.compiler import graph as g
from tdsl.compiler.graph import Function
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import simplified

from .ptx_arithmetic import Array
from .ptx_device import Emulated
from .random_graphs import functions

QUIET = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


def check(case: tuple[Function, list[Array]]) -> None:
    fn, arrays = case
    with fn.scope.active():
        wrt = [p for p in fn.params if p.dtype.is_float]
        derivatives = [g.gradient(fn.outputs[0], p) for p in wrt]
        ready = simplified(fn.with_outputs([*fn.outputs, *derivatives]))
    for got, want in zip(Emulated(ready)(*arrays), interpret(ready, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


@settings(max_examples=15, **QUIET)
@given(functions())
def test_random_functions(case: tuple[Function, list[Array]]) -> None:
    check(case)


@pytest.mark.slow
@settings(max_examples=500, **QUIET)
@given(functions(steps=9))
def test_many_random_functions(case: tuple[Function, list[Array]]) -> None:
    check(case)
