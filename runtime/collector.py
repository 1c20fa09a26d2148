"""Python's cycle collector, paused while a program is read or compiled.

In: nothing. Out: `paused`, which nests and works across threads. Imports, graphs and modules are
many objects that live on: the collector looks through all of them again and again and finds next
to nothing. Measured, it takes a twelfth of a compilation.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_lock = threading.Lock()
_users = 0
_was_on = False


@contextmanager
def paused() -> Iterator[None]:
    global _users, _was_on
    with _lock:
        _users += 1
        if _users == 1:
            _was_on = gc.isenabled()
            gc.disable()
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and _was_on:
                gc.enable()
