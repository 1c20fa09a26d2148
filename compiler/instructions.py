"""Primitives as LLVM instructions: one scalar or vector operation at a time.

In: operands in registers. Out: the value in a register. f16 and bf16 are held as f32 whose value
their type can represent (every operation rounds), bool as i1; `memory_type` says what stands in
memory. Left to others: addresses and masks (`emit`), polynomials (`mathlib`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from . import ir, mathlib
from .dtypes import BF16, F16, F32, F64, DType
from .fixed_exponents import LARGEST
from .llvm_vector import constant, element_of, intrinsic, suffix, vector, width_of
from .primitives import PRIMITIVES

I1, I8, I16, I32, I64 = (ir.IntType(n) for n in (1, 8, 16, 32, 64))
HALF, FLOAT, DOUBLE = ir.HalfType(), ir.FloatType(), ir.DoubleType()


def register_type(d: DType, width: int = 1) -> ir.Type:
    """How a value of `d` is held while it is computed with."""
    if d.is_bool:
        return vector(I1, width)
    if d.is_float:
        return vector(DOUBLE if d.bits == 64 or d.is_weak else FLOAT, width)
    return vector(ir.IntType(64 if d.is_weak else d.bits), width)


def memory_type(d: DType, width: int = 1) -> ir.Type:
    """How it stands in memory."""
    if d is F16:
        return vector(HALF, width)
    if d is BF16:
        return vector(I16, width)
    return vector(I8, width) if d.is_bool else register_type(d, width)


def from_memory(b: ir.IRBuilder, x: ir.Value, d: DType) -> ir.Value:
    width = width_of(x.type)
    if d.is_bool:
        return b.icmp_unsigned("!=", x, constant(x.type, 0))
    if d is F16:
        return b.fpext(x, vector(FLOAT, width))
    if d is BF16:
        bits = b.shl(b.zext(x, vector(I32, width)), constant(vector(I32, width), 16))
        return b.bitcast(bits, vector(FLOAT, width))
    return x


def to_memory(b: ir.IRBuilder, x: ir.Value, d: DType) -> ir.Value:
    width = width_of(x.type)
    if d.is_bool:
        return b.zext(x, vector(I8, width))
    if d is F16:
        return b.fptrunc(x, vector(HALF, width))
    if d is BF16:
        bits = b.bitcast(x, vector(I32, width))
        return b.trunc(b.lshr(bits, constant(bits.type, 16)), vector(I16, width))
    return x


def rounded(b: ir.IRBuilder, x: ir.Value, d: DType) -> ir.Value:
    """An f32 (or f64, for f16) result as the nearest value of a narrower float type."""
    width = width_of(x.type)
    if d is F16:
        return b.fpext(b.fptrunc(x, vector(HALF, width)), vector(FLOAT, width))
    if d is BF16:
        # to nearest, ties to even; a NaN keeps its upper bits and is made quiet
        bits = b.bitcast(x, vector(I32, width))
        odd = b.and_(b.lshr(bits, constant(bits.type, 16)), constant(bits.type, 1))
        up = b.add(bits, b.add(odd, constant(bits.type, 0x7FFF)))
        nan = b.fcmp_unordered("uno", x, x)
        bits = b.select(nan, b.or_(bits, constant(bits.type, 0x400000)), up)
        bits = b.and_(bits, constant(bits.type, -0x10000))
        return b.bitcast(bits, vector(FLOAT, width))
    return x


# --------------------------------------------------------------------------- primitives


def apply(
    b: ir.IRBuilder,
    name: str,
    args: Sequence[ir.Value],
    of: DType,
    to: DType,
    literal: int | float | None = None,
) -> ir.Value:
    """The primitive `name` at operands of dtype `of` (for `where`: of the branches), with a result
    of dtype `to`. All operands have one width; the test of a `where` may be a scalar. `literal`
    is the last operand's value where that is a literal."""
    kind = PRIMITIVES[name].emit
    match kind:
        case "identity":
            return args[0]
        case "select":
            return b.select(*args)
        case "cast":
            return cast(b, args[0], of, to)
        case "math":
            if of.is_float:
                return rounded(b, _math(b, name, args, literal), to)
            return _integer_power(b, args[0], args[1], of, literal)
        case "logic":
            return b.not_(args[0]) if name == "not" else _call(b, name + "_", args)
        case "compare":
            return _compare(b, name, args, of)
        case "bits":
            return b.not_(args[0]) if len(args) == 1 else _call(b, _BITS[name], args)
        case "shift":
            return _shift(b, name, args[0], args[1], of)
    if of.is_float:
        return rounded(b, _float(b, kind, name, args), to)
    if of.is_bool:  # min, max
        return b.or_(*args) if name == "max" else b.and_(*args)
    return _integer(b, kind, args, of.kind == "u", literal)


