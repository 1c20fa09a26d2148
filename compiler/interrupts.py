"""Interrupts held back: Ctrl-C waits until a call into LLVM, or an import, is over.

In: a call. Out: the same; a KeyboardInterrupt comes right after it. llvmlite takes its lock in
Python code: an interrupt between the taking and what would give it back leaves it taken for ever,
and every other thread that compiles waits. Python's import system has callbacks that no interrupt
leaves: it would be lost, with a message. Only the main thread is interrupted.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts_noted() -> Iterator[list[Any]]:
    """Interrupts only get into the list, with what their handler would have been given."""
    came: list[Any] = []
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield came
        return
    signal.signal(signal.SIGINT, lambda *what: came.append(what))
    try:
        yield came
    finally:
        signal.signal(signal.SIGINT, usual)


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    usual: Any = signal.getsignal(signal.SIGINT)
    came: list[Any] = []
    try:
        with interrupts_noted() as came:
            yield
    finally:
        if came:
            usual(*came[0])
