"""The mathematical library against mpmath, at every width, and as PTX and AArch64 assembly.

In: `compiler.mathlib.FUNCTIONS`. Each function is compiled into a loop `out[i] = f(in[i])`, all
functions of one precision and width in one module. Left to others: which operator uses which.
"""

from __future__ import annotations

import ctypes
import functools
import math
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import mpmath as mp
import numpy as np
import pytest
from tdsl.compiler import ir, mathlib
from tdsl.compiler.llvm_vector import (
    TargetModule,
    constant,
    intrinsic,
    suffix,
    vector,
    width_of,
)
from tdsl.compiler.machine import host
from tdsl.tests.mathlib_reference import (
    DTYPE,
    Array,
    exact,
    floors_of,
    points,
    random_bits,
    stated,
    two_arguments,
    ulp_errors,
    ulp_errors_32,
)

NAMES = list(mathlib.FUNCTIONS)
FLOAT = {32: ir.FloatType(), 64: ir.DoubleType()}
WIDEST = {32: 16, 64: 8}
ALLOWED_INTRINSICS = {"fma", "fabs", "copysign", "floor", "trunc", "rint", "sqrt"}
INF, NAN, PI = math.inf, math.nan, math.pi


# ---- Compiling -----------------------------------------------------------------------------------


def loops(bits: int, width: int, scales: bool = False, in_memory: int = 0) -> ir.Module:
    """One function per row of the table: (in…, out, n) with n a multiple of the width. `scales`:
    for a target that scales by powers of two in one instruction; `in_memory`: the bits of vectors
    whose constants are operands in memory."""
    module = TargetModule("mathlib", scales_by_powers=scales, constants_in_memory=in_memory)
    element, i64 = FLOAT[bits], ir.IntType(64)
    for name, row in mathlib.FUNCTIONS.items():
        types = [ir.PointerType()] * (row.arity + 1) + [i64]
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), types), f"loop_{name}")
        *inputs, output, count = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        entry = builder.block
        body, done = map(function.append_basic_block, ("body", "done"))
        builder.branch(body)
        builder.position_at_end(body)
        i = builder.phi(i64)
        i.add_incoming(i64(0), entry)
        lanes = [
            builder.load(
                builder.gep(p, [i], source_etype=element),
                typ=vector(element, width),
                align=bits // 8,
            )
            for p in inputs
        ]
        result = mathlib.emit(name, builder, lanes)
        assert result.type == lanes[0].type
        builder.store(result, builder.gep(output, [i], source_etype=element), align=bits // 8)
        following = builder.add(i, i64(width))
        i.add_incoming(following, builder.block)
        builder.cbranch(builder.icmp_unsigned("<", following, count), body, done)
        builder.position_at_end(done)
        builder.ret_void()
    return module


def optimised(module: ir.Module, machine: Any, triple: str) -> Any:
    parsed = llvm.parse_assembly(str(module))
    parsed.triple = triple
    parsed.data_layout = str(machine.target_data)
    parsed.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = options.slp_vectorization = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(parsed, passes)
    return parsed


@dataclass
class Library:
    """The loops of one precision and width as native code."""

    bits: int
    width: int
    engine: Any

    def __call__(self, name: str, *args: Array) -> Array:
        size = args[0].size
        dtype = DTYPE[self.bits]
        filler = np.ones(-size % self.width, dtype)
        padded = [np.concatenate([a, filler], dtype=dtype) for a in args]
        out = np.empty_like(padded[0])
        types = [ctypes.c_void_p] * (len(args) + 1) + [ctypes.c_int64]
        call = ctypes.CFUNCTYPE(None, *types)(self.engine.get_function_address(f"loop_{name}"))
        call(*(a.ctypes.data for a in padded), out.ctypes.data, out.size)
        return out[:size]


@functools.cache
def library(bits: int, width: int, scales: bool = False, in_memory: int = 0) -> Library:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        opt=3,
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        jit=True,
    )
    given = loops(bits, width, scales, in_memory)
    module = optimised(given, machine, llvm.get_default_triple())
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return Library(bits, width, engine)


# ---- Accuracy ------------------------------------------------------------------------------------


