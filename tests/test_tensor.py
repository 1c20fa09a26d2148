"""The first Tensor: its eight attributes, their rules and messages, and backward."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tdsl

PROGRAM = """
def hidden(x: f32[n, d], w: f32[d, h]) -> f32[n, h]:
    return tanh(x @ w)

def two_sums(z: f32[n, h], s: f32):
    return sum(z * z) * s, sum(z, dim=0), argmax(z, dim=1)

def wide(x: f64[n]) -> f64:
    return sum(x * x)
"""

RNG = np.random.default_rng(0)
X = RNG.standard_normal((4, 3)).astype(np.float32)
W = RNG.standard_normal((3, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def m() -> tdsl.Module:
    return tdsl.compile(PROGRAM)


def test_attributes_of_a_leaf() -> None:
    t = tdsl.tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    assert t.dtype is tdsl.float32 and repr(t.dtype) == "tdsl.float32"
    assert t.shape == (1, 3) and repr(t.shape) == "tdsl.Size([1, 3])" and t.shape.numel() == 3
    assert repr(t.device) == "device(type='cpu')" and str(t.device) == "cpu"
    assert t.requires_grad and t.is_leaf and t.grad is None and t.grad_fn is None
    assert tdsl.tensor([1, 2]).dtype is tdsl.int64
    assert tdsl.tensor(True).dtype is tdsl.bool
    assert tdsl.tensor(np.float64(1)).dtype is tdsl.float64
    assert tdsl.tensor([1, 2], dtype=tdsl.float16).dtype is tdsl.float16
    assert repr(t) == "tensor([[1., 2., 3.]], requires_grad=True)"
    assert repr(tdsl.tensor([1.5], dtype=tdsl.float64)) == "tensor([1.5000], dtype=tdsl.float64)"
    assert pickle.loads(pickle.dumps(tdsl.float32)) is tdsl.float32


def test_data_shares_storage_without_history() -> None:
    t = tdsl.tensor([1.0, 2.0], requires_grad=True)
    t.data.numpy()[0] = 5
    assert t.tolist() == [5.0, 2.0]
    assert not t.data.requires_grad and not t.detach().requires_grad
    t.data = tdsl.tensor([7.0])
    assert t.tolist() == [7.0] and t.requires_grad


def test_rules_of_requires_grad(m: tdsl.Module) -> None:
    message = "only Tensors of floating point and complex dtype can require gradients"
    with pytest.raises(RuntimeError, match=message):
        tdsl.tensor([1, 2], requires_grad=True)
    w = tdsl.tensor(W).requires_grad_()
    z = m.hidden(X, w)
    with pytest.raises(RuntimeError, match="you can only change requires_grad flags of leaf"):
        z.requires_grad = False
    with pytest.raises(RuntimeError, match="Can't call numpy\\(\\) on Tensor that requires grad"):
        z.numpy()


def test_rules_of_grad() -> None:
    t = tdsl.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(TypeError, match="expected to be a Tensor or None"):
        t.grad = 1.0  # type: ignore[assignment]
    with pytest.raises(RuntimeError, match=r"gradient of size .* to a tensor of size"):
        t.grad = tdsl.tensor([1.0])
    with pytest.raises(RuntimeError, match=r"gradient with dtype .* to a tensor with dtype"):
        t.grad = tdsl.tensor([1, 2])
    t.grad = tdsl.tensor([1.0, 1.0])
    t.grad = None


def test_backward_through_two_functions(m: tdsl.Module) -> None:
    x, w = tdsl.tensor(X), tdsl.tensor(W, requires_grad=True)
    z = m.hidden(x, w)
    assert not z.is_leaf and z.grad_fn is not None and z.grad_fn.name() == "HiddenBackward"
    assert repr(z.grad_fn).startswith("<HiddenBackward object at 0x")
    assert "grad_fn=<HiddenBackward>" in repr(z)
    assert "<text>:2:" in z.grad_fn.metadata["position"]
    loss, columns, best = m.two_sums(z, 0.5)
    assert loss.grad_fn is columns.grad_fn and best.grad_fn is None and not best.requires_grad
    assert loss.grad_fn.name() == "TwoSumsBackward"
    assert loss.grad_fn.next_functions == ((z.grad_fn, 0), (None, 0))
    loss.backward()
    tanh = np.tanh(X @ W)
    expected = X.T @ ((1 - tanh**2) * tanh)
    assert w.grad is not None and w.grad.dtype is tdsl.float32
    np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-5)
    # a second pass adds
    m.two_sums(m.hidden(x, w), 0.5)[0].backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * expected, rtol=1e-5)
    assert x.grad is None and z.grad is None


def test_backward_from_an_array_needs_a_cotangent(m: tdsl.Module) -> None:
    w = tdsl.tensor(W, requires_grad=True)
    z = m.hidden(X, w)
    with pytest.raises(RuntimeError, match="grad can be implicitly created only for scalar"):
        z.backward()
    with pytest.raises(RuntimeError, match="Mismatch in shape"):
        z.backward(tdsl.tensor([1.0]))
    z.backward(tdsl.tensor(np.ones((4, 2), np.float32)), retain_graph=True)
    assert w.grad is not None
    once = np.array(w.grad.numpy())
    z.backward(tdsl.tensor(np.ones((4, 2), np.float32)))
    np.testing.assert_allclose(w.grad.numpy(), 2 * once)
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        z.backward(tdsl.tensor(np.ones((4, 2), np.float32)))


def test_both_outputs_of_one_call_contribute(m: tdsl.Module) -> None:
    z = tdsl.tensor(X, requires_grad=True)
    s = tdsl.tensor(2.0, requires_grad=True)
    loss, columns, _ = m.two_sums(z, s)
    wide = tdsl.compile("def total(a: f32, c: f32[h]) -> f32:\n    return a * 3 + sum(c)\n")
    wide.total(loss, columns).backward()
    assert z.grad is not None and s.grad is not None
    np.testing.assert_allclose(z.grad.numpy(), 3 * 2 * 2 * X + 1, rtol=1e-5)
    assert s.grad.item() == pytest.approx(3 * (X * X).sum(), rel=1e-5)
    assert s.grad.shape == ()


def test_a_narrow_leaf_of_a_wide_parameter(m: tdsl.Module) -> None:
    t = tdsl.tensor([1.0, 2.0], requires_grad=True)
    m.wide(t).backward()
    assert t.grad is not None and t.grad.dtype is tdsl.float32 and t.grad.tolist() == [2.0, 4.0]


def test_no_grad(m: tdsl.Module) -> None:
    w = tdsl.tensor(W, requires_grad=True)
    with tdsl.no_grad():
        assert not tdsl.is_grad_enabled()
        z = m.hidden(X, w)
    assert tdsl.is_grad_enabled() and not z.requires_grad and z.is_leaf and w.requires_grad

    @tdsl.no_grad()
    def infer() -> tdsl.Tensor:
        return m.hidden(X, w)  # type: ignore[no-any-return]

    assert not infer().requires_grad and not infer().requires_grad
    with pytest.raises(RuntimeError, match="does not require grad and does not have a grad_fn"):
        z.backward()


def test_tensors_in_tensors_out(m: tdsl.Module) -> None:
    z = m.hidden(tdsl.tensor(X), W)
    assert isinstance(z, tdsl.Tensor) and not z.requires_grad
    np.testing.assert_array_equal(z.numpy(), m.hidden(X, W))
    np.testing.assert_array_equal(m.hidden(X, w=tdsl.tensor(W)).numpy(), m.hidden(X, W))
    assert isinstance(m.wide(tdsl.tensor([2.0])), tdsl.Tensor)
    assert float(m.wide(tdsl.tensor([2.0]))) == 4.0
    with pytest.raises(ValueError, match="dim d is 3 in x"):
        m.hidden(tdsl.tensor(X), tdsl.tensor(W[:2]))


def test_derivatives_take_tensors_and_are_differentiable(m: tdsl.Module) -> None:
    x = tdsl.tensor([1.0, 2.0], requires_grad=True)
    value, gradient = m.wide.value_and_grad("x")(x)
    assert value.item() == 5.0 and gradient.tolist() == [2.0, 4.0]
    (gradient * gradient).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [8.0, 16.0]


def test_conversions() -> None:
    t = tdsl.tensor([[1.0, 2.0]])
    assert len(t) == 1 and t.size() == (1, 2) and t.size(1) == 2 and t.dim() == t.ndim == 2
    assert t.numel() == 2 and np.asarray(t).shape == (1, 2)
    with pytest.raises(RuntimeError, match="2 elements cannot be converted to Scalar"):
        t.item()
    with pytest.raises(RuntimeError, match="more than one value is ambiguous"):
        bool(t)
    with pytest.raises(TypeError, match="0-d"):
        len(tdsl.tensor(1.0))
    assert int(tdsl.tensor(3)) == 3 and bool(tdsl.tensor([0.0])) is False
    with pytest.raises(RuntimeError, match="at start of device string: tpu"):
        tdsl.device("tpu")
