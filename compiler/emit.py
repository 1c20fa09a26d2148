"""The emitter: a loop nest becomes an LLVM function, for any target.

In: a `Nest` and a `Target`. Out: a function in the module, statement by statement. Left to others:
values (`emit_values`), reductions (`emit_reductions`), what differs between machines (the target).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import groupby

from . import instructions as ins
from . import ir
from .dims import dim
from .dims import product as dims_product
from .emit_reductions import Reductions
from .emit_stores import together
from .instructions import I64, memory_type, register_type
from .llvm_vector import constant, intrinsic, vector
from .loops import (
    Buffer,
    Fill,
    Kind,
    Linear,
    Load,
    Loop,
    Nest,
    Reduce,
    Store,
    Update,
    stores_of,
)
from .target import Target


def emit(
    target: Target, module: ir.Module, nest: Nest, dims: Sequence[str], param_count: int
) -> ir.Function:
    """The function of `nest`, added to `module`. `dims` are the names of the sizes in the order in
    which they are passed."""
    return _Emitter(target, module, nest, dims, param_count).run()


class _Emitter(Reductions):
    def run(self) -> ir.Function:
        nest = self.nest
        self.find_dependencies()
        self.start_values()
        for fill in nest.fills:
            self.fill(fill)
        self.hoist()
        self.target.output_loops(self, nest.loops, self.body)
        self.target.finish(self)
        return self.function

    def body(self) -> None:
        if not any(isinstance(s, Reduce) for s in self.nest.body[:1]):
            self.ask_ahead()
        for kind, statements in groupby(self.nest.body, type):
            if kind is Store:
                for several in together([s for s in statements if isinstance(s, Store)]):
                    self.target.store(self, partial(self.stores, several))
                continue
            for s in statements:
                match s:
                    case Update():
                        self.update(s)
                    case Reduce():
                        self.reduce(s)

    def start_values(self) -> None:
        """Pointers and sizes stand at the start of the function."""
        places: list[tuple[Buffer, Linear]] = []
        for s in self.nest.body:
            places += [(x.buffer, x.offset) for x in self.order[s] if isinstance(x, Load)]
            places += [(x.buffer, x.offset) for x in stores_of(s)]
        for buffer, offset in places:
            self.pointer(buffer)
            for _, c in offset.terms:
                self.size(c)
        for loop in self.nest.every_loop:
            self.size(loop.extent)
        for x in self.nest.ahead:
            self.pointer(x.buffer)
            self.further_on(x)

    # ----------------------------------------------------------------- statements

    def update(self, s: Update) -> None:
        b, d = self.b, s.buffer.dtype
        element = memory_type(d)
        mask = self.lane_mask({})
        for c in s.checks:
            index = self.as_index(self.value(c.index, {}), c.index.dtype)
            self.require(c.id, c.axis, index, c.size, mask)
        x = self.value(s.value, {})
        address = self.address(s.buffer, s.offset, {})
        for v, stride in s.gathered:
            step = self.as_index(self.value(v, {}), v.dtype)
            step = step if stride.const == 1 else b.mul(step, self.size(stride))
            address = b.gep(address, [step], source_etype=element)
        if self.lane_index is None:
            old = b.load(address, typ=element, align=self.align(element))
        else:
            old = self.load_row(address, vector(element, self.lanes), d, mask)
            x = self.splat(x)
        new = ins.combine(b, s.combine, ins.from_memory(b, old, d), x, d)
        new = ins.to_memory(b, ins.rounded(b, new, d), d)
        if self.lane_index is None:
            b.store(new, address, align=self.align(element))
        else:
            self.store_row(new, address, mask)

    def fill(self, f: Fill) -> None:
        """A value over a whole buffer; zeros by a block operation."""
        b, d = self.b, f.buffer.dtype
        element = memory_type(d)
        start = self.address(f.buffer, Linear((), dim(0)), {})
        count = self.size(dims_product(f.buffer.shape))
        if not f.value.value:
            size = b.mul(count, constant(I64, d.size))
            intrinsic(
                b,
                "llvm.memset",
                [start, constant(ins.I8, 0), size, constant(ins.I1, 0)],
                result=ir.VoidType(),
                overload=[start.type, I64],
            )
            return
        loop = Loop(-1, dims_product(f.buffer.shape), Kind.SERIAL)
        x = ins.to_memory(b, constant(register_type(d), f.value.value), d)
        self.nest.index_names[-1] = "fill"

        def body(_: Sequence[ir.Value]) -> Sequence[ir.Value]:
            address = b.gep(start, [self.base[-1]], source_etype=element)
            b.store(x, address, align=self.align(element))
            return ()

        self.counted(loop, (), body)
