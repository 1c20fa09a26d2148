"""The checker: values of what it builds, ranges, requirements, inlining, and its error pages.

What it reports is mostly tested in `filetests/`; here stands what needs a comparison or a number.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tdsl.compiler.dims import dim, named
from tdsl.compiler.errors import TdslError
from tdsl.compiler.graph import Comp, Function, Gradient, postorder
from tdsl.compiler.interpret import interpret
from tdsl.dsl.check import Checked, check
from tdsl.dsl.check_frame import least_without_floors, relation
from tdsl.dsl.check_types import unify
from tdsl.dsl.modules import load_modules

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs" / "errors").glob("[EW]0[3-7]*.md"))


def checked(text: str) -> Checked:
    return check(load_modules(None, text))


def function(text: str, name: str = "f") -> Function:
    return checked(text).functions[name]


def codes(text: str) -> list[str]:
    """The codes of all diagnostics, in order."""
    try:
        return [d.code for d in checked(text).warnings]
    except TdslError as error:
        return [d.code for d in error.diagnostics]


# --------------------------------------------------------------------------- values

R = np.random.default_rng(0)
X = R.normal(size=(4, 5)).astype(np.float32)
V = R.normal(size=7).astype(np.float32)
W = R.normal(size=3).astype(np.float32)
ROWS = np.array([2, 0, 2, 3])
BINS = np.array([1, 2, 1, 6, 0, 0, 1])


def scattered() -> Any:
    out = np.zeros_like(X)
    np.add.at(out, (ROWS,), X)
    return out


VALUES: dict[str, tuple[str, tuple[Any, ...], Callable[[], Any]]] = {
    "slices": ("x: f32[n, m]", (X,), lambda: (X[1:3, ::-1], X[:, 0], X[-1], X[0:4:2], X[:-1])),
    "new axes": ("x: f32[n, m]", (X,), lambda: (X[..., None], X[None, 0], X[..., 1])),
    "gathers": ("x: f32[n, m], p: i64[k]", (X, ROWS),
                lambda: (X[ROWS], X[ROWS, 1], X[:, ROWS], X[ROWS, ROWS], X[ROWS[:, None], ROWS])),
    "difference": ("v: f32[n]", (V,), lambda: V[1:] - V[:-1]),
    "convolution": ("v: f32[n], w: f32[p]", (V, W), lambda: np.correlate(V, W, "valid")),
    "strided": ("v: f32[n], w: f32[p]", (V, W), lambda: np.correlate(V, W, "valid")[::2] / 2),
    "reversed": ("v: f32[n]", (V,), lambda: V[::-1]),
    "stated": ("v: f32[n]", (V,), lambda: V[:-2] + V[2:]),
    "guarded": ("v: f32[n]", (V,), lambda: np.r_[0, V[:-1]] + V),
    "guarded sum": ("v: f32[n]", (V,), lambda: np.r_[0, V[:-2] + V[1:-1]]),
    "reducers": ("x: f32[n, m]", (X,),
                 lambda: (X.argmax(1), np.log(np.exp(X).sum(1)), X.mean(1), X.max(),
                          X.argmin(1) > 2)),
    "numbers": ("v: f32[n]", (V,), lambda: (V * np.arange(7)).sum() * np.arange(2, 7)),
    "shifted argmax": ("v: f32[n]", (V,), lambda: V[2:].argmax() + 2),
    "scatter": ("x: f32[n, m], p: i64[n]", (X, ROWS), scattered),
    "histogram": ("v: f32[n], p: i64[n]", (V, BINS), lambda: np.bincount(BINS, minlength=7) + V),
    "triangle": ("x: f32[n, m]", (X,), lambda: np.tril(X)),
    "chains": ("v: f32[n]", (V,), lambda: ((V > -1) & (V < 1), ~(V > 0), np.where(V > 0, V, -1))),
    "calls": ("x: f32[n, m]", (X,),
              lambda: (np.maximum(X, 6) * np.where(X > 6, 1, 2), X @ X[0], X[:, 1:3] @ X[0, :2])),
    "two of max": ("x: f32[n, m]", (X,),
                   lambda: (np.maximum(X, 0.5), X.max(1), np.minimum(X, X[0]))),
}  # fmt: skip

BODIES = {
    "slices": "return x[1:3, ::-1], x[:, 0], x[-1], x[0:n:2], x[:n-1]",
    "new axes": "return x[..., None], x[None, 0], x[..., 1]",
    "gathers": "return x[p], x[p, 1], x[:, p], x[p, p], x[p[:, None], p]",
    "difference": "d[i] = v[i+1] - v[i]\n    return d",
    "convolution": "c[i] = sum[k](v[i+k] * w[k])\n    return c",
    "strided": "c[i] = sum[k](v[2*i+k] * w[k]) / 2\n    return c",
    "reversed": "r[i] = v[n-1-i]\n    return r",
    "stated": "r[i] = v[i-1] + v[i+1] for i in 1:n-1\n    return r",
    "guarded": "r[i] = (v[i-1] if i > 0 else 0) + v[i]\n    return r",
    "guarded sum": "r[i] = sum[k](v[i+k-1]) if i > 0 else 0 for i in 0:n-1, k in 0:2\n    return r",
    "reducers": "a[i] = argmax[j](x[i, j])\n    l[i] = logsumexp[j](x[i, j])\n"
    "    u[i] = mean[j](x[i, j])\n    b[i] = argmin[j](x[i, j]) > 2\n"
    "    return a, l, u, max[i, j](x[i, j]), b",
    "numbers": "s[i] = sum[k](v[k] * k) * i for i in 2:n\n    return s",
    "shifted argmax": "a[i] = argmax[k](v[k] + 0*i) for i in 0:1, k in 2:n\n    return a[0]",
    "scatter": "d: f32[n, m] = 0\n    d[p[i], j] += x[i, j]\n    return d",
    "histogram": "d = zeros(n)\n    d[p[i]] += 1\n    d[i] += v[i]\n    return d",
    "triangle": "t[i, j] = x[i, j] if j <= i else 0\n    return t",
    "chains": "return -1 < v < 1, not (v > 0), where(v > 0, v, -1)",
    "calls": "return g(x, C), h(x, x[0]), h(x[:, 1:3], y=x[0, :2])",
    "two of max": "return max(x, 0.5), max(x, dim=1), min(x, x[0])",
}
PRELUDE = """const C = 2 * 3
fn g(a, b) = max(a, b) * (1 if a > b else 2)
def h(x: f32[k, l], y: f32[l]) -> f32[k]:
    return sum(x * y, dim=1)
