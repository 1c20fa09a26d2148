"""Whole tiles run without masks, the rest under masks: no bit depends on where they part."""

from __future__ import annotations

import numpy as np
import pytest
import tdsl
from tdsl.compiler import graph as g
from tdsl.compiler.band_nests import BandNest
from tdsl.compiler.build import Build
from tdsl.compiler.dims import named
from tdsl.compiler.dtypes import F32, F64, I8, I64, DType
from tdsl.compiler.loops import Nest, Reduce
from tdsl.compiler.machine import host
from tdsl.compiler.scalar import index
from tdsl.compiler.scalar import size as size_of
from tdsl.compiler.tile import Registers, split_loops

from .native_functions import Native, at, comp, function, numbers, op, param, whole

LENGTHS = [0, 1, 2, 7, 8, 9, 15, 16, 17, 23, 31, 32, 33, 47, 63, 64, 65, 95, 96, 97, 127, 128, 129]
LENGTHS += [255, 256, 257, 511, 513, 1000]


def elementwise(dtype: DType) -> g.Function:
    """Short and long bodies, with copies and without, and a read from the end."""
    x = param("x", 0, ["n"], dtype)
    doubled = comp(op("add", at(x, 0), at(x, 0)), ["n"], 1)
    last = op("sub", size_of(named("n") - 1), index(0))
    turned = comp(op("sub", at(x, last), at(x, 0)), ["n"], 1)
    if not dtype.is_float:
        return function([x], doubled, turned)
    return function([x], doubled, turned, comp(op("tanh", op("exp", at(x, 0))), ["n"], 1))


@pytest.mark.parametrize("dtype", [F32, F64, I8, I64], ids=str)
def test_elements_do_not_depend_on_the_length(dtype: DType) -> None:
    code = Native(elementwise(dtype))
    x = (numbers(1000) * 3).astype(dtype.numpy)
    longest = code(x)
    for n in LENGTHS:
        here = x[:n]
        wanted = [part[:n] for part in longest]
        wanted[1] = here[::-1] - here
        for k, (got, want) in enumerate(zip(code(here), wanted, strict=True)):
            np.testing.assert_array_equal(got, want, err_msg=f"output {k}, {n} elements")


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_elements_of_rows_do_not_depend_on_their_length(dtype: DType) -> None:
    x, b = param("x", 0, ["m", "n"], dtype), param("b", 1, ["n"], dtype)
    code = Native(
        function([x, b], comp(op("exp", op("mul", at(x, 0, 1), at(b, 1))), ["m", "n"], 2))
    )
    many, row = numbers(5, 300).astype(dtype.numpy), numbers(300).astype(dtype.numpy)
    (longest,) = code(many, row)
    for n in LENGTHS[:-3]:
        (got,) = code(many[:, :n], row[:n])
        np.testing.assert_array_equal(got, longest[:, :n], err_msg=f"rows of {n}")


@pytest.mark.parametrize("reducer", ["sum", "max", "min", "argmax"])
@pytest.mark.parametrize("dtype", [F32, F64, I64], ids=str)
def test_reductions_are_those_of_padded_rows(reducer: str, dtype: DType) -> None:
    """Masked lanes leave their accumulators as the reducer's identity leaves them."""
    x = param("x", 0, ["m", "n"], dtype)
    code = Native(function([x], comp(at(x, 0, 1), ["m", "n"], 1, reducer)))
    least = -np.inf if dtype.is_float else np.iinfo(np.int64).min
    most = np.inf if dtype.is_float else np.iinfo(np.int64).max
    filler = {"sum": 0, "max": least, "min": most, "argmax": least}[reducer]
    many = (numbers(3, 1000) * 100).astype(dtype.numpy)
    for n in LENGTHS[1:]:
        padded = np.full((3, -(-n // 256) * 256), filler, dtype.numpy)
        padded[:, :n] = many[:, :n]
        np.testing.assert_array_equal(code(many[:, :n])[0], code(padded)[0], err_msg=f"{n}")


def test_indices_are_checked_in_whole_tiles_and_in_the_rest() -> None:
    x, places = param("x", 0, ["k"]), param("places", 1, ["n"], I64)
    code = Native(function([x, places], comp(at(x, at(places, 0)), ["n"], 1)))
    values = numbers(50)
    for n in (5, 16, 37, 64, 70):
        good = whole(50, n)
        np.testing.assert_array_equal(code(values, good)[0], values[good])
        for k in {0, n // 2, n - 1}:
            bad = good.copy()
            bad[k] = 50 + k
            with pytest.raises(IndexError) as caught:
                code(values, bad)
            assert caught.value.args[0][2] == 50 + k


def nests(fn: g.Function) -> list[Nest]:
    with fn.scope.active():
        made = Build(fn, host()).loops.nests
    every = [n for nest in made for n in (nest.stages if isinstance(nest, BandNest) else [nest])]
    return [nest for nest in every if isinstance(nest, Nest)]


def test_innermost_bodies_are_split() -> None:
    """Short ones; with masks that are no registers long ones, too, and these vector by vector."""
    wide, narrow = Registers(64, 24), Registers(32, 12)
    x, y = param("x", 0, ["m", "n"]), param("y", 1, ["n", "k"])
    (pointwise,) = nests(function([x], comp(op("exp", at(x, 0, 1)), ["m", "n"], 2)))
    for registers in (wide, narrow):
        assert split_loops(pointwise, registers) == {pointwise.loops[-1].index: False}
    (rows,) = nests(function([x], comp(at(x, 0, 1), ["m", "n"], 1, "sum")))
    (reduction,) = (s for s in rows.body if isinstance(s, Reduce))
    assert split_loops(rows, wide) == {reduction.loops[-1].index: False}
    # lanes stand on an outer loop
    (columns,) = nests(function([x], comp(at(x, 1, 0), ["n", "m"], 1, "sum")))
    assert not split_loops(columns, wide)
    assert split_loops(columns, narrow) == {columns.loops[-1].index: False}
    (long,) = nests(function([y], comp(op("lgamma", op("erf", at(y, 0, 1))), ["n", "k"], 2)))
    assert not split_loops(long, wide)
    assert split_loops(long, narrow) == {long.loops[-1].index: True}


DEAR = """
def f(w: T[n], v: T[n], x: T[n]):
    a[i] = erf(x[i]) * exp(w[i]) + tanh(v[i])
    b[i] = w[i] - v[i] * log(1 + exp(x[i])) * sin(w[i])
    c[i] = a[i] > b[i]
    return a, b, c, a * cos(b) / (1 + x**2), i64(8 * b)
"""


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_several_results_of_a_dear_body(dtype: str) -> None:
    """Bodies too long to be emitted twice store under masks in the last tile alone, all their
    results together; nothing is written behind these, and donated arguments are read before."""
    f = tdsl.compile(DEAR.replace("T", dtype)).f
    rng = np.random.default_rng(7)
    w, v, x = rng.standard_normal((3, 1000)).astype(dtype.replace("f", "float"))
    longest = f(w, v, x)
    for n in LENGTHS:
        for got, want in zip(f(w[:n], v[:n], x[:n]), longest, strict=True):
            np.testing.assert_array_equal(got, want[:n], err_msg=f"{n} elements")
        room = [np.concatenate([part[:n], np.full(40, 7, part.dtype)]) for part in (w, v)]
        donated = f(room[0][:n], room[1][:n], x[:n], donate=("w", "v"))
        for got, want in zip(donated, longest, strict=True):
            np.testing.assert_array_equal(got, want[:n], err_msg=f"{n} elements")
        assert all((part[n:] == 7).all() for part in room), n
