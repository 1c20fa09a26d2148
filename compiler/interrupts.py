"""Interrupts held back: Ctrl-C waits until a call into LLVM is over.

In: a call. Out: the same; a KeyboardInterrupt comes right after it. llvmlite takes its lock in
Python code: an interrupt between the taking and what would give it back leaves it taken for ever,
and every other thread that compiles waits. Only the main thread is interrupted.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        yield
        return
    came: list[Any] = []
    signal.signal(signal.SIGINT, lambda *what: came.append(what))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
        if came:
            usual(*came[0])
