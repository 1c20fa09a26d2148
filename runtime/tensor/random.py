"""Random numbers: generators, and arrays drawn from them by compiled rows.

A `Generator` is a seed and a position in its stream. A draw of n elements takes the next n
positions and leaves the rest to a compiled row (`compiler/op_random.py`), to which both are plain
arguments: one compilation a dtype serves every seed and every shape. The numbers are the same on
every device and for any number of threads; they are not PyTorch's, which has another generator.

Draws are NumPy arrays, bf16 as its bits; making Tensors of them is left to `random_tensors`.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .core import Array, TensorBase, of_array
from .device import CPU, device, require
from .kernels import Kernel, sizes_only

if TYPE_CHECKING:
    from ...compiler.graph import Function
    from ...compiler.index_lambda import IndexLambda
    from .tensor import Tensor

_SEED = 67280421310721  # PyTorch's, of a Generator that was not seeded
_WRAP = 1 << 64
_STATE_BYTES = 16  # the seed and the position, 8 bytes each, little-endian

# --------------------------------------------------------------------------- generators


class Generator:
    """`torch.Generator`. Threads may share one: what they draw never overlaps, though which of
    them gets which numbers depends on their timing."""

    __slots__ = ("__weakref__", "_device", "_lock", "_offset", "_seed")

    def __init__(self, device: Any = CPU) -> None:
        self._device = require(device)
        self._lock = threading.Lock()
        self._seed, self._offset = _SEED, 0

    @property
    def device(self) -> device:
        """Where it draws."""
        return self._device

    def manual_seed(self, seed: int) -> Generator:
        """Begin the stream of `seed`, from -2^63 to 2^64 - 1; a negative one counts modulo 2^64.
        Raises RuntimeError outside."""
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer):
            raise RuntimeError(f"manual_seed expected a long, but got {type(seed).__name__}")
        value = int(seed)
        if not -(_WRAP >> 1) <= value < _WRAP:
            raise RuntimeError("Overflow when unpacking long long")
        with self._lock:
            self._seed, self._offset = value % _WRAP, 0
        return self

    def seed(self) -> int:
        """Begin the stream of a seed from the operating system's randomness; the seed."""
        seed = int.from_bytes(os.urandom(8), "little")
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed that the stream began with."""
        return self._seed

    def get_state(self) -> Tensor:
        """The seed and the position as 16 bytes."""
        from .tensor import Tensor  # noqa: F401  (what `of_array` makes)

        with self._lock:
            words = (self._seed, self._offset)
        return of_array(np.array(words, "<u8").view(np.uint8))

    def set_state(self, new_state: Tensor | Array) -> Generator:
        """Go on where `get_state` was taken. Raises TypeError or RuntimeError for anything that it
        did not return."""
        state = new_state._array if isinstance(new_state, TensorBase) else new_state
        if not isinstance(state, np.ndarray) or state.dtype != np.uint8:
            kind = getattr(state, "dtype", type(state).__name__)
            raise TypeError(f"expected a state of dtype uint8, but got {kind}")
        if state.shape != (_STATE_BYTES,):
            raise RuntimeError(
                f"Expected a generator state of size {_STATE_BYTES} but found the input RNG state "
                f"size to be {state.size}"
            )
        words = np.ascontiguousarray(state).view("<u8")
        with self._lock:
            self._seed, self._offset = int(words[0]), int(words[1])
        return self

    def clone_state(self) -> Generator:
        """Another Generator at the same position."""
        out = Generator(self._device)
        out.set_state(self.get_state())
        return out

    def advance(self, count: int) -> tuple[int, int]:
        """The seed and the position of the next `count` numbers, as rows take them: i64, modulo
        2^64. They are the caller's alone."""
        with self._lock:
            seed, offset = self._seed, self._offset
            self._offset = (offset + count) % _WRAP
        return _signed(seed), _signed(offset)

    def __repr__(self) -> str:
        return f"<tdsl.Generator on {self._device}: seed {self._seed}, position {self._offset}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self._device, self.get_state().numpy())

    def __deepcopy__(self, memo: Any) -> Generator:
        return self.clone_state()


def _signed(word: int) -> int:
    return word - _WRAP if word >= _WRAP >> 1 else word


def _restored(where: device, state: Array) -> Generator:
    out = Generator(where)
    out.set_state(state)
    return out


default_generator = Generator()
default_generator.seed()


def manual_seed(seed: Any) -> Generator:
    """Seed the default generator, which is returned."""
    return default_generator.manual_seed(int(seed))


def seed() -> int:
    """Seed the default generator from the operating system's randomness; the seed."""
    return default_generator.seed()


def initial_seed() -> int:
    """The seed of the default generator."""
    return default_generator.initial_seed()


def get_rng_state() -> Tensor:
    """The state of the default generator, as bytes."""
    return default_generator.get_state()


