"""Several threads: the same bits for any number of them, and no way to get stuck."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tdsl

PROGRAM = """
def product(x: f32[m, k], y: f32[k, n]) -> f32[m, n]:
    return x @ y
def turned(x: f64[k, m], y: f64[n, k]) -> f64[m, n]:
    return tanh(transpose(x) @ transpose(y))
def batched(x: f32[b, m, k], y: f32[b, n, k]) -> f32[b, m, n]:
    z[q, i, j] = sum[p](x[q, i, p] * y[q, j, p])
    return z
def convolved(x: f32[b, c, h, w], k: f32[o, c, 3, 3]) -> (f32, f32[b, c, h, w], f32[o, c, 3, 3]):
    l = sum(conv2d(x, k, padding=1) ** 2)
    return l, grad(l, x), grad(l, k)
def pointwise(x: f32[n]) -> f32[n]:
    return exp(x) * tanh(x)
def rows(x: f32[m, n]) -> (f32[m, n], f32[m], f32[n]):
    return softmax(x, dim=1), logsumexp(x, dim=1), sum(x, dim=0)
def pairs(x: f32[n, 3], w: f32[n]) -> f32[n]:
    z[i] = sum[j](exp(-sum[q]((x[i, q] - x[j, q]) ** 2)) * w[j])
    return z
def guarded(x: f32[m, k], y: f32[k, n], g: f32[k, n]) -> f32[m, n]:
    z[i, j] = sum[p](x[i, p] * y[p, j] if g[p, j] > 0 else 0)
    return z
def total(x: f32[n]) -> f32:
    return sum(x * x)
