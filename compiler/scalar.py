"""Scalar expressions: the bodies of comprehensions and of scalar functions.

In: constants, index values, reads of tensors, applied by `op` (typed) and `call`. Out: interned,
immutable trees that share subexpressions, so that equality is `is` and a tree is a let-list
without repetition. Left to others: what a primitive means (`primitives`), how a tree is built
from text (`formula`) or printed (`text`).

    Const   a number                       Affine  c0 + c1*i1 + …, sizes allowed as coefficients
    Param   argument of a scalar function  Read    T[index, …]
    Op      primitive(args)                Call    scalar function(args)
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, reduce
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from .dims import Dim, dim
from .dtypes import (
    BOOL,
    DEFAULT_FLOAT,
    DEFAULT_INT,
    REAL,
    WEAK_FLOAT,
    WEAK_INT,
    DType,
    promote,
)
from .errors import OpError
from .primitives import PRIMITIVES, Typing
from .records import dataclass, field

if TYPE_CHECKING:
    from .graph import Node


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Const:
    value: int | float | bool
    dtype: DType

    def __repr__(self) -> str:
        return _shown(self, _SHOWN)


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Affine:
    """`const + Σ coefficient·index`; an integer. Indices are numbers of the enclosing
    comprehension's extents. Without terms it is a size."""

    terms: tuple[tuple[int, Dim], ...]
    const: Dim
    dtype: DType = WEAK_INT

    def __repr__(self) -> str:
        return _shown(self, _SHOWN)


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Param:
    position: int
    dtype: DType = REAL

    def __repr__(self) -> str:
        return _shown(self, _SHOWN)


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Read:
    """`tensor[indices]`, one index per dim; an index that reads a tensor is a gather."""

    tensor: Node
    indices: tuple[Scalar, ...]
    dtype: DType

    def __repr__(self) -> str:
        return _shown(self, _SHOWN)


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Op:
    name: str
    args: tuple[Scalar, ...]
    dtype: DType

    def __repr__(self) -> str:
        return _shown(self, _SHOWN)


@dataclass(frozen=True, eq=False, repr=False, slots=True, weakref_slot=True)
class Call:
    function: ScalarFunction
    args: tuple[Scalar, ...]
    dtype: DType

    def __repr__(self) -> str:
        return _shown(self, _SHOWN)


Scalar = Const | Affine | Param | Read | Op | Call


@dataclass(frozen=True, eq=False)
class ScalarFunction:
    """`fn name(params) = body`. `partials` are derivatives that the row or the user states, by
    parameter; the rest is derived when asked for (`derivative.partial`)."""

    name: str
    params: tuple[str, ...]
    body: Scalar
    partials: Mapping[int, Scalar] = field(default_factory=dict)
    builtin: bool = False  # a row of the operator table: known to every program by its name


_SHOWN = 6  # levels of a tree that its repr shows


def _shown(x: Scalar, levels: int) -> str:
    """For debugging: `add(x[i0], 1.0)`. Programs are printed by `text`."""
    if levels == 0:
        return "…"
    match x:
        case Const():
            return repr(x.value)
        case Affine():
            parts = [f"{c}*i{k}" if c.const != 1 else f"i{k}" for k, c in x.terms]
            return " + ".join([*parts, *([str(x.const)] if x.const.terms or not parts else [])])
        case Param():
            return f"p{x.position}"
        case Read():
            at = ", ".join(_shown(i, levels - 1) for i in x.indices)
            return f"{getattr(x.tensor, 'name', None) or 'node'}[{at}]"
        case Op() | Call():
            name = x.name if isinstance(x, Op) else x.function.name
            return f"{name}({', '.join(_shown(a, levels - 1) for a in x.args)})"


# --------------------------------------------------------------------------- interning

_table: WeakValueDictionary[Any, Any] = WeakValueDictionary()


def _interned(key: tuple[Any, ...], make: Callable[[], Any]) -> Any:
    found = _table.get(key)
    if found is None:
        found = make()
        _table[key] = found
    return found