def check_against_mpmath(name: str, bits: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    arity = mathlib.FUNCTIONS[name].arity
    args = (
        (points(name, bits, count, rng),) if arity == 1 else two_arguments(name, bits, count, rng)
    )
    results = library(bits, WIDEST[bits])(name, *args)
    references = [exact(name, bits, *row) for row in zip(*args, strict=True)]
    errors = ulp_errors(results, references, bits, floors_of(name, bits, args[0]))
    worst = int(np.argmax(errors))
    assert errors[worst] <= stated(name, bits), (
        f"{name}({', '.join(repr(a[worst]) for a in args)}) = {results[worst]!r}, want"
        f" {mp.nstr(references[worst], 20)}: {errors[worst]:.3f} ulp"
    )


@pytest.mark.skipif(host().registers.vector_bytes < 64, reason="needs AVX-512")
@pytest.mark.parametrize("bits", [32, 64])
def test_scaling_by_one_instruction_gives_the_same_bits(bits: int) -> None:
    """Over all exponents, subnormal results and overflow included."""
    rng = np.random.default_rng(5)
    span = {32: 110.0, 64: 760.0}[bits]
    deep = np.linspace(-span, -0.8 * span, 20_000)
    x = np.concatenate([rng.uniform(-span, span, 20_000), deep, [INF, -INF, NAN]]).astype(
        DTYPE[bits]
    )
    one, several = (library(bits, WIDEST[bits], scales) for scales in (True, False))
    for name in ("exp", "exp2", "expm1", "sinh", "tanh", "erfc"):
        np.testing.assert_array_equal(one(name, x), several(name, x), err_msg=name)
    every = np.concatenate(
        [random_bits(bits, 40_000, rng), x, [0.0, -0.0, 1.0, 2.0**0.5, 0.5**0.5]]
    )
    every = np.concatenate([every, np.nextafter(every[-2:], 0), -every], dtype=DTYPE[bits])
    for name in ("log", "log2", "log10"):
        np.testing.assert_array_equal(one(name, every), several(name, every), err_msg=name)
    base, power = np.abs(x[:20_000]) + 0.1, rng.uniform(-90, 90, 20_000).astype(DTYPE[bits])
    np.testing.assert_array_equal(one("pow", base, power), several("pow", base, power))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", NAMES)
def test_error_is_within_the_stated_ulp(name: str, bits: int) -> None:
    check_against_mpmath(name, bits, 400, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", NAMES)
def test_error_is_within_the_stated_ulp_on_many_points(name: str, bits: int) -> None:
    check_against_mpmath(name, bits, 10_000, seed=2)


def widened(x: Array) -> Array:
    """To f64; signalling NaNs among random bits are no news."""
    with np.errstate(invalid="ignore"):
        return x.astype(np.float64)


def check_f32_against_f64(name: str, count: int) -> None:
    """On random bits, half of them near 1; the reference is our f64 function (checked above)."""
    rng = np.random.default_rng(3)
    raw = rng.integers(0, 2**32, count, dtype=np.uint32)
    raw[::2] = (raw[::2] & 0x87FFFFFF) | 0x3C000000
    x: Array = raw.view(np.float32)
    args = [x]
    if mathlib.FUNCTIONS[name].arity == 2:
        args.append((rng.choice([-1, 1], count) * 2.0 ** rng.uniform(-8, 8, count)).astype("f4"))
    wide = library(64, 8)
    doubles = [widened(a) for a in args]
    references = wide(name, *doubles)
    floors = np.zeros(count)
    if mathlib.FUNCTIONS[name].reflected:
        mirrored = np.abs(wide(name, np.abs(doubles[0])))
        floors = np.where(x < 0, np.maximum(1, mirrored), 0)
    results = library(32, 16)(name, *args)
    errors = ulp_errors_32(results, references, floors)
    worst = int(np.argmax(errors))
    assert errors[worst] <= stated(name, 32), (
        f"{name}({[a[worst] for a in args]}) = {results[worst]!r}, want {references[worst]!r}:"
        f" {errors[worst]:.3f} ulp"
    )


@pytest.mark.parametrize("name", NAMES)
def test_f32_agrees_with_f64(name: str) -> None:
    check_f32_against_f64(name, 1 << 18)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_f32_agrees_with_f64_on_many_points(name: str) -> None:
    check_f32_against_f64(name, 1 << 25)


NUMPY = {
    "exp": np.exp, "exp2": np.exp2, "expm1": np.expm1, "log": np.log, "log2": np.log2,
    "log10": np.log10, "log1p": np.log1p, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "sinh": np.sinh, "cosh": np.cosh, "tanh": np.tanh, "asin": np.arcsin, "acos": np.arccos,
    "atan": np.arctan, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh,
    "cbrt": np.cbrt,
}  # fmt: skip


@pytest.mark.parametrize("name", NUMPY)
def test_f32_agrees_with_numpy(name: str) -> None:
    x = random_bits(32, 200_000, np.random.default_rng(4))
    with np.errstate(all="ignore"):
        references = NUMPY[name](x.astype(np.float64))
    results = library(32, 16)(name, x)
    errors = ulp_errors_32(results, references, np.zeros(x.size))
    assert np.max(errors) <= stated(name, 32), x[np.argmax(errors)]


# ---- Special values ------------------------------------------------------------------------------

ODD_ZERO = [(0.0, 0.0), (-0.0, -0.0)]
SPECIAL: dict[str, list[tuple[float, ...]]] = {
    "exp": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, 0.0), (1e5, INF), (-1e5, 0.0)],
    "exp2": [(0.0, 1), (INF, INF), (-INF, 0.0), (10, 1024), (-3, 0.125), (1e5, INF), (-1e5, 0.0)],
    "expm1": [*ODD_ZERO, (INF, INF), (-INF, -1), (1e5, INF), (-1e5, -1)],
    "sinh": [*ODD_ZERO, (INF, INF), (-INF, -INF), (1e5, INF), (-1e5, -INF)],
    "cosh": [(0.0, 1), (-0.0, 1), (INF, INF), (-INF, INF), (1e5, INF)],
    "tanh": [*ODD_ZERO, (INF, 1), (-INF, -1), (1e5, 1), (-1e5, -1)],
    "log": [(0.0, -INF), (-0.0, -INF), (1, 0.0), (INF, INF), (-1, NAN), (-INF, NAN)],
    "log2": [(0.0, -INF), (-0.0, -INF), (1, 0.0), (8, 3), (0.25, -2), (INF, INF), (-1, NAN)],
    "log10": [(0.0, -INF), (-0.0, -INF), (1, 0.0), (1000, 3), (1e5, 5), (INF, INF), (-1, NAN)],
    "log1p": [*ODD_ZERO, (-1, -INF), (INF, INF), (-2, NAN), (-INF, NAN)],
    "asinh": [*ODD_ZERO, (INF, INF), (-INF, -INF)],
    "acosh": [(1, 0.0), (INF, INF), (0.5, NAN), (0.0, NAN), (-1, NAN), (-INF, NAN)],
    "atanh": [*ODD_ZERO, (1, INF), (-1, -INF), (2, NAN), (-2, NAN), (INF, NAN)],
    "sin": [*ODD_ZERO, (INF, NAN), (-INF, NAN)],
    "cos": [(0.0, 1), (-0.0, 1), (INF, NAN), (-INF, NAN)],
    "tan": [*ODD_ZERO, (INF, NAN), (-INF, NAN)],
    "asin": [*ODD_ZERO, (1, PI / 2), (-1, -PI / 2), (2, NAN), (-2, NAN), (INF, NAN)],
    "acos": [(1, 0.0), (-1, PI), (0.0, PI / 2), (2, NAN), (-2, NAN), (-INF, NAN)],
    "atan": [*ODD_ZERO, (INF, PI / 2), (-INF, -PI / 2), (1, PI / 4)],
    "atan2": [
        (0.0, 1, 0.0), (-0.0, 1, -0.0), (0.0, -1, PI), (-0.0, -1, -PI), (0.0, 0.0, 0.0),
        (-0.0, 0.0, -0.0), (0.0, -0.0, PI), (-0.0, -0.0, -PI), (1, 0.0, PI / 2),
        (-1, -0.0, -PI / 2), (INF, 1, PI / 2), (-INF, 1, -PI / 2), (1, INF, 0.0), (-1, INF, -0.0),
        (1, -INF, PI), (-1, -INF, -PI), (INF, INF, PI / 4), (INF, -INF, 3 * PI / 4),
        (-INF, INF, -PI / 4), (-INF, -INF, -3 * PI / 4), (NAN, 0.0, NAN), (0.0, NAN, NAN),
    ],
    "pow": [
        (0.0, 0.0, 1), (2, 0.0, 1), (NAN, 0.0, 1), (INF, -0.0, 1), (1, NAN, 1), (1, INF, 1),
        (-1, INF, 1), (-1, -INF, 1), (NAN, 1, NAN), (2, NAN, NAN), (-2, 0.5, NAN), (-2, 3, -8),
        (-2, 2, 4), (-2, -1, -0.5), (-1, 1e30, 1), (-1, 3, -1), (0.0, 3, 0.0), (-0.0, 3, -0.0),
        (-0.0, 2, 0.0), (0.0, -1, INF), (-0.0, -1, -INF), (-0.0, -2, INF), (0.0, -0.5, INF),
        (-0.0, 0.5, 0.0), (0.5, INF, 0.0), (2, INF, INF), (0.5, -INF, INF), (2, -INF, 0.0),
        (-2, INF, INF), (-0.5, INF, 0.0), (0.0, INF, 0.0), (0.0, -INF, INF), (INF, 2, INF),
        (INF, -2, 0.0), (-INF, 3, -INF), (-INF, 2, INF), (-INF, -3, -0.0), (-INF, 0.5, INF),
        (-INF, -INF, 0.0), (INF, INF, INF), (10, 3, 1000), (2, 0.5, 2**0.5), (3, 5, 243),
        (2, 1e5, INF), (-2, 100001, -INF), (2, -1e5, 0.0), (-2, -100001, -0.0),
    ],
    "rsqrt": [(0.0, INF), (-0.0, -INF), (INF, 0.0), (4, 0.5), (-1, NAN), (-INF, NAN)],
    "cbrt": [*ODD_ZERO, (INF, INF), (-INF, -INF), (1, 1)],
    "erf": [*ODD_ZERO, (INF, 1), (-INF, -1), (30, 1), (-30, -1)],
    "erfc": [(0.0, 1), (-0.0, 1), (INF, 0.0), (-INF, 2), (30, 0.0), (-30, 2), (1e30, 0.0)],
    "lgamma": [
        (1, 0.0), (2, 0.0), (0.0, INF), (-0.0, INF), (-1, INF), (-30, INF), (INF, INF),
        (-INF, INF), (-1e30, INF),
    ],
    "digamma": [
        (0.0, -INF), (-0.0, INF), (-1, NAN), (-30, NAN), (INF, INF), (-INF, NAN), (-1e30, NAN),
    ],
}  # fmt: skip


