"""Derivatives of scalar functions, as SymPy writes them.

In: a `ScalarFunction` and a parameter. Out: its partial derivative as a scalar tree over the same
parameters, often a call of a function of its own (`gelu_dx`), cached on the function.

SymPy sees one small formula at a time: arithmetic as such, every other primitive as an opaque
function whose derivative its row states, so that nothing is rewritten into a less stable form. A
conditional is differentiated branch by branch here, around SymPy; a body too large for SymPy
goes by the chain rule over its shared subexpressions. The chain rule between functions lives on
the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

from . import canonical, fold, primitives
from . import scalar as sc
from .facts import last_number
from .formula import formula
from .ops import scalar_function
from .primitives import PRIMITIVES
from .scalar import Scalar, ScalarFunction, is_literal

_INLINE = 4  # a derivative of at most so many operations is written in place, not called
_SYMPY_LIMIT = 60  # operations, counted as a tree: beyond it SymPy's expressions swell

_stated: WeakKeyDictionary[ScalarFunction, dict[int, Scalar]] = WeakKeyDictionary()
#: Derived ones by the body and the names: a file that is read again finds them.
_derived: WeakKeyDictionary[Scalar, dict[tuple[object, ...], Scalar]] = WeakKeyDictionary()


def partial(function: ScalarFunction, position: int) -> Scalar:
    """∂function/∂params[position], over the function's parameters."""
    if position in function.partials:
        known = _stated.setdefault(function, {})
        if position not in known:
            known[position] = _as_function(function, position, function.partials[position])
        return known[position]
    found = _derived.setdefault(function.body, {})
    key = function.name, function.params, position
    if key not in found:
        found[key] = _as_function(function, position, _derive(function.body, position))
    return found[key]


def _as_function(function: ScalarFunction, position: int, body: Scalar) -> Scalar:
    if tree_size(body, _INLINE + 1) <= _INLINE:
        return body
    name = f"{function.name}_d{function.params[position]}"
    derived = ScalarFunction(name, function.params, body)
    return sc.call(derived, [sc.param(k) for k in range(len(function.params))])


def primitive_partial(x: sc.Op, position: int) -> Scalar:
    """The row's derivative formula at `x`."""
    row = PRIMITIVES[x.name]
    names: dict[str, Scalar] = dict(zip("xyz", x.args, strict=False))
    names["out"] = x
    return formula(row.derivative[position], names, scalar_function)


def call_partial(x: sc.Call, position: int) -> Scalar:
    return sc.substitute_params(partial(x.function, position), x.args)


def local_partial(x: sc.Op | sc.Call, position: int) -> Scalar:
    return primitive_partial(x, position) if isinstance(x, sc.Op) else call_partial(x, position)


def is_singular(x: sc.Op | sc.Call) -> bool:
    """Whether the local derivative can be infinite at a point of the domain."""
    if isinstance(x, sc.Op):
        return primitives.is_singular(x.name, last_number(x))
    if x.function.partials:
        return False  # a stated derivative is written to be finite
    return any(
        isinstance(n, sc.Op | sc.Call) and is_singular(n) for n in sc.postorder([x.function.body])
    )


def tree_size(root: Scalar, limit: int) -> int:
    """Operations in `root` written out as a tree, counted up to `limit`."""
    count, stack = 0, [root]
    while stack and count < limit:
        x = stack.pop()
        count += isinstance(x, sc.Op | sc.Call)
        stack.extend(sc.children(x))
    return count


# --------------------------------------------------------------------------- one formula


def _derive(root: Scalar, position: int) -> Scalar:
    """d root / d Param(position), over the shared subexpressions of `root`."""
    target = sc.param(position)
    done: dict[Scalar, Scalar] = {}
    active: set[Scalar] = set()
    conditional: set[Scalar] = set()
    for x in sc.postorder([root]):
        kids = sc.children(x)
        if x is target or any(c in active for c in kids):
            active.add(x)
        if (isinstance(x, sc.Op) and x.name == "where") or any(c in conditional for c in kids):
            conditional.add(x)
        if x not in active:
            done[x] = sc.const(0.0)
        elif x is target:
            done[x] = sc.const(1.0)
        elif isinstance(x, sc.Op) and x.name == "where":
            test, then, other = x.args
            done[x] = fold.choose(test, *(_of(b, done, position) for b in (then, other)))
        elif x not in conditional and tree_size(x, _SYMPY_LIMIT) < _SYMPY_LIMIT:
            continue  # inside a smooth region: SymPy takes the whole of it
        else:
            done[x] = _chain(x, lambda c: _of(c, done, position))
    return _of(root, done, position)


def _of(x: Scalar, done: dict[Scalar, Scalar], position: int) -> Scalar:
    if x not in done:
        done[x] = _by_sympy(x, position)
    return done[x]


def _chain(x: Scalar, derivative_of: Callable[[Scalar], Scalar]) -> Scalar:
    total: Scalar = sc.const(0.0)
    assert isinstance(x, sc.Op | sc.Call)
    for k, argument in enumerate(x.args):
        inner = derivative_of(argument)
        if not is_literal(inner, 0):
            total = fold.plus(total, _scaled(inner, local_partial(x, k)))
    return total


def _scaled(inner: Scalar, factor: Scalar) -> Scalar:
    """`inner * factor`, a conditional's branches each on their own (the guard stays last)."""
    match inner:
        case sc.Op("where", (test, then, other)):
            return fold.choose(test, _scaled(then, factor), _scaled(other, factor))
    return fold.times(inner, factor)


def _by_sympy(x: Scalar, position: int) -> Scalar:
    """The derivative of one formula in SymPy's form; SymPy itself only where `canonical`, which
    is imported 50 times faster, does not know its rules."""
    try:
        return differentiated(x, position, Canonical())
    except (canonical.BeyondError, ArithmeticError):
        return differentiated(x, position, SymPy())


