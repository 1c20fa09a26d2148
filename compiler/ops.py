"""The operator table: one row per operator.

A row is one of four shapes:

    pointwise(name, formula)       a scalar function, elementwise over tensors of any shape
    view(name, index map)          where each element of the result is read from
    reduction(name, monoid)        over some dims
    composite(name, built from other rows)

The language's checker and the eager Tensor build nodes from the same rows; the compiler's other
stages know primitives and comprehensions only, never an operator's name. Names and arguments
are PyTorch's. A row's arguments are bound by its signature: `IndexLambda` (a tensor), `int`,
`float`, `bool`, `str`, `Dims` (ints or None), `Sizes` (sizes), `Tensors` (several tensors),
`Window` (ints), `Padding` (ints or a name), `Order` (of a norm).
Formula sources stand at the rows; PyTorch's documentation where none is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any

from . import op_classification as classification
from . import op_convolution as convolution
from . import op_creation as creation
from . import op_diagonals as diagonals
from . import op_einsum as einsum
from . import op_indexing as indexing
from . import op_layers as layers
from . import op_losses as losses
from . import op_norms as norms
from . import op_pooling as pooling
from . import op_products as products
from . import op_random as random
from . import op_reductions as reductions
from . import op_repetition as repetition
from . import op_views as views
from .index_lambda import IndexLambda as IndexLambda
from .index_lambda import OpError as OpError
from .op_arguments import Dims as Dims
from .op_arguments import Order as Order
from .op_arguments import Padding as Padding
from .op_arguments import Sizes as Sizes
from .op_arguments import Tensors as Tensors
from .op_arguments import Window as Window
from .op_options import optioned_rows
from .op_pointwise import INFIX_NAMES, POINTWISE, aliases, primitive_rows
from .op_pointwise import PRIMITIVES_BY_NAME as PRIMITIVES_BY_NAME
from .op_pointwise import Pointwise as Pointwise
from .op_pointwise import scalar_function as scalar_function
from .records import dataclass


@dataclass(frozen=True)
class Structural:
    """A view, reduction or composite: `build` takes lambdas and static arguments."""

    name: str
    build: Callable[..., Any]
    domain: tuple[float, float] = (-3.0, 3.0)

    @cached_property
    def signature(self) -> inspect.Signature:
        return inspect.signature(self.build)

    def apply(self, *args: Any, **keywords: Any) -> Any:
        return self.build(*args, **keywords)


Row = Pointwise | Structural


_VIEWS: Mapping[str, Callable[..., IndexLambda]] = {
    "permute": views.permute, "transpose": views.transpose, "t": views.transpose,
    "swapaxes": views.transpose, "swapdims": views.transpose,
    "movedim": views.movedim, "moveaxis": views.movedim,
    "unsqueeze": views.unsqueeze, "squeeze": views.squeeze, "expand": views.expand,
    "broadcast_to": views.expand, "flip": views.flip, "reshape": views.reshape,
    "view": views.reshape, "flatten": views.flatten, "unflatten": views.unflatten,
    "cat": views.cat, "concat": views.cat, "concatenate": views.cat, "stack": views.stack,
    "pad": views.pad, "narrow": views.narrow, "select": views.select, "unfold": views.unfold,
    "diagonal": diagonals.diagonal, "diag": diagonals.diag, "diag_embed": diagonals.diag_embed,
    "tril": diagonals.tril, "triu": diagonals.triu,
    "repeat": repetition.repeat, "tile": repetition.tile,
    "repeat_interleave": repetition.repeat_interleave, "roll": repetition.roll,
    "index_select": indexing.index_select, "gather": indexing.gather,
    "take_along_dim": indexing.take_along_dim, "embedding": indexing.embedding,
    "masked_fill": indexing.masked_fill, "scatter_add": indexing.scatter_add,
    "index_add": indexing.index_add, "scatter": indexing.scatter,
    "index_fill": indexing.index_fill,
    "zeros": creation.zeros, "ones": creation.ones, "full": creation.full,
    "zeros_like": creation.zeros_like, "ones_like": creation.ones_like,
    "full_like": creation.full_like, "arange": creation.arange, "eye": creation.eye,
    "one_hot": creation.one_hot,
}  # fmt: skip

_REDUCTIONS: Mapping[str, Callable[..., IndexLambda]] = {
    **{n: reductions.reduction(r) for n, r in {
        "sum": "sum", "prod": "prod", "amax": "max", "amin": "min", "max": "max", "min": "min",
        "argmax": "argmax", "argmin": "argmin", "any": "any", "all": "all",
    }.items()},
    "mean": reductions.mean, "var": reductions.var, "std": reductions.std,
    "count_nonzero": reductions.count_nonzero, "nansum": reductions.nansum,
    "nanmean": reductions.nanmean,
    "logsumexp": reductions.logsumexp, "softmax": reductions.softmax,
    "log_softmax": reductions.log_softmax,
    "norm": norms.norm, "vector_norm": norms.vector_norm, "normalize": norms.normalize,
    "cosine_similarity": norms.cosine_similarity, "pairwise_distance": norms.pairwise_distance,
    "matmul": products.matmul, "mm": products.matmul, "bmm": products.matmul,
    "mv": products.matmul, "dot": products.dot, "outer": products.outer,
    "trace": products.trace, "einsum": einsum.einsum,
}  # fmt: skip

_NETWORKS: Mapping[str, Callable[..., IndexLambda]] = {
    "conv1d": convolution.convolution(1), "conv2d": convolution.convolution(2),
    "max_pool1d": pooling.maximum_pooling(1), "max_pool2d": pooling.maximum_pooling(2),
    "avg_pool1d": pooling.mean_pooling(1), "avg_pool2d": pooling.mean_pooling(2),
    "linear": layers.linear, "layer_norm": layers.layer_norm, "softmin": layers.softmin,
    "glu": layers.glu, "prelu": layers.prelu,
    "cross_entropy": classification.cross_entropy, "nll_loss": classification.nll_loss,
    "mse_loss": losses.mse_loss, "l1_loss": losses.l1_loss,
    "smooth_l1_loss": losses.smooth_l1_loss, "huber_loss": losses.huber_loss,
    "binary_cross_entropy": losses.binary_cross_entropy,
    "binary_cross_entropy_with_logits": losses.binary_cross_entropy_with_logits,
    "kl_div": losses.kl_div,
    "clamp": losses.clamp, "clip": losses.clamp, "isclose": losses.isclose,
    "float_power": losses.float_power, "positive": losses.positive,
}  # fmt: skip

_RANDOM: Mapping[str, Callable[..., IndexLambda]] = {
    "random_bits": random.random_bits, "random_uniform": random.random_uniform,
    "random_normal": random.random_normal, "random_integers": random.random_integers,
    "random_bernoulli": random.random_bernoulli,
}  # fmt: skip

ROWS: dict[str, Row] = {
    **{row.name: row for row in primitive_rows()},
    **POINTWISE,
    **{row.name: row for row in random.WORDS},
    **{row.name: row for row in (*aliases(), *optioned_rows())},
    **{
        name: Structural(name, build)
        for name, build in {**_VIEWS, **_REDUCTIONS, **_NETWORKS, **_RANDOM}.items()
    },
}

#: The rows that a program would call: not those that it writes infix.
CALLED = tuple(name for name in ROWS if name not in INFIX_NAMES)

#: Rows with an infix form beside the primitives'.
INFIX_ROWS: Mapping[str, Row] = {"@": ROWS["matmul"]}

#: Reducers of the index notation, `sum[k](…)`.
INDEX_REDUCERS = (
    "sum", "prod", "max", "min", "mean", "argmax", "argmin", "logsumexp", "any", "all",
)  # fmt: skip
