"""The backward pass: runs the tape from results to leaves.

In: roots with cotangents. Out: gradients added to leaves, or those of the inputs that were asked
for. Steps run in the reverse of the order in which they were recorded; what leads to a step was
recorded after it, so that its cotangents are complete when its turn comes. A leaf's turn comes as
soon as its gradient is complete. Nothing here recurses, so a graph may be as deep as memory
allows.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from . import blocks, core
from .anomaly import anomaly, checked
from .core import TensorBase, wrap
from .hooks import in_order
from .modes import mode
from .operation import Operation
from .saved import KernelBackward
from .tape import AccumulateGrad, Gradients, Node

if TYPE_CHECKING:
    from .tensor import Tensor

_ADD = Operation("add", "AddBackward0")

#: A step and the number of a result of its.
Target = tuple[Node, int]
Root = tuple[Node | None, int]

#: Several threads may add to one leaf.
_accumulating = threading.Lock()


class Pass:
    """One backward pass. `captured` maps a target to the gradient that arrives there; with `add`
    leaves get theirs. Only what leads to `targets` is computed, if there are any."""

    def __init__(
        self, retain_graph: bool, create_graph: bool, targets: Sequence[Target] | None, add: bool
    ) -> None:
        self.retain = retain_graph
        self.create_graph = create_graph
        self.targets = None if targets is None else set(targets)
        self.add = add
        self.captured: dict[Target, Tensor] = {}
        #: what has arrived at steps whose turn has not come: by result
        self.pending: dict[Node, Gradients] = {}
        #: at leaves: and whether nobody else has the array
        self.arriving: dict[AccumulateGrad, tuple[Tensor | None, bool]] = {}
        #: how many edges lead to a leaf from steps whose turn has not come
        self.waiting: dict[AccumulateGrad, int] = {}

    def run(self, roots: Sequence[tuple[Root, Tensor]]) -> None:
        """Run the steps that the roots lead to."""
        before = mode.grad
        mode.grad = self.create_graph
        try:
            self._run(roots)
        finally:
            mode.grad = before

    def _run(self, roots: Sequence[tuple[Root, Tensor]]) -> None:
        starts = [node for (node, _), _ in roots if node is not None]
        steps = self._steps(starts)
        useful = None if self.targets is None else _leading_to(steps, self.targets)
        for (node, output), gradient in roots:
            if node is not None:
                self._arrive(node, output, gradient, False)
        pending, arrive = self.pending, self._arrive
        for node in steps:
            arrived = pending.pop(node, None)
            found: Sequence[Tensor | None] | None = None
            if arrived is not None and (useful is None or node in useful):
                found = self._apply(node, arrived)
            if found is None:
                for following, output in node.edges:
                    if following is not None:
                        arrive(following, output, None, False)
                continue
            fresh = _fresh(node)
            for k, (following, output) in enumerate(node.edges):
                if following is not None:
                    arrive(following, output, found[k], fresh is not None and fresh[k])

    def _steps(self, starts: list[Node]) -> list[Node]:
        """All steps but leaves, the last recorded first; counts the edges to leaves."""
        waiting = self.waiting
        steps: list[Node] = []
        seen: set[Node] = set()
        stack = starts[:]
        while stack:
            node = stack.pop()
            if type(node) is AccumulateGrad:
                waiting[node] = waiting.get(node, 0) + 1
            elif node not in seen:
                seen.add(node)
                steps.append(node)
                for following, _ in node.edges:
                    if following is not None:
                        stack.append(following)
        if len(steps) > 1:
            steps.sort(key=_SEQUENCE, reverse=True)
        return steps

    def _arrive(self, node: Node, output: int, gradient: Tensor | None, fresh: bool) -> None:
        """A gradient (or that there is none) comes along an edge."""
        if type(node) is AccumulateGrad:
            held = self.arriving.pop(node, None)
            if held is not None and held[0] is not None:
                if gradient is None:
                    gradient, fresh = held
                else:
                    gradient, fresh = _ADD.binary(held[0], gradient), True
            left = self.waiting[node] - 1
            if left:
                self.waiting[node] = left
                self.arriving[node] = gradient, fresh
            elif gradient is not None:
                self._leaf(node, gradient, fresh)
            return
        sums = self.pending.get(node)
        if sums is None:
            outputs = node.outputs()
            if outputs == 1:
                self.pending[node] = [gradient]
                return
            sums = self.pending[node] = [None] * outputs
        if gradient is not None:
            before = sums[output]
            sums[output] = gradient if before is None else _ADD.binary(before, gradient)

    # ----------------------------------------------------------------------- one step

    def _apply(self, node: Node, arrived: Gradients) -> Sequence[Tensor | None] | None:
        """The gradients for a step's edges; None for none at all."""
        hooks = node.hooks
        if hooks is not None:
            _run_tensor_hooks(node, arrived)
        if self.targets is not None:
            for output, gradient in enumerate(arrived):
                if gradient is not None and (node, output) in self.targets:
                    self.captured[node, output] = gradient
        if hooks is not None:
            for hook in in_order(hooks.pre):
                new = hook(tuple(arrived))
                if new is not None:
                    arrived[:] = new if isinstance(new, tuple | list) else [new]
        if arrived[0] is None and not node.wants_none and all(g is None for g in arrived):
            return None
        found = checked(node, arrived) if anomaly.enabled else node.apply(arrived)
        if not self.retain:
            node.release()
        if hooks is not None:
            for hook in in_order(hooks.post):
                new = hook(node.shown(found), tuple(arrived))
                if new is not None:
                    found = node.taken(new if isinstance(new, tuple | list) else [new])
        return found

    def _leaf(self, node: AccumulateGrad, gradient: Tensor, fresh: bool) -> None:
        variable = node.variable
        leaf, hooks = core.leaf_state(variable), node.hooks
        if leaf.hooks is not None:
            for hook in in_order(leaf.hooks.tensor):
                gradient, fresh = _replaced(hook, gradient), False
        if self.targets is not None:
            if (node, 0) not in self.targets:
                return
            self.captured[node, 0], fresh = gradient, False
        if not self.add:
            return
        if hooks is not None:
            for hook in in_order(hooks.pre):
                new, fresh = hook((gradient,)), False
                if new is not None:
                    gradient = new[0] if isinstance(new, tuple | list) else new
        accumulate(variable, gradient, self.create_graph, fresh)
        if hooks is not None:
            for hook in in_order(hooks.post):
                hook((), (gradient,))
        if leaf.hooks is not None:
            for hook in in_order(leaf.hooks.post):
                hook(variable)


