"""Functions that a pass calls on its way: kept in order of registration, removable.

PyTorch's order: a Tensor's hooks when its gradient is complete, then `retain_grad`, then the
node's pre-hooks, the node, its hooks; at a leaf the Tensor's hooks, the accumulation, then the
post-accumulate hooks.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .tensor import Tensor

Hook = Callable[..., Any]
_ids = itertools.count()


class RemovableHandle:
    """What registering a hook returns: `remove()` unregisters it; also a context manager."""

    __slots__ = ("_hooks", "id")

    def __init__(self, hooks: dict[int, Hook]) -> None:
        self._hooks, self.id = hooks, next(_ids)

    def remove(self) -> None:
        """Unregister the hook. Once is enough; twice does no harm."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def register(hooks: dict[int, Hook], hook: Hook) -> RemovableHandle:
    """Add `hook` after the others."""
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


class StepHooks:
    """Those of a step: on the gradients of its results (by result), who retains these, before and
    after the step."""

    __slots__ = ("post", "pre", "retaining", "tensor")

    def __init__(self) -> None:
        self.pre: dict[int, Hook] = {}
        self.post: dict[int, Hook] = {}
        self.tensor: dict[int, dict[int, Hook]] = {}
        self.retaining: dict[int, weakref.ref[Tensor]] = {}


class Hooks:
    """Those of a leaf: on its gradient, and after accumulation."""

    __slots__ = ("post", "tensor")

    def __init__(self) -> None:
        self.tensor: dict[int, Hook] = {}
        self.post: dict[int, Hook] = {}


def in_order(hooks: dict[int, Hook]) -> Iterator[Hook]:
    """The hooks of the moment: one that is added or removed meanwhile changes nothing."""
    return iter(list(hooks.values()))
