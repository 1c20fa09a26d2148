"""Random scalar formulas, as text with a tracked dtype and shape.

In: a source of choices (hypothesis' `draw`) and the leaves that may be read. Out: expressions of
the language, over whole tensors or over elements in index notation alike: only the leaves differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import strategies as st
from tdsl.compiler import index_lambda as il
from tdsl.compiler.dims import Dim
from tdsl.compiler.dtypes import BOOL, F32, I64, WEAK_FLOAT, WEAK_INT, DType, promote

Shape = tuple[Dim, ...]
T = TypeVar("T")

LITERALS = ("0.5", "2", "1.5", "-1", "0.25", "3", "1e-3", "0")


@dataclass(frozen=True)
class Expr:
    """An expression that stands where an operand may."""

    text: str
    dtype: DType
    shape: Shape = ()


Leaf = Callable[[], Expr]


@dataclass
class Choices:
    """What hypothesis decides."""

    draw: Callable[..., Any]

    def of(self, options: Sequence[T]) -> T:
        chosen: T = options[self.draw(st.integers(0, len(options) - 1))]
        return chosen

    def chance(self, percent: int) -> bool:
        return bool(self.draw(st.integers(0, 99)) >= 100 - percent)

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))


# Formulas by name: `a`, `b` are float operands, `c` a condition, `s` a literal. Arguments of
# logarithms, roots and quotients are made positive, or the place is guarded as users guard it.
FORMULAS = (
    "a + b", "a - b", "a * b", "a * b + a", "a - b * b", "a + b - a * s", "-a * b", "a - -b",
    "a / (1 + abs(b))", "a / (b * b + 1)", "1 / (s + 4) * a", "a**2", "-a**2", "a**3 * 0.1",
    "a * s", "s - a", "a + s", "a / 2", "s / (2 + abs(a))", "(abs(a) + 0.1)**b",
    "tanh(a)", "sin(a)", "cos(a * b)", "sigmoid(a)", "erf(a)", "atan(a)", "abs(a)", "relu(a)",
    "gelu(a)", "silu(a)", "softplus(a)", "square(a)", "softsign(a)", "sinc(a)", "mish(a)",
    "exp(-abs(a))", "exp(tanh(a))", "exp(a * 0.1)", "expm1(tanh(a))", "log1p(abs(a))",
    "log(a * a + 1)", "log(1 + exp(a))", "log(abs(a) + 0.5)", "sqrt(abs(a) + 0.25)",
    "sqrt(a * a)", "rsqrt(a * a + 1)", "cbrt(abs(a) + 1)", "lgamma(abs(a) + 1)",
    "logaddexp(a, b)", "hypot(a, b)", "atan2(a, abs(b) + 1)", "xlogy(abs(a), abs(b) + 0.1)",
    "lerp(a, b, s)", "lerp(a, weight=0.3, end=b)", "maximum(a, b)", "minimum(a, y=b)",
    "max(a, b)", "min(a, b)", "clamp(a, -1, 1)", "clamp(a, min=-0.5)", "clamp(a, max=b)",
    "elu(a, alpha=0.5)", "leaky_relu(a, negative_slope=0.2)", "hardtanh(a, max_val=2.0)",
    "relu6(a)", "floor(a)", "round(a)", "sign(a) * b", "a % 1.5", "a // 0.7", "frac(a)",
    "a if c else b", "a if c else 0", "0 if c else a", "where(c, a, b)", "(a if c else b) * a",
    "log(a) if a > 0 else 0", "sqrt(a) if a > 0 else b", "1 / a if a != 0 else 0",
    "a * log(a) if a > 0 else 0.0", "asin(a) if abs(a) < 0.9 else 0",
    "a / b if abs(b) > 0.1 else a", "exp(a) / (1 + exp(a))", "1 - tanh(a)**2",
    "log(sigmoid(a))", "1 - cos(a)",
)  # fmt: skip
CONDITIONS = (
    "a < b", "a >= s", "a > 0", "0 < a", "s < a <= b", "-1 <= a < 1", "a != b", "a == b",
    "not a > b", "a > 0 and b > 0", "a < 0 or a > b", "0 < a < b < 2", "isnan(a)", "isfinite(a)",
    "not (a > s or b > s)", "c and a > 0", "c or not a < b",
)  # fmt: skip
INTEGERS = (
    "a + b", "a - b", "a * b", "a * 2 - b", "a // 3", "a % 3", "a // b", "a % b", "abs(a)",
    "max(a, b)", "min(a, b)", "-a", "a if c else b", "clamp(a, -1, 2)", "sign(a)", "a * a",
    "a % 5 - 2", "where(c, a, 1)", "a**2",
)  # fmt: skip


@dataclass
class Formulas:
    """Random scalar formulas over leaves. `fns` are the file's own scalar functions, by number of
    arguments."""

    choices: Choices
    fns: list[tuple[str, int]] = field(default_factory=list)

    def floating(self, leaf: Leaf, depth: int) -> Expr:
        """A float expression; its leaves may be of any dtype."""
        c = self.choices
        if depth <= 0:
            return self.float_leaf(leaf)
        if self.fns and c.chance(15):
            name, count = c.of(self.fns)
            return self.call_of(name, [self.floating(leaf, depth - 1) for _ in range(count)])
        return self.filled(c.of(FORMULAS), leaf, depth, self.floating)

    def integral(self, leaf: Leaf, depth: int) -> Expr:
        if depth <= 0:
            x = leaf()
            if x.dtype.is_integer:
                return x
            if x.dtype.is_bool:
                return Expr(f"i64({x.text})", I64, x.shape)
            if x.dtype.is_weak:
                return Expr("2", WEAK_INT)
            return Expr(f"i64(clamp(round({x.text}), -9, 9))", I64, x.shape)
        return self.filled(self.choices.of(INTEGERS), leaf, depth, self.integral)

    def condition(self, leaf: Leaf, depth: int) -> Expr:
        c = self.choices
        operand = self.floating if c.chance(75) else self.integral
        options = [t for t in CONDITIONS if operand == self.floating or not t.startswith("is")]
        out = self.filled(c.of(options), leaf, depth, operand)
        return Expr(out.text, BOOL, out.shape)

    def float_leaf(self, leaf: Leaf) -> Expr:
        x = leaf()
        if x.dtype.is_float:
            return x
        if x.dtype.is_bool:
            return Expr(f"f32({x.text})", F32, x.shape)
        if self.choices.chance(50):
            return Expr(f"f32({x.text})", F32, x.shape)
        return Expr(f"({x.text} * 0.5)", promote(x.dtype, WEAK_FLOAT), x.shape)

    def filled(self, formula: str, leaf: Leaf, depth: int, operand: Any) -> Expr:
        """`formula` with operands of its own."""
        c = self.choices
        made: dict[str, Expr] = {}

        def part(letter: str) -> Expr:
            if letter not in made:
                lower = c.number(0, max(depth - 1, 0))
                if letter == "c":
                    made[letter] = self.condition(leaf, min(lower, 1))
                elif letter == "s":
                    made[letter] = Expr(c.of(LITERALS), WEAK_FLOAT)
                else:
                    made[letter] = operand(leaf, lower)
            return made[letter]

        out = []
        for token in _tokens(formula):
            if token in ("a", "b", "c"):
                out.append(f"({part(token).text})")
            else:
                out.append(part(token).text if token == "s" else token)
        parts = [x for letter, x in made.items() if letter != "c"]
        dtype = WEAK_FLOAT if operand == self.floating else WEAK_INT
        for x in parts:
            dtype = promote(dtype, x.dtype)
        return Expr(
            "".join(out), dtype, il.broadcast_shapes([x.shape for x in made.values()] or [()])
        )

    def call_of(self, name: str, args: Sequence[Expr]) -> Expr:
        dtype = WEAK_FLOAT
        for a in args:
            dtype = promote(dtype, a.dtype)
        text = f"{name}({', '.join(a.text for a in args)})"
        return Expr(text, dtype, il.broadcast_shapes([a.shape for a in args]))


def _tokens(formula: str) -> list[str]:
    """Names and the text between them."""
    out, word = [], ""
    for ch in formula:
        if ch.isalnum() or ch in "_.":
            word += ch
            continue
        if word:
            out.append(word)
        word = ""
        out.append(ch)
    return [*out, word] if word else out
