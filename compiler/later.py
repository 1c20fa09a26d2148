"""Work that is done by threads while the caller goes on.

In: functions that need the interpreter for moments only, as those that translate do. Out: `Later`,
which knows the result when it is asked for. There are so few threads that the caller has a core of
its own; when it asks for a result that is not there, it works, too.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

PAUSE = 0.0005  # seconds, between looks at what another thread works on

_waiting: deque[Later[Any]] = deque()
_threads: set[threading.Thread] = set()
_lock = threading.Lock()


class Later(Generic[T]):
    """What `make` returns or raises, when it is asked for. The process does not end before it is
    made: LLVM must not be taken apart under a thread."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._outcome: tuple[T, None] | tuple[None, BaseException] | None = None
        self._by: threading.Thread | None = None
        with _lock:
            _waiting.append(self)
        _work_in_threads()

    def result(self) -> T:
        while self._outcome is None:
            if self._is_mine():
                self._work()
            elif not _work_on_one():
                time.sleep(PAUSE)  # nothing that a fork could take a thread's hold of
        value, error = self._outcome
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    def _is_mine(self) -> bool:
        """Whether the caller is the one to work on it from now on."""
        with _lock:
            if self in _waiting:
                _waiting.remove(self)
            elif (self._by is not None and self._by.is_alive()) or self._outcome is not None:
                return False
            self._by = threading.current_thread()  # perhaps in place of one lost in a fork
            return True

    def _work(self) -> None:
        try:
            self._outcome = self._make(), None
        except KeyboardInterrupt:  # of the caller, whatever it works on
            with _lock:
                self._by = None
                _waiting.append(self)
            raise
        except BaseException as error:
            self._outcome = None, error


def _work_on_one() -> bool:
    """Do what has waited longest; false if there is nothing."""
    with _lock:
        if not _waiting:
            return False
        first = _waiting.popleft()
        first._by = threading.current_thread()
    first._work()
    return True


def _work_in_threads() -> None:
    with _lock:
        _threads.intersection_update([t for t in _threads if t.is_alive()])
        if len(_threads) >= min(len(_waiting), cores() - 1):
            return
        thread = threading.Thread(target=_work_on_all, name="tdsl-compile")
        try:
            thread.start()
        except RuntimeError:
            return  # no more threads, or none any more: then it is done when asked for
        _threads.add(thread)


def _work_on_all() -> None:
    while True:
        while _work_on_one():
            pass
        with _lock:  # what comes from now on finds no thread here
            if not _waiting:
                _threads.discard(threading.current_thread())
                return


def _forget_threads() -> None:
    global _lock
    _lock = threading.Lock()
    _threads.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
