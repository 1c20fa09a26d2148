"""`const`: a number worked out when the file is checked.

In: the declaration. Out: a Python int, float or bool. What may stand in it: literals, other
constants, arithmetic, comparisons, and the scalar functions, of the file or built in.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..compiler import scalar as sc
from ..compiler.dtypes import F64
from ..compiler.primitives import PRIMITIVES
from ..compiler.scalar import Scalar
from .check_frame import Frame
from .syntax import ConstDecl

_LIMIT = 2**63
_EXACT: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a: -a,
    "floordiv": lambda a, b: a // b,
    "mod": lambda a, b: a % b,
    "pow": lambda a, b: a**b,
}


class NoValueError(Exception):
    """A number has no value; the message says why."""


def constant(frame: Frame, d: ConstDecl) -> int | float | bool | None:
    """The value of `d`; None where it has none, which is reported."""
    x = frame.operand(d.value, None)
    if x is None:
        return None
    try:
        return _fold(x.body)
    except NoValueError as why:
        return frame.error("E0309", f"the constant `{d.name.id}` {why}", d.value.span)


def _fold(root: Scalar) -> int | float | bool:
    values: dict[Scalar, Any] = {}
    body = sc.inline_calls(root)
    for x in sc.postorder([body]):
        match x:
            case sc.Const(value):
                values[x] = value
            case sc.Affine(terms=(), const=size) if size.const is not None:
                values[x] = size.const
            case sc.Op("cast", (inner,)):
                given = values[inner]
                if x.dtype.is_float:
                    # a cast to f32 rounds; a literal's own precision is f64
                    exact = x.dtype.is_weak or x.dtype is F64
                    values[x] = (
                        float(given) if exact else float(np.dtype(x.dtype.numpy).type(given))
                    )
                else:
                    values[x] = bool(given) if x.dtype.is_bool else int(given)
            case sc.Op(name, args):
                values[x] = apply_exactly(name, [values[a] for a in args], x.dtype.is_integer)
            case _:
                raise NoValueError("depends on something that is not constant")
    out = values[body]
    return out if isinstance(out, bool | int | float) else float(out)


def apply_exactly(name: str, args: list[Any], whole: bool) -> Any:
    """A primitive of Python numbers; of integers (`whole`) exactly. Raises NoValueError."""
    if whole and name in ("floordiv", "mod") and args[1] == 0:
        raise NoValueError("divides by zero")
    if whole and name == "pow":
        base, exponent = args
        if exponent < 0:
            raise NoValueError("raises an integer to a negative power")
        if abs(base) > 1 and exponent * math.log2(abs(base)) >= 64:
            raise NoValueError("does not fit into 64 bits")
    if whole and name in _EXACT:
        out = _EXACT[name](*args)
        if not -_LIMIT <= out < _LIMIT:
            raise NoValueError("does not fit into 64 bits")
        return out
    with np.errstate(all="ignore"):
        typed = args if name == "where" else [_as_numpy(a) for a in args]
        result = PRIMITIVES[name].numpy(*typed)
    return np.asarray(result).item()


def _as_numpy(a: Any) -> Any:
    return a if isinstance(a, bool) else np.int64(a) if isinstance(a, int) else np.float64(a)
