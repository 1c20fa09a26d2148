"""Import time, and source to first result: cold (empty cache) and warm, each in fresh processes.

Run: `python benchmarks/start_up.py`. Figures are medians over the runs, of the time inside the
process from its first statement; NumPy's own import is shown apart.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parent.parent / "examples" / "digits.tdsl"

IMPORT = """
import time
start = time.perf_counter()
import numpy
middle = time.perf_counter()
import tdsl
end = time.perf_counter()
print(middle - start, end - start)
"""

FIRST = f"""
import time
start = time.perf_counter()
import numpy as np, tdsl
rng = np.random.default_rng(0)
x = rng.random((128, 64), dtype=np.float32); y = rng.integers(0, 10, 128)
w = [rng.standard_normal(s).astype(np.float32) for s in ((64, 128), 128, (128, 10), 10)]
loss = tdsl.load({str(EXAMPLE)!r}).loss
value, *gradients = loss.value_and_grad("w1", "c1", "w2", "c2")(x, y, *w)
print(time.perf_counter() - start)
"""


def run(program: str, cache: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TDSL_CACHE_DIR": cache},
        capture_output=True,
        text=True,
        check=True,
    )
    return [float(t) for t in done.stdout.split()]


def main(runs: int = 7) -> None:
    cold, warm, imports = [], [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            cold.append(run(FIRST, cache)[0])
            warm.append(run(FIRST, cache)[0])
            imports.append(run(IMPORT, cache))
    numpy_alone = statistics.median(t[0] for t in imports)
    both = statistics.median(t[1] for t in imports)
    print(f"import numpy                          {1e3 * numpy_alone:7.1f} ms")
    print(f"import tdsl (NumPy included)          {1e3 * both:7.1f} ms")
    print(f"digits, loss and four gradients, cold {1e3 * statistics.median(cold):7.1f} ms")
    print(f"the same from the disk cache          {1e3 * statistics.median(warm):7.1f} ms")


if __name__ == "__main__":
    main()
