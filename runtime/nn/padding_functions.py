"""Padding: the last dims made longer, or cut off.

In: a Tensor and how much goes before and after every dim, the last dim first. Out: a Tensor, by one
compiled row for constants, and one for every dim where elements of the Tensor are repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tensor import dtype as dt
from ..tensor.core import kind, wrap
from ..tensor.operation import Operation
from .activation_functions import require

if TYPE_CHECKING:
    from ..tensor.tensor import Tensor

_PAD_STEPS = {
    "constant": "ConstantPadNdBackward0",
    "reflect": "ReflectionPad{}DBackward0",
    "replicate": "ReplicationPad{}DBackward0",
    "circular": "CircularPad{}DBackward0",
}
_READS = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}  # NumPy's names
_pads: dict[tuple[str, str], Operation] = {}


def _pad_operation(row: str, mode: str, rank: int) -> Operation:
    node = _PAD_STEPS[mode].format(rank)
    found = _pads.get((row, node))
    if found is None:
        found = _pads[row, node] = Operation(row, node, promotes=False)
    return found


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """The last dims made longer: `pad` has how much before and after the last dim, then the one
    before it, and so on; negative numbers cut off. `mode` "constant" fills with `value` (0),
    "reflect", "replicate" and "circular" with elements of the Tensor."""
    require("pad", input)
    widths = [int(w) for w in pad]
    rank = input._kind.rank
    if len(widths) % 2:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(widths) > 2 * rank:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got "
            f"padding length {len(widths)} and input of dimension {rank}"
        )
    if mode not in _PAD_STEPS:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    pairs = [(widths[k], widths[k + 1]) for k in range(0, len(widths), 2)]
    if mode == "constant":
        return _constant_pad(input, widths, pairs, 0.0 if value is None else value)
    if value is not None:
        raise ValueError(f'Padding mode "{mode}" doesn\'t take in value argument')
    return _reading_pad(input, pairs, mode)


def _constant_pad(
    input: Tensor, widths: Sequence[int], pairs: list[tuple[int, int]], value: float
) -> Tensor:
    rank = input._kind.rank
    for k, (before, after) in enumerate(pairs):
        if input._array.shape[rank - 1 - k] + before + after < 0:
            raise RuntimeError("narrow(): length must be non-negative.")
    if not input._kind.dtype.is_floating_point:
        value = int(value)
    return _pad_operation("pad", "constant", 0).call((input,), (tuple(widths), value))


def _reading_pad(input: Tensor, pairs: list[tuple[int, int]], mode: str) -> Tensor:
    rank = input._kind.rank
    if rank - len(pairs) not in (1, 2):
        raise NotImplementedError(
            f"Padding size {2 * len(pairs)} is not supported for {rank}D input tensor."
        )
    operation = _pad_operation("index_select", mode, len(pairs))
    out = input
    for k, (before, after) in enumerate(pairs):
        axis = rank - 1 - k
        n = input._array.shape[axis]
        most = n - 1 if mode == "reflect" else n
        if mode != "replicate" and max(before, after) > most:
            raise RuntimeError(
                "Padding size should be less than the corresponding input dimension, but got: "
                f"padding ({before}, {after}) at dimension {axis} of input "
                f"{list(input._array.shape)}"
            )
        wide: Any = (max(before, 0), max(after, 0))
        at = np.pad(np.arange(n), wide, mode=_READS[mode])  # type: ignore[call-overload]
        at = at[max(-before, 0) : len(at) - max(-after, 0)]
        index = wrap(np.ascontiguousarray(at, np.int64), kind(dt.int64, 1))
        out = operation.call((out, index), (axis,))
    return out
