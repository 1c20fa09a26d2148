"""SymPy's canonical form of small formulas, without SymPy, whose import takes 0.3 s.

In: numbers, symbols, sums, products, integer powers, and opaque functions with a derivative. Out:
what SymPy's automatic evaluation would make of them, term by term and in SymPy's order, and their
derivatives. Anything where SymPy's rules go further than those here raises `BeyondError`, and the
caller takes SymPy itself; a test compares the two on random formulas.

The names of attributes are SymPy's (`is_Add`, `as_coeff_mul`, …): `derivative` reads either.
"""

# ruff: noqa: N815
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

Number = int | Fraction | float

#: Where a class stands in SymPy's `ordering_of_classes`; functions come last, by name.
_CONSTANTS = {0: 0, 1: 1, Fraction(1, 2): 2, -1: 5}
_INTEGER, _RATIONAL, _FLOAT, _SYMBOL, _POW, _MUL, _ADD, _FUNCTION = 7, 8, 9, 13, 15, 16, 17, 99


class BeyondError(Exception):
    """The formula needs SymPy."""


class Expression:
    """`key` orders expressions as `Basic.compare` does, and decides their equality."""

    __slots__ = ("_hash", "args", "head", "key", "rank", "value")

    def __init__(
        self,
        rank: int,
        args: tuple[Expression, ...] = (),
        *,
        value: Any = None,
        head: Head | None = None,
        content: tuple[Any, ...] | None = None,
    ) -> None:
        self.rank, self.args, self.value, self.head = rank, args, value, head
        if content is None:
            content = tuple(a.key for a in args)
        self.key: tuple[Any, ...] = (rank, head.name if head else "", len(content), *content)
        self._hash = hash((rank, head, value, args))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and (self is other or self.key == other.key)

    def __hash__(self) -> int:
        return self._hash

    is_Number = property(lambda self: self.rank <= _FLOAT)
    is_Float = property(lambda self: self.rank == _FLOAT)
    is_Rational = property(lambda self: self.rank < _FLOAT)
    is_Integer = property(lambda self: isinstance(self.value, int) and self.is_Number)
    is_Pow = property(lambda self: self.rank == _POW)
    is_Mul = property(lambda self: self.rank == _MUL)
    is_Add = property(lambda self: self.rank == _ADD)
    is_Function = property(lambda self: self.rank == _FUNCTION)
    base = property(lambda self: self.args[0])
    exp = property(lambda self: self.args[1])
    func = property(lambda self: self.head)
    p = property(lambda self: self.value.numerator)
    q = property(lambda self: self.value.denominator)

    def __int__(self) -> int:
        return int(self.value)

    def __float__(self) -> float:
        return float(self.value)

    def __abs__(self) -> Expression:
        return number(abs(self.value))

    def __lt__(self, other: int) -> bool:
        return bool(self.value < other)

    def __add__(self, other: Expression) -> Expression:
        return add(self, other)

    def __sub__(self, other: Expression) -> Expression:
        return add(self, -other)

    def __mul__(self, other: Expression) -> Expression:
        return mul(self, other)

    def __truediv__(self, other: Expression) -> Expression:
        if self.is_Number and other.is_Number:
            return number(_quotient(self.value, other.value))
        return mul(self, power(other, -1))

    def __pow__(self, n: Expression) -> Expression:
        return power(self, int(n))

    def __neg__(self) -> Expression:
        if self.is_Number:
            return number(-self.value)
        if self.is_Add:
            return mul(number(-1), self)
        if not self.is_Mul:
            return _product((number(-1), self))
        c, args = self.as_coeff_mul()
        c = number(-c.value)
        if c == ONE:
            return _product(args)
        if args[0].is_Number:
            return _product((number(args[0].value * c.value), *args[1:]))
        return _product((c, *args))

    def as_coeff_mul(self) -> tuple[Expression, tuple[Expression, ...]]:
        """A rational number, or the sign of a float, and the other factors."""
        first = self.args[0]
        if first.rank < _FLOAT:
            return first, self.args[1:]
        if first.is_Float and first.value < 0:
            return number(-1), (number(-first.value), *self.args[1:])
        return ONE, self.args

    def split(self) -> tuple[Number, Expression]:
        """A number and the rest."""
        if self.is_Number:
            return self.value, ONE
        if self.is_Mul and self.args[0].is_Number:
            return self.args[0].value, _product(self.args[1:])
        return 1, self

    def could_extract_minus_sign(self) -> bool:
        x = self.args[0] if self.is_Mul else self
        return x.is_Number and bool(x.value < 0)

    def diff(self, symbol: Expression) -> Expression:
        if self.rank <= _SYMBOL:
            return ONE if self == symbol else ZERO
        if self.is_Add:
            return add(*[a.diff(symbol) for a in self.args])
        if self.is_Mul:
            terms = []
            for k, a in enumerate(self.args):
                d = a.diff(symbol)
                if d != ZERO:
                    terms.append(mul(*self.args[:k], d, *self.args[k + 1 :]))
            return add(*terms)
        if self.is_Pow:
            inner = self.base.diff(symbol)
            return mul(self, mul(inner, self.exp) / self.base)
        assert self.head is not None
        outer = []
        for k, a in enumerate(self.args):
            inner = a.diff(symbol)
            if not inner.is_Number and _is_constant(inner):
                raise BeyondError  # SymPy may find that it is 0
            if inner != ZERO:
                outer.append(self.head.derivative(self.args, k) * inner)
        return add(*outer)


