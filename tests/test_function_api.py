"""`tdsl.load`, `tdsl.compile`, Module and Function: what they give, and their own errors."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.runtime import module
from tdsl.runtime.gradient_check import check_gradients

PROGRAM = '''"""A linear model."""

def loss(x: f64[n, d], y: f64[n], w: f64[d], b: f64) -> f64:
    """Mean squared error."""
    r = x @ w + b - y
    return mean(r * r)

def predict(x: f64[n, d], w: f64[d], b: f64):
    p = x @ w + b
    return p, sum(p), p > 0

def count(i: i64[n]) -> i64:
    return sum(i)
'''

RNG = np.random.default_rng(0)
X, Y, W, B = RNG.standard_normal((5, 3)), RNG.standard_normal(5), RNG.standard_normal(3), 0.5


def gradients() -> tuple[Any, ...]:
    r = X @ W + B - Y
    return 2 * X.T @ r / 5, 2 * r.mean()


@pytest.fixture
def m() -> tdsl.Module:
    return tdsl.compile(PROGRAM)


def test_values(m: tdsl.Module) -> None:
    r = X @ W + B - Y
    value = m.loss(X, Y, W, B)
    assert type(value) is float
    assert value == pytest.approx(np.mean(r * r))
    p, total, positive = m.predict(X, W, B)
    np.testing.assert_allclose(p, X @ W + B)
    assert type(total) is float and positive.dtype == bool
    assert m.count([1, 2, 3]) == 6 and type(m.count([1])) is int


def test_gradients(m: tdsl.Module) -> None:
    dw, db = gradients()
    np.testing.assert_allclose(m.loss.grad("w")(X, Y, W, B), dw)
    value, gw, gb = m.loss.value_and_grad("w", "b")(X, Y, W, B)
    assert value == m.loss(X, Y, W, B)
    np.testing.assert_allclose(gw, dw)
    assert gb == pytest.approx(db)
    everything = m.loss.grad()(X, Y, W, B)
    assert [np.shape(g) for g in everything] == [(5, 3), (5,), (3,), ()]
    assert m.loss.grad("w") is m.loss.grad("w")
    r = X @ W + B - Y
    (ct,) = m.loss.vjp("w").description.params[4:]
    assert ct.shape == ()
    np.testing.assert_allclose(m.loss.vjp("w")(X, Y, W, B, 2.0), 4 * X.T @ r / 5)


def test_what_has_no_gradient_says_why(m: tdsl.Module) -> None:
    with pytest.raises(ValueError, match="loss has no parameter 'W'; did you mean 'w'"):
        m.loss.grad("W")
    with pytest.raises(ValueError, match="named twice"):
        m.loss.grad("w", "w")
    with pytest.raises(TypeError, match=r"i of count is i64\[n\]: only floating-point"):
        m.count.grad("i")
    with pytest.raises(TypeError, match="count has no floating-point parameter"):
        m.count.grad()
    with pytest.raises(TypeError, match=r"predict returns \(f64\[n\], f64, bool\[n\]\)"):
        m.predict.value_and_grad("w")
    with pytest.raises(TypeError, match="named by strings"):
        m.loss.grad(2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"loss_dw returns .*only a function that returns one"):
        m.loss.grad("w").grad("w")


def test_the_gradient_is_a_program_with_the_same_bits(m: tdsl.Module) -> None:
    text = m.loss.gradient_source("w", "b")
    again = tdsl.compile(text)
    (name,) = again
    for a, b in zip(
        getattr(again, name)(X, Y, W, B), m.loss.grad("w", "b")(X, Y, W, B), strict=True
    ):
        assert np.array_equal(a, b)


def test_what_people_read(m: tdsl.Module) -> None:
    assert m.__doc__ == "A linear model."
    assert m.loss.signature == "def loss(x: f64[n, d], y: f64[n], w: f64[d], b: f64) -> f64"
    assert m.loss.__doc__ == f"{m.loss.signature}\n\nMean squared error."
    assert repr(m.loss) == "<tdsl function loss(x: f64[n, d], y: f64[n], w: f64[d], b: f64) -> f64>"
    assert m.predict.signature.endswith("-> (f64[n], f64, bool[n])")
    assert m.loss.grad("w").__name__ == "loss_dw"
    assert "gradient of loss with respect to w" in str(m.loss.grad("w").__doc__)
    assert list(m) == ["loss", "predict", "count"] and "loss" in m and "loss" in dir(m)
    assert "count(i: i64[n]) -> i64" in repr(m)
    assert r"\frac" in m.loss.latex() and r"\sum" in m.loss.latex()
    assert r"\partial w" in m.loss.grad("w").latex()


@pytest.mark.parametrize(
    "stage", ["ast", "graph", "grad", "simplified", "kernels", "plan", "loops"]
)
def test_every_stage_prints(m: tdsl.Module, stage: str) -> None:
    assert m.loss.ir(stage).strip()
    assert m.loss.plan().strip()


def test_signatures_for_editors(m: tdsl.Module) -> None:
    assert list(inspect.signature(m.loss).parameters) == ["x", "y", "w", "b"]


def test_warnings_of_the_checker_are_shown() -> None:
    text = "def f(x: f64[n]) -> f64:\n    unused = x * 2\n    return sum(x)\n"
    for _ in range(2):  # parsed, then from the cache
        with pytest.warns(tdsl.TdslWarning, match="unused"):
            m = tdsl.compile(text)
        assert len(m.warnings) == 1
        module._loaded.clear()


def test_a_relative_path_means_the_current_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, factor in (("a", 2), ("b", 3)):
        (tmp_path / folder).mkdir()
        monkeypatch.chdir(tmp_path / folder)
        Path("part.tdsl").write_text(f"def g(x: f64) -> f64:\n    return x * {factor}\n")
        Path("m.tdsl").write_text(
            'from "part.tdsl" import g\ndef f(x: f64) -> f64:\n    return g(x)\n'
        )
        assert tdsl.load("m.tdsl").f(1) == factor


def test_unknown_names_get_a_hint(m: tdsl.Module) -> None:
    with pytest.raises(AttributeError, match="no function 'los'; did you mean 'loss'"):
        m.los  # noqa: B018
    with pytest.raises(AttributeError, match="functions: loss, predict, count"):
        m.zzzzzz  # noqa: B018
    with pytest.raises(ValueError, match="no stage 'kernel'; did you mean 'kernels'"):
        m.loss.ir("kernel")
    assert not hasattr(m, "__len__")


def test_a_function_whose_name_an_attribute_hides() -> None:
    m = tdsl.compile("def source(x: f64) -> f64:\n    return x + 1\n")
    assert isinstance(m.source, str) and m["source"](1) == 2.0
    with pytest.raises(KeyError, match="did you mean 'source'"):
        m["sorce"]


def test_functions_pickle_and_copy(m: tdsl.Module, tmp_path: Path) -> None:
    m.loss(X, Y, W, B)
    for f in (m.loss, m.loss.grad("w")):
        assert copy.copy(f) is f and copy.deepcopy(f) is f
        again = pickle.loads(pickle.dumps(f))
        np.testing.assert_array_equal(again(X, Y, W, B), f(X, Y, W, B))
        path = tmp_path / "f.pickle"
        path.write_bytes(pickle.dumps((f, X, Y, W, B)))
        code = (
            "import pickle, sys; f, *a = pickle.load(open(sys.argv[1], 'rb')); print(f(*a).tolist()"
            " if f.__name__ != 'loss' else f(*a))"
        )
        run = [sys.executable, "-c", code, str(path)]
        out = subprocess.run(run, capture_output=True, text=True, check=True, cwd=tmp_path).stdout
        np.testing.assert_array_equal(eval(out), f(X, Y, W, B))
    assert list(pickle.loads(pickle.dumps(m))) == list(m)


def test_threads_compile_a_function_once() -> None:
    m = tdsl.compile("def f(x: f64[n]) -> f64:\n    return sum(x * x * 3)  # threads\n")
    before = tdsl.stats()
    results: list[float] = []
    barrier = threading.Barrier(6)

    def work() -> None:
        barrier.wait()
        results.append(m.f(np.ones(4)))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    after = tdsl.stats()
    assert results == [12.0] * 6
    made = after.compilations + after.cache_hits - before.compilations - before.cache_hits
    assert made == 1


# --------------------------------------------------------------------------- files


def test_a_file_is_read_anew_when_it_or_an_import_changes(tmp_path: Path) -> None:
    root, part = tmp_path / "a.tdsl", tmp_path / "part.tdsl"
    part.write_text("def g(x: f64[n]) -> f64[n]:\n    return x * 2\n")
    root.write_text('from "part.tdsl" import g\n\ndef f(x: f64[n]) -> f64:\n    return sum(g(x))\n')
    first = tdsl.load(root)
    assert first.f([1, 2]) == 6
    assert tdsl.load(root) is first
    part.write_text("def g(x: f64[n]) -> f64[n]:\n    return x * 3\n")
    second = tdsl.load(str(root))
    assert second.f([1, 2]) == 9 and first.f([1, 2]) == 6
    root.write_text(root.read_text().replace("sum", "max"))
    assert tdsl.load(root).f([1, 2]) == 6
    assert second.__file__ == str(root)


def test_a_wrong_program_raises_all_its_errors(tmp_path: Path) -> None:
    with pytest.raises(tdsl.TdslError) as caught:
        tdsl.compile("def f(x: f64[n]) -> f64:\n    return sum(y) + sum(z)\n", path="bad.tdsl")
    assert len(caught.value.diagnostics) == 2
    assert "bad.tdsl:2:" in str(caught.value)
    with pytest.raises(tdsl.TdslError, match="no file"):
        tdsl.load(tmp_path / "absent.tdsl")
    with pytest.raises(TypeError, match="`load` reads a file"):
        tdsl.compile(Path("x"))  # type: ignore[arg-type]


def test_import_is_light() -> None:
    code = (
        "import sys, tdsl, numpy; tdsl.tensor([1.0]); tdsl.no_grad\n"
        "print(sorted({'llvmlite', 'lark', 'sympy'} & sys.modules.keys()))"
    )
    run = [sys.executable, "-c", code]
    assert subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_unknown_attributes_of_the_package() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        tdsl.lod  # type: ignore[attr-defined]  # noqa: B018
    assert all(hasattr(tdsl, name) for name in tdsl.__all__)
    assert set(tdsl.__all__) <= set(dir(tdsl))


# --------------------------------------------------------------------------- gradient check


def test_the_gradient_check_passes_right_gradients(m: tdsl.Module) -> None:
    assert check_gradients(m.loss).status == "passed"
    assert check_gradients(m.predict).status == "passed"
    assert check_gradients(m.count).status == "skipped"


def test_the_gradient_check_finds_wrong_ones() -> None:
    # what stop_gradient hides is missing from the gradient, and only from the gradient
    m = tdsl.compile("def f(x: f64[n]) -> f64:\n    return sum(x * stop_gradient(x))\n")
    outcome = check_gradients(m.f)
    assert outcome.status == "failed" and "x (relative error" in outcome.detail


def test_the_gradient_check_stays_in_the_domain() -> None:
    m = tdsl.compile(
        "def f(x: f32[n], i: i64[m]) -> f32:\n"
        "    p[k] = log(x[i[k]]) + sqrt(x[i[k]])\n    return sum(p)\n"
    )
    assert check_gradients(m.f).status == "passed"
