"""The memory plan: where every value lives, and for how long.

In: kernels. Out: a `Program`, whose text is the exact plan: outputs are written where the caller
wants them, which may be where a parameter stands, a value read by its own kernel only stays in
registers, the rest share one arena.
Left to others: loops (`lower`).

Offsets are sizes in the named dims, so one plan serves every size. A slot is taken again when a
value of the same symbolic size (or provably smaller) comes after the last read of the old one, or
replaces it element by element. A value that is made and read in one band has room for the band's
rows only, or stands where the result will that replaces it.
"""

from __future__ import annotations

from collections.abc import Mapping

from .dims import Dim, dim, product, provably_nonnegative
from .dtypes import F64
from .graph import Comp, Function, Node, operands
from .inline import reads_of
from .kernels import Band, Kernel, Kernels, is_along, is_identity_read
from .loops import Buffer
from .records import dataclass, field
from .show import node_name

ALIGNMENT = 64  # bytes: a cache line, and the widest vector


MOST_PARTS = 32
"""Of the sums of a band: each has room for its own."""


@dataclass(frozen=True)
class Lifetime:
    """`buffer` holds its value from kernel `first` (which writes it) to kernel `last`. `over` is
    what it replaces element by element."""

    buffer: Buffer
    first: int
    last: int
    over: Buffer | None = None


@dataclass(frozen=True)
class InnerSum:
    """Where the sum of some inner rows is made, if these are not the first; what there is so far,
    wherever that is gathered; and where it is in the end."""

    part: Buffer
    so_far: Buffer
    whole: Buffer


@dataclass(frozen=True)
class InnerRoom:
    """What the inner kernels of a band keep: `slots` and `values` as in the band itself, for each
    inner row of each row. From `bounds` on, the table of pointers has four words more: the first
    and one past the last row, and inner row."""

    slots: tuple[Dim, ...]
    values: tuple[tuple[Buffer, int], ...]
    sums: Mapping[Comp, InnerSum]
    bounds: int


@dataclass(frozen=True)
class BandRoom:
    """What a band keeps. `slots` are the bytes of one row in each of its pieces of memory; each
    of `values` lives in one of them. Of `parts`, the sums so far: those of one part, and where all
    parts stand."""

    slots: tuple[Dim, ...]
    values: tuple[tuple[Buffer, int], ...]
    parts: Mapping[Comp, tuple[Buffer, Buffer]]
    inner: InnerRoom | None = None


@dataclass(frozen=True)
class Program:
    """`stored` says where a node is written (twice if it is two outputs); readers use the first.
    A node that is missing lives in registers. `arena` is in bytes."""

    kernels: Kernels
    stored: Mapping[Node, tuple[Buffer, ...]]
    lifetimes: tuple[Lifetime, ...]
    arena: Dim
    rooms: Mapping[Band, BandRoom]

    def __str__(self) -> str:
        fn = self.kernels.function
        lines = [f"plan of {fn.name}: arena of {self.arena} bytes"]
        replaced = [p.name for _, p in self.kernels.in_place]
        for b in dict.fromkeys(b for buffers in self.stored.values() for b in buffers):
            dims = ", ".join(str(d) for d in b.shape)
            where = f"at {b.offset}" if b.space == "arena" else f"{b.space} {b.position}"
            if b.space == "band":
                where = self._in_band(b)
            if b.space == "param" and b.name in replaced:
                where += ", donated"
            lines.append(f"  {b.name}: {b.dtype}[{dims}]  {where}{self._span(b)}")
        for k, p in self.kernels.in_place:
            lines.append(f"  {_output_name(fn, k)}: in place of {p.name}")
        for room in self.rooms.values():
            for c, (_, all_parts) in room.parts.items():
                lines.append(f"  {all_parts.name}: parts of {node_name(c)}  at {all_parts.offset}")
        for k, kernel in enumerate(self.kernels.kernels):
            made = [
                " = ".join([node_name(c), *(b.name for b in self.stored.get(c, ()))])
                if c in self.stored
                else f"{node_name(c)} in registers"
                for c in kernel.comps
            ]
            lines.append(f"  kernel {k}: {', '.join(made)}")
        return "\n".join(lines) + "\n"

    def _in_band(self, b: Buffer) -> str:
        for room in self.rooms.values():
            for v, k in room.values:
                if v is b:
                    return f"{room.slots[k]} bytes for each row of the band"
            inner = room.inner
            for v, k in () if inner is None else inner.values:
                if inner is not None and v is b:
                    return f"{inner.slots[k]} bytes for each inner row of the band"
        raise KeyError(b.name)

    def _span(self, b: Buffer) -> str:
        return next((f"  kernels {t.first}–{t.last}" for t in self.lifetimes if t.buffer is b), "")


