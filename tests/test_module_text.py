"""The text of a module says what llvmlite's own text says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import llvmlite.ir as ir
import pytest
import tdsl
from tdsl.compiler import target_cpu
from tdsl.compiler.build import Build
from tdsl.compiler.dtypes import BF16, F16, F32, F64
from tdsl.compiler.entry_code import entry_module
from tdsl.compiler.machine import host
from tdsl.compiler.module_text import module_text
from tdsl.compiler.pipeline import simplified
from tdsl.compiler.python_entry import add_entry

PROGRAMS = sorted((Path(__file__).parent.parent / "benchmarks" / "workloads").glob("*.tdsl"))


def _words(text: str) -> Iterator[list[str]]:
    return (line.split() for line in text.split("\n") if line and not line.startswith(";"))


def _same(module: ir.Module) -> bool:
    return list(_words(module_text(module))) == list(_words(str(module)))


def test_what_all_functions_share() -> None:
    assert _same(entry_module())
    target = target_cpu.CpuTarget(host().registers)
    for d in (F32, F64, F16, BF16):
        assert _same(target_cpu.contraction_module(target, d))


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_programs(path: Path) -> None:
    program = tdsl.load(path)
    for name in program:
        fn = simplified(program[name].graph())
        with fn.scope.active():
            for module in target_cpu.modules_of(Build(fn, host()).loops, host()):
                if "tdsl_run" in module.globals:
                    add_entry(module, fn)
                assert _same(module)
