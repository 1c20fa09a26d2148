"""Functions of the namespace that are built from others, as PyTorch documents them."""

from __future__ import annotations

import tdsl as torch


def test_joined_sideways_and_below() -> None:
    a, b = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
    assert torch.hstack([a, b]).tolist() == [1, 2, 3, 4]
    assert torch.vstack([a, b]).tolist() == [[1, 2], [3, 4]]
    m = torch.ones(2, 3)
    assert torch.hstack([m, m]).shape == (2, 6) and torch.vstack([m, m]).shape == (4, 3)
    assert torch.hstack([torch.tensor(1.0), torch.tensor(2.0)]).shape == (2,)


def test_moments_together() -> None:
    x = torch.tensor([[1.0, 3.0], [2.0, 6.0]], requires_grad=True)
    variance, mean = torch.var_mean(x, 1)
    assert variance.tolist() == [2, 8] and mean.tolist() == [2, 4]
    deviation, again = torch.std_mean(x, 1, correction=0)
    assert deviation.tolist() == [1, 2] and again.tolist() == [2, 4]
    deviation.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [[-0.5, 0.5], [-0.5, 0.5]]


def test_broadcast_together() -> None:
    a, b = torch.broadcast_tensors(torch.ones(3, 1), torch.ones(2))
    assert a.shape == b.shape == (3, 2) and a.stride() == (1, 0)
    assert torch.is_tensor(a) and not torch.is_tensor([1.0])
