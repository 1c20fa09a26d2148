"""Derivatives of Python functions of Tensors: `jacobian`, `hessian`, `vjp`, `jvp`, `hvp`, `vhp`.

In: a function, its inputs (a Tensor or a tuple of them), and vectors. Out: what reverse mode makes
of them, a tuple where the inputs or the function's results are one. The inputs are not changed;
the results are differentiable if `create_graph`. With `strict`, a result that does not depend on
an input is an error instead of a zero.

`jvp` and `hvp` differentiate twice in reverse: v ↦ J v is the derivative of u ↦ uᵀ J.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor.core import TensorBase, wrap
from ..tensor.entries import gradients_of
from ..tensor.modes import enable_grad

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor

Tensors = tuple["Tensor", ...]
Gradients = Sequence["Tensor | None"]


def vjp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The results of `func`, and vᵀ J: `v` is like the results, and may be left out for one
    element; the second value is like the inputs."""
    with enable_grad():
        x, one_input = _inputs(inputs, "vjp", create_graph)
        y, one = _outputs(func(*x), "vjp", strict)
        ct = _vector(v, y, one, _FROM_RESULTS)
        found = _product(y, x, ct, create_graph, strict, "independent of input")
        return _packed(y, one, create_graph), _packed(found, one_input, create_graph)


def jvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The results of `func`, and J v: `v` is like the inputs, and may be left out for one element;
    the second value is like the results."""
    with enable_grad():
        x, one_input = _inputs(inputs, "jvp", create_graph)
        tangent = _vector(v, x, one_input, _FROM_INPUTS)
        y, one = _outputs(func(*x), "jvp", strict)
        dual = tuple(_zeros(t).requires_grad_() for t in y)
        back = _product(y, x, dual, True, strict, "independent of input")
        found = _product(back, dual, tangent, create_graph, False, "")
        return _packed(y, one, create_graph), _packed(found, one, create_graph)


def vhp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The value of the scalar function `func`, and vᵀ H, `v` and vᵀ H like the inputs."""
    with enable_grad():
        x, one_input = _inputs(inputs, "vhp", create_graph)
        tangent = _vector(v, x, one_input, _FROM_INPUTS)
        y = _scalar(func(*x), "vhp", strict)
        slope = _product((y,), x, None, True, strict, "independent of input")
        found = _curvature(slope, x, tangent, create_graph, strict)
        return _packed((y,), True, create_graph), _packed(found, one_input, create_graph)


def hvp(
    func: Callable[..., Any],
    inputs: Any,
    v: Any = None,
    create_graph: bool = False,
    strict: bool = False,
) -> tuple[Any, Any]:
    """The value of the scalar function `func`, and H v, `v` and H v like the inputs. H is
    symmetric, so this is `vhp`, but for the places where a second derivative jumps."""
    with enable_grad():
        x, one_input = _inputs(inputs, "hvp", create_graph)
        tangent = _vector(v, x, one_input, _FROM_INPUTS)
        y = _scalar(func(*x), "hvp", strict)
        slope = _product((y,), x, None, True, strict, "independent of input")
        dual = tuple(_zeros(t).requires_grad_() for t in x)
        back = _curvature(slope, x, dual, True, strict)
        found = _product(back, dual, tangent, create_graph, False, "")
        return _packed((y,), True, create_graph), _packed(found, one_input, create_graph)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """J: for result i and input j a Tensor of the shape of result i and then that of input j; a
    tuple of tuples where there are several of both.

    `vectorize` and `strategy` are PyTorch's; the rows are computed one by one in either case.
    """
    if strategy not in ("reverse-mode", "forward-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode". Hint: If your '
            'function has more outputs than inputs, "forward-mode" tends to be more performant.'
        )
    if strategy == "forward-mode" and not vectorize:
        raise NotImplementedError(
            "Computing Jacobian using forward-AD or forward-over-reverse Hessian is only "
            "implemented for `vectorize=True`."
        )
    if strict and vectorize:
        raise RuntimeError("jacobian: `strict=True` and "
                           "`vectorize=True` are not supported together.")  # fmt: skip
    with enable_grad():
        x, one_input = _inputs(inputs, "jacobian", create_graph)
        y, one = _outputs(func(*x), "jacobian", strict)
        rows = [_rows(t, i, x, create_graph, strict) for i, t in enumerate(y)]
        found = [_packed(row, one_input, create_graph) for row in rows]
        return found[0] if one else tuple(found)


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """H of a function with one element: a Tensor, or a tuple of tuples for several inputs, of the
    shapes of inputs i and j one after the other."""
    _, one_input = _tuple(inputs, "inputs", "hessian")

    def slope(*x: Any) -> Any:
        y = _scalar(func(*x), "hessian", strict)
        found = _product((y,), x, None, True, strict, "independent of input")
        return found[0] if one_input else found

    return jacobian(slope, inputs, create_graph, strict, vectorize, outer_jacobian_strategy)


# --------------------------------------------------------------------------- the passes


def _product(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    cotangents: Any,
    create_graph: bool,
    strict: bool,
    fault: str,
) -> Tensors:
    """The gradients of `inputs`, zeros where there is no dependence. Raises RuntimeError there if
    `strict`; `fault` says what that means."""
    given = [None] * len(outputs) if cotangents is None else cotangents
    reached = [(o, c) for o, c in zip(outputs, given, strict=True) if o.requires_grad]
    if not reached:
        return tuple(_zeros(t) for t in inputs)
    found = gradients_of(
        [o for o, _ in reached], inputs, [c for _, c in reached], True, create_graph, True
    )
    for j, g in enumerate(found):
        if g is None and strict:
            raise RuntimeError(
                f"Output of the user-provided function is {fault} {j}. This is not allowed in "
                "strict mode."
            )
    return tuple(_zeros(t) if g is None else g for g, t in zip(found, inputs, strict=True))


