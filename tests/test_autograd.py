"""Reverse mode: passes, hooks, modes, anomalies."""

from __future__ import annotations

import threading
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


# --------------------------------------------------------------------------- passes


def test_gradients_accumulate_into_the_same_tensor() -> None:
    x = leaf([1.0, 2.0])
    (x * x).sum().backward()
    held = x.grad
    (x * 3).sum().backward()
    assert x.grad is held and gradient(x) == [5.0, 7.0]
    x.grad = None
    x.sum().backward()
    assert gradient(x) == [1.0, 1.0]


def test_a_leafs_gradient_is_nobody_elses() -> None:
    """What arrives along two edges, or was given by the user, is not shared."""
    x, y = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    ct = tdsl.ones(2, dtype=tdsl.float64)
    (x + y).backward(ct)
    assert x.grad is not None and y.grad is not None
    x.grad.mul_(5)
    assert gradient(y) == [1.0, 1.0] and ct.tolist() == [1.0, 1.0]


def test_several_roots() -> None:
    x = leaf([1.0, 2.0])
    y = x * x
    tdsl.autograd.backward([y.sum(), y, x], [None, tdsl.ones_like(y), tdsl.ones_like(x)])
    assert gradient(x) == [5.0, 9.0]


def test_inputs_that_are_no_leaves() -> None:
    x = leaf([1.0, 2.0])
    y = x * 3
    z = (y * y).sum()
    assert tdsl.autograd.grad(z, [y, x], retain_graph=True)[0].tolist() == [6.0, 12.0]  # type: ignore[union-attr]
    z.backward(inputs=[y])
    assert x.grad is None and gradient(y) == [6.0, 12.0]