def is_special(y: Any, want: Any) -> bool:
    """NaN, or equal with the same sign of zero; what is no short fraction may be an ulp off."""
    if np.isnan(want):
        return bool(np.isnan(y))
    if y == want:
        return bool(np.signbit(y) == np.signbit(want))
    short = np.isinf(want) or want * 8 == np.rint(want * 8)
    return not short and bool(abs(y - want) <= abs(np.spacing(want)))


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", NAMES)
def test_special_values(name: str, bits: int) -> None:
    rows = [*SPECIAL[name]]
    if mathlib.FUNCTIONS[name].arity == 1:
        rows.append((NAN, NAN))
    *args, wanted = (np.array(column, DTYPE[bits]) for column in zip(*rows, strict=True))
    for width in (1, WIDEST[bits]):
        results = library(bits, width)(name, *args)
        for row, y, want in zip(rows, results, wanted, strict=True):
            assert is_special(y, want), f"{name}{row[:-1]} = {y!r}, want {want!r}"


@pytest.mark.parametrize("bits", [32, 64])
def test_odd_functions_are_odd_and_even_ones_even(bits: int) -> None:
    x = np.abs(random_bits(bits, 4000, np.random.default_rng(6)))
    code = library(bits, 8)
    for name in ("sinh", "tanh", "asinh", "sin", "tan", "asin", "atan", "atanh", "cbrt", "erf"):
        np.testing.assert_array_equal(code(name, -x), -code(name, x), err_msg=name)
    for name in ("cos", "cosh"):
        np.testing.assert_array_equal(code(name, -x), code(name, x), err_msg=name)


