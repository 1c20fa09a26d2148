"""Writing in place: history moves with the elements, through views in both directions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import tdsl
from hypothesis import given, settings
from hypothesis import strategies as st
from tdsl import Tensor

Array = np.ndarray[Any, Any]


def leaf(values: Any) -> Tensor:
    return tdsl.tensor(values, dtype=tdsl.float64, requires_grad=True)


def gradient(t: Tensor) -> Any:
    assert t.grad is not None
    return t.grad.tolist()


# --------------------------------------------------------------------------- random programs
# A program writes into views of one vector. It runs twice: on Tensors, in place; and on a model
# that never writes: the base is a vector, a view the array of positions that it shows, and a write
# a new base, chosen element by element. Values and gradients must be equal.


@dataclass
class Model:
    """The base as it is now; `positions` of every view so far."""

    base: Tensor
    positions: list[Array]

    def read(self, k: int) -> Tensor:
        return self.base[tdsl.tensor(self.positions[k])]

    def write(self, k: int, values: Tensor) -> None:
        where = self.positions[k].ravel()
        source = np.zeros(len(self.base), np.int64)
        source[where] = np.arange(where.size)
        shown = np.isin(np.arange(len(self.base)), where)
        spread = values.expand(self.positions[k].shape).reshape(-1)[tdsl.tensor(source)]
        self.base = tdsl.where(tdsl.tensor(shown), spread, self.base)


def _slice(x: Any, n: int) -> Any:
    return x[n % max(len(x) - 1, 1) :]


def _stepped(x: Any, n: int) -> Any:
    return x[n % 2 :: 2]


def _flat(x: Any, n: int) -> Any:
    return x.reshape(-1) if isinstance(x, Tensor) and x.is_contiguous() else x


def _folded(x: Any, n: int) -> Any:
    return x.reshape(2, -1) if x.ndim == 1 and len(x) % 2 == 0 else x


VIEWS: list[Callable[[Any, int], Any]] = [
    _slice,
    _stepped,
    _folded,
    lambda x, n: x[n % len(x)] if x.ndim > 1 else x[:1],
    lambda x, n: x.T if x.ndim == 2 else x,
    lambda x, n: x[:, n % x.shape[1]] if x.ndim == 2 else x,
    lambda x, n: x.diagonal() if x.ndim == 2 else x,
    lambda x, n: x[None] if x.ndim < 3 else x,
]

#: (in place, functional), both of a Tensor and a number that requires grad.
WRITES: list[tuple[Callable[[Tensor, Tensor], Any], Callable[[Tensor, Tensor], Tensor]]] = [
    (lambda v, w: v.mul_(w), lambda v, w: v * w),
    (lambda v, w: v.add_(w), lambda v, w: v + w),
    (lambda v, w: v.sub_(v), lambda v, w: v * 0),
    (lambda v, w: v.sin_(), lambda v, w: v.sin()),
    (lambda v, w: v.pow_(2), lambda v, w: v * v),
    (lambda v, w: v.zero_(), lambda v, w: v * 0),
    (lambda v, w: v.fill_(1.5), lambda v, w: v * 0 + 1.5),
    (lambda v, w: v.copy_(w), lambda v, w: v * 0 + w),
    (lambda v, w: v.mul_(2).add_(v), lambda v, w: v * 4),
    (lambda v, w: v.copy_(v.flip(0)), lambda v, w: v.flip(0)),
    (lambda v, w: v.__setitem__(slice(None, 1), w), lambda v, w: _first(v, w)),
    (lambda v, w: v.clamp_(-1, 1), lambda v, w: v.clamp(-1, 1)),
    (lambda v, w: v.detach().mul_(1), lambda v, w: v),
]


def _first(v: Tensor, w: Tensor) -> Tensor:
    row = tdsl.arange(len(v)).view(-1, *[1] * (v.ndim - 1)) < 1
    return tdsl.where(row, w.expand(v.shape), v)


steps = st.lists(
    st.tuples(st.sampled_from(["view", "write", "read"]), *[st.integers(0, 30)] * 3),
    min_size=1,
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(steps, st.booleans())
def test_random_writes_into_views(program: list[tuple[str, int, int, int]], grown: bool) -> None:
    size = 8
    x, w = leaf(np.linspace(-1.2, 1.4, size)), leaf(0.7)
    y, u = x.detach().requires_grad_(), w.detach().requires_grad_()
    base = x * 1 if grown else tdsl.zeros(size, dtype=tdsl.float64)
    views: list[Tensor] = [base]
    model = Model(y * 1 if grown else tdsl.zeros(size, dtype=tdsl.float64), [np.arange(size)])
    total, expected = x.sum() * 0, y.sum() * 0
    for kind, a, b, c in program:
        k = a % len(views)
        if kind == "view":
            take = VIEWS[b % len(VIEWS)]
            found = take(views[k], c)
            if found.numel() and found is not views[k]:
                views.append(found)
                model.positions.append(take(model.positions[k], c))
        elif kind == "write":
            inplace, functional = WRITES[b % len(WRITES)]
            inplace(views[k], w)
            model.write(k, functional(model.read(k), u))
        else:
            total = total + (views[k] * (c + 1)).sum()
            expected = expected + (model.read(k) * (c + 1)).sum()
    for k, v in enumerate(views):
        np.testing.assert_allclose(v.detach().numpy(), model.read(k).detach().numpy(), atol=1e-12)
        total = total + (v * (k + 0.5)).sum()
        expected = expected + (model.read(k) * (k + 0.5)).sum()
    found = tdsl.autograd.grad(total, [x, w], allow_unused=True, materialize_grads=True)
    wanted = tdsl.autograd.grad(expected, [y, u], allow_unused=True, materialize_grads=True)
    for f, e in zip(found, wanted, strict=True):
        np.testing.assert_allclose(f.numpy(), e.numpy(), atol=1e-9)


# --------------------------------------------------------------------------- history


def test_a_write_through_a_view_changes_the_bases_history() -> None:
    x = leaf([1.0, 2.0, 3.0])
    y = x * 2
    v, other = y[1:], y[0]
    v.mul_(x[1:])
    assert y.grad_fn is not None and y.grad_fn.name() == "CopySlices"
    assert v.grad_fn is not None and v.grad_fn.name() == "AsStridedBackward0"
    assert other.grad_fn is not None and other.grad_fn.name() == "AsStridedBackward0"
    (y.sum() + other * 10).backward()
    assert gradient(x) == [22.0, 8.0, 12.0]


def test_a_base_that_is_not_contiguous() -> None:
    memory = np.zeros((3, 2))
    base = tdsl.from_numpy(memory.T)  # as it stands in memory, transposed
    x = leaf([1.0, 2.0, 3.0])
    base[1].copy_(x)
    base[:, 0].mul_(5.0)
    (base * tdsl.tensor([[1.0, 1, 1], [1, 2, 3]])).sum().backward()
    assert gradient(x) == [5.0, 2.0, 3.0]
    assert memory.tolist() == [[0.0, 5.0], [0.0, 2.0], [0.0, 3.0]]


def test_a_base_with_gaps() -> None:
    memory = np.zeros((3, 4))
    base = tdsl.from_numpy(memory[:, ::2])
    x = leaf([1.0, 2.0])
    base[1].copy_(x)
    base[0] = base[1] * 3
    base.sum().backward()
    assert gradient(x) == [4.0, 4.0]


def test_an_operation_keeps_what_it_overwrites() -> None:
    """`mul_` and its like need their operand's former value; what is saved is a copy."""
    x = leaf([0.5, 2.0])
    y = x * 1
    y.mul_(x).pow_(3).sin_()
    y.sum().backward()
    np.testing.assert_allclose(gradient(x), 6 * np.array([0.5, 2]) ** 5 * np.cos([0.5**6, 2.0**6]))


