"""Convolution: sums over windows and channels (cross-correlation, as PyTorch's)."""

from __future__ import annotations

from collections.abc import Callable

from . import index_lambda as il
from . import scalar as sc
from .dims import dim
from .graph import comp
from .index_lambda import IndexLambda, OpError
from .op_arguments import Padding, Window
from .op_views import unsqueeze
from .op_windows import Axis, check_least, each_of, inside, padded, read_at


def convolution(rank: int) -> Callable[..., IndexLambda]:
    """Over the last `rank` dims."""

    def build(
        input: IndexLambda,
        weight: IndexLambda,
        bias: IndexLambda | None = None,
        stride: Window = 1,
        padding: Padding = 0,
        dilation: Window = 1,
        groups: int = 1,
    ) -> IndexLambda:
        """`input` [batch, channels, …] or without the batch, `weight` [out channels, channels /
        groups, window…], `bias` [out channels]. `padding` 'same' keeps the size at stride 1."""
        if weight.rank != rank + 2 or input.rank not in (rank + 1, rank + 2):
            raise OpError(
                "E0503",
                f"a convolution over {rank} dims takes an input of rank {rank + 1} or {rank + 2} "
                f"and a weight of rank {rank + 2}, got {il.type_text(input)} and "
                f"{il.type_text(weight)}",
            )
        if input.rank == rank + 1:
            batch = il.insert_axes(input, [0])
            return il.drop_axes(build(batch, weight, bias, stride, padding, dilation, groups), [0])
        inner, per_group = weight.shape[1], weight.shape[0] // groups if groups > 0 else dim(0)
        if groups < 1 or input.shape[1] != inner * groups or weight.shape[0] != per_group * groups:
            raise OpError(
                "E0504",
                f"{groups} group(s) of {inner} channels each against {il.shape_text(input.shape)} "
                f"and {il.shape_text(weight.shape)}",
            )
        axes = _axes(input, weight, stride, padding, dilation)
        x, w = il.computed_once(input), il.computed_once(weight)
        spatial = [sc.index(3 + k) for k in range(rank)]  # after batch, group, channel of it
        element = [sc.index(4 + rank + k) for k in range(rank)]
        group, made, used = sc.index(1), sc.index(2), sc.index(3 + rank)
        at = [a.position(o, k) for a, o, k in zip(axes, spatial, element, strict=True)]
        channel = sc.op("add", sc.op("mul", group, sc.size(inner)), used)
        output = sc.op("add", sc.op("mul", group, sc.size(per_group)), made)
        value = padded(
            read_at(x, [sc.index(0), channel], at),
            inside(axes, at),
            sc.const(0, x.dtype),
        )
        product = sc.op("mul", value, read_at(w, [output, used], element))
        shape = [input.shape[0], dim(groups), per_group, *(a.windows for a in axes)]
        if groups == 1:  # no dim for the group
            fewer = {1: sc.size(0), **{k: sc.index(k - 1) for k in range(2, 4 + 2 * rank)}}
            product = sc.substitute_indices(product, fewer)
            del shape[1]
        extents = [*shape, inner, *(a.kernel for a in axes)]
        out = il.of_node(comp(product, extents, len(shape), "sum"))
        if groups > 1:
            out = _merged(out)
        if bias is None:
            return out
        for _ in range(rank):
            bias = unsqueeze(bias, -1)
        return il.apply("add", out, bias)

    return build


def _axes(
    x: IndexLambda, w: IndexLambda, stride: Window, padding: Padding, dilation: Window
) -> list[Axis]:
    rank = w.rank - 2
    strides, dilations = each_of(stride, rank, "stride"), each_of(dilation, rank, "dilation")
    check_least("stride", strides)
    check_least("dilation", dilations)
    spread = list(zip(x.shape[2:], w.shape[2:], strides, dilations, strict=True))
    if padding == "same":
        if any(s != 1 for s in strides):
            raise OpError("E0503", f"padding 'same' takes a stride of 1, got {stride}")
        sizes = [((k - 1) * d // 2, (k - 1) * d - (k - 1) * d // 2) for _, k, _, d in spread]
    elif padding == "valid":
        sizes = [(dim(0), dim(0))] * rank
    elif isinstance(padding, str):
        raise OpError("E0603", f"padding is a number, 'same' or 'valid', got {padding!r}")
    else:
        each = each_of(padding, rank, "padding")
        check_least("padding", each, 0)
        sizes = [(dim(p), dim(p)) for p in each]
    return [
        Axis(n, k, s, d, low, high) for (n, k, s, d), (low, high) in zip(spread, sizes, strict=True)
    ]


def _merged(x: IndexLambda) -> IndexLambda:
    """[batch, groups, channels of a group, …] with one dim for both."""
    inner = x.shape[2]
    channel = sc.index(1)
    digits = [sc.op("floordiv", channel, sc.size(inner)), sc.op("mod", channel, sc.size(inner))]
    rest = [sc.index(k) for k in range(2, x.rank - 1)]
    shape = (x.shape[0], x.shape[1] * inner, *x.shape[3:])
    return il.reindex(x, shape, [sc.index(0), *digits, *rest])