def _call(b: ir.IRBuilder, method: str, args: Sequence[ir.Value]) -> ir.Value:
    made: Callable[..., ir.Value] = getattr(b, method)
    return made(*args)


def _math(
    b: ir.IRBuilder, name: str, args: Sequence[ir.Value], literal: int | float | None
) -> ir.Value:
    if name == "pow" and literal is not None:
        return mathlib.emit_power(b, args[0], literal)
    return mathlib.emit(name, b, args)


_BITS = {"bitwise_and": "and_", "bitwise_or": "or_", "bitwise_xor": "xor"}


def _shift(b: ir.IRBuilder, name: str, x: ir.Value, count: ir.Value, of: DType) -> ir.Value:
    """A count outside the width, which LLVM leaves undefined, shifts every bit out. What is shifted
    becomes 0 then, not the result: from `count < 64 ? x << count : 0` LLVM 22 makes one PTX shift
    by the count's lower 32 bits."""
    last = constant(x.type, element_of(x.type).width - 1)
    inside = intrinsic(b, "llvm.umin", [count, last])
    if name == "bitwise_right_shift" and of.kind == "i":
        return b.ashr(x, inside)
    kept = b.select(b.icmp_unsigned("<=", count, last), x, constant(x.type, 0))
    return b.shl(kept, inside) if name == "bitwise_left_shift" else b.lshr(kept, inside)


_ORDER = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}


def _compare(b: ir.IRBuilder, name: str, args: Sequence[ir.Value], of: DType) -> ir.Value:
    if of.is_float:
        # every comparison with a NaN is false, but `!=`
        compare = b.fcmp_unordered if name == "ne" else b.fcmp_ordered
        return compare(_ORDER[name], *args)
    compare = b.icmp_signed if of.kind == "i" else b.icmp_unsigned
    return compare(_ORDER[name], *args)


def _float(b: ir.IRBuilder, kind: str, name: str, args: Sequence[ir.Value]) -> ir.Value:
    x = args[0]
    t = x.type
    match kind:
        case "abs":
            return intrinsic(b, "llvm.fabs", [x])
        case "sign":
            one = b.select(b.fcmp_ordered("<", x, constant(t, 0)), constant(t, -1), x)
            one = b.select(b.fcmp_ordered(">", x, constant(t, 0)), constant(t, 1), one)
            return b.select(b.fcmp_ordered("==", x, constant(t, 0)), constant(t, 0), one)
        case "min" | "max":
            keep = b.fcmp_ordered(">=" if kind == "max" else "<=", x, args[1])
            return b.select(b.or_(keep, b.fcmp_unordered("uno", x, x)), x, args[1])
        case "isnan":
            return b.fcmp_unordered("uno", x, x)
        case "isinf" | "isfinite":
            size = intrinsic(b, "llvm.fabs", [x])
            infinity = constant(t, float("inf"))
            return b.fcmp_ordered("==" if kind == "isinf" else "<", size, infinity)
        case "absorb":
            zero = b.fcmp_ordered("==", x, constant(t, 0))
            return b.select(zero, constant(t, 0), b.fmul(x, args[1]))
        case "floordiv":
            return _float_floordiv(b, x, args[1])
        case "mod":
            return _float_mod(b, x, args[1])
        case _ if kind.startswith("llvm."):
            return intrinsic(b, kind, args)
        case _:
            return _call(b, kind.split("/")[0], args)


