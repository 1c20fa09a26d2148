"""CasADi and SymForce, whose game is formulas of few numbers. Both compute in f64.

CasADi is called through its buffers, the quickest way it has: no arrays are made. SymForce's
function is generated Python, compiled by Numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from workload_table import Workload

from . import System


def _casadi(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any] | None:
    import casadi

    if workload.name != "tiny":
        return None
    n = len(arguments[0])
    x, w = casadi.SX.sym("x", n), casadi.SX.sym("w", n)
    value = casadi.sum1(casadi.tanh(x * w))
    f = casadi.Function("tiny", [x, w], [value, casadi.gradient(value, w)])
    buffer, evaluate = f.buffer()
    inputs = [np.asarray(a, float) for a in arguments]
    results = [np.zeros(()), np.zeros(n)]
    for k, a in enumerate(inputs):
        buffer.set_arg(k, memoryview(a))
    for k, r in enumerate(results):
        buffer.set_res(k, memoryview(r))

    def work(kept: Any = (f, buffer, inputs)) -> Any:  # `evaluate` keeps none of them alive
        evaluate()
        return results

    return work


def _symforce(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any] | None:
    import symforce
    import symforce.symbolic as sf
    from symforce.util import numbify

    if workload.name != "tiny":
        return None
    symforce.set_log_level("ERROR")
    vector = getattr(sf, f"Vector{len(arguments[0])}")
    x, w = vector.symbolic("x"), vector.symbolic("w")
    value = sum((sf.tanh(a * b) for a, b in zip(x, w, strict=True)), sf.S(0))
    gradient = sf.Matrix([value]).jacobian(w).transpose()
    compiled = numbify([x, w], [value, gradient])
    inputs = [np.asarray(a, float) for a in arguments]
    return lambda: compiled(*inputs)


def _arrays(result: Any) -> tuple[Any, ...]:
    value, gradient = result
    return np.asarray(value), np.asarray(gradient).reshape(-1)


def systems(threads: int) -> list[System]:
    from importlib.util import find_spec

    known = (("casadi", "CasADi", _casadi), ("symforce", "SymForce", _symforce))
    return [System(name, build, _arrays) for module, name, build in known if find_spec(module)]