def const(value: int | float | bool, dtype: DType | None = None) -> Const:
    """A literal: weak unless `dtype` says otherwise. Bits decide identity (−0 and NaN too)."""
    if dtype is None:
        dtype = (
            BOOL if isinstance(value, bool) else WEAK_INT if isinstance(value, int) else WEAK_FLOAT
        )
    if dtype.is_float:
        value = float(value)
        bits: Any = struct.pack("d", value)
    else:
        value = bool(value) if dtype.is_bool else int(value)
        bits = value
    out: Const = _interned((Const, bits, dtype), lambda: Const(value, dtype))
    return out


def affine(terms: Mapping[int, Dim], constant: Dim | int = 0) -> Affine:
    kept = tuple((k, c) for k, c in sorted(terms.items()) if c.terms)
    base = dim(constant)
    out: Affine = _interned((Affine, kept, base), lambda: Affine(kept, base))
    return out


@cache
def index(k: int) -> Affine:
    """The value of index number `k`."""
    return affine({k: dim(1)})


def size(d: Dim | int) -> Affine:
    return affine({}, d)


def param(position: int) -> Param:
    out: Param = _interned((Param, position), lambda: Param(position))
    return out


def read(tensor: Node, indices: Sequence[Scalar]) -> Read:
    at = tuple(size(int(i.value)) if isinstance(i, Const) else i for i in indices)
    if len(at) != len(tensor.shape):
        raise ValueError(f"{len(at)} indices for a tensor of rank {len(tensor.shape)}")
    out: Read = _interned((Read, tensor, at), lambda: Read(tensor, at, tensor.dtype))
    return out


def call(function: ScalarFunction, args: Sequence[Scalar]) -> Call:
    """Apply a scalar function; its type is that of its body at these arguments."""
    given = tuple(args)
    key = (Call, function, given)
    found: Call | None = _table.get(key)
    if found is None:
        found = Call(function, given, instantiate(function, given).dtype)
        _table[key] = found
    return found


# --------------------------------------------------------------------------- typed application


def op(name: str, *args: Scalar) -> Scalar:
    """Apply a primitive: promote the arguments as its row says and type the result.

    Index arithmetic stays affine, and the sign of a literal belongs to the literal; nothing else
    is simplified here.
    """
    row = PRIMITIVES[name]
    if len(args) != row.arity:
        raise ValueError(f"{name} takes {row.arity} arguments, not {len(args)}")
    folded = _index_arithmetic(name, args)
    if folded is not None:
        return folded
    if name == "neg" and isinstance(args[0], Const) and not args[0].dtype.is_bool:
        return const(-args[0].value, args[0].dtype)
    match row.typing:
        case Typing.ARITHMETIC:
            common = _common(args)
            common = DEFAULT_INT if common.is_bool else common
            return _apply(name, [convert(a, common) for a in args], common)
        case Typing.SAME:
            common = _common(args)
            return _apply(name, [convert(a, common) for a in args], common)
        case Typing.FLOAT:
            common = _float(_common(args))
            return _apply(name, [convert(a, common) for a in args], common)
        case Typing.BITS | Typing.SHIFT:
            common = _of_bits(name, args, shift=row.typing is Typing.SHIFT)
            return _apply(name, [convert(a, common) for a in args], common)
        case Typing.TEST:
            common = _float(_common(args))
            return _apply(name, [convert(a, common) for a in args], BOOL)
        case Typing.COMPARE:
            common = _common(args)
            return _apply(name, [convert(a, common) for a in args], BOOL)
        case Typing.LOGIC:
            return _apply(name, [truth(a) for a in args], BOOL)
        case Typing.WHERE:
            common = _common(args[1:])
            then, other = (convert(a, common) for a in args[1:])
            return _apply(name, [truth(args[0]), then, other], common)
        case Typing.CAST:
            raise ValueError("a cast states its dtype: use `cast`")


def cast(x: Scalar, dtype: DType) -> Scalar:
    """`x` in another dtype, as the user asks for it (`f64(x)`)."""
    if x.dtype is dtype:
        return x
    if x.dtype.is_weak:
        return convert(x, dtype)
    return _apply("cast", [x], dtype)


