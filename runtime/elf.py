"""Object code into executable memory, without LLVM: a linker for what LLVM makes of our modules.

In: relocatable ELF objects for x86-64, and the addresses of symbols that they do not define. Out:
an `Image`, their code and data in memory with every relocation applied. LLVM's own loader does the
same, but bringing LLVM into a process takes longer than all else that a warm start does. Left to
LLVM (`UnsupportedError`): every other format, processor, section and relocation.

The image is one mapping: first what is never written (code, constants, and stubs through which far
functions are called), which becomes executable; then, from a page of its own on, what may be
written (data, and the table of addresses that the stubs and the code read).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

PAGE = mmap.PAGESIZE
X86_64 = 62
PROGBITS, SYMTAB, RELA, NOBITS, UNWIND = 1, 2, 4, 8, 0x70000001
WRITE, ALLOC, THREAD_LOCAL = 1, 2, 0x400
UNDEFINED, ABSOLUTE = 0, 0xFFF1  # in place of a section's number
LOCAL, GLOBAL = 0, 1
R_64, R_PC32, R_PLT32, R_GOTPCREL, R_GOTPCRELX, R_REX_GOTPCRELX = 1, 2, 4, 9, 41, 42
THROUGH_TABLE = (R_GOTPCREL, R_GOTPCRELX, R_REX_GOTPCRELX)
JUMP = b"\xff\x25"  # jmp [rip + i32]
STUB, WORD = 8, 8  # bytes; of a stub, the jump takes six
PRIVATE, READ = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ


class UnsupportedError(Exception):
    """Object code with something in it that is not for this linker."""


class _Section(NamedTuple):
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    alignment: int

    @property
    def is_kept(self) -> bool:
        return bool(self.flags & ALLOC)


class _Symbol(NamedTuple):
    name: str
    binding: int
    section: int
    value: int


class _Relocation(NamedTuple):
    section: int
    offset: int  # in it
    kind: int
    symbol: _Symbol
    addend: int


class _Object:
    """A parsed object: its sections, its symbols, and the relocations of what is kept."""

    def __init__(self, data: bytes) -> None:
        if data[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<HH", data, 16) != (1, X86_64):
            raise UnsupportedError("no relocatable object for x86-64")
        self.data = data
        (start,) = struct.unpack_from("<Q", data, 40)
        size, count = struct.unpack_from("<HH", data, 58)
        headers = [struct.unpack_from("<IIQQQQIIQ", data, start + k * size) for k in range(count)]
        self.sections = [_Section(h[1], h[2], *h[4:9]) for h in headers]
        for s in self.sections:
            if s.is_kept and (
                s.kind not in (PROGBITS, NOBITS, UNWIND)
                or s.flags & THREAD_LOCAL
                or s.alignment > PAGE
            ):
                raise UnsupportedError(f"a section of kind {s.kind}, flags {s.flags:#x}")
        self.symbols = [
            x for table in self.sections if table.kind == SYMTAB for x in self._symbols(table)
        ]
        self.relocations = list(self._relocations())

    def content(self, s: _Section) -> bytes:
        found = self.data[s.offset : s.offset + s.size]
        if len(found) != s.size:
            raise UnsupportedError("a section that is cut off")
        return found

    def _symbols(self, table: _Section) -> Iterator[_Symbol]:
        names = self.content(self.sections[table.link])
        for name, info, _, section, value, _ in struct.iter_unpack("<IBBHQQ", self.content(table)):
            if section >= len(self.sections) and section != ABSOLUTE:
                raise UnsupportedError(f"a symbol in section {section:#x}")
            text = names[name : names.index(0, name)].decode()
            yield _Symbol(text, info >> 4, section, value)

    def _relocations(self) -> Iterator[_Relocation]:
        for table in self.sections:
            if table.kind == RELA and self.sections[table.info].is_kept:
                room = self.sections[table.info].size
                for at, info, addend in struct.iter_unpack("<QQq", self.content(table)):
                    kind = info & 0xFFFFFFFF
                    if at + (8 if kind == R_64 else 4) > room:
                        raise UnsupportedError("a relocation outside its section")
                    yield _Relocation(table.info, at, kind, self.symbols[info >> 32], addend)


# --------------------------------------------------------------------------- linked


class Image:
    """Linked code in memory, for as long as this lives."""

    def __init__(self, objects: Sequence[bytes], outside: Callable[[str], int]) -> None:
        """`outside`: the address of a symbol that no object defines. Raises UnsupportedError."""
        try:
            self._objects = [_Object(x) for x in objects]
            self._lay_out()
            self._memory = mmap.mmap(-1, self._size, flags=PRIVATE, prot=READ | mmap.PROT_WRITE)
            self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))
            self._symbols = dict(self._definitions())
            self._fill_table(outside)
            for x, places in zip(self._objects, self._places, strict=True):
                self._fill(x, places, outside)
        except (struct.error, LookupError, ValueError, OverflowError) as error:
            raise UnsupportedError(str(error)) from None
        protect = ctypes.pythonapi.mprotect
        protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        if protect(self._start, self._writable, READ | mmap.PROT_EXEC):
            raise UnsupportedError("memory cannot be made executable")
        for frames in self._frames:
            _register(self, self._start + frames)

    def address(self, symbol: str) -> int | None:
        """Where a symbol of one of the objects is; None for others."""
        return self._symbols.get(symbol)

    def _lay_out(self) -> None:
        """Where everything goes."""
        self._places: list[dict[int, int]] = [{} for _ in self._objects]  # of sections, by number
        self._frames: list[int] = []
        wanted = [r for x in self._objects for r in x.relocations]
        called = dict.fromkeys(
            r.symbol.name for r in wanted if r.kind == R_PLT32 and r.symbol.section == UNDEFINED
        )
        table = called | dict.fromkeys(r.symbol.name for r in wanted if r.kind in THROUGH_TABLE)
        at = _up(self._placed(0, 0), STUB)
        self._stubs = {name: at + STUB * k for k, name in enumerate(called)}
        self._writable = at = _up(at + STUB * len(called), PAGE)
        self._table = {name: at + WORD * k for k, name in enumerate(table)}
        self._size = self._placed(at + WORD * len(table), WRITE) + 1
        if self._size >= 1 << 31:
            raise UnsupportedError("more than an offset reaches over")

    def _placed(self, at: int, writable: int) -> int:
        for x, places in zip(self._objects, self._places, strict=True):
            for n, s in enumerate(x.sections):
                if s.is_kept and s.flags & WRITE == writable:
                    places[n] = at = _up(at, max(s.alignment, 1))
                    at += s.size
                    if s.kind == UNWIND:
                        self._frames.append(places[n])
                        at += 4  # zeros, which end the frames
        return at

    def _definitions(self) -> Iterator[tuple[str, int]]:
        """All sections put into memory; what they define for others, and where it is."""
        seen: set[str] = set()
        for x, places in zip(self._objects, self._places, strict=True):
            for n, at in places.items():
                s = x.sections[n]
                if s.kind != NOBITS:
                    self._memory[at : at + s.size] = x.content(s)
            for symbol in x.symbols:
                if symbol.binding == LOCAL or symbol.section == UNDEFINED:
                    continue
                if symbol.binding != GLOBAL or symbol.name in seen:
                    raise UnsupportedError(f"symbol {symbol.name} twice, or weak")
                seen.add(symbol.name)
                yield symbol.name, self._address(symbol, places)

    def _address(self, symbol: _Symbol, places: dict[int, int]) -> int:
        if symbol.section == ABSOLUTE:
            return symbol.value
        return self._start + places[symbol.section] + symbol.value

    def _fill_table(self, outside: Callable[[str], int]) -> None:
        for name, at in self._table.items():
            address = self._symbols.get(name) or outside(name)
            struct.pack_into("<Q", self._memory, at, address)
        for name, at in self._stubs.items():
            after = at + len(JUMP) + 4
            struct.pack_into("<2si", self._memory, at, JUMP, self._table[name] - after)

    def _fill(self, x: _Object, places: dict[int, int], outside: Callable[[str], int]) -> None:
        """Apply the relocations of an object."""
        for r in x.relocations:
            at = places[r.section] + r.offset
            name = r.symbol.name
            if r.kind in THROUGH_TABLE:
                struct.pack_into("<i", self._memory, at, self._table[name] + r.addend - at)
                continue
            if r.symbol.section != UNDEFINED:
                to = self._address(r.symbol, places)
            elif name in self._symbols:
                to = self._symbols[name]
            else:
                to = self._start + self._stubs[name] if r.kind == R_PLT32 else outside(name)
            if r.kind == R_64:
                struct.pack_into("<Q", self._memory, at, to + r.addend)
            elif r.kind in (R_PC32, R_PLT32):
                struct.pack_into("<i", self._memory, at, to + r.addend - self._start - at)
            else:
                raise UnsupportedError(f"a relocation of kind {r.kind}")


def _up(x: int, to: int) -> int:
    return (x + to - 1) // to * to


# --------------------------------------------------------------------------- unwinding


@cache
def _unwinder() -> tuple[Any, Any] | None:
    """libgcc's functions that are told about frames: a thread that ends inside Python called from
    our code is unwound. None where there is another unwinder, or none."""
    try:
        library = ctypes.CDLL("libgcc_s.so.1")
        functions = library.__register_frame, library.__deregister_frame
    except (OSError, AttributeError):
        return None
    for f in functions:
        f.argtypes, f.restype = [ctypes.c_void_p], None
    return functions


def _register(image: Image, frames: int) -> None:
    unwinder = _unwinder()
    if unwinder is not None:
        register, forget = unwinder
        register(frames)
        weakref.finalize(image, forget, frames).atexit = False


def is_supported() -> bool:
    """Whether this process runs what this linker links."""
    return sys.platform == "linux" and os.uname().machine == "x86_64" and sys.maxsize > 1 << 32
