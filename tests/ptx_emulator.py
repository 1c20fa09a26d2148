"""A GPU in NumPy: PTX kernels run with a lane for every thread, and every access is watched.

In: PTX, grids, and arrays in a `DeviceMemory`. Out: the memory afterwards, or an `EmulationError`
for what would be wrong on a device: an access out of bounds, misaligned, or of memory never
written; two threads that meet in a byte, in shared memory with no barrier between them, in global
memory at all; a barrier or a shuffle that some thread never reaches.

The threads at the lowest place in the program step together, so that they reconverge as on a
device; given a `schedule`, one warp drawn from it steps instead. A thread that has left the kernel
is not waited for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from . import ptx_arithmetic as arithmetic
from .ptx_arithmetic import SIGNED, UNSIGNED, Array, UndefinedError, dtype_of
from .ptx_text import Instruction, Kernel, PtxText, Type, split_operands

_BASE = 0x7000_0000_0000
_APART = 256  # bytes between allocations at least, so that a near miss is a miss
_NOBODY, _SEVERAL = -1, -2
_WARP = 32


class EmulationError(Exception):
    """What a device would do wrong, or leave undefined."""


class Watched:
    """Bytes with their history: whether each may be touched, was written, and by which threads
    since the last synchronisation."""

    def __init__(self, size: int) -> None:
        self.bytes = np.zeros(size, np.uint8)
        self.allocated = np.zeros(size, np.bool_)
        self.written = np.zeros(size, np.bool_)
        self.writer = np.full(size, _NOBODY, np.int32)
        self.reader = np.full(size, _NOBODY, np.int32)

    def synchronize(self, part: slice = slice(None)) -> None:
        self.writer[part] = self.reader[part] = _NOBODY

    def _places(self, at: Array, count: int, what: str) -> Array:
        if (at % count).any():
            raise EmulationError(f"misaligned {what}")
        if (at < 0).any() or (at + count > self.bytes.size).any():
            raise EmulationError(f"{what} out of bounds")
        places: Array = at[:, None] + np.arange(count)
        if not self.allocated[places].all():
            raise EmulationError(f"{what} out of bounds")
        return places

    def load(self, at: Array, count: int, threads: Array) -> Array:
        places = self._places(at, count, "load")
        if not self.written[places].all():
            raise EmulationError("load of memory that was never written")
        who = threads[:, None]
        writer = self.writer[places]
        if ((writer != _NOBODY) & (writer != who)).any():
            raise EmulationError("race: a thread reads what another one writes")
        reader = self.reader[places]
        self.reader[places] = np.where((reader == _NOBODY) | (reader == who), who, _SEVERAL)
        _, first = np.unique(places[:, 0], return_index=True)
        if len(first) < len(at):  # several threads read a place in this very step
            shared = np.isin(places[:, 0], places[np.setdiff1d(np.arange(len(at)), first), 0])
            self.reader[places[shared]] = _SEVERAL
        return self.bytes[places]

    def store(self, at: Array, values: Array, threads: Array) -> None:
        places = self._places(at, values.shape[1], "store")
        if len(np.unique(places)) < places.size:
            raise EmulationError("race: two threads write one place")
        who = threads[:, None]
        for others in (self.writer[places], self.reader[places]):
            if ((others != _NOBODY) & (others != who)).any():
                raise EmulationError("race: a thread writes what another one touches")
        self.bytes[places] = values
        self.written[places] = True
        self.writer[places] = who


class DeviceMemory:
    """Global memory: allocations with room between them."""

    def __init__(self, size: int = 1 << 22) -> None:
        self.watched = Watched(size)
        self.top = _APART

    def allocate(self, count: int) -> int:
        """The address of `count` bytes, not written yet."""
        start = self.top
        self.top += -(-(count + _APART) // _APART) * _APART
        self.watched.allocated[start : start + count] = True
        return _BASE + start

    def put(self, array: Array) -> int:
        """The address of a copy of `array`."""
        address = self.allocate(array.nbytes)
        start = address - _BASE
        raw = np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
        self.watched.bytes[start : start + array.nbytes] = raw
        self.watched.written[start : start + array.nbytes] = True
        return address

    def get(self, address: int, shape: Sequence[int], dtype: str) -> Array:
        """A copy of the array at `address`, all of which must have been written."""
        start = address - _BASE
        count = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if not self.watched.written[start : start + count].all():
            raise EmulationError("part of a result was never written")
        raw = self.watched.bytes[start : start + count].tobytes()
        return np.frombuffer(raw, dtype).reshape(shape).copy()


def launch(
    module: PtxText,
    name: str,
    grid: int,
    block: int,
    arguments: Sequence[int],
    memory: DeviceMemory,
    schedule: np.random.Generator | None = None,
) -> None:
    """Run a kernel with integer (and pointer) arguments to its end."""
    kernel = module.kernels[name]
    if block > kernel.block or not 0 < grid < 1 << 31:
        raise EmulationError(f"a grid of {grid} blocks of {block} threads cannot be launched")
    if len(arguments) != len(kernel.parameters):
        raise EmulationError(f"{name} takes {len(kernel.parameters)} arguments")
    symbols = {n: memory.put(np.frombuffer(x, np.uint8)) for n, x in module.constants.items()}
    memory.watched.synchronize()
    with np.errstate(all="ignore"):
        _Grid(kernel, grid, block, arguments, memory, symbols).run(schedule)


@cache
def _address_parts(text: str) -> tuple[str, int]:
    found = re.fullmatch(r"\[([\w$%]+)(?:\+(-?\d+))?\]", text)
    if found is None:
        raise ValueError(f"no address: {text}")
    return found[1], int(found[2] or 0)


@cache
def _elements(text: str) -> tuple[str, ...]:
    """The parts of a vector operand, or the operand itself."""
    return split_operands(text[1:-1]) if text.startswith("{") else (text,)


class _Grid:
    """All threads of a launch; `lanes` below are the numbers of those that step."""

    def __init__(
        self,
        kernel: Kernel,
        grid: int,
        block: int,
        arguments: Sequence[int],
        memory: DeviceMemory,
        symbols: dict[str, int],
    ) -> None:
        self.kernel, self.memory, self.block = kernel, memory, block
        n = grid * block
        thread = np.arange(n)
        self.warp = thread // block * -(-block // _WARP) + thread % block // _WARP
        self.block_of = thread // block
        self.special = {
            "%tid.x": (thread % block).astype(np.uint32),
            "%ctaid.x": self.block_of.astype(np.uint32),
        }
        self.registers = {
            r: np.zeros(n, np.bool_ if t.kind == "p" else UNSIGNED[t.bits])
            for r, t in kernel.registers.items()
        }
        self.symbols = symbols | dict(kernel.shared)
        self.arguments = dict(zip(kernel.parameters, arguments, strict=True))
        self.shared = Watched(grid * kernel.shared_bytes)
        self.shared.allocated[:] = True
        self.place = np.zeros(n, np.int64)
        self.waiting = np.zeros(n, np.bool_)

    # ----------------------------------------------------------------- scheduling

    def run(self, schedule: np.random.Generator | None) -> None:
        end = len(self.kernel.instructions)
        while (alive := self.place < end).any():
            ready = alive & ~self.waiting
            if not ready.any():
                self.release(alive)
                continue
            if schedule is not None:
                ready &= self.warp == schedule.choice(np.unique(self.warp[ready]))
            at = int(self.place[ready].min())
            self.step(at, np.flatnonzero(ready & (self.place == at)))

    def step(self, at: int, lanes: Array) -> None:
        inst = self.kernel.instructions[at]
        if inst.opcode in ("bar", "shfl"):
            if inst.predicate is not None:
                raise EmulationError(f"{inst.text}: under a predicate")
            self.waiting[lanes] = True
            return
        if inst.predicate is not None:
            holds = self.registers[inst.predicate][lanes] ^ inst.negated
            self.place[lanes[~holds]] += 1
            lanes = lanes[holds]
        if len(lanes):
            self.perform(inst, lanes)

    def perform(self, inst: Instruction, lanes: Array) -> None:
        try:
            match inst.opcode:
                case "bra":
                    self.place[lanes] = self.kernel.labels[inst.operands[0]]
                case "ret":
                    self.place[lanes] = len(self.kernel.instructions)
                case opcode:
                    _ACTIONS[opcode](self, inst, lanes)
                    self.place[lanes] += 1
        except (EmulationError, UndefinedError) as e:
            raise EmulationError(f"{self.kernel.name}: {inst.text}: {e}") from None

    def release(self, alive: Array) -> None:
        """All wait: let those go on whose whole warp or block (as far as it lives) stands at one
        shuffle or barrier."""
        found = False
        for group, opcode in ((self.warp, "shfl"), (self.block_of, "bar")):
            for g in np.unique(group[alive]):
                lanes = np.flatnonzero(alive & (group == g))
                at = self.place[lanes[0]]
                inst = self.kernel.instructions[at]
                if inst.opcode == opcode and (self.place[lanes] == at).all():
                    found = True
                    self.waiting[lanes] = False
                    self.perform(inst, lanes)
        if not found:
            raise EmulationError(f"{self.kernel.name}: threads wait for each other forever")

    # ----------------------------------------------------------------- operands

    def read(self, operand: str, t: Type, lanes: Array) -> Array:
        """An operand's value in each lane, in the NumPy type of `t`."""
        if operand in self.registers:
            raw = self.registers[operand][lanes]
        elif operand in self.special:
            raw = self.special[operand][lanes]
        else:
            raw = np.full(len(lanes), self.immediate(operand, t), UNSIGNED[max(8, t.bits)])
        if t.kind == "p":
            return raw.astype(np.bool_)
        return raw.astype(UNSIGNED[t.bits]).view(dtype_of(t))

    def immediate(self, text: str, t: Type) -> int:
        if text in self.symbols:
            return self.symbols[text]
        if text[:2] in ("0f", "0d"):
            return int(text[2:], 16)
        return int(text, 0) & ((1 << t.bits) - 1)

    def write(self, operand: str, value: Array, lanes: Array) -> None:
        """Into a register, which may be wider: signed values extend their sign."""
        if operand == "_":
            return
        register = self.registers[operand]
        value = np.ascontiguousarray(value)
        if register.dtype == np.bool_:
            register[lanes] = value
            return
        if value.dtype.kind == "i":
            value = value.astype(SIGNED[8 * register.itemsize])
        register[lanes] = value.view(UNSIGNED[8 * value.itemsize])

    def address(self, operand: str, lanes: Array) -> Array:
        base, offset = _address_parts(operand)
        return self.read(base, Type("u", 64), lanes).astype(np.int64) + offset

    def watched(self, inst: Instruction, operand: str, lanes: Array) -> tuple[Watched, Array]:
        """The memory that an access touches, and where."""
        at = self.address(operand, lanes)
        if inst.space == "global":
            return self.memory.watched, at - _BASE
        if inst.space != "shared":
            raise EmulationError("an access that names no memory")
        size = self.kernel.shared_bytes
        width = inst.types[-1].bits // 8
        if (at < 0).any() or (at + width > size).any():
            raise EmulationError("out of bounds of the block's shared memory")
        return self.shared, at + self.block_of[lanes] * size


