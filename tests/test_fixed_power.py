"""Powers with an exponent known when compiling: errors against mpmath, edges against C99's pow,
and that gradients keep them as powers.

In: `compiler.fixed_exponents` and `compiler.mathlib_fixed_power`. Left to others: every other
exponent (`test_mathlib`).
"""

from __future__ import annotations

import math
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from tdsl.compiler import scalar as sc
from tdsl.compiler.derivative import Canonical, differentiated
from tdsl.compiler.dtypes import F16, F32, F64, I32, U8, DType
from tdsl.compiler.fixed_exponents import HALVES, LARGEST, PLAIN, is_fixed
from tdsl.compiler.graph import Function
from tdsl.compiler.interpret import interpret
from tdsl.compiler.mathlib_fixed_power import ULP_OF_HALVES, ULP_OF_WHOLE

from .mathlib_reference import Array, ulp_errors
from .native_functions import Native, agrees, at, comp, const, function, op, param

EXPONENTS = [*PLAIN, *HALVES, 4, 5, 6, 7, 12, 31, 63, 64, -3, -4, -6, -7, -12, -31, -63, -64]


def powers(exponents: list[Any], dtype: DType) -> Function:
    x = param("x", 0, ["n"], dtype)
    return function([x], *[comp(op("pow", at(x, 0), const(y)), ["n"], 1) for y in exponents])


def arguments(y: float, bits: int, rng: np.random.Generator, count: int) -> Array:
    """Results of every size, those next to over- and underflow most of all."""
    least, most = (-126, 128) if bits == 32 else (-1022, 1024)
    span = (most + 30) / max(1, abs(y))
    sizes = np.concatenate(
        [
            rng.uniform(-span, span, count),
            rng.uniform(-1.05, -0.8, count) * span,
            rng.uniform(0.8, 1.05, count) * span,
            rng.uniform(-1, 1, count),
        ]
    ).clip(least + 1, most - 1)
    x: Array = (2.0**sizes).astype(f"f{bits // 8}")
    return x * rng.choice([-1, 1], x.size).astype(x.dtype) if y == int(y) else x


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_error_is_within_the_stated_ulp(dtype: DType) -> None:
    rng = np.random.default_rng(0)
    native = Native(powers(EXPONENTS, dtype))
    least, most = (-126, 128) if dtype is F32 else (-1022, 1024)
    for k, y in enumerate(EXPONENTS):
        x = arguments(y, dtype.bits, rng, 250)
        with mp.workprec(400):
            exact = [mp.power(mp.mpf(float(v)), mp.mpf(y)) for v in x]
        errors = ulp_errors(native(x)[k], exact, dtype.bits, np.zeros(x.size))
        worst = int(np.argmax(errors))
        stated = ULP_OF_HALVES if y in HALVES else ULP_OF_WHOLE
        assert errors[worst] <= stated, (y, x[worst], errors[worst])
        if y not in PLAIN and y not in HALVES:
            sizes = y * np.log2(np.abs(x.astype(np.float64)))
            inside = (sizes > least + 26 if dtype is F32 else sizes > least + 56) & (sizes < most)
            assert errors[inside].max() <= 0.52, (y, errors[inside].max())


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_special_values_are_those_of_pow(dtype: DType) -> None:
    inf, nan = math.inf, math.nan
    tiny, huge = (1e-40, 3e38) if dtype is F32 else (1e-310, 1.7e308)
    x = np.array([0.0, -0.0, inf, -inf, nan, 1, -1, -2, tiny, -tiny, huge, -huge], dtype.numpy)
    got = Native(powers(EXPONENTS, dtype))(x)
    with np.errstate(all="ignore"):
        meant = interpret(powers(EXPONENTS, dtype), [x])
        for y, ours, specified in zip(EXPONENTS, got, meant, strict=True):
            want = np.power(x, np.full(x.size, y, x.dtype))  # an array: no short cut by sqrt
            for values in (ours, specified):
                np.testing.assert_allclose(values, want, rtol=4 * np.finfo(x.dtype).eps)
                known = ~np.isnan(want)
                np.testing.assert_array_equal(np.signbit(values)[known], np.signbit(want)[known])


def test_an_underflowing_power_keeps_its_sign() -> None:
    x = np.array([-(2.0**-60)], np.float32)
    (odd,) = Native(powers([5], F32))(x)
    assert odd[0] == 0 and np.signbit(odd[0])


def test_a_negative_power_may_be_subnormal() -> None:
    """Where the power of x itself overflows."""
    x = np.array([2.0**35, 2.0**70], np.float32)
    fourth, second = Native(powers([-4, -2], F32))(x)
    assert fourth[0] == 2.0**-140 and second[1] == 2.0**-140


@pytest.mark.parametrize("dtype", [I32, U8, F16], ids=str)
def test_integers_and_half_precision(dtype: DType) -> None:
    x = np.array([0, 1, 2, 3, 5, 11], dtype.numpy)
    with np.errstate(over="ignore"):
        agrees(powers([0, 1, 2, 3, 4, 7, 12, 63], dtype), [x], tolerance=1e-3)


def test_which_exponents() -> None:
    assert all(map(is_fixed, EXPONENTS))
    others = [LARGEST + 1, -LARGEST - 1, 3.5, 0.25, math.inf, -math.inf, math.nan]
    assert not any(map(is_fixed, others))


def test_a_derivative_keeps_the_power() -> None:
    x = sc.param(0)
    assert differentiated(op("pow", x, sc.const(12)), 0, Canonical()) is op(
        "mul", sc.const(12.0), op("pow", x, sc.const(11))
    )
