"""Each rewrite rule: it fires on its written form, both sides are equal, and the result is
accurate where the written form is not. The oracle is the written form at a thousand digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import mpmath as mp
import numpy as np
import pytest
import tdsl
from tdsl.compiler import graph as g
from tdsl.compiler import index_lambda as il
from tdsl.compiler import scalar as sc
from tdsl.compiler.dtypes import F64, I64
from tdsl.compiler.graph import Comp, Function, postorder
from tdsl.compiler.index_lambda import IndexLambda
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import differentiated, simplified
from tdsl.compiler.rules import ALGEBRA, STABILIZING, Rule
from tdsl.compiler.shifts import SHIFTS
from tdsl.compiler.simplify import Log, simplify
from tdsl.compiler.span import BUILTIN
from tdsl.compiler.text import function_text

from .graph_functions import (
    Array,
    apply,
    function,
    gradient_of,
    gradients,
    tensor,
    value,
)
from .operator_meanings import evaluate

RULES = [*STABILIZING, *ALGEBRA]
N = tensor("n")


def letters(rule: Rule) -> int:
    found = [x.position for x in sc.postorder([rule.pattern]) if isinstance(x, sc.Param)]
    return 1 + max(found)


def is_condition(rule: Rule, k: int) -> bool:
    return any(
        (
            isinstance(x, sc.Op)
            and (x.name == "not" or x.name == "where")
            and x.args[0] is sc.param(k)
        )
        or (isinstance(x, sc.Op) and x.name == "ne" and x.args[0] is sc.param(k))
        for x in sc.postorder([rule.pattern])
    )


def written(rule: Rule) -> Callable[..., IndexLambda]:
    """The left side as a user's function."""

    def build(*xs: IndexLambda) -> IndexLambda:
        return il.elementwise(lambda *b: sc.substitute_params(rule.pattern, b), *xs)

    return build


def settled(rule: Rule) -> bool:
    """Conditions are booleans: no numbers to sample."""
    return not any(is_condition(rule, k) for k in range(letters(rule)))


NUMERIC = [r for r in RULES if settled(r)]
ids = [r.equation for r in NUMERIC]


@pytest.mark.parametrize("rule", NUMERIC, ids=ids)
def test_a_rule_fires_on_its_written_form(rule: Rule) -> None:
    log: Log = []
    fn = function(written(rule), [N] * letters(rule))
    out = simplify(fn, log)
    with fn.scope.active():
        right = function_of(rule.replacement, fn)
    assert out.outputs[0] is simplify(right).outputs[0]
    assert out.outputs[0] is not fn.outputs[0]
    if rule in STABILIZING:
        assert log, "what fired is not reported"


def function_of(root: sc.Scalar, like: Function) -> Function:
    reads = [il.of_node(p).body for p in like.params]
    body = sc.convert(sc.substitute_params(root, reads), F64)
    return like.with_outputs([g.comp(body, like.outputs[0].shape, 1)])


