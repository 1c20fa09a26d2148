"""Random programs mean the same however they are run.

Interpreter, simplified graph and native code; value and gradient; the printed text and what it
compiles to. What is compared and how closely: `program_agreement`. A few programs run always;
`test_many_programs` runs 2,000, from a seed that it prints.

    TDSL_PROGRAMS=500 TDSL_SEED=7 pytest -m slow tests/test_random_programs.py
"""

from __future__ import annotations

import os
import secrets
import zlib
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, seed, settings
from tdsl.compiler.errors import TdslError

from .program_agreement import examine
from .random_programs import Program, programs

pytestmark = pytest.mark.filterwarnings("ignore::tdsl.TdslWarning")

FEW = 40
MANY = 2_000
REFUSED = 0.05  # of the programs may be refused by the checker, their sizes being contradictory


@pytest.fixture(scope="module", autouse=True)
def _empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Everything is compiled here and now."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TDSL_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def run(count: int, counts: Counter[str], start: int | None) -> None:
    def examined(program: Program) -> None:
        number = zlib.crc32(program.text.encode())
        counts["programs"] += 1
        try:
            examine(program, number, texts=number % 5 == 0)
        except TdslError:
            counts["refused"] += 1

    chosen = settings(
        max_examples=count,
        derandomize=start is None,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    test = chosen(given(programs())(examined))
    (test if start is None else seed(start)(test))()


def test_a_few_programs() -> None:
    counts: Counter[str] = Counter()
    run(FEW, counts, None)
    assert counts["programs"] >= FEW and counts["refused"] <= 0.2 * counts["programs"]


@pytest.mark.slow
def test_many_programs() -> None:
    start = int(os.environ.get("TDSL_SEED", secrets.randbelow(2**32)))
    count = int(os.environ.get("TDSL_PROGRAMS", MANY))
    print(f"\n{count} random programs: TDSL_SEED={start}")
    counts: Counter[str] = Counter()
    run(count, counts, start)
    print(dict(counts))
    assert counts["refused"] <= max(2, REFUSED * counts["programs"])
