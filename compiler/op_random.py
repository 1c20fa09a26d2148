"""Random numbers as functions of a seed and a position in its stream: nothing is carried along.

In: `seed` and `offset`, i64 scalars known when the program runs. Out: a tensor whose element number
k (in row-major order) is made from

    philox(counter = (low and high word of offset + k, 0, 0), key = low and high word of seed)

and from nothing else: the same numbers on every device, for any number of threads, and whatever
the shape that holds them. A tensor of n elements takes n positions of the stream, whichever row
makes it: the next offset that gives fresh numbers is offset + n. Most rows leave words of their
blocks unused: to share a block, elements would have to exchange words, and as it is a core with
AVX-512 makes 500 million uniform f32 a second, or 250 million normal ones.

Philox4x32-10: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
Words are 32 bits in i64: their products fit, as all arithmetic wraps. Left to others: where seeds
come from and how an offset advances.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from . import index_lambda as il
from . import scalar as sc
from .dims import Dim, dim
from .dtypes import BF16, BY_NAME, F16, F32, F64, I32, I64, DType
from .index_lambda import IndexLambda, OpError
from .op_arguments import Sizes
from .op_pointwise import Pointwise
from .records import dataclass, field
from .scalar import Scalar, ScalarFunction

_WORD = 0xFFFFFFFF
_MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
_WEYL = 0x9E3779B9, 0xBB67AE85  # the golden ratio and √3 - 1
_ROUNDS = 10

#: Bits of a mantissa, the hidden one included.
_MANTISSA = {F16: 11, BF16: 8, F32: 24, F64: 53}

# --------------------------------------------------------------------------- words


def _i64(value: int) -> Scalar:
    return sc.const(value, I64)


def _low(x: Scalar) -> Scalar:
    return sc.op("bitwise_and", x, _i64(_WORD))


def _high(x: Scalar) -> Scalar:
    return _low(sc.op("bitwise_right_shift", x, _i64(32)))


def philox(counter: Sequence[Scalar], key: Sequence[Scalar]) -> tuple[Scalar, ...]:
    """Four words from a counter of four and a key of two."""
    a, b, c, d = counter
    k, m = key
    for _ in range(_ROUNDS):
        first = sc.op("mul", a, _i64(_MULTIPLIERS[0]))
        second = sc.op("mul", c, _i64(_MULTIPLIERS[1]))
        a, c = (
            sc.op("bitwise_xor", sc.op("bitwise_xor", _high(product), word), part)
            for product, word, part in ((second, b, k), (first, d, m))
        )
        b, d = _low(second), _low(first)
        k, m = (_low(sc.op("add", part, _i64(w))) for part, w in zip((k, m), _WEYL, strict=True))
    return a, b, c, d


@dataclass(frozen=True)
class Word(Pointwise):
    """A word of the block at a position of a seed's stream: a row, so that a program that is
    printed calls it by its name. Words of one block share their rounds once calls are inlined."""

    number: int = field(kw_only=True)

    @cached_property
    def function(self) -> ScalarFunction:
        seed, position = (sc.cast(sc.param(k), I64) for k in range(2))
        counter = (_low(position), _high(position), _i64(0), _i64(0))
        word = philox(counter, (_low(seed), _high(seed)))[self.number]
        return ScalarFunction(self.name, self.params, word, builtin=True)


WORDS = tuple(
    Word(f"philox_{k}", ("seed", "position"), f"word {k} of Philox4x32-10's block", number=k)
    for k in range(4)
)


def _words(seed: IndexLambda, offset: IndexLambda, shape: Sequence[Dim]) -> tuple[Scalar, ...]:
    """The words of element [i0, i1, …]."""
    for name, x in (("seed", seed), ("offset", offset)):
        if x.rank or not x.dtype.is_integer:
            raise OpError("E0402", f"{name} is an integer scalar, got {il.type_text(x)}")
    number: Scalar = sc.size(0)
    stride = dim(1)
    for k in reversed(range(len(shape))):
        number = sc.op("add", number, sc.op("mul", sc.size(stride), sc.index(k)))
        stride = stride * shape[k]
    start, key = (sc.convert(x.body, I64) for x in (offset, seed))
    at = sc.op("add", start, sc.convert(number, I64))
    return tuple(sc.call(word.function, (key, at)) for word in WORDS)


def _shape(size: Sizes) -> tuple[Dim, ...]:
    return size if isinstance(size, tuple) else (size,)


# --------------------------------------------------------------------------- numbers


def _float_dtype(name: str) -> DType:
    found = BY_NAME.get(name)
    if found is None or not found.is_float:
        raise OpError("E0603", f"the dtype of a distribution is a float's, got {name!r}")
    return found


def _float(word: Scalar, bits: int, dtype: DType) -> Scalar:
    """The upper `bits` of a word, at most 31 of them. By way of i32: every machine converts it."""
    upper = sc.op("bitwise_right_shift", word, _i64(32 - bits))
    return sc.cast(sc.cast(upper, I32), dtype)


def _fraction(words: Sequence[Scalar], dtype: DType) -> Scalar:
    """On [0, 1): a multiple of 2^-p for p bits of mantissa, so that nothing is rounded."""
    bits = _MANTISSA[dtype]
    if bits <= 32:
        return sc.op("mul", _float(words[0], bits, dtype), sc.const(2.0**-bits, dtype))
    upper = sc.op("mul", _float(words[0], 27, dtype), sc.const(2.0**-27, dtype))
    lower = sc.op("mul", _float(words[1], bits - 27, dtype), sc.const(2.0**-bits, dtype))
    return sc.op("add", upper, lower)


def _normal(words: Sequence[Scalar], dtype: DType) -> Scalar:
    """√(-2 log u) cos(2πv) (Box and Muller 1958), u on (0, 1], v on [0, 1).

    In f32 u is a multiple of 2^-31 where it is small, finer than 1 less an f32 on [0, 1): the tail
    ends at 6.5 instead of 5.8. In f64 it ends at 8.6.
    """
    one, turn = sc.const(1.0, dtype), sc.const(2 * 3.141592653589793, dtype)
    if dtype is F64:
        u = sc.op("sub", one, _fraction(words[:2], dtype))
    else:
        u = sc.op("mul", sc.op("add", _float(words[0], 31, dtype), one), sc.const(2.0**-31, dtype))
    size = sc.op("sqrt", sc.op("mul", sc.const(-2.0, dtype), sc.op("log", u)))
    angle = sc.op("mul", turn, _fraction(words[2:], dtype))
    return sc.op("mul", size, sc.op("cos", angle))


def _product_high(x: Sequence[Scalar], y: Sequence[Scalar]) -> Scalar:
    """The upper 64 of the 128 bits of x·y, from their (upper, lower) words (Warren, Hacker's
    Delight, 8-2): no sum overflows 64 bits."""
    lower = _high(sc.op("mul", x[1], y[1]))
    middle = sc.op("add", sc.op("mul", x[0], y[1]), lower)
    other = sc.op("add", sc.op("mul", x[1], y[0]), _low(middle))
    upper = sc.op("add", sc.op("mul", x[0], y[0]), _high(middle))
    return sc.op("add", upper, _high(other))


# --------------------------------------------------------------------------- rows


def random_bits(seed: IndexLambda, offset: IndexLambda, size: Sizes) -> IndexLambda:
    """64 random bits each, as i64."""
    upper, lower, *_ = _words(seed, offset, _shape(size))
    shifted = sc.op("bitwise_left_shift", upper, _i64(32))
    return IndexLambda(_shape(size), sc.op("bitwise_or", shifted, lower))


def random_uniform(
    seed: IndexLambda, offset: IndexLambda, size: Sizes, dtype: str = "f32"
) -> IndexLambda:
    """Uniform on [0, 1), with as many random bits as the dtype's mantissa has."""
    shape = _shape(size)
    return IndexLambda(shape, _fraction(_words(seed, offset, shape), _float_dtype(dtype)))


