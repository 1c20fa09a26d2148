"""Packed contractions as code: what each has of its own, and the call of the routine for the rest.

In: a `Contraction`. Out: functions of the module: its direct nest, those that pack an operand, one
for what follows the sums (each where no shared routine does the same), and the one that carries the
contraction's name: small sizes go the direct way, large ones are handed over as a task. Left to
others: what a task says (`packed_task`) and who carries it out (`packed_blocks`), packing
(`emit_panels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import llvmlite.ir as ir

from . import packed_plain, packed_task
from .dims import Dim, dim, product
from .emit import emit
from .emit_panels import Pack
from .emit_parallel import emit_nest
from .frame import Frame, Target, formatted
from .instructions import I1, I64, register_type
from .llvm_vector import constant, intrinsic
from .loops import Apply, Buffer, Linear, Nest, Reduce
from .microkernel import POINTER, Panels, panels
from .packed import WORTH_PACKING, Contraction, Operand
from .tile import tile


def emit_contraction(
    target: Target,
    module: ir.Module,
    c: Contraction,
    dims: Sequence[str],
    param_count: int,
    scratch: Dim,
) -> ir.Function:
    """The function of `c`; `scratch` is where its panels stand in the arena, in bytes."""
    shape = panels(register_type(c.left.value.dtype), target.registers)
    places = {loop.index: place for place, loop in packed_task.loops_of(c).items()}

    def pack(side: str, operand: Operand, width: int) -> ir.Function:
        if operand.strided is not None:
            return packed_plain.shared_pack(module, shape, side, operand.transposed)
        own = Pack(target, module, operand, dims, param_count, width, shape.lanes).run()
        return _with_ranges(module, own, operand.nest, places)

    packs = [pack("left", c.left, shape.rows), pack("right", c.right, shape.columns)]
    rest = None
    if c.rest is not None:
        own = emit(target, module, tile(c.rest, target.registers), dims, param_count)
        rest = _with_ranges(module, own, c.rest, places)
    nest = tile(replace(c.direct, name=f"{c.name}_direct"), target.registers)
    direct = None
    if not _is_shared(c, nest, shape, target):
        direct = emit_nest(target, module, nest, dims, param_count)
    whole = _Task(target, module, c.direct, dims, param_count)
    whole.run(c, shape, direct, packs, rest, scratch)
    return whole.function


def _is_shared(c: Contraction, nest: Nest, shape: Panels, target: Target) -> bool:
    """Whether a shared routine does, in the same tiles, what `nest` does for small sizes."""
    total = nest.body[0]
    assert isinstance(total, Reduce)
    (a,) = total.accumulators
    left, right = c.left.strided, c.right.strided
    known = {x.extent.const is not None for x in (c.rows, c.columns, *c.left.reduced)}
    if (
        left is None
        or right is None
        or known == {False, True}  # a known size makes code of its own faster
        or c.batch
        or c.rest is not None
        or a.guard is not None
        or not (isinstance(a.value, Apply) and a.value.name == "mul")
        or (c.right.transposed and not c.left.transposed)
        or {x.index for x in c.direct.loops} != {c.rows.index, c.columns.index}
    ):
        return False
    shared = tile(packed_plain.direct_nest(shape, c.right.transposed), target.registers)
    other = shared.body[0]
    assert isinstance(other, Reduce)
    loops = packed_task.loops_of(c)
    return len(loops) == 3 and all(
        (loops[y.index].index, y.kind, y.copies, y.lanes) == (x.index, x.kind, x.copies, x.lanes)
        for x, y in zip((*nest.loops, *total.loops), (*shared.loops, *other.loops), strict=True)
    )


def _with_ranges(
    module: ir.Module, own: ir.Function, nest: Nest, places: dict[int, int]
) -> ir.Function:
    """`own`, which takes its ranges one by one, as the routine calls it."""
    f = ir.Function(module, packed_task.STEP, f"{nest.name}_ranges")
    f.linkage = "internal"
    f.attributes.add("nounwind")
    task, ranges, memory = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    args = [packed_task.word(b, task, k, POINTER) for k in packed_task.ENTRY]
    for k in nest.ranged:
        args += [packed_task.word(b, ranges, 2 * places[k] + end) for end in (0, 1)]
    b.call(own, [*args, memory] if nest.block is not None else args)
    b.ret_void()
    return f


class _Task(Frame):
    """The function that all others call: it says what is to be done, in words on the stack."""

    def hoist(self) -> None:
        pass

    def run(
        self,
        c: Contraction,
        shape: Panels,
        direct: ir.Function | None,
        packs: Sequence[ir.Function],
        rest: ir.Function | None,
        scratch: Dim,
    ) -> None:
        b, common = self.b, list(self.function.args)
        loops = packed_task.loops_of(c)
        work = self.size(product(tuple(x.extent for x in loops.values())) * c.inner)
        small = b.icmp_signed("<", work, constant(I64, WORTH_PACKING))
        if direct is not None:
            with b.if_then(small):
                b.ret(b.call(direct, common))
        size = packed_task.size(max(1, len(c.batch)))
        words: list[ir.Value] = [constant(I64, 0)] * size

        def number(place: int, x: int | Dim) -> None:
            words[place] = self.size(dim(x))

        words[: len(common)] = common
        if direct is not None:
            words[packed_task.DIRECT] = direct
            words[packed_task.DIRECT_ARGS], words[packed_task.DIRECT_DIMS] = common[:2]
        words[packed_task.REST] = ir.Constant(POINTER, None) if rest is None else rest
        panels_at = b.gep(common[2], [self.size(scratch)], source_etype=ir.IntType(8))
        words[packed_task.PANELS] = panels_at
        words[packed_task.OUT] = self.start(c.store.buffer, c.store.offset.const)
        words[packed_task.WORK] = work
        number(packed_task.LEFT_BYTES, c.scratch[0])
        number(packed_task.BYTES, sum(c.scratch))
        number(packed_task.INNER, c.inner)
        number(packed_task.BATCHES, max(1, len(c.batch)))
        steps = [dict(c.store.offset.terms)]
        starts = (packed_task.LEFT_START, packed_task.RIGHT_START)
        for side, start, operand, pack in zip(
            (packed_task.LEFT, packed_task.RIGHT), starts, (c.left, c.right), packs, strict=True
        ):
            words[side + packed_task.PACK] = pack
            number(side + packed_task.FINITE, operand.finite)
            number(
                side + packed_task.ALONE, not {x.index for x in c.batch} & set(operand.nest.ranged)
            )
            plain = operand.strided
            if plain is not None:
                words[start] = self.start(plain.buffer, plain.offset.const)
            steps.append({} if plain is None else dict(plain.offset.terms))
        for place in range(packed_task.AT_BATCH + max(1, len(c.batch))):
            loop = loops.get(place)
            number(packed_task.field(place, packed_task.EXTENT), 1 if loop is None else loop.extent)
            for which, by in enumerate(steps, packed_task.OUT_STEP):
                number(
                    packed_task.field(place, which), 0 if loop is None else by.get(loop.index, 0)
                )
        task = packed_task.stack(b, size)
        if direct is None:
            operands, records = (
                b.gep(task, [constant(I64, k)], source_etype=I64)
                for k in (packed_task.LEFT_START, packed_task.RECORDS)
            )
            shared = packed_plain.shared_direct(b.module, shape, c.right.transposed)
            words[packed_task.DIRECT] = shared
            words[packed_task.DIRECT_ARGS], words[packed_task.DIRECT_DIMS] = operands, records
        self.write(task, words)
        if direct is None:
            with b.if_then(small):
                b.ret(b.call(shared, [operands, records, *common[2:]]))
        b.ret(b.call(packed_task.contract(b.module, shape), [task]))

    def write(self, task: ir.Value, words: Sequence[ir.Value]) -> None:
        """The words: what is known as one copy, the rest one by one."""
        b = self.b
        known = [_constant(x) for x in words]
        initial = ir.Constant.literal_struct([constant(I64, 0) if x is None else x for x in known])
        form = ir.GlobalVariable(b.module, initial.type, f"{self.nest.name}_task")
        form.initializer, form.linkage, form.global_constant = initial, "internal", True
        form.type = POINTER
        size = constant(I64, 8 * len(words))
        copy = [task, form, size, constant(I1, 0)]
        intrinsic(b, "llvm.memcpy", copy, result=ir.VoidType(), overload=[POINTER, POINTER, I64])
        for place, (x, constant_) in enumerate(zip(words, known, strict=True)):
            if constant_ is None:
                b.store(x, b.gep(task, [constant(I64, place)], source_etype=I64))

    def start(self, buffer: Buffer, at: Dim) -> ir.Value:
        """The address of the element `at`."""
        return self.address(buffer, Linear((), at), {})


def _constant(x: ir.Value) -> ir.Value | None:
    """`x` where it is known when code is emitted."""
    if isinstance(x, ir.Function):
        return formatted(POINTER, f'@"{x.name}"')
    return x if isinstance(x, ir.Constant) else None