"""


@pytest.mark.parametrize("case", VALUES)
def test_values_are_numpys(case: str) -> None:
    params, arguments, expected = VALUES[case]
    f = function(f"{PRELUDE}def f({params}):\n    {BODIES[case]}\n")
    found = interpret(f, arguments)
    wanted = expected()
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert np.shape(a) == np.shape(b)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    stride=st.integers(1, 3),
    dilation=st.integers(1, 3),
    width=st.integers(1, 4),
    size=st.integers(0, 12),
)
def test_a_range_is_the_largest_that_keeps_reads_in_bounds(
    stride: int, dilation: int, width: int, size: int
) -> None:
    text = f"""def f(x: f32[n], w: f32[p]):
    y[i] = sum[k](x[{stride}*i + {dilation}*k] * w[k])
    return y
"""
    f = function(text)
    (extent,) = f.outputs[0].shape
    entries = extent.evaluate({"n": size, "p": width})
    last = stride * (entries - 1) + dilation * (width - 1)
    assert last < size <= last + stride
    if entries > 0:
        x, w = np.arange(float(size)), np.ones(width)
        expected = [sum(x[stride * i + dilation * k] for k in range(width)) for i in range(entries)]
        np.testing.assert_allclose(interpret(f, (x, w))[0], expected)


# --------------------------------------------------------------------------- sizes


def test_requirements_say_what_a_call_must_bring() -> None:
    f = function("def f(x: f32[n], w: f32[k]):\n    return x[2:5], x[-3], w[:n]\n")
    needs = {r.message: r.nonnegative for r in f.requirements}
    assert set(needs.values()) == {named("n") - 5, named("k") - named("n")}
    assert any("n >= 5" in m for m in needs)  # which x[-3] then follows from
    with pytest.raises(ValueError, match="n >= 5"):
        interpret(f, (np.zeros(4), np.zeros(4)))


def test_a_parameters_size_proves_bounds() -> None:
    text = "def f(x: f32[n], y: f32[n - 2]):\n    return x[1:n-1] * y\n"
    assert function(text).requirements == ()


def test_callee_requirements_are_the_callers() -> None:
    text = """def tail(x: f32[n]) -> f32[n - 2]:
    return x[2:]

