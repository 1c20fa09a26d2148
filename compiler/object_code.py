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
from functools import cache, partial
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
    builder = llvm.create_pass_builder(_own_target(machine), options)
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
    return _emitted(module, _own_target(machine), True)


@interrupts_held_back()
def quick_code(text: str, machine: Machine) -> bytes:
    """Object code of functions in which little time is spent, by the shortest way: measured, in a
    fifth of the time."""
    return _emitted(parsed(text), _own_target(machine, level=0), True)


@interrupts_held_back()
def assembly(module: llvm.ModuleRef, machine: Machine) -> str:
    return _emitted(module, _own_target(machine), False).decode()


class _Kept(threading.local):
    """What a thread has for itself."""

    def __init__(self) -> None:
        self.targets: dict[tuple[Machine, int], llvm.TargetMachine] = {}


_kept = _Kept()


def _own_target(machine: Machine, level: int = 2) -> llvm.TargetMachine:
    """This thread's own, kept: what LLVM knows of a machine takes it as long as a small module."""
    key = machine, level
    if key not in _kept.targets:
        _kept.targets[key] = target_machine(machine, level)
    return _kept.targets[key]


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


class Jobs:
    """Modules that are translated, perhaps while others are emitted. `is_final`: they gain nothing
    from being cleaned up."""

    def __init__(self, machine: Machine, *, is_final: bool = False) -> None:
        self._machine, self._is_final = machine, is_final
        self._started: list[Later[bytes]] = []
        self._cold: list[str] = []

    def start(self, halves: tuple[str, str]) -> None:
        """Both texts of a module (`module_text.split_text`)."""
        hot, cold = halves
        self._started.append(Later(lambda: self._best(hot)))
        self._cold += [cold] if cold else []

    def finish(self) -> Jobs:
        """What is quick comes last: the others can then be shared out best."""
        self._started += [Later(partial(self._quick, text)) for text in self._cold]
        self._cold = []
        return self

    def results(self) -> list[bytes]:
        """The object code of all modules."""
        return [job.result() for job in self.finish()._started]

    def _best(self, text: str) -> bytes:
        with stage("LLVM passes"):
            module = parsed(text) if self._is_final else optimized(text, self._machine)
        with stage("object code"):
            return object_code(module, self._machine)

    def _quick(self, text: str) -> bytes:
        with stage("object code"):
            return quick_code(text, self._machine)
