"""Every primitive as native instructions: bits, edges, dtypes."""

from __future__ import annotations

import numpy as np
import pytest
from tdsl.compiler import graph as g
from tdsl.compiler import scalar as sc
from tdsl.compiler.dtypes import BF16, BOOL, F16, F32, F64, I8, I16, I32, I64, U8, DType
from tdsl.compiler.errors import OpError
from tdsl.compiler.interpret import interpret
from tdsl.compiler.primitives import PRIMITIVES, Typing

from .native_functions import Native, agrees, at, comp, const, function, op, param


@pytest.mark.parametrize("dtype", [F32, F64, I64, I32, I8, U8, F16], ids=str)
def test_every_primitive_agrees_with_numpy(dtype: DType) -> None:
    rng = np.random.default_rng(0)
    outputs: list[g.Node] = []
    names, arrays = [], []
    params = [param(f"x{k}", k, ["n"], dtype) for k in range(3)]
    for row in PRIMITIVES.values():
        if row.typing in (Typing.CAST, Typing.WHERE):
            continue
        of_floats = row.typing in (Typing.FLOAT, Typing.TEST)
        of_integers = row.typing in (Typing.BITS, Typing.SHIFT)
        if (of_floats and not dtype.is_float) or (of_integers and dtype.is_float):
            continue
        names.append(row.name)
        outputs.append(comp(op(row.name, *[at(p, 0) for p in params[: row.arity]]), ["n"], 1))
    for _ in params:
        # inside every domain at once: the mathematical library has its own accuracy tests
        x = rng.uniform(0.1, 0.9, 37) if dtype.is_float else rng.integers(0, 5, 37)
        arrays.append(x.astype(dtype.numpy))
    agrees(function(params, *outputs), arrays, tolerance=1e-2 if dtype is F16 else 2e-5)


@pytest.mark.parametrize(
    "name", ["add", "mul", "div", "floordiv", "mod", "min", "max", "abs", "sign", "absorb"]
)
def test_arithmetic_at_the_edges_is_bitwise_numpys(name: str) -> None:
    special = [0.0, -0.0, 1.0, -1.0, 2.5, -2.5, 7.0, np.inf, -np.inf, np.nan, 1e-42, 3e38]
    x, y = (a.ravel().astype("f4") for a in np.meshgrid(special, special))
    params = [param("x", 0, ["n"]), param("y", 1, ["n"])]
    row = PRIMITIVES[name]
    fn = function(params, comp(op(name, *[at(p, 0) for p in params[: row.arity]]), ["n"], 1))
    (got,), (want,) = Native(fn)(x, y), interpret(fn, [x, y])
    np.testing.assert_array_equal(got, want)
    if name not in ("min", "max"):  # the sign of a zero is unspecified there
        known = ~np.isnan(want)
        np.testing.assert_array_equal(np.signbit(got)[known], np.signbit(want)[known])


@pytest.mark.parametrize("dtype", [I32, I64, U8, I8], ids=str)
@pytest.mark.parametrize("name", ["floordiv", "mod", "pow"])
def test_integer_division_and_power_never_trap(name: str, dtype: DType) -> None:
    low, high = np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max
    special = np.array([low, low + 1, 0, 1, 2, 3, 7, high], dtype=dtype.numpy)
    if low < 0:
        special = np.append(special, np.array([-1, -2, -7], dtype=dtype.numpy))
    x, y = (a.ravel() for a in np.meshgrid(special, special))
    params = [param("x", 0, ["n"], dtype), param("y", 1, ["n"], dtype)]
    with np.errstate(all="ignore"):
        agrees(
            function(params, comp(op(name, at(params[0], 0), at(params[1], 0)), ["n"], 1)), [x, y]
        )


def test_division_by_a_literal() -> None:
    x = param("x", 0, ["n"], I64)
    outs = [
        comp(op(name, at(x, 0), const(c)), ["n"], 1)
        for name in ("floordiv", "mod")
        for c in (1, 2, 3, 8, 10, -3, 0)
    ]
    agrees(function([x], *outs), [np.arange(-40, 40)])


BITS = [row.name for row in PRIMITIVES.values() if row.typing in (Typing.BITS, Typing.SHIFT)]


