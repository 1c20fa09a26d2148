"""The functions of the namespace: `tdsl.exp(x)`, `tdsl.cat(…)`, and what else PyTorch has there.

A function that is a method is that method, taking the Tensor first. This module is imported when
the first of its names is asked for.
"""

from __future__ import annotations

from typing import Any

from .choosing import where
from .creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    logspace,
    ones,
    ones_like,
    tensor,
    tril_indices,
    triu_indices,
    zeros,
    zeros_like,
)
from .interop import asarray, from_dlpack, frombuffer, to_dlpack
from .joining import cat, meshgrid, stack
from .products import einsum
from .random_tensors import (
    Generator,
    bernoulli,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    multinomial,
    normal,
    rand,
    rand_like,
    randint,
    randint_like,
    randn,
    randn_like,
    randperm,
    seed,
    set_rng_state,
)
from .tensor import Tensor

concat = concatenate = cat

__all__ = [
    "Generator",
    "arange",
    "as_tensor",
    "asarray",
    "bernoulli",
    "cat",
    "concat",
    "concatenate",
    "default_generator",
    "einsum",
    "empty",
    "empty_like",
    "eye",
    "from_dlpack",
    "from_numpy",
    "frombuffer",
    "full",
    "full_like",
    "get_rng_state",
    "initial_seed",
    "linspace",
    "logspace",
    "manual_seed",
    "meshgrid",
    "multinomial",
    "normal",
    "ones",
    "ones_like",
    "rand",
    "rand_like",
    "randint",
    "randint_like",
    "randn",
    "randn_like",
    "randperm",
    "seed",
    "set_rng_state",
    "stack",
    "tensor",
    "to_dlpack",
    "tril_indices",
    "triu_indices",
    "where",
    "zeros",
    "zeros_like",
]  # fmt: skip

#: Methods that are no functions in PyTorch.
_METHODS_ONLY = frozenset(
    """backward bfloat16 bool byte char contiguous copy_ cpu cuda data_ptr dim double element_size
    expand expand_as fill_ float half int item itemsize long nbytes ndim ndimension new numpy
    register_hook repeat requires_grad_ retain_grad short size storage storage_offset stride
    sum_to_size to tolist type type_as untyped_storage view view_as zero_ unfold""".split()  # noqa: SIM905
)


def is_tensor(obj: Any) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a float."""
    return input.is_floating_point()


def numel(input: Tensor) -> int:
    """The number of elements."""
    return input.numel()


def result_type(a: Any, b: Any) -> Any:
    """The dtype of `a + b`."""
    from . import dtype as dt

    sized: list[Any] = []
    unsized: list[Any] = []
    numbers: list[Any] = []
    for v in (a, b):
        if isinstance(v, Tensor):
            (sized if v.ndim else unsized).append(v.dtype)
        else:
            numbers.append(dt.of_number(v))
    return dt.promoted(sized, unsized, numbers)


def can_cast(from_: Any, to: Any) -> bool:
    """Whether a result of dtype `from_` may be written to elements of dtype `to`."""
    from . import dtype as dt

    return dt.can_cast(from_, to)


def broadcast_tensors(*tensors: Any) -> tuple[Tensor, ...]:
    """The Tensors expanded to one shape."""
    shape = broadcast_shapes(*(t.shape for t in tensors))
    return tuple(t.expand(shape) for t in tensors)


def broadcast_shapes(*shapes: Any) -> Any:
    """The shape that these broadcast to. Raises RuntimeError where they do not."""
    import numpy as np

    from .size import Size

    try:
        return Size(
            np.broadcast_shapes(*(tuple(s) if not isinstance(s, int) else s for s in shapes))
        )
    except ValueError:
        raise RuntimeError(
            "Shape mismatch: objects cannot be broadcast to a single shape"
        ) from None


def _joined(tensors: Any, dim: int, least: int) -> Tensor:
    wide = [t.reshape((1,) * (least - t.ndim) + tuple(t.shape)) if t.ndim < least else t
            for t in tensors]  # fmt: skip
    return cat(wide, dim)


def hstack(tensors: Any) -> Tensor:
    """Side by side: along dim 1 (vectors along dim 0)."""
    given = [t.reshape(1) if not t.ndim else t for t in tensors]
    return cat(given, 0 if given[0].ndim == 1 else 1)


def vstack(tensors: Any) -> Tensor:
    """One under another: along dim 0, vectors as rows."""
    return _joined(tensors, 0, 2)


def var_mean(input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *,
             correction: Any = None) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The variance and the mean."""
    return input.var(dim, unbiased, keepdim, correction=correction), input.mean(dim, keepdim)


def std_mean(input: Tensor, dim: Any = None, unbiased: Any = None, keepdim: bool = False, *,
             correction: Any = None) -> tuple[Tensor, Tensor]:  # fmt: skip
    """The standard deviation and the mean."""
    return input.std(dim, unbiased, keepdim, correction=correction), input.mean(dim, keepdim)


def __getattr__(name: str) -> Any:
    if name.startswith("_") or name in _METHODS_ONLY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(Tensor, name, None)
    if found is None:
        from ..nn import namespace

        found = getattr(namespace, name, None) if name in namespace.__all__ else None
    if found is None or not callable(found):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return found
