"""The machines that code is made for: their features, and LLVM's view of them.

In: nothing. Out: `Machine`, this one (`host`), and LLVM's target machines. Left to others: what is
emitted for a machine (`target_cpu`), and its translation (`object_code`).
"""

from __future__ import annotations

import platform
from functools import cache

import llvmlite.binding as llvm

from .interrupts import interrupts_held_back
from .records import dataclass
from .tile import Registers


@dataclass(frozen=True)
class Machine:
    """What code is made for: drives every choice, and keys the cache. Feature names are LLVM's
    (`+avx512f,+fma,…`); the name of the CPU plays no part."""

    triple: str
    features: str

    def has(self, feature: str) -> bool:
        return f"+{feature}" in self.features.split(",")

    @property
    def matrix_tiles(self) -> bool:
        """Whether there may be some: a process has to ask Linux first."""
        return self.has("amx-tile") and self.has("amx-bf16") and "linux" in self.triple

    @property
    def registers(self) -> Registers:
        if self.triple.startswith("aarch64"):
            return Registers(vector_bytes=16, accumulators=16)
        if self.has("avx512f") and self.has("avx512vl") and self.has("avx512dq"):
            return Registers(64, accumulators=16, matrix_tiles=self.matrix_tiles)
        if self.has("avx2"):
            return Registers(vector_bytes=32, accumulators=8)
        return Registers(vector_bytes=16, accumulators=8)


@cache
@interrupts_held_back()
def host() -> Machine:
    """This machine."""
    initialize()
    found = llvm.get_host_cpu_features()
    on = sorted(name for name, enabled in found.items() if enabled)
    features = ",".join(f"+{name}" for name in on)
    if platform.machine().lower() in ("x86_64", "amd64"):
        features += ",-prefer-256-bit"  # else LLVM halves 512-bit vectors
    return Machine(llvm.get_process_triple(), features)


@cache
@interrupts_held_back()
def initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


@cache
@interrupts_held_back()
def data_layout(machine: Machine) -> str:
    return str(target_machine(machine).target_data)


@interrupts_held_back()
def target_machine(machine: Machine, level: int = 2) -> llvm.TargetMachine:
    """One of the caller's own: no two threads may use the same. `level`: LLVM's, 0 to 3."""
    if machine != host():
        llvm.initialize_all_targets()
        llvm.initialize_all_asmprinters()
    cpu = "x86-64" if machine.triple.startswith("x86_64") else ""
    return llvm.Target.from_triple(machine.triple).create_target_machine(
        cpu=cpu, features=machine.features, opt=level, reloc="pic", codemodel="default", jit=False
    )
