"""The command line: output, exit status, and what it says when something is wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
import tdsl
from tdsl.runtime.cli import main

PROGRAM = '''
def loss(x: f32[n, d], y: f32[n], w: f32[d], b: f32) -> f32:
    """Mean squared error."""
    return mean((x @ w + b - y)**2)

def pick(x: f64[n], i: i64[m]) -> f64[m]:
    p[k] = x[i[k]]
    return p

def both(x: f64[n]):
    return sum(x), x * 2
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "m.tdsl").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_check(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "m.tdsl"]) == 0
    out = capsys.readouterr().out
    assert "m.tdsl: loss  passed  4 gradients" in out and "m.tdsl: both  passed" in out


def test_check_reports_every_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.tdsl").write_text("def f(x: f64[n]) -> f64:\n    return sum(z)\n")
    (folder / "wrong.tdsl").write_text(
        "def f(x: f64[n]) -> f64:\n    return sum(x * stop_gradient(x))\n"
    )
    assert main(["check", "bad.tdsl", "m.tdsl", "wrong.tdsl", "absent.tdsl"]) == 1
    out, err = capsys.readouterr()
    assert "bad.tdsl:2:" in err and "^" in err and "\033" not in err
    assert "no file `absent.tdsl`" in err and err.endswith("2 errors\n")
    assert "loss  passed" in out and "wrong.tdsl: f  failed" in out


def test_time_by_stage(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    line = ["m.tdsl", "loss", "--time"]
    sizes = ["--dim", "n=3", "--dim", "d=2"]
    values = [word for name in "xywb" for word in ("--arg", f"{name}=random")]
    assert main(["run", *line, *values, *sizes, "--grad", "w"]) == 0
    shown = capsys.readouterr().err.splitlines()
    stages = [text.rsplit(maxsplit=2)[0] for text in shown]
    assert stages[-1] == "total" and all(text.endswith(" ms") for text in shown)
    assert {"parse", "check", "gradient", "simplify", "fuse", "lower", "emit"} <= {*stages}
    assert {"LLVM passes", "object code", "load"} <= {*stages}
    assert main(["ir", *line]) == 0
    assert "simplify" in capsys.readouterr().err
    assert tdsl.stats().seconds["gradient"] > 0


def test_run_with_every_kind_of_value(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    x = np.arange(6, dtype=np.float32).reshape(3, 2)
    np.save("x.npy", x)
    np.savez("data.npz", labels=np.ones(3, np.float32))
    Path("w.csv").write_text("weight\n0.5\n-1\n")
    values = ["x=x.npy", "y=data.npz:labels", "w=w.csv", "b=2"]
    given = [part for value in values for part in ("--arg", value)]
    status = main(["run", "m.tdsl", "loss", *given, "--grad", "w,b", "--out", "r.npz"])
    out = capsys.readouterr().out
    assert status == 0
    w, r = np.array([0.5, -1], np.float32), x @ np.array([0.5, -1], np.float32) + 2 - 1
    with np.load("r.npz") as saved:
        assert saved["value"] == pytest.approx(np.mean(r**2))
        np.testing.assert_allclose(saved["dw"], 2 * x.T @ r / 3, rtol=1e-5)
        assert set(saved.files) == {"value", "dw", "db"}
    assert f"value = {np.mean(r**2):.5}"[:10] in out and "dw = [" in out
    assert w.shape == (2,)


def test_run_with_random_values(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = "run m.tdsl loss --arg x=random --arg y=random --arg w=[1,2] --arg b=0.5 --dim n=4"
    assert main(command.split()) == 0
    first = capsys.readouterr().out
    assert main(command.split()) == 0
    assert capsys.readouterr().out == first
    assert main([*command.split(), "--seed", "1"]) == 0
    assert capsys.readouterr().out != first
    assert main(command.split()[:-2]) == 2
    assert "random needs the size of n: --dim n=…" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "status", "text"),
    [
        ("run m.tdsl los", 2, "m.tdsl has no function los; did you mean loss?"),
        ("run m.tdsl zzzz", 2, "functions: loss, pick, both"),
        ("run m.tdsl pick --arg x=[1,2] --arg i=[0,7]", 1, "index 7 is out of range"),
        ("run m.tdsl pick --arg x=[1,2]", 2, "no --arg for i: def pick("),
        ("run m.tdsl pick --arg x=[1,2] --arg y=1", 2, "pick has no parameter y"),
        ("run m.tdsl pick --arg x=[1,2 --arg i=[0]", 2, "a number or a nested list"),
        ("run m.tdsl pick --arg x", 2, "expected name=value"),
        ("run m.tdsl pick --arg x=1 --arg x=2", 2, "x is given twice"),
        ("run m.tdsl pick --arg x=no.npy --arg i=[0]", 2, "there is no file no.npy"),
        ("run m.tdsl pick --arg x=m.npy --arg i=[0]", 2, "m.npy cannot be read"),
        ("run m.tdsl pick --arg x=1 --arg i=[0]", 1, "x must be f64[n], not the number 1"),
        ("run m.tdsl pick --arg x=[1] --arg i=random --dim k=3", 2, "pick has no dim k"),
        ("run m.tdsl pick --arg x=[1] --arg i=random --dim m=-3", 2, "a size is a whole number"),
        ("run m.tdsl both --arg x=[1] --grad x", 2, "both returns (f64, f64[n])"),
        ("run m.tdsl loss --arg x=1 --arg y=1 --arg w=1 --arg b=1 --grad q", 2, "no parameter 'q'"),
        ("run m.tdsl pick --seed -1", 2, "a seed is a whole number from 0"),
        ("run m.tdsl both --arg x=empty.csv", 2, "empty.csv cannot be read: it holds no numbers"),
        ("run m.tdsl both --arg x=latin.csv", 2, "latin.csv is not UTF-8 text"),
        ("run m.tdsl both --arg x=m.npy:k.npz", 2, "there is no file m.npy:k.npz"),
        ("run m.tdsl both --arg x=fake.npz:k", 2, "fake.npz cannot be read: it is not a .npz"),
        ("grad m.tdsl loss --wrt ,", 2, "no parameter is named: def loss("),
        ("grad m.tdsl loss --wrt q", 2, "loss has no parameter 'q'"),
        ("grad m.tdsl pick --wrt i", 2, "only floating-point parameters"),
        ("grad m.tdsl loss", 2, "--wrt"),
        ("ir m.tdsl loss --stage nothing", 2, "invalid choice"),
        ("ir absent.tdsl loss", 1, "no file `absent.tdsl`"),
        ("frobnicate", 2, "invalid choice"),
        ("", 2, "required"),
    ],
)
def test_errors(
    folder: Path, capsys: pytest.CaptureFixture[str], command: str, status: int, text: str
) -> None:
    Path("m.npy").write_text("not an array")
    Path("fake.npz").write_text("PK, not an archive")
    Path("empty.csv").write_text("x,y\n")
    Path("latin.csv").write_bytes(b"\xff1,2\n")
    assert main(command.split()) == status
    out, err = capsys.readouterr()
    assert text in err and not out
    assert "Traceback" not in err


def test_grad_prints_a_program_that_compiles(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["grad", "m.tdsl", "loss", "--wrt", "w"]) == 0
    text = capsys.readouterr().out
    given = np.ones((3, 2), np.float32), np.ones(3, np.float32), np.ones(2, np.float32), 0.5
    expected = tdsl.compile(PROGRAM).loss.grad("w")(*given)
    np.testing.assert_array_equal(tdsl.compile(text).loss_dw(*given), expected)
    assert main(["grad", "m.tdsl", "loss", "--wrt", "w,b", "--latex"]) == 0
    assert capsys.readouterr().out.startswith("\\begin{align*}")


@pytest.mark.parametrize(
    "stage",
    ["ast", "graph", "grad", "simplified", "kernels", "plan", "loops", "llvm", "llvm-opt", "asm"],
)
def test_ir(folder: Path, capsys: pytest.CaptureFixture[str], stage: str) -> None:
    assert main(["ir", "m.tdsl", "loss", "--stage", stage]) == 0
    plain = capsys.readouterr().out
    assert plain.strip()
    assert main(["ir", "m.tdsl", "loss", "--stage", stage, "--wrt", "w", "--explain"]) == 0
    with_gradient = capsys.readouterr().out
    assert (with_gradient == plain) == (stage == "ast")


def test_help_and_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"tdsl {tdsl.__version__}\n"
    for command in ("", "check", "run", "ir", "grad", "cache"):
        assert main([*command.split(), "--help"]) == 0
        assert "usage: tdsl" in capsys.readouterr().out


def test_the_version_is_stated_once_more_in_pyproject() -> None:
    project = Path(__file__).parent.parent / "pyproject.toml"
    assert tomllib.loads(project.read_text())["project"]["version"] == tdsl.__version__


def test_cache(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TDSL_CACHE_DIR", str(folder / "cache"))
    assert main(["run", "m.tdsl", "both", "--arg", "x=[1,2]"]) == 0
    assert capsys.readouterr().out == "value0 = 3.0\nvalue1 = [2., 4.]\n"
    assert main(["cache"]) == 0
    assert f"{folder / 'cache'}: " in capsys.readouterr().out
    assert main(["cache", "--clear"]) == 0
    assert "deleted" in capsys.readouterr().out
    assert not list((folder / "cache").iterdir())


def test_color_only_on_a_terminal(folder: Path) -> None:
    pty = pytest.importorskip("pty")
    (folder / "bad.tdsl").write_text("def f(x: f64[n]) -> f64:\n    return sum(z)\n")
    for env, colored in (({}, True), ({"NO_COLOR": "1"}, False)):
        main_end, other_end = pty.openpty()
        clean = {k: v for k, v in os.environ.items() if k != "NO_COLOR"}
        subprocess.run(
            [sys.executable, "-m", "tdsl", "check", "bad.tdsl"],
            stderr=other_end,
            env={**clean, "TERM": "xterm", **env},
            check=False,
        )
        os.close(other_end)
        text = os.read(main_end, 10000)
        os.close(main_end)
        assert (b"\033[31m" in text) == colored


def test_a_reader_that_leaves_is_no_error(folder: Path) -> None:
    command = f"{sys.executable} -m tdsl ir m.tdsl loss --stage llvm | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1 and not done.stderr


def test_ctrl_c_ends_with_one_line(folder: Path) -> None:
    # a fifo without a writer: reading it blocks until the signal comes
    os.mkfifo("x.npy")
    run = [sys.executable, "-m", "tdsl", "run", "m.tdsl", "both", "--arg", "x=x.npy"]
    process = subprocess.Popen(run, stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and err == "tdsl: interrupted\n"


#: A process that sends itself SIGINT, as Ctrl-C does, when the compiler has finished a stage.
INTERRUPTING = """
import os, signal, sys
import tdsl
from tdsl.compiler import stages