# ---- Widths and targets --------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("name", NAMES)
def test_every_width_gives_the_same_bits(name: str, bits: int) -> None:
    rng = np.random.default_rng(7)
    span = [rng.uniform(-30, 30, 3000).astype(DTYPE[bits]) for _ in range(2)]
    args = [np.concatenate([random_bits(bits, 3000, rng)[:2900], s]) for s in span]
    args = args[: mathlib.FUNCTIONS[name].arity]
    whole = np.uint32 if bits == 32 else np.uint64
    scalar = library(bits, 1)(name, *args)
    ways = {32: ((8, 0), (8, 256), (16, 0)), 64: ((4, 256), (8, 0))}[bits]
    for width, in_memory in ways:
        wide = library(bits, width, in_memory=in_memory)(name, *args)
        # NaNs may differ in sign and payload.
        same = (scalar.view(whole) == wide.view(whole)) | (np.isnan(scalar) & np.isnan(wide))
        assert same.all(), (width, [a[~same][0] for a in args])


def nvptx_kernels() -> ir.Module:
    """Every function, f32 and f64, as a kernel (in…, out) on one element."""
    module = ir.Module("mathlib")
    for bits in (32, 64):
        for name, row in mathlib.FUNCTIONS.items():
            types = [ir.PointerType(addrspace=1)] * (row.arity + 1)
            kernel = ir.Function(module, ir.FunctionType(ir.VoidType(), types), f"{name}_{bits}")
            kernel.calling_convention = "ptx_kernel"
            builder = ir.IRBuilder(kernel.append_basic_block("entry"))
            *inputs, output = kernel.args
            args = [builder.load(p, typ=FLOAT[bits]) for p in inputs]
            builder.store(mathlib.emit(name, builder, args), output)
            builder.ret_void()
    return module


