"""The launch plan: how the loops of a nest are spread over the threads of a grid.

In: a `Nest` whose loops step by 1. Out: one or more nests, each with a `Launch`: the size of its
grid as a function of the dims, its block, its shared memory. Left to others: instructions
(`target_cuda`), and the driver's calls.

A nest is mapped in one of two ways. *Threads*: a thread for each output element, neighbours along
the last index, and serial reductions; this is right where neighbouring elements read neighbouring
places. *Blocks*: a block for each output element, whose threads share the reductions; this is
right where a reduction walks memory along its own index, and where there are few outputs.

A fill becomes a nest of its own, and a scatter runs in parallel over the indices that keep
different updates apart (the columns of an embedding's gradient); where there is none, one thread
does it all, in order. No atomics: every result has one order, which the shape alone decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum

from .dims import Dim, dim, product, strides
from .loops import (
    Accumulator,
    Fill,
    Kind,
    Linear,
    Load,
    Loop,
    Nest,
    Reduce,
    Store,
    Update,
    Value,
    indices_of,
    postorder,
    values_of,
)
from .records import dataclass

_POINTS_BLOCK = 256  # threads a block where each has an element of its own
_ROWS_BLOCK = 256  # threads that share a reduction, where there are many outputs
_SINGLE_BLOCK = 512  # … where there is one
_FEW_OUTPUTS = 64  # so few threads cannot use a device
_SHORT = 32  # a reduction that is not worth sharing


class Mapping(Enum):
    THREADS = "a thread per element"
    BLOCKS = "a block per element"


@dataclass(frozen=True)
class Launch:
    """How to start one kernel: a one-dimensional grid of `grid` blocks (none: do not start it) of
    `block` threads. `shared` counts bytes of static shared memory, which the kernel declares.

    Its arguments: the start of each of `buffers` in global memory, then every named dim as an i64,
    then the error record. A buffer is ("param", k), ("output", k) or ("arena", 0)."""

    kernel: str
    source: str
    mapping: Mapping
    grid: Dim
    block: int
    shared: int
    buffers: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        names = ["arena" if space == "arena" else f"{space} {k}" for space, k in self.buffers]
        return (
            f"{self.kernel} ({self.source}): grid {self.grid}, block {self.block}, "
            f"shared {self.shared} bytes, {self.mapping.value}; over {', '.join(names)}"
        )


@dataclass(frozen=True)
class Launched:
    """A nest whose loop kinds say which loops are spread over threads, and its launch. In a nest
    mapped to blocks a PARALLEL loop of a `Reduce` is shared by the block's threads."""

    nest: Nest
    launch: Launch


def spread(nest: Nest) -> tuple[Launched, ...]:
    """The launches of one nest, in order."""
    fills = [_filling(nest, f, k) for k, f in enumerate(nest.fills)]
    return tuple(_mapped(n) for n in (*fills, replace(nest, fills=())))


def _filling(nest: Nest, f: Fill, k: int) -> Nest:
    """A fill as a nest over the elements."""
    loop = Loop(0, product(f.buffer.shape), Kind.PARALLEL)
    loops = (loop,) if loop.extent.const != 1 else ()
    at = Linear(((0, dim(1)),), dim(0)) if loops else Linear((), dim(0))
    name = f"{nest.name}_fill{k}" if k else f"{nest.name}_fill"
    return Nest(name, nest.source, (), loops, (Store(f.buffer, at, f.value),), {0: "i"})


def _mapped(nest: Nest) -> Launched:
    updates = [s for s in nest.body if isinstance(s, Update)]
    if updates:
        loops = _scatter_loops(nest, updates)
        return _threads(replace(nest, loops=loops))
    return _blocks(nest) if _is_cooperative(nest) else _threads(nest)


def _buffers(nest: Nest) -> tuple[tuple[str, int], ...]:
    """What a nest reads or writes: params, outputs, the arena."""
    touched: set[tuple[str, int]] = set()
    for s in nest.body:
        loads = (x for x in postorder(values_of(s)) if isinstance(x, Load))
        touched |= {(x.buffer.space, x.buffer.position) for x in loads}
        if isinstance(s, Store | Update):
            touched.add((s.buffer.space, s.buffer.position))
    return tuple(sorted(touched, key=lambda t: (("param", "output", "arena").index(t[0]), t[1])))


def parallel_loops(nest: Nest) -> tuple[Loop, ...]:
    return tuple(loop for loop in nest.loops if loop.kind is Kind.PARALLEL)


