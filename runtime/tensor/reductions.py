"""Methods that reduce over dims: each a row of the operator table.

`dim` is None (all dims), one dim or several; `keepdim` keeps them with size 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import dtype as dt
from .core import TensorBase, kind, wrap
from .inplace import scalar_name
from .operation import Operation
from .views import axis_of

if TYPE_CHECKING:
    from .tensor import Tensor


class max_result(NamedTuple):
    """What `max(dim)` returns; `min`, `sort`, `topk` have their like."""

    values: Any
    indices: Any


class min_result(NamedTuple):
    values: Any
    indices: Any


def _operation(row: str, node: str, **more: Any) -> Operation:
    return Operation(row, node, promotes=False, **more)


_SUM, _SUM_DIM = _operation("sum", "SumBackward0"), _operation("sum", "SumBackward1")
_MEAN, _MEAN_DIM = _operation("mean", "MeanBackward0"), _operation("mean", "MeanBackward1")
_PROD, _PROD_DIM = _operation("prod", "ProdBackward0"), _operation("prod", "ProdBackward1")
_AMAX, _AMIN = _operation("amax", "AmaxBackward0"), _operation("amin", "AminBackward0")
_MAX, _MIN = _operation("amax", "MaxBackward1"), _operation("amin", "MinBackward1")
_ARGMAX, _ARGMIN = (
    _operation("argmax", "NotDifferentiable"),
    _operation("argmin", "NotDifferentiable"),
)
_ANY, _ALL = _operation("any", "NotDifferentiable"), _operation("all", "NotDifferentiable")
_VAR, _STD = _operation("var", "VarBackward0"), _operation("std", "StdBackward0")
_LOGSUMEXP = _operation("logsumexp", "LogsumexpBackward0")
_PICK = _operation("gather", "MaxBackward0")
_PICK_MIN = _operation("gather", "MinBackward0")


def dims_of(dim: Any, rank: int) -> tuple[int, ...] | None:
    """A `dim` argument as positions from 0, None for all. Raises IndexError outside the range,
    RuntimeError for a dim that is named twice."""
    if dim is None:
        return None
    if type(dim) is int and -rank <= dim < rank:
        return (dim if dim >= 0 else dim + rank,)
    given = tuple(dim) if isinstance(dim, tuple | list) else (dim,)
    if not given:
        return None
    axes = tuple(axis_of(d, rank) for d in given)
    if len(set(axes)) < len(axes):
        twice = next(a for a in axes if axes.count(a) > 1)
        raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
    return axes


def _named(dim: Any, keepdim: Any, other: dict[str, Any]) -> tuple[Any, bool]:
    """`dim` and `keepdim`, also under NumPy's names."""
    dim = other.pop("axis", dim)
    keepdim = other.pop("keepdims", keepdim)
    if other:
        raise TypeError(f"got an unexpected keyword argument '{next(iter(other))}'")
    return dim, bool(keepdim)


def _converted(self: Tensor, dtype: Any) -> Tensor:
    return self if dtype is None or dtype is self._kind.dtype else self.to(dtype)


def sum(self: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None,
        **other: Any) -> Tensor:  # fmt: skip
    """The sum over `dim`; integers and bools become int64."""
    if (
        dim is None
        and dtype is None
        and not keepdim
        and not other
        and (isinstance(self, TensorBase))
    ):
        return _SUM.unary(self)
    if other:
        dim, keepdim = _named(dim, keepdim, other)
    if not isinstance(self, TensorBase):
        raise TypeError(
            f"sum(): argument 'input' (position 1) must be Tensor, not {type(self).__name__}"
        )
    x = _converted(self, dtype)
    axes = dims_of(dim, x._kind.rank)
    found = (_SUM if dim is None else _SUM_DIM).along(x, (axes, keepdim))
    return found if dtype is None else found.to(dtype)


