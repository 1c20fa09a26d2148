"""Convolution and pooling: windows that slide over the last dims.

In: `input` [batch, channels, spatial dims…], or without the batch. Out: Tensors, each by one
compiled row; sizes that a window does not fit are refused here, as compiled code knows no sizes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor import dtype as dt
from ..tensor.core import kind, wrap
from ..tensor.inplace import scalar_name
from ..tensor.operation import Operation
from .activation_functions import require

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor

Window = int | Sequence[int]


def _static(value: Any) -> Any:
    """A window's argument as part of a key."""
    return tuple(value) if isinstance(value, list) else value


def each(value: Any, rank: int) -> tuple[int, ...]:
    """One number for every spatial dim."""
    if isinstance(value, int):
        return (value,) * rank
    given = tuple(value)
    return given * rank if len(given) == 1 else given


# --------------------------------------------------------------------------- convolution


class _ConvolutionOperation(Operation):
    """A convolution, of operands of one dtype."""

    def _new_site(self, operands: tuple[Any, ...], static: tuple[Any, ...]) -> Any:
        given = [t._kind.dtype for t in operands if t is not None]
        for other in given[1:]:
            if other is not given[0]:
                raise RuntimeError(
                    f"expected scalar type {scalar_name(given[0])} but found {scalar_name(other)}"
                )
        return super()._new_site(operands, static)


_CONV = {
    rank: _ConvolutionOperation(f"conv{rank}d", "ConvolutionBackward0", promotes=False)
    for rank in (1, 2)
}


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Window = 1,
    padding: Window | str = 0,
    dilation: Window = 1,
    groups: int = 1,
) -> Tensor:
    """`weight` [out channels, channels / groups, width] slid over the last dim."""
    return _convolution(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Window = 1,
    padding: Window | str = 0,
    dilation: Window = 1,
    groups: int = 1,
) -> Tensor:
    """`weight` [out channels, channels / groups, height, width] slid over the last two dims."""
    return _convolution(2, input, weight, bias, stride, padding, dilation, groups)


