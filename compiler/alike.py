"""Kernels that are the same but for their operands and the names of sizes: emitted once.

In: the kernels of a program. Out: for each, what stands for all that are like it, and with which
buffers and sizes that is this one; None where nothing else is. The layers of a network are such
kernels: their code, and the time to compile it, does not grow with their number. Left to others:
the call (`emit_alike`).

Two are alike if a walk through both meets the same things in the same order, buffers and sizes
being called by the order in which they are first met.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from .band_nests import BandNest
from .dims import Dim, FloorDiv, dim, named
from .dtypes import DType
from .loops import Apply, Buffer, Nest
from .packed import Contraction
from .plan import InnerRoom
from .records import dataclass
from .schedule import Schedule

WORTH_SHARING = 150
"""Things that a kernel is made of, from which on a call of shared code costs little beside it."""

Kernel = Nest | Contraction | BandNest


@dataclass(frozen=True, eq=False)
class Shared:
    """`kernel` reads and writes `pointers` buffers, which a table states, as does another one its
    sizes; what it needs besides stands at the start of the arena that it is given."""

    kernel: Kernel
    pointers: int
    sizes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Use:
    """`shared` with these buffers and sizes, in the order of its tables."""

    shared: Shared
    buffers: tuple[Buffer, ...]
    sizes: tuple[str, ...]


def uses(program: Schedule) -> tuple[Use | None, ...]:
    kernels, fn = program.nests, program.program.kernels.function
    outside = len(fn.params) + len(fn.outputs)  # pointers of the entry's table
    outlines = [_outline(k) for k in kernels]
    often = {x for x, count in Counter(outlines).items() if count > 1}
    walks = [
        _Walk(k, outside) if x in often else None for k, x in zip(kernels, outlines, strict=True)
    ]
    keys = [None if w is None or len(w.met) < WORTH_SHARING else tuple(w.met) for w in walks]
    counts = Counter(keys)
    shared: dict[Hashable, Shared] = {}
    out: list[Use | None] = []
    for walk, key in zip(walks, keys, strict=True):
        if walk is None or key is None or counts[key] == 1:
            out.append(None)
            continue
        if key not in shared:
            shared[key] = _renamed(walk)
        out.append(Use(shared[key], tuple(walk.buffers), tuple(walk.sizes)))
    return tuple(out)


def _outline(k: Kernel) -> Hashable:
    """A part of what makes two alike, found fast."""
    match k:
        case BandNest():
            return tuple(map(_outline, k.stages))
        case Contraction():
            return "contraction", k.rest is None, k.strip is None, _outline(k.direct)
        case Nest():
            return len(k.body), tuple((x.copies, x.lanes) for x in k.every_loop)


# --------------------------------------------------------------------------- what it is made of


class _Walk:
    """`met` is the kernel, but for names; `buffers` and `sizes` are those that it has from outside,
    in the order in which they are met."""

    def __init__(self, kernel: Kernel, outside: int) -> None:
        self.kernel, self.outside = kernel, outside
        self.met: list[Hashable] = []
        self.buffers: dict[Buffer, int] = {}
        self.sizes: dict[str, int] = {}
        self.numbers: dict[int, int] = {}
        self.dims: dict[Dim, Hashable] = {}
        self.walk(kernel)

    def walk(self, root: Any) -> None:
        """Whatever its depth: formulas may be long."""
        met, stack = self.met, [root]
        while stack:
            x = stack.pop()
            kind: Any = type(x)
            content = _content(x)
            if kind is Dim:
                met.append(self.size(x))
            elif kind is float:
                met.append(repr(x))  # 0.0 and -0.0 are equal, NaN is not
            elif content is None:
                met.append(x)
            elif id(x) in self.numbers:
                met.append(("again", self.numbers[id(x)]))
            else:
                if kind is Buffer:
                    self.buffer(x)
                elif kind is InnerRoom:
                    met.append(x.bounds - self.outside)
                elif _has_identity(kind):
                    self.numbers[id(x)] = len(self.numbers)
                met += [kind, len(content)]
                stack += reversed(content)

    def buffer(self, x: Buffer) -> None:
        if x.space == "band":
            at: Hashable = x.position - self.outside
        elif x.space == "block":
            at = x.position
        else:
            at = self.buffers.setdefault(x, len(self.buffers))
        self.met.append((x.space if x.space in ("band", "block") else "", at, x.dtype))

    def size(self, d: Dim) -> Hashable:
        found = self.dims.get(d)
        if found is None:
            found = self.dims[d] = frozenset(
                (frozenset(Counter(map(self.atom, mono)).items()), c) for mono, c in d.terms
            )
        return found

    def atom(self, x: str | FloorDiv) -> Hashable:
        if isinstance(x, str):
            return self.sizes.setdefault(x, len(self.sizes))
        return self.size(x.numerator), x.divisor


@cache
def _has_identity(kind: Any) -> bool:
    return _fields(kind) is not None and kind.__eq__ is object.__eq__


@cache
def _fields(kind: Any) -> tuple[str, ...] | None:
    """The fields that make a record what it is, but for those that depend on where it stands; None
    of what is no record."""
    if kind is DType or kind is Dim:
        return None
    if kind is Buffer:
        return ("shape",)
    fields = getattr(kind, "__dataclass_fields__", None)
    if fields is None:
        return None
    others = {"source", "index_names", "bounds"} | (set() if kind is Apply else {"name"})
    return tuple(name for name in fields if name not in others)


def _content(x: Any) -> Sequence[Any] | None:
    """What `x` is made of; None of what is met as it is."""
    if type(x) is tuple:
        return x
    if isinstance(x, Mapping):
        return [*x.values()]
    kind: Any = type(x)
    fields = _fields(kind)
    return None if fields is None else [getattr(x, name) for name in fields]


# --------------------------------------------------------------------------- the kernel for all


def _renamed(walk: _Walk) -> Shared:
    """The kernel of `walk` with its buffers and sizes called by their numbers."""
    pointers, further = len(walk.buffers), len(walk.buffers) - walk.outside
    names = {name: f"n{k}" for name, k in walk.sizes.items()}
    env = {name: named(new) for name, new in names.items()}
    done: dict[int, Any] = {}  # by identity, which the kernel keeps

    def now(x: Any) -> Any:
        return x.substitute(env) if type(x) is Dim else done.get(id(x), x)

    def made(x: Any) -> Any:
        kind: Any = type(x)
        content = [now(y) for y in _content(x) or ()]
        if kind is tuple:
            return tuple(content)
        if isinstance(x, Mapping):
            return dict(zip(x, content, strict=True))
        changed = dict(zip(_fields(kind) or (), content, strict=True))
        if kind is InnerRoom:
            changed["bounds"] = x.bounds + further
        if kind is Buffer and x.space == "band":
            changed["position"] = x.position + further
        elif kind is Buffer and x.space != "block":
            number = walk.buffers[x]
            changed |= {"space": "param", "position": number, "offset": dim(0)}
            changed["name"] = f"#{number}"  # which no other buffer is called
        return replace(x, **changed)

    stack: list[Any] = [walk.kernel]
    while stack:
        x = stack[-1]
        missing = [y for y in _content(x) or () if _content(y) is not None and id(y) not in done]
        if missing:
            stack += missing
        else:
            stack.pop()
            done[id(x)] = done[id(x)] if id(x) in done else made(x)
    return Shared(now(walk.kernel), pointers, tuple(names.values()))