def truth(rule: Rule, at: Sequence[float], order: tuple[int, ...], digits: int) -> float:
    """The written form, or its derivative of the given orders, at the point; NaN off its domain."""
    with mp.workdps(digits):
        here = [mp.mpf(x) for x in at]
        try:
            if sum(order) == 0:
                out = evaluate(rule.pattern, tuple(here))
            else:
                step = mp.mpf(10) ** (-digits // 4)
                out = (
                    mp.diff(lambda *x: evaluate(rule.pattern, x), tuple(here), order, h=step)
                    if len(here) > 1
                    else mp.diff(lambda x: evaluate(rule.pattern, (x,)), here[0], order[0], h=step)
                )
            return float(out)
        except (ValueError, ZeroDivisionError, TypeError, OverflowError):
            return math.nan


def grid(rule: Rule, values: Sequence[float]) -> list[tuple[float, ...]]:
    count = letters(rule)
    if count == 1:
        return [(x,) for x in values]
    return [(x, y) + (1.5,) * (count - 2) for x in values for y in values]


@pytest.mark.parametrize("rule", NUMERIC, ids=ids)
def test_both_sides_are_equal_at_ordinary_points(rule: Rule) -> None:
    compared = 0
    for at in grid(rule, (-2.5, -0.7, -0.2, 0.3, 0.9, 3.25)):
        with mp.workdps(30):
            here = tuple(mp.mpf(x) for x in at)
            try:
                left = evaluate(rule.pattern, here)
                right = evaluate(rule.replacement, here)
            except (ValueError, ZeroDivisionError, TypeError):
                continue
            if mp.isnan(left) or isinstance(left, mp.mpc):
                continue
            assert mp.almosteq(left, right, 1e-25, 1e-25), at
            compared += 1
    assert compared >= 2


#: Where the written forms overflow, cancel or divide 0 by 0.
EXTREMES = (-800.0, -40.0, -1e-3, -1e-9, -1e-200, 1e-200, 1e-9, 1e-3, 40.0, 800.0)
DIGITS = 1000
#: The largest error, relative to the exact result.
TOLERANCE = {0: 1e-13, 1: 1e-12, 2: 1e-11}


@pytest.mark.parametrize("rule", [r for r in NUMERIC if r in STABILIZING])
@pytest.mark.parametrize("order", [0, 1, 2])
def test_a_stabilized_form_is_accurate_at_extremes(rule: Rule, order: int) -> None:
    count = letters(rule)
    values = EXTREMES if count == 1 else EXTREMES[::2]
    points = grid(rule, values)
    build = written(rule)

    def derived(*xs: IndexLambda) -> tuple[IndexLambda, ...]:
        out = build(*xs)
        for _ in range(order):  # each derivative in the first argument
            out = gradient_of(apply("sum", out), xs[0])[0]
        return (out,)

    columns = [np.array(c) for c in zip(*points, strict=True)]
    found = interpret(simplified(function(derived, [N] * count)), columns)[0]
    compared = 0
    for at, y in zip(points, found, strict=True):
        expected = truth(rule, at, (order, *(0 for _ in at[1:])), DIGITS)
        if math.isnan(expected) or abs(expected) > 1e300 or 0 < abs(expected) < 1e-290:
            continue
        slack = 1e-300
        if order == 2:  # a second derivative may cross 0: relative to the first's size there
            slack += 1e-16 * abs(truth(rule, at, (1, *(0 for _ in at[1:])), DIGITS))
        assert abs(y - expected) <= TOLERANCE[order] * abs(expected) + slack, (at, y, expected)
        compared += 1
    assert compared >= 3


# --------------------------------------------------------------------------- through reductions

LOGITS = np.array([[1000.0, -1000.0, 0.0, 999.0], [0.0, 1.0, 2.0, 3.0], [-1e4, -1e4, -1e4, -1e4]])
NM = tensor("n", "m")


def exact_logsumexp(x: Array) -> Array:
    with mp.workdps(5000):
        return np.array([float(mp.log(sum(mp.exp(mp.mpf(v)) for v in row))) for row in x])


def exact_softmax(x: Array) -> Array:
    with mp.workdps(5000):
        e = [[mp.exp(mp.mpf(v)) for v in row] for row in x]
        return np.array([[float(v / sum(row)) for v in row] for row in e])


def naive_logsumexp(x: IndexLambda) -> IndexLambda:
    return apply("log", apply("sum", apply("exp", x), 1))


def naive_softmax(x: IndexLambda) -> IndexLambda:
    e = apply("exp", x)
    return il.apply("div", e, apply("sum", e, 1, True))


def user_named(x: IndexLambda, name: str) -> IndexLambda:
    """The value of a statement `name = …`."""
    return il.of_node(g.rename(il.materialize(x), name, BUILTIN))


def named_softmax(x: IndexLambda) -> IndexLambda:
    e = user_named(apply("exp", x), "e")
    s = user_named(apply("sum", e, 1, True), "s")
    return user_named(il.apply("div", e, s), "p")


def fired(build: Callable[..., Any], *parameters: Any) -> set[str]:
    log: Log = []
    simplified(function(build, parameters), log)
    return {entry.equation for entry in log}


def stable(build: Callable[..., Any], *arrays: Any) -> Array:
    kinds = [tensor(*np.shape(a)) for a in arrays]
    return interpret(simplified(function(build, kinds)), arrays)[0]


def test_log_of_a_sum_of_exponentials() -> None:
    np.testing.assert_allclose(stable(naive_logsumexp, LOGITS), exact_logsumexp(LOGITS), rtol=1e-15)
    assert SHIFTS[0][0] in fired(naive_logsumexp, NM)
    (slope,) = gradients(lambda x: apply("sum", naive_logsumexp(x)), [NM], [LOGITS])
    np.testing.assert_allclose(slope, exact_softmax(LOGITS), rtol=1e-13)


def test_a_sum_of_exponentials_over_all_dims() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        return apply("log", apply("sum", apply("exp", x)))

    assert stable(build, LOGITS) == pytest.approx(1000 + math.log1p(math.exp(-1)), rel=1e-15)


def test_logsumexp_with_infinite_entries() -> None:
    rows = np.array([[-np.inf, 0.0], [-np.inf, -np.inf], [np.inf, 0.0]])
    for build in (naive_logsumexp, lambda x: apply("logsumexp", x, 1)):
        np.testing.assert_array_equal(stable(build, rows), [0.0, -np.inf, np.inf])


@pytest.mark.parametrize("build", [naive_softmax, named_softmax])
def test_softmax_is_shifted(build: Callable[..., IndexLambda]) -> None:
    np.testing.assert_allclose(stable(build, LOGITS), exact_softmax(LOGITS), rtol=1e-14)
    assert SHIFTS[1][0] in fired(build, NM)


def log_probability(probability: Callable[..., IndexLambda]) -> Callable[..., IndexLambda]:
    return lambda x: apply("log", probability(x))


@pytest.mark.parametrize("probability", [naive_softmax, named_softmax])
def test_log_of_softmax(probability: Callable[..., IndexLambda]) -> None:
    build = log_probability(probability)
    with mp.workdps(5000):
        rows = [[mp.mpf(v) for v in row] for row in LOGITS]
        totals = [mp.log(sum(map(mp.exp, row))) for row in rows]
        expected = [[float(v - t) for v in row] for row, t in zip(rows, totals, strict=True)]
    np.testing.assert_allclose(stable(build, LOGITS), expected, rtol=1e-15)
    assert SHIFTS[2][0] in fired(build, NM)


def picked(log_p: IndexLambda, y: IndexLambda) -> IndexLambda:
    """`mean(-log_p[r, y[r]])`."""
    chosen = il.reindex(log_p, y.shape, [sc.index(0), y.body])
    return apply("negative", apply("mean", chosen))


@pytest.mark.parametrize("probability", [naive_softmax, named_softmax])
def test_cross_entropy_written_naively(probability: Callable[..., IndexLambda]) -> None:
    """-log(exp(z) / sum(exp(z))) at logits of a thousand: value, gradient, curvature."""
    y = np.array([1, 3, 0])
    kinds = [NM, tensor("n", dtype=I64)]

    def loss(x: IndexLambda, y: IndexLambda) -> IndexLambda:
        return picked(apply("log", probability(x)), y)

    expected = np.mean(exact_logsumexp(LOGITS) - LOGITS[np.arange(3), y])
    fn = function(loss, kinds)
    assert interpret(simplified(fn), [LOGITS, y])[0] == pytest.approx(expected, rel=1e-15)
    (slope,) = gradients(loss, kinds, [LOGITS, y])
    p = exact_softmax(LOGITS)
    np.testing.assert_allclose(slope, (p - np.eye(4)[y]) / 3, rtol=1e-13, atol=1e-16)

    def curvature(x: IndexLambda, y: IndexLambda) -> IndexLambda:
        (first,) = gradient_of(loss(x, y), x)
        return gradient_of(apply("sum", apply("square", first)), x)[0]

    v = (p - np.eye(4)[y]) / 3
    expected = 2 * p * (v - (p * v).sum(1, keepdims=True)) / 3
    found = interpret(simplified(function(curvature, kinds)), [LOGITS, y])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-16)


