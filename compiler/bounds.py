"""Bounds in the table of pointers: how the functions of inner kernels know what to work on.

In: a function of rows and inner rows of a band. Out: one that is given less, and finds the rest in
the table: from `bounds` on, the first and one past the last row, then those of the inner rows. Left
to others: who writes them (`emit_inner`).
"""

from __future__ import annotations

from typing import Literal

from . import ir
from .frame import Frame
from .instructions import I64
from .llvm_vector import constant
from .loops import Nest
from .target import Target

Given = Literal["nothing", "rows", "inner", "columns", "results"]
"""A range of rows; of inner rows, counted from the table's first one; of what stands in place of
inner rows; or of what a function is given behind them."""

ENTRY = 4  # pointers of every function


def bounds_at(b: ir.IRBuilder, table: ir.Value, bounds: int) -> list[ir.Value]:
    words = (b.gep(table, [constant(I64, bounds + k)], source_etype=I64) for k in range(4))
    return [b.load(x, typ=I64) for x in words]


def of_bounds(
    target: Target,
    module: ir.Module,
    part: ir.Function,
    bounds: int,
    pairs: int,
    name: str,
    given: Given,
) -> ir.Function:
    """`part`, which takes bounds of rows and of inner rows (of these only, where there is but one
    of the `pairs`), with those of the table, but for what is given."""
    own = () if given == "nothing" else (0,)
    frame = _Adapter(target, module, Nest(name, "", (), (), (), {}, own), (), 0)
    frame.run(part, bounds, pairs, given)
    return frame.function


class _Adapter(Frame):
    def run(self, part: ir.Function, bounds: int, pairs: int, given: Given) -> None:
        b, entry = self.b, list(self.function.args[:ENTRY])
        stated = self.function.args[ENTRY:]
        words = bounds_at(b, entry[0], bounds)[-2 * pairs :]
        match given:
            case "rows":
                words[:2] = stated
            case "inner":
                words[-2:] = [b.add(words[-2], x) for x in stated]
            case "columns":
                words[-2:] = stated
            case "results":
                words += stated
        b.ret(b.call(part, [*entry, *words]))
