"""Scalar trees as expressions of the language.

In: a tree, and what tensors, indices, parameters and functions are called. Out: text that reads
back to the same tree, dtypes included: a literal's type is settled by what it meets, so a cast is
printed only where nothing in the text would say the dtype.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from . import scalar as sc
from .dtypes import WEAK_FLOAT, WEAK_INT, DType, default_of, promote
from .formula import CONSTANTS
from .graph import Node
from .ops import PRIMITIVES_BY_NAME
from .primitives import PRIMITIVES, Typing
from .records import dataclass, field
from .scalar import Scalar, ScalarFunction

_LANGUAGE_NAME = {primitive: name for name, primitive in reversed(PRIMITIVES_BY_NAME.items())}

_CONDITIONAL, _OR, _AND, _NOT, _COMPARE, _ADD, _MUL, _UNARY, _POW, _ATOM = range(10)
_LEVEL = {
    "or": _OR, "and": _AND, "lt": _COMPARE, "le": _COMPARE, "gt": _COMPARE, "ge": _COMPARE,
    "eq": _COMPARE, "ne": _COMPARE, "add": _ADD, "sub": _ADD, "mul": _MUL, "div": _MUL,
    "floordiv": _MUL, "mod": _MUL, "pow": _POW,
}  # fmt: skip


@dataclass
class ExpressionPrinter:
    """Expressions as text. `indices` is None where reads print as whole tensors."""

    names: Mapping[Node, str]
    indices: Mapping[int, str] | None
    params: Sequence[str]
    functions: Mapping[ScalarFunction, str]
    reparsed: dict[Scalar, DType] = field(default_factory=dict)

    def statement(self, x: Scalar, want: DType | None = None) -> str:
        """A whole right-hand side: what stays weak takes its default."""
        natural = self.natural(x)
        return self.at(x, default_of(natural) if natural.is_weak else natural, 0)

    def natural(self, root: Scalar) -> DType:
        """The dtype that the printed form has when it is read back, before it meets anything."""
        for x in sc.postorder([root]):
            if x not in self.reparsed:
                self.reparsed[x] = self.natural_of(x)
        return self.reparsed[root]

    def natural_of(self, x: Scalar) -> DType:
        match x:
            case sc.Const():
                if x.dtype.is_bool:
                    return x.dtype
                return WEAK_INT if number_text(x).lstrip("-").isdigit() else WEAK_FLOAT
            case sc.Affine():
                return WEAK_INT
            case sc.Read() | sc.Param():
                return x.dtype
            case sc.Op("cast", (inner,)):
                return self.reparsed[inner] if inner.dtype.is_weak else x.dtype
            case sc.Op():
                args = [self.reparsed[a] for a in x.args]
                typing = PRIMITIVES[x.name].typing
                match typing:
                    case Typing.COMPARE | Typing.LOGIC | Typing.TEST:
                        return x.dtype
                    case Typing.WHERE:
                        args = args[1:]
                common = args[0]
                for a in args[1:]:
                    common = promote(common, a)
                if not common.is_weak:
                    return x.dtype
                return WEAK_FLOAT if typing is Typing.FLOAT else common
            case sc.Call():
                strong = any(not self.reparsed[a].is_weak for a in x.args)
                return x.dtype if strong else WEAK_FLOAT

    def at(self, x: Scalar, want: DType | None, level: int) -> str:
        """`x` where something of binding strength `level` surrounds it and a weak form becomes
        `want`."""
        natural = self.natural(x)
        if natural.is_weak and not x.dtype.is_weak and want is not x.dtype:
            return f"{x.dtype}({self.at(x, x.dtype, 0)})"
        text, own = self.form(x)
        return f"({text})" if own < level else text

    def form(self, x: Scalar) -> tuple[str, int]:
        match x:
            case sc.Const():
                text = number_text(x)
                return text, _UNARY if text.startswith("-") else _ATOM
            case sc.Affine():
                return self.affine(x)
            case sc.Param():
                return self.params[x.position], _ATOM
            case sc.Read():
                name = self.names[x.tensor]
                if self.indices is None or not x.indices:
                    return name, _ATOM
                return f"{name}[{', '.join(self.at(i, None, 0) for i in x.indices)}]", _ATOM
            case sc.Call():
                want = _strongest(self.natural(a) for a in x.args)
                args = ", ".join(self.at(a, want, 0) for a in x.args)
                return f"{self.functions.get(x.function, x.function.name)}({args})", _ATOM
            case sc.Op("cast", (inner,)):
                if inner.dtype.is_weak:
                    return self.form(inner)
                return f"{x.dtype}({self.at(inner, None, 0)})", _ATOM
            case sc.Op("where", (test, then, other)):
                want = _strongest([self.natural(then), self.natural(other)]) or x.dtype
                parts = (
                    self.at(then, want, _OR),
                    self.at(test, None, _OR),
                    self.at(other, want, _CONDITIONAL),
                )
                return "{} if {} else {}".format(*parts), _CONDITIONAL
            case sc.Op("neg", (inner,)):
                return f"-{self.at(inner, x.dtype, _UNARY + isinstance(inner, sc.Const))}", _UNARY
            case sc.Op("not", (inner,)):
                return f"not {self.at(inner, None, _NOT)}", _NOT
            case sc.Op("and", (sc.Op() as low, sc.Op() as high)) if self.chained(low, high):
                a, b, c = low.args[0], low.args[1], high.args[1]
                first, second = PRIMITIVES[low.name].infix, PRIMITIVES[high.name].infix
                want = _strongest(self.natural(v) for v in (a, b, c))
                forms = [self.at(v, want, _ADD) for v in (a, b, c)]
                return f"{forms[0]} {first} {forms[1]} {second} {forms[2]}", _COMPARE
            case sc.Op():
                return self.operation(x)

    def chained(self, low: sc.Op, high: sc.Op) -> bool:
        """`a <= b and b < c`."""
        order = ("lt", "le")
        return low.name in order and high.name in order and low.args[1] is high.args[0]

    def operation(self, x: sc.Op) -> tuple[str, int]:
        row = PRIMITIVES[x.name]
        logical = row.typing is Typing.LOGIC
        compared = row.typing in (Typing.COMPARE, Typing.TEST)
        want = _strongest(self.natural(a) for a in x.args)
        if want is None and not logical:
            want = x.args[0].dtype if compared else x.dtype
            if compared and not want.is_weak:  # nothing in the text says the dtype: a cast does
                first, *rest = x.args
                forms = [
                    f"{want}({self.at(first, want, 0)})",
                    *(self.at(a, want, _ADD) for a in rest),
                ]
                return f" {row.infix} ".join(forms), _COMPARE
        if row.infix is None:
            args = ", ".join(self.at(a, want, 0) for a in x.args)
            return f"{_LANGUAGE_NAME[x.name]}({args})", _ATOM
        level = _LEVEL[x.name]
        left, right = level, level + 1
        if x.name == "pow":
            left, right = _ATOM, _UNARY
        elif level == _COMPARE:
            left = right = _ADD
        a, b = self.at(x.args[0], want, left), self.at(x.args[1], want, right)
        return f"{a}{row.infix}{b}" if row.infix == "**" else f"{a} {row.infix} {b}", level

    def affine(self, x: sc.Affine) -> tuple[str, int]:
        parts: list[str] = []
        for k, c in x.terms:
            name = self.indices[k] if self.indices is not None else f"i{k}"
            value = c.const
            if value in (1, -1):
                text, negative = name, value == -1
            else:
                shown = str(abs(value)) if value is not None else f"({c})"
                text, negative = f"{shown}*{name}", value is not None and value < 0
            parts.append(
                ("-" if negative else "") + text
                if not parts
                else f" {'-' if negative else '+'} {text}"
            )
        if x.const.terms or not parts:
            text = str(x.const)
            if parts and text.startswith("-"):
                text = f" - {-x.const}" if len(x.const.terms) == 1 else f" + ({text})"
            elif parts:
                text = f" + {text}"
            parts.append(text)
        joined = "".join(parts)
        if joined.isidentifier() or joined.isdigit():
            return joined, _ATOM
        return joined, _UNARY if joined[1:].isidentifier() or joined[1:].isdigit() else _ADD


def _strongest(natural: Iterable[DType]) -> DType | None:
    """The dtype that weak neighbours take on: the promotion of the strong ones, if any."""
    out: DType | None = None
    for d in natural:
        if not d.is_weak or d.name == "real":
            out = d if out is None else promote(out, d)
    return out


def number_text(x: sc.Const) -> str:
    """The literal; integers of a float dtype without their point where the dtype is settled."""
    if x.dtype.is_bool:
        return str(bool(x.value))
    if not x.dtype.is_float:
        return str(int(x.value))
    value = float(x.value)
    for name, known in CONSTANTS.items():
        if name in ("inf", "nan", "pi") and value == known:
            return name
    if math.isnan(value):
        return "nan"
    if value == -math.inf:
        return "-inf"
    negative_zero = value == 0 and math.copysign(1, value) < 0
    if value.is_integer() and abs(value) < 1e6 and not x.dtype.is_weak and not negative_zero:
        return str(int(value))
    return repr(value)
