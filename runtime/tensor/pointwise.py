"""Elementwise methods and operators: each a row of the operator table under PyTorch's name.

In: Tensors and Python numbers. Out: Tensors of the promoted dtype. The methods double as
functions (`tdsl.exp(x)`), so they take the Tensor as `self`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtype as dt
from .core import TensorBase
from .inplace import inplace, scalar_name
from .operation import Operation, plain_number

if TYPE_CHECKING:
    from .tensor import Tensor

Function = Callable[..., Any]


def camel(name: str) -> str:
    """`log_softmax` as PyTorch's node names have it: `LogSoftmax`."""
    return "".join(word[:1].upper() + word[1:] for word in name.split("_"))


def backward_name(name: str, number: int = 0) -> str:
    return f"{camel(name)}Backward{number}"


def unary(
    row: str, name: str | None = None, node: str | None = None, *, whole: str | None = None
) -> Function:
    """The function of a row with one operand. Of integers it is what `whole` says: "same": they
    themselves; another word: refused, as PyTorch's kernel of that name refuses them."""
    public = name or row
    operation = Operation(row, node or backward_name(public))

    def function(self: Tensor) -> Tensor:
        if not isinstance(self, TensorBase):
            raise not_a_tensor(public, self)
        if whole is not None and not self._kind.dtype.is_floating_point:
            if whole == "same" and self._kind.dtype is not dt.bool_:
                return self.clone()
            raise NotImplementedError(
                f'"{whole if whole != "same" else public + "_vml_cpu"}" not implemented for '
                f"'{scalar_name(self._kind.dtype)}'"
            )
        return operation.unary(self)

    function.__name__ = function.__qualname__ = public
    function.__doc__ = f"`{public}` of every element."
    return function


def binary(row: str, name: str | None = None, node: str | None = None) -> Function:
    """The function of a row with two operands, the second a Tensor or a number."""
    public = name or row
    operation = Operation(row, node or backward_name(public))

    def function(self: Tensor, other: Any) -> Tensor:
        if not isinstance(self, TensorBase):
            return operation.call((_number(public, self), other), ())
        return operation.binary(self, _operand(public, other))

    function.__name__ = function.__qualname__ = public
    function.__doc__ = f"`{public}` of the elements of two Tensors, or of a Tensor and a number."
    return function


def not_a_tensor(name: str, value: Any) -> TypeError:
    return TypeError(
        f"{name}(): argument 'input' (position 1) must be Tensor, not {type(value).__name__}"
    )


def _number(name: str, value: Any) -> Any:
    value = plain_number(value)
    if type(value) in (bool, int, float):
        return value
    raise not_a_tensor(name, value)


def _operand(name: str, value: Any) -> Any:
    """A second operand. Raises TypeError for what is neither a Tensor nor a number."""
    if isinstance(value, TensorBase):
        return value
    value = plain_number(value)
    if type(value) in (bool, int, float):
        return value
    if isinstance(value, np.ndarray):
        from .creation import from_array

        return from_array(value)
    if isinstance(value, bool | int | float):
        return int(value) if isinstance(value, int) else float(value)
    raise TypeError(
        f"{name}(): argument 'other' must be Tensor or number, not {type(value).__name__}"
    )


# --------------------------------------------------------------------------- arithmetic

_add = Operation("add", "AddBackward0", of_bools="logical_or")
_sub = Operation("sub", "SubBackward0")
_mul = Operation("mul", "MulBackward0", of_bools="logical_and")
_addcmul = Operation("addcmul", "AddBackward0")
_div, _rsub = Operation("div", "DivBackward0"), Operation("sub", "RsubBackward1")
_pow = Operation("pow", "PowBackward1")
_number_pow = Operation("pow", "PowBackward2")


