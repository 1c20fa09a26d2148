"""What a call of a compiled function costs, in nanoseconds.

Prints a table: a tiny function of three arrays (8 elements each) through the `Function` object,
with its gradient, with keywords, through the slow path (a strided array), with Tensors; beside
NumPy calls of the same machine and minute. Best of several repetitions.
"""

from __future__ import annotations

import timeit
from typing import Any

import numpy as np
import tdsl

PROGRAM = """
def dot(x: f32[n], y: f32[n], z: f32[n]) -> f32:
    return sum(x * y * z)

def product(x: f32[n], y: f32[n], z: f32[n]) -> f32[n]:
    return x * y * z

def scaled(x: f32[n], s: f32) -> f32[n]:
    return x * s
"""


def nanoseconds(call: str, names: dict[str, Any], repeat: int = 7) -> float:
    """Of one execution of `call`."""
    timer = timeit.Timer(call, globals=names)
    number, _ = timer.autorange()
    number = max(1, number // 4)
    return min(timer.repeat(repeat, number)) / number * 1e9


def measure() -> dict[str, float]:
    """Nanoseconds by row."""
    m = tdsl.compile(PROGRAM)
    a = np.ones(8, np.float32)
    t = tdsl.tensor(a, requires_grad=True)
    names = {
        "dot": m.dot,
        "product": m.product,
        "scaled": m.scaled,
        "gradient": m.dot.value_and_grad("x", "y", "z"),
        "a": a,
        "strided": np.ones(16, np.float32)[::2],
        "t": t,
        "np": np,
    }
    rows = {
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
    for call in rows.values():
        eval(call, dict(names))  # compile
    return {row: nanoseconds(call, names) for row, call in rows.items()}


def main() -> None:
    for row, ns in measure().items():
        print(f"{row:42} {ns:10,.0f} ns")


if __name__ == "__main__":
    main()
