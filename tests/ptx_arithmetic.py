"""What PTX's arithmetic instructions compute, over NumPy arrays with a value per thread.

In: an instruction's opcode, modifiers and typed operands. Out: the typed result. Sources: the PTX
ISA's description of each instruction. Left to others: registers, memory and control
(`ptx_emulator`).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import numpy.typing as npt

from .ptx_text import Instruction, Type

Array = npt.NDArray[Any]

UNSIGNED: dict[int, Any] = {8: np.uint8, 16: np.uint16, 32: np.uint32, 64: np.uint64}
SIGNED: dict[int, Any] = {8: np.int8, 16: np.int16, 32: np.int32, 64: np.int64}
FLOAT: dict[int, Any] = {16: np.float16, 32: np.float32, 64: np.float64}


def dtype_of(t: Type) -> Any:
    match t.kind:
        case "p":
            return np.bool_
        case "f":
            return FLOAT[t.bits]
        case "s":
            return SIGNED[t.bits]
        case _:
            return UNSIGNED[t.bits]


class UndefinedError(Exception):
    """PTX does not say what the result is."""


# --------------------------------------------------------------------------- fused multiply-add

_FMA = """
define void @fma{n}(ptr %a, ptr %b, ptr %c, ptr %out, i64 %n) {{
entry:
  br label %test
test:
  %i = phi i64 [ 0, %entry ], [ %next, %body ]
  %more = icmp ult i64 %i, %n
  br i1 %more, label %body, label %done
body:
  %pa = getelementptr {t}, ptr %a, i64 %i
  %pb = getelementptr {t}, ptr %b, i64 %i
  %pc = getelementptr {t}, ptr %c, i64 %i
  %po = getelementptr {t}, ptr %out, i64 %i
  %x = load {t}, ptr %pa
  %y = load {t}, ptr %pb
  %z = load {t}, ptr %pc
  %r = call {t} @llvm.fma.f{n}({t} %x, {t} %y, {t} %z)
  store {t} %r, ptr %po
  %next = add i64 %i, 1
  br label %test
done:
  ret void
}}
declare {t} @llvm.fma.f{n}({t}, {t}, {t})
"""


@cache
def _fma_function(bits: int) -> tuple[Any, llvm.ExecutionEngine]:
    """NumPy has no fused multiply-add: the processor's own."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    features = llvm.get_host_cpu_features().flatten()
    machine = llvm.Target.from_default_triple().create_target_machine(features=features)
    text = _FMA.format(n=bits, t={32: "float", 64: "double"}[bits])
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(text), machine)
    engine.finalize_object()
    pointer = ctypes.c_void_p
    signature = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, pointer, ctypes.c_int64)
    return signature(engine.get_function_address(f"fma{bits}")), engine


def fused_multiply_add(a: Array, b: Array, c: Array) -> Array:
    arrays = [np.ascontiguousarray(x) for x in (a, b, c)]
    out = np.empty_like(arrays[0])
    function, _ = _fma_function(8 * out.itemsize)
    function(*(x.ctypes.data for x in (*arrays, out)), out.size)
    return out


# --------------------------------------------------------------------------- one type throughout


def _extreme(larger: bool) -> Callable[[Array, Array], Array]:
    """min and max: a NaN gives way to a number, and -0 is below +0."""

    def of(x: Array, y: Array) -> Array:
        if x.dtype.kind != "f":
            return np.maximum(x, y) if larger else np.minimum(x, y)
        out = np.fmax(x, y) if larger else np.fmin(x, y)
        zeros = (x == 0) & (y == 0)
        signs = np.signbit(x) & np.signbit(y) if larger else np.signbit(x) | np.signbit(y)
        return np.where(zeros, np.where(signs, -0.0, 0.0).astype(x.dtype), out)

    return of


def _truncated_quotient(x: Array, y: Array) -> Array:
    if x.dtype.kind == "f":
        return np.divide(x, y)
    if (y == 0).any():
        raise UndefinedError("division by zero")
    low = np.iinfo(x.dtype).min
    if x.dtype.kind == "i" and ((x == low) & (y == -1)).any():
        raise UndefinedError("the least integer divided by -1")
    quotient = np.floor_divide(x, y)
    return quotient + ((quotient < 0) & (quotient * y != x)).astype(x.dtype)


def _truncated_remainder(x: Array, y: Array) -> Array:
    return x - _truncated_quotient(x, y) * y


