"""Packed contractions as code: what each has of its own, and the call of the routine for the rest.

In: a `Contraction`. Out: functions of the module: its direct nest, those that pack an operand which
no shared routine packs, one for what follows the sums, and the one that carries the contraction's
name: small sizes go the direct way, large ones are handed to `packed_blocks` as a task. Left to
others: blocks (`packed_blocks`), packing (`emit_panels`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import llvmlite.ir as ir

from . import contraction_task as tasks
from . import packed_blocks as blocks
from .dims import Dim, dim, product
from .emit import emit
from .emit_panels import Pack
from .emit_parallel import emit_nest, split
from .frame import Frame, Target, formatted
from .instructions import I1, I64, register_type
from .llvm_vector import constant, intrinsic
from .loops import Buffer, Linear, Nest
from .microkernel import POINTER, Panels, minimum, panels
from .packed import COLUMNS, ROWS, WORTH_PACKING, Contraction, Operand
from .tile import Registers, tile


def emit_contraction(
    target: Target,
    module: ir.Module,
    c: Contraction,
    dims: Sequence[str],
    param_count: int,
    scratch: Dim,
) -> ir.Function:
    """The function of `c`; `scratch` is where its panels stand in the arena, in bytes."""
    nest = replace(c.direct, name=f"{c.name}_direct")
    direct = emit_nest(target, module, tile(nest, target.registers), dims, param_count)
    own = _own(target, module, c, dims, param_count, direct, None)
    whole = _Task(target, module, c.direct, dims, param_count)
    whole.run(c, own, scratch)
    return whole.function


def emit_rows(
    target: Target,
    module: ir.Module,
    c: Contraction,
    dims: Sequence[str],
    param_count: int,
    scratch: Dim,
) -> tuple[ir.Function, ir.Function]:
    """Of a contraction in a band: the function of some rows, which is given memory for panels; and
    that of all rows, on several threads."""
    nest = tile(replace(c.direct, name=f"{c.name}_direct"), target.registers)
    part = emit(target, module, nest, dims, param_count)
    everywhere = replace(nest, ranged=())
    (row,) = (loop for loop in nest.loops if loop.index in nest.ranged)
    every = replace(everywhere, name=f"{c.name}_all_direct")
    direct = split(target, module, every, row, part, dims)
    own = _own(target, module, c, dims, param_count, direct, part)
    memory = Buffer("panels", c.left.value.dtype, (), "block", 0, dim(0))
    rows = _Task(target, module, replace(c.direct, block=memory), dims, param_count)
    rows.run(c, own, None)
    whole = _Task(target, module, replace(everywhere, name=f"{c.name}_all"), dims, param_count)
    whole.run(c, own, scratch)
    return rows.function, whole.function


@dataclass(frozen=True)
class _Own:
    """The functions that a contraction does not share with others."""

    shape: Panels
    direct: ir.Function
    direct_rows: ir.Function | None
    packs: tuple[ir.Function, ir.Function]
    rest: ir.Function | None


def _own(
    target: Target,
    module: ir.Module,
    c: Contraction,
    dims: Sequence[str],
    param_count: int,
    direct: ir.Function,
    direct_rows: ir.Function | None,
) -> _Own:
    shape = panels(register_type(c.left.value.dtype), target.registers)
    places = {loop.index: place for place, loop in tasks.loops_of(c).items()}

    def pack(side: str, operand: Operand, width: int) -> ir.Function:
        if operand.strided is not None:
            return blocks.shared_pack(module, shape, side, operand.transposed)
        own = Pack(target, module, operand, dims, param_count, width, shape.lanes).run()
        return _with_ranges(module, own, operand.nest, places)

    packs = pack("left", c.left, shape.rows), pack("right", c.right, shape.columns)
    rest = None
    if c.rest is not None:
        own = emit(target, module, tile(c.rest, target.registers), dims, param_count)
        rest = _with_ranges(module, own, c.rest, places)
    return _Own(shape, direct, direct_rows, packs, rest)


def _with_ranges(
    module: ir.Module, own: ir.Function, nest: Nest, places: dict[int, int]
) -> ir.Function:
    """`own`, which takes its ranges one by one, as the routine calls it."""
    f = ir.Function(module, blocks.STEP, f"{nest.name}_ranges")
    f.linkage = "internal"
    f.attributes.add("nounwind")
    task, ranges, memory = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    args = [tasks.word(b, task, k, POINTER) for k in tasks.ENTRY]
    for k in nest.ranged:
        args += [tasks.word(b, ranges, 2 * places[k] + end) for end in (0, 1)]
    b.call(own, [*args, memory] if nest.block is not None else args)
    b.ret_void()
    return f


class _Task(Frame):
    """The function that all others call: it says what is to be done, in words on the stack."""

    def hoist(self) -> None:
        pass

    def run(self, c: Contraction, own: _Own, scratch: Dim | None) -> None:
        """`scratch`: where the panels stand in the arena; None if they, and the rows, are given."""
        b, common = self.b, list(self.function.args[: len(tasks.ENTRY)])
        given = list(self.function.args[len(tasks.ENTRY) :])
        loops = tasks.loops_of(c)
        work = self.size(product(tuple(x.extent for x in loops.values())) * c.inner)
        with b.if_then(b.icmp_signed("<", work, constant(I64, WORTH_PACKING))):
            if scratch is None and own.direct_rows is not None:
                b.ret(b.call(own.direct_rows, [*common, *given[:-1]]))
            else:
                b.ret(b.call(own.direct, common))
        size = tasks.size(max(1, len(c.batch)))
        words: list[ir.Value] = [constant(I64, 0)] * size

        def number(place: int, x: int | Dim) -> None:
            words[place] = self.size(dim(x))

        words[: len(common)] = common
        none = ir.Constant(POINTER, None)
        words[tasks.DIRECT] = own.direct
        words[tasks.DIRECT_ROWS] = none if own.direct_rows is None else own.direct_rows
        words[tasks.REST] = none if own.rest is None else own.rest
        if scratch is not None:
            at = b.gep(common[2], [self.size(scratch)], source_etype=ir.IntType(8))
            words[tasks.PANELS] = at
        words[tasks.OUT] = self.start(c.store.buffer, c.store.offset.const)
        words[tasks.WORK] = work
        words[tasks.LEFT_BYTES], words[tasks.BYTES] = panel_bytes(b, self.size, c, own.shape)
        number(tasks.INNER, c.inner)
        number(tasks.BATCHES, max(1, len(c.batch)))
        steps = [dict(c.store.offset.terms)]
        for side, operand, pack in zip(
            (tasks.LEFT, tasks.RIGHT), (c.left, c.right), own.packs, strict=True
        ):
            words[side + tasks.PACK] = pack
            number(side + tasks.FINITE, operand.finite)
            number(side + tasks.ALONE, not {x.index for x in c.batch} & set(operand.nest.ranged))
            plain = operand.strided
            if plain is not None:
                words[side + tasks.START] = self.start(plain.buffer, plain.offset.const)
            steps.append({} if plain is None else dict(plain.offset.terms))
        for place in range(tasks.AT_BATCH + max(1, len(c.batch))):
            loop = loops.get(place)
            number(tasks.field(place, tasks.EXTENT), 1 if loop is None else loop.extent)
            for which, by in enumerate(steps, tasks.OUT_STEP):
                number(tasks.field(place, which), 0 if loop is None else by.get(loop.index, 0))
        task = self.written(words)
        if scratch is None:
            b.ret(b.call(blocks.contract_rows(b.module, own.shape), [task, *given]))
        else:
            b.ret(b.call(blocks.contract(b.module, own.shape), [task]))

    def written(self, words: Sequence[ir.Value]) -> ir.Value:
        """The words on the stack: what is known as one copy, the rest one by one."""
        b = self.b
        known = [_constant(x) for x in words]
        initial = ir.Constant.literal_struct([constant(I64, 0) if x is None else x for x in known])
        form = ir.GlobalVariable(b.module, initial.type, f"{self.nest.name}_task")
        form.initializer, form.linkage, form.global_constant = initial, "internal", True
        form.type = POINTER
        task = tasks.stack(b, len(words))
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


def panel_bytes(
    b: ir.IRBuilder, size: Callable[[Dim], ir.Value], c: Contraction, shape: Panels
) -> tuple[ir.Value, ir.Value]:
    """Memory for the panels of the left operand, and of both."""
    depth = minimum(b, size(c.depth), constant(I64, c.most_depth))
    element = constant(I64, shape.bytes)
    out: list[ir.Value] = []
    for loop, most, width in ((c.rows, ROWS, shape.rows), (c.columns, COLUMNS, shape.columns)):
        side = b.add(minimum(b, size(loop.extent), constant(I64, most)), constant(I64, width - 1))
        side = b.and_(side, constant(I64, -width))
        raw = b.mul(b.mul(side, depth), element)
        # a transposed panel's last stores pass its end
        out.append(b.and_(b.add(raw, constant(I64, 2 * SLACK - 1)), constant(I64, -SLACK)))
    left, right = out
    return left, b.add(left, right)


SLACK = 64 * 64


def contraction_scratch(
    b: ir.IRBuilder, size: Callable[[Dim], ir.Value], c: Contraction, registers: Registers
) -> ir.Value:
    """The bytes that a thread needs."""
    shape = panels(register_type(c.left.value.dtype), registers)
    return panel_bytes(b, size, c, shape)[1]


def _constant(x: ir.Value) -> ir.Value | None:
    """`x` where it is known when code is emitted."""
    if isinstance(x, ir.Function):
        return formatted(POINTER, f'@"{x.name}"')
    return x if isinstance(x, ir.Constant) else None
