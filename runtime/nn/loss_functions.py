"""Losses: of classes, of probabilities, of differences; each one compiled row.

In: predictions, targets and what weighs them. Out: a Tensor without dims, or with `reduction`
"none" a loss for every element. PyTorch's checks of shapes stand here; what a row computes is said
in the operator table.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from ..tensor import dtype as dt
from ..tensor.inplace import scalar_name
from ..tensor.operation import Operation
from .activation_functions import require

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor

_REDUCTIONS = ("mean", "sum", "none")


def _reduction(reduction: str, size_average: bool | None = None, reduce: bool | None = None) -> str:
    """The reduction, also by PyTorch's former flags. Raises ValueError for an unknown one."""
    if size_average is not None or reduce is not None:
        averaged = size_average is None or size_average
        reduced = reduce is None or reduce
        return ("mean" if averaged else "sum") if reduced else "none"
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


# --------------------------------------------------------------------------- of classes


class _ClassOperation(Operation):
    """A loss whose targets are numbers of classes."""

    def _new_site(self, operands: tuple[Any, ...], static: tuple[Any, ...]) -> Any:
        require(self.row, operands[0])
        own = operands[1]._kind.dtype
        if own not in (dt.int64, dt.uint8):
            raise RuntimeError(
                f"expected target dtype to be Long or Byte, but got {scalar_name(own)}"
            )
        return super()._new_site(operands, static)


_CROSS_ENTROPY = _ClassOperation("cross_entropy", "NllLossBackward0", promotes=False)
_CROSS_ENTROPY_2D = _ClassOperation("cross_entropy", "NllLoss2DBackward0", promotes=False)
_SMOOTHED = _ClassOperation("cross_entropy", "AddBackward0", promotes=False)
_OF_DISTRIBUTION = Operation("cross_entropy", "DivBackward1", promotes=False)
_NLL = _ClassOperation("nll_loss", "NllLossBackward0", promotes=False)
_NLL_2D = _ClassOperation("nll_loss", "NllLoss2DBackward0", promotes=False)


def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(input)[row, target[row]]: `input` [batch, classes, …] or [classes], `target`
    integer classes, or probabilities in the input's shape. Targets equal to `ignore_index` do not
    count, and a mean divides by the weights of those that do."""
    how = _reduction(reduction, size_average, reduce)
    require("cross_entropy_loss", input)
    if not 0 <= label_smoothing <= 1:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}")
    if target._kind.dtype.is_floating_point and target._array.shape == input._array.shape:
        static = (None, how, label_smoothing)
        return _OF_DISTRIBUTION.call((input, target, weight), static)
    operation = _CROSS_ENTROPY if input._kind.rank <= 2 else _CROSS_ENTROPY_2D
    if label_smoothing:
        operation = _SMOOTHED
    return _of_classes(operation, input, target, weight, (ignore_index, how, label_smoothing))


def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-input[row, target[row]], `input` the logarithms of probabilities."""
    how = _reduction(reduction, size_average, reduce)
    require("nll_loss", input)
    operation = _NLL if input._kind.rank <= 2 else _NLL_2D
    return _of_classes(operation, input, target, weight, (ignore_index, how))


def _of_classes(
    operation: Operation,
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    static: tuple[Any, ...],
) -> Tensor:
    try:
        return operation.call((input, target, weight), static)
    except IndexError as error:
        raise _outside(input, target, static[0], error) from None
    except RuntimeError as error:
        raise _misfit(input, target, weight, error) from None


def _outside(input: Tensor, target: Tensor, ignored: int, error: IndexError) -> IndexError:
    """PyTorch's error where a target numbers no class."""
    classes = input._array.shape[min(1, input._kind.rank - 1)]
    y = target._array
    wrong = y[((y < 0) | (y >= classes)) & (y != ignored)]
    return IndexError(f"Target {int(wrong.flat[0])} is out of bounds.") if wrong.size else error


def _misfit(input: Tensor, target: Tensor, weight: Tensor | None, error: RuntimeError) -> Exception:
    """PyTorch's error where sizes do not fit."""
    x, y = input._array.shape, target._array.shape
    if len(x) > 1 and y and x[0] != y[0]:
        return ValueError(
            f"Expected input batch_size ({x[0]}) to match target batch_size ({y[0]})."
        )
    classes = x[min(1, len(x) - 1)] if x else 0
    if weight is not None and weight._array.shape != (classes,):
        return RuntimeError(
            "weight tensor should be defined either for all "
            f"{classes} classes or no classes but got weight tensor of shape: "
            f"{list(weight._array.shape)}"
        )
    if len(x) > 1 and y != (x[0], *x[2:]):
        return RuntimeError(f"Expected target size {[x[0], *x[2:]]}, got {list(y)}")
    return error


