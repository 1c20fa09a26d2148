"""Large gradients that are one number for all elements are not written out, and mean the same.

In: sums and means of large Tensors, and what may follow them in a backward pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.runtime.tensor.saved import LARGE

N = LARGE // 128
SMALL, BIG = (4, 3), (N, 128)

F = Callable[..., Any]
CASES: dict[str, F] = {
    "exp": lambda x: x.exp().sum(),
    "product": lambda x: (x * x).sum(),
    "mean": lambda x: x.relu().mean(),
    "linear": lambda x: (3 * x + 1).sum(),
    "passed on": lambda x: (x + x.sin()).sum(),
    "rows": lambda x: (x + x[0]).exp().sum(),
    "transposed": lambda x: (x * 2).t().exp().sum(),
    "reshaped": lambda x: (x.reshape(-1) * 2).sum(),
    "sum of sums": lambda x: x.exp().sum(1).sum(),
    "two uses": lambda x: (lambda y: y.sum() + (y * y).mean())(x.sin()),
    "softmax": lambda x: x.softmax(1).sum(),
    "matrix product": lambda x: (x.t() @ x).sum(),
    "leaf": lambda x: x.sum() * 2,
    "where": lambda x: tdsl.where(x > 0, x.sqrt(), x * 0).mean(),
    "max": lambda x: x.amax(1).sum(),
}


def gradient(f: F, x: Any, small: bool, monkeypatch: pytest.MonkeyPatch) -> Any:
    """`small`: as for small Tensors, everything written out."""
    with monkeypatch.context() as patch:
        if small:
            patch.setattr("tdsl.runtime.tensor.saved.LARGE", 1 << 60)
        leaf = tdsl.tensor(x, requires_grad=True)
        f(leaf).backward()
    return leaf.grad


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_the_same(name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, BIG).astype(dtype)
    got, want = (gradient(CASES[name], x, small, monkeypatch) for small in (False, True))
    assert got.is_contiguous() and got.dtype is want.dtype
    np.testing.assert_array_equal(got.numpy(), want.numpy())


def test_what_arrives_is_expanded_as_pytorchs_is() -> None:
    x = tdsl.randn(*BIG, requires_grad=True)
    y = x.exp()
    (large,) = tdsl.autograd.grad(y.sum(), y)
    assert large.stride() == (0, 0) and large.shape == BIG and (large == 1).all()
    seen: list[Any] = []
    z = x.exp()
    z.register_hook(lambda g: seen.append(g) or g * 2)
    z.retain_grad()
    z.mean().backward()
    assert seen[0].stride() == (0, 0) and float(z.grad[3, 5]) == pytest.approx(2 / x.numel())
    np.testing.assert_allclose(x.grad.numpy(), z.detach().numpy() * (2 / x.numel()), rtol=1e-6)


def test_gradients_of_gradients() -> None:
    x = tdsl.randn(*BIG, dtype=tdsl.float64, requires_grad=True)
    (first,) = tdsl.autograd.grad(x.exp().sum(), x, create_graph=True)
    (second,) = tdsl.autograd.grad((first * first).sum(), x)
    np.testing.assert_allclose(second.numpy(), 2 * np.exp(2 * x.detach().numpy()))


def test_a_gradient_added_to_twice() -> None:
    x = tdsl.ones(*BIG, requires_grad=True)
    for _ in range(2):
        x.exp().log().mean().backward()
    np.testing.assert_allclose(x.grad.numpy(), 2 / x.numel(), rtol=1e-5)