def _curvature(
    slope: Tensors, inputs: Tensors, v: Tensors, create_graph: bool, strict: bool
) -> Tensors:
    """vᵀ of the derivatives of a gradient."""
    for j, g in enumerate(slope):
        if strict and not g.requires_grad:
            raise RuntimeError(
                "While computing the hessian, found that the jacobian of the user-provided "
                f"function with respect to input {j} is independent of the input. This is not "
                "allowed in strict mode. You should ensure that your function is twice "
                "differentiable and that the jacobian depends on the inputs (this would be "
                "violated by a linear function for example)."
            )
    return _product(slope, inputs, v, create_graph, strict, "linear in input")


def _rows(t: Tensor, i: int, x: Tensors, create_graph: bool, strict: bool) -> Tensors:
    """The derivatives of all elements of one result."""
    from ..tensor.joining import stack

    rows: list[Tensors] = []
    flat = t.reshape(-1)
    for k in range(t._array.size):
        found: Gradients = [None] * len(x)
        if t.requires_grad:
            found = gradients_of(flat[k], x, None, True, create_graph, True)
        for j, g in enumerate(found):
            if strict and g is None:
                raise RuntimeError(
                    f"Output {i} of the user-provided function is independent of input {j}. This "
                    "is not allowed in strict mode."
                )
            if strict and create_graph and g is not None and not g.requires_grad:
                raise RuntimeError(
                    "The jacobian of the user-provided function with respect to input "
                    f"{j} is independent of the input. This is not allowed in strict mode when "
                    "create_graph=True."
                )
        rows.append(tuple(_zeros(a) if g is None else g for g, a in zip(found, x, strict=True)))
    shape = t._array.shape
    return tuple(
        stack([row[j] for row in rows]).view((*shape, *a._array.shape))
        if rows
        else a.new_zeros((*shape, *a._array.shape))
        for j, a in enumerate(x)
    )


# --------------------------------------------------------------------------- what is given


def _tuple(value: Any, what: str, name: str) -> tuple[Tensors, bool]:
    """Tensors as a tuple, and whether there was one alone. Raises TypeError for anything else."""
    one = not isinstance(value, tuple)
    several = (value,) if one else value
    for k, t in enumerate(several):
        if not isinstance(t, TensorBase):
            owner = "" if what == "inputs" else " of the user-provided function"
            has = f"the given {what}{owner} has type {type(t)}"
            if not one:
                has = f"the value at index {k} of the given {what}{owner} has type {type(t)}"
            to = f"given to {name}" if what == "inputs" else f"{owner[1:]} given to {name}"
            raise TypeError(
                f"The {what} {to} must be either a Tensor or a tuple of Tensors but {has}."
            )
    return several, one


def _inputs(inputs: Any, name: str, create_graph: bool) -> tuple[Tensors, bool]:
    """The inputs, so that nothing else depends on them; with their history if the results are to
    be differentiable."""
    several, one = _tuple(inputs, "inputs", name)
    fresh = [
        t.view_as(t) if create_graph and t.requires_grad else t.detach().requires_grad_()
        for t in several
    ]
    return tuple(fresh), one


def _outputs(outputs: Any, name: str, strict: bool) -> tuple[Tensors, bool]:
    several, one = _tuple(outputs, "outputs", name)
    for i, t in enumerate(several):
        if strict and not t.requires_grad:
            raise RuntimeError(
                f"Output {i} of the user-provided function does not require gradients. The outputs "
                "must be computed in a differentiable manner from the input when running in "
                "strict mode."
            )
    return several, one


def _scalar(outputs: Any, name: str, strict: bool) -> Tensor:
    """The one result of one element."""
    (y, *more), one = _outputs(outputs, name, strict)
    if more or not one:
        raise RuntimeError(f"The function given to {name} should return a single Tensor")
    if y._array.size != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {name} should contain a single element"
        )
    return y.squeeze() if y._kind.rank else y


_FROM_RESULTS = "the user-provided function returns"
_FROM_INPUTS = "the input to the user-provided function is"


def _vector(v: Any, like: Tensors, one: bool, what: str) -> Tensors:
    """`v` as a tuple of Tensors like `like`; ones where it may be left out."""
    if v is None:
        if len(like) != 1 or like[0]._array.size != 1:
            raise RuntimeError(
                f"The vector v can only be None if {what} a single Tensor with a single element."
            )
        return (_zeros(like[0]) + 1,)
    several, _ = _tuple(v, "v", "the vector")
    if len(several) != len(like):
        raise RuntimeError(
            f"v is a tuple of invalid length: should be {len(like)} but got {len(several)}."
        )
    for k, (a, b) in enumerate(zip(several, like, strict=True)):
        if a._array.shape != b._array.shape:
            at = "" if one else f"Entry {k} in "
            raise RuntimeError(f"{at}v has invalid size: should be {b.shape} but got {a.shape}.")
    return several


def _zeros(t: Tensor) -> Tensor:
    return wrap(np.zeros(t._array.shape, t._kind.dtype.numpy), t._kind)


def _packed(tensors: Sequence[Tensor], one: bool, create_graph: bool) -> Any:
    """The results as they are given back: without history unless it was asked for."""
    found = tuple(tensors) if create_graph else tuple(t.detach() for t in tensors)
    return found[0] if one else found


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
