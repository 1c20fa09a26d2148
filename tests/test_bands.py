"""Bands: kernels that share their rows give what the interpreter gives, for rows of any number and
length: in blocks, in parts, stage by stage; the same bits for any number of threads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import differentiated

PROGRAM = """
def probabilities(x: T[r, c]) -> T[r, c]:
    return softmax(x, dim=1)
def entropy(x: T[r, c], y: i64[r]) -> (T, T[r, c]):
    picked[i] = x[i, y[i]]
    l = mean(logsumexp(x, dim=1) - picked)
    return l, grad(l, x)
def norm(x: T[r, c], w: T[c], b: T[c], g: T[r, c]) -> (T, T[r, c], T[c], T[c]):
    m = mean(x, dim=1, keepdim=True)
    v = mean((x - m)**2, dim=1, keepdim=True)
    l = sum(g * ((x - m) / sqrt(v + 0.5) * w + b))
    return l, grad(l, x), grad(l, w), grad(l, b)
def attention(q: T[r, c, 8], k: T[r, c, 8], v: T[r, c, 8]) -> (T[r, c, 8], T[r, c, 8]):
    s[e, i, j] = sum[d](q[e, i, d] * k[e, j, d])
    o = softmax(s, dim=2) @ v
    return o, grad(sum(o**2), k)
def logistic(x: T[r, c], t: T[r], w: T[c]) -> (T, T[c]):
    z = x @ w
    l = mean(t * log(1 + exp(-z)) + (1 - t) * log(1 + exp(z)))
    return l, grad(l, w)
def reductions(x: T[r, c]) -> (T, T, T, T, bool, bool):
    return sum(x), max(x), min(x), prod(x / 3), any(x > 2), all(x < 3)
def columns(x: T[r, c]) -> (T[c], T[c], T[r], T[r, c]):
    s = sum(x * x, dim=1, keepdim=True)
    return sum(x / s, dim=0), max(x / s, dim=0), sum(x, dim=1), x / s
def spread(x: T[r, c]) -> T:
    return mean((x - mean(x))**2)
def guarded(x: T[r, c], y: T[r, c]) -> (T[r, c], T[c], T[c]):
    p[i, j] = exp(x[i, j]) / (1 + sum[k](x[i, k]**2))
    s[j] = sum[i](p[i, j] * y[i, j] if j < c - 1 else 0)
    m[j] = max[i](p[i, j] if j > 0 and j < 3 else 0)
    return p, s, m
def shared(x: T[r, c]) -> (T, T[r, c]):
    l = sum(gelu(x))
    return l, grad(l, x)
def flat(x: T[r], t: T[r], b: T) -> (T, T[r], T, T):
    l = mean(t * log(1 + exp(-x - b)) + gelu(x))
    return l, grad(l, x), grad(l, b), max(x * t)
def pairs(x: T[r, 3], y: T[c, 3], b: T[c], g: T[r]) -> (T, T[r, 3], T[c, 3], T[c]):
    d[i, j] = sum[k]((x[i, k] - y[j, k])**2)
    a[i] = sum[j](exp(-d[i, j]) * b[j])
    l = sum(a * g)
    return l, grad(l, x), grad(l, y), grad(l, b)
def extremes(x: T[r, c], y: T[r, c]) -> (T[r], T[r], i64[r], T[r, c], T[r, c]):
    p[i, j] = exp(sin(x[i, j]) * y[i, j])
    q[i, j] = p[i, j] * max[k](p[i, k])
    return max(p, dim=1), min(x, dim=1), argmax(p, dim=1), p, q
def moments(x: T[r, c], w: T[c]) -> (T[r], T[r], i64[r], T[r, c], T[r]):
    n[i] = sum[j](1 if x[i, j] > w[j] else 0)
    s[i] = sum[j](x[i, j] * w[j] if x[i, j] > w[j] else 0)
    h[i, j] = tanh(x[i, j]) * (j + 1)
    return s, sum(h, dim=1), n, h, sum(h * h, dim=1) / c
