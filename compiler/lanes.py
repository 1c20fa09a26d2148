"""Numbers in SIMD lanes, with operators: what the formulas of the mathematical library act on.

In: LLVM values wrapped as `Real` (f32 or f64), `Integer` (two's complement) or `Mask` (i1), of any
width. Out: the same; each operator emits one instruction. Python numbers become splat constants,
rounded to the lane's type. Comparisons of reals are ordered: false on NaN. Nothing is reassociated
or contracted, so every width and every target computes the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from . import ir
from .llvm_vector import (
    any_lane,
    constant,
    element_of,
    exponent_and_mantissa,
    factor,
    gather,
    intrinsic,
    replaced,
    times_power_of_two,
    vector,
    width_of,
)
from .records import dataclass


@dataclass(frozen=True, eq=False)
class Mask:
    """A truth value per lane."""

    builder: ir.IRBuilder
    value: ir.Value

    def __and__(self, other: Mask) -> Mask:
        return Mask(self.builder, self.builder.and_(self.value, other.value))

    def __or__(self, other: Mask) -> Mask:
        return Mask(self.builder, self.builder.or_(self.value, other.value))

    def __xor__(self, other: Mask) -> Mask:
        return Mask(self.builder, self.builder.xor(self.value, other.value))

    def __invert__(self) -> Mask:
        return Mask(self.builder, self.builder.not_(self.value))


@dataclass(frozen=True, eq=False)
class Integer:
    """An integer per lane; shifts right keep the sign unless `logical` is asked for."""

    builder: ir.IRBuilder
    value: ir.Value

    def of(self, value: int) -> Integer:
        """A constant of this type."""
        return Integer(self.builder, constant(self.value.type, value))

    def _lift(self, other: Integer | int) -> ir.Value:
        return other.value if isinstance(other, Integer) else constant(self.value.type, other)

    def __add__(self, other: Integer | int) -> Integer:
        return Integer(self.builder, self.builder.add(self.value, self._lift(other)))

    def __sub__(self, other: Integer | int) -> Integer:
        return Integer(self.builder, self.builder.sub(self.value, self._lift(other)))

    def __rsub__(self, other: int) -> Integer:
        return Integer(self.builder, self.builder.sub(self._lift(other), self.value))

    def __mul__(self, other: Integer | int) -> Integer:
        return Integer(self.builder, self.builder.mul(self.value, self._lift(other)))

    def __and__(self, other: Integer | int) -> Integer:
        return Integer(self.builder, self.builder.and_(self.value, self._lift(other)))

    def __or__(self, other: Integer | int) -> Integer:
        return Integer(self.builder, self.builder.or_(self.value, self._lift(other)))

    def __xor__(self, other: Integer | int) -> Integer:
        return Integer(self.builder, self.builder.xor(self.value, self._lift(other)))

    def __lshift__(self, other: Integer | int) -> Integer:
        return Integer(self.builder, self.builder.shl(self.value, self._lift(other)))

    def __rshift__(self, other: Integer | int) -> Integer:
        return Integer(self.builder, self.builder.ashr(self.value, self._lift(other)))

    def logical_shift_right(self, other: Integer | int) -> Integer:
        return Integer(self.builder, self.builder.lshr(self.value, self._lift(other)))

    def compare(self, relation: str, other: Integer | int) -> Mask:
        """Signed: `relation` is one of < <= == != >= >."""
        value = self.builder.icmp_signed(relation, self.value, self._lift(other))
        return Mask(self.builder, value)

    def at_least(self, low: int) -> Integer:
        return choose(self.compare("<", low), self.of(low), self)

    def widened(self, bits: int) -> Integer:
        """Zero-extended to `bits`; unchanged if it has them."""
        if element_of(self.value.type).width == bits:
            return self
        wide = vector(ir.IntType(bits), width_of(self.value.type))
        return Integer(self.builder, self.builder.zext(self.value, wide))

    def narrowed(self, bits: int) -> Integer:
        """The low `bits`; unchanged if it has no more."""
        if element_of(self.value.type).width == bits:
            return self
        narrow = vector(ir.IntType(bits), width_of(self.value.type))
        return Integer(self.builder, self.builder.trunc(self.value, narrow))

    def to_real(self) -> Real:
        """The nearest real of as many bits."""
        value = self.builder.sitofp(self.value, _real_type(self.value.type))
        return Real(self.builder, value)

    def bits_as_real(self) -> Real:
        value = self.builder.bitcast(self.value, _real_type(self.value.type))
        return Real(self.builder, value)

    def lookup(self, table: ir.GlobalVariable) -> Integer:
        """`table[self]`; every lane must be in range."""
        return Integer(self.builder, gather(self.builder, table, self.value))


@dataclass(frozen=True, eq=False)
class Real:
    """An f32 or f64 per lane."""

    builder: ir.IRBuilder
    value: ir.Value

    @property
    def bits(self) -> int:
        """32 or 64."""
        return 32 if isinstance(element_of(self.value.type), ir.FloatType) else 64

    @property
    def mantissa(self) -> int:
        """The number of stored mantissa bits."""
        return {32: 23, 64: 52}[self.bits]

    @property
    def bias(self) -> int:
        return {32: 127, 64: 1023}[self.bits]

    def of(self, value: float) -> Real:
        """A constant of this type."""
        return Real(self.builder, constant(self.value.type, value))

    def words(self, table: Mapping[int, tuple[float, ...]]) -> tuple[float, ...]:
        """The row of a table of constants for this precision."""
        return table[self.bits]

    def either(self, single: float, double: float) -> float:
        """The constant for this precision."""
        return single if self.bits == 32 else double

    def _lift(self, other: Real | float) -> ir.Value:
        return other.value if isinstance(other, Real) else constant(self.value.type, other)

    def _factor(self, other: Real | float) -> ir.Value:
        """The same for what is fused."""
        if isinstance(other, Real):
            return other.value
        return factor(self.builder, self.value.type, other)

    def __add__(self, other: Real | float) -> Real:
        return Real(self.builder, self.builder.fadd(self.value, self._lift(other)))

    def __radd__(self, other: float) -> Real:
        return Real(self.builder, self.builder.fadd(self._lift(other), self.value))

    def __sub__(self, other: Real | float) -> Real:
        return Real(self.builder, self.builder.fsub(self.value, self._lift(other)))

    def __rsub__(self, other: float) -> Real:
        return Real(self.builder, self.builder.fsub(self._lift(other), self.value))

    def __mul__(self, other: Real | float) -> Real:
        return Real(self.builder, self.builder.fmul(self.value, self._lift(other)))

    def __rmul__(self, other: float) -> Real:
        return self * other

    def __truediv__(self, other: Real | float) -> Real:
        return Real(self.builder, self.builder.fdiv(self.value, self._lift(other)))

    def __rtruediv__(self, other: float) -> Real:
        return Real(self.builder, self.builder.fdiv(self._lift(other), self.value))

    def __neg__(self) -> Real:
        return Real(self.builder, self.builder.fneg(self.value))

    def __lt__(self, other: Real | float) -> Mask:
        return self.compare("<", other)

    def __le__(self, other: Real | float) -> Mask:
        return self.compare("<=", other)

    def __gt__(self, other: Real | float) -> Mask:
        return self.compare(">", other)

    def __ge__(self, other: Real | float) -> Mask:
        return self.compare(">=", other)

    def compare(self, relation: str, other: Real | float) -> Mask:
        """Ordered: `relation` is one of < <= == != >= >; false on NaN."""
        value = self.builder.fcmp_ordered(relation, self.value, self._lift(other))
        return Mask(self.builder, value)

    def equals(self, other: Real | float) -> Mask:
        return self.compare("==", other)

    def is_nan(self) -> Mask:
        return Mask(self.builder, self.builder.fcmp_unordered("uno", self.value, self.value))

    def times_plus(self, factor: Real | float, term: Real | float) -> Real:
        """self·factor + term, rounded once."""
        args = [self.value, self._factor(factor), self._factor(term)]
        return Real(self.builder, intrinsic(self.builder, "llvm.fma", args))

    def absolute(self) -> Real:
        return self._call("llvm.fabs")

    def square_root(self) -> Real:
        return self._call("llvm.sqrt")

    def nearest(self) -> Real:
        """The nearest integer, halves to even."""
        return self._call("llvm.rint")

    def floor(self) -> Real:
        return self._call("llvm.floor")

    def truncated(self) -> Real:
        return self._call("llvm.trunc")

    def with_sign_of(self, other: Real) -> Real:
        args = [self.value, other.value]
        return Real(self.builder, intrinsic(self.builder, "llvm.copysign", args))

    def times_power_of_two(self, n: Real) -> Real | None:
        """self·2^n rounded once, n an integer, if the target has an instruction for it."""
        value = times_power_of_two(self.builder, self.value, n.value)
        return None if value is None else Real(self.builder, value)

    def exponent_and_mantissa(self) -> tuple[Real, Real] | None:
        """(n, m) with self = 2^n·m, 1 ≤ |m| < 2, for self finite and not 0, if the target has
        instructions for it."""
        parts = exponent_and_mantissa(self.builder, self.value)
        return (
            None if parts is None else (Real(self.builder, parts[0]), Real(self.builder, parts[1]))
        )

    def replaced(self, x: Real, table: int) -> Real | None:
        """self, but where x is NaN, 0, infinite or negative what the table says
        (`llvm_vector.replaced`), if the target has an instruction for it."""
        value = replaced(self.builder, self.value, x.value, table)
        return None if value is None else Real(self.builder, value)

    def _call(self, name: str) -> Real:
        return Real(self.builder, intrinsic(self.builder, name, [self.value]))

    def clamped(self, low: float, high: float) -> Real:
        """Into [low, high]; NaN stays."""
        below = choose(self < low, self.of(low), self)
        return choose(below > high, self.of(high), below)

    def polynomial(self, table: Mapping[int, tuple[float, ...]]) -> Real:
        """Horner's scheme with fused steps; the table holds the constant term first."""
        *lower, last = table[self.bits]
        result = self.of(last)
        for coefficient in reversed(lower):
            result = result.times_plus(self, coefficient)
        return result

    def polynomial_by_halves(self, square: Real, table: Mapping[int, tuple[float, ...]]) -> Real:
        """even(self²) + self·odd(self²): as many steps as Horner's scheme, half of them at once."""
        coefficients = table[self.bits]
        even = square.polynomial({self.bits: coefficients[::2]})
        odd = square.polynomial({self.bits: coefficients[1::2]})
        return odd.times_plus(self, even)

    def as_bits(self) -> Integer:
        type_ = vector(ir.IntType(self.bits), width_of(self.value.type))
        return Integer(self.builder, self.builder.bitcast(self.value, type_))

    def converted(self, bits: int) -> Real:
        """To f32 or f64, rounding to nearest."""
        if bits == self.bits:
            return self
        if bits == 64:
            wide = vector(ir.DoubleType(), width_of(self.value.type))
            return Real(self.builder, self.builder.fpext(self.value, wide))
        narrow = vector(ir.FloatType(), width_of(self.value.type))
        return Real(self.builder, self.builder.fptrunc(self.value, narrow))


