"""What a call of a compiled function costs, in nanoseconds.

A tiny function of three arrays (8 elements each) through the `Function` object, with its gradient,
with keywords, through the slow path (a strided array), with Tensors; beside NumPy calls of the same
machine and minute.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tdsl
from rounds import Effort, Quartiles, interleaved
from tables import Table

PROGRAM = """
def dot(x: f32[n], y: f32[n], z: f32[n]) -> f32:
    return sum(x * y * z)

def product(x: f32[n], y: f32[n], z: f32[n]) -> f32[n]:
    return x * y * z

def scaled(x: f32[n], s: f32) -> f32[n]:
    return x * s
"""
ROWS = {
    "three arrays, a scalar returned": "dot(a, a, a)",
    "three arrays, an array returned": "product(a, a, a)",
    "an array and a Python float": "scaled(a, 2.0)",
    "by name": "scaled(x=a, s=2.0)",
    "value and three gradients": "gradient(a, a, a)",
    "slow path: a strided argument": "product(strided, a, a)",
    "slow path: a Tensor that requires grad": "dot(t, a, a)",
    "the same with backward": "dot(t, a, a).backward()",
    "numpy: np.empty(8)": "np.empty(8)",
    "numpy: a * a": "a * a",
    "numpy: np.dot(a, a)": "np.dot(a, a)",
}
IN_A_ROW = 200


def _calls(call: str, names: dict[str, Any]) -> Callable[[], object]:
    """`call` a number of times in a loop of its own."""
    body = f"def work():\n    for _ in range({IN_A_ROW}):\n        {call}\n"
    space = dict(names)
    exec(body, space)
    work: Callable[[], object] = space["work"]
    return work


def tables(threads: int, quick: bool) -> list[Table]:
    m = tdsl.compile(PROGRAM)
    a = np.ones(8, np.float32)
    names = {
        "dot": m.dot,
        "product": m.product,
        "scaled": m.scaled,
        "gradient": m.dot.value_and_grad("x", "y", "z"),
        "a": a,
        "strided": np.ones(16, np.float32)[::2],
        "t": tdsl.tensor(a, requires_grad=True),
        "np": np,
    }
    effort = Effort.quick() if quick else Effort()
    found = interleaved({row: _calls(call, names) for row, call in ROWS.items()}, effort)
    rows = []
    for row, seconds in found.items():
        q = Quartiles.of([1e9 * s / IN_A_ROW for s in seconds])
        rows.append([row, f"{q.median:,.0f}", f"{q.low:,.0f}–{q.high:,.0f}"])
    return [
        Table("Calls", "Nanoseconds a call, 8 elements.", ["", "median", "quartiles"], rows),
    ]
