"""Comparisons of an index along lanes: with sizes, other indices and integers of any magnitude."""

from __future__ import annotations

import numpy as np
import pytest
import tdsl
from tdsl.compiler.dtypes import F32, I64
from tdsl.compiler.scalar import const, index

from .native_functions import Native, at, comp, function, op, param

RELATIONS = {
    "eq": np.equal,
    "ne": np.not_equal,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
}
EXTREME = [-(2**63), -(2**63) + 1, -(2**32), -(2**31) - 1, -1, 2**31, 2**32, 2**32 + 3, 2**63 - 1]


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("relation", RELATIONS)
def test_with_integers_of_any_magnitude(relation: str, turned: bool) -> None:
    """A difference that wraps, or whose low half is a lane's number, is no lane's."""
    y = param("y", 0, ["m"], I64)
    sides = (at(y, 0), index(1)) if turned else (index(1), at(y, 0))
    ones = comp(
        op("where", op(relation, *sides), const(1.5, F32), const(-1.5, F32)), ["m", y.shape[0]], 2
    )
    code = Native(function([y], ones))
    for n in (1, 7, 8, 33, 61):
        values = np.resize(np.array([*EXTREME, *range(-2, n + 3)], np.int64), n)
        np.random.default_rng(n).shuffle(values)
        columns = np.arange(n)[None, :]
        pair = (values[:, None], columns) if turned else (columns, values[:, None])
        wanted = np.where(RELATIONS[relation](*pair), 1.5, -1.5)
        np.testing.assert_array_equal(code(values)[0], wanted, err_msg=f"{n}")


SOURCE = """
def f(x: f32[n, n], y: i64[n]):
    diagonal[i, j] = x[i, j] if i == j else 0
    beside[i, j] = x[i, j] if i != j + 1 else 0
    backwards[i, j] = x[i, j] if n - 1 - j == i else 0
    even[i, j] = x[i, j] if 2 * j == i else 0
    chosen[i, j] = x[i, j] if j == y[i] else 1
    behind[i, j] = x[i, j] if j - 2 != y[i] else 1
    return diagonal, beside, backwards, even, chosen, behind
"""


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 17, 40, 100])
def test_equal_indices(n: int) -> None:
    f = tdsl.compile(SOURCE).f
    rng = np.random.default_rng(n)
    x = rng.standard_normal((n, n)).astype("float32")
    y = rng.integers(-1, n + 1, n)
    i, j = np.indices((n, n))
    wanted = [
        np.where(i == j, x, 0),
        np.where(i != j + 1, x, 0),
        np.where(n - 1 - j == i, x, 0),
        np.where(2 * j == i, x, 0),
        np.where(j == y[:, None], x, 1),
        np.where(j - 2 != y[:, None], x, 1),
    ]
    for got, want in zip(f(x, y), wanted, strict=True):
        np.testing.assert_array_equal(got, want)
