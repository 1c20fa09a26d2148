"""Products of bf16 by matrix tiles: the order of their sums, and where vectors do the work instead.

Every test of what comes out holds on machines without tiles, too; those of how it is made are
skipped there. More products of bf16, of all sizes, are in `test_half_products`.
"""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.compiler.machine import host
from tdsl.runtime.tensor.bfloat16 import bfloat16_bits, bfloat16_values

Array = Any
ONLY_TILES = pytest.mark.skipif(not host().matrix_tiles, reason="no matrix tiles here")

PROGRAMS = {
    "plain": ("bf16[m, k], y: bf16[k, n]", "f32[m, n]", "f32(x) @ f32(y)"),
    "left transposed": ("bf16[k, m], y: bf16[k, n]", "f32[m, n]", "f32(transpose(x)) @ f32(y)"),
    "right transposed": ("bf16[m, k], y: bf16[n, k]", "f32[m, n]", "f32(x) @ f32(transpose(y))"),
    "computed": ("bf16[m, k], y: bf16[k, n]", "f32[m, n]", "s"),
    "batched": ("bf16[b, m, k], y: bf16[b, k, n]", "f32[b, m, n]", "f32(x) @ f32(y)"),
}
COMPUTED = "    s[i, j] = sum[c](f32(x[i, c]) * f32(y[c, j]) if i + c != 1000000 else 0.0)\n"


def compiled(name: str) -> Any:
    params, result, body = PROGRAMS[name]
    first = COMPUTED if name == "computed" else ""
    f = tdsl.compile(f"def f(x: {params}) -> {result}:\n{first}    return {body}\n").f
    assert not host().matrix_tiles or "by tiles" in f.ir("loops")
    return f


def given(name: str, x: Array, y: Array) -> tuple[Array, Array]:
    """`x` and `y`, m×k and k×n or a stack of these, as the program wants them."""
    x = np.swapaxes(x, -1, -2) if name == "left transposed" else x
    y = np.swapaxes(y, -1, -2) if name == "right transposed" else y
    return (bfloat16_bits(np.ascontiguousarray(v, np.float32)) for v in (x, y))  # type: ignore[return-value]


def rounded(x: Array) -> Array:
    return bfloat16_values(bfloat16_bits(np.asarray(x, np.float32)))


