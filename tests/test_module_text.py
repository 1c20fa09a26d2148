"""A module in two halves says what the whole one says."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import llvmlite.binding as llvm
import pytest
import tdsl
from tdsl.compiler import ir, target_cpu
from tdsl.compiler.build import Build
from tdsl.compiler.dtypes import BF16, F32, F64
from tdsl.compiler.entry_code import entry_module
from tdsl.compiler.machine import host
from tdsl.compiler.module_text import split_text
from tdsl.compiler.pipeline import simplified
from tdsl.compiler.python_entry import add_entry

PROGRAMS = sorted((Path(__file__).parent.parent / "benchmarks" / "workloads").glob("*.tdsl"))


def _defined(text: str) -> dict[str, bool]:
    """What a module defines: whether others see it."""
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    found = [x for x in chain(module.functions, module.global_variables) if not x.is_declaration]
    return {x.name: x.linkage != llvm.Linkage.internal for x in found}


def _halves(module: ir.Module) -> list[dict[str, bool]]:
    """What both halves define: together all, each once; cold functions in the second."""
    halves = [_defined(text) for text in split_text(module) if text]
    whole = _defined(str(module))
    assert sorted(chain(*halves)) == sorted(whole)
    for name, x in module.globals.items():
        if isinstance(x, ir.Function) and x.blocks:
            assert (name in halves[-1]) == ("optnone" in x.attributes or len(halves) == 1)
    return halves


def test_halves_of_what_all_functions_share() -> None:
    assert len(_halves(entry_module())) == 2
    target = target_cpu.CpuTarget(host().registers)
    for d in (F32, F64, BF16):
        assert len(_halves(target_cpu.shared_module(target, "plain", d))) == 2
    for d in (F32, F64):
        assert len(_halves(target_cpu.shared_module(target, "products", d))) == 2
        assert len(_halves(target_cpu.shared_module(target, "strips", d))) == 1


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: path.stem)
def test_halves_of_programs(path: Path) -> None:
    """No name is seen from two of them: they are all loaded together."""
    program = tdsl.load(path)
    for name in program:
        function = program[name]
        graphs = [function.graph()]
        if len(function.graph().outputs) == 1 and not function.graph().outputs[0].shape:
            graphs.append(function.value_and_grad().graph())
        for graph in graphs:
            fn = simplified(graph)
            with fn.scope.active():
                seen: list[str] = []
                for module in target_cpu.modules_of(Build(fn, host()).loops, host()):
                    if "tdsl_run" in module.globals:
                        add_entry(module, fn)
                    for half in _halves(module):
                        seen += [x for x, visible in half.items() if visible]
                assert len(seen) == len(set(seen))


def test_halves_that_share_variables() -> None:
    """One that both name belongs to the first; others follow the functions that name them."""
    module = ir.Module("m")
    module.triple = host().triple
    i64 = ir.IntType(64)
    variables = {}
    for name in ("both", "hot", "cold", "nobody"):
        v = variables[name] = ir.GlobalVariable(module, i64, name)
        v.initializer, v.linkage = ir.Constant(i64, 1), "internal"
    for name, attributes, named in (
        ("f", (), ("both", "hot")),
        ("g", ("noinline", "optnone"), ("both", "cold")),
    ):
        f = ir.Function(module, ir.FunctionType(i64, []), name)
        for attribute in attributes:
            f.attributes.add(attribute)
        b = ir.IRBuilder(f.append_basic_block("entry"))
        x, y = (b.load(variables[n], i64) for n in named)
        b.ret(b.add(x, y))
    first, second = map(_defined, split_text(module))
    assert first == {"both": True, "hot": False, "f": True}
    assert second.keys() == {"cold", "nobody", "g"}


def test_a_module_without_cold_functions() -> None:
    module = ir.Module("m")
    module.triple = host().triple
    f = ir.Function(module, ir.FunctionType(ir.VoidType(), []), "f")
    ir.IRBuilder(f.append_basic_block("entry")).ret_void()
    assert split_text(module) == (str(module), "")
