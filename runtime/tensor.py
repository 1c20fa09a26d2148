"""A first Tensor: an array that can require gradients and remember how it came about.

In: NumPy arrays, Python numbers, nested lists. Out: `Tensor`, with the eight main attributes of
PyTorch's tensor (data, dtype, shape, device, requires_grad, grad, grad_fn, is_leaf), their rules
and messages, and `backward`. Compiled functions make the results (`autograd`); operations between
Tensors are not here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .autograd import Node


class dtype:
    """An element type: `tdsl.float32` and its like."""

    __slots__ = ("is_floating_point", "name", "numpy")

    def __init__(self, name: str) -> None:
        self.name = name
        self.numpy = np.dtype(name)
        self.is_floating_point = self.numpy.kind == "f"

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return int(self.numpy.itemsize)

    def __repr__(self) -> str:
        return f"tdsl.{self.name}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _dtype_named, (self.name,)


float16, float32, float64 = dtype("float16"), dtype("float32"), dtype("float64")
int8, int16, int32, int64 = dtype("int8"), dtype("int16"), dtype("int32"), dtype("int64")
uint8, bool_ = dtype("uint8"), dtype("bool")
_DTYPES = {d.numpy: d for d in (float16, float32, float64, int8, int16, int32, int64, uint8, bool_)}


def _dtype_named(name: str) -> dtype:
    return _DTYPES[np.dtype(name)]


class device:
    """Where a Tensor's elements are; only `cpu` yet."""

    __slots__ = ("index", "type")

    def __init__(self, type: str = "cpu", index: int | None = None) -> None:
        if type != "cpu":
            raise RuntimeError(f"there is no device {type!r} here: only 'cpu'")
        self.type, self.index = type, index

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))


_CPU = device("cpu")


