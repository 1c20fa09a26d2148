"""The CPU target: loops on one thread, vectors by the machine's features, object code.

In: nests and the machine's features. Out: LLVM modules with `tdsl_run` and `tdsl_arena`, and loaded
addresses. Left to others: all that is common to targets (`emit`), their translation
(`object_code`), the call (`runtime`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import llvmlite.binding as llvm

from . import ir
from .alike import Kernel, Shared, uses
from .band_nests import BandNest
from .dims import Dim, dim, provably_positive
from .dtypes import BY_NAME
from .emit_alike import emit_use
from .emit_band import band_scratch, emit_band
from .emit_packed import contraction_scratch, emit_contraction
from .emit_parallel import emit_nest
from .entry_builder import not_hot
from .entry_table import POOL, ROUTINES
from .fork_join import add_pool
from .frame import Frame
from .instructions import I1, I64
from .interrupts import interrupts_held_back
from .llvm_vector import TargetModule, constant, intrinsic
from .loops import Buffer, Loop, Nest
from .machine import Machine, data_layout, host, initialize, target_machine
from .module_text import split_text
from .object_code import Jobs, object_code, optimized
from .packed import Contraction
from .packed_blocks import shared_module
from .records import dataclass
from .schedule import Schedule
from .target import Target
from .tile import Registers

_POINTER = ir.PointerType()
_ENTRY = ir.FunctionType(I64, [_POINTER] * 4)
_COMMON = 4  # parameters that every kernel has


@dataclass(frozen=True)
class CpuTarget:
    """Each nest is a function of the entry's four pointers that returns 0, or 1 after an error."""

    registers: Registers

    def kernel(self, module: ir.Module, nest: Nest) -> ir.Function:
        """The four pointers; then the bounds of ranged indices; last the address of the block."""
        own = [I64] * (2 * len(nest.ranged)) + [_POINTER] * (nest.block is not None)
        function = ir.Function(module, ir.FunctionType(I64, [*_ENTRY.args, *own]), nest.name)
        function.linkage = "internal"
        function.attributes.add("nounwind")
        function.attributes.add("noinline")
        for arg, name in zip(function.args, ("args", "dims", "arena", "err"), strict=False):
            arg.name = name
            arg.add_attribute("noalias")
        return function

    def ranges(self, function: ir.Function, nest: Nest) -> dict[int, tuple[ir.Value, ir.Value]]:
        bounds = iter(function.args[_COMMON:])
        return {k: (next(bounds), next(bounds)) for k in nest.ranged}

    def size(self, frame: Frame, name: str) -> ir.Value:
        position = frame.dims.index(name)
        return _element(frame.b, frame.function.args[1], position, I64)

    def pointer(self, frame: Frame, buffer: Buffer) -> ir.Value:
        if buffer.space == "arena":
            return frame.b.gep(
                frame.function.args[2], [frame.size(buffer.offset)], source_etype=ir.IntType(8)
            )
        if buffer.space == "block":
            return frame.function.args[-1]
        position = buffer.position + (frame.param_count if buffer.space == "output" else 0)
        return _element(frame.b, frame.function.args[0], position, _POINTER)

    def output_loops(self, frame: Frame, loops: Sequence[Loop], body: Callable[[], None]) -> None:
        if not loops:
            body()
            return
        if len(loops) == len(frame.nest.loops):
            self._skip_if_empty(frame, loops)

        def inside(_: Sequence[ir.Value]) -> Sequence[ir.Value]:
            frame.hoist()
            self.output_loops(frame, loops[1:], body)
            return ()

        frame.counted(loops[0], (), inside)

    def _skip_if_empty(self, frame: Frame, loops: Sequence[Loop]) -> None:
        """With no element to compute, nothing that stands outside the inner loops is checked."""
        some: ir.Value | None = None
        for loop in loops[1:]:
            if loop.index in frame.ranges or not provably_positive(loop.extent):
                lowest, highest = frame.range_of(loop)
                holds = frame.b.icmp_signed(">", highest, lowest)
                some = holds if some is None else frame.b.and_(some, holds)
        if some is not None:
            lowest, highest = frame.range_of(loops[0])
            frame.limits[loops[0].index] = frame.b.select(some, highest, lowest)

    def reduced_loop(
        self,
        frame: Frame,
        loop: Loop,
        carried: Sequence[ir.Value],
        body: Callable[[Sequence[ir.Value]], Sequence[ir.Value]],
    ) -> Sequence[ir.Value]:
        return frame.counted(loop, carried, body)

    def joined(
        self,
        frame: Frame,
        loops: Sequence[Loop],
        state: list[ir.Value],
        merge: Callable[[list[ir.Value], list[ir.Value]], list[ir.Value]],
    ) -> list[ir.Value]:
        return state

    def store(self, frame: Frame, write: Callable[[], None]) -> None:
        write()

    def fail(self, frame: Frame, check: int, axis: int, index: ir.Value, size: ir.Value) -> None:
        b, err = frame.b, frame.function.args[3]
        for k, x in enumerate((constant(I64, check), constant(I64, axis), index, size)):
            b.store(x, b.gep(err, [constant(I64, k)], source_etype=I64))
        b.ret(constant(I64, 1))

    def finish(self, frame: Frame) -> None:
        frame.b.ret(constant(I64, 0))


