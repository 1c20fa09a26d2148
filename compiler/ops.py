"""The operator table: one row per operator.

A row is one of four shapes:

    pointwise(name, formula)       a scalar function, elementwise over tensors of any shape
    view(name, index map)          where each element of the result is read from
    reduction(name, monoid)        over some dims
    composite(name, built from other rows)

The language's checker and the eager Tensor build nodes from the same rows; the compiler's other
stages know primitives and comprehensions only, never an operator's name. Names and arguments
are PyTorch's. A row's arguments are bound by its signature: `IndexLambda` (a tensor), `int`,
`float`, `bool`, `str`, `Dims` (ints or None), `Sizes` (sizes), `Tensors` (several tensors).
Formula sources stand at the rows; PyTorch's documentation where none is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim, dim, is_one, product
from .dtypes import I64
from .formula import formula
from .graph import comp
from .index_lambda import IndexLambda, OpError
from .primitives import PRIMITIVES, Typing
from .scalar import Scalar, ScalarFunction

Dims = int | tuple[int, ...] | None
Sizes = Dim | tuple[Dim, ...]
Tensors = tuple[IndexLambda, ...]


@dataclass(frozen=True)
class Pointwise:
    """`partials` states a derivative by parameter where the derived one would be less stable."""

    name: str
    params: tuple[str, ...]
    text: str
    partials: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)
    domain: tuple[tuple[float, float], ...] = ()

    @cached_property
    def function(self) -> ScalarFunction:
        names: dict[str, Scalar] = {p: sc.param(k) for k, p in enumerate(self.params)}
        body = formula(self.text, names, scalar_function)
        stated: dict[int, Scalar] = {}
        out = ScalarFunction(self.name, self.params, body, stated, builtin=True)
        names["out"] = sc.call(out, [names[p] for p in self.params])
        for p, text in self.partials.items():  # after `out` exists: a derivative may call it
            stated[self.params.index(p)] = formula(text, names, lambda n: out if n == self.name else scalar_function(n))
        return out

    @cached_property
    def signature(self) -> inspect.Signature:
        kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
        return inspect.Signature(
            [
                inspect.Parameter(
                    p,
                    kind,
                    default=self.defaults.get(p, inspect.Parameter.empty),
                    annotation="IndexLambda",
                )
                for p in self.params
            ]
        )

    def apply(self, *args: Any) -> IndexLambda:
        xs = [a if isinstance(a, IndexLambda) else il.scalar(a) for a in args]
        return il.elementwise(lambda *b: sc.call(self.function, b), *xs)


@dataclass(frozen=True)
class Structural:
    """A view, reduction or composite: `build` takes lambdas and static arguments."""

    name: str
    build: Callable[..., Any]
    domain: tuple[float, float] = (-3.0, 3.0)

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.build)

    def apply(self, *args: Any, **keywords: Any) -> Any:
        return self.build(*args, **keywords)


Row = Pointwise | Structural


def scalar_function(name: str) -> ScalarFunction | None:
    """The scalar function of a pointwise row."""
    row = ROWS.get(name)
    return row.function if isinstance(row, Pointwise) and not isinstance(row, Primitivelike) else None


@dataclass(frozen=True)
class Primitivelike(Pointwise):
    """A primitive under its own name: applied directly, without a function around it."""

    def apply(self, *args: Any) -> IndexLambda:
        xs = [a if isinstance(a, IndexLambda) else il.scalar(a) for a in args]
        return il.apply(PRIMITIVES_BY_NAME[self.name], *xs)


# --------------------------------------------------------------------------- pointwise

_SIGMOID_DX = "out * sigmoid(-x)"
_SELU_A, _SELU_L = "1.6732632423543772", "1.0507009873554805"

_POINTWISE = (
    # one exponential, which cannot overflow
    Pointwise("sigmoid", ("x",), "(1 if x >= 0 else exp(-abs(x))) / (1 + exp(-abs(x)))",
              {"x": _SIGMOID_DX}),
    Pointwise("log_sigmoid", ("x",), "-softplus(-x)", {"x": "sigmoid(-x)"}),
    Pointwise("softplus", ("x",), "max(x, 0) + log1p(exp(-abs(x)))", {"x": "sigmoid(x)"}),
    Pointwise("log1mexp", ("x",),  # log(1 - exp(x)), x < 0; Maechler 2012
              "log(-expm1(x)) if x > -0.6931471805599453 else log1p(-exp(x))",
              {"x": "-1 / expm1(-x)"}, domain=((-6.0, -0.1),)),
    Pointwise("logaddexp", ("x", "y"),
              "x if x == y and isinf(x) else max(x, y) + log1p(exp(-abs(x - y)))",
              {"x": "sigmoid(x - y)", "y": "sigmoid(y - x)"}),
    Pointwise("xlogy", ("x", "y"), "nan if isnan(y) else (0 if x == 0 else x * log(y))",
              {"x": "0 if x == 0 else log(y)", "y": "0 if x == 0 else x / y"},
              domain=((-3.0, 3.0), (0.05, 8.0))),
    # square root of a sum of squares: its subgradient at 0 is 0, and every argument is 0 there
    Pointwise("root_of_squares", ("x",), "sqrt(x)", {"x": "0 if x == 0 else 0.5 / out"},
              domain=((0.05, 8.0),)),
    # sin(x)/x and its series near 0 (DLMF 4.19.1), so that derivatives stay accurate there
    Pointwise("spherical_bessel_j0", ("x",),
              "1 - x*x/6*(1 - x*x/20*(1 - x*x/42*(1 - x*x/72*(1 - x*x/110*(1 - x*x/156"
              "*(1 - x*x/210*(1 - x*x/272))))))) if abs(x) < 1 else sin(x) / x"),
    Pointwise("sinc", ("x",), "spherical_bessel_j0(3.141592653589793 * x)"),
    # polygamma(1, x): recurrence by 8, then the asymptotic series (DLMF 5.15.1, 5.15.8)
    Pointwise("trigamma_positive", ("x",),
              "1/(x*x) + 1/((x+1)*(x+1)) + 1/((x+2)*(x+2)) + 1/((x+3)*(x+3)) + 1/((x+4)*(x+4))"
              " + 1/((x+5)*(x+5)) + 1/((x+6)*(x+6)) + 1/((x+7)*(x+7)) + trigamma_tail(x + 8)",
              domain=((0.05, 8.0),)),
    Pointwise("trigamma_tail", ("x",),
              "1/x + 0.5/(x*x) + 1/(x*x*x) * (1/6 - 1/(x*x)*(1/30 - 1/(x*x)*(1/42 - 1/(x*x)"
              "*(1/30 - 1/(x*x)*(5/66 - 1/(x*x)*691/2730)))))", domain=((8.0, 20.0),)),
    Pointwise("trigamma", ("x",),
              "trigamma_positive(x) if x >= 0.5 else "
              "9.869604401089358/(sin(3.141592653589793*x)*sin(3.141592653589793*x))"
              " - trigamma_positive(1 - x)", domain=((0.05, 8.0),)),
    Pointwise("relu", ("x",), "x if x > 0 else (nan if isnan(x) else 0)", {"x": "1 if x > 0 else 0"}),
    Pointwise("gelu", ("x",), "0.5 * x * (1 + erf(x * 0.7071067811865476))",
              {"x": "0.5 * (1 + erf(x * 0.7071067811865476))"
                    " + 0.3989422804014327 * x * exp(-0.5 * x * x)"}),
    Pointwise("gelu_tanh", ("x",),
              "0.5 * x * (1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))"),
    Pointwise("silu", ("x",), "x * sigmoid(x)",
              {"x": "sigmoid(x) * (1 + x * sigmoid(-x))"}),
    Pointwise("mish", ("x",), "x * tanh(softplus(x))"),
    Pointwise("leaky_relu", ("x", "negative_slope"), "x if x > 0 else negative_slope * x",
              defaults={"negative_slope": 0.01}),
    Pointwise("elu", ("x", "alpha"), "x if x > 0 else alpha * expm1(x)", defaults={"alpha": 1.0}),
    Pointwise("selu", ("x",),
              f"{_SELU_L} * x if x > 0 else {_SELU_L} * {_SELU_A} * expm1(x)"),
    Pointwise("relu6", ("x",), "min(max(x, 0), 6)", {"x": "1 if x > 0 and x < 6 else 0"}),
    Pointwise("hardtanh", ("x", "min_val", "max_val"), "min(max(x, min_val), max_val)",
              defaults={"min_val": -1.0, "max_val": 1.0}),
    Pointwise("softsign", ("x",), "x / (1 + abs(x))"),
    Pointwise("square", ("x",), "x * x", {"x": "2 * x"}),
    Pointwise("reciprocal", ("x",), "1 / x", domain=((0.3, 4.0),)),
    Pointwise("hypot", ("x", "y"), "root_of_squares(x*x + y*y)"),
    Pointwise("deg2rad", ("x",), "x * 0.017453292519943295"),
    Pointwise("rad2deg", ("x",), "x * 57.29577951308232"),
    Pointwise("lerp", ("input", "end", "weight"), "input + weight * (end - input)"),
    Pointwise("logit", ("x",), "log(x / (1 - x))", {"x": "1 / (x * (1 - x))"},
              domain=((0.05, 0.95),)),
    Pointwise("frac", ("x",), "x - trunc(x)"),
    # bounds win over the value's gradient exactly as PyTorch's clamp: inside, and at the bounds, 1
    Pointwise("clamp_both", ("x", "low", "high"), "min(max(x, low), high)",
              {"x": "1 if x >= low and x <= high else 0"}),
    Pointwise("clamp_min", ("x", "low"), "max(x, low)", {"x": "1 if x >= low else 0"}),
    Pointwise("clamp_max", ("x", "high"), "min(x, high)", {"x": "1 if x <= high else 0"}),
)  # fmt: skip

#: Language names of primitives that have no infix form. `max`/`min` of two tensors are
#: `maximum`/`minimum` here: the bare names are reductions too.
PRIMITIVES_BY_NAME: dict[str, str] = {
    **{
        row.name: row.name
        for row in PRIMITIVES.values()
        if row.infix is None and row.typing not in (Typing.CAST, Typing.LOGIC)
        and row.name not in ("max", "min", "neg")
    },
    "maximum": "max",
    "minimum": "min",
    "negative": "neg",
    "pow": "pow",
    "remainder": "mod",
    "floor_divide": "floordiv",
    "arcsin": "asin",
    "arccos": "acos",
    "arctan": "atan",
    "arctan2": "atan2",
    "gammaln": "lgamma",
    "logical_not": "not",
    "logical_and": "and",
    "logical_or": "or",
}

_ARGUMENTS = {
    1: ("x",),
    2: ("x", "y"),
    3: ("condition", "x", "y"),
}


def _primitive_rows() -> list[Primitivelike]:
    out = []
    for name, primitive in PRIMITIVES_BY_NAME.items():
        row = PRIMITIVES[primitive]
        out.append(Primitivelike(name, _ARGUMENTS[row.arity], "", domain=row.domain))
    return out


# --------------------------------------------------------------------------- views


def _dims(d: Dims) -> tuple[int, ...] | None:
    return d if d is None or isinstance(d, tuple) else (d,)


def permute(x: IndexLambda, dims: tuple[int, ...]) -> IndexLambda:
    order = [il.axis_of(d, x.rank) for d in dims]
    if sorted(order) != list(range(x.rank)):
        raise OpError(
            "E0502", f"permute of a tensor of rank {x.rank} names each dim once, got {dims}"
        )
    return il.permute(x, order)


def transpose(x: IndexLambda, dim0: int = -2, dim1: int = -1) -> IndexLambda:
    if x.rank < 2:
        raise OpError("E0502", f"transpose needs a rank of 2 at least, got {il.type_text(x)}")
    order = list(range(x.rank))
    a, b = il.axis_of(dim0, x.rank), il.axis_of(dim1, x.rank)
    order[a], order[b] = order[b], order[a]
    return il.permute(x, order)


def unsqueeze(x: IndexLambda, dim: int) -> IndexLambda:
    return il.insert_axes(x, [il.axis_of(dim, x.rank + 1)])


def squeeze(x: IndexLambda, dim: Dims = None) -> IndexLambda:
    given = _dims(dim)
    if given is None:
        return il.drop_axes(x, [k for k, d in enumerate(x.shape) if is_one(d)])
    axes = [il.axis_of(d, x.rank) for d in given]
    return il.drop_axes(x, [k for k in axes if is_one(x.shape[k])])


def expand(x: IndexLambda, size: Sizes) -> IndexLambda:
    return il.broadcast_to(x, size if isinstance(size, tuple) else (size,))


def flip(x: IndexLambda, dims: Dims) -> IndexLambda:
    axes = {il.axis_of(d, x.rank) for d in _dims(dims) or ()}
    at: list[Scalar] = [
        sc.op("sub", sc.size(d - 1), sc.index(k)) if k in axes else sc.index(k)
        for k, d in enumerate(x.shape)
    ]
    return il.reindex(x, x.shape, at)


def reshape(x: IndexLambda, shape: Sizes) -> IndexLambda:
    """Row-major. One size may be -1 where the others are known to divide."""
    wanted = list(shape if isinstance(shape, tuple) else (shape,))
    total = product(x.shape)
    if sum(d.const == -1 for d in wanted) == 1:
        k = next(k for k, d in enumerate(wanted) if d.const == -1)
        rest = product(tuple(d for j, d in enumerate(wanted) if j != k))
        wanted[k] = _exact_quotient(total, rest)
    if product(tuple(wanted)) != total:
        raise OpError(
            "E0503",
            f"{il.shape_text(x.shape)} has {total} elements, "
            f"{il.shape_text(wanted)} would have {product(tuple(wanted))}",
        )
    x = il.computed_once(x)
    kept = 0  # leading dims that both shapes share need no division
    while kept < min(len(wanted), x.rank) and wanted[kept] == x.shape[kept]:
        kept += 1
    position: Scalar = sc.size(0)
    for k in range(kept, len(wanted)):
        position = sc.op("add", sc.op("mul", position, sc.size(wanted[k])), sc.index(k))
    at: list[Scalar] = []
    for k in reversed(range(kept, x.rank)):
        d = x.shape[k]
        last = k == kept
        at.append(position if last else sc.op("mod", position, sc.size(d)))
        position = sc.op("floordiv", position, sc.size(d))
    return il.reindex(x, wanted, [*map(sc.index, range(kept)), *reversed(at)])


def _exact_quotient(total: Dim, rest: Dim) -> Dim:
    """`total / rest` where both are single terms."""
    if len(total.terms) == 1 and len(rest.terms) == 1:
        (atoms, c), (others, by) = total.terms[0], rest.terms[0]
        left = list(atoms)
        for a in others:
            if a not in left:
                break
            left.remove(a)
        else:
            if c % by == 0:
                return Dim(((tuple(left), c // by),))
    raise OpError("E0503", f"cannot infer a size: {total} elements over {rest}")


def flatten(x: IndexLambda, start_dim: int = 0, end_dim: int = -1) -> IndexLambda:
    a, b = il.axis_of(start_dim, x.rank), il.axis_of(end_dim, x.rank)
    shape = (*x.shape[:a], product(x.shape[a : b + 1]), *x.shape[b + 1 :])
    return reshape(x, shape)


def diagonal(x: IndexLambda) -> IndexLambda:
    """The main diagonal of the last two dims."""
    if x.rank < 2 or x.shape[-1] != x.shape[-2]:
        raise OpError("E0501", f"diagonal needs a square matrix, got {il.type_text(x)}")
    n = x.rank - 2
    return il.reindex(x, x.shape[:-1], [*map(sc.index, range(n)), sc.index(n), sc.index(n)])


def cat(tensors: Tensors, dim: int = 0) -> IndexLambda:
    first = tensors[0]
    axis = il.axis_of(dim, first.rank)
    for t in tensors[1:]:
        rest = [k for k in range(first.rank) if k != axis]
        if t.rank != first.rank or any(t.shape[k] != first.shape[k] for k in rest):
            raise OpError(
                "E0501",
                f"cat along dim {axis}: {il.shape_text(first.shape)} and "
                f"{il.shape_text(t.shape)} differ elsewhere",
            )
    ends: list[Dim] = []
    for t in tensors:
        ends.append((ends[-1] if ends else _zero) + t.shape[axis])
    i = sc.index(axis)
    shape = (*first.shape[:axis], ends[-1], *first.shape[axis + 1 :])
    body: Scalar | None = None
    for k in reversed(range(len(tensors))):
        start = ends[k] - tensors[k].shape[axis]
        shifted = sc.substitute_indices(tensors[k].body, {axis: sc.op("sub", i, sc.size(start))})
        body = (
            shifted
            if body is None
            else sc.op("where", sc.op("lt", i, sc.size(ends[k])), shifted, body)
        )
    assert body is not None
    return IndexLambda(shape, body)


_zero = dim(0)


def stack(tensors: Tensors, dim: int = 0) -> IndexLambda:
    return cat(tuple(unsqueeze(t, dim) for t in tensors), dim)


def pad(x: IndexLambda, pad: tuple[int, ...], value: float = 0.0) -> IndexLambda:
    """`pad = (left, right, …)` from the last dim backwards, as PyTorch's constant mode."""
    if len(pad) % 2 or len(pad) > 2 * x.rank:
        raise OpError("E0503", f"pad takes (before, after) for up to {x.rank} dims, got {pad}")
    shape = list(x.shape)
    at: list[Scalar] = [sc.index(k) for k in range(x.rank)]
    inside: Scalar | None = None
    for n in range(len(pad) // 2):
        k = x.rank - 1 - n
        before, after = pad[2 * n], pad[2 * n + 1]
        shape[k] = x.shape[k] + before + after
        at[k] = sc.op("sub", sc.index(k), sc.size(before))
        for ok in (
            sc.op("ge", sc.index(k), sc.size(before)) if before > 0 else None,
            sc.op("lt", sc.index(k), sc.size(x.shape[k] + before)) if after > 0 else None,
        ):
            if ok is not None:
                inside = ok if inside is None else sc.op("and", inside, ok)
    moved = il.reindex(x, shape, at)
    if inside is None:
        return moved
    return IndexLambda(moved.shape, sc.op("where", inside, moved.body, sc.const(value)))


def tril(x: IndexLambda, diagonal: int = 0) -> IndexLambda:
    return _triangle(x, "le", diagonal)


def triu(x: IndexLambda, diagonal: int = 0) -> IndexLambda:
    return _triangle(x, "ge", diagonal)


def _triangle(x: IndexLambda, keep: str, diagonal: int) -> IndexLambda:
    if x.rank < 2:
        raise OpError("E0502", f"a triangle needs a rank of 2 at least, got {il.type_text(x)}")
    row, column = sc.index(x.rank - 2), sc.index(x.rank - 1)
    kept = sc.op(keep, column, sc.op("add", row, sc.size(diagonal)))
    return IndexLambda(x.shape, sc.op("where", kept, x.body, sc.const(0)))


def index_select(x: IndexLambda, dim: int, index: IndexLambda) -> IndexLambda:
    axis = il.axis_of(dim, x.rank)
    if index.rank != 1 or not index.dtype.is_integer:
        raise OpError("E0402", f"index must be a vector of integers, got {il.type_text(index)}")
    x = il.computed_once(x)
    picked = sc.substitute_indices(il.computed_once(index).body, {0: sc.index(axis)})
    at: list[Scalar] = [picked if k == axis else sc.index(k) for k in range(x.rank)]
    return il.reindex(x, (*x.shape[:axis], index.shape[0], *x.shape[axis + 1 :]), at)


# --------------------------------------------------------------------------- reductions


def _reduction(reducer: str) -> Callable[..., IndexLambda]:
    def build(x: IndexLambda, dim: Dims = None, keepdim: bool = False) -> IndexLambda:
        return il.reduce(x, reducer, _dims(dim), keepdim)

    return build


def mean(x: IndexLambda, dim: Dims = None, keepdim: bool = False) -> IndexLambda:
    if not x.dtype.is_float:
        raise OpError(
            "E0402", f"mean needs a float tensor, got {il.type_text(x)}", "cast it first: f32(x)"
        )
    total = il.reduce(x, "sum", _dims(dim), keepdim)
    return il.apply("div", total, il.scalar(_count(x, _dims(dim))))


def _count(x: IndexLambda, axes: Sequence[int] | None) -> Dim:
    over = {il.axis_of(a, x.rank) for a in axes} if axes is not None else set(range(x.rank))
    return product(tuple(d for k, d in enumerate(x.shape) if k in over))


def var(
    x: IndexLambda, dim: Dims = None, correction: int = 1, keepdim: bool = False
) -> IndexLambda:
    """Two passes: the mean, then the mean squared deviation."""
    x = il.computed_once(x)
    deviation = il.apply("sub", x, mean(x, dim, True))
    total = il.reduce(il.apply("mul", deviation, deviation), "sum", _dims(dim), keepdim)
    return il.apply("div", total, il.scalar(_count(x, _dims(dim)) - correction))


def std(
    x: IndexLambda, dim: Dims = None, correction: int = 1, keepdim: bool = False
) -> IndexLambda:
    return _call("root_of_squares", var(x, dim, correction, keepdim))


def norm(x: IndexLambda, dim: Dims = None, keepdim: bool = False) -> IndexLambda:
    """The Euclidean norm; its gradient at 0 is 0."""
    return _call("root_of_squares", il.reduce(il.apply("mul", x, x), "sum", _dims(dim), keepdim))


def normalize(x: IndexLambda, dim: int = 1, eps: float = 1e-12) -> IndexLambda:
    x = il.computed_once(x)
    return il.apply("div", x, il.apply("max", norm(x, dim, True), il.scalar(eps)))


def _call(name: str, *xs: IndexLambda | float) -> IndexLambda:
    row = ROWS[name]
    out: IndexLambda = row.apply(*xs)
    return out


def _shift(x: IndexLambda, dims: Dims) -> IndexLambda:
    """The maximum over `dims`, kept and without gradient; 0 where it is infinite."""
    m = il.reduce(x, "max", _dims(dims))
    finite = il.apply("where", il.apply("isfinite", m), m, il.scalar(0))
    shift = il.of_node(il.materialize(il.apply("stop_gradient", finite)))
    axes = {il.axis_of(a, x.rank) for a in _dims(dims) or range(x.rank)} if x.rank else set()
    return il.insert_axes(shift, sorted(axes))


def logsumexp(x: IndexLambda, dim: Dims = None, keepdim: bool = False) -> IndexLambda:
    x = il.computed_once(x)
    m = _shift(x, dim)
    total = il.reduce(il.apply("exp", il.apply("sub", x, m)), "sum", _dims(dim), True)
    out = il.apply("add", m, il.apply("log", total))
    if keepdim:
        return out
    axes = [il.axis_of(a, x.rank) for a in _dims(dim) or range(x.rank)] if x.rank else []
    return il.drop_axes(out, axes)


def softmax(x: IndexLambda, dim: int) -> IndexLambda:
    x = il.computed_once(x)
    e = il.of_node(il.materialize(il.apply("exp", il.apply("sub", x, _shift(x, dim)))))
    return il.apply("div", e, il.reduce(e, "sum", (dim,), True))


def log_softmax(x: IndexLambda, dim: int) -> IndexLambda:
    x = il.computed_once(x)
    return il.apply("sub", x, logsumexp(x, dim, True))


# --------------------------------------------------------------------------- contractions


def matmul(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    """NumPy's and PyTorch's `@`: vectors, matrices, and batches broadcast over leading dims."""
    if x.rank == 0 or y.rank == 0:
        raise OpError(
            "E0504", f"@ needs vectors or matrices, got {il.type_text(x)} and {il.type_text(y)}"
        )
    inner, other = x.shape[-1], y.shape[-2 if y.rank > 1 else 0]
    if inner != other:
        raise OpError(
            "E0504",
            f"@ needs equal inner sizes: {il.shape_text(x.shape)} has {inner} columns, "
            f"{il.shape_text(y.shape)} has {other} rows",
        )
    x, y = il.computed_once(x), il.computed_once(y)
    batch = il.broadcast_shapes([x.shape[:-2], y.shape[:-2]])
    rows = x.shape[-2:-1]
    columns = y.shape[-1:] if y.rank > 1 else ()
    shape = (*batch, *rows, *columns)
    n = len(batch)
    k = sc.index(len(shape))
    left = _at(x, batch, [*([sc.index(n)] if rows else []), k])
    right = _at(y, batch, [k, *([sc.index(n + len(rows))] if columns else [])])
    node = comp(sc.op("mul", left, right), [*shape, inner], len(shape), "sum")
    return il.of_node(node)


def _at(x: IndexLambda, batch: tuple[Dim, ...], last: Sequence[Scalar]) -> Scalar:
    """The body of `x` with its leading dims broadcast over `batch`, the rest at `last`."""
    lead = x.shape[: x.rank - len(last)]
    offset = len(batch) - len(lead)
    at: list[Scalar] = [
        sc.size(0) if is_one(d) else sc.index(k + offset) for k, d in enumerate(lead)
    ]
    return sc.substitute_indices(x.body, dict(enumerate([*at, *last])))


def outer(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    if x.rank != 1 or y.rank != 1:
        raise OpError(
            "E0504", f"outer needs two vectors, got {il.type_text(x)} and {il.type_text(y)}"
        )
    return il.apply("mul", unsqueeze(x, 1), y)


def dot(x: IndexLambda, y: IndexLambda) -> IndexLambda:
    if x.rank != 1 or y.rank != 1:
        raise OpError(
            "E0504", f"dot needs two vectors, got {il.type_text(x)} and {il.type_text(y)}"
        )
    return matmul(x, y)


def trace(x: IndexLambda) -> IndexLambda:
    return il.reduce(diagonal(x), "sum", (-1,))


# --------------------------------------------------------------------------- making tensors


def _filled(shape: Sizes, value: IndexLambda) -> IndexLambda:
    dims = shape if isinstance(shape, tuple) else (shape,)
    return IndexLambda(dims, sc.settle(value.body))


def zeros(size: Sizes) -> IndexLambda:
    return _filled(size, il.scalar(0.0))


def ones(size: Sizes) -> IndexLambda:
    return _filled(size, il.scalar(1.0))


def full(size: Sizes, fill_value: IndexLambda) -> IndexLambda:
    if fill_value.rank:
        raise OpError("E0503", f"full takes a scalar, got {il.type_text(fill_value)}")
    return _filled(size, fill_value)


def zeros_like(x: IndexLambda) -> IndexLambda:
    return IndexLambda(x.shape, sc.const(0, x.dtype))


def ones_like(x: IndexLambda) -> IndexLambda:
    return IndexLambda(x.shape, sc.const(1, x.dtype))


def full_like(x: IndexLambda, fill_value: IndexLambda) -> IndexLambda:
    return IndexLambda(x.shape, sc.convert(fill_value.body, x.dtype))


def arange(end: Sizes) -> IndexLambda:
    """0, 1, …, end − 1."""
    if isinstance(end, tuple):
        raise OpError("E0503", "arange takes one size")
    return IndexLambda((end,), sc.convert(sc.index(0), I64))


def eye(n: Sizes) -> IndexLambda:
    if isinstance(n, tuple):
        raise OpError("E0503", "eye takes one size")
    on = sc.op("eq", sc.index(0), sc.index(1))
    return IndexLambda((n, n), sc.settle(sc.op("where", on, sc.const(1.0), sc.const(0.0))))


def one_hot(x: IndexLambda, num_classes: Sizes) -> IndexLambda:
    if isinstance(num_classes, tuple) or not x.dtype.is_integer:
        raise OpError("E0402", f"one_hot takes integers and one size, got {il.type_text(x)}")
    hit = sc.op("eq", sc.index(x.rank), x.body)
    return IndexLambda((*x.shape, num_classes), sc.cast(hit, I64))


# --------------------------------------------------------------------------- layers and losses


def layer_norm(
    x: IndexLambda,
    weight: IndexLambda | None = None,
    bias: IndexLambda | None = None,
    eps: float = 1e-5,
) -> IndexLambda:
    """Over the last dim."""
    x = il.computed_once(x)
    centered = il.apply("sub", x, mean(x, -1, True))
    spread = il.apply("add", var(x, -1, 0, True), il.scalar(eps))
    out = il.apply("mul", centered, il.of_node(il.materialize(il.apply("rsqrt", spread))))
    out = out if weight is None else il.apply("mul", out, weight)
    return out if bias is None else il.apply("add", out, bias)


def cross_entropy(input: IndexLambda, target: IndexLambda) -> IndexLambda:
    """Mean of −log softmax(input)[row, target[row]]; `input` [rows, classes], `target` [rows]."""
    if input.rank != 2 or target.rank != 1 or not target.dtype.is_integer:
        raise OpError(
            "E0402",
            "cross_entropy takes logits [rows, classes] and integer classes [rows], "
            f"got {il.type_text(input)} and {il.type_text(target)}",
        )
    return nll_loss(log_softmax(input, 1), target)


def nll_loss(input: IndexLambda, target: IndexLambda) -> IndexLambda:
    x, y = il.computed_once(input), il.computed_once(target)
    picked = il.reindex(x, y.shape, [sc.index(0), y.body])
    return il.apply("neg", mean(picked))


def mse_loss(input: IndexLambda, target: IndexLambda) -> IndexLambda:
    difference = il.apply("sub", input, target)
    return mean(il.apply("mul", difference, difference))


def binary_cross_entropy_with_logits(input: IndexLambda, target: IndexLambda) -> IndexLambda:
    return mean(il.apply("sub", _call("softplus", input), il.apply("mul", target, input)))


def clamp(
    x: IndexLambda, min: IndexLambda | None = None, max: IndexLambda | None = None
) -> IndexLambda:
    if min is not None and max is not None:
        return _call("clamp_both", x, min, max)
    if min is not None:
        return _call("clamp_min", x, min)
    return x if max is None else _call("clamp_max", x, max)


def isclose(
    x: IndexLambda, y: IndexLambda, rtol: float = 1e-5, atol: float = 1e-8
) -> IndexLambda:
    gap = il.apply("abs", il.apply("sub", x, y))
    bound = il.apply("mul", il.apply("abs", y), il.scalar(rtol))
    return il.apply("le", gap, il.apply("add", bound, il.scalar(atol)))


_STRUCTURAL = (
    *(Structural(n, f) for n, f in {
        "permute": permute, "transpose": transpose, "t": transpose, "unsqueeze": unsqueeze,
        "squeeze": squeeze, "expand": expand, "broadcast_to": expand, "flip": flip,
        "reshape": reshape, "view": reshape, "flatten": flatten, "diagonal": diagonal,
        "cat": cat, "stack": stack, "pad": pad, "tril": tril, "triu": triu,
        "index_select": index_select,
    }.items()),
    *(Structural(n, _reduction(r)) for n, r in {
        "sum": "sum", "prod": "prod", "amax": "max", "amin": "min", "max": "max", "min": "min",
        "argmax": "argmax", "argmin": "argmin", "any": "any", "all": "all",
    }.items()),
    *(Structural(n, f) for n, f in {
        "mean": mean, "var": var, "std": std, "norm": norm, "normalize": normalize,
        "logsumexp": logsumexp, "softmax": softmax, "log_softmax": log_softmax,
        "matmul": matmul, "mm": matmul, "bmm": matmul, "mv": matmul, "dot": dot, "outer": outer,
        "trace": trace, "zeros": zeros, "ones": ones, "full": full, "zeros_like": zeros_like,
        "ones_like": ones_like, "full_like": full_like, "arange": arange, "eye": eye,
        "one_hot": one_hot, "layer_norm": layer_norm, "cross_entropy": cross_entropy,
        "nll_loss": nll_loss, "mse_loss": mse_loss, "clamp": clamp, "isclose": isclose,
        "binary_cross_entropy_with_logits": binary_cross_entropy_with_logits,
    }.items()),
)  # fmt: skip

ROWS: dict[str, Row] = {
    row.name: row for row in (*_primitive_rows(), *_POINTWISE, *_STRUCTURAL)
}

#: Rows with an infix form beside the primitives'.
INFIX_ROWS: Mapping[str, Row] = {"@": ROWS["matmul"]}

#: Reducers of the index notation, `sum[k](…)`.
INDEX_REDUCERS = (
    "sum", "prod", "max", "min", "mean", "argmax", "argmin", "logsumexp", "any", "all",
)  # fmt: skip

