"""From kernels to native code: every stage verified, native results equal to the interpreter's."""

from __future__ import annotations

import dataclasses
import json
import pickle
from collections.abc import Callable

import numpy as np
import pytest
from tdsl.compiler import graph as g
from tdsl.compiler import scalar as sc
from tdsl.compiler import target_cpu
from tdsl.compiler.artifact import evaluate
from tdsl.compiler.build import Build, compile_cpu
from tdsl.compiler.dims import dim, named
from tdsl.compiler.dtypes import F32, F64, I32, I64, DType
from tdsl.compiler.machine import Machine

from .native_functions import Native, agrees, at, comp, const, function, numbers, op, param, whole

# --------------------------------------------------------------------------- reductions

SHAPES = [(5, 7), (3, 100), (64, 33), (1, 1), (130, 17)]


@pytest.mark.parametrize("reducer", ["sum", "prod", "max", "min", "argmax", "argmin"])
@pytest.mark.parametrize("dtype", [F32, I32], ids=str)
def test_reductions_along_every_axis(reducer: str, dtype: DType) -> None:
    x = param("x", 0, ["m", "n"], dtype)
    rows = comp(at(x, 0, 1), ["m", "n"], 1, reducer)
    columns = comp(at(x, 1, 0), ["n", "m"], 1, reducer)
    both = comp(at(x, 0, 1), ["m", "n"], 0, reducer)
    calls = [[(numbers(*s) * 3).astype(dtype.numpy)] for s in SHAPES]
    if dtype is I32:
        calls = [[np.sign(a) + 2] for (a,) in calls]  # ties, and products that stay small
    agrees(function([x], rows, columns, both), *calls, tolerance=1e-3)


@pytest.mark.parametrize("reducer", ["max", "min", "argmax", "argmin"])
def test_extremes_with_nan_ties_and_infinities(reducer: str) -> None:
    x = param("x", 0, ["m", "n"])
    rng = np.random.default_rng(1)
    a = rng.choice(np.array([-np.inf, -1, 0, 1, np.inf], "f4"), (40, 70))
    a[::3, rng.integers(0, 70)] = np.nan
    a[1] = -np.inf
    a[2] = np.inf
    rows = comp(at(x, 0, 1), ["m", "n"], 1, reducer)
    agrees(function([x], rows, comp(at(x, 1, 0), ["n", "m"], 1, reducer)), [a])


def test_any_and_all() -> None:
    x = param("x", 0, ["m", "n"])
    some = comp(op("gt", at(x, 0, 1), const(1.5)), ["m", "n"], 1, "any")
    every = comp(op("gt", at(x, 0, 1), const(-1.0)), ["m", "n"], 1, "all")
    agrees(function([x], some, every), *[[numbers(*s)] for s in [*SHAPES, (4, 0), (0, 3)]])


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0, 0)])
def test_empty_extents(shape: tuple[int, int]) -> None:
    x = param("x", 0, ["m", "n"])
    total = comp(at(x, 0, 1), ["m", "n"], 0, "sum")
    rows = comp(at(x, 0, 1), ["m", "n"], 1, "prod")
    doubled = comp(op("mul", at(x, 0, 1), const(2.0)), ["m", "n"], 2)
    agrees(function([x], total, rows, doubled), [numbers(*shape)])


def test_a_maximum_over_nothing_is_a_requirement() -> None:
    x = param("x", 0, ["n"])
    artifact = compile_cpu(function([x], comp(at(x, 0), ["n"], 0, "max")))
    (required,) = artifact.requirements
    assert evaluate(required.nonnegative, {"n": 0}) == -1
    assert "empty" in required.message


# --------------------------------------------------------------------------- contractions

PRODUCTS = [(1, 1, 1), (3, 5, 7), (0, 3, 3), (3, 0, 4), (17, 33, 65), (40, 64, 10)]


@pytest.mark.parametrize("left", ["mk", "km"])
@pytest.mark.parametrize("right", ["kn", "nk"])
@pytest.mark.parametrize("dtype", [F32, F64, I64], ids=str)
def test_products_in_every_layout(left: str, right: str, dtype: DType) -> None:
    a, b = param("a", 0, list(left), dtype), param("b", 1, list(right), dtype)
    index = {"m": 0, "n": 1, "k": 2}
    body = op("mul", at(a, *[index[d] for d in left]), at(b, *[index[d] for d in right]))
    fn = function([a, b], comp(body, ["m", "n", "k"], 2, "sum"))
    calls = []
    for m, k, n in PRODUCTS:
        sizes = {"m": m, "k": k, "n": n}
        x = numbers(*[sizes[d] for d in left]) * 3
        calls.append([x, numbers(*[sizes[d] for d in right], seed=1) * 3])
    agrees(fn, *calls, tolerance=1e-5)


