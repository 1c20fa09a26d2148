"""Memory shared with other libraries: DLPack, buffers, NumPy's functions, PyTorch's tensors."""

from __future__ import annotations

import array
import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tdsl
from tdsl.runtime.dlpack import array_from_capsule, capsule_from

PROGRAM = """
def f(x: f32[n], s: f32) -> f32:
    return sum(x * x) * s

def halves(x: bf16[n]) -> f32:
    return sum(f32(x))

def wide(x: f64[n]) -> f64:
    return sum(x)

def count(k: i64[n]) -> i64:
    return sum(k)
"""


@pytest.fixture(scope="module")
def m() -> tdsl.Module:
    return tdsl.compile(PROGRAM)


# --------------------------------------------------------------------------- DLPack


@pytest.mark.parametrize(
    "a",
    [
        np.arange(6.0).reshape(2, 3),
        np.arange(6, dtype=np.int16)[::2],
        np.arange(6, dtype=np.uint8).reshape(2, 3).T,
        np.array([True, False]),
        np.array(2.5, np.float16),
        np.zeros((0, 3), np.float32),
    ],
    ids=lambda a: f"{a.dtype}{a.shape}",
)
def test_dlpack_both_ways(a: Any) -> None:
    t = tdsl.from_dlpack(a)
    assert t.tolist() == a.tolist() and t.shape == a.shape
    if a.size:
        assert t.data_ptr() == a.ctypes.data
        assert t.stride() == tuple(s // a.itemsize for s in a.strides)
    back = np.from_dlpack(t)
    assert back.dtype == a.dtype and back.tolist() == a.tolist()
    if a.size:
        assert back.ctypes.data == a.ctypes.data


def test_a_capsule_is_taken_once() -> None:
    t = tdsl.arange(3.0)
    capsule = t.__dlpack__()
    assert tdsl.from_dlpack(capsule).data_ptr() == t.data_ptr()
    with pytest.raises(RuntimeError, match="can be consumed only once"):
        tdsl.from_dlpack(capsule)
    assert tdsl.from_dlpack(tdsl.to_dlpack(t)).tolist() == [0.0, 1.0, 2.0]
    with pytest.raises(RuntimeError, match="invalid capsule"):
        tdsl.from_dlpack([1, 2])


def test_bfloat16_keeps_its_type() -> None:
    t = tdsl.tensor([1.5, -2.0], dtype=tdsl.bfloat16)
    for version in (None, (1, 0)):
        again = tdsl.from_dlpack(t.__dlpack__(max_version=version))
        assert again.dtype is tdsl.bfloat16 and again.tolist() == [1.5, -2.0]


def test_the_other_side_lives_as_long_as_it_is_used() -> None:
    class Owner(np.ndarray):
        pass

    a = np.arange(3.0).view(Owner)
    alive = weakref.ref(a)
    t = tdsl.from_dlpack(a)
    del a
    gc.collect()
    assert alive() is not None and t.tolist() == [0.0, 1.0, 2.0]
    del t
    gc.collect()
    assert alive() is None


def test_read_only_memory_stays_read_only() -> None:
    a = np.arange(3.0)
    a.flags.writeable = False
    for t in (tdsl.from_numpy(a), tdsl.from_dlpack(a), tdsl.as_tensor(a), tdsl.asarray(a)):
        assert t.tolist() == [0.0, 1.0, 2.0]
        with pytest.raises(RuntimeError, match="read-only"):
            t[0] = 5.0
    assert a[0] == 0.0


def test_copies_where_asked() -> None:
    a = np.arange(3.0)
    assert tdsl.from_dlpack(a, copy=True).data_ptr() != a.ctypes.data
    assert tdsl.from_dlpack(tdsl.arange(3).__dlpack__(copy=True)).tolist() == [0, 1, 2]


DLPACK_ERRORS: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tdsl.ones(1, requires_grad=True).__dlpack__(), BufferError, "use tensor.detach"),
    (lambda: tdsl.ones(1).__dlpack__(stream="a"), TypeError, "``int`` or ``none``"),
    (lambda: tdsl.ones(1).__dlpack__(stream=1), AssertionError, "None on cpu"),
    (lambda: tdsl.ones(1).__dlpack__(dl_device=(2, 0)), BufferError, "on the CPU"),
    (lambda: tdsl.from_dlpack(np.zeros(2, np.uint32)), BufferError, "uint32"),
    (lambda: tdsl.from_dlpack(np.arange(3)[::-1]), RuntimeError, "negative strides"),
    (lambda: tdsl.from_dlpack(np.ones(1), device="cuda"), AssertionError, "CUDA"),
]