"""


@pytest.fixture(scope="module")
def program() -> Any:
    return tdsl.compile(PROGRAM)


@pytest.fixture(autouse=True)
def usual_threads() -> Iterator[None]:
    before = tdsl.get_num_threads()
    yield
    tdsl.set_num_threads(before)


def _calls(program: Any) -> dict[str, tuple[Any, ...]]:
    rng = np.random.default_rng(0)

    def f32(*shape: int) -> Any:
        return rng.standard_normal(shape).astype(np.float32)

    infinite = f32(260, 300)
    infinite[7, 11] = np.inf
    return {
        "product": (f32(517, 1300), f32(1300, 333)),
        "turned": (rng.standard_normal((301, 270)), rng.standard_normal((410, 301))),
        "batched": (f32(25, 90, 64), f32(25, 77, 64)),
        "convolved": (f32(12, 8, 28, 28), f32(16, 8, 3, 3)),
        "pointwise": (f32(300_001),),
        "rows": (f32(1001, 513),),
        "pairs": (f32(1500, 3), f32(1500)),
        "guarded": (infinite, f32(300, 200), f32(300, 200)),
        "total": (f32(1_000_003),),
    }


def _bits(result: Any) -> list[bytes]:
    values = result if isinstance(result, tuple) else (result,)
    return [np.asarray(v).tobytes() for v in values]


def test_same_bits_for_any_number_of_threads(program: Any) -> None:
    calls = _calls(program)
    tdsl.set_num_threads(1)
    want = {name: _bits(getattr(program, name)(*args)) for name, args in calls.items()}
    for count in (2, 3, 7):
        tdsl.set_num_threads(count)
        assert tdsl.get_num_threads() == count
        for name, args in calls.items():
            for _ in range(3):
                assert _bits(getattr(program, name)(*args)) == want[name], (name, count)


@pytest.mark.parametrize("sizes", [(256, 800, 512), (70, 500, 900), (900, 30, 130), (33, 1500, 70)])
def test_same_bits_whoever_claims_rows(sizes: tuple[int, int, int]) -> None:
    m, k, n = sizes
    rng = np.random.default_rng(5)
    x, y = (rng.standard_normal(s).astype(np.float32) for s in ((m, k), (k, n)))
    head = "(x: f32[m,k], y: f32[k,n]) -> f32[m,n]:\n    return "
    program = tdsl.compile(f"def f{head}relu(x @ y)\ndef g{head}exp(x) @ y\n")
    tdsl.set_num_threads(1)
    want = [f(x, y).tobytes() for f in (program.f, program.g)]
    for count in (2, 3, 7):
        tdsl.set_num_threads(count)
        for _ in range(3):
            assert [f(x, y).tobytes() for f in (program.f, program.g)] == want


def test_large_calls_are_shared_out(program: Any) -> None:
    """Else the other tests here would show nothing. A small one never is."""
    from tdsl.compiler.fork_join import EPOCH
    from tdsl.runtime.compilation import pool

    def jobs() -> int:
        return int(pool()._words[EPOCH])

    tdsl.set_num_threads(2)
    for name, args in _calls(program).items():
        before = jobs()
        getattr(program, name)(*args)
        assert jobs() > before, name
    before = jobs()
    program.pointwise(np.zeros(100, np.float32))
    assert jobs() == before


def test_calls_from_several_threads_at_once(program: Any) -> None:
    """One has the pool, the others run alone."""
    calls = _calls(program)
    want = {name: _bits(getattr(program, name)(*args)) for name, args in calls.items()}
    tdsl.set_num_threads(3)
    wrong: list[str] = []

    def work() -> None:
        for _ in range(4):
            for name, args in calls.items():
                if _bits(getattr(program, name)(*args)) != want[name]:
                    wrong.append(name)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not wrong


def test_many_short_jobs_and_changes(program: Any) -> None:
    """A worker that comes late to one job must not touch the next."""
    x = np.arange(200_000, dtype=np.float32) / 200_000
    want = program.pointwise(x).tobytes()
    for count in (2, 5, 1, 4, 2):
        tdsl.set_num_threads(count)
        for _ in range(300):
            assert program.pointwise(x).tobytes() == want


def test_oversubscribed(program: Any) -> None:
    args = _calls(program)["product"]
    want = program.product(*args).tobytes()
    tdsl.set_num_threads(32)
    for _ in range(5):
        assert program.product(*args).tobytes() == want


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_has_threads_of_its_own(program: Any) -> None:
    args = _calls(program)["product"]
    tdsl.set_num_threads(2)
    want = program.product(*args).tobytes()
    child = os.fork()
    if child == 0:
        try:
            same = program.product(*args).tobytes() == want and tdsl.get_num_threads() == 2
            tdsl.set_num_threads(3)
            same = same and program.product(*args).tobytes() == want
        except BaseException:
            same = False
        os._exit(0 if same else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert program.product(*args).tobytes() == want


def test_a_process_ends_with_workers_asleep_and_awake() -> None:
    source = (
        "import tdsl, numpy as np\n"
        "f = tdsl.compile('def f(x: f32[n]) -> f32[n]:\\n    return exp(x)\\n').f\n"
        "tdsl.set_num_threads(4)\n"
        "f(np.zeros(1_000_000, np.float32))\n"
        "print(tdsl.get_num_threads())\n"
    )
    for _ in range(3):
        run = subprocess.run(
            [sys.executable, "-c", source], capture_output=True, text=True, timeout=60
        )
        assert (run.returncode, run.stdout, run.stderr) == (0, "4\n", "")


@pytest.mark.parametrize("stated", ["3", "0", "-1", "many", ""])
def test_the_environment_states_the_number(stated: str) -> None:
    source = "import tdsl; print(tdsl.get_num_threads())"
    run = subprocess.run(
        [sys.executable, "-c", source],
        capture_output=True,
        text=True,
        env={**os.environ, "TDSL_NUM_THREADS": stated},
    )
    assert run.returncode == 0, run.stderr
    usual = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert int(run.stdout) == (3 if stated == "3" else usual)


def test_refused_numbers() -> None:
    for wrong in (0, -1, 257, 1.0, "2", True, None):
        with pytest.raises(RuntimeError, match="set_num_threads expects a positive integer"):
            tdsl.set_num_threads(wrong)  # type: ignore[arg-type]
