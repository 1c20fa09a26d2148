"""What the example drivers show besides text: a progress bar and a picture.

In: a range of steps, or a name for the picture. Out: a bar on stderr (only when that is a
terminal), or a file in `examples/out/` (only when matplotlib is installed). The drivers say what
is in the picture.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent / "out"


def steps(count: int, label: str) -> Iterator[int]:
    """Yields 0 … count-1; on a terminal draws a bar with the time left, at most ten times a
    second, and wipes it at the end."""
    if not sys.stderr.isatty():
        yield from range(count)
        return
    width, start, drawn = 30, time.perf_counter(), 0.0
    for i in range(count):
        yield i
        now = time.perf_counter()
        if now - drawn > 0.1:
            drawn = now
            filled = width * (i + 1) // count
            left = (now - start) / (i + 1) * (count - i - 1)
            bar = "█" * filled + "·" * (width - filled)
            print(f"\r{label} {bar} {i + 1}/{count} {left:5.1f} s ", end="", file=sys.stderr)
    print("\r\033[K", end="", file=sys.stderr, flush=True)


def picture(name: str, draw: Callable[[Any], None], size: tuple[float, float] = (7, 4)) -> None:
    """Calls `draw` with a new matplotlib figure of `size` inches and saves it as
    `examples/out/<name>.png`; without matplotlib says so in one line."""
    try:
        import matplotlib
    except ImportError:
        print(f"no picture: matplotlib is not installed ({name}.png)")
        return
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    draw(figure)
    OUT.mkdir(exist_ok=True)
    path = OUT / f"{name}.png"
    figure.savefig(path, dpi=110)
    print(f"picture: {path}")
