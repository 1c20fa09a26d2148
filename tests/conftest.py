"""What all tests share: a disk cache of their own, and golden files, rewritten on request.

`pytest --update-golden` writes the texts that `golden` compares, instead of comparing them.
"""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" not in os.environ:  # compiled code goes to a cache of this run's own
    _cache = tempfile.mkdtemp(prefix="tdsl-tests-")
    os.environ["TDSL_CACHE_DIR"] = _cache
    atexit.register(shutil.rmtree, _cache, ignore_errors=True)

# a job in the background may be started with Ctrl-C ignored, which its children inherit
_is_ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
if _is_ignored and threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

GOLDEN = Path(__file__).resolve().parent / "golden"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite tests/golden/ from what comes out"
    )


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large tables sixteen inner rows at a time, however small they are."""
    from tdsl.compiler import emit_inner

    for name, value in {"WHOLE": 0, "OUTSIDE": 0, "BLOCK": 1, "LEAST": 16}.items():
        monkeypatch.setattr(emit_inner, name, value)


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """`golden(name, text)` asserts that `text` is that of the file `name` in tests/golden/."""

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.exists(), f"no {name}: run pytest --update-golden"
        assert text == path.read_text(encoding="utf-8")

    return compare
