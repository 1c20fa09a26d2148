"""Random programs mean the same however they are run.

Interpreter, simplified graph and native code; value and gradient; the printed text and what it
compiles to. What is compared and how closely: `program_agreement`. A few programs run always;
`test_many_programs` runs 2,000, from a seed that it prints.

    TDSL_PROGRAMS=500 TDSL_SEED=7 pytest -m slow tests/test_random_programs.py
"""

from __future__ import annotations

import os
import re
import secrets
import zlib
from collections import Counter
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from tdsl.compiler.errors import TdslError
from tdsl.compiler.pipeline import graph_text, simplified
from tdsl.dsl.check import check
from tdsl.dsl.modules import load_modules

from .program_agreement import examine
from .random_programs import Program, programs

pytestmark = pytest.mark.filterwarnings("ignore::tdsl.TdslWarning")

FEW = 40
SPOILT = 150
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


# --------------------------------------------------------------------------- spoilt programs

_TOKENS = re.compile(r"\w+|\s+|[^\w\s]")
_FOREIGN = (
    "0", "-1", "n", "x0", "f32", "i64", "sum", "[", "]", "(", ")", ":", ",", "None", "...", "grad",
    "if", "else", "True", "nan", "*", "@", "**", "//", "for i in 0:n", "mean[r](x0[r])", "1e400",
    "10**20", "'text'", "\n",
)  # fmt: skip


@settings(
    max_examples=SPOILT,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    programs(),
    st.lists(st.tuples(st.integers(0, 10**6), st.sampled_from((None, "", *_FOREIGN))), max_size=2),
)
def test_a_spoilt_program_is_refused_cleanly(
    program: Program, changes: list[tuple[int, str | None]]
) -> None:
    """With a word or two replaced a program checks, or raises TdslError; where it checks, it goes
    through the graph stages, and what these print checks too."""
    words = _TOKENS.findall(program.text)
    for position, word in changes:
        k = position % len(words)
        words[k] = words[position * 7 % len(words)] if word is None else word
    try:
        checked = check(load_modules(None, "".join(words)))
    except TdslError:
        return
    for fn in checked.functions.values():
        simplified(fn)
        check(load_modules(None, graph_text(fn, "simplified")))
