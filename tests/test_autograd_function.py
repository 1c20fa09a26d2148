"""`autograd.Function`, and the derivatives of Python functions in `autograd.functional`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tdsl
import tdsl.autograd.functional as functional
from tdsl import Tensor
from tdsl.autograd import Function, gradcheck, gradgradcheck
from tdsl.autograd.function import once_differentiable


def leaf(values: Any) -> Tensor:
    return tdsl.tensor(values, dtype=tdsl.float64, requires_grad=True)


def plain(values: Any) -> Tensor:
    return tdsl.tensor(values, dtype=tdsl.float64)


def gradient(t: Tensor) -> Any:
    assert t.grad is not None
    return t.grad.tolist()


class Cube(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, factor: float = 1.0) -> Tensor:
        ctx.save_for_backward(x)
        ctx.factor = factor
        return x**3 * factor

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        (x,) = ctx.saved_tensors
        return g * 3 * x**2 * ctx.factor, None


class Product(Function):
    """With `setup_context`, two results, and a backward pass that skips what nobody needs."""

    @staticmethod
    def forward(x: Tensor, y: Tensor) -> Any:
        return x * y, x + y

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, g: Tensor, h: Tensor) -> Any:
        x, y = ctx.saved_tensors
        return (g * y + h if ctx.needs_input_grad[0] else None), (
            g * x + h if ctx.needs_input_grad[1] else None
        )


def test_a_function_is_a_step() -> None:
    x = leaf([1.0, 2.0])
    y = Cube.apply(x, 2.0)
    step = y.grad_fn
    assert step.name() == type(step).__name__ == "CubeBackward" and not y.is_leaf
    assert repr(y).endswith("grad_fn=<CubeBackward>)")
    assert step.saved_tensors[0] is x and step.factor == 2.0
    assert step.needs_input_grad == (True, False) and len(step.next_functions) == 1
    y.sum().backward()
    assert gradient(x) == [6.0, 24.0]
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        y.sum().backward()


def test_derivatives_of_any_order() -> None:
    x, y = leaf([0.5, -1.5]), leaf([2.0, 0.3])
    assert gradcheck(Cube.apply, x) and gradgradcheck(Cube.apply, x)
    assert gradcheck(Product.apply, (x, y)) and gradgradcheck(Product.apply, (x, y))
    value = Cube.apply(x).sum()
    for _ in range(3):
        (g,) = tdsl.autograd.grad(value, x, create_graph=True)
        assert g is not None
        value = g.sum()
    assert g.tolist() == [6.0, 6.0]


def test_what_needs_no_gradient() -> None:
    x, y = leaf([1.0]), plain([3.0])
    a, b = Product.apply(x, y)
    (a + b).backward()
    assert gradient(x) == [4.0] and y.grad is None
    assert not Cube.apply(y).requires_grad
    with tdsl.no_grad():
        assert Cube.apply(x).grad_fn is None


def test_gradients_that_do_not_arrive() -> None:
    arrived: list[Any] = []

    class Two(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, filled: bool) -> Any:
            ctx.set_materialize_grads(filled)
            return x * 1, x * 2

        @staticmethod
        def backward(ctx: Any, g: Any, h: Any) -> Any:
            arrived.append(h if h is None else h.tolist())
            return g, None

    for filled in (True, False):
        Two.apply(leaf([1.0]), filled)[0].backward()
    assert arrived == [[0.0], None]


def test_results_that_are_not_differentiable() -> None:
    class Sorted(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            y, order = x.sort()
            ranks = order * 1.0
            ctx.mark_non_differentiable(ranks)
            ctx.order = order
            return y, order, ranks, "text", None

        @staticmethod
        def backward(ctx: Any, g: Tensor, *others: Any) -> Tensor:
            return tdsl.zeros_like(g).scatter(0, ctx.order, g)

    x = leaf([3.0, 1.0])
    y, order, ranks, text, nothing = Sorted.apply(x)
    assert y.requires_grad and not order.requires_grad and not ranks.requires_grad
    assert text == "text" and nothing is None
    (y * plain([1.0, 10.0])).sum().backward()
    assert gradient(x) == [10.0, 1.0]


def test_writing_an_input() -> None:
    class Doubled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.mark_dirty(x)
            return x.mul_(2)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return g * 2

    x = leaf([1.0, 2.0])
    y = x * 1
    assert Doubled.apply(y) is y and y.tolist() == [2.0, 4.0] and y._version == 1
    y.sum().backward()
    assert gradient(x) == [2.0, 2.0]
    x.grad = None
    y = x * 1
    Doubled.apply(y[1:])
    y.sum().backward()
    assert gradient(x) == [1.0, 2.0]
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad has been used"):
        Doubled.apply(leaf([1.0]))


def test_an_input_that_comes_back() -> None:
    class Same(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            return g * 3

    x = leaf([1.0])
    y = Same.apply(x)
    assert y is not x and x.is_leaf and y.data_ptr() == x.data_ptr()
    with pytest.raises(RuntimeError, match="created inside a custom Function"):
        y.add_(1)
    y.backward()
    assert gradient(x) == [3.0]


def test_a_saved_tensor_that_was_written() -> None:
    x = leaf([1.0, 2.0])
    y = x * 1
    z = Cube.apply(y)
    y.add_(1)
    with pytest.raises(RuntimeError, match=r"CubeBackward needs it as it was\. It was written"):
        z.sum().backward()


def _returning(value: Any) -> type[Function]:
    class Wrong(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:
            return value(g)

    return Wrong


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda g: (g, g), r"incorrect number of gradients \(expected 1, got 2\)"),
        (lambda g: 3.0, r"expected Variable or None \(got float\)"),
        (
            lambda g: plain([1.0]),
            r"at index 0 - got \[1\] but expected shape compatible with \[2\]",
        ),
    ],
)
def test_gradients_that_do_not_fit(value: Any, message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        _returning(value).apply(leaf([1.0, 2.0])).sum().backward()


def test_gradients_that_are_fitted() -> None:
    for value in (lambda g: g.float(), lambda g: g.expand(3, 2) / 3, lambda g: (g, None, None)):
        x = leaf([1.0, 2.0])
        _returning(value).apply(x).sum().backward()
        np.testing.assert_allclose(gradient(x), [1.0, 1.0])
        assert x.grad is not None and x.grad.dtype is tdsl.float64


def test_none_travels_on() -> None:
    """A step behind one that gives no gradient runs, with zeros."""
    seen: list[Any] = []
    x = leaf([1.0])
    noting = _returning(lambda g: seen.append(g.tolist()) or g)
    _returning(lambda g: None).apply(noting.apply(x)).backward()
    assert seen == [[0.0]] and gradient(x) == [0.0]


def test_once_differentiable() -> None:
    class Square(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            assert not tdsl.is_grad_enabled()
            return 2 * x * g

    x = leaf([1.0, 2.0])
    Square.apply(x).sum().backward()
    assert gradient(x) == [2.0, 4.0]
    y = (Square.apply(x) * x).sum()
    (g,) = tdsl.autograd.grad(y, x, create_graph=True)
    assert g is not None
    with pytest.raises(RuntimeError, match="trying to differentiate twice a function"):
        g.sum().backward()


def test_what_must_be_implemented() -> None:
    class Nothing(Function):
        pass

    with pytest.raises(NotImplementedError, match="You must implement the forward function"):
        Nothing.apply(leaf([1.0]))

    class Forward(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 1

    with pytest.raises(NotImplementedError, match="either the backward or vjp method"):
        Forward.apply(leaf([1.0])).backward()
    with pytest.raises(TypeError, match="can only save variables, but argument 0 is of type int"):
        Forward.apply(leaf([1.0])).grad_fn.save_for_backward(3)


# --------------------------------------------------------------------------- gradcheck


def test_gradcheck_finds_errors() -> None:
    x = leaf([1.0, 2.0])

    def wrong(x: Tensor) -> Tensor:
        return x.detach() * x

    with pytest.raises(tdsl.autograd.GradcheckError, match="for output 0 with respect to input 0"):
        gradcheck(wrong, x)
    assert not gradcheck(wrong, x, raise_exception=False)
    assert gradcheck(wrong, x, atol=10)
    with pytest.raises(tdsl.autograd.GradcheckError, match="expected to be zero"):
        gradcheck(lambda x: x.detach(), x)
    with pytest.raises(ValueError, match="expects at least one input tensor to require gradient"):
        gradcheck(lambda x: x * 2, plain([1.0]))
    with pytest.warns(UserWarning, match="Input #0 requires gradient and is not a double"):
        gradcheck(lambda x: x * 2, tdsl.ones(1, requires_grad=True), eps=1e-2)
    assert gradcheck(lambda x, k: (x * k, x.argmax()), (x, 3))


def test_gradgradcheck_finds_errors() -> None:
    class Forgetful(Function):
        """Its backward pass is right, but not differentiable."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return g * 3 * x.detach() ** 2

    x = leaf([1.0, 2.0])
    assert gradcheck(Forgetful.apply, x)
    assert not gradgradcheck(Forgetful.apply, x, raise_exception=False)
    assert gradgradcheck(lambda x: x**3, x, gen_non_contig_grad_outputs=True)


