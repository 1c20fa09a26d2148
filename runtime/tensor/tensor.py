"""The Tensor: PyTorch's attributes, their rules and messages; its methods come from the families.

In: what `creation` lays down and operations compute. Out: the class. The rules that are stated
here: who is a leaf, what may be set, what is refused.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from . import core, entries
from . import device as dv
from . import dtype as dt
from .conversion import ConversionMethods, readable
from .core import INFERENCE, TensorBase, kind, wrap
from .creation_methods import CreationMethods
from .hooks import Hooks, RemovableHandle, register
from .indexing import getitem, setitem
from .inplace import check_writable, copied, overwrite, scalar_name
from .interop import InteropMethods
from .modes import mode
from .ordering import OrderMethods
from .parts import PartMethods
from .pickling import PicklingMethods
from .pointwise import PointwiseMethods
from .products import ProductMethods
from .random_filling import RandomMethods
from .reductions import ReductionMethods
from .row_functions import RowMethods
from .size import Size
from .storage import TypedStorage, UntypedStorage, address, owner
from .tape import Node, grad_fn_of, needs_grad
from .view_methods import ViewMethods
from .views import axis_of, view_of


class Tensor(
    PointwiseMethods,
    ReductionMethods,
    ProductMethods,
    RowMethods,
    OrderMethods,
    RandomMethods,
    ViewMethods,
    PartMethods,
    CreationMethods,
    ConversionMethods,
    InteropMethods,
    PicklingMethods,
):
    """An n-dimensional array that can require gradients and remembers how it came about.

    Made by `tdsl.tensor` and its like, and by operations; `Tensor(sizes)` and `Tensor(list)` make
    one of the default dtype.
    """

    __slots__ = ()

    def __new__(cls, *args: Any, **kwargs: Any) -> Tensor:
        from .creation import empty, tensor

        device = kwargs.pop("device", None)
        if device is not None:
            dv.require(device)
        if not args:
            made = empty(0)
        elif len(args) == 1 and isinstance(args[0], TensorBase):
            made = args[0].detach()  # type: ignore[attr-defined]
        elif len(args) == 1 and not isinstance(args[0], int | Size):
            made = tensor(args[0], dtype=dt.get_default_dtype())
        else:
            made = empty(*args)
        if cls is Tensor:
            return made
        out: Tensor = object.__new__(cls)
        core.initialize(out, made._array, made._kind)
        return out

    # ----------------------------------------------------------------------- the eight

    @property
    def data(self) -> Tensor:
        """The same storage without history: writing through it is not noticed by autograd."""
        out = wrap(self._array, self._kind)
        return out

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, TensorBase):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._requires_grad and not value._kind.dtype.is_floating_point:
            raise RuntimeError(
                "data set to a tensor that requires gradients must be floating point or complex "
                "dtype"
            )
        self._array, self._kind = value._array, value._kind

    @property
    def dtype(self) -> dt.dtype:
        """The element type."""
        return self._kind.dtype

    @property
    def shape(self) -> Size:
        """The sizes of the dims."""
        return Size.of(self._array.shape)

    @property
    def device(self) -> dv.device:
        """Where the elements are."""
        return dv.CPU

    @property
    def requires_grad(self) -> bool:
        """Whether a backward pass reaches this Tensor."""
        return needs_grad(self)

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        if not isinstance(value, bool):
            raise TypeError(
                "requires_grad_(): argument 'requires_grad' (position 1) must be bool, not "
                f"{type(value).__name__}"
            )
        if self._grad_fn is not None:
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        if value and not self._kind.dtype.is_floating_point:
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients"
            )
        if value and self._counter is INFERENCE and not mode.inference:
            raise RuntimeError(
                "Setting requires_grad=True on inference tensor outside InferenceMode is not "
                "allowed."
            )
        self._requires_grad = bool(value)

    @property
    def grad(self) -> Tensor | None:
        """The gradients accumulated so far; None before the first backward pass."""
        state = self._leaf
        if self._grad_fn is not None and (state is None or not state.retains_grad):
            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its "
                ".grad attribute won't be populated during autograd.backward(). If you indeed want "
                "the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the "
                "non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you "
                "access the leaf Tensor instead.",
                UserWarning,
                stacklevel=2,
            )
        return None if state is None else state.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, TensorBase):
                raise TypeError(
                    "assigned grad expected to be a Tensor or None but got grad of type "
                    f"{type(value).__name__}"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._kind.dtype is not self._kind.dtype:
                raise RuntimeError(
                    "attempting to assign a gradient with dtype "
                    f"'{scalar_name(value._kind.dtype)}' to a tensor with dtype "
                    f"'{scalar_name(self._kind.dtype)}'. The gradient must match the tensor's "
                    "dtype."
                )
            if value._array.shape != self._array.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(value._array.shape)}' to a "
                    f"tensor of size '{list(self._array.shape)}'. Please ensure that the gradient "
                    "and the tensor are the same size"
                )
        if value is not None or self._leaf is not None:
            core.leaf_state(self).grad = value

    @grad.deleter
    def grad(self) -> None:
        if self._leaf is not None:
            self._leaf.grad = None

    @property
    def grad_fn(self) -> Node | None:
        """The step that made this Tensor; None on leaves."""
        return grad_fn_of(self)

    @property
    def is_leaf(self) -> bool:
        """Whether the user made it, or no gradient flows through it."""
        return grad_fn_of(self) is None

    # ----------------------------------------------------------------------- layout

    @property
    def ndim(self) -> int:
        """The number of dims."""
        return self._kind.rank

    def dim(self) -> int:
        """The number of dims."""
        return self._kind.rank

    ndimension = dim

    def size(self, dim: int | None = None) -> Any:
        """`shape`, or the size of one dim."""
        if dim is None:
            return Size.of(self._array.shape)
        if not self._kind.rank:
            axis_of(dim, 0)
            raise IndexError(f"dimension specified as {dim} but tensor has no dimensions")
        return self._array.shape[axis_of(dim, self._kind.rank)]

    def numel(self) -> int:
        """The number of elements."""
        return int(self._array.size)

    nelement = numel

    def stride(self, dim: int | None = None) -> Any:
        """How many elements lie between neighbours along every dim, or one."""
        array = self._array
        strides = _strides(array)
        return strides if dim is None else strides[axis_of(dim, array.ndim)]

    def storage_offset(self) -> int:
        """How many elements of the storage come before the first."""
        array = self._array
        if not array.size:
            return 0
        return (address(array) - address(owner(array))) // array.itemsize

    def data_ptr(self) -> int:
        """The address of the first element."""
        return address(self._array) if self._array.size else 0

    def element_size(self) -> int:
        """Bytes of an element."""
        return self._kind.dtype.itemsize

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return self._kind.dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return int(self._array.nbytes)

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements are dense and in order."""
        return bool(self._array.flags.c_contiguous)

    def untyped_storage(self) -> UntypedStorage:
        """The memory under this Tensor and its views."""
        return UntypedStorage(self._array)

    def storage(self) -> TypedStorage:
        """The memory under this Tensor and its views, as elements."""
        return TypedStorage(self._array, self._kind.dtype)

    def is_floating_point(self) -> bool:
        """Whether the dtype is a float."""
        return self._kind.dtype.is_floating_point

    def is_complex(self) -> bool:
        """False: there are no complex dtypes yet."""
        return False

    def is_signed(self) -> bool:
        """Whether the dtype has negative values."""
        return self._kind.dtype.is_signed

    def is_same_size(self, other: Tensor) -> bool:
        """Whether the shapes are equal."""
        return bool(self._array.shape == other._array.shape)

    def get_device(self) -> int:
        """The index of the CUDA device; -1 on the CPU."""
        return -1

    def is_inference(self) -> bool:
        """Whether it was made in inference mode."""
        return self._counter is INFERENCE

    is_cuda = is_sparse = is_quantized = is_mps = is_meta = False
    is_cpu = True
    names: Any = property(lambda self: (None,) * self._kind.rank)

    @property
    def layout(self) -> str:
        """`tdsl.strided`: all Tensors are."""
        return "tdsl.strided"

    @property
    def _base(self) -> Tensor | None:
        return None if self._view is None else self._view.base

    def _is_view(self) -> bool:
        return self._view is not None

    @property
    def _version(self) -> int:
        """How often the storage was written in place. Raises RuntimeError for an inference
        Tensor."""
        if self._counter is INFERENCE:
            raise RuntimeError("Inference tensors do not track version counter.")
        return 0 if self._counter is None else self._counter.value

    @property
    def output_nr(self) -> int:
        """Which result of `grad_fn` this is."""
        return self._output_nr

    @property
    def real(self) -> Tensor:
        """The real part: itself."""
        return self

    # ----------------------------------------------------------------------- reverse mode

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` and return this Tensor."""
        if requires_grad is not True or self._grad_fn is None:
            self.requires_grad = requires_grad
        return self

    def detach(self) -> Tensor:
        """A Tensor over the same storage without history; writing through it is noticed."""
        out = view_of(self, self._array)
        out._view = None
        return out

    def detach_(self) -> Tensor:
        """Forget the history."""
        if self._view is not None:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._grad_fn, self._output_nr, self._requires_grad = None, 0, False
        return self

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Add the gradient of this Tensor to `grad` of every leaf it depends on, or of `inputs`.

        `gradient` is the cotangent, of this Tensor's shape; it may be left out for one element.
        Raises RuntimeError where there is nothing to differentiate, where `gradient` is missing
        or of the wrong shape, and on a second pass without `retain_graph`.
        """
        entries.backward(self, None if gradient is None else [gradient], retain_graph, create_graph,
                        inputs)  # fmt: skip

    def retain_grad(self) -> None:
        """Keep the gradient of a Tensor that is no leaf in its `grad`."""
        if not needs_grad(self):
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        node = grad_fn_of(self)
        if node is None:
            return
        core.leaf_state(self).retains_grad = True
        node.retain(self._output_nr, self)

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called (False on leaves)."""
        return self._leaf is not None and self._leaf.retains_grad

    def register_hook(self, hook: Any) -> RemovableHandle:
        """`hook(grad)` is called when this Tensor's gradient is complete; what it returns, if not
        None, replaces it."""
        if not needs_grad(self):
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        node = grad_fn_of(self)
        if node is not None:
            return node.register_tensor_hook(self._output_nr, hook)
        return register(self._leaf_hooks().tensor, hook)

    def register_post_accumulate_grad_hook(self, hook: Any) -> RemovableHandle:
        """`hook(tensor)` is called after this leaf's `grad` was added to."""
        if not needs_grad(self):
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if grad_fn_of(self) is not None:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        return register(self._leaf_hooks().post, hook)

    def _leaf_hooks(self) -> Hooks:
        state = core.leaf_state(self)
        if state.hooks is None:
            state.hooks = Hooks()
        return state.hooks

    # ----------------------------------------------------------------------- writing

    def zero_(self) -> Tensor:
        """All elements 0."""
        check_writable(self, idempotent=True)
        return overwrite(self, np.zeros((), self._array.dtype), "zero_")

    def fill_(self, value: Any) -> Tensor:
        """All elements `value`."""
        from .creation import _filled

        if isinstance(value, TensorBase):
            if value._kind.rank:
                raise RuntimeError(
                    "fill_ only supports 0-dimension value tensor but got tensor with "
                    f"{value._kind.rank} dimensions."
                )
            return self.copy_(value.expand(self._array.shape))  # type: ignore[attr-defined]
        check_writable(self, idempotent=True)
        return overwrite(self, _filled([value], self._kind.dtype)[0], "fill_")

    def copy_(self, src: Tensor, non_blocking: bool = False) -> Tensor:
        """The elements of `src`, broadcast and converted."""
        check_writable(self)
        source = src if src._kind.dtype is self._kind.dtype else src.to(self._kind.dtype)
        if source._array.shape != self._array.shape:
            source = source.expand(self._array.shape)
        return copied(self, source)

    def __getitem__(self, key: Any) -> Tensor:
        return getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        setitem(self, key, value)

    # ----------------------------------------------------------------------- as a sequence

    def __len__(self) -> int:
        if not self._kind.rank:
            raise TypeError("len() of a 0-d tensor")
        return len(self._array)

    def __iter__(self) -> Iterator[Tensor]:
        if not self._kind.rank:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __contains__(self, element: Any) -> bool:
        if isinstance(element, TensorBase | bool | int | float | np.generic):
            return bool((self == element).any().item())
        raise RuntimeError(
            "Tensor.__contains__ only supports Tensor or scalar, but you passed in a "
            f"{type(element)}."
        )

    def __reversed__(self) -> Tensor:
        return self.flip(0) if self._kind.rank else self

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        from .printing import tensor_text

        node = grad_fn_of(self)
        return tensor_text(
            readable(self),
            dtype_name=self._kind.dtype.name,
            requires_grad=needs_grad(self),
            grad_fn_name=None if node is None else node.name(),
            default_dtype_name=dt.get_default_dtype().name,
        )

    __str__ = __repr__


def _strides(array: Any) -> tuple[int, ...]:
    size = array.itemsize
    if array.size and 0 not in array.shape:
        return tuple(s // size for s in array.strides)
    strides, total = [], 1
    for n in reversed(array.shape):
        strides.append(total)
        total *= max(n, 1)
    return tuple(reversed(strides))


core.tensor_class(Tensor)

__all__ = ["Tensor", "kind"]
