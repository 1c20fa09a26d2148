"""Every primitive and every row of the operator table, checked generically.

Values against mpmath (pointwise) or NumPy (structural), at domain points and at the edges; first
and second derivatives against central differences. What an operator means stands here once more,
as data: the tables below, whose completeness is itself a test.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from tdsl.compiler import scalar as sc
from tdsl.compiler.derivative import partial, primitive_partial
from tdsl.compiler.dims import dim, named
from tdsl.compiler.dtypes import BOOL, F32, F64, I64
from tdsl.compiler.graph import REDUCERS
from tdsl.compiler.index_lambda import IndexLambda
from tdsl.compiler.interpret import interpret
from tdsl.compiler.op_pointwise import POINTWISE, PRIMITIVES_BY_NAME
from tdsl.compiler.ops import ROWS, Pointwise, Structural
from tdsl.compiler.pipeline import simplified
from tdsl.compiler.primitives import PRIMITIVES, Primitive, Typing
from tdsl.compiler.scalar import Scalar, ScalarFunction

from .graph_functions import (
    SIZES,
    Array,
    Parameter,
    apply,
    check_derivatives,
    function,
    random_arrays,
    tensor,
)
from .operator_meanings import PRIMITIVE_MEANING, ROW_MEANING, real_part

ROOT = Path(__file__).resolve().parent.parent
UNTYPED = {"where", "cast", "absorb", "stop_gradient"}  # structure, not functions of numbers

# --------------------------------------------------------------------------- pointwise


MEANING: Mapping[str, Callable[..., Any]] = {
    **{row: PRIMITIVE_MEANING[primitive] for row, primitive in PRIMITIVES_BY_NAME.items()},
    **ROW_MEANING,
}
POINTWISE_NAMES = sorted(n for n, row in ROWS.items() if isinstance(row, Pointwise))


def parameters_of(row: Pointwise) -> list[Parameter]:
    primitive = PRIMITIVES.get(PRIMITIVES_BY_NAME.get(row.name, ""))
    kinds = [F64] * len(row.params)
    if primitive is not None and primitive.typing is Typing.LOGIC:
        kinds = [BOOL] * len(row.params)
    if primitive is not None and primitive.typing is Typing.WHERE:
        kinds[0] = BOOL
    return [tensor("n", dtype=k) for k in kinds]


def domains_of(row: Pointwise) -> list[tuple[float, float]]:
    return [row.domain[k] if k < len(row.domain) else (-4.0, 4.0) for k in range(len(row.params))]


def exact(name: str, args: tuple[Any, ...]) -> float:
    """The row's meaning at these arguments, rounded once."""
    with mp.workdps(50):
        given = [a if isinstance(a, (bool, np.bool_)) else mp.mpf(float(a)) for a in args]
        try:
            out = real_part(MEANING[name])(*given)
        except (ValueError, ZeroDivisionError):
            return math.nan
        return float(out)


def test_every_pointwise_row_has_a_meaning() -> None:
    assert set(MEANING) == set(POINTWISE_NAMES)
    assert set(PRIMITIVE_MEANING) == set(PRIMITIVES) - {"cast"}


@pytest.mark.parametrize("name", POINTWISE_NAMES)
def test_values_on_the_domain(name: str) -> None:
    row = ROWS[name]
    assert isinstance(row, Pointwise)
    kinds = parameters_of(row)
    arrays = random_arrays(kinds, np.random.default_rng(1), domains_of(row), {"n": 40})
    fn = function(row.apply, kinds)
    for stage in (fn, simplified(fn)):
        found = interpret(stage, arrays)[0]
        expected = np.array([exact(name, at) for at in zip(*arrays, strict=True)])
        np.testing.assert_allclose(found.astype(float), expected, rtol=4e-13, atol=4e-16)


#: Numbers at which formulas break: zeros, the least and the greatest numbers, infinities, NaN.
EDGES = (0.0, -0.0, 5e-324, -5e-324, 2.2e-308, 1e-160, -1e-160, 1e-17, -1e-17, 1.0, -1.0, 710.0,
         -710.0, -745.2, 1e160, -1e160, 1.7e308, -1.7e308, math.inf, -math.inf,
         math.nan)  # fmt: skip


