"""The operator table: one row per operator.

A row is one of four shapes:

    pointwise(name, formula)       a scalar function, elementwise over tensors of any shape
    view(name, index map)          where each element of the result is read from
    reduction(name, monoid)        over some dims
    composite(name, built from other rows)

The language's checker and the eager Tensor build nodes from the same rows; the compiler's other
stages know primitives and comprehensions only, never an operator's name. Names and arguments
are PyTorch's. A row's arguments are bound by its signature: `IndexLambda` (a tensor), `int`,
`float`, `bool`, `str`, `Dims` (ints or None), `Sizes` (sizes), `Tensors` (several tensors).
Formula sources stand at the rows; PyTorch's documentation where none is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import op_creation as creation
from . import op_losses as losses
from . import op_products as products
from . import op_reductions as reductions
from . import op_views as views
from .index_lambda import IndexLambda as IndexLambda
from .index_lambda import OpError as OpError
from .op_arguments import Dims as Dims
from .op_arguments import Sizes as Sizes
from .op_arguments import Tensors as Tensors
from .op_pointwise import POINTWISE, primitive_rows
from .op_pointwise import PRIMITIVES_BY_NAME as PRIMITIVES_BY_NAME
from .op_pointwise import Pointwise as Pointwise
from .op_pointwise import scalar_function as scalar_function


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


_BUILDERS: Mapping[str, Callable[..., IndexLambda]] = {
    "permute": views.permute, "transpose": views.transpose, "t": views.transpose,
    "unsqueeze": views.unsqueeze, "squeeze": views.squeeze, "expand": views.expand,
    "broadcast_to": views.expand, "flip": views.flip, "reshape": views.reshape,
    "view": views.reshape, "flatten": views.flatten, "diagonal": views.diagonal,
    "cat": views.cat, "stack": views.stack, "pad": views.pad, "tril": views.tril,
    "triu": views.triu, "index_select": views.index_select,
    **{n: reductions.reduction(r) for n, r in {
        "sum": "sum", "prod": "prod", "amax": "max", "amin": "min", "max": "max", "min": "min",
        "argmax": "argmax", "argmin": "argmin", "any": "any", "all": "all",
    }.items()},
    "mean": reductions.mean, "var": reductions.var, "std": reductions.std,
    "norm": reductions.norm, "normalize": reductions.normalize,
    "logsumexp": reductions.logsumexp, "softmax": reductions.softmax,
    "log_softmax": reductions.log_softmax,
    "matmul": products.matmul, "mm": products.matmul, "bmm": products.matmul,
    "mv": products.matmul, "dot": products.dot, "outer": products.outer,
    "trace": products.trace,
    "zeros": creation.zeros, "ones": creation.ones, "full": creation.full,
    "zeros_like": creation.zeros_like, "ones_like": creation.ones_like,
    "full_like": creation.full_like, "arange": creation.arange, "eye": creation.eye,
    "one_hot": creation.one_hot,
    "layer_norm": losses.layer_norm, "cross_entropy": losses.cross_entropy,
    "nll_loss": losses.nll_loss, "mse_loss": losses.mse_loss, "clamp": losses.clamp,
    "isclose": losses.isclose,
    "binary_cross_entropy_with_logits": losses.binary_cross_entropy_with_logits,
}  # fmt: skip

ROWS: dict[str, Row] = {
    **{row.name: row for row in primitive_rows()},
    **POINTWISE,
    **{name: Structural(name, build) for name, build in _BUILDERS.items()},
}

#: Rows with an infix form beside the primitives'.
INFIX_ROWS: Mapping[str, Row] = {"@": ROWS["matmul"]}

#: Reducers of the index notation, `sum[k](…)`.
INDEX_REDUCERS = (
    "sum", "prod", "max", "min", "mean", "argmax", "argmin", "logsumexp", "any", "all",
)  # fmt: skip
