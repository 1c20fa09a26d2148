"""Functions that are a row of the operator table and nothing more, as methods and functions.

In: the row's own parameters, by PyTorch's names. Out: Tensors. What has a rule of its own (a
different binding, an error that a row cannot know) stands in the other families.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .arrangement import (
    diag,
    flip,
    repeat,
    repeat_interleave,
    roll,
    tile,
    trace,
    tril,
    triu,
)
from .by_index import (
    gather,
    index_add,
    index_fill,
    index_put,
    index_put_,
    index_select,
    scatter,
    scatter_add,
    take,
    take_along_dim,
)
from .choosing import _where_method, clamp, clamp_max, clamp_min, masked_fill, masked_select
from .core import TensorBase
from .inplace import inplace, scalar_name
from .operation import Operation
from .pointwise import backward_name, binary, unary
from .views import axis_of

if TYPE_CHECKING:
    from .tensor import Tensor


def row(
    name: str,
    public: str | None = None,
    *,
    node: str | None = None,
    promotes: bool = False,
    apart: Sequence[str] = (),
) -> Callable[..., Any]:
    """The function of a row. `promotes`: its operands take a common dtype and broadcast, except
    those named in `apart`."""
    shown = public or name
    operation = Operation(name, node or backward_name(shown), promotes=promotes, apart=apart)

    def function(*args: Any, **kwargs: Any) -> Any:
        return operation(*args, **kwargs)

    function.__name__ = function.__qualname__ = shown
    function.__doc__ = f"`{shown}`: the row `{name}` of the operator table."
    return function


# --------------------------------------------------------------------------- along a dim

_SOFTMAX = Operation("softmax", "SoftmaxBackward0", promotes=False)
_LOG_SOFTMAX = Operation("log_softmax", "LogSoftmaxBackward0", promotes=False)


def _along(self: Tensor, dim: Any, dtype: Any, operation: Operation, name: str) -> Tensor:
    x = self if dtype is None else self.to(dtype)
    if not x._kind.dtype.is_floating_point:
        raise NotImplementedError(
            f"\"{name}_lastdim_kernel_impl\" not implemented for '{scalar_name(x._kind.dtype)}'"
        )
    if not x._kind.rank:
        axis_of(dim, 0)
        return operation.call((x.reshape(1),), (0,)).reshape(())
    if not x._array.size:
        axis_of(dim, x._kind.rank)
        return x.clone()
    return operation.along(x, (axis_of(dim, x._kind.rank),))


def softmax(self: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """`exp(x) / sum(exp(x))` along a dim, without overflow."""
    return _along(self, dim, dtype, _SOFTMAX, "softmax")


def log_softmax(self: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax`, computed as such."""
    return _along(self, dim, dtype, _LOG_SOFTMAX, "log_softmax")


# --------------------------------------------------------------------------- norms

_NORMS = Operation("norm", "LinalgVectorNormBackward0", promotes=False)


def norm(self: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False,
         dtype: Any = None) -> Tensor:  # fmt: skip
    """The p-norm over dims; "fro" and None are 2."""
    from .reductions import dims_of

    x = self if dtype is None else self.to(dtype)
    if not x._kind.dtype.is_floating_point:
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{scalar_name(x._kind.dtype)}"
        )
    order = 2 if p in ("fro", None) else p
    return _NORMS.call((x,), (dims_of(dim, x._kind.rank), keepdim, order))


# --------------------------------------------------------------------------- pointwise

_ROUND, _LERP = row("round", promotes=True), row("lerp", promotes=True)


