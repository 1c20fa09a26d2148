"""Packed contractions as code: what each has of its own, and the call of the routine for the rest.

In: a `Contraction`. Out: functions of the module: its direct nest, those that pack an operand, one
for what follows the sums (each where no shared routine does the same), and the one that carries the
contraction's name: small sizes go the direct way, large ones are handed over as a task. Left to
others: what a task says (`packed_task`) and who carries it out (`packed_blocks`), packing
(`emit_panels`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace

from . import ir, packed_direct, packed_plain, packed_task
from .bounds import bounds_at, of_bounds
from .dims import Dim, dim, product
from .dtypes import BF16, DType
from .emit import emit
from .emit_panels import Pack
from .emit_parallel import emit_nest, split
from .emit_places import emit_places
from .emit_strip import emit_strip, strip_room
from .entry_builder import not_hot
from .fork_join import up
from .frame import Frame, formatted
from .instructions import I1, I64, register_type
from .llvm_loop import POINTER, counted, minimum
from .llvm_vector import constant, intrinsic
from .loops import Apply, Buffer, Linear, Nest, Reduce, Store
from .microkernel_places import shared_places
from .microkernel_strip import shared_strip
from .microkernel_turn import shared_turn
from .packed import ROWS, WORTH_PACKING, Contraction, Operand
from .packed_split import part_bytes, part_count
from .records import dataclass
from .register_tile import Panels, panels
from .target import Target
from .tile import Registers, tile
from .tuning import STATIC


def emit_contraction(
    target: Target,
    module: ir.Module,
    c: Contraction,
    dims: Sequence[str],
    param_count: int,
    scratch: Dim,
) -> ir.Function:
    """The function of `c`; `scratch` is where its panels stand in the arena, in bytes."""
    own = _own(target, module, c, dims, param_count)
    nest = tile(replace(c.direct, name=f"{c.name}_direct"), target.registers)
    d = _plain_dtype(c)
    if d is not None:
        own = replace(own, shared=packed_direct.shared_direct(module, d, c.right.transposed))
    if d is None or not _is_alike(c, nest, d, target):
        own = replace(own, direct=emit_nest(target, module, nest, dims, param_count))
    if c.windowed is not None:
        other = _emit_windowed(target, module, c.windowed, c.store, dims, param_count, scratch)
        own = replace(own, windowed=other)
    whole = _Task(target, module, c.direct, dims, param_count)
    whole.run(c, own, scratch)
    return whole.function


def _emit_windowed(
    target: Target,
    module: ir.Module,
    c: Contraction,
    store: Store,
    dims: Sequence[str],
    param_count: int,
    scratch: Dim,
) -> ir.Function:
    """A function that makes the sums that way, and has `store` say where they are; or says that it
    has not."""
    refusal = target.kernel(module, replace(c.direct, name=f"{c.name}_refused"))
    ir.IRBuilder(refusal.append_basic_block("entry")).ret(constant(I64, NOT_DONE))
    own = replace(_own(target, module, c, dims, param_count), direct=refusal)
    task = _Task(target, module, c.direct, dims, param_count)
    task.result = store if c.is_turned else None
    task.run(c, own, scratch)
    return task.function


def emit_rows(
    target: Target,
    module: ir.Module,
    c: Contraction,
    dims: Sequence[str],
    param_count: int,
    scratch: Dim,
    bounds: int | None,
) -> tuple[ir.Function, ir.Function]:
    """Of a contraction in a band: the function of some rows, which is given memory for panels; and
    that of all rows, on several threads. Where `bounds` are in the table of pointers, they say
    which inner rows these functions are about, and which rows the second one is."""
    nest = tile(replace(c.direct, name=f"{c.name}_direct"), target.registers)
    part = emit(target, module, nest, dims, param_count)
    everywhere = replace(nest, ranged=())
    name = f"{c.name}_all_direct"
    if bounds is None:
        (row,) = (loop for loop in nest.loops if loop.index in nest.ranged)
        direct = split(target, module, replace(everywhere, name=name), row, part, dims)
    else:
        pairs = len(nest.ranged)
        direct = of_bounds(target, module, part, bounds, pairs, name, "nothing")
        if pairs > 1:
            name = f"{c.name}_direct_rows"
            part = of_bounds(target, module, part, bounds, pairs, name, "rows")
    own = replace(_own(target, module, c, dims, param_count), direct=direct, direct_rows=part)
    memory = Buffer("panels", c.left.value.dtype, (), "block", 0, dim(0))
    some = replace(c.direct, ranged=c.direct.ranged[:1], block=memory)
    rows = _Task(target, module, some, dims, param_count)
    rows.run(c, own, None, bounds)
    whole = _Task(target, module, replace(everywhere, name=f"{c.name}_all"), dims, param_count)
    whole.run(c, own, scratch, bounds)
    return rows.function, whole.function


@dataclass(frozen=True)
class _Own:
    """The functions of a contraction. `shared` is a shared routine that makes the sums, if there is
    one, and `direct` None if it does all that the nest would do; `direct_rows`, in a band, computes
    some rows; `windowed` makes them that way, if it can."""

    shape: Panels
    packs: tuple[ir.Function, ir.Function]
    rest: ir.Function | None
    shared: ir.Function | None = None
    direct: ir.Function | None = None
    direct_rows: ir.Function | None = None
    windowed: ir.Function | None = None


def _own(
    target: Target, module: ir.Module, c: Contraction, dims: Sequence[str], param_count: int
) -> _Own:
    shape = panels(register_type(c.left.value.dtype), target.registers)
    places = {loop.index: place for place, loop in packed_task.loops_of(c).items()}

    def pack(side: str, operand: Operand, width: int) -> ir.Function:
        if operand.strided is not None:
            d = operand.strided.dtype
            return packed_plain.shared_pack(module, d, side, operand.transposed)
        own = Pack(target, module, operand, dims, param_count, width, shape.lanes).run()
        return _with_ranges(module, own, operand.nest, places)

    if c.places is None:
        left = pack("left", c.left, shape.rows)
    else:
        listed = emit_places(target, module, c, c.places, dims, param_count, shape)
        left = _with_ranges(module, listed, c.left.nest, places)
    if c.strip is None:
        packs = left, pack("right", c.right, shape.columns)
    else:
        strip = emit_strip(target, module, c, c.strip, dims, param_count, shape)
        packs = left, _with_ranges(module, strip, c.right.nest, places)
    rest = None
    if c.rest is not None:
        own = emit(target, module, tile(c.rest, target.registers), dims, param_count)
        rest = _with_ranges(module, own, c.rest, places)
    return _Own(shape, packs, rest)


def _plain_dtype(c: Contraction) -> DType | None:
    """The dtype of both operands where a shared routine can make the sums, else None."""
    total = c.direct.body[0]
    assert isinstance(total, Reduce)
    (a,) = total.accumulators
    known = {x.extent.const is not None for x in (c.rows, c.columns, *c.left.reduced)}
    left, right = c.left.strided, c.right.strided
    if (
        left is None
        or right is None
        or left.dtype is not right.dtype
        or known == {False, True}  # a known size makes code of its own faster
        or c.batch
        or c.window is not None
        or len(c.left.reduced) > 1
        or a.guard is not None
        or not (isinstance(a.value, Apply) and a.value.name == "mul")
        or (c.right.transposed and not c.left.transposed)
        or {x.index for x in c.direct.loops} != {c.rows.index, c.columns.index}
    ):
        return None
    return left.dtype


def _is_alike(c: Contraction, nest: Nest, d: DType, target: Target) -> bool:
    """Whether the shared routine does, in the same tiles, what `nest` does for small sizes."""
    if c.rest is not None:
        return False
    total = nest.body[0]
    assert isinstance(total, Reduce)
    usual = replace(target.registers, tuning=STATIC)  # of the routines, which all functions share
    shared = tile(packed_direct.direct_nest(d, c.right.transposed), usual)
    other = shared.body[0]
    assert isinstance(other, Reduce)
    loops = packed_task.loops_of(c)
    return all(
        (loops[y.index].index, y.kind, y.copies, y.lanes) == (x.index, x.kind, x.copies, x.lanes)
        for x, y in zip((*nest.loops, *total.loops), (*shared.loops, *other.loops), strict=True)
    )


def _with_ranges(
    module: ir.Module, own: ir.Function, nest: Nest, places: dict[int, int]
) -> ir.Function:
    """`own`, which takes its ranges one by one, as the routine calls it."""
    f = ir.Function(module, packed_task.STEP, f"{nest.name}_ranges")
    f.linkage = "internal"
    not_hot(f)
    task, ranges, memory = f.args
    b = ir.IRBuilder(f.append_basic_block("entry"))
    args = [packed_task.word(b, task, k, POINTER) for k in packed_task.ENTRY]
    for k in nest.ranged:
        args += [packed_task.word(b, ranges, 2 * places[k] + end) for end in (0, 1)]
    b.call(own, [*args, memory] if nest.block is not None else args)
    b.ret_void()
    return f


DONE, NOT_DONE = 0, 1


class _Task(Frame):
    """The function that all others call: it says what is to be done, in words on the stack. Of a
    turned contraction, `result` is where its sums go in the end."""

    result: Store | None = None

    def run(
        self, c: Contraction, own: _Own, scratch: Dim | None, bounds: int | None = None
    ) -> None:
        """`scratch`: where the panels stand in the arena; None if they, and the rows, are given.
        `bounds`: where the table has those of the ranged loops, if it has."""
        b, direct, shape = self.b, own.direct, own.shape
        not_hot(self.function)
        common = list(self.function.args[: len(packed_task.ENTRY)])
        given = list(self.function.args[len(packed_task.ENTRY) :])
        loops = packed_task.loops_of(c)
        work = self.size(product(tuple(x.extent for x in loops.values())) * c.inner)
        small = b.icmp_signed("<", work, constant(I64, WORTH_PACKING))
        if scratch is None:
            with b.if_then(small):
                b.ret(b.call(own.direct_rows, [*common, *given[:-1]]))
        elif direct is not None:
            with b.if_then(small):
                b.ret(b.call(direct, common))
        if c.windowed is not None and own.windowed is not None:
            with b.if_then(self.pays(c, c.windowed)):
                done = b.icmp_signed("==", b.call(own.windowed, common), constant(I64, DONE))
                with b.if_then(done):
                    b.ret(constant(I64, 0))
        size = packed_task.size(max(1, len(c.batch)))
        words: list[ir.Value] = [constant(I64, 0)] * size

        def number(place: int, x: int | Dim) -> None:
            words[place] = self.size(dim(x))

        words[: len(common)] = common
        if direct is not None:
            words[packed_task.DIRECT] = direct
            words[packed_task.DIRECT_ARGS], words[packed_task.DIRECT_DIMS] = common[:2]
        none = ir.Constant(POINTER, None)
        words[packed_task.DIRECT_ROWS] = none if own.direct_rows is None else own.direct_rows
        words[packed_task.REST] = none if own.rest is None else own.rest
        if scratch is not None:
            at = b.gep(common[2], [self.size(scratch)], source_etype=ir.IntType(8))
            words[packed_task.PANELS] = at
        if self.result is None:
            words[packed_task.OUT] = self.start(c.store.buffer, c.store.offset.const)
        words[packed_task.WORK] = work
        left_bytes, both = panel_bytes(b, self.size, c, shape)
        words[packed_task.LEFT_BYTES], words[packed_task.BYTES] = left_bytes, both
        words[packed_task.PARTS] = part_count(b, self.size, c)
        if self.result is not None:
            before = b.add(both, part_bytes(b, self.size, c, shape))
            room = b.gep(words[packed_task.PANELS], [before], source_etype=ir.IntType(8))
            words[packed_task.OUT] = room
        number(packed_task.INNER, c.inner)
        number(packed_task.BATCHES, max(1, len(c.batch)))
        is_window = c.window is not None and not c.batch
        number(packed_task.FIRST, packed_task.AT_WINDOW if is_window else packed_task.AT_BATCH)
        number(packed_task.WINDOW, 1)
        if c.strip is not None:
            words[packed_task.STRIP] = shared_strip(b.module, shape)
            words[packed_task.WINDOW] = strip_room(b, self.size, c, c.strip, shape)[0]
        steps = [dict(c.store.offset.terms)]
        if c.places is not None:
            words[packed_task.STRIP] = shared_places(b.module, shape)
        starts = (packed_task.LEFT_START, packed_task.RIGHT_START)
        for side, start, operand, pack in zip(
            (packed_task.LEFT, packed_task.RIGHT), starts, (c.left, c.right), own.packs, strict=True
        ):
            words[side + packed_task.PACK] = pack
            number(side + packed_task.FINITE, operand.finite)
            number(
                side + packed_task.ALONE, not {x.index for x in c.batch} & set(operand.nest.ranged)
            )
            plain = operand.strided
            number(side + packed_task.PLAIN, _form(operand))
            if plain is not None:
                words[start] = self.start(plain.buffer, plain.offset.const)
            steps.append({} if plain is None else dict(plain.offset.terms))
        for place in range(packed_task.AT_BATCH + max(1, len(c.batch))):
            loop = loops.get(place)
            number(packed_task.field(place, packed_task.EXTENT), 1 if loop is None else loop.extent)
            words[packed_task.field(place, packed_task.END)] = self.size(
                dim(1) if loop is None else loop.extent
            )
            for which, by in enumerate(steps, packed_task.OUT_STEP):
                number(
                    packed_task.field(place, which), 0 if loop is None else by.get(loop.index, 0)
                )
        if bounds is not None:
            ranged = c.direct.ranged
            limits = bounds_at(b, common[0], bounds)[-2 * len(ranged) :]
            number(packed_task.PARTS, 1)
            for k, index in enumerate(ranged):
                (place,) = (p for p, loop in loops.items() if loop.index == index)
                if k == 0:
                    number(packed_task.FIRST, place)
                if k == 0 and scratch is None:
                    continue  # these are given
                words[packed_task.field(place, packed_task.FROM)] = limits[2 * k]
                words[packed_task.field(place, packed_task.END)] = limits[2 * k + 1]
        task = packed_task.stack(b, size)
        if own.shared is not None:
            operands, records = (
                b.gep(task, [constant(I64, k)], source_etype=I64)
                for k in (packed_task.LEFT_START, packed_task.RECORDS)
            )
            words[packed_task.DIRECT] = own.shared
            words[packed_task.DIRECT_ARGS], words[packed_task.DIRECT_DIMS] = operands, records
            transposed = c.right.transposed
            number(packed_task.SHARED, packed_task.TRANSPOSED if transposed else packed_task.USUAL)
        self.write(task, words)
        if direct is None:
            with b.if_then(small):
                b.ret(b.call(own.shared, [operands, records, *common[2:]]))
        if scratch is None:
            b.ret(b.call(packed_task.contract_rows(b.module, c.element), [task, *given]))
        elif self.result is not None:
            status = b.call(packed_task.contract(b.module, c.element), [task])
            with b.if_then(b.icmp_signed("==", status, constant(I64, DONE))):
                self.turn_back(c, room, self.result)
            b.ret(status)
        else:
            b.ret(b.call(packed_task.contract(b.module, c.element), [task]))

    def pays(self, c: Contraction, windowed: Contraction) -> ir.Value:
        """Whether the other way is faster: if it is not turned, where there are windows."""
        if windowed.is_turned:
            return self.turning_pays(c)
        assert windowed.places is not None
        b, found, one = self.b, constant(I1, 0), constant(I64, 1)
        for pair in windowed.places.windows:
            both = [b.icmp_signed(">", self.size(x.extent), one) for x in pair]
            found = b.or_(found, b.and_(*both))
        return found

    def turning_pays(self, c: Contraction) -> ir.Value:
        """Whether turned sums are faster. Both in the time that one place of the sum and one row
        take for one column: as they are, for packing half a vector of rows more, and where rows are
        too few to be packed, three quarters of one for every four; turned, that of whole vectors of
        rows, and for all places of the sum two vectors more a row, to turn it back (measured)."""
        b, (m, k) = self.b, (self.size(x) for x in (c.rows.extent, c.depth))
        shape = panels(register_type(c.left.value.dtype), self.target.registers)
        lanes = constant(I64, shape.lanes)
        few = b.icmp_signed("<", m, constant(I64, shape.rows))
        packed = b.add(m, constant(I64, shape.lanes // 2))
        fours = b.mul(up(b, m, constant(I64, 4)), constant(I64, 3 * shape.lanes // 4))
        usual = b.select(few, fours, packed)
        turned = b.mul(b.mul(up(b, m, lanes), lanes), k)
        back = b.mul(m, constant(I64, 2 * shape.lanes))
        return b.icmp_signed("<", b.add(turned, back), b.mul(usual, k))

    def turn_back(self, c: Contraction, room: ir.Value, store: Store) -> None:
        b, out = self.b, self.start(store.buffer, store.offset.const)
        rows, columns = (self.size(x.extent) for x in (c.rows, c.columns))
        step = self.size(store.offset.coefficient(c.columns.index) or dim(0))
        shape = panels(register_type(c.left.value.dtype), self.target.registers)
        both = c.store.offset, store.offset
        steps = [
            [self.size(at.coefficient(loop.index) or dim(0)) for at in both] for loop in c.batch
        ]
        sizes = [self.size(loop.extent) for loop in c.batch]
        with ExitStack() as loops:
            for size, by in zip(sizes, steps, strict=True):
                k = loops.enter_context(counted(b, size, constant(I64, 1)))
                room, out = (
                    b.gep(p, [b.mul(k, x)], source_etype=shape.element)
                    for p, x in zip((room, out), by, strict=True)
                )
            b.call(shared_turn(b.module, shape), [room, out, rows, columns, step])

    def write(self, task: ir.Value, words: Sequence[ir.Value]) -> None:
        """The words: what is known as one copy, the rest one by one."""
        b = self.b
        known = [_constant(x) for x in words]
        initial = ir.Constant.literal_struct([constant(I64, 0) if x is None else x for x in known])
        form = ir.GlobalVariable(b.module, initial.type, f"{self.nest.name}_task")
        form.initializer, form.linkage, form.global_constant = initial, "internal", True
        size = constant(I64, 8 * len(words))
        copy = [task, form, size, constant(I1, 0)]
        intrinsic(b, "llvm.memcpy", copy, result=ir.VoidType(), overload=[POINTER, POINTER, I64])
        for place, (x, constant_) in enumerate(zip(words, known, strict=True)):
            if constant_ is None:
                b.store(x, b.gep(task, [constant(I64, place)], source_etype=I64))

    def start(self, buffer: Buffer, at: Dim) -> ir.Value:
        """The address of the element `at`."""
        return self.address(buffer, Linear((), at), {})


def _form(operand: Operand) -> int:
    """The word about an operand that strides say all about."""
    plain = operand.strided
    if plain is None:
        return 0
    if plain is operand.value:
        return packed_task.AS_IT_IS
    if plain.dtype is not BF16:
        return 0
    return packed_task.ALONG_SUM if operand.transposed else packed_task.ALONG_ITSELF


# --------------------------------------------------------------------------- memory

_SLACK = 64 * 64
"""Bytes: a transposed panel's last stores pass its end, and reads a strip's."""


def panel_bytes(
    b: ir.IRBuilder, size: Callable[[Dim], ir.Value], c: Contraction, shape: Panels
) -> tuple[ir.Value, ir.Value]:
    """Memory for the panels of the left operand, and of both."""
    depth = minimum(b, size(c.depth), constant(I64, c.most_depth))
    element = constant(I64, shape.bytes)
    out: list[ir.Value] = []
    sides = (c.rows, ROWS, shape.rows), (c.columns, c.most_panels * shape.columns, shape.columns)
    for loop, most, width in sides:
        side = minimum(b, size(loop.extent), constant(I64, most))
        side = b.mul(up(b, side, constant(I64, width)), constant(I64, width))
        raw = b.mul(b.mul(side, depth), element)
        out.append(b.and_(b.add(raw, constant(I64, 2 * _SLACK - 1)), constant(I64, -_SLACK)))
    left, right = out
    if c.strip is not None:
        right = b.add(strip_room(b, size, c, c.strip, shape)[1], constant(I64, _SLACK))
    both = b.add(left, right)
    return left, b.add(both, both) if c.tiles else both  # tiles are made of panels


def contraction_scratch(
    b: ir.IRBuilder, size: Callable[[Dim], ir.Value], c: Contraction, registers: Registers
) -> ir.Value:
    """The bytes that a thread needs; the first one has those of the sums' parts, too, and of turned
    sums."""
    shape = panels(register_type(c.left.value.dtype), registers)
    usual = b.add(panel_bytes(b, size, c, shape)[1], part_bytes(b, size, c, shape))
    if c.windowed is None:
        return usual
    other = contraction_scratch(b, size, c.windowed, registers)
    if c.windowed.is_turned:
        results = size(product(tuple(x.extent for x in (c.rows, c.columns, *c.batch))))
        other = b.add(other, b.mul(results, constant(I64, shape.bytes)))
    return intrinsic(b, "llvm.smax", [usual, other])


def _constant(x: ir.Value) -> ir.Value | None:
    """`x` where it is known when code is emitted."""
    if isinstance(x, ir.Function):
        return formatted(POINTER, f'@"{x.name}"')
    return x if isinstance(x, ir.Constant) else None
