"""`python -m tdsl`: the command line."""

import contextlib
import os
import signal
import sys
from typing import Any

_INTERRUPTED = 130


def command_line() -> None:
    """Run the command that `sys.argv` names, and end the process with its exit status."""
    interrupts: list[int] = []

    def interrupt(number: int, _frame: Any) -> None:
        interrupts.append(number)
        raise KeyboardInterrupt

    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, interrupt)
    try:
        from .runtime.cli import main

        status = main()
    except (KeyboardInterrupt, Exception):
        # until 3.12 Python makes a RuntimeError of an interrupt while a class is made
        if not interrupts:
            raise
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # said once
        print("tdsl: interrupted", file=sys.stderr)
        status = _INTERRUPTED
    if status == _INTERRUPTED:
        # at once, and with this status: where the signal came inside an `exec` (dataclasses use
        # it), Python would end by sending it to itself
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, AttributeError):
                stream.flush()
        os._exit(status)
    sys.exit(status)


if __name__ == "__main__":
    command_line()