class Size(tuple[int, ...]):
    """A shape."""

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements."""
        return int(np.prod(self, dtype=np.int64))

    def __repr__(self) -> str:
        return f"tdsl.Size([{', '.join(map(str, self))}])"


# --------------------------------------------------------------------------- gradient mode

_grad_enabled: ContextVar[bool] = ContextVar("tdsl gradient mode", default=True)


def is_grad_enabled() -> bool:
    """Whether calls record what backward needs."""
    return _grad_enabled.get()


@contextmanager
def no_grad() -> Iterator[None]:
    """Within it, results have `requires_grad` False. A context manager and a decorator."""
    token = _grad_enabled.set(False)
    try:
        yield
    finally:
        _grad_enabled.reset(token)


# --------------------------------------------------------------------------- the Tensor


class Tensor:
    """An n-dimensional array with a gradient history. Made by `tdsl.tensor`."""

    __slots__ = ("__weakref__", "_array", "_grad", "_grad_fn", "_output", "_requires_grad")

    def __init__(
        self,
        array: np.ndarray[Any, Any],
        requires_grad: bool = False,
        grad_fn: Node | None = None,
        output: int = 0,
    ) -> None:
        if array.dtype not in _DTYPES:
            raise TypeError(f"a Tensor cannot hold elements of type {array.dtype}")
        self._array = array
        self._grad: Tensor | None = None
        self._grad_fn = grad_fn
        self._output = output  # which output of grad_fn this is
        self._requires_grad = grad_fn is not None
        if requires_grad:
            self.requires_grad = True

    @property
    def data(self) -> Tensor:
        """The same storage without gradient history."""
        return Tensor(self._array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._requires_grad and not value.dtype.is_floating_point:
            raise RuntimeError(
                "data set to a tensor that requires gradients must be floating point"
            )
        self._array = value._array

    @property
    def dtype(self) -> dtype:
        """The element type."""
        return _DTYPES[self._array.dtype]

    @property
    def shape(self) -> Size:
        """The sizes of the dims."""
        return Size(self._array.shape)

    @property
    def device(self) -> device:
        """Where the elements are."""
        return _CPU

    @property
    def requires_grad(self) -> bool:
        """Whether backward reaches this Tensor."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if value and not self.dtype.is_floating_point:
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients"
            )
        if not value and self._grad_fn is not None:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        self._requires_grad = bool(value)

    @property
    def grad(self) -> Tensor | None:
        """The gradients accumulated so far; None before the first backward pass."""
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type "
                    f"{type(value).__name__}"
                )
            if value.dtype is not self.dtype:
                raise RuntimeError(
                    f"assigned grad has data of a different type: expected {self.dtype}, got "
                    f"{value.dtype}"
                )
            if value.shape != self.shape:
                raise RuntimeError("assigned grad has data of a different size")
        self._grad = value

    @property
    def grad_fn(self) -> Node | None:
        """The node that made this Tensor; None on leaves."""
        return self._grad_fn

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it, or no gradient flows through it."""
        return self._grad_fn is None

    @property
    def ndim(self) -> int:
        """The number of dims."""
        return self._array.ndim

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` and return this Tensor."""
        self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """A Tensor that shares the storage and has no history."""
        return Tensor(self._array)

    def backward(self, gradient: Tensor | None = None, retain_graph: bool = False) -> None:
        """Add the gradient of this Tensor to `grad` of every leaf that it depends on.

        `gradient` is the cotangent, of this Tensor's shape; it may be left out for a scalar.
        Raises RuntimeError where there is nothing to differentiate, where `gradient` is missing
        or of the wrong shape, and on a second pass without `retain_graph`.
        """
        from .autograd import backward

        backward(self, gradient, retain_graph)

    def numpy(self) -> np.ndarray[Any, Any]:
        """The storage as an array, shared."""
        if self._requires_grad:
            raise RuntimeError(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        return self._array

    def item(self) -> Any:
        """The value of a Tensor with one element, as a Python number."""
        if self._array.size != 1:
            raise RuntimeError(
                f"a Tensor with {self._array.size} elements cannot be converted to Scalar"
            )
        return self._array.item()

    def tolist(self) -> Any:
        """The elements as nested lists."""
        return self._array.tolist()

    def size(self, dim: int | None = None) -> Size | int:
        """`shape`, or the size of one dim."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """The number of dims."""
        return self._array.ndim

    def numel(self) -> int:
        """The number of elements."""
        return int(self._array.size)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __len__(self) -> int:
        if self._array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return len(self._array)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self._array.size != 1:
            raise RuntimeError(
                "Boolean value of Tensor with more than one value is ambiguous"
                if self._array.size
                else "Boolean value of Tensor with no values is ambiguous"
            )
        return bool(self._array.item())

    def __repr__(self) -> str:
        text = np.array2string(
            self._array, separator=", ", precision=4, floatmode="maxprec_equal", prefix="tensor("
        )
        extra = ""
        if self.dtype not in (float32, int64, bool_):
            extra += f", dtype={self.dtype}"
        if self._grad_fn is not None:
            extra += f", grad_fn=<{self._grad_fn.name()}>"
        elif self._requires_grad:
            extra += ", requires_grad=True"
        return f"tensor({text}{extra})"


def tensor(data: Any, *, dtype: dtype | None = None, requires_grad: bool = False) -> Tensor:
    """A new leaf Tensor with a copy of `data` (numbers, nested lists, arrays).

    Python floats become float32 and Python ints int64 unless `dtype` says otherwise; an array
    keeps its dtype. Raises RuntimeError where `requires_grad` meets a dtype without gradients.
    """
    if isinstance(data, Tensor):
        data = data._array
    array = np.array(data)
    if not isinstance(data, np.ndarray | np.generic) and array.dtype == np.float64:
        array = array.astype(np.float32)
    if dtype is not None:
        array = array.astype(dtype.numpy)
    elif array.dtype.byteorder in "<>":
        array = array.astype(array.dtype.newbyteorder("="))
    return Tensor(array, requires_grad)
