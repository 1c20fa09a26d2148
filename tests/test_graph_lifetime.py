"""What must hold of graphs of any size: no recursion, no cycle, no growth, no lock between threads
that work on graphs of their own."""

from __future__ import annotations

import gc
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl import Tensor


def leaf(values: Any) -> Tensor:
    return tdsl.tensor(values, dtype=tdsl.float64, requires_grad=True)


def gradient(t: Tensor) -> Any:
    assert t.grad is not None
    return t.grad.tolist()


@pytest.fixture
def without_gc() -> Iterator[None]:
    """Only reference counts free anything."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    "step",
    [
        lambda y: y + 1,
        lambda y: y * 1.0001,
        lambda y: y.view(2),
        lambda y: y.add_(1),
        lambda y: y[:].mul_(1),
    ],
)
def test_a_deep_graph(step: Callable[[Tensor], Tensor]) -> None:
    """Recording, a pass and freeing use no stack, however deep the graph is."""
    depth = 100_000 if step(tdsl.ones(2))._view is None else 20_000
    x = leaf([1.0, 2.0])
    y = x * 1
    for _ in range(depth):
        y = step(y)
    y.sum().backward()
    assert np.isfinite(gradient(x)).all()
    del y


def test_a_deep_second_derivative() -> None:
    x = leaf([0.1])
    y = x
    for _ in range(5_000):
        y = y * 1.0001 + y.sin() * 0.0001
    (g,) = tdsl.autograd.grad(y.sum(), x, create_graph=True)
    assert g is not None
    g.sum().backward()
    assert np.isfinite(gradient(x)).all()


def _plain() -> list[Any]:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    y = (x @ x).tanh()
    z = (y * y).sum()
    return [x, y, z, y.grad_fn, z.grad_fn]


def _after_a_pass() -> list[Any]:
    found = _plain()
    found[2].backward()
    return found


def _second_derivative() -> list[Any]:
    found = _plain()
    (g,) = tdsl.autograd.grad(found[2], found[0], create_graph=True)
    assert g is not None
    (h,) = tdsl.autograd.grad(g.sum(), found[0], create_graph=True)
    return [*found, g, h]


def _written() -> list[Any]:
    w, x = tdsl.zeros(2, dtype=tdsl.float64), leaf([1.0, 2.0])
    product = x * w  # saves w, which then depends on it
    w.add_(product)
    v = w[0]
    v.mul_(x[1])
    w.exp_()
    w.retain_grad()
    (w * w).sum().backward(inputs=[w])
    return [w, x, product, v, w.grad_fn, v.grad_fn]


def _views() -> list[Any]:
    x = leaf([[1.0, 2.0], [3.0, 4.0]])
    a, b = (x * 1).unbind()
    c = tdsl.cat([a, b]).reshape(2, 2).t()
    d = c[c > 1].sort()[0]
    d.sum().backward()
    return [x, a, b, c, d, d.grad_fn]


def _function() -> list[Any]:
    class Exp(tdsl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = x.exp()
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (y,) = ctx.saved_tensors
            return g * y

    x = leaf([1.0])
    y = Exp.apply(Exp.apply(x))
    (g,) = tdsl.autograd.grad(y, x, create_graph=True)
    return [x, y, y.grad_fn, g]


@pytest.mark.parametrize(
    "make", [_plain, _after_a_pass, _second_derivative, _written, _views, _function]
)
def test_no_graph_is_a_cycle(make: Callable[[], list[Any]], without_gc: None) -> None:
    made = make()
    references = [weakref.ref(o) for o in made]
    assert all(r() is not None for r in references)
    del made
    assert all(r() is None for r in references)


def test_a_pass_frees_saved_values(without_gc: None) -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    y = x * 2
    z = (y * w).sum()
    values = weakref.ref(y._array)
    del y
    assert values() is not None
    z.backward(retain_graph=True)
    assert values() is not None
    z.backward()
    assert values() is None and z.grad_fn is not None


def test_memory_stays_flat(without_gc: None) -> None:
    x, w = tdsl.rand(5, 3), tdsl.rand(3, 3).requires_grad_()

    def step() -> None:
        h = (x @ w).sin()[1:]
        h.mul_(2.0)
        (h.softmax(0) * h.detach()).mean().backward()
        with tdsl.no_grad():
            assert w.grad is not None
            w.sub_(w.grad * 0.01)
        w.grad = None

    for _ in range(100):
        step()
    tracemalloc.start()
    try:
        for _ in range(200):
            step()
        before, objects = tracemalloc.get_traced_memory()[0], len(gc.get_objects())
        for _ in range(2_000):
            step()
        assert len(gc.get_objects()) - objects < 50
        # less than an object a step: Python keeps some of what is free
        assert tracemalloc.get_traced_memory()[0] - before < 80_000
    finally:
        tracemalloc.stop()


def test_threads() -> None:
    """Two threads record and run graphs of their own, and add to one leaf."""
    shared = leaf(np.linspace(0.1, 1, 50))
    rounds, failures = 300, []

    def work(seed: int) -> None:
        try:
            x = leaf(np.random.default_rng(seed).standard_normal(50))
            for k in range(rounds):
                if k % 3 == 0:
                    with tdsl.no_grad():
                        assert not (x * 2).requires_grad
                y = (x * shared).sin()
                z = y[::2]
                z.mul_(2)
                x.grad = None
                y.sum().backward()
                weight = np.where(np.arange(50) % 2, 1, 2)
                a, b = x.detach().numpy(), shared.detach().numpy()
                np.testing.assert_allclose(gradient(x), weight * b * np.cos(a * b), rtol=1e-9)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures
    total = sum(
        rounds * np.where(np.arange(50) % 2, 1, 2) * a * np.cos(a * shared.detach().numpy())
        for a in (np.random.default_rng(k).standard_normal(50) for k in range(2))
    )
    np.testing.assert_allclose(gradient(shared), total, rtol=1e-9)