class Interrupting(dict):
    def get(self, name, default):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)
        return super().get(name, default)

wanted = sys.argv.pop(1)
stages.seconds = Interrupting()
signal.signal(signal.SIGINT, signal.default_int_handler)
"""


def run_interrupted(stage: str, program: str, *arguments: str, cache: Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTING + program, stage, *arguments],
        env={**os.environ, "TDSL_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert not [f.name for f in cache.glob("**/*") if f.suffix == ".tmp"]
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("stage", ["parse", "gradient", "lower", "LLVM passes", "object code"])
def test_ctrl_c_while_compiling_ends_with_one_line(folder: Path, stage: str) -> None:
    # once Python has seen an interrupt inside an `exec`, it would end by the signal
    program = """
try:
    exec("raise KeyboardInterrupt")
except KeyboardInterrupt:
    pass
from tdsl.__main__ import command_line
command_line()
"""
    cache = folder / "cache"
    sizes = ["--dim", "n=3", "--dim", "d=2"]
    values = [word for name in "xywb" for word in ("--arg", f"{name}=random")]
    line = ["run", "m.tdsl", "loss", *sizes, *values, "--grad", "w"]
    ended = run_interrupted(stage, program, *line, cache=cache)
    assert ended == (130, "", "tdsl: interrupted\n")
    status, out, err = run_interrupted("none", program, *line, cache=cache)
    assert status == 0 and out.startswith("value = ") and not err


def test_ctrl_c_while_a_class_is_made_ends_with_one_line(folder: Path) -> None:
    # Python 3.11 makes a RuntimeError of it
    program = """
