"""The memory plan: where every value lives, and for how long.

In: kernels. Out: a `Program`, whose text is the exact plan: outputs are written where the caller
wants them, a value read by its own kernel only stays in registers, the rest share one arena.
Left to others: loops (`lower`).

Offsets are sizes in the named dims, so one plan serves every size. A slot is taken again when a
value of the same symbolic size (or provably smaller) comes after the last read of the old one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .dims import Dim, dim, product, provably_nonnegative
from .graph import Comp, Node, operands
from .kernels import Kernels
from .loops import Buffer
from .show import node_name

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


@dataclass(frozen=True)
class Lifetime:
    """`buffer` holds its value from kernel `first` (which writes it) to kernel `last`."""

    buffer: Buffer
    first: int
    last: int


@dataclass(frozen=True)
class Program:
    """`stored` says where a node is written (twice if it is two outputs); readers use the first.
    A node that is missing lives in registers. `arena` is in bytes."""

    kernels: Kernels
    stored: Mapping[Node, tuple[Buffer, ...]]
    lifetimes: tuple[Lifetime, ...]
    arena: Dim

    def __str__(self) -> str:
        fn = self.kernels.function
        lines = [f"plan of {fn.name}: arena of {self.arena} bytes"]
        for b in (b for buffers in self.stored.values() for b in buffers):
            dims = ", ".join(str(d) for d in b.shape)
            where = f"at {b.offset}" if b.space == "arena" else f"{b.space} {b.position}"
            lines.append(f"  {b.name}: {b.dtype}[{dims}]  {where}{self._span(b)}")
        for k, kernel in enumerate(self.kernels.kernels):
            made = [
                " = ".join([node_name(c), *(b.name for b in self.stored.get(c, ()))])
                if c in self.stored
                else f"{node_name(c)} in registers"
                for c in kernel.comps
            ]
            lines.append(f"  kernel {k}: {', '.join(made)}")
        return "\n".join(lines) + "\n"

    def _span(self, b: Buffer) -> str:
        return next((f"  kernels {t.first}–{t.last}" for t in self.lifetimes if t.buffer is b), "")


def plan(kernels: Kernels) -> Program:
    fn = kernels.function
    stored: dict[Node, tuple[Buffer, ...]] = {}
    for p in fn.params:
        stored[p] = (Buffer(p.name, p.dtype, p.shape, "param", p.position, dim(0)),)
    taken = {p.name for p in fn.params}  # a buffer is known by its name: each has its own
    for k, out in enumerate(fn.outputs):
        name = _fresh(f"out{k}" if len(fn.outputs) > 1 else "out", taken)
        buffer = Buffer(name, out.dtype, out.shape, "output", k, dim(0))
        stored[out] = (*stored.get(out, ()), buffer)

    last = _last_reads(kernels)
    slots: list[tuple[Dim, Dim, int]] = []  # (offset, bytes, the last kernel that reads it)
    end = dim(0)
    lifetimes: list[Lifetime] = []
    for k, kernel in enumerate(kernels.kernels):
        for c in kernel.comps:
            if c in stored or (last.get(c, k) == k and c.target is None):
                continue
            size = _bytes(c)
            free = (
                s
                for s in range(len(slots))
                if slots[s][2] < k and provably_nonnegative(slots[s][1] - size)
            )
            s = next(free, -1)
            if s < 0:
                offset, room = end, size
                end = end + size
                slots.append((offset, room, 0))
                s = len(slots) - 1
            offset, room, _ = slots[s]
            slots[s] = (offset, room, last.get(c, k))
            name = _fresh(c.name or "t", taken)
            buffer = Buffer(name, c.dtype, c.shape, "arena", 0, offset)
            stored[c] = (buffer,)
            lifetimes.append(Lifetime(buffer, k, last.get(c, k)))
    return Program(kernels, stored, tuple(lifetimes), end)


def _fresh(base: str, taken: set[str]) -> str:
    """A name like `base` that is not taken yet; it is taken now."""
    name, n = base, 1
    while name in taken:
        n += 1
        name = f"{base}.{n}"
    taken.add(name)
    return name


def _last_reads(kernels: Kernels) -> dict[Node, int]:
    """The last kernel that reads a node."""
    out: dict[Node, int] = {}
    for k, kernel in enumerate(kernels.kernels):
        for c in kernel.comps:
            for node in operands(c):
                out[node] = k
    return out


def _bytes(c: Comp) -> Dim:
    """Bytes of a value, up to a multiple of the alignment."""
    raw = product(c.shape) * c.dtype.size
    return (raw + (ALIGNMENT - 1)) // ALIGNMENT * ALIGNMENT


def verify_program(program: Program) -> None:
    """Invariants: everything that a later kernel reads is stored; every output position is written
    once; two lifetimes that overlap do not share bytes (decided where their offsets are equal)."""
    kernels = program.kernels.kernels
    for k, kernel in enumerate(kernels):
        for c in kernel.comps:
            for node in operands(c):
                assert node in program.stored or node in kernel.comps, f"kernel {k} reads nothing"
    outputs = sorted(
        b.position for bs in program.stored.values() for b in bs if b.space == "output"
    )
    assert outputs == list(range(len(program.kernels.function.outputs))), "outputs are not planned"
    for a in program.lifetimes:
        for b in program.lifetimes:
            if a is not b and a.buffer.offset == b.buffer.offset:
                empty = any(x.buffer.shape and _is_zero(x.buffer) for x in (a, b))
                assert empty or a.last < b.first or b.last < a.first, "two live values share a slot"


def _is_zero(b: Buffer) -> bool:
    return product(b.shape).const == 0
