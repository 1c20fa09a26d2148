"""`detect_anomaly`: says which step of a backward pass made the first NaN, where and of what.

In: a step and the cotangents that arrive. Out: its gradients, or a RuntimeError that names the
operation, the place in the `.tdsl` file if it has one, the index, and the values there.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .tape import Gradients, Node
    from .tensor import Tensor


class _Anomaly:
    enabled = False
    check_nan = True


anomaly = _Anomaly()


def is_anomaly_enabled() -> bool:
    """Whether backward passes look for NaN."""
    return anomaly.enabled


class detect_anomaly:
    """A context manager: within it, operations remember where they were called, and a backward
    pass stops at the first step that makes a NaN."""

    def __init__(self, check_nan: bool = True) -> None:
        self._check_nan = check_nan
        self._before = (anomaly.enabled, anomaly.check_nan)

    def __enter__(self) -> None:
        self._before = (anomaly.enabled, anomaly.check_nan)
        anomaly.enabled, anomaly.check_nan = True, self._check_nan

    def __exit__(self, *exc: object) -> None:
        anomaly.enabled, anomaly.check_nan = self._before


class set_detect_anomaly(detect_anomaly):
    """`set_detect_anomaly(flag)` acts at once; as a context manager it undoes that at the end."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(check_nan)
        anomaly.enabled, anomaly.check_nan = mode, check_nan

    def __enter__(self) -> None:
        pass


def remember_place(node: Node, operands: Sequence[Any] = ()) -> None:
    """Keep the calls that led to an operation, and its operands, for the message."""
    own = __file__.rpartition("/")[0].rpartition("/")[0]
    calls = [c for c in traceback.extract_stack() if not c.filename.startswith(own)]
    node.metadata["traceback_"] = traceback.format_list(calls)
    if operands:
        values = [getattr(o, "_array", o) for o in operands]
        node.metadata["operands_"] = [(f"operand {k}", v) for k, v in enumerate(values)]


def checked(node: Node, arrived: Gradients) -> Sequence[Tensor | None]:
    """The step's gradients. Raises RuntimeError where one has a NaN: the first in the pass, so
    that it was made here, or is the cotangent that the pass began with."""
    operands = node.metadata.get("operands_") or node.operands()
    found = node.apply(arrived)
    if not anomaly.check_nan:
        return found
    for number, gradient in enumerate(found):
        if gradient is None:
            continue
        values = gradient.detach().float().numpy() if _is_half(gradient) else gradient._array
        bad = np.isnan(values)
        if bad.any():
            index = tuple(int(i) for i in np.argwhere(bad)[0])
            raise RuntimeError(_message(node, number, index, operands, arrived))
    return found


def _is_half(t: Tensor) -> bool:
    return t._kind.dtype.name == "bfloat16"


def _message(
    node: Node, number: int, index: tuple[int, ...], operands: Any, arrived: Gradients
) -> str:
    text = (
        f"Function '{node.name()}' returned nan values in its {number}th output: the first at "
        f"index {list(index)}"
    )
    place = node.metadata.get("position")
    if place:
        text += f", of the function at {place}"
    shown = [f"{name} = {_at(values, index)}" for name, values in operands]
    shown += [f"gradient = {_at(g._array, index)}" for g in arrived if g is not None]
    if shown:
        text += f"; there {', '.join(shown)}"
    calls = node.metadata.get("traceback_")
    if calls:
        text += ". The operation was called here:\n" + "".join(calls)
    return text


def _at(values: Any, index: tuple[int, ...]) -> str:
    """The element at `index`, broadcast; of another shape, the shape."""
    array = np.asarray(values)
    if array.ndim > len(index):
        return f"a value of shape {list(array.shape)}"
    at = index[len(index) - array.ndim :]
    if any(i >= n and n != 1 for i, n in zip(at, array.shape, strict=True)):
        return f"a value of shape {list(array.shape)}"
    value = array[tuple(0 if n == 1 else i for i, n in zip(at, array.shape, strict=True))]
    return repr(value.item())
