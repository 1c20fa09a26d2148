"""Object code into memory, and what it was made for: all of LLVM that a warm start needs.

In: object code for this machine. Out: addresses of its symbols. No LLVM pass runs here, and
nothing of the compiler is imported.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import llvmlite
import llvmlite.binding as llvm


@functools.cache
def machine_key() -> str:
    """What object code depends on besides the program: the machine's features, and LLVM."""
    features = sorted(f for f, on in llvm.get_host_cpu_features().items() if on)
    return f"{llvm.get_process_triple()} {','.join(features)} llvmlite {llvmlite.__version__}"


@functools.cache
def _initialize() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()


def _target_machine() -> Any:
    """A new one for every engine, which owns it and frees it."""
    _initialize()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine()


class LoadedCode:
    """Object code in executable memory, for as long as this lives. Several objects find each
    other's symbols."""

    def __init__(self, *objects: bytes) -> None:
        machine = _target_machine()
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
        for code in objects:
            self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def address(self, symbol: str) -> int:
        """Where a function or a variable is. Raises RuntimeError for a symbol that is not there."""
        found: int = self._engine.get_function_address(symbol)
        if not found:
            raise RuntimeError(f"object code without {symbol}")
        return found

    def publish(self, symbols: Sequence[str]) -> None:
        """Let code that is loaded later find these symbols by name."""
        for symbol in symbols:
            llvm.add_symbol(symbol, self.address(symbol))