def _element(b: ir.IRBuilder, array: ir.Value, position: int, t: ir.Type) -> ir.Value:
    place = b.gep(array, [constant(I64, position)], source_etype=t) if position else array
    return b.load(place, typ=t)


# --------------------------------------------------------------------------- modules


PART = 1500
"""Instructions from which a module is worth a thread of its own to translate it."""

LONG = 100
"""Instructions that are run once a call, from which they are not worth LLVM's best."""


def module_of(program: Schedule, machine: Machine) -> ir.Module:
    """All kernels, and the entry that calls them in order."""
    *_, module = modules_of(program, machine, None)
    return module


def modules_of(program: Schedule, machine: Machine, most: int | None = PART) -> Iterator[ir.Module]:
    """The same in modules of about `most` instructions, each as soon as it is emitted. The last
    one has the entry."""
    fn = program.program.kernels.function
    target = CpuTarget(program.registers)
    arena = program.program.arena
    common = (fn.dims, len(fn.params))
    module = _module(fn.name, machine)
    kernels: list[ir.Function] = []
    shared: dict[Shared, ir.Function] = {}
    for nest, use in zip(program.nests, uses(program), strict=True):
        if most is not None and _instructions(module) >= most:
            for kernel in (*kernels, *shared.values()):
                if kernel.module is module:
                    kernel.linkage = ""
            yield module
            module = _module(fn.name, machine)
        if use is None:
            kernels.append(_emitted(target, module, nest, *common, len(fn.outputs), arena))
            continue
        one = use.shared
        if one not in shared:
            sizes, pointers = one.sizes, one.pointers
            shared[one] = _emitted(target, module, one.kernel, sizes, pointers, 0, dim(0))
        name = f"{nest.name}_call"
        kernels.append(emit_use(target, module, use, shared[one], name, *common, arena))
    entry = ir.Function(module, _ENTRY, "tdsl_run")
    entry.attributes.add("nounwind")
    b = ir.IRBuilder(entry.append_basic_block("entry"))
    for kernel in kernels:
        if kernel.module is not module:
            kernel = ir.Function(module, kernel.function_type, kernel.name)
        status = b.call(kernel, entry.args)
        if not program.checks:
            continue
        failed, fine = b.append_basic_block("failed"), b.append_basic_block("fine")
        b.cbranch(b.trunc(status, I1), failed, fine)
        b.position_at_end(failed)
        b.ret(status)
        b.position_at_end(fine)
    b.ret(constant(I64, 0))
    _arena_function(module, program, fn.dims)
    yield module


def _emitted(
    target: Target,
    module: ir.Module,
    nest: Kernel,
    dims: Sequence[str],
    param_count: int,
    output_count: int,
    arena: Dim,
) -> ir.Function:
    match nest:
        case BandNest():
            return emit_band(target, module, nest, dims, param_count, output_count, arena)
        case Contraction():
            return emit_contraction(target, module, nest, dims, param_count, arena)
        case Nest():
            return emit_nest(target, module, nest, dims, param_count)


def _module(name: str, machine: Machine) -> ir.Module:
    # LLVM makes vscalef of llvm.ldexp; elsewhere it would call the C library lane by lane
    bytes_ = machine.registers.vector_bytes
    module = TargetModule(
        name, scales_by_powers=bytes_ == 64, constants_in_memory=256 if bytes_ == 32 else 0
    )
    module.triple = machine.triple
    module.data_layout = data_layout(machine)
    return module