class Head:
    """An opaque function: its name, and its partial derivatives at arguments."""

    def __init__(
        self, name: str, derivative: Callable[[Sequence[Expression], int], Expression]
    ) -> None:
        if name[:1].isupper() or name in ("factorial", "binomial"):
            raise BeyondError  # SymPy may know a class of that name, and orders it with that
        self.name, self.derivative = name, derivative

    def __call__(self, *args: Expression) -> Expression:
        if all(a.is_Float for a in args) or any(a.is_Add and _is_constant(a) for a in args):
            raise BeyondError  # which SymPy may evaluate
        return Expression(_FUNCTION, args, head=self)


def _is_constant(x: Expression) -> bool:
    return x.rank != _SYMBOL and all(_is_constant(a) for a in x.args)


def symbol(name: str) -> Expression:
    return Expression(_SYMBOL, value=name, content=(name,))


def number(value: Number) -> Expression:
    """An integer, a fraction, or a float that is neither 0 nor extreme."""
    if isinstance(value, float):
        if not 1e-300 < abs(value) < 1e300:
            raise BeyondError
        mantissa, exponent = math.frexp(abs(value))
        odd, shift = int(mantissa * 2**53), exponent - 53
        zeros = (odd & -odd).bit_length() - 1
        odd, shift = odd >> zeros, shift + zeros
        mpf = (int(value < 0), odd, shift, odd.bit_length())
        return Expression(_FLOAT, value=value, content=(mpf, 53))
    exact = Fraction(value)
    if exact.denominator == 1:
        value = int(exact)
    rank = _CONSTANTS.get(value, _INTEGER if isinstance(value, int) else _RATIONAL)
    return Expression(rank, value=value, content=(exact.numerator, exact.denominator))


def _quotient(x: Number, y: Number) -> Number:
    if y == 0:
        raise BeyondError
    if isinstance(x, float):
        return x / float(y)
    return float(x) * (1 / y) if isinstance(y, float) else Fraction(x) / y


ZERO, ONE = number(0), number(1)


# --------------------------------------------------------------------------- evaluation


