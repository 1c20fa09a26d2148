"""Tasks: what a packed contraction is, in words on its kernel's stack.

In: nothing. Out: the order of the words, and code that reads them. A task names the functions that
are the contraction's own, says where its operands and its result stand, and has a record for every
loop: its extent, and by how many elements the result and both operands move with it. `ranges`, in
functions that are given some, holds the first and one past the last value of every loop. Left to
others: who writes a task (`emit_packed`), who carries it out (`packed_blocks`).
"""

from __future__ import annotations

from collections.abc import Callable

from . import ir
from .instructions import I64
from .llvm_loop import POINTER, VOID, counted
from .llvm_vector import constant
from .loops import Loop
from .packed import Contraction

CONTRACT = ir.FunctionType(I64, [POINTER])
CONTRACT_ROWS = ir.FunctionType(I64, [POINTER, I64, I64, POINTER])  # (task, low, high, panels)
STEP = ir.FunctionType(VOID, [POINTER] * 3)  # (task, ranges, panels)
DIRECT_CALL = ir.FunctionType(I64, [POINTER] * 4)
DIRECT_RANGE = ir.FunctionType(I64, [POINTER] * 4 + [I64] * 2)  # of rows, or of columns
DIRECT_ROWS_CALL = ir.FunctionType(I64, [POINTER] * 4 + [I64] * 2)

ENTRY = (0, 1, 2, 3)  # the entry's pointers
(
    DIRECT,  # the function for small sizes
    DIRECT_ARGS,  # what it is given for the entry's first two
    DIRECT_DIMS,
    SHARED,  # whether it is a routine that makes sums of plain operands: one of OWN, …
    DIRECT_ROWS,  # the same for a range of the first batch index, or NULL
    REST,  # what follows the sums, or NULL
    PANELS,  # memory for panels
    LEFT_BYTES,  # of it, for those of the left operand
    BYTES,  # and for both
    WORK,  # multiplications in all
    INNER,  # extents of all reduced loops that have no record
    BATCHES,  # how many batch loops
    PARTS,  # in how many parts at most the sums are made; these stand behind the panels
    LEFT_START,  # where plain operands and the result start
    RIGHT_START,
    OUT,
    STRIP,  # what multiplies, if the right operand's panels are a strip; else 0
    WINDOW,  # of its window, how many values one strip holds
    FIRST,  # the place of the output's first index, where that is no row: AT_BATCH or AT_WINDOW
    LEFT,
) = range(4, 24)
OWN, TRANSPOSED, USUAL = range(3)
# … from LEFT on, and from RIGHT on, about an operand
PACK, FINITE, ALONE, PLAIN, SIDE = range(5)  # ALONE: no batch loop moves it
# PLAIN, where strides say all: as it is multiplied; or of bf16, dense along its index or the sum
AS_IT_IS, ALONG_ITSELF, ALONG_SUM = range(1, 4)
RIGHT = LEFT + SIDE
RECORDS = RIGHT + SIDE
# … then a record for each loop
# its extent; by how many elements it moves what; what of it the task covers: FROM up to END
EXTENT, OUT_STEP, LEFT_STEP, RIGHT_STEP, FROM, END, RECORD = range(7)
AT_COLUMNS, AT_ROWS, AT_OUTER, AT_LAST, AT_WINDOW, AT_BATCH = range(
    6
)  # its place; the reduced loops outside in
LOOP_NAMES = ("columns", "rows", "outside", "last")
FIELD_NAMES = ("extent", "out", "left", "right", "from", "end")
DIM_NAMES = [f"{loop}_{what}" for loop in LOOP_NAMES for what in FIELD_NAMES]  # of RECORDS


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
    found |= {} if c.window is None else {AT_WINDOW: c.window}
    return found | {AT_BATCH + k: loop for k, loop in enumerate(c.batch)}


def length(b: ir.IRBuilder, task: ir.Value, place: int) -> ir.Value:
    """Of what the task covers of a loop."""
    return b.sub(word(b, task, field(place, END)), word(b, task, field(place, FROM)))


def word(b: ir.IRBuilder, base: ir.Value, k: int, t: ir.Type = I64) -> ir.Value:
    return b.load(b.gep(base, [constant(I64, k)], source_etype=I64), typ=t)


def stack(b: ir.IRBuilder, words: int) -> ir.Value:
    """Memory of the function's own."""
    with b.goto_entry_block():
        memory = b.alloca(ir.ArrayType(I64, words))
    return memory


# --------------------------------------------------------------------------- routines


def contract(module: ir.Module, element: str) -> ir.Function:
    """The routine as an external symbol of a module that calls it, by what is multiplied."""
    return external(module, CONTRACT, f"tdsl_contract_{element}")


def contract_rows(module: ir.Module, element: str) -> ir.Function:
    """The same for some values of the first batch index."""
    return external(module, CONTRACT_ROWS, f"tdsl_contract_rows_{element}")


def external(module: ir.Module, t: ir.FunctionType, name: str) -> ir.Function:
    found = module.globals.get(name)
    return ir.Function(module, t, name) if found is None else found


# --------------------------------------------------------------------------- ranges and batches


def range_at(b: ir.IRBuilder, ranges: ir.Value, place: ir.Value) -> ir.Value:
    return b.gep(ranges, [b.mul(place, constant(I64, 2))], source_etype=I64)


def batch_field(b: ir.IRBuilder, task: ir.Value, k: ir.Value, which: int) -> ir.Value:
    at = b.add(b.mul(k, constant(I64, RECORD)), constant(I64, field(AT_BATCH, which)))
    return b.load(b.gep(task, [at], source_etype=I64), typ=I64)


def product_of_batches(b: ir.IRBuilder, task: ir.Value, batches: ir.Value) -> ir.Value:
    total = stack(b, 1)
    b.store(constant(I64, 1), total)
    with counted(b, batches, constant(I64, 1)) as k:
        b.store(b.mul(b.load(total, typ=I64), batch_field(b, task, k, EXTENT)), total)
    return b.load(total, typ=I64)


def sum_of_batches(b: ir.IRBuilder, task: ir.Value, ranges: ir.Value, which: int) -> ir.Value:
    """By how many elements the batch indices move the result or an operand."""
    total = stack(b, 1)
    b.store(constant(I64, 0), total)
    with counted(b, word(b, task, BATCHES), constant(I64, 1)) as k:
        at = range_at(b, ranges, b.add(k, constant(I64, AT_BATCH)))
        by = b.mul(b.load(at, typ=I64), batch_field(b, task, k, which))
        b.store(b.add(b.load(total, typ=I64), by), total)
    return b.load(total, typ=I64)


def each_index(
    b: ir.IRBuilder,
    task: ir.Value,
    batches: ir.Value,
    number: ir.Value,
    put: Callable[[ir.Value, ir.Value, ir.Value], None],
) -> None:
    """The batch indices of the batch with this number, the last one running fastest."""
    left = stack(b, 1)
    b.store(number, left)
    one = constant(I64, 1)
    with counted(b, batches, one) as n:
        k = b.sub(b.sub(batches, one), n)
        number, size = b.load(left, typ=I64), batch_field(b, task, k, EXTENT)
        at = b.srem(number, size)
        b.store(b.sdiv(number, size), left)
        put(b.add(k, constant(I64, AT_BATCH)), at, b.add(at, one))