from tdsl.runtime import cli

def main():
    class Interrupted:
        def __set_name__(self, owner, name):
            os.kill(os.getpid(), signal.SIGINT)
            len(name)
    class Owner:
        field = Interrupted()

cli.main = main
from tdsl.__main__ import command_line
command_line()
"""
    ended = run_interrupted("none", program, cache=folder / "cache")
    assert ended == (130, "", "tdsl: interrupted\n")


def test_ctrl_c_twice_is_told_once(folder: Path) -> None:
    program = """
class Said:
    def write(self, text):
        os.write(2, text.encode())
        os.kill(os.getpid(), signal.SIGINT)
    def flush(self):
        pass

sys.stderr = Said()
from tdsl.__main__ import command_line
command_line()
"""
    ended = run_interrupted("parse", program, "check", "m.tdsl", cache=folder / "cache")
    assert ended == (130, "", "tdsl: interrupted\n")


def test_ctrl_c_in_a_python_program_raises(folder: Path) -> None:
    program = """
m = tdsl.load("m.tdsl")
try:
    m.both([1.0, 2.0])
except KeyboardInterrupt:
    wanted = None
    print(m.both([1.0, 2.0])[0])
"""
    ended = run_interrupted("LLVM passes", program, cache=folder / "cache")
    assert ended == (0, "3.0\n", "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="has no device that is always full")
@pytest.mark.parametrize("where", ["> /dev/full", ">&-"])
def test_output_that_cannot_be_written(folder: Path, where: str) -> None:
    command = f"{sys.executable} -m tdsl ir m.tdsl loss {where}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    full = where == "> /dev/full"
    assert done.returncode == (1 if full else 0)
    said = "tdsl: the output cannot be written: No space left on device\n"
    assert done.stderr == (said if full else "")


def test_a_terminal_that_has_ascii_alone(folder: Path) -> None:
    (folder / "bad.tdsl").write_text("const \u03b1 = 1\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "tdsl", "check", "bad.tdsl"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=False,
    )
    assert b"E0101" in done.stderr and b"\\u03b1" in done.stderr
    help_text = subprocess.run(
        [sys.executable, "-m", "tdsl", "run", "--help"],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        check=True,
    )
    assert b"NAME=VALUE" in help_text.stdout


def test_a_check_of_huge_shapes_is_skipped(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "huge.tdsl").write_text(f"def f(x: f64[{2**62}, {2**62}]):\n    return sum(x)\n")
    assert main(["check", "huge.tdsl"]) == 0
    assert "skipped  its arrays would have" in capsys.readouterr().out