def convert(x: Scalar, dtype: DType) -> Scalar:
    """`x` as an operand of type `dtype`: a weak expression takes the type on, literal by literal;
    integers computed from indices stay integers until the end."""
    if x.dtype is dtype or (dtype is REAL and x.dtype.is_weak):
        return x
    match x:
        case Const() if x.dtype.is_weak:
            return (
                const(x.value, dtype) if dtype.is_float or not x.dtype.is_float else _cast(x, dtype)
            )
        case Affine() if not x.terms and x.const.const is not None:
            return const(x.const.const, dtype)  # a known size is the literal that prints it
        case Op("where", (test, then, other)) if x.dtype.is_weak and dtype.is_float:
            return op("where", test, convert(then, dtype), convert(other, dtype))
        case Op("cast", (inner,)) if x.dtype is WEAK_FLOAT and dtype.is_float:
            return convert(inner, dtype)
        case Op() if x.dtype is WEAK_FLOAT and dtype.is_float:
            return op(x.name, *(convert(a, dtype) for a in x.args))
        case Call() if x.dtype is WEAK_FLOAT and dtype.is_float:
            if all(a.dtype.is_weak for a in x.args):
                out = call(x.function, [convert(a, dtype) for a in x.args])
                if out.dtype is dtype:
                    return out
            return _cast(x, dtype)  # a function like `1.0 if x > 0 else 0.0`
        case _:
            return _cast(x, dtype)


def truth(x: Scalar) -> Scalar:
    """`x` as a condition."""
    if x.dtype.is_bool:
        return x
    if isinstance(x, Const):
        return const(bool(x.value), BOOL)
    return op("ne", x, const(0))


def settle(x: Scalar) -> Scalar:
    """Give a weak expression its default dtype."""
    if x.dtype is REAL or not x.dtype.is_weak:
        return x
    return convert(x, DEFAULT_FLOAT if x.dtype.is_float else DEFAULT_INT)


def _cast(x: Scalar, dtype: DType) -> Scalar:
    return _apply("cast", [x], dtype)


def _apply(name: str, args: Iterable[Scalar], dtype: DType) -> Op:
    given = tuple(args)
    out: Op = _interned((Op, name, given, dtype), lambda: Op(name, given, dtype))
    return out


def _common(args: Sequence[Scalar]) -> DType:
    return reduce(promote, (a.dtype for a in args))


def _float(d: DType) -> DType:
    return d if d.is_float else WEAK_FLOAT if d is WEAK_INT else DEFAULT_FLOAT


def _of_bits(name: str, args: Sequence[Scalar], shift: bool) -> DType:
    """Of an operation on bits; a scalar function's parameters have any dtype until it is called."""
    common = _common(args)
    if common is not REAL and (common.is_float or (shift and common.is_bool)):
        kinds = "integers" if shift else "integers or bools"
        shown = " and ".join(str(a.dtype) for a in args)
        raise OpError("E0402", f"{name} takes {kinds}, got {shown}")
    return common


