"""Random numbers: known answers, distributions, streams, generators, and one code for all sizes."""

from __future__ import annotations

import copy
import math
import pickle
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.compiler import graph as g
from tdsl.compiler import index_lambda as il
from tdsl.compiler import op_random
from tdsl.compiler import scalar as sc
from tdsl.compiler.dims import dim, named
from tdsl.compiler.dtypes import BOOL, F16, F32, F64, I64, DType
from tdsl.compiler.interpret import interpret
from tdsl.compiler.ops import ROWS
from tdsl.compiler.pipeline import simplified
from tdsl.runtime.tensor import random
from tdsl.runtime.tensor.random import Generator

from .native_functions import Native
from .ptx_device import Emulated
from .random_cases import bits, philox

Array = np.ndarray[Any, Any]
FULL = (1 << 32) - 1

# --------------------------------------------------------------------------- the generator's words


def of_vectors(build: Callable[..., Sequence[sc.Scalar]], count: int) -> g.Function:
    """A function of `count` i64 vectors, element by element."""
    scope = g.Scope()
    with scope.active():
        params = tuple(g.make_input(f"x{k}", k, I64, [named("n")]) for k in range(count))
        outs = build(*(g.identity_read(p) for p in params))
        return g.Function(
            "f", params, tuple(g.comp(x, [named("n")], 1) for x in outs), True, scope=scope
        )


