"""Kernels that differ in operands and names of sizes alone are emitted once: the code of a network
does not grow with its layers, and every use of shared code gives what code of its own gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.compiler import alike, target_cpu
from tdsl.compiler.build import Build
from tdsl.compiler.interpret import interpret
from tdsl.compiler.machine import host
from tdsl.compiler.pipeline import differentiated, simplified
from tdsl.compiler.target_cpu import module_of

from .native_functions import Native, drawn
from .test_inner_bands import NAMES, PROGRAM, SIZES

pytestmark = pytest.mark.filterwarnings("ignore::tdsl.TdslWarning")

OTHERS = """
def perceptron(x: T[b, i], w: T[i, h], c: T[h], v: T[h, o]) -> (T, T[i, h], T[h], T[h, o]):
    l = mean((tanh(x @ w + c) @ v)**2)
    return l, grad(l, w), grad(l, c), grad(l, v)
def norm(x: T[b, i], g: T[i]) -> (T[b, i], T, T[b, i], T[i]):
    m = mean(x, dim=1)
    y[j, k] = (x[j, k] - m[j]) / sqrt(mean(x**2, dim=1)[j] + 1) * g[k]
    l = sum(y**2)
    return y, l, grad(l, x), grad(l, g)
def window(x: T[b, h, s, s], w: T[g, h, 3, 3]) -> (T[b, g, s-2, s-2], T[g, h, 3, 3]):
    y[e, f, i, j] = sum[c, p, q](x[e, c, i + p, j + q] * w[f, c, p, q])
    l = sum(y**2)
    return y, grad(l, w)
def stencil(x: T[s], y: T[s]) -> (T[s], T, T[s]):
    z[i] = (x[i - 1] if i > 0 else 0) - 2 * x[i] + (x[i + 1] if i < s - 1 else 0)
    l = sum(exp(-z**2) * y)
    return z, l, grad(l, x)
