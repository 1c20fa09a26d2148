"""Where a Tensor's elements are.

In: `"cpu"`, `"cuda:0"`. Out: `device`. This module is the one door for another device: what runs
on it asks `require` first, which refuses what is not there.
"""

from __future__ import annotations

import re
from typing import Any

TYPES = ("cpu", "cuda", "mps", "xpu", "meta")


class device:
    """`device("cuda", 0)`, `device("cuda:0")`. Equal when type and index are."""

    __slots__ = ("index", "type")
    type: str
    index: int | None

    def __init__(self, type: Any = "cpu", index: int | None = None) -> None:
        if isinstance(type, device):
            type, index = type.type, type.index
        elif isinstance(type, int):
            type, index = "cuda", type
        elif not isinstance(type, str):
            raise TypeError(f"device(): argument 'type' must be str, not {type.__class__.__name__}")
        name, colon, number = type.partition(":")
        if colon and (index is not None or not re.fullmatch(r"\d+", number)):
            raise RuntimeError(f"Invalid device string: '{type}'")
        if name not in TYPES:
            raise RuntimeError(
                f"Expected one of {', '.join(TYPES)} device type at start of device string: {type}"
            )
        if index is not None and index < 0:
            raise RuntimeError("Device index must not be negative")
        self.type, self.index = name, int(number) if colon else index

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type={self.type!r}{index})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __reduce__(self) -> tuple[Any, ...]:
        return device, (self.type, self.index)


CPU = device("cpu")


def require(wanted: Any) -> device:
    """The device, if Tensors can be on it. Raises RuntimeError or AssertionError, as PyTorch
    without CUDA does, for one that is not there."""
    found = wanted if isinstance(wanted, device) else device(wanted)
    if found.type == "cpu":
        return CPU
    if found.type == "cuda":
        raise AssertionError("tdsl not compiled with CUDA enabled")
    raise RuntimeError(f"tdsl has no device of type {found.type!r}: only 'cpu'")


def is_available() -> bool:
    """`tdsl.cuda.is_available()`."""
    return False


def device_count() -> int:
    """`tdsl.cuda.device_count()`."""
    return 0
