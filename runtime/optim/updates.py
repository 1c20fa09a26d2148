"""Runs an update of `updates.tdsl` on a parameter: one compiled call, written in place.

In: a parameter with its gradient, the state's Tensors, numbers. Out: nothing; parameter and state
hold their new values. Nothing is recorded: an update is no part of a gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..module import compile
from ..tensor import core
from ..tensor import dtype as dt
from ..tensor.conversion import converted

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor

_PROGRAM = Path(__file__).with_name("updates.tdsl")


@cache
def _function(name: str, dtype: dt.dtype) -> Callable[..., Any]:
    """An update for parameters of a dtype."""
    text = _PROGRAM.read_text(encoding="utf-8").replace("f32", dtype.compiled.name)
    return compile(text, f"updates.tdsl for {dtype.name}")[name]


def update(
    name: str, p: Tensor, gradient: Tensor, state: Sequence[Tensor], *numbers: float
) -> None:
    """Apply the update `name`: its results are the new parameter and the new state, in order.
    Halves are computed in float32."""
    array, own = p._array, p._kind.dtype
    half = own is dt.float16 or own is dt.bfloat16
    computed = dt.float32 if half else own
    arrays = [t._array.reshape(-1) for t in (p, gradient, *state)]
    if half:
        arrays = [converted(a, own, computed) for a in arrays]
    found = _function(name, computed)(*arrays, *numbers)
    results = found if state else (found,)
    if half:
        results = [converted(a, computed, own) for a in results]
    np.copyto(array, results[0].reshape(array.shape))
    core.bump(p, f"{name} step")
    for t, values in zip(state, results[1:], strict=True):
        t._array = values.reshape(t._array.shape)  # nobody else writes an optimizer's state


def zeros_like(p: Tensor) -> Tensor:
    """Where an optimizer's state begins."""
    return core.wrap(np.zeros(p._array.shape, p._array.dtype), p._kind)