def test_literal_sizes_need_no_masks() -> None:
    a, b = param("a", 0, [32, 64]), param("b", 1, [64, 32])
    fn = function([a, b], comp(op("mul", at(a, 0, 2), at(b, 2, 1)), [32, 32, 64], 2, "sum"))
    agrees(fn, [numbers(32, 64), numbers(64, 32)])
    assert "masked" not in Build(fn, target_cpu.host()).text("llvm")


def test_a_convolution_and_its_guarded_gradient() -> None:
    x, w = param("x", 0, ["b", "c", "n"]), param("w", 1, ["o", "c", "k"])
    shifted = op("add", sc.index(2), sc.index(4))
    body = op("mul", at(x, 0, 3, shifted), at(w, 1, 3, 4))
    length = named("n") - named("k") + 1
    y = comp(body, ["b", "o", length, "c", "k"], 3, "sum")
    # dx[b, c, a] = sum[o, k](y[b, o, a - k] * w[o, c, k] where 0 <= a - k < length)
    place = op("sub", sc.index(2), sc.index(4))
    guard = op("and", op("le", const(0), place), op("lt", place, sc.size(length)))
    guarded = op("where", guard, at(y, 0, 3, place), const(0.0))
    dx = comp(op("mul", guarded, at(w, 3, 1, 4)), ["b", "c", "n", "o", "k"], 3, "sum")
    calls = [[numbers(2, 3, n), numbers(4, 3, k)] for n, k in ((20, 3), (5, 5), (70, 1))]
    native = agrees(function([x, w], y, dx), *calls)
    assert not native.artifact.checks  # all proved


# --------------------------------------------------------------------------- reads and writes


def test_gathers_are_checked() -> None:
    table, idx = param("table", 0, ["n", "d"]), param("idx", 1, ["b"], I64)
    rows = comp(at(table, at(idx, 0), 1), ["b", "d"], 2)
    a, i = numbers(10, 5), whole(10, 37)
    native = agrees(function([table, idx], rows), [a, i], [a, i[:0]])
    for bad in (10, -1, 2**40, -(2**62)):
        wrong = i.copy()
        wrong[20] = bad
        with pytest.raises(IndexError) as caught:
            native(a, wrong)
        check, axis, value, extent = caught.value.args[0]
        assert (axis, value, extent) == (0, bad, 10)
        assert native.artifact.checks[check].tensor == "table"


def test_an_unselected_branch_is_not_read() -> None:
    x, idx = param("x", 0, ["n"]), param("idx", 1, ["b"], I32)
    inside = op("and", op("ge", at(idx, 0), const(0)), op("lt", at(idx, 0), sc.size(named("n"))))
    safe = comp(op("where", inside, at(x, at(idx, 0)), const(-1.0)), ["b"], 1)
    fn = function([x, idx], safe)
    agrees(fn, [numbers(9), np.arange(-20, 30)])
    every_second = op("eq", op("mod", sc.index(0), const(2)), const(0))
    half = comp(op("where", every_second, at(x, at(idx, 0)), const(0.0)), ["b"], 1)
    agrees(function([x, idx], half), [numbers(9), [3, 99, 8, -5, 0, 77]])
    with pytest.raises(IndexError):
        Native(function([x, idx], half))(numbers(9), [3, 99, 9, -5, 0, 77])


def test_a_shifted_read_under_a_guard() -> None:
    x = param("x", 0, ["n"])
    for shift in (-3, 3):
        place = op("add", sc.index(0), const(shift))
        guard = op("and", op("ge", place, const(0)), op("lt", place, sc.size(named("n"))))
        body = op("where", guard, op("sqrt", op("abs", at(x, place))), const(7.0))
        agrees(function([x], comp(body, ["n"], 1)), *[[numbers(n)] for n in (0, 1, 2, 50)])


def test_a_strided_read_backwards() -> None:
    x = param("x", 0, ["n"])
    last = op("sub", sc.size(named("n") - 1), sc.index(0))
    agrees(function([x], comp(at(x, last), ["n"], 1)), [numbers(70)], [numbers(0)])


