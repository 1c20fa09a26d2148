"""Losses that compare two tensors element by element, clamps and closeness. PyTorch's formulas.

`reduction` is 'mean', 'sum' or 'none'; `weight` scales each element's loss.
"""

from __future__ import annotations

from . import index_lambda as il
from .dims import product
from .dtypes import F64
from .index_lambda import IndexLambda, OpError
from .op_pointwise import call
from .op_reductions import mean


def reduced(loss: IndexLambda, reduction: str) -> IndexLambda:
    match reduction:
        case "mean":
            return mean(loss)
        case "sum":
            return il.reduce(loss, "sum", None)
        case "none":
            return loss
    raise OpError("E0603", f"a reduction is 'mean', 'sum' or 'none', got {reduction!r}")


def _weighted(loss: IndexLambda, weight: IndexLambda | None) -> IndexLambda:
    return loss if weight is None else il.apply("mul", loss, weight)


def mse_loss(input: IndexLambda, target: IndexLambda, reduction: str = "mean") -> IndexLambda:
    difference = il.apply("sub", input, target)
    return reduced(il.apply("mul", difference, difference), reduction)


def l1_loss(input: IndexLambda, target: IndexLambda, reduction: str = "mean") -> IndexLambda:
    return reduced(il.apply("abs", il.apply("sub", input, target)), reduction)


def smooth_l1_loss(
    input: IndexLambda, target: IndexLambda, reduction: str = "mean", beta: float = 1.0
) -> IndexLambda:
    """Quadratic where the difference is less than `beta`, with slope 1 beyond."""
    if beta < 0:
        raise OpError("E0503", f"smooth_l1_loss takes a beta of at least 0, got {beta}")
    if beta == 0:
        return l1_loss(input, target, reduction)
    return reduced(call("smooth_l1", il.apply("sub", input, target), beta), reduction)


def huber_loss(
    input: IndexLambda, target: IndexLambda, reduction: str = "mean", delta: float = 1.0
) -> IndexLambda:
    """Quadratic where the difference is at most `delta`, with slope `delta` beyond."""
    if delta <= 0:
        raise OpError("E0503", f"huber_loss takes a delta above 0, got {delta}")
    return reduced(call("huber", il.apply("sub", input, target), delta), reduction)


def binary_cross_entropy(
    input: IndexLambda,
    target: IndexLambda,
    weight: IndexLambda | None = None,
    reduction: str = "mean",
) -> IndexLambda:
    """Of probabilities; their logarithms count as -100 at least."""
    return reduced(_weighted(call("binary_surprise", input, target), weight), reduction)


def binary_cross_entropy_with_logits(
    input: IndexLambda,
    target: IndexLambda,
    weight: IndexLambda | None = None,
    reduction: str = "mean",
    pos_weight: IndexLambda | None = None,
) -> IndexLambda:
    """Of logits; `pos_weight` scales what the positive class costs."""
    if pos_weight is None:
        loss = il.apply("sub", call("softplus", input), il.apply("mul", target, input))
    else:
        # (1 - t)*x + (1 + (w - 1)*t) * softplus(-x)
        one = il.scalar(1)
        factor = il.apply("mul", il.apply("sub", pos_weight, one), target)
        positive = call("softplus", il.apply("neg", input))
        loss = il.apply(
            "add",
            il.apply("mul", il.apply("sub", one, target), input),
            il.apply("mul", il.apply("add", one, factor), positive),
        )
    return reduced(_weighted(loss, weight), reduction)


def kl_div(
    input: IndexLambda, target: IndexLambda, reduction: str = "mean", log_target: bool = False
) -> IndexLambda:
    """target * (log(target) - input), `input` a logarithm and `target` too if `log_target`;
    'batchmean' divides the sum by the first size."""
    if log_target:
        loss = il.apply("mul", il.apply("exp", target), il.apply("sub", target, input))
    else:
        t = il.computed_once(target)
        loss = il.apply("sub", call("xlogy", t, t), il.apply("mul", t, input))
    if reduction != "batchmean":
        return reduced(loss, reduction)
    batch = input.shape[0] if input.rank else product(())
    return il.apply("div", reduced(loss, "sum"), il.scalar(batch))


def clamp(
    x: IndexLambda, min: IndexLambda | None = None, max: IndexLambda | None = None
) -> IndexLambda:
    if min is not None and max is not None:
        return call("clamp_both", x, min, max)
    if min is not None:
        return call("clamp_min", x, min)
    return x if max is None else call("clamp_max", x, max)


def isclose(x: IndexLambda, y: IndexLambda, rtol: float = 1e-5, atol: float = 1e-8) -> IndexLambda:
    gap = il.apply("abs", il.apply("sub", x, y))
    bound = il.apply("mul", il.apply("abs", y), il.scalar(rtol))
    return il.apply("le", gap, il.apply("add", bound, il.scalar(atol)))


def float_power(input: IndexLambda, exponent: IndexLambda) -> IndexLambda:
    """The power in f64."""
    return il.apply("pow", il.cast(input, F64), il.cast(exponent, F64))


def positive(input: IndexLambda) -> IndexLambda:
    if input.dtype.is_bool:
        raise OpError("E0402", f"positive takes numbers, got {il.type_text(input)}")
    return input
