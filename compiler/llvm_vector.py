"""LLVM vector values through the builder: types, splat constants, intrinsics.

In: an `ir.IRBuilder` and values that are scalars or vectors (`<W x T>`). Out: new values.
Width 1 is the scalar type itself, never `<1 x T>`. Left to others: formulas (`lanes.py`, `mathlib`)
and which intrinsics a target can select (the emitter's allowlist).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from . import ir
from .ir_types import literal


class TargetModule(ir.Module):
    """A module that says what its target does in one instruction where others need several."""

    def __init__(
        self, name: str, *, scales_by_powers: bool = False, constants_in_memory: int = 0
    ) -> None:
        super().__init__(name)
        # of vectors, subnormals included: x·2^n, the parts of x = 2^n·m, a table of special values
        self.scales_by_powers = scales_by_powers
        # bits of a vector of constants that is better read by the instruction that needs it
        self.constants_in_memory = constants_in_memory


def vector(element: ir.Type, width: int) -> ir.Type:
    """`<width x element>`, or `element` itself for width 1."""
    return element if width == 1 else ir.VectorType(element, width)


def element_of(type_: ir.Type) -> ir.Type:
    """The type of one lane."""
    return type_.element if isinstance(type_, ir.VectorType) else type_


def width_of(type_: ir.Type) -> int:
    """The number of lanes; 1 for a scalar type."""
    return int(type_.count) if isinstance(type_, ir.VectorType) else 1


def constant(type_: ir.Type, value: float) -> ir.Value:
    """`value` in every lane of `type_` (float, double, an integer, or a vector of them)."""
    if type(value) is int:
        return _integer(type_, value)
    return _constant(type_, value)


def _constant(type_: ir.Type, value: float) -> ir.Constant:
    text = literal(element_of(type_), value)
    if isinstance(type_, ir.VectorType):
        text = f"splat ({type_.element} {text})"
    return ir.FormattedConstant(type_, text)


_integer = cache(_constant)  # 0.0 and -0.0 are equal, but not the same


def factor(builder: ir.IRBuilder, type_: ir.Type, value: float) -> ir.Value:
    """A constant of a fused product and sum. With AVX2, LLVM makes a vector of equal constants from
    one, by an instruction of its own: inside a loop, where registers are too few to keep them all
    (a polynomial's coefficients; measured: 1.1 to 1.2 times as fast as an operand in memory)."""
    module = builder.module
    bits = getattr(module, "constants_in_memory", 0)
    size = 32 if isinstance(element_of(type_), ir.FloatType) else 64
    if width_of(type_) * size != bits or abs(value) in (0.0, 1.0):
        return constant(type_, value)
    name = f"constant_{suffix(type_)}_{float(value).hex()}"
    found = module.globals.get(name)
    if found is None:
        found = ir.GlobalVariable(module, type_, name)
        found.initializer, found.align = _constant(type_, value), bits // 8
        # for all that LLVM knows, another value may stand there when the code runs
        found.linkage, found.global_constant = "internal externally_initialized", True
    return builder.load_invariant(found, type_, bits // 8)


def suffix(type_: ir.Type) -> str:
    """The overload suffix of a type in an intrinsic's name: `f32`, `v16f32`, `i64`, `p0`."""
    match type_:
        case ir.VectorType():
            return f"v{type_.count}{suffix(type_.element)}"
        case ir.FloatType():
            return "f32"
        case ir.DoubleType():
            return "f64"
        case ir.HalfType():
            return "f16"
        case ir.IntType():
            return f"i{type_.width}"
        case ir.PointerType():
            return f"p{type_.addrspace}"
    raise TypeError(f"no intrinsic is overloaded on {type_}")


def intrinsic(
    builder: ir.IRBuilder,
    name: str,
    args: Sequence[ir.Value],
    result: ir.Type | None = None,
    overload: Sequence[ir.Type] | None = None,
) -> ir.Value:
    """Call `name` (as `llvm.sqrt`), declared once per module with its overload suffix.

    The result has the first argument's type, and the suffix names that type, unless stated.
    """
    types = [arg.type for arg in args]
    result = types[0] if result is None else result
    full = ".".join([name, *map(suffix, types[:1] if overload is None else overload)])
    declared: Any = builder.module.globals.get(full)
    if declared is None:
        declared = ir.Function(builder.module, ir.FunctionType(result, types), full)
    return builder.call(declared, list(args))


def ask_for(builder: ir.IRBuilder, place: ir.Value, level: int, write: bool = False) -> None:
    """Ask for the line at `place` to be brought to a level of the cache; any address will do."""
    i32 = ir.IntType(32)
    how = [constant(i32, n) for n in (int(write), 4 - level, 1)]  # 1: data, not code
    intrinsic(builder, "llvm.prefetch", [place, *how], ir.VoidType())


def times_power_of_two(builder: ir.IRBuilder, x: ir.Value, n: ir.Value) -> ir.Value | None:
    """x·2^n rounded once, n integers as floats: AVX-512's instruction, of a full register of any
    length; None where the target has none."""
    return _avx512(builder, "scalef", x, [x, n, x])


def exponent_and_mantissa(builder: ir.IRBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value] | None:
    """(n, m) with |x| = 2^n·|m|, 1 ≤ |m| < 2, for x finite and not 0; None as above."""
    exponent = _avx512(builder, "getexp", x, [x, x])
    # the interval from 1 to 2, the sign of x
    mantissa = _avx512(builder, "getmant", x, [x, constant(ir.IntType(32), 0), x])
    return None if exponent is None or mantissa is None else (exponent, mantissa)


def replaced(builder: ir.IRBuilder, result: ir.Value, x: ir.Value, table: int) -> ir.Value | None:
    """`result`, but where x is NaN, 0, infinite or negative what a table says, of four bits for
    each kind of number (VFIXUPIMM in Intel's manual); None as above."""
    bits = 32 if isinstance(element_of(x.type), ir.FloatType) else 64
    kinds = constant(vector(ir.IntType(bits), width_of(x.type)), table)
    return _avx512(builder, "fixupimm", x, [result, x, kinds, constant(ir.IntType(32), 0)])


def _avx512(
    builder: ir.IRBuilder, name: str, x: ir.Value, args: Sequence[ir.Value]
) -> ir.Value | None:
    """An instruction on all lanes of a full register of any length, in the type of `x`."""
    scales = getattr(builder.module, "scales_by_powers", False)
    width = width_of(x.type)
    bits = 32 if isinstance(element_of(x.type), ir.FloatType) else 64
    if not scales or width * bits not in (128, 256, 512):
        return None
    every = [*args, constant(ir.IntType(max(8, width)), 2**width - 1)]
    if width * bits == 512:
        every.append(constant(ir.IntType(32), 4))  # round as the control register says
    full = f"llvm.x86.avx512.mask.{name}.{'ps' if bits == 32 else 'pd'}.{width * bits}"
    return intrinsic(builder, full, every, overload=[])


def any_lane(builder: ir.IRBuilder, mask: ir.Value) -> ir.Value:
    """An `i1`: whether a lane of the mask is set."""
    if width_of(mask.type) == 1:
        return mask
    return intrinsic(builder, "llvm.vector.reduce.or", [mask], result=ir.IntType(1))


def gather(builder: ir.IRBuilder, table: ir.GlobalVariable, index: ir.Value) -> ir.Value:
    """`table[index]` lane by lane; `table` is a global array, `index` an integer in range."""
    width = width_of(index.type)
    scalar = table.value_type.element
    if width == 1:
        return builder.load(builder.gep(table, [index], source_etype=scalar), typ=scalar)
    pointers = builder.gep(table, [index], source_etype=scalar)
    lane = vector(scalar, width)
    full = constant(vector(ir.IntType(1), width), 1)
    args = [pointers, full, constant(lane, 0)]
    overload = [lane, pointers.type]
    return intrinsic(builder, "llvm.masked.gather", args, result=lane, overload=overload)
