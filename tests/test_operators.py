"""Every primitive and every row of the operator table, checked generically.

Values against mpmath (pointwise) or NumPy (structural), at domain points and at the edges; first
and second derivatives against central differences. What an operator means stands here once more,
as data: the tables below, whose completeness is itself a test.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from tdsl.compiler import scalar as sc
from tdsl.compiler.derivative import partial, primitive_partial
from tdsl.compiler.dtypes import BOOL, F32, F64, I64
from tdsl.compiler.graph import REDUCERS
from tdsl.compiler.index_lambda import IndexLambda
from tdsl.compiler.interpret import interpret
from tdsl.compiler.op_pointwise import POINTWISE, PRIMITIVES_BY_NAME, Alias
from tdsl.compiler.ops import ROWS, Pointwise, Structural
from tdsl.compiler.pipeline import simplified
from tdsl.compiler.primitives import PRIMITIVES, Primitive, Typing
from tdsl.compiler.scalar import Scalar, ScalarFunction

from .graph_functions import (
    SIZES,
    Parameter,
    apply,
    check_derivatives,
    function,
    random_arrays,
    tensor,
)
from .network_cases import NETWORKS
from .operator_cases import ARRAYS, Case
from .operator_meanings import PRIMITIVE_MEANING, ROW_MEANING, real_part
from .random_cases import RANDOM

ROOT = Path(__file__).resolve().parent.parent
UNTYPED = {"where", "cast", "absorb", "stop_gradient"}  # structure, not functions of numbers

# --------------------------------------------------------------------------- pointwise


MEANING: Mapping[str, Callable[..., Any]] = {
    **{row: PRIMITIVE_MEANING[primitive] for row, primitive in PRIMITIVES_BY_NAME.items()},
    **ROW_MEANING,
    **{name: ROW_MEANING[row.of.name] for name, row in ROWS.items() if isinstance(row, Alias)},
}
POINTWISE_NAMES = sorted(n for n, row in ROWS.items() if isinstance(row, Pointwise))


def parameters_of(row: Pointwise) -> list[Parameter]:
    primitive = PRIMITIVES.get(PRIMITIVES_BY_NAME.get(row.name, ""))
    kinds = [F64] * len(row.params)
    if primitive is not None and primitive.typing is Typing.LOGIC:
        kinds = [BOOL] * len(row.params)
    if primitive is not None and primitive.typing in (Typing.BITS, Typing.SHIFT):
        kinds = [I64] * len(row.params)
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


UNARY = [n for n in POINTWISE_NAMES if [p.dtype for p in parameters_of(ROWS[n])] == [F64]]
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
    "signbit": lambda x: x == 0,
    "erfinv_central": lambda x: abs(x) > 0.5,
    "erfcinv_tail": lambda q: not 1e-17 < q <= 0.5,
    "erfcinv_start": lambda t: not 1.6 < t < 10,
    "tanh_fraction": lambda s: not 0 <= s <= 1,
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
    found = interpret(function(row.apply, [tensor("n")]), [np.array(points)])[0]
    for x, y in zip(points, found, strict=True):
        if found.dtype == bool:
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
    "fmod": [((-3.0, 2.0), -1.0), ((3.0, -2.0), 1.0), ((1.0, 0.0), math.nan),
             ((-5.0, math.inf), -5.0), ((math.inf, 2.0), math.nan)],
    "fmax": [((math.nan, 1.0), 1.0), ((1.0, math.nan), 1.0), ((math.nan, math.nan), math.nan)],
    "fmin": [((math.nan, 1.0), 1.0), ((1.0, math.nan), 1.0), ((math.nan, math.nan), math.nan)],
    "copysign": [((3.0, -0.0), -3.0), ((-3.0, 0.0), 3.0), ((math.inf, -1.0), -math.inf)],
    "heaviside": [((0.0, 0.5), 0.5), ((-0.0, 0.5), 0.5), ((-math.inf, 0.5), 0.0)],
    "logaddexp2": [((-math.inf, -math.inf), -math.inf), ((1100.0, 1100.0), 1101.0)],
    "xlog1py": [((0.0, -1.0), 0.0), ((0.0, math.nan), math.nan), ((2.0, -1.0), -math.inf)],
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


#: Rows that make a tensor from sizes alone take no tensor of the case.
CREATION = {"zeros", "ones", "arange", "eye"}
STRUCTURAL: Mapping[str, list[Case]] = {**ARRAYS, **NETWORKS, **RANDOM}
SETTLED = {"zeros", "ones", "eye"}  # in the default float, f32
CASES = [(name, k) for name, cases in STRUCTURAL.items() for k in range(len(cases))]


def build_of(name: str, case: Case) -> Callable[..., IndexLambda]:
    def build(*xs: IndexLambda) -> IndexLambda:
        if name in CREATION:
            return apply(name, **case.keywords)
        if case.spread:
            return apply(name, **{case.spread: xs}, **case.keywords)
        if case.names:
            return apply(name, **dict(zip(case.names, xs, strict=True)), **case.keywords)
        return apply(name, *xs, **case.keywords)

    return build


def test_every_structural_row_has_a_case() -> None:
    assert set(STRUCTURAL) == {name for name, row in ROWS.items() if isinstance(row, Structural)}


@pytest.mark.parametrize(("name", "number"), CASES)
def test_values_of_structural_rows(name: str, number: int) -> None:
    case = STRUCTURAL[name][number]
    arrays = random_arrays(case.tensors, np.random.default_rng(4), case.domains)
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
    arrays = random_arrays(case.tensors, np.random.default_rng(5), case.domains)
    check_derivatives(build, case.tensors, arrays)


def test_domains_are_stated_in_full() -> None:
    for row in PRIMITIVES.values():
        assert len(row.domain) == row.arity == len(row.derivative), row.name
    assert {r.combine for r in REDUCERS.values() if r.combine} <= set(PRIMITIVES)


def test_operators_are_named_in_their_rows_alone() -> None:
    """No stage of the compiler knows an operator; rules name the functions they build."""
    allowed = re.compile(r"(op_\w+|ops|rules|shifts|primitives|mathlib\w*|fold)\.py")
    names = set(ROWS) - set(PRIMITIVES) - set(REDUCERS) - set(PRIMITIVES_BY_NAME)
    names -= {"t", "zeros", "select", "copysign"}  # words with other uses
    quoted = re.compile("|".join(rf"[\"']{re.escape(n)}[\"']" for n in sorted(names)))
    found = [
        f"{path.name}:{number}: {line.strip()}"
        for path in sorted((ROOT / "compiler").glob("*.py"))
        if not allowed.fullmatch(path.name)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if quoted.search(line)
    ]
    assert not found
