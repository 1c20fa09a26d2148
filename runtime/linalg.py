"""The namespace `tdsl.linalg`: norms and products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .tensor.products import matmul
from .tensor.row_functions import norm as _norm

if TYPE_CHECKING:
    from .tensor.tensor import Tensor

__all__ = ["matmul", "norm", "vector_norm"]


def vector_norm(
    x: Tensor, ord: Any = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The norm of order `ord` over dims, of the Tensor as a vector."""
    return _norm(x, ord, dim, keepdim, dtype)


def norm(
    A: Tensor, ord: Any = None, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:
    """The norm of vectors, and the Frobenius norm of matrices. Raises RuntimeError for the other
    norms of matrices, which need singular values or sums over one dim."""
    rank = A.ndim if dim is None else (1 if isinstance(dim, int) else len(dim))
    if ord not in (None, "fro") and rank > 1:
        raise RuntimeError(f"linalg.norm: the matrix norm of order {ord!r} is not there yet")
    return _norm(A, 2 if ord in (None, "fro") else ord, dim, keepdim, dtype)
