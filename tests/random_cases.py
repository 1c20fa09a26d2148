"""What the rows of random numbers mean, as cases, from another Philox, in Python's integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from tdsl.compiler.dims import dim
from tdsl.compiler.dtypes import I64

from .graph_functions import Array, tensor
from .operator_cases import Case

MASK = (1 << 32) - 1


def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """Philox4x32-10, as Salmon et al. (2011) state it."""
    x, (k, m) = list(counter), key
    for _ in range(10):
        left, right = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [right >> 32 ^ x[1] ^ k, right & MASK, left >> 32 ^ x[3] ^ m, left & MASK]
        k, m = (k + 0x9E3779B9) & MASK, (m + 0xBB67AE85) & MASK
    return x


def words(seed: int, offset: int, count: int) -> list[list[int]]:
    """The blocks of `count` elements."""
    key = int(seed) & MASK, int(seed) >> 32 & MASK
    places = [(int(offset) + i) % (1 << 64) for i in range(count)]
    return [philox((p & MASK, p >> 32, 0, 0), key) for p in places]


def bits(seed: int, offset: int, count: int) -> Array:
    return np.array([w[0] << 32 | w[1] for w in words(seed, offset, count)], np.uint64)


def _double(high: int, low: int) -> float:
    return ((high >> 5) * 2**26 + (low >> 6)) / 2**53


def _uniform(seed: int, offset: int, count: int) -> Array:
    return np.array([_double(w[0], w[1]) for w in words(seed, offset, count)])


def _normal(seed: int, offset: int, count: int) -> Array:
    blocks = words(seed, offset, count)
    u = np.array([1 - _double(w[0], w[1]) for w in blocks])
    v = np.array([_double(w[2], w[3]) for w in blocks])
    return np.asarray(np.sqrt(-2 * np.log(u)) * np.cos(2 * np.pi * v))


def _integers(seed: int, offset: int, low: int, high: int) -> list[int]:
    count = (int(high) - int(low)) % (1 << 64)
    return [int(low) + (int(x) * count >> 64) for x in bits(seed, offset, 12)]


_SCALAR = tensor(dtype=I64)
_SEED, _OFFSET = (-1e12, 1e12), (-20, 20)
_SHAPE = {"size": (dim(3), dim(4))}

RANDOM: dict[str, list[Case]] = {
    "random_bits": [
        Case((_SCALAR, _SCALAR), lambda s, o: bits(s, o, 12).reshape(3, 4).view(np.int64), _SHAPE,
             domains=(_SEED, _OFFSET))],
    "random_uniform": [
        Case((_SCALAR, _SCALAR), lambda s, o: _uniform(s, o, 12).reshape(3, 4),
             {**_SHAPE, "dtype": "f64"}, domains=(_SEED, _OFFSET)),
        Case((_SCALAR, _SCALAR),
             lambda s, o: (bits(s, o, 5) >> np.uint64(40)) / 2.0**24, {"size": dim(5)},
             domains=(_SEED, _OFFSET))],
    "random_normal": [
        Case((_SCALAR, _SCALAR), lambda s, o: _normal(s, o, 12).reshape(3, 4),
             {**_SHAPE, "dtype": "f64"}, domains=(_SEED, _OFFSET))],
    "random_integers": [
        Case((_SCALAR,) * 4, lambda s, o, a, b: np.reshape(_integers(s, o, a, b), (3, 4)), _SHAPE,
             domains=(_SEED, _OFFSET, (-1e15, 0), (1, 1e15)),
             names=("seed", "offset", "low", "high"))],
    "random_bernoulli": [
        Case((tensor("n", "m"), _SCALAR, _SCALAR),
             lambda p, s, o: (_uniform(s, o, 12).reshape(3, 4) < p) * 1.0,
             domains=((0, 1), _SEED, _OFFSET))],
}  # fmt: skip
