"""Calls of compiled functions with Tensors: they come back as Tensors, with a step named after
the function.

In: a `Function` and its arguments. Out: Tensors whose history is the call, so that `backward`
runs the function's compiled vjp, and the vjp of that for higher orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arguments import ArgumentTypeError, convert, match_names
from ..donation import converted, with_given
from ..signature import Signature, step_name
from . import dtype as dt
from .core import TensorBase, bump, kind, wrap
from .inplace import check_writable
from .modes import mode
from .saved import KernelBackward, record
from .tape import needs_grad

if TYPE_CHECKING:
    from ..function import Function
    from .tensor import Tensor


class CallBackward(KernelBackward):
    """The step of a compiled function's call; every function's own subclass bears its name."""

    __slots__ = ()


def call_with_tensors(function: Function, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """`function(*args, **kwargs)` with Tensors among the arguments."""
    signature = function.description
    given = match_names(signature, args, kwargs)
    if signature.donated:
        return _call_with_donations(function, given)
    operands = _operands(signature, given)
    values = convert(signature, [_bare(a) for a in operands], {})
    result = function.converted(*values)
    results = _results(signature, result if isinstance(result, tuple) else (result,))
    if mode.grad:
        positions = tuple(
            k for k, a in enumerate(operands)
            if isinstance(a, TensorBase) and needs_grad(a)  # type: ignore[arg-type]
        )  # fmt: skip
        if positions:
            kept = [
                a if isinstance(a, TensorBase) else v for a, v in zip(operands, values, strict=True)
            ]
            record(function.kernel, kept, positions, results, _step_class(function))
            for r in results:
                if r._grad_fn is not None:
                    r._grad_fn.metadata["position"] = signature.position
    return tuple(results) if signature.returns_tuple else results[0]


def _call_with_donations(function: Function, given: Sequence[Any]) -> Any:
    """The same where results take the place of arguments. It leaves no history: what backward would
    need is overwritten.

    Raises RuntimeError for a Tensor that requires grad, except in `no_grad`.
    """
    signature = function.description
    taken = [given[k] for k, _ in signature.donated]
    for a in taken:
        if isinstance(a, TensorBase):
            check_writable(a)  # type: ignore[arg-type]
    for p, a in zip(signature.params, given, strict=True):
        if mode.grad and isinstance(a, TensorBase) and needs_grad(a):  # type: ignore[arg-type]
            raise RuntimeError(
                f"{signature.name}(): {p.name} requires grad, and a call with donated arguments is "
                f"not recorded: call it in `no_grad()`, or pass `{p.name}.detach()`"
            )
    operands = _operands(signature, given)
    for k, _ in signature.donated:
        operands[k] = given[k]  # as it is: a conversion would be written, and lost
    values = converted(signature, [_bare(a) for a in operands])
    try:
        result = function.converted(*values)
    finally:  # a call that fails at an index may have written
        for a in taken:
            if isinstance(a, TensorBase):
                bump(a, signature.name)  # type: ignore[arg-type]
    several = result if isinstance(result, tuple) else (result,)
    return with_given(signature, _results(signature, several), given)


def _operands(signature: Signature, given: Sequence[Any]) -> list[Any]:
    """The arguments, Tensors in the dtypes of the parameters where no value is lost."""
    operands: list[Any] = []
    for p, a in zip(signature.params, given, strict=True):
        want = dt.OF_COMPILED[p.dtype]
        if isinstance(a, TensorBase):
            own = a._kind.dtype
            if _widens(own, want):
                a = a.to(want)  # type: ignore[attr-defined]
            elif own is not want and dt.bfloat16 in (own, want):
                raise ArgumentTypeError(
                    f"{signature.name}(): {p.name} must be {p.type_text}, not a {own.name} Tensor; "
                    f"convert it: `{p.name}.to(tdsl.{want.name})`"
                )
        operands.append(a)
    return operands


def _results(signature: Signature, values: Sequence[Any]) -> list[Tensor]:
    return [
        _tensor(v, dt.OF_COMPILED[o.dtype]) for v, o in zip(values, signature.outputs, strict=True)
    ]


def _widens(own: dt.dtype, want: dt.dtype) -> bool:
    """Whether a Tensor may convert to a parameter's dtype: where no value is lost."""
    if own is want or want is dt.bfloat16:
        return False
    if own is dt.bfloat16:  # NumPy sees bits only
        return want in (dt.float32, dt.float64)
    return bool(np.can_cast(own.numpy, want.numpy, "safe"))


def _bare(a: Any) -> Any:
    """The memory of a Tensor; anything else as it is."""
    return a._array if isinstance(a, TensorBase) else a


def _tensor(value: Any, own: dt.dtype) -> Tensor:
    array = np.asarray(value, dtype=own.numpy)
    return wrap(array, kind(own, array.ndim))


def _step_class(function: Function) -> type[CallBackward]:
    """The class of the steps of one function, named after it."""
    found: type[CallBackward] | None = function.step
    if found is None:
        name = f"{step_name(function.description.name)}Backward"
        found = function.step = type(name, (CallBackward,), {"__slots__": ()})
    return found
