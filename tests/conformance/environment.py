"""What a snippet sees beside `T`: short names for inputs, and for gradients of first and second
order.

In: the module under test. Out: a fresh dict of globals. Inputs are built from lists with
`T.tensor`, so both modules get the same bits; random-looking numbers come from Python's own
generator, rounded to three decimals.
"""

from __future__ import annotations

import copy
import io
import itertools
import math
import pickle
import random
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

EDGES = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.75, 1e-42, -1e-42, 1e30, math.inf, -math.inf, math.nan]
_DTYPES = {
    "f16": "float16", "bf16": "bfloat16", "f32": "float32", "f64": "float64", "u8": "uint8",
    "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64", "b8": "bool",
}  # fmt: skip


def nested(flat: Sequence[Any], shape: Sequence[int]) -> Any:
    """The list of lists of the given shape with these elements, row by row."""
    if not shape:
        return flat[0]
    step = math.prod(shape[1:])
    return [nested(flat[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


def numbers(count: int, low: float, high: float, seed: int) -> list[float]:
    generator = random.Random(seed)
    return [round(generator.uniform(low, high), 3) for _ in range(count)]


def environment(module: Any) -> dict[str, Any]:
    """The globals of one snippet."""

    def maker(dtype: str) -> Callable[..., Any]:
        return lambda values, **keywords: module.tensor(
            values, dtype=getattr(module, dtype), **keywords
        )

    def ar(*shape: int, dtype: str = "float32") -> Any:
        """0, 1, 2 … in the given shape."""
        flat = list(range(math.prod(shape)))
        return module.tensor(nested(flat, shape), dtype=getattr(module, dtype))

    def rnd(
        *shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0, dtype: str = "float64"
    ) -> Any:
        """Numbers between `low` and `high`, the same for the same arguments."""
        flat = numbers(math.prod(shape), low, high, seed)
        return module.tensor(nested(flat, shape), dtype=getattr(module, dtype))

    def leaf(values: Any, dtype: str = "float64") -> Any:
        if hasattr(values, "requires_grad"):
            return values.detach().requires_grad_()
        return module.tensor(values, dtype=getattr(module, dtype), requires_grad=True)

    def weighted(tensors: Sequence[Any], seed: int) -> Any:
        """The sum of all elements of all tensors, each with a weight of its own."""
        total = None
        for k, t in enumerate(tensors):
            part = (t * rnd(*t.shape, seed=seed + k)).sum()
            total = part if total is None else total + part
        return total

    def grads(f: Callable[..., Any], *inputs: Any, order: int = 2) -> list[Any]:
        """The gradients of f's results (weighted, summed) and the gradients of those; zeros
        where there is no dependence, None of the results being connected to anything else."""
        leaves = [leaf(t) for t in inputs]
        results = f(*leaves)
        results = results if isinstance(results, tuple | list) else [results]
        value = weighted(results, 50)
        found: list[Any] = []
        for k in range(order):
            if value.requires_grad:
                last = k == order - 1
                given = module.autograd.grad(
                    value, leaves, create_graph=not last, allow_unused=True
                )
            else:
                given = [None] * len(leaves)
            filled = [
                module.zeros_like(x, requires_grad=False) if g is None else g
                for g, x in zip(given, leaves, strict=True)
            ]
            found += [g.detach() + module.zeros_like(g, requires_grad=False) for g in filled]
            value = weighted(filled, 60 + 10 * k)
        return found

    nn = getattr(module, "nn", None)
    return {
        "T": module,
        "nn": nn,
        "F": getattr(nn, "functional", None),
        "np": np,
        "copy": copy,
        "io": io,
        "itertools": itertools,
        "math": math,
        "pickle": pickle,
        "warnings": warnings,
        "inf": math.inf,
        "nan": math.nan,
        "EDGES": EDGES,
        **{short: maker(name) for short, name in _DTYPES.items()},
        "ar": ar,
        "rnd": rnd,
        "leaf": leaf,
        "grads": grads,
        "caught": caught,
        "says": says,
        "warned": warned,
    }


def caught(action: Callable[[], Any]) -> str | None:
    """The name of the error that the action raises, or None: for cases that go on after it."""
    try:
        action()
    except Exception as e:
        return builtin_base(e)
    return None


def says(phrase: str, action: Callable[[], Any]) -> bool | str:
    """Whether the action's error has these words in its message; else the message."""
    try:
        action()
    except Exception as e:
        return phrase in str(e) or str(e)
    return "no error"


def builtin_base(error: BaseException) -> str:
    """The first of the error's classes that Python itself defines: what an `except` would name."""
    return next(c.__name__ for c in type(error).__mro__ if c.__module__ == "builtins")


def warned(action: Callable[[], Any]) -> list[str]:
    """The categories of the warnings that the action gives."""
    with warnings.catch_warnings(record=True) as given:
        warnings.simplefilter("always")
        action()
    return [w.category.__name__ for w in given]