def _convolution(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Tensor:
    require(f"conv{rank}d", input)
    _check_convolution(rank, input, weight, bias, stride, padding, dilation, groups)
    static = (_static(stride), _static(padding), _static(dilation), groups)
    return _CONV[rank].call((input, weight, bias), static)


def _check_convolution(
    rank: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> None:
    x, w = input._array.shape, weight._array.shape
    if len(x) not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to conv{rank}d, but "
            f"got input of size: {list(x)}"
        )
    if len(w) != rank + 2:
        raise RuntimeError(
            f"expected a weight of {rank + 2} dims for conv{rank}d, but got weight of size "
            f"{list(w)}"
        )
    if groups < 1:
        raise RuntimeError("non-positive groups is not supported")
    channels = x[-rank - 1]
    if channels != w[1] * groups or w[0] % groups:
        raise RuntimeError(
            f"Given groups={groups}, weight of size {list(w)}, expected input{list(x)} to have "
            f"{w[1] * groups} channels, but got {channels} channels instead"
        )
    if bias is not None and bias._array.shape != w[:1]:
        raise RuntimeError(
            f"Given weight of size {list(w)}, expected bias to be 1-dimensional with {w[0]} "
            f"elements, but got bias of size {list(bias._array.shape)} instead"
        )
    strides, dilations = each(stride, rank), each(dilation, rank)
    if any(s < 1 for s in strides):
        raise RuntimeError("non-positive stride is not supported")
    if any(d < 1 for d in dilations):
        raise RuntimeError("dilation should be greater than zero")
    if padding == "same":
        if any(s != 1 for s in strides):
            raise RuntimeError("padding='same' is not supported for strided convolutions")
        return
    if isinstance(padding, str) and padding != "valid":
        raise RuntimeError(f"Invalid padding string: '{padding}'")
    paddings = each(0 if padding == "valid" else padding, rank)
    if any(p < 0 for p in paddings):
        raise RuntimeError("negative padding is not supported")
    padded = [n + 2 * p for n, p in zip(x[-rank:], paddings, strict=True)]
    kernel = [d * (k - 1) + 1 for d, k in zip(dilations, w[2:], strict=True)]
    if any(k > n for n, k in zip(padded, kernel, strict=True)):
        raise RuntimeError(
            f"Calculated padded input size per channel: ({' x '.join(map(str, padded))}). Kernel "
            f"size: ({' x '.join(map(str, kernel))}). Kernel size can't be greater than actual "
            "input size"
        )


# --------------------------------------------------------------------------- pooling

_MAX_POOL = {
    1: Operation("max_pool1d", "SqueezeBackward1", promotes=False),
    2: Operation("max_pool2d", "MaxPool2DWithIndicesBackward0", promotes=False),
}
_AVG_POOL = {
    1: Operation("avg_pool1d", "SqueezeBackward1", promotes=False),
    2: Operation("avg_pool2d", "AvgPool2DBackward0", promotes=False),
}


def max_pool1d(
    input: Tensor,
    kernel_size: Window,
    stride: Window | None = None,
    padding: Window = 0,
    dilation: Window = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The greatest element of every window; with `return_indices` also where it stands."""
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Window,
    stride: Window | None = None,
    padding: Window = 0,
    dilation: Window = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The greatest element of every window; with `return_indices` also where it stands, as an
    index into the flattened last two dims."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def _max_pool(
    rank: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    stride = None if stride is None or stride == () else _static(stride)
    static = (_static(kernel_size), stride, _static(padding), _static(dilation), bool(ceil_mode))
    windows = _checked_windows(f"max_pool{rank}d", rank, input, *static)
    out = _MAX_POOL[rank].call((input,), static)
    if not return_indices:
        return out
    return out, _positions(input, each(kernel_size, rank), static, windows)


def avg_pool1d(
    input: Tensor,
    kernel_size: Window,
    stride: Window | None = None,
    padding: Window = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of every window; the padding counts as zeros, or not at all."""
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad, None)


def avg_pool2d(
    input: Tensor,
    kernel_size: Window,
    stride: Window | None = None,
    padding: Window = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """The mean of every window; the padding counts as zeros, or not at all. `divisor_override`
    is divided by in place of the number of elements."""
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _avg_pool(
    rank: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: int | None,
) -> Tensor:
    stride = None if stride is None or stride == () else _static(stride)
    window = (_static(kernel_size), stride, _static(padding))
    _checked_windows(f"avg_pool{rank}d", rank, input, *window, 1, bool(ceil_mode))
    static = (*window, bool(ceil_mode), bool(count_include_pad), divisor)
    return _AVG_POOL[rank].call((input,), static)


def _checked_windows(
    name: str,
    rank: int,
    input: Tensor,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
) -> list[int]:
    """How many windows there are along every dim. Raises RuntimeError where there is none."""
    require(name, input)
    x = input._array.shape
    if len(x) not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"non-empty {rank + 1}D or {rank + 2}D (batch mode) tensor expected for input"
        )
    kernels = each(kernel_size, rank)
    strides = kernels if stride is None else each(stride, rank)
    counts = []
    for n, k, s, p, d in zip(
        x[-rank:], kernels, strides, each(padding, rank), each(dilation, rank), strict=True
    ):
        if s == 0:
            raise RuntimeError("stride should not be zero")
        if k < 1 or s < 1 or d < 1:
            raise RuntimeError(f"{name}: kernel_size, stride and dilation must be greater than 0")
        reach = d * (k - 1) + 1
        if p < 0 or 2 * p > reach:
            raise RuntimeError(
                "pad should be at most half of effective kernel size, but got "
                f"pad={p}, kernel_size={k} and dilation={d}"
            )
        left = n + 2 * p - reach
        count = (-(-left // s) if ceil_mode else left // s) + 1
        if ceil_mode and (count - 1) * s >= n + p:
            count -= 1
        counts.append(count)
    if any(c < 1 for c in counts):
        size = "x".join(map(str, x[-rank - 1 :]))
        made = "x".join(map(str, (x[-rank - 1], *(max(c, 0) for c in counts))))
        raise RuntimeError(
            f"Given input size: ({size}). Calculated output size: ({made}). Output size is too "
            "small"
        )
    return counts


def _positions(
    input: Tensor, kernels: tuple[int, ...], static: tuple[Any, ...], windows: list[int]
) -> Tensor:
    """Where the greatest element of every window stands, in the flattened spatial dims. The
    first of several counts, and a NaN is the greatest."""
    from ..tensor.conversion import readable

    rank = len(windows)
    _, stride, padding, dilation, _ = static
    strides = kernels if stride is None else each(stride, rank)
    at = [
        (np.arange(n) * s)[:, None] + np.arange(k) * d - p
        for n, s, k, d, p in zip(
            windows, strides, kernels, each(dilation, rank), each(padding, rank), strict=True
        )
    ]
    x = readable(input)
    sizes = x.shape[-rank:]
    place: Any = np.zeros((), np.int64)
    inside: Any = np.ones((), np.bool_)
    for axis, (a, size) in enumerate(zip(at, sizes, strict=True)):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = a.shape
        a = a.reshape(shape)
        inside = inside & (a >= 0) & (a < size)
        place = place * size + a
    place, inside = np.broadcast_arrays(place, inside)
    flat = x.reshape(*x.shape[:-rank], math.prod(sizes))
    least = -np.inf if input._kind.dtype.is_floating_point else np.iinfo(x.dtype).min
    read = np.where(inside, flat[..., np.where(inside, place, 0)], least)
    count = math.prod(kernels)
    first = read.reshape(*read.shape[: read.ndim - rank], count).argmax(-1)
    places = np.broadcast_to(place.reshape(*windows, count), (*first.shape, count))
    found = np.take_along_axis(places, first[..., None], -1)[..., 0]
    return wrap(np.ascontiguousarray(found, np.int64), kind(dt.int64, found.ndim))
