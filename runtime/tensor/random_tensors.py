"""Random Tensors: PyTorch's functions that make them.

In: sizes, dtypes, parameters of distributions, perhaps a `Generator`. Out: leaf Tensors; their
numbers are those of the generator's stream, not PyTorch's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtype as dt
from . import random
from .core import TensorBase
from .creation import _shape, empty_like, finished, sizes, zeros
from .inplace import scalar_name
from .modes import mode, no_grad
from .random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from .random_filling import (
    bernoulli_of,
    checked_generator,
    integers_of,
    keep_mask,
    limits,
    normal_of,
    require_probability,
    require_std,
    uniform_of,
)
from .tape import Gradients, Node, edge_of, needs_grad

if TYPE_CHECKING:
    from .tensor import Tensor

__all__ = [
    "Generator", "bernoulli", "default_generator", "get_rng_state", "initial_seed", "keep_mask",
    "manual_seed", "multinomial", "normal", "rand", "rand_like", "randint", "randint_like", "randn",
    "randn_like", "randperm", "seed", "set_rng_state",
]  # fmt: skip

# --------------------------------------------------------------------------- arguments


def _whole(name: str, what: str, value: Any) -> int:
    if isinstance(value, TensorBase):
        value = value.item()  # type: ignore[attr-defined]
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}(): argument '{what}' must be int, not {type(value).__name__}")
    return int(value)


# --------------------------------------------------------------------------- functions


def rand(*size: Any, generator: Generator | None = None, dtype: dt.dtype | None = None,
         layout: Any = None, device: Any = None, requires_grad: bool = False,
         pin_memory: bool = False, **named: Any) -> Tensor:  # fmt: skip
    """Uniform on [0, 1)."""
    shape = sizes("rand", size, named)
    made = uniform_of(shape, dtype or dt.get_default_dtype(), checked_generator("rand", generator))
    return finished(made._array, made._kind.dtype, requires_grad, device)


def randn(*size: Any, generator: Generator | None = None, dtype: dt.dtype | None = None,
          layout: Any = None, device: Any = None, requires_grad: bool = False,
          pin_memory: bool = False, **named: Any) -> Tensor:  # fmt: skip
    """Normal, with mean 0 and standard deviation 1."""
    shape = sizes("randn", size, named)
    made = normal_of(shape, dtype or dt.get_default_dtype(), checked_generator("randn", generator))
    return finished(made._array, made._kind.dtype, requires_grad, device)


def randint(*args: Any, generator: Generator | None = None, dtype: dt.dtype | None = None,
            layout: Any = None, device: Any = None, requires_grad: bool = False,
            **named: Any) -> Tensor:  # fmt: skip
    """Integers on [low, high): `randint(high, size)` or `randint(low, high, size)`."""
    words = ("high", "size") if len(args) + len(named) <= 2 else ("low", "high", "size")
    given = dict(zip(words, args, strict=False)) | named
    if not {*given} <= {"low", "high", "size"} or not {"high", "size"} <= {*given}:
        got = ", ".join(type(a).__name__ for a in (*args, *named.values()))
        raise TypeError(
            f"randint() received an invalid combination of arguments - got ({got}), but expected "
            "(int high, tuple of ints size) or (int low, int high, tuple of ints size)"
        )
    if not isinstance(given["size"], tuple | list):
        raise TypeError(
            f"randint(): argument 'size' must be tuple of ints, not {type(given['size']).__name__}"
        )
    low = _whole("randint", "low", given.get("low", 0))
    high = _whole("randint", "high", given["high"])
    shape, d = _shape((given["size"],)), dtype or dt.int64
    made = integers_of(low, high, shape, d, checked_generator("randint", generator))
    return finished(made._array, d, requires_grad, device)


def randperm(n: int, *, generator: Generator | None = None, dtype: dt.dtype | None = None,
             layout: Any = None, device: Any = None, requires_grad: bool = False,
             pin_memory: bool = False) -> Tensor:  # fmt: skip
    """0 … n - 1 in random order."""
    (count,) = _shape((_whole("randperm", "n", n),))
    d = dtype or dt.int64
    if d is dt.bool_:
        raise NotImplementedError("\"randperm\" not implemented for 'Bool'")
    if not d.is_floating_point and count - 1 > limits(d)[1]:
        raise RuntimeError(f"n is too large for result tensor type: {d}")
    drawn = finished(random.permutation(count, checked_generator("randperm", generator)), dt.int64)
    return finished(drawn.to(d)._array, d, requires_grad, device)


def rand_like(input: Tensor, *, dtype: dt.dtype | None = None, layout: Any = None,
              device: Any = None, requires_grad: bool = False, memory_format: Any = None,
              generator: Generator | None = None) -> Tensor:  # fmt: skip
    """`rand` in the shape and dtype of another Tensor."""
    out = empty_like(input, dtype=dtype, device=device)
    return out.uniform_(generator=generator).requires_grad_(requires_grad)


def randn_like(input: Tensor, *, dtype: dt.dtype | None = None, layout: Any = None,
               device: Any = None, requires_grad: bool = False, memory_format: Any = None,
               generator: Generator | None = None) -> Tensor:  # fmt: skip
    """`randn` in the shape and dtype of another Tensor."""
    out = empty_like(input, dtype=dtype, device=device)
    return out.normal_(generator=generator).requires_grad_(requires_grad)


def randint_like(input: Tensor, low: Any = 0, high: Any = None, *, dtype: dt.dtype | None = None,
                 layout: Any = None, device: Any = None, requires_grad: bool = False,
                 memory_format: Any = None,
                 generator: Generator | None = None) -> Tensor:  # fmt: skip
    """`randint` in the shape and dtype of another Tensor: `randint_like(x, high)` or
    `randint_like(x, low, high)`."""
    if high is None:
        low, high = 0, low
    low, high = _whole("randint_like", "low", low), _whole("randint_like", "high", high)
    out = empty_like(input, dtype=dtype, device=device)
    return out.random_(low, high, generator=generator).requires_grad_(requires_grad)


def normal(mean: Any, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
           dtype: dt.dtype | None = None, layout: Any = None, device: Any = None,
           requires_grad: bool = False) -> Tensor:  # fmt: skip
    """Normal with a mean and a standard deviation for every element (Tensors that broadcast), or
    with the same ones for `size` elements."""
    generator = checked_generator("normal", generator)
    tensors: list[Any] = [v for v in (mean, std) if isinstance(v, TensorBase)]
    if not tensors:
        if not isinstance(size, tuple | list):
            got = ", ".join(type(v).__name__ for v in (mean, std, *([size] if size else [])))
            raise TypeError(
                f"normal() received an invalid combination of arguments - got ({got}), but "
                "expected a Tensor for mean or std, or a tuple of ints for size"
            )
        out = zeros(_shape((size,)), dtype=dtype, device=device)
        return out.normal_(mean, std, generator=generator).requires_grad_(requires_grad)
    own = tensors[0]._kind.dtype
    with no_grad():
        if not isinstance(std, TensorBase):
            require_std(std)
        elif (std < 0).any():  # type: ignore[operator, attr-defined]
            raise RuntimeError("normal expects all elements of std >= 0.0")
        shape = np.broadcast_shapes(*_broadcasting(tensors))
        made = (normal_of(shape, own, generator) * std + mean).to(own)
    return _with_zero_gradient(made, tensors, "Normal")


def _broadcasting(tensors: Sequence[Tensor]) -> list[tuple[int, ...]]:
    from .sites import no_broadcast

    shapes = [t._array.shape for t in tensors]
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        raise RuntimeError(no_broadcast(shapes)) from None
    return shapes


class RandomBackward(Node):
    """The step of a draw: no gradient comes through, which PyTorch says by zeros."""

    __slots__ = ("_operands",)

    def __init__(self, operands: Sequence[Tensor]) -> None:
        super().__init__(tuple(edge_of(t) for t in operands))
        self._operands = [(t._array.shape, t._kind.dtype) for t in operands]

    def apply(self, cotangents: Gradients) -> Sequence[Tensor | None]:
        return [zeros(shape, dtype=d) for shape, d in self._operands]


class NormalBackward0(RandomBackward):
    """Of `normal`."""


class BernoulliBackward0(RandomBackward):
    """Of `bernoulli`."""


_STEPS = {"Normal": NormalBackward0, "Bernoulli": BernoulliBackward0}


def _with_zero_gradient(out: Tensor, operands: Sequence[Tensor], name: str) -> Tensor:
    if mode.grad and out._kind.dtype.is_floating_point and any(needs_grad(t) for t in operands):
        out._grad_fn, out._requires_grad = _STEPS[name](operands), True
    return out


def bernoulli(
    input: Tensor, p: float | None = None, *, generator: Generator | None = None
) -> Tensor:
    """1 with the probability that stands in its place, or with `p` everywhere, else 0."""
    own, generator = input._kind.dtype, checked_generator("bernoulli", generator)
    if p is None:
        made = finished(bernoulli_of(input, generator), own)
    else:
        require_probability(p)
        made = keep_mask(input._array.shape, p, own, generator)
    return _with_zero_gradient(made, [input], "Bernoulli")


def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *,
                generator: Generator | None = None) -> Tensor:  # fmt: skip
    """Indices of `num_samples` categories, drawn with the weights in a vector or in every row."""
    d, generator = input._kind.dtype, checked_generator("multinomial", generator)
    if input._kind.rank not in (1, 2):
        raise RuntimeError("prob_dist must be 1 or 2 dim")
    if not d.is_floating_point:
        raise RuntimeError(
            f"multinomial only supports floating-point dtypes for input, got: {scalar_name(d)}"
        )
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > input._array.shape[-1]:
        raise RuntimeError(
            "cannot sample n_sample > prob_dist.size(-1) samples without replacement"
        )
    with no_grad():
        weights = input.detach().double()
        if not (weights.isfinite() & (weights >= 0)).all():
            raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
        if (weights.sum(-1) <= 0).any():
            raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
        if replacement:
            return _with_replacement(weights, num_samples, generator)
        # the first of independent exponential times with rates w is the k-th with probability
        # w_k / Σ w; so is the next among the rest (Efraimidis and Spirakis 2006)
        rates = weights / -(1 - uniform_of(weights.shape, dt.float64, generator)).log()
        return rates.topk(num_samples, -1)[1]


def _with_replacement(weights: Tensor, count: int, generator: Generator | None) -> Tensor:
    bounds = weights.cumsum(-1)
    rows = bounds._array.reshape(-1, bounds._array.shape[-1])
    drawn = uniform_of((len(rows), count), dt.float64, generator)._array * rows[:, -1:]
    found = np.stack(
        [np.searchsorted(row, x, side="right") for row, x in zip(rows, drawn, strict=True)]
    )
    return finished(found.reshape((*weights.shape[:-1], count)).astype(np.int64), dt.int64)
