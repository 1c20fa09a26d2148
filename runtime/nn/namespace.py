"""The functions of networks that PyTorch has in its root namespace as well: `tdsl.conv2d`, …"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import functional as F
from .functional import (
    avg_pool1d,
    bilinear,
    celu,
    conv1d,
    conv2d,
    cosine_similarity,
    hardshrink,
    layer_norm,
    max_pool1d,
    max_pool2d,
    pairwise_distance,
    prelu,
    selu,
    threshold,
)

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor

__all__ = [
    "avg_pool1d", "bilinear", "celu", "conv1d", "conv2d", "cosine_similarity", "dropout",
    "embedding", "hardshrink", "layer_norm", "max_pool1d", "max_pool2d", "pairwise_distance",
    "prelu", "selu", "threshold",
]  # fmt: skip


def dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """`nn.functional.dropout`, its arguments all to be given."""
    return F.dropout(input, p, train)


def embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """`nn.functional.embedding`, the table first; `padding_idx` -1 is none."""
    padding = None if padding_idx == -1 else padding_idx
    return F.embedding(
        indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse
    )
