"""Matrix products and what is built from them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .core import TensorBase
from .inplace import scalar_name
from .operation import Operation

if TYPE_CHECKING:
    from .tensor import Tensor


def _operation(row: str, node: str) -> Operation:
    return Operation(row, node, promotes=False)


_MM, _MV = _operation("matmul", "MmBackward0"), _operation("matmul", "MvBackward0")
_BMM, _DOT = _operation("matmul", "BmmBackward0"), _operation("matmul", "DotBackward0")
_MATMUL = _operation("matmul", "UnsafeViewBackward0")
_EINSUM = _operation("einsum", "EinsumBackward0")


def _require(name: str, *tensors: Any) -> None:
    """Tensors of one dtype."""
    for k, t in enumerate(tensors):
        if not isinstance(t, TensorBase):
            raise TypeError(f"{name}(): argument {k + 1} must be Tensor, not {type(t).__name__}")
    first = tensors[0]._kind.dtype
    for t in tensors[1:]:
        if t._kind.dtype is not first:
            raise RuntimeError(
                f"{name}: expected both tensors to have the same dtype, but got: "
                f"{scalar_name(first)} and {scalar_name(t._kind.dtype)}"
            )


def _listing(t: Tensor) -> str:
    return "x".join(map(str, t._array.shape))


def matmul(self: Tensor, other: Tensor) -> Tensor:
    """The matrix product `@`: vectors, matrices, and batches of them broadcast together."""
    if (
        isinstance(self, TensorBase)
        and isinstance(other, TensorBase)
        and self._kind is other._kind
        and self._kind.rank == 2
        and self._array.shape[1] == other._array.shape[0]
    ):  # the common case, without the rules in full
        return _MM.binary(self, other)
    _require("matmul", self, other)
    a, b = self._array.shape, other._array.shape
    if not a or not b:
        raise RuntimeError(
            f"both arguments to matmul need to be at least 1D, but they are {len(a)}D and {len(b)}D"
        )
    inner = b[-2] if len(b) > 1 else b[0]
    if a[-1] != inner:
        if len(a) == len(b) == 1:
            raise RuntimeError(
                f"inconsistent tensor size, expected tensor [{a[0]}] and src [{b[0]}] to have the "
                f"same number of elements, but got {a[0]} and {b[0]} elements respectively"
            )
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({_listing(self)} and {_listing(other)})"
        )
    operation = {
        (1, 1): _DOT, (2, 1): _MV, (2, 2): _MM, (3, 3): _BMM,
    }.get((len(a), len(b)), _MATMUL)  # fmt: skip
    return operation.binary(self, other)


def mm(self: Tensor, mat2: Tensor) -> Tensor:
    """The product of two matrices."""
    _require("mm", self, mat2)
    for name, t in (("self", self), ("mat2", mat2)):
        if t._kind.rank != 2:
            raise RuntimeError(f"{name} must be a matrix")
    return matmul(self, mat2)


def bmm(self: Tensor, mat2: Tensor) -> Tensor:
    """The products of two batches of matrices."""
    _require("bmm", self, mat2)
    for k, t in enumerate((self, mat2)):
        if t._kind.rank != 3:
            raise RuntimeError(f"batch{k + 1} must be a 3D tensor")
    a, b = self._array.shape, mat2._array.shape
    if a[0] != b[0] or a[2] != b[1]:
        raise RuntimeError(
            f"Expected size for first two dimensions of batch2 tensor to be: [{a[0]}, {a[2]}] but "
            f"got: [{b[0]}, {b[1]}]."
        )
    return _BMM.binary(self, mat2)


def mv(self: Tensor, vec: Tensor) -> Tensor:
    """The product of a matrix and a vector."""
    _require("mv", self, vec)
    if self._kind.rank != 2 or vec._kind.rank != 1:
        raise RuntimeError(
            f"vector + matrix @ vector expected, got {vec._kind.rank}, {self._kind.rank}, "
            f"{vec._kind.rank}"
        )
    if self._array.shape[1] != vec._array.shape[0]:
        raise RuntimeError(
            f"size mismatch, got input ({self._array.shape[0]}), mat ({_listing(self)}), vec "
            f"({vec._array.shape[0]})"
        )
    return matmul(self, vec)


def dot(self: Tensor, tensor: Tensor) -> Tensor:
    """The sum of the products of two vectors' elements."""
    _require("dot", self, tensor)
    if self._kind.rank != 1 or tensor._kind.rank != 1:
        raise RuntimeError(
            f"1D tensors expected, but got {self._kind.rank}D and {tensor._kind.rank}D tensors"
        )
    return matmul(self, tensor)


def outer(self: Tensor, vec2: Tensor) -> Tensor:
    """The products of every element of a vector with every one of another."""
    for name, t in (("self", self), ("vec2", vec2)):
        if t._kind.rank != 1:
            raise RuntimeError(f"outer: Expected 1-D argument {name}, but got {t._kind.rank}-D")
    return self.unsqueeze(1) * vec2


def einsum(equation: str, *operands: Any) -> Tensor:
    """Sums of products by Einstein's convention: `einsum("ij,jk->ik", a, b)`."""
    if not isinstance(equation, str):
        raise TypeError(
            f"einsum(): argument 'equation' (position 1) must be str, not {type(equation).__name__}"
        )
    if len(operands) == 1 and isinstance(operands[0], tuple | list):
        operands = tuple(operands[0])
    if not operands:
        raise ValueError("einsum(): must provide at least one operand")
    _require("einsum", *operands)
    return _EINSUM(equation, *([operands] if _takes_a_list() else operands))


def _takes_a_list() -> bool:
    return any(role == "tensors" for _, role, _ in _EINSUM.parameters)


def addmm(self: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1) -> Tensor:
    """`beta * self + alpha * (mat1 @ mat2)`."""
    product = mm(mat1, mat2)
    return (self if beta == 1 else self * beta).add(product, alpha=alpha)


class ProductMethods(TensorBase):
    """Products as methods."""

    __slots__ = ()

    matmul, mm, bmm, mv, dot, outer, addmm = matmul, mm, bmm, mv, dot, outer, addmm
    ger = outer
    inner = dot

    def __matmul__(self: Tensor, other: Any) -> Tensor:
        if not isinstance(other, TensorBase):
            return NotImplemented
        return matmul(self, other)  # type: ignore[arg-type]

    def __rmatmul__(self: Tensor, other: Any) -> Tensor:
        return NotImplemented