def root_of_squares(x: IndexLambda) -> IndexLambda:
    return apply("sqrt", apply("sum", il.apply("mul", x, x), 1))


def test_the_root_of_a_sum_of_squares() -> None:
    rows = np.array([[3.0, -4.0], [0.0, 0.0], [1e-200, 0.0]])
    assert SHIFTS[3][0] in fired(root_of_squares, NM)
    (slope,) = gradients(
        lambda x: apply("sum", root_of_squares(x)), [NM], [np.array([[3.0, -4.0], [0.0, 0.0]])]
    )
    np.testing.assert_allclose(slope, [[0.6, -0.8], [0.0, 0.0]], rtol=1e-15)
    np.testing.assert_allclose(stable(root_of_squares, rows)[:2], [5.0, 0.0])


def test_normalizing_by_the_root_of_a_sum_of_squares() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        return il.apply("div", x, apply("unsqueeze", root_of_squares(x), 1))

    assert SHIFTS[4][0] in fired(build, NM)
    rows = np.array([[3.0, -4.0], [0.0, 0.0]])
    np.testing.assert_allclose(stable(build, rows), [[0.6, -0.8], [0.0, 0.0]], rtol=1e-15)


# --------------------------------------------------------------------------- algebra on the graph


def simple(build: Callable[..., Any], *parameters: Any) -> list[Comp]:
    fn = simplified(function(build, parameters))
    return [n for n in postorder(fn.outputs) if isinstance(n, Comp)]


