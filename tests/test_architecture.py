"""The rules about the source itself: what may import what, where files lie, how long they are.

In: the repository's own `.py` files, parsed with `ast`, never imported. That imports go one way
keeps the compiler usable without the language and both without the runtime.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("compiler", "dsl", "runtime")  # each may import itself and those before it
LONGEST = 500
VAGUE = {"utils", "util", "helpers", "helper", "misc", "common", "manager"}

PACKAGE = sorted(
    path
    for layer in LAYERS
    for path in (ROOT / layer).rglob("*.py")
    if "__pycache__" not in path.parts
)
ROOT_FILES = sorted(ROOT.glob("*.py"))
ALL = sorted(
    [
        *PACKAGE,
        *ROOT_FILES,
        *(
            path
            for folder in ("tests", "examples", "benchmarks", "docs")
            for path in (ROOT / folder).rglob("*.py")
        ),
    ]
)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=name(path))


def imported(path: Path) -> list[tuple[int, str]]:
    """(line, dotted name) of every import in the file, wherever it stands; relative ones are
    resolved to names that begin with `tdsl.`, and `from . import a` counts as `tdsl.….a`."""
    package = ["tdsl", *path.relative_to(ROOT).parts[:-1]]
    found = []
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = [*base, *([node.module] if node.module else [])]
            found += [(node.lineno, ".".join([*module, alias.name])) for alias in node.names]
    return found


def absolute_names(node: ast.AST) -> list[str]:
    """The modules that an import statement names in full."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(level=0, module=str(module)):
            return [module]
    return []


def layer_of(dotted: str) -> str | None:
    """The layer a `tdsl.…` name belongs to; the package's own name is above them all."""
    parts = dotted.split(".")
    if parts[0] != "tdsl":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else "tdsl"


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_imports_go_one_way(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    allowed = {None, *LAYERS[: LAYERS.index(own) + 1]}
    wrong = [
        f"{name(path)}:{line} imports {module}"
        for line, module in imported(path)
        if layer_of(module) not in allowed
    ]
    assert not wrong, f"{own} may import only {' and '.join(LAYERS[: LAYERS.index(own) + 1])}"


@pytest.mark.parametrize("path", [*PACKAGE, *ROOT_FILES], ids=name)
def test_imports_inside_the_package_are_relative(path: Path) -> None:
    absolute = [
        f"{name(path)}:{node.lineno}"
        for node in ast.walk(tree(path))
        for module in absolute_names(node)
        if module.split(".")[0] == "tdsl"
    ]
    assert not absolute


def test_imports_are_seen_for_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules above rest on `imported`; here it meets every form an import can take."""
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "dsl").mkdir()
    file = tmp_path / "dsl" / "check.py"
    file.write_text(
        "import numpy as np\nfrom . import syntax\nfrom .. import runtime\n"
        "def f():\n    from ..runtime.call import g\n    import tdsl.runtime\n"
        "from ..compiler.graph import Graph\nfrom ..runtime import call\n"
    )
    found = {module: layer_of(module) for _, module in imported(file)}
    assert found == {
        "numpy": None,
        "tdsl.dsl.syntax": "dsl",
        "tdsl.runtime": "runtime",
        "tdsl.runtime.call.g": "runtime",
        "tdsl.compiler.graph.Graph": "compiler",
        "tdsl.runtime.call": "runtime",
    }


def test_no_stray_modules_in_the_root() -> None:
    """The root is the package: setuptools would ship any other `.py` file there."""
    assert {path.name for path in ROOT_FILES} <= {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("path", ALL, ids=name)
def test_every_file_says_what_it_is(path: Path) -> None:
    assert ast.get_docstring(tree(path)), f"{name(path)} has no docstring"


def test_no_file_is_too_long() -> None:
    lengths = {name(path): len(path.read_text(encoding="utf-8").splitlines()) for path in ALL}
    too_long = {file: lines for file, lines in lengths.items() if lines > LONGEST}
    assert not too_long, f"over {LONGEST} lines: find the second idea in each and name it"


def test_no_file_has_a_vague_name() -> None:
    assert not [name(path) for path in ALL if set(path.stem.lower().split("_")) & VAGUE]


def test_importing_is_light() -> None:
    """SymPy is loaded only for a derivative that is not known yet, matplotlib never."""
    program = (
        "import sys, tdsl; "
        "print(*sorted({'sympy', 'matplotlib'} & {m.split('.')[0] for m in sys.modules}))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert not run.stdout.split()
