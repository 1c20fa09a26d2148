"""The primitive scalar operations: all that a comprehension's body is made of.

One row each: how it is typed, what it means (NumPy: the interpreter's definition), its partial
derivatives as formulas, how the emitter makes it, and the domain on which the generic tests
sample it. Rows of `ops.py` and users' `fn`s are formulas over these.

A derivative is a formula in the arguments `x, y, z` and the value `out`; "0" where it vanishes
almost everywhere. `singular` marks primitives whose derivative can be infinite at a point of the
domain: reverse mode multiplies their cotangents with `absorb`, so that an unused branch never
turns 0·∞ into NaN.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Any, Literal

import numpy as np

from .fixed_exponents import is_fixed, operations
from .records import dataclass


class Typing(Enum):
    """How the result's dtype follows from the arguments'."""

    ARITHMETIC = "arguments promote to one dtype, which is the result's (bool counts as i64)"
    SAME = "like ARITHMETIC, and bool stays bool"
    FLOAT = "arguments promote; integers become the default float"
    COMPARE = "arguments promote; the result is bool"
    LOGIC = "arguments and result are bool"
    BITS = "arguments promote to one integer dtype, or bool, which is the result's"
    SHIFT = "like BITS, without bool"
    TEST = "one float argument; the result is bool"
    WHERE = "a bool, then two arguments that promote"
    CAST = "the result's dtype is stated"


@dataclass(frozen=True)
class Primitive:
    """`emit` names the LLVM form: an instruction or intrinsic by kind (`float/int`), or `math` for
    a polynomial of `mathlib`. `domain` holds one (low, high) per argument for random tests."""

    name: str
    arity: int
    typing: Typing
    numpy: Callable[..., Any]
    derivative: tuple[str, ...]
    emit: str
    domain: tuple[tuple[float, float], ...] = ((-4.0, 4.0),)
    singular: bool = False
    infix: str | None = None
    cost: int = 1  # relative to an addition
    commutes: bool = False  # to the last bit
    parity: Literal["", "odd", "even"] = ""
    """What a negative argument does, whichever: negates the result, or nothing; to the last bit,
    but for a zero's sign."""


def _rounded(x: Any) -> Any:
    return np.rint(x)


def _elementwise(f: Callable[[float], float], at_error: float = math.nan) -> Callable[[Any], Any]:
    """Lift a function of `math` over arrays; evaluated in f64, returned in the argument's dtype."""

    def one(v: float) -> float:
        try:
            return f(float(v))
        except (ValueError, OverflowError):
            return at_error

    def lifted(x: Any) -> Any:
        x = np.asarray(x)
        flat = np.array([one(v) for v in x.ravel()], dtype=np.float64)
        return flat.reshape(x.shape).astype(x.dtype)

    return lifted


def _digamma(x: float) -> float:
    """Reflection below 0, recurrence up to 10, then the asymptotic series (DLMF 5.11.2)."""
    if math.isnan(x) or x == -math.inf:
        return math.nan
    if x == 0.0:
        return -math.copysign(math.inf, x)
    if x < 0:
        if x == math.floor(x):
            return math.nan
        return _digamma(1 - x) - math.pi / math.tan(math.pi * x)
    shift = 0.0
    while x < 10:
        shift -= 1 / x
        x += 1
    r = 1 / (x * x)
    tail = r * (1 / 240 - r * (1 / 132 - r * (691 / 32760 - r / 12)))
    series = r * (1 / 12 - r * (1 / 120 - r * (1 / 252 - tail)))
    return shift + math.log(x) - 0.5 / x - series


def _lgamma(x: float) -> float:
    if math.isinf(x):
        return math.inf
    return math.lgamma(x)


def _power(x: Any, y: Any) -> Any:
    if np.issubdtype(np.result_type(x, y), np.integer):
        # an integer to a negative integer power truncates, as PyTorch's does
        base, exponent = np.broadcast_arrays(x, y)
        safe = np.power(base, np.maximum(exponent, 0))
        unit = np.where(base == 1, 1, np.where(base == -1, 1 - 2 * (exponent & 1), 0))
        return np.where(exponent >= 0, safe, unit).astype(safe.dtype)
    # -0 and -∞ to a power that is not whole (C99); NumPy's x**0.5 is its square root, which differs
    unsigned = (y != np.trunc(y)) & ((x == 0) | np.isinf(x))
    return np.power(np.where(unsigned, np.abs(x), x), y)


def _floordiv(x: Any, y: Any) -> Any:
    """Floor division; an integer divided by 0 gives 0 (the emitter guards the trap alike)."""
    return np.floor_divide(x, y)