def test_a_result_that_is_saved_stays_guarded() -> None:
    y = leaf([0.5]) * 1
    y.exp_()
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation") as raised:
        y.backward()
    assert "output 0 of ExpBackward0, is at version 2; expected version 1" in str(raised.value)
    assert "It was written by add_" in str(raised.value)


def test_the_error_names_tensor_writer_and_reader() -> None:
    x = leaf([[1.0, 2.0]])
    y = x * 2
    z = y * y
    y[0, 1] = 3.0
    with pytest.raises(RuntimeError) as raised:
        z.sum().backward()
    message = str(raised.value)
    assert (
        "[tdsl.DoubleTensor [1, 2]], which is output 0 of MulBackward0, is at version 1" in message
    )
    assert "expected version 0" in message and "MulBackward0 needs it as it was" in message
    assert "It was written by" in message


def test_writing_an_alias_is_noticed() -> None:
    x, w = leaf([1.0, 2.0]), tdsl.tensor([3.0, 4.0], dtype=tdsl.float64)
    for alias in (w.detach(), w.view(2, 1), w[1:]):
        z = x * w
        alias.mul_(2)
        with pytest.raises(RuntimeError, match=r"tdsl.DoubleTensor \[2\]\] is at version"):
            z.sum().backward()
    z = x * w
    w.data.mul_(2)  # by design: `data` is not watched
    z.sum().backward()


