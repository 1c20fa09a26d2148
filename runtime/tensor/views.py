"""Views: Tensors over the same storage. Their steps back, and the methods that make them.

In: a Tensor. Out: a Tensor that shares its storage and version counter, with a history that knows
how to bring a gradient back into place.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .anomaly import anomaly, remember_place
from .core import INFERENCE, Array, Origin, TensorBase, View, counter, kind, wrap
from .inplace import AsStridedBackward0, geometry, overlaps
from .modes import mode
from .storage import address, owner, strided
from .tape import Edge, Gradients, Node, edge_of, needs_grad, sequence

if TYPE_CHECKING:
    from .tensor import Tensor

Replay = Callable[["Tensor"], "Tensor"]


def view_of(t: Tensor, array: Array, origin: Origin = None) -> Tensor:
    """A Tensor over a view of `t`'s elements, without history yet."""
    same = t._kind
    own = same.dtype
    rank = array.ndim
    out = wrap(array, same if same.rank == rank else kind(own, rank))
    version = t._counter
    if version is None:
        version = counter(t)
    out._counter = version
    if own.is_floating_point and version is not INFERENCE:
        above = t._view
        if mode.inference:
            origin = "inference"
        elif not mode.grad:
            origin = "no_grad"
        if above is None:
            out._view = View(t, version.value, origin)
        else:
            out._view = View(above.base, version.value, origin or above.origin)
    return out


class ViewStep(Node):
    """The step of a view; subclasses bear PyTorch's names. `back` takes the cotangent."""

    __slots__ = ("_back",)

    def __init__(self, edge: Edge, back: Callable[[Any], Any]) -> None:
        # as `Node.__init__`, whose call would take as long as all else here
        self.edges = (edge,)
        self.sequence = next(sequence)
        self.hooks = self.notes = None
        self._back = back
        if anomaly.enabled:
            remember_place(self)

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        gradient = cotangents[0]
        return [None if gradient is None else self._back(gradient)]


def step(name: str) -> type[ViewStep]:
    """A class of view steps."""
    return type(name, (ViewStep,), {"__slots__": ()})


ViewBackward0, UnsafeViewBackward0 = step("ViewBackward0"), step("UnsafeViewBackward0")
TransposeBackward0, TBackward0 = step("TransposeBackward0"), step("TBackward0")
PermuteBackward0, ExpandBackward0 = step("PermuteBackward0"), step("ExpandBackward0")
UnsqueezeBackward0, SqueezeBackward0 = step("UnsqueezeBackward0"), step("SqueezeBackward0")
SqueezeBackward1, SelectBackward0 = step("SqueezeBackward1"), step("SelectBackward0")
SliceBackward0, DiagonalBackward0 = step("SliceBackward0"), step("DiagonalBackward0")
UnfoldBackward0, AliasBackward0 = step("UnfoldBackward0"), step("AliasBackward0")
CloneBackward0, ToCopyBackward0 = step("CloneBackward0"), step("ToCopyBackward0")


def viewed(
    t: Tensor, array: Array, node: type[ViewStep], back: Callable[[Tensor], Tensor]
) -> Tensor:
    """A view with its history."""
    out = view_of(t, array)
    if mode.grad and needs_grad(t):
        out._grad_fn, out._requires_grad = node(edge_of(t), back), True
    return out


# --------------------------------------------------------------------------- parts of a tensor


def embedded(
    parts: Gradients, shape: Sequence[int], views: Sequence[Replay], overlapping: bool = False
) -> Tensor:
    """Zeros of `shape` with `parts` added at `views`: the way back of taking these views."""
    first = next(p for p in parts if p is not None)
    own = first._kind.dtype
    if own.name == "bfloat16" and overlapping:
        wide = [None if p is None else p.float() for p in parts]
        return embedded(wide, shape, views, True).to(own)
    out = wrap(np.zeros(tuple(shape), own.numpy), kind(own, len(shape)))
    for part, view in zip(parts, views, strict=True):
        if part is None:
            continue
        place = view(out)._array
        if overlapping:
            _add_overlapping(place, part._array)
        else:
            np.copyto(place, part._array)
    out._counter = None
    given = [p for p in parts if p is not None and needs_grad(p)]
    if mode.grad and given:
        out._grad_fn = EmbedBackward0(tuple(edge_of(p) if p is not None else (None, 0)
                                            for p in parts), views)  # fmt: skip
        out._requires_grad = True
    return out


