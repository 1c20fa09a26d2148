"""The methods that make views, and those that rearrange elements through views and copies."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import blocks, core
from . import dtype as dt
from .core import TensorBase
from .inplace import check_writable
from .modes import mode
from .saved import type_name
from .storage import dense, strided
from .tape import edge_of, needs_grad
from .views import (
    CloneBackward0,
    ExpandBackward0,
    PermuteBackward0,
    SqueezeBackward0,
    SqueezeBackward1,
    TBackward0,
    TransposeBackward0,
    UnsafeViewBackward0,
    UnsqueezeBackward0,
    ViewBackward0,
    ViewStep,
    _inferred,
    as_strided,
    axis_of,
    sizes_of,
    view_of,
    view_strides,
    viewed,
)

if TYPE_CHECKING:
    from .tensor import Tensor


def _of_itself(name: str) -> Any:
    """The in-place form of a view: the Tensor becomes the view."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(self)
        view = getattr(self, name)(*args, **kwargs)
        self._array, self._kind = view._array, view._kind
        if view._grad_fn is not None:
            self._grad_fn, self._output_nr = view._grad_fn, view._output_nr
        core.bump(self, f"{name}_")
        return self

    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"This Tensor becomes its `{name}`."
    return method


class ViewMethods(TensorBase):
    """Views as methods; as functions they take the Tensor first."""

    __slots__ = ()

    # ----------------------------------------------------------------------- shape

    def view(self: Tensor, *shape: Any) -> Tensor:
        """The same elements in another shape, or seen as another dtype. Raises RuntimeError where
        the layout does not allow it without a copy."""
        if len(shape) == 1 and isinstance(shape[0], dt.dtype):
            return _view_dtype(self, shape[0])
        array = self._array
        if array.flags.c_contiguous:  # the common case, without the rules in full
            try:
                if _ordinary(shape):
                    return _reshaped(self, array.reshape(*shape), ViewBackward0)
            except (TypeError, ValueError):
                pass  # what is wrong with the shape is said below
        if not shape:
            raise TypeError("view() received an invalid combination of arguments - got ()")
        wanted = _inferred(sizes_of(shape), self._array.size)
        found = _without_copy(self, wanted)
        if found is None:
            raise RuntimeError(
                "view size is not compatible with input tensor's size and stride (at least one "
                "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
            )
        return _reshaped(self, found, ViewBackward0)

    def view_as(self: Tensor, other: Tensor) -> Tensor:
        """`view` in `other`'s shape."""
        return self.view(other._array.shape)

    def reshape(self: Tensor, *shape: Any) -> Tensor:
        """The elements in another shape: a view where the layout allows it, else a copy."""
        array = self._array
        if array.flags.c_contiguous:
            try:
                if _ordinary(shape):
                    return _reshaped(self, array.reshape(*shape), ViewBackward0)
            except (TypeError, ValueError):
                pass  # what is wrong with the shape is said below
        if not shape:
            raise TypeError('reshape() missing 1 required positional arguments: "shape"')
        wanted = _inferred(sizes_of(shape), self._array.size)
        found = _without_copy(self, wanted)
        if found is not None:
            return _reshaped(self, found, ViewBackward0)
        copy = self.contiguous()
        return _reshaped(copy, copy._array.reshape(wanted), UnsafeViewBackward0)

    def reshape_as(self: Tensor, other: Tensor) -> Tensor:
        """`reshape` to `other`'s shape."""
        return self.reshape(other._array.shape)

    def flatten(self: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Dims `start_dim` to `end_dim` as one."""
        shape = self._array.shape
        a, b = axis_of(start_dim, len(shape)), axis_of(end_dim, len(shape))
        if a > b:
            raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
        if not shape:
            return self.reshape(1)
        if a == b:
            return self
        return self.reshape((*shape[:a], math.prod(shape[a : b + 1]), *shape[b + 1 :]))

    def unflatten(self: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
        """Dim `dim` as several of `sizes`, one of which may be -1."""
        shape = self._array.shape
        axis = axis_of(dim, len(shape))
        try:
            new = _inferred(sizes_of([sizes]), shape[axis])
        except RuntimeError:
            raise RuntimeError(
                f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim "
                f"{dim} ({shape[axis]}) in the input tensor"
            ) from None
        return self.view((*shape[:axis], *new, *shape[axis + 1 :]))

    def ravel(self: Tensor) -> Tensor:
        """All elements in one dim."""
        return self.reshape(-1)

    def squeeze(self: Tensor, dim: Any = None) -> Tensor:
        """Without its dims of size 1, or without those of `dim` that are."""
        shape = self._array.shape
        if dim is None:
            axes = [k for k, n in enumerate(shape) if n == 1]
        else:
            given = dim if isinstance(dim, tuple | list) else (dim,)
            axes = [k for k in (axis_of(d, len(shape)) for d in given) if shape and shape[k] == 1]
        node = SqueezeBackward0 if dim is None else SqueezeBackward1
        array = self._array
        found = np.squeeze(array, axis=tuple(axes)) if axes else array[...]
        return viewed(self, found, node, lambda g: g.reshape(shape))

    def unsqueeze(self: Tensor, dim: int) -> Tensor:
        """With a dim of size 1 at `dim`."""
        array = self._array
        axis = axis_of(dim, array.ndim + 1)
        shape = array.shape
        if array.flags.c_contiguous and array.size and 1 not in shape:  # NumPy means the same
            found = array.reshape(*shape[:axis], 1, *shape[axis:])
            return viewed(self, found, UnsqueezeBackward0, lambda g: g.squeeze(axis))
        step = array.shape[axis] * array.strides[axis] if axis < array.ndim else array.itemsize
        found = strided(
            array,
            (*array.shape[:axis], 1, *array.shape[axis:]),
            (*array.strides[:axis], step, *array.strides[axis:]),
        )
        return viewed(self, found, UnsqueezeBackward0, lambda g: g.squeeze(axis))

    # ----------------------------------------------------------------------- order of dims

    def transpose(self: Tensor, dim0: int, dim1: int) -> Tensor:
        """Dims `dim0` and `dim1` exchanged."""
        array = self._array
        a, b = axis_of(dim0, array.ndim), axis_of(dim1, array.ndim)
        found = array.swapaxes(a, b) if array.ndim else array[...]
        return viewed(self, found, TransposeBackward0, lambda g: g.transpose(a, b))

    def t(self: Tensor) -> Tensor:
        """A matrix transposed; of fewer dims, as it is."""
        if self._array.ndim > 2:
            raise RuntimeError(
                f"t() expects a tensor with <= 2 dimensions, but self is {self._array.ndim}D"
            )
        return viewed(self, self._array.T, TBackward0, lambda g: g.t())

    def permute(self: Tensor, *dims: Any) -> Tensor:
        """The dims in another order."""
        given = sizes_of(dims)
        rank = self._array.ndim
        if len(given) != rank:
            raise RuntimeError(
                "permute(sparse_coo): number of dimensions in the tensor input does not match the "
                f"length of the desired ordering of dimensions i.e. input.dim() = {rank} is not "
                f"equal to len(dims) = {len(given)}"
            )
        order = [axis_of(d, rank) for d in given]
        if len(set(order)) < len(order):
            raise RuntimeError("permute(): duplicate dims are not allowed.")
        inverse = [order.index(k) for k in range(rank)]
        return viewed(
            self, self._array.transpose(order), PermuteBackward0, lambda g: g.permute(inverse)
        )

    def movedim(self: Tensor, source: Any, destination: Any) -> Tensor:
        """Dims `source` moved to `destination`, the others in their order."""
        rank = self._array.ndim
        src = [axis_of(d, rank) for d in _listed(source)]
        dst = [axis_of(d, rank) for d in _listed(destination)]
        if len(src) != len(dst):
            raise RuntimeError(
                "movedim: Invalid source or destination dims: source "
                f"({src} dims) should contain the same number of dims as destination ({dst} dims)"
            )
        if len(set(src)) < len(src) or len(set(dst)) < len(dst):
            raise RuntimeError("movedim: repeated dim in `source` or `destination`")
        rest = iter(k for k in range(rank) if k not in src)
        at = dict(zip(dst, src, strict=True))
        return self.permute([at[k] if k in at else next(rest) for k in range(rank)])

    moveaxis = movedim

    def swapaxes(self: Tensor, axis0: int, axis1: int) -> Tensor:
        """`transpose`."""
        return self.transpose(axis0, axis1)

    swapdims = swapaxes

    @property
    def T(self: Tensor) -> Tensor:
        """The dims in reverse order."""
        return viewed(self, self._array.T, PermuteBackward0, lambda g: g.T)

    @property
    def mT(self: Tensor) -> Tensor:
        """The last two dims exchanged."""
        if self._array.ndim < 2:
            raise RuntimeError(
                "tensor.mT is only supported on matrices or batches of matrices. Got "
                f"{self._array.ndim}-D tensor."
            )
        return self.transpose(-2, -1)

    @property
    def H(self: Tensor) -> Tensor:
        """A matrix, transposed and conjugated."""
        if self._array.ndim not in (0, 2):
            raise RuntimeError(
                "tensor.H is only supported on matrices (2-D tensors). Got "
                f"{self._array.ndim}-D tensor."
            )
        return self.transpose(0, 1) if self._array.ndim else self

    mH = mT  # noqa: N815

    def adjoint(self: Tensor) -> Tensor:
        """`mH`."""
        return self.mT

    # ----------------------------------------------------------------------- broadcasting

    def expand(self: Tensor, *sizes: Any) -> Tensor:
        """Dims of size 1 seen as larger ones, without a copy; -1 keeps a size."""
        wanted = sizes_of(sizes)
        shape = self._array.shape
        lead = len(wanted) - len(shape)
        if lead < 0:
            raise RuntimeError(
                f"expand({_type(self)}{{{list(shape)}}}, size={list(wanted)}): the number of sizes "
                f"provided ({len(wanted)}) must be greater or equal to the number of dimensions in "
                f"the tensor ({len(shape)})"
            )
        new = []
        strides = []
        for k, n in enumerate(wanted):
            own = shape[k - lead] if k >= lead else 1
            step = self._array.strides[k - lead] if k >= lead else 0
            if n == -1:
                if k < lead:
                    raise RuntimeError(
                        f"expand({_type(self)}{{{list(shape)}}}, size={list(wanted)}): the "
                        f"expanded size of the tensor (-1) isn't allowed in a leading, "
                        f"non-existing dimension {k}"
                    )
                n = own
            elif n < 0:
                raise RuntimeError(f"expand: invalid size {n}")
            if n != own and own != 1:
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) must match the existing size ({own}) "
                    f"at non-singleton dimension {k}.  Target sizes: {list(wanted)}.  Tensor "
                    f"sizes: {list(shape)}"
                )
            new.append(n)
            strides.append(step if n == own else 0)
        found = strided(self._array, new, strides)
        return viewed(self, found, ExpandBackward0, lambda g: sum_to(g, shape))

    def expand_as(self: Tensor, other: Tensor) -> Tensor:
        """`expand` to `other`'s shape."""
        return self.expand(other._array.shape)

    def broadcast_to(self: Tensor, size: Any) -> Tensor:
        """`expand`."""
        return self.expand(size)

    def sum_to_size(self: Tensor, *size: Any) -> Tensor:
        """Summed over the dims that broadcasting from `size` would add or widen."""
        return sum_to(self, sizes_of(size))

    def as_strided(
        self: Tensor, size: Any, stride: Any, storage_offset: int | None = None
    ) -> Tensor:
        """A view by sizes, strides and offset, all in elements."""
        return as_strided(self, size, stride, storage_offset)

    # ----------------------------------------------------------------------- of itself

    squeeze_, unsqueeze_ = _of_itself("squeeze"), _of_itself("unsqueeze")
    t_, transpose_ = _of_itself("t"), _of_itself("transpose")
    swapaxes_ = swapdims_ = transpose_
    as_strided_ = _of_itself("as_strided")

    # ----------------------------------------------------------------------- copies

    def contiguous(self: Tensor, memory_format: Any = None) -> Tensor:
        """This Tensor if its elements are dense and in order, else a copy whose are."""
        if self._array.flags.c_contiguous:
            return self
        return self.clone(memory_format="contiguous")

    def clone(self: Tensor, *, memory_format: Any = None) -> Tensor:
        """A copy; the gradient passes through."""
        array = self._array
        kept = memory_format is None and dense(array)
        out = core.wrap(blocks.copied(array, "K" if kept else "C"), self._kind)
        if mode.grad and needs_grad(self):
            out._grad_fn = CloneBackward0(edge_of(self), lambda g: g)
            out._requires_grad = True
        return out


def _listed(value: Any) -> list[int]:
    return list(value) if isinstance(value, tuple | list) else [value]


def _type(t: Tensor) -> str:
    return type_name(t._kind)


def _ordinary(shape: Any) -> bool:
    """Whether no size is below -1 (which NumPy takes for -1)."""
    sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], tuple | list) else shape
    return min(sizes, default=0) >= -1