def test_leaves_are_not_written() -> None:
    x = leaf([1.0, 2.0])
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used"):
        x.add_(1)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad"):
        x[0].zero_()
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used"):
        x[0] = 1.0
    with tdsl.no_grad():
        x[0] = 5.0
        x += 1
    assert x.tolist() == [6.0, 3.0] and x.is_leaf and x.requires_grad and x._version == 2


def test_views_of_no_grad() -> None:
    x = leaf([1.0, 2.0])
    with tdsl.no_grad():
        v = x[1:]
        v.mul_(2)
    assert x.tolist() == [1.0, 4.0] and v.requires_grad
    y = x * 1
    with tdsl.no_grad():
        v = y[1:]
    with pytest.raises(RuntimeError, match="A view was created in no_grad mode and is being"):
        v.mul_(2)
    y.mul_(2)
    with pytest.raises(RuntimeError, match="no_grad mode and its base or another view of its base"):
        print(v.grad_fn)


def test_views_of_a_function_that_returns_several() -> None:
    y = leaf([1.0, 2.0]) * 1
    a, _ = y.unbind()
    with pytest.raises(RuntimeError, match="Output 0 of UnbindBackward0 is a view and is being"):
        a.add_(1)
    y.add_(1)
    with pytest.raises(RuntimeError, match="Output 0 of UnbindBackward0 is a view and its base"):
        a * 2
    first, _ = tdsl.tensor([1.0, 2.0]).unbind()
    first.add_(1)  # nothing is recorded


def test_expanded_memory_is_not_written() -> None:
    x = tdsl.zeros(3)
    with pytest.raises(RuntimeError, match="refers to a single memory location"):
        x.expand(2, 3).add_(1)
    x.expand(2, 3).fill_(1)
    assert x.tolist() == [1.0, 1.0, 1.0]


def test_overwriting_cuts_the_history_with_zeros() -> None:
    x, w = leaf([1.0, 2.0]), leaf([3.0, 4.0])
    for write, name in (
        (lambda y: y.zero_(), "ZeroBackward0"),
        (lambda y: y.fill_(2.0), "FillBackward0"),
        (lambda y: y.copy_(w), "CopyBackwards"),
        (lambda y: y.normal_(), "NormalBackward0"),
    ):
        y = x * 2
        write(y)
        assert y.requires_grad and y.grad_fn is not None and y.grad_fn.name() == name
        y.sum().backward()
    assert gradient(x) == [0.0, 0.0] and gradient(w) == [1.0, 1.0]


def test_retain_grad_moves_and_hooks_stay() -> None:
    x = leaf([1.0, 2.0])
    y = x * 2
    y.retain_grad()
    seen: list[Any] = []
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.mul_(5)
    y.register_hook(lambda g: seen.append(g.tolist()))
    y.sum().backward()
    assert gradient(y) == [1.0, 1.0] and seen == [[1.0, 1.0], [5.0, 5.0]]


def test_second_derivatives_through_writes() -> None:
    def written(x: Tensor, w: Tensor) -> Tensor:
        y = x * w
        y[1:].mul_(w[1:]).sin_()
        y[0] = y[1].clone() * x[0]
        return y.exp_()

    arguments = (leaf([0.3, 0.5, -0.4]), leaf([1.1, -0.7, 0.6]))
    assert tdsl.autograd.gradcheck(written, arguments)
    assert tdsl.autograd.gradgradcheck(written, arguments)


def test_dtypes_and_shapes_are_checked() -> None:
    with pytest.raises(RuntimeError, match=r"result type Float can't be cast to .* type Long"):
        tdsl.tensor([1]).add_(0.5)
    with pytest.raises(RuntimeError, match="doesn't match the broadcast shape"):
        tdsl.zeros(2).add_(tdsl.zeros(3, 2))
    x = tdsl.tensor([1.0], requires_grad=True)
    y = x * 1
    y.mul_(tdsl.tensor([2.0], dtype=tdsl.float64))
    assert y.dtype is tdsl.float32
    y.backward()
    assert gradient(x) == [2.0]
