"""What layers apply: linear maps, tables, normalisation, dropout, and measures of distance.

In: Tensors. Out: Tensors, each by one compiled row; dropout draws its noise first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor import dtype as dt
from ..tensor import random
from ..tensor.core import TensorBase, kind, wrap
from ..tensor.inplace import scalar_name
from ..tensor.operation import Operation
from ..tensor.products import einsum
from ..tensor.views import axis_of
from .activation_functions import require

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor


class _LinearOperation(Operation):
    """`linear`, of operands of one dtype."""

    def _new_site(self, operands: tuple[Any, ...], static: tuple[Any, ...]) -> Any:
        for name, t in zip(("input", "weight", "bias"), operands, strict=False):
            if t is not None and not isinstance(t, TensorBase):
                raise TypeError(
                    f"linear(): argument '{name}' must be Tensor, not {type(t).__name__}"
                )
        names = [scalar_name(t._kind.dtype).lower() for t in operands if t is not None]
        for name in names[1:]:
            if name != names[0]:
                raise RuntimeError(
                    f"expected m1 and m2 to have the same dtype, but got: {names[0]} != {name}"
                )
        return super()._new_site(operands, static)


def _linear(node: str) -> Operation:
    return _LinearOperation("linear", node, promotes=False)


_ADDMM, _MM, _VIEW = _linear("AddmmBackward0"), _linear("MmBackward0"), _linear("ViewBackward0")
_UNSAFE_VIEW = _linear("UnsafeViewBackward0")
_BY_RANK = {1: (_VIEW, _linear("SqueezeBackward4")), 2: (_ADDMM, _MM)}


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input @ weightᵀ + bias: `weight` [out, in] or [in], `bias` [out] or a scalar."""
    require("linear", input)
    with_bias, without = _BY_RANK.get(input._kind.rank, (_VIEW, _UNSAFE_VIEW))
    try:
        if bias is None:
            return without.binary(input, weight)
        return with_bias.call((input, weight, bias), ())
    except RuntimeError:
        _explain_linear(input, weight, bias)
        raise


def _explain_linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Raise PyTorch's error where sizes do not fit."""
    x, w = input._array.shape, weight._array.shape
    if w and x and x[-1] != w[-1]:
        rows = input._array.size // x[-1] if x[-1] else 0
        columns = f"{w[-1]}x{w[0]}" if len(w) > 1 else f"{w[0]}"
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({rows}x{x[-1]} and {columns})"
        ) from None
    if bias is not None and bias._array.shape != w[:1] and bias._array.size != 1:
        target = [*x[:-1], *w[:-1]]
        raise RuntimeError(
            f"The expanded size of the tensor ({target[-1]}) must match the existing size "
            f"({bias._array.shape[-1]}) at non-singleton dimension {len(target) - 1}.  Target "
            f"sizes: {target}.  Tensor sizes: {list(bias._array.shape)}"
        ) from None


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """input1 @ weight[o] @ input2 for every output o, plus the bias."""
    lead = input1._array.shape[:-1]
    if input2._array.shape[:-1] != lead:
        raise RuntimeError(
            "bilinear(): input batch dimensions do not match: got "
            f"{list(input1._array.shape)} and {list(input2._array.shape)}"
        )
    flat = [x.reshape(-1, x._array.shape[-1]) for x in (input1, input2)]
    out = einsum("bi,oij,bj->bo", flat[0], weight, flat[1])
    out = out.reshape((*lead, weight._array.shape[0]))
    return out if bias is None else out + bias


# --------------------------------------------------------------------------- tables

