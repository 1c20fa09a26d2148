"""What LLVM makes of the register tiles of large products: sums that a loop adds to never leave
their registers. One that does waits for memory at every term: products took 1.6 times as long on
machines with 16 registers."""

from __future__ import annotations

import re

import pytest
import tdsl
from tdsl.compiler.build import Build
from tdsl.compiler.dtypes import F32, F64, DType
from tdsl.compiler.machine import Machine
from tdsl.compiler.object_code import assembly, parsed
from tdsl.compiler.target_cpu import CpuTarget, data_layout, shared_module, split_text
from tdsl.compiler.tuning import STATIC

TRIPLE = "x86_64-unknown-linux-gnu"
AVX2 = "+avx,+avx2,+bmi2,+f16c,+fma,+sse4.2"
AVX512 = f"{AVX2},+avx512dq,+avx512f,+avx512vl,-prefer-256-bit"


@pytest.mark.parametrize("d", [F32, F64], ids=str)
@pytest.mark.parametrize("kind", ["products", "strips", "places"])
@pytest.mark.parametrize("features", [AVX2, AVX512], ids=["avx2", "avx512"])
def test_sums_stay_in_registers(features: str, kind: str, d: DType) -> None:
    machine = Machine(TRIPLE, features)
    module = shared_module(CpuTarget(machine.registers), kind, d)
    module.triple, module.data_layout = TRIPLE, data_layout(machine)
    hot, _ = split_text(module)
    text = assembly(parsed(hot), machine)
    tiles = re.findall(rf"^(tdsl_multiply\w*_{d}_\d+x\d+\w*):\n(.*?)\.size", text, re.M | re.S)
    assert len(tiles) >= 4
    for name, body in tiles:
        for line in body.split("\n"):
            assert not re.search(r"%[xyz]mm\d+.*\(%rsp\)|\(%rsp\).*%[xyz]mm", line), (name, line)


def test_coefficients_are_operands_in_memory() -> None:
    """With 16 registers, those of a polynomial are read by the instruction that needs them: LLVM
    would make a vector of each, in the loop, by one more."""
    machine = Machine(TRIPLE, AVX2)
    graph = tdsl.compile("def f(x: f32[n]) -> f32[n]:\n    return erf(x)\n").f.graph()
    text = Build(graph, machine, STATIC).text("asm")
    assert len(re.findall(r"vfn?madd\d+ps\s+\S*constant_v8f32", text)) > 10
