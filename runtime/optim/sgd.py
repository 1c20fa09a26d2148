"""Stochastic gradient descent."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from .optimizer import Group, Optimizer, check_setting, refuse_differentiable
from .updates import update, zeros_like

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor


class SGD(Optimizer):
    """p -= lr * v, `v` the gradient, or with `momentum` momentum * v + (1 - dampening) * gradient;
    `weight_decay` * p counts as part of the gradient. `foreach` and `fused` change nothing here."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_setting(lr >= 0, "learning rate", lr)
        check_setting(momentum >= 0, "momentum value", momentum)
        check_setting(weight_decay >= 0, "weight_decay value", weight_decay)
        refuse_differentiable(differentiable)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize, "foreach": foreach,
            "differentiable": differentiable, "fused": fused,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(
        self, p: Tensor, gradient: Tensor, group: Group, state: defaultdict[Any, dict[str, Any]]
    ) -> None:
        settings = (
            float(group["lr"]),
            -1.0 if group["maximize"] else 1.0,
            float(group["weight_decay"]),
        )
        momentum = group["momentum"]
        if momentum == 0:
            update("plain", p, gradient, (), *settings)
            return
        own = state[p]
        held = own.get("momentum_buffer")
        fresh = 1.0 - group["dampening"]
        if held is None:  # the first gradient counts in full
            held, fresh = zeros_like(p), 1.0
            own["momentum_buffer"] = held
        name = "nesterov" if group["nesterov"] else "momentum"
        update(name, p, gradient, (held,), *settings, float(momentum), fresh)
