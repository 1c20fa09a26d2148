"""Random Tensors: PyTorch's argument forms, dtypes, errors, and the streams of generators."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import tdsl
from tdsl.runtime.tensor.random_tensors import keep_mask

FLOATS = [tdsl.float16, tdsl.bfloat16, tdsl.float32, tdsl.float64]


@pytest.fixture(autouse=True)
def seeded() -> None:
    tdsl.manual_seed(0)


@pytest.mark.parametrize("make", [tdsl.rand, tdsl.randn])
def test_sizes_one_by_one_or_as_one(make: Callable[..., tdsl.Tensor]) -> None:
    for given in ((2, 3), ((2, 3),), ([2, 3],), (tdsl.Size([2, 3]),)):
        assert make(*given).shape == (2, 3)
    assert make(size=(2, 3)).shape == (2, 3) and make(()).shape == () and make(2, 0).shape == (2, 0)


@pytest.mark.parametrize("d", FLOATS, ids=str)
def test_dtypes(d: Any) -> None:
    x = tdsl.rand(1000, dtype=d)
    assert x.dtype is d and (x >= 0).all() and (x < 1).all()
    assert abs(x.double().mean().item() - 0.5) < 0.05
    y = tdsl.zeros(1000, dtype=d).normal_(3, 0.5)
    assert abs(y.double().mean().item() - 3) < 0.1 and abs(y.double().std().item() - 0.5) < 0.1
    assert tdsl.randint(0, 5, (4,), dtype=d).dtype is d


def test_the_default_dtype_counts() -> None:
    tdsl.set_default_dtype(tdsl.float64)
    try:
        assert (
            tdsl.rand(2).dtype is tdsl.float64 and tdsl.normal(0.0, 1.0, (2,)).dtype.itemsize == 8
        )
    finally:
        tdsl.set_default_dtype(tdsl.float32)


def test_leaves_can_require_grad() -> None:
    assert tdsl.rand(2, requires_grad=True).is_leaf
    assert tdsl.randn_like(tdsl.ones(2), requires_grad=True).requires_grad
    assert not tdsl.rand_like(tdsl.ones(2, requires_grad=True)).requires_grad


def test_layout_is_that_of_the_model() -> None:
    assert tdsl.rand_like(tdsl.ones(2, 3).t()).stride() == (1, 3)


def test_integers() -> None:
    assert sorted({*tdsl.randint(-2, 3, (500,)).tolist()}) == [-2, -1, 0, 1, 2]
    assert sorted({*tdsl.randint(high=3, size=(99,)).tolist()}) == [0, 1, 2]
    assert {*tdsl.randint(0, 2, (99,), dtype=tdsl.bool).tolist()} == {False, True}
    assert tdsl.randint_like(tdsl.ones(3), 5).dtype is tdsl.float32
    x = tdsl.zeros(500, dtype=tdsl.int8)
    assert x.random_().min() >= 0 and x.random_(7).max() == 6 and x.random_(2, 4).min() == 2
    assert tdsl.zeros(99).random_().max() > 1000


def test_permutations() -> None:
    assert sorted(tdsl.randperm(50).tolist()) == list(range(50))
    assert tdsl.randperm(5, dtype=tdsl.float32).dtype is tdsl.float32


def test_normal_takes_tensors_that_broadcast() -> None:
    mean, std = tdsl.tensor([[0.0], [100.0]]), tdsl.tensor([1.0, 2.0, 0.0])
    x = tdsl.normal(mean, std)
    assert x.shape == (2, 3) and x[1].min() > 80 and x[1, 2] == 100
    assert tdsl.normal(3.0, tdsl.zeros(2)).tolist() == [3.0, 3.0]
    m = tdsl.ones(2, requires_grad=True)
    y = tdsl.normal(m, 1.0)
    y.sum().backward()
    assert y.requires_grad and m.grad is not None and m.grad.tolist() == [0.0, 0.0]


def test_bernoulli() -> None:
    assert tdsl.bernoulli(tdsl.tensor([0.0, 1.0])).tolist() == [0.0, 1.0]
    assert 0.2 < tdsl.ones(1000).bernoulli(0.3).mean().item() < 0.4
    assert {*tdsl.ones(99, dtype=tdsl.int64).bernoulli_().tolist()} == {0, 1}
    assert tdsl.ones(2).bernoulli_(tdsl.tensor([0.0, 1.0])).tolist() == [0.0, 1.0]
    assert 0.7 < keep_mask((1000,), 0.8, tdsl.float32).mean().item() < 0.9


def test_multinomial() -> None:
    w = tdsl.tensor([0.0, 1.0, 3.0])
    drawn = tdsl.multinomial(w, 4000, replacement=True)
    assert drawn.dtype is tdsl.int64 and 0 not in drawn.tolist()
    assert 0.2 < (drawn == 1).float().mean().item() < 0.3
    first = [tdsl.multinomial(w, 2).tolist() for _ in range(400)]
    assert all(sorted(f) == [1, 2] for f in first)
    assert 0.15 < sum(f[0] == 1 for f in first) / 400 < 0.35
    assert tdsl.multinomial(tdsl.ones(2, 3), 2).shape == (2, 2)


def test_other_distributions() -> None:
    x = tdsl.zeros(20000, dtype=tdsl.float64)
    assert abs(x.exponential_(2.0).mean().item() - 0.5) < 0.02 and x.min() >= 0
    assert abs(x.geometric_(0.25).mean().item() - 4) < 0.15 and x.min() == 1
    assert abs(x.log_normal_(0.0, 0.5).log().std().item() - 0.5) < 0.02
    assert abs(x.cauchy_(3.0).median().item() - 3) < 0.1


def test_writing_in_place_counts_and_views_see_it() -> None:
    x = tdsl.zeros(4, 3)
    before = x._version
    assert x.t()[1].uniform_(2, 3) is not None and x._version == before + 1
    assert (x[:, 1] >= 2).all() and (x[:, 0] == 0).all()
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad"):
        tdsl.zeros(2, requires_grad=True).normal_()


# --------------------------------------------------------------------------- streams


def test_seeds_and_states() -> None:
    tdsl.manual_seed(3)
    state = tdsl.get_rng_state()
    a = tdsl.rand(5)
    assert state.dtype is tdsl.uint8 and tdsl.initial_seed() == 3
    tdsl.set_rng_state(state)
    assert tdsl.equal(tdsl.rand(5), a) and not tdsl.equal(tdsl.rand(5), a)
    assert tdsl.manual_seed(3) is tdsl.default_generator and tdsl.equal(tdsl.rand(5), a)
    assert isinstance(tdsl.seed(), int)


def test_a_generator_of_its_own_leaves_the_default_alone() -> None:
    g = tdsl.Generator().manual_seed(9)
    tdsl.manual_seed(1)
    a = tdsl.rand(3)
    tdsl.manual_seed(1)
    draws = [
        tdsl.rand(3, generator=g),
        tdsl.randint(9, (3,), generator=g),
        tdsl.ones(3).uniform_(generator=g),
        tdsl.multinomial(tdsl.ones(3), 2, generator=g),
        tdsl.bernoulli(tdsl.ones(3) / 2, generator=g),
    ]
    assert tdsl.equal(a, tdsl.rand(3)) and len(draws) == 5
    twin = pickle.loads(pickle.dumps(g))
    other = copy.deepcopy(g)
    want = tdsl.randn(4, generator=g)
    assert tdsl.equal(tdsl.randn(4, generator=twin), want)
    assert tdsl.equal(tdsl.randn(4, generator=other), want)


def test_a_draw_does_not_depend_on_how_it_is_cut() -> None:
    tdsl.manual_seed(5)
    whole = tdsl.rand(6)
    tdsl.manual_seed(5)
    assert tdsl.equal(tdsl.cat([tdsl.rand(2), tdsl.rand(2, 2).flatten()]), whole)


# --------------------------------------------------------------------------- refusals

ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tdsl.rand(-1), RuntimeError, "negative dimension -1"),
    (lambda: tdsl.rand(2.5), TypeError, "float"),
    (lambda: tdsl.rand(), TypeError, "invalid combination of arguments"),
    (lambda: tdsl.rand(2, generator=3), TypeError, "tdsl.Generator, not int"),
    (lambda: tdsl.rand(2, dtype=tdsl.int64), NotImplementedError, "not implemented for 'Long'"),
    (lambda: tdsl.randn(2, dtype=tdsl.bool), NotImplementedError, "not implemented for 'Bool'"),
    (lambda: tdsl.rand(2, device="cuda"), AssertionError, "CUDA"),
    (lambda: tdsl.rand(2, what=1), TypeError, "unexpected keyword argument 'what'"),
    (lambda: tdsl.randint(5, 5, (2,)), RuntimeError, "from=5 >= to=5"),
    (lambda: tdsl.randint(300, (2,), dtype=tdsl.uint8), RuntimeError, "to - 1 is out of bounds"),
    (lambda: tdsl.randint(-1, 3, (2,), dtype=tdsl.uint8), RuntimeError, "from is out of bounds"),
    (lambda: tdsl.randint(10), TypeError, "invalid combination"),
    (lambda: tdsl.randint(10, 3), TypeError, "must be tuple of ints, not int"),
    (lambda: tdsl.randint(3.5, (2,)), TypeError, "must be int, not float"),
    (lambda: tdsl.randperm(300, dtype=tdsl.uint8), RuntimeError, "too large"),
    (lambda: tdsl.randperm(3, dtype=tdsl.bool), NotImplementedError, "'Bool'"),
    (lambda: tdsl.normal(0.0, 1.0), TypeError, "invalid combination"),
    (lambda: tdsl.normal(tdsl.ones(2), -1.0), RuntimeError, "std >= 0.0, but found std -1"),
    (lambda: tdsl.normal(tdsl.ones(2), -tdsl.ones(2)), RuntimeError, "all elements of std"),
    (lambda: tdsl.normal(tdsl.ones(2), tdsl.ones(3)), RuntimeError, "must match the size"),
    (lambda: tdsl.bernoulli(tdsl.tensor([2.0])), RuntimeError, "p_in >= 0"),
    (lambda: tdsl.ones(2).bernoulli_(1.5), RuntimeError, r"in \[0, 1\], but got p=1.5"),
    (lambda: tdsl.ones(2).uniform_(2, 1), RuntimeError, "from=2 > to=1"),
    (lambda: tdsl.ones(2).uniform_(math.nan, 1), RuntimeError, "from is out of bounds"),
    (lambda: tdsl.ones(2).exponential_(0), RuntimeError, "lambda > 0.0"),
    (lambda: tdsl.ones(2, dtype=tdsl.int64).exponential_(), RuntimeError, "you specified Long"),
    (lambda: tdsl.ones(3).expand(2, 3).uniform_(), RuntimeError, "more than one element"),
    (lambda: tdsl.multinomial(tdsl.ones(2), 3), RuntimeError, "without replacement"),
    (lambda: tdsl.multinomial(-tdsl.ones(2), 1), RuntimeError, "element < 0"),
    (lambda: tdsl.multinomial(tdsl.zeros(2), 1), RuntimeError, "sum of probabilities <= 0"),
    (lambda: tdsl.set_rng_state(tdsl.zeros(3)), TypeError, "uint8"),
    (lambda: tdsl.Generator().manual_seed("a"), RuntimeError, "expected a long, but got str"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("call", "kind", "message"), ERRORS)
def test_refusals(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()
