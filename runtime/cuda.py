"""`tdsl.cuda`: what PyTorch's module says on a machine without CUDA.

Tensors are on the CPU. Questions are answered (no device is available), requests are refused with
the error that PyTorch built without CUDA gives, and what concerns all devices does nothing.
"""

from __future__ import annotations

from typing import Any, NoReturn

from .tensor.device import device_count, is_available

__all__ = [
    "current_device",
    "device_count",
    "empty_cache",
    "get_device_name",
    "get_device_properties",
    "init",
    "is_available",
    "is_initialized",
    "manual_seed",
    "manual_seed_all",
    "max_memory_allocated",
    "memory_allocated",
    "set_device",
    "synchronize",
]


def _refuse() -> NoReturn:
    raise AssertionError("tdsl not compiled with CUDA enabled")


def is_initialized() -> bool:
    """False: there is nothing to initialize."""
    return False


def init() -> NoReturn:
    """Raises AssertionError."""
    _refuse()


def current_device() -> NoReturn:
    """Raises AssertionError."""
    _refuse()


def set_device(device: Any) -> NoReturn:
    """Raises AssertionError."""
    _refuse()


def get_device_name(device: Any = None) -> NoReturn:
    """Raises AssertionError."""
    _refuse()


def get_device_properties(device: Any = None) -> NoReturn:
    """Raises AssertionError."""
    _refuse()


def synchronize(device: Any = None) -> NoReturn:
    """Raises AssertionError."""
    _refuse()


def manual_seed(seed: int) -> None:
    """Nothing: there is no generator to seed."""


def manual_seed_all(seed: int) -> None:
    """Nothing: there is no generator to seed."""


def empty_cache() -> None:
    """Nothing: no memory is held."""


def memory_allocated(device: Any = None) -> int:
    """0 bytes."""
    return 0


def max_memory_allocated(device: Any = None) -> int:
    """0 bytes."""
    return 0