def differentiated(x: Scalar, position: int, algebra: Canonical | SymPy) -> Scalar:
    """d x / d Param(position), `algebra` differentiating."""
    bridge = _Bridge(algebra)
    expression = bridge.to_algebra(x)
    return bridge.from_algebra(expression.diff(bridge.to_algebra(sc.param(position))))


class Canonical:
    """SymPy's rules for sums, products, integer powers and opaque functions."""

    number = staticmethod(canonical.number)
    symbol = staticmethod(canonical.symbol)

    def __init__(self) -> None:
        self.names: set[str] = set()

    def function(self, name: str, derivative: Callable[[Any, int], Any]) -> Any:
        if name in self.names:
            raise canonical.BeyondError  # two functions of one name
        self.names.add(name)
        return canonical.Head(name, derivative)


class SymPy:
    """SymPy."""

    def __init__(self) -> None:
        import sympy  # 0.3 s

        self.sympy: Any = sympy

    def number(self, value: float) -> Any:
        return self.sympy.Integer(value) if isinstance(value, int) else self.sympy.Float(value)

    def symbol(self, name: str) -> Any:
        return self.sympy.Symbol(name, real=True)

    def function(self, name: str, derivative: Callable[[Any, int], Any]) -> Any:
        def fdiff(self: Any, argindex: int = 1) -> Any:
            return derivative(self.args, argindex - 1)

        return type(name, (self.sympy.Function,), {"fdiff": fdiff, "is_real": True})


class _Bridge:
    """Between scalar trees and an algebra: subexpressions that are not arithmetic are opaque."""

    def __init__(self, algebra: Canonical | SymPy) -> None:
        self.algebra = algebra
        self.functions: dict[Any, Any] = {}
        self.heads: dict[Any, Any] = {}
        self.leaves: dict[Any, Scalar] = {}

    def to_algebra(self, root: Scalar) -> Any:
        done: dict[Scalar, Any] = {}
        for x in sc.postorder([root]):
            done[x] = self.one(x, [done[c] for c in sc.children(x)])
        return done[root]

    def one(self, x: Scalar, args: list[Any]) -> Any:
        match x:
            case sc.Const() if not x.dtype.is_bool:
                value = x.value
                whole = isinstance(value, int) or float(value).is_integer()
                return self.algebra.number(int(value) if whole else float(value))
            case sc.Op("add"):
                return args[0] + args[1]
            case sc.Op("sub"):
                return args[0] - args[1]
            case sc.Op("mul"):
                return args[0] * args[1]
            case sc.Op("div"):
                return args[0] / args[1]
            case sc.Op("neg"):
                return -args[0]
            case sc.Op("pow") if args[1].is_Integer:
                return args[0] ** args[1]
            case sc.Op() | sc.Call():
                return self.head(x)(*args)
            case _:
                symbol = self.algebra.symbol(f"v{len(self.leaves)}")
                for known, leaf in self.leaves.items():
                    if leaf is x:
                        return known
                self.leaves[symbol] = x
                return symbol

    def head(self, x: sc.Op | sc.Call) -> Any:
        """An opaque function for a primitive or a scalar function."""
        key = x.name if isinstance(x, sc.Op) else x.function
        if key not in self.functions:

            def derivative(args: Any, k: int) -> Any:
                here = self.apply(key, [self.from_algebra(a) for a in args])
                assert isinstance(here, sc.Op | sc.Call)
                return self.to_algebra(local_partial(here, k))

            made = self.algebra.function(key if isinstance(key, str) else key.name, derivative)
            self.functions[key] = made
            self.heads[made] = key
        return self.functions[key]

    def apply(self, key: Any, args: list[Scalar]) -> Scalar:
        return sc.op(key, *args) if isinstance(key, str) else sc.call(key, args)

    def from_algebra(self, e: Any) -> Scalar:
        if e in self.leaves:
            return self.leaves[e]
        if e.is_Rational and not e.is_Integer:
            return sc.op("div", sc.const(int(e.p)), sc.const(int(e.q)))
        if e.is_Integer:
            return sc.const(float(int(e)))
        if e.is_Float:
            return sc.const(float(e))
        if e.is_Add:
            # positive terms first, so that the sum starts without a sign
            terms = sorted(e.args, key=lambda t: t.could_extract_minus_sign())
            total = self.from_algebra(terms[0])
            for t in terms[1:]:
                total = fold.plus(total, self.from_algebra(t))
            return total
        if e.is_Mul:
            return self.product(e)
        if e.is_Pow and e.exp.is_Integer:
            return self.power(e.base, int(e.exp))
        if e.is_Function:
            return self.apply(self.heads[e.func], [self.from_algebra(a) for a in e.args])
        raise ValueError(f"no scalar form of {e}")

    def product(self, e: Any) -> Scalar:
        number, factors = e.as_coeff_mul()
        above: Scalar = self.from_algebra(abs(number))
        below: Scalar = sc.const(1.0)
        for f in factors:
            if f.is_Pow and f.exp.is_Integer and f.exp < 0:
                below = fold.times(below, self.power(f.base, -int(f.exp)))
            else:
                above = fold.times(above, self.from_algebra(f))
        out = fold.divide(above, below)
        return fold.negate(out) if number < 0 else out

    def power(self, base: Any, n: int) -> Scalar:
        """A square as a product, which is where rules and proofs look for it."""
        x = self.from_algebra(base)
        if n < 0:
            return sc.op("div", sc.const(1.0), self.power(base, -n))
        return sc.op("mul", x, x) if n == 2 else sc.op("pow", x, sc.const(n))
