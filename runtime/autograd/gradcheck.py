"""`gradcheck`, `gradgradcheck`: gradients against central differences.

In: a function of Tensors and inputs, in float64 as a rule. Out: True, or a GradcheckError that
shows both Jacobians where they differ: the numerical one, column by column from

    (f(x + eps eᵢ) − f(x − eps eᵢ)) / 2 eps,

and the analytical one, row by row from backward passes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor.core import Array, TensorBase, of_array, wrap
from ..tensor.entries import gradients_of
from ..tensor.modes import no_grad

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor


class GradcheckError(RuntimeError):
    """A gradient is wrong."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the gradients of `func` at `inputs` agree with central differences: `|a − n| <= atol
    + rtol |n|` in every element. Those inputs are checked that require grad.

    Raises GradcheckError where they do not, unless `raise_exception` is False, and ValueError
    where there is nothing to check. Also checked: that a second pass gives the same (up to
    `nondet_tol`), and that a backward pass copes where no gradient arrives
    (`check_undefined_grad`). `fast_mode` and `masked` change nothing; there is neither forward
    mode nor batching to check.
    """
    if check_forward_ad or check_batched_grad or check_batched_forward_grad:
        raise NotImplementedError("gradcheck: forward mode and batched gradients are not there yet")
    if not check_backward_ad:
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad")
    try:
        _check(func, inputs, eps, atol, rtol, nondet_tol, check_undefined_grad, check_grad_dtypes)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """`gradcheck` of the backward pass of `func`, as a function of the inputs and of the
    cotangents `grad_outputs` (random ones if left out)."""
    if check_fwd_over_rev:
        raise NotImplementedError("gradgradcheck: forward mode is not there yet")
    x = _several(inputs)
    outputs = _differentiable(func(*x))
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        cotangents = [_random_like(o, rng, gen_non_contig_grad_outputs) for o in outputs]
    else:
        cotangents = list(_several(grad_outputs))
    wanted = [k for k, t in enumerate(x) if _requires_grad(t)]

    def backward(*given: Any) -> Any:
        own, cts = given[: len(x)], given[len(x) :]
        own = tuple(
            t.view_as(t) if k in wanted else t for k, t in enumerate(own)
        )  # that a function may write its input in place
        found = gradients_of(
            _differentiable(func(*own)), [own[k] for k in wanted], list(cts), None, True, True
        )
        return tuple(g for g in found if g is not None)

    return gradcheck(
        backward, (*x, *cotangents), eps=eps, atol=atol, rtol=rtol,
        raise_exception=raise_exception, nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad, check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
    )  # fmt: skip


# --------------------------------------------------------------------------- the check


def _check(
    func: Callable[..., Any], inputs: Any, eps: float, atol: float, rtol: float,
    nondet_tol: float, undefined: bool, dtypes: bool,
) -> None:  # fmt: skip
    x = _several(inputs)
    wanted = [k for k, t in enumerate(x) if _requires_grad(t)]
    if not wanted:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of them "
            "have requires_grad=True."
        )
    for k in wanted:
        if x[k].dtype.itemsize < 8:
            warnings.warn(
                f"Input #{k} requires gradient and is not a double precision floating point or "
                "complex. This check will likely fail if all the inputs are not of double "
                "precision floating point or complex.",
                stacklevel=3,
            )
        x[k].retain_grad()
    found = func(*x)
    outputs = _differentiable(found)
    numerical = [_numerical(func, x, k, eps, bool(outputs)) for k in wanted]
    if not outputs:
        if any(np.any(column) for columns in numerical for column in columns):
            raise GradcheckError("Numerical gradient for function expected to be zero")
        return
    for i, o in enumerate(outputs):
        analytical = _analytical(o, [x[k] for k in wanted], i, dtypes)
        again = _analytical(o, [x[k] for k in wanted], i, dtypes)
        for j, (a, b) in enumerate(zip(analytical, again, strict=True)):
            if not np.allclose(a, b, rtol=0, atol=nondet_tol, equal_nan=True):
                raise GradcheckError(
                    "Backward is not reentrant, i.e., running backward with same input and "
                    "grad_output multiple times gives different values, although analytical "
                    f"gradient matches numerical gradient. The tolerance for nondeterminism was "
                    f"{nondet_tol}."
                )
            n = numerical[j][i]
            if not np.allclose(a, n, rtol=rtol, atol=atol, equal_nan=True):
                raise GradcheckError(_mismatch(i, wanted[j], n, a, x[wanted[j]]))
    if undefined:
        _check_undefined(outputs, [x[k] for k in wanted])


def _mismatch(i: int, j: int, numerical: Array, analytical: Array, like: Tensor) -> str:
    shown = [of_array(np.ascontiguousarray(m)).to(like.dtype) for m in (numerical, analytical)]
    return (
        f"Jacobian mismatch for output {i} with respect to input {j},\n"
        f"numerical:{shown[0]}\nanalytical:{shown[1]}\n"
    )


def _numerical(
    func: Callable[..., Any], inputs: Sequence[Any], k: int, eps: float, differentiable: bool
) -> list[Array]:
    """The derivatives of every result with respect to input k: (elements of the input, elements
    of the result)."""
    columns: list[list[Array]] = []

    def values(place: Any, value: float) -> list[Array]:
        former = moved._array[place]
        moved._array[place] = value
        found = func(*(moved if n == k else t for n, t in enumerate(inputs)))
        several = _differentiable(found) if differentiable else _floating(found)
        out = [np.array(o._array, np.float64).ravel() for o in several]
        moved._array[place] = former
        return out

    with no_grad():
        copy = inputs[k].detach().clone()
    for place in np.ndindex(inputs[k]._array.shape):
        moved = copy.detach().requires_grad_()
        at = float(moved._array[place])
        ends = zip(values(place, at + eps), values(place, at - eps), strict=True)
        columns.append([(a - b) / (2 * eps) for a, b in ends])
    if not columns:
        found = func(*inputs)
        several = _differentiable(found) if differentiable else _floating(found)
        return [np.zeros((0, o._array.size)) for o in several]
    return [np.stack([c[i] for c in columns]) for i in range(len(columns[0]))]


def _analytical(output: Tensor, inputs: Sequence[Tensor], number: int, dtypes: bool) -> list[Array]:
    """The derivatives of one result with respect to every input: (elements of the input, elements
    of the result)."""
    found = [np.zeros((t._array.size, output._array.size)) for t in inputs]
    for place, at in enumerate(np.ndindex(output._array.shape)):
        unit = np.zeros(output._array.shape, output._array.dtype)
        unit[at] = 1
        ct = wrap(unit, output._kind)
        rows = gradients_of(output, list(inputs), ct, True, False, True)
        for j, (g, t) in enumerate(zip(rows, inputs, strict=True)):
            if g is None:
                continue
            if g._array.shape != t._array.shape or (dtypes and g.dtype is not t.dtype):
                raise GradcheckError(
                    f"Analytical gradient {number} has incorrect type or size: {g.dtype} "
                    f"{list(g.shape)} for an input {t.dtype} {list(t.shape)}"
                )
            found[j][:, place] = np.asarray(g._array, np.float64).ravel()
    return found


def _check_undefined(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> None:
    """A backward pass gives no gradient or zeros where none arrives."""
    if len(outputs) < 2:
        return
    for only in outputs:
        try:
            zero = wrap(np.zeros_like(only._array), only._kind)
            found = gradients_of(only, list(inputs), zero, True, False, True)
        except RuntimeError as error:
            raise GradcheckError(
                "Expected backward function to handle undefined output grads. Please look at "
                '"Notes about undefined output gradients" in "tools/autograd/derivatives.yaml"'
            ) from error
        if any(g is not None and np.any(g._array) for g in found):
            raise GradcheckError(
                "Expected all input grads to be undefined or zero when all output grads are "
                "undefined or zero."
            )


# --------------------------------------------------------------------------- inputs and results


def _several(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def _requires_grad(t: Any) -> bool:
    return isinstance(t, TensorBase) and bool(t.requires_grad)  # type: ignore[attr-defined]


def _differentiable(found: Any) -> list[Tensor]:
    """The results that require grad."""
    return [o for o in _several(found) if o.requires_grad]


def _floating(found: Any) -> list[Tensor]:
    return [o for o in _several(found) if o.dtype.is_floating_point]


def _random_like(t: Tensor, rng: np.random.Generator, gaps: bool) -> Tensor:
    """Random elements of `t`'s shape and dtype that require grad; with `gaps`, not contiguous."""
    shape = (*t._array.shape, 2) if gaps else t._array.shape
    drawn = np.asarray(rng.uniform(-1, 1, shape), t._array.dtype)
    return of_array(drawn[..., 0] if gaps else drawn).requires_grad_()