#: Counter, key, result: Random123's kat_vectors (Salmon et al. 2011).
KNOWN = (
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((FULL,) * 4, (FULL,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    ((0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344), (0xA4093822, 0x299F31D0),
     (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1)),
)  # fmt: skip


@pytest.mark.parametrize("run", [lambda f: lambda *x: interpret(f, x), Native, Emulated])
def test_known_answers(run: Callable[..., Any]) -> None:
    fn = of_vectors(lambda *x: op_random.philox(x[:4], x[4:]), 6)
    given = [np.array(column) for column in zip(*((*c, *k) for c, k, _ in KNOWN), strict=True)]
    for got, want in zip(run(fn)(*given), zip(*(r for *_, r in KNOWN), strict=True), strict=True):
        np.testing.assert_array_equal(got, want)
    assert [tuple(philox(c, k)) for c, k, _ in KNOWN] == [r for *_, r in KNOWN]


def test_extreme_words_give_finite_numbers() -> None:
    """u is never 0."""
    fn = of_vectors(lambda *x: (op_random._normal(x, F32), op_random._normal(x, F64)), 4)
    ends = np.array([(a, b, c, d) for a in (0, FULL) for b in (0, FULL) for c in (0, FULL)
                     for d in (0, FULL)]).T  # fmt: skip
    for out, tail in zip(Native(fn)(*ends), (6.6, 8.6), strict=True):
        assert np.isfinite(out).all() and np.abs(out).max() == pytest.approx(tail, abs=0.05)
    whole = of_vectors(lambda *x: (op_random._product_high(x[:2], x[2:]),), 4)
    (high,) = Native(whole)(*ends)
    want = [((a << 32) + b) * ((c << 32) + d) >> 64 for a, b, c, d in ends.T.tolist()]
    np.testing.assert_array_equal(high.view(np.uint64), np.array(want, np.uint64))


# --------------------------------------------------------------------------- one meaning everywhere


def drawing(row: str, p: DType | None = None, scalars: Sequence[str] = (), **static: Any) -> Any:
    """The row over [n, 3]."""
    scope = g.Scope()
    with scope.active():
        shape = (named("n"), dim(3))
        first = g.make_input("x", 0, *((BOOL, (*shape, dim(0))) if p is None else (p, shape)))
        names = ("seed", "offset", *scalars)
        params = [first, *(g.make_input(s, k, I64, ()) for k, s in enumerate(names, 1))]
        given: dict[str, Any] = {x.name: il.of_node(x) for x in params[1:]}
        given |= {"size": shape} if p is None else {"p": il.of_node(first)}
        out = il.materialize(ROWS[row].apply(**given, **static))
        return simplified(g.Function(row, tuple(params), (out,), False, scope=scope))


def places(row: str, p: DType | None) -> Array:
    return np.zeros((90, 3, 0), bool) if p is None else np.linspace(0, 1, 270).reshape(90, 3)


EXACT: list[tuple[str, DType | None, dict[str, Any]]] = [
    ("random_bits", None, {}),
    *(("random_uniform", None, {"dtype": d}) for d in ("f32", "f64", "f16", "bf16")),
    ("random_integers", None, {"scalars": ("low", "high")}),
    *(("random_bernoulli", d, {}) for d in (F32, F64, F16)),
]
NORMAL: list[tuple[str, DType | None, dict[str, Any]]] = [
    ("random_normal", None, {"dtype": d}) for d in ("f32", "f64", "f16")
]
SEEDS = [(0, 0), (-3, (1 << 63) - 5), (1 << 40, -7)]


@pytest.mark.parametrize(("row", "p", "more"), EXACT)
def test_the_interpreter_native_code_and_ptx_agree_to_the_bit(
    row: str, p: DType | None, more: dict[str, Any]
) -> None:
    fn = drawing(row, p, **more)
    native, device = Native(fn), Emulated(fn)
    for seed, offset in SEEDS:
        given = [places(row, p), seed, offset, *((-9, 1 << 62) if "scalars" in more else ())]
        (want,) = interpret(fn, given)
        for (got,) in (native(*given), device(*given)):
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize(("row", "p", "more"), NORMAL)
def test_normal_numbers_have_the_same_bits_on_both_targets(
    row: str, p: DType | None, more: dict[str, Any]
) -> None:
    """The interpreter's log and cos are NumPy's."""
    fn = drawing(row, p, **more)
    for seed, offset in SEEDS:
        given = [places(row, p), seed, offset]
        (want,) = interpret(fn, given)
        (got,) = Native(fn)(*given)
        np.testing.assert_array_equal(Emulated(fn)(*given)[0], got)
        ulp = float(np.finfo(want.dtype).eps)
        np.testing.assert_allclose(got, want, rtol=4 * ulp, atol=4 * ulp)


def test_rows_in_a_program() -> None:
    m = tdsl.compile("""
def dropped(x: f32[n, m], seed: i64, offset: i64, keep: f32) -> f32[n, m]:
    return x * random_bernoulli(full((n, m), keep), seed, offset) / keep

def noisy(x: f32[n], seed: i64) -> f32:
    return sum(x * random_normal(seed, 0, n))
""")
    x = np.ones((40, 50), np.float32)
    y = m.dropped(x, 5, 0, 0.8)
    assert set(np.unique(y)) == {np.float32(0), np.float32(1.25)} and abs(y.mean() - 1) < 0.05
    assert not np.array_equal(y, m.dropped(x, 6, 0, 0.8))
    slope = m.noisy.grad("x")(x[0], 7)
    np.testing.assert_array_equal(slope, random.normal((50,), generator=Generator().manual_seed(7)))
    with pytest.raises(tdsl.TdslError, match="E0402"):
        tdsl.compile("def f(s: f32) -> f32[3]:\n    return random_uniform(s, 0, 3)")
    with pytest.raises(tdsl.TdslError, match="E0603"):
        tdsl.compile('def f(s: i64):\n    return random_uniform(s, 0, 3, dtype="i8")')


# --------------------------------------------------------------------------- distributions

COUNT = 200_000


def generator(seed: int = 1) -> Generator:
    return Generator().manual_seed(seed)


def distance(x: Array, distribution: Callable[[Array], Array]) -> float:
    """Kolmogorov and Smirnov's, times √n: above 1.95 in one of a thousand draws."""
    x = np.sort(x.astype(np.float64))
    at = distribution(x)
    steps = np.arange(len(x) + 1) / len(x)
    return math.sqrt(len(x)) * max(np.max(steps[1:] - at), np.max(at - steps[:-1]))


def normal_distribution(x: Array) -> Array:
    return np.array([0.5 * math.erfc(-v * math.sqrt(0.5)) for v in x])


@pytest.mark.parametrize("name", ["f32", "f64"])
@pytest.mark.parametrize("seed", [0, 1, -1, 1 << 40])
def test_uniform_numbers(name: str, seed: int) -> None:
    x = random.uniform((COUNT,), name, generator(seed)).astype(np.float64)
    assert x.min() >= 0 and x.max() < 1 and distance(x, lambda v: v) < 1.95
    if name == "f64":  # the lowest bits are random as well
        assert distance(x * 2**30 % 1, lambda v: v) < 1.95
    for lag in (1, 2, 4, 16):
        assert abs(np.corrcoef(x[lag:], x[:-lag])[0, 1]) < 4 / math.sqrt(COUNT)


@pytest.mark.parametrize("name", ["f32", "f64"])
@pytest.mark.parametrize("seed", [0, 1, -1])
def test_normal_numbers(name: str, seed: int) -> None:
    x = random.normal((COUNT,), name, generator(seed)).astype(np.float64)
    assert distance(x, normal_distribution) < 1.95
    # moments, within four standard deviations of their estimates
    for power, exact, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(np.mean(x**power) - exact) < 4 * math.sqrt(variance / COUNT), power
    assert abs(np.corrcoef(x[1:], x[:-1])[0, 1]) < 4 / math.sqrt(COUNT)


@pytest.mark.parametrize("name", ["f16", "bf16"])
def test_narrow_floats(name: str) -> None:
    """Every uniform number is exact; a normal one is that of f32, rounded."""

    def wide(x: Array) -> Array:
        return (x.astype(np.uint32) << 16).view(np.float32) if name == "bf16" else x.astype("f4")

    digits = 11 if name == "f16" else 8
    u = wide(random.uniform((COUNT,), name, generator()))
    full = random.uniform((COUNT,), "f32", generator())
    np.testing.assert_array_equal(u, np.floor(full * 2.0**digits) / 2.0**digits)
    z = wide(random.normal((1000,), name, generator()))
    np.testing.assert_allclose(z, random.normal((1000,), "f32", generator()), rtol=2.0**-digits)


@pytest.mark.parametrize(("low", "high"), [(0, 2), (-3, 7), (10, 11), (0, 1000), (-5, (1 << 40))])
def test_integers(low: int, high: int) -> None:
    x = random.integers(low, high, (COUNT,), generator())
    assert x.dtype == np.int64 and x.min() >= low and x.max() < high
    bins = min(high - low, 50)
    counts = np.bincount((x - low) * bins // (high - low), minlength=bins)
    expected = np.diff(-(-np.arange(bins + 1) * (high - low) // bins)) * (COUNT / (high - low))
    square = float(np.sum((counts - expected) ** 2 / expected))
    assert square < bins - 1 + 4 * math.sqrt(2 * bins)


def test_integers_of_every_range() -> None:
    least, end = -(1 << 63), 1 << 63
    whole = random.integers(least, end, (COUNT,), generator())
    np.testing.assert_array_equal(whole.view(np.uint64)[:20], bits(1, 0, 20))
    for low, high in ((least, end - 1), (least, 5), (-5, end), (end - 2, end)):
        x = random.integers(low, high, (COUNT,), generator()).astype(object)
        assert low <= min(x) and max(x) < high
        assert min(x) - low < (high - low) / 1000 and high - 1 - max(x) < (high - low) / 1000
    assert random.integers(1 << 62, (1 << 62) + 1, (2,), generator()).tolist() == [1 << 62] * 2
    with pytest.raises(RuntimeError, match="expects 'from' to be less than 'to', but got from=5"):
        random.integers(5, 5, (2,))
    with pytest.raises(RuntimeError, match="out of bounds for int64"):
        random.integers(0, end + 1, (2,))


@pytest.mark.parametrize("name", ["f32", "f64", "f16"])
def test_bernoulli_numbers(name: str) -> None:
    dtype = {"f32": np.float32, "f64": np.float64, "f16": np.float16}[name]
    p = np.repeat(np.array([[0.0, 0.25, 0.9, 1.0]], dtype), COUNT, 0)
    x = random.bernoulli(p, name, generator())
    assert x.dtype == dtype and x.shape == p.shape and set(np.unique(x)) == {0, 1}
    assert not x[:, 0].any() and x[:, 3].all()
    np.testing.assert_allclose(x.mean(0, dtype=np.float64), p[0], atol=2 / math.sqrt(COUNT))
    half = np.full((4, 5), 0x3F00, np.uint16)  # 0.5 as bf16
    assert set(np.unique(random.bernoulli(half, "bf16", generator()))) == {0, 0x3F80}
    with pytest.raises(RuntimeError, match="p_in >= 0 && p_in <= 1"):
        random.bernoulli(np.array([0.5, np.nan], dtype), name)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 1000, (1 << 20) + 1])
def test_a_permutation_has_every_position_once(n: int) -> None:
    x = random.permutation(n, generator())
    assert x.dtype == np.int64 and x.shape == (n,)
    np.testing.assert_array_equal(np.sort(x), np.arange(n))
    if n >= 1000:
        assert abs(np.corrcoef(x, np.arange(n))[0, 1]) < 4 / math.sqrt(n)


def test_permutations_are_equally_likely() -> None:
    state, counts = generator(), dict[tuple[int, ...], int]()
    for _ in range(3000):
        key = tuple(random.permutation(3, state).tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 6 and all(abs(c - 500) < 4 * math.sqrt(500) for c in counts.values())


# --------------------------------------------------------------------------- streams


@pytest.mark.parametrize("draw", [random.uniform, random.normal])
def test_numbers_depend_on_their_position_alone(draw: Callable[..., Array]) -> None:
    whole = draw((1000,), "f32", generator())
    for n in (0, 1, 15, 16, 17, 999):
        np.testing.assert_array_equal(draw((n,), "f32", generator()), whole[:n])
    np.testing.assert_array_equal(draw((10, 5, 20), "f32", generator()).ravel(), whole)
    state = generator()
    parts = [draw((n,), "f32", state) for n in (1, 30, 0, 469, 500)]
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    assert draw((), "f64", state).shape == () and draw((3, 0), "f32", state).shape == (3, 0)


def test_streams_do_not_meet() -> None:
    state = generator()
    seen = [random.integers(-(1 << 63), 1 << 63, (5000,), state) for _ in range(3)]
    seen += [
        random.integers(-(1 << 63), 1 << 63, (5000,), generator(s)) for s in (2, 3, -1, 1 << 32)
    ]
    assert len(np.unique(np.concatenate(seen))) == 5000 * len(seen)
    a, b = (random.normal((COUNT,), "f64", generator(s)) for s in (1, 2))
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / math.sqrt(COUNT)


def test_the_position_wraps() -> None:
    state = generator(-1)
    state.set_state(np.array([(1 << 64) - 1, (1 << 64) - 3], "<u8").view(np.uint8))
    x = random.integers(-(1 << 63), 1 << 63, (6,), state)
    np.testing.assert_array_equal(x.view(np.uint64), bits(-1, -3, 6))
    assert state.advance(0) == (-1, 3)


def test_a_new_seed_or_shape_compiles_nothing() -> None:
    def draws(seed: int, shape: tuple[int, ...]) -> None:
        state = generator(seed)
        random.uniform(shape, "f32", state)
        random.normal(shape, "f32", state)
        random.integers(-seed, 2 + seed, shape, state)
        random.bernoulli(np.full(shape, 0.5, np.float32), "f32", state)
        random.permutation(shape[0], state)

    before = tdsl.stats()
    draws(0, (3,))
    first = tdsl.stats()
    made = first.compilations + first.cache_hits - before.compilations - before.cache_hits
    assert made <= 5
    for seed, shape in ((1, (3,)), (1 << 62, (7, 2)), (5, (1, 1, 1)), (6, (0, 4)), (7, (65537,))):
        draws(seed, shape)
    assert tdsl.stats().compilations == first.compilations


# --------------------------------------------------------------------------- generators


def test_seeds_of_a_generator() -> None:
    state = Generator()
    assert state.initial_seed() == 67280421310721 and str(state.device) == "cpu"
    assert state.manual_seed(-1) is state and state.initial_seed() == (1 << 64) - 1
    assert state.manual_seed(np.int64(7)).initial_seed() == 7
    assert state.seed() == state.initial_seed() != 7
    for wrong in (1 << 64, -(1 << 63) - 1):
        with pytest.raises(RuntimeError, match="Overflow when unpacking long long"):
            state.manual_seed(wrong)
    with pytest.raises(RuntimeError, match="manual_seed expected a long, but got float"):
        state.manual_seed(1.5)  # type: ignore[arg-type]
    with pytest.raises(AssertionError, match="CUDA"):
        Generator("cuda")


def test_the_state_of_a_generator() -> None:
    state = generator(-5)
    random.uniform((3,), generator=state)
    kept = state.get_state()
    assert kept.dtype is tdsl.uint8 and kept.shape == (16,)
    twins = [copy.deepcopy(state), pickle.loads(pickle.dumps(state)), state.clone_state()]
    want = random.normal((9,), generator=state)
    for twin in twins:
        np.testing.assert_array_equal(random.normal((9,), generator=twin), want)
    state.set_state(kept)
    np.testing.assert_array_equal(random.normal((9,), generator=state), want)
    state.manual_seed(-5)
    assert state.advance(0) == (-5, 0)
    with pytest.raises(TypeError, match="dtype uint8, but got float64"):
        state.set_state(np.zeros(16))
    with pytest.raises(RuntimeError, match="size 16 but found the input RNG state size to be 3"):
        state.set_state(np.zeros(3, np.uint8))


def test_the_default_generator() -> None:
    kept = random.get_rng_state()
    try:
        assert random.manual_seed(3.0) is random.default_generator and random.initial_seed() == 3
        x = random.uniform((4,))
        state = random.get_rng_state()
        y = random.uniform((4,))
        random.set_rng_state(state)
        np.testing.assert_array_equal(random.uniform((4,)), y)
        random.manual_seed(3)
        np.testing.assert_array_equal(random.uniform((4,)), x)
        assert random.seed() == random.initial_seed()
    finally:
        random.set_rng_state(kept)


def test_threads_share_a_generator() -> None:
    state, drawn = generator(), list[Array]()
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(50):
            drawn.append(random.integers(-(1 << 63), 1 << 63, (100,), state))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    whole = random.integers(-(1 << 63), 1 << 63, (40_000,), generator())
    np.testing.assert_array_equal(np.sort(np.concatenate(drawn)), np.sort(whole))