_SEQUENCE = attrgetter("sequence")


def _fresh(node: Node) -> tuple[bool, ...] | None:
    """Which of a step's gradients are arrays that nobody else has."""
    if isinstance(node, KernelBackward) and node.hooks is None:
        return node.plan.fresh
    return None


def _leading_to(steps: Sequence[Node], targets: set[Target]) -> set[Node]:
    """The steps from which a target can be reached, targets included."""
    useful = {node for node, _ in targets}
    for node in reversed(steps):
        if node not in useful and any(following in useful for following, _ in node.edges):
            useful.add(node)
    return useful


def accumulate(variable: Tensor, gradient: Tensor, create_graph: bool, fresh: bool = False) -> None:
    """Add a gradient to a leaf's `grad`: in place, unless the sum is to be differentiated.
    `fresh`: nobody else has the gradient's array, so that it need not be copied."""
    leaf = core.leaf_state(variable)
    with _accumulating:
        held = leaf.grad
        if held is None:
            if create_graph:
                leaf.grad = gradient.clone()
            elif fresh and gradient._array.flags.c_contiguous:  # not one number for all elements
                leaf.grad = gradient
            else:
                leaf.grad = wrap(blocks.copied(gradient._array), gradient._kind)
        elif create_graph:
            leaf.grad = _ADD.binary(held, gradient)
        elif held._kind is gradient._kind and held._kind.dtype.name in _ADDABLE:
            _add_to(held, gradient)
        else:
            held.add_(gradient)


#: Dtypes whose elements NumPy adds as compiled code does.
_ADDABLE = frozenset(("float32", "float64"))


def _add_to(held: Tensor, gradient: Tensor) -> None:
    if held._requires_grad and held._grad_fn is not None:
        held.detach_()
    np.add(held._array, gradient._array, out=held._array)
    core.bump(held, "backward")


def _run_tensor_hooks(node: Node, arrived: Gradients) -> None:
    hooks = node.hooks
    assert hooks is not None
    for output, functions in hooks.tensor.items():
        gradient = arrived[output]
        if gradient is not None:
            for hook in in_order(functions):
                gradient = _replaced(hook, gradient)
            arrived[output] = gradient
    for output, reference in hooks.retaining.items():
        tensor, gradient = reference(), arrived[output]
        if tensor is not None and gradient is not None:
            leaf = core.leaf_state(tensor)
            leaf.grad = gradient if leaf.grad is None else _ADD.binary(leaf.grad, gradient)


def _replaced(hook: Any, gradient: Tensor) -> Tensor:
    """The gradient after a hook. Raises TypeError, RuntimeError for what cannot replace it."""
    new = hook(gradient)
    if new is None:
        return gradient
    if not isinstance(new, TensorBase):
        raise TypeError(
            f"expected Variable, but hook returned '{type(new).__name__}': hooks should return a "
            "Tensor or None"
        )
    name = getattr(hook, "__name__", type(hook).__name__)
    if new._array.shape != gradient._array.shape:
        raise RuntimeError(f"hook '{name}' has changed the size of value")
    if new._kind is not gradient._kind:
        raise RuntimeError(
            f"hook '{name}' has changed the type of value (was {gradient.type()} got {new.type()})"  # type: ignore[attr-defined]
        )
    return new  # type: ignore[return-value]
