"""Ctrl-C while LLVM works: it comes after the call, and no lock stays taken."""

from __future__ import annotations

import signal
import threading

import pytest
from tdsl.compiler.interrupts import interrupts_held_back


def test_an_interrupt_comes_after_the_call() -> None:
    done = []

    @interrupts_held_back()
    def work() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        done.append(1)

    usual = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == [1] and signal.getsignal(signal.SIGINT) is usual


def test_calls_within_calls() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), interrupts_held_back():
        with interrupts_held_back():
            signal.raise_signal(signal.SIGINT)
            done.append("inner")
        done.append("outer")
    assert done == ["inner", "outer"]


def test_errors_and_results_pass_through() -> None:
    with pytest.raises(ValueError, match="x"), interrupts_held_back():
        raise ValueError("x")

    @interrupts_held_back()
    def one() -> int:
        return 1

    assert one() == 1


def test_other_threads_and_other_handlers_are_left_alone() -> None:
    seen: list[object] = []

    def elsewhere() -> None:
        with interrupts_held_back():
            seen.append(signal.getsignal(signal.SIGINT))

    usual = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert seen == [usual]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interrupts_held_back():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
