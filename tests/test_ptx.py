"""The CUDA target without a GPU: what the PTX says, what `ptxas` makes of it, and what it computes
in an emulator that watches every access."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest
from tdsl.compiler import graph as g
from tdsl.compiler.dtypes import BF16, BOOL, F16, F32, F64, I8, I32, I64, U8, DType
from tdsl.compiler.interpret import interpret
from tdsl.compiler.pipeline import simplified
from tdsl.compiler.ptx_launch import Mapping
from tdsl.compiler.ptx_operations import UnsupportedOnCudaError, verify_supported
from tdsl.compiler.target_cuda import VERSIONS, PtxModule, ptx
from tdsl.dsl.check import check
from tdsl.dsl.modules import load_modules

from . import ptx_assembler
from .ptx_arithmetic import Array
from .ptx_cases import ARGUMENTS, ELEMENTWISE, casts, functions, functions_of, primitives_of
from .ptx_device import Emulated
from .ptx_emulator import DeviceMemory, EmulationError, launch
from .ptx_text import parse
from .test_backend import Native

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.tdsl"))
DTYPES = (F32, F64, F16, BF16, I64, I32, I8, U8, BOOL)

needs_ptxas = pytest.mark.skipif(ptx_assembler.FOUND is None, reason="ptxas is not installed")


def same_bits(got: Array, want: Array) -> None:
    """NaNs are equal whatever their payload."""
    assert got.dtype == want.dtype and got.shape == want.shape
    raw = f"u{got.itemsize}"
    equal = got.view(raw) == want.view(raw)
    if got.dtype.kind == "f":
        equal |= np.isnan(got) & np.isnan(want)
    wrong = np.flatnonzero(~equal)
    assert not len(wrong), f"{len(wrong)} differ: {got[wrong[:4]]} instead of {want[wrong[:4]]}"


@cache
def compiled(name: str, arch: str = "sm_80") -> PtxModule:
    """A function of the matrix, a dtype's primitives, or all casts."""
    if name == "casts":
        return ptx(casts()[0], arch)
    by_name = {d.name: d for d in DTYPES}
    fn = primitives_of(by_name[name])[0] if name in by_name else functions()[name]
    return ptx(fn, arch)


def bfloats(x: Array) -> Array:
    return (x.astype(np.uint32) << 16).view(np.float32)


# --------------------------------------------------------------------------- text


def verify_text(module: PtxModule) -> None:
    version, target = {"sm_80": ("7.0", "sm_80"), "sm_90a": ("8.0", "sm_90a")}[module.arch]
    text = module.text
    assert f"\n.version {version}\n.target {target}\n" in text
    for sign in ("__local_depot", "call", ".func", ".extern", ".ftz", ".approx", "ld.local"):
        assert sign not in re.sub(r"//[^\n]*", "", text), sign
    # the assembler may fuse an addition that is not marked .rn, and the CPU's bits would be lost
    assert not re.search(r"\b(add|sub|mul|div|sqrt|rcp)\.f\d", text)
    program = parse(text)
    assert [x.kernel for x in module.launches] == list(program.kernels)
    for x in module.launches:
        assert f"// {x}" in text
        assert program.kernels[x.kernel].block == x.block


@pytest.mark.parametrize("arch", VERSIONS)
@pytest.mark.parametrize("name", ARGUMENTS)
def test_text_of_the_matrix(name: str, arch: str) -> None:
    verify_text(compiled(name, arch))


GOLDEN = {
    "scaled": """
def scaled(x: f32[n], a: f32) -> f32[n]:
    return a * x
""",
    "row_sums": """
def row_sums(x: f32[n, m]) -> f32[n]:
    return sum(x, dim=1)
""",
}


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_text(name: str, golden: Callable[[str, str], None]) -> None:
    (fn,) = functions_of(GOLDEN[name]).values()
    golden(f"{name}.ptx", ptx(fn, "sm_80").text)


def test_every_function_has_arguments() -> None:
    assert functions().keys() == ARGUMENTS.keys()


def test_mappings() -> None:
    """Reductions along rows and to a scalar share a block; along columns, each thread has one."""

    def mappings(name: str) -> list[Mapping]:
        return [x.mapping for x in compiled(name).launches]

    assert mappings("sums") == [Mapping.BLOCKS, Mapping.THREADS, Mapping.BLOCKS]
    assert mappings("matvec") == [Mapping.BLOCKS]
    assert mappings("matmul") == [Mapping.THREADS]
    assert mappings("short_rows") == [Mapping.THREADS]


def test_scatters_are_parallel_where_updates_stay_apart() -> None:
    def grids(name: str) -> list[str]:
        return [str(x.grid) for x in compiled(name).launches]

    assert grids("embedding_dw") == ["((d*v + 255)//256)", "((d + 255)//256)"]
    assert grids("histogram") == ["((v + 255)//256)", "1"]


