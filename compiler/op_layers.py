"""Layers: what networks apply to activations, each built from other rows. PyTorch's formulas."""

from __future__ import annotations

from . import index_lambda as il
from . import scalar as sc
from .dims import dim as dim_of
from .index_lambda import IndexLambda, OpError
from .op_pointwise import call
from .op_products import matmul
from .op_reductions import mean, softmax, var
from .op_views import transpose, unsqueeze


def linear(input: IndexLambda, weight: IndexLambda, bias: IndexLambda | None = None) -> IndexLambda:
    """input @ weightᵀ + bias: `weight` [out, in] or [in], `bias` [out] or a scalar."""
    if weight.rank not in (1, 2):
        raise OpError("E0504", f"linear takes a weight [out, in], got {il.type_text(weight)}")
    out = matmul(input, transpose(weight) if weight.rank == 2 else weight)
    return out if bias is None else il.apply("add", out, bias)


def layer_norm(
    x: IndexLambda,
    weight: IndexLambda | None = None,
    bias: IndexLambda | None = None,
    eps: float = 1e-5,
    normalized_dims: int = 1,
) -> IndexLambda:
    """Over the last `normalized_dims` dims."""
    if not 1 <= normalized_dims <= x.rank:
        raise OpError("E0502", f"layer_norm over {normalized_dims} dim(s) of {il.type_text(x)}")
    dims = -1 if normalized_dims == 1 else tuple(range(-normalized_dims, 0))
    x = il.computed_once(x)
    centered = il.apply("sub", x, mean(x, dims, True))
    spread = il.apply("add", var(x, dims, 0, True), il.scalar(eps))
    out = il.apply("mul", centered, il.of_node(il.materialize(il.apply("rsqrt", spread))))
    out = out if weight is None else il.apply("mul", out, weight)
    return out if bias is None else il.apply("add", out, bias)


def softmin(input: IndexLambda, dim: int) -> IndexLambda:
    return softmax(il.apply("neg", input), dim)


def glu(input: IndexLambda, dim: int = -1) -> IndexLambda:
    """The first half of `dim` times the sigmoid of the second."""
    axis = il.axis_of(dim, input.rank)
    half = input.shape[axis] // 2 if input.rank else dim_of(0)
    if not input.rank or half * 2 != input.shape[axis]:
        raise OpError("E0503", f"glu halves a dim of even size, got {il.type_text(input)}")
    x = il.computed_once(input)
    shape = (*x.shape[:axis], half, *x.shape[axis + 1 :])
    second = sc.substitute_indices(x.body, {axis: sc.op("add", sc.index(axis), sc.size(half))})
    return il.apply("mul", IndexLambda(shape, x.body), call("sigmoid", IndexLambda(shape, second)))


def prelu(input: IndexLambda, weight: IndexLambda) -> IndexLambda:
    """`leaky_relu` with a slope for all or, as a vector, one for each channel (dim 1)."""
    if weight.rank > 1:
        raise OpError("E0503", f"prelu takes a scalar or a vector, got {il.type_text(weight)}")
    for _ in range(input.rank - 2 if weight.rank else 0):
        weight = unsqueeze(weight, -1)
    return call("leaky_relu", input, weight)