@pytest.mark.parametrize("dtype", [U8, I8, I16, I32, I64], ids=str)
def test_bits_and_shifts_by_any_count(dtype: DType) -> None:
    """By registers and by literals; a count outside the width shifts every bit out."""
    ends = np.iinfo(dtype.numpy)
    around = [dtype.bits + k for k in (-1, 0, 1)]
    special = [ends.min, ends.min + 1, 0, 1, 5, *around, ends.max]
    special += [-1, -dtype.bits] if ends.min < 0 else []
    x, y = (a.ravel() for a in np.meshgrid(np.array(special, dtype.numpy), special))
    params = [param("x", 0, ["n"], dtype), param("y", 1, ["n"], dtype)]
    reads = [at(p, 0) for p in params]
    outs = [comp(op(name, *reads[: PRIMITIVES[name].arity]), ["n"], 1) for name in BITS]
    for name in BITS:
        if PRIMITIVES[name].typing is Typing.SHIFT:
            outs += [comp(op(name, reads[0], const(c)), ["n"], 1) for c in special]
    fn = function(params, *outs)
    for got, want in zip(Native(fn)(x, y), interpret(fn, [x, y]), strict=True):
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want)
    wide = {v: int(v) for v in special}
    shifted = interpret(fn, [x, y])[BITS.index("bitwise_right_shift")]
    for v, c, got in zip(x.tolist(), y.tolist(), shifted, strict=True):
        assert got == (wide[v] >> c if 0 <= c < dtype.bits else -(v < 0))


def test_bits_of_bools() -> None:
    params = [param("x", 0, ["n"], BOOL), param("y", 1, ["n"], BOOL)]
    reads = [at(p, 0) for p in params]
    names = [name for name in BITS if PRIMITIVES[name].typing is Typing.BITS]
    outs = [comp(op(name, *reads[: PRIMITIVES[name].arity]), ["n"], 1) for name in names]
    assert all(o.dtype is BOOL for o in outs)
    agrees(function(params, *outs), [np.arange(4) % 2 == 1, np.arange(4) > 1])


def test_bits_of_floats_and_shifts_of_bools_are_refused() -> None:
    x, b = at(param("x", 0, ["n"]), 0), at(param("b", 1, ["n"], BOOL), 0)
    with pytest.raises(OpError, match="bitwise_and takes integers or bools, got f32 and bool"):
        op("bitwise_and", x, b)
    with pytest.raises(OpError, match="bitwise_left_shift takes integers, got bool and bool"):
        op("bitwise_left_shift", b, b)


def test_comparisons_and_tests_of_nan() -> None:
    x, y = param("x", 0, ["n"]), param("y", 1, ["n"])
    names = ["lt", "le", "gt", "ge", "eq", "ne"]
    outs = [comp(op(n, at(x, 0), at(y, 0)), ["n"], 1) for n in names]
    outs += [comp(op(n, at(x, 0)), ["n"], 1) for n in ("isnan", "isinf", "isfinite")]
    special = np.array([0, 1, np.nan, np.inf, -np.inf] * 5, "f4")
    agrees(function([x, y], *outs), [special, np.repeat(special[:5], 5)])


@pytest.mark.parametrize("source", [F16, F32, F64, I8, I32, I64, U8, BOOL], ids=str)
def test_casts(source: DType) -> None:
    x = param("x", 0, ["n"], source)
    outs = [comp(sc.cast(at(x, 0), to), ["n"], 1) for to in (F16, F32, F64, I32, I64, BOOL)]
    agrees(function([x], *outs), [(np.arange(37) * 1.25).astype(source.numpy)])


def test_bfloat16_rounds_to_nearest_even() -> None:
    x = param("x", 0, ["n"])
    fn = function([x], comp(sc.cast(at(x, 0), BF16), ["n"], 1))
    bits = np.array([0x3F800000, 0x3F808000, 0x3F818000, 0x3F808001, 0x7F7FFFFF, 0x7F800000], "u4")
    (got,) = Native(fn)(bits.view("f4"))
    assert [hex(v) for v in got] == ["0x3f80", "0x3f80", "0x3f82", "0x3f81", "0x7f80", "0x7f80"]
    y = param("y", 0, ["n"], BF16)
    back = function([y], comp(op("mul", at(y, 0), const(2.0)), ["n"], 1))
    (twice,) = Native(back)(got)
    assert [hex(v) for v in twice[:4]] == ["0x4000", "0x4000", "0x4002", "0x4001"]
