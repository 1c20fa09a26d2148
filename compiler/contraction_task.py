"""The task of a contraction: the words that say what it is, on the stack of who asks for it.

In: nothing (a layout only). Out: which word says what. `emit_packed` writes tasks, `packed_blocks`
reads them.
"""

from __future__ import annotations

import llvmlite.ir as ir

from .instructions import I64
from .llvm_vector import constant
from .loops import Loop
from .microkernel import POINTER
from .packed import Contraction

ENTRY = (0, 1, 2, 3)  # the entry's pointers
(
    DIRECT,  # the function for small sizes
    DIRECT_ROWS,  # the same for a range of the first batch index, or NULL
    REST,  # what follows the sums, or NULL
    PANELS,  # memory for panels
    LEFT_BYTES,  # of it, for those of the left operand
    BYTES,  # and for both
    OUT,  # where the result starts
    WORK,  # multiplications in all
    INNER,  # extents of all reduced loops that have no record
    BATCHES,  # how many batch loops
    LEFT,
) = range(4, 15)
# … from LEFT on, and from RIGHT on, about an operand
PACK, START, FINITE, ALONE, SIDE = range(5)  # ALONE: no batch loop moves it
RIGHT = LEFT + SIDE
RECORDS = RIGHT + SIDE
# … then a record for each loop
EXTENT, OUT_STEP, LEFT_STEP, RIGHT_STEP, RECORD = range(5)
AT_COLUMNS, AT_ROWS, AT_OUTER, AT_LAST, AT_BATCH = range(
    5
)  # its place; the reduced loops outside in
LOOP_NAMES = ("columns", "rows", "outside", "last")
FIELD_NAMES = ("extent", "out", "left", "right")


def size(batches: int) -> int:
    """Words of a task."""
    return RECORDS + RECORD * (AT_BATCH + batches)


def field(place: int, which: int) -> int:
    """The word of a loop's record."""
    return RECORDS + RECORD * place + which


def loops_of(c: Contraction) -> dict[int, Loop]:
    """The loops that have records, by their places."""
    *outer, last = c.left.reduced[:2]
    found = {AT_COLUMNS: c.columns, AT_ROWS: c.rows, AT_LAST: last}
    found |= dict.fromkeys([AT_OUTER] if outer else [], *outer)
    return found | {AT_BATCH + k: loop for k, loop in enumerate(c.batch)}


def word(b: ir.IRBuilder, base: ir.Value, k: int, t: ir.Type = I64) -> ir.Value:
    return b.load(b.gep(base, [constant(I64, k)], source_etype=I64), typ=t)


def stack(b: ir.IRBuilder, words: int) -> ir.Value:
    """Memory of the function's own."""
    with b.goto_entry_block():
        memory = b.alloca(ir.ArrayType(I64, words))
    memory.type = POINTER
    return memory
