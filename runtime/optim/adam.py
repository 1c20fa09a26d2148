"""Adam, and Adam with decoupled weight decay."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor import core
from ..tensor import dtype as dt
from .optimizer import Group, Optimizer, check_setting, refuse_differentiable
from .updates import update, zeros_like

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor

_STEP = core.kind(dt.float32, 0)


class Adam(Optimizer):
    """Steps along a running mean of the gradients, divided by the root of a running mean of their
    squares. `weight_decay` * p counts as part of the gradient, or shrinks p by itself if
    `decoupled_weight_decay`. `foreach`, `capturable` and `fused` change nothing here."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        check_setting(lr >= 0, "learning rate", lr)
        check_setting(eps >= 0, "epsilon value", eps)
        for k, beta in enumerate(betas):
            check_setting(0 <= beta < 1, f"beta parameter at index {k}", beta)
        check_setting(weight_decay >= 0, "weight_decay value", weight_decay)
        refuse_differentiable(differentiable)
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
            "capturable": capturable, "differentiable": differentiable, "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(
        self, p: Tensor, gradient: Tensor, group: Group, state: defaultdict[Any, dict[str, Any]]
    ) -> None:
        own = state[p]
        if not own:
            own["step"] = core.wrap(np.zeros((), np.float32), _STEP)
            own["exp_avg"], own["exp_avg_sq"] = zeros_like(p), zeros_like(p)
            if group["amsgrad"]:
                own["max_exp_avg_sq"] = zeros_like(p)
        own["step"]._array += 1
        count = float(own["step"]._array)
        beta1, beta2 = group["betas"]
        rate, decay = float(group["lr"]), float(group["weight_decay"])
        shrunk = 1.0
        if group["decoupled_weight_decay"]:
            shrunk, decay = 1.0 - rate * decay, 0.0
        held = [own["exp_avg"], own["exp_avg_sq"]]
        name = "adam"
        if group["amsgrad"]:
            held.append(own["max_exp_avg_sq"])
            name = "amsgrad"
        update(
            name, p, gradient, held, rate / (1.0 - beta1**count),
            -1.0 if group["maximize"] else 1.0, decay, shrunk, 1.0 - beta1, float(beta2),
            1.0 - beta2, math.sqrt(1.0 - beta2**count), float(group["eps"]),
        )  # fmt: skip


class AdamW(Adam):
    """Adam whose `weight_decay` shrinks the parameters by itself."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )  # fmt: skip
