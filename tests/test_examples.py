"""Every function of every example against NumPy: values, gradients, and the text of both.

In: the `.tdsl` files of `examples/`. The references here are written out by hand, in f64, with
derivatives worked out on paper or as direct sums, so they share nothing with the compiler. The
drivers are run too, in their quick form; the digits also in full, for the accuracy they promise.
"""

from __future__ import annotations

import importlib
import math
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tdsl

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
TOLERANCE = {np.dtype("f4"): 2e-5, np.dtype("f8"): 1e-11}

Array = Any  # NumPy arrays and scalars, of any dtype
erf = np.vectorize(math.erf, otypes=[float])


@dataclass(frozen=True)
class Case:
    """A call, what it returns (one item per result), and its derivatives by parameter name."""

    file: str
    function: str
    arguments: tuple[Array, ...]
    results: tuple[Array, ...]
    gradients: Mapping[str, Array] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.function}" + (f" {self.note}" if self.note else "")

    def compiled(self) -> Any:
        return getattr(load(self.file), self.function)


@cache
def load(file: str) -> Any:
    return tdsl.load(EXAMPLES / f"{file}.tdsl")


def wide(*arrays: Array) -> list[Array]:
    """The arguments in f64, in which the references work (integers stay)."""
    return [a.astype(float) if getattr(a, "dtype", None) == np.float32 else a for a in arrays]


def assert_close(found: Array, expected: Array, dtype: np.dtype) -> None:
    """Integers equal; floats within `TOLERANCE` of the largest entry; shapes and dtypes alike."""
    assert np.shape(found) == np.shape(expected)
    if np.asarray(expected).dtype.kind == "i":
        assert found.dtype == expected.dtype
        assert np.array_equal(found, expected)
        return
    if isinstance(found, np.ndarray):
        assert found.dtype == dtype
    else:
        assert isinstance(found, float)
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE[dtype] * scale)


def f32(*arrays: Array) -> tuple[Array, ...]:
    return tuple(np.asarray(a, np.float32) for a in arrays)


# ------------------------------------------------------------------------------------- digits


def digits_reference(x, y, w1, c1, w2, c2):
    """(scores, loss, gradients by w1, c1, w2, c2) of the perceptron, derived by hand."""
    rows = np.arange(len(y))
    a = x @ w1 + c1
    cdf = 0.5 * (1 + erf(a / math.sqrt(2)))
    g = a * cdf
    z = g @ w2 + c2
    shifted = z - z.max(1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(1, keepdims=True))
    loss = -log_p[rows, y].mean()
    dz = np.exp(log_p)
    dz[rows, y] -= 1
    dz /= len(y)
    da = (dz @ w2.T) * (cdf + a * np.exp(-(a**2) / 2) / math.sqrt(2 * math.pi))
    return z, loss, (x.T @ da, da.sum(0), g.T @ dz, dz.sum(0))


def digits_cases() -> list[Case]:
    cases = []
    # The second set of weights pushes the scores to about ±1000.
    for size, note in ((1.0, ""), (400.0, "at extreme scores")):
        rng = np.random.default_rng(1)
        x, w1, c1, w2, c2 = f32(
            *(rng.standard_normal(s) for s in ((7, 6), (6, 5), 5, (5, 4), 4)),
        )
        w2 = w2 * np.float32(size)
        y = rng.integers(0, 4, 7)
        z, loss, gradients = digits_reference(*wide(x, y, w1, c1, w2, c2))
        parameters = (w1, c1, w2, c2)
        lr = 0.5
        stepped = tuple(p - lr * g for p, g in zip(wide(*parameters), gradients, strict=True))
        guess = z.argmax(1)
        named = dict(zip(("w1", "c1", "w2", "c2"), gradients, strict=True))
        cases += [
            Case("digits", "scores", (x, *parameters), (z,), note=note),
            Case("digits", "loss", (x, y, *parameters), (loss,), named, note),
            Case("digits", "step", (x, y, *parameters, lr), (loss, *stepped), note=note),
            Case("digits", "predict", (x, *parameters), (guess,), note=note),
            Case("digits", "accuracy", (x, y, *parameters), ((guess == y).mean(),), note=note),
        ]
    x, w, c = f32(rng.standard_normal((3, 4)), rng.standard_normal((4, 2)), [0.5, -1])
    return [*cases, Case("layers", "dense", (x, w, c), (np.dot(*wide(x, w)) + c,))]