def _opposite_signs(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    zero = constant(x.type, 0)
    return b.xor(b.fcmp_ordered("<", x, zero), b.fcmp_ordered("<", y, zero))


def _float_mod(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The remainder with the divisor's sign; NaN for a divisor of 0 (as NumPy and Python)."""
    zero = constant(x.type, 0)
    rem = b.frem(x, y)
    other = b.and_(_opposite_signs(b, rem, y), b.fcmp_unordered("!=", rem, zero))
    signed_zero = intrinsic(b, "llvm.copysign", [zero, y])
    out = b.select(other, b.fadd(rem, y), rem)
    return b.select(b.fcmp_ordered("==", rem, zero), signed_zero, out)


def _float_floordiv(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """floor(x / y) of the exact quotient, by way of the remainder (NumPy's algorithm)."""
    zero = constant(x.type, 0)
    rem = b.frem(x, y)
    quotient = b.fdiv(b.fsub(x, rem), y)
    other = b.and_(_opposite_signs(b, rem, y), b.fcmp_unordered("!=", rem, zero))
    quotient = b.select(other, b.fsub(quotient, constant(x.type, 1)), quotient)
    down = intrinsic(b, "llvm.floor", [quotient])
    short = b.fcmp_ordered(">", b.fsub(quotient, down), constant(x.type, 0.5))
    down = b.select(short, b.fadd(down, constant(x.type, 1)), down)
    plain = b.fdiv(x, y)
    none = b.fcmp_ordered("==", quotient, zero)
    down = b.select(none, intrinsic(b, "llvm.copysign", [zero, plain]), down)
    return b.select(b.fcmp_ordered("==", y, zero), plain, down)


def _integer(
    b: ir.IRBuilder,
    kind: str,
    args: Sequence[ir.Value],
    unsigned: bool,
    literal: int | float | None,
) -> ir.Value:
    x = args[0]
    t = x.type
    zero = constant(t, 0)
    match kind:
        case "abs":
            no_poison = ir.Constant(I1, 0)
            return x if unsigned else intrinsic(b, "llvm.abs", [x, no_poison], overload=[t])
        case "sign":
            up = b.zext(b.icmp_unsigned("!=", x, zero), t)
            return up if unsigned else b.select(b.icmp_signed("<", x, zero), constant(t, -1), up)
        case "min" | "max":
            return intrinsic(b, f"llvm.{'u' if unsigned else 's'}{kind}", args)
        case "absorb":
            return b.mul(*args)
        case "floordiv" | "mod":
            return _integer_division(b, kind, x, args[1], unsigned, literal)
        case _:
            return _call(b, kind.split("/")[1], args)


def _integer_division(
    b: ir.IRBuilder,
    kind: str,
    x: ir.Value,
    y: ir.Value,
    unsigned: bool,
    literal: int | float | None,
) -> ir.Value:
    """Floor division, and the remainder with the divisor's sign; by 0 both are 0, and the least
    integer divided by -1 wraps: nothing traps."""
    t = x.type
    zero, one = constant(t, 0), constant(t, 1)
    floor = kind == "floordiv"
    if literal is not None and literal > 0 and int(literal) & (int(literal) - 1) == 0:
        if not floor:
            return b.and_(x, constant(t, int(literal) - 1))
        shift = constant(t, int(literal).bit_length() - 1)
        return b.lshr(x, shift) if unsigned else b.ashr(x, shift)
    none = b.icmp_unsigned("==", y, zero)
    if unsigned:
        safe = b.select(none, one, y)
        out = b.udiv(x, safe) if floor else b.urem(x, safe)
        return b.select(none, zero, out)
    minus = b.icmp_signed("==", y, constant(t, -1))
    safe = y if literal is not None and literal > 0 else b.select(b.or_(none, minus), one, y)
    quotient = b.sdiv(x, safe)
    rem = b.sub(x, b.mul(quotient, safe))
    signs = b.icmp_signed("<", b.xor(rem, safe), zero)
    other = b.and_(signs, b.icmp_signed("!=", rem, zero))
    if floor:
        out = b.select(other, b.sub(quotient, one), quotient)
        if safe is y:
            return out
        return b.select(none, zero, b.select(minus, b.neg(x), out))
    out = b.select(other, b.add(rem, safe), rem)
    return out if safe is y else b.select(b.or_(none, minus), zero, out)


def _integer_power(
    b: ir.IRBuilder, x: ir.Value, y: ir.Value, of: DType, literal: int | float | None
) -> ir.Value:
    """Wrapping; a negative exponent truncates towards 0 (1 and -1 are their own powers)."""
    t = x.type
    if literal is not None and 1 <= literal <= LARGEST:
        out = x
        for bit in f"{int(literal):b}"[1:]:
            out = b.mul(out, out)
            out = b.mul(out, x) if bit == "1" else out
        return out
    zero, one = constant(t, 0), constant(t, 1)
    out = b.call(_power_function(b.module, t), [x, y])
    if of.kind == "u":
        return out
    odd = b.icmp_unsigned("!=", b.and_(y, one), zero)
    minus = b.select(odd, constant(t, -1), one)
    unit = b.select(b.icmp_signed("==", x, constant(t, -1)), minus, zero)
    unit = b.select(b.icmp_signed("==", x, one), one, unit)
    return b.select(b.icmp_signed(">=", y, zero), out, unit)


def _power_function(module: ir.Module, t: ir.Type) -> ir.Function:
    """Repeated squaring over all bits of the exponent, taken as unsigned."""
    name = f"integer_power_{t}".translate(str.maketrans(" <>", "___"))
    found: ir.Function | None = module.globals.get(name)
    if found is not None:
        return found
    function = ir.Function(module, ir.FunctionType(t, [t, t]), name)
    function.linkage = "internal"
    x, y = function.args
    b = ir.IRBuilder(function.append_basic_block())
    loop, done = function.append_basic_block("loop"), function.append_basic_block("done")
    entry = b.block
    b.branch(loop)
    b.position_at_end(loop)
    base, exponent, out = b.phi(t), b.phi(t), b.phi(t)
    bit = b.icmp_unsigned("!=", b.and_(exponent, constant(t, 1)), constant(t, 0))
    further = b.select(bit, b.mul(out, base), out)
    square = b.mul(base, base)
    rest = b.lshr(exponent, constant(t, 1))
    for phi, first, later in (
        (base, x, square),
        (exponent, y, rest),
        (out, constant(t, 1), further),
    ):
        phi.add_incoming(first, entry)
        phi.add_incoming(later, loop)
    more = b.icmp_unsigned("!=", rest, constant(t, 0))
    if width_of(t) > 1:
        more = intrinsic(b, "llvm.vector.reduce.or", [more], result=I1)
    b.cbranch(more, loop, done)
    b.position_at_end(done)
    b.ret(further)
    return function


def cast(b: ir.IRBuilder, x: ir.Value, of: DType, to: DType) -> ir.Value:
    """As NumPy's `astype` for values in range; a float outside an integer's range goes to its
    nearest end, NaN to 0."""
    width = width_of(x.type)
    target = register_type(to, width)
    if to.is_bool:
        if of.is_float:
            return b.fcmp_unordered("!=", x, constant(x.type, 0))
        return x if of.is_bool else b.icmp_unsigned("!=", x, constant(x.type, 0))
    if of.is_float and to.is_float:
        if to.bits == 16 and x.type != vector(FLOAT, width):  # rounding twice is not rounding
            x = _rounded_to_odd(b, x)
        if x.type != target:
            x = b.fptrunc(x, target) if target == vector(FLOAT, width) else b.fpext(x, target)
        return rounded(b, x, to)
    if of.is_float:
        name = "llvm.fptoui.sat" if to.kind == "u" else "llvm.fptosi.sat"
        return intrinsic(b, name, [x], result=target, overload=[target, x.type])
    unsigned = of.is_bool or of.kind == "u"
    if to.is_float:
        exact = F64 if to.bits == 16 else to
        wide = register_type(exact, width)
        y = b.uitofp(x, wide) if unsigned else b.sitofp(x, wide)
        return y if exact is to else cast(b, y, exact, to)
    have, want = register_type(of), target if width == 1 else target.element
    if want.width < have.width:
        return b.trunc(x, target)
    if want.width > have.width:
        return b.zext(x, target) if unsigned else b.sext(x, target)
    return x


def _rounded_to_odd(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """f64 to f32 such that rounding again, to a narrower type, rounds the f64 once: towards 0, and
    an inexact result's last bit is set (Boldo and Melquiond 2008)."""
    width = width_of(x.type)
    y = b.fptrunc(x, vector(FLOAT, width))
    back = b.fpext(y, x.type)
    bits = b.bitcast(y, vector(I32, width))
    magnitude = [intrinsic(b, "llvm.fabs", [v]) for v in (back, x)]
    away = b.zext(b.fcmp_ordered(">", *magnitude), bits.type)
    inexact = b.zext(b.fcmp_ordered("!=", back, x), bits.type)
    return b.bitcast(b.or_(b.sub(bits, away), inexact), y.type)


# --------------------------------------------------------------------------- reductions


def identity(reducer: str, d: DType) -> float | int | bool:
    """The value that an accumulator starts with (the least value for max)."""
    match reducer:
        case "sum":
            return 0
        case "prod":
            return 1
        case "any":
            return False
        case "all":
            return True
    largest = reducer in ("max", "argmax")
    if d.is_float:
        return float("-inf") if largest else float("inf")
    if d.kind == "u" or d.is_bool:
        return 0 if largest else (1 << (1 if d.is_bool else d.bits)) - 1
    bits = 64 if d.is_weak else d.bits
    return -(1 << (bits - 1)) if largest else (1 << (bits - 1)) - 1


def combine(b: ir.IRBuilder, reducer: str, acc: ir.Value, x: ir.Value, d: DType) -> ir.Value:
    """One step of a reduction (not argmax). f16 and bf16 accumulate in f32."""
    wide = F32 if d.is_float and d.bits == 16 else d
    match reducer:
        case "sum":
            return b.fadd(acc, x) if d.is_float else b.add(acc, x)
        case "prod":
            return b.fmul(acc, x) if d.is_float else b.mul(acc, x)
        case "any":
            return b.or_(acc, x)
        case "all":
            return b.and_(acc, x)
        case _:
            return apply(b, reducer, [acc, x], wide, wide)


def reduce_lanes(b: ir.IRBuilder, reducer: str, x: ir.Value, d: DType) -> ir.Value | None:
    """All lanes combined by halves, where LLVM has that as one instruction."""
    element = x.type.element
    name = {"sum": "add", "prod": "mul", "any": "or", "all": "and"}.get(reducer)
    if name is None:
        return None
    if not d.is_float:
        return intrinsic(b, f"llvm.vector.reduce.{name}", [x], result=element)
    return _reduced_tree(b, f"f{name}", x, constant(element, identity(reducer, d)))


def sum_of_lanes(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    """Of floats, added up by halves."""
    return _reduced_tree(b, "fadd", x, constant(x.type.element, -0.0))


def _reduced_tree(b: ir.IRBuilder, name: str, x: ir.Value, start: ir.Value) -> ir.Value:
    element = x.type.element
    full = f"llvm.vector.reduce.{name}.{suffix(x.type)}"
    declared: Any = b.module.globals.get(full)
    if declared is None:
        declared = ir.Function(b.module, ir.FunctionType(element, [element, x.type]), full)
    return b.call(declared, [start, x], fastmath=("reassoc",))  # a tree; without it, one by one


def choose_position(
    b: ir.IRBuilder,
    reducer: str,
    best: tuple[ir.Value, ir.Value],
    other: tuple[ir.Value, ir.Value],
    d: DType,
) -> tuple[ir.Value, ir.Value]:
    """One step of argmax or argmin over (value, position): the greater value, a NaN before any
    number, and of equals the first."""
    (v, p), (x, q) = best, other
    greater = ">" if reducer == "argmax" else "<"
    earlier = b.icmp_signed("<", q, p)
    if d.is_float:
        beats = b.fcmp_ordered(greater, x, v)
        equal = b.fcmp_ordered("==", x, v)
        x_nan, v_nan = b.fcmp_unordered("uno", x, x), b.fcmp_unordered("uno", v, v)
        beats = b.or_(beats, b.and_(x_nan, b.not_(v_nan)))
        equal = b.or_(equal, b.and_(x_nan, v_nan))
    else:
        compare = b.icmp_signed if d.kind == "i" else b.icmp_unsigned
        beats, equal = compare(greater, x, v), compare("==", x, v)
    wins = b.or_(beats, b.and_(equal, earlier))
    return b.select(wins, x, v), b.select(wins, q, p)
