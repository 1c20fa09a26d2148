"""Element types and their promotion (PyTorch's table, with weak literals).

In: names and pairs of dtypes. Out: dtypes. How a dtype looks in LLVM or NumPy is said once, in
its row.
"""

from __future__ import annotations

from .records import dataclass


@dataclass(frozen=True)
class DType:
    """`kind`: `f`loat, `i`nteger (signed), `u`nsigned, `b`ool; `bits` below 2 marks a weak type.

    A *weak* type belongs to an expression made of literals, sizes and index values only: it takes
    the dtype of what it meets. `REAL` is the type of a scalar function's parameters, settled when
    the function is called.
    """

    name: str
    kind: str
    bits: int
    numpy: str

    def __str__(self) -> str:
        return self.name

    @property
    def is_float(self) -> bool:
        return self.kind == "f"

    @property
    def is_half(self) -> bool:
        """Whether it is a float of 16 bits."""
        return self.is_float and self.bits == 16

    @property
    def is_integer(self) -> bool:
        return self.kind in "iu"

    @property
    def is_bool(self) -> bool:
        return self.kind == "b"

    @property
    def is_weak(self) -> bool:
        return self.bits <= 1

    @property
    def size(self) -> int:
        """Bytes of one element in memory."""
        return max(1, self.bits // 8)


F16 = DType("f16", "f", 16, "float16")
BF16 = DType("bf16", "f", 16, "uint16")  # NumPy has no bfloat16: raw bits
F32 = DType("f32", "f", 32, "float32")
F64 = DType("f64", "f", 64, "float64")
I8 = DType("i8", "i", 8, "int8")
I16 = DType("i16", "i", 16, "int16")
I32 = DType("i32", "i", 32, "int32")
I64 = DType("i64", "i", 64, "int64")
U8 = DType("u8", "u", 8, "uint8")
BOOL = DType("bool", "b", 8, "bool")
WEAK_INT = DType("integer literal", "i", 0, "int64")
WEAK_FLOAT = DType("float literal", "f", 0, "float64")

REAL = DType("real", "f", 1, "float64")

STRONG = (F16, BF16, F32, F64, I8, I16, I32, I64, U8, BOOL)
BY_NAME = {d.name: d for d in STRONG}
DEFAULT_FLOAT = F32
DEFAULT_INT = I64

_RANK = {"b": 0, "u": 1, "i": 1, "f": 2}


def promote(a: DType, b: DType) -> DType:
    """The dtype of `a + b`: PyTorch's promotion table; a weak type gives way within its kind."""
    if a is b:
        return a
    if _RANK[a.kind] < _RANK[b.kind]:
        a, b = b, a  # a has the higher category
    if _RANK[a.kind] > _RANK[b.kind]:
        # a literal of a higher category lifts a strong operand to that category's default
        if a.is_weak and a is not REAL and not b.is_weak:
            return DEFAULT_FLOAT if a.is_float else DEFAULT_INT
        return a
    if a.is_weak and b.is_weak:
        return a if a.bits >= b.bits else b
    if a.is_weak or b.is_weak:
        return b if a.is_weak else a
    if a.is_float:
        return a if a.bits > b.bits else b if b.bits > a.bits else F32  # f16 with bf16
    if a.kind == b.kind:
        return a if a.bits >= b.bits else b
    signed, unsigned = (a, b) if a.kind == "i" else (b, a)
    return signed if signed.bits > unsigned.bits else I16  # i8 with u8


def default_of(d: DType) -> DType:
    """What a weak type becomes when nothing else decides."""
    if not d.is_weak:
        return d
    return DEFAULT_FLOAT if d.is_float else DEFAULT_INT