@pytest.mark.parametrize("reducer", ["sum", "prod"])
def test_scatter_accumulates_in_order(reducer: str) -> None:
    e, idx = param("e", 0, ["b", "d"]), param("idx", 1, ["b"], I64)
    target = [at(idx, 0), sc.index(1)]
    rows = comp(at(e, 0, 1), ["b", "d"], 2, reducer, target=target, shape=[dim(6), named("d")])
    native = agrees(
        function([e, idx], rows), [numbers(20, 5), whole(6, 20)], [numbers(0, 5), whole(6, 0)]
    )
    wrong = whole(6, 20)
    wrong[3] = 6
    with pytest.raises(IndexError):
        native(numbers(20, 5), wrong)
    single = comp(at(e, 0, 1), ["b", "d"], 2, reducer, target=[at(idx, 0)], shape=[dim(6)])
    agrees(function([e, idx], single), [numbers(20, 5), whole(6, 20)])


# --------------------------------------------------------------------------- whole functions


def softmax_function() -> g.Function:
    x = param("x", 0, ["m", "n"])
    top = comp(at(x, 0, 1), ["m", "n"], 1, "max", name="top")
    e = comp(op("exp", op("sub", at(x, 0, 1), at(top, 0))), ["m", "n"], 2, name="e")
    total = comp(at(e, 0, 1), ["m", "n"], 1, "sum", name="total")
    p = comp(op("div", at(e, 0, 1), at(total, 0)), ["m", "n"], 2, name="p")
    return function([x], p, total, p, x)


def step_function() -> g.Function:
    """A layer, its loss, gradients and update."""
    x, w = param("x", 0, ["b", "i"]), param("w", 1, ["i", "o"])
    c, rate = param("c", 2, ["o"]), param("rate", 3, [])
    z = comp(op("mul", at(x, 0, 2), at(w, 2, 1)), ["b", "o", "i"], 2, "sum", name="z")
    h = comp(op("tanh", op("add", at(z, 0, 1), at(c, 1))), ["b", "o"], 2, name="h")
    slope = op("sub", const(1.0), op("mul", at(h, 0, 1), at(h, 0, 1)))
    dz = comp(slope, ["b", "o"], 2, name="dz")
    dw = comp(op("mul", at(x, 2, 0), at(dz, 2, 1)), ["i", "o", "b"], 2, "sum", name="dw")
    dx = comp(op("mul", at(dz, 0, 2), at(w, 1, 2)), ["b", "i", "o"], 2, "sum", name="dx")
    dc = comp(at(dz, 1, 0), ["o", "b"], 1, "sum", name="dc")
    loss = comp(at(h, 0, 1), ["b", "o"], 0, "sum", name="loss")
    w1 = comp(op("sub", at(w, 0, 1), op("mul", at(rate), at(dw, 0, 1))), ["i", "o"], 2, name="w1")
    c1 = comp(op("sub", at(c, 0), op("mul", at(rate), at(dc, 0))), ["o"], 1, name="c1")
    return function([x, w, c, rate], loss, w1, c1, dx)


def test_softmax_with_repeated_and_passed_through_outputs() -> None:
    agrees(softmax_function(), [numbers(33, 47)], [numbers(1, 1)], [numbers(0, 4)])


def test_a_training_step() -> None:
    rate = np.float32(0.1)
    calls = [
        [numbers(b, i), numbers(i, o), numbers(o), rate]
        for b, i, o in ((33, 20, 37), (1, 1, 1), (64, 64, 10))
    ]
    agrees(step_function(), *calls)


def test_updates_join_the_kernel_of_their_gradient() -> None:
    build = Build(step_function(), target_cpu.host())
    names = [[c.name for c in k.comps] for k in build.kernels.kernels]
    assert ["dw", "w1"] in names and ["dc", "c1"] in names
    stored = {getattr(n, "name", None) for n in build.program.stored}
    assert {"w1", "c1"} <= stored and not {"dw", "dc"} & stored  # in registers only


def test_an_expensive_invariant_is_computed_once() -> None:
    x, b = param("x", 0, ["m", "n"]), param("b", 1, ["n", "k"])
    body = op("mul", op("exp", at(x, 0, 2)), at(b, 2, 1))
    fn = function([x, b], comp(body, ["m", "k", "n"], 2, "sum"))
    assert len(Build(fn, target_cpu.host()).kernels.kernels) == 2
    agrees(fn, [numbers(33, 20), numbers(20, 37)])


