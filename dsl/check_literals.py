"""Integer literals: worked out exactly, and refused where they do not fit what they meet.

In: the operands of an operator. Out: the number that literals alone make, or an error. Without
this `x * 10**20` would wrap around in 64 bits and `i + 3_000_000_000` in the 32 bits of `i`, both
silently. Floats need nothing: they round, or become infinite, as everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..compiler import index_lambda as il
from ..compiler.index_lambda import IndexLambda
from .check_constants import NoValueError, apply_exactly
from .check_frame import Frame, static_int
from .syntax import Expr

_EXACT = ("add", "sub", "mul", "floordiv", "mod", "pow")


def folded(
    frame: Frame, e: Expr, name: str, left: IndexLambda, right: IndexLambda
) -> tuple[bool, IndexLambda | None]:
    """(True, the value) where both sides are integer literals; its value None where it has none,
    which is reported."""
    a, b = static_int(left), static_int(right)
    if a is None or b is None or name not in _EXACT:
        return False, None
    try:
        return True, il.scalar(apply_exactly(name, [a, b], whole=True))
    except NoValueError as why:
        hint = "write one side as a float, for instance 10.0" if name == "pow" else None
        return True, frame.error("E0309", f"this {why}", e.span, hint)


def fit(frame: Frame, sides: Sequence[tuple[IndexLambda, Expr]]) -> bool:
    """Whether every integer literal fits the integer dtype that it meets; False is reported."""
    for x, e in sides:
        value = static_int(x)
        if value is None:
            continue
        for other, _ in sides:
            dtype = other.dtype
            if not dtype.is_integer or dtype.is_weak or dtype.is_bool:
                continue
            info = np.iinfo(dtype.numpy)
            if not info.min <= value <= info.max:
                message = f"`{value}` does not fit into {dtype}, the dtype of what it meets"
                hint = f"{dtype} goes from {info.min} to {info.max}; `i64(…)` converts the other"
                frame.error("E0407", message, e.span, hint)
                return False
    return True
