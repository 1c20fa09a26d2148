"""How many threads compiled functions use, and the threads themselves.

The workers are Python threads inside a loop of native code (`compiler.fork_join`), without the
interpreter lock. Results do not depend on their number: an element is computed in the same way
whichever part it falls into.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading

from ..compiler.entry_table import POOL, POOL_STOP, POOL_THREADS, POOL_WORDS, workers_can_sleep
from .loading import LoadedCode

MOST = 256


class Pool:
    """The pool's words, and its workers. `threads` counts the calling thread, too."""

    def __init__(self, code: LoadedCode, threads: int) -> None:
        code.publish(POOL)
        self._code = code
        self._lock = threading.Lock()
        self._workers: list[threading.Thread] = []
        self._worker = ctypes.CFUNCTYPE(None)(code.address("tdsl_worker"))
        self._stop = ctypes.CFUNCTYPE(None)(code.address("tdsl_stop"))
        self._count = ctypes.c_int64.from_address(code.address(POOL_THREADS))
        self._words = (ctypes.c_int64 * POOL_WORDS).from_address(code.address("tdsl_pool"))
        self._start(threads)
        atexit.register(self._leave)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    @property
    def threads(self) -> int:
        return int(self._count.value)

    @threads.setter
    def threads(self, count: int) -> None:
        with self._lock:
            if count != self._count.value:
                self._leave()
                self._start(count)

    def _start(self, count: int) -> None:
        count = count if workers_can_sleep() else 1
        self._words[POOL_STOP] = 0
        for k in range(count - 1):
            worker = threading.Thread(target=self._worker, name=f"tdsl-{k + 1}", daemon=True)
            worker.start()
            self._workers.append(worker)
        self._count.value = count

    def _leave(self) -> None:
        self._count.value = 1
        self._stop()
        for worker in self._workers:
            worker.join()
        self._workers.clear()

    def _after_fork(self) -> None:
        """A child has none of the threads, and none of what they were doing."""
        count = self._count.value
        self._lock = threading.Lock()
        self._workers.clear()
        ctypes.memset(self._words, 0, ctypes.sizeof(self._words))
        self._start(count)


def usual() -> int:
    """`TDSL_NUM_THREADS`, else as many as this process may use cores."""
    stated = os.environ.get("TDSL_NUM_THREADS", "")
    if stated.strip().isdigit() and int(stated) > 0:
        return min(int(stated), MOST)
    if hasattr(os, "sched_getaffinity"):
        return min(len(os.sched_getaffinity(0)), MOST)
    return min(os.cpu_count() or 1, MOST)


def get_num_threads() -> int:
    """How many threads a call of a compiled function may use, the calling one included."""
    from .compilation import pool

    return pool().threads


def set_num_threads(count: int) -> None:
    """Let calls of compiled functions use `count` threads, from 1 to 256, the calling one included.

    At the start it is `TDSL_NUM_THREADS`, else the number of cores that the process may use.
    Results are the same bits for every count. Where threads cannot sleep cheaply (all but Linux),
    one is used whatever is asked for.

    Raises RuntimeError for anything but an integer in that range.
    """
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MOST:
        raise RuntimeError(
            f"set_num_threads expects a positive integer (up to {MOST}), got {count!r}"
        )
    from .compilation import pool

    pool().threads = count
