"""Writing in place: what may be written, what it does to history, and views.

In: a Tensor and the result of the functional operation on it. Out: the Tensor with new elements
and the result's history. A view that is written changes its base's history (`CopySlices`), and
the other views get theirs anew from the base when asked (`renew`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from . import core
from . import dtype as dt
from .core import INFERENCE, Array, View, counter, kind, wrap
from .modes import mode
from .saved import KernelBackward
from .storage import address
from .tape import Edge, Gradients, Node, edge_of, needs_grad, sequence

if TYPE_CHECKING:
    from .tensor import Tensor

# --------------------------------------------------------------------------- what is allowed

_AMBIGUOUS = (
    "A view was created in {mode} mode and {what} modified inplace {where}. Given that this use "
    "case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both "
    "the view and the inplace either both inside the {block} block (if you don't want the inplace "
    "to be tracked) or both outside (if you want the inplace to be tracked)."
)
_WHY = {
    "several": (
        "This view is the output of a function that returns multiple views. Such functions do not "
        "allow the output views to be modified inplace. You should replace the inplace operation "
        "by an out-of-place one."
    ),
    "function": (
        "This view was created inside a custom Function (or because an input was returned as-is) "
        "and the autograd logic to handle view+inplace would override the custom backward "
        "associated with the custom Function, leading to incorrect gradients. This behavior is "
        "forbidden. You can fix this by cloning the output of the custom Function."
    ),
}
_ITSELF, _BASE = "is being", "its base or another view of its base has been"


def _refuse(view: View, what: str) -> None:
    """Raise RuntimeError where a view, or `what` was modified beside it, has no clear history."""
    origin = view.origin
    if isinstance(origin, tuple):
        why, k, name = origin
        raise RuntimeError(
            f"Output {k} of {name} is a view and {what} modified inplace. {_WHY[why]}"
        )
    if origin is not None:
        inference = origin == "inference"
        where = "in normal mode" if inference else "with grad mode enabled"
        block = "inference_mode" if inference else origin
        raise RuntimeError(_AMBIGUOUS.format(mode=origin, block=block, what=what, where=where))


def check_writable(t: Tensor, idempotent: bool = False) -> None:
    """Raise RuntimeError where `t` must not be written in place. `idempotent`: all elements get
    one value, so that they may share memory."""
    array = t._array
    if not array.flags.writeable:
        raise RuntimeError("the tensor's memory is read-only")
    if (
        not idempotent
        and array.size > 1
        and 0 in array.strides
        and any(s == 0 and n > 1 for s, n in zip(array.strides, array.shape, strict=True))
    ):
        raise RuntimeError(
            "unsupported operation: more than one element of the written-to tensor refers to a "
            "single memory location. Please clone() the tensor before performing the operation."
        )
    if t._counter is INFERENCE and not mode.inference:
        raise RuntimeError(
            "Inplace update to inference tensor outside InferenceMode is not allowed. You can make "
            "a clone to get a normal tensor before doing inplace update."
        )
    if mode.grad and needs_grad(t):
        _check_history(t)


def _check_history(t: Tensor) -> None:
    """Raise RuntimeError where a write to `t` that is to be recorded cannot be."""
    view = t._view
    if view is None:
        if t._requires_grad and t._grad_fn is None:
            raise RuntimeError(
                "a leaf Variable that requires grad is being used in an in-place operation."
            )
        return
    _refuse(view, _ITSELF)
    base = view.base
    if base._requires_grad and base._grad_fn is None:
        raise RuntimeError(
            "a view of a leaf Variable that requires grad is being used in an in-place operation."
        )


# --------------------------------------------------------------------------- the write


def assign(t: Tensor, result: Tensor, writer: str, since: int | None = None) -> Tensor:
    """Write `result`, computed from `t`'s former value, into `t`. Steps with a number above
    `since` (without it, the last one) computed it: they keep what they have saved of `t`."""
    own, new = t._kind.dtype, result._kind.dtype
    if own is not new:
        if not dt.can_cast(new, own):
            raise RuntimeError(
                f"result type {scalar_name(new)} can't be cast to the desired output type "
                f"{scalar_name(own)}"
            )
        result = result.to(own)
    if result._array.shape != t._array.shape:
        raise RuntimeError(
            f"output with shape {list(t._array.shape)} doesn't match the broadcast shape "
            f"{list(result._array.shape)}"
        )
    recorded = mode.grad and (needs_grad(result) or needs_grad(t))
    if recorded:
        _check_history(t)
        _keep_former(result._grad_fn, t._array, since)
    t._array[...] = result._array
    core.bump(t, writer)
    if recorded:
        take_history(t, result)
    return t


def _keep_former(last: Node | None, array: Array, since: int | None) -> None:
    """The steps that computed a result from `array` keep copies of what they have saved of it."""
    stack = [last]
    seen: set[Node | None] = set()
    while stack:
        node = stack.pop()
        if node in seen or node is None or (since is not None and node.sequence <= since):
            continue
        seen.add(node)
        if isinstance(node, KernelBackward):
            node.keep_apart(array)
        if since is not None:
            stack.extend(following for following, _ in node.edges)


def overwrite(t: Tensor, values: Array, writer: str) -> Tensor:
    """Write plain values into `t`: its former value no longer counts."""
    recorded = mode.grad and needs_grad(t)
    edge = edge_of(t) if recorded else None
    t._array[...] = values
    core.bump(t, writer)
    if edge is not None:
        result = wrap(t._array, t._kind)
        if t._view is None:
            result._grad_fn, result._requires_grad = _overwriting(writer)((edge,)), True
        take_history(t, result)
    return t


class Overwriting(Node):
    """A Tensor after all its elements were replaced: its former value, the first edge, gets zeros;
    a source, the second, the gradient."""

    __slots__ = ()

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        gradient = cotangents[0]
        assert gradient is not None
        own = gradient._kind
        zeros = wrap(np.zeros(gradient._array.shape, own.dtype.numpy), own)
        return [zeros, gradient][: len(self.edges)]


def copied(t: Tensor, source: Tensor) -> Tensor:
    """Write `source`, of `t`'s shape and dtype, into `t`."""
    if not (mode.grad and needs_grad(source)):
        return overwrite(t, source._array, "copy_")
    result = wrap(source._array, source._kind)
    former: Edge = edge_of(t) if t._view is None else (None, 0)
    result._grad_fn = _overwriting("copy_")((former, edge_of(source)))
    result._requires_grad = True
    return assign(t, result, "copy_")