def set_rng_state(new_state: Tensor) -> None:
    """Put the default generator where `get_rng_state` was taken."""
    default_generator.set_state(new_state)


# --------------------------------------------------------------------------- compiled rows

_kernels: dict[str, Kernel] = {}


def _kernel(row: str, scalars: Sequence[str] = (), p: str | None = None, **static: Any) -> Kernel:
    """The compiled row over n elements. It takes an array: of the probabilities `p`, in that dtype,
    or one that is empty and brings the size; then the seed, the offset and `scalars`."""
    content = f"draw {row}({', '.join(scalars)}, {p}, {static})"
    found = _kernels.get(content)
    if found is None:
        made = Kernel(content, lambda: _graph(row, scalars, p, static))
        found = _kernels.setdefault(content, made)
    return found


def _graph(row: str, scalars: Sequence[str], p: str | None, static: dict[str, Any]) -> Function:
    from ...compiler import graph as g
    from ...compiler import index_lambda as il
    from ...compiler.dims import dim, named
    from ...compiler.dtypes import BOOL, BY_NAME, I64
    from ...compiler.ops import ROWS

    scope = g.Scope()
    with scope.active():
        n = named("n")
        sized = g.make_input("s0", 0, BOOL, (n, dim(0)))
        first = sized if p is None else g.make_input("p", 0, BY_NAME[p], (n,))
        names = ("seed", "offset", *scalars)
        params = [first, *(g.make_input(name, k, I64, ()) for k, name in enumerate(names, 1))]
        given: dict[str, IndexLambda | Any] = {x.name: il.of_node(x) for x in params[1:]}
        given |= {"size": n} if p is None else {"p": il.of_node(first)}
        out = il.materialize(ROWS[row].apply(**given, **static))
        return g.Function(row, tuple(params), (out,), returns_tuple=False, scope=scope)


def _drawn(
    kernel: Kernel, shape: Sequence[int], generator: Generator | None, *scalars: int
) -> Array:
    n = math.prod(shape)
    seed, offset = (generator or default_generator).advance(n)
    out: Array = kernel.native(sizes_only((n,)), seed, offset, *scalars)
    return out.reshape(tuple(shape))


# --------------------------------------------------------------------------- draws


def uniform(
    shape: Sequence[int], dtype_name: str = "f32", generator: Generator | None = None
) -> Array:
    """On [0, 1)."""
    return _drawn(_kernel("random_uniform", dtype=dtype_name), shape, generator)


def normal(
    shape: Sequence[int], dtype_name: str = "f32", generator: Generator | None = None
) -> Array:
    """With mean 0 and standard deviation 1."""
    return _drawn(_kernel("random_normal", dtype=dtype_name), shape, generator)


def integers(
    low: int, high: int, shape: Sequence[int], generator: Generator | None = None
) -> Array:
    """int64 on [low, high). Raises RuntimeError unless low < high, and where an end does not fit
    (2^63 is a valid `high`)."""
    if low >= high:
        raise RuntimeError(
            f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}"
        )
    half = _WRAP >> 1
    if low < -half or high > half:
        raise RuntimeError(f"[{low}, {high}) is out of bounds for int64")
    if high - low == _WRAP:
        return _drawn(_kernel("random_bits"), shape, generator)
    kernel = _kernel("random_integers", ("low", "high"))
    return _drawn(kernel, shape, generator, low, _signed(high % _WRAP))


def bernoulli(p: Array, dtype_name: str = "f32", generator: Generator | None = None) -> Array:
    """1 with the probability that stands in its place, else 0, in the same dtype. Raises
    RuntimeError for a probability outside [0, 1]."""
    values = (p.astype(np.uint32) << 16).view(np.float32) if dtype_name == "bf16" else p
    if not ((values >= 0) & (values <= 1)).all():
        raise RuntimeError("Expected p_in >= 0 && p_in <= 1 to be true, but got false.")
    seed, offset = (generator or default_generator).advance(p.size)
    kernel = _kernel("random_bernoulli", p=dtype_name)
    out: Array = kernel.native(np.ascontiguousarray(p).reshape(-1), seed, offset)
    return out.reshape(p.shape)


def permutation(n: int, generator: Generator | None = None) -> Array:
    """0 … n - 1 in random order, as int64: the order of n random keys (the exchanges of Fisher and
    Yates are sequential).

    Up to 2^20 the keys have 44 random bits or more, and below them their positions: sorting those
    is three times as fast as finding the order of keys. Beyond, keys have 64 bits. Of equal keys,
    which even 2^20 of 44 bits have in one draw of 32, the order is not random."""
    keys = _drawn(_kernel("random_bits"), (n,), generator)
    if n > 1 << 20:
        return np.argsort(keys).astype(np.int64, copy=False)
    places = (1 << max(n - 1, 0).bit_length()) - 1
    keys &= ~places
    keys |= np.arange(n, dtype=np.int64)
    keys.sort()
    keys &= places
    return keys
