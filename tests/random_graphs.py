"""Random well-typed functions at graph level, with arrays to call them on.

In: a source of choices (hypothesis' `draw`). Out: a `Function` over f64 parameters of small
symbolic and literal shapes and one integer parameter, and one array per parameter. Values stay
moderate (arguments of logarithms, roots and quotients are made positive) and away from kinks with
probability one, so that central differences can judge derivatives. Every backend is tested on
the same functions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st
from tdsl.compiler import graph as g
from tdsl.compiler import index_lambda as il
from tdsl.compiler import scalar as sc
from tdsl.compiler.dims import Dim, dim, named
from tdsl.compiler.dtypes import F64, I64
from tdsl.compiler.graph import Function, Scope, comp
from tdsl.compiler.index_lambda import IndexLambda
from tdsl.compiler.ops import ROWS
from tdsl.compiler.span import BUILTIN
from tdsl.compiler.text import function_text

from .graph_functions import Array

DIMS: tuple[Dim, ...] = (named("n"), named("m"), dim(1), dim(2), dim(3))
SIZES = {"n": 3, "m": 4}
MOST = 60  # elements of one value

UNARY = ("sin", "tanh", "sigmoid", "exp_of", "square", "root", "logarithm", "relu", "abs", "gelu")
BINARY = ("add", "sub", "mul", "div", "max", "min", "hypot")


class Case(NamedTuple):
    """A function and one array per parameter; prints as a program."""

    function: Function
    arrays: list[Array]

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"\n{function_text(self.function)}{self.arrays}")


@dataclass
class RandomProgram:
    """Values made so far; every step adds one."""

    draw: Callable[..., Any]
    values: list[IndexLambda] = field(default_factory=list)
    integers: IndexLambda | None = None

    def choose(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def value(self, rank: int | None = None) -> IndexLambda:
        fitting = [v for v in self.values if rank is None or v.rank >= rank]
        return self.choose(fitting or self.values)

    def add(self, x: IndexLambda) -> None:
        size = int(np.prod([d.evaluate(SIZES) for d in x.shape]))
        if size > MOST or x.rank > 3 or not x.dtype.is_float:
            return
        kept = self.draw(st.integers(0, 2))
        if kept:  # most statements have a name
            x = il.of_node(g.rename(il.materialize(x), f"v{len(self.values)}", BUILTIN))
        self.values.append(x)

    # ----------------------------------------------------------------------- steps

    def step(self) -> None:
        kind = self.choose(
            ("unary", "unary", "binary", "binary", "view", "reduction", "contraction", "guard",
             "gather", "stencil", "softmax", "scatter")
        )  # fmt: skip
        made = getattr(self, kind)()
        if made is not None:
            self.add(made)

    def unary(self) -> IndexLambda:
        return pointwise(self.choose(UNARY), self.value())

    def binary(self) -> IndexLambda | None:
        x = self.value()
        fitting = [v for v in self.values if _broadcast(x, v)]
        y = self.choose(fitting)
        name = self.choose(BINARY)
        if name == "div":
            return il.apply("div", x, _positive(y))
        if name == "hypot":
            return ROWS["hypot"].apply(_positive(x), y)
        return il.apply(name, x, y)

    def view(self) -> IndexLambda | None:
        x = self.value(1)
        if not x.rank:
            return None
        kind = self.choose(("flip", "permute", "flatten", "pad", "unsqueeze", "slice", "cat"))
        axis = self.draw(st.integers(0, x.rank - 1))
        match kind:
            case "flip":
                return ROWS["flip"].apply(x, axis)
            case "permute":
                return ROWS["permute"].apply(x, tuple(self.draw(st.permutations(range(x.rank)))))
            case "flatten":
                return ROWS["flatten"].apply(x)
            case "pad":
                width = (self.draw(st.integers(0, 2)), self.draw(st.integers(0, 2)))
                return ROWS["pad"].apply(x, width, 0.5)
            case "unsqueeze":
                return ROWS["unsqueeze"].apply(x, axis)
            case "slice":
                return _slice(x, axis, self.draw(st.integers(1, 2)))
            case _:
                return ROWS["cat"].apply((x, x), axis)

    def reduction(self) -> IndexLambda:
        x = self.value(1)
        if not x.rank:
            return pointwise("sin", x)
        axis = self.draw(st.integers(0, x.rank - 1))
        keep = self.draw(st.booleans())
        name = self.choose(("sum", "mean", "amax", "amin", "prod", "logsumexp", "norm"))
        return ROWS[name].apply(pointwise("tanh", x) if name == "prod" else x, axis, keep)

    def contraction(self) -> IndexLambda | None:
        x, y = self.value(1), self.value(1)
        if not x.rank or not y.rank or x.shape[-1] != y.shape[-2 if y.rank > 1 else 0]:
            y = x
            x = ROWS["unsqueeze"].apply(x, 0) if x.rank == 1 else ROWS["transpose"].apply(x)
            if x.shape[-1] != y.shape[-2 if y.rank > 1 else 0]:
                return None
        return ROWS["matmul"].apply(x, y)

    def guard(self) -> IndexLambda | None:
        """A conditional on data or on the position, some with a value that is not defined."""
        x = self.value()
        fitting = [v for v in self.values if v.shape == x.shape]
        y = self.choose(fitting)
        if self.draw(st.booleans()) or not x.rank:
            test = il.apply("gt", x, il.scalar(0.25))
            unsafe = self.choose(("sqrt", "log", "reciprocal"))
            inside = il.apply("sub", x, il.scalar(0.125))
            then = ROWS[unsafe].apply(inside)
            if self.draw(st.booleans()):
                then = il.of_node(il.materialize(then))
        else:
            first = sc.op("ge", sc.index(0), sc.size(self.draw(st.integers(0, 2))))
            test = IndexLambda(x.shape, first)
            then = x
        return il.apply("where", test, then, y)

    def gather(self) -> IndexLambda | None:
        x = self.value(1)
        if not x.rank or self.integers is None or x.shape[0] not in (named("n"), named("m")):
            return None
        rest = [sc.index(k) for k in range(1, x.rank)]
        body = sc.substitute_indices(x.body, dict(enumerate([self.integers.body, *rest])))
        return IndexLambda((named("n"), *x.shape[1:]), body)

    def stencil(self) -> IndexLambda | None:
        """A sliding sum of products: a convolution of the value with itself or another."""
        x = self.value(1)
        if not x.rank or x.shape[0].evaluate(SIZES) < 3 or x.shape[0].const is not None:
            return None
        taps, stride = self.draw(st.integers(1, 3)), self.draw(st.integers(1, 2))
        window = sc.index(x.rank)
        place = sc.op("add", sc.op("mul", sc.size(stride), sc.index(0)), window)
        at = {0: place, **{k: sc.index(k) for k in range(1, x.rank)}}
        body = sc.substitute_indices(x.body, at)
        weight = sc.op("add", sc.op("mul", sc.const(0.5), sc.convert(window, F64)), sc.const(1.0))
        length = (x.shape[0] - taps) // stride + 1
        extents = [length, *x.shape[1:], dim(taps)]
        how = self.choose(("sum", "max"))
        return il.of_node(comp(sc.op("mul", body, weight), extents, x.rank, how))

    def softmax(self) -> IndexLambda | None:
        """Written out, for the stabilising rules to find."""
        x = self.value(1)
        if not x.rank:
            return None
        e = il.apply("exp", x)
        if self.draw(st.booleans()):
            e = il.of_node(il.materialize(e))
        p = il.apply("div", e, ROWS["sum"].apply(e, x.rank - 1, True))
        return il.apply("log", p) if self.draw(st.booleans()) else p

    def scatter(self) -> IndexLambda | None:
        x = self.value(1)
        if not x.rank or self.integers is None or x.shape[0] != named("n") or x.rank > 2:
            return None
        target = [self.integers.body, *(sc.index(k) for k in range(1, x.rank))]
        shape = [named("m"), *x.shape[1:]]
        return il.of_node(comp(x.body, x.shape, 0, "sum", target=target, shape=shape))


def pointwise(name: str, x: IndexLambda) -> IndexLambda:
    match name:
        case "exp_of":
            return il.apply("exp", il.apply("tanh", x))
        case "root":
            return il.apply("sqrt", _positive(x))
        case "logarithm":
            return il.apply("log", _positive(x))
        case "sin" | "tanh" | "abs":
            return il.apply(name, x)
        case _:
            out: IndexLambda = ROWS[name].apply(x)
            return out


def _positive(x: IndexLambda) -> IndexLambda:
    return il.apply("add", il.apply("mul", x, x), il.scalar(0.5))


def _slice(x: IndexLambda, axis: int, step: int) -> IndexLambda | None:
    if x.shape[axis].evaluate(SIZES) < 3 or x.shape[axis].const is not None:
        return None
    place = sc.op("add", sc.op("mul", sc.size(step), sc.index(axis)), sc.size(1))
    shape = list(x.shape)
    shape[axis] = (x.shape[axis] - 2) // step + 1
    at = [place if k == axis else sc.index(k) for k in range(x.rank)]
    return il.reindex(x, shape, at)


def _broadcast(x: IndexLambda, y: IndexLambda) -> bool:
    try:
        il.broadcast_shapes([x.shape, y.shape])
    except il.OpError:
        return False
    return True


@st.composite
def functions(draw: Callable[..., Any], steps: int = 6) -> Case:
    """A function with a scalar output, and arrays for its parameters. The last parameter holds
    integers that index dims n and m."""
    scope = Scope()
    with scope.active():
        count = draw(st.integers(1, 3))
        shapes = [
            tuple(draw(st.sampled_from(DIMS)) for _ in range(draw(st.integers(0, 2))))
            for _ in range(count)
        ]
        shapes[0] = (named("n"), named("m"))  # says what n and m are
        inputs = [g.make_input("xyz"[k], k, F64, shape) for k, shape in enumerate(shapes)]
        picks = g.make_input("picks", count, I64, (named("n"),))
        program = RandomProgram(draw, list(map(il.of_node, inputs)), il.of_node(picks))
        for _ in range(draw(st.integers(1, steps))):
            program.step()
        total = ROWS["sum"].apply(program.values[-1])
        for v in program.values[-3:-1]:
            total = il.apply("add", total, ROWS["sum"].apply(pointwise("tanh", v)))
        out = il.materialize(total)
        fn = Function("f", (*inputs, picks), (out,), False, scope=scope)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    arrays: list[Array] = [
        rng.uniform(-1.5, 1.5, [d.evaluate(SIZES) for d in shape]) for shape in shapes
    ]
    arrays.append(rng.integers(0, 3, SIZES["n"]))
    return Case(fn, arrays)
