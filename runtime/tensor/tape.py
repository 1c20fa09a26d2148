"""The record of what was computed: nodes, and the edges between them.

In: operations on Tensors that require grad. Out: nodes that know how to pass a cotangent back;
`engine` runs them, `saved` is the node of a kernel's call. A node refers to its operands' nodes,
never to its own results (a saved result is its array), so a graph has no reference cycle and goes
when its last Tensor goes.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from . import core
from .anomaly import anomaly, remember_place
from .hooks import Hook, RemovableHandle, StepHooks, register
from .modes import mode

if TYPE_CHECKING:
    from .tensor import Tensor

Edge = tuple["Node | None", int]
#: Gradients on their way: None where nothing arrived.
Gradients = list["Tensor | None"]

#: Steps are numbered as they are recorded: what a step leads to has a smaller number.
sequence = itertools.count()

FREED = (
    "Trying to backward through the graph a second time (or directly access saved tensors after "
    "they have already been freed). Saved intermediate values of the graph are freed when you "
    "call .backward() or autograd.grad(). Specify retain_graph=True if you need to backward "
    "through the graph a second time or if you need to access saved tensors after calling "
    "backward."
)


class Node:
    """A step of the backward pass. `edges` are the steps after it, one for each gradient that
    `apply` returns, with the number of the result of theirs that the operand was."""

    __slots__ = ("__weakref__", "edges", "hooks", "notes", "sequence")
    #: Whether the step runs even if no gradient at all has arrived.
    wants_none = False
    edges: Sequence[Edge]
    hooks: StepHooks | None
    notes: dict[str, Any] | None

    def __init__(self, edges: Sequence[Edge] = ()) -> None:
        self.edges = edges
        self.sequence = next(sequence)
        self.hooks = self.notes = None
        if anomaly.enabled:
            remember_place(self)

    @property
    def next_functions(self) -> tuple[Edge, ...]:
        """The steps after this one, with the number of the result of theirs that the operand was;
        `(None, 0)` for an operand that requires no gradient."""
        return tuple(self.edges)

    @property
    def metadata(self) -> dict[str, Any]:
        """The user's and the run time's notes."""
        if self.notes is None:
            self.notes = {}
        return self.notes

    def name(self) -> str:
        """The class's name: `MulBackward0`."""
        return type(self).__name__

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        """The gradients for `edges`, from the cotangents of this step's results."""
        raise NotImplementedError

    def release(self) -> None:
        """Forget the saved values."""

    def outputs(self) -> int:
        """How many results the step had."""
        return 1

    def operands(self) -> list[tuple[str, Any]]:
        """What the step has saved, by name, for the message about a NaN."""
        return []

    # ----------------------------------------------------------------------- hooks

    def register_hook(self, hook: Hook) -> RemovableHandle:
        """`hook(grad_inputs, grad_outputs)` is called after the step; what it returns, if not
        None, replaces `grad_inputs`."""
        return register(self._hooks().post, hook)

    def register_prehook(self, hook: Hook) -> RemovableHandle:
        """`hook(grad_outputs)` is called before the step; what it returns, if not None, replaces
        `grad_outputs`."""
        return register(self._hooks().pre, hook)

    def register_tensor_hook(self, output: int, hook: Hook) -> RemovableHandle:
        """`hook(grad)` is called with the gradient of a result, before the step."""
        return register(self._hooks().tensor.setdefault(output, {}), hook)

    def retain(self, output: int, tensor: Tensor | None) -> None:
        """Keep the gradient of a result in `tensor`'s `grad`, as long as that lives."""
        retaining = self._hooks().retaining
        if tensor is None:
            retaining.pop(output, None)
        else:
            retaining[output] = weakref.ref(tensor)

    def _hooks(self) -> StepHooks:
        if self.hooks is None:
            self.hooks = StepHooks()
        return self.hooks

    def shown(self, gradients: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        """`apply`'s result as hooks see it: one for each of `next_functions`."""
        return tuple(gradients)

    def taken(self, gradients: Sequence[Tensor | None]) -> Sequence[Tensor | None]:
        """The reverse of `shown`."""
        return gradients

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class AccumulateGrad(Node):
    """The end of the pass at a leaf: adds to its `grad`."""

    __slots__ = ("variable",)
    variable: Tensor
    edges = ()
    sequence = -1


_new = object.__new__


def accumulator(t: Tensor) -> AccumulateGrad:
    """The end of a pass at the leaf `t`: one for all graphs that live."""
    leaf = t._leaf
    if leaf is None:
        leaf = core.leaf_state(t)
    elif leaf.accumulator is not None:
        found = leaf.accumulator()
        if found is not None:
            return found
    found = _new(AccumulateGrad)
    found.hooks = found.notes = None
    found.variable = t
    leaf.accumulator = weakref.ref(found)
    return found


def edge_of(t: Tensor) -> Edge:
    """Where the cotangent of `t` goes."""
    node = t._grad_fn if t._view is None else grad_fn_of(t)
    if node is not None:
        return node, t._output_nr
    if t._requires_grad:
        return accumulator(t), 0
    return None, 0


def grad_fn_of(t: Tensor) -> Node | None:
    """The node that made `t`; that of a view whose base was written since is made anew. Raises
    RuntimeError for a view that cannot follow its base."""
    view = t._view
    if view is not None:
        found = core.counter(t)
        if found.value != view.version and view.base._requires_grad:
            from .inplace import renew

            renew(t, view)
    return t._grad_fn


def needs_grad(t: Tensor) -> bool:
    """Whether a pass reaches `t`; a view follows its base."""
    if t._requires_grad:
        return True
    view = t._view
    return view is not None and view.base._requires_grad


def recording(*tensors: Tensor) -> bool:
    """Whether an operation on these is recorded."""
    return mode.grad and any(needs_grad(t) for t in tensors)
