"""Import time, and source to first result: cold (empty cache) and warm, each in fresh processes.

Run: `python benchmarks/start_up.py`. Figures are of the time inside the process from its
first statement, minimum and median over the runs; NumPy's own import is shown apart.
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

DIGITS = f"""
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


MLP = """
import time
start = time.perf_counter()
import numpy as np, tdsl
rng = np.random.default_rng(0)
x = rng.random((256, 784), dtype=np.float32); y = rng.integers(0, 10, 256)
sizes = (784, 512), 512, (512, 256), 256, (256, 10), 10
w = [0.05 * rng.standard_normal(s, dtype=np.float32) for s in sizes]
loss = tdsl.compile('''
def loss(x: f32[b, i], y: i64[b], w1: f32[i, h], c1: f32[h], w2: f32[h, k], c2: f32[k],
         w3: f32[k, o], c3: f32[o]) -> f32:
    z = relu(relu(x @ w1 + c1) @ w2 + c2) @ w3 + c3
    picked[r] = z[r, y[r]]
    return mean(logsumexp(z, dim=1) - picked)
''').loss
value, *gradients = loss.value_and_grad("w1", "c1", "w2", "c2", "w3", "c3")(x, y, *w)
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
    times: dict[str, list[float]] = {}
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as cache:
            for name, program in (("digits", DIGITS), ("MLP 784→512→256→10", MLP)):
                for state in ("nothing cached", "from the disk cache"):
                    label = f"{name}, loss and gradients, {state}"
                    times.setdefault(label, []).extend(run(program, cache))
                for entry in Path(cache).iterdir():
                    entry.unlink()
            alone, both = run(IMPORT, cache)
            times.setdefault("import numpy", []).append(alone)
            times.setdefault("import tdsl (NumPy included)", []).append(both)
    for label, found in times.items():
        least, middle = 1e3 * min(found), 1e3 * statistics.median(found)
        print(f"{label:60} min {least:7.1f} ms   median {middle:7.1f} ms")


if __name__ == "__main__":
    main()