def plan(kernels: Kernels) -> Program:
    fn = kernels.function
    stored: dict[Node, tuple[Buffer, ...]] = {}
    for p in fn.params:
        stored[p] = (Buffer(p.name, p.dtype, p.shape, "param", p.position, dim(0)),)
    taken = {p.name for p in fn.params}  # a buffer is known by its name: each has its own
    donated = dict(kernels.in_place)
    for k, out in enumerate(fn.outputs):
        if k in donated:  # the very buffer: what reads and what writes it must agree that it is one
            stored[out] = (*stored.get(out, ()), stored[donated[k]][0])
            continue
        name = _fresh(_output_name(fn, k), taken)
        buffer = Buffer(name, out.dtype, out.shape, "output", k, dim(0))
        stored[out] = (*stored.get(out, ()), buffer)

    placing = _Placing(kernels, stored, taken)
    for k, kernel in enumerate(kernels.kernels):
        for c in kernel.comps:
            placing.place(c, k)
    return placing.program()


class _Placing:
    """Where values live, kernel by kernel. `stored` has those of the caller; `taken` are the names
    of buffers so far."""

    def __init__(
        self, kernels: Kernels, stored: dict[Node, tuple[Buffer, ...]], taken: set[str]
    ) -> None:
        self.kernels, self.stored, self.taken = kernels, stored, taken
        self.last = _last_reads(kernels)
        self.memory = _Memory([], dim(0))
        self.lifetimes: list[Lifetime] = []
        self.rooms = {band: _Room() for band in kernels.bands}
        self.replacing: set[Comp] = set()  # results in whose places other values stand first

    def program(self) -> Program:
        rooms = {
            band: room.done(None if band.inner is None else self.position(room))
            for band, room in self.rooms.items()
        }
        return Program(self.kernels, self.stored, tuple(self.lifetimes), self.memory.end, rooms)

    def place(self, c: Comp, k: int) -> None:
        """What `c` of kernel `k` needs, if it is not in registers only."""
        kernel, band, last = self.kernels.kernels[k], self.kernels.band(k), self.last
        summed = band is not None and k in band.summed
        if band is not None and summed and c.reducer is not None:
            self.parts(c, band)
        if band is not None and band.is_inner_sum(k):
            self.inner_sum(c, k, band)
            return
        if c in self.stored or self.in_registers(c, k):
            return
        until = last.get(c, k)
        name = _fresh(c.name or "t", self.taken)
        old = _replaced(c, kernel, k, self.stored, last)
        if band is not None and band.is_inner(k) and band.is_inner(until):
            room = self.rooms[band]
            size = product(c.shape[band.shared + 1 :]) * c.dtype.size
            slot = room.inner.place(size, k, until, old)
            buffer = Buffer(name, c.dtype, c.shape, "band", self.position(room), dim(0))
            room.inner_values.append((buffer, slot))
            room.inner.slots[slot].holds = buffer
        elif band is not None and until in band and (not summed or is_along(c, kernel)):
            result = self.in_result(c, k, until, band)
            buffer = result or self.in_band(c, name, k, until, band, old)
        else:
            buffer = self.in_arena(c, name, k, until, old)
        self.stored[c] = (buffer,)

    def in_arena(self, c: Comp, name: str, k: int, until: int, old: Buffer | None = None) -> Buffer:
        # a value from outside a band is needed as long as the band runs
        band, within = self.kernels.band(k), self.kernels.band(until)
        begin = k if band is None else band.first
        until = until if within is None else within.last - 1
        size = _bytes(c.shape, c.dtype.size)
        slot = self.memory.place(size, begin, until, old if band is None else None)
        offset = self.memory.slots[slot].offset
        buffer = Buffer(name, c.dtype, c.shape, "arena", 0, offset)
        self.memory.slots[slot].holds = buffer
        over = old if old is not None and old.offset == buffer.offset else None
        self.lifetimes.append(Lifetime(buffer, begin, until, over))
        return buffer

    def in_band(
        self, c: Comp, name: str, k: int, until: int, band: Band, old: Buffer | None
    ) -> Buffer:
        """Room for the rows of a band, from kernel `k` to `until`. Inner kernels take turns: what
        one of them makes or reads is there as long as all of them run."""
        room, inner = self.rooms[band], band.inner
        if inner is not None:
            if band.is_inner(k):
                k, old = band.first + inner.first, None
            if band.is_inner(until):
                until = band.first + inner.last - 1
        size = product(c.shape[band.shared :]) * c.dtype.size
        slot = room.memory.place(size, k, until, old)
        buffer = Buffer(name, c.dtype, c.shape, "band", self.position(room), dim(0))
        room.values.append((buffer, slot))
        room.memory.slots[slot].holds = buffer
        return buffer

    def in_result(self, c: Comp, k: int, until: int, band: Band) -> Buffer | None:
        """Where a result of the band goes that replaces `c` element by element, if nothing else
        does: its memory comes into the cache while `c` is computed, and there are fewer bytes."""
        if band.inner is not None or k in band.summed or until in band.summed or until == k:
            return None
        kernel = self.kernels.kernels[until]
        for out in kernel.comps:
            buffers = self.stored.get(out, ())
            if len(buffers) != 1 or buffers[0].space != "output" or out in self.replacing:
                continue
            alone = _stands_alone(out, kernel, until, self.stored, self.last)
            if alone and _may_stand_in(c, out, kernel, until, self.last):
                self.replacing.add(out)
                return buffers[0]
        return None

    def inner_sum(self, c: Comp, k: int, band: Band) -> None:
        """Room for a sum over inner rows, and for that over some of them."""
        room, until = self.rooms[band], self.last.get(c, k)
        if c not in self.stored:
            name = _fresh(c.name or "t", self.taken)
            if until in band:
                self.stored[c] = (self.in_band(c, name, k, until, band, None),)
            else:
                self.stored[c] = (self.in_arena(c, name, k, until),)
        at = self.position(room)
        names = (_fresh(f"{c.name or 't'}_{what}", self.taken) for what in ("part", "so_far"))
        part, so_far = (
            Buffer(name, c.dtype, c.shape, "band", at + k, dim(0)) for k, name in enumerate(names)
        )
        room.sums[c] = InnerSum(part, so_far, self.stored[c][0])

    def in_registers(self, c: Comp, k: int) -> bool:
        """Whether `c` of kernel `k`, which is no output, has no place: nothing else reads it, and
        if it is a sum that gathers in memory, it does so in another value's place."""
        kernel, last = self.kernels.kernels[k], self.last
        if last.get(c, k) != k or c.target is not None:
            return False
        others = (x for x in kernel.comps if x in self.stored or last.get(x, k) != k)
        return c not in self.kernels.gathered or any(x.dtype is c.dtype for x in others)

    def parts(self, c: Comp, band: Band) -> None:
        """Room for the sums of the parts of a band's rows."""
        begin, end, room = band.first, band.last - 1, self.rooms[band]
        dtype = F64 if c.dtype.is_float and c.reducer == "sum" else c.dtype
        shape = (dim(MOST_PARTS), *c.shape)
        name = _fresh(f"{c.name or 't'}_parts", self.taken)
        slot = self.memory.place(_bytes(shape, dtype.size), begin, end, None)
        every = Buffer(name, dtype, shape, "arena", 0, self.memory.slots[slot].offset)
        name = _fresh(f"{c.name or 't'}_part", self.taken)
        one = Buffer(name, dtype, c.shape, "band", self.position(room), dim(0))
        room.parts[c] = one, every
        self.lifetimes.append(Lifetime(every, begin, end))

    def position(self, room: _Room) -> int:
        """The next one in the table of pointers, behind what the caller gives."""
        fn = self.kernels.function
        return len(fn.params) + len(fn.outputs) + room.many


