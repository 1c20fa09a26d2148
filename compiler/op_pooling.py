"""Pooling: the mean or the greatest element of each window."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim, dim, product
from .graph import comp
from .index_lambda import IndexLambda, OpError
from .op_arguments import Window
from .op_windows import Axis, check_least, each_of, inside, padded, read_at
from .records import dataclass
from .scalar import Scalar


@dataclass(frozen=True)
class _Pool:
    """The windows of a pooling over the last dims: after the lead's and the windows' indices
    come those of a window's elements."""

    x: IndexLambda
    axes: Sequence[Axis]

    @property
    def shape(self) -> list[Dim]:
        lead = self.x.shape[: self.x.rank - len(self.axes)]
        return [*lead, *(a.windows for a in self.axes)]

    @property
    def extents(self) -> list[Dim]:
        return [*self.shape, *(a.kernel for a in self.axes)]

    def indices(self) -> tuple[list[Scalar], list[Scalar], list[Scalar]]:
        """Of the lead, the windows and the elements."""
        rank, n = self.x.rank, len(self.axes)
        every: list[Scalar] = [sc.index(k) for k in range(rank + n)]
        return every[: rank - n], every[rank - n : rank], every[rank:]

    def element(self, outside: Scalar) -> Scalar:
        """The element read, `outside` in the padding."""
        lead, windows, elements = self.indices()
        at = [a.position(o, k) for a, o, k in zip(self.axes, windows, elements, strict=True)]
        return padded(read_at(self.x, lead, at), inside(self.axes, at), outside)


def _pool(
    input: IndexLambda,
    rank: int,
    kernel_size: Window,
    stride: Window | None,
    padding: Window,
    dilation: Window,
    ceil_mode: bool,
) -> _Pool:
    if input.rank not in (rank + 1, rank + 2):
        raise OpError(
            "E0503",
            f"pooling over {rank} dims takes a rank of {rank + 1} or {rank + 2}, "
            f"got {il.type_text(input)}",
        )
    kernels = each_of(kernel_size, rank, "kernel_size")
    strides = kernels if stride is None else each_of(stride, rank, "stride")
    paddings, dilations = each_of(padding, rank, "padding"), each_of(dilation, rank, "dilation")
    for what, values in (("kernel_size", kernels), ("stride", strides), ("dilation", dilations)):
        check_least(what, values)
    if any(p < 0 or 2 * p > k for p, k in zip(paddings, kernels, strict=True)):
        raise OpError(
            "E0503",
            f"padding is at most half of the window, got {padding} for a window of {kernel_size}",
        )
    axes = []
    sizes = input.shape[input.rank - rank :]
    for n, k, s, p, d in zip(sizes, kernels, strides, paddings, dilations, strict=True):
        # a window more where elements are left over, if it starts before the padding after them
        more = max(0, min(s - 1, d * (k - 1) - p)) if ceil_mode else 0
        axes.append(Axis(n, dim(k), s, d, dim(p), dim(p + more)))
    return _Pool(il.computed_once(input), axes)


def maximum_pooling(rank: int) -> Callable[..., IndexLambda]:
    def build(
        input: IndexLambda,
        kernel_size: Window,
        stride: Window | None = None,
        padding: Window = 0,
        dilation: Window = 1,
        ceil_mode: bool = False,
    ) -> IndexLambda:
        """The greatest element of each window; of equal ones the first has the gradient."""
        pool = _pool(input, rank, kernel_size, stride, padding, dilation, ceil_mode)
        shape, elements = pool.shape, pool.indices()[2]
        signed = {"f": -math.inf, "i": -(2 ** (input.dtype.bits - 1))}
        least = signed.get(input.dtype.kind, 0)
        value = pool.element(sc.const(least, input.dtype))
        greatest = il.of_node(comp(value, pool.extents, len(shape), "max")).body
        number: Scalar = sc.size(0)
        for axis, element in zip(pool.axes, elements, strict=True):
            number = sc.op("add", sc.op("mul", number, sc.size(axis.kernel)), element)
        hit = sc.op("eq", value, greatest)
        if input.dtype.is_float:
            hit = sc.op("or", hit, sc.op("isnan", value))
        last = product(tuple(axis.kernel for axis in pool.axes))
        position = sc.op("where", hit, number, sc.size(last))
        first = il.of_node(comp(position, pool.extents, len(shape), "min"))
        chosen = sc.op("where", sc.op("eq", number, first.body), value, sc.const(0, input.dtype))
        out = il.of_node(comp(chosen, pool.extents, len(shape), "sum"))
        return il.cast(out, input.dtype)  # a sum of small integers has a wider type

    return build


def mean_pooling(rank: int) -> Callable[..., IndexLambda]:
    def build(
        input: IndexLambda,
        kernel_size: Window,
        stride: Window | None = None,
        padding: Window = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> IndexLambda:
        """The mean of each window; the padding counts as zeros, or not at all."""
        pool = _pool(input, rank, kernel_size, stride, padding, 1, ceil_mode)
        shape = pool.shape
        total = il.of_node(
            comp(pool.element(sc.const(0, input.dtype)), pool.extents, len(shape), "sum")
        )
        if divisor_override is not None:
            return il.apply("div", total, il.scalar(divisor_override))
        count: Scalar = sc.size(1)
        for axis, window in zip(pool.axes, pool.indices()[1], strict=True):
            count = sc.op("mul", count, _counted(axis, window, count_include_pad))
        return il.apply("div", total, IndexLambda(tuple(shape), count))

    return build


def _counted(axis: Axis, window: Scalar, padding_counts: bool) -> Scalar:
    """How many elements of a window are in the tensor, or in it and its padding: what a window
    reaches beyond both never counts."""
    padding = axis.before  # the same on both sides; `after` holds what windows reach beyond it
    start = sc.op("sub", sc.op("mul", sc.size(axis.stride), window), sc.size(padding))
    end = sc.op("add", start, sc.size(axis.kernel))
    limit = axis.size + (padding if padding_counts else 0)
    if axis.after != (padding if padding_counts else dim(0)):
        end = sc.op("min", end, sc.size(limit))
    if not padding_counts and padding.const != 0:
        start = sc.op("max", start, sc.size(0))
    return sc.op("sub", end, start)
