"""Activation functions: each one compiled row, elementwise or along a dim.

In: Tensors and Python numbers. Out: Tensors. Those with `inplace` write their input if it is set.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from ..tensor import row_functions
from ..tensor.core import TensorBase, same_history
from ..tensor.inplace import assign, check_writable, scalar_name
from ..tensor.operation import Operation
from ..tensor.pointwise import PointwiseMethods, not_a_tensor
from ..tensor.views import axis_of

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor


class FloatOperation(Operation):
    """An operation on floats alone; `code` is what PyTorch's message calls it."""

    def __init__(self, row: str, node: str, code: str, **more: Any) -> None:
        super().__init__(row, node, **more)
        self._code = code

    def _new_site(self, operands: tuple[Any, ...], static: tuple[Any, ...]) -> Any:
        own = operands[0]._kind.dtype
        if not own.is_floating_point:
            raise NotImplementedError(f"\"{self._code}\" not implemented for '{scalar_name(own)}'")
        return super()._new_site(operands, static)


def require(name: str, input: Any) -> None:
    """Raise TypeError for what is no Tensor."""
    if not isinstance(input, TensorBase):
        raise not_a_tensor(name, input)


def _applied(
    operation: Operation,
    input: Tensor,
    numbers: tuple[Any, ...],
    static: tuple[Any, ...],
    written: bool,
) -> Tensor:
    """An operation named after its row, perhaps written into its input."""
    require(operation.row, input)
    if not written:
        if not numbers and not static:
            return operation.unary(input)
        return operation.call((input, *numbers), static)
    check_writable(input)
    result = operation.call((same_history(input), *numbers), static)
    return assign(input, result, operation.row + "_")


_GELU = FloatOperation("gelu", "GeluBackward0", "GeluKernelImpl")
_SILU = FloatOperation("silu", "SiluBackward0", "silu_cpu")
_ELU = FloatOperation("elu", "EluBackward0", "elu_cpu")
_CELU = FloatOperation("celu", "CeluBackward0", "elu_cpu")
_SELU = FloatOperation("selu", "EluBackward0", "elu_cpu")
_LEAKY_RELU = FloatOperation("leaky_relu", "LeakyReluBackward0", "leaky_relu_cpu")
_SOFTPLUS = FloatOperation("softplus", "SoftplusBackward0", "softplus_cpu")
_LOG_SIGMOID = FloatOperation("log_sigmoid", "LogSigmoidBackward0", "log_sigmoid_cpu")
_HARDTANH = Operation("hardtanh", "HardtanhBackward0")
_RELU6 = Operation("relu6", "HardtanhBackward0")
_HARDSWISH = FloatOperation("hardswish", "HardswishBackward0", "hardswish_cpu")
_HARDSIGMOID = FloatOperation("hardsigmoid", "HardsigmoidBackward0", "hardsigmoid_cpu")
_MISH = FloatOperation("mish", "MishBackward0", "mish_cpu")
_SOFTSIGN = Operation("softsign", "DivBackward0")
_HARDSHRINK = FloatOperation("hardshrink", "HardshrinkBackward0", "hardshrink_cpu")
_SOFTSHRINK = FloatOperation("softshrink", "SoftshrinkBackward0", "softshrink_cpu")
_TANHSHRINK = Operation("tanhshrink", "SubBackward0")
_THRESHOLD = Operation("threshold", "ThresholdBackward0")
_GLU = FloatOperation("glu", "GluBackward0", "glu_cpu", promotes=False)
_PRELU = FloatOperation("prelu", "PreluKernelBackward0", "prelu_cpu", promotes=False)
_SOFTMIN = FloatOperation(
    "softmin", "SoftmaxBackward0", "softmax_lastdim_kernel_impl", promotes=False
)