# --------------------------------------------------------------------------- of differences

_MSE = Operation("mse_loss", "MseLossBackward0")
_L1 = {
    how: Operation("l1_loss", node)
    for how, node in {
        "mean": "MeanBackward0", "sum": "SumBackward0", "none": "AbsBackward0",
    }.items()
}  # fmt: skip
_SMOOTH_L1 = Operation("smooth_l1_loss", "SmoothL1LossBackward0")
_HUBER = Operation("huber_loss", "HuberLossBackward0")


def _warn_of_sizes(input: Tensor, target: Tensor) -> None:
    if input._array.shape != target._array.shape:
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}). This will likely lead to incorrect results due to broadcasting. "
            "Please ensure they have the same size.",
            stacklevel=3,
        )


def _by_weight(losses: Tensor, weight: Tensor, reduction: str) -> Tensor:
    """The losses times `weight`; a mean divides by the sum of the weights."""
    weighted = losses * weight
    if reduction == "none":
        return weighted
    total = weighted.sum()
    return total if reduction == "sum" else total / weight.expand(losses._array.shape).sum()


def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(input - target)²."""
    how = _reduction(reduction, size_average, reduce)
    require("mse_loss", input)
    _warn_of_sizes(input, target)
    if weight is not None:
        return _by_weight(_MSE.call((input, target), ("none",)), weight, how)
    return _MSE.call((input, target), (how,))


def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|input - target|."""
    how = _reduction(reduction, size_average, reduce)
    require("l1_loss", input)
    _warn_of_sizes(input, target)
    if weight is not None:
        return _by_weight(_L1["none"].call((input, target), ("none",)), weight, how)
    return _L1[how].call((input, target), (how,))


def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """Quadratic where the difference is less than `beta`, with slope 1 beyond."""
    how = _reduction(reduction, size_average, reduce)
    require("smooth_l1_loss", input)
    _warn_of_sizes(input, target)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0:
        return _L1[how].call((input, target), (how,))
    return _SMOOTH_L1.call((input, target), (how, beta))


def huber_loss(
    input: Tensor,
    target: Tensor,
    reduction: str = "mean",
    delta: float = 1.0,
    weight: Tensor | None = None,
) -> Tensor:
    """Quadratic where the difference is at most `delta`, with slope `delta` beyond."""
    how = _reduction(reduction)
    require("huber_loss", input)
    _warn_of_sizes(input, target)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    if weight is not None:
        return _by_weight(_HUBER.call((input, target), ("none", delta)), weight, how)
    return _HUBER.call((input, target), (how, delta))


# --------------------------------------------------------------------------- of probabilities

_BCE = Operation("binary_cross_entropy", "BinaryCrossEntropyBackward0")
_BCE_LOGITS = Operation("binary_cross_entropy_with_logits", "BinaryCrossEntropyWithLogitsBackward0")
_KL_DIV = {
    how: Operation("kl_div", node)
    for how, node in {
        "mean": "MeanBackward0", "sum": "SumBackward0", "none": "MulBackward0",
        "batchmean": "DivBackward0",
    }.items()
}  # fmt: skip


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-(target log(input) + (1 - target) log(1 - input)); logarithms count as -100 at least.
    Raises RuntimeError for an input outside [0, 1]."""
    how = _reduction(reduction, size_average, reduce)
    require("binary_cross_entropy", input)
    if input._array.shape != target._array.shape:
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size "
            f"({input.size()}) is deprecated. Please ensure they have the same size."
        )
    from ..tensor.conversion import readable

    values = readable(input)
    if values.size and not (values.min() >= 0 and values.max() <= 1):
        raise RuntimeError("all elements of input should be between 0 and 1")
    return _BCE.call((input, target, weight), (how,))


def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """`binary_cross_entropy` of sigmoid(input), without overflow; `pos_weight` scales what the
    positive class costs."""
    how = _reduction(reduction, size_average, reduce)
    require("binary_cross_entropy_with_logits", input)
    if input._array.shape != target._array.shape:
        raise ValueError(
            f"Target size ({target.size()}) must be the same as input size ({input.size()})"
        )
    return _BCE_LOGITS.call((input, target, weight, pos_weight), (how,))


def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """target (log(target) - input), `input` a logarithm, and `target` too if `log_target`;
    "batchmean" divides the sum by the first size."""
    how = reduction if reduction == "batchmean" else _reduction(reduction, size_average, reduce)
    require("kl_div", input)
    if how == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size."
            "'batchmean' divides only by the batch size, and aligns with the KL div math "
            "definition.",
            stacklevel=2,
        )
    return _KL_DIV[how].call((input, target), (how, bool(log_target)))