"""
EVERY = re.findall(r"^def (\w+)", OTHERS, re.MULTILINE) + NAMES


@pytest.fixture
def small(blocks: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """However small they are."""
    monkeypatch.setattr(alike, "WORTH_SHARING", 0)


def _twice(name: str, dtype: str) -> Any:
    """A function that calls another one on two sets of arguments."""
    text = PROGRAM + OTHERS
    found = re.search(rf"^def {name}\((.*?)\) -> (.*?):\n", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    params, results = found[1], found[2]
    count = len(re.findall(r"\bT\b", results))
    names = re.findall(r"(\w+):", params)
    given, calls, values = [], [], []
    for k in (1, 2):
        given.append(re.sub(r"\b(?!T\b)([a-z]\w*)", rf"\1_{k}", params))
        here = [f"r{n}_{k}" for n in range(count)]
        calls.append(f"    {', '.join(here)} = {name}({', '.join(f'{x}_{k}' for x in names)})\n")
        values += here
    more = f"def twice({', '.join(given)}):\n{''.join(calls)}    return {', '.join(values)}\n"
    return tdsl.compile(re.sub(r"\bT\b", dtype, text + more))


def _of(f: Any) -> Any:
    return simplified(differentiated(f.graph()))


def _shared(fn: Any) -> list[Any]:
    with fn.scope.active():
        return [u.shared for u in alike.uses(Build(fn, host()).loops) if u is not None]


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", EVERY)
def test_of_two_sizes(name: str, threads: int, small: None) -> None:
    module = _twice(name, "f64")
    once, both = _of(getattr(module, name)), _of(module.twice)
    shared = _shared(both)
    assert len(shared) >= 2 and len(set(shared)) < len(shared)
    tdsl.set_num_threads(threads)
    with both.scope.active():
        native = Native(both)
    for first, second in zip(SIZES[1:], SIZES, strict=False):
        sizes = [{"i": 40, "o": 7, **first}, {"i": 9, "o": 20, **second}]
        arrays = [drawn(once, s, k) for k, s in enumerate(sizes)]
        got = native(*arrays[0], *arrays[1])
        want = [x for a in arrays for x in interpret(once, a)]
        for x, y in zip(got, want, strict=True):
            scale = max(1.0, float(np.abs(y).max(initial=0)))
            np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9 * scale)


def test_the_same_bits_as_code_of_its_own() -> None:
    module = _twice("perceptron", "f32")
    both = _of(module.twice)
    assert len(set(_shared(both))) < len(_shared(both))
    sizes = {"b": 300, "i": 70, "h": 90, "o": 33}
    arrays = drawn(both, {f"{x}_{k}": size for x, size in sizes.items() for k in (1, 2)})
    results = []
    for worth in (alike.WORTH_SHARING, 1 << 30):
        with pytest.MonkeyPatch.context() as patch, both.scope.active():
            patch.setattr(alike, "WORTH_SHARING", worth)
            results.append(Native(both)(*arrays))
    for x, y in zip(*results, strict=True):
        np.testing.assert_array_equal(x, y)


def _network(layers: int) -> Any:
    """The gradients of so many layers, each of a width of its own."""
    params = ", ".join(f"w{k}: f32[h{k}, h{k + 1}], c{k}: f32[h{k + 1}]" for k in range(layers))
    value = "x"
    for k in range(layers):
        value = f"rectified({value} @ w{k} + c{k})"
    head = f"def f(x: f32[b, h0], {params}) -> f32:"
    text = f"fn rectified(x) = max(x, 0)\n{head}\n    return sum({value})\n"
    wrt = [f"{x}{k}" for k in range(layers) for x in "wc"]
    return tdsl.compile(text).f.value_and_grad(*wrt)


def test_code_does_not_grow_with_the_layers() -> None:
    """But for calls, which are compiled the fast way."""
    counts = []
    for layers in (4, 8):
        fn = _of(_network(layers))
        with fn.scope.active():
            module = module_of(Build(fn, host()).loops, host())
        functions = [f for f in module.functions if f.blocks]
        counts.append(sum("optnone" not in f.attributes for f in functions))
    assert counts[0] == counts[1]


def test_from_other_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large program is translated in several modules, which call what another one has."""
    monkeypatch.setenv("TDSL_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(target_cpu, "PART", 300)
    f = _network(6)
    fn = _of(f)
    arrays = drawn(fn, {"b": 40, **{f"h{k}": 17 + 3 * k for k in range(7)}})
    got = [np.asarray(x) for x in f(*arrays)]
    for x, y in zip(got, interpret(fn, arrays), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("first", "second", "alike"),
    [
        ("exp(x[i]) / n", "exp(y[i]) / m", True),
        ("exp(x[n - 1 - i])", "exp(y[m - 1 - i])", True),
        ("x[i] + 1", "y[i] + 2", False),
        ("copysign(x[i], 0.0)", "copysign(y[i], -0.0)", False),
        ("x[i] * nan", "y[i] * inf", False),
        ("x[i] + x[i] * z[0]", "y[i] + z[0] * y[i]", False),
        ("min(x[i], 1)", "max(y[i], 1)", False),
        ("exp(x[i]) / n", "exp(y[i]) / n", False),
        ("exp(x[i])", "exp(y[m - 1 - i])", False),
        ("x[i] if i == 0 else 1", "y[i] if i == 1 else 1", False),
    ],
)
def test_what_is_shared(first: str, second: str, alike: bool, small: None) -> None:
    fn = _of(
        tdsl.compile(f"""
def f(x: f64[n], y: f64[m], z: f64[1]) -> (f64[n], f64[m]):
    r[i] = {first}
    s[i] = {second}
    return r, s
""").f
    )
    assert (len(_shared(fn)) == 2) == alike
    with fn.scope.active():
        native = Native(fn)
    arrays = drawn(fn, {"n": 37, "m": 20})
    for got, want in zip(native(*arrays), interpret(fn, arrays), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-12)
        np.testing.assert_array_equal(np.signbit(got), np.signbit(want))


def test_an_index_out_of_range_is_reported_as_its_own(small: None) -> None:
    f = tdsl.compile("""
def f(x: f64[n], a: i64[k], y: f64[m], b: i64[k]) -> (f64[k], f64[k]):
    r[i] = exp(x[a[i]])
    s[i] = exp(y[b[i]])
    return r, s
""").f
    fine = np.array([0, 1])
    with pytest.raises(tdsl.OutOfRangeError, match=r"index 5 .* of y, whose size is 3"):
        f(np.ones(2), fine, np.ones(3), np.array([0, 5]))
    with pytest.raises(tdsl.OutOfRangeError, match=r"index 5 .* of x, whose size is 2"):
        f(np.ones(2), np.array([0, 5]), np.ones(3), np.array([0, 7]))


def test_names_that_shared_code_could_have_itself() -> None:
    """What a user calls a value in a band is nothing to what shared code calls its operands."""
    for name in ("b{k}", "p{k}", "n{k}", "out{k}"):
        first, second, third = (name.format(k=k) for k in range(3))
        f = tdsl.compile(f"""
def f(x: f64[b, s, d], y: f64[c, t, e], u: f64[b, s, d], w: f64[c, t, e]):
    {first}[i, j, k] = sum[l](x[i, j, l] * x[i, k, l])
    {second} = softmax({first}, dim=2)
    {third}[i, j, k] = sum[l]({second}[i, j, l] * u[i, l, k])
    q0[i, j, k] = sum[l](y[i, j, l] * y[i, k, l])
    q1 = softmax(q0, dim=2)
    q2[i, j, k] = sum[l](q1[i, j, l] * w[i, l, k])
    return {third}, q2
""").f
        fn = _of(f)
        assert len(_shared(fn)) == 2
        arrays = drawn(fn, {"b": 2, "s": 5, "d": 3, "c": 3, "t": 6, "e": 4})
        with fn.scope.active():
            native = Native(fn)
        for got, want in zip(native(*arrays), interpret(fn, arrays), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-12)


def test_long_formulas() -> None:
    """Longer than Python's stack is deep."""

    def lines(x: str) -> str:
        return "".join(f"    {x} = sin({x}) * {1 + k / 7} + {x}\n" for k in range(400))

    head = "def f(x: f64[n], y: f64[m]) -> (f64[n], f64[m]):\n"
    f = tdsl.compile(f"{head}{lines('x')}{lines('y')}    return x, y\n").f
    x, y = f(np.ones(3), np.ones(5))
    assert x[0] == y[0] == np.asarray(y).max()