@dataclass
class _Slot:
    """`size` bytes at `offset`, taken up to kernel `until`."""

    offset: Dim
    size: Dim
    until: int
    holds: Buffer | None = None


@dataclass
class _Memory:
    slots: list[_Slot]
    end: Dim

    def place(self, size: Dim, first: int, until: int, old: Buffer | None) -> int:
        """The slot of a value of `size` bytes that lives from kernel `first` to `until` and may
        take the place of `old`."""
        for n, slot in enumerate(self.slots):
            free = slot.until < first or (old is not None and slot.holds is old)
            if free and provably_nonnegative(slot.size - size):
                slot.until, slot.holds = until, None
                return n
        self.slots.append(_Slot(self.end, size, until))
        self.end = self.end + size
        return len(self.slots) - 1


@dataclass
class _Room:
    """The room of a band, while it is made."""

    memory: _Memory = field(default_factory=lambda: _Memory([], dim(0)))
    values: list[tuple[Buffer, int]] = field(default_factory=list)
    parts: dict[Comp, tuple[Buffer, Buffer]] = field(default_factory=dict)
    inner: _Memory = field(default_factory=lambda: _Memory([], dim(0)))
    inner_values: list[tuple[Buffer, int]] = field(default_factory=list)
    sums: dict[Comp, InnerSum] = field(default_factory=dict)

    @property
    def many(self) -> int:
        """Pointers."""
        return len(self.values) + len(self.parts) + len(self.inner_values) + 2 * len(self.sums)

    def done(self, bounds: int | None) -> BandRoom:
        """`bounds`: where the bounds of inner rows stand, if there are any."""
        inner = None
        if bounds is not None:
            slots = tuple(s.size for s in self.inner.slots)
            inner = InnerRoom(slots, tuple(self.inner_values), self.sums, bounds)
        slots = tuple(s.size for s in self.memory.slots)
        return BandRoom(slots, tuple(self.values), self.parts, inner)


