"""PyTorch: eager, and by torch.compile (which needs a C++ compiler)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as nn
from workload_table import Workload

from . import System, UnavailableError, positions

Tensor = torch.Tensor


def gelu_sum(x: Tensor) -> Tensor:
    return nn.gelu(x).sum()


def cross_entropy(z: Tensor, y: Tensor) -> Tensor:
    return nn.cross_entropy(z, y)


def layer_norm(x: Tensor, w: Tensor, c: Tensor, g: Tensor) -> Tensor:
    return (nn.layer_norm(x, w.shape, w, c) * g).sum()


def mlp(
    x: Tensor, y: Tensor, w1: Tensor, c1: Tensor, w2: Tensor, c2: Tensor, w3: Tensor, c3: Tensor
) -> Tensor:
    h = torch.relu(torch.addmm(c1, x, w1))
    return nn.cross_entropy(torch.addmm(c3, torch.relu(torch.addmm(c2, h, w2)), w3), y)


def attention(q: Tensor, k: Tensor, v: Tensor, t: Tensor) -> Tensor:
    return nn.mse_loss(nn.scaled_dot_product_attention(q, k, v), t)


def conv2d(x: Tensor, k: Tensor) -> Tensor:
    return nn.conv2d(x, k).square().mean()


def _normal_cdf(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.erf(x * 0.7071067811865476))


def black_scholes(s: Tensor, k: Tensor, t: Tensor, r: Tensor, v: Tensor) -> Tensor:
    spread = v * torch.sqrt(t)
    d1 = (torch.log(s / k) + (r + 0.5 * v**2) * t) / spread
    return s * _normal_cdf(d1) - k * torch.exp(-r * t) * _normal_cdf(d1 - spread)


def lennard_jones(x: Tensor) -> Tensor:
    d = x[:, None, :] - x[None, :, :]
    r2 = (d * d).sum(2)
    r2 = r2.masked_fill(torch.eye(len(x), dtype=torch.bool), float("inf"))
    by_r6 = 1 / (r2 * r2 * r2)
    return 2 * (by_r6 * by_r6 - by_r6).sum()


def gaussian_kernel(x: Tensor, y: Tensor, b: Tensor, g: Tensor) -> Tensor:
    r2 = ((x[:, None, :] - y[None, :, :]) ** 2).sum(2)
    return (torch.exp(-r2) @ b * g).sum()


def logistic(x: Tensor, t: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return nn.binary_cross_entropy_with_logits(x @ w + b, t)


def tiny(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(x * w).sum()


FORMULAS: Mapping[str, Callable[..., Tensor]] = {
    f.__name__: f
    for f in (
        *(gelu_sum, cross_entropy, layer_norm, mlp, attention, conv2d, black_scholes),
        *(lennard_jones, gaussian_kernel, logistic, tiny),
    )
}


def _work(
    formula: Callable[..., Tensor], at: tuple[int, ...], arguments: tuple[Any, ...]
) -> Callable[[], tuple[Tensor, ...]]:
    tensors = [torch.tensor(a) for a in arguments]
    leaves = [tensors[k].requires_grad_() for k in at]

    def work() -> tuple[Tensor, ...]:
        value = formula(*tensors)
        total = value.sum() if value.ndim else value
        return value.detach(), *torch.autograd.grad(total, leaves)

    return work


def _eager(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    formula = FORMULAS[workload.name]
    return _work(formula, positions(formula, workload.wrt), arguments)


def _compiled(workload: Workload, arguments: tuple[Any, ...]) -> Callable[[], Any]:
    formula = FORMULAS[workload.name]
    work = _work(torch.compile(formula), positions(formula, workload.wrt), arguments)
    try:
        work()
    except Exception as error:  # without a C++ compiler, for one
        reason = str(error).strip().splitlines()[0]
        raise UnavailableError(f"torch.compile: {type(error).__name__}: {reason}") from error
    return work


def _arrays(result: tuple[Tensor, ...]) -> tuple[Any, ...]:
    return tuple(r.detach().numpy() for r in result)


def systems(threads: int) -> list[System]:
    torch.set_num_threads(threads)
    return [
        System("torch", _eager, _arrays),
        System("torch.compile", _compiled, _arrays),
    ]
