"""Derivatives by `canonical` are SymPy's, written in the same way."""

from __future__ import annotations

import random

import pytest
from tdsl.compiler import canonical
from tdsl.compiler import scalar as sc
from tdsl.compiler.derivative import Canonical, SymPy, differentiated
from tdsl.compiler.ops import scalar_function
from tdsl.compiler.scalar import Scalar

CONSTANTS = [1.0, 2.0, 3.0, -1.0, -2.0, 0.5, -0.5, 0.044715, 1.702, 7, 0.7978845608028654, 1e-3]
UNARY = ["exp", "tanh", "erf", "sin", "log", "neg", "sigmoid"]
BINARY = ["add", "add", "sub", "mul", "mul", "div"]


def formula(rng: random.Random, size: int) -> Scalar:
    """A random formula of three parameters."""
    if size <= 1:
        if rng.random() < 0.35:
            return sc.const(rng.choice(CONSTANTS))
        return sc.param(rng.randrange(3))
    match rng.random():
        case r if r < 0.25:
            name = rng.choice(UNARY)
            inner = formula(rng, size - 1)
            function = scalar_function(name)
            return sc.call(function, [inner]) if function else sc.op(name, inner)
        case r if r < 0.35:
            exponent = sc.const(float(rng.choice([2, 3, -1, -2, 4, 0.5, 1.5])))
            return sc.op("pow", formula(rng, size - 1), exponent)
    left = rng.randrange(1, size)
    return sc.op(rng.choice(BINARY), formula(rng, left), formula(rng, size - left))


def test_random_formulas() -> None:
    rng = random.Random(0)
    known, formulas = 0, 400
    for _ in range(formulas):
        x = formula(rng, rng.randrange(2, 14))
        for position in range(2):
            try:
                ours = differentiated(x, position, Canonical())
            except (canonical.BeyondError, ArithmeticError):
                continue
            assert ours is differentiated(x, position, SymPy()), (x, position)
            known += 1
    assert known > formulas


@pytest.mark.parametrize("name", ["Abs", "factorial"])
def test_names_that_sympy_orders_are_left_to_it(name: str) -> None:
    with pytest.raises(canonical.BeyondError):
        canonical.Head(name, lambda args, k: canonical.ONE)