def _add_overlapping(place: Array, part: Array) -> None:
    """`place += part` where elements of `place` may be the same: one position of the overlapping
    axes after another would be slow, `np.add.at` over flat positions is not."""
    size = place.itemsize
    positions = np.zeros((), np.int64)
    for n, s in zip(place.shape, place.strides, strict=True):
        positions = np.add.outer(positions, np.arange(n) * (s // size))
    if not positions.size:
        return
    reach = int(positions.max()) + 1
    flat = strided(place, (reach,), (size,))
    np.add.at(flat, positions.ravel(), np.ascontiguousarray(part).ravel())


class EmbedBackward0(Node):
    """The step of `embedded`: its gradient is the views."""

    __slots__ = ("_views",)

    def __init__(self, edges: tuple[Edge, ...], views: Sequence[Replay]) -> None:
        super().__init__(edges)
        self._views = views

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        gradient = cotangents[0]
        assert gradient is not None
        return [
            None if e[0] is None else v(gradient)
            for e, v in zip(self.next_functions, self._views, strict=True)
        ]


def part(t: Tensor, array: Array, node: type[ViewStep], replay: Replay) -> Tensor:
    """A view of some elements; `replay` takes the same view of another Tensor of `t`'s shape."""
    shape = t._array.shape
    return viewed(t, array, node, lambda g: embedded([g], shape, [replay]))


class SeveralViews(Node):
    """The step of a function that returns several views."""

    __slots__ = ("_shape", "_views")

    def __init__(self, edge: Edge, shape: Sequence[int], views: Sequence[Replay]) -> None:
        super().__init__((edge,))
        self._shape, self._views = tuple(shape), views

    def outputs(self) -> int:
        return len(self._views)

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        return [embedded(cotangents, self._shape, self._views)]


class UnbindBackward0(SeveralViews):
    __slots__ = ()


class SplitBackward0(SeveralViews):
    __slots__ = ()


class SplitWithSizesBackward0(SeveralViews):
    __slots__ = ()


def several(t: Tensor, node: type[SeveralViews], views: Sequence[Replay]) -> tuple[Tensor, ...]:
    """The views, as results of one step."""
    before, mode.grad = mode.grad, False
    try:
        arrays = [v(t)._array for v in views]
    finally:
        mode.grad = before
    found = [view_of(t, a, ("several", k, node.__name__)) for k, a in enumerate(arrays)]
    if mode.grad and needs_grad(t) and found:
        made = node(edge_of(t), t._array.shape, views)
        for k, out in enumerate(found):
            out._grad_fn, out._output_nr, out._requires_grad = made, k, True
    return tuple(found)


# --------------------------------------------------------------------------- arguments


_INTEGERS = (int, np.integer)


def axis_of(dim: Any, rank: int) -> int:
    """A dim as a position from 0. Raises IndexError, TypeError as PyTorch does."""
    if type(dim) is not int and (not isinstance(dim, _INTEGERS) or isinstance(dim, bool)):
        raise TypeError(f"dim must be int, not {type(dim).__name__}")
    bound = rank or 1
    if not -bound <= dim < bound:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-bound}, {bound - 1}], but "
            f"got {dim})"
        )
    return int(dim) % bound


def sizes_of(args: Sequence[Any]) -> tuple[int, ...]:
    """Sizes given one by one or as one sequence. Raises TypeError for what is no int."""
    if len(args) == 1 and isinstance(args[0], tuple | list):
        args = args[0]
    found = []
    for a in args:
        if isinstance(a, TensorBase):
            a = a.item()  # type: ignore[attr-defined]
        if isinstance(a, bool) or not hasattr(a, "__index__"):
            raise TypeError(f"sizes must be ints, not {type(a).__name__}")
        found.append(a.__index__())
    return tuple(found)


