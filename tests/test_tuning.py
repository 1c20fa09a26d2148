"""Tuning: what is recorded, who uses it, how it goes away, and that no choice changes a meaning.

Times are made up, except where only the results count.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tdsl
from hypothesis import given, settings
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import simplified
from tdsl.compiler.tuning import CANDIDATES, STATIC, Tuning
from tdsl.runtime import cache, tuning, tuning_records
from tdsl.runtime.cli import main

from .native_functions import Native
from .random_graphs import functions
from .test_random_graphs import with_gradients

PROGRAM = """\
def loss(z: f32[b, c], t: i64[b]) -> f32:
    return cross_entropy(z, t)

def product(x: f32[m, k], y: f32[k, n]) -> f32[m, n]:
    return tanh(x @ y)

def rows(x: f32[b, d], w: f32[d]) -> f32[b, d]:
    centred = x - mean(x, dim=1, keepdim=True)
    return centred * rsqrt(mean(centred**2, dim=1, keepdim=True) + 1e-5) * w

def pairs(x: f32[m, 3], y: f32[n, 3]) -> f32[m]:
    d[i, j] = sum[k]((x[i, k] - y[j, k])**2)
    s[i] = sum[j](exp(-d[i, j]))
    return s

def columns(x: f32[m, n]) -> f32[n]:
    return sum(x * x, dim=0)

def convolved(x: f32[b, c, h, w], k: f32[o, c, 3, 3]) -> f32[b, o, h - 2, w - 2]:
    return relu(conv2d(x, k))

def picked(x: f32[n], i: i64[m]) -> f32[m]:
    p[k] = x[i[k]]
    return p
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TDSL_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "p.tdsl"
    path.write_text(PROGRAM + f"# {tmp_path}\n")  # of this test's own
    return path


Times = Callable[[Tuning], float]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[Times], None]:
    """`clock(times)`: a call takes as long as `times` says, every time."""

    def given(times: Times) -> None:
        def rounds(self: Any, tunings: Sequence[Tuning], most: int) -> dict[Tuning, list[float]]:
            return {t: [times(t)] * most for t in tunings}

        monkeypatch.setattr("tdsl.runtime.tuning._Trial.rounds", rounds)

    return given


def without_bands(t: Tuning) -> float:
    return 1.0 if t.bands else 0.5


def arguments(b: int = 40, c: int = 10) -> tuple[Any, ...]:
    rng = np.random.default_rng(0)
    return rng.standard_normal((b, c)).astype(np.float32), rng.integers(0, c, b)


def fresh(path: Path) -> Any:
    """The program as another process would read it."""
    from tdsl.runtime import module

    module._loaded.clear()
    return tdsl.load(path)


SCRIPT = """
import json, sys
import numpy as np
import tdsl
f = tdsl.load(sys.argv[1]).loss.value_and_grad("z")
f(np.ones((4, 3), np.float32), np.zeros(4, np.int64))
s = tdsl.stats()
lean = "tdsl.compiler.graph" not in sys.modules
print(json.dumps([f.tuning.bands, s.compilations, s.cache_hits, lean]))
"""


def elsewhere(path: Path) -> list[Any]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found


# --------------------------------------------------------------------------- records