_EMBEDDING = Operation("embedding", "EmbeddingBackward0", promotes=False)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """The rows of `weight` that `input` numbers; row `padding_idx` gets no gradient.

    Raises NotImplementedError for `max_norm`, `scale_grad_by_freq` and `sparse`.
    """
    if max_norm is not None or scale_grad_by_freq or sparse:
        raise NotImplementedError(
            "tdsl's embedding takes no max_norm, scale_grad_by_freq or sparse"
        )
    require("embedding", input)
    if input._kind.dtype not in (dt.int64, dt.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: "
            f"Long, Int; but got {scalar_name(input._kind.dtype)} instead"
        )
    if weight._kind.rank != 2:
        raise RuntimeError("'weight' must be 2-D")
    if padding_idx is not None:
        rows = weight._array.shape[0]
        assert -rows <= padding_idx < rows, "Padding_idx must be within num_embeddings"
    try:
        return _EMBEDDING.call((input, weight), (padding_idx,))
    except IndexError:
        raise IndexError("index out of range in self") from None


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """1 at the class that every element numbers, 0 at the others, along a new last dim."""
    require("one_hot", tensor)
    if tensor._kind.dtype is not dt.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    classes = tensor._array
    if classes.size == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
    elif classes.min() < 0:
        raise RuntimeError("Class values must be non-negative.")
    elif num_classes == -1:
        num_classes = int(classes.max()) + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    elif classes.max() >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    out = np.zeros((*classes.shape, num_classes), np.int64)
    np.put_along_axis(out, classes[..., None], 1, -1)
    return wrap(out, kind(dt.int64, out.ndim))


# --------------------------------------------------------------------------- normalisation

_LAYER_NORM = Operation("layer_norm", "NativeLayerNormBackward0", promotes=False)
_NORMALIZE = Operation("normalize", "DivBackward0", promotes=False)


def layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    """(x - mean) / sqrt(var + eps) over the last dims, times `weight`, plus `bias`."""
    require("layer_norm", input)
    shape = tuple(normalized_shape)
    n = len(shape)
    if input._array.shape[-n:] != shape or not n:
        _explain_layer_norm(input, shape)
    for name, t in (("weight", weight), ("bias", bias)):
        if t is not None and t._array.shape != shape:
            raise RuntimeError(
                f"Expected {name} to be of same shape as normalized_shape, but got {name} of "
                f"shape {list(t._array.shape)} and normalized_shape = {list(shape)}"
            )
    return _LAYER_NORM.call((input, weight, bias), (eps, n))


def _explain_layer_norm(input: Tensor, shape: tuple[int, ...]) -> None:
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least "
            f"one element, but got normalized_shape = {list(shape)}"
        )
    raise RuntimeError(
        f"Given normalized_shape={list(shape)}, expected input with shape "
        f"[*, {', '.join(map(str, shape))}], but got input of size{list(input._array.shape)}"
    )


def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None
) -> Tensor:
    """x / max(‖x‖, eps), the p-norm over `dim`."""
    require("normalize", input)
    axis = axis_of(dim, input._kind.rank)
    return _NORMALIZE.call((input,), (axis, eps, p))


# --------------------------------------------------------------------------- distances

_COSINE = Operation("cosine_similarity", "SumBackward1")
_DISTANCE = Operation("pairwise_distance", "NormBackward1")


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1·x2 / (max(‖x1‖, eps) max(‖x2‖, eps)) over `dim`, after broadcasting."""
    require("cosine_similarity", x1)
    axis_of(dim, max(x1._kind.rank, x2._kind.rank))
    return _COSINE.call((x1, x2), (dim, eps))


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The p-norm of x1 - x2 + eps over the last dim."""
    require("pairwise_distance", x1)
    return _DISTANCE.call((x1, x2), (p, eps, keepdim))


# --------------------------------------------------------------------------- dropout


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """The elements, each 0 with probability `p` and otherwise divided by 1 - p; the input itself
    unless `training`."""
    if not 0 <= p <= 1:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    require("dropout", input)
    if not training or p == 0 or not input._array.size:
        return input
    noise = _noise(input, p)
    return input.mul_(noise) if inplace else input * noise


def _noise(input: Tensor, p: float) -> Tensor:
    """What dropout multiplies by: 0 with probability `p`, else 1 / (1 - p)."""
    shape, own = input._array.shape, input._kind
    if p == 1:
        return wrap(np.zeros(shape, own.dtype.numpy), own)
    drawn = dt.float64 if own.dtype is dt.float64 else dt.float32
    keep = np.full(shape, 1 - p, drawn.numpy)
    kept = wrap(random.bernoulli(keep, drawn.compiled.name), kind(drawn, own.rank))
    scaled = kept / (1 - p)
    return scaled if own.dtype is drawn else scaled.to(own.dtype)
