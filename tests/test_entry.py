"""The native entry: what it accepts, binds, allocates and returns, and what it refuses.

Scalars of every dtype go through a hand-made native function (it copies its arguments), so that
this file tests the entry and not the compiler; the rest uses compiled programs.
"""

from __future__ import annotations

import gc
import math
import pickle
import sys
import threading
import time
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.compiler import dtypes, graph, ir, target_cpu
from tdsl.compiler.binding import Bind, Equal, bind, binding_steps
from tdsl.compiler.dims import dim, named
from tdsl.compiler.entry_builder import I8, I64, PTR
from tdsl.compiler.python_entry import add_entry
from tdsl.runtime.calls import Owner
from tdsl.runtime.compilation import shared_entry
from tdsl.runtime.loading import LoadedCode
from tdsl.runtime.native import Native
from tdsl.runtime.signature import signature_of

N, M = named("n"), named("m")


def copying(fn: graph.Function, size: int, arena: int = 0) -> Native:
    """A native function whose output k is the first `size` bytes of its parameter k."""
    module = ir.Module("copy")
    run = ir.Function(module, ir.FunctionType(I64, [PTR] * 4), "tdsl_run")
    b = ir.IRBuilder(run.append_basic_block())
    for k in range(len(fn.outputs)):
        ends = [
            b.load(b.gep(run.args[0], [I64(at)], source_etype=PTR), typ=PTR)
            for at in (k, len(fn.params) + k)
        ]
        for byte in range(size):
            value = b.load(b.gep(ends[0], [I64(byte)], source_etype=I8), typ=I8)
            b.store(value, b.gep(ends[1], [I64(byte)], source_etype=I8))
    b.ret(I64(0))
    need = ir.Function(module, ir.FunctionType(I64, [PTR]), "tdsl_arena")
    ir.IRBuilder(need.append_basic_block()).ret(I64(arena))
    add_entry(module, fn)
    host = target_cpu.host()
    code = target_cpu.object_code(target_cpu.optimized(str(module), host), host)
    owner = Owner(signature_of(fn), [], lambda: None)
    return Native(LoadedCode(code), shared_entry(), fn.name, [p.name for p in fn.params], owner)


def identity(dtype: dtypes.DType, shape: tuple[Any, ...] = ()) -> graph.Function:
    x = graph.make_input("x", 0, dtype, shape)
    return graph.Function("f", (x,), (x,), False)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        (dtypes.F64, [0.1, -2, 1e300, math.inf, 0]),
        (dtypes.F32, [0.5, -3, 65536.0, -math.inf, 7]),
        (dtypes.F16, [0.5, -3, 2048.0, 1]),
        (dtypes.BF16, [0.5, -3, 1e38 * 0 + 256.0, 1]),
        (dtypes.I64, [0, -1, 2**63 - 1, -(2**63)]),
        (dtypes.I32, [0, -1, 2**31 - 1, -(2**31)]),
        (dtypes.I16, [5, -32768]),
        (dtypes.I8, [5, -128, 127]),
        (dtypes.U8, [0, 255, 128]),
        (dtypes.BOOL, [True, False]),
    ],
    ids=lambda v: str(v) if isinstance(v, dtypes.DType) else "",
)
def test_python_scalars_pass_unchanged(dtype: dtypes.DType, values: list[Any]) -> None:
    f = copying(identity(dtype), dtype.size).callable
    for value in values:
        result = f(value)
        assert result == value
        assert type(result) is (bool if dtype.is_bool else float if dtype.is_float else int)
        assert f(x=value) == value


@pytest.mark.parametrize("dtype", [d for d in dtypes.STRONG if d is not dtypes.BF16], ids=str)
def test_array_scalars_and_0d_arrays_pass(dtype: dtypes.DType) -> None:
    f = copying(identity(dtype), dtype.size).callable
    one = np.ones((), dtype.numpy)
    assert f(one) == 1
    assert f(one[()]) == 1


