"""`tdsl.torch`: compiled functions inside PyTorch's own autograd.

    f = tdsl.torch.wrap(m.loss)      takes and gives PyTorch's tensors
    f(x, y, w).backward()            runs the compiled backward

In: a compiled function. Out: a function of PyTorch tensors, over their memory. Its backward is
the function's compiled vjp, wrapped in the same way, so that gradients of gradients are compiled,
to any order. PyTorch is imported here and only here, when `wrap` is called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from .arguments import match_names
from .dlpack import capsule_over
from .signature import step_name

if TYPE_CHECKING:
    from .function import Function


def wrap(function: Function) -> Callable[..., Any]:
    """A compiled function as a differentiable function of PyTorch tensors (CPU), NumPy arrays and
    numbers: tensors come back, scalars as tensors without dims.

    Raises ModuleNotFoundError if PyTorch is not installed, TypeError for what is no compiled
    function, and for one with donated arguments.
    """
    from .function import Function

    if not isinstance(function, Function):
        raise TypeError(f"a compiled function is wrapped, not {type(function).__name__}")
    if function.description.donated:
        raise TypeError(f"{function.__name__} has donated arguments, which PyTorch cannot record")
    torch = _torch()
    apply = _applied(function, torch)

    @functools.wraps(function, updated=())
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        given = match_names(function.description, args, kwargs)
        results = apply(*given)
        return results if function.description.returns_tuple else results[0]

    return wrapped


def _torch() -> Any:
    try:
        import torch
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "tdsl.torch.wrap makes a function for PyTorch, which is not installed "
            "(pip install torch)",
            name="torch",
        ) from error
    return torch


def _applied(function: Function, torch: Any) -> Callable[..., tuple[Any, ...]]:
    """The function as one step of PyTorch's autograd."""
    params, outputs = function.description.params, function.description.outputs

    def forward(ctx: Any, *given: Any) -> tuple[Any, ...]:
        found = function(*[_plain(torch, a) for a in given])
        several = found if isinstance(found, tuple) else (found,)
        results = tuple(
            _tensor(torch, v, o.dtype.name) for v, o in zip(several, outputs, strict=True)
        )
        ctx.mark_non_differentiable(
            *[r for r, o in zip(results, outputs, strict=True) if not o.dtype.is_float]
        )
        ctx.given = [None if isinstance(a, torch.Tensor) else a for a in given]
        ctx.save_for_backward(*[a for a in given if isinstance(a, torch.Tensor)])
        return results

    def backward(ctx: Any, *cotangents: Any) -> tuple[Any, ...]:
        saved = iter(ctx.saved_tensors)
        given = [next(saved) if a is None else a for a in ctx.given]
        wanted = tuple(
            p.name
            for p, need in zip(params, ctx.needs_input_grad, strict=True)
            if need and p.dtype.is_float
        )
        floating = [c for c, o in zip(cotangents, outputs, strict=True) if o.dtype.is_float]
        steps = dict(zip(wanted, _vjp(function, wanted, torch)(*given, *floating), strict=True))
        return tuple(
            None if (g := steps.get(p.name)) is None else g.to(a.dtype)
            for p, a in zip(params, given, strict=True)
        )

    step: Any = type(
        step_name(function.__name__),  # PyTorch adds `Backward`
        (torch.autograd.Function,),
        {"forward": staticmethod(forward), "backward": staticmethod(backward)},
    )
    apply: Callable[..., tuple[Any, ...]] = step.apply
    return apply


def _vjp(function: Function, wanted: Sequence[str], torch: Any) -> Callable[..., tuple[Any, ...]]:
    """The compiled backward as a step of its own: PyTorch records it for second derivatives."""
    if not wanted:
        return lambda *given: ()
    return _applied(function.vjp(*wanted), torch)


def _plain(torch: Any, value: Any) -> Any:
    """The memory of a tensor; anything else as it is."""
    return value.detach().contiguous() if isinstance(value, torch.Tensor) else value


_NAMES = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "bool": "bool",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
}


def _tensor(torch: Any, value: Any, dtype: str) -> Any:
    """A result as PyTorch's tensor, over the same memory."""
    import numpy as np

    if not isinstance(value, np.ndarray):
        return torch.tensor(value, dtype=getattr(torch, _NAMES[dtype]))
    return torch.from_dlpack(capsule_over(value, dtype == "bf16"))