def add(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """`self + alpha * other`."""
    if not isinstance(self, TensorBase):
        self, other = _swapped("add", self, other)
    other = _operand("add", other)
    if alpha == 1:
        return _add.binary(self, other)
    _check_alpha(self, other, alpha)
    if not isinstance(other, TensorBase):
        return _add.binary(self, other * alpha)
    return _addcmul.call((self, other, alpha), ())


def sub(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """`self - alpha * other`."""
    other = _operand("sub", other)
    if not isinstance(self, TensorBase):
        return _sub.call((_number("sub", self), other), ())
    _refuse_bool(self, other)
    if alpha == 1:
        return _sub.binary(self, other)
    return add(self, other, alpha=-alpha)


def rsub(self: Tensor, other: Any, *, alpha: Any = 1) -> Tensor:
    """`other - alpha * self`."""
    other = _operand("rsub", other)
    _refuse_bool(self, other)
    if alpha != 1:
        return sub(other, mul(self, alpha))
    return _rsub.call((other, self), ())


def _swapped(name: str, number: Any, other: Any) -> tuple[Any, Any]:
    """A number before a Tensor, for an operation that commutes."""
    value = _number(name, number)
    if not isinstance(other, TensorBase):
        raise not_a_tensor(name, number)
    return other, value


def _check_alpha(self: Any, other: Any, alpha: Any) -> None:
    floats = self._kind.dtype.is_floating_point or (
        isinstance(other, TensorBase) and other._kind.dtype.is_floating_point
    )
    if isinstance(alpha, float) and not floats:
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number."
        )


def _refuse_bool(self: Any, other: Any) -> None:
    if (
        self._kind.dtype is dt.bool_
        and isinstance(other, TensorBase)
        and (other._kind.dtype is dt.bool_)
    ):
        raise NotImplementedError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` "
            "or `logical_xor()` operator instead."
        )
    if (
        self._kind.dtype is dt.bool_
        and (not isinstance(other, TensorBase) or other._kind.dtype is dt.bool_)
        and isinstance(other, bool | TensorBase)
    ):
        raise NotImplementedError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are "
            "trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )


def mul(self: Tensor, other: Any) -> Tensor:
    """`self * other`."""
    if not isinstance(self, TensorBase):
        self, other = _swapped("mul", self, other)
    return _mul.binary(self, _operand("mul", other))


def div(self: Tensor, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """`self / other`; with `rounding_mode` "trunc" or "floor" a whole number of `self`'s kind."""
    other = _operand("div", other)
    if rounding_mode is None:
        if not isinstance(self, TensorBase):
            return _div.call((_number("div", self), other), ())
        return _div.binary(self, other)
    if rounding_mode == "floor":
        return floor_divide(self, other)
    if rounding_mode == "trunc":
        quotient = _div.binary(self, other).trunc()
        common = _mul.binary(self, other)._kind.dtype
        return quotient if common.is_floating_point else quotient.to(common)
    raise RuntimeError(
        f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
        f"'{rounding_mode}'"
    )


def pow(self: Any, exponent: Any) -> Tensor:
    """`self ** exponent`."""
    exponent = _operand("pow", exponent)
    if not isinstance(self, TensorBase):
        return _number_pow.call((_number("pow", self), exponent), ())
    if isinstance(exponent, TensorBase):
        return _pow.binary(self, exponent)  # type: ignore[arg-type]
    whole = not self._kind.dtype.is_floating_point
    if whole and isinstance(exponent, int) and exponent < 0:
        raise RuntimeError("Integers to negative integer powers are not allowed.")
    return _power_operation(exponent).unary(self)  # type: ignore[arg-type]


_powers: dict[Any, Operation] = {}


def _power_operation(exponent: Any) -> Operation:
    """`x ** exponent` for a number: known when it is compiled, so that squares are products."""
    key = (type(exponent), exponent)
    found = _powers.get(key)
    if found is None:
        found = _powers[key] = FixedOperation("pow", "PowBackward0", exponent)
    return found


class FixedOperation(Operation):
    """A row of two operands whose second is a number known when it is compiled."""

    def __init__(self, row: str, node: str, second: Any) -> None:
        super().__init__(row, node)
        self._second = second

    def _new_site(self, operands: tuple[Any, ...], static: tuple[Any, ...]) -> Any:
        from .row_graphs import Application
        from .sites import Site

        site = super()._new_site((operands[0], self._second), static)
        (first, a), (second, _) = site.application.arguments
        arguments = ((first, a), (second, self._second))
        return Site(Application(self.row, arguments, site.application.result), True)


neg = unary("negative", "neg")
floor_divide = binary("floor_divide")
_relu = unary("relu")


def relu(self: Tensor) -> Tensor:
    """`max(x, 0)`; its derivative at 0 is 0."""
    if isinstance(self, TensorBase) and not self._kind.dtype.is_floating_point:
        if self._kind.dtype is dt.bool_:
            raise RuntimeError("Boolean inputs not supported for relu")
        return self.clamp_min(0)
    return _relu(self)


def _of_tensors(row: str) -> Function:
    """The function of a row whose second operand must be a Tensor, too."""
    operation = Operation(row, backward_name(row))

    def function(self: Tensor, other: Tensor) -> Tensor:
        for k, (name, x) in enumerate((("input", self), ("other", other))):
            if not isinstance(x, TensorBase):
                raise TypeError(
                    f"{row}(): argument '{name}' (position {k + 1}) must be Tensor, not "
                    f"{type(x).__name__}"
                )
        return operation.binary(self, other)

    function.__name__ = function.__qualname__ = row
    function.__doc__ = f"`{row}` of the elements of two Tensors."
    return function


class PointwiseMethods(TensorBase):
    """Elementwise methods and operators."""

    __slots__ = ()

    add, sub, mul, div, pow, rsub = add, sub, mul, div, pow, rsub
    subtract, multiply, divide, true_divide = sub, mul, div, div
    neg = negative = neg
    floor_divide = floor_divide
    remainder = binary("remainder")
    fmod = binary("fmod")

    abs = absolute = unary("abs")
    sign = sgn = unary("sign")
    floor, ceil, trunc = (
        unary("floor", whole="same"), unary("ceil", whole="same"), unary("trunc", whole="same"),
    )  # fmt: skip
    fix = trunc
    exp, exp2, expm1 = unary("exp"), unary("exp2"), unary("expm1")
    log, log2, log10, log1p = unary("log"), unary("log2"), unary("log10"), unary("log1p")
    sqrt, rsqrt = unary("sqrt"), unary("rsqrt")
    sin, cos, tan = unary("sin"), unary("cos"), unary("tan")
    asin, acos, atan = unary("asin"), unary("acos"), unary("atan")
    arcsin, arccos, arctan = asin, acos, atan
    sinh, cosh, tanh = unary("sinh"), unary("cosh"), unary("tanh")
    asinh, acosh, atanh = unary("asinh"), unary("acosh"), unary("atanh")
    arcsinh, arccosh, arctanh = asinh, acosh, atanh
    atan2 = arctan2 = binary("atan2")
    erf, erfc = unary("erf"), unary("erfc")
    lgamma, digamma = unary("lgamma"), unary("digamma")
    sigmoid = expit = unary("sigmoid")
    relu = relu
    square = unary("square", node="PowBackward0")
    reciprocal = unary("reciprocal")
    frac, sinc = unary("frac", whole="frac_cpu"), unary("sinc")
    deg2rad, rad2deg = unary("deg2rad"), unary("rad2deg")
    hypot, logaddexp, xlogy = binary("hypot"), binary("logaddexp"), binary("xlogy")
    maximum, minimum = _of_tensors("maximum"), _of_tensors("minimum")

    isnan, isinf, isfinite = unary("isnan"), unary("isinf"), unary("isfinite")
    eq, ne = binary("eq"), binary("ne")
    lt, le, gt, ge = binary("lt"), binary("le"), binary("gt"), binary("ge")
    not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge
    logical_not = unary("logical_not")
    logical_and, logical_or = binary("logical_and"), binary("logical_or")
    logical_xor = binary("logical_xor")

    add_, sub_, mul_, div_ = (
        inplace(add, "add_"), inplace(sub, "sub_"), inplace(mul, "mul_"), inplace(div, "div_"),
    )  # fmt: skip
    pow_, neg_, abs_ = inplace(pow, "pow_"), inplace(neg, "neg_"), inplace(abs, "abs_")
    floor_divide_ = inplace(floor_divide, "floor_divide_")
    remainder_, fmod_ = inplace(remainder, "remainder_"), inplace(fmod, "fmod_")
    subtract_, multiply_, divide_, true_divide_ = sub_, mul_, div_, div_
    exp_, log_, sqrt_, rsqrt_ = (
        inplace(exp, "exp_"), inplace(log, "log_"), inplace(sqrt, "sqrt_"),
        inplace(rsqrt, "rsqrt_"),
    )  # fmt: skip
    expm1_, log1p_, exp2_ = (
        inplace(expm1, "expm1_"), inplace(log1p, "log1p_"), inplace(exp2, "exp2_"),
    )  # fmt: skip
    sin_, cos_, tan_, tanh_ = (
        inplace(sin, "sin_"), inplace(cos, "cos_"), inplace(tan, "tan_"), inplace(tanh, "tanh_"),
    )  # fmt: skip
    sigmoid_, relu_ = inplace(sigmoid, "sigmoid_"), inplace(relu, "relu_")
    floor_, ceil_, trunc_ = (
        inplace(floor, "floor_"), inplace(ceil, "ceil_"), inplace(trunc, "trunc_"),
    )  # fmt: skip
    reciprocal_, square_, sign_, frac_ = (
        inplace(reciprocal, "reciprocal_"), inplace(square, "square_"), inplace(sign, "sign_"),
        inplace(frac, "frac_"),
    )  # fmt: skip
    erf_, sinh_, cosh_, atan_ = (
        inplace(erf, "erf_"), inplace(sinh, "sinh_"), inplace(cosh, "cosh_"),
        inplace(atan, "atan_"),
    )  # fmt: skip

    # ----------------------------------------------------------------------- operators

    def __add__(self: Tensor, other: Any) -> Tensor:
        if isinstance(other, TensorBase) or type(other) in (float, int):
            return _add.binary(self, other)
        return _infix(add, self, other)

    def __mul__(self: Tensor, other: Any) -> Tensor:
        if isinstance(other, TensorBase) or type(other) in (float, int):
            return _mul.binary(self, other)
        return _infix(mul, self, other)

    def __sub__(self: Tensor, other: Any) -> Tensor:
        return _infix(sub, self, other)

    def __truediv__(self: Tensor, other: Any) -> Tensor:
        if isinstance(other, TensorBase) or type(other) in (float, int):
            return _div.binary(self, other)
        return _infix(div, self, other)

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self: Tensor, other: Any) -> Tensor:
        return _infix(rsub, self, other)

    def __rtruediv__(self: Tensor, other: Any) -> Tensor:
        return _infix(lambda s, o: mul(s.reciprocal(), o), self, other)

    def __floordiv__(self: Tensor, other: Any) -> Tensor:
        return _infix(floor_divide, self, other)

    def __rfloordiv__(self: Tensor, other: Any) -> Tensor:
        return _infix(lambda s, o: floor_divide(o, s), self, other)

    def __mod__(self: Tensor, other: Any) -> Tensor:
        return _infix(type(self).remainder, self, other)

    def __rmod__(self: Tensor, other: Any) -> Tensor:
        return _infix(lambda s, o: type(s).remainder(o, s), self, other)

    def __pow__(self: Tensor, other: Any) -> Tensor:
        return _infix(pow, self, other)

    def __rpow__(self: Tensor, other: Any) -> Tensor:
        return _infix(lambda s, o: pow(o, s), self, other)

    def __neg__(self: Tensor) -> Tensor:
        if self._kind.dtype is dt.bool_:
            raise NotImplementedError(
                "Negation, the `-` operator, on a bool tensor is not supported. If you are trying "
                "to invert a mask, use the `~` or `logical_not()` operator instead."
            )
        return neg(self)

    def __pos__(self: Tensor) -> Tensor:
        return self

    def __abs__(self: Tensor) -> Tensor:
        return self.abs()

    def __eq__(self: Tensor, other: Any) -> Any:
        return _compared(self, other, "eq", False)

    def __ne__(self: Tensor, other: Any) -> Any:
        return _compared(self, other, "ne", True)

    def __lt__(self: Tensor, other: Any) -> Tensor:
        return _infix(type(self).lt, self, other)

    def __le__(self: Tensor, other: Any) -> Tensor:
        return _infix(type(self).le, self, other)

    def __gt__(self: Tensor, other: Any) -> Tensor:
        return _infix(type(self).gt, self, other)

    def __ge__(self: Tensor, other: Any) -> Tensor:
        return _infix(type(self).ge, self, other)

    def __hash__(self) -> int:
        return id(self)

    def __iadd__(self: Tensor, other: Any) -> Tensor:
        return self.add_(other)

    def __isub__(self: Tensor, other: Any) -> Tensor:
        return self.sub_(other)

    def __imul__(self: Tensor, other: Any) -> Tensor:
        return self.mul_(other)

    def __itruediv__(self: Tensor, other: Any) -> Tensor:
        return self.div_(other)

    def __ifloordiv__(self: Tensor, other: Any) -> Tensor:
        return self.floor_divide_(other)

    def __imod__(self: Tensor, other: Any) -> Tensor:
        return self.remainder_(other)

    def __ipow__(self: Tensor, other: Any) -> Tensor:
        return self.pow_(other)


def _infix(function: Function, self: Any, other: Any) -> Any:
    """An operator: what the function does not take is left to the other operand."""
    if not isinstance(other, TensorBase | bool | int | float | np.generic | np.ndarray):
        return NotImplemented
    return function(self, other)


def _compared(self: Any, other: Any, name: str, otherwise: bool) -> Any:
    if not isinstance(other, TensorBase | bool | int | float | np.generic | np.ndarray):
        return NotImplemented
    return getattr(type(self), name)(self, other)