def _high_half(x: Array, y: Array) -> Array:
    bits = 8 * x.itemsize
    exact = x.astype(object) * y.astype(object)
    return np.array([int(v) >> bits for v in exact], dtype=object).astype(x.dtype)


def _reciprocal(x: Array) -> Array:
    return np.divide(x.dtype.type(1), x)


SAME_TYPE: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _truncated_quotient,
    "rem": _truncated_remainder,
    "min": _extreme(False),
    "max": _extreme(True),
    "neg": np.negative,
    "abs": np.abs,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "sqrt": np.sqrt,
    "rcp": _reciprocal,
    "fma": fused_multiply_add,
    "mad": lambda x, y, z: x * y + z,
    "copysign": lambda sign, size: np.copysign(size, sign),
}


_ROUNDED = ("add", "sub", "mul", "div", "sqrt", "rcp", "fma")


def same_type(inst: Instruction, args: Sequence[Array]) -> Array:
    """An instruction whose operands and result have one type."""
    marked = "rn" in inst.modifiers and "ftz" not in inst.modifiers
    if inst.types[-1].kind == "f" and inst.opcode in _ROUNDED and not marked:
        raise UndefinedError("the assembler may fuse or flush what is not marked .rn")
    if "hi" in inst.modifiers:
        return _high_half(args[0], args[1])
    return SAME_TYPE[inst.opcode](*args)


def multiply_wide(inst: Instruction, x: Array, y: Array) -> Array:
    double = dtype_of(Type(inst.types[-1].kind, 2 * inst.types[-1].bits))
    out: Array = x.astype(double) * y.astype(double)
    return out


def shift(inst: Instruction, x: Array, by: Array) -> Array:
    """Distances past the width empty the register (or fill it with the sign)."""
    bits = 8 * x.itemsize
    far = by >= bits
    distance = np.minimum(by, bits - 1).astype(x.dtype)
    if inst.opcode == "shl":
        return np.where(far, 0, x << distance).astype(x.dtype)
    shifted = x >> distance
    return shifted if x.dtype.kind == "i" else np.where(far, 0, shifted).astype(x.dtype)


def extract_field(x: Array, position: Array, length: Array) -> Array:
    """bfe, unsigned."""
    low = shift_right(x, position)
    mask = np.where(
        length >= 8 * x.itemsize,
        ~x.dtype.type(0),
        (x.dtype.type(1) << length.astype(x.dtype)) - x.dtype.type(1),
    )
    return low & mask.astype(x.dtype)


def shift_right(x: Array, by: Array) -> Array:
    return np.where(by >= 8 * x.itemsize, 0, x >> np.minimum(by, 63).astype(x.dtype)).astype(
        x.dtype
    )


# --------------------------------------------------------------------------- comparisons

_RELATION: dict[str, Callable[[Array, Array], Array]] = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "lo": np.less, "ls": np.less_equal,
    "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip


def compare(relation: str, x: Array, y: Array) -> Array:
    """setp: `ltu` also holds for a NaN, `lt` does not; `num` asks for two numbers."""
    if x.dtype.kind != "f":
        return _RELATION[relation](x, y)
    nan = np.isnan(x) | np.isnan(y)
    if relation in ("nan", "num"):
        return nan if relation == "nan" else ~nan
    if len(relation) == 3:
        return _RELATION[relation[:2]](x, y) | nan
    return _RELATION[relation](x, y) & ~nan


# --------------------------------------------------------------------------- conversions

_TO_INTEGRAL: dict[str, Callable[[Array], Array]] = {
    "rni": np.rint, "rmi": np.floor, "rpi": np.ceil, "rzi": np.trunc,
}  # fmt: skip


def convert(inst: Instruction, x: Array) -> Array:
    """cvt: floats saturate into integers, NaN as 0."""
    to = inst.types[-2]
    for modifier in inst.modifiers:
        if modifier in _TO_INTEGRAL:
            x = _TO_INTEGRAL[modifier](x)
    target = dtype_of(to)
    if to.kind == "f" or x.dtype.kind != "f":
        return x.astype(target)
    ends = np.iinfo(target)
    value = x.astype(np.float64)
    inside = np.where((value > float(ends.min)) & (value < float(ends.max)), value, 0)
    out = inside.astype(target)
    out = np.where(value >= float(ends.max), ends.max, out)
    out = np.where(value <= float(ends.min), ends.min, out)
    return np.asarray(out, dtype=target)