def _without_copy(t: Tensor, wanted: tuple[int, ...]) -> Any:
    """The elements in another shape as a view; None where that needs a copy."""
    array = t._array
    if array.flags.c_contiguous:
        return array.reshape(wanted)
    size = array.itemsize
    strides = view_strides(array.shape, [s // size for s in array.strides], wanted)
    if strides is None:
        return None
    return strided(array, wanted, [s * size for s in strides])


def _reshaped(t: Tensor, array: Any, node: type[ViewStep]) -> Tensor:
    shape = t._array.shape
    return viewed(t, array, node, lambda g: g.reshape(shape))


def _view_dtype(t: Tensor, dtype: Any) -> Tensor:
    """The memory seen as elements of another dtype."""
    array = t._array
    if dtype is t._kind.dtype:
        return viewed(t, array[...], ViewBackward0, lambda g: g)
    if dtype.itemsize != array.itemsize and (
        not array.ndim
        or array.strides[-1] != array.itemsize
        or array.shape[-1] * array.itemsize % dtype.itemsize
    ):
        raise RuntimeError(
            f"self.size(-1) must be divisible by {dtype.itemsize // array.itemsize or 1} to view "
            f"{t._kind.dtype} as {dtype} (different element sizes), and its last dim dense"
        )
    found = view_of(t, array.view(dtype.numpy))
    found._kind = core.kind(dtype, found._array.ndim)
    found._view = None
    return found


def sum_to(g: Tensor, shape: Sequence[int]) -> Tensor:
    """`g` summed to a shape from which it was broadcast."""
    have = g._array.shape
    if have == tuple(shape):
        return g
    lead = len(have) - len(shape)
    axes = [*range(lead), *(k + lead for k, n in enumerate(shape) if n == 1 != have[k + lead])]
    total = g.sum(dim=axes, keepdim=True) if axes else g
    return total.reshape(tuple(shape))