def f(y: f32[2*m]):
    return tail(y)
"""
    assert [r.nonnegative for r in function(text).requirements] == [2 * named("m") - 2]
    assert "E0509" in codes(text.replace("f32[2*m]", "f32[1]"))


def test_unify_binds_names_linearly() -> None:
    n, m = named("n"), named("m")
    env, unsolved = unify([(n, 2 * n + m)], [(dim(3), named("k"))])
    assert env == {"n": dim(3), "m": named("k") - 6} and not unsolved
    env, unsolved = unify([(2 * n,)], [(named("k"),)])
    assert unsolved == {"n"} and not env


@given(st.integers(0, 50), st.integers(-3, 3), st.integers(1, 4))
def test_a_floor_is_bounded(n: int, c: int, divisor: int) -> None:
    d = (named("n") + 1) // divisor * c * divisor + named("n")
    assert least_without_floors(d).evaluate({"n": n}) <= d.evaluate({"n": n})


def test_relation_puts_terms_where_they_are_positive() -> None:
    assert relation(named("n") - 2 * named("k") - 3) == "n >= 2*k + 3"


# --------------------------------------------------------------------------- calls


def test_calls_are_inlined_with_the_callees_spans() -> None:
    text = """def half(x: f32[n]) -> f32[n]:
    y = x / 2
    return y

def f(a: f32[p, q]) -> f32[q]:
    return half(a[0]) + half(a[1])
"""
    f = function(text)
    nodes = [n for n in postorder(f.outputs) if isinstance(n, Comp) and n.name == "y"]
    assert [n.span.line for n in nodes] == [2, 2]
    assert all(n.shape == (named("q"),) for n in nodes)


def test_gradients_inside_callees_are_by_their_arguments() -> None:
    text = """def slope(w: f32[n]) -> f32[n]:
    return grad(sum(w * w), w)

def f(x: f32[n]):
    return slope(3 * x)