def _absorb(c: Any, d: Any) -> Any:
    return np.where(np.asarray(c) == 0, np.zeros_like(np.multiply(c, d)), np.multiply(c, d))


def _rsqrt(x: Any) -> Any:
    x = np.asarray(x)
    return (1 / np.sqrt(x.astype(np.float64))).astype(x.dtype)


A, S, F = Typing.ARITHMETIC, Typing.SAME, Typing.FLOAT
C, L, T = Typing.COMPARE, Typing.LOGIC, Typing.TEST
B, H = Typing.BITS, Typing.SHIFT
ANY = (-4.0, 4.0)
POSITIVE = (0.05, 8.0)
NONZERO = (0.3, 4.0)
UNIT = (-0.95, 0.95)


def _p(name: str, typing: Typing, numpy: Any, derivative: Any, emit: str, **more: Any) -> Primitive:
    """A row; `derivative` is one formula, or a tuple with one for each argument."""
    partials = (derivative,) if isinstance(derivative, str) else tuple(derivative)
    more.setdefault("domain", (ANY,) * len(partials))
    return Primitive(name, len(partials), typing, numpy, partials, emit, **more)


_ROWS = (
    # arithmetic
    _p("add", A, np.add, ("1", "1"), "fadd/add", infix="+", commutes=True),
    _p("sub", A, np.subtract, ("1", "-1"), "fsub/sub", infix="-"),
    _p("mul", A, np.multiply, ("y", "x"), "fmul/mul", infix="*", commutes=True, parity="odd"),
    _p("div", F, np.divide, ("1 / y", "-out / y"), "fdiv/-", infix="/",
       domain=(ANY, NONZERO), singular=True, cost=4, parity="odd"),
    _p("floordiv", A, _floordiv, ("0", "0"), "floordiv", infix="//",
       domain=(ANY, NONZERO), cost=6),
    _p("mod", A, np.mod, ("1", "-(x // y)"), "mod", infix="%", domain=(ANY, NONZERO), cost=8),
    _p("pow", A, _power,
       ("0 if x == 0 and y == 0 else y * x**(y - 1)",
        "0 if x == 0 and y >= 0 else out * log(x)"),
       "math", infix="**", domain=(POSITIVE, ANY), singular=True, cost=40),
    _p("neg", A, np.negative, "-1", "fneg/neg", parity="odd"),
    _p("abs", A, np.abs, "sign(x)", "abs", parity="even"),
    _p("sign", A, np.sign, "0", "sign", parity="odd"),
    _p("min", S, np.minimum,
       ("1 if x < y else (0.5 if x == y else 0)", "1 if y < x else (0.5 if x == y else 0)"),
       "min"),
    _p("max", S, np.maximum,
       ("1 if x > y else (0.5 if x == y else 0)", "1 if y > x else (0.5 if x == y else 0)"),
       "max"),
    # rounding
    _p("floor", F, np.floor, "0", "llvm.floor"),
    _p("ceil", F, np.ceil, "0", "llvm.ceil"),
    _p("trunc", F, np.trunc, "0", "llvm.trunc"),
    _p("round", F, _rounded, "0", "llvm.rint"),
    # powers, exponentials, logarithms
    _p("sqrt", F, np.sqrt, "0.5 / out", "llvm.sqrt", domain=(POSITIVE,), singular=True, cost=6),
    _p("rsqrt", F, _rsqrt, "-0.5 * out / x", "math",
       domain=(POSITIVE,), singular=True, cost=10),
    _p("cbrt", F, np.cbrt, "out / (3 * x)", "math", domain=(POSITIVE,), singular=True, cost=20),
    _p("exp", F, np.exp, "out", "math", cost=10),
    _p("exp2", F, np.exp2, "0.6931471805599453 * out", "math", cost=10),
    _p("expm1", F, np.expm1, "exp(x)", "math", cost=12),
    _p("log", F, np.log, "1 / x", "math", domain=(POSITIVE,), singular=True, cost=10),
    _p("log2", F, np.log2, "1.4426950408889634 / x", "math",
       domain=(POSITIVE,), singular=True, cost=10),
    _p("log10", F, np.log10, "0.4342944819032518 / x", "math",
       domain=(POSITIVE,), singular=True, cost=10),
    _p("log1p", F, np.log1p, "1 / (1 + x)", "math",
       domain=((-0.9, 4.0),), singular=True, cost=12),
    # trigonometry
    _p("sin", F, np.sin, "cos(x)", "math", cost=16),
    _p("cos", F, np.cos, "-sin(x)", "math", cost=16),
    _p("tan", F, np.tan, "1 + out * out", "math", domain=((-1.4, 1.4),), cost=24),
    _p("asin", F, np.arcsin, "1 / sqrt(1 - x*x)", "math",
       domain=(UNIT,), singular=True, cost=20),
    _p("acos", F, np.arccos, "-1 / sqrt(1 - x*x)", "math",
       domain=(UNIT,), singular=True, cost=20),
    _p("atan", F, np.arctan, "1 / (1 + x*x)", "math", cost=20),
    _p("atan2", F, np.arctan2,
       ("0 if x == 0 and y == 0 else y / (x*x + y*y)",
        "0 if x == 0 and y == 0 else -x / (x*x + y*y)"), "math",
       domain=(NONZERO, ANY), singular=True, cost=24),
    _p("sinh", F, np.sinh, "cosh(x)", "math", cost=16),
    _p("cosh", F, np.cosh, "sinh(x)", "math", cost=16),
    _p("tanh", F, np.tanh, "1 - out * out", "math", cost=14),
    _p("asinh", F, np.arcsinh, "1 / sqrt(1 + x*x)", "math", cost=20),
    _p("acosh", F, np.arccosh, "1 / sqrt(x*x - 1)", "math",
       domain=((1.1, 8.0),), singular=True, cost=20),
    _p("atanh", F, np.arctanh, "1 / (1 - x*x)", "math",
       domain=(UNIT,), singular=True, cost=20),
    # special functions
    _p("erf", F, _elementwise(math.erf), "1.1283791670955126 * exp(-x*x)", "math", cost=16),
    _p("erfc", F, _elementwise(math.erfc), "-1.1283791670955126 * exp(-x*x)", "math", cost=24),
    _p("lgamma", F, _elementwise(_lgamma, math.inf), "digamma(x)", "math",
       domain=(POSITIVE,), singular=True, cost=60),
    _p("digamma", F, _elementwise(_digamma), "trigamma(x)", "math",
       domain=(POSITIVE,), singular=True, cost=60),
    # comparisons and logic
    _p("lt", C, np.less, ("0", "0"), "compare", infix="<"),
    _p("le", C, np.less_equal, ("0", "0"), "compare", infix="<="),
    _p("gt", C, np.greater, ("0", "0"), "compare", infix=">"),
    _p("ge", C, np.greater_equal, ("0", "0"), "compare", infix=">="),
    _p("eq", C, np.equal, ("0", "0"), "compare", infix="==", commutes=True),
    _p("ne", C, np.not_equal, ("0", "0"), "compare", infix="!=", commutes=True),
    _p("and", L, np.logical_and, ("0", "0"), "logic", infix="and", commutes=True),
    _p("or", L, np.logical_or, ("0", "0"), "logic", infix="or", commutes=True),
    _p("not", L, np.logical_not, "0", "logic"),
    _p("isnan", T, np.isnan, "0", "isnan"),
    _p("isinf", T, np.isinf, "0", "isinf"),
    _p("isfinite", T, np.isfinite, "0", "isfinite"),
    # bits; a shift to the right brings in the sign, or zeros where the dtype is unsigned, and a
    # count outside 0 … bits - 1 shifts every bit out (as NumPy's and PyTorch's do)
    _p("bitwise_and", B, np.bitwise_and, ("0", "0"), "bits"),
    _p("bitwise_or", B, np.bitwise_or, ("0", "0"), "bits"),
    _p("bitwise_xor", B, np.bitwise_xor, ("0", "0"), "bits"),
    _p("bitwise_not", B, np.invert, "0", "bits"),
    _p("bitwise_left_shift", H, np.left_shift, ("0", "0"), "shift"),
    _p("bitwise_right_shift", H, np.right_shift, ("0", "0"), "shift"),
    # structure
    _p("where", Typing.WHERE, np.where, ("0", "1", "1"), "select"),
    _p("cast", Typing.CAST, None, "1", "cast"),
    # 0 where the first factor is 0, else the product: a cotangent of exactly zero
    # absorbs an infinite local derivative
    _p("absorb", A, _absorb, ("y", "x"), "absorb", cost=2),
    # the identity, with derivative 0
    _p("stop_gradient", S, lambda x: x, "0", "identity", cost=0),
)  # fmt: skip

PRIMITIVES = {row.name: row for row in _ROWS}
INFIX = {row.infix: row for row in _ROWS if row.infix is not None}


def cost(name: str, last: float | None = None) -> int:
    """Of the primitive, whose last argument is the number `last` if that is known."""
    if name == "pow" and last is not None and is_fixed(last):
        return operations(last)
    return PRIMITIVES[name].cost


def is_singular(name: str, last: float | None = None) -> bool:
    """Whether the derivative can be infinite; by the other arguments, if `last` is known."""
    if name == "pow" and last is not None and last >= 1 and float(last).is_integer():
        return False  # y·x^(y - 1)
    return PRIMITIVES[name].singular
