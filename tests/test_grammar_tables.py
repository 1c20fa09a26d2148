"""The grammar's tables: complete, and cached so that no damage to the cache does harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tdsl.dsl import tables


@pytest.mark.parametrize("damage", ["missing", "empty", "truncated", "garbage", "unwritable"])
def test_grammar_cache(damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "cache"
    monkeypatch.setenv("TDSL_CACHE_DIR", str(folder))
    build = tables.grammar.__wrapped__
    if damage == "unwritable":
        folder.write_text("a file where the directory should be")
        assert build().table.states
        return
    first = build()
    (file,) = folder.iterdir()
    data = file.read_bytes()
    match damage:
        case "missing":
            file.unlink()
        case "empty":
            file.write_bytes(b"")
        case "truncated":
            file.write_bytes(data[:-100])
        case "garbage":
            file.write_bytes(data[:50] + b"\xff" * 20 + data[70:])
    again = build()  # Lark numbers the states anew in every process, but not their count
    assert len(again.table.states) == len(first.table.states)
    assert again.terminals.literals == first.terminals.literals
    assert tables._load(file) is not None


def test_cached_grammar_needs_no_lark(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TDSL_CACHE_DIR", str(tmp_path))
    tables.grammar.__wrapped__()

    def refuse(text: str) -> Any:
        raise AssertionError("the cached table was not used")

    monkeypatch.setattr(tables, "_construct", refuse)
    assert tables.grammar.__wrapped__().table.states


def test_every_rule_has_its_function() -> None:
    from tdsl.dsl import build

    actions = {r.action for r in tables.grammar().table.rules} - {None}
    assert actions <= set(vars(build)) and len(actions) > 30
