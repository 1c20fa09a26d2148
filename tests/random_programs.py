"""Random well-typed programs, as text.

In: a source of choices (hypothesis' `draw`). Out: a `Program`: the text of a `.tdsl` file whose
`main` returns several values and whose `loss` is a float made of them, and arguments for both.
The types of all that is written are tracked, so that nearly every program checks; sizes may still
fail a requirement at a call. What a program must fulfil is `program_agreement`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from tdsl.compiler import index_lambda as il
from tdsl.compiler.dims import Dim, dim, named
from tdsl.compiler.dtypes import BOOL, F32, F64, I32, I64, REAL, DType

from .random_formulas import Choices, Expr, Formulas
from .random_index_statements import IndexNotation
from .random_statements import NAMES, Body, Helper, Value

Array = npt.NDArray[Any]

SIZES = (0, 1, 2, 3, 5, 17, 33)
SPECIAL = (np.inf, -np.inf, np.nan, 0.0, -0.0, 5e-324, 1e-40, -1e-40, 1e30, -1e30)

STEPS = (
    "elementwise", "elementwise", "elementwise", "reduction", "reduction", "normalization", "view",
    "view", "product", "subscript", "subscript", "define", "define", "contraction", "contraction",
    "stencil", "stencil", "scatter", "call_helper", "gradient", "pair", "cast",
)  # fmt: skip


@dataclass(frozen=True)
class Program:
    """`stops`: a derivative is stopped somewhere, so differences of the value do not judge it."""

    text: str
    params: tuple[Value, ...]
    has_loss: bool
    stops: bool

    @property
    def float_names(self) -> tuple[str, ...]:
        return tuple(p.name for p in self.params if p.dtype.is_float)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(f"\n{self.text}\n")


@st.composite
def programs(draw: Callable[..., Any]) -> Program:
    """A random program."""
    c = Choices(draw)
    floating = c.of((F64, F64, F32))
    formulas = Formulas(c)
    parts = []
    if c.chance(30):
        parts.append(f"const SCALE = {c.of(('0.5', '1.25', '2'))}")
    for k in range(c.number(0, 2)):
        parts.append(_scalar_function(c, formulas, k, bool(parts) and "const" in parts[0]))
    helpers = []
    if c.chance(35):
        helper, text, stops = _helper(c, formulas, floating)
        helpers.append(helper)
        parts.append(text)
    else:
        stops = False
    params = _parameters(c, floating)
    body = Body(c, formulas, list(params), helpers)
    _statements(body, c.number(2, 7))
    results = body.made[-c.number(1, 4) :] or [params[0]]
    header = ", ".join(map(_declared, params))
    lines = [*body.lines, f"return {', '.join(v.name for v in results)}"]
    parts.append(f"def main({header}):\n    " + "\n    ".join(lines))
    floats = [k for k, v in enumerate(results) if v.dtype.is_float]
    if floats:
        parts.append(_loss(c, header, params, results, floats))
    return Program("\n\n".join(parts) + "\n", params, bool(floats), stops or body.stops)


def _declared(v: Value) -> str:
    return f"{v.name}: {v.dtype}{il.shape_text(v.shape) if v.shape else ''}"


def _scalar_function(c: Choices, formulas: Formulas, k: int, constant: bool) -> str:
    names = ("x", "y")[: c.number(1, 2)]
    leaves = [Expr(n, REAL) for n in names] + [Expr("SCALE", REAL)] * constant
    x = formulas.floating(lambda: c.of(leaves), c.number(1, 3))
    # every parameter takes part, so that the result has the arguments' dtype
    text = f"fn f{k}({', '.join(names)}) = ({x.text}) + {' * '.join(names)}"
    formulas.fns.append((f"f{k}", len(names)))
    return text


def _helper(c: Choices, formulas: Formulas, floating: DType) -> tuple[Helper, str, bool]:
    p, q = named("p"), named("q")
    options = (
        (Value("a", floating, (p, q)), Value("b", floating, (q,))),
        (Value("a", floating, (p,)),),
        (Value("a", floating, (p, q)),),
        (Value("a", floating, (p,)), Value("b", floating, ())),
    )
    params = c.of(options)
    body = Body(c, formulas, list(params))
    _statements(body, c.number(1, 3))
    results = tuple(body.made[-c.number(1, 2) :]) or params[:1]
    lines = [*body.lines, f"return {', '.join(v.name for v in results)}"]
    text = f"def part({', '.join(map(_declared, params))}):\n    " + "\n    ".join(lines)
    return Helper("part", params, results), text, body.stops


def _parameters(c: Choices, floating: DType) -> tuple[Value, ...]:
    dims = [named(n) for n in NAMES[: c.number(1, 3)]]
    plain = [Value(f"x{k}", floating, (d,)) for k, d in enumerate(dims)]
    if len(dims) > 1 and c.chance(60):
        plain[0:2] = [Value("x0", floating, (dims[0], dims[1]))]
    n = dims[0]
    sizes: list[Dim] = [*dims, *dims, dim(1), dim(2), dim(3), n + 1, 2 * n, n - 1]
    if len(dims) > 1:
        sizes.append(n + dims[1])
    params = list(plain)
    for k in range(c.number(0, 2)):
        shape = tuple(c.of(sizes) for _ in range(c.number(0, 2)))
        dtype = (F32 if floating is F64 else F64) if c.chance(15) else floating
        params.append(Value(f"y{k}", dtype, shape))
    if c.chance(60):
        below = c.of([d for v in params for d in v.shape])
        params.append(Value("idx", c.of((I64, I64, I32)), (c.of(sizes[:-2]),), below))
    if c.chance(30):
        params.append(Value("z", c.of((I64, I32)), (c.of(dims),)))
    if c.chance(20):
        params.append(Value("mask", BOOL, (c.of(dims),)))
    return tuple(params)


def _statements(body: Body, count: int) -> None:
    notation = IndexNotation(body)
    tries = 0
    while len(body.made) < count and tries < 3 * count:
        tries += 1
        step = body.choices.of(STEPS)
        before = len(body.lines)
        made = getattr(notation if hasattr(notation, step) else body, step)()
        if not made:
            del body.lines[before:]
    if body.choices.chance(4):
        body.stopped()


def _loss(
    c: Choices, header: str, params: tuple[Value, ...], results: list[Value], floats: list[int]
) -> str:
    names = [f"r{k}" for k in range(len(results))]
    call = f"main({', '.join(p.name for p in params)})"
    first = f"{', '.join(names)} = {call}" if len(names) > 1 else f"r0 = {call}"
    terms = []
    for k in floats:
        weight = c.of(("", "0.5 * ", "-1.5 * "))
        term = c.of((f"sum({names[k]})", f"sum(tanh({names[k]}))", f"sum(sin({names[k]}))",
                     f"mean({names[k]} * {names[k]})"))  # fmt: skip
        if not results[k].shape:
            term = c.of((names[k], f"tanh({names[k]})"))
        terms.append(weight + term)
    return f"def loss({header}):\n    {first}\n    return {' + '.join(terms)}"


# --------------------------------------------------------------------------- arguments


def sizes_for(params: tuple[Value, ...], rng: np.random.Generator, largest: int) -> dict[str, int]:
    """A size for every named dim, at most `largest`, so that no dim is negative."""
    names = sorted({n for p in params for d in p.shape for n in d.names})
    while True:
        env = {n: int(rng.choice([s for s in SIZES if s <= largest])) for n in names}
        if all(d.evaluate(env) >= 0 for p in params for d in p.shape):
            return env


def arguments(
    params: tuple[Value, ...],
    env: Mapping[str, int],
    rng: np.random.Generator,
    *,
    special: bool = False,
    generic: bool = False,
    outside: bool = False,
) -> list[Array]:
    """An array for every parameter. Some entries are 0 or equal to each other unless `generic`;
    `special` adds infinities, NaN, subnormal and huge numbers; `outside`: an index tensor may
    hold one entry out of range."""
    out = []
    for p in params:
        shape = tuple(d.evaluate(env) for d in p.shape)
        if p.dtype.is_bool:
            x: Array = rng.integers(0, 2, shape).astype(bool)
        elif p.below is not None:
            below = p.below.evaluate(env)
            x = rng.integers(0, max(below, 1), shape)
            if outside and x.size:
                x.flat[rng.integers(x.size)] = rng.choice([-1, below, below + 7])
        elif p.dtype.is_integer:
            x = rng.integers(-4, 5, shape)
        else:
            x = np.asarray(rng.standard_normal(shape) * rng.choice([0.5, 1.0, 2.0]))
            if not generic and x.size:
                flat = x.reshape(-1)
                flat[rng.random(flat.size) < 0.1] = 0.0
                flat[rng.random(flat.size) < 0.1] = 1.0
            if special and x.size:
                flat = x.reshape(-1)
                chosen = rng.random(flat.size) < 0.3
                flat[chosen] = rng.choice(SPECIAL, int(chosen.sum()))
        with np.errstate(over="ignore", under="ignore"):
            out.append(np.asarray(x, dtype=p.dtype.numpy))
    return out