def _instructions(module: ir.Module) -> int:
    return sum(len(block.instructions) for f in module.functions for block in f.blocks)


def _arena_function(module: ir.Module, program: Schedule, dims: Sequence[str]) -> None:
    """How many bytes a call needs: the arena, and behind it what one kernel may use."""
    function = ir.Function(module, ir.FunctionType(I64, [_POINTER]), "tdsl_arena")
    function.attributes.add("nounwind")
    b = ir.IRBuilder(function.append_basic_block("entry"))

    known: dict[Dim | str, ir.Value] = {}

    def value(d: Dim) -> ir.Value:
        if d not in known:
            known[d] = sum_of(d)
        return known[d]

    def sum_of(d: Dim) -> ir.Value:
        total: ir.Value = constant(I64, 0)
        for mono, c in d.terms:
            product: ir.Value = constant(I64, c)
            for atom in mono:
                if isinstance(atom, str):
                    x = name(atom)
                else:  # sizes in the arena are not negative
                    x = b.udiv(value(atom.numerator), constant(I64, atom.divisor))
                product = x if product.ref == "1" else b.mul(product, x)
            total = product if total.ref == "0" else b.add(total, product)
        return total

    def name(atom: str) -> ir.Value:
        if atom not in known:
            known[atom] = _element(b, function.args[0], dims.index(atom), I64)
        return known[atom]

    most: ir.Value = constant(I64, 0)
    for nest in program.nests:
        match nest:
            case BandNest():
                needed = band_scratch(b, value, nest, program.registers)
            case Contraction():
                needed = contraction_scratch(b, value, nest, program.registers)
            case Nest():
                continue
        most = intrinsic(b, "llvm.smax", [most, needed])
    b.ret(b.add(value(program.program.arena), most))
    if len(b.block.instructions) > LONG:
        not_hot(function)


@dataclass(frozen=True)
class Loaded:
    """Addresses of the two entries; `engine` keeps their memory."""

    run: int
    arena: int
    engine: llvm.ExecutionEngine


def shared_code(what: str, machine: Machine) -> Jobs:
    """Object code of what all functions share (`entry`), or those with contractions (one of
    `entry_table.ROUTINES`). It is emitted now, and left as it is then: measured, LLVM's cleaning
    takes an eighth of the time, and moves addresses into the inner loops of products."""
    if what == "entry":
        from .entry_code import entry_module

        module = entry_module()
    else:
        kind, element = what.split()
        module = shared_module(CpuTarget(machine.registers), kind, BY_NAME[element])
        module.triple = machine.triple
        module.data_layout = data_layout(machine)
    jobs = Jobs(machine, is_final=True)
    jobs.start(split_text(module))
    return jobs.finish()


@cache
def _routines() -> list[llvm.ExecutionEngine]:
    """What compiled code calls, loaded once and found by name from then on; the pool has no
    workers here."""
    pool = ir.Module("tdsl_pool")
    pool.triple = host().triple
    add_pool(pool)
    code = object_code(optimized(str(pool), host()), host())
    engines = [_published([code], POOL)]
    for what, names in ROUTINES.items():
        if what == "tiles bf16" and not host().matrix_tiles:
            continue
        engines.append(_published(shared_code(what, host()).results(), names))
    return engines


def _published(code: Sequence[bytes], names: Sequence[str]) -> llvm.ExecutionEngine:
    engine = _engine(*code)
    for name in names:
        if llvm.address_of_symbol(name) is None:  # else the run time's own, which has workers
            llvm.add_symbol(name, engine.get_function_address(name))
    return engine


@interrupts_held_back()
def load(code: bytes) -> Loaded:
    """Map object code made for this machine; no LLVM pass runs on it."""
    _routines()
    engine = _engine(code)
    return Loaded(
        engine.get_function_address("tdsl_run"), engine.get_function_address("tdsl_arena"), engine
    )


@interrupts_held_back()
def _engine(*objects: bytes) -> llvm.ExecutionEngine:
    initialize()
    empty = llvm.parse_assembly("")
    engine = llvm.create_mcjit_compiler(empty, target_machine(host()))  # which it owns
    for code in objects:
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    return engine
