"""Functions that are a row of the operator table and nothing more, as methods and functions.

In: the row's own parameters, by PyTorch's names. Out: Tensors. What has a rule of its own (a
different binding, an error that a row cannot know) stands in the other families.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from . import dtype as dt
from .core import TensorBase
from .inplace import inplace, scalar_name
from .operation import Operation, plain_number
from .pointwise import backward_name, binary, unary
from .views import axis_of, sizes_of

if TYPE_CHECKING:
    from .tensor import Tensor


def row(
    name: str,
    public: str | None = None,
    *,
    node: str | None = None,
    promotes: bool = False,
    apart: Sequence[str] = (),
) -> Callable[..., Any]:
    """The function of a row. `promotes`: its operands take a common dtype and broadcast, except
    those named in `apart`."""
    shown = public or name
    operation = Operation(name, node or backward_name(shown), promotes=promotes, apart=apart)

    def function(*args: Any, **kwargs: Any) -> Any:
        return operation(*args, **kwargs)

    function.__name__ = function.__qualname__ = shown
    function.__doc__ = f"`{shown}`: the row `{name}` of the operator table."
    return function


# --------------------------------------------------------------------------- choosing elements

_WHERE = Operation("where", "WhereBackward0", apart=("condition",))
_CLAMP = Operation("clamp", "ClampBackward1")
_CLAMP_TENSOR = Operation("clamp", "ClampBackward0")
_MASKED_FILL = Operation("masked_fill", "MaskedFillBackward0", promotes=True, apart=("mask", "value"))


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """`input` where `condition` holds, else `other`; of the condition alone, where it holds."""
    if input is None and other is None:
        return condition.nonzero(as_tuple=True)
    if not isinstance(condition, TensorBase):
        raise TypeError(
            f"where(): argument 'condition' (position 1) must be Tensor, not "
            f"{type(condition).__name__}"
        )
    if condition._kind.dtype not in (dt.bool_, dt.uint8):
        raise RuntimeError(
            "where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{scalar_name(condition._kind.dtype)}"
        )
    for value in (input, other):
        if not isinstance(value, TensorBase | bool | int | float) and (
            plain_number(value) is value
        ):
            raise TypeError(
                "where() received an invalid combination of arguments - got (Tensor, "
                f"{type(input).__name__}, {type(other).__name__})"
            )
    test = condition if condition._kind.dtype is dt.bool_ else condition.bool()  # type: ignore[attr-defined]
    return _WHERE.call((test, plain_number(input), plain_number(other)), ())


def _where_method(self: Tensor, condition: Tensor, other: Any) -> Tensor:
    """`self` where `condition` holds, else `other`."""
    return where(condition, self, other)  # type: ignore[no-any-return]


def clamp(self: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """The elements, none below `min` or above `max`."""
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None".replace(
            "torch", "tdsl"))  # fmt: skip
    tensors = isinstance(min, TensorBase) or isinstance(max, TensorBase)
    operation = _CLAMP_TENSOR if tensors else _CLAMP
    return operation.call((self, plain_number(min), plain_number(max)), ())  # type: ignore[no-any-return]


def clamp_min(self: Tensor, min: Any) -> Tensor:
    """The elements, none below `min`."""
    return clamp(self, min)


def clamp_max(self: Tensor, max: Any) -> Tensor:
    """The elements, none above `max`."""
    return clamp(self, None, max)


def masked_fill(self: Tensor, mask: Tensor, value: Any) -> Tensor:
    """`value` where `mask` holds."""
    if mask._kind.dtype is not dt.bool_:
        raise RuntimeError(
            "masked_fill_ only supports boolean masks, but got mask with dtype "
            f"{scalar_name(mask._kind.dtype)}"
        )
    if isinstance(value, TensorBase):
        if value._kind.rank:
            raise RuntimeError(
                "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value._kind.rank} dimension(s)."
            )
        value = value.to(self._kind.dtype)  # type: ignore[attr-defined]
    value = plain_number(value)
    if isinstance(value, float) and not self._kind.dtype.is_floating_point:
        raise RuntimeError(
            f"value cannot be converted to type {self._kind.dtype.name} without overflow"
        )
    return _MASKED_FILL.call((self, mask, value), ())  # type: ignore[no-any-return]


def masked_select(self: Tensor, mask: Tensor) -> Tensor:
    """The elements where `mask` holds, in one dim."""
    import numpy as np

    shape = np.broadcast_shapes(self._array.shape, mask._array.shape)
    return self.expand(shape)[mask.expand(shape)]


# --------------------------------------------------------------------------- by index

_GATHER, _SCATTER_ADD = Operation("gather", "GatherBackward0", promotes=False), Operation(
    "scatter_add", "ScatterAddBackward0", promotes=False
)
_INDEX_SELECT = Operation("index_select", "IndexSelectBackward0", promotes=False)
_SCATTER = Operation("scatter", "ScatterBackward0", promotes=False)
_INDEX_ADD = Operation("index_add", "IndexAddBackward0", promotes=False)
_TAKE = Operation("take_along_dim", "TakeAlongDimBackward0", promotes=False)


def _whole(name: str, index: Tensor) -> None:
    if index._kind.dtype not in (dt.int64, dt.int32):
        raise RuntimeError(f"{name}(): Expected dtype int64 for index")


def _inside(name: str, self: Tensor, axis: int, index: Tensor) -> None:
    """Refuse an index outside a dim, also below 0."""
    array = index._array
    n = self._array.shape[axis] if self._kind.rank else 1
    if array.size and (array.min() < 0 or array.max() >= n):
        bad = array[(array < 0) | (array >= n)].flat[0]
        raise RuntimeError(
            f"index {int(bad)} is out of bounds for dimension {axis} with size {n}"
        )


def gather(self: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """`out[i, j] = self[index[i, j], j]` (for dim 0)."""
    axis = axis_of(dim, self._kind.rank)
    _whole("gather", index)
    if index._kind.rank != self._kind.rank:
        raise RuntimeError(
            "Index tensor must have the same number of dimensions as input tensor"
        )
    for k, (n, m) in enumerate(zip(index._array.shape, self._array.shape, strict=True)):
        if k != axis and n > m:
            raise RuntimeError(
                f"Size does not match at dimension {k} expected index "
                f"{list(index._array.shape)} to be no larger than self "
                f"{list(self._array.shape)} apart from dimension {axis}"
            )
    _inside("gather", self, axis, index)
    if any(n < m for k, (n, m) in enumerate(zip(index._array.shape, self._array.shape, strict=True))
           if k != axis):  # fmt: skip
        for k, n in enumerate(index._array.shape):
            if k != axis:
                self = self.narrow(k, 0, n)
    return _GATHER.call((self, index), (axis,))  # type: ignore[no-any-return]


def scatter_add(self: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """`self` with `out[index[i, j], j] += src[i, j]` (for dim 0)."""
    axis = axis_of(dim, self._kind.rank)
    _whole("scatter", index)
    _same_dtype("scatter", self, src)
    _inside("scatter", self, axis, index)
    if src._array.shape != index._array.shape:
        for k, n in enumerate(index._array.shape):
            if n > src._array.shape[k]:
                raise RuntimeError(
                    f"Expected index {list(index._array.shape)} to be no larger than self "
                    f"{list(self._array.shape)} apart from dimension {axis} and to be no larger "
                    f"size than src {list(src._array.shape)}"
                )
            src = src.narrow(k, 0, n)
    return _SCATTER_ADD.call((self, index, src), (axis,))  # type: ignore[no-any-return]


def _same_dtype(name: str, self: Tensor, other: Tensor) -> None:
    if self._kind.dtype is not other._kind.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")


def scatter(self: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None) -> Tensor:
    """`self` with `out[index[i, j], j] = src[i, j]` (for dim 0); the last of several counts."""
    from .indexing import put

    axis = axis_of(dim, self._kind.rank)
    _whole("scatter", index)
    source = src if src is not None else value
    _inside("scatter", self, axis, index)
    import numpy as np

    at: list[Any] = list(np.ogrid[tuple(slice(n) for n in index._array.shape)])
    at[axis] = index._array
    out = self.clone()
    if isinstance(source, TensorBase):
        _same_dtype("scatter", self, source)  # type: ignore[arg-type]
        for k, n in enumerate(index._array.shape):
            source = source.narrow(k, 0, n)  # type: ignore[attr-defined]
    else:
        from .creation import tensor

        source = tensor(source, dtype=self._kind.dtype)
    put(out, out, tuple(at), source, accumulate=False)
    return out


def index_select(self: Tensor, dim: int, index: Tensor) -> Tensor:
    """The parts along a dim at `index`."""
    axis = axis_of(dim, self._kind.rank)
    _whole("index_select", index)
    if index._kind.rank > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    array = index._array
    n = self._array.shape[axis] if self._kind.rank else 1
    if array.size and (array.min() < 0 or array.max() >= n):
        raise IndexError("index out of range in self")
    at = index.reshape(-1)
    if not self._kind.rank:
        return self.clone()
    return _INDEX_SELECT.call((self, at), (axis,))  # type: ignore[no-any-return]


def index_add(self: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """`self` with the parts of `source` along a dim added at `index`."""
    axis = axis_of(dim, self._kind.rank)
    _whole("index_add", index)
    _inside("index_add", self, axis, index)
    given = source if alpha == 1 else source * alpha
    return _INDEX_ADD.call((self, index, given), (axis, 1))  # type: ignore[no-any-return]


def index_put(self: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """`self` with `values` written (or added) at advanced indices."""
    out = self.clone()
    return index_put_(out, indices, values, accumulate)


def index_put_(self: Tensor, indices: Any, values: Tensor, accumulate: bool = False) -> Tensor:
    """Write (or add) `values` at advanced indices."""
    from .indexing import _basic_part, _index, _parsed, put
    from .inplace import check_writable

    check_writable(self)
    _same_dtype("index_put", self, values)
    entries, arrays = _parsed(self, tuple(indices))
    assert arrays is not None
    target, advanced = _basic_part(self, entries, arrays)
    put(self, target, _index(advanced), values, accumulate)
    return self


def index_fill(self: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """`self` with `value` at `index` along a dim."""
    import numpy as np

    axis = axis_of(dim, self._kind.rank)
    _whole("index_fill", index)
    mask = np.zeros(self._array.shape, np.bool_)
    mask[(slice(None),) * axis + (index._array,)] = True
    from .core import kind, wrap

    return masked_fill(self, wrap(mask, kind(dt.bool_, mask.ndim)), value)


def take_along_dim(self: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """`gather` with broadcasting."""
    import numpy as np

    if indices._kind.dtype is not dt.int64:
        raise RuntimeError(
            "torch.take_along_dim(): dtype of indices should be Long but got "
            f"{scalar_name(indices._kind.dtype)}".replace("torch", "tdsl")
        )
    if dim is None:
        return gather(self.reshape(-1), 0, indices.reshape(-1))
    axis = axis_of(dim, self._kind.rank)
    if indices._kind.rank != self._kind.rank:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, "
            f"but got {self._kind.rank} dimensions for input, and {indices._kind.rank} dimensions "
            "for indices".replace("torch", "tdsl")
        )
    a, b = list(self._array.shape), list(indices._array.shape)
    na, nb = a[axis], b[axis]
    a[axis] = b[axis] = 1
    shape = list(np.broadcast_shapes(tuple(a), tuple(b)))
    whole, picked = list(shape), list(shape)
    whole[axis], picked[axis] = na, nb
    return gather(self.expand(whole), axis, indices.expand(picked))


def take(self: Tensor, index: Tensor) -> Tensor:
    """The elements of the flattened Tensor at `index`."""
    return self.reshape(-1)[index]


# --------------------------------------------------------------------------- rearranged

_FLIP = Operation("flip", "FlipBackward0", promotes=False)
_ROLL = Operation("roll", "RollBackward0", promotes=False)
_REPEAT = Operation("repeat", "RepeatBackward0", promotes=False)
_TRIL, _TRIU = Operation("tril", "TrilBackward0", promotes=False), Operation(
    "triu", "TriuBackward0", promotes=False
)


def flip(self: Tensor, *dims: Any) -> Tensor:
    """The elements in reverse order along dims."""
    axes = tuple(axis_of(d, self._kind.rank) for d in sizes_of(dims))
    if len(set(axes)) < len(axes):
        raise RuntimeError(f"dim {axes[0]} appears multiple times in the list of dims")
    return _FLIP.call((self,), (axes,)) if axes else self.clone()  # type: ignore[no-any-return]


def roll(self: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """The elements moved along dims, those that leave coming in again."""
    by = tuple(shifts) if isinstance(shifts, tuple | list) else (shifts,)
    if dims is None or dims == ():
        return roll(self.reshape(-1), by, (0,)).reshape(self._array.shape)
    along = tuple(dims) if isinstance(dims, tuple | list) else (dims,)
    if len(by) != len(along):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(by)}, dims:{len(along)}")
    out = self
    for s, d in zip(by, along, strict=True):  # a roll is two slices exchanged
        axis = axis_of(d, self._kind.rank)
        n = self._array.shape[axis]
        k = s % n if n else 0
        from .joining import cat

        out = cat([out.narrow(axis, n - k, k), out.narrow(axis, 0, n - k)], axis)
    return out


def repeat(self: Tensor, *repeats: Any) -> Tensor:
    """The Tensor laid out several times along every dim."""
    counts = sizes_of(repeats)
    rank = self._kind.rank
    if len(counts) < rank:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    if any(n < 0 for n in counts):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(counts)}")
    shape = (1,) * (len(counts) - rank) + self._array.shape
    wide = self.reshape([s for n in shape for s in (1, n)])
    laid = wide.expand([s for r, n in zip(counts, shape, strict=True) for s in (r, n)])
    whole = laid.contiguous() if laid._array.size > self._array.size else laid.clone()
    return whole.reshape([r * n for r, n in zip(counts, shape, strict=True)])


def tile(self: Tensor, *dims: Any) -> Tensor:
    """`repeat`, with leading dims left out."""
    counts = sizes_of(dims)
    return repeat(self, (1,) * (self._kind.rank - len(counts)) + counts)


def repeat_interleave(self: Tensor, repeats: Any, dim: int | None = None) -> Tensor:
    """Every element several times in a row, along a dim."""
    if dim is None:
        return repeat_interleave(self.reshape(-1), repeats, 0)
    axis = axis_of(dim, self._kind.rank)
    import numpy as np

    from .core import kind, wrap

    n = self._array.shape[axis]
    counts = repeats._array if isinstance(repeats, TensorBase) else np.full(n, repeats)
    at = np.repeat(np.arange(n), np.broadcast_to(counts, (n,)))
    return index_select(self, axis, wrap(at.astype(np.int64), kind(dt.int64, 1)))


def tril(self: Tensor, diagonal: int = 0) -> Tensor:
    """The elements on and below a diagonal of the last two dims, 0 elsewhere."""
    return _triangle(self, diagonal, _TRIL, "tril")


def triu(self: Tensor, diagonal: int = 0) -> Tensor:
    """The elements on and above a diagonal of the last two dims, 0 elsewhere."""
    return _triangle(self, diagonal, _TRIU, "triu")


def _triangle(self: Tensor, diagonal: int, operation: Operation, name: str) -> Tensor:
    if self._kind.rank < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions")
    return operation.call((self,), (diagonal,))  # type: ignore[no-any-return]


def diag(self: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or a matrix with a vector on its diagonal."""
    if self._kind.rank == 2:
        return self.diagonal(diagonal).clone()
    if self._kind.rank != 1:
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {self._kind.rank}D")
    return _DIAG.call((self,), (diagonal,))  # type: ignore[no-any-return]


