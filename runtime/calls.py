"""What happens in Python when native code calls back: the slow path and run-time errors.

In: the `Native` whose entry refused its arguments, and those arguments; or the report of an index
out of range. Out: the call's value, or the error that a user reads.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

import numpy as np

from ..compiler.records import dataclass
from .arguments import OutOfRangeError, check_sizes, convert
from .donation import asks_to_donate, call_donating, call_with_donations
from .signature import Signature

if TYPE_CHECKING:
    from .function import Function
    from .native import Native


@dataclass(frozen=True)
class Check:
    """What it means when native code reports this check: which tensor was indexed, and where."""

    tensor: str
    position: str


@dataclass
class Owner:
    """What the slow path knows of a function; `function` is the user's, if it still exists."""

    signature: Signature
    checks: Sequence[Check]
    function: ReferenceType[Function] | Callable[[], None]

    def slow(self, native: Native, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """The value of a call that the native entry refused, or the error that says why."""
        if asks_to_donate(self.signature, kwargs):
            function = self.function()
            assert function is not None, "a function that is being called exists"
            return call_donating(function, args, kwargs)
        if tensors_among(args, kwargs):
            from .tensor.compiled_calls import call_with_tensors

            function = self.function()
            assert function is not None, "a function that is being called exists"
            return call_with_tensors(function, args, kwargs)
        if self.signature.donated:
            return call_with_donations(native, self.signature, args, kwargs)
        return native.converted(*convert(self.signature, args, kwargs))

    def out_of_range(self, check: Check, axis: int, value: int, size: int) -> None:
        """Raise the error of a gather that found an index outside its dim."""
        raise OutOfRangeError(
            f"{self.signature.name}(): index {value} is out of range for axis {axis} of "
            f"{check.tensor}, whose size is {size} ({check.position})"
        )


def tensors_among(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether an argument is a Tensor; where none was made yet, nothing is imported for that."""
    core = sys.modules.get(f"{__package__}.tensor.core")
    return core is not None and any(
        isinstance(a, core.TensorBase) for a in (*args, *kwargs.values())
    )


def slow_call(native: Native, args: Sequence[Any], kwargs: Mapping[str, Any], again: bool) -> Any:
    """The call of a function with arguments that its native entry refused."""
    owner: Owner = native.owner
    if again:  # of converted arguments nothing can be wrong but the sizes
        check_sizes(owner.signature, [np.shape(a) for a in args])
        raise RuntimeError(f"tdsl: {owner.signature.name}() refused converted arguments")
    return owner.slow(native, args, kwargs)


def out_of_range(native: Native, address: int) -> None:
    """Raise the error of a gather that found an index outside its dim."""
    owner: Owner = native.owner
    which, axis, value, size = (ctypes.c_int64 * 4).from_address(address)
    owner.out_of_range(owner.checks[which], axis, value, size)
