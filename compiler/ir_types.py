"""LLVM's types, values and constants, as text.

In: what they are made of. Out: objects that know how LLVM writes them. A type is one object however
often it is asked for, so that types are the same if they are identical. Left to others: all that
computes (`ir`).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, TypeVar

# --------------------------------------------------------------------------- types


class Type:
    """`text` is how LLVM writes it; called with a value, it makes a constant. The other parts are
    those of some types only."""

    text: str
    width: int
    addrspace: int
    element: Any
    count: int

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<{self.text}>"

    def __call__(self, value: Any) -> Constant:
        return Constant(self, value)


T = TypeVar("T", bound=Type)
_types: dict[str, Any] = {}


def _one(cls: type[T], text: str, **parts: Any) -> T:
    """The type that is written so; of two threads that make it at once, one is first."""
    made = object.__new__(cls)
    made.text = text
    for name, x in parts.items():
        setattr(made, name, x)
    found: T = _types.setdefault(text, made)
    return found


class VoidType(Type):
    def __new__(cls) -> VoidType:
        return _types.get("void") or _one(cls, "void")


class LabelType(Type):
    def __new__(cls) -> LabelType:
        return _types.get("label") or _one(cls, "label")


class IntType(Type):
    def __new__(cls, width: int) -> IntType:
        return _types.get(f"i{width}") or _one(cls, f"i{width}", width=width)


class HalfType(Type):
    def __new__(cls) -> HalfType:
        return _types.get("half") or _one(cls, "half")


class FloatType(Type):
    def __new__(cls) -> FloatType:
        return _types.get("float") or _one(cls, "float")


class DoubleType(Type):
    def __new__(cls) -> DoubleType:
        return _types.get("double") or _one(cls, "double")


class PointerType(Type):
    def __new__(cls, addrspace: int = 0) -> PointerType:
        text = f"ptr addrspace({addrspace})" if addrspace else "ptr"
        return _types.get(text) or _one(cls, text, addrspace=addrspace)


class VectorType(Type):
    def __new__(cls, element: Type, count: int) -> VectorType:
        text = f"<{count} x {element.text}>"
        return _types.get(text) or _one(cls, text, element=element, count=count)


class ArrayType(Type):
    def __new__(cls, element: Type, count: int) -> ArrayType:
        text = f"[{count} x {element.text}]"
        return _types.get(text) or _one(cls, text, element=element, count=count)


class LiteralStructType(Type):
    elements: tuple[Any, ...]

    def __new__(cls, elements: Sequence[Type]) -> LiteralStructType:
        text = f"{{{', '.join([x.text for x in elements])}}}"
        return _types.get(text) or _one(cls, text, elements=tuple(elements))


class FunctionType(Type):
    return_type: Any
    args: tuple[Any, ...]
    var_arg: bool

    def __new__(
        cls, return_type: Type, args: Sequence[Type], var_arg: bool = False
    ) -> FunctionType:
        every = [x.text for x in args] + ["..."] * var_arg
        text = f"{return_type.text} ({', '.join(every)})"
        return _types.get(text) or _one(
            cls, text, return_type=return_type, args=tuple(args), var_arg=var_arg
        )


# --------------------------------------------------------------------------- values


class Value:
    """`ref` is how LLVM names it where it is used."""

    __slots__ = ("ref", "type")

    def __init__(self, type_: Any, ref: str) -> None:
        self.type = type_
        self.ref = ref


def typed(*values: Value) -> str:
    """Operands, each with its type."""
    return ", ".join([f"{x.type.text} {x.ref}" for x in values])


class _Undefined:
    """The value of a constant that is any."""


Undefined = _Undefined()


class Constant(Value):
    """`value` is a number, None for zeros or the null pointer, `Undefined`, or, for vectors and
    arrays, the elements."""

    __slots__ = ()

    def __init__(self, type_: Type, value: Any) -> None:
        super().__init__(type_, _written(type_, value))

    @classmethod
    def literal_struct(cls, elements: Sequence[Value]) -> Constant:
        text = f"{{{typed(*elements)}}}"
        return FormattedConstant(LiteralStructType([x.type for x in elements]), text)


class FormattedConstant(Constant):
    """A constant by its text."""

    __slots__ = ()

    def __init__(self, type_: Type, text: str) -> None:
        self.type = type_
        self.ref = text


def _written(t: Type, value: Any) -> str:
    if value is None:
        return "null" if isinstance(t, PointerType) else "zeroinitializer"
    if value is Undefined:
        return "undef"
    if isinstance(t, VectorType | ArrayType):
        items = typed(*(x if isinstance(x, Value) else Constant(t.element, x) for x in value))
        return f"<{items}>" if isinstance(t, VectorType) else f"[{items}]"
    return literal(t, value)


def literal(element: Type, value: float) -> str:
    """The exact text of a scalar constant. Floats are written as the bits of a double, which is
    LLVM's form for f32 as well; a value is rounded to f32 first (to infinity past its range)."""
    match element:
        case FloatType():
            try:
                value = struct.unpack("f", struct.pack("f", value))[0]
            except OverflowError:
                value = float("inf") if value > 0 else float("-inf")
        case DoubleType():
            pass
        case IntType():
            return str(int(value))
        case _:
            raise TypeError(f"no constants of type {element}")
    return f"0x{struct.unpack('Q', struct.pack('d', value))[0]:016X}"
