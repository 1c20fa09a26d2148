"""A factor leaves a sum of what absorbs only where it hides nothing: `algebra._absorbed_out`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tdsl.compiler import scalar as sc
from tdsl.compiler.algebra import collapse_reduction
from tdsl.compiler.dtypes import F64
from tdsl.compiler.graph import Comp
from tdsl.compiler.interpret import interpret

from .native_functions import at, comp, function, param

EQUATION = "sum(absorb(b[k], a * c[k])) = absorb(sum(absorb(b[k], c[k])), a)"
Y, U, X = param("y", 0, ["n", "m"], F64), param("u", 1, ["n", "m"], F64), param("x", 2, ["n"], F64)


def absorbed(factor: sc.Scalar) -> Comp:
    return comp(sc.op("absorb", at(Y, 0, 1), factor), ["n", "m"], 1, "sum")


def softmax_parts() -> tuple[Comp, Comp]:
    """exp(u - m) and its sum."""
    highest = comp(at(U, 0, 1), ["n", "m"], 1, "max")
    shift = comp(sc.op("stop_gradient", at(highest, 0)), ["n"], 1)
    e = comp(sc.op("exp", sc.op("sub", at(U, 0, 1), at(shift, 0))), ["n", "m"], 2)
    return e, comp(at(e, 0, 1), ["n", "m"], 1, "sum")


def values(node: Any, *arrays: Any) -> Any:
    return interpret(function([Y, U, X], node), [np.asarray(a, np.float64) for a in arrays])[0]


def test_the_sum_of_a_softmax_leaves() -> None:
    e, total = softmax_parts()
    twice = sc.op("div", sc.op("div", at(e, 0, 1), at(total, 0)), at(total, 0))
    node = absorbed(twice)
    found = collapse_reduction(node)
    assert found is not None and found[0] == EQUATION
    y = [[1.0, 2.0], [0.0, 0.0], [1.0, -1.0], [1.0, -1.0], [0.0, 3.0]]
    u = [[0.0, 0.0], [np.nan, 1.0], [np.nan, 1.0], [800.0, 800.0], [-900.0, 900.0]]
    for form in (node, found[1]):
        np.testing.assert_allclose(values(form, y, u, np.zeros(5)), [0.75, 0, np.nan, 0, 3])


@pytest.mark.parametrize("name", ["mul", "div"])
def test_others_stay(name: str) -> None:
    """1/x overflows; and a sum that is 0, though no term is, would hide a NaN."""
    assert collapse_reduction(absorbed(sc.op(name, at(U, 0, 1), at(X, 0)))) is None


def test_literals_leave() -> None:
    found = collapse_reduction(absorbed(sc.op("mul", at(U, 0, 1), sc.const(0.5, F64))))
    assert found is not None and found[0] == EQUATION
    assert collapse_reduction(absorbed(sc.op("mul", at(U, 0, 1), sc.const(1e300, F64)))) is None
