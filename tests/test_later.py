"""Work done by threads while the caller goes on: every result once, whoever makes it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import pytest
from tdsl.compiler import later
from tdsl.compiler.later import Later


@pytest.fixture(params=[1, 2, 5])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    for thread in [*later._threads]:  # of an earlier test, which would help here
        thread.join()
    monkeypatch.setattr(later, "cores", lambda: request.param)
    return int(request.param)


def test_results_and_errors_come_when_they_are_asked_for(cores: int) -> None:
    made: list[int] = []

    def one(k: int) -> int:
        made.append(k)
        if k % 3 == 0:
            raise ValueError(f"number {k}")
        return k * k

    every = [Later(lambda k=k: one(k)) for k in range(20)]  # type: ignore[misc]
    for _ in range(2):  # asked again, the same
        for k, x in reversed([*enumerate(every)]):
            if k % 3:
                assert x.result() == k * k
            else:
                with pytest.raises(ValueError, match=f"number {k}"):
                    x.result()
    assert sorted(made) == list(range(20))


def test_there_is_a_core_for_the_caller(cores: int) -> None:
    running, most, lock = 0, 0, threading.Lock()
    caller = threading.current_thread()

    def work() -> threading.Thread:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.01)
        with lock:
            running -= 1
        return threading.current_thread()

    every = [Later(work) for _ in range(12)]
    by = [x.result() for x in every]
    assert most <= cores
    assert caller in by  # who waits works, too
    if cores == 1:
        assert set(by) == {caller}


def test_several_callers(cores: int) -> None:
    shared = [Later(lambda k=k: k) for k in range(50)]  # type: ignore[misc]
    found: list[list[int]] = []
    callers = [
        threading.Thread(target=lambda: found.append([x.result() for x in shared]))
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(30)
    assert found == [list(range(50))] * 4


def test_an_interrupt_is_the_callers_and_the_work_is_done_later(cores: int) -> None:
    gate, tries = threading.Event(), 0

    def work() -> int:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise KeyboardInterrupt
        return 7

    held = [Later(gate.wait) for _ in range(cores - 1)]  # every other thread is busy
    time.sleep(0.02)
    x = Later(work)
    with pytest.raises(KeyboardInterrupt):
        x.result()
    assert x.result() == 7
    gate.set()
    assert all(h.result() for h in held)


def test_without_more_threads_the_caller_works(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert [x.result() for x in [Later(lambda: 1), Later(lambda: 2)]] == [1, 2]


AFTER_A_FORK = """
import os, sys, threading, time
from tdsl.compiler import later
later.cores = lambda: 2
gate = threading.Event()
held = later.Later(lambda: gate.wait(20))  # the thread is in the midst of it
waiting = later.Later(lambda: os.getpid())
time.sleep(0.05)
child = os.fork()
if child == 0:
    gate.set()
    ok = held.result() and waiting.result() == os.getpid()
    ok = ok and later.Later(lambda: 3).result() == 3
    os._exit(0 if ok else 1)
gate.set()
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) or not held.result() or waiting.result() != os.getpid())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
def test_a_fork_loses_threads_and_no_work() -> None:
    done = subprocess.run([sys.executable, "-c", AFTER_A_FORK], timeout=60)
    assert done.returncode == 0


AT_THE_END = """
import time
from tdsl.compiler import later
later.cores = lambda: 2
x = later.Later(lambda: (time.sleep(0.2), print("made")))
"""


def test_the_process_ends_after_the_work() -> None:
    """LLVM must not be taken apart under a thread."""
    done = subprocess.run(
        [sys.executable, "-c", AT_THE_END], timeout=60, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout.strip()) == (0, "made")