def _index_arithmetic(name: str, args: Sequence[Scalar]) -> Scalar | None:
    """`i + 1`, `n - 2*i`, `n // 2`: kept as one Affine. Literals alone are left alone."""
    if not any(isinstance(a, Affine) for a in args):
        return None
    forms = [as_affine(a) for a in args]
    if any(f is None for f in forms):
        return None
    x, y = forms[0], forms[-1]
    assert x is not None and y is not None
    match name:
        case "add":
            return _plus(x, y, 1)
        case "sub":
            return _plus(x, y, -1)
        case "neg":
            return _plus(size(0), x, -1)
        case "mul" if not x.terms:
            return affine({k: c * x.const for k, c in y.terms}, y.const * x.const)
        case "mul" if not y.terms:
            return affine({k: c * y.const for k, c in x.terms}, x.const * y.const)
        case "floordiv" if not x.terms and not y.terms:
            divisor = y.const.const
            return size(x.const // divisor) if divisor is not None and divisor > 0 else None
        case _:
            return None


def _plus(x: Affine, y: Affine, sign: int) -> Affine:
    terms = dict(x.terms)
    for k, c in y.terms:
        terms[k] = terms.get(k, dim(0)) + c * sign
    return affine(terms, x.const + y.const * sign)


def as_affine(x: Scalar) -> Affine | None:
    """`x` as an affine form, if it is one (an integer literal counts)."""
    if isinstance(x, Affine):
        return x
    if isinstance(x, Const) and x.dtype is WEAK_INT:
        return size(int(x.value))
    return None


# --------------------------------------------------------------------------- traversal


def children(x: Scalar) -> tuple[Scalar, ...]:
    kind = type(x)
    if kind is Op or kind is Call:
        return x.args  # type: ignore[union-attr]  # asked for everywhere: three times as fast
    return x.indices if kind is Read else ()  # type: ignore[union-attr]


def with_children(x: Scalar, new: Sequence[Scalar]) -> Scalar:
    """`x` over other children, typed anew."""
    match x:
        case Read():
            return read(x.tensor, new)
        case Op("cast"):
            return cast(new[0], x.dtype)
        case Op():
            return op(x.name, *new)
        case Call():
            return call(x.function, new)
        case _:
            return x


def postorder(roots: Iterable[Scalar]) -> Iterator[Scalar]:
    """Every distinct subexpression once, children first (no recursion: bodies may be deep)."""
    seen: set[Scalar] = set()
    for root in roots:
        stack: list[tuple[Scalar, bool]] = [(root, False)]
        while stack:
            x, expanded = stack.pop()
            if expanded:
                yield x
            elif x not in seen:
                seen.add(x)
                if below := children(x):
                    stack.append((x, True))
                    stack += [(c, False) for c in reversed(below) if c not in seen]
                else:
                    yield x


def rewrite(root: Scalar, rule: Callable[[Scalar], Scalar]) -> Scalar:
    """Rebuild bottom-up: `rule` sees every node with its children already rewritten."""
    done: dict[Scalar, Scalar] = {}
    order: list[tuple[Scalar, bool]] = [(root, False)]
    while order:
        x, expanded = order.pop()
        if x in done:
            continue
        kids = children(x)
        if not expanded and kids:
            order.append((x, True))
            order.extend((c, False) for c in kids if c not in done)
            continue
        new = [done[c] for c in kids]
        same = all(a is b for a, b in zip(new, kids, strict=True))
        done[x] = rule(x if same else with_children(x, new))
    return done[root]


def substitute_indices(root: Scalar, at: Mapping[int, Scalar]) -> Scalar:
    """Replace index numbers by expressions (affine ones keep the result affine)."""
    at = {k: x for k, x in at.items() if x is not index(k)}
    if not at:
        return root

    def rule(x: Scalar) -> Scalar:
        if not isinstance(x, Affine) or not any(k in at for k, _ in x.terms):
            return x
        kept = affine({k: c for k, c in x.terms if k not in at}, x.const)
        total: Scalar | None = kept if kept.terms or kept.const.terms else None
        for k, c in x.terms:
            if k in at:
                term = op("mul", size(c), at[k]) if c.const != 1 else at[k]
                total = term if total is None else op("add", total, term)
        return size(0) if total is None else total

    return rewrite(root, rule)


def substitute_params(root: Scalar, args: Sequence[Scalar]) -> Scalar:
    return rewrite(root, lambda x: args[x.position] if isinstance(x, Param) else x)


def instantiate(function: ScalarFunction, args: Sequence[Scalar]) -> Scalar:
    """The body of `function` at `args`, typed by them."""
    return substitute_params(function.body, args)


def inline_calls(root: Scalar) -> Scalar:
    """`root` with every scalar function replaced by its body: primitives only."""

    def rule(x: Scalar) -> Scalar:
        return inline_calls(instantiate(x.function, x.args)) if isinstance(x, Call) else x

    return rewrite(root, rule)


def reads(roots: Iterable[Scalar]) -> list[Read]:
    return [x for x in postorder(roots) if isinstance(x, Read)]


def indices_of(root: Scalar) -> frozenset[int]:
    """The index numbers on which `root` depends."""
    return frozenset(k for x in postorder([root]) if isinstance(x, Affine) for k, _ in x.terms)


def is_literal(x: Scalar, value: float) -> bool:
    """Whether `x` is the number `value` (a size counts)."""
    if isinstance(x, Const):
        return not math.isnan(float(x.value)) and float(x.value) == value
    return isinstance(x, Affine) and not x.terms and x.const.const == value


def is_false(x: Scalar) -> bool:
    return isinstance(x, Const) and x.dtype.is_bool and not x.value
