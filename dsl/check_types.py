"""Types as written: dtypes, dims, and what they demand of a value.

In: `TypeExpr`s and a frame. Out: dtypes and `Dim`s; the binding of a callee's dims to its
arguments' shapes; a value made to fit a stated type, or an error that shows both. Nothing is
demoted and no strong dtype is converted silently: only literals take a type on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..compiler import dtypes
from ..compiler import index_lambda as il
from ..compiler import scalar as sc
from ..compiler.dims import Dim, FloorDiv, dim, named
from ..compiler.dtypes import DType
from ..compiler.errors import Note
from ..compiler.index_lambda import IndexLambda
from ..compiler.records import dataclass
from ..compiler.span import Span
from .check_frame import Frame
from .suggest import did_you_mean
from .syntax import Binary, DefDecl, Expr, Name, Number, Parameter, TypeExpr, Unary

MAX_RANK = 32  # of every NumPy; NumPy 2 alone allows 64


def too_many_dims(frame: Frame, rank: int, span: Span) -> None:
    frame.error("E0517", f"a tensor of {rank} dims: the limit is {MAX_RANK}", span)


@dataclass(frozen=True)
class TensorType:
    dtype: DType
    shape: tuple[Dim, ...]

    def __str__(self) -> str:
        return f"{self.dtype}{il.shape_text(self.shape) if self.shape else ''}"


# --------------------------------------------------------------------------- reading types


def dtype_of(frame: Frame, name: Name) -> DType | None:
    found = dtypes.BY_NAME.get(name.id)
    if found is not None:
        return found
    if name.id in ("real", "c64", "c128"):
        return frame.error(
            "E0401", f"the dtype `{name.id}` is not supported yet", name.span, "name a float dtype"
        )
    near = did_you_mean(name.id, dtypes.BY_NAME)
    known = ", ".join(dtypes.BY_NAME)
    hint = f"did you mean `{near}`?" if near else f"the dtypes are {known}"
    return frame.error("E0401", f"unknown dtype `{name.id}`", name.span, hint)


def tensor_type(frame: Frame, t: TypeExpr) -> TensorType | None:
    """The type that `t` means where all its names are bound."""
    dtype = dtype_of(frame, t.dtype)
    shape = [size(frame, d) for d in t.dims or ()]
    known = [d for d in shape if d is not None]
    if dtype is None or len(known) < len(shape):
        return None
    return TensorType(dtype, tuple(known))


def size(frame: Frame, e: Expr) -> Dim | None:
    """A dim as written: names, integers, and `+ - * //` of both."""
    match e:
        case Number(int() as value):
            return dim(value)
        case Name(id):
            found = frame.dims.get(id)
            if found is not None:
                return found
            near = did_you_mean(id, frame.dims)
            return frame.error(
                "E0301",
                f"no parameter's type binds the dim `{id}`",
                e.span,
                f"did you mean `{near}`?" if near else None,
            )
        case Unary("-" | "+" as op, operand):
            inner = size(frame, operand)
            return None if inner is None else -inner if op == "-" else inner
        case Binary("+" | "-" | "*" | "//" as op, left, right):
            a, b = size(frame, left), size(frame, right)
            if a is None or b is None:
                return None
            return _apply(frame, op, a, b, right.span)
    return frame.error(
        "E0513",
        "expected a dim: a name, an integer, or a sum, difference, product or `//` of them",
        e.span,
    )


def _apply(frame: Frame, op: str, a: Dim, b: Dim, span: Span) -> Dim | None:
    match op:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
    if b.const is None or b.const <= 0:
        return frame.error(
            "E0513", f"a dim is divided by a positive integer only, not by {b}", span
        )
    return a // b.const


# --------------------------------------------------------------------------- parameters


def bind_parameters(frame: Frame, decl: DefDecl) -> list[TensorType | None]:
    """The parameters' types, each named dim a size of its own. A dim that stands alone binds its
    name; a computed one must follow from the others."""
    for p in decl.params:
        for e in _dims(p):
            for name in names_in(e):
                frame.dims.setdefault(name.id, named(name.id))
                frame.sizes.bound_at.setdefault(name.id, name.span)
    for p in decl.params:  # where a name stands alone is where it is bound
        for e in reversed(_dims(p)):
            if isinstance(e, Name):
                first = frame.sizes.bound_at[e.id]
                if not _stands_alone(decl, first):
                    frame.sizes.bound_at[e.id] = e.span
    types = [tensor_type(frame, p.type) if p.type is not None else None for p in decl.params]
    _all_solvable(frame, decl, types)
    for p, t in zip(decl.params, types, strict=True):
        if t is not None and len(t.shape) > MAX_RANK:
            too_many_dims(frame, len(t.shape), p.span)
        for d, e in zip(t.shape if t is not None else (), _dims(p), strict=False):
            if d.const is not None and d.const < 0:
                frame.error("E0516", f"a dim cannot be negative, and this is {d}", e.span)
            elif d.const is None:
                frame.sizes.facts.append(d)
    return types


def _dims(p: Parameter) -> tuple[Expr, ...]:
    return () if p.type is None or p.type.dims is None else p.type.dims


def _stands_alone(decl: DefDecl, span: Span) -> bool:
    return any(isinstance(e, Name) and e.span == span for p in decl.params for e in _dims(p))


def names_in(e: Expr) -> Iterator[Name]:
    """The names of a dim expression, in order."""
    match e:
        case Name():
            yield e
        case Unary(_, operand):
            yield from names_in(operand)
        case Binary(_, left, right):
            yield from names_in(left)
            yield from names_in(right)


def _all_solvable(frame: Frame, decl: DefDecl, types: Sequence[TensorType | None]) -> None:
    """Every dim's size must follow from the arguments' shapes."""
    pending = [d for t in types if t is not None for d in t.shape]
    known: set[str] = set()
    while True:
        solved = {
            n
            for d in pending
            for n in d.names - known
            if len(d.names - known) == 1 and _linear(d, n)
        }
        if not solved:
            break
        known |= solved
    for name in frame.dims:
        if name not in known and any(name in d.names for d in pending):
            frame.error(
                "E0513",
                f"the size `{name}` does not follow from the arguments' shapes",
                frame.sizes.bound_at[name],
                f"some parameter's type must have `{name}` as a dim of its own",
            )


def _linear(d: Dim, name: str) -> bool:
    inside = [m for m, _ in d.terms if any(name == a or _holds(a, name) for a in m)]
    return inside == [(name,)]


def _holds(atom: str | FloorDiv, name: str) -> bool:
    return isinstance(atom, FloorDiv) and name in atom.numerator.names


# --------------------------------------------------------------------------- arguments


def unify(
    wanted: Sequence[Sequence[Dim]], given: Sequence[Sequence[Dim]]
) -> tuple[dict[str, Dim], set[str]]:
    """Sizes for the names in `wanted` so that it equals `given`, where that is possible: names
    that stand alone first, then those that follow linearly. Also the names left open."""
    pairs = [p for w, g in zip(wanted, given, strict=True) for p in zip(w, g, strict=True)]
    env: dict[str, Dim] = {}
    for want, got in pairs:
        if len(want.terms) == 1 and len(want.names) == 1 and str(want) in want.names:
            env.setdefault(str(want), got)
    progress = True
    while progress:
        progress = False
        for want, got in pairs:
            open_names = want.names - env.keys()
            if len(open_names) == 1:
                (name,) = open_names
                value = _solve(want, got, name, env)
                if value is not None:
                    env[name] = value
                    progress = True
    every = {n for want, _ in pairs for n in want.names}
    return env, every - env.keys()


def _solve(want: Dim, got: Dim, name: str, env: Mapping[str, Dim]) -> Dim | None:
    """`name` such that `want == got`, where `want` is `c*name + rest`, c an integer."""
    if not _linear(want, name):
        return None
    slope = next(c for m, c in want.terms if m == (name,))
    rest = Dim(tuple(t for t in want.terms if t[0] != (name,))).substitute(env)
    left = got - rest
    if any(c % slope for _, c in left.terms):
        return None
    return Dim(tuple((m, c // slope) for m, c in left.terms))


def fit_dtype(x: IndexLambda, dtype: DType) -> IndexLambda | None:
    """`x` in `dtype` where that needs no conversion of a strong type; else None."""
    if x.dtype is dtype:
        return x
    if not x.dtype.is_weak or (x.dtype.is_float and not dtype.is_float) or dtype.is_bool:
        return None
    return IndexLambda(x.shape, sc.convert(x.body, dtype))


def dtype_hint(x: IndexLambda, dtype: DType) -> str:
    if x.dtype.is_float and dtype.is_integer:
        return f"`{dtype}(…)` truncates it to an integer"
    return f"`{dtype}(…)` converts it"


def annotated(
    frame: Frame, x: IndexLambda, t: TypeExpr, span: Span, what: str
) -> IndexLambda | None:
    """`x` as a value of the stated type; an error shows both types. `what` begins its sentence:
    "`d` is", "`f` returns"."""
    stated = tensor_type(frame, t)
    if stated is None:
        return None
    fitted = fit_dtype(x, stated.dtype)
    if fitted is not None and fitted.shape == stated.shape:
        return fitted
    return frame.error(
        "E0404" if fitted is None else "E0515",
        f"{what} {il.type_text(x)}, but the annotation says {stated}",
        span,
        dtype_hint(x, stated.dtype) if fitted is None else None,
        (Note(f"declared {stated} here", t.span), *frame.dim_notes(stated.shape, x.shape)),
    )
