"""Long sums of few results: made in parts, the same for any number of threads."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.runtime.tensor.bfloat16 import bfloat16_bits, bfloat16_values

Array = Any
THREADS = (1, 2, 3, 7)
PROGRAMS = {
    "mk,kn": "def f(x: T[m, k], y: T[k, n]) -> T[m, n]:\n    return x @ y\n",
    "km,kn": "def f(x: T[k, m], y: T[k, n]) -> T[m, n]:\n    return transpose(x) @ y\n",
    "mk,nk": "def f(x: T[m, k], y: T[n, k]) -> T[m, n]:\n    return x @ transpose(y)\n",
    "mak,akn": (
        "def f(x: T[m, a, k], y: T[a, k, n]) -> T[m, n]:\n"
        "    z[i, j] = sum[p, q](x[i, p, q] * y[p, q, j])\n    return z\n"
    ),
    "amkc,nack": (
        "def f(x: T[a, m, k, c], y: T[n, a, c, k]) -> T[m, n]:\n"
        "    z[i, j] = sum[p, q, r](x[p, i, q, r] * y[j, p, r, q])\n    return z\n"
    ),
}
# (a, k, c): 17 values of the outer index make 9 parts of 2, though there are terms for more
SIZES = (
    *((1, k, 1) for k in (2047, 2048, 5003, 17000)),
    *((3, 700, 1), (17, 90, 13), (1, 1201, 5), (4001, 1, 1), (2, 1, 2048)),
)
ROUNDOFF = {"f32": 2.0**-24, "f64": 2.0**-53}


@pytest.fixture(autouse=True)
def _threads_as_before() -> Iterator[None]:
    before = tdsl.get_num_threads()
    yield
    tdsl.set_num_threads(before)


def on_all_threads(f: Any, *args: Array) -> Any:
    """The result, which is the same for any number of threads."""
    results = []
    for threads in THREADS:
        tdsl.set_num_threads(threads)
        got = f(*args)
        results.append(got if isinstance(got, tuple) else (got,))
    for other in results[1:]:
        assert [x.tobytes() for x in other] == [x.tobytes() for x in results[0]]
    return results[0] if len(results[0]) > 1 else results[0][0]


@pytest.mark.parametrize("dtype", ROUNDOFF)
@pytest.mark.parametrize("form", PROGRAMS)
def test_against_numpy(form: str, dtype: str) -> None:
    """The error of a sum of parts is that of a part's terms, and of the parts."""
    f = tdsl.compile(PROGRAMS[form].replace("T[", f"{dtype}[")).f
    left, right = form.split(",")
    rng = np.random.default_rng(0)
    shapes_of = ((8, 16),) if dtype == "f64" else ((8, 16), (33, 47))
    for (m, n), (a, k, c) in itertools.product(shapes_of, SIZES):
        env = {"a": a, "k": k, "c": c, "m": m, "n": n}
        shapes = [[env[d] for d in side] for side in (left, right)]
        x, y = (rng.standard_normal(s).astype({"f32": "f4", "f64": "f8"}[dtype]) for s in shapes)
        wide = [v.astype(np.longdouble if dtype == "f64" else np.float64) for v in (x, y)]
        want = np.einsum(f"{form}->mn", *wide)
        magnitude = np.einsum(f"{form}->mn", *map(np.abs, wide))
        got = on_all_threads(f, x, y)
        terms = int(np.prod([env[d] for d in "akc" if d in left]))
        bound = ROUNDOFF[dtype] * magnitude * (max(2048, terms / 8) + 16)
        assert (np.abs(got - want) <= bound).all(), (form, env)


def test_the_error_is_that_of_a_part() -> None:
    """One chain of fused additions of 0.49 drifts by 3773 roundings of the sum."""
    f = tdsl.compile(PROGRAMS["mk,kn"].replace("T[", "f32[")).f
    value, k = np.float32(0.7), 1 << 14
    want = k * float(value) ** 2
    for m, n in ((8, 9), (128, 128)):
        x, y = np.full((m, k), value), np.full((k, n), value)
        assert (np.abs(on_all_threads(f, x, y) - want) <= 2.0**-24 * want * (k / 16 + 16)).all()


