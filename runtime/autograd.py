"""Reverse mode across calls of compiled functions.

In: calls with Tensors. Out: Tensors that know the call that made them, and `backward`, which runs
the compiled vjp of every call, last first, and accumulates into the leaves.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .arguments import convert, match_names
from .tensor import Tensor, is_grad_enabled

if TYPE_CHECKING:
    from .calls import Owner
    from .native import Native

Array = np.ndarray[Any, Any]


class Node:
    """A step of the backward pass. `next_functions` are the steps after it, one for each
    differentiable argument, with the number of the output of theirs that the argument was."""

    next_functions: tuple[tuple[Node | None, int], ...] = ()

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}

    def name(self) -> str:
        """The class's name: `LossBackward`."""
        return type(self).__name__

    def apply(self, cotangents: Mapping[int, Array]) -> Sequence[Array | None]:
        """The gradients for `next_functions`, from the cotangents of this step's outputs."""
        raise NotImplementedError

    def release(self) -> None:
        """Forget the saved arguments."""

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"


class AccumulateGrad(Node):
    """The end of the pass at a leaf: adds to its `grad`."""

    def __init__(self, variable: Tensor) -> None:
        super().__init__()
        self.variable = variable

    def apply(self, cotangents: Mapping[int, Array]) -> Sequence[Array | None]:
        leaf = self.variable
        total = cotangents[0].astype(leaf.dtype.numpy)  # the parameter's dtype may be wider
        held = leaf.grad
        leaf.grad = Tensor(total if held is None else np.asarray(held._array + total))
        return ()


class CallBackward(Node):
    """One call of a compiled function; the subclass that a call makes bears its name."""

    def __init__(
        self, owner: Owner, values: Sequence[Any], wanted: Sequence[str], outputs: Sequence[Array]
    ) -> None:
        super().__init__()
        self.metadata["position"] = owner.signature.position
        self._function = owner.function()
        self._values: Sequence[Any] | None = values
        self._wanted = wanted
        self._shapes = [o.shape for o in outputs]

    def apply(self, cotangents: Mapping[int, Array]) -> Sequence[Array | None]:
        if self._values is None:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have already been freed). Saved intermediate values of the "
                "graph are freed when you call .backward() or autograd.grad(). Specify "
                "retain_graph=True if you need to backward through the graph a second time or if "
                "you need to access saved tensors after calling backward."
            )
        assert self._function is not None
        signature = self._function.description
        given = [
            np.asarray(
                cotangents[k] if k in cotangents else np.zeros(self._shapes[k]), o.dtype.numpy
            )
            for k, o in enumerate(signature.outputs)
            if o.dtype.is_float
        ]
        found = self._function.vjp_of(self._wanted)(*self._values, *given)
        several = found if isinstance(found, tuple) else (found,)
        dtypes = {p.name: p.dtype.numpy for p in signature.params}
        return [np.asarray(g, dtypes[w]) for g, w in zip(several, self._wanted, strict=True)]

    def release(self) -> None:
        self._values = None


def call_with_tensors(native: Native, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Call with Tensors among the arguments: Tensors come back, with a `grad_fn` if an argument
    requires grad."""
    owner: Owner = native.owner
    signature = owner.signature
    given = match_names(signature, args, kwargs)
    bare = [a._array if isinstance(a, Tensor) else a for a in given]
    values = convert(signature, bare, {})
    result = native.converted(*values)
    several = result if isinstance(result, tuple) else (result,)
    arrays = [
        np.asarray(r, dtype=o.dtype.numpy) for r, o in zip(several, signature.outputs, strict=True)
    ]
    sources = {
        p.name: a
        for p, a in zip(signature.params, given, strict=True)
        if isinstance(a, Tensor) and a.requires_grad and p.dtype.is_float
    }
    node: Node | None = None
    function = owner.function()
    recorded = sources and is_grad_enabled() and function is not None and function.differentiable
    if recorded and any(o.dtype.is_float for o in signature.outputs):
        node = _node_class(owner)(owner, values, tuple(sources), arrays)
        node.next_functions = tuple(_edge(t) for t in sources.values())
    tensors = [
        Tensor(a, grad_fn=node if o.dtype.is_float else None, output=k)
        for k, (a, o) in enumerate(zip(arrays, signature.outputs, strict=True))
    ]
    return tuple(tensors) if signature.returns_tuple else tensors[0]


def _node_class(owner: Owner) -> type[CallBackward]:
    """The class of the calls of one function, named after it."""
    if owner.node is None:
        words = owner.signature.name.split("_")
        name = "".join(w.capitalize() for w in words) + "Backward"
        owner.node = type(name, (CallBackward,), {})
    return owner.node


def _edge(t: Tensor) -> tuple[Node, int]:
    return (t.grad_fn, t._output) if t.grad_fn is not None else (AccumulateGrad(t), 0)


# --------------------------------------------------------------------------- backward


def backward(root: Tensor, gradient: Tensor | None, retain_graph: bool) -> None:
    """See `Tensor.backward`."""
    if not root.requires_grad:
        raise RuntimeError("element 0 of tensors does not require grad and does not have a grad_fn")
    if gradient is None:
        if root.numel() != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        cotangent: Array = np.ones(root.shape, root.dtype.numpy)
    else:
        cotangent = gradient._array
        if gradient.shape != root.shape:
            raise RuntimeError(
                f"Mismatch in shape: grad_output[0] has a shape of {gradient.shape} and output[0] "
                f"has a shape of {root.shape}."
            )
    start, output = _edge(root)
    pending: dict[Node, dict[int, Array]] = {start: {output: cotangent}}
    for node in _in_order(start):
        if node not in pending:
            continue
        gradients = node.apply(pending.pop(node))
        if not retain_graph:
            node.release()
        for (following, number), g in zip(node.next_functions, gradients, strict=True):
            if following is not None and g is not None:
                sums = pending.setdefault(following, {})
                sums[number] = sums[number] + g if number in sums else g


def _in_order(start: Node) -> Iterator[Node]:
    """Every step from `start` on, each after all that lead to it."""
    order: list[Node] = []
    seen: set[Node] = set()
    stack: list[tuple[Node, bool]] = [(start, False)]
    while stack:
        node, expanded = stack.pop()
        if expanded:
            order.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((n, False) for n, _ in node.next_functions if n is not None)
    return reversed(order)