def _real_type(integer: ir.Type) -> ir.Type:
    element = ir.FloatType() if element_of(integer).width == 32 else ir.DoubleType()
    return vector(element, width_of(integer))


Lane = TypeVar("Lane", Real, Integer)


def choose(mask: Mask, yes: Lane, no: Lane) -> Lane:
    """`yes` where the mask is set, else `no`."""
    value = mask.builder.select(mask.value, yes.value, no.value)
    return type(yes)(mask.builder, value)


Lanes = Real | Integer


def rarely(
    name: str,
    needed: Mask,
    usual: Sequence[Lanes],
    args: Sequence[Real],
    body: Callable[..., Sequence[Lanes]],
) -> tuple[Lanes, ...]:
    """`body(*args)` in the lanes where `needed` is set, `usual` in the others.

    The body runs only if some lane needs it. The branch stands in a function of its own that is
    always inlined, so the caller's builder stays in its block; `name` and the types identify it.
    """
    builder = needed.builder
    types = [x.value.type for x in usual]
    inputs = [needed.value, *(x.value for x in usual), *(x.value for x in args)]
    full = f"tdsl_{name}_{args[0].bits}x{width_of(types[0])}"
    function = builder.module.globals.get(full)
    if function is None:
        result = ir.LiteralStructType(types)
        signature = ir.FunctionType(result, [x.type for x in inputs])
        function = ir.Function(builder.module, signature, full)
        function.linkage = "internal"
        function.attributes.add("alwaysinline")
        inner = ir.IRBuilder(function.append_basic_block("entry"))
        work, done = map(function.append_basic_block, ("work", "done"))
        mask, *rest = function.args
        inner.cbranch(any_lane(inner, mask), work, done)
        entry = inner.block
        inner.position_at_end(work)
        computed = body(*(Real(inner, x) for x in rest[len(types) :]))
        values = [
            inner.select(mask, new.value, old) for new, old in zip(computed, rest, strict=False)
        ]
        inner.branch(done)
        last = inner.block
        inner.position_at_end(done)
        packed: ir.Value = ir.Constant(result, ir.Undefined)
        for i, (old, new) in enumerate(zip(rest, values, strict=False)):
            phi = inner.phi(types[i])
            phi.add_incoming(old, entry)
            phi.add_incoming(new, last)
            values[i] = phi
        for i, value in enumerate(values):
            packed = inner.insert_value(packed, value, i)
        inner.ret(packed)
    call = builder.call(function, inputs)
    return tuple(type(old)(builder, builder.extract_value(call, i)) for i, old in enumerate(usual))