_DIAG = Operation("diag", "DiagEmbedBackward0", promotes=False)


def trace(self: Tensor) -> Tensor:
    """The sum of a matrix' diagonal."""
    if self._kind.rank != 2:
        raise RuntimeError("trace: expected a matrix")
    return self.diagonal().sum()


# --------------------------------------------------------------------------- along a dim

_SOFTMAX = Operation("softmax", "SoftmaxBackward0", promotes=False)
_LOG_SOFTMAX = Operation("log_softmax", "LogSoftmaxBackward0", promotes=False)


def _along(self: Tensor, dim: Any, dtype: Any, operation: Operation, name: str) -> Tensor:
    x = self if dtype is None else self.to(dtype)
    if not x._kind.dtype.is_floating_point:
        raise NotImplementedError(
            f'"{name}_lastdim_kernel_impl" not implemented for '
            f"'{scalar_name(x._kind.dtype)}'"
        )
    if not x._kind.rank:
        axis_of(dim, 0)
        return operation.call((x.reshape(1),), (0,)).reshape(())  # type: ignore[no-any-return]
    return operation.call((x,), (axis_of(dim, x._kind.rank),))  # type: ignore[no-any-return]


def softmax(self: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """`exp(x) / sum(exp(x))` along a dim, without overflow."""
    return _along(self, dim, dtype, _SOFTMAX, "softmax")


def log_softmax(self: Tensor, dim: int, dtype: Any = None) -> Tensor:
    """The logarithm of `softmax`, computed as such."""
    return _along(self, dim, dtype, _LOG_SOFTMAX, "log_softmax")


# --------------------------------------------------------------------------- norms

_NORMS = Operation("norm", "LinalgVectorNormBackward0", promotes=False)


def norm(self: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False,
         dtype: Any = None) -> Tensor:  # fmt: skip
    """The p-norm over dims; "fro" and None are 2."""
    from .reductions import dims_of

    x = self if dtype is None else self.to(dtype)
    if not x._kind.dtype.is_floating_point:
        raise RuntimeError(
            "linalg.vector_norm: Expected a floating point or complex tensor as input. Got "
            f"{scalar_name(x._kind.dtype)}"
        )
    order = 2 if p in ("fro", None) else p
    return _NORMS.call((x,), (dims_of(dim, x._kind.rank), keepdim, order))  # type: ignore[no-any-return]


# --------------------------------------------------------------------------- pointwise

_ROUND, _LERP = row("round", promotes=True), row("lerp", promotes=True)


def round(self: Tensor, *, decimals: int = 0) -> Tensor:
    """To the nearest whole number (ties to even), or that many decimals."""
    if not self._kind.dtype.is_floating_point:
        return self.clone()
    return _ROUND(self, decimals)  # type: ignore[no-any-return]


def lerp(self: Tensor, end: Tensor, weight: Any) -> Tensor:
    """`self + weight * (end - self)`."""
    for name, x in (("end", end), ("weight", weight)):
        if isinstance(x, TensorBase) and x._kind.dtype is not self._kind.dtype:
            raise RuntimeError(
                f"expected dtype {self._kind.dtype.name} for `{name}` but got dtype "
                f"{x._kind.dtype.name}"
            )
    return _LERP(self, end, weight)  # type: ignore[no-any-return]


# --------------------------------------------------------------------------- comparing all


def equal(self: Tensor, other: Tensor) -> bool:
    """Whether shape and all elements are equal."""
    return self._array.shape == other._array.shape and bool(self.eq(other).all().item())


def allclose(self: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8,
             equal_nan: bool = False) -> bool:  # fmt: skip
    """Whether `|self - other| <= atol + rtol * |other|` for all elements."""
    return bool(isclose(self, other, rtol, atol, equal_nan).all().item())


def isclose(self: Tensor, other: Tensor, rtol: float = 1e-5, atol: float = 1e-8,
            equal_nan: bool = False) -> Tensor:  # fmt: skip
    """`|self - other| <= atol + rtol * |other|` for every element."""
    if self._kind.dtype is not other._kind.dtype:
        raise RuntimeError(
            f"{scalar_name(self._kind.dtype)} did not match {scalar_name(other._kind.dtype)}"
        )
    a, b = self.detach(), other.detach()
    near = a.eq(b) | ((a - b).abs().le(b.abs() * rtol + atol) & b.isfinite() & a.isfinite())
    return near | (a.isnan() & b.isnan()) if equal_nan else near


_NOT = Operation("bitwise_not", "NotDifferentiable")


def bitwise_not(self: Tensor) -> Tensor:
    """Every bit turned round; of bools `not`."""
    if self._kind.dtype.is_floating_point:
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return _NOT.unary(self)


def _bits(name: str, kernel: str) -> Callable[..., Any]:
    """A bitwise function of two operands: of integers and bools only."""
    function = binary(name)

    def checked(self: Any, other: Any) -> Tensor:
        for x in (self, other):
            if isinstance(x, float) or (
                isinstance(x, TensorBase) and x._kind.dtype.is_floating_point
            ):
                shown = scalar_name(x._kind.dtype) if isinstance(x, TensorBase) else "Float"
                raise NotImplementedError(f'"{kernel}" not implemented for \'{shown}\'')
        return function(self, other)  # type: ignore[no-any-return]

    checked.__name__ = checked.__qualname__ = name
    checked.__doc__ = function.__doc__
    return checked


class RowMethods(TensorBase):
    """Rows as methods."""

    __slots__ = ()

    where, clamp, clip, clamp_min, clamp_max = _where_method, clamp, clamp, clamp_min, clamp_max
    masked_fill, masked_select = masked_fill, masked_select
    gather, scatter_add, scatter, index_select = gather, scatter_add, scatter, index_select
    index_add, index_put, index_put_, index_fill = index_add, index_put, index_put_, index_fill
    take_along_dim, take = take_along_dim, take
    flip, roll, repeat, tile, repeat_interleave = flip, roll, repeat, tile, repeat_interleave
    tril, triu, diag, trace = tril, triu, diag, trace
    softmax, log_softmax, norm = softmax, log_softmax, norm
    equal, allclose, isclose = equal, allclose, isclose

    round, lerp = round, lerp
    addcmul, addcdiv = row("addcmul", promotes=True), row("addcdiv", promotes=True)
    nan_to_num, copysign = row("nan_to_num", promotes=True), row("copysign", promotes=True)
    heaviside, fmax, fmin = binary("heaviside"), binary("fmax"), binary("fmin")
    isposinf, isneginf, signbit = unary("isposinf"), unary("isneginf"), unary("signbit")
    logaddexp2, erfinv = binary("logaddexp2"), unary("erfinv")
    logit = row("logit", promotes=True)
    nansum, nanmean = row("nansum"), row("nanmean")
    count_nonzero = row("count_nonzero")

    bitwise_and = _bits("bitwise_and", "bitwise_and_cpu")
    bitwise_or = _bits("bitwise_or", "bitwise_or_cpu")
    bitwise_xor, bitwise_not = _bits("bitwise_xor", "bitwise_xor_cpu"), bitwise_not
    bitwise_left_shift = _bits("bitwise_left_shift", "lshift_cpu")
    bitwise_right_shift = _bits("bitwise_right_shift", "rshift_cpu")
    __and__ = __rand__ = bitwise_and
    __or__ = __ror__ = bitwise_or
    __xor__ = __rxor__ = bitwise_xor
    __invert__ = bitwise_not
    __lshift__, __rshift__ = bitwise_left_shift, bitwise_right_shift

    clamp_, clip_ = inplace(clamp, "clamp_"), inplace(clamp, "clip_")
    clamp_min_, clamp_max_ = inplace(clamp_min, "clamp_min_"), inplace(clamp_max, "clamp_max_")
    masked_fill_ = inplace(masked_fill, "masked_fill_")
    scatter_add_, scatter_ = inplace(scatter_add, "scatter_add_"), inplace(scatter, "scatter_")
    index_add_, index_fill_ = inplace(index_add, "index_add_"), inplace(index_fill, "index_fill_")
    lerp_, addcmul_ = inplace(lerp, "lerp_"), inplace(addcmul, "addcmul_")
    addcdiv_, round_ = inplace(addcdiv, "addcdiv_"), inplace(round, "round_")
    tril_, triu_ = inplace(tril, "tril_"), inplace(triu, "triu_")
    bitwise_and_, bitwise_or_ = (
        inplace(bitwise_and, "bitwise_and_"), inplace(bitwise_or, "bitwise_or_"),
    )  # fmt: skip
    __iand__, __ior__ = bitwise_and_, bitwise_or_
    __ixor__ = inplace(bitwise_xor, "bitwise_xor_")