def limit(name: str, sign: float) -> float:
    """The value at ±inf: where the meaning converges or grows, else NaN."""
    with mp.workdps(700):
        f = real_part(MEANING[name])
        try:
            a, b = (f(mp.mpf(sign) * mp.mpf(10) ** e) for e in (200, 308))
        except (ValueError, ZeroDivisionError):
            return math.nan
        if mp.isnan(b):
            return math.nan
        if abs(b) > 100:
            return math.copysign(math.inf, b)
        return float(b) if abs(a - b) <= 1e-12 * (1 + abs(b)) else math.nan


UNARY = [
    n for n in POINTWISE_NAMES if len(ROWS[n].signature.parameters) == 1 and n != "logical_not"
]
#: Arguments outside what a row promises: formulas for one side only, and poles whose side is
#: a matter of the zero's sign. (`frac(inf)`, `floor` and the like are NumPy's.)
NOT_PROMISED = {
    "trigamma_positive": lambda x: not 1e-150 < x < 1e150,
    "trigamma_tail": lambda x: not 8 <= x < 1e150,
    "trigamma": lambda x: not 1e-150 < x < 1e150,
    "log1mexp": lambda x: x >= 0,
    "frac": math.isinf,
    "lgamma": lambda x: x <= 0 or x > 1e300,
    "gammaln": lambda x: x <= 0 or x > 1e300,
    "digamma": lambda x: x <= 0 or x > 1e300,
    "logit": lambda x: not 0 < x < 1,
    "spherical_bessel_j0": lambda x: abs(x) > 1e15,
    "sinc": lambda x: abs(x) >= 1,
    "deg2rad": lambda x: 0 < abs(x) < 1e-300,
    "reciprocal": lambda x: x == 0,
    "log": lambda x: x == 0, "log2": lambda x: x == 0, "log10": lambda x: x == 0,
    "log1p": lambda x: x == -1, "rsqrt": lambda x: x == 0, "atanh": lambda x: abs(x) == 1,
    "acosh": lambda x: x < 1, "erfc": lambda x: x > 1e150,
}  # fmt: skip
POLES = {
    "log": -math.inf, "log2": -math.inf, "log10": -math.inf, "rsqrt": math.inf,
    "reciprocal": math.inf,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_values_at_the_edges(name: str) -> None:
    row = ROWS[name]
    skipped = NOT_PROMISED.get(name, lambda x: False)
    points = [x for x in EDGES if math.isnan(x) or not skipped(x)]
    test = PRIMITIVES.get(PRIMITIVES_BY_NAME.get(name, ""))
    found = interpret(function(row.apply, [tensor("n")]), [np.array(points)])[0]
    for x, y in zip(points, found, strict=True):
        if test is not None and test.typing is Typing.TEST:
            assert bool(y) == MEANING[name](mp.mpf(x)), x
        elif math.isnan(x):
            assert math.isnan(y), "a NaN must not be lost"
        elif math.isinf(x):
            np.testing.assert_allclose(y, limit(name, x), rtol=1e-15, err_msg=f"at {x}")
        else:
            with mp.workdps(400):
                try:
                    expected = real_part(MEANING[name])(mp.mpf(x))
                except (ValueError, ZeroDivisionError):
                    expected = mp.nan
                expected = float(expected)
            np.testing.assert_allclose(y, expected, rtol=4e-13, atol=1e-307, err_msg=f"at {x}")


def test_values_at_the_poles() -> None:
    for name, expected in POLES.items():
        found = interpret(function(ROWS[name].apply, [tensor("n")]), [np.zeros(1)])[0]
        assert found[0] == expected, name


BINARY_EDGES = {
    "logaddexp": [((800.0, 800.0), 800 + math.log(2)), ((-math.inf, -math.inf), -math.inf),
                  ((math.inf, -math.inf), math.inf), ((-math.inf, 3.0), 3.0),
                  ((math.inf, math.inf), math.inf)],
    "xlogy": [((0.0, 0.0), 0.0), ((0.0, math.inf), 0.0), ((0.0, math.nan), math.nan),
              ((2.0, 0.0), -math.inf), ((0.0, -1.0), 0.0)],
    "hypot": [((0.0, 0.0), 0.0), ((3.0, -4.0), 5.0), ((math.inf, 1.0), math.inf)],
    "pow": [((0.0, 0.0), 1.0), ((math.nan, 0.0), 1.0), ((-8.0, 3.0), -512.0),
            ((-8.0, 0.5), math.nan), ((0.0, -1.0), math.inf), ((0.5, math.inf), 0.0)],
    "atan2": [((0.0, 0.0), 0.0), ((0.0, -1.0), math.pi), ((1.0, 0.0), math.pi / 2),
              ((math.inf, math.inf), math.pi / 4)],
    "maximum": [((math.nan, 1.0), math.nan), ((1.0, math.nan), math.nan)],
    "minimum": [((math.nan, 1.0), math.nan), ((1.0, math.nan), math.nan)],
    "remainder": [((-3.0, 2.0), 1.0), ((3.0, -2.0), -1.0), ((1.0, 0.0), math.nan)],
    "floor_divide": [((-3.0, 2.0), -2.0), ((1.0, 0.0), math.inf)],
}  # fmt: skip


@pytest.mark.parametrize("name", BINARY_EDGES)
def test_values_of_two_arguments_at_the_edges(name: str) -> None:
    points = [at for at, _ in BINARY_EDGES[name]]
    arrays = [np.array(column) for column in zip(*points, strict=True)]
    found = interpret(function(ROWS[name].apply, [tensor("n")] * 2), arrays)[0]
    np.testing.assert_allclose(found, [v for _, v in BINARY_EDGES[name]], rtol=1e-15)


@pytest.mark.parametrize("name", POINTWISE_NAMES)
def test_derivatives_of_pointwise_rows(name: str) -> None:
    row = ROWS[name]
    assert isinstance(row, Pointwise)
    kinds = parameters_of(row)
    if F64 not in [k.dtype for k in kinds]:
        pytest.skip("no float argument")
    fn = function(row.apply, kinds)
    if not fn.outputs[0].dtype.is_float:
        pytest.skip("no float result")
    arrays = random_arrays(kinds, np.random.default_rng(2), domains_of(row), {"n": 9})
    if name == "stop_gradient":
        return  # the derivative is 0 by definition, not that of its value
    check_derivatives(row.apply, kinds, arrays)


# --------------------------------------------------------------------------- derivatives' form


def _functions_below(root: Scalar, seen: set[ScalarFunction]) -> None:
    for x in sc.postorder([root]):
        if isinstance(x, sc.Call) and x.function not in seen:
            seen.add(x.function)
            _functions_below(x.function.body, seen)


@pytest.mark.parametrize("name", sorted(POINTWISE))
def test_derivatives_contain_only_what_the_table_has(name: str) -> None:
    """Up to the third order; SymPy alone would bring DiracDelta and Heaviside."""
    frontier = [POINTWISE[name].function]
    for _ in range(3):
        derived: set[ScalarFunction] = set()
        for f in frontier:
            for k in range(len(f.params)):
                d = partial(f, k)
                for x in sc.postorder([d]):
                    assert isinstance(x, (sc.Const, sc.Param, sc.Op, sc.Call)), x
                    assert not isinstance(x, sc.Op) or x.name in PRIMITIVES
                if isinstance(d, sc.Call):
                    derived.add(d.function)
                _functions_below(d, derived)
        for f in derived:
            assert f.builtin is (f is POINTWISE[f.name].function if f.name in POINTWISE else False)
        frontier = [f for f in derived if not f.builtin]


def _sympy_forms() -> dict[str, Any]:
    import sympy as s

    x, y = s.symbols("x y", real=True)
    return {
        "add": x + y, "sub": x - y, "mul": x * y, "div": x / y, "pow": x**y, "neg": -x,
        "sqrt": s.sqrt(x), "rsqrt": 1 / s.sqrt(x), "cbrt": s.Pow(x, s.Rational(1, 3)),
        "exp": s.exp(x), "exp2": 2**x, "expm1": s.exp(x) - 1, "log": s.log(x),
        "log2": s.log(x, 2), "log10": s.log(x, 10), "log1p": s.log(1 + x), "sin": s.sin(x),
        "cos": s.cos(x), "tan": s.tan(x), "asin": s.asin(x), "acos": s.acos(x),
        "atan": s.atan(x), "atan2": s.atan2(x, y), "sinh": s.sinh(x), "cosh": s.cosh(x),
        "tanh": s.tanh(x), "asinh": s.asinh(x), "acosh": s.acosh(x), "atanh": s.atanh(x),
        "erf": s.erf(x), "erfc": s.erfc(x), "lgamma": s.loggamma(x), "digamma": s.digamma(x),
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(_sympy_forms()))
def test_stated_derivatives_are_sympys(name: str) -> None:
    import sympy as s

    expression = _sympy_forms()[name]
    symbols = s.symbols("x y", real=True)
    row = PRIMITIVES[name]
    rng = np.random.default_rng(3)
    points = [rng.uniform(low, high, 5) for low, high in row.domain]
    if name in ("pow", "cbrt"):
        points[0] = np.abs(points[0])
    for k in range(row.arity):
        derivative = s.diff(expression, symbols[k])

        def build(*xs: IndexLambda, k: int = k) -> IndexLambda:
            here = sc.op(name, *(x.body for x in xs))
            assert isinstance(here, sc.Op)
            return IndexLambda(xs[0].shape, sc.convert(primitive_partial(here, k), F64))

        found = interpret(function(build, [tensor("n")] * row.arity), points)[0]
        for n, y in enumerate(found):
            at = {v: float(p[n]) for v, p in zip(symbols, points, strict=False)}
            expected = float(derivative.evalf(30, subs=at))
            assert y == pytest.approx(expected, rel=1e-12, abs=1e-14), (name, k, at)


def test_smooth_primitives_are_all_compared_with_sympy() -> None:
    def smooth(row: Primitive) -> bool:
        return row.typing in (Typing.ARITHMETIC, Typing.FLOAT) and set(row.derivative) != {"0"}

    kinked = {"abs", "mod", "floordiv", "absorb"}
    assert {r.name for r in PRIMITIVES.values() if smooth(r)} - kinked == set(_sympy_forms())


# --------------------------------------------------------------------------- structural rows


@dataclass(frozen=True)
class Case:
    """Arguments of a row, tensors first, and NumPy's way to the same value."""

    tensors: tuple[Parameter, ...]
    numpy: Callable[..., Any]
    keywords: Mapping[str, Any] = field(default_factory=dict)
    spread: bool = False  # the row takes a tuple of tensors


def _softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def _logsumexp(x: Array, axis: int | None = None) -> Array:
    return np.asarray(np.log(np.exp(x).sum(axis=axis)))


def _layer_norm(x: Array, weight: Array, bias: Array) -> Array:
    centered = x - x.mean(-1, keepdims=True)
    return np.asarray(centered / np.sqrt(x.var(-1, keepdims=True) + 1e-5) * weight + bias)


def _cross_entropy(x: Array, y: Array) -> Any:
    return -np.mean(np.log(_softmax(x, 1))[np.arange(len(y)), y])


n, m, k = named("n"), named("m"), named("k")
TWO, THREE, FOUR = dim(2), dim(3), dim(4)
NM, N, M = tensor("n", "m"), tensor("n"), tensor("m")
NN, NMK = tensor("n", "n"), tensor("n", "m", "k")
INTS = tensor("n", dtype=I64)
MORE = {"dim": (0, 2), "keepdim": True}
AXES = {"axis": (0, 2), "keepdims": True}

STRUCTURAL: dict[str, list[Case]] = {
    "permute": [Case((NMK,), lambda x: x.transpose(2, 0, 1), {"dims": (2, 0, -2)})],
    "transpose": [Case((NMK,), lambda x: x.swapaxes(0, 2), {"dim0": 0, "dim1": 2})],
    "t": [Case((NM,), lambda x: x.T)],
    "unsqueeze": [Case((NM,), lambda x: x[:, None], {"dim": 1}),
                  Case((NM,), lambda x: x[:, :, None], {"dim": -1})],
    "squeeze": [Case((tensor("n", 1, "m", 1),), lambda x: x[:, 0, :, 0]),
                Case((tensor("n", 1, "m", 1),), lambda x: x[:, 0], {"dim": 1}),
                Case((NM,), lambda x: x, {"dim": (0, 1)})],
    "expand": [Case((tensor(1, "m"),), lambda x: np.broadcast_to(x, (3, 4)), {"size": (THREE, m)})],
    "broadcast_to": [Case((M,), lambda x: np.broadcast_to(x, (3, 4)), {"size": (THREE, m)})],
    "flip": [Case((NM,), lambda x: x[::-1, ::-1], {"dims": (0, 1)})],
    "reshape": [Case((NMK,), lambda x: x.reshape(12, 2), {"shape": (n * m, k)}),
                Case((NMK,), lambda x: x.reshape(3, 8), {"shape": (n, m * k)}),
                Case((NMK,), lambda x: x.reshape(2, 4, 3), {"shape": (k, m, n)}),
                Case((tensor(n * 6),), lambda x: x.reshape(3, 2, 3),
                     {"shape": (n, TWO, THREE)})],
    "view": [Case((NM,), lambda x: x.reshape(-1), {"shape": dim(-1)})],
    "flatten": [Case((NMK,), lambda x: x.reshape(3, 8), {"start_dim": 1})],
    "diagonal": [Case((NN,), lambda x: np.diagonal(x))],
    "cat": [Case((NM, tensor("k", "m"), NM), lambda *x: np.concatenate(x), spread=True),
            Case((NM, tensor("n", 1)), lambda *x: np.concatenate(x, 1), {"dim": -1}, True)],
    "stack": [Case((NM, NM), lambda *x: np.stack(x, 1), {"dim": 1}, True)],
    "pad": [Case((NM,), lambda x: np.pad(x, ((0, 3), (1, 2)), constant_values=0.5),
                 {"pad": (1, 2, 0, 3), "value": 0.5}),
            Case((NM,), lambda x: x[:, 1:-1], {"pad": (-1, -1)})],
    "tril": [Case((NM,), np.tril), Case((NM,), lambda x: np.tril(x, 1), {"diagonal": 1})],
    "triu": [Case((NM,), np.triu), Case((NM,), lambda x: np.triu(x, -1), {"diagonal": -1})],
    "index_select": [Case((NM, INTS), lambda x, i: x[:, i], {"dim": 1})],
    "sum": [Case((NMK,), np.sum), Case((NMK,), lambda x: x.sum(**AXES), MORE)],
    "prod": [Case((NM,), np.prod), Case((NMK,), lambda x: x.prod(**AXES), MORE)],
    "max": [Case((NM,), np.max), Case((NM,), lambda x: x.max(1), {"dim": 1})],
    "min": [Case((NM,), np.min), Case((NM,), lambda x: x.min(0), {"dim": 0})],
    "amax": [Case((NMK,), lambda x: x.max(**AXES), MORE)],
    "amin": [Case((NMK,), lambda x: x.min(**AXES), MORE)],
    "argmax": [Case((NM,), np.argmax), Case((NM,), lambda x: x.argmax(1), {"dim": 1})],
    "argmin": [Case((NM,), np.argmin), Case((NM,), lambda x: x.argmin(0), {"dim": 0})],
    "any": [Case((tensor("n", "m", dtype=BOOL),), lambda x: x.any(1), {"dim": 1})],
    "all": [Case((tensor("n", "m", dtype=BOOL),), lambda x: x.all(0), {"dim": 0})],
    "mean": [Case((NM,), np.mean), Case((NMK,), lambda x: x.mean(**AXES), MORE)],
    "var": [Case((NM,), lambda x: x.var(ddof=1)), Case((NM,), lambda x: x.var(1, ddof=0),
                                                       {"dim": 1, "correction": 0})],
    "std": [Case((NM,), lambda x: x.std(0, ddof=1), {"dim": 0})],
    "norm": [Case((NM,), np.linalg.norm), Case((NM,), lambda x: np.linalg.norm(x, axis=1),
                                               {"dim": 1})],
    "normalize": [Case((NM,), lambda x: x / np.linalg.norm(x, axis=1, keepdims=True))],
    "logsumexp": [Case((NM,), _logsumexp), Case((NM,), lambda x: _logsumexp(x, 1), {"dim": 1})],
    "softmax": [Case((NM,), lambda x: _softmax(x, 0), {"dim": 0})],
    "log_softmax": [Case((NM,), lambda x: np.log(_softmax(x, 1)), {"dim": -1})],
    "matmul": [Case((NM, tensor("m", "k")), np.matmul), Case((NM, M), np.matmul),
               Case((M, tensor("m", "k")), np.matmul), Case((M, M), np.matmul),
               Case((tensor("o", 1, "n", "m"), tensor("k", "m", 2)), np.matmul)],
    "mm": [Case((NM, tensor("m", "k")), np.matmul)],
    "bmm": [Case((NMK, tensor("n", "k", "o")), np.matmul)],
    "mv": [Case((NM, M), np.matmul)],
    "dot": [Case((M, M), np.dot)],
    "outer": [Case((N, M), np.outer)],
    "trace": [Case((NN,), np.trace)],
    "zeros": [Case((N,), lambda x: np.zeros((3, 4)), {"size": (n, FOUR)})],
    "ones": [Case((N,), lambda x: np.ones(3), {"size": n})],
    "full": [Case((tensor(),), lambda x: np.full(3, x), {"size": THREE})],
    "zeros_like": [Case((NM,), np.zeros_like)],
    "ones_like": [Case((NM,), np.ones_like)],
    "full_like": [Case((NM, tensor()), lambda x, v: np.full_like(x, v))],
    "arange": [Case((N,), lambda x: np.arange(3), {"end": n})],
    "eye": [Case((N,), lambda x: np.eye(3), {"n": n})],
    "one_hot": [Case((INTS,), lambda x: np.eye(4, dtype=int)[x], {"num_classes": FOUR})],
    "layer_norm": [Case((NM, M, M), _layer_norm)],
    "cross_entropy": [Case((NM, INTS), _cross_entropy)],
    "nll_loss": [Case((NM, INTS), lambda x, y: -np.mean(x[np.arange(len(y)), y]))],
    "mse_loss": [Case((NM, NM), lambda x, y: np.mean((x - y) ** 2))],
    "binary_cross_entropy_with_logits": [
        Case((NM, NM), lambda x, y: np.mean(np.log1p(np.exp(x)) - x * y))],
    "clamp": [Case((NM, tensor(), tensor()),
                   lambda x, a, b: np.minimum(np.maximum(x, a), b)),
              Case((NM, M), np.maximum)],
    "isclose": [Case((NM, NM), np.isclose)],
}  # fmt: skip

#: Rows that make a tensor from sizes alone take no tensor of the case.
CREATION = {"zeros", "ones", "arange", "eye"}
SETTLED = {"zeros", "ones", "eye"}  # in the default float, f32
CASES = [(name, k) for name, cases in STRUCTURAL.items() for k in range(len(cases))]


def build_of(name: str, case: Case) -> Callable[..., IndexLambda]:
    def build(*xs: IndexLambda) -> IndexLambda:
        if name in CREATION:
            return apply(name, **case.keywords)
        if name == "full":
            return apply(name, fill_value=xs[0], **case.keywords)
        if name == "index_select":
            return apply(name, xs[0], case.keywords["dim"], xs[1])
        return apply(name, *([xs] if case.spread else xs), **case.keywords)

    return build


def test_every_structural_row_has_a_case() -> None:
    assert set(STRUCTURAL) == {name for name, row in ROWS.items() if isinstance(row, Structural)}


@pytest.mark.parametrize(("name", "number"), CASES)
def test_values_of_structural_rows(name: str, number: int) -> None:
    case = STRUCTURAL[name][number]
    arrays = random_arrays(case.tensors, np.random.default_rng(4))
    fn = function(build_of(name, case), case.tensors)
    expected = np.asarray(case.numpy(*arrays))
    for stage in (fn, simplified(fn)):
        found = interpret(stage, arrays)[0]
        assert found.shape == expected.shape
        assert found.shape == tuple(d.evaluate(SIZES) for d in fn.outputs[0].shape)
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)
    assert fn.outputs[0].dtype is (F32 if name in SETTLED else fn.outputs[0].dtype)