@cache
def _overwriting(writer: str) -> type[Overwriting]:
    """PyTorch's name of the step of `zero_`, `fill_`, `copy_`, `normal_` …"""
    word = writer.strip("_").capitalize()
    name = "CopyBackwards" if word == "Copy" else f"{word}Backward0"
    return type(name, (Overwriting,), {"__slots__": ()})


_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16",
    "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte",
    "bool": "Bool",
}  # fmt: skip


def scalar_name(d: dt.dtype) -> str:
    """`Float`, `Long`: how PyTorch's messages call a dtype."""
    return _NAMES[d.name]


def take_history(t: Tensor, result: Tensor) -> None:
    """Make `result`'s history that of `t`, which holds its elements now."""
    view = t._view
    if view is None:
        _rebased(t, result._grad_fn, result._output_nr)
        if isinstance(t._grad_fn, KernelBackward):
            t._grad_fn.result_moved(result._array, t._array, counter(t))
        return
    _refuse(view, _ITSELF)
    base = view.base
    _rebased(base, CopySlices((edge_of(base), edge_of(result)), base._array, t._array), 0)
    renew(t, view)


def _rebased(t: Tensor, node: Node | None, output: int) -> None:
    """Give `t` another history. `retain_grad` is about the Tensor as it is in the end, and moves;
    hooks stay at what it was when they were registered."""
    if t._leaf is not None and t._leaf.retains_grad and t._grad_fn is not None:
        t._grad_fn.retain(t._output_nr, None)
        if node is not None:
            node.retain(output, t)
    t._grad_fn, t._output_nr, t._requires_grad = node, output, node is not None


# --------------------------------------------------------------------------- views of what changed


Geometry = tuple[tuple[int, ...], tuple[int, ...], int]


