"""From the text of LLVM modules to object code, several modules at a time.

In: a module's text, and a machine. Out: the module cleaned up, its object code or assembly.
`Jobs` translates modules in threads while the caller goes on emitting. LLVM works on several
modules at once, each in a context of its own; llvmlite lets one thread at a time into it. The two
calls that take long, the passes and the emission, therefore go past llvmlite's lock to the C
functions behind it; where those are not found, they wait for each other.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from .interrupts import interrupts_held_back
from .later import Later
from .machine import Machine, target_machine
from .stages import stage

# --------------------------------------------------------------------------- one module


@interrupts_held_back()
def optimized(text: str, machine: Machine) -> llvm.ModuleRef:
    """The module parsed, verified and cleaned up. The emitter has already shared, hoisted, unrolled
    and vectorised: measured, LLVM's O1 to O3 make nothing faster and take longer than all else."""
    module = parsed(text)
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(target_machine(machine), options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    _unlocked("LLVMPY_RunNewModulePassManager")(passes, module, builder)
    return module


@interrupts_held_back()
def parsed(text: str) -> llvm.ModuleRef:
    """The module as it is, verified."""
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    return module


@interrupts_held_back()
def object_code(module: llvm.ModuleRef, machine: Machine) -> bytes:
    return _emitted(module, target_machine(machine), True)


@interrupts_held_back()
def quick_code(text: str, machine: Machine) -> bytes:
    """Object code of functions in which little time is spent, by the shortest way: measured, in a
    fifth of the time."""
    return _emitted(parsed(text), target_machine(machine, level=0), True)


@interrupts_held_back()
def assembly(module: llvm.ModuleRef, machine: Machine) -> str:
    return _emitted(module, target_machine(machine), False).decode()


def _emitted(module: llvm.ModuleRef, target: llvm.TargetMachine, binary: bool) -> bytes:
    emit = _unlocked("LLVMPY_TargetMachineEmitToMemory")
    with _addresses_as_emitted(), ffi.OutputString() as error:
        memory = emit(target, module, int(binary), error)
        if not memory:
            raise RuntimeError(str(error))
    try:
        start, size = ffi.lib.LLVMPY_GetBufferStart(memory), ffi.lib.LLVMPY_GetBufferSize(memory)
        return ctypes.string_at(start, size)
    finally:
        ffi.lib.LLVMPY_DisposeMemoryBuffer(memory)


@cache
def _unlocked(name: str) -> Callable[..., Any]:
    """A function of llvmlite's library without the lock around it."""
    function: Callable[..., Any] = getattr(ffi.lib, name)
    behind: Callable[..., Any] | None = getattr(function, "_cfn", None)
    return function if behind is None else behind


_users = 0
_users_lock = threading.Lock()


@contextmanager
def _addresses_as_emitted() -> Iterator[None]:
    """Without LLVM's loop strength reduction: addresses are already built loop by loop. Measured:
    as fast without, and 40 % of the time of code generation saved. The option is LLVM's own, of
    all threads."""
    global _users
    with _users_lock:
        _users += 1
        if _users == 1:
            llvm.set_option("tdsl", "-disable-lsr=true")
    try:
        yield
    finally:
        with _users_lock:
            _users -= 1
            if _users == 0:
                llvm.set_option("tdsl", "-disable-lsr=false")


# --------------------------------------------------------------------------- several


def translated(halves: tuple[str, str], machine: Machine, *, is_final: bool = False) -> list[bytes]:
    """Object code of a module's two texts (`module_text.split_text`). `is_final`: it gains nothing
    from being cleaned up."""
    text, cold = halves
    with stage("LLVM passes"):
        module = parsed(text) if is_final else optimized(text, machine)
    with stage("object code"):
        code = [object_code(module, machine)]
        return [*code, quick_code(cold, machine)] if cold else code


class Jobs:
    """Modules that are translated while others are emitted."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._started: list[Later[list[bytes]]] = []

    def start(self, halves: tuple[str, str]) -> None:
        self._started.append(Later(lambda: translated(halves, self._machine)))

    def results(self) -> list[bytes]:
        """The object code of all modules, in order."""
        return [code for job in self._started for code in job.result()]