# ----------------------------------------------------------------------------------- logistic


def logistic_cases() -> list[Case]:
    cases = []
    for size, note in ((1.0, ""), (1000.0, "at extreme logits")):
        rng = np.random.default_rng(2)
        x, w = f32(rng.standard_normal((9, 5)), size * rng.standard_normal(5))
        t = f32(rng.integers(0, 2, 9))[0]
        b, decay, lr = 0.25, 0.5, 0.125
        x_, w_, t_ = wide(x, w, t)
        z = x_ @ w_ + b
        loss = (t_ * np.logaddexp(0, -z) + (1 - t_) * np.logaddexp(0, z)).mean()
        loss += decay / 2 * (w_**2).sum()
        p = 0.5 * (1 + np.tanh(z / 2))
        dz = (p - t_) / len(z)
        dw, db = x_.T @ dz + decay * w_, dz.sum()
        gradients = {"w": dw, "b": db, "x": np.outer(dz, w_), "t": -z / len(z)}
        cases += [
            Case("logistic", "logit", (x, w, b), (z,), note=note),
            Case("logistic", "probability", (x, w, b), (p,), note=note),
            Case("logistic", "loss", (x, t, w, b, decay), (loss,), gradients, note),
            Case(
                "logistic",
                "step",
                (x, t, w, b, decay, lr),
                (loss, w_ - lr * dw, b - lr * db),
                note=note,
            ),
        ]
    return cases


# ------------------------------------------------------------------------------- Black–Scholes


def black_scholes_cases() -> list[Case]:
    driver = driver_module("black_scholes")
    book = driver.random_book(50)
    closed = driver.closed_forms(*book)
    greeks = tuple(closed[name] for name in driver.GREEKS)
    guess = np.full(50, 0.3)
    at_guess = driver.closed_forms(*book[:4], guess)
    better = guess - (at_guess["price"] - closed["price"]) / at_guess["vega"]
    return [
        Case("black_scholes", "price", book, (closed["price"],)),
        Case("black_scholes", "greeks", book, greeks),
        Case("black_scholes", "newton", (closed["price"], *book[:4], guess), (better,)),
    ]


# ------------------------------------------------------------------------------- Lennard-Jones


def lennard_jones_reference(x: Array) -> tuple[float, Array]:
    """Potential energy and forces as direct sums over pairs."""
    energy, forces = 0.0, np.zeros_like(x)
    for i in range(len(x)):
        for j in range(i):
            d = x[i] - x[j]
            r2 = float(d @ d)
            energy += 4 * (r2**-6 - r2**-3)
            push = 24 * (2 * r2**-7 - r2**-4) * d
            forces[i] += push
            forces[j] -= push
    return energy, forces


def lennard_jones_cases() -> list[Case]:
    x, v = driver_module("lennard_jones").crystal(1)
    x = np.concatenate([x, x + np.array([1.6, 0.1, 0])])
    x += 0.05 * np.random.default_rng(3).random(x.shape)
    v = np.concatenate([v, -v])
    energy, f = lennard_jones_reference(x)
    dt = 0.01
    half = v + dt / 2 * f
    x1 = x + dt * half
    energy1, f1 = lennard_jones_reference(x1)
    v1 = half + dt / 2 * f1
    after = (x1, v1, f1, energy1, (v1**2).sum() / 2)
    return [
        Case("lennard_jones", "potential", (x,), (energy,), {"x": -f}),
        Case("lennard_jones", "kinetic", (v,), ((v**2).sum() / 2,), {"v": v}),
        Case("lennard_jones", "forces", (x,), (f,)),
        Case("lennard_jones", "step", (x, v, f, dt), after),
    ]


