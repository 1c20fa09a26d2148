"""Object code into memory, and what it was made for: all that a warm start needs.

In: object code for this machine. Out: addresses of its symbols. Where this process's own linker
(`elf`) knows the format, LLVM is not even imported: that takes as long as all else in a warm start.
Nor is the compiler, but for how an interrupt is held back.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import threading
from collections.abc import Sequence
from typing import Any

import llvmlite

from ..compiler.interrupts import interrupts_held_back
from . import cache, elf


@functools.cache
def machine_key() -> str:
    """What object code depends on besides the program: the machine's features, and LLVM."""
    return f"{_machine()['features']} llvmlite {llvmlite.__version__}"


def processor() -> str:
    """The name of the CPU."""
    return _machine()["cpu"]


@functools.cache
def _machine() -> dict[str, str]:
    """What LLVM says about this machine. It is asked once after every start of the machine, while
    which the processor stays the same: to ask it is to import it."""
    key, known = _known_machine()
    if known is not None:
        return known
    import llvmlite.binding as llvm

    features = sorted(f for f, on in llvm.get_host_cpu_features().items() if on)
    found = {
        "features": f"{llvm.get_process_triple()} {','.join(features)}",
        "cpu": llvm.get_host_cpu_name(),
    }
    if key is not None:
        cache.put(key, found, silent=True)  # what is stored may be read without writing
    return found


def _known_machine() -> tuple[str | None, dict[str, str] | None]:
    """Its key in the cache, None if it cannot have one, and what is stored there."""
    boot = _boot()
    if boot is None:
        return None, None
    key = cache.key("machine", boot, llvmlite.__version__)
    stored = cache.get(key)
    if stored is None or {"features", "cpu"} != stored.header.keys():
        return key, None
    return key, stored.header


def map_ahead() -> None:
    """Where LLVM will have to be asked, let a thread map its library. That takes as long as to read
    a program; left to the import, it would keep the interpreter waiting."""
    path = os.path.join(os.path.dirname(llvmlite.__file__), "binding", "libllvmlite.so")
    if _known_machine()[1] is not None or not os.path.exists(path):
        return
    try:
        opened = ctypes.CDLL(None).dlopen
    except AttributeError:
        return  # a C library that has it elsewhere
    opened.argtypes, opened.restype = [ctypes.c_char_p, ctypes.c_int], ctypes.c_void_p
    with contextlib.suppress(RuntimeError):  # no more threads
        threading.Thread(target=opened, args=(os.fsencode(path), os.RTLD_NOW)).start()


def _boot() -> str | None:
    """Linux's name for the time since the machine was started; None elsewhere."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return file.read().strip()
    except OSError:
        return None


# --------------------------------------------------------------------------- code


class LoadedCode:
    """Object code in executable memory, for as long as this lives. Several objects find each
    other's symbols."""

    def __init__(self, *objects: bytes) -> None:
        self._code: elf.Image | _Engine
        try:
            if not elf.is_supported():
                raise elf.UnsupportedError("this platform")
            self._code = elf.Image(objects, _outside)
        except elf.UnsupportedError:
            self._code = _Engine(objects)

    def address(self, symbol: str) -> int:
        """Where a function or a variable is. Raises RuntimeError for a symbol that is not there."""
        found = self._code.address(symbol)
        if not found:
            raise RuntimeError(f"object code without {symbol}")
        return found

    def publish(self, symbols: Sequence[str]) -> None:
        """Let code that is loaded later find these symbols by name."""
        for symbol in symbols:
            _published[symbol] = self.address(symbol)


_published: dict[str, int] = {}


def _outside(symbol: str) -> int:
    """The address of a published symbol, or of one of the C library. Raises RuntimeError for what
    is in neither: a processor without instructions for f16 would need functions of a compiler's."""
    found = _published.get(symbol)
    if found is not None:
        return found
    try:
        address = ctypes.cast(getattr(_c_library(), symbol), ctypes.c_void_p).value
    except AttributeError:
        raise RuntimeError(f"code for this processor calls {symbol}, which is nowhere") from None
    assert address is not None
    return address


@functools.cache
def _c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None)


class _Engine:
    """LLVM's own loader."""

    @interrupts_held_back()
    def __init__(self, objects: Sequence[bytes]) -> None:
        import llvmlite.binding as llvm

        for symbol, address in _published.items():
            llvm.add_symbol(symbol, address)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine())
        for code in objects:
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def address(self, symbol: str) -> int | None:
        found: int = self._engine.get_function_address(symbol)
        return found


def _target_machine() -> Any:
    """A new one for every engine, which owns it and frees it."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()