def mean(self: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None,
         **other: Any) -> Tensor:  # fmt: skip
    """The mean over `dim`."""
    if (
        dim is None
        and dtype is None
        and not keepdim
        and not other
        and (self._kind.dtype.is_floating_point)
    ):
        return _MEAN.unary(self)
    dim, keepdim = _named(dim, keepdim, other)
    x = _converted(self, dtype)
    if not x._kind.dtype.is_floating_point:
        raise RuntimeError(
            "mean(): could not infer output dtype. Input dtype must be either a floating point "
            f"or complex dtype. Got: {scalar_name(x._kind.dtype)}"
        )
    axes = dims_of(dim, x._kind.rank)
    return (_MEAN if dim is None else _MEAN_DIM).along(x, (axes, keepdim))


def prod(self: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The product of all elements, or over one dim."""
    x = _converted(self, dtype)
    axes = dims_of(dim, x._kind.rank)
    found = (_PROD if dim is None else _PROD_DIM).along(x, (axes, keepdim))
    return found if dtype is None else found.to(dtype)


def amax(self: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The maximum over `dim`; its gradient is shared evenly among ties."""
    return _extreme(self, dim, keepdim, _AMAX, "amax")


def amin(self: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The minimum over `dim`; its gradient is shared evenly among ties."""
    return _extreme(self, dim, keepdim, _AMIN, "amin")


def _extreme(self: Tensor, dim: Any, keepdim: bool, operation: Operation, name: str) -> Tensor:
    axes = dims_of(dim, self._kind.rank)
    _require_elements(self, axes, name)
    found = operation.along(self, (axes, keepdim))
    return found.bool() if self._kind.dtype is dt.bool_ else found


def _require_elements(self: Tensor, axes: tuple[int, ...] | None, name: str) -> None:
    shape = self._array.shape
    if axes is None:
        if self._array.size == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
        return
    for a in axes:
        if shape and shape[a] == 0:
            raise IndexError(f"{name}(): Expected reduction dim {a} to have non-zero size.")


def max(self: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The maximum; over a dim the maxima and their indices; of two Tensors the greater elements."""
    if isinstance(dim, TensorBase):
        return self.maximum(dim)
    return _extreme_of(self, dim, keepdim, (_MAX, _ARGMAX, _PICK), "max", max_result)


def min(self: Tensor, dim: Any = None, keepdim: bool = False) -> Any:
    """The minimum; over a dim the minima and their indices; of two Tensors the smaller elements."""
    if isinstance(dim, TensorBase):
        return self.minimum(dim)
    return _extreme_of(self, dim, keepdim, (_MIN, _ARGMIN, _PICK_MIN), "min", min_result)


def _extreme_of(
    self: Tensor, dim: Any, keepdim: bool, operations: Any, name: str, result: Any
) -> Any:
    whole, position, pick = operations
    if dim is None:
        if self._array.size == 0:
            raise RuntimeError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0. "
                "Specify the reduction dim with the 'dim' argument."
            )
        found = whole.call((self,), (None, False))
        return found.bool() if self._kind.dtype is dt.bool_ else found
    axis = axis_of(dim, self._kind.rank)
    _require_elements(self, (axis,), name)
    if not self._kind.rank:
        return result(self.clone(), wrap(np.zeros((), np.int64), kind(dt.int64, 0)))
    indices = position.along(self.detach(), ((axis,), True))
    values = pick.call((self, indices), (axis,))
    if not keepdim:
        values, indices = values.squeeze(axis), indices.squeeze(axis)
    return result(values, indices)


def argmax(self: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The index of the maximum (the first of several): in the flattened Tensor, or along `dim`."""
    return _position(self, dim, keepdim, _ARGMAX, "argmax")


def argmin(self: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The index of the minimum (the first of several): in the flattened Tensor, or along `dim`."""
    return _position(self, dim, keepdim, _ARGMIN, "argmin")


def _position(self: Tensor, dim: Any, keepdim: bool, operation: Operation, name: str) -> Tensor:
    x = self.detach()
    if dim is None:
        if x._array.size == 0:
            raise IndexError(
                f"{name}(): Expected reduction dim to be specified for input.numel() == 0."
            )
        found = operation.call((x.reshape(-1),), ((0,), False))
        return found.reshape((1,) * x._kind.rank) if keepdim else found
    axis = axis_of(dim, x._kind.rank)
    _require_elements(x, (axis,), name)
    return operation.along(x, ((axis,), keepdim))


def any(self: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether any element over `dim` is not zero."""
    return _truth(self, dim, keepdim, _ANY)


def all(self: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """Whether all elements over `dim` are not zero."""
    return _truth(self, dim, keepdim, _ALL)


def _truth(self: Tensor, dim: Any, keepdim: bool, operation: Operation) -> Tensor:
    axes = dims_of(dim, self._kind.rank)
    found = operation.along(self.detach(), (axes, keepdim))
    if self._kind.dtype is dt.uint8:
        return found.to(dt.uint8)
    return found


def _correction(unbiased: Any, correction: Any) -> int:
    if unbiased is not None:
        return int(bool(unbiased))
    return 1 if correction is None else correction


def var(self: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *,
        correction: Any = None, **other: Any) -> Tensor:  # fmt: skip
    """The variance over `dim`, divided by the count less `correction` (1)."""
    return _spread(self, dim, unbiased, keepdim, correction, other, _VAR, "var")


def std(self: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *,
        correction: Any = None, **other: Any) -> Tensor:  # fmt: skip
    """The standard deviation over `dim`: the root of `var`."""
    return _spread(self, dim, unbiased, keepdim, correction, other, _STD, "std")


def _spread(self: Tensor, dim: Any, unbiased: Any, keepdim: Any, correction: Any,
            other: dict[str, Any], operation: Operation, name: str) -> Tensor:  # fmt: skip
    dim, keepdim = _named(dim, keepdim, other)
    if isinstance(dim, bool):  # var(unbiased)
        dim, unbiased = None, dim
    if not self._kind.dtype.is_floating_point:
        raise RuntimeError(f"{name} and {name}_mean only support floating point and complex dtypes"
                           if name == "var" else "std and var only support floating point and "
                           "complex dtypes")  # fmt: skip
    axes = dims_of(dim, self._kind.rank)
    if _empty(self, axes):
        from .creation import full

        return full(_reduced(self, axes, keepdim), float("nan"), dtype=self._kind.dtype)
    static = (axes, _correction(unbiased, correction), keepdim)
    return operation.along(self, static)


def logsumexp(self: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    """`log(sum(exp(x)))` over `dim`, without overflow."""
    x = self if self._kind.dtype.is_floating_point else self.to(dt.get_default_dtype())
    axes = dims_of(dim, x._kind.rank)
    if _empty(x, axes):
        from .creation import full

        return full(_reduced(x, axes, keepdim), float("-inf"), dtype=x._kind.dtype)
    return _LOGSUMEXP.along(x, (axes, keepdim))


def _empty(x: Tensor, axes: tuple[int, ...] | None) -> bool:
    """Whether there is nothing to reduce over."""
    shape = x._array.shape
    return x._array.size == 0 and 0 in (shape if axes is None else [shape[a] for a in axes])


def _reduced(x: Tensor, axes: tuple[int, ...] | None, keepdim: bool) -> tuple[int, ...]:
    """The shape of a reduction."""
    over = range(x._kind.rank) if axes is None else axes
    shape = x._array.shape
    return tuple(1 if k in over else n for k, n in enumerate(shape) if keepdim or k not in over)


class ReductionMethods(TensorBase):
    """Reductions as methods."""

    __slots__ = ()

    sum, mean, prod = sum, mean, prod
    amax, amin, max, min, argmax, argmin = amax, amin, max, min, argmax, argmin
    any, all, var, std, logsumexp = any, all, var, std, logsumexp