def test_only_what_leads_to_the_inputs_runs() -> None:
    ran = []

    class Noted(tdsl.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            ran.append(1)
            return g

    x, w = leaf([1.0]), leaf([2.0])
    (Noted.apply(x) * w).backward(inputs=[w])
    assert not ran and x.grad is None and gradient(w) == [1.0]


def test_unused_inputs() -> None:
    x, w = leaf([1.0]), leaf([2.0, 3.0])
    with pytest.raises(RuntimeError, match="appears to not have been used in the graph"):
        tdsl.autograd.grad((x * 2).sum(), [x, w])
    assert tdsl.autograd.grad((x * 2).sum(), [x, w], allow_unused=True)[1] is None
    found = tdsl.autograd.grad((x * 2).sum(), [x, w], materialize_grads=True)[1]
    assert found is not None and found.tolist() == [0.0, 0.0]
    with pytest.raises(RuntimeError, match="does not require grad"):
        tdsl.autograd.grad((x * 2).sum(), [tdsl.ones(1)])


def test_what_is_freed() -> None:
    """A pass frees saved values; steps that save none can run again."""
    x = leaf([1.0, 2.0])
    y = x * x
    y.sum().backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.sum().backward()
    z = (x + 1).view(2, 1).t()
    z.sum().backward()
    z.sum().backward()
    assert gradient(x) == [4.0, 6.0]


@pytest.mark.parametrize(
    ("function", "derivatives"),
    [
        (lambda x: (x.sin() * x.exp()), lambda x: 2 * np.exp(x) * (np.cos(x) - np.sin(x))),
        (lambda x: x**5, lambda x: 60 * x**2),
        (lambda x: x.tanh(), lambda x: (4 * np.sinh(x) ** 2 - 2) / np.cosh(x) ** 4),
        (lambda x: x.sqrt() / x, lambda x: -15 / 8 * x**-3.5),
        (
            lambda x: x.sigmoid().log(),
            lambda x: np.exp(x) * (np.exp(x) - 1) / (1 + np.exp(x)) ** 3,
        ),
    ],
)  # fmt: skip
def test_third_derivatives(
    function: Callable[[Tensor], Tensor], derivatives: Callable[[Any], Any]
) -> None:
    x = leaf([0.4, 0.9, 1.3])
    y = function(x).sum()
    for _ in range(3):
        (found,) = tdsl.autograd.grad(y, x, create_graph=True)
        assert found is not None
        y = found.sum()
    np.testing.assert_allclose(found.detach().numpy(), derivatives(x.detach().numpy()), rtol=1e-9)


def test_backward_with_create_graph_makes_a_gradient_with_history() -> None:
    x = leaf([1.0, 2.0])
    with pytest.warns(UserWarning, match="will create a reference cycle"):
        (x**3).sum().backward(create_graph=True)
    g, x.grad = x.grad, None
    assert g is not None and g.requires_grad
    g.sum().backward()
    assert gradient(x) == [6.0, 12.0]


def test_a_second_pass_meets_a_saved_value_that_was_written() -> None:
    x, w = leaf([1.0, 2.0]), tdsl.tensor([3.0, 4.0], dtype=tdsl.float64)
    (g,) = tdsl.autograd.grad((x * w * x).sum(), x, create_graph=True)
    assert g is not None
    w.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        g.sum().backward()


# --------------------------------------------------------------------------- hooks


def test_the_order_of_hooks() -> None:
    x = leaf([1.0])
    y = x * 2
    order: list[str] = []
    assert y.grad_fn is not None
    y.grad_fn.register_hook(lambda gi, go: order.append("post"))
    y.grad_fn.register_prehook(lambda go: order.append("pre"))
    y.register_hook(lambda g: order.append(f"tensor, retained {y.grad is not None}"))
    y.retain_grad()
    y.register_hook(lambda g: order.append("tensor again"))
    leaf_step = y.grad_fn.next_functions[0][0]
    assert leaf_step is not None
    leaf_step.register_prehook(lambda go: order.append("leaf pre"))
    leaf_step.register_hook(lambda gi, go: order.append(f"leaf post {x.grad is not None}"))
    x.register_post_accumulate_grad_hook(lambda t: order.append("accumulated"))
    x.register_hook(lambda g: order.append("leaf"))
    y.backward()
    assert order == [
        "tensor, retained False", "tensor again", "pre", "post",
        "leaf", "leaf pre", "leaf post True", "accumulated",
    ]  # fmt: skip


def test_hooks_replace_gradients() -> None:
    x = leaf([1.0, 2.0])
    y = x * 2
    y.retain_grad()
    assert y.grad_fn is not None
    y.register_hook(lambda g: g * 10)
    y.register_hook(lambda g: g + 1)
    y.grad_fn.register_prehook(lambda go: (go[0] * 2,))
    y.grad_fn.register_hook(lambda gi, go: (gi[0] + go[0], *gi[1:]))
    x.register_hook(lambda g: g - 1)
    y.sum().backward()
    assert gradient(y) == [11.0, 11.0] and gradient(x) == [65.0, 65.0]


def test_what_a_hook_must_not_return() -> None:
    for wrong, error, message in (
        (lambda g: 3.0, TypeError, "hook returned 'float'"),
        (lambda g: g[:1], RuntimeError, "hook '<lambda>' has changed the size of value"),
        (lambda g: g.float(), RuntimeError, "hook '<lambda>' has changed the type of value"),
    ):
        y = leaf([1.0, 2.0]) * 2
        y.register_hook(wrong)
        with pytest.raises(error, match=message):
            y.sum().backward()


def test_hooks_are_removed() -> None:
    x = leaf([1.0])
    seen: list[int] = []
    handle = x.register_hook(lambda g: seen.append(1))
    with x.register_hook(lambda g: seen.append(2)):
        x.sum().backward()
    x.sum().backward()
    handle.remove()
    handle.remove()
    x.sum().backward()
    assert seen == [1, 2, 1]


def test_a_leaf_is_done_as_soon_as_it_can_be() -> None:
    """Its post-accumulate hook runs before earlier steps, so that it may free the gradient."""
    order: list[str] = []
    x, w, late = leaf([1.0]), leaf([2.0]), leaf([3.0])
    h = x.exp()
    assert h.grad_fn is not None
    h.grad_fn.register_hook(lambda gi, go: order.append("exp"))
    y = (h * w) * late
    for name, t in (("x", x), ("w", w), ("late", late)):
        t.register_post_accumulate_grad_hook(lambda t, name=name: order.append(name))
    y.backward()
    assert order == ["late", "w", "exp", "x"]


# --------------------------------------------------------------------------- modes


def test_grad_mode_is_of_a_thread() -> None:
    found: list[bool] = []
    with tdsl.no_grad():
        thread = threading.Thread(target=lambda: found.append(tdsl.is_grad_enabled()))
        thread.start()
        thread.join()
    assert found == [True]


def test_hooks_run_in_the_mode_of_the_pass() -> None:
    x = leaf([1.0])
    modes: list[bool] = []
    x.register_hook(lambda g: modes.append(tdsl.is_grad_enabled()))
    with tdsl.enable_grad():
        (x * 1).backward()
    tdsl.autograd.grad(x * 1, x, create_graph=True)
    assert modes == [False, True] and tdsl.is_grad_enabled()


def test_modes_as_decorators() -> None:
    @tdsl.no_grad()
    def nothing(x: Tensor) -> Iterator[bool]:
        yield (x * 2).requires_grad
        yield (x * 2).requires_grad

    steps = nothing(leaf([1.0]))
    assert next(steps) is False and tdsl.is_grad_enabled() and next(steps) is False

    @tdsl.set_grad_enabled(False)
    def off() -> bool:
        return tdsl.is_grad_enabled()

    assert not off() and tdsl.is_grad_enabled()


def test_inference_tensors() -> None:
    x = leaf([1.0, 2.0])
    with tdsl.inference_mode():
        y, v = tdsl.ones(2, dtype=tdsl.float64), x[1:]
        y.add_(1)
        assert y.is_inference() and y[0].is_inference() and not v.is_inference()
    assert not (y + 1).is_inference() and not y.clone().is_inference()
    assert (x + y).requires_grad  # addition saves nothing
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        x * y
    with pytest.raises(RuntimeError, match="Inplace update to inference tensor outside"):
        y.add_(1)
    with pytest.raises(RuntimeError, match="Setting requires_grad=True on inference tensor"):
        y.requires_grad_()
    with pytest.raises(RuntimeError, match="Inference tensors do not track version counter"):
        print(y._version)
    with pytest.raises(RuntimeError, match="A view was created in inference mode"):
        v.add_(1)
    (x * y.clone()).sum().backward()
    assert gradient(x) == [2.0, 2.0]


# --------------------------------------------------------------------------- anomalies


def test_an_anomaly_is_named() -> None:
    x = leaf([4.0, -1.0])
    with (
        tdsl.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match="'SqrtBackward0' returned nan values") as raised,
    ):
        x.sqrt().sum().backward()
    message = str(raised.value)
    assert "in its 0th output: the first at index [1]" in message
    assert "operand 0 = -1.0" in message and "gradient = 1.0" in message
    assert "test_autograd.py" in message and "x.sqrt()" in message
    assert not tdsl.autograd.is_anomaly_enabled()


def test_an_anomaly_in_a_compiled_function_has_its_place() -> None:
    m = tdsl.compile("def root(x: f64[n], w: f64) -> f64[n]:\n    return sqrt(x) * w\n")
    x = leaf([4.0, 9.0, -1.0])
    with (
        tdsl.autograd.set_detect_anomaly(True),
        pytest.raises(RuntimeError, match="'RootBackward' returned nan values") as raised,
    ):
        m.root(x, leaf(2.0)).sum().backward()
    message = str(raised.value)
    assert "the first at index [2], of the function at <text>:1:" in message
    assert "operand 0 = -1.0, operand 1 = 2.0" in message


def test_a_nan_that_arrives_is_shown() -> None:
    x = leaf([1.0])
    with (
        tdsl.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match=r"operand 0 = 1\.0, operand 1 = 2, gradient = nan"),
    ):
        (x * 2).backward(tdsl.tensor([np.nan], dtype=tdsl.float64))
    with tdsl.autograd.detect_anomaly(check_nan=False):
        (x * 2).backward(tdsl.tensor([np.nan], dtype=tdsl.float64))
    assert np.isnan(gradient(x)[0])
