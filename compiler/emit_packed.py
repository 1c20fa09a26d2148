"""Packed contractions as code: what each has of its own, and the call of the routine for the rest.

In: a `Contraction`. Out: functions of the module: its direct nest, those that pack an operand which
no shared routine packs, one for what follows the sums, and the one that carries the contraction's
name: small sizes go the direct way, large ones are handed to `packed_blocks` as a task. Left to
others: blocks (`packed_blocks`), packing (`emit_panels`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import llvmlite.ir as ir

from . import packed_blocks as blocks
from .dims import Dim, dim, product
from .emit import emit
from .emit_panels import Pack
from .emit_parallel import emit_nest
from .frame import Frame, Target, formatted
from .instructions import I1, I64, register_type
from .llvm_vector import constant, intrinsic
from .loops import Buffer, Linear, Nest
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
    direct = emit_nest(
        target,
        module,
        tile(replace(c.direct, name=f"{c.name}_direct"), target.registers),
        dims,
        param_count,
    )
    shape = panels(register_type(c.left.value.dtype), target.registers)
    places = {loop.index: place for place, loop in blocks.loops_of(c).items()}

    def pack(side: str, operand: Operand, width: int) -> ir.Function:
        if operand.strided is not None:
            return blocks.shared_pack(module, shape, side, operand.transposed)
        own = Pack(target, module, operand, dims, param_count, width, shape.lanes).run()
        return _with_ranges(module, own, operand.nest, places)

    packs = [pack("left", c.left, shape.rows), pack("right", c.right, shape.columns)]
    rest = None
    if c.rest is not None:
        own = emit(target, module, tile(c.rest, target.registers), dims, param_count)
        rest = _with_ranges(module, own, c.rest, places)
    whole = _Task(target, module, c.direct, dims, param_count)
    whole.run(c, shape, direct, packs, rest, scratch)
    return whole.function


def _with_ranges(
    module: ir.Module, own: ir.Function, nest: Nest, places: dict[int, int]
) -> ir.Function:
    """`own`, which takes its ranges one by one, as the routine calls it."""
    f = ir.Function(module, blocks.STEP, f"{nest.name}_ranges")
    f.linkage = "internal"
    f.attributes.add("nounwind")
    task, ranges, memory = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    args = [blocks.word(b, task, k, POINTER) for k in blocks.ENTRY]
    for k in nest.ranged:
        args += [blocks.word(b, ranges, 2 * places[k] + end) for end in (0, 1)]
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
        direct: ir.Function,
        packs: Sequence[ir.Function],
        rest: ir.Function | None,
        scratch: Dim,
    ) -> None:
        b, common = self.b, list(self.function.args)
        loops = blocks.loops_of(c)
        work = self.size(product(tuple(x.extent for x in loops.values())) * c.inner)
        with b.if_then(b.icmp_signed("<", work, constant(I64, WORTH_PACKING))):
            b.ret(b.call(direct, common))
        size = blocks.size(max(1, len(c.batch)))
        words: list[ir.Value] = [constant(I64, 0)] * size

        def number(place: int, x: int | Dim) -> None:
            words[place] = self.size(dim(x))

        words[: len(common)] = common
        words[blocks.DIRECT] = direct
        words[blocks.REST] = ir.Constant(POINTER, None) if rest is None else rest
        panels_at = b.gep(common[2], [self.size(scratch)], source_etype=ir.IntType(8))
        words[blocks.PANELS] = panels_at
        words[blocks.OUT] = self.start(c.store.buffer, c.store.offset.const)
        words[blocks.WORK] = work
        number(blocks.LEFT_BYTES, c.scratch[0])
        number(blocks.BYTES, sum(c.scratch))
        number(blocks.INNER, c.inner)
        number(blocks.BATCHES, max(1, len(c.batch)))
        steps = [dict(c.store.offset.terms)]
        for side, operand, pack in zip(
            (blocks.LEFT, blocks.RIGHT), (c.left, c.right), packs, strict=True
        ):
            words[side + blocks.PACK] = pack
            number(side + blocks.FINITE, operand.finite)
            number(side + blocks.ALONE, not {x.index for x in c.batch} & set(operand.nest.ranged))
            plain = operand.strided
            if plain is not None:
                words[side + blocks.START] = self.start(plain.buffer, plain.offset.const)
            steps.append({} if plain is None else dict(plain.offset.terms))
        for place in range(blocks.AT_BATCH + max(1, len(c.batch))):
            loop = loops.get(place)
            number(blocks.field(place, blocks.EXTENT), 1 if loop is None else loop.extent)
            for which, by in enumerate(steps, blocks.OUT_STEP):
                number(blocks.field(place, which), 0 if loop is None else by.get(loop.index, 0))
        b.ret(b.call(blocks.contract(b.module, shape), [self.written(words)]))

    def written(self, words: Sequence[ir.Value]) -> ir.Value:
        """The words on the stack: what is known as one copy, the rest one by one."""
        b = self.b
        known = [_constant(x) for x in words]
        initial = ir.Constant.literal_struct([constant(I64, 0) if x is None else x for x in known])
        form = ir.GlobalVariable(b.module, initial.type, f"{self.nest.name}_task")
        form.initializer, form.linkage, form.global_constant = initial, "internal", True
        form.type = POINTER
        task = blocks.stack(b, len(words))
        size = constant(I64, 8 * len(words))
        copy = [task, form, size, constant(I1, 0)]
        intrinsic(b, "llvm.memcpy", copy, result=ir.VoidType(), overload=[POINTER, POINTER, I64])
        for place, (x, constant_) in enumerate(zip(words, known, strict=True)):
            if constant_ is None:
                b.store(x, b.gep(task, [constant(I64, place)], source_etype=I64))
        return task

    def start(self, buffer: Buffer, at: Dim) -> ir.Value:
        """The address of the element `at`."""
        return self.address(buffer, Linear((), at), {})


def _constant(x: ir.Value) -> ir.Value | None:
    """`x` where it is known when code is emitted."""
    if isinstance(x, ir.Function):
        return formatted(POINTER, f'@"{x.name}"')
    return x if isinstance(x, ir.Constant) else None