def test_the_best_is_recorded_and_used(program: Path, clock: Callable[[Times], None]) -> None:
    clock(without_bands)
    f = tdsl.load(program).loss.value_and_grad("z")
    before = f(*arguments())
    assert "block of" in f.ir("loops")
    assert f.tune(*arguments()) == Tuning(bands=False) == f.tuning
    assert f.ir("loops").startswith("# tuned: bands=False\n")
    assert "block of" not in f.ir("loops")
    for x, y in zip(f(*arguments()), before, strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
    # another process compiles nothing, and imports no compiler; the first one may make the code
    # that all functions share, which this process may have from another cache
    elsewhere(program)
    assert elsewhere(program) == [False, 0, 1, True]
    # the transform alone was tuned, not the function
    assert fresh(program).loss.tuning == STATIC
    # by content, wherever it stands
    moved = program.with_name("q.tdsl")
    moved.write_text(program.read_text())
    assert elsewhere(moved)[0] is False
    moved.write_text(program.read_text().replace("1e-5", "1e-6"))
    assert elsewhere(moved)[0] is True


def test_it_can_be_forgotten(program: Path, clock: Callable[[Times], None]) -> None:
    clock(without_bands)
    f = tdsl.load(program).loss
    f.tune(*arguments())
    assert fresh(program).loss.tuning == Tuning(bands=False)
    value = f(*arguments())
    assert f.forget_tuning() and f.tuning == STATIC
    assert f(*arguments()) == pytest.approx(value)
    assert not f.forget_tuning() and fresh(program).loss.tuning == STATIC
    f.tune(*arguments())
    cache.clear()
    assert fresh(program).loss.tuning == STATIC


def test_the_static_choice_replaces_a_record(program: Path, clock: Callable[[Times], None]) -> None:
    f = tdsl.load(program).loss
    clock(without_bands)
    f.tune(*arguments())
    clock(lambda t: 1.0)
    assert f.tune(*arguments()) == STATIC == fresh(program).loss.tuning


@pytest.mark.parametrize("gain", [0.98, 1.0, 1.2])
def test_noise_is_no_gain(program: Path, clock: Callable[[Times], None], gain: float) -> None:
    clock(lambda t: 1.0 if t == STATIC else gain)
    assert tdsl.load(program).loss.tune(*arguments()) == STATIC
    assert fresh(program).loss.tuning == STATIC


def test_choices_that_gain_are_combined(program: Path, clock: Callable[[Times], None]) -> None:
    def times(t: Tuning) -> float:
        return 1.0 - 0.2 * (t.sum_copies == 1) - 0.1 * (t.lanes == "output") - 0.05 * (not t.bands)

    clock(times)
    expected = Tuning(sum_copies=1, lanes="output", bands=False)
    assert tdsl.load(program).loss.tune(*arguments()) == expected


def test_a_choice_must_gain_with_the_others(program: Path, clock: Callable[[Times], None]) -> None:
    clock(lambda t: 0.8 if t.sum_copies == 1 else 0.9 if not t.bands else 1.0)
    assert tdsl.load(program).loss.tune(*arguments()) == Tuning(sum_copies=1)


def test_wrong_results_are_rejected(
    program: Path, clock: Callable[[Times], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock(without_bands)
    right = tuning._Trial.call

    def call(self: Any, t: Tuning) -> Any:
        found = right(self, t)
        return found if t.bands else lambda: found() * 1.001

    monkeypatch.setattr("tdsl.runtime.tuning._Trial.call", call)
    f = tdsl.load(program).loss
    outcome = tuning.tune(f, arguments(), {})
    (bad,) = (v for v in outcome.variants if v.fault)
    assert bad.tuning == Tuning(bands=False) and bad.fault == "result 0 is off by 1e-03"
    assert f.tuning == STATIC


@pytest.mark.parametrize(
    ("found", "expected", "fault"),
    [
        ([1.0, 2.0], [1.0, 2.00001], ""),
        ([1.0, 2.0], [1.0, 2.1], "result 0 is off by 5e-02"),
        ([np.nan, 2.0], [np.nan, 2.0], ""),
        ([np.inf, 2.0], [np.inf, 2.0], ""),
        ([np.inf, 2.0], [-np.inf, 2.0], "result 0 differs where it is not finite"),
        ([1.0, np.nan], [1.0, 2.0], "result 0 is off by nan"),
        ([0.0, 1e-9], [0.0, 0.0], "result 0 is off by 1e-09"),
        ([], [], ""),
    ],
)
def test_what_counts_as_wrong(found: list[float], expected: list[float], fault: str) -> None:
    from tdsl.compiler.dtypes import F32, I64

    x, y = np.array(found, np.float32), np.array(expected, np.float32)
    assert tuning._fault([x], [y], [F32]) == fault
    whole = np.arange(3)
    assert tuning._fault([whole], [[*whole, 0]], [I64]) == "result 0 differs"


# --------------------------------------------------------------------------- damage


def test_a_damaged_record_is_ignored(program: Path, clock: Callable[[Times], None]) -> None:
    clock(without_bands)
    f = tdsl.load(program).loss
    f.tune(*arguments())
    key = tuning_records._key(f._source, "loss", None)
    path = cache.directory() / (key + cache.SUFFIX)
    whole = path.read_bytes()
    for damaged in (whole[:-3], b"", whole.replace(b"false", b"true ")):
        path.write_bytes(damaged)
        assert fresh(program).loss.tuning == STATIC
    path.write_bytes(whole)
    assert fresh(program).loss.tuning == Tuning(bands=False)


@pytest.mark.parametrize(
    "change",
    [
        {"lanes": "sideways"},
        {"sum_copies": 2.0},
        {"sum_copies": 1.0},
        {"sum_copies": True},
        {"sum_copies": -1},
        {"sum_copies": 3},
        {"tile_vectors": 0},
        {"bands": 1},
        {"bands": None},
        {"colour": "blue"},
    ],
)
def test_an_impossible_record_is_ignored(program: Path, change: dict[str, Any]) -> None:
    f = tdsl.load(program).loss
    key = tuning_records._key(f._source, "loss", None)
    good = dict(vars(Tuning(packing=False)))
    cache.put(key, {"tuning": good})
    assert fresh(program).loss.tuning == Tuning(packing=False)
    for bad in (good | change, {n: v for n, v in good.items() if n != "bands"}, [], None):
        cache.put(key, {"tuning": bad})
        assert fresh(program).loss.tuning == STATIC


def test_an_interrupt_leaves_no_record(
    program: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def rounds(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("tdsl.runtime.tuning._Trial.rounds", rounds)
    assert main(["tune", "p.tdsl", "columns", "--dim", "m=9", "--dim", "n=5"]) == 130
    assert capsys.readouterr().err == "tdsl: interrupted\n"
    assert fresh(program).columns.tuning == STATIC
    assert fresh(program).columns(np.ones((3, 2), np.float32)).tolist() == [3, 3]


# --------------------------------------------------------------------------- meanings

CASES: dict[str, tuple[tuple[str, ...], tuple[Any, ...]]] = {
    "loss": (("z",), arguments(70, 37)),
    "product": (
        ("x", "y"),
        tuple(np.random.default_rng(1).standard_normal((2, 70, 70)).astype(np.float32)),
    ),
    "rows": (
        ("x", "w"),
        (
            np.random.default_rng(2).standard_normal((300, 40)).astype(np.float32),
            np.ones(40, np.float32),
        ),
    ),
    "pairs": (
        ("x", "y"),
        tuple(np.random.default_rng(3).standard_normal((2, 130, 3)).astype(np.float32)),
    ),
    "convolved": (
        ("x", "k"),
        (
            np.random.default_rng(6).standard_normal((2, 5, 20, 21)).astype(np.float32),
            np.random.default_rng(7).standard_normal((18, 5, 3, 3)).astype(np.float32),
        ),
    ),
    "columns": (
        ("x",),
        (np.random.default_rng(4).standard_normal((900, 35)).astype(np.float32),),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_every_choice_computes_the_same(program: Path, name: str) -> None:
    """Each alone and all with it in common, value and gradients; any number of threads gives the
    same bits."""
    wrt, values = CASES[name]
    f = tdsl.load(program)[name]
    ct = np.asarray(np.random.default_rng(5).standard_normal(np.shape(f(*values))), np.float32)
    calls = [(f, values), (f.vjp(*wrt), (*values, ct))]
    alone = [Tuning(**{choice: value}) for choice, value in CANDIDATES]
    for g, values in calls:
        trial = tuning._Trial(g, values, {})
        expected, codes = trial.expected, {trial.code(STATIC)}
        dtypes = [o.dtype for o in g.description.outputs]
        for t in alone:
            if (code := trial.code(t)) in codes:
                continue
            codes.add(code)
            tuned = tdsl.runtime.function.Function(g._source, g._base, g._transform, t)
            bits = []
            try:
                for threads in (1, 2):
                    tdsl.set_num_threads(threads)
                    found = tuning._values(tuned(*values))
                    assert not tuning._fault(found, expected, dtypes), t
                    bits.append([x.tobytes() for x in found])
            finally:
                tdsl.set_num_threads(tdsl.runtime.threads.usual())
            assert bits[0] == bits[1], t


@pytest.mark.parametrize("choice", CANDIDATES, ids=str)
def test_random_functions(choice: tuple[str, Any]) -> None:
    """Native code by every choice agrees with the interpreter, value and gradients."""
    name, value = choice

    @settings(max_examples=12, database=None, deadline=None, derandomize=True)
    @given(functions())
    def examined(case: Any) -> None:
        fn, arrays = case
        whole = simplified(with_gradients(fn))
        with whole.scope.active():
            native = Native(whole, Tuning(**{name: value}))
        for got, want in zip(native(*arrays), interpret(whole, arrays), strict=True):
            scale = np.abs(want).max(initial=1) if want.dtype.kind == "f" else 1
            np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-11 * scale)

    examined()


def test_equal_choices_make_equal_code(program: Path) -> None:
    trial = tuning._Trial(tdsl.load(program).loss, arguments(), {})
    assert trial.code(STATIC) == trial.code(Tuning()) != trial.code(Tuning(bands=False))


# --------------------------------------------------------------------------- calls


def test_tensors_lists_and_keywords(program: Path, clock: Callable[[Times], None]) -> None:
    clock(without_bands)
    module = tdsl.load(program)
    z, t = arguments()
    assert module.loss.tune(z.tolist(), t=t.tolist()) == Tuning(bands=False)
    f = module.loss.value_and_grad("z")
    assert f.tune(tdsl.tensor(z), tdsl.tensor(t)) == Tuning(bands=False)
    assert isinstance(f(tdsl.tensor(z), tdsl.tensor(t))[1], tdsl.Tensor)


def test_donated_arguments_use_the_record(program: Path, clock: Callable[[Times], None]) -> None:
    clock(without_bands)
    f = tdsl.load(program).rows
    x, w = np.ones((4, 3), np.float32), np.ones(3, np.float32)
    with pytest.raises(TypeError, match="donate last"):
        f.donate("x").tune(x, w)
    assert f.tune(x, w) == Tuning(bands=False) == fresh(program).rows.donate("x").tuning
    assert fresh(program).rows.donate("x")(x, w) is x


def test_what_cannot_be_called_cannot_be_tuned(program: Path) -> None:
    f = tdsl.load(program).picked
    with pytest.raises(TypeError, match="i"):
        f.tune(np.ones(3, np.float32))
    with pytest.raises(IndexError, match="index 7 is out of range"):
        f.tune(np.ones(3, np.float32), [7])
    assert f.tune(np.ones(3, np.float32), [2]) == f.tuning


# --------------------------------------------------------------------------- the command line


def test_command(
    program: Path, clock: Callable[[Times], None], capsys: pytest.CaptureFixture[str]
) -> None:
    clock(without_bands)
    line = ["tune", "p.tdsl", "loss", "--dim", "b=40", "--dim", "c=10", "--grad", "z"]
    assert main([*line, "--arg", "t=random", "--seed", "3"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("loss_and_dz on ")
    assert "static choice" in out and "bands=False" in out
    assert "\nagain, for longer: bands=False  500 ms  0.50\nrecorded: bands=False\n" in out
    assert fresh(program).loss.value_and_grad("z").tuning == Tuning(bands=False)
    assert main(["tune", "p.tdsl", "loss", "--grad", "z", "--forget"]) == 0
    assert capsys.readouterr().out == "loss_and_dz: back to the static choice\n"
    assert main(["tune", "p.tdsl", "loss", "--grad", "z", "--forget"]) == 0
    assert capsys.readouterr().out == "loss_and_dz: nothing was recorded\n"
    clock(lambda t: 1.0)
    assert main(line) == 0
    assert "the static choice stays" in capsys.readouterr().out


def test_command_with_real_times(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    threads = tdsl.get_num_threads()
    try:
        line = "tune p.tdsl columns --dim m=50 --dim n=30 --threads 1"
        assert main(line.split()) == 0
    finally:
        tdsl.set_num_threads(threads)
    out = capsys.readouterr().out
    assert out.startswith("columns on 1 thread\n") and "static choice" in out


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        ("tune p.tdsl los", 2, "p.tdsl has no function los; did you mean loss?"),
        ("tune p.tdsl columns", 2, "random needs the size of m, n: --dim m=… --dim n=…"),
        ("tune p.tdsl columns --dim m=3 --dim q=3", 2, "columns has no dim q"),
        ("tune p.tdsl columns --dim m=3 --dim n=-3", 2, "a size is a whole number"),
        ("tune p.tdsl columns --arg y=1", 2, "columns has no parameter y"),
        ("tune p.tdsl columns --grad x --dim m=3 --dim n=3", 2, "columns returns f32[n]"),
        ("tune p.tdsl loss --grad q --dim b=3 --dim c=3", 2, "no parameter 'q'"),
        ("tune p.tdsl picked --arg x=[1] --arg i=[4]", 1, "index 4 is out of range"),
        ("tune p.tdsl columns --dim m=3 --dim n=3 --threads 0", 2, "a whole number from 1 to 256"),
        ("tune absent.tdsl loss", 1, "no file `absent.tdsl`"),
    ],
)
def test_command_errors(
    program: Path, capsys: pytest.CaptureFixture[str], command: str, status: int, text: str
) -> None:
    assert main(command.split()) == status
    out, err = capsys.readouterr()
    assert text in err and not out and "Traceback" not in err