@pytest.mark.parametrize(("name", "number"), CASES)
def test_derivatives_of_structural_rows(name: str, number: int) -> None:
    case = STRUCTURAL[name][number]
    build = build_of(name, case)
    if not function(build, case.tensors).outputs[0].dtype.is_float or name in CREATION:
        pytest.skip("not differentiable")
    if not any(p.dtype is F64 for p in case.tensors):
        pytest.skip("no float argument")
    arrays = random_arrays(case.tensors, np.random.default_rng(5))
    check_derivatives(build, case.tensors, arrays)


def test_domains_are_stated_in_full() -> None:
    for row in PRIMITIVES.values():
        assert len(row.domain) == row.arity == len(row.derivative), row.name
    assert {r.combine for r in REDUCERS.values() if r.combine} <= set(PRIMITIVES)


def test_operators_are_named_in_their_rows_alone() -> None:
    """No stage of the compiler knows an operator; rules name the functions they build."""
    allowed = re.compile(r"(op_\w+|ops|rules|shifts|primitives|mathlib\w*|fold)\.py")
    names = set(ROWS) - set(PRIMITIVES) - set(REDUCERS) - set(PRIMITIVES_BY_NAME)
    names -= {"t", "zeros"}  # words with other uses
    quoted = re.compile("|".join(rf"[\"']{re.escape(n)}[\"']" for n in sorted(names)))
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in sorted((ROOT / "compiler").glob("*.py"))
        if not allowed.fullmatch(path.name)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if quoted.search(line)
    ]
    assert not found
