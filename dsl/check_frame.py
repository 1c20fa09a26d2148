"""What the checker knows while it reads one body: names, dims, facts, and what to report.

In: a declaration that is being checked, on its own or at a call. Out: a `Frame`, in which names
are looked up, sizes are compared, and errors are collected. Expressions are read elsewhere
(check_values), and hand back a `Value`: a tensor as an index lambda, a tuple, a string, or None,
which marks an expression whose error has been reported already: whatever meets it stays silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol, TypeVar

from ..compiler import index_lambda as il
from ..compiler import scalar as sc
from ..compiler.dims import Dim, FloorDiv, dim, provably_nonnegative
from ..compiler.errors import Diagnostic, Note
from ..compiler.graph import Requirement, Scope
from ..compiler.index_lambda import IndexLambda, OpError
from ..compiler.records import dataclass, field
from ..compiler.scalar import ScalarFunction
from ..compiler.span import Span
from .syntax import DefDecl, Expr, Module

if TYPE_CHECKING:
    from .check_indices import Indices

T = TypeVar("T")
Value = IndexLambda | tuple["Value", ...] | str | None


@dataclass(frozen=True)
class Constant:
    """A checked `const`: a Python number, weakly typed wherever it is used."""

    value: int | float | bool


@dataclass(frozen=True)
class TensorFunction:
    """A `def` and the file whose names its body sees."""

    decl: DefDecl
    module: Module


@dataclass(frozen=True)
class Broken:
    """A declaration with errors, which have been reported."""


Symbol = Constant | ScalarFunction | TensorFunction | Broken


class Linker(Protocol):
    """The files of a program, as far as a body needs them."""

    def symbol(self, module: Module, name: str, span: Span) -> Symbol | None:
        """What `name` stands for in `module`; None where nothing declares it."""

    def declared(self, module: Module) -> Iterable[str]:
        """The names that `module` declares or imports."""

    def inline(
        self, frame: Frame, callee: TensorFunction, args: Sequence[IndexLambda], call: InlinedCall
    ) -> Value:
        """The value of `callee` at `args`, its body read again."""


@dataclass(frozen=True)
class InlinedCall:
    """Where a `def` is called: the name's and the call's spans, and one span per argument."""

    span: Span
    args: tuple[Span, ...]


class Report:
    """The diagnostics of a program, each once."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, Span, str], Diagnostic] = {}

    def add(self, d: Diagnostic) -> None:
        self._found.setdefault((d.code, d.span, d.message), d)

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.sorted() if not d.is_warning]

    @property
    def warnings(self) -> list[Diagnostic]:
        return [d for d in self.sorted() if d.is_warning]

    def sorted(self) -> list[Diagnostic]:
        found = self._found.values()
        return sorted(found, key=lambda d: (d.span.path, d.span.line, d.span.column))


@dataclass
class Local:
    """A name in a body. Parameters and names with a leading underscore count as used."""

    value: Value
    span: Span
    used: bool


@dataclass
class Sizes:
    """What is known of the sizes of the function that is being compiled: where each named dim was
    bound, and dims that are at least 0 because some tensor has them. Calls share their caller's."""

    bound_at: dict[str, Span] = field(default_factory=dict)
    facts: list[Dim] = field(default_factory=list)
    requirements: dict[Dim, Requirement] = field(default_factory=dict)
    calls: int = 0

    def proven(self, d: Dim) -> bool:
        """Whether `d >= 0` whenever the function's arguments fit its signature."""
        if provably_nonnegative(d):
            return True
        lower = least_without_floors(d)
        known = (*self.facts, *self.requirements)
        return provably_nonnegative(lower) or any(provably_nonnegative(lower - f) for f in known)