# --------------------------------------------------------------------------- functional

A, B = plain([1.0, 2.0]), plain([3.0, 4.0])


def _listed(value: Any) -> Any:
    return tuple(map(_listed, value)) if isinstance(value, tuple) else value.tolist()


def test_jacobian() -> None:
    assert _listed(functional.jacobian(lambda x: x**2, A)) == [[2.0, 0.0], [0.0, 4.0]]
    found = functional.jacobian(lambda x, y: (x * y, x.sum()), (A, B))
    assert _listed(found) == (
        ([[3.0, 0.0], [0.0, 4.0]], [[1.0, 0.0], [0.0, 2.0]]),
        ([1.0, 1.0], [0.0, 0.0]),
    )
    assert functional.jacobian(lambda x: x.view(2, 1) * A, A).shape == (2, 2, 2)
    assert functional.jacobian(lambda x: x[:0], A).shape == (0, 2)
    x = leaf([1.0, 2.0])
    functional.jacobian(lambda x: x**3, x, create_graph=True).sum().backward()
    assert gradient(x) == [6.0, 12.0]


def test_hessian() -> None:
    assert _listed(functional.hessian(lambda x: (x**3).sum(), A)) == [[6.0, 0.0], [0.0, 12.0]]
    assert _listed(functional.hessian(lambda x, y: (x * x * y).sum(), (A, B))) == (
        ([[6.0, 0.0], [0.0, 8.0]], [[2.0, 0.0], [0.0, 4.0]]),
        ([[2.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]),
    )
    assert _listed(functional.hessian(lambda x: x.sum(), A)) == [[0.0, 0.0], [0.0, 0.0]]
    with pytest.raises(RuntimeError, match="given to hessian should contain a single element"):
        functional.hessian(lambda x: x * 2, A)


def test_products_with_vectors() -> None:
    def f(x: Tensor, y: Tensor) -> Any:
        return x * y, (x * x).sum()

    def g(x: Tensor, y: Tensor) -> Tensor:
        return (x * x * y).sum()

    value, found = functional.vjp(f, (A, B), (B, plain(2.0)))
    assert _listed(value) == ([3.0, 8.0], 5.0)
    assert _listed(found) == ([13.0, 24.0], [3.0, 8.0])
    assert _listed(functional.jvp(f, (A, B), (A, B))[1]) == ([6.0, 16.0], 10.0)
    for product in (functional.hvp, functional.vhp):
        value, found = product(g, (A, B), (A, B))
        assert value.item() == 19.0 and _listed(found) == ([12.0, 32.0], [2.0, 8.0])
        assert _listed(product(lambda x: x.sum(), A, A)[1]) == [0.0, 0.0]
    x = leaf([1.0, 2.0])
    functional.jvp(lambda x: x**3, x, B, create_graph=True)[1].sum().backward()
    assert gradient(x) == [18.0, 48.0]


def test_what_functional_refuses() -> None:
    with pytest.raises(TypeError, match="inputs given to jacobian must be either a Tensor or a"):
        functional.jacobian(lambda x: x, 3)
    with pytest.raises(TypeError, match="outputs of the user-provided function given to vjp must"):
        functional.vjp(lambda x: 3, A)
    with pytest.raises(RuntimeError, match=r"v has invalid size: should be tdsl.Size\(\[2\]\)"):
        functional.vjp(lambda x: x * 2, A, plain([1.0]))
    with pytest.raises(RuntimeError, match="v can only be None if the user-provided function"):
        functional.vjp(lambda x: x * 2, A)
    with pytest.raises(RuntimeError, match="v can only be None if the input to the user-provided"):
        functional.jvp(lambda x: x * 2, A)
    with pytest.raises(RuntimeError, match="tuple of invalid length: should be 2 but got 1"):
        functional.jvp(lambda x, y: x * y, (A, B), (A,))


def test_strict() -> None:
    def constant(x: Tensor) -> Tensor:
        return plain([1.0])

    assert _listed(functional.jacobian(constant, A)) == [[0.0, 0.0]]
    with pytest.raises(RuntimeError, match="Output 0 of the user-provided function does not"):
        functional.jacobian(constant, A, strict=True)
    with pytest.raises(RuntimeError, match=r"Output 0 .* is independent of input 1"):
        functional.jacobian(lambda x, y: x * 1, (A, B), strict=True)
    with pytest.raises(
        RuntimeError, match=r"independent of the input\. This is not allowed in strict"
    ):
        functional.hvp(lambda x: x.sum(), A, A, strict=True)
