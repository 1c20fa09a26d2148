"""The two entries of reverse mode: `backward` and `grad`.

In: what the user gives them, in all the forms that PyTorch allows. Out: passes of the `engine`,
and their results.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from .core import Array, Kind, TensorBase, wrap
from .engine import Pass, Root, Target, accumulate
from .tape import AccumulateGrad, edge_of, needs_grad

if TYPE_CHECKING:
    from .tensor import Tensor


def backward(
    tensors: Any,
    gradients: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Add the gradients of `tensors` to the `grad` of every leaf that they depend on, or of
    `inputs` alone."""
    roots = _roots(tensors, gradients)
    targets = None
    given: list[Any] = []
    if inputs is not None:
        given = listed(inputs)
        if not given:
            raise RuntimeError("`inputs` argument to `backward()` cannot be empty.")
        targets = [_target(t) for t in given]
    if create_graph:
        warnings.warn(
            "Using backward() with create_graph=True will create a reference cycle between the "
            "parameter and its gradient which can cause a memory leak. We recommend using "
            "autograd.grad when creating the graph to avoid this. If you have to use this "
            "function, make sure to reset the .grad fields of your parameters to None after use "
            "to break the cycle and avoid the leak.",
            stacklevel=3,
        )
    keep = create_graph if retain_graph is None else retain_graph
    run = Pass(keep, create_graph, targets, True)
    run.run(roots)
    for t, target in zip(given, targets or (), strict=True):
        found = run.captured.get(target)
        if found is not None and not isinstance(target[0], AccumulateGrad):
            accumulate(t, found, create_graph)


def gradients_of(
    outputs: Any,
    inputs: Any,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    materialize_grads: bool = False,
) -> tuple[Tensor | None, ...]:
    """See `tdsl.autograd.grad`."""
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: "
            "allow_unused=False."
        )
    roots = _roots(outputs, grad_outputs)
    wanted = listed(inputs)
    if not wanted:
        raise RuntimeError("`inputs` argument to `grad()` cannot be empty.")
    for k, t in enumerate(wanted):
        if not isinstance(t, TensorBase):
            raise TypeError(f"element {k} of inputs is a {type(t).__name__}, not a Tensor")
    targets = [_target(t) for t in wanted]
    keep = create_graph if retain_graph is None else retain_graph
    run = Pass(keep, create_graph, targets, False)
    run.run(roots)
    found: list[Tensor | None] = []
    for t, target in zip(wanted, targets, strict=True):
        g = run.captured.get(target)
        if g is None and materialize_grads:
            g = wrap(np.zeros(t._array.shape, t._kind.dtype.numpy), t._kind)
        elif g is None and not allow_unused:
            raise RuntimeError(
                "One of the differentiated Tensors appears to not have been used in the graph. "
                "Set allow_unused=True if this is the desired behavior."
            )
        found.append(g)
    return tuple(found)


# --------------------------------------------------------------------------- arguments


def listed(value: Any) -> list[Any]:
    """One thing or a sequence of them as a list."""
    return list(value) if isinstance(value, tuple | list) else [value]


def _target(t: Tensor) -> Target:
    node, output = edge_of(t)
    if node is None:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    return node, output


def _roots(tensors: Any, gradients: Any) -> list[tuple[Root, Tensor]]:
    several = listed(tensors)
    given = [None] * len(several) if gradients is None else listed(gradients)
    if len(given) != len(several):
        raise RuntimeError(f"got {len(several)} tensors and {len(given)} gradients")
    found = []
    for k, (t, g) in enumerate(zip(several, given, strict=True)):
        if not isinstance(t, TensorBase):
            raise TypeError(f"element {k} of tensors is a {type(t).__name__}, not a Tensor")
        if not needs_grad(t):  # type: ignore[arg-type]
            raise RuntimeError(
                f"element {k} of tensors does not require grad and does not have a grad_fn"
            )
        found.append((edge_of(t), _root_gradient(t, g, k)))  # type: ignore[arg-type]
    return found


def _root_gradient(root: Tensor, gradient: Any, number: int) -> Tensor:
    """The cotangent that a pass begins with. Raises RuntimeError where none can be."""
    if gradient is None:
        if root._array.size != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        return wrap(_one(root._kind).reshape(root._array.shape).copy(), root._kind)
    if not isinstance(gradient, TensorBase):
        raise TypeError(
            f"gradients can be either Tensors or None, but got {type(gradient).__name__}"
        )
    if gradient._array.shape != root._array.shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{number}] has a shape of "
            f"{gradient.shape} and output[{number}] has a shape of {root.shape}."  # type: ignore[attr-defined]
        )
    found: Tensor = gradient  # type: ignore[assignment]
    return found.to(root._kind.dtype) if found._kind is not root._kind else found


_ones: dict[Kind, Array] = {}


def _one(kind: Kind) -> Array:
    """The number 1; to be copied."""
    found = _ones.get(kind)
    if found is None:
        from .creation import ones

        found = _ones[kind] = ones((1,) * kind.rank, dtype=kind.dtype)._array
    return found