@pytest.mark.parametrize("dtype", [d for d in dtypes.STRONG if d is not dtypes.BF16], ids=str)
def test_copies_of_a_dtype_are_taken_as_they_are(
    dtype: dtypes.DType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unpickled array has a dtype object of its own; one of other bytes or another type is not
    the same."""
    f = copying(identity(dtype, (dim(2), dim(3))), 6 * dtype.size).callable
    given = np.arange(6).reshape(2, 3).astype(dtype.numpy)
    copied = pickle.loads(pickle.dumps(given))
    refused: list[str] = []

    def slow(owner: Owner, native: Native, args: Any, kwargs: Any) -> None:
        refused.append(str(args[0].dtype))

    monkeypatch.setattr(Owner, "slow", slow)
    assert copied.dtype is not given.dtype or dtype.is_bool
    np.testing.assert_array_equal(f(copied), given)
    assert not refused
    swapped = given.astype(given.dtype.newbyteorder())
    others = [given.astype(d) for d in (np.uint16, np.complex64, np.longlong)]
    strange = [a for a in (swapped, *others) if a.dtype != given.dtype]
    for array in strange:
        f(array)
    assert refused == [str(a.dtype) for a in strange]


def test_rounding_to_narrow_floats_is_to_nearest_even() -> None:
    bf16 = copying(identity(dtypes.BF16), 2).callable
    assert bf16(1 + 2**-8) == 1.0
    assert bf16(1 + 3 * 2**-8) == 1 + 2**-6
    assert math.isnan(bf16(math.nan))
    assert copying(identity(dtypes.F16), 2).callable(1 + 2**-11) == 1.0


def test_values_that_do_not_fit_are_refused() -> None:
    for dtype, bad in [
        (dtypes.I8, 128),
        (dtypes.U8, -1),
        (dtypes.I64, 2**63),
        (dtypes.F64, 10**400),
        (dtypes.F16, 1e6),
    ]:
        f = copying(identity(dtype), dtype.size).callable
        if dtype is dtypes.F16:
            assert f(bad) == math.inf
            continue
        with pytest.raises(ValueError, match="x must be"):
            f(bad)
    for dtype, wrong in [(dtypes.I32, 0.5), (dtypes.BOOL, 1), (dtypes.F32, "1"), (dtypes.F32, 1j)]:
        with pytest.raises(TypeError, match="x must be"):
            copying(identity(dtype), dtype.size).callable(wrong)


def test_references_are_balanced() -> None:
    x = graph.make_input("x", 0, dtypes.F32, (N,))
    s = graph.make_input("s", 1, dtypes.F64, ())
    f = copying(graph.Function("f", (x, s), (x, s), True), 4, arena=1000).callable
    a = np.ones(8, np.float32)
    watched = [a, a.dtype, np.ndarray, f]
    f(a, 1.0)
    before = [sys.getrefcount(w) for w in watched]
    for _ in range(1000):
        result = f(a, s=2.0)
        with pytest.raises(ValueError, match="rank"):
            f(a[None], 1.0)
    del result
    after = [sys.getrefcount(w) for w in watched]
    assert all(abs(p - q) < 10 for p, q in zip(before, after, strict=True))


def test_the_code_lives_as_long_as_its_builtin() -> None:
    native = copying(identity(dtypes.F64), 8)
    f = native.callable
    del native
    gc.collect()
    assert f(3.0) == 3.0


def test_many_threads_share_one_function() -> None:
    m = tdsl.compile(
        "def f(x: f64[n], w: f64[n, n]) -> f64:\n"
        "    y = tanh(w @ x)\n    z = tanh(w @ y)\n    return sum(y * z)\n"
    )
    rng = np.random.default_rng(0)
    sizes = [3, 60, 300]
    inputs = [(rng.standard_normal(n), rng.standard_normal((n, n)) / n) for n in sizes]
    expected = [m.f(*given) for given in inputs]
    wrong: list[Any] = []

    def work(k: int) -> None:
        for r in range(60):
            at = (k + r) % len(sizes)
            if m.f(*inputs[at]) != expected[at]:
                wrong.append((k, r))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_other_threads_run_during_a_long_call() -> None:
    m = tdsl.compile("def f(x: f64[n]) -> f64:\n    return sum[i, j](exp(x[i] * x[j]))\n")
    x = np.linspace(0, 1, 4000)
    m.f(x[:3])
    ticks, running = 0, True

    def tick() -> None:
        nonlocal ticks
        while running:
            ticks += 1
            time.sleep(0.001)

    thread = threading.Thread(target=tick)
    thread.start()
    before, start = ticks, time.perf_counter()
    m.f(x)
    elapsed, during = time.perf_counter() - start, ticks - before
    running = False
    thread.join()
    assert during >= 2 or elapsed < 0.01


def test_ten_sizes_compile_once() -> None:
    m = tdsl.compile(
        "def f(x: f32[n, m], w: f32[m]) -> f32[n]:\n    return tanh(x @ w)  # ten sizes\n"
    )
    before = tdsl.stats()
    for n in range(10):
        x, w = np.ones((n, 2 * n), np.float32), np.ones(2 * n, np.float32)
        np.testing.assert_allclose(m.f(x, w), np.tanh(x @ w), rtol=1e-6)
    after = tdsl.stats()
    made = after.compilations + after.cache_hits - before.compilations - before.cache_hits
    assert made == 1


# --------------------------------------------------------------------------- binding of sizes


def test_binding_solves_linear_dims() -> None:
    steps = binding_steps([(N * 2 + 1, M), (M - N + dim(3),)])
    assert steps == (
        Bind("m", 0, 1, 1, dim(0)),
        Bind("n", 0, 0, 2, dim(1)),
        Equal(1, 0, M - N + dim(3)),
    )
    assert bind(steps, [(7, 9), (9,)]) == ({"m": 9, "n": 3}, None)
    assert bind(steps, [(8, 9), (9,)])[1] == steps[1]
    assert bind(steps, [(7, 9), (8,)])[1] == steps[2]


def test_binding_refuses_undetermined_names() -> None:
    with pytest.raises(ValueError, match="determines m, n"):
        binding_steps([(N * M,)])


def test_computed_dims_are_checked() -> None:
    m = tdsl.compile(
        "def f(x: f64[2*n], y: f64[n+1], z: f64[k-2]) -> f64[k]:\n"
        "    o[i] = x[0] + y[0] + z[0] + i for i in 0:k\n    return o\n"
    )
    assert m.f(np.ones(4), np.ones(3), np.ones(1)).tolist() == [3, 4, 5]
    with pytest.raises(ValueError, match=r"no size n >= 0 gives 2\*n = 5"):
        m.f(np.ones(5), np.ones(3), np.ones(1))
    with pytest.raises(ValueError, match=r"dim n \+ 1 of y \(axis 0\) must be 3, not 4 with n = 2"):
        m.f(np.ones(4), np.ones(4), np.ones(1))
