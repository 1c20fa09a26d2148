"""From the text of LLVM modules to object code, several modules at a time.

In: a module's text, and a machine. Out: the module cleaned up, its object code or assembly.
`Jobs` translates modules in threads while the caller goes on emitting. LLVM works on several
modules at once, each in a context of its own; llvmlite lets one thread at a time into it. The two
calls that take long, the passes and the emission, therefore go past llvmlite's lock to the C
functions behind it; where those are not found, they wait for each other.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Generic, TypeVar

import llvmlite.binding as llvm
from llvmlite.binding import ffi

from .interrupts import interrupts_held_back
from .machine import Machine, target_machine
from .stages import stage

T = TypeVar("T")

# --------------------------------------------------------------------------- one module


@interrupts_held_back()
def optimized(text: str, machine: Machine) -> llvm.ModuleRef:
    """The module parsed, verified and cleaned up. The emitter has already shared, hoisted, unrolled
    and vectorised: measured, LLVM's O1 to O3 make nothing faster and take longer than all else."""
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=1)
    builder = llvm.create_pass_builder(target_machine(machine), options)
    passes = llvm.create_new_module_pass_manager()
    passes.add_simplify_cfg_pass()
    passes.add_instruction_combine_pass()
    _unlocked("LLVMPY_RunNewModulePassManager")(passes, module, builder)
    return module


@interrupts_held_back()
def object_code(module: llvm.ModuleRef, machine: Machine) -> bytes:
    return _emitted(module, target_machine(machine), True)


@interrupts_held_back()
def quick_code(text: str, machine: Machine) -> bytes:
    """Object code of functions in which little time is spent, by the shortest way: measured, in a
    fifth of the time."""
    module = llvm.parse_assembly(text, llvm.create_context())
    module.verify()
    return _emitted(module, target_machine(machine, level=0), True)


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


class Later(Generic[T]):
    """What a thread computes: the result, or what was raised, when it is asked for. The process
    does not end before the thread: LLVM must not be taken apart under it."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._outcome: tuple[T, None] | tuple[None, BaseException] | None = None
        self._thread: threading.Thread | None = None
        if cores() > 1:
            thread = threading.Thread(target=self._run, name="tdsl-compile")
            try:
                thread.start()
            except RuntimeError:
                return  # no more threads, or none any more: then it is computed when asked for
            self._thread = thread

    def _run(self) -> None:
        try:
            self._outcome = self._make(), None
        except BaseException as error:
            self._outcome = None, error

    def result(self) -> T:
        if self._thread is not None:
            self._thread.join()
        if self._outcome is None:  # no thread, or one that was lost in a fork
            self._run()
        assert self._outcome is not None
        value, error = self._outcome
        if error is not None:
            raise error
        return value  # type: ignore[return-value]


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def translated(halves: tuple[str, str], machine: Machine) -> list[bytes]:
    """Object code of a module's two texts (`module_text.split_text`)."""
    text, cold = halves
    with stage("LLVM passes"):
        module = optimized(text, machine)
    with stage("object code"):
        code = [object_code(module, machine)]
        return [*code, quick_code(cold, machine)] if cold else code


class Jobs:
    """Modules that are translated while others are emitted: so many at a time that no core waits,
    also while the last ones are emitted."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._started: list[Later[list[bytes]]] = []
        self._most = 2 * cores()

    def start(self, halves: tuple[str, str]) -> None:
        behind = len(self._started) - self._most
        if behind >= 0:
            self._started[behind].result()
        self._started.append(Later(lambda: translated(halves, self._machine)))

    def results(self) -> list[bytes]:
        """The object code of all modules, in order."""
        return [code for job in self._started for code in job.result()]
