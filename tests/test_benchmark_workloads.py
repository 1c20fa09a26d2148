"""The benchmarks' programs at small sizes: values and gradients against NumPy in float64; and the
page that is written of what was measured. The peers that are timed beside tdsl are not needed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tdsl

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))

import report  # noqa: E402
from players import Player, PlayerError  # noqa: E402
from reasons import REASONS  # noqa: E402
from rounds import Effort, Quartiles, interleaved, ratio  # noqa: E402
from workload_table import WORKLOADS, Workload  # noqa: E402

EVERY_WORKLOAD = pytest.mark.parametrize("workload", WORKLOADS, ids=lambda w: w.name)


@EVERY_WORKLOAD
def test_values_and_gradients(workload: Workload) -> None:
    arguments = workload.arguments(workload.small)
    results = workload.compiled()(*arguments)
    workload.require_right(results, workload.reference(arguments))


@EVERY_WORKLOAD
def test_large_ones_are_shared_out(workload: Workload) -> None:
    """What a second thread brings is hard to tell on a busy machine; that it is asked is not."""
    if workload.sizes == workload.small:
        pytest.skip("it is small")
    from tdsl.compiler.fork_join import EPOCH
    from tdsl.runtime.compilation import pool

    f, arguments = workload.compiled(), workload.arguments(workload.sizes)
    before = tdsl.get_num_threads()
    jobs = []
    try:
        for threads in (1, 2):
            tdsl.set_num_threads(threads)
            first = pool()._words[EPOCH]
            f(*arguments)
            jobs.append(int(pool()._words[EPOCH] - first))
    finally:
        tdsl.set_num_threads(before)
    assert jobs[0] == 0
    assert jobs[1] > 0


@EVERY_WORKLOAD
def test_the_reference_is_the_derivative_of_its_value(workload: Workload) -> None:
    """Along one direction, against central differences: the references are written by hand."""
    arguments = workload.arguments(workload.small)
    value, *gradients = workload.reference(arguments)
    rng = np.random.default_rng(1)
    names = list(workload.compiled().__signature__.parameters)
    for name, gradient in zip(workload.wrt, gradients, strict=True):
        k = names.index(name)
        wide = np.asarray(arguments[k], np.float64)
        direction = rng.standard_normal(wide.shape) * 1e-6
        ends = []
        for sign in (1, -1):
            moved = (*arguments[:k], wide + sign * direction, *arguments[k + 1 :])
            ends.append(np.sum(workload.reference(moved)[0]))
        slope = (ends[0] - ends[1]) / 2
        expected = np.sum(gradient * direction)
        scale = np.abs(gradient * direction).sum()
        assert abs(slope - expected) < 1e-6 * scale + 1e-14 * np.abs(value).sum()


def test_wrong_results_are_refused() -> None:
    workload = WORKLOADS[0]
    arguments = workload.arguments(workload.small)
    value, slope = workload.reference(arguments)
    workload.require_right((value, slope), (value, slope))
    for wrong in ((value * 1.001, slope), (value, slope * np.nan), (value, slope[1:]), (value,)):
        with pytest.raises(ValueError):
            workload.require_right(wrong, (value, slope))


def test_systems_take_turns() -> None:
    calls: list[str] = []
    works = {name: (lambda n=name: calls.append(n)) for name in "ab"}
    seconds = interleaved(works, Effort(rounds=5, least=5, turn=0))
    assert {name: len(s) for name, s in seconds.items()} == {"a": 5, "b": 5}
    turns = calls[4:]  # the first are warm-ups; in a turn, one call is timed and one is not
    assert all(sorted(turns[k : k + 4]) == ["a", "a", "b", "b"] for k in range(0, 20, 4))


def test_a_ratio_is_the_median_of_the_rounds_ratios() -> None:
    assert ratio([2.0, 30.0, 6.0], [1.0, 10.0, 2.0]) == 3.0
    assert Quartiles.of([1.0, 2.0, 3.0, 4.0, 5.0]) == Quartiles(2.0, 3.0, 4.0)


def measured(tdsl: float, peer: float, floor: float) -> dict[str, Any]:
    """One row as `workload_times` leaves it."""
    return {
        "name": "mlp",
        "seconds": {"tdsl": [tdsl] * 3, "torch": [peer] * 3},
        "first": {"tdsl": 0.1, "torch": 0.2},
        "memory floor": floor,
        "compute floor": floor / 2,
    }


@pytest.mark.parametrize(
    ("row", "missed"),
    [
        (measured(1e-3, 2e-3, 0.9e-3), False),
        (measured(2e-3, 1e-3, 1.9e-3), True),  # slower than the peer
        (measured(2e-3, 4e-3, 1e-3), True),  # far from the floor
    ],
)
def test_the_page_states_a_reason_for_every_target_missed(
    row: dict[str, Any], missed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    title = "MLP 256×784→512→256→10"
    monkeypatch.setitem(REASONS, "Value and gradients", {title: "the weather"})
    data = {"threads": 1, "peak": 1e11, "bandwidth": 1e10, "rows": [row], "left out": []}
    tables = [report.main_table(data), report.spread_table(data)]
    text = report.page("On a machine.", tables, None)
    assert (f"- **{title}**: the weather" in text) == missed


def test_reasons_are_for_rows_that_exist() -> None:
    assert set(REASONS["Value and gradients"]) <= {w.title for w in WORKLOADS}


def test_a_system_plays_in_a_process_of_its_own() -> None:
    """It prepares, is timed, says what went wrong, and goes on after that."""
    workload = next(w for w in WORKLOADS if w.name == "tiny")
    arguments = workload.arguments(workload.small)
    expected = workload.reference(arguments)
    player = Player("workload_times", 1, None, "tdsl")
    player.ready()
    wrong = tuple(np.asarray(e) + 1 for e in expected)
    with pytest.raises(PlayerError, match="tdsl, tiny: ") as caught:
        player.prepare(workload.name, arguments, wrong)
    assert caught.value.kind == "ValueError"
    is_for_it, first = player.prepare(workload.name, arguments, expected)
    assert is_for_it and first > 0
    assert 0 < player.turn(3) < 0.1
    player.close()
    missing = Player("workload_times", 1, "peers.nothing", "nothing")
    with pytest.raises(PlayerError) as caught:
        missing.ready()
    assert caught.value.kind == "ModuleNotFoundError"
    missing.close()
