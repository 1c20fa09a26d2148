"""The call of a kernel that is emitted once for all that are like it (`alike`).

In: which buffers and sizes it works on. Out: a function that writes the tables which the kernel
reads them from, and calls it.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import ir
from .alike import Use
from .dims import Dim, named
from .entry_builder import not_hot
from .frame import Frame
from .instructions import I8, I64
from .llvm_vector import constant
from .loops import Nest
from .packed_task import external, stack
from .target import Target


def emit_use(
    target: Target,
    module: ir.Module,
    use: Use,
    function: ir.Function,
    name: str,
    dims: Sequence[str],
    param_count: int,
    scratch: Dim,
) -> ir.Function:
    """`function`, which is the shared kernel, on what this use of it is about; from `scratch` on,
    the arena is free."""
    call = _Call(target, module, Nest(name, "", (), (), (), {}), dims, param_count)
    call.run(use, function, scratch)
    return call.function


class _Call(Frame):
    def run(self, use: Use, function: ir.Function, scratch: Dim) -> None:
        not_hot(self.function)
        b, arena, err = self.b, *self.function.args[2:]
        if function.module is not b.module:
            function = external(b.module, function.function_type, function.name)
        pointers = self.table([self.pointer(x) for x in use.buffers])
        sizes = self.table([self.size(named(x)) for x in use.sizes])
        free = b.gep(arena, [self.size(scratch)], source_etype=I8)
        b.ret(b.call(function, [pointers, sizes, free, err]))

    def table(self, words: Sequence[ir.Value]) -> ir.Value:
        table = stack(self.b, max(1, len(words)))
        for k, x in enumerate(words):
            self.b.store(x, self.b.gep(table, [constant(I64, k)], source_etype=I64))
        return table