def geometry(array: Array, base: Array) -> Geometry:
    """The shape, strides and offset (in elements) of a view within its base's memory."""
    size = base.itemsize
    offset = (address(array) - address(base)) // size
    return array.shape, tuple(s // size for s in array.strides), offset


class _Part:
    """Where a view lies in its base, whose memory may have any layout."""

    __slots__ = ("_base", "_dense", "_view", "shape")

    def __init__(self, base: Array, array: Array) -> None:
        self.shape = base.shape
        self._dense = base.flags.c_contiguous
        self._base, self._view = geometry(base, base), geometry(array, base)

    def like_memory(self, gradient: Tensor) -> Tensor:
        """A gradient of the base, laid out as the base's memory is."""
        if self._dense:
            return gradient.contiguous()
        from .views import embedded, strided_from

        shape, strides, _ = self._base
        reach = 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
        return embedded([gradient], (reach,), [lambda b: strided_from(b, *self._base)])

    def of_memory(self, memory: Tensor) -> Tensor:
        """The view, of memory laid out as the base's."""
        from .views import strided_from

        return strided_from(memory, *self._view)

    def base_of(self, memory: Tensor) -> Tensor:
        """The base, of memory laid out like it."""
        from .views import strided_from

        return memory if self._dense else strided_from(memory, *self._base)

    def placed(self, gradient: Tensor) -> Tensor:
        """Zeros of the base's shape with a gradient of the view in its place."""
        from .views import embedded, strided_from

        shape, strides, offset = self._view
        if not self._dense:
            inner, steps, _ = self._base
            reach = 1 + sum((n - 1) * s for n, s in zip(inner, steps, strict=True))
            memory = embedded([gradient], (reach,), [self.of_memory], overlaps(shape, strides))
            return self.base_of(memory)
        return embedded(
            [gradient], self.shape, [lambda b: strided_from(b, shape, strides, offset)],
            overlaps(shape, strides),
        )  # fmt: skip


class CopySlices(Node):
    """A base after a view of it was written: the gradient of the part goes to what was written,
    that of the rest to the former base."""

    __slots__ = ("_part",)

    def __init__(self, edges: Sequence[Edge], base: Array, view: Array) -> None:
        super().__init__(edges)
        self._part = _Part(base, view)

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        gradient = cotangents[0]
        if gradient is None:
            return [None, None]
        memory = self._part.like_memory(gradient)
        written = self._part.of_memory(memory).clone() if self.edges[1][0] is not None else None
        if self.edges[0][0] is None:
            return [None, written]
        rest = memory.clone()
        self._part.of_memory(rest).zero_()
        return [self._part.base_of(rest), written]


class AsStridedBackward0(Node):
    """A view given by its geometry within its base."""

    __slots__ = ("_part",)

    def __init__(self, edge: Edge, base: Array, view: Array) -> None:
        super().__init__((edge,))
        self._part = _Part(base, view)

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        gradient = cotangents[0]
        return [None if gradient is None else self._part.placed(gradient)]


def overlaps(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether two indices of a view may be the same element (False only where surely not)."""
    reach = 0
    for n, s in sorted(zip(shape, strides, strict=True), key=lambda e: abs(e[1])):
        if n > 1:
            if abs(s) <= reach:
                return True
            reach += abs(s) * (n - 1)
    return False


def renew(t: Tensor, view: View) -> None:
    """Give a view its history anew, from the base as it is now. Raises RuntimeError for a view
    whose history is not clear."""
    _refuse(view, _BASE)
    base = view.base
    _rebased(t, AsStridedBackward0(edge_of(base), base._array, t._array), 0)
    view.version = counter(t).value


# --------------------------------------------------------------------------- methods


def inplace(operation: Callable[..., Any], name: str) -> Callable[..., Any]:
    """The in-place form of a function: `name` is its method's, with the underscore."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_writable(self)
        since = next(sequence)
        if self._requires_grad or self._view is not None:
            former = core.same_history(self)
            return assign(self, operation(former, *args, **kwargs), name, since)
        result = operation(self, *args, **kwargs)
        if result._grad_fn is not None or result._kind is not self._kind:
            return assign(self, result, name, since)
        array, new = self._array, result._array
        if array.shape != new.shape:
            return assign(self, result, name, since)
        array[...] = new
        core.bump(self, name)
        return self

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"`{name.rstrip('_')}`, written into this Tensor."
    return method


__all__ = ["assign", "check_writable", "geometry", "inplace", "kind", "overwrite", "renew",
           "take_history"]  # fmt: skip
