"""Result dtypes: all pairs, Python scalars, zero-dim tensors, and what does not fit."""

from __future__ import annotations

from itertools import combinations_with_replacement

from .case import family

_DTYPES = ["b8", "u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64"]
_SCALARS = ["True", "2", "1.5"]
_NAMES = {
    "b8": "bool", "u8": "uint8", "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64",
}  # fmt: skip

_PAIRS = list(combinations_with_replacement(_DTYPES, 2))

_PROMOTION = {
    "pairs: add dtype": [f"{a}([1, 0]) + {b}([1, 1])" for a, b in _PAIRS],
    "promote_types: dtype": [
        f"T.promote_types(T.{_NAMES[a]}, T.{_NAMES[b]})" for a, b in _PAIRS if a != b
    ],
    "scalars: add dtype": [f"{d}([1, 0]) + {s}" for d in _DTYPES for s in _SCALARS],
    "zero-dim: add dtype": [
        f"{a}([1]) + {b}(1)" for a in ("i32", "f32", "b8", "f16") for b in ("i64", "f64", "b8")
    ],
    "zero-dim both: add dtype": [f"{a}(1) + {b}(1)" for a, b in combinations_with_replacement(
        ["b8", "i32", "i64", "f32", "f64"], 2)],
    "division: div": [f"({d}([1, 1]) / {d}([1, 1])).dtype" for d in _DTYPES],
    "comparison: lt eq": [
        f"(i64([1, 2]) < {d}([1, 1])).dtype" for d in ("f32", "i32", "b8", "f64")
    ],
    "reductions: sum": [f"{d}([1, 1]).sum()" for d in _DTYPES],
    "products: prod": [f"{d}([1, 1]).prod()" for d in ("b8", "u8", "i32", "i64", "f32")],
    "running: cumsum": [f"{d}([1, 1]).cumsum(0)" for d in ("b8", "u8", "i32", "f64")],
    "result_type: dtype": """
        T.result_type(ar(2), 1)
        T.result_type(ar(2), 1.5)
        T.result_type(i64([1]), 1.5)
        T.result_type(i64([1]), f64(1.))
        T.result_type(i32([1]), f64([1.]))
        T.result_type(b8([True]), 2)
        T.can_cast(T.float64, T.int32)
        T.can_cast(T.int32, T.float32)
        T.can_cast(T.float64, T.float32)
    """,
    "operators: mul pow where": """
        (i32([2]) * 1.5).dtype
        (i32([2]) ** 2).dtype
        (i32([2]) ** 2.).dtype
        (i32([2]) // 2).dtype
        (u8([200]) + u8([100]))
        (u8([200]) + 100)
        (i8([100]) + i8([100]))
        (u8([3]) - 5)
        (f16([1.]) * f32(2.)).dtype
        (f16([1.]) * f32([2.])).dtype
        (bf16([1.]) + f16([1.])).dtype
        T.where(b8([True]), i32([1]), f16([1.])).dtype
        T.maximum(i32([1]), i64([2])).dtype
        (2 ** i32([3])).dtype
        (True + i32([1])).dtype
        (1.5 * b8([True])).dtype
        i64([2**31]) * i64([2**31 - 1])
    """,
}  # fmt: skip

CASES = family("promotion", _PROMOTION)
