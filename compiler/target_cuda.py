"""The CUDA target: kernels over a grid of threads, as PTX text.

In: a simplified function. Out: a `PtxModule`: one kernel per launch of the plan (`ptx_launch`), in
order. Left to others: all that is common to targets (`emit`), the driver (`runtime`).

A kernel takes the start of every buffer that it touches (dense, in C order, bool as one byte), all
in global memory; the i64 dims; and the error record of five i64: 0, or 1 after an index was out of
range, then the entry of `checks`, the axis, the index, the size. The first thread that fails writes
it; nothing is read out of bounds, and the outputs are then meaningless.

LLVM ends the process when it meets an operation that it cannot select, so the optimised module is
verified (`ptx_operations`) before that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache

import llvmlite.binding as llvm

from . import ir
from .artifact import IndexCheck
from .dims import Dim, product
from .emit import emit
from .exact_remainder import replace_remainders
from .frame import Frame
from .fuse import fuse
from .graph import Function
from .instructions import I8, I32, I64
from .kernels import verify_kernels
from .llvm_vector import constant, intrinsic
from .loops import Buffer, Kind, Loop, Nest, verify_nest
from .lower import LoopProgram, lower
from .plan import plan, verify_program
from .ptx_launch import Launch, Launched, Mapping, parallel_loops, spread
from .ptx_operations import UnsupportedOnCudaError as UnsupportedOnCudaError
from .ptx_operations import verify_supported
from .records import dataclass
from .tile import Registers

TRIPLE = "nvptx64-nvidia-cuda"

VERSIONS = {"sm_90a": "8.0", "sm_80": "7.0"}
"""The architectures, with the version of PTX that each is written in: Hopper, and the portable one,
which newer devices load too."""

ERROR_WORDS = 5
"""i64 words of the error record: set, check, axis, index, size."""

_NO_VECTORS = Registers(vector_bytes=0, accumulators=1)
_GLOBAL = ir.PointerType(addrspace=1)
_SHARED = ir.PointerType(addrspace=3)
_WARP_SIZE = 32
_ARGUMENT_BYTES = 4096  # of one kernel, before PTX 8.1


@dataclass(frozen=True)
class PtxModule:
    """`text` begins with the launch plan, as comments. `arena` is in bytes."""

    name: str
    arch: str
    text: str
    launches: tuple[Launch, ...]
    dims: tuple[str, ...]
    arena: Dim
    checks: tuple[IndexCheck, ...]


def ptx(fn: Function, arch: str = "sm_90a") -> PtxModule:
    """PTX for a function without gradient requests. `arch` is a key of VERSIONS.

    Raises ValueError for another architecture, UnsupportedOnCudaError for an operation that PTX
    lacks."""
    if arch not in VERSIONS:
        raise ValueError(f"no architecture {arch!r} (known: {', '.join(VERSIONS)})")
    with fn.scope.active():
        program = _lowered(fn)
        launched = [x for nest in program.nests for x in spread(nest)]
        for x in launched:
            verify_nest(x.nest)
        module = optimized(str(module_of(program, launched, arch)), arch)
    verify_supported(module)
    launches = tuple(x.launch for x in launched)
    arena = program.program.arena
    header = "".join(f"// {line}\n" for line in (f"arena {arena} bytes", *map(str, launches)))
    text = header + assembly(module, arch)
    assert f".version {VERSIONS[arch]}\n" in text, "LLVM does not know this version of PTX"
    return PtxModule(fn.name, arch, text, launches, fn.dims, arena, program.checks)


def _lowered(fn: Function) -> LoopProgram:
    kernels = fuse(fn, _NO_VECTORS)
    verify_kernels(kernels)
    program = plan(kernels)
    verify_program(program)
    return lower(program)


# --------------------------------------------------------------------------- the target


@dataclass(frozen=True)
class CudaTarget:
    """One kernel. No SIMD lanes: a warp's threads are the lanes."""

    launch: Launch
    dims: tuple[str, ...]
    registers: Registers = _NO_VECTORS

    def kernel(self, module: ir.Module, nest: Nest) -> ir.Function:
        pointers = len(self.launch.buffers)
        arguments = [*[_GLOBAL] * pointers, *[I64] * len(self.dims), _GLOBAL]
        if 8 * len(arguments) > _ARGUMENT_BYTES:
            raise UnsupportedOnCudaError(
                f"{nest.name} takes more than {_ARGUMENT_BYTES // 8} arguments"
            )
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), nest.name)
        function.calling_convention = "ptx_kernel"
        function.attributes.add("nounwind")
        function.attributes.add(f'"nvvm.maxntid"="{self.launch.block}"')
        # else the assembler may spill registers to fit more blocks on a multiprocessor
        function.attributes.add('"nvvm.minctasm"="1"')
        for arg in function.args:
            if isinstance(arg.type, ir.PointerType):
                arg.add_attribute("noalias")
        return function

    def ranges(self, function: ir.Function, nest: Nest) -> dict[int, tuple[ir.Value, ir.Value]]:
        return {}

    def size(self, frame: Frame, name: str) -> ir.Value:
        return frame.function.args[len(self.launch.buffers) + self.dims.index(name)]

    def pointer(self, frame: Frame, buffer: Buffer) -> ir.Value:
        start = frame.function.args[self.launch.buffers.index((buffer.space, buffer.position))]
        if buffer.space != "arena":
            return start
        return frame.b.gep(start, [frame.size(buffer.offset)], source_etype=I8)

    # ----------------------------------------------------------------- loops

    def output_loops(self, frame: Frame, loops: Sequence[Loop], body: Callable[[], None]) -> None:
        """The parallel loops' indices from the thread's (or block's) number, the last one varying
        fastest; the serial loops inside."""
        b = frame.b
        block = _special(b, "ctaid.x")
        if self.launch.mapping is Mapping.BLOCKS:
            point = b.zext(block, I64)
            self._at_point(frame, loops, point, body)
            return
        width = constant(I64, self.launch.block)
        thread = b.zext(_special(b, "tid.x"), I64)
        point = b.add(b.mul(b.zext(block, I64), width), thread)
        points = frame.size(product(tuple(loop.extent for loop in parallel_loops(frame.nest))))
        inside, done = b.append_basic_block("inside"), b.append_basic_block("done")
        b.cbranch(b.icmp_unsigned("<", point, points), inside, done)
        b.position_at_end(inside)
        self._at_point(frame, loops, point, body)
        b.branch(done)
        b.position_at_end(done)

    def _at_point(
        self, frame: Frame, loops: Sequence[Loop], point: ir.Value, body: Callable[[], None]
    ) -> None:
        b = frame.b
        parallel = parallel_loops(frame.nest)
        places: list[ir.Value] = []
        for loop in reversed(parallel[1:]):
            extent = frame.size(loop.extent)
            places.append(b.urem(point, extent))
            point = b.udiv(point, extent)
        places.append(point)
        for loop, at in zip(parallel, reversed(places), strict=False):
            frame.open(loop, at)
        with frame.scope():
            frame.hoist()
            self._serial_loops(frame, loops[len(parallel) :], body)
        for loop in parallel:
            frame.close(loop)

    def _serial_loops(self, frame: Frame, loops: Sequence[Loop], body: Callable[[], None]) -> None:
        if not loops:
            body()
            return

        def inside(_: Sequence[ir.Value]) -> Sequence[ir.Value]:
            frame.hoist()
            self._serial_loops(frame, loops[1:], body)
            return ()

        frame.counted(loops[0], (), inside)

    # ----------------------------------------------------------------- reductions

    def reduced_loop(
        self,
        frame: Frame,
        loop: Loop,
        carried: Sequence[ir.Value],
        body: Callable[[Sequence[ir.Value]], Sequence[ir.Value]],
    ) -> Sequence[ir.Value]:
        if loop.kind is not Kind.PARALLEL:
            return frame.counted(loop, carried, body)
        first = frame.b.zext(_special(frame.b, "tid.x"), I64)
        return frame.counted(loop, carried, body, (first, constant(I64, self.launch.block)))

    def joined(
        self,
        frame: Frame,
        loops: Sequence[Loop],
        state: list[ir.Value],
        merge: Callable[[list[ir.Value], list[ir.Value]], list[ir.Value]],
    ) -> list[ir.Value]:
        """Within each warp by halves, through shuffles; then every thread folds the warps'
        results, which stand in shared memory, by halves: one order for every thread."""
        if not any(loop.kind is Kind.PARALLEL for loop in loops):
            return state
        b = frame.b
        types = [x.type for x in state]
        distance = _WARP_SIZE // 2
        while distance:
            other = [_shuffled_down(b, w, distance) for x in state for w in _words(b, x)]
            state = merge(state, _values(b, other, types))
            distance //= 2
        words = [w for x in state for w in _words(b, x)]
        warps = self.launch.block // _WARP_SIZE
        slots = _shared_words(b.module, f"{frame.function.name}_warps", warps * len(words))
        thread = _special(b, "tid.x")
        leads = b.icmp_unsigned("==", b.and_(thread, constant(I32, _WARP_SIZE - 1)), I32(0))
        with b.if_then(leads):
            row = b.mul(b.lshr(thread, constant(I32, 5)), constant(I32, len(words)))
            for k, word in enumerate(words):
                place = b.gep(slots, [b.add(row, constant(I32, k))], source_etype=I32)
                b.store(word, place, align=4)
        _barrier(b)
        states: list[list[ir.Value]] = []
        for warp in range(warps):
            got = []
            for k in range(len(words)):
                place = b.gep(slots, [constant(I32, warp * len(words) + k)], source_etype=I32)
                got.append(b.load(place, typ=I32, align=4))
            states.append(_values(b, got, types))
        while len(states) > 1:
            half = len(states) // 2
            states = [merge(x, y) for x, y in zip(states[:half], states[half:], strict=True)]
        return states[0]

    # ----------------------------------------------------------------- effects

    def store(self, frame: Frame, write: Callable[[], None]) -> None:
        if self.launch.mapping is Mapping.THREADS:
            write()
            return
        b = frame.b
        with b.if_then(b.icmp_unsigned("==", _special(b, "tid.x"), I32(0))), frame.scope():
            write()

    def fail(self, frame: Frame, check: int, axis: int, index: ir.Value, size: ir.Value) -> None:
        """The first thread to set the first word writes the others."""
        b = frame.b
        record = frame.function.args[-1]
        swapped = b.cmpxchg(record, I64(0), I64(1), "monotonic", "monotonic")
        with b.if_then(b.extract_value(swapped, 1)):
            for k, x in enumerate((I64(check), I64(axis), index, size), start=1):
                b.store(x, b.gep(record, [I64(k)], source_etype=I64), align=8)
        b.ret_void()

    def finish(self, frame: Frame) -> None:
        frame.b.ret_void()