def test_ptx_holds_no_call_and_assembles(tmp_path: Path) -> None:
    module = nvptx_kernels()
    # Another intrinsic would end the process, not raise.
    used = {name.split(".")[1] for name in module.globals if name.startswith("llvm.")}
    assert used <= ALLOWED_INTRINSICS
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = "nvptx64-nvidia-cuda"
    machine = llvm.Target.from_triple(triple).create_target_machine(
        cpu="sm_80", features="+ptx70", opt=3
    )
    ptx = machine.emit_assembly(optimised(module, machine, triple))
    assert ".version 7.0" in ptx
    assert ptx.count(".entry") == 2 * len(NAMES)
    assert "call" not in re.sub(r"//.*", "", ptx)
    assert "approx" not in ptx and ".ftz" not in ptx
    ptxas = shutil.which("ptxas")
    if ptxas is None:
        pytest.skip("no ptxas")
    source = tmp_path / "mathlib.ptx"
    source.write_text(ptx)
    run = subprocess.run(
        [ptxas, "-arch=sm_80", "-O1", str(source), "-o", str(tmp_path / "mathlib.cubin")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("bits", [32, 64])
def test_aarch64_assembly_calls_nothing(bits: int) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = "aarch64-unknown-linux-gnu"
    machine = llvm.Target.from_triple(triple).create_target_machine(features="+neon", opt=3)
    assembly = machine.emit_assembly(optimised(loops(bits, 128 // bits), machine, triple))
    assert not re.findall(r"^\s+(?:bl|blr|b)\s+(?!\.L).*", assembly, re.MULTILINE)
    assert all(f"loop_{name}:" in assembly for name in NAMES)


# ---- Interface -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_each_function_states_its_formula(name: str) -> None:
    row = mathlib.FUNCTIONS[name]
    assert row.name == name and row.doc and row.ulp32 > 0 and row.ulp64 > 0


def test_emit_rejects_wrong_arguments() -> None:
    module = ir.Module("wrong")
    kind = ir.FunctionType(ir.VoidType(), [ir.FloatType(), ir.DoubleType()])
    function = ir.Function(module, kind, "f")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    with pytest.raises(TypeError, match="2 arguments"):
        mathlib.emit("pow", builder, function.args[:1])
    with pytest.raises(TypeError, match="arguments of types"):
        mathlib.emit("pow", builder, function.args)
    with pytest.raises(KeyError):
        mathlib.emit("gudermannian", builder, function.args[:1])


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("width", [1, 4])
def test_constants_and_intrinsics_keep_every_bit(bits: int, width: int) -> None:
    values = [0.1, -0.0, INF, -INF, NAN, 1e-45, 1e300, 2.0**-149, 16777217.0, 5e-324]
    type_ = vector(FLOAT[bits], width)
    module = ir.Module("constants")
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ir.PointerType()]), "f")
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    for i, value in enumerate(values):
        place = builder.gep(function.args[0], [ir.IntType(64)(i)], source_etype=type_)
        kept = intrinsic(builder, "llvm.copysign", [constant(type_, value)] * 2)
        builder.store(kept, place, align=bits // 8)
    builder.ret_void()
    assert f"llvm.copysign.{suffix(type_)}" in module.globals
    assert width_of(type_) == width
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(str(module)), machine)
    engine.finalize_object()
    out = np.zeros((len(values), width), DTYPE[bits])
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(engine.get_function_address("f"))(out.ctypes.data)
    with np.errstate(over="ignore"):
        wanted = np.array(values, DTYPE[bits])[:, None].repeat(width, 1)
    assert np.array_equal(out, wanted, equal_nan=True)
    assert np.array_equal(np.signbit(out), np.signbit(wanted))
