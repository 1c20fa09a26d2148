"""Compares a case's outcome with the recorded one.

In: two outcomes (see `outcome`). Out: what differs, a line each; none if they agree. Types, dtypes,
shapes, requires_grad, is_leaf and error classes are equal; strides and the class names of grad_fn
where the case asks; floats are near by their dtype's measure, with nan equal to nan; messages of
errors are not compared.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from .case import Case

#: dtype: (relative, absolute). Python's floats often come from a float32.
_NEAR = {
    "float64": (1e-10, 1e-12),
    "float32": (1e-5, 1e-6),
    "float16": (2e-3, 1e-4),
    "bfloat16": (1.6e-2, 1e-3),
    "number": (1e-5, 1e-6),
}


def differences(actual: Any, recorded: Any, case: Case) -> list[str]:
    """What differs, with the place in the result where it does."""
    return list(_differences(actual, recorded, case, "result"))


def _differences(a: Any, r: Any, case: Case, at: str) -> Iterator[str]:
    if isinstance(r, dict) and "error" in r:
        if not (isinstance(a, dict) and a.get("error") == r["error"]):
            yield f"{at} is {_short(a)}, expected {r['error']}: {' '.join(r['message'])}"
    elif isinstance(r, dict) and isinstance(a, dict) and a.keys() == r.keys():
        yield from _properties(a, r, case, at)
    elif isinstance(r, list) and isinstance(a, list):
        yield from _elements(a, r, case, at, "number")
    elif type(a) is not type(r) or not _near(a, r, "number"):
        yield f"{at} is {_short(a)}, expected {_short(r)}"


def _properties(a: dict[str, Any], r: dict[str, Any], case: Case, at: str) -> Iterator[str]:
    left_out = ([] if case.strides else ["stride"]) + ([] if case.nodes else ["grad_fn"])
    dtype = r.get("tensor") or r.get("array") or "number"
    for key in r:
        if key in left_out and "tensor" in r:
            continue
        if key == "values" and len(a[key]) == len(r[key]):
            yield from _elements(a[key], r[key], case, at, dtype)
        else:
            place = at if key in ("tuple", "dict") else f"{at}.{key}"
            yield from _differences(a[key], r[key], case, place)


def _elements(a: list[Any], r: list[Any], case: Case, at: str, dtype: str) -> Iterator[str]:
    if len(a) != len(r):
        yield f"{at} has {len(a)} elements, expected {len(r)}"
        return
    for i, (x, y) in enumerate(zip(a, r, strict=True)):
        if isinstance(y, dict | list):
            yield from _differences(x, y, case, f"{at}[{i}]")
        elif type(x) is not type(y) or not _near(x, y, dtype):
            yield f"{at}[{i}] is {_short(x)}, expected {_short(y)}"


def _near(x: Any, y: Any, dtype: str) -> bool:
    if not isinstance(y, float):
        return bool(x == y)
    if not math.isfinite(y) or not math.isfinite(x):
        return x == y or (math.isnan(x) and math.isnan(y))
    relative, absolute = _NEAR.get(dtype, (0.0, 0.0))
    return bool(abs(x - y) <= absolute + relative * abs(y))


def _short(value: Any) -> str:
    if isinstance(value, dict) and "error" in value:
        return f"{value['error']}: {' '.join(value['message'])}"
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
