"""`Function`: an operation whose forward and backward pass the user writes.

In: a subclass with static methods `forward(ctx, …)` (or `forward(…)` and `setup_context(ctx,
inputs, output)`) and `backward(ctx, …)`. Out: `apply`, which calls `forward` and records a step
that calls `backward`. `ctx` is that step, as in PyTorch: it carries what the passes tell each
other.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..tensor.anomaly import anomaly, remember_place
from ..tensor.core import Array, Kind, TensorBase, Version, View, wrap
from ..tensor.inplace import take_history
from ..tensor.modes import mode, no_grad
from ..tensor.saved import raise_modified, saved, with_history
from ..tensor.tape import FREED, Edge, Gradients, Node, edge_of, needs_grad, sequence
from ..tensor.views import view_of

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor


class FunctionCtx(Node):
    """The step of a call, and the `ctx` of its passes. Attributes may be set freely."""

    function: ClassVar[type[Function]]
    wants_none = True  # a backward pass may have something to say where no gradient arrives

    def __init__(self, edges: Sequence[Edge], needs: tuple[bool, ...]) -> None:
        super().__init__(edges)
        self.needs_input_grad = needs
        self._to_save: tuple[Any, ...] = ()
        self._saved: list[_Saved | None] | None = []
        self._dirty: tuple[Any, ...] = ()
        self._constant: tuple[Any, ...] = ()
        self._materialize = True
        self._results: list[tuple[tuple[int, ...], Kind] | None] = []
        #: the positions of the arguments that are Tensors, and what their gradients are like
        self._tensors: list[tuple[int, tuple[int, ...], Kind]] = []
        self._arguments = 0

    # ----------------------------------------------------------------------- for `forward`

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep Tensors (or None) for the backward pass, as `saved_tensors`. Writing them in place
        before it is noticed."""
        for k, t in enumerate(tensors):
            if t is not None and not isinstance(t, TensorBase):
                raise TypeError(
                    "save_for_backward can only save variables, but argument "
                    f"{k} is of type {type(t).__name__}"
                )
        self._to_save = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """For forward mode, which there is none of: nothing is kept."""

    def mark_dirty(self, *args: Any) -> None:
        """Say which inputs `forward` has written in place; it returns them, too."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Any) -> None:
        """Say which outputs get no gradient."""
        self._constant = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether `backward` gets zeros (the default) or None where no gradient has arrived."""
        self._materialize = value

    # ----------------------------------------------------------------------- for `backward`

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` has kept. Raises RuntimeError where it was freed, or written
        in place since."""
        if self._saved is None:
            raise RuntimeError(FREED)
        return tuple(None if s is None else s.tensor(self) for s in self._saved)

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        given: list[Any] = []
        for gradient, like in zip(cotangents, self._results, strict=True):
            if gradient is None and like is not None and self._materialize:
                shape, kind = like
                gradient = wrap(np.zeros(shape, kind.dtype.numpy), kind)
            given.append(gradient)
        found = self._backward()(self, *given)
        return self._validated(list(found) if isinstance(found, tuple | list) else [found])

    def _backward(self) -> Callable[..., Any]:
        own, function = self.function, Function
        if own.backward is not function.backward:
            return own.backward
        if own.vjp is not function.vjp:
            return own.vjp
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    def _validated(self, found: list[Any]) -> list[Tensor | None]:
        """The gradients of the Tensors among the arguments. Raises RuntimeError where they do not
        fit."""
        name, count = self.name(), self._arguments
        while len(found) > count and found[-1] is None:
            found.pop()
        if len(found) != count:
            raise RuntimeError(
                f"function {name} returned an incorrect number of gradients (expected {count}, "
                f"got {len(found)})"
            )
        out: list[Tensor | None] = []
        tensors = {position: (shape, kind) for position, shape, kind in self._tensors}
        for position, gradient in enumerate(found):
            if position not in tensors:
                if gradient is not None:
                    raise RuntimeError(
                        f"function {name} returned a gradient different from None at position "
                        f"{position + 1}, but the corresponding forward input was not a Variable"
                    )
                continue
            if gradient is not None and not isinstance(gradient, TensorBase):
                raise RuntimeError(f"expected Variable or None (got {type(gradient).__name__})")
            if gradient is None or self.edges[len(out)][0] is None:
                out.append(None)
            else:
                shape, kind = tensors[position]
                out.append(_fitted(gradient, shape, kind, len(out), name))  # type: ignore[arg-type]
        return out

    def release(self) -> None:
        if self._saved:
            self._saved = None

    def outputs(self) -> int:
        return len(self._results)

    def operands(self) -> list[tuple[str, Any]]:
        return [(f"saved {k}", s.array) for k, s in enumerate(self._saved or ()) if s is not None]

    # ----------------------------------------------------------------------- recording

    def _take_over(self, arguments: Sequence[Any], results: list[Any], recorded: bool) -> None:
        """Give the results this step as their history; replaces those that cannot have it."""
        for k, r in enumerate(results):
            if not isinstance(r, TensorBase):
                self._results.append(None)
                continue
            self._results.append((r._array.shape, r._kind))
            dirty = any(r is d for d in self._dirty)
            given = any(r is a for a in arguments)
            if given and not dirty:
                results[k] = r = view_of(r, r._array)  # type: ignore[arg-type]
            constant = any(results[k] is c or r is c for c in self._constant)
            if recorded and not constant and r._kind.dtype.is_floating_point:
                self._give_history(r, k, dirty)
            elif recorded and not dirty:
                r._requires_grad, r._grad_fn = False, None
        self._save(results, recorded)

    def _give_history(self, r: Tensor, k: int, dirty: bool) -> None:
        if dirty:
            _require_no_leaf(r)
            result = wrap(r._array, r._kind)
            result._requires_grad, result._grad_fn, result._output_nr = True, self, k
            take_history(r, result)
            return
        view = r._view
        if view is not None:
            name = self.name().removesuffix("Backward")
            shown = needs_grad(view.base)  # else it is a view of what `forward` has made
            r._view = View(view.base, view.version, ("function", k, name)) if shown else None
        r._requires_grad, r._grad_fn, r._output_nr = True, self, k

    def _save(self, results: Sequence[Any], recorded: bool) -> None:
        if recorded:
            self._saved = [None if t is None else _Saved(t, results, self) for t in self._to_save]
        self._to_save = self._dirty = self._constant = ()


def _require_no_leaf(t: Tensor) -> None:
    view = t._view
    if t._requires_grad and t._grad_fn is None and view is None:
        raise RuntimeError(
            "a leaf Variable that requires grad has been used in an in-place operation."
        )


def _fitted(gradient: Tensor, shape: tuple[int, ...], kind: Kind, index: int, name: str) -> Tensor:
    """A gradient in the shape and dtype of its argument: one of a larger shape is summed."""
    found = gradient._array.shape
    if found != shape:
        if not _expands(shape, found):
            raise RuntimeError(
                f"Function {name} returned an invalid gradient at index {index} - got "
                f"{list(found)} but expected shape compatible with {list(shape)}"
            )
        gradient = gradient.sum_to_size(shape)
    if gradient._kind is not kind:
        gradient = gradient.to(kind.dtype)
    return gradient


def _expands(shape: tuple[int, ...], larger: tuple[int, ...]) -> bool:
    tail = larger[len(larger) - len(shape) :]
    return len(shape) <= len(larger) and all(n in (1, m) for n, m in zip(shape, tail, strict=True))


class _Saved:
    """A Tensor that a step has kept: its elements, and where its cotangent goes (`output`: it is a
    result of the step, which it must not refer to)."""

    __slots__ = ("array", "edge", "expected", "kind", "output", "version")
    array: Array
    version: Version

    def __init__(self, t: Tensor, results: Sequence[Any], step: FunctionCtx) -> None:
        self.array, self.version, self.expected = saved(t)
        self.kind = t._kind
        self.output = next((k for k, r in enumerate(results) if r is t), None)
        own = t._grad_fn is step
        self.edge: Edge = (None, 0) if self.output is not None or own else edge_of(t)

    def tensor(self, step: FunctionCtx) -> Tensor:
        edge = self.edge if self.output is None else (step, self.output)
        if self.version.value != self.expected:
            node, output = edge
            made = node.name() if node is not None and node.edges else None
            raise_modified(
                self.array, self.kind, made, output, self.version, self.expected, step.name()
            )
        return with_history(self.array, self.kind, self.version, edge)


class _FunctionMeta(type):
    """Makes the class of a Function's steps, which bears its name."""

    _step: type[FunctionCtx]

    def __init__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> None:
        super().__init__(name, bases, namespace)
        cls._step = type(f"{name}Backward", (FunctionCtx,), {"function": cls})


class Function(metaclass=_FunctionMeta):
    """An operation with a backward pass of its own: subclass it, and call `apply`.

        class Cube(tdsl.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx, gradient):
                (x,) = ctx.saved_tensors
                return gradient * 3 * x**2

        y = Cube.apply(x)

    `backward` gets a gradient for every result and returns one for every argument, None for those
    that are no Tensors. It is differentiable if it is made of operations on Tensors.
    """

    _step: ClassVar[type[FunctionCtx]]

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """The results: Tensors and anything else, one or a tuple. Nothing in it is recorded."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> Any:
        """What `backward` needs to know, if `forward` does not take `ctx`."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """The gradients of the arguments, from those of the results."""
        raise NotImplementedError("backward is not implemented.")

    @staticmethod
    def vjp(ctx: Any, *grad_outputs: Any) -> Any:
        """Another name of `backward`."""
        raise NotImplementedError("vjp is not implemented.")

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """The results of `forward`, with `backward` as their history."""
        tensors = [(k, a) for k, a in enumerate(args) if isinstance(a, TensorBase)]
        needs = tuple([isinstance(a, TensorBase) and needs_grad(a) for a in args])  # type: ignore[arg-type]
        recorded = mode.grad and any(needs)
        step = cls._step([edge_of(t) for _, t in tensors] if recorded else (), needs)  # type: ignore[arg-type]
        step._arguments = len(args)
        step._tensors = [(k, t._array.shape, t._kind) for k, t in tensors]
        if recorded and anomaly.enabled:
            remember_place(step)
        with no_grad():
            if cls.setup_context is Function.setup_context:
                found = cls.forward(step, *args, **kwargs)
            else:
                found = cls.forward(*args, **kwargs)
                cls.setup_context(step, args, found)
        step.sequence = next(sequence)
        several = isinstance(found, tuple | list)
        results = list(found) if several else [found]
        step._take_over(args, results, recorded)
        return type(found)(results) if several else results[0]


# --------------------------------------------------------------------------- once


class _DelayedError(Node):
    """Where a second derivative would begin of a backward pass that has none."""

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        raise RuntimeError(
            "trying to differentiate twice a function that was marked with @once_differentiable"
        )


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """For a `backward` that is not made of differentiable operations: differentiating its results
    is an error."""

    @functools.wraps(backward)
    def wrapper(ctx: Any, *gradients: Any) -> Any:
        with no_grad():
            found = backward(ctx, *gradients)
        sources = [g for g in gradients if isinstance(g, TensorBase) and needs_grad(g)]  # type: ignore[arg-type]
        if not mode.grad or not sources:
            return found
        error = _DelayedError([edge_of(g) for g in sources])  # type: ignore[arg-type]
        results = found if isinstance(found, tuple) else (found,)
        out = tuple(r if r is None else _ending_in(error, r) for r in results)
        return out if isinstance(found, tuple) else out[0]

    return wrapper


def _ending_in(step: Node, t: Tensor) -> Tensor:
    out = t.detach()
    out._requires_grad, out._grad_fn = True, step
    return out


__all__ = ["Function", "FunctionCtx", "once_differentiable"]
