"""Tensors filled with random numbers: PyTorch's in-place methods, over the arrays `random` draws.

In: a Tensor, parameters of a distribution, perhaps a `Generator`. Out: the Tensor with the next
numbers of the generator's stream, which are not PyTorch's. What a distribution needs beside a
uniform or a normal number is computed by Tensor operations, and so compiled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtype as dt
from . import random
from .core import Array, TensorBase, kind, wrap
from .creation import finished, full
from .inplace import check_writable, overwrite, scalar_name
from .modes import no_grad
from .random import Generator

if TYPE_CHECKING:
    from .tensor import Tensor

# --------------------------------------------------------------------------- drawn elements


def uniform_of(shape: Sequence[int], d: dt.dtype, generator: Generator | None) -> Tensor:
    """On [0, 1)."""
    if not d.is_floating_point:
        raise NotImplementedError(
            f"\"check_uniform_bounds\" not implemented for '{scalar_name(d)}'"
        )
    return finished(random.uniform(shape, d.compiled.name, generator), d)


def normal_of(shape: Sequence[int], d: dt.dtype, generator: Generator | None) -> Tensor:
    """With mean 0 and standard deviation 1."""
    if not d.is_floating_point:
        raise NotImplementedError(f"\"normal_kernel_cpu\" not implemented for '{scalar_name(d)}'")
    return finished(random.normal(shape, d.compiled.name, generator), d)


_C_NAMES = {
    "uint8": "unsigned char", "int8": "signed char", "int16": "short", "int32": "int",
    "int64": "long", "bool": "bool",
}  # fmt: skip


def integers_of(
    low: int, high: int, shape: Sequence[int], d: dt.dtype, generator: Generator | None
) -> Tensor:
    """On [low, high). Raises RuntimeError unless low < high and the dtype holds them."""
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    if not d.is_floating_point:
        least, most = limits(d)
        for end, value in (("from", low), ("to - 1", high - 1)):
            if not least <= value <= most:
                raise RuntimeError(f"{end} is out of bounds for {_C_NAMES[d.name]}")
    drawn = finished(random.integers(low, high, shape, generator), dt.int64)
    return drawn.to(d)


def limits(d: dt.dtype) -> tuple[int, int]:
    if d is dt.bool_:
        return 0, 1
    info = np.iinfo(d.numpy)
    return int(info.min), int(info.max)


def keep_mask(
    shape: Sequence[int], probability: float, d: dt.dtype, generator: Generator | None = None
) -> Tensor:
    """1 with a probability, else 0: what dropout multiplies by."""
    wide = d if d.is_floating_point else dt.float32
    with no_grad():
        p = full(tuple(shape), float(probability), dtype=wide)
        return finished(random.bernoulli(p._array, wide.compiled.name, generator), wide).to(d)


def bernoulli_of(p: Tensor, generator: Generator | None) -> Array:
    """1 with the probability that stands in its place, else 0."""
    d = p._kind.dtype
    if not d.is_floating_point:
        raise NotImplementedError(
            f"\"bernoulli_tensor_cpu_p_\" not implemented for '{scalar_name(d)}'"
        )
    return random.bernoulli(p._array, d.compiled.name, generator)


def require_probability(p: float) -> None:
    if not 0 <= p <= 1:
        raise RuntimeError(f"bernoulli_ expects p to be in [0, 1], but got p={p:g}")


def require_std(std: Any) -> None:
    if std < 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std:g}")


def checked_generator(name: str, generator: Any) -> Generator | None:
    if generator is not None and not isinstance(generator, Generator):
        raise TypeError(
            f"{name}(): argument 'generator' must be tdsl.Generator, not {type(generator).__name__}"
        )
    return generator


# --------------------------------------------------------------------------- in-place methods


def _ends(given: tuple[Any, ...], named: dict[str, Any], low: Any, high: Any) -> tuple[Any, Any]:
    """`from` and `to`; Python has the first as a keyword of its own."""
    low = named.pop("from", given[0] if given else low)
    high = named.pop("to", given[1] if len(given) > 1 else high)
    if named or len(given) > 2:
        raise TypeError("expected at most the arguments 'from', 'to' and 'generator'")
    return low, high


def _floating(t: Tensor, distribution: str) -> dt.dtype:
    """The dtype to compute in: halves by way of float32. Raises RuntimeError for integers."""
    d = t._kind.dtype
    if not d.is_floating_point:
        raise RuntimeError(
            f"{distribution} distribution is a continuous probability distribution. dtype must be "
            f"a floating point but you specified {scalar_name(d)}"
        )
    return dt.float64 if d is dt.float64 else dt.float32


def _written(t: Tensor, values: Tensor, writer: str) -> Tensor:
    return overwrite(t, values.to(t._kind.dtype)._array, writer)


class RandomMethods(TensorBase):
    """Methods that fill a Tensor with random numbers."""

    __slots__ = ()

    def uniform_(self: Tensor, *ends: float, generator: Generator | None = None,
                 **named: float) -> Tensor:  # fmt: skip
        """Uniform on [from, to), by default [0, 1)."""
        low, high = _ends(ends, named, 0.0, 1.0)
        check_writable(self)
        d = self._kind.dtype
        with no_grad():
            drawn = uniform_of(self._array.shape, d, checked_generator("uniform_", generator))
            for name, end in (("from", low), ("to", high)):
                if not abs(end) <= dt.finfo(d).max:
                    raise RuntimeError(f"{name} is out of bounds for {d.name}")
            if low > high:
                raise RuntimeError(
                    "uniform_ expects to return a [from, to) range, but found "
                    f"from={low:g} > to={high:g}"
                )
            if (low, high) != (0, 1):
                drawn = drawn * (high - low) + low
        return _written(self, drawn, "uniform_")

    def normal_(self: Tensor, mean: float = 0.0, std: float = 1.0, *,
                generator: Generator | None = None) -> Tensor:  # fmt: skip
        """Normal."""
        check_writable(self)
        require_std(std)
        with no_grad():
            drawn = normal_of(
                self._array.shape, self._kind.dtype, checked_generator("normal_", generator)
            )
            if (mean, std) != (0, 1):
                drawn = drawn * std + mean
        return _written(self, drawn, "normal_")

    def log_normal_(self: Tensor, mean: float = 1.0, std: float = 2.0, *,
                    generator: Generator | None = None) -> Tensor:  # fmt: skip
        """The exponential of a normal number."""
        check_writable(self)
        require_std(std)
        d = _floating(self, "Log-normal")
        with no_grad():
            drawn = normal_of(self._array.shape, d, checked_generator("log_normal_", generator))
            return _written(self, (drawn * std + mean).exp(), "log_normal_")

    def exponential_(self: Tensor, lambd: float = 1.0, *,
                     generator: Generator | None = None) -> Tensor:  # fmt: skip
        """Exponential with rate `lambd`."""
        check_writable(self)
        d = _floating(self, "Exponential")
        if not lambd > 0:
            raise RuntimeError(f"exponential_ expects lambda > 0.0, but found lambda={lambd:g}")
        with no_grad():
            drawn = uniform_of(self._array.shape, d, checked_generator("exponential_", generator))
            return _written(self, -(1 - drawn).log() / lambd, "exponential_")

    def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
        """The number of trials up to the first success, each with probability `p`."""
        check_writable(self)
        if not 0 < p < 1:
            raise RuntimeError(f"geometric_ expects p to be in (0, 1), but got p={p:g}")
        with no_grad():
            drawn = uniform_of(
                self._array.shape, dt.float64, checked_generator("geometric_", generator)
            )
            trials = ((1 - drawn).log() / math.log1p(-p)).ceil().clamp(min=1)
            return _written(self, trials, "geometric_")

    def cauchy_(self: Tensor, median: float = 0.0, sigma: float = 1.0, *,
                generator: Generator | None = None) -> Tensor:  # fmt: skip
        """Cauchy."""
        check_writable(self)
        d = _floating(self, "Cauchy")
        with no_grad():
            drawn = uniform_of(self._array.shape, d, checked_generator("cauchy_", generator))
            return _written(self, ((drawn - 0.5) * math.pi).tan() * sigma + median, "cauchy_")

    def random_(self: Tensor, *ends: int, generator: Generator | None = None,
                **named: int) -> Tensor:  # fmt: skip
        """Integers on [from, to): `random_(to)` from 0, `random_()` all that the dtype represents
        from 0 on (of a float, all up to which it represents every integer)."""
        if len(ends) == 1 and not named:
            ends = (0, *ends)
        check_writable(self)
        d = self._kind.dtype
        most = 2 ** _EXACT[d.name] if d.is_floating_point else limits(d)[1]
        low, high = _ends(ends, named, 0, most + 1)
        drawn = integers_of(int(low), int(high), self._array.shape, d,
                          checked_generator("random_", generator))  # fmt: skip
        return overwrite(self, drawn._array, "random_")

    def bernoulli(self: Tensor, p: float | None = None, *,
                  generator: Generator | None = None) -> Tensor:  # fmt: skip
        """1 with the probability that stands in its place, or with `p` everywhere, else 0."""
        from .random_tensors import bernoulli

        return bernoulli(self, p, generator=generator)

    def bernoulli_(self: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
        """1 with a probability (a number, or a Tensor that broadcasts), else 0."""
        check_writable(self)
        generator = checked_generator("bernoulli_", generator)
        if isinstance(p, TensorBase):
            with no_grad():
                spread = p.expand(self._array.shape)  # type: ignore[attr-defined]
                drawn = wrap(bernoulli_of(spread, generator), kind(p._kind.dtype, self._kind.rank))
                return _written(self, drawn, "bernoulli_")
        require_probability(p)
        return _written(self, keep_mask(self._array.shape, p, self._kind.dtype, generator),
                        "bernoulli_")  # fmt: skip

    def multinomial(self: Tensor, num_samples: int, replacement: bool = False, *,
                    generator: Generator | None = None) -> Tensor:  # fmt: skip
        """Indices of categories, drawn with these weights."""
        from .random_tensors import multinomial

        return multinomial(self, num_samples, replacement, generator=generator)


#: The exponents up to which a float represents every integer.
_EXACT = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