def add(*given: Expression) -> Expression:
    """`Add`: numbers summed, like terms collected."""
    queue = [x for x in given if x != ZERO]
    if len(queue) == 2:
        a, b = reversed(queue) if queue[1].is_Rational else queue
        if a.is_Rational and b.is_Mul:
            return Expression(_ADD, (a, b))
    if len(queue) < 2:
        return queue[0] if queue else ZERO
    constant: Number = 0
    terms: dict[Expression, Number] = {}
    for x in queue:  # which grows
        if x.is_Number:
            constant = _sum(constant, x.value)
        elif x.is_Add:
            queue.extend(x.args)
        else:
            c, rest = x.split()
            terms[rest] = _sum(terms[rest], c) if rest in terms else c
    out = []
    for rest, c in terms.items():
        if c == 0:
            continue
        if c == 1 and not isinstance(c, float):
            out.append(rest)
        elif rest.is_Mul:
            out.append(_product((number(c), *rest.args)))
        elif rest.is_Add:
            out.append(_product((number(c), rest)))
        else:
            out.append(mul(number(c), rest))
    out.sort(key=lambda e: e.key)
    if constant != 0:
        out.insert(0, number(constant))
    if len(out) < 2:
        return out[0] if out else ZERO
    return Expression(_ADD, tuple(out))


def _sum(x: Number, y: Number) -> Number:
    total = x + y
    if total == 0 and isinstance(total, float):
        raise BeyondError  # a float's zero is not an integer's
    return total


def mul(*given: Expression) -> Expression:
    """`Mul`: numbers multiplied, powers of one base collected, a number over a sum distributed."""
    queue = [x for x in given if x != ONE]
    if len(queue) < 2:
        return queue[0] if queue else ONE
    if len(queue) == 2:
        if queue[1].is_Rational:
            queue.reverse()
        a, b = queue
        if a.is_Rational and a != ZERO:
            c, rest = b.split()
            if rest.is_Add:
                if isinstance(c, float) or c != 1:
                    scale = number(a.value * c)
                    return rest if scale == ONE else _product((scale, rest))
                return add(*[_scaled(a, x) for x in rest.args])
    coefficient: Number = 1
    powers: dict[Expression, int] = {}
    for x in queue:  # which grows
        if x.is_Mul:
            queue.extend(x.args)
        elif x.is_Number:
            coefficient = coefficient * x.value
        elif x.is_Pow and x.base.is_Number:
            coefficient = coefficient * power(x.base, int(x.exp)).value
        else:
            base, n = (x.base, int(x.exp)) if x.is_Pow else (x, 1)
            powers[base] = powers.get(base, 0) + n
    factors = [power(base, n) for base, n in powers.items() if n]
    if coefficient == 0:
        if isinstance(coefficient, float):
            raise BeyondError
        return ZERO
    if any(f.is_Number or f.is_Mul for f in factors):
        raise BeyondError
    factors.sort(key=lambda e: e.key)
    if coefficient == 1 and not isinstance(coefficient, float):
        return _product(factors)
    front = number(coefficient)
    if len(factors) == 1 and factors[0].is_Add:
        return add(*[front * x for x in factors[0].args])
    return _product((front, *factors))


def _scaled(c: Expression, x: Expression) -> Expression:
    """A rational times a term of a sum (SymPy's `_keep_coeff`)."""
    if c == ONE:
        return x
    if c.value == -1:
        return -x
    if x.is_Add:
        return _product((c, x))
    if x.is_Mul:
        first = x.args[0]
        if not first.is_Number:
            return _product((c, *x.args))
        scale = number(first.value * c.value)
        return _product(x.args[1:] if scale.value == 1 else (scale, *x.args[1:]))
    return c * x


def _product(factors: Sequence[Expression]) -> Expression:
    """A `Mul` of these factors as they are."""
    if len(factors) < 2:
        return factors[0] if factors else ONE
    return Expression(_MUL, tuple(factors))


def power(x: Expression, n: int) -> Expression:
    """`Pow` with an integer exponent."""
    if n in (0, 1):
        return x if n else ONE
    if x.is_Number:
        if x.is_Rational:
            if x.value == 0 and n < 0:
                raise BeyondError
            return number(Fraction(x.value) ** n)
        if not -1 <= n <= 18:
            raise BeyondError  # mpmath's powers need not be the nearest float
        return number(1 / x.value if n < 0 else float(Fraction(x.value) ** n))
    if (x.is_Add or x.is_Mul) and _is_constant(x):
        raise BeyondError
    if x.is_Pow:
        return power(x.base, int(x.exp) * n)
    if x.is_Mul:
        return mul(*[Expression(_POW, (a, number(n))) for a in x.args])
    return Expression(_POW, (x, number(n)))
