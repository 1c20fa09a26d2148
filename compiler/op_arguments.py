"""What an operator row's arguments can be, beside a tensor (`IndexLambda`) and Python's scalars."""

from __future__ import annotations

from .dims import Dim
from .index_lambda import IndexLambda

Dims = int | tuple[int, ...] | None
Sizes = Dim | tuple[Dim, ...]
Tensors = tuple[IndexLambda, ...]
Window = int | tuple[int, ...]  # a number for every spatial dim, or one for each
Padding = int | tuple[int, ...] | str
Order = float | str  # of a norm


def dims_of(d: Dims) -> tuple[int, ...] | None:
    return d if d is None or isinstance(d, tuple) else (d,)
