"""Gradient modes: whether operations record what a backward pass needs.

Each thread has its own mode; a new thread records. `no_grad`, `enable_grad`, `set_grad_enabled`
and `inference_mode` are context managers and decorators, as in PyTorch.
"""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from typing import Any


class _Mode(threading.local):
    grad = True
    inference = False


mode = _Mode()


class _Inference:
    """How many `inference_mode` contexts are open, in all threads: while there is none, a new
    Tensor need not ask for its thread's mode."""

    def __init__(self) -> None:
        self.contexts = 0
        self._lock = threading.Lock()

    def opened(self, change: int) -> None:
        with self._lock:
            self.contexts += change


inference = _Inference()


def is_grad_enabled() -> bool:
    """Whether operations record what backward needs."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """Whether `inference_mode` is on."""
    return mode.inference


class _ModeContext:
    """A context manager, and a decorator that opens it anew around every call."""

    grad: bool
    inference: bool | None = None  # None: left as it is

    def __init__(self) -> None:
        self._before: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self._before.append((mode.grad, mode.inference))
        mode.grad = self.grad
        if self.inference is not None:
            mode.inference = self.inference
            inference.opened(1)

    def __exit__(self, *exc: object) -> None:
        mode.grad, mode.inference = self._before.pop()
        if self.inference is not None:
            inference.opened(-1)

    def _again(self) -> _ModeContext:
        return type(self)()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args: Any, **kwargs: Any) -> Any:
                source = function(*args, **kwargs)
                while True:  # the mode holds while the generator runs, not while it waits
                    with self._again():
                        try:
                            item = next(source)
                        except StopIteration as stop:
                            return stop.value
                    yield item

            return generator

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return wrapper


class _Decorating(_ModeContext):
    """May be used as a decorator without brackets: `@no_grad`."""

    def __new__(cls, function: Callable[..., Any] | None = None) -> Any:
        made = super().__new__(cls)
        if function is None:
            return made
        made.__init__()
        return made(function)

    def __init__(self, function: Callable[..., Any] | None = None) -> None:
        super().__init__()


class no_grad(_Decorating):
    """Within it, results have `requires_grad` False."""

    grad = False


class enable_grad(_Decorating):
    """Within it, operations record, even inside `no_grad`."""

    grad = True


class set_grad_enabled(_ModeContext):
    """`set_grad_enabled(flag)` acts at once; as a context manager it undoes that at the end."""

    def __init__(self, mode: bool) -> None:
        super().__init__()
        self.grad = bool(mode)
        self._entered = _switch(self.grad)

    def __enter__(self) -> None:
        self._before.append((self._entered, mode.inference))
        mode.grad = self.grad

    def _again(self) -> _ModeContext:
        context = _Fixed()
        context.grad = self.grad
        return context

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        mode.grad = self._entered  # as a decorator it acts inside the function alone
        return super().__call__(function)


class _Fixed(_ModeContext):
    """A mode that its maker has set."""


class inference_mode(_Decorating):
    """`no_grad`, and results cannot take part in recording later."""

    def __new__(cls, mode: Any = True) -> Any:
        return super().__new__(cls, mode if callable(mode) else None)

    def __init__(self, mode: Any = True) -> None:
        super().__init__()
        self._on = True if callable(mode) else bool(mode)
        self.grad = not self._on and is_grad_enabled()
        self.inference = self._on

    def _again(self) -> _ModeContext:
        return type(self)(self._on)


def _switch(on: bool) -> bool:
    before, mode.grad = mode.grad, on
    return before
