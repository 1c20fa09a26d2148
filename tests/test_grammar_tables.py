"""The grammar's tables: those that are shipped are those that Lark makes."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from tdsl.dsl import tables


def test_shipped_tables_are_the_grammars(request: pytest.FixtureRequest) -> None:
    text = tables.shipped_text()
    if request.config.getoption("--update-golden"):
        tables.SHIPPED.write_text(text, encoding="utf-8")
    assert text == tables.SHIPPED.read_text(encoding="utf-8"), "run pytest --update-golden"


def test_shipped_grammar_needs_no_lark(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(text: bytes) -> Any:
        raise AssertionError("the shipped tables were not used")

    monkeypatch.setattr(tables, "construct", refuse)
    assert tables.grammar.__wrapped__().table.states


def test_another_grammar_is_read_by_lark(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    shipped = tables.grammar.__wrapped__()
    edited = tmp_path / "grammar.lark"
    edited.write_bytes(tables._GRAMMAR.read_bytes() + b"\n// a remark\n")
    monkeypatch.setattr(tables, "_GRAMMAR", edited)
    made = tables.construct(edited.read_bytes())
    assert made["grammar"] == hashlib.sha256(edited.read_bytes()).hexdigest()
    assert tables.grammar.__wrapped__().table == shipped.table


def test_every_rule_has_its_function() -> None:
    from tdsl.dsl import build

    actions = {r.action for r in tables.grammar().table.rules} - {None}
    assert actions <= set(vars(build)) and len(actions) > 30
