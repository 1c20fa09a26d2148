"""Donated arguments: results in their place are those of the plain call, bit for bit, whatever the
kernels read in between; and a training step allocates nothing."""

from __future__ import annotations

import os
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tdsl
from hypothesis import given, settings
from hypothesis import strategies as st

from .donation_programs import PROGRAMS, SIZES, WEIGHTS, arguments, check, digits


@pytest.fixture(params=[1, 2], ids=["1 thread", "2 threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[None]:
    before = tdsl.get_num_threads()
    tdsl.set_num_threads(request.param)
    yield
    tdsl.set_num_threads(before)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_results_are_those_of_a_plain_call(name: str, threads: None) -> None:
    source, names = PROGRAMS[name]
    f = tdsl.compile(source).f
    for sizes in SIZES:
        if "n, n]" in source and sizes["n"] > 1000:
            continue  # a large product, tried at other sizes
        given = arguments(f, sizes)
        try:
            f(*given)
        except (tdsl.ArgumentValueError, tdsl.OutOfRangeError):
            continue  # there is no maximum of nothing
        check(f, names, given)


# --------------------------------------------------------------------------- what the plan says


def plan_of(source: str, *names: str) -> str:
    return tdsl.compile(source).f.donate(*names).plan()


@pytest.mark.parametrize(
    "name",
    ["elementwise", "adam", "adam, moments first", "both of two", "f64 and i32", "nothing read"],
)
def test_pointwise_updates_need_no_memory(name: str) -> None:
    source, names = PROGRAMS[name]
    text = plan_of(source, *names)
    assert "arena of 0 bytes" in text and text.count("in place of") == len(names)
    assert "_copy" not in text


def test_the_update_of_a_contraction_is_in_place() -> None:
    source, names = PROGRAMS["update after a contraction"]
    text = plan_of(source, *names)
    assert "out: in place of w" in text and "w: f32[n, k]  param 2, donated" in text
    assert "_copy" not in text and text.count("kernel ") == 2  # the product, then the update


@pytest.mark.parametrize(
    "name",
    [
        "softmax",
        "softmax of another",
        "layer norm",
        "a column's sum in its place",
        "adam after a contraction",
        "update before the last reader",
        "a guarded contraction",
        "scatter",
    ],
)
def test_what_reads_the_same_place_is_not_copied(name: str) -> None:
    source, names = PROGRAMS[name]
    text = plan_of(source, *names)
    assert text.count("in place of") == len(names) and "_copy" not in text


@pytest.mark.parametrize(
    "name",
    ["transposed", "shifted", "reversed", "a contraction of itself", "a band reads other rows"],
)
def test_what_reads_elsewhere_is_copied(name: str) -> None:
    source, names = PROGRAMS[name]
    assert "_copy" in plan_of(source, *names)


def test_a_plan_without_donations_says_nothing_of_them() -> None:
    source, _ = PROGRAMS["adam"]
    text = tdsl.compile(source).f.plan()
    assert "donated" not in text and "in place" not in text


# --------------------------------------------------------------------------- a training step


def test_a_training_run_is_that_of_plain_calls(threads: None) -> None:
    step, given = digits()
    x, y, *plain = given
    mine = [w.copy() for w in plain]
    donating = step.donate(*WEIGHTS)
    for _ in range(20):
        loss, *plain = step(x, y, *plain, 0.5)
        same, *mine = donating(x, y, *mine, 0.5)
        assert same == loss
    for a, b in zip(mine, plain, strict=True):
        np.testing.assert_array_equal(a, b)


def blocks_and_bytes(run: Callable[[], None]) -> tuple[int, int]:
    """How many memory blocks more the interpreter holds after `run` than before; and how many bytes
    more it, the arrays and the native code held in between."""
    run()
    before = sys.getallocatedblocks()
    run()
    blocks = sys.getallocatedblocks() - before
    tracemalloc.start()
    run()
    tracemalloc.reset_peak()
    start, _ = tracemalloc.get_traced_memory()
    run()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return blocks, peak - start


def test_a_training_step_allocates_nothing() -> None:
    step, given = digits()
    donating = step.donate(*WEIGHTS)

    def train(f: Callable) -> Callable[[], None]:
        state = list(given[2:])

        def run() -> None:
            for _ in range(50):
                _, *state[:] = f(given[0], given[1], *state, 0.1)

        return run

    blocks, room = blocks_and_bytes(train(donating))
    assert blocks <= 2 and room < 1000  # the loss, a tuple, a list
    _, plain = blocks_and_bytes(train(step))
    assert plain > 5_000  # a second `w2`, for one


def test_a_training_loop_of_large_weights_does_not_grow() -> None:
    m = tdsl.compile(
        "def step(x: f32[b, i], y: f32[b, o], w: f32[i, o]):\n"
        "    l = mean((x @ w - y)**2)\n    return l, w - 0.1*grad(l, w)\n"
    )
    x, y, w = (np.ones(s, np.float32) for s in ((64, 1500), (64, 2000), (1500, 2000)))
    place = w.ctypes.data

    def run() -> None:
        for _ in range(5):
            _, out = m.step(x, y, w, donate="w")
            assert out is w

    _, room = blocks_and_bytes(run)
    assert room < 10_000 and w.ctypes.data == place
    if sys.platform.startswith("linux"):
        before = resident()
        for _ in range(4):
            run()
        assert resident() - before < 2**20  # `w` alone has 12 MB


def resident() -> int:
    """Bytes of the process in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


# --------------------------------------------------------------------------- random programs

NAMES = ("a", "b", "c")
READS = ("{0}[i, j]", "{0}[j, i]", "{0}[n - 1 - i, j]", "sum[k]({0}[i, k]*{0}[k, j])")
term = st.tuples(st.sampled_from(NAMES), st.sampled_from(READS)).map(lambda t: t[1].format(t[0]))
body = st.lists(term, min_size=1, max_size=3).map(lambda terms: " + ".join(terms))


@settings(max_examples=15, deadline=None)
@given(
    st.lists(body, min_size=1, max_size=3), st.sets(st.sampled_from(NAMES), min_size=1, max_size=3)
)
def test_random_programs(bodies: list[str], names: set[str]) -> None:
    lines = [f"    v{k}[i, j] = {x}" for k, x in enumerate(bodies)]
    results = ", ".join(f"v{k}" for k in range(len(bodies)))
    head = ", ".join(f"{n}: f32[n, n]" for n in NAMES)
    f = tdsl.compile("\n".join([f"def f({head}):", *lines, f"    return {results}\n"])).f
    wanted = sorted(names)[: len(bodies)]
    for size in (3, 40):
        check(f, wanted, arguments(f, {"n": size}), exact=False)