"""
FLOATS = {"f32": np.float32, "f64": np.float64}
SHAPES = [(1, 1), (1, 17), (3, 5), (5, 300), (17, 1), (64, 40), (1000, 3), (257, 600)]
SQUARE = [(1, 1), (3, 5), (40, 17), (5, 70), (1, 130)]  # of c by c scores
LONG = [(3, 70_000), (40, 30_000), (2, 2_000_000)]
NAMES = [line.split()[1].split("(")[0] for line in PROGRAM.splitlines() if line.startswith("def ")]


@pytest.fixture(scope="module")
def programs() -> dict[str, Any]:
    return {d: tdsl.compile(re.sub(r"\bT\b", d, PROGRAM)) for d in FLOATS}


@pytest.fixture(autouse=True)
def usual_threads() -> Iterator[None]:
    before = tdsl.get_num_threads()
    yield
    tdsl.set_num_threads(before)


def _arguments(f: Any, r: int, c: int, dtype: Any) -> list[Any]:
    rng = np.random.default_rng(r + c)
    sizes = {"r": r, "c": c}
    out: list[Any] = []
    for p in f.graph().params:
        shape = tuple(d.const if d.const is not None else sizes[str(d)] for d in p.shape)
        if p.dtype.name == "i64":
            out.append(rng.integers(0, c, shape))
        else:
            out.append(rng.standard_normal(shape).astype(dtype))
    return out


def _all(result: Any) -> list[Any]:
    return [np.asarray(x) for x in (result if isinstance(result, tuple) else (result,))]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", NAMES)
def test_bands_give_what_the_interpreter_gives(programs: Any, name: str, dtype: str) -> None:
    f = getattr(programs[dtype], name)
    exactly = differentiated(getattr(programs["f64"], name).graph())
    assert "_band:" in f.ir("loops"), "nothing is banded: the test shows nothing"
    for r, c in SQUARE if name == "attention" else SHAPES:
        args = _arguments(f, r, c, FLOATS[dtype])
        exact = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in args]
        for got, want in zip(_all(f(*args)), interpret(exactly, exact), strict=True):
            size = np.abs(want).max(initial=1e-30) if want.dtype.kind == "f" else 1
            error = np.abs(got.astype(np.float64) - want).max(initial=0) / size
            assert error < (3e-5 if dtype == "f32" else 1e-12), (r, c, error)


@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_threads(programs: Any, name: str) -> None:
    f = getattr(programs["f32"], name)
    for r, c in [(3000, 200), (7, 100), (40, 30_000)][: 2 if name == "attention" else 3]:
        args = _arguments(f, min(r, 70) if name == "attention" else r, c, np.float32)
        results = []
        for threads in (1, 2, 3, 7):
            tdsl.set_num_threads(threads)
            results.append(_all(f(*args)))
        for other in results[1:]:
            for x, y in zip(results[0], other, strict=True):
                assert x.tobytes() == y.tobytes()


@pytest.mark.parametrize("shape", LONG)
def test_rows_that_no_block_holds(programs: Any, shape: tuple[int, int]) -> None:
    """They are run stage by stage: the results are those of shorter rows."""
    for name in ("probabilities", "norm", "columns", "shared", "logistic"):
        f, wide = (getattr(programs[d], name) for d in ("f32", "f64"))
        args = _arguments(f, *shape, np.float32)
        exact = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in args]
        for got, want in zip(_all(f(*args)), _all(wide(*exact)), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-3, atol=2e-5 * np.abs(want).max())


def test_nothing_to_do(programs: Any) -> None:
    f = programs["f32"]
    for r, c in [(0, 5), (0, 1)]:
        assert f.probabilities(*_arguments(f.probabilities, r, c, np.float32)).shape == (r, c)
        loss, *grads = f.norm(*_arguments(f.norm, r, c, np.float32))
        assert loss == 0 and all(not g.any() for g in grads)
    loss, dx, *_ = f.norm(*_arguments(f.norm, 5, 0, np.float32))
    assert loss == 0 and dx.shape == (5, 0)


@pytest.mark.parametrize("threads", [1, 2, 7])
def test_the_first_failure_is_reported(programs: Any, threads: int) -> None:
    tdsl.set_num_threads(threads)
    f = programs["f32"].entropy
    x, y = _arguments(f, 40_000, 60, np.float32)
    y[[31_000, 12_345]] = 60, 77
    with pytest.raises(tdsl.OutOfRangeError, match="77"):
        f(x, y)
    y[[31_000, 12_345]] = 0
    assert np.isfinite(f(x, y)[0])


def test_memory_does_not_grow_with_the_number_of_rows(programs: Any) -> None:
    """What only a band reads has room for a block of rows."""
    for name in ("probabilities", "attention", "logistic"):
        text = getattr(programs["f32"], name).plan()
        (arena,) = re.findall(r"arena of (.*) bytes", text)
        assert "r" not in re.findall(r"[a-z]+", arena), text


def test_what_a_result_replaces_stands_in_its_place() -> None:
    """If the result reads it element by element, as the last, and is as large."""
    f = tdsl.compile("""
def replaced(x: f32[r, c]) -> f32[r, c]:
    return softmax(x, dim=1)
def turned(x: f32[r, c]) -> f32[r, c]:
    e = exp(x) / sum(exp(x), dim=1, keepdim=True)
    out[i, j] = e[i, c - 1 - j] / sum[k](e[i, k] * e[i, k])
    return out
def wider(x: f32[r, c]) -> f64[r, c]:
    return f64(softmax(x, dim=1))
