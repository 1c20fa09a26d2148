"""The interpreter's threads take shorter turns while the compiler works, and usual ones after."""

from __future__ import annotations

import sys
import threading

import pytest
import tdsl
from tdsl.runtime import turns

USUAL = sys.getswitchinterval()


def test_nested_and_after_an_error() -> None:
    with turns.short(), pytest.raises(KeyError), turns.short():
        assert sys.getswitchinterval() == pytest.approx(turns.SHORT)
        raise KeyError
    assert sys.getswitchinterval() == USUAL


def test_of_several_threads() -> None:
    inside, leave = threading.Barrier(3), threading.Event()

    def use() -> None:
        with turns.short():
            inside.wait()
            leave.wait(10)

    threads = [threading.Thread(target=use) for _ in range(2)]
    for t in threads:
        t.start()
    inside.wait()
    assert sys.getswitchinterval() == pytest.approx(turns.SHORT)
    leave.set()
    for t in threads:
        t.join()
    assert sys.getswitchinterval() == USUAL


def test_shorter_ones_stay() -> None:
    sys.setswitchinterval(1e-5)
    try:
        with turns.short():
            assert sys.getswitchinterval() == pytest.approx(1e-5)
        assert sys.getswitchinterval() == pytest.approx(1e-5)
    finally:
        sys.setswitchinterval(USUAL)


def test_after_a_compilation() -> None:
    assert tdsl.compile("def f(x: f64[n]) -> f64:\n    return sum(x * 3)\n").f([1.0, 2.0]) == 9.0
    assert sys.getswitchinterval() == USUAL