# ------------------------------------------------------------------------------------- sharpen


def convolve(x: Array, k: Array) -> Array:
    """Correlation of every channel, as a sum of shifted pictures."""
    (p, q), (_, h, w) = k.shape, x.shape
    shape = (h - p + 1, w - q + 1)
    return sum(
        k[u, v] * x[:, u : u + shape[0], v : v + shape[1]] for u in range(p) for v in range(q)
    )


def sharpen_cases() -> list[Case]:
    rng = np.random.default_rng(4)
    x, k, target, d = f32(*(rng.standard_normal(s) for s in ((2, 9, 8), (3, 4), (2, 7, 5), (3, 4))))
    x_, k_, target_, d_ = wide(x, k, target, d)
    y = convolve(x_, k_)
    error = ((y - target_) ** 2).mean()
    dy = 2 * (y - target_) / y.size
    dk, dx = np.zeros((3, 4)), np.zeros((2, 9, 8))
    for u in range(3):
        for v in range(4):
            dk[u, v] = (x_[:, u : u + 7, v : v + 5] * dy).sum()
            dx[:, u : u + 7, v : v + 5] += k_[u, v] * dy
    last = 2.0
    along = (dk**2).sum() / last * d_ - dk
    length = -(dk * along).sum() / (2 * (convolve(x_, along) ** 2).mean())
    after = (error, k_ + length * along, along, (dk**2).sum())
    gradients = {"k": dk, "x": dx, "target": -dy}
    return [
        Case("sharpen", "convolve", (x, k), (y,)),
        Case("sharpen", "mismatch", (x, k, target), (error,), gradients),
        Case("sharpen", "descend", (x, k, target, d, last), after),
    ]


# --------------------------------------------------------------------------- kernel regression


def kernel_regression_cases() -> list[Case]:
    rng = np.random.default_rng(5)
    q, x, y = rng.random(5), rng.random(12), rng.standard_normal(12)
    h = 0.2
    weight = np.exp(-((q[:, None] - x) ** 2) / (2 * h**2))
    predicted = weight @ y / weight.sum(1)

    apart = x[:, None] - x
    w = np.exp(-(apart**2) / (2 * h**2))
    np.fill_diagonal(w, 0)
    share = w / w.sum(1, keepdims=True)
    p = share @ y
    dp = 2 * (p - y) / len(y)
    dw = dp[:, None] * (y - p[:, None]) / w.sum(1, keepdims=True)
    pull = dw * w * apart / h**2
    gradients = {
        "log_h": (dw * w * apart**2 / h**2).sum(),
        "y": share.T @ dp - dp,
        "x": pull.sum(0) - pull.sum(1),
    }
    error = ((p - y) ** 2).mean()
    return [
        Case("kernel_regression", "predict", (q, x, y, h), (predicted,)),
        Case("kernel_regression", "leave_one_out", (x, y, math.log(h)), (error,), gradients),
    ]


# --------------------------------------------------------------------------------------- tests


