"""Functions built at graph level, and checks of their values and derivatives.

In: a Python function from index lambdas to index lambdas, and the parameters' dtypes and shapes.
Out: a `Function`, its values by the interpreter, and comparisons of its derivatives with central
differences of the values. The tests of the graph stages share it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from tdsl.compiler import index_lambda as il
from tdsl.compiler import scalar as sc
from tdsl.compiler.dims import Dim, dim, named
from tdsl.compiler.dtypes import F64, DType
from tdsl.compiler.graph import Function, Input, Node, Scope, gradient, make_input
from tdsl.compiler.index_lambda import IndexLambda
from tdsl.compiler.interpret import interpret
from tdsl.compiler.ops import ROWS
from tdsl.compiler.pipeline import differentiated, simplified

Array = npt.NDArray[Any]
Build = Callable[..., Any]

SIZES = {"n": 3, "m": 4, "k": 2, "o": 5, "h": 9, "w": 8}


@dataclass(frozen=True)
class Parameter:
    dtype: DType
    shape: tuple[Dim, ...]

    def size(self, sizes: dict[str, int]) -> tuple[int, ...]:
        return tuple(d.evaluate(sizes) for d in self.shape)


def tensor(*shape: str | int | Dim, dtype: DType = F64) -> Parameter:
    """A parameter's type: `tensor("n", 3)` is f64[n, 3]."""
    return Parameter(dtype, tuple(named(d) if isinstance(d, str) else dim(d) for d in shape))


def as_node(x: Any) -> Node:
    return il.materialize(x) if isinstance(x, IndexLambda) else x


def function(build: Build, parameters: Sequence[Parameter]) -> Function:
    """`def f(x, y, z, …) = build(x, y, z, …)`; a tuple makes several outputs."""
    scope = Scope()
    with scope.active():
        inputs = _inputs(parameters)
        out = build(*map(il.of_node, inputs))
        several = isinstance(out, tuple)
        outputs = tuple(as_node(x) for x in (out if several else (out,)))
        return Function("f", inputs, outputs, several, scope=scope)


def _inputs(parameters: Sequence[Parameter]) -> tuple[Input, ...]:
    names = [*"xyzuvwpq", *(f"x{k}" for k in range(len(parameters)))]
    return tuple(
        make_input(name, k, p.dtype, p.shape)
        for k, (name, p) in enumerate(zip(names, parameters, strict=False))
    )


def apply(name: str, *args: Any, **keywords: Any) -> IndexLambda:
    """A row of the operator table, by name."""
    out: IndexLambda = ROWS[name].apply(*args, **keywords)
    return out


def gradient_of(of: IndexLambda, *wrt: IndexLambda) -> list[IndexLambda]:
    """`grad(of, wrt)` inside a function that is being built."""
    scalar = as_node(of)
    return [il.of_node(gradient(scalar, as_node(w))) for w in wrt]


def weighted(x: IndexLambda, weights: IndexLambda) -> IndexLambda:
    """A linear functional of `x`."""
    return apply("sum", il.apply("mul", x, weights))


def plus(*xs: IndexLambda) -> IndexLambda:
    total = xs[0]
    for x in xs[1:]:
        total = il.apply("add", total, x)
    return total


def random_arrays(
    parameters: Sequence[Parameter],
    rng: np.random.Generator,
    domains: Sequence[tuple[float, float]] = (),
    sizes: dict[str, int] | None = None,
) -> list[Array]:
    """Uniform over each parameter's domain; integers without one over 0…1, which index everything
    here."""
    out: list[Array] = []
    for k, p in enumerate(parameters):
        shape = p.size(SIZES if sizes is None else sizes)
        low, high = domains[k] if k < len(domains) else (-2.0, 2.0)
        if p.dtype.is_float:
            out.append(rng.uniform(low, high, shape).astype(p.dtype.numpy))
        elif p.dtype.is_bool:
            out.append(rng.integers(0, 2, shape).astype(bool))
        elif k < len(domains):
            out.append(rng.integers(int(low), int(high) + 1, shape).astype(p.dtype.numpy))
        else:
            out.append(rng.integers(0, 2, shape).astype(p.dtype.numpy))
    return out