@dataclass
class Frame:
    """One body. `dims` maps the names in its signature to sizes of the function that is compiled;
    `evaluate` reads an expression (check_values.evaluate, bound here because expressions,
    subscripts and calls contain each other)."""

    name: str
    module: Module
    linker: Linker
    report: Report
    scope: Scope
    sizes: Sizes
    evaluate: Callable[[Frame, Expr, Indices | None], Value]
    dims: dict[str, Dim] = field(default_factory=dict)
    locals: dict[str, Local] = field(default_factory=dict)
    scalar: bool = False  # the body of an `fn`, or a `const`: no tensors
    call: InlinedCall | None = None  # where this body is inlined
    arguments: tuple[IndexLambda, ...] = ()
    variables: frozenset[str] = frozenset()  # the names by which a gradient is taken

    def operand(self, e: Expr, ix: Indices | None) -> IndexLambda | None:
        """The value of `e`, which must be a tensor or a scalar."""
        value = self.evaluate(self, e, ix)
        if value is None or isinstance(value, IndexLambda):
            return value
        return self.error("E0406", f"expected a tensor or a scalar, got {kind_of(value)}", e.span)

    # ------------------------------------------------------------------------- reporting

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        hint: str | None = None,
        notes: Sequence[Note] = (),
    ) -> T | None:
        """Report an error; the value is None, which marks what has been reported."""
        if self.call is not None:
            notes = (*notes, Note("in this call", self.call.span))
        self.report.add(Diagnostic(code, message, span, hint, tuple(notes)))
        return None

    def warn(self, code: str, message: str, span: Span, hint: str | None = None) -> None:
        if self.call is None:  # a callee's own check has warned already
            self.report.add(Diagnostic(code, message, span, hint))

    def op_error(
        self, e: OpError, span: Span, operands: Iterable[tuple[str, Value, Span]]
    ) -> T | None:
        """An operator's refusal, with its operands' types and where their dims were bound."""
        shown = list(operands)
        notes = [
            Note(f"{label} is {il.type_text(v)}", at)
            for label, v, at in shown
            if isinstance(v, IndexLambda)
        ]
        shapes = [v.shape for _, v, _ in shown if isinstance(v, IndexLambda)]
        return self.error(e.code, e.message, span, e.hint, (*notes, *self.dim_notes(*shapes)))

    def dim_notes(self, *shapes: Sequence[Dim]) -> tuple[Note, ...]:
        """Where the named dims of `shapes` were bound."""
        names = {n: None for shape in shapes for d in shape for n in sorted(d.names)}
        bound = self.sizes.bound_at
        return tuple(Note(f"`{n}` is bound here", bound[n]) for n in names if n in bound)

    # ------------------------------------------------------------------------- sizes

    def require(
        self, d: Dim, what: str, span: Span, *, never: str | None = None, code: str = "E0509"
    ) -> bool:
        """Make sure that `d >= 0`: proved now, refused now (`never` says why it cannot hold), or
        checked at every call."""
        if self.sizes.proven(d):
            return True
        if provably_nonnegative(-d - 1):
            why = never if never is not None else f"{what} reaches {-d} too far"
            self.error(code, why, span, None, self.dim_notes((d,)))
            return False
        message = f"{what} needs {relation(d)}"
        self.sizes.requirements.setdefault(d, Requirement(d, message, span))
        return True


def least_without_floors(d: Dim) -> Dim:
    """A lower bound of `d` in which `c*(a//c)` is gone: at most `a`, at least `a - (c - 1)`."""
    total = dim(0)
    for mono, c in d.terms:
        match mono:
            case (FloorDiv(a, divisor),) if c % divisor == 0:
                bound = a if c < 0 else a - (divisor - 1)
                total = total + bound * (c // divisor)
            case _:
                total = total + Dim(((mono, c),))
    return total


def relation(d: Dim) -> str:
    """`d >= 0` with every term on the side where it is positive: `n >= 5`."""
    left = Dim(tuple((m, c) for m, c in d.terms if c > 0))
    right = Dim(tuple((m, -c) for m, c in d.terms if c < 0))
    return f"{left} >= {right}"


def static_number(x: Value) -> int | float | bool | None:
    """The number that `x` is, where it depends on no argument and no size."""
    if not isinstance(x, IndexLambda) or x.shape:
        return None
    match x.body:
        case sc.Const(value):
            return value
        case sc.Affine(terms=(), const=size):
            return size.const
        case sc.Op("add" | "sub" | "mul" | "neg" | "floordiv" as name, args) if x.dtype.is_weak:
            given = [static_number(IndexLambda((), a)) for a in args]
            numbers = [g for g in given if g is not None]
            if len(numbers) < len(given):
                return None
            return _arithmetic(name, numbers)
        case _:
            return None


def _arithmetic(name: str, args: Sequence[int | float]) -> int | float | None:
    match name, args:
        case "neg", [a]:
            return -a
        case "add", [a, b]:
            return a + b
        case "sub", [a, b]:
            return a - b
        case "mul", [a, b]:
            return a * b
        case "floordiv", [a, b] if b != 0:
            return a // b
        case _:
            return None


def static_int(x: Value) -> int | None:
    value = static_number(x)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def static_size(x: Value) -> Dim | None:
    """`x` as a size: an integer expression of dims and literals."""
    if not isinstance(x, IndexLambda) or x.shape:
        return None
    if isinstance(x.body, sc.Affine) and not x.body.terms:
        return x.body.const
    value = static_int(x)
    return None if value is None else sc.size(value).const


def kind_of(x: Value) -> str:
    """What a value is, for messages."""
    match x:
        case tuple():
            return f"a tuple of {len(x)} values"
        case str():
            return "a string"
        case IndexLambda():
            number = static_number(x)
            return il.type_text(x) if number is None else f"the literal {number}"
        case _:
            return "an error"