def _threads(nest: Nest) -> Launched:
    points = product(tuple(loop.extent for loop in parallel_loops(nest)))
    n = points.const
    block = _POINTS_BLOCK if n is None else min(_POINTS_BLOCK, max(32, -(-n // 32) * 32))
    grid = (points + (block - 1)) // block
    return _launched(nest, Mapping.THREADS, grid, block, 0)


def _launched(nest: Nest, mapping: Mapping, grid: Dim, block: int, shared: int) -> Launched:
    return Launched(
        nest, Launch(nest.name, nest.source, mapping, grid, block, shared, _buffers(nest))
    )


# --------------------------------------------------------------------------- reductions


def _is_cooperative(nest: Nest) -> bool:
    long = [s for s in nest.body if isinstance(s, Reduce) and not _is_short(s)]
    outputs = product(tuple(loop.extent for loop in nest.loops)).const
    few = outputs is not None and outputs <= _FEW_OUTPUTS
    return bool(long) and (few or any(_walks_along(s, nest.loops) for s in long))


def _walks_along(s: Reduce, outer: Sequence[Loop]) -> bool:
    """Whether fewer of the reduction's loads jump through memory along its own loop than along
    the output's last index. One that stays in its place is as good as one that steps by 1."""
    own = s.loops[_long_loop(s)].index
    loads = [x for x in postorder(values_of(s)) if isinstance(x, Load)]
    along = sum(_jumps(x, own) for x in loads)
    across = sum(_jumps(x, outer[-1].index) for x in loads) if outer else 0
    return along < across


def _jumps(x: Load, index: int) -> bool:
    c = x.offset.coefficient(index)
    return (c is not None and c.const != 1) or any(_depends(v, index) for v, _ in x.gathered)


def _depends(x: Value, index: int) -> bool:
    return index in indices_of((x,), frozenset())[x]


def _is_short(s: Reduce) -> bool:
    n = product(tuple(loop.extent for loop in s.loops)).const
    return n is not None and n <= _SHORT


def _blocks(nest: Nest) -> Launched:
    body = tuple(_shared(s) if isinstance(s, Reduce) and not _is_short(s) else s for s in nest.body)
    nest = replace(nest, body=body)
    outputs = product(tuple(loop.extent for loop in nest.loops))
    block = _SINGLE_BLOCK if outputs.const == 1 else _ROWS_BLOCK
    shared = sum(
        shared_words(a, block) * 4
        for s in body
        if isinstance(s, Reduce) and is_shared(s)
        for a in s.accumulators
    )
    return _launched(nest, Mapping.BLOCKS, outputs, block, shared)


def _shared(s: Reduce) -> Reduce:
    """One loop goes over the threads; the others stay serial."""
    chosen = _long_loop(s)
    loops = tuple(
        replace(x, kind=Kind.PARALLEL) if k == chosen else x for k, x in enumerate(s.loops)
    )
    return replace(s, loops=loops)


def _long_loop(s: Reduce) -> int:
    """The innermost loop that is long enough to share."""
    long = [k for k, x in enumerate(s.loops) if x.extent.const is None or x.extent.const > _SHORT]
    return long[-1] if long else len(s.loops) - 1


def is_shared(s: Reduce) -> bool:
    return any(loop.kind is Kind.PARALLEL for loop in s.loops)


def shared_words(a: Accumulator, block: int) -> int:
    """32-bit words of shared memory that combining an accumulator takes: its state, per warp."""
    d = a.value.dtype
    value = 2 if d.is_weak or d.bits == 64 else 1
    return (value + (2 if a.position is not None else 0)) * (block // 32)


# --------------------------------------------------------------------------- scatters


def _scatter_loops(nest: Nest, updates: list[Update]) -> tuple[Loop, ...]:
    """The loops that keep updates apart, then the serial ones in their order: an element sees its
    updates in the order of the serial program."""
    apart = [x for x in nest.loops if all(_keeps_apart(x, s) for s in updates)]
    serial = [x for x in nest.loops if x not in apart]
    return (
        *(replace(x, kind=Kind.PARALLEL) for x in apart),
        *(replace(x, kind=Kind.SERIAL) for x in serial),
    )


def _keeps_apart(loop: Loop, s: Update) -> bool:
    """Whether two values of the loop's index never meet in one element: the index alone is the
    position along some dim, and everything else is the position along others. Positions are in
    range, so that the sum of stride times position tells elements apart."""
    c = s.offset.coefficient(loop.index)
    steps = strides(s.buffer.shape)
    if c is None or any(_depends(v, loop.index) for v, _ in s.gathered):
        return False
    if not any(
        c == step and loop.extent == n for step, n in zip(steps, s.buffer.shape, strict=True)
    ):
        return False
    others = [x for k, x in s.offset.terms if k != loop.index] + [x for _, x in s.gathered]
    return steps.count(c) == 1 and all(x != c and x in steps for x in others)
