"""Elementary functions as LLVM IR, for any vector width, f32 and f64, inlined by every target.

In: a builder and arguments of one type, `float`, `double` or a vector of them. Out: a value of that
type. No library is called; the only intrinsics are fma, fabs, copysign, floor, trunc, rint and
sqrt, and, for vectors, the reduction of a mask and the gather of a large angle's reduction. Nothing
is approximated further by the target, so each function gives the same bits at every width and on
every device. Left to others: which of them an operator uses; sqrt, floor and the like, which are
intrinsics (`llvm_vector.intrinsic`).

The functions take the whole range: subnormal arguments and results, signed zeros, infinities; NaN
gives NaN, an argument outside the domain NaN, a pole an infinity.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from . import ir
from . import mathlib_exponential as exponential
from . import mathlib_logarithm as logarithm
from . import mathlib_power as power
from . import mathlib_special as special
from . import mathlib_trigonometric as trigonometric
from .fixed_exponents import is_fixed
from .lanes import Real
from .llvm_vector import constant
from .mathlib_fixed_power import fixed_power
from .records import dataclass


@dataclass(frozen=True)
class Function:
    """An elementary function.

    `ulp32` and `ulp64` bound the error in units in the last place of the exact result (the spacing
    of subnormals, below them). A `reflected` function f is computed at x < 0 from f(-x), and has
    zeros there next to which terms cancel: the unit is then that of max(1, |f(x)|, |f(-x)|).
    """

    name: str
    arity: int
    formula: Callable[..., Real]
    ulp32: float
    ulp64: float
    reflected: bool = False

    def emit(self, builder: ir.IRBuilder, args: Sequence[ir.Value]) -> ir.Value:
        """The value of the function at `args`, which have one type."""
        if len(args) != self.arity:
            raise TypeError(f"{self.name} takes {self.arity} arguments, got {len(args)}")
        if any(arg.type != args[0].type for arg in args):
            raise TypeError(f"{self.name}: arguments of types {[str(a.type) for a in args]}")
        return self.formula(*(Real(builder, arg) for arg in args)).value

    @property
    def doc(self) -> str:
        """The formula, in words."""
        return (self.formula.__doc__ or "").strip()


_TABLE = (
    Function("exp", 1, exponential.exp, 1, 1),
    Function("exp2", 1, exponential.exp2, 1, 1),
    Function("expm1", 1, exponential.expm1, 1, 1),
    Function("sinh", 1, exponential.sinh, 1.5, 1.5),
    Function("cosh", 1, exponential.cosh, 1.5, 1.5),
    Function("tanh", 1, exponential.tanh, 2, 2),
    Function("log", 1, logarithm.log, 1, 1),
    Function("log2", 1, logarithm.log2, 1, 1),
    Function("log10", 1, logarithm.log10, 1, 1),
    Function("log1p", 1, logarithm.log1p, 1, 1),
    Function("asinh", 1, logarithm.asinh, 1.5, 1.5),
    Function("acosh", 1, logarithm.acosh, 2, 2),
    Function("atanh", 1, logarithm.atanh, 1.5, 1.5),
    Function("sin", 1, trigonometric.sin, 1, 1),
    Function("cos", 1, trigonometric.cos, 1, 1),
    Function("tan", 1, trigonometric.tan, 2, 2),
    Function("asin", 1, trigonometric.asin, 2, 2),
    Function("acos", 1, trigonometric.acos, 1.5, 1.5),
    Function("atan", 1, trigonometric.atan, 2, 2),
    Function("atan2", 2, trigonometric.atan2, 2, 2),
    Function("pow", 2, power.pow, 1, 1.5),
    Function("rsqrt", 1, power.rsqrt, 1.5, 1.5),
    Function("cbrt", 1, power.cbrt, 1, 1),
    Function("erf", 1, special.erf, 1.5, 1.5),
    Function("erfc", 1, special.erfc, 4, 4),
    Function("lgamma", 1, special.lgamma, 8, 8, reflected=True),
    Function("digamma", 1, special.digamma, 8, 8, reflected=True),
)

FUNCTIONS: Mapping[str, Function] = {function.name: function for function in _TABLE}


def emit(name: str, builder: ir.IRBuilder, args: Sequence[ir.Value]) -> ir.Value:
    """`FUNCTIONS[name]` at `args`: floats, doubles or vectors of them, of one type, which is the
    result's type too. Raises KeyError for a name that is not in the table."""
    return FUNCTIONS[name].emit(builder, args)


def emit_power(builder: ir.IRBuilder, x: ir.Value, exponent: float) -> ir.Value:
    """x**exponent, the exponent known when compiling."""
    if is_fixed(exponent):
        return fixed_power(Real(builder, x), exponent).value
    return emit("pow", builder, [x, constant(x.type, exponent)])
