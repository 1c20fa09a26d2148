"""Optimizers: their steps by the formulas of their papers, states, groups and schedules.

Agreement with PyTorch stands in `conformance/optimizers.py`; whole trainings in `test_nn.py`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl import nn, optim

Step = Callable[[Any, Any], Any]


def sgd(lr: float, momentum: float = 0, decay: float = 0, nesterov: bool = False,
        dampening: float = 0, side: float = 1) -> Iterator[Any]:  # fmt: skip
    """A generator that takes (p, g) and gives the next p."""
    v = None
    p, g = yield
    while True:
        d = side * g + decay * p
        v = d if v is None else momentum * v + (1 - dampening) * d
        p, g = yield p - lr * (d + momentum * v if nesterov else v if momentum else d)


def adam(lr: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
         decay: float = 0, apart: float = 0, most: bool = False) -> Iterator[Any]:  # fmt: skip
    m = v = greatest = 0.0
    t = 0
    p, g = yield
    while True:
        t += 1
        p = p * (1 - lr * apart)
        d = g + decay * p
        m = betas[0] * m + (1 - betas[0]) * d
        v = betas[1] * v + (1 - betas[1]) * d**2
        greatest = np.maximum(greatest, v)
        root = np.sqrt((greatest if most else v) / (1 - betas[1] ** t)) + eps
        p, g = yield p - lr * m / (1 - betas[0] ** t) / root


CASES = [
    (optim.SGD, {"lr": 0.1}, sgd(0.1)),
    (optim.SGD, {"lr": 0.1, "weight_decay": 0.3}, sgd(0.1, decay=0.3)),
    (optim.SGD, {"lr": 0.1, "momentum": 0.8}, sgd(0.1, 0.8)),
    (optim.SGD, {"lr": 0.1, "momentum": 0.8, "nesterov": True}, sgd(0.1, 0.8, nesterov=True)),
    (optim.SGD, {"lr": 0.1, "momentum": 0.8, "dampening": 0.5}, sgd(0.1, 0.8, dampening=0.5)),
    (optim.SGD, {"lr": 0.1, "maximize": True}, sgd(0.1, side=-1)),
    (optim.Adam, {}, adam()),
    (optim.Adam, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}, adam(0.1, (0.5, 0.9), 1e-3)),
    (optim.Adam, {"lr": 0.1, "weight_decay": 0.2}, adam(0.1, decay=0.2)),
    (optim.Adam, {"lr": 0.1, "amsgrad": True}, adam(0.1, most=True)),
    (optim.AdamW, {"lr": 0.1}, adam(0.1, apart=0.01)),
    (optim.AdamW, {"lr": 0.1, "weight_decay": 0.2, "amsgrad": True},
     adam(0.1, apart=0.2, most=True)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "settings", "reference"), CASES, ids=[f"{k.__name__}-{s}" for k, s, _ in CASES]
)
def test_steps_follow_the_formulas(kind: Any, settings: Any, reference: Any) -> None:
    next(reference)
    rng = np.random.default_rng(0)
    start = rng.standard_normal((3, 4))
    wide = nn.Parameter(tdsl.tensor(start))
    narrow = nn.Parameter(tdsl.tensor(start.astype(np.float32)))
    optimizer = kind([wide, narrow], **settings)
    expected = start
    for k in range(6):
        g = rng.standard_normal((3, 4)) / (k + 1)  # a shrinking one, so that `amsgrad` matters
        wide.grad, narrow.grad = tdsl.tensor(g), tdsl.tensor(g.astype(np.float32))
        optimizer.step()
        expected = reference.send((expected, g))
        np.testing.assert_allclose(wide.detach().numpy(), expected, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(narrow.detach().numpy(), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
@pytest.mark.parametrize("dtype", [tdsl.float16, tdsl.bfloat16])
def test_parameters_may_be_halves(kind: Any, dtype: Any) -> None:
    p = nn.Parameter(tdsl.tensor([1.0, -2.0], dtype=dtype))
    optimizer = kind([p], lr=0.25)
    p.grad = tdsl.tensor([1.0, -1.0], dtype=dtype)
    optimizer.step()
    assert p.dtype is dtype
    assert p.tolist() == pytest.approx([0.75, -1.75], rel=0.01)


def test_a_step_writes_in_place_and_is_noticed() -> None:
    p = nn.Parameter(tdsl.tensor([1.0, 2.0]))
    view, address, version = p.detach(), p.data_ptr(), p._version
    product = (p * p).sum()
    p.grad = tdsl.ones(2)
    optim.SGD([p], lr=0.5).step()
    assert view.tolist() == [0.5, 1.5]
    assert p.data_ptr() == address and p._version > version
    assert p.is_leaf and p.requires_grad and p.grad_fn is None
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_parameters_of_any_layout() -> None:
    base = tdsl.arange(6.0).reshape(2, 3)
    parameters = [base.t().requires_grad_(), tdsl.tensor(2.0, requires_grad=True),
                  tdsl.empty(0, 3, requires_grad=True)]  # fmt: skip
    optimizer = optim.Adam(parameters, lr=1.0)
    for _ in range(2):
        for p in parameters:
            p.grad = tdsl.ones_like(p.detach())
        optimizer.step()
    expected = (np.arange(6.0).reshape(2, 3) - 2).ravel()
    assert base.flatten().tolist() == pytest.approx(expected, abs=1e-6)
    assert parameters[1].item() == pytest.approx(0, abs=1e-6)


def test_parameters_without_gradient_stay() -> None:
    a, b = nn.Parameter(tdsl.ones(2)), nn.Parameter(tdsl.ones(2))
    a.grad = tdsl.ones(2)
    optimizer = optim.Adam([a, b])
    optimizer.step()
    assert b.tolist() == [1, 1]
    assert a in optimizer.state and b not in optimizer.state


# --------------------------------------------------------------------------- state


def trained(kind: Any, **settings: Any) -> tuple[Any, Any, Callable[[], float]]:
    tdsl.manual_seed(1)
    m = nn.Linear(3, 2)
    optimizer = kind(m.parameters(), **settings)
    x, y = tdsl.randn(8, 3), tdsl.randn(8, 2)

    def step() -> float:
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(m(x), y)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    for _ in range(3):
        step()
    return m, optimizer, step


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(optim.SGD, {"lr": 0.1, "momentum": 0.9}), (optim.Adam, {"lr": 0.1, "amsgrad": True})],
)
def test_a_loaded_state_goes_on_where_the_other_stopped(kind: Any, settings: Any) -> None:
    m, optimizer, step = trained(kind, **settings)
    state, weights = copy.deepcopy(optimizer.state_dict()), copy.deepcopy(m.state_dict())
    expected = [step() for _ in range(4)]
    other, fresh, again = trained(kind, lr=77.0)
    other.load_state_dict(weights)
    fresh.load_state_dict(state)
    assert fresh.param_groups[0]["lr"] == 0.1
    assert [again() for _ in range(4)] == expected


def test_the_state_is_numbered() -> None:
    _, optimizer, _ = trained(optim.Adam)
    state = optimizer.state_dict()
    assert list(state) == ["state", "param_groups"]
    assert list(state["state"]) == [0, 1]
    assert list(state["state"][0]) == ["step", "exp_avg", "exp_avg_sq"]
    assert state["state"][0]["step"].item() == 3
    assert state["param_groups"][0]["params"] == [0, 1]
    _, other, _ = trained(optim.Adam)
    state["param_groups"][0]["params"] = [0]
    with pytest.raises(ValueError, match="doesn't match the size of optimizer's group"):
        other.load_state_dict(state)


def test_printed_as_pytorch_does() -> None:
    text = repr(optim.SGD([nn.Parameter(tdsl.ones(1))], lr=0.5))
    assert text.startswith("SGD (\nParameter Group 0\n    dampening: 0\n    differentiable: False")
    assert "    lr: 0.5\n" in text and text.endswith("    weight_decay: 0\n)")


# --------------------------------------------------------------------------- groups, closures


def test_groups_have_their_settings() -> None:
    a, b, c = (nn.Parameter(tdsl.zeros(1)) for _ in range(3))
    optimizer = optim.SGD([{"params": [a]}, {"params": b, "lr": 2.0}], lr=1.0)
    optimizer.add_param_group({"params": [c], "lr": 3.0})
    for p in (a, b, c):
        p.grad = tdsl.ones(1)
    optimizer.step()
    assert [p.item() for p in (a, b, c)] == [-1, -2, -3]


def test_a_closure_records_even_without_gradients() -> None:
    p = nn.Parameter(tdsl.tensor([3.0]))
    optimizer = optim.SGD([p], lr=0.5)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (p * p).sum()
        loss.backward()
        return loss

    with tdsl.no_grad():
        assert optimizer.step(closure).item() == 9
    assert p.item() == 0


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: optim.SGD([]), ValueError, "empty parameter list"),
        (lambda p: optim.SGD(p), TypeError, "iterable of Tensors or dicts"),
        (lambda p: optim.SGD([1]), TypeError, "one of the params is int"),
        (lambda p: optim.SGD([p * 2]), ValueError, "non-leaf Tensor"),
        (lambda p: optim.SGD([{"params": {p}}]), TypeError, "ordered collections"),
        (lambda p: optim.SGD([{"params": p}, {"params": p}]), ValueError, "more than one"),
        (lambda p: optim.SGD([p], lr=-1), ValueError, "Invalid learning rate: -1"),
        (lambda p: optim.SGD([p], nesterov=True), ValueError, "requires a momentum"),
        (lambda p: optim.Adam([p], betas=(0.9, 1.0)), ValueError, "at index 1: 1.0"),
        (lambda p: optim.Adam([p], eps=-1), ValueError, "Invalid epsilon value: -1"),
        (lambda p: optim.AdamW([p], weight_decay=-1), ValueError, "Invalid weight_decay value"),
        (lambda p: optim.Adam([p], differentiable=True), NotImplementedError, "differentiable"),
    ],
)
def test_refused(make: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        make(nn.Parameter(tdsl.ones(1)))
    assert words in str(caught.value)


# --------------------------------------------------------------------------- schedules


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        (lambda o: optim.lr_scheduler.StepLR(o, 2, 0.5), [1, 1, 0.5, 0.5, 0.25]),
        (lambda o: optim.lr_scheduler.ExponentialLR(o, 0.5), [1, 0.5, 0.25, 0.125, 0.0625]),
        (lambda o: optim.lr_scheduler.LambdaLR(o, lambda k: 1 / (k + 1)),
         [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5]),
        (lambda o: optim.lr_scheduler.CosineAnnealingLR(o, 4, 0.2),
         [0.2 + 0.4 * (1 + math.cos(math.pi * k / 4)) for k in range(5)]),
    ],
    ids=["step", "exponential", "lambda", "cosine"],
)  # fmt: skip
def test_schedules(schedule: Any, expected: list[float]) -> None:
    optimizer = optim.SGD([nn.Parameter(tdsl.ones(1))], lr=1.0)
    made = schedule(optimizer)
    found = []
    for _ in expected:
        found.append(optimizer.param_groups[0]["lr"])
        assert made.get_last_lr() == [found[-1]]
        optimizer.step()
        made.step()
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_schedule_goes_on_from_its_state() -> None:
    optimizer = optim.SGD([nn.Parameter(tdsl.ones(1))], lr=1.0)
    made = optim.lr_scheduler.StepLR(optimizer, 2)
    made.step()
    other = optim.lr_scheduler.StepLR(optim.SGD([nn.Parameter(tdsl.ones(1))], lr=1.0), 9)
    other.load_state_dict(made.state_dict())
    other.step()
    assert other.last_epoch == 2 and other.get_last_lr() == [0.1]
