"""Large results live in blocks that are kept and used again; NumPy frees and resizes them."""

from __future__ import annotations

import gc
import subprocess
import sys

import numpy as np
import pytest
import tdsl
from tdsl.compiler.entry_blocks import SMALLEST


@pytest.fixture(scope="module")
def plus_one() -> tdsl.Function:
    return tdsl.compile("def f(x: f32[n, k]) -> f32[n, k]:\n    return x + 1\n").f


def address(a: np.ndarray) -> int:
    return a.__array_interface__["data"][0]


def test_a_block_is_used_again(plus_one: tdsl.Function) -> None:
    x = np.ones((300, 1000), np.float32)
    first = plus_one(x)
    place = address(first)
    del first
    assert address(plus_one(x)) == place


def test_a_live_result_keeps_its_block(plus_one: tdsl.Function) -> None:
    x = np.ones((300, 1000), np.float32)
    kept = [plus_one(x * k) for k in range(5)]
    view = kept[0][:10]
    del kept[0]
    more = [plus_one(x * 9) for _ in range(5)]
    assert (view == 1).all() and all((k == n + 2).all() for n, k in enumerate(kept)) and more


@pytest.mark.parametrize("count", [SMALLEST // 4 - 1, SMALLEST // 4, SMALLEST // 4 + 1, 3_000_000])
def test_results_are_ordinary_arrays(plus_one: tdsl.Function, count: int) -> None:
    for shape in ((count, 1), (1, count)):
        y = plus_one(np.zeros(shape, np.float32))
        same = np.zeros(shape, np.float32)
        assert y.flags.owndata and y.flags.writeable and y.base is None
        assert y.flags.c_contiguous == same.flags.c_contiguous
        assert y.flags.f_contiguous == same.flags.f_contiguous and y.strides == same.strides
        assert (y == 1).all()


def test_a_result_can_be_resized(plus_one: tdsl.Function) -> None:
    for new in (10, 40_000, 500_000):
        y = plus_one(np.zeros((1, 100_000), np.float32))
        y.resize((new,), refcheck=False)
        assert (y[: min(new, 100_000)] == 1).all() and not y[100_000:].any()
        del y
        z = plus_one(np.zeros((1, new), np.float32))  # the block's class is that of its size
        assert (z == 1).all()


def test_memory_does_not_grow_with_the_sizes_seen(plus_one: tdsl.Function) -> None:
    """What lies idle is bounded; the blocks of many sizes together stay below it."""
    script = (
        "import numpy as np, resource, tdsl\n"
        "m = tdsl.compile('def f(x: f32[n, k]) -> f32[n, k]:\\n    return x + 1\\n')\n"
        "x = np.zeros((1, 60_000_000), np.float32)\n"
        "x[:] = 1\n"
        "base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for k in range(60):\n"
        "    m.f(x[:, : 1_000_000 + 900_000 * k])\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - base) // 1024)\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 1200  # MiB: 512 idle, and one array of 220 with its copy's rounding


def test_arrays_outlive_the_functions(plus_one: tdsl.Function) -> None:
    def made() -> np.ndarray:
        f = tdsl.compile("def g(x: f32[n]) -> f32[n]:\n    return x * 3\n").g
        return f(np.ones(100_000, np.float32))

    y = made()
    gc.collect()
    assert (y == 3).all()
    # to the end of the process, in whatever order it takes things down
    script = (
        "import sys, numpy as np, tdsl\n"
        "m = tdsl.compile('def g(x: f32[n]) -> f32[n]:\\n    return x * 3\\n')\n"
        "sys.kept = [m.g(np.ones(100_000, np.float32))]\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0


def test_too_much_is_a_memory_error(plus_one: tdsl.Function) -> None:
    with pytest.raises(MemoryError):
        tdsl.compile("def f(x: f32[n], y: f32[m]) -> f32[n, m]:\n    return x[:, None] + y\n").f(
            np.zeros(1 << 23, np.float32), np.zeros(1 << 23, np.float32)
        )


@pytest.mark.parametrize("count", [20_000, 100_000, 1_000_000])
def test_large_tensors_begin_on_a_cache_line(count: int) -> None:
    x = np.arange(count, dtype=np.float32)
    made = tdsl.tensor(x)
    every = [made, made.clone(), tdsl.empty(count), tdsl.full((count,), 2.0)]
    assert not any(t.data_ptr() % 64 for t in every)
    assert all(t.untyped_storage().nbytes() == 4 * count for t in every)
    np.testing.assert_array_equal(made.numpy(), x)


def test_a_copy_keeps_its_layout() -> None:
    x = tdsl.tensor(np.arange(60_000.0).reshape(200, 300)).t()
    assert x.clone().stride() == (1, 300) and (x.clone() == x).all()
    assert tdsl.tensor(x.numpy()).stride() == (200, 1)
