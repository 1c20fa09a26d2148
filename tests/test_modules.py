"""Files and imports: reading source text, resolving imports, and what goes wrong with both.

In: files in a temporary directory. A wrong file or import must end in a TdslError that names it.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tdsl.compiler.errors import Diagnostic, TdslError
from tdsl.dsl.modules import MAX_IMPORT_DEPTH, Program, load_modules
from tdsl.dsl.source import MAX_BYTES, read_source
from tdsl.dsl.syntax import Import


@pytest.fixture(autouse=True)
def _in_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(**files: str) -> None:
    for name, text in files.items():
        path = Path(name.replace("__", "/") + ".tdsl")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def failure(path: str | None, text: str | None = None) -> tuple[Diagnostic, ...]:
    with pytest.raises(TdslError) as caught:
        load_modules(None if path is None else Path(path), text)
    return caught.value.diagnostics


# -------------------------------------------------------------------------- read_source


def refused(data: bytes) -> Diagnostic:
    Path("bad.tdsl").write_bytes(data)
    with pytest.raises(TdslError) as caught:
        read_source("bad.tdsl")
    (d,) = caught.value.diagnostics
    assert d.span.path == "bad.tdsl" and "bad.tdsl" in d.message
    return d


def test_text_is_read_as_it_is() -> None:
    Path("a.tdsl").write_bytes(b"\xef\xbb\xbf# \xc3\xa9\r\nconst a = 1")
    assert read_source("a.tdsl") == "# é\r\nconst a = 1"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32"])
def test_other_encodings_are_named(encoding: str) -> None:
    d = refused("const a = 1".encode(encoding))
    assert d.code == "E0203" and encoding.upper() in d.message


def test_the_first_bad_byte_is_shown() -> None:
    d = refused("# é\n# é ".encode() + b"\xff\n")
    assert d.code == "E0203"
    assert "0xff" in d.message and "offset 10" in d.message and "line 2" in d.message
    assert (d.span.line, d.span.column) == (2, 5)


def test_nul_bytes() -> None:
    d = refused(b"const a = 1\nab\0")
    assert (d.code, d.span.line, d.span.column) == ("E0204", 2, 3)


def test_large_files() -> None:
    d = refused(b"#" * (MAX_BYTES + 1))
    assert d.code == "E0206"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("missing.tdsl", "E0201"),
        ("no_such_directory/a.tdsl", "E0201"),
        ("a.tdsl/b.tdsl", "E0201"),
        (".", "E0202"),
        ("/dev/null", "E0202"),
        ("nul\0.tdsl", "E0205"),
        ("long" * 1000, "E0205"),
        ("loop.tdsl", "E0205"),
    ],
)
def test_paths_that_lead_to_no_text(path: str, code: str) -> None:
    write(a="const a = 1")
    os.symlink("loop.tdsl", "loop.tdsl")
    with pytest.raises(TdslError) as caught:
        read_source(path)
    assert [d.code for d in caught.value.diagnostics] == [code]


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read everything")
def test_no_permission() -> None:
    write(a="const a = 1")
    os.chmod("a.tdsl", 0)
    assert [d.code for d in failure("a.tdsl")] == ["E0205"]


# ------------------------------------------------------------------------------ imports


def order(program: Program) -> list[str]:
    return [m.path for m in program.modules.values()]


def test_imports_come_before_their_importers() -> None:
    write(
        main='from "lib/b.tdsl" import b\nfrom "a.tdsl" import a as c\nconst d = 1',
        a='from "lib/b.tdsl" import b, e\nfn a(x) = x',
        lib__b='from "../lib/./c.tdsl" import c\nconst b = 1\ndef e(x: f32):\n    return x',
        lib__c="const c = 1",
    )
    program = load_modules(Path("main.tdsl"))
    assert order(program) == ["lib/c.tdsl", "lib/b.tdsl", "a.tdsl", "main.tdsl"]
    assert list(program.modules)[-1] == os.path.realpath("main.tdsl")
    assert program.root is program.modules[os.path.realpath("main.tdsl")]
    first = program.root.declarations[0]
    assert isinstance(first, Import)
    assert program.imported(program.root, first).path == "lib/b.tdsl"
    assert set(program.sources) == set(order(program))


def test_a_file_has_one_module_however_it_is_named() -> None:
    write(a="const a = 1", main='from "a.tdsl" import a\nfrom "./link.tdsl" import a as b')
    os.symlink("a.tdsl", "link.tdsl")
    program = load_modules(Path("main.tdsl"))
    first, second = program.root.declarations
    assert isinstance(first, Import) and isinstance(second, Import)
    assert program.imported(program.root, first) is program.imported(program.root, second)
    assert len(program.modules) == 2


def test_text_imports_from_the_current_directory_or_beside_its_path() -> None:
    write(a="const a = 1", lib__a="const b = 1")
    program = load_modules(None, 'from "a.tdsl" import a')
    assert program.root.path == "<text>" and order(program) == ["a.tdsl", "<text>"]
    program = load_modules(Path("lib/new.tdsl"), 'from "a.tdsl" import b')
    assert order(program) == ["lib/a.tdsl", "lib/new.tdsl"]


def test_neither_path_nor_text() -> None:
    with pytest.raises(TypeError):
        load_modules(None)


def test_cycles_are_shown_whole() -> None:
    write(
        main='from "a.tdsl" import y',
        a='const y = 1\nfrom "lib/b.tdsl" import x',
        lib__b='from "../a.tdsl" import y\nconst x = 1',
    )
    (d,) = failure("main.tdsl")
    assert d.code == "E0207" and "`a.tdsl` → `lib/b.tdsl` → `a.tdsl`" in d.message
    assert str(d.span) == "lib/b.tdsl:1:6"
    assert [(str(n.span), n.message) for n in d.notes] == [
        ("a.tdsl:2:6", "`a.tdsl` imports `lib/b.tdsl`")
    ]


def test_a_file_that_imports_itself() -> None:
    write(a='from "./a.tdsl" import x')
    (d,) = failure("a.tdsl")
    assert (d.code, d.message) == ("E0207", "`a.tdsl` imports itself")


def test_missing_file_is_shown_at_its_import() -> None:
    write(main='from "layer.tdsl" import x\nfrom "nowhere/y.tdsl" import y', layers="const x = 1")
    first, second = failure("main.tdsl")
    assert (first.code, str(first.span)) == ("E0201", "main.tdsl:1:6")
    assert first.hint == "did you mean `layers.tdsl`?"
    assert second.code == "E0201" and "no directory `nowhere`" in (second.hint or "")


@pytest.mark.parametrize(("path", "code"), [("", "E0202"), ("lib", "E0202"), ("\\n", "E0201")])
def test_odd_import_paths(path: str, code: str) -> None:
    Path("lib").mkdir()
    (d,) = failure(None, f'from "{path}" import x')
    assert d.code == code


def test_unreadable_import_is_shown_at_its_import_with_the_place() -> None:
    Path("bad.tdsl").write_bytes(b"const a = 1\n# \xff")
    (d,) = failure(None, 'from "bad.tdsl" import a')
    assert (d.code, str(d.span)) == ("E0203", "<text>:1:6")
    assert [str(n.span) for n in d.notes] == ["bad.tdsl:2:3"]


def test_imported_names_must_exist() -> None:
    write(a='from "b.tdsl" import deep\nconst HALF = 0.5\nfn gelu(x) = x', b="const deep = 1")
    first, second, third = failure(None, 'from "a.tdsl" import gleu, deep as d, unknown')
    assert (first.code, str(first.span), first.hint) == (
        "E0208",
        "<text>:1:22",
        "did you mean `gelu`?",
    )
    assert second.hint == 'it imports `deep` from "b.tdsl": import it from there'
    assert third.hint is None


def test_errors_of_all_files_are_reported_with_their_sources() -> None:
    write(a="const a = = 1", b="fn b(x) = x ^ 2\nconst c = 1")
    with pytest.raises(TdslError) as caught:
        load_modules(None, 'from "a.tdsl" import a\nfrom "b.tdsl" import b\nfrom "a.tdsl" import z')
    assert [str(d.span) for d in caught.value.diagnostics] == ["a.tdsl:1:11", "b.tdsl:1:13"]
    assert "    1 | fn b(x) = x ^ 2" in str(caught.value)


def test_long_chains_of_imports_are_refused() -> None:
    write(**{f"m{i}": f'from "m{i + 1}.tdsl" import x\nconst x = 1' for i in range(300)})
    (d,) = [d for d in failure("m0.tdsl") if d.code == "E0209"]
    assert str(d.span) == f"m{MAX_IMPORT_DEPTH - 1}.tdsl:1:6"
