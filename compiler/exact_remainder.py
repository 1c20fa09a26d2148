"""The floating-point remainder in integer arithmetic, for machines that have no exact one.

In: a module with `frem` instructions. Out: the same with calls of a function of its own. NVPTX
selects `x - trunc(x / y) * y` for `frem`, which is wrong wherever the quotient is rounded up to an
integer or has more bits than a float.

With |x| = a·2^p and |y| = b·2^q, where a and b are integers and p >= q, the remainder is
(a·2^(p-q) mod b)·2^q: the power of two is taken in as many bits at a time as 64-bit integers
allow. It is exact, so that every machine has the same bits.
"""

from __future__ import annotations

from . import ir
from .instructions import DOUBLE, FLOAT, I64
from .llvm_vector import constant, intrinsic
from .records import dataclass


@dataclass(frozen=True)
class _Format:
    """A binary format: `fraction` stored bits of the significand, and the exponent's bias."""

    type: ir.Type
    bits: int
    fraction: int
    bias: int

    @property
    def infinity(self) -> int:
        return (2 * self.bias + 1) << self.fraction


_FORMATS = (_Format(FLOAT, 32, 23, 127), _Format(DOUBLE, 64, 52, 1023))


def replace_remainders(module: ir.Module) -> None:
    """Every scalar `frem` becomes a call. Raises TypeError for a `frem` of another type."""
    for function in list(module.functions):
        for block in function.blocks:
            for k, i in enumerate(block.instructions):
                if isinstance(i, ir.Remainder):
                    call = ir.call_text(_remainder(module, i.type), i.operands)
                    block.instructions[k] = f"{i.ref} = {call}"


def _remainder(module: ir.Module, t: ir.Type) -> ir.Function:
    form = next((f for f in _FORMATS if f.type == t), None)
    if form is None:
        raise TypeError(f"no remainder of {t}")
    name = f"exact_remainder_{form.bits}"
    found: ir.Function | None = module.globals.get(name)
    if found is not None:
        return found
    function = ir.Function(module, ir.FunctionType(t, [t, t]), name)
    function.linkage = "internal"
    _body(function, form)
    return function


def _body(function: ir.Function, form: _Format) -> None:
    x, y = function.args
    b = ir.IRBuilder(function.append_basic_block("entry"))
    special, plain, loop, done = map(
        function.append_basic_block, ("special", "plain", "loop", "done")
    )
    size_x, size_y = _size(b, x, form), _size(b, y, form)
    # y = 0, or x infinite, or either NaN: there is no remainder
    none = b.icmp_unsigned("==", size_y, I64(0))
    none = b.or_(none, b.icmp_unsigned(">=", size_x, I64(form.infinity)))
    none = b.or_(none, b.icmp_unsigned(">", size_y, I64(form.infinity)))
    below = b.icmp_unsigned("<", size_x, size_y)  # y may be infinite
    b.cbranch(b.or_(none, below), special, plain)

    b.position_at_end(special)
    b.ret(b.select(none, constant(x.type, float("nan")), x))

    b.position_at_end(plain)
    a, p = _significand(b, size_x, form)
    divisor, q = _significand(b, size_y, form)
    first, distance = b.urem(a, divisor), b.sub(p, q)
    b.cbranch(b.icmp_unsigned(">", distance, I64(0)), loop, done)

    b.position_at_end(loop)
    rest, left = b.phi(I64), b.phi(I64)
    shift = intrinsic(b, "llvm.umin", [left, I64(64 - form.fraction - 1)])
    further, fewer = b.urem(b.shl(rest, shift), divisor), b.sub(left, shift)
    for phi, start, later in ((rest, first, further), (left, distance, fewer)):
        phi.add_incoming(start, plain)
        phi.add_incoming(later, loop)
    b.cbranch(b.icmp_unsigned(">", fewer, I64(0)), loop, done)

    b.position_at_end(done)
    out = b.phi(I64)
    out.add_incoming(first, plain)
    out.add_incoming(further, loop)
    # r·2^q in two exact steps: 2^(q - fraction) itself may be subnormal
    scaled = b.fmul(b.uitofp(out, x.type), constant(x.type, 2.0**-form.fraction))
    exponent = b.shl(q, I64(form.fraction))
    if form.bits < 64:
        exponent = b.trunc(exponent, ir.IntType(form.bits))
    scaled = b.fmul(scaled, b.bitcast(exponent, x.type))
    b.ret(intrinsic(b, "llvm.copysign", [scaled, x]))


def _size(b: ir.IRBuilder, x: ir.Value, form: _Format) -> ir.Value:
    """The bits of |x|, which are ordered as the values are, as an i64."""
    bits = b.bitcast(intrinsic(b, "llvm.fabs", [x]), ir.IntType(form.bits))
    return b.zext(bits, I64) if form.bits < 64 else bits


def _significand(b: ir.IRBuilder, size: ir.Value, form: _Format) -> tuple[ir.Value, ir.Value]:
    """The integer significand, and the exponent's field (1 for a subnormal, which has no hidden
    bit)."""
    field = b.lshr(size, I64(form.fraction))
    fraction = b.and_(size, I64((1 << form.fraction) - 1))
    normal = b.icmp_unsigned(">", field, I64(0))
    hidden = b.or_(fraction, I64(1 << form.fraction))
    return b.select(normal, hidden, fraction), b.select(normal, field, I64(1))