def driver_module(name: str) -> Any:
    """An example's driver, imported as Python would import it when run as a script."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return importlib.import_module(name)


CASES = [
    *digits_cases(),
    *logistic_cases(),
    *black_scholes_cases(),
    *lennard_jones_cases(),
    *sharpen_cases(),
    *kernel_regression_cases(),
]
DIFFERENTIATED = [(case, name) for case in CASES for name in case.gradients]


def float_dtype(case: Case) -> np.dtype:
    """The dtype in which the example computes: that of its float arrays."""
    return next(a.dtype for a in case.arguments if np.ndim(a) and a.dtype.kind == "f")


def as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def assert_same_bits(left: Any, right: Any) -> None:
    for a, b in zip(as_tuple(left), as_tuple(right), strict=True):
        assert np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_every_function_has_a_case() -> None:
    written = {
        (path.stem, name)
        for path in EXAMPLES.glob("*.tdsl")
        for name in re.findall(r"^def (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert written == {(case.file, case.function) for case in CASES}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_value(case: Case) -> None:
    found = as_tuple(case.compiled()(*case.arguments))
    for one, expected in zip(found, case.results, strict=True):
        assert_close(one, expected, float_dtype(case))


@pytest.mark.parametrize(("case", "name"), DIFFERENTIATED, ids=str)
def test_gradient(case: Case, name: str) -> None:
    value, gradient = case.compiled().value_and_grad(name)(*case.arguments)
    assert_close(value, case.results[0], float_dtype(case))
    assert_close(gradient, case.gradients[name], float_dtype(case))


@pytest.mark.parametrize("case", [c for c in CASES if c.gradients], ids=str)
def test_all_gradients_at_once(case: Case) -> None:
    found = as_tuple(case.compiled().grad(*case.gradients)(*case.arguments))
    for one, expected in zip(found, case.gradients.values(), strict=True):
        assert_close(one, expected, float_dtype(case))


@pytest.mark.parametrize("case", CASES, ids=str)
def test_graph_text_compiles_to_the_same_function(case: Case) -> None:
    again = getattr(tdsl.compile(case.compiled().ir("graph")), case.function)
    assert_same_bits(again(*case.arguments), case.compiled()(*case.arguments))


@pytest.mark.parametrize(("case", "name"), DIFFERENTIATED, ids=str)
def test_gradient_text_compiles_to_the_same_gradient(case: Case, name: str) -> None:
    source = case.compiled().gradient_source(name)
    written_out = getattr(tdsl.compile(source), f"{case.function}_d{name}")
    built_in = case.compiled().grad(name)
    assert_same_bits(written_out(*case.arguments), built_in(*case.arguments))


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Any]:
    """Imports a driver whose pictures go to a folder of the test's own."""
    monkeypatch.setattr(driver_module("display"), "OUT", tmp_path)
    return driver_module


def test_digits_reach_their_accuracy(driver: Callable[[str], Any]) -> None:
    assert driver("digits").main() >= 0.97


def test_digits_quick(driver: Callable[[str], Any]) -> None:
    assert driver("digits").main(quick=True) >= 0.94


def test_logistic(driver: Callable[[str], Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert driver("logistic").main(quick=True) >= 0.85
    assert "gradient finite: True" in capsys.readouterr().out


def test_black_scholes(driver: Callable[[str], Any]) -> None:
    assert driver("black_scholes").main(quick=True) < 1e-11


def test_lennard_jones_keeps_its_energy(driver: Callable[[str], Any]) -> None:
    assert driver("lennard_jones").main(quick=True) < 1e-3


def test_sharpen_learns_a_better_kernel(driver: Callable[[str], Any]) -> None:
    blurred, textbook, learnt = driver("sharpen").main(quick=True)
    assert blurred + 3 < textbook
    assert textbook + 1 < learnt


def test_kernel_regression_finds_the_best_width(driver: Callable[[str], Any]) -> None:
    width, slope = driver("kernel_regression").main(quick=True)
    assert 0.005 < width < 0.05
    assert abs(slope) < 1e-7


def test_eager_mlp(driver: Callable[[str], Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert driver("eager_mlp").main(quick=True) >= 0.94
    assert (
        "(hidden): Linear(in_features=64, out_features=128, bias=True)" in capsys.readouterr().out
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak memory in Linux's units")
def test_kernel_regression_keeps_no_table_of_pairs() -> None:
    """5,000 points: the table of weights alone would take 200 MB."""
    program = f"""
import resource
import numpy as np
import tdsl

m = tdsl.load({str(EXAMPLES / "kernel_regression.tdsl")!r})
error = m.leave_one_out.value_and_grad("log_h", "x", "y")
x = np.linspace(0, 1, 5000)
error(x[:10], x[:10], -3.0), m.predict(x[:10], x[:10], x[:10], 0.1)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
error(x, x, -3.0), m.predict(x, x, x, 0.1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert int(run.stdout) < 50_000, "kilobytes of growth"