@pytest.mark.parametrize(("call", "kind", "message"), DLPACK_ERRORS)
def test_what_dlpack_refuses(call: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        call()


def test_another_device_is_refused_by_name() -> None:
    class Elsewhere:
        def __dlpack_device__(self) -> tuple[int, int]:
            return 2, 0

        def __dlpack__(self, **options: Any) -> Any:
            raise AssertionError("never asked")

    with pytest.raises(BufferError, match="another device"):
        tdsl.from_dlpack(Elsewhere())


# --------------------------------------------------------------------------- buffers, sequences


def test_frombuffer() -> None:
    data = bytearray(b"abcdefgh")
    t = tdsl.frombuffer(data, dtype=tdsl.uint8, count=3, offset=2)
    t[0] = 65
    assert data == b"abAdefgh"
    assert tdsl.frombuffer(array.array("i", [1, 2]), dtype=tdsl.int32).tolist() == [1, 2]
    assert tdsl.frombuffer(data, dtype=tdsl.float32, requires_grad=True).requires_grad
    assert tdsl.frombuffer(b"\x80?", dtype=tdsl.bfloat16).tolist() == [1.0]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"count": 3}, "requested buffer length"),
        ({"offset": 8}, "offset"),
        ({"offset": -1}, "offset"),
        ({"count": 0}, "must not be 0"),
        ({"offset": 1}, "must be a multiple of element size"),
    ],
    ids=str,
)
def test_what_frombuffer_refuses(given: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tdsl.frombuffer(bytearray(8), dtype=tdsl.int32, **given)


def test_frombuffer_wants_a_buffer() -> None:
    with pytest.raises(ValueError, match="does not implement Python buffer protocol"):
        tdsl.frombuffer([1], dtype=tdsl.int32)


def test_asarray_shares_where_it_can() -> None:
    a = np.arange(3.0)
    t = tdsl.ones(2)
    assert tdsl.asarray(t) is t and tdsl.asarray(a).data_ptr() == a.ctypes.data
    assert tdsl.asarray(a, copy=True).data_ptr() != a.ctypes.data
    assert tdsl.asarray(a, dtype=tdsl.float32).dtype is tdsl.float32
    buffer = array.array("f", [1, 2])
    shared = tdsl.asarray(buffer)
    shared[0] = 7.0
    assert buffer[0] == 7.0 and shared.dtype is tdsl.float32
    assert tdsl.asarray([1, 2]).dtype is tdsl.int64 and tdsl.asarray(5).shape == ()
    with pytest.raises(ValueError, match="can't alias arbitrary sequence"):
        tdsl.asarray([1, 2], copy=False)
    with pytest.raises(ValueError, match="can't alias tensor with dtype"):
        tdsl.asarray(a, dtype=tdsl.float32, copy=False)


def test_sequences_with_buffers_are_sequences() -> None:
    """As in PyTorch: `tensor` reads elements, `frombuffer` and `asarray` read memory."""
    assert tdsl.tensor(bytearray(b"ab")).dtype is tdsl.int64
    assert tdsl.tensor(memoryview(np.arange(2.0))).dtype is tdsl.float32
    assert tdsl.tensor(array.array("f", [1, 2])).tolist() == [1.0, 2.0]
    assert tdsl.tensor([np.array([1.0]), np.array([2.0])]).tolist() == [[1.0], [2.0]]
    with pytest.raises(TypeError, match="invalid data type 'bytes'"):
        tdsl.tensor(b"ab")


# --------------------------------------------------------------------------- NumPy


def test_numpy_shares() -> None:
    t = tdsl.arange(6.0).reshape(2, 3).t()
    a = t.numpy()
    a[0, 1] = 9
    assert t[0, 1] == 9 and a.strides == (4, 12) and memoryview(a).nbytes == 24
    assert np.asarray(t).ctypes.data == a.ctypes.data
    assert np.array(t).ctypes.data != a.ctypes.data
    assert np.asarray(t, np.float64).dtype == np.float64


def test_numpy_functions_give_tensors() -> None:
    """NumPy computes; Tensors come back without history, so a Tensor that requires grad is
    refused. A dtype that Tensors do not have stays an array."""
    t, a = tdsl.tensor([1.0, 2.0]), np.array([3, 4], np.float32)
    for got in (np.add(t, a), np.add(a, t)):
        assert isinstance(got, tdsl.Tensor) and got.tolist() == [4.0, 6.0]
    assert np.less(t, a).dtype is tdsl.bool
    assert type(np.add(t, 1, dtype=np.complex64)) is np.ndarray
    out = np.zeros(2, np.float32)
    assert np.exp(t, out=out) is out
    with pytest.raises(RuntimeError, match="Can't call numpy"):
        np.add(tdsl.ones(2, requires_grad=True), a)


def test_operators_with_arrays_are_the_tensor_s() -> None:
    w = tdsl.ones(2, requires_grad=True)
    for got in (np.array([2.0, 3.0], np.float32) * w, w * np.array([2.0, 3.0], np.float32)):
        assert got.requires_grad and got.tolist() == [2.0, 3.0]
    assert (np.float64(2) * w).dtype is tdsl.float32


# --------------------------------------------------------------------------- compiled functions


def test_compiled_functions_take_buffers(m: tdsl.Module) -> None:
    assert m.f(array.array("f", [1, 2]), 2.0) == 10.0
    assert m.f(memoryview(array.array("f", [1, 2])), 1.0) == 5.0


def test_compiled_functions_take_bfloat16_tensors(m: tdsl.Module) -> None:
    t = tdsl.tensor([1.5, 2.0], dtype=tdsl.bfloat16)
    assert m.halves(t).item() == 3.5 and m.wide(t).item() == 3.5
    with pytest.raises(TypeError, match=r"k must be i64\[n\], not a bfloat16 Tensor"):
        m.count(t)
    with pytest.raises(TypeError, match=r"x must be bf16\[n\], not a float32 Tensor"):
        m.halves(tdsl.ones(2))


# --------------------------------------------------------------------------- PyTorch


def test_pytorch_tensors(m: tdsl.Module) -> None:
    torch = pytest.importorskip("torch")
    x = torch.arange(6.0).reshape(2, 3)
    t = tdsl.as_tensor(x.t())
    t[0, 1] = 9.0
    assert x[1, 0] == 9 and t.stride() == (1, 3)
    assert torch.from_dlpack(t).data_ptr() == x.data_ptr()
    assert tdsl.tensor(x).data_ptr() != x.data_ptr()
    half = torch.tensor([1.5, 2.0], dtype=torch.bfloat16)
    assert tdsl.from_dlpack(half).dtype is tdsl.bfloat16
    assert torch.from_dlpack(tdsl.from_dlpack(half)).dtype is torch.bfloat16
    assert m.f(x[0], torch.tensor(2.0)) == 2 * float((x[0] ** 2).sum())
    assert m.halves(half) == 3.5 and m.wide(half) == 3.5
    with pytest.raises(TypeError, match="not a float32 array"):
        m.count(half)
    with pytest.raises(TypeError, match="require gradient"):
        m.f(torch.ones(2, requires_grad=True), 1.0)
    array, bits = array_from_capsule(capsule_from(x))
    assert array.ctypes.data == x.data_ptr() and not bits


WRAPPED = """
def loss(x: f64[n, d], w: f64[d], k: i64[n]) -> f64:
    return sum(tanh(x @ w) * f64(k))

def two(x: f32[n], s: f32) -> (f32[n], i64, f32):
    return sin(x) * s, argmax(x), sum(x * x)
"""


def test_compiled_functions_inside_pytorch() -> None:
    torch = pytest.importorskip("torch")
    m = tdsl.compile(WRAPPED)
    f = tdsl.torch.wrap(m.loss)
    x = torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    w = torch.randn(2, dtype=torch.float64, requires_grad=True)
    k = torch.tensor([1, 2, 3])
    assert torch.autograd.gradcheck(lambda x, w: f(x, w, k), (x, w))
    assert torch.autograd.gradgradcheck(lambda x, w: f(x, w, k), (x, w))
    assert f(x, w=w, k=k).grad_fn.name() == "LossBackward" and f.__name__ == "loss"

    y, s = torch.randn(3, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    a, position, total = tdsl.torch.wrap(m.two)(y, s)
    (a.sum() + total).backward()
    assert not position.requires_grad and position.dtype is torch.int64
    torch.testing.assert_close(y.grad, (2 * torch.cos(y) + 2 * y).detach())
    torch.testing.assert_close(s.grad, torch.sin(y).sum().detach())
    with pytest.raises(TypeError, match="a compiled function is wrapped, not int"):
        tdsl.torch.wrap(3)


def test_wrapping_without_pytorch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match="pip install torch"):
        tdsl.torch.wrap(tdsl.compile("def f(x: f32) -> f32:\n    return x\n").f)


def test_cuda_on_a_machine_without_it() -> None:
    assert not tdsl.cuda.is_available() and tdsl.cuda.device_count() == 0
    assert not tdsl.cuda.is_initialized() and tdsl.cuda.memory_allocated() == 0
    tdsl.cuda.manual_seed_all(1)
    for refused in (tdsl.cuda.current_device, tdsl.cuda.synchronize, tdsl.ones(1).cuda):
        with pytest.raises(AssertionError, match="not compiled with CUDA"):
            refused()