def round(self: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest whole number (ties to even), or that many decimals."""
    if not self._kind.dtype.is_floating_point:
        return self.clone()
    return _ROUND(self, decimals)


def lerp(self: Tensor, end: Tensor, weight: Any) -> Tensor:
    """`self + weight * (end - self)`."""
    for name, x in (("end", end), ("weight", weight)):
        if isinstance(x, TensorBase) and x._kind.dtype is not self._kind.dtype:
            raise RuntimeError(
                f"expected dtype {self._kind.dtype.name} for `{name}` but got dtype "
                f"{x._kind.dtype.name}"
            )
    return _LERP(self, end, weight)


# --------------------------------------------------------------------------- comparing all


def equal(self: Tensor, other: Tensor) -> bool:
    """Whether shape and all elements are equal."""
    return self._array.shape == other._array.shape and bool(self.eq(other).all().item())


def allclose(self: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8,
             equal_nan: bool = False) -> bool:  # fmt: skip
    """Whether `|self - other| <= atol + rtol * |other|` for all elements."""
    return bool(isclose(self, other, rtol, atol, equal_nan).all().item())


def isclose(self: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8,
            equal_nan: bool = False) -> Tensor:  # fmt: skip
    """`|self - other| <= atol + rtol * |other|` for every element."""
    if self._kind.dtype is not other._kind.dtype:
        raise RuntimeError(
            f"{scalar_name(self._kind.dtype)} did not match {scalar_name(other._kind.dtype)}"
        )
    a, b = self.detach(), other.detach()
    near = a.eq(b) | ((a - b).abs().le(b.abs() * rtol + atol) & b.isfinite() & a.isfinite())
    return near | (a.isnan() & b.isnan()) if equal_nan else near


_NOT = Operation("bitwise_not", "NotDifferentiable")


def bitwise_not(self: Tensor) -> Tensor:
    """Every bit turned round; of bools `not`."""
    if self._kind.dtype.is_floating_point:
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return _NOT.unary(self)


def _bits(name: str, kernel: str) -> Callable[..., Any]:
    """A bitwise function of two operands: of integers and bools only."""
    function = binary(name)

    def checked(self: Any, other: Any) -> Tensor:
        for x in (self, other):
            if isinstance(x, float) or (
                isinstance(x, TensorBase) and x._kind.dtype.is_floating_point
            ):
                shown = scalar_name(x._kind.dtype) if isinstance(x, TensorBase) else "Float"
                raise NotImplementedError(f"\"{kernel}\" not implemented for '{shown}'")
        return function(self, other)

    checked.__name__ = checked.__qualname__ = name
    checked.__doc__ = function.__doc__
    return checked


class RowMethods(TensorBase):
    """Rows as methods."""

    __slots__ = ()

    where, clamp, clip, clamp_min, clamp_max = _where_method, clamp, clamp, clamp_min, clamp_max
    masked_fill, masked_select = masked_fill, masked_select
    gather, scatter_add, scatter, index_select = gather, scatter_add, scatter, index_select
    index_add, index_put, index_put_, index_fill = index_add, index_put, index_put_, index_fill
    take_along_dim, take = take_along_dim, take
    flip, roll, repeat, tile, repeat_interleave = flip, roll, repeat, tile, repeat_interleave
    tril, triu, diag, trace = tril, triu, diag, trace
    softmax, log_softmax, norm = softmax, log_softmax, norm
    equal, allclose, isclose = equal, allclose, isclose

    round, lerp = round, lerp
    addcmul, addcdiv = row("addcmul", promotes=True), row("addcdiv", promotes=True)
    nan_to_num, copysign = row("nan_to_num", promotes=True), row("copysign", promotes=True)
    heaviside, fmax, fmin = binary("heaviside"), binary("fmax"), binary("fmin")
    isposinf, isneginf, signbit = unary("isposinf"), unary("isneginf"), unary("signbit")
    logaddexp2, erfinv = binary("logaddexp2"), unary("erfinv")
    logit = row("logit", promotes=True)
    nansum, nanmean = row("nansum"), row("nanmean")
    count_nonzero = row("count_nonzero")

    bitwise_and = _bits("bitwise_and", "bitwise_and_cpu")
    bitwise_or = _bits("bitwise_or", "bitwise_or_cpu")
    bitwise_xor, bitwise_not = _bits("bitwise_xor", "bitwise_xor_cpu"), bitwise_not
    bitwise_left_shift = _bits("bitwise_left_shift", "lshift_cpu")
    bitwise_right_shift = _bits("bitwise_right_shift", "rshift_cpu")
    __and__ = __rand__ = bitwise_and
    __or__ = __ror__ = bitwise_or
    __xor__ = __rxor__ = bitwise_xor
    __invert__ = bitwise_not
    __lshift__, __rshift__ = bitwise_left_shift, bitwise_right_shift

    clamp_, clip_ = inplace(clamp, "clamp_"), inplace(clamp, "clip_")
    clamp_min_, clamp_max_ = inplace(clamp_min, "clamp_min_"), inplace(clamp_max, "clamp_max_")
    masked_fill_ = inplace(masked_fill, "masked_fill_")
    scatter_add_, scatter_ = inplace(scatter_add, "scatter_add_"), inplace(scatter, "scatter_")
    index_add_, index_fill_ = inplace(index_add, "index_add_"), inplace(index_fill, "index_fill_")
    lerp_, addcmul_ = inplace(lerp, "lerp_"), inplace(addcmul, "addcmul_")
    addcdiv_, round_ = inplace(addcdiv, "addcdiv_"), inplace(round, "round_")
    tril_, triu_ = inplace(tril, "tril_"), inplace(triu, "triu_")
    bitwise_and_, bitwise_or_ = (
        inplace(bitwise_and, "bitwise_and_"), inplace(bitwise_or, "bitwise_or_"),
    )  # fmt: skip
    __iand__, __ior__ = bitwise_and_, bitwise_or_
    __ixor__ = inplace(bitwise_xor, "bitwise_xor_")