def by_tiles(x: Array, y: Array) -> Array:
    """The sums as Intel's manual has them for TDPBF16PS: of 32 terms, the even ones in order and
    the odd ones in order, then both, then what was there. All sums are rounded to f32."""
    out = np.zeros((x.shape[0], y.shape[1]), np.float32)
    steps = -(-x.shape[1] // 32) * 32
    x = np.pad(x, ((0, 0), (0, steps - x.shape[1]))).astype(np.float32)
    y = np.pad(y, ((0, steps - y.shape[0]), (0, 0))).astype(np.float32)
    for start in range(0, steps, 32):
        halves = np.zeros((2, *out.shape), np.float32)
        for k in range(start, start + 32):
            # exact in f64: a product of two numbers of 8 bits, and one sum of it and 24 bits that
            # is rounded to f32 (twice, but for ties these agree: 53 > 2·24 + 1)
            product = np.outer(x[:, k].astype(np.float64), y[k].astype(np.float64))
            halves[k % 2] = (halves[k % 2].astype(np.float64) + product).astype(np.float32)
        out += halves[0] + halves[1]
    return out


@ONLY_TILES
@pytest.mark.parametrize("name", ["plain", "left transposed", "right transposed", "computed"])
def test_sums_are_in_the_order_of_tiles(name: str) -> None:
    f = compiled(name)
    rng = np.random.default_rng(0)
    for m, k, n in ((128, 64, 64), (81, 97, 50), (16, 768, 33), (130, 800, 17)):
        x, y = rounded(rng.standard_normal((m, k))), rounded(rng.standard_normal((k, n)))
        assert f(*given(name, x, y)).tobytes() == by_tiles(x, y).tobytes(), (m, k, n)


@pytest.mark.parametrize("name", PROGRAMS)
def test_edges_of_sizes(name: str) -> None:
    f = compiled(name)
    rng = np.random.default_rng(1)
    for m, k, n in itertools.product((16, 17, 33, 161), (32, 47, 801), (16, 31, 49, 1153)):
        stack = (3,) if name == "batched" else ()
        x = rounded(rng.standard_normal((*stack, m, k)))
        y = rounded(rng.standard_normal((*stack, k, n)))
        got = f(*given(name, x, y))
        x, y = x.astype(np.float64), y.astype(np.float64)
        assert (abs(got - x @ y) <= 2.0**-24 * k * (abs(x) @ abs(y))).all(), (m, k, n)


def test_several_summed_indices() -> None:
    source = """
def f(x: bf16[m, a, b], y: bf16[a, b, n]) -> f32[m, n]:
    s[i, j] = sum[k, l](f32(x[i, k, l]) * f32(y[k, l, j]))
    return s
"""
    f = tdsl.compile(source).f
    assert not host().matrix_tiles or "by tiles" in f.ir("loops")
    rng = np.random.default_rng(2)
    for m, a, b, n in ((70, 3, 41, 90), (33, 40, 40, 48), (90, 50, 1, 60), (40, 1, 1700, 50)):
        x, y = rounded(rng.standard_normal((m, a, b))), rounded(rng.standard_normal((a, b, n)))
        got = f(bfloat16_bits(x), bfloat16_bits(y))
        x, y = x.reshape(m, -1).astype(np.float64), y.reshape(-1, n).astype(np.float64)
        assert (abs(got - x @ y) <= 2.0**-24 * a * b * (abs(x) @ abs(y))).all(), (m, a, b, n)


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("exponents", [(-133, 0), (-70, -60), (-126, 20), (-60, -66), (-133, 127)])
def test_small_numbers_count(name: str, exponents: tuple[int, int]) -> None:
    """One small number among others: nothing is flushed to zero, be it read or summed."""
    f = compiled(name)
    m, k, n = 65, 70, 66
    x, y = np.zeros((m, k), np.float32), np.zeros((k, n), np.float32)
    x[:, 5], y[5] = 2.0 ** exponents[0], 2.0 ** exponents[1]
    x[:, 40], y[40] = 1, -(2.0 ** sum(exponents))  # what is left of both: nothing, or a little
    x[3, 40] = 0
    want = np.asarray(x.astype(np.float64) @ y.astype(np.float64), np.float32)
    assert want[3, 0] != 0 and want[4, 0] == 0
    if name == "batched":
        x, y, want = (np.stack([v] * 3) for v in (x, y, want))
    got = f(*given(name, x, y))
    assert (got == want).all()


@pytest.mark.parametrize("name", PROGRAMS)
def test_infinities_and_nan_stay_in_their_row_and_column(name: str) -> None:
    f = compiled(name)
    x, y = np.ones((100, 101), np.float32), np.ones((101, 90), np.float32)
    x[99, 100], y[0, 89], y[3, 88] = np.nan, np.inf, -np.inf
    want = np.full((100, 90), 101.0, np.float32)
    want[:, 88], want[:, 89], want[99] = -np.inf, np.inf, np.nan
    if name == "batched":
        x, y, want = (np.stack([v] * 3) for v in (x, y, want))
    np.testing.assert_array_equal(f(*given(name, x, y)), want)


def test_what_has_to_be_finite() -> None:
    """A masked factor: 0 times infinity is 0 where the mask leaves the term out."""
    source = """
def f(x: bf16[m, k], y: bf16[k, n]) -> f32[m, n]:
    s[i, j] = sum[c](f32(x[i, c]) * f32(y[c, j]) if c < i else 0.0)
    return s
"""
    f = tdsl.compile(source).f
    assert not host().matrix_tiles or "by tiles" in f.ir("loops")
    rng = np.random.default_rng(3)
    x, y = rounded(rng.standard_normal((90, 80))), rounded(rng.standard_normal((80, 70)))
    y[79] = np.inf
    got = f(bfloat16_bits(x), bfloat16_bits(y))
    kept = np.arange(80)[None, :] < np.arange(90)[:, None]
    with np.errstate(invalid="ignore"):
        want = np.where(kept, x, 0).astype(np.float64)[:, :79] @ y[:79].astype(np.float64)
    assert (abs(got[:80] - want[:80]) <= 1e-4).all()
    assert not np.isfinite(got[80:]).any()


def test_same_bits_for_any_threads() -> None:
    rng = np.random.default_rng(4)
    before = tdsl.get_num_threads()
    try:
        for name, m, k, n in (
            ("plain", 401, 713, 305),
            ("plain", 40, 9000, 50),
            ("right transposed", 900, 300, 100),
            ("left transposed", 100, 300, 900),
            ("computed", 401, 713, 305),
            ("batched", 210, 130, 211),
        ):
            stack = (5,) if name == "batched" else ()
            x, y = rng.standard_normal((*stack, m, k)), rng.standard_normal((*stack, k, n))
            f, args, results = compiled(name), list(given(name, x, y)), set()
            for threads in (1, 2, 3, 7):
                tdsl.set_num_threads(threads)
                results.add(f(*args).tobytes())
            assert len(results) == 1, name
    finally:
        tdsl.set_num_threads(before)


@pytest.mark.parametrize("shared", [False, True], ids=["both batched", "one for all"])
def test_small_numbers_of_other_batches_are_no_reason(shared: bool) -> None:
    """What is multiplied together decides between tiles and vectors, which add up in different
    orders: were it what a thread does one after the other, bits would depend on their number."""
    right = "k, n" if shared else "b, k, n"
    at = "k, j" if shared else "q, k, j"
    source = f"""
def f(x: bf16[b, m, k], y: bf16[{right}]) -> f32[b, m, n]:
    s[q, i, j] = sum[k](f32(x[q, i, k]) * f32(y[{at}]))
    return s
"""
    f = tdsl.compile(source).f
    rng = np.random.default_rng(7)
    m, k, n = 130, 300, 110
    x, y = rounded(rng.standard_normal((6, m, k))), rounded(rng.standard_normal((6, k, n)))
    x[0, 5, 6], y[4, 7, 8] = 2.0**-70, 2.0**-60
    if shared:
        y = y[4]
    before = tdsl.get_num_threads()
    results = set()
    try:
        for threads in (1, 2, 3, 7):
            tdsl.set_num_threads(threads)
            results.add(f(bfloat16_bits(x), bfloat16_bits(y)).tobytes())
    finally:
        tdsl.set_num_threads(before)
    assert len(results) == 1
    if host().matrix_tiles and not shared:
        (got,) = (np.frombuffer(v, np.float32).reshape(6, m, n) for v in results)
        assert all((got[q] == by_tiles(x[q], y[q])).all() for q in range(6))


CONVOLUTION = """
def y(x: T[b, c, h, w], k: T[o, c, 3, 3]) -> T[b, o, h, w]:
    return conv2d(x, k, padding=1)
def d(x: T[b, c, h, w], k: T[o, c, 3, 3], g: T[b, o, h, w]) -> (T[b, c, h, w], T[o, c, 3, 3]):
    return grad(sum(conv2d(x, k, padding=1) * g), (x, k))
"""


@pytest.mark.parametrize(
    ("b", "c", "h", "w", "o"),
    [(2, 16, 19, 33, 20), (3, 20, 14, 14, 37), (2, 17, 9, 8, 65), (1, 96, 5, 700, 16)],
)
def test_convolutions(b: int, c: int, h: int, w: int, o: int) -> None:
    """Against the same in f32; with numbers that are too small for tiles, exactly."""
    half, wide = (tdsl.compile(CONVOLUTION.replace("T[", f"{d}[")) for d in ("bf16", "f32"))
    assert not host().matrix_tiles or half.y.ir("loops").count("by tiles") == 1
    rng = np.random.default_rng(6)
    shapes = ((b, c, h, w), (o, c, 3, 3), (b, o, h, w))
    before = tdsl.get_num_threads()
    try:
        for small in (False, True):
            args = [rounded(rng.standard_normal(s)) for s in shapes]
            if small:
                args[0][0, 0, 0, 0] = 2.0**-133
            bits = set()
            for threads in (1, 3):
                tdsl.set_num_threads(threads)
                halves = [bfloat16_bits(v) for v in args]
                got = [half.y(*halves[:2]), *half.d(*halves)]
                bits.add(b"".join(v.tobytes() for v in got))
            assert len(bits) == 1
            want = [wide.y(*args[:2]), *wide.d(*args)]
            for k, (x, exact) in enumerate(zip(got, want, strict=True)):
                error = abs(bfloat16_values(x) - exact)
                assert (error <= 2.0**-8 * abs(exact) + 2.0**-20 * abs(exact).max()).all()
                if small and k == 0:  # the gradient by x does not have it
                    assert (bfloat16_values(x) == rounded(exact)).all()
    finally:
        tdsl.set_num_threads(before)


def test_what_a_window_passes_over_is_no_reason() -> None:
    """A strip has lines that no product reads, others for other numbers of threads."""
    source = """
def y(x: bf16[b, c, h, w], k: bf16[o, c, p, q]) -> bf16[b, o, (h - p)//2 + 1, w - q + 1]:
    return conv2d(x, k, stride=(2, 1))
"""
    f = tdsl.compile(source).y
    assert not host().matrix_tiles or "strips" in f.ir("loops")
    rng = np.random.default_rng(8)
    x, k = (
        rounded(rng.standard_normal((1, 64, 64, 64))),
        rounded(rng.standard_normal((256, 64, 1, 1))),
    )
    before = tdsl.get_num_threads()
    try:
        for line, used in ((31, False), (21, False), (30, True)):
            results = set()
            for small in (False, True):
                x[0, 0, line, 5] = 2.0**-133 if small else 0
                for threads in (1, 2, 3, 4):
                    tdsl.set_num_threads(threads)
                    results.add(f(bfloat16_bits(x), bfloat16_bits(k)).tobytes())
                if used:
                    assert len(results) == 1
                    results.clear()
            assert len(results) <= 1, line
    finally:
        tdsl.set_num_threads(before)


REFUSED = """
import ctypes, os, sys

class Stack(ctypes.Structure):
    _fields_ = [("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]

small = ctypes.create_string_buffer(4096)  # Linux grants no tiles beside such a stack for signals
if sys.argv[1] == "refused":
    stack = Stack(ctypes.addressof(small), 0, len(small))
    assert ctypes.CDLL(None).sigaltstack(ctypes.byref(stack), None) == 0
import numpy as np
import tdsl
text = "def f(x: bf16[m, k], y: bf16[k, n]) -> f32[m, n]:\\n    return f32(x) @ f32(y)\\n"
f = tdsl.compile(text).f
rng = np.random.default_rng(5)
x, y = ((rng.standard_normal((130, 130)).astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
        for _ in range(2))
got = f(x, y)
if sys.argv[1] == "forked":
    child = os.fork()
    if child == 0:
        os._exit(int(f(x, y).tobytes() != got.tobytes()))
    assert os.waitpid(child, 0)[1] == 0
sys.stdout.buffer.write(got.tobytes())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="signals and forks as Linux has them")
def test_a_process_that_may_not_and_one_that_forks() -> None:
    def run(how: str) -> Array:
        done = subprocess.run([sys.executable, "-c", REFUSED, how], check=True, capture_output=True)
        return np.frombuffer(done.stdout, np.float32)

    granted, refused, forked = run("granted"), run("refused"), run("forked")
    assert (granted == forked).all()
    assert abs(granted).max() > 0 and abs(granted - refused).max() <= 2.0**-24 * 130 * 200
    if host().matrix_tiles:
        assert (granted != refused).any()  # another order of the sums