_relu, _sigmoid, _tanh = PointwiseMethods.relu, PointwiseMethods.sigmoid, PointwiseMethods.tanh


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0)."""
    return input.relu_() if inplace else _relu(input)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return _sigmoid(input)


def tanh(input: Tensor) -> Tensor:
    """The hyperbolic tangent."""
    return _tanh(input)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x Φ(x), Φ the normal distribution; `approximate` "tanh" computes it by a tanh."""
    require("gelu", input)
    if approximate == "none":
        return _GELU.unary(input)
    if approximate != "tanh":
        raise RuntimeError("approximate argument must be either none or tanh.")
    return _GELU.call((input,), (approximate,))


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """x sigmoid(x)."""
    return _applied(_SILU, input, (), (), inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above 0, else alpha (exp(x) - 1)."""
    return _applied(_ELU, input, (alpha,), (), inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x above 0, else alpha (exp(x / alpha) - 1). Raises RuntimeError for an alpha of 0."""
    if alpha == 0:
        raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
    return _applied(_CELU, input, (alpha,), (), inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """`elu` with the scales that keep mean and variance."""
    return _applied(_SELU, input, (), (), inplace)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x above 0, else negative_slope x."""
    return _applied(_LEAKY_RELU, input, (negative_slope,), (), inplace)


def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """log(1 + exp(beta x)) / beta; x itself where beta x is over the threshold."""
    return _applied(_SOFTPLUS, input, (), (float(beta), float(threshold)), False)


def logsigmoid(input: Tensor) -> Tensor:
    """log(sigmoid(x)), computed as such."""
    return _applied(_LOG_SIGMOID, input, (), (), False)


def hardtanh(
    input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False
) -> Tensor:
    """The elements, none below `min_val` or above `max_val`."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return _applied(_HARDTANH, input, (min_val, max_val), (), inplace)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x, 0), 6)."""
    return _applied(_RELU6, input, (), (), inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """x `hardsigmoid`(x)."""
    return _applied(_HARDSWISH, input, (), (), inplace)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """min(max(x/6 + 1/2, 0), 1)."""
    return _applied(_HARDSIGMOID, input, (), (), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """x tanh(softplus(x))."""
    return _applied(_MISH, input, (), (), inplace)


def softsign(input: Tensor) -> Tensor:
    """x / (1 + |x|)."""
    return _applied(_SOFTSIGN, input, (), (), False)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x outside [-lambd, lambd], else 0."""
    return _applied(_HARDSHRINK, input, (lambd,), (), False)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """x drawn towards 0 by `lambd`, 0 in between."""
    if lambd < 0:
        raise RuntimeError(f"lambda must be greater or equal to 0, but found to be {lambd}.")
    return _applied(_SOFTSHRINK, input, (lambd,), (), False)


def tanhshrink(input: Tensor) -> Tensor:
    """x - tanh(x)."""
    return _applied(_TANHSHRINK, input, (), (), False)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """x above `threshold`, else `value`."""
    return _applied(_THRESHOLD, input, (threshold, value), (), inplace)


# --------------------------------------------------------------------------- with a dim


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """The first half of `dim` times the sigmoid of the second."""
    require("glu", input)
    if not input._kind.rank:
        raise RuntimeError("glu does not support 0-dimensional tensors")
    axis = axis_of(dim, input._kind.rank)
    n = input._array.shape[axis]
    if n % 2:
        raise RuntimeError(f"Halving dimension must be even, but dimension {axis} is size {n}")
    return _GLU.call((input,), (axis,))


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """`leaky_relu` with the slopes `weight`: one for all, or one for every channel (dim 1)."""
    require("prelu", input)
    slopes = weight._array.size
    if weight._kind.rank > 1:
        raise RuntimeError(
            "prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = "
            f"{weight._kind.rank}"
        )
    if slopes != 1:
        channels = input._array.shape[1] if input._kind.rank > 1 else 1
        if slopes != channels:
            raise RuntimeError(
                "Mismatch of parameter numbers and input channel size. Found parameter numbers = "
                f"{slopes} and channel size = {channels}."
            )
    one = weight.reshape(()) if slopes == 1 else weight
    return _PRELU.call((input, one), ())


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """exp(x) / sum(exp(x)) along `dim`, without overflow."""
    return row_functions.softmax(input, _dim(input, dim, "softmax", _stacklevel), dtype)


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """The logarithm of `softmax`, computed as such."""
    return row_functions.log_softmax(input, _dim(input, dim, "log_softmax", _stacklevel), dtype)


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None
) -> Tensor:
    """`softmax` of -x."""
    axis = _dim(input, dim, "softmin", _stacklevel)
    x = input if dtype is None else input.to(dtype)
    if not x._kind.rank:
        axis_of(axis, 0)
        return softmin(x.reshape(1), 0).reshape(())
    return _SOFTMIN.call((x,), (axis_of(axis, x._kind.rank),))


def _dim(input: Tensor, dim: int | None, name: str, stacklevel: int) -> int:
    """The dim to normalise over. Without one it is chosen as PyTorch does, with a warning."""
    require(name, input)
    if dim is not None:
        return dim
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if input._kind.rank in (0, 1, 3) else 1
