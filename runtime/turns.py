"""How long a thread keeps the interpreter to itself: shorter while the compiler's threads work.

In: nothing. Out: `short`, which nests and works across threads. LLVM's threads need the interpreter
for moments, between its functions; by default each waits for 5 ms, some thirty times in a
translation, while one thread goes on with Python.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SHORT = 0.0005  # seconds

_lock = threading.Lock()
_users = 0
_before = 0.0


@contextmanager
def short() -> Iterator[None]:
    global _users, _before
    with _lock:
        _users += 1
        if _users == 1:
            _before = sys.getswitchinterval()
            sys.setswitchinterval(min(SHORT, _before))
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                sys.setswitchinterval(_before)