def test_what_follows_the_sums() -> None:
    f = tdsl.compile(
        "def f(x: f32[m, k], y: f32[k, n], b: f32[n]) -> (f32[m, n], f32[m, n], bool[m, n]):\n"
        "    z = x @ y + b\n    return relu(z), z * 2, z > 0\n"
    ).f
    rng = np.random.default_rng(1)
    for m, k, n in ((8, 4100, 9), (61, 9000, 70)):
        x, y = rng.integers(-3, 4, (m, k)), rng.integers(-3, 4, (k, n))
        b = rng.integers(-9, 9, n)
        z = x @ y + b  # exact
        got = on_all_threads(f, *(v.astype(np.float32) for v in (x, y, b)))
        for g, w in zip(got, (np.maximum(z, 0), z * 2, z > 0), strict=True):
            assert (g == w).all()


def test_sums_of_bf16() -> None:
    f = tdsl.compile(PROGRAMS["km,kn"].replace("T[", "bf16[")).f
    rng = np.random.default_rng(2)
    x, y = rng.standard_normal((7001, 40)), rng.standard_normal((7001, 24))
    x, y = (bfloat16_bits(v.astype(np.float32)) for v in (x, y))
    got = bfloat16_values(on_all_threads(f, x, y)).astype(np.float64)
    wide = [bfloat16_values(v).astype(np.float64) for v in (x, y)]
    want = wide[0].T @ wide[1]
    assert (np.abs(got - want) <= 2.0**-8 * np.abs(want) + 2.0**-11).all()


def test_what_is_not_finite_in_one_part_is_in_the_sum() -> None:
    f = tdsl.compile(PROGRAMS["mk,kn"].replace("T[", "f32[")).f
    for at in (0, 1500, 4999):
        x, y = np.ones((20, 5000), np.float32), np.ones((5000, 30), np.float32)
        x[3, at], y[at, 7] = np.nan, np.inf
        got = on_all_threads(f, x, y)
        assert np.isnan(got[3]).all() and np.isinf(np.delete(got[:, 7], 3)).all()
        assert (np.delete(np.delete(got, 3, 0), 7, 1) == 5000).all()


def test_what_a_guard_leaves_out_does_no_harm_in_any_part() -> None:
    f = tdsl.compile(
        "def f(x: f32[m, k], y: f32[k, n], g: f32[k, n]) -> f32[m, n]:\n"
        "    z[i, j] = sum[p](x[i, p] * y[p, j] if g[p, j] > 0 else 0)\n    return z\n"
    ).f
    x, y, g = np.ones((20, 5000)), np.ones((5000, 30)), np.ones((5000, 30))
    x[2, 4500], g[4500] = np.inf, -1
    got = on_all_threads(f, *(v.astype(np.float32) for v in (x, y, g)))
    assert (got == 4999).all()


def test_convolution_weight_gradient() -> None:
    """A sum over images and pixels, of few results."""
    f = tdsl.compile(
        "def f(x: f32[b, c, 20, 20], k: f32[o, c, 3, 3], g: f32[b, o, 20, 20])"
        " -> f32[o, c, 3, 3]:\n"
        "    return grad(sum(conv2d(x, k, padding=1) * g), k)\n"
    ).f
    rng = np.random.default_rng(3)
    x, g = rng.integers(-2, 3, (9, 4, 20, 20)), rng.integers(-2, 3, (9, 12, 20, 20))
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    want = np.array([[np.einsum("bchw,bohw->oc", padded[:, :, p : p + 20, q : q + 20], g)
                      for q in range(3)] for p in range(3)]).transpose(2, 3, 0, 1)  # fmt: skip
    k = np.zeros((12, 4, 3, 3), np.float32)
    assert (on_all_threads(f, x.astype(np.float32), k, g.astype(np.float32)) == want).all()