def _inferred(sizes: tuple[int, ...], total: int) -> tuple[int, ...]:
    """`sizes` with a -1 replaced. Raises RuntimeError where they do not hold `total` elements."""
    if sizes.count(-1) > 1:
        raise RuntimeError("only one dimension can be inferred")
    for s in sizes:
        if s < -1:
            raise RuntimeError(f"invalid shape dimension {s}")
    known = math.prod(s for s in sizes if s != -1)
    bad = f"shape '{list(sizes)}' is invalid for input of size {total}"
    if -1 not in sizes:
        if known != total:
            raise RuntimeError(bad)
        return sizes
    if known == 0:
        if total:
            raise RuntimeError(bad)
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(sizes)} because the "
            "unspecified dimension size -1 can be any value and is ambiguous"
        )
    if total % known:
        raise RuntimeError(bad)
    return tuple(total // known if s == -1 else s for s in sizes)


def view_strides(
    shape: Sequence[int], strides: Sequence[int], wanted: Sequence[int]
) -> list[int] | None:
    """The strides with which memory of this layout is seen in shape `wanted`, None if it cannot.
    The rule of PyTorch's `view`: dims may merge only where they are contiguous to one another."""
    out = [0] * len(wanted)
    if 0 in wanted:
        step = 1
        for k in reversed(range(len(wanted))):
            out[k] = step
            step *= max(wanted[k], 1)
        return out
    dims = [(n, s) for n, s in zip(shape, strides, strict=True) if n != 1]
    chunks: list[list[int]] = []  # (elements, innermost stride)
    for n, s in dims:
        if chunks and chunks[-1][1] == n * s:
            chunks[-1][0] *= n
            chunks[-1][1] = s
        else:
            chunks.append([n, s])
    k = len(wanted) - 1
    for elements, base in reversed(chunks):
        filled = 1
        while k >= 0 and filled < elements:
            out[k] = filled * base
            filled *= wanted[k]
            k -= 1
        if filled != elements:
            return None
    while k >= 0:  # leading ones
        out[k] = out[k + 1] * wanted[k + 1] if k + 1 < len(wanted) else 1
        k -= 1
    for k in range(len(wanted)):
        if wanted[k] == 1 and out[k] == 0:
            out[k] = 1
    return out


def as_strided(
    t: Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int | None = None
) -> Tensor:
    """A view by sizes, strides and offset (in elements). Raises RuntimeError where it would reach
    outside the storage."""
    size, stride = sizes_of([size]), sizes_of([stride])
    if len(size) != len(stride):
        raise RuntimeError(
            f"mismatch in length of strides and shape: {len(stride)} strides, {len(size)} sizes"
        )
    if any(s < 0 for s in stride):
        raise RuntimeError(
            f"as_strided: Negative strides are not supported at the moment, got strides: "
            f"{list(stride)}"
        )
    array = t._array
    root = owner(array)
    own = (address(array) - address(root)) // array.itemsize
    offset = own if storage_offset is None else storage_offset
    reach = sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if 0 not in size else -1
    if offset < 0 or (offset + reach >= root.nbytes // array.itemsize and reach >= 0):
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset} "
            f"require more than the {root.nbytes} bytes of the storage"
        )
    width = array.itemsize
    found = strided(array, size, [s * width for s in stride], (offset - own) * width)
    shape = array.shape

    def back(g: Tensor) -> Tensor:
        from_start = offset - own

        def replay(b: Tensor) -> Tensor:
            return strided_from(b, size, stride, from_start)

        return embedded([g], shape, [replay], overlaps(size, stride))

    return viewed(t, found, AsStrided, back)


AsStrided = step("AsStridedBackward0")


def strided_from(t: Tensor, size: Sequence[int], stride: Sequence[int], start: int) -> Tensor:
    """`as_strided` with an offset from `t`'s own first element."""
    own = (address(t._array) - address(owner(t._array))) // t._array.itemsize
    return as_strided(t, size, stride, own + start)


__all__ = ["AsStridedBackward0", "geometry", "view_of", "viewed"]