# --------------------------------------------------------------------------- instructions


def _special(b: ir.IRBuilder, register: str) -> ir.Value:
    """A special register, as an i32."""
    return intrinsic(b, f"llvm.nvvm.read.ptx.sreg.{register}", [], result=I32, overload=[])


def _barrier(b: ir.IRBuilder) -> None:
    name = "llvm.nvvm.barrier.cta.sync.aligned.all"
    intrinsic(b, name, [I32(0)], result=ir.VoidType(), overload=[])
    _make_convergent(b.module, name)


def _shuffled_down(b: ir.IRBuilder, word: ir.Value, distance: int) -> ir.Value:
    """The word of the thread `distance` further on in the warp (its own past the end)."""
    name = "llvm.nvvm.shfl.sync.down.i32"
    args = [I32(-1), word, I32(distance), I32(_WARP_SIZE - 1)]
    out = intrinsic(b, name, args, result=I32, overload=[])
    _make_convergent(b.module, name)
    return out


def _make_convergent(module: ir.Module, name: str) -> None:
    """All threads of a warp arrive together: LLVM must not move it into a branch."""
    module.globals[name].attributes.add("convergent")


def _words(b: ir.IRBuilder, x: ir.Value) -> list[ir.Value]:
    """The bits of a value as 32-bit words, the lowest first."""
    if isinstance(x.type, ir.FloatType | ir.DoubleType):
        x = b.bitcast(x, I64 if isinstance(x.type, ir.DoubleType) else I32)
    if x.type.width <= 32:
        return [b.zext(x, I32) if x.type.width < 32 else x]
    return [b.trunc(x, I32), b.trunc(b.lshr(x, I64(32)), I32)]