def test_an_unknown_architecture_is_an_error() -> None:
    with pytest.raises(ValueError, match="sm_90a, sm_80"):
        ptx(functions()["scaled"], "sm_12")


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ("%r = call float @llvm.exp.f32(float %x)", "llvm.exp.f32"),
        ("%r = frem float %x, %x", "frem"),
        ("%r = call float @outside(float %x)", "outside"),
    ],
)
def test_what_ptx_lacks_is_named(body: str, named: str) -> None:
    """LLVM would end the process."""
    module = llvm.parse_assembly(
        "declare float @llvm.exp.f32(float)\ndeclare float @outside(float)\n"
        f"define ptx_kernel void @kernel0(float %x, ptr %p) {{\n{body}\n"
        "store float %r, ptr %p\nret void\n}"
    )
    with pytest.raises(UnsupportedOnCudaError, match=f"kernel0 needs {named}"):
        verify_supported(module)


# --------------------------------------------------------------------------- the assembler


@needs_ptxas
@pytest.mark.parametrize("arch", VERSIONS)
def test_the_assembler_accepts_the_matrix(
    arch: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    # half floats compute in f32, so that `halves` and the casts show all that is theirs
    names = [*functions(), *(d.name for d in DTYPES if d not in (F16, BF16)), "casts"]
    texts = {name: compiled(name, arch).text for name in names}
    for usage in ptx_assembler.assemble(texts, arch, tmp_path):
        record_property(f"registers of {usage.label}", usage.registers)
        assert usage.spilled == usage.stack == 0, usage
        assert usage.registers <= 128, usage


@needs_ptxas
@pytest.mark.parametrize("arch", ["sm_90a", pytest.param("sm_80", marks=pytest.mark.slow)])
def test_the_assembler_accepts_the_examples(arch: str, tmp_path: Path) -> None:
    texts: dict[str, str] = {}
    for path in EXAMPLES:
        for name, fn in check(load_modules(path)).functions.items():
            for label, made in ((name, fn), (f"{name} gradient", gradient_function(fn))):
                if made is not None:
                    module = ptx(simplified(made), arch)
                    verify_text(module)
                    texts[f"{path.stem} {label}"] = module.text
    assert any("gradient" in label for label in texts)
    for usage in ptx_assembler.assemble(texts, arch, tmp_path):
        assert usage.spilled == 0, usage


def gradient_function(fn: g.Function) -> g.Function | None:
    """The derivatives of the sum of the first output with respect to every float parameter."""
    out = fn.outputs[0]
    wrt = [p for p in fn.params if p.dtype.is_float]
    if not out.dtype.is_float or not wrt:
        return None
    with fn.scope.active():
        total = g.comp(g.identity_read(out), out.shape, 0, "sum") if out.shape else out
        derivatives = [g.gradient(total, p) for p in wrt]
    return replace(fn, outputs=tuple(derivatives), returns_tuple=True)


# --------------------------------------------------------------------------- execution


def agrees(name: str, *arrays: Any, arch: str = "sm_80", **how: Any) -> list[Array]:
    """The emulator's results, which agree with the interpreter's."""
    fn = functions()[name]
    arrays = arrays or ARGUMENTS[name]
    got = Emulated(fn, arch)(*arrays, **how)
    with np.errstate(all="ignore"):
        wanted = interpret(fn, arrays)
    for out, want in zip(got, wanted, strict=True):
        assert out.dtype == want.dtype and out.shape == want.shape
        tolerance = 2e-3 if out.dtype == np.float16 else 1e-5
        np.testing.assert_allclose(out, want, rtol=tolerance, atol=tolerance)
    return got


@pytest.mark.parametrize("name", ARGUMENTS)
def test_values_of_the_matrix(name: str) -> None:
    agrees(name)


@pytest.mark.parametrize("name", ["sums", "extremes", "cross_entropy_dx", "embedding_dw"])
def test_values_for_hopper(name: str) -> None:
    agrees(name, arch="sm_90a")


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_kernels_give_the_cpus_bits(name: str) -> None:
    fn = functions()[name]
    want = Native(fn)(*ARGUMENTS[name])
    for out, expected in zip(Emulated(fn)(*ARGUMENTS[name]), want, strict=True):
        same_bits(out, expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_primitive_gives_the_cpus_bits(dtype: DType) -> None:
    """At the edges and on the domain."""
    fn, arrays = primitives_of(dtype)
    want = Native(fn)(*arrays)
    for p, out, expected in zip(fn.outputs, Emulated(fn)(*arrays), want, strict=True):
        if p.dtype is BF16:
            out, expected = bfloats(out), bfloats(expected)
        same_bits(out, expected)


def test_every_cast_gives_the_cpus_bits() -> None:
    fn, arrays = casts()
    want = Native(fn)(*arrays)
    for node, out, expected in zip(fn.outputs, Emulated(fn)(*arrays), want, strict=True):
        if node.dtype is BF16:
            out, expected = bfloats(out), bfloats(expected)
        same_bits(out, expected)


@pytest.mark.parametrize("name", ["sums", "extremes", "probabilities"])
def test_the_order_in_which_warps_run_does_not_matter(name: str) -> None:
    first = agrees(name)
    for a, b in zip(first, agrees(name, schedule=np.random.default_rng(1)), strict=True):
        same_bits(a, b)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (1, 1), (2, 513)])