def value(build: Build, parameters: Sequence[Parameter], arrays: Sequence[Any]) -> Array:
    return interpret(function(build, parameters), arrays)[0]


def gradients(
    build: Build, parameters: Sequence[Parameter], arrays: Sequence[Any], order: int = 1
) -> list[Array]:
    """The gradient of a scalar-valued `build` in every float parameter; for `order` 2 the
    gradient of the sum of the first gradient's elements."""
    floats = [k for k, p in enumerate(parameters) if p.dtype.is_float]

    def derived(*xs: IndexLambda) -> tuple[IndexLambda, ...]:
        of = build(*xs)
        for _ in range(order - 1):
            of = plus(*(apply("sum", g) for g in gradient_of(of, *(xs[k] for k in floats))))
        return tuple(gradient_of(of, *(xs[k] for k in floats)))

    fn = function(derived, parameters)
    plain = interpret(differentiated(fn), arrays)
    out = interpret(simplified(fn), arrays)
    for a, b in zip(plain, out, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-12)
    return list(out)


def check_derivatives(
    build: Build,
    parameters: Sequence[Parameter],
    arrays: Sequence[Array],
    *,
    order: int = 2,
    step: float = 1e-5,
    tolerance: float = 2e-6,
    seed: int = 0,
) -> None:
    """First and second derivatives of `build` (a tensor of any shape) against central
    differences along a random direction, through random linear functionals."""
    rng = np.random.default_rng(seed)
    floats = [k for k, p in enumerate(parameters) if p.dtype is F64]
    base = function(build, parameters)
    result = base.outputs[0]
    weights = Parameter(F64, result.shape)
    extra = [weights, *(parameters[k] for k in floats)]
    given = [
        rng.uniform(0.5, 1.5, interpret(base, arrays)[0].shape),
        *(rng.uniform(0.5, 1.5, np.shape(arrays[k])) for k in floats),
    ]
    count = len(parameters)

    def functional(*xs: IndexLambda) -> IndexLambda:
        return weighted(build(*xs[:count]), xs[count])

    def slope(*xs: IndexLambda) -> IndexLambda:
        found = gradient_of(functional(*xs), *(xs[k] for k in floats))
        return plus(*(weighted(g, v) for g, v in zip(found, xs[count + 1 :], strict=True)))

    stages: list[Build] = [functional, slope]
    for before in stages[:order]:
        everything = [*parameters, *extra]

        def derived(*xs: IndexLambda, of: Build = before) -> tuple[IndexLambda, ...]:
            return tuple(gradient_of(of(*xs), *(xs[k] for k in floats)))

        source = function(before, everything)
        low_level = differentiated(source)
        fn = function(derived, everything)
        values = [*arrays, *given]
        plain = interpret(differentiated(fn), values)
        found = interpret(simplified(fn), values)
        for a, b in zip(plain, found, strict=True):
            np.testing.assert_allclose(b, a, rtol=1e-9, atol=1e-11)
        direction = [rng.uniform(-1.0, 1.0, np.shape(arrays[k])) for k in floats]

        def at(amount: float, of: Function = low_level, along: Any = direction) -> float:
            moved = [np.array(a) for a in arrays]
            for k, u in zip(floats, along, strict=True):
                moved[k] = moved[k] + amount * u
            return float(interpret(of, [*moved, *given])[0])

        expected = (at(step) - at(-step)) / (2 * step)
        analytic = sum(float(np.sum(g * u)) for g, u in zip(found, direction, strict=True))
        scale = 1 + abs(expected) + sum(float(np.sum(np.abs(g))) for g in found)
        assert abs(analytic - expected) <= tolerance * scale, (analytic, expected, before.__name__)


def scatters(fn: Function) -> list[Node]:
    """The nodes of `fn` that accumulate into computed positions."""
    from tdsl.compiler.graph import Comp, postorder

    return [n for n in postorder(fn.outputs) if isinstance(n, Comp) and n.target is not None]


def index(k: int) -> sc.Scalar:
    return sc.index(k)
