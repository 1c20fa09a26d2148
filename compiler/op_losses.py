"""Layers and losses, each built from other rows. PyTorch's formulas and defaults."""

from __future__ import annotations

from . import index_lambda as il
from . import scalar as sc
from .index_lambda import IndexLambda, OpError
from .op_pointwise import call
from .op_reductions import log_softmax, mean, var


def layer_norm(
    x: IndexLambda,
    weight: IndexLambda | None = None,
    bias: IndexLambda | None = None,
    eps: float = 1e-5,
) -> IndexLambda:
    """Over the last dim."""
    x = il.computed_once(x)
    centered = il.apply("sub", x, mean(x, -1, True))
    spread = il.apply("add", var(x, -1, 0, True), il.scalar(eps))
    out = il.apply("mul", centered, il.of_node(il.materialize(il.apply("rsqrt", spread))))
    out = out if weight is None else il.apply("mul", out, weight)
    return out if bias is None else il.apply("add", out, bias)


def cross_entropy(input: IndexLambda, target: IndexLambda) -> IndexLambda:
    """Mean of −log softmax(input)[row, target[row]]; `input` [rows, classes], `target` [rows]."""
    if input.rank != 2 or target.rank != 1 or not target.dtype.is_integer:
        raise OpError(
            "E0402",
            "cross_entropy takes logits [rows, classes] and integer classes [rows], "
            f"got {il.type_text(input)} and {il.type_text(target)}",
        )
    return nll_loss(log_softmax(input, 1), target)


def nll_loss(input: IndexLambda, target: IndexLambda) -> IndexLambda:
    if input.rank != 2 or target.rank != 1 or not target.dtype.is_integer:
        raise OpError(
            "E0402",
            "nll_loss takes log-probabilities [rows, classes] and integer classes [rows], "
            f"got {il.type_text(input)} and {il.type_text(target)}",
        )
    x, y = il.computed_once(input), il.computed_once(target)
    picked = il.reindex(x, y.shape, [sc.index(0), y.body])
    return il.apply("neg", mean(picked))


def mse_loss(input: IndexLambda, target: IndexLambda) -> IndexLambda:
    difference = il.apply("sub", input, target)
    return mean(il.apply("mul", difference, difference))


def binary_cross_entropy_with_logits(input: IndexLambda, target: IndexLambda) -> IndexLambda:
    return mean(il.apply("sub", call("softplus", input), il.apply("mul", target, input)))


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