def test_extents_around_a_block(shape: tuple[int, int]) -> None:
    agrees("sums", np.ones(shape, np.float32))
    agrees("transposed", np.ones(shape, np.float32))


@pytest.mark.parametrize("n", [1, 255, 256, 257])
def test_lengths_around_a_block(n: int) -> None:
    agrees("scaled", np.ones(n), np.arange(n), 2)


@pytest.mark.parametrize("bad", [70, -1, 1 << 40])
def test_an_index_out_of_range_is_reported_and_not_read(bad: int) -> None:
    x, _ = ARGUMENTS["cross_entropy"]
    with pytest.raises(IndexError) as error:
        Emulated(functions()["cross_entropy"])(x, np.array([1, bad, 2]))
    _, axis, index, size = error.value.args[0]
    assert (axis, index, size) == (1, bad, 70)


@pytest.mark.parametrize("place", [0, 37, 699])
def test_one_thread_of_a_block_may_fail(place: int) -> None:
    """It leaves, and the others do not wait for it."""
    t, y = ARGUMENTS["gathered_sum"]
    y = y.copy()
    y[place] = -7
    with pytest.raises(IndexError) as error:
        Emulated(functions()["gathered_sum"])(t, y)
    assert error.value.args[0] == (0, 0, -7, 4)


def test_a_scatter_out_of_range_is_reported_and_not_written() -> None:
    w, y, t = ARGUMENTS["embedding_dw"]
    y = y.copy()
    y[3] = len(w)
    with pytest.raises(IndexError) as error:
        Emulated(functions()["embedding_dw"])(w, y, t)
    assert error.value.args[0][2:] == (len(w), len(w))


# --------------------------------------------------------------------------- the emulator


def test_the_emulator_sees_a_missing_barrier() -> None:
    device = Emulated(functions()["sums"])
    device.source = parse(re.sub(r"\tbar.sync[^\n]*\n", "", device.module.text))
    with pytest.raises(EmulationError, match=r"race|never written"):
        device(*ARGUMENTS["sums"])


APART = """
.version 7.0
.target sm_80
.address_size 64

.visible .entry apart(
	.param .u64 apart_param_0
)
.maxntid 64
{
	.reg .pred 	%p<2>;
	.reg .b32 	%r<2>;
	mov.u32 	%r1, %tid.x;
	setp.lt.u32 	%p1, %r1, 40;
	@%p1 bra 	$L__first;
	bar.sync 	0;
	ret;
$L__first:
	bar.sync 	0;
	ret;
}
"""


def test_the_emulator_sees_a_warp_that_waits_in_two_places() -> None:
    with pytest.raises(EmulationError, match="wait for each other"):
        launch(parse(APART), "apart", 1, 64, [0], DeviceMemory())


def scaled_arguments(memory: DeviceMemory, n: int, stated: int) -> list[int]:
    x, y = (memory.put(np.ones(n, np.float32)) for _ in range(2))
    a = memory.put(np.ones(1, np.float32))
    return [x, y, a, memory.allocate(4 * n), stated, memory.put(np.zeros(5))]


def test_the_emulator_sees_an_access_out_of_bounds() -> None:
    program = parse(compiled("scaled").text)
    memory = DeviceMemory()
    with pytest.raises(EmulationError, match="out of bounds"):
        launch(program, "kernel0", 1, 256, scaled_arguments(memory, 100, 101), memory)


def test_the_emulator_sees_two_threads_in_one_place() -> None:
    text = compiled("scaled").text
    same = re.sub(r"(mov.u32 \t%r\d+), %tid.x", r"\1, 0", text)
    memory = DeviceMemory()
    with pytest.raises(EmulationError, match="race"):
        launch(parse(same), "kernel0", 1, 256, scaled_arguments(memory, 100, 100), memory)


def test_the_emulator_sees_a_result_that_is_not_written() -> None:
    program = parse(compiled("scaled").text)
    memory = DeviceMemory()
    arguments = scaled_arguments(memory, 300, 300)
    launch(program, "kernel0", 1, 256, arguments, memory)
    with pytest.raises(EmulationError, match="never written"):
        memory.get(arguments[3], (300,), "f4")