def random_normal(
    seed: IndexLambda, offset: IndexLambda, size: Sizes, dtype: str = "f32"
) -> IndexLambda:
    """Normal with mean 0 and standard deviation 1; f16 and bf16 are rounded from f32."""
    shape, wanted = _shape(size), _float_dtype(dtype)
    body = _normal(_words(seed, offset, shape), F64 if wanted is F64 else F32)
    return IndexLambda(shape, sc.cast(body, wanted))


def random_integers(
    seed: IndexLambda, offset: IndexLambda, size: Sizes, low: IndexLambda, high: IndexLambda
) -> IndexLambda:
    """i64 on [low, high), scalars with low < high: low + ⌊x (high - low) / 2^64⌋ for 64 random bits
    x. No number's probability is off by more than 2^-64."""
    ends = []
    for name, end in (("low", low), ("high", high)):
        if end.rank or not end.dtype.is_integer:
            raise OpError("E0402", f"{name} is an integer scalar, got {il.type_text(end)}")
        ends.append(sc.convert(end.body, I64))
    count = sc.op("sub", ends[1], ends[0])
    words = _words(seed, offset, _shape(size))
    number = _product_high(words[:2], (_high(count), _low(count)))
    return IndexLambda(_shape(size), sc.op("add", ends[0], number))


def random_bernoulli(p: IndexLambda, seed: IndexLambda, offset: IndexLambda) -> IndexLambda:
    """1 with probability p, else 0, in p's shape and dtype. The probability is that of
    `random_uniform` in the same dtype being less than p."""
    if not p.dtype.is_float:
        raise OpError("E0402", f"a probability is a float, got {il.type_text(p)}")
    given = sc.settle(p.body)
    hit = sc.op("lt", _fraction(_words(seed, offset, p.shape), given.dtype), given)
    return IndexLambda(p.shape, sc.cast(hit, given.dtype))