"""
    (gradient,) = [n for n in postorder(function(text).outputs) if isinstance(n, Gradient)]
    assert isinstance(gradient.wrt, Comp)  # 3 * x, held in a node of its own


def test_imported_functions_see_their_own_file(tmp_path: Path) -> None:
    (tmp_path / "layers.tdsl").write_text(
        "const TWO = 2\nfn twice(x) = TWO * x\n"
        "def double(x: f32[n]) -> f32[n]:\n    return twice(x)\n"
    )
    main = tmp_path / "main.tdsl"
    main.write_text(
        'from "layers.tdsl" import double as d, TWO\nconst THREE = TWO + 1\n'
        "def f(x: f32[n]):\n    return THREE * d(x)\n"
    )
    result = check(load_modules(main))
    assert list(result.functions) == ["f"]
    np.testing.assert_allclose(interpret(result.functions["f"], (V,))[0], 6 * V, rtol=1e-6)


def test_errors_of_imported_files_are_reported_with_the_root(tmp_path: Path) -> None:
    (tmp_path / "a.tdsl").write_text("def g(x: f32[n]):\n    return y\n")
    main = tmp_path / "main.tdsl"
    main.write_text('from "a.tdsl" import g\ndef f(x: f32[n]):\n    return g(x) + z\n')
    with pytest.raises(TdslError) as error:
        check(load_modules(main))
    assert [Path(d.span.path).name for d in error.value.diagnostics] == ["a.tdsl", "main.tdsl"]


def test_calls_of_calls_are_bounded() -> None:
    rows = ["def f0(x: f32[n]):\n    return x * 2\n"]
    rows += [
        f"def f{k}(x: f32[n]):\n    return f{k - 1}(x) + f{k - 1}(2 * x)\n" for k in range(1, 15)
    ]
    assert "E0609" in codes("\n".join(rows))


def test_constants_fold() -> None:
    text = """const A = 7 // 2 + 2**3
const B = sqrt(2.0) / A
const D = -A if A > 3 else 0
def f(x: f64[n]):
    return x * B + D, sum(x, dim=A - 11)
"""
    first, second = interpret(function(text), (np.ones(2),))
    np.testing.assert_allclose(first, np.sqrt(2) / 11 - 11, rtol=1e-15)
    np.testing.assert_allclose(second, 2.0)


@pytest.mark.parametrize("value", ["10**30", "2**-1", "2**10**9", "9223372036854775807 + 1"])
def test_constants_beyond_64_bits_are_refused(value: str) -> None:
    assert codes(f"const A = {value}\n") == ["E0309"]


# --------------------------------------------------------------------------- robustness


def test_depth_does_not_overflow() -> None:
    before = sys.getrecursionlimit()
    deep = "".join(["x"] + [" + x"] * 380)
    nested = "exp(" * 190 + "x" + ")" * 190
    conditions = "".join(f"x if x > {k} else " for k in range(180)) + "x"
    text = f"def f(x: f32[n]):\n    return {deep}, {nested}, {conditions}\n"
    assert len(function(text).outputs) == 3
    assert sys.getrecursionlimit() == before


def test_long_chains_of_calls() -> None:
    rows = ["def f0(x: f32[n]):\n    return x * 2\n"]
    rows += [f"def f{k}(x: f32[n]):\n    return f{k - 1}(x) + 1\n" for k in range(1, 60)]
    f = function("\n".join(rows), "f59")
    np.testing.assert_allclose(interpret(f, (V,))[0], 2 * V + 59, rtol=1e-5)


def test_weak_literals_take_the_dtype_of_what_they_meet() -> None:
    text = """def f(x: f16[n], y: f64[n], k: i32[n]):
    a = 2
    return a * x, a * y, a * k, 0.5 * k, a, x * n
"""
    found = [str(o.dtype) for o in function(text).outputs]
    assert found == ["f16", "f64", "i32", "f32", "i64", "f16"]


# --------------------------------------------------------------------------- pages


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_pages_examples_do_what_they_say(page: Path) -> None:
    examples = re.findall(r"```tdsl\n(.*?)```", page.read_text(), re.S)
    if page.stem == "E0609":
        assert not examples  # tested above: its example would be too long
        return
    bad, mended = examples
    assert page.stem in codes(bad)
    assert codes(mended) == []


def test_every_code_has_a_page() -> None:
    sources = "".join(p.read_text() for p in (ROOT / "dsl").glob("check*.py"))
    sources += "".join(p.read_text() for p in (ROOT / "compiler").glob("op*.py"))
    sources += (ROOT / "compiler" / "index_lambda.py").read_text()
    used = set(re.findall(r'"([EW]0\d{3})"', sources))
    assert used == {p.stem for p in PAGES}
