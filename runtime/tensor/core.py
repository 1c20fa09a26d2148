"""The Tensor as an object: its slots, and how Tensors are made.

A Tensor holds an ndarray (a view of its storage), its `Kind` (dtype and rank, which compiled code
depends on), and what reverse mode knows of it. What a leaf or a view has beside that is rare and
stands in objects of its own, so that the Tensor of an intermediate result costs little.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from . import dtype as dt
from . import modes
from .modes import mode

if TYPE_CHECKING:
    from .hooks import Hooks
    from .tape import AccumulateGrad, Node
    from .tensor import Tensor

Array = np.ndarray[Any, Any]


class Kind:
    """Dtype and rank: interned, compared by identity."""

    __slots__ = ("dtype", "rank")

    def __init__(self, dtype: dt.dtype, rank: int) -> None:
        self.dtype, self.rank = dtype, rank

    def __repr__(self) -> str:
        return f"{self.dtype.compiled}^{self.rank}"


_kinds: dict[tuple[dt.dtype, int], Kind] = {}
_kinds_of_arrays: dict[tuple[np.dtype[Any], int], Kind] = {}


def kind(dtype: dt.dtype, rank: int) -> Kind:
    """The one Kind of that dtype and rank."""
    found = _kinds.get((dtype, rank))
    if found is None:
        found = _kinds.setdefault((dtype, rank), Kind(dtype, rank))
    return found


def kind_of(array: Array) -> Kind:
    """The Kind of an array. Raises TypeError for elements that Tensors cannot hold."""
    key = (array.dtype, array.ndim)
    found = _kinds_of_arrays.get(key)
    if found is None:
        found = _kinds_of_arrays[key] = kind(dt.of_array(array), array.ndim)
    return found


class Version:
    """How often a storage was written in place, and by what; shared by all views of it."""

    value = 0  # of the class, so that making one, which every saved value needs, costs little
    writer = ""


#: The counter of all Tensors made in inference mode: they have none of their own.
INFERENCE = Version()


class Leaf:
    """What reverse mode keeps at a Tensor that a pass ends at, or that has hooks."""

    __slots__ = ("accumulator", "grad", "hooks", "retains_grad")

    def __init__(self) -> None:
        self.grad: Tensor | None = None
        self.accumulator: weakref.ref[AccumulateGrad] | None = None
        self.hooks: Hooks | None = None
        self.retains_grad = False


#: What is special about a view: it was made in `no_grad` or `inference` mode; or in a custom
#: `function`, or by a function that returns `several`, whose result number it is. None for an
#: ordinary view.
Origin = str | tuple[str, int, str] | None


class View:
    """That a Tensor is a differentiable view of `base`, made when the storage was at `version`."""

    __slots__ = ("base", "origin", "version")

    def __init__(self, base: Tensor, version: int, origin: Origin) -> None:
        self.base, self.version, self.origin = base, version, origin


class TensorBase:
    """The slots of a Tensor."""

    __slots__ = (
        "__dict__",
        "__weakref__",
        "_array",
        "_counter",
        "_grad_fn",
        "_kind",
        "_leaf",
        "_output_nr",
        "_requires_grad",
        "_view",
    )
    _array: Array
    _kind: Kind
    _requires_grad: bool
    _grad_fn: Node | None
    _output_nr: int  # which output of grad_fn this is
    _counter: Version | None  # None: never written in place, nothing shares it
    _view: View | None
    _leaf: Leaf | None


_new = object.__new__
_class: type[Any] = TensorBase


def tensor_class(cls: type[Any]) -> None:
    """Say what `wrap` makes: called once, by the module that defines it."""
    global _class
    _class = cls


def wrap(array: Array, kind: Kind) -> Tensor:
    """A Tensor without history over `array`."""
    t: Tensor = _new(_class)
    t._array = array
    t._kind = kind
    t._requires_grad = False
    t._grad_fn = None
    t._output_nr = 0
    t._counter = None
    t._view = None
    t._leaf = None
    if modes.inference.contexts and mode.inference:
        t._counter = INFERENCE
    return t


def initialize(t: TensorBase, array: Array, kind: Kind) -> None:
    """Fill the slots of a Tensor of a subclass."""
    t._array, t._kind, t._requires_grad, t._grad_fn = array, kind, False, None
    t._output_nr, t._counter, t._view, t._leaf = 0, None, None, None
    if mode.inference:
        t._counter = INFERENCE


def of_array(array: Array) -> Tensor:
    """A Tensor that shares `array`'s memory. Raises TypeError for foreign elements."""
    return wrap(array, kind_of(array))


def counter(t: Tensor) -> Version:
    """The version counter of a Tensor's storage, made when first asked for."""
    found = t._counter
    if found is None:
        found = t._counter = Version()
    return found


def alias(t: Tensor) -> Tensor:
    """Another Tensor over the same elements, with the same counter and without history."""
    out = wrap(t._array, t._kind)
    out._counter = counter(t)
    return out


def same_history(t: Tensor) -> Tensor:
    """Another Tensor over the same elements, with the same history."""
    from .tape import grad_fn_of

    out = alias(t)
    grad_fn_of(t)  # a view's, renewed where its base was written since
    out._requires_grad, out._grad_fn, out._output_nr = t._requires_grad, t._grad_fn, t._output_nr
    return out


def bump(t: Tensor, writer: str) -> None:
    """Note that a Tensor's elements were written in place, by the operation `writer`."""
    found = counter(t)
    found.value += 1
    found.writer = writer


def leaf_state(t: Tensor) -> Leaf:
    """What reverse mode keeps at `t`, made when first asked for."""
    found = t._leaf
    if found is None:
        found = t._leaf = Leaf()
    return found
