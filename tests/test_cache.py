"""The disk cache: hits, misses, damage, and two processes at once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tdsl
from tdsl.runtime import cache

SCRIPT = """
import json, sys, time, warnings
warnings.simplefilter("always")
import numpy as np
import tdsl
m = tdsl.load(sys.argv[1])
value = m.f(np.arange(4.0))
gradient = m.f.grad("x")(np.arange(4.0)).tolist()
s = tdsl.stats()
heavy = {"lark", "sympy", "llvmlite.binding", "tdsl.compiler.graph", "tdsl.dsl.parser"}
loaded = sorted(heavy & sys.modules.keys())
print(json.dumps([value, gradient, s.compilations, s.cache_hits, s.parses, loaded]))
"""
EXPECTED = [14.0, [0.0, 2.0, 4.0, 6.0]]


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TDSL_CACHE_DIR", str(tmp_path / "cache"))
    path = tmp_path / "p.tdsl"
    path.write_text(
        '"""Doc."""\ndef f(x: f64[n]) -> f64:\n    """Sum of squares."""\n    return sum(x * x)\n'
    )
    return path


def run(program: Path, **env: str) -> tuple[list[Any], str]:
    command = [sys.executable, "-c", SCRIPT, str(program)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, **env}
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), done.stderr


def test_a_warm_start_compiles_and_parses_nothing(program: Path) -> None:
    cold, _ = run(program)
    assert cold[:5] == [*EXPECTED, 2, 0, 1]
    warm, _ = run(program)
    assert warm == [*EXPECTED, 0, 2, 0, []]


def test_a_changed_program_is_compiled_anew(program: Path) -> None:
    run(program)
    program.write_text(program.read_text().replace("x * x", "x * x * 2"))
    changed, _ = run(program)
    assert changed[0] == 28.0 and changed[2:5] == [2, 0, 1]


def entries(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*.tdslc"))


@pytest.mark.parametrize(
    "damage",
    [
        lambda raw: b"",
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[:-1],
        lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        lambda raw: raw.replace(b"tdsl cache 1", b"tdsl cache 0"),
        lambda raw: b"\0" * len(raw),
        lambda raw: raw[:60] + b"garbage" + raw[67:],
        lambda raw: raw + b"more",
    ],
)
def test_damaged_entries_are_rebuilt(program: Path, tmp_path: Path, damage: Any) -> None:
    run(program)
    found = entries(tmp_path)
    assert len(found) == 5  # the machine, the index, the shared entry, the function, its gradient
    for path in found:
        path.write_bytes(damage(path.read_bytes()))
    again, errors = run(program)
    assert again[:5] == [*EXPECTED, 2, 0, 1] and not errors
    assert run(program)[0][2:5] == [0, 2, 0]


def test_two_processes_at_once(program: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(program)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
    for process in both:
        out, _ = process.communicate()
        assert process.returncode == 0 and json.loads(out)[:2] == EXPECTED
    assert run(program)[0][2:5] == [0, 2, 0]


def test_an_unwritable_cache_warns_once_and_works(program: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a directory")
    result, errors = run(program, TDSL_CACHE_DIR=str(blocked))
    assert result[:2] == EXPECTED
    assert errors.count("cannot be written") == 1
    if os.geteuid() != 0:  # root writes everywhere
        locked = tmp_path / "locked"
        locked.mkdir(mode=stat.S_IRUSR | stat.S_IXUSR)
        assert "cannot be written" in run(program, TDSL_CACHE_DIR=str(locked))[1]


def test_put_and_get(program: Path) -> None:
    name = cache.key("a", "bc")
    assert name != cache.key("ab", "c")
    assert cache.get(name) is None
    cache.put(name, {"k": [1, "é"]}, b"\0data")
    found = cache.get(name)
    assert found is not None and found.header == {"k": [1, "é"]} and found.data == b"\0data"
    assert cache.usage()[0] == 1
    assert cache.clear() == 1 and cache.usage() == (0, 0) and cache.get(name) is None


def test_the_size_is_bounded(program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TDSL_CACHE_LIMIT", "10000")
    names = [cache.key(str(k)) for k in range(20)]
    for k, name in enumerate(names):
        cache.put(name, {}, b"x" * 1000)
        os.utime(cache.directory() / (name + cache.SUFFIX), (k, k))
    assert cache.usage()[1] <= 10000
    assert cache.get(names[-1]) is not None and cache.get(names[0]) is None


def test_the_directory_follows_the_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TDSL_CACHE_DIR", "/somewhere")
    assert cache.directory() == Path("/somewhere")
    monkeypatch.delenv("TDSL_CACHE_DIR")
    if sys.platform == "linux":
        monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
        assert cache.directory() == Path("/xdg/tdsl")


def test_a_moved_import_is_noticed(program: Path, tmp_path: Path) -> None:
    part = tmp_path / "part.tdsl"
    part.write_text("def g(x: f64[n]) -> f64[n]:\n    return x * x\n")
    program.write_text(
        'from "part.tdsl" import g\ndef f(x: f64[n]) -> f64:\n    return sum(g(x))\n'
    )
    assert run(program)[0][:2] == EXPECTED
    part.write_text("def g(x: f64[n]) -> f64[n]:\n    return 2 * x * x\n")
    changed = run(program)[0]
    assert changed[0] == 28.0 and changed[2] == 2


def test_entries_that_are_directories(program: Path, tmp_path: Path) -> None:
    run(program)
    for path in entries(tmp_path):
        path.unlink()
        path.mkdir()
    result, errors = run(program)
    assert result[:2] == EXPECTED and errors.count("cannot be written") == 1
    assert cache.clear() == 0  # what could not be deleted does not count


def test_a_full_disk(program: Path, tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    command = [sys.executable, "-c", SCRIPT, str(program)]

    def small_files() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))

    done = subprocess.run(
        command, capture_output=True, text=True, check=True, preexec_fn=small_files
    )
    assert json.loads(done.stdout)[:2] == EXPECTED
    assert done.stderr.count("cannot be written") == 1
    assert not list((tmp_path / "cache").glob("*.tmp"))
    assert run(program)[0][:2] == EXPECTED


def test_a_file_deleted_after_it_was_loaded(program: Path) -> None:
    m = tdsl.load(program)
    program.unlink()
    assert m.f([1.0, 2.0]) == 5.0
    assert m.f.grad("x")([1.0, 2.0]).tolist() == [2.0, 4.0]
    with pytest.raises(tdsl.TdslError, match="E0201"):
        tdsl.load(program)


def test_a_file_changed_between_loads(program: Path) -> None:
    before = tdsl.load(program)
    assert tdsl.load(program) is before
    program.write_text(program.read_text().replace("x * x", "x * 3"))
    after = tdsl.load(program)
    assert after.f([1.0, 2.0]) == 9.0 and before.f([1.0, 2.0]) == 5.0