# --------------------------------------------------------------------------- instructions

Action = Callable[[_Grid, Instruction, Array], None]


def _load(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    t = inst.types[-1]
    targets = _elements(inst.operands[0])
    width = t.bits // 8
    if inst.space == "param":
        name, offset = _address_parts(inst.operands[1])
        if offset or grid.kernel.parameters[name][1] != width:
            raise EmulationError("part of a parameter")
        value = grid.arguments[name] & ((1 << t.bits) - 1)
        grid.write(targets[0], np.full(len(lanes), value, UNSIGNED[t.bits]), lanes)
        return
    memory, at = grid.watched(inst, inst.operands[1], lanes)
    raw = memory.load(at, width * len(targets), lanes)
    if "nc" in inst.modifiers:  # promised to be written by nobody
        memory.reader[at[:, None] + np.arange(width * len(targets))] = _SEVERAL
    for k, target in enumerate(targets):
        part = np.ascontiguousarray(raw[:, k * width : (k + 1) * width])
        grid.write(target, part.view(dtype_of(t))[:, 0], lanes)


def _store(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    t = inst.types[-1]
    values = [grid.read(x, t, lanes) for x in _elements(inst.operands[1])]
    raw = [np.ascontiguousarray(v).view(np.uint8).reshape(len(lanes), -1) for v in values]
    memory, at = grid.watched(inst, inst.operands[0], lanes)
    memory.store(at, np.concatenate(raw, axis=1), lanes)


def _swap_if_equal(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    """atom.cas: one thread after the other."""
    t = inst.types[-1]
    target, place, expected, new = inst.operands
    memory, at = grid.watched(inst, place, lanes)
    old = np.zeros(len(lanes), dtype_of(t))
    for k in range(len(lanes)):
        spot = slice(int(at[k]), int(at[k]) + t.bits // 8)
        if not memory.allocated[spot].all():
            raise EmulationError("out of bounds")
        old[k] = memory.bytes[spot].view(dtype_of(t))[0]
        if old[k] == grid.read(expected, t, lanes[k : k + 1])[0]:
            memory.bytes[spot] = grid.read(new, t, lanes[k : k + 1]).view(np.uint8)
    grid.write(target, old, lanes)


def _move(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    t = inst.types[-1]
    targets, sources = _elements(inst.operands[0]), _elements(inst.operands[1])
    whole = Type("b", t.bits)
    part = Type("b", t.bits // max(len(targets), len(sources)))
    if len(sources) > 1:
        raw = np.stack([grid.read(x, part, lanes) for x in sources], axis=1)
        grid.write(targets[0], raw.view(UNSIGNED[t.bits])[:, 0], lanes)
        return
    value = np.ascontiguousarray(grid.read(sources[0], whole, lanes))
    raw = value.view(UNSIGNED[part.bits]).reshape(len(lanes), -1)
    for k, target in enumerate(targets):
        grid.write(target, raw[:, k], lanes)


def _same_type(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    t = inst.types[-1]
    if "wide" in inst.modifiers:
        x, y = (grid.read(a, t, lanes) for a in inst.operands[1:3])
        value = arithmetic.multiply_wide(inst, x, y)
        if inst.opcode == "mad":
            value = value + grid.read(inst.operands[3], Type(t.kind, 2 * t.bits), lanes)
    else:
        value = arithmetic.same_type(inst, [grid.read(a, t, lanes) for a in inst.operands[1:]])
    grid.write(inst.operands[0], value, lanes)


def _shift(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    x = grid.read(inst.operands[1], inst.types[-1], lanes)
    by = grid.read(inst.operands[2], Type("u", 32), lanes)
    grid.write(inst.operands[0], arithmetic.shift(inst, x, by), lanes)


def _field(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    if inst.types[-1].kind != "u":
        raise EmulationError("a signed field")
    x = grid.read(inst.operands[1], inst.types[-1], lanes)
    position, length = (grid.read(a, Type("u", 32), lanes) for a in inst.operands[2:])
    grid.write(inst.operands[0], arithmetic.extract_field(x, position, length), lanes)


def _compare(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    if len(inst.operands) != 3:
        raise EmulationError("a comparison combined with a predicate")
    x, y = (grid.read(a, inst.types[-1], lanes) for a in inst.operands[1:])
    grid.write(inst.operands[0], arithmetic.compare(inst.modifiers[0], x, y), lanes)


def _select(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    then, other = (grid.read(a, inst.types[-1], lanes) for a in inst.operands[1:3])
    test = grid.registers[inst.operands[3]][lanes]
    grid.write(inst.operands[0], np.where(test, then, other), lanes)


def _convert(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    x = grid.read(inst.operands[1], inst.types[-1], lanes)
    grid.write(inst.operands[0], arithmetic.convert(inst, x), lanes)


def _shuffle(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    """shfl.down: the word of the thread further on in the warp, its own past the end; a thread
    that has left gives nothing."""
    if "down" not in inst.modifiers or inst.operands[3:] != ("31", "-1"):
        raise EmulationError("another kind of shuffle")
    t = Type("b", 32)
    distance = int(inst.operands[2])
    value = grid.read(inst.operands[1], t, lanes)
    lane = lanes % grid.block % _WARP
    source = np.where(lane + distance < _WARP, lanes + distance, lanes)
    where = np.searchsorted(lanes, source)
    there = (where < len(lanes)) & (lanes[np.minimum(where, len(lanes) - 1)] == source)
    grid.write(inst.operands[0], np.where(there, value[where * there], 0).astype(np.uint32), lanes)


def _barrier(grid: _Grid, inst: Instruction, lanes: Array) -> None:
    size = grid.kernel.shared_bytes
    for b in np.unique(grid.block_of[lanes]):
        grid.shared.synchronize(slice(int(b) * size, (int(b) + 1) * size))


_ACTIONS: dict[str, Action] = {
    **dict.fromkeys(arithmetic.SAME_TYPE, _same_type),
    "ld": _load,
    "st": _store,
    "atom": _swap_if_equal,
    "mov": _move,
    "shl": _shift,
    "shr": _shift,
    "bfe": _field,
    "setp": _compare,
    "selp": _select,
    "cvt": _convert,
    "shfl": _shuffle,
    "bar": _barrier,
}
