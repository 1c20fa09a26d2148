"""Systems in processes of their own, which are told when it is their turn.

In: the name of a module whose `works(…)` makes, in the child, a function that prepares works. Out:
what a work says of itself when it is prepared, then seconds per call, turn by turn. What a system
leaves behind (threads that spin for some milliseconds, warm caches, hooks) is nothing that another
one starts with: every turn begins with a pause, and with calls that are not timed.
"""

from __future__ import annotations

import importlib
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from rounds import Work, seconds_of

Prepare = Callable[..., tuple[Work | None, Any]]
"""The work asked for (None: the system is not made for it), and what is to be known of it."""

ASLEEP, AWAKE = 0.02, 0.05
"""Seconds from a turn's start until others' threads are asleep (OpenMP lets them spin for 15 ms);
and until one's own are awake, each on a CPU of its own."""


class PlayerError(Exception):
    """What went wrong in the child: `kind` is the name of its exception."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Player:
    """One system. Raises PlayerError where the child does."""

    def __init__(self, module: str, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, module, arguments), daemon=True
        )
        self._process.start()
        theirs.close()

    def prepare(self, *request: Any) -> tuple[bool, Any]:
        """Whether there is a work, and what is to be known of it."""
        done, known = self._asked(request)
        return done, known

    def turn(self, calls: int) -> float:
        return float(self._asked(calls))

    def ready(self) -> None:
        """Wait until the child has imported what it needs."""
        self._answer()

    def close(self) -> None:
        self._connection.close()  # the child ends where it waits for more
        self._process.join()

    def _asked(self, request: Any) -> Any:
        self._connection.send(request)
        return self._answer()

    def _answer(self) -> Any:
        try:
            failed, answer = self._connection.recv()
        except EOFError:
            self._process.join()
            raise PlayerError("EOFError", f"it ended with {self._process.exitcode}") from None
        if failed:
            raise PlayerError(*answer)
        return answer


def _serve(connection: Connection, module: str, arguments: tuple[Any, ...]) -> None:
    """The child: answers until the other side is closed."""
    prepare: Prepare | None = None
    work: Work | None = None
    request: Any = None
    while True:
        try:
            if prepare is None:
                prepare, answer = importlib.import_module(module).works(*arguments), None
            elif isinstance(request, int):
                assert work is not None
                answer = _turn(work, request)
            else:
                work, known = prepare(*request)
                answer = work is not None, known
            connection.send((False, answer))
        except KeyboardInterrupt:
            return
        except Exception as error:
            connection.send((True, (type(error).__name__, str(error))))
            if prepare is None:
                return
        try:
            request = connection.recv()
        except (EOFError, KeyboardInterrupt):
            return


def _turn(work: Work, calls: int) -> float:
    """Seconds per call, once the machine has settled."""
    start = time.perf_counter()
    time.sleep(ASLEEP)
    once = seconds_of(work, 1)
    if once > AWAKE:  # long enough not to notice how it began
        return once
    while time.perf_counter() - start < AWAKE:
        work()
    return seconds_of(work, calls)