def _replaced(
    c: Comp,
    kernel: Kernel,
    k: int,
    stored: Mapping[Node, tuple[Buffer, ...]],
    last: Mapping[Node, int],
) -> Buffer | None:
    """What `c` reads element by element and nothing reads after it, so that `c` may stand in its
    place."""
    if not _stands_alone(c, kernel, k, stored, last):
        return None
    for n in operands(c):
        buffers = stored.get(n, ())
        own = len(buffers) == 1 and buffers[0].space in ("arena", "band")
        if own and _may_stand_in(n, c, kernel, k, last):
            return buffers[0]
    return None


def _stands_alone(
    c: Comp,
    kernel: Kernel,
    k: int,
    stored: Mapping[Node, tuple[Buffer, ...]],
    last: Mapping[Node, int],
) -> bool:
    """Whether the kernel of `c` has no loops inside, and stores nothing else."""
    return all(x.reducer is None and x.target is None for x in kernel.comps) and not any(
        x is not c and (x in stored or last.get(x, k) != k) for x in kernel.comps
    )


def _may_stand_in(n: Node, c: Comp, kernel: Kernel, k: int, last: Mapping[Node, int]) -> bool:
    """Whether the kernel of `c` is the last to read `n`, element by element, and they are alike."""
    return (
        last.get(n) == k
        and n.shape == c.shape
        and n.dtype.size == c.dtype.size
        and all(
            is_identity_read(r, c.rank) for x in kernel.comps for r in reads_of(x) if r.tensor is n
        )
    )


def _output_name(fn: Function, k: int) -> str:
    return f"out{k}" if len(fn.outputs) > 1 else "out"


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


def _bytes(shape: tuple[Dim, ...], size: int) -> Dim:
    """Bytes of a value, up to a multiple of the alignment."""
    raw = product(shape) * size
    return (raw + (ALIGNMENT - 1)) // ALIGNMENT * ALIGNMENT


def verify_program(program: Program) -> None:
    """Invariants: everything that a later kernel reads is stored; every output position is written
    once; two lifetimes that overlap do not share bytes (decided where their offsets are equal)."""
    kernels = program.kernels.kernels
    for k, kernel in enumerate(kernels):
        for c in kernel.comps:
            for node in operands(c):
                assert node in program.stored or node in kernel.comps, f"kernel {k} reads nothing"
    fn = program.kernels.function
    in_outputs = [(n, b) for n, bs in program.stored.items() for b in bs if b.space == "output"]
    written = sorted(b.position for n, b in in_outputs if n is fn.outputs[b.position])
    replaced = [b for n, b in in_outputs if n is not fn.outputs[b.position]]
    assert len(replaced) == len(set(replaced)), "two values stand in the place of one result"
    outputs = sorted([*written, *(k for k, _ in program.kernels.in_place)])
    assert outputs == list(range(len(fn.outputs))), "outputs are not planned"
    for a in program.lifetimes:
        for b in program.lifetimes:
            if a is not b and a.buffer.offset == b.buffer.offset:
                empty = any(x.buffer.shape and _is_zero(x.buffer) for x in (a, b))
                apart = (
                    a.last < b.first or b.last < a.first or a.buffer is b.over or b.buffer is a.over
                )
                assert empty or apart, "two live values share a slot"


def _is_zero(b: Buffer) -> bool:
    return product(b.shape).const == 0
