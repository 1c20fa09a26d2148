"""How the panels of packed contractions are made and multiplied: by vectors, or by matrix tiles.

In: what the machine offers. Out: a `Way`, with functions of the module that all contractions share,
and which sizes it is for. Left to others: blocks and threads (`packed_blocks`), the products
(`microkernel`, `microkernel_tiles`).
"""

from __future__ import annotations

from . import ir
from .entry_builder import Callee, not_hot
from .fork_join import up
from .instructions import I1, I8, I64
from .llvm_loop import POINTER
from .llvm_vector import constant
from .microkernel import finite, multiply
from .microkernel_strip import COUNT, START
from .microkernel_strip_tiles import multiply_strip_tiles
from .microkernel_tiles import SIDE, multiply_tiles, tiles_allowed
from .microkernel_tiles import WORTH_SHARING as TILES_WORTH_SHARING
from .packed import (
    MOST_PANELS,
    PANELS_OF_TILES,
    SPREAD,
    STEP_OF_TILES,
    WORTH_A_BATCH,
    WORTH_PACKING,
    WORTH_SHARING,
)
from .packed_direct import FEW, has_more_rows, reads_in_place
from .packed_task import (
    AT_COLUMNS,
    AT_LAST,
    AT_OUTER,
    AT_ROWS,
    AT_WINDOW,
    EXTENT,
    FINITE,
    INNER,
    LEFT,
    PACK,
    RIGHT,
    SHARED,
    STEP,
    STRIP,
    USUAL,
    WORK,
    field,
    word,
)
from .packed_tiles import tile_packing
from .records import dataclass
from .register_tile import Panels


@dataclass(frozen=True)
class Way:
    """`multiply` has the signature of `microkernel`; `packing(task, ranges, panels, which,
    extremes)` packs an operand, and says no where its values are not for this way. It pays from
    `least` rows, columns and terms on, those of panels and those of strips. A multiple of `depth`
    terms is packed at a time, and `most_panels`, unless they are a strip. `allowed` and
    `multiply_strip` belong to matrix tiles: what these are not for is left to vectors."""

    element: str
    tile: Panels
    multiply: ir.Function
    packing: ir.Function
    least: tuple[tuple[int, int, int], tuple[int, int, int]]
    depth: int = 1
    most_panels: int = MOST_PANELS
    worth_sharing: int = WORTH_SHARING
    allowed: ir.Function | None = None
    multiply_strip: ir.Function | None = None

    @property
    def by_tiles(self) -> bool:
        return self.allowed is not None


def by_vectors(module: ir.Module, tile: Panels) -> Way:
    fewest = tile.rows if has_more_rows(tile) else FEW + 1
    least = (fewest, tile.lanes // 2, 8), (1, tile.lanes // 4, 8)
    return Way(tile.name, tile, multiply(module, tile), _packing(module, tile), least)


def by_tiles(module: ir.Module, tile: Panels) -> Way:
    return Way(
        "bf16",
        Panels(tile.element, tile.lanes, 2 * SIDE, tile.vectors),
        multiply_tiles(module),
        tile_packing(module, tile),
        ((SIDE, SIDE, STEP_OF_TILES), (SIDE, SIDE // 2, STEP_OF_TILES)),
        depth=STEP_OF_TILES,
        most_panels=PANELS_OF_TILES,
        worth_sharing=TILES_WORTH_SHARING,
        allowed=tiles_allowed(module),
        multiply_strip=multiply_strip_tiles(module),
    )


def is_for(b: ir.IRBuilder, task: ir.Value, way: Way) -> ir.Value:
    """Whether the task is for this way: by its sizes, and if these are, by what Linux says."""
    suits = _is_large(b, task, way)
    if way.allowed is None:
        return suits
    found = b.alloca(I1)
    b.store(suits, found)
    with b.if_then(suits):
        b.store(b.call(way.allowed, []), found)
    return b.load(found, typ=I1)


def _is_large(b: ir.IRBuilder, task: ir.Value, way: Way) -> ir.Value:
    inner = word(b, task, INNER)
    n, m = (word(b, task, field(k, EXTENT)) for k in (AT_COLUMNS, AT_ROWS))
    depth = inner
    for k in (AT_OUTER, AT_LAST):
        depth = b.mul(depth, word(b, task, field(k, EXTENT)))
    each = b.mul(b.mul(m, b.mul(n, word(b, task, field(AT_WINDOW, EXTENT)))), depth)
    large = b.and_(
        b.icmp_signed(">=", each, constant(I64, WORTH_A_BATCH)),
        b.icmp_signed(">=", word(b, task, WORK), constant(I64, WORTH_PACKING)),
    )
    large = b.and_(large, b.icmp_signed("<=", inner, constant(I64, SPREAD)))
    is_strip = b.icmp_signed("!=", word(b, task, STRIP), constant(I64, 0))
    for x, panel, strip in zip((m, n, depth), *way.least, strict=True):
        least = b.select(is_strip, constant(I64, strip), constant(I64, panel))
        large = b.and_(large, b.icmp_signed(">=", x, least))
    if way.by_tiles:
        return large
    # the routine that all share has better tiles for some sizes
    shared = b.icmp_signed("==", word(b, task, SHARED), constant(I64, USUAL))
    return b.and_(large, b.not_(b.and_(shared, reads_in_place(b, way.tile, m, n, depth))))


def _packing(module: ir.Module, tile: Panels) -> ir.Function:
    """`(task, ranges, panels, which, …) -> i1`: an operand packed; false where it had to be finite
    and is not."""
    t = ir.FunctionType(I1, [POINTER, POINTER, POINTER, I64, POINTER])
    f = ir.Function(module, t, "tdsl_packing")
    f.linkage = "internal"
    not_hot(f)
    task, ranges, memory, which, _ = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    is_left = b.icmp_signed("==", which, constant(I64, 0))

    def about(k: int, t: ir.Type) -> ir.Value:
        return b.select(is_left, word(b, task, LEFT + k, t), word(b, task, RIGHT + k, t))

    def length(place: int) -> ir.Value:
        return b.sub(word(b, ranges, 2 * place + 1), word(b, ranges, 2 * place))

    b.call(Callee(about(PACK, POINTER), STEP), [task, ranges, memory])
    with b.if_then(b.icmp_signed("==", about(FINITE, I64), constant(I64, 0))):
        b.ret(constant(I1, 1))
    is_strip = b.icmp_signed("!=", word(b, task, STRIP), constant(I64, 0))
    with b.if_then(b.and_(b.not_(is_left), is_strip)):
        start = b.gep(memory, [word(b, memory, START)], source_etype=I8)
        count, one = word(b, memory, COUNT), constant(I64, 1)
        b.ret(b.call(finite(module, tile), [start, one, count, count]))
    count = b.select(is_left, length(AT_ROWS), length(AT_COLUMNS))
    width = b.select(is_left, constant(I64, tile.rows), constant(I64, tile.columns))
    count = b.mul(up(b, count, width), width)
    for x in (length(AT_OUTER), length(AT_LAST), word(b, task, INNER)):
        count = b.mul(count, x)
    b.ret(b.call(finite(module, tile), [memory, constant(I64, 1), count, count]))
    return f