def _values(b: ir.IRBuilder, words: Iterable[ir.Value], types: Sequence[ir.Type]) -> list[ir.Value]:
    """The inverse of `_words`, for values of these types."""
    left = iter(words)
    out: list[ir.Value] = []
    for t in types:
        low = next(left)
        wide = isinstance(t, ir.DoubleType) or (isinstance(t, ir.IntType) and t.width == 64)
        if wide:
            high = b.shl(b.zext(next(left), I64), I64(32))
            low = b.or_(b.zext(low, I64), high)
        elif isinstance(t, ir.IntType) and t.width < 32:
            low = b.trunc(low, t)
        out.append(b.bitcast(low, t) if isinstance(t, ir.FloatType | ir.DoubleType) else low)
    return out


def _shared_words(module: ir.Module, name: str, count: int) -> ir.Value:
    """A new array of i32 in shared memory; every join has its own, so that none waits for the
    readers of the one before."""
    t = ir.ArrayType(I32, count)
    slots = ir.GlobalVariable(module, t, module.get_unique_name(name), addrspace=3)
    slots.linkage = "internal"
    slots.align = 16
    slots.initializer = ir.Constant(t, ir.Undefined)
    return slots


# --------------------------------------------------------------------------- modules


def module_of(program: LoopProgram, launched: Iterable[Launched], arch: str) -> ir.Module:
    """All kernels, in the order of their launches."""
    fn = program.program.kernels.function
    module = ir.Module(fn.name)
    module.triple = TRIPLE
    module.data_layout = str(target_machine(arch).target_data)
    for x in launched:
        emit(CudaTarget(x.launch, fn.dims), module, x.nest, fn.dims, len(fn.params))
    replace_remainders(module)
    for function in module.functions:
        if function.blocks and function.calling_convention != "ptx_kernel":
            function.attributes.add("alwaysinline")  # a call goes through the stack
    return module


@cache
def target_machine(arch: str) -> llvm.TargetMachine:
    """Shared by all compilations for `arch`."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    return llvm.Target.from_triple(TRIPLE).create_target_machine(
        cpu=arch, features=f"+ptx{VERSIONS[arch].replace('.', '')}", opt=3
    )


def optimized(text: str, arch: str) -> llvm.ModuleRef:
    """The module parsed, verified and put through LLVM's passes, its vectorisers off: there are no
    vector registers."""
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    options.loop_interleaving = False
    passes = llvm.create_pass_builder(target_machine(arch), options)
    passes.getModulePassManager().run(module, passes)
    return module


def assembly(module: llvm.ModuleRef, arch: str) -> str:
    return str(target_machine(arch).emit_assembly(module))
