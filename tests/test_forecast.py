"""What a function will call, told from its graph: what it does call, for usual products."""

from __future__ import annotations

from pathlib import Path

import pytest
import tdsl
from tdsl.compiler.build import Build
from tdsl.compiler.entry_table import ROUTINES
from tdsl.compiler.forecast import likely_routines
from tdsl.compiler.graph import Function
from tdsl.compiler.machine import host
from tdsl.compiler.pipeline import simplified

PROGRAMS = sorted((Path(__file__).parent.parent / "benchmarks" / "workloads").glob("*.tdsl"))


def called(fn: Function) -> set[str]:
    """The groups of routines that the code of `fn` names."""
    ready = simplified(fn)
    with ready.scope.active():
        text = Build(ready, host()).llvm
    return {what for what, names in ROUTINES.items() if any(f'@"{n}"' in text for n in names)}


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_of_programs(path: Path) -> None:
    """No more than what is called."""
    program = tdsl.load(path)
    for name in program:
        function = program[name]
        graphs = [function.graph()]
        if len(function.graph().outputs) == 1 and not function.graph().outputs[0].shape:
            graphs.append(function.value_and_grad().graph())
        for graph in graphs:
            assert set(likely_routines(graph)) <= called(graph)


PRODUCTS = {
    "x: f32[a, b], y: f32[b, c]) -> f32[a, c]:\n    return x @ y": {"products f32", "plain f32"},
    "x: f64[a, b], y: f64[b, c]) -> f64[a, c]:\n    return x @ y": {"products f64", "plain f64"},
    "x: f32[a, b], y: f32[c, b]) -> f32[a, c]:\n    z[i, k] = sum[j](x[i, j] * y[k, j])\n"
    "    return z": {"products f32", "plain f32"},
    "x: f32[n, a, b], y: f32[n, b, c]) -> f32[n, a, c]:\n    return x @ y": {
        "products f32",
        "plain f32",
    },
    "x: f32[a, b], y: f32[b]) -> f32[a]:\n    return x @ y": set(),
    "x: f32[a, b], y: f32[a, b]) -> f32[a]:\n    return sum(x * y, dim=1)": set(),
    "x: f32[4, 4], y: f32[4, 4]) -> f32[4, 4]:\n    return x @ y": set(),
    "x: i64[a, b], y: i64[b, c]) -> i64[a, c]:\n    return x @ y": set(),
}


@pytest.mark.parametrize("text", PRODUCTS)
def test_of_products(text: str) -> None:
    graph = tdsl.compile(f"def f({text}\n").f.graph()
    assert set(likely_routines(graph)) == PRODUCTS[text]
    assert PRODUCTS[text] == called(graph)


def test_of_a_gradient() -> None:
    """Its requests are looked through."""
    text = "def f(x: f32[a, b], y: f32[b, c]) -> f32:\n    return sum(tanh(x @ y))\n"
    graph = tdsl.compile(text).f.grad("x").graph()
    assert set(likely_routines(graph)) == {"products f32", "plain f32"}
