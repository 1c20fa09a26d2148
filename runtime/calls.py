"""What happens in Python when native code calls back: the slow path and run-time errors.

In: the `Native` whose entry refused its arguments, and those arguments; or the report of an index
out of range. Out: the call's value, or the error that a user reads.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

import numpy as np

from .arguments import OutOfRangeError, check_sizes, convert
from .signature import Signature
from .tensor import Tensor

if TYPE_CHECKING:
    from .autograd import CallBackward
    from .function import Function
    from .native import Native


@dataclass(frozen=True)
class Check:
    """What it means when native code reports this check: which tensor was indexed, and where."""

    tensor: str
    position: str


@dataclass
class Owner:
    """What the slow path knows of a function."""

    signature: Signature
    checks: Sequence[Check]
    function: ReferenceType[Function] | Callable[[], None]
    node: type[CallBackward] | None = (
        None  # of the backward pass; made at the first call that needs it
    )


def slow_call(native: Native, args: Sequence[Any], kwargs: Mapping[str, Any], again: bool) -> Any:
    """The call of a function with arguments that its native entry refused."""
    owner: Owner = native.owner
    if again:  # of converted arguments nothing can be wrong but the sizes
        check_sizes(owner.signature, [np.shape(a) for a in args])
        raise RuntimeError(f"tdsl: {owner.signature.name}() refused converted arguments")
    if any(isinstance(a, Tensor) for a in (*args, *kwargs.values())):
        from .autograd import call_with_tensors

        return call_with_tensors(native, args, kwargs)
    return native.converted(*convert(owner.signature, args, kwargs))


def out_of_range(native: Native, address: int) -> None:
    """Raise the error of a gather that found an index outside its dim."""
    owner: Owner = native.owner
    which, axis, value, size = (ctypes.c_int64 * 4).from_address(address)
    check = owner.checks[which]
    raise OutOfRangeError(
        f"{owner.signature.name}(): index {value} is out of range for axis {axis} of "
        f"{check.tensor}, whose size is {size} ({check.position})"
    )