def test_permutations_cancel() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        for _ in range(5):
            x = il.of_node(il.materialize(apply("permute", x, (1, 2, 0))))
        return il.of_node(il.materialize(apply("permute", x, (1, 2, 0))))

    fn = simplified(function(build, [tensor("n", "m", "k")]))
    (node,) = fn.outputs
    assert isinstance(node, g.Input) or node.body is g.identity_read(fn.params[0])
    assert len(postorder(fn.outputs)) <= 2


def test_a_sum_of_a_broadcast_is_a_product() -> None:
    (node,) = simple(lambda x: apply("sum", apply("expand", x, tensor("m", "n").shape)), tensor())
    assert node.reducer is None
    assert "sum of a broadcast = size * value" in fired(
        lambda x: apply("sum", apply("expand", x, (*tensor("m").shape, *N.shape))), tensor()
    )
    arrays = [np.array([1.5, 2.0, -1.0])]
    partly = value(
        lambda x: apply("sum", apply("expand", x, (*tensor(7).shape, *N.shape))), [N], arrays
    )
    assert partly == pytest.approx(7 * 2.5)


def test_a_factor_leaves_a_sum() -> None:
    def build(x: IndexLambda, y: IndexLambda) -> IndexLambda:
        return apply("sum", il.apply("mul", apply("unsqueeze", x, 1), y), 1)

    nodes = simple(build, N, NM)
    summed = [n for n in nodes if n.reducer == "sum"]
    assert len(summed) == 1 and len(sc.reads([summed[0].body])) == 1
    assert "sum(a * b[k]) = a * sum(b[k])" in fired(build, N, NM)