def test_a_stored_part_is_read_in_another_index_order() -> None:
    x, b = param("x", 0, ["m", "n"]), param("b", 1, ["n", "k"])
    body = op("mul", op("exp", at(x, 0, 2)), at(b, 2, 1))
    product = comp(body, ["m", "k", "n"], 2, "sum")
    columns = comp(op("exp", at(x, 1, 0)), ["n", "m"], 1, "sum")
    fn = function([x, b], product, columns)
    build = Build(fn, target_cpu.host())
    assert build.text("kernels").count("exp(") == 1
    agrees(fn, [numbers(33, 20), numbers(20, 37)])


def test_a_pairwise_kernel_is_never_an_array_of_pairs() -> None:
    p, v = param("p", 0, ["n", 2]), param("v", 1, ["n"])
    apart = [op("sub", at(p, 0, const(c)), at(p, 1, const(c))) for c in range(2)]
    squared = op("add", *[op("mul", d, d) for d in apart])
    near = comp(op("exp", op("neg", squared)), ["n", "n"], 2)
    rows = comp(op("mul", at(near, 0, 1), at(v, 1)), ["n", "n"], 1, "sum")
    columns = comp(op("mul", at(near, 1, 0), at(v, 1)), ["n", "n"], 1, "sum")
    fn = function([p, v], rows, columns)
    arena = Build(fn, target_cpu.host()).program.arena
    assert all(len(mono) <= 1 for mono, _ in arena.terms), arena  # coordinates in rows, no pairs
    agrees(fn, [numbers(50, 2), numbers(50)])


def test_a_read_that_stands_in_a_condition_and_under_it() -> None:
    x, y = param("x", 0, ["n"]), param("y", 1, ["n"])
    place = op("add", sc.index(0), const(1))
    inside = op("lt", place, sc.size(named("n")))
    there = at(x, place)
    test = op("gt", op("where", inside, there, const(0.0)), at(y, 0))
    body = op("where", op("and", test, inside), op("mul", there, const(3.0)), at(y, 0))
    agrees(
        function([x, y], comp(body, ["n"], 1)),
        *[[numbers(n), numbers(n, seed=1)] for n in (1, 2, 40)],
    )


def test_slots_of_the_arena_are_taken_again() -> None:
    x = param("x", 0, ["n", "n"])
    y: g.Node = x
    for k in range(6):
        y = comp(op("mul", at(y, 0, 2), at(y, 2, 1)), ["n", "n", "n"], 2, "sum", name=f"y{k}")
    fn = function([x], y)
    program = Build(fn, target_cpu.host()).program
    assert len(program.lifetimes) == 5
    assert len({t.buffer.offset for t in program.lifetimes}) == 2
    agrees(fn, [numbers(17, 17) / 8])


# --------------------------------------------------------------------------- results and targets

Make = Callable[[], g.Function]


@pytest.mark.parametrize("make", [softmax_function, step_function])
def test_every_stage_prints(make: Make) -> None:
    build = Build(make(), target_cpu.host())
    for stage in ("kernels", "plan", "loops", "llvm", "llvm-opt", "asm"):
        assert len(build.text(stage)) > 100


@pytest.mark.parametrize("make", [softmax_function, step_function])
@pytest.mark.parametrize(
    "machine",
    [
        Machine("aarch64-unknown-linux-gnu", "+neon,+fullfp16"),
        Machine("x86_64-unknown-linux-gnu", "+avx2,+fma,+f16c"),
        Machine("x86_64-unknown-linux-gnu", "+sse2"),
    ],
    ids=["neon", "avx2", "sse2"],
)
def test_other_machines_assemble(make: Make, machine: Machine) -> None:
    text = Build(make(), machine).text("asm")
    assert "tdsl_run" in text
    if machine.triple.startswith("aarch64"):
        assert "fmla" in text and ".4s" in text


def test_the_artifact_is_plain_data() -> None:
    artifact = compile_cpu(step_function())
    assert pickle.loads(pickle.dumps(artifact)) == artifact
    fields = {k: v for k, v in dataclasses.asdict(artifact).items() if k != "code"}
    json.dumps(fields)
    assert [p.text for p in artifact.params] == ["f32[b, i]", "f32[i, o]", "f32[o]", "f32"]


def test_results_do_not_depend_on_where_arrays_stand() -> None:
    native = Native(softmax_function())
    a = numbers(13, 29)
    first = [o.copy() for o in native(a)]
    for _ in range(3):
        for x, y in zip(first, native(a), strict=True):
            np.testing.assert_array_equal(x, y)
