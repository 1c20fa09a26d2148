"""Runs one case on a module and writes down what came out, as plain JSON values.

In: a `Case`, and PyTorch or tdsl. Out: the outcome:

    {"tensor": dtype, "shape", "stride", "requires_grad", "is_leaf", "grad_fn", "values"}
    {"array": dtype, "shape", "values"}                     a NumPy array or scalar
    {"tuple": [...]}, {"size": [...]}, {"dict": {...}}, lists
    {"dtype": name}, {"device": text}
    {"error": the first built-in class it is one of, "message"}
    numbers, strings, booleans and None as they are

In texts, the module's own name is `tdsl` and addresses are `0x…`. Comparing is left to `agreement`.
"""

from __future__ import annotations

import ast
import math
import re
import warnings
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

from .case import Case
from .environment import builtin_base, environment

#: Significant digits that give a float of this dtype back; other dtypes are written in full.
_DIGITS = {"float32": 9, "float16": 5, "bfloat16": 4}


@cache
def _compiled(text: str, name: str) -> tuple[CodeType, CodeType]:
    tree = ast.parse(text, name)
    last = tree.body[-1]
    if not isinstance(last, ast.Expr):
        return compile(tree, name, "exec"), compile("None", name, "eval")
    before = ast.Module(tree.body[:-1], type_ignores=[])
    return compile(before, name, "exec"), compile(ast.Expression(last.value), name, "eval")


def outcome(case: Case, module: Any) -> Any:
    """What the case's last line gives, None if it is no expression, or the error raised."""
    statements, result = _compiled(case.text, case.name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            names = environment(module)
            exec(statements, names)
            return _plain(eval(result, names), module)
    except Exception as e:
        return {"error": builtin_base(e), "message": _text(str(e), module).splitlines()[:1]}
    finally:
        _reset(module)


def _reset(module: Any) -> None:
    """No case leaves its modes to the next."""
    if hasattr(module, "set_default_dtype"):
        module.set_default_dtype(module.float32)
    if hasattr(module, "set_grad_enabled"):
        module.set_grad_enabled(True)


def _text(text: str, module: Any) -> str:
    text = text.replace("torch.", "tdsl.") if module.__name__ == "torch" else text
    return re.sub(r"0x[0-9a-f]{6,}", "0x…", text)


def _plain(value: Any, module: Any) -> Any:
    match value:
        case None | bool() | int() | str():
            return _text(value, module) if isinstance(value, str) else value
        case np.ndarray() | np.generic():
            return {
                "array": str(value.dtype),
                "shape": list(value.shape),
                "values": _digits(np.asarray(value).ravel().tolist(), str(value.dtype)),
            }
        case float():
            return value
        case list():
            return [_plain(v, module) for v in value]
        case dict():
            return {"dict": {str(k): _plain(v, module) for k, v in value.items()}}
        case module.Tensor():
            return _tensor(value)
        case module.Size():
            return {"size": list(value)}
        case tuple():
            return {"tuple": [_plain(v, module) for v in value]}
        case module.dtype():
            return {"dtype": _name(value)}
        case module.device():
            return {"device": str(value)}
    raise AssertionError(f"a case's result must be plain, not {type(value).__name__}")


def _tensor(t: Any) -> dict[str, Any]:
    dtype = _name(t.dtype)
    values = t.detach().tolist()
    return {
        "tensor": dtype,
        "shape": list(t.shape),
        "stride": list(t.stride()),
        "requires_grad": t.requires_grad,
        "is_leaf": t.is_leaf,
        "grad_fn": None if t.grad_fn is None else type(t.grad_fn).__name__,
        "values": _digits(_flat(values), dtype),
    }


def _name(dtype: Any) -> str:
    return str(dtype).partition(".")[2]


def _flat(values: Any) -> list[Any]:
    if not isinstance(values, list):
        return [values]
    return [leaf for v in values for leaf in _flat(v)]


def _digits(values: list[Any], dtype: str) -> list[Any]:
    digits = _DIGITS.get(dtype)
    if digits is None:
        return values
    return [float(f"{v:.{digits}g}") if math.isfinite(v) else v for v in values]