def test_what_an_index_plays_no_part_in_is_reduced_once() -> None:
    source = """
def f(y: f32[n, m], z: f32[r]) -> (f32[r, n], f32[r, n]):
    a[i, j] = sum[k](y[j, k]) for i in 0:r
    b[i, j] = max[k](y[j, k]) + z[i]
    return a, b
"""
    f = tdsl.compile(source).f
    assert f.ir("kernels").count("f32[n]") == 2
    rng = np.random.default_rng(0)
    for n, m, r in ((3, 40, 5), (1, 1, 1), (4, 7, 0), (0, 3, 2)):
        y, z = (rng.standard_normal(s).astype(np.float32) for s in ((n, m), (r,)))
        a, b = f(y, z)
        np.testing.assert_allclose(a, np.broadcast_to(y.sum(1), (r, n)), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(b, y.max(1)[None] + z[:, None])


def test_constants_are_folded() -> None:
    def build(x: IndexLambda) -> IndexLambda:
        two = il.apply("add", il.scalar(1.5), il.scalar(0.5))
        return il.apply("mul", x, apply("sqrt", il.apply("mul", two, two)))

    (node,) = simple(build, N)
    assert isinstance(node.body, sc.Op) and len(list(sc.postorder([node.body]))) <= 4


def test_conditionals_on_one_test_are_one() -> None:
    def build(x: IndexLambda, y: IndexLambda) -> IndexLambda:
        positive = il.apply("gt", x, il.scalar(0.0))
        zero = il.scalar(0.0)
        return il.apply(
            "add", il.apply("where", positive, x, zero), il.apply("where", positive, y, zero)
        )

    (node,) = simple(build, N, N)
    assert sum(isinstance(v, sc.Op) and v.name == "where" for v in sc.postorder([node.body])) == 1
    found = value(build, [N, N], [np.array([1.0, -1.0]), np.array([5.0, 7.0])])
    np.testing.assert_array_equal(found, [6.0, 0.0])


def test_contractions_are_ordered_by_cost_and_the_saving_is_reported() -> None:
    kinds = [tensor("n", "m"), tensor("m", "k"), tensor("k")]

    def build(a: IndexLambda, b: IndexLambda, v: IndexLambda) -> IndexLambda:
        return apply("matmul", apply("matmul", a, b), v)

    log: Log = []
    fn = simplified(function(build, kinds), log)
    text = function_text(fn)
    assert "y @ z" in text and "x @ y" not in text
    (report,) = [e.equation for e in log if e.equation.startswith("contraction order")]
    before, after = (float(w) for w in report.split() if w[0].isdigit() and "e+" in w)
    assert before > 100 * after
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=s) for s in ((3, 4), (4, 2), (2,))]
    np.testing.assert_allclose(
        interpret(fn, arrays)[0], arrays[0] @ arrays[1] @ arrays[2], rtol=1e-13
    )


def test_a_long_chain_of_matrices_is_ordered() -> None:
    shapes = [("n", "m"), ("m", "k"), ("k", "o"), ("o", 1)]

    def build(*xs: IndexLambda) -> IndexLambda:
        out = xs[0]
        for x in xs[1:]:
            out = apply("matmul", out, x)
        return out

    fn = simplified(function(build, [tensor(*s) for s in shapes]))
    most = max(len(n.extents) for n in postorder(fn.outputs) if isinstance(n, Comp))
    assert most <= 3
    sums = [n for n in postorder(fn.outputs) if isinstance(n, Comp) and n.reducer == "sum"]
    assert all(any(d.const == 1 for d in n.extents) for n in sums), function_text(fn)


def test_what_is_differentiated_is_the_stable_form() -> None:
    """The gradient of log(1 + exp(x)) is the logistic function, not exp / (1 + exp)."""

    def build(x: IndexLambda) -> IndexLambda:
        one = il.scalar(1)
        return gradient_of(apply("sum", apply("log", il.apply("add", one, apply("exp", x)))), x)[0]

    fn = differentiated(function(build, [N]))
    found = interpret(fn, [np.array([-1000.0, 0.0, 1000.0])])[0]
    np.testing.assert_array_equal(found, [0.0, 0.5, 1.0])