def twice(x: f32[r, c]) -> (f32[r, c], f32[r, c]):
    e = exp(x)
    return e / sum(e, dim=1, keepdim=True), e * max(e, dim=1, keepdim=True)
def two(x: f32[r, c]) -> f32[r, c]:
    e, s = exp(x), sin(x)
    return e / sum(e, dim=1, keepdim=True) + s * sum(s, dim=1, keepdim=True)
def losses(x: f32[r, c]) -> f32[r, c]:
    y[i] = i % c for i in 0:r
    return grad(cross_entropy(x, y), x)
""")
    assert len(re.findall(r"= out\b", f.two.plan())) == 2
    assert len(re.findall(r"= out\b", f.replaced.plan())) == 2
    for name in ("turned", "wider"):
        assert len(re.findall(r"= out\b", getattr(f, name).plan())) == 1, name
    for rows, columns in ((0, 3), (1, 1), (5, 33), (300, 70)):
        x = np.random.default_rng(rows).standard_normal((rows, columns)).astype("float32")
        for name in ("replaced", "turned", "wider", "twice", "two", "losses"):
            function = getattr(f, name)
            got = function(x)
            want = interpret(differentiated(function.graph()), [x])
            for a, b in zip(got if isinstance(got, tuple) else (got,), want, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    x = np.random.default_rng(1).standard_normal((40, 70)).astype("float32")
    want = f.replaced(x.copy())
    assert (f.replaced(x, donate="x") == want).all()


def test_not_finite(programs: Any) -> None:
    x = np.ones((500, 40), np.float32)
    x[77, 3], x[78, 4] = np.inf, np.nan
    out = programs["f32"].probabilities(x)
    assert np.isnan(out[78]).all() and np.isfinite(out[[76, 79]]).all()
    total, most, *_ = programs["f32"].reductions(x)
    assert np.isnan(total) and np.isnan(most)


def test_a_row_is_walked_once_for_all_that_reads_it(programs: Any) -> None:
    """Sums of a row, and values of all its elements, share a pass; what only the pass reads is
    nowhere else."""
    norm = _kernels(programs["f32"].norm)
    (pass_,) = (k for k in norm if k.count("sum=") == 4)
    assert pass_.count("for ") == 1, "one loop along a row"
    assert programs["f32"].norm.ir("kernels").count(", in one pass:") == 1
    (walk,) = (k for k in _kernels(programs["f32"].flat) if "erf" in k)
    assert "sum=" in walk and "out1[i0] = " in walk, "a value and its gradient"
    extremes, after = _kernels(programs["f32"].extremes)
    assert all(f"{r}=" in extremes for r in ("max", "min", "argmax"))
    assert "out3[i*c + j] = " in extremes and "out4[i*c + j] = " in after
    program = tdsl.compile(
        "def f(x: f32[m, 3], y: f32[n, 3], b: f32[n]) -> (f32[m], f32[m, 3]):\n"
        "    a[i] = sum[j](exp(-sum[k]((x[i, k] - y[j, k])**2)) * b[j])\n"
        "    return a, grad(sum(a), x)\n"
    )
    (walk,) = (k for k in _kernels(program.f) if "sum=" in k)
    assert walk.count("sum=") == 4 and "exp" in walk


def _kernels(f: Any) -> list[str]:
    """The nests of a function that has one band, without those that start and end its sums."""
    return re.findall(r"^ +kernel\d+:.*\n(?:(?! *kernel).*\n)*", f.ir("loops"), re.MULTILINE)


def test_the_next_rows_are_asked_for_where_most_is_computed(programs: Any) -> None:
    (asking,) = (k for k in _kernels(programs["f32"].entropy) if "ahead:" in k)
    assert "exp(" in asking and "ahead: x[" in asking and asking.count("ahead:") == 1
    (asking,) = (k for k in _kernels(programs["f32"].norm) if "ahead:" in k)
    assert asking.count("sum=") == 4 and asking.count("ahead:") == 2
    assert not any("ahead:" in k for k in _kernels(programs["f32"].logistic)), (
        "little to hide behind"
    )


def test_what_follows_a_sum_in_parts_may_fail() -> None:
    """It is computed when all parts are done, and its indices are checked then."""
    f = tdsl.compile("""
def f(x: f64[n, m], y: f64[k], at: i64[1]) -> f64:
    return sum(tanh(x)) + y[at[0]]
""").f
    for rows in (0, 1, 50, 20_000):
        x = np.ones((rows, 20))
        assert f(x, np.ones(3), np.array([2])) == pytest.approx(1 + np.tanh(x).sum())
        with pytest.raises(tdsl.OutOfRangeError, match="index 8"):
            f(x, np.ones(3), np.array([8]))
